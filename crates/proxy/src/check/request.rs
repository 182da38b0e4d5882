//! The request that an HTTP check sends.

use telamon_balance::Run;
use telamon_http_proto::Method;
use telamon_http_proto::values::list_values;

use crate::model::{CheckRequest, Model, Proxy, Server};
use crate::stream::Context;

/// Writes the request as HAProxy would: names in lower case, `content-length` where there is a body or the method
/// promises one, and what becomes of the connection last. A version above 1.1 is written as 1.1.
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
    let persists = persists(&request.version);
    out.extend_from_slice(if persists { b"HTTP/1.1" } else { &request.version });
    out.extend_from_slice(b"\r\n");
    let mut connection = Connection::default();
    let mut value = Vec::new();
    for (name, format) in &request.headers {
        value.clear();
        format.render(cx, &mut value);
        if name.eq_ignore_ascii_case(b"connection") {
            value = connection.take(&value);
        }
        if value.is_empty() {
            continue;
        }
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
    if let Some(last) = connection.last(persists) {
        write_header(b"connection", last, out);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

/// Whether connections of that version stay unless a side says otherwise: HTTP/1.1 and what HAProxy writes as such.
fn persists(version: &[u8]) -> bool {
    match version {
        [name @ .., major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => {
            name.eq_ignore_ascii_case(b"HTTP/") && (major, minor) >= (&b'1', &b'1')
        }
        version => version == b"HTTP/2",
    }
}

/// What `Connection` fields of the configuration say of the connection itself. It is taken out of them and said once, at
/// the end; other options stay where they are.
#[derive(Debug, Default)]
struct Connection {
    named: bool,
    close: bool,
    upgrade: bool,
}

impl Connection {
    /// Looks at a field; returns what stays of it.
    fn take(&mut self, value: &[u8]) -> Vec<u8> {
        self.named = true;
        let mut rest = Vec::new();
        for option in list_values(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
            if !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
            {
                if !rest.is_empty() {
                    rest.extend_from_slice(b", ");
                }
                rest.extend_from_slice(option);
            }
        }
        rest
    }

    /// What is to be said of it.
    fn last(&self, persists: bool) -> Option<&'static [u8]> {
        if self.upgrade {
            return None;
        }
        match persists {
            true => (self.close || !self.named).then_some(b"close"),
            false => (self.named && !self.close).then_some(b"keep-alive"),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The version of a request, the `Connection` fields of the configuration, and what is sent of both.
    #[track_caller]
    fn check(version: &str, fields: &[&str], expected: &str) {
        let persists = persists(version.as_bytes());
        let mut connection = Connection::default();
        let mut sent = vec![if persists { "HTTP/1.1" } else { version }.to_owned()];
        for field in fields {
            sent.push(String::from_utf8(connection.take(field.as_bytes())).unwrap());
        }
        let last = connection.last(persists).unwrap_or_default();
        sent.push(String::from_utf8_lossy(last).into_owned());
        assert_eq!(sent.join("|"), expected);
    }

    #[test]
    fn what_becomes_of_the_connection_is_said_last() {
        check("HTTP/1.0", &[], "HTTP/1.0|");
        check("HTTP/1.0", &["close"], "HTTP/1.0||");
        check("HTTP/1.0", &["keep-alive"], "HTTP/1.0||keep-alive");
        check("HTTP/1.0", &["foo"], "HTTP/1.0|foo|keep-alive");
        check("HTTP/1.1", &[], "HTTP/1.1|close");
        check("HTTP/1.1", &["keep-alive", "upgrade"], "HTTP/1.1||upgrade|");
        check("HTTP/1.1", &["Close,Upgrade"], "HTTP/1.1|Upgrade|");
        check("HTTP/1.1", &["close, foo, keep-alive"], "HTTP/1.1|foo|close");
        check("http/1.1", &[], "HTTP/1.1|close");
        for later in ["HTTP/1.7", "HTTP/2.0", "HTTP/3.7"] {
            check(later, &[], "HTTP/1.1|close");
        }
        for other in ["HTTP/0.9", "HTTP/10.1", "HTTP/1.1x", "FOO"] {
            check(other, &[], &format!("{other}|"));
        }
    }
}
