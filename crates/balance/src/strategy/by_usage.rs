//! `usage`: each member says how loaded it is, and gets work in proportion to what it has left.
//!
//! It goes round as `roundrobin` does, by weight; but a turn is worth only as much as the member
//! has left of itself. What a turn is worth is saved up, and a whole one buys a unit. So the shares follow weight times what is left, without a draw's
//! ups and downs, and a new report counts from the member's next turn on.
//!
//! A member whose report is older than the limit, or that made none, counts as the average of
//! those that did; if nobody reports, this is `roundrobin`. One that says it has nothing left
//! still gets a hundredth of what an idle one does: its answers, or its agent, may be the only way to
//! learn that it has.

use super::{Candidates, Group, Key, RoundRobin, Strategy};
use crate::member::{MemberId, WHOLE};
use crate::rng::Rng;

/// In proportion to what members say they have left.
#[derive(Debug)]
pub struct ByUsage {
    expire_ms: u64,
    rotation: RoundRobin,
    /// By member.
    saved: Vec<f64>,
    /// By how much what is left is multiplied, so that few turns are in vain when all are busy: a
    /// power of two, since a number that changed with every report would favor whoever had its turn
    /// just then.
    scale: f64,
    /// What those that report had left in the last lap.
    average: f64,
    lap: Lap,
    /// Turns in which each member has had at least one.
    lap_turns: u32,
}

/// What was seen since all had a turn.
#[derive(Debug, Default)]
struct Lap {
    turns: u32,
    best: f64,
    sum: f64,
    reports: u32,
}

impl ByUsage {
    /// Reports older than `expire_ms` do not count.
    pub fn new(expire_ms: u64) -> Self {
        Self {
            expire_ms,
            rotation: RoundRobin::default(),
            saved: Vec::new(),
            scale: 1.0,
            average: 1.0,
            lap: Lap::default(),
            lap_turns: 1,
        }
    }

    /// What a turn of the member is worth, from just above 0 to about 1.
    fn worth(&mut self, id: MemberId, group: &Group<'_>, now_ms: u64) -> f64 {
        if self.lap.turns >= self.lap_turns {
            let Lap { best, sum, reports, .. } = std::mem::take(&mut self.lap);
            if reports > 0 {
                self.average = sum / f64::from(reports);
                self.scale = (-best.log2()).floor().exp2();
            }
        }
        self.lap.turns += 1;
        let left = match group.member(id).usage(self.expire_ms, now_ms) {
            Some(used) => {
                let left = (WHOLE.saturating_sub(used) as f64 / WHOLE as f64).max(LEFT_MIN);
                self.lap.best = self.lap.best.max(left);
                self.lap.sum += left;
                self.lap.reports += 1;
                left
            }
            None => self.average,
        };
        left * self.scale
    }
}

impl Strategy for ByUsage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn reset(&mut self, group: &Group<'_>) {
        *self = Self::new(self.expire_ms);
        self.rotation.reset(group);
        self.saved = vec![0.0; group.len()];
        self.lap_turns = lap_turns(group);
    }

    fn weight_changed(&mut self, id: MemberId, group: &Group<'_>) {
        self.rotation.weight_changed(id, group);
        self.saved[id.index()] = 0.0;
        self.lap_turns = lap_turns(group);
    }

    fn pick(
        &mut self,
        from: &Candidates<'_>,
        key: Option<Key>,
        rng: &mut Rng,
        now_ms: u64,
    ) -> Option<MemberId> {
        let mut richest: Option<MemberId> = None;
        for _ in 0..TURNS_MAX {
            let id = self.rotation.pick(from, key, rng, now_ms)?;
            self.saved[id.index()] += self.worth(id, &from.group(), now_ms);
            let saved = self.saved[id.index()];
            if saved >= WORTH_OF_A_UNIT {
                self.saved[id.index()] -= 1.0;
                return Some(id);
            }
            if richest.is_none_or(|richest| saved > self.saved[richest.index()]) {
                richest = Some(id);
            }
        }
        // Nearly all are full up: whoever has saved most gets it on credit.
        let id = richest?;
        self.saved[id.index()] -= 1.0;
        Some(id)
    }
}

fn lap_turns(group: &Group<'_>) -> u32 {
    group.usable().map(|id| group.weight(id)).sum::<u32>().max(1)
}

/// What one that has nothing left has left all the same.
const LEFT_MIN: f64 = 0.01;

