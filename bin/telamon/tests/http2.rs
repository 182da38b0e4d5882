//! HTTP/2 in front and HTTP/1 behind, as a client and a server see it.

use std::time::Duration;

use telamon_testkit::http2::{DATA, END_HEADERS, END_STREAM, Http2Client, code, setting};
use telamon_testkit::{Behaviour, Signal, SyslogSink, Telamon, TestServer, eventually};

const UNFINISHED: u8 = END_HEADERS;
const WHOLE: u8 = END_HEADERS | END_STREAM;

#[test]
fn streams_of_one_connection_are_requests_of_their_own() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = Http2Client::connect(telamon.port());
    let streams: Vec<u32> =
        (0..20).map(|n| client.request("GET", &format!("/{n}"), WHOLE, &[])).collect();
    for stream in streams {
        assert_eq!(client.response(stream).text(), "app");
    }
    assert_eq!(app.requests(), 20);
    assert_eq!(telamon.stat("web", "FRONTEND", "req_tot"), "20");
    assert_eq!(telamon.stat("web", "FRONTEND", "stot"), "1");
    let received = app.received();
    assert!(received.iter().all(|head| head.contains(" HTTP/1.1\r\n")), "{received:?}");
}

#[test]
fn the_log_says_how_the_client_asked() {
    let (app, log) = (TestServer::named("app"), SyslogSink::start());
    let telamon =
        Telamon::listen(&format!("log {} local0\noption httplog\nserver {app}", log.address()));
    let mut client = Http2Client::connect(telamon.port());
    assert_eq!(client.get("/path?query").status, 200);
    let line = log.wait_for("/path?query");
    assert!(line.contains("/path?query HTTP/2.0\""), "{line}");
    assert!(line.contains(" 200 ") && line.contains(" ---- "), "{line}");
}

#[test]
fn bodies_of_answers_arrive_whole_however_the_server_frames_them() {
    let body: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    check_body(Behaviour::Body(Vec::new()), b"");
    check_body(Behaviour::Body(b"hello".to_vec()), b"hello");
    check_body(Behaviour::Body(body.clone()), &body);
    check_body(Behaviour::Chunked(vec![b"he".to_vec(), b"llo".to_vec()]), b"hello");
    check_body(Behaviour::Chunked(body.chunks(9_999).map(<[u8]>::to_vec).collect()), &body);
    check_body(Behaviour::CloseDelimited(b"hello".to_vec()), b"hello");
    check_body(Behaviour::CloseDelimited(body.clone()), &body);
}

#[track_caller]
fn check_body(behaviour: Behaviour, expected: &[u8]) {
    let app = TestServer::start("app", behaviour);
    let telamon = Telamon::listen(&format!("server {app}"));
    let response = Http2Client::connect(telamon.port()).get("/");
    assert_eq!((response.status, response.reset), (200, None));
    assert!(response.body == expected, "{} of {} bytes", response.body.len(), expected.len());
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!(response.header("connection"), None);
}

#[test]
fn bodies_of_requests_are_framed_by_their_length_or_in_chunks() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = Http2Client::connect(telamon.port());
    let stream = client.request("POST", "/chunks", UNFINISHED, &[]);
    client.send(DATA, 0, stream, b"hel");
    client.send(DATA, END_STREAM, stream, b"lo");
    assert_eq!(client.response(stream).status, 200);
    let stream = client.request("POST", "/length", UNFINISHED, &[("content-length", "5")]);
    client.send(DATA, END_STREAM, stream, b"hello");
    assert_eq!(client.response(stream).status, 200);
    let received = app.received();
    let find = |path: &str| received.iter().find(|head| head.contains(path)).cloned();
    let chunks = find("/chunks").expect("it came");
    assert!(chunks.contains("transfer-encoding: chunked"), "{chunks}");
    let length = find("/length").expect("it came");
    assert!(length.contains("content-length: 5") && !length.contains("chunked"), "{length}");
}

#[test]
fn trailers_of_answers_follow_their_bodies() {
    let raw =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 9\r\n\r\n";
    let app = TestServer::start("app", Behaviour::Raw(raw.to_vec()));
    let telamon = Telamon::listen(&format!("server {app}"));
    let response = Http2Client::connect(telamon.port()).get("/");
    assert_eq!(response.text(), "hello");
    assert_eq!(response.trailers, [("x-sum".to_owned(), "9".to_owned())]);
}

#[test]
fn answers_made_here_and_interim_ones() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!(
        "http-request return status 200 content-type text/plain string \"made here\" if {{ path /made }}\n\
         http-request redirect location /there if {{ path /moved }}\n\
         http-request deny if {{ path /denied }}\n\
         http-request early-hint link \"</a.css>\" if {{ path /early }}\n\
         stats uri /stats\n\
         server {app}"
    ));
    let mut client = Http2Client::connect(telamon.port());
    assert_eq!(client.get("/made").text(), "made here");
    let moved = client.get("/moved");
    assert_eq!((moved.status, moved.header("location")), (302, Some("/there")));
    assert_eq!(client.get("/denied").status, 403);
    let early = client.get("/early");
    assert_eq!((early.status, early.interim), (200, vec![103]));
    assert!(client.get("/stats").text().contains("<html"));
    let stream = client.request("HEAD", "/made", WHOLE, &[]);
    let head = client.response(stream);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("9"), 0));
}

