//! A client that sends exactly the bytes it is given and reads one framed answer at a time.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::PATIENCE;

/// One connection to 127.0.0.1; bytes read beyond one answer are kept for the next.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl RawClient {
    /// # Panics
    /// When nothing accepts on the port.
    #[track_caller]
    pub fn connect(port: u16) -> Self {
        match Self::try_connect(port) {
            Ok(client) => client,
            Err(error) => panic!("connect to 127.0.0.1:{port}: {error}"),
        }
    }

    /// # Errors
    /// As [`TcpStream::connect`].
    pub fn try_connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, pending: Vec::new() })
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the peer does not take them.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the peer takes the bytes");
    }

    /// As [`send`](Self::send), when the peer may have gone.
    ///
    /// # Errors
    /// As [`TcpStream::write_all`](Write::write_all).
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends `x` until the peer takes no more for half a second, or as many have gone; returns how many.
    pub fn send_until_stuck(&mut self, most: u64) -> u64 {
        let _ = self.stream.set_write_timeout(Some(Duration::from_millis(500)));
        let chunk = [b'x'; 65536];
        let mut sent = 0;
        while sent < most {
            let next = usize::try_from(most - sent).unwrap_or(chunk.len()).min(chunk.len());
            match self.stream.write(&chunk[..next]) {
                Ok(count) => sent += count as u64,
                Err(_) => break,
            }
        }
        let _ = self.stream.set_write_timeout(Some(PATIENCE));
        sent
    }

    /// `GET path` over HTTP/1.1 and its answer; the connection stays open.
    ///
    /// # Panics
    /// As [`response`](Self::response).
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.response()
    }

    /// The next answer to a request that is not HEAD; 1xx answers are returned as they come.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`] or it is cut short.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        match self.try_response(false) {
            Ok(response) => response,
            Err(error) => {
                panic!("no answer: {error}; had {:?}", String::from_utf8_lossy(&self.pending))
            }
        }
    }

    /// The next answer; `to_head` when it answers a HEAD request and so has no body.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends first, `WouldBlock` when time is up, `InvalidData`
    /// when the bytes are no answer.
    pub fn try_response(&mut self, to_head: bool) -> io::Result<Response> {
        let head = self.take_until(b"\r\n\r\n")?;
        let mut response = Response::parse(&head)?;
        if to_head || matches!(response.status, 100..200 | 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            loop {
                let line = self.take_until(b"\r\n")?;
                let digits = line.split(|b| *b == b';' || *b == b'\r').next().unwrap_or_default();
                let size = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|d| usize::from_str_radix(d, 16).ok())
                    .ok_or_else(|| invalid(&line))?;
                if size == 0 {
                    let mut lines = line;
                    loop {
                        let next = self.take_until(b"\r\n")?;
                        lines.extend_from_slice(&next);
                        if next == b"\r\n" {
                            response.trailers = fields(&lines)?;
                            return Ok(response);
                        }
                    }
                }
                response.body.extend(self.take(size)?);
                self.take(2)?;
            }
        }
        if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| invalid(&head))?;
            response.body = self.take(length)?;
        } else {
            response.body = self.try_read_to_end()?;
        }
        Ok(response)
    }

    /// Exactly `count` bytes.
    ///
    /// # Panics
    /// When fewer come.
    #[track_caller]
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        self.take(count).expect("as many bytes as asked for")
    }

    /// Everything up to the end of the connection; a reset counts as the end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`] of the last byte.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        self.try_read_to_end().expect("the connection ends")
    }

    /// Whether the peer ends the connection within the time, without sending more.
    pub fn is_closed_within(&mut self, time: Duration) -> bool {
        let waited = self.stream.set_read_timeout(Some(time)).and_then(|()| self.fill());
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        match waited {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Ends our direction; answers can still be read.
    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The connection itself, for what the kit has no word for.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn try_read_to_end(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
        }
        Ok(std::mem::take(&mut self.pending))
    }

    fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.pending.len() < count {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.pending.split_off(count);
        Ok(std::mem::replace(&mut self.pending, rest))
    }

    fn take_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.pending.windows(end.len()).position(|w| w == end) {
                return self.take(at + end.len());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16384];
        let count = self.stream.read(&mut chunk)?;
        self.pending.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

/// One HTTP/1 answer as it arrived, its body without framing.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The first line, without its end.
    pub status_line: String,
    /// The three digits of the first line.
    pub status: u16,
    /// Name as sent and value without surrounding blanks, in order.
    pub headers: Vec<(String, String)>,
    /// The body without chunk framing or trailers.
    pub body: Vec<u8>,
    /// What follows the last chunk, as `headers`.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    fn parse(head: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(head).map_err(|_| invalid(head))?;
        let status_line = text.split("\r\n").next().unwrap_or_default().to_owned();
        let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| invalid(head))?;
        let (headers, trailers) = (fields(head)?, Vec::new());
        Ok(Self { status_line, status, headers, body: Vec::new(), trailers })
    }

    /// The first value of a header; names compare without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status_line)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        let shown = &self.body[..self.body.len().min(400)];
        write!(f, "\n{} ({} bytes)", String::from_utf8_lossy(shown), self.body.len())
    }
}

/// The fields behind the first line, up to the empty one.
fn fields(lines: &[u8]) -> io::Result<Vec<(String, String)>> {
    let text = std::str::from_utf8(lines).map_err(|_| invalid(lines))?;
    text.split("\r\n")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned())))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| invalid(lines))
}

fn invalid(bytes: &[u8]) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not an answer: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])),
    )
}
