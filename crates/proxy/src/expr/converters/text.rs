//! Text: parts of it, changes to it, comparisons.

use std::borrow::Cow;

use super::{Arg, Converter, Param, Value, ValueType, converter, optional_variable, variable_text};
use crate::expr::args::ArgError;
use crate::expr::{ParseScope, auth, regex};
use crate::stream::Context;

const STR: &[Param] = &[Param::Str];
const PART: &[Param] = &[Param::Int, Param::Str, Param::Int];

pub(super) const TABLE: &[Converter] = &[
    converter("add_item", ValueType::Str, ValueType::Str, add_item)
        .with(&[Param::Str, Param::Str, Param::Str], 2)
        .checked(|args, _| optional_variable(args, 1)),
    converter("bytes", ValueType::Bin, ValueType::Bin, bytes)
        .with(&[Param::Int, Param::Int], 1)
        .checked(check_bytes),
    converter("concat", ValueType::Str, ValueType::Str, concat)
        .with(&[Param::Str, Param::Str, Param::Str], 1)
        .checked(|args, _| optional_variable(args, 1)),
    converter("cut_crlf", ValueType::Str, ValueType::Str, |_, _, value| {
        part(value, |text| {
            let end = memchr::memchr2(b'\r', b'\n', text).unwrap_or(text.len());
            Some(0..end)
        })
    }),
    converter("field", ValueType::Str, ValueType::Str, field).with(PART, 2).checked(check_part),
    converter("host_only", ValueType::Str, ValueType::Str, |cx, args, value| {
        lower(cx, args, part(value, |text| Some(0..host_end(text)))?)
    }),
    converter("iif", ValueType::Bool, ValueType::Str, |_, args, value| {
        let chosen = if value == Value::Bool(true) { &args[0] } else { &args[1] };
        Some(Value::str(chosen.text()?))
    })
    .with(&[Param::Str, Param::Str], 2),
    converter("language", ValueType::Str, ValueType::Str, language)
        .with(&[Param::Str, Param::Str], 1),
    converter("length", ValueType::Str, ValueType::Int, |_, _, value| {
        Some(Value::Int(value.as_bytes()?.len() as i64))
    }),
    converter("lower", ValueType::Str, ValueType::Str, lower),
    converter("ltrim", ValueType::Str, ValueType::Str, |_, args, value| {
        let trimmed = args[0].text()?;
        part(value, |text| Some(left(text, trimmed)..text.len()))
    })
    .with(STR, 1),
    converter("param", ValueType::Str, ValueType::Str, param)
        .with(&[Param::Str, Param::Str], 1)
        .checked(check_param),
    converter("port_only", ValueType::Str, ValueType::Int, |_, _, value| {
        let text = value.as_bytes()?;
        let port = text.get(host_end(text) + 1..).unwrap_or_default();
        Some(Value::Int(crate::expr::parse_int_lenient(port).0))
    }),
    converter("regsub", ValueType::Str, ValueType::Str, regsub)
        .with(&[Param::Str, Param::Str, Param::Str], 2)
        .checked(check_regsub),
    converter("rtrim", ValueType::Str, ValueType::Str, |_, args, value| {
        let trimmed = args[0].text()?;
        part(value, |text| {
            let kept = text.iter().rposition(|byte| !trimmed.contains(byte));
            Some(0..kept.map_or(0, |at| at + 1))
        })
    })
    .with(STR, 1),
    converter("secure_memcmp", ValueType::Bin, ValueType::Bool, |cx, args, value| {
        let Arg::Variable(name) = &args[0] else { return None };
        let Value::Bin(other) = name.get(cx)?.cast(ValueType::Bin)? else { return None };
        Some(Value::Bool(auth::same(value.as_bytes()?, &other)))
    })
    .with(&[Param::Variable], 1),
    converter("strcmp", ValueType::Str, ValueType::Int, |cx, args, value| {
        let Arg::Variable(name) = &args[0] else { return None };
        let Value::Str(other) = name.get(cx)?.cast(ValueType::Str)? else { return None };
        Some(Value::Int(difference(value.as_bytes()?, &other)))
    })
    .with(&[Param::Variable], 1),
    converter("upper", ValueType::Str, ValueType::Str, |_, _, value| match value {
        Value::Str(Cow::Borrowed(text)) if !text.iter().any(u8::is_ascii_lowercase) => {
            Some(Value::str(text))
        }
        Value::Str(text) => {
            let mut text = text.into_owned();
            text.make_ascii_uppercase();
            Some(Value::Str(Cow::Owned(text)))
        }
        _ => None,
    }),
    converter("word", ValueType::Str, ValueType::Str, word).with(PART, 2).checked(check_part),
];

