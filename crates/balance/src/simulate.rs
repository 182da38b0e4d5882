//! What a pool would do: the real [`Pool`] with its strategy, queue and limits and the real
//! [`Health`], against servers that exist only here, in virtual time.
//!
//! Units arrive at random (exponential gaps, at a rate), are given to members as they would be, and
//! take a random service time there. A server works on so many units at once; more wait at the
//! server, in order. At given moments a server becomes slow, fails (refuses units, and loses those
//! it has) or recovers. A unit that is refused is tried again elsewhere, as often as
//! `retries` says; one that is lost is an error, since it may have been served.
//!
//! Everything follows from the seed: the same [`Scenario`] gives the same [`Report`], and two
//! strategies in the same scenario meet the same arrivals and the same work.
//!
//! It leaves out what strategies do not see: connections, bodies, the network. A latency is from
//! the unit's arrival to the end of its service.

mod report;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::agent::Usage;
use crate::health::{CheckConfig, CheckResult, Health};
use crate::member::{Admin, Member, MemberConfig, MemberId, Run};
use crate::pool::{Assignment, Pool, PoolOptions, Unit, Waiting};
use crate::rng::Rng;
use crate::strategy::{Ending, Key, Outcome, Strategy};

use report::Tally;
pub use report::{MemberReport, Report, Spread};

/// What happens, to whom, for how long.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The servers.
    pub servers: Vec<SimulatedServer>,
    /// What the pool's configuration says.
    pub options: PoolOptions,
    /// Units per second, above 0.
    pub rate: f64,
    /// How long a unit keeps a server busy.
    pub service: ServiceTime,
    /// How long units arrive; the run ends when the last is done.
    pub duration_ms: u64,
    /// How often a unit that was refused is tried again.
    pub retries: u32,
    /// How long a unit waits in the pool's queue; `None` is for ever.
    pub queue_timeout_ms: Option<u64>,
    /// From how many keys units are drawn, for keyed strategies; all alike.
    pub keys: u64,
    /// Servers report their own load with every answer (`balance usage`).
    pub reports_usage: bool,
    /// What happens to servers.
    pub changes: Vec<ServerChange>,
    /// Units are also counted per member and so many milliseconds; 0 does not.
    pub window_ms: u64,
    /// Same seed, same run.
    pub seed: u64,
}

impl Default for Scenario {
    /// Without servers; 100 units of 20 ms a second, for a minute.
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            options: PoolOptions::default(),
            rate: 100.0,
            service: ServiceTime::Exponential { mean_us: 20_000.0 },
            duration_ms: 60_000,
            retries: 3,
            queue_timeout_ms: None,
            keys: 10_000,
            reports_usage: false,
            changes: Vec::new(),
            window_ms: 0,
            seed: 1,
        }
    }
}

/// A server that exists only here.
#[derive(Debug, Clone)]
pub struct SimulatedServer {
    /// Its name.
    pub name: String,
    /// Weight, limits, level.
    pub config: MemberConfig,
    /// `None` is never checked.
    pub check: Option<CheckConfig>,
    /// Seconds from coming up to its full weight; 0 is at once.
    pub slow_start_s: u32,
    /// It starts in maintenance.
    pub disabled: bool,
    /// Units that it works on at once, from 1.
    pub capacity: u32,
}

/// How long a unit keeps a server busy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ServiceTime {
    /// Exponential: most are short, few are long.
    Exponential { mean_us: f64 },
    /// All alike.
    Constant { us: f64 },
}

/// What happens to a server, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServerChange {
    /// From the start.
    pub at_ms: u64,
    /// Its place in [`Scenario::servers`].
    pub server: usize,
    /// What.
    pub change: Change,
}

/// What may happen to a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Everything takes so many times as long.
    Slow(f64),
    /// It refuses units and loses those that it has.
    Fail,
    /// Its checks fail, and it works: checks may be wrong.
    FailChecks,
    /// It works again, as fast as ever.
    Recover,
}

