//! Servers that die and come back: what clients see, and what is logged.

use telamon_testkit::{Behaviour, SyslogSink, Telamon, TestServer, eventually, free_port};

/// Servers a to d behind one port, with these settings for each.
#[track_caller]
fn four_servers(lines: &str, settings: &str) -> (Vec<TestServer>, Telamon) {
    let servers: Vec<_> = ["a", "b", "c", "d"].map(TestServer::named).into();
    let list: String =
        servers.iter().map(|server| format!("server {server} {settings}\n")).collect();
    let telamon =
        Telamon::listen(&format!("timeout connect 50ms\nbalance roundrobin\n{lines}\n{list}"));
    (servers, telamon)
}

#[track_caller]
fn statuses(telamon: &Telamon, count: usize) -> Vec<u16> {
    (0..count).map(|_| telamon.connect().get("/").status).collect()
}

#[test]
fn a_dead_server_that_nobody_checks_loses_its_share() {
    let (servers, telamon) = four_servers("", "");
    assert_eq!(statuses(&telamon, 8), [200; 8]);
    servers[2].kill();
    assert_eq!(statuses(&telamon, 8), [200, 200, 503, 200, 200, 200, 503, 200]);
    assert_eq!(telamon.stat("web", "c", "wretr"), "6");
    assert_eq!(telamon.stat("web", "c", "econ"), "2");
}

#[test]
fn redispatch_loses_nothing() {
    let (servers, telamon) = four_servers("option redispatch", "");
    servers[2].kill();
    assert_eq!(statuses(&telamon, 16), [200; 16]);
    let redispatched: u32 = telamon.stat("web", "c", "wredis").parse().unwrap();
    assert!(redispatched >= 3, "{redispatched}");
}

#[test]
fn once_down_no_client_sees_it_and_once_up_it_is_used_again() {
    let log = SyslogSink::start();
    let lines = format!("log {} local0", log.address());
    let (servers, telamon) = four_servers(&lines, "check inter 50ms fall 2 rise 2");
    let port = servers[1].port();
    servers[1].kill();
    eventually("b is DOWN", || telamon.stat("web", "b", "status") == "DOWN");
    let names: String = (0..30).map(|_| telamon.connect().get("/").text()).collect();
    assert_eq!(names.matches(['a', 'c', 'd']).count(), 30, "{names}");
    let back = TestServer::start_on(port, "b", Behaviour::Name);
    eventually("b is UP", || telamon.stat("web", "b", "status") == "UP");
    let names: String = (0..40).map(|_| telamon.connect().get("/").text()).collect();
    assert_eq!(names.matches('b').count(), 10, "{names}");
    assert!(back.requests() >= 10);
    assert_eq!(telamon.stat("web", "b", "chkdown"), "1");
    let down = without_duration(&log.wait_for("is DOWN"));
    assert!(
        down.ends_with(
            "Server web/b is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", \
             check duration: #ms. 3 active and 0 backup servers left. 0 sessions active, 0 requeued, \
             0 remaining in queue."
        ),
        "{down}"
    );
    let up = without_duration(&log.wait_for("is UP"));
    assert!(
        up.ends_with(
            "Server web/b is UP, reason: Layer4 check passed, check duration: #ms. 4 active and 0 \
             backup servers online. 0 sessions requeued, 0 total in queue."
        ),
        "{up}"
    );
}

/// The line with `check duration: #ms`, whatever it took.
fn without_duration(line: &str) -> String {
    let Some((before, rest)) = line.split_once("check duration: ") else { return line.to_owned() };
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}check duration: #{after}")
}

#[test]
fn a_backend_without_servers_says_so_and_answers_503() {
    let log = SyslogSink::start();
    let nobody = free_port();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nserver a 127.0.0.1:{nobody} check inter 50ms fall 1",
        log.address()
    ));
    log.wait_for("proxy web has no server available!");
    assert_eq!(telamon.stat("web", "BACKEND", "status"), "DOWN");
    assert_eq!(telamon.connect().get("/").status, 503);
}

