//! `resolvers` sections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use telamon_config::{
    Address, AddressRules, Args, Checker, ConfigErrorKind, Diagnostics, Environment, Keyword,
    Location, Port, PortRule, Section, Sections, Table, Transport,
};
use telamon_dns_proto::{Hold, Schedule, parse_resolv_conf};

use super::base::Base;
use super::mistake::ProxyMistake;
use super::settings::NUMBER_MAX;
use crate::model::{Nameserver, Resolvers};

/// One section while it is read.
pub(super) struct Draft {
    base: Rc<Base>,
    nameservers: Vec<(Nameserver, Location)>,
    payload_size: u16,
    schedule: Schedule,
    hold: Hold,
}

type K = Keyword<Draft>;

pub(super) static TABLE: LazyLock<Table<Draft>> =
    LazyLock::new(|| Table::new("keyword", &[KEYWORDS]));

const HERE: Sections = Sections::RESOLVERS;

const KEYWORDS: &[K] = &[
    K::works(
        "nameserver",
        HERE,
        "nameserver <name> [udp@|tcp@]<address>:<port> [maxconn <number>]",
        "a name server; `maxconn` limits its connections over TCP",
        nameserver,
    ),
    K::works(
        "parse-resolv-conf",
        HERE,
        "parse-resolv-conf",
        "the name servers of `/etc/resolv.conf`, in place of this line",
        |section, args| {
            let (base, at) = (Rc::clone(&section.base), args.at());
            let Some(bytes) = base.read(args, RESOLV_CONF, at) else { return };
            let found = parse_resolv_conf(&String::from_utf8_lossy(&bytes));
            for line in found.bad_lines {
                let title = format!("{RESOLV_CONF}, line {line}: no address of a name server");
                let help = "the line is passed over";
                args.warn(at, ProxyMistake::Says { title, help }.into());
            }
            for ip in found.servers {
                section.add(args, nameserver_of(ip), at);
            }
        },
    ),
    K::works(
        "accepted_payload_size",
        HERE,
        "accepted_payload_size <bytes>",
        "the largest answer over UDP, as name servers are told; 512 unless set",
        |section, args| {
            let size = args.integer("size", 12..=u16::MAX);
            section.payload_size = size.unwrap_or(section.payload_size);
        },
    ),
    K::works(
        "resolve_retries",
        HERE,
        "resolve_retries <count>",
        "how often a name is asked for before that has failed; 3 unless set",
        |section, args| {
            let tries = args.integer("count", 0..=NUMBER_MAX);
            section.schedule.tries = tries.unwrap_or(section.schedule.tries);
        },
    ),
    K::works(
        "timeout resolve",
        HERE,
        "timeout resolve <time>",
        "time between two look-ups of a name; 1s unless set",
        |section, args| {
            let time = period(args);
            section.schedule.interval_ms = time.unwrap_or(section.schedule.interval_ms);
        },
    ),
    K::works(
        "timeout retry",
        HERE,
        "timeout retry <time>",
        "how long an answer is waited for; 1s unless set",
        |section, args| {
            let time = period(args);
            section.schedule.retry_ms = time.unwrap_or(section.schedule.retry_ms);
        },
    ),
    K::works(
        "hold nx",
        HERE,
        "hold nx <time>",
        "how long after an answer `no such name` is overlooked; 30s unless set",
        |section, args| hold(args, &mut section.hold.no_name_ms),
    ),
    K::works(
        "hold refused",
        HERE,
        "hold refused <time>",
        "the same of a refusal",
        |section, args| hold(args, &mut section.hold.refused_ms),
    ),
    K::works(
        "hold timeout",
        HERE,
        "hold timeout <time>",
        "the same of silence",
        |section, args| hold(args, &mut section.hold.timeout_ms),
    ),
    K::works(
        "hold other",
        HERE,
        "hold other <time>",
        "the same of other failures",
        |section, args| hold(args, &mut section.hold.other_ms),
    ),
    K::works(
        "hold valid",
        HERE,
        "hold valid <time>",
        "how long an answer serves `do-resolve`; 10s unless set",
        |section, args| hold(args, &mut section.hold.valid_ms),
    ),
    K::works(
        "hold obsolete",
        HERE,
        "hold obsolete <time>",
        "how long a record is kept that answers do not have any more; 0 unless set",
        |section, args| hold(args, &mut section.hold.obsolete_ms),
    ),
];

