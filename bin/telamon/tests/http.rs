//! HTTP/1 through `mode http`, as a client and a server see it.

use std::fs;
use std::time::Duration;

use telamon_testkit::{Behaviour, RawClient, Response, Telamon, TestServer, eventually, free_port};

#[test]
fn keep_alive_on_both_sides_uses_one_server_connection() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "app");
    }
    assert_eq!((app.requests(), app.connections()), (5, 1));
}

#[test]
fn clients_share_server_connections_as_http_reuse_says() {
    check_reuse("never", 4);
    check_reuse("always", 1);
}

#[track_caller]
fn check_reuse(mode: &str, connections: usize) {
    let app = TestServer::named("app");
    let lines = format!("http-reuse {mode}\nserver {app}\nglobal\nnbthread 1");
    let telamon = Telamon::listen(&lines);
    for _ in 0..4 {
        assert_eq!(telamon.connect().get("/").text(), "app");
    }
    assert_eq!(app.connections(), connections, "http-reuse {mode}");
}

#[test]
fn a_server_connection_that_died_idle_costs_no_client_an_error() {
    if Telamon::is_haproxy() {
        return; // it closes the client's connection, which is to try again
    }
    let app = TestServer::start("app", Behaviour::ClosesAfterAnswer);
    let telamon = Telamon::listen(&format!("http-reuse always\nserver {app}"));
    let mut client = telamon.connect();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "app");
    }
}

#[test]
fn bodies_of_answers_arrive_whole_however_they_are_framed() {
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
fn check_body(behaviour: Behaviour, body: &[u8]) {
    let app = TestServer::start("app", behaviour);
    let telamon = Telamon::listen(&format!("server {app}"));
    let answer = telamon.connect().get("/");
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{answer:?}");
}

#[test]
fn bodies_of_requests_arrive_whole_however_they_are_framed() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().text(), "app");
    client.send("POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n");
    client.send("3;x=y\r\nllo\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "app");
    let large = "x".repeat(200_000);
    client.send(format!("POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{large}"));
    assert_eq!(client.response().text(), "app");
    let received = app.received();
    assert!(received[0].ends_with("\r\n\r\nhello"), "{received:?}");
    assert!(received[1].ends_with("\r\n\r\nhello"), "{received:?}");
    assert!(received[2].ends_with(&large));
    assert_eq!(app.connections(), 1);
}

#[test]
fn trailers_pass_in_both_directions() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2\r\nok\r\n0\r\nX-Sum: 17\r\n\r\n";
    let app = TestServer::start("app", Behaviour::Raw(answer.to_vec()));
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("2\r\nhi\r\n0\r\nX-Mine: 4\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.text(), "ok");
    let trailers: Vec<_> =
        answer.trailers.iter().map(|(n, v)| (n.to_lowercase(), v.as_str())).collect();
    assert_eq!(trailers, [("x-sum".to_owned(), "17")]);
    assert!(app.received()[0].to_lowercase().ends_with("\r\n\r\nhix-mine: 4\r\n"));
}

#[test]
fn head_204_and_304_have_no_body_and_leave_the_connection_open() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.try_response(true).unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("3")));
    for status in ["204 No Content", "304 Not Modified"] {
        app.becomes(Behaviour::Raw(format!("HTTP/1.1 {status}\r\nETag: \"a\"\r\n\r\n").into()));
        let answer = client.get("/");
        assert_eq!(answer.status_line, format!("HTTP/1.1 {status}"));
        assert_eq!(answer.header("etag"), Some("\"a\""));
    }
    app.becomes(Behaviour::Name);
    assert_eq!(client.get("/").text(), "app");
}

#[test]
fn interim_answers_are_relayed() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.response().status, 100);
    client.send("hi");
    assert_eq!(client.response().text(), "app");

    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    app.becomes(Behaviour::Raw(hints.to_vec()));
    let early = client.get("/");
    assert_eq!((early.status, early.header("link")), (103, Some("</a.css>")));
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn an_answer_passes_before_the_request_has_ended() {
    let early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno".to_vec();
    let app = TestServer::start("app", Behaviour::Early(early));
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nsome");
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (413, "no"));
    drop(client);
    app.becomes(Behaviour::Name);
    assert_eq!(telamon.connect().get("/").text(), "app");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let app = TestServer::named("app");
    let telamon =
        Telamon::listen("http-request return status 200 content-type text/plain lf-string %[path]");
    let mut client = telamon.connect();
    let pipelined: String =
        (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    client.send(&pipelined);
    for n in 0..20 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send(&pipelined);
    for _ in 0..20 {
        assert_eq!(client.response().text(), "app");
    }
    for (n, request) in app.received().iter().enumerate() {
        assert!(request.starts_with(&format!("GET /{n} ")), "{request}");
    }
}

