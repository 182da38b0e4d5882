//! The head of a message: one byte buffer, an index into it, and edits.
//!
//! A connection reads into [`Head::input_mut`] and calls [`Head::parse_request`] or
//! [`Head::parse_response`] after every read until it has a head. Complete lines are parsed in
//! place as they come, each once: names become lower case (as HAProxy sends them), the index
//! gets one entry per field. Rules then see and edit the head; edits put their text in a side
//! buffer and point the index at it, so that the original bytes never move. [`Head::write_to`]
//! copies runs of untouched lines at once.
//!
//! ```text
//! input:  [ empty lines | start line | field lines | CRLF | first body bytes, next request ]
//!                                                         ^ head_len     ^ consumed
//! ```
//!
//! What follows the head stays in the same buffer: [`Head::remaining`] shows it,
//! [`Head::consume`] takes it, [`Head::next`] drops the head and keeps the rest. Nothing is
//! allocated once the buffers are warm.

mod edit;
mod http2;
mod parse;
mod plain;
mod write;

pub use self::http2::{Http2Request, trailer_fields, write_http2_trailers};

use crate::bytes::trim;
use crate::uri::{self, Target};
use crate::values::{ListValues, list_values};

/// What a peer may send, taken from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head as received, `tune.bufsize - tune.maxrewrite`; default 15360.
    pub head_max: usize,
    /// Bytes of a head after edits, `tune.bufsize`; default 16384. The side buffer of edits
    /// holds at most four times as much.
    pub rewritten_max: usize,
    /// Bytes that edits may always add, `tune.maxrewrite`; default 1024. Up to `rewritten_max` they may add more as
    /// long as the body has not come: HAProxy keeps both in one buffer, and what fits there is to fit here.
    pub rewrite_reserve: usize,
    /// Lines of a head as received, `tune.http.maxhdr`; default 101. As in HAProxy the start line
    /// counts as one, so the default takes 100 fields.
    pub headers_max: usize,
    /// Tolerate what has one reading although it is malformed, `option
    /// accept-invalid-http-request|response`; default false. Faults of framing stay errors.
    pub accept_invalid: bool,
    /// Keep the case of header names as received; default false: lower case, as HAProxy sends.
    pub keep_case: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_max: 15360,
            rewritten_max: 16384,
            rewrite_reserve: 1024,
            headers_max: 101,
            accept_invalid: false,
            keep_case: false,
        }
    }
}

/// HTTP versions as far as they change how a message is handled. A higher minor number of
/// HTTP/1 counts as 1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
    /// HTTP/3
    Http3,
}

impl Version {
    /// `HTTP/1.1` and so on.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
            Self::Http3 => "HTTP/3.0",
        }
    }
}

/// The registered methods that balancing and framing ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the methods' names")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Connect,
    Trace,
    Patch,
    #[default]
    Other,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110, section 9.1).
    #[must_use]
    pub fn of(method: &[u8]) -> Self {
        match method {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Whether a request may be sent twice without further effect (RFC 9110, section 9.2.2).
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        matches!(
            self,
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace
        )
    }
}

/// Whether a head is a request's or a response's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    #[default]
    Request,
    /// A response.
    Response,
}

/// One header field; the name is in lower case unless [`Limits::keep_case`] was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'h> {
    /// Field name.
    pub name: &'h [u8],
    /// Field value, without white space around it.
    pub value: &'h [u8],
}

