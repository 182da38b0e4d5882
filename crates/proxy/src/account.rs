//! Counting: what HAProxy's statistics count, at the moments when it counts.
//!
//! Monotone counters are the worker's own (one plain store each); load, peaks and rates are shared and exact.
//! What goes wrong is marked as cold: the code of those who count it then stands apart from what every request runs.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use telamon_balance::{Counter, Counters, PerWorker, Retry, RetryBudget};

use crate::log::Level;
use crate::model::{Backend, Proxy, Server};
use crate::snapshot::SnapshotRef;
use crate::state::{ListenerState, ProxyState};
use crate::stream::{Cause, Stream};
use crate::tracking;
use crate::worker::Worker;

/// A request has been read.
pub(crate) fn request(stream: &Stream, frontend: &Proxy) {
    let worker = &stream.session.worker;
    count_frontend(stream, frontend, Counter::Requests, 1);
    frontend.state.frontend.request_rate.add(1, worker.now_ms() as u32);
    worker.shared.counters.add(worker.index(), Counter::Requests, 1);
    tracking::request(stream);
}

pub(crate) fn count_frontend(stream: &Stream, frontend: &Proxy, counter: Counter, amount: u64) {
    let worker = stream.session.worker.index();
    frontend.state.frontend.counters.add(worker, counter, amount);
    if frontend.options.socket_stats {
        stream.session.listener.state.counters.add(worker, counter, amount);
    }
}

/// Counts for the stream's own frontend.
pub(crate) fn count_frontend_of(stream: &Stream, counter: Counter, amount: u64) {
    let snapshot = &stream.snapshot;
    count_frontend(stream, snapshot.proxy(stream.frontend), counter, amount);
}

fn count_backend(stream: &Stream, backend: &Proxy, counter: Counter, amount: u64) {
    backend.state.backend.counters.add(stream.session.worker.index(), counter, amount);
}

fn count_server(stream: &Stream, server: &Server, counter: Counter, amount: u64) {
    server.state.member.counters.add(stream.session.worker.index(), counter, amount);
}

/// A stream inside a backend; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct InBackend {
    snapshot: SnapshotRef,
    backend: crate::model::ProxyId,
}

impl Drop for InBackend {
    fn drop(&mut self) {
        let proxy = self.snapshot.proxy(self.backend);
        proxy.state.backend.load.leave();
        if let Some(backend) = &proxy.backend {
            backend.pool.load().leave();
        }
    }
}

/// The stream has reached its backend.
pub(crate) fn enter_backend(stream: &mut Stream, backend: &Backend) -> InBackend {
    stream.backend_reached = true;
    let proxy = stream.snapshot.proxy(stream.backend);
    stream.session.live.reach(stream.backend, None);
    proxy.state.backend.load.enter();
    backend.pool.load().enter();
    count_backend(stream, proxy, Counter::Sessions, 1);
    count_backend(stream, proxy, Counter::Requests, 1);
    proxy.state.backend.session_rate.add(1, stream.session.worker.now_ms() as u32);
    InBackend { snapshot: stream.snapshot.clone(), backend: stream.backend }
}

/// The stream has a connection to a server and goes over it.
pub(crate) fn assigned(stream: &Stream, proxy: &Proxy, server: &Server) {
    stream.session.live.reach(stream.backend, stream.server);
    if let Some(counters) = server.state.member.counters.get(stream.session.worker.index()) {
        for counter in [Counter::Sessions, Counter::Requests, Counter::Balanced] {
            counters.add(counter, 1);
        }
    }
    count_backend(stream, proxy, Counter::Balanced, 1);
    server.state.member.rate.add(1, stream.session.worker.now_ms() as u32);
    let now = stream.session.worker.unix_seconds();
    server.state.last_session.store(now, Relaxed);
    proxy.state.backend.last_session.store(now, Relaxed);
}

/// An idle connection is used again.
pub(crate) fn reused(stream: &Stream, backend: &Proxy, server: &Server) {
    count_server(stream, server, Counter::Reuses, 1);
    count_backend(stream, backend, Counter::Reuses, 1);
}

/// No more tries.
#[cold]
pub(crate) fn connect_given_up(stream: &Stream, proxy: &Proxy, server: &Server) {
    count_server(stream, server, Counter::FailedConnections, 1);
    count_backend(stream, proxy, Counter::FailedConnections, 1);
}

/// The same server is tried again.
#[cold]
pub(crate) fn retried(stream: &Stream, proxy: &Proxy, server: &Server) {
    count_server(stream, server, Counter::Retries, 1);
    count_backend(stream, proxy, Counter::Retries, 1);
}

/// Another server is tried.
#[cold]
pub(crate) fn redispatched(stream: &mut Stream, proxy: &Proxy, server: &Server) {
    stream.log.redispatched = true;
    count_server(stream, server, Counter::Redispatches, 1);
    count_backend(stream, proxy, Counter::Redispatches, 1);
}

