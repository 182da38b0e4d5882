//! The request on its way to the server, until the head of the answer is there.

use std::io;
use std::task::{Context, Poll};

use telamon_http_proto::{BodyLength, Limits, ParseError, Version};

use crate::aside::aside;
use crate::model::{Backend, Proxy, Server};
use crate::relay::{Broken, End, Pump, Remaining, Splicing};
use crate::side::http2::server::{Unanswered, request_length};
use crate::stream::Stream;
use crate::worker::Worker;

/// The two sides of an attempt.
pub(super) struct Ends<'a> {
    pub(super) client: End<'a>,
    pub(super) server: End<'a>,
}

/// The request on its way out.
pub(super) struct Upload<'a> {
    /// `None` when all of it went at once.
    pump: Option<Box<Pump<'a>>>,
    /// How it ended.
    over: Option<Result<(), Broken>>,
    /// How long its head is, and what it held of the body at the start.
    pub(super) head_len: u64,
    pub(super) held: usize,
    /// How long its head was as it came.
    head_received: u64,
    /// All of it was there before the first byte went.
    pub(super) was_whole: bool,
}

/// A request that cannot be sent as it is.
pub(super) enum Unsendable {
    /// Its head has no room for what is to be added.
    Head,
    /// The framing of its body is malformed.
    Body,
    /// What it asks for cannot be asked of this server in HTTP/2.
    Version,
}

/// Why there is no response head.
pub(super) enum Lost {
    /// The server closed or reset before a whole head.
    Server {
        reset: bool,
        /// It is known to have done nothing with the request.
        untouched: bool,
    },
    ServerTimeout,
    Malformed(ParseError),
    /// The client broke off while sending its body, or left while it was watched.
    Client(Broken),
}

impl From<Unanswered> for Lost {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Malformed(error) => Self::Malformed(error),
            Unanswered::Gone { unseen } => Self::Server { reset: true, untouched: unseen },
        }
    }
}

impl<'a> Upload<'a> {
    /// Sends what is there of the request, as far as the server's socket takes it.
    pub(super) fn begin(
        stream: &mut Stream,
        (backend, server): (&Backend, &Server),
        ends: &Ends<'a>,
        splicing: Splicing,
    ) -> Result<Self, Unsendable> {
        if let Some(name) = &backend.send_name_header
            && stream.request.set_header(name, server.name.as_bytes()).is_err()
        {
            return Err(Unsendable::Head);
        }
        let worker = &stream.session.worker;
        let mut out = worker.lend_buffer();
        let server_stream = ends.server.side.stream();
        match server_stream {
            None => {
                let told = stream.request.say_no_content().and_then(|()| stream.request.say_host());
                told.map_err(|_| Unsendable::Head)?;
                stream.request.write_to(&mut out);
            }
            Some(side) => {
                let length = request_length(&stream.request);
                side.send_request(&stream.request, length).map_err(|_| Unsendable::Version)?;
            }
        }
        let head_len = out.len();
        let length = stream.request.request_body();
        let mut remaining = Remaining::new(length);
        if length != BodyLength::None {
            out.extend_from_slice(stream.request.remaining());
            let end = remaining.advance(&mut out, head_len).map_err(|_| Unsendable::Body)?;
            out.truncate(end);
        }
        let mut upload = Self {
            pump: None,
            over: None,
            head_len: head_len as u64,
            held: out.len() - head_len,
            head_received: stream.request.head_len() as u64,
            was_whole: remaining.is_done(),
        };
        let sent = match ends.server.side.try_write(&out) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                upload.over = Some(Err(Broken::Sink));
                0
            }
        };
        if upload.was_whole && sent == out.len() {
            upload.over = Some(Ok(()));
            worker.return_buffer(out);
            return Ok(upload);
        }
        upload.go_on(stream, ends, (out, sent), remaining, splicing);
        Ok(upload)
    }

    /// There is more of it to be sent.
    #[inline(never)]
    fn go_on(
        &mut self,
        stream: &Stream,
        ends: &Ends<'a>,
        (out, sent): (Vec<u8>, usize),
        remaining: Remaining,
        splicing: Splicing,
    ) {
        let mut pump = Pump::begun(ends.client, ends.server, out, sent, remaining);
        pump.splice_with(stream.session.worker.pipes(), splicing);
        if !pump.holds_all() && stream.session.listener.bind.delay_ack {
            // The client waits for acknowledgements of its body, not for the answer.
            if let Some(socket) = ends.client.side.socket() {
                let _ = socket.set_quickack(true);
            }
        }
        self.pump = Some(Box::new(pump));
    }

    /// Moves what can be moved; ready once it has ended, with whether it went well.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.over.is_none()
            && let Some(pump) = &mut self.pump
        {
            match pump.poll(cx) {
                Poll::Ready(result) => self.over = Some(result),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(matches!(self.over, Some(Ok(()))))
    }

    /// Whether nothing of the request is left to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Bytes that were sent, head included.
    pub(super) fn written(&self) -> u64 {
        self.pump.as_ref().map_or(self.head_len + self.held as u64, |pump| pump.written)
    }

    /// Bytes of it as the client sent them, of those that have gone: rules change the length of a head.
    pub(super) fn received(&self) -> u64 {
        self.head_received + self.written().saturating_sub(self.head_len)
    }

    /// Bytes that had to be read of the client meanwhile.
    pub(super) fn read(&self) -> u64 {
        self.pump.as_ref().map_or(0, |pump| pump.read)
    }

    /// Notes for the log what has gone.
    pub(super) fn note(&self, stream: &mut Stream) {
        stream.log.bytes_in = self.received();
        stream.log.spliced_in = self.pump.as_ref().map_or(0, |pump| pump.spliced);
    }

    /// Turns into the client's half of a tunnel; what the client sent ahead goes first.
    pub(super) fn into_tunnel(self, stream: &mut Stream, ends: &Ends<'a>) -> Pump<'a> {
        self.note(stream);
        let mut ahead = stream.session.worker.lend_buffer();
        ahead.extend_from_slice(stream.request.remaining());
        stream.request.consume(usize::MAX);
        Pump::new(ends.client, ends.server, ahead, Remaining::UntilClose)
    }

    /// Ends it; what was read behind the request's end stays for the next one.
    pub(super) fn end(self, stream: &mut Stream) {
        if let Some(pump) = self.pump {
            let rest = pump.into_rest();
            if !rest.is_empty() {
                stream.request.input_mut().extend_from_slice(&rest);
            }
            stream.session.worker.return_buffer(rest);
        }
    }
}

/// Waits for the final response head while the request goes out; interim ones are passed on.
pub(super) async fn final_head(
    stream: &mut Stream,
    upload: &mut Upload<'_>,
    ends: &Ends<'_>,
    proxy: &Proxy,
) -> Result<(), Lost> {
    let tune = &stream.snapshot.global.tune;
    let limits = Worker::limits(tune, proxy.options.accept_invalid_http_response);
    let bufsize = tune.bufsize;
    stream.response.clear();
    let input = stream.response.input_mut();
    if input.capacity() < bufsize {
        // An answer made here for the request before has left a smaller one.
        input.reserve(bufsize);
    }
    loop {
        // A stream that was reset needs no answer whatever the options say.
        let watched = proxy.options.abortonclose || ends.client.side.stream().is_some();
        next_head(stream, upload, ends, &limits, watched).await?;
        let status = stream.response.status();
        if status >= 200 || status == 101 {
            return Ok(());
        }
        aside(interim(stream, ends)).await?;
        stream.response.next();
    }
}

/// Passes an interim answer on, to a client that knows of such.
async fn interim(stream: &mut Stream, ends: &Ends<'_>) -> Result<(), Lost> {
    if stream.request.version() == Version::Http10 || stream.response.strip_hop_by_hop().is_err() {
        return Ok(());
    }
    if let Some(side) = ends.client.side.stream() {
        return side.send_interim(&stream.response).map_err(|_| Lost::Client(Broken::Source));
    }
    let mut interim = stream.session.worker.lend_buffer();
    stream.response.write_to(&mut interim);
    ends.client.deadline.arm_optional(ends.client.timeout);
    let sent = ends.client.deadline.guard(ends.client.side.write_all(&interim)).await;
    stream.log.bytes_out += interim.len() as u64;
    stream.session.worker.return_buffer(interim);
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Lost::Client(Broken::Source)),
        Err(_) => Err(Lost::Client(Broken::SourceTimeout)),
    }
}

