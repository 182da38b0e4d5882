//! A member of a pool: what a name stands for, across reloads and for all workers.
//!
//! Everything in a [`Member`] may be read from anywhere at any time. A configuration that names
//! the same member again applies its settings with [`Member::configure`] and keeps the load,
//! the counters and the status.

mod usage;

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, PoisonError};

use crate::agent::Usage;
use crate::counters::PerWorker;
use crate::rate::{RateCounter, SlidingAverage};
use crate::strategy::WEIGHT_SCALE;

use usage::LastUsage;
pub use usage::{UsageError, WHOLE};

/// A member's place in its [`Pool`](crate::Pool): the order of the configuration, from 0.
///
/// It belongs to one configuration; across reloads a member is known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u32);

impl MemberId {
    /// The same as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a configuration says about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberConfig {
    /// The number that sockets and pages know it by, and the order of `first` (HAProxy's `id`).
    pub number: u32,
    /// Share of the units, 0 to 256; 0 takes none but those that persistence brings.
    pub weight: u32,
    /// How many units it takes at once.
    pub limits: Limits,
    /// Used only when no other member is usable.
    pub backup: bool,
    /// Its level: members of the lowest that is usable take everything. Backups come after all.
    pub priority: u8,
    /// Where it is, as its line says: strategies that place members by address use this, so
    /// that a member that is renamed keeps its keys.
    pub place: Arc<str>,
}

impl Default for MemberConfig {
    fn default() -> Self {
        Self {
            number: 1,
            weight: 1,
            limits: Limits::default(),
            backup: false,
            priority: 0,
            place: Arc::default(),
        }
    }
}

/// How many units a member takes at once and lets wait. Source: HAProxy configuration manual,
/// `maxconn`, `minconn` and `maxqueue` of a server; `max_requests` is our own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most units in flight; 0 is no limit.
    pub maxconn: u32,
    /// The limit while the pool is idle; it grows to `maxconn` as the pool's load nears its
    /// `fullconn`. 0 is `maxconn`.
    pub minconn: u32,
    /// The most units waiting for this member alone; 0 is no limit.
    pub maxqueue: u32,
    /// The most units in flight beyond which none waits either; 0 is no limit.
    pub max_requests: u32,
}

impl Limits {
    /// How many units may be in flight while the pool holds `units` of its `fullconn`.
    /// `None` is no limit.
    pub fn effective(&self, units: u32, fullconn: u32) -> Option<u32> {
        let max = if self.maxconn == 0 { self.minconn } else { self.maxconn };
        let min = if self.minconn == 0 { max } else { self.minconn.min(max) };
        if max == 0 {
            return None;
        }
        if units >= fullconn || min == max {
            return Some(max);
        }
        let share = u64::from(units) * u64::from(max) / u64::from(fullconn);
        Some(min.max(share as u32))
    }
}

/// One server, upstream or task; shared by workers, control thread and configurations.
#[derive(Debug)]
pub struct Member {
    name: Box<str>,
    uid: NonZeroU64,
    number: AtomicU32,
    backup: AtomicBool,
    priority: AtomicU8,
    place: Mutex<Arc<str>>,
    weight_initial: AtomicU32,
    weight: AtomicU32,
    maxconn: AtomicU32,
    /// What the configuration says, where `maxconn` may have been set since.
    maxconn_initial: AtomicU32,
    minconn: AtomicU32,
    maxqueue: AtomicU32,
    max_requests: AtomicU32,
    /// The most units that it may have in flight without anybody waiting for more; [`NO_BREAKER`]
    /// is none. Follows from `max_requests` and the status.
    breaker: AtomicU32,
    /// Units that were refused at a limit.
    turned_away: AtomicU64,
    /// Seconds of the slow start that are over, then (upper half) all that it takes; 0 is none.
    slow_start: AtomicU64,
    status: AtomicU64,
    last_change_ms: AtomicU64,
    usage: LastUsage,
    /// Units in flight and waiting.
    pub load: Load,
    /// What its workers counted.
    pub counters: PerWorker,
    /// Units per second.
    pub rate: RateCounter,
    /// How long its units took.
    pub times: Times,
}

