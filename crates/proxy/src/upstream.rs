//! The way to a server: a slot in the pool or the queue, then a connection that is idle, taken over or new.
//!
//! ```text
//! assign --> slot --------------------------> connection: own idle | another worker's idle | connect
//!    \--> queue --(slot handed over)--^
//! ```

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use telamon_balance::{
    Assignment, Counter, Ending, Grant, MemberId, Outcome, Pinned, Place, Pool, Refusal, Ticket,
    Unit, Waiting,
};
use telamon_runtime::connect::{connect, connect_to_send};
use telamon_runtime::socket::{Idle, Socket};
use telamon_runtime::{Endpoint, Moment};
use telamon_tls::Handshake;
use tokio::sync::oneshot;

use crate::aside::aside;
use crate::dial::Reuse;
use crate::expr::{Value, ValueType};
use crate::model::{Backend, HttpReuse, ProxyId, Server, ServerId, ServerTls, Speech};
use crate::proxy_protocol;
use crate::side::Side;
use crate::snapshot::SnapshotRef;
use crate::state::ServerState;
use crate::stream::{Context, Direction, Session, Stream};
use crate::tls::{self, Unreached};
use crate::worker::{Shared, Worker};

pub(crate) mod http2;

/// Who waits in a backend's queue: the way to tell it which server it got, and its position when it left.
pub type Waiter = oneshot::Sender<Granted>;

/// A slot handed to one who waited.
#[derive(Debug)]
pub struct Granted {
    pub member: MemberId,
    pub position: u32,
}

/// A place among the units in flight on a server, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    snapshot: SnapshotRef,
    backend: ProxyId,
    /// `None` where there are no servers to choose from (see [`Backend::direct`]).
    member: Option<MemberId>,
    /// Until the strategy is told how the server fared; `None` for strategies that do not learn.
    watch: Cell<Option<Watch>>,
}

/// Since when a server is watched: by the clock, and in milliseconds of the process.
#[derive(Debug, Clone, Copy)]
struct Watch {
    since: Moment,
    since_ms: u64,
}

/// Why there is no slot. A server is named where the request was for it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// No server is usable.
    NoServer,
    /// The queue is full, or the limit that is reached lets nobody wait (`max-requests`, probation).
    QueueFull(Option<ServerId>),
    /// `timeout queue` passed.
    QueueTimeout(Option<ServerId>),
    /// The client went away while waiting.
    ClientGone(Option<ServerId>),
}

/// A connection to a server, in use or idle.
#[derive(Debug)]
pub(crate) struct ServerConnection {
    pub(crate) side: Side,
    /// The address generation that it was made under.
    generation: u32,
    /// Requests that it has carried.
    pub(crate) requests: u32,
    /// What makes it another than those to the same server: see [`Way::identity`]. Empty for most.
    identity: Box<[u8]>,
    /// What TLS agreed on; `None` without TLS.
    pub(crate) tls: Option<Arc<Handshake>>,
    /// The server may know a user by it (NTLM, Negotiate): it is for the client that made it alone.
    pub(crate) private: bool,
    /// The connection whose stream it is, if it is one of HTTP/2.
    pub(crate) carried: Option<http2::Carried>,
    /// `None` for a stream, whose connection is counted.
    _counted: Option<Counted>,
}

impl ServerConnection {
    /// The address at this end.
    pub(crate) fn local(&self) -> Option<Endpoint> {
        match &self.carried {
            None => self.side.socket()?.local().ok(),
            Some(carried) => carried.connection.local.clone(),
        }
    }

    /// The address of the server.
    pub(crate) fn peer(&self) -> Option<Endpoint> {
        match &self.carried {
            None => self.side.socket()?.peer().ok(),
            Some(carried) => carried.connection.peer.clone(),
        }
    }

