//! What a request is recognized by: the key of `balance source`, `uri`, `hdr(…)` and the like.
//!
//! Computed once for each choice of a server, from the request as the rules have left it. The keys are HAProxy's to
//! the byte, since they decide which server a client finds after the balancer was changed.

use std::cell::Cell;

use telamon_balance::Key;
use telamon_http_proto::Head;

use crate::expr::{ValueType, fetches};
use crate::model::{Balance, BalanceKey, UriKey};
use crate::stream::{Context, Direction, Stream};

/// The key of the stream's request; `None` where the backend wants none, and where the request has none.
pub(crate) fn of(balance: &Balance, stream: &Stream) -> Option<Key> {
    let hash = balance.hash_type.key;
    let request = &stream.request;
    let text = match &balance.key {
        BalanceKey::None => return None,
        BalanceKey::Source => {
            return stream.session.src.borrow().ip().map(|ip| hash.of_address(ip));
        }
        BalanceKey::RdpCookie(expr) | BalanceKey::Sample(expr) => {
            let wants_more = Cell::new(false);
            let cx = Context::for_stream(stream, Direction::Request, &wants_more);
            let found = expr.eval_as(&cx, ValueType::Bin)?;
            let is_cookie = matches!(balance.key, BalanceKey::RdpCookie(_));
            if is_cookie && (wants_more.get() || found.as_bytes().is_none_or(<[u8]>::is_empty)) {
                return None;
            }
            return found.as_bytes().map(|bytes| hash.of_bytes(bytes));
        }
        BalanceKey::Text(expr) => {
            let wants_more = Cell::new(false);
            let cx = Context::for_stream(stream, Direction::Request, &wants_more);
            let found = expr.eval_as(&cx, ValueType::Str)?;
            let text = found.as_bytes().filter(|text| !text.is_empty())?;
            return Some(balance.text_hash().of_bytes(text));
        }
        _ if !request.is_complete() => return None,
        BalanceKey::Uri(options) => options.of(request),
        BalanceKey::Header { name, domain_only } => {
            let value = request.header_values(name).next().filter(|value| !value.is_empty())?;
            if *domain_only { domain(value) } else { value }
        }
        BalanceKey::UrlParam(name) => {
            let target = request.target();
            let query = memchr::memchr(b'?', target).map(|at| &target[at + 1..]);
            match query.and_then(|query| param(query, name)) {
                Some(value) => value,
                None => return param_in_body(request, name).map(|value| hash.of_bytes(&value)),
            }
        }
    };
    Some(hash.of_bytes(text))
}

impl UriKey {
    /// The part of the target that counts.
    fn of(self, request: &Head) -> &[u8] {
        let target = request.target();
        let mut text = if self.path_only { fetches::http::path_and_query(target) } else { target };
        if let Some(len) = self.len {
            text = &text[..len.min(text.len())];
        }
        if !self.whole
            && let Some(end) = memchr::memchr(b'?', text)
        {
            text = &text[..end];
        }
        if let Some(depth) = self.depth
            && let Some(end) = memchr::memchr_iter(b'/', text).nth(depth)
        {
            text = &text[..end];
        }
        text
    }
}

/// The label before the last dot. Without one, all of it; a dot in front does not count.
fn domain(host: &[u8]) -> &[u8] {
    let Some(end) = memchr::memrchr(b'.', host).filter(|end| *end > 0) else { return host };
    // HAProxy passes over the byte just before the dot.
    let start = memchr::memrchr(b'.', &host[..end - 1]).map_or(0, |dot| dot + 1);
    &host[start..end]
}

/// The value of the first parameter that is so named, up to the next `&`.
fn param<'t>(text: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    let mut rest = text;
    loop {
        if rest.get(name.len()) == Some(&b'=') && rest.starts_with(name) {
            let value = &rest[name.len() + 1..];
            return Some(&value[..memchr::memchr(b'&', value).unwrap_or(value.len())]);
        }
        rest = &rest[memchr::memchr(b'&', rest)? + 1..];
    }
}

