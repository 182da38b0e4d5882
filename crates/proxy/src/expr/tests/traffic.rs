//! Expressions and conditions against a request and its answer, on a real worker.

use std::cell::Cell;
use std::sync::Arc;

use telamon_config::{Diagnostics, Environment, SectionSpec, Source as Text, read};

use super::*;
use crate::fixture::{self, Memory};
use crate::model::{Password, ProxyId, User, Userlist};
use crate::stream::{Direction, Stream};

mod tls;

const REQUEST: &[u8] = b"GET /a/b.png?x=1&y=2&x=3;z=4 HTTP/1.1\r\n\
    Host: www.Example.com:8080\r\n\
    X-List: one, two,\"a,b\" ,three\r\n\
    X-List: four\r\n\
    X-Ip: nonsense, 10.0.0.1:80\r\n\
    Cookie: a=1; b=2\r\n\
    Cookie: a=3\r\n\
    Authorization: Basic dTpw\r\n\
    Content-Length: 7\r\n\r\nk=v&q=wXX";

const RESPONSE: &[u8] = b"HTTP/1.1 404 Not Found\r\n\
    Set-Cookie: s=abc; path=/\r\n\
    Transfer-Encoding: chunked\r\n\r\n\
    3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";

/// Runs something with a stream that has read the request and the answer.
fn with_stream<R: Send + 'static>(run: impl FnOnce(&Stream) -> R + Send + 'static) -> R {
    fixture::with_stream(fixture::model(), REQUEST, RESPONSE, |stream| run(stream))
}

/// What parsing needs, owned.
struct Configuration {
    directory: Directory,
    lists: Lists,
    files: Memory,
    errors: crate::rules::ErrorSets,
    environment: Environment,
}

impl Configuration {
    fn new() -> Self {
        let user = User {
            password: Password::Clear(b"p".as_slice().into()),
            groups: vec!["admins".into()],
        };
        let users = Userlist {
            name: "people".into(),
            users: HashMap::from([(b"u".as_slice().into(), user)]),
            groups: vec!["admins".into(), "others".into()],
        };
        let directory = Directory {
            proxies: vec![ProxyEntry { name: "fe".into(), frontend: true, ..Default::default() }],
            userlists: HashMap::from([("people".into(), Arc::new(users))]),
            ..Directory::default()
        };
        Self {
            directory,
            lists: Lists::default(),
            files: Memory(HashMap::from([("paths.lst", "/x\n/a/\n")])),
            errors: HashMap::new(),
            environment: Environment::new(),
        }
    }

    fn scope(&self, place: Place) -> ParseScope<'_> {
        ParseScope {
            directory: &self.directory,
            lists: &self.lists,
            files: &self.files,
            errors: &self.errors,
            environment: &self.environment,
            acls: Acls::default(),
            place,
            proxy: Some(ProxyId(0)),
            mode: Mode::Http,
            frontend: true,
            backend: false,
            request_captures: 0,
            response_captures: 0,
            offline: false,
            stick_counters: 3,
            experimental: true,
            line: "file 'test' line 1".to_owned(),
        }
    }
}

