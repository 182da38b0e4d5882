//! From a listening socket to a session: what a worker does with its listeners, and with clients that are idle.

use std::cell::{Cell, OnceCell, RefCell};
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use telamon_balance::Counter;
use telamon_runtime::bind::BindKey;
use telamon_runtime::limit::Limit;
use telamon_runtime::listener::{AcceptFailure, Accepted, Pace};
use telamon_runtime::{BindAddress, Endpoint, Moment, Parking, Socket, Unparked};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::account::{self, InFrontend};
use crate::live::Live;
use crate::model::{Listener, Mode};
use crate::rules::{self, TcpRequestRule, Verdict};
use crate::snapshot::{Snapshot, SnapshotRef};
use crate::state::{ListenerState, ProxyState};
use crate::stream::{Places, Session, millis};
use crate::worker::Worker;
use crate::{http, proxy_protocol, tcp, tls, tracking, upstream};

/// One listening socket that a worker accepts from.
#[derive(Debug)]
pub(crate) struct Accepting {
    /// What the configuration says of it now; a reload replaces it under the running socket.
    listener: Rc<RefCell<Arc<Listener>>>,
    /// Whose limits the task keeps.
    states: (Arc<ProxyState>, Arc<ListenerState>),
    socket: Rc<telamon_runtime::Listener>,
    fd: Arc<OwnedFd>,
    task: JoinHandle<()>,
}

/// A listening socket that a worker is to accept from, under the configuration it comes with.
#[derive(Debug, Clone)]
pub(crate) struct Assigned {
    pub(crate) listener: Arc<Listener>,
    pub(crate) fd: Arc<OwnedFd>,
}

/// A client connection that waits for its next request without a task of its own.
#[derive(Debug)]
pub(crate) struct ParkedClient {
    session: Rc<Session>,
    requests: u32,
    /// It keeps a worker that finishes alive (`option idle-close-on-response`).
    hold: Option<telamon_runtime::workers::Hold>,
}