/// Whether the backend's retry budget has one left; takes it.
pub(crate) fn within_retry_budget(stream: &Stream, proxy: &Proxy, backend: &Backend) -> bool {
    let Some(budget) = &backend.retry_budget else { return true };
    let (state, now_ms) = (&proxy.state.backend, stream.session.worker.now_ms());
    let requests_per_s = state.session_rate.rate(now_ms as u32);
    match state.retries.take(budget, requests_per_s, now_ms) {
        Retry::Allowed => true,
        Retry::Refused { news } => {
            if news {
                let RetryBudget { percent, min_per_s } = budget;
                let line = format!(
                    "Backend {} has used up its retry budget ({percent}% of {requests_per_s} requests/s, at least \
                     {min_per_s}/s): requests that fail are not sent again.",
                    proxy.name
                );
                crate::log::warning(format_args!("{line}"));
                crate::log::send(Level::Warning, proxy, &line);
            }
            false
        }
    }
}

/// The queue, the backend's or a server's own, would not have it or kept it too long.
#[cold]
pub(crate) fn queue_refused(stream: &Stream, proxy: &Proxy, server: Option<&Server>) {
    if let Some(server) = server {
        count_server(stream, server, Counter::FailedConnections, 1);
    }
    count_backend(stream, proxy, Counter::FailedConnections, 1);
}

/// The server's answer came, whatever rules make of it.
pub(crate) fn server_answered(stream: &Stream, server: &Server) {
    count_server(stream, server, Counter::of_status(stream.response.status()), 1);
    tracking::answered(stream);
}

/// The client is sent an answer, a server's or our own.
pub(crate) fn response(stream: &Stream) {
    let counter = Counter::of_status(stream.log.status);
    let snapshot = &stream.snapshot;
    count_frontend(stream, snapshot.proxy(stream.frontend), counter, 1);
    // What the rules of a `listen` answer has not reached its backend part.
    if stream.backend_reached || stream.backend != stream.frontend {
        count_backend(stream, snapshot.proxy(stream.backend), counter, 1);
    }
}

/// The server did not answer as it should.
#[cold]
pub(crate) fn response_failed(stream: &Stream, proxy: &Proxy, server: &Server, counter: Counter) {
    count_server(stream, server, Counter::FailedResponses, 1);
    count_backend(stream, proxy, Counter::FailedResponses, 1);
    if counter != Counter::FailedResponses {
        count_server(stream, server, counter, 1);
        count_backend(stream, proxy, counter, 1);
    }
}

/// A transfer broke off; by whom is in the log state.
#[cold]
pub(crate) fn stream_broken(stream: &Stream, proxy: &Proxy, server: &Server) {
    let counter = match stream.log.cause {
        Cause::Client | Cause::ClientTimeout => Counter::ClientAborts,
        Cause::Server | Cause::ServerTimeout => Counter::ServerAborts,
        _ => return,
    };
    count_frontend_of(stream, counter, 1);
    count_backend(stream, proxy, counter, 1);
    count_server(stream, server, counter, 1);
}

/// A rule could not rewrite a message.
#[cold]
pub(crate) fn failed_rewrite(stream: &Stream) {
    let snapshot = &stream.snapshot;
    count_frontend(stream, snapshot.proxy(stream.frontend), Counter::FailedRewrites, 1);
    if stream.backend != stream.frontend {
        count_backend(stream, snapshot.proxy(stream.backend), Counter::FailedRewrites, 1);
    }
}

/// A rule refused the request.
#[cold]
pub(crate) fn denied_request(stream: &Stream) {
    count_frontend_of(stream, Counter::DeniedRequests, 1);
    if stream.backend != stream.frontend {
        count_backend(stream, stream.snapshot.proxy(stream.backend), Counter::DeniedRequests, 1);
    }
}

/// A rule refused the answer.
#[cold]
pub(crate) fn denied_response(stream: &Stream, proxy: &Proxy, server: &Server) {
    count_frontend_of(stream, Counter::DeniedResponses, 1);
    count_backend(stream, proxy, Counter::DeniedResponses, 1);
    count_server(stream, server, Counter::DeniedResponses, 1);
}

/// Counts the bytes that a stream has moved so far, under `option contstats`; else they count at its end.
pub(crate) fn flow(stream: &mut Stream, bytes_in: u64, bytes_out: u64) {
    tracking::flow(stream, bytes_in, bytes_out);
    if !stream.snapshot.proxy(stream.frontend).options.contstats {
        return;
    }
    let (counted_in, counted_out) = stream.log.counted;
    stream.log.counted = (bytes_in.max(counted_in), bytes_out.max(counted_out));
    let more = (bytes_in.saturating_sub(counted_in), bytes_out.saturating_sub(counted_out));
    count_bytes(stream, more.0, more.1);
}

