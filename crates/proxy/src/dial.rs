//! Getting a stream to a server: slot, connection, and what happens when there is none.
//!
//! [`Dial::next`] is called again when a connection turned out dead; retries and redispatches are counted over all
//! calls. Source: HAProxy configuration manual, `retries`, `option redispatch`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use telamon_balance::health::Sign;
use telamon_balance::{Ending, MemberId, Pinned, Run};
use telamon_runtime::wheel::Deadline;

use crate::account;
use crate::aside::aside;
use crate::learn;
use crate::model::{Backend, Proxy, ProxyId, RetryOn, Server, ServerId};
use crate::side::Side;
use crate::stream::{Cause, Phase, Stream};
use crate::tls::Unreached;
use crate::upstream::{self, Later, NoSlot, ServerConnection, Slot, Way};

/// The attempts of one stream to reach a server.
#[derive(Debug)]
pub(crate) struct Dial<'p> {
    pub(crate) proxy: &'p Proxy,
    pub(crate) backend: &'p Backend,
    /// Servers that failed it.
    tried: Vec<MemberId>,
    /// The server that it was sent away from, while the next is looked for.
    left: Option<ServerId>,
    /// The slot to use again: the same server is tried once more.
    same: Option<Slot>,
    /// The attempt that is planned goes to another server.
    elsewhere: bool,
    /// Connections may be reused (`mode http`).
    pub(crate) reuse: Option<Reuse>,
}

/// Which connections a request may reuse.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reuse {
    /// It is its client's first request.
    pub(crate) first: bool,
    /// It must not be lost: the connection is probed before use.
    pub(crate) sure: bool,
    /// Its client has a server connection of its own.
    pub(crate) attached: bool,
    /// That connection is known to this server by its user's login: it is used again whatever the options say.
    pub(crate) bound: Option<ServerId>,
}

/// A server is reached.
#[derive(Debug)]
pub(crate) struct Dialed {
    pub(crate) slot: Slot,
    /// `None` when the server's line says `redir`: the client is to go there itself.
    pub(crate) connection: Option<Box<ServerConnection>>,
}

/// No server is reached, as the log says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undialed {
    pub(crate) cause: Cause,
    pub(crate) phase: Phase,
}

/// What has to be waited for.
enum HeldUp {
    Slot(Option<Pinned>, Later),
    Connection(Slot, Way),
    /// The slot is one of a server that is not there.
    Lost,
}

/// The server connection that belongs to one client alone: `http-reuse never`, no choice among servers, or a login that the
/// server knows by the connection.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) backend: ProxyId,
    pub(crate) server: Option<ServerId>,
    pub(crate) connection: Box<ServerConnection>,
}

impl<'p> Dial<'p> {
    pub(crate) fn new(proxy: &'p Proxy, backend: &'p Backend) -> Self {
        Self {
            proxy,
            backend,
            tried: Vec::new(),
            left: None,
            same: None,
            elsewhere: false,
            reuse: None,
        }
    }

    /// Reaches a server, by way of the queue and of other servers if need be.
    ///
    /// `client` is watched for a close under `option abortonclose`; `deadline` is used for the waits.
    pub(crate) async fn next(
        &mut self,
        client: &Side,
        deadline: &Deadline,
        attached: &mut Option<Attached>,
        stream: &mut Stream,
    ) -> Result<Dialed, Undialed> {
        match self.now(attached, stream) {
            Ok(dialed) => Ok(dialed),
            Err(held_up) => aside(self.later(client, deadline, attached, stream, held_up)).await,
        }
    }

    /// Reaches a server if neither a slot nor a connection has to be waited for.
    fn now(
        &mut self,
        attached: &mut Option<Attached>,
        stream: &mut Stream,
    ) -> Result<Dialed, HeldUp> {
        if let Some(slot) = self.same.take() {
            slot.watch(&stream.session.worker);
            return self.connected_now(attached, stream, slot);
        }
        match self.slot_now(stream) {
            Ok(slot) => {
                self.chosen(stream, slot.server());
                self.connected_now(attached, stream, slot)
            }
            Err((pinned, later)) => Err(HeldUp::Slot(pinned, later)),
        }
    }

