//! When to ask for one name, what for, and what has become of it.
//!
//! ```text
//!            interval                        answered
//!   Idle ──────────────> Asking ─────────────────────────────> Idle
//!                        │    ^
//!       all servers fail │    │ other family, or the next try
//!                        └────┴── no try is left ──> Failed ─> Idle
//! ```
//!
//! All name servers are asked at once and the first useful answer counts. When every one of them has failed to give one, the
//! other family of addresses is asked for at once; when that fails too, or when nothing comes, the next try begins
//! [`Schedule::retry_ms`] after the last question. Source: HAProxy configuration manual, "The resolvers section".

use crate::message::{AnswerError, Kind};

/// One name that is asked for again and again.
#[derive(Debug, Clone)]
pub struct Lookup {
    preferred: Kind,
    state: State,
    /// The end of the last lookup with an answer.
    valid_ms: Option<u64>,
    began_ms: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Idle {
        next_ms: u64,
    },
    Asking {
        kind: Kind,
        tries_left: u32,
        asked_ms: u64,
        /// Name servers that this question went to, and those that gave no useful answer.
        servers: usize,
        failed: usize,
        last: Status,
    },
}

/// How often questions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// `resolve_retries`: tries of one lookup, at least 1.
    pub tries: u32,
    /// `timeout retry`: between two tries.
    pub retry_ms: u64,
    /// `timeout resolve`: between two lookups.
    pub interval_ms: u64,
}

/// What came of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Valid,
    /// NXDOMAIN.
    NoName,
    Refused,
    Timeout,
    Other,
}

/// `hold STATUS TIME`: how long, in milliseconds after the last useful answer, a failure is overlooked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    pub no_name_ms: u64,
    pub refused_ms: u64,
    pub timeout_ms: u64,
    pub other_ms: u64,
    /// How long an answer serves those who ask while traffic waits.
    pub valid_ms: u64,
    /// How long a record is kept that answers do not have any more.
    pub obsolete_ms: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Ask all name servers, with a new id, and say how many were with [`Lookup::asked`].
    Ask(Kind),
    /// The lookup has ended without an answer.
    Failed(Status),
}

impl Lookup {
    /// A name that is first asked for at `now_ms`; `preferred` is the family of addresses that is asked for first, or SRV.
    pub fn new(preferred: Kind, now_ms: u64) -> Self {
        Self { preferred, state: State::Idle { next_ms: now_ms }, valid_ms: None, began_ms: now_ms }
    }

    /// The question went to that many servers.
    pub fn asked(&mut self, count: usize) {
        if let State::Asking { servers, .. } = &mut self.state {
            *servers = count;
        }
    }

    /// Time has passed [`due_ms`](Self::due_ms).
    pub fn handle_timeout(&mut self, now_ms: u64, schedule: &Schedule) -> Option<Event> {
        if now_ms < self.due_ms(schedule) {
            return None;
        }
        match self.state {
            State::Idle { .. } => {
                let tries_left = schedule.tries.saturating_sub(1);
                Some(self.ask(self.preferred, tries_left, now_ms))
            }
            State::Asking { tries_left: 0, failed, last, .. } => {
                let status = if failed == 0 { Status::Timeout } else { last };
                Some(self.fail(status, now_ms, schedule))
            }
            State::Asking { kind, tries_left, failed, .. } => match other_family(kind) {
                // Some have failed and others are silent: the other family may do better.
                Some(other) if failed > 0 && kind == self.preferred => {
                    Some(self.ask(other, tries_left, now_ms))
                }
                _ => Some(self.ask(self.preferred, tries_left - 1, now_ms)),
            },
        }
    }

    /// A name server has answered the question under way.
    pub fn handle_answer(
        &mut self,
        now_ms: u64,
        schedule: &Schedule,
        status: Status,
    ) -> Option<Event> {
        if status == Status::Valid {
            self.valid_ms = Some(now_ms);
            self.rest(now_ms, schedule);
            return None;
        }
        let State::Asking { kind, tries_left, servers, failed, last, .. } = &mut self.state else {
            return None;
        };
        *failed += 1;
        *last = status;
        if *failed < *servers {
            return None;
        }
        let (kind, tries_left) = (*kind, *tries_left);
        if kind != self.preferred {
            return (tries_left == 0).then(|| self.fail(status, now_ms, schedule));
        }
        other_family(kind).map(|other| self.ask(other, tries_left, now_ms))
    }

    /// Asks again soon, whatever the interval says.
    pub fn trigger(&mut self, now_ms: u64) {
        if let State::Idle { next_ms } = &mut self.state {
            *next_ms = now_ms;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn due_ms(&self, schedule: &Schedule) -> u64 {
        match self.state {
            State::Idle { next_ms } => next_ms,
            State::Asking { asked_ms, .. } => asked_ms.saturating_add(schedule.retry_ms),
        }
    }

    /// Whether a question is under way.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking { .. })
    }

    /// When the last useful answer came.
    pub fn valid_ms(&self) -> Option<u64> {
        self.valid_ms
    }

    /// Whether a failure is old enough to be acted on.
    pub fn has_lapsed(&self, status: Status, hold: &Hold, now_ms: u64) -> bool {
        let hold_ms = match status {
            Status::Valid => return false,
            Status::NoName => hold.no_name_ms,
            Status::Refused => hold.refused_ms,
            Status::Timeout => hold.timeout_ms,
            Status::Other => hold.other_ms,
        };
        now_ms >= self.valid_ms.unwrap_or(self.began_ms).saturating_add(hold_ms)
    }

    fn ask(&mut self, kind: Kind, tries_left: u32, now_ms: u64) -> Event {
        let (servers, failed, last) = (0, 0, Status::Other);
        self.state = State::Asking { kind, tries_left, asked_ms: now_ms, servers, failed, last };
        Event::Ask(kind)
    }

    fn fail(&mut self, status: Status, now_ms: u64, schedule: &Schedule) -> Event {
        self.rest(now_ms, schedule);
        Event::Failed(status)
    }

    fn rest(&mut self, now_ms: u64, schedule: &Schedule) {
        self.state = State::Idle { next_ms: now_ms.saturating_add(schedule.interval_ms) };
    }
}

impl From<AnswerError> for Status {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::NoName => Self::NoName,
            AnswerError::Refused => Self::Refused,
            _ => Self::Other,
        }
    }
}

