//! What a server has answered since a check last sent something: bytes, or one HTTP response.

use telamon_http_proto::{BodyLength, ChunkedDecoder, Head, Limits, Method};

use crate::model::CheckProtocol;

/// The answer so far. Holds at most `tune.bufsize` bytes as received; more is not read.
#[derive(Debug)]
pub(super) struct Reply {
    protocol: CheckProtocol,
    limits: Limits,
    bytes_max: usize,
    /// As received; the head of the response as well, where the check speaks HTTP.
    head: Head,
    /// The content of the response, without its coding.
    body: Vec<u8>,
    method: Method,
    state: State,
    /// Bytes received.
    received: usize,
}

#[derive(Debug)]
enum State {
    Head,
    Body(BodyLength, ChunkedDecoder),
    Complete,
    /// It is no HTTP.
    Broken,
}

impl Reply {
    /// An empty answer.
    pub(super) fn new(protocol: CheckProtocol, limits: Limits, bytes_max: usize) -> Self {
        Self {
            protocol,
            limits,
            bytes_max,
            head: Head::with_capacity(READ_MIN),
            body: Vec::new(),
            method: Method::Other,
            state: State::Head,
            received: 0,
        }
    }

    /// Forgets everything: a request of that method is sent, or bytes are.
    pub(super) fn restart(&mut self, method: Method) {
        self.head.clear();
        self.body.clear();
        self.method = method;
        self.state = State::Head;
        self.received = 0;
    }

    /// Where to append what comes, with room for some; [`Reply::received`] then looks at it.
    pub(super) fn space(&mut self) -> &mut Vec<u8> {
        let input = self.head.input_mut();
        if input.capacity() - input.len() < READ_MIN {
            input.reserve(READ_MIN.max(input.len()));
        }
        input
    }

    /// Takes in `count` bytes that were appended.
    pub(super) fn received(&mut self, count: usize) {
        let is_first = self.received < VERSION_LEN;
        self.received += count;
        if self.protocol == CheckProtocol::Http {
            if is_first {
                plain_version(self.head.input_mut());
            }
            self.advance();
        }
    }

    /// Nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        self.received == 0
    }

    /// Nothing more is expected or held.
    pub(super) fn is_over(&self) -> bool {
        self.received >= self.bytes_max || matches!(self.state, State::Complete | State::Broken)
    }

    /// The head of a response has come, and not all of its body though its length is known.
    pub(super) fn is_cut(&self) -> bool {
        let State::Body(length, _) = &self.state else { return false };
        matches!(length, BodyLength::Length(_) | BodyLength::Chunked)
    }

    /// All bytes, as received.
    pub(super) fn bytes(&self) -> &[u8] {
        self.head.input()
    }

    /// The content as far as it has come.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The response, once its head is there and right.
    pub(super) fn response(&self) -> Option<&Head> {
        matches!(self.state, State::Body(..) | State::Complete).then_some(&self.head)
    }

    /// What expressions see as content: the body, or all bytes where this is not HTTP.
    pub(super) fn content(&self) -> &[u8] {
        if self.protocol == CheckProtocol::Http { self.body() } else { self.bytes() }
    }

    fn advance(&mut self) {
        if matches!(self.state, State::Head) {
            self.state = match self.head.parse_response(&self.limits) {
                Ok(None) => return,
                Ok(Some(_)) => match self.head.response_body(self.method, true) {
                    Ok(length) => State::Body(length, ChunkedDecoder::new()),
                    Err(_) => State::Broken,
                },
                Err(_) => State::Broken,
            };
        }
        let State::Body(length, chunks) = &mut self.state else { return };
        let rest = self.head.remaining();
        let mut taken = rest.len();
        let mut complete = false;
        match length {
            BodyLength::None | BodyLength::Tunnel => complete = true,
            BodyLength::UntilClose => self.body.extend_from_slice(rest),
            BodyLength::Length(whole) => {
                let left = *whole - self.body.len() as u64;
                taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.body.extend_from_slice(&rest[..taken]);
                complete = taken as u64 == left;
            }
            BodyLength::Chunked => {
                taken = 0;
                while taken < rest.len() && !chunks.is_done() {
                    let Ok(piece) = chunks.piece(&rest[taken..]) else {
                        self.state = State::Broken;
                        return;
                    };
                    if piece.is_content {
                        self.body.extend_from_slice(&rest[taken..taken + piece.len]);
                    }
                    taken += piece.len;
                }
                complete = chunks.is_done();
            }
        }
        self.head.consume(taken);
        if complete {
            self.state = State::Complete;
        }
    }
}

/// Writes any version of HTTP that has the form of HTTP/1's as the one that it is read by: whether a server is well is
/// no question of its version, and HAProxy takes all of them.
fn plain_version(input: &mut [u8]) {
    if let [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9', ..] =
        input
    {
        let later = (*major, *minor) >= (b'1', b'1');
        (*major, *minor) = (b'1', if later { b'1' } else { b'0' });
    }
}

/// `HTTP/1.1`
const VERSION_LEN: usize = 8;

/// Room that there is at least for each read: most answers of checks are smaller.
const READ_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and body of an answer, cut at every byte; `~` before it: not over yet, `!`: no HTTP.
    #[track_caller]
    fn check(method: Method, input: &[u8], expected: &str) {
        for cut in 0..=input.len() {
            let mut reply = Reply::new(CheckProtocol::Http, Limits::default(), 16384);
            reply.restart(method);
            for part in [&input[..cut], &input[cut..]] {
                reply.space().extend_from_slice(part);
                reply.received(part.len());
            }
            let sign = match reply.state {
                State::Head | State::Body(..) => "~",
                State::Complete => "",
                State::Broken => "!",
            };
            let status = reply.response().map_or(0, Head::status);
            let body = reply.body().escape_ascii();
            assert_eq!(format!("{sign}{status} {body}"), expected, "cut at {cut}");
        }
    }

    #[test]
    fn answers_are_read_however_they_are_cut() {
        check(Method::Get, b"HTTP/1.0 200 OK\r\n\r\nhello", "~200 hello");
        check(Method::Get, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello", "200 hel");
        check(Method::Head, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "200 ");
        check(Method::Get, b"HTTP/1.1 204 No Content\r\n\r\n", "204 ");
        check(Method::Get, b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", "503 ");
        check(
            Method::Get,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
            "200 hello",
        );
        check(Method::Get, b"HTTP/1.1 200 OK\r\nFoo: b", "~0 ");
        check(Method::Get, b"HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n", "200 ");
        check(Method::Get, b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", "200 ");
        check(Method::Get, b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n", "!0 ");
        check(Method::Get, b"what is this\r\n\r\n", "!0 ");
    }
}
