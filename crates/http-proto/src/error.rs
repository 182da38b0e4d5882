//! What can be wrong with a message, where, and which answer it deserves.

use std::error::Error;
use std::fmt;

/// The first violation found in a message.
///
/// In a request it is answered with [`ParseError::status`] and the connection closes; in a
/// response the same fault makes the proxy answer 502 and close the server connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Byte that is wrong, counted from the first byte of the message in the input buffer
    /// (for chunked bodies: from the start of the slice given to the decoder).
    pub offset: usize,
    /// What is wrong with it.
    pub kind: ParseErrorKind,
}

/// The rules that a message can break, in the order in which a message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The head does not end within [`Limits::head_max`](crate::Limits::head_max) bytes.
    HeadTooLarge,
    /// More lines than [`Limits::headers_max`](crate::Limits::headers_max).
    TooManyHeaders,
    /// LF without CR before it (RFC 9112, section 2.2).
    BareLf,
    /// CR without LF after it (RFC 9112, section 2.2).
    BareCr,
    /// NUL, another control byte, or DEL (RFC 9110, section 5.5).
    ControlByte,
    /// The method is not a token (RFC 9110, section 9.1).
    BadMethod,
    /// The target has none of the four forms, or a byte outside RFC 3986 (RFC 9112, section 3.2).
    BadTarget,
    /// No HTTP version where one belongs (RFC 9112, section 2.3).
    BadVersion,
    /// A well-formed version whose major number is not 1: 505.
    UnsupportedVersion,
    /// Not three digits from 100 up (RFC 9112, section 4). HAProxy takes any number.
    BadStatus,
    /// A field line without a colon.
    MissingColon,
    /// A field name that is empty or not a token (RFC 9110, section 5.1).
    BadName,
    /// White space between field name and colon (RFC 9112, section 5.1).
    SpaceBeforeColon,
    /// A field continued on a second line (RFC 9112, section 5.2).
    ObsFold,
    /// HTTP/1.1 without Host (RFC 9112, section 3.2).
    MissingHost,
    /// A second Host field (RFC 9112, section 3.2).
    DuplicateHost,
    /// Host is not `uri-host [":" port]` (RFC 9110, section 7.2).
    BadHost,
    /// Host and the authority of the target disagree (RFC 9112, section 3.2.2).
    HostMismatch,
    /// Content-Length is not a decimal number (RFC 9110, section 8.6).
    BadContentLength,
    /// Content-Length values that differ (RFC 9112, section 6.3).
    DifferingContentLength,
    /// Content-Length and Transfer-Encoding together (RFC 9112, section 6.1).
    LengthAndCoding,
    /// Transfer-Encoding empty, malformed, or not ending in `chunked` (RFC 9112, section 6.3).
    BadTransferCoding,
    /// A transfer coding before `chunked` that we cannot decode (RFC 9112, section 6.1): 422,
    /// the status HAProxy uses.
    UnknownTransferCoding,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112, section 6.1).
    TransferCodingInHttp10,
    /// CONNECT with content, whose bytes could not be told from the tunnel's.
    ConnectWithContent,
    /// A WebSocket upgrade without a Sec-WebSocket-Key of 24 bytes, or granted without a
    /// Sec-WebSocket-Accept (RFC 6455, section 4), which HAProxy refuses too.
    BadWebSocketKey,
    /// 101 to a request that asked for no upgrade (RFC 9110, section 15.2.2).
    UnexpectedSwitch,
    /// A chunk size that is not hexadecimal, or above 2^52 (RFC 9112, section 7.1).
    BadChunkSize,
    /// A malformed or too long chunk extension (RFC 9112, section 7.1.1).
    BadChunkExtension,
    /// Chunk data not followed by CR LF (RFC 9112, section 7.1).
    BadChunkEnd,
    /// The trailer section exceeds its limit.
    TrailersTooLarge,
    /// A trailer field that frames or routes the message (RFC 9110, section 6.5.1).
    ForbiddenTrailer,
    /// An upper-case letter in a field name of HTTP/2 (RFC 9113, section 8.2.1).
    UppercaseName,
    /// White space around a field value of HTTP/2 (RFC 9113, section 8.2.1). HAProxy takes it.
    SpaceAroundValue,
    /// A connection-specific field in HTTP/2, or TE with more than `trailers` (RFC 9113, section 8.2.2).
    ConnectionField,
    /// A pseudo-header field that there is not, or not in such a message (RFC 9113, section 8.3).
    UnknownPseudo,
    /// A pseudo-header field that stands twice (RFC 9113, section 8.3).
    RepeatedPseudo,
    /// A pseudo-header field behind other fields, or in trailers (RFC 9113, section 8.3).
    MisplacedPseudo,
    /// A pseudo-header field that must be there is not (RFC 9113, sections 8.3 and 8.5; RFC 8441, section 4).
    MissingPseudo,
    /// `:scheme` or `:path` of CONNECT (RFC 9113, section 8.5), or `:protocol` of another method (RFC 8441, section 4).
    ForbiddenPseudo,
    /// `:path` does not begin with a slash (RFC 9113, section 8.3.1).
    BadPath,
    /// `:scheme` is none (RFC 3986, section 3.1).
    BadScheme,
    /// Content-Length of a message that ends with its head (RFC 9113, section 8.1.1).
    LengthWithoutContent,
}

