//! Addresses: where to listen, where to connect to, in HAProxy's notations.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::diagnostics::ConfigErrorKind;

/// An address as it was written; names are not resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Ip {
        host: Host,
        port: Port,
        family: Family,
        transport: Transport,
    },
    /// A socket in the file system.
    Unix {
        path: String,
        transport: Transport,
    },
    /// A socket in Linux's abstract name space.
    Abstract {
        name: String,
    },
    /// A descriptor that the process inherits.
    Descriptor(i32),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// `*` or nothing. A listener takes all addresses of the family (IPv4 unless `ipv6@`); for a
    /// server it means where the client wanted to go.
    Unspecified,
    Ip(IpAddr),
    /// To be resolved, if it can be.
    Name(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// Not written; for a server: the port that the client connected to.
    None,
    One(u16),
    /// First and last.
    Range(u16, u16),
    /// `+N` or `-N`: the client's port plus this.
    Offset(i32),
}

/// Which addresses a name may resolve to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    #[default]
    Any,
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    #[default]
    Stream,
    Datagram,
    Quic,
}

/// What is allowed where an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRules {
    pub port: PortRule,
    /// `80-90`
    pub port_range: bool,
    /// `+10`
    pub port_offset: bool,
    /// Names of hosts.
    pub names: bool,
    /// Paths, `unix@` and `abns@`.
    pub unix: bool,
    /// `fd@N`
    pub descriptor: bool,
    /// `udp@` and `dgram+`.
    pub datagram: bool,
    /// `tcp@`, `stream+` and the absence of any.
    pub stream: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortRule {
    Required,
    Optional,
    Forbidden,
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    Empty,
    /// `proposal` is what was probably meant.
    NoPort {
        proposal: Option<String>,
    },
    PortNotAllowed,
    RangeNotAllowed,
    OffsetNotAllowed,
    BadPort {
        port: String,
    },
    BackwardRange {
        first: u16,
        last: u16,
    },
    BadHost {
        host: String,
    },
    /// `2001:db8::1`: where does the port begin?
    NeedsBrackets {
        ip: Ipv6Addr,
    },
    NamesNotAllowed {
        host: String,
    },
    UnixNotAllowed,
    DescriptorNotAllowed,
    BadDescriptor,
    PathTooLong,
    /// `sockpair@`, and forms of QUIC.
    NotYet {
        form: &'static str,
    },
    DatagramNotAllowed,
    StreamNotAllowed,
}

impl AddressRules {
    /// `bind`: a port, or a range of them.
    pub const BIND: Self = Self {
        port: PortRule::Required,
        port_range: true,
        port_offset: false,
        names: true,
        unix: true,
        descriptor: true,
        datagram: false,
        stream: true,
    };
    /// `server`: the port may be missing or relative.
    pub const SERVER: Self = Self {
        port: PortRule::Optional,
        port_range: false,
        port_offset: true,
        descriptor: false,
        ..Self::BIND
    };
    /// `source`: no name, a port if you must.
    pub const SOURCE: Self = Self { port_offset: false, unix: false, names: false, ..Self::SERVER };
    /// `log`: datagrams unless `tcp@`.
    pub const LOG: Self =
        Self { port_offset: false, descriptor: true, datagram: true, ..Self::SERVER };
    /// `addr`, `usesrc`: an address alone.
    pub const HOST: Self =
        Self { port: PortRule::Forbidden, unix: false, port_offset: false, ..Self::SERVER };
}

