//! The `log` line of the configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use telamon_config::{
    Address, AddressRules, Args, ConfigErrorKind, Family, Host, Location, Port, Token, Transport,
};

use super::target::{Destination, HeaderFormat, LogTarget, Sample};
use super::{Facility, Level};

/// What a `log` line asks for. Source: HAProxy configuration manual, `log`.
#[derive(Debug)]
pub enum LogLine {
    /// `log global`: a clone of each target of `global`, unless it is there already.
    Global,
    /// `no log`: none of the targets so far.
    Clear,
    Target(LogTarget),
}

/// Finds the address of a host name; reports what fails. `None` also where names are not looked up.
pub type Resolve<'r> = dyn FnMut(&mut Args<'_>, &str, Family, Location) -> Option<IpAddr> + 'r;

impl LogLine {
    /// Parses what follows `log`; `None` if that is not right, which has then been reported.
    pub fn parse(args: &mut Args<'_>, resolve: &mut Resolve<'_>) -> Option<Self> {
        if args.is_negated() {
            args.end();
            return (!args.failed()).then_some(Self::Clear);
        }
        if args.accept("global") {
            args.end();
            return (!args.failed()).then_some(Self::Global);
        }
        LogTarget::parse(args, resolve).map(Self::Target)
    }
}

impl LogTarget {
    /// Parses `ADDRESS [len N] [format F] [sample R:N] FACILITY [MAX [MIN]]`.
    pub fn parse(args: &mut Args<'_>, resolve: &mut Resolve<'_>) -> Option<Self> {
        let destination = destination(args, resolve);
        let mut len_max = super::LEN_DEFAULT;
        let mut format = None;
        let mut sample = None;
        // In this order in HAProxy; there is no harm in any other.
        loop {
            if args.accept("len") {
                len_max = args.integer("log length", 80..=65535u32)? as usize;
            } else if args.accept("format") {
                format = Some(args.one_of("log format", &HeaderFormat::NAMES)?);
            } else if args.accept("sample") {
                sample = Some(self::sample(args)?);
            } else {
                break;
            }
        }
        if args.is_empty() {
            args.missing("a facility such as `local0`");
            return None;
        }
        let facilities = Facility::NAMES.map(|name| (name, Facility::from_name(name)));
        let facility = args.one_of("log facility", &facilities)??;
        let mut levels = [Level::Debug, Level::Emergency];
        for level in &mut levels {
            if !args.is_empty() {
                *level = args.one_of("log level", &Level::NAMES)?;
            }
        }
        args.end();
        let mut target = Self::new(destination?, facility);
        target.len_max = len_max;
        target.format = format;
        target.sample = sample;
        [target.level_max, target.level_min] = levels;
        (!args.failed()).then_some(target)
    }
}

/// Reads the address. The rest of the line is checked also where this fails.
fn destination(args: &mut Args<'_>, resolve: &mut Resolve<'_>) -> Option<Destination> {
    let token = args.peek();
    match token.map(|token| token.text) {
        Some("stdout") => {
            args.next_if_any();
            return Some(Destination::Descriptor(1));
        }
        Some("stderr") => {
            args.next_if_any();
            return Some(Destination::Descriptor(2));
        }
        Some(ring) if ring.starts_with("ring@") => {
            args.next_if_any();
            not_yet(args, token, "log ring@");
            return None;
        }
        _ => {}
    }
    match args.address(&AddressRules::LOG)? {
        Address::Descriptor(number) => Some(Destination::Descriptor(number)),
        Address::Unix { transport: Transport::Stream, .. }
        | Address::Ip { transport: Transport::Stream, .. } => {
            not_yet(args, token, "log over a stream");
            None
        }
        Address::Unix { path, .. } => Some(Destination::Unix(PathBuf::from(path))),
        Address::Abstract { name } => Some(Destination::Abstract(name.into_bytes().into())),
        Address::Ip { host, port, family, .. } => {
            let port = match port {
                Port::One(port) if port != 0 => port,
                _ => SYSLOG_PORT,
            };
            let ip = match host {
                Host::Ip(ip) => ip,
                Host::Name(name) => {
                    let at = token.map_or(args.at(), |token| token.at);
                    resolve(args, &name, family, at)?
                }
                // Reaches this host.
                Host::Unspecified => match family {
                    Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
                    _ => Ipv4Addr::UNSPECIFIED.into(),
                },
            };
            Some(Destination::Udp(SocketAddr::new(ip, port)))
        }
    }
}

fn not_yet(args: &mut Args<'_>, token: Option<Token<'_>>, keyword: &str) {
    let at = token.map_or(args.at(), |token| token.at);
    let kind = ConfigErrorKind::NotYet { keyword: keyword.to_owned(), guards_access: false };
    args.report(at, kind);
}

/// Reads `1,3-4:5`.
fn sample(args: &mut Args<'_>) -> Option<Sample> {
    const EXPECTED: &str = "ranges and a size such as `1,3-4:5`";
    let token = args.next(EXPECTED)?;
    let parsed = parse_sample(token.text);
    if parsed.is_none() {
        args.bad(token, "log sample", EXPECTED);
    }
    parsed
}

