//! A server changes state: by its checks, by an order, or because the server that it tracks did.
//!
//! Everything that may change a server's health goes through here, on the control thread: [`checked`] for what a check
//! found, [`order`] for what an administrator asks, [`rebalance`] after a new weight or limit. Each tells the server's
//! [`Health`], publishes it to the workers, hands freed slots to those who wait, logs HAProxy's lines, keeps the
//! backend's own record and lets the servers that track this one follow.

mod agent;
mod dump;
mod lines;
mod restore;
mod weight;

#[cfg(test)]
pub(crate) mod scene;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use telamon_balance::health::{CheckConfig, CheckResult, Checked, Forced, Health, OnError};
use telamon_balance::outlier::{self, Ejection};
use telamon_balance::{Admin, AgentState, InUse, MemberId, Rng, Run, Standing, Status};

pub(crate) use agent::agent_answered;
pub use dump::log_server_states;
pub(crate) use lines::reason_of;
pub(crate) use weight::{set_maxconn, set_weight};

use crate::check::{CheckStatus, Finding};
use crate::log::{Level, notice, send};
use crate::model::{Backend, Proxy, ProxyId, Server, ServerCheck, ServerId};
use crate::snapshot::Snapshot;
use crate::state::CheckReport;
use crate::stream::Cause;
use crate::upstream::deliver;
use crate::worker::Shared;

use lines::{Moved, Reason};

/// Which server of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub proxy: ProxyId,
    pub server: ServerId,
}

/// What an administrator asks of a server, by socket or page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `set server … state ready`, `enable server`.
    Ready,
    /// `set server … state drain`: no new units but those that persistence brings.
    Drain,
    /// `set server … state maint`, `disable server`.
    Maintenance,
    /// `set server … health up|stopping|down`.
    Health(Forced),
    /// `set server … agent up|down`, for a server with an agent that is switched on.
    Agent { up: bool },
    /// It has an address now.
    Resolved,
    /// It has none any more.
    Unresolved,
}

/// Maintenance for want of an address.
fn resolution(server: &Server) -> Admin {
    let address = server.state.address();
    let may_be_lost = server.unresolved || server.resolution.is_some();
    let lost = may_be_lost && address.endpoint.ip().is_some_and(|ip| ip.is_unspecified());
    if lost { Admin::MAINT_RESOLUTION } else { Admin::READY }
}

/// Gives each server that is new its first state, and the others the rise and fall of a new configuration. Says nothing, except of
/// servers that begin with a state that was saved.
pub(crate) fn begin(shared: &Shared, snapshot: &Snapshot) {
    let mut saved = Vec::new();
    let servers = |then: &mut dyn FnMut(&Site<'_>, &Server, Place)| {
        for (proxy, config) in snapshot.model.numbered() {
            for server in config.backend.iter().flat_map(|backend| &backend.servers) {
                let place = Place { proxy, server: ServerId(server.index) };
                if let Some(site) = Site::new(shared, snapshot, place) {
                    then(&site, server, place);
                }
            }
        }
    };
    servers(&mut |site, server, place| {
        let config = server.check.as_ref().map(check_config);
        let agent = server.agent.is_some() && !server.state.probing().agent_disabled;
        if server.state.begun.swap(true, Relaxed) {
            site.change(|health, now_ms| {
                let before = health.status();
                let decided = before.checks.is_some() || before.agent != AgentState::Absent;
                health.configure(config);
                health.set_slow_start(server.slow_start_s);
                health.set_agent(agent);
                // What took it down is gone, and nothing else would bring it up again.
                if decided && config.is_none() && !agent && server.tracks.is_none() {
                    _ = health.force(Forced::Up, now_ms);
                }
                let admin = health.status().admin.without(Admin::MAINT_RESOLUTION);
                _ = health.set_admin(admin.with(resolution(server)), now_ms);
            });
            return;
        }
        let admin = if server.disabled { Admin::MAINT_CONFIGURED } else { Admin::READY };
        let admin = admin.with(resolution(server));
        site.change(|health, now_ms| {
            *health = Health::new(config, admin, now_ms);
            health.set_slow_start(server.slow_start_s);
            health.set_agent(agent);
        });
        if agent {
            server.state.probing().agent_report.status = crate::check::CheckStatus::Initializing;
        }
        if config.is_some() {
            server.state.check_report().status = crate::check::CheckStatus::Initializing;
        }
        if server.saved.is_some() {
            saved.push(place);
        }
    });
    servers(&mut |site, server, _| {
        let Some((proxy, tracked)) = server.tracks else { return };
        let Some(tracked) = snapshot.model.server(proxy, tracked) else { return };
        if tracked.state.member.status().admin.in_maintenance() {
            site.change(|health, now_ms| {
                let admin = health.status().admin.with(Admin::MAINT_INHERITED);
                _ = health.set_admin(admin, now_ms);
            });
        }
    });
    for place in saved {
        let Some(site) = Site::new(shared, snapshot, place) else { continue };
        if let Some(saved) = &site.server.saved {
            site.restore(saved);
        }
    }
}

