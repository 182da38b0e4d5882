//! One stream of an HTTP/2 connection: its heads, and its bodies as HTTP/1 would frame them.
//!
//! ```text
//! DATA DATA HEADERS   --read-->   size CRLF content CRLF ... 0 CRLF trailers CRLF   or content, where its length is told
//! DATA DATA HEADERS   <-write--   the same
//! ```
//!
//! What is read makes room in the stream's window only when it is taken from here, and what is written waits for room
//! in the peer's: nothing piles up but what the two windows say.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use telamon_http_proto::{
    BodyLength, ChunkedDecoder, Head, Header, Limits, trailer_fields, write_chunk_size,
    write_http2_trailers,
};

pub(crate) mod server;

/// A stream, at either end of an exchange.
#[derive(Debug)]
pub(crate) struct Http2 {
    reader: RefCell<Reader>,
    writer: RefCell<Writer>,
    /// Its connection is to end without a word; shared by all of its streams.
    unheard: Arc<AtomicBool>,
}

/// What comes.
#[derive(Debug)]
struct Reader {
    /// The answer that is to come, at a server.
    answer: Option<ResponseFuture>,
    /// `None` until there is a head.
    body: Option<RecvStream>,
    /// Received and not taken yet.
    held: Bytes,
    chunked: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Content,
    Trailers,
    Over,
}

/// What goes.
#[derive(Debug)]
enum Writer {
    /// The head of the request is not sent yet.
    Request(SendRequest<Bytes>),
    /// The head of the answer is not sent yet.
    Answer(SendResponse<Bytes>),
    Body(SendStream<Bytes>, Framing),
    /// Its end was sent, or the stream was broken off.
    Over(Option<SendStream<Bytes>>),
}

/// How the bytes that are written are to be read.
#[derive(Debug)]
enum Framing {
    /// So many bytes of content.
    Content(u64),
    /// Chunks; and the trailers as far as they have come.
    Chunked(Box<(ChunkedDecoder, Vec<u8>)>),
    /// Content until [`Http2::end`].
    Open,
}

impl Http2 {
    /// The client's side of a stream whose request has come; `length` is what its head says of the body.
    pub(crate) fn of_client(
        body: RecvStream,
        length: BodyLength,
        respond: SendResponse<Bytes>,
        unheard: Arc<AtomicBool>,
    ) -> Self {
        let reader = Reader {
            answer: None,
            body: Some(body),
            held: Bytes::new(),
            chunked: length == BodyLength::Chunked,
            stage: Stage::Content,
        };
        let writer = Writer::Answer(respond);
        Self { reader: RefCell::new(reader), writer: RefCell::new(writer), unheard }
    }

    /// Sends the head of the answer; `length` says how the bytes of its body are framed when they are written.
    ///
    /// # Errors
    /// The stream is gone, or has had its answer.
    pub(crate) fn send_answer(&self, head: &Head, length: BodyLength) -> io::Result<()> {
        let mut writer = self.writer.borrow_mut();
        let Writer::Answer(respond) = &mut *writer else { return Err(gone()) };
        let ends = length == BodyLength::None;
        let sent = respond.send_response(response(head)?, ends).map_err(broken)?;
        *writer = match Framing::of(length) {
            Some(framing) => Writer::Body(sent, framing),
            None => Writer::Over(Some(sent)),
        };
        Ok(())
    }

    /// Sends the head of an answer that is not the last (100, 103).
    ///
    /// # Errors
    /// As [`Http2::send_answer`].
    pub(crate) fn send_interim(&self, head: &Head) -> io::Result<()> {
        match &mut *self.writer.borrow_mut() {
            Writer::Answer(respond) => respond.send_informational(response(head)?).map_err(broken),
            _ => Err(gone()),
        }
    }

