//! Regular expressions: PCRE's syntax, run by an engine whose time is linear in the subject.
//!
//! What PCRE writes differently is rewritten ([`translate`]); what a linear engine cannot do
//! (look-around, back-references, possessive repetition) is an error that names it and its place.

use std::fmt;

use regex::bytes::{Captures, Regex, RegexBuilder};

/// Why a regular expression is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegexError {
    /// Byte offset in the expression.
    pub at: usize,
    pub kind: RegexErrorKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegexErrorKind {
    /// PCRE has it, a linear engine has not: "look-ahead `(?=`".
    Unsupported(&'static str),
    /// Not UTF-8.
    Encoding,
    /// The engine's own words.
    Syntax(String),
    /// The compiled form would be above [`SIZE_MAX`].
    TooLarge,
}

/// Compiles an expression of PCRE's syntax; `ignore_case` is `-i`.
///
/// # Errors
/// The first construct that is not understood, with its place.
pub fn compile(pattern: &[u8], ignore_case: bool) -> Result<Regex, RegexError> {
    let pattern = std::str::from_utf8(pattern)
        .map_err(|error| RegexError { at: error.valid_up_to(), kind: RegexErrorKind::Encoding })?;
    let translated = translate(pattern)?;
    RegexBuilder::new(&translated)
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(SIZE_MAX)
        .build()
        .map_err(|error| RegexError {
            at: 0,
            kind: match error {
                regex::Error::CompiledTooBig(_) => RegexErrorKind::TooLarge,
                error => RegexErrorKind::Syntax(last_line(&error.to_string())),
            },
        })
}

/// Appends `template` with `\0` to `\9` replaced by what the groups of `captures` matched, `\xHH`
/// by a byte, and any other escaped byte by itself.
pub fn expand(captures: &Captures<'_>, template: &[u8], out: &mut Vec<u8>) {
    let mut rest = template;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((&escaped, after)) = rest.split_first() else {
            out.push(b'\\');
            return;
        };
        rest = after;
        match escaped {
            b'0'..=b'9' => {
                let group = captures.get(usize::from(escaped - b'0'));
                out.extend_from_slice(group.map_or(b"".as_slice(), |group| group.as_bytes()));
            }
            b'x' if rest.len() >= 2 => match (hex_digit(rest[0]), hex_digit(rest[1])) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = &rest[2..];
                }
                _ => out.push(b'x'),
            },
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest);
}

/// Rewrites PCRE's syntax into the engine's.
fn translate(pattern: &str) -> Result<String, RegexError> {
    let bytes = pattern.as_bytes();
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut at = 0;
    let unsupported = |at, what| Err(RegexError { at, kind: RegexErrorKind::Unsupported(what) });
    // Where the last token begins in the pattern, when it was a repetition.
    let mut repeated = false;
    while at < bytes.len() {
        let here = at;
        let was_repeated = std::mem::take(&mut repeated);
        let rest = &pattern[at..];
        match bytes[at] {
            b'\\' if rest.starts_with("\\Q") => {
                let (literal, len) = match rest.find("\\E") {
                    Some(end) => (&rest[2..end], end + 2),
                    None => (&rest[2..], rest.len()),
                };
                out.push_str(&regex::escape(literal));
                at += len;
            }
            b'\\' => at += escape(rest, &mut out).map_err(|kind| RegexError { at: here, kind })?,
            b'[' => {
                at += class(rest, &mut out).map_err(|kind| RegexError { at: here, kind })?;
            }
            b'(' if rest.starts_with("(?") => {
                let what = match bytes.get(at + 2) {
                    Some(b'=') => "look-ahead (?=",
                    Some(b'!') => "negative look-ahead (?!",
                    Some(b'<') if rest[3..].starts_with('=') => "look-behind (?<=",
                    Some(b'<') if rest[3..].starts_with('!') => "negative look-behind (?<!",
                    Some(b'>') => "atomic group (?>",
                    Some(b'(') => "conditional group (?(",
                    Some(b'R' | b'&' | b'0'..=b'9') => "recursion",
                    Some(b'|') => "branch reset (?|",
                    Some(b'P') if rest[3..].starts_with('=') => "back-reference (?P=",
                    Some(b'P') if rest[3..].starts_with('>') => "recursion",
                    Some(b'#') => {
                        at += rest.find(')').map_or(rest.len(), |end| end + 1);
                        continue;
                    }
                    _ => {
                        out.push_str("(?");
                        at += 2;
                        continue;
                    }
                };
                return unsupported(here, what);
            }
            b'(' if rest.starts_with("(*") => return unsupported(here, "verb (*"),
            b'+' if was_repeated => return unsupported(here, "possessive repetition"),
            byte @ (b'*' | b'+' | b'?') => {
                // A `?` after a repetition makes it lazy and is the end of it.
                repeated = !(was_repeated && byte == b'?');
                out.push(byte as char);
                at += 1;
            }
            b'{' => match quantifier_len(rest) {
                Some(len) => {
                    repeated = true;
                    if rest.starts_with("{,") {
                        // PCRE takes `{,n}` literally.
                        out.push_str("\\{");
                        repeated = false;
                        at += 1;
                    } else {
                        out.push_str(&rest[..len]);
                        at += len;
                    }
                }
                None => {
                    out.push_str("\\{");
                    at += 1;
                }
            },
            b'}' => {
                out.push_str("\\}");
                at += 1;
            }
            _ => {
                let len = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..len]);
                at += len;
            }
        }
    }
    Ok(out)
}