/// Runs a scenario with a strategy, to the end of its last unit.
pub fn run(scenario: &Scenario, strategy: impl Fn() -> Box<dyn Strategy>) -> Report {
    let mut simulation = Simulation::new(scenario, strategy);
    simulation.run();
    simulation.tally.report(simulation.pool.strategy(), scenario)
}

struct Simulation<'s> {
    scenario: &'s Scenario,
    pool: Pool<UnitId>,
    servers: Vec<Server>,
    units: Vec<InFlight>,
    agenda: BinaryHeap<Reverse<(u64, u64, Event)>>,
    /// Breaks ties in the agenda.
    planned: u64,
    now_us: u64,
    /// Chance is drawn apart for each purpose, so that strategies that draw more meet the same
    /// arrivals and the same work.
    arrivals: Rng,
    work: Rng,
    choice: Rng,
    tally: Tally,
}

type UnitId = u32;

/// What comes next. The order is of no importance but has to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Done { server: usize, unit: UnitId, life: u32 },
    Refused { server: usize, unit: UnitId },
    QueueTimeout(UnitId),
    Check(usize),
    WarmUp(usize),
    Change(usize),
}

#[derive(Debug)]
struct Server {
    capacity: usize,
    factor: f64,
    fails: bool,
    fails_checks: bool,
    /// Counts its failures: what it had before one is lost.
    life: u32,
    busy: Vec<UnitId>,
    backlog: VecDeque<UnitId>,
    health: Health,
}

#[derive(Debug)]
struct InFlight {
    born_us: u64,
    assigned_us: u64,
    work_us: f64,
    key: Key,
    tried: Vec<MemberId>,
    ticket: Option<crate::pool::Ticket>,
}

impl<'s> Simulation<'s> {
    fn new(scenario: &'s Scenario, strategy: impl Fn() -> Box<dyn Strategy>) -> Self {
        let mut seeds = Rng::new(scenario.seed);
        let [arrivals, work, choice, checks] = [(); 4].map(|()| Rng::new(seeds.draw()));
        let mut members = Vec::new();
        let mut servers = Vec::new();
        for server in &scenario.servers {
            let member = Member::new(&server.name, &server.config, 1);
            let admin = if server.disabled { Admin::MAINT_CONFIGURED } else { Admin::READY };
            let mut health = Health::new(server.check, admin, 0);
            health.set_slow_start(server.slow_start_s);
            health.publish(&member);
            members.push(member);
            servers.push(Server {
                capacity: server.capacity.max(1) as usize,
                factor: 1.0,
                fails: false,
                fails_checks: false,
                life: 0,
                busy: Vec::new(),
                backlog: VecDeque::new(),
                health,
            });
        }
        let mut simulation = Self {
            scenario,
            tally: Tally::new(scenario),
            pool: Pool::new(members, strategy, scenario.options.clone()),
            servers,
            units: Vec::new(),
            agenda: BinaryHeap::new(),
            planned: 0,
            now_us: 0,
            arrivals,
            work,
            choice,
        };
        for (at, change) in scenario.changes.iter().enumerate() {
            simulation.plan(change.at_ms * 1000, Event::Change(at));
        }
        let mut checks = checks;
        for (at, server) in scenario.servers.iter().enumerate() {
            // The first checks are spread over the interval, as the proxy spreads them.
            if let Some(check) = server.check {
                let first = checks.below(u64::from(check.inter_ms) * 1000);
                simulation.plan(first, Event::Check(at));
            }
        }
        simulation.plan_arrival();
        simulation
    }

