//! `balance`, and what is set about the choice of a server.

use std::sync::{Arc, LazyLock};

use telamon_balance::hash::{HashFunction, KeyHash};
use telamon_balance::strategy::is_prime;
use telamon_config::{Args, ConfigErrorKind, Keyword, Sections, Table};

use super::draft::ProxyContext;
use crate::expr::{Expr, Place};
use crate::model::{Balance, BalanceKey, BalanceStrategy, HashMethod, HashType, UriKey};

type K = Keyword<ProxyContext>;

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "balance",
        Sections::PROXIES,
        "balance [<strategy>]",
        "how the server for a request is chosen",
        |proxy, args| {
            if !proxy.has_side(args, Sections::BACKS) {
                return;
            }
            // A line without a strategy asks for the one that there is anyhow.
            if args.is_empty() {
                proxy.draft.choose(BalanceStrategy::RoundRobin, BalanceKey::None);
            } else {
                args.one(&STRATEGIES, proxy);
            }
        },
    ),
    K::works(
        "hash-type",
        Sections::PROXIES,
        "hash-type {map-based|consistent} [sdbm|djb2|wt6|crc32|none [avalanche]]",
        "how the keys of keyed strategies are spread over servers",
        |proxy, args| {
            if proxy.has_side(args, Sections::BACKS)
                && let Some(hash_type) = hash_type(args)
            {
                proxy.draft.balance.hash_type = hash_type;
            }
        },
    ),
    K::works(
        "hash-balance-factor",
        Sections::PROXIES,
        "hash-balance-factor <percent>",
        "the most that a server may have of the average load, with `hash-type consistent` and `balance random`",
        |proxy, args| {
            if !proxy.has_side(args, Sections::BACKS) {
                return;
            }
            let Some(token) = args.peek() else {
                return args.missing("a percentage above 100, or 0 for no bound");
            };
            match args.integer("balance factor", 0..=u32::MAX) {
                Some(1..=100) => {
                    args.bad(token, "balance factor", "0 for no bound, or a percentage above 100");
                }
                Some(factor) => proxy.draft.balance.balance_factor = factor,
                None => {}
            }
        },
    ),
];

pub(super) static STRATEGIES: LazyLock<Table<ProxyContext>> =
    LazyLock::new(|| Table::new("balance strategy", &[STRATEGY_KEYWORDS]));

/// A row of a strategy without arguments.
macro_rules! strategy {
    ($name:literal, $strategy:ident, $doc:literal) => {
        K::works($name, Sections::PROXIES, $name, $doc, |proxy, _| {
            proxy.draft.choose(BalanceStrategy::$strategy, BalanceKey::None);
        })
    };
}

