//! The actions of `http-request`, `http-response` and `http-after-response`.

use telamon_config::{Args, ConfigErrorKind, Keyword, Sections};

use super::{ANY, Chosen, H, NICE, log_level, typed_sample};
use crate::expr::{FormatUse, LogFormat, ParseScope, ValueType};
use crate::rules::{
    AddressEdit, AddressField, Capture, CounterEdit, HeaderEdit, HttpAction, ListEdit, LookUp,
    Normalizer, Redirect, Reply, TargetPart, TimeoutKind, TimeoutValue, Track, UriEdit,
    VariableEdit,
};

pub(super) const HTTP_TRACKS: &[H] = &tracks!(HttpAction);
pub(super) const HTTP_COUNTERS: &[H] = &counters!(HttpAction);

pub(super) const REQUEST_ACTIONS: &[H] = &[
    action!("auth", "auth [realm <realm>]", "asks for a user and a password", |args, _| {
        let realm = match args.accept("realm") {
            true => Some(args.next("a realm")?.bytes.into()),
            false => None,
        };
        Some(HttpAction::Auth { realm })
    }),
    action!(
        "capture",
        "capture <sample> { len <bytes> | id <slot> }",
        "keeps a sample for the log",
        |args, scope| { Capture::read(args, scope).map(HttpAction::Capture) }
    ),
    action!(
        "deny",
        "deny [status <code>] [<reply>]",
        "answers with 403, or as told",
        |args, scope| { Reply::read_denial(args, scope, 403).map(HttpAction::Deny) }
    ),
    action!(
        "disable-l7-retry",
        "disable-l7-retry",
        "this request is not sent again once a server may have seen it",
        |_, _| Some(HttpAction::NoReplay)
    ),
    action!(
        "do-resolve(",
        "do-resolve(<var>,<resolvers>[,ipv4|ipv6]) <sample>",
        "asks name servers for a host's address while the request waits",
        |args, scope| LookUp::read(args, scope).map(HttpAction::LookUp)
    ),
    action!(
        "early-hint",
        "early-hint <name> <format>",
        "sends a 103 response with this field at once",
        |args, scope| {
            let (name, value) = crate::rules::header::read_field(args, scope)?;
            Some(HttpAction::EarlyHint { name, value })
        }
    ),
    action!(
        "normalize-uri",
        "normalize-uri <step> [full | strict]",
        "normalizes the target by RFC 3986",
        |args, scope| {
            if !scope.experimental {
                let needs = "`expose-experimental-directives` in `global`".into();
                let what = "http-request normalize-uri".to_owned();
                args.fail(args.at(), ConfigErrorKind::Requires { what, needs });
                return None;
            }
            Normalizer::read(args).map(HttpAction::NormalizeUri)
        }
    ),
    action!(
        "redirect",
        "redirect { location | prefix | scheme } <to> [<option>]...",
        "sends the client elsewhere",
        Redirect::read
    ),
    action!("reject", "reject", "closes the connection without an answer", |_, _| Some(
        HttpAction::Reject
    )),
    action!(
        "replace-path",
        "replace-path <regex> <format>",
        "rewrites the path where it matches",
        |args, scope| UriEdit::read_replacement(args, scope, TargetPart::Path)
    ),
    action!(
        "replace-pathq",
        "replace-pathq <regex> <format>",
        "rewrites path and query where they match",
        |args, scope| UriEdit::read_replacement(args, scope, TargetPart::PathAndQuery)
    ),
    action!(
        "replace-uri",
        "replace-uri <regex> <format>",
        "rewrites the target where it matches",
        |args, scope| UriEdit::read_replacement(args, scope, TargetPart::Uri)
    ),
    action!(
        "return",
        "return [status <code>] [content-type <type>] [<reply>] [hdr <name> <format>]...",
        "answers as told",
        |args, scope| { Reply::read(args, scope, 200).map(HttpAction::Return) }
    ),
    action!(
        "set-dst",
        "set-dst <sample>",
        "sets the address that the client connected to",
        |args, scope| AddressEdit::read(args, scope, AddressField::Destination)
            .map(HttpAction::Address)
    ),
    action!(
        "set-dst-port",
        "set-dst-port <sample>",
        "sets the port that the client connected to",
        |args, scope| AddressEdit::read(args, scope, AddressField::DestinationPort)
            .map(HttpAction::Address)
    ),
    action!("set-method", "set-method <format>", "sets the method", |args, scope| {
        Some(HttpAction::Uri(UriEdit::Method(LogFormat::parse(args, scope, FormatUse::Http)?)))
    }),
    action!("set-path", "set-path <format>", "sets the path", |args, scope| UriEdit::read(
        args,
        scope,
        TargetPart::Path
    )),
    action!("set-pathq", "set-pathq <format>", "sets path and query", |args, scope| UriEdit::read(
        args,
        scope,
        TargetPart::PathAndQuery
    )),
    action!("set-query", "set-query <format>", "sets the query", |args, scope| UriEdit::read(
        args,
        scope,
        TargetPart::Query
    )),
    action!("set-src", "set-src <sample>", "sets the client's address", |args, scope| {
        AddressEdit::read(args, scope, AddressField::Source).map(HttpAction::Address)
    }),
    action!("set-src-port", "set-src-port <sample>", "sets the client's port", |args, scope| {
        AddressEdit::read(args, scope, AddressField::SourcePort).map(HttpAction::Address)
    }),
    action!(
        "set-timeout",
        Sections::BACKS.and(Sections::DEFAULTS),
        "set-timeout { server | tunnel } { <time> | <sample> }",
        "sets a timeout for this request",
        set_timeout
    ),
    action!("set-uri", "set-uri <format>", "sets the whole target", |args, scope| UriEdit::read(
        args,
        scope,
        TargetPart::Uri
    )),
    action!(
        "tarpit",
        "tarpit [status <code>] [<reply>]",
        "lets the client wait for `timeout tarpit`, then answers with 500, or as told",
        |args, scope| { Reply::read_denial(args, scope, 500).map(HttpAction::Tarpit) }
    ),
    WAIT_FOR_BODY,
];

