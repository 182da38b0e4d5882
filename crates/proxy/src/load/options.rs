//! `option …`, but for those that choose a health check (see [`check`](super::check)).

use telamon_config::{Args, ConfigErrorKind, Keyword, Modifier, Sections};

use super::draft::{Format, ProxyContext};
use crate::expr::Network;
use crate::log::Builtin;
use crate::model::{AddressHeader, ConnectionMode, Options, RestrictNames};

type K = Keyword<ProxyContext>;

const ANY: Sections = Sections::PROXIES;
const FRONT: Sections = Sections::FRONTS;
const BACK: Sections = Sections::BACKS;

/// A row for a plain switch of [`Options`]: its name, side, field and manual line.
macro_rules! switch {
    ($name:literal, $side:expr, $field:ident, $doc:literal) => {
        K::works($name, ANY, $name, $doc, |proxy, args| {
            if proxy.has_side(args, $side) {
                proxy.draft.options.$field = value(args);
            }
        })
        .negatable()
    };
}

pub(super) const KEYWORDS: &[K] = &[
    switch!(
        "option abortonclose",
        BACK,
        abortonclose,
        "gives up a queued request when its client leaves"
    ),
    switch!(
        "option accept-invalid-http-request",
        FRONT,
        accept_invalid_http_request,
        "relaxes what a request may hold"
    ),
    switch!(
        "option accept-invalid-http-response",
        BACK,
        accept_invalid_http_response,
        "relaxes what an answer may hold"
    ),
    switch!(
        "option allbackups",
        BACK,
        allbackups,
        "uses all backup servers at once, not the first"
    ),
    switch!("option clitcpka", FRONT, clitcpka, "probes idle clients by TCP keep-alive"),
    switch!("option srvtcpka", BACK, srvtcpka, "probes idle servers by TCP keep-alive"),
    K::works(
        "option tcpka",
        ANY,
        "option tcpka",
        "probes both sides by TCP keep-alive",
        |proxy, args| {
            let on = value(args);
            proxy.draft.options.clitcpka = on;
            proxy.draft.options.srvtcpka = on;
        },
    )
    .negatable(),
    switch!("option contstats", FRONT, contstats, "counts bytes while they flow"),
    switch!("option dontlog-normal", FRONT, dontlog_normal, "logs only what went wrong"),
    switch!("option dontlognull", FRONT, dontlognull, "does not log connections without data"),
    switch!(
        "option http-buffer-request",
        ANY,
        http_buffer_request,
        "waits for the body before the rules run"
    ),
    switch!(
        "option http-ignore-probes",
        FRONT,
        http_ignore_probes,
        "does not count or answer connections without a request"
    ),
    K::no_effect("option http-no-delay", ANY, "what there is to send is always sent at once")
        .negatable(),
    switch!(
        "option http-pretend-keepalive",
        BACK,
        http_pretend_keepalive,
        "announces keep-alive to servers and closes"
    ),
    switch!(
        "option http-use-proxy-header",
        FRONT,
        http_use_proxy_header,
        "takes Proxy-Connection for Connection"
    ),
    switch!(
        "option idle-close-on-response",
        FRONT,
        idle_close_on_response,
        "keeps idle clients for their last answer while stopping"
    ),
    switch!(
        "option independent-streams",
        ANY,
        independent_streams,
        "does not let writing prolong a read timeout"
    ),
    switch!(
        "option log-health-checks",
        BACK,
        log_health_checks,
        "logs every change of a check's result"
    ),
    switch!(
        "option log-separate-errors",
        FRONT,
        log_separate_errors,
        "logs what went wrong at level err"
    ),
    switch!("option logasap", FRONT, logasap, "logs a request when its answer begins"),
    switch!(
        "option nolinger",
        ANY,
        nolinger,
        "closes connections without waiting for what is unsent"
    ),
    switch!("option persist", BACK, persist, "keeps clients of a server that is down at it"),
    switch!(
        "option prefer-last-server",
        BACK,
        prefer_last_server,
        "stays at the server of the connection's last request"
    ),
    switch!("option socket-stats", FRONT, socket_stats, "counts for each `bind` address"),
    K::works(
        "option splice-auto",
        ANY,
        "[no] option splice-auto",
        "moves bytes inside the kernel where it is worth it (the default)",
        |proxy, args| proxy.draft.options.no_splice_auto = args.modifier() == Modifier::No,
    )
    .negatable(),
    switch!("option splice-request", ANY, splice_request, "moves requests inside the kernel"),
    switch!("option splice-response", ANY, splice_response, "moves answers inside the kernel"),
    K::works(
        "option tcp-smart-accept",
        ANY,
        "option tcp-smart-accept",
        "lets the first acknowledgement to a client wait for the answer; on by itself in `mode http`",
        |proxy, args| {
            if proxy.has_side(args, FRONT) {
                proxy.draft.options.tcp_smart_accept = match args.modifier() {
                    Modifier::None => Some(true),
                    Modifier::No => Some(false),
                    Modifier::Default => None,
                };
            }
        },
    )
    .negatable(),
    switch!(
        "option tcp-smart-connect",
        BACK,
        tcp_smart_connect,
        "sends data with the last packet of the handshake"
    ),
    K::works(
        "option http-keep-alive",
        ANY,
        "option http-keep-alive",
        "keeps connections open on both sides (the default)",
        |proxy, args| connection(proxy, args, ConnectionMode::KeepAlive),
    )
    .negatable(),
    K::works(
        "option http-server-close",
        ANY,
        "option http-server-close",
        "closes the server's connection after each answer",
        |proxy, args| connection(proxy, args, ConnectionMode::ServerClose),
    )
    .negatable(),
    K::works(
        "option httpclose",
        ANY,
        "option httpclose",
        "closes both connections after each answer",
        |proxy, args| connection(proxy, args, ConnectionMode::Close),
    )
    .negatable(),
    K::works(
        "option forwardfor",
        ANY,
        "option forwardfor [except <network>] [header <name>] [if-none]",
        "tells servers the client's address",
        |proxy, args| {
            if let Some(header) = address_header(args, b"x-forwarded-for") {
                proxy.draft.options.forwardfor = Some(header);
            }
        },
    ),
    K::works(
        "option originalto",
        ANY,
        "option originalto [except <network>] [header <name>]",
        "tells servers the address that the client wanted",
        |proxy, args| {
            if let Some(header) = address_header(args, b"x-original-to") {
                proxy.draft.options.originalto = Some(header);
            }
        },
    ),
    K::works(
        "option http-restrict-req-hdr-names",
        ANY,
        "option http-restrict-req-hdr-names { preserve | delete | reject }",
        "what becomes of header names with other than letters, digits and `-`",
        |proxy, args| {
            let words = [
                ("preserve", RestrictNames::Preserve),
                ("delete", RestrictNames::Delete),
                ("reject", RestrictNames::Reject),
            ];
            if let Some(what) = args.one_of("action", &words) {
                proxy.draft.options.restrict_header_names = what;
            }
        },
    ),
    K::works(
        "option redispatch",
        ANY,
        "option redispatch [<interval>]",
        "lets a failed connection go to another server",
        |proxy, args| {
            if !proxy.has_side(args, BACK) {
                return;
            }
            proxy.draft.redispatch = match args.modifier() {
                Modifier::None if args.is_empty() => -1,
                Modifier::None => args.integer("interval", -1000..=1000i32).unwrap_or(-1),
                Modifier::No | Modifier::Default => 0,
            };
        },
    )
    .negatable(),
    K::works("option httplog", ANY, "option httplog [clf]", "logs requests", |proxy, args| {
        let builtin = if args.accept("clf") { Builtin::Clf } else { Builtin::Http };
        log_format(proxy, args, builtin);
    }),
    K::works(
        "option httpslog",
        ANY,
        "option httpslog",
        "logs requests with facts of TLS",
        |proxy, args| log_format(proxy, args, Builtin::Https),
    ),
    K::works(
        "option tcplog",
        ANY,
        "option tcplog",
        "logs sessions with times and how they ended",
        |proxy, args| log_format(proxy, args, Builtin::Tcp),
    ),
    K::not_yet_guard("option checkcache", ANY).negatable(),
    switch!(
        "option disable-h2-upgrade",
        FRONT,
        disable_h2_upgrade,
        "clients of HTTP/1 listeners cannot begin in HTTP/2"
    ),
    K::not_yet("option h1-case-adjust-bogus-client", ANY).negatable(),
    K::not_yet("option h1-case-adjust-bogus-server", ANY).negatable(),
    switch!("option transparent", BACK, transparent, "connects to where the client was going"),
    switch!("transparent", BACK, transparent, "the older name of `option transparent`"),
    K::obsolete("option forceclose", ANY, "option httpclose"),
    K::obsolete(
        "option http-tunnel",
        ANY,
        "remove it: upgraded connections become tunnels by themselves",
    ),
    K::obsolete("option http-use-htx", ANY, "remove it: there is one way to read HTTP"),
    K::obsolete(
        "option http_proxy",
        ANY,
        "http-request set-dst with `do-resolve`, or a fixed server",
    ),
    K::obsolete("option tcpsplice", ANY, "option splice-auto"),
    K::obsolete("option httpclose-passive", ANY, "option httpclose"),
];