/// Averages and maxima of the four times that HAProxy reports, in milliseconds.
#[derive(Debug, Default)]
pub struct Times {
    /// In the queue.
    pub queue: Timing,
    /// Connecting.
    pub connect: Timing,
    /// From the request's end to the response's begin.
    pub response: Timing,
    /// In all.
    pub total: Timing,
}

impl Times {
    /// Takes in the four times of a unit, in milliseconds and in the order of the fields; `None` is a time it never had.
    pub fn add(&self, ms: [Option<u32>; 4]) {
        let timings = [&self.queue, &self.connect, &self.response, &self.total];
        for (timing, ms) in timings.into_iter().zip(ms) {
            if let Some(ms) = ms {
                timing.add(ms);
            }
        }
    }
}

/// One kind of time: its sliding average and its maximum.
#[derive(Debug, Default)]
pub struct Timing {
    /// Mean of the last 512 or so.
    pub average: SlidingAverage,
    max: AtomicU32,
}

impl Timing {
    /// Takes in one time, in milliseconds.
    pub fn add(&self, ms: u32) {
        self.average.add(ms);
        if ms > self.max.load(Relaxed) {
            self.max.fetch_max(ms, Relaxed);
        }
    }

    /// The longest so far, in milliseconds.
    pub fn max(&self) -> u32 {
        self.max.load(Relaxed)
    }

    /// Forgets the longest.
    pub fn reset_max(&self) {
        self.max.store(0, Relaxed);
    }
}

