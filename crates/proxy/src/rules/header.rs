//! `add-header`, `set-header`, `del-header`, `replace-header`, `replace-value`.

use regex::bytes::Regex;
use telamon_config::{Args, ConfigErrorKind};
use telamon_http_proto::Head;
use telamon_http_proto::values::list_values;

use super::{Edited, HttpAction, head, with_text};
use crate::expr::regex::{compile, expand};
use crate::expr::{FormatUse, LogFormat, ParseScope};
use crate::stream::{Direction, Stream};

/// An edit of a message's fields.
#[derive(Debug)]
pub enum HeaderEdit {
    /// A further field at the end.
    Add {
        name: Box<[u8]>,
        value: LogFormat,
    },
    /// In place of all fields of the name.
    Set {
        name: Box<[u8]>,
        value: LogFormat,
    },
    Delete(NameMatch),
    /// The whole value of every field of the name that matches; `\1` is what a group matched.
    Replace {
        name: Box<[u8]>,
        regex: Regex,
        value: LogFormat,
    },
    /// The same of every comma-separated value.
    ReplaceValue {
        name: Box<[u8]>,
        regex: Regex,
        value: LogFormat,
    },
}

/// How `del-header` matches a name. Case is not looked at; a regular expression sees names in lower case.
#[derive(Debug)]
pub enum NameMatch {
    Exact(Box<[u8]>),
    Begin(Box<[u8]>),
    End(Box<[u8]>),
    Contains(Box<[u8]>),
    Regex(Regex),
}

impl HeaderEdit {
    /// Reads `NAME [-m METHOD]` of `del-header`.
    pub(super) fn read_deletion(args: &mut Args<'_>, _: &mut ParseScope<'_>) -> Option<HttpAction> {
        type Make = fn(Box<[u8]>) -> NameMatch;
        const METHODS: &[(&str, Option<Make>)] = &[
            ("str", Some(NameMatch::Exact)),
            ("beg", Some(NameMatch::Begin)),
            ("end", Some(NameMatch::End)),
            ("sub", Some(NameMatch::Contains)),
            ("reg", None),
        ];
        let token = args.next("the name of a header")?;
        let make = match args.accept("-m") {
            true => args.one_of("matching method", METHODS)?,
            false => Some(NameMatch::Exact as Make),
        };
        let names = match make {
            Some(make) => make(token.bytes.into()),
            None => {
                args.back();
                args.back();
                args.back();
                let regex = read_regex(args)?;
                args.next_if_any();
                args.next_if_any();
                NameMatch::Regex(regex)
            }
        };
        Some(HttpAction::Header(Self::Delete(names)))
    }

    pub(crate) fn apply(&self, stream: &mut Stream, direction: Direction) -> Edited {
        match self {
            Self::Add { name, value } => with_text(value, stream, direction, |stream, text| {
                head(stream, direction).add_header(name, text)
            }),
            Self::Set { name, value } => with_text(value, stream, direction, |stream, text| {
                head(stream, direction).set_header(name, text)
            }),
            Self::Delete(NameMatch::Exact(name)) => {
                head(stream, direction).del_header(name);
                Ok(())
            }
            Self::Delete(names) => {
                head(stream, direction).retain_headers(|header| !names.matches(header.name));
                Ok(())
            }
            Self::Replace { name, regex, value } => {
                if !head(stream, direction).has_header(name) {
                    return Ok(());
                }
                with_text(value, stream, direction, |stream, template| {
                    replace(head(stream, direction), name, |line, out| {
                        let Some(captures) = regex.captures(line) else { return false };
                        expand(&captures, template, out);
                        true
                    })
                })
            }
            Self::ReplaceValue { name, regex, value } => {
                if !head(stream, direction).has_header(name) {
                    return Ok(());
                }
                with_text(value, stream, direction, |stream, template| {
                    replace(head(stream, direction), name, |line, out| {
                        replace_values(line, regex, template, out)
                    })
                })
            }
        }
    }
}

impl NameMatch {
    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => name.eq_ignore_ascii_case(exact),
            Self::Begin(begin) => {
                name.get(..begin.len()).is_some_and(|head| head.eq_ignore_ascii_case(begin))
            }
            Self::End(end) => name
                .len()
                .checked_sub(end.len())
                .is_some_and(|at| name[at..].eq_ignore_ascii_case(end)),
            Self::Contains(part) => {
                part.is_empty() || name.windows(part.len()).any(|at| at.eq_ignore_ascii_case(part))
            }
            Self::Regex(regex) => regex.is_match(&name.to_ascii_lowercase()),
        }
    }
}

