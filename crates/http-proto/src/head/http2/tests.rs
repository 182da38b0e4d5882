//! Tables by section of RFC 9113 and RFC 8441, then what goes in comes out.

use proptest::prelude::*;

use super::*;
use crate::{BodyLength, ChunkedDecoder};

type Pairs<'a> = &'a [(&'a str, &'a str)];

const GET: Pairs<'static> =
    &[(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/p?q")];
const POST: Pairs<'static> =
    &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];

fn bytes<'a>(fields: Pairs<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn read(fields: Pairs<'_>, ends: bool, limits: &Limits) -> Result<Head, E> {
    let mut head = Head::default();
    head.read_http2_request(bytes(fields), ends, limits).map_err(|error| error.kind)?;
    Ok(head)
}

fn written(head: &Head) -> String {
    let mut out = Vec::new();
    head.write_to(&mut out);
    assert_eq!(out.len(), head.len(), "len() is what write_to writes");
    String::from_utf8_lossy(&out).into_owned()
}

/// Everything HTTP/2 would be sent of a head.
fn given(head: &Head) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut out = Vec::new();
    if head.kind() == Kind::Request {
        let pseudo = head.http2_request(true);
        out.push((":method".to_owned(), text(pseudo.method)));
        let rest = [
            (":scheme", pseudo.scheme),
            (":authority", pseudo.authority),
            (":path", pseudo.path),
            (":protocol", pseudo.protocol),
        ];
        out.extend(
            rest.iter().filter_map(|(name, value)| Some(((*name).to_owned(), text((*value)?)))),
        );
    } else {
        out.push((":status".to_owned(), head.http2_status().to_string()));
    }
    head.http2_fields(|name, value| out.push((text(name), text(value))));
    out
}

/// `fields` behind those of a plain GET without content are written to HTTP/1 as `expected` behind request line and Host.
#[track_caller]
fn check(fields: Pairs<'_>, expected: &str) {
    let head = read(&[GET, fields].concat(), true, &Limits::default()).unwrap();
    let expected = format!("GET /p?q HTTP/1.1\r\nhost: a.example\r\n{expected}\r\n");
    assert_eq!(written(&head), expected);
}

#[track_caller]
fn refuse(fields: Pairs<'_>, kind: E) {
    assert_eq!(read(fields, true, &Limits::default()).map(|head| written(&head)), Err(kind));
}

/// `fields` behind those of a plain GET.
#[track_caller]
fn refuse_fields(fields: Pairs<'_>, kind: E) {
    refuse(&[GET, fields].concat(), kind);
}

/// A request of these pseudo-header fields has this target for rules, and this request line and Host in HTTP/1.
#[track_caller]
fn check_target(fields: Pairs<'_>, target: &str, line: &str, host: &str) {
    let head = read(fields, true, &Limits::default()).unwrap();
    assert_eq!(String::from_utf8_lossy(head.target()), target);
    assert_eq!(written(&head), format!("{line} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    assert_eq!(head.version(), Version::Http2);
}

fn pseudo<'a>(
    method: &'a str,
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
}

#[test]
fn rfc9113_8_2_1_field_names_and_values() {
    check(&[("x-a", "b"), ("x", "")], "x-a: b\r\nx: \r\n");
    check(&[("x", "caf\u{e9}\tand")], "x: caf\u{e9}\tand\r\n");
    refuse_fields(&[("X-a", "b")], E::UppercaseName);
    refuse_fields(&[("x-Z", "b")], E::UppercaseName);
    refuse_fields(&[("x a", "b")], E::BadName);
    refuse_fields(&[("", "b")], E::BadName);
    refuse_fields(&[("x:", "b")], E::BadName);
    refuse_fields(&[("x\r\ny", "b")], E::BadName);
    refuse_fields(&[("x\0", "b")], E::BadName);
    refuse_fields(&[("caf\u{e9}", "b")], E::BadName);
    for bad in ["a\0", "a\rb", "a\nb", "a\r\nb: c", "a\u{7f}", "a\u{1}b"] {
        refuse_fields(&[("x", bad)], E::ControlByte);
        refuse(&pseudo("GET", "http", "a", bad), E::ControlByte);
    }
    refuse_fields(&[("x", " b")], E::SpaceAroundValue);
    refuse_fields(&[("x", "b\t")], E::SpaceAroundValue);
    let lenient = Limits { accept_invalid: true, ..Limits::default() };
    let head = read(&[GET, &[("x", " b ")]].concat(), true, &lenient).unwrap();
    assert_eq!(head.header(b"x"), Some(&b"b"[..]));
}

#[test]
fn rfc9113_8_2_2_connection_fields() {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        refuse_fields(&[(name, "x")], E::ConnectionField);
    }
    check(&[("te", "trailers")], "te: trailers\r\n");
    refuse_fields(&[("te", "gzip")], E::ConnectionField);
    refuse_fields(&[("te", "trailers, gzip")], E::ConnectionField);
}

