//! Layer 4: the life of a client connection in `mode tcp`.

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use telamon_balance::Ending;
use telamon_runtime::wheel::Deadline;
use telamon_runtime::{Moment, Socket};

use crate::account;
use crate::dial::{Dial, Undialed};
use crate::model::{Options, Proxy};
use crate::persistence;
use crate::relay::{End, Pump, Remaining, Splicing};
use crate::rules::{self, Verdict};
use crate::side::Side;
use crate::stream::{Cause, Phase, Session, Stream};
use crate::{sticking, tunnel};

/// Serves one client connection to its end.
pub(crate) async fn serve(session: Rc<Session>, socket: Socket) {
    let side = Side::Socket(socket);
    let mut stream = Stream::begin(Rc::clone(&session), session.snapshot.clone());
    stream.log.number = session.worker.request_number();
    crate::log::log_accept(&session);
    crate::log::capture_request(&mut stream);
    let deadline = session.worker.deadline();
    session.live.begin(&stream.snapshot, stream.frontend, session.accepted);
    let relayed = {
        let relay = pin!(relay(&mut stream, &side, &deadline));
        session.live.unless_killed(&session.worker, relay).await
    };
    if relayed.is_none() {
        stream.killed();
    }
    stream.log.end(session.worker.touch());
    account::end(&mut stream);
    crate::log::log_stream(&stream);
    stream.give_back();
}

/// From the rules to the last byte.
async fn relay(stream: &mut Stream, side: &Side, deadline: &Deadline) {
    let Some(socket) = side.socket() else { return };
    let snapshot = stream.snapshot.clone();
    let frontend = snapshot.proxy(stream.frontend);
    let mut silence = Silence { since: stream.session.accepted, limit: frontend.timeouts.client };
    if !admitted(stream, frontend, socket, deadline, &mut silence).await {
        return;
    }
    let Some(backend) = rules::choose_backend_of(stream, frontend) else {
        (stream.log.cause, stream.log.phase) = (Cause::Server, Phase::Connect);
        return;
    };
    stream.backend = backend;
    let chosen = snapshot.proxy(backend).serving();
    let _in_backend = chosen.map(|chosen| account::enter_backend(stream, chosen));
    if let Some(chosen) = chosen {
        persistence::begin(stream, chosen);
    }
    if backend != stream.frontend
        && !admitted(stream, snapshot.proxy(backend), socket, deadline, &mut silence).await
    {
        return;
    }
    let proxy = snapshot.proxy(stream.backend);
    let Some(backend) = proxy.serving() else {
        (stream.log.cause, stream.log.phase) = (Cause::Server, Phase::Connect);
        return;
    };
    persistence::choose(stream, proxy, backend);
    let mut dial = Dial::new(proxy, backend);
    let dialed = match dial.next(side, deadline, &mut None, stream).await {
        Ok(dialed) => dialed,
        Err(Undialed { cause, phase }) => {
            (stream.log.cause, stream.log.phase) = (cause, phase);
            socket.discard_input();
            return;
        }
    };
    let Some(connection) = dialed.connection else { return };
    // What comes later is up to the protocol: who speaks first, and how long it thinks.
    dialed.slot.learn(Ending::Answered);
    crate::log::log_early(stream, 0);
    let Some(server) = backend.reached(dialed.slot.server()) else { return };

    let worker = Rc::clone(&stream.session.worker);
    let server_deadline = worker.deadline();
    let client_end = End { side, deadline, timeout: frontend.timeouts.client };
    let server_end =
        End { side: &connection.side, deadline: &server_deadline, timeout: proxy.timeouts.server };
    let mut ahead = worker.lend_buffer();
    ahead.extend_from_slice(stream.request.remaining());
    stream.request.clear();
    let mut up = Pump::new(client_end, server_end, ahead, Remaining::UntilClose);
    let splicing =
        |asked: fn(&Options) -> bool| Splicing::of(&frontend.options, &proxy.options, asked);
    up.splice_with(worker.pipes(), splicing(|options| options.splice_request));
    if let Err((cause, phase)) = answer_admitted(stream, proxy, &mut up, server_end).await {
        (stream.log.cause, stream.log.phase) = (cause, phase);
        stream.log.bytes_in = up.written;
        account::denied_response(stream, proxy, server);
        return;
    }
    if !backend.stick_response.is_empty() || !stream.to_store.is_empty() {
        sticking::remember(stream, backend, server);
    }
    let mut ahead = worker.lend_buffer();
    ahead.extend_from_slice(stream.response.remaining());
    stream.response.clear();
    let mut down = Pump::new(server_end, client_end, ahead, Remaining::UntilClose);
    down.splice_with(worker.pipes(), splicing(|options| options.splice_response));
    let timeouts =
        tunnel::Timeouts::of(frontend, proxy, stream.tunnel_timeout).silent_since(silence.since);
    // Noted as they go: a session that is killed ends in between.
    let count = |up, down| {
        (stream.log.bytes_in, stream.log.bytes_out) = (up, down);
        account::flow(stream, up, down);
    };
    let ended = tunnel::run(&mut up, &mut down, &timeouts, count).await;
    stream.log.bytes_in = up.written;
    stream.log.bytes_out = down.written;
    ended.note(stream);
    account::stream_broken(stream, proxy, server);
    worker.return_buffer(up.into_rest());
    worker.return_buffer(down.into_rest());
}

