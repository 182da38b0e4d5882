//! What a run came to.

use super::Scenario;

/// What a strategy made of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The strategy's name.
    pub strategy: &'static str,
    /// By server, in the scenario's order.
    pub members: Vec<MemberReport>,
    /// Units that arrived.
    pub units: u64,
    /// Units that came to nothing, wherever.
    pub failed: u64,
    /// Latency over all servers, the time in queues and for retries included.
    pub latency: Spread,
    /// Units in the pool's own queue, over time; `(mean, most)`.
    pub queue: (f64, u32),
}

/// What one server had of it.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberReport {
    /// Its name.
    pub name: String,
    /// How often a unit was given to it.
    pub assigned: u64,
    /// The same as a share of all.
    pub share: f64,
    /// Attempts that it refused and that went elsewhere.
    pub retried: u64,
    /// Units that ended in an error there.
    pub failed: u64,
    /// Most units in flight.
    pub in_flight_max: u32,
    /// Units that wait at the server because it is busy, over time; `(mean, most)`.
    pub backlog: (f64, u32),
    /// Latency of what it answered.
    pub latency: Spread,
    /// Units given to it in each window of the scenario.
    pub windows: Vec<u32>,
}

/// How times spread, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// Half are shorter.
    pub p50_us: u64,
    /// One of a hundred is longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Spread {
    fn of(mut times: Vec<u32>) -> Self {
        times.sort_unstable();
        let at = |share: usize| {
            let place = (times.len() * share / 100).min(times.len().saturating_sub(1));
            times.get(place).map_or(0, |us| u64::from(*us))
        };
        Self { p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

/// A length over time.
#[derive(Debug, Default)]
struct Length {
    now: u32,
    most: u32,
    since_us: u64,
    /// Units times microseconds.
    area: f64,
}

impl Length {
    fn set(&mut self, len: u32, now_us: u64) {
        self.area += f64::from(self.now) * now_us.saturating_sub(self.since_us) as f64;
        (self.now, self.since_us, self.most) = (len, now_us, self.most.max(len));
    }
}

/// Counts while a scenario runs.
#[derive(Debug)]
pub(super) struct Tally {
    servers: Vec<Counts>,
    failed: u64,
    answered: u64,
    queue: Length,
    window_us: u64,
    ended: bool,
}

#[derive(Debug, Default)]
struct Counts {
    assigned: u64,
    retried: u64,
    failed: u64,
    in_flight_max: u32,
    backlog: Length,
    times: Vec<u32>,
    windows: Vec<u32>,
}

impl Tally {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let windows = scenario.duration_ms.checked_div(scenario.window_ms).unwrap_or(0) as usize;
        let counts = || Counts { windows: vec![0; windows], ..Counts::default() };
        Self {
            servers: scenario.servers.iter().map(|_| counts()).collect(),
            failed: 0,
            answered: 0,
            queue: Length::default(),
            window_us: scenario.window_ms * 1000,
            ended: false,
        }
    }

    pub(super) fn assigned(&mut self, server: usize, now_us: u64, in_flight: u32) {
        let counts = &mut self.servers[server];
        counts.assigned += 1;
        counts.in_flight_max = counts.in_flight_max.max(in_flight);
        let window = now_us.checked_div(self.window_us).unwrap_or(0) as usize;
        if let Some(window) = counts.windows.get_mut(window) {
            *window += 1;
        }
    }

    pub(super) fn answered(&mut self, server: usize, took_us: u64) {
        self.answered += 1;
        self.servers[server].times.push(u32::try_from(took_us).unwrap_or(u32::MAX));
    }

    pub(super) fn retried(&mut self, server: usize) {
        self.servers[server].retried += 1;
    }

    pub(super) fn failed(&mut self, server: Option<usize>) {
        self.failed += 1;
        if let Some(server) = server {
            self.servers[server].failed += 1;
        }
    }

    pub(super) fn backlog(&mut self, server: usize, now_us: u64, len: usize) {
        if !self.ended {
            self.servers[server].backlog.set(len as u32, now_us);
        }
    }

    pub(super) fn queue(&mut self, now_us: u64, len: u32) {
        if !self.ended {
            self.queue.set(len, now_us);
        }
    }

    /// Nothing arrives any more: means are of the time up to here.
    pub(super) fn end(&mut self, now_us: u64) {
        self.ended = true;
        self.queue.set(self.queue.now, now_us);
        for counts in &mut self.servers {
            counts.backlog.set(counts.backlog.now, now_us);
        }
    }

    pub(super) fn report(self, strategy: &'static str, scenario: &Scenario) -> Report {
        let duration_us = (scenario.duration_ms * 1000).max(1) as f64;
        let assigned: u64 = self.servers.iter().map(|counts| counts.assigned).sum();
        let all: Vec<u32> = self.servers.iter().flat_map(|counts| &counts.times).copied().collect();
        let member = |(server, counts): (&super::SimulatedServer, Counts)| MemberReport {
            name: server.name.clone(),
            assigned: counts.assigned,
            share: counts.assigned as f64 / assigned.max(1) as f64,
            retried: counts.retried,
            failed: counts.failed,
            in_flight_max: counts.in_flight_max,
            backlog: (counts.backlog.area / duration_us, counts.backlog.most),
            latency: Spread::of(counts.times),
            windows: counts.windows,
        };
        Report {
            strategy,
            units: self.answered + self.failed,
            failed: self.failed,
            latency: Spread::of(all),
            queue: (self.queue.area / duration_us, self.queue.most),
            members: scenario.servers.iter().zip(self.servers).map(member).collect(),
        }
    }
}
