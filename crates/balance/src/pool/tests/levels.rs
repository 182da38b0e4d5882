//! Who takes the units: levels of priority, backups, and the panic threshold.

use super::*;

/// A pool of members `a`, `b`, …; each letter says its priority, `B` is a backup.
fn leveled(levels: &str, options: PoolOptions) -> Pool<u32> {
    let member = |(at, level): (usize, char)| {
        let priority = level.to_digit(10).unwrap_or(0) as u8;
        let backup = level == 'B';
        let config =
            MemberConfig { number: at as u32 + 1, backup, priority, ..MemberConfig::default() };
        Member::new(&"abcdefgh"[at..=at], &config, 1)
    };
    Pool::new(levels.chars().enumerate().map(member).collect(), round_robin, options)
}

fn panics_below(panic_threshold: u8) -> PoolOptions {
    PoolOptions { panic_threshold, ..PoolOptions::default() }
}

fn set(pool: &Pool<u32>, id: usize, status: Status) {
    pool.members()[id].set_status(status, 0);
    _ = pool.member_changed(MemberId(id as u32), &mut Rng::new(1), 0);
}

/// Who takes eight units, each ended before the next; in the order of the letters, once each.
fn takers(pool: &Pool<u32>) -> String {
    let mut seen: Vec<&str> = (0..8)
        .map(|_| match pool.assign(&ANY, &mut Rng::new(1), 0) {
            Assignment::Member(id) => {
                assert!(pool.release(id).is_none());
                pool.member(id).name()
            }
            _ => "-",
        })
        .collect();
    seen.sort_unstable();
    seen.dedup();
    seen.concat()
}

/// `states` has a letter for each member: `u` up, `d` down, `m` in maintenance, `s` stopping.
#[track_caller]
fn check(levels: &str, options: &PoolOptions, states: &str, in_use: InUse, expected: &str) {
    // Once by the states at the start, once by changes to them.
    for at_start in [true, false] {
        let pool = leveled(levels, options.clone());
        for (id, state) in states.chars().enumerate() {
            let status = match state {
                'd' => Status { run: Run::Stopped, ..Status::default() },
                'm' => {
                    Status { admin: Admin::MAINT_FORCED, run: Run::Stopped, ..Status::default() }
                }
                's' => Status { run: Run::Stopping, ..Status::default() },
                _ => Status::default(),
            };
            if at_start {
                pool.members()[id].set_status(status, 0);
            } else {
                set(&pool, id, status);
            }
        }
        let pool = match at_start {
            true => pool.renew(pool.members().to_vec(), round_robin, options.clone()),
            false => pool,
        };
        assert_eq!((pool.in_use(), &*takers(&pool)), (in_use, expected), "{levels} {states}");
    }
}

#[test]
fn the_first_level_that_is_usable_takes_everything() {
    let plain = PoolOptions::default();
    check("0011", &plain, "uuuu", InUse::Level(0), "ab");
    check("0011", &plain, "duuu", InUse::Level(0), "b");
    check("0011", &plain, "dduu", InUse::Level(1), "cd");
    check("0011", &plain, "ddmu", InUse::Level(1), "d");
    check("1100", &plain, "uuuu", InUse::Level(0), "cd"); // by number, not by order
    check("739", &plain, "uuu", InUse::Level(3), "b");
    check("739", &plain, "udu", InUse::Level(7), "a");
    check("02B", &plain, "ddu", InUse::Backups, "c"); // backups come after all
    check("02B", &plain, "ddd", InUse::Nothing, "-");
    check("BB", &plain, "uu", InUse::Backups, "a");
    check("BB", &PoolOptions { all_backups: true, ..plain }, "uu", InUse::Backups, "ab");
}

#[test]
fn below_the_threshold_health_is_ignored() {
    let half = panics_below(50);
    check("0000", &half, "uuuu", InUse::Level(0), "abcd");
    check("0000", &half, "uudd", InUse::Level(0), "ab"); // half is not below half
    check("0000", &half, "uddd", InUse::Panic, "abcd");
    check("0000", &half, "dddd", InUse::Panic, "abcd");
    // Maintenance is an order, and no sign of illness.
    check("0000", &half, "ummm", InUse::Level(0), "a");
    check("0000", &half, "uddm", InUse::Panic, "abc");
    check("0000", &half, "udds", InUse::Panic, "abc");
    check("0000", &half, "mmmm", InUse::Nothing, "-");
    // A level below it is left for one that is not.
    check("00001", &half, "udddu", InUse::Level(1), "e");
    check("0000111", &half, "uddddud", InUse::Panic, "abcdefg");
    // Backups are for when nothing else is there, and then before panic.
    check("0000B", &half, "udddu", InUse::Panic, "abcd");
    check("0000B", &half, "ddddu", InUse::Backups, "e");
    check("0000B", &half, "ddddd", InUse::Panic, "abcd");
    check("0000", &panics_below(100), "uuud", InUse::Panic, "abcd");
    check("0000", &panics_below(0), "dddd", InUse::Nothing, "-");
}

#[test]
fn a_panic_ends_when_enough_are_back() {
    let pool = leveled("0000", panics_below(50));
    for id in 0..3 {
        _ = set_down(&pool, id);
    }
    assert_eq!((pool.in_use(), pool.usable(), pool.weight()), (InUse::Panic, (1, 0), 4));
    _ = set_up(&pool, 1);
    assert_eq!((pool.in_use(), pool.usable(), pool.weight()), (InUse::Level(0), (2, 0), 2));
    assert_eq!(takers(&pool), "bd");
}

#[test]
fn those_who_wait_get_slots_of_the_level_in_use_alone() {
    let pool = leveled("01", PoolOptions::default());
    for member in pool.members() {
        member.set_limits(Limits { maxconn: 1, ..Limits::default() });
    }
    assert_eq!(come(&pool, &ANY, 0), Ok(MemberId(0)));
    assert_eq!(come(&pool, &to(1), 1), Ok(MemberId(1)));
    assert!(come(&pool, &ANY, 2).is_err());
    assert_eq!(release(&pool, 1), None); // free, but of a level that rests
    let settled = set_down(&pool, 0);
    let granted: Vec<_> = settled.granted.iter().map(|g| (g.waiter, g.member.0)).collect();
    assert_eq!(granted, [(2, 1)]); // the level has changed
}
