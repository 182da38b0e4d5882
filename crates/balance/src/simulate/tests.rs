//! The claims that are made of strategies, each as a run that anybody can repeat.

use super::*;
use crate::strategy::{ByUsage, LeastConn, LeastTime, P2c, Random, RoundRobin};

type Make = fn() -> Box<dyn Strategy>;

const LEAST_TIME: Make = || Box::<LeastTime>::default();
const P2C: Make = || Box::<P2c>::default();
const ROUND_ROBIN: Make = || Box::<RoundRobin>::default();
const LEAST_CONN: Make = || Box::<LeastConn>::default();
const RANDOM_1: Make = || Box::new(Random::new(1));

/// `count` servers that each work on `capacity` units at once.
fn servers(count: usize, capacity: u32) -> Vec<SimulatedServer> {
    let server = |at: usize| SimulatedServer {
        name: format!("s{at}"),
        config: MemberConfig { number: at as u32 + 1, ..MemberConfig::default() },
        check: None,
        slow_start_s: 0,
        disabled: false,
        capacity,
    };
    (0..count).map(server).collect()
}

fn at(at_ms: u64, server: usize, change: Change) -> ServerChange {
    ServerChange { at_ms, server, change }
}

/// The units given to a member from one moment to another, in milliseconds.
fn given(report: &Report, scenario: &Scenario, member: usize, from: u64, to: u64) -> u32 {
    let windows = (from / scenario.window_ms) as usize..(to / scenario.window_ms) as usize;
    report.members[member].windows[windows].iter().sum()
}

/// The most units that a member was given in one window from one moment to another.
fn most_given(report: &Report, scenario: &Scenario, member: usize, from: u64, to: u64) -> u32 {
    let windows = (from / scenario.window_ms) as usize..(to / scenario.window_ms) as usize;
    report.members[member].windows[windows].iter().copied().max().unwrap_or(0)
}

const MEAN_10_MS: ServiceTime = ServiceTime::Exponential { mean_us: 10_000.0 };

