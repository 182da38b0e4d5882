//! HTTP messages, and what may precede them: bytes in, bytes out; no I/O, no clock.
//!
//! [`Head`] is the one head type of requests and responses; start reading there. [`Limits`]
//! says how strict it is. [`BodyLength`] says where a body ends, [`ChunkedDecoder`] follows a
//! chunked one as it passes by. [`ParseError`] says what is wrong and what to answer,
//! [`error_response`] has the bytes of the answer, [`ResponseBuilder`] makes other answers.
//! [`uri`], [`values`] and [`cookie`] hold the grammar below: targets, query strings, lists and cookies.
//!
//! [`proxy_protocol`] is the header by which one proxy tells another who its client is.
//!
//! HTTP/1 is parsed by RFC 9110 and RFC 9112; where HAProxy 2.6 is more lenient, the doc of the
//! item says so. [`Head::read_http2_request`] and its neighbors take heads from HTTP/2 fields, and give them.

mod answer;
mod bytes;
mod chunked;
mod connection;
pub mod cookie;
mod date;
mod error;
mod head;
pub mod proxy_protocol;
pub mod uri;
pub mod values;

pub use answer::{
    ResponseBuilder, closing_error_response, error_body, error_response, error_statuses,
    reason_phrase, refusal,
};
pub use chunked::{ChunkedDecoder, LAST_CHUNK, Piece, write_chunk, write_chunk_size};
pub use connection::BodyLength;
pub use date::imf_fixdate;
pub use error::{EditError, ParseError, ParseErrorKind};
pub use head::{
    Head, Header, Http2Request, Kind, Limits, Method, Version, trailer_fields, write_http2_trailers,
};
