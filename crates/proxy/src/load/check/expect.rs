//! What a check awaits: `http-check expect` and `tcp-check expect`.

use std::sync::Arc;

use telamon_config::{Args, ConfigErrorKind, Token};

use super::rule::{comment, format, hex};
use crate::check::CheckStatus;
use crate::expr::{Expr, Place};
use crate::load::draft::ProxyContext;
use crate::load::mistake::ProxyMistake;
use crate::model::{CheckExpect, CheckProtocol, CheckStep, CheckText, Expected, HeaderPart};

/// Reads what follows `expect`.
pub(super) fn expect(
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
    protocol: CheckProtocol,
) -> Option<CheckStep> {
    let mut expect = CheckExpect::of(Expected::Status(Box::default()));
    while expect_option(&mut expect, proxy, args)? {}
    let mut token = args.next("what to expect")?;
    while token.text == "!" {
        expect.negated = !expect.negated;
        token = args.next("what to expect")?;
    }
    let word = token.text.trim_start_matches('!');
    expect.negated ^= (token.text.len() - word.len()) % 2 == 1;
    expect.what = expected(proxy, args, word, token, protocol)?;
    // Options may also stand behind the pattern.
    while expect_option(&mut expect, proxy, args)? {}
    Some(CheckStep::Expect(Box::new(expect)))
}

/// Reads one option of an `expect`; `false` when the next word is none.
fn expect_option(
    expect: &mut CheckExpect,
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
) -> Option<bool> {
    use CheckStatus as C;
    let named = |status: C| (status.name(), status);
    let ok = [C::L7Ok, C::L7OkConditional, C::L6Ok, C::L4Ok].map(named);
    let error =
        [C::L7OkConditional, C::L7Response, C::L7Status, C::L6Response, C::L4Connection].map(named);
    let late = [C::L7Timeout, C::L6Timeout, C::L4Timeout].map(named);
    if args.accept("min-recv") {
        let number = args.integer("number of bytes", -1..=i32::MAX)?;
        expect.min_recv = usize::try_from(number).ok();
    } else if args.accept("comment") {
        expect.comment = comment(args);
    } else if args.accept("ok-status") {
        expect.ok_status = Some(args.one_of("status of a check", &ok)?);
    } else if args.accept("error-status") {
        expect.error_status = Some(args.one_of("status of a check", &error)?);
    } else if args.accept("tout-status") {
        expect.tout_status = Some(args.one_of("status of a check", &late)?);
    } else if args.accept("on-success") {
        expect.on_success = Some(format(proxy, args)?);
    } else if args.accept("on-error") {
        expect.on_error = Some(format(proxy, args)?);
    } else if args.accept("status-code") {
        expect.status_code = Some(Arc::new(proxy.scoped(args, Place::Check, Expr::parse)?));
    } else {
        return Some(false);
    }
    Some(true)
}

fn expected(
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
    word: &str,
    at: Token<'_>,
    protocol: CheckProtocol,
) -> Option<Expected> {
    let http = protocol == CheckProtocol::Http;
    let known: &[&str] = match protocol {
        CheckProtocol::Http => {
            &["status", "rstatus", "string", "rstring", "string-lf", "hdr", "fhdr"]
        }
        _ => &["string", "rstring", "string-lf", "binary", "rbinary", "binary-lf"],
    };
    if !known.contains(&word) {
        args.fail(
            at.at,
            ConfigErrorKind::unknown("kind of expectation", word, known.iter().copied()),
        );
        return None;
    }
    Some(match word {
        "status" => Expected::Status(statuses(args)?),
        "rstatus" => Expected::StatusRegex(regex(args, false)?),
        "string" => Expected::Contains(CheckText::Fixed(args.next("a text")?.bytes.into())),
        "rstring" => Expected::Regex(regex(args, false)?),
        "string-lf" => Expected::Contains(CheckText::Format(format(proxy, args)?)),
        "binary" => {
            let token = args.next("hexadecimal digits")?;
            Expected::Contains(CheckText::Binary(hex(args, token)?))
        }
        "rbinary" => Expected::HexRegex(regex(args, false)?),
        "binary-lf" => Expected::Contains(CheckText::HexFormat(format(proxy, args)?)),
        full if http => header(proxy, args, full == "fhdr")?,
        _ => return None,
    })
}

/// Reads `{ name | name-lf } [-m M] TEXT [{ value | value-lf } [-m M] TEXT]`.
fn header(proxy: &mut ProxyContext, args: &mut Args<'_>, full: bool) -> Option<Expected> {
    let mut part = |args: &mut Args<'_>, plain: &'static str, lf: &'static str| {
        let as_format = args.is(lf);
        if !as_format && !args.is(plain) {
            return None;
        }
        args.next_if_any();
        let method = if args.accept("-m") {
            args.one_of(
                "match method",
                &[("str", 's'), ("beg", 'b'), ("end", 'e'), ("sub", 'u'), ("reg", 'r')],
            )?
        } else {
            's'
        };
        if method == 'r' {
            // Names have no case.
            return regex(args, plain == "name").map(HeaderPart::Regex);
        }
        let text = if as_format {
            CheckText::Format(format(proxy, args)?)
        } else {
            CheckText::Fixed(args.next("a text")?.bytes.into())
        };
        Some(match method {
            'b' => HeaderPart::Begin(text),
            'e' => HeaderPart::End(text),
            'u' => HeaderPart::Contains(text),
            _ => HeaderPart::Exact(text),
        })
    };
    let name = part(args, "name", "name-lf");
    if name.is_none() && !args.failed() {
        args.missing("`name <text>`");
    }
    let name = name?;
    let value = part(args, "value", "value-lf");
    if args.failed() {
        return None;
    }
    // What stands behind both says whether values are compared whole.
    let full = full || args.accept("full");
    Some(Expected::Header { name, value, full })
}

/// Reads `200-299,301`.
fn statuses(args: &mut Args<'_>) -> Option<Box<[(u16, u16)]>> {
    const EXPECTED: &str = "statuses such as `200-399,401`";
    let token = args.next(EXPECTED)?;
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    };
    let ranges: Option<Vec<(u16, u16)>> = token.text.split(',').map(range).collect();
    if ranges.is_none() {
        args.bad(token, "status", EXPECTED);
    }
    ranges.map(Vec::into_boxed_slice)
}

fn regex(args: &mut Args<'_>, ignore_case: bool) -> Option<regex::bytes::Regex> {
    let token = args.next("a regular expression")?;
    match crate::expr::regex::compile(token.bytes, ignore_case) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let title = format!("bad regular expression `{}`: {error}", token.text);
            let help = "the syntax is PCRE's, without look-around and back-references";
            args.report(token.at, ProxyMistake::Says { title, help }.into());
            None
        }
    }
}