    /// Whether nothing has come on it, nor its end, as far as the reactor knows.
    pub(crate) fn is_quiet(&self) -> bool {
        if let Some(carried) = &self.carried {
            return !carried.is_over();
        }
        self.side.socket().is_some_and(|socket| socket.peek() == Idle::Quiet)
    }

    /// The same, as the kernel knows.
    fn is_quiet_now(&self) -> bool {
        self.side.socket().is_some_and(|socket| socket.peek_now() == Idle::Quiet)
    }
}

/// A place among the connections to servers.
#[derive(Debug)]
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.server_connections.fetch_add(1, Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.server_connections.fetch_sub(1, Relaxed);
    }
}

/// Idle connections to one server, one list per worker. Only its worker adds to a list; any may take.
#[derive(Debug)]
pub struct IdlePool(Box<[Mutex<IdleList>]>);

#[derive(Debug, Default)]
struct IdleList {
    connections: Vec<IdleConnection>,
    /// Those of HTTP/2, busy ones as well.
    streams: http2::Streams,
    /// The worker's cleaner knows that there is something here.
    listed: bool,
}

#[derive(Debug)]
struct IdleConnection {
    connection: Box<ServerConnection>,
    expires: Moment,
}

/// The servers whose idle connections a worker has to look after.
#[derive(Debug, Default)]
pub(crate) struct IdleServers {
    servers: RefCell<Vec<Arc<ServerState>>>,
}

impl Slot {
    /// A place where connections go without a choice.
    pub(crate) fn direct(stream: &Stream) -> Self {
        let (snapshot, backend) = (stream.snapshot.clone(), stream.backend);
        Self { snapshot, backend, member: None, watch: Cell::new(None) }
    }

    fn taken(stream: &Stream, member: MemberId) -> Self {
        let (snapshot, backend) = (stream.snapshot.clone(), stream.backend);
        let slot = Self { snapshot, backend, member: Some(member), watch: Cell::new(None) };
        slot.watch(&stream.session.worker);
        slot
    }

    /// Another attempt begins in it.
    pub(crate) fn watch(&self, worker: &Worker) {
        if self.pool().is_some_and(Pool::learns) {
            let watch = Watch { since: worker.touch(), since_ms: worker.now_ms() };
            self.watch.set(Some(watch));
        }
    }

    /// Tells a strategy that learns how the server fared; only the first word of an attempt counts.
    pub(crate) fn learn(&self, ending: Ending) {
        let Some(Watch { since, since_ms }) = self.watch.take() else { return };
        let (Some(pool), Some(member)) = (self.pool(), self.member) else { return };
        let took = since.elapsed();
        let latency_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        pool.learn(member, &Outcome { latency_us, ending }, since_ms + latency_us / 1000);
    }

    fn pool(&self) -> Option<&Pool<Waiter>> {
        Some(&self.snapshot.proxy(self.backend).backend.as_ref()?.pool)
    }

    pub(crate) fn server(&self) -> Option<ServerId> {
        self.member.map(|member| ServerId(member.0))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.learn(Ending::Abandoned);
        if let (Some(pool), Some(member)) = (self.pool(), self.member) {
            deliver(pool, member, pool.release(member));
        }
    }
}

/// Hands granted slots to those who waited; one who has gone gives the slot back.
pub(crate) fn deliver(pool: &Pool<Waiter>, member: MemberId, mut grant: Option<Grant<Waiter>>) {
    while let Some(Grant { waiter, member: granted, position }) = grant {
        grant = match waiter.send(Granted { member: granted, position }) {
            Ok(()) => pool.next_grant(member),
            Err(_) => pool.release(granted),
        };
    }
}

/// What there is in place of a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Later {
    Wait(Place),
    Refused(Refusal),
}

