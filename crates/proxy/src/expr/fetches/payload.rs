//! Fetches of bytes as they came: TCP contents, TLS greetings, RDP cookies.

use super::{Fetch, Pick, each, one, tls_hello};
use crate::expr::args::{ArgError, Param};
use crate::expr::{Arg, Found1, ParseScope, Source, Value, ValueType};
use crate::stream::{Context, Direction};
use std::ops::ControlFlow;
use telamon_http_proto::{Head, Kind};

const REQ: Source = Source::RequestBuffer;
const RES: Source = Source::ResponseBuffer;
const OFFSET_AND_LENGTH: &[Param] = &[Param::Int, Param::Int];
const LENGTH_VALUE: &[Param] = &[Param::Int, Param::Int, Param::Str];

pub(super) const TABLE: &[Fetch] = &[
    one("payload", ValueType::Bin, Source::EitherBuffer, payload)
        .with(OFFSET_AND_LENGTH, 2)
        .checked(check_payload),
    one("payload_lv", ValueType::Bin, Source::EitherBuffer, payload_lv)
        .with(LENGTH_VALUE, 2)
        .checked(check_payload_lv),
    each("rdp_cookie", ValueType::Str, REQ, rdp_cookie, Pick::First).with(&[Param::Str], 0),
    one("rdp_cookie_cnt", ValueType::Int, REQ, rdp_cookie_count).with(&[Param::Str], 0),
    one("req.len", ValueType::Int, REQ, length),
    one("req.payload", ValueType::Bin, REQ, payload)
        .with(OFFSET_AND_LENGTH, 2)
        .checked(check_payload),
    one("req.payload_lv", ValueType::Bin, REQ, payload_lv)
        .with(LENGTH_VALUE, 2)
        .checked(check_payload_lv),
    one("req.proto_http", ValueType::Bool, Source::Request, is_http),
    each("req.rdp_cookie", ValueType::Str, REQ, rdp_cookie, Pick::First).with(&[Param::Str], 0),
    one("req.rdp_cookie_cnt", ValueType::Int, REQ, rdp_cookie_count).with(&[Param::Str], 0),
    one("req.ssl_alpn", ValueType::Str, REQ, |cx, _| hello(cx, tls_hello::alpn).map(Value::str)),
    one("req.ssl_ec_ext", ValueType::Bool, REQ, |cx, _| {
        hello(cx, tls_hello::has_curves).map(Value::Bool)
    }),
    one("req.ssl_hello_type", ValueType::Int, REQ, hello_type),
    one("req.ssl_sni", ValueType::Str, REQ, |cx, _| {
        hello(cx, tls_hello::server_name).map(Value::str)
    }),
    one("req.ssl_st_ext", ValueType::Int, REQ, |cx, _| {
        hello(cx, tls_hello::ticket).map(Value::Int)
    }),
    one("req.ssl_ver", ValueType::Int, REQ, |cx, _| hello(cx, tls_hello::version).map(Value::Int)),
    one("req_len", ValueType::Int, REQ, length),
    one("req_proto_http", ValueType::Bool, Source::Request, is_http),
    each("req_rdp_cookie", ValueType::Str, REQ, rdp_cookie, Pick::First).with(&[Param::Str], 0),
    one("req_rdp_cookie_cnt", ValueType::Int, REQ, rdp_cookie_count).with(&[Param::Str], 0),
    one("req_ssl_hello_type", ValueType::Int, REQ, hello_type),
    one("req_ssl_sni", ValueType::Str, REQ, |cx, _| {
        hello(cx, tls_hello::server_name).map(Value::str)
    }),
    one("req_ssl_ver", ValueType::Int, REQ, |cx, _| hello(cx, tls_hello::version).map(Value::Int)),
    one("rep_ssl_hello_type", ValueType::Int, RES, hello_type),
    one("res.len", ValueType::Int, RES, length),
    one("res.payload", ValueType::Bin, RES, payload)
        .with(OFFSET_AND_LENGTH, 2)
        .checked(check_payload),
    one("res.payload_lv", ValueType::Bin, RES, payload_lv)
        .with(LENGTH_VALUE, 2)
        .checked(check_payload_lv),
    one("res.ssl_hello_type", ValueType::Int, RES, hello_type),
    one("wait_end", ValueType::Bool, Source::Internal, |cx, _| {
        let (_, complete) = input(cx)?;
        if !complete {
            cx.wants_more.set(true);
            return None;
        }
        Some(Value::Bool(true))
    }),
];

