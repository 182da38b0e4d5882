//! HTTP/2 from clients: the life of a connection, and of each stream that it carries.
//!
//! The connection's task reads, writes and lets streams in; each stream is a [`Stream`] run by the same exchange as a
//! request of HTTP/1, in a task and with a [`Session`] of its own. Framing, flow control and the table of header fields
//! are the `h2` crate's. What a client can make us hold is bounded: streams by `tune.h2.max-concurrent-streams`, heads
//! by `tune.bufsize`, bodies by the windows, and resets that run ahead of their requests by the crate's own count.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use telamon_http_proto::{BodyLength, ParseError};
use telamon_runtime::Moment;
use telamon_runtime::socket::Socket;
use telamon_runtime::wheel::Deadline;

use crate::account;
use crate::http::{After, Client, exchange, finish, give_up, killed};
use crate::model::{Global, HttpVersion};
use crate::side::wire::Wire;
use crate::side::{Http2, Side};
use crate::stream::{Cause, Direction, Phase, Session, Stream};
use crate::worker::Worker;

/// How a connection of HTTP/2 begins, in words of HTTP/1 that no server of that takes.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a connection may be sent ahead, all of its streams together.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How long a client that was told to leave may take.
const LINGER: Duration = Duration::from_secs(1);

/// Whether the connection speaks HTTP/2 from its first byte on: TLS has agreed on it, or `proto` says so.
pub(crate) fn is_spoken(session: &Session) -> bool {
    match (session.listener.protocol, session.tls.get()) {
        (Some(protocol), _) => protocol == HttpVersion::Http2,
        (None, Some(tls)) => tls.alpn.as_deref() == Some(b"h2"),
        (None, None) => false,
    }
}

/// Whether these first bytes of a connection say that it speaks HTTP/2.
pub(super) fn is_preface(bytes: &[u8]) -> bool {
    let line = b"PRI * HTTP/2.0\r\n".len();
    bytes.len() >= line && PREFACE.starts_with(&bytes[..bytes.len().min(PREFACE.len())])
}

/// A connection and what it shares with its streams.
struct Front {
    session: Rc<Session>,
    /// Streams whose tasks have not ended.
    open: Cell<u32>,
    /// When the last of them began, or the connection stood.
    waiting_since: Cell<Moment>,
    unheard: Arc<AtomicBool>,
}

/// One of the open streams; the connection is told when it ends.
struct Open(Rc<Front>);

/// Serves one client connection to its end; `ahead` was read of it already.
pub(crate) async fn serve(session: Rc<Session>, socket: Socket, ahead: Vec<u8>) {
    let worker = Rc::clone(&session.worker);
    let deadline = worker.deadline();
    let snapshot = worker.snapshot();
    let timeouts = &snapshot.proxy(session.frontend).timeouts;
    deadline.arm_optional(timeouts.http_request.or(timeouts.client));
    let socket = Rc::new(socket);
    let wire = Wire::new(Rc::clone(&socket), Rc::clone(&worker), ahead);
    let handshake = builder(&snapshot.global).handshake::<_, Bytes>(wire);
    // A client that does not get this far is not told.
    let Ok(Ok(mut connection)) = deadline.guard(handshake).await else { return };
    let unheard = Arc::new(AtomicBool::new(false));
    let waiting_since = Cell::new(worker.now());
    let front = Rc::new(Front { session, open: Cell::new(0), waiting_since, unheard });
    let limit = snapshot.global.tune.h2_front.max_concurrent_streams;
    drop(snapshot);
    let mut life = Life { deadline, watched: false, leaving: false, served: false, opened: false };
    while let Some((request, respond)) =
        std::future::poll_fn(|cx| front.poll_next(cx, &mut connection, &mut life, limit)).await
    {
        if !request.body().is_end_stream() && !std::mem::replace(&mut life.opened, true) {
            connection.set_target_window_size(CONNECTION_WINDOW);
        }
        front.open.set(front.open.get() + 1);
        life.served = true;
        let (session, open) = (Session::of_stream(&front.session), Open(Rc::clone(&front)));
        worker.thread.spawn(serve_stream(session, open, request, respond));
    }
    if front.unheard.load(Relaxed) {
        // Where the socket cannot be told, it is only closed.
        let _ = socket.set_unheard();
    }
}

/// What a server says at the beginning.
fn builder(global: &Global) -> Builder {
    let tune = &global.tune;
    let settings = &tune.h2_front;
    let bufsize = u32::try_from(tune.bufsize).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .header_table_size(settings.header_table_size)
        .initial_window_size(settings.initial_window_size)
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_frame_size(settings.max_frame_size)
        .max_header_list_size(bufsize)
        .max_send_buffer_size(2 * tune.bufsize);
    if !tune.h2_no_websocket {
        builder.enable_connect_protocol();
    }
    builder
}

/// How long a connection goes on.
struct Life {
    deadline: Deadline,
    /// No stream is open, and the time runs.
    watched: bool,
    /// The client was told not to begin more streams.
    leaving: bool,
    /// It has had a stream.
    served: bool,
    /// It has had one with content, and may be sent more of it than HTTP/2 begins with.
    opened: bool,
}

