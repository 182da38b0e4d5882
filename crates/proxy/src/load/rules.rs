//! The lines that are rules: ACLs, `http-request` and its kin, `use_backend`, `use-server`.
//!
//! What an action looks like is the business of [`crate::rules`]; here a line finds its rule set.

use std::time::Duration;

use telamon_config::{Args, ConfigErrorKind, Keyword, Sections};

use super::draft::ProxyContext;
use super::mistake::ProxyMistake;
use crate::expr::{Acls, Condition, Place};
use crate::model::HeaderCapture;
use crate::persistence::PersistRule;
use crate::rules::{self as parse, Capture, Final, HttpAction, Rule, TcpAction};

type K = Keyword<ProxyContext>;

const ANY: Sections = Sections::PROXIES;
const FRONT: Sections = Sections::FRONTS;
const BACK: Sections = Sections::BACKS;

/// How late a rule set runs; a line that runs earlier than one above it earns a warning.
mod rank {
    pub(super) const CONNECTION: u8 = 1;
    pub(super) const SESSION: u8 = 2;
    pub(super) const CONTENT: u8 = 3;
    pub(super) const MONITOR: u8 = 4;
    pub(super) const HTTP_REQUEST: u8 = 5;
    pub(super) const REDIRECT: u8 = 6;
    pub(super) const USE_BACKEND: u8 = 7;
    pub(super) const USE_SERVER: u8 = 8;
}

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "acl",
        ANY,
        "acl <name> <criterion> [flags] [operator] <value>...",
        "names a test",
        |proxy, args| {
            if proxy.takes_rules(args) {
                proxy.scoped(args, Place::HttpRequest, Acls::declare);
            }
        },
    ),
    K::works(
        "http-request",
        ANY,
        "http-request <action> [if <condition>]",
        "what becomes of a request",
        |proxy, args| {
            if proxy.takes_rules(args) {
                proxy.rank(args, rank::HTTP_REQUEST, "http-request");
                let rule = proxy.scoped(args, Place::HttpRequest, parse::parse_http_request_rule);
                if let Some(HttpAction::Capture(capture)) = rule.as_ref().map(|rule| &rule.action) {
                    proxy.declare(capture);
                }
                add(args, &mut proxy.own.rules.http_request, rule);
            }
        },
    ),
    K::works(
        "http-response",
        ANY,
        "http-response <action> [if <condition>]",
        "what becomes of an answer",
        |proxy, args| {
            if proxy.takes_rules(args) {
                let rule = proxy.scoped(args, Place::HttpResponse, parse::parse_http_response_rule);
                add(args, &mut proxy.own.rules.http_response, rule);
            }
        },
    ),
    K::works(
        "http-after-response",
        ANY,
        "http-after-response <action> [if <condition>]",
        "what becomes of any answer, also one made here",
        |proxy, args| {
            if proxy.takes_rules(args) {
                let rule =
                    proxy.scoped(args, Place::HttpResponse, parse::parse_after_response_rule);
                add(args, &mut proxy.own.rules.http_after_response, rule);
            }
        },
    ),
    K::works(
        "redirect",
        ANY.without(Sections::DEFAULTS),
        "redirect { location | prefix | scheme } <to> [options] [if <condition>]",
        "sends clients elsewhere",
        |proxy, args| {
            proxy.rank(args, rank::REDIRECT, "redirect");
            let rule = proxy.scoped(args, Place::HttpRequest, parse::parse_redirect_rule);
            add(args, &mut proxy.own.rules.redirect, rule);
        },
    ),
    K::works(
        "tcp-request connection",
        FRONT.and(Sections::DEFAULTS),
        "tcp-request connection <action> [if <condition>]",
        "what becomes of a connection that was accepted",
        |proxy, args| {
            if proxy.takes_rules(args) {
                proxy.rank(args, rank::CONNECTION, "tcp-request connection");
                let rule =
                    proxy.scoped(args, Place::TcpRequestConnection, parse::parse_tcp_request_rule);
                add(args, &mut proxy.own.rules.tcp_request_connection, rule);
            }
        },
    ),
    K::works(
        "tcp-request session",
        FRONT.and(Sections::DEFAULTS),
        "tcp-request session <action> [if <condition>]",
        "what becomes of a session, once its handshakes are through",
        |proxy, args| {
            if proxy.takes_rules(args) {
                proxy.rank(args, rank::SESSION, "tcp-request session");
                let rule =
                    proxy.scoped(args, Place::TcpRequestSession, parse::parse_tcp_request_rule);
                add(args, &mut proxy.own.rules.tcp_request_session, rule);
            }
        },
    ),
    K::works(
        "tcp-request content",
        ANY,
        "tcp-request content <action> [if <condition>]",
        "what becomes of a session, by what the client sends",
        |proxy, args| {
            if proxy.takes_rules(args) {
                proxy.rank(args, rank::CONTENT, "tcp-request content");
                let rule =
                    proxy.scoped(args, Place::TcpRequestContent, parse::parse_tcp_request_rule);
                if let Some(TcpAction::Capture(capture)) = rule.as_ref().map(|rule| &rule.action) {
                    proxy.declare(capture);
                }
                add(args, &mut proxy.own.rules.tcp_request_content, rule);
            }
        },
    ),
    K::works(
        "tcp-request inspect-delay",
        ANY,
        "tcp-request inspect-delay <time>",
        "how long contents may be waited for",
        |proxy, args| {
            proxy.draft.inspect_delay = delay(args);
        },
    ),
    K::works(
        "tcp-response content",
        BACK.and(Sections::DEFAULTS),
        "tcp-response content <action> [if <condition>]",
        "what becomes of a session, by what the server sends",
        |proxy, args| {
            if proxy.takes_rules(args) {
                let rule =
                    proxy.scoped(args, Place::TcpResponseContent, parse::parse_tcp_response_rule);
                add(args, &mut proxy.own.rules.tcp_response_content, rule);
            }
        },
    ),
    K::works(
        "tcp-response inspect-delay",
        BACK.and(Sections::DEFAULTS),
        "tcp-response inspect-delay <time>",
        "how long contents may be waited for",
        |proxy, args| {
            proxy.draft.inspect_delay_response = delay(args);
        },
    ),
    K::works(
        "use_backend",
        ANY.without(Sections::DEFAULTS),
        "use_backend <backend> [if <condition>]",
        "where requests go",
        |proxy, args| {
            if proxy.has_side(args, FRONT) {
                proxy.rank(args, rank::USE_BACKEND, "use_backend");
                let rule = proxy.scoped(args, Place::UseBackend, parse::parse_use_backend_rule);
                proxy.own.use_backend.extend(rule);
            }
        },
    ),
    K::works(
        "use-server",
        BACK,
        "use-server <server> { if | unless } <condition>",
        "which server requests go to",
        |proxy, args| {
            proxy.rank(args, rank::USE_SERVER, "use-server");
            let rule = proxy.scoped(args, Place::UseServer, parse::parse_use_server_rule);
            proxy.own.use_server.extend(rule);
        },
    ),
    K::works(
        "monitor fail",
        FRONT,
        "monitor fail { if | unless } <condition>",
        "when the monitor URI answers 503",
        |proxy, args| {
            proxy.rank(args, rank::MONITOR, "monitor fail");
            if !args.is("if") && !args.is("unless") {
                return args.missing("`if` or `unless`");
            }
            let condition = proxy.scoped(args, Place::HttpRequest, Condition::parse_if_unless);
            proxy.own.monitor_fail.extend(condition);
        },
    ),
    K::works(
        "force-persist",
        BACK,
        "force-persist { if | unless } <condition>",
        "whom a server that is down is tried for all the same",
        |proxy, args| persist_rule(proxy, args, PersistRule::Force),
    ),
    K::works(
        "ignore-persist",
        BACK,
        "ignore-persist { if | unless } <condition>",
        "whose cookies are not looked at",
        |proxy, args| persist_rule(proxy, args, PersistRule::Ignore),
    ),
];

