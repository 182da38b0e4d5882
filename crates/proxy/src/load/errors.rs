//! Answers for failures: `errorfile`, `errorfiles`, `errorloc*`, `http-error`, and `http-errors` sections.

use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use telamon_config::{
    Args, Checker, ConfigErrorKind, Diagnostics, Environment, Keyword, Section, Sections, Table,
};
use telamon_http_proto::error_statuses;

use super::base::Base;
use super::draft::ProxyContext;
use super::mistake::ProxyMistake;
use crate::expr::Place;
use crate::model::ErrorReplies;
use crate::rules::{ErrorSets, Reply, ReplyBody};

type K = Keyword<ProxyContext>;

const ANY: Sections = Sections::PROXIES;

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "errorfile",
        ANY,
        "errorfile <status> <file>",
        "a file with the whole answer for a status",
        |proxy, args| {
            if let Some((status, reply)) = file(&proxy.base, args) {
                proxy.draft.errors.set(status, reply);
            }
        },
    ),
    K::works(
        "errorfiles",
        ANY,
        "errorfiles <http-errors section> [<status>...]",
        "takes answers from a section",
        errorfiles,
    ),
    K::works(
        "errorloc",
        ANY,
        "errorloc <status> <url>",
        "redirects by 302 in place of a status",
        |proxy, args| location(proxy, args, 302),
    ),
    K::works(
        "errorloc302",
        ANY,
        "errorloc302 <status> <url>",
        "redirects by 302 in place of a status",
        |proxy, args| location(proxy, args, 302),
    ),
    K::works(
        "errorloc303",
        ANY,
        "errorloc303 <status> <url>",
        "redirects by 303 in place of a status",
        |proxy, args| location(proxy, args, 303),
    ),
    K::works(
        "http-error",
        ANY,
        "http-error status <status> [content-type <type>] [file | lf-file | string | lf-string | errorfile | errorfiles <value>] [hdr <name> <format>]...",
        "the answer for a status",
        |proxy, args| {
            let reply = proxy.scoped(args, Place::HttpRequest, crate::rules::parse_http_error);
            if let Some(reply) = reply {
                proxy.draft.errors.set(reply.status, Arc::new(reply));
            }
        },
    ),
];

/// Reads all `http-errors` sections.
pub(super) fn sections(
    sections: &[Section],
    base: &Rc<Base>,
    environment: &Environment,
    diagnostics: &mut Diagnostics,
) -> ErrorSets {
    let mut sets = ErrorSets::new();
    for section in sections.iter().filter(|section| section.spec.bit == Sections::HTTP_ERRORS) {
        let Some(name) = section.name() else { continue };
        let mut set = ErrorSet { base: Rc::clone(base), replies: ErrorReplies::default() };
        for line in section.lines() {
            Checker::new(environment, diagnostics).dispatch(&SECTION, line, &mut set);
        }
        if let Some((_, first)) = sets.get(name.text) {
            let (what, text, first) = ("http-errors section", name.text.to_owned(), *first);
            diagnostics.error(name.at, ConfigErrorKind::Duplicate { what, name: text, first });
        } else {
            sets.insert(name.text.into(), (set.replies, name.at));
        }
    }
    sets
}

pub(super) struct ErrorSet {
    base: Rc<Base>,
    replies: ErrorReplies,
}

pub(super) static SECTION: LazyLock<Table<ErrorSet>> = LazyLock::new(|| {
    const KEYWORDS: &[Keyword<ErrorSet>] = &[Keyword::works(
        "errorfile",
        Sections::HTTP_ERRORS,
        "errorfile <status> <file>",
        "a file with the whole answer for a status",
        |set: &mut ErrorSet, args| {
            if let Some((status, reply)) = file(&set.base, args) {
                set.replies.set(status, reply);
            }
        },
    )];
    Table::new("keyword", &[KEYWORDS])
});

/// Reads `STATUS FILE`.
fn file(base: &Base, args: &mut Args<'_>) -> Option<(u16, Arc<Reply>)> {
    let status = status(args);
    let token = args.next("a file")?;
    let status = status?;
    let bytes = match token.text {
        // Said by old configurations for "no answer at all".
        "/dev/null" => Vec::new(),
        path => base.read(args, path, token.at)?,
    };
    match Reply::from_message(status, bytes) {
        Ok(reply) => Some((status, Arc::new(reply))),
        Err(error) => {
            let path = token.text.to_owned();
            let why = error.to_string();
            args.fail(token.at, ProxyMistake::BadErrorFile { path, why }.into());
            None
        }
    }
}

fn location(proxy: &mut ProxyContext, args: &mut Args<'_>, by: u16) {
    let status = status(args);
    if let (Some(status), Some(url)) = (status, args.next("a URL")) {
        let body = ReplyBody::Location(url.bytes.into());
        let reply = Reply { status: by, body, headers: Vec::new() };
        proxy.draft.errors.set(status, Arc::new(reply));
    }
}

fn errorfiles(proxy: &mut ProxyContext, args: &mut Args<'_>) {
    let Some(name) = args.next("the name of an http-errors section") else { return };
    let errors = Rc::clone(&proxy.errors);
    let Some((set, _)) = errors.get(name.text) else {
        let known = errors.keys().map(|name| &**name);
        args.fail(name.at, ConfigErrorKind::undefined("http-errors section", name.text, known));
        return args.skip_rest();
    };
    if args.is_empty() {
        for status in statuses() {
            if let Some(reply) = set.get(status) {
                proxy.draft.errors.set(status, Arc::clone(reply));
            }
        }
    }
    while !args.is_empty() {
        let Some(status) = status(args) else { continue };
        match set.get(status) {
            Some(reply) => proxy.draft.errors.set(status, Arc::clone(reply)),
            None => {
                let title = format!("`{}` has no answer for {status}", name.text);
                let help = "add an `errorfile` line to the section";
                args.warn(name.at, ProxyMistake::Says { title, help }.into());
            }
        }
    }
}

/// A status that there can be an answer for.
fn status(args: &mut Args<'_>) -> Option<u16> {
    let token = args.next("a status such as 503")?;
    let status = token.text.parse().ok().filter(|status| statuses().any(|known| known == *status));
    if status.is_none() {
        let known: Vec<_> = statuses().map(|status| status.to_string()).collect();
        args.bad(token, "status", format!("one of {}", known.join(", ")));
    }
    status
}

/// The statuses that answers are made for here. Source: HAProxy configuration manual, `errorfile`.
fn statuses() -> impl Iterator<Item = u16> {
    // The page for 505 is our own.
    error_statuses().filter(|status| *status != 505)
}
