//! Whole lines.
//!
//! Expected lines that name HAProxy were received on a UDP socket from HAProxy 2.6.12 (one worker, in UTC, on a host called
//! `vm`) with the format of the row, in front of a server that answers `abc` with `Set-Cookie: SID=srv`; the requests were
//! sent by a script, and times, ports and process ids were copied into the facts.

use super::builtin::Builtin;
use super::date::Stamp;
use super::template::{Style, Template, TemplateErrorKind};
use super::termination::{Cause, Phase};
use super::variable::{Facts, Peer};

type Captures = [Option<Box<[u8]>>];

const LOG: Style = Style { mandatory: true, merge_spaces: true, http: false, http_mode: true };
const HEADER: Style = Style { mandatory: false, merge_spaces: false, http: true, http_mode: true };

fn inet(text: &str) -> Option<Peer> {
    Some(Peer::Ip(text.parse().expect("an address")))
}

/// A request that went well, taking 1 ms.
pub(super) fn answered<'a>(requests: &'a Captures, responses: &'a Captures) -> Facts<'a> {
    Facts {
        client: inet("127.0.0.1:41830"),
        local: inet("127.0.0.1:15101"),
        listener: 1,
        tls: None,
        server_source: inet("127.0.0.1:40000"),
        server_address: inet("127.0.0.1:15199"),
        frontend: "all",
        backend: "be",
        backend_http: true,
        server: "s1",
        started: Stamp { seconds: 1_795_186_785, micros: 821_500 },
        handshake_ms: 0,
        idle_ms: 0,
        request_ms: Some(0),
        queue_ms: Some(0),
        connect_ms: Some(0),
        response_ms: Some(1),
        total_ms: 1,
        bytes_in: 110,
        bytes_out: 142,
        early: false,
        status: 200,
        cookies: [Some(b"SID=cli"), Some(b"SID=srv")],
        cause: Cause::None,
        phase: Phase::None,
        cookie_state: *b"--",
        active: 1,
        frontend_active: 1,
        backend_active: 0,
        server_active: 0,
        retries: 0,
        redispatched: false,
        server_queue: 0,
        backend_queue: 0,
        request_captures: requests,
        response_captures: responses,
        request_line: Some(b"GET /a?b=c HTTP/1.1"),
        number: 0,
        line: 0,
        hostname: "vm",
        pid: 30642,
        unique_id: Some(b"7F000001:A366_7F000001:3AFD_6B006061_0000:77B2"),
    }
}

/// A second request on a connection that was no HTTP, 149 ms after the first had ended.
fn refused() -> Facts<'static> {
    Facts {
        server_source: None,
        server_address: None,
        backend: "all",
        server: "<NOSRV>",
        started: Stamp { seconds: 1_795_186_785, micros: 972_500 },
        idle_ms: 149,
        request_ms: None,
        queue_ms: None,
        connect_ms: None,
        response_ms: None,
        total_ms: 0,
        bytes_in: 0,
        bytes_out: 0,
        status: 400,
        cookies: [None, None],
        cause: Cause::Proxy,
        phase: Phase::Request,
        request_line: None,
        number: 1,
        line: 1,
        unique_id: None,
        ..answered(&[], &[])
    }
}

fn slots(values: &[&str]) -> Vec<Option<Box<[u8]>>> {
    values.iter().map(|value| (*value != "-").then(|| value.as_bytes().into())).collect()
}

