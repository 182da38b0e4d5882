//! `server`, `server-template` and `default-server`.

mod proxy_protocol;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use telamon_balance::Limits;
use telamon_balance::health::{Observe, OnError};
use telamon_config::{
    Address, AddressRules, Args, ConfigErrorKind, Family, Host, Keyword, Location, Port, PortRule,
    Sections, Table,
};

use super::bind::no_effect;
use super::draft::ProxyContext;
use super::mistake::ProxyMistake;
use super::names::{TEMPLATE_MAX, template_range};
use super::settings::NUMBER_MAX;
use crate::expr::Network;

type K = Keyword<ProxyContext>;
type S = Keyword<ServerSettings>;

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "server",
        Sections::BACKS,
        "server <name> <address>[:<port>] [options]",
        "a server",
        |proxy, args| {
            let name = args.name("server");
            let place = args.peek().map_or("", |token| token.text).into();
            let address = address(args);
            let settings = options(proxy, args);
            if let (Some(name), Some(address), false) = (name, address, args.failed()) {
                let (name, at, number_step) = (name.text.into(), name.at, 0);
                let line = ServerLine { name, at, address, place, settings, number_step };
                proxy.own.servers.push(line);
            }
        },
    ),
    K::works(
        "server-template",
        Sections::BACKS,
        "server-template <prefix> <number>|<first>-<last> <host>:<port> [options]",
        "many servers alike",
        |proxy, args| {
            const EXPECTED: &str = "a number of servers, or a range such as `1-4`";
            let name = args.name("server");
            let range = args.next(EXPECTED).and_then(|token| {
                let range = template_range(token.text);
                if range.is_none() {
                    args.bad(token, "server-template", format!("{EXPECTED}, up to {TEMPLATE_MAX}"));
                }
                range
            });
            let place: Arc<str> = args.peek().map_or("", |token| token.text).into();
            let address = address(args);
            let settings = options(proxy, args);
            let (Some(name), Some((first, last)), Some(address), false) =
                (name, range, address, args.failed())
            else {
                return;
            };
            for number in first..=last {
                proxy.own.servers.push(ServerLine {
                    name: format!("{}{number}", name.text).into(),
                    at: name.at,
                    address: address.clone(),
                    place: Arc::clone(&place),
                    settings: settings.clone(),
                    number_step: number - first,
                });
            }
        },
    ),
    K::works(
        "default-server",
        Sections::BACKS.and(Sections::DEFAULTS),
        "default-server [options]",
        "what servers are like unless they say otherwise",
        |proxy, args| {
            args.each(&OPTIONS, &mut proxy.draft.server);
            if let Some((_, at)) = proxy.draft.server.id.take() {
                let title = "`id` has no effect in `default-server`".to_owned();
                let help = "every server has a number of its own: write it on the `server` line";
                args.warn(at, ProxyMistake::Says { title, help }.into());
            }
        },
    ),
];

/// One server as its line says.
pub(super) struct ServerLine {
    pub(super) name: Box<str>,
    pub(super) at: Location,
    pub(super) address: (Address, Location),
    /// The address as it is written.
    pub(super) place: Arc<str>,
    pub(super) settings: ServerSettings,
    /// The servers of a template count up from the `id`.
    pub(super) number_step: u32,
}

