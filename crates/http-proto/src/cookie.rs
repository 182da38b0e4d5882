//! Cookie lines: where each cookie stands, and lines from which some are taken out.
//!
//! A `Cookie` line is read as HAProxy reads it, which is more lenient than RFC 6265, section 4.2.1: `,` separates as `;`
//! does, white space may stand around the parts, a quoted string hides separators, a part without `=` and one whose name
//! begins with `$` (an attribute of RFC 2965) are no cookies. Nothing here changes a byte of a cookie that stays.

use std::ops::Range;

/// One part of a `Cookie` line, as ranges of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookiePart {
    /// All of it, with the separator before it unless it is the first.
    pub whole: Range<usize>,
    /// Without white space around it; empty where there is no name.
    pub name: Range<usize>,
    /// Without white space around it, quotes included; `None` without `=`.
    pub value: Option<Range<usize>>,
}

/// The parts of a `Cookie` line; see [`CookieParts`].
#[must_use]
pub fn cookie_parts(line: &[u8]) -> CookieParts<'_> {
    CookieParts { line, at: 0, first: true }
}

/// Iterator over the parts of a `Cookie` line: cookies, attributes, and what is neither. They cover the line without a
/// gap.
#[derive(Clone, Debug)]
pub struct CookieParts<'l> {
    line: &'l [u8],
    at: usize,
    first: bool,
}

/// What becomes of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// It goes, with its attributes.
    Remove,
    /// The first bytes of its value go, as many as that.
    Shorten(usize),
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditedLine {
    /// It is as it was; nothing was written.
    Same,
    /// What was written takes its place.
    Changed,
    /// No cookie is left in it: the whole field goes. What was written is of no use.
    Empty,
}

/// Asks `judge` about the value of each cookie of that name (compared byte for byte), and appends to `out`, which is
/// empty, the line as it is then. Nothing is written as long as nothing changes.
///
/// The separator before what follows a removed cookie is written with one space after it.
pub fn edit_cookies(
    line: &[u8],
    name: &[u8],
    out: &mut Vec<u8>,
    mut judge: impl FnMut(&[u8]) -> Fate,
) -> EditedLine {
    let mut changed = false;
    let mut removing = false;
    let mut keeps_any = false;
    for part in cookie_parts(line) {
        if line.get(part.name.start) == Some(&b'$') {
            // An attribute goes the way of what stands before it.
            if changed && !removing {
                out.extend_from_slice(&line[part.whole]);
            }
            continue;
        }
        let own = part.value.clone().filter(|_| &line[part.name.clone()] == name);
        let (cut, fate) = match own {
            None => (0..0, Fate::Keep),
            Some(value) => match judge(&line[value.clone()]) {
                Fate::Shorten(count) => {
                    (value.start..value.end.min(value.start.saturating_add(count)), Fate::Keep)
                }
                fate => (0..0, fate),
            },
        };
        if !changed && (fate == Fate::Remove || !cut.is_empty()) {
            changed = true;
            out.extend_from_slice(&line[..part.whole.start]);
        }
        if fate == Fate::Remove {
            removing = true;
            continue;
        }
        keeps_any = true;
        if !changed {
            continue;
        }
        let mut from = part.whole.start;
        if std::mem::take(&mut removing) {
            from = part.name.start;
            while out.last().is_some_and(|&b| is_blank(b)) {
                out.pop();
            }
            if !out.is_empty() {
                out.push(line[part.whole.start]);
                out.push(b' ');
            }
        }
        if cut.is_empty() {
            out.extend_from_slice(&line[from..part.whole.end]);
        } else {
            out.extend_from_slice(&line[from..cut.start]);
            out.extend_from_slice(&line[cut.end..part.whole.end]);
        }
    }
    match changed {
        false => EditedLine::Same,
        true if !keeps_any || out.is_empty() => EditedLine::Empty,
        true => EditedLine::Changed,
    }
}

/// Where name and value of a `Set-Cookie` line stand, without the white space around them. `None` where it sets none.
#[must_use]
pub fn set_cookie_ranges(line: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let name = skip_blanks(line, 0);
    let sign = line[name..].iter().position(|b| matches!(b, b'=' | b';'))? + name;
    if line[sign] != b'=' {
        return None;
    }
    let value = skip_blanks(line, sign + 1);
    let end = value_end(line, value);
    Some((name..trim_end(line, name, sign), value..trim_end(line, value, end)))
}

impl Iterator for CookieParts<'_> {
    type Item = CookiePart;

    fn next(&mut self) -> Option<CookiePart> {
        let line = self.line;
        let start = self.at;
        if start >= line.len() {
            return None;
        }
        let separator = usize::from(!std::mem::take(&mut self.first));
        let name = skip_blanks(line, start + separator);
        let rest = &line[name..];
        let stop = rest.iter().position(|b| matches!(b, b'=' | b',' | b';'));
        let stop = stop.map_or(line.len(), |at| name + at);
        let value = (line.get(stop) == Some(&b'=')).then(|| {
            let value = skip_blanks(line, stop + 1);
            value..value_end(line, value)
        });
        let end = value.as_ref().map_or(stop, |value| value.end);
        self.at = end;
        Some(CookiePart {
            whole: start..end,
            name: name..trim_end(line, name, stop),
            value: value.map(|value| value.start..trim_end(line, value.start, value.end)),
        })
    }
}

