//! Servers that do worse than their peers are kept out for a time: `outlier-ejection`. HAProxy has no such thing.

use std::collections::BTreeMap;
use std::time::Duration;

use telamon_testkit::{Behaviour, SyslogSink, Telamon, TestServer, eventually};

fn failing() -> Behaviour {
    Behaviour::Raw(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec())
}

/// Servers a, b and c behind one port, the last of which does this.
fn three(lines: &str, behaviour: Behaviour) -> (Vec<TestServer>, SyslogSink, Telamon) {
    let servers =
        vec![TestServer::named("a"), TestServer::named("b"), TestServer::start("c", behaviour)];
    let log = SyslogSink::start();
    let list: String = servers.iter().map(|server| format!("server {server}\n")).collect();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nbalance roundrobin\nretries 0\n{lines}\n{list}",
        log.address()
    ));
    (servers, log, telamon)
}

/// How often each status came.
fn ask(telamon: &Telamon, count: usize) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for _ in 0..count {
        *statuses.entry(telamon.connect().get("/").status).or_default() += 1;
    }
    statuses
}

fn status(telamon: &Telamon) -> String {
    telamon.stat("web", "c", "status")
}

#[test]
fn failures_in_a_row_eject_a_server_until_its_time_is_over() {
    let (servers, log, telamon) =
        three("outlier-ejection consecutive 3 base-time 500ms max-time 1s", failing());
    assert_eq!(ask(&telamon, 9), BTreeMap::from([(200, 6), (500, 3)]));
    eventually("c is out", || status(&telamon) == "EJECTED");
    let line = log.wait_for("is ejected");
    assert!(
        line.contains(
            "Server web/c is ejected for 500ms, reason: 3 failures in a row. 2 active and 0 \
             backup servers left. "
        ),
        "{line}"
    );
    servers[2].becomes(Behaviour::Name);
    eventually("c is back", || status(&telamon) == "PROBATION");
    let line = log.wait_for("is back");
    assert!(line.contains("Server web/c is back from ejection after "), "{line}");
    assert!(line.contains(". 3 active and 0 backup servers online."), "{line}");
    assert_eq!(ask(&telamon, 12), BTreeMap::from([(200, 12)]));
    assert!(servers[2].requests() > 3);
}

#[test]
fn on_probation_one_failure_ejects_again_and_for_longer() {
    let (_servers, log, telamon) =
        three("outlier-ejection consecutive 2 base-time 300ms max-time 10s", failing());
    ask(&telamon, 6);
    log.wait_for("is ejected for 300ms");
    log.wait_for("is back");
    eventually("it fails once more", || {
        ask(&telamon, 3);
        log.lines()
            .iter()
            .any(|line| line.contains("is ejected for 600ms, reason: a failure on probation"))
    });
}

#[test]
fn an_administrator_ends_an_ejection() {
    let (servers, log, telamon) = three("outlier-ejection consecutive 1", failing());
    ask(&telamon, 3);
    eventually("c is out", || status(&telamon) == "EJECTED");
    servers[2].becomes(Behaviour::Name);
    telamon.stats_socket("set server web/c state ready");
    eventually("c is back", || status(&telamon) == "no check");
    log.wait_for("is back from ejection");
}

#[test]
fn a_slow_server_is_ejected_beside_its_peers() {
    let (_servers, log, telamon) = three(
        "outlier-ejection interval 300ms min-requests 3 latency-factor 3",
        Behaviour::Slow(Duration::from_millis(60)),
    );
    eventually("c is out", || {
        ask(&telamon, 12);
        status(&telamon) == "EJECTED"
    });
    let line = log.wait_for("is ejected");
    assert!(line.contains("reason: it takes ") && line.contains("to answer, its peers "), "{line}");
}

#[test]
fn no_more_than_the_share_are_out() {
    let (servers, log, telamon) =
        three("outlier-ejection consecutive 1 max-ejected 34%", failing());
    servers[0].becomes(failing());
    servers[1].becomes(failing());
    ask(&telamon, 12);
    log.wait_for("is ejected");
    let out = ["a", "b", "c"].into_iter().filter(|s| telamon.stat("web", s, "status") == "EJECTED");
    assert_eq!(out.count(), 1);
    assert_eq!(log.lines().iter().filter(|line| line.contains("is ejected")).count(), 1);
}

#[test]
fn a_connection_that_fails_counts_in_mode_tcp() {
    let (servers, log, telamon) =
        three("mode tcp\ntimeout connect 100ms\noutlier-ejection consecutive 2", Behaviour::Name);
    servers[2].kill();
    for _ in 0..9 {
        telamon.connect().try_send("GET / HTTP/1.0\r\n\r\n").ok();
        if log.lines().iter().any(|line| line.contains("is ejected")) {
            break;
        }
    }
    log.wait_for("Server web/c is ejected for 30s, reason: 2 failures in a row");
}
