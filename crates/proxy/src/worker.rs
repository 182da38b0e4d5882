//! What one worker thread has: its own memory, its own randomness, its own view of the configuration.
//!
//! A [`Worker`] never leaves its thread, so nothing in it is locked. What all workers share is in [`Shared`].

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use telamon_balance::{PerWorker, RateCounter, Rng};
use telamon_http_proto::{Head, Limits};
use telamon_runtime::bind::BindKey;
use telamon_runtime::limit::Limit;
use telamon_runtime::splice::PipePool;
use telamon_runtime::wheel::Deadline;
use telamon_runtime::workers;
use telamon_runtime::{Moment, Parking};

use crate::lent::LentHead;
use crate::listen::{Accepting, Assigned, ParkedClient};
use crate::model::Global;
use crate::snapshot::{Snapshot, SnapshotRef};
use crate::upstream::IdleServers;

/// The state of one worker.
#[derive(Debug)]
pub struct Worker {
    pub thread: workers::Worker<Self>,
    pub shared: Arc<Shared>,
    snapshot: RefCell<SnapshotRef>,
    pub rng: RefCell<Rng>,
    /// Heads and buffers that no connection uses just now; their memory is reused.
    heads: RefCell<Vec<LentHead>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    /// Servers that have idle connections in this worker's keeping.
    pub(crate) idle: IdleServers,
    pub(crate) accepting: RefCell<HashMap<BindKey, Accepting>>,
    /// Client connections without a request.
    pub(crate) parking: OnceCell<Parking<ParkedClient>>,
    /// Pipes for bulk that is not looked at; none under `nosplice`.
    pipes: RefCell<Option<PipePool>>,
    /// Its sessions, for the socket.
    pub(crate) live: crate::live::LiveSessions,
    /// Listening sockets that rest (`disable frontend`) or were shut down.
    pub(crate) held: RefCell<HashMap<BindKey, Assigned>>,
    /// What the wall clock had at a moment within the last second.
    wall: Cell<(Moment, SystemTime)>,
    /// `tune.bufsize` of the configuration that is current.
    bufsize: Cell<usize>,
    /// Clients parked since memory was last given back to the system.
    pub(crate) parked: Cell<u32>,
    /// No new connection is kept alive: the process is finishing.
    pub finishing: Cell<bool>,
    next_session: Cell<u64>,
    next_request: Cell<u64>,
}

/// What the workers of a process share.
#[derive(Debug)]
pub struct Shared {
    pub started: Moment,
    pub started_at: SystemTime,
    pub pid: u32,
    pub workers: usize,
    /// The process's `maxconn` as configured; `set maxconn global` goes no higher.
    pub connections_max: AtomicU32,
    /// What `set rate-limit` changes.
    pub rate_limits: RateLimits,
    /// Client connections over all frontends, and their limit.
    pub connections: Limit,
    /// Ever accepted.
    pub connections_total: AtomicU64,
    /// Connections of the runtime API ever, each of which HAProxy counts as a request too.
    pub socket_connections: AtomicU64,
    /// Connections to servers, idle ones included.
    pub server_connections: AtomicU32,
    /// Requests (`mode tcp`: sessions) and bytes over all frontends, those of earlier configurations included.
    pub counters: PerWorker,
    /// No new connections are accepted: the process is finishing.
    pub stopping: AtomicBool,
    pub connection_rate: RateCounter,
    pub session_rate: RateCounter,
    pub bytes_out_rate: RateCounter,
    /// The way to name servers, for rules and sockets.
    pub(crate) names: crate::resolve::Names,
    /// Where the status page is made.
    pub page: telamon_runtime::service::ServiceHandle,
    /// What workers tell the control thread of servers.
    pub(crate) news: crate::learn::NewsLine,
    /// Some server's next check is to come earlier ([`ServerState::hurried`](crate::state::ServerState)).
    pub(crate) hurry: tokio::sync::Notify,
    /// The way to the workers, once they run.
    pub(crate) peers: std::sync::OnceLock<workers::Peers<Worker>>,
    /// The last request and the last response that could not be parsed, by proxy (`show errors`).
    pub errors: crate::capture::Errors,
    /// A server has begun a slow start.
    pub slow_start: tokio::sync::Notify,
}

