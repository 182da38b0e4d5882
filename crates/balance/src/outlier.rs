//! Ejecting members that do worse than their peers, for a time.
//!
//! ```text
//!               failures in a row, or in a look: success rate, latency
//!      ┌────┐ ──────────────────────────────────────────────▶ ┌─────────┐
//!      │ In │                                                 │ Ejected │ base-time, doubled each time
//!      └────┘ ◀───┐                        ┌───────────────── └─────────┘
//!                 │ as many successes      ▼ its time is over      ▲
//!                 │ in a row          ┌───────────┐                │
//!                 └────────────────── │ Probation │ ───────────────┘ one failure
//!                                     └───────────┘
//! ```
//!
//! Checks ask a member now and then, from here; traffic asks it all the time, with what it is really for. Workers keep
//! a [`Tally`] per member, one owner holds [`Outliers`] and asks it what to do: at once when a tally says so
//! ([`Outliers::failing`]), every `interval` ([`Outliers::look`]), and when a time is over or members come and go
//! ([`Outliers::settle`]). All answers are [`Change`]s for the owner to make.
//!
//! A member is compared with its peers alone, so one bad among three is seen as well as one among a hundred, and a fault
//! that all have in common (their database) ejects nobody by rate. Never more than `max-ejected` of the members that
//! would otherwise be used are out, rounded down, and the last one only where that share is all of them; where members go
//! down meanwhile, those whose time is nearest its end come back early.
//!
//! It is a circuit breaker too: `In` is closed, `Ejected` open, `Probation` half open, when a member is given one unit at
//! a time ([`Standing`](crate::Standing)). Sources: Envoy's outlier detection; HAProxy has no such thing.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// When a member is an outlier, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierConfig {
    /// Failures in a row that eject; 0 never does. As many successes in a row end a probation.
    pub consecutive: u32,
    /// Milliseconds between two looks at the rates, from 1.
    pub interval_ms: u64,
    /// How long the first ejection lasts. Each further one lasts twice as long; one is forgotten for each such time
    /// that the member stays in.
    pub base_ms: u64,
    /// The longest.
    pub max_ms: u64,
    /// The share of the members that may be out, 0 to 100; the last one only at 100.
    pub max_ejected_percent: u32,
    /// How many thousandths of a standard deviation below the mean of its peers a success rate may lie; 0 is any. The
    /// deviation is taken to be at least [`DEVIATION_MIN`].
    pub success_rate_stdev: u32,
    /// How many thousandths of the median of its peers a latency may be; 0 is any.
    pub latency_factor: u32,
    /// Requests between two looks without which a member is neither judged by its rates nor compared with.
    pub min_requests: u64,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self {
            consecutive: 5,
            interval_ms: 10_000,
            base_ms: 30_000,
            max_ms: 300_000,
            max_ejected_percent: 50,
            success_rate_stdev: 1900,
            latency_factor: 3000,
            min_requests: 20,
        }
    }
}

/// What workers note of a member; shared by all of them.
#[derive(Debug, Default)]
pub struct Tally {
    failed_in_a_row: AtomicU32,
    /// Successes that its probation still takes.
    probation: AtomicU32,
    successes: AtomicU64,
    failures: AtomicU64,
    latency_ms: AtomicU64,
}

/// What a member did since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Requests that it answered as it should.
    pub successes: u64,
    /// Requests that it let down.
    pub failures: u64,
    /// How long it took for the former, in all.
    pub latency_ms: u64,
}

impl Tally {
    /// It did its work within this time. Returns whether that ends its probation.
    #[must_use]
    pub fn succeeded(&self, latency_ms: u32) -> bool {
        self.successes.fetch_add(1, Relaxed);
        self.latency_ms.fetch_add(latency_ms.into(), Relaxed);
        if self.failed_in_a_row.load(Relaxed) > 0 {
            self.failed_in_a_row.store(0, Relaxed);
        }
        if self.probation.load(Relaxed) == 0 {
            return false;
        }
        let less = self.probation.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        less == Ok(1)
    }

    /// It did not. Returns how many failures in a row that makes, when it is for [`Outliers::failing`] to hear of it.
    #[must_use]
    pub fn failed(&self, consecutive: u32) -> Option<u32> {
        self.failures.fetch_add(1, Relaxed);
        let row = self.failed_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        let enough = consecutive > 0 && row.is_multiple_of(consecutive);
        (enough || self.probation.load(Relaxed) > 0).then_some(row)
    }

    /// What it did since this was last asked.
    pub fn take(&self) -> Sample {
        Sample {
            successes: self.successes.swap(0, Relaxed),
            failures: self.failures.swap(0, Relaxed),
            latency_ms: self.latency_ms.swap(0, Relaxed),
        }
    }

    /// Whether it is on probation.
    pub fn on_probation(&self) -> bool {
        self.probation.load(Relaxed) > 0
    }

    /// Begins anew, with a probation that takes so many successes in a row; 0 for none.
    pub fn begin(&self, probation: u32) {
        self.failed_in_a_row.store(0, Relaxed);
        self.probation.store(probation, Relaxed);
        self.take();
    }
}

