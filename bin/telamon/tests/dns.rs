//! Servers that name servers know: what they take from answers, what is logged, and that nothing is lost meanwhile.

use telamon_testkit::{
    Behaviour, DnsManner, DnsServer, Signal, SyslogSink, Telamon, TestServer, eventually,
};

/// Two servers on one port, at 127.0.0.1 and 127.0.0.2: what a name can move between.
fn pair() -> (TestServer, TestServer, u16) {
    let a = TestServer::named("a");
    let port = a.port();
    let b = TestServer::start_at("127.0.0.2", port, "b", Behaviour::Name);
    (a, b, port)
}

/// A proxy `web` with these lines, which asks `dns` often.
#[track_caller]
fn start(dns: &DnsServer, log: &SyslogSink, resolvers: &str, lines: &str) -> Telamon {
    Telamon::listen(&format!(
        "log {} local0\n{lines}\nresolvers r\nnameserver n {}\ntimeout resolve 50ms\n\
         timeout retry 100ms\n{resolvers}\n",
        log.address(),
        dns.address(),
    ))
}

#[track_caller]
fn answers(telamon: &Telamon, expected: &str) {
    eventually(expected, || telamon.connect().get("/").text() == expected);
}

/// What one column of `show servers state` says of a server; columns count from 0.
#[track_caller]
fn state(telamon: &Telamon, server: &str, column: usize) -> String {
    let all = telamon.stats_socket("show servers state");
    let line = all.lines().find(|line| line.split(' ').nth(3) == Some(server));
    let line = line.unwrap_or_else(|| panic!("no {server} in {all}"));
    line.split(' ').nth(column).expect("a column").to_owned()
}

const ADDRESS: usize = 4;
const ADMIN: usize = 6;
const WEIGHT: usize = 7;
const FQDN: usize = 17;
const PORT: usize = 18;
const SRV: usize = 19;

#[test]
fn a_server_follows_its_name() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (_a, _b, port) = pair();
    dns.set("web.test", &["A 127.0.0.1"]);
    let line = format!("server s web.test:{port} resolvers r resolve-prefer ipv4 init-addr none");
    let telamon = start(&dns, &log, "", &line);
    answers(&telamon, "a");
    log.wait_for("web/s changed its IP from (none) to 127.0.0.1 by r/n.");
    log.wait_for("Server web/s ('web.test') is UP/READY (resolves again).");
    log.wait_for("Server web/s administratively READY thanks to valid DNS answer.");
    let mut kept = telamon.connect();
    assert_eq!(kept.get("/").text(), "a");
    dns.set("web.test", &["A 127.0.0.2"]);
    log.wait_for("web/s changed its IP from 127.0.0.1 to 127.0.0.2 by r/n.");
    // Neither a new nor a kept client is sent to the old address.
    assert_eq!(kept.get("/").text(), "b");
    answers(&telamon, "b");
    assert_eq!(state(&telamon, "s", ADDRESS), "127.0.0.2");
    assert_eq!(state(&telamon, "s", FQDN), "web.test");
    let shown = telamon.stats_socket("show resolvers r");
    assert!(shown.starts_with("Resolvers section r\n nameserver n:\n  sent:        "), "{shown}");
    assert!(shown.contains("\n  update:      2\n"), "{shown}");
}

#[test]
fn failures_are_overlooked_for_the_time_of_hold() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (_a, _b, port) = pair();
    dns.set("web.test", &["A 127.0.0.1"]);
    let line = format!("server s web.test:{port} resolvers r resolve-prefer ipv4 init-addr none");
    let telamon = start(&dns, &log, "hold nx 300ms\nhold timeout 100ms\nhold other 1h", &line);
    answers(&telamon, "a");
    // An hour for these.
    dns.behave(DnsManner::Fails(2));
    let (before, _) = dns.questions();
    eventually("it is asked in vain", || dns.questions().0 > before + 12);
    assert_eq!(telamon.connect().get("/").text(), "a");
    dns.behave(DnsManner::Answers);
    dns.remove("web.test");
    log.wait_for("Server web/s is going DOWN for maintenance (DNS NX status).");
    assert_eq!(telamon.connect().get("/").status, 503);
    assert_eq!(telamon.stat("web", "s", "status"), "MAINT (resolution)");
    assert_eq!(state(&telamon, "s", ADMIN), "32");
    dns.set("web.test", &["A 127.0.0.2"]);
    answers(&telamon, "b");
    dns.behave(DnsManner::Silent);
    log.wait_for("Server web/s is going DOWN for maintenance (DNS timeout status).");
    dns.behave(DnsManner::Answers);
    answers(&telamon, "b");
}