/// Goes on with the slow starts of all servers. Returns whether any is still under way.
pub(crate) fn warm_up(shared: &Shared, snapshot: &Snapshot) -> bool {
    let mut any = false;
    for (proxy, config) in snapshot.model.numbered() {
        for server in config.backend.iter().flat_map(|backend| &backend.servers) {
            if server.state.member.status().run != Run::Starting {
                continue;
            }
            let place = Place { proxy, server: ServerId(server.index) };
            if let Some(site) = Site::new(shared, snapshot, place) {
                any |= site.warm_up();
            }
        }
    }
    any
}

/// Takes in what a check found.
pub(crate) fn checked(
    shared: &Shared,
    snapshot: &Snapshot,
    place: Place,
    finding: Finding,
    took: Duration,
) {
    let Some(site) = Site::new(shared, snapshot, place) else { return };
    let Some(result) = finding.status.result() else { return };
    if result != CheckResult::Failed {
        site.server.state.notes.errors.store(0, Relaxed);
    }
    site.found(finding, Some(took), |health, now_ms| Some(health.on_result(result, now_ms)));
}

/// Enough errors in a row were seen in the traffic of a server: does what its `on-error` says.
pub(crate) fn observed(
    shared: &Shared,
    snapshot: &Snapshot,
    place: Place,
    on_error: OnError,
    text: String,
) {
    let Some(site) = Site::new(shared, snapshot, place) else { return };
    if site.server.check.as_ref().is_some_and(|check| check.fastinter.is_some()) {
        site.server.state.hurried.store(true, Relaxed);
        shared.hurry.notify_one();
    }
    if on_error == OnError::FastInter {
        return;
    }
    let finding = Finding::new(CheckStatus::Analyzed, text);
    site.found(finding, None, |health, now_ms| health.on_errors(on_error, now_ms));
}

/// Keeps a server out, because its traffic shows it to be worse than its peers.
pub(crate) fn eject(shared: &Shared, snapshot: &Snapshot, place: Place, ejection: &Ejection) {
    let Some(site) = Site::new(shared, snapshot, place) else { return };
    let change = site.change(|health, now_ms| _ = health.set_standing(Standing::Ejected, now_ms));
    if let Some(change) = change {
        site.say(Level::Warning, &lines::ejected(&site, &change, ejection));
        site.tell_backend(&change);
    }
}

/// Lets a server in again, on probation if its tally says so. `None` says that nothing was known of an ejection: the
/// configuration has none any more.
pub(crate) fn readmit(
    shared: &Shared,
    snapshot: &Snapshot,
    place: Place,
    ejection: Option<&Ejection>,
) {
    let Some(site) = Site::new(shared, snapshot, place) else { return };
    let standing = match site.server.state.notes.tally.on_probation() {
        true => Standing::Probation,
        false => Standing::In,
    };
    let change = site.change(|health, now_ms| _ = health.set_standing(standing, now_ms));
    if let Some(change) = change {
        let since_ms = ejection.map(|ejection| ejection.since_ms);
        let lasted = since_ms.map(|since_ms| shared.now_ms().saturating_sub(since_ms));
        site.say(Level::Notice, &lines::readmitted(&site, &change, lasted));
        site.tell_backend(&change);
    }
}

