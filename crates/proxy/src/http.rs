//! Layer 7: the life of a client connection in `mode http`.
//!
//! [`serve`] reads a head, [`route`] runs the rules over it and finds the backend, [`forward`] takes it to a server
//! and relays the answer, [`respond`] sends the answers that are made here. Then the connection waits for the next
//! request, or is parked until there is one.

use std::pin::pin;
use std::rc::Rc;
use std::task::ready;
use std::time::Duration;

use telamon_balance::Counter;
use telamon_http_proto::{ParseError, refusal};
use telamon_runtime::Moment;
use telamon_runtime::socket::Socket;
use telamon_runtime::wheel::Deadline;

use crate::account;
use crate::aside::aside;
use crate::dial::Attached;
use crate::model::Proxy;
use crate::side::Side;
use crate::stream::{Cause, Direction, Phase, Session, Stream};
use crate::worker::Worker;

mod body;
mod forward;
pub(crate) mod http2;
mod prepare;
mod respond;
mod route;
pub(crate) mod websocket;

/// The client's side of a session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) side: Side,
    pub(crate) deadline: Deadline,
    /// For what is waited for from servers.
    pub(crate) server_deadline: Deadline,
    /// The server connection that belongs to this client alone (`http-reuse never`).
    pub(crate) attached: Option<Attached>,
    /// Requests answered on this connection.
    pub(crate) requests: u32,
}

/// What becomes of the client's connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    KeepAlive,
    /// Close once the client has had time to read: it may still be sending. The last bytes of the answer may wait for the
    /// end of writing, to travel with it.
    Close,
    /// Close at once; there is nobody, or nothing more to say.
    Drop,
}

/// What came of waiting for a request.
#[derive(Debug, PartialEq, Eq)]
enum Received {
    Request,
    /// Nothing for a second: the connection can be parked until this moment.
    Idle {
        until: Option<Moment>,
    },
    /// It is in HTTP/2, from what is in the buffer on.
    Http2,
    Over,
}

/// A kept-alive connection without a request for this long gives back its task and buffers.
const PARK_AFTER: Duration = Duration::from_secs(1);
/// How long and how much is read and thrown away of a client that still sends when its connection is to be closed, so
/// that the kernel does not reset the answer it has not read yet.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Serves one client connection to its end, or until it is parked.
///
/// `requests` are those it has had before it was parked.
pub(crate) async fn serve(session: Rc<Session>, socket: Socket, requests: u32) {
    let worker = Rc::clone(&session.worker);
    let (deadline, server_deadline) = (worker.deadline(), worker.deadline());
    let side = Side::Socket(socket);
    let mut client = Client { side, deadline, server_deadline, attached: None, requests };
    let mut stream = Stream::begin(Rc::clone(&session), worker.snapshot());
    stream.first_request = requests == 0;
    loop {
        match receive(&mut client, &mut stream).await {
            Received::Request => {}
            Received::Idle { until } => {
                stream.give_back();
                if let Side::Socket(socket) = client.side {
                    crate::listen::park(session, socket, client.requests, until);
                }
                return;
            }
            Received::Http2 => {
                let ahead = stream.request.input().to_vec();
                stream.give_back();
                if let Side::Socket(socket) = client.side {
                    // Boxed: it would make the future of every HTTP/1 connection larger.
                    Box::pin(http2::serve(session, socket, ahead)).await;
                }
                return;
            }
            Received::Over => break,
        }
        let after = {
            let exchange = pin!(exchange(&mut client, &mut stream));
            session.live.unless_killed(&worker, exchange).await
        };
        let after = match after {
            Some(after) => after,
            None => aside(killed(&mut client, &mut stream)).await,
        };
        finish(&mut stream);
        client.requests = client.requests.saturating_add(1);
        match after {
            // Its answer has not said that the connection ends.
            After::KeepAlive
                if !worker.finishing.get()
                    || !stream.request.remaining().is_empty()
                    || may_ask_once_more(&stream) => {}
            After::Drop => break,
            After::KeepAlive | After::Close => {
                aside(linger(&mut client, &mut stream)).await;
                break;
            }
        }
        stream.renew(worker.snapshot());
        if stream.request.is_empty() {
            // Whoever has bytes uses the memory meanwhile, while it is still warm.
            stream.give_back();
        }
    }
    stream.give_back();
}

