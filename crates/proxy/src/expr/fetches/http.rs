//! Fetches of HTTP requests and answers.

use std::borrow::Cow;
use std::ops::ControlFlow;

use telamon_balance::hash::{avalanche, sdbm};
use telamon_http_proto::{BodyLength, ChunkedDecoder, Head, values};

use super::{Fetch, Pick, each, one};
use crate::expr::args::{ArgError, Param};
use crate::expr::{Arg, Found1, ParseScope, Source, Value, ValueType, auth, parse_int_lenient};
use crate::stream::{Context, Direction};

/// A name, and which one of several: from 1, or from -1 for the last.
const HEADER: &[Param] = &[Param::Str, Param::Int];
const NAME: &[Param] = &[Param::Str];
const REQ: Source = Source::RequestHeaders;
const RES: Source = Source::ResponseHeaders;

pub(super) const TABLE: &[Fetch] = &[
    // The target and the request line.
    one("base", ValueType::Str, REQ, |cx, _| base(request(cx)?, Head::path)),
    one("base32", ValueType::Int, REQ, |cx, _| Some(Value::Int(base32(request(cx)?).into()))),
    one("base32+src", ValueType::Bin, REQ, |cx, _| with_source(cx, base32(request(cx)?))),
    one("baseq", ValueType::Str, REQ, |cx, _| base(request(cx)?, Head::path_and_query)),
    one("method", ValueType::Method, Source::Request, |cx, _| {
        let head = &cx.stream?.request;
        head.is_complete().then(|| Value::Method(Cow::Borrowed(head.method())))
    }),
    one("path", ValueType::Str, REQ, |cx, _| non_empty(request(cx)?.path())),
    one("pathq", ValueType::Str, REQ, |cx, _| non_empty(request(cx)?.path_and_query())),
    one("query", ValueType::Str, REQ, |cx, _| request(cx)?.query().map(Value::str)),
    one("req.ver", ValueType::Str, REQ, |cx, _| Some(version(request(cx)?))),
    one("req_ver", ValueType::Str, REQ, |cx, _| Some(version(request(cx)?))),
    one("url", ValueType::Str, REQ, |cx, _| Some(Value::str(request(cx)?.target()))),
    one("url32", ValueType::Int, REQ, |cx, _| Some(Value::Int(url32(request(cx)?).into()))),
    one("url32+src", ValueType::Bin, REQ, |cx, _| with_source(cx, url32(request(cx)?))),
    one("url_ip", ValueType::Addr, REQ, |cx, _| address_value(request(cx)?.authority()?)),
    one("url_port", ValueType::Int, REQ, url_port),
    each("url_param", ValueType::Str, REQ, url_params, Pick::First)
        .with(&[Param::Str, Param::Str], 0)
        .checked(check_delimiter),
    each("urlp", ValueType::Str, REQ, url_params, Pick::First)
        .with(&[Param::Str, Param::Str], 0)
        .checked(check_delimiter),
    each("urlp_val", ValueType::Int, REQ, url_param_numbers, Pick::First)
        .with(&[Param::Str, Param::Str], 0)
        .checked(check_delimiter),
    // Headers of the request.
    each("hdr", ValueType::Str, Source::EitherHeaders, either_values, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("hdr_cnt", ValueType::Int, REQ, |cx, a| count(request(cx)?, a)).with(NAME, 0),
    each("hdr_ip", ValueType::Addr, REQ, request_addresses, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    each("hdr_val", ValueType::Int, REQ, request_numbers, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    each("req.fhdr", ValueType::Str, REQ, request_lines, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("req.fhdr_cnt", ValueType::Int, REQ, |cx, a| count_lines(request(cx)?, a)).with(NAME, 0),
    each("req.hdr", ValueType::Str, REQ, request_values, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("req.hdr_cnt", ValueType::Int, REQ, |cx, a| count(request(cx)?, a)).with(NAME, 0),
    each("req.hdr_ip", ValueType::Addr, REQ, request_addresses, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("req.hdr_names", ValueType::Str, REQ, |cx, a| header_names(request(cx)?, a)).with(NAME, 0),
    each("req.hdr_val", ValueType::Int, REQ, request_numbers, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("req.hdrs", ValueType::Bin, REQ, |cx, _| Some(headers_text(request(cx)?))),
    one("req.hdrs_bin", ValueType::Bin, REQ, |cx, _| Some(headers_binary(request(cx)?))),
    // Cookies.
    each("cook", ValueType::Str, REQ, request_cookies, Pick::LastIfNamed).with(NAME, 0),
    one("cook_cnt", ValueType::Int, REQ, count_request_cookies).with(NAME, 0),
    each("cook_val", ValueType::Int, REQ, request_cookie_numbers, Pick::LastIfNamed).with(NAME, 0),
    each("cookie", ValueType::Str, Source::EitherHeaders, either_cookies, Pick::LastIfNamed)
        .with(NAME, 0),
    each("req.cook", ValueType::Str, REQ, request_cookies, Pick::LastIfNamed).with(NAME, 0),
    one("req.cook_cnt", ValueType::Int, REQ, count_request_cookies).with(NAME, 0),
    each("req.cook_val", ValueType::Int, REQ, request_cookie_numbers, Pick::LastIfNamed)
        .with(NAME, 0),
    each("res.cook", ValueType::Str, RES, response_cookies, Pick::LastIfNamed).with(NAME, 0),
    one("res.cook_cnt", ValueType::Int, RES, count_response_cookies).with(NAME, 0),
    each("res.cook_val", ValueType::Int, RES, response_cookie_numbers, Pick::LastIfNamed)
        .with(NAME, 0),
    each("scook", ValueType::Str, RES, response_cookies, Pick::LastIfNamed).with(NAME, 0),
    one("scook_cnt", ValueType::Int, RES, count_response_cookies).with(NAME, 0),
    each("scook_val", ValueType::Int, RES, response_cookie_numbers, Pick::LastIfNamed)
        .with(NAME, 0),
    each("set-cookie", ValueType::Str, RES, response_cookies, Pick::LastIfNamed).with(NAME, 0),
    // Headers of the answer.
    each("res.fhdr", ValueType::Str, RES, response_lines, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("res.fhdr_cnt", ValueType::Int, RES, |cx, a| count_lines(response(cx)?, a)).with(NAME, 0),
    each("res.hdr", ValueType::Str, RES, response_values, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("res.hdr_cnt", ValueType::Int, RES, |cx, a| count(response(cx)?, a)).with(NAME, 0),
    each("res.hdr_ip", ValueType::Addr, RES, response_addresses, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("res.hdr_names", ValueType::Str, RES, |cx, a| header_names(response(cx)?, a)).with(NAME, 0),
    each("res.hdr_val", ValueType::Int, RES, response_numbers, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("res.hdrs", ValueType::Bin, RES, |cx, _| Some(headers_text(response(cx)?))),
    one("res.hdrs_bin", ValueType::Bin, RES, |cx, _| Some(headers_binary(response(cx)?))),
    one("res.ver", ValueType::Str, RES, |cx, _| Some(version(response(cx)?))),
    one("resp_ver", ValueType::Str, RES, |cx, _| Some(version(response(cx)?))),
    each("shdr", ValueType::Str, RES, response_values, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("shdr_cnt", ValueType::Int, RES, |cx, a| count(response(cx)?, a)).with(NAME, 0),
    each("shdr_ip", ValueType::Addr, RES, response_addresses, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    each("shdr_val", ValueType::Int, RES, response_numbers, Pick::Last)
        .with(HEADER, 0)
        .checked(check_occurrence),
    one("status", ValueType::Int, Source::Response, |cx, _| {
        let status = match cx.check {
            Some(check) => check.response?.status(),
            None => cx.stream?.response.status(),
        };
        (status != 0).then(|| Value::Int(status.into()))
    }),
    // Captures.
    one("capture.req.hdr", ValueType::Str, Source::Request, |cx, args| {
        captured(&cx.stream?.request_captures, args)
    })
    .with(&[Param::Int], 1),
    one("capture.req.method", ValueType::Str, Source::Request, |cx, _| {
        non_empty(request_line(cx)?.0)
    }),
    one("capture.req.uri", ValueType::Str, Source::Request, |cx, _| {
        non_empty(path_and_query(request_line(cx)?.1))
    }),
    one("capture.req.ver", ValueType::Str, Source::Request, |cx, _| {
        let head = &cx.stream?.request;
        head.is_complete().then(|| Value::str(head.version().as_str().as_bytes()))
    }),
    one("capture.res.hdr", ValueType::Str, Source::Response, |cx, args| {
        captured(&cx.stream?.response_captures, args)
    })
    .with(&[Param::Int], 1),
    one("capture.res.ver", ValueType::Str, Source::Request, |cx, _| {
        let head = &cx.stream?.response;
        head.is_complete().then(|| Value::str(head.version().as_str().as_bytes()))
    }),
    // Who the client says it is.
    one("http_auth", ValueType::Bool, REQ, |cx, args| {
        let Arg::Userlist(users) = &args[0] else { return None };
        let (user, password) = auth::basic(request(cx)?)?;
        Some(Value::Bool(auth::is_known(users, &user, &password)))
    })
    .with(&[Param::Userlist], 1),
    one("http_auth_bearer", ValueType::Str, REQ, |cx, args| {
        auth::bearer(request(cx)?, args[0].text().unwrap_or(b"authorization")).map(Value::str)
    })
    .with(NAME, 0),
    // Compared with groups in ACLs; elsewhere it gives the user, if known.
    one("http_auth_group", ValueType::Str, REQ, |cx, args| {
        let Arg::Userlist(users) = &args[0] else { return None };
        let (user, password) = auth::basic(request(cx)?)?;
        auth::is_known(users, &user, &password).then_some(Value::Str(Cow::Owned(user)))
    })
    .with(&[Param::Userlist], 1),
    one("http_auth_pass", ValueType::Str, REQ, |cx, _| {
        auth::basic(request(cx)?).map(|(_, password)| Value::Str(Cow::Owned(password)))
    }),
    one("http_auth_type", ValueType::Str, REQ, |cx, _| auth::scheme(request(cx)?).map(Value::str)),
    one("http_auth_user", ValueType::Str, REQ, |cx, _| {
        auth::basic(request(cx)?).map(|(user, _)| Value::Str(Cow::Owned(user)))
    }),
    // Bodies, as far as they have arrived.
    one("req.body", ValueType::Bin, Source::RequestBody, |cx, _| {
        Some(Value::Bin(request_body(cx)?))
    }),
    one("req.body_len", ValueType::Int, Source::RequestBody, |cx, _| {
        Some(Value::Int(request_body(cx)?.len() as i64))
    }),
    each("req.body_param", ValueType::Bin, Source::RequestBody, body_params, Pick::First)
        .with(NAME, 0),
    one("req.body_size", ValueType::Int, Source::RequestBody, |cx, _| {
        body_size(request(cx)?, request_body(cx)?)
    }),
    one("res.body", ValueType::Bin, Source::ResponseBody, |cx, _| {
        Some(Value::Bin(response_body(cx)?))
    }),
    one("res.body_len", ValueType::Int, Source::ResponseBody, |cx, _| {
        Some(Value::Int(response_body(cx)?.len() as i64))
    }),
    one("res.body_size", ValueType::Int, Source::ResponseBody, |cx, _| {
        body_size(response(cx)?, response_body(cx)?)
    }),
];

/// The request's head while the request is being looked at; asks for more bytes while it is not
/// complete.
pub(super) fn request<'a>(cx: &Context<'a>) -> Option<&'a Head> {
    let stream = cx.stream.filter(|_| cx.direction == Direction::Request)?;
    if stream.request.is_complete() {
        return Some(&stream.request);
    }
    if !stream.request_input_complete {
        cx.wants_more.set(true);
    }
    None
}

fn response<'a>(cx: &Context<'a>) -> Option<&'a Head> {
    if let Some(check) = cx.check {
        return check.response;
    }
    let stream = cx.stream.filter(|_| cx.direction == Direction::Response)?;
    if stream.response.is_complete() {
        return Some(&stream.response);
    }
    if !stream.response_input_complete {
        cx.wants_more.set(true);
    }
    None
}

fn either<'a>(cx: &Context<'a>) -> Option<&'a Head> {
    match cx.direction {
        Direction::Request => request(cx),
        Direction::Response => response(cx),
    }
}

fn non_empty(text: &[u8]) -> Option<Value<'_>> {
    (!text.is_empty()).then(|| Value::str(text))
}

/// `1.1` of `HTTP/1.1`.
fn version<'a>(head: &Head) -> Value<'a> {
    Value::str(&head.version().as_str().as_bytes()[5..])
}

/// Host and path in one text; without a host, the path alone.
fn base<'a>(head: &'a Head, path: fn(&'a Head) -> &'a [u8]) -> Option<Value<'a>> {
    let path = path(head);
    let host = first_value(head, b"host");
    if host.is_empty() {
        return non_empty(path);
    }
    let path = if path.starts_with(b"/") { path } else { b"" };
    Some(Value::Str(Cow::Owned([host, path].concat())))
}

fn base32(head: &Head) -> u32 {
    let hash = sdbm(0, first_value(head, b"host"));
    let path = head.path();
    avalanche(if path.starts_with(b"/") { sdbm(hash, path) } else { hash })
}

fn url32(head: &Head) -> u32 {
    let hash = sdbm(0, head.header(b"host").unwrap_or_default());
    let path = head.path_and_query();
    avalanche(if path.starts_with(b"/") { sdbm(hash, path) } else { hash })
}

fn first_value<'h>(head: &'h Head, name: &'h [u8]) -> &'h [u8] {
    head.header_values(name).next().unwrap_or_default()
}

/// The hash, then the client's address: a key for tables.
fn with_source<'a>(cx: &Context<'a>, hash: u32) -> Option<Value<'a>> {
    let mut key = hash.to_be_bytes().to_vec();
    match super::session::src(cx)?.ip() {
        std::net::IpAddr::V4(ip) => key.extend(ip.octets()),
        std::net::IpAddr::V6(ip) => key.extend(ip.octets()),
    }
    Some(Value::Bin(Cow::Owned(key)))
}

fn url_port<'a>(cx: &Context<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    let head = request(cx)?;
    let (_, port) = telamon_http_proto::uri::split_port(head.authority()?);
    if !port.is_empty() {
        return Some(Value::Int(parse_int_lenient(port).0));
    }
    Some(Value::Int(if head.scheme().is_some_and(|s| s.eq_ignore_ascii_case(b"https")) {
        443
    } else {
        80
    }))
}

// Headers

/// Hands over the values of a header: all, or the one that the arguments ask for.
fn values_of<'a>(
    head: &'a Head,
    args: &'a [Arg],
    whole_lines: bool,
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    let name = args[0].text().unwrap_or_default();
    let occurrence = args[1].int().unwrap_or(0);
    let named = |header: &telamon_http_proto::Header<'_>| {
        name.is_empty() || header.name.eq_ignore_ascii_case(name)
    };
    let lines = || head.headers().filter(named).map(|header| header.value);
    let all = || {
        lines().flat_map(move |line| {
            let whole = whole_lines.then_some(line);
            let parts = (!whole_lines).then(|| values::list_values(line));
            whole.into_iter().chain(parts.into_iter().flatten())
        })
    };
    if occurrence == 0 {
        for value in all() {
            found(Value::str(value))?;
        }
        return ControlFlow::Continue(());
    }
    let index = if occurrence > 0 {
        Some(occurrence as usize - 1)
    } else {
        all().count().checked_sub(occurrence.unsigned_abs() as usize)
    };
    match index.and_then(|index| all().nth(index)) {
        Some(value) => found(Value::str(value)),
        None => ControlFlow::Continue(()),
    }
}

