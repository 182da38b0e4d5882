//! The life of units: slots, the queue, changes and reloads.

mod breaker;
mod levels;

use proptest::prelude::{Just, ProptestConfig, any, prop, prop_assert, prop_assert_eq};
use proptest::prelude::{prop_assume, prop_oneof, proptest};
use proptest::strategy::Strategy as Generate;

use std::collections::HashMap;

use super::*;
use crate::member::{Admin, Limits, MemberConfig, Run, Status};
use crate::strategy::{First, LeastConn, MapBased, Random, RoundRobin, StaticRr};

/// Members `a`, `b`, … with these limits on units in flight.
fn members(maxconns: &[u32]) -> Vec<Arc<Member>> {
    let member = |(at, maxconn): (usize, &u32)| {
        let limits = Limits { maxconn: *maxconn, ..Limits::default() };
        let config = MemberConfig { number: at as u32 + 1, limits, ..MemberConfig::default() };
        Member::new(&"abcdefgh"[at..=at], &config, 1)
    };
    maxconns.iter().enumerate().map(member).collect()
}

fn round_robin() -> Box<dyn Strategy> {
    Box::<RoundRobin>::default()
}

fn pool(maxconns: &[u32], options: PoolOptions) -> Pool<u32> {
    Pool::new(members(maxconns), round_robin, options)
}