fn parse_sample(text: &str) -> Option<Sample> {
    let (ranges, size) = text.split_once(':')?;
    let size: u32 = size.parse().ok()?;
    let mut ranges: Vec<(u32, u32)> = ranges
        .split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect::<Option<_>>()?;
    ranges.sort_unstable();
    let in_order = ranges.iter().all(|&(first, last)| 1 <= first && first <= last && last <= size);
    let apart = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
    (in_order && apart).then(|| Sample { ranges: ranges.into(), size })
}

/// Where syslog listens (RFC 5426).
const SYSLOG_PORT: u16 = 514;

#[cfg(test)]
mod tests {
    use telamon_config::{
        Checker, Diagnostics, Environment, Keyword, Section, SectionSpec, Sections, Source, Table,
        read,
    };

    use super::*;

    const KEYWORDS: &[Keyword<Vec<LogLine>>] = &[Keyword::works(
        "log",
        Sections::PROXIES,
        "log <address> <facility>",
        "",
        |lines: &mut Vec<LogLine>, args| {
            let mut resolve = |_: &mut Args<'_>, name: &str, _, _| {
                (name == "loghost").then(|| "192.0.2.1".parse().expect("an address"))
            };
            lines.extend(LogLine::parse(args, &mut resolve));
        },
    )
    .negatable()];

    /// What a line means, or the places and titles of its mistakes.
    fn parse(line: &str) -> Result<String, String> {
        let mut source = Source::new();
        source.add("log.cfg", format!("listen l\n {line}\n").into_bytes());
        let mut diagnostics = Diagnostics::new();
        let mut environment = Environment::new();
        let sections = read(&source, SectionSpec::HAPROXY, &mut environment, &mut diagnostics);
        let table = Table::new("keyword", &[KEYWORDS]);
        let mut lines = Vec::new();
        for line in sections.iter().flat_map(Section::lines) {
            Checker::new(&environment, &mut diagnostics).dispatch(&table, line, &mut lines);
        }
        let told: Vec<_> = diagnostics
            .iter()
            .map(|error| format!("{} {}", error.at.column, error.kind.explain().title))
            .collect();
        if !told.is_empty() {
            assert!(lines.is_empty(), "{line}: {lines:?}");
            return Err(told.join("; "));
        }
        Ok(match &lines[..] {
            [LogLine::Global] => "global".into(),
            [LogLine::Clear] => "clear".into(),
            [LogLine::Target(target)] => format!(
                "{:?} len {} {:?} {:?} {} {} {}",
                target.destination,
                target.len_max,
                target.format,
                target.sample.as_ref().map(|sample| (&sample.ranges, sample.size)),
                target.facility.name(),
                target.level_max.name(),
                target.level_min.name()
            ),
            other => panic!("{line}: {other:?}"),
        })
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(parse(line).as_deref(), Ok(expected), "{line}");
    }

    #[track_caller]
    fn check_error(line: &str, expected: &str) {
        assert_eq!(parse(line), Err(expected.to_owned()), "{line}");
    }

    #[test]
    fn log_lines() {
        check("log global", "global");
        check("no log", "clear");
        check("log 127.0.0.1 local0", "Udp(127.0.0.1:514) len 1024 None None local0 debug emerg");
        check(
            "log [::1]:1514 len 8192 format rfc5424 sample 3-4,1:5 local7 info notice",
            "Udp([::1]:1514) len 8192 Some(Rfc5424) Some(([(1, 1), (3, 4)], 5)) local7 info notice",
        );
        check("log :1514 user", "Udp(0.0.0.0:1514) len 1024 None None user debug emerg");
        check("log loghost user", "Udp(192.0.2.1:514) len 1024 None None user debug emerg");
        check("log /dev/log local0", "Unix(\"/dev/log\") len 1024 None None local0 debug emerg");
        check(
            "log stdout format raw daemon",
            "Descriptor(1) len 1024 Some(Raw) None daemon debug emerg",
        );
        check("log fd@7 local0 err", "Descriptor(7) len 1024 None None local0 err emerg");
    }

    #[test]
    fn mistakes_in_log_lines() {
        check_error("no log global", "9 unexpected `global` after `log`");
        check_error("log global local0", "13 unexpected `local0` after `log`");
        check_error("log 127.0.0.1", "6 `log` lacks a facility such as `local0`");
        check_error("log 127.0.0.1 local9", "16 unknown log facility `local9`");
        check_error("log 127.0.0.1 len 79 local0", "20 log length 79 is out of range");
        check_error("log 127.0.0.1 local0 info notice err", "35 unexpected `err` after `log`");
        check_error("log 127.0.0.1 format rfc3165 local0", "23 unknown log format `rfc3165`");
        check_error("log 127.0.0.1 local0 inof", "23 unknown log level `inof`");
        check_error("log 127.0.0.1 sample 1-3,2:4 local0", "23 bad log sample `1-3,2:4`");
        check_error("log 127.0.0.1 sample 5:4 local0", "23 bad log sample `5:4`");
        check_error("log ring@r local0", "6 `log ring@` is known to HAProxy, not yet to Telamon");
        check_error(
            "log tcp@127.0.0.1:514 local0",
            "6 `log over a stream` is known to HAProxy, not yet to Telamon",
        );
    }
}
