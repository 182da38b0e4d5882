//! What a request leaves in the log: how it ended, in HAProxy's letters.

use std::time::Duration;

use telamon_testkit::{Behaviour, SyslogSink, Telamon, TestServer, eventually, free_port};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn termination_states_say_who_ended_a_request_and_when() {
    let nobody = format!("timeout connect 50ms\nserver a 127.0.0.1:{}", free_port());
    check_lines("", GET, "503", "SC--");
    check_lines(&nobody, GET, "503", "SC--");
    check_lines("http-request deny", GET, "403", "PR--");
    check_lines("http-request reject", GET, "-1", "PR--");
    check_lines("tcp-request content reject", GET, "-1", "PR--");
    check_lines(&format!("server a 127.0.0.1:{} redir http://x", free_port()), GET, "302", "LC--");
    check_lines("http-request return status 200", GET, "200", "LR--");
    check_lines("redirect location /x", GET, "302", "LR--");
    check_lines(
        "monitor-uri /\nmonitor fail if FALSE\nstats uri /s",
        "GET /s HTTP/1.1\r\nHost: x\r\n\r\n",
        "200",
        "LR--",
    );
    check_lines("", "GET / x\r\n\r\n", "400", "PR--");
    check_lines("timeout http-request 100ms", "GET /", "408", "cR--");
    check_server(Behaviour::Name, "200", "----");
    check_server(Behaviour::CutsShort(1000), "200", "SD--");
    check_server(Behaviour::Stalls(1000), "200", "sD--");
    check_server(Behaviour::Dies, "502", "SH--");
    check_server(Behaviour::Raw(b"nonsense\r\n\r\n".to_vec()), "502", "PH--");
    check_server(Behaviour::Silent, "504", "sH--");
}

#[track_caller]
fn check_server(behaviour: Behaviour, status: &str, state: &str) {
    let app = TestServer::start("app", behaviour);
    check_lines(&format!("timeout server 200ms\nserver {app}"), GET, status, state);
}

/// One request; the line in HTTP format has the status and the state.
#[track_caller]
fn check_lines(lines: &str, request: &str, status: &str, state: &str) {
    let line = line_of(lines, request);
    let fields: Vec<&str> = line.split(' ').collect();
    // … frontend backend/server timers status bytes - - state …
    let at = fields.iter().position(|field| *field == "web" || *field == "web~").unwrap();
    assert_eq!((fields[at + 3], fields[at + 7]), (status, state), "{lines}: {line}");
    assert!(line.starts_with("<134>"), "{line}");
}

/// What one request leaves in the log.
fn line_of(lines: &str, request: &str) -> String {
    let log = SyslogSink::start();
    let telamon =
        Telamon::listen(&format!("log {} local0\noption httplog\n{lines}", log.address()));
    let mut client = telamon.connect();
    client.send(request);
    let _ = client.try_response(false);
    log.wait_for(" web ")
}

#[test]
fn what_never_came_to_pass_took_no_time() {
    #[track_caller]
    fn check(lines: &str, times: &str, end: &str) {
        let line = line_of(lines, GET);
        assert!(line.contains(times) && line.ends_with(end), "{lines}: {line}");
    }
    check("http-request reject", " web/<NOSRV> -1/-1/-1/-1/", " \"GET / HTTP/1.1\"");
    check("tcp-request content reject", " web/<NOSRV> -1/-1/-1/-1/", " \"<BADREQ>\"");
    check("http-request deny", " web/<NOSRV> 0/-1/-1/-1/", " \"GET / HTTP/1.1\"");
    check("stats uri /", " web/<STATS> 0/0/0/0/", " \"GET / HTTP/1.1\"");
}

#[test]
fn a_silent_drop_is_logged_and_not_told() {
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\noption httplog\nhttp-request silent-drop",
        log.address()
    ));
    let mut client = telamon.connect();
    client.send(GET);
    let line = log.wait_for(" -1 0 - - PR-- ");
    assert!(line.contains(" web/<NOSRV> -1/-1/-1/-1/"), "{line}");
}

