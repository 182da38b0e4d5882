//! Taking a request to a server and its answer back.
//!
//! ```text
//! slot --> connection --> request out, response head in --> rules --> response out, rest of the request in
//!   ^          |                  |
//!   '--retry---'------------------'   (nothing was taken by the server, nothing was lost of the request)
//! ```

use std::task::{Context, Poll};
use std::time::Duration;

use telamon_balance::health::Sign;
use telamon_balance::{Counter, Ending};
use telamon_http_proto::{BodyLength, Limits, ParseError, Version};

use crate::account;
use crate::dial::{Attached, Dial, Dialed, Reuse, Undialed};
use crate::http::{After, Client, body, prepare, respond};
use crate::learn;
use crate::model::{Proxy, RetryOn, Server};
use crate::persistence;
use crate::relay::{self, Broken, End, Pump, Remaining, Splicing};
use crate::rules::{self, Verdict};
use crate::stream::{Cause, Direction, Phase, Stream};
use crate::upstream::{self, ServerConnection, Slot};
use crate::worker::Worker;
use crate::{sticking, tracking, tunnel};

/// How one attempt on one connection ended.
enum Attempt {
    Done(After),
    /// The connection was dead before the server can have seen the request: once more.
    Again,
    /// `retry-on` has it that the request is sent again; planned already.
    Retry,
    Failed {
        status: u16,
        cause: Cause,
        phase: Phase,
    },
}

/// Relays one exchange.
pub(super) async fn forward(client: &mut Client, stream: &mut Stream) -> After {
    let snapshot = stream.snapshot.clone();
    let frontend = snapshot.proxy(stream.frontend);
    let proxy = snapshot.proxy(stream.backend);
    let Some(backend) = proxy.serving() else {
        return respond::fail(client, stream, 503, Cause::Server, Phase::Connect).await;
    };
    if !prepare::restrict_names(stream) {
        account::denied_request(stream);
        return respond::fail(client, stream, 403, Cause::Proxy, Phase::Request).await;
    }
    crate::log::capture_cookie(stream);
    persistence::choose(stream, proxy, backend);
    let keep_server = prepare::keeps_server(stream);
    let announced = keep_server || proxy.options.http_pretend_keepalive;
    if prepare::request(stream, announced).is_err() {
        return respond::fail(client, stream, 400, Cause::Proxy, Phase::Request).await;
    }
    if stream.request_cut {
        // Its body was waited for, and will never be whole.
        (stream.log.cause, stream.log.phase) = (Cause::Client, Phase::Request);
        return After::Drop;
    }
    let mut dial = Dial::new(proxy, backend);
    dial.reuse = Some(Reuse {
        first: client.requests == 0 && !backend.retry_on.covers_dead_connections(),
        attached: client.attached.is_some(),
        bound: client.attached.as_ref().and_then(|attached| {
            (attached.connection.private && attached.backend == stream.backend)
                .then_some(attached.server?)
        }),
        sure: !stream.request.method_kind().is_idempotent(),
    });
    loop {
        let dialed =
            dial.next(&client.socket, &client.deadline, &mut client.attached, stream).await;
        let (slot, connection) = match dialed {
            Ok(Dialed { slot, connection: Some(connection) }) => (slot, connection),
            Ok(Dialed { slot, connection: None }) => {
                let Some(server) = backend.reached(slot.server()) else { return After::Drop };
                (stream.log.cause, stream.log.phase) = (Cause::Local, Phase::Connect);
                let answer = rules::redirect_to_server(stream, server);
                return respond::send(client, stream, answer).await;
            }
            Err(Undialed { cause: Cause::Client, phase, .. }) => {
                (stream.log.cause, stream.log.phase) = (Cause::Client, phase);
                return After::Drop;
            }
            Err(Undialed { cause, phase }) => {
                return respond::fail(client, stream, 503, cause, phase).await;
            }
        };
        match attempt(client, stream, frontend, &mut dial, &slot, connection).await {
            Attempt::Done(after) => return after,
            Attempt::Again => dial.go_on(stream, slot),
            Attempt::Retry => {
                slot.learn(Ending::Failed);
                dial.go_on(stream, slot);
            }
            Attempt::Failed { status, cause, phase } => {
                if status >= 500 {
                    slot.learn(Ending::Failed);
                }
                if matches!(status, 502 | 504) {
                    tracking::failure(stream);
                }
                drop(slot);
                return respond::fail(client, stream, status, cause, phase).await;
            }
        }
    }
}