impl Member {
    /// A member that is up and unchecked, counted by `workers` workers.
    pub fn new(name: &str, config: &MemberConfig, workers: usize) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let uid = NEXT.fetch_add(1, Relaxed);
        let member = Self {
            name: name.into(),
            uid: NonZeroU64::new(uid).unwrap_or(NonZeroU64::MAX),
            number: AtomicU32::new(0),
            backup: AtomicBool::new(false),
            priority: AtomicU8::new(0),
            place: Mutex::default(),
            weight_initial: AtomicU32::new(0),
            weight: AtomicU32::new(config.weight.min(WEIGHT_MAX)),
            maxconn: AtomicU32::new(0),
            maxconn_initial: AtomicU32::new(0),
            minconn: AtomicU32::new(0),
            maxqueue: AtomicU32::new(0),
            max_requests: AtomicU32::new(0),
            breaker: AtomicU32::new(NO_BREAKER),
            turned_away: AtomicU64::new(0),
            slow_start: AtomicU64::new(0),
            status: AtomicU64::new(Status::default().pack()),
            last_change_ms: AtomicU64::new(0),
            usage: LastUsage::default(),
            load: Load::default(),
            counters: PerWorker::new(workers),
            rate: RateCounter::default(),
            times: Times::default(),
        };
        member.configure(config);
        Arc::new(member)
    }

    /// Applies what a configuration says. A weight or a `maxconn` set at run time stays unless the
    /// configuration's own changed. The pool has to be told:
    /// [`Pool::member_changed`](crate::Pool::member_changed).
    pub fn configure(&self, config: &MemberConfig) {
        self.number.store(config.number, Relaxed);
        self.backup.store(config.backup, Relaxed);
        self.priority.store(config.priority, Relaxed);
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&config.place);
        let mut limits = config.limits;
        if self.maxconn_initial.swap(limits.maxconn, Relaxed) == limits.maxconn {
            limits.maxconn = self.maxconn.load(Relaxed);
        }
        self.set_limits(limits);
        let weight = config.weight.min(WEIGHT_MAX);
        if self.weight_initial.swap(weight, Relaxed) != weight {
            self.weight.store(weight, Relaxed);
        }
    }

    /// Sets the weight, 0 to 256 (above it is 256). Tell the pool.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight.min(WEIGHT_MAX), Relaxed);
    }

    /// Sets the limits. Tell the pool.
    pub fn set_limits(&self, limits: Limits) {
        self.maxconn.store(limits.maxconn, Relaxed);
        self.minconn.store(limits.minconn, Relaxed);
        self.maxqueue.store(limits.maxqueue, Relaxed);
        self.max_requests.store(limits.max_requests, Relaxed);
        self.set_breaker();
    }

    fn set_breaker(&self) {
        let breaker = match (self.status().standing, self.max_requests.load(Relaxed)) {
            (Standing::Probation, _) => 1,
            (_, 0) => NO_BREAKER,
            (_, max_requests) => max_requests,
        };
        self.breaker.store(breaker, Relaxed);
    }

    /// Takes in what the member says of its own load, by an agent or in its answers. Costs one
    /// store; `balance usage` looks at it with the next choice.
    pub fn report_usage(&self, usage: &Usage, now_ms: u64) {
        self.usage.report(usage, now_ms);
    }

    /// Forgets what the member said of its load: it has moved, or was restarted.
    pub fn forget_usage(&self) {
        self.usage.forget();
    }

    /// Publishes its state; `changed_ms` is when it last changed
    /// ([`Health::publish`](crate::health::Health::publish) knows). Tell the pool.
    pub fn set_status(&self, status: Status, changed_ms: u64) {
        self.status.store(status.pack(), Release);
        self.set_breaker();
        self.last_change_ms.store(changed_ms, Relaxed);
    }

    /// The name, unique in its pool.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number that sockets and pages know it by.
    pub fn number(&self) -> u32 {
        self.number.load(Relaxed)
    }

    /// Whether it is used only when no other member is.
    pub fn is_backup(&self) -> bool {
        self.backup.load(Relaxed)
    }

    /// Its level, 0 first; of no meaning for a backup.
    pub fn priority(&self) -> u8 {
        self.priority.load(Relaxed)
    }

    /// Where it is, as its configuration says.
    pub fn place(&self) -> Arc<str> {
        Arc::clone(&self.place.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How loaded it says it is, in parts of [`WHOLE`], averaged over a second; `None` when it
    /// said nothing in the last `expire_ms`.
    pub fn usage(&self, expire_ms: u64, now_ms: u64) -> Option<u64> {
        let (load, age_ms) = self.usage.load(now_ms)?;
        (age_ms <= expire_ms).then_some(load)
    }

    /// The weight now, 0 to 256.
    pub fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    /// The configuration's weight.
    pub fn weight_initial(&self) -> u32 {
        self.weight_initial.load(Relaxed)
    }

    /// The limits now.
    pub fn limits(&self) -> Limits {
        Limits {
            maxconn: self.maxconn.load(Relaxed),
            minconn: self.minconn.load(Relaxed),
            maxqueue: self.maxqueue.load(Relaxed),
            max_requests: self.max_requests.load(Relaxed),
        }
    }

    /// Whether it has as many units in flight as it may without letting others wait: those of
    /// `max_requests`, or on probation a single one.
    pub fn is_broken_off(&self) -> bool {
        self.load.current() >= self.breaker.load(Relaxed)
    }

    /// Whether there is such a limit.
    pub(crate) fn has_breaker(&self) -> bool {
        self.breaker.load(Relaxed) != NO_BREAKER
    }

    /// How many units that had to go there were refused because a limit was reached.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Relaxed)
    }

    pub(crate) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Relaxed);
    }

    /// Its administrative and health state, read in one piece.
    pub fn status(&self) -> Status {
        Status::unpack(self.status.load(Acquire))
    }

    /// When the state changed last, in the caller's milliseconds.
    pub fn last_change_ms(&self) -> u64 {
        self.last_change_ms.load(Relaxed)
    }

    /// The weight that a strategy sees: 0 unless it may be given new units.
    pub fn effective_weight(&self) -> u32 {
        if self.status().takes_new() { self.weight() } else { 0 }
    }

    /// The same in sixteenths, of which a slow start allows as many as its time has passed, one at
    /// least.
    pub fn effective_share(&self) -> u32 {
        self.effective_weight() * self.warm_steps()
    }

    /// The weight now, rounded up, whatever its state; less than [`Member::weight`] in a slow start.
    pub fn warm_weight(&self) -> u32 {
        (self.weight() * self.warm_steps()).div_ceil(WEIGHT_SCALE)
    }

    /// How many percent of its weight a slow start allows; `None` when it is in none.
    pub(crate) fn throttle_percent(&self) -> Option<u32> {
        self.slow_start()?;
        let weight = self.weight();
        let share = weight * self.warm_steps();
        Some((100 * share + WEIGHT_SCALE - 1).checked_div(WEIGHT_SCALE * weight).unwrap_or(100))
    }

    /// How many of [`WEIGHT_SCALE`] steps its slow start has come to.
    fn warm_steps(&self) -> u32 {
        match self.slow_start() {
            Some(slow) => {
                let (over, total) = (u64::from(slow.elapsed_s), u64::from(slow.total_s));
                ((u64::from(WEIGHT_SCALE) * over + total) / total).min(WEIGHT_SCALE.into()) as u32
            }
            None => WEIGHT_SCALE,
        }
    }

    /// How far its slow start is; `None` when it is in none.
    pub fn slow_start(&self) -> Option<SlowStart> {
        let packed = self.slow_start.load(Relaxed);
        let (elapsed_s, total_s) = (packed as u32, (packed >> 32) as u32);
        (total_s > 0).then_some(SlowStart { elapsed_s, total_s })
    }

    /// Sets how far its slow start is. Tell the pool.
    pub fn set_slow_start(&self, slow: Option<SlowStart>) {
        let pack = |slow: SlowStart| u64::from(slow.total_s) << 32 | u64::from(slow.elapsed_s);
        self.slow_start.store(slow.map_or(0, pack), Relaxed);
    }

    /// How many units it may have in flight now, while the pool holds `units` of its `fullconn`;
    /// `None` is no limit. A slow start allows a part of it, one at least.
    pub fn limit(&self, units: u32, fullconn: u32) -> Option<u32> {
        let limit = self.limits().effective(units, fullconn)?;
        Some(match self.slow_start() {
            Some(slow) if slow.elapsed_s < slow.total_s => {
                let percent = 100 * u64::from(slow.elapsed_s) / u64::from(slow.total_s);
                (u64::from(limit) * percent / 100).max(1) as u32
            }
            _ => limit,
        })
    }

    /// The weight that it would have if its checks had found it well; 0 where it is an
    /// administrator, or the member itself, who wants no new units there.
    pub(crate) fn weight_if_well(&self) -> u32 {
        let status = self.status();
        let wanted = status.admin == Admin::READY && status.run != Run::Stopping;
        if wanted { self.weight() } else { 0 }
    }

    /// Whether persistence may still bring it units: up, and at most drained.
    pub fn is_reachable(&self) -> bool {
        self.status().is_reachable()
    }

    pub(crate) fn uid(&self) -> NonZeroU64 {
        self.uid
    }
}

