//! Request targets, hosts, query strings and percent-encoding (RFC 9112, section 3.2; RFC 3986).

use crate::bytes::{IP_LITERAL, REG_NAME, URI, URI_CLASS, hex_pair, usual_in_names};
use crate::head::Method;

/// The parts of a request target, as ranges of it.
///
/// ```text
/// http://user.example:80/a/b?c=d
///        ^authority     ^path^query_mark
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    form: Form,
    scheme_len: u32,
    authority: (u32, u32),
    path: (u32, u32),
    /// End of the path is a `?`.
    has_query: bool,
}

/// The four forms of a request target (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, of CONNECT
    Authority,
    /// `*`, of OPTIONS
    Asterisk,
}

impl Target {
    /// Takes a target apart; the error is the offset of the first byte that cannot stand.
    ///
    /// A fragment (`#`), an empty host, and bytes outside RFC 3986 are refused. HAProxy takes
    /// every visible ASCII byte but `#`.
    ///
    /// # Errors
    /// The offset of the offending byte.
    pub fn parse(method: Method, target: &[u8]) -> Result<Self, usize> {
        if target.first() == Some(&b'/') && method != Method::Connect {
            return match Self::read_origin(target) {
                Some((parts, len)) if len == target.len() => Ok(parts),
                other => Err(other.map_or(0, |(_, len)| len)),
            };
        }
        let parts = Self::split(method, target);
        match parts.form {
            Form::Asterisk if method != Method::Options => return Err(0),
            Form::Origin => return Err(0),
            Form::Authority => {
                let colon = memchr::memrchr(b':', target).ok_or(target.len())?;
                if colon == 0 || colon + 1 == target.len() || !is_host(target) {
                    return Err(0);
                }
            }
            Form::Absolute => {
                let (from, to) = (parts.authority.0 as usize, parts.authority.1 as usize);
                let host = without_user_info(&target[from..to]);
                let user_info = &target[from..(to - host.len()).saturating_sub(1).max(from)];
                if host.is_empty() || !is_host(host) || !user_info.iter().all(|&b| is_user_info(b))
                {
                    return Err(from);
                }
            }
            Form::Asterisk => {}
        }
        check_uri(target, parts.path_start())?;
        Ok(parts)
    }

    /// Reads a target in origin form, as long as it goes, from the front of `bytes`; returns its
    /// parts and its length.
    #[inline]
    pub(crate) fn read_origin(bytes: &[u8]) -> Option<(Self, usize)> {
        if bytes.first() != Some(&b'/') {
            return None;
        }
        let path_end = uri_run(bytes, 1);
        let has_query = bytes.get(path_end) == Some(&b'?');
        let mut end = path_end;
        while bytes.get(end) == Some(&b'?') {
            end = uri_run(bytes, end + 1);
        }
        Some((Self { path: (0, path_end as u32), has_query, ..Self::default() }, end))
    }

    /// As [`Target::parse`], but any visible byte may stand anywhere.
    ///
    /// # Errors
    /// The offset of a control byte or space, 0 for an empty target.
    pub fn parse_lenient(method: Method, target: &[u8]) -> Result<Self, usize> {
        match target.iter().position(|&b| b <= b' ' || b == 0x7f) {
            Some(offset) => Err(offset),
            None if target.is_empty() => Err(0),
            None => Ok(Self::split(method, target)),
        }
    }

