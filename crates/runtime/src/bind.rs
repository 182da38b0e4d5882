//! From the address on a `bind` line to listening sockets.
//!
//! [`BindSpec`] is what the line asks for, [`bind()`] carries it out. Only [`crate::files`] calls it,
//! since binding may need privileges that the serving process has given up.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, sockopt};
use socket2::{Domain, SockRef, Type};

use crate::socket::{Keepalive, SocketKind};
use crate::{Endpoint, sys};

/// A listening socket as a `bind` line describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindSpec {
    pub address: BindAddress,
    /// Completed connections the kernel keeps until they are accepted (`backlog`); the system
    /// limits it to `net.core.somaxconn`.
    pub backlog: u32,
    /// `v4v6` is `Some(false)`, `v6only` is `Some(true)`; `None` is the system's default.
    pub v6only: Option<bool>,
    /// Only connections through this interface (`interface`).
    pub interface: Option<String>,
    /// The address need not be one of this machine's (`transparent`).
    pub transparent: bool,
    /// Advertised segment size (`mss`); negative is relative to the path's.
    pub mss: Option<i32>,
    /// Wake up only once bytes have come (`defer-accept`).
    pub defer_accept: bool,
    /// Accept data in the SYN (`tfo`).
    pub fast_open: bool,
    /// `tcp-ut`.
    pub user_timeout: Option<Duration>,
    /// `option tcpka`, `option clitcpka`: accepted connections inherit it.
    pub keepalive: Option<Keepalive>,
    /// `option nolinger`: accepted connections inherit it.
    pub nolinger: bool,
    /// `option tcp-smart-accept`: the first acknowledgement waits for the answer.
    pub delay_ack: bool,
    /// Bytes of the kernel's buffers (`tune.rcvbuf.client`, `tune.sndbuf.client`), which accepted
    /// connections inherit; `None` lets the kernel adapt them. Once set, a reload cannot unset them.
    pub receive_buffer: Option<usize>,
    pub send_buffer: Option<usize>,
    /// One socket per worker where the address allows it (not under `noreuseport`).
    pub reuse_port: bool,
    /// Permissions of a Unix socket's file (`mode`).
    pub mode: Option<u32>,
    /// Owner of a Unix socket's file (`uid`, `user`).
    pub uid: Option<u32>,
    /// Group of a Unix socket's file (`gid`, `group`).
    pub gid: Option<u32>,
}

/// The address of a `bind` line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindAddress {
    Inet(SocketAddr),
    /// `unix@/path` or `/path`.
    Unix(PathBuf),
    /// `abns@name`.
    Abstract(Vec<u8>),
    /// `fd@N`: a socket that was bound before this process began.
    Fd(RawFd),
}

/// What makes two specifications one socket: what cannot be changed once it is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BindKey {
    address: BindAddress,
    v6only: Option<bool>,
    interface: Option<String>,
    transparent: bool,
    owner: (Option<u32>, Option<u32>, Option<u32>),
}

impl BindKey {
    pub(crate) fn is_inet(&self) -> bool {
        matches!(self.address, BindAddress::Inet(_))
    }

    pub(crate) fn is_abstract(&self) -> bool {
        matches!(self.address, BindAddress::Abstract(_))
    }

    pub(crate) fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }
}

/// Whether a socket of another process at the same address is a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbor {
    /// It is: `AddrInUse`, where the kernel would let both share the port in silence.
    Refused,
    /// It is the process that this one replaces (`-sf`, `-st`, `-x`).
    Replaced,
}

impl BindSpec {
    /// A specification with nothing but an address: backlog 1024, reuseport where possible.
    pub fn new(address: BindAddress) -> Self {
        Self {
            address,
            backlog: 1024,
            v6only: None,
            interface: None,
            transparent: false,
            mss: None,
            defer_accept: false,
            fast_open: false,
            user_timeout: None,
            keepalive: None,
            nolinger: false,
            delay_ack: false,
            receive_buffer: None,
            send_buffer: None,
            reuse_port: true,
            mode: None,
            uid: None,
            gid: None,
        }
    }

    pub fn key(&self) -> BindKey {
        BindKey {
            address: self.address.clone(),
            v6only: self.v6only,
            interface: self.interface.clone(),
            transparent: self.transparent,
            owner: (self.mode, self.uid, self.gid),
        }
    }

    /// Whether each worker gets a socket of its own.
    pub fn is_per_worker(&self) -> bool {
        self.reuse_port && matches!(self.address, BindAddress::Inet(_))
    }

    /// Whether only one process can have the address.
    pub fn is_exclusive(&self) -> bool {
        match self.address {
            BindAddress::Inet(_) => !self.reuse_port,
            BindAddress::Abstract(_) => true,
            BindAddress::Unix(_) | BindAddress::Fd(_) => false,
        }
    }