/// What an expression gives, as text; `None` is an absent sample, and a mistake is told as one.
fn evaluate(
    text: &str,
    configuration: &Configuration,
    place: Place,
    stream: &Stream,
    direction: Direction,
) -> Option<String> {
    let expr = match Expr::parse_text(text.as_bytes(), &mut configuration.scope(place)) {
        Ok(expr) => expr,
        Err(error) => return Some(format!("{error:?}")),
    };
    let waits = Cell::new(false);
    let value = expr.eval(&Context::for_stream(stream, direction, &waits))?;
    let mut out = Vec::new();
    value.write_text(&mut out);
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Compares expressions with what they give; `None` is an absent sample.
#[track_caller]
fn check_all(direction: Direction, rows: &'static [(&'static str, Option<&'static str>)]) {
    let got = with_stream(move |stream| {
        let configuration = Configuration::new();
        let place = match direction {
            Direction::Request => Place::HttpRequest,
            Direction::Response => Place::HttpResponse,
        };
        let evaluate = |text: &&str| evaluate(text, &configuration, place, stream, direction);
        rows.iter().map(|(text, _)| evaluate(text)).collect::<Vec<_>>()
    });
    for ((text, expected), got) in rows.iter().zip(got) {
        assert_eq!(got.as_deref(), *expected, "{text}");
    }
}

#[test]
fn requests_are_read() {
    check_all(
        Direction::Request,
        &[
            ("method", Some("GET")),
            ("path", Some("/a/b.png")),
            ("pathq", Some("/a/b.png?x=1&y=2&x=3;z=4")),
            ("url", Some("/a/b.png?x=1&y=2&x=3;z=4")),
            ("query", Some("x=1&y=2&x=3;z=4")),
            ("req.ver", Some("1.1")),
            ("base", Some("www.Example.com:8080/a/b.png")),
            ("base32", Some("2509770262")),
            ("url32", Some("717270051")),
            ("hdr_ip(x-ip,1)", None),
            ("hdr_ip(x-ip,2)", Some("10.0.0.1")),
            ("req.hdr_cnt()", Some("12")),
            ("url_ip", None),
            ("urlp()", Some("1")),
            ("req.cook(A)", None),
            ("http_auth_group(people)", Some("u")),
            ("url_param(x)", Some("1")),
            ("urlp(z)", Some("4")),
            ("urlp(none)", None),
            ("urlp_val(y),add(1)", Some("3")),
            ("hdr(host),host_only", Some("www.example.com")),
            ("req.hdr(x-list)", Some("four")),
            ("req.hdr(x-list,1)", Some("one")),
            ("req.hdr(x-list,3)", Some("\"a,b\"")),
            ("req.hdr(x-list,-2)", Some("three")),
            ("req.hdr(x-list,9)", None),
            ("req.hdr_cnt(x-list)", Some("5")),
            ("req.fhdr(x-list,1)", Some("one, two,\"a,b\" ,three")),
            ("req.fhdr_cnt(x-list)", Some("2")),
            ("req.hdr_ip(x-ip)", Some("10.0.0.1")),
            ("req.hdr_val(content-length)", Some("7")),
            (
                "req.hdr_names",
                Some("host,x-list,x-list,x-ip,cookie,cookie,authorization,content-length"),
            ),
            ("req.cook(a)", Some("3")),
            ("req.cook()", Some("1")),
            ("req.cook_cnt(a)", Some("2")),
            ("req.cook_cnt()", Some("3")),
            ("cook_val(b)", Some("2")),
            ("http_auth(people)", Some("1")),
            ("http_auth_user", Some("u")),
            ("http_auth_pass", Some("p")),
            ("http_auth_type", Some("Basic")),
            ("req.body", Some("k=v&q=w")),
            ("req.body_len", Some("7")),
            ("req.body_size", Some("7")),
            ("req.body_param(q)", Some("w")),
            ("req.proto_http", Some("1")),
            ("capture.req.method", Some("GET")),
            ("capture.req.uri", Some("/a/b.png?x=1&y=2&x=3;z=4")),
            ("capture.req.ver", Some("HTTP/1.1")),
            ("src", Some("10.0.0.7")),
            ("src_port", Some("1234")),
            ("dst", Some("10.0.0.8")),
            ("fe_name", Some("fe")),
            ("fe_id", Some("2")),
            ("so_id", Some("1")),
            ("ssl_fc", Some("0")),
            ("path,set-var(txn.p),length", Some("8")),
            ("var(txn.p)", Some("/a/b.png")),
            ("res.hdr(set-cookie)", None),
        ],
    );
}

#[test]
fn answers_are_read() {
    check_all(
        Direction::Response,
        &[
            ("status", Some("404")),
            ("res.ver", Some("1.1")),
            ("res.cook(s)", Some("abc")),
            ("scook(s)", Some("abc")),
            ("hdr(set-cookie)", Some("s=abc; path=/")),
            ("res.body", Some("abcde")),
            ("res.body_len", Some("5")),
            ("method", Some("GET")),
            ("path", None),
            ("capture.res.ver", Some("HTTP/1.1")),
        ],
    );
}

/// Reads lines (`acl …`, then one `if …`) and says whether the condition holds, or what is wrong.
fn judge(stream: &Stream, lines: &str) -> Result<bool, String> {
    let mut text = Text::new();
    text.add("test.cfg", format!("frontend fe\n{lines}\n").into_bytes());
    let mut diagnostics = Diagnostics::new();
    let configuration = Configuration::new();
    let mut environment = Environment::new();
    let sections = read(&text, SectionSpec::HAPROXY, &mut environment, &mut diagnostics);
    let mut scope = configuration.scope(Place::HttpRequest);
    let mut condition = None;
    for line in sections[0].lines() {
        let mut checker = telamon_config::Checker::new(&environment, &mut diagnostics);
        let mut args = checker.args(line);
        if line.keyword().is("acl") {
            Acls::declare(&mut args, &mut scope);
        } else {
            condition = Condition::parse_if_unless(&mut args, &mut scope);
        }
    }
    let waits = Cell::new(false);
    let cx = Context::for_stream(stream, Direction::Request, &waits);
    match (condition, diagnostics.has_errors()) {
        (Some(condition), false) => Ok(condition.holds(&cx)),
        _ => Err(diagnostics.iter().map(|error| format!("{:?}", error.kind)).collect()),
    }
}

#[test]
fn conditions_hold() {
    const ROWS: &[(&str, Option<bool>)] = &[
        ("rule if { path /a/b.png }", Some(true)),
        ("rule if { path_beg /a }", Some(true)),
        ("rule if { path_beg /b }", Some(false)),
        ("rule unless { path_beg /b }", Some(true)),
        ("rule if { path_end -i .PNG }", Some(true)),
        ("rule if { path_end .PNG }", Some(false)),
        ("rule if { path_reg ^/a/.*\\.png$ }", Some(true)),
        ("rule if { path_dir a }", Some(true)),
        ("rule if { path_sub b.p }", Some(true)),
        ("rule if { path_len 8 }", Some(true)),
        ("rule if { hdr_dom(host) -i example.com }", Some(true)),
        ("rule if { hdr(x-list) two }", Some(true)),
        ("rule if { hdr(x-list) -m beg thr fo }", Some(true)),
        ("rule if { hdr(x-list),upper THREE }", Some(true)),
        ("rule if { hdr(none) -m found }", Some(false)),
        ("rule if { hdr(x-list) -m found }", Some(true)),
        ("rule if { hdr_cnt(x-list) ge 5 }", Some(true)),
        ("rule if { hdr_cnt(x-list) gt 5 }", Some(false)),
        ("rule if { hdr_cnt(x-list) 1:4 }", Some(false)),
        ("rule if { src 10.0.0.0/8 }", Some(true)),
        ("rule if { src 192.168.0.0/16 ::1 }", Some(false)),
        ("rule if { path_beg -f paths.lst }", Some(true)),
        ("rule if { cook(a) 1 }", Some(true)),
        ("rule if { cook(a) 4 }", Some(false)),
        ("rule if { urlp(x) 3 }", Some(true)),
        ("rule if METH_GET", Some(true)),
        ("rule if METH_POST", Some(false)),
        ("rule if METH_POST or METH_GET !HTTP_1.0", Some(true)),
        ("rule if !METH_GET || !METH_POST LOCALHOST", Some(false)),
        ("rule if ! METH_POST", Some(true)),
        ("rule if HTTP_CONTENT HTTP_URL_SLASH WAIT_END TRUE", Some(true)),
        ("rule if { http_auth_group(people) admins }", Some(true)),
        ("rule if { http_auth_group(people) others }", Some(false)),
        ("rule if { ssl_fc }", Some(false)),
        ("rule if { method GET POST }", Some(true)),
        ("rule if { always_true,iif(a,b) a }", Some(true)),
        ("rule if { int(5) -m int 5 }", Some(true)),
        ("rule if { req.body -m bin 6b3d762671 6b3d7626713d77 }", Some(true)),
        ("acl x path_beg /no\n acl x path_end png\n rule if x", Some(true)),
        ("acl x path_beg /no\n rule if x", Some(false)),
        // Mistakes.
        ("rule if nosuchacl", None),
        ("rule if { path_bge /a }", None),
        ("rule if { path /a", None),
        ("rule if { path -q /a }", None),
        ("rule if { src nonsense! }", None),
        ("rule if { req.body abc }", None),
        ("rule if { src -m reg x }", Some(false)),
        ("rule if { int(1) x }", None),
        ("rule if { path_reg (?=x) }", None),
        ("rule if METH_GET or", None),
        ("rule if", None),
        ("rule if { sc0_conn_rate gt 1 }", Some(false)),
        ("rule if { sc0_tracked }", Some(false)),
        ("rule if { sc0_conn_rate(none) gt 1 }", None),
    ];
    let got =
        with_stream(|stream| ROWS.iter().map(|(text, _)| judge(stream, text)).collect::<Vec<_>>());
    for ((text, expected), got) in ROWS.iter().zip(got) {
        assert_eq!(got.as_ref().ok(), expected.as_ref(), "{text}: {got:?}");
    }
}

/// What HAProxy 2.6.12 gives for the same request, whose head has 60 bytes.
#[test]
fn a_head_has_the_length_that_it_has_in_haproxys_buffer() {
    let request = b"GET /converter HTTP/1.1\r\nX-Cust: foobar\r\nHost: 127.0.0.1\r\n\r\n";
    let length = fixture::with_stream(fixture::model(), request, RESPONSE, |stream| {
        let configuration = Configuration::new();
        let mut scope = configuration.scope(Place::HttpRequest);
        let expr = Expr::parse_text(b"req.len", &mut scope).expect("an expression");
        let waits = Cell::new(false);
        expr.eval(&Context::for_stream(stream, Direction::Request, &waits)).map(|length| {
            let mut text = Vec::new();
            length.write_text(&mut text);
            text
        })
    });
    assert_eq!(length.as_deref(), Some(&b"67"[..]));
}
