//! The head that goes to the server: what a proxy adds to and takes from a request.

use telamon_http_proto::{EditError, Version};

use crate::http::websocket;
use crate::model::{AddressHeader, ConnectionMode, Proxy, RestrictNames};
use crate::stream::Stream;

/// Edits the request once, before the first attempt to send it. `Err` when the head has no room left.
pub(super) fn request(stream: &mut Stream, keep_server: bool) -> Result<(), EditError> {
    let snapshot = stream.snapshot.clone();
    let frontend = snapshot.proxy(stream.frontend);
    let backend = snapshot.proxy(stream.backend);
    if let Some(option) = forwarding(backend, frontend, |p| p.options.forwardfor.as_ref()) {
        let address = stream.session.src.borrow().ip();
        add_address(stream, option, address)?;
    }
    if let Some(option) = forwarding(backend, frontend, |p| p.options.originalto.as_ref()) {
        let address = stream.session.dst.borrow().ip();
        add_address(stream, option, address)?;
    }
    if let (Some(header), Some(_)) = (&frontend.unique_id_header, &frontend.unique_id_format) {
        let id = crate::log::unique_id(stream).to_vec();
        stream.request.add_header(header, &id)?;
    }
    if stream.request.version() == Version::Http2 && stream.request.wants_upgrade() {
        websocket::make_key(stream)?;
    }
    stream.request.strip_hop_by_hop()?;
    let version = stream.request.version();
    stream.request.set_connection(keep_server, version)?;
    stream.request.restore_framing()
}

/// Whether server connections are kept after an answer, as far as the proxies say.
pub(super) fn keeps_server(stream: &Stream) -> bool {
    connection_mode(stream) == ConnectionMode::KeepAlive
}

/// Whether the client's connection is kept, as far as the proxies say.
pub(super) fn keeps_client(stream: &Stream) -> bool {
    connection_mode(stream) != ConnectionMode::Close
}

/// `httpclose` on either side wins, then `http-server-close`.
fn connection_mode(stream: &Stream) -> ConnectionMode {
    let mode = |id| stream.snapshot.proxy(id).options.connection;
    let (front, back) = (mode(stream.frontend), mode(stream.backend));
    if front == ConnectionMode::Close || back == ConnectionMode::Close {
        ConnectionMode::Close
    } else if front == ConnectionMode::ServerClose || back == ConnectionMode::ServerClose {
        ConnectionMode::ServerClose
    } else {
        ConnectionMode::KeepAlive
    }
}

/// The backend's setting, else the frontend's.
fn forwarding<'p>(
    backend: &'p Proxy,
    frontend: &'p Proxy,
    option: impl Fn(&'p Proxy) -> Option<&'p AddressHeader>,
) -> Option<&'p AddressHeader> {
    option(backend).or_else(|| option(frontend))
}

fn add_address(
    stream: &mut Stream,
    option: &AddressHeader,
    address: Option<std::net::IpAddr>,
) -> Result<(), EditError> {
    let Some(address) = address else { return Ok(()) };
    if option.except.iter().any(|network| network.contains(address))
        || (option.if_none && stream.request.has_header(&option.header))
    {
        return Ok(());
    }
    let worker = std::rc::Rc::clone(&stream.session.worker);
    let mut text = worker.lend_buffer();
    crate::log::write_ip(address, &mut text);
    let added = stream.request.add_header(&option.header, &text);
    worker.return_buffer(text);
    added
}

/// `option http-restrict-req-hdr-names`: false when the request is to be refused.
pub(super) fn restrict_names(stream: &mut Stream) -> bool {
    let restrict = |id| stream.snapshot.proxy(id).options.restrict_header_names;
    let rule = match (restrict(stream.frontend), restrict(stream.backend)) {
        (RestrictNames::Preserve, other) => other,
        (RestrictNames::Reject, _) | (_, RestrictNames::Reject) => RestrictNames::Reject,
        (RestrictNames::Delete, _) => RestrictNames::Delete,
    };
    let usual = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    match rule {
        RestrictNames::Preserve => true,
        RestrictNames::Reject => stream.request.headers().all(|header| usual(header.name)),
        RestrictNames::Delete => {
            stream.request.retain_headers(|header| usual(header.name));
            true
        }
    }
}
