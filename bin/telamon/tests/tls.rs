//! TLS with clients and with servers, in both modes. The tests run with `/usr/sbin/haproxy` as well (`TELAMON_BIN`).

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use telamon_testkit::{
    Behaviour, Identity, Load, RawClient, Scratch, Shaken, Signal, SyslogSink, Telamon, TestServer,
    TlsClient, TlsPort, eventually, free_port,
};

const DEFAULTS: &str =
    "defaults\nmode http\ntimeout client 10s\ntimeout server 10s\ntimeout connect 5s\n";

/// A program that speaks TLS on its port, and a way to it that puts TLS on what is plain.
struct Front {
    telamon: Telamon,
    tls: TlsPort,
    /// Where it listens, and where its certificate is.
    port: u16,
    config: String,
    _files: Scratch,
}

fn files(identity: &Identity) -> (Scratch, String) {
    let files = Scratch::new();
    let path = files.join("site.pem");
    std::fs::write(&path, identity.pem()).unwrap();
    let path = path.display().to_string();
    (files, path)
}

/// A frontend `web` with TLS, and these lines.
fn front(lines: &str) -> Front {
    front_with("", lines, &TlsClient { name: "a.test", ..TlsClient::default() })
}

fn front_with(bind: &str, lines: &str, client: &TlsClient<'_>) -> Front {
    let (files, path) = files(&Identity::new(&["a.test"]));
    let port = free_port();
    let config =
        format!("{DEFAULTS}listen web\nbind 127.0.0.1:{port} ssl crt {path} {bind}\n{lines}\n");
    let telamon = Telamon::start(&config);
    Front { telamon, tls: TlsPort::to(port, client), port, config, _files: files }
}

impl Front {
    fn client(&self) -> RawClient {
        RawClient::connect(self.tls.port())
    }
}

#[test]
fn requests_come_through_tls_on_one_connection() {
    for old in [false, true] {
        let app = TestServer::named("app");
        let front = front_with(
            "",
            &format!("http-request set-header x-tls %[ssl_fc]\nserver {app}"),
            &TlsClient { name: "a.test", old, ..TlsClient::default() },
        );
        let mut client = front.client();
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "app");
        }
        assert_eq!(front.tls.handshakes(), [Shaken::Full]);
        let seen = app.received();
        assert!(seen.iter().all(|head| head.to_ascii_lowercase().contains("x-tls: 1")), "{seen:?}");
    }
}

#[test]
fn bodies_of_any_size_arrive_whole() {
    let app = TestServer::named("app");
    let front = front(&format!("server {app}"));
    let mut client = front.client();
    for size in [0, 1, 16_383, 16_384, 16_385, 100_000, 3 << 20] {
        let body: Vec<u8> = (0..size).map(|i| (i * 31 / 7) as u8).collect();
        app.becomes(Behaviour::Body(body.clone()));
        assert!(client.get("/").body == body, "{size}");
        app.becomes(Behaviour::Name);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
        client.send(&body);
        assert_eq!(client.response().text(), "app", "{size}");
    }
    app.becomes(Behaviour::Chunked(vec![vec![b'a'; 20_000], b"b".to_vec()]));
    assert_eq!(client.get("/").body.len(), 20_001);
    app.becomes(Behaviour::CloseDelimited(vec![b'c'; 50_000]));
    assert_eq!(client.get("/").body.len(), 50_000);
}

#[test]
fn bytes_pass_both_ways_and_half_closes_are_kept() {
    let app = TestServer::start("app", Behaviour::Echo);
    let front = front(&format!("mode tcp\nserver {app}"));
    let mut client = front.client();
    client.send("hello");
    assert_eq!(client.read_exactly(5), b"hello");
    client.send("bye");
    client.half_close();
    assert_eq!(client.read_to_end(), b"bye");
    let banner = TestServer::start("banner", Behaviour::SpeaksThenHalfCloses(b"220 hi".to_vec()));
    let front = self::front(&format!("mode tcp\nserver {banner}"));
    assert_eq!(front.client().read_to_end(), b"220 hi");
}

