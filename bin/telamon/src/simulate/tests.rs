use super::*;

fn parse(line: &str) -> Result<Wanted, String> {
    let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    Wanted::parse(&args).map_err(|mistake| mistake.to_string())
}

#[test]
fn the_command_line_becomes_what_is_wanted() {
    let wanted = parse(
        "a.cfg --backend app --strategy p2c,least-time --strategy first --rate=1500.5 --service-time 5ms --constant \
         --duration 2m --capacity 8 --capacity big=64 --slow web1@10s --slow web2@1500msx2.5 --fail w@3 --recover w@4s",
    );
    let expected = Wanted {
        files: vec!["a.cfg".to_owned()],
        backend: Some("app".to_owned()),
        strategies: ["p2c", "least-time", "first"].map(str::to_owned).to_vec(),
        rate: 1500.5,
        service: Duration::from_millis(5),
        constant: true,
        duration: Duration::from_secs(120),
        capacity: 8,
        capacities: vec![("big".to_owned(), 64)],
        changes: vec![
            ("web1".to_owned(), Duration::from_secs(10), Change::Slow(10.0)),
            ("web2".to_owned(), Duration::from_millis(1500), Change::Slow(2.5)),
            ("w".to_owned(), Duration::from_secs(3), Change::Fail),
            ("w".to_owned(), Duration::from_secs(4), Change::Recover),
        ],
        ..Wanted::default()
    };
    assert_eq!(wanted, Ok(expected));
}

#[test]
fn mistakes_name_the_argument() {
    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(parse(line), Err(expected.to_owned()), "{line}");
    }
    check("", "name a configuration: `telamon simulate haproxy.cfg`");
    check("a --rte 5", "`--rte` is no option of `telamon simulate`; did you mean `--rate`?");
    check("a --rate", "`--rate` needs R after it");
    check("a --rate 0", "`--rate` needs a number above 0, found `0`");
    check("a --rate inf", "`--rate` needs a number above 0, found `inf`");
    check("a --duration 0", "`--duration` needs a time above 0, such as `20ms` or `1m`, found `0`");
    check("a --fail web1", "`--fail` needs SERVER@TIME, such as `web1@10s`, found `web1`");
    check(
        "a --fail web1@soon",
        "`--fail` needs SERVER@TIME, such as `web1@10s`, found `web1@soon`",
    );
    check(
        "a --slow web1@3sxx",
        "`--slow` needs SERVER@TIME or SERVER@TIMExFACTOR, such as `web1@10s` or `web1@10sx5`, found `web1@3sxx`",
    );
    check(
        "a --fail web1@10s --duration 10s",
        "`--fail web1@…` comes after the end; `--duration` makes the run longer",
    );
    check("a --capacity 0", "`--capacity` needs a number from 1, or SERVER=N, found `0`");
    check("a --constant=1", "`--constant` needs no value, found `1`");
}

#[test]
fn every_option_and_strategy_is_in_the_help() {
    let help = help();
    assert!(FLAGS.iter().all(|row| help.contains(row.flag) && !row.help.is_empty()));
    assert!(STRATEGIES.iter().all(|row| help.contains(row.0)));
    // And every strategy can be had by its name.
    for (name, _) in STRATEGIES {
        assert!(strategy(name, &Balance::default()).is_ok(), "{name}");
    }
    let mistake = strategy("leastcon", &Balance::default()).unwrap_err();
    let expected = "`leastcon` is no strategy that can be simulated; did you mean `leastconn`?";
    assert_eq!(mistake.to_string(), expected);
}

#[test]
fn times_are_short() {
    for (us, expected) in [
        (0, "0us"),
        (840, "840us"),
        (12_345, "12.3ms"),
        (1_520_000, "1.52s"),
        (20_000, "20ms"),
        (100_000, "100ms"),
        (999_950, "1000ms"),
        (60_000_000, "60s"),
    ] {
        assert_eq!(table::time(us), expected);
    }
}
