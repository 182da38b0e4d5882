//! The state machine of one member's health: from check results and orders to a [`Status`].
//!
//! ```text
//!                    `fall` failures in a row
//!   ┌─────────┐ ─────────────────────────────────▶ ┌─────────┐
//!   │ Running │                                    │ Stopped │
//!   └─────────┘ ◀───────────────────────────────── └─────────┘
//!     │    ▲          `rise` successes in a row       ▲    │ `rise` conditional successes
//!     ▼    │ success                                  │    ▼
//!   ┌──────────┐ ────────── `fall` failures ──────────┘ (Stopping)
//!   │ Stopping │   (its check says: no new units)
//!   └──────────┘
//!   Maintenance stops it from any state; leaving it starts anew, one failure from Stopped.
//!   With a slow start it is Starting before it is Running, for as long as that takes.
//! ```
//!
//! An agent beside the member has a veto: while it says down, no success of a check brings the
//! member up, and once it says up, the member is where its checks are.
//!
//! The count behind it runs from 0 to `rise + fall - 1`, and is up from `rise`: a failure takes
//! one off, or all when that makes it down; a success adds one, or all when that makes it up.
//! One task owns a [`Health`] and publishes its status on the [`Member`]; it runs the checks,
//! asks [`Health::next_check_in_ms`] when the next one is due, and tells the pool when a
//! [`Transition`] came out. Source: HAProxy configuration manual, `rise`, `fall`, `inter`,
//! `fastinter`, `downinter`, `spread-checks`; management guide, `set server … health|state`.

mod observe;

pub use observe::{Observation, Observe, OnError, Sign};

use crate::member::{Admin, AgentState, Member, Progress, Run, SlowStart, Standing, Status};
use crate::rng::Rng;

/// How a member is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckConfig {
    /// Successes in a row that bring it up, from 1.
    pub rise: u16,
    /// Failures in a row that take it down, from 1.
    pub fall: u16,
    /// Milliseconds between checks.
    pub inter_ms: u32,
    /// The same while a change is under way; `None` is `inter_ms`.
    pub fastinter_ms: Option<u32>,
    /// The same while it is down; `None` is `inter_ms`.
    pub downinter_ms: Option<u32>,
}

impl Default for CheckConfig {
    /// HAProxy's: `rise 2 fall 3 inter 2s`.
    fn default() -> Self {
        Self { rise: 2, fall: 3, inter_ms: 2000, fastinter_ms: None, downinter_ms: None }
    }
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckResult {
    /// It works.
    Passed,
    /// It works and wants no new units (`http-check disable-on-404`).
    PassedConditionally,
    /// It does not.
    Failed,
}

/// A state that an administrator forces, until checks find otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// `set server … health up`.
    Up,
    /// `set server … health stopping`.
    Stopping,
    /// `set server … health down`.
    Down,
}

/// A change that matters to the pool and to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Transition {
    /// The state before.
    pub from: Status,
    /// The state now.
    pub to: Status,
}

/// What a check result did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Whether the count moved; what `option log-health-checks` reports.
    pub counted: bool,
    /// Whether the member changed state.
    pub transition: Option<Transition>,
}

/// The health of one member.
#[derive(Debug, Clone)]
pub struct Health {
    config: Option<CheckConfig>,
    status: Status,
    /// What the agent last said, also while it is switched off.
    agent_is_up: bool,
    last_change_ms: u64,
    down_ms: u64,
    transitions: u64,
    failures: u64,
    /// Seconds from coming up to its full weight; 0 is at once.
    slow_start_s: u32,
    /// How many of them are over.
    started_s: u32,
}

impl Health {
    /// A member that starts up, one failure from down, or in maintenance if `admin` says so.
    /// Without a configuration it is never checked.
    pub fn new(config: Option<CheckConfig>, admin: Admin, now_ms: u64) -> Self {
        let config = config.map(|c| CheckConfig { rise: c.rise.max(1), fall: c.fall.max(1), ..c });
        let down = admin.in_maintenance();
        let checks = config.map(|c| Progress {
            health: if down { 0 } else { c.rise },
            rise: c.rise,
            fall: c.fall,
        });
        let run = if down { Run::Stopped } else { Run::Running };
        let (agent, standing) = (AgentState::Absent, Standing::In);
        let status = Status { admin, run, checks, agent, standing };
        Self {
            config,
            status,
            agent_is_up: true,
            last_change_ms: now_ms,
            down_ms: 0,
            transitions: 0,
            failures: 0,
            slow_start_s: 0,
            started_s: 0,
        }
    }