macro_rules! header_fetch {
    ($name:ident, $head:ident, $whole:expr, $convert:expr) => {
        fn $name<'a>(
            cx: &Context<'a>,
            args: &'a [Arg],
            found: &mut Found1<'_, 'a>,
        ) -> ControlFlow<()> {
            let Some(head) = $head(cx) else { return ControlFlow::Continue(()) };
            values_of(head, args, $whole, &mut |value| {
                let convert: fn(Value<'a>) -> Option<Value<'a>> = $convert;
                match convert(value) {
                    Some(value) => found(value),
                    None => ControlFlow::Continue(()),
                }
            })
        }
    };
}

header_fetch!(either_values, either, false, Some);
header_fetch!(request_values, request, false, Some);
header_fetch!(request_lines, request, true, Some);
header_fetch!(request_addresses, request, false, to_address);
header_fetch!(request_numbers, request, false, to_number);
header_fetch!(response_values, response, false, Some);
header_fetch!(response_lines, response, true, Some);
header_fetch!(response_addresses, response, false, to_address);
header_fetch!(response_numbers, response, false, to_number);

fn to_address(value: Value<'_>) -> Option<Value<'_>> {
    address_value(value.as_bytes()?)
}

fn to_number(value: Value<'_>) -> Option<Value<'_>> {
    Some(Value::Int(parse_int_lenient(value.as_bytes()?).0))
}

/// An address, of which an IPv4 one may have a port and an IPv6 one brackets and a port.
fn address_value<'a>(text: &[u8]) -> Option<Value<'a>> {
    let text = std::str::from_utf8(text).ok()?;
    let ip = text
        .parse()
        .ok()
        .or_else(|| text.parse().ok().map(|inet: std::net::SocketAddr| inet.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(Value::Addr(ip))
}

fn count<'a>(head: &'a Head, args: &'a [Arg]) -> Option<Value<'a>> {
    let count = match args[0].text().filter(|name| !name.is_empty()) {
        Some(name) => head.header_values(name).count(),
        None => head.headers().flat_map(|header| values::list_values(header.value)).count(),
    };
    Some(Value::Int(count as i64))
}

fn count_lines<'a>(head: &'a Head, args: &'a [Arg]) -> Option<Value<'a>> {
    let count = match args[0].text().filter(|name| !name.is_empty()) {
        Some(name) => head.header_lines(name).count(),
        None => head.header_count(),
    };
    Some(Value::Int(count as i64))
}

fn header_names<'a>(head: &'a Head, args: &'a [Arg]) -> Option<Value<'a>> {
    let separator = args[0].text().filter(|text| !text.is_empty()).unwrap_or(b",");
    let names: Vec<&[u8]> = head.headers().map(|header| header.name).collect();
    Some(Value::Str(Cow::Owned(names.join(separator))))
}

fn headers_text<'a>(head: &Head) -> Value<'a> {
    let mut out = Vec::with_capacity(head.len());
    for header in head.headers() {
        out.extend_from_slice(header.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Value::Bin(Cow::Owned(out))
}

/// Names and values, each behind its length; two empty ones at the end.
fn headers_binary<'a>(head: &Head) -> Value<'a> {
    let mut out = Vec::with_capacity(head.len());
    let mut push = |text: &[u8]| {
        push_varint(&mut out, text.len() as u64);
        out.extend_from_slice(text);
    };
    for header in head.headers() {
        push(header.name);
        push(header.value);
    }
    push(b"");
    push(b"");
    Value::Bin(Cow::Owned(out))
}

/// The variable-length number of the SPOE protocol.
fn push_varint(out: &mut Vec<u8>, mut n: u64) {
    if n < 240 {
        out.push(n as u8);
        return;
    }
    out.push(n as u8 | 0xf0);
    n = (n - 240) >> 4;
    while n >= 128 {
        out.push(n as u8 | 0x80);
        n = (n - 128) >> 7;
    }
    out.push(n as u8);
}

fn check_occurrence(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[1].int() {
        Some(n) if n < -10 => Err(ArgError::bad(1, &args[1], "an occurrence of at least -10")),
        _ => Ok(()),
    }
}

// Cookies

fn cookies_of<'a>(head: &'a Head, args: &'a [Arg], found: &mut Found1<'_, 'a>) -> ControlFlow<()> {
    let name = args[0].text().unwrap_or_default();
    for line in head.header_lines(b"cookie") {
        for (known, value) in values::cookies(line) {
            if (name.is_empty() || known == name) && !ends_bare(line, name, value) {
                found(Value::str(value))?;
            }
        }
    }
    ControlFlow::Continue(())
}

fn set_cookies_of<'a>(
    head: &'a Head,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    let name = args[0].text().unwrap_or_default();
    for line in head.header_lines(b"set-cookie") {
        if let Some((known, value)) = values::set_cookie(line)
            && (name.is_empty() || known == name)
            && !ends_bare(line, name, value)
        {
            found(Value::str(value))?;
        }
    }
    ControlFlow::Continue(())
}

/// Whether a named cookie without a value is all that is left of its line, `name=`: HAProxy does not see it.
fn ends_bare(line: &[u8], name: &[u8], value: &[u8]) -> bool {
    let before = || line.strip_suffix(b"=")?.strip_suffix(name);
    value.is_empty()
        && !name.is_empty()
        && before().is_some_and(|before| matches!(before.last(), None | Some(b';')))
}

fn request_cookies<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    request(cx).map_or(ControlFlow::Continue(()), |head| cookies_of(head, args, found))
}

fn response_cookies<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    response(cx).map_or(ControlFlow::Continue(()), |head| set_cookies_of(head, args, found))
}

fn either_cookies<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    match cx.direction {
        Direction::Request => request_cookies(cx, args, found),
        Direction::Response => response_cookies(cx, args, found),
    }
}

fn request_cookie_numbers<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    request_cookies(cx, args, &mut |value| numbers(value, found))
}

