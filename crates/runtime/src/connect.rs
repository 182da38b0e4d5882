//! Reaching a server.
//!
//! [`connect()`] opens a non-blocking socket, sets what the server's line asks for and waits until
//! the kernel has decided. It does not time out: put a [`crate::Deadline`] around it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use socket2::{Domain, SockAddr, SockRef, Type};

use crate::socket::{Keepalive, Socket, SocketKind};
use crate::socks4::{self, Socks4Error};
use crate::{Endpoint, sys};

/// What to set on a connection to a server. The default sets nothing but `TCP_NODELAY`.
#[derive(Debug, Default)]
pub struct ConnectOptions {
    /// The address to connect from (`source`).
    pub source: Option<Source>,
    /// The interface to leave through (`source … interface`); needs CAP_NET_RAW on old kernels.
    pub interface: Option<String>,
    /// `option tcpka`, `option srvtcpka`.
    pub keepalive: Option<Keepalive>,
    /// `option nolinger`.
    pub nolinger: bool,
    /// `tcp-ut`, in milliseconds.
    pub user_timeout: Option<Duration>,
    /// Bytes of the kernel's buffers (`tune.rcvbuf.server`, `tune.sndbuf.server`); `None` lets it adapt them.
    pub receive_buffer: Option<usize>,
    pub send_buffer: Option<usize>,
    /// `option tcp-smart-connect`: the last packet of the handshake waits for the first bytes, where there are some
    /// ([`connect_to_send`]).
    pub delay_ack: bool,
    /// `tfo`: the first write travels with the SYN. The connection is writable at once then.
    pub fast_open: bool,
    /// `socks4`: the proxy that makes the connection. [`connect_directly`] passes it by.
    pub socks4: Option<SocketAddr>,
    /// Packet mark; needs CAP_NET_ADMIN.
    pub mark: Option<u32>,
}

/// Where a connection comes from (`source ADDRESS[:PORT[-PORT]] [usesrc …]`).
#[derive(Debug)]
pub struct Source {
    /// Port 0 lets the kernel choose, per destination.
    pub ip: IpAddr,
    /// The ports to use, each at most once at a time per destination.
    pub ports: Option<SourcePorts>,
    /// The address need not be one of this machine's (`usesrc`); needs CAP_NET_ADMIN.
    pub transparent: bool,
}

/// A range of source ports that is used round and round. Shared by all workers.
#[derive(Debug)]
pub struct SourcePorts {
    range: RangeInclusive<u16>,
    next: AtomicU32,
}

/// Why a server was not reached.
#[derive(Debug)]
pub struct ConnectError {
    pub kind: ConnectErrorKind,
    pub source: io::Error,
}

/// The decision that a failed connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectErrorKind {
    /// Nobody listens there, or the Unix socket is not there.
    Refused,
    /// The peer reset the connection while it was being made.
    Reset,
    /// The kernel gave up waiting (its own time-out, `tcp-ut` included).
    TimedOut,
    /// No way to that host or network.
    Unreachable,
    /// A Unix socket whose listener's queue is full; trying again helps.
    Busy,
    /// No source address or port was free, or the source is not this machine's.
    NoSource,
    /// This process or this machine is out of descriptors or memory: not the server's fault.
    NoResources,
    /// This process may not do that.
    Denied,
    /// Anything else.
    Other,
}

/// Connects to `to` and returns once the connection stands.
///
/// # Errors
/// See [`ConnectErrorKind`]. Nothing was sent then.
pub async fn connect(to: &Endpoint, options: &ConnectOptions) -> Result<Socket, ConnectError> {
    match options.socks4 {
        Some(proxy) => connect_through(proxy, to, options).await,
        None => connect_directly(to, options).await,
    }
}

/// As [`connect()`], past a SOCKS proxy that the options name.
///
/// # Errors
/// As [`connect()`].
pub async fn connect_directly(
    to: &Endpoint,
    options: &ConnectOptions,
) -> Result<Socket, ConnectError> {
    connect_with(to, options, Handshake::Whole).await
}

/// As [`connect()`], for a caller who has bytes to send at once: only then can `delay_ack` save a packet.
pub async fn connect_to_send(
    to: &Endpoint,
    options: &ConnectOptions,
) -> Result<Socket, ConnectError> {
    if options.socks4.is_some() {
        return connect(to, options).await;
    }
    let handshake = if options.delay_ack { Handshake::Unfinished } else { Handshake::Whole };
    connect_with(to, options, handshake).await
}

/// Finds out whether somebody listens at `to`, with as little trouble for them as can be: over TCP the last
/// acknowledgement of the handshake is held back, and dropping the socket resets it, so that the application there most
/// often sees no connection at all.
///
/// # Errors
/// As [`connect()`].
pub async fn probe(to: &Endpoint, options: &ConnectOptions) -> Result<Socket, ConnectError> {
    let socket = connect_with(to, options, Handshake::Unfinished).await?;
    if to.is_inet() {
        socket.set_nolinger().map_err(ConnectError::from)?;
    }
    Ok(socket)
}

