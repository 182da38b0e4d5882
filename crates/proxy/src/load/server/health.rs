//! What a `server` line says of its health: checks, agents, and what traffic shows.

use std::time::Duration;

use telamon_balance::health::{Observe, OnError};
use telamon_config::{Address, AddressRules, Family, Host, Keyword, Location, Port};

use super::{HERE, ServerSettings};
use crate::load::settings::NUMBER_MAX;

type S = Keyword<ServerSettings>;

/// `agent-check` and its kin.
#[derive(Debug, Clone)]
pub(in crate::load) struct AgentSettings {
    pub(in crate::load) check: bool,
    pub(in crate::load) inter: Duration,
    pub(in crate::load) port: Option<u16>,
    pub(in crate::load) address: Option<Box<(Host, Family, Location)>>,
    pub(in crate::load) send: Box<[u8]>,
}

impl Default for AgentSettings {
    fn default() -> Self {
        let inter = Duration::from_secs(2);
        Self { check: false, inter, port: None, address: None, send: Box::default() }
    }
}

pub(super) const KEYWORDS: &[S] = &[
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
        "track",
        HERE,
        "track [<backend>/]<server>",
        "is as healthy as another server",
        |server, args| {
            server.track =
                args.next("a server").map(|token| Box::new((token.text.into(), token.at)));
        },
    ),
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
    S::works(
        "check-via-socks4",
        HERE,
        "check-via-socks4",
        "checks go through the proxy of `socks4` too",
        |server, _| server.check_via_socks4 = true,
    ),
    S::not_yet("check-proto", HERE),
];

/// The most for `rise` and `fall`, which the state machine keeps in 16 bits.
const CHECKS_MAX: u32 = u16::MAX as u32;