fn response_cookie_numbers<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    response_cookies(cx, args, &mut |value| numbers(value, found))
}

fn numbers<'a>(value: Value<'a>, found: &mut Found1<'_, 'a>) -> ControlFlow<()> {
    to_number(value).map_or(ControlFlow::Continue(()), found)
}

fn count_request_cookies<'a>(cx: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    Some(counted(|found| cookies_of(request(cx)?, args, found).continue_value()))
}

fn count_response_cookies<'a>(cx: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    Some(counted(|found| set_cookies_of(response(cx)?, args, found).continue_value()))
}

fn counted<'a>(run: impl FnOnce(&mut Found1<'_, 'a>) -> Option<()>) -> Value<'a> {
    let mut count = 0;
    _ = run(&mut |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    Value::Int(count)
}

// Parameters

/// Hands over the values of a parameter of the query string, or behind another delimiter.
fn url_params<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    let Some(head) = request(cx) else { return ControlFlow::Continue(()) };
    let delimiter = args[1].text().and_then(<[u8]>::first).copied().unwrap_or(b'?');
    let target = head.target();
    let Some(start) = memchr::memchr(delimiter, target) else { return ControlFlow::Continue(()) };
    let name = args[0].text().unwrap_or_default();
    params_of(&target[start + 1..], name, delimiter, &mut |value| found(Value::str(value)))
}

