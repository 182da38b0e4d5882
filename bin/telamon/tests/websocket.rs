//! WebSocket: upgrades of HTTP/1, and extended CONNECT of HTTP/2 (RFC 8441) to servers of HTTP/1.

use telamon_testkit::http2::{DATA, END_STREAM, Http2Client, code, setting};
use telamon_testkit::{Behaviour, Telamon, TestServer, eventually};

/// What a client says who wants a WebSocket on a stream.
const CONNECT: &[(&str, &str)] = &[
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "test"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat"),
];

#[test]
fn a_stream_becomes_a_websocket() {
    let app = TestServer::start("app", Behaviour::UpgradeEcho);
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = Http2Client::connect(telamon.port());
    assert_eq!(client.setting(setting::ENABLE_CONNECT_PROTOCOL), Some(1));
    client.send_headers(1, 0, CONNECT);
    let answer = client.wait_stream(1, |answer| answer.status != 0 || answer.reset.is_some());
    assert_eq!((answer.status, answer.reset), (200, None));
    for absent in ["connection", "upgrade", "sec-websocket-accept"] {
        assert_eq!(answer.header(absent), None);
    }

    // An ordinary request goes on beside it.
    client.send_headers(3, END_STREAM, &telamon_testkit::http2::request_fields("GET", "/"));
    assert_eq!(client.response(3).text(), "app");

    let mut sent = 0;
    for size in [1, 100, 16384, 16384, 16384, 7] {
        client.send(DATA, 0, 1, &vec![b'w'; size]);
        sent += size;
        client.wait_stream(1, |stream| stream.body.len() == sent);
    }
    client.send(DATA, END_STREAM, 1, b"bye");
    let all = client.response(1);
    assert_eq!((all.body.len(), all.ended, all.reset), (sent + 3, true, None));
    assert!(all.body.ends_with(b"bye"));

    let received = app.received();
    let request = received.iter().find(|request| request.starts_with("GET /chat HTTP/1.1\r\n"));
    let request = request.expect("the upgrade").to_ascii_lowercase();
    for line in
        ["host: test", "upgrade: websocket", "connection: upgrade", "sec-websocket-protocol: chat"]
    {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line} in {request}");
    }
    let keys: Vec<_> =
        request.lines().filter_map(|l| l.strip_prefix("sec-websocket-key: ")).collect();
    assert!(matches!(&keys[..], [key] if key.len() == 24 && key.ends_with("==")), "{request}");
}

#[test]
fn a_client_that_goes_takes_the_servers_connection_along() {
    let app = TestServer::start("app", Behaviour::UpgradeEcho);
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = Http2Client::connect(telamon.port());
    client.send_headers(1, 0, CONNECT);
    assert_eq!(client.wait_stream(1, |answer| answer.status != 0).status, 200);
    client.send_reset(1, code::CANCEL);
    eventually("the session has ended", || telamon.stat("web", "app", "scur") == "0");
    assert!(client.pings(*b"all well"), "the connection goes on");
}

/// What the client is told when the server answers the upgrade with these bytes.
#[track_caller]
fn check(bytes: &str, expected: u16) {
    let app = TestServer::start("app", Behaviour::Raw(bytes.as_bytes().to_vec()));
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = Http2Client::connect(telamon.port());
    client.send_headers(1, 0, CONNECT);
    let answer = client.wait_stream(1, |answer| answer.status != 0 || answer.reset.is_some());
    assert_eq!((answer.status, answer.reset), (expected, None), "{bytes:?}");
}

#[test]
fn a_server_that_refuses_or_has_not_understood() {
    check("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403);
    check("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", 404);
    let switched =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
    check(&format!("{switched}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), 502);
    check(&format!("{switched}\r\n"), 502);
    // To the client 200 would say that its WebSocket is there.
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 502);
}

#[test]
fn nothing_of_it_where_it_is_switched_off() {
    let app = TestServer::start("app", Behaviour::UpgradeEcho);
    let off = "global\n    h2-workaround-bogus-websocket-clients\n";
    let telamon = Telamon::start(&format!(
        "{off}{}",
        Telamon::listen_on(telamon_testkit::free_port(), &format!("server {app}"))
    ));
    let mut client = Http2Client::connect(telamon.port());
    assert!(matches!(client.setting(setting::ENABLE_CONNECT_PROTOCOL), None | Some(0)));
    assert_eq!(client.get("/").text(), "app");
}

#[test]
fn an_upgrade_of_http_1() {
    let app = TestServer::start("app", Behaviour::UpgradeEcho);
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let answer = client.response();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client.send(b"\x81\x05hello");
    assert_eq!(client.read_exactly(7), b"\x81\x05hello");
}