/// The options of a `server` line.
#[derive(Debug, Clone)]
pub(super) struct ServerSettings {
    pub(super) id: Option<(u32, Location)>,
    pub(super) weight: u32,
    pub(super) limits: Limits,
    pub(super) backup: bool,
    pub(super) priority: u8,
    pub(super) disabled: bool,
    pub(super) check: bool,
    pub(super) inter: Duration,
    pub(super) fastinter: Option<Duration>,
    pub(super) downinter: Option<Duration>,
    pub(super) slow_start_s: u32,
    pub(super) rise: u32,
    pub(super) fall: u32,
    pub(super) check_port: Option<u16>,
    pub(super) check_address: Option<Box<(Host, Family, Location)>>,
    pub(super) agent: AgentSettings,
    pub(super) track: Option<Box<(Box<str>, Location)>>,
    pub(super) cookie: Option<Box<[u8]>>,
    pub(super) non_stick: bool,
    pub(super) redir: Option<Box<[u8]>>,
    pub(super) source: Option<Box<SourceDraft>>,
    pub(super) user_timeout: Option<Duration>,
    pub(super) fast_open: bool,
    pub(super) pool_max_conn: Option<u32>,
    pub(super) pool_low_conn: u32,
    pub(super) pool_purge_delay: Duration,
    pub(super) max_reuse: Option<u32>,
    pub(super) init_address: InitAddress,
    pub(super) send_proxy: proxy_protocol::Draft,
    pub(super) observe: Option<Observe>,
    pub(super) observe_at: Location,
    pub(super) error_limit: u32,
    pub(super) on_error: OnError,
    /// `on-marked-down shutdown-sessions`
    pub(super) shuts_down: bool,
    /// `on-marked-up shutdown-backup-sessions`
    pub(super) takes_back: bool,
    pub(super) socks4: Option<Box<(Host, u16, Family, Location)>>,
    pub(super) check_via_socks4: bool,
    pub(super) resolvers: Option<Box<(Box<str>, Location)>>,
    pub(super) resolve: Resolve,
}

/// `resolve-prefer`, `resolve-net` and `resolve-opts`.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolve {
    /// `resolve-prefer ipv4`.
    pub(super) prefer_ipv4: bool,
    pub(super) networks: Vec<Network>,
    pub(super) allow_duplicates: bool,
    pub(super) ignore_weight: bool,
}

/// `agent-check` and its kin.
#[derive(Debug, Clone)]
pub(super) struct AgentSettings {
    pub(super) check: bool,
    pub(super) inter: Duration,
    pub(super) port: Option<u16>,
    pub(super) address: Option<Box<(Host, Family, Location)>>,
    pub(super) send: Box<[u8]>,
}

impl Default for AgentSettings {
    fn default() -> Self {
        let inter = Duration::from_secs(2);
        Self { check: false, inter, port: None, address: None, send: Box::default() }
    }
}

/// `init-addr`: how a name becomes an address at the start.
#[derive(Debug, Clone, Default)]
pub(super) struct InitAddress {
    /// In order; empty is `last,libc`.
    pub(super) ways: Vec<InitWay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InitWay {
    /// From the file of states.
    Last,
    Libc,
    /// Without an address; the server begins in maintenance.
    None,
    Ip(std::net::IpAddr),
}

/// `source …`.
#[derive(Debug, Clone)]
pub(super) struct SourceDraft {
    pub(super) ip: std::net::IpAddr,
    pub(super) ports: Option<(u16, u16)>,
    pub(super) interface: Option<String>,
    /// `usesrc ADDRESS`: this address, whether it is this machine's or not.
    pub(super) transparent: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            id: None,
            weight: 1,
            limits: Limits::default(),
            backup: false,
            priority: 0,
            slow_start_s: 0,
            disabled: false,
            check: false,
            inter: Duration::from_secs(2),
            fastinter: None,
            downinter: None,
            rise: 2,
            fall: 3,
            check_port: None,
            check_address: None,
            agent: AgentSettings::default(),
            track: None,
            cookie: None,
            non_stick: false,
            redir: None,
            source: None,
            user_timeout: None,
            fast_open: false,
            pool_max_conn: None,
            pool_low_conn: 0,
            pool_purge_delay: Duration::from_secs(5),
            max_reuse: None,
            init_address: InitAddress::default(),
            socks4: None,
            check_via_socks4: false,
            resolvers: None,
            resolve: Resolve::default(),
            send_proxy: proxy_protocol::Draft::default(),
            observe: None,
            observe_at: Location::COMMAND_LINE,
            error_limit: 10,
            on_error: OnError::default(),
            shuts_down: false,
            takes_back: false,
        }
    }
}

pub(super) static OPTIONS: LazyLock<Table<ServerSettings>> = LazyLock::new(|| {
    Table::new("server option", &[OPTION_KEYWORDS, proxy_protocol::KEYWORDS, TLS])
});

const HERE: Sections = Sections::BACKS.and(Sections::DEFAULTS);

