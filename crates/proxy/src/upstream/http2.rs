//! HTTP/2 connections to servers, each of which carries several requests at a time.
//!
//! A connection stays with the worker that has made it. It takes a request while it has fewer streams open than its
//! server allows, and its server's `max-reuse` leaves it one; a stream of it is a [`ServerConnection`] like any other.
//! Framing, flow control and the table of header fields are the `h2` crate's, driven by a task of its own.
//!
//! Which requests may share a connection with those of other clients is `http-reuse`'s to say, as in HAProxy: with
//! `always` all, with `safe` and `aggressive` those that it may trust to a connection that has answered before, with
//! `never` none.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use telamon_runtime::socket::Socket;
use telamon_runtime::{Endpoint, Moment};
use telamon_tls::Handshake;

use super::{Counted, ServerConnection, Way};
use crate::dial::Reuse;
use crate::model::{HttpReuse, Server};
use crate::side::wire::Wire;
use crate::side::{Http2, Side};
use crate::state::ServerState;
use crate::stream::Stream;
use crate::worker::Worker;

/// A connection that carries streams.
#[derive(Debug)]
pub(crate) struct Multiplexed {
    sender: Mutex<SendRequest<Bytes>>,
    generation: u32,
    identity: Box<[u8]>,
    /// Streams that are open, and all that there were.
    open: AtomicU32,
    begun: AtomicU32,
    /// A server has answered on it, so the connection is good.
    proven: AtomicBool,
    /// No more streams are to begin on it.
    over: AtomicBool,
    /// It counts among the server's idle connections.
    idle: AtomicBool,
    /// How long it is kept without streams (`pool-purge-delay`).
    purge_delay: Duration,
    pub(crate) local: Option<Endpoint>,
    pub(crate) peer: Option<Endpoint>,
    tls: Option<Arc<Handshake>>,
    _counted: Counted,
}

/// A place among the streams of a connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) connection: Arc<Multiplexed>,
    state: Arc<ServerState>,
}

/// Connections of one worker to one server.
#[derive(Debug, Default)]
pub(super) struct Streams(Vec<Shared>);

#[derive(Debug)]
struct Shared {
    connection: Arc<Multiplexed>,
    /// Since when it was seen without streams.
    quiet_since: Option<Moment>,
}

impl Streams {
    /// Begins a stream on a connection that has room for it; those that are over are given up.
    pub(super) fn begin(
        &mut self,
        server: &Server,
        limit: usize,
        reuse: HttpReuse,
        Reuse { first, .. }: Reuse,
        way: &Way,
    ) -> Option<Box<ServerConnection>> {
        let state = &server.state;
        let generation = state.generation.load(Relaxed);
        self.retain(state, |connection| connection.generation == generation);
        let shared = self.0.iter_mut().find(|shared| {
            let connection = &shared.connection;
            let trusted = reuse == HttpReuse::Always
                || (connection.proven.load(Relaxed)
                    && (!first
                        || reuse == HttpReuse::Aggressive
                        || connection.open.load(Relaxed) > 0));
            trusted && *connection.identity == *way.identity && connection.has_room(server, limit)
        })?;
        shared.quiet_since = None;
        Some(shared.connection.begin(state))
    }

    fn add(&mut self, connection: &Arc<Multiplexed>) {
        self.0.push(Shared { connection: Arc::clone(connection), quiet_since: None });
    }

    /// Gives up connections that are over, or that `keep` refuses; their open streams go on.
    fn retain(&mut self, state: &ServerState, keep: impl Fn(&Multiplexed) -> bool) {
        self.0.retain(|Shared { connection, .. }| {
            let kept = !connection.over.load(Relaxed) && keep(connection);
            if !kept {
                connection.give_up(state);
            }
            kept
        });
    }

    /// Gives up what is over or has been without streams for as long as the server's line lets it; returns whether
    /// any is left.
    pub(super) fn clean(&mut self, state: &ServerState, now: Moment, usable: bool) -> bool {
        let generation = state.generation.load(Relaxed);
        self.retain(state, |connection| usable && connection.generation == generation);
        self.0.retain_mut(|Shared { connection, quiet_since }| {
            if connection.open.load(Relaxed) > 0 {
                *quiet_since = None;
                return true;
            }
            let since = *quiet_since.get_or_insert(now);
            let kept = now < since + connection.purge_delay;
            if !kept {
                connection.give_up(state);
            }
            kept
        });
        !self.0.is_empty()
    }

    /// Idle connections, and those of them that have answered.
    pub(super) fn counts(&self) -> (u32, u32) {
        let idle = self.0.iter().filter(|shared| shared.connection.idle.load(Relaxed));
        idle.fold((0, 0), |(all, proven), shared| {
            (all + 1, proven + u32::from(shared.connection.proven.load(Relaxed)))
        })
    }
}