/// One exchange over one connection.
async fn attempt(
    client: &mut Client,
    stream: &mut Stream,
    frontend: &Proxy,
    dial: &mut Dial<'_>,
    slot: &Slot,
    mut connection: ServerConnection,
) -> Attempt {
    let (proxy, backend) = (dial.proxy, dial.backend);
    let Some(server) = backend.reached(slot.server()) else { return Attempt::Done(After::Drop) };
    let worker = std::rc::Rc::clone(&stream.session.worker);
    let reused = connection.requests > 0;
    connection.requests = connection.requests.saturating_add(1);
    if let Some(name) = &backend.send_name_header
        && stream.request.set_header(name, server.name.as_bytes()).is_err()
    {
        return Attempt::Failed { status: 400, cause: Cause::Proxy, phase: Phase::Request };
    }
    let mut out = worker.lend_buffer();
    stream.request.write_to(&mut out);
    let head_len = out.len();
    let mut remaining = Remaining::new(stream.request.request_body());
    out.extend_from_slice(stream.request.remaining());
    let Ok(end) = remaining.advance(&mut out, head_len) else {
        return Attempt::Failed { status: 400, cause: Cause::Proxy, phase: Phase::Data };
    };
    out.truncate(end);
    let held = end - head_len;

    let ends = Ends {
        client: End {
            socket: &client.socket,
            deadline: &client.deadline,
            timeout: frontend.timeouts.client,
        },
        server: End {
            socket: &connection.socket,
            deadline: &client.server_deadline,
            timeout: stream.server_timeout.or(proxy.timeouts.server),
        },
    };
    let mut upload =
        Upload { pump: Pump::new(ends.client, ends.server, out, remaining), over: None };
    let splicing =
        Splicing::of(&frontend.options, &proxy.options, |options| options.splice_request);
    upload.pump.splice_with(worker.pipes(), splicing);
    if !upload.pump.holds_all() && stream.session.listener.bind.delay_ack {
        // The client waits for acknowledgements of its body, not for the answer.
        let _ = client.socket.set_quickack(true);
    }

    // All of it was there before the first byte went, so that it can be sent again as it was.
    let replays = backend.retry_on.replays() && !stream.no_replay && upload.pump.holds_all();

    match final_head(stream, &mut upload, ends, proxy).await {
        Ok(()) => {
            let status = stream.response.status();
            if replays && retry(stream, dial, server, RetryOn::of_status(status)) {
                learn::note(stream, server, Sign::of_status(status), false);
                return Attempt::Retry;
            }
        }
        Err(Lost::Server { reset }) => {
            let unseen = stream.response.input().is_empty();
            let replayable = upload.pump.read == 0
                && (stream.request.method_kind().is_idempotent()
                    || upload.pump.written < head_len as u64);
            if reused && unseen && replayable {
                return Attempt::Again;
            }
            let failure = if unseen { RetryOn::EMPTY } else { RetryOn::JUNK };
            let again = replays && retry(stream, dial, server, failure);
            let sign = match (unseen, reset) {
                (false, _) => Sign::BadHead,
                (true, true) => Sign::ReadError,
                (true, false) => Sign::Closed,
            };
            // As HAProxy has it, a client that has had an answer on its connection is told nothing: it sees the close and
            // asks again by itself. Neither the log nor `observe` hears of it.
            let silent = client.requests > 0;
            learn::note(stream, server, sign, !again && !silent);
            if again {
                return Attempt::Retry;
            }
            if silent {
                stream.log.logged.set(true);
                return Attempt::Done(After::Close);
            }
            account::response_failed(stream, proxy, server, Counter::ServerAborts);
            return Attempt::Failed { status: 502, cause: Cause::Server, phase: Phase::Headers };
        }
        Err(Lost::ServerTimeout) => {
            let again = replays && retry(stream, dial, server, RetryOn::TIMEOUT);
            learn::note(stream, server, Sign::Timeout, !again);
            if again {
                return Attempt::Retry;
            }
            account::response_failed(stream, proxy, server, Counter::FailedResponses);
            return Attempt::Failed {
                status: 504,
                cause: Cause::ServerTimeout,
                phase: Phase::Headers,
            };
        }
        Err(Lost::Malformed(error)) => {
            worker.shared.errors.capture(stream, Direction::Response, &error);
            account::response_failed(stream, proxy, server, Counter::FailedResponses);
            learn::note(stream, server, Sign::BadHead, true);
            if replays && retry(stream, dial, server, RetryOn::JUNK) {
                return Attempt::Retry;
            }
            return Attempt::Failed { status: 502, cause: Cause::Proxy, phase: Phase::Headers };
        }
        Err(Lost::Client(broken)) => {
            upload.note(stream);
            return request_broken(stream, proxy, server, broken);
        }
    }
    stream.log.responded(worker.now());
    learn::note(stream, server, Sign::of_status(stream.response.status()), true);
    let method = stream.request.method_kind();
    let length = match server_answers_well(stream) {
        true => stream.response.response_body(method, stream.request.wants_upgrade()).ok(),
        false => None,
    };
    let Some(length) = length else {
        account::response_failed(stream, proxy, server, Counter::FailedResponses);
        learn::note(stream, server, Sign::BadHead, true);
        if replays && retry(stream, dial, server, RetryOn::JUNK) {
            return Attempt::Retry;
        }
        return Attempt::Failed { status: 502, cause: Cause::Proxy, phase: Phase::Headers };
    };
    stream.request.consume(held);
    let server_keeps = stream.response.keeps_alive()
        && length != BodyLength::UntilClose
        && prepare::keeps_server(stream);
    let identifies = identifies_connection(stream);
    account::server_answered(stream, server);
    crate::usage::note(stream, proxy, backend, server);
    slot.learn(if is_failure(stream.response.status()) {
        Ending::Failed
    } else {
        Ending::Answered
    });
    crate::log::capture_response(stream);
    if !backend.stick_response.is_empty() || !stream.to_store.is_empty() {
        sticking::remember(stream, backend, server);
    }
    let mut answering = Answering { upload: &mut upload, ends, length };
    match response_rules(stream, &mut answering, proxy, frontend).await {
        Verdict::Answer(answer) => {
            if answer.denied {
                account::denied_response(stream, proxy, server);
            }
            if stream.log.cause == Cause::None {
                let cause = if answer.denied { Cause::Proxy } else { Cause::Local };
                (stream.log.cause, stream.log.phase) = (cause, Phase::Headers);
            }
            return Attempt::Done(respond::send(client, stream, *answer).await);
        }
        Verdict::Close { silent } => {
            account::denied_response(stream, proxy, server);
            (stream.log.cause, stream.log.phase) = (Cause::Proxy, Phase::Data);
            stream.log.response_ms = None;
            if silent {
                stream.log.phase = Phase::Request;
                stream.log.status = stream.response.status();
                let _ = client.socket.set_unheard();
            }
            return Attempt::Done(After::Drop);
        }
        // A wait comes back only when its time is over.
        Verdict::WaitForBody { .. } => {
            account::response_failed(stream, proxy, server, Counter::FailedResponses);
            learn::note(stream, server, Sign::BadAnswer, true);
            stream.log.response_ms = None;
            return Attempt::Failed {
                status: 504,
                cause: Cause::ServerTimeout,
                phase: Phase::Request,
            };
        }
        Verdict::Pass | Verdict::Tarpit(_) | Verdict::Wait { .. } | Verdict::LookUp { .. } => {}
    }

    if let Some(cookie) = &backend.cookie
        && persistence::response(stream, server, cookie).is_err()
    {
        account::response_failed(stream, proxy, server, Counter::FailedResponses);
        return Attempt::Failed { status: 500, cause: Cause::Proxy, phase: Phase::Headers };
    }

    let version = stream.request.version();
    let ends_by_itself = match length {
        BodyLength::UntilClose => false,
        BodyLength::Chunked => version != Version::Http10,
        _ => true,
    };
    let keep_client = stream.request.keeps_alive()
        && ends_by_itself
        && prepare::keeps_client(stream)
        && !worker.finishing.get();
    let stripped = stream.response.strip_hop_by_hop();
    rules::run_after_response_sets(stream);
    let dechunk = length == BodyLength::Chunked && version == Version::Http10;
    if dechunk {
        stream.response.remove_chunked();
    }
    let ready = stripped
        .and_then(|()| stream.response.set_connection(keep_client, version))
        .and_then(|()| stream.response.restore_framing());
    if ready.is_err() {
        return response_failed(stream, proxy, server, Phase::Headers);
    }
    stream.log.status = stream.response.status();
    account::response(stream);

    // What goes wrong from here on cannot be told to the client but by closing.
    let mut out = worker.lend_buffer();
    stream.response.write_to(&mut out);
    let mut remaining = match Remaining::new(length) {
        Remaining::Chunked(decoder) if dechunk => Remaining::Dechunked(decoder),
        remaining => remaining,
    };
    let head_len = out.len();
    crate::log::log_early(stream, head_len as u64);
    out.extend_from_slice(stream.response.remaining());
    let Ok(end) = remaining.advance(&mut out, head_len) else {
        return response_failed(stream, proxy, server, Phase::Data);
    };
    let surplus = out.len() > end;
    out.truncate(end);
    let mut download = Pump::new(ends.server, ends.client, out, remaining);
    let splicing =
        Splicing::of(&frontend.options, &proxy.options, |options| options.splice_response);
    download.splice_with(worker.pipes(), splicing);
    let tunnels = length == BodyLength::Tunnel;
    if !keep_client && !tunnels && upload.is_over() {
        download.set_closes();
    }
    if tunnels {
        upload.begin_tunnel(stream, ends);
        let timeouts = tunnel::Timeouts::of(frontend, proxy, stream.tunnel_timeout);
        let before = (stream.log.bytes_in, stream.log.bytes_out);
        let count = |up, down| account::flow(stream, before.0 + up, before.1 + down);
        let ended = tunnel::run(&mut upload.pump, &mut download, &timeouts, count).await;
        stream.log.bytes_in += upload.pump.written;
        stream.log.spliced_in += upload.pump.spliced;
        stream.log.bytes_out += download.written;
        stream.log.spliced_out += download.spliced;
        ended.note(stream);
        account::stream_broken(stream, proxy, server);
        return Attempt::Done(After::Drop);
    }

    let before = stream.log.bytes_out;
    let downloaded = std::future::poll_fn(|cx| {
        // Its end is looked at when the answer is through.
        let _ = upload.poll(cx);
        let downloaded = download.poll(cx);
        stream.log.bytes_out = before + download.written;
        account::flow(stream, upload.pump.written, before + download.written);
        downloaded
    })
    .await;
    stream.log.spliced_out += download.spliced;
    if let Err(broken) = downloaded {
        match broken {
            Broken::Malformed => {
                learn::note(stream, server, Sign::BadAnswer, true);
                tracking::failure(stream);
            }
            Broken::Source | Broken::SourceTimeout => {
                learn::note(stream, server, Sign::BadAnswer, false);
                tracking::failure(stream);
            }
            Broken::Sink | Broken::SinkTimeout => {}
        }
        upload.note(stream);
        (stream.log.cause, stream.log.phase) = (broken.cause_down(), Phase::Data);
        account::stream_broken(stream, proxy, server);
        return Attempt::Done(After::Drop);
    }
    // The answer is through; the rest of the request may still be on its way.
    let uploaded = std::future::poll_fn(|cx| upload.poll(cx)).await;
    upload.note(stream);
    let rest = upload.pump.into_rest();
    let download_rest = download.into_rest();
    let clean = !surplus && download_rest.is_empty();
    worker.return_buffer(download_rest);
    if uploaded && server_keeps && clean {
        connection.private |= identifies;
        if connection.private || upstream::is_private(backend, stream.server) {
            let (backend, server) = (stream.backend, stream.server);
            client.attached = Some(Attached { backend, server, connection });
        } else {
            upstream::keep_idle(&worker, server, connection);
        }
    }
    if !uploaded {
        return Attempt::Done(After::Close);
    }
    if !rest.is_empty() {
        stream.request.input_mut().extend_from_slice(&rest);
    }
    worker.return_buffer(rest);
    Attempt::Done(if keep_client { After::KeepAlive } else { After::Close })
}