impl Worker {
    /// Begins the worker's own chores: idle server connections are cleaned, parked clients watched.
    pub(crate) fn begin(self: &Rc<Self>) -> std::io::Result<()> {
        let weak = Rc::downgrade(self);
        let parking = Parking::start(self.thread.wheel(), move |unparked| {
            if let Some(worker) = weak.upgrade() {
                worker.unpark(unparked);
            }
        })?;
        let _ = self.parking.set(parking);
        let weak = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(upstream::CLEAN_EVERY).await;
                let Some(worker) = weak.upgrade() else { return };
                worker.touch_wall();
                worker.idle.clean(worker.index(), worker.now());
                if worker.parked.get() >= PARKED_MANY {
                    worker.parked.set(0);
                    worker.drop_spares();
                    telamon_runtime::memory::give_back();
                }
            }
        });
        Ok(())
    }

    /// Puts a configuration and its listening sockets in force: what is there stays open, what is new is opened, what
    /// is gone is closed once its queue is empty.
    pub(crate) fn adopt(self: &Rc<Self>, snapshot: Arc<Snapshot>, sockets: &[Assigned]) {
        self.set_snapshot(snapshot);
        let mut before = std::mem::take(&mut *self.accepting.borrow_mut());
        self.held.borrow_mut().clear();
        let mut paused = Vec::new();
        for assigned in sockets {
            let key = assigned.listener.bind.key();
            if self.is_held(&assigned.listener) {
                if let Some(accepting) = before.remove(&key) {
                    // Told to pause, but not yet here.
                    let accepting = self.go_on(accepting, &assigned.listener);
                    self.accepting.borrow_mut().insert(key, accepting);
                    paused.push(Arc::clone(&assigned.listener.proxy_name));
                    continue;
                }
                self.held.borrow_mut().insert(key, assigned.clone());
                continue;
            }
            let accepting = match before.remove(&key) {
                Some(accepting) => self.go_on(accepting, &assigned.listener),
                None => match self.accept_from(assigned) {
                    Ok(accepting) => accepting,
                    Err(error) => {
                        let name = &assigned.listener.name;
                        crate::log::alert(format_args!("cannot accept on {name}: {error}"));
                        continue;
                    }
                },
            };
            self.accepting.borrow_mut().insert(key, accepting);
        }
        for accepting in before.into_values() {
            self.close(accepting);
        }
        paused.iter().for_each(|frontend| self.hold(frontend));
    }

    /// Stops accepting: those already queued are let in, then the sockets are closed. `done` is dropped once they are.
    pub(crate) fn stop_accepting(self: &Rc<Self>, done: mpsc::Sender<Infallible>) {
        self.finishing.set(true);
        let accepting = std::mem::take(&mut *self.accepting.borrow_mut());
        let closing: Vec<_> = accepting.into_values().map(|one| self.close(one)).collect();
        self.thread.spawn(async move {
            for closed in closing {
                // One that panicked has closed as well.
                let _ = closed.await;
            }
            drop(done);
        });
        if let Some(parking) = self.parking.get() {
            // They are between two requests. Where clients take a close at this moment for an answer that is lost,
            // `option idle-close-on-response` lets them ask once more.
            drop(parking.take(|parked| parked.hold.is_none()));
        }
        // Connections that carry several streams tell their clients to ask elsewhere.
        self.live.wake_all();
    }

    /// Lets the frontend's sockets refuse connections, without giving up their addresses.
    pub(crate) fn hold(self: &Rc<Self>, frontend: &str) {
        let of_frontend = |_: &BindKey, accepting: &mut Accepting| {
            *accepting.listener.borrow().proxy_name == *frontend
        };
        let held: Vec<_> = self.accepting.borrow_mut().extract_if(of_frontend).collect();
        for (key, accepting) in held {
            let listener = accepting.listener.borrow().clone();
            let fd = Arc::clone(&accepting.fd);
            accepting.task.abort();
            self.let_in(&accepting.listener, &accepting.socket);
            // Where the kernel knows no such thing (Unix sockets), connections wait in its queue instead.
            let _ = rustix::net::shutdown(&fd, rustix::net::Shutdown::Read);
            self.held.borrow_mut().insert(key, Assigned { listener, fd });
        }
    }

    /// Accepts again on what [`Worker::hold`] let rest.
    pub(crate) fn resume(self: &Rc<Self>, frontend: &str) {
        let of_frontend = |_: &BindKey, held: &mut Assigned| *held.listener.proxy_name == *frontend;
        let held: Vec<_> = self.held.borrow_mut().extract_if(of_frontend).collect();
        for (key, Assigned { listener, fd }) in held {
            let name = listener.name.clone();
            match self.listen_again(listener, &fd) {
                Ok(accepting) => _ = self.accepting.borrow_mut().insert(key, accepting),
                Err(error) => {
                    crate::log::alert(format_args!("cannot accept on {name} again: {error}"));
                }
            }
        }
    }

    fn listen_again(
        self: &Rc<Self>,
        listener: Arc<Listener>,
        fd: &OwnedFd,
    ) -> std::io::Result<Accepting> {
        let backlog = i32::try_from(listener.bind.backlog).unwrap_or(i32::MAX);
        rustix::net::listen(fd, backlog)?;
        // Another descriptor of the same socket: the reactor remembers that the old one was shut down.
        let fd = Arc::new(fd.try_clone()?);
        self.accept_from(&Assigned { listener, fd })
    }

    /// Whether the listener's frontend is paused or was shut down.
    fn is_held(&self, listener: &Listener) -> bool {
        let snapshot = self.snapshot();
        let state = &snapshot.proxy(listener.frontend).state.frontend;
        state.paused.load(Relaxed) || state.stopped.load(Relaxed)
    }

    /// Lets in those who are queued and closes the socket right behind the last of them.
    ///
    /// The accepting task keeps the socket open until it has ended: whoever came between an earlier look
    /// into the queue and that end would be reset.
    fn close(self: &Rc<Self>, accepting: Accepting) -> JoinHandle<()> {
        let worker = Rc::clone(self);
        self.thread.spawn(async move {
            let Accepting { listener, socket, fd, task, .. } = accepting;
            task.abort();
            // It was aborted, or had ended by itself.
            let _ = task.await;
            worker.let_in(&listener, &socket);
            drop((socket, fd));
        })
    }

    fn let_in(
        self: &Rc<Self>,
        listener: &RefCell<Arc<Listener>>,
        socket: &telamon_runtime::Listener,
    ) {
        let listener = listener.borrow().clone();
        // An error means the socket is broken, and with it whatever was queued.
        let _ = socket.drain(|accepted| self.accepted(&listener, accepted));
    }

    fn accept_from(self: &Rc<Self>, assigned: &Assigned) -> std::io::Result<Accepting> {
        let socket = Rc::new(telamon_runtime::Listener::new(Arc::clone(&assigned.fd))?);
        let listener = Rc::new(RefCell::new(Arc::clone(&assigned.listener)));
        let fd = Arc::clone(&assigned.fd);
        let states = self.states_of(&assigned.listener);
        let task = self.start_accepting(&socket, &listener);
        Ok(Accepting { listener, states, socket, fd, task })
    }

    /// Goes on accepting under a new configuration.
    fn go_on(self: &Rc<Self>, mut accepting: Accepting, listener: &Arc<Listener>) -> Accepting {
        accepting.listener.replace(Arc::clone(listener));
        let states = self.states_of(listener);
        let same = Arc::ptr_eq(&states.0, &accepting.states.0)
            && Arc::ptr_eq(&states.1, &accepting.states.1);
        if !same {
            // Another frontend has the address now, with limits of its own.
            accepting.task.abort();
            accepting.task = self.start_accepting(&accepting.socket, &accepting.listener);
            accepting.states = states;
        }
        accepting
    }

    fn states_of(&self, listener: &Listener) -> (Arc<ProxyState>, Arc<ListenerState>) {
        let frontend = Arc::clone(&self.snapshot().proxy(listener.frontend).state);
        (frontend, Arc::clone(&listener.state))
    }

    fn start_accepting(
        self: &Rc<Self>,
        socket: &Rc<telamon_runtime::Listener>,
        listener: &Rc<RefCell<Arc<Listener>>>,
    ) -> JoinHandle<()> {
        let (worker, socket, listener) = (Rc::clone(self), Rc::clone(socket), Rc::clone(listener));
        let alone = !listener.borrow().bind.is_per_worker() && self.shared.workers > 1;
        let task = async move { worker.accept_for_ever(&socket, &listener, alone).await };
        tokio::task::spawn_local(task)
    }

    /// What `maxconnrate`, `maxsessrate` and `rate-limit sessions` say to another connection.
    fn pace(&self, listener: &Listener) -> Pace {
        let snapshot = self.snapshot();
        let Some(proxy) = snapshot.proxies.get(listener.frontend.0 as usize) else {
            return Pace::Free;
        };
        let rate_limit = proxy.frontend.as_ref().map_or(0, |frontend| frontend.rate_limit_sessions);
        let limits = [
            (self.shared.rate_limits.connections.load(Relaxed), &self.shared.connection_rate),
            (self.shared.rate_limits.sessions.load(Relaxed), &self.shared.session_rate),
            (rate_limit, &proxy.state.frontend.session_rate),
        ];
        if limits.iter().all(|(limit, _)| *limit == 0) {
            return Pace::Free;
        }
        self.touch();
        let now = self.now_ms() as u32;
        let waits = limits.iter().filter(|(limit, _)| *limit > 0);
        match waits.filter_map(|(limit, rate)| rate.wait_ms(*limit, now)).max() {
            Some(wait) => Pace::Rest(Duration::from_millis(wait.into())),
            None => Pace::One,
        }
    }

    async fn accept_for_ever(
        self: &Rc<Self>,
        socket: &telamon_runtime::Listener,
        listener: &RefCell<Arc<Listener>>,
        alone: bool,
    ) {
        let current = listener.borrow().clone();
        let snapshot = self.snapshot();
        let proxy = snapshot.proxy(current.frontend);
        let limits: [Limit; 3] = [
            self.shared.connections.clone(),
            proxy.state.frontend.limit.clone(),
            current.state.limit.clone(),
        ];
        drop((current, snapshot));
        let pace = || self.pace(&listener.borrow());
        let sink = |accepted: Accepted| {
            let listener = listener.borrow().clone();
            let peers = self.thread.peers();
            let target = if alone { peers.least_loaded() } else { self.index() };
            if target == self.index() {
                self.accepted(&listener, accepted);
                return;
            }
            // A worker whose mailbox is full loses the connection with the mail: it is closed like one that overflowed
            // the kernel's own queue.
            let _ =
                peers.send(target, move |worker: &Rc<Self>| worker.accepted(&listener, accepted));
        };
        let starved = |failure: AcceptFailure| {
            crate::log::alert(format_args!("accepting rests: {failure}"));
        };
        if let Err(error) = socket.run(&limits, ACCEPT_BATCH, pace, sink, starved).await {
            let name = listener.borrow().name.clone();
            crate::log::alert(format_args!("listener {name} stops: {error}"));
        }
    }

    fn accepted(self: &Rc<Self>, listener: &Arc<Listener>, accepted: Accepted) {
        let worker = Rc::clone(self);
        let listener = Arc::clone(listener);
        self.thread.spawn(async move {
            let (socket, peer, permits) = accepted.into_socket();
            worker.session(listener, socket, peer, permits).await;
        });
    }

    async fn session(
        self: &Rc<Self>,
        listener: Arc<Listener>,
        mut socket: Socket,
        peer: Endpoint,
        permits: telamon_runtime::listener::Permits,
    ) {
        let snapshot = self.snapshot();
        let Some(frontend) = Self::frontend_of(&snapshot, &listener) else { return };
        let proxy = snapshot.proxy(frontend);
        let session = Rc::new(Session {
            worker: Rc::clone(self),
            connection: None,
            client: std::os::fd::AsRawFd::as_raw_fd(&socket),
            snapshot: snapshot.clone(),
            frontend,
            src: RefCell::new(unmapped(peer)),
            dst: RefCell::new(unmapped(local_of(&listener, &socket))),
            connection_addresses: OnceCell::new(),
            expects_proxy: Cell::new(listener.accept_proxy),
            proxy_header: OnceCell::new(),
            tls: OnceCell::new(),
            error: Cell::default(),
            handshake_ms: Cell::default(),
            accepted: self.touch(),
            accepted_at: self.wall(self.now()),
            vars: RefCell::default(),
            id: self.session_id(),
            last_server: RefCell::default(),
            places: Places {
                permits,
                frontend: Some(InFrontend::enter(self, &snapshot, &listener)),
            },
            tracking: Default::default(),
            live: Live::default(),
            listener,
        });
        self.live.add(&session);
        let rules = &proxy.rules;
        let admitted = passes(&session, &socket, &rules.tcp_request_connection, Counter::DeniedConnections)
            // Boxed: it would make the future of every connection larger.
            && (!session.expects_proxy.get() || Box::pin(proxy_protocol::receive(&session, &socket)).await);
        if !admitted {
            return;
        }
        if let Some(acceptor) = &session.listener.tls
            && !Box::pin(tls::accept(&session, &mut socket, acceptor)).await
        {
            return;
        }
        if session.expects_proxy.get() || session.listener.tls.is_some() {
            session.handshake_ms.set(millis(self.now().ms_since(session.accepted)));
        }
        account::session_begins(self, proxy);
        if !passes(&session, &socket, &rules.tcp_request_session, Counter::DeniedSessions) {
            return;
        }
        tracking::session_begins(&session);
        match proxy.mode {
            // Boxed: it would make the future of every HTTP connection larger.
            Mode::Http if http::http2::is_spoken(&session) => {
                Box::pin(http::http2::serve(session, socket, Vec::new())).await;
            }
            Mode::Http => http::serve(session, socket, 0).await,
            // Boxed: it would make the future of every HTTP connection larger.
            Mode::Tcp => Box::pin(tcp::serve(session, socket)).await,
        }
    }

    /// The listener's frontend in the configuration that is current: it may have been reloaded since the accept.
    fn frontend_of(snapshot: &SnapshotRef, listener: &Listener) -> Option<crate::model::ProxyId> {
        let id = listener.frontend;
        let still = snapshot.proxies.get(id.0 as usize)?.frontend.as_ref()?;
        if still.listeners.iter().any(|other| std::ptr::eq(&**other, listener)) {
            return Some(id);
        }
        snapshot.frontend(&listener.proxy_name)
    }

    fn unpark(self: &Rc<Self>, unparked: Unparked<ParkedClient>) {
        if unparked.expired {
            return;
        }
        let (socket, ParkedClient { session, requests, .. }) = unparked.into_socket();
        self.touch();
        self.thread.spawn(http::serve(session, socket, requests));
    }
}

