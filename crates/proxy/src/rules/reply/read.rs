//! How replies are written.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use telamon_config::{Args, ConfigErrorKind, Location, Token};
use telamon_http_proto::{Head, Limits, ParseError, error_statuses};

use super::{Reply, ReplyBody, ReplyText};
use crate::expr::{FormatUse, LogFormat, ParseScope};
use crate::model::ErrorReplies;
use crate::rules::header;

/// The `http-errors` sections, by name.
pub type ErrorSets = HashMap<Box<str>, (ErrorReplies, Location)>;

/// Why the bytes of a file are no response that could be sent.
#[derive(Debug)]
pub enum MessageError {
    /// The head cannot be read, or does not end.
    Head(Option<ParseError>),
    /// Not one from 200 to 999.
    Status(u16),
    /// `transfer-encoding` stands in it.
    Chunked,
    /// The body is longer or shorter than its `content-length`.
    Length { told: u64, found: u64 },
    /// A body where the status has none.
    Body,
}

/// Reads what follows `http-error`: `status CODE` and a reply.
pub fn parse_http_error(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Reply> {
    if !args.is("status") {
        args.missing("`status`");
        return None;
    }
    let token = args.peek_at(1);
    let reply = Reply::read(args, scope, 200)?;
    args.end();
    if let Some(token) = token.filter(|_| !is_handled(reply.status)) {
        not_handled(args, token);
    }
    (!args.failed()).then_some(reply)
}

impl Reply {
    /// A reply from the bytes of a whole response, or of none at all (`/dev/null`): `errorfile`.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub fn from_message(status: u16, bytes: Vec<u8>) -> Result<Self, MessageError> {
        if !bytes.is_empty() {
            check_message(&bytes)?;
        }
        Ok(Self { status, body: ReplyBody::Message(bytes.into()), headers: Vec::new() })
    }

    /// Reads the reply of `deny` and `tarpit`: nothing but `deny_status` leaves the body to the proxy.
    pub(in crate::rules) fn read_denial(
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
        status: u16,
    ) -> Option<Self> {
        let legacy = args.is("deny_status");
        if ends(args.peek()) || legacy && ends(args.peek_at(2)) {
            let mut reply = Self { status, body: ReplyBody::Default, headers: Vec::new() };
            if args.accept("deny_status") {
                let token = args.peek();
                reply.status = read_status(args)?;
                if let Some(token) = token.filter(|_| !is_handled(reply.status)) {
                    not_handled(args, token);
                }
            }
            return Some(reply);
        }
        Self::read(args, scope, status)
    }

    /// Reads `[status CODE] [content-type TYPE] [BODY] [hdr NAME FORMAT]…` up to the condition.
    pub(in crate::rules) fn read(
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
        status: u16,
    ) -> Option<Self> {
        let mut reply = Self { status, body: ReplyBody::Empty, headers: Vec::new() };
        let mut status_at = None;
        let mut content_type: Option<Token<'_>> = None;
        // The word that gave the body.
        let mut source: Option<Token<'_>> = None;
        let mut section = None;
        while !ends(args.peek()) {
            let word = args.next_if_any()?;
            if BODIES.contains(&word.text) {
                if let Some(first) = source {
                    let (what, with) = (word.text.to_owned(), first.text.to_owned());
                    let first = Some(first.at);
                    args.fail(word.at, ConfigErrorKind::Conflict { what, with, first });
                    return None;
                }
                source = Some(word);
                if word.text == "errorfiles" {
                    section = Some(args.next("the name of an http-errors section")?);
                } else {
                    reply.body = read_body(word, args, scope)?;
                }
                continue;
            }
            match word.text {
                "status" | "deny_status" => {
                    status_at = args.peek();
                    reply.status = read_status(args)?;
                }
                "content-type" => content_type = Some(args.next("a content type")?),
                "hdr" => {
                    let token = args.peek();
                    let field = header::read_field(args, scope)?;
                    let framing = FRAMING.iter().any(|name| field.0.eq_ignore_ascii_case(name));
                    match token.filter(|_| framing) {
                        Some(token) => ignored(args, token, "it is set by itself"),
                        None => reply.headers.push(field),
                    }
                }
                other => {
                    let known = BODIES.into_iter().chain(["status", "content-type", "hdr"]);
                    args.fail(word.at, ConfigErrorKind::unknown("reply option", other, known));
                    return None;
                }
            }
        }
        if let Some(section) = section {
            // The status may stand after it.
            reply.body = from_section(section, reply.status, args, scope)?;
        }
        reply.complete(args, source, content_type, status_at)
    }

    /// Checks what the words mean together.
    fn complete(
        mut self,
        args: &mut Args<'_>,
        source: Option<Token<'_>>,
        content_type: Option<Token<'_>>,
        status_at: Option<Token<'_>>,
    ) -> Option<Self> {
        let word = source.map_or("", |word| word.text);
        if matches!(word, "errorfiles" | "default-errorfiles") && !is_handled(self.status) {
            not_handled(args, status_at.or(source)?);
            return None;
        }
        match &mut self.body {
            ReplyBody::Text { content_type: kind, text } => {
                let empty = matches!(text, ReplyText::Fixed(bytes) if bytes.is_empty());
                if matches!(self.status, 204 | 304) && !empty {
                    let what = format!("a body with status {}", self.status);
                    let needs = "a status that has a body".to_owned();
                    args.fail(source?.at, ConfigErrorKind::Requires { what, needs });
                    return None;
                }
                match content_type {
                    Some(token) if empty => ignored(args, token, "the body is empty"),
                    Some(token) => *kind = Some(token.bytes.into()),
                    None if empty => {}
                    None => {
                        let what = word.to_owned();
                        let needs = "`content-type`".to_owned();
                        args.fail(source?.at, ConfigErrorKind::Requires { what, needs });
                        return None;
                    }
                }
            }
            _ => {
                if let Some(token) = content_type {
                    ignored(args, token, "there is no body for it");
                }
                if !matches!(self.body, ReplyBody::Empty) && !self.headers.is_empty() {
                    ignored(args, source?, "`hdr` adds nothing to it");
                    self.headers.clear();
                }
            }
        }
        Some(self)
    }
}