/// Rewrites one escape outside a class; returns its length in the pattern.
fn escape(rest: &str, out: &mut String) -> Result<usize, RegexErrorKind> {
    let Some(escaped) = rest[1..].chars().next() else {
        return Err(RegexErrorKind::Syntax("a backslash at the end".into()));
    };
    match escaped {
        '1'..='9' => return Err(RegexErrorKind::Unsupported("back-reference")),
        'g' | 'k' => return Err(RegexErrorKind::Unsupported("back-reference")),
        'G' => return Err(RegexErrorKind::Unsupported("\\G")),
        'K' => return Err(RegexErrorKind::Unsupported("\\K")),
        'X' | 'C' => return Err(RegexErrorKind::Unsupported("\\X and \\C")),
        'Z' => out.push_str("(?:\\n?\\z)"),
        'h' => out.push_str("[ \\t]"),
        'H' => out.push_str("[^ \\t]"),
        'R' => out.push_str("(?:\\r\\n|[\\n\\r\\x0b\\x0c])"),
        'N' => out.push_str("[^\\n]"),
        'e' => out.push_str("\\x1b"),
        '0' => {
            let digits = rest[2..].bytes().take(2).take_while(|b| (b'0'..b'8').contains(b)).count();
            let code = u8::from_str_radix(&rest[1..2 + digits], 8).unwrap_or(0);
            out.push_str(&format!("\\x{code:02x}"));
            return Ok(2 + digits);
        }
        'A' | 'z' | 'b' | 'B' | 'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'n' | 'r' | 't' | 'f' | 'v'
        | 'a' | 'x' | 'p' | 'P' => {
            out.push('\\');
            out.push(escaped);
        }
        literal => out.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4]))),
    }
    Ok(1 + escaped.len_utf8())
}

