//! Tables shared by the strategies. Rows named after HAProxy were recorded from Debian's 2.6.12
//! with `nbthread 1`: a backend of servers that answer with their own letter, asked one after
//! another over loopback.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::hash::KeyHash;
use crate::member::{Admin, Limits, MemberConfig, Status};
use crate::pool::{Assignment, Pool, PoolOptions, Unit};

mod haproxy;

/// A pool of members `a`, `b`, … with these weights.
pub(super) fn pool(strategy: impl Fn() -> Box<dyn Strategy>, weights: &[u32]) -> Pool<()> {
    let member = |(at, weight): (usize, &u32)| {
        let config =
            MemberConfig { number: at as u32 + 1, weight: *weight, ..MemberConfig::default() };
        Member::new(letter(at), &config, 1)
    };
    Pool::new(weights.iter().enumerate().map(member).collect(), strategy, PoolOptions::default())
}

fn letter(at: usize) -> &'static str {
    let at = at % 26; // names need not be unique where nobody looks for them
    &"abcdefghijklmnopqrstuvwxyz"[at..=at]
}

/// The same with a name of its own for each: `a`, …, `z`, `a1`, ….
pub(super) fn named_pool(strategy: impl Fn() -> Box<dyn Strategy>, weights: &[u32]) -> Pool<()> {
    let member = |(at, weight): (usize, &u32)| {
        let config = MemberConfig { weight: *weight, ..MemberConfig::default() };
        let round = if at < 26 { String::new() } else { (at / 26).to_string() };
        Member::new(&format!("{}{round}", letter(at)), &config, 1)
    };
    Pool::new(weights.iter().enumerate().map(member).collect(), strategy, PoolOptions::default())
}

/// Sets a member's weight and tells the pool.
pub(super) fn set_weight(pool: &Pool<()>, id: u32, weight: u32) {
    pool.members()[id as usize].set_weight(weight);
    _ = pool.member_changed(MemberId(id), &mut Rng::new(1), 0);
}

/// The share of each member in `count` units, each ended before the next.
pub(super) fn shares(pool: &Pool<()>, count: u32) -> Vec<f64> {
    let mut rng = Rng::new(1);
    for _ in 0..count {
        if let Assignment::Member(id) = pool.assign(&Unit::default(), &mut rng, 0) {
            assert!(pool.release(id).is_none());
        }
    }
    let total = |member: &Arc<Member>| member.load.total() as f64 / f64::from(count);
    pool.members().iter().map(total).collect()
}

/// What each member has of `count` units that stay.
pub(super) fn hold(pool: &Pool<()>, count: u32) -> Vec<u32> {
    let mut rng = Rng::new(1);
    for _ in 0..count {
        assert!(matches!(pool.assign(&Unit::default(), &mut rng, 0), Assignment::Member(_)));
    }
    pool.members().iter().map(|member| member.load.current()).collect()
}

/// Assigns `count` units one after another, each ended before the next.
fn serve(pool: &Pool<()>, key: Option<Key>, count: usize) -> String {
    let mut rng = Rng::new(1);
    let mut order = String::new();
    for _ in 0..count {
        match pool.assign(&Unit { key, ..Unit::default() }, &mut rng, 0) {
            Assignment::Member(id) => {
                order.push_str(pool.member(id).name());
                assert!(pool.release(id).is_none());
            }
            other => order.push_str(if matches!(other, Assignment::Wait(_)) { "?" } else { "!" }),
        }
    }
    order
}

fn round_robin() -> Box<dyn Strategy> {
    Box::<RoundRobin>::default()
}

fn static_rr() -> Box<dyn Strategy> {
    Box::<StaticRr>::default()
}

fn least_conn() -> Box<dyn Strategy> {
    Box::<LeastConn>::default()
}

fn first() -> Box<dyn Strategy> {
    Box::<First>::default()
}

#[track_caller]
fn check(strategy: fn() -> Box<dyn Strategy>, weights: &[u32], expected: &str) {
    assert_eq!(serve(&pool(strategy, weights), None, expected.len()), expected);
}