#[test]
fn what_is_malformed_costs_a_line_and_changes_nothing() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (_a, _b, port) = pair();
    dns.set("web.test", &["A 127.0.0.1"]);
    let line = format!("server s web.test:{port} resolvers r resolve-prefer ipv4 init-addr none");
    let telamon = start(&dns, &log, "", &line);
    answers(&telamon, "a");
    dns.set("web.test", &["A 127.0.0.2"]);
    for manner in [DnsManner::Mangles, DnsManner::Confuses] {
        dns.behave(manner);
        let (before, _) = dns.questions();
        eventually("it is asked", || dns.questions().0 > before + 3);
    }
    eventually("it is told", || {
        let told = telamon.stderr();
        told.contains("resolvers r: malformed answer from nameserver n about web.test: byte ")
            && told.contains(": another question")
    });
    assert_eq!(telamon.connect().get("/").text(), "a");
    dns.behave(DnsManner::Answers);
    answers(&telamon, "b");
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (_a, _b, port) = pair();
    dns.set("web.test", &["A 127.0.0.1"]);
    dns.behave(DnsManner::Truncates);
    let line = format!("server s web.test:{port} resolvers r resolve-prefer ipv4 init-addr none");
    let telamon = start(&dns, &log, "", &line);
    answers(&telamon, "a");
    assert!(dns.questions().1 > 0);
}

#[test]
fn name_servers_may_speak_tcp_and_another_one_may_be_dead() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (_a, _b, port) = pair();
    dns.set("web.test", &["CNAME host.test"]);
    dns.set("host.test", &["A 127.0.0.1"]);
    let nobody = telamon_testkit::free_port();
    let telamon = Telamon::listen(&format!(
        "log {} local0\nserver s web.test:{port} resolvers r resolve-prefer ipv4 init-addr none\n\
         resolvers r\nnameserver dead 127.0.0.1:{nobody}\nnameserver n tcp@{}\n\
         timeout resolve 50ms\ntimeout retry 100ms\n",
        log.address(),
        dns.address(),
    ));
    answers(&telamon, "a");
    log.wait_for("web/s changed its IP from (none) to 127.0.0.1 by r/n.");
    assert_eq!(dns.questions().0, 0);
}

#[test]
fn servers_of_one_name_have_distinct_addresses() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (_a, _b, port) = pair();
    dns.set("web.test", &["A 127.0.0.1", "A 127.0.0.2"]);
    let line = format!(
        "server-template s 3 web.test:{port} resolvers r resolve-prefer ipv4 init-addr none"
    );
    let telamon = start(&dns, &log, "", &line);
    eventually("two are up", || {
        telamon.stat("web", "s1", "status") == "no check"
            && telamon.stat("web", "s2", "status") == "no check"
    });
    assert_eq!(state(&telamon, "s1", ADDRESS), "127.0.0.1");
    assert_eq!(state(&telamon, "s2", ADDRESS), "127.0.0.2");
    assert_eq!(telamon.stat("web", "s3", "status"), "MAINT (resolution)");
    // What goes leaves its server; what stays stays where it is.
    dns.set("web.test", &["A 127.0.0.2"]);
    log.wait_for("Server web/s1 is going DOWN for maintenance (No IP for server ).");
    assert_eq!(state(&telamon, "s2", ADDRESS), "127.0.0.2");
    for _ in 0..4 {
        assert_eq!(telamon.connect().get("/").text(), "b");
    }
    dns.set("web.test", &["A 127.0.0.2", "A 127.0.0.1"]);
    log.wait_for("web/s1 changed its IP from (none) to 127.0.0.1");
    answers(&telamon, "a");
}