    fn run(&mut self) {
        let mut in_flight = true;
        while let Some(Reverse((at_us, _, event))) = self.agenda.pop() {
            if at_us > self.scenario.duration_ms * 1000 {
                if std::mem::take(&mut in_flight) {
                    self.tally.end(self.scenario.duration_ms * 1000);
                }
                // Nothing new happens; those that are under way are seen off.
                if !matches!(
                    event,
                    Event::Done { .. } | Event::Refused { .. } | Event::QueueTimeout(_)
                ) {
                    continue;
                }
            }
            self.now_us = at_us;
            self.step(event);
        }
        if in_flight {
            self.tally.end(self.scenario.duration_ms * 1000);
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrival => {
                self.plan_arrival();
                let unit = self.units.len() as UnitId;
                let key = Rng::new(self.arrivals.below(self.scenario.keys.max(1))).draw();
                self.units.push(InFlight {
                    born_us: self.now_us,
                    assigned_us: self.now_us,
                    work_us: match self.scenario.service {
                        ServiceTime::Exponential { mean_us } => {
                            exponential(&mut self.work, mean_us)
                        }
                        ServiceTime::Constant { us } => us,
                    },
                    key: Key(key as u32),
                    tried: Vec::new(),
                    ticket: None,
                });
                self.pool.load().enter();
                self.assign(unit);
            }
            Event::Done { server, unit, life } if self.servers[server].life == life => {
                self.done(server, unit);
            }
            Event::Done { .. } => {} // lost before
            Event::Refused { server, unit } => {
                self.tell(server, unit, Ending::Failed);
                self.release(server);
                let tries = &mut self.units[unit as usize].tried;
                tries.push(MemberId(server as u32));
                if tries.len() as u32 > self.scenario.retries {
                    self.lost(Some(server));
                } else {
                    self.tally.retried(server);
                    self.assign(unit);
                }
            }
            Event::QueueTimeout(unit) => {
                let ticket = self.units[unit as usize].ticket.take();
                if ticket.is_some_and(|ticket| self.pool.cancel(ticket).is_some()) {
                    self.count_queue();
                    self.lost(None);
                }
            }
            Event::Check(server) => self.check(server),
            Event::WarmUp(server) => self.warm_up(server),
            Event::Change(at) => self.change(at),
        }
    }

    fn assign(&mut self, unit: UnitId) {
        let now_ms = self.now_us / 1000;
        let in_flight = &self.units[unit as usize];
        let asked = Unit { key: Some(in_flight.key), tried: &in_flight.tried, pinned: None };
        let place = match self.pool.assign(&asked, &mut self.choice, now_ms) {
            Assignment::Member(id) => return self.start(unit, id),
            Assignment::Refused(_) => return self.lost(None),
            Assignment::Wait(place) => place,
        };
        match self.pool.wait(&asked, place, unit, &mut self.choice, now_ms) {
            Waiting::Member(id, _) => self.start(unit, id),
            Waiting::Refused(..) => self.lost(None),
            Waiting::Queued(ticket) => {
                self.units[unit as usize].ticket = Some(ticket);
                self.count_queue();
                if let Some(timeout_ms) = self.scenario.queue_timeout_ms {
                    self.plan(self.now_us + timeout_ms * 1000, Event::QueueTimeout(unit));
                }
            }
        }
    }

    fn start(&mut self, unit: UnitId, id: MemberId) {
        let at = id.index();
        self.units[unit as usize].assigned_us = self.now_us;
        self.units[unit as usize].ticket = None;
        self.tally.assigned(at, self.now_us, self.pool.member(id).load.current());
        let server = &mut self.servers[at];
        if server.fails {
            self.plan(self.now_us + REFUSAL_US, Event::Refused { server: at, unit });
        } else if server.busy.len() < server.capacity {
            self.serve(at, unit);
        } else {
            server.backlog.push_back(unit);
            self.count_backlog(at);
        }
    }

    fn serve(&mut self, at: usize, unit: UnitId) {
        let server = &mut self.servers[at];
        server.busy.push(unit);
        let takes = self.units[unit as usize].work_us * server.factor;
        let event = Event::Done { server: at, unit, life: server.life };
        self.plan(self.now_us + (takes as u64).max(1), event);
    }

    fn done(&mut self, at: usize, unit: UnitId) {
        let server = &mut self.servers[at];
        if self.scenario.reports_usage {
            let load = server.busy.len() as f32 / server.capacity as f32;
            let usage = Usage { load: Some(load), ..Usage::default() };
            self.pool.members()[at].report_usage(&usage, self.now_us / 1000);
        }
        server.busy.retain(|busy| *busy != unit);
        let next = server.backlog.pop_front();
        if let Some(next) = next {
            self.count_backlog(at);
            self.serve(at, next);
        }
        self.tell(at, unit, Ending::Answered);
        self.tally.answered(at, self.now_us - self.units[unit as usize].born_us);
        self.pool.load().leave();
        self.release(at);
    }

