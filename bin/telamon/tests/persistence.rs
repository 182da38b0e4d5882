//! Clients that stay with a server: cookies, the rules about them, and what ends it.

use std::fmt::Write as _;

use telamon_testkit::{Behaviour, RawClient, SyslogSink, Telamon, TestServer, eventually};

/// Servers a, b and c, each with its settings, behind one port, and their log.
struct Shop {
    servers: Vec<TestServer>,
    telamon: Telamon,
    log: SyslogSink,
}

impl Shop {
    #[track_caller]
    fn new(lines: &str, settings: &[&str]) -> Self {
        let log = SyslogSink::start();
        let mut text = format!(
            "log {} local0\noption httplog\ntimeout connect 300ms\nretries 1\n{lines}",
            log.address()
        );
        let mut servers = Vec::new();
        for (name, settings) in ["a", "b", "c"].into_iter().zip(settings) {
            let server = TestServer::named(name);
            write!(text, "\nserver {server} {settings}").unwrap();
            servers.push(server);
        }
        text.push_str("\nglobal\nnbthread 1");
        Self { servers, telamon: Telamon::listen(&text), log }
    }

    /// What a new client is answered that sends this cookie.
    #[track_caller]
    fn ask(&self, cookie: &str) -> Answer {
        ask(&mut self.telamon.connect(), cookie)
    }

