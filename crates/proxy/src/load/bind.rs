//! `bind`: where a frontend listens. `stats socket` takes the same options.

mod tls;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use telamon_config::{
    Address, AddressRules, Args, ConfigErrorKind, Family, Keyword, Location, Port, Sections, Table,
    Token,
};
use telamon_runtime::api::Level;
use telamon_runtime::{BindAddress, BindSpec};

use super::base::{Base, Report};
use super::draft::ProxyContext;
use super::mistake::ProxyMistake;
use super::settings::NUMBER_MAX;
use super::tls::TlsDraft;
use crate::model::HttpVersion;

type K = Keyword<ProxyContext>;
type B = Keyword<BindSettings>;

pub(super) const KEYWORDS: &[K] = &[K::works(
    "bind",
    Sections::FRONTS,
    "bind <address>:<port>[,...] [options]",
    "where to accept connections",
    |proxy, args| {
        let addresses = args.addresses(&AddressRules::BIND);
        let mut settings = BindSettings::default();
        args.each(&OPTIONS, &mut settings);
        settings.tell_plain_text(args);
        if let (Some(addresses), false) = (addresses, args.failed()) {
            proxy.own.binds.push(BindLine { addresses, settings });
        }
    },
)];

/// One `bind` line.
pub(super) struct BindLine {
    pub(super) addresses: Vec<(Address, Location)>,
    pub(super) settings: BindSettings,
}

/// The options of a `bind` line.
#[derive(Debug, Clone, Default)]
pub(super) struct BindSettings {
    pub(super) name: Option<Box<str>>,
    pub(super) id: Option<(u32, Location)>,
    pub(super) maxconn: u32,
    pub(super) backlog: Option<u32>,
    /// `expose-fd listeners`
    pub(super) exposes: bool,
    v6only: Option<bool>,
    interface: Option<String>,
    transparent: bool,
    mss: Option<i32>,
    defer_accept: bool,
    fast_open: bool,
    user_timeout: Option<Duration>,
    pub(super) owner: Owner,
    pub(super) accept_proxy: bool,
    /// Of sockets for commands.
    pub(super) level: Option<Level>,
    pub(super) tls: TlsDraft,
    /// `proto`
    pub(super) protocol: Option<HttpVersion>,
}

/// Who may use a Unix socket; the names are looked up when it is built.
#[derive(Debug, Clone, Default)]
pub(super) struct Owner {
    /// `unix-bind prefix`.
    pub(super) prefix: Option<Box<str>>,
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) user: Option<(Box<str>, Location)>,
    pub(super) group: Option<(Box<str>, Location)>,
}

pub(super) static OPTIONS: LazyLock<Table<BindSettings>> =
    LazyLock::new(|| Table::new("bind option", &[OPTION_KEYWORDS, tls::KEYWORDS]));

const HERE: Sections = Sections::FRONTS.and(Sections::GLOBAL);

