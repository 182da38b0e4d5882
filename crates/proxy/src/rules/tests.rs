//! Rules as they are written, and what they do to a message. The bytes of answers are those that Debian's haproxy 2.6.12
//! sent for the same lines.

use std::collections::HashMap;

use telamon_config::{Checker, Diagnostics, Environment, SectionSpec, Source as Text, read};

use super::*;
use crate::expr::{Acls, Directory, ParseScope, Place, ProxyEntry};
use crate::fixture::{self, Memory};
use crate::model::{ErrorReplies, HeaderCapture, Mode, Model, ProxyId};

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: 1\r\nX-A: 2\r\nx-list: a=1, b=2,c\r\n\r\nabc";

/// Reads the lines of a frontend `fe` into a model; the second is what is wrong with them.
fn load(lines: &str) -> (Model, Vec<String>) {
    let mut text = Text::new();
    let lines = lines.replace('\n', "\n    ");
    text.add("test.cfg", format!("frontend fe\n    {lines}\n").into_bytes());
    let mut diagnostics = Diagnostics::new();
    let mut environment = Environment::new();
    let sections = read(&text, SectionSpec::HAPROXY, &mut environment, &mut diagnostics);
    let files = Memory(HashMap::from([
        (
            "e503",
            "HTTP/1.0 503 Service Unavailable\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\nhi\n",
        ),
        ("e404", "HTTP/1.1 404 Nope\r\nContent-Length: 3\r\nX-Foo: Bar\r\n\r\nabc"),
        ("short", "HTTP/1.1 404 Nope\r\nContent-Length: 4\r\n\r\nabc"),
        ("text", "some text"),
        ("empty", ""),
    ]));
    let directory = Directory {
        proxies: vec![
            ProxyEntry { name: "fe".into(), frontend: true, ..Default::default() },
            ProxyEntry { name: "be".into(), backend: true, ..Default::default() },
        ],
        ..Default::default()
    };
    let mut set = ErrorReplies::default();
    let message = b"HTTP/1.1 404 Set\r\nContent-Length: 0\r\n\r\n".to_vec();
    set.set(404, Reply::from_message(404, message).expect("a message").into());
    let errors = ErrorSets::from([("set".into(), (set, Location::COMMAND_LINE))]);
    let mut model = fixture::model();
    let mut scope = ParseScope {
        directory: &directory,
        lists: &model.lists,
        files: &files,
        errors: &errors,
        environment: &environment,
        acls: Acls::default(),
        place: Place::HttpRequest,
        proxy: Some(ProxyId(0)),
        mode: Mode::Http,
        frontend: true,
        backend: false,
        request_captures: 0,
        response_captures: 1,
        offline: false,
        stick_counters: 3,
        experimental: true,
        line: "file 'test' line 1".to_owned(),
    };
    let proxy = &mut model.proxies[0];
    proxy.captures.response.push(HeaderCapture { header: None, len: 4 });
    let rules = &mut proxy.rules;
    let mut routes = Vec::new();
    for line in sections[0].lines() {
        let mut checker = Checker::new(&environment, &mut diagnostics);
        let args = &mut checker.args(line);
        let scope = &mut scope;
        match line.keyword().text {
            "http-request" => {
                let rule = parse_http_request_rule(args, scope);
                if let Some(capture) = rule.as_ref().and_then(|rule| rule.action.capture())
                    && let Some(len) = capture.len
                {
                    scope.request_captures += 1;
                    proxy.captures.request.push(HeaderCapture { header: None, len });
                }
                rules.http_request.extend(rule);
            }
            "http-response" => rules.http_response.extend(parse_http_response_rule(args, scope)),
            "http-after-response" => {
                rules.http_after_response.extend(parse_after_response_rule(args, scope));
            }
            "redirect" => rules.http_request.extend(parse_redirect_rule(args, scope)),
            "tcp-request" => {
                args.accept("content");
                scope.mode = Mode::Tcp;
                scope.place = Place::TcpRequestContent;
                rules.tcp_request_content.extend(parse_tcp_request_rule(args, scope));
            }
            "use_backend" => {
                scope.place = Place::UseBackend;
                routes.extend(parse_use_backend_rule(args, scope));
            }
            "http-error" => {
                if let Some(reply) = parse_http_error(args, scope) {
                    proxy.errors.set(reply.status, reply.into());
                }
            }
            other => panic!("{other}"),
        }
    }
    proxy.frontend.as_mut().expect("a frontend").use_backend = Routes::new(routes);
    let mistakes = diagnostics.iter().map(|error| {
        let explanation = error.kind.explain();
        format!("{}: {}", explanation.title, explanation.label.unwrap_or_default())
    });
    let mistakes = mistakes.collect();
    (model, mistakes)
}