    /// Sends the heads at the front of `text`, of messages that were made here; returns the body of the last.
    ///
    /// # Errors
    /// As [`Http2::send_answer`].
    pub(crate) fn send_heads<'t>(&self, mut text: &'t [u8]) -> io::Result<&'t [u8]> {
        while !text.is_empty() {
            let mut head = Head::with_capacity(text.len());
            head.input_mut().extend_from_slice(text);
            let len = head.parse_response(&Limits::default()).ok().flatten().ok_or_else(invalid)?;
            text = &text[len..];
            if head.status() >= 200 {
                let length = match text.len() as u64 {
                    0 => BodyLength::None,
                    len => BodyLength::Length(len),
                };
                self.send_answer(&head, length)?;
                break;
            }
            self.send_interim(&head)?;
        }
        Ok(text)
    }

    /// Whether the head of the answer has gone.
    pub(crate) fn has_answered(&self) -> bool {
        !matches!(&*self.writer.borrow(), Writer::Answer(_))
    }

    /// Whether all of what was to be written has gone.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(&*self.writer.borrow(), Writer::Over(_))
    }

    /// Breaks the stream off, in both directions.
    pub(crate) fn reset(&self, reason: Reason) {
        let mut writer = self.writer.borrow_mut();
        match std::mem::replace(&mut *writer, Writer::Over(None)) {
            Writer::Answer(mut respond) => respond.send_reset(reason),
            Writer::Body(mut body, _) | Writer::Over(Some(mut body)) => body.send_reset(reason),
            Writer::Request(_) | Writer::Over(None) => {}
        }
    }

    pub(crate) fn poll_read_append(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.reader.borrow_mut().poll_read_append(cx, buf)
    }

    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.writer.borrow_mut().try_write(buf)
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut writer = self.writer.borrow_mut();
        loop {
            match writer.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let Writer::Body(body, _) = &mut *writer else {
                        return Poll::Ready(Err(gone()));
                    };
                    match ready!(body.poll_capacity(cx)) {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                        None => return Poll::Ready(Err(gone())),
                    }
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Ends what is written here; what was to come of a body whose length was told is missing then, and the peer is told
    /// so by a reset.
    ///
    /// # Errors
    /// The stream is gone.
    pub(crate) fn end(&self) -> io::Result<()> {
        let mut writer = self.writer.borrow_mut();
        match std::mem::replace(&mut *writer, Writer::Over(None)) {
            Writer::Body(mut body, Framing::Open) => {
                body.send_data(Bytes::new(), true).map_err(broken)?;
                *writer = Writer::Over(Some(body));
                Ok(())
            }
            Writer::Body(mut body, _) => {
                body.send_reset(Reason::CANCEL);
                Ok(())
            }
            other => {
                *writer = other;
                Ok(())
            }
        }
    }

    pub(crate) fn set_unheard(&self) -> io::Result<()> {
        self.unheard.store(true, Relaxed);
        Ok(())
    }

    /// Ready once the peer has broken the stream off, or its connection is gone.
    pub(crate) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.writer.borrow_mut() {
            Writer::Answer(respond) => respond.poll_reset(cx).map(drop),
            Writer::Body(body, _) => body.poll_reset(cx).map(drop),
            Writer::Request(_) | Writer::Over(_) => Poll::Pending,
        }
    }
}

impl Reader {
    fn poll_read_append(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Err(gone())) };
        let before = buf.len();
        loop {
            match self.stage {
                Stage::Over => return Poll::Ready(Ok(0)),
                Stage::Content if !self.held.is_empty() => {
                    if buf.capacity() - buf.len() < ROOM_LEAST {
                        buf.reserve(ROOM_LEAST);
                    }
                    let room = buf.capacity() - buf.len();
                    let overhead = if self.chunked { CHUNK_OVERHEAD } else { 0 };
                    let count = self.held.len().min(room - overhead);
                    if self.chunked {
                        write_chunk_size(count, buf);
                    }
                    buf.extend_from_slice(&self.held[..count]);
                    if self.chunked {
                        buf.extend_from_slice(b"\r\n");
                    }
                    self.held.advance(count);
                    // A stream that is gone has no window.
                    let _ = body.flow_control().release_capacity(count);
                    return Poll::Ready(Ok(buf.len() - before));
                }
                Stage::Content => match ready!(body.poll_data(cx)) {
                    Some(Ok(data)) => self.held = data,
                    Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                    None => self.stage = Stage::Trailers,
                },
                Stage::Trailers => {
                    let trailers = ready!(body.poll_trailers(cx)).map_err(broken)?;
                    self.stage = Stage::Over;
                    if self.chunked {
                        let fields = trailers.iter().flatten();
                        let fields = fields
                            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
                        write_http2_trailers(fields, &Limits::default(), buf)
                            .map_err(|_| invalid())?;
                        return Poll::Ready(Ok(buf.len() - before));
                    }
                }
            }
        }
    }
}