/// Samples in these tests are texts that stand for themselves; `-` is an absent one.
fn render(format: &str, style: Style, facts: &Facts<'_>) -> String {
    let mut sample = |at: usize| {
        let len = format[at..].find(']')?;
        Some((format[at..at + len].to_owned(), at + len))
    };
    let template = Template::parse(format.as_bytes(), style, &mut sample).expect("a format");
    let mut out = Vec::new();
    let evaluate = |sample: &String, out: &mut Vec<u8>| {
        if sample != "-" {
            out.extend_from_slice(sample.as_bytes());
        }
    };
    template.render(Some(facts), evaluate, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[track_caller]
fn check(format: &str, facts: &Facts<'_>, expected: &str) {
    assert_eq!(render(format, LOG, facts), expected, "{format}");
}

#[track_caller]
fn check_header(format: &str, facts: &Facts<'_>, expected: &str) {
    assert_eq!(render(format, HEADER, facts), expected, "{format}");
}

const EVERY_VARIABLE: &str = "ci=%ci cp=%cp fi=%fi fp=%fp bi=%bi si=%si sp=%sp f=%f ft=%ft b=%b \
    s=%s t=%t tr=%tr T=%T Tl=%Tl trg=%trg trl=%trl Ts=%Ts ms=%ms Th=%Th Ti=%Ti Tq=%Tq TR=%TR \
    Tw=%Tw Tc=%Tc Tr=%Tr Td=%Td Ta=%Ta Tt=%Tt Tu=%Tu ST=%ST B=%B U=%U CC=%CC CS=%CS ts=%ts \
    tsc=%tsc ac=%ac fc=%fc bc=%bc sc=%sc rc=%rc sq=%sq bq=%bq hr=%hr hs=%hs hrl=%hrl hsl=%hsl \
    r=%r HM=%HM HP=%HP HPO=%HPO HQ=%HQ HU=%HU HV=%HV ID=%ID lc=%lc rt=%rt H=%H sslc=%sslc \
    sslv=%sslv pc=%% %-x";

#[test]
fn every_variable_of_a_request() {
    let requests = slots(&["example.com", "a\"b|c{d}\\]#"]);
    let responses = slots(&["BaseHTTP/0.6 Python/"]);
    // HAProxy
    check(
        EVERY_VARIABLE,
        &answered(&requests, &responses),
        "ci=127.0.0.1 cp=41830 fi=127.0.0.1 fp=15101 bi=127.0.0.1 si=127.0.0.1 sp=15199 f=all \
         ft=all b=be s=s1 t=20/Nov/2026:14:59:45.821 tr=20/Nov/2026:14:59:45.821 \
         T=20/Nov/2026:14:59:45 +0000 Tl=20/Nov/2026:14:59:45 +0000 \
         trg=20/Nov/2026:14:59:45 +0000 trl=20/Nov/2026:14:59:45 +0000 Ts=1795186785 ms=821 \
         Th=0 Ti=0 Tq=0 TR=0 Tw=0 Tc=0 Tr=1 Td=0 Ta=1 Tt=1 Tu=1 ST=200 B=142 U=110 CC=SID=cli \
         CS=SID=srv ts=-- tsc=---- ac=1 fc=1 bc=0 sc=0 rc=0 sq=0 bq=0 \
         hr={example.com|a#22b#7Cc#7Bd#7D\\]#23} hs={BaseHTTP/0.6 Python/} \
         hrl=example.com a#22b#7Cc#7Bd#7D\\]#23 hsl=BaseHTTP/0.6 Python/ r=GET /a?b=c HTTP/1.1 \
         HM=GET HP=/a HPO=/a HQ=?b=c HU=/a?b=c HV=HTTP/1.1 \
         ID=7F000001:A366_7F000001:3AFD_6B006061_0000:77B2 lc=0 rt=0 H=vm sslc=- sslv=- pc=% -x",
    );
}

#[test]
fn every_variable_of_a_bad_request() {
    // HAProxy
    check(
        EVERY_VARIABLE,
        &refused(),
        "ci=127.0.0.1 cp=41830 fi=127.0.0.1 fp=15101 bi=- si=- sp=- f=all ft=all b=all s=<NOSRV> \
         t=20/Nov/2026:14:59:45.823 tr=20/Nov/2026:14:59:45.972 T=20/Nov/2026:14:59:45 +0000 \
         Tl=20/Nov/2026:14:59:45 +0000 trg=20/Nov/2026:14:59:45 +0000 \
         trl=20/Nov/2026:14:59:45 +0000 Ts=1795186785 ms=823 Th=0 Ti=149 Tq=-1 TR=-1 Tw=-1 Tc=-1 \
         Tr=-1 Td=-1 Ta=0 Tt=149 Tu=0 ST=400 B=0 U=0 CC=- CS=- ts=PR tsc=PR-- ac=1 fc=1 bc=0 \
         sc=0 rc=0 sq=0 bq=0 hr= hs= hrl= hsl= r=<BADREQ> HM=<BADREQ> HP=<BADREQ> HPO=<BADREQ> \
         HQ=<BADREQ> HU=<BADREQ> HV=<BADREQ> ID=- lc=1 rt=1 H=vm sslc=- sslv=- pc=% -x",
    );
}

#[test]
fn flags() {
    let requests = slots(&["example.com", "-", "say \"hi\" \\x] #\u{1}"]);
    let facts = Facts {
        started: Stamp { seconds: 1_795_186_787, micros: 75_000 },
        client: inet("127.0.0.1:56088"),
        frontend: "flags",
        number: 4,
        line: 1,
        cookies: [None, None],
        request_line: Some(b"GET /x\\] HTTP/1.1"),
        ..answered(&requests, &[])
    };
    // HAProxy, with another byte for \x01
    check(
        "%{+Q}o %ci %{+X}ci %{+X}cp %{-Q,+X}Ts %{+X}ms %{+X}rt %{+X}lc %{+X}pid %{+Q}r %{+Q}HM \
         %{+Q}ft %{+Q}hr %hrl %{-Q}hrl %hs %CC %{+E}r %{+E}[example.com] %[-] %{-Q}[-] \
         %{+Q,+E}[say \"hi\" \\x] %{+E}hr",
        &facts,
        "\"127.0.0.1\" 7F000001 DB18 6B006063 4B 0004 0001 77B2 \"GET /x\\] HTTP/1.1\" \"GET\" \
         \"flags\" \"{example.com||say #22hi#22 \\x] #23#01}\" \
         \"example.com\" \"\" \"say #22hi#22 \\x] #23#01\" example.com - say #22hi#22 \\x] #23#01 \
         \"\" \"GET /x\\\\\\] HTTP/1.1\" \"example.com\" \"\" - \"say \\\"hi\\\" \\\\x\" \
         \"{example.com||say #22hi#22 \\\\x\\] #23#01}\"",
    );
    let six = Facts { client: inet("[2001:db8::1]:80"), ..facts };
    check("%ci %{+X}ci", &six, "2001:db8::1 20010DB8000000000000000000000001");
    let unix = Facts { client: Some(Peer::Unix), local: Some(Peer::Unix), ..facts };
    check("%ci %cp %fi %fp %{+X}cp x", &unix, "unix 1 unix 1 1 x"); // HAProxy
}

#[test]
fn header_values() {
    let requests = slots(&[]);
    let facts = Facts { cookies: [None, None], ..answered(&requests, &[]) };
    // HAProxy
    check_header(
        "a %[say \"hi\" \\x #\u{80}]  b %{+Q}r %ci %{+Q}[say \"hi\"] %CC|%{+M}CC|",
        &facts,
        "a say \"hi\" \\x #\u{80}  b \"GET /a?b=c HTTP/1.1\" 127.0.0.1 say \"hi\" |-|",
    );
    check_header("%[a\r\nb\tc\u{7f}]", &facts, "a%0D%0Ab\tc%7F");
    check_header("%[-]", &facts, "");
}

#[test]
fn spaces_of_log_lines_merge() {
    let facts = answered(&[], &[]);
    check("  %hr   %ST  x ", &facts, "200 x ");
    check("%ST %hr %hs %B", &facts, "200 142");
    check("a %[-]  b", &facts, "a - b");
    check("", &facts, "");
}

#[test]
fn built_in_formats() {
    let host = slots(&["example.com"]);
    let base = Facts {
        cookies: [None, None],
        frontend: "httplog",
        client: inet("127.0.0.1:56760"),
        started: Stamp { seconds: 1_795_186_787, micros: 777_000 },
        ..answered(&host, &[])
    };
    // All of these HAProxy
    check(
        Builtin::Http.text(),
        &base,
        "127.0.0.1:56760 [20/Nov/2026:14:59:47.777] httplog be/s1 0/0/0/1/1 200 142 - - ---- \
         1/1/0/0/0 0/0 {example.com} \"GET /a?b=c HTTP/1.1\"",
    );
    let timeout = Facts {
        frontend: "httplog",
        backend: "httplog",
        cause: Cause::ClientTimeout,
        status: 408,
        total_ms: 501,
        idle_ms: 0,
        ..refused()
    };
    check(
        Builtin::Http.text(),
        &timeout,
        "127.0.0.1:41830 [20/Nov/2026:14:59:45.972] httplog httplog/<NOSRV> -1/-1/-1/-1/501 408 0 \
         - - cR-- 1/1/0/0/0 0/0 \"<BADREQ>\"",
    );
    let left = Facts { status: -1, total_ms: 3, ..base };
    check("%ST %Tt", &left, "-1 3");
    let early = Facts {
        early: true,
        frontend: "asap",
        request_captures: &[],
        backend_active: 1,
        server_active: 1,
        ..base
    };
    check(
        Builtin::Http.text(),
        &early,
        "127.0.0.1:56760 [20/Nov/2026:14:59:47.777] asap be/s1 0/0/0/1/+1 200 +142 - - ---- \
         1/1/1/1/0 0/0 \"GET /a?b=c HTTP/1.1\"",
    );
    let tls = telamon_tls::Handshake {
        version: Some(rustls::ProtocolVersion::TLSv1_3),
        cipher: Some(rustls::CipherSuite::TLS13_AES_128_GCM_SHA256),
        ..Default::default()
    };
    check(
        "%ft %sslv %sslc",
        &Facts { tls: Some(&tls), ..base },
        "httplog~ TLSv1.3 TLS_AES_128_GCM_SHA256",
    );
    let failed = telamon_tls::Handshake::default();
    check("%ft %sslv %sslc", &Facts { tls: Some(&failed), ..base }, "httplog~ - (NONE)");
    let two = slots(&["example.com", "-"]);
    let clf = Facts { frontend: "clf", request_captures: &two, ..base };
    check(
        Builtin::Clf.text(),
        &clf,
        "127.0.0.1 - - [20/Nov/2026:14:59:47 +0000] \"GET /a?b=c HTTP/1.1\" 200 142 \"\" \"\" \
         56760 777 \"clf\" \"be\" \"s1\" 0 0 0 1 1 ---- 1 1 0 0 0 0 0 \"\" \"\" \"example.com\" \
         \"\" ",
    );
    let tcp = Facts {
        frontend: "tcp",
        backend: "tcp",
        backend_http: false,
        request_ms: None,
        response_ms: None,
        total_ms: 150,
        bytes_out: 143,
        ..base
    };
    check(
        Builtin::Tcp.text(),
        &tcp,
        "127.0.0.1:56760 [20/Nov/2026:14:59:47.777] tcp tcp/s1 1/0/150 143 -- 1/1/0/0/0 0/0",
    );
    check("%Td %Tt", &tcp, "150 150");
    let dead = Facts {
        connect_ms: None,
        total_ms: 1002,
        bytes_out: 0,
        cause: Cause::Server,
        phase: Phase::Connect,
        retries: 1,
        ..tcp
    };
    check(
        Builtin::Tcp.text(),
        &dead,
        "127.0.0.1:56760 [20/Nov/2026:14:59:47.777] tcp tcp/s1 1/-1/1002 0 SC 1/1/0/0/1 0/0",
    );
    let moved = Facts { redispatched: true, ..dead };
    check("%rc %Tw %Td", &moved, "+1 1 -1");
}

#[test]
fn mistakes_have_a_place() {
    use TemplateErrorKind as Kind;

    #[track_caller]
    fn check(format: &str, place: &str, kind: Kind, title: &str) {
        // An expression of these tests ends at a bracket or a dot, and begins with anything but a question mark.
        let mut sample = |at: usize| {
            let len = format[at..].find([']', '.']).unwrap_or(format.len() - at);
            (!format[at..].starts_with('?')).then_some(((), at + len))
        };
        let style = Style { http_mode: false, ..LOG };
        let errors = Template::parse(format.as_bytes(), style, &mut sample).map(drop).unwrap_err();
        let [error] = &errors[..] else { panic!("{format}: {errors:?}") };
        let found = &format[error.offset..error.offset + error.len];
        let told = error.kind.for_diagnostics(found).explain().title;
        assert_eq!((found, &error.kind, &*told), (place, &kind, title), "{format}");
    }
    check("a %xy b", "xy", Kind::UnknownVariable, "unknown log-format variable `xy`");
    check("%{+Q}Xi", "Xi", Kind::UnknownVariable, "unknown log-format variable `Xi`");
    check("%ci%r", "r", Kind::HttpOnly, "log-format variable %r needs mode http");
    check("100% of", "% ", Kind::LonePercent, "bad log-format variable `% `");
    check("%1", "%1", Kind::LonePercent, "bad log-format variable `%1`");
    check("a%", "%", Kind::LonePercent, "bad log-format variable `%`");
    check("a %{+Q", "%{+Q", Kind::UnclosedFlags, "`%{+Q` lacks `}`");
    check(
        "a %{+Q}",
        "%{+Q}",
        Kind::FlagsWithoutVariable,
        "`%{+Q}` lacks the name of a variable or `[`",
    );
    check(
        "a %{+Q} b",
        "%{+Q}",
        Kind::FlagsWithoutVariable,
        "`%{+Q}` lacks the name of a variable or `[`",
    );
    check("%{+Q,+Y}ci", "+Y", Kind::UnknownFlag, "bad log-format flag `+Y`");
    check("%{Q}ci", "Q", Kind::UnknownFlag, "bad log-format flag `Q`");
    check("a %[x.y]", "%[x", Kind::UnclosedSample, "`%[x` lacks `]`");
    check("a %[x", "%[x", Kind::UnclosedSample, "`%[x` lacks `]`");
    check("%[?x]", "?x]", Kind::Sample, "bad sample expression `?x]`");
}