    /// Which of the four forms it has.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn scheme<'t>(&self, target: &'t [u8]) -> Option<&'t [u8]> {
        if self.form == Form::Absolute { target.get(..self.scheme_len as usize) } else { None }
    }

    pub(crate) fn authority<'t>(&self, target: &'t [u8]) -> Option<&'t [u8]> {
        if matches!(self.form, Form::Absolute | Form::Authority) {
            target.get(self.authority.0 as usize..self.authority.1 as usize)
        } else {
            None
        }
    }

    pub(crate) fn path<'t>(&self, target: &'t [u8]) -> &'t [u8] {
        target.get(self.path_start()..self.path_end()).unwrap_or_default()
    }

    pub(crate) fn query<'t>(&self, target: &'t [u8]) -> Option<&'t [u8]> {
        if self.has_query { target.get(self.path_end() + 1..) } else { None }
    }

    pub(crate) fn path_and_query<'t>(&self, target: &'t [u8]) -> &'t [u8] {
        match self.form {
            Form::Asterisk | Form::Authority => b"",
            Form::Origin | Form::Absolute => target.get(self.path_start()..).unwrap_or_default(),
        }
    }

    pub(crate) fn path_start(&self) -> usize {
        self.path.0 as usize
    }

    pub(crate) fn path_end(&self) -> usize {
        self.path.1 as usize
    }

    pub(crate) fn is_asterisk(&self) -> bool {
        self.form == Form::Asterisk
    }

    fn split(method: Method, target: &[u8]) -> Self {
        let end = target.len() as u32;
        let mut parts = Self { path: (end, end), ..Self::default() };
        let mut path_at = 0;
        if method == Method::Connect {
            parts.form = Form::Authority;
            parts.authority = (0, end);
            return parts;
        } else if target.first() == Some(&b'/') {
            // The usual form; the path begins at once.
        } else if target == b"*" {
            parts.form = Form::Asterisk;
            parts.path = (0, 0);
            return parts;
        } else if let Some(scheme_len) = scheme_len(target) {
            let from = scheme_len + 3;
            let rest = &target[from..];
            path_at =
                from + rest.iter().position(|&b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
            parts.form = Form::Absolute;
            parts.scheme_len = scheme_len as u32;
            parts.authority = (from as u32, path_at as u32);
        }
        let path_end = memchr::memchr(b'?', &target[path_at..]).map(|at| path_at + at);
        parts.path = (path_at as u32, path_end.unwrap_or(target.len()) as u32);
        parts.has_query = path_end.is_some();
        parts
    }
}

/// Whether `text` is `uri-host [ ":" port ]`, or empty (RFC 9110, section 7.2).
#[must_use]
pub fn is_host(text: &[u8]) -> bool {
    // Most are a name or an IPv4 address.
    let mut rest = &text[usual_in_names(text)..];
    while let [b, tail @ ..] = rest
        && URI_CLASS[usize::from(*b)] & REG_NAME != 0
    {
        rest = tail;
    }
    match rest {
        [] => return true,
        [b':', port @ ..] if rest.len() < text.len() => return is_port(port),
        _ => {}
    }
    is_unusual_host(text)
}

/// Digits, or none, up to 65535.
fn is_port(text: &[u8]) -> bool {
    let mut port = 0;
    text.iter().all(|b| {
        port = port * 10 + u32::from(b.wrapping_sub(b'0'));
        b.is_ascii_digit() && port <= 65535
    })
}

/// With an IP literal or percent-encoding in it.
#[cold]
fn is_unusual_host(text: &[u8]) -> bool {
    let (host, port) = split_port(text);
    if !is_port(port) {
        return false;
    }
    match host {
        [b'[', literal @ .., b']'] => {
            literal.contains(&b':')
                && literal.iter().all(|&b| URI_CLASS[usize::from(b)] & IP_LITERAL != 0)
        }
        _ => {
            let mut rest = host;
            while let [first, tail @ ..] = rest {
                rest = match first {
                    b'%' if hex_pair(tail).is_some() => &tail[2..],
                    _ if URI_CLASS[usize::from(*first)] & REG_NAME != 0 => tail,
                    _ => return false,
                };
            }
            // `:80` names no host.
            !host.is_empty() || text.is_empty()
        }
    }
}

/// Splits `host:port`; the port is empty if there is none.
#[must_use]
pub fn split_port(authority: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b':', authority) {
        // A colon inside an IP literal is not a port's.
        Some(colon) if !authority[colon..].contains(&b']') => {
            (&authority[..colon], &authority[colon + 1..])
        }
        _ => (authority, b""),
    }
}

/// An authority without `user:password@`.
#[must_use]
pub fn without_user_info(authority: &[u8]) -> &[u8] {
    memchr::memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..])
}

/// Whether two authorities name the same host and port; the port of the scheme may be left out
/// (RFC 9110, section 4.2.3). Without a scheme (CONNECT) 80 and 443 may both be left out.
pub(crate) fn same_authority(a: &[u8], b: &[u8], scheme: Option<&[u8]>) -> bool {
    let (host_a, port_a) = split_port(without_user_info(a));
    let (host_b, port_b) = split_port(b);
    let same_port = port_a == port_b
        || (port_a.is_empty() && is_default_port(scheme, port_b))
        || (port_b.is_empty() && is_default_port(scheme, port_a));
    same_port && host_a.eq_ignore_ascii_case(host_b)
}

