//! Requests that are sent again: `retry-on`, `retries`, `option redispatch`, `retry-budget`.
//!
//! What HAProxy has is as it has it: these tests pass with Debian's `haproxy` as the program too, but for those about
//! what it does not have.

use telamon_testkit::{Behaviour, SyslogSink, Telamon, TestServer, eventually, free_port};

/// One server that does this, behind these lines: the status, how often the server was asked, and how the log has it:
/// status, termination state and retries.
#[track_caller]
fn check(lines: &str, behaviour: Behaviour, expected: (u16, usize, &str)) {
    check_request(lines, behaviour, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", expected);
}

#[track_caller]
fn check_request(
    lines: &str,
    behaviour: Behaviour,
    request: &str,
    (status, requests, logged): (u16, usize, &str),
) {
    let server = TestServer::start("a", behaviour);
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nlog-format \"end %ST %tsc %rc %s\"\n{lines}\nserver {server}",
        log.address()
    ));
    let mut client = telamon.connect();
    client.send(request);
    assert_eq!(client.response().status, status, "{lines}");
    let line = log.wait_for("end ");
    assert!(line.ends_with(&format!("end {logged} a")), "{lines}: {line}");
    assert_eq!(server.requests().max(server.connections()), requests, "{lines}");
}

fn raw(text: &str) -> Behaviour {
    Behaviour::Raw(text.into())
}

fn status(line: &str) -> Behaviour {
    raw(&format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nno"))
}

#[test]
fn each_failure_is_retried_where_it_is_asked_for() {
    check("", Behaviour::Dies, (502, 1, "502 SH-- 0"));
    check("retry-on empty-response", Behaviour::Dies, (502, 4, "502 SH-- 3"));
    check("retry-on empty-response\nretries 1", Behaviour::Dies, (502, 2, "502 SH-- 1"));
    check("retry-on junk-response response-timeout 503", Behaviour::Dies, (502, 1, "502 SH-- 0"));
    check("retry-on empty-response", Behaviour::Resets, (502, 4, "502 SH-- 3"));
    let junk = "retry-on junk-response\nretries 2";
    check(junk, raw("nonsense\r\n\r\n"), (502, 3, "502 PH-- 2"));
    check(junk, status("200 OK"), (200, 1, "200 ---- 0"));
    check("retry-on empty-response", raw("nonsense\r\n\r\n"), (502, 1, "502 PH-- 0"));
    let cut = || Behaviour::SpeaksThenHalfCloses(b"HTTP/1.1 200 OK\r\nConte".to_vec());
    check("retry-on empty-response", cut(), (502, 4, "502 SH-- 3"));
    check("retry-on junk-response", cut(), (502, 1, "502 SH-- 0"));
    let slow = "retry-on response-timeout\nretries 2\ntimeout server 150ms";
    check(slow, Behaviour::Silent, (504, 3, "504 sH-- 2"));
    check(
        "retry-on empty-response\ntimeout server 150ms",
        Behaviour::Silent,
        (504, 1, "504 sH-- 0"),
    );
    check("retry-on all-retryable-errors", Behaviour::Dies, (502, 4, "502 SH-- 3"));
    check("retry-on none", Behaviour::Dies, (502, 1, "502 SH-- 0"));
    check("retry-on conn-failure", Behaviour::Dies, (502, 1, "502 SH-- 0"));
}

#[test]
fn each_status_is_retried_where_it_is_asked_for() {
    for code in [401, 403, 404, 408, 425, 500, 501, 502, 503, 504] {
        let answer = status(&format!("{code} Sorry"));
        check(&format!("retry-on {code}\nretries 1"), answer, (code, 2, &format!("{code} ---- 1")));
    }
    check("retry-on 503 504", status("500 Oops"), (500, 1, "500 ---- 0"));
    for code in [500, 502, 503, 504] {
        let answer = status(&format!("{code} Sorry"));
        check("retry-on all-retryable-errors", answer, (code, 4, &format!("{code} ---- 3")));
    }
    for code in [401, 403, 404, 408, 425, 501] {
        let answer = status(&format!("{code} Sorry"));
        check("retry-on all-retryable-errors", answer, (code, 1, &format!("{code} ---- 0")));
    }
}

#[test]
fn a_body_that_is_there_at_once_is_sent_again() {
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    let whole = format!("{head}hello");
    let lines = "retry-on 503\nretries 2";
    check_request(lines, status("503 No"), &whole, (503, 3, "503 ---- 2"));
    let off = "http-request disable-l7-retry if METH_POST\nretry-on 503 conn-failure";
    check_request(off, status("503 No"), &whole, (503, 1, "503 ---- 0"));
    check_request(
        off,
        status("503 No"),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        (503, 4, "503 ---- 3"),
    );
}

#[test]
fn the_same_bytes_are_sent_again() {
    let server = TestServer::start("a", status("503 No"));
    let telamon = Telamon::listen(&format!("retry-on 503\nretries 1\nserver {server}"));
    let mut client = telamon.connect();
    client.send(
        "PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    assert_eq!(client.response().status, 503);
    let received = server.received();
    assert_eq!(received.len(), 2);
    assert!(received[0].ends_with("hello") && received[0] == received[1], "{received:?}");
    // What follows on the connection is not mixed up with it.
    server.becomes(Behaviour::Name);
    assert_eq!(client.get("/").text(), "a");
}

#[test]
fn a_body_that_comes_later_is_waited_for_under_http_buffer_request_alone() {
    for (lines, requests) in [("", 1), ("option http-buffer-request", 3)] {
        let server = TestServer::start("a", status("503 No"));
        let telamon =
            Telamon::listen(&format!("{lines}\nretry-on 503\nretries 2\nserver {server}"));
        let mut client = telamon.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
        if requests == 1 {
            eventually("the head is on its way", || server.connections() == 1);
        }
        client.send("hello");
        assert_eq!(client.response().status, 503);
        assert_eq!(server.requests(), requests, "{lines}");
    }
}

#[test]
fn a_retry_goes_to_another_server_under_redispatch() {
    let (bad, good) = (TestServer::start("bad", status("503 No")), TestServer::named("good"));
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nlog-format \"end %ST %tsc %rc %s\"\nbalance roundrobin\nretry-on 503\n\
         option redispatch\nserver {bad}\nserver {good}",
        log.address()
    ));
    let texts: Vec<String> = (0..4).map(|_| telamon.connect().get("/").text()).collect();
    assert_eq!(texts, ["good"; 4]);
    log.wait_for("end 200 ---- +1 good");
    eventually("retries are counted as HAProxy counts them", || {
        let retries = telamon.stat("web", "bad", "wretr");
        retries == telamon.stat("web", "bad", "wredis") && retries != "0"
    });
    assert_eq!(telamon.stat("web", "bad", "hrsp_5xx"), "0");
}

