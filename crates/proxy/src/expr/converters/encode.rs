//! Hexadecimal, base64, percent signs, byte orders.

use std::borrow::Cow;
use std::io::Write as _;

use super::{Arg, Converter, Param, Value, ValueType, converter};
use crate::expr::ParseScope;
use crate::expr::args::ArgError;
use crate::stream::Context;

const CHUNKS: &[Param] = &[Param::Str, Param::Int, Param::Int];

pub(super) const TABLE: &[Converter] = &[
    converter("b64dec", ValueType::Str, ValueType::Bin, |_, _, value| {
        Some(Value::Bin(base64_decode(value.as_bytes()?)?.into()))
    }),
    converter("base64", ValueType::Bin, ValueType::Str, |_, _, value| {
        Some(Value::Str(base64_encode(value.as_bytes()?, STANDARD, true).into()))
    }),
    converter("be2dec", ValueType::Bin, ValueType::Str, be2dec)
        .with(CHUNKS, 2)
        .checked(check_be2dec),
    converter("be2hex", ValueType::Bin, ValueType::Str, be2hex)
        .with(CHUNKS, 0)
        .checked(check_be2hex),
    converter("hex", ValueType::Bin, ValueType::Str, |_, _, value| {
        Some(Value::Str(hex(value.as_bytes()?).into()))
    }),
    converter("hex2i", ValueType::Str, ValueType::Int, |_, _, value| {
        let digits = value.as_bytes()?.iter().map(|byte| (*byte as char).to_digit(16));
        let add = |n: i64, digit: Option<u32>| Some(n.wrapping_shl(4).wrapping_add(digit?.into()));
        digits.into_iter().try_fold(0, add).map(Value::Int)
    }),
    converter("htonl", ValueType::Int, ValueType::Bin, |_, _, value| match value {
        Value::Int(n) => Some(Value::Bin((n as u32).to_be_bytes().to_vec().into())),
        _ => None,
    }),
    converter("ub64dec", ValueType::Str, ValueType::Bin, |_, _, value| {
        Some(Value::Bin(decode(value.as_bytes()?, URL)?.into()))
    }),
    converter("ub64enc", ValueType::Bin, ValueType::Str, |_, _, value| {
        Some(Value::Str(base64_encode(value.as_bytes()?, URL, false).into()))
    }),
    converter("url_dec", ValueType::Str, ValueType::Str, url_dec).with(&[Param::Int], 0),
    converter("url_enc", ValueType::Str, ValueType::Str, |_, _, value| {
        Some(Value::Str(url_encode(value.as_bytes()?).into()))
    })
    .with(&[Param::Str], 0)
    .checked(check_url_enc),
];

/// Reads base64 (RFC 4648, 4), padded.
pub(crate) fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    decode(&text[..text.len() - padding.min(2)], STANDARD)
}

/// Writes base64 with the given digits.
pub(crate) fn base64_encode(bytes: &[u8], digits: &[u8; 64], padded: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(digits[(group >> (18 - 6 * place)) as usize & 63]);
        }
        if padded {
            out.resize(out.len() + 3 - chunk.len(), b'=');
        }
    }
    out
}

/// Reads base64 without padding.
fn decode(text: &[u8], digits: &[u8; 64]) -> Option<Vec<u8>> {
    if text.len() % 4 == 1 {
        return None;
    }
    let digit = |byte: u8| digits.iter().position(|&known| known == byte).map(|at| at as u32);
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut group = 0u32;
        for &byte in chunk {
            group = group << 6 | digit(byte)?;
        }
        group <<= 6 * (4 - chunk.len());
        out.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
    }
    Some(out)
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    for byte in bytes {
        _ = write!(out, "{byte:02X}");
    }
    out
}

/// Percent-encodes all but letters, digits and `-._~`.
fn url_encode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn url_dec<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let Value::Str(text) = value else { return None };
    let everywhere = args[0].int().is_some_and(|n| n != 0);
    // A plus sign is a blank behind the question mark, or everywhere when asked for.
    let query = match everywhere {
        true => 0,
        false => memchr::memchr(b'?', &text).map_or(text.len(), |at| at + 1),
    };
    let plus_before = text[..query].contains(&b'+');
    if !text.contains(&b'%') && (query == text.len() || !text[query..].contains(&b'+')) {
        return Some(Value::Str(text));
    }
    let mut out = if plus_before || query > 0 {
        telamon_http_proto::uri::url_decode(&text[..query], false)?
    } else {
        Vec::new()
    };
    out.extend(telamon_http_proto::uri::url_decode(&text[query..], true)?);
    Some(Value::Str(Cow::Owned(out)))
}

/// Numbers of so many bytes each, most significant first, in decimal.
fn be2dec<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    chunked(args, value, |chunk, out| {
        let n = chunk.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        _ = write!(out, "{n}");
    })
}

fn be2hex<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    if args[0].text().is_none_or(<[u8]>::is_empty) {
        return Some(Value::Str(hex(value.as_bytes()?).into()));
    }
    chunked(args, value, |chunk, out| out.extend(hex(chunk)))
}

/// Writes chunks with a separator between them; a last one that is too short may be left out.
fn chunked<'a>(
    args: &[Arg],
    value: Value<'_>,
    write: impl Fn(&[u8], &mut Vec<u8>),
) -> Option<Value<'a>> {
    let bytes = value.as_bytes()?;
    let separator = args[0].text().unwrap_or_default();
    let size = usize::try_from(args[1].int().unwrap_or(1)).ok()?.max(1);
    let whole_only = args[2].int().unwrap_or(0) != 0;
    let mut out = Vec::new();
    for chunk in bytes.chunks(size) {
        if whole_only && chunk.len() < size {
            break;
        }
        if !out.is_empty() {
            out.extend_from_slice(separator);
        }
        write(chunk, &mut out);
    }
    Some(Value::Str(Cow::Owned(out)))
}

fn check_be2dec(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[1].int() {
        Some(n) if !(1..=8).contains(&n) => {
            Err(ArgError::bad(1, &args[1], "a chunk of 1 to 8 bytes"))
        }
        _ => check_flag(args),
    }
}

fn check_be2hex(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    let separated = args[0].text().is_some_and(|separator| !separator.is_empty());
    match args[1].int() {
        Some(n) if n <= 0 && separated => {
            Err(ArgError::bad(1, &args[1], "a chunk of at least one byte"))
        }
        _ => check_flag(args),
    }
}

fn check_flag(args: &[Arg]) -> Result<(), ArgError> {
    match args[2].int() {
        Some(n) if n != 0 && n != 1 => Err(ArgError::bad(2, &args[2], "0 or 1")),
        _ => Ok(()),
    }
}

fn check_url_enc(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[0].text() {
        None | Some(b"" | b"query") => Ok(()),
        Some(_) => Err(ArgError::bad(0, &args[0], "query, the only way of encoding")),
    }
}

pub(crate) const STANDARD: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