/// How far a slow start is, in whole seconds. Source: HAProxy configuration manual, `slowstart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowStart {
    /// Since it came up.
    pub elapsed_s: u32,
    /// From coming up to its full weight, from 1.
    pub total_s: u32,
}

/// The largest weight.
pub const WEIGHT_MAX: u32 = 256;

/// Never reached: loads are below.
const NO_BREAKER: u32 = u32::MAX;

/// Units in flight and waiting. Written under the pool's lock or by single atomic steps, so
/// that a count is never negative and a peak never missed.
#[derive(Debug, Default)]
#[repr(align(64))] // what every assignment writes shares no cache line with what it reads
pub struct Load {
    current: AtomicU32,
    peak: AtomicU32,
    queued: AtomicU32,
    queued_peak: AtomicU32,
    total: AtomicU64,
}

impl Load {
    /// Units in flight.
    pub fn current(&self) -> u32 {
        self.current.load(Relaxed)
    }

    /// The most units ever in flight.
    pub fn peak(&self) -> u32 {
        self.peak.load(Relaxed)
    }

    /// Units waiting.
    pub fn queued(&self) -> u32 {
        self.queued.load(Relaxed)
    }

    /// The most units ever waiting.
    pub fn queued_peak(&self) -> u32 {
        self.queued_peak.load(Relaxed)
    }

    /// Units ever taken.
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Counts a unit in; returns how many are now in flight.
    pub fn enter(&self) -> u32 {
        self.total.fetch_add(1, Relaxed);
        let now = self.current.fetch_add(1, Relaxed) + 1;
        if now > self.peak.load(Relaxed) {
            self.peak.fetch_max(now, Relaxed);
        }
        now
    }