    /// Waits for what was not there at once, as often as it takes.
    async fn later(
        &mut self,
        client: &Side,
        deadline: &Deadline,
        attached: &mut Option<Attached>,
        stream: &mut Stream,
        mut held_up: HeldUp,
    ) -> Result<Dialed, Undialed> {
        loop {
            let (slot, way) = match held_up {
                HeldUp::Slot(pinned, later) => {
                    let slot = match self.slot(client, stream, pinned, later).await {
                        Ok(slot) => slot,
                        Err(undialed) => {
                            self.moved(stream, stream.server);
                            return Err(undialed);
                        }
                    };
                    self.chosen(stream, slot.server());
                    match self.connected_now(attached, stream, slot) {
                        Ok(dialed) => return Ok(dialed),
                        Err(still) => {
                            held_up = still;
                            continue;
                        }
                    }
                }
                HeldUp::Connection(slot, way) => (slot, way),
                HeldUp::Lost => {
                    return Err(Undialed { cause: Cause::Internal, phase: Phase::Connect });
                }
            };
            let Some(server) = self.backend.reached(slot.server()) else {
                held_up = HeldUp::Lost;
                continue;
            };
            let failure = match self.connect(client, deadline, stream, server, &way).await {
                Ok(connection) => return Ok(self.connected(stream, server, slot, connection)),
                Err(failure) => failure,
            };
            if let Some(failure) = self.failed(client, stream, server, slot, failure).await {
                return Err(failure);
            }
            held_up = match self.now(attached, stream) {
                Ok(dialed) => return Ok(dialed),
                Err(held_up) => held_up,
            };
        }
    }

    /// A slot was found, on this server.
    fn chosen(&mut self, stream: &mut Stream, server: Option<ServerId>) {
        self.moved(stream, server);
        stream.log.queued(stream.session.worker.now());
    }

    /// Goes over a connection that is there.
    fn connected_now(
        &mut self,
        attached: &mut Option<Attached>,
        stream: &mut Stream,
        slot: Slot,
    ) -> Result<Dialed, HeldUp> {
        let Some(server) = self.backend.reached(slot.server()) else { return Err(HeldUp::Lost) };
        stream.server = slot.server();
        if server.redir.is_some() && self.reuse.is_some() {
            account::assigned(stream, self.proxy, server);
            return Ok(Dialed { slot, connection: None });
        }
        let mut way = Way::new(stream, server);
        if self.reuse.is_some() {
            way.speech = server.speech(&stream.request);
        }
        match self.standing(attached, stream, server, &way) {
            Some(connection) => Ok(self.connected(stream, server, slot, connection)),
            None => Err(HeldUp::Connection(slot, way)),
        }
    }

    /// Notes that the server is reached.
    fn connected(
        &self,
        stream: &mut Stream,
        server: &Server,
        slot: Slot,
        connection: Box<ServerConnection>,
    ) -> Dialed {
        learn::note(stream, server, Sign::Connected, true);
        stream.log.connected(stream.session.worker.now());
        crate::log::note_server(stream, &connection);
        stream.log.server_tls.clone_from(&connection.tls);
        if self.proxy.options.prefer_last_server {
            stream.session.root().last_server.replace(Some(Arc::clone(&server.state)));
        }
        account::assigned(stream, self.proxy, server);
        Dialed { slot, connection: Some(connection) }
    }

    /// Looks at an attempt that has failed: begins the next one, or gives up.
    async fn failed(
        &mut self,
        client: &Side,
        stream: &mut Stream,
        server: &Server,
        slot: Slot,
        failure: Undialed,
    ) -> Option<Undialed> {
        if failure.cause == Cause::Client {
            return Some(failure);
        }
        slot.learn(Ending::Failed);
        learn::note(stream, server, Sign::NotConnected, true);
        if !self.backend.retry_on.has(RetryOn::CONNECTION) || !self.plan(stream, server) {
            account::connect_given_up(stream, self.proxy, server);
            return Some(failure);
        }
        let waits = !self.elsewhere && failure.cause == Cause::Server;
        self.go_on(stream, slot);
        if waits {
            tokio::select! {
                () = turn_around(self.proxy) => {}
                undialed = self.client_gone(client) => return Some(undialed),
            }
            stream.session.worker.touch();
        }
        None
    }

    /// Plans to send a request again that a server may have seen; false when no attempt is left. [`Dial::go_on`] begins
    /// it.
    pub(crate) fn replay(&mut self, stream: &mut Stream, server: &Server) -> bool {
        let planned = self.plan(stream, server);
        if planned {
            // HAProxy counts it once for itself and once for where it goes.
            account::retried(stream, self.proxy, server);
        }
        planned
    }

