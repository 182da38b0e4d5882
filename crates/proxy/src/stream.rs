//! What is known of one client session and of the request (or TCP stream) that it carries.
//!
//! [`Session`] lives as long as the client's connection, [`Stream`] as long as one request and its answer (in
//! `mode tcp`: as long as the session). Rules, expressions and log lines see these two and nothing else, so each
//! of them can be tested without a socket. The data path fills them; it never asks them what to do.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use telamon_http_proto::proxy_protocol::ProxyHeader;
use telamon_http_proto::{BodyLength, Head, Method};
use telamon_runtime::{Endpoint, Moment};

use crate::connection_error::ConnectionError;
use crate::expr::Variables;
use crate::lent::LentHead;
pub use crate::log::{Cause, Phase};
use crate::model::{Listener, Mode, Model, ProxyId, ServerId};
use crate::persistence::Persistence;
use crate::snapshot::SnapshotRef;
use crate::sticking::ToStore;
use crate::tracking::{TrackedBytes, Tracking};
use crate::worker::Worker;

/// One client connection.
#[derive(Debug)]
pub struct Session {
    pub worker: Rc<Worker>,
    /// Of one stream of a connection that carries several: the connection's own. They share what lasts as long as that.
    pub(crate) connection: Option<Rc<Self>>,
    /// The configuration that was current when the connection was accepted.
    pub snapshot: SnapshotRef,
    pub frontend: ProxyId,
    pub listener: std::sync::Arc<Listener>,
    /// The client's address; `set-src` and the PROXY protocol change it.
    pub src: RefCell<Endpoint>,
    pub dst: RefCell<Endpoint>,
    /// Both as they were before a rule of the session or of a request changed them (`fc_src`, `fc_dst`).
    pub(crate) connection_addresses: OnceCell<Box<(Endpoint, Endpoint)>>,
    /// The connection begins with the PROXY protocol's header.
    pub(crate) expects_proxy: Cell<bool>,
    /// What the PROXY protocol's header told besides the addresses.
    pub(crate) proxy_header: OnceCell<Box<ProxyHeader>>,
    /// What TLS agreed on, or how far it came; stays empty on a connection without TLS.
    pub tls: OnceCell<Box<telamon_tls::Handshake>>,
    /// Why the connection is of no use, once it is known.
    pub error: Cell<ConnectionError>,
    /// How long the PROXY protocol's header and the handshake took; 0 once the first stream has taken note.
    pub(crate) handshake_ms: Cell<u32>,
    pub accepted: Moment,
    pub accepted_at: SystemTime,
    /// Variables of scope `sess`.
    pub vars: RefCell<Variables>,
    /// The client's descriptor, to tell of; it may be closed already.
    pub(crate) client: std::os::fd::RawFd,
    /// Unique over all workers while the process lives; `show sess` names sessions by it.
    pub id: u64,
    /// Where its last request went, under `option prefer-last-server`.
    pub(crate) last_server: RefCell<Option<std::sync::Arc<crate::state::ServerState>>>,
    /// The keys that it tracks (`tcp-request connection` and `session`).
    pub(crate) tracking: Tracking,
    /// What it carries now, for the socket.
    pub(crate) live: crate::live::Live,
    /// Its places under the limits and among the frontend's sessions, given back when the session ends.
    #[expect(dead_code, reason = "held for what happens when it is dropped")]
    pub(crate) places: Places,
}