/// Counts bytes, in and out, for the process and for all that the stream has reached.
fn count_bytes(stream: &Stream, bytes_in: u64, bytes_out: u64) {
    let worker = &stream.session.worker;
    if bytes_out > 0 {
        worker.shared.counters.add(worker.index(), Counter::BytesOut, bytes_out);
        let sent = u32::try_from(bytes_out).unwrap_or(u32::MAX);
        worker.shared.bytes_out_rate.add(sent, worker.now_ms() as u32);
    }
    for_all_reached(stream, |counters| {
        counters.add(Counter::BytesIn, bytes_in);
        counters.add(Counter::BytesOut, bytes_out);
    });
}

#[cold]
fn count_spliced(stream: &Stream) {
    for_all_reached(stream, |counters| {
        counters.add(Counter::SplicedIn, stream.log.spliced_in);
        counters.add(Counter::SplicedOut, stream.log.spliced_out);
    });
}

/// The worker's counters of the frontend, the listener, the backend and the server that the stream has reached.
#[inline]
fn for_all_reached(stream: &Stream, count: impl Fn(&Counters)) {
    let worker = stream.session.worker.index();
    let count = |counters: &PerWorker| {
        if let Some(counters) = counters.get(worker) {
            count(counters);
        }
    };
    let frontend = stream.snapshot.proxy(stream.frontend);
    count(&frontend.state.frontend.counters);
    if frontend.options.socket_stats {
        count(&stream.session.listener.state.counters);
    }
    let proxy = stream.snapshot.proxy(stream.backend);
    if proxy.backend.is_some() {
        count(&proxy.state.backend.counters);
    }
    if let Some(server) = server_of(stream, proxy) {
        count(&server.state.member.counters);
    }
}

fn server_of<'p>(stream: &Stream, proxy: &'p Proxy) -> Option<&'p Server> {
    proxy.backend.as_ref()?.servers.get(stream.server?.0 as usize)
}

/// The stream is over: its bytes and times.
pub(crate) fn end(stream: &mut Stream) {
    tracking::bytes(stream, stream.log.bytes_in, stream.log.bytes_out);
    stream.session.live.end();
    let log = &stream.log;
    let (counted_in, counted_out) = log.counted;
    let bytes_out = log.bytes_out.saturating_sub(counted_out);
    count_bytes(stream, log.bytes_in.saturating_sub(counted_in), bytes_out);
    if log.spliced_in | log.spliced_out != 0 {
        count_spliced(stream);
    }
    let proxy = stream.snapshot.proxy(stream.backend);
    let Some(server) = server_of(stream, proxy) else { return };
    let span = |from: Option<u32>, to: Option<u32>| Some(to?.saturating_sub(from?));
    let times = [
        span(log.request_ms.or(Some(0)), log.queue_ms),
        span(log.queue_ms, log.connect_ms),
        span(log.connect_ms, log.response_ms),
        log.total_ms,
    ];
    server.state.member.times.add(times);
    proxy.state.backend.times.add(times);
}

/// The session's place among the frontend's, and its counts, for as long as it lives.
#[derive(Debug)]
pub(crate) struct InFrontend {
    proxy: Arc<ProxyState>,
    /// With `option socket-stats`.
    listener: Option<Arc<ListenerState>>,
}

impl InFrontend {
    /// A connection was accepted.
    pub(crate) fn enter(
        worker: &Worker,
        snapshot: &SnapshotRef,
        listener: &crate::model::Listener,
    ) -> Self {
        let proxy = snapshot.proxy(listener.frontend);
        let state = &proxy.state.frontend;
        let now = worker.now_ms() as u32;
        state.load.enter();
        state.counters.add(worker.index(), Counter::Connections, 1);
        state.connection_rate.add(1, now);
        let counted = proxy.options.socket_stats.then(|| Arc::clone(&listener.state));
        if let Some(listener) = &counted {
            listener.load.enter();
            listener.counters.add(worker.index(), Counter::Sessions, 1);
        }
        worker.shared.connections_total.fetch_add(1, Relaxed);
        worker.shared.connection_rate.add(1, now);
        Self { proxy: Arc::clone(&proxy.state), listener: counted }
    }
}

/// The rules let the connection become a session.
pub(crate) fn session_begins(worker: &Worker, proxy: &Proxy) {
    let state = &proxy.state.frontend;
    let now = worker.now_ms() as u32;
    state.counters.add(worker.index(), Counter::Sessions, 1);
    state.session_rate.add(1, now);
    worker.shared.session_rate.add(1, now);
}

impl Drop for InFrontend {
    fn drop(&mut self) {
        self.proxy.frontend.load.leave();
        if let Some(listener) = &self.listener {
            listener.load.leave();
        }
    }
}
