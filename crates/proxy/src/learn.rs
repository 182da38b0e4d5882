//! What traffic tells of a server's health: `observe` and `outlier-ejection`.
//!
//! Workers [`note`] what they see, which costs one branch where nothing is to be learnt. What is enough for something to
//! happen becomes [`News`] for the control thread, where [`keep`] decides (by `telamon_balance::health` and
//! `telamon_balance::outlier`) and [`state_change`] does what follows. So a request or two may still go to a server whose
//! last error has just been seen.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use telamon_balance::health::{Observation, Observe, Sign};
use telamon_balance::outlier::{Change, Tally};
use telamon_balance::{Counter, Standing};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::model::{Mode, ProxyId, Server, ServerId};
use crate::snapshot::Snapshot;
use crate::state_change::{self, Place};
use crate::stream::Stream;
use crate::worker::Shared;

/// What is learnt of a server from its traffic. A server of which nothing is has none of this.
#[derive(Debug, Clone, Copy)]
pub struct Learning {
    /// `observe`, of a server with `check`.
    pub observation: Option<Observation>,
    /// `outlier-ejection` of its backend: the failures in a row that it takes.
    pub outliers: Option<u32>,
}

/// What workers have noted of one server.
#[derive(Debug, Default)]
pub struct Notes {
    /// Errors in a row, for `observe`.
    pub(crate) errors: AtomicU32,
    pub(crate) tally: Tally,
}

/// Something that the control thread has to look at.
#[derive(Debug)]
pub(crate) struct News {
    backend: Arc<str>,
    server: Arc<str>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// `error-limit` errors in a row, the last one of this kind.
    Errors { count: u32, last: Sign },
    /// So many failures in a row, for `outlier-ejection`.
    Failing { row: u32 },
    /// A success that ends its probation.
    Proved,
    /// The server went up or down.
    Changed,
}

/// The way of news from workers to the control thread. What finds it full is dropped: there will be more of it.
#[derive(Debug)]
pub(crate) struct NewsLine {
    sender: mpsc::Sender<News>,
    receiver: Mutex<Option<mpsc::Receiver<News>>>,
}

impl Default for NewsLine {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(NEWS_MAX);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl NewsLine {
    fn tell(&self, backend: &Arc<str>, server: &Server, what: What) {
        let news = News { backend: Arc::clone(backend), server: Arc::clone(&server.name), what };
        // Full, or the process is about to end.
        _ = self.sender.try_send(news);
    }

    /// The server went up or down: too many of its peers may be out now.
    pub(crate) fn changed(&self, backend: &Arc<str>, server: &Server) {
        self.tell(backend, server, What::Changed);
    }
}

/// Notes what a stream saw of a server. `lasting` is false where the request is sent again: like HAProxy, `observe` does
/// not count that.
pub(crate) fn note(stream: &Stream, server: &Server, sign: Sign, lasting: bool) {
    if let Some(learning) = &server.learning {
        learn(stream, server, learning, sign, lasting);
    }
}

fn learn(stream: &Stream, server: &Server, learning: &Learning, sign: Sign, lasting: bool) {
    let worker = &stream.session.worker;
    let proxy = stream.snapshot.proxy(stream.backend);
    let notes = &server.state.notes;
    if lasting && let Some(Observation { observe, limit, .. }) = learning.observation {
        match sign.is_good(observe) {
            None => {}
            Some(true) if notes.errors.load(Relaxed) == 0 => {}
            Some(true) => notes.errors.store(0, Relaxed),
            Some(false) => {
                let count = notes.errors.fetch_add(1, Relaxed).saturating_add(1);
                if count >= limit {
                    notes.errors.store(0, Relaxed);
                    server.state.member.counters.add(worker.index(), Counter::Observed, 1);
                    let what = What::Errors { count, last: sign };
                    worker.shared.news.tell(&proxy.name, server, what);
                }
            }
        }
    }
    if let Some(consecutive) = learning.outliers {
        let log = &stream.log;
        let (layer, since, until) = match proxy.mode {
            Mode::Http => (Observe::Layer7, log.connect_ms, log.response_ms),
            Mode::Tcp => (Observe::Layer4, log.queue_ms, log.connect_ms),
        };
        match sign.is_good(layer) {
            None => {}
            Some(true) => {
                let took = until.unwrap_or(0).saturating_sub(since.unwrap_or(0));
                if notes.tally.succeeded(took) {
                    worker.shared.news.tell(&proxy.name, server, What::Proved);
                }
            }
            Some(false) => {
                if let Some(row) = notes.tally.failed(consecutive) {
                    worker.shared.news.tell(&proxy.name, server, What::Failing { row });
                }
            }
        }
    }
}

/// Looks after what is learnt, on the control thread, until aborted.
pub(crate) async fn keep(shared: Arc<Shared>, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
    let receiver = shared.news.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut news) = receiver else { return };
    let mut snapshot = Arc::clone(&snapshots.borrow_and_update());
    let mut watched = configure(&shared, &snapshot);
    loop {
        let now_ms = shared.now_ms();
        let next =
            |proxy: &ProxyId| snapshot.model.proxy(*proxy).state.backend.outliers().next_ms();
        let wait = watched.iter().map(next).min().map(|at| at.saturating_sub(now_ms).max(1));
        let until = Instant::now() + Duration::from_millis(wait.unwrap_or(0));
        tokio::select! {
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return;
                }
                snapshot = Arc::clone(&snapshots.borrow_and_update());
                watched = configure(&shared, &snapshot);
            }
            // The sender is in `shared`, so there is always more to come.
            Some(news) = news.recv() => take_in(&shared, &snapshot, &news),
            () = tokio::time::sleep_until(until), if wait.is_some() => {
                watched.iter().for_each(|proxy| look(&shared, &snapshot, *proxy));
            }
        }
    }
}

