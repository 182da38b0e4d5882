//! A client of HTTP/2 (RFC 9113) that sends every frame by hand, so that anything can be sent wrong,
//! and reads what comes as frames or as whole answers.
//!
//! ```no_run
//! use telamon_testkit::http2::{Http2Client, PING, code};
//!
//! let mut client = Http2Client::connect(8080);
//! assert_eq!(client.get("/").status, 200);
//! client.send(PING, 0, 3, &[0; 8]); // a PING belongs to no stream
//! assert_eq!(client.goaway(), code::PROTOCOL_ERROR);
//! ```
//!
//! Plain TCP with prior knowledge; or TLS, which Debian's `openssl` speaks for it, so that here too
//! no fault is shared with the program. Acknowledgements of SETTINGS and PING, and the windows of
//! answers, are looked after unless a test forbids it. Nothing is checked that is not asked about.

mod hpack;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::PATIENCE;

pub use hpack::{Decoder, huffman, indexed, integer, literal, literal_indexed, size_update};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// A flag of DATA and HEADERS; [`ACK`] has the same bit.
pub const END_STREAM: u8 = 0x1;
/// A flag of SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// A flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;
/// A flag of DATA and HEADERS: the first byte of the payload counts the bytes of padding at its end.
pub const PADDED: u8 = 0x8;
/// A flag of HEADERS: five bytes of priority stand before the fields.
pub const PRIORITIZED: u8 = 0x20;

/// What a client says before its first frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Settings (RFC 9113, section 6.5.2; RFC 8441).
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// Error codes (RFC 9113, section 7).
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const SETTINGS_TIMEOUT: u32 = 4;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const CONNECT_ERROR: u32 = 10;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
    pub const INADEQUATE_SECURITY: u32 = 12;
    pub const HTTP_1_1_REQUIRED: u32 = 13;

    /// The code's name, `UNKNOWN` beyond the last.
    pub fn name(code: u32) -> &'static str {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        NAMES.get(code as usize).copied().unwrap_or("UNKNOWN")
    }
}

/// One frame as it went over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    /// Without the reserved bit.
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether it has a flag.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The error code of RST_STREAM or GOAWAY, the increment of WINDOW_UPDATE; 0 for others and for short ones.
    pub fn number(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        self.payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
    }

    /// The payload without padding and priority.
    fn content(&self) -> &[u8] {
        let mut content = &self.payload[..];
        if self.has(PADDED) && matches!(self.kind, DATA | HEADERS) {
            let Some((padding, rest)) = content.split_first() else { return &[] };
            content = rest.get(..rest.len().saturating_sub(usize::from(*padding))).unwrap_or(&[]);
        }
        if self.kind == HEADERS && self.has(PRIORITIZED) {
            content = content.get(5..).unwrap_or(&[]);
        }
        content
    }
}

/// What [`Http2Client::next_event`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Frame(Frame),
    /// The peer has ended or reset the connection.
    Closed,
    /// Nothing whole has come in the time allowed.
    Timeout,
}

/// What has come on one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http2Response {
    /// `:status` of the final head, 0 before it.
    pub status: u16,
    /// The fields of the final head, without `:status`, in order.
    pub headers: Vec<(String, String)>,
    /// The status of each 1xx head before the final one.
    pub interim: Vec<u16>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// END_STREAM has come.
    pub ended: bool,
    /// The code of RST_STREAM, when one has come.
    pub reset: Option<u32>,
}

impl Http2Response {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn take_fields(&mut self, fields: Vec<(String, String)>) {
        let status = fields.iter().find(|(n, _)| n == ":status").and_then(|(_, v)| v.parse().ok());
        match status {
            Some(interim @ 100..200) => self.interim.push(interim),
            Some(status) => {
                self.status = status;
                self.headers = fields.into_iter().filter(|(n, _)| n != ":status").collect();
            }
            None => self.trailers = fields,
        }
    }
}