#[test]
fn http_1_0_closes_unless_it_asks_to_stay() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().text(), "app");
    assert_eq!(client.read_to_end(), b"");

    let mut client = telamon.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.response();
        assert_eq!(answer.text(), "app");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
}

#[test]
fn an_http_1_0_client_gets_the_content_of_chunks() {
    if Telamon::is_haproxy() {
        return; // it sends chunks, which RFC 9112, section 6.1 forbids
    }
    let app = TestServer::start("app", Behaviour::Chunked(vec![b"he".to_vec(), b"llo".to_vec()]));
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.header("transfer-encoding"), answer.text().as_str()), (None, "hello"));
}

#[test]
fn targets_of_every_form_reach_the_server() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    for (request, line) in [
        ("GET http://x.test/a?b HTTP/1.1\r\nHost: x.test", "GET http://x.test/a?b HTTP/1.1"),
        ("OPTIONS * HTTP/1.1\r\nHost: x.test", "OPTIONS * HTTP/1.1"),
        ("GET /%41/../?q=/ HTTP/1.1\r\nHost: x.test", "GET /%41/../?q=/ HTTP/1.1"),
        ("PURGE / HTTP/1.1\r\nHost: x.test", "PURGE / HTTP/1.1"),
    ] {
        let mut client = telamon.connect();
        client.send(format!("{request}\r\n\r\n"));
        assert_eq!(client.response().text(), "app", "{request}");
        let received = app.received().pop().unwrap_or_default();
        assert_eq!(received.lines().next(), Some(line));
        assert!(received.to_lowercase().contains("\r\nhost: x.test\r\n"), "{received}");
    }
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let app = TestServer::start("app", Behaviour::UpgradeEcho);
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    assert_eq!(client.get("/").text(), "app");
    client.send(
        "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let answer = client.response();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    for size in [1, 100, 100_000] {
        let bytes = vec![b'0' + (size % 10) as u8; size];
        client.send(&bytes);
        assert!(client.read_exactly(size) == bytes);
    }
    client.half_close();
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn forwardfor_names_the_client() {
    check_forwarded("option forwardfor", "", "x-forwarded-for: 127.0.0.1\r\n");
    check_forwarded("option forwardfor header X-Client", "", "x-client: 127.0.0.1\r\n");
    check_forwarded("option forwardfor except 127.0.0.0/8", "", "");
    let said = "X-Forwarded-For: 10.1.1.1\r\n";
    check_forwarded("option forwardfor if-none", said, "x-forwarded-for: 10.1.1.1\r\n");
    let both = "x-forwarded-for: 10.1.1.1\r\nx-forwarded-for: 127.0.0.1\r\n";
    check_forwarded("option forwardfor", said, both);
}

#[track_caller]
fn check_forwarded(option: &str, said: &str, expected: &str) {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("{option}\nserver {app}"));
    let mut client = telamon.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{said}\r\n"));
    assert_eq!(client.response().text(), "app");
    let received = app.received()[0].to_lowercase();
    assert_eq!(received, format!("get / http/1.1\r\nhost: x\r\n{expected}\r\n"), "{option}");
}

#[test]
fn connection_options_decide_which_side_is_closed() {
    check_sides("option http-keep-alive", true, 1);
    check_sides("option http-server-close", true, 2);
    check_sides("option httpclose", false, 2);
}

/// Whether the client's connection stays, and how many connections two requests took to the server.
#[track_caller]
fn check_sides(option: &str, client_stays: bool, connections: usize) {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("{option}\nserver {app}"));
    let mut client = telamon.connect();
    let answer = client.get("/");
    assert_eq!(answer.text(), "app");
    if client_stays {
        assert_eq!(client.get("/").text(), "app", "{option}");
    } else {
        assert_eq!(answer.header("connection"), Some("close"), "{option}");
        assert_eq!(client.read_to_end(), b"");
        assert_eq!(telamon.connect().get("/").text(), "app");
    }
    assert_eq!(app.connections(), connections, "{option}");
}

#[test]
fn what_connection_names_stays_between_two_hops() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nKeep: me\r\n\r\n");
    assert_eq!(client.response().text(), "app");
    assert_eq!(client.read_to_end(), b"");
    assert!(!app.received()[0].to_lowercase().contains("\r\nconnection: close"));
    assert!(app.received()[0].to_lowercase().contains("\r\nkeep: me\r\n"));
}

