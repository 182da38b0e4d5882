//! Requests that are malformed (RFC 9113, section 8).

use telamon_testkit::http2::code::PROTOCOL_ERROR;
use telamon_testkit::http2::{
    END_HEADERS, END_STREAM, HEADERS, PUSH_PROMISE, block, literal, request_fields,
};

use super::{Section, case, section};
use crate::peer::Must;
use crate::peer::Must::{ConnectionError, StreamError};

const WHOLE: u8 = END_STREAM | END_HEADERS;
const MALFORMED: Must = StreamError(&[PROTOCOL_ERROR]);
const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "test");

#[rustfmt::skip] // one line a case where it fits
pub(super) const SECTIONS: &[Section] = &[
    section("http2/8.1", "RFC 9113 8.1", &[
        case("trailers without END_STREAM", MALFORMED, |p| {
            p.post(1);
            p.data(1, 0, b"test");
            p.frame(HEADERS, END_HEADERS, 1, &literal("x-test", "ok"));
        }),
    ]),
    section("http2/8.1.2", "RFC 9113 8.2", &[
        case("a field's name in capitals", MALFORMED, |p| p.head(1, WHOLE, &[("X-TEST", "ok")])),
    ]),
    section("http2/8.1.2.1", "RFC 9113 8.3", &[
        case("an unknown pseudo-field", MALFORMED, |p| p.only(&[METHOD, SCHEME, PATH, AUTHORITY, (":test", "ok")])),
        case("the pseudo-field of responses", MALFORMED, |p| {
            p.only(&[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")]);
        }),
        case("a pseudo-field in trailers", MALFORMED, |p| {
            p.post(1);
            p.data(1, 0, b"test");
            p.frame(HEADERS, END_HEADERS, 1, &literal(":method", "POST"));
        }),
        case("a pseudo-field behind a field", MALFORMED, |p| {
            p.only(&[("x-test", "ok"), METHOD, SCHEME, PATH, AUTHORITY]);
        }),
    ]),
    section("http2/8.1.2.2", "RFC 9113 8.2.2", &[
        case("connection: keep-alive", MALFORMED, |p| p.head(1, WHOLE, &[("connection", "keep-alive")])),
        case("te: trailers, deflate", MALFORMED, |p| p.head(1, WHOLE, &[("te", "trailers, deflate")])),
    ]),
    section("http2/8.1.2.3", "RFC 9113 8.3.1", &[
        case("an empty :path", MALFORMED, |p| p.only(&[METHOD, SCHEME, (":path", ""), AUTHORITY])),
        case("no :method", MALFORMED, |p| p.only(&[SCHEME, PATH, AUTHORITY])),
        case("no :scheme", MALFORMED, |p| p.only(&[METHOD, PATH, AUTHORITY])),
        case("no :path", MALFORMED, |p| p.only(&[METHOD, SCHEME, AUTHORITY])),
        case(":method twice", MALFORMED, |p| p.only(&[METHOD, SCHEME, PATH, AUTHORITY, METHOD])),
        case(":scheme twice", MALFORMED, |p| p.only(&[METHOD, SCHEME, PATH, AUTHORITY, SCHEME])),
        case(":path twice", MALFORMED, |p| p.only(&[METHOD, SCHEME, PATH, AUTHORITY, PATH])),
    ]),
    section("http2/8.1.2.6", "RFC 9113 8.1.1", &[
        case("content-length smaller than one DATA", MALFORMED, |p| {
            p.post_with(1, &[("content-length", "1")]);
            p.data(1, END_STREAM, b"test");
        }),
        case("content-length smaller than several DATA", MALFORMED, |p| {
            p.post_with(1, &[("content-length", "1")]);
            p.data(1, 0, b"test");
            p.data(1, END_STREAM, b"test");
        }),
    ]),
    section("http2/8.2", "RFC 9113 8.4", &[
        case("PUSH_PROMISE of a client", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.get(1);
            let fields = block(&request_fields("GET", "/"));
            p.frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 3], &fields[..]].concat());
        }),
    ]),
];