impl Writer {
    fn try_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Self::Body(body, framing) = self else { return Err(gone()) };
        if buf.is_empty() {
            return Ok(0);
        }
        body.reserve_capacity(buf.len());
        let room = body.capacity();
        match framing {
            Framing::Open => {
                let count = some(buf.len().min(room))?;
                let data = Bytes::copy_from_slice(&buf[..count]);
                body.send_data(data, false).map_err(broken)?;
                Ok(count)
            }
            Framing::Content(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let count = some(buf.len().min(room).min(most))?;
                let data = Bytes::copy_from_slice(&buf[..count]);
                *left -= count as u64;
                let ends = *left == 0;
                body.send_data(data, ends).map_err(broken)?;
                if ends {
                    self.over();
                }
                Ok(count)
            }
            Framing::Chunked(state) => {
                let (decoder, trailers) = &mut **state;
                let mut content = BytesMut::new();
                let read = take_chunks(decoder, buf, room, &mut content, trailers)?;
                if read == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                if !decoder.is_done() {
                    if !content.is_empty() {
                        body.send_data(content.freeze(), false).map_err(broken)?;
                    }
                    return Ok(read);
                }
                // The empty line that ends them is there as well.
                if trailers.len() <= b"\r\n".len() {
                    body.send_data(content.freeze(), true).map_err(broken)?;
                } else {
                    if !content.is_empty() {
                        body.send_data(content.freeze(), false).map_err(broken)?;
                    }
                    body.send_trailers(fields_of(trailers)).map_err(broken)?;
                }
                self.over();
                Ok(read)
            }
        }
    }

    fn over(&mut self) {
        if let Self::Body(body, _) = std::mem::replace(self, Self::Over(None)) {
            *self = Self::Over(Some(body));
        }
    }
}

impl Framing {
    /// `None` where nothing follows the head.
    fn of(length: BodyLength) -> Option<Self> {
        match length {
            BodyLength::None => None,
            BodyLength::Length(bytes) => Some(Self::Content(bytes)),
            BodyLength::Chunked => Some(Self::Chunked(Box::default())),
            BodyLength::UntilClose | BodyLength::Tunnel => Some(Self::Open),
        }
    }
}

/// Takes up to `room` bytes of content, and the trailers, out of chunks; returns how many bytes of `buf` they were in.
fn take_chunks(
    decoder: &mut ChunkedDecoder,
    buf: &[u8],
    room: usize,
    content: &mut BytesMut,
    trailers: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut read = 0;
    while read < buf.len() && !decoder.is_done() {
        let mut rest = &buf[read..];
        if decoder.content_left() > 0 {
            let most = room - content.len();
            if most == 0 {
                break;
            }
            rest = &rest[..rest.len().min(most)];
        }
        let in_trailers = decoder.in_trailers();
        let piece = decoder.piece(rest).map_err(|_| invalid())?;
        if piece.is_content {
            content.extend_from_slice(&rest[..piece.len]);
        } else if in_trailers {
            trailers.extend_from_slice(&rest[..piece.len]);
        }
        read += piece.len;
    }
    Ok(read)
}

/// Trailers as they stood behind the last chunk, whose decoder has found them well-formed.
fn fields_of(trailers: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for Header { name, value } in trailer_fields(trailers) {
        let name = http::HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    fields
}

/// A head of an answer as HTTP/2 says it.
fn response(head: &Head) -> io::Result<http::Response<()>> {
    let mut response = http::Response::new(());
    let status = http::StatusCode::from_u16(head.http2_status());
    *response.status_mut() = status.map_err(|_| invalid())?;
    let map = response.headers_mut();
    map.reserve(head.header_count());
    fields(head, map)?;
    Ok(response)
}

/// The fields of a head, as HTTP/2 is sent them.
fn fields(head: &Head, map: &mut HeaderMap) -> io::Result<()> {
    let mut whole = Ok(());
    head.http2_fields(|name, value| {
        let name = http::HeaderName::from_bytes(name);
        match (name, http::HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(value)) => _ = map.append(name, value),
            _ => whole = Err(invalid()),
        }
    });
    whole
}

fn some(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn broken(error: h2::Error) -> io::Error {
    error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
}

/// The room that is made in a buffer that has less.
const ROOM_LEAST: usize = 256;
/// A chunk's size line and the line end behind it, for any chunk that fits a buffer.
const CHUNK_OVERHEAD: usize = 16 + 2 + 2;