#[test]
fn errors_have_haproxys_bytes() {
    let nobody = format!("timeout connect 50ms\nserver s 127.0.0.1:{}", free_port());
    check_error(
        &nobody,
        GET,
        503,
        "Service Unavailable",
        "No server is available to handle this request.",
    );
    let dies = TestServer::start("s", Behaviour::Dies);
    let garbage = TestServer::start("s", Behaviour::Raw(b"nonsense\r\n\r\n".to_vec()));
    for bad in [&dies, &garbage] {
        check_error(
            &format!("server {bad}"),
            GET,
            502,
            "Bad Gateway",
            "The server returned an invalid or incomplete response.",
        );
    }
    let silent = TestServer::start("s", Behaviour::Silent);
    check_error(
        &format!("timeout server 200ms\nserver {silent}"),
        GET,
        504,
        "Gateway Time-out",
        "The server didn't respond in time.",
    );
    let bad = "GET / nonsense\r\n\r\n";
    check_error(&nobody, bad, 400, "Bad request", "Your browser sent an invalid request.");
    let slow = "timeout http-request 200ms";
    let partial = "GET / HTTP/1.1\r\n";
    check_error(
        slow,
        partial,
        408,
        "Request Time-out",
        "Your browser didn't send a complete request in time.",
    );
    let denied = "http-request deny";
    check_error(denied, GET, 403, "Forbidden", "Request forbidden by administrative rules.");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// That the answer is HAProxy's page for the status, to the byte.
#[track_caller]
fn check_error(lines: &str, request: &str, status: u16, reason: &str, sentence: &str) {
    let telamon = Telamon::listen(lines);
    let mut client = telamon.connect();
    client.send(request);
    let page = format!("<html><body><h1>{status} {reason}</h1>\n{sentence}\n</body></html>\n");
    let answer = client.response();
    assert_eq!(answer.text(), page);
}

#[test]
fn error_pages_are_haproxys_to_the_byte() {
    let telamon = Telamon::listen("timeout http-request 200ms");
    let check = |request: &str, expected: &str| {
        let mut client = telamon.connect();
        client.send(request);
        assert_eq!(String::from_utf8_lossy(&client.read_to_end()), expected);
    };
    check(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 107\r\ncache-control: no-cache\r\n\
         content-type: text/html\r\nconnection: close\r\n\r\n\
         <html><body><h1>503 Service Unavailable</h1>\n\
         No server is available to handle this request.\n</body></html>\n",
    );
    check(
        "GET / nonsense\r\n\r\n",
        "HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nCache-Control: no-cache\r\n\
         Connection: close\r\nContent-Type: text/html\r\n\r\n\
         <html><body><h1>400 Bad request</h1>\n\
         Your browser sent an invalid request.\n</body></html>\n",
    );
    check(
        "GET /",
        "HTTP/1.1 408 Request Time-out\r\nContent-length: 110\r\nCache-Control: no-cache\r\n\
         Connection: close\r\nContent-Type: text/html\r\n\r\n\
         <html><body><h1>408 Request Time-out</h1>\n\
         Your browser didn't send a complete request in time.\n</body></html>\n",
    );
}

#[test]
fn an_errorfile_replaces_the_answer() {
    let folder = telamon_testkit::Scratch::new();
    let file = folder.join("503.http");
    let bytes =
        "HTTP/1.1 503 Back soon\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nsoon\n";
    fs::write(&file, bytes).unwrap();
    let telamon = Telamon::listen(&format!("errorfile 503 {}", file.display()));
    let answer = telamon.connect().get("/");
    assert_eq!(
        (answer.status_line.as_str(), answer.text().as_str()),
        ("HTTP/1.1 503 Back soon", "soon\n")
    );
    assert_eq!(answer.header("content-type"), Some("text/plain"));
}

#[test]
fn monitor_uri_answers_itself_and_monitor_fail_says_so() {
    let telamon = Telamon::listen("monitor-uri /alive");
    let answer = telamon.connect().get("/alive");
    let page = "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n";
    assert_eq!((answer.status, answer.text().as_str()), (200, page));
    assert_eq!(telamon.connect().get("http://test/alive").status, 200);
    // Written as a whole, it is meant as a whole.
    let telamon = Telamon::listen("monitor-uri http://test/alive");
    assert_eq!(telamon.connect().get("http://test/alive").status, 200);
    assert_eq!(telamon.connect().get("/alive").status, 503);
    let telamon = Telamon::listen("monitor-uri /alive\nmonitor fail if TRUE");
    assert_eq!(telamon.connect().get("/alive").status, 503);
}

#[test]
fn redirects_say_where_to() {
    check_redirect("redirect location /new", 302, "/new");
    check_redirect("redirect prefix http://y code 301", 301, "http://y/a?b");
    check_redirect("redirect prefix http://y drop-query code 307", 307, "http://y/a");
    check_redirect("redirect scheme https code 308", 308, "https://x/a?b");
    check_redirect("http-request redirect location https://z%[path] code 303", 303, "https://z/a");
}

#[track_caller]
fn check_redirect(rule: &str, status: u16, location: &str) {
    let telamon = Telamon::listen(rule);
    let mut client = telamon.connect();
    client.send("GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status, answer.header("location")), (status, Some(location)), "{rule}");
}

#[test]
fn a_request_cut_at_any_byte_ends_quietly_and_one_in_single_bytes_is_whole() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("server {app}"));
    let request = b"POST /p?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nfoobar";
    for cut in 0..request.len() {
        let mut client = telamon.connect();
        client.send(&request[..cut]);
        if cut % 2 == 0 {
            drop(client);
        } else {
            client.half_close();
            assert!(answers_to_a_cut(&client.read_to_end()), "cut at {cut}");
        }
    }
    let mut whole = telamon.connect();
    whole.send(request);
    let expected = whole.response();
    let mut single = telamon.connect();
    for byte in request {
        single.send([*byte]);
    }
    assert_eq!(single.response(), expected);
    let complete = app.received().iter().filter(|r| r.ends_with("foobar")).count();
    assert_eq!(complete, 2, "{:?}", app.received());
}