    /// Takes in a check's result. In maintenance, or without checks, it is ignored.
    pub fn on_result(&mut self, result: CheckResult, now_ms: u64) -> Checked {
        let ignored = Checked { counted: false, transition: None };
        if self.status.admin.in_maintenance() {
            return ignored;
        }
        let Some(checks) = &mut self.status.checks else { return ignored };
        let before = checks.health;
        if result == CheckResult::Failed {
            checks.health = before.saturating_sub(1);
            if checks.health < checks.rise {
                checks.health = 0;
            }
            self.failures += u64::from(before > 0);
        } else if !checks.is_full() {
            checks.health += 1;
            if checks.health >= checks.rise {
                checks.health = full(*checks);
            }
        }
        let (health, rise) = (checks.health, checks.rise);
        let run = match result {
            CheckResult::Failed if health == 0 => Run::Stopped,
            _ if self.status.agent == AgentState::Down => self.status.run,
            CheckResult::Passed if health >= rise => Run::Running,
            CheckResult::PassedConditionally if health >= rise => Run::Stopping,
            _ => self.status.run,
        };
        let transition = self.change(Status { run, ..self.status }, now_ms);
        Checked { counted: health != before, transition }
    }

    /// Sets how many seconds it takes from coming up to its full weight; 0 is none. A slow start
    /// that is under way goes on by the new time.
    pub fn set_slow_start(&mut self, seconds: u32) {
        self.slow_start_s = seconds;
    }

    /// Goes on with a slow start, to be called every second or so while the member is
    /// [`Run::Starting`]. Whether there is news for the pool, and the transition at the end.
    pub fn warm_up(&mut self, now_ms: u64) -> (bool, Option<Transition>) {
        if self.status.run != Run::Starting {
            return (false, None);
        }
        let elapsed_ms = now_ms.saturating_sub(self.last_change_ms);
        if elapsed_ms >= u64::from(self.slow_start_s) * 1000 {
            let from = self.status;
            self.status.run = Run::Running;
            self.last_change_ms = now_ms;
            return (true, Some(Transition { from, to: self.status }));
        }
        let before = std::mem::replace(&mut self.started_s, (elapsed_ms / 1000) as u32);
        (before != self.started_s, None)
    }

    /// Switches the agent on or off. Neither changes what the member is.
    pub fn set_agent(&mut self, enabled: bool) {
        self.status.agent = match (enabled, self.agent_is_up) {
            (false, _) => AgentState::Absent,
            (true, true) => AgentState::Up,
            (true, false) => AgentState::Down,
        };
    }

    /// Takes in what the agent says. Down is down at once; up is up if the checks agree, where
    /// `checks_count` (they may be switched off). A member whose check wants no new units stays
    /// so. An agent that is switched off is ignored.
    pub fn on_agent(&mut self, up: bool, checks_count: bool, now_ms: u64) -> Option<Transition> {
        if self.status.agent == AgentState::Absent {
            return None;
        }
        self.agent_is_up = up;
        self.set_agent(true);
        if self.status.admin.in_maintenance() {
            return None;
        }
        let checks = self.status.checks.filter(|_| checks_count);
        let run = match self.status.run {
            _ if !up => Run::Stopped,
            Run::Stopped if checks.is_none_or(|checks| checks.health >= checks.rise) => {
                Run::Running
            }
            run => run,
        };
        self.change(Status { run, ..self.status }, now_ms)
    }

    /// Forces what the agent says and, whatever the checks found, the state (`set server … agent`).
    pub fn force_agent(&mut self, up: bool, now_ms: u64) -> Option<Transition> {
        self.agent_is_up = up;
        self.set_agent(true);
        if self.status.admin.in_maintenance() {
            return None;
        }
        let run = match self.status.run {
            _ if !up => Run::Stopped,
            Run::Starting => Run::Starting,
            _ => Run::Running,
        };
        self.change(Status { run, ..self.status }, now_ms)
    }

    /// Forces a state, with all checks in its favor or none. In maintenance only the count is
    /// set.
    pub fn force(&mut self, forced: Forced, now_ms: u64) -> Option<Transition> {
        if let Some(checks) = &mut self.status.checks {
            checks.health = if forced == Forced::Down { 0 } else { full(*checks) };
        }
        if self.status.admin.in_maintenance() {
            return None;
        }
        let run = match forced {
            Forced::Up => Run::Running,
            Forced::Stopping => Run::Stopping,
            Forced::Down => Run::Stopped,
        };
        self.change(Status { run, ..self.status }, now_ms)
    }

