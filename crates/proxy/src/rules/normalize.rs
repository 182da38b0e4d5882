//! `http-request normalize-uri`: RFC 3986, section 6.2.2, one step at a time.

use telamon_config::Args;

/// A step of normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalizer {
    FragmentEncode,
    FragmentStrip,
    PathMergeSlashes,
    PathStripDot,
    PathStripDotdot { full: bool },
    PercentDecodeUnreserved { strict: bool },
    PercentToUppercase { strict: bool },
    QuerySortByName,
}

/// What came of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rewritten {
    Same,
    To(Vec<u8>),
    /// `strict`, and there is a `%` that two hexadecimal digits do not follow.
    Invalid,
}

impl Normalizer {
    /// Reads `STEP [full | strict]`.
    pub(super) fn read(args: &mut Args<'_>) -> Option<Self> {
        const STEPS: &[(&str, Normalizer)] = &[
            ("fragment-encode", Normalizer::FragmentEncode),
            ("fragment-strip", Normalizer::FragmentStrip),
            ("path-merge-slashes", Normalizer::PathMergeSlashes),
            ("path-strip-dot", Normalizer::PathStripDot),
            ("path-strip-dotdot", Normalizer::PathStripDotdot { full: false }),
            ("percent-decode-unreserved", Normalizer::PercentDecodeUnreserved { strict: false }),
            ("percent-to-uppercase", Normalizer::PercentToUppercase { strict: false }),
            ("query-sort-by-name", Normalizer::QuerySortByName),
        ];
        let step = args.one_of("normalizer", STEPS)?;
        Some(match step {
            Self::PathStripDotdot { .. } => Self::PathStripDotdot { full: args.accept("full") },
            Self::PercentDecodeUnreserved { .. } => {
                Self::PercentDecodeUnreserved { strict: args.accept("strict") }
            }
            Self::PercentToUppercase { .. } => {
                Self::PercentToUppercase { strict: args.accept("strict") }
            }
            step => step,
        })
    }

    /// Applies the step to a path and its query.
    pub(super) fn apply(self, target: &[u8]) -> Rewritten {
        let mark = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
        let (path, query) = target.split_at(mark);
        let new = match self {
            Self::FragmentEncode => encode_fragment(target),
            Self::FragmentStrip => {
                let end = target.iter().position(|&byte| byte == b'#').unwrap_or(target.len());
                target[..end].to_vec()
            }
            Self::PathMergeSlashes => [&merge_slashes(path), query].concat(),
            Self::PathStripDot => [&strip_dot(path), query].concat(),
            Self::PathStripDotdot { full } => [&strip_dotdot(path, full), query].concat(),
            Self::QuerySortByName => match query.strip_prefix(b"?") {
                Some(query) => [path, b"?", &sort_by_name(query)].concat(),
                None => return Rewritten::Same,
            },
            Self::PercentDecodeUnreserved { strict } => {
                match map_percent(target, strict, |hex, byte, out| {
                    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                        out.push(byte);
                    } else {
                        out.extend_from_slice(hex);
                    }
                }) {
                    Some(new) => new,
                    None => return Rewritten::Invalid,
                }
            }
            Self::PercentToUppercase { strict } => {
                match map_percent(target, strict, |hex, _, out| {
                    out.extend(hex.iter().map(u8::to_ascii_uppercase));
                }) {
                    Some(new) => new,
                    None => return Rewritten::Invalid,
                }
            }
        };
        if new == target { Rewritten::Same } else { Rewritten::To(new) }
    }
}

fn encode_fragment(target: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = target.split(|&byte| byte == b'#').collect();
    parts.join(&b"%23"[..])
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut new = path.to_vec();
    new.dedup_by(|next, last| *next == b'/' && *last == b'/');
    new
}

/// Removes the segments `.`; one at the end leaves its slash.
fn strip_dot(path: &[u8]) -> Vec<u8> {
    let mut new = Vec::with_capacity(path.len());
    let mut segments = path.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        if segment != b"." {
            new.extend_from_slice(segment);
            if segments.peek().is_some() {
                new.push(b'/');
            }
        }
    }
    new
}

/// Removes the segments `..` with those before them. At the beginning there is none before: `full` removes it alone.
fn strip_dotdot(path: &[u8], full: bool) -> Vec<u8> {
    let absolute = path.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = path[usize::from(absolute)..].split(|&byte| byte == b'/').collect();
    for (index, &segment) in segments.iter().enumerate() {
        if segment != b".." {
            kept.push(segment);
            continue;
        }
        if kept.last().is_none_or(|last| *last == b"..") {
            if !full {
                kept.push(segment);
            }
        } else {
            kept.pop();
        }
        // What is left of it at the end is a slash.
        if index + 1 == segments.len() {
            kept.push(b"");
        }
    }
    let mut new = if absolute { b"/".to_vec() } else { Vec::new() };
    new.extend(kept.join(&b"/"[..]));
    new
}