    /// Counts a unit in unless `limit` are in flight.
    pub fn try_enter(&self, limit: u32) -> bool {
        let step = |now: u32| (now < limit).then(|| now + 1);
        let Ok(before) = self.current.fetch_update(Relaxed, Relaxed, step) else { return false };
        self.total.fetch_add(1, Relaxed);
        self.peak.fetch_max(before + 1, Relaxed);
        true
    }

    /// Counts a unit out. One that was never counted in changes nothing.
    pub fn leave(&self) {
        let left = self.current.fetch_update(Relaxed, Relaxed, |now| now.checked_sub(1));
        debug_assert!(left.is_ok(), "a unit left that never entered");
    }

    /// Lets the peaks begin anew at what is there now.
    pub fn reset_peaks(&self) {
        self.peak.store(self.current(), Relaxed);
        self.queued_peak.store(self.queued(), Relaxed);
    }

    pub(crate) fn wait(&self) {
        let now = self.queued.fetch_add(1, Relaxed) + 1;
        self.queued_peak.fetch_max(now, Relaxed);
    }

    pub(crate) fn stop_waiting(&self) {
        let left = self.queued.fetch_update(Relaxed, Relaxed, |now| now.checked_sub(1));
        debug_assert!(left.is_ok(), "a unit left a queue it was not in");
    }
}

/// What an administrator or the configuration asked of a member; the flags add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Admin(u8);

impl Admin {
    /// Nothing asked: ready.
    pub const READY: Self = Self(0);
    /// Maintenance by the socket or page.
    pub const MAINT_FORCED: Self = Self(1);
    /// Maintenance taken over from a tracked member.
    pub const MAINT_INHERITED: Self = Self(2);
    /// Maintenance by `disabled` in the configuration.
    pub const MAINT_CONFIGURED: Self = Self(4);
    /// Maintenance because its name does not resolve.
    pub const MAINT_RESOLUTION: Self = Self(8);
    /// Drained by the socket or page.
    pub const DRAIN_FORCED: Self = Self(16);
    /// Drain taken over from a tracked member.
    pub const DRAIN_INHERITED: Self = Self(32);

    /// Whether any of `flags` is set.
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// These flags and `flags`.
    #[must_use]
    pub fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// These flags without `flags`.
    #[must_use]
    pub fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    /// Whether it is in maintenance for any reason.
    pub fn in_maintenance(self) -> bool {
        self.0 & 0x0f != 0
    }

    /// Whether it is drained for any reason.
    pub fn is_drained(self) -> bool {
        self.0 & 0x30 != 0
    }

    /// The flags as a number, as saved states and `show servers state` would.
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// Whether a member runs, as far as its checks know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Run {
    /// Down.
    Stopped = 0,
    /// Up, in its slow start.
    Starting = 1,
    /// Up.
    Running = 2,
    /// Up, wants no new units (its check said so: `disable-on-404`).
    Stopping = 3,
}

/// How far the checks have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// 0 (surely down) to `rise + fall - 1` (surely up); up from `rise`.
    pub health: u16,
    /// Successes that bring a member up.
    pub rise: u16,
    /// Failures that take it down.
    pub fall: u16,
}

impl Progress {
    /// Whether nothing is pending: a success would change nothing.
    pub fn is_full(self) -> bool {
        u32::from(self.health) + 1 >= u32::from(self.rise) + u32::from(self.fall)
    }
}

/// What a member's own agent says of its health; it vetoes what the checks find.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum AgentState {
    /// It has none, or the one it has is switched off.
    #[default]
    Absent = 0,
    /// Up, or nothing yet.
    Up = 1,
    /// Down, until it says up again.
    Down = 2,
}

/// A member's state in one piece: 64 bits that are published and read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What was asked of it.
    pub admin: Admin,
    /// What its checks found.
    pub run: Run,
    /// How far the checks have got; `None` without checks.
    pub checks: Option<Progress>,
    /// What its agent says.
    pub agent: AgentState,
    /// What its traffic has brought it to.
    pub standing: Standing,
}