/// Ends a server's probation: it is given as many requests as any.
pub(crate) fn end_probation(shared: &Shared, snapshot: &Snapshot, place: Place) {
    let Some(site) = Site::new(shared, snapshot, place) else { return };
    if site.server.state.member.status().standing != Standing::Probation {
        return;
    }
    let change = site.change(|health, now_ms| _ = health.set_standing(Standing::In, now_ms));
    if change.is_some() {
        site.say(Level::Notice, &lines::proved(&site));
    }
}

/// Does what an administrator asks. `cause` is added to the line in the log; empty for none.
///
/// Returns whether there is such a server.
pub fn order(
    shared: &Shared,
    snapshot: &Snapshot,
    place: Place,
    order: Order,
    cause: &str,
) -> bool {
    let Some(site) = Site::new(shared, snapshot, place) else { return false };
    if matches!(order, Order::Ready | Order::Health(Forced::Up)) {
        site.end_ejection();
    }
    match order {
        Order::Ready => {
            site.clear_flag(Admin::DRAIN_FORCED);
            site.clear_flag(Admin::MAINT_FORCED.with(Admin::MAINT_CONFIGURED));
        }
        Order::Drain => {
            site.set_flag(Admin::DRAIN_FORCED, cause);
            site.clear_flag(Admin::MAINT_FORCED.with(Admin::MAINT_CONFIGURED));
        }
        Order::Maintenance => {
            site.set_flag(Admin::MAINT_FORCED, cause);
            site.clear_flag(Admin::DRAIN_FORCED);
        }
        Order::Unresolved => site.set_flag(Admin::MAINT_RESOLUTION, cause),
        Order::Resolved => site.clear_flag(Admin::MAINT_RESOLUTION),
        Order::Health(forced) => {
            let reason = if cause.is_empty() { Reason::None } else { Reason::Text(cause) };
            site.force(forced, &reason);
        }
        Order::Agent { up } => {
            let change = site.change(|health, now_ms| _ = health.force_agent(up, now_ms));
            site.changed(change, &Reason::Text(cause));
        }
    }
    true
}

/// Switches a server's agent on or off.
pub(crate) fn set_agent(shared: &Shared, snapshot: &Snapshot, place: Place, enabled: bool) {
    let Some(site) = Site::new(shared, snapshot, place) else { return };
    site.server.state.probing().agent_disabled = !enabled;
    site.change(|health, _| health.set_agent(enabled && site.server.agent.is_some()));
}

/// Takes a new weight or limits of a server into the balancing. Returns whether there is such a server.
pub fn rebalance(shared: &Shared, snapshot: &Snapshot, place: Place) -> bool {
    let Some(site) = Site::new(shared, snapshot, place) else { return false };
    let before = site.backend.pool.usable();
    let status = site.server.state.member.status();
    let moved = site.settle();
    site.tell_backend(&Change { from: status, to: status, before, moved });
    true
}

/// A server with all that belongs to it.
struct Site<'a> {
    shared: &'a Shared,
    snapshot: &'a Snapshot,
    id: ProxyId,
    proxy: &'a Proxy,
    backend: &'a Backend,
    server: &'a Server,
    member: MemberId,
}

/// What a change of state did.
struct Change {
    from: Status,
    to: Status,
    /// The servers in use before, regular and backup.
    before: (u32, u32),
    moved: Moved,
}

impl<'a> Site<'a> {
    fn new(shared: &'a Shared, snapshot: &'a Snapshot, place: Place) -> Option<Self> {
        let proxy = snapshot.model.proxies.get(place.proxy.0 as usize)?;
        let backend = proxy.backend.as_ref()?;
        let server = backend.servers.get(place.server.0 as usize)?;
        let (id, member) = (place.proxy, MemberId(place.server.0));
        Some(Self { shared, snapshot, id, proxy, backend, server, member })
    }

