//! `p2c`: two drawn at random by weight, and of the two the one with less in flight for its
//! weight.
//!
//! Almost as even as always taking the least loaded, at one cost for any number of members, and
//! without its herd where several balancers, each with a view of its own, feed the same members
//! (Mitzenmacher, "The power of two choices in randomized load balancing", 2001). Against
//! `random(2)`: the two differ, and neither is full.

use super::draw::Draw;
use super::{Candidates, Group, Key, Strategy};
use crate::member::MemberId;
use crate::rng::Rng;

/// The power of two choices.
#[derive(Debug, Default)]
pub struct P2c {
    draw: Draw,
}

impl Strategy for P2c {
    fn name(&self) -> &'static str {
        "p2c"
    }

    fn reset(&mut self, _group: &Group<'_>) {
        self.draw.invalidate();
    }

    fn weight_changed(&mut self, _id: MemberId, _group: &Group<'_>) {
        self.draw.invalidate();
    }

    fn pick(
        &mut self,
        from: &Candidates<'_>,
        _key: Option<Key>,
        rng: &mut Rng,
        _now_ms: u64,
    ) -> Option<MemberId> {
        let (first, second) = self.draw.two(from, rng)?;
        let group = from.group();
        let load = |id| u64::from(group.member(id).load.current());
        let weight = |id| u64::from(group.share(id));
        let heavier = load(first) * weight(second) > load(second) * weight(first);
        Some(if heavier { second } else { first })
    }

    fn waiting_means_full(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{hold, pool, shares};
    use crate::{Assignment, Limits, Status, Unit};

    fn p2c() -> Box<dyn Strategy> {
        Box::<P2c>::default()
    }

    #[test]
    fn idle_members_share_by_weight() {
        #[track_caller]
        fn check(weights: &[u32], expected: &[f64]) {
            let found = shares(&pool(p2c, weights), 100_000);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 0.006, "{found} {expected}");
            }
        }
        check(&[1, 1, 1, 1], &[0.25; 4]);
        check(&[1, 0, 3, 6], &[0.1, 0.0, 0.3, 0.6]);
        check(&[256, 1], &[0.996, 0.004]);
        check(&[7], &[1.0]);
        check(&[0, 0], &[0.0, 0.0]);
    }

    #[test]
    fn what_stays_spreads_far_more_evenly_than_at_random() {
        // 1,000 units on 100 members: at random the fullest has about 19, by two choices 12.
        let weights = [1; 100];
        let most = |loads: Vec<u32>| loads.into_iter().max().unwrap_or(0);
        assert!(most(hold(&pool(p2c, &weights), 1000)) <= 13);
        let one = || Box::new(crate::strategy::Random::new(1)) as Box<dyn Strategy>;
        assert!(most(hold(&pool(one, &weights), 1000)) >= 16);
    }

    #[test]
    fn what_stays_goes_by_weight() {
        let loads = hold(&pool(p2c, &[10, 20, 40]), 700);
        for (load, expected) in loads.iter().zip([100, 200, 400]) {
            assert!(load.abs_diff(expected) < 15, "{loads:?}");
        }
    }

    #[test]
    fn the_last_free_slot_is_found() {
        let pool = pool(p2c, &[1; 26]);
        for member in pool.members() {
            member.set_limits(Limits { maxconn: 1, ..Limits::default() });
        }
        assert_eq!(hold(&pool, 26), [1; 26]);
        let next = pool.assign(&Unit::default(), &mut Rng::new(5), 0);
        assert!(matches!(next, Assignment::Wait(_)));
    }

    #[test]
    fn tried_members_and_those_that_are_down_get_none() {
        let pool = pool(p2c, &[1; 4]);
        let down = Status { run: crate::Run::Stopped, ..Status::default() };
        pool.members()[1].set_status(down, 0);
        _ = pool.member_changed(MemberId(1), &mut Rng::new(1), 0);
        let tried = [MemberId(0), MemberId(3)];
        let unit = Unit { tried: &tried, ..Unit::default() };
        let mut rng = Rng::new(3);
        for _ in 0..200 {
            assert_eq!(pool.assign(&unit, &mut rng, 0), Assignment::Member(MemberId(2)));
        }
    }
}