/// Since when the client has said nothing, and how long it may (`timeout client`).
struct Silence {
    since: Moment,
    limit: Option<Duration>,
}

/// Runs a proxy's `tcp-request content` rules, reading what they ask for until `inspect-delay` is over.
async fn admitted(
    stream: &mut Stream,
    proxy: &Proxy,
    socket: &Socket,
    deadline: &Deadline,
    silence: &mut Silence,
) -> bool {
    let rules = &proxy.rules.tcp_request_content;
    let mut from = 0;
    let mut until = None;
    while !rules.is_empty() {
        match rules::run_tcp_request_content(rules, stream, from) {
            Verdict::Wait { resume, timeout } => {
                from = resume;
                let limit = timeout.or(proxy.rules.tcp_request_inspect_delay);
                let until =
                    *until.get_or_insert_with(|| Instant::now() + limit.unwrap_or_default());
                if !read_more(stream, socket, deadline, until, silence).await {
                    (stream.log.cause, stream.log.phase) = (Cause::ClientTimeout, Phase::Request);
                    return false;
                }
            }
            Verdict::LookUp { resume, pending } => {
                from = resume;
                pending.finish(stream).await;
            }
            Verdict::Close { silent } => {
                (stream.log.cause, stream.log.phase) = (Cause::Proxy, Phase::Request);
                account::denied_request(stream);
                if silent {
                    let _ = socket.set_unheard();
                } else {
                    socket.discard_input();
                }
                return false;
            }
            Verdict::Pass
            | Verdict::Answer(_)
            | Verdict::Tarpit(_)
            | Verdict::WaitForBody { .. } => break,
        }
    }
    true
}

/// Runs the backend's `tcp-response content` rules, while what the client sends goes on its way.
async fn answer_admitted(
    stream: &mut Stream,
    proxy: &Proxy,
    up: &mut Pump<'_>,
    server: End<'_>,
) -> Result<(), (Cause, Phase)> {
    let rules = &proxy.rules.tcp_response_content;
    let capacity = stream.snapshot.global.tune.bufsize;
    let deadline = stream.session.worker.deadline();
    let mut from = None;
    let mut up_open = true;
    while !rules.is_empty() {
        match rules::run_tcp_response_content(rules, stream, from.unwrap_or(0)) {
            Verdict::Wait { resume, .. } => {
                if from.replace(resume).is_none() {
                    deadline.arm(proxy.rules.tcp_response_inspect_delay.unwrap_or_default());
                }
            }
            Verdict::Close { .. } => return Err((Cause::Proxy, Phase::Data)),
            _ => break,
        }
        let input_complete = std::future::poll_fn(|cx| {
            if up_open && let Poll::Ready(ended) = up.poll(cx) {
                match ended {
                    Ok(()) => _ = up.sink().shutdown_write(),
                    Err(broken) => return Poll::Ready(Err((broken.cause_up(), Phase::Data))),
                }
                up_open = false;
            }
            let input = stream.response.input_mut();
            if input.len() >= capacity {
                return Poll::Ready(Ok(true));
            }
            input.reserve(capacity - input.len());
            match server.side.poll_read_append(cx, input) {
                Poll::Ready(read) => Poll::Ready(Ok(!matches!(read, Ok(count) if count > 0))),
                Poll::Pending => deadline.poll_expired(cx).map(|_| Ok(true)),
            }
        })
        .await?;
        stream.response_input_complete |= input_complete;
    }
    Ok(())
}

/// Reads once; notes when nothing more will come for the rules to look at. False when the client was silent for too long.
async fn read_more(
    stream: &mut Stream,
    socket: &Socket,
    deadline: &Deadline,
    until: Instant,
    silence: &mut Silence,
) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let capacity = stream.snapshot.global.tune.bufsize;
    let full = stream.request.input_mut().len() >= capacity;
    if left == Duration::ZERO || full {
        stream.request_input_complete = true;
        return true;
    }
    if !stream.has_buffers() {
        stream.take_buffers();
    }
    let patience = silence.limit.map(|limit| limit.saturating_sub(silence.since.elapsed()));
    deadline.arm(patience.map_or(left, |patience| patience.min(left)));
    let read = std::future::poll_fn(|cx| socket.poll_read_append(cx, stream.request.input_mut()));
    match deadline.guard(read).await {
        Ok(Ok(count)) if count > 0 => silence.since = Moment::now(),
        Err(_) if patience.is_some_and(|patience| patience < left) => return false,
        _ => stream.request_input_complete = true,
    }
    true
}