impl Worker {
    pub fn new(
        thread: workers::Worker<Self>,
        shared: Arc<Shared>,
        snapshot: Arc<Snapshot>,
        seed: u64,
    ) -> Rc<Self> {
        let rng = Rng::new(seed.wrapping_add(thread.index() as u64));
        let global = &snapshot.model.global;
        let pipes = RefCell::new(pipes(global, shared.workers));
        let bufsize = Cell::new(global.tune.bufsize);
        Rc::new(Self {
            thread,
            shared,
            snapshot: RefCell::new(SnapshotRef::new(snapshot)),
            rng: RefCell::new(rng),
            heads: RefCell::default(),
            buffers: RefCell::default(),
            idle: IdleServers::default(),
            accepting: RefCell::default(),
            parking: OnceCell::new(),
            parked: Cell::new(0),
            wall: Cell::new((Moment::now(), SystemTime::now())),
            bufsize,
            pipes,
            live: crate::live::LiveSessions::default(),
            held: RefCell::default(),
            finishing: Cell::new(false),
            next_session: Cell::new(0),
            next_request: Cell::new(0),
        })
    }

    pub fn index(&self) -> usize {
        self.thread.index()
    }

    /// The configuration that new requests begin with.
    pub fn snapshot(&self) -> SnapshotRef {
        self.snapshot.borrow().clone()
    }

    /// Puts a new configuration in force for everything that begins from now on.
    pub(crate) fn set_snapshot(&self, snapshot: Arc<Snapshot>) {
        let settings = |global: &Global| (global.nosplice, global.maxpipes, global.tune.pipesize);
        let global = &snapshot.model.global;
        if settings(global) != settings(&self.snapshot.borrow().global) {
            // Pipes on loan belong to the old pool and end with it.
            self.pipes.replace(pipes(global, self.shared.workers));
        }
        self.bufsize.set(global.tune.bufsize);
        self.snapshot.replace(SnapshotRef::new(snapshot));
        // Their sizes are the old configuration's.
        self.heads.borrow_mut().clear();
        self.buffers.borrow_mut().clear();
    }

    /// A number for a new session, unique over all workers.
    pub(crate) fn session_id(&self) -> u64 {
        let next = self.next_session.get() + 1;
        self.next_session.set(next);
        next * self.shared.workers as u64 + self.index() as u64
    }

    /// A number for a request or TCP session that begins, unique over all workers modulo 2^32.
    pub(crate) fn request_number(&self) -> u32 {
        let next = self.next_request.get();
        self.next_request.set(next + 1);
        (next * self.shared.workers as u64 + self.index() as u64) as u32
    }

    /// Where pipes come from; `None` under `nosplice`.
    pub(crate) fn pipes(&self) -> Option<PipePool> {
        self.pipes.borrow().clone()
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.thread.wheel().deadline()
    }

    /// Looks at the clock. The data path does so once each time it is woken and uses [`Worker::now`] in between: looking
    /// costs more than most of what is timed.
    pub(crate) fn touch(&self) -> Moment {
        self.thread.wheel().touch()
    }

    /// The time as it was last looked at.
    pub(crate) fn now(&self) -> Moment {
        self.thread.wheel().now()
    }

    /// What the wall clock had at a moment, right to what it was set by within the last second.
    pub(crate) fn wall(&self, at: Moment) -> SystemTime {
        let (moment, time) = self.wall.get();
        time + at.since(moment)
    }