/// The two sides of an attempt.
#[derive(Clone, Copy)]
struct Ends<'a> {
    client: End<'a>,
    server: End<'a>,
}

/// The request on its way out.
struct Upload<'a> {
    pump: Pump<'a>,
    /// How it ended.
    over: Option<Result<(), Broken>>,
}

impl<'a> Upload<'a> {
    /// Moves what can be moved; ready once it has ended, with whether it went well.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.over.is_none() {
            match self.pump.poll(cx) {
                Poll::Ready(result) => self.over = Some(result),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(matches!(self.over, Some(Ok(()))))
    }

    /// Whether nothing of the request is left to be sent.
    fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Notes for the log what has gone.
    fn note(&self, stream: &mut Stream) {
        stream.log.bytes_in = self.pump.written;
        stream.log.spliced_in = self.pump.spliced;
    }

    /// Turns into the client's half of a tunnel; what the client sent ahead goes first.
    fn begin_tunnel(&mut self, stream: &mut Stream, ends: Ends<'a>) {
        self.note(stream);
        let mut ahead = stream.session.worker.lend_buffer();
        ahead.extend_from_slice(stream.request.remaining());
        stream.request.consume(usize::MAX);
        self.pump = Pump::new(ends.client, ends.server, ahead, Remaining::UntilClose);
        self.over = None;
    }
}