/// Whether the line switches on.
pub(super) fn value(args: &Args<'_>) -> bool {
    args.modifier() == Modifier::None
}

fn connection(proxy: &mut ProxyContext, args: &mut Args<'_>, mode: ConnectionMode) {
    let options: &mut Options = &mut proxy.draft.options;
    match args.modifier() {
        Modifier::None => options.connection = mode,
        // `no` takes back only what it names.
        Modifier::No | Modifier::Default if options.connection == mode => {
            options.connection = ConnectionMode::default();
        }
        Modifier::No | Modifier::Default => {}
    }
}

fn log_format(proxy: &mut ProxyContext, args: &mut Args<'_>, builtin: Builtin) {
    if proxy.has_side(args, FRONT) {
        proxy.draft.format = Some(Format::Builtin(builtin, args.at()));
    }
}

fn address_header(args: &mut Args<'_>, default: &[u8]) -> Option<AddressHeader> {
    let mut header = AddressHeader { header: default.into(), except: Vec::new(), if_none: false };
    while !args.is_empty() {
        if args.accept("except") {
            const EXPECTED: &str = "an address or a network such as `10.0.0.0/8`";
            let token = args.next(EXPECTED)?;
            match Network::parse(token.bytes) {
                Some(network) => header.except = vec![network],
                None => {
                    args.bad(token, "network", EXPECTED);
                    return None;
                }
            }
        } else if args.accept("header") {
            header.header = args.next("a header name")?.bytes.to_ascii_lowercase().into();
        } else if args.accept("if-none") {
            header.if_none = true;
        } else {
            let found = args.next("a word")?;
            let kind =
                ConfigErrorKind::unknown("word", found.text, ["except", "header", "if-none"]);
            args.fail(found.at, kind);
            return None;
        }
    }
    Some(header)
}
