//! The request that an HTTP check sends.

use telamon_balance::Run;
use telamon_http_proto::Method;

use crate::model::{CheckRequest, Model, Proxy, Server};
use crate::stream::Context;

/// Writes the request as HAProxy would: names in lower case, `content-length` where there is a body or the method
/// promises one, and `connection: close` last in HTTP/1.1.
pub(super) fn write(
    request: &CheckRequest,
    send_state: bool,
    (proxy, server): (&Proxy, &Server),
    cx: &Context<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&request.method);
    out.push(b' ');
    match super::expect::text(&request.uri, cx) {
        Ok(uri) => out.extend_from_slice(&uri),
        Err(_) => out.push(b'/'),
    }
    out.push(b' ');
    out.extend_from_slice(&request.version);
    out.extend_from_slice(b"\r\n");
    let mut connection = false;
    let mut value = Vec::new();
    for (name, format) in &request.headers {
        value.clear();
        format.render(cx, &mut value);
        if value.is_empty() {
            continue;
        }
        connection |= name.eq_ignore_ascii_case(b"connection");
        write_header(name, &value, out);
    }
    if send_state {
        write_header(b"x-haproxy-server-state", state(proxy, server, cx.model).as_bytes(), out);
    }
    let body = request.body.as_ref().and_then(|body| super::expect::text(body, cx).ok());
    let body = body.as_deref().unwrap_or_default();
    let expects_none = matches!(
        Method::of(&request.method),
        Method::Options | Method::Get | Method::Head | Method::Delete
    );
    if !expects_none || !body.is_empty() {
        write_header(b"content-length", body.len().to_string().as_bytes(), out);
    }
    if !connection && *request.version > b"HTTP/1.0"[..] {
        write_header(b"connection", b"close", out);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn write_header(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// What `http-check send-state` tells the server of itself.
fn state(proxy: &Proxy, server: &Server, model: &Model) -> String {
    let member = &server.state.member;
    let status = member.status();
    let up = status.run != Run::Stopped;
    let words = match status.checks {
        None => "no check".to_owned(),
        Some(checks) => {
            let word = match status.run {
                Run::Stopped => "DOWN",
                Run::Stopping => "NOLB",
                _ => "UP",
            };
            match (up, checks.is_full(), checks.health) {
                (true, true, _) | (false, _, 0) => word.to_owned(),
                (true, ..) => {
                    format!(
                        "{word} {}/{}",
                        (checks.health + 1).saturating_sub(checks.rise),
                        checks.fall
                    )
                }
                (false, ..) => format!("{word} {}/{}", checks.health, checks.rise),
            }
        }
    };
    let address = server.state.address().endpoint;
    let (ip, port) = match address.inet() {
        Some(inet) => (inet.ip().to_string(), inet.port().to_string()),
        None => ("unix".to_owned(), String::new()),
    };
    let (total, in_backend, queued) = proxy.backend.as_ref().map_or((0, 0, 0), |backend| {
        let load = backend.pool.load();
        (backend.pool.weight(), load.current().saturating_sub(load.queued()), member.load.queued())
    });
    format!(
        "{words}; address={ip}; port={port}; name={}/{}; node={}; weight={}/{total}; scur={}/{in_backend}; qcur={queued}",
        proxy.name,
        server.name,
        model.global.node.as_deref().map_or_else(hostname, str::to_owned),
        member.effective_weight(),
        member.load.current(),
    )
}

/// What `node` is where nothing is written.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
