//! Whether what a server sent is what an `expect` asks for. Pure: bytes in, verdict out.

use std::borrow::Cow;

use telamon_http_proto::Head;
use telamon_http_proto::values::list_values;

use super::CheckStatus;
use super::reply::Reply;
use crate::model::{CheckExpect, CheckText, Expected, HeaderPart};
use crate::stream::Context;

/// What became of one expectation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// More bytes may decide it.
    Wait,
    Holds,
    Fails(Failure),
}

/// Why a check failed in an expectation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: CheckStatus,
    /// What is to be said of it where the line has no `on-error`; `None` leaves that to the caller.
    pub(super) text: Option<Cow<'static, str>>,
    /// What should not be there is.
    pub(super) matched: bool,
}

/// Judges bytes (`tcp-check expect`); `last` says that no more come.
pub(super) fn judge_bytes(
    expect: &CheckExpect,
    bytes: &[u8],
    last: bool,
    cx: &Context<'_>,
) -> Judged {
    let too_few = |wanted: usize| !last && bytes.len() < wanted;
    if too_few(expect.min_recv.unwrap_or(0)) {
        return Judged::Wait;
    }
    let status = expect.error_status.unwrap_or(CheckStatus::L7Response);
    let matched = match &expect.what {
        Expected::Contains(pattern) => match text(pattern, cx) {
            Ok(pattern) if too_few(pattern.len()) => return Judged::Wait,
            Ok(pattern) => memchr::memmem::find(bytes, &pattern).is_some(),
            Err(text) => return broken(text),
        },
        Expected::Regex(regex) => regex.is_match(bytes),
        Expected::HexRegex(regex) => regex.is_match(hex(bytes).as_bytes()),
        // The loader takes these for HTTP alone.
        Expected::Status(_) | Expected::StatusRegex(_) | Expected::Header { .. } => false,
        // Judged by `packet.rs`.
        Expected::Packet(_) => false,
    };
    decide(expect, matched, last, Failure { status, text: None, matched })
}

/// Judges a response (`http-check expect`); `last` says that no more of it comes.
pub(super) fn judge_response(
    expect: &CheckExpect,
    reply: &Reply,
    last: bool,
    cx: &Context<'_>,
) -> Judged {
    let Some(response) = reply.response() else {
        let text = None;
        let failure = Failure { status: CheckStatus::L7Response, text, matched: false };
        return if last { Judged::Fails(failure) } else { Judged::Wait };
    };
    let wrong_status = expect.error_status.unwrap_or(CheckStatus::L7Status);
    let by_head = |matched| {
        let text = Some(String::from_utf8_lossy(response.reason()).into_owned().into());
        decide(expect, matched, true, Failure { status: wrong_status, text, matched })
    };
    let number = response.status();
    match &expect.what {
        Expected::Status(ranges) => {
            by_head(ranges.iter().any(|(low, high)| (*low..=*high).contains(&number)))
        }
        Expected::StatusRegex(regex) => by_head(regex.is_match(number.to_string().as_bytes())),
        Expected::Header { name, value, full } => {
            match has_header(response, name, value.as_ref(), *full, cx) {
                Ok(found) => by_head(found),
                Err(text) => broken(text),
            }
        }
        Expected::Contains(_)
        | Expected::Regex(_)
        | Expected::HexRegex(_)
        | Expected::Packet(_) => judge_body(expect, reply.body(), last, cx),
    }
}

fn judge_body(expect: &CheckExpect, body: &[u8], last: bool, cx: &Context<'_>) -> Judged {
    let status = expect.error_status.unwrap_or(CheckStatus::L7Response);
    if body.is_empty() {
        let text = Some("HTTP content check could not find a response body".into());
        let failure = Failure { status, text, matched: false };
        return if last { Judged::Fails(failure) } else { Judged::Wait };
    }
    let too_few = |wanted: usize| !last && body.len() < wanted;
    let matched = match &expect.what {
        Expected::Contains(pattern) => match text(pattern, cx) {
            Ok(pattern) if too_few(pattern.len()) => return Judged::Wait,
            Ok(pattern) => memchr::memmem::find(body, &pattern).is_some(),
            Err(text) => return broken(text),
        },
        Expected::Regex(regex) => regex.is_match(body),
        _ => false,
    };
    if too_few(expect.min_recv.unwrap_or(0)) {
        return Judged::Wait;
    }
    let text = if expect.negated {
        "HTTP check matched unwanted content"
    } else {
        "HTTP content check did not match"
    };
    decide(expect, matched, last, Failure { status, text: Some(text.into()), matched })
}