    /// Sets what is asked of it. Maintenance stops it; leaving it starts it, one failure from
    /// down.
    pub fn set_admin(&mut self, admin: Admin, now_ms: u64) -> Option<Transition> {
        let mut to = Status { admin, ..self.status };
        match (self.status.admin.in_maintenance(), admin.in_maintenance()) {
            (false, true) => {
                to.run = Run::Stopped;
                if let Some(checks) = &mut to.checks {
                    checks.health = 0;
                }
            }
            (true, false) => {
                if to.agent != AgentState::Down {
                    to.run = Run::Running;
                }
                if let Some(checks) = &mut to.checks {
                    checks.health = checks.rise;
                }
            }
            _ => {}
        }
        self.change(to, now_ms)
    }

    /// Keeps it out for a time, or lets it in again ([`outlier`](crate::outlier)).
    pub fn set_standing(&mut self, standing: Standing, now_ms: u64) -> Option<Transition> {
        self.change(Status { standing, ..self.status }, now_ms)
    }

    /// Takes over a new configuration's checks and keeps the state, as far as it goes: a member
    /// in full health stays so, one without checks starts one failure from down.
    pub fn configure(&mut self, config: Option<CheckConfig>) {
        self.config = config.map(|c| CheckConfig { rise: c.rise.max(1), fall: c.fall.max(1), ..c });
        let before = self.status.checks;
        self.status.checks = self.config.map(|c| {
            let mut checks = Progress { health: c.rise, rise: c.rise, fall: c.fall };
            match before {
                _ if self.status.run == Run::Stopped => checks.health = 0,
                Some(old) if old.is_full() => checks.health = full(checks),
                Some(old) => {
                    let spare = old.health.saturating_sub(old.rise);
                    checks.health = (c.rise.saturating_add(spare)).min(full(checks));
                }
                None => {}
            }
            checks
        });
    }

    /// Publishes the state. Tell the pool as well when a transition came out.
    pub fn publish(&self, member: &Member) {
        let is_starting = self.status.run == Run::Starting && self.slow_start_s > 0;
        member.set_slow_start(
            is_starting
                .then_some(SlowStart { elapsed_s: self.started_s, total_s: self.slow_start_s }),
        );
        member.set_status(self.status, self.last_change_ms);
    }

    /// Milliseconds until the next check is due; `None` when there is none to make.
    ///
    /// `spread_percent` (0 to 50, `spread-checks`) varies it that much to either side.
    pub fn next_check_in_ms(&self, spread_percent: u32, rng: &mut Rng) -> Option<u64> {
        let (config, checks) = (self.config?, self.status.checks?);
        if self.status.admin.in_maintenance() {
            return None;
        }
        let inter = u64::from(match checks {
            checks if checks.is_full() => config.inter_ms,
            Progress { health: 0, .. } if self.status.run == Run::Stopped => {
                config.downinter_ms.unwrap_or(config.inter_ms)
            }
            _ => config.fastinter_ms.unwrap_or(config.inter_ms),
        });
        Some(rng.spread(inter, spread_percent))
    }

    /// The state now.
    pub fn status(&self) -> Status {
        self.status
    }

    /// When it last changed, in the caller's milliseconds.
    pub fn last_change_ms(&self) -> u64 {
        self.last_change_ms
    }

    /// How long it has been down in all.
    pub fn downtime_ms(&self, now_ms: u64) -> u64 {
        let running = if self.status.run == Run::Stopped {
            now_ms.saturating_sub(self.last_change_ms)
        } else {
            0
        };
        self.down_ms + running
    }

    /// How often it went down, by checks or orders (`chkdown`).
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// How many checks failed while it was not surely down (`chkfail`).
    pub fn failures(&self) -> u64 {
        self.failures
    }

    fn change(&mut self, mut to: Status, now_ms: u64) -> Option<Transition> {
        if to.run == Run::Running && self.status.run != Run::Running && self.slow_start_s > 0 {
            if self.status.run != Run::Starting {
                self.started_s = 0;
            }
            to.run = Run::Starting;
        }
        let from = std::mem::replace(&mut self.status, to);
        if from.run == to.run && from.admin == to.admin && from.standing == to.standing {
            return None;
        }
        if from.run != to.run
            || from.admin.is_drained() != to.admin.is_drained()
            || from.is_ejected() != to.is_ejected()
        {
            if from.run == Run::Stopped && to.run != Run::Stopped {
                self.down_ms += now_ms.saturating_sub(self.last_change_ms);
            }
            self.transitions += u64::from(from.run != Run::Stopped && to.run == Run::Stopped);
            if from.run != to.run || to.run != Run::Stopped {
                self.last_change_ms = now_ms;
            }
        }
        Some(Transition { from, to })
    }
}