fn url_param_numbers<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    url_params(cx, args, &mut |value| numbers(value, found))
}

fn body_params<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    found: &mut Found1<'_, 'a>,
) -> ControlFlow<()> {
    let Some(body) = request_body(cx) else { return ControlFlow::Continue(()) };
    let name = args[0].text().unwrap_or_default();
    match body {
        Cow::Borrowed(body) => params_of(body, name, b'&', &mut |value| found(Value::bin(value))),
        Cow::Owned(body) => {
            params_of(&body, name, b'&', &mut |value| found(Value::Bin(Cow::Owned(value.to_vec()))))
        }
    }
}

/// The values of parameters of that name (empty: of any), which end at `&`, `;` or `delimiter`.
fn params_of<'q>(
    text: &'q [u8],
    name: &[u8],
    delimiter: u8,
    found: &mut dyn FnMut(&'q [u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for part in text.split(|&byte| byte == b'&' || byte == b';' || byte == delimiter) {
        if let Some(at) = memchr::memchr(b'=', part)
            && (name.is_empty() || part[..at] == *name)
        {
            found(&part[at + 1..])?;
        }
    }
    ControlFlow::Continue(())
}

fn check_delimiter(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[1].text() {
        Some(text) if text.len() != 1 => {
            Err(ArgError::bad(1, &args[1], "one character, where the parameters begin"))
        }
        _ => Ok(()),
    }
}