/// Keeps a part of the text, borrowed if the text is.
fn part<'a>(
    value: Value<'a>,
    find: impl FnOnce(&[u8]) -> Option<std::ops::Range<usize>>,
) -> Option<Value<'a>> {
    let cut = |text: Cow<'a, [u8]>| {
        let range = find(&text)?;
        Some(match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
            Cow::Owned(mut text) => {
                text.truncate(range.end);
                text.drain(..range.start);
                Cow::Owned(text)
            }
        })
    };
    match value {
        Value::Str(text) => cut(text).map(Value::Str),
        Value::Bin(text) => cut(text).map(Value::Bin),
        _ => None,
    }
}

fn lower<'a>(_: &Context<'a>, _: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    match value {
        Value::Str(Cow::Borrowed(text)) if !text.iter().any(u8::is_ascii_uppercase) => {
            Some(Value::str(text))
        }
        Value::Str(text) => {
            let mut text = text.into_owned();
            text.make_ascii_lowercase();
            Some(Value::Str(Cow::Owned(text)))
        }
        _ => None,
    }
}

fn bytes<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let offset = usize::try_from(args[0].int()?).ok()?;
    let len = args[1].int().map_or(usize::MAX, |len| len as usize);
    part(value, |text| {
        let start = offset.min(text.len());
        Some(start..start.saturating_add(len).min(text.len()))
    })
}

fn check_bytes(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    for (index, arg) in args.iter().enumerate() {
        if arg.int().is_some_and(|n| n < 0) {
            return Err(ArgError::bad(index, arg, "a positive number"));
        }
    }
    Ok(())
}

/// The field of that number, from 1, or from -1 at the end; several with a count, and all that
/// follow with a count of 0. Absent where there is none.
fn field<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let (index, separators, count) = part_arguments(args)?;
    part(value, |text| {
        // Where each field begins and ends.
        let cuts: usize = text.iter().filter(|byte| separators.contains(byte)).count();
        let fields = cuts as i64 + 1;
        let first = if index > 0 { index - 1 } else { fields + index };
        if !(0..fields).contains(&first) {
            return None;
        }
        let (first, last) = span(index, first, count, fields);
        let mut start = 0;
        let mut number = 0;
        let mut begin = 0;
        for (at, byte) in text.iter().enumerate() {
            if separators.contains(byte) {
                if number == first {
                    begin = start;
                }
                if number == last {
                    return Some(begin..at);
                }
                number += 1;
                start = at + 1;
            }
        }
        Some(if number == first { start } else { begin }..text.len())
    })
}

/// As [`field`], but several separators in a row are one; empty where there is none.
fn word<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let (index, separators, count) = part_arguments(args)?;
    part(value, |text| {
        let is_separator = |at: usize| separators.contains(&text[at]);
        let begins = |at: &usize| !is_separator(*at) && (*at == 0 || is_separator(*at - 1));
        let words = (0..text.len()).filter(begins).count() as i64;
        let first = if index > 0 { index - 1 } else { words + index };
        if !(0..words).contains(&first) {
            return Some(0..0);
        }
        let (first, last) = span(index, first, count, words);
        let start = (0..text.len()).filter(begins).nth(first as usize)?;
        let last_start = (0..text.len()).filter(begins).nth(last as usize)?;
        let end = (last_start..text.len()).find(|&at| is_separator(at)).unwrap_or(text.len());
        // All that follow include the separators behind them.
        Some(match (count, index > 0) {
            (0, true) => start..text.len(),
            (0, false) => 0..end,
            _ => start..end,
        })
    })
}

/// The first and last of `count` parts from `first`, in the direction in which `index` counts.
fn span(index: i64, first: i64, count: i64, parts: i64) -> (i64, i64) {
    let more = if count == 0 { parts } else { count - 1 };
    if index > 0 { (first, (first + more).min(parts - 1)) } else { ((first - more).max(0), first) }
}

fn part_arguments(args: &[Arg]) -> Option<(i64, &[u8], i64)> {
    let index = args[0].int().filter(|&index| index != 0)?;
    Some((index, args[1].text()?, args[2].int().unwrap_or(1)))
}

fn check_part(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    if args[1].text().is_none_or(<[u8]>::is_empty) {
        return Err(ArgError::bad(1, &args[1], "one or more separators"));
    }
    match args[2].int() {
        Some(n) if n < 0 => Err(ArgError::bad(2, &args[2], "a positive count")),
        _ => Ok(()),
    }
}

fn left(text: &[u8], trimmed: &[u8]) -> usize {
    text.iter().position(|byte| !trimmed.contains(byte)).unwrap_or(text.len())
}

/// Where the host ends: before the colon of a port, which does not stand inside brackets.
fn host_end(text: &[u8]) -> usize {
    match text.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if text[at] == b':' => at,
        _ => text.len(),
    }
}

fn concat<'a>(cx: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let mut text = value.as_bytes()?.to_vec();
    text.extend_from_slice(args[0].text().unwrap_or_default());
    if let Arg::Variable(name) = &args[1] {
        text.extend(variable_text(cx, name));
    }
    text.extend_from_slice(args[2].text().unwrap_or_default());
    Some(Value::Str(Cow::Owned(text)))
}

