//! Which server a request goes to, and how it waits for one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use telamon_testkit::{Behaviour, RawClient, Telamon, TestServer, eventually};

/// Servers a, b, c …, each with its settings, behind one port.
struct Farm {
    servers: Vec<TestServer>,
    telamon: Telamon,
}

impl Farm {
    #[track_caller]
    fn new(lines: &str, settings: &[&str]) -> Self {
        let mut lines = lines.to_owned();
        let mut servers = Vec::new();
        for (name, settings) in ["a", "b", "c", "d"].into_iter().zip(settings) {
            let server = TestServer::named(name);
            write!(lines, "\nserver {server} {settings}").unwrap();
            servers.push(server);
        }
        // One thread: with two, a request may come before the one before it has been counted out.
        lines.push_str("\nglobal\nnbthread 1");
        Self { servers, telamon: Telamon::listen(&lines) }
    }

    /// The servers that answered as many requests, in order, over a few kept-alive connections.
    #[track_caller]
    fn order(&self, count: usize) -> String {
        let mut clients: Vec<RawClient> = (0..7).map(|_| self.telamon.connect()).collect();
        (0..count).map(|n| clients[n % 7].get("/").text()).collect()
    }
}

#[test]
fn requests_go_to_servers_in_haproxys_order() {
    check_order("roundrobin", &["", "", ""], "abcabc");
    check_order("roundrobin", &["weight 5", "weight 1", "weight 1"], "aaabaacaaabaac");
    check_order("roundrobin", &["weight 3", "weight 2", "weight 1"], "abacababacab");
    check_order("roundrobin", &["weight 4", "weight 1", "weight 1", "weight 1"], "aabacad");
    check_order("roundrobin", &["weight 0", "weight 1"], "bbb");
    check_order("static-rr", &["weight 3", "weight 2", "weight 1"], "aababcaababc");
    check_order("first", &["", ""], "aaa");
    check_order("first", &["id 20", "id 10"], "bbb");
}

#[test]
fn disabled_and_backup_servers_wait_for_their_hour() {
    check_order("roundrobin", &["", "disabled", ""], "acac");
    check_order("roundrobin", &["", "backup", ""], "acac");
    check_order("roundrobin", &["disabled", "backup", "backup"], "bbb");
    check_order("roundrobin\noption allbackups", &["disabled", "backup", "backup"], "bcbc");
}

#[track_caller]
fn check_order(balance: &str, settings: &[&str], expected: &str) {
    let farm = Farm::new(&format!("balance {balance}"), settings);
    assert_eq!(farm.order(expected.len()), expected, "balance {balance} {settings:?}");
}

#[test]
fn weights_hold_exactly_over_700_requests() {
    let farm = Farm::new("balance roundrobin", &["weight 4", "weight 1", "weight 1", "weight 1"]);
    let mut shares = BTreeMap::new();
    for name in farm.order(700).chars() {
        *shares.entry(name).or_insert(0) += 1;
    }
    assert_eq!(shares, BTreeMap::from([('a', 400), ('b', 100), ('c', 100), ('d', 100)]));
}

#[test]
fn source_keeps_a_client_with_its_server() {
    let farm = Farm::new("balance source", &["", "", ""]);
    let order = farm.order(20);
    assert_eq!(order, order[..1].repeat(20));
}

#[test]
fn random_leaves_no_server_out() {
    let farm = Farm::new("balance random", &["", ""]);
    let order = farm.order(100);
    assert!(order.contains('a') && order.contains('b'), "{order}");
}

#[test]
fn leastconn_avoids_the_busy() {
    let farm = Farm::new("balance leastconn", &["", "", ""]);
    farm.servers[0].becomes(Behaviour::Waits);
    farm.servers[1].becomes(Behaviour::Waits);
    let mut waiting: Vec<RawClient> = (0..2).map(|_| farm.telamon.connect()).collect();
    for (index, client) in waiting.iter_mut().enumerate() {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        eventually("it has reached a server", || {
            farm.servers.iter().map(TestServer::requests).sum::<usize>() == index + 1
        });
    }
    assert_eq!(farm.order(10), "c".repeat(10));
    for server in &farm.servers {
        server.becomes(Behaviour::Name);
    }
    let names: String = waiting.iter_mut().map(|client| client.response().text()).collect();
    assert_eq!(names, "ab");
}

