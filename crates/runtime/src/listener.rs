//! Accepting connections.
//!
//! A [`Listener`] is one bound socket on one worker's reactor. [`Listener::run`] accepts for ever:
//! in batches, never more than its [`Limit`]s allow, pausing when the process is out of
//! descriptors. Dropping the future stops it, and no accepted connection is lost by that.
//!
//! [`Steering`] turns new connections away from a socket that shares its port, so that it can be
//! closed without resetting anyone.

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;

use crate::bind::kind_of;
use crate::limit::{Limit, Permit};
use crate::socket::{Socket, SocketKind};
use crate::{Endpoint, sys};

/// A listening socket on this thread's reactor.
#[derive(Debug)]
pub struct Listener {
    fd: AsyncFd<Arc<OwnedFd>>,
    kind: SocketKind,
    local: Endpoint,
}

/// A connection that was just accepted. It can move to another worker.
#[derive(Debug)]
pub struct Accepted {
    pub fd: OwnedFd,
    pub kind: SocketKind,
    pub peer: Endpoint,
    /// Its places under the listener's limits; keep them as long as the connection.
    pub permits: Permits,
}

/// One place under each of a listener's limits.
pub type Permits = [Option<Permit>; LIMITS_MAX];

/// A listener has at most this many limits: the process's, its frontend's, its own.
pub const LIMITS_MAX: usize = 3;

/// What a limit on the rate of connections says before each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// There is no such limit.
    Free,
    /// One may come; other tasks get their turn before the next, so that it is counted.
    One,
    /// None before this has passed; they wait in the kernel's queue.
    Rest(Duration),
}

/// Accepting failed for want of something that others may give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// The process has no descriptor left (`ulimit-n`).
    ProcessDescriptors,
    /// The machine has no descriptor left (`fs.file-max`).
    SystemDescriptors,
    /// No memory for a socket.
    Memory,
}

impl Listener {
    /// Registers a bound socket with this thread's reactor.
    ///
    /// # Errors
    /// Those of `epoll_ctl`, or a socket that is neither TCP nor Unix.
    pub fn new(fd: Arc<OwnedFd>) -> io::Result<Self> {
        let kind = kind_of(fd.as_fd())?;
        let local = Endpoint::from_any(&rustix::net::getsockname(&fd)?);
        let fd = sys::watch(fd)?;
        Ok(Self { fd, kind, local })
    }

    /// The address it is bound to.
    pub fn local(&self) -> &Endpoint {
        &self.local
    }