/// Ten seconds well, ten with server 0 as `change` has it, twenty well again.
fn ill(change: Change, rate: f64, count: usize) -> Scenario {
    Scenario {
        servers: servers(count, 64),
        rate,
        service: MEAN_10_MS,
        duration_ms: 40_000,
        changes: vec![at(10_000, 0, change), at(20_000, 0, Change::Recover)],
        window_ms: 500,
        retries: 0,
        ..Scenario::default()
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let scenario = ill(Change::Slow(10.0), 300.0, 4);
    assert_eq!(run(&scenario, LEAST_TIME), run(&scenario, LEAST_TIME));
    let other = Scenario { seed: 2, ..scenario.clone() };
    assert_ne!(run(&scenario, LEAST_TIME).members, run(&other, LEAST_TIME).members);
    // Two strategies meet the same arrivals.
    assert_eq!(run(&scenario, P2C).units, run(&scenario, LEAST_TIME).units);
}

/// What queueing theory says of one server: with 80% of it in use, 3.2 wait on average.
#[test]
fn queues_are_as_long_as_theory_has_them() {
    let scenario = Scenario {
        servers: servers(1, 1),
        rate: 80.0,
        service: MEAN_10_MS,
        duration_ms: 2_000_000,
        ..Scenario::default()
    };
    let close = |found: f64| assert!((found - 3.2).abs() < 0.25, "{found}");
    let at_the_server = run(&scenario, ROUND_ROBIN);
    close(at_the_server.members[0].backlog.0);
    assert_eq!(at_the_server.queue, (0.0, 0));
    let mut limited = scenario;
    limited.servers[0].config.limits.maxconn = 1;
    let in_the_pool = run(&limited, ROUND_ROBIN);
    close(in_the_pool.queue.0);
    assert_eq!(in_the_pool.members[0].backlog, (0.0, 0));
    assert_eq!(in_the_pool.units, in_the_pool.members[0].assigned);
}

/// Issue: a slow server loses traffic within a second, and gets its share back some seconds after
/// it has recovered, without a herd.
#[test]
fn least_time_leaves_a_slow_server_within_a_second_and_comes_back_in_seconds() {
    for seed in 1..=2 {
        for (rate, count) in [(1000.0, 4), (200.0, 4), (1000.0, 2), (2000.0, 20), (100.0, 2)] {
            let scenario = Scenario { seed, ..ill(Change::Slow(10.0), rate, count) };
            let report = run(&scenario, LEAST_TIME);
            let given = |from, to| f64::from(given(&report, &scenario, 0, from, to));
            let fair = rate / count as f64; // a second
            let context = format!("{seed} {rate} {count}");
            assert!((0.8..1.2).contains(&(given(2_000, 10_000) / 8.0 / fair)), "{context}");
            let ill = given(11_000, 20_000) / 9.0 / fair;
            assert!(ill < 0.15, "{context}: {ill} of its share while it is slow");
            assert!(ill > 0.0, "{context}: never tried again");
            let back = given(24_000, 40_000) / 16.0 / fair;
            assert!((0.8..1.2).contains(&back), "{context}: {back} of its share afterwards");
            let most = f64::from(most_given(&report, &scenario, 0, 20_000, 40_000)) / (fair / 2.0);
            let usual = f64::from(most_given(&report, &scenario, 1, 2_000, 10_000)) / (fair / 2.0);
            assert!(most < usual.max(1.0) * 1.5, "{context}: {most} in a crowd, {usual} as a rule");
        }
    }
}

#[test]
fn round_robin_does_not_see_that_a_server_is_slow_and_least_time_does() {
    let scenario = ill(Change::Slow(10.0), 1000.0, 4);
    let p99 = |strategy| run(&scenario, strategy).latency.p99_us;
    let (blind, connections, time) = (p99(ROUND_ROBIN), p99(LEAST_CONN), p99(LEAST_TIME));
    assert!(blind > 150_000, "{blind}");
    assert!(time < 60_000, "{time}");
    assert!(time < connections, "{time} {connections}");
}

/// A server that refuses at once looks like the fastest and the least loaded.
#[test]
fn a_server_that_fails_quickly_draws_no_crowd_under_least_time() {
    for (rate, count) in [(1000.0, 4), (200.0, 4), (1000.0, 2)] {
        let scenario = ill(Change::Fail, rate, count);
        let least_time = run(&scenario, LEAST_TIME);
        let least_conn = run(&scenario, LEAST_CONN);
        let arrived_meanwhile = rate * 10.0;
        let lost = |report: &Report| report.failed as f64 / arrived_meanwhile;
        assert!(lost(&least_time) < 0.02, "{rate} {count}: {}", lost(&least_time));
        assert!(lost(&least_conn) > 0.25, "{rate} {count}: {}", lost(&least_conn));
        let back = f64::from(given(&least_time, &scenario, 0, 26_000, 40_000)) / 14.0;
        let share = back / (rate / count as f64);
        assert!((0.8..1.2).contains(&share), "{rate} {count}: {share} of its share afterwards");
    }
}

#[test]
fn a_server_that_joins_gets_its_share_and_no_crowd() {
    let mut scenario = ill(Change::Fail, 1000.0, 4);
    let check = CheckConfig { inter_ms: 200, rise: 1, fall: 1, ..CheckConfig::default() };
    scenario.servers[0].check = Some(check);
    let report = run(&scenario, LEAST_TIME);
    assert_eq!(given(&report, &scenario, 0, 10_500, 20_000), 0); // it is down
    let back = given(&report, &scenario, 0, 20_500, 22_500);
    assert!((400..600).contains(&back), "{back}"); // 250 a second
    assert!(most_given(&report, &scenario, 0, 20_000, 40_000) < 190);
}

#[test]
fn two_choices_keep_the_longest_queue_short() {
    let scenario = Scenario {
        servers: servers(20, 1),
        rate: 1800.0, // nine tenths of what they can
        service: MEAN_10_MS,
        duration_ms: 60_000,
        ..Scenario::default()
    };
    let longest = |strategy| {
        let report = run(&scenario, strategy);
        report.members.iter().map(|member| member.backlog.1).max().unwrap_or(0)
    };
    let (random, two, all) = (longest(RANDOM_1), longest(P2C), longest(LEAST_CONN));
    assert!(random > 40 && two < random / 3 && two < 3 * all.max(1), "{random} {two} {all}");
}

#[test]
fn usage_gives_small_servers_less_without_being_told() {
    let mut scenario = Scenario {
        servers: servers(3, 8),
        rate: 3600.0, // 36 units at a time, for 56
        service: MEAN_10_MS,
        duration_ms: 30_000,
        reports_usage: true,
        window_ms: 500,
        ..Scenario::default()
    };
    (scenario.servers[1].capacity, scenario.servers[2].capacity) = (16, 32);
    let usage = run(&scenario, || Box::new(ByUsage::new(10_000)));
    let blind = run(&scenario, ROUND_ROBIN);
    assert!(blind.latency.p99_us > 1_000_000, "{}", blind.latency.p99_us); // a third is too much
    assert!(usage.latency.p99_us < 100_000, "{}", usage.latency.p99_us);
    let shares: Vec<f64> = usage.members.iter().map(|member| member.share).collect();
    assert!(shares[0] < shares[1] && shares[1] < shares[2], "{shares:?}");
    // Steady: no window has twice as much as another.
    let windows = &usage.members[2].windows[10..59];
    let (least, most) = (windows.iter().min().unwrap(), windows.iter().max().unwrap());
    assert!(most < &(least * 2), "{least} {most}");
}

#[test]
fn a_panic_threshold_saves_the_survivors_from_checks_that_are_wrong() {
    let mut scenario = Scenario {
        servers: servers(10, 4),
        rate: 2000.0, // 20 at a time; two survivors have 8 places
        service: MEAN_10_MS,
        duration_ms: 30_000,
        changes: (0..8).map(|server| at(10_000, server, Change::FailChecks)).collect(),
        ..Scenario::default()
    };
    for server in &mut scenario.servers {
        server.check = Some(CheckConfig::default());
    }
    let crowded = run(&scenario, ROUND_ROBIN);
    assert!(crowded.latency.p99_us > 5_000_000, "{}", crowded.latency.p99_us);
    scenario.options.panic_threshold = 50;
    let panicking = run(&scenario, ROUND_ROBIN);
    assert!(panicking.latency.p99_us < 100_000, "{}", panicking.latency.p99_us);
}

#[test]
fn units_that_are_refused_go_elsewhere_and_those_that_are_lost_are_errors() {
    let scenario = Scenario { retries: 3, ..ill(Change::Fail, 1000.0, 4) };
    let report = run(&scenario, ROUND_ROBIN);
    assert!(report.members[0].retried > 2000, "{}", report.members[0].retried);
    assert!(report.failed < 20, "{}", report.failed); // what it had when it died
    assert_eq!(report.failed, report.members[0].failed);
    let nobody = Scenario { servers: servers(1, 1), ..ill(Change::Fail, 100.0, 1) };
    let nobody = Scenario { retries: 3, ..nobody };
    assert!(run(&nobody, ROUND_ROBIN).failed > 900);
}
