//! Filling the slots of `capture request|response header` and `capture cookie`.

use telamon_http_proto::Head;
use telamon_runtime::Socket;

use crate::model::{CookieCapture, HeaderCapture};
use crate::stream::Stream;

/// One slot of a capture; `None` where nothing was captured.
type Slot = Option<Box<[u8]>>;

/// Makes the slots that the frontend declares and fills those of the request from its head as it came. In `mode tcp`,
/// where there is no head, it only makes the slots.
pub(crate) fn capture_request(stream: &mut Stream) {
    let snapshot = stream.snapshot.clone();
    let captures = &snapshot.proxy(stream.frontend).captures;
    headers(&captures.request, &stream.request, &mut stream.request_captures);
    stream.response_captures.clear();
    stream.response_captures.resize(captures.response.len(), None);
    if let Some(wanted) = &captures.cookie {
        let mut pairs = stream.request.header_lines(b"cookie").flat_map(pairs);
        stream.cookie_captures[0] = pairs.find_map(|pair| cookie(wanted, pair));
    }
}

/// Fills the slots of the response from its head as the server sent it.
pub(crate) fn capture_response(stream: &mut Stream) {
    let snapshot = stream.snapshot.clone();
    let captures = &snapshot.proxy(stream.frontend).captures;
    headers(&captures.response, &stream.response, &mut stream.response_captures);
    if let Some(wanted) = &captures.cookie {
        // One cookie a line, its attributes after it.
        let mut set =
            stream.response.header_lines(b"set-cookie").filter_map(|line| pairs(line).next());
        stream.cookie_captures[1] = set.find_map(|pair| cookie(wanted, pair));
    }
}

/// Notes the addresses of the connection to the server where the frontend's line shows them; asking for them costs a
/// system call each.
pub(crate) fn note_server(stream: &mut Stream, socket: &Socket) {
    let snapshot = stream.snapshot.clone();
    let Some(format) = &snapshot.proxy(stream.frontend).log.format else { return };
    if format.shows_server_source() {
        stream.log.server_source = socket.local().ok();
    }
    if format.shows_server_address() {
        stream.log.server_address = socket.peer().ok();
    }
}

/// Each slot takes the last field of its name, cut at its length. A slot that a rule fills stays as it is.
fn headers(declared: &[HeaderCapture], head: &Head, slots: &mut Vec<Slot>) {
    slots.resize(declared.len(), None);
    for (slot, capture) in slots.iter_mut().zip(declared) {
        let Some(name) = &capture.header else { continue };
        if let Some(value) = head.header_lines(name).next_back() {
            *slot = Some(cut(value, capture.len));
        }
    }
}

/// The `name=value` pairs of a `Cookie` line, or that of a `Set-Cookie` line and its attributes.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii)
}

/// The pair, cut, if it is the wanted cookie.
fn cookie(wanted: &CookieCapture, pair: &[u8]) -> Slot {
    let name = wanted.name.strip_suffix(b"=").unwrap_or(&wanted.name);
    let rest = pair.strip_prefix(name)?;
    let matches = !wanted.exact || rest.first() == Some(&b'=');
    matches.then(|| cut(pair, wanted.len))
}

fn cut(value: &[u8], len: usize) -> Box<[u8]> {
    value[..value.len().min(len)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_captured_by_name_or_prefix() {
        #[track_caller]
        fn check(name: &str, line: &str, expected: Option<&str>) {
            let exact = name.ends_with('=');
            let wanted = CookieCapture { name: name.as_bytes().into(), exact, len: 12 };
            let found = pairs(line.as_bytes()).find_map(|pair| cookie(&wanted, pair));
            let expected = expected.map(|text| Box::from(text.as_bytes()));
            assert_eq!(found, expected, "{name} in {line}");
        }
        check("SID", "a=b; SID=cli; x=y", Some("SID=cli"));
        check("SID", "SIDE=cli", Some("SIDE=cli"));
        check("SID=", "SIDE=cli;SID=x", Some("SID=x"));
        check("SID", "sid=cli", None);
        check("SID", "SID=1; SID=2", Some("SID=1"));
        check("SID", "SID=0123456789", Some("SID=01234567"));
        check("SID", "", None);
    }
}
