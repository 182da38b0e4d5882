//! Reloads under traffic: nobody notices, except by what has changed.
//!
//! HAProxy's reload is another process, so these stories are Telamon's own.

use std::time::Duration;

use telamon_testkit::{
    Behaviour, Load, RawClient, Signal, Telamon, TestServer, eventually, free_port,
};

/// What a reload that worked says, and one that did not.
const DONE: &str = "the new configuration is in force";
const REFUSED: &str = "the new configuration is not used";

/// Writes the configuration, reloads, and waits until the program says how that went.
#[track_caller]
fn reload(telamon: &Telamon, config: &str, expected: &str) {
    let count = || telamon.stderr().matches(expected).count();
    let before = count();
    telamon.write_config(config);
    telamon.signal(Signal::USR2);
    eventually(expected, || count() > before);
}

#[test]
fn fifty_reloads_under_load_lose_nothing() {
    if Telamon::is_haproxy() {
        return;
    }
    let (a, b) = (TestServer::named("a"), TestServer::named("b"));
    let port = free_port();
    let config = |weight: usize| {
        Telamon::listen_on(port, &format!("server {a} weight {weight}\nserver {b} weight 1"))
    };
    let telamon = Telamon::start(&config(1));
    let load = Load::start(port, 3, 3);
    for round in 0..50 {
        reload(&telamon, &config(1 + round % 7), DONE);
        load.wait_for_more(6);
    }
    let answered = load.answered();
    assert_eq!(load.stop(), Vec::<String>::new(), "of {answered}");
    assert!(answered > 300);
}

#[test]
fn listeners_come_and_go_under_load() {
    if Telamon::is_haproxy() {
        return;
    }
    let app = TestServer::named("app");
    let (port, other) = (free_port(), free_port());
    let config = |more: &str| Telamon::listen_on(port, &format!("{more}\nserver {app}"));
    let telamon = Telamon::start(&config(""));
    let load = Load::start(port, 2, 2);
    for _ in 0..5 {
        reload(&telamon, &config(&format!("bind 127.0.0.1:{other}")), DONE);
        assert_eq!(RawClient::connect(other).get("/").text(), "app");
        reload(&telamon, &config(""), DONE);
        eventually("the port is closed", || RawClient::try_connect(other).is_err());
    }
    assert_eq!(load.stop(), Vec::<String>::new());
}

#[test]
fn a_mistake_leaves_the_old_configuration_serving() {
    if Telamon::is_haproxy() {
        return;
    }
    let app = TestServer::named("app");
    let port = free_port();
    let good = Telamon::listen_on(port, &format!("server {app}"));
    let telamon = Telamon::start(&good);
    let mut client = telamon.connect();
    assert_eq!(client.get("/").text(), "app");
    let taken = TestServer::named("taken");
    for bad in [
        format!("{good}balance roundrobbin\n"),
        format!("{good}default_backend nowhere\n"),
        format!("{good}bind 127.0.0.1:{}\n", taken.port()),
        format!("{good}errorfile 503 /no/such/file\n"),
    ] {
        reload(&telamon, &bad, REFUSED);
        assert_eq!(client.get("/").text(), "app", "{bad}");
        assert_eq!(telamon.connect().get("/").text(), "app", "{bad}");
    }
    reload(&telamon, &Telamon::listen_on(port, "http-request deny"), DONE);
    assert_eq!(client.get("/").status, 403, "a kept connection takes the newest configuration");
}

#[test]
fn what_needs_a_restart_is_refused_by_name() {
    if Telamon::is_haproxy() {
        return;
    }
    let port = free_port();
    let config = |threads: u8| {
        format!("global\nnbthread {threads}\n{}", Telamon::listen_on(port, "http-request deny"))
    };
    let telamon = Telamon::start(&config(1));
    reload(&telamon, &config(2), REFUSED);
    assert!(telamon.stderr().contains("nbthread"), "{}", telamon.stderr());
    assert_eq!(telamon.connect().get("/").status, 403);
}

#[test]
fn a_server_keeps_health_counters_and_connections() {
    if Telamon::is_haproxy() {
        return;
    }
    let app = TestServer::named("app");
    let (port, nobody) = (free_port(), free_port());
    let config = |weight: u8| {
        let lines = format!(
            "server {app} weight {weight}\nserver dead 127.0.0.1:{nobody} check inter 50ms fall 1 weight {weight}"
        );
        Telamon::listen_on(port, &lines)
    };
    let telamon = Telamon::start(&config(1));
    eventually("dead is DOWN", || telamon.stat("web", "dead", "status") == "DOWN");
    let mut client = telamon.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "app");
    }
    reload(&telamon, &config(9), DONE);
    assert_eq!(telamon.stat("web", "dead", "status"), "DOWN");
    assert_eq!(telamon.stat("web", "app", "weight"), "9");
    assert_eq!(client.get("/").text(), "app");
    assert_eq!(telamon.stat("web", "app", "stot"), "6");
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_removed_server_gets_no_new_request_and_finishes_its_last() {
    if Telamon::is_haproxy() {
        return;
    }
    let (old, new) = (TestServer::start("old", Behaviour::Waits), TestServer::named("new"));
    let port = free_port();
    let telamon = Telamon::start(&Telamon::listen_on(port, &format!("server {old}")));
    let mut waiting = telamon.connect();
    waiting.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is in flight", || old.requests() == 1);
    reload(&telamon, &Telamon::listen_on(port, &format!("server {new}")), DONE);
    for _ in 0..10 {
        assert_eq!(telamon.connect().get("/").text(), "new");
    }
    old.becomes(Behaviour::Name);
    assert_eq!(waiting.response().text(), "old");
    assert_eq!(waiting.get("/").text(), "new");
    assert_eq!(old.requests(), 1);
}

#[test]
fn sessions_and_tunnels_live_on() {
    if Telamon::is_haproxy() {
        return;
    }
    let app = TestServer::start("app", Behaviour::Echo);
    let port = free_port();
    let config = |name: &str| {
        Telamon::listen_on(port, &format!("mode tcp\nserver {name} {}", app.address()))
    };
    let telamon = Telamon::start(&config("before"));
    let mut client = telamon.connect();
    client.send("one");
    assert_eq!(client.read_exactly(3), b"one");
    for name in ["after", "later"] {
        reload(&telamon, &config(name), DONE);
        client.send(name);
        assert_eq!(client.read_exactly(5), name.as_bytes());
    }
    assert!(!client.is_closed_within(Duration::from_millis(50)));
    client.half_close();
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn limits_change_without_a_restart() {
    if Telamon::is_haproxy() {
        return;
    }
    let port = free_port();
    let config = |global: u32, bind: u32| {
        format!(
            "global\nmaxconn {global}\ndefaults\nmode http\ntimeout client 10s\n\
             frontend web\nbind 127.0.0.1:{port} maxconn {bind}\nhttp-request return status 200\n"
        )
    };
    let telamon = Telamon::start(&config(100, 1));
    let mut first = RawClient::connect(port);
    assert_eq!(first.get("/").status, 200);
    reload(&telamon, &config(200, 2), DONE);
    assert!(telamon.stats_socket("show info").contains("\nMaxconn: 200\n"));
    // A second one is let in beside the first.
    assert_eq!(RawClient::connect(port).get("/").status, 200);
    assert_eq!(first.get("/").status, 200);
}