/// Runs one request from the rules to the last byte of its answer.
async fn exchange(client: &mut Client, stream: &mut Stream) -> After {
    let mut in_backend = None;
    match route::route(client, stream, &mut in_backend).await {
        route::Routed::Server => forward::forward(client, stream).await,
        route::Routed::Answer(answer) => aside(respond::send(client, stream, *answer)).await,
        route::Routed::Page => aside(respond::page(client, stream)).await,
        route::Routed::Close { silent } => {
            if silent {
                client.side.set_unheard();
            }
            After::Drop
        }
    }
}

/// Waits for a request head and reads it.
async fn receive(client: &mut Client, stream: &mut Stream) -> Received {
    let mut snapshot = stream.snapshot.clone();
    let mut proxy = snapshot.proxy(stream.frontend);
    let mut limits =
        Worker::limits(&snapshot.global.tune, proxy.options.accept_invalid_http_request);
    let first = client.requests == 0;
    let worker = Rc::clone(&stream.session.worker);
    let waiting_since = if first { stream.session.accepted } else { worker.now() };
    let head_timeout = proxy.timeouts.http_request.or(proxy.timeouts.client);
    let idle_timeout = if first {
        head_timeout
    } else {
        proxy.timeouts.http_keep_alive.or(proxy.timeouts.http_request).or(proxy.timeouts.client)
    };
    let mut begun = !stream.request.is_empty();
    let mut parkable = !first && client.attached.is_none();
    // A first request is bounded from the accept on, a later one from its first byte.
    let mut bound = begun;
    if parkable && idle_timeout.is_none_or(|timeout| timeout > PARK_AFTER) {
        client.deadline.arm_from(waiting_since, PARK_AFTER);
    } else {
        parkable = false;
        client.deadline.arm_optional_from(waiting_since, idle_timeout);
    }
    loop {
        // Nothing is lent, and nothing to be parsed, before there are bytes.
        let parsed = match stream.has_buffers() {
            true => stream.request.parse_request(&limits),
            false => Ok(None),
        };
        match parsed {
            Ok(Some(_)) => {
                // What has come with the head of a body that is no body refuses the request before anybody sees it.
                if let Err(error) = body::check(stream) {
                    aside(reject(client, stream, proxy, &error)).await;
                    return Received::Over;
                }
                break;
            }
            Ok(None) => {}
            Err(_) if first && http2::is_preface(stream.request.input()) && upgrades(proxy) => {
                return Received::Http2;
            }
            Err(error) => {
                aside(reject(client, stream, proxy, &error)).await;
                return Received::Over;
            }
        }
        if std::mem::take(&mut bound) {
            client.deadline.arm_optional_from(worker.now(), head_timeout);
        }
        let read = client
            .deadline
            .guard(std::future::poll_fn(|cx| {
                if !stream.has_buffers() {
                    // None is held before there are bytes to put in it.
                    if let Some(socket) = client.side.socket() {
                        ready!(socket.poll_read_ready(cx))?;
                    }
                    stream.take_buffers();
                }
                let read = client.side.poll_read_append(cx, stream.request.input_mut());
                if read.is_pending() && stream.request.input().is_empty() {
                    stream.give_back();
                }
                read
            }))
            .await;
        match read {
            Ok(Ok(count)) if count > 0 => {
                if !begun {
                    begun = true;
                    // The configuration may have been replaced while nothing came.
                    stream.adopt(worker.snapshot());
                    snapshot = stream.snapshot.clone();
                    proxy = snapshot.proxy(stream.frontend);
                    limits = Worker::limits(
                        &snapshot.global.tune,
                        proxy.options.accept_invalid_http_request,
                    );
                    let now = worker.touch();
                    stream.log.begin(waiting_since, now, worker.wall(now));
                    bound = !first;
                }
            }
            Ok(_) => {
                if begun || (first && !proxy.options.http_ignore_probes) {
                    stream.log.cause = Cause::Client;
                    stream.log.phase = Phase::Request;
                    aside(give_up(client, stream, proxy, 400, false)).await;
                }
                return Received::Over;
            }
            Err(_) if !begun && parkable => {
                return Received::Idle {
                    until: idle_timeout.map(|timeout| waiting_since + timeout),
                };
            }
            Err(_) => {
                if begun || (first && !proxy.options.http_ignore_probes) {
                    stream.log.cause = Cause::ClientTimeout;
                    stream.log.phase = Phase::Request;
                    aside(give_up(client, stream, proxy, 408, true)).await;
                }
                return Received::Over;
            }
        }
    }
    if !begun {
        let now = worker.touch();
        stream.log.begin(waiting_since, now, worker.wall(now));
    }
    stream.request.normalize_authority();
    stream.head_received();
    account::request(stream, proxy);
    Received::Request
}