/// Plans to send the request again after this failure, if `retry-on` has it and nothing was told to the client yet.
fn retry(stream: &mut Stream, dial: &mut Dial<'_>, server: &Server, failure: RetryOn) -> bool {
    dial.backend.retry_on.has(failure) && stream.log.bytes_out == 0 && dial.replay(stream, server)
}

/// Why there is no response head.
enum Lost {
    /// The server closed or reset before a whole head.
    Server {
        reset: bool,
    },
    ServerTimeout,
    Malformed(ParseError),
    /// The client broke off while sending its body, or left while it was watched.
    Client(Broken),
}

/// Sends the request and waits for the final response head; interim ones are passed on.
async fn final_head(
    stream: &mut Stream,
    upload: &mut Upload<'_>,
    ends: Ends<'_>,
    proxy: &Proxy,
) -> Result<(), Lost> {
    let worker = std::rc::Rc::clone(&stream.session.worker);
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
        next_head(stream, upload, ends, &limits, proxy.options.abortonclose).await?;
        let status = stream.response.status();
        if status >= 200 || status == 101 {
            return Ok(());
        }
        if stream.request.version() != Version::Http10 && stream.response.strip_hop_by_hop().is_ok()
        {
            let mut interim = worker.lend_buffer();
            stream.response.write_to(&mut interim);
            ends.client.deadline.arm_optional(ends.client.timeout);
            let sent = ends.client.deadline.guard(ends.client.socket.write_all(&interim)).await;
            stream.log.bytes_out += interim.len() as u64;
            worker.return_buffer(interim);
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Lost::Client(Broken::Source)),
                Err(_) => return Err(Lost::Client(Broken::SourceTimeout)),
            }
        }
        stream.response.next();
    }
}

