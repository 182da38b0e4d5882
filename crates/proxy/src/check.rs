//! Active health checks: which server is checked when, and what is done with what a check finds.
//!
//! All of it runs on the control thread. One task keeps the calendar (a heap of the servers by the time of their next
//! check); a check that is due becomes a task of its own for as long as it takes, [`CONCURRENT_MAX`] of them at most, so
//! that a server at rest costs an entry in the heap. [`state_change`](crate::state_change) turns what was found into the
//! server's state, log lines and statistics.
//!
//! ```text
//! calendar ── due ──> script ── Finding ──> state_change::checked ──> Health ──> pool, log, trackers
//!    ^──────────────── next check: inter, fastinter or downinter ────────┘
//! ```
//!
//! `script.rs` goes through the steps of a check, `reply.rs` gathers what the server sends, `expect.rs` judges it (and
//! `packet.rs` what some binary protocols answer), `request.rs` writes HTTP requests, `agent.rs` asks agents, `words.rs` and
//! `status.rs` have HAProxy's words. Not here: what is learnt from traffic ([`learn`](crate::learn)).

mod agent;
mod expect;
pub(crate) mod packet;
mod reply;
mod request;
mod script;
mod status;
mod words;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use telamon_balance::Rng;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

pub(crate) use agent::Answer;
pub use status::CheckStatus;

use crate::model::{Model, ProxyId, ServerId};
use crate::snapshot::Snapshot;
use crate::state::ServerState;
use crate::state_change::{self, Place};
use crate::worker::Shared;

/// The health checks of the running configuration. Dropping it ends them.
#[derive(Debug)]
pub struct Checks {
    shared: Arc<Shared>,
    newest: watch::Sender<Arc<Snapshot>>,
    calendar: AbortHandle,
    slow_starts: AbortHandle,
    /// Looks after what is learnt from traffic.
    learning: AbortHandle,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) status: CheckStatus,
    /// What the application answered, or 0.
    pub(crate) code: u16,
    /// At most [`TEXT_MAX`] bytes.
    pub(crate) text: String,
}

/// How many descriptors the checks of a configuration may hold at a time.
pub fn descriptors_max(model: &Model) -> usize {
    let backends = model.proxies.iter().filter_map(|proxy| proxy.backend.as_ref());
    let servers = backends.flat_map(|backend| &backend.servers);
    let probes = servers.map(|s| usize::from(s.check.is_some()) + usize::from(s.agent.is_some()));
    probes.sum::<usize>().min(CONCURRENT_MAX)
}

impl Checks {
    /// Gives every server its first state and starts to check those that are to be, spread over their shortest interval
    /// so that they stay apart.
    ///
    /// # Panics
    /// Outside a `LocalSet`.
    pub fn start(snapshot: Arc<Snapshot>, shared: Arc<Shared>) -> Self {
        state_change::begin(&shared, &snapshot);
        let (newest, snapshots) = watch::channel(Arc::clone(&snapshot));
        let seed = shared.started_at.elapsed().unwrap_or_default().as_nanos() as u64;
        let mut calendar = Calendar {
            shared: Arc::clone(&shared),
            snapshot,
            entries: Vec::new(),
            by_state: HashMap::new(),
            due: BinaryHeap::new(),
            running: JoinSet::new(),
            rng: Rng::new(seed ^ u64::from(std::process::id())),
        };
        calendar.fill();
        let warming = warm_up(Arc::clone(&shared), snapshots.clone());
        let slow_starts = tokio::task::spawn_local(warming).abort_handle();
        let learning = crate::learn::keep(Arc::clone(&shared), snapshots.clone());
        let learning = tokio::task::spawn_local(learning).abort_handle();
        let calendar = tokio::task::spawn_local(calendar.keep(snapshots)).abort_handle();
        Self { shared, newest, calendar, slow_starts, learning }
    }

