//! Moving bytes from one socket to another.
//!
//! A [`Pump`] is one direction: it writes what it holds, reads more, follows the framing of the message so that it
//! knows where the body ends, and stops there. Two pumps polled by one task are an exchange or a tunnel. Waiting is
//! bounded by the timeout of the side that is waited for; a wait begins its timeout anew at each progress.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use telamon_http_proto::{BodyLength, ChunkedDecoder};
use telamon_runtime::Moment;
use telamon_runtime::splice::{Pipe, PipePool};
use telamon_runtime::wheel::Deadline;

use crate::model::Options;
use crate::side::Side;
use crate::stream::Cause;

/// One side of an exchange and how long it may keep us waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) side: &'a Side,
    pub(crate) deadline: &'a Deadline,
    pub(crate) timeout: Option<Duration>,
}

/// Why a pump stopped before the end of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Reading failed, or the peer closed in the middle of a message.
    Source,
    /// The receiver is gone.
    Sink,
    /// The body's framing is malformed.
    Malformed,
    SourceTimeout,
    SinkTimeout,
}

/// What is left of a body.
#[derive(Debug)]
pub(crate) enum Remaining {
    Bytes(u64),
    Chunked(Box<ChunkedDecoder>),
    /// A chunked body whose content alone is passed on, to a client of HTTP/1.0 (RFC 9112, section 6.1).
    Dechunked(Box<ChunkedDecoder>),
    UntilClose,
}

/// One direction of an exchange.
#[derive(Debug)]
pub(crate) struct Pump<'a> {
    from: End<'a>,
    to: End<'a>,
    /// `buffer[..sent]` has gone, `buffer[sent..checked]` may go, the rest belongs to what follows the body.
    buffer: Vec<u8>,
    sent: usize,
    checked: usize,
    remaining: Remaining,
    waiting: Option<For>,
    /// When it last got on, in a tunnel.
    progress: Option<Moment>,
    /// Where pipes come from, if bytes may be spliced; the pipe while they are; and how many reads in a row filled
    /// the buffer, which is what makes splicing worth it.
    pipes: Option<PipePool>,
    pipe: Option<Pipe>,
    full_reads: u32,
    splicing: Splicing,
    /// `option independent-streams` of the receiving side.
    independent: bool,
    /// Progress in this direction also keeps the other direction's timeouts from passing.
    tunnel: bool,
    /// What is read goes nowhere.
    discards: bool,
    /// The sink is closed behind the last byte, which may wait for that.
    closes: bool,
    /// Bytes written, heads included; those of them that went through a pipe.
    pub(crate) written: u64,
    pub(crate) spliced: u64,
    /// Bytes read here; what the buffer held at the start is not counted.
    pub(crate) read: u64,
}

/// What came of a turn of the pipe.
enum Spliced {
    Some,
    /// The rest is read.
    NoMore,
    /// The source has closed.
    End,
}

/// When bytes are spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Splicing {
    Never,
    /// Once they come in bulk.
    WhereWorthIt,
    /// From the second read on.
    AtOnce,
}

/// Reads in a row that fill the buffer before bytes are spliced, and the bytes that must still be to come; those where
/// the configuration asks for it.
const FULL_READS: u32 = 2;
const SPLICE_MIN: u64 = 32 * 1024;
const SPLICE_ASKED_MIN: u64 = 4 * 1024;

/// Who is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Source,
    Sink,
}

impl Splicing {
    /// As both sides say; `asked` is `option splice-request` or `splice-response`.
    pub(crate) fn of(front: &Options, back: &Options, asked: impl Fn(&Options) -> bool) -> Self {
        if asked(front) || asked(back) {
            Self::AtOnce
        } else if front.no_splice_auto || back.no_splice_auto {
            Self::Never
        } else {
            Self::WhereWorthIt
        }
    }
}

impl Broken {
    /// Whose fault it is when the source is the server and the sink the client.
    pub(crate) fn cause_down(&self) -> Cause {
        match self {
            Self::Source => Cause::Server,
            Self::SourceTimeout => Cause::ServerTimeout,
            Self::Sink => Cause::Client,
            Self::SinkTimeout => Cause::ClientTimeout,
            Self::Malformed => Cause::Proxy,
        }
    }

    /// Whose fault it is when the source is the client and the sink the server.
    pub(crate) fn cause_up(&self) -> Cause {
        match self {
            Self::Source => Cause::Client,
            Self::SourceTimeout => Cause::ClientTimeout,
            Self::Sink => Cause::Server,
            Self::SinkTimeout => Cause::ServerTimeout,
            Self::Malformed => Cause::Proxy,
        }
    }
}

