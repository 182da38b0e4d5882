//! Options and limits: each with what a client, a server or the statistics see of it.

use std::time::{Duration, Instant};

use telamon_testkit::{
    Behaviour, PATIENCE, Signal, SyslogSink, Telamon, TestServer, eventually, free_port,
};

#[test]
fn connections_beyond_a_rate_wait() {
    check_pace("rate-limit sessions 10", 15, 400);
    check_pace("global\nmaxconnrate 10", 15, 400);
    check_pace("global\nmaxsessrate 10", 15, 400);
}

/// `clients` one after the other take that long at least.
#[track_caller]
fn check_pace(lines: &str, clients: usize, at_least_ms: u64) {
    let telamon = Telamon::listen(&format!("http-request return status 200\n{lines}"));
    let begun = Instant::now();
    for _ in 0..clients {
        assert_eq!(telamon.connect().get("/").status, 200);
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(at_least_ms), "{lines}: {took:?}");
    assert!(took < PATIENCE, "{lines}: {took:?}");
}

#[test]
fn servers_are_told_what_becomes_of_their_connection() {
    check_connection("option http-server-close", Some("close"));
    check_connection("option http-server-close\noption http-pretend-keepalive", None);
}

#[track_caller]
fn check_connection(lines: &str, expected: Option<&str>) {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("{lines}\nserver {app}"));
    let mut client = telamon.connect();
    client.get("/");
    client.get("/");
    assert_eq!(app.connections(), 2, "{lines}");
    let request = app.received().remove(0).to_lowercase();
    let found = request.lines().find_map(|line| line.strip_prefix("connection: "));
    assert_eq!(found, expected, "{lines}");
}

#[test]
fn clients_stay_at_their_last_server() {
    check_servers("", "abab");
    check_servers("option prefer-last-server", "aaaa");
    check_servers("option prefer-last-server\nhttp-reuse never", "aaaa");
    check_servers("option prefer-last-server\nbalance leastconn\nmax-keep-alive-queue 0", "aaaa");
}

#[track_caller]
fn check_servers(lines: &str, expected: &str) {
    let (a, b) = (TestServer::named("a"), TestServer::named("b"));
    let telamon = Telamon::listen(&format!("{lines}\nserver {a}\nserver {b}\nglobal\nnbthread 1"));
    let mut client = telamon.connect();
    let found: String = (0..4).map(|_| client.get("/").text()).collect();
    assert_eq!(found, expected, "{lines}");
}

#[test]
fn a_server_in_maintenance_is_asked_where_that_is_wanted() {
    check_use_server("", "b");
    check_use_server("option persist", "a");
}

#[track_caller]
fn check_use_server(lines: &str, expected: &str) {
    let (a, b) = (TestServer::named("a"), TestServer::named("b"));
    let telamon =
        Telamon::listen(&format!("{lines}\nuse-server a if TRUE\nserver {a} disabled\nserver {b}"));
    assert_eq!(telamon.connect().get("/").text(), expected, "{lines}");
}

#[test]
fn failed_connections_are_retried_unless_told_otherwise() {
    check_retry("", 200);
    check_retry("retry-on conn-failure", 200);
    check_retry("retry-on none", 503);
}

#[track_caller]
fn check_retry(lines: &str, expected: u16) {
    let b = TestServer::named("b");
    let nobody = free_port();
    let telamon = Telamon::listen(&format!(
        "{lines}\noption redispatch\nserver a 127.0.0.1:{nobody}\nserver {b}"
    ));
    assert_eq!(telamon.connect().get("/").status, expected, "{lines}");
}

#[test]
fn bytes_are_counted_while_they_flow() {
    const SIZE: usize = 100_000;
    let app = TestServer::start("app", Behaviour::Stalls(SIZE));
    let telamon = Telamon::listen(&format!("option contstats\nserver {app}"));
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.read_exactly(SIZE / 2);
    for part in ["FRONTEND", "app", "BACKEND"] {
        eventually("what came is counted", || {
            telamon.stat("web", part, "bout").parse::<usize>().is_ok_and(|n| n > SIZE / 2)
        });
    }
    drop((client, app));
    eventually("it is over", || telamon.stat("web", "FRONTEND", "scur") == "0");
    let counted: usize = telamon.stat("web", "FRONTEND", "bout").parse().unwrap();
    assert!(counted < SIZE, "{counted}: counted twice");
}

#[test]
fn writing_to_a_client_keeps_it_alive_unless_streams_are_independent() {
    check_silent_client("", "sD");
    check_silent_client("option independent-streams", "cD");
}

/// A client that only reads, of a server that speaks for a second and then no more.
#[track_caller]
fn check_silent_client(lines: &str, expected: &str) {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // A pace, not a wait.
        for _ in 0..20 {
            if stream.write_all(b"x").is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(1));
    });
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "mode tcp\ntimeout client 400ms\ntimeout server 300ms\nlog {} local0\noption tcplog\n{lines}\n\
         server app 127.0.0.1:{port}",
        log.address()
    ));
    let mut client = telamon.connect();
    client.read_to_end();
    let line = log.wait_for("web/app");
    assert!(line.contains(&format!(" {expected} ")), "{lines}: {line}");
    server.join().unwrap();
}

