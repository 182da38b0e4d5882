//! `redirect` and `http-request redirect`, and servers that redirect (`redir`).

use telamon_config::{Args, ConfigErrorKind};
use telamon_http_proto::Head;

use super::{Answer, Edited, HttpAction, error_reply};
use crate::expr::{FormatUse, LogFormat, ParseScope, Place};
use crate::model::Server;
use crate::stream::{Direction, Stream};

/// Where to, and how.
#[derive(Debug)]
pub struct Redirect {
    pub kind: RedirectKind,
    /// The location, its prefix, or its scheme.
    pub target: LogFormat,
    /// 301, 302 (default), 303, 307 or 308.
    pub status: u16,
    pub drop_query: bool,
    /// A location made from a prefix ends with a slash.
    pub append_slash: bool,
    pub cookie: Option<RedirectCookie>,
    /// A location that comes out empty passes to the next rule.
    pub ignore_empty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectKind {
    /// As it stands.
    Location,
    /// Before the request's own path.
    Prefix,
    /// Before `://`, host, and the request's own path.
    Scheme,
}

/// `set-cookie NAME[=VALUE]` or `clear-cookie NAME[=]`.
#[derive(Debug)]
pub enum RedirectCookie {
    Set(Box<[u8]>),
    Clear(Box<[u8]>),
}

/// The answer of a server that redirects its clients.
pub fn redirect_to_server(stream: &Stream, server: &Server) -> Answer {
    let prefix = server.redir.as_deref().unwrap_or_default();
    let location = [prefix, stream.request.path_and_query()].concat();
    let answer = Answer::build(stream, 302, b"", |head| {
        head.set_status(302, Some(b"Found"))?;
        head.add_header(b"cache-control", b"no-cache")?;
        head.add_header(b"content-length", b"0")?;
        head.add_header(b"location", &location)?;
        head.add_header(b"connection", b"close")
    });
    answer.unwrap_or_else(|_| error_reply(stream, 500))
}

impl Redirect {
    /// Reads `{ location | prefix | scheme } TO` and the options around it, in any order, up to the condition.
    pub(super) fn read(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<HttpAction> {
        let mut target = None;
        let mut status = 302;
        let (mut drop_query, mut append_slash, mut ignore_empty) = (false, false, false);
        let mut cookie = None;
        while let Some(word) = args.peek().filter(|word| !matches!(word.text, "if" | "unless")) {
            args.next_if_any();
            let kind = match word.text {
                "location" => Some(RedirectKind::Location),
                "prefix" => Some(RedirectKind::Prefix),
                "scheme" => Some(RedirectKind::Scheme),
                _ => None,
            };
            if let Some(kind) = kind {
                if kind != RedirectKind::Location && scope.place == Place::HttpResponse {
                    args.bad(word, "kind of redirect", "`location`, the only one for responses");
                    return None;
                }
                target = Some((kind, LogFormat::parse(args, scope, FormatUse::Http)?));
                continue;
            }
            match word.text {
                "code" => {
                    const CODES: [(&str, u16); 5] =
                        [("301", 301), ("302", 302), ("303", 303), ("307", 307), ("308", 308)];
                    status = args.one_of("code", &CODES)?;
                }
                "drop-query" => drop_query = true,
                "append-slash" => append_slash = true,
                "ignore-empty" => ignore_empty = true,
                "set-cookie" => {
                    cookie = Some(RedirectCookie::Set(args.next("a cookie")?.bytes.into()));
                }
                "clear-cookie" => {
                    cookie = Some(RedirectCookie::Clear(args.next("a cookie")?.bytes.into()));
                }
                other => {
                    let kind = ConfigErrorKind::unknown("redirect option", other, WORDS);
                    args.fail(word.at, kind);
                    return None;
                }
            }
        }
        let Some((kind, target)) = target else {
            args.missing("`location`, `prefix` or `scheme`");
            return None;
        };
        Some(HttpAction::Redirect(Self {
            kind,
            target,
            status,
            drop_query,
            append_slash,
            cookie,
            ignore_empty,
        }))
    }

    /// The answer; `None` where the location is empty and that is to be ignored.
    pub(crate) fn answer(&self, stream: &Stream, direction: Direction) -> Option<Answer> {
        let mut location = stream.session.worker.lend_buffer();
        self.write_location(stream, direction, &mut location);
        let answer = (!location.is_empty() || !self.ignore_empty).then(|| {
            Answer::build(stream, self.status, b"", |head| self.write_fields(head, &location))
                .unwrap_or_else(|_| error_reply(stream, 500))
        });
        stream.session.worker.return_buffer(location);
        answer
    }

    fn write_location(&self, stream: &Stream, direction: Direction, out: &mut Vec<u8>) {
        let request = &stream.request;
        match self.kind {
            RedirectKind::Location => {
                stream.render(&self.target, direction, out);
                return;
            }
            RedirectKind::Scheme => {
                stream.render(&self.target, direction, out);
                out.extend_from_slice(b"://");
                out.extend_from_slice(request.header(b"host").unwrap_or_default());
            }
            RedirectKind::Prefix => {
                stream.render(&self.target, direction, out);
                // The path brings a slash of its own.
                if out == b"/" {
                    out.clear();
                }
            }
        }
        let path = if self.drop_query { request.path() } else { request.path_and_query() };
        out.extend_from_slice(path);
        if self.append_slash && !path.ends_with(b"/") {
            out.push(b'/');
        }
    }

    fn write_fields(&self, head: &mut Head, location: &[u8]) -> Edited {
        if self.status == 302 {
            head.set_status(302, Some(b"Found"))?;
        }
        head.add_header(b"content-length", b"0")?;
        head.add_header(b"location", location)?;
        // A redirect that is not for ever must be asked for again.
        if matches!(self.status, 302 | 303 | 307) {
            head.add_header(b"cache-control", b"no-cache")?;
        }
        match &self.cookie {
            None => Ok(()),
            Some(RedirectCookie::Set(cookie)) => {
                head.add_header(b"set-cookie", &[cookie, &b"; path=/;"[..]].concat())
            }
            Some(RedirectCookie::Clear(cookie)) => {
                head.add_header(b"set-cookie", &[cookie, &b"; path=/; Max-Age=0;"[..]].concat())
            }
        }
    }
}

/// What may stand on a redirect, for the nearest right word.
const WORDS: [&str; 9] = [
    "location",
    "prefix",
    "scheme",
    "code",
    "drop-query",
    "append-slash",
    "ignore-empty",
    "set-cookie",
    "clear-cookie",
];