impl Remaining {
    pub(crate) fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::None => Self::Bytes(0),
            BodyLength::Length(bytes) => Self::Bytes(bytes),
            BodyLength::Chunked => Self::Chunked(Box::default()),
            BodyLength::UntilClose | BodyLength::Tunnel => Self::UntilClose,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Bytes(left) => *left == 0,
            Self::Chunked(decoder) | Self::Dechunked(decoder) => decoder.is_done(),
            Self::UntilClose => false,
        }
    }

    /// Follows the bytes of `buffer` from `start` on and returns where those that may be passed on end. What lies
    /// behind belongs to the next message.
    pub(crate) fn advance(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<usize, Broken> {
        let bytes = buffer.get(start..).unwrap_or_default();
        match self {
            Self::Bytes(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(start + taken)
            }
            Self::Chunked(decoder) => {
                decoder.relay(bytes).map(|taken| start + taken).map_err(|_| Broken::Malformed)
            }
            Self::Dechunked(decoder) => dechunk(decoder, buffer, start),
            Self::UntilClose => Ok(buffer.len()),
        }
    }
}

impl Remaining {
    /// Bytes that belong to the body for certain and need not be looked at.
    fn spliceable(&self) -> u64 {
        match self {
            Self::Bytes(left) => *left,
            Self::Chunked(decoder) => decoder.content_left(),
            Self::Dechunked(_) => 0,
            Self::UntilClose => u64::MAX,
        }
    }

    /// That many of them went by unseen.
    fn skip(&mut self, bytes: u64) {
        match self {
            Self::Bytes(left) => *left = left.saturating_sub(bytes),
            Self::Chunked(decoder) => decoder.skip_content(bytes),
            Self::Dechunked(_) | Self::UntilClose => {}
        }
    }
}

/// Moves the content of chunks together in place; returns where it ends.
fn dechunk(
    decoder: &mut ChunkedDecoder,
    buffer: &mut Vec<u8>,
    start: usize,
) -> Result<usize, Broken> {
    let (mut read, mut kept) = (start, start);
    while read < buffer.len() && !decoder.is_done() {
        let piece = decoder.piece(&buffer[read..]).map_err(|_| Broken::Malformed)?;
        if piece.is_content {
            buffer.copy_within(read..read + piece.len, kept);
            kept += piece.len;
        }
        read += piece.len;
    }
    buffer.drain(kept..read);
    Ok(kept)
}

impl<'a> Pump<'a> {
    /// A pump that first writes `buffer` (a head and the body bytes that came with it, which `remaining` has already
    /// followed) and then relays what remains. The buffer's capacity is what it reads at a time.
    pub(crate) fn new(from: End<'a>, to: End<'a>, buffer: Vec<u8>, remaining: Remaining) -> Self {
        Self::begun(from, to, buffer, 0, remaining)
    }

    /// As [`Pump::new`], when `sent` bytes of the buffer have gone already.
    pub(crate) fn begun(
        from: End<'a>,
        to: End<'a>,
        buffer: Vec<u8>,
        sent: usize,
        remaining: Remaining,
    ) -> Self {
        let checked = buffer.len();
        Self {
            from,
            to,
            buffer,
            sent,
            checked,
            remaining,
            waiting: None,
            progress: None,
            pipes: None,
            pipe: None,
            full_reads: 0,
            splicing: Splicing::WhereWorthIt,
            independent: false,
            tunnel: false,
            closes: false,
            discards: false,
            written: sent as u64,
            spliced: 0,
            read: 0,
        }
    }