/// What is held of the half that is being looked at, and whether no more will come.
fn input<'a>(cx: &Context<'a>) -> Option<(&'a [u8], bool)> {
    if let Some(check) = cx.check {
        return Some((check.content, true));
    }
    let stream = cx.stream?;
    Some(match cx.direction {
        Direction::Request => (stream.request.remaining(), stream.request_input_complete),
        Direction::Response => (stream.response.remaining(), stream.response_input_complete),
    })
}

/// Asks for more bytes, unless no more will come.
fn more<T>(cx: &Context<'_>, complete: bool) -> Option<T> {
    if !complete {
        cx.wants_more.set(true);
    }
    None
}

fn length<'a>(cx: &Context<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    let (bytes, complete) = input(cx)?;
    let head = match (cx.stream, cx.direction) {
        (None, _) => 0,
        (Some(stream), Direction::Request) => head_len(&stream.request),
        (Some(stream), Direction::Response) => head_len(&stream.response),
    };
    if !complete {
        cx.wants_more.set(true);
    }
    Some(Value::Int((head + bytes.len()) as i64))
}

/// What a head takes in HAProxy's buffer, where it is kept in blocks: limits that people have written count that.
/// Nothing in `mode tcp`, which has no head.
fn head_len(head: &Head) -> usize {
    if !head.is_complete() {
        return 0;
    }
    let start_line = match head.kind() {
        Kind::Request => head.method().len() + head.target().len() + head.version().as_str().len(),
        Kind::Response => head.version().as_str().len() + 3 + head.reason().len(),
    };
    let fields = head.headers().map(|header| header.name.len() + header.value.len());
    START_LINE_LEN + start_line + fields.sum::<usize>() + END_OF_HEAD_LEN
}

/// What HAProxy keeps beside the text of a start line, and the block that ends a head.
const START_LINE_LEN: usize = 20;
const END_OF_HEAD_LEN: usize = 1;

fn payload<'a>(cx: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let (bytes, complete) = input(cx)?;
    let offset = usize::try_from(args[0].int()?).ok()?;
    let len = usize::try_from(args[1].int()?).ok()?;
    if offset.saturating_add(len) > cx.model.global.tune.bufsize {
        return None; // It will never fit.
    }
    if len == 0 {
        // All there is; it grows as long as bytes come.
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty());
        if !complete {
            cx.wants_more.set(true);
        }
        return rest.map(Value::bin);
    }
    match bytes.get(offset..offset + len) {
        Some(part) => Some(Value::bin(part)),
        None => more(cx, complete),
    }
}

/// A block whose length stands before it.
fn payload_lv<'a>(cx: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let (bytes, complete) = input(cx)?;
    let at = usize::try_from(args[0].int()?).ok()?;
    let width = usize::try_from(args[1].int()?).ok()?;
    let Some(field) = bytes.get(at..at.checked_add(width)?) else { return more(cx, complete) };
    let len = field.iter().fold(0usize, |len, byte| len << 8 | usize::from(*byte));
    let start = match args[2] {
        Arg::Int(absolute) => usize::try_from(absolute).ok()?,
        Arg::Str(ref relative) => {
            let offset = crate::expr::parse_int_lenient(relative).0;
            usize::try_from((at + width) as i64 + offset).ok()?
        }
        _ => at + width,
    };
    let max = cx.model.global.tune.bufsize;
    if len == 0 || len > max || start.saturating_add(len) > max {
        return None;
    }
    match bytes.get(start..start + len) {
        Some(block) => Some(Value::bin(block)),
        None => more(cx, complete),
    }
}

fn check_payload(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    for (index, arg) in args.iter().enumerate() {
        if arg.int().is_some_and(|n| n < 0) {
            return Err(ArgError::bad(index, arg, "a positive number"));
        }
    }
    Ok(())
}