    /// Checks by a new configuration. Servers that stay keep their health and rhythm; those that are new have their first
    /// state when this returns.
    pub fn reload(&mut self, snapshot: Arc<Snapshot>) {
        state_change::begin(&self.shared, &snapshot);
        // The calendar may have been stopped; then nothing is checked any more.
        self.newest.send_replace(snapshot);
    }

    /// Ends all checks, also those under way.
    pub fn stop(&self) {
        self.calendar.abort();
        self.slow_starts.abort();
        self.learning.abort();
    }
}

/// Sees to the slow starts, as long as there are any.
async fn warm_up(shared: Arc<Shared>, snapshots: watch::Receiver<Arc<Snapshot>>) {
    loop {
        shared.slow_start.notified().await;
        loop {
            tokio::time::sleep(WARM_UP_STEP).await;
            let snapshot = Arc::clone(&snapshots.borrow());
            if !state_change::warm_up(&shared, &snapshot) {
                break;
            }
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Finding {
    pub(crate) fn new(status: CheckStatus, text: impl Into<String>) -> Self {
        let mut text = text.into();
        // Servers that speak C end their texts with a zero.
        text.truncate(text.find('\0').unwrap_or(text.len()));
        if text.len() > TEXT_MAX {
            let end = (0..=TEXT_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
        }
        Self { status, code: 0, text }
    }
}

/// When which server is checked.
struct Calendar {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    /// The checked servers and their agents, in the order of the configuration.
    entries: Vec<Entry>,
    /// Where the entry of a server is; its state is the one thing of it that outlives a configuration.
    by_state: HashMap<(*const ServerState, Probe), u32>,
    /// Entries without a check under way.
    due: BinaryHeap<Reverse<(Instant, u32)>>,
    running: JoinSet<Done>,
    rng: Rng,
}

/// What is asked how a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Probe {
    /// The server itself.
    Server,
    /// The agent beside it.
    Agent,
}

/// A checked server, or an agent.
struct Entry {
    proxy: ProxyId,
    server: ServerId,
    probe: Probe,
    state: Arc<ServerState>,
    next: Instant,
    /// The check under way.
    task: Option<tokio::task::Id>,
}

/// A check that has ended.
struct Done {
    state: Arc<ServerState>,
    outcome: Outcome,
    took: Duration,
}

enum Outcome {
    Check(Finding),
    Agent(Answer),
}

impl Calendar {
    /// Does what is due, until aborted.
    async fn keep(mut self, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
        let shared = Arc::clone(&self.shared);
        loop {
            self.start_due(Instant::now());
            let full = self.running.len() >= CONCURRENT_MAX;
            let next = self.due.peek().map(|Reverse((at, _))| *at).filter(|_| !full);
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.snapshot = Arc::clone(&snapshots.borrow_and_update());
                    self.fill();
                }
                Some(ended) = self.running.join_next_with_id() => match ended {
                    Ok((_, done)) => self.take_in(done),
                    Err(error) => self.forgo(error.id()),
                },
                () = shared.hurry.notified() => self.hurry(),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// Starts the checks that are due, as many as may run.
    fn start_due(&mut self, now: Instant) {
        while let Some(Reverse((at, index))) = self.due.peek().copied()
            && at <= now
            && self.running.len() < CONCURRENT_MAX
        {
            self.due.pop();
            let Some(entry) = self.entries.get_mut(index as usize) else { continue };
            if entry.next != at || entry.task.is_some() {
                continue; // it was hurried
            }
            if entry.is_paused() {
                entry.next = now + entry.interval(&self.snapshot);
                self.due.push(Reverse((entry.next, index)));
                continue;
            }
            entry.set_in_progress(true);
            let snapshot = Arc::clone(&self.snapshot);
            let (ids, probe) = ((entry.proxy, entry.server), entry.probe);
            let state = Arc::clone(&entry.state);
            let task = self.running.spawn_local(async move {
                let began = Instant::now();
                let outcome = probe.run(&snapshot, ids).await;
                Done { state, outcome, took: began.elapsed() }
            });
            entry.task = Some(task.id());
        }
    }

    /// Applies what a check found and plans the next one.
    fn take_in(&mut self, done: Done) {
        let probe = match done.outcome {
            Outcome::Check(_) => Probe::Server,
            Outcome::Agent(_) => Probe::Agent,
        };
        let Some(index) = self.by_state.get(&(Arc::as_ptr(&done.state), probe)).copied() else {
            return; // a reload has removed the server
        };
        let Some(entry) = self.entries.get(index as usize) else { return };
        let place = Place { proxy: entry.proxy, server: entry.server };
        entry.set_in_progress(false);
        if !entry.is_paused() {
            let (shared, snapshot) = (&self.shared, &self.snapshot);
            match done.outcome {
                Outcome::Check(finding) => {
                    // Its name may have another address by now.
                    if finding.status == CheckStatus::L4Timeout {
                        shared.names.doubt(place);
                    }
                    state_change::checked(shared, snapshot, place, finding, done.took);
                }
                Outcome::Agent(answer) => {
                    state_change::agent_answered(shared, snapshot, place, answer, done.took);
                }
            }
        }
        self.plan(index);
    }

    /// A check that broke off without a result is left out.
    fn forgo(&mut self, task: tokio::task::Id) {
        let at = self.entries.iter().position(|entry| entry.task == Some(task));
        if let Some(index) = at.and_then(|at| u32::try_from(at).ok()) {
            self.plan(index);
        }
    }

    fn plan(&mut self, index: u32) {
        let global = &self.snapshot.model.global;
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let wait = entry.next_in(&self.snapshot, global.spread_checks, &mut self.rng);
        entry.next = Instant::now() + wait;
        entry.task = None;
        self.due.push(Reverse((entry.next, index)));
    }

    /// Lets the next check of those servers come after `fastinter` whose traffic fails (`observe`).
    fn hurry(&mut self) {
        let now = Instant::now();
        for (entry, index) in self.entries.iter_mut().zip(0..) {
            if !entry.state.hurried.swap(false, Relaxed) {
                continue;
            }
            let server = self.snapshot.model.server(entry.proxy, entry.server);
            let fastinter = server.and_then(|server| server.check.as_ref()?.fastinter);
            if let Some(fastinter) = fastinter
                && entry.task.is_none()
                && now + fastinter < entry.next
            {
                entry.next = now + fastinter;
                self.due.push(Reverse((entry.next, index)));
            }
        }
    }

    /// Lists the checked servers of the configuration: who was listed keeps its next check, who is new gets a place in
    /// the shortest interval.
    fn fill(&mut self) {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.by_state);
        let mut old: Vec<Option<Entry>> =
            std::mem::take(&mut self.entries).into_iter().map(Some).collect();
        let mut fresh = Vec::new();
        for (proxy, config) in self.snapshot.model.numbered() {
            let backend = config.backend.as_ref().filter(|_| !config.disabled);
            let servers = backend.iter().flat_map(|backend| &backend.servers);
            let probes = servers.flat_map(|server| {
                let check = server.check.is_some().then_some((server, Probe::Server));
                let agent = server.agent.is_some().then_some((server, Probe::Agent));
                check.into_iter().chain(agent)
            });
            for (server, probe) in probes {
                let (id, state) = (ServerId(server.index), Arc::clone(&server.state));
                let key = (Arc::as_ptr(&state), probe);
                let known = before.remove(&key).and_then(|at| old.get_mut(at as usize)?.take());
                let index = self.entries.len();
                fresh.extend(known.is_none().then_some(index));
                let (next, task) = known.map_or((now, None), |entry| (entry.next, entry.task));
                self.entries.push(Entry { proxy, server: id, probe, state, next, task });
                self.by_state.insert(key, index as u32);
            }
        }
        self.spread(&fresh, now);
        let idle = self.entries.iter().zip(0..).filter(|(entry, _)| entry.task.is_none());
        self.due = idle.map(|(entry, index)| Reverse((entry.next, index))).collect();
    }

    /// Spreads the first checks of these entries over the shortest interval among them that is no less than
    /// [`SPREAD_MIN`]; one with a longer interval spreads over its own. `max-spread-checks` bounds it.
    fn spread(&mut self, fresh: &[usize], now: Instant) {
        let intervals: Vec<Duration> = fresh
            .iter()
            .map(|at| self.entries[*at].next_in(&self.snapshot, 0, &mut self.rng))
            .collect();
        let shortest = intervals.iter().filter(|interval| **interval >= SPREAD_MIN).min().copied();
        let longest = self.snapshot.model.global.max_spread_checks.filter(|max| !max.is_zero());
        for (position, (at, interval)) in fresh.iter().zip(intervals).enumerate() {
            let over = interval.max(shortest.unwrap_or_default());
            let over = longest.map_or(over, |max| over.min(max));
            let share = position as f64 / fresh.len() as f64;
            self.entries[*at].next = now + over.mul_f64(share);
        }
    }
}

impl Entry {
    /// Whether its checks are left out now: switched off or, which agents do not heed, in maintenance.
    fn is_paused(&self) -> bool {
        match self.probe {
            Probe::Server => {
                self.state.checks_disabled.load(Relaxed)
                    || self.state.member.status().admin.in_maintenance()
            }
            Probe::Agent => self.state.probing().agent_disabled,
        }
    }

    fn set_in_progress(&self, in_progress: bool) {
        match self.probe {
            Probe::Server => self.state.check_report().in_progress = in_progress,
            Probe::Agent => self.state.probing().agent_report.in_progress = in_progress,
        }
    }

    fn interval(&self, snapshot: &Snapshot) -> Duration {
        let server = snapshot.model.server(self.proxy, self.server);
        let inter = server.and_then(|server| match self.probe {
            Probe::Server => server.check.as_ref().map(|check| check.inter),
            Probe::Agent => server.agent.as_ref().map(|agent| agent.inter),
        });
        inter.unwrap_or(INTER_DEFAULT).max(Duration::from_millis(1))
    }

    /// How long until its next check, varied by `spread_percent`.
    fn next_in(&self, snapshot: &Snapshot, spread_percent: u32, rng: &mut Rng) -> Duration {
        let inter = self.interval(snapshot);
        match self.probe {
            Probe::Server => {
                let ms = self.state.health().next_check_in_ms(spread_percent, rng);
                ms.map_or(inter, Duration::from_millis)
            }
            Probe::Agent => {
                let ms = u64::try_from(inter.as_millis()).unwrap_or(u64::MAX);
                Duration::from_millis(rng.spread(ms, spread_percent))
            }
        }
    }
}

impl Probe {
    /// Asks once.
    async fn run(self, snapshot: &Snapshot, ids: (ProxyId, ServerId)) -> Outcome {
        match self {
            Self::Server => Outcome::Check(script::check(snapshot, ids.0, ids.1).await),
            Self::Agent => {
                let server = snapshot.model.server(ids.0, ids.1);
                let agent = server.and_then(|server| Some((server, server.agent.as_ref()?)));
                Outcome::Agent(match agent {
                    Some((server, agent)) => agent::ask(snapshot, ids, server, agent).await,
                    None => Answer::Failed(Finding::new(CheckStatus::SocketError, "no agent")),
                })
            }
        }
    }
}

/// How often slow starts are looked at; they go on by whole seconds.
const WARM_UP_STEP: Duration = Duration::from_millis(200);

/// Checks under way at a time. Each holds a descriptor and, while it waits for an answer, 1 KiB or so; more that are due
/// wait for one of these to end, at the latest when its time-out is over.
pub const CONCURRENT_MAX: usize = 4096;
/// Bytes of a report's text; HAProxy cuts off there too.
const TEXT_MAX: usize = 127;
/// Intervals shorter than this do not make all servers start within them.
const SPREAD_MIN: Duration = Duration::from_secs(1);
const INTER_DEFAULT: Duration = Duration::from_secs(2);