/// Takes a slot of the backend's pool for this stream, if one is free.
///
/// `tried` are servers that failed it.
pub(crate) fn take_slot(
    stream: &Stream,
    tried: &[MemberId],
    pinned: Option<Pinned>,
) -> Result<Slot, Later> {
    let proxy = stream.snapshot.proxy(stream.backend);
    let Some(backend) = &proxy.backend else { return Err(Later::Refused(Refusal::NoMember)) };
    let worker = &stream.session.worker;
    let unit = Unit { key: crate::key::of(&backend.balance, stream), tried, pinned };
    match backend.pool.assign(&unit, &mut worker.rng.borrow_mut(), worker.now_ms()) {
        Assignment::Member(member) => Ok(Slot::taken(stream, member)),
        Assignment::Refused(refusal) => Err(Later::Refused(refusal)),
        Assignment::Wait(place) => Err(Later::Wait(place)),
    }
}

/// Waits in the queue for a slot, after [`take_slot`] had none; `gone` ends the wait when the client leaves.
pub(crate) async fn wait_for_slot(
    stream: &mut Stream,
    tried: &[MemberId],
    pinned: Option<Pinned>,
    later: Later,
    gone: impl Future<Output = ()>,
) -> Result<Slot, NoSlot> {
    let place = match later {
        Later::Wait(place) => place,
        Later::Refused(refusal) => return Err(refused(refusal)),
    };
    let snapshot = stream.snapshot.clone();
    let proxy = snapshot.proxy(stream.backend);
    let Some(backend) = &proxy.backend else { return Err(NoSlot::NoServer) };
    let worker = std::rc::Rc::clone(&stream.session.worker);
    let unit = Unit { key: crate::key::of(&backend.balance, stream), tried, pinned };
    let (waiter, mut granted) = oneshot::channel();
    let ticket = match backend.pool.wait(
        &unit,
        place,
        waiter,
        &mut worker.rng.borrow_mut(),
        worker.now_ms(),
    ) {
        Waiting::Member(member, _) => return Ok(Slot::taken(stream, member)),
        Waiting::Refused(refusal, _) => return Err(refused(refusal)),
        Waiting::Queued(ticket) => ticket,
    };
    let waiting = InQueue { pool: &backend.pool, ticket: Some(ticket) };
    let server = place.member.map(|member| ServerId(member.0));
    let deadline = worker.deadline();
    deadline.arm_optional(proxy.timeouts.queue.or(proxy.timeouts.connect));
    let outcome = tokio::select! {
        biased;
        granted = &mut granted => granted.map_err(|_| NoSlot::NoServer),
        _ = deadline.expired() => Err(NoSlot::QueueTimeout(server)),
        () = gone => Err(NoSlot::ClientGone(server)),
    };
    worker.touch();
    match outcome {
        Ok(Granted { member, position }) => {
            waiting.over();
            count_queued(stream, place.member.is_some(), position);
            Ok(Slot::taken(stream, member))
        }
        Err(failure) => {
            // A slot may have been handed over at the same moment; it goes to the next in line.
            let cancelled = waiting.cancel();
            if let Ok(Granted { member, .. }) = granted.try_recv() {
                drop(Slot::taken(stream, member));
            }
            if let Some(position) = cancelled {
                count_queued(stream, place.member.is_some(), position);
            }
            Err(failure)
        }
    }
}

fn count_queued(stream: &mut Stream, for_one_server: bool, position: u32) {
    if for_one_server {
        stream.log.server_queue += position;
    } else {
        stream.log.backend_queue += position;
    }
}

fn refused(refusal: Refusal) -> NoSlot {
    match refusal {
        Refusal::NoMember => NoSlot::NoServer,
        Refusal::MemberQueueFull(member) | Refusal::MemberFull(member) => {
            NoSlot::QueueFull(Some(ServerId(member.0)))
        }
        Refusal::QueueFull | Refusal::Full => NoSlot::QueueFull(None),
    }
}

/// Leaves the queue when the stream ends while it waits.
struct InQueue<'a> {
    pool: &'a Pool<Waiter>,
    ticket: Option<Ticket>,
}