#[test]
fn a_request_that_waited_in_vain_for_a_server_says_so() {
    let app = TestServer::start("app", Behaviour::Waits);
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\noption httplog\ntimeout queue 100ms\nserver {app} maxconn 1",
        log.address()
    ));
    let mut first = telamon.connect();
    first.send(GET);
    telamon_testkit::eventually("the server is busy", || app.requests() == 1);
    assert_eq!(telamon.connect().get("/").status, 503);
    let line = log.wait_for(" 503 ");
    assert!(line.contains(" sQ-- ") && line.contains(" 0/1 \"GET"), "{line}");
    assert!(line.contains(" web/<NOSRV> 0/1"), "the time in the queue: {line}");
    app.becomes(Behaviour::Name);
    assert_eq!(first.response().text(), "app");
}

#[test]
fn formats_and_captures_fill_the_line() {
    let app = TestServer::named("app");
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local3 debug\ncapture request header X-A len 3\nlog-format \"%b/%s %ST %HM %HP %{{+Q}}r %hr %[capture.req.hdr(0),upper]\"\n\
         server {app}",
        log.address()
    ));
    let mut client = telamon.connect();
    client.send("GET /p?q HTTP/1.1\r\nHost: x\r\nX-A: abcdef\r\n\r\n");
    assert_eq!(client.response().text(), "app");
    let line = log.wait_for("web/app");
    assert!(line.ends_with("web/app 200 GET /p \"GET /p?q HTTP/1.1\" {abc} ABC"), "{line}");
    assert!(line.starts_with("<158>"), "{line}");
}

#[test]
fn what_nobody_said_and_what_went_well_can_be_left_out() {
    let app = TestServer::named("app");
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\noption httplog\noption dontlognull\noption dontlog-normal\nserver {app}",
        log.address()
    ));
    drop(telamon.connect());
    assert_eq!(telamon.connect().get("/fine").text(), "app");
    let mut last = telamon.connect();
    last.send("GET /bad x\r\n\r\n");
    assert!(!last.read_to_end().is_empty());
    log.wait_for("BADREQ");
    let lines = log.lines().into_iter().filter(|line| line.contains(" web "));
    assert_eq!(lines.count(), 1, "{:?}", log.lines());
    assert!(last.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn who_waited_for_one_server_alone_is_logged_with_its_name() {
    let app = TestServer::start("app", Behaviour::Waits);
    check_queue(&app, "a", "web/a 0/", " 503 ", " sQVN ", " 1/0 ");
    // The second in line finds its server's own queue full.
    check_queue(&app, "full", "web/full 0/-1/-1/-1/", " 503 ", " SQVN ", " 0/0 ");
    // Without a cookie any server will do, and none is named.
    check_queue(&app, "", "web/<NOSRV> 0/", " 503 ", " sQNN ", " 0/1 ");
}

#[track_caller]
fn check_queue(
    app: &TestServer,
    cookie: &str,
    server: &str,
    status: &str,
    end: &str,
    queues: &str,
) {
    let (log, before) = (SyslogSink::start(), app.requests());
    let address = app.address();
    let telamon = Telamon::listen(&format!(
        "log {} local0\noption httplog\ntimeout queue 150ms\ncookie S insert\n\
         server a {address} cookie a maxconn 1\nserver full {address} cookie full maxconn 1 maxqueue 1",
        log.address()
    ));
    let ask = |cookie: &str| {
        let mut client = telamon.connect();
        let cookie =
            if cookie.is_empty() { String::new() } else { format!("Cookie: S={cookie}\r\n") };
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{cookie}\r\n"));
        client
    };
    let _serving = [ask("a"), ask("full")];
    eventually("both are busy", || app.requests() == before + 2);
    let _queued = (cookie == "full").then(|| {
        let client = ask("full");
        eventually("one waits", || telamon.stat("web", "full", "qcur") == "1");
        client
    });
    assert_eq!(ask(cookie).response().status, 503);
    let line = log.wait_for(&format!(" web {server}"));
    for part in [status, end, queues] {
        assert!(line.contains(part), "{part}: {line}");
    }
    if !cookie.is_empty() {
        assert_ne!(telamon.stat("web", cookie, "econ"), "0");
    }
}