/// Reads one response head while the request goes out.
async fn next_head(
    stream: &mut Stream,
    upload: &mut Upload<'_>,
    ends: &Ends<'_>,
    limits: &Limits,
    watch_client: bool,
) -> Result<(), Lost> {
    let mut waiting = false;
    std::future::poll_fn(|cx| {
        let sent = upload.poll(cx);
        if let (Poll::Ready(false), Some(Err(broken))) = (sent, &upload.over)
            && *broken != Broken::Sink
        {
            return Poll::Ready(Err(Lost::Client(*broken)));
        }
        if let Some(side) = ends.server.side.stream() {
            match side.poll_answer(cx, &stream.request, &mut stream.response, limits) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(why)) => return Poll::Ready(Err(why.into())),
                Poll::Pending => {}
            }
        }
        while ends.server.side.stream().is_none() {
            if !stream.response.input().is_empty() {
                match stream.response.parse_response(limits) {
                    Ok(Some(_)) => return Poll::Ready(Ok(())),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(Lost::Malformed(error))),
                }
            }
            match ends.server.side.poll_read_append(cx, stream.response.input_mut()) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(Lost::Server { reset: false, untouched: false }));
                }
                Poll::Ready(Err(_)) => {
                    return Poll::Ready(Err(Lost::Server { reset: true, untouched: false }));
                }
                Poll::Ready(Ok(_)) => waiting = false,
                Poll::Pending => break,
            }
        }
        // The server's time runs once it has the whole request.
        if sent.is_ready() {
            if !std::mem::replace(&mut waiting, true) {
                let now = ends.server.deadline.now();
                ends.server.deadline.arm_optional_from(now, ends.server.timeout);
            }
            if ends.server.deadline.poll_expired(cx).is_ready() {
                return Poll::Ready(Err(Lost::ServerTimeout));
            }
            if watch_client && ends.client.side.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Lost::Client(Broken::Source)));
            }
        }
        Poll::Pending
    })
    .await
}
