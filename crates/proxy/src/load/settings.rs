//! The table of a proxy's keywords, and those that set one plain value.

use std::sync::LazyLock;
use std::time::Duration;

use telamon_config::{AddressRules, Args, ConfigErrorKind, Keyword, Sections, Table};

use super::draft::ProxyContext;
use super::mistake::ProxyMistake;
use super::{
    absent, balance, bind, check, cookie, errors, failures, logs, obsolete, options, rules, server,
    state_file, stats,
};
use crate::model::HttpReuse;

type K = Keyword<ProxyContext>;

/// Every keyword of `defaults`, `frontend`, `listen` and `backend`.
pub(super) static KEYWORDS: LazyLock<Table<ProxyContext>> = LazyLock::new(|| {
    Table::new(
        "keyword",
        &[
            SETTINGS,
            TIMEOUTS,
            failures::KEYWORDS,
            bind::KEYWORDS,
            server::KEYWORDS,
            balance::KEYWORDS,
            cookie::KEYWORDS,
            rules::KEYWORDS,
            options::KEYWORDS,
            check::KEYWORDS,
            check::preset::KEYWORDS,
            state_file::KEYWORDS,
            logs::KEYWORDS,
            errors::KEYWORDS,
            stats::KEYWORDS,
            super::table::KEYWORDS,
            absent::KEYWORDS,
            obsolete::KEYWORDS,
        ],
    )
});

const ANY: Sections = Sections::PROXIES;
const FRONT: Sections = Sections::FRONTS;
const BACK: Sections = Sections::BACKS;
const NAMED: Sections = Sections::PROXIES.without(Sections::DEFAULTS);