// Captures

fn captured<'a>(slots: &'a [Option<Box<[u8]>>], args: &'a [Arg]) -> Option<Value<'a>> {
    let slot = usize::try_from(args[0].int()?).ok()?;
    slots.get(slot)?.as_deref().map(Value::str)
}

/// Method and target of the request line as it was received.
fn request_line<'a>(cx: &Context<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let mut words = cx.stream?.request_line.split(|&byte| byte == b' ');
    Some((words.next()?, words.next()?))
}

/// What follows scheme and authority, if there are any.
pub(crate) fn path_and_query(target: &[u8]) -> &[u8] {
    if target.starts_with(b"/") {
        return target;
    }
    let authority = memchr::memmem::find(target, b"://").map_or(0, |at| at + 3);
    let path = memchr::memchr(b'/', &target[authority..]);
    path.map_or(b"", |at| &target[authority + at..])
}

/// What has arrived of the request's body, out of its chunks.
fn request_body<'a>(cx: &Context<'a>) -> Option<Cow<'a, [u8]>> {
    let head = request(cx)?;
    body(head, head.request_body())
}

fn response_body<'a>(cx: &Context<'a>) -> Option<Cow<'a, [u8]>> {
    let head = response(cx)?;
    if let Some(check) = cx.check {
        return Some(Cow::Borrowed(check.content));
    }
    let method = cx.stream?.request.method_kind();
    body(head, head.response_body(method, false).ok()?)
}

