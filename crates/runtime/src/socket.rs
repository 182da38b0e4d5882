//! One stream socket, TCP or Unix, on the current thread's reactor.
//!
//! [`Socket`] spends as few system calls as a relay can. It joins the reactor only when it has to be waited for: until
//! then it is asked directly, so that a connection whose request has come with it, and which ends with the answer, is
//! never known to epoll. A read or write that moves less than was asked for counts as one that found no more: the next
//! attempt waits without asking the kernel for `EAGAIN` first. Nothing here times out; a [`crate::Deadline`] stands
//! around the wait.
//!
//! All methods take `&self`. One task reads and one writes at a time (they may be the same); a
//! second task that waits for the same direction would take over the first one's wake-up.

use std::cell::{Cell, OnceCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{self, RecvFlags, SendFlags, sockopt};
use socket2::SockRef;
use tokio::io::Interest;

use crate::{Endpoint, sys};

pub mod tls;

use tls::{Detached, Session};

/// A connected stream socket of the worker that holds it.
#[derive(Debug)]
pub struct Socket {
    /// Its place on the reactor, from the first wait on. Stands before `fd`: it is given up before that is closed.
    watch: OnceCell<sys::Watch>,
    fd: OwnedFd,
    kind: SocketKind,
    /// What stands between the caller's bytes and the kernel's, after [`Socket::accept_tls`] or [`Socket::connect_tls`].
    session: Option<Box<Session>>,
    /// What is known without a reactor: the last read found no more bytes, the last write no more room.
    empty: Cell<bool>,
    full: Cell<bool>,
}

/// The family of a stream socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketKind {
    Tcp,
    Unix,
}

/// What an idle connection turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Nothing has come: the connection can be used.
    Quiet,
    /// Bytes have come, which the peer was not asked for.
    Data,
    /// The peer has closed, or the connection broke.
    Closed,
}

/// Probes of the kernel on a silent connection (`clitcpka`, `srvtcpka`). `None` is the system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe, in whole seconds (`clitcpka-idle`).
    pub idle: Option<Duration>,
    /// Between two probes, in whole seconds (`clitcpka-intvl`).
    pub interval: Option<Duration>,
    /// Unanswered probes after which the connection is dead (`clitcpka-cnt`).
    pub count: Option<u32>,
}