const OPTION_KEYWORDS: &[S] = &[
    S::works("check", HERE, "check", "checks its health", |server, _| server.check = true),
    S::works("no-check", HERE, "no-check", "takes back `check`", |server, _| server.check = false),
    S::works("inter", HERE, "inter <time>", "time between two checks", |server, args| {
        if let Some(time) = args.period() {
            server.inter = time;
        }
    }),
    S::works(
        "fastinter",
        HERE,
        "fastinter <time>",
        "the same while it goes up or down",
        |server, args| {
            server.fastinter = args.period();
        },
    ),
    S::works("downinter", HERE, "downinter <time>", "the same while it is down", |server, args| {
        server.downinter = args.period();
    }),
    S::works("rise", HERE, "rise <count>", "successes that bring it up", |server, args| {
        server.rise = args.integer("rise", 1..=CHECKS_MAX).unwrap_or(server.rise);
    }),
    S::works("fall", HERE, "fall <count>", "failures that take it down", |server, args| {
        server.fall = args.integer("fall", 1..=CHECKS_MAX).unwrap_or(server.fall);
    }),
    S::works("port", HERE, "port <port>", "the port to check", |server, args| {
        server.check_port = args.integer("port", 1..=u16::MAX);
    }),
    S::works("addr", HERE, "addr <address>[:<port>]", "the address to check", |server, args| {
        let at = args.peek().map_or(args.at(), |token| token.at);
        let rules = AddressRules { unix: false, port_offset: false, ..AddressRules::SERVER };
        if let Some(Address::Ip { host, port, family, .. }) = args.address(&rules) {
            server.check_address = Some(Box::new((host, family, at)));
            // `port` goes before it, wherever it stands.
            if let (Port::One(port), None) = (port, server.check_port) {
                server.check_port = Some(port);
            }
        }
    }),
    S::works(
        "weight",
        HERE,
        "weight <number>",
        "its share of the work, 0 to 256",
        |server, args| {
            server.weight = args.integer("weight", 0..=256u32).unwrap_or(1);
        },
    ),
    S::works(
        "maxconn",
        HERE,
        "maxconn <number>",
        "connections that it takes at a time",
        |server, args| {
            server.limits.maxconn = args.integer("maxconn", 0..=NUMBER_MAX).unwrap_or(0);
        },
    ),
    S::works(
        "minconn",
        HERE,
        "minconn <number>",
        "the same while the backend is idle",
        |server, args| {
            server.limits.minconn = args.integer("minconn", 0..=NUMBER_MAX).unwrap_or(0);
        },
    ),
    S::works(
        "maxqueue",
        HERE,
        "maxqueue <number>",
        "requests that may wait for it alone",
        |server, args| {
            server.limits.maxqueue = args.integer("maxqueue", 0..=NUMBER_MAX).unwrap_or(0);
        },
    ),
    S::works(
        "max-requests",
        HERE,
        "max-requests <number>",
        "requests in flight on it beyond which no other waits for it (Telamon's own)",
        |server, args| {
            server.limits.max_requests = args.integer("max-requests", 0..=NUMBER_MAX).unwrap_or(0);
        },
    ),
    S::works("backup", HERE, "backup", "used only when no other server is usable", |server, _| {
        server.backup = true
    }),
    S::works("no-backup", HERE, "no-backup", "takes back `backup`", |server, _| {
        server.backup = false
    }),
    S::works(
        "priority",
        HERE,
        "priority <level>",
        "its level, 0 to 255: the lowest that is usable takes everything (Telamon's own)",
        |server, args| {
            server.priority = args.integer("priority", 0..=u8::MAX).unwrap_or(0);
        },
    ),
    S::works("disabled", HERE, "disabled", "starts in maintenance", |server, _| {
        server.disabled = true
    }),
    S::works("enabled", HERE, "enabled", "takes back `disabled`", |server, _| {
        server.disabled = false
    }),
    S::works("id", HERE, "id <number>", "the number that statistics name it by", |server, args| {
        let at = args.peek().map_or(args.at(), |token| token.at);
        server.id = args.integer("id", 1..=NUMBER_MAX).map(|id| (id, at));
    }),
    S::works(
        "cookie",
        HERE,
        "cookie <value>",
        "the value of the backend's `cookie` that means it",
        |server, args| {
            server.cookie = args.next("a value").map(|token| token.bytes.into());
        },
    ),
    S::works(
        "source",
        HERE,
        "source <address>[:<port>[-<port>]] [interface <name>] [usesrc ...]",
        "the address to connect from",
        |server, args| {
            server.source = source(args).map(Box::new);
        },
    ),
    S::works(
        "tcp-ut",
        HERE,
        "tcp-ut <time>",
        "how long sent data may stay unacknowledged",
        |server, args| {
            server.user_timeout = args.duration();
        },
    ),
    S::works("tfo", HERE, "tfo", "sends data in the first packet", |server, _| {
        server.fast_open = true
    }),
    S::works("no-tfo", HERE, "no-tfo", "takes back `tfo`", |server, _| server.fast_open = false),
    S::works(
        "pool-max-conn",
        HERE,
        "pool-max-conn <number>",
        "idle connections that are kept; -1 is no limit",
        |server, args| {
            server.pool_max_conn = args
                .integer("pool-max-conn", -1..=i32::MAX)
                .and_then(|max| u32::try_from(max).ok());
        },
    ),
    S::works(
        "pool-low-conn",
        HERE,
        "pool-low-conn <number>",
        "idle connections below which no worker takes another's",
        |server, args| {
            server.pool_low_conn = args.integer("pool-low-conn", 0..=NUMBER_MAX).unwrap_or(0);
        },
    ),
    S::works(
        "pool-purge-delay",
        HERE,
        "pool-purge-delay <time>",
        "how long an idle connection is kept",
        |server, args| {
            if let Some(time) = args.duration() {
                server.pool_purge_delay = time;
            }
        },
    ),
    S::works(
        "max-reuse",
        HERE,
        "max-reuse <number>",
        "requests on a connection after its first; -1 is no limit",
        |server, args| {
            server.max_reuse =
                args.integer("max-reuse", -1..=i32::MAX).and_then(|max| u32::try_from(max).ok());
        },
    ),
    S::works(
        "redir",
        HERE,
        "redir <prefix>",
        "sends clients there instead of relaying",
        |server, args| {
            server.redir = args.next("a prefix").map(|token| token.bytes.into());
        },
    ),
    S::works(
        "track",
        HERE,
        "track [<backend>/]<server>",
        "is as healthy as another server",
        |server, args| {
            server.track =
                args.next("a server").map(|token| Box::new((token.text.into(), token.at)));
        },
    ),
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
    S::works("proto", HERE, "proto h1", "the protocol, where nothing negotiates it", |_, args| {
        let token = args.peek();
        let words = [("h1", true), ("none", true), ("h2", false), ("fcgi", false)];
        if let (Some(false), Some(token)) = (args.one_of("protocol", &words), token) {
            let keyword = format!("proto {}", token.text);
            args.report(token.at, ConfigErrorKind::NotYet { keyword, guards_access: true });
        }
    }),
    S::works("non-stick", HERE, "non-stick", "is not remembered in stick tables", |server, _| {
        server.non_stick = true;
    }),
    S::works("stick", HERE, "stick", "takes back `non-stick`", |server, _| {
        server.non_stick = false;
    }),
    S::works("agent-check", HERE, "agent-check", "asks an agent how it is", |server, _| {
        server.agent.check = true;
    }),
    S::works("no-agent-check", HERE, "no-agent-check", "takes back `agent-check`", |server, _| {
        server.agent.check = false;
    }),
    S::works(
        "agent-inter",
        HERE,
        "agent-inter <time>",
        "time between two questions to the agent",
        |server, args| {
            if let Some(time) = args.period() {
                server.agent.inter = time;
            }
        },
    ),
    S::works("agent-port", HERE, "agent-port <port>", "the agent's port", |server, args| {
        server.agent.port = args.integer("port", 1..=u16::MAX);
    }),
    S::works("agent-addr", HERE, "agent-addr <address>", "the agent's address", |server, args| {
        let at = args.peek().map_or(args.at(), |token| token.at);
        if let Some(Address::Ip { host, family, .. }) = args.address(&AddressRules::HOST) {
            server.agent.address = Some(Box::new((host, family, at)));
        }
    }),
    S::works("agent-send", HERE, "agent-send <text>", "what the agent is sent", |server, args| {
        if let Some(token) = args.next("a text") {
            server.agent.send = token.bytes.into();
        }
    }),
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
    S::works(
        "observe",
        HERE,
        "observe { none | layer4 | layer7 }",
        "learns its health from traffic",
        |server, args| {
            let words = [
                ("none", None),
                ("layer4", Some(Observe::Layer4)),
                ("layer7", Some(Observe::Layer7)),
            ];
            let at = args.peek().map_or(args.at(), |token| token.at);
            if let Some(observe) = args.one_of("layer", &words) {
                server.observe = observe;
                server.observe_at = at;
            }
        },
    ),
    S::works(
        "error-limit",
        HERE,
        "error-limit <count>",
        "errors in a row that `observe` takes, by default 10",
        |server, args| {
            server.error_limit = args.integer("count", 1..=NUMBER_MAX).unwrap_or(10);
        },
    ),
    S::works(
        "on-error",
        HERE,
        "on-error { fastinter | fail-check | sudden-death | mark-down }",
        "what they do, by default `fail-check`",
        |server, args| {
            let words = [
                ("fastinter", OnError::FastInter),
                ("fail-check", OnError::FailCheck),
                ("sudden-death", OnError::SuddenDeath),
                ("mark-down", OnError::MarkDown),
            ];
            server.on_error = args.one_of("action", &words).unwrap_or_default();
        },
    ),
    S::works(
        "on-marked-down",
        HERE,
        "on-marked-down shutdown-sessions",
        "ends its sessions when it goes down",
        |server, args| {
            server.shuts_down |= args.one_of("action", &[("shutdown-sessions", ())]).is_some();
        },
    ),
    S::works(
        "on-marked-up",
        HERE,
        "on-marked-up shutdown-backup-sessions",
        "ends the backups' sessions when it comes up",
        |server, args| {
            let words = [("shutdown-backup-sessions", ())];
            server.takes_back |= args.one_of("action", &words).is_some();
        },
    ),
    S::works(
        "slowstart",
        HERE,
        "slowstart <time>",
        "gives it its share little by little when it comes up",
        |server, args| {
            if let Some(time) = args.duration() {
                // At most 24.8 days.
                server.slow_start_s = time.as_millis().div_ceil(1000) as u32;
            }
        },
    ),
    S::idle(
        "log-proto",
        HERE,
        "log-proto { legacy | octet-count }",
        "a detail of servers in rings",
        |_, args| {
            args.one_of("framing", &[("legacy", ()), ("octet-count", ())]);
            no_effect(args, "it concerns `ring` sections");
        },
    ),
    S::not_yet("check-proto", HERE),
    S::works(
        "check-via-socks4",
        HERE,
        "check-via-socks4",
        "checks go through the proxy of `socks4` too",
        |server, _| server.check_via_socks4 = true,
    ),
    S::works(
        "socks4",
        HERE,
        "socks4 <address>:<port>",
        "the SOCKS 4 proxy that connections go through",
        |server, args| {
            let at = args.peek().map_or(args.at(), |token| token.at);
            let rules = AddressRules {
                port: PortRule::Required,
                unix: false,
                port_offset: false,
                ..AddressRules::SERVER
            };
            if let Some(Address::Ip { host, port: Port::One(port), family, .. }) =
                args.address(&rules)
            {
                server.socks4 = Some(Box::new((host, port, family, at)));
            }
        },
    ),
    S::not_yet_guard("namespace", HERE),
    S::not_yet_guard("ssl", HERE),
    S::not_yet("check-ssl", HERE),
    S::works("ws", HERE, "ws { auto | h1 | h2 }", "the protocol of WebSockets", |_, args| {
        let token = args.peek();
        let words = [("auto", true), ("h1", true), ("h2", false)];
        if let (Some(false), Some(token)) = (args.one_of("protocol", &words), token) {
            args.report(
                token.at,
                ConfigErrorKind::NotYet { keyword: "ws h2".into(), guards_access: false },
            );
        }
    }),
];