/// Lets go of the task of an idle client until bytes come.
pub(crate) fn park(session: Rc<Session>, socket: Socket, requests: u32, until: Option<Moment>) {
    let worker = Rc::clone(&session.worker);
    let snapshot = worker.snapshot();
    let patient = Worker::frontend_of(&snapshot, &session.listener)
        .is_some_and(|id| snapshot.proxy(id).options.idle_close_on_response);
    if worker.finishing.get() && !patient {
        return;
    }
    let hold = patient.then(|| worker.thread.hold());
    if let Some(parking) = worker.parking.get() {
        worker.parked.set(worker.parked.get().saturating_add(1));
        let after = until.map(|until| until.since(Moment::now()));
        // One that cannot be parked is closed, as an idle connection may be at any time.
        let _ = parking.park(socket, ParkedClient { session, requests, hold }, after);
    }
}

/// Whether `tcp-request connection` or `session` rules let the client in.
fn passes(session: &Session, socket: &Socket, rules: &[TcpRequestRule], denied: Counter) -> bool {
    if rules.is_empty() {
        return true;
    }
    let Verdict::Close { silent } = rules::run_tcp_request_session(rules, session) else {
        return true;
    };
    let frontend = &session.snapshot.proxy(session.frontend).state.frontend;
    frontend.counters.add(session.worker.index(), denied, 1);
    if silent {
        let _ = socket.set_unheard();
    }
    false
}

/// The address that the client connected to. The kernel is asked only where the listener does not say it.
fn local_of(listener: &Listener, socket: &Socket) -> Endpoint {
    match &listener.bind.address {
        BindAddress::Inet(address)
            if !address.ip().is_unspecified()
                && address.port() != 0
                && !listener.bind.transparent =>
        {
            Endpoint::Inet(*address)
        }
        _ => socket.local().unwrap_or(Endpoint::Unnamed),
    }
}

/// An IPv4 client on a dual-stack socket is an IPv4 client.
pub(crate) fn unmapped(endpoint: Endpoint) -> Endpoint {
    match endpoint {
        Endpoint::Inet(address) => {
            Endpoint::Inet(std::net::SocketAddr::new(address.ip().to_canonical(), address.port()))
        }
        other => other,
    }
}

/// Clients parked since it was done last that make it worth while to give memory back to the system.
const PARKED_MANY: u32 = 256;
/// Connections accepted before other tasks get their turn.
const ACCEPT_BATCH: usize = 16;
