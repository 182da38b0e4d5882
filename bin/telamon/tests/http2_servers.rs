//! HTTP/2 behind: connections that carry several requests, and what becomes of those that a server does not take.

use std::net::TcpListener;
use std::thread;

use telamon_testkit::http2::{
    DATA, END_HEADERS, END_STREAM, Event, GOAWAY, HEADERS, Http2Client, code, setting,
};
use telamon_testkit::{
    Behaviour, RawClient, SyslogSink, Telamon, TestServer, eventually, free_port,
};

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// A server whose connections are the scripts' one after the other, each in a thread of its own; its port.
fn server(scripts: Vec<fn(&mut Http2Client)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for script in scripts {
            let settings = [(setting::MAX_CONCURRENT_STREAMS, 2)];
            let Ok(mut connection) = Http2Client::accept(&listener, &settings) else { return };
            thread::spawn(move || script(&mut connection));
        }
    });
    port
}

/// The next request that is complete, or `None` at the connection's end.
fn next_request(connection: &mut Http2Client) -> Option<u32> {
    loop {
        match connection.next_event() {
            Event::Frame(frame) if matches!(frame.kind, HEADERS | DATA) => {
                if frame.has(END_STREAM) {
                    return Some(frame.stream);
                }
            }
            Event::Frame(_) => {}
            Event::Closed | Event::Timeout => return None,
        }
    }
}

fn answer(connection: &mut Http2Client, stream: u32, text: &str) {
    connection.send_headers(stream, END_HEADERS, &[(":status", "200")]);
    connection.send(DATA, END_STREAM, stream, text.as_bytes());
}

/// Answers all it is asked.
fn answers(connection: &mut Http2Client) {
    while let Some(stream) = next_request(connection) {
        answer(connection, stream, &format!("stream {stream}"));
    }
}

/// A telamon in front of the server on `port`, with a log, and these lines.
fn telamon(port: u16, lines: &str) -> (Telamon, SyslogSink) {
    let log = SyslogSink::start();
    let listen = Telamon::listen_on(
        free_port(),
        &format!(
            "log {} local0\nlog-format \"end %ST %tsc %rc\"\nhttp-reuse always\n{lines}\n\
             server s 127.0.0.1:{port} proto h2",
            log.address()
        ),
    );
    // Connections stay with their worker.
    let telamon = Telamon::start(&format!("global\nnbthread 1\n{listen}"));
    (telamon, log)
}

#[test]
fn requests_of_many_clients_share_a_connection() {
    let port = server(vec![answers]);
    let (telamon, _log) = telamon(port, "");
    for stream in [1, 3, 5] {
        assert_eq!(telamon.connect().get("/").text(), format!("stream {stream}"));
    }
    assert_eq!(telamon.stat("web", "s", "connect"), "1");
    assert_eq!(telamon.stat("web", "s", "reuse"), "2");
}

#[test]
fn with_http_reuse_never_a_connection_is_its_clients_alone() {
    let port = server(vec![answers, answers]);
    let (telamon, _log) = telamon(port, "http-reuse never");
    let (mut one, mut other) = (telamon.connect(), telamon.connect());
    assert_eq!(one.get("/").text(), "stream 1");
    assert_eq!(other.get("/").text(), "stream 1");
    assert_eq!(one.get("/").text(), "stream 3");
}

#[test]
fn no_more_streams_are_open_than_the_server_takes() {
    fn takes_three(connection: &mut Http2Client) {
        if let Some(stream) = next_request(connection) {
            answer(connection, stream, "first");
        }
        // Two more are read, and not answered.
        while next_request(connection).is_some() {}
    }
    let port = server(vec![takes_three, answers]);
    let (telamon, _log) = telamon(port, "");
    assert_eq!(telamon.connect().get("/").text(), "first");
    let (mut one, mut other) = (telamon.connect(), telamon.connect());
    one.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    other.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("both are on their way", || telamon.stat("web", "s", "scur") == "2");
    assert_eq!(telamon.connect().get("/").text(), "stream 1");
    assert_eq!(telamon.stat("web", "s", "connect"), "2");
}