/// The head of a request or response, with the buffer that it was read into.
#[derive(Debug, Default)]
pub struct Head {
    /// Bytes from the peer: the head, then what follows it.
    input: Vec<u8>,
    /// Text of edits, and of heads that were not read from HTTP/1.
    side: Vec<u8>,
    fields: Vec<Field>,
    kind: Kind,
    version: Version,
    method_kind: Method,
    status: u16,
    /// Method of a request, reason phrase of a response.
    word: Span,
    target: Span,
    parts: Target,
    /// Where the start line begins: after empty lines.
    start: u32,
    /// The start line in the input as it would be written, CRLF included; empty once edited.
    start_line: Span,
    /// Input bytes that were searched for the end of a line.
    scanned: u32,
    /// Start of the line being read.
    line: u32,
    /// Bytes of the head in the input; 0 until it is complete.
    head_len: u32,
    /// Input bytes after the head that were taken.
    consumed: u32,
    /// Bytes that `write_to` would write, final CRLF included.
    size: u32,
    /// The part of it that the fields make, while they are read.
    fields_size: u32,
    rewritten_max: u32,
    /// What edits may make of the head however much of its body is held.
    rewritten_min: u32,
    has_start_line: bool,
    /// Names are written as given rather than in lower case.
    keep_case: bool,
    /// An edit has touched Content-Length or Transfer-Encoding.
    framing_edited: bool,
    /// The last field frames or routes the message.
    last_is_special: bool,
    /// The target has scheme and authority because HTTP/2 says them apart; HTTP/1 is sent the rest.
    normalized: bool,
    facts: Facts,
}

/// A range of the input, or of the side buffer if `at` has the `SIDE` bit.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    at: u32,
    len: u32,
}

/// An index entry: 16 bytes a field.
#[derive(Clone, Copy, Debug)]
struct Field {
    name_at: u32,
    value_at: u32,
    value_len: u32,
    name_len: u16,
    /// The line stands in its buffer exactly as it would be written.
    verbatim: bool,
    /// A received field that does not travel further.
    hop_by_hop: bool,
}

/// What parsing learned about framing and the connection; edits do not change it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) content_length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Connection names something other than the three above.
    pub(crate) names_others: bool,
    /// A field stands in the head that does not travel further.
    pub(crate) hop_by_hop: bool,
    pub(crate) expect_continue: bool,
    pub(crate) websocket: bool,
    /// Transfer-Encoding was seen.
    coding: bool,
    unknown_coding: bool,
    /// Host was seen.
    host: bool,
    /// The message has ended with its head, although others of its kind have content, and does not tell a length
    /// (HTTP/2).
    pub(crate) ended: bool,
}

/// Marks a span of the side buffer.
const SIDE: u32 = 1 << 31;