/// What only says how TLS is done: nothing without `ssl` or `check-ssl`, which are reported.
macro_rules! tls_flag {
    ($name:literal) => {
        S::idle($name, HERE, $name, "a detail of `ssl`, which is not there yet", |_, _| {})
    };
}
macro_rules! tls_value {
    ($name:literal) => {
        S::idle(
            $name,
            HERE,
            concat!($name, " <value>"),
            "a detail of `ssl`, which is not there yet",
            |_, args| {
                args.next("a value");
            },
        )
    };
}

const TLS: &[S] = &[
    tls_flag!("allow-0rtt"),
    tls_value!("alpn"),
    tls_value!("ca-file"),
    tls_value!("check-alpn"),
    tls_value!("check-sni"),
    tls_value!("ciphers"),
    tls_value!("ciphersuites"),
    tls_value!("crl-file"),
    tls_value!("crt"),
    tls_flag!("force-sslv3"),
    tls_flag!("force-tlsv10"),
    tls_flag!("force-tlsv11"),
    tls_flag!("force-tlsv12"),
    tls_flag!("force-tlsv13"),
    tls_flag!("no-check-ssl"),
    tls_flag!("no-ssl"),
    tls_flag!("no-ssl-reuse"),
    tls_flag!("no-sslv3"),
    tls_flag!("no-tls-tickets"),
    tls_flag!("no-tlsv10"),
    tls_flag!("no-tlsv11"),
    tls_flag!("no-tlsv12"),
    tls_flag!("no-tlsv13"),
    tls_value!("npn"),
    tls_value!("sni"),
    tls_value!("ssl-max-ver"),
    tls_value!("ssl-min-ver"),
    tls_flag!("ssl-reuse"),
    tls_flag!("tls-tickets"),
    tls_value!("verify"),
    tls_value!("verifyhost"),
];

