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

    /// Whether the last chunk was seen: the pieces that follow are trailers, and the empty line that ends them.
    #[must_use]
    pub fn in_trailers(&self) -> bool {
        matches!(
            self.state,
            State::TrailerStart
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::EndLf
                | State::Done
        )
    }

    /// Bytes of content seen so far.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.content_len
    }

    /// Bytes of content left in the chunk at hand. A relay that moves them unseen (splice) tells
    /// so with [`ChunkedDecoder::skip_content`].
    #[must_use]
    pub fn content_left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// Counts `n` bytes of content that passed by elsewhere; at most
    /// [`ChunkedDecoder::content_left`] are taken.
    pub fn skip_content(&mut self, n: u64) {
        let n = n.min(self.content_left());
        if n > 0 {
            self.left -= n;
            self.content_len += n;
            if self.left == 0 {
                self.state = State::DataCr;
            }
        }
    }

    fn piece_at(&mut self, input: &[u8], from: usize) -> Result<Piece, ParseError> {
        if self.state == State::Data {
            let len = input.len().saturating_sub(from);
            let len = usize::try_from(self.left).map_or(len, |left| left.min(len));
            self.skip_content(len as u64);
            return Ok(Piece { len, is_content: true });
        }
        let mut at = from;
        while let Some(&b) = input.get(at)
            && !matches!(self.state, State::Data | State::Done)
        {
            let before = self.state;
            self.step(b).map_err(|kind| ParseError::new(at, kind))?;
            at += 1;
            if before == State::SizeLf && self.state == State::TrailerStart {
                break;
            }
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
        if self.line_len as usize > TRAILERS_MAX {
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
pub(crate) const TRAILERS_MAX: usize = 8192;
/// Length of the longest forbidden name.
const NAME_MAX: usize = 17;
const FORBIDDEN_TRAILERS: [&[u8]; 5] =
    [b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Content, the bytes after the body, and whether it has ended; or the first fault.
    type Decoded = Result<(Vec<u8>, Vec<u8>, bool), (usize, E)>;

    fn decode(pieces: &[&[u8]]) -> Decoded {
        let mut decoder = ChunkedDecoder::new();
        let mut content = Vec::new();
        let mut rest = Vec::new();
        let mut before = 0;
        for input in pieces {
            let mut at = 0;
            while at < input.len() && !decoder.is_done() {
                let piece = decoder
                    .piece(&input[at..])
                    .map_err(|error| (before + at + error.offset, error.kind))?;
                if piece.is_content {
                    content.extend_from_slice(&input[at..at + piece.len]);
                }
                at += piece.len;
            }
            rest.extend_from_slice(&input[at..]);
            before += input.len();
        }
        assert_eq!(decoder.content_len(), content.len() as u64);
        Ok((content, rest, decoder.is_done()))
    }

    #[track_caller]
    fn check_cuts(input: &[u8]) -> Decoded {
        let whole = decode(&[input]);
        for cut in 0..=input.len() {
            let (a, b) = input.split_at(cut);
            assert_eq!(decode(&[a, b]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(decode(&bytes), whole, "byte by byte");
        let relayed = ChunkedDecoder::new().relay(input);
        match &whole {
            Ok((_, rest, _)) => assert_eq!(relayed.map(|n| input.len() - n), Ok(rest.len())),
            Err((offset, kind)) => assert_eq!(relayed, Err(ParseError::new(*offset, *kind))),
        }
        whole
    }

    #[track_caller]
    fn check(input: &[u8], content: &[u8], rest: &[u8]) {
        assert_eq!(check_cuts(input), Ok((content.to_vec(), rest.to_vec(), true)));
    }

    #[track_caller]
    fn refuse(input: &[u8], offset: usize, kind: E) {
        assert_eq!(check_cuts(input), Err((offset, kind)));
    }

    #[test]
    fn rfc9112_7_1_chunks() {
        check(b"0\r\n\r\n", b"", b"");
        check(b"3\r\nabc\r\n0\r\n\r\nGET", b"abc", b"GET");
        check(b"3\r\nabc\r\nA\r\n0123456789\r\n00\r\n\r\n", b"abc0123456789", b"");
        check(b"003 \t\r\nabc\r\n0 \r\n\r\n", b"abc", b"");
        refuse(b"\r\n", 0, E::BadChunkSize);
        refuse(b"g\r\n", 0, E::BadChunkSize);
        refuse(b"0x3\r\n", 1, E::BadChunkSize);
        refuse(b"-1\r\n", 0, E::BadChunkSize);
        refuse(b"3 3\r\n", 2, E::BadChunkSize);
        refuse(b" 3\r\n", 0, E::BadChunkSize);
        refuse(b"10000000000001\r\n", 13, E::BadChunkSize);
        refuse(b"3\nabc", 1, E::BadChunkSize); // HAProxy takes bare LF
        refuse(b"3\r\r\nabc", 2, E::BareCr);
        refuse(b"3\r\nabcd\r\n", 6, E::BadChunkEnd);
        refuse(b"3\r\nabc\n0\r\n\r\n", 6, E::BadChunkEnd);
        refuse(b"3\r\nabc\rx", 7, E::BadChunkEnd);
        assert_eq!(check_cuts(b"3\r\nab"), Ok((b"ab".to_vec(), Vec::new(), false)));
    }

    #[test]
    fn rfc9112_7_1_1_extensions() {
        check(b"3;a=b;c=\"d;\t\"\r\nabc\r\n0;x\r\n\r\n", b"abc", b"");
        refuse(b"3;a\nabc\r\n", 3, E::BadChunkExtension);
        refuse(b"3;a\x01\r\n", 3, E::BadChunkExtension);
        refuse(&[b"3;".as_slice(), &[b'a'; 5000]].concat(), 4096, E::BadChunkExtension);
        refuse(&[b'0'; 5000], 4096, E::BadChunkExtension);
    }

    #[test]
    fn rfc9112_7_1_2_trailers() {
        check(b"0\r\nA: b\r\nGrpc-Status:0\r\n\r\nx", b"", b"x");
        refuse(b"0\r\nA b\r\n\r\n", 4, E::BadName);
        refuse(b"0\r\n: b\r\n\r\n", 3, E::BadName);
        refuse(b"0\r\na: b\r\n c\r\n\r\n", 9, E::ObsFold);
        refuse(b"0\r\na: b\n\r\n", 7, E::BareLf);
        refuse(b"0\r\na: \0\r\n\r\n", 6, E::ControlByte);
        refuse(b"0\r\na: b\rc\r\n\r\n", 8, E::BareCr);
        refuse(b"0\r\n\rx", 4, E::BareCr);
        refuse(b"0\r\n\n", 3, E::BadName);
        refuse(b"0\r\nContent-Length: 5\r\n\r\n", 17, E::ForbiddenTrailer);
        refuse(b"0\r\nTRANSFER-encoding: x\r\n\r\n", 20, E::ForbiddenTrailer);
        check(b"0\r\nTransfer-Encodings: x\r\nHos: t\r\n\r\n", b"", b"");
        refuse(&[b"0\r\na:".as_slice(), &[b'a'; 9000]].concat(), 3 + 8192, E::TrailersTooLarge);
    }

    #[test]
    fn skipped_content_counts() {
        let mut decoder = ChunkedDecoder::new();
        assert_eq!(decoder.relay(b"a\r\n01"), Ok(5));
        assert_eq!(decoder.content_left(), 8);
        decoder.skip_content(100);
        assert_eq!((decoder.content_left(), decoder.content_len()), (0, 10));
        assert_eq!(decoder.relay(b"\r\n0\r\n\r\nx"), Ok(7));
        assert!(decoder.is_done());
    }

    #[test]
    fn sizes_are_written_in_hexadecimal() {
        for (len, expected) in [(0, "0"), (1, "1"), (10, "A"), (16, "10"), (0x1F_AB0, "1FAB0")] {
            let mut out = Vec::new();
            write_chunk_size(len, &mut out);
            assert_eq!(out, format!("{expected}\r\n").as_bytes());
        }
    }

    proptest! {
        #[test]
        fn what_is_chunked_decodes_to_itself(parts: Vec<Vec<u8>>, cut: prop::sample::Index) {
            let mut body = Vec::new();
            for part in &parts {
                write_chunk(part, &mut body);
            }
            body.extend_from_slice(LAST_CHUNK);
            let (a, b) = body.split_at(cut.index(body.len() + 1));
            prop_assert_eq!(decode(&[a, b]), Ok((parts.concat(), Vec::new(), true)));
        }

        #[test]
        fn any_bytes_give_the_same_in_two_pieces(input: Vec<u8>, size in 0..20usize, cut: prop::sample::Index) {
            let input = [format!("{size:x}\r\n").as_bytes(), &input].concat();
            let (a, b) = input.split_at(cut.index(input.len() + 1));
            prop_assert_eq!(decode(&[a, b]), decode(&[&input]));
        }
    }
}