/// Adds a variable and a suffix, behind a delimiter unless the text is empty.
fn add_item<'a>(cx: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let mut text = value.as_bytes()?.to_vec();
    let mut added = match &args[1] {
        Arg::Variable(name) => variable_text(cx, name),
        _ => Vec::new(),
    };
    added.extend_from_slice(args[2].text().unwrap_or_default());
    if !text.is_empty() && !added.is_empty() {
        text.extend_from_slice(args[0].text().unwrap_or_default());
    }
    text.extend(added);
    Some(Value::Str(Cow::Owned(text)))
}

/// The difference of the first bytes that differ, else -1, 0 or 1 by length.
fn difference(a: &[u8], b: &[u8]) -> i64 {
    let differing = a.iter().zip(b).find(|(a, b)| a != b);
    match differing {
        Some((a, b)) => i64::from(*a) - i64::from(*b),
        None => a.len().cmp(&b.len()) as i64,
    }
}

fn regsub<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let (Arg::Regex(regex), Value::Str(text)) = (&args[0], value) else { return None };
    let template = args[1].text()?;
    let global = args[2].int().is_some_and(|flag| flag != 0);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    // As in HAProxy, an empty match counts even where the one before it has ended.
    while let Some(captures) = regex.captures_at(&text, at) {
        let Some(whole) = captures.get(0) else { break };
        out.extend_from_slice(&text[at..whole.start()]);
        regex::expand(&captures, template, &mut out);
        let empty_here = whole.end() == at;
        at = whole.end();
        if !global || whole.start() == text.len() && empty_here {
            break;
        }
        if empty_here && let Some(byte) = text.get(at) {
            out.push(*byte);
            at += 1;
        }
    }
    if at == 0 && out.is_empty() && !regex.is_match(&text) {
        return Some(Value::Str(text));
    }
    out.extend_from_slice(&text[at.min(text.len())..]);
    Some(Value::Str(Cow::Owned(out)))
}

/// The flags `i` and `g`; the expression is compiled here because they change it.
fn check_regsub(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    let flags = args[2].text().unwrap_or_default();
    if flags.iter().any(|flag| !b"ig".contains(flag)) {
        return Err(ArgError::bad(2, &args[2], "the flags i (ignore case) and g (all)"));
    }
    let (ignore_case, global) = (flags.contains(&b'i'), flags.contains(&b'g'));
    let compiled = regex::compile(args[0].text().unwrap_or_default(), ignore_case)
        .map_err(|error| ArgError::bad(0, &args[0], error.to_string()))?;
    args[0] = Arg::Regex(Box::new(compiled));
    args[2] = Arg::Int(global.into());
    Ok(())
}

/// The value of a parameter in text of the form `a=1&b=2`.
fn param<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let name = args[0].text()?;
    let delimiter = args[1].text().and_then(<[u8]>::first).copied().unwrap_or(b'&');
    part(value, |text| {
        let mut start = 0;
        for part in text.split(|&byte| byte == delimiter) {
            if part.starts_with(name) && part.get(name.len()) == Some(&b'=') {
                return Some(start + name.len() + 1..start + part.len());
            }
            // A name without a value has an empty one.
            if part == name {
                return Some(start + part.len()..start + part.len());
            }
            start += part.len() + 1;
        }
        None
    })
}

fn check_param(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[1].text() {
        Some(text) if text.len() != 1 => Err(ArgError::bad(1, &args[1], "one delimiter")),
        _ => Ok(()),
    }
}

/// The language of the list (separated by `;`) that the client likes best, by its
/// `Accept-Language`; the first of equals in the client's order.
fn language<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let offered = args[0].text()?;
    let mut best: Option<(u32, &[u8])> = None;
    for item in value.as_bytes()?.split(|&byte| byte == b',') {
        let mut parts = item.splitn(2, |&byte| byte == b';');
        let wanted = parts.next().unwrap_or_default().trim_ascii();
        let quality = parts.next().and_then(quality).unwrap_or(1000);
        let known = offered.split(|&byte| byte == b';').find(|tag| is_variety(wanted, tag));
        if let Some(tag) = known
            && quality > best.map_or(0, |(quality, _)| quality)
        {
            best = Some((quality, tag));
        }
    }
    best.map(|(_, tag)| tag)
        .or_else(|| args[1].text().filter(|text| !text.is_empty()))
        .map(Value::str)
}

/// Whether a language that the client asks for is the offered one, or a variety of it: `en-us` is
/// `en`.
fn is_variety(wanted: &[u8], offered: &[u8]) -> bool {
    !offered.is_empty()
        && wanted.starts_with(offered)
        && wanted.get(offered.len()).is_none_or(|byte| *byte == b'-')
}

/// `q=0.8` in thousandths.
fn quality(text: &[u8]) -> Option<u32> {
    let text = text.trim_ascii().strip_prefix(b"q")?.trim_ascii().strip_prefix(b"=")?.trim_ascii();
    let text = std::str::from_utf8(text).ok()?;
    let q: f32 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some((q.clamp(0.0, 1.0) * 1000.0) as u32)
}
