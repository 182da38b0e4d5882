//! What may be written in which rule set: tables of actions, and the functions that read a whole rule.

use std::sync::LazyLock;

use telamon_config::{Args, ConfigErrorKind, Keyword, Sections, Table};

use super::{
    AddressEdit, AddressField, AfterResponseRule, BackendChoice, Capture, CounterEdit, HeaderEdit,
    HttpAction, HttpRequestRule, HttpResponseRule, ListEdit, LookUp, Normalizer, PersistenceRule,
    Redirect, Reply, Rule, ServerChoice, TargetPart, TcpAction, TcpRequestRule, TcpResponseRule,
    TimeoutKind, TimeoutValue, Track, UriEdit, UseBackendRule, UseServerRule, VariableEdit,
};
use crate::expr::{Condition, Expr, FormatUse, LogFormat, ParseScope, Place, ValueType};
use crate::log::Level;
use crate::persistence::PersistRule;

/// Reads what follows `http-request`. What is wrong is reported; `None` then, and for an action without effect.
pub fn parse_http_request_rule(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<HttpRequestRule> {
    static TABLE: LazyLock<Table<Chosen<HttpAction>>> = LazyLock::new(|| {
        Table::new(
            "action",
            &[
                REQUEST_ACTIONS,
                REWRITES,
                EITHER_ACTIONS,
                HTTP_TRACKS,
                HTTP_COUNTERS,
                HTTP_PLANNED,
                REQUEST_PLANNED,
            ],
        )
    });
    scope.place = Place::HttpRequest;
    rule(args, scope, &TABLE)
}

/// Reads what follows `http-response`.
pub fn parse_http_response_rule(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<HttpResponseRule> {
    static TABLE: LazyLock<Table<Chosen<HttpAction>>> = LazyLock::new(|| {
        Table::new(
            "action",
            &[
                RESPONSE_ACTIONS,
                STATUS,
                REWRITES,
                EITHER_ACTIONS,
                HTTP_TRACKS,
                HTTP_COUNTERS,
                HTTP_PLANNED,
                RESPONSE_PLANNED,
            ],
        )
    });
    scope.place = Place::HttpResponse;
    rule(args, scope, &TABLE)
}

/// Reads what follows `http-after-response`.
pub fn parse_after_response_rule(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<AfterResponseRule> {
    static TABLE: LazyLock<Table<Chosen<HttpAction>>> = LazyLock::new(|| {
        Table::new("action", &[AFTER_ACTIONS, STATUS, REWRITES, HTTP_COUNTERS, AFTER_PLANNED])
    });
    scope.place = Place::HttpResponse;
    rule(args, scope, &TABLE)
}

/// Reads what follows `redirect`.
pub fn parse_redirect_rule(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<HttpRequestRule> {
    scope.place = Place::HttpRequest;
    let at = args.at();
    let action = Redirect::read(args, scope)?;
    finish(args, scope, action, at)
}

/// Reads what follows `tcp-request connection`, `session` or `content`; the scope's place says which.
pub fn parse_tcp_request_rule(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<TcpRequestRule> {
    type T = LazyLock<Table<Chosen<TcpAction>>>;
    static CONNECTION: T = LazyLock::new(|| {
        Table::new(
            "action",
            &[
                TCP_ACTIONS,
                ADDRESSES,
                CONNECTION_ACTIONS,
                TCP_TRACKS,
                TCP_COUNTERS,
                TCP_PLANNED,
                CONNECTION_PLANNED,
            ],
        )
    });
    static SESSION: T = LazyLock::new(|| {
        Table::new("action", &[TCP_ACTIONS, ADDRESSES, TCP_TRACKS, TCP_COUNTERS, TCP_PLANNED])
    });
    static CONTENT: T = LazyLock::new(|| {
        Table::new(
            "action",
            &[
                TCP_ACTIONS,
                ADDRESSES,
                CONTENT_ACTIONS,
                TCP_TRACKS,
                TCP_COUNTERS,
                TCP_PLANNED,
                CONTENT_PLANNED,
            ],
        )
    });
    let table = match scope.place {
        Place::TcpRequestConnection => &CONNECTION,
        Place::TcpRequestSession => &SESSION,
        _ => &CONTENT,
    };
    rule(args, scope, table)
}

/// Reads what follows `tcp-response content`.
pub fn parse_tcp_response_rule(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<TcpResponseRule> {
    static TABLE: LazyLock<Table<Chosen<TcpAction>>> = LazyLock::new(|| {
        Table::new(
            "action",
            &[TCP_ACTIONS, TCP_RESPONSE_ACTIONS, TCP_COUNTERS, TCP_PLANNED, TCP_RESPONSE_PLANNED],
        )
    });
    scope.place = Place::TcpResponseContent;
    rule(args, scope, &TABLE)
}

/// Every action that works, as where it stands, its name and its usage.
#[cfg(test)]
pub(crate) fn usages() -> Vec<(&'static str, &'static str, &'static str)> {
    fn of<A>(
        rules: &'static str,
        lists: &[&'static [Keyword<Chosen<A>>]],
    ) -> Vec<(&'static str, &'static str, &'static str)> {
        let works = |keyword: &&Keyword<Chosen<A>>| {
            matches!(keyword.status, telamon_config::Status::Works(_))
        };
        let all = lists.iter().copied().flatten().filter(works);
        all.map(|keyword| (rules, keyword.name, keyword.usage)).collect()
    }
    [
        of(
            "http-request",
            &[REQUEST_ACTIONS, REWRITES, EITHER_ACTIONS, HTTP_TRACKS, HTTP_COUNTERS],
        ),
        of("http-response", &[RESPONSE_ACTIONS, STATUS]),
        of("http-after-response", &[AFTER_ACTIONS, STATUS, REWRITES]),
        of("tcp-request connection", &[TCP_ACTIONS, ADDRESSES, CONNECTION_ACTIONS, TCP_TRACKS]),
        of("tcp-request content", &[CONTENT_ACTIONS, TCP_COUNTERS]),
        of("tcp-response content", &[TCP_RESPONSE_ACTIONS]),
    ]
    .concat()
}

/// Reads what follows `use_backend`.
pub fn parse_use_backend_rule(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<UseBackendRule> {
    let at = args.at();
    let token = args.next("the name of a backend")?;
    let name = LogFormat::parse_token(&token, args, scope, FormatUse::Text)?;
    let action = match name.as_constant().map(|name| String::from_utf8_lossy(name).into_owned()) {
        None => BackendChoice::Dynamic(name),
        Some(name) => match scope.directory.backend(&name) {
            Ok(backend) => BackendChoice::Static(backend),
            Err(kind) => {
                args.fail(token.at, kind);
                return None;
            }
        },
    };
    finish(args, scope, action, at)
}

/// Reads what follows `use-server`; a condition must stand there.
pub fn parse_use_server_rule(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<UseServerRule> {
    let at = args.at();
    let token = args.next("the name of a server")?;
    let name = LogFormat::parse_token(&token, args, scope, FormatUse::Text)?;
    let action = match name.as_constant().map(|name| String::from_utf8_lossy(name).into_owned()) {
        None => ServerChoice::Dynamic(name),
        Some(name) => {
            let found = scope.proxy.map(|backend| scope.directory.server(backend, &name));
            match found {
                Some(Ok(server)) => ServerChoice::Static(server),
                Some(Err(kind)) => {
                    args.fail(token.at, kind);
                    return None;
                }
                None => return None,
            }
        }
    };
    if !args.is("if") && !args.is("unless") {
        args.missing("`if` or `unless`");
        return None;
    }
    finish(args, scope, action, at)
}

/// Reads what follows `force-persist` or `ignore-persist`: a condition.
pub fn parse_persist_rule(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
    action: PersistRule,
) -> Option<PersistenceRule> {
    let at = args.at();
    if !args.is("if") && !args.is("unless") {
        args.missing("`if` or `unless`");
        return None;
    }
    finish(args, scope, action, at)
}

/// What a keyword of an action table chooses: how the words after it are read.
struct Chosen<A: 'static>(Option<Read<A>>);

type Read<A> = fn(&mut Args<'_>, &mut ParseScope<'_>) -> Option<A>;

/// Reads an action and its condition.
fn rule<A>(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
    table: &Table<Chosen<A>>,
) -> Option<Rule<A>> {
    // They are named by the scripts that register them.
    if let Some(token) = args.peek().filter(|token| token.text.starts_with("lua.")) {
        let keyword = token.text.to_owned();
        args.fail(token.at, ConfigErrorKind::NotYet { keyword, guards_access: true });
        args.skip_rest();
        return None;
    }
    args.one_then(table, &mut Chosen(None), |args, chosen| {
        let at = args.at();
        let action = chosen.0?(args, scope)?;
        finish(args, scope, action, at)
    })
}

/// Reads the condition, and reports what is left.
fn finish<A>(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
    action: A,
    at: telamon_config::Location,
) -> Option<Rule<A>> {
    let condition = Condition::parse_if_unless(args, scope);
    if condition.is_none() && !args.failed() {
        args.end();
    }
    (!args.failed()).then_some(Rule { condition, action, at })
}

type H = Keyword<Chosen<HttpAction>>;
type T = Keyword<Chosen<TcpAction>>;

const ANY: Sections = Sections::PROXIES;
/// `capture … len` and its kin need a frontend; a `defaults` section may stand for one.
const FRONT: Sections = Sections::FRONTS.and(Sections::DEFAULTS);

/// A row: name, how it is written, what it does, what reads the words after it.
macro_rules! action {
    ($name:literal, $usage:literal, $doc:literal, $read:expr) => {
        action!($name, ANY, $usage, $doc, $read)
    };
    ($name:literal, $sections:expr, $usage:literal, $doc:literal, $read:expr) => {
        Keyword::works($name, $sections, $usage, $doc, |chosen, _| chosen.0 = Some($read))
    };
}

const REQUEST_ACTIONS: &[H] = &[
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
            let (name, value) = super::header::read_field(args, scope)?;
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

const WAIT_FOR_BODY: H = action!(
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

const RESPONSE_ACTIONS: &[H] = &[
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

const AFTER_ACTIONS: &[H] = &[action!(
    "capture",
    "capture <sample> id <slot>",
    "keeps a sample for the log",
    |args, scope| { Capture::read(args, scope).map(HttpAction::Capture) }
)];

const STATUS: &[H] =
    &[action!("set-status", "set-status <code> [reason <text>]", "sets the status", |args, _| {
        let status = args.integer("status", 100_u16..=999)?;
        let reason = match args.accept("reason") {
            true => Some(args.next("a reason phrase")?.bytes.into()),
            false => None,
        };
        Some(HttpAction::SetStatus { status, reason })
    })];

/// What every HTTP rule set takes.
const REWRITES: &[H] = &[
    action!("add-header", "add-header <name> <format>", "adds a field", |args, scope| {
        let (name, value) = super::header::read_field(args, scope)?;
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
            let (name, regex, value) = super::header::read_replacement(args, scope)?;
            Some(HttpAction::Header(HeaderEdit::Replace { name, regex, value }))
        }
    ),
    action!(
        "replace-value",
        "replace-value <name> <regex> <format>",
        "rewrites the comma-separated values of a field that match",
        |args, scope| {
            let (name, regex, value) = super::header::read_replacement(args, scope)?;
            Some(HttpAction::Header(HeaderEdit::ReplaceValue { name, regex, value }))
        }
    ),
    action!("set-header", "set-header <name> <format>", "sets a field", |args, scope| {
        let (name, value) = super::header::read_field(args, scope)?;
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
const EITHER_ACTIONS: &[H] = &[
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

const HTTP_PLANNED: &[H] = &[
    H::not_yet("ot-group", ANY),
    H::not_yet("set-mark", ANY),
    H::not_yet("set-tos", ANY),
    H::not_yet_guard("send-spoe-group", ANY),
];

const REQUEST_PLANNED: &[H] = &[
    H::not_yet("cache-use", ANY),
    H::not_yet("set-priority-class", ANY),
    H::not_yet("set-priority-offset", ANY),
    H::not_yet_guard("use-service", ANY),
    H::no_effect("wait-for-handshake", ANY, "no request is read before the handshake is over"),
];

const RESPONSE_PLANNED: &[H] = &[H::not_yet("cache-store", ANY)];

const AFTER_PLANNED: &[H] = &[H::not_yet("ot-group", ANY)];

/// The rows of `track-sc0` and so on.
macro_rules! tracks {
    ($action:ident) => {
        [
            tracks!($action, "track-sc0"),
            tracks!($action, "track-sc1"),
            tracks!($action, "track-sc2"),
            tracks!($action, "track-sc3").since("2.8"),
            tracks!($action, "track-sc4").since("2.8"),
            tracks!($action, "track-sc5").since("2.8"),
            tracks!($action, "track-sc6").since("2.8"),
            tracks!($action, "track-sc7").since("2.8"),
            tracks!($action, "track-sc8").since("2.8"),
            tracks!($action, "track-sc9").since("2.8"),
        ]
    };
    ($action:ident, $name:literal) => {
        Keyword::<Chosen<$action>>::works(
            $name,
            ANY,
            concat!($name, " <sample> [table <table>]"),
            "counts what a key does in a stick table",
            |chosen, _| {
                chosen.0 = Some(|args, scope| Track::read(args, scope).map($action::Track));
            },
        )
    };
}

/// The rows that change the entry of a tracked key.
macro_rules! counters {
    ($action:ident) => {
        [
            counters!(
                $action,
                "sc-add-gpc(",
                "sc-add-gpc(<index>,<counter>) { <number> | <sample> }",
                "adds to a counter of the tracked key"
            )
            .since("2.8"),
            counters!(
                $action,
                "sc-inc-gpc(",
                "sc-inc-gpc(<index>,<counter>)",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-inc-gpc0",
                "sc-inc-gpc0[(<counter>)]",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-inc-gpc0(",
                "sc-inc-gpc0(<counter>)",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-inc-gpc1",
                "sc-inc-gpc1[(<counter>)]",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-inc-gpc1(",
                "sc-inc-gpc1(<counter>)",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-set-gpt(",
                "sc-set-gpt(<index>,<counter>) { <number> | <sample> }",
                "sets a tag of the tracked key"
            ),
            counters!(
                $action,
                "sc-set-gpt0",
                "sc-set-gpt0[(<counter>)] { <number> | <sample> }",
                "sets the tag of the tracked key"
            ),
            counters!(
                $action,
                "sc-set-gpt0(",
                "sc-set-gpt0(<counter>) { <number> | <sample> }",
                "sets the tag of the tracked key"
            ),
        ]
    };
    ($action:ident, $name:literal, $usage:literal, $doc:literal) => {
        Keyword::<Chosen<$action>>::works($name, ANY, $usage, $doc, |chosen, _| {
            chosen.0 = Some(|args, scope| CounterEdit::read(args, scope).map($action::Counter));
        })
    };
}

const HTTP_TRACKS: &[H] = &tracks!(HttpAction);
const HTTP_COUNTERS: &[H] = &counters!(HttpAction);
const TCP_TRACKS: &[T] = &tracks!(TcpAction);
const TCP_COUNTERS: &[T] = &counters!(TcpAction);

/// What every TCP rule set takes.
const TCP_ACTIONS: &[T] = &[
    action!("accept", "accept", "ends the rule set", |_, _| Some(TcpAction::Accept)),
    action!("reject", "reject", "closes the connection", |_, _| Some(TcpAction::Reject)),
    action!(
        "set-var(",
        "set-var(<name>[,<condition>...]) <sample>",
        "sets a variable",
        |args, scope| VariableEdit::read(args, scope).map(TcpAction::Variable)
    ),
    action!(
        "set-var-fmt(",
        "set-var-fmt(<name>[,<condition>...]) <format>",
        "sets a variable to a text",
        |args, scope| VariableEdit::read(args, scope).map(TcpAction::Variable)
    ),
    action!(
        "silent-drop",
        "silent-drop",
        "forgets the connection without telling the client",
        |_, _| Some(TcpAction::SilentDrop)
    ),
    action!("unset-var(", "unset-var(<name>)", "removes a variable", |args, scope| {
        VariableEdit::read(args, scope).map(TcpAction::Variable)
    }),
];

const ADDRESSES: &[T] = &[
    action!(
        "set-dst",
        "set-dst <sample>",
        "sets the address that the client connected to",
        |args, scope| AddressEdit::read(args, scope, AddressField::Destination)
            .map(TcpAction::Address)
    ),
    action!(
        "set-dst-port",
        "set-dst-port <sample>",
        "sets the port that the client connected to",
        |args, scope| AddressEdit::read(args, scope, AddressField::DestinationPort)
            .map(TcpAction::Address)
    ),
    action!("set-src", "set-src <sample>", "sets the client's address", |args, scope| {
        AddressEdit::read(args, scope, AddressField::Source).map(TcpAction::Address)
    }),
    action!("set-src-port", "set-src-port <sample>", "sets the client's port", |args, scope| {
        AddressEdit::read(args, scope, AddressField::SourcePort).map(TcpAction::Address)
    }),
];

const CONTENT_ACTIONS: &[T] = &[
    action!(
        "capture",
        FRONT,
        "capture <sample> len <bytes>",
        "keeps a sample for the log",
        |args, scope| Capture::read(args, scope).map(TcpAction::Capture)
    ),
    action!(
        "do-resolve(",
        "do-resolve(<var>,<resolvers>[,ipv4|ipv6]) <sample>",
        "asks name servers for a host's address while the request waits",
        |args, scope| LookUp::read(args, scope).map(TcpAction::LookUp)
    ),
    action!(
        "set-log-level",
        "set-log-level <level>",
        "sets the severity of the log line",
        |args, _| log_level(args).map(TcpAction::SetLogLevel)
    ),
    T::no_effect("set-nice", ANY, NICE),
];

const TCP_RESPONSE_ACTIONS: &[T] = &[
    action!("close", "close", "closes the connection to the server", |_, _| Some(TcpAction::Close)),
    action!(
        "set-log-level",
        "set-log-level <level>",
        "sets the severity of the log line",
        |args, _| log_level(args).map(TcpAction::SetLogLevel)
    ),
    T::no_effect("set-nice", ANY, NICE),
];

const TCP_PLANNED: &[T] = &[T::not_yet("set-mark", ANY), T::not_yet("set-tos", ANY)];

const CONNECTION_ACTIONS: &[T] = &[action!(
    "expect-proxy",
    FRONT,
    "expect-proxy layer4",
    "the connection begins with the PROXY protocol's header",
    |args, _| {
        args.one_of("layer", &[("layer4", ())])?;
        Some(TcpAction::ExpectProxy)
    }
)];

const CONNECTION_PLANNED: &[T] = &[T::not_yet_guard("expect-netscaler-cip", ANY)];

const CONTENT_PLANNED: &[T] = &[
    T::not_yet("ot-group", ANY),
    T::not_yet_guard("send-spoe-group", ANY),
    T::not_yet("set-priority-class", ANY),
    T::not_yet("set-priority-offset", ANY),
    T::not_yet_guard("switch-mode", ANY),
    T::not_yet_guard("use-service", ANY),
];

const TCP_RESPONSE_PLANNED: &[T] =
    &[T::not_yet("ot-group", ANY), T::not_yet_guard("send-spoe-group", ANY)];

const NICE: &str = "every connection of a worker gets its turn";

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

/// Reads a sample that has to be of a type, or can be cast to it.
pub(super) fn typed_sample(
    args: &mut Args<'_>,
    scope: &mut ParseScope<'_>,
    to: ValueType,
) -> Option<Expr> {
    let at = args.peek().map(|token| token.at);
    let expr = Expr::parse(args, scope)?;
    if expr.output().casts_to(to) {
        return Some(expr);
    }
    let kind = ConfigErrorKind::BadValue {
        what: "sample".into(),
        found: expr.text().to_owned(),
        expected: format!("one that gives {}, not {}", to.name(), expr.output().name()).into(),
    };
    args.fail(at.unwrap_or_else(|| args.at()), kind);
    None
}

/// `None` inside is `silent`.
fn log_level(args: &mut Args<'_>) -> Option<Option<Level>> {
    let levels = Level::NAMES.map(|(name, level)| (name, Some(level)));
    let mut words = vec![("silent", None)];
    words.extend(levels);
    args.one_of("log level", &words)
}