    /// Begins the attempt that was planned: with the slot, or without it on another server.
    pub(crate) fn go_on(&mut self, stream: &mut Stream, slot: Slot) {
        if std::mem::take(&mut self.elsewhere) {
            self.left = slot.server();
            self.tried.extend(self.left.map(|server| MemberId(server.0)));
            stream.persistence.give_up();
        } else {
            self.same = Some(slot);
        }
    }

    /// Counts one more attempt and says where it goes; false when `retries` or the budget leave none.
    fn plan(&mut self, stream: &mut Stream, server: &Server) -> bool {
        if stream.log.retries >= self.backend.retries
            || !account::within_retry_budget(stream, self.proxy, self.backend)
        {
            return false;
        }
        stream.log.retries += 1;
        self.elsewhere = self.redispatches(stream, server);
        if !self.elsewhere {
            account::retried(stream, self.proxy, server);
        }
        true
    }

    /// Counts a stream that has another server than it had, or the same once more.
    fn moved(&mut self, stream: &mut Stream, now: Option<ServerId>) {
        let bound = stream.persistence.server();
        let Some(before) = self.left.or(bound) else { return };
        let Some(server) = self.backend.reached(Some(before)) else { return };
        if now != Some(before) {
            account::redispatched(stream, self.proxy, server);
            stream.persistence.moved();
        } else if self.left.is_some() {
            account::retried(stream, self.proxy, server);
        }
        self.left = None;
    }

    /// Waits for the client to leave, where that ends the attempt (`option abortonclose`).
    async fn client_gone(&self, client: &Side) -> Undialed {
        // A stream that was reset needs no server whatever the options say.
        if self.proxy.options.abortonclose || client.stream().is_some() {
            client.gone().await;
        } else {
            std::future::pending::<()>().await;
        }
        Undialed { cause: Cause::Client, phase: Phase::Connect }
    }

    /// A slot from the pool, if one is free; else what it is asked for again, and how.
    fn slot_now(&self, stream: &Stream) -> Result<Slot, (Option<Pinned>, Later)> {
        let bound = stream.persistence.pinned(self.proxy);
        let pinned = bound
            .or_else(|| self.last_server(stream))
            .filter(|pinned| !self.tried.contains(&pinned.member));
        if self.backend.direct.is_some() && pinned.is_none() {
            return Ok(Slot::direct(stream));
        }
        upstream::take_slot(stream, &self.tried, pinned).map_err(|later| (pinned, later))
    }

    /// A slot from the queue, or from another server's part of the pool.
    async fn slot(
        &mut self,
        client: &Side,
        stream: &mut Stream,
        pinned: Option<Pinned>,
        later: Later,
    ) -> Result<Slot, Undialed> {
        let gone = async {
            self.client_gone(client).await;
        };
        let mut taken = upstream::wait_for_slot(stream, &self.tried, pinned, later, gone).await;
        if let Err(NoSlot::QueueFull(_)) = taken
            && self.backend.redispatch != 0
            && !stream.persistence.is_forced()
            && let Some(bound) = stream.persistence.server()
        {
            // Its server's own queue is full, or it is at its limit; others may have room.
            self.left = Some(bound);
            stream.persistence.give_up();
            let gone = async {
                self.client_gone(client).await;
            };
            taken = match upstream::take_slot(stream, &self.tried, None) {
                Ok(slot) => Ok(slot),
                Err(later) => upstream::wait_for_slot(stream, &self.tried, None, later, gone).await,
            };
        }
        let failure = match taken {
            Ok(slot) => return Ok(slot),
            Err(failure) => failure,
        };
        stream.server = match failure {
            NoSlot::NoServer => None,
            NoSlot::QueueFull(of) | NoSlot::QueueTimeout(of) | NoSlot::ClientGone(of) => of,
        };
        let server = self.backend.reached(stream.server);
        Err(match failure {
            NoSlot::NoServer => {
                stream.log.queue_failed();
                Undialed { cause: Cause::Server, phase: Phase::Connect }
            }
            NoSlot::QueueFull(_) => {
                account::queue_refused(stream, self.proxy, server);
                Undialed { cause: Cause::Server, phase: Phase::Queue }
            }
            NoSlot::QueueTimeout(_) => {
                account::queue_refused(stream, self.proxy, server);
                stream.log.queued(stream.session.worker.now());
                Undialed { cause: Cause::ServerTimeout, phase: Phase::Queue }
            }
            NoSlot::ClientGone(_) => {
                stream.log.queued(stream.session.worker.now());
                Undialed { cause: Cause::Client, phase: Phase::Queue }
            }
        })
    }

