use std::cell::Cell;

use regex::bytes::Regex;
use telamon_http_proto::{Limits, Method};

use super::*;
use crate::model::{CheckProtocol, Model};

fn expect(what: Expected) -> CheckExpect {
    CheckExpect {
        what,
        negated: false,
        min_recv: None,
        comment: None,
        ok_status: None,
        error_status: None,
        tout_status: None,
        on_success: None,
        on_error: None,
        status_code: None,
    }
}

fn not(expect: CheckExpect) -> CheckExpect {
    CheckExpect { negated: true, ..expect }
}

fn at_least(bytes: usize, expect: CheckExpect) -> CheckExpect {
    CheckExpect { min_recv: Some(bytes), ..expect }
}

fn string(text: &str) -> CheckExpect {
    expect(Expected::Contains(CheckText::Fixed(text.as_bytes().into())))
}

fn rstring(pattern: &str) -> CheckExpect {
    expect(Expected::Regex(Regex::new(pattern).unwrap()))
}

fn fixed(text: &str) -> CheckText {
    CheckText::Fixed(text.as_bytes().into())
}

/// `…` waits, `ok` holds, else the status and what is said.
fn word(judged: Judged) -> String {
    match judged {
        Judged::Wait => "…".into(),
        Judged::Holds => "ok".into(),
        Judged::Fails(failure) => {
            let text = failure.text.unwrap_or_default();
            format!("{} {text}", failure.status.name()).trim_end().to_owned()
        }
    }
}

/// What an expectation says before and after the server is done.
#[track_caller]
fn check_bytes(expect: &CheckExpect, bytes: &[u8], expected: [&str; 2]) {
    let (model, wants_more) = (Model::default(), Cell::new(false));
    let cx = Context::for_process(&model, &wants_more);
    let said = [false, true].map(|last| word(judge_bytes(expect, bytes, last, &cx)));
    assert_eq!(said, expected);
}

#[test]
fn bytes_are_waited_for_until_they_decide() {
    check_bytes(&string("PONG"), b"+PONG\r\n", ["ok", "ok"]);
    check_bytes(&string("PONG"), b"+PO", ["…", "L7RSP"]);
    check_bytes(&string("PONG"), b"+PING\r\n", ["…", "L7RSP"]);
    check_bytes(&not(string("ERR")), b"+ERR\r\n", ["L7RSP", "L7RSP"]);
    check_bytes(&not(string("ERR")), b"+OK\r\n", ["…", "ok"]);
    check_bytes(&at_least(3, not(string("ERR"))), b"+OK\r\n", ["ok", "ok"]);
    check_bytes(&at_least(9, not(string("ERR"))), b"+OK\r\n", ["…", "ok"]);
    check_bytes(&at_least(3, string("PONG")), b"+PIN", ["L7RSP", "L7RSP"]);
    check_bytes(&rstring("^220 .*ready"), b"220 mail ready\r\n", ["ok", "ok"]);
    check_bytes(&rstring("^221"), b"220 mail ready\r\n", ["…", "L7RSP"]);
    let hex = expect(Expected::HexRegex(Regex::new("^FF0.A").unwrap()));
    check_bytes(&hex, b"\xff\x01\xaa", ["ok", "ok"]);
    let status = CheckExpect { error_status: Some(CheckStatus::L6Response), ..string("x") };
    check_bytes(&status, b"y", ["…", "L6RSP"]);
}

/// What an expectation says of a response before and after it is over.
#[track_caller]
fn check_response(expect: &CheckExpect, input: &[u8], expected: [&str; 2]) {
    let (model, wants_more) = (Model::default(), Cell::new(false));
    let cx = Context::for_process(&model, &wants_more);
    let mut reply = Reply::new(CheckProtocol::Http, Limits::default(), 16384);
    reply.restart(Method::Options);
    reply.space().extend_from_slice(input);
    reply.received(input.len());
    let said = [false, true].map(|last| word(judge_response(expect, &reply, last, &cx)));
    assert_eq!(said, expected);
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nX-Test1: true, next value\r\nX-Begin-a: 1\r\n\r\nhello";
const BAD: &[u8] = b"HTTP/1.1 503 Not today\r\n\r\n";

#[test]
fn statuses_decide_as_soon_as_the_head_is_there() {
    let good = expect(Expected::Status([(200, 399)].into()));
    check_response(&good, OK, ["ok", "ok"]);
    check_response(&good, BAD, ["L7STS Not today", "L7STS Not today"]);
    check_response(&not(expect(Expected::Status([(500, 599)].into()))), OK, ["ok", "ok"]);
    check_response(&good, b"HTTP/1.1 200 O", ["…", "L7RSP"]);
    check_response(&good, b"SSH-2.0\r\n\r\n", ["…", "L7RSP"]);
    let regex = expect(Expected::StatusRegex(Regex::new("^2[0-9]{2}").unwrap()));
    check_response(&regex, OK, ["ok", "ok"]);
}

#[test]
fn bodies_are_waited_for() {
    check_response(&string("hello"), OK, ["ok", "ok"]);
    let differs = ["…", "L7RSP HTTP content check did not match"];
    check_response(&string("world"), OK, differs);
    let unwanted = "L7RSP HTTP check matched unwanted content";
    check_response(&not(rstring("^h")), OK, [unwanted, unwanted]);
    let nothing = ["…", "L7RSP HTTP content check could not find a response body"];
    check_response(&string("x"), BAD, nothing);
}

#[test]
fn headers_are_found_by_name_and_value() {
    let header = |name, value, full| expect(Expected::Header { name, value, full });
    let test = |name, value, full, holds| {
        let said = if holds { "ok" } else { "L7STS OK" };
        check_response(&header(name, value, full), OK, [said, said]);
    };
    use HeaderPart::{Begin, Contains, End, Exact};
    test(Exact(fixed("X-TEST1")), None, false, true);
    test(Exact(fixed("x-test")), None, false, false);
    test(Begin(fixed("X-Begin-")), None, false, true);
    test(End(fixed("-A")), None, false, true);
    test(Contains(fixed("EST")), None, false, true);
    let name = || Exact(fixed("x-test1"));
    test(name(), Some(Exact(fixed("next value"))), false, true);
    test(name(), Some(Exact(fixed("next value"))), true, false);
    test(name(), Some(Exact(fixed("true, next value"))), true, true);
    test(name(), Some(Begin(fixed("next"))), false, true);
    test(name(), Some(End(fixed("NEXT"))), false, false);
    let regex = HeaderPart::Regex(Regex::new("^t.*e$").unwrap());
    test(name(), Some(regex), false, true);
}