/// Why a member is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// So many failures in a row.
    Failures(u32),
    /// A failure on probation.
    Probation,
    /// A success rate far below that of its peers, in percent.
    SuccessRate {
        /// Its own.
        percent: u32,
        /// The mean of the others.
        peers: u32,
    },
    /// A latency far above that of its peers, in milliseconds.
    Latency {
        /// Its own.
        ms: u64,
        /// The median of the others.
        peers: u64,
    },
}

/// A member that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Since when, in the caller's milliseconds.
    pub since_ms: u64,
    /// Until when.
    pub until_ms: u64,
    /// Why.
    pub reason: Reason,
}

/// What the owner has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Take this member out.
    Eject(usize, Ejection),
    /// Let it in again.
    Readmit(usize, Ejection),
}

/// The members of a pool, by their place in it, and which of them are out.
#[derive(Debug, Default)]
pub struct Outliers {
    config: OutlierConfig,
    members: Vec<Entry>,
    looked_ms: u64,
}

#[derive(Debug, Default)]
struct Entry {
    name: Box<str>,
    ejection: Option<Ejection>,
    /// Ejections that are not forgotten.
    times: u32,
    /// Ejections ever.
    total: u64,
    /// Since when it is in, or when one ejection was last forgotten.
    in_since_ms: u64,
}