fn address(args: &mut Args<'_>) -> Option<(Address, Location)> {
    let at = args.peek().map_or(args.at(), |token| token.at);
    args.address(&AddressRules::SERVER).map(|address| (address, at))
}

fn options(proxy: &ProxyContext, args: &mut Args<'_>) -> ServerSettings {
    let mut settings = proxy.draft.server.clone();
    args.each(&OPTIONS, &mut settings);
    settings
}

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

/// Reads what follows `source`.
pub(super) fn source(args: &mut Args<'_>) -> Option<SourceDraft> {
    let rules = AddressRules { port_range: true, ..AddressRules::SOURCE };
    let address = args.address(&rules);
    let mut interface = None;
    let mut usesrc = None;
    loop {
        if args.accept("interface") {
            interface = args.next("the name of an interface").map(|token| token.text.to_owned());
        } else if args.accept("usesrc") {
            let token = args.peek();
            match token.map(|token| token.text) {
                Some(word)
                    if word == "client" || word == "clientip" || word.starts_with("hdr_ip(") =>
                {
                    let kind = ConfigErrorKind::NotYet {
                        keyword: format!("source usesrc {word}"),
                        guards_access: true,
                    };
                    args.next_if_any();
                    args.report(token.map_or(args.at(), |token| token.at), kind);
                }
                _ => usesrc = args.address(&AddressRules::SOURCE),
            }
        } else {
            break;
        }
    }
    let Address::Ip { host, port, family, .. } = address? else { return None };
    let ports = |port| match port {
        Port::One(port) if port != 0 => Some((port, port)),
        Port::Range(first, last) => Some((first, last)),
        _ => None,
    };
    let ip = |host: &Host, family| match host {
        Host::Ip(ip) => *ip,
        _ => super::base::unspecified(family),
    };
    let mut draft =
        SourceDraft { ip: ip(&host, family), ports: ports(port), interface, transparent: false };
    if let Some(Address::Ip { host, port, family, .. }) = usesrc {
        draft.ip = ip(&host, family);
        draft.ports = ports(port).or(draft.ports);
        draft.transparent = true;
    }
    Some(draft)
}

/// The most for `rise` and `fall`, which the state machine keeps in 16 bits.
const CHECKS_MAX: u32 = u16::MAX as u32;
