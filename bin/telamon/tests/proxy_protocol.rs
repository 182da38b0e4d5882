//! The PROXY protocol, in and out.

use std::time::Duration;

use telamon_testkit::{Behaviour, SyslogSink, Telamon, TestServer, eventually, free_port};

const TELLS: &str = "http-request return status 200 content-type text/plain \
    lf-string '%[src]:%[src_port] %[dst]:%[dst_port] %[fc_src] %[fc_rcvd_proxy] %[fc_pp_authority] %[fc_pp_unique_id]'";

const DEFAULTS: &str =
    "defaults\nmode http\ntimeout client 5s\ntimeout server 5s\ntimeout connect 5s\n";

/// A frontend with these options of its `bind` line.
fn front(options: &str, lines: &str) -> Telamon {
    Telamon::start(&format!(
        "{DEFAULTS}frontend web\nbind 127.0.0.1:{} {options}\n{lines}\n",
        free_port()
    ))
}

/// What the frontend says of a client that sends `header`, then a request.
#[track_caller]
fn check(header: &[u8], expected: &str) {
    let telamon = front("accept-proxy", TELLS);
    let mut client = telamon.connect();
    client.send(header);
    assert_eq!(client.get("/").text().trim(), expected);
    // The session keeps it for its next requests.
    assert_eq!(client.get("/").text().trim(), expected);
}

fn v2(family: &[u8], rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", family, &length, rest].concat()
}

#[test]
fn a_client_is_who_the_header_says() {
    check(b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\n", "192.0.2.1:4000 192.0.2.2:80 127.0.0.1 1");
    check(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "2001:db8::1:1 2001:db8::2:2 127.0.0.1 1");
    let addresses = [192, 0, 2, 1, 192, 0, 2, 2, 0x0f, 0xa0, 0, 80];
    let more = [&addresses[..], b"\x02\0\x04name\x05\0\x02id"].concat();
    check(&v2(&[0x21, 0x11], &more), "192.0.2.1:4000 192.0.2.2:80 127.0.0.1 1 name id");
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let telamon = front("accept-proxy", TELLS);
    let mut client = telamon.connect();
    for byte in b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]);
    }
    assert!(client.response().text().starts_with("192.0.2.1:4000"));
}

#[test]
fn what_is_no_header_is_refused_and_logged() {
    let log = SyslogSink::start();
    let telamon = front(
        "accept-proxy",
        &format!("timeout client 300ms\nlog {} local0\noption httplog\n{TELLS}", log.address()),
    );
    let refused = |bytes: &[u8], half_close: bool, expected: &str| {
        let mut client = telamon.connect();
        client.send(bytes);
        if half_close {
            client.half_close();
        }
        assert!(client.is_closed_within(Duration::from_secs(5)), "{expected}");
        let line = log.wait_for(expected);
        assert!(line.contains("] web/1: "), "{line}");
    };
    refused(
        b"GET / HTTP/1.1\r\n\r\n",
        false,
        "Received something which does not look like a PROXY protocol header",
    );
    refused(b"PROXY TCP4 1.2.3.4\r\n", false, "Received an invalid PROXY protocol header");
    refused(
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        false,
        "Received an unhandled protocol in the PROXY protocol header",
    );
    refused(b"PROXY TCP4 1.2.", true, "Truncated PROXY protocol header received");
    refused(b"", true, "Connection closed while waiting for PROXY protocol header");
    refused(b"PROXY TCP4 1.2.", false, "Timeout while waiting for PROXY protocol header");
}

#[test]
fn a_rule_says_from_whom_a_header_is_expected() {
    let telamon = front(
        "",
        &format!("tcp-request connection expect-proxy layer4 if {{ src 127.0.0.1 }}\n{TELLS}"),
    );
    let mut client = telamon.connect();
    client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\n");
    assert!(client.get("/").text().starts_with("192.0.2.1:4000 192.0.2.2:80"));
}