fn other_family(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::A => Some(Kind::Aaaa),
        Kind::Aaaa => Some(Kind::A),
        Kind::Srv => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { tries: 3, retry_ms: 1000, interval_ms: 5000 };

    /// Plays a lookup with two name servers that begins at 0 and shows what it does. `answers` has what each server says
    /// to each question, in order, 10 ms after it: `v`alid, `n`o name, `r`efused, `-` nothing.
    #[track_caller]
    fn check(preferred: Kind, answers: &[&str], expected: &str) {
        let mut lookup = Lookup::new(preferred, 0);
        let mut shown = String::new();
        let mut answers = answers.iter();
        let mut now_ms = 0;
        let mut event = lookup.handle_timeout(0, &SCHEDULE);
        while let Some(Event::Ask(kind)) = event {
            shown += &format!("{now_ms}:{kind:?} ");
            lookup.asked(2);
            let asked_ms = now_ms;
            event = None;
            for answer in answers.next().expect("an answer").chars() {
                let status = match answer {
                    'v' => Status::Valid,
                    'n' => Status::NoName,
                    'r' => Status::Refused,
                    _ => continue,
                };
                now_ms = asked_ms + 10;
                event = event.or(lookup.handle_answer(now_ms, &SCHEDULE, status));
                if status == Status::Valid {
                    break;
                }
            }
            if event.is_none() && lookup.is_asking() {
                now_ms = lookup.due_ms(&SCHEDULE);
                event = lookup.handle_timeout(now_ms, &SCHEDULE);
            }
        }
        match event {
            Some(Event::Failed(status)) => shown += &format!("{now_ms}:{status:?}"),
            _ => shown += &format!("{now_ms}:valid"),
        }
        assert_eq!(lookup.due_ms(&SCHEDULE), now_ms + SCHEDULE.interval_ms);
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_first_useful_answer_counts() {
        check(Kind::Aaaa, &["v"], "0:Aaaa 10:valid");
        check(Kind::Aaaa, &["nv"], "0:Aaaa 10:valid");
    }

    #[test]
    fn the_other_family_is_asked_for_where_all_fail() {
        check(Kind::Aaaa, &["nn", "v"], "0:Aaaa 10:A 20:valid");
        check(Kind::A, &["n-", "v"], "0:A 1000:Aaaa 1010:valid");
    }

    #[test]
    fn tries_come_to_an_end() {
        check(
            Kind::A,
            &["nn", "nn", "nn", "nr", "nn", "rn"],
            "0:A 10:Aaaa 1010:A 1020:Aaaa 2020:A 2030:Aaaa 2040:NoName",
        );
        check(Kind::A, &["--", "--", "--"], "0:A 1000:A 2000:A 3000:Timeout");
        check(Kind::Srv, &["nn", "--", "r-"], "0:Srv 1000:Srv 2000:Srv 3000:Refused");
    }

    #[test]
    fn failures_are_overlooked_for_a_while() {
        let hold = Hold {
            no_name_ms: 100,
            refused_ms: 200,
            timeout_ms: 300,
            other_ms: 0,
            valid_ms: 0,
            obsolete_ms: 0,
        };
        let mut lookup = Lookup::new(Kind::A, 1000);
        assert!(!lookup.has_lapsed(Status::NoName, &hold, 1099));
        assert!(lookup.has_lapsed(Status::NoName, &hold, 1100));
        lookup.handle_timeout(1000, &SCHEDULE);
        lookup.handle_answer(2000, &SCHEDULE, Status::Valid);
        assert!(!lookup.has_lapsed(Status::NoName, &hold, 2099));
        assert!(lookup.has_lapsed(Status::NoName, &hold, 2100));
        assert!(!lookup.has_lapsed(Status::Refused, &hold, 2199));
        assert!(!lookup.has_lapsed(Status::Timeout, &hold, 2299));
        assert!(lookup.has_lapsed(Status::Other, &hold, 2000));
        assert!(!lookup.has_lapsed(Status::Valid, &hold, u64::MAX));
    }

    #[test]
    fn a_trigger_shortens_the_interval_alone() {
        let mut lookup = Lookup::new(Kind::A, 0);
        lookup.handle_timeout(0, &SCHEDULE);
        lookup.trigger(1);
        assert_eq!(lookup.due_ms(&SCHEDULE), 1000);
        lookup.handle_answer(10, &SCHEDULE, Status::Valid);
        lookup.trigger(20);
        assert_eq!(lookup.due_ms(&SCHEDULE), 20);
    }
}
