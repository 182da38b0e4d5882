//! Strategies, levels and the panic threshold that HAProxy does not have.

use super::*;

const TIMES: &str =
    "defaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n mode http\n";

/// What is said of lines in a backend; the first of them is line 7.
#[track_caller]
fn told_of(lines: &str, expected: &[&str]) {
    check(&format!("{TIMES}backend b\n{lines}\n server s 127.0.0.1:80\n"), expected);
}

#[test]
fn strategies_reach_the_model() {
    #[track_caller]
    fn check(line: &str, strategy: BalanceStrategy, name: &str, header: Option<&str>) {
        let model = model(&format!("{TIMES}backend b\n {line}\n server s 127.0.0.1:80\n"));
        let backend = model.proxies[0].backend.as_ref().expect("a backend");
        assert_eq!(backend.balance.strategy, strategy, "{line}");
        assert_eq!(backend.pool.strategy(), name, "{line}");
        let found = backend.balance.usage_header.as_deref();
        assert_eq!(found, header.map(str::as_bytes), "{line}");
    }
    let maglev = |size| BalanceStrategy::Maglev { size };
    let usage = |expire_ms| BalanceStrategy::Usage { expire_ms };
    check("balance p2c", BalanceStrategy::P2c, "p2c", None);
    check("balance least-time", BalanceStrategy::LeastTime, "least-time", None);
    check("balance maglev src", maglev(65_537), "maglev", None);
    check("balance maglev path,lower size 251", maglev(251), "maglev", None);
    check("balance ketama req.hdr(host)", BalanceStrategy::Ketama, "ketama", None);
    check("balance usage", usage(10_000), "usage", None);
    check("balance usage expire 3s", usage(3000), "usage", None);
    check("balance usage header X-Load", usage(10_000), "usage", Some("x-load"));
    check("balance usage expire 1m header load", usage(60_000), "usage", Some("load"));
    check("balance usage header load\n balance p2c", BalanceStrategy::P2c, "p2c", None);
}

#[test]
fn levels_and_the_threshold_reach_the_pool_also_from_defaults() {
    let model = model(&format!(
        "{TIMES} panic-threshold 40%\n default-server priority 2\n\
         backend b\n server s [::1]:80\n server t 127.0.0.1:80 priority 0\nbackend c\n panic-threshold 0\n"
    ));
    let backend = |at: usize| model.proxies[at].backend.as_ref().expect("a backend");
    assert_eq!(backend(0).pool.options().panic_threshold, 40);
    assert_eq!(backend(1).pool.options().panic_threshold, 0);
    let members = backend(0).pool.members();
    let levels: Vec<_> = members.iter().map(|m| (m.priority(), m.place())).collect();
    assert_eq!(levels, [(2, "[::1]:80".into()), (0, "127.0.0.1:80".into())]);
}

#[test]
fn mistakes_are_marked_where_they_stand() {
    told_of(
        " balance least-tme",
        &["7:10 alert unknown balance strategy `least-tme` (did you mean `least-time`?)"],
    );
    told_of(" balance p2c 3", &["7:14 alert unexpected `3` after `balance` (not expected here)"]);
    told_of(
        " balance maglev",
        &[
            "7:10 alert `maglev` lacks a sample expression (expected a sample expression after this)",
        ],
    );
    told_of(
        " balance maglev path size 65536",
        &["7:27 alert bad size `65536` (expected a prime number, such as 65537)"],
    );
    told_of(
        " balance maglev path size 1",
        &["7:27 alert size 1 is out of range (expected 2 to 5000011)"],
    );
    told_of(
        " balance maglev path sice 7",
        &["7:22 alert unknown option of `balance maglev` `sice` (did you mean `size`?)"],
    );
    told_of(" balance ketama pth", &["7:17 alert unknown fetch `pth` (did you mean `path`?)"]);
    told_of(
        " balance usage headr x",
        &["7:16 alert unknown option of `balance usage` `headr` (did you mean `header`?)"],
    );
    told_of(
        " balance usage header x:y",
        &["7:23 alert bad header `x:y` (expected the name of a header)"],
    );
    told_of(" balance usage expire 0", &["7:23 alert bad time `0` (expected at least 1ms)"]);
    told_of(
        " panic-threshold 101%",
        &["7:18 alert bad panic-threshold `101%` (expected a percentage, 0 to 100)"],
    );
    told_of(
        " panic-threshold",
        &[
            "7:2 alert `panic-threshold` lacks a percentage, 0 to 100 (expected a percentage, 0 to 100 after this)",
        ],
    );
    told_of(
        " server a 127.0.0.1:81 priority 256",
        &["7:33 alert priority 256 is out of range (expected 0 to 255)"],
    );
    told_of(
        " server a 127.0.0.1:81 priority 1 backup",
        &["7:9 alert server a has both `backup` and `priority`"],
    );
}