/// Gives every line of the name to `rewrite`, which writes the new value and says whether there is one.
fn replace(
    head: &mut Head,
    name: &[u8],
    mut rewrite: impl FnMut(&[u8], &mut Vec<u8>) -> bool,
) -> Edited {
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(index) = head.find(name, from) {
        from = index + 1;
        out.clear();
        if head.value_at(index).is_some_and(|line| rewrite(line, &mut out)) {
            head.replace_value(index, &out)?;
        }
    }
    Ok(())
}

/// Rewrites the values of a list that match; what stands between them stays.
fn replace_values(line: &[u8], regex: &Regex, template: &[u8], out: &mut Vec<u8>) -> bool {
    let mut copied = 0;
    for value in list_values(line) {
        if let Some(captures) = regex.captures(value) {
            // A value is a part of its line.
            let at = value.as_ptr().addr() - line.as_ptr().addr();
            out.extend_from_slice(&line[copied..at]);
            expand(&captures, template, out);
            copied = at + value.len();
        }
    }
    out.extend_from_slice(&line[copied..]);
    copied > 0
}

/// Reads `NAME FORMAT`.
pub(super) fn read_field(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<(Box<[u8]>, LogFormat)> {
    let name = read_name(args)?;
    Some((name, LogFormat::parse(args, scope, FormatUse::Http)?))
}

/// Reads `NAME REGEX FORMAT`.
pub(super) fn read_replacement(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<(Box<[u8]>, Regex, LogFormat)> {
    let name = read_name(args)?;
    let regex = read_regex(args)?;
    Some((name, regex, LogFormat::parse(args, scope, FormatUse::Http)?))
}

/// Reads a regular expression.
pub(super) fn read_regex(args: &mut Args<'_>) -> Option<Regex> {
    let token = args.next("a regular expression")?;
    let compiled = compile(token.bytes, false);
    compiled
        .map_err(|error| {
            let at = error.at.min(token.bytes.len());
            let kind = ConfigErrorKind::BadValue {
                what: "regular expression".into(),
                found: token.text.to_owned(),
                expected: format!("one that can be used ({error})").into(),
            };
            args.fail(token.part(at..token.bytes.len()), kind);
        })
        .ok()
}

/// Reads the name of a field (RFC 9110, section 5.1); HAProxy takes any word.
pub(super) fn read_name(args: &mut Args<'_>) -> Option<Box<[u8]>> {
    let token = args.next("the name of a header")?;
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if token.bytes.is_empty() || !token.bytes.iter().all(fits) {
        args.bad(token, "header name", "letters, digits, `-`, `_` and the like");
        return None;
    }
    Some(token.bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, regex: &str, template: &str, expected: Option<&str>) {
        let mut out = Vec::new();
        let regex = Regex::new(regex).unwrap();
        let changed = replace_values(line.as_bytes(), &regex, template.as_bytes(), &mut out);
        assert_eq!(changed.then(|| String::from_utf8(out).unwrap()).as_deref(), expected);
    }

    #[test]
    fn each_value_of_a_list_is_rewritten_alone() {
        check("a=1, b=2,a=3", "a=(.*)", r"A:\1", Some("A:1, b=2,A:3"));
        check("x, y", "z", "-", None);
        check("one", "^(o)(.*)$", r"\2\1", Some("neo"));
    }

    #[test]
    fn names_match_without_case() {
        let name = |text: &str| Box::<[u8]>::from(text.as_bytes());
        assert!(NameMatch::Exact(name("x-a")).matches(b"X-A"));
        assert!(NameMatch::Begin(name("x-")).matches(b"X-A"));
        assert!(!NameMatch::Begin(name("x-abc")).matches(b"X-A"));
        assert!(NameMatch::End(name("-a")).matches(b"X-A"));
        assert!(NameMatch::Contains(name("B-c")).matches(b"ab-cd"));
        assert!(NameMatch::Regex(Regex::new("^x").unwrap()).matches(b"X-A"));
    }
}