#[test]
fn rfc9113_8_2_3_cookies_are_joined() {
    check(&[("cookie", "a=1")], "cookie: a=1\r\n");
    check(&[("cookie", ""), ("cookie", "a=1"), ("cookie", "")], "cookie: a=1\r\n");
    check(
        &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3; d=4")],
        "x: y\r\ncookie: a=1; b=2; c=3; d=4\r\n",
    );
}

#[test]
fn rfc9113_8_3_pseudo_header_fields() {
    refuse_fields(&[(":path", "/")], E::RepeatedPseudo);
    refuse_fields(&[(":unknown", "/")], E::UnknownPseudo);
    refuse_fields(&[(":status", "200")], E::UnknownPseudo);
    refuse_fields(&[(":", "x")], E::UnknownPseudo);
    refuse_fields(&[("x", "y"), (":unknown", "/")], E::MisplacedPseudo);
    refuse(&[GET[0], ("x", "y"), GET[1], GET[2], GET[3]], E::MissingPseudo);
    for missing in [0, 1, 3] {
        let mut fields = GET.to_vec();
        fields.remove(missing);
        refuse(&fields, E::MissingPseudo);
    }
    refuse(&[], E::MissingPseudo);
}

#[test]
fn rfc9113_8_3_1_targets() {
    check_target(&pseudo("GET", "https", "a", "/p"), "https://a/p", "GET /p", "a");
    check_target(&pseudo("GET", "HTTP", "A:8080", "//p"), "HTTP://A:8080//p", "GET //p", "A:8080");
    check_target(&pseudo("GET", "https", "a:443", "/"), "https://a/", "GET /", "a");
    check_target(&pseudo("GET", "http", "a:", "/?"), "http://a/?", "GET /?", "a");
    check_target(&pseudo("GET", "http", "[::1]:80", "/"), "http://[::1]/", "GET /", "[::1]");
    check_target(&pseudo("OPTIONS", "https", "a", "*"), "https://a", "OPTIONS *", "a");
    check_target(&pseudo("GET", "ftp", "a", "/p"), "ftp://a/p", "GET ftp://a/p", "a");
    check_target(
        &[(":method", "GET"), (":scheme", "http"), (":path", "/p"), ("host", "h")],
        "/p",
        "GET /p",
        "h",
    );
    // Host gives way.
    check_target(
        &[GET, &[("host", "other")]].concat(),
        "https://a.example/p?q",
        "GET /p?q",
        "a.example",
    );
    refuse(&pseudo("GET", "http", "a", ""), E::BadPath);
    refuse(&pseudo("GET", "http", "a", "p"), E::BadPath);
    refuse(&pseudo("GET", "http", "a", "http://b/"), E::BadPath);
    refuse(&pseudo("GET", "http", "a", "*"), E::BadPath);
    refuse(&pseudo("GET", "http", "a", "/a b"), E::BadTarget);
    refuse(&pseudo("GET", "http", "a", "/#f"), E::BadTarget);
    refuse(&pseudo("GET", "http://b/?", "a", "/"), E::BadScheme);
    refuse(&pseudo("GET", "", "a", "/"), E::BadScheme);
    refuse(&pseudo("GET", "http", "", "/"), E::BadHost);
    refuse(&pseudo("GET", "http", "u@a", "/"), E::BadHost);
    for authority in ["a/b", "a?b", "a#b"] {
        refuse(&pseudo("GET", "http", authority, "/"), E::BadHost);
        let lenient = Limits { accept_invalid: true, ..Limits::default() };
        let read = read(&pseudo("OPTIONS", "http", authority, "*"), true, &lenient);
        assert_eq!(read.err(), Some(E::BadHost));
    }
    refuse(&pseudo("GET", "http", "a b", "/"), E::BadHost);
    refuse(&pseudo("GET", "https", "a::443", "/"), E::BadHost);
    refuse(&pseudo("GET", "https", ":443", "/"), E::BadHost);
    refuse(&pseudo("G T", "http", "a", "/"), E::BadMethod);
    refuse(&pseudo("", "http", "a", "/"), E::BadMethod);
    let nowhere = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let mut without = read(&nowhere, true, &Limits::default()).unwrap();
    assert_eq!(written(&without), "GET / HTTP/1.1\r\n\r\n");
    without.say_host().unwrap();
    assert_eq!(written(&without), "GET / HTTP/1.1\r\nhost: \r\n\r\n");
    refuse(
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a"), ("host", "a")],
        E::DuplicateHost,
    );
}