impl Session {
    /// The session of one stream of a connection: what is its own, and the way to what it shares with the others.
    pub(crate) fn of_stream(connection: &Rc<Self>) -> Rc<Self> {
        let worker = Rc::clone(&connection.worker);
        let session = Rc::new(Self {
            connection: Some(Rc::clone(connection)),
            client: connection.client,
            snapshot: connection.snapshot.clone(),
            frontend: connection.frontend,
            listener: std::sync::Arc::clone(&connection.listener),
            src: RefCell::new(connection.src.borrow().clone()),
            dst: RefCell::new(connection.dst.borrow().clone()),
            connection_addresses: connection.connection_addresses.clone(),
            expects_proxy: Cell::new(false),
            proxy_header: OnceCell::new(),
            tls: OnceCell::new(),
            error: Cell::default(),
            // The first stream's, as in HAProxy.
            handshake_ms: Cell::new(connection.handshake_ms.take()),
            accepted: connection.accepted,
            accepted_at: connection.accepted_at,
            vars: RefCell::default(),
            id: worker.session_id(),
            last_server: RefCell::default(),
            tracking: Tracking::default(),
            live: crate::live::Live::default(),
            places: Places::default(),
            worker,
        });
        session.worker.live.add(&session);
        session
    }

    /// The session of the connection: itself, unless that carries several streams.
    #[inline]
    pub(crate) fn root(&self) -> &Self {
        self.connection.as_deref().unwrap_or(self)
    }

    /// The addresses of the connection itself, whatever rules of the session and its requests say.
    pub(crate) fn of_connection(
        &self,
        which: impl Fn(&(Endpoint, Endpoint)) -> &Endpoint,
    ) -> Endpoint {
        match self.connection_addresses.get() {
            Some(kept) => which(kept).clone(),
            None => which(&(self.src.borrow().clone(), self.dst.borrow().clone())).clone(),
        }
    }

    /// Remembers the addresses of the connection before the session's own are changed.
    pub(crate) fn keep_connection_addresses(&self) {
        let current = || Box::new((self.src.borrow().clone(), self.dst.borrow().clone()));
        _ = self.connection_addresses.get_or_init(current);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.worker.live.remove(self.id);
    }
}

/// What a session occupies while it lives.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "held for what happens when it is dropped")]
pub(crate) struct Places {
    pub(crate) permits: telamon_runtime::listener::Permits,
    pub(crate) frontend: Option<crate::account::InFrontend>,
}

/// One request and its answer, or one TCP stream.
#[derive(Debug)]
pub struct Stream {
    pub session: Rc<Session>,
    /// The configuration that this request began with.
    pub snapshot: SnapshotRef,
    pub frontend: ProxyId,
    /// The backend chosen; the frontend's own id until one is.
    pub backend: ProxyId,
    pub server: Option<ServerId>,
    /// The request's head and the bytes after it that are still held: the body, for `req.body` and the like. In
    /// `mode tcp` there is no head, and `request.remaining()` is what the client has sent so far, for `req.payload`
    /// and the inspection of contents. Bounded by `tune.bufsize`.
    pub request: LentHead,
    /// Empty until the answer's head has been read or made.
    pub response: LentHead,
    /// The server that it is bound to, and why it may leave it.
    pub(crate) persistence: Persistence,
    /// The keys for which stick tables are to remember its server.
    pub(crate) to_store: Vec<ToStore>,
    /// The keys that it tracks beside those of its session, and the bytes that they know of.
    pub(crate) tracking: Tracking,
    pub(crate) tracked_bytes: TrackedBytes,
    /// The rules are behind it: it has been counted into its backend.
    pub backend_reached: bool,
    /// No more than `request.remaining()` will come before the rules are through (end of the body or stream, full
    /// buffer, or the time to wait is over).
    pub request_input_complete: bool,
    /// The same of the answer.
    pub response_input_complete: bool,
    /// The client closed before the whole body had come that was waited for.
    pub(crate) request_cut: bool,
    /// What the server has to answer to the key that was made for a client of HTTP/2, which needs none (WebSocket).
    pub(crate) websocket_accept: Option<Box<[u8]>>,
    /// The client has asked for a head alone, whatever rules have made of its method.
    pub(crate) wants_head: bool,
    /// `http-request disable-l7-retry`: what `retry-on` says beyond `conn-failure` does not hold for it.
    pub(crate) no_replay: bool,
    /// It is the first request of its connection.
    pub(crate) first_request: bool,
    /// The rule that ended a rule set last (`last_rule_file`, `last_rule_line`).
    pub(crate) last_rule: Option<telamon_config::Location>,
    /// 103 responses that rules have made (`early-hint`), to be sent before anything is waited for.
    pub early_hints: Vec<u8>,
    /// The session's own addresses while `set-src` and the like have set others for this request.
    pub(crate) session_addresses: Option<Box<(Endpoint, Endpoint)>>,
    /// `http-request set-timeout`.
    pub server_timeout: Option<Duration>,
    pub tunnel_timeout: Option<Duration>,
    /// Variables of scopes `txn`, `req` and `res`.
    pub vars: RefCell<StreamVariables>,
    /// One slot for each capture that the frontend declares.
    pub request_captures: Vec<Option<Box<[u8]>>>,
    pub response_captures: Vec<Option<Box<[u8]>>>,
    /// `capture cookie`: what the client sent and what the server set.
    pub cookie_captures: [Option<Box<[u8]>>; 2],
    /// The request line as received, cut at `tune.http.logurilen`, for the log (`%r`, `%HU` …, `capture.req.*`).
    pub request_line: Vec<u8>,
    /// `unique-id-format` evaluated once, when first asked for.
    pub unique_id: OnceCell<Box<[u8]>>,
    pub log: LogState,
}