/// Assigns a unit or lets `waiter` wait for it.
#[track_caller]
fn come(pool: &Pool<u32>, unit: &Unit<'_>, waiter: u32) -> Result<MemberId, Ticket> {
    let mut rng = Rng::new(u64::from(waiter));
    match pool.assign(unit, &mut rng, 0) {
        Assignment::Member(id) => Ok(id),
        Assignment::Wait(place) => match pool.wait(unit, place, waiter, &mut rng, 0) {
            Waiting::Queued(ticket) => Err(ticket),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn to(member: u32) -> Unit<'static> {
    let pinned = Some(Pinned { member: MemberId(member), force: false });
    Unit { pinned, ..Unit::default() }
}

/// Who got the slot that was released, where, and how far it had come.
fn release(pool: &Pool<u32>, id: u32) -> Option<(u32, u32, u32)> {
    pool.release(MemberId(id)).map(|grant| (grant.waiter, grant.member.0, grant.position))
}

fn set_down(pool: &Pool<u32>, id: u32) -> Settled<u32> {
    pool.members()[id as usize].set_status(Status { run: Run::Stopped, ..Status::default() }, 0);
    pool.member_changed(MemberId(id), &mut Rng::new(1), 0)
}

fn set_up(pool: &Pool<u32>, id: u32) -> Settled<u32> {
    pool.members()[id as usize].set_status(Status::default(), 0);
    pool.member_changed(MemberId(id), &mut Rng::new(1), 0)
}

const ANY: Unit<'_> = Unit { key: None, tried: &[], pinned: None };

#[test]
fn a_freed_slot_goes_to_the_one_that_waited_longest() {
    let pool = pool(&[1, 1], PoolOptions::default());
    assert_eq!(come(&pool, &ANY, 0), Ok(MemberId(0)));
    assert_eq!(come(&pool, &ANY, 1), Ok(MemberId(1)));
    assert!(come(&pool, &to(1), 2).is_err());
    assert!(come(&pool, &ANY, 3).is_err());
    assert!(come(&pool, &to(0), 4).is_err());
    assert!(come(&pool, &ANY, 5).is_err());
    assert_eq!((pool.waiting(), pool.load().queued()), (4, 2));
    assert_eq!(pool.member(MemberId(0)).load.queued(), 1);
    assert_eq!(release(&pool, 0), Some((3, 0, 1))); // 2 is older, but not for this member
    assert_eq!(release(&pool, 0), Some((4, 0, 1)));
    assert_eq!(release(&pool, 1), Some((2, 1, 1)));
    assert_eq!(release(&pool, 1), Some((5, 1, 2)));
    assert_eq!(release(&pool, 0), None);
    assert_eq!(release(&pool, 1), None);
    assert!(pool.members().iter().all(|m| m.load.current() == 0 && m.load.peak() == 1));
}

#[test]
fn one_who_leaves_the_queue_is_not_served() {
    let pool = pool(&[1], PoolOptions::default());
    assert_eq!(come(&pool, &ANY, 0), Ok(MemberId(0)));
    let first = come(&pool, &ANY, 1).unwrap_err();
    let second = come(&pool, &ANY, 2).unwrap_err();
    assert_eq!(pool.cancel(first), Some((1, 1)));
    assert_eq!(pool.cancel(first), None);
    assert_eq!(release(&pool, 0), Some((2, 0, 1)));
    assert_eq!(pool.cancel(second), None); // it has a slot: release it
    assert_eq!(release(&pool, 0), None);
    assert_eq!((pool.waiting(), pool.load().queued()), (0, 0));
}

#[test]
fn queues_have_limits() {
    let limited = pool(&[1], PoolOptions { queue_max: 1, ..PoolOptions::default() });
    assert_eq!(come(&limited, &ANY, 0), Ok(MemberId(0)));
    assert!(come(&limited, &ANY, 1).is_err());
    let mut rng = Rng::new(1);
    let Assignment::Wait(place) = limited.assign(&ANY, &mut rng, 0) else { panic!() };
    let refused = limited.wait(&ANY, place, 2, &mut rng, 0);
    assert!(matches!(refused, Waiting::Refused(Refusal::QueueFull, 2)));

    let pool = pool(&[1], PoolOptions::default());
    pool.member(MemberId(0)).set_limits(Limits { maxconn: 1, maxqueue: 1, ..Limits::default() });
    assert_eq!(come(&pool, &to(0), 0), Ok(MemberId(0)));
    assert!(come(&pool, &to(0), 1).is_err());
    let full = Assignment::Refused(Refusal::MemberQueueFull(MemberId(0)));
    assert_eq!(pool.assign(&to(0), &mut rng, 0), full);
}

#[test]
fn a_slot_freed_before_one_waits_is_not_missed() {
    let pool = pool(&[1], PoolOptions::default());
    let mut rng = Rng::new(1);
    assert_eq!(come(&pool, &ANY, 0), Ok(MemberId(0)));
    let Assignment::Wait(place) = pool.assign(&ANY, &mut rng, 0) else { panic!() };
    assert_eq!(release(&pool, 0), None);
    let waiting = pool.wait(&ANY, place, 1, &mut rng, 0);
    assert!(matches!(waiting, Waiting::Member(MemberId(0), 1)));
}

#[test]
fn those_who_wait_for_a_member_that_goes_down_go_to_another() {
    let pool = pool(&[1, 1], PoolOptions { redispatch: true, ..PoolOptions::default() });
    assert_eq!(come(&pool, &to(0), 0), Ok(MemberId(0)));
    let forced = Pinned { member: MemberId(0), force: true };
    assert!(come(&pool, &Unit { pinned: Some(forced), ..ANY }, 1).is_err());
    assert!(come(&pool, &to(0), 2).is_err());
    assert!(come(&pool, &to(0), 3).is_err());
    let settled = set_down(&pool, 0);
    let granted: Vec<_> = settled.granted.iter().map(|g| (g.waiter, g.member.0)).collect();
    assert_eq!(granted, [(2, 1)]); // the other had one slot
    assert_eq!(pool.member(MemberId(0)).load.queued(), 1);
    assert_eq!(release(&pool, 0), Some((1, 0, 1))); // it insisted
    let settled = set_down(&pool, 1);
    assert!(settled.granted.is_empty());
    assert_eq!(pool.assign(&ANY, &mut Rng::new(1), 0), Assignment::Refused(Refusal::NoMember));
    assert_eq!(release(&pool, 1), None);
    let settled = set_up(&pool, 1);
    assert_eq!(settled.granted.len(), 1); // the one that waited for any
    assert_eq!(settled.granted[0].waiter, 3);
}

#[test]
fn those_who_can_go_nowhere_are_given_back() {
    let pool = pool(&[1], PoolOptions { redispatch: true, ..PoolOptions::default() });
    assert_eq!(come(&pool, &to(0), 0), Ok(MemberId(0)));
    assert!(come(&pool, &to(0), 1).is_err());
    assert_eq!(set_down(&pool, 0).refused, [1]);
    assert_eq!((pool.waiting(), pool.load().queued()), (0, 0));
}

#[test]
fn a_drained_member_is_reached_by_persistence_alone() {
    let pool = pool(&[0, 0], PoolOptions::default());
    pool.member(MemberId(0))
        .set_status(Status { admin: Admin::DRAIN_FORCED, ..Status::default() }, 0);
    assert!(pool.member_changed(MemberId(0), &mut Rng::new(1), 0).granted.is_empty());
    assert_eq!(come(&pool, &ANY, 0), Ok(MemberId(1)));
    assert_eq!(come(&pool, &ANY, 0), Ok(MemberId(1)));
    assert_eq!(come(&pool, &to(0), 0), Ok(MemberId(0)));
    assert_eq!(pool.usable(), (1, 0));
}

#[test]
fn backups_serve_when_all_others_are_down() {
    #[track_caller]
    fn check(all_backups: bool, expected: [u32; 3]) {
        let members = members(&[0, 0, 0]);
        for backup in &members[1..] {
            backup.configure(&MemberConfig { backup: true, ..MemberConfig::default() });
        }
        let options = PoolOptions { all_backups, ..PoolOptions::default() };
        let pool = Pool::new(members, round_robin, options);
        assert_eq!(come(&pool, &ANY, 0), Ok(MemberId(0)));
        assert!(set_down(&pool, 0).granted.is_empty());
        let served = [(); 3].map(|()| come(&pool, &ANY, 0).map_or(9, |id| id.0));
        assert_eq!(served, expected);
        assert!(set_down(&pool, 1).granted.is_empty());
        assert_eq!(come(&pool, &ANY, 0), Ok(MemberId(2)));
        assert!(set_up(&pool, 0).granted.is_empty());
        assert_eq!(come(&pool, &ANY, 0), Ok(MemberId(0)));
    }
    check(false, [1, 1, 1]);
    check(true, [1, 2, 1]);
}

#[test]
fn a_retry_goes_to_another_member_while_there_is_one() {
    let strategies: [fn() -> Box<dyn Strategy>; 6] = [
        round_robin,
        || Box::<StaticRr>::default(),
        || Box::<LeastConn>::default(),
        || Box::<First>::default(),
        || Box::new(Random::new(2)),
        || Box::new(MapBased::new("source")),
    ];
    for strategy in strategies {
        let pool: Pool<u32> = Pool::new(members(&[0, 0, 0]), strategy, PoolOptions::default());
        let tried = [MemberId(2), MemberId(0)];
        let unit = Unit { key: Some(Key(0)), tried: &tried, pinned: None };
        assert_eq!(come(&pool, &unit, 0), Ok(MemberId(1)), "{}", pool.strategy());
        assert!(set_down(&pool, 1).granted.is_empty());
        assert!(come(&pool, &unit, 0).is_ok(), "{}", pool.strategy());
    }
}

#[test]
fn a_unit_with_a_key_waits_for_its_member() {
    let pool: Pool<u32> =
        Pool::new(members(&[1, 1]), || Box::new(MapBased::new("source")), PoolOptions::default());
    let unit = Unit { key: Some(Key(1)), ..ANY };
    assert_eq!(come(&pool, &unit, 0), Ok(MemberId(1)));
    assert!(come(&pool, &unit, 1).is_err());
    assert_eq!(pool.member(MemberId(1)).load.queued(), 1);
    assert_eq!(release(&pool, 1), Some((1, 1, 1)));
}

#[test]
fn a_reload_keeps_the_order_of_those_who_wait() {
    let old = pool(&[1, 1], PoolOptions::default());
    assert_eq!(come(&old, &ANY, 0), Ok(MemberId(0)));
    assert_eq!(come(&old, &ANY, 1), Ok(MemberId(1)));
    assert!(come(&old, &ANY, 2).is_err());
    // The new configuration has dropped `a` and renamed nothing: `b` is now the first.
    let kept = vec![Arc::clone(old.member(MemberId(1)))];
    let new = old.renew(kept, round_robin, PoolOptions::default());
    assert!(come(&new, &ANY, 3).is_err());
    assert!(come(&old, &ANY, 4).is_err());
    assert_eq!(new.waiting(), 3);
    assert_eq!(release(&old, 1), Some((2, 1, 1)));
    assert_eq!(release(&new, 0), Some((3, 0, 1))); // `b` again, by its new id
    assert_eq!(release(&old, 0), Some((4, 0, 2))); // the dropped one still ends its work
    assert!(come(&old, &ANY, 5).is_err());
    drop(old);
    assert_eq!((new.waiting(), new.load().queued()), (0, 0));
    assert_eq!(release(&new, 0), None);
}

#[test]
fn a_reload_to_leastconn_hears_of_what_the_old_pool_releases() {
    let old = pool(&[0, 0], PoolOptions::default());
    let held = [(); 4].map(|()| come(&old, &ANY, 0));
    assert_eq!(held, [0, 1, 0, 1].map(|id| Ok(MemberId(id))));
    let new =
        old.renew(old.members().to_vec(), || Box::<LeastConn>::default(), PoolOptions::default());
    assert_eq!(release(&old, 1), None);
    assert_eq!(release(&old, 1), None);
    assert_eq!(come(&new, &ANY, 0), Ok(MemberId(1)));
    assert_eq!(come(&new, &ANY, 0), Ok(MemberId(1)));
    assert_eq!(come(&new, &ANY, 0), Ok(MemberId(0)));
}

#[test]
fn two_threads_keep_exact_totals() {
    let strategies: [fn() -> Box<dyn Strategy>; 2] = [round_robin, || Box::<LeastConn>::default()];
    for strategy in strategies {
        let pool: Pool<std::sync::mpsc::Sender<MemberId>> =
            Pool::new(members(&[2, 1, 0, 3]), strategy, PoolOptions::default());
        const UNITS: u64 = 20_000;
        std::thread::scope(|scope| {
            for seed in 0..2 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    let mut held = Vec::new();
                    for _ in 0..UNITS {
                        match pool.assign(&ANY, &mut rng, 0) {
                            Assignment::Member(id) => held.push(id),
                            other => panic!("{other:?}"), // one member has no limit
                        }
                        if rng.below(4) > 0 && !held.is_empty() {
                            let at = rng.below(held.len() as u64) as usize;
                            assert!(pool.release(held.swap_remove(at)).is_none());
                        }
                    }
                    held.into_iter().for_each(|id| assert!(pool.release(id).is_none()));
                });
            }
        });
        assert!(pool.members().iter().all(|member| member.load.current() == 0));
        assert_eq!(pool.members().iter().map(|m| m.load.total()).sum::<u64>(), 2 * UNITS);
        for (member, most) in pool.members().iter().zip([2, 1, u32::MAX, 3]) {
            assert!(member.load.peak() <= most);
        }
    }
}