/// Reads one address. Variables are expanded before ([`Environment::expand`]).
///
/// [`Environment::expand`]: crate::Environment::expand
pub fn parse_address(text: &str, rules: &AddressRules) -> Result<Address, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let (mut transport, text) = if let Some(rest) = text.strip_prefix("stream+") {
        (Transport::Stream, rest)
    } else if let Some(rest) = text.strip_prefix("dgram+") {
        (Transport::Datagram, rest)
    } else if rules.datagram {
        (Transport::Datagram, text)
    } else {
        (Transport::Stream, text)
    };
    let (prefix, rest) = match text.split_once('@') {
        Some((prefix, rest)) if PREFIXES.contains(&prefix) => (prefix, rest),
        _ if text.starts_with('/') => ("unix", text),
        _ => ("", text),
    };
    match prefix {
        "tcp" | "tcp4" | "tcp6" | "uxst" => transport = Transport::Stream,
        "udp" | "udp4" | "udp6" | "uxdg" => transport = Transport::Datagram,
        "quic4" | "quic6" => transport = Transport::Quic,
        _ => {}
    }
    // An inherited descriptor is what it is; the caller looks.
    match transport {
        _ if prefix == "fd" => {}
        Transport::Quic => return Err(AddressError::NotYet { form: "QUIC" }),
        Transport::Datagram if !rules.datagram => return Err(AddressError::DatagramNotAllowed),
        Transport::Stream if !rules.stream => return Err(AddressError::StreamNotAllowed),
        _ => {}
    }
    match prefix {
        "sockpair" => Err(AddressError::NotYet { form: "sockpair@" }),
        "fd" if !rules.descriptor => Err(AddressError::DescriptorNotAllowed),
        "fd" => match rest.parse::<i32>() {
            Ok(descriptor) if descriptor >= 0 && !rest.starts_with('+') => {
                Ok(Address::Descriptor(descriptor))
            }
            _ => Err(AddressError::BadDescriptor),
        },
        "unix" | "uxst" | "uxdg" | "abns" if !rules.unix => Err(AddressError::UnixNotAllowed),
        "unix" | "uxst" | "uxdg" | "abns" if rest.is_empty() => Err(AddressError::Empty),
        "abns" if rest.len() > ABSTRACT_NAME_MAX => Err(AddressError::PathTooLong),
        "unix" | "uxst" | "uxdg" if rest.len() > UNIX_PATH_MAX => Err(AddressError::PathTooLong),
        "unix" | "uxst" | "uxdg" => Ok(Address::Unix { path: rest.to_owned(), transport }),
        "abns" => Ok(Address::Abstract { name: rest.to_owned() }),
        _ => {
            let family = match prefix {
                "ipv4" | "tcp4" | "udp4" => Family::V4,
                "ipv6" | "tcp6" | "udp6" => Family::V6,
                _ => Family::Any,
            };
            let (host, port) = match rules.port {
                // Nothing that a colon could separate.
                PortRule::Forbidden if rest.parse::<Ipv6Addr>().is_ok() => (rest, None),
                _ => split_port(rest),
            };
            let port = parse_port(rest, port, rules)?;
            let host = parse_host(host, rest, family, rules)?;
            Ok(Address::Ip { host, port, family, transport })
        }
    }
}

/// At the last colon, unless it is within brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rfind([':', ']']) {
        Some(at) if text.as_bytes()[at] == b':' => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    }
}

fn parse_port(text: &str, port: Option<&str>, rules: &AddressRules) -> Result<Port, AddressError> {
    let port = match (port, rules.port) {
        (Some(_), PortRule::Forbidden) => return Err(AddressError::PortNotAllowed),
        (None | Some(""), PortRule::Required) => {
            return Err(AddressError::NoPort { proposal: propose_port(text) });
        }
        (None | Some(""), _) => return Ok(Port::None),
        (Some(port), _) => port,
    };
    let number = |digits: &str| {
        let bad = || AddressError::BadPort { port: digits.to_owned() };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let port = digits.parse::<u16>().map_err(|_| bad())?;
        if port == 0 && rules.port == PortRule::Required { Err(bad()) } else { Ok(port) }
    };
    match port.as_bytes().first() {
        Some(b'+' | b'-') if !rules.port_offset => Err(AddressError::OffsetNotAllowed),
        Some(sign @ (b'+' | b'-')) => {
            let offset = i32::from(number(&port[1..])?);
            Ok(Port::Offset(if *sign == b'-' { -offset } else { offset }))
        }
        _ => match port.split_once('-') {
            None => number(port).map(Port::One),
            Some(_) if !rules.port_range => Err(AddressError::RangeNotAllowed),
            Some((first, last)) => match (number(first)?, number(last)?) {
                (first, last) if first > last => Err(AddressError::BackwardRange { first, last }),
                (first, last) => Ok(Port::Range(first, last)),
            },
        },
    }
}

fn parse_host(
    host: &str,
    whole: &str,
    family: Family,
    rules: &AddressRules,
) -> Result<Host, AddressError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if matches!(host, "" | "*") {
        return Ok(Host::Unspecified);
    }
    let bad = || AddressError::BadHost { host: host.to_owned() };
    let ip = match (bare, family) {
        (Some(bare), _) => Some(IpAddr::V6(bare.parse().map_err(|_| bad())?)),
        (None, _) => host.parse::<IpAddr>().ok(),
    };
    match (ip, family) {
        (Some(IpAddr::V4(_)), Family::V6) | (Some(IpAddr::V6(_)), Family::V4) => Err(bad()),
        (Some(ip), _) => Ok(Host::Ip(ip)),
        (None, _) => {
            if let Ok(ip) = whole.parse::<Ipv6Addr>() {
                return Err(AddressError::NeedsBrackets { ip });
            }
            let is_name = host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            // Digits and dots only: a slip in an IPv4 address, never a name.
            let is_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            match is_name && !is_number {
                false => Err(bad()),
                true if !rules.names => {
                    Err(AddressError::NamesNotAllowed { host: host.to_owned() })
                }
                true => Ok(Host::Name(host.to_owned())),
            }
        }
    }
}