#[test]
fn a_server_is_told_who_the_client_is() {
    for (options, expected) in [
        ("send-proxy", "127.0.0.1 192.0.2.7:9 1"),
        ("send-proxy-v2", "127.0.0.1 192.0.2.7:9 1"),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", "127.0.0.1 192.0.2.7:9 1 the-id"),
        ("send-proxy-v2-ssl", "127.0.0.1 192.0.2.7:9 1"),
        ("send-proxy no-send-proxy", ""),
    ] {
        let accepts = if expected.is_empty() { "" } else { "accept-proxy" };
        let telamon = Telamon::start(&format!(
            "{DEFAULTS}\
             frontend front\nbind 127.0.0.1:{}\nunique-id-format the-id\n\
             http-request set-dst ipv4(192.0.2.7)\nhttp-request set-dst-port int(9)\ndefault_backend b\n\
             backend b\nserver s unix@back.sock {options}\n\
             frontend back\nbind unix@back.sock {accepts}\nhttp-request return status 200 content-type text/plain \
             lf-string '%[src] %[dst]:%[dst_port] %[fc_rcvd_proxy] %[fc_pp_unique_id]'\n",
            free_port()
        ));
        let mut client = telamon.connect();
        for _ in 0..2 {
            let told = client.get("/").text();
            assert_eq!(
                told.trim(),
                if expected.is_empty() { ": 0" } else { expected },
                "{options}"
            );
        }
    }
}

#[test]
fn an_idle_connection_is_used_again_for_the_client_that_it_speaks_of() {
    let telamon = Telamon::start(&format!(
        "{DEFAULTS}\
         frontend front\nbind 127.0.0.1:{} accept-proxy\ndefault_backend b\n\
         backend b\nhttp-reuse always\nserver s unix@back.sock send-proxy\n\
         frontend back\nbind unix@back.sock accept-proxy\nhttp-request return status 200 content-type text/plain \
         lf-string '%[src] %[http_first_req]'\n",
        free_port()
    ));
    let mut told = Vec::new();
    for (host, idle) in [(1, 1), (2, 2), (1, 2), (1, 2), (2, 2)] {
        let mut client = telamon.connect();
        client.send(format!("PROXY TCP4 192.0.2.{host} 192.0.2.99 4000 80\r\n"));
        told.push(client.get("/").text());
        let kept = |column| telamon.stat("b", "s", column).parse::<u32>().unwrap_or(0);
        eventually("the server's connection is idle", || {
            kept("idle_conn_cur") + kept("safe_conn_cur") == idle
        });
    }
    assert_eq!(told, ["192.0.2.1 1", "192.0.2.2 1", "192.0.2.1 0", "192.0.2.1 0", "192.0.2.2 0"]);
}

#[test]
fn tcp_streams_and_checks_begin_with_the_header() {
    let app = TestServer::start("app", Behaviour::Echo);
    let telamon = Telamon::listen(&format!("mode tcp\nserver {app} send-proxy"));
    let mut client = telamon.connect();
    client.send("hello");
    let port = client.stream().local_addr().unwrap().port();
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n", telamon.port());
    let expected = format!("{header}hello");
    assert_eq!(client.read_exactly(expected.len()), expected.as_bytes());

    for options in ["send-proxy-v2", "send-proxy port {} check-send-proxy"] {
        let options = options.replace("{}", &free_port().to_string());
        let port = options
            .split("port ")
            .nth(1)
            .map_or_else(free_port, |rest| rest.split(' ').next().unwrap().parse().unwrap());
        let telamon = Telamon::start(&format!(
            "{DEFAULTS}\
             frontend back\nbind 127.0.0.1:{port} accept-proxy\nhttp-request return status 200\n\
             backend b\noption httpchk\nserver s 127.0.0.1:{port} check inter 20ms {options}\n"
        ));
        eventually("checks pass", || telamon.stat("b", "s", "check_status") == "L7OK");
    }
}

#[test]
fn connections_of_check_rules_begin_with_the_header_where_they_say_so() {
    let app = TestServer::start("app", Behaviour::Echo);
    #[track_caller]
    fn check(app: &TestServer, connect: &str, options: &str, expected: &str) {
        let telamon = Telamon::start(&format!(
            "{DEFAULTS}frontend f\nbind 127.0.0.1:{}\n\
             backend b\noption tcp-check\ntcp-check connect {connect}\ntcp-check send hello\n\
             tcp-check expect rstring {expected}\n\
             server {app} check inter 20ms {options}\n",
            free_port()
        ));
        eventually("checks pass", || telamon.stat("b", "app", "check_status") == "L7OK");
    }
    check(&app, "send-proxy", "", "(?s)^PROXY.TCP4.*hello");
    check(&app, "send-proxy", "send-proxy-v2", "QUIT");
    check(&app, "", "send-proxy", "^hello");
    check(&app, "default", "send-proxy", "(?s)^PROXY.TCP4.*hello");
    check(&app, "default", "", "^hello");
}