    /// A unit is over, without an answer.
    fn lost(&mut self, server: Option<usize>) {
        self.tally.failed(server);
        self.pool.load().leave();
    }

    fn tell(&self, server: usize, unit: UnitId, ending: Ending) {
        let latency_us = self.now_us - self.units[unit as usize].assigned_us;
        let outcome = Outcome { latency_us, ending };
        self.pool.learn(MemberId(server as u32), &outcome, self.now_us / 1000);
    }

    fn release(&mut self, server: usize) {
        let id = MemberId(server as u32);
        let mut grant = self.pool.release(id);
        while let Some(granted) = grant {
            self.count_queue();
            self.start(granted.waiter, granted.member);
            grant = self.pool.next_grant(id);
        }
    }

    fn check(&mut self, at: usize) {
        let now_ms = self.now_us / 1000;
        let server = &mut self.servers[at];
        let failed = server.fails || server.fails_checks;
        let result = if failed { CheckResult::Failed } else { CheckResult::Passed };
        let changed = server.health.on_result(result, now_ms).transition.is_some();
        let next = server.health.next_check_in_ms(0, &mut self.choice);
        server.health.publish(&self.pool.members()[at]);
        if let Some(next) = next {
            self.plan(self.now_us + next * 1000, Event::Check(at));
        }
        if changed {
            if self.servers[at].health.status().run == Run::Starting {
                self.plan(self.now_us + WARM_UP_US, Event::WarmUp(at));
            }
            self.member_changed(at);
        }
    }

    fn warm_up(&mut self, at: usize) {
        let server = &mut self.servers[at];
        server.health.warm_up(self.now_us / 1000);
        server.health.publish(&self.pool.members()[at]);
        if server.health.status().run == Run::Starting {
            self.plan(self.now_us + WARM_UP_US, Event::WarmUp(at));
        }
        self.member_changed(at);
    }

    fn member_changed(&mut self, at: usize) {
        let now_ms = self.now_us / 1000;
        let settled = self.pool.member_changed(MemberId(at as u32), &mut self.choice, now_ms);
        self.count_queue();
        for grant in settled.granted {
            self.start(grant.waiter, grant.member);
        }
        for _ in settled.refused {
            self.lost(None);
        }
    }

    fn change(&mut self, at: usize) {
        let ServerChange { server: at, change, .. } = self.scenario.changes[at];
        let Some(server) = self.servers.get_mut(at) else { return };
        match change {
            Change::Slow(factor) => server.factor = factor,
            Change::FailChecks => server.fails_checks = true,
            Change::Recover => {
                (server.factor, server.fails, server.fails_checks) = (1.0, false, false);
            }
            Change::Fail => {
                server.fails = true;
                server.life += 1;
                let lost: Vec<UnitId> =
                    server.busy.drain(..).chain(server.backlog.drain(..)).collect();
                self.count_backlog(at);
                for unit in lost {
                    self.tell(at, unit, Ending::Failed);
                    self.lost(Some(at));
                    self.release(at);
                }
            }
        }
    }

    fn count_backlog(&mut self, at: usize) {
        self.tally.backlog(at, self.now_us, self.servers[at].backlog.len());
    }

    fn count_queue(&mut self) {
        self.tally.queue(self.now_us, self.pool.waiting());
    }

    fn plan_arrival(&mut self) {
        let gap = exponential(&mut self.arrivals, 1e6 / self.scenario.rate);
        self.plan(self.now_us + gap as u64, Event::Arrival);
    }

    fn plan(&mut self, at_us: u64, event: Event) {
        self.planned += 1;
        self.agenda.push(Reverse((at_us, self.planned, event)));
    }
}

fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    // 53 random bits, never 0.
    let share = ((rng.draw() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    -share.ln() * mean
}

/// Between two steps of a slow start.
const WARM_UP_US: u64 = 1_000_000;

/// How long a server that fails takes to refuse a unit.
const REFUSAL_US: u64 = 500;

#[cfg(test)]
mod tests;