impl Socket {
    /// Takes over a connected stream socket.
    ///
    /// # Errors
    /// Those of `ioctl`.
    pub fn from_fd(fd: OwnedFd, kind: SocketKind) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self::from_nonblocking(fd, kind))
    }

    /// As [`Socket::from_fd`], for a descriptor already in non-blocking mode: one call less.
    pub fn from_nonblocking(fd: OwnedFd, kind: SocketKind) -> Self {
        let (empty, full) = (Cell::new(false), Cell::new(false));
        Self { watch: OnceCell::new(), fd, kind, session: None, empty, full }
    }

    /// As [`Socket::from_nonblocking`], for one that is still being connected: it is written to once the reactor says so.
    pub(crate) fn connecting(fd: OwnedFd, kind: SocketKind) -> Self {
        let socket = Self::from_nonblocking(fd, kind);
        socket.full.set(true);
        socket
    }

    /// Takes the connection off this thread's reactor, to hand it to another or to park it.
    pub fn detach(self) -> Detached {
        let Self { watch, fd, kind, session, .. } = self;
        drop(watch);
        Detached { fd, kind, session }
    }

    /// Two connected Unix sockets, for tests and for talking within the process.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = UnixStream::pair()?;
        Ok((Self::from_fd(a.into(), SocketKind::Unix)?, Self::from_fd(b.into(), SocketKind::Unix)?))
    }

    pub fn kind(&self) -> SocketKind {
        self.kind
    }

    // Reading and writing.

    /// Reads what is there. `Ok(0)` is the end of the stream; `buf` must not be empty.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, without a system call if the reactor knows it already.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        debug_assert!(!buf.is_empty());
        if let Some(session) = &self.session {
            return session.try_read(self, buf);
        }
        let wanted = buf.len();
        self.transfer(Interest::READABLE, wanted, |fd| {
            Ok(net::recv(fd, &mut *buf, RecvFlags::empty())?.0)
        })
    }

    /// Reads once into the free capacity of `buf` (some is made where there is none) and returns how many bytes it grew by;
    /// 0 is the end.
    ///
    /// # Errors
    /// As [`Socket::try_read`].
    pub fn try_read_append(&self, buf: &mut Vec<u8>) -> io::Result<usize> {
        if buf.len() == buf.capacity() {
            // Reading into no room would look like the end.
            buf.reserve(ROOM_LEAST);
        }
        if let Some(session) = &self.session {
            return session.try_read_append(self, buf);
        }
        let wanted = buf.capacity() - buf.len();
        self.transfer(Interest::READABLE, wanted, |fd| {
            Ok(net::recv(fd, rustix::buffer::spare_capacity(&mut *buf), RecvFlags::empty())?.0)
        })
    }

    /// Whether the peer sends no more, whatever is still to be read. A system call.
    fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(self, PollFlags::RDHUP)];
        let ended = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        rustix::event::poll(&mut polled, Some(&Timespec::default())).is_err()
            || polled[0].revents().intersects(ended)
    }

    /// Reads and drops exactly so many bytes, which are known to be there.
    ///
    /// # Errors
    /// `UnexpectedEof` when fewer are there.
    pub async fn discard(&self, mut count: usize) -> io::Result<()> {
        let mut buffer = [0; 512];
        while count > 0 {
            let most = count.min(buffer.len());
            match self.read(&mut buffer[..most]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => count -= read,
            }
        }
        Ok(())
    }

    /// Writes what the kernel takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing. Never raises SIGPIPE.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        if let Some(session) = &self.session {
            return session.try_write(self, buf, SendFlags::empty());
        }
        self.transfer(Interest::WRITABLE, buf.len(), |fd| {
            Ok(net::send(fd, buf, SendFlags::NOSIGNAL)?)
        })
    }

    /// As [`Socket::try_write`], telling the kernel that more follows at once (`MSG_MORE`).
    pub fn try_write_more(&self, buf: &[u8]) -> io::Result<usize> {
        if let Some(session) = &self.session {
            return session.try_write(self, buf, SendFlags::MORE);
        }
        self.transfer(Interest::WRITABLE, buf.len(), |fd| {
            Ok(net::send(fd, buf, SendFlags::NOSIGNAL | SendFlags::MORE)?)
        })
    }

    /// Ready when there may be something to read. Then read until `WouldBlock`.
    ///
    /// # Errors
    /// Those of `epoll_ctl`: no memory, or the limit of watches is reached.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(session) = &self.session {
            if session.is_readable() {
                return Poll::Ready(Ok(()));
            }
            self.poll_unsent(session, cx)?;
        }
        if self.watch.get().is_none() && !self.empty.get() {
            return Poll::Ready(Ok(()));
        }
        self.watch()?.poll_read_ready(cx).map_ok(drop)
    }

    /// Ready when the kernel may take bytes. Then write until `WouldBlock`.
    ///
    /// # Errors
    /// As [`Socket::poll_read_ready`].
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.watch.get().is_none() && !self.full.get() {
            return Poll::Ready(Ok(()));
        }
        self.watch()?.poll_write_ready(cx).map_ok(drop)
    }

    /// Reads, or arranges for a wake-up when there is something to read.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_read_ready(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// As [`Socket::try_read_append`], waiting for bytes.
    pub fn poll_read_append(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.try_read_append(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_read_ready(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Waits for more than `known` bytes, or the end, and copies what there is into the capacity of `buf`; it stays there
    /// to be read. A count that is not above `known` means that no more will come.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub async fn peek_beyond(&self, known: usize, buf: &mut Vec<u8>) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            loop {
                let seen = self.try_io(Interest::READABLE, || {
                    buf.clear();
                    let room = rustix::buffer::spare_capacity(&mut *buf);
                    let (count, _) = net::recv(self, room, RecvFlags::PEEK)?;
                    let more = count > known || self.has_ended();
                    if more { Ok(count) } else { Err(io::ErrorKind::WouldBlock.into()) }
                });
                match seen {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(self.poll_read_ready(cx))?;
                    }
                    done => return Poll::Ready(done),
                }
            }
        })
        .await
    }

    /// Writes, or arranges for a wake-up when the kernel may take bytes.
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_write_ready(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// As [`Socket::poll_write`], telling the kernel that more follows at once (`MSG_MORE`): the last bytes wait for it.
    pub fn poll_write_more(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write_more(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_write_ready(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Waits until there may be something to read.
    pub async fn readable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_read_ready(cx)).await
    }

    /// Waits until the kernel may take bytes.
    pub async fn writable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_write_ready(cx)).await
    }

    /// Waits for bytes and reads them; `Ok(0)` is the end of the stream.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Writes some of the bytes, waiting for room.
    pub async fn write(&self, buf: &[u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_write(cx, buf)).await
    }

    /// Writes all the bytes, waiting for room.
    pub async fn write_all(&self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let count = self.write(buf).await?;
            buf = &buf[count..];
        }
        Ok(())
    }

    /// As [`Socket::write_all`], for bytes that travel with the end of the connection: [`Socket::shutdown_write`] has to
    /// follow at once.
    pub async fn write_last(&self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let count = std::future::poll_fn(|cx| self.poll_write_more(cx, buf)).await?;
            buf = &buf[count..];
        }
        Ok(())
    }

    /// Tells the peer that no more bytes come; reading goes on.
    pub fn shutdown_write(&self) -> io::Result<()> {
        if let Some(session) = &self.session {
            session.close(self);
        }
        Ok(net::shutdown(self, net::Shutdown::Write)?)
    }

    /// Looks whether an idle connection is still good, without a system call if the reactor has
    /// seen nothing.
    ///
    /// A socket that came to this reactor within this turn is not known to it yet: use
    /// [`Socket::peek_now`] there.
    pub fn peek(&self) -> Idle {
        // Nobody but the kernel knows of a socket that is not watched.
        self.empty.set(false);
        if let Some(session) = &self.session {
            return session.look(|room| self.receive_now(room));
        }
        let looked = self.try_io(Interest::READABLE, || match look(self.as_fd()) {
            Idle::Quiet => Err(io::ErrorKind::WouldBlock.into()),
            found => Ok(found),
        });
        looked.unwrap_or(Idle::Quiet)
    }

    /// Whether an idle connection has seen its end, an error or unexpected bytes.
    pub fn peek_closed(&self) -> bool {
        self.peek() != Idle::Quiet
    }

    /// As [`Socket::peek`], always asking the kernel.
    pub fn peek_now(&self) -> Idle {
        if let Some(session) = &self.session {
            let flags = RecvFlags::DONTWAIT;
            return session.look(|room| Ok(net::recv(self, room, flags)?.0));
        }
        look(self.as_fd())
    }

    /// Runs an operation on the raw descriptor if it may succeed, as far as is known.
    ///
    /// When `operation` gives `WouldBlock`, it will not be tried again before the reactor has been asked.
    pub fn try_io<T>(
        &self,
        interest: Interest,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if let Some(watch) = self.watch.get() {
            return watch.try_io(interest, |_| operation());
        }
        let in_vain = if interest == Interest::READABLE { &self.empty } else { &self.full };
        if in_vain.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = operation();
        in_vain.set(matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock));
        result
    }

    /// Moves up to `wanted` bytes; a short count counts as `WouldBlock` for the next attempt.
    ///
    /// A short count means that the kernel's buffer is empty (or full), and an edge-triggered
    /// reactor will report the next change. The end of the stream is not lost by this: the
    /// reactor keeps it apart from the readiness that is cleared.
    fn transfer(
        &self,
        interest: Interest,
        wanted: usize,
        operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut short = None;
        let result = self.try_io(interest, || {
            let count = operation(self.as_fd())?;
            if 0 < count && count < wanted {
                short = Some(count);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        });
        match short {
            Some(count) => Ok(count),
            None => result,
        }
    }

    /// Its place on the reactor of this thread.
    fn watch(&self) -> io::Result<&sys::Watch> {
        if let Some(watch) = self.watch.get() {
            return Ok(watch);
        }
        // SAFETY: `watch` is dropped before `fd`, on which nothing else is registered, and moves with it.
        let watch = unsafe { sys::watch_stream(self.fd.as_fd()) }?;
        Ok(self.watch.get_or_init(|| watch))
    }

    // Addresses.

    /// The address of the peer. A system call.
    pub fn peer(&self) -> io::Result<Endpoint> {
        let address = net::getpeername(self)?;
        Ok(address.map_or(Endpoint::Unnamed, |address| Endpoint::from_any(&address)))
    }

    /// The address of this end. A system call.
    pub fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::from_any(&net::getsockname(self)?))
    }

    /// Where the client meant to connect before the kernel's NAT redirected it here.
    ///
    /// Source: HAProxy configuration manual, `tcp-request connection set-dst` and `dst`.
    ///
    /// # Errors
    /// `ENOENT` when the connection was not redirected; unsupported on Unix sockets.
    pub fn original_destination(&self) -> io::Result<SocketAddr> {
        let socket = SockRef::from(self);
        let found = match self.local()? {
            Endpoint::Inet(SocketAddr::V4(_)) => socket.original_dst_v4()?,
            Endpoint::Inet(SocketAddr::V6(_)) => socket.original_dst_v6()?,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        found.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    // Options. Those of TCP do nothing on a Unix socket.

    /// Sends small writes at once. Accepted sockets have it from their listener.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.tcp(|fd| sockopt::set_tcp_nodelay(fd, on))
    }

    /// Acknowledges at once (`true`) or lets the kernel delay; it resets itself.
    pub fn set_quickack(&self, on: bool) -> io::Result<()> {
        self.tcp(|fd| sockopt::set_tcp_quickack(fd, on))
    }

    /// Lets the kernel probe the peer of a silent connection.
    pub fn set_keepalive(&self, keepalive: &Keepalive) -> io::Result<()> {
        if self.kind() == SocketKind::Tcp { keepalive.apply(self.as_fd()) } else { Ok(()) }
    }

    /// Ends the connection if sent bytes stay unacknowledged for so long (`tcp-ut`), in ms.
    pub fn set_user_timeout(&self, timeout: Duration) -> io::Result<()> {
        let ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        self.tcp(|fd| sockopt::set_tcp_user_timeout(fd, ms))
    }

    /// Closing throws away what was not sent and resets the connection (`option nolinger`).
    pub fn set_nolinger(&self) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(self, Some(Duration::ZERO))?)
    }

    /// Throws away what has come and was not read: closing with it unread would be a reset. At most 64 KiB, since
    /// somebody may be sending faster.
    pub fn discard_input(&self) {
        let mut buffer = [0; 4096];
        for _ in 0..16 {
            // What cannot be read needs no discarding.
            if !matches!(net::recv(self, &mut buffer, RecvFlags::DONTWAIT), Ok((1.., _))) {
                return;
            }
        }
    }

    /// Lets the connection be closed without the other end noticing (`silent-drop`): no packet at all with CAP_NET_ADMIN,
    /// else a reset that the next router throws away.
    pub fn set_unheard(&self) -> io::Result<()> {
        if crate::sys::set_option(self, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1).is_ok() {
            return Ok(());
        }
        self.set_nolinger()?;
        match self.local()? {
            Endpoint::Inet(SocketAddr::V4(_)) => Ok(sockopt::set_ip_ttl(self, 1)?),
            Endpoint::Inet(SocketAddr::V6(_)) => Ok(sockopt::set_ipv6_unicast_hops(self, Some(1))?),
            _ => Ok(()),
        }
    }

    /// Marks packets (`set-mark`); needs CAP_NET_ADMIN.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        SockRef::from(self).set_mark(mark)
    }

    /// Sets the type of service of packets (`set-tos`), 0 to 255.
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        match self.local()? {
            Endpoint::Inet(SocketAddr::V4(_)) => Ok(sockopt::set_ip_tos(self, tos)?),
            Endpoint::Inet(SocketAddr::V6(_)) => {
                Ok(sockopt::set_ipv6_tclass(self, u32::from(tos))?)
            }
            _ => Ok(()),
        }
    }

    fn tcp(
        &self,
        set: impl FnOnce(BorrowedFd<'_>) -> Result<(), rustix::io::Errno>,
    ) -> io::Result<()> {
        match self.kind() {
            SocketKind::Tcp => Ok(set(self.as_fd())?),
            SocketKind::Unix => Ok(()),
        }
    }

    /// The error the kernel holds for this socket, if any; clears it.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(sockopt::socket_error(self)?.err().map(io::Error::from))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Keepalive {
    pub(crate) fn apply(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        sockopt::set_socket_keepalive(fd, true)?;
        if let Some(idle) = self.idle {
            sockopt::set_tcp_keepidle(fd, idle)?;
        }
        if let Some(interval) = self.interval {
            sockopt::set_tcp_keepintvl(fd, interval)?;
        }
        if let Some(count) = self.count {
            sockopt::set_tcp_keepcnt(fd, count)?;
        }
        Ok(())
    }
}

