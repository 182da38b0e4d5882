//! `set-method`, `set-uri`, `set-path`, `set-pathq`, `set-query`, `replace-uri`, `replace-path`, `replace-pathq`.

use regex::bytes::Regex;
use telamon_config::Args;
use telamon_http_proto::Head;

use super::{Edited, HttpAction, header, with_text};
use crate::expr::regex::expand;
use crate::expr::{FormatUse, LogFormat, ParseScope};
use crate::stream::{Direction, Stream};

/// An edit of the request line.
#[derive(Debug)]
pub enum UriEdit {
    Method(LogFormat),
    Set {
        part: TargetPart,
        value: LogFormat,
    },
    /// Replaces the whole part where it matches; `\1` is what a group matched.
    Replace {
        part: TargetPart,
        regex: Regex,
        value: LogFormat,
    },
}

/// A part of the request's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetPart {
    Uri,
    Path,
    PathAndQuery,
    Query,
}

impl UriEdit {
    /// Reads `FORMAT`.
    pub(super) fn read(
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
        part: TargetPart,
    ) -> Option<HttpAction> {
        let value = LogFormat::parse(args, scope, FormatUse::Http)?;
        Some(HttpAction::Uri(Self::Set { part, value }))
    }

    /// Reads `REGEX FORMAT`.
    pub(super) fn read_replacement(
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
        part: TargetPart,
    ) -> Option<HttpAction> {
        let regex = header::read_regex(args)?;
        let value = LogFormat::parse(args, scope, FormatUse::Http)?;
        Some(HttpAction::Uri(Self::Replace { part, regex, value }))
    }

    pub(crate) fn apply(&self, stream: &mut Stream) -> Edited {
        match self {
            Self::Method(value) => with_text(value, stream, Direction::Request, |stream, text| {
                stream.request.set_method(text)
            }),
            Self::Set { part, value } => {
                with_text(value, stream, Direction::Request, |stream, text| {
                    part.set(&mut stream.request, text)
                })
            }
            Self::Replace { part, regex, value } => {
                if !regex.is_match(part.of(&stream.request)) {
                    return Ok(());
                }
                with_text(value, stream, Direction::Request, |stream, template| {
                    let mut out = Vec::new();
                    if let Some(captures) = regex.captures(part.of(&stream.request)) {
                        expand(&captures, template, &mut out);
                    }
                    part.set(&mut stream.request, &out)
                })
            }
        }
    }
}

impl TargetPart {
    fn of(self, head: &Head) -> &[u8] {
        match self {
            Self::Uri => head.target(),
            Self::Path => head.path(),
            Self::PathAndQuery => head.path_and_query(),
            Self::Query => head.query().unwrap_or_default(),
        }
    }

    fn set(self, head: &mut Head, text: &[u8]) -> Edited {
        match self {
            Self::Uri => head.set_target(text),
            Self::Path => head.set_path(text),
            Self::PathAndQuery => head.set_path_and_query(text),
            Self::Query => head.set_query(text),
        }
    }
}
