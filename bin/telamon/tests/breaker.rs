//! Circuit breaking: limits at which requests fail at once, and servers that are let back in one request at a time.
//! HAProxy has none of it but `maxqueue`.

use std::time::{Duration, Instant};

use telamon_testkit::{
    Behaviour, RawClient, Signal, SyslogSink, Telamon, TestServer, eventually, free_port,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn failing() -> Behaviour {
    Behaviour::Raw(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec())
}

/// A client whose request is on its way to one of these servers.
#[track_caller]
fn held(telamon: &Telamon, servers: &[&TestServer], request: &str) -> RawClient {
    let count = || servers.iter().map(|server| server.requests()).sum::<usize>();
    let before = count();
    let mut client = telamon.connect();
    client.send(request);
    eventually("the request has come", || count() > before);
    client
}

/// The line of a server in `show breakers`, without its first two words.
fn breaker(telamon: &Telamon, server: &str) -> String {
    let answer = telamon.stats_socket("show breakers web");
    let prefix = format!("web {server} ");
    let line = answer.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("{server} in {answer}")).to_owned()
}

#[test]
fn with_every_server_at_its_limit_a_request_fails_at_once() {
    let servers =
        [TestServer::start("a", Behaviour::Waits), TestServer::start("b", Behaviour::Waits)];
    let (a, b) = (&servers[0], &servers[1]);
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nlog-format \"end %ST %tsc %s\"\ntimeout queue 30s\n\
         default-server max-requests 1\nserver {a}\nserver {b}",
        log.address()
    ));
    let mut clients = [held(&telamon, &[a, b], GET), held(&telamon, &[a, b], GET)];
    let begun = Instant::now();
    assert_eq!(telamon.connect().get("/").status, 503);
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited");
    log.wait_for("end 503 SQ-- <NOSRV>");
    assert_eq!(breaker(&telamon, "a"), "closed 1 1 0 0 0 0");
    assert_eq!(breaker(&telamon, "BACKEND"), "- 2 0 0 0 1 0");
    assert_eq!(telamon.stat("web", "a", "slim"), "1");
    assert_eq!(telamon.stat("web", "BACKEND", "econ"), "1");
    servers.iter().for_each(|server| server.becomes(Behaviour::Name));
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
        assert_eq!(client.get("/").status, 200); // the connection stays, the place was free
    }
}

#[test]
fn in_mode_tcp_connections_count() {
    let server = TestServer::start("a", Behaviour::Echo);
    let telamon = Telamon::listen(&format!("mode tcp\nserver {server} max-requests 1"));
    let mut first = telamon.connect();
    first.send("x");
    assert_eq!(first.read_exactly(1), b"x");
    assert!(telamon.connect().is_closed_within(Duration::from_secs(10)));
    drop(first);
    eventually("there is room again", || {
        let mut client = telamon.connect();
        client.try_send("y").is_ok() && !client.is_closed_within(Duration::from_millis(100))
    });
}

#[test]
fn a_sticky_request_goes_elsewhere_only_under_redispatch() {
    for (line, expected) in [("", 503), ("option redispatch", 200)] {
        let (a, b) = (TestServer::start("a", Behaviour::Waits), TestServer::named("b"));
        let telamon = Telamon::listen(&format!(
            "cookie S insert\n{line}\nserver {a} cookie a max-requests 1\nserver {b} cookie b"
        ));
        let sticky = "GET / HTTP/1.1\r\nHost: x\r\nCookie: S=a\r\n\r\n";
        let _first = held(&telamon, &[&a], sticky);
        let mut second = telamon.connect();
        second.send(sticky);
        assert_eq!(second.response().status, expected, "{line}");
        assert_eq!(breaker(&telamon, "a"), "closed 1 1 0 0 1 0");
    }
}

#[test]
fn a_full_queue_of_a_server_fails_at_once() {
    let a = TestServer::start("a", Behaviour::Waits);
    let telamon = Telamon::listen(&format!(
        "timeout queue 30s\nbalance uri\nserver {a} maxconn 1 maxqueue 1"
    ));
    let _first = held(&telamon, &[&a], GET);
    let mut second = telamon.connect();
    second.send(GET);
    eventually("it waits", || breaker(&telamon, "a") == "closed 1 0 1 1 0 0");
    assert_eq!(telamon.connect().get("/").status, 503);
    assert_eq!(breaker(&telamon, "a"), "closed 1 0 1 1 1 0");
    a.becomes(Behaviour::Name);
    assert_eq!(second.response().status, 200);
}