/// Lets a SOCKS proxy make the connection; `Ok` once it says that it stands.
async fn connect_through(
    proxy: SocketAddr,
    to: &Endpoint,
    options: &ConnectOptions,
) -> Result<Socket, ConnectError> {
    let refused = |error: Socks4Error| ConnectError {
        kind: match error {
            Socks4Error::NotIpv4 => ConnectErrorKind::Unreachable,
            _ => ConnectErrorKind::Refused,
        },
        source: io::Error::other(error),
    };
    let to = to.inet().ok_or_else(|| refused(Socks4Error::NotIpv4))?;
    let request = socks4::request(to).map_err(refused)?;
    let socket = connect_with(&Endpoint::Inet(proxy), options, Handshake::Whole).await?;
    socket.write_all(&request).await.map_err(ConnectError::from)?;
    let mut answer = [0; socks4::ANSWER_LEN];
    let mut got = 0;
    while got < answer.len() {
        // What lies behind the answer belongs to the destination, so not a byte more is read.
        got += match socket.read(&mut answer[got..]).await.map_err(ConnectError::from)? {
            0 => return Err(refused(Socks4Error::Aborted)),
            count => count,
        };
    }
    socks4::read_answer(answer).map_err(refused)?;
    Ok(socket)
}

/// Whether the last acknowledgement of a handshake is sent at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handshake {
    Whole,
    Unfinished,
}

async fn connect_with(
    to: &Endpoint,
    options: &ConnectOptions,
    handshake: Handshake,
) -> Result<Socket, ConnectError> {
    let (socket, pending) = begin(to, options, handshake).map_err(ConnectError::from)?;
    if pending {
        // The reactor reports failure as readiness too, so that the answer is in SO_ERROR.
        socket.writable().await.map_err(ConnectError::from)?;
        match socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Err(error.into()),
        }
    }
    Ok(socket)
}

/// Starts the connection; the flag says that the kernel has not decided yet.
fn begin(
    to: &Endpoint,
    options: &ConnectOptions,
    handshake: Handshake,
) -> io::Result<(Socket, bool)> {
    let (socket, address) = match to {
        Endpoint::Inet(address) => {
            let socket = open(Domain::for_address(*address))?;
            prepare(&socket, options)?;
            if handshake == Handshake::Unfinished {
                sockopt::set_tcp_quickack(&socket, false)?;
            }
            (socket, SockAddr::from(*address))
        }
        Endpoint::Unix(_) | Endpoint::Abstract(_) => {
            let unix = to.unix_address()?;
            let address = match unix.as_pathname() {
                Some(path) => SockAddr::unix(path)?,
                None => abstract_address(&unix)?,
            };
            (open(Domain::UNIX)?, address)
        }
        Endpoint::Unnamed => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let pending = match socket.connect(&address) {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
        Err(error) => return Err(error),
    };
    let kind = if to.is_inet() { SocketKind::Tcp } else { SocketKind::Unix };
    let socket = match pending {
        true => Socket::connecting(socket.into(), kind),
        false => Socket::from_nonblocking(socket.into(), kind),
    };
    Ok((socket, pending))
}

fn open(domain: Domain) -> io::Result<socket2::Socket> {
    socket2::Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None)
}

fn abstract_address(unix: &std::os::unix::net::SocketAddr) -> io::Result<SockAddr> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    let name = unix.as_abstract_name().unwrap_or_default();
    let path = [&[0], name].concat();
    SockAddr::unix(std::ffi::OsStr::from_bytes(&path))
}

fn prepare(socket: &socket2::Socket, options: &ConnectOptions) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    if let Some(keepalive) = &options.keepalive {
        keepalive.apply(std::os::fd::AsFd::as_fd(socket))?;
    }
    if options.nolinger {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    if let Some(timeout) = options.user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if options.fast_open {
        sys::set_option(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)?;
    }
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    if let Some(interface) = &options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    match &options.source {
        Some(source) => source.bind(socket),
        None => Ok(()),
    }
}