impl ParseError {
    /// The status a request with this fault is answered with: 400, 422 or 505. HAProxy answers
    /// a head that is too large with 400 as well, and so do we, rather than 414 or 431.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self.kind {
            ParseErrorKind::UnknownTransferCoding => 422,
            ParseErrorKind::UnsupportedVersion => 505,
            _ => 400,
        }
    }

    /// Whether such a message of HTTP/2 is malformed as HTTP/2 already: HAProxy resets its stream with `PROTOCOL_ERROR`
    /// and answers all others with [`ParseError::status`].
    #[must_use]
    pub const fn resets_stream(&self) -> bool {
        !matches!(
            self.kind,
            ParseErrorKind::HeadTooLarge
                | ParseErrorKind::TooManyHeaders
                | ParseErrorKind::BadMethod
                | ParseErrorKind::BadTarget
                | ParseErrorKind::BadScheme
                | ParseErrorKind::BadHost
                | ParseErrorKind::MissingHost
                | ParseErrorKind::DuplicateHost
        )
    }

    pub(crate) const fn new(offset: usize, kind: ParseErrorKind) -> Self {
        Self { offset, kind }
    }
}

impl ParseErrorKind {
    /// The rule in a few words: lower case, no full stop.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "message head too large for the buffer",
            Self::TooManyHeaders => "too many header fields",
            Self::BareLf => "line feed without carriage return",
            Self::BareCr => "carriage return without line feed",
            Self::ControlByte => "control byte",
            Self::BadMethod => "malformed method",
            Self::BadTarget => "malformed request target",
            Self::BadVersion => "malformed HTTP version",
            Self::UnsupportedVersion => "unsupported HTTP version",
            Self::BadStatus => "malformed status code",
            Self::MissingColon => "header field without a colon",
            Self::BadName => "malformed header field name",
            Self::SpaceBeforeColon => "white space before the colon of a header field",
            Self::ObsFold => "header field folded over two lines",
            Self::MissingHost => "HTTP/1.1 request without a Host field",
            Self::DuplicateHost => "more than one Host field",
            Self::BadHost => "malformed Host field",
            Self::HostMismatch => "Host field differs from the request target",
            Self::BadContentLength => "malformed Content-Length",
            Self::DifferingContentLength => "differing Content-Length values",
            Self::LengthAndCoding => "both Content-Length and Transfer-Encoding",
            Self::BadTransferCoding => "transfer coding that does not end in chunked",
            Self::UnknownTransferCoding => "unknown transfer coding",
            Self::TransferCodingInHttp10 => "Transfer-Encoding in an HTTP/1.0 message",
            Self::ConnectWithContent => "CONNECT with content",
            Self::BadWebSocketKey => "WebSocket handshake without its key",
            Self::UnexpectedSwitch => "101 without a request for an upgrade",
            Self::BadChunkSize => "malformed chunk size",
            Self::BadChunkExtension => "malformed or too long chunk extension",
            Self::BadChunkEnd => "chunk data not followed by CR LF",
            Self::TrailersTooLarge => "trailers too large",
            Self::ForbiddenTrailer => "header field not allowed in trailers",
            Self::UppercaseName => "upper-case letter in a field name of HTTP/2",
            Self::SpaceAroundValue => "white space around a field value of HTTP/2",
            Self::ConnectionField => "connection-specific field in HTTP/2",
            Self::UnknownPseudo => "unknown pseudo-header field",
            Self::RepeatedPseudo => "repeated pseudo-header field",
            Self::MisplacedPseudo => "pseudo-header field behind other fields",
            Self::MissingPseudo => "missing pseudo-header field",
            Self::ForbiddenPseudo => "pseudo-header field not allowed with this method",
            Self::BadPath => "path of HTTP/2 without a slash at its front",
            Self::BadScheme => "malformed scheme",
            Self::LengthWithoutContent => "Content-Length of a message without content",
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind.as_str(), self.offset)
    }
}

impl Error for ParseError {}

/// Why an edit was refused. Nothing was changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditError {
    /// The head would exceed the room kept for rewriting (`tune.maxrewrite`).
    NoRoom,
    /// The text cannot stand in that place of a message, or the place does not exist.
    Malformed,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "rewritten head exceeds the room kept by tune.maxrewrite",
            Self::Malformed => "text cannot stand in that place of a message",
        })
    }
}

impl Error for EditError {}
