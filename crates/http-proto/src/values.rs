//! Inside field values: comma-separated lists and cookies.

use crate::bytes::trim;

/// Takes a comma-separated list apart (RFC 9110, section 5.6.1); see [`ListValues`].
#[must_use]
pub fn list_values(line: &[u8]) -> ListValues<'_> {
    ListValues { rest: Some(line) }
}

/// Iterator over the elements of a list, without white space around them. A comma inside a
/// quoted string does not separate. Empty elements are returned, as HAProxy's `req.hdr` does.
#[derive(Clone, Debug)]
pub struct ListValues<'v> {
    rest: Option<&'v [u8]>,
}

impl<'v> Iterator for ListValues<'v> {
    type Item = &'v [u8];

    fn next(&mut self) -> Option<&'v [u8]> {
        let line = self.rest.take()?;
        let mut quoted = false;
        let mut escaped = false;
        for (at, &b) in line.iter().enumerate() {
            if escaped {
                escaped = false;
            } else if quoted {
                escaped = b == b'\\';
                quoted = b != b'"';
            } else if b == b'"' {
                quoted = true;
            } else if b == b',' {
                self.rest = Some(&line[at + 1..]);
                return Some(trim(&line[..at]));
            }
        }
        Some(trim(line))
    }
}

/// The cookies of one `Cookie` line as `(name, value)` (RFC 6265, section 4.2.1). Quotes around
/// a value are part of it. A part without `=` is left out.
pub fn cookies(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    line.split(|&b| b == b';').filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        Some((trim(&pair[..at]), trim(&pair[at + 1..])))
    })
}

/// Name and value of one `Set-Cookie` line (RFC 6265, section 4.1.1), attributes left out.
#[must_use]
pub fn set_cookie(line: &[u8]) -> Option<(&[u8], &[u8])> {
    cookies(line).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_pairs() {
        let pairs: Vec<_> = cookies(b"a=1; b = \"2,3\" ;c;=x; d=e=f").collect();
        assert_eq!(
            pairs,
            [(&b"a"[..], &b"1"[..]), (b"b", b"\"2,3\""), (b"", b"x"), (b"d", b"e=f")]
        );
        assert_eq!(set_cookie(b"a=b; Path=/"), Some((&b"a"[..], &b"b"[..])));
    }
}