/// Reads all sections. Without one called `default` there is one with the name servers of `/etc/resolv.conf`, where that
/// can be read.
pub(super) fn read(
    sections: &[Section],
    base: &Rc<Base>,
    environment: &Environment,
    diagnostics: &mut Diagnostics,
) -> Vec<Arc<Resolvers>> {
    let mut found: Vec<Arc<Resolvers>> = Vec::new();
    let mut places: HashMap<&str, Location> = HashMap::new();
    for section in sections.iter().filter(|section| section.spec.bit == HERE) {
        let Some(name) = section.name() else { continue };
        if let Some(first) = places.insert(name.text, name.at) {
            let (what, name_text) = ("resolvers", name.text.to_owned());
            diagnostics.error(name.at, ConfigErrorKind::Duplicate { what, name: name_text, first });
        }
        let mut draft = Draft::new(base);
        let mut whole = true;
        for line in section.lines() {
            whole &= Checker::new(environment, diagnostics).dispatch(&TABLE, line, &mut draft);
        }
        if draft.nameservers.is_empty() && whole && !base.options.offline {
            let title = format!("resolvers `{}` has no name server", name.text);
            let help = "nobody is asked; add a `nameserver` or `parse-resolv-conf`";
            diagnostics.warning(name.at, ProxyMistake::Says { title, help }.into());
        }
        found.push(Arc::new(draft.build(name.text, name.at)));
    }
    if !places.contains_key(DEFAULT)
        && !base.options.offline
        && let Ok(bytes) = base.files.read(RESOLV_CONF.as_ref())
    {
        let servers = parse_resolv_conf(&String::from_utf8_lossy(&bytes)).servers;
        let mut draft = Draft::new(base);
        let at = Location::COMMAND_LINE;
        draft.nameservers = servers.into_iter().map(|ip| (nameserver_of(ip), at)).collect();
        if !draft.nameservers.is_empty() {
            found.push(Arc::new(draft.build(DEFAULT, at)));
        }
    }
    found
}

impl Draft {
    fn new(base: &Rc<Base>) -> Self {
        Self {
            base: Rc::clone(base),
            nameservers: Vec::new(),
            payload_size: 512,
            schedule: Schedule { tries: 3, retry_ms: 1000, interval_ms: 1000 },
            hold: Hold {
                no_name_ms: 30_000,
                refused_ms: 30_000,
                timeout_ms: 30_000,
                other_ms: 30_000,
                valid_ms: 10_000,
                obsolete_ms: 0,
            },
        }
    }

    /// Adds a name server; reports a name that is there already.
    fn add(&mut self, args: &mut Args<'_>, nameserver: Nameserver, at: Location) {
        let same = self.nameservers.iter().find(|(known, _)| known.name == nameserver.name);
        if let Some((_, first)) = same {
            let (what, name, first) = ("nameserver", nameserver.name.into_string(), *first);
            args.fail(at, ConfigErrorKind::Duplicate { what, name, first });
        } else {
            self.nameservers.push((nameserver, at));
        }
    }

    fn build(self, name: &str, at: Location) -> Resolvers {
        Resolvers {
            name: name.into(),
            at,
            nameservers: self.nameservers.into_iter().map(|(server, _)| server).collect(),
            payload_size: self.payload_size,
            schedule: self.schedule,
            hold: self.hold,
        }
    }
}