impl Head {
    /// An empty head whose input buffer holds `capacity` bytes (`tune.bufsize`).
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            input: Vec::with_capacity(capacity),
            fields: Vec::with_capacity(32),
            rewritten_max: u32::MAX,
            ..Self::default()
        }
    }

    /// The buffer to append received bytes to. Only append: the index points into it.
    pub fn input_mut(&mut self) -> &mut Vec<u8> {
        &mut self.input
    }

    /// How many bytes that buffer holds without growing.
    #[must_use]
    pub fn input_capacity(&self) -> usize {
        self.input.capacity()
    }

    /// Drops everything, keeping the memory.
    pub fn clear(&mut self) {
        self.input.clear();
        self.reset();
    }

    /// Drops the head and what was consumed; bytes that remain become the front of the input.
    /// Call it before the next message of the connection is parsed.
    pub fn next(&mut self) {
        let from = self.body_at();
        if from == self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..from);
        }
        self.reset();
    }

    /// Takes `n` bytes of [`Head::remaining`]. When all are taken, the room behind the head is
    /// free for reading again while the head itself stays readable.
    ///
    /// More than remain counts as all.
    pub fn consume(&mut self, n: usize) {
        let at = self.body_at().saturating_add(n).min(self.input.len());
        if at == self.input.len() {
            self.input.truncate(self.head_len as usize);
            self.consumed = 0;
        } else {
            self.consumed = to_u32(at) - self.head_len;
        }
    }

    /// The bytes received after the head and not yet consumed: the first of the body, or the
    /// next message.
    #[must_use]
    pub fn remaining(&self) -> &[u8] {
        self.input.get(self.body_at()..).unwrap_or_default()
    }

    /// Every byte of the input, head included, as received (names are lower-cased in place).
    #[must_use]
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Bytes of the head as received; 0 before it is complete.
    #[must_use]
    pub fn head_len(&self) -> usize {
        self.head_len as usize
    }

    /// Whether a head was parsed or built.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.size != 0
    }

    /// Whether nothing of a message was received yet: no byte, or empty lines only.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input.len() == self.start as usize && self.size == 0
    }

    /// Bytes that [`Head::write_to`] would write.
    #[must_use]
    pub fn len(&self) -> usize {
        self.size as usize
    }

    /// Whether this is a request or a response.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The start line as it would be written, without its line end; `None` if it is not in one piece.
    #[must_use]
    pub fn start_line(&self) -> Option<&[u8]> {
        self.text(self.start_line).strip_suffix(b"\r\n")
    }

    /// The version as received.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The method of a request; empty for a response.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        match self.kind {
            Kind::Request => self.text(self.word),
            Kind::Response => b"",
        }
    }

    /// The method of a request as an enum.
    #[must_use]
    pub fn method_kind(&self) -> Method {
        self.method_kind
    }

    /// The target of a request; empty for a response. That of HTTP/2 has scheme and authority as in HAProxy, which
    /// HTTP/1 is not sent.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.text(self.target)
    }

    /// The parts of the target as ranges of [`Head::target`].
    #[must_use]
    pub fn target_parts(&self) -> &Target {
        &self.parts
    }

    /// The scheme of a target in absolute form.
    #[must_use]
    pub fn scheme(&self) -> Option<&[u8]> {
        self.parts.scheme(self.target())
    }

    /// The authority of a target in absolute or authority form.
    #[must_use]
    pub fn authority(&self) -> Option<&[u8]> {
        self.parts.authority(self.target())
    }

    /// The path of the target without its query: HAProxy's `path`. Empty for `*`, for authority
    /// form, and for an absolute URI without one.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.parts.path(self.target())
    }

    /// What follows `?` in the target; `None` without `?`.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.parts.query(self.target())
    }

    /// Path and query together: HAProxy's `pathq`.
    #[must_use]
    pub fn path_and_query(&self) -> &[u8] {
        self.parts.path_and_query(self.target())
    }

    /// Host, or the authority of the target in its absence.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        self.header(b"host").or_else(|| self.authority().map(uri::without_user_info))
    }

    /// The status of a response; 0 for a request.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase of a response; empty for a request.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        match self.kind {
            Kind::Request => b"",
            Kind::Response => self.text(self.word),
        }
    }

    /// Number of header fields.
    #[must_use]
    pub fn header_count(&self) -> usize {
        self.fields.len()
    }

    /// The header field at `index`, counted from 0 in the order of the head.
    #[must_use]
    pub fn header_at(&self, index: usize) -> Option<Header<'_>> {
        self.fields.get(index).map(|field| self.header_of(field))
    }

    /// All header fields in order.
    pub fn headers(
        &self,
    ) -> impl DoubleEndedIterator<Item = Header<'_>> + ExactSizeIterator + Clone {
        self.fields.iter().map(|field| self.header_of(field))
    }

    /// The first value of a header, whole: HAProxy's `req.fhdr` of one occurrence.
    #[must_use]
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.find(name, 0).and_then(|index| self.value_at(index))
    }

    /// Whether a header is present.
    #[must_use]
    pub fn has_header(&self, name: &[u8]) -> bool {
        self.find(name, 0).is_some()
    }

    /// The values of every field of that name, whole, in order: `req.fhdr`. Use `.nth(n)` and
    /// `.next_back()` for one occurrence.
    pub fn header_lines<'h>(
        &'h self,
        name: &'h [u8],
    ) -> impl DoubleEndedIterator<Item = &'h [u8]> + Clone {
        self.fields
            .iter()
            .filter(move |field| self.is_named(field, name))
            .map(|field| self.value_of(field))
    }

    /// The values of a header with comma-separated lists taken apart: `req.hdr`. Commas inside
    /// quoted strings do not separate; an empty element is a value, as in HAProxy.
    pub fn header_values<'h>(&'h self, name: &'h [u8]) -> impl Iterator<Item = &'h [u8]> + Clone {
        self.header_lines(name).flat_map(|line| -> ListValues<'h> { list_values(line) })
    }

    /// Index of the first field of that name at or after `from`.
    #[must_use]
    pub fn find(&self, name: &[u8], from: usize) -> Option<usize> {
        let fields = self.fields.get(from..)?;
        fields.iter().position(|field| self.is_named(field, name)).map(|at| from + at)
    }

    /// The value of the field at `index`.
    #[must_use]
    pub fn value_at(&self, index: usize) -> Option<&[u8]> {
        self.fields.get(index).map(|field| self.value_of(field))
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether the name of a field came from the peer, not from an edit.
    pub(crate) fn is_received(&self, index: usize) -> bool {
        self.fields.get(index).is_some_and(|field| field.name_at & SIDE == 0)
    }

    /// Whether a received field is meant for this connection only.
    pub(crate) fn is_hop_by_hop(&self, index: usize) -> bool {
        self.fields.get(index).is_some_and(|field| field.hop_by_hop)
    }

    fn body_at(&self) -> usize {
        self.head_len as usize + self.consumed as usize
    }

    fn reset(&mut self) {
        self.side.clear();
        self.fields.clear();
        self.kind = Kind::Request;
        self.version = Version::Http11;
        self.method_kind = Method::Other;
        self.status = 0;
        self.word = Span::default();
        self.target = Span::default();
        self.parts = Target::default();
        self.start = 0;
        self.start_line = Span::default();
        self.scanned = 0;
        self.line = 0;
        self.head_len = 0;
        self.consumed = 0;
        self.size = 0;
        self.fields_size = 0;
        self.rewritten_min = 0;
        self.has_start_line = false;
        self.keep_case = false;
        self.framing_edited = false;
        self.last_is_special = false;
        self.normalized = false;
        self.facts = Facts::default();
    }

    #[inline]
    fn text(&self, span: Span) -> &[u8] {
        let (from, at) = if span.at & SIDE == 0 {
            (&self.input, span.at)
        } else {
            (&self.side, span.at & !SIDE)
        };
        // Spans lie inside their buffers unless the caller of `input_mut` removed bytes.
        from.get(at as usize..at as usize + span.len as usize).unwrap_or_default()
    }

    fn header_of(&self, field: &Field) -> Header<'_> {
        Header { name: self.name_of(field), value: self.value_of(field) }
    }

    #[inline]
    fn name_of(&self, field: &Field) -> &[u8] {
        self.text(Span { at: field.name_at, len: u32::from(field.name_len) })
    }

    #[inline]
    fn value_of(&self, field: &Field) -> &[u8] {
        let text = self.written_value_of(field);
        // White space around it is no part of it (RFC 9110, section 5.5), which parsing has seen to. What a rule has
        // written goes out as the rule wrote it, as in HAProxy.
        if field.value_at & SIDE == 0 { text } else { trim(text) }
    }

    #[inline]
    fn written_value_of(&self, field: &Field) -> &[u8] {
        self.text(Span { at: field.value_at, len: field.value_len })
    }

    #[inline]
    fn is_named(&self, field: &Field, name: &[u8]) -> bool {
        usize::from(field.name_len) == name.len() && self.name_of(field).eq_ignore_ascii_case(name)
    }
}

impl Field {
    /// Bytes of the line as written: name, `": "`, value, CRLF.
    fn size(&self) -> u32 {
        u32::from(self.name_len) + self.value_len + 4
    }
}

/// Offsets are 32 bits wide; buffers are bounded far below that by [`Limits`].
#[inline]
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
