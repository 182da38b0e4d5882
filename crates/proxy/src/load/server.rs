//! `server`, `server-template` and `default-server`.

mod health;
mod proxy_protocol;
mod resolve;
mod tls;

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
use super::tls::TlsDraft;
use crate::expr::{Expr, Place as ScopePlace};
use crate::model::HttpVersion;
pub(super) use health::AgentSettings;
pub(super) use resolve::{InitAddress, InitWay, Resolve};
pub(super) use tls::CheckDraft;

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
            let mut settings = std::mem::take(&mut proxy.draft.server);
            args.each(&OPTIONS, &mut settings);
            read_sni(proxy, args, &mut settings);
            proxy.draft.server = settings;
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
    pub(super) tls: TlsDraft,
    pub(super) check_tls: CheckDraft,
    /// `sni`, until it is read.
    pub(super) sni_text: Option<(Box<[u8]>, Location)>,
    pub(super) sni: Option<Arc<Expr>>,
    /// `proto`
    pub(super) protocol: Option<HttpVersion>,
    /// `ws`
    pub(super) websocket: Option<HttpVersion>,
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
            tls: TlsDraft::default(),
            check_tls: CheckDraft::default(),
            sni_text: None,
            sni: None,
            protocol: None,
            websocket: None,
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
    Table::new(
        "server option",
        &[
            health::KEYWORDS,
            OPTION_KEYWORDS,
            resolve::KEYWORDS,
            proxy_protocol::KEYWORDS,
            tls::KEYWORDS,
        ],
    )
});

const HERE: Sections = Sections::BACKS.and(Sections::DEFAULTS);

const OPTION_KEYWORDS: &[S] = &[
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
        "proto",
        HERE,
        "proto { h1 | h2 }",
        "the protocol, where nothing negotiates it",
        |server, args| {
            let token = args.peek();
            let words = [
                ("h1", Ok(Some(HttpVersion::Http1))),
                ("h2", Ok(Some(HttpVersion::Http2))),
                ("none", Ok(None)),
                ("fcgi", Err(())),
            ];
            match (args.one_of("protocol", &words), token) {
                (Some(Ok(protocol)), _) => server.protocol = protocol,
                (Some(Err(())), Some(token)) => {
                    let keyword = format!("proto {}", token.text);
                    args.report(token.at, ConfigErrorKind::NotYet { keyword, guards_access: true });
                }
                _ => {}
            }
        },
    ),
    S::works("non-stick", HERE, "non-stick", "is not remembered in stick tables", |server, _| {
        server.non_stick = true;
    }),
    S::works("stick", HERE, "stick", "takes back `non-stick`", |server, _| {
        server.non_stick = false;
    }),
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
    S::works("ws", HERE, "ws { auto | h1 | h2 }", "the protocol of WebSockets", |server, args| {
        let words =
            [("auto", None), ("h1", Some(HttpVersion::Http1)), ("h2", Some(HttpVersion::Http2))];
        if let Some(protocol) = args.one_of("protocol", &words) {
            server.websocket = protocol;
        }
    }),
];

fn address(args: &mut Args<'_>) -> Option<(Address, Location)> {
    let at = args.peek().map_or(args.at(), |token| token.at);
    args.address(&AddressRules::SERVER).map(|address| (address, at))
}

fn options(proxy: &mut ProxyContext, args: &mut Args<'_>) -> ServerSettings {
    let mut settings = proxy.draft.server.clone();
    args.each(&OPTIONS, &mut settings);
    read_sni(proxy, args, &mut settings);
    settings
}

/// Reads the expression of `sni`.
fn read_sni(proxy: &mut ProxyContext, args: &mut Args<'_>, settings: &mut ServerSettings) {
    let Some((text, at)) = settings.sni_text.take() else { return };
    let expr = proxy.scoped(args, ScopePlace::ServerConnect, |args, scope| {
        match Expr::parse_text(&text, scope) {
            Ok(expr) => match expr.misplaced(scope) {
                None => return Some(expr),
                Some(kind) => args.fail(at, kind),
            },
            Err(error) => args.report(at, error.kind),
        }
        None
    });
    settings.sni = expr.map(Arc::new);
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
