//! What may be written in which rule set: tables of actions, and the functions that read a whole rule.

#[macro_use]
mod rows;
mod http;
mod tcp;

use std::sync::LazyLock;

use telamon_config::{Args, ConfigErrorKind, Keyword, Sections, Table};

use super::{
    AfterResponseRule, BackendChoice, HttpAction, HttpRequestRule, HttpResponseRule,
    PersistenceRule, Redirect, Rule, ServerChoice, TcpAction, TcpRequestRule, TcpResponseRule,
    UseBackendRule, UseServerRule,
};
use crate::expr::{Condition, Expr, FormatUse, LogFormat, ParseScope, Place, ValueType};
use crate::log::Level;
use crate::persistence::PersistRule;
use http::*;
use tcp::*;

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
                LOGGING,
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
            &[
                TCP_ACTIONS,
                TCP_RESPONSE_ACTIONS,
                LOGGING,
                TCP_COUNTERS,
                TCP_PLANNED,
                TCP_RESPONSE_PLANNED,
            ],
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
        of("tcp-request content", &[CONTENT_ACTIONS, LOGGING, TCP_COUNTERS]),
        of("tcp-response content", &[TCP_RESPONSE_ACTIONS, LOGGING]),
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

const NICE: &str = "every connection of a worker gets its turn";

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