    /// The server of the client's last request, under `option prefer-last-server`: while it takes work, a connection to
    /// it is there, and no more than `max-keep-alive-queue` wait for it.
    fn last_server(&self, stream: &Stream) -> Option<Pinned> {
        if let Some(ServerId(index)) = self.reuse.and_then(|reuse| reuse.bound)
            && let Some(server) = self.backend.servers.get(index as usize)
            && server.state.member.status().takes_new()
        {
            return Some(Pinned { member: MemberId(index), force: false });
        }
        if !self.proxy.options.prefer_last_server || self.backend.balance.is_keyed() {
            return None;
        }
        let last = stream.session.root().last_server.borrow();
        let last = last.as_ref()?;
        let member = &last.member;
        let server = self.backend.servers.iter().find(|s| Arc::ptr_eq(&s.state, last))?;
        let id = MemberId(server.index);
        let connected = self.reuse?.attached || last.idle.load(Relaxed) > 0;
        let pool = &self.backend.pool;
        let has_room = || pool.limit(id).is_none_or(|limit| member.load.current() < limit);
        let short = self
            .backend
            .max_keep_alive_queue
            .is_none_or(|most| has_room() || member.load.queued() < most);
        (connected && short && member.status().takes_new())
            .then_some(Pinned { member: id, force: false })
    }

    /// The client's own or an idle connection to the server.
    fn standing(
        &self,
        attached: &mut Option<Attached>,
        stream: &Stream,
        server: &Server,
        way: &Way,
    ) -> Option<Box<ServerConnection>> {
        let reuse = self.reuse?;
        let connection = match attached.take() {
            Some(Attached { backend, server: at, connection })
                if backend == stream.backend
                    && at == stream.server
                    && way.leads_to(&connection)
                    && connection.is_quiet() =>
            {
                match &connection.carried {
                    None => connection,
                    Some(carried) => carried.next(server, stream)?,
                }
            }
            _ if upstream::is_private(self.backend, stream.server) => return None,
            _ => {
                let worker = &stream.session.worker;
                upstream::take_idle(worker, server, self.backend.reuse, reuse, way)?
            }
        };
        account::reused(stream, self.proxy, server);
        Some(connection)
    }

    /// A new connection to the server.
    async fn connect(
        &self,
        client: &Side,
        deadline: &Deadline,
        stream: &mut Stream,
        server: &Server,
        way: &Way,
    ) -> Result<Box<ServerConnection>, Undialed> {
        let worker = Rc::clone(&stream.session.worker);
        deadline.arm_optional_from(worker.now(), self.proxy.timeouts.connect);
        let phase = Phase::Connect;
        let has_data = self.reuse.is_some() || !stream.request.remaining().is_empty();
        let shared = !upstream::is_private(self.backend, stream.server);
        let opened = upstream::open(&worker, &stream.session, server, way, has_data, shared);
        let opened = tokio::select! {
            biased;
            opened = deadline.guard(opened) => opened,
            undialed = self.client_gone(client) => return Err(undialed),
        };
        worker.touch();
        match opened {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(unreached)) => {
                if let Unreached::Tls(failure) = unreached {
                    stream.log.server_error = failure.error;
                    stream.log.server_tls = Some(Arc::new(failure.handshake()));
                }
                Err(Undialed { cause: Cause::Server, phase })
            }
            Err(_) => Err(Undialed { cause: Cause::ServerTimeout, phase }),
        }
    }

    /// Whether the next attempt may go to another server.
    fn redispatches(&self, stream: &Stream, server: &Server) -> bool {
        let interval = self.backend.redispatch;
        if interval == 0 || stream.server.is_none() || stream.persistence.is_forced() {
            return false;
        }
        let retries = stream.log.retries;
        let due = if interval > 0 {
            retries.is_multiple_of(interval.unsigned_abs())
        } else {
            let period = (self.backend.retries + 1).saturating_sub(interval.unsigned_abs());
            period == 0 || retries.is_multiple_of(period)
        };
        let member = &server.state.member;
        due || !member.is_reachable()
            || member.status().run == Run::Starting
            || (stream.persistence.server().is_none()
                && self.backend.pool.usable().0 > 1
                && !self.backend.balance.is_keyed())
    }
}

/// The pause before the same server is tried again: a second, or `timeout connect` if that is less.
async fn turn_around(proxy: &Proxy) {
    let second = std::time::Duration::from_secs(1);
    tokio::time::sleep(proxy.timeouts.connect.map_or(second, |timeout| timeout.min(second))).await;
}
