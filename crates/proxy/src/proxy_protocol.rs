//! The PROXY protocol on the wire: what a client's connection begins with, and what a server's is to begin with.

use std::net::SocketAddr;

use telamon_http_proto::proxy_protocol::{self, ProxyHeader, ProxyHeaderError, Tlv};
use telamon_runtime::{Endpoint, Socket};
use telamon_tls::{Certificate, Handshake};

use crate::connection_error::ConnectionError;
use crate::listen::unmapped;
use crate::log;
use crate::model::SendProxy;
use crate::stream::{Session, Stream};

/// Reads the header from a client's connection and takes over the addresses that it tells; what follows it is left to be
/// read. Returns whether one came; if not, the reason is logged.
///
/// Source: HAProxy configuration manual, `accept-proxy`; the wait is that of `timeout client`.
pub(crate) async fn receive(session: &Session, socket: &Socket) -> bool {
    let worker = &session.worker;
    let proxy = session.snapshot.proxy(session.frontend);
    let deadline = worker.deadline();
    deadline.arm_optional_from(worker.now(), proxy.timeouts.client);
    let mut bytes = worker.lend_buffer();
    bytes.reserve(HEADER_MAX);
    let received = deadline.guard(read(socket, &mut bytes)).await;
    let seen = !bytes.is_empty();
    worker.return_buffer(bytes);
    worker.touch();
    match received.unwrap_or(Err(ConnectionError::ProxyTimeout)) {
        Ok(header) => {
            if let Some((from, to)) = header.addresses {
                session.keep_connection_addresses();
                session.src.replace(unmapped(Endpoint::Inet(from)));
                session.dst.replace(unmapped(Endpoint::Inet(to)));
            }
            _ = session.proxy_header.set(Box::new(header));
            true
        }
        Err(error) => {
            session.error.set(error);
            log::log_connection_error(session, error.text(), seen);
            false
        }
    }
}

/// The header, taken off the socket.
async fn read(socket: &Socket, bytes: &mut Vec<u8>) -> Result<ProxyHeader, ConnectionError> {
    let mut known = 0;
    loop {
        let len = match socket.peek_beyond(known, bytes).await {
            Ok(0) => return Err(ConnectionError::ProxyEmpty),
            Ok(len) => len,
            Err(_) => return Err(ConnectionError::ProxyAbort),
        };
        let parsed = proxy_protocol::parse(bytes).map_err(|error| match error {
            ProxyHeaderError::NotHeader => ConnectionError::ProxyNotHeader,
            ProxyHeaderError::Invalid => ConnectionError::ProxyBadHeader,
            ProxyHeaderError::UnknownProtocol => ConnectionError::ProxyBadProtocol,
        })?;
        if let Some((header, len)) = parsed {
            socket.discard(len).await.map_err(|_| ConnectionError::ProxyAbort)?;
            return Ok(header);
        }
        if len == bytes.capacity() {
            return Err(ConnectionError::ProxyBadHeader);
        }
        if len <= known {
            return Err(ConnectionError::ProxyTruncated);
        }
        known = len;
    }
}

/// Writes the header that a connection to a server begins with for this stream.
pub(crate) fn write(stream: &Stream, settings: &SendProxy, out: &mut Vec<u8>) {
    let session = &stream.session;
    let addresses = session.src.borrow().inet().zip(session.dst.borrow().inet());
    let told = Told {
        unique_id: if settings.unique_id { log::unique_id(stream) } else { b"" },
        authority: session.proxy_header.get().and_then(|header| header.authority.as_deref()),
        tls: session.root().tls.get().map(|tls| &**tls),
    };
    write_with(addresses, &told, settings, out);
}

/// Writes the header of a check, which speaks for this end of its own connection.
pub(crate) fn write_for_check(socket: &Socket, settings: &SendProxy, out: &mut Vec<u8>) {
    let address = |end: std::io::Result<Endpoint>| end.ok().and_then(|end| unmapped(end).inet());
    let addresses = address(socket.local()).zip(address(socket.peer()));
    write_with(addresses, &Told::default(), settings, out);
}

/// What version 2 can say besides the addresses.
#[derive(Default)]
struct Told<'a> {
    unique_id: &'a [u8],
    /// The host that the header in named.
    authority: Option<&'a [u8]>,
    /// The client's TLS.
    tls: Option<&'a Handshake>,
}

fn write_with(
    addresses: Option<(SocketAddr, SocketAddr)>,
    told: &Told<'_>,
    settings: &SendProxy,
    out: &mut Vec<u8>,
) {
    if !settings.version_2 {
        return proxy_protocol::write_v1(out, addresses);
    }
    let tls_value;
    let mut tlvs = Vec::new();
    if let Some(value) = told.tls.and_then(|tls| tls.alpn.as_deref()) {
        tlvs.push(Tlv { kind: Tlv::ALPN, value });
    }
    if settings.authority {
        let asked = told.tls.and_then(|tls| Some(tls.server_name.as_deref()?.as_bytes()));
        if let Some(value) = told.authority.or(asked) {
            tlvs.push(Tlv { kind: Tlv::AUTHORITY, value });
        }
    }
    if !told.unique_id.is_empty() {
        tlvs.push(Tlv { kind: Tlv::UNIQUE_ID, value: told.unique_id });
    }
    if settings.tls {
        tls_value = of_tls(told.tls, settings);
        tlvs.push(Tlv { kind: Tlv::SSL, value: &tls_value });
    }
    proxy_protocol::write_v2(out, addresses, settings.checksum, &tlvs);
}

/// The value about TLS (section 2.2.6): flags, what verification found, and values of its own.
fn of_tls(tls: Option<&Handshake>, settings: &SendProxy) -> Vec<u8> {
    const BY_TLS: u8 = 1;
    const CERTIFICATE_NOW: u8 = 2;
    const CERTIFICATE_EVER: u8 = 4;
    // Nothing was verified, which is not 0.
    let Some(tls) = tls else { return vec![0, 0, 0, 0, 1] };
    let client = tls.peer_certificate();
    let (flags, verified) = match (&client, tls.resumed) {
        (None, _) => (BY_TLS, 1),
        (Some(_), true) => (BY_TLS | CERTIFICATE_EVER, tls.verdict.result),
        (Some(_), false) => (BY_TLS | CERTIFICATE_EVER | CERTIFICATE_NOW, tls.verdict.result),
    };
    let mut out = vec![flags];
    out.extend_from_slice(&u32::from(verified).to_be_bytes());
    let mut add = |kind, value: &[u8]| Tlv { kind, value }.write(&mut out);
    if let Some(version) = tls.protocol() {
        add(Tlv::SSL_VERSION, version.as_bytes());
    }
    let subject = client.as_ref().map(Certificate::subject);
    if let Some(name) = subject.and_then(|subject| subject.entry(b"CN", 1))
        && settings.tls_name
    {
        add(Tlv::SSL_CN, name);
    }
    if let Some(own) = tls.own_der().and_then(|der| Certificate::parse(der).ok()) {
        if settings.tls_key
            && let Some(key) = own.key()
        {
            add(Tlv::SSL_KEY_ALG, key.as_bytes());
        }
        if settings.tls_signature {
            add(Tlv::SSL_SIG_ALG, own.signature_algorithm().as_bytes());
        }
    }
    if settings.tls_cipher {
        add(Tlv::SSL_CIPHER, tls.cipher_name().as_bytes());
    }
    out
}

/// The most that a header may have. The protocol allows 64 KiB, for values that nobody sends.
const HEADER_MAX: usize = 16 * 1024;