#[test]
fn a_hundred_mebibytes_pass_both_ways_with_stalls() {
    const SIZE: usize = 100 << 20;
    let app = TestServer::start("app", Behaviour::Echo);
    let front = front(&format!("mode tcp\nserver {app}"));
    let client = front.client();
    let mut writing = client.stream().try_clone().unwrap();
    let writer = thread::spawn(move || {
        let chunk = vec![b'x'; 1 << 20];
        for number in 0..SIZE >> 20 {
            if number % 40 == 3 {
                thread::sleep(Duration::from_millis(50));
            }
            writing.write_all(&chunk).unwrap();
        }
        writing.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut reading = client.stream();
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match reading.read(&mut buffer).unwrap() {
            0 => break,
            count => {
                assert!(buffer[..count].iter().all(|byte| *byte == b'x'));
                if total >> 25 != (total + count) >> 25 {
                    thread::sleep(Duration::from_millis(100));
                }
                total += count;
            }
        }
    }
    writer.join().unwrap();
    assert_eq!(total, SIZE);
}

#[test]
fn a_client_that_rested_is_served_by_its_session() {
    let app = TestServer::named("app");
    let front = front(&format!("server {app}"));
    let mut clients: Vec<_> = (0..20).map(|_| front.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "app");
    }
    // They are parked after a second.
    thread::sleep(Duration::from_millis(1500));
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "app");
    }
    assert_eq!(front.tls.handshakes().len(), 20);
}

#[test]
fn servers_are_reached_by_tls_and_connections_to_them_kept() {
    let app = TestServer::named("app");
    let to_app = TlsPort::before(app.port(), &Identity::new(&["b.test"]));
    let telamon = Telamon::listen(&format!(
        "http-reuse always\nserver s 127.0.0.1:{} ssl verify none sni req.hdr(x-name)",
        to_app.port()
    ));
    let ask = |client: &mut RawClient, name: &str| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Name: {name}\r\n\r\n"));
        assert_eq!(client.response().text(), "app");
    };
    let mut client = telamon.connect();
    for _ in 0..3 {
        ask(&mut client, "b.test");
    }
    assert_eq!(to_app.handshakes(), [Shaken::Full]);
    // Another name is another connection; and one who comes later takes up the first session.
    ask(&mut client, "c.test");
    assert_eq!(to_app.handshakes().len(), 2);
    ask(&mut telamon.connect(), "b.test");
    assert_eq!(to_app.handshakes().len(), 2);
    let body = vec![b'z'; 1 << 20];
    app.becomes(Behaviour::Body(body.clone()));
    assert!(client.get("/").body == body);
}

#[test]
fn a_server_is_verified_by_its_authority_and_its_name() {
    let log = SyslogSink::start();
    let app = TestServer::named("app");
    let identity = Identity::new(&["b.test"]);
    let (_files, path) = files(&identity);
    let to_app = TlsPort::before(app.port(), &identity);
    let check = |options: &str, status: u16| {
        let telamon = Telamon::listen(&format!(
            "retries 0\nlog {} local0\noption httplog\nserver s 127.0.0.1:{} ssl {options}",
            log.address(),
            to_app.port()
        ));
        assert_eq!(telamon.connect().get("/").status, status, "{options}");
        if status == 503 {
            log.wait_for(" SC-- ");
        }
    };
    check(&format!("verify required ca-file {path} sni str(b.test)"), 200);
    check(&format!("verify required ca-file {path} sni str(other.test)"), 503);
    check(&format!("verify required ca-file {path} verifyhost b.test"), 200);
    check(&format!("verify required ca-file {path} verifyhost other.test"), 503);
    let (_others, other) = files(&Identity::new(&["b.test"]));
    check(&format!("verify required ca-file {other} sni str(b.test)"), 503);
    check("verify none", 200);
    // It speaks no TLS.
    let telamon = Telamon::listen(&format!("retries 0\nserver {app} ssl verify none"));
    assert_eq!(telamon.connect().get("/").status, 503);
}

#[test]
fn clients_that_break_off_are_logged_as_haproxy_does() {
    let log = SyslogSink::start();
    let to = log.address();
    let front = front(&format!("timeout client 300ms\nlog {to} local0\noption httplog"));
    let mut count = 0;
    let mut refused = |bytes: &[u8], half_close: bool, expected: &str| {
        let mut client = RawClient::connect(front.port);
        client.send(bytes);
        if half_close {
            client.half_close();
        }
        // There may be an alert.
        client.read_to_end();
        count += 1;
        eventually(&format!("{expected} behind {:?}", log.lines()), || log.lines().len() >= count);
        let lines = log.lines();
        let line = &lines[count - 1];
        assert!(line.contains(&format!("] web/1: {expected}")), "{line}");
    };
    refused(b"", true, "Connection closed during SSL handshake");
    refused(b"", false, "Timeout during SSL handshake");
    refused(b"\x16\x03\x01", false, "Timeout during SSL handshake");
    refused(b"\x16\x03\x01\x02\x00\x01\x00", true, "Connection closed during SSL handshake");
    refused(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, "SSL handshake failure");
}