/// The reply of an `http-errors` section; the proxy's own where the section has none.
fn from_section(
    name: Token<'_>,
    status: u16,
    args: &mut Args<'_>,
    scope: &ParseScope<'_>,
) -> Option<ReplyBody> {
    let Some((set, _)) = scope.errors.get(name.text) else {
        let known = scope.errors.keys().map(|name| &**name);
        args.fail(name.at, ConfigErrorKind::undefined("http-errors section", name.text, known));
        return None;
    };
    Some(match set.get(status).map(|reply| &reply.body) {
        Some(ReplyBody::Message(bytes)) => ReplyBody::Message(Arc::clone(bytes)),
        _ => ReplyBody::Default,
    })
}

/// Reads what one of [`BODIES`] names.
fn read_body(
    word: Token<'_>,
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<ReplyBody> {
    let text = match word.text {
        "default-errorfiles" => return Some(ReplyBody::Default),
        "errorfile" => {
            let token = args.next("a file")?;
            // Said by configurations for no answer at all.
            if scope.offline || token.is("/dev/null") {
                return Some(ReplyBody::Message(Arc::default()));
            }
            let bytes = read_file(token, args, scope)?;
            return match check_message(&bytes) {
                Ok(()) => Some(ReplyBody::Message(bytes.into())),
                Err(error) => {
                    args.bad(token, "error file", format!("a whole HTTP response ({error})"));
                    None
                }
            };
        }
        "string" => ReplyText::Fixed(args.next("a text")?.bytes.into()),
        "lf-string" => ReplyText::Format(LogFormat::parse(args, scope, FormatUse::Text)?),
        "file" => {
            let token = args.next("a file")?;
            ReplyText::Fixed(read_file(token, args, scope)?.into())
        }
        _ => {
            let token = args.next("a file")?;
            let bytes = read_file(token, args, scope)?;
            match LogFormat::parse_text(&bytes, scope, FormatUse::Text) {
                Ok(format) => ReplyText::Format(format),
                Err(errors) => {
                    errors.into_iter().for_each(|error| args.fail(token.at, error.kind));
                    return None;
                }
            }
        }
    };
    Some(ReplyBody::Text { content_type: None, text })
}

fn read_file(token: Token<'_>, args: &mut Args<'_>, scope: &ParseScope<'_>) -> Option<Vec<u8>> {
    if scope.offline {
        return Some(Vec::new());
    }
    let read = scope.files.read(Path::new(token.text));
    read.map_err(|error| {
        let kind = ConfigErrorKind::Unreadable { path: token.text.into(), error: error.into() };
        args.fail(token.at, kind);
    })
    .ok()
}

fn read_status(args: &mut Args<'_>) -> Option<u16> {
    args.integer("status", 200_u16..=599)
}

/// Whether there are error pages for a status. Source: HAProxy configuration manual, `errorfile`.
fn is_handled(status: u16) -> bool {
    // The page for 505 is our own.
    status != 505 && error_statuses().any(|handled| handled == status)
}

fn not_handled(args: &mut Args<'_>, token: Token<'_>) {
    let handled: Vec<_> =
        error_statuses().filter(|&status| status != 505).map(|s| s.to_string()).collect();
    args.bad(token, "status", format!("one that has an error page: {}", handled.join(", ")));
}

/// Whether the reply ends before the word.
fn ends(word: Option<Token<'_>>) -> bool {
    word.is_none_or(|word| matches!(word.text, "if" | "unless"))
}

/// Warns of a word that changes nothing.
fn ignored(args: &mut Args<'_>, token: Token<'_>, why: &'static str) {
    args.warn(token.at, ConfigErrorKind::NoEffect { keyword: token.text.to_owned(), why });
}

/// Whether the bytes are a response that can be sent as it stands.
fn check_message(bytes: &[u8]) -> Result<(), MessageError> {
    let mut head = Head::default();
    head.input_mut().extend_from_slice(bytes);
    match head.parse_response(&Limits::default()) {
        Ok(Some(_)) => {}
        Ok(None) => return Err(MessageError::Head(None)),
        Err(error) => return Err(MessageError::Head(Some(error))),
    }
    let found = head.remaining().len() as u64;
    if head.status() < 200 {
        return Err(MessageError::Status(head.status()));
    }
    if head.has_header(b"transfer-encoding") {
        return Err(MessageError::Chunked);
    }
    if matches!(head.status(), 204 | 304) {
        return if found == 0 { Ok(()) } else { Err(MessageError::Body) };
    }
    match head.content_length() {
        Some(told) if told != found => Err(MessageError::Length { told, found }),
        _ => Ok(()),
    }
}

impl std::fmt::Display for MessageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Head(None) => f.write_str("its head does not end"),
            Self::Head(Some(error)) => error.fmt(f),
            Self::Status(status) => write!(f, "{status} is no final status"),
            Self::Chunked => f.write_str("chunks are not supported in it"),
            Self::Length { told, found } => {
                write!(f, "its content-length is {told}, its body has {found} bytes")
            }
            Self::Body => f.write_str("its status has no body"),
        }
    }
}

impl std::error::Error for MessageError {}

/// The words that say where a body comes from.
const BODIES: [&str; 7] =
    ["default-errorfiles", "errorfile", "errorfiles", "file", "lf-file", "string", "lf-string"];

/// Fields that `hdr` cannot set.
const FRAMING: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"content-type"];