#[test]
fn faults_that_haproxy_answers_are_told_from_those_that_reset() {
    let resets = |fields: Pairs<'_>| {
        let read = Head::default().read_http2_request(bytes(fields), true, &Limits::default());
        read.unwrap_err().resets_stream()
    };
    assert!(resets(&[GET, &[("X", "y")]].concat()));
    assert!(resets(&pseudo("GET", "http", "a", "p")));
    assert!(!resets(&pseudo("G T", "http", "a", "/")));
    assert!(!resets(&pseudo("GET", "://", "a", "/")));
    assert!(!resets(
        &pseudo("GET", "http", "a", "/ ")[..3]
            .iter()
            .copied()
            .chain([(":path", "/a b")])
            .collect::<Vec<_>>()
    ));
}

#[test]
fn rfc9113_8_5_connect() {
    check_target(
        &[(":method", "CONNECT"), (":authority", "a:443")],
        "a:443",
        "CONNECT a:443",
        "a:443",
    );
    refuse(&[(":method", "CONNECT")], E::MissingPseudo);
    refuse(&[(":method", "CONNECT"), (":authority", "a")], E::BadTarget);
    refuse(&pseudo("CONNECT", "http", "a:1", "/"), E::ForbiddenPseudo);
}

#[test]
fn rfc8441_4_extended_connect() {
    let fields: Pairs<'_> = &[
        &pseudo("CONNECT", "https", "a", "/chat")[..],
        &[(":protocol", "websocket"), ("sec-websocket-version", "13")],
    ]
    .concat();
    let request = read(fields, false, &Limits::default()).unwrap();
    assert_eq!(
        written(&request),
        "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\nupgrade: websocket\r\n\
         connection: upgrade\r\n\r\n",
    );
    assert!(request.wants_upgrade());
    assert_eq!(request.request_body(), BodyLength::None);
    let mut stripped = request;
    stripped.strip_hop_by_hop().unwrap();
    assert!(stripped.wants_upgrade());
    let expected: Vec<_> = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    assert_eq!(given(&stripped), expected);

    let mut response = Head::default();
    let answer: Pairs<'_> = &[(":status", "200"), ("sec-websocket-protocol", "chat")];
    response.read_http2_response(bytes(answer), false, &stripped, &Limits::default()).unwrap();
    assert_eq!(
        written(&response),
        "HTTP/1.1 101 \r\nsec-websocket-protocol: chat\r\nupgrade: websocket\r\n\
         connection: upgrade\r\n\r\n",
    );
    assert_eq!(response.response_body(stripped.method_kind(), true), Ok(BodyLength::Tunnel));
    assert_eq!(
        given(&response),
        [(":status", "200"), ("sec-websocket-protocol", "chat")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
    let refused: Pairs<'_> = &[(":status", "403")];
    response.read_http2_response(bytes(refused), true, &stripped, &Limits::default()).unwrap();
    assert_eq!(
        (response.status(), response.response_body(Method::Get, true)),
        (403, Ok(BodyLength::None))
    );

    let protocol = (":protocol", "websocket");
    refuse(&[GET, &[protocol]].concat(), E::ForbiddenPseudo);
    refuse(&[(":method", "CONNECT"), (":authority", "a"), protocol], E::MissingPseudo);
    refuse(
        &[(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), protocol],
        E::MissingPseudo,
    );
}

/// What HTTP/1 is told of the content of a request.
#[track_caller]
fn check_body(fields: Pairs<'_>, ends: bool, expected: Result<(BodyLength, &str), E>) {
    let read = read(fields, ends, &Limits::default()).map(|mut head| {
        head.say_no_content().unwrap();
        let told: Vec<String> = head
            .headers()
            .filter(|header| matches!(header.name, b"content-length" | b"transfer-encoding"))
            .map(|header| String::from_utf8_lossy(header.value).into_owned())
            .collect();
        assert!(given(&head).iter().all(|(name, _)| name != "transfer-encoding"));
        written(&head);
        (head.request_body(), told.join("+"))
    });
    assert_eq!(read, expected.map(|(length, told)| (length, told.to_owned())));
}

#[test]
fn rfc9113_8_1_1_content_and_its_length() {
    check_body(GET, true, Ok((BodyLength::None, "")));
    check_body(GET, false, Ok((BodyLength::Chunked, "chunked")));
    check_body(POST, true, Ok((BodyLength::None, "0")));
    check_body(POST, false, Ok((BodyLength::Chunked, "chunked")));
    let with = |value| [POST, &[("content-length", value)]].concat();
    check_body(&with("5"), false, Ok((BodyLength::Length(5), "5")));
    check_body(&with("0"), true, Ok((BodyLength::None, "0")));
    check_body(&with("5"), true, Err(E::LengthWithoutContent));
    check_body(&with("5, 6"), false, Err(E::DifferingContentLength));
    check_body(&with("x"), false, Err(E::BadContentLength));
    let twice = |a, b| [POST, &[("content-length", a), ("content-length", b)]].concat();
    check_body(&twice("5", "5"), false, Ok((BodyLength::Length(5), "5")));
    check_body(&twice("5", "6"), false, Err(E::DifferingContentLength));
}

/// What HTTP/1 is told of a response to a request of that method.
#[track_caller]
fn check_response(
    method: &str,
    fields: Pairs<'_>,
    ends: bool,
    expected: Result<(BodyLength, &str), E>,
) {
    let mut request = Head::default();
    request
        .start_request(
            method.as_bytes(),
            if method == "CONNECT" { b"a:1" } else { b"/" },
            Version::Http11,
            1024,
        )
        .unwrap();
    let mut head = Head::default();
    let read = head
        .read_http2_response(bytes(fields), ends, &request, &Limits::default())
        .map_err(|error| error.kind)
        .map(|()| {
            head.say_no_content().unwrap();
            (head.response_body(request.method_kind(), false).unwrap(), written(&head))
        });
    assert_eq!(read, expected.map(|(length, text)| (length, text.to_owned())));
}

#[test]
fn rfc9113_8_3_2_responses() {
    check_response(
        "GET",
        &[(":status", "200")],
        false,
        Ok((BodyLength::Chunked, "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n")),
    );
    check_response(
        "GET",
        &[(":status", "200")],
        true,
        Ok((BodyLength::None, "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n")),
    );
    check_response(
        "GET",
        &[(":status", "200"), ("content-length", "3")],
        false,
        Ok((BodyLength::Length(3), "HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n")),
    );
    check_response(
        "HEAD",
        &[(":status", "200"), ("content-length", "3")],
        true,
        Ok((BodyLength::None, "HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n")),
    );
    check_response(
        "HEAD",
        &[(":status", "200")],
        true,
        Ok((BodyLength::None, "HTTP/1.1 200 \r\n\r\n")),
    );
    check_response(
        "GET",
        &[(":status", "304"), ("x", "y")],
        true,
        Ok((BodyLength::None, "HTTP/1.1 304 \r\nx: y\r\n\r\n")),
    );
    check_response(
        "GET",
        &[(":status", "103"), ("link", "y")],
        false,
        Ok((BodyLength::None, "HTTP/1.1 103 \r\nlink: y\r\n\r\n")),
    );
    check_response(
        "CONNECT",
        &[(":status", "200")],
        false,
        Ok((BodyLength::Tunnel, "HTTP/1.1 200 \r\n\r\n")),
    );
    check_response(
        "GET",
        &[(":status", "200"), ("cookie", "a"), ("cookie", "b"), ("host", "c")],
        true,
        Ok((
            BodyLength::None,
            "HTTP/1.1 200 \r\ncookie: a\r\ncookie: b\r\nhost: c\r\ncontent-length: 0\r\n\r\n",
        )),
    );
    check_response(
        "GET",
        &[(":status", "200"), ("content-length", "3")],
        true,
        Err(E::LengthWithoutContent),
    );
    check_response("GET", &[], true, Err(E::MissingPseudo));
    check_response("GET", &[("x", "y")], true, Err(E::MissingPseudo));
    check_response("GET", &[(":status", "200"), (":path", "/")], true, Err(E::UnknownPseudo));
    check_response(
        "GET",
        &[(":status", "200"), ("connection", "close")],
        true,
        Err(E::ConnectionField),
    );
    for status in ["101", "99", "1000", "2x0", "", "+20"] {
        check_response("GET", &[(":status", status)], true, Err(E::BadStatus));
    }
}

#[test]
fn limits_are_those_of_http1() {
    let limits = Limits { headers_max: 4, head_max: 200, ..Limits::default() };
    let fields = |n: usize| [GET, &vec![("x", "y"); n]].concat();
    assert!(read(&fields(2), true, &limits).is_ok());
    assert_eq!(read(&fields(3), true, &limits).err(), Some(E::TooManyHeaders));
    let long = "v".repeat(200);
    assert_eq!(read(&[GET, &[("x", &long)]].concat(), true, &limits).err(), Some(E::HeadTooLarge));
    assert_eq!(
        read(&pseudo("GET", "http", "a", &format!("/{long}")), true, &limits).err(),
        Some(E::HeadTooLarge)
    );
    assert_eq!(
        read(&[GET, &[("cookie", &long), ("cookie", "a")]].concat(), true, &limits).err(),
        Some(E::HeadTooLarge)
    );
}

#[test]
fn edits_keep_what_http1_is_sent_whole() {
    let edited = |edit: fn(&mut Head)| {
        let mut head = read(GET, true, &Limits::default()).unwrap();
        edit(&mut head);
        let text = written(&head);
        text.split(" HTTP").next().unwrap_or_default().to_owned()
    };
    assert_eq!(edited(|head| head.set_path(b"/new").unwrap()), "GET /new?q");
    assert_eq!(edited(|head| head.set_query(b"").unwrap()), "GET /p?");
    assert_eq!(edited(|head| head.set_path_and_query(b"").unwrap()), "GET /");
    assert_eq!(edited(|head| head.set_target(b"/t").unwrap()), "GET /t");
    assert_eq!(edited(|head| head.set_target(b"http://b/t").unwrap()), "GET http://b/t");
    assert_eq!(edited(|head| head.set_target(b"").unwrap_err().to_string().clear()), "GET /p?q");
    assert_eq!(edited(|head| head.set_method(b"PUT").unwrap()), "PUT /p?q");
    assert_eq!(edited(Head::normalize_authority), "GET /p?q");
}

#[test]
fn requests_of_http1_are_given_to_http2() {
    #[track_caller]
    fn check(text: &str, secure: bool, expected: Pairs<'_>) {
        let mut head = Head::default();
        head.input_mut().extend_from_slice(text.as_bytes());
        let limits = Limits { keep_case: true, ..Limits::default() };
        head.parse_request(&limits).unwrap().unwrap();
        head.strip_hop_by_hop().unwrap();
        let _ = secure;
        let given = given(&head);
        let given: Vec<_> = given.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(given, expected);
    }
    check(
        "GET /p HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, x\r\nX: 1\r\nTE: trailers\r\nAccept: *\r\n\r\n",
        true,
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "h"),
            (":path", "/p"),
            ("te", "trailers"),
            ("accept", "*"),
        ],
    );
    check(
        "POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nProxy-Connection: x\r\n\r\n",
        true,
        &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
    );
    check(
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        true,
        &[(":method", "OPTIONS"), (":scheme", "https"), (":authority", "a"), (":path", "*")],
    );
    check(
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
        true,
        &[(":method", "CONNECT"), (":authority", "a:1")],
    );
    check(
        "GET / HTTP/1.0\r\n\r\n",
        true,
        &[(":method", "GET"), (":scheme", "https"), (":path", "/")],
    );
    check(
        "GET /c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        true,
        &[
            (":method", "CONNECT"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/c"),
            (":protocol", "websocket"),
            ("sec-websocket-version", "13"),
        ],
    );
}

