//! Answers that are made here: for `deny`, `return`, `tarpit`, `auth`, and for what goes wrong.
//!
//! Which bytes a status has is decided by [`error_reply`]: the backend's own reply (`errorfile`, `http-error`,
//! `errorloc`), else the frontend's, else HAProxy's page.

use std::cell::Cell;
use std::sync::Arc;

use telamon_http_proto::{EditError, Head, Limits, Version, error_response};

use super::Edited;

use crate::expr::LogFormat;
use crate::lent::LentHead;
use crate::stream::{Context, Direction, Stream};

mod read;

pub use read::{ErrorSets, MessageError, parse_http_error};

/// An answer of the configuration's: `deny`, `return`, `tarpit`, `http-error`, `errorfile`, `errorloc`.
#[derive(Debug)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    pub body: ReplyBody,
    /// `hdr NAME FORMAT`, in order; they stand before the framing fields.
    pub headers: Vec<(Box<[u8]>, LogFormat)>,
}

/// Where the bytes of a [`Reply`] come from.
#[derive(Debug)]
pub enum ReplyBody {
    /// The proxy's own reply for the status, else HAProxy's page; without a page, no body.
    Default,
    /// No body.
    Empty,
    /// A whole response, sent as it stands; it has been read once, so it can be. One without any bytes closes the
    /// connection without a word.
    Message(Arc<[u8]>),
    /// `errorloc302` and `errorloc303`, by the status: where to.
    Location(Box<[u8]>),
    /// A body of a content type.
    Text { content_type: Option<Box<[u8]>>, text: ReplyText },
}

#[derive(Debug)]
pub enum ReplyText {
    /// `string` or `file`.
    Fixed(Arc<[u8]>),
    /// `lf-string` or `lf-file`.
    Format(LogFormat),
}

/// An answer ready to be sent: a head with its framing fields, and its body. Without a head the connection is closed
/// without a word.
#[derive(Debug)]
pub struct Answer {
    pub head: LentHead,
    pub body: Vec<u8>,
    /// A denial counts in `dreq`/`dresp` and logs `PR`; a local answer logs `LR`.
    pub denied: bool,
}

/// The answer for a failure, or for the monitor (200).
pub fn error_reply(stream: &Stream, status: u16) -> Answer {
    match configured(stream, status) {
        Some(reply) => reply.render(stream, Direction::Request),
        None => built_in(stream, status),
    }
}

/// The configured answer for a request that could not be read, as bytes that end the connection; `None` leaves it to
/// the parser's own.
pub fn configured_message(stream: &Stream, status: u16) -> Option<Vec<u8>> {
    let reply = configured(stream, status)?;
    if matches!(&reply.body, ReplyBody::Message(bytes) if bytes.is_empty()) {
        return Some(Vec::new());
    }
    let mut answer = reply.render(stream, Direction::Request);
    let mut bytes = Vec::new();
    answer.head.del_header(b"connection");
    answer.head.set_connection(false, Version::Http11).ok()?;
    answer.head.write_to(&mut bytes);
    bytes.append(&mut answer.body);
    stream.session.worker.return_head(answer.head);
    Some(bytes)
}

/// Asks for a password: 401, or 407 where the client speaks to a proxy (`option http-use-proxy-header`).
pub fn unauthorized(stream: &Stream, realm: &[u8]) -> Answer {
    let proxy = stream.snapshot.proxy(stream.frontend);
    let by_proxy = proxy.options.http_use_proxy_header
        && !matches!(stream.request.target().first(), Some(b'/' | b'*'));
    let (status, field) =
        if by_proxy { (407, &b"proxy-authenticate"[..]) } else { (401, &b"www-authenticate"[..]) };
    let mut answer = error_reply(stream, status);
    if !answer.head.is_complete() {
        return answer;
    }
    let challenge = [b"Basic realm=\"", realm, b"\""].concat();
    // Without room for the challenge the client still learns that it may not.
    let _ = answer.head.add_header(field, &challenge);
    answer
}

impl Answer {
    /// The same as a denial.
    pub(crate) fn denied(self) -> Self {
        Self { denied: true, ..self }
    }

    /// A response from parts, in order; `Err` where it would be larger than a buffer.
    pub(crate) fn build(
        stream: &Stream,
        status: u16,
        body: &[u8],
        fields: impl FnOnce(&mut Head) -> Edited,
    ) -> Result<Self, EditError> {
        let mut head = stream.session.worker.lend_head();
        head.start_response(status, Version::Http11, room(stream))?;
        fields(&mut head)?;
        Ok(Self { head, body: body.to_vec(), denied: false })
    }
}