    /// Takes in what a check found, or what stands for one, and lets it count by `judge`.
    fn found(
        &self,
        finding: Finding,
        took: Option<Duration>,
        judge: impl FnOnce(&mut Health, u64) -> Option<Checked>,
    ) {
        let Some(result) = finding.status.result() else { return };
        let (same, report) = {
            let mut report = self.server.state.check_report();
            let same = report.status == finding.status;
            report.take(finding, took);
            (same, report.clone())
        };
        let logs_checks = self.logs_checks();
        let change = self.change(|health, now_ms| {
            let counted = judge(health, now_ms).is_some_and(|checked| checked.counted);
            if logs_checks && (counted || !same) {
                let progress = health.status().checks;
                self.say(Level::Notice, &lines::check(self, "Health", &report, result, progress));
            }
        });
        self.changed(change, &self.reason(&report));
    }

    /// Changes the health and, where that makes it another state, the balancing.
    fn change(&self, edit: impl FnOnce(&mut Health, u64)) -> Option<Change> {
        let state = &self.server.state;
        let mut health = state.health();
        let from = health.status();
        edit(&mut health, self.shared.now_ms());
        let to = health.status();
        let changed = from.run != to.run || from.admin != to.admin || from.standing != to.standing;
        if changed && to.run == Run::Starting {
            self.shared.slow_start.notify_one();
        }
        // The pool reads the member: what it counted before has to be asked first.
        let before = if changed { self.backend.pool.usable() } else { (0, 0) };
        health.publish(&state.member);
        drop(health);
        changed.then(|| {
            self.end_sessions(from, to);
            if self.backend.outlier_ejection.is_some() && from.standing == to.standing {
                self.shared.news.changed(&self.proxy.name, self.server);
            }
            Change { from, to, before, moved: self.settle() }
        })
    }

    /// `on-marked-down` and `on-marked-up`.
    fn end_sessions(&self, from: Status, to: Status) {
        let (was_up, is_up) = (from.run != Run::Stopped, to.run != Run::Stopped);
        if self.server.shuts_down && was_up && !is_up {
            self.end_sessions_on(self.server, Cause::Down);
        }
        let member = &self.server.state.member;
        let works = to.takes_new() && member.weight() > 0 && !member.is_backup();
        if self.server.takes_back && !was_up && works {
            let backups = self.backend.servers.iter().filter(|s| s.state.member.is_backup());
            backups.for_each(|backup| self.end_sessions_on(backup, Cause::Up));
        }
    }

    fn end_sessions_on(&self, server: &Server, cause: Cause) {
        let Some(peers) = self.shared.peers.get() else { return };
        for index in 0..peers.len() {
            let (backend, server) = (Arc::clone(&self.proxy.name), Arc::clone(&server.name));
            // A worker whose mailbox is full keeps its sessions.
            _ = peers.send(index, move |worker| worker.live.kill_on(&backend, &server, cause));
        }
    }

    /// One step of a slow start; returns whether it is still under way.
    fn warm_up(&self) -> bool {
        let state = &self.server.state;
        let before = self.backend.pool.usable();
        let mut health = state.health();
        let (changed, transition) = health.warm_up(self.shared.now_ms());
        let is_starting = health.status().run == Run::Starting;
        if changed {
            health.publish(&state.member);
            drop(health);
            let moved = self.settle();
            if let Some(transition) = transition {
                let change = Change { from: transition.from, to: transition.to, before, moved };
                self.tell_run(&change, &Reason::None);
                self.tell_backend(&change);
            }
        }
        is_starting
    }

    /// Tells the pool of a changed member, and those who waited what became of it.
    fn settle(&self) -> Moved {
        let pool = &self.backend.pool;
        let queued = self.server.state.member.load.queued();
        let was_in_use = pool.in_use();
        let mut rng = Rng::new(self.shared.now_ms());
        let settled = pool.member_changed(self.member, &mut rng, self.shared.now_ms());
        let left = queued.saturating_sub(self.server.state.member.load.queued());
        let moved = Moved {
            requeued: left,
            granted: u32::try_from(settled.granted.len()).unwrap_or(u32::MAX),
            usable: pool.usable(),
            in_use: (was_in_use, pool.in_use()),
        };
        for grant in settled.granted {
            deliver(pool, grant.member, Some(grant));
        }
        // Those who are refused learn it from the closed channel.
        drop(settled.refused);
        moved
    }