/// Takes over a configuration: which backends are watched.
fn configure(shared: &Shared, snapshot: &Snapshot) -> Vec<ProxyId> {
    let mut watched = Vec::new();
    for (id, proxy) in snapshot.model.numbered() {
        let Some(backend) = proxy.serving() else { continue };
        let names = backend.servers.iter().map(|server| &*server.name);
        let mut outliers = proxy.state.backend.outliers();
        match &backend.outlier_ejection {
            Some(config) => {
                outliers.configure(*config, names, shared.now_ms());
                watched.push(id);
            }
            None => *outliers = Default::default(),
        }
        drop(outliers);
        let outliers = || proxy.state.backend.outliers();
        for (at, server) in backend.servers.iter().enumerate() {
            if server.state.member.status().is_ejected() && outliers().ejection(at).is_none() {
                state_change::readmit(shared, snapshot, place(id, at), None);
            }
            if server.learning.and_then(|learning| learning.outliers).is_none() {
                server.state.notes.tally.begin(0);
            }
        }
        if backend.outlier_ejection.is_some() {
            look(shared, snapshot, id);
        }
    }
    watched
}

fn take_in(shared: &Shared, snapshot: &Snapshot, news: &News) {
    let Some(id) = snapshot.model.backend(&news.backend) else { return };
    let proxy = snapshot.model.proxy(id);
    let Some(backend) = proxy.serving() else { return };
    let Some(at) = backend.servers.iter().position(|server| server.name == news.server) else {
        return;
    };
    let server = &backend.servers[at];
    match news.what {
        What::Errors { count, last } => {
            if let Some(Learning { observation: Some(observation), .. }) = server.learning {
                let text =
                    format!("Detected {count} consecutive errors, last one was: {}", last.text());
                state_change::observed(shared, snapshot, place(id, at), observation.on_error, text);
            }
        }
        What::Failing { row } if backend.outlier_ejection.is_some() => {
            let (usable, now_ms) = (usable(&backend.servers), shared.now_ms());
            let tally = &server.state.notes.tally;
            let change = proxy.state.backend.outliers().failing(at, row, tally, &usable, now_ms);
            change.into_iter().for_each(|change| make(shared, snapshot, id, change));
        }
        What::Changed if backend.outlier_ejection.is_some() => look(shared, snapshot, id),
        What::Proved => end_probations(shared, snapshot, id),
        What::Failing { .. } | What::Changed => {}
    }
}

/// Looks at the rates of a backend's servers where that is due, and lets in whose time is over.
fn look(shared: &Shared, snapshot: &Snapshot, id: ProxyId) {
    let proxy = snapshot.model.proxy(id);
    let Some(backend) = proxy.serving() else { return };
    let (usable, now_ms) = (usable(&backend.servers), shared.now_ms());
    let sample = |at: usize| backend.servers[at].state.notes.tally.take();
    let changes = {
        let mut outliers = proxy.state.backend.outliers();
        let mut changes = outliers.settle(&usable, now_ms);
        changes.extend(outliers.look(sample, &usable, now_ms));
        changes
    };
    changes.into_iter().for_each(|change| make(shared, snapshot, id, change));
    // One whose news was lost is found here.
    end_probations(shared, snapshot, id);
}

/// Ends the probations of servers that have had enough successes.
fn end_probations(shared: &Shared, snapshot: &Snapshot, id: ProxyId) {
    let Some(backend) = snapshot.model.proxy(id).serving() else { return };
    for (at, server) in backend.servers.iter().enumerate() {
        let (status, tally) = (server.state.member.status(), &server.state.notes.tally);
        if status.standing == Standing::Probation && !tally.on_probation() {
            state_change::end_probation(shared, snapshot, place(id, at));
        }
    }
}

fn make(shared: &Shared, snapshot: &Snapshot, id: ProxyId, change: Change) {
    let (Change::Eject(at, _) | Change::Readmit(at, _)) = change;
    let Some(server) = snapshot.model.server(id, ServerId(at as u32)) else { return };
    let tally = &server.state.notes.tally;
    match change {
        Change::Eject(_, ejection) => {
            tally.begin(0);
            state_change::eject(shared, snapshot, place(id, at), &ejection);
        }
        Change::Readmit(_, ejection) => {
            tally.begin(server.learning.and_then(|learning| learning.outliers).unwrap_or(0));
            state_change::readmit(shared, snapshot, place(id, at), Some(&ejection));
        }
    }
}

/// Which servers take part but for an ejection.
fn usable(servers: &[Server]) -> Vec<bool> {
    let is_usable = |server: &Server| {
        let member = &server.state.member;
        let status = telamon_balance::Status { standing: Standing::In, ..member.status() };
        !member.is_backup() && status.takes_new() && member.weight() > 0
    };
    servers.iter().map(is_usable).collect()
}

fn place(proxy: ProxyId, at: usize) -> Place {
    Place { proxy, server: ServerId(at as u32) }
}

/// News on their way, at most.
const NEWS_MAX: usize = 4096;