/// Variables that end with the stream.
#[derive(Debug, Default)]
pub struct StreamVariables {
    pub txn: Variables,
    pub req: Variables,
    pub res: Variables,
}

/// What a log line says beyond the heads: times, bytes, retries and how it ended.
#[derive(Debug, Clone)]
pub struct LogState {
    /// The first byte of the request (`mode tcp`: the accept).
    pub started: Moment,
    pub started_at: SystemTime,
    /// Times in milliseconds since `started`; `None` where it did not come to that.
    /// The whole request head was there (`%TR`). Stays `None` in `mode tcp`, and where no backend was found.
    pub request_ms: Option<u32>,
    /// It left the queue (`%Tw` is the difference to `request_ms`).
    pub queue_ms: Option<u32>,
    /// The connection to the server stood (`%Tc`).
    pub connect_ms: Option<u32>,
    /// The whole response head was there (`%Tr`).
    pub response_ms: Option<u32>,
    /// The last byte had gone (`%Ta`).
    pub total_ms: Option<u32>,
    /// Idle time before the request on a kept-alive connection (`%Ti`), and the handshake (`%Th`).
    pub idle_ms: u32,
    pub handshake_ms: u32,
    /// Bytes of the request as the client sent it, and of the answer as the client gets it (`%U`, `%B`).
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Those of them that an exchange of HTTP did not copy.
    pub spliced_in: u64,
    pub spliced_out: u64,
    /// Those of `bytes_in` and `bytes_out` that were counted already (`option contstats`).
    pub counted: (u64, u64),
    pub retries: u32,
    /// The last server was chosen by redispatch: `%rc` shows `+`.
    pub redispatched: bool,
    /// How many requests left the server's and the backend's queue while this one waited, and itself (`%sq`, `%bq`).
    pub server_queue: u32,
    pub backend_queue: u32,
    /// The status sent to the client, 0 before there was one (`%ST`).
    pub status: u16,
    pub cause: Cause,
    pub phase: Phase,
    /// `http-request set-log-level`: `None` leaves it; `Some(None)` is `silent`.
    pub level: Option<Option<crate::log::Level>>,
    /// Unique among the requests of the process (`%rt`); with one worker it counts them from 0.
    pub number: u32,
    /// Where the connection to the server left from (`%bi`, `%bp`), and where it went (`%si`, `%sp`).
    pub server_source: Option<Endpoint>,
    pub server_address: Option<Endpoint>,
    /// What TLS agreed on with the server, or how far it came; `None` without TLS.
    pub server_tls: Option<Arc<telamon_tls::Handshake>>,
    /// Why there is no connection to the server.
    pub server_error: ConnectionError,
    /// What answered in place of a server (`%s`): `<STATS>`.
    pub service: Option<&'static str>,
    /// The line has been written.
    pub logged: Cell<bool>,
}