pub(crate) fn body(head: &Head, length: BodyLength) -> Option<Cow<'_, [u8]>> {
    let arrived = head.remaining();
    Some(match length {
        BodyLength::None | BodyLength::Tunnel => Cow::Borrowed(b"".as_slice()),
        BodyLength::UntilClose => Cow::Borrowed(arrived),
        // What follows is the next message.
        BodyLength::Length(len) => {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            Cow::Borrowed(&arrived[..arrived.len().min(len)])
        }
        BodyLength::Chunked => {
            let mut out = Vec::with_capacity(arrived.len());
            let mut decoder = ChunkedDecoder::new();
            let mut rest = arrived;
            while !rest.is_empty() && !decoder.is_done() {
                let Ok(piece) = decoder.piece(rest) else { break };
                let Some((bytes, after)) = rest.split_at_checked(piece.len) else { break };
                if piece.len == 0 {
                    break;
                }
                if piece.is_content {
                    out.extend_from_slice(bytes);
                }
                rest = after;
            }
            Cow::Owned(out)
        }
    })
}

/// The length that the head announces, else what has arrived.
fn body_size<'a>(head: &Head, arrived: Cow<'_, [u8]>) -> Option<Value<'a>> {
    Some(Value::Int(head.content_length().unwrap_or(arrived.len() as u64) as i64))
}