    /// Applies what may change while the socket is bound: after a reload, and at the bind.
    ///
    /// Accepted connections inherit TCP_NODELAY, keep-alive, linger and the like from the listening socket,
    /// which saves a system call for each.
    pub fn apply(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let linger = self.nolinger.then_some(Duration::ZERO);
        sockopt::set_socket_linger(fd, linger)?;
        if let Some(bytes) = self.receive_buffer {
            sockopt::set_socket_recv_buffer_size(fd, bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            sockopt::set_socket_send_buffer_size(fd, bytes)?;
        }
        if kind_of(fd)? == SocketKind::Tcp {
            sockopt::set_tcp_nodelay(fd, true)?;
            sockopt::set_tcp_quickack(fd, !self.delay_ack)?;
            match &self.keepalive {
                Some(keepalive) => keepalive.apply(fd)?,
                None => sockopt::set_socket_keepalive(fd, false)?,
            }
            if let Some(mss) = self.mss {
                set_mss(fd, mss)?;
            }
            let timeout = self.user_timeout.map_or(0, |timeout| timeout.as_millis());
            sockopt::set_tcp_user_timeout(fd, u32::try_from(timeout).unwrap_or(u32::MAX))?;
            let defer = i32::from(self.defer_accept);
            sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, defer)?;
            if self.fast_open {
                let queue = self.backlog_clamped();
                sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)?;
            }
        }
        Ok(rustix::net::listen(fd, self.backlog_clamped())?)
    }

    fn backlog_clamped(&self) -> i32 {
        i32::try_from(self.backlog).unwrap_or(i32::MAX).max(1)
    }
}

impl BindKey {
    /// The key in words, by which a parent and its serving process (one program) name a socket.
    pub(crate) fn to_text(&self) -> String {
        format!("{self:?}")
    }
}

impl BindAddress {
    /// The endpoint, where it is known without asking the kernel.
    pub fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::Inet(address) => Some(Endpoint::Inet(*address)),
            Self::Unix(path) => Some(Endpoint::Unix(path.clone())),
            Self::Abstract(name) => Some(Endpoint::Abstract(name.clone().into())),
            Self::Fd(_) => None,
        }
    }
}

/// Binds and listens: `copies` sockets where each worker gets its own, else one.
///
/// # Errors
/// Those of the kernel. `AddrInUse` when the address is taken, by a socket that shares ports too.
/// Nothing stays bound then.
pub fn bind(spec: &BindSpec, copies: usize, neighbor: Neighbor) -> io::Result<Vec<OwnedFd>> {
    match &spec.address {
        BindAddress::Inet(address) => {
            if spec.is_per_worker() && neighbor == Neighbor::Refused {
                // Without SO_REUSEPORT the kernel tells us about those that share the port.
                drop(bind_inet(spec, *address, false)?);
            }
            if !spec.is_per_worker() {
                let socket = bind_inet(spec, *address, neighbor == Neighbor::Replaced)?;
                spec.apply(socket.as_fd())?;
                return Ok(vec![socket]);
            }
            let mut sockets = Vec::with_capacity(copies);
            let mut address = *address;
            for _ in 0..copies.max(1) {
                let socket = bind_inet(spec, address, true)?;
                spec.apply(socket.as_fd())?;
                if address.port() == 0 {
                    // The others share the port that the kernel chose for the first.
                    let local = Endpoint::from_any(&rustix::net::getsockname(&socket)?);
                    address.set_port(local.port().unwrap_or(0));
                }
                sockets.push(socket);
            }
            Ok(sockets)
        }
        BindAddress::Unix(path) => Ok(vec![bind_unix(spec, path)?]),
        BindAddress::Abstract(name) => {
            let address = Endpoint::Abstract(name.clone().into()).unix_address()?;
            let socket = OwnedFd::from(std::os::unix::net::UnixListener::bind_addr(&address)?);
            rustix::io::ioctl_fionbio(&socket, true)?;
            spec.apply(socket.as_fd())?;
            Ok(vec![socket])
        }
        BindAddress::Fd(number) => {
            let socket = take_inherited(*number)?;
            rustix::io::ioctl_fionbio(&socket, true)?;
            spec.apply(socket.as_fd())?;
            Ok(vec![socket])
        }
    }
}