/// `*83` → `*:83`, `80` → `:80`, `127.0.0.1` → `127.0.0.1:PORT`.
fn propose_port(text: &str) -> Option<String> {
    let text = text.strip_suffix(':').unwrap_or(text);
    if let Some(port) = text.strip_prefix('*')
        && port.parse::<u16>().is_ok()
    {
        return Some(format!("*:{port}"));
    }
    if text.parse::<u16>().is_ok() {
        return Some(format!(":{text}"));
    }
    let is_host = text == "*" || text.ends_with(']') || text.parse::<Ipv4Addr>().is_ok();
    is_host.then(|| format!("{text}:80"))
}

impl AddressError {
    /// `proposal` replaces what the error itself would propose.
    pub(crate) fn kind(self, text: &str, proposal: Option<String>) -> ConfigErrorKind {
        if let Self::NotYet { form } = self {
            return ConfigErrorKind::NotYet { keyword: form.to_owned(), guards_access: false };
        }
        let expected = match self {
            Self::Empty => "an address (is a variable empty?)".to_owned(),
            Self::NoPort { proposal: Some(proposal) } => {
                format!("a port: `{proposal}`?")
            }
            Self::NoPort { proposal: None } => "a port: `ADDRESS:PORT`".to_owned(),
            Self::PortNotAllowed => "an address without port".to_owned(),
            Self::RangeNotAllowed => "one port, not a range".to_owned(),
            Self::OffsetNotAllowed => "a port, not an offset".to_owned(),
            Self::BadPort { port } => format!("a port from 1 to 65535, not `{port}`"),
            Self::BackwardRange { first, last } => {
                format!("a range of ports such as `{last}-{first}`")
            }
            Self::BadHost { host } => {
                format!("an IPv4 address, an IPv6 address in brackets, or `*`, not `{host}`")
            }
            Self::NeedsBrackets { ip } => format!("brackets: `[{ip}]:PORT`"),
            Self::NamesNotAllowed { .. } => "an IP address, not a name".to_owned(),
            Self::UnixNotAllowed => "an IP address, not a unix socket".to_owned(),
            Self::DescriptorNotAllowed => "an address, not a file descriptor".to_owned(),
            Self::BadDescriptor => "`fd@` and a number".to_owned(),
            Self::PathTooLong => format!("a path of at most {UNIX_PATH_MAX} bytes"),
            Self::DatagramNotAllowed => {
                "a stream address; datagrams cannot be used here".to_owned()
            }
            Self::StreamNotAllowed => "a datagram address".to_owned(),
            Self::NotYet { .. } => unreachable!("returned above"),
        };
        ConfigErrorKind::BadValue {
            what: "address".into(),
            found: text.to_owned(),
            expected: proposal.unwrap_or(expected).into(),
        }
    }
}