/// One connection to 127.0.0.1.
#[derive(Debug)]
pub struct Http2Client {
    transport: Transport,
    pending: Vec<u8>,
    decoder: Decoder,
    /// The stream, END_STREAM and fragments of a field block that is not yet whole.
    block: Option<(u32, bool, Vec<u8>)>,
    streams: BTreeMap<u32, Http2Response>,
    settings: BTreeMap<u16, u32>,
    next_stream: u32,
    patience: Duration,
    acknowledges: bool,
    replenishes: bool,
}

impl Http2Client {
    /// A connection on which both sides have sent their settings.
    ///
    /// # Panics
    /// When nothing accepts on the port, or does not speak HTTP/2.
    #[track_caller]
    pub fn connect(port: u16) -> Self {
        Self::connect_with(port, &[])
    }

    /// As [`connect`](Self::connect), with settings of our own.
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    #[track_caller]
    pub fn connect_with(port: u16, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::open(port).expect("connect");
        client.hello(settings).expect("the peer speaks HTTP/2");
        client
    }

    /// A connection on which nothing has been said.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(Transport::Plain(stream)))
    }

    /// As [`open`](Self::open), through TLS with ALPN `h2`; the certificate is not verified.
    ///
    /// # Errors
    /// When `openssl` cannot be started.
    pub fn open_tls(port: u16) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(PATIENCE))?;
        let child = Command::new("openssl")
            .args(["s_client", "-quiet", "-alpn", "h2", "-servername", "localhost", "-connect"])
            .arg(format!("127.0.0.1:{port}"))
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self::over(Transport::Tls(ours, child)))
    }

    /// The server's end of the next connection that `listener` is asked for, once the preface has come and settings were
    /// sent. The head of a request is what [`stream`](Self::stream) has as trailers, until there are trailers.
    ///
    /// # Errors
    /// When nobody connects, or says something else first.
    pub fn accept(listener: &TcpListener, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut stream = listener.accept()?.0;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface)?;
        if preface != PREFACE {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut server = Self::over(Transport::Plain(stream));
        server.send_settings(settings);
        Ok(server)
    }

    fn over(transport: Transport) -> Self {
        Self {
            transport,
            pending: Vec::new(),
            decoder: Decoder::default(),
            block: None,
            streams: BTreeMap::new(),
            settings: BTreeMap::new(),
            next_stream: 1,
            patience: PATIENCE,
            acknowledges: true,
            replenishes: true,
        }
    }

    /// How long a wait for one frame lasts; [`PATIENCE`] unless told.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a send waits for a peer that does not read; [`PATIENCE`] unless told.
    ///
    /// # Panics
    /// When it is zero.
    #[must_use]
    pub fn send_patience(self, patience: Duration) -> Self {
        let set = match &self.transport {
            Transport::Plain(stream) => stream.set_write_timeout(Some(patience)),
            Transport::Tls(pipe, _) => pipe.set_write_timeout(Some(patience)),
        };
        set.expect("not zero");
        self
    }

    /// No window is given back for DATA that has come: a slow reader.
    #[must_use]
    pub fn without_replenishing(mut self) -> Self {
        self.replenishes = false;
        self
    }

    /// SETTINGS and PING of the peer are not acknowledged.
    #[must_use]
    pub fn without_acknowledging(mut self) -> Self {
        self.acknowledges = false;
        self
    }

    /// Sends the preface and settings, waits for the peer's.
    ///
    /// # Errors
    /// `InvalidData` when something else comes first, `TimedOut` when nothing does, `UnexpectedEof` at the end.
    pub fn hello(&mut self, settings: &[(u16, u32)]) -> io::Result<()> {
        let mut bytes = PREFACE.to_vec();
        encode(&mut bytes, SETTINGS, 0, 0, &settings_payload(settings));
        self.try_send_raw(&bytes)?;
        match self.next_event() {
            Event::Frame(frame) if frame.kind == SETTINGS && !frame.has(ACK) => Ok(()),
            Event::Frame(frame) => {
                Err(io::Error::new(ErrorKind::InvalidData, format!("not SETTINGS: {frame:?}")))
            }
            Event::Closed => Err(ErrorKind::UnexpectedEof.into()),
            Event::Timeout => Err(ErrorKind::TimedOut.into()),
        }
    }

    /// Sends bytes as they are; a peer that has gone shows when reading.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.try_send_raw(bytes);
    }

    /// As [`send_raw`](Self::send_raw), when it matters whether the peer takes them.
    ///
    /// # Errors
    /// As [`Write::write_all`].
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.transport {
            Transport::Plain(stream) => stream.write_all(bytes),
            Transport::Tls(pipe, _) => pipe.write_all(bytes),
        }
    }

    /// Sends one frame. The reserved bit is part of `stream`.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(9 + payload.len());
        encode(&mut bytes, kind, flags, stream, payload);
        self.send_raw(&bytes);
    }

    /// Sends HEADERS with END_HEADERS, the fields as literals without index.
    pub fn send_headers(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        self.send(HEADERS, END_HEADERS | flags, stream, &block(fields));
    }

    /// Sends SETTINGS.
    pub fn send_settings(&mut self, settings: &[(u16, u32)]) {
        self.send(SETTINGS, 0, 0, &settings_payload(settings));
    }

    /// Sends WINDOW_UPDATE.
    pub fn send_window_update(&mut self, stream: u32, increment: u32) {
        self.send(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
    }

    /// Sends RST_STREAM.
    pub fn send_reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    /// `GET path` on the next stream and its whole answer.
    ///
    /// # Panics
    /// As [`response`](Self::response).
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Http2Response {
        let stream = self.request("GET", path, END_STREAM, &[]);
        self.response(stream)
    }

    /// Sends the head of a request on the next stream, with further fields; returns the stream.
    pub fn request(&mut self, method: &str, path: &str, flags: u8, more: &[(&str, &str)]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut fields = request_fields(method, path).to_vec();
        fields.extend_from_slice(more);
        self.send_headers(stream, flags, &fields);
        stream
    }

    /// Waits until the stream has ended or was reset, and returns all of it.
    ///
    /// # Panics
    /// When the connection ends or time is up first.
    #[track_caller]
    pub fn response(&mut self, stream: u32) -> Http2Response {
        self.wait("the stream's end", |client| {
            let response = client.streams.get(&stream)?;
            (response.ended || response.reset.is_some()).then(|| response.clone())
        })
    }

    /// Waits until something about a stream holds, as that a head or some bytes have come.
    ///
    /// # Panics
    /// As [`response`](Self::response).
    #[track_caller]
    pub fn wait_stream(
        &mut self,
        stream: u32,
        holds: impl Fn(&Http2Response) -> bool,
    ) -> Http2Response {
        self.wait("something of a stream", |client| {
            client.streams.get(&stream).filter(|response| holds(response)).cloned()
        })
    }

    /// Waits for GOAWAY with an error, or the second that announces the end, and returns its code.
    ///
    /// # Panics
    /// As [`response`](Self::response).
    #[track_caller]
    pub fn goaway(&mut self) -> u32 {
        loop {
            match self.next_event() {
                Event::Frame(frame) if frame.kind == GOAWAY && frame.number() != code::NO_ERROR => {
                    return frame.number();
                }
                Event::Frame(_) => {}
                other => panic!("{other:?} before GOAWAY with an error"),
            }
        }
    }

    /// Reads until the connection ends; the codes of the GOAWAY frames on the way.
    ///
    /// # Panics
    /// When time is up first.
    #[track_caller]
    pub fn until_closed(&mut self) -> Vec<u32> {
        let mut codes = Vec::new();
        loop {
            match self.next_event() {
                Event::Frame(frame) if frame.kind == GOAWAY => codes.push(frame.number()),
                Event::Frame(_) => {}
                Event::Closed => return codes,
                Event::Timeout => panic!("the connection does not end; GOAWAY: {codes:?}"),
            }
        }
    }

    /// Whether a PING of ours is answered: everything sent before it has been read by then.
    pub fn pings(&mut self, payload: [u8; 8]) -> bool {
        self.send(PING, 0, 0, &payload);
        loop {
            match self.next_event() {
                Event::Frame(f) if f.kind == PING && f.has(ACK) && f.payload == payload => {
                    return true;
                }
                Event::Frame(_) => {}
                Event::Closed | Event::Timeout => return false,
            }
        }
    }

    /// The next frame; what it says about streams and settings has been noted.
    ///
    /// # Panics
    /// When the fields of an answer cannot be decoded.
    #[track_caller]
    pub fn next_event(&mut self) -> Event {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(frame) = self.take_frame() {
                self.note(&frame);
                return Event::Frame(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Event::Timeout;
            }
            let mut chunk = [0; 16384];
            match self.transport.read(&mut chunk, left) {
                Ok(0) => return Event::Closed,
                Ok(count) => self.pending.extend_from_slice(&chunk[..count]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Event::Timeout;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Event::Closed,
            }
        }
    }

    /// A setting of the peer, when it has sent it.
    pub fn setting(&self, id: u16) -> Option<u32> {
        self.settings.get(&id).copied()
    }

    /// What has come on a stream so far.
    pub fn stream(&self, stream: u32) -> Option<&Http2Response> {
        self.streams.get(&stream)
    }

    #[track_caller]
    fn wait<T>(&mut self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            match self.next_event() {
                Event::Frame(_) => {}
                other => panic!("{other:?} before {what}; streams: {:?}", self.streams),
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let head: &[u8; 9] = self.pending.first_chunk()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.pending.get(9..9 + length)?.to_vec();
        self.pending.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    #[track_caller]
    fn note(&mut self, frame: &Frame) {
        match frame.kind {
            SETTINGS if !frame.has(ACK) => {
                for pair in frame.payload.chunks_exact(6) {
                    let value = u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
                    self.settings.insert(u16::from_be_bytes([pair[0], pair[1]]), value);
                }
                if self.acknowledges {
                    self.send(SETTINGS, ACK, 0, &[]);
                }
            }
            PING if !frame.has(ACK) && self.acknowledges => self.send(PING, ACK, 0, &frame.payload),
            RST_STREAM => {
                self.streams.entry(frame.stream).or_default().reset = Some(frame.number());
            }
            DATA => {
                let response = self.streams.entry(frame.stream).or_default();
                response.body.extend_from_slice(frame.content());
                response.ended |= frame.has(END_STREAM);
                let count = frame.payload.len() as u32;
                if self.replenishes && count > 0 {
                    let ended = response.ended;
                    self.send_window_update(0, count);
                    if !ended {
                        self.send_window_update(frame.stream, count);
                    }
                }
            }
            HEADERS => {
                let bytes = frame.content().to_vec();
                self.block = Some((frame.stream, frame.has(END_STREAM), bytes));
            }
            CONTINUATION => {
                if let Some((_, _, bytes)) = &mut self.block {
                    bytes.extend_from_slice(&frame.payload);
                }
            }
            _ => {}
        }
        if matches!(frame.kind, HEADERS | CONTINUATION)
            && frame.has(END_HEADERS)
            && let Some((stream, ended, bytes)) = self.block.take()
        {
            let fields = self.decoder.decode(&bytes).expect("fields that can be decoded");
            let response = self.streams.entry(stream).or_default();
            response.take_fields(fields);
            response.ended |= ended;
        }
    }
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(UnixStream, Child),
}

impl Transport {
    fn read(&mut self, chunk: &mut [u8], patience: Duration) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.read(chunk)
            }
            Self::Tls(pipe, _) => {
                pipe.set_read_timeout(Some(patience))?;
                pipe.read(chunk)
            }
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Self::Tls(_, child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The four pseudo-fields of a request for `http://test/PATH`.
pub fn request_fields<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")]
}

/// Fields as literals without index or Huffman coding.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// Appends a frame to bytes that are to be sent at once.
pub fn encode(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

fn settings_payload(settings: &[(u16, u32)]) -> Vec<u8> {
    let pair =
        |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
    settings.iter().flat_map(pair).collect()
}