impl InQueue<'_> {
    fn over(mut self) {
        self.ticket = None;
    }

    fn cancel(mut self) -> Option<u32> {
        let (_, position) = self.pool.cancel(self.ticket.take()?)?;
        Some(position)
    }
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.pool.cancel(ticket);
        }
    }
}

/// An idle connection to the server that this stream may use, from this worker's list or another's.
///
/// A request that could not be sent again is given a connection only after the kernel was asked whether it stands.
pub(crate) fn take_idle(
    worker: &Worker,
    server: &Server,
    reuse: HttpReuse,
    reusing: Reuse,
    way: &Way,
) -> Option<Box<ServerConnection>> {
    let Reuse { first, sure, .. } = reusing;
    let state = &server.state;
    if reuse == HttpReuse::Never {
        return None;
    }
    if way.speech.http2 {
        let list = state.idle_pool.0.get(worker.index())?;
        let limit = worker.snapshot().global.tune.h2_back.max_concurrent_streams as usize;
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = list.streams.begin(server, limit, reuse, reusing, way);
        if begun.is_some() || !way.speech.http1 {
            return begun;
        }
    }
    if state.idle.load(Relaxed) == 0 {
        return None;
    }
    if first && reuse == HttpReuse::Safe {
        return None;
    }
    let fits = |connection: &ServerConnection| {
        connection.generation == state.generation.load(Relaxed)
            && way.leads_to(connection)
            && !(first && reuse == HttpReuse::Aggressive && connection.requests < 2)
    };
    let own = worker.index();
    while let Some(connection) = state.idle_pool.pop(own, state, fits) {
        if if sure { connection.is_quiet_now() } else { connection.is_quiet() } {
            return Some(connection);
        }
    }
    if !worker.snapshot().global.tune.idle_pool_shared
        || state.idle.load(Relaxed) < server.pool_low_conn
    {
        return None;
    }
    let workers = worker.shared.workers;
    for other in (1..workers).map(|step| (own + step) % workers) {
        while let Some(connection) = state.idle_pool.pop(other, state, fits) {
            if !connection.is_quiet_now() {
                continue;
            }
            // It moves from the other worker's reactor to this one's.
            let connection = *connection;
            let Side::Socket(socket) = connection.side else { continue };
            let side = Side::Socket(socket.detach().attach());
            return Some(Box::new(ServerConnection { side, ..connection }));
        }
    }
    None
}

/// Keeps a connection for later use, or closes it if the server has enough of them.
pub(crate) fn keep_idle(worker: &Worker, server: &Server, connection: Box<ServerConnection>) {
    let state = &server.state;
    if connection.carried.is_some() {
        // Its connection is listed as long as it stands.
        return;
    }
    let full = server.pool_max_conn.is_some_and(|max| state.idle.load(Relaxed) >= max);
    let worn = server.max_reuse.is_some_and(|max| connection.requests > max);
    if full
        || worn
        || worker.finishing.get()
        || worker.shared.is_crowded(worker.snapshot().global.tune.pool_low_fd_ratio)
        || connection.generation != state.generation.load(Relaxed)
        || !state.member.is_reachable()
    {
        return;
    }
    let expires = worker.now() + server.pool_purge_delay;
    state.idle.fetch_add(1, Relaxed);
    list(worker, state, |list| list.connections.push(IdleConnection { connection, expires }));
}

/// Adds to what the worker keeps of a server's connections.
fn list(worker: &Worker, state: &Arc<ServerState>, add: impl FnOnce(&mut IdleList)) {
    let Some(list) = state.idle_pool.0.get(worker.index()) else { return };
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    add(&mut list);
    if !std::mem::replace(&mut list.listed, true) {
        worker.idle.servers.borrow_mut().push(Arc::clone(state));
    }
}