impl Stream {
    /// The first stream of a session; it has no buffers yet.
    pub(crate) fn begin(session: Rc<Session>, snapshot: SnapshotRef) -> Box<Self> {
        let frontend = session.frontend;
        let mut log = LogState::new(session.accepted, session.accepted_at);
        log.shaken_hands(session.handshake_ms.take());
        Box::new(Self {
            session,
            snapshot,
            frontend,
            backend: frontend,
            server: None,
            persistence: Persistence::default(),
            to_store: Vec::new(),
            tracking: Tracking::default(),
            tracked_bytes: TrackedBytes::default(),
            request: LentHead::default(),
            response: LentHead::default(),
            backend_reached: false,
            request_input_complete: false,
            response_input_complete: false,
            request_cut: false,
            no_replay: false,
            websocket_accept: None,
            wants_head: false,
            first_request: true,
            last_rule: None,
            early_hints: Vec::new(),
            session_addresses: None,
            server_timeout: None,
            tunnel_timeout: None,
            vars: RefCell::default(),
            request_captures: Vec::new(),
            response_captures: Vec::new(),
            cookie_captures: [None, None],
            request_line: Vec::new(),
            unique_id: OnceCell::new(),
            log,
        })
    }

    /// Takes the newest configuration between two requests, unless it has no such frontend any more.
    pub(crate) fn adopt(&mut self, newest: SnapshotRef) {
        if !SnapshotRef::same(&newest, &self.snapshot)
            && let Some(frontend) = newest.frontend(&self.snapshot.proxy(self.frontend).name)
        {
            self.frontend = frontend;
            self.backend = frontend;
            self.snapshot = newest;
        }
    }

    /// Makes ready for the next request of the connection; bytes that have come ahead stay.
    ///
    /// The frontend is found again by name in a configuration that was loaded meanwhile; where it is gone, the
    /// session ends with the configuration it began with.
    pub(crate) fn renew(&mut self, newest: SnapshotRef) {
        self.request.next();
        self.response.clear();
        self.adopt(newest);
        self.backend = self.frontend;
        self.server = None;
        self.persistence = Persistence::default();
        self.to_store.clear();
        self.tracking.clear();
        self.tracked_bytes = TrackedBytes::default();
        self.backend_reached = false;
        self.request_input_complete = false;
        self.response_input_complete = false;
        self.request_cut = false;
        self.no_replay = false;
        self.websocket_accept = None;
        self.first_request = false;
        self.last_rule = None;
        self.early_hints.clear();
        if let Some(addresses) = self.session_addresses.take() {
            (*self.session.src.borrow_mut(), *self.session.dst.borrow_mut()) = *addresses;
        }
        self.server_timeout = None;
        self.tunnel_timeout = None;
        self.vars.borrow_mut().clear();
        self.request_captures.clear();
        self.response_captures.clear();
        self.cookie_captures = [None, None];
        self.request_line.clear();
        self.unique_id.take();
        let now = self.session.worker.now();
        self.log = LogState::new(now, self.session.worker.wall(now));
    }

    /// Whether the client has said that nothing follows its request, and all of that has been read.
    pub(crate) fn has_said_all(&self) -> bool {
        !self.request.keeps_alive() && self.has_no_more()
    }

    /// Whether all of the request has been read, and nothing that follows it.
    pub(crate) fn has_no_more(&self) -> bool {
        self.request.request_body() == BodyLength::None && self.request.remaining().is_empty()
    }