impl Reply {
    /// The answer for a request. One that does not fit into a buffer becomes a 500.
    pub(crate) fn render(&self, stream: &Stream, direction: Direction) -> Answer {
        let rendered = match &self.body {
            ReplyBody::Default if self.headers.is_empty() => {
                let reply = configured(stream, self.status);
                return match reply {
                    // One that points back to the page.
                    Some(reply) if !matches!(reply.body, ReplyBody::Default) => {
                        reply.render(stream, direction)
                    }
                    _ => built_in(stream, self.status),
                };
            }
            ReplyBody::Message(bytes) if bytes.is_empty() => {
                return Answer { head: LentHead::default(), body: Vec::new(), denied: false };
            }
            ReplyBody::Message(bytes) => return message(stream, bytes),
            ReplyBody::Location(url) => Answer::build(stream, self.status, b"", |head| {
                if self.status == 302 {
                    head.set_status(302, Some(b"Found"))?;
                }
                head.add_header(b"cache-control", b"no-cache")?;
                head.add_header(b"content-length", b"0")?;
                head.add_header(b"location", url)
            }),
            ReplyBody::Default | ReplyBody::Empty => self.build(stream, direction, None, b""),
            ReplyBody::Text { content_type, text } => match text {
                ReplyText::Fixed(bytes) => {
                    self.build(stream, direction, content_type.as_deref(), bytes)
                }
                ReplyText::Format(format) => {
                    let mut text = stream.session.worker.lend_buffer();
                    stream.render(format, direction, &mut text);
                    let answer = self.build(stream, direction, content_type.as_deref(), &text);
                    stream.session.worker.return_buffer(text);
                    answer
                }
            },
        };
        rendered.unwrap_or_else(|_| built_in(stream, 500))
    }

    fn build(
        &self,
        stream: &Stream,
        direction: Direction,
        content_type: Option<&[u8]>,
        body: &[u8],
    ) -> Result<Answer, EditError> {
        let bodyless = matches!(self.status, 204 | 304);
        let body = if bodyless { b"" } else { body };
        Answer::build(stream, self.status, body, |head| {
            let wants_more = Cell::new(false);
            let cx = Context::for_stream(stream, direction, &wants_more);
            let mut value = Vec::new();
            for (name, format) in &self.headers {
                value.clear();
                format.render(&cx, &mut value);
                // As HAProxy does; `set-header` and the like do add a field without a value.
                if !value.is_empty() {
                    head.add_header(name, &value)?;
                }
            }
            if bodyless {
                return Ok(());
            }
            head.add_header(b"content-length", body.len().to_string().as_bytes())?;
            match content_type {
                Some(content_type) => head.add_header(b"content-type", content_type),
                None => Ok(()),
            }
        })
    }
}

/// What the proxies of the stream configure for a status.
fn configured(stream: &Stream, status: u16) -> Option<&Arc<Reply>> {
    let replies = |id| stream.snapshot.proxy(id).errors.get(status);
    replies(stream.backend).or_else(|| replies(stream.frontend))
}

/// HAProxy's page; a status without one has no body.
fn built_in(stream: &Stream, status: u16) -> Answer {
    if let Some(bytes) = error_response(status) {
        return message(stream, bytes);
    }
    let empty = Reply { status, body: ReplyBody::Empty, headers: Vec::new() };
    empty.build(stream, Direction::Request, None, b"").unwrap_or_else(|_| {
        // Only a status that is none gets here.
        message(stream, error_response(500).unwrap_or_default())
    })
}

/// An answer from the bytes of a whole response.
fn message(stream: &Stream, bytes: &[u8]) -> Answer {
    let mut head = stream.session.worker.lend_head();
    head.input_mut().extend_from_slice(bytes);
    let limits = Limits { rewritten_max: room(stream), ..Limits::default() };
    // The bytes were read when the configuration was.
    let _ = head.parse_response(&limits);
    let body = head.remaining().to_vec();
    head.consume(body.len());
    let has_end = head.content_length().is_some() || matches!(head.status(), 204 | 304);
    if !has_end && !closes(&head) {
        // Its end is the connection's.
        let _ = head.add_header(b"connection", b"close");
    }
    Answer { head, body, denied: false }
}

fn closes(head: &Head) -> bool {
    head.header_values(b"connection").any(|value| value.eq_ignore_ascii_case(b"close"))
}

fn room(stream: &Stream) -> usize {
    stream.snapshot.global.tune.bufsize
}