#[test]
fn the_circuit_of_the_only_server_opens_and_closes_by_way_of_half_open() {
    let a = TestServer::start("a", failing());
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nlog-format \"end %ST %tsc %s\"\nretries 0\n\
         outlier-ejection consecutive 2 base-time 400ms max-time 800ms max-ejected 100%\nserver {a}",
        log.address()
    ));
    for _ in 0..2 {
        assert_eq!(telamon.connect().get("/").status, 500);
    }
    eventually("it opens", || breaker(&telamon, "a") == "open 0 0 0 0 0 1");
    let asked = a.requests();
    a.becomes(Behaviour::Waits);
    eventually("requests fail without the server", || {
        telamon.connect().get("/").status == 503
            && log.lines().iter().any(|line| line.ends_with("end 503 SC-- <NOSRV>"))
    });
    assert_eq!(a.requests(), asked);
    log.wait_for("Server web/a is back from ejection after ");
    assert_eq!(telamon.stat("web", "a", "status"), "PROBATION");
    assert_eq!(breaker(&telamon, "a"), "half-open 0 0 0 0 0 1");
    let mut trial = held(&telamon, &[&a], GET);
    assert_eq!(telamon.connect().get("/").status, 503);
    log.wait_for("end 503 SQ-- <NOSRV>");
    a.becomes(Behaviour::Name);
    assert_eq!(trial.response().status, 200);
    let is = |line| eventually(line, || breaker(&telamon, "a") == line);
    is("half-open 0 0 0 0 0 1"); // it takes two
    assert_eq!(telamon.connect().get("/").status, 200);
    log.wait_for("Server web/a has passed its probation.");
    is("closed 0 0 0 0 0 1");
    assert_eq!(telamon.stat("web", "a", "status"), "no check");
}

#[test]
fn one_that_fails_its_trial_is_out_again() {
    let (a, b) = (TestServer::start("a", failing()), TestServer::named("b"));
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nretries 0\noutlier-ejection consecutive 1 base-time 500ms max-time 1h\n\
         server {a}\nserver {b}",
        log.address()
    ));
    eventually("it is out for longer", || {
        // One that is in for 500 ms begins anew.
        telamon.connect().get("/");
        log.lines().iter().any(|line| line.contains("Server web/a is ejected for 1s, reason: "))
    });
    log.wait_for("Server web/a is ejected for 500ms, reason: 1 failures in a row");
    assert_eq!(telamon.stats_socket("show outliers").lines().filter(|l| !l.is_empty()).count(), 3);
}

#[test]
fn ejections_survive_a_reload() {
    let (a, b) = (TestServer::start("a", failing()), TestServer::named("b"));
    let port = free_port();
    let config = |lines: &str| {
        Telamon::listen_on(
            port,
            &format!(
                "retries 0\noutlier-ejection consecutive 1 base-time 10m max-time 1h\n{lines}\n\
                 server {a}\nserver {b}"
            ),
        )
    };
    let telamon = Telamon::start(&config(""));
    let reload = |lines: &str| {
        let count = || telamon.stderr().matches("the new configuration is in force").count();
        let before = count();
        telamon.write_config(&config(lines));
        telamon.signal(Signal::USR2);
        eventually("the reload", || count() > before);
    };
    let outlier = |server: &str| {
        let answer = telamon.stats_socket("show outliers");
        let prefix = format!("web {server} ");
        let line = answer.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{server} in {answer}"))
    };
    for _ in 0..2 {
        telamon.connect().get("/");
    }
    eventually("a is out", || telamon.stat("web", "a", "status") == "EJECTED");
    let asked = a.requests();
    reload("http-response set-header X-Round 2");
    assert_eq!(telamon.stat("web", "a", "status"), "EJECTED");
    let line = outlier("a");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words[0], words[3]), ("ejected", "1"), "{line}");
    assert!(words[2].parse::<u64>().is_ok_and(|left_s| (1..=600).contains(&left_s)), "{line}");
    assert!(line.ends_with("1 failures in a row"), "{line}");
    assert_eq!(outlier("b"), "in - - 0 -");
    for _ in 0..4 {
        let answer = telamon.connect().get("/");
        assert_eq!((answer.text().as_str(), answer.header("x-round")), ("b", Some("2")));
    }
    assert_eq!(a.requests(), asked);
    // Without the line nobody is held out.
    reload("outlier-ejection none");
    eventually("a is back", || telamon.stat("web", "a", "status") == "no check");
}

#[test]
fn the_retry_budget_is_shown() {
    let a = TestServer::start("a", failing());
    let telamon =
        Telamon::listen(&format!("retry-on 500\nretries 2\nretry-budget 20% min 1/s\nserver {a}"));
    assert_eq!(telamon.stats_socket("show retry-budget").lines().nth(1), Some("web 20 1 0 1 0 0"));
    let mut client = telamon.connect();
    assert_eq!(client.get("/").status, 500);
    let answer = telamon.stats_socket("show retry-budget web");
    let (names, line) = answer.split_once('\n').expect("two lines");
    assert_eq!(names, "# backend percent min_s requests_s allowed_s retries_s refused");
    let refused = line.trim().rsplit(' ').next().and_then(|word| word.parse::<u64>().ok());
    assert!(refused.is_some_and(|count| count >= 1), "{answer}");
    assert_eq!(
        telamon.stats_socket("show retry-budget nobody"),
        telamon.stats_socket("show outliers nobody")
    );
}