/// Connects to a server for this stream, which has bytes to send at once or waits for the server's. With `shared` a
/// connection of HTTP/2 may carry the streams of others as well.
///
/// # Errors
/// The connection was not made, or TLS or HTTP/2 did not begin on it.
pub(crate) async fn open(
    worker: &Rc<Worker>,
    session: &Session,
    server: &Server,
    way: &Way,
    has_data: bool,
    shared: bool,
) -> Result<Box<ServerConnection>, Unreached> {
    let state = &server.state;
    let generation = state.generation.load(Relaxed);
    if worker.shared.is_crowded(worker.snapshot().global.tune.pool_high_fd_ratio) {
        worker.idle.give_up_one(worker.index());
    }
    let to = endpoint(session, state);
    // A client speaks first in TLS.
    let has_data = has_data || server.tls.is_some();
    let mut socket = match has_data {
        true => connect_to_send(&to, &server.connect).await?,
        false => connect(&to, &server.connect).await?,
    };
    way.begin(&socket, has_data).await?;
    let tls = match &server.tls {
        None => None,
        Some(tls) => {
            let only = [if way.speech.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
            let alpn = way.speech.narrowed.then_some(&only[..]);
            let shaken = tls::connect(&mut socket, &tls.connector, way.name.as_deref(), alpn);
            Some(Arc::new(Box::pin(shaken).await.map_err(Unreached::Tls)?))
        }
    };
    state.member.counters.add(worker.index(), Counter::Connects, 1);
    let counted = Counted::new(&worker.shared);
    let http2 = match &tls {
        Some(tls) if way.speech.negotiated => tls.alpn.as_deref() == Some(b"h2"),
        _ => way.speech.http2,
    };
    if http2 {
        let begun = http2::begin(worker, server, way, generation, (socket, tls), shared, counted);
        // A handshake that fails is a connection that fails.
        return Ok(aside(begun).await?);
    }
    Ok(Box::new(ServerConnection {
        side: Side::Socket(socket),
        generation,
        requests: 0,
        identity: way.identity.as_slice().into(),
        tls,
        private: false,
        carried: None,
        _counted: Some(counted),
    }))
}

/// How a stream's connection to a server is made.
#[derive(Debug)]
pub(crate) struct Way {
    /// The PROXY protocol's header, and the address where that follows the client: only a connection of the same identity
    /// may be used again.
    identity: Vec<u8>,
    /// How much of the identity the connection begins with.
    preface: usize,
    /// The server's name in TLS (`sni`), which is part of the identity too.
    name: Option<Box<str>>,
    /// The versions of HTTP that it may be spoken to in.
    pub(crate) speech: Speech,
}

impl Way {
    pub(crate) fn new(stream: &Stream, server: &Server) -> Self {
        let state = &server.state;
        let mut identity = Vec::new();
        if let Some(settings) = &server.send_proxy {
            proxy_protocol::write(stream, settings, &mut identity);
        }
        let preface = identity.len();
        if state.follows_client.load(Relaxed) {
            // Writing into memory does not fail.
            let _ = write!(identity, "{}", endpoint(&stream.session, state));
        }
        let name = server.tls.as_ref().and_then(|tls| name_of(tls, stream));
        if let Some(name) = &name {
            identity.push(0);
            identity.extend_from_slice(name.as_bytes());
        }
        Self { identity, preface, name, speech: Speech::HTTP1 }
    }

    /// Whether a connection that was made before is one that would be made now.
    pub(crate) fn leads_to(&self, connection: &ServerConnection) -> bool {
        let speaks = match connection.carried {
            None => self.speech.http1,
            Some(_) => self.speech.http2,
        };
        speaks && *connection.identity == *self.identity
    }

    /// Sends what a new connection begins with; with `has_data` it travels with what follows at once.
    async fn begin(&self, socket: &Socket, has_data: bool) -> std::io::Result<()> {
        let mut rest = &self.identity[..self.preface];
        if has_data && !rest.is_empty() {
            // A new connection takes that much.
            rest = &rest[socket.try_write_more(rest).unwrap_or(0)..];
        }
        socket.write_all(rest).await
    }
}

/// The name that `sni` has for a stream's connection.
fn name_of(tls: &ServerTls, stream: &Stream) -> Option<Box<str>> {
    let wants_more = Cell::new(false);
    let cx = Context::for_stream(stream, Direction::Request, &wants_more);
    let Some(Value::Str(name)) = tls.sni.as_ref()?.eval_as(&cx, ValueType::Str) else {
        return None;
    };
    std::str::from_utf8(&name).ok().filter(|name| !name.is_empty()).map(Box::from)
}

/// Where connections of this session to the server go.
///
/// A port may follow that which the client connected to, and an address of zeros stands for the client's destination.
fn endpoint(session: &Session, state: &ServerState) -> Endpoint {
    let address = state.address();
    let Endpoint::Inet(mut inet) = address.endpoint else { return address.endpoint };
    let destination = session.dst.borrow();
    if inet.ip().is_unspecified()
        && let Some(ip) = destination.ip()
    {
        inet.set_ip(ip.to_canonical());
    }
    if let Some(shift) = address.mapped_port {
        let port = i32::from(destination.port().unwrap_or(0)) + shift;
        inet.set_port(u16::try_from(port).unwrap_or(0));
    }
    Endpoint::Inet(inet)
}

/// Whether connections to the server belong to the one client that they were made for.
pub(crate) fn is_private(backend: &Backend, server: Option<ServerId>) -> bool {
    backend.reuse == HttpReuse::Never || server.is_none()
}

impl IdlePool {
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mutex::default()).collect())
    }

    /// How many connections each worker keeps, and how many of them have carried more than one request.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.iter().map(|list| {
            let list = list.lock().unwrap_or_else(PoisonError::into_inner);
            let safe = list.connections.iter().filter(|idle| idle.connection.requests > 1);
            let streams = list.streams.counts();
            (list.connections.len() as u32 + streams.0, safe.count() as u32 + streams.1)
        })
    }

    /// Takes the connection that `worker` used last and that `fits`; those that do not fit stay.
    fn pop(
        &self,
        worker: usize,
        state: &ServerState,
        fits: impl Fn(&ServerConnection) -> bool,
    ) -> Option<Box<ServerConnection>> {
        let mut list = self.0.get(worker)?.lock().unwrap_or_else(PoisonError::into_inner);
        let at = list.connections.iter().rposition(|idle| fits(&idle.connection))?;
        state.idle.fetch_sub(1, Relaxed);
        Some(list.connections.remove(at).connection)
    }

    /// Drops what has expired, was closed by the server, or may not be used any more; returns whether anything is
    /// left.
    fn clean(&self, worker: usize, state: &ServerState, now: Moment) -> bool {
        let Some(list) = self.0.get(worker) else { return false };
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        let before = list.connections.len();
        let generation = state.generation.load(Relaxed);
        let reachable = state.member.is_reachable();
        list.connections.retain(|idle| {
            reachable
                && now < idle.expires
                && idle.connection.generation == generation
                && idle.connection.is_quiet()
        });
        let left = list.connections.len();
        state.idle.fetch_sub((before - left) as u32, Relaxed);
        list.listed = list.streams.clean(state, now, reachable) || left > 0;
        list.listed
    }
}

impl IdleServers {
    /// Closes an idle connection of this worker, if there is one, to make room for a new one.
    fn give_up_one(&self, worker: usize) {
        let servers = self.servers.borrow();
        let found = servers.iter().find_map(|state| state.idle_pool.pop(worker, state, |_| true));
        drop(found);
    }

    /// Cleans the worker's idle connections once; called every second.
    pub(crate) fn clean(&self, worker: usize, now: Moment) {
        self.servers.borrow_mut().retain(|state| state.idle_pool.clean(worker, state, now));
    }
}

/// How often idle server connections are looked after.
pub(crate) const CLEAN_EVERY: Duration = Duration::from_secs(1);