/// Reads one response head while the request goes out.
async fn next_head(
    stream: &mut Stream,
    upload: &mut Upload<'_>,
    ends: Ends<'_>,
    limits: &Limits,
    watch_client: bool,
) -> Result<(), Lost> {
    let mut waiting = false;
    let now = stream.session.worker.now();
    let mut gone = std::pin::pin!(async {
        if watch_client {
            relay::client_gone(ends.client.socket).await;
        } else {
            std::future::pending().await
        }
    });
    std::future::poll_fn(|cx| {
        let sent = upload.poll(cx);
        if let (Poll::Ready(false), Some(Err(broken))) = (sent, &upload.over)
            && *broken != Broken::Sink
        {
            return Poll::Ready(Err(Lost::Client(*broken)));
        }
        loop {
            match stream.response.parse_response(limits) {
                Ok(Some(_)) => return Poll::Ready(Ok(())),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(Lost::Malformed(error))),
            }
            match ends.server.socket.poll_read_append(cx, stream.response.input_mut()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Lost::Server { reset: false })),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Lost::Server { reset: true })),
                Poll::Ready(Ok(_)) => waiting = false,
                Poll::Pending => break,
            }
        }
        // The server's time runs once it has the whole request.
        if sent.is_ready() {
            if !std::mem::replace(&mut waiting, true) {
                ends.server.deadline.arm_optional_from(now, ends.server.timeout);
            }
            if ends.server.deadline.poll_expired(cx).is_ready() {
                return Poll::Ready(Err(Lost::ServerTimeout));
            }
            if gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Lost::Client(Broken::Source)));
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether the server asks for a login that it will remember by the connection.
fn identifies_connection(stream: &Stream) -> bool {
    let name: &[u8] = match stream.response.status() {
        401 => b"www-authenticate",
        407 => b"proxy-authenticate",
        _ => return false,
    };
    let begins =
        |value: &[u8], word: &[u8]| value.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(word));
    stream.response.header_lines(name).any(|value| begins(value, b"NTLM") || begins(value, b"Nego"))
}

/// 101 must have been asked for, and a final answer must not be an interim one.
fn server_answers_well(stream: &Stream) -> bool {
    stream.response.status() != 101 || stream.request.wants_upgrade()
}