fn nameserver(section: &mut Draft, args: &mut Args<'_>) {
    let Some(name) = args.name("nameserver") else { return };
    let at = args.peek().map_or(args.at(), |token| token.at);
    let Some(Address::Ip { host, port: Port::One(port), family, transport }) = args.address(&RULES)
    else {
        return;
    };
    let over_tcp = transport == Transport::Stream;
    let mut connections_max = CONNECTIONS_DEFAULT;
    if over_tcp && args.accept("maxconn") {
        connections_max = args.integer("maxconn", 1..=1000u32).unwrap_or(connections_max);
    }
    let base = Rc::clone(&section.base);
    // Where nothing is looked up, the line is in order all the same.
    let Some(ip) = base.address(args, &host, family, at) else { return };
    let address = SocketAddr::new(ip, port);
    let tcp = over_tcp.then_some(connections_max);
    section.add(args, Nameserver { name: name.text.into(), address, tcp }, name.at);
}

/// One that `/etc/resolv.conf` names.
fn nameserver_of(ip: std::net::IpAddr) -> Nameserver {
    Nameserver { name: ip.to_string().into(), address: SocketAddr::new(ip, 53), tcp: None }
}

/// A time of at least 1 ms, in milliseconds.
fn period(args: &mut Args<'_>) -> Option<u64> {
    args.period().map(milliseconds)
}