const SETTINGS: &[K] = &[
    K::works(
        "mode",
        ANY,
        "mode { tcp | http }",
        "what traffic the proxy understands",
        |_, args| {
            // The names were collected with it; here it is only checked.
            if args.is("health") {
                let instead = "monitor-uri /health, or `http-request return status 200`".to_owned();
                let kind = ConfigErrorKind::Obsolete { keyword: "mode health".to_owned(), instead };
                return args.fail(args.at(), kind);
            }
            args.one_of("mode", &[("tcp", ()), ("http", ())]);
        },
    ),
    K::works("description", NAMED, "description <text>", "shown beside the name", |proxy, args| {
        proxy.own.description = args.text().map(Into::into);
    }),
    K::works("id", NAMED, "id <number>", "the number that statistics name it by", |_, args| {
        args.integer("id", 1..=NUMBER_MAX);
    }),
    K::works("disabled", ANY, "disabled", "configured, and not started", |proxy, _| {
        proxy.draft.disabled = true;
    }),
    K::works("enabled", ANY, "enabled", "takes back `disabled`", |proxy, _| {
        proxy.draft.disabled = false;
    }),
    K::works(
        "maxconn",
        ANY,
        "maxconn <number>",
        "connections that it accepts at a time",
        |proxy, args| {
            if proxy.has_side(args, FRONT) {
                proxy.draft.maxconn = args.integer("maxconn", 0..=NUMBER_MAX);
            }
        },
    ),
    K::works(
        "backlog",
        ANY,
        "backlog <number>",
        "connections that the kernel keeps until they are accepted",
        |proxy, args| {
            if proxy.has_side(args, FRONT) {
                proxy.draft.backlog = args.integer("backlog", 0..=NUMBER_MAX);
            }
        },
    ),
    K::works(
        "rate-limit sessions",
        ANY,
        "rate-limit sessions <number>",
        "new sessions that it accepts per second",
        |proxy, args| {
            if proxy.has_side(args, FRONT)
                && let Some(rate) = args.integer("rate", 0..=NUMBER_MAX)
            {
                proxy.draft.rate_limit_sessions = rate;
            }
        },
    ),
    K::works(
        "default_backend",
        ANY,
        "default_backend <backend>",
        "where requests go that no `use_backend` takes",
        |proxy, args| {
            if !proxy.has_side(args, FRONT) {
                return;
            }
            let Some(name) = args.next("the name of a backend") else { return };
            match proxy.base.directory.backend(name.text) {
                Ok(id) => proxy.draft.default_backend = Some((id, name.at)),
                Err(kind) => args.fail(name.at, kind),
            }
        },
    ),
    K::works(
        "monitor-uri",
        ANY,
        "monitor-uri <uri>",
        "a URI that answers 200 while the frontend works",
        |proxy, args| {
            if proxy.has_side(args, FRONT) {
                proxy.draft.monitor_uri = args.next("a URI").map(|token| token.bytes.into());
            }
        },
    ),
    K::works(
        "fullconn",
        ANY,
        "fullconn <number>",
        "the load at which servers reach their `maxconn`",
        |proxy, args| {
            if proxy.has_side(args, BACK) {
                proxy.draft.fullconn = args.integer("fullconn", 0..=NUMBER_MAX);
            }
        },
    ),
    K::works(
        "panic-threshold",
        ANY,
        "panic-threshold <percent>",
        "the share of usable servers below which health is ignored (Telamon's own)",
        |proxy, args| {
            if !proxy.has_side(args, BACK) {
                return;
            }
            const EXPECTED: &str = "a percentage, 0 to 100";
            let Some(token) = args.next(EXPECTED) else { return };
            let digits = token.text.strip_suffix('%').unwrap_or(token.text);
            match digits.parse().ok().filter(|percent| *percent <= 100) {
                Some(percent) => proxy.draft.panic_threshold = percent,
                None => args.bad(token, "panic-threshold", EXPECTED),
            }
        },
    ),
    K::works(
        "retries",
        ANY,
        "retries <number>",
        "attempts after the first that fails",
        |proxy, args| {
            if proxy.has_side(args, BACK)
                && let Some(retries) = args.integer("retries", 0..=NUMBER_MAX)
            {
                proxy.draft.retries = retries;
            }
        },
    ),
    K::works(
        "http-reuse",
        ANY,
        "http-reuse { never | safe | aggressive | always }",
        "which requests may use an idle server connection",
        |proxy, args| {
            let words = [
                ("never", HttpReuse::Never),
                ("safe", HttpReuse::Safe),
                ("aggressive", HttpReuse::Aggressive),
                ("always", HttpReuse::Always),
            ];
            if proxy.has_side(args, BACK)
                && let Some(reuse) = args.one_of("mode of reuse", &words)
            {
                proxy.draft.reuse = reuse;
            }
        },
    ),
    K::works(
        "http-send-name-header",
        ANY,
        "http-send-name-header [<header>]",
        "a header that tells a server its name",
        |proxy, args| {
            if proxy.has_side(args, BACK) {
                proxy.draft.send_name_header =
                    args.next_if_any().map(|token| token.bytes.to_ascii_lowercase().into());
            }
        },
    ),
    K::no_effect(
        "max-session-srv-conns",
        ANY,
        "a client has one server connection of its own at most",
    ),
    K::idle(
        "bind-process",
        ANY,
        "bind-process [<set>]",
        "processes that serve; without effect",
        |_, args| {
            args.rest();
            let title = "`bind-process` is deprecated".to_owned();
            let help = "remove it: there is one process";
            args.warn(args.at(), ProxyMistake::Says { title, help }.into());
        },
    ),
    K::works(
        "max-keep-alive-queue",
        ANY,
        "max-keep-alive-queue <number>",
        "a longer queue makes a kept connection give way",
        |proxy, args| {
            if proxy.has_side(args, BACK)
                && let Some(queue) = args.integer("queue", -1..=i32::MAX)
            {
                proxy.draft.max_keep_alive_queue = u32::try_from(queue).ok();
            }
        },
    ),
    K::works(
        "source",
        ANY,
        "source <address>[:<port>] [interface <name>] [usesrc ...]",
        "the address to connect to servers from",
        |proxy, args| {
            if proxy.has_side(args, BACK) {
                let source = server::source(args);
                if !args.failed() {
                    proxy.draft.source = source;
                }
            }
        },
    ),
    K::works(
        "dispatch",
        NAMED,
        "dispatch <address>:<port>",
        "where connections go, without servers",
        |proxy, args| {
            if !proxy.has_side(args, BACK) {
                return;
            }
            let at = args.peek().map_or(args.at(), |token| token.at);
            let rules = AddressRules {
                unix: false,
                port_offset: false,
                port: telamon_config::PortRule::Required,
                ..AddressRules::SERVER
            };
            if let Some(address) = args.address(&rules) {
                proxy.own.dispatch = Some((address, at));
            }
        },
    ),
    K::works(
        "clitcpka-cnt",
        ANY,
        "clitcpka-cnt <count>",
        "unanswered probes that end a client's connection",
        |proxy, args| {
            proxy.draft.client_keepalive.count = count(args);
        },
    ),
    K::works(
        "clitcpka-idle",
        ANY,
        "clitcpka-idle <time>",
        "silence before a client is probed",
        |proxy, args| {
            proxy.draft.client_keepalive.idle = args.duration_secs();
        },
    ),
    K::works(
        "clitcpka-intvl",
        ANY,
        "clitcpka-intvl <time>",
        "time between two probes of a client",
        |proxy, args| {
            proxy.draft.client_keepalive.interval = args.duration_secs();
        },
    ),
    K::works(
        "srvtcpka-cnt",
        ANY,
        "srvtcpka-cnt <count>",
        "unanswered probes that end a server's connection",
        |proxy, args| {
            proxy.draft.server_keepalive.count = count(args);
        },
    ),
    K::works(
        "srvtcpka-idle",
        ANY,
        "srvtcpka-idle <time>",
        "silence before a server is probed",
        |proxy, args| {
            proxy.draft.server_keepalive.idle = args.duration_secs();
        },
    ),
    K::works(
        "srvtcpka-intvl",
        ANY,
        "srvtcpka-intvl <time>",
        "time between two probes of a server",
        |proxy, args| {
            proxy.draft.server_keepalive.interval = args.duration_secs();
        },
    ),
];