/// Whether the port is the scheme's own; without a scheme (CONNECT) 80 and 443 are.
pub(crate) fn is_default_port(scheme: Option<&[u8]>, port: &[u8]) -> bool {
    match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"http") => port == b"80",
        Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => port == b"443",
        Some(_) => false,
        None => port == b"80" || port == b"443",
    }
}

/// Replaces `%HH` by its byte, in place of a copy; `plus_is_space` as in query strings. `None` if
/// a `%` is not followed by two hexadecimal digits, as HAProxy's `url_dec` fails then.
#[must_use]
pub fn url_decode(text: &[u8], plus_is_space: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                out.push(hex_pair(tail)?);
                rest = &tail[2..];
            }
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(*first),
        }
    }
    Some(out)
}

/// The parameters of a query string as `(name, value)`, not decoded; a parameter without `=` has
/// an empty value. `delimiter` is `&`, or what `url_param` was given.
pub fn query_params(query: &[u8], delimiter: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(move |&b| b == delimiter).filter(|param| !param.is_empty()).map(|param| {
        match memchr::memchr(b'=', param) {
            Some(at) => (&param[..at], &param[at + 1..]),
            None => (param, &param[param.len()..]),
        }
    })
}

/// Length of the scheme if `target` begins with `scheme "://"`.
fn scheme_len(target: &[u8]) -> Option<usize> {
    let len = target
        .iter()
        .position(|&b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')))?;
    (target[0].is_ascii_alphabetic() && target[len..].starts_with(b"://")).then_some(len)
}

/// `unreserved / pct-encoded / sub-delims / ":"` of RFC 3986, section 3.2.1.
fn is_user_info(b: u8) -> bool {
    URI_CLASS[usize::from(b)] & IP_LITERAL != 0 || b == b'%'
}

/// Checks path and query from `at` on.
fn check_uri(target: &[u8], at: usize) -> Result<(), usize> {
    let mut end = uri_run(target, at);
    while target.get(end) == Some(&b'?') {
        end = uri_run(target, end + 1);
    }
    if end == target.len() { Ok(()) } else { Err(end) }
}

/// The end of the run of bytes from `at` on that may stand in a path or a query, `?` apart.
#[inline]
fn uri_run(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&b) = bytes.get(at) {
        if URI_CLASS[usize::from(b)] & URI != 0 {
            at += 1;
        } else if b == b'%' && hex_pair(&bytes[at + 1..]).is_some() {
            at += 3;
        } else {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for host in ["", "a", "a.b:80", "1.2.3.4", "[::1]", "[::1]:80", "a%41", "a:", "x_y"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            ":", ":80", "a b", "a@b", "a/b", "a:b", "a:65536", "[]", "[1]", "[::1", "::1", "a%4",
            "a\"b",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn authorities_may_leave_out_the_port_of_their_scheme() {
        #[track_caller]
        fn check(a: &str, b: &str, scheme: Option<&[u8]>, expected: bool) {
            assert_eq!(same_authority(a.as_bytes(), b.as_bytes(), scheme), expected, "{a} {b}");
        }
        check("a", "A", Some(b"http"), true);
        check("a:80", "a", Some(b"HTTP"), true);
        check("a:443", "a", Some(b"http"), false);
        check("a", "a:443", Some(b"https"), true);
        check("a:80", "a", Some(b"x"), false);
        check("[::1]", "[::1]:80", Some(b"http"), true);
        check("u:p@a:80", "a", Some(b"http"), true);
        check("a:443", "a", None, true);
        check("a:1", "a", None, false);
    }

    #[test]
    fn percent_encoding() {
        assert_eq!(url_decode(b"a%41+%zz", true), None);
        assert_eq!(url_decode(b"a%41+b", true).as_deref(), Some(&b"aA b"[..]));
        assert_eq!(url_decode(b"a+%2B%00", false).as_deref(), Some(&b"a++\0"[..]));
        assert_eq!(url_decode(b"%4", true), None);
    }

    #[test]
    fn query_strings() {
        let params: Vec<_> = query_params(b"a=1&&b&c==2&", b'&').collect();
        assert_eq!(params, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"c", b"=2")]);
    }
}