fn hold(args: &mut Args<'_>, to: &mut u64) {
    *to = args.duration().map_or(*to, milliseconds);
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const RULES: AddressRules = AddressRules {
    port: PortRule::Required,
    unix: false,
    datagram: true,
    descriptor: false,
    port_range: false,
    ..AddressRules::BIND
};
/// The section that is there without being written.
const DEFAULT: &str = "default";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Connections to a name server over TCP at a time.
const CONNECTIONS_DEFAULT: u32 = 4;

#[cfg(test)]
mod tests {
    use telamon_dns_proto::Kind;

    use super::super::tests::{check, model};
    use crate::model::ResolvedFrom;

    const PROXY: &str =
        "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n";

    #[track_caller]
    fn check_section(lines: &str, expected: &[&str]) {
        check(&format!("resolvers r\n nameserver a 127.0.0.1:53\n{lines}\n"), expected);
    }

    #[track_caller]
    fn check_server(line: &str, expected: &[&str]) {
        let section = "resolvers mydns\n nameserver a 127.0.0.1:53\n";
        check(&format!("{section}{PROXY}backend b\n {line}\n"), expected);
    }

    #[test]
    fn mistakes_in_sections_are_told() {
        check_section(
            " nameserver a 127.0.0.2:53",
            &["3:13 alert second nameserver `a` (the name is taken)"],
        );
        check_section(
            " nameserver b 127.0.0.2",
            &["3:15 alert bad address `127.0.0.2` (expected a port: `127.0.0.2:80`?)"],
        );
        check_section(
            " nameserver b 127.0.0.2:53 maxconn 4",
            &["3:28 alert unexpected `maxconn` after `nameserver` (not expected here)"],
        );
        check_section(
            " nameserver b tcp@127.0.0.2:53 maxconn 0",
            &["3:40 alert maxconn 0 is out of range (expected 1 to 1000)"],
        );
        check_section(
            " nameserver b",
            &["3:13 alert `nameserver` lacks an address (expected an address after this)"],
        );
        check_section(
            " hold nxx 3s",
            &["3:2 alert unknown keyword `hold nxx` (did you mean `hold nx`?)"],
        );
        check_section(
            " hold nx",
            &[
                "3:7 alert `hold nx` lacks a time such as `10s` (expected a time such as `10s` after this)",
            ],
        );
        check_section(" timeout retry 0", &["3:16 alert bad time `0` (expected at least 1ms)"]);
        check_section(" resolve_retries x", &["3:18 alert bad count `x` (expected a number)"]);
        check_section(
            " accepted_payload_size 65536",
            &["3:24 alert size 65536 is out of range (expected 12 to 65535)"],
        );
        check("resolvers r\n", &["1:11 warning resolvers `r` has no name server"]);
        check(
            "resolvers r\n nameserver a 127.0.0.1:53\nresolvers r\n nameserver a 127.0.0.1:53\n",
            &["3:11 alert second resolvers `r` (the name is taken)"],
        );
    }

    #[test]
    fn mistakes_of_servers_are_told() {
        check_server(
            "server s localhost:80 resolvers mydsn",
            &["9:34 alert there is no resolvers `mydsn` (did you mean `mydns`?)"],
        );
        check_server(
            "server s _http._tcp.test",
            &["9:11 alert `_http._tcp.test` is the name of a service, which has no address itself"],
        );
        check_server(
            "server s localhost:80 init-addr libc,lats",
            &[
                "9:34 alert bad init-addr `libc,lats` (expected `last`, `libc`, `none` or an address, separated by commas)",
            ],
        );
        check_server(
            "server s localhost:80 resolve-opts allow-dup-ip,dup",
            &[
                "9:50 alert bad option `dup` (expected `allow-dup-ip`, `prevent-dup-ip` or `ignore-weight`, separated by commas)",
            ],
        );
        check_server(
            "server s localhost:80 resolve-net 10.0.0.0/8,x",
            &[
                "9:47 alert bad network `x` (expected networks such as `10.0.0.0/8`, separated by commas)",
            ],
        );
        check_server(
            "server s localhost:80 resolve-prefer ipv5",
            &["9:39 alert unknown family `ipv5` (did you mean `ipv4`?)"],
        );
        check_server(
            "http-request do-resolve(txn.x) str(a)",
            &[
                "9:15 alert bad action `do-resolve(txn.x)` (expected `do-resolve(<var>,<resolvers>[,ipv4|ipv6])`)",
            ],
        );
        check_server(
            "http-request do-resolve(txn.x,mydsn) str(a)",
            &["9:32 alert there is no resolvers `mydsn` (did you mean `mydns`?)"],
        );
        check_server(
            "http-request do-resolve(txn.x,mydns,ipv5) str(a)",
            &["9:38 alert unknown family `ipv5` (did you mean `ipv4`?)"],
        );
    }

    #[test]
    fn sections_and_servers_reach_the_model() {
        let model = model(&format!(
            "resolvers r\n nameserver a 127.0.0.1:53\n nameserver b tcp@[::1]:54 maxconn 9\n hold nx 5s\n \
             timeout retry 2s\n accepted_payload_size 8192\n resolve_retries 7\n\
             {PROXY} default-server resolvers r init-addr none resolve-prefer ipv4\nbackend b\n \
             server one web.test:80\n server two 127.0.0.1:80\n \
             server-template t 2 _http._tcp.test resolve-opts ignore-weight resolve-net 10.0.0.0/8\n"
        ));
        let section = model.resolvers("r").expect("there");
        let servers = &section.nameservers;
        assert_eq!((servers[0].tcp, servers[1].tcp), (None, Some(9)));
        assert_eq!((section.hold.no_name_ms, section.hold.refused_ms), (5000, 30_000));
        assert_eq!((section.schedule.tries, section.schedule.retry_ms), (7, 2000));
        assert_eq!(section.payload_size, 8192);
        let servers = &model.proxies[0].backend.as_ref().expect("a backend").servers;
        let from = |index: usize| servers[index].resolution.as_ref();
        assert!(matches!(from(0).expect("set").from, ResolvedFrom::Host(_)));
        assert_eq!(from(0).expect("set").prefer, Kind::A);
        assert!(servers[0].unresolved && from(1).is_none());
        let service = from(3).expect("set");
        assert_eq!(service.service().map(ToString::to_string).as_deref(), Some("_http._tcp.test"));
        assert!(service.ignore_weight && service.prefers("10.1.2.3".parse().expect("an address")));
    }
}
