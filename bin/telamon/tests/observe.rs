//! Health from traffic as HAProxy has it: `observe`, `error-limit`, `on-error`, `on-marked-down`, `on-marked-up`.
//!
//! These tests pass with Debian's `haproxy` as the program too.

use telamon_testkit::{Behaviour, SyslogSink, Telamon, TestServer, eventually};

/// A server whose checks pass and whose requests are answered so, asked until it has had `asked` requests: its status,
/// its `hanafail`, and what the log says of it.
#[track_caller]
fn check(settings: &str, behaviour: Behaviour, asked: usize, expected: (&str, &str, &str)) {
    let (status, fails, said) = expected;
    let checked = TestServer::named("check");
    let server = TestServer::start("a", behaviour);
    let log = SyslogSink::start();
    // A long interval: what its checks find does not come in between.
    let telamon = Telamon::listen(&format!(
        "log {} local0\nretries 0\ntimeout server 150ms\noption log-health-checks\n\
         server {server} check inter 60s port {} {settings}",
        log.address(),
        checked.port(),
    ));
    eventually("it is UP", || telamon.stat("web", "a", "status") == "UP");
    for _ in 0..asked {
        telamon.connect().get("/");
    }
    eventually(&format!("{settings}: {status}, {fails}"), || {
        telamon.stat("web", "a", "status") == status
            && telamon.stat("web", "a", "hanafail") == fails
    });
    if !said.is_empty() {
        let line = log.wait_for(said.split_once('|').map_or(said, |(first, _)| first));
        assert!(said.split('|').all(|part| line.contains(part)), "{line}");
    }
}

