//! `stats …` of a proxy: the status page on its own listener.

use telamon_config::{Args, ConfigErrorKind, Keyword, Sections};

use super::draft::ProxyContext;
use crate::expr::{Condition, Place};
use crate::model::StatsPage;

type K = Keyword<ProxyContext>;

const ANY: Sections = Sections::PROXIES;
const NAMED: Sections = Sections::PROXIES.without(Sections::DEFAULTS);

pub(super) const KEYWORDS: &[K] = &[
    K::works("stats enable", ANY, "stats enable", "serves the status page", |proxy, args| {
        page(proxy, args);
    }),
    K::works("stats uri", ANY, "stats uri <prefix>", "where the page is", |proxy, args| {
        if let Some(uri) = args.next("a path") {
            page(proxy, args).uri = uri.bytes.into();
        }
    }),
    K::works(
        "stats refresh",
        ANY,
        "stats refresh <time>",
        "how often the page loads itself anew",
        |proxy, args| {
            if let Some(time) = args.duration_secs() {
                page(proxy, args).refresh = Some(time);
            }
        },
    ),
    K::works(
        "stats realm",
        ANY,
        "stats realm <text>",
        "what the password prompt says",
        |proxy, args| {
            if let Some(realm) = args.next("a text") {
                page(proxy, args).realm = Some(realm.text.into());
            }
        },
    ),
    K::works(
        "stats auth",
        ANY,
        "stats auth <user>:<password>",
        "who may see the page",
        |proxy, args| {
            const EXPECTED: &str = "`user:password`";
            let Some(token) = args.next(EXPECTED) else { return };
            match token.text.split_once(':') {
                Some((user, password)) => {
                    let pair = (user.into(), password.into());
                    let auth = &mut page(proxy, args).auth;
                    if !auth.contains(&pair) {
                        auth.push(pair);
                    }
                }
                None => args.bad(token, "stats auth", EXPECTED),
            }
        },
    ),
    K::works(
        "stats hide-version",
        ANY,
        "stats hide-version",
        "does not show the version",
        |proxy, args| {
            page(proxy, args).hide_version = true;
        },
    ),
    K::works(
        "stats scope",
        ANY,
        "stats scope { <proxy> | . }",
        "shows only this proxy, and others so named",
        |proxy, args| {
            if let Some(name) = args.next("the name of a proxy") {
                page(proxy, args).scope.push(name.text.into());
            }
        },
    ),
    K::works(
        "stats show-legends",
        ANY,
        "stats show-legends",
        "shows addresses and other details",
        |proxy, args| {
            page(proxy, args).show_legends = true;
        },
    ),
    K::no_effect("stats show-modules", ANY, "no module has counters of its own"),
    K::works(
        "stats show-node",
        ANY,
        "stats show-node [<name>]",
        "shows the machine's name",
        |proxy, args| {
            let name = args.next_if_any().map(|token| token.text.into());
            let name = name.or_else(|| proxy.global.node.clone()).unwrap_or_else(super::host_name);
            page(proxy, args).show_node = Some(name);
        },
    ),
    K::works(
        "stats show-desc",
        ANY,
        "stats show-desc [<text>]",
        "shows a description",
        |proxy, args| {
            let words: Vec<_> = args.rest().iter().map(|token| token.text).collect();
            let text = (!words.is_empty()).then(|| words.join(" ").into());
            let text = text.or_else(|| proxy.global.description.clone());
            page(proxy, args).show_desc = text;
        },
    ),
    K::works(
        "stats admin",
        NAMED,
        "stats admin { if | unless } <condition>",
        "who may change what through the page",
        |proxy, args| {
            let condition = proxy.scoped(args, Place::HttpRequest, |args, scope| {
                if !args.is("if") && !args.is("unless") {
                    args.missing("`if` or `unless`");
                    return None;
                }
                Condition::parse_if_unless(args, scope)
            });
            page(proxy, args);
            proxy.own.stats_admin.extend(condition);
        },
    ),
    K::works(
        "stats http-request",
        ANY,
        "stats http-request { allow | deny | auth [realm <text>] } [if <condition>]",
        "who may see the page",
        |proxy, args| {
            let at = args.peek().map_or(args.at(), |token| token.at);
            if !["allow", "deny", "auth"].iter().any(|word| args.is(word)) {
                let token = args.next("`allow`, `deny` or `auth`");
                let kind = token.map(|token| {
                    ConfigErrorKind::unknown("action", token.text, ["allow", "deny", "auth"])
                });
                if let Some(kind) = kind {
                    args.fail(at, kind);
                }
                return;
            }
            page(proxy, args);
            let rule =
                proxy.scoped(args, Place::HttpRequest, crate::rules::parse_http_request_rule);
            proxy.own.stats_rules.extend(rule);
        },
    ),
];

/// The page's settings, which any of its keywords brings about.
fn page<'p>(proxy: &'p mut ProxyContext, args: &Args<'_>) -> &'p mut StatsPage {
    proxy.own.stats_at.get_or_insert_with(|| args.at());
    proxy
        .draft
        .stats
        .get_or_insert_with(|| StatsPage { uri: URI_DEFAULT.into(), ..StatsPage::default() })
}

/// Where the page is unless `stats uri` says otherwise.
const URI_DEFAULT: &[u8] = b"/haproxy?stats";