    /// Accepts for ever and hands each connection to `sink`.
    ///
    /// After `batch` connections other tasks get their turn (`tune.maxaccept`). While a limit is
    /// reached nothing is accepted, and the kernel's queue fills; `pace` is asked before each
    /// connection. When descriptors or memory run out, accepting rests for 100 ms; `starved` is
    /// called once until it works again.
    ///
    /// # Errors
    /// The socket is broken or was shut down.
    pub async fn run(
        &self,
        limits: &[Limit],
        batch: usize,
        pace: impl Fn() -> Pace,
        mut sink: impl FnMut(Accepted),
        mut starved: impl FnMut(AcceptFailure),
    ) -> io::Result<()> {
        debug_assert!(limits.len() <= LIMITS_MAX);
        let mut resting = false;
        loop {
            let mut ready = self.fd.readable().await?;
            let mut more = true;
            for _ in 0..batch.max(1) {
                let pace = pace();
                if let Pace::Rest(time) = pace {
                    tokio::time::sleep(time).await;
                    continue;
                }
                let permits = match acquire(limits) {
                    Ok(permits) => permits,
                    Err(full) => {
                        full.room().await;
                        continue;
                    }
                };
                match self.accept_one(permits) {
                    Ok(Some(accepted)) => {
                        resting = false;
                        sink(accepted);
                        if pace == Pace::One {
                            break;
                        }
                    }
                    Ok(None) => {
                        ready.clear_ready();
                        more = false;
                        break;
                    }
                    Err(errno) => {
                        let failure = AcceptFailure::of(errno).ok_or(errno)?;
                        if !resting {
                            resting = true;
                            starved(failure);
                        }
                        tokio::time::sleep(REST).await;
                    }
                }
            }
            if more {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Accepts what is queued now and nothing that comes later. Limits do not count: these
    /// clients were let in already.
    ///
    /// # Errors
    /// The socket is broken, or descriptors ran out.
    pub fn drain(&self, mut sink: impl FnMut(Accepted)) -> io::Result<usize> {
        let mut count = 0;
        while let Some(accepted) = self.accept_one(Permits::default())? {
            sink(accepted);
            count += 1;
        }
        Ok(count)
    }

    /// `Ok(None)` when the queue is empty.
    fn accept_one(&self, permits: Permits) -> Result<Option<Accepted>, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            match acceptfrom_with(&self.fd, flags) {
                Ok((fd, peer)) => {
                    let peer = peer.map_or(Endpoint::Unnamed, |peer| Endpoint::from_any(&peer));
                    return Ok(Some(Accepted { fd, kind: self.kind, peer, permits }));
                }
                Err(Errno::AGAIN) => return Ok(None),
                // A client that went away, or a pending error of the network below: accept(2)
                // asks to treat these as a try again.
                Err(
                    Errno::INTR
                    | Errno::CONNABORTED
                    | Errno::PROTO
                    | Errno::PERM
                    | Errno::NETDOWN
                    | Errno::NOPROTOOPT
                    | Errno::HOSTDOWN
                    | Errno::NONET
                    | Errno::HOSTUNREACH
                    | Errno::NETUNREACH,
                ) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Accepted {
    /// The connection as a socket of this thread.
    pub fn into_socket(self) -> (Socket, Endpoint, Permits) {
        (Socket::from_nonblocking(self.fd, self.kind), self.peer, self.permits)
    }
}

impl fmt::Display for AcceptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProcessDescriptors => "this process has no descriptor left (`ulimit-n`)",
            Self::SystemDescriptors => "this machine has no descriptor left (fs.file-max)",
            Self::Memory => "no memory for a socket",
        })
    }
}

impl AcceptFailure {
    fn of(errno: Errno) -> Option<Self> {
        match errno {
            Errno::MFILE => Some(Self::ProcessDescriptors),
            Errno::NFILE => Some(Self::SystemDescriptors),
            Errno::NOMEM | Errno::NOBUFS => Some(Self::Memory),
            _ => None,
        }
    }
}

/// Takes a place under every limit, or gives the first that is full.
fn acquire(limits: &[Limit]) -> Result<Permits, &Limit> {
    let mut permits = Permits::default();
    for (permit, limit) in permits.iter_mut().zip(limits) {
        *permit = Some(limit.try_acquire().ok_or(limit)?);
    }
    Ok(permits)
}

/// Turns new connections of a reuseport group towards some of its sockets.
///
/// Sockets of a group are counted in the order in which they began to listen; when one is closed,
/// the last takes its number. The choice belongs to the group and outlives the process that made
/// it: a process that leaves steers towards the sockets that began to listen after its own, and
/// the process that stays [releases](Steering::release) the group once the other is gone.
#[derive(Debug)]
pub struct Steering(());

impl Steering {
    /// From now on only the sockets `keep` of the group get new connections, chosen at random.
    ///
    /// Whoever was queued on another one stays there: [`Listener::drain`] it, then close it. A
    /// number that is out of range leaves the choice to the kernel's hash.
    ///
    /// # Errors
    /// The socket shares no port, or the kernel has no such call (before 4.5).
    pub fn towards(group: impl AsFd, keep: Range<u16>) -> io::Result<()> {
        let count = u32::from(keep.end.saturating_sub(keep.start));
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no socket is kept"));
        }
        let op = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
        let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
        let program = [
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, random),
            op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, count),
            op(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K, u32::from(keep.start)),
            op(libc::BPF_RET | BPF_A, 0),
        ];
        sys::attach_reuseport_program(group, &program)
    }

    /// Leaves the choice to the kernel's hash again.
    pub fn release(group: impl AsFd) -> io::Result<()> {
        sys::set_option(group, libc::SOL_SOCKET, libc::SO_DETACH_REUSEPORT_BPF, 0)
    }
}

/// How long accepting rests when descriptors run out.
const REST: Duration = Duration::from_millis(100);

/// The accumulator as a return value (`linux/filter.h`; the libc crate leaves it out).
const BPF_A: u32 = 0x10;

#[cfg(test)]
mod tests;
