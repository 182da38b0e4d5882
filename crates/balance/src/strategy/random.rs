//! `random(n)`: draw some by weight, take the least loaded of them.
//!
//! Two draws already avoid the herd that one draw or strict least-loaded makes when several
//! balancers feed the same members (Mitzenmacher, "The power of two choices", 2001).

use super::bounded::Bound;
use super::{Candidates, Group, Key, Strategy};
use crate::member::MemberId;
use crate::rng::Rng;

/// Draws members in proportion to their weights and takes the one with the least load.
#[derive(Debug)]
pub struct Random {
    draws: u32,
    weights: Vec<u32>,
    /// Partial sums of the weights (a Fenwick tree, from 1): draws and updates in `log n`.
    sums: Vec<u64>,
    bound: Bound,
}

impl Random {
    /// `draws` from 1; HAProxy's `random` draws 2.
    pub fn new(draws: u32) -> Self {
        Self::bounded(draws, 0)
    }

    /// The same, and a member that has its share of `balance_factor` percent of the load (above
    /// 100; 0 is no bound) is taken only when all have theirs.
    pub fn bounded(draws: u32, balance_factor: u32) -> Self {
        let bound = Bound::new(balance_factor);
        Self { draws: draws.max(1), weights: Vec::new(), sums: Vec::new(), bound }
    }
}

impl Strategy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn reset(&mut self, group: &Group<'_>) {
        self.weights = vec![0; group.len()];
        self.sums = vec![0; group.len() + 1];
        for id in group.usable() {
            self.set(id, group.share(id));
        }
        self.bound.reset(group);
    }

    fn weight_changed(&mut self, id: MemberId, group: &Group<'_>) {
        self.set(id, group.share(id));
        self.bound.weight_changed(id, group);
    }

    /// `None` when the one chosen is full: the unit then waits for any member.
    fn pick(
        &mut self,
        from: &Candidates<'_>,
        _key: Option<Key>,
        rng: &mut Rng,
        _now_ms: u64,
    ) -> Option<MemberId> {
        let tried: u64 = distinct(from.tried()).map(|id| self.weight(id)).sum();
        let total = self.before(self.weights.len()).checked_sub(tried).filter(|sum| *sum > 0)?;
        let mut best: Option<MemberId> = None;
        for _ in 0..self.draws {
            let drawn = self.drawn(total, from, rng);
            best = Some(match best {
                Some(best) if self.heavier(drawn, best, from) => best,
                _ => drawn,
            });
        }
        best.filter(|id| from.has_slot(*id))
    }

    fn wants_feedback(&self) -> bool {
        self.bound.is_set()
    }

    fn load_changed(&mut self, id: MemberId, group: &Group<'_>) {
        self.bound.load_changed(id, group);
    }
}

impl Random {
    /// One by weight that was not tried, has not got its share of the load yet, and is not at a limit that lets nobody
    /// wait.
    fn drawn(&self, total: u64, from: &Candidates<'_>, rng: &mut Rng) -> MemberId {
        let group = from.group();
        let admits = |id| self.bound.admits(id, &group) && !group.member(id).is_broken_off();
        let mut drawn = self.at(self.skip(rng.below(total), from.tried()));
        for _ in 0..DRAWN_AGAIN_MAX {
            if admits(drawn) {
                return drawn;
            }
            drawn = self.at(self.skip(rng.below(total), from.tried()));
        }
        let len = self.weights.len() as u32;
        let mut order = (0..len).map(|step| MemberId((drawn.0 + step) % len));
        let admitted = |id: &MemberId| self.weight(*id) > 0 && !from.is_tried(*id) && admits(*id);
        order.find(admitted).unwrap_or(drawn)
    }

    fn set(&mut self, id: MemberId, weight: u32) {
        let step = i64::from(weight) - i64::from(self.weights[id.index()]);
        self.weights[id.index()] = weight;
        let mut at = id.index() + 1;
        while at < self.sums.len() {
            self.sums[at] = self.sums[at].wrapping_add_signed(step);
            at += at & at.wrapping_neg();
        }
    }

    fn weight(&self, id: MemberId) -> u64 {
        self.weights.get(id.index()).copied().map_or(0, u64::from)
    }

    /// The weights of the first `count` members.
    fn before(&self, count: usize) -> u64 {
        let mut at = count;
        let mut sum = 0;
        while at > 0 {
            sum += self.sums[at];
            at &= at - 1;
        }
        sum
    }

    /// The member that `point` falls on when the weights are laid end to end.
    fn at(&self, mut point: u64) -> MemberId {
        let mut at = 0;
        let mut step = self.sums.len().next_power_of_two() / 2;
        while step > 0 {
            if let Some(&sum) = self.sums.get(at + step)
                && sum <= point
            {
                at += step;
                point -= sum;
            }
            step /= 2;
        }
        MemberId(at as u32)
    }

    /// Moves a point drawn without the weights of `tried` to where it lies with them.
    fn skip(&self, mut point: u64, tried: &[MemberId]) -> u64 {
        let mut last = None;
        while let Some(id) = tried.iter().copied().filter(|id| Some(*id) > last).min() {
            if point < self.before(id.index()) {
                break;
            }
            point += self.weight(id);
            last = Some(id);
        }
        point
    }

    fn heavier(&self, one: MemberId, other: MemberId, from: &Candidates<'_>) -> bool {
        let load = |id| u64::from(from.group().member(id).load.current());
        load(one) * self.weight(other) > load(other) * self.weight(one)
    }
}

/// Draws that are thrown away because their member has its share, before one is searched for.
const DRAWN_AGAIN_MAX: usize = 16;

fn distinct(tried: &[MemberId]) -> impl Iterator<Item = MemberId> {
    tried.iter().enumerate().filter(|(at, id)| !tried[..*at].contains(id)).map(|(_, id)| *id)
}