/// Something done to a pool, then the order of what follows.
enum Step {
    Serve(&'static str),
    Down(usize),
    Up(usize),
    Weight(usize, u32),
}
use Step::*;

#[track_caller]
fn check_steps(strategy: fn() -> Box<dyn Strategy>, weights: &[u32], steps: &[Step]) {
    let pool = pool(strategy, weights);
    for (at, step) in steps.iter().enumerate() {
        let changed = match *step {
            Serve(expected) => {
                assert_eq!(serve(&pool, None, expected.len()), expected, "step {at}");
                continue;
            }
            Down(member) => {
                let status = Status { admin: Admin::MAINT_FORCED, ..Status::default() };
                pool.members()[member].set_status(status, 0);
                member
            }
            Up(member) => {
                pool.members()[member].set_status(Status::default(), 0);
                member
            }
            Weight(member, weight) => {
                pool.members()[member].set_weight(weight);
                member
            }
        };
        _ = pool.member_changed(MemberId(changed as u32), &mut Rng::new(1), 0);
    }
}

#[test]
fn round_robin_goes_in_haproxys_order() {
    check(round_robin, &[1, 1, 1], "abcabc");
    check(round_robin, &[5, 1, 1], "aaabaac");
    check(round_robin, &[4, 1, 1, 1], "aabacad");
    check(round_robin, &[3, 2, 1], "abacab");
    check(
        round_robin,
        &[5, 3, 2, 1],
        "abacabadbcaabacabadbcaabacabadbcaabacabadbcaabacabadbcaabaca",
    );
    check(
        round_robin,
        &[10, 20, 30],
        "cbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacb",
    );
    let mut rare = "a".repeat(180);
    rare.replace_range(100..101, "b");
    check(round_robin, &[100, 1], &rare);
    check(round_robin, &[7, 7, 3], "abababcababcababacbababcababcababacbababcababcababacbababcab");
    check(
        round_robin,
        &[256, 1, 128],
        "aacaacaacaacaacaacaacaacaacaacaacaacaacaacaacaacaacaacaacaac",
    );
    check(
        round_robin,
        &[2, 2, 3, 5],
        "dcdadcbdcaddbcdadcbdcaddbcdadcbdcaddbcdadcbdcaddbcdadcbdcadd",
    );
    check(round_robin, &[0, 1], "bb"); // weight 0: drained
    check(round_robin, &[0, 0], "!!");
}

#[test]
fn round_robin_takes_changes_as_haproxy_does() {
    let steps = [
        Serve("abacaba"),
        Down(0),
        Serve("dbcbcbdbcbcbd"),
        Up(0),
        Serve("bcaabdacbaabcaabdacb"),
        Down(2),
        Down(3),
        Serve("aabaabaabab"),
        Up(3),
        Serve("aabaabdabaabaab"),
        Up(2),
        Serve("dabacabacbadabacabacbadabacaba"),
        Weight(0, 1),
        Serve("cbdbcbacbdbcbacbbcbd"),
        Weight(3, 20),
        Serve("cbdddddddbdddcddddbdddadddcbdddddddbdddc"),
        Weight(1, 0),
        Serve("ddddddddaddddcdddddd"),
        Weight(1, 7),
        Serve(
            "ddbdcddbdddbadddbddcdbdddbddbdddbdcddbdddbadddbdddbddcdbdddbddbddaddbcddbdddbdddbddcdbdddbddbddaddbcddbdddbdddbddcdbdddbddbddaddbcddbdddbdddbddcdbdddbddbddaddbcddbdddbdddbddcdbdddbddbddaddbcddbdddbddd",
        ),
    ];
    check_steps(round_robin, &[5, 3, 2, 1], &steps);
    let steps = [
        Serve("abcab"),
        Weight(1, 3),
        Serve("cbabbcbabbcbabbcbabbcbabbcbabb"),
        Weight(0, 100),
        Serve("cabaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabaaaaaaaaaaaaaaaaaaaa"),
        Down(0),
        Serve("ccccbbbcbbbbcbbbcbbb"),
    ];
    check_steps(round_robin, &[1, 1, 1], &steps);
}

#[test]
fn static_rr_goes_in_haproxys_order() {
    check(static_rr, &[3, 2, 1], "aababcaababcaababcaababcaababcaababcaababcaababcaababcaababc");
    check(static_rr, &[5, 3, 2, 1], "ababacabacdababacabacdababacabacdababacabacdababacabacdababa");
    check(static_rr, &[10, 20, 30], "acbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbcacbcbc");
    check(static_rr, &[7, 7, 3], "ababacbababcababcababacbababcababcababacbababcababcababacbab");
    check(static_rr, &[100, 1], &"a".repeat(60));
    check(static_rr, &[4, 1, 1, 1], "aabacadaabacadaabacadaabacadaabacadaabacadaabacadaabacadaaba");
    let steps = [
        Serve("ababaca"),
        Down(0),
        Serve("bbcbcdbbcbcdb"),
        Up(0),
        Serve("babacabacdababacabac"),
        Down(2),
        Down(3),
        Serve("aabaababaab"),
        Up(3),
        Serve("ababadaabababad"),
        Up(2),
        Serve("cdababacabacdababacabacdababac"),
    ];
    check_steps(static_rr, &[5, 3, 2, 1], &steps);
}

#[test]
fn least_conn_goes_in_turn_when_nothing_is_in_flight() {
    check(least_conn, &[1, 1, 1], "abcabcabc");
    check(least_conn, &[5, 3, 2, 1], "abcdabcdabcd"); // HAProxy's: idle members are equal
}

#[test]
fn least_conn_shares_what_stays_by_weight() {
    let pool = pool(least_conn, &[1, 2, 4]);
    let mut rng = Rng::new(1);
    for _ in 0..70 {
        assert!(matches!(pool.assign(&Unit::default(), &mut rng, 0), Assignment::Member(_)));
    }
    let loads: Vec<u32> = pool.members().iter().map(|m| m.load.current()).collect();
    assert_eq!(loads, [10, 20, 40]);
    assert!(pool.release(MemberId(0)).is_none());
    assert_eq!(serve(&pool, None, 1), "a");
}

#[test]
fn first_fills_the_lowest_number() {
    let pool = pool(first, &[1, 1]);
    pool.members()[0].set_limits(Limits { maxconn: 2, ..Limits::default() });
    let mut rng = Rng::new(1);
    let mut next = || match pool.assign(&Unit::default(), &mut rng, 0) {
        Assignment::Member(id) => id.0,
        other => panic!("{other:?}"),
    };
    assert_eq!([next(), next(), next(), next()], [0, 0, 1, 1]);
    assert!(pool.release(MemberId(0)).is_none());
    assert_eq!([next(), next()], [0, 1]);
}

#[test]
fn source_gives_an_address_haproxys_server() {
    #[track_caller]
    fn check(weights: &[u32], expected: &[(Ipv4Addr, &str)]) {
        let pool = pool(|| Box::new(MapBased::new("source")), weights);
        for (address, server) in expected {
            let key = Some(KeyHash::default().of_address(IpAddr::V4(*address)));
            assert_eq!(serve(&pool, key, 1), *server, "{address}");
        }
    }
    let local = |d| Ipv4Addr::new(127, 0, 0, d);
    let near = |letters: &'static str| (1..).map(local).zip(letters.split("").skip(1));
    let far = [Ipv4Addr::new(127, 1, 2, 3), Ipv4Addr::new(127, 200, 100, 50)];
    let rows = |letters, more: [&'static str; 2]| -> Vec<_> {
        near(letters).take(11).chain(far.into_iter().zip(more)).collect()
    };
    check(&[1, 1, 1], &rows("cabcabcabca", ["b", "a"]));
    check(&[5, 3, 2, 1], &rows("cdababacaba", ["a", "a"]));
}

#[test]
fn random_draws_by_weight() {
    let one = || Box::new(Random::new(1)) as Box<dyn Strategy>;
    let order = serve(&pool(one, &[1, 0, 3, 6]), None, 100_000);
    let share = |name| order.matches(name).count();
    assert_eq!(share("b"), 0);
    assert!(share("a").abs_diff(10_000) < 400, "{}", share("a"));
    assert!(share("c").abs_diff(30_000) < 600, "{}", share("c"));
    assert!(share("d").abs_diff(60_000) < 600, "{}", share("d"));
}

/// Whatever the keys, no member has more than 130 percent of its part of the load, rounded up twice.
#[test]
fn bounded_loads_are_bounded() {
    let strategies: [fn() -> Box<dyn Strategy>; 2] =
        [|| Box::new(Consistent::new("uri", 130)), || Box::new(Random::bounded(1, 130))];
    for strategy in strategies {
        let pool = pool(strategy, &[10, 20, 30, 40]);
        let mut rng = Rng::new(5);
        for n in 0..1000u32 {
            let unit = Unit { key: Some(KeyHash::default().of_bytes(b"hot")), ..Unit::default() };
            let Assignment::Member(id) = pool.assign(&unit, &mut rng, 0) else { panic!() };
            let member = pool.member(id);
            let most = f64::from((n + 1) * member.weight()) * 1.3 / 100.0;
            assert!(f64::from(member.load.current()) <= most + 2.0, "{n}: {}", member.name());
        }
    }
}

/// When a member goes, only its keys move; when it comes back, they return.
#[test]
fn consistent_hashing_moves_only_the_keys_of_who_goes() {
    let pool = pool(|| Box::new(Consistent::new("uri", 0)), &[3, 5, 1, 7, 2]);
    let owners = || -> Vec<String> {
        (0..5000u32).map(|n| serve(&pool, Some(Key(crate::hash::avalanche(n))), 1)).collect()
    };
    let before = owners();
    for gone in 0..5 {
        let down = Status { admin: Admin::MAINT_FORCED, ..Status::default() };
        pool.members()[gone].set_status(down, 0);
        _ = pool.member_changed(MemberId(gone as u32), &mut Rng::new(1), 0);
        for (was, is) in before.iter().zip(owners()) {
            assert!(*was == is || was == letter(gone) && is != *was, "{was} {is}");
        }
        pool.members()[gone].set_status(Status::default(), 0);
        _ = pool.member_changed(MemberId(gone as u32), &mut Rng::new(1), 0);
        assert_eq!(owners(), before);
    }
}

#[test]
fn random_never_draws_what_was_tried() {
    let pool = pool(|| Box::new(Random::new(2)), &[3, 1, 5, 2, 0, 4]);
    let mut rng = Rng::new(9);
    let tried = [MemberId(2), MemberId(0), MemberId(2), MemberId(5)];
    let unit = Unit { tried: &tried, ..Unit::default() };
    let mut seen = [0; 6];
    for _ in 0..3000 {
        let Assignment::Member(id) = pool.assign(&unit, &mut rng, 0) else { panic!() };
        seen[id.index()] += 1;
        assert!(pool.release(id).is_none());
    }
    assert_eq!(seen[1] + seen[3], 3000);
    assert!(seen[1] > 0 && seen[3] > 0);
}

/// Units that stay, as TCP connections that are held do. The script: `o` one comes, a digit `d`
/// ends the one at place `d % held` of those that have a member, in the order they got it. The
/// record: the member that one got or `?` when it waits; `.` for an end, then whoever's turn came.
#[test]
fn units_that_stay_go_where_haproxy_sends_them() {
    #[track_caller]
    fn check(
        strategy: fn() -> Box<dyn Strategy>,
        weights: &[u32],
        maxconn: u32,
        script: &str,
        expected: &str,
    ) {
        let pool = pool(strategy, weights);
        for member in pool.members() {
            member.set_limits(Limits { maxconn, ..Limits::default() });
        }
        let (mut rng, mut held, mut record) = (Rng::new(1), Vec::new(), String::new());
        for step in script.chars() {
            if let Some(digit) = step.to_digit(10) {
                let id = held.remove(digit as usize % held.len());
                pool.load().leave();
                record.push('.');
                if let Some(grant) = pool.release(id) {
                    record.push_str(pool.member(grant.member).name());
                    held.push(grant.member);
                }
                continue;
            }
            pool.load().enter();
            let unit = Unit::default();
            match pool.assign(&unit, &mut rng, 0) {
                Assignment::Member(id) => {
                    record.push_str(pool.member(id).name());
                    held.push(id);
                }
                Assignment::Wait(place) => {
                    record.push('?');
                    _ = pool.wait(&unit, place, (), &mut rng, 0);
                }
                Assignment::Refused(refusal) => panic!("{refusal:?}"),
            }
        }
        assert_eq!(record, expected);
    }
    check(
        least_conn,
        &[1, 2, 4],
        0,
        "oo5o8ooo01o6o06oo6o27ooo324ooo3o36oooooo05ooo2o0o50ooo7oo3oo7ooo150o3o2o8o4ooo7o",
        "ab.c.bac..a.b..ca.b..bac...acc.c..bccbcc..acb.c.c..cbc.cc.ab.cac...b.c.c.c.bca.b",
    );
    check(
        least_conn,
        &[1, 1, 1],
        0,
        "oo1oooo75oooo8oo496oo4ooo4oo5o3o8034ooo3o46ooo8o0895ooo0o6oo17o1oo634o2ooo3oo464",
        "ab.cbac..bcba.cb...ba.bab.bc.b.a....bcb.b..abc.b....aba.a.bc..b.ba...c.acb.ac...",
    );
    check(
        least_conn,
        &[5, 3, 2, 1],
        3,
        "oooo11oooooooo199002oooo2o3ooooo677ooo18ooo1oo26o85ooo14o047oo05ooo26o1ooooo662o",
        "abcd..bcaabcbc......daab.c.dbcdd...bcc..bb?.c??.a.c?.b.d??.a.c?.a..cd..bb?.b.a.d????.d.b.c?",
    );
    check(
        round_robin,
        &[3, 2, 1],
        2,
        "ooo2ooo8o7oo6ooooo64o66ooo899o729o7oo2o857oooooo88oo5o4o6o20o4o6oo3o6o40oo5o79oo",
        "aba.cab.a.cc.a????.b.a?.b.a???.b.b.a?.c.b.a.a?.c?.b..ab????.a.c??.c?.a?.c?.b.b?.b?.a??.b?.c?.b.a??.a?.b.b??",
    );
    check(
        round_robin,
        &[1, 1, 1, 1],
        2,
        "ooooo0oo596o6oooo9o13646o30o0o7ooo10o3o2oooo6oo9o0o949163ooo811o9oooo0o0ooooo1oo",
        "abcda.bc...d.abcd.a.....b..c.d.abc..d.a.bcda.bc.a.c......dab...c.dabc.d.abcd?.b??",
    );
    check(
        static_rr,
        &[3, 2, 1],
        2,
        "oo6oooooo0ooo5o9oo4o5o39o3o4o3oo1526ooo1o2o9o1o367oo24oo275oo53oo6734o1o6oooo8o6",
        "aa.babcc?.a???.a?.c??.a?.a?.c.c?.a?.c?.c??.a.a.a.b???.c?.a?.b?.c?.a.b.c??.c.c??.a.b.b?.b.c?.a...b.b.cbc?.b?.a",
    );
    check(
        first,
        &[1, 1, 1],
        2,
        "ooo7o3oo2ooo0699oooooooo8o076158oo6oooo3o7o6o4oo61o0o23oo2oo3o9o3o91oo056oo3oo27",
        "aab.a.ab.acc....aabb????.a?.c.a.c.b..ab.b???.a?.c?.a?.c??.c.b?.b?.c.b??.c??.c?.b?.c?.c.a??.a.a.b??.a??.c.c",
    );
}