/// Just below 1: a sum of shares that should be whole may miss it by a rounding.
const WORTH_OF_A_UNIT: f64 = 1.0 - 1e-9;

/// Turns that one choice may take.
const TURNS_MAX: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::pool;
    use crate::{Assignment, Pool, Unit, Usage};

    fn by_usage() -> Box<dyn Strategy> {
        Box::new(ByUsage::new(10_000))
    }

    /// Members report at 0 what is in `used`, and get `units` at `now_ms`.
    fn shares(weights: &[u32], used: &[Option<f32>], now_ms: u64, units: u32) -> Vec<f64> {
        let pool = pool(by_usage, weights);
        for (member, used) in pool.members().iter().zip(used) {
            if used.is_some() {
                member.report_usage(&Usage { cpu: *used, ..Usage::default() }, 0);
            }
        }
        let order = serve(&pool, now_ms, units);
        let count = |id| order.iter().filter(|got| **got == id).count() as f64;
        (0..weights.len() as u32).map(|id| count(id) / f64::from(units)).collect()
    }

    fn serve(pool: &Pool<()>, now_ms: u64, units: u32) -> Vec<u32> {
        let mut rng = Rng::new(1);
        let mut next = || match pool.assign(&Unit::default(), &mut rng, now_ms) {
            Assignment::Member(id) => {
                assert!(pool.release(id).is_none());
                id.0
            }
            other => panic!("{other:?}"),
        };
        (0..units).map(|_| next()).collect()
    }

    #[test]
    fn work_goes_in_proportion_to_what_is_left() {
        #[track_caller]
        fn check(weights: &[u32], used: &[Option<f32>], now_ms: u64, expected: &[f64]) {
            let found = shares(weights, used, now_ms, 20_000);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 0.005, "{found} is not {expected}");
            }
        }
        let some = |used: [f32; 3]| used.map(Some);
        check(&[1, 1, 1], &some([0.0, 0.0, 0.0]), 0, &[1. / 3.; 3]);
        check(&[1, 1, 1], &some([0.8, 0.6, 0.4]), 0, &[1. / 6., 1. / 3., 0.5]);
        check(&[3, 2, 1], &some([0.8, 0.6, 0.4]), 0, &[0.3, 0.4, 0.3]);
        check(&[1, 1, 1], &some([0.99, 0.99, 0.99]), 0, &[1. / 3.; 3]);
        // Who has nothing left, or more than nothing: a hundredth of one that is idle.
        check(&[1, 1], &[Some(1.0), Some(0.0)], 0, &[0.0099, 0.9901]);
        check(&[1, 1], &[Some(7.5), Some(0.0)], 0, &[0.0099, 0.9901]);
        // Who says nothing is the average of those who do.
        check(&[1, 1, 1], &[None, Some(0.6), Some(0.2)], 0, &[1. / 3., 2. / 9., 4. / 9.]);
        check(&[1, 1, 1], &[None, None, None], 0, &[1. / 3.; 3]);
        check(&[2, 1, 1], &[None, None, Some(0.9)], 0, &[0.5, 0.25, 0.25]);
        // Reports expire, to the average; when all have, to the weights.
        check(&[1, 1, 1], &some([0.8, 0.6, 0.4]), 10_000, &[1. / 6., 1. / 3., 0.5]);
        check(&[1, 1, 1], &some([0.8, 0.6, 0.4]), 10_001, &[1. / 3.; 3]);
    }

    #[test]
    fn shares_are_smooth() {
        let pool = pool(by_usage, &[1, 1]);
        for (member, cpu) in pool.members().iter().zip([0.0, 0.75]) {
            member.report_usage(&Usage { cpu: Some(cpu), ..Usage::default() }, 0);
        }
        serve(&pool, 0, 100);
        // One in five, and never two in a row nor nine without.
        let order = serve(&pool, 0, 1000);
        assert_eq!(order.iter().filter(|id| **id == 1).count(), 200);
        assert!(order.windows(2).all(|two| two != [1, 1]));
        assert!(order.windows(6).all(|six| six.contains(&1)));
    }

    #[test]
    fn nobody_reports_is_round_robin() {
        let order = serve(&pool(by_usage, &[5, 1, 1]), 0, 7);
        assert_eq!(order, [0, 0, 0, 1, 0, 0, 2]);
    }
}