fn persist_rule(proxy: &mut ProxyContext, args: &mut Args<'_>, action: PersistRule) {
    let rule = proxy.scoped(args, Place::PersistRule, |args, scope| {
        parse::parse_persist_rule(args, scope, action)
    });
    proxy.own.persist_rules.extend(rule);
}

/// Adds a rule, with a warning where the one before it lets nothing pass.
fn add<A: Final>(args: &mut Args<'_>, rules: &mut Vec<Rule<A>>, rule: Option<Rule<A>>) {
    // Those of a `defaults` section do not count.
    let begin = args.line().section().at();
    let ends = rules.last().is_some_and(|last| last.at >= begin && last.ends_set());
    if rule.is_some() && ends {
        let title = "a rule that is never reached".to_owned();
        let help = "the one before it ends the rule set and has no condition";
        args.warn(args.at(), ProxyMistake::Says { title, help }.into());
    }
    rules.extend(rule);
}

/// Whether a line of a `defaults` section is read again for each heir.
pub(super) fn is_inherited(keyword: &str) -> bool {
    matches!(
        keyword,
        "acl"
            | "http-request"
            | "http-response"
            | "http-after-response"
            | "tcp-request"
            | "tcp-response"
    )
}

impl ProxyContext {
    /// Declares the slot that a rule brings with it.
    fn declare(&mut self, capture: &Capture) {
        if let Some(len) = capture.len {
            self.own.captures.request.push(HeaderCapture { header: None, len });
        }
    }
}

fn delay(args: &mut Args<'_>) -> Option<Duration> {
    let token = args.peek();
    let delay = args.duration()?;
    if delay.is_zero()
        && let Some(token) = token
    {
        let kind = ConfigErrorKind::BadValue {
            what: "time".into(),
            found: token.text.to_owned(),
            expected: "at least 1ms".into(),
        };
        args.fail(token.at, kind);
        return None;
    }
    Some(delay)
}