    /// Lets it in again because an administrator says so.
    fn end_ejection(&self) {
        let now_ms = self.shared.now_ms();
        let ended = self.proxy.state.backend.outliers().readmit(self.member.index(), now_ms);
        if let Some(outlier::Change::Readmit(_, ejection)) = ended {
            let place = Place { proxy: self.id, server: ServerId(self.member.0) };
            self.server.state.notes.tally.begin(0);
            readmit(self.shared, self.snapshot, place, Some(&ejection));
        } else if self.server.state.notes.tally.on_probation() {
            let place = Place { proxy: self.id, server: ServerId(self.member.0) };
            self.server.state.notes.tally.begin(0);
            end_probation(self.shared, self.snapshot, place);
        }
    }

    fn force(&self, forced: Forced, reason: &Reason<'_>) {
        let change = self.change(|health, now_ms| _ = health.force(forced, now_ms));
        self.changed(change, reason);
    }

    /// Tells whom it concerns that the server went up, down or stopping.
    fn changed(&self, change: Option<Change>, reason: &Reason<'_>) {
        if let Some(change) = change {
            self.tell_run(&change, reason);
            self.tell_backend(&change);
            if change.to.admin.is_drained() {
                self.say(Level::Notice, &lines::remains_drained(self, change.to.admin));
            }
            self.follow_run(change.to.run);
        }
    }

    /// Says that it takes no new requests whatever its weight is now.
    fn tell_drained(&self) {
        let admin = self.server.state.member.status().admin;
        if admin.is_drained() && !admin.in_maintenance() {
            self.say(Level::Notice, &lines::remains_drained(self, admin));
        }
    }

    fn logs_checks(&self) -> bool {
        self.proxy.options.log_health_checks
    }