#[test]
fn two_threads_serve_every_waiter_once() {
    use std::sync::mpsc;
    let pool: Pool<mpsc::Sender<MemberId>> =
        Pool::new(members(&[1, 1]), round_robin, PoolOptions::default());
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let pool = &pool;
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                for _ in 0..3_000 {
                    let (sender, receiver) = mpsc::channel();
                    let id = match pool.assign(&ANY, &mut rng, 0) {
                        Assignment::Member(id) => id,
                        Assignment::Wait(place) => {
                            match pool.wait(&ANY, place, sender, &mut rng, 0) {
                                Waiting::Member(id, _) => id,
                                Waiting::Queued(_) => receiver.recv().expect("a slot comes"),
                                Waiting::Refused(refusal, _) => panic!("{refusal:?}"),
                            }
                        }
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(pool.member(id).load.current(), 1);
                    if let Some(grant) = pool.release(id) {
                        grant.waiter.send(grant.member).expect("it waits");
                    }
                }
            });
        }
    });
    assert_eq!(pool.waiting(), 0);
    assert!(pool.members().iter().all(|member| member.load.current() == 0));
}

#[derive(Debug, Clone)]
enum Op {
    Come,
    ComeTo(u32),
    ComeKeyed(u32),
    Release(usize),
    Cancel(usize),
    Flap(u32),
    Weight(u32, u32),
    Limit(u32, u32),
    Reload,
}

