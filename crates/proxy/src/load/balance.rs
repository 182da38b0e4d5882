//! `balance`, and what is set about the choice of a server.

use std::sync::LazyLock;

use telamon_config::{Args, ConfigErrorKind, Keyword, Sections, Table};

use super::draft::ProxyContext;
use crate::model::{Balance, BalanceKey, BalanceStrategy};

type K = Keyword<ProxyContext>;
type S = Keyword<Balance>;

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "balance",
        Sections::PROXIES,
        "balance <strategy>",
        "how the server for a request is chosen",
        |proxy, args| {
            if proxy.has_side(args, Sections::BACKS) {
                let mut balance = Balance::default();
                if args.one(&STRATEGIES, &mut balance) {
                    proxy.draft.balance = balance;
                }
            }
        },
    ),
    K::works(
        "hash-type",
        Sections::PROXIES,
        "hash-type map-based [sdbm]",
        "how keys are spread over servers",
        |proxy, args| {
            if !proxy.has_side(args, Sections::BACKS) {
                return;
            }
            // The defaults are what `balance source` does.
            let Some(method) = args.next("`map-based` or `consistent`") else { return };
            for token in std::iter::once(method).chain(args.rest()) {
                match token.text {
                    "map-based" | "sdbm" => {}
                    "consistent" | "djb2" | "wt6" | "crc32" | "avalanche" | "none" => {
                        let keyword = format!("hash-type {}", token.text);
                        let kind = ConfigErrorKind::NotYet { keyword, guards_access: false };
                        args.report(token.at, kind);
                    }
                    _ => args.bad(token, "hash type", "`map-based` or `consistent`"),
                }
            }
        },
    ),
    K::not_yet("hash-balance-factor", Sections::PROXIES),
];

pub(super) static STRATEGIES: LazyLock<Table<Balance>> =
    LazyLock::new(|| Table::new("balance strategy", &[STRATEGY_KEYWORDS]));

/// A row of a strategy without arguments.
macro_rules! strategy {
    ($name:literal, $strategy:ident, $doc:literal) => {
        S::works($name, Sections::PROXIES, $name, $doc, |balance, _| {
            balance.strategy = BalanceStrategy::$strategy;
        })
    };
}

const STRATEGY_KEYWORDS: &[S] = &[
    strategy!("roundrobin", RoundRobin, "each in turn, by weight; weights may change"),
    strategy!("static-rr", StaticRr, "each in turn, by weight"),
    strategy!("leastconn", LeastConn, "the one with the fewest connections for its weight"),
    strategy!("first", First, "the first that has a free slot"),
    S::works("source", Sections::PROXIES, "source", "by the client's address", |balance, _| {
        *balance = Balance { strategy: BalanceStrategy::Source, key: BalanceKey::Source };
    }),
    S::works(
        "random",
        Sections::PROXIES,
        "random",
        "the lighter of two drawn at random",
        |balance, _| {
            balance.strategy = BalanceStrategy::Random { draws: DRAWS_DEFAULT };
        },
    ),
    S::works(
        "random(",
        Sections::PROXIES,
        "random(<draws>)",
        "the lightest of some drawn at random",
        |balance, args| {
            if let Some(draws) = draws(args) {
                balance.strategy = BalanceStrategy::Random { draws };
            }
        },
    ),
    S::not_yet("uri", Sections::PROXIES),
    S::not_yet("url_param", Sections::PROXIES),
    S::not_yet("hdr(", Sections::PROXIES),
    S::not_yet("rdp-cookie", Sections::PROXIES),
    S::not_yet("rdp-cookie(", Sections::PROXIES),
    S::not_yet("hash", Sections::PROXIES).since("2.8"),
    S::not_yet("log-hash", Sections::PROXIES).since("2.9"),
    S::not_yet("sticky", Sections::PROXIES).since("2.9"),
];

/// Reads the number in `random(3)`.
fn draws(args: &mut Args<'_>) -> Option<u32> {
    let token = args.keyword();
    let number = token.text.strip_prefix("random(").and_then(|rest| rest.strip_suffix(')'));
    let draws = number.and_then(|number| number.parse().ok()).filter(|draws| *draws > 0);
    if draws.is_none() {
        args.bad(token, "balance strategy", "a number of draws from 1, as in `random(2)`");
    }
    draws
}

/// `random` without a number.
const DRAWS_DEFAULT: u32 = 2;