const OPTION_KEYWORDS: &[B] = &[
    B::works("name", HERE, "name <name>", "what statistics call it", |bind, args| {
        bind.name = args.next("a name").map(|token| token.text.into());
    }),
    B::works("id", HERE, "id <number>", "the number that statistics name it by", |bind, args| {
        let at = args.peek().map_or(args.at(), |token| token.at);
        bind.id = args.integer("id", 1..=NUMBER_MAX).map(|id| (id, at));
    }),
    B::works(
        "maxconn",
        HERE,
        "maxconn <number>",
        "connections that it accepts at a time",
        |bind, args| {
            bind.maxconn = args.integer("maxconn", 1..=NUMBER_MAX).unwrap_or(0);
        },
    ),
    B::works(
        "backlog",
        HERE,
        "backlog <number>",
        "connections that the kernel keeps until they are accepted",
        |bind, args| {
            bind.backlog = args.integer("backlog", 0..=NUMBER_MAX);
        },
    ),
    B::works(
        "accept-proxy",
        Sections::FRONTS,
        "accept-proxy",
        "connections begin with the PROXY protocol's header, which says who the client is",
        |bind, _| bind.accept_proxy = true,
    ),
    B::works("v4v6", HERE, "v4v6", "an IPv6 address takes IPv4 too", |bind, _| {
        bind.v6only = Some(false)
    }),
    B::works("v6only", HERE, "v6only", "an IPv6 address takes IPv6 only", |bind, _| {
        bind.v6only = Some(true)
    }),
    B::works(
        "interface",
        HERE,
        "interface <name>",
        "takes only what comes through this interface",
        |bind, args| {
            bind.interface =
                args.next("the name of an interface").map(|token| token.text.to_owned());
        },
    ),
    B::works(
        "transparent",
        HERE,
        "transparent",
        "the address need not be this machine's",
        |bind, _| bind.transparent = true,
    ),
    B::works(
        "mss",
        HERE,
        "mss <bytes>",
        "the segment size to announce; negative lowers the path's",
        |bind, args| {
            bind.mss = args.integer("mss", -65535..=65535i32);
        },
    ),
    B::works("defer-accept", HERE, "defer-accept", "waits for the first bytes", |bind, _| {
        bind.defer_accept = true
    }),
    B::works("tfo", HERE, "tfo", "takes data in the first packet", |bind, _| bind.fast_open = true),
    B::works(
        "tcp-ut",
        HERE,
        "tcp-ut <time>",
        "how long sent data may stay unacknowledged",
        |bind, args| {
            bind.user_timeout = args.duration();
        },
    ),
    B::works("mode", HERE, "mode <octal>", "permissions of a Unix socket", |bind, args| {
        mode(&mut bind.owner, args)
    }),
    B::works("user", HERE, "user <name>", "owner of a Unix socket", |bind, args| {
        user(&mut bind.owner, args)
    }),
    B::works("uid", HERE, "uid <number>", "owner of a Unix socket", |bind, args| {
        uid(&mut bind.owner, args)
    }),
    B::works("group", HERE, "group <name>", "group of a Unix socket", |bind, args| {
        group(&mut bind.owner, args)
    }),
    B::works("gid", HERE, "gid <number>", "group of a Unix socket", |bind, args| {
        gid(&mut bind.owner, args)
    }),
    B::works(
        "level",
        HERE,
        "level { user | operator | admin }",
        "what commands on the socket may do",
        |bind, args| {
            let words =
                [("user", Level::User), ("operator", Level::Operator), ("admin", Level::Admin)];
            bind.level = args.one_of("level", &words);
        },
    ),
    B::works(
        "expose-fd",
        HERE,
        "expose-fd listeners",
        "lets a new process fetch the listening sockets (`-x`)",
        |bind, args| bind.exposes = args.one_of("word", &[("listeners", true)]).is_some(),
    ),
    B::works(
        "severity-output",
        HERE,
        "severity-output { none | number | string }",
        "how answers tell their severity",
        |_, args| {
            let token = args.peek();
            let words = [("none", true), ("number", false), ("string", false)];
            if let (Some(false), Some(token)) = (args.one_of("format", &words), token) {
                let keyword = format!("severity-output {}", token.text);
                args.report(token.at, ConfigErrorKind::NotYet { keyword, guards_access: false });
            }
        },
    ),
    B::works(
        "proto",
        HERE,
        "proto { h1 | h2 }",
        "the protocol, where nothing negotiates it",
        |bind, args| {
            let token = args.peek();
            let words = [
                ("h1", Ok(Some(HttpVersion::Http1))),
                ("h2", Ok(Some(HttpVersion::Http2))),
                ("none", Ok(None)),
                ("quic", Err(())),
            ];
            match (args.one_of("protocol", &words), token) {
                (Some(Ok(protocol)), _) => bind.protocol = protocol,
                (Some(Err(())), Some(token)) => {
                    let keyword = format!("proto {}", token.text);
                    args.report(
                        token.at,
                        ConfigErrorKind::NotYet { keyword, guards_access: false },
                    );
                }
                _ => {}
            }
        },
    ),
    B::idle("nice", HERE, "nice <number>", "priority of its tasks; without effect", |_, args| {
        args.integer("nice", -1024..=1024i32);
        no_effect(args, "workers have no priorities among tasks");
    }),
    B::idle("process", HERE, "process <set>", "threads that accept; without effect", |_, args| {
        args.next("a set of threads");
        let title = "`process` of `bind` lines is deprecated".to_owned();
        let help = "`thread` took its place; here every worker accepts, whatever they say";
        args.warn(args.at(), ProxyMistake::Says { title, help }.into());
    }),
    B::idle("thread", HERE, "thread <set>", "threads that accept; without effect", |_, args| {
        args.next("a set of threads");
        no_effect(args, "every worker accepts");
    }),
    B::idle(
        "shards",
        HERE,
        "shards { <number> | by-thread }",
        "sockets for the address; without effect",
        |_, args| {
            args.next("a number or `by-thread`");
            no_effect(args, "there is a socket for each worker where the address allows it");
        },
    ),
    B::not_yet_guard("accept-netscaler-cip", HERE),
    B::not_yet_guard("namespace", HERE),
    B::not_yet("quic-cc-algo", HERE),
    B::not_yet("quic-force-retry", HERE),
];