fn op() -> impl Generate<Value = Op> {
    prop_oneof![
        6 => Just(Op::Come),
        2 => (0u32..4).prop_map(Op::ComeTo),
        2 => any::<u32>().prop_map(Op::ComeKeyed),
        6 => any::<usize>().prop_map(Op::Release),
        1 => any::<usize>().prop_map(Op::Cancel),
        2 => (0u32..4).prop_map(Op::Flap),
        1 => (0u32..4, 0u32..6).prop_map(|(member, weight)| Op::Weight(member, weight)),
        1 => (0u32..4, 1u32..4).prop_map(|(member, limit)| Op::Limit(member, limit)),
        1 => Just(Op::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever happens, no unit is lost or served twice, no limit exceeded, nobody unusable
    /// chosen, and nobody waits for any member while round robin has one to give.
    #[test]
    fn nothing_is_lost(kind in 0usize..6, ops in prop::collection::vec(op(), 1..200)) {
        let strategy: fn() -> Box<dyn Strategy> = [
            round_robin as fn() -> Box<dyn Strategy>,
            || Box::<StaticRr>::default(),
            || Box::<LeastConn>::default(),
            || Box::<First>::default(),
            || Box::new(Random::new(2)),
            || Box::new(MapBased::new("source")),
        ][kind];
        let options = PoolOptions { redispatch: true, ..PoolOptions::default() };
        let mut pools = vec![Pool::new(members(&[1, 2, 3, 1]), strategy, options.clone())];
        let mut rng = Rng::new(1);
        let mut next = 0u32;
        let mut held: Vec<(usize, MemberId)> = Vec::new(); // by pool
        let mut waiting: HashMap<u32, (usize, Ticket)> = HashMap::new();
        for op in ops {
            let newest = pools.len() - 1;
            let pool = &pools[newest];
            let mut grants = Vec::new();
            let unit = match op {
                Op::Come => Some(ANY),
                Op::ComeTo(member) => Some(to(member)),
                Op::ComeKeyed(key) => Some(Unit { key: Some(Key(key)), ..ANY }),
                _ => None,
            };
            if let Some(unit) = unit {
                next += 1;
                match pool.assign(&unit, &mut rng, 0) {
                    Assignment::Member(id) => {
                        let member = pool.member(id);
                        prop_assert!(member.effective_weight() > 0 || unit.pinned.is_some());
                        prop_assert!(member.is_reachable());
                        held.push((newest, id));
                    }
                    Assignment::Wait(place) => match pool.wait(&unit, place, next, &mut rng, 0) {
                        Waiting::Queued(ticket) => _ = waiting.insert(next, (newest, ticket)),
                        other => prop_assert!(false, "{:?}", other),
                    },
                    Assignment::Refused(refusal) => prop_assert_eq!(refusal, Refusal::NoMember),
                }
            }
            match op {
                Op::Release(at) if !held.is_empty() => {
                    let (at, id) = held.swap_remove(at % held.len());
                    grants.extend(pools[at].release(id));
                    while let Some(grant) = pools[at].next_grant(id) {
                        grants.push(grant);
                    }
                }
                Op::Cancel(at) if !waiting.is_empty() => {
                    let Some(&waiter) = waiting.keys().nth(at % waiting.len()) else { continue };
                    let Some((at, ticket)) = waiting.remove(&waiter) else { continue };
                    prop_assert_eq!(pools[at].cancel(ticket).map(|(waiter, _)| waiter), Some(waiter));
                }
                Op::Flap(id) => {
                    let up = pool.members()[id as usize].status().run == Run::Stopped;
                    let settled = if up { set_up(pool, id) } else { set_down(pool, id) };
                    grants.extend(settled.granted);
                    for waiter in settled.refused {
                        prop_assert!(waiting.remove(&waiter).is_some());
                    }
                }
                Op::Weight(id, weight) => {
                    pool.members()[id as usize].set_weight(weight);
                    grants.extend(pool.member_changed(MemberId(id), &mut rng, 0).granted);
                }
                Op::Limit(id, maxconn) => {
                    pool.members()[id as usize].set_limits(Limits { maxconn, ..Limits::default() });
                    grants.extend(pool.member_changed(MemberId(id), &mut rng, 0).granted);
                }
                Op::Reload if pools.len() < 4 => {
                    let members = pool.members().to_vec();
                    let fresh = pool.renew(members, strategy, options.clone());
                    pools.push(fresh);
                }
                _ => {}
            }
            for grant in grants {
                let (at, _) = waiting.remove(&grant.waiter).expect("it waits, once");
                held.push((at, grant.member));
            }
            let pool = &pools[pools.len() - 1];
            prop_assert_eq!(pool.waiting() as usize, waiting.len());
            let queued: u32 = pool.members().iter().map(|member| member.load.queued()).sum();
            prop_assert_eq!(queued + pool.load().queued(), pool.waiting());
            for (at, member) in pool.members().iter().enumerate() {
                let mine = held.iter().filter(|(_, id)| id.index() == at).count();
                prop_assert_eq!(member.load.current() as usize, mine);
            }
            if kind < 2 && pool.load().queued() > 0 {
                let free = pool.members().iter().any(|m| {
                    m.effective_weight() > 0 && m.load.current() < m.limits().maxconn
                });
                prop_assert!(!free, "one waits though a slot is free");
            }
        }
    }

    /// Over any window that is a multiple of the weights, shares are the weights, within one.
    #[test]
    fn shares_follow_weights(weights in prop::collection::vec(0u32..=20, 1..8), fixed: bool) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let strategy = move || -> Box<dyn Strategy> {
            if fixed { Box::<StaticRr>::default() } else { round_robin() }
        };
        let members = members(&vec![0; weights.len()]);
        for (member, weight) in members.iter().zip(&weights) {
            member.configure(&MemberConfig { weight: *weight, ..MemberConfig::default() });
        }
        let pool: Pool<u32> = Pool::new(members, strategy, PoolOptions::default());
        for _ in 0..total {
            prop_assert!(come(&pool, &ANY, 0).is_ok());
        }
        for (member, weight) in pool.members().iter().zip(&weights) {
            prop_assert!(member.load.current().abs_diff(*weight) <= 1);
        }
    }
}