#[test]
fn first_fills_one_server_before_the_next() {
    let farm = Farm::new("balance first", &["maxconn 1", "maxconn 1"]);
    farm.servers[0].becomes(Behaviour::Waits);
    let mut waiting = farm.telamon.connect();
    waiting.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("the first is busy", || farm.servers[0].requests() == 1);
    assert_eq!(farm.telamon.connect().get("/").text(), "b");
    farm.servers[0].becomes(Behaviour::Name);
    assert_eq!(waiting.response().text(), "a");
}

#[test]
fn a_full_server_queues_requests_in_order() {
    let farm = Farm::new("", &["maxconn 1"]);
    let app = &farm.servers[0];
    app.becomes(Behaviour::Waits);
    let mut clients = Vec::new();
    for n in 0..6 {
        let mut client = farm.telamon.connect();
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n"));
        clients.push(client);
        eventually("it waits its turn", || match n {
            0 => app.requests() == 1,
            _ => farm.telamon.stat("web", "BACKEND", "qcur") == n.to_string(),
        });
    }
    assert_eq!(app.requests(), 1);
    app.becomes(Behaviour::Name);
    for client in &mut clients {
        assert_eq!(client.response().text(), "a");
    }
    for (n, request) in app.received().iter().enumerate() {
        assert!(request.starts_with(&format!("GET /{n} ")), "{:?}", app.received());
    }
}

#[test]
fn a_client_that_leaves_the_queue_is_not_forwarded() {
    let farm = Farm::new("option abortonclose", &["maxconn 1"]);
    let app = &farm.servers[0];
    app.becomes(Behaviour::Waits);
    let mut first = farm.telamon.connect();
    first.send("GET /first HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("the server is busy", || app.requests() == 1);
    let mut second = farm.telamon.connect();
    second.send("GET /second HTTP/1.1\r\nHost: x\r\n\r\n");
    let queued = || farm.telamon.stat("web", "BACKEND", "qcur");
    eventually("the second waits", || queued() == "1");
    drop(second);
    eventually("the second has left", || queued() == "0");
    app.becomes(Behaviour::Name);
    assert_eq!(first.response().text(), "a");
    assert_eq!(farm.telamon.connect().get("/third").text(), "a");
    assert!(app.received().iter().all(|r| !r.contains("/second")), "{:?}", app.received());
}

#[test]
fn who_waits_too_long_in_the_queue_gets_503() {
    let farm = Farm::new("timeout queue 200ms", &["maxconn 1"]);
    farm.servers[0].becomes(Behaviour::Waits);
    let mut first = farm.telamon.connect();
    first.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("the server is busy", || farm.servers[0].requests() == 1);
    assert_eq!(farm.telamon.connect().get("/").status, 503);
    farm.servers[0].becomes(Behaviour::Name);
    assert_eq!(first.response().text(), "a");
}

#[test]
fn a_full_frontend_lets_the_next_connection_wait() {
    let farm = Farm::new("maxconn 1", &[""]);
    let mut first = farm.telamon.connect();
    assert_eq!(first.get("/").text(), "a");
    let mut second = farm.telamon.connect();
    second.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!second.is_closed_within(Duration::from_millis(100)));
    assert_eq!(farm.servers[0].requests(), 1);
    drop(first);
    assert_eq!(second.response().text(), "a");
}

#[test]
fn routes_choose_the_backend() {
    let (a, b, c) = (TestServer::named("a"), TestServer::named("b"), TestServer::named("c"));
    let telamon = Telamon::listen(&format!(
        "acl even path_end -i /even\nuse_backend even if even\nuse_backend %[hdr(x-to)] if {{ hdr(x-to) -m found }}\n\
         use_backend odd if {{ path_end -i /odd }} or {{ path_beg /o/ }} !even\ndefault_backend other\n\
         backend even\nserver {a}\nbackend odd\nserver {b}\nbackend other\nserver {c}"
    ));
    let mut client = telamon.connect();
    for (path, name) in [("/x/even", "a"), ("/EVEN", "a"), ("/odd", "b"), ("/o/1", "b"), ("/", "c")]
    {
        assert_eq!(client.get(path).text(), name, "{path}");
    }
    client.send("GET / HTTP/1.1\r\nHost: x\r\nX-To: odd\r\n\r\n");
    assert_eq!(client.response().text(), "b");
}
