//! Frames that are malformed, misplaced or of no known kind (RFC 9113, sections 3 to 7).

use telamon_testkit::http2::code::{
    CANCEL, COMPRESSION_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR,
    REFUSED_STREAM, STREAM_CLOSED,
};
use telamon_testkit::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PRIORITIZED, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, literal, request_fields,
    setting,
};

use super::{Section, case, first, section};
use crate::peer::Must::{
    Acknowledge, Answer, Close, ConnectionError, DataOf, Goaway, Pong, PongOrClose, Reset,
    Settings, StreamError,
};

const WHOLE: u8 = END_STREAM | END_HEADERS;
/// A type of frame that no standard defines.
const UNKNOWN: u8 = 0x16;
const WINDOW_MAX: u32 = (1 << 31) - 1;

#[rustfmt::skip] // one line a case where it fits
pub(super) const SECTIONS: &[Section] = &[
    section("http2/3.5", "RFC 9113 3.4", &[
        first("a client's preface with a setting", Settings, |p| {
            p.bytes(PREFACE);
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 65535)]);
        }),
        first("something else than the preface", Close, |p| p.bytes(b"INVALID CONNECTION PREFACE\r\n\r\n")),
    ]),
    section("http2/4.1", "RFC 9113 4.1", &[
        case("a frame of unknown type", Pong, |p| {
            p.frame(UNKNOWN, 0, 0, &[0; 8]);
            p.ping();
        }),
        case("a frame with undefined flags", Pong, |p| p.ping_with(0x16, *b"telamon!")),
        case("a frame with the reserved bit", Pong, |p| {
            p.frame(PING, 0x16, 1 << 31, &[0; 8]);
        }),
    ]),
    section("http2/4.2", "RFC 9113 4.2", &[
        case("DATA of 2^14 bytes", Answer, |p| {
            p.post(1);
            p.data(1, END_STREAM, &[b'x'; 1 << 14]);
        }),
        case("DATA larger than SETTINGS_MAX_FRAME_SIZE", StreamError(&[FRAME_SIZE_ERROR]), |p| {
            p.post(1);
            let most = p.setting(setting::MAX_FRAME_SIZE, 1 << 14) as usize;
            p.data(1, END_STREAM, &vec![b'x'; most + 1]);
        }),
        case("HEADERS larger than SETTINGS_MAX_FRAME_SIZE", ConnectionError(&[FRAME_SIZE_ERROR]), |p| {
            let most = p.setting(setting::MAX_FRAME_SIZE, 1 << 14) as usize;
            p.head(1, WHOLE, &[("x-large", &"x".repeat(most))]);
        }),
    ]),
    section("http2/4.3", "RFC 9113 4.3", &[
        case("a field block that ends in the middle of a field", ConnectionError(&[COMPRESSION_ERROR]), |p| {
            p.frame(HEADERS, WHOLE, 1, &[0x40]);
        }),
        case("PRIORITY in the middle of a field block", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, 0, &[]);
            p.priority(1, 0, 255);
            p.more(1, END_HEADERS);
        }),
        case("HEADERS of another stream in the middle of a field block", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, 0, &[]);
            p.get(3);
            p.more(1, END_HEADERS);
        }),
    ]),
    section("http2/5.1", "RFC 9113 5.1", &[
        case("DATA on an idle stream", ConnectionError(&[PROTOCOL_ERROR]), |p| p.data(1, END_STREAM, b"test")),
        case("RST_STREAM on an idle stream", ConnectionError(&[PROTOCOL_ERROR]), |p| p.reset(1, CANCEL)),
        case("WINDOW_UPDATE on an idle stream", ConnectionError(&[PROTOCOL_ERROR]), |p| p.window(1, 100)),
        case("CONTINUATION on an idle stream", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.frame(CONTINUATION, END_HEADERS, 1, &block(&request_fields("GET", "/")));
        }),
        case("DATA on a half-closed stream", StreamError(&[STREAM_CLOSED]), |p| {
            p.get(1);
            p.data(1, END_STREAM, b"test");
        }),
        case("HEADERS on a half-closed stream", StreamError(&[STREAM_CLOSED]), |p| {
            p.get(1);
            p.get(1);
        }),
        case("CONTINUATION on a half-closed stream", StreamError(&[STREAM_CLOSED, PROTOCOL_ERROR]), |p| {
            p.get(1);
            p.more(1, END_HEADERS);
        }),
        case("DATA after RST_STREAM", StreamError(&[STREAM_CLOSED]), |p| {
            p.head(1, END_HEADERS, &[]);
            p.reset(1, CANCEL);
            p.data(1, END_STREAM, b"test");
        }),
        case("HEADERS after RST_STREAM", StreamError(&[STREAM_CLOSED]), |p| {
            p.head(1, END_HEADERS, &[]);
            p.reset(1, CANCEL);
            p.get(1);
        }),
        case("CONTINUATION after RST_STREAM", StreamError(&[STREAM_CLOSED, PROTOCOL_ERROR]), |p| {
            p.head(1, END_HEADERS, &[]);
            p.reset(1, CANCEL);
            p.more(1, END_HEADERS);
        }),
        // RFC 7540 made this an error of the connection; RFC 9113, section 6.1, one of the stream.
        case("DATA on a closed stream", StreamError(&[STREAM_CLOSED]), |p| {
            p.get(1);
            p.await_end_of_stream();
            p.data(1, END_STREAM, b"test");
        }),
        case("HEADERS on a closed stream", ConnectionError(&[STREAM_CLOSED]), |p| {
            p.get(1);
            p.await_end_of_stream();
            p.get(1);
        }),
        case("CONTINUATION on a closed stream", ConnectionError(&[STREAM_CLOSED, PROTOCOL_ERROR]), |p| {
            p.get(1);
            p.await_end_of_stream();
            p.more(1, END_HEADERS);
        }),
    ]),
    section("http2/5.1.1", "RFC 9113 5.1.1", &[
        case("a stream with an even number", ConnectionError(&[PROTOCOL_ERROR]), |p| p.get(2)),
        case("a stream with a lower number than the last", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.get(5);
            p.get(3);
        }),
    ]),
    section("http2/5.1.2", "RFC 9113 5.1.2", &[
        case("more streams than SETTINGS_MAX_CONCURRENT_STREAMS", StreamError(&[PROTOCOL_ERROR, REFUSED_STREAM]), |p| {
            p.skip_without(setting::MAX_CONCURRENT_STREAMS, "no SETTINGS_MAX_CONCURRENT_STREAMS");
            // No stream ends while nothing of its body can be sent.
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
            for number in 0..=p.setting(setting::MAX_CONCURRENT_STREAMS, 0).min(10_000) {
                p.get(1 + 2 * number);
            }
        }),
    ]),
    section("http2/5.3.1", "RFC 9113 5.3", &[
        case("HEADERS that depend on their own stream", StreamError(&[PROTOCOL_ERROR]), |p| {
            let fields = block(&request_fields("GET", "/"));
            p.frame(HEADERS, WHOLE | PRIORITIZED, 1, &[&[0, 0, 0, 1, 255], &fields[..]].concat());
        }),
        case("PRIORITY that depends on its own stream", StreamError(&[PROTOCOL_ERROR]), |p| p.priority(1, 1, 255)),
    ]),
    section("http2/5.4.1", "RFC 9113 5.4.1", &[
        case("PING on a stream: the connection ends", Close, |p| p.frame(PING, 0, 3, &[0; 8])),
        // The suite leaves this one out unless it is told to be strict.
        case("PING on a stream: GOAWAY says why", Goaway(PROTOCOL_ERROR), |p| p.frame(PING, 0, 3, &[0; 8])),
    ]),
    section("http2/5.5", "RFC 9113 5.5", &[
        case("a frame of unknown type", Pong, |p| {
            p.frame(UNKNOWN, 0, 0, &[0; 8]);
            p.ping();
        }),
        case("a frame of unknown type in the middle of a field block", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, END_STREAM, &[]);
            p.frame(UNKNOWN, 0, 0, &[0; 8]);
        }),
    ]),
    section("http2/6.1", "RFC 9113 6.1", &[
        case("DATA on stream 0", ConnectionError(&[PROTOCOL_ERROR]), |p| p.data(0, END_STREAM, b"test")),
        case("DATA on a stream that is not open", StreamError(&[STREAM_CLOSED]), |p| {
            p.only(&request_fields("POST", "/"));
            p.data(1, END_STREAM, b"test");
        }),
        case("DATA with more padding than payload", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.post_with(1, &[("content-length", "4")]);
            p.frame(DATA, END_STREAM | PADDED, 1, b"\x06test");
        }),
    ]),
    section("http2/6.2", "RFC 9113 6.2", &[
        case("HEADERS without END_HEADERS, then PRIORITY", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, 0, &[]);
            p.priority(1, 0, 255);
            p.more(1, END_HEADERS);
        }),
        case("HEADERS without END_HEADERS, then HEADERS of another stream", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, 0, &[]);
            p.get(3);
            p.more(1, END_HEADERS);
        }),
        case("HEADERS on stream 0", ConnectionError(&[PROTOCOL_ERROR]), |p| p.get(0)),
        case("HEADERS with more padding than payload", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            let fields = block(&request_fields("GET", "/"));
            p.frame(HEADERS, WHOLE | PADDED, 1, &[&[fields.len() as u8 + 2], &fields[..]].concat());
        }),
    ]),
    section("http2/6.3", "RFC 9113 6.3", &[
        case("PRIORITY on stream 0", ConnectionError(&[PROTOCOL_ERROR]), |p| p.priority(0, 0, 255)),
        case("PRIORITY of 4 bytes", StreamError(&[FRAME_SIZE_ERROR]), |p| {
            p.get(1);
            p.frame(PRIORITY, 0, 1, &[0x80, 0, 0, 1]);
        }),
    ]),
    section("http2/6.4", "RFC 9113 6.4", &[
        case("RST_STREAM on stream 0", ConnectionError(&[PROTOCOL_ERROR]), |p| p.reset(0, CANCEL)),
        case("RST_STREAM on an idle stream", ConnectionError(&[PROTOCOL_ERROR]), |p| p.reset(1, CANCEL)),
        case("RST_STREAM of 3 bytes", ConnectionError(&[FRAME_SIZE_ERROR]), |p| {
            p.get(1);
            p.frame(RST_STREAM, 0, 1, &[0; 3]);
        }),
    ]),
    section("http2/6.5", "RFC 9113 6.5", &[
        case("an acknowledgement of SETTINGS with payload", ConnectionError(&[FRAME_SIZE_ERROR]), |p| {
            p.frame(SETTINGS, ACK, 0, &[0]);
        }),
        case("SETTINGS on a stream", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100]);
        }),
        case("SETTINGS of 3 bytes", ConnectionError(&[FRAME_SIZE_ERROR]), |p| p.frame(SETTINGS, 0, 0, &[0, 3, 0])),
    ]),
    section("http2/6.5.2", "RFC 9113 6.5.2", &[
        case("SETTINGS_ENABLE_PUSH of 2", ConnectionError(&[PROTOCOL_ERROR]), |p| p.settings(&[(setting::ENABLE_PUSH, 2)])),
        case("SETTINGS_INITIAL_WINDOW_SIZE of 2^31", ConnectionError(&[FLOW_CONTROL_ERROR]), |p| {
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]);
        }),
        case("SETTINGS_MAX_FRAME_SIZE below 2^14", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.settings(&[(setting::MAX_FRAME_SIZE, (1 << 14) - 1)]);
        }),
        case("SETTINGS_MAX_FRAME_SIZE of 2^24", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)]);
        }),
        case("an unknown setting", Pong, |p| {
            p.settings(&[(0xff, 1)]);
            p.ping();
        }),
    ]),
    section("http2/6.5.3", "RFC 9113 6.5.3", &[
        case("the same setting twice in one SETTINGS", DataOf(1), |p| {
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 100), (setting::INITIAL_WINDOW_SIZE, 1)]);
            p.await_acknowledgement();
            p.get(1);
        }),
        case("SETTINGS", Acknowledge, |p| p.settings(&[(setting::ENABLE_PUSH, 0)])),
    ]),
    section("http2/6.7", "RFC 9113 6.7", &[
        case("PING", Pong, |p| p.ping()),
        case("PING with ACK, then PING", Pong, |p| {
            p.ping_with(ACK, *b"no reply");
            p.ping();
        }),
        case("PING on a stream", ConnectionError(&[PROTOCOL_ERROR]), |p| p.frame(PING, 0, 1, &[0; 8])),
        case("PING of 6 bytes", ConnectionError(&[FRAME_SIZE_ERROR]), |p| p.frame(PING, 0, 0, &[0; 6])),
    ]),
    section("http2/6.8", "RFC 9113 6.8", &[
        case("GOAWAY on a stream", ConnectionError(&[PROTOCOL_ERROR]), |p| p.frame(GOAWAY, 0, 1, &[0; 8])),
    ]),
    section("http2/6.9", "RFC 9113 6.9", &[
        case("WINDOW_UPDATE of the connection by 0", ConnectionError(&[PROTOCOL_ERROR]), |p| p.window(0, 0)),
        case("WINDOW_UPDATE of a stream by 0", StreamError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, END_HEADERS, &[]);
            p.window(1, 0);
        }),
        case("WINDOW_UPDATE of 3 bytes", ConnectionError(&[FRAME_SIZE_ERROR]), |p| {
            p.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]);
        }),
    ]),
    section("http2/6.9.1", "RFC 9113 6.9.1", &[
        case("a window of 1", DataOf(1), |p| {
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 1)]);
            p.await_acknowledgement();
            p.get(1);
        }),
        case("a connection's window beyond 2^31-1", Goaway(FLOW_CONTROL_ERROR), |p| {
            p.window(0, WINDOW_MAX);
            p.window(0, WINDOW_MAX);
        }),
        case("a stream's window beyond 2^31-1", Reset(FLOW_CONTROL_ERROR), |p| {
            p.head(1, END_HEADERS, &[]);
            p.window(1, WINDOW_MAX);
            p.window(1, WINDOW_MAX);
        }),
    ]),
    section("http2/6.9.2", "RFC 9113 6.9.2", &[
        case("SETTINGS_INITIAL_WINDOW_SIZE of 0, a request, then of 1", DataOf(1), |p| {
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
            p.await_acknowledgement();
            p.get(1);
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 1)]);
            p.await_acknowledgement();
        }),
        case("a window that becomes negative, then 1", DataOf(1), |p| {
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 3)]);
            p.await_acknowledgement();
            p.get(1);
            p.await_data();
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 2)]);
            p.await_acknowledgement();
            p.window(1, 2);
        }),
        case("SETTINGS_INITIAL_WINDOW_SIZE of 2^31", ConnectionError(&[FLOW_CONTROL_ERROR]), |p| {
            p.settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)]);
        }),
    ]),
    section("http2/6.10", "RFC 9113 6.10", &[
        case("several CONTINUATION", Answer, |p| {
            p.head(1, END_STREAM, &[]);
            p.more(1, 0);
            p.more(1, END_HEADERS);
        }),
        case("CONTINUATION without END_HEADERS, then DATA", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, 0, &[]);
            p.more(1, 0);
            p.data(1, END_STREAM, b"test");
        }),
        case("CONTINUATION on stream 0", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, END_STREAM, &[]);
            p.more(0, END_HEADERS);
        }),
        case("CONTINUATION after HEADERS with END_HEADERS", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.get(1);
            p.more(1, END_HEADERS);
        }),
        case("CONTINUATION after CONTINUATION with END_HEADERS", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, END_STREAM, &[]);
            p.more(1, END_HEADERS);
            p.more(1, END_HEADERS);
        }),
        case("CONTINUATION after DATA", ConnectionError(&[PROTOCOL_ERROR]), |p| {
            p.head(1, 0, &[]);
            p.data(1, END_STREAM, b"test");
            p.frame(CONTINUATION, END_HEADERS, 1, &literal("x-more", "1"));
        }),
    ]),
    section("http2/7", "RFC 9113 7", &[
        case("GOAWAY with an unknown code", PongOrClose, |p| {
            p.goaway(0, 0xff);
            p.ping();
        }),
        case("RST_STREAM with an unknown code", Pong, |p| {
            p.post(1);
            p.reset(1, 0xff);
            p.ping();
        }),
    ]),
];
