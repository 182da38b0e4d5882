//! Chunked bodies (RFC 9112, section 7.1): following one as it passes by, and making one.
//!
//! ```text
//! Size --CRLF--> Data --> DataCr --> DataLf --> Size
//!  |  \-";"-> Extension --CRLF-^
//!  0: --CRLF--> TrailerStart <-> Name -> Value --CRLF
//!                    \--CRLF--> Done
//! ```

use crate::bytes::{TOKEN, hex_digit, is_control, is_ows};
use crate::error::{ParseError, ParseErrorKind as E};

/// Follows a chunked body. A relay forwards the bytes as they are once [`ChunkedDecoder::relay`]
/// has accepted them; who needs the content takes it [piece by piece](ChunkedDecoder::piece).
/// Input may be cut anywhere. 48 bytes of state, no buffer.
///
/// Bare CR or LF, sizes above 2^52, control bytes, extensions above 4 KiB, trailers above 8 KiB
/// and trailers that would frame or route the message are refused. HAProxy takes bare LF and
/// passes on the extensions without a look.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes left of the chunk's data, or its size while it is read.
    left: u64,
    /// Bytes of the size line, or of the trailers.
    line_len: u32,
    /// Bytes of content seen.
    content_len: u64,
    /// Start of the trailer's name in lower case.
    name: [u8; NAME_MAX],
    name_len: u8,
}

/// A piece of a chunked body, from the front of the slice given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its length in bytes.
    pub len: usize,
    /// Whether it is content, rather than sizes, extensions, line ends or trailers.
    pub is_content: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    SizeStart,
    Size,
    /// White space after the size.
    SizeEnd,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl ChunkedDecoder {
    /// A decoder at the first byte of a body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts as much of `input` as belongs to the body and returns its length: all of it,
    /// unless the body ends before.
    ///
    /// # Errors
    /// The first violation, with its offset in `input`. The message cannot be saved.
    pub fn relay(&mut self, input: &[u8]) -> Result<usize, ParseError> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            at += self.piece_at(input, at)?.len;
        }
        Ok(at)
    }

    /// Takes the next piece from the front of `input`; its length is 0 only when `input` is
    /// empty or the body has ended.
    ///
    /// # Errors
    /// As [`ChunkedDecoder::relay`].
    pub fn piece(&mut self, input: &[u8]) -> Result<Piece, ParseError> {
        self.piece_at(input, 0)
    }

    /// Whether the last byte of the body was seen.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of content seen so far.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.content_len
    }

    /// Bytes that certainly still belong to the current chunk: content, its line end, and the
    /// shortest next size line. A relay may splice the content part of them unseen.
    #[must_use]
    pub fn content_left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    fn piece_at(&mut self, input: &[u8], from: usize) -> Result<Piece, ParseError> {
        if self.state == State::Data {
            let len = input.len().saturating_sub(from);
            let len = usize::try_from(self.left).map_or(len, |left| left.min(len));
            self.left -= len as u64;
            self.content_len += len as u64;
            if self.left == 0 {
                self.state = State::DataCr;
            }
            return Ok(Piece { len, is_content: true });
        }
        let mut at = from;
        while let Some(&b) = input.get(at)
            && !matches!(self.state, State::Data | State::Done)
        {
            self.step(b).map_err(|kind| ParseError::new(at, kind))?;
            at += 1;
        }
        Ok(Piece { len: at - from, is_content: false })
    }

    fn step(&mut self, b: u8) -> Result<(), E> {
        self.line_len += 1;
        self.state = match self.state {
            State::SizeStart | State::Size | State::SizeEnd | State::Extension
                if self.line_len > SIZE_LINE_MAX =>
            {
                return Err(E::BadChunkExtension);
            }
            State::SizeStart => {
                self.left = u64::from(hex_digit(b).ok_or(E::BadChunkSize)?);
                State::Size
            }
            State::Size => match (hex_digit(b), b) {
                (Some(digit), _) => {
                    self.left = (self.left << 4) | u64::from(digit);
                    if self.left > CHUNK_MAX {
                        return Err(E::BadChunkSize);
                    }
                    State::Size
                }
                (None, b'\r') => State::SizeLf,
                (None, b';') => State::Extension,
                (None, b' ' | b'\t') => State::SizeEnd,
                _ => return Err(E::BadChunkSize),
            },
            State::SizeEnd => match b {
                b'\r' => State::SizeLf,
                b';' => State::Extension,
                _ if is_ows(b) => State::SizeEnd,
                _ => return Err(E::BadChunkSize),
            },
            State::Extension => match b {
                b'\r' => State::SizeLf,
                _ if is_control(b) => return Err(E::BadChunkExtension),
                _ => State::Extension,
            },
            State::SizeLf if b == b'\n' => {
                self.line_len = 0;
                if self.left == 0 { State::TrailerStart } else { State::Data }
            }
            State::DataCr if b == b'\r' => State::DataLf,
            State::DataLf if b == b'\n' => {
                self.line_len = 0;
                State::SizeStart
            }
            State::DataCr | State::DataLf => return Err(E::BadChunkEnd),
            _ => self.step_trailer(b)?,
        };
        Ok(())
    }

    fn step_trailer(&mut self, b: u8) -> Result<State, E> {
        if self.line_len > TRAILERS_MAX {
            return Err(E::TrailersTooLarge);
        }
        Ok(match (self.state, b) {
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, _) if TOKEN[usize::from(b)] != 0 => {
                if self.state == State::TrailerStart {
                    self.name_len = 0;
                }
                if let Some(slot) = self.name.get_mut(usize::from(self.name_len)) {
                    *slot = TOKEN[usize::from(b)];
                }
                self.name_len = self.name_len.saturating_add(1);
                State::TrailerName
            }
            (State::TrailerStart, b' ' | b'\t') => return Err(E::ObsFold),
            (State::TrailerName, b':') => {
                let name = self.name.get(..usize::from(self.name_len)).unwrap_or_default();
                if FORBIDDEN_TRAILERS.contains(&name) {
                    return Err(E::ForbiddenTrailer);
                }
                State::TrailerValue
            }
            (State::TrailerStart | State::TrailerName, _) => return Err(E::BadName),
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, b'\n') => return Err(E::BareLf),
            (State::TrailerValue, _) if is_control(b) => return Err(E::ControlByte),
            (State::TrailerValue, _) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(E::BareCr),
        })
    }
}

/// Appends one chunk; an empty one is left out, since it would end the body.
pub fn write_chunk(content: &[u8], out: &mut Vec<u8>) {
    if content.is_empty() {
        return;
    }
    write_chunk_size(content.len(), out);
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

/// Appends the size line of a chunk whose content and CRLF follow by other means.
pub fn write_chunk_size(len: usize, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| HEX[(len >> (digit * 4)) & 15]));
    out.extend_from_slice(b"\r\n");
}

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Largest chunk: 4 PiB, the largest integer that every implementation holds exactly.
const CHUNK_MAX: u64 = 1 << 52;
const SIZE_LINE_MAX: u32 = 4096;
const TRAILERS_MAX: u32 = 8192;
/// Length of the longest forbidden name.
const NAME_MAX: usize = 17;
const FORBIDDEN_TRAILERS: [&[u8]; 5] =
    [b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade"];