const PREFIXES: &[&str] = &[
    "unix", "uxst", "uxdg", "abns", "ip", "ipv4", "ipv6", "tcp", "tcp4", "tcp6", "udp", "udp4",
    "udp6", "quic4", "quic6", "fd", "sockpair",
];
/// HAProxy appends `.PID.tmp` while it binds, within the 107 bytes of a socket's path.
const UNIX_PATH_MAX: usize = 97;
/// The same without the NUL byte in front.
const ABSTRACT_NAME_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rules: &AddressRules, text: &str, host: &str, port: Port) {
        let host = match host {
            "*" => Host::Unspecified,
            host => match host.parse() {
                Ok(ip) => Host::Ip(ip),
                Err(_) => Host::Name(host.to_owned()),
            },
        };
        match parse_address(text, rules) {
            Ok(Address::Ip { host: found, port: found_port, .. }) => {
                assert_eq!((found, found_port), (host, port), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[track_caller]
    fn check_error(rules: &AddressRules, text: &str, expected: &AddressError) {
        assert_eq!(parse_address(text, rules).as_ref(), Err(expected), "{text}");
    }

    #[test]
    fn hosts() {
        let host = AddressRules::HOST;
        check(&host, "127.0.0.1", "127.0.0.1", Port::None);
        check(&host, "::1", "::1", Port::None);
        check(&host, "2001:db8::1", "2001:db8::1", Port::None);
        check(&host, "[::1]", "::1", Port::None);
        check_error(&host, "127.0.0.1:80", &AddressError::PortNotAllowed);
        check_error(&host, "[::1]:80", &AddressError::PortNotAllowed);
    }

    #[test]
    fn listeners() {
        let bind = AddressRules::BIND;
        check(&bind, ":80", "*", Port::One(80));
        check(&bind, "*:80", "*", Port::One(80));
        check(&bind, "127.0.0.1:80-90", "127.0.0.1", Port::Range(80, 90));
        check(&bind, "[::]:80", "::", Port::One(80));
        check(&bind, ":::80", "::", Port::One(80));
        check(&bind, "::1:80", "::1", Port::One(80));
        check(&bind, "ipv6@:80", "*", Port::One(80));
        check(&bind, "ipv4@127.0.0.1:80", "127.0.0.1", Port::One(80));
        check(&bind, "localhost:80", "localhost", Port::One(80));
        let proposal = |text: &str| AddressError::NoPort { proposal: Some(text.to_owned()) };
        check_error(&bind, "*83", &proposal("*:83"));
        check_error(&bind, "*:", &proposal("*:80"));
        check_error(&bind, "8080", &proposal(":8080"));
        check_error(&bind, "127.0.0.1", &proposal("127.0.0.1:80"));
        check_error(&bind, "[::1]", &proposal("[::1]:80"));
        check_error(&bind, "localhost", &AddressError::NoPort { proposal: None });
        check_error(&bind, ":0", &AddressError::BadPort { port: "0".to_owned() });
        check_error(&bind, ":65536", &AddressError::BadPort { port: "65536".to_owned() });
        check_error(&bind, ":80x", &AddressError::BadPort { port: "80x".to_owned() });
        check_error(&bind, ":90-80", &AddressError::BackwardRange { first: 90, last: 80 });
        check_error(&bind, ":+80", &AddressError::OffsetNotAllowed);
        check_error(&bind, "1.2.3:80", &AddressError::BadHost { host: "1.2.3".to_owned() });
        check_error(&bind, "", &AddressError::Empty);
        check_error(&bind, "udp@:80", &AddressError::DatagramNotAllowed);
        check_error(&bind, "quic4@:443", &AddressError::NotYet { form: "QUIC" });
        check_error(&bind, "sockpair@4", &AddressError::NotYet { form: "sockpair@" });
    }

    #[test]
    fn servers() {
        let server = AddressRules::SERVER;
        check(&server, "10.0.0.1", "10.0.0.1", Port::None);
        check(&server, "10.0.0.1:", "10.0.0.1", Port::None);
        check(&server, "10.0.0.1:+100", "10.0.0.1", Port::Offset(100));
        check(&server, "10.0.0.1:-100", "10.0.0.1", Port::Offset(-100));
        check(&server, "app.example.com:0", "app.example.com", Port::One(0));
        check(&server, "*", "*", Port::None);
        check(&server, "[2001:db8::1]", "2001:db8::1", Port::None);
        let ip = "2001:db8::1".parse().expect("an address");
        check_error(&server, "2001:db8::1", &AddressError::NeedsBrackets { ip });
        check_error(&server, "10.0.0.1:80-90", &AddressError::RangeNotAllowed);
        check_error(&server, "fd@3", &AddressError::DescriptorNotAllowed);
    }

    #[test]
    fn other_sockets() {
        let check = |text, expected| {
            assert_eq!(parse_address(text, &AddressRules::BIND), expected, "{text}");
        };
        let unix =
            |path: &str| Address::Unix { path: path.to_owned(), transport: Transport::Stream };
        check("/run/a.sock", Ok(unix("/run/a.sock")));
        check("unix@a:b.sock", Ok(unix("a:b.sock")));
        check("uxst@/run/a@b", Ok(unix("/run/a@b")));
        check("abns@name", Ok(Address::Abstract { name: "name".to_owned() }));
        let name = "n".repeat(107);
        let text = format!("abns@{name}");
        check(&text, Ok(Address::Abstract { name }));
        check("fd@3", Ok(Address::Descriptor(3)));
        check("fd@", Err(AddressError::BadDescriptor));
        check("fd@-1", Err(AddressError::BadDescriptor));
        check("unix@", Err(AddressError::Empty));
        let text = format!("/{}", "x".repeat(97));
        check(&text, Err(AddressError::PathTooLong));
    }

    #[test]
    fn logs_are_datagrams_unless_said_otherwise() {
        let transport = |text| match parse_address(text, &AddressRules::LOG) {
            Ok(Address::Ip { transport, .. } | Address::Unix { transport, .. }) => transport,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(transport("127.0.0.1:514"), Transport::Datagram);
        assert_eq!(transport("/dev/log"), Transport::Datagram);
        assert_eq!(transport("tcp@127.0.0.1:514"), Transport::Stream);
        assert_eq!(transport("stream+/dev/log"), Transport::Stream);
    }
}