fn check_payload_lv(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    if args[0].int().is_some_and(|n| n < 0) {
        return Err(ArgError::bad(0, &args[0], "a positive offset"));
    }
    if args[1].int().is_some_and(|n| !(1..=8).contains(&n)) {
        return Err(ArgError::bad(1, &args[1], "a width of 1 to 8 bytes"));
    }
    let Arg::Str(text) = &args[2] else { return Ok(()) };
    if text.is_empty() {
        args[2] = Arg::Absent;
        return Ok(());
    }
    let (offset, read) = crate::expr::parse_int_lenient(text);
    if read < text.len() {
        return Err(ArgError::bad(2, &args[2], "an offset, or one relative to the length: +1, -2"));
    }
    // Relative ones stay text.
    if text[0].is_ascii_digit() {
        args[2] = Arg::Int(offset);
    }
    Ok(())
}

/// Whether the request is HTTP. In `mode tcp` the first line decides.
fn is_http<'a>(cx: &Context<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    let stream = cx.stream?;
    if stream.request.is_complete() {
        return Some(Value::Bool(true));
    }
    let bytes = stream.request.input();
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        let may_be = bytes.iter().all(|byte| (b' '..0x7f).contains(byte) || *byte == b'\r');
        return match may_be {
            true => more(cx, stream.request_input_complete),
            false => Some(Value::Bool(false)),
        };
    };
    let line = bytes[..end].trim_ascii_end();
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let [method, _, version] = words[..] else { return Some(Value::Bool(false)) };
    let is_token = !method.is_empty() && method.iter().all(u8::is_ascii_alphanumeric);
    Some(Value::Bool(is_token && version.starts_with(b"HTTP/1.")))
}

/// The cookie of a remote desktop client, behind the 11 bytes of its TPKT and X.224 headers.
fn rdp_cookie<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    match find_rdp_cookie(cx, args[0].text().unwrap_or_default()) {
        Some(value) => found(Value::str(value)),
        None => ControlFlow::Continue(()),
    }
}

fn rdp_cookie_count<'a>(cx: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let found = find_rdp_cookie(cx, args[0].text().unwrap_or_default()).is_some();
    // While it may still come, there is no count either.
    (!cx.wants_more.get()).then_some(Value::Int(found.into()))
}

fn find_rdp_cookie<'a>(cx: &Context<'a>, name: &[u8]) -> Option<&'a [u8]> {
    const MARK: &[u8] = b"Cookie:";
    let (bytes, complete) = input(cx)?;
    let Some(rest) = bytes.get(11..).filter(|rest| rest.len() > MARK.len()) else {
        return more(cx, complete);
    };
    if !rest[..MARK.len()].eq_ignore_ascii_case(MARK) {
        return None;
    }
    let rest = rest[MARK.len()..].trim_ascii_start();
    let Some(end) = memchr::memchr(b'\r', rest) else { return more(cx, complete) };
    let at = memchr::memchr(b'=', &rest[..end])?;
    let named = name.is_empty() || rest[..at].eq_ignore_ascii_case(name);
    match rest.get(end + 1) {
        None => more(cx, complete),
        Some(b'\n') if named => Some(&rest[at + 1..end]),
        Some(_) => None,
    }
}

/// Reads something of a TLS client's greeting.
fn hello<'a, T>(cx: &Context<'a>, read: fn(&tls_hello::Hello<'a>) -> Option<T>) -> Option<T> {
    let (bytes, complete) = input(cx)?;
    match tls_hello::parse(bytes) {
        Ok(hello) => read(&hello),
        Err(tls_hello::NotHello::Incomplete) => more(cx, complete),
        Err(tls_hello::NotHello::Other) => None,
    }
}

/// 1 for a client's greeting, 2 for a server's, once all of it is there; nothing for what is not TLS.
fn hello_type<'a>(cx: &Context<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    let (bytes, complete) = input(cx)?;
    match bytes {
        [0x14..=0x17 | 0xff, 3..=0xff, _, _, _, kind, a, b, c, rest @ ..] => {
            let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if rest.len() < len { more(cx, complete) } else { Some(Value::Int((*kind).into())) }
        }
        [0x14..=0x17 | 0xff, 3..=0xff, ..] | [0x14..=0x17 | 0xff] | [] => more(cx, complete),
        _ => None,
    }
}