pub(super) const WAIT_FOR_BODY: H = action!(
    "wait-for-body",
    "wait-for-body time <time> [at-least <bytes>]",
    "waits for the body",
    |args, _| {
        if !args.is("time") {
            args.missing("`time`");
            return None;
        }
        args.accept("time");
        let time = args.duration()?;
        let at_least = match args.accept("at-least") {
            true => usize::try_from(args.size()?).ok()?,
            false => usize::MAX,
        };
        Some(HttpAction::WaitForBody { time, at_least })
    }
);

pub(super) const RESPONSE_ACTIONS: &[H] = &[
    WAIT_FOR_BODY,
    action!(
        "capture",
        "capture <sample> id <slot>",
        "keeps a sample for the log",
        |args, scope| { Capture::read(args, scope).map(HttpAction::Capture) }
    ),
    action!(
        "deny",
        "deny [status <code>] [<reply>]",
        "answers with 502, or as told",
        |args, scope| { Reply::read_denial(args, scope, 502).map(HttpAction::Deny) }
    ),
    action!(
        "redirect",
        "redirect location <to> [<option>]...",
        "sends the client elsewhere",
        Redirect::read
    ),
    action!(
        "return",
        "return [status <code>] [content-type <type>] [<reply>] [hdr <name> <format>]...",
        "answers as told",
        |args, scope| { Reply::read(args, scope, 200).map(HttpAction::Return) }
    ),
];

pub(super) const AFTER_ACTIONS: &[H] = &[action!(
    "capture",
    "capture <sample> id <slot>",
    "keeps a sample for the log",
    |args, scope| { Capture::read(args, scope).map(HttpAction::Capture) }
)];

pub(super) const STATUS: &[H] =
    &[action!("set-status", "set-status <code> [reason <text>]", "sets the status", |args, _| {
        let status = args.integer("status", 100_u16..=999)?;
        let reason = match args.accept("reason") {
            true => Some(args.next("a reason phrase")?.bytes.into()),
            false => None,
        };
        Some(HttpAction::SetStatus { status, reason })
    })];

