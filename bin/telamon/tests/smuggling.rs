//! Messages whose framing could be read in two ways, or that are no HTTP at all: refused, with the
//! status that says whose fault it is, and never forwarded.
//!
//! Rows under `stricter` pass HAProxy 2.6, or get another status there; they are differences on
//! purpose.

use telamon_testkit::{Behaviour, Telamon, TestServer};

#[test]
fn requests_with_two_framings_or_a_broken_one_are_refused() {
    let table = Requests::new("");
    table.check("two different lengths", "Content-Length: 3\r\nContent-Length: 4", 400);
    table.check("two different lengths in one line", "Content-Length: 3, 4", 400);
    table.check("a signed length", "Content-Length: +3", 400);
    table.check("a negative length", "Content-Length: -3", 400);
    table.check("a length in hexadecimal", "Content-Length: 0x3", 400);
    table.check("an empty length", "Content-Length:", 400);
    table.check("a length beyond 64 bits", "Content-Length: 99999999999999999999", 400);
    table.check("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400);
    table.check("chunked not last", "Transfer-Encoding: chunked, gzip", 400);
    table.stricter("a length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked", 400);
    table.stricter("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 3", 400);
    table.stricter("an unknown coding", "Transfer-Encoding: made-up, chunked", 422);
    table.stricter("a coding without chunked", "Transfer-Encoding: gzip", 400);
}

#[test]
fn heads_that_break_the_grammar_are_refused() {
    let table = Requests::new("");
    table.check("a blank before the colon", "Name : value", 400);
    table.check("an empty name", ": value", 400);
    table.check("no colon", "nonsense", 400);
    table.check("a blank in a name", "A b: c", 400);
    table.stricter("NUL in a value", "A: b\0c", 400);
    table.check("NUL in a name", "A\0: c", 400);
    table.stricter("a control byte in a value", "A: b\x01c", 400);
    table.check("a bare CR in a value", "A: b\rc", 400);
    table.stricter("a folded line", "A: b\r\n c", 400);
    table.stricter("a bare LF as an end of line", "A: b\nB: c", 400);
    table.stricter("two hosts", "Host: y", 400);
    table.stricter("two equal hosts", "Host: x", 400);
    table.stricter("a host that is none", "Host: a b", 400);
}

#[test]
fn request_lines_that_break_the_grammar_are_refused() {
    let table = Requests::new("");
    let host = "Host: x\r\n\r\n";
    table.raw("no version", "GET /\r\n\r\n", &[400]);
    table.raw("a version that is none", &format!("GET / HTTP/1.x\r\n{host}"), &[400]);
    table.raw("a method with a colon", &format!("GE:T / HTTP/1.1\r\n{host}"), &[400]);
    table.raw("a blank in the target", &format!("GET /a b HTTP/1.1\r\n{host}"), &[400]);
    table.raw("NUL in the target", &format!("GET /\0 HTTP/1.1\r\n{host}"), &[400]);
    table.raw("a control byte in the target", &format!("GET /\x07 HTTP/1.1\r\n{host}"), &[400]);
    table.raw("a byte above 127 in the target", &format!("GET /\u{e9} HTTP/1.1\r\n{host}"), &[400]);
    table.raw("a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\r\n\r\n", &[400]);
    if Telamon::is_haproxy() {
        return;
    }
    table.raw("a version of the future", &format!("GET / HTTP/2.0\r\n{host}"), &[400, 505]);
    table.raw("no host", "GET / HTTP/1.1\r\n\r\n", &[400]);
    table.raw("two blanks", &format!("GET  / HTTP/1.1\r\n{host}"), &[400]);
    table.raw("a quote in the target", &format!("GET /\" HTTP/1.1\r\n{host}"), &[400]);
    table.raw("a relative target", &format!("GET a HTTP/1.1\r\n{host}"), &[400]);
    table.raw("a host that disagrees", &format!("GET http://y/ HTTP/1.1\r\n{host}"), &[400]);
    table.raw("LF alone after the line", &format!("GET / HTTP/1.1\n{host}"), &[400]);
}

#[test]
fn bad_chunks_of_a_request_are_refused() {
    let table = Requests::new("");
    for (name, chunks) in [
        ("a size that is none", "zz\r\nabc\r\n0\r\n\r\n"),
        ("a signed size", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("an empty size", "\r\nabc\r\n0\r\n\r\n"),
        ("a size beyond 64 bits", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("no end of line behind the data", "3\r\nabcX\r\n0\r\n\r\n"),
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        table.ends(name, &request);
    }
}

#[test]
fn accept_invalid_http_request_relaxes_all_but_two_framings() {
    let table = Requests::new("option accept-invalid-http-request");
    table.raw("a quote", "GET /\" HTTP/1.1\r\nHost: x\r\n\r\n", &[200]);
    table.raw("a byte above 127", "GET /\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n", &[200]);
    table.stricter("two framings", "Content-Length: 3\r\nTransfer-Encoding: chunked", 400);
    table.check("two lengths", "Content-Length: 3\r\nContent-Length: 4", 400);
}

#[test]
fn h2c_is_not_forwarded() {
    if Telamon::is_haproxy() {
        return;
    }
    let table = Requests::new("");
    let mut client = table.telamon.connect();
    client.send(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    let received = table.app.received()[0].to_lowercase();
    assert!(!received.contains("h2c"), "{received}");
}

#[test]
fn answers_that_break_the_grammar_are_a_bad_gateway() {
    let table = Answers::new("");
    let ok = "HTTP/1.1 200 OK\r\n";
    table.check("two lengths", &format!("{ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"));
    table.check("a length that is none", &format!("{ok}Content-Length: x\r\n\r\nab"));
    table.check("a signed length", &format!("{ok}Content-Length: +2\r\n\r\nab"));
    table.check(
        "a blank before the colon",
        &format!("{ok}Name : value\r\nContent-Length: 0\r\n\r\n"),
    );
    table.check("a bare CR", &format!("{ok}A: b\rc\r\nContent-Length: 0\r\n\r\n"));
    table.check("a status with letters", "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n");
    table.check("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n");
    table.check("cut in its head", &format!("{ok}Content-Len"));
    if Telamon::is_haproxy() {
        return;
    }
    table.check(
        "both lengths and chunks",
        &format!("{ok}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    );
    table.check("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n");
    table.check("NUL in a value", &format!("{ok}A: b\0\r\nContent-Length: 0\r\n\r\n"));
    table.check("a folded line", &format!("{ok}A: b\r\n c\r\nContent-Length: 0\r\n\r\n"));
}

/// A proxy before a server, and requests that are to end there.
struct Requests {
    app: TestServer,
    telamon: Telamon,
}

impl Requests {
    fn new(option: &str) -> Self {
        let app = TestServer::named("app");
        let telamon = Telamon::listen(&format!("{option}\nserver {app}"));
        Self { app, telamon }
    }

    /// A POST with these fields beside its Host is answered with the status and not forwarded.
    #[track_caller]
    fn check(&self, name: &str, fields: &str, status: u16) {
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        self.raw(name, &request, &[status]);
    }

    /// As `check`, where HAProxy 2.6 is not as strict.
    #[track_caller]
    fn stricter(&self, name: &str, fields: &str, status: u16) {
        if !Telamon::is_haproxy() {
            self.check(name, fields, status);
        }
    }

    #[track_caller]
    fn raw(&self, name: &str, request: &str, statuses: &[u16]) {
        let before = self.app.requests();
        let mut client = self.telamon.connect();
        client.send(request);
        let status = client.try_response(false).map(|answer| answer.status);
        let status = status.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(statuses.contains(&status), "{name}: {status}");
        if status >= 400 {
            assert_eq!(client.read_to_end(), b"", "{name}: the connection ends");
            assert_eq!(self.app.requests(), before, "{name}: forwarded");
        }
    }

    /// The connection ends with an error or nothing, and the server gets no whole request.
    #[track_caller]
    fn ends(&self, name: &str, request: &str) {
        let before = self.app.received().len();
        let mut client = self.telamon.connect();
        client.send(request);
        let answer = client.read_to_end();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
            "{name}: {:?}",
            String::from_utf8_lossy(&answer)
        );
        let whole = self.app.received().len() - before;
        assert_eq!(whole, 0, "{name}: the server got {:?}", self.app.received());
    }
}

/// A proxy before a server that answers wrongly.
struct Answers {
    app: TestServer,
    telamon: Telamon,
}

impl Answers {
    fn new(option: &str) -> Self {
        let app = TestServer::named("app");
        let telamon = Telamon::listen(&format!("timeout server 300ms\n{option}\nserver {app}"));
        Self { app, telamon }
    }

    #[track_caller]
    fn check(&self, name: &str, answer: &str) {
        self.app.becomes(Behaviour::Raw(answer.into()));
        let mut client = self.telamon.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let status = client.try_response(false).map(|answer| answer.status);
        let status = status.unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected: &[u16] = if name == "cut in its head" { &[502, 504] } else { &[502] };
        assert!(expected.contains(&status), "{name}: {status}");
    }
}