/// Rewrites a bracketed class; returns its length in the pattern.
fn class(rest: &str, out: &mut String) -> Result<usize, RegexErrorKind> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    out.push('[');
    if bytes.get(at) == Some(&b'^') {
        out.push('^');
        at += 1;
    }
    if bytes.get(at) == Some(&b']') {
        out.push_str("\\]");
        at += 1;
    }
    while at < bytes.len() {
        match bytes[at] {
            b']' => {
                out.push(']');
                return Ok(at + 1);
            }
            b'[' if rest[at..].starts_with("[:") && rest[at..].contains(":]") => {
                let len = rest[at..].find(":]").map_or(1, |end| end + 2);
                out.push_str(&rest[at..at + len]);
                at += len;
            }
            b'[' => {
                out.push_str("\\[");
                at += 1;
            }
            byte @ (b'&' | b'~') => {
                out.push('\\');
                out.push(byte as char);
                at += 1;
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                out.push_str("\\-");
                at += 1;
            }
            b'\\' => match rest[at + 1..].chars().next() {
                None => return Err(RegexErrorKind::Syntax("a backslash at the end".into())),
                Some('b') => {
                    out.push_str("\\x08");
                    at += 2;
                }
                Some('h') => {
                    out.push_str(" \\t");
                    at += 2;
                }
                Some('e') => {
                    out.push_str("\\x1b");
                    at += 2;
                }
                Some(c) if "dDwWsSnrtfvaxpP".contains(c) => {
                    out.push('\\');
                    out.push(c);
                    at += 2;
                }
                Some(c) => {
                    out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
                    at += 1 + c.len_utf8();
                }
            },
            _ => {
                let c = rest[at..].chars().next().unwrap_or(']');
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
    Err(RegexErrorKind::Syntax("a class without its closing bracket".into()))
}

/// Length of `{n}`, `{n,}`, `{n,m}` or `{,m}` at the start.
fn quantifier_len(rest: &str) -> Option<usize> {
    let end = rest.find('}')?;
    let inner = &rest[1..end];
    let valid = inner.bytes().all(|b| b.is_ascii_digit() || b == b',')
        && inner.bytes().any(|b| b.is_ascii_digit())
        && inner.bytes().filter(|&b| b == b',').count() <= 1;
    valid.then_some(end + 1)
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RegexErrorKind::Unsupported(what) => write!(
                f,
                "{what} (byte {}) is not supported: expressions run in linear time here",
                self.at + 1
            ),
            RegexErrorKind::Encoding => write!(f, "byte {} is not UTF-8", self.at + 1),
            RegexErrorKind::Syntax(why) => write!(f, "invalid regular expression: {why}"),
            RegexErrorKind::TooLarge => {
                write!(f, "the compiled regular expression is above {SIZE_MAX} bytes")
            }
        }
    }
}

impl std::error::Error for RegexError {}

/// Bytes that one compiled expression may take.
pub(crate) const SIZE_MAX: usize = 10 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, subject: &str, expected: bool) {
        let regex = compile(pattern.as_bytes(), false).expect(pattern);
        assert_eq!(regex.is_match(subject.as_bytes()), expected, "{pattern} on {subject}");
    }

    #[test]
    fn pcre_syntax_is_understood() {
        check(r"^/static/.*\.(gif|png)$", "/static/a.png", true);
        check(r"^[^/:]*://", "http://x", true);
        check(r"\<b\>", "a<b>", true);
        check(r"\<b\>", "a b c", false);
        check(r"a{b}", "a{b}", true);
        check(r"a{,3}", "a{,3}", true);
        check(r"^a{2,3}$", "aaa", true);
        check(r"[[a]", "[", true);
        check(r"[]a]+", "]", true);
        check(r"[a&&b]", "&", true);
        check(r"\Qa.b\E.", "a.bc", true);
        check(r"\Qa.b\E", "axb", false);
        check(r"^\/\-\_$", "/-_", true);
        check(r"(?i)ABC", "abc", true);
        check(r"a(?#comment)b", "ab", true);
        check(r"a+?b", "aab", true);
        check(r"\x41\0611", "A11", true);
    }

    #[test]
    fn what_a_linear_engine_cannot_do_is_named() {
        for (pattern, at) in [
            ("a(?=b)", 1),
            ("(?!x)", 0),
            ("(?<=x)", 0),
            ("(?<!x)", 0),
            (r"(a)\1", 3),
            ("a++", 2),
            ("(?>a)", 0),
            ("(?R)", 0),
        ] {
            let error = compile(pattern.as_bytes(), false).expect_err(pattern);
            assert!(matches!(error.kind, RegexErrorKind::Unsupported(_)), "{pattern}");
            assert_eq!(error.at, at, "{pattern}");
        }
    }

    #[test]
    fn groups_are_put_into_templates() {
        let regex = compile(b"^/a/([^/]*)/(.*)", false).expect("valid");
        let captures = regex.captures(b"/a/b/c").expect("matches");
        let mut out = Vec::new();
        expand(&captures, br"/\2/\1\x21\\\9\", &mut out);
        assert_eq!(out, br"/c/b!\\");
    }
}