    /// What a check found, unless it has been logged already.
    fn reason<'r>(&self, report: &'r CheckReport) -> Reason<'r> {
        if self.logs_checks() { Reason::None } else { Reason::Report(report) }
    }

    /// The servers that track this one go where it went.
    fn follow_run(&self, run: Run) {
        let forced = match run {
            Run::Stopped => Forced::Down,
            Run::Stopping => Forced::Stopping,
            Run::Starting | Run::Running => Forced::Up,
        };
        self.each_tracker(|tracker| tracker.force(forced, &Reason::None));
    }

    fn set_flag(&self, flag: Admin, cause: &str) {
        let was = self.server.state.member.status();
        if was.admin.has(flag) {
            return;
        }
        let admin = was.admin.with(flag);
        let Some(change) = self.set_admin(admin) else { return };
        let forced = flag == Admin::MAINT_FORCED || flag == Admin::DRAIN_FORCED;
        if flag.in_maintenance() {
            if !was.admin.in_maintenance() {
                let line = lines::enters_maintenance(self, &change, cause, forced);
                let paused = was.run == Run::Stopped || was_stopping(was);
                self.say(if paused { Level::Notice } else { Level::Alert }, &line);
                self.tell_backend(&change);
                self.each_tracker(|tracker| tracker.set_flag(Admin::MAINT_INHERITED, cause));
            }
        } else if !was.admin.in_maintenance() {
            let line = if was.admin.is_drained() {
                lines::remains_drained(self, admin)
            } else {
                lines::enters_drain(self, &change, cause, forced)
            };
            self.say(Level::Notice, &line);
            self.tell_backend(&change);
            if !was.admin.is_drained() {
                self.each_tracker(|tracker| tracker.set_flag(Admin::DRAIN_INHERITED, cause));
            }
        } else if !was.admin.is_drained() {
            self.each_tracker(|tracker| tracker.set_flag(Admin::DRAIN_INHERITED, cause));
        }
    }

    fn clear_flag(&self, flags: Admin) {
        let was = self.server.state.member.status();
        if !was.admin.has(flags) {
            return;
        }
        let admin = was.admin.without(flags);
        let Some(change) = self.set_admin(admin) else { return };
        if flags.in_maintenance() {
            let line = if admin.in_maintenance() {
                lines::remains_in_maintenance(self, flags)
            } else {
                lines::leaves_maintenance(self, &change, flags)
            };
            self.say(Level::Notice, &line);
            self.tell_backend(&change);
            if !admin.in_maintenance() {
                if admin.is_drained() {
                    self.say(Level::Notice, &lines::remains_drained(self, admin));
                }
                self.each_tracker(|tracker| tracker.clear_flag(Admin::MAINT_INHERITED));
            }
            return;
        }
        if !was.admin.in_maintenance() {
            let line = if admin.is_drained() {
                lines::remains_drained(self, admin)
            } else {
                lines::leaves_drain(self, &change)
            };
            self.say(Level::Notice, &line);
            self.tell_backend(&change);
        }
        if !admin.is_drained() {
            self.each_tracker(|tracker| tracker.clear_flag(Admin::DRAIN_INHERITED));
        }
    }

    /// Sets what is asked of the server. One that leaves maintenance is where the server is that it tracks.
    fn set_admin(&self, admin: Admin) -> Option<Change> {
        let tracked = self.tracked().map(|(_, server)| server.state.member.status().run);
        self.change(|health, now_ms| {
            let left = health.status().admin.in_maintenance() && !admin.in_maintenance();
            _ = health.set_admin(admin, now_ms);
            match tracked {
                Some(Run::Stopped) if left => _ = health.force(Forced::Down, now_ms),
                Some(Run::Stopping) if left => _ = health.force(Forced::Stopping, now_ms),
                _ => {}
            }
        })
    }

    /// The server that this one tracks, and its proxy.
    fn tracked(&self) -> Option<(&'a Proxy, &'a Server)> {
        let (proxy, server) = self.server.tracks?;
        Some((self.snapshot.model.proxy(proxy), self.snapshot.model.server(proxy, server)?))
    }

    fn each_tracker(&self, act: impl Fn(&Site<'_>)) {
        for (proxy, server) in &self.server.trackers {
            let place = Place { proxy: *proxy, server: *server };
            if let Some(tracker) = Site::new(self.shared, self.snapshot, place) {
                act(&tracker);
            }
        }
    }

    /// Logs that the server went up, down or stopping.
    fn tell_run(&self, change: &Change, reason: &Reason<'_>) {
        if change.from.run == change.to.run {
            return;
        }
        let alarming = change.to.run == Run::Stopped && !was_stopping(change.from);
        let level = if alarming { Level::Alert } else { Level::Notice };
        self.say(level, &lines::run(self, change, reason));
    }

    /// Keeps the record of the backend, and logs when its last server went.
    fn tell_backend(&self, change: &Change) {
        let record = &self.proxy.state.backend;
        let was = change.before.0 + change.before.1;
        let is = change.moved.usable.0 + change.moved.usable.1;
        let now_ms = self.shared.now_ms();
        if was == 0 && is > 0 {
            let since = record.last_change_ms.swap(now_ms, Relaxed);
            record.downtime_ms.fetch_add(now_ms.saturating_sub(since), Relaxed);
        } else if was > 0 && is == 0 && change.moved.in_use.1 != InUse::Panic {
            record.last_change_ms.store(now_ms, Relaxed);
            record.down_transitions.fetch_add(1, Relaxed);
            let (kind, name) = (lines::kind(self.proxy), &self.proxy.name);
            notice::alert(format_args!("{kind} '{name}' has no server available!"));
            let line = format!("{kind} {name} has no server available!");
            send(Level::Emergency, self.proxy, &line);
        }
        match change.moved.in_use {
            (before, InUse::Panic) if before != InUse::Panic => {
                self.say(Level::Alert, &lines::panic_begins(self, change));
            }
            (InUse::Panic, after) if after != InUse::Panic => {
                self.say(Level::Notice, &lines::panic_ends(self, change));
            }
            _ => {}
        }
    }

    fn say(&self, level: Level, line: &str) {
        notice::warning(format_args!("{line}"));
        send(level, self.proxy, line);
    }
}

fn was_stopping(status: Status) -> bool {
    status.run == Run::Stopping || status.admin.is_drained()
}

fn check_config(check: &ServerCheck) -> CheckConfig {
    let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    CheckConfig {
        rise: u16::try_from(check.rise).unwrap_or(u16::MAX),
        fall: u16::try_from(check.fall).unwrap_or(u16::MAX),
        inter_ms: ms(check.inter),
        fastinter_ms: check.fastinter.map(ms),
        downinter_ms: check.downinter.map(ms),
    }
}