#[test]
fn a_handshake_cut_anywhere_costs_nothing() {
    let app = TestServer::named("app");
    let front = front(&format!("server {app}"));
    // What a client says first.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wrapped = TlsPort::to(
        listener.local_addr().unwrap().port(),
        &TlsClient { name: "a.test", ..TlsClient::default() },
    );
    let _client = RawClient::connect(wrapped.port());
    let mut hello = vec![0; 4096];
    let count = listener.accept().unwrap().0.read(&mut hello).unwrap();
    hello.truncate(count);
    for length in 0..=hello.len() {
        let mut client = RawClient::connect(front.port);
        client.send(&hello[..length]);
        client.half_close();
    }
    eventually("all are gone", || front.telamon.stat("web", "FRONTEND", "scur") == "0");
    assert_eq!(front.client().get("/").text(), "app");
}

#[test]
fn checks_shake_hands() {
    let app = TestServer::named("app");
    let to_app = TlsPort::before(app.port(), &Identity::new(&["b.test"]));
    let check = |options: &str, port: u16, option: &str, expected: &str| {
        let telamon = Telamon::listen(&format!(
            "{option}\nserver s 127.0.0.1:{port} check inter 100ms fall 1 rise 1 {options}"
        ));
        eventually(expected, || telamon.stat("web", "s", "check_status") == expected);
    };
    check("ssl verify none", to_app.port(), "", "L6OK");
    check("check-ssl verify none", to_app.port(), "", "L6OK");
    check("ssl verify none", to_app.port(), "option httpchk", "L7OK");
    check("ssl verify none check-sni b.test", to_app.port(), "option httpchk", "L7OK");
    let script = "option tcp-check\ntcp-check connect ssl sni b.test";
    check("verify none", to_app.port(), script, "L6OK");
    let script = "option httpchk\nhttp-check connect ssl alpn http/1.1\nhttp-check send meth GET";
    check("verify none", to_app.port(), script, "L7OK");
    check("ssl verify none no-check-ssl", app.port(), "", "L4OK");
    let plain = Behaviour::SpeaksThenHalfCloses(b"220 mail.example ESMTP".to_vec());
    let plain = TestServer::start("plain", plain);
    check("ssl verify none", plain.port(), "", "L6RSP");
    check("check-ssl verify none", plain.port(), "option httpchk", "L6RSP");
    let mute = TestServer::start("mute", Behaviour::NeverReads);
    check("ssl verify none", mute.port(), "timeout check 200ms", "L6TOUT");
}

#[test]
fn a_reload_under_load_loses_nobody() {
    if Telamon::is_haproxy() {
        return;
    }
    let app = TestServer::named("app");
    let front = front(&format!("server {app}"));
    let load = Load::start(front.tls.port(), 2, 2);
    for _ in 0..10 {
        let done = "the new configuration is in force";
        let count = || front.telamon.stderr().matches(done).count();
        let before = count();
        front.telamon.write_config(&front.config);
        front.telamon.signal(Signal::USR2);
        eventually(done, || count() > before);
        load.wait_for_more(4);
    }
    assert_eq!(load.stop(), Vec::<String>::new());
    // Those who come anew take their session up again.
    assert!(front.tls.handshakes().contains(&Shaken::Resumed));
}

#[test]
fn the_proxy_header_comes_before_the_handshake() {
    let tells =
        "http-request return status 200 content-type text/plain lf-string '%[src] %[ssl_fc]'";
    let inner = front_with("accept-proxy", tells, &TlsClient::default());
    let outer = Telamon::listen(&format!(
        "server s 127.0.0.1:{} ssl verify none send-proxy-v2",
        inner.port
    ));
    assert_eq!(outer.connect().get("/").text().trim(), "127.0.0.1 1");
}

#[test]
fn programs_that_people_have_get_through() {
    let app = TestServer::named("app");
    let front = front(&format!("server {app}"));
    let url = format!("https://127.0.0.1:{}/", front.port);
    if let Ok(output) = Command::new("curl").args(["-sk", "--http1.1", &url, &url]).output() {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "appapp");
    }
    let to = format!("127.0.0.1:{}", front.port);
    for version in ["-tls1_2", "-tls1_3"] {
        let client = Command::new("openssl")
            .args(["s_client", "-quiet", version, "-connect", &to])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut client) = client else { continue };
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.stdin.as_mut().unwrap().write_all(request).unwrap();
        let output = client.wait_with_output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("app"), "{version}");
    }
}
