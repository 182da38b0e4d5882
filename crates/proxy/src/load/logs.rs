//! `log`, the formats of log lines, `log-tag`, `unique-id-format`, `capture`.

use std::sync::Arc;

use telamon_config::{Args, Keyword, Modifier, Sections};

use super::draft::{Format, ProxyContext};
use super::settings::NUMBER_MAX;
use crate::expr::{LogFormat, Place};
use crate::log::{FormatUse, LogLine, LogTarget};
use crate::model::{CookieCapture, HeaderCapture};

type K = Keyword<ProxyContext>;

const ANY: Sections = Sections::PROXIES;
const FRONT: Sections = Sections::FRONTS;

pub(super) const KEYWORDS: &[K] = &[
    K::works("log", ANY, "log global, or log <address> [len <n>] [format <f>] [sample <s>] <facility> [<max> [<min>]]", "where log lines go", log).negatable(),
    K::works("log-tag", ANY, "log-tag <text>", "the name in the header of log lines", |proxy, args| {
        proxy.draft.log_tag = args.next("a name").map(|token| token.text.into());
    }),
    K::works("log-format", ANY, "log-format <format>", "what is written for each session or request", |proxy, args| {
        if let Some(format) = front_format(proxy, args, FormatUse::Log) {
            proxy.draft.format = Some(Format::Written(format));
        }
    }),
    K::works("log-format-sd", ANY, "log-format-sd <format>", "the structured data in headers of RFC 5424", |proxy, args| {
        if let Some(format) = front_format(proxy, args, FormatUse::Log) {
            proxy.draft.format_sd = Some(format);
        }
    }),
    K::works("error-log-format", ANY, "error-log-format <format>", "what is written for connections that failed before a request", |proxy, args| {
        if let Some(format) = front_format(proxy, args, FormatUse::Log) {
            proxy.draft.error_format = Some(Format::Written(format));
        }
    }),
    K::works("unique-id-format", ANY, "unique-id-format <format>", "how requests are named", |proxy, args| {
        if let Some(format) = front_format(proxy, args, FormatUse::UniqueId) {
            proxy.draft.unique_id_format = Some(format);
        }
    }),
    K::works("unique-id-header", ANY, "unique-id-header <name>", "the header that tells servers a request's name", |proxy, args| {
        if proxy.has_side(args, FRONT) {
            proxy.draft.unique_id_header =
                args.next("a header name").map(|token| token.bytes.to_ascii_lowercase().into());
        }
    }),
    K::works("capture request header", FRONT, "capture request header <name> len <length>", "logs a header of the request", |proxy, args| {
        if let Some(capture) = header(args) {
            proxy.own.captures.request.push(capture);
        }
    }),
    K::works("capture response header", FRONT, "capture response header <name> len <length>", "logs a header of the answer", |proxy, args| {
        if let Some(capture) = header(args) {
            proxy.own.captures.response.push(capture);
        }
    }),
    K::works("capture cookie", FRONT, "capture cookie <name> len <length>", "logs a cookie", |proxy, args| {
        let Some(name) = args.next("the name of a cookie") else { return };
        let Some(len) = length(args) else { return };
        let exact = name.bytes.ends_with(b"=");
        let name = name.bytes.strip_suffix(b"=").unwrap_or(name.bytes).into();
        // One byte less than the buffer of HAProxy, whose strings end in NUL.
        let len = len.min(proxy.global.tune.http_cookielen);
        proxy.own.captures.cookie = Some(CookieCapture { name, exact, len });
    }),
    K::works("declare capture request len", FRONT, "declare capture request len <length>", "a slot that a rule fills", |proxy, args| {
        if let Some(len) = args.integer("length", 1..=NUMBER_MAX) {
            let capture = HeaderCapture { header: None, len: len as usize };
            proxy.own.captures.request.push(capture);
        }
    }),
    K::works("declare capture response len", FRONT, "declare capture response len <length>", "a slot that a rule fills", |proxy, args| {
        if let Some(len) = args.integer("length", 1..=NUMBER_MAX) {
            let capture = HeaderCapture { header: None, len: len as usize };
            proxy.own.captures.response.push(capture);
        }
    }),
];

fn log(proxy: &mut ProxyContext, args: &mut Args<'_>) {
    if args.modifier() == Modifier::Default {
        args.end();
        return;
    }
    let base = std::rc::Rc::clone(&proxy.base);
    let mut resolve =
        |args: &mut Args<'_>, name: &str, family, at| base.resolve(args, name, family, at);
    match LogLine::parse(args, &mut resolve) {
        Some(LogLine::Global) => {
            for target in &proxy.global.log {
                let there = proxy.draft.log.iter().any(|own| {
                    own.destination == target.destination
                        && own.facility == target.facility
                        && own.level_max == target.level_max
                });
                if !there {
                    proxy.draft.log.push(Arc::new(LogTarget::clone(target)));
                }
            }
        }
        Some(LogLine::Clear) => proxy.draft.log.clear(),
        Some(LogLine::Target(target)) => proxy.draft.log.push(Arc::new(target)),
        None => {}
    }
}

fn front_format(
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
    usage: FormatUse,
) -> Option<Arc<LogFormat>> {
    if !proxy.has_side(args, FRONT) {
        return None;
    }
    // A request is named as soon as it is there.
    let place = if usage == FormatUse::UniqueId { Place::HttpRequest } else { Place::Log };
    proxy.scoped(args, place, |args, scope| LogFormat::parse(args, scope, usage)).map(Arc::new)
}

fn header(args: &mut Args<'_>) -> Option<HeaderCapture> {
    let name = args.next("a header name")?;
    let len = length(args)?;
    Some(HeaderCapture { header: Some(name.bytes.to_ascii_lowercase().into()), len })
}

fn length(args: &mut Args<'_>) -> Option<usize> {
    if !args.accept("len") {
        args.missing("`len <length>`");
        return None;
    }
    args.integer("length", 1..=NUMBER_MAX).map(|len| len as usize)
}