#[test]
fn without_redispatch_a_retry_stays_with_its_server() {
    let (bad, good) = (TestServer::start("bad", status("503 No")), TestServer::named("good"));
    let telamon = Telamon::listen(&format!(
        "balance roundrobin\nretry-on 503\nretries 2\nserver {bad}\nserver {good}"
    ));
    let statuses: Vec<u16> = (0..4).map(|_| telamon.connect().get("/").status).collect();
    assert_eq!(statuses, [503, 200, 503, 200]);
    assert_eq!(bad.requests(), 6);
    assert_eq!(telamon.stat("web", "bad", "wretr"), "8"); // twice for each, as HAProxy has it
}

#[test]
fn connections_are_not_retried_unless_asked_for() {
    let nobody = free_port();
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nlog-format \"end %ST %tsc %rc %s\"\ntimeout connect 200ms\nretry-on 503\n\
         server a 127.0.0.1:{nobody}",
        log.address()
    ));
    assert_eq!(telamon.connect().get("/").status, 503);
    let line = log.wait_for("end ");
    assert!(line.ends_with("end 503 SC-- 0 a"), "{line}");
}

#[test]
fn after_an_interim_answer_nothing_is_sent_again() {
    if Telamon::is_haproxy() {
        return; // it forgets what it would send
    }
    let answer = raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    let server = TestServer::start("a", answer);
    let telamon = Telamon::listen(&format!("retry-on 503\nserver {server}"));
    let mut client = telamon.connect();
    assert_eq!([client.get("/").status, client.response().status], [100, 503]);
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_budget_bounds_what_is_sent_again() {
    if Telamon::is_haproxy() {
        return;
    }
    let server = TestServer::start("a", status("503 No"));
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nretry-on 503\nretries 1\nretry-budget 0% min 3/s\nserver {server}",
        log.address()
    ));
    let mut client = telamon.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 503);
    }
    // The sliding second may have been crossed once.
    let requests = server.requests();
    assert!((13..=16).contains(&requests), "{requests}");
    let line = log.wait_for("retry budget");
    assert!(line.contains("Backend web has used up its retry budget (0% of "), "{line}");
    assert_eq!(log.lines().iter().filter(|line| line.contains("retry budget")).count(), 1);
}

#[test]
fn a_client_that_has_had_an_answer_is_told_nothing_of_a_lost_server() {
    let server = TestServer::named("a");
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nlog-format \"end %ST %tsc %rc %s\"\nserver {server}",
        log.address()
    ));
    let mut client = telamon.connect();
    assert_eq!(client.get("/").status, 200);
    server.becomes(Behaviour::Dies);
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.read_to_end(), b"");
    // Its next connection is told.
    assert_eq!(telamon.connect().get("/").status, 502);
    log.wait_for("end 502 SH-- 0 a");
    assert_eq!(log.lines().iter().filter(|line| line.contains("end ")).count(), 2);
    assert_eq!(telamon.stat("web", "a", "eresp"), "1");
}