/// Nothing, or an error that says that the request was not complete.
fn answers_to_a_cut(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 400 ")
}

#[test]
fn a_server_that_breaks_off_ends_the_answer_early() {
    let app = TestServer::start("app", Behaviour::CutsShort(1000));
    let telamon = Telamon::listen(&format!("timeout server 300ms\nserver {app}"));
    check_broken(telamon.connect());
    app.becomes(Behaviour::Stalls(1000));
    check_broken(telamon.connect());
    app.becomes(Behaviour::Name);
    assert_eq!(telamon.connect().get("/").text(), "app");
}

#[track_caller]
fn check_broken(mut client: RawClient) {
    client.send(GET);
    let seen = client.try_response(false).expect_err("half an answer");
    assert_eq!(seen.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(client.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn an_idle_client_is_left_after_the_keep_alive_time() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("timeout http-keep-alive 200ms\nserver {app}"));
    let mut client = telamon.connect();
    let answer: Response = client.get("/");
    assert_eq!(answer.text(), "app");
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn connections_without_a_choice_belong_to_their_client() {
    let app = TestServer::named("app");
    check_direct(&app, &format!("dispatch {}", app.address()));
    // The client's own destination, with another port.
    check_direct(
        &app,
        &format!("option transparent\nhttp-request set-dst-port int({})", app.port()),
    );
}

/// As haproxy does it.
#[test]
fn a_server_that_follows_the_destination_is_shared_by_those_who_connected_to_the_same() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!("http-reuse always\nserver app 0.0.0.0:{}", app.port()));
    for _ in 0..2 {
        assert_eq!(telamon.connect().get("/").text(), "app");
        let kept = |column| telamon.stat("web", "app", column).parse::<u32>().unwrap_or(0);
        eventually("the server's connection is idle", || {
            kept("idle_conn_cur") + kept("safe_conn_cur") == 1
        });
    }
    assert_eq!(app.connections(), 1);
}

#[track_caller]
fn check_direct(app: &TestServer, lines: &str) {
    let before = app.connections();
    let telamon = Telamon::listen(&format!("http-reuse always\n{lines}"));
    for _ in 0..2 {
        let mut client = telamon.connect();
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "app", "{lines}");
        }
    }
    assert_eq!(app.connections() - before, 2, "{lines}");
}

#[test]
fn rules_may_refuse_an_answer_without_a_word() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!(
        "tcp-response inspect-delay 1s\n\
         tcp-response content reject if {{ capture.req.uri -m beg /no }}\nserver {app}"
    ));
    let mut client = telamon.connect();
    assert_eq!(client.get("/yes").text(), "app");
    client.send("GET /no HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_to_end(), b"");
}