fn answer(line: &str) -> Behaviour {
    Behaviour::Raw(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n").into())
}

#[test]
fn errors_in_a_row_count_as_a_failed_check() {
    let wrong = answer("500 Oops");
    check("observe layer7 error-limit 3", wrong.clone(), 2, ("UP", "0", ""));
    check(
        "observe layer7 error-limit 3",
        wrong.clone(),
        3,
        (
            "UP 2/3",
            "1",
            "Health check for server web/a failed, reason: Health analyze, info: \"Detected 3 \
             consecutive errors, last one was: Wrong http response\", status: 2/3 UP.",
        ),
    );
    check("observe layer7", wrong.clone(), 10, ("UP 2/3", "1", "Detected 10 consecutive errors"));
    check("observe layer7 error-limit 2", wrong.clone(), 6, ("DOWN", "3", "Server web/a is DOWN"));
    check("observe layer7 error-limit 2 on-error fail-check", wrong, 4, ("UP 1/3", "2", ""));
}

#[test]
fn on_error_says_what_happens() {
    let wrong = || answer("503 No");
    let settings =
        |on_error: &str| format!("observe layer7 error-limit 1 fall 9 on-error {on_error}");
    check(&settings("fastinter"), wrong(), 3, ("UP", "3", ""));
    check(&settings("sudden-death"), wrong(), 1, ("UP 1/9", "1", ""));
    check(
        &settings("mark-down"),
        wrong(),
        1,
        ("DOWN", "1", "Server web/a is DOWN. 0 active and 0 backup servers left."),
    );
}

#[test]
fn each_kind_of_error_is_named() {
    let settings = "observe layer7 error-limit 1";
    let names = [
        (answer("500 Oops"), "Wrong http response"),
        (Behaviour::Raw(b"nonsense\r\n\r\n".to_vec()), "Invalid http response (headers)"),
        (Behaviour::Resets, "Read error (http)"),
        (Behaviour::Dies, "Close from server (http)"),
        (Behaviour::Silent, "Read timeout (http)"),
    ];
    for (behaviour, name) in names {
        check(settings, behaviour, 1, ("UP 2/3", "1", &format!("last one was: {name}\"")));
    }
    for status in ["200 OK", "404 Gone", "501 No", "505 No"] {
        check(settings, answer(status), 3, ("UP", "0", ""));
    }
    check("observe layer4 error-limit 1", answer("500 Oops"), 3, ("UP", "0", ""));
    check("observe none error-limit 1", answer("500 Oops"), 3, ("UP", "", ""));
}

#[test]
fn connections_that_fail_count_for_both_layers() {
    for layer in ["layer4", "layer7"] {
        let (checked, server) = (TestServer::named("check"), TestServer::named("a"));
        let log = SyslogSink::start();
        let telamon = Telamon::listen(&format!(
            "log {} local0\nretries 0\ntimeout connect 100ms\n\
             server {server} check inter 60s port {} observe {layer} error-limit 2 on-error mark-down",
            log.address(),
            checked.port(),
        ));
        eventually("it is UP", || telamon.stat("web", "a", "status") == "UP");
        server.kill();
        (0..2).for_each(|_| assert_eq!(telamon.connect().get("/").status, 503));
        let line = log.wait_for("is DOWN");
        assert!(
            line.contains(
                "Server web/a is DOWN, reason: Health analyze, info: \"Detected 2 consecutive \
                 errors, last one was: L4 unsuccessful connection\". 0 active"
            ),
            "{line}"
        );
        assert_eq!(telamon.stat("web", "a", "check_status"), "HANA");
        assert_eq!(telamon.stat("web", "a", "chkfail"), "1");
    }
}

#[test]
fn good_answers_and_passed_checks_take_errors_back() {
    let (checked, server) = (TestServer::named("check"), TestServer::start("a", answer("500 No")));
    let telamon = Telamon::listen(&format!(
        "server {server} check inter 60s port {} observe layer7 error-limit 3",
        checked.port(),
    ));
    eventually("it is UP", || telamon.stat("web", "a", "status") == "UP");
    for _ in 0..3 {
        (0..2).for_each(|_| _ = telamon.connect().get("/"));
        server.becomes(Behaviour::Name);
        telamon.connect().get("/");
        server.becomes(answer("500 No"));
    }
    assert_eq!(telamon.stat("web", "a", "hanafail"), "0");
}

#[test]
fn fastinter_hurries_the_next_check() {
    let (checked, server) = (TestServer::named("check"), TestServer::start("a", answer("500 No")));
    let telamon = Telamon::listen(&format!(
        "option httpchk\nserver {server} check inter 60s fastinter 100ms port {} observe layer7 \
         error-limit 1 on-error fastinter",
        checked.port(),
    ));
    eventually("it was checked", || checked.requests() >= 1);
    eventually("it is UP", || telamon.stat("web", "a", "status") == "UP");
    let before = checked.requests();
    telamon.connect().get("/");
    eventually("it is checked again", || checked.requests() > before);
}

#[test]
fn connections_are_observed_in_mode_tcp() {
    let (checked, server) = (TestServer::named("check"), TestServer::named("a"));
    let telamon = Telamon::listen(&format!(
        "mode tcp\nretries 0\ntimeout connect 100ms\n\
         server {server} check inter 60s port {} observe layer4 error-limit 2 on-error mark-down",
        checked.port(),
    ));
    eventually("it is UP", || telamon.stat("web", "a", "status") == "UP");
    server.kill();
    for _ in 0..2 {
        telamon.connect().read_to_end();
    }
    eventually("it is DOWN", || telamon.stat("web", "a", "status") == "DOWN");
}

#[test]
fn a_server_that_goes_down_ends_its_sessions() {
    let (checked, server) = (TestServer::named("check"), TestServer::start("a", Behaviour::Silent));
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nlog-format \"end %ST %tsc\"\nserver {server} check inter 100ms fall 1 port {} \
         on-marked-down shutdown-sessions",
        log.address(),
        checked.port(),
    ));
    eventually("it is UP", || telamon.stat("web", "a", "status") == "UP");
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("the request is there", || server.requests() == 1);
    checked.kill();
    assert_eq!(client.response().status, 502);
    let line = log.wait_for("end ");
    assert!(line.ends_with("end 502 DH--"), "{line}");
}

#[test]
fn maintenance_ends_them_too() {
    let server = TestServer::start("a", Behaviour::Echo);
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "mode tcp\nlog {} local0\nlog-format \"%B end %tsc\"\n\
         server {server} on-marked-down shutdown-sessions",
        log.address(),
    ));
    let mut client = telamon.connect();
    client.send("hello");
    assert_eq!(client.read_exactly(5), b"hello");
    telamon.stats_socket("set server web/a state maint");
    client.read_to_end();
    let line = log.wait_for("end ");
    assert!(line.ends_with("5 end D---"), "{line}");
}

#[test]
fn a_server_that_comes_up_takes_the_sessions_of_the_backups() {
    let backup = TestServer::start("b", Behaviour::Echo);
    let server = TestServer::start("a", Behaviour::Echo);
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "mode tcp\nlog {} local0\nlog-format \"%B end %tsc %s\"\n\
         server {server} disabled on-marked-up shutdown-backup-sessions\nserver {backup} backup",
        log.address(),
    ));
    let mut client = telamon.connect();
    client.send("hello");
    assert_eq!(client.read_exactly(5), b"hello");
    telamon.stats_socket("set server web/a state ready");
    client.read_to_end();
    let line = log.wait_for("end ");
    assert!(line.ends_with("5 end U--- b"), "{line}");
}
