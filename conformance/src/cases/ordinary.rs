//! What every client sends: it has to be taken.

use telamon_testkit::http2::{
    END_HEADERS, END_STREAM, HEADERS, PADDED, PREFACE, PRIORITIZED, block, code, huffman, indexed,
    literal, request_fields, setting, size_update,
};

use super::{Section, case, first, section};
use crate::peer::Must::{Acknowledge, Answer, Data, Pong, PongOrClose, Settings};

const WHOLE: u8 = END_STREAM | END_HEADERS;
const EXCLUSIVE: u32 = 1 << 31;

#[rustfmt::skip] // one line a case where it fits
pub(super) const SECTIONS: &[Section] = &[
    section("generic/1", "RFC 9113 3.4", &[
        first("a client's preface", Settings, |p| {
            p.bytes(PREFACE);
            p.settings(&[]);
        }),
    ]),
    section("generic/2", "RFC 9113 5.1", &[
        case("PRIORITY on an idle stream", Pong, |p| {
            p.priority(1, 0, 255);
            p.ping();
        }),
        case("WINDOW_UPDATE on a half-closed stream", Data, |p| {
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
            p.get(1);
            p.window(1, 1);
        }),
        case("PRIORITY on a half-closed stream", Data, |p| {
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
            p.get(1);
            p.priority(1, 0, 255);
            p.window(1, 1);
        }),
        case("RST_STREAM on a half-closed stream", PongOrClose, |p| {
            p.get(1);
            p.reset(1, code::CANCEL);
            p.ping();
        }),
        case("PRIORITY on a closed stream", Pong, |p| {
            p.get(1);
            p.await_end_of_stream();
            p.priority(1, 0, 255);
            p.ping();
        }),
    ]),
    section("generic/3.1", "RFC 9113 6.1", &[
        case("DATA", Answer, |p| {
            p.post(1);
            p.data(1, END_STREAM, b"test");
        }),
        case("several DATA", Answer, |p| {
            p.post(1);
            p.data(1, 0, b"test");
            p.data(1, END_STREAM, b"test");
        }),
        case("DATA with padding", Answer, |p| {
            p.post(1);
            p.data(1, END_STREAM | PADDED, b"\x06test\0\0\0\0\0\0");
        }),
    ]),
    section("generic/3.2", "RFC 9113 6.2", &[
        case("HEADERS", Answer, |p| p.get(1)),
        case("HEADERS with padding", Answer, |p| {
            let fields = block(&request_fields("GET", "/"));
            p.frame(HEADERS, WHOLE | PADDED, 1, &[&[8], &fields[..], &[0; 8]].concat());
        }),
        case("HEADERS with priority", Answer, |p| {
            let fields = block(&request_fields("GET", "/"));
            p.frame(HEADERS, WHOLE | PRIORITIZED, 1, &[&[0, 0, 0, 0, 255], &fields[..]].concat());
        }),
    ]),
    section("generic/3.3", "RFC 9113 6.3", &[
        case("PRIORITY with the least weight", Answer, |p| {
            p.priority(1, 0, 0);
            p.get(1);
        }),
        case("PRIORITY with the greatest weight", Answer, |p| {
            p.priority(1, 0, 255);
            p.get(1);
        }),
        case("PRIORITY that depends on another stream", Answer, |p| {
            p.priority(3, 1, 0);
            p.get(1);
        }),
        case("PRIORITY that is exclusive", Answer, |p| {
            p.priority(1, EXCLUSIVE, 0);
            p.get(1);
        }),
        case("PRIORITY on an idle stream, then a request on a lower one", Answer, |p| {
            p.priority(3, 0, 255);
            p.get(1);
        }),
    ]),
    section("generic/3.4", "RFC 9113 6.4", &[
        case("RST_STREAM", PongOrClose, |p| {
            p.post(1);
            p.reset(1, code::CANCEL);
            p.ping();
        }),
    ]),
    section("generic/3.5", "RFC 9113 6.5", &[
        case("SETTINGS", Acknowledge, |p| p.settings(&[(setting::INITIAL_WINDOW_SIZE, 100)])),
    ]),
    section("generic/3.7", "RFC 9113 6.7", &[
        case("PING", Pong, |p| p.ping()),
    ]),
    section("generic/3.8", "RFC 9113 6.8", &[
        case("GOAWAY", PongOrClose, |p| {
            p.goaway(0, code::NO_ERROR);
            p.ping();
        }),
    ]),
    section("generic/3.9", "RFC 9113 6.9", &[
        case("WINDOW_UPDATE of the connection", Pong, |p| {
            p.window(0, 1);
            p.ping();
        }),
        case("WINDOW_UPDATE of a stream", Data, |p| {
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
            p.get(1);
            p.window(1, 1);
        }),
    ]),
    section("generic/3.10", "RFC 9113 6.10", &[
        case("one CONTINUATION", Answer, |p| {
            p.head(1, END_STREAM, &[]);
            p.more(1, END_HEADERS);
        }),
        case("several CONTINUATION", Answer, |p| {
            p.head(1, END_STREAM, &[]);
            p.more(1, 0);
            p.more(1, END_HEADERS);
        }),
    ]),
    section("generic/4", "RFC 9113 8.1", &[
        case("GET", Answer, |p| p.get(1)),
        case("HEAD", Answer, |p| p.only(&request_fields("HEAD", "/"))),
        case("POST", Answer, |p| {
            p.post(1);
            p.data(1, END_STREAM, b"test");
        }),
        case("POST with trailers", Answer, |p| {
            p.post_with(1, &[("trailer", "x-test")]);
            p.data(1, 0, b"test");
            p.frame(HEADERS, WHOLE, 1, &literal("x-test", "ok"));
        }),
    ]),
    section("generic/5", "RFC 7541 6", &[
        case("an indexed field", Answer, |p| p.get_then(&indexed(58))),
        case("a literal with incremental indexing, its name indexed", Answer, |p| p.get_then(b"\x7a\x07telamon")),
        case("a literal with incremental indexing, its name indexed, Huffman-coded", Answer, |p| {
            p.get_then(&[b"\x7a", &huffman("telamon")[..]].concat());
        }),
        case("a literal with incremental indexing, its name new", Answer, |p| p.get_then(b"\x40\x06x-test\x02ok")),
        case("a literal with incremental indexing, its name new, Huffman-coded", Answer, |p| p.get_then(&new_name(0x40))),
        case("a literal without indexing, its name indexed", Answer, |p| p.get_then(b"\x0f\x2b\x07telamon")),
        case("a literal without indexing, its name indexed, Huffman-coded", Answer, |p| {
            p.get_then(&[b"\x0f\x2b", &huffman("telamon")[..]].concat());
        }),
        case("a literal without indexing, its name new", Answer, |p| p.get_then(b"\x00\x06x-test\x02ok")),
        case("a literal without indexing, its name new, Huffman-coded", Answer, |p| p.get_then(&new_name(0x00))),
        case("a literal never indexed, its name indexed", Answer, |p| p.get_then(b"\x1f\x2b\x07telamon")),
        case("a literal never indexed, its name indexed, Huffman-coded", Answer, |p| {
            p.get_then(&[b"\x1f\x2b", &huffman("telamon")[..]].concat());
        }),
        case("a literal never indexed, its name new", Answer, |p| p.get_then(b"\x10\x06x-test\x02ok")),
        case("a literal never indexed, its name new, Huffman-coded", Answer, |p| p.get_then(&new_name(0x10))),
        case("a change of the dynamic table's size", Answer, |p| p.get_after(&size_update(0))),
        case("several changes of the dynamic table's size", Answer, |p| {
            p.get_after(&[size_update(0), size_update(4096)].concat());
        }),
    ]),
];

fn new_name(first: u8) -> Vec<u8> {
    [vec![first], huffman("x-test"), huffman("ok")].concat()
}