fn full(checks: Progress) -> u16 {
    checks.rise.saturating_add(checks.fall - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` success, `~` conditional success, `-` failure, `M` maintenance, `R` ready, `D` drain,
    /// `u`, `s`, `d` forced, `A` and `a` its agent says up and down, `F` and `f` is made to, `e` and `x` switch
    /// it on and off; after each the state is expected, in HAProxy's words.
    #[track_caller]
    fn check(rise: u16, fall: u16, script: &str, expected: &str) -> Health {
        let config = CheckConfig { rise, fall, ..CheckConfig::default() };
        let mut health = Health::new(Some(config), Admin::READY, 0);
        let mut states = vec![health.status().text(None)];
        for (at, step) in (1u64..).zip(script.chars()) {
            let now_ms = at * 1000;
            let before = health.status();
            let transition = match step {
                '+' => health.on_result(CheckResult::Passed, now_ms).transition,
                '~' => health.on_result(CheckResult::PassedConditionally, now_ms).transition,
                '-' => health.on_result(CheckResult::Failed, now_ms).transition,
                'M' => health.set_admin(Admin::MAINT_FORCED, now_ms),
                'R' => health.set_admin(Admin::READY, now_ms),
                'D' => health.set_admin(Admin::DRAIN_FORCED, now_ms),
                'u' => health.force(Forced::Up, now_ms),
                's' => health.force(Forced::Stopping, now_ms),
                'A' | 'a' => health.on_agent(step == 'A', true, now_ms),
                'F' | 'f' => health.force_agent(step == 'F', now_ms),
                'e' | 'x' => {
                    health.set_agent(step == 'e');
                    None
                }
                _ => health.force(Forced::Down, now_ms),
            };
            let after = health.status();
            let changed = before.run != after.run || before.admin != after.admin;
            assert_eq!(transition.is_some(), changed, "step {at}");
            states.push(after.text(None));
        }
        assert_eq!(states.join(", "), expected);
        health
    }

    #[test]
    fn results_move_the_state_as_in_haproxy() {
        check(2, 3, "+---++", "UP 1/3, UP, UP 2/3, UP 1/3, DOWN, DOWN 1/2, UP");
        check(2, 3, "-+-+", "UP 1/3, DOWN, DOWN 1/2, DOWN, DOWN 1/2");
        check(2, 3, "+-+--", "UP 1/3, UP, UP 2/3, UP, UP 2/3, UP 1/3");
        check(1, 1, "-+", "UP, DOWN, UP");
        check(2, 3, "~~-+", "UP 1/3, NOLB, NOLB, NOLB 2/3, UP");
        check(2, 3, "-~~", "UP 1/3, DOWN, DOWN 1/2, NOLB");
    }

    #[test]
    fn orders_override_results() {
        check(2, 3, "+M+R-", "UP 1/3, UP, MAINT, MAINT, UP 1/3, DOWN");
        check(2, 3, "+D-R", "UP 1/3, UP, DRAIN, DRAIN 2/3, UP 2/3");
        check(2, 3, "dusd", "UP 1/3, DOWN, UP, NOLB, DOWN");
    }

    #[test]
    fn an_agent_has_a_veto() {
        check(1, 1, "eaA", "UP, UP, DOWN (agent), UP");
        check(1, 1, "ea-A+", "UP, UP, DOWN (agent), DOWN (agent), DOWN, UP");
        check(2, 3, "+ea+", "UP 1/3, UP, UP, DOWN (agent), DOWN (agent)");
        check(1, 1, "ea+A", "UP, UP, DOWN (agent), DOWN (agent), UP");
        check(1, 1, "eMaRA", "UP, UP, MAINT, MAINT, DOWN (agent), UP");
        check(1, 1, "e~A", "UP, UP, NOLB, NOLB");
        check(1, 1, "eD", "UP, UP, DRAIN (agent)");
        // Switched off it neither helps nor hurts, and is remembered.
        check(1, 1, "axe", "UP, UP, UP, UP");
        check(1, 1, "eax+e", "UP, UP, DOWN (agent), DOWN 1/1, UP, UP");
        check(1, 1, "ef+FA-F", "UP, UP, DOWN (agent), DOWN (agent), UP, UP, DOWN, UP 0/1");
    }

    /// A slow start of four seconds: `u` and `d` forced, `+` and `-` results, `1` a second passes
    /// and it is looked at. States are `UP`, `DOWN` or the sixteenths of weight 1 and the limit of
    /// ten units.
    #[test]
    fn a_slow_start_goes_by_seconds() {
        #[track_caller]
        fn check(script: &str, expected: &str) {
            let config = CheckConfig { rise: 1, fall: 1, ..CheckConfig::default() };
            let mut health = Health::new(Some(config), Admin::READY, 0);
            health.set_slow_start(4);
            let limits = crate::Limits { maxconn: 10, ..crate::Limits::default() };
            let config = crate::MemberConfig { limits, ..crate::MemberConfig::default() };
            let member = Member::new("a", &config, 1);
            let mut now_ms = 0;
            let mut states = Vec::new();
            for step in script.chars() {
                match step {
                    '+' => _ = health.on_result(CheckResult::Passed, now_ms),
                    '-' => _ = health.on_result(CheckResult::Failed, now_ms),
                    'u' => _ = health.force(Forced::Up, now_ms),
                    'd' => _ = health.force(Forced::Down, now_ms),
                    _ => {
                        now_ms += 1000;
                        health.warm_up(now_ms);
                    }
                }
                health.publish(&member);
                let limit = member.limit(0, 0).unwrap_or(0);
                states.push(match health.status().run {
                    Run::Starting => format!("{}/{limit}", member.effective_share()),
                    Run::Running => "UP".to_owned(),
                    _ => "DOWN".to_owned(),
                });
            }
            assert_eq!(states.join(" "), expected);
        }
        check("+1-1+1111", "UP UP DOWN DOWN 1/1 5/2 9/5 13/7 UP");
        check("-+1+1+u11", "DOWN 1/1 5/2 5/2 9/5 9/5 9/5 13/7 UP");
        check("-+11d+1", "DOWN 1/1 5/2 9/5 DOWN 1/1 5/2");
    }

    #[test]
    fn downtime_counts_every_stop() {
        let health = check(1, 1, "-+M..", "UP, DOWN, UP, MAINT, MAINT, MAINT");
        assert_eq!(health.transitions(), 2);
        assert_eq!(health.last_change_ms(), 3000);
        assert_eq!(health.downtime_ms(10_000), 1000 + 7000);
        assert_eq!(health.failures(), 1);
    }

    #[test]
    fn the_pace_follows_the_state() {
        let config = CheckConfig {
            inter_ms: 2000,
            fastinter_ms: Some(500),
            downinter_ms: Some(5000),
            ..CheckConfig::default()
        };
        let mut rng = Rng::new(1);
        let mut health = Health::new(Some(config), Admin::READY, 0);
        assert_eq!(health.next_check_in_ms(0, &mut rng), Some(500));
        health.on_result(CheckResult::Passed, 0);
        assert_eq!(health.next_check_in_ms(0, &mut rng), Some(2000));
        let spread: Vec<u64> =
            (0..1000).filter_map(|_| health.next_check_in_ms(10, &mut rng)).collect();
        assert!(spread.iter().all(|ms| (1800..=2200).contains(ms)));
        assert!(spread.iter().any(|ms| *ms < 1900) && spread.iter().any(|ms| *ms > 2100));
        _ = health.force(Forced::Down, 0);
        assert_eq!(health.next_check_in_ms(0, &mut rng), Some(5000));
        health.on_result(CheckResult::Passed, 0);
        assert_eq!(health.next_check_in_ms(0, &mut rng), Some(500));
        _ = health.set_admin(Admin::MAINT_FORCED, 0);
        assert_eq!(health.next_check_in_ms(0, &mut rng), None);
        let unchecked = Health::new(None, Admin::READY, 0);
        assert_eq!(unchecked.next_check_in_ms(0, &mut rng), None);
    }

    #[test]
    fn a_new_configuration_keeps_the_state() {
        let mut health = check(2, 3, "+", "UP 1/3, UP");
        health.configure(Some(CheckConfig { rise: 5, fall: 5, ..CheckConfig::default() }));
        assert_eq!(health.status().text(None), "UP");
        health.on_result(CheckResult::Failed, 0);
        health.configure(Some(CheckConfig { rise: 1, fall: 2, ..CheckConfig::default() }));
        assert_eq!(health.status().text(None), "UP");
        health.configure(None);
        assert_eq!(health.status().text(None), "no check");
    }
}