/// A pattern that is not there yet is waited for, unless `min-recv` says how much to look at.
fn decide(expect: &CheckExpect, matched: bool, last: bool, failure: Failure) -> Judged {
    if !matched && !last && expect.min_recv.is_none() {
        Judged::Wait
    } else if matched != expect.negated {
        Judged::Holds
    } else {
        Judged::Fails(failure)
    }
}

fn broken(text: &'static str) -> Judged {
    let text = Some(text.into());
    Judged::Fails(Failure { status: CheckStatus::L7Response, text, matched: false })
}

/// A text with its variables filled in.
///
/// # Errors
/// What to report: it came out empty, or is not hexadecimal.
pub(super) fn text<'t>(
    text: &'t CheckText,
    cx: &Context<'_>,
) -> Result<Cow<'t, [u8]>, &'static str> {
    let format = match text {
        CheckText::Fixed(bytes) | CheckText::Binary(bytes) => return Ok(bytes[..].into()),
        CheckText::Format(format) | CheckText::HexFormat(format) => format,
    };
    let mut out = Vec::new();
    format.render(cx, &mut out);
    if out.is_empty() {
        return Err(EMPTY_FORMAT);
    }
    if let CheckText::HexFormat(_) = text {
        return unhex(&out)
            .map(Cow::from)
            .ok_or("Failed to parse hexastring resulting of eval of a log-format string");
    }
    Ok(out.into())
}

fn has_header(
    response: &Head,
    name: &HeaderPart,
    value: Option<&HeaderPart>,
    full: bool,
    cx: &Context<'_>,
) -> Result<bool, &'static str> {
    let name = Pattern::of(name, cx)?;
    let value = value.map(|value| Pattern::of(value, cx)).transpose()?;
    let mut named = response.headers().filter(|header| name.takes_name(header.name));
    let Some(value) = value else { return Ok(named.next().is_some()) };
    Ok(named.any(|header| {
        if full {
            value.takes(header.value)
        } else {
            list_values(header.value).any(|value_of_list| value.takes(value_of_list))
        }
    }))
}

/// A [`HeaderPart`] with its variables filled in.
enum Pattern<'p> {
    Exact(Cow<'p, [u8]>),
    Begin(Cow<'p, [u8]>),
    End(Cow<'p, [u8]>),
    Contains(Cow<'p, [u8]>),
    Regex(&'p regex::bytes::Regex),
}

impl<'p> Pattern<'p> {
    fn of(part: &'p HeaderPart, cx: &Context<'_>) -> Result<Self, &'static str> {
        Ok(match part {
            HeaderPart::Exact(of) => Self::Exact(text(of, cx)?),
            HeaderPart::Begin(of) => Self::Begin(text(of, cx)?),
            HeaderPart::End(of) => Self::End(text(of, cx)?),
            HeaderPart::Contains(of) => Self::Contains(text(of, cx)?),
            HeaderPart::Regex(regex) => Self::Regex(regex),
        })
    }

    fn takes(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == &text[..],
            Self::Begin(text) => value.starts_with(text),
            Self::End(text) => value.ends_with(text),
            Self::Contains(text) => memchr::memmem::find(value, text).is_some(),
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    /// As [`Pattern::takes`], without regard to case; a regular expression is compiled that way.
    fn takes_name(&self, name: &[u8]) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(name),
            Self::Exact(text) => name.eq_ignore_ascii_case(text),
            Self::Begin(text) => {
                name.get(..text.len()).is_some_and(|part| part.eq_ignore_ascii_case(text))
            }
            Self::End(text) => name
                .len()
                .checked_sub(text.len())
                .is_some_and(|at| name[at..].eq_ignore_ascii_case(text)),
            Self::Contains(text) => {
                let (name, text) = (name.to_ascii_lowercase(), text.to_ascii_lowercase());
                memchr::memmem::find(&name, &text).is_some()
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from(DIGITS[usize::from(half)]))
        .collect()
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| {
        let &[high, low] = pair else { return None };
        u8::try_from(digit(high)? * 16 + digit(low)?).ok()
    });
    pairs.collect()
}

/// Said of a format that came out empty where something has to be there.
const EMPTY_FORMAT: &str = "log-format string evaluated to an empty string";

#[cfg(test)]
mod tests;