    /// The last request's termination state; `count` have been logged.
    #[track_caller]
    fn state(&self, count: usize) -> String {
        let requests = || {
            let lines = self.log.lines();
            lines.into_iter().filter(|line| line.contains("\"GET ")).collect::<Vec<_>>()
        };
        eventually("it is logged", || requests().len() >= count);
        let line = requests().pop().unwrap_or_default();
        line.split(' ').rev().nth(5).unwrap_or_default().to_owned()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    server: String,
    set: Option<String>,
}

#[track_caller]
fn ask(client: &mut RawClient, cookie: &str) -> Answer {
    let line = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n"));
    let answer = client.response();
    Answer { server: answer.text(), set: answer.header("set-cookie").map(str::to_owned) }
}

fn answer(server: &str, set: Option<&str>) -> Answer {
    Answer { server: server.to_owned(), set: set.map(str::to_owned) }
}

const STICKY: &str = "cookie SRV insert indirect nocache";
const SERVERS: [&str; 3] = ["cookie a", "cookie b", ""];

#[test]
fn a_client_stays_with_the_server_of_its_cookie() {
    let shop = Shop::new(STICKY, &SERVERS);
    assert_eq!(shop.ask(""), answer("a", Some("SRV=a; path=/")));
    assert_eq!(shop.state(1), "--NI");
    assert_eq!(shop.ask("SRV=b"), answer("b", None));
    assert_eq!(shop.state(2), "--VN");
    assert_eq!(shop.ask("x=1; SRV=b; y=2"), answer("b", None));
    assert!(shop.servers[1].received().last().unwrap().contains("\r\ncookie: x=1; y=2\r\n"));
    assert!(!shop.servers[1].received()[0].contains("cookie"));
    assert_eq!(shop.ask("SRV=nobody"), answer("b", Some("SRV=b; path=/")));
    assert_eq!(shop.state(4), "--II");
    // The last has no cookie: whoever comes to it is to forget his.
    let expired = "SRV=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/";
    assert_eq!(shop.ask(""), answer("c", Some(expired)));
}

#[test]
fn a_kept_alive_connection_follows_each_requests_cookie() {
    let shop = Shop::new(STICKY, &SERVERS);
    let mut client = shop.telamon.connect();
    for server in ["b", "a", "b", "b", "a"] {
        assert_eq!(ask(&mut client, &format!("SRV={server}")), answer(server, None));
    }
}

#[test]
fn a_malformed_cookie_line_passes_unchanged() {
    let shop = Shop::new(STICKY, &SERVERS);
    for line in ["a=\"; SRV=b", ";;;=", "SRV", "$=;,=\"", "a b = c ,d"] {
        shop.ask(line);
        let received = shop.servers.iter().flat_map(TestServer::received);
        let found = received.filter(|head| head.contains(&format!("\r\ncookie: {line}\r\n")));
        assert_eq!(found.count(), 1, "{line}");
    }
    let logged = || shop.log.lines().iter().filter(|line| line.contains("GET")).count();
    eventually("each has its line", || logged() >= 5);
    assert_eq!(logged(), 5);
}

#[test]
fn a_server_that_is_gone_is_replaced() {
    let shop = Shop::new(&format!("{STICKY}\noption redispatch 1"), &SERVERS);
    shop.servers[0].kill();
    // Nobody has checked it: the connection fails, and the next server has the client from now on.
    assert_eq!(shop.ask("SRV=a"), answer("b", Some("SRV=b; path=/")));
    assert_eq!(shop.state(1), "--DI");
    assert_eq!(shop.telamon.stat("web", "a", "wredis"), "1");
    shop.telamon.stats_socket("set server web/a state maint");
    let moved = shop.ask("SRV=a");
    assert!(moved.server != "a" && moved.set.is_some(), "{moved:?}");
    assert_eq!(shop.telamon.stat("web", "a", "wredis"), "1");
}

#[test]
fn without_redispatch_a_client_of_a_dead_server_is_told() {
    let shop = Shop::new(STICKY, &SERVERS);
    shop.servers[0].kill();
    let mut client = shop.telamon.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: SRV=a\r\n\r\n");
    assert_eq!(client.response().status, 503);
    assert_eq!(shop.state(1), "SCVN");
}

#[test]
fn a_full_queue_of_its_own_server_sends_a_client_elsewhere() {
    let servers = ["cookie a maxconn 1 maxqueue 1", "cookie b"];
    let shop = Shop::new(&format!("{STICKY}\noption redispatch"), &servers);
    shop.servers[0].becomes(Behaviour::Waits);
    let mut clients: Vec<RawClient> = (0..2).map(|_| shop.telamon.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: SRV=a\r\n\r\n");
    }
    eventually("one is served and one waits", || {
        shop.telamon.stat("web", "a", "qcur") == "1" && shop.servers[0].requests() == 1
    });
    assert_eq!(shop.ask("SRV=a"), answer("b", Some("SRV=b; path=/")));
    shop.servers[0].becomes(Behaviour::Name);
    for client in &mut clients {
        assert_eq!(client.response().text(), "a");
    }
}

#[test]
fn a_drained_server_keeps_what_it_has_and_takes_nothing_new() {
    let shop = Shop::new(STICKY, &["cookie a", "cookie b"]);
    shop.servers[0].becomes(Behaviour::Waits);
    let mut open = shop.telamon.connect();
    open.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: SRV=a\r\n\r\n");
    eventually("it is there", || shop.servers[0].requests() == 1);
    shop.telamon.stats_socket("set server web/a state drain");
    shop.log.wait_for("Server web/a enters drain state");
    assert_eq!(shop.telamon.stat("web", "a", "scur"), "1");
    for _ in 0..4 {
        assert_eq!(shop.ask(""), answer("b", Some("SRV=b; path=/")));
    }
    shop.servers[0].becomes(Behaviour::Name);
    assert_eq!(open.response().text(), "a");
    assert_eq!(shop.ask("SRV=a"), answer("a", None));
    eventually("nothing is left", || shop.telamon.stat("web", "a", "scur") == "0");
}

#[test]
fn rules_force_persistence_and_ignore_it() {
    let shop = Shop::new(
        &format!(
            "{STICKY}\noption redispatch\nforce-persist if {{ hdr(x-force) yes }}\n\
             ignore-persist if {{ path /any }}\nuse-server b if {{ path /b }}"
        ),
        &["cookie a", "cookie b"],
    );
    let get = |path: &str, header: &str| {
        let mut client = shop.telamon.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nCookie: SRV=a\r\n{header}\r\n"));
        client.response().text()
    };
    assert_eq!(get("/b", ""), "b");
    assert_eq!(shop.state(1), "--UN");
    assert_eq!((get("/any", ""), get("/any", "")), ("a".to_owned(), "b".to_owned()));
    assert_eq!(shop.state(3), "--UN");
    shop.telamon.stats_socket("set server web/a state maint");
    assert_eq!(get("/", ""), "b");
    assert_eq!(get("/", "x-force: yes\r\n"), "a");
    assert_eq!(shop.state(5), "--DN");
}

#[test]
fn dynamic_cookies_follow_key_and_address() {
    let shop = Shop::new("cookie SRV insert dynamic\ndynamic-cookie-key secret", &["", "cookie b"]);
    let value = || shop.telamon.stat("web", "a", "cookie");
    let first = value();
    assert_eq!(first.len(), 16, "{first}");
    assert_eq!(shop.ask(&format!("SRV={first}")), answer("a", None));
    assert_eq!(shop.telamon.stats_socket("set dynamic-cookie-key backend web other"), "\n");
    let second = value();
    assert!(second.len() == 16 && second != first, "{first} {second}");
    assert_eq!(shop.telamon.stats_socket("disable dynamic-cookie backend web"), "\n");
    assert_eq!((value(), shop.telamon.stat("web", "b", "cookie")), (String::new(), "b".into()));
    assert_eq!(shop.telamon.stats_socket("enable dynamic-cookie backend web"), "\n");
    assert_eq!(value(), second);
    shop.telamon.stats_socket("set server web/a addr 127.0.0.9");
    assert!(![first, second].contains(&value()));
    for (command, expected) in [
        ("set dynamic-cookie-key backend nobody k", "No such backend.\n\n"),
        ("enable dynamic-cookie backend", "A backend name is expected.\n\n"),
        ("set dynamic-cookie-key backend web", "String value expected.\n\n"),
    ] {
        assert_eq!(shop.telamon.stats_socket(command), expected, "{command}");
    }
}
