//! Limits that let nobody wait: `max_requests`, probation.

use super::*;
use crate::member::Standing;
use crate::strategy::{First, LeastConn, P2c};

/// Members with these `maxconn/max_requests`.
fn limited(limits: &[(u32, u32)], strategy: fn() -> Box<dyn Strategy>) -> Pool<u32> {
    let members = members(&vec![0; limits.len()]);
    for (member, (maxconn, max_requests)) in members.iter().zip(limits) {
        let limits = Limits { maxconn: *maxconn, max_requests: *max_requests, ..Limits::default() };
        member.set_limits(limits);
    }
    Pool::new(members, strategy, PoolOptions::default())
}

/// What becomes of this many units, one letter each: the member, `w` for one that may wait, `.` for one that is refused.
fn fates(pool: &Pool<u32>, unit: &Unit<'_>, count: usize) -> String {
    let mut rng = Rng::new(1);
    let fate = |_| match pool.assign(unit, &mut rng, 0) {
        Assignment::Member(id) => char::from(b"abcdefgh"[id.index()]),
        Assignment::Wait(_) => 'w',
        Assignment::Refused(Refusal::Full | Refusal::MemberFull(_)) => '.',
        Assignment::Refused(other) => panic!("{other:?}"),
    };
    (0..count).map(fate).collect()
}

#[test]
fn at_the_limit_of_all_a_unit_is_refused_instead_of_waiting() {
    #[track_caller]
    fn check(limits: &[(u32, u32)], expected: &str) {
        assert_eq!(fates(&limited(limits, round_robin), &Unit::default(), 6), expected);
    }
    check(&[(0, 0), (0, 1)], "abaaaa");
    check(&[(0, 1), (0, 2)], "abb...");
    check(&[(0, 1), (2, 0)], "abbwww"); // one may wait for b
    check(&[(0, 1), (2, 2)], "abb..."); // nobody may
    check(&[(2, 5), (0, 1)], "abawww"); // maxconn comes first, and lets wait
    check(&[(3, 2), (0, 1)], "aba...");
}

#[test]
fn every_strategy_keeps_to_it() {
    let strategies: [fn() -> Box<dyn Strategy>; 6] = [
        round_robin,
        || Box::<LeastConn>::default(),
        || Box::<First>::default(),
        || Box::new(Random::new(2)),
        || Box::<P2c>::default(),
        || Box::<StaticRr>::default(),
    ];
    for strategy in strategies {
        let pool = limited(&[(0, 2), (0, 1), (0, 3)], strategy);
        let name = pool.strategy();
        let mut all: Vec<char> = fates(&pool, &Unit::default(), 8).chars().collect();
        all.sort_unstable();
        assert_eq!(all.iter().collect::<String>(), "..aabccc", "{name}");
        assert_eq!(pool.turned_away(), 2, "{name}");
        assert!(pool.release(MemberId(1)).is_none());
        assert_eq!(fates(&pool, &Unit::default(), 2), "b.", "{name}");
    }
}

#[test]
fn a_unit_that_has_to_go_to_one_is_refused_there() {
    let pool = limited(&[(0, 1), (0, 0)], round_robin);
    assert_eq!(fates(&pool, &to(0), 3), "a..");
    assert_eq!(pool.member(MemberId(0)).turned_away(), 2);
    assert_eq!(fates(&pool, &Unit::default(), 2), "bb");
    let keyed = limited(&[(0, 1), (0, 1)], || Box::new(MapBased::new("source")));
    let key = Unit { key: Some(Key(2)), ..Unit::default() };
    assert_eq!(fates(&keyed, &key, 3), "a..");
}

#[test]
fn one_on_probation_is_given_one_unit_at_a_time() {
    let pool = limited(&[(0, 0), (0, 0)], round_robin);
    let stand = |standing| {
        let status = Status { standing, ..Status::default() };
        pool.member(MemberId(1)).set_status(status, 0);
        let settled = pool.member_changed(MemberId(1), &mut Rng::new(1), 0);
        assert!(settled.granted.is_empty() && settled.refused.is_empty());
    };
    stand(Standing::Ejected);
    assert_eq!(fates(&pool, &Unit::default(), 3), "aaa");
    stand(Standing::Probation);
    assert_eq!(fates(&pool, &Unit::default(), 4).matches('b').count(), 1);
    assert_eq!(fates(&pool, &to(1), 2), "aa"); // as when it was out
    assert!(pool.release(MemberId(1)).is_none());
    assert_eq!(fates(&pool, &to(1), 2), "ba");
    stand(Standing::In);
    assert_eq!(fates(&pool, &to(1), 2), "bb");
}

#[test]
fn with_everybody_out_or_on_trial_a_unit_is_refused() {
    let pool = limited(&[(0, 0)], round_robin);
    let status = Status { standing: Standing::Probation, ..Status::default() };
    pool.member(MemberId(0)).set_status(status, 0);
    let _ = pool.member_changed(MemberId(0), &mut Rng::new(1), 0);
    assert_eq!(fates(&pool, &Unit::default(), 3), "a..");
    assert!(pool.release(MemberId(0)).is_none());
    assert_eq!(fates(&pool, &Unit::default(), 3), "a..");
}