pub(super) fn no_effect(args: &mut Args<'_>, why: &'static str) {
    let kind = ConfigErrorKind::NoEffect { keyword: args.keyword_text(), why };
    args.notice(args.at(), kind);
}

pub(super) fn mode(owner: &mut Owner, args: &mut Args<'_>) {
    let Some(token) = args.next("permissions such as `660`") else { return };
    owner.mode = u32::from_str_radix(token.text, 8).ok().filter(|mode| *mode <= 0o7777);
    if owner.mode.is_none() {
        args.bad(token, "permissions", "octal digits such as `660`");
    }
}

pub(super) fn user(owner: &mut Owner, args: &mut Args<'_>) {
    owner.user = args.next("the name of a user").map(named);
}

pub(super) fn group(owner: &mut Owner, args: &mut Args<'_>) {
    owner.group = args.next("the name of a group").map(named);
}

pub(super) fn uid(owner: &mut Owner, args: &mut Args<'_>) {
    owner.uid = args.integer("uid", 0..=u32::MAX);
}

pub(super) fn gid(owner: &mut Owner, args: &mut Args<'_>) {
    owner.gid = args.integer("gid", 0..=u32::MAX);
}

fn named(token: Token<'_>) -> (Box<str>, Location) {
    (token.text.into(), token.at)
}

impl BindSettings {
    /// Warns of details of TLS on a line without `ssl`, which HAProxy passes over: whoever named a certificate hardly
    /// means to speak plain text.
    fn tell_plain_text(&self, args: &mut Args<'_>) {
        if let (Some((name, at)), None, false) = (self.tls.detail, self.tls.ssl, args.failed()) {
            let title = format!("`{name}` without `ssl`: clients are spoken to in plain text here");
            let help = "write `ssl` on the line, or leave the details of TLS out";
            args.warn(at, ProxyMistake::Says { title, help }.into());
        }
    }

    /// The sockets of one address: as many as it has ports.
    pub(super) fn specs(
        &self,
        address: &Address,
        at: Location,
        defaults: &Owner,
        base: &Rc<Base>,
        to: &mut dyn Report,
    ) -> Vec<BindSpec> {
        let inet = |ip, port| BindAddress::Inet((ip, port).into());
        let addresses = match address {
            Address::Ip { host, port, family, .. } => {
                let Some(ip) = base.address(to, host, *family, at) else { return Vec::new() };
                let ip = if *family == Family::V6 && ip.is_ipv4() { return Vec::new() } else { ip };
                match *port {
                    Port::One(port) => vec![inet(ip, port)],
                    Port::Range(first, last) => (first..=last).map(|port| inet(ip, port)).collect(),
                    Port::None | Port::Offset(_) => Vec::new(),
                }
            }
            Address::Unix { path, .. } => {
                let prefix = defaults.prefix.as_deref().unwrap_or_default();
                vec![BindAddress::Unix(PathBuf::from(format!("{prefix}{path}")))]
            }
            Address::Abstract { name } => vec![BindAddress::Abstract(name.as_bytes().to_vec())],
            Address::Descriptor(number) => vec![BindAddress::Fd(*number)],
        };
        let unix = matches!(address, Address::Unix { .. });
        let owner = if unix { self.owner.or(defaults) } else { Owner::default() };
        let user = owner.user.as_ref().and_then(|(name, at)| base.uid(to, name, *at));
        let group = owner.group.as_ref().and_then(|(name, at)| base.gid(to, name, *at));
        let build = |address| BindSpec {
            v6only: self.v6only,
            interface: self.interface.clone(),
            transparent: self.transparent,
            mss: self.mss,
            defer_accept: self.defer_accept,
            fast_open: self.fast_open,
            user_timeout: self.user_timeout,
            mode: owner.mode,
            uid: owner.uid.or(user.map(|(uid, _)| uid)),
            gid: owner.gid.or(group),
            ..BindSpec::new(address)
        };
        addresses.into_iter().map(build).collect()
    }
}

impl Owner {
    /// These settings, and those of `other` where there are none.
    fn or(&self, other: &Self) -> Self {
        let own_user = self.uid.is_some() || self.user.is_some();
        let own_group = self.gid.is_some() || self.group.is_some();
        let (users, groups) =
            (if own_user { self } else { other }, if own_group { self } else { other });
        Self {
            prefix: None,
            mode: self.mode.or(other.mode),
            uid: users.uid,
            user: users.user.clone(),
            gid: groups.gid,
            group: groups.group.clone(),
        }
    }
}