/// What a member's traffic has brought it to ([`outlier`](crate::outlier)): a circuit that is
/// closed, half open or open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// Nothing: it is in.
    #[default]
    In = 0,
    /// It was out; it is given one unit at a time until it has proved itself.
    Probation = 1,
    /// Kept out for a time.
    Ejected = 2,
}

impl Default for Status {
    fn default() -> Self {
        let agent = AgentState::Absent;
        let standing = Standing::In;
        Self { admin: Admin::READY, run: Run::Running, checks: None, agent, standing }
    }
}

impl Status {
    /// Whether a strategy may give it new units, its weight permitting.
    pub fn takes_new(self) -> bool {
        self.admin == Admin::READY
            && !self.is_ejected()
            && matches!(self.run, Run::Running | Run::Starting)
    }

    /// Whether persistence may bring it units.
    pub fn is_reachable(self) -> bool {
        !self.admin.in_maintenance() && !self.is_ejected() && self.run != Run::Stopped
    }

    /// Whether it is kept out because its traffic fails.
    pub fn is_ejected(self) -> bool {
        self.standing == Standing::Ejected
    }

    /// The words of HAProxy's `status` column; `via` names the tracked member as
    /// `backend/server` where maintenance was taken over from it.
    pub fn text(self, via: Option<&str>) -> String {
        StatusText { status: self, via }.to_string()
    }

    fn pack(self) -> u64 {
        let checks = self.checks.map_or(0, |c| {
            1 << 48 | u64::from(c.health) | u64::from(c.rise) << 16 | u64::from(c.fall) << 32
        });
        checks
            | u64::from(self.admin.0) << 56
            | (self.agent as u64) << 54
            | (self.run as u64) << 52
            | (self.standing as u64) << 49
    }

    fn unpack(bits: u64) -> Self {
        let run = match bits >> 52 & 3 {
            0 => Run::Stopped,
            1 => Run::Starting,
            2 => Run::Running,
            _ => Run::Stopping,
        };
        let checks = (bits >> 48 & 1 == 1).then_some(Progress {
            health: bits as u16,
            rise: (bits >> 16) as u16,
            fall: (bits >> 32) as u16,
        });
        let agent = match bits >> 54 & 3 {
            1 => AgentState::Up,
            2 => AgentState::Down,
            _ => AgentState::Absent,
        };
        let standing = match bits >> 49 & 3 {
            1 => Standing::Probation,
            2 => Standing::Ejected,
            _ => Standing::In,
        };
        Self { admin: Admin((bits >> 56) as u8), run, checks, agent, standing }
    }
}

struct StatusText<'a> {
    status: Status,
    via: Option<&'a str>,
}

impl fmt::Display for StatusText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { admin, run, checks, agent, standing } = self.status;
        if admin.has(Admin::MAINT_RESOLUTION) {
            return f.write_str("MAINT (resolution)");
        }
        if admin.in_maintenance() {
            return match self.via {
                Some(via) if admin.has(Admin::MAINT_INHERITED) => write!(f, "MAINT (via {via})"),
                _ => f.write_str("MAINT"),
            };
        }
        match standing {
            Standing::Ejected if run != Run::Stopped => return f.write_str("EJECTED"),
            Standing::Probation if self.status.takes_new() => return f.write_str("PROBATION"),
            _ => {}
        }
        let word = match run {
            Run::Running | Run::Starting if admin.is_drained() && agent != AgentState::Absent => {
                return f.write_str("DRAIN (agent)");
            }
            Run::Stopped if agent == AgentState::Down => return f.write_str("DOWN (agent)"),
            Run::Running | Run::Starting if admin.is_drained() => "DRAIN",
            Run::Running | Run::Starting if checks.is_none() => return f.write_str("no check"),
            Run::Running | Run::Starting => "UP",
            Run::Stopping => "NOLB",
            Run::Stopped => "DOWN",
        };
        f.write_str(word)?;
        match checks {
            Some(c) if run == Run::Stopped && c.health > 0 => write!(f, " {}/{}", c.health, c.rise),
            Some(c) if run != Run::Stopped && !c.is_full() => {
                write!(f, " {}/{}", i32::from(c.health) - i32::from(c.rise) + 1, c.fall)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