#[test]
fn a_refused_stream_is_sent_again() {
    fn refuses(connection: &mut Http2Client) {
        if let Some(stream) = next_request(connection) {
            connection.send_reset(stream, code::REFUSED_STREAM);
        }
        while next_request(connection).is_some() {}
    }
    let port = server(vec![refuses, answers]);
    let (telamon, log) = telamon(port, "");
    let mut client = telamon.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().text(), "stream 1");
    assert_eq!(log.wait_for("end "), log.wait_for("end 200 ---- 1"));
}

#[test]
fn what_a_goaway_leaves_out_is_sent_again() {
    fn leaves(connection: &mut Http2Client) {
        if let Some(stream) = next_request(connection) {
            answer(connection, stream, "first");
        }
        if next_request(connection).is_some() {
            connection.send(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
        }
        while next_request(connection).is_some() {}
    }
    let port = server(vec![leaves, answers]);
    let (telamon, _log) = telamon(port, "");
    assert_eq!(telamon.connect().get("/").text(), "first");
    let mut client = telamon.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().text(), "stream 1");
}

#[test]
fn a_stream_that_breaks_off_is_a_server_that_does() {
    fn breaks(connection: &mut Http2Client) {
        if let Some(stream) = next_request(connection) {
            connection.send_reset(stream, code::INTERNAL_ERROR);
        }
        while next_request(connection).is_some() {}
    }
    let port = server(vec![breaks]);
    let (telamon, log) = telamon(port, "");
    assert_eq!(telamon.connect().get("/").status, 502);
    log.wait_for("end 502 SH-- 0");
}

/// What a client of either version gets on this port, in words.
fn through(port: u16, http2: bool) -> Vec<String> {
    let asked = [("GET", "/a?b=c"), ("HEAD", "/head"), ("DELETE", "/d"), ("OPTIONS", "*")];
    let mut seen = Vec::new();
    for (method, path) in asked {
        let (status, field, text) = if http2 {
            let mut client = Http2Client::connect(port);
            let stream =
                client.request(method, path, WHOLE, &[("cookie", "a=1"), ("cookie", "b=2")]);
            let response = client.response(stream);
            (response.status, response.header("x-one").map(str::to_owned), response.text())
        } else {
            let mut client = RawClient::connect(port);
            client.send(format!(
                "{method} {path} HTTP/1.1\r\nHost: test\r\nCookie: a=1; b=2\r\n\r\n"
            ));
            let response = client.try_response(method == "HEAD").expect("an answer");
            (response.status, response.header("x-one").map(str::to_owned), response.text())
        };
        seen.push(format!("{method} {path}: {status} {field:?} {text}"));
    }
    seen
}

/// Start line and the fields that matter of what a server has received.
fn asked(app: &TestServer) -> Vec<String> {
    let kept = |line: &&str| {
        let line = line.to_ascii_lowercase();
        line.contains(" http/1.1") || line.starts_with("cookie:") || line.starts_with("host:")
    };
    let heads = app.received();
    let mut asked: Vec<String> = heads
        .iter()
        .map(|head| {
            let mut lines: Vec<&str> = head.lines().filter(kept).collect();
            lines.sort_unstable();
            lines.join(" | ")
        })
        .collect();
    asked.sort_unstable();
    asked
}

#[test]
fn every_pairing_of_versions_brings_the_same() {
    for answer in [
        "HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nX-One: 2\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /x\r\nX-One: 3\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut seen = Vec::new();
        for http2_behind in [false, true] {
            for http2_in_front in [false, true] {
                let app = TestServer::start("app", Behaviour::Raw(answer.into()));
                let hop = Telamon::listen(&format!("option httpclose\nserver {app}"));
                let direct = Telamon::listen(&format!("option httpclose\nserver {app}"));
                let over = Telamon::listen(&format!("server s 127.0.0.1:{} proto h2", hop.port()));
                let port = if http2_behind { over.port() } else { direct.port() };
                seen.push((through(port, http2_in_front), asked(&app)));
            }
        }
        for other in &seen[1..] {
            assert_eq!(*other, seen[0]);
        }
    }
}