/// What every HTTP rule set takes.
pub(super) const REWRITES: &[H] = &[
    action!("add-header", "add-header <name> <format>", "adds a field", |args, scope| {
        let (name, value) = crate::rules::header::read_field(args, scope)?;
        Some(HttpAction::Header(HeaderEdit::Add { name, value }))
    }),
    action!("allow", "allow", "ends the rule set", |_, _| Some(HttpAction::Allow)),
    action!(
        "del-header",
        "del-header <name> [-m { str | beg | end | sub | reg }]",
        "removes the fields of a name",
        HeaderEdit::read_deletion
    ),
    action!(
        "replace-header",
        "replace-header <name> <regex> <format>",
        "rewrites the values of a field that match",
        |args, scope| {
            let (name, regex, value) = crate::rules::header::read_replacement(args, scope)?;
            Some(HttpAction::Header(HeaderEdit::Replace { name, regex, value }))
        }
    ),
    action!(
        "replace-value",
        "replace-value <name> <regex> <format>",
        "rewrites the comma-separated values of a field that match",
        |args, scope| {
            let (name, regex, value) = crate::rules::header::read_replacement(args, scope)?;
            Some(HttpAction::Header(HeaderEdit::ReplaceValue { name, regex, value }))
        }
    ),
    action!("set-header", "set-header <name> <format>", "sets a field", |args, scope| {
        let (name, value) = crate::rules::header::read_field(args, scope)?;
        Some(HttpAction::Header(HeaderEdit::Set { name, value }))
    }),
    action!(
        "set-var(",
        "set-var(<name>[,<condition>...]) <sample>",
        "sets a variable",
        |args, scope| VariableEdit::read(args, scope).map(HttpAction::Variable)
    ),
    action!(
        "set-var-fmt(",
        "set-var-fmt(<name>[,<condition>...]) <format>",
        "sets a variable to a text",
        |args, scope| VariableEdit::read(args, scope).map(HttpAction::Variable)
    ),
    action!(
        "strict-mode",
        "strict-mode { on | off }",
        "whether a rewrite that fails ends the request",
        |args, _| {
            args.one_of("mode", &[("on", true), ("off", false)]).map(HttpAction::StrictMode)
        }
    ),
    action!("unset-var(", "unset-var(<name>)", "removes a variable", |args, scope| {
        VariableEdit::read(args, scope).map(HttpAction::Variable)
    }),
];

/// What requests and responses take.
pub(super) const EITHER_ACTIONS: &[H] = &[
    action!("add-acl(", "add-acl(<file>) <format>", "adds an entry to a list", |args, scope| {
        ListEdit::read(args, scope).map(HttpAction::List)
    }),
    action!(
        "del-acl(",
        "del-acl(<file>) <format>",
        "removes an entry from a list",
        |args, scope| ListEdit::read(args, scope).map(HttpAction::List)
    ),
    action!(
        "del-map(",
        "del-map(<file>) <format>",
        "removes an entry from a map",
        |args, scope| ListEdit::read(args, scope).map(HttpAction::List)
    ),
    action!(
        "set-log-level",
        "set-log-level <level>",
        "sets the severity of the log line",
        |args, _| log_level(args).map(HttpAction::SetLogLevel)
    ),
    action!(
        "set-map(",
        "set-map(<file>) <format> <format>",
        "sets an entry of a map",
        |args, scope| ListEdit::read(args, scope).map(HttpAction::List)
    ),
    action!(
        "silent-drop",
        "silent-drop",
        "forgets the connection without telling the client",
        |_, _| Some(HttpAction::SilentDrop)
    ),
    H::no_effect("set-nice", ANY, NICE),
];

pub(super) const HTTP_PLANNED: &[H] = &[
    H::not_yet("ot-group", ANY),
    H::not_yet("set-mark", ANY),
    H::not_yet("set-tos", ANY),
    H::not_yet_guard("send-spoe-group", ANY),
];

pub(super) const REQUEST_PLANNED: &[H] = &[
    H::not_yet("cache-use", ANY),
    H::not_yet("set-priority-class", ANY),
    H::not_yet("set-priority-offset", ANY),
    H::not_yet_guard("use-service", ANY),
    H::no_effect("wait-for-handshake", ANY, "no request is read before the handshake is over"),
];

pub(super) const RESPONSE_PLANNED: &[H] = &[H::not_yet("cache-store", ANY)];

pub(super) const AFTER_PLANNED: &[H] = &[H::not_yet("ot-group", ANY)];

fn set_timeout(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<HttpAction> {
    let which = args
        .one_of("timeout", &[("server", TimeoutKind::Server), ("tunnel", TimeoutKind::Tunnel)])?;
    let is_time =
        args.peek().is_some_and(|token| token.text.starts_with(|c: char| c.is_ascii_digit()));
    let value = if is_time {
        TimeoutValue::Fixed(args.duration()?)
    } else {
        TimeoutValue::Sample(typed_sample(args, scope, ValueType::Int)?)
    };
    Some(HttpAction::SetTimeout { which, value })
}