#[test]
fn http_checks_judge_the_status() {
    let answer = |status: &str| {
        Behaviour::Raw(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nhello").into())
    };
    check_health("option httpchk", answer("200 OK"), "UP", "L7OK", "200");
    check_health("option httpchk", answer("302 Found"), "UP", "L7OK", "302");
    check_health("option httpchk", answer("500 Oops"), "DOWN", "L7STS", "500");
    check_health("option httpchk", answer("404 Gone"), "DOWN", "L7STS", "404");
    let expect = |expect: &str| format!("option httpchk GET /status\nhttp-check expect {expect}");
    check_health(&expect("status 404"), answer("404 Gone"), "UP", "L7OK", "404");
    check_health(&expect("rstatus ^2"), answer("404 Gone"), "DOWN", "L7STS", "404");
    check_health(&expect("string hell"), answer("200 OK"), "UP", "L7OK", "200");
    check_health(&expect("rstring w.r"), answer("200 OK"), "DOWN", "L7RSP", "");
    check_health(
        "option httpchk",
        Behaviour::Raw(b"nonsense\r\n\r\n".to_vec()),
        "DOWN",
        "L7RSP",
        "",
    );
    check_health("option httpchk\ntimeout check 200ms", Behaviour::Silent, "DOWN", "L7TOUT", "");
}

#[test]
fn tcp_checks_speak_and_listen() {
    let expect = |text: &str| {
        format!(
            "option tcp-check\ntcp-check connect\ntcp-check send PING\ntcp-check expect string {text}\ntimeout check 200ms"
        )
    };
    check_health(&expect("PING"), Behaviour::Echo, "UP", "L7OK", "");
    check_health(&expect("PONG"), Behaviour::Echo, "DOWN", "L7TOUT", "");
    check_health("", Behaviour::NeverReads, "UP", "L4OK", "");
}

/// The status, the check's result and its code, as the statistics show them.
#[track_caller]
fn check_health(lines: &str, behaviour: Behaviour, status: &str, check_status: &str, code: &str) {
    let app = TestServer::start("a", behaviour);
    let telamon = Telamon::listen(&format!("{lines}\nserver {app} check inter 50ms fall 2 rise 1"));
    let stat = |column: &str| telamon.stat("web", "a", column);
    let mut seen = Vec::new();
    let what = format!("{lines}: {status} {check_status}");
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(&what, || {
            seen = ["status", "check_status", "check_code"].map(stat).into();
            seen[0] == status && seen[1] == check_status
        });
    }));
    assert!(found.is_ok(), "{what}, but {seen:?}");
    if !code.is_empty() {
        assert_eq!(seen[2], code, "{what}");
    }
}

#[test]
fn a_check_asks_as_it_is_told() {
    let app = TestServer::named("a");
    let _telamon = Telamon::listen(&format!(
        "option httpchk OPTIONS /ping HTTP/1.1\nhttp-check send hdr Host health.test hdr X-A b\n\
         server {app} check inter 50ms"
    ));
    eventually("a check", || !app.received().is_empty());
    let request = app.received()[0].to_lowercase();
    assert!(request.starts_with("options /ping http/1.1\r\n"), "{request}");
    assert!(
        request.contains("\r\nhost: health.test\r\n") && request.contains("\r\nx-a: b\r\n"),
        "{request}"
    );
}

#[test]
fn checks_may_go_to_another_port_than_traffic() {
    let (app, health) = (TestServer::named("a"), TestServer::named("health"));
    let telamon = Telamon::listen(&format!(
        "option httpchk\nserver {app} check inter 50ms fall 1 rise 1 port {}",
        health.port()
    ));
    eventually("it is checked", || health.requests() > 1);
    assert_eq!(telamon.connect().get("/").text(), "a");
    assert_eq!(app.requests(), 1);
    health.kill();
    eventually("a is DOWN", || telamon.stat("web", "a", "status") == "DOWN");
}

#[test]
fn a_process_begins_with_the_states_that_another_wrote() {
    let app = TestServer::named("a");
    let lines = |folder: &str| {
        let app = app.address();
        format!(
            "load-server-state-from-file global\n\
             server a {app} check inter 60s weight 10\nserver b {app} weight 10\nserver c {app} weight 10\n\
             server d {app} weight 10\nserver e {app} check inter 60s weight 10\n\
             global\nserver-state-base {folder}\nserver-state-file states\n"
        )
    };
    let before = Telamon::listen(&lines("/nowhere"));
    for command in [
        "set server web/a health down",
        "set server web/b state maint",
        "set server web/c state drain",
        "set server web/d weight 3",
        "disable health web/e",
    ] {
        assert_eq!(before.stats_socket(command), "\n", "{command}");
    }
    let states = before.stats_socket("show servers state");
    let folder = telamon_testkit::Scratch::new();
    std::fs::write(folder.join("states"), &states).unwrap();
    let after = Telamon::listen(&lines(folder.to_str().unwrap()));
    // A first check may have found `a` up.
    let word = |status: String| status.split(" 1/2").next().unwrap_or_default().to_owned();
    let statuses =
        ["a", "b", "c", "d", "e"].map(|server| word(after.stat("web", server, "status")));
    assert_eq!(statuses, ["DOWN", "MAINT", "DRAIN", "no check", "no check"]);
    assert_eq!(after.stat("web", "d", "weight"), "3");
    // What the configuration says anew goes before what was saved.
    let lines = lines(folder.to_str().unwrap()).replace("weight 10\n", "weight 20\n");
    let changed = Telamon::listen(&lines);
    assert_eq!(changed.stat("web", "d", "weight"), "20");
    assert_eq!(changed.stat("web", "b", "status"), "MAINT");
}

