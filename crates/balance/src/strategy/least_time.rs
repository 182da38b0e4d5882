//! `least-time`: of two drawn at random by weight, the one that would answer sooner.
//!
//! What a member would take is its peak-sensitive average latency times the units it would have
//! in flight, for its weight (peak EWMA, as Finagle introduced it, over two random choices).
//!
//! - **Slower** shows at once: an answer that took longer than the average takes its place. One
//!   answer counts as no more than [`PEAK`] times what is known, so that a single report of five
//!   seconds does not empty a member that answers in five milliseconds.
//! - **Faster** shows as time passes: the average goes half the way in [`HALF_LIFE_MS`].
//! - **Failures** count as [`FAILURE`] times what is typical of the group: a member that fails
//!   quickly is not a fast one, and has nothing in flight that would hold others back.
//! - **Hanging** shows before anything is answered, by what is in flight.
//! - **Nothing heard**: the average drifts to what is typical of the group. So a member that was
//!   shunned is tried again, with a unit or two, after some half-lives; one that joins or comes
//!   back is taken for an ordinary one, with nothing to draw a crowd.
//!
//! State: 16 bytes per member. The choice costs the same among any number of them.

use super::draw::Draw;
use super::{Candidates, Ending, Group, Key, Outcome, Strategy};
use crate::member::MemberId;
use crate::rng::Rng;

/// The least expected latency.
#[derive(Debug, Default)]
pub struct LeastTime {
    draw: Draw,
    members: Vec<Average>,
    /// The average of the averages, in microseconds, each counted as often as its member answers:
    /// slow ones weigh as little here as they get to do. 0 is not known.
    typical: f64,
}

/// An average latency, and when it was last heard of.
#[derive(Debug, Clone, Copy, Default)]
struct Average {
    /// Microseconds; 0 is not known.
    us: f64,
    at_ms: u64,
}

impl Strategy for LeastTime {
    fn name(&self) -> &'static str {
        "least-time"
    }

    fn reset(&mut self, group: &Group<'_>) {
        self.draw.invalidate();
        self.members.clear();
        self.members.resize(group.len(), Average::default());
    }

    fn weight_changed(&mut self, id: MemberId, group: &Group<'_>) {
        self.draw.invalidate();
        if group.weight(id) == 0 {
            self.members[id.index()] = Average::default();
        }
    }

    fn pick(
        &mut self,
        from: &Candidates<'_>,
        _key: Option<Key>,
        rng: &mut Rng,
        now_ms: u64,
    ) -> Option<MemberId> {
        let (first, second) = self.draw.two(from, rng)?;
        let group = from.group();
        let cost = |id: MemberId| {
            let in_flight = f64::from(group.member(id).load.current() + 1);
            self.expected(id, now_ms) * in_flight / f64::from(group.share(id))
        };
        Some(if cost(first) > cost(second) { second } else { first })
    }

    fn waiting_means_full(&self) -> bool {
        true
    }

    fn learns(&self) -> bool {
        true
    }

    fn finished(&mut self, id: MemberId, outcome: &Outcome, now_ms: u64) {
        let Some(member) = self.members.get(id.index()).copied() else { return };
        let known = self.expected(id, now_ms);
        let typical = self.typical.max(1.0);
        let took = (outcome.latency_us as f64).max(1.0);
        let most = if self.typical == 0.0 { took } else { PEAK * known.max(typical) };
        let counts = match outcome.ending {
            Ending::Answered => took.min(most),
            Ending::Failed => took.max(FAILURE * typical).clamp(FAILURE_US_MIN, FAILURE_US_MAX),
            // It would have taken longer than this; nothing else is known.
            Ending::Abandoned if took > known => took.min(most),
            Ending::Abandoned => return,
        };
        let left =
            if member.us == 0.0 { 0.0 } else { left_of(now_ms.saturating_sub(member.at_ms)) };
        let us = if counts >= known { counts } else { counts + (known - counts) * left };
        self.members[id.index()] = Average { us, at_ms: now_ms };
        if outcome.ending == Ending::Answered {
            let share = if self.typical == 0.0 { 1.0 } else { TYPICAL_SHARE };
            self.typical += (us - self.typical) * share;
        }
    }
}

impl LeastTime {
    /// What is known of a member, on its way to what is typical.
    fn expected(&self, id: MemberId, now_ms: u64) -> f64 {
        let Average { us, at_ms } = self.members[id.index()];
        let typical = self.typical;
        if us == 0.0 {
            return typical.max(1.0);
        }
        (typical + (us - typical) * left_of(now_ms.saturating_sub(at_ms))).max(1.0)
    }
}

/// What is left of a difference after a while: half after each half-life.
fn left_of(age_ms: u64) -> f64 {
    match age_ms {
        0 => 1.0,
        age => (-(age as f64) / HALF_LIFE_MS).exp2(),
    }
}

/// In which time a difference halves when nothing new is heard. Some half-lives are how long a
/// member that recovers waits for its share.
const HALF_LIFE_MS: f64 = 700.0;

/// How many times what is known one answer counts at most.
const PEAK: f64 = 10.0;

/// How many times what is typical one failure counts. More than any other member is likely to have
/// in flight, by which its cost is multiplied.
const FAILURE: f64 = 100.0;

/// What one answer moves of what is typical.
const TYPICAL_SHARE: f64 = 1.0 / 64.0;

/// A failure counts as this at least and at most, in microseconds.
const FAILURE_US_MIN: f64 = 50_000.0;
const FAILURE_US_MAX: f64 = 60_000_000.0;