/// The same of the body of a POST request, as far as it has arrived. A value that begins with what no token has makes it
/// something else than a form; one that begins with a blank is empty.
fn param_in_body(request: &Head, name: &[u8]) -> Option<Vec<u8>> {
    if request.method() != b"POST" {
        return None;
    }
    let body = fetches::http::body(request, request.request_body())?;
    let value = param(&body, name)?;
    match value.first() {
        Some(b' ' | b'\t' | b'\r' | b'\n') => Some(Vec::new()),
        Some(byte) if !is_token(*byte) => None,
        _ => Some(value.to_vec()),
    }
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use telamon_balance::hash::KeyHash;

    use super::*;
    use crate::fixture;

    /// What is hashed of a request; `None` for one that has no key. `conformance/choices` asks HAProxy the same.
    #[track_caller]
    fn check(key: BalanceKey, request: &'static str, expected: Option<&str>) {
        let balance = Balance { key, ..Balance::default() };
        let request = request.as_bytes();
        let found = fixture::with_stream(fixture::model(), request, ANSWER, move |stream| {
            of(&balance, stream)
        });
        let expected = expected.map(|text| KeyHash::default().of_bytes(text.as_bytes()));
        assert_eq!(found, expected);
    }

    const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

    #[test]
    fn uris_are_cut_as_haproxy_cuts_them() {
        const PLAIN: &str = "GET /a/b/c?q=/d HTTP/1.1\r\nhost: h\r\n\r\n";
        const ABSOLUTE: &str = "GET http://h:81/a/b?q HTTP/1.1\r\nhost: h:81\r\n\r\n";
        let uri =
            |whole, path_only, len, depth| BalanceKey::Uri(UriKey { whole, path_only, len, depth });
        check(uri(false, false, None, None), PLAIN, Some("/a/b/c"));
        check(uri(true, false, None, None), PLAIN, Some("/a/b/c?q=/d"));
        check(uri(false, false, Some(3), None), PLAIN, Some("/a/"));
        check(uri(false, false, None, Some(1)), PLAIN, Some("/a"));
        check(uri(false, false, None, Some(9)), PLAIN, Some("/a/b/c"));
        check(uri(true, false, None, Some(3)), PLAIN, Some("/a/b/c?q="));
        check(uri(true, false, Some(4), Some(1)), PLAIN, Some("/a"));
        check(uri(false, false, None, None), ABSOLUTE, Some("http://h:81/a/b"));
        check(uri(false, true, None, None), ABSOLUTE, Some("/a/b"));
        check(uri(true, true, None, None), ABSOLUTE, Some("/a/b?q"));
    }

    #[test]
    fn parameters_are_found_in_query_and_body() {
        let id = || BalanceKey::UrlParam(b"id"[..].into());
        check(id(), "GET /?a=b&id=7&id=8 HTTP/1.1\r\nhost: h\r\n\r\n", Some("7"));
        check(id(), "GET /?xid=1&ID=2 HTTP/1.1\r\nhost: h\r\n\r\n", None);
        check(id(), "GET /?id= HTTP/1.1\r\nhost: h\r\n\r\n", Some(""));
        check(id(), "GET /id=3 HTTP/1.1\r\nhost: h\r\n\r\n", None);
        check(id(), "GET /?a;id=3 HTTP/1.1\r\nhost: h\r\n\r\n", None);
        let post = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 8\r\n\r\na&id=x(y";
        check(id(), post, Some("x(y"));
        let binary = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\n\r\nid=(xy";
        check(id(), binary, None);
        let blank = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nid= x";
        check(id(), blank, Some(""));
        let put = "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nid=1";
        check(id(), put, None);
        let chunked = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n4\r\nid=1\r\n0\r\n\r\n";
        check(id(), chunked, Some("1"));
    }

    #[test]
    fn headers_give_their_first_value() {
        let header = |domain_only| BalanceKey::Header { name: b"x-a"[..].into(), domain_only };
        check(header(false), "GET / HTTP/1.1\r\nhost: h\r\nX-A: a , b\r\n\r\n", Some("a"));
        check(header(false), "GET / HTTP/1.1\r\nhost: h\r\nx-a: ,b\r\n\r\n", None);
        check(header(false), "GET / HTTP/1.1\r\nhost: h\r\n\r\n", None);
        for (host, expected) in [
            ("www.example.com", "example"),
            ("example.com", "example"),
            ("com", "com"),
            (".com", ".com"),
            ("a.b.c.d", "c"),
            ("a..b", "a."),
            ("a.", "a"),
        ] {
            assert_eq!(domain(host.as_bytes()), expected.as_bytes(), "{host}");
        }
    }

    #[test]
    fn a_client_without_an_address_has_no_key() {
        let of_address = KeyHash::default().of_address([10, 0, 0, 7].into());
        let balance = Balance { key: BalanceKey::Source, ..Balance::default() };
        let request = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
        let found = fixture::with_stream(fixture::model(), request, ANSWER, move |stream| {
            let known = of(&balance, stream);
            *stream.session.src.borrow_mut() = telamon_runtime::Endpoint::Unix("".into());
            [known, of(&balance, stream)]
        });
        assert_eq!(found, [Some(of_address), None]);
    }
}
