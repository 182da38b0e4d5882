//! The request line as the client sent it, taken apart for the log.
//!
//! A log shows what arrived, so these work on the line and not on the head that rules may have changed.

/// What is wanted of a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// `GET /a?b HTTP/1.1`: all of it.
    Line,
    Method,
    /// The target, with its query.
    Uri,
    UriWithoutQuery,
    /// The target's path alone, also of `http://host/path`.
    Path,
    /// With its question mark; empty where there is none.
    Query,
    /// `HTTP/0.9` where the line has none.
    Version,
}

/// Takes a part out of a request line; `<BADREQ>` where there was no line or it has no such part.
pub(crate) fn part(line: Option<&[u8]>, part: Part) -> &[u8] {
    const BAD: &[u8] = b"<BADREQ>";
    let Some(line) = line else { return BAD };
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let word_len = |text: &[u8]| text.iter().position(blank).unwrap_or(text.len());
    let blank_len = |text: &[u8]| text.iter().take_while(|&byte| blank(byte)).count();

    let (method, rest) = line.split_at(word_len(line));
    let after_method = &rest[blank_len(rest)..];
    let (uri, rest) = after_method.split_at(word_len(after_method));
    let version = &rest[blank_len(rest)..];
    let lone_word = method.len() == line.len();
    match part {
        Part::Line => line,
        // HAProxy looks for the query in the whole line, so also in a lone word.
        Part::Query => match line.iter().position(|&byte| byte == b'?') {
            Some(mark) => &line[mark..mark + word_len(&line[mark..])],
            None => b"",
        },
        _ if lone_word => BAD,
        Part::Method => method,
        Part::Uri => uri,
        Part::UriWithoutQuery => before(uri, b'?'),
        Part::Path => path(before(uri, b'?')),
        Part::Version if version.is_empty() => b"HTTP/0.9",
        Part::Version => version,
    }
}

/// The path of a target without its query; empty for `*` and an authority.
fn path(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(scheme) = memchr::memmem::find(target, b"://") else { return b"" };
    let authority = scheme + 3;
    match memchr::memchr(b'/', &target[authority..]) {
        Some(slash) => &target[authority + slash..],
        None => b"",
    }
}

fn before(text: &[u8], mark: u8) -> &[u8] {
    &text[..memchr::memchr(mark, text).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, URI, URI without query, path, query and version, in that order.
    #[track_caller]
    fn check(line: &str, expected: [&str; 6]) {
        let parts = [
            Part::Method,
            Part::Uri,
            Part::UriWithoutQuery,
            Part::Path,
            Part::Query,
            Part::Version,
        ];
        let found =
            parts.map(|wanted| str::from_utf8(part(Some(line.as_bytes()), wanted)).unwrap());
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn request_lines() {
        check("GET /a?b=c HTTP/1.1", ["GET", "/a?b=c", "/a", "/a", "?b=c", "HTTP/1.1"]);
        check("OPTIONS * HTTP/1.1", ["OPTIONS", "*", "*", "", "", "HTTP/1.1"]);
        check("CONNECT a:80 HTTP/1.1", ["CONNECT", "a:80", "a:80", "", "", "HTTP/1.1"]);
        check(
            "GET http://h/r/4?q=4 HTTP/1.1",
            ["GET", "http://h/r/4?q=4", "http://h/r/4", "/r/4", "?q=4", "HTTP/1.1"],
        );
        check("GET http://h HTTP/1.0", ["GET", "http://h", "http://h", "", "", "HTTP/1.0"]);
        check("GET /", ["GET", "/", "/", "/", "", "HTTP/0.9"]);
        let bad = "<BADREQ>";
        check("GET", [bad, bad, bad, bad, "", bad]);
        for wanted in [Part::Line, Part::Query, Part::Method, Part::Version] {
            assert_eq!(part(None, wanted), bad.as_bytes());
        }
    }
}