impl Multiplexed {
    /// Whether it takes one more stream.
    fn has_room(&self, server: &Server, limit: usize) -> bool {
        if self.over.load(Relaxed)
            || server.max_reuse.is_some_and(|max| self.begun.load(Relaxed) > max)
        {
            return false;
        }
        let mut sender = self.sender();
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                let most = sender.current_max_send_streams().min(limit);
                (self.open.load(Relaxed) as usize) < most
            }
            Poll::Ready(Err(_)) => {
                self.over.store(true, Relaxed);
                false
            }
            Poll::Pending => false,
        }
    }

    fn sender(&self) -> SendRequest<Bytes> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin(self: &Arc<Self>, state: &Arc<ServerState>) -> Box<ServerConnection> {
        if self.idle.swap(false, Relaxed) {
            state.idle.fetch_sub(1, Relaxed);
        }
        self.open.fetch_add(1, Relaxed);
        let requests = self.begun.fetch_add(1, Relaxed);
        let carried = Carried { connection: Arc::clone(self), state: Arc::clone(state) };
        Box::new(ServerConnection {
            side: Side::Stream(Box::new(Http2::of_server(self.sender()))),
            generation: self.generation,
            requests,
            identity: self.identity.clone(),
            tls: self.tls.clone(),
            private: false,
            carried: Some(carried),
            _counted: None,
        })
    }

    fn give_up(&self, state: &ServerState) {
        self.over.store(true, Relaxed);
        if self.idle.swap(false, Relaxed) {
            state.idle.fetch_sub(1, Relaxed);
        }
    }
}

impl Carried {
    /// A further stream of the same connection, for the client that has it to itself; `None` when it is over.
    pub(crate) fn next(&self, server: &Server, stream: &Stream) -> Option<Box<ServerConnection>> {
        let limit = stream.snapshot.global.tune.h2_back.max_concurrent_streams as usize;
        self.connection.has_room(server, limit).then(|| self.connection.begin(&self.state))
    }

    /// Whether it is no more for new streams.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.over.load(Relaxed)
    }

    /// The server has answered.
    pub(crate) fn answered(&self) {
        self.connection.proven.store(true, Relaxed);
    }

    /// The server takes no more streams on it.
    pub(crate) fn refused(&self) {
        self.connection.over.store(true, Relaxed);
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let connection = &self.connection;
        if connection.open.fetch_sub(1, Relaxed) == 1
            && !connection.over.load(Relaxed)
            && !connection.idle.swap(true, Relaxed)
        {
            self.state.idle.fetch_add(1, Relaxed);
        }
    }
}

/// Makes a connection of HTTP/2 of a socket, and begins its first stream. With `shared` others may use it too.
pub(super) async fn begin(
    worker: &Rc<Worker>,
    server: &Server,
    way: &Way,
    generation: u32,
    (socket, tls): (Socket, Option<Arc<Handshake>>),
    shared: bool,
    counted: Counted,
) -> io::Result<Box<ServerConnection>> {
    let (local, peer) = (socket.local().ok(), socket.peer().ok());
    let snapshot = worker.snapshot();
    let tune = &snapshot.global.tune;
    let settings = &tune.h2_back;
    let handshake = Builder::new()
        .enable_push(false)
        .header_table_size(settings.header_table_size)
        .initial_window_size(settings.initial_window_size)
        .initial_max_send_streams(settings.max_concurrent_streams as usize)
        .max_frame_size(settings.max_frame_size)
        .max_header_list_size(u32::try_from(tune.bufsize).unwrap_or(u32::MAX))
        .max_send_buffer_size(2 * tune.bufsize)
        .handshake::<_, Bytes>(Wire::new(Rc::new(socket), Rc::clone(worker), Vec::new()))
        .await;
    let (sender, mut driver) = handshake.map_err(io::Error::other)?;
    let window = settings.initial_window_size.max(CONNECTION_WINDOW);
    let state = &server.state;
    let connection = Arc::new(Multiplexed {
        sender: Mutex::new(sender),
        generation,
        identity: way.identity.as_slice().into(),
        open: AtomicU32::new(0),
        begun: AtomicU32::new(0),
        proven: AtomicBool::new(false),
        over: AtomicBool::new(false),
        idle: AtomicBool::new(false),
        purge_delay: server.pool_purge_delay,
        local,
        peer,
        tls,
        _counted: counted,
    });
    let watched = Arc::downgrade(&connection);
    // It ends when nobody holds the connection any more, and must not keep a finishing worker alive.
    tokio::task::spawn_local(async move {
        let mut widened = false;
        std::future::poll_fn(|cx| {
            // The connection's window is widened once there is an answer: servers that were written for HAProxy may
            // expect nothing but its settings first.
            if !widened && watched.upgrade().is_some_and(|it| it.proven.load(Relaxed)) {
                widened = true;
                driver.set_target_window_size(window);
            }
            // How it ended is told to the streams.
            Pin::new(&mut driver).poll(cx).map(drop)
        })
        .await;
        if let Some(connection) = watched.upgrade() {
            connection.over.store(true, Relaxed);
        }
    });
    if shared && server.max_reuse != Some(0) {
        super::list(worker, state, |list| list.streams.add(&connection));
    }
    Ok(connection.begin(state))
}

/// What a server may send ahead, all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1 << 20;