#[test]
fn a_file_of_states_that_is_not_right_costs_a_warning() {
    let folder = telamon_testkit::Scratch::new();
    let line = |state: &str| {
        format!("2 web 1 a 127.0.0.1 {state} 0 1 1 5 6 3 4 6 0 0 0 - 1 - 0 0 - - 0\n")
    };
    let check = |text: &str, said: &str| {
        std::fs::write(folder.join("web"), text).unwrap();
        let lines = format!(
            "load-server-state-from-file local\nserver a 127.0.0.1:1\n\
             global\nserver-state-base {}\n",
            folder.display()
        );
        let telamon = Telamon::listen(&lines);
        eventually(said, || telamon.stderr().to_lowercase().contains(said));
        assert_eq!(telamon.stat("web", "a", "status"), "no check");
    };
    check("2\n", "get");
    check(&format!("1\n{}", line("9")), "invalid srv_op_state value '9'");
    check("1\nshort\n", "corrupted");
    check(line("2").trim_end(), "get");
}

/// What real servers said to these checks: PostgreSQL 15.18, MariaDB 10.11.19, Redis 7.0.15, Exim 4.96, OpenLDAP 2.5.13 and
/// `openssl s_server` 3.0 of Debian 12, recorded by a relay between them and Telamon. HAProxy 2.6.12 reports the same.
#[test]
fn real_servers_are_understood() {
    const GREETING: &[u8] = b"d\x00\x00\x00\n5.5.5-10.11.19-MariaDB-0+deb12u1\x00\x1d\x00\x00\x00^@e\\~(Gn\x00\xfe\xf7\x08\
        \x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00qoZUy$B^4(hV\x00mysql_native_password\x00";
    const LET_IN: &[u8] = b"\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00";
    #[track_caller]
    fn check(option: &str, says: &[&[u8]], status: &str, text: &str) {
        let says = says.iter().map(|bytes| bytes.to_vec()).collect();
        let app = TestServer::start("a", Behaviour::Converses(says));
        let telamon = Telamon::listen(&format!(
            "mode tcp\ntimeout check 300ms\noption {option}\nserver {app} check inter 50ms rise 1 fall 1"
        ));
        let stat = |column: &str| telamon.stat("web", "a", column);
        eventually(&format!("{option}: {status}"), || stat("check_status") == status);
        assert_eq!(stat("last_chk"), text, "{option}");
    }
    let asks_md5 = b"R\x00\x00\x00\x0c\x00\x00\x00\x05\xfb]\xa0\\";
    check("pgsql-check user postgres", &[b"", asks_md5], "L7OK", "PostgreSQL server is ok");
    check("mysql-check", &[GREETING], "L7OK", "5.5.5-10.11.19-MariaDB-0+deb12u1");
    let version = "5.5.5-10.11.19-MariaDB-0+deb12u1";
    check("mysql-check user check", &[b"", &[GREETING, LET_IN].concat()], "L7OK", version);
    check("redis-check", &[b"", b"+PONG\r\n"], "L7OK", "Redis server is ok");
    let noauth = b"-NOAUTH Authentication required.\r\n";
    check("redis-check", &[b"", noauth], "L7TOUT", "");
    check(
        "smtpchk EHLO example.org",
        &[
            b"220 vm ESMTP Exim 4.96 Fri, 20 Nov 2026 18:45:44 +0000\r\n",
            b"250-vm Hello example.org [127.0.0.1]\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-PIPELINING\r\n\
              250-PIPECONNECT\r\n250-CHUNKING\r\n250-STARTTLS\r\n250-PRDR\r\n250 HELP\r\n",
            b"221 vm closing connection\r\n",
        ],
        "L7OK",
        "vm closing connection",
    );
    check(
        "ldap-check",
        &[b"", b"0\x0c\x02\x01\x01a\x07\n\x01\x00\x04\x00\x04\x00"],
        "L7OK",
        "Success",
    );
    check("ssl-hello-chk", &[b"", b"\x15\x03\x00\x00\x02\x02("], "L6OK", "");
}