/// What a verdict comes to, as text.
fn show(verdict: Verdict, head: &Head) -> String {
    let bytes = |answer: Answer| {
        if !answer.head.is_complete() {
            return "nothing".to_owned();
        }
        let mut bytes = Vec::new();
        answer.head.write_to(&mut bytes);
        bytes.extend_from_slice(&answer.body);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    match verdict {
        Verdict::Pass if !head.is_complete() => "passed".to_owned(),
        Verdict::Pass => {
            let mut bytes = Vec::new();
            head.write_to(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Verdict::Answer(answer) if answer.denied => format!("denied {}", bytes(*answer)),
        Verdict::Answer(answer) => bytes(*answer),
        Verdict::Tarpit(answer) => format!("tarpit {}", bytes(*answer)),
        Verdict::Close { silent } => format!("close {silent}"),
        Verdict::WaitForBody { resume, time, at_least } => {
            format!("body {resume} {time:?} {at_least}")
        }
        Verdict::LookUp { resume, pending } => format!("look up {resume} {pending:?}"),
        Verdict::Wait { resume, timeout } => format!("wait {resume} {timeout:?}"),
    }
}

/// Runs the `http-request` rules among `lines` over a request.
fn request(lines: &str, request: &'static str) -> String {
    let (model, mistakes) = load(lines);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    fixture::with_stream(model, request.as_bytes(), RESPONSE, |stream| {
        let snapshot = stream.snapshot.clone();
        stream.request_input_complete = false;
        let verdict =
            run_http_request(&snapshot.proxy(stream.frontend).rules.http_request, stream, 0);
        let hints = String::from_utf8_lossy(&stream.early_hints).into_owned();
        hints + &show(verdict, &stream.request)
    })
}

const GET: &str = "GET /p/a?q=1 HTTP/1.1\r\nHost: ex.org:80\r\n\r\n";

#[track_caller]
fn check(lines: &str, expected: &str) {
    assert_eq!(request(lines, GET), expected);
}

/// The request line and fields that come out.
#[track_caller]
fn check_edit(lines: &str, expected: &str) {
    let got = request(lines, GET);
    let got = got.strip_suffix("\r\n\r\n").expect("a head").replace("\r\n", "|");
    assert_eq!(got.replace("|host: ex.org:80", ""), expected, "{lines}");
}

#[track_caller]
fn check_response(lines: &str, expected: &str) {
    let (model, mistakes) = load(lines);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let got = fixture::with_stream(model, GET.as_bytes(), RESPONSE, |stream| {
        let snapshot = stream.snapshot.clone();
        let verdict =
            run_http_response(&snapshot.proxy(stream.frontend).rules.http_response, stream, 0);
        run_after_response_sets(stream);
        show(verdict, &stream.response)
    });
    assert_eq!(got.replace("\r\n", "|").trim_end_matches('|'), expected, "{lines}");
}

#[track_caller]
fn check_mistake(line: &str, expected: &str) {
    let (_, mistakes) = load(line);
    let first = mistakes.first().map_or("", |mistake| mistake.trim_end_matches([':', ' ']));
    assert_eq!(first, expected, "{mistakes:?}");
}

const FORBIDDEN: &str = "<html><body><h1>403 Forbidden</h1>\n\
    Request forbidden by administrative rules.\n</body></html>\n";

#[test]
fn denials_are_those_of_haproxy() {
    let page = format!(
        "denied HTTP/1.1 403 Forbidden\r\ncontent-length: 93\r\ncache-control: no-cache\r\n\
         content-type: text/html\r\n\r\n{FORBIDDEN}"
    );
    check("http-request deny", &page);
    check("http-request deny if { path /p/a }", &page);
    check("http-request allow\nhttp-request deny", &request("", GET));
    check("http-request deny unless { path /p/a }", &request("", GET));
    check(
        "http-request deny status 418",
        "denied HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n",
    );
    check(
        "http-request deny status 403 hdr x-y \"%[path]\"",
        "denied HTTP/1.1 403 Forbidden\r\nx-y: /p/a\r\ncontent-length: 0\r\n\r\n",
    );
    check(
        "http-request deny status 403 content-type text/plain string no hdr x-y %[path]",
        "denied HTTP/1.1 403 Forbidden\r\nx-y: /p/a\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nno",
    );
    check(
        "http-request deny errorfile e404",
        "denied HTTP/1.1 404 Nope\r\ncontent-length: 3\r\nx-foo: Bar\r\n\r\nabc",
    );
    check(
        "http-request deny status 404 errorfiles set",
        "denied HTTP/1.1 404 Set\r\ncontent-length: 0\r\n\r\n",
    );
    check("http-request deny errorfile /dev/null", "denied nothing");
    check("http-request reject", "close false");
    check("http-request silent-drop", "close true");
    assert!(
        request("http-request tarpit", GET)
            .starts_with("tarpit HTTP/1.1 500 Internal Server Error\r\n")
    );
}

#[test]
fn configured_errors_replace_pages() {
    let errors = "http-error status 503 errorfile e503\n\
        http-error status 429 content-type text/plain string slow hdr x-a %[path]\n\
        http-error status 502 content-type text/plain lf-string p=%[path] hdr X-B b\n";
    let with = |rule: &str| errors.to_owned() + rule;
    check(
        &with("http-request deny deny_status 503"),
        "denied HTTP/1.0 503 Service Unavailable\r\ncache-control: no-cache\r\nconnection: close\r\n\r\nhi\n",
    );
    check(
        &with("http-request deny deny_status 429"),
        "denied HTTP/1.1 429 Too Many Requests\r\nx-a: /p/a\r\ncontent-length: 4\r\ncontent-type: text/plain\r\n\r\nslow",
    );
    check(
        &with("http-request return status 502 default-errorfiles"),
        "HTTP/1.1 502 Bad Gateway or Proxy Error\r\nx-b: b\r\ncontent-length: 6\r\ncontent-type: text/plain\r\n\r\np=/p/a",
    );
}

#[test]
fn early_messages_end_the_connection() {
    let message = |lines: &str| {
        let (model, mistakes) = load(lines);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        fixture::with_stream(model, GET.as_bytes(), RESPONSE, |stream| {
            configured_message(stream, 400)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        })
    };
    assert_eq!(message(""), None);
    assert_eq!(message("http-error status 400 errorfile /dev/null").as_deref(), Some(""));
    assert_eq!(
        message("http-error status 400 errorfile e404").as_deref(),
        Some(
            "HTTP/1.1 404 Nope\r\ncontent-length: 3\r\nx-foo: Bar\r\nconnection: close\r\n\r\nabc"
        )
    );
    assert_eq!(
        message("http-error status 400 errorfile e503").as_deref(),
        Some("HTTP/1.0 503 Service Unavailable\r\ncache-control: no-cache\r\n\r\nhi\n")
    );
}

#[test]
fn errorloc_redirects() {
    let (mut model, _) = load("");
    let body = ReplyBody::Location(b"/see".as_slice().into());
    let reply = Reply { status: 303, body, headers: Vec::new() };
    model.proxies[0].errors.set(405, reply.into());
    let got = fixture::with_stream(model, GET.as_bytes(), RESPONSE, |stream| {
        let answer = error_reply(stream, 405);
        show(Verdict::Answer(Box::new(answer)), &Head::default())
    });
    assert_eq!(
        got,
        "HTTP/1.1 303 See Other\r\ncache-control: no-cache\r\ncontent-length: 0\r\nlocation: /see\r\n\r\n"
    );
}

#[test]
fn answers_are_those_of_haproxy() {
    check("http-request return", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    check("http-request return status 204", "HTTP/1.1 204 No Content\r\n\r\n");
    check(
        "http-request return content-type text/plain string hello hdr X-Foo \"a b\" hdr Y %[path]",
        "HTTP/1.1 200 OK\r\nx-foo: a b\r\ny: /p/a\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello",
    );
    check(
        "http-request return content-type text/plain lf-string \"p %[path]\\n\"",
        "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-type: text/plain\r\n\r\np /p/a\n",
    );
    check(
        "http-request return hdr a %[req.hdr(none)] hdr b c",
        "HTTP/1.1 200 OK\r\nb: c\r\ncontent-length: 0\r\n\r\n",
    );
    check(
        "http-request return content-type text/x file text",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ncontent-type: text/x\r\n\r\nsome text",
    );
    check(
        "http-request auth",
        "denied HTTP/1.1 401 Unauthorized\r\ncontent-length: 112\r\ncache-control: no-cache\r\n\
         content-type: text/html\r\nwww-authenticate: Basic realm=\"fe\"\r\n\r\n\
         <html><body><h1>401 Unauthorized</h1>\n\
         You need a valid user and password to access this content.\n</body></html>\n",
    );
    check(
        "http-request early-hint Link \"a; %[path]\"\nhttp-request early-hint Link b\n\
         http-request return",
        "HTTP/1.1 103 Early Hints\r\nlink: a; /p/a\r\nlink: b\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    );
}

#[test]
fn redirects_are_those_of_haproxy() {
    const FOUND: &str = "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: ";
    const END: &str = "\r\ncache-control: no-cache\r\n\r\n";
    #[track_caller]
    fn found(rule: &str, location: &str) {
        check(&format!("http-request redirect {rule}"), &format!("{FOUND}{location}{END}"));
        check(&format!("redirect {rule}"), &format!("{FOUND}{location}{END}"));
    }
    found("location /abc", "/abc");
    found("prefix https://h", "https://h/p/a?q=1");
    found("prefix https://h/p drop-query append-slash", "https://h/p/p/a/");
    found("prefix /", "/p/a?q=1");
    found("prefix https://h append-slash", "https://h/p/a?q=1/");
    found("scheme https", "https://ex.org:80/p/a?q=1");
    found("location %[req.hdr(x-none)]", "");
    check(
        "http-request redirect code 301 location /abc?%[path]",
        "HTTP/1.1 301 Moved Permanently\r\ncontent-length: 0\r\nlocation: /abc?/p/a\r\n\r\n",
    );
    check(
        "redirect location /abc code 303",
        "HTTP/1.1 303 See Other\r\ncontent-length: 0\r\nlocation: /abc\r\ncache-control: no-cache\r\n\r\n",
    );
    check(
        "redirect location /abc set-cookie A=b",
        "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: /abc\r\ncache-control: no-cache\r\n\
         set-cookie: A=b; path=/;\r\n\r\n",
    );
    check(
        "redirect location /abc clear-cookie A=",
        "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: /abc\r\ncache-control: no-cache\r\n\
         set-cookie: A=; path=/; Max-Age=0;\r\n\r\n",
    );
    check("redirect location %[req.hdr(x-none)] ignore-empty", &request("", GET));
}

#[test]
fn requests_are_edited() {
    check_edit("http-request set-header X-A b", "GET /p/a?q=1 HTTP/1.1|x-a: b");
    check_edit(
        "http-request add-header x %[src]\nhttp-request add-header x 2",
        "GET /p/a?q=1 HTTP/1.1|x: 10.0.0.7|x: 2",
    );
    check_edit(
        "http-request set-header x-a 1\nhttp-request set-header x-b 2\nhttp-request del-header x- -m beg",
        "GET /p/a?q=1 HTTP/1.1",
    );
    check_edit(
        "http-request set-header x-a 1\nhttp-request set-header y-b 2\nhttp-request del-header ^y -m reg",
        "GET /p/a?q=1 HTTP/1.1|x-a: 1",
    );
    check_edit("http-request set-path /x", "GET /x?q=1 HTTP/1.1");
    check_edit("http-request set-pathq /x", "GET /x HTTP/1.1");
    check_edit("http-request set-query %[path]", "GET /p/a?/p/a HTTP/1.1");
    check_edit("http-request set-uri /y?z", "GET /y?z HTTP/1.1");
    check_edit("http-request set-method PUT", "PUT /p/a?q=1 HTTP/1.1");
    check_edit("http-request replace-path /p/(.*) /\\1/z", "GET /a/z?q=1 HTTP/1.1");
    check_edit("http-request replace-path /q/(.*) /\\1/z", "GET /p/a?q=1 HTTP/1.1");
    check_edit("http-request replace-uri ([^?]*).* \\1", "GET /p/a HTTP/1.1");
    check_edit(
        "http-request replace-header host (.*):.* \\1:%[path]\nhttp-request allow",
        "GET /p/a?q=1 HTTP/1.1|host: ex.org:/p/a",
    );
    check_edit(
        "http-request set-var(txn.a) str(x)\nhttp-request set-var(txn.a,ifnotset) str(y)\n\
         http-request set-header v %[var(txn.a)]",
        "GET /p/a?q=1 HTTP/1.1|v: x",
    );
    check_edit(
        "http-request set-var-fmt(req.a) %[path]-%[method]\nhttp-request set-header v %[var(req.a)]\n\
         http-request unset-var(req.a)\nhttp-request set-header w %[var(req.a)]",
        "GET /p/a?q=1 HTTP/1.1|v: /p/a-GET|w: ",
    );
    check_edit(
        "http-request set-src hdr(none)\nhttp-request set-src str(1.2.3.4)\nhttp-request set-src-port int(7)\n\
         http-request set-header s %[src]:%[src_port]",
        "GET /p/a?q=1 HTTP/1.1|s: 1.2.3.4:7",
    );
    check_edit(
        "http-request capture path len 3\nhttp-request set-header c %[capture.req.hdr(0)]",
        "GET /p/a?q=1 HTTP/1.1|c: /p/",
    );
    check_edit(
        "http-request set-uri /a//b/../c\nhttp-request normalize-uri path-merge-slashes\n\
         http-request normalize-uri path-strip-dotdot full",
        "GET /a/c HTTP/1.1",
    );
}

#[test]
fn a_failed_rewrite_is_an_internal_error_unless_lenient() {
    let lenient = "http-request strict-mode off\nhttp-request set-method \"a b\"";
    assert_eq!(request(lenient, GET), request("", GET));
    let strict = request("http-request set-method \"a b\"", GET);
    assert!(strict.starts_with("HTTP/1.1 500 Internal"), "{strict}");
    let bad = "http-request set-path /%%z\nhttp-request normalize-uri percent-to-uppercase strict";
    let bad = request(bad, GET);
    assert!(bad.starts_with("HTTP/1.1 400 Bad request"), "{bad}");
}

#[test]
fn bodies_are_waited_for() {
    check(
        "http-request deny if { path /x }\nhttp-request wait-for-body time 2s",
        "body 2 2s 18446744073709551615",
    );
    check("http-request wait-for-body time 2s at-least 1k", "body 1 2s 1024");
    check_response("http-response wait-for-body time 1s at-least 9", "body 1 1s 9");
}

#[test]
fn the_rule_that_ends_a_set_is_known() {
    #[track_caller]
    fn check(lines: &str, expected: Option<u32>) {
        let (model, mistakes) = load(lines);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let line = fixture::with_stream(model, GET.as_bytes(), RESPONSE, |stream| {
            let snapshot = stream.snapshot.clone();
            let rules = &snapshot.proxy(stream.frontend).rules;
            run_tcp_request_content(&rules.tcp_request_content, stream, 0);
            run_http_request(&rules.http_request, stream, 0);
            stream.last_rule.map(|at| at.line)
        });
        // The lines follow the section's own.
        assert_eq!(line, expected.map(|line| line + 1), "{lines}");
    }
    check("http-request set-header a b\nhttp-request deny if { path /x }", None);
    check("http-request set-header a b\nhttp-request deny if { path /p/a }", Some(2));
    check("http-request wait-for-body time 1s", None);
    check("http-request redirect location /\nhttp-request allow", Some(1));
    check("tcp-request content accept\nhttp-request set-var(txn.a) int(1)", Some(1));
    check("tcp-request content accept\nhttp-request allow", Some(2));
}

#[test]
fn responses_are_edited() {
    let rest = "content-length: 3";
    check_response(
        "http-response del-header x-a\nhttp-response replace-value x-list (.)=(.) \\2=\\1",
        &format!("HTTP/1.1 200 OK|{rest}|x-list: 1=a, 2=b,c"),
    );
    check_response(
        "http-response del-header x-list\nhttp-response replace-header x-a (.*) <\\1>",
        &format!("HTTP/1.1 200 OK|{rest}|x-a: <1>|x-a: <2>"),
    );
    check_response(
        "http-response del-header x -m sub\nhttp-response set-status 503 reason \"So it is\"",
        &format!("HTTP/1.1 503 So it is|{rest}"),
    );
    check_response(
        "http-response del-header x- -m beg\nhttp-after-response set-header x-s %[status]\n\
         http-response capture res.hdr(content-length) id 0\nhttp-after-response add-header c %[capture.res.hdr(0)]",
        &format!("HTTP/1.1 200 OK|{rest}|x-s: 200|c: 3"),
    );
    check_response("http-response return status 204 if { status 200 }", "HTTP/1.1 204 No Content");
}

#[test]
fn backends_are_chosen() {
    let chosen = |lines: &str| {
        let (model, mistakes) = load(lines);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        fixture::with_stream(model, GET.as_bytes(), RESPONSE, |stream| {
            let snapshot = stream.snapshot.clone();
            let frontend = snapshot.proxy(stream.frontend).frontend.as_ref().expect("a frontend");
            frontend.use_backend.choose(stream)
        })
    };
    assert_eq!(chosen("use_backend be if { path /x }"), None);
    assert_eq!(chosen("use_backend %[path]\nuse_backend be if { path_beg /p }"), Some(ProxyId(1)));
}

/// An index changes what a choice costs, never what it is: each rule is also asked alone, in order.
#[test]
fn many_routes_are_chosen_among_as_in_order() {
    const CONDITIONS: [&str; 22] = [
        "{ path /never }",
        "{ path_beg /ab } { method POST }",
        "! { path_beg /a } { path_end .css }",
        "{ path_beg -i /ABC/d }",
        "{ path_dir c }",
        "{ path_dir /x/ } or { path_end .png }",
        "{ path -m str /abc/def }",
        "{ hdr(host) -i A.example.org }",
        "{ hdr_dom(host) -i example.net }",
        "{ hdr_end(host) .org } { path_beg /q }",
        "{ hdr(x-list) two }",
        "{ path_reg ^/r[0-9]+$ }",
        "{ path_sub zzz }",
        "{ url_param(k) v } || { path_beg /k }",
        "{ req.hdr(host),lower b.example.org }",
        "{ path_len 1 }",
        "{ path,lower /mixed }",
        "{ hdr_beg(host) www. www2. }",
        "{ path_beg / } { hdr(host) -m found } { path_end .php }",
        "{ path_beg /abcdef /abcd /abc/d/e/f }",
        "{ path_beg /s } !{ path_beg /secret }",
        "{ path_dom css }",
    ];
    let targets = [
        "/",
        "/ab",
        "/abc",
        "/abcdef",
        "/abc/def",
        "/ABC/D",
        "/a.css",
        "/style.css",
        "/x",
        "/xx/x/y.png",
        "/q",
        "/r12",
        "/azzzb",
        "/p?k=v",
        "/k",
        "/Mixed",
        "/index.php",
        "/s",
        "/secret",
        "/a/c/b",
        "/abc/d/e/f",
        "/none",
    ];
    let hosts = ["a.Example.org", "B.example.org", "www2.a", "x.example.net:80", "other"];
    let numbered = |condition: &str| format!("use_backend be if {condition}\n");
    let all: String = CONDITIONS.into_iter().map(numbered).collect();
    for target in targets {
        for host in hosts {
            let request =
                format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nX-List: one, two\r\n\r\n").leak();
            let holds = |rules: &str| {
                let (model, mistakes) = load(rules);
                assert!(mistakes.is_empty(), "{mistakes:?}");
                fixture::with_stream(model, request.as_bytes(), RESPONSE, |stream| {
                    let snapshot = stream.snapshot.clone();
                    let frontend = snapshot.proxy(stream.frontend).frontend.as_ref();
                    let routes = &frontend.expect("a frontend").use_backend;
                    let indexed = routes.possible(stream).map_or(Vec::new(), |places| {
                        places.into_iter().filter(|place| routes.holds(*place, stream)).collect()
                    });
                    let each =
                        (0..CONDITIONS.len() as u32).filter(|place| routes.holds(*place, stream));
                    (indexed, each.collect::<Vec<_>>(), routes.choose(stream).is_some())
                })
            };
            let (indexed, each, chosen) = holds(&all);
            assert_eq!(indexed, each, "{target} {host}");
            assert_eq!(chosen, !each.is_empty(), "{target} {host}");
        }
    }
}

#[test]
fn a_list_that_changes_puts_an_index_out_of_use() {
    let rules: String =
        (0..20).map(|n| format!("use_backend be if {{ path_beg /app-{n}/ }}\n")).collect();
    let (model, mistakes) = load(&rules);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let seen = fixture::with_stream(
        model,
        b"GET /app-7/x HTTP/1.1\r\nHost: a\r\n\r\n",
        RESPONSE,
        |stream| {
            let snapshot = stream.snapshot.clone();
            let routes =
                &snapshot.proxy(stream.frontend).frontend.as_ref().expect("a frontend").use_backend;
            let before = routes.possible(stream);
            let list = snapshot.lists.find("#3").expect("the list of the fourth rule");
            list.add(&[(b"/other", None)], None).expect("added");
            (before, routes.possible(stream), routes.choose(stream))
        },
    );
    assert_eq!(seen, (Some(vec![7]), None, Some(ProxyId(1))));
}

#[test]
fn contents_are_waited_for() {
    let (model, mistakes) = load(
        "tcp-request content reject if { req.len 100 }\ntcp-request content accept if { req.len ge 3 }",
    );
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let got = fixture::with_stream(
        model,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        RESPONSE,
        |stream| {
            let snapshot = stream.snapshot.clone();
            let rules = &snapshot.proxy(stream.frontend).rules.tcp_request_content;
            let run = |stream: &mut Stream, complete| {
                stream.request_input_complete = complete;
                let verdict = run_tcp_request_content(rules, stream, 0);
                show(verdict, &Head::default())
            };
            [run(stream, false), run(stream, true)]
        },
    );
    assert_eq!(got, ["wait 0 None", "passed"]);
}

#[test]
fn mistakes_are_named() {
    check_mistake("http-request dney", "unknown action `dney`: did you mean `deny`?");
    check_mistake("http-request", "`http-request` lacks an action: expected an action after this");
    check_mistake("http-request deny foo", "unknown reply option `foo`");
    check_mistake(
        "http-request deny status 199",
        "status 199 is out of range: expected 200 to 599",
    );
    check_mistake(
        "http-request deny deny_status 418",
        "bad status `418`: expected one that has an error page: 200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501, 502, 503, 504",
    );
    check_mistake(
        "http-request deny content-type a/b",
        "`a/b` has no effect here: there is no body for it",
    );
    check_mistake("http-request return string x", "string needs `content-type`");
    check_mistake(
        "http-request return status 204 content-type a string x",
        "a body with status 204 needs a status that has a body",
    );
    check_mistake(
        "http-request return errorfile short",
        "bad error file `short`: expected a whole HTTP response (its content-length is 4, its body has 3 bytes)",
    );
    check_mistake("http-request return errorfile none", "cannot read none: entity not found");
    check_mistake("http-request return string x file text", "file cannot be combined with string");
    check_mistake(
        "http-request return errorfiles nobody",
        "there is no http-errors section `nobody`",
    );
    check_mistake(
        "http-request set-header",
        "`set-header` lacks the name of a header: expected the name of a header after this",
    );
    check_mistake(
        "http-request set-header a",
        "`set-header` lacks a format string: expected a format string after this",
    );
    check_mistake(
        "http-request set-header a: b",
        "bad header name `a:`: expected letters, digits, `-`, `_` and the like",
    );
    check_mistake(
        "http-request set-header a b c",
        "unexpected `c` after `set-header`: not expected here",
    );
    check_mistake("http-request set-header a %[nope]", "unknown fetch `nope`");
    check_mistake(
        "http-request replace-path (a b",
        "bad regular expression `(a`: expected one that can be used (invalid regular expression: unclosed group)",
    );
    check_mistake(
        "http-request set-var(txn) str(a)",
        "bad variable `txn`: expected a scope (proc, sess, txn, req, res, check), a dot, and a name of letters, digits, '_' and '.'",
    );
    check_mistake("http-request set-var(txn.a,ifso) str(a)", "unknown condition `ifso`");
    check_mistake(
        "http-request set-var txn.a str(a)",
        "unknown action `set-var`: did you mean `set-var(…)`?",
    );
    check_mistake(
        "http-request unset-var(txn.a,ifset)",
        "unexpected `ifset` after `unset-var(<name>`: not expected here",
    );
    check_mistake(
        "http-request redirect",
        "`redirect` lacks `location`, `prefix` or `scheme`: expected `location`, `prefix` or `scheme` after this",
    );
    check_mistake(
        "http-request redirect location /a code 304",
        "unknown code `304`: did you mean `301`?",
    );
    check_mistake(
        "http-request redirect location /a drop-qery",
        "unknown redirect option `drop-qery`: did you mean `drop-query`?",
    );
    check_mistake(
        "http-response redirect prefix /a",
        "bad kind of redirect `prefix`: expected `location`, the only one for responses",
    );
    check_mistake(
        "http-request track-sc0 src",
        "`track-sc0` lacks a `stick-table` in its own section, or the name of one: expected a `stick-table` in its own section, or the name of one after this",
    );
    check_mistake("http-request track-sc0 src table fee", "there is no stick table `fee`");
    check_mistake(
        "http-request track-sc4 src",
        "bad counter `4`: expected from 0 to 2 (`tune.stick-counters`)",
    );
    check_mistake(
        "http-request sc-inc-gpc(1)",
        "bad action `sc-inc-gpc(1)`: expected `sc-inc-gpc(<index>,<counter>)`",
    );
    check_mistake(
        "http-request sc-inc-gpc0(7)",
        "bad counter `7`: expected from 0 to 2 (`tune.stick-counters`)",
    );
    check_mistake("http-request sc-set-gpt0(0) str(a),length,nope", "unknown converter `nope`");
    check_mistake("http-request lua.x", "`lua.x` is known to HAProxy, not yet to Telamon");
    check_mistake(
        "http-request cache-use c",
        "`cache-use` is known to HAProxy, not yet to Telamon",
    );
    check_mistake(
        "http-request set-nice 5",
        "`set-nice` has no effect here: every connection of a worker gets its turn",
    );
    check_mistake(
        "http-request wait-for-body",
        "`wait-for-body` lacks `time`: expected `time` after this",
    );
    check_mistake(
        "http-request normalize-uri path-merge",
        "bad normalizer `path-merge`: expected `fragment-encode`, `fragment-strip`, `path-merge-slashes`, `path-strip-dot`, `path-strip-dotdot`, `percent-decode-unreserved`, `percent-to-uppercase` or `query-sort-by-name`",
    );
    check_mistake("http-request set-log-level loud", "unknown log level `loud`");
    check_mistake(
        "http-request capture src",
        "`capture` lacks `len` or `id`: expected `len` or `id` after this",
    );
    check_mistake(
        "http-request capture src len 0",
        "length 0 is out of range: expected 1 to 65536",
    );
    check_mistake(
        "http-response capture src len 3",
        "`capture` lacks `id`: expected `id` after this",
    );
    check_mistake(
        "http-request set-timeout server 5s",
        "`set-timeout` does not belong in `frontend`: belongs in `defaults`, `listen` or `backend`",
    );
    check_mistake(
        "http-request set-src bool(1)",
        "bad sample `bool(1)`: expected one that gives addr, not bool",
    );
    check_mistake("http-request deny if", "`deny` lacks an acl: expected an acl after this");
    check_mistake("http-request deny if { path", "`{` lacks `}`: expected `}` after this");
    check_mistake("use_backend nowhere", "there is no backend `nowhere`");
    check_mistake("http-error 503", "`http-error` lacks `status`: expected `status` after this");
    check_mistake(
        "http-error status 505 errorfile e404",
        "bad status `505`: expected one that has an error page: 200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501, 502, 503, 504",
    );
    check_mistake("tcp-request content accep", "unknown action `accep`: did you mean `accept`?");
    check_mistake("tcp-request content expect-proxy layer4", "unknown action `expect-proxy`");
    check_mistake("http-response set-path /x", "unknown action `set-path`");
    check_mistake("http-after-response deny", "unknown action `deny`");
    check_mistake(
        "redirect",
        "`redirect` lacks `location`, `prefix` or `scheme`: expected `location`, `prefix` or `scheme` after this",
    );
    check_mistake("http-request deny if nope", "there is no acl `nope`");
    check_mistake("http-request set-status 200", "unknown action `set-status`");
    check_mistake(
        "http-request add-acl x y",
        "unknown action `add-acl`: did you mean `add-acl(…)`?",
    );
}
