use proptest::prelude::*;

use super::*;

fn outliers(config: OutlierConfig, members: usize) -> Outliers {
    let names: Vec<String> = (0..members).map(|at| format!("s{at}")).collect();
    let mut outliers = Outliers::default();
    outliers.configure(config, names.iter().map(String::as_str), 0);
    outliers
}

/// `requests/failures/latency`, one word a member: who is ejected, and why.
#[track_caller]
fn check_look(config: OutlierConfig, samples: &str, expected: &[(usize, Reason)]) {
    let samples: Vec<Sample> = samples
        .split_whitespace()
        .map(|word| {
            let numbers: Vec<u64> = word.split('/').map(|n| n.parse().unwrap()).collect();
            let [requests, failures, latency] = numbers[..] else { panic!("{word}") };
            let successes = requests - failures;
            Sample { successes, failures, latency_ms: successes * latency }
        })
        .collect();
    let mut outliers = outliers(config, samples.len());
    let usable = vec![true; samples.len()];
    let changes = outliers.look(|at| samples[at], &usable, config.interval_ms);
    let ejected: Vec<_> = changes
        .into_iter()
        .map(|change| match change {
            Change::Eject(member, ejection) => (member, ejection.reason),
            Change::Readmit(..) => panic!("{change:?}"),
        })
        .collect();
    assert_eq!(ejected, expected);
}

#[test]
fn rates_are_compared_with_those_of_the_peers() {
    let config = OutlierConfig::default();
    check_look(config, "100/0/5 100/0/5 100/0/5", &[]);
    let rate = |percent, peers| Reason::SuccessRate { percent, peers };
    check_look(config, "100/0/5 100/40/5 100/0/5", &[(1, rate(60, 100))]);
    check_look(config, "100/0/5 100/9/5 100/0/5", &[]); // within the least deviation
    check_look(config, "100/50/5 100/52/5 100/49/5", &[]); // all of them: not one's fault
    check_look(config, "100/0/5 100/100/5", &[]); // one peer may be the one that is wrong
    check_look(config, "100/0/5 19/19/5 100/0/5 100/0/5", &[]); // too few requests
    let latency = |ms, peers| Reason::Latency { ms, peers };
    check_look(config, "100/0/5 100/0/16 100/0/5", &[(1, latency(16, 5))]);
    check_look(config, "100/0/5 100/0/15 100/0/5", &[]);
    check_look(config, "100/0/0 100/0/3 100/0/0", &[]);
    check_look(config, "100/0/0 100/0/4 100/0/0", &[(1, latency(4, 0))]);
    let off = OutlierConfig { success_rate_stdev: 0, latency_factor: 0, ..config };
    check_look(off, "100/0/5 100/90/500 100/0/5", &[]);
    check_look(
        config,
        "100/100/5 100/0/90 100/0/5 100/0/5",
        &[(0, rate(0, 100)), (1, latency(90, 5))],
    );
    check_look(config, "100/100/5 100/0/90 100/0/5", &[(0, rate(0, 100))]); // no more than half
}

#[test]
fn failures_in_a_row_eject_for_longer_each_time() {
    let config = OutlierConfig { consecutive: 3, ..OutlierConfig::default() };
    let (mut outliers, usable, tally) = (outliers(config, 2), [true; 2], Tally::default());
    let mut now_ms = 1_000;
    let mut lasted = Vec::new();
    for _ in 0..6 {
        assert_eq!([tally.failed(3), tally.failed(3)], [None; 2]);
        let row = tally.failed(3).expect("enough");
        let change = outliers.failing(0, row, &tally, &usable, now_ms);
        let Some(Change::Eject(0, ejection)) = change else { panic!("{change:?}") };
        assert_eq!(ejection.reason, Reason::Failures(3));
        lasted.push((ejection.until_ms - now_ms) / 1000);
        assert!(outliers.settle(&usable, ejection.until_ms - 1).is_empty());
        assert_eq!(outliers.next_ms().min(ejection.until_ms), outliers.next_ms());
        now_ms = ejection.until_ms;
        assert_eq!(outliers.settle(&usable, now_ms), [Change::Readmit(0, ejection)]);
        tally.begin(0);
    }
    assert_eq!(lasted, [30, 60, 120, 240, 300, 300]);
    assert_eq!((outliers.total(0), outliers.total(1)), (6, 0));
    // Two base times in good standing: two of them are forgotten.
    let change = outliers.failing(0, 3, &tally, &usable, now_ms + 60_000);
    let Some(Change::Eject(0, ejection)) = change else { panic!("{change:?}") };
    assert_eq!(ejection.until_ms - ejection.since_ms, 120_000);
}

#[test]
fn on_probation_one_failure_is_enough_and_successes_end_it() {
    let config = OutlierConfig { consecutive: 3, ..OutlierConfig::default() };
    let (mut outliers, usable, tally) = (outliers(config, 2), [true; 2], Tally::default());
    tally.begin(3);
    assert!(!tally.succeeded(1));
    assert_eq!(tally.failed(3), Some(1));
    let change = outliers.failing(0, 1, &tally, &usable, 5);
    assert!(matches!(change, Some(Change::Eject(0, Ejection { reason: Reason::Probation, .. }))));
    tally.begin(3);
    assert_eq!([0; 3].map(|_| tally.succeeded(1)), [false, false, true]);
    assert!(!tally.on_probation());
    assert_eq!(tally.failed(3), None);
    assert_eq!(outliers.failing(1, 1, &tally, &usable, 5), None);
}