#[test]
fn idle_clients_may_ask_once_more_while_stopping() {
    for patient in [false, true] {
        let app = TestServer::named("app");
        let option = if patient { "option idle-close-on-response" } else { "" };
        let mut telamon = Telamon::listen(&format!("{option}\nserver {app}"));
        let mut client = telamon.connect();
        assert_eq!(client.get("/").text(), "app");
        // Long enough to be parked.
        std::thread::sleep(Duration::from_millis(1500));
        telamon.signal(Signal::USR1);
        if patient {
            std::thread::sleep(Duration::from_millis(200));
            let answer = client.get("/");
            assert_eq!(answer.header("connection"), Some("close"));
        }
        assert!(client.is_closed_within(PATIENCE), "{option}");
        assert!(telamon.wait_exit().success());
    }
}

#[test]
fn grace_lets_others_notice_before_the_end() {
    let mut telamon = Telamon::listen(
        "monitor-uri /up\nmonitor fail if { stopping }\nhttp-request return status 204\n\
         global\ngrace 700ms",
    );
    assert_eq!(telamon.connect().get("/up").status, 200);
    telamon.signal(Signal::USR1);
    eventually("the monitor fails", || telamon.connect().get("/up").status == 503);
    assert_eq!(telamon.connect().get("/").status, 204);
    assert!(telamon.wait_exit().success());
}

#[test]
fn a_server_without_an_address_waits_for_one() {
    let app = TestServer::named("app");
    let port = app.port();
    let telamon =
        Telamon::listen(&format!("server app nowhere.invalid:{port} init-addr last,none"));
    let status = || telamon.stat("web", "app", "status");
    assert_eq!(status(), "MAINT (resolution)");
    assert_eq!(telamon.connect().get("/").status, 503);
    telamon.stats_socket("set server web/app state ready");
    assert_eq!(status(), "MAINT (resolution)");
    telamon.stats_socket("set server web/app addr 127.0.0.1");
    assert_eq!(telamon.connect().get("/").text(), "app");
}

#[test]
fn probes_are_answered_and_logged_unless_they_are_ignored() {
    for (option, expected) in [("", "HTTP/1.1 408"), ("option http-ignore-probes", "")] {
        let log = SyslogSink::start();
        let telamon = Telamon::listen(&format!(
            "timeout client 200ms\n{option}\nlog {} local0\noption httplog\n\
             http-request return status 200",
            log.address()
        ));
        let answer = telamon.connect().read_to_end();
        assert!(answer.starts_with(expected.as_bytes()), "{option}: {answer:?}");
        assert_eq!(answer.is_empty(), expected.is_empty(), "{option}");
        assert_eq!(telamon.connect().get("/").status, 200);
        log.wait_for("\"GET / ");
        let told = log.lines().iter().any(|line| line.contains("<BADREQ>"));
        assert_eq!(told, expected.starts_with("HTTP"), "{option}");
    }
}

#[test]
fn a_connection_that_a_user_logged_in_by_is_shared_with_nobody() {
    for (scheme, shared) in [("Basic realm=x", true), ("NTLM", false), ("negotiate", false)] {
        let answer =
            format!("HTTP/1.1 401 No\r\nWWW-Authenticate: {scheme}\r\nContent-Length: 0\r\n\r\n");
        let app = TestServer::start("app", Behaviour::Raw(answer.into_bytes()));
        let other = TestServer::named("other");
        let telamon = Telamon::listen(&format!(
            "http-reuse always\nbalance roundrobin\nserver {app} weight 2\nserver {other}\n\
             global\nnbthread 1"
        ));
        let mut user = telamon.connect();
        assert_eq!(user.get("/").status, 401);
        app.becomes(Behaviour::Name);
        // The login goes where it began, over the same connection, and so does what follows.
        if !shared {
            assert_eq!([user.get("/").text(), user.get("/").text()], ["app", "app"]);
            assert_eq!(app.connections(), 1);
        }
        let texts: Vec<_> = (0..3).map(|_| telamon.connect().get("/").text()).collect();
        assert!(texts.contains(&"app".to_owned()));
        assert_eq!(app.connections() == 1, shared, "{scheme}");
    }
}

#[test]
fn rules_of_layer_4_see_answers_only_within_a_delay() {
    let by_status = "tcp-response content reject if { status 200 }";
    check_answer(by_status, true);
    check_answer(&format!("tcp-response inspect-delay 1s\n{by_status}"), false);
    check_answer(
        "tcp-response content accept if { status 200 }\ntcp-response content reject",
        false,
    );
}

/// Whether a client is answered under these lines.
#[track_caller]
fn check_answer(lines: &str, expected: bool) {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("{lines}\nserver {app}"));
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(!client.read_to_end().is_empty(), expected, "{lines}");
}