impl Source {
    fn bind(&self, socket: &socket2::Socket) -> io::Result<()> {
        if self.transparent {
            let socket = SockRef::from(socket);
            match self.ip {
                IpAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
                IpAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
            }
        }
        let Some(ports) = &self.ports else {
            // The kernel then chooses a port that is free for this destination, rather than one
            // that is free altogether.
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
            return socket.bind(&SocketAddr::new(self.ip, 0).into());
        };
        socket.set_reuse_address(true)?;
        for _ in 0..ports.len().min(SOURCE_PORT_TRIES) {
            match socket.bind(&SocketAddr::new(self.ip, ports.take()).into()) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                done => return done,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

impl SourcePorts {
    /// # Panics
    /// On an empty range.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        assert!(!range.is_empty());
        Self { range, next: AtomicU32::new(0) }
    }

    fn len(&self) -> usize {
        self.range.len()
    }

    fn take(&self) -> u16 {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        // The range has at most 65,536 ports, so the offset fits.
        self.range.start().wrapping_add((turn % self.len() as u32) as u16)
    }
}

/// Ports that may be found taken in one attempt to connect, which bounds its system calls.
const SOURCE_PORT_TRIES: usize = 64;

impl From<io::Error> for ConnectError {
    fn from(source: io::Error) -> Self {
        Self { kind: ConnectErrorKind::of(&source), source }
    }
}

impl ConnectErrorKind {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED | libc::ENOENT | libc::ENOTSOCK) => Self::Refused,
            Some(libc::ECONNRESET | libc::ECONNABORTED | libc::EPIPE) => Self::Reset,
            Some(libc::ETIMEDOUT) => Self::TimedOut,
            Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTDOWN) => {
                Self::Unreachable
            }
            Some(libc::EAGAIN) => Self::Busy,
            Some(libc::EADDRINUSE | libc::EADDRNOTAVAIL) => Self::NoSource,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::ENOSPC) => {
                Self::NoResources
            }
            Some(libc::EACCES | libc::EPERM) => Self::Denied,
            _ if error.kind() == io::ErrorKind::AddrInUse => Self::NoSource,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::block_on;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_reached_and_a_closed_port_refuses() {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let to = Endpoint::from(listener.local_addr().unwrap());
            let options = ConnectOptions::default();
            let socket = connect(&to, &options).await.unwrap();
            assert_eq!(socket.peer().unwrap(), to);
            drop(listener);
            let error = connect(&to, &options).await.unwrap_err();
            assert_eq!(error.kind, ConnectErrorKind::Refused);
        });
    }

    #[test]
    fn a_socks_proxy_makes_the_connection_or_says_no() {
        use std::io::{Read, Write};
        #[track_caller]
        fn check(answer: &'static [u8], expected: Result<&[u8], ConnectErrorKind>) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let socks4 = Some(listener.local_addr().unwrap());
            let proxy = std::thread::spawn(move || {
                let (mut client, _) = listener.accept().unwrap();
                let mut request = [0; 16];
                client.read_exact(&mut request).unwrap();
                client.write_all(answer).unwrap();
                request
            });
            let found = block_on(async {
                let to = Endpoint::from("10.1.2.3:80".parse::<SocketAddr>().unwrap());
                let options = ConnectOptions { socks4, ..Default::default() };
                let socket = connect(&to, &options).await.map_err(|error| error.kind)?;
                let mut rest = vec![0; 10];
                let count = socket.read(&mut rest).await.unwrap();
                rest.truncate(count);
                Ok(rest)
            });
            assert_eq!(proxy.join().unwrap()[2..8], [0, 80, 10, 1, 2, 3]);
            assert_eq!(found.as_deref().map_err(|kind| *kind), expected);
        }
        check(b"\0\x5a\0\0\0\0\0\0hello", Ok(b"hello"));
        check(b"\0\x5b\0\0\0\0\0\0", Err(ConnectErrorKind::Refused));
        check(b"\0\x5a\0", Err(ConnectErrorKind::Refused));
    }

    #[test]
    fn the_source_address_is_kept() {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let to = Endpoint::from(listener.local_addr().unwrap());
            let ip = "127.0.0.2".parse().unwrap();
            let source = Source { ip, ports: None, transparent: false };
            let options = ConnectOptions { source: Some(source), ..Default::default() };
            let socket = connect(&to, &options).await.unwrap();
            assert_eq!(socket.local().unwrap().ip(), Some(ip));
        });
    }

    #[test]
    fn source_ports_go_round_their_range() {
        let ports = SourcePorts::new(65533..=65535);
        let taken: Vec<u16> = (0..4).map(|_| ports.take()).collect();
        assert_eq!(taken, [65533, 65534, 65535, 65533]);
    }

    #[test]
    fn unix_sockets_of_both_kinds_are_reached() {
        use std::os::unix::net::UnixListener;
        block_on(async {
            let name = format!("telamon-connect-{}", std::process::id());
            let abstract_end = Endpoint::Abstract(name.clone().into_bytes().into());
            let path_end = Endpoint::Unix(std::env::temp_dir().join(name));
            for to in [abstract_end, path_end] {
                let listener = UnixListener::bind_addr(&to.unix_address().unwrap()).unwrap();
                let socket = connect(&to, &ConnectOptions::default()).await.unwrap();
                assert_eq!(socket.peer().unwrap(), to);
                drop(listener);
                if let Endpoint::Unix(path) = &to {
                    std::fs::remove_file(path).unwrap();
                }
                let error = connect(&to, &ConnectOptions::default()).await.unwrap_err();
                assert_eq!(error.kind, ConnectErrorKind::Refused);
            }
        });
    }
}
