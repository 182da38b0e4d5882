//! What a `server` line says of its name: how it becomes an address, at the start and later.

use telamon_config::{Args, ConfigErrorKind, Keyword};

use super::{HERE, ServerSettings};
use crate::expr::Network;

type S = Keyword<ServerSettings>;

/// `resolve-prefer`, `resolve-net` and `resolve-opts`.
#[derive(Debug, Clone, Default)]
pub(in crate::load) struct Resolve {
    /// `resolve-prefer ipv4`.
    pub(in crate::load) prefer_ipv4: bool,
    pub(in crate::load) networks: Vec<Network>,
    pub(in crate::load) allow_duplicates: bool,
    pub(in crate::load) ignore_weight: bool,
}

/// `init-addr`: how a name becomes an address at the start.
#[derive(Debug, Clone, Default)]
pub(in crate::load) struct InitAddress {
    /// In order; empty is `last,libc`.
    pub(in crate::load) ways: Vec<InitWay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::load) enum InitWay {
    /// From the file of states.
    Last,
    Libc,
    /// Without an address; the server begins in maintenance.
    None,
    Ip(std::net::IpAddr),
}

pub(super) const KEYWORDS: &[S] = &[
    S::works(
        "init-addr",
        HERE,
        "init-addr { last | libc | none | <ip> },...",
        "how its name becomes an address at the start",
        |server, args| {
            if let Some(init) = init_address(args) {
                server.init_address = init;
            }
        },
    ),
    S::works(
        "resolve-net",
        HERE,
        "resolve-net <network>,...",
        "which of a name's addresses are taken before others",
        |server, args| {
            const EXPECTED: &str = "networks such as `10.0.0.0/8`, separated by commas";
            let Some(token) = args.next(EXPECTED) else { return };
            let mut start = 0;
            server.resolve.networks.clear();
            for part in token.text.split(',') {
                let at = token.part(start..start + part.len());
                start += part.len() + 1;
                match Network::parse(part.as_bytes()) {
                    Some(network) => server.resolve.networks.push(network),
                    None => args.fail(at, bad_value("network", part, EXPECTED)),
                }
            }
        },
    ),
    S::works(
        "resolve-opts",
        HERE,
        "resolve-opts { allow-dup-ip | prevent-dup-ip | ignore-weight },...",
        "whether servers may share an address, and whether SRV records set weights",
        |server, args| {
            const EXPECTED: &str =
                "`allow-dup-ip`, `prevent-dup-ip` or `ignore-weight`, separated by commas";
            let Some(token) = args.next(EXPECTED) else { return };
            let mut start = 0;
            for part in token.text.split(',') {
                let at = token.part(start..start + part.len());
                start += part.len() + 1;
                match part {
                    "allow-dup-ip" => server.resolve.allow_duplicates = true,
                    "prevent-dup-ip" => server.resolve.allow_duplicates = false,
                    "ignore-weight" => server.resolve.ignore_weight = true,
                    _ => args.fail(at, bad_value("option", part, EXPECTED)),
                }
            }
        },
    ),
    S::works(
        "resolve-prefer",
        HERE,
        "resolve-prefer { ipv4 | ipv6 }",
        "the family of addresses that is asked for first; ipv6 unless set",
        |server, args| {
            let words = [("ipv4", true), ("ipv6", false)];
            if let Some(ipv4) = args.one_of("family", &words) {
                server.resolve.prefer_ipv4 = ipv4;
            }
        },
    ),
    S::works(
        "resolvers",
        HERE,
        "resolvers <section>",
        "the `resolvers` section that is asked for its address from time to time",
        |server, args| {
            server.resolvers = args
                .next("the name of a `resolvers` section")
                .map(|token| Box::new((token.text.into(), token.at)));
        },
    ),
];

fn bad_value(what: &'static str, found: &str, expected: &'static str) -> ConfigErrorKind {
    let (what, expected) = (what.into(), expected.into());
    ConfigErrorKind::BadValue { what, found: found.to_owned(), expected }
}

fn init_address(args: &mut Args<'_>) -> Option<InitAddress> {
    const EXPECTED: &str = "`last`, `libc`, `none` or an address, separated by commas";
    let token = args.next(EXPECTED)?;
    let way = |word: &str| match word {
        "last" => Some(InitWay::Last),
        "libc" => Some(InitWay::Libc),
        "none" => Some(InitWay::None),
        ip => ip.parse().ok().map(InitWay::Ip),
    };
    let ways: Option<Vec<_>> = token.text.split(',').map(way).collect();
    if ways.is_none() {
        args.bad(token, "init-addr", EXPECTED);
    }
    Some(InitAddress { ways: ways? })
}