/// Asks the kernel what an idle descriptor holds, without taking it.
pub fn look(fd: BorrowedFd<'_>) -> Idle {
    let mut byte = [0];
    match net::recv(fd, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((0, _)) => Idle::Closed,
        Ok(_) => Idle::Data,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Idle::Quiet,
        Err(_) => Idle::Closed,
    }
}

/// The room that is made in a buffer that has none left.
const ROOM_LEAST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::block_on;

    #[test]
    fn bytes_and_the_end_pass_both_ways() {
        block_on(async {
            let (a, b) = Socket::pair().unwrap();
            a.write_all(b"hello").await.unwrap();
            a.shutdown_write().unwrap();
            let mut buf = [0; 16];
            assert_eq!(b.read(&mut buf).await.unwrap(), 5);
            assert_eq!(b.read(&mut buf).await.unwrap(), 0);
            b.write_all(b"half-closed").await.unwrap();
            assert_eq!(a.read(&mut buf).await.unwrap(), 11);
            assert_eq!(a.try_read(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        });
    }

    #[test]
    fn an_end_that_came_with_the_last_bytes_is_seen() {
        block_on(async {
            let (a, b) = Socket::pair().unwrap();
            a.write_all(b"x").await.unwrap();
            drop(a);
            b.readable().await.unwrap();
            let mut buf = [0; 16];
            assert_eq!(b.try_read(&mut buf).unwrap(), 1);
            assert_eq!(b.read(&mut buf).await.unwrap(), 0);
        });
    }

    #[test]
    fn nothing_is_heard_of_a_silent_close() {
        block_on(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            accepted.set_nonblocking(true).unwrap();
            let socket = Socket::from_nonblocking(accepted.into(), SocketKind::Tcp);
            socket.set_unheard().unwrap();
            drop(socket);
            client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            // Without CAP_NET_ADMIN there is a reset, which only another machine does not get.
            let heard = io::Read::read(&mut &client, &mut [0; 1]).unwrap_err().kind();
            assert!(matches!(heard, io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionReset));
        });
    }

    #[test]
    fn a_writer_waits_for_room() {
        block_on(async {
            let (a, b) = Socket::pair().unwrap();
            let writer = tokio::task::spawn_local(async move {
                a.write_all(&vec![7; 4 << 20]).await.unwrap();
            });
            let mut buf = vec![0; 65536];
            let mut total = 0;
            loop {
                let count = b.read(&mut buf).await.unwrap();
                if count == 0 {
                    break;
                }
                total += count;
            }
            writer.await.unwrap();
            assert_eq!(total, 4 << 20);
        });
    }

    #[test]
    fn an_idle_connection_tells_what_it_holds() {
        block_on(async {
            let (a, b) = Socket::pair().unwrap();
            assert_eq!((b.peek(), b.peek_now()), (Idle::Quiet, Idle::Quiet));
            a.write_all(b"x").await.unwrap();
            assert_eq!(b.peek_now(), Idle::Data);
            b.readable().await.unwrap();
            assert_eq!(b.peek(), Idle::Data);
            let mut buf = [0; 4];
            assert_eq!(b.try_read(&mut buf).unwrap(), 1);
            assert!(!b.peek_closed());
            drop(a);
            b.readable().await.unwrap();
            assert_eq!(b.peek(), Idle::Closed);
        });
    }

    #[test]
    fn a_socket_moves_between_reactors() {
        let detached = block_on(async {
            let (a, b) = Socket::pair().unwrap();
            a.write_all(b"moved").await.unwrap();
            drop(a);
            b.detach()
        });
        block_on(async {
            let b = detached.attach();
            let mut buf = [0; 16];
            assert_eq!(b.read(&mut buf).await.unwrap(), 5);
        });
    }
}