#[test]
fn the_share_bounds_how_many_are_out() {
    /// How many of as many members are out when all of them fail.
    #[track_caller]
    fn check(max_ejected_percent: u32, members: usize, expected: usize) {
        let config = OutlierConfig { max_ejected_percent, ..OutlierConfig::default() };
        let (mut outliers, usable) = (outliers(config, members), vec![true; members]);
        let tally = Tally::default();
        let out = (0..members).filter_map(|at| outliers.failing(at, 5, &tally, &usable, 1)).count();
        assert_eq!(out, expected, "{max_ejected_percent}% of {members}");
    }
    check(50, 1, 0);
    check(50, 2, 1);
    check(50, 3, 1);
    check(10, 9, 0);
    check(10, 10, 1);
    check(34, 3, 1);
    check(99, 3, 2); // the last one stays
    check(100, 3, 3); // unless all may go
    check(100, 1, 1);
    check(0, 100, 0);
}

#[test]
fn when_others_go_down_the_ejected_come_back_early() {
    let (mut outliers, tally) = (outliers(OutlierConfig::default(), 4), Tally::default());
    let all = [true; 4];
    for (member, now_ms) in [(0, 10), (1, 20)] {
        assert!(outliers.failing(member, 5, &tally, &all, now_ms).is_some());
    }
    assert!(outliers.settle(&all, 30).is_empty());
    let three = [true, true, true, false];
    let back = outliers.settle(&three, 30);
    assert!(matches!(back[..], [Change::Readmit(0, _)]), "{back:?}");
    assert!(outliers.ejection(1).is_some());
    assert!(outliers.settle(&[false, true, true, false], 40).is_empty());
    let back = outliers.settle(&[false, true, false, false], 50);
    assert!(matches!(back[..], [Change::Readmit(1, _)]), "{back:?}");
}

#[test]
fn a_new_configuration_keeps_what_is_known() {
    let (mut outliers, tally) = (outliers(OutlierConfig::default(), 3), Tally::default());
    assert!(outliers.failing(2, 5, &tally, &[true; 3], 10).is_some());
    outliers.configure(OutlierConfig::default(), ["s2", "new"].into_iter(), 20);
    assert!(outliers.ejection(0).is_some() && outliers.ejection(1).is_none());
    assert!(matches!(outliers.readmit(0, 30), Some(Change::Readmit(0, _))));
    assert_eq!(outliers.readmit(0, 30), None);
}

#[derive(Debug, Clone)]
enum Step {
    Failing(usize),
    Look(Vec<(u64, u64, u64)>),
    Usable(usize, bool),
    Wait(u64),
    Readmit(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6usize).prop_map(Step::Failing),
        prop::collection::vec((0..200u64, 0..200u64, 0..100u64), 6).prop_map(Step::Look),
        (0..6usize, any::<bool>()).prop_map(|(at, usable)| Step::Usable(at, usable)),
        (0..400_000u64).prop_map(Step::Wait),
        (0..6usize).prop_map(Step::Readmit),
    ]
}

proptest! {
    #[test]
    fn the_bound_holds_and_all_come_back(
        percent in 0..=100u32,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let config = OutlierConfig { max_ejected_percent: percent, ..OutlierConfig::default() };
        let (mut outliers, tally) = (outliers(config, 6), Tally::default());
        let (mut usable, mut now_ms) = ([true; 6], 0);
        let mut out: [Option<u64>; 6] = [None; 6];
        for step in steps {
            let mut changes = Vec::new();
            match step {
                Step::Failing(at) => changes.extend(outliers.failing(at, 5, &tally, &usable, now_ms)),
                Step::Look(samples) => {
                    let sample = |at: usize| {
                        let (successes, failures, latency) = samples[at];
                        Sample { successes, failures, latency_ms: latency * successes }
                    };
                    changes = outliers.look(sample, &usable, now_ms);
                }
                Step::Usable(at, is) => usable[at] = is,
                Step::Wait(ms) => now_ms += ms,
                Step::Readmit(at) => changes.extend(outliers.readmit(at, now_ms)),
            }
            changes.extend(outliers.settle(&usable, now_ms));
            for change in changes {
                match change {
                    Change::Eject(at, ejection) => {
                        prop_assert!(out[at].replace(ejection.until_ms).is_none());
                        prop_assert!(ejection.until_ms - now_ms <= config.max_ms);
                    }
                    Change::Readmit(at, _) => prop_assert!(out[at].take().is_some()),
                }
            }
            let count = usable.iter().filter(|usable| **usable).count();
            let ejected = (0..6).filter(|at| usable[*at] && out[*at].is_some()).count();
            prop_assert!(ejected * 100 <= count * percent as usize);
            prop_assert!(ejected == 0 || ejected < count || percent == 100);
            prop_assert!(out.iter().flatten().all(|until_ms| *until_ms > now_ms));
        }
        outliers.settle(&usable, now_ms + config.max_ms);
        prop_assert!((0..6).all(|at| outliers.ejection(at).is_none()));
    }
}