#[test]
fn what_breaks_off_is_reset() {
    let app = TestServer::start("app", Behaviour::CutsShort(200_000));
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = Http2Client::connect(telamon.port());
    let response = client.get("/");
    assert_eq!(response.reset, Some(code::CANCEL));
    app.becomes(Behaviour::Dies);
    assert_eq!(client.get("/").status, 502);
    app.becomes(Behaviour::Name);
    assert_eq!(client.get("/").text(), "app", "the connection goes on");
}

#[test]
fn a_client_that_resets_its_stream_takes_the_request_back() {
    let (app, log) = (TestServer::start("app", Behaviour::Silent), SyslogSink::start());
    let telamon =
        Telamon::listen(&format!("log {} local0\noption httplog\nserver {app}", log.address()));
    let mut client = Http2Client::connect(telamon.port());
    let stream = client.request("GET", "/taken-back", WHOLE, &[]);
    eventually("the request is at the server", || app.requests() == 1);
    client.send_reset(stream, code::CANCEL);
    let line = log.wait_for("/taken-back");
    assert!(line.contains(" CH-- "), "{line}");
    eventually("the server has nothing to do", || telamon.stat("web", "app", "scur") == "0");
}

#[test]
fn a_slow_reader_holds_a_window_and_no_more() {
    let app = TestServer::start("app", Behaviour::Large(50_000_000));
    let telamon = Telamon::listen(&format!("server {app}"));
    let before = telamon.memory_kib();
    let mut client = Http2Client::open(telamon.port()).expect("connect").without_replenishing();
    client.hello(&[]).expect("HTTP/2");
    let stream = client.request("GET", "/", WHOLE, &[]);
    let held = client.wait_stream(stream, |response| response.body.len() >= 65_535);
    assert_eq!(held.body.len(), 65_535);
    assert!(client.pings(*b"whatever"));
    let grown = telamon.memory_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB");
}

#[test]
fn a_websocket_needs_no_key_in_front_and_is_given_one_behind() {
    check_websocket(
        "%[req.hdr(sec-websocket-key),concat(258EAFA5-E914-47DA-95CA-C5AB0DC85B11),sha1,base64]",
        200,
    );
    check_websocket("wrong", 502);
}

/// A server that answers the handshake of HTTP/1, and what the client is told.
#[track_caller]
fn check_websocket(accept: &str, status: u16) {
    let server = Telamon::listen(&format!(
        "http-request return status 200 hdr connection upgrade hdr upgrade websocket \
         hdr sec-websocket-accept {accept} if {{ hdr(sec-websocket-key) -m len 24 }}\n\
         http-after-response set-status 101 if {{ status 200 }}"
    ));
    let telamon = Telamon::listen(&format!("server app 127.0.0.1:{}", server.port()));
    let mut client = Http2Client::connect(telamon.port());
    assert!(client.pings(*b"settings"));
    assert_eq!(client.setting(setting::ENABLE_CONNECT_PROTOCOL), Some(1));
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "a.test"),
        ("sec-websocket-version", "13"),
    ];
    client.send_headers(1, UNFINISHED, &fields);
    let response = client.wait_stream(1, |response| response.status != 0);
    assert_eq!(response.status, status);
    assert_eq!(response.header("sec-websocket-accept"), None);
}

#[test]
fn a_process_that_ends_loses_no_stream() {
    let app = TestServer::start("app", Behaviour::Slow(Duration::from_millis(300)));
    let mut telamon = Telamon::listen(&format!("server {app}"));
    let mut client = Http2Client::connect(telamon.port());
    let stream = client.request("GET", "/", WHOLE, &[]);
    eventually("the request is at the server", || app.requests() == 1);
    telamon.signal(Signal::USR1);
    assert_eq!(client.response(stream).text(), "app");
    assert!(client.until_closed().iter().all(|code| *code == 0));
    assert!(telamon.wait_exit().success());
}

#[test]
fn an_idle_connection_ends_with_a_word() {
    let telamon = Telamon::listen("timeout http-keep-alive 200ms\nhttp-request return status 200");
    let mut client = Http2Client::connect(telamon.port());
    assert_eq!(client.get("/").status, 200);
    assert!(client.until_closed().iter().all(|code| *code == 0));
}

#[test]
fn where_the_upgrade_is_disabled_http_1_is_spoken() {
    let telamon = Telamon::listen("option disable-h2-upgrade\nhttp-request return status 200");
    let mut client = telamon.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status, 505);
}