impl Front {
    /// Drives the connection; ready with a stream that begins, or with `None` when it is over.
    fn poll_next(
        &self,
        cx: &mut Context<'_>,
        connection: &mut Connection<Wire, Bytes>,
        life: &mut Life,
        limit: u32,
    ) -> Poll<Option<(Request<RecvStream>, SendResponse<Bytes>)>> {
        let session = &self.session;
        let worker = &session.worker;
        worker.touch();
        session.live.woken_by(cx);
        if session.live.is_killed() || self.unheard.load(Relaxed) {
            return Poll::Ready(None);
        }
        if worker.finishing.get() && !life.leaving {
            life.leave(connection);
        }
        loop {
            if self.open.get() < limit {
                match connection.poll_accept(cx) {
                    Poll::Ready(Some(Ok(stream))) => {
                        life.watched = false;
                        return Poll::Ready(Some(stream));
                    }
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => {}
                }
            } else if connection.poll_closed(cx).is_ready() {
                // Its streams see it by themselves; those that were not let in are not heard.
                return Poll::Ready(None);
            }
            if self.open.get() > 0 {
                life.watched = false;
                return Poll::Pending;
            }
            if !std::mem::replace(&mut life.watched, true) {
                life.deadline.arm_optional(if life.leaving {
                    Some(LINGER)
                } else {
                    self.idle_time(life)
                });
            }
            if life.deadline.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            if std::mem::replace(&mut life.leaving, true) {
                return Poll::Ready(None);
            }
            life.leave(connection);
        }
    }

    /// How long a connection may be without a stream.
    fn idle_time(&self, life: &Life) -> Option<Duration> {
        let snapshot = self.session.worker.snapshot();
        let proxy = snapshot.frontend(&self.session.listener.proxy_name)?;
        let timeouts = &snapshot.proxy(proxy).timeouts;
        let kept = timeouts.http_keep_alive.filter(|_| life.served);
        kept.or(timeouts.http_request).or(timeouts.client)
    }
}

impl Life {
    /// Tells the client that no more streams are taken than have begun.
    fn leave(&mut self, connection: &mut Connection<Wire, Bytes>) {
        (self.leaving, self.watched) = (true, false);
        connection.graceful_shutdown();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.session.live.wake();
    }
}

/// Serves one stream.
async fn serve_stream(
    session: Rc<Session>,
    open: Open,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let worker = Rc::clone(&session.worker);
    let mut stream = Stream::begin(Rc::clone(&session), worker.snapshot());
    stream.adopt(worker.snapshot());
    stream.take_buffers();
    let now = worker.touch();
    let waiting_since = open.0.waiting_since.replace(now);
    stream.log.begin(waiting_since, now, worker.wall(now));
    let (head, body) = request.into_parts();
    let read = read_head(&mut stream, &head, body.is_end_stream());
    let length = read.unwrap_or(BodyLength::None);
    let side = Http2::of_client(body, length, respond, Arc::clone(&open.0.unheard));
    let (deadline, server_deadline) = (worker.deadline(), worker.deadline());
    let side = Side::Stream(Box::new(side));
    // As in HAProxy none of its streams counts as the first request of its connection.
    let mut client = Client { side, deadline, server_deadline, attached: None, requests: 1 };
    stream.first_request = false;
    let snapshot = stream.snapshot.clone();
    let proxy = snapshot.proxy(stream.frontend);
    let after = match read {
        // As in HAProxy there was no request then.
        Err(error) if error.resets_stream() => {
            if let Some(side) = client.side.stream() {
                side.reset(Reason::PROTOCOL_ERROR);
            }
            After::Drop
        }
        Err(error) => {
            (stream.log.cause, stream.log.phase) = (Cause::Proxy, Phase::Request);
            worker.shared.errors.capture(&stream, Direction::Request, &error);
            give_up(&mut client, &mut stream, proxy, error.status(), true).await;
            After::Close
        }
        Ok(_) => {
            stream.head_received();
            account::request(&stream, proxy);
            let after = {
                let exchange = pin!(exchange(&mut client, &mut stream));
                session.live.unless_killed(&worker, exchange).await
            };
            let after = match after {
                Some(after) => after,
                None => killed(&mut client, &mut stream).await,
            };
            finish(&mut stream);
            after
        }
    };
    if let Some(side) = client.side.stream() {
        match after {
            After::KeepAlive | After::Close if side.has_answered() => _ = side.end(),
            // The client may ask again elsewhere, as after HAProxy's.
            _ if !side.has_answered() => side.reset(Reason::REFUSED_STREAM),
            After::Drop if !side.has_ended() => side.reset(Reason::CANCEL),
            _ => {}
        }
    }
    stream.give_back();
    drop(open);
}

/// Reads the head of a request into the stream's buffer; returns how its body is framed to those who read it.
fn read_head(
    stream: &mut Stream,
    head: &http::request::Parts,
    ended: bool,
) -> Result<BodyLength, ParseError> {
    let snapshot = stream.snapshot.clone();
    let proxy = snapshot.proxy(stream.frontend);
    let limits = Worker::limits(&snapshot.global.tune, proxy.options.accept_invalid_http_request);
    let uri = &head.uri;
    let protocol = head.extensions.get::<h2::ext::Protocol>().map(|protocol| protocol.as_str());
    let is_tunnel = head.method == http::Method::CONNECT;
    // The crate drops a scheme beside which there is no authority; then it says nothing.
    let scheme = uri.scheme_str().or(if uri.authority().is_none() { Some("http") } else { None });
    let path = uri.path_and_query().filter(|_| !is_tunnel || protocol.is_some());
    let pseudo = [
        (&b":method"[..], Some(head.method.as_str())),
        (b":scheme", scheme.filter(|_| !is_tunnel || protocol.is_some())),
        (b":authority", uri.authority().map(|authority| authority.as_str())),
        (b":path", path.map(|path| path.as_str())),
        (b":protocol", protocol),
    ];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some((name, value?.as_bytes())));
    let fields =
        head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    stream.request.read_http2_request(pseudo.chain(fields), ended, &limits)?;
    Ok(if is_tunnel { BodyLength::Tunnel } else { stream.request.request_body() })
}