    /// The wall clock's seconds since 1970.
    pub(crate) fn unix_seconds(&self) -> i64 {
        let since = self.wall(self.now()).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// Sets the wall clock anew; called every second.
    pub(crate) fn touch_wall(&self) {
        self.wall.set((self.touch(), SystemTime::now()));
    }

    /// Milliseconds from the start of the process to when the clock was last looked at.
    pub fn now_ms(&self) -> u64 {
        self.now().ms_since(self.shared.started)
    }

    /// Lends an empty head with a buffer of `tune.bufsize` bytes.
    pub(crate) fn lend_head(&self) -> LentHead {
        let spare = self.heads.borrow_mut().pop();
        spare.unwrap_or_else(|| Head::with_capacity(self.bufsize.get()).into())
    }

    pub(crate) fn return_head(&self, mut head: LentHead) {
        let mut heads = self.heads.borrow_mut();
        // Heads of answers made here may be smaller; they are not for reading into.
        if heads.len() < SPARE_MAX && head.room() >= self.bufsize.get() {
            head.clear();
            heads.push(head);
        }
    }

    /// Lets go of what no connection uses just now.
    pub(crate) fn drop_spares(&self) {
        self.heads.take();
        self.buffers.take();
    }

    /// Lends an empty buffer of at least `tune.bufsize` bytes.
    pub(crate) fn lend_buffer(&self) -> Vec<u8> {
        let spare = self.buffers.borrow_mut().pop();
        spare.unwrap_or_else(|| Vec::with_capacity(self.bufsize.get()))
    }

    pub(crate) fn return_buffer(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < SPARE_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// What a client may send, by the configuration.
    pub(crate) fn limits(tune: &crate::model::Tune, accept_invalid: bool) -> Limits {
        Limits {
            head_max: tune.bufsize - tune.maxrewrite,
            rewritten_max: tune.bufsize,
            rewrite_reserve: tune.maxrewrite,
            headers_max: tune.http_maxhdr,
            accept_invalid,
            keep_case: false,
        }
    }
}

/// A worker's pipes.
fn pipes(global: &Global, workers: usize) -> Option<PipePool> {
    let max = global.maxpipes.map_or(PIPES_DEFAULT, |max| max as usize / workers);
    (!global.nosplice).then(|| PipePool::new(max, global.tune.pipesize))
}

/// How much may come in a second, over all frontends; 0 is no limit. What the configuration says, until the socket says
/// otherwise.
#[derive(Debug, Default)]
pub struct RateLimits {
    /// `maxconnrate`
    pub connections: AtomicU32,
    /// `maxsessrate`
    pub sessions: AtomicU32,
    /// `maxsslrate`: for the day there is TLS.
    pub tls_sessions: AtomicU32,
    /// `maxcomprate`, in bytes: for the day there is compression.
    pub compression: AtomicU32,
}

impl RateLimits {
    /// Takes over what a configuration says.
    pub(crate) fn configure(&self, global: &Global) {
        self.connections.store(global.maxconnrate.unwrap_or(0), Relaxed);
        self.sessions.store(global.maxsessrate.unwrap_or(0), Relaxed);
        self.tls_sessions.store(0, Relaxed);
        self.compression.store(0, Relaxed);
    }
}

impl Shared {
    /// What the workers of a process that starts now share; pages of `stats` are asked of `page`.
    pub(crate) fn new(
        workers: usize,
        connections_max: u32,
        page: telamon_runtime::service::ServiceHandle,
    ) -> Self {
        Self {
            started: Moment::now(),
            started_at: SystemTime::now(),
            pid: std::process::id(),
            workers,
            connections_max: AtomicU32::new(connections_max),
            rate_limits: RateLimits::default(),
            connections: Limit::new(connections_max),
            connections_total: AtomicU64::new(0),
            socket_connections: AtomicU64::new(0),
            server_connections: AtomicU32::new(0),
            counters: PerWorker::new(workers),
            stopping: AtomicBool::new(false),
            connection_rate: RateCounter::default(),
            session_rate: RateCounter::default(),
            bytes_out_rate: RateCounter::default(),
            names: crate::resolve::Names::default(),
            page,
            news: crate::learn::NewsLine::default(),
            hurry: tokio::sync::Notify::new(),
            peers: std::sync::OnceLock::new(),
            errors: crate::capture::Errors::default(),
            slow_start: tokio::sync::Notify::new(),
        }
    }

    /// Whether that part, in percent, of the descriptors that `maxconn` connections need is in use.
    pub(crate) fn is_crowded(&self, percent: u32) -> bool {
        let used =
            u64::from(self.connections.used()) + u64::from(self.server_connections.load(Relaxed));
        // One for the client and one for the server.
        let most = 2 * u64::from(self.connections_max.load(Relaxed));
        used * 100 >= most * u64::from(percent)
    }

    pub fn now_ms(&self) -> u64 {
        Moment::now().ms_since(self.started)
    }
}

/// Pipes that a worker opens at most unless `maxpipes` says otherwise; two descriptors each.
const PIPES_DEFAULT: usize = 64;
/// Spare heads and buffers that a worker keeps, at most; each is `tune.bufsize` large.
const SPARE_MAX: usize = 256;
/// A buffer that grew beyond this is given back to the system.
const SPARE_BYTES_MAX: usize = 256 * 1024;