impl Outliers {
    /// Takes over a configuration and its members' names; one that stays keeps what is known of it.
    pub fn configure<'n>(
        &mut self,
        config: OutlierConfig,
        names: impl Iterator<Item = &'n str>,
        now_ms: u64,
    ) {
        self.config = OutlierConfig { interval_ms: config.interval_ms.max(1), ..config };
        let mut before: std::collections::HashMap<Box<str>, Entry> =
            self.members.drain(..).map(|entry| (entry.name.clone(), entry)).collect();
        self.members = names
            .map(|name| {
                before.remove(name).unwrap_or_else(|| Entry {
                    name: name.into(),
                    in_since_ms: now_ms,
                    ..Entry::default()
                })
            })
            .collect();
        if self.looked_ms == 0 {
            self.looked_ms = now_ms;
        }
    }

    /// A member's tally said that it is failing.
    ///
    /// `usable` says of each member whether it takes part but for an ejection: up, not drained, no backup.
    pub fn failing(
        &mut self,
        member: usize,
        row: u32,
        tally: &Tally,
        usable: &[bool],
        now_ms: u64,
    ) -> Option<Change> {
        let reason = match self.config.consecutive {
            enough if enough > 0 && row >= enough => Reason::Failures(row),
            _ if tally.on_probation() => Reason::Probation,
            _ => return None,
        };
        self.eject(member, reason, usable, now_ms)
    }

    /// Looks at what all members did since the last time, when that is due.
    pub fn look(
        &mut self,
        sample: impl Fn(usize) -> Sample,
        usable: &[bool],
        now_ms: u64,
    ) -> Vec<Change> {
        if now_ms < self.next_look_ms() {
            return Vec::new();
        }
        self.looked_ms = now_ms;
        let mut judged = Vec::new();
        for at in 0..self.members.len() {
            let sample = sample(at);
            let requests = sample.successes + sample.failures;
            if requests >= self.config.min_requests.max(1) && self.is_in(at, usable) {
                judged.push((at, sample));
            }
        }
        if judged.len() <= PEERS_MIN {
            return Vec::new();
        }
        let mut found: Vec<(usize, Reason)> = Vec::new();
        for (own, (member, sample)) in judged.iter().enumerate() {
            let peers =
                || judged.iter().enumerate().filter(|(at, _)| *at != own).map(|(_, p)| &p.1);
            let reason = self.slow_or_failing(sample, peers);
            found.extend(reason.map(|reason| (*member, reason)));
        }
        let eject = |(member, reason)| self.eject(member, reason, usable, now_ms);
        found.into_iter().filter_map(eject).collect()
    }

    /// Lets in whose time is over, and those that are too many since others went.
    pub fn settle(&mut self, usable: &[bool], now_ms: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for member in 0..self.members.len() {
            let entry = &self.members[member];
            if entry.ejection.is_some_and(|ejection| ejection.until_ms <= now_ms) {
                changes.extend(self.readmit(member, now_ms));
            }
        }
        while self.out(usable) > self.allowed(usable) {
            let out = (0..self.members.len()).filter(|at| usable.get(*at) == Some(&true));
            let first = out
                .filter_map(|at| Some((self.members[at].ejection?.until_ms, at)))
                .min()
                .and_then(|(_, member)| self.readmit(member, now_ms));
            let Some(change) = first else { break };
            changes.push(change);
        }
        changes
    }

    /// Lets a member in before its time, because an administrator says so. `None` when it is in.
    pub fn readmit(&mut self, member: usize, now_ms: u64) -> Option<Change> {
        let entry = self.members.get_mut(member)?;
        let ejection = entry.ejection.take()?;
        entry.in_since_ms = now_ms;
        Some(Change::Readmit(member, ejection))
    }

    /// When [`look`](Self::look) is due, and when the first ejection is over.
    pub fn next_ms(&self) -> u64 {
        let ends = self.members.iter().filter_map(|entry| Some(entry.ejection?.until_ms));
        ends.min().map_or(self.next_look_ms(), |end| end.min(self.next_look_ms()))
    }

    /// What holds a member out.
    pub fn ejection(&self, member: usize) -> Option<Ejection> {
        self.members.get(member)?.ejection
    }

    /// How often a member was ejected.
    pub fn total(&self, member: usize) -> u64 {
        self.members.get(member).map_or(0, |entry| entry.total)
    }

    /// The configuration in force.
    pub fn config(&self) -> &OutlierConfig {
        &self.config
    }

    fn eject(
        &mut self,
        member: usize,
        reason: Reason,
        usable: &[bool],
        now_ms: u64,
    ) -> Option<Change> {
        if !self.is_in(member, usable) || self.out(usable) >= self.allowed(usable) {
            return None;
        }
        let (base_ms, max_ms) = (self.config.base_ms.max(1), self.config.max_ms.max(1));
        let entry = self.members.get_mut(member)?;
        let forgotten = now_ms.saturating_sub(entry.in_since_ms) / base_ms;
        let times = entry.times.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
        let time_ms = base_ms.saturating_mul(1 << times.min(32));
        // What is longer than the longest is not remembered either.
        entry.times = times + u32::from(time_ms < max_ms);
        entry.total += 1;
        let time_ms = time_ms.min(max_ms);
        let ejection = Ejection { since_ms: now_ms, until_ms: now_ms + time_ms, reason };
        entry.ejection = Some(ejection);
        Some(Change::Eject(member, ejection))
    }

    /// What the rates of a member say beside those of its peers.
    fn slow_or_failing<'s, I: Iterator<Item = &'s Sample>>(
        &self,
        own: &Sample,
        peers: impl Fn() -> I,
    ) -> Option<Reason> {
        let config = &self.config;
        if config.success_rate_stdev > 0 {
            let count = peers().count() as f64;
            let mean = peers().map(Sample::success_rate).sum::<f64>() / count;
            let variance =
                peers().map(|peer| (peer.success_rate() - mean).powi(2)).sum::<f64>() / count;
            let deviation = variance.sqrt().max(DEVIATION_MIN);
            let least = mean - deviation * f64::from(config.success_rate_stdev) / 1000.0;
            if own.success_rate() < least {
                let percent = |rate: f64| (rate * 100.0).round() as u32;
                let (percent, peers) = (percent(own.success_rate()), percent(mean));
                return Some(Reason::SuccessRate { percent, peers });
            }
        }
        let latency_ms = own.mean_latency_ms()?;
        if config.latency_factor > 0 {
            let mut others: Vec<f64> = peers().filter_map(Sample::mean_latency_ms).collect();
            if others.len() < PEERS_MIN {
                return None;
            }
            others.sort_by(f64::total_cmp);
            let median = others[(others.len() - 1) / 2].midpoint(others[others.len() / 2]);
            // Times are whole milliseconds: below one they say nothing.
            if latency_ms > median.max(1.0) * f64::from(config.latency_factor) / 1000.0 {
                let (ms, peers) = (latency_ms.round() as u64, median.round() as u64);
                return Some(Reason::Latency { ms, peers });
            }
        }
        None
    }

    fn is_in(&self, member: usize, usable: &[bool]) -> bool {
        usable.get(member) == Some(&true)
            && self.members.get(member).is_some_and(|entry| entry.ejection.is_none())
    }

    /// How many are out that would be used.
    fn out(&self, usable: &[bool]) -> usize {
        let entries = self.members.iter().zip(usable);
        entries.filter(|(entry, usable)| **usable && entry.ejection.is_some()).count()
    }

    fn allowed(&self, usable: &[bool]) -> usize {
        let count = usable.iter().filter(|usable| **usable).count();
        let share = count * self.config.max_ejected_percent.min(100) as usize / 100;
        if self.config.max_ejected_percent < 100 {
            share.min(count.saturating_sub(1))
        } else {
            share
        }
    }

    fn next_look_ms(&self) -> u64 {
        self.looked_ms + self.config.interval_ms
    }
}

impl Sample {
    fn success_rate(&self) -> f64 {
        self.successes as f64 / (self.successes + self.failures).max(1) as f64
    }

    fn mean_latency_ms(&self) -> Option<f64> {
        (self.successes > 0).then(|| self.latency_ms as f64 / self.successes as f64)
    }
}

/// How many peers it takes to judge a member by its rates.
const PEERS_MIN: usize = 2;
/// The least standard deviation of success rates: peers that never fail would otherwise condemn one that failed once.
pub const DEVIATION_MIN: f64 = 0.05;

#[cfg(test)]
mod tests;
