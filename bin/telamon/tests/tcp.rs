//! Bytes through `mode tcp`.

use std::io::{Read, Write};
use std::thread;

use telamon_testkit::{Behaviour, SyslogSink, Telamon, TestServer, eventually, free_port};

#[test]
fn bytes_pass_both_ways_and_half_closes_are_kept() {
    let app = TestServer::start("app", Behaviour::Echo);
    let telamon = Telamon::listen(&format!("mode tcp\nserver {app}"));
    let mut client = telamon.connect();
    client.send("hello");
    assert_eq!(client.read_exactly(5), b"hello");
    client.send("bye");
    client.half_close();
    assert_eq!(client.read_to_end(), b"bye");
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_large_stream_arrives_whole() {
    check_large("");
    check_large("option splice-auto");
    check_large("no option splice-auto");
    check_large("option splice-request\noption splice-response\nglobal\ntune.pipesize 256k");
}

#[track_caller]
fn check_large(option: &str) {
    const SIZE: usize = 20 << 20;
    let app = TestServer::start("app", Behaviour::Echo);
    let telamon = Telamon::listen(&format!("mode tcp\nserver {app}\n{option}"));
    let client = telamon.connect();
    let mut writing = client.stream().try_clone().unwrap();
    let writer = thread::spawn(move || {
        for chunk in 0..SIZE / 65536 {
            writing.write_all(&[chunk as u8; 65536]).unwrap();
        }
        writing.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut received = Vec::with_capacity(SIZE);
    client.stream().read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert_eq!(received.len(), SIZE, "{option}");
    assert!(received.chunks(65536).enumerate().all(|(n, c)| c.iter().all(|b| *b == n as u8)));
}

#[test]
fn a_server_may_end_first_and_still_listen() {
    let app = TestServer::start("app", Behaviour::SpeaksThenHalfCloses(b"banner".to_vec()));
    let telamon = Telamon::listen(&format!("mode tcp\nserver {app}"));
    let mut client = telamon.connect();
    assert_eq!(client.read_to_end(), b"banner");
    client.send("more");
    eventually("the bytes behind the server's end are taken", || {
        telamon.stat("web", "BACKEND", "scur") == "1"
    });
    client.half_close();
    eventually("the session has ended", || telamon.stat("web", "FRONTEND", "scur") == "0");
    assert_eq!(telamon.stat("web", "FRONTEND", "bin"), "4");
}

#[test]
fn silence_ends_a_session() {
    check_end("timeout client 200ms", Behaviour::Echo, "", "cD");
    check_end("timeout server 200ms", Behaviour::Silent, "x", "sD");
    check_end("timeout tunnel 200ms", Behaviour::Echo, "x", "cD sD");
}

#[test]
fn a_server_that_fails_ends_a_session() {
    check_end("", Behaviour::Resets, "x", "SD");
    let log = SyslogSink::start();
    let nobody = free_port();
    let telamon = Telamon::listen(&format!(
        "mode tcp\ntimeout connect 50ms\nlog {} local0\noption tcplog\nserver app 127.0.0.1:{nobody}",
        log.address()
    ));
    assert_eq!(telamon.connect().read_to_end(), b"");
    assert!(log.wait_for("web/app").contains(" SC "), "{:?}", log.lines());
}

/// Sends the bytes; the connection ends, and the log says why.
#[track_caller]
fn check_end(setting: &str, behaviour: Behaviour, bytes: &str, states: &str) {
    let app = TestServer::start("app", behaviour);
    let log = SyslogSink::start();
    let telamon = Telamon::listen(&format!(
        "mode tcp\n{setting}\nlog {} local0\noption tcplog\nserver {app}",
        log.address()
    ));
    let mut client = telamon.connect();
    client.send(bytes);
    client.read_to_end();
    let line = log.wait_for("web/app");
    assert!(states.split(' ').any(|state| line.contains(&format!(" {state} "))), "{line}");
}

#[test]
fn each_connection_gets_its_turn() {
    let servers = ["a", "b", "c"].map(|name| {
        TestServer::start(name, Behaviour::SpeaksThenHalfCloses(name.as_bytes().to_vec()))
    });
    let [a, b, c] = &servers;
    let telamon = Telamon::listen(&format!(
        "mode tcp\nbalance roundrobin\nserver {a}\nserver {b}\nserver {c}"
    ));
    let order: String =
        (0..6).map(|_| String::from_utf8(telamon.connect().read_to_end()).unwrap()).collect();
    assert_eq!(order, "abcabc");
}

#[test]
fn content_rules_wait_for_the_first_bytes() {
    let app = TestServer::start("app", Behaviour::Echo);
    let telamon = Telamon::listen(&format!(
        "mode tcp\ntcp-request inspect-delay 5s\ntcp-request content reject if {{ req.payload(0,3) -m str BAD }}\n\
         tcp-request content accept if {{ req.len ge 3 }}\nserver {app}"
    ));
    let mut bad = telamon.connect();
    bad.send("BAD");
    assert_eq!(bad.read_to_end(), b"");
    let mut good = telamon.connect();
    good.send("GO");
    good.send("OD");
    assert_eq!(good.read_exactly(4), b"GOOD");
    assert_eq!(app.connections(), 1);
}

#[test]
fn rules_may_wait_for_what_a_server_says() {
    let app = TestServer::start("app", Behaviour::Echo);
    let telamon = Telamon::listen(&format!(
        "mode tcp\ntcp-response inspect-delay 5s\n\
         tcp-response content reject if {{ res.payload(0,3) -m str bad }}\nserver {app}"
    ));
    let mut client = telamon.connect();
    client.send("go");
    client.send("od");
    assert_eq!(client.read_exactly(4), b"good");
    client.send("bad");
    assert_eq!(client.read_exactly(3), b"bad"); // rules run once
    let mut client = telamon.connect();
    client.send("badly");
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn a_server_is_reached_through_a_socks_proxy() {
    let app = TestServer::named("app");
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let telamon = Telamon::listen(&format!(
        "server app {} socks4 {} maxconn 1",
        app.address(),
        proxy.local_addr().unwrap()
    ));
    // A proxy as simple as can be: one connection, there and back.
    let relay = std::thread::spawn(move || {
        let (mut client, _) = proxy.accept().unwrap();
        let mut request = [0; 16];
        client.read_exact(&mut request).unwrap();
        let port = u16::from_be_bytes([request[2], request[3]]);
        let mut server = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"\0\x5a\0\0\0\0\0\0").unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut server, &mut client);
        request
    });
    let mut client = telamon.connect();
    assert_eq!(client.get("/").text(), "app");
    assert_eq!(client.get("/").text(), "app");
    app.kill();
    let request = relay.join().unwrap();
    assert_eq!((&request[..2], &request[8..]), (&b"\x04\x01"[..], &b"HAProxy\0"[..]));
}

#[test]
fn a_silent_client_may_still_be_answered() {
    // It answers once the client has ended.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut taken, _) = listener.accept().unwrap();
        let mut heard = String::new();
        taken.read_to_string(&mut heard).unwrap();
        write!(taken, "heard {heard}").unwrap();
    });
    let telamon = Telamon::listen(&format!(
        "mode tcp\ntimeout client 300ms\ntcp-request inspect-delay 100ms\n\
         tcp-request content accept if {{ req.len gt 9 }}\nserver app {address}"
    ));
    let mut client = telamon.connect();
    client.send("hello");
    assert_eq!(client.read_to_end(), b"heard hello");
    server.join().unwrap();
    // Within the delay it is the end.
    let app = TestServer::start("app", Behaviour::Echo);
    let telamon = Telamon::listen(&format!(
        "mode tcp\ntimeout client 100ms\ntcp-request inspect-delay 9s\n\
         tcp-request content accept if {{ req.len gt 0 }}\nserver {app}"
    ));
    assert_eq!(telamon.connect().read_to_end(), b"");
    assert_eq!(app.connections(), 0);
}
