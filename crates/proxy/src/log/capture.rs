//! Filling the slots of `capture request|response header` and `capture cookie`.

use telamon_http_proto::Head;
use telamon_http_proto::cookie::{cookie_parts, set_cookie_ranges};

use crate::model::{CookieCapture, HeaderCapture};
use crate::stream::Stream;
use crate::upstream::ServerConnection;

/// One slot of a capture; `None` where nothing was captured.
type Slot = Option<Box<[u8]>>;

/// Makes the slots that the frontend declares and fills those of the request from its head as it came. In `mode tcp`,
/// where there is no head, it only makes the slots.
pub(crate) fn capture_request(stream: &mut Stream) {
    if stream.snapshot.proxy(stream.frontend).captures.is_empty() {
        return;
    }
    let snapshot = stream.snapshot.clone();
    let captures = &snapshot.proxy(stream.frontend).captures;
    headers(&captures.request, &stream.request, &mut stream.request_captures);
    stream.response_captures.clear();
    stream.response_captures.resize(captures.response.len(), None);
}

/// Fills the slot of `capture cookie` from the request as the rules have left it; HAProxy has none of a request that they
/// answer.
pub(crate) fn capture_cookie(stream: &mut Stream) {
    let snapshot = stream.snapshot.clone();
    let Some(wanted) = &snapshot.proxy(stream.frontend).captures.cookie else { return };
    let mut cookies = stream.request.header_lines(b"cookie").flat_map(|line| {
        let values = cookie_parts(line).filter_map(|part| Some((part.name, part.value?)));
        values.map(|(name, value)| (&line[name], &line[value]))
    });
    stream.cookie_captures[0] = cookies.find_map(|(name, value)| cookie(wanted, name, value));
}

/// Fills the slots of the response from its head as the server sent it.
pub(crate) fn capture_response(stream: &mut Stream) {
    if stream.snapshot.proxy(stream.frontend).captures.is_empty() {
        return;
    }
    let snapshot = stream.snapshot.clone();
    let captures = &snapshot.proxy(stream.frontend).captures;
    headers(&captures.response, &stream.response, &mut stream.response_captures);
    if let Some(wanted) = &captures.cookie {
        stream.cookie_captures[1] = stream.response.header_lines(b"set-cookie").find_map(|line| {
            let (name, value) = set_cookie_ranges(line)?;
            cookie(wanted, &line[name], &line[value])
        });
    }
}

/// Notes the addresses of the connection to the server where the frontend's line shows them; asking for them costs a
/// system call each.
pub(crate) fn note_server(stream: &mut Stream, connection: &ServerConnection) {
    let snapshot = stream.snapshot.clone();
    let Some(format) = &snapshot.proxy(stream.frontend).log.format else { return };
    if format.shows_server_source() {
        stream.log.server_source = connection.local();
    }
    if format.shows_server_address() {
        stream.log.server_address = connection.peer();
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

/// Name and value, cut, if it is the wanted cookie. An attribute of the `Cookie` line is none.
fn cookie(wanted: &CookieCapture, name: &[u8], value: &[u8]) -> Slot {
    let matches = if wanted.exact { name == &*wanted.name } else { name.starts_with(&wanted.name) };
    (matches && !name.starts_with(b"$")).then(|| {
        let mut pair = name.to_vec();
        pair.push(b'=');
        pair.extend_from_slice(value);
        pair.truncate(wanted.len);
        pair.into()
    })
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
        fn check(wanted: &str, name: &str, value: &str, expected: Option<&str>) {
            let bare = wanted.trim_end_matches('=');
            let exact = bare != wanted;
            let capture = CookieCapture { name: bare.as_bytes().into(), exact, len: 12 };
            let found = cookie(&capture, name.as_bytes(), value.as_bytes());
            let expected = expected.map(|text| Box::from(text.as_bytes()));
            assert_eq!(found, expected, "{wanted} of {name}");
        }
        check("SID", "SID", "cli", Some("SID=cli"));
        check("SID", "SIDE", "cli", Some("SIDE=cli"));
        check("SID=", "SIDE", "cli", None);
        check("SID=", "SID", "x", Some("SID=x"));
        check("SID", "sid", "cli", None);
        check("SID", "SID", "0123456789", Some("SID=01234567"));
        check("$", "$Path", "/", None);
    }
}