/// A row of `timeout`: its name, side, field and manual line.
macro_rules! timeout {
    ($name:literal, $side:expr, $field:ident, $doc:literal) => {
        K::works(
            concat!("timeout ", $name),
            ANY,
            concat!("timeout ", $name, " <time>"),
            $doc,
            |proxy, args| {
                if proxy.has_side(args, $side) {
                    let time = args.duration();
                    if args.failed() {
                        proxy.draft.bad_timeouts.push(concat!("timeout ", $name));
                    } else {
                        proxy.draft.timeouts.$field = time.filter(|time| *time > Duration::ZERO);
                    }
                }
            },
        )
    };
}

const TIMEOUTS: &[K] = &[
    timeout!("client", FRONT, client, "how long a client may be silent"),
    timeout!("connect", BACK, connect, "how long a connection to a server may take"),
    timeout!("server", BACK, server, "how long a server may be silent"),
    timeout!("check", BACK, check, "how long a check may wait for an answer, once connected"),
    timeout!(
        "client-fin",
        FRONT,
        client_fin,
        "how long a client may be silent once one side has closed"
    ),
    timeout!(
        "server-fin",
        BACK,
        server_fin,
        "how long a server may be silent once one side has closed"
    ),
    timeout!("http-keep-alive", ANY, http_keep_alive, "how long the next request may be awaited"),
    timeout!("http-request", ANY, http_request, "how long a whole request head may take"),
    timeout!(
        "queue",
        BACK,
        queue,
        "how long a request may wait for a free slot; without it, `timeout connect`"
    ),
    timeout!(
        "tarpit",
        ANY,
        tarpit,
        "how long a tarpit holds a client; without it, `timeout connect`"
    ),
    timeout!("tunnel", BACK, tunnel, "how long a tunnel may be silent"),
];

fn count(args: &mut Args<'_>) -> Option<u32> {
    args.integer("count", 1..=127u32)
}

/// The largest number where HAProxy has an `int`.
pub(super) const NUMBER_MAX: u32 = i32::MAX.cast_unsigned();