/// Whether a client may begin in HTTP/2 where HTTP/1 is spoken.
fn upgrades(proxy: &Proxy) -> bool {
    !proxy.options.disable_h2_upgrade
}

/// Refuses a request that is malformed.
async fn reject(client: &mut Client, stream: &mut Stream, proxy: &Proxy, error: &ParseError) {
    stream.log.cause = Cause::Proxy;
    stream.log.phase = Phase::Request;
    stream.session.worker.shared.errors.capture(stream, Direction::Request, error);
    give_up(client, stream, proxy, error.status(), true).await;
    linger(client, stream).await;
}

/// Ends a connection on which no whole request came, with the parser's answer.
async fn give_up(client: &mut Client, stream: &mut Stream, proxy: &Proxy, status: u16, tell: bool) {
    stream.log.status = status;
    stream.log.number = stream.session.worker.request_number();
    crate::tracking::bad_request(stream);
    account::count_frontend(stream, proxy, Counter::FailedRequests, 1);
    account::count_frontend(stream, proxy, Counter::of_status(status), 1);
    if tell {
        // HAProxy's parser answers with its own page whatever `errorfile` says, but an empty file keeps it silent.
        let silent = crate::rules::configured_message(stream, status).is_some_and(|m| m.is_empty());
        if let Some(bytes) = refusal(status).filter(|_| !silent) {
            client.deadline.arm_optional(proxy.timeouts.client);
            // A client that is gone needs no answer.
            let _ = client.deadline.guard(client.side.write_message(bytes)).await;
        }
    }
    stream.log.end(stream.session.worker.touch());
    account::end(stream);
    crate::log::log_stream(stream);
}

/// Ends a request whose session was killed: with an answer, where none has begun and one is due.
async fn killed(client: &mut Client, stream: &mut Stream) -> After {
    stream.killed();
    let log = &stream.log;
    let (cause, phase) = (log.cause, log.phase);
    let status = match phase {
        Phase::Queue | Phase::Connect => 503,
        Phase::Headers => 502,
        _ => return After::Drop,
    };
    if log.bytes_out > 0 {
        return After::Drop;
    }
    match respond::fail(client, stream, status, cause, phase).await {
        // Everything is to end soon (`hard-stop-after`), and nothing unread would reset the answer.
        After::Close if stream.session.worker.finishing.get() && stream.has_no_more() => {
            After::Drop
        }
        after => after,
    }
}

/// Whether clients that are idle when the process finishes keep their connection for one more request.
fn may_ask_once_more(stream: &Stream) -> bool {
    stream.snapshot.proxy(stream.frontend).options.idle_close_on_response
}

/// Accounts for a request that is over.
fn finish(stream: &mut Stream) {
    stream.log.end(stream.session.worker.now());
    account::end(stream);
    crate::log::log_stream(stream);
    // What it has tracked is let go now, not when its client has gone.
    stream.tracking.clear();
}

/// Ends writing, and lets a client that may still be sending read its answer before the connection goes.
async fn linger(client: &mut Client, stream: &mut Stream) {
    if client.side.shutdown_write().is_err() || stream.has_said_all() {
        return;
    }
    client.deadline.arm(LINGER);
    let mut buffer = stream.session.worker.lend_buffer();
    let mut thrown_away = 0;
    while thrown_away < LINGER_BYTES_MAX {
        buffer.clear();
        let read = std::future::poll_fn(|cx| client.side.poll_read_append(cx, &mut buffer));
        match client.deadline.guard(read).await {
            Ok(Ok(count)) if count > 0 => thrown_away += count,
            _ => break,
        }
    }
    stream.session.worker.return_buffer(buffer);
}