    /// Whether the worker has lent it buffers.
    pub(crate) fn has_buffers(&self) -> bool {
        self.request.room() > 0
    }

    /// Has the worker lend it buffers; bytes are coming.
    pub(crate) fn take_buffers(&mut self) {
        let worker = Rc::clone(&self.session.worker);
        self.request = worker.lend_head();
        self.response = worker.lend_head();
    }

    /// Returns the buffers to the worker.
    pub(crate) fn give_back(&mut self) {
        let worker = Rc::clone(&self.session.worker);
        worker.return_head(std::mem::take(&mut self.request));
        worker.return_head(std::mem::take(&mut self.response));
    }

    /// Notes what the log wants of the request as it came, before any rule edits it.
    pub(crate) fn head_received(&mut self) {
        self.log.request_ms = Some(self.log.at(self.session.worker.now()));
        self.log.bytes_in = self.request.head_len() as u64;
        self.wants_head = self.request.method_kind() == Method::Head;
        self.log.number = self.session.worker.request_number();
        let limit = self.snapshot.global.tune.http_logurilen;
        let request = &self.request;
        let line = &mut self.request_line;
        line.clear();
        if let Some(whole) = request.start_line() {
            line.extend_from_slice(&whole[..whole.len().min(limit)]);
        } else {
            line.extend_from_slice(request.method());
            line.push(b' ');
            line.extend_from_slice(request.target());
            line.push(b' ');
            line.extend_from_slice(request.version().as_str().as_bytes());
            line.truncate(limit);
        }
        self.session.live.begin(&self.snapshot, self.frontend, self.log.started);
        crate::log::log_accept(&self.session);
    }

    /// Appends a format, filled in from what is known now.
    pub(crate) fn render(
        &self,
        format: &crate::expr::LogFormat,
        direction: Direction,
        out: &mut Vec<u8>,
    ) {
        let wants_more = Cell::new(false);
        format.render(&Context::for_stream(self, direction, &wants_more), out);
    }

    /// It was killed: by the socket, or because its server changed state.
    pub(crate) fn killed(&mut self) {
        let is_http = self.snapshot.proxy(self.frontend).mode == Mode::Http;
        let log = &mut self.log;
        log.cause = self.session.live.take_killed().unwrap_or(Cause::Killed);
        log.phase = match (log.queue_ms, log.connect_ms, log.response_ms) {
            (_, _, Some(_)) => Phase::Data,
            (_, Some(_), _) if is_http => Phase::Headers,
            (_, Some(_), _) => Phase::None,
            (Some(_), ..) => Phase::Connect,
            _ if self.backend != self.frontend => Phase::Queue,
            _ => Phase::Request,
        };
    }

    /// Whether a condition holds for the request as it is now.
    pub(crate) fn holds(&self, condition: &crate::expr::Condition) -> bool {
        let wants_more = Cell::new(false);
        condition.holds(&Context::for_stream(self, Direction::Request, &wants_more))
    }
}

impl StreamVariables {
    fn clear(&mut self) {
        self.txn.clear();
        self.req.clear();
        self.res.clear();
    }
}

impl LogState {
    /// A stream that begins now.
    pub(crate) fn new(started: Moment, started_at: SystemTime) -> Self {
        Self {
            started,
            started_at,
            request_ms: None,
            queue_ms: None,
            connect_ms: None,
            response_ms: None,
            total_ms: None,
            idle_ms: 0,
            handshake_ms: 0,
            bytes_in: 0,
            bytes_out: 0,
            spliced_in: 0,
            spliced_out: 0,
            counted: (0, 0),
            retries: 0,
            redispatched: false,
            server_queue: 0,
            backend_queue: 0,
            status: 0,
            cause: Cause::None,
            phase: Phase::None,
            level: None,
            number: 0,
            server_source: None,
            server_address: None,
            server_tls: None,
            server_error: ConnectionError::None,
            service: None,
            logged: Cell::new(false),
        }
    }