/// A row of a strategy by a key, which the function reads.
macro_rules! keyed {
    ($name:literal, $usage:literal, $doc:literal, $key:expr) => {
        K::works($name, Sections::PROXIES, $usage, $doc, |proxy, args| {
            let key: fn(&mut ProxyContext, &mut Args<'_>) -> Option<BalanceKey> = $key;
            if let Some(key) = key(proxy, args) {
                proxy.draft.choose(BalanceStrategy::Keyed, key);
            }
        })
    };
}

const STRATEGY_KEYWORDS: &[K] = &[
    strategy!("roundrobin", RoundRobin, "each in turn, by weight; weights may change"),
    strategy!("static-rr", StaticRr, "each in turn, by weight"),
    strategy!("leastconn", LeastConn, "the one with the fewest connections for its weight"),
    strategy!("p2c", P2c, "the lighter of two drawn at random (Telamon's own)"),
    strategy!("least-time", LeastTime, "the one that would answer soonest (Telamon's own)"),
    strategy!("first", First, "the first that has a free slot"),
    K::works(
        "random",
        Sections::PROXIES,
        "random",
        "the lighter of two drawn at random",
        |proxy, _| {
            let strategy = BalanceStrategy::Random { draws: DRAWS_DEFAULT };
            proxy.draft.choose(strategy, BalanceKey::None);
        },
    ),
    K::works(
        "random(",
        Sections::PROXIES,
        "random(<draws>)",
        "the lightest of some drawn at random",
        |proxy, args| {
            if let Some(draws) = draws(args) {
                proxy.draft.choose(BalanceStrategy::Random { draws }, BalanceKey::None);
            }
        },
    ),
    keyed!("source", "source", "by the client's address", |_, _| Some(BalanceKey::Source)),
    keyed!(
        "uri",
        "uri [whole] [path-only] [len <bytes>] [depth <directories>]",
        "by the request's target, without its query unless `whole`",
        |_, args| uri(args)
    ),
    keyed!(
        "url_param",
        "url_param <name> [check_post]",
        "by a parameter of the query, or of the body of a POST request",
        |_, args| url_param(args)
    ),
    keyed!("hdr(", "hdr(<name>) [use_domain_only]", "by the first value of a header", |_, args| {
        header(args)
    }),
    keyed!("hash", "hash <sample expression>", "by whatever an expression finds", |proxy, args| {
        Some(BalanceKey::Sample(expression(proxy, args)?))
    }),
    K::works(
        "maglev",
        Sections::PROXIES,
        "maglev <sample expression> [size <prime>]",
        "by a table that changes little when servers come and go (Telamon's own)",
        |proxy, args| {
            let Some(expr) = expression(proxy, args) else { return };
            let mut size = MAGLEV_SIZE_DEFAULT;
            while !args.is_empty() {
                if args.one_of("option of `balance maglev`", &[("size", ())]).is_none() {
                    return;
                }
                match table_size(args) {
                    Some(wanted) => size = wanted,
                    None => return,
                }
            }
            proxy.draft.choose(BalanceStrategy::Maglev { size }, BalanceKey::Text(expr));
        },
    ),
    K::works(
        "ketama",
        Sections::PROXIES,
        "ketama <sample expression>",
        "by the circle of nginx's `hash ... consistent` (Telamon's own)",
        |proxy, args| {
            if let Some(expr) = expression(proxy, args) {
                proxy.draft.choose(BalanceStrategy::Ketama, BalanceKey::Text(expr));
            }
        },
    ),
    K::works(
        "usage",
        Sections::PROXIES,
        "usage [header <name>] [expire <time>]",
        "in proportion to what servers say they have left (Telamon's own)",
        usage,
    ),
    keyed!(
        "rdp-cookie",
        "rdp-cookie",
        "by the cookie `mstshash` of a remote desktop client",
        |proxy, args| rdp_cookie(proxy, args, "mstshash")
    ),
    keyed!(
        "rdp-cookie(",
        "rdp-cookie(<name>)",
        "by a cookie of a remote desktop client",
        |proxy, args| {
            let name = parenthesized(
                args,
                "rdp-cookie(",
                "the name of a cookie, as in `rdp-cookie(mstshash)`",
            )?;
            rdp_cookie(proxy, args, &name)
        }
    ),
    K::not_yet("log-hash", Sections::PROXIES).since("2.9"),
    K::not_yet("sticky", Sections::PROXIES).since("2.9"),
];

impl super::draft::Draft {
    /// Takes a strategy; what `hash-type` and `hash-balance-factor` say stays.
    fn choose(&mut self, strategy: BalanceStrategy, key: BalanceKey) {
        self.balance = Balance { strategy, key, usage_header: None, ..self.balance.clone() };
    }
}

/// Reads the expression that gives a key.
fn expression(proxy: &mut ProxyContext, args: &mut Args<'_>) -> Option<Arc<Expr>> {
    proxy.scoped(args, Place::Balance, |args, scope| {
        let token = args.next("a sample expression")?;
        let expr = Expr::parse_text(token.bytes, scope);
        let expr = expr.map_err(|error| args.report(token.part(error.at), error.kind)).ok()?;
        match expr.misplaced(scope) {
            Some(kind) => {
                args.fail(token.at, kind);
                None
            }
            None => Some(Arc::new(expr)),
        }
    })
}

/// Reads the size of Maglev's table.
fn table_size(args: &mut Args<'_>) -> Option<u32> {
    let token = args.peek();
    let size = args.integer("size", 2..=MAGLEV_SIZE_MAX)?;
    if is_prime(size) {
        return Some(size);
    }
    let nearest = (size..=MAGLEV_SIZE_MAX).chain((2..size).rev()).find(|size| is_prime(*size));
    let expected = format!("a prime number, such as {}", nearest.unwrap_or(MAGLEV_SIZE_DEFAULT));
    if let Some(token) = token {
        args.bad(token, "size", expected);
    }
    None
}

/// Reads the options of `balance usage`.
fn usage(proxy: &mut ProxyContext, args: &mut Args<'_>) {
    #[derive(Clone, Copy)]
    enum Word {
        Header,
        Expire,
    }
    let words = [("header", Word::Header), ("expire", Word::Expire)];
    let mut header = None;
    let mut expire_ms = USAGE_EXPIRE_MS_DEFAULT;
    while !args.is_empty() {
        match args.one_of("option of `balance usage`", &words) {
            Some(Word::Header) => {
                let Some(name) = args.next("the name of a header") else { return };
                if !name.bytes.iter().all(|byte| crate::key::is_token(*byte)) {
                    return args.bad(name, "header", "the name of a header");
                }
                header = Some(name.bytes.to_ascii_lowercase().into());
            }
            Some(Word::Expire) => {
                let token = args.peek();
                let Some(time) = args.duration() else { return };
                if let (true, Some(token)) = (time.is_zero(), token) {
                    return args.bad(token, "time", "at least 1ms");
                }
                expire_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            }
            None => return,
        }
    }
    proxy.draft.choose(BalanceStrategy::Usage { expire_ms }, BalanceKey::None);
    proxy.draft.balance.usage_header = header;
}

/// Reads the words after `hash-type`.
fn hash_type(args: &mut Args<'_>) -> Option<HashType> {
    if let Some(token) = args.peek()
        && token.text == "avalanche"
    {
        let (keyword, instead) =
            (args.keyword_text(), "hash-type map-based sdbm avalanche".to_owned());
        args.fail(
            token.at,
            ConfigErrorKind::Obsolete { keyword: format!("{keyword} avalanche"), instead },
        );
        return None;
    }
    let methods = [("map-based", HashMethod::MapBased), ("consistent", HashMethod::Consistent)];
    let method = args.one_of("hash type", &methods)?;
    if args.is_empty() {
        let avalanche = method == HashMethod::Consistent;
        return Some(HashType { method, key: KeyHash { avalanche, ..KeyHash::default() } });
    }
    let functions = [
        ("sdbm", HashFunction::Sdbm),
        ("djb2", HashFunction::Djb2),
        ("wt6", HashFunction::Wt6),
        ("crc32", HashFunction::Crc32),
        ("none", HashFunction::None),
    ];
    let function = args.one_of("hash function", &functions)?;
    let avalanche = !args.is_empty();
    if avalanche {
        args.one_of("hash modifier", &[("avalanche", ())])?;
    }
    Some(HashType { method, key: KeyHash { function, avalanche } })
}

/// Reads the options of `balance uri`.
fn uri(args: &mut Args<'_>) -> Option<BalanceKey> {
    #[derive(Clone, Copy)]
    enum Word {
        Whole,
        PathOnly,
        Len,
        Depth,
    }
    let words = [
        ("whole", Word::Whole),
        ("path-only", Word::PathOnly),
        ("len", Word::Len),
        ("depth", Word::Depth),
    ];
    let mut key = UriKey::default();
    while !args.is_empty() {
        match args.one_of("option of `balance uri`", &words)? {
            Word::Whole => key.whole = true,
            Word::PathOnly => key.path_only = true,
            Word::Len => key.len = Some(args.integer("length", 1..=i32::MAX)? as usize),
            Word::Depth => key.depth = Some(args.integer("depth", 1..=i32::MAX)? as usize),
        }
    }
    Some(BalanceKey::Uri(key))
}

/// Reads the words after `balance url_param`. HAProxy looks into the body of a POST request with and without
/// `check_post`; the number that once stood behind it is read and has no effect.
fn url_param(args: &mut Args<'_>) -> Option<BalanceKey> {
    let name = args.next("the name of a parameter")?;
    if !args.is_empty() {
        args.one_of("modifier of `balance url_param`", &[("check_post", ())])?;
        if !args.is_empty() {
            args.integer("number of bytes", 0..=i64::MAX)?;
        }
    }
    Some(BalanceKey::UrlParam(name.bytes.into()))
}

/// Reads `hdr(NAME)`.
fn header(args: &mut Args<'_>) -> Option<BalanceKey> {
    let name = parenthesized(args, "hdr(", "the name of a header, as in `hdr(host)`")?;
    let domain_only = !args.is_empty();
    if domain_only {
        args.one_of("modifier of `balance hdr(…)`", &[("use_domain_only", ())])?;
    }
    Some(BalanceKey::Header { name: name.to_ascii_lowercase().into_bytes().into(), domain_only })
}

fn rdp_cookie(proxy: &mut ProxyContext, args: &mut Args<'_>, name: &str) -> Option<BalanceKey> {
    let token = args.keyword();
    proxy.scoped(args, Place::Balance, |args, scope| {
        match Expr::parse_text(format!("req.rdp_cookie({name})").as_bytes(), scope) {
            Ok(expr) => Some(BalanceKey::RdpCookie(Arc::new(expr))),
            Err(error) => {
                args.report(token.at, error.kind);
                None
            }
        }
    })
}

/// What stands in the parentheses of the keyword.
fn parenthesized(args: &mut Args<'_>, open: &str, expected: &'static str) -> Option<String> {
    let token = args.keyword();
    let inner = token.text.strip_prefix(open).and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.filter(|inner| !inner.is_empty() && !inner.contains(')'));
    if inner.is_none() {
        args.bad(token, "balance strategy", expected);
    }
    inner.map(str::to_owned)
}

/// Reads the number in `random(3)`; without one it is the default.
fn draws(args: &mut Args<'_>) -> Option<u32> {
    let token = args.keyword();
    let number = token.text.strip_prefix("random(").and_then(|rest| rest.strip_suffix(')'));
    let draws = match number {
        Some("") => Some(DRAWS_DEFAULT),
        number => number.and_then(|number| number.parse().ok()).filter(|draws| *draws > 0),
    };
    if draws.is_none() {
        args.bad(token, "balance strategy", "a number of draws from 1, as in `random(2)`");
    }
    draws
}

/// `random` without a number.
const DRAWS_DEFAULT: u32 = 2;

/// The table of `balance maglev`: for some 600 servers within 1%.
const MAGLEV_SIZE_DEFAULT: u32 = 65_537;

/// The largest: 20 MB, for 50,000 servers within 1%.
const MAGLEV_SIZE_MAX: u32 = 5_000_011;

/// How long a report counts under `balance usage`.
const USAGE_EXPIRE_MS_DEFAULT: u64 = 10_000;
