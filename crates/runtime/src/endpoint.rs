//! One end of a stream: an IP address with a port, or a Unix socket's name.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::PathBuf;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

/// The address of one end of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An IP address and a port. An IPv4-mapped IPv6 address is kept as the kernel gave it.
    Inet(SocketAddr),
    /// A Unix socket in the file system (`unix@path`).
    Unix(PathBuf),
    /// A Unix socket in the abstract namespace (`abns@name`), without the NUL bytes around it.
    Abstract(Box<[u8]>),
    /// A Unix socket that was never bound, as clients usually are.
    Unnamed,
}

impl Endpoint {
    /// The IP address, of an IP endpoint.
    pub fn ip(&self) -> Option<IpAddr> {
        self.inet().map(|address| address.ip())
    }

    /// The port, of an IP endpoint.
    pub fn port(&self) -> Option<u16> {
        self.inet().map(|address| address.port())
    }

    /// Both, of an IP endpoint.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            _ => None,
        }
    }

    /// Whether this is an IP endpoint.
    pub fn is_inet(&self) -> bool {
        matches!(self, Self::Inet(_))
    }

    pub(crate) fn from_any(address: &SocketAddrAny) -> Self {
        if let Ok(inet) = SocketAddr::try_from(address.clone()) {
            return Self::Inet(inet);
        }
        let Ok(unix) = SocketAddrUnix::try_from(address.clone()) else { return Self::Unnamed };
        if let Some(name) = unix.abstract_name() {
            let end = name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            return Self::Abstract(name[..end].into());
        }
        match unix.path() {
            Some(path) if !path.to_bytes().is_empty() => {
                Self::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes())))
            }
            _ => Self::Unnamed,
        }
    }

    /// The address to hand to the kernel, of a named Unix endpoint.
    ///
    /// An abstract name is padded with NUL bytes to its full 107 bytes, as HAProxy does, so that
    /// both find each other.
    pub(crate) fn unix_address(&self) -> io::Result<UnixAddr> {
        match self {
            Self::Unix(path) => UnixAddr::from_pathname(path),
            Self::Abstract(name) if name.len() <= ABSTRACT_LEN_MAX => {
                let mut padded = [0; ABSTRACT_LEN_MAX];
                padded[..name.len()].copy_from_slice(name);
                UnixAddr::from_abstract_name(padded)
            }
            Self::Abstract(_) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("abstract socket name is longer than {ABSTRACT_LEN_MAX} bytes"),
            )),
            Self::Inet(_) | Self::Unnamed => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "not a named unix socket"))
            }
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix@{}", path.display()),
            Self::Abstract(name) => write!(f, "abns@{}", name.escape_ascii()),
            Self::Unnamed => f.write_str("unix:1"),
        }
    }
}

/// `sun_path` is 108 bytes, the first of which is the NUL that marks an abstract name.
const ABSTRACT_LEN_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_names_survive_the_kernel() {
        for endpoint in
            [Endpoint::Unix("/run/telamon.sock".into()), Endpoint::Abstract((*b"front").into())]
        {
            let std = endpoint.unix_address().unwrap();
            let any: SocketAddrAny = if let Some(path) = std.as_pathname() {
                SocketAddrUnix::new(path).unwrap().into()
            } else {
                SocketAddrUnix::new_abstract_name(std.as_abstract_name().unwrap()).unwrap().into()
            };
            assert_eq!(Endpoint::from_any(&any), endpoint);
        }
    }
}
