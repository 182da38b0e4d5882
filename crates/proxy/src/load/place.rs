//! Where a server is when it starts: from the address on its line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use telamon_config::{Address, ConfigErrorKind, Diagnostics, Family, Host, Location, Port};
use telamon_dns_proto::{Kind, Name};
use telamon_runtime::Endpoint;

use super::base::{Base, unspecified};
use super::mistake::ProxyMistake;
use super::server::{InitWay, ServerSettings};
use crate::model::{Resolution, ResolvedFrom, ServerAddress, ServerPort};
use crate::state;

/// What the address of a line comes to.
pub(super) struct Place {
    pub(super) written: ServerAddress,
    pub(super) now: state::Address,
    /// It has no address yet.
    pub(super) unresolved: bool,
    /// Who will find out where it is from now on.
    pub(super) resolution: Option<Resolution>,
}

/// Reads it; looks a name up as `init-addr` says. `last` is where a former process had the server.
pub(super) fn locate(
    base: &Base,
    (address, at): (Address, Location),
    settings: &ServerSettings,
    last: Option<IpAddr>,
    diagnostics: &mut Diagnostics,
) -> Place {
    let resolution = resolution(base, &address, at, settings, diagnostics);
    let fixed = |written, endpoint| Place {
        written,
        now: state::Address { endpoint, mapped_port: None },
        unresolved: false,
        resolution: None,
    };
    match address {
        Address::Ip { host, port, family, .. } => {
            let ip = match &host {
                Host::Ip(ip) => Some(*ip),
                Host::Unspecified => Some(unspecified(family)),
                // That nobody can find it has been told.
                Host::Name(name) if name.starts_with('_') && resolution.is_none() => None,
                Host::Name(name) => first_address(
                    base,
                    (name, family, at),
                    settings,
                    last,
                    &resolution,
                    diagnostics,
                ),
            };
            let unresolved = ip.is_none();
            let ip = ip.unwrap_or_else(|| unspecified(family));
            let (port, number, mapped_port) = match port {
                Port::One(port) if port != 0 => (ServerPort::Fixed(port), port, None),
                Port::Offset(shift) => (ServerPort::Mapped(shift), 0, Some(shift)),
                Port::One(_) | Port::None | Port::Range(..) => (ServerPort::Mapped(0), 0, Some(0)),
            };
            let is_service = resolution.as_ref().is_some_and(|r| r.service().is_some());
            let host = match host {
                Host::Name(name) if !is_service => Some(name.into()),
                _ => None,
            };
            let endpoint = Endpoint::Inet(SocketAddr::new(ip, number));
            let written = ServerAddress::Ip { address: ip, port, host };
            Place { written, now: state::Address { endpoint, mapped_port }, unresolved, resolution }
        }
        Address::Unix { path, .. } => {
            let path = PathBuf::from(path);
            fixed(ServerAddress::Unix(path.clone()), Endpoint::Unix(path))
        }
        Address::Abstract { name } => {
            let name: Box<[u8]> = name.into_bytes().into();
            fixed(ServerAddress::Abstract(name.clone()), Endpoint::Abstract(name))
        }
        // The rules for servers do not let it through.
        Address::Descriptor(_) => fixed(ServerAddress::Abstract(Box::default()), Endpoint::Unnamed),
    }
}

/// The address of a name at the start; `None` where the server begins without one.
fn first_address(
    base: &Base,
    (name, family, at): (&str, Family, Location),
    settings: &ServerSettings,
    last: Option<IpAddr>,
    resolution: &Option<Resolution>,
    diagnostics: &mut Diagnostics,
) -> Option<IpAddr> {
    let is_service = resolution.as_ref().is_some_and(|r| r.service().is_some());
    let mut ways = settings.init_address.ways.clone();
    if ways.is_empty() {
        ways = vec![InitWay::Last, InitWay::Libc];
        ways.extend(resolution.as_ref().map(|_| InitWay::None));
    }
    let mut asked = false;
    for way in ways {
        match way {
            InitWay::Last if last.is_some() => return last,
            InitWay::Last => {}
            InitWay::Libc if is_service => {}
            InitWay::Libc => {
                let found = base.look_up_unless_offline(name, family);
                if found.is_some() {
                    return found;
                }
                asked = !base.options.offline;
            }
            InitWay::Ip(ip) => return Some(ip),
            InitWay::None => {
                if asked {
                    let title = format!("`{name}` has no address: the server is disabled");
                    let help = "it is used once name servers have found one";
                    diagnostics.warning(at, ProxyMistake::Says { title, help }.into());
                }
                return None;
            }
        }
    }
    if !base.options.offline && !base.options.ignore_resolve_failures {
        let kind = ConfigErrorKind::Unresolved { what: "host", name: name.to_owned() };
        diagnostics.error(at, kind);
    }
    None
}

/// What `resolvers` and its details come to; an address that is not a name needs none.
fn resolution(
    base: &Base,
    address: &Address,
    at: Location,
    settings: &ServerSettings,
    diagnostics: &mut Diagnostics,
) -> Option<Resolution> {
    let name = match address {
        Address::Ip { host: Host::Name(name), .. } => Some(name),
        _ => None,
    };
    let Some((section, section_at)) = settings.resolvers.as_deref() else {
        if let Some(name) = name.filter(|name| name.starts_with('_')) {
            let title = format!("`{name}` is the name of a service, which has no address itself");
            let help = "`resolvers` finds its servers";
            diagnostics.error(at, ProxyMistake::Says { title, help }.into());
        }
        return None;
    };
    let sections = base.directory.resolvers.get().map(Vec::as_slice).unwrap_or_default();
    if !sections.contains(section) && !base.options.offline {
        let known = sections.iter().map(|name| &**name);
        diagnostics.error(*section_at, ConfigErrorKind::undefined("resolvers", section, known));
        return None;
    }
    let name = match Name::parse(name?) {
        Ok(name) => name,
        Err(error) => {
            let found = name.cloned().unwrap_or_default();
            let (what, expected) = ("name".into(), error.to_string().into());
            diagnostics.error(at, ConfigErrorKind::BadValue { what, found, expected });
            return None;
        }
    };
    let options = &settings.resolve;
    Some(Resolution {
        resolvers: (&**section).into(),
        from: match name.is_service() {
            true => ResolvedFrom::Service(name),
            false => ResolvedFrom::Host(name),
        },
        prefer: if options.prefer_ipv4 { Kind::A } else { Kind::Aaaa },
        networks: options.networks.clone(),
        allow_duplicates: options.allow_duplicates,
        ignore_weight: options.ignore_weight,
    })
}
