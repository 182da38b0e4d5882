//! Tables by section of RFC 9112 and 9110; properties; what HAProxy 2.6 was seen to send.

use super::*;
use crate::error::{EditError, ParseErrorKind as E};
use crate::{BodyLength, ParseError};

/// Parses a head in one piece; `next` asserts that every cut of it gives the same.
fn parse(kind: Kind, input: &[u8], limits: &Limits) -> Result<Option<Head>, ParseError> {
    parse_cut(kind, &[input], limits)
}

fn parse_cut(kind: Kind, pieces: &[&[u8]], limits: &Limits) -> Result<Option<Head>, ParseError> {
    let mut head = Head::with_capacity(1024);
    for piece in pieces {
        head.input_mut().extend_from_slice(piece);
        let done = match kind {
            Kind::Request => head.parse_request(limits)?,
            Kind::Response => head.parse_response(limits)?,
        };
        if done.is_some() && head.remaining().is_empty() {
            continue;
        }
    }
    Ok(head.is_complete().then_some(head))
}

fn written(head: &Head) -> String {
    let mut out = Vec::new();
    head.write_to(&mut out);
    assert_eq!(out.len(), head.len(), "len() is what write_to writes");
    String::from_utf8_lossy(&out).into_owned()
}

fn outcome(
    kind: Kind,
    pieces: &[&[u8]],
    limits: &Limits,
) -> Result<Option<(String, Vec<u8>)>, ParseError> {
    Ok(parse_cut(kind, pieces, limits)?.map(|head| (written(&head), head.remaining().to_vec())))
}

/// Expects `input` to be written as `expected`, wherever it is cut.
#[track_caller]
fn check(kind: Kind, input: &[u8], expected: &str) {
    check_limits(kind, input, Ok(expected), &Limits::default());
}

#[track_caller]
fn check_request(input: &[u8], expected: &str) {
    check(Kind::Request, input, expected);
}

/// Expects an error of that kind at that offset, wherever the input is cut.
#[track_caller]
fn refuse(input: &[u8], offset: usize, kind: E) {
    check_limits(Kind::Request, input, Err(ParseError::new(offset, kind)), &Limits::default());
}

#[track_caller]
fn refuse_response(input: &[u8], offset: usize, kind: E) {
    check_limits(Kind::Response, input, Err(ParseError::new(offset, kind)), &Limits::default());
}

#[track_caller]
fn lenient(input: &[u8], expected: &str) {
    check_limits(
        Kind::Request,
        input,
        Ok(expected),
        &Limits { accept_invalid: true, ..Limits::default() },
    );
}

#[track_caller]
fn check_limits(kind: Kind, input: &[u8], expected: Result<&str, ParseError>, limits: &Limits) {
    let whole = outcome(kind, &[input], limits);
    match (&whole, expected) {
        (Ok(Some((text, _))), Ok(expected)) => assert_eq!(text, expected),
        (Err(error), Err(expected)) => assert_eq!(*error, expected),
        _ => panic!("{whole:?} for {:?}, expected {expected:?}", String::from_utf8_lossy(input)),
    }
    for cut in 0..=input.len() {
        let (a, b) = input.split_at(cut);
        assert_eq!(outcome(kind, &[a, b], limits), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(outcome(kind, &bytes, limits), whole, "byte by byte");
}

#[test]
fn request_line() {
    check_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    check_request(b"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n");
    check_request(
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    check_request(b"get / HTTP/1.7\r\nHost: a\r\n\r\nrest", "get / HTTP/1.1\r\nhost: a\r\n\r\n");
    refuse(b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 1, E::BadMethod);
    refuse(b"\x16\x03\x01\x02", 0, E::BadMethod);
    refuse(b"GET\r\n", 3, E::BadTarget);
    refuse(b"GET /\r\n", 5, E::BadVersion);
    refuse(b"GET  / HTTP/1.1\r\n\r\n", 4, E::BadTarget);
    refuse(b"GET /  HTTP/1.1\r\n\r\n", 5, E::BadTarget);
    refuse(b"GET / HTTP/1.1 \r\n\r\n", 15, E::BadVersion);
    refuse(b"GET / http/1.1\r\n\r\n", 6, E::BadVersion);
    refuse(b"GET / HTTP/2.0\r\n\r\n", 6, E::UnsupportedVersion);
    refuse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 6, E::UnsupportedVersion);
    refuse(b"GET / HTTP/0.9\r\n\r\n", 6, E::UnsupportedVersion);
}