    /// Moves what can be moved now; ready at the end of the message, or when it cannot be reached.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            while self.sent < self.checked {
                let bytes = &self.buffer[self.sent..self.checked];
                let wrote = if self.closes && self.remaining.is_done() {
                    self.to.side.poll_write_more(cx, bytes)
                } else {
                    self.to.side.poll_write(cx, bytes)
                };
                match wrote {
                    Poll::Ready(Ok(count)) => {
                        self.sent += count;
                        self.written += count as u64;
                        self.progressed();
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Sink)),
                    Poll::Pending => return self.wait(For::Sink, cx),
                }
            }
            if self.pipe.is_some() {
                match self.poll_pipe(cx) {
                    Poll::Ready(Ok(Spliced::Some)) => continue,
                    Poll::Ready(Ok(Spliced::End)) => return Poll::Ready(self.ended()),
                    Poll::Ready(Ok(Spliced::NoMore)) => self.pipe = None,
                    Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.remaining.is_done() {
                return Poll::Ready(Ok(()));
            }
            self.buffer.clear();
            (self.sent, self.checked) = (0, 0);
            match self.from.side.poll_read_append(cx, &mut self.buffer) {
                Poll::Ready(Ok(0)) => return Poll::Ready(self.ended()),
                Poll::Ready(Ok(count)) => {
                    self.read += count as u64;
                    self.progressed();
                    self.checked = self.remaining.advance(&mut self.buffer, 0)?;
                    if self.discards {
                        self.sent = self.checked;
                    }
                    self.consider_splicing(count);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Source)),
                Poll::Pending => return self.wait(For::Source, cx),
            }
        }
    }

    /// The source has closed: the end of a body that ends so, a broken message otherwise.
    fn ended(&self) -> Result<(), Broken> {
        match self.remaining {
            Remaining::UntilClose => Ok(()),
            _ => Err(Broken::Source),
        }
    }

    /// Lets bulk go through a pipe of this pool, without being copied.
    pub(crate) fn splice_with(&mut self, pipes: Option<PipePool>, splicing: Splicing) {
        // Only what has a socket to itself, and is not encrypted here, can be spliced.
        let plain = |side: &Side| side.socket().is_some_and(|socket| !socket.is_tls());
        self.pipes = pipes.filter(|_| plain(self.from.side) && plain(self.to.side));
        self.splicing = splicing;
    }

    /// Lets the last bytes travel with the end of the connection, in one packet. The caller closes the sink, or shuts it
    /// down for writing, as soon as the pump has ended.
    pub(crate) fn set_closes(&mut self) {
        self.closes = true;
    }

    /// Lets what is read from now on go nowhere.
    pub(crate) fn set_discards(&mut self) {
        self.discards = true;
        self.pipes = None;
    }

    /// Writing does not prolong the time that the receiver may be silent for.
    pub(crate) fn set_independent(&mut self, independent: bool) {
        self.independent = independent;
    }

    fn consider_splicing(&mut self, count: usize) {
        self.full_reads = if count == self.buffer.capacity() { self.full_reads + 1 } else { 0 };
        let due = match self.splicing {
            Splicing::Never => false,
            Splicing::WhereWorthIt => {
                self.full_reads >= FULL_READS && self.remaining.spliceable() >= SPLICE_MIN
            }
            Splicing::AtOnce => self.remaining.spliceable() >= SPLICE_ASKED_MIN,
        };
        if due && let Some(pipes) = &self.pipes {
            self.pipe = pipes.lend();
        }
    }

    /// Empties the pipe, then fills it once.
    fn poll_pipe(&mut self, cx: &mut Context<'_>) -> Poll<Result<Spliced, Broken>> {
        let (from, to) = (self.from.side.socket(), self.to.side.socket());
        let (Some(pipe), Some(from), Some(to)) = (&mut self.pipe, from, to) else {
            return Poll::Ready(Ok(Spliced::NoMore));
        };
        while pipe.held() > 0 {
            match pipe.try_drain(to) {
                Ok(count) => {
                    self.written += count as u64;
                    self.spliced += count as u64;
                    self.waiting = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match to.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Sink)),
                        Poll::Pending => {
                            return self.wait(For::Sink, cx).map_ok(|()| Spliced::NoMore);
                        }
                    }
                }
                Err(_) => return Poll::Ready(Err(Broken::Sink)),
            }
        }
        let most = usize::try_from(self.remaining.spliceable()).unwrap_or(usize::MAX);
        if most == 0 {
            return Poll::Ready(Ok(Spliced::NoMore));
        }
        loop {
            match pipe.try_fill(from, most) {
                Ok(0) => return Poll::Ready(Ok(Spliced::End)),
                Ok(count) => {
                    self.remaining.skip(count as u64);
                    self.read += count as u64;
                    self.progressed();
                    return Poll::Ready(Ok(Spliced::Some));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match from.poll_read_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Source)),
                        Poll::Pending => {
                            return self.wait(For::Source, cx).map_ok(|()| Spliced::NoMore);
                        }
                    }
                }
                // Not every socket can be spliced; those are read.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.pipes = None;
                    return Poll::Ready(Ok(Spliced::NoMore));
                }
                Err(_) => return Poll::Ready(Err(Broken::Source)),
            }
        }
    }

    /// All that is left of the message is in the buffer.
    pub(crate) fn holds_all(&self) -> bool {
        self.remaining.is_done()
    }

    /// The side that is written to.
    pub(crate) fn sink(&self) -> &'a Side {
        self.to.side
    }

    /// Makes this one direction of a tunnel, and sets the timeouts of both sides.
    pub(crate) fn set_timeouts(&mut self, from: Option<Duration>, to: Option<Duration>) {
        self.tunnel = true;
        self.from.timeout = from;
        self.to.timeout = to;
        self.waiting = None;
        self.progress = None;
    }

    /// The source has been waited for since then.
    pub(crate) fn wait_for_source_since(&mut self, since: Moment) {
        self.waiting = Some(For::Source);
        self.from.deadline.arm_optional_from(since, self.from.timeout);
    }

    /// Ends the pump; returns its buffer for further use and the bytes behind the body's end.
    pub(crate) fn into_rest(mut self) -> Vec<u8> {
        if self.checked < self.buffer.len() {
            self.buffer.drain(..self.checked);
        } else {
            self.buffer.clear();
        }
        self.buffer
    }

    fn progressed(&mut self) {
        self.waiting = None;
        // The clock is looked at once each time the task is woken.
        let now = self.from.deadline.now();
        if self.tunnel && self.progress.replace(now) != Some(now) {
            self.from.deadline.arm_optional_from(now, self.from.timeout);
            if !self.independent {
                self.to.deadline.arm_optional_from(now, self.to.timeout);
            }
        }
    }

    fn wait(&mut self, whom: For, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let (end, broken) = match whom {
            For::Source => (&self.from, Broken::SourceTimeout),
            For::Sink => (&self.to, Broken::SinkTimeout),
        };
        if self.waiting != Some(whom) {
            self.waiting = Some(whom);
            end.deadline.arm_optional_from(end.deadline.now(), end.timeout);
        }
        end.deadline.poll_expired(cx).map(|_| Err(broken))
    }
}
