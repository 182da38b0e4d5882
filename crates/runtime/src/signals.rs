//! The signals that the process is spoken to with.
//!
//! [`Signals::open`] is called first in `main`, before any thread exists: it blocks the signals in
//! this thread, which all later threads inherit, and receives them through a descriptor. The
//! control thread waits for them with [`Signals::next`], a parent without a reactor with `poll`
//! and [`Signals::try_next`]. A program that is started from here must unblock them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

use crate::sys;

/// A signal that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// TERM: stop at once.
    Terminate,
    /// INT: stop at once.
    Interrupt,
    /// USR1: stop accepting and finish what is in flight.
    Finish,
    /// USR2: reload.
    Reload,
    /// HUP: reload under `-W`, else log the states of the servers.
    Hangup,
    /// TTOU: stop listening, a successor wants the addresses.
    Pause,
    /// TTIN: listen again, it could not use them.
    Resume,
}

impl Signal {
    pub(crate) fn number(self) -> rustix::process::Signal {
        match self {
            Self::Terminate => rustix::process::Signal::TERM,
            Self::Interrupt => rustix::process::Signal::INT,
            Self::Finish => rustix::process::Signal::USR1,
            Self::Reload => rustix::process::Signal::USR2,
            Self::Hangup => rustix::process::Signal::HUP,
            Self::Pause => rustix::process::Signal::TTOU,
            Self::Resume => rustix::process::Signal::TTIN,
        }
    }
}

/// The open descriptor that signals come through.
#[derive(Debug)]
pub struct Signals(Arc<OwnedFd>);

/// Signals on this thread's reactor.
#[derive(Debug)]
pub struct SignalStream(AsyncFd<Arc<OwnedFd>>);

impl Signals {
    /// Blocks the signals in [`Signal`] and ignores PIPE.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn open() -> io::Result<Self> {
        // SAFETY: SIG_IGN installs no code.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        let set = signal_set();
        // SAFETY: the set is initialized, and no old mask is asked for.
        let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        // SAFETY: -1 asks for a new descriptor, and the set is initialized.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it for us.
        Ok(Self(Arc::new(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// The next signal that has come, if any.
    pub fn try_next(&self) -> io::Result<Option<Signal>> {
        try_next(&self.0)
    }

    /// Signals on this thread's reactor.
    pub fn stream(&self) -> io::Result<SignalStream> {
        Ok(SignalStream(sys::watch(self.0.clone())?))
    }
}

impl SignalStream {
    /// Waits for the next signal.
    pub async fn next(&self) -> io::Result<Signal> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Some(signal) = try_next(self.0.get_ref())? {
                return Ok(signal);
            }
            ready.clear_ready();
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Ends this process by the signal that it was told to end with, as if it had never been received: who started it sees
/// what ended it. Returns the exit status to end with where the kernel spares it, as the first process of a container.
pub fn end_by(signal: Signal) -> u8 {
    let signal = signal.number();
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_DFL) };
    // A process may always signal itself.
    let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
    unblock();
    u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)
}

/// Lets the signals through again in this process, which is about to run another program.
pub fn unblock() {
    let set = signal_set();
    // SAFETY: the set is initialized, and no old mask is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) };
}

fn try_next(fd: &OwnedFd) -> io::Result<Option<Signal>> {
    loop {
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(fd, &mut info) {
            // `ssi_signo` comes first; reads give whole records only.
            Ok(count) if count == info.len() => {
                let number = i32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
                if let Some((_, signal)) = SIGNALS.iter().find(|(known, _)| *known == number) {
                    return Ok(Some(*signal));
                }
            }
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn signal_set() -> libc::sigset_t {
    // SAFETY: a set of signals is plain bits, for which zeroes are a value; `sigemptyset` gives
    // it the value it should have, and the numbers added exist.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for (number, _) in SIGNALS {
            libc::sigaddset(&raw mut set, number);
        }
        set
    }
}

const SIGNALS: [(i32, Signal); 7] = [
    (libc::SIGTERM, Signal::Terminate),
    (libc::SIGINT, Signal::Interrupt),
    (libc::SIGUSR1, Signal::Finish),
    (libc::SIGUSR2, Signal::Reload),
    (libc::SIGHUP, Signal::Hangup),
    (libc::SIGTTOU, Signal::Pause),
    (libc::SIGTTIN, Signal::Resume),
];

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::block_on;

    #[test]
    fn signals_come_through_the_descriptor() {
        let signals = Signals::open().unwrap();
        let raise = |number| {
            // SAFETY: sent to this thread, in which `open` has blocked it.
            unsafe { libc::pthread_kill(libc::pthread_self(), number) };
        };
        assert_eq!(signals.try_next().unwrap(), None);
        raise(libc::SIGUSR1);
        assert_eq!(signals.try_next().unwrap(), Some(Signal::Finish));
        raise(libc::SIGHUP);
        raise(libc::SIGTTOU);
        block_on(async {
            let stream = signals.stream().unwrap();
            let two = [stream.next().await.unwrap(), stream.next().await.unwrap()];
            assert!(two.contains(&Signal::Hangup) && two.contains(&Signal::Pause));
        });
        assert_eq!(signals.try_next().unwrap(), None);
        unblock();
    }
}