/// Where a value that begins at `from` ends: at a separator outside of quotes, or with the line.
fn value_end(line: &[u8], from: usize) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, &b) in line.iter().enumerate().skip(from) {
        if escaped {
            escaped = false;
        } else if quoted {
            escaped = b == b'\\';
            quoted = b != b'"';
        } else if b == b'"' {
            quoted = true;
        } else if matches!(b, b',' | b';') {
            return at;
        }
    }
    line.len()
}

fn skip_blanks(line: &[u8], from: usize) -> usize {
    let from = from.min(line.len());
    from + line[from..].iter().take_while(|&&b| is_blank(b)).count()
}

fn trim_end(line: &[u8], from: usize, to: usize) -> usize {
    to - line[from..to].iter().rev().take_while(|&&b| is_blank(b)).count()
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_parts() {
        #[track_caller]
        fn check(line: &str, expected: &[(&str, Option<&str>)]) {
            let parts: Vec<_> = cookie_parts(line.as_bytes()).collect();
            let shown: Vec<_> = parts
                .iter()
                .map(|part| (&line[part.name.clone()], part.value.clone().map(|v| &line[v])))
                .collect();
            assert_eq!(shown, expected, "{line}");
            let mut end = 0;
            for part in parts {
                assert_eq!(part.whole.start, end, "{line}");
                end = part.whole.end;
            }
            assert_eq!(end, line.len(), "{line}");
        }
        check("", &[]);
        check("a=1", &[("a", Some("1"))]);
        check("a=1; b=2,c=3", &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
        check(" a = 1 ; b ", &[("a", Some("1")), ("b", None)]);
        check("a=; =2;;", &[("a", Some("")), ("", Some("2")), ("", None), ("", None)]);
        check("a=\"1;2\\\";\"; b=2", &[("a", Some("\"1;2\\\";\"")), ("b", Some("2"))]);
        check("a=\"open; b=2", &[("a", Some("\"open; b=2"))]);
        check("$Version=1; a=b=c", &[("$Version", Some("1")), ("a", Some("b=c"))]);
    }

    #[test]
    fn cookies_are_taken_out() {
        #[track_caller]
        fn check(line: &str, expected: Option<&str>) {
            let mut out = Vec::new();
            let edited = edit_cookies(line.as_bytes(), b"S", &mut out, |value| {
                value
                    .iter()
                    .position(|&b| b == b'~')
                    .map_or(Fate::Remove, |at| Fate::Shorten(at + 1))
            });
            let found = match edited {
                EditedLine::Same => {
                    assert!(out.is_empty(), "{line}");
                    Some(line)
                }
                EditedLine::Changed => Some(std::str::from_utf8(&out).expect("text")),
                EditedLine::Empty => None,
            };
            assert_eq!(found, expected, "{line}");
        }
        check("a=1; b=2", Some("a=1; b=2"));
        check("s=1; SS=2; S", Some("s=1; SS=2; S"));
        check("S=x", None);
        check("S=x;", None);
        check("$Version=1; S=x; $Path=/", None);
        check("S=x; a=1", Some("a=1"));
        check("a=1; S=x", Some("a=1"));
        check("a=1; S=x; b=2", Some("a=1; b=2"));
        check("a=1 ;S=x;b=2", Some("a=1; b=2"));
        check("a=1, S=x, b=2", Some("a=1, b=2"));
        check("a=1; S=x; S=y; b=2; S=z", Some("a=1; b=2"));
        check("a=1; S=x; $Path=/; b=2; $Path=/q", Some("a=1; b=2; $Path=/q"));
        check("a=1; S=x; flag", Some("a=1; flag"));
        check("a=\"; S=x\"", Some("a=\"; S=x\""));
        check("a=\"; S=x", Some("a=\"; S=x"));
        check("S=s1~rest; a=1", Some("S=rest; a=1"));
        check("a=1; S = s1~; b=2", Some("a=1; S = ; b=2"));
        check("S=s1~a~b", Some("S=a~b"));
    }

    #[test]
    fn set_cookies_have_a_name_and_a_value() {
        #[track_caller]
        fn check(line: &str, expected: Option<(&str, &str)>) {
            let found = set_cookie_ranges(line.as_bytes());
            assert_eq!(found.map(|(name, value)| (&line[name], &line[value])), expected, "{line}");
        }
        check("S=x; Path=/", Some(("S", "x")));
        check(" S = x ; Path=/", Some(("S", "x")));
        check("S=\"a;b\"; Secure", Some(("S", "\"a;b\"")));
        check("S=; Path=/", Some(("S", "")));
        check("a,S=x", Some(("a,S", "x")));
        check("S", None);
        check("S; a=b", None);
        check("", None);
    }
}