/// Whether an answer says that the server failed; 501 and 505 say that the request is beyond it.
fn is_failure(status: u16) -> bool {
    status >= 500 && !matches!(status, 501 | 505)
}

/// The answer cannot be used.
#[cold]
fn response_failed(stream: &Stream, proxy: &Proxy, server: &Server, phase: Phase) -> Attempt {
    account::response_failed(stream, proxy, server, Counter::FailedResponses);
    Attempt::Failed { status: 502, cause: Cause::Proxy, phase }
}

/// The request could not be brought to the server because of the client.
#[cold]
fn request_broken(stream: &mut Stream, proxy: &Proxy, server: &Server, broken: Broken) -> Attempt {
    let (status, cause) = match broken {
        Broken::SourceTimeout => (408, Cause::ClientTimeout),
        Broken::Malformed => (400, Cause::Proxy),
        Broken::SinkTimeout => (504, Cause::ServerTimeout),
        Broken::Source | Broken::Sink => (400, Cause::Client),
    };
    let waiting = stream.request.request_body() == BodyLength::None;
    let phase = if waiting { Phase::Headers } else { Phase::Data };
    if cause == Cause::Client {
        (stream.log.cause, stream.log.phase) = (cause, phase);
        account::stream_broken(stream, proxy, server);
        return Attempt::Done(After::Drop);
    }
    Attempt::Failed { status, cause, phase }
}

/// What goes on while rules look at an answer: the rest of the request goes out, the rest of the answer comes in.
struct Answering<'u, 'a> {
    upload: &'u mut Upload<'a>,
    ends: Ends<'a>,
    length: BodyLength,
}

impl Answering<'_, '_> {
    /// Reads until the whole body is in the buffer or `enough` bytes of it, the buffer is full, the server stops
    /// sending, or the time is over, which returns false.
    async fn wait(&mut self, stream: &mut Stream, enough: usize, time: Duration) -> bool {
        let deadline = stream.session.worker.deadline();
        deadline.arm(time);
        let capacity = stream.snapshot.global.tune.bufsize;
        let in_time = std::future::poll_fn(|cx| {
            // Its end is looked at when the answer is through.
            let _ = self.upload.poll(cx);
            loop {
                let whole = body::held(self.length, stream.response.remaining())
                    .is_none_or(|(len, whole)| whole || len >= enough);
                let input = stream.response.input_mut();
                if whole || input.len() >= capacity {
                    return Poll::Ready(true);
                }
                input.reserve(capacity - input.len());
                match self.ends.server.socket.poll_read_append(cx, input) {
                    Poll::Ready(Ok(count)) if count > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(true),
                    Poll::Pending => break,
                }
            }
            deadline.poll_expired(cx).map(|_| false)
        })
        .await;
        stream.response_input_complete = true;
        in_time
    }
}

/// The rules over an answer: the backend's, then the frontend's.
async fn response_rules(
    stream: &mut Stream,
    answering: &mut Answering<'_, '_>,
    backend: &Proxy,
    frontend: &Proxy,
) -> Verdict {
    let verdict = response_rules_of(stream, answering, backend).await;
    if matches!(verdict, Verdict::Pass) && !std::ptr::eq(backend, frontend) {
        return response_rules_of(stream, answering, frontend).await;
    }
    verdict
}

/// The rules of one proxy; a wait is returned when its time was over.
async fn response_rules_of(
    stream: &mut Stream,
    answering: &mut Answering<'_, '_>,
    proxy: &Proxy,
) -> Verdict {
    let rules = &proxy.rules;
    let mut from = 0;
    while !rules.tcp_response_content.is_empty() {
        match rules::run_tcp_response_content(&rules.tcp_response_content, stream, from) {
            Verdict::Wait { resume, timeout } => {
                from = resume;
                let time = timeout.or(rules.tcp_response_inspect_delay).unwrap_or_default();
                answering.wait(stream, body::WHOLE, time).await;
            }
            Verdict::Pass => break,
            verdict => return verdict,
        }
    }
    let mut from = 0;
    while !rules.http_response.is_empty() {
        match rules::run_http_response(&rules.http_response, stream, from) {
            Verdict::WaitForBody { resume, time, at_least } => {
                from = resume;
                if !answering.wait(stream, at_least, time).await {
                    return Verdict::WaitForBody { resume, time, at_least };
                }
            }
            verdict => return verdict,
        }
    }
    Verdict::Pass
}