#[test]
fn a_service_sets_hosts_ports_and_weights() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (a, b) = (TestServer::named("a"), TestServer::named("b"));
    let record = |weight: u32, server: &TestServer, host: &str| {
        format!("SRV {weight} {} {host}", server.port())
    };
    dns.set("one.test", &["A 127.0.0.1"]);
    dns.set("two.test", &["A 127.0.0.1"]);
    let (one, two) = (record(2560, &a, "one.test"), record(0, &b, "two.test"));
    dns.set("_http._tcp.test", &[&one, &two]);
    let line = "server-template s 3 _http._tcp.test resolvers r resolve-prefer ipv4";
    let telamon = start(&dns, &log, "hold obsolete 0", line);
    answers(&telamon, "a");
    log.wait_for("web/s1 changed its IP from (none) to 127.0.0.1 by DNS additional record.");
    log.wait_for("web/s1 changed its FQDN from (null) to one.test by 'SRV record'");
    eventually("both are there", || state(&telamon, "s2", FQDN) == "two.test");
    let columns = [ADMIN, WEIGHT, FQDN, PORT, SRV].map(|column| state(&telamon, "s1", column));
    let port = a.port().to_string();
    assert_eq!(columns, ["64", "10", "one.test", &port, "_http._tcp.test"]);
    assert_eq!(state(&telamon, "s2", WEIGHT), "0");
    assert_eq!(state(&telamon, "s3", FQDN), "-");
    assert_eq!(telamon.stat("web", "s3", "status"), "MAINT (resolution)");
    for _ in 0..5 {
        assert_eq!(telamon.connect().get("/").text(), "a");
    }
    // One goes, the other gets weight; s2 stays what it is.
    let two = record(256, &b, "two.test");
    dns.set("_http._tcp.test", &[&two]);
    log.wait_for("Server web/s1 is going DOWN for maintenance (entry removed from SRV record).");
    answers(&telamon, "b");
    assert_eq!(state(&telamon, "s2", WEIGHT), "1");
    assert_eq!(state(&telamon, "s1", PORT), "0");
    // Without an address in the answer the host is asked for.
    dns.remove("one.test");
    dns.set("_http._tcp.test", &[&one, &two]);
    eventually("s1 has its host", || state(&telamon, "s1", FQDN) == "one.test");
    assert_eq!(telamon.stat("web", "s1", "status"), "MAINT (resolution)");
    dns.set("one.test", &["A 127.0.0.1"]);
    answers(&telamon, "a");
}

#[test]
fn a_reload_keeps_what_name_servers_said() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (_a, _b, port) = pair();
    dns.set("web.test", &["A 127.0.0.2", "A 127.0.0.1"]);
    let web = telamon_testkit::free_port();
    let config = |servers: u32| {
        Telamon::listen_on(
            web,
            &format!(
                "server-template s {servers} web.test:{port} resolvers r resolve-prefer ipv4 \
                 init-addr none\nlog {} local0\nresolvers r\nnameserver n {}\n\
                 timeout resolve 50ms\ntimeout retry 100ms\nhold timeout 1h\n",
                log.address(),
                dns.address()
            ),
        )
    };
    let telamon = Telamon::start(&config(1));
    answers(&telamon, "a");
    dns.behave(DnsManner::Silent);
    telamon.write_config(&config(2));
    telamon.signal(Signal::USR2);
    eventually("the second server is there", || {
        telamon.stats_socket("show servers state").contains(" s2 ")
    });
    assert_eq!(telamon.connect().get("/").text(), "a");
    assert_eq!(state(&telamon, "s1", ADDRESS), "127.0.0.1");
    dns.behave(DnsManner::Answers);
    answers(&telamon, "b");
    assert_eq!(state(&telamon, "s1", ADDRESS), "127.0.0.1");
}

#[test]
fn the_socket_may_give_a_server_another_host() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (_a, _b, port) = pair();
    dns.set("web.test", &["A 127.0.0.1"]);
    dns.set("other.test", &["A 127.0.0.2"]);
    let line = format!("server s web.test:{port} resolvers r resolve-prefer ipv4 init-addr none");
    let telamon = start(&dns, &log, "", &line);
    answers(&telamon, "a");
    assert_eq!(
        telamon.stats_socket("set server web/s fqdn other.test"),
        "web/s changed its FQDN from web.test to other.test by 'stats socket command'\n\n"
    );
    answers(&telamon, "b");
    assert_eq!([FQDN, ADMIN].map(|column| state(&telamon, "s", column)), ["other.test", "64"]);
}

#[test]
fn a_request_may_wait_for_a_name() {
    let (dns, log) = (DnsServer::start(), SyslogSink::start());
    let (_a, _b, port) = pair();
    dns.set("a.test", &["A 127.0.0.1"]);
    dns.set("b.test", &["A 127.0.0.2"]);
    let lines = format!(
        "http-request do-resolve(txn.ip,r,ipv4) hdr(host),host_only\n\
         http-request deny deny_status 404 unless {{ var(txn.ip) -m found }}\n\
         http-request set-dst var(txn.ip)\nserver clear 0.0.0.0:{port}"
    );
    let telamon = start(&dns, &log, "", &lines);
    let ask = |host: &str| {
        let mut client = telamon.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.response()
    };
    assert_eq!(ask("a.test").text(), "a");
    assert_eq!(ask("b.test:80").text(), "b");
    let (before, _) = dns.questions();
    assert_eq!(ask("a.test").text(), "a");
    assert_eq!(dns.questions().0, before, "the answer is still good");
    assert_eq!(ask("nobody.test").status, 404);
}