/// The family of a listening or connected socket.
///
/// # Errors
/// `Unsupported` for one that is neither TCP nor Unix.
pub(crate) fn kind_of(fd: BorrowedFd<'_>) -> io::Result<SocketKind> {
    match sockopt::socket_domain(fd)? {
        AddressFamily::INET | AddressFamily::INET6 => Ok(SocketKind::Tcp),
        AddressFamily::UNIX => Ok(SocketKind::Unix),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn bind_inet(spec: &BindSpec, address: SocketAddr, reuse_port: bool) -> io::Result<OwnedFd> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = socket2::Socket::new(Domain::for_address(address), kind, None)?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if spec.transparent {
        match address.ip() {
            IpAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            IpAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
    }
    if let Some(interface) = &spec.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let (SocketAddr::V6(_), Some(only)) = (address, spec.v6only) {
        socket.set_only_v6(only)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Binds under a temporary name and renames it, so that there is no moment without a socket at
/// `path` while one process replaces another, and none with the wrong permissions.
fn bind_unix(spec: &BindSpec, path: &Path) -> io::Result<OwnedFd> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    remove_if_there(&temporary)?;
    let bound = (|| {
        let socket = OwnedFd::from(std::os::unix::net::UnixListener::bind(&temporary)?);
        rustix::io::ioctl_fionbio(&socket, true)?;
        if spec.uid.is_some() || spec.gid.is_some() {
            chown(&temporary, spec.uid, spec.gid)?;
        }
        if let Some(mode) = spec.mode {
            std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))?;
        }
        spec.apply(socket.as_fd())?;
        std::fs::rename(&temporary, path)?;
        Ok(socket)
    })();
    if bound.is_err() {
        remove_if_there(&temporary)?;
    }
    bound
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes the descriptor `number`, once in the life of the process.
///
/// Everything this program opens is marked close-on-exec, and what it inherited is not: so the
/// mark tells a socket that was handed to us from one of our own, or one that was taken before.
pub(crate) fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    check_inherited(number)?;
    // SAFETY: it is open, was inherited and was not taken before, as the mark shows, so nothing
    // else owns it. Only the control thread binds.
    unsafe {
        rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(number), FdFlags::CLOEXEC)?;
        Ok(sys::take_descriptor(number))
    }
}

/// Looks whether the descriptor `number` (`fd@N`) can be taken to listen on.
///
/// # Errors
/// It is not open, is no stream socket, is one of this program's own, or was taken before.
pub fn check_inherited(number: RawFd) -> io::Result<()> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
    if number <= 2 {
        return Err(invalid("not a listening socket"));
    }
    // SAFETY: only borrowed, for calls that fail on a number that is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if rustix::io::fcntl_getfd(borrowed)?.contains(FdFlags::CLOEXEC) {
        return Err(invalid("descriptor was not inherited, or is used already"));
    }
    kind_of(borrowed)?;
    if SockRef::from(&borrowed).r#type()? != Type::STREAM {
        return Err(invalid("not a stream socket"));
    }
    Ok(())
}

fn set_mss(fd: BorrowedFd<'_>, mss: i32) -> io::Result<()> {
    // A negative value lowers what the kernel would announce by so much.
    let value = if mss < 0 {
        i32::try_from(SockRef::from(&fd).tcp_mss()?).unwrap_or(i32::MAX).saturating_add(mss)
    } else {
        mss
    };
    sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    #[test]
    fn each_worker_gets_a_socket_on_one_port() {
        let spec = BindSpec::new(BindAddress::Inet("127.0.0.1:0".parse().unwrap()));
        let sockets = bind(&spec, 3, Neighbor::Refused).unwrap();
        let ports: BTreeSet<u16> = sockets
            .iter()
            .map(|fd| rustix::net::getsockname(fd).unwrap())
            .filter_map(|address| Endpoint::from_any(&address).port())
            .collect();
        assert_eq!((sockets.len(), ports.len()), (3, 1));
    }

    #[test]
    fn a_port_in_use_is_refused_even_if_it_is_shared() {
        let plain = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = plain.local_addr().unwrap();
        let spec = BindSpec::new(BindAddress::Inet(address));
        let error = bind(&spec, 1, Neighbor::Refused).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);

        let spec = BindSpec::new(BindAddress::Inet("127.0.0.1:0".parse().unwrap()));
        let first = bind(&spec, 1, Neighbor::Refused).unwrap();
        let taken = Endpoint::from_any(&rustix::net::getsockname(&first[0]).unwrap());
        let spec = BindSpec::new(BindAddress::Inet(taken.inet().unwrap()));
        let error = bind(&spec, 1, Neighbor::Refused).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        bind(&spec, 1, Neighbor::Replaced).unwrap();
    }

    #[test]
    fn a_unix_socket_replaces_a_stale_one_with_the_permissions_asked_for() {
        let path = std::env::temp_dir().join(format!("telamon-bind-{}", std::process::id()));
        let mut spec = BindSpec::new(BindAddress::Unix(path.clone()));
        spec.mode = Some(0o600);
        drop(bind(&spec, 1, Neighbor::Refused).unwrap());
        let socket = bind(&spec, 1, Neighbor::Refused).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
        drop(socket);
    }

    #[test]
    fn an_inherited_socket_is_taken_once() {
        use std::os::fd::IntoRawFd;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = BindSpec::new(BindAddress::Fd(std::os::fd::AsRawFd::as_raw_fd(&listener)));
        bind(&ours, 4, Neighbor::Refused).unwrap_err();
        rustix::io::fcntl_setfd(&listener, FdFlags::empty()).unwrap();
        let spec = BindSpec::new(BindAddress::Fd(listener.into_raw_fd()));
        let sockets = bind(&spec, 4, Neighbor::Refused).unwrap();
        assert_eq!(sockets.len(), 1);
        bind(&spec, 4, Neighbor::Refused).unwrap_err();
        bind(&BindSpec::new(BindAddress::Fd(2)), 1, Neighbor::Refused).unwrap_err();
    }
}
