//! The kit's own tests: its client against its server, and the process handle with a stand-in.

use std::path::Path;
use std::time::Duration;

use telamon_testkit::{
    Behaviour, RawClient, Signal, SyslogSink, Telamon, TestServer, eventually, free_port,
};

#[track_caller]
fn check(behaviour: Behaviour, body: &str) {
    let server = TestServer::start("app", behaviour);
    let mut client = RawClient::connect(server.port());
    let response = client.get("/x");
    assert_eq!((response.status, response.text().as_str()), (200, body));
    assert_eq!(server.requests(), 1);
    assert_eq!(server.received(), ["GET /x HTTP/1.1\r\nHost: test\r\n\r\n"]);
}

#[test]
fn client_reads_every_framing() {
    check(Behaviour::Name, "app");
    check(Behaviour::Body(b"hello".to_vec()), "hello");
    check(Behaviour::Chunked(vec![b"he".to_vec(), b"llo".to_vec()]), "hello");
    check(Behaviour::CloseDelimited(b"hello".to_vec()), "hello");
    check(Behaviour::Slow(Duration::from_millis(20)), "app");
    check(Behaviour::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()), "ok");
}

#[test]
fn server_keeps_a_connection_and_reads_bodies() {
    let server = TestServer::named("app");
    let mut client = RawClient::connect(server.port());
    client.send("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    client.send("HEAD / HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().text(), "app");
    assert_eq!(client.response().text(), "app");
    assert_eq!(client.try_response(true).unwrap().header("content-length"), Some("3"));
    assert_eq!((server.requests(), server.connections()), (3, 1));
    assert!(server.received().iter().take(2).all(|r| r.ends_with("\r\n\r\nabc")));
}

#[test]
fn server_misbehaves_on_demand() {
    let server = TestServer::start("app", Behaviour::Dies);
    let mut client = RawClient::connect(server.port());
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.read_to_end(), b"");
    server.becomes(Behaviour::CutsShort(10));
    let mut client = RawClient::connect(server.port());
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert!(client.try_response(false).is_err());
    server.becomes(Behaviour::UpgradeEcho);
    let mut client = RawClient::connect(server.port());
    client.send("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nearly");
    assert_eq!(client.response().status, 101);
    assert_eq!(client.read_exactly(5), b"early");
    server.becomes(Behaviour::Echo);
    let mut client = RawClient::connect(server.port());
    client.send("bytes");
    client.half_close();
    assert_eq!(client.read_to_end(), b"bytes");
    let port = server.port();
    server.kill();
    assert!(RawClient::try_connect(port).is_err());
}

// Debian's haproxy has the same command line, so the handle is tested before telamon runs.
#[test]
fn process_handle_starts_asks_and_stops() {
    if std::env::var_os("TELAMON_BIN").is_none() && !Path::new("/usr/sbin/haproxy").exists() {
        return;
    }
    let app = TestServer::named("app1");
    let log = SyslogSink::start();
    let port = free_port();
    let config = format!(
        "defaults\n mode http\n log {} local0\n option httplog\n timeout connect 1s\n \
         timeout client 5s\n timeout server 5s\nlisten web\n bind 127.0.0.1:{port}\n server app1 {}\n",
        log.address(),
        app.address()
    );
    let Some(binary) = std::env::var_os("TELAMON_BIN") else {
        // The environment is process-wide and cannot be set safely here: run through a child.
        let me = std::env::current_exe().unwrap();
        let status = std::process::Command::new(me)
            .args(["process_handle_starts_asks_and_stops", "--exact"])
            .env("TELAMON_BIN", "/usr/sbin/haproxy")
            .status();
        assert!(status.unwrap().success());
        return;
    };
    assert!(Telamon::check(&config, &["-c"]).status.success(), "{binary:?} -c");
    let mut telamon = Telamon::start(&config);
    assert_eq!(RawClient::connect(port).get("/").text(), "app1");
    assert!(telamon.stats_socket("show stat").contains("web,app1,"));
    assert!(log.wait_for("\"GET / HTTP/1.1\"").contains("web/app1"));
    telamon.signal(Signal::TERM);
    telamon.wait_exit();
    eventually("the port is closed", || RawClient::try_connect(port).is_err());
}