    /// The first byte of the request has come, after a wait since `waiting_since`.
    ///
    /// On a new connection the handshake is part of what was waited for.
    pub(crate) fn begin(&mut self, waiting_since: Moment, now: Moment, at: SystemTime) {
        self.idle_ms = millis(now.ms_since(waiting_since)).saturating_sub(self.handshake_ms);
        self.started = now;
        self.started_at = at;
    }

    /// The stream begins behind a handshake that has begun with the connection.
    fn shaken_hands(&mut self, took_ms: u32) {
        let took = Duration::from_millis(took_ms.into());
        self.handshake_ms = took_ms;
        self.started = self.started + took;
        self.started_at += took;
    }

    /// A slot on a server is there.
    pub(crate) fn queued(&mut self, now: Moment) {
        self.queue_ms = Some(self.at(now));
    }

    /// There never was a slot: the time in the queue is unknown.
    pub(crate) fn queue_failed(&mut self) {
        self.queue_ms = None;
    }

    /// The connection to the server stands.
    pub(crate) fn connected(&mut self, now: Moment) {
        self.connect_ms = Some(self.at(now));
    }

    /// The response head is there.
    pub(crate) fn responded(&mut self, now: Moment) {
        self.response_ms = Some(self.at(now));
    }

    /// The last byte has gone.
    pub(crate) fn end(&mut self, now: Moment) {
        self.total_ms = Some(self.at(now));
    }

    fn at(&self, now: Moment) -> u32 {
        millis(now.ms_since(self.started))
    }
}

pub(crate) fn millis(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}

/// What an expression is evaluated against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub model: &'a Model,
    /// Absent in health checks and while the configuration is read.
    pub session: Option<&'a Session>,
    /// Absent also in `tcp-request connection` and `session` rules.
    pub stream: Option<&'a Stream>,
    /// Variables of scope `check`, present in health checks only.
    pub check_vars: Option<&'a RefCell<Variables>>,
    /// Present in health checks only.
    pub check: Option<&'a CheckSight<'a>>,
    pub direction: Direction,
    /// Set by a fetch whose answer may change when more bytes come; `tcp-request content` then waits.
    pub wants_more: &'a Cell<bool>,
}

impl<'a> Context<'a> {
    pub fn for_stream(
        stream: &'a Stream,
        direction: Direction,
        wants_more: &'a Cell<bool>,
    ) -> Self {
        Self {
            model: &stream.snapshot,
            session: Some(&stream.session),
            stream: Some(stream),
            check_vars: None,
            check: None,
            direction,
            wants_more,
        }
    }

    /// For rules that run before there is a stream.
    pub fn for_session(session: &'a Session, wants_more: &'a Cell<bool>) -> Self {
        Self {
            model: &session.snapshot,
            session: Some(session),
            stream: None,
            check_vars: None,
            check: None,
            direction: Direction::Request,
            wants_more,
        }
    }

    /// For `set-var` in `global` and on the socket.
    pub fn for_process(model: &'a Model, wants_more: &'a Cell<bool>) -> Self {
        Self {
            model,
            session: None,
            stream: None,
            check_vars: None,
            check: None,
            direction: Direction::Request,
            wants_more,
        }
    }
}

/// What there is to see in a health check: whom it is for, and what has come since something was last sent.
#[derive(Debug, Clone, Copy)]
pub struct CheckSight<'a> {
    pub backend: ProxyId,
    pub server: ServerId,
    /// The response, once its head is there (`status`, `res.hdr`).
    pub response: Option<&'a Head>,
    /// What TLS agreed on with the server.
    pub tls: Option<&'a telamon_tls::Handshake>,
    /// Its body; in a check that does not speak HTTP all bytes (`res.body`, `res.payload`).
    pub content: &'a [u8],
}

/// Which half of an exchange is being looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Request,
    Response,
}