/// Trailers of HTTP/2 become this end of a chunked body, which gives the same fields again.
#[track_caller]
fn check_trailers(fields: Pairs<'_>, expected: Result<&str, E>) {
    let mut out = b"before".to_vec();
    let done = write_http2_trailers(bytes(fields), &Limits::default(), &mut out);
    let Ok(expected) = expected else {
        assert_eq!((done.map_err(|error| error.kind), &*out), (expected.map(drop), &b"before"[..]));
        return;
    };
    assert_eq!(String::from_utf8_lossy(&out[6..]), expected);
    let mut decoder = ChunkedDecoder::new();
    assert_eq!(decoder.relay(&out[6..]), Ok(expected.len()));
    assert!(decoder.is_done());
    let again: Vec<_> = trailer_fields(&out[6 + 3..]).map(|h| (h.name, h.value)).collect();
    assert_eq!(again, bytes(fields).collect::<Vec<_>>());
}

#[test]
fn rfc9113_8_1_trailers() {
    check_trailers(&[], Ok("0\r\n\r\n"));
    check_trailers(
        &[("grpc-status", "0"), ("grpc-message", "")],
        Ok("0\r\ngrpc-status: 0\r\ngrpc-message: \r\n\r\n"),
    );
    check_trailers(&[(":status", "200")], Err(E::MisplacedPseudo));
    check_trailers(&[("a", "b"), ("Upper", "x")], Err(E::UppercaseName));
    check_trailers(&[("a", "b\r\nc: d")], Err(E::ControlByte));
    check_trailers(&[("connection", "x")], Err(E::ConnectionField));
    check_trailers(&[("content-length", "1")], Err(E::ForbiddenTrailer));
    check_trailers(&[("host", "x")], Err(E::ForbiddenTrailer));
    check_trailers(&[("te", "trailers")], Err(E::ForbiddenTrailer));
    check_trailers(&[("a", &"b".repeat(9000))], Err(E::TrailersTooLarge));
    let section = b"Grpc-Status:  0 \r\nKeep-Alive: x\r\nX: y\r\n\r\n";
    let fields: Vec<_> = trailer_fields(section).map(|h| (h.name, h.value)).collect();
    assert_eq!(fields, [(&b"Grpc-Status"[..], &b"0"[..]), (b"X", b"y")]);
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        method in "[A-Z]{1,7}",
        authority in "[a-z]{1,8}(:[1-9][0-9]{3})?",
        path in "/[a-z0-9/]{0,12}(\\?[a-z=&]{0,8})?",
        fields in prop::collection::vec(("x-[a-z0-9]{1,8}", "([!-~]([ -~]{0,8}[!-~])?)?"), 0..8),
    ) {
        prop_assume!(method != "CONNECT");
        let mut all: Vec<(&str, &str)> = pseudo(&method, "https", &authority, &path).to_vec();
        all.extend(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let head = read(&all, true, &Limits::default()).unwrap();
        let expected: Vec<_> =
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        prop_assert_eq!(given(&head), expected.clone());
        // And by way of HTTP/1.
        let mut over = Head::default();
        over.input_mut().extend_from_slice(written(&head).as_bytes());
        over.parse_request(&Limits::default()).unwrap().unwrap();
        prop_assert_eq!(given(&over), expected);
    }
}