/// Sorts by name; those of one name keep their order.
fn sort_by_name(query: &[u8]) -> Vec<u8> {
    let mut params: Vec<&[u8]> = query.split(|&byte| byte == b'&').collect();
    params.sort_by_key(|param| param.split(|&byte| byte == b'=').next());
    params.join(&b"&"[..])
}

/// Hands every `%XX` with the byte it means to `write`. `None` for a lone `%` when `strict`.
fn map_percent(
    text: &[u8],
    strict: bool,
    write: impl Fn(&[u8], u8, &mut Vec<u8>),
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digit = |at: usize| after.get(at).and_then(|&digit| (digit as char).to_digit(16));
            if let (Some(high), Some(low)) = (digit(0), digit(1)) {
                write(&rest[..3], (high << 4 | low) as u8, &mut out);
                rest = &rest[3..];
                continue;
            }
            if strict {
                return None;
            }
        }
        out.push(byte);
        rest = after;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(normalizer: Normalizer, target: &str, expected: &str) {
        let new = match normalizer.apply(target.as_bytes()) {
            Rewritten::Same => target.to_owned(),
            Rewritten::To(new) => String::from_utf8(new).unwrap(),
            Rewritten::Invalid => "400".to_owned(),
        };
        assert_eq!(new, expected);
    }

    // Rows from HAProxy 2.6's own regression script and manual.

    #[test]
    fn slashes_are_merged() {
        let n = Normalizer::PathMergeSlashes;
        check(n, "/foo/bar", "/foo/bar");
        check(n, "///foo///bar///", "/foo/bar/");
        check(n, "///", "/");
        check(n, "//foo?bar=///", "/foo?bar=///");
    }

    #[test]
    fn dots_are_stripped() {
        let n = Normalizer::PathStripDot;
        check(n, "/", "/");
        check(n, "/.", "/");
        check(n, "/./", "/");
        check(n, "/a/.", "/a/");
        check(n, "/a.", "/a.");
        check(n, "/.a", "/.a");
        check(n, "/a/./", "/a/");
        check(n, "/a/./a", "/a/a");
        check(n, "/a/../a", "/a/../a");
        check(n, "/?a=/./", "/?a=/./");
    }

    #[test]
    fn dotdots_are_stripped() {
        #[track_caller]
        fn both(target: &str, some: &str, full: &str) {
            check(Normalizer::PathStripDotdot { full: false }, target, some);
            check(Normalizer::PathStripDotdot { full: true }, target, full);
        }
        both("/foo/bar", "/foo/bar", "/foo/bar");
        both("/foo/..", "/", "/");
        both("/foo/../", "/", "/");
        both("/foo/bar/../", "/foo/", "/foo/");
        both("/foo/bar/..", "/foo/", "/foo/");
        both("/foo/../bar/", "/bar/", "/bar/");
        both("/foo/../../bar/", "/../bar/", "/bar/");
        both("/foo//../../bar/", "/bar/", "/bar/");
        both("/bar/../../", "/../", "/");
        both("/foo/../?bar=/foo/../", "/?bar=/foo/../", "/?bar=/foo/../");
        both("/foo/%2E%2E/", "/foo/%2E%2E/", "/foo/%2E%2E/");
    }

    #[test]
    fn percents_are_decoded_and_raised() {
        let n = Normalizer::PercentDecodeUnreserved { strict: false };
        check(n, "/%61?%61=%61", "/a?a=a");
        check(n, "/%3F?foo=bar", "/%3F?foo=bar");
        check(n, "/%%36%36", "/%66");
        check(n, "/%ZZ", "/%ZZ");
        check(Normalizer::PercentDecodeUnreserved { strict: true }, "/%%36%36", "400");
        let n = Normalizer::PercentToUppercase { strict: false };
        check(n, "/%aa?a=%aa", "/%AA?a=%AA");
        check(n, "/%zz?a=%zz", "/%zz?a=%zz");
        check(Normalizer::PercentToUppercase { strict: true }, "/%zz", "400");
    }

    #[test]
    fn queries_are_sorted() {
        let n = Normalizer::QuerySortByName;
        check(n, "/?z=z&a=a", "/?a=a&z=z");
        check(n, "/?c&b&a&z&x&y", "/?a&b&c&x&y&z");
        check(n, "/?aaaa=&a=&aa=&aaa=", "/?a=&aa=&aaa=&aaaa=");
        check(n, "/?a=5&b=3&a=1&a=2&b=4", "/?a=5&a=1&a=2&b=3&b=4");
        check(n, "/?", "/?");
        check(n, "/", "/");
    }

    #[test]
    fn fragments_are_encoded_or_stripped() {
        check(Normalizer::FragmentStrip, "/#foo", "/");
        check(Normalizer::FragmentStrip, "/%23foo", "/%23foo");
        check(Normalizer::FragmentEncode, "/#foo/#foo", "/%23foo/%23foo");
    }
}
