//! `redirect` and `http-request redirect`, and servers that redirect (`redir`).

use telamon_http_proto::Head;

use super::{Answer, Edited, error_reply};
use crate::expr::LogFormat;
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
