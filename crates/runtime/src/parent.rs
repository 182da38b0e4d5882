//! The privileged parent and the one serving process behind it.
//!
//! [`split`] forks, before any thread exists. The parent loads and checks a configuration through
//! [`crate::Recording`] and sends the record ([`ToChild::Load`]); the serving process loads the
//! same through [`crate::Replay`], after it has given up its privileges, and says
//! [`FromChild::Ready`] or why not. It can ask for nothing. No traffic passes through the parent.
//!
//! If the serving process dies, the parent reads the end of the channel and exits with its
//! status, so that whoever started it starts it again. If the parent dies, the kernel tells the
//! serving process with TERM, and its channel ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::PidfdFlags;
use tokio::io::unix::AsyncFd;

use self::channel::{Channel, Frame};
use crate::files::Recorded;
use crate::process::{self, Fork, Pid};
use crate::signals::{Signal, Signals};
use crate::sys;

mod channel;

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Role {
    Parent(ParentLink),
    Child(ChildLink),
}

/// What the parent tells the serving process.
#[derive(Debug)]
pub enum ToChild {
    /// Load this configuration: the first, or a new one.
    Load(Recorded),
    /// Stop at once.
    Stop,
    /// Stop accepting, finish what is in flight, then stop.
    Finish,
    /// Log the states of the servers.
    LogServerStates,
    /// Stop listening: a successor wants the addresses.
    Pause,
    /// Listen again.
    Resume,
    /// A reload failed before there was anything to send; the parent has told why.
    ReloadFailed,
}

/// What the serving process tells the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromChild {
    /// The configuration that was sent last serves.
    Ready,
    /// It does not, for this reason; the one before still does, if there was one.
    Refused(String),
    /// A reload is asked for from within (the runtime API).
    ReloadWanted,
}

/// The parent's end.
#[derive(Debug)]
pub struct ParentLink {
    channel: Channel,
    child: Pid,
    /// Readable once the serving process has ended.
    end: OwnedFd,
    /// The serving process has closed its end of the channel, which it does at the latest when it
    /// ends.
    closed: bool,
}

/// The serving process's end.
#[derive(Debug)]
pub struct ChildLink {
    channel: Channel,
}

/// The serving process's end on its control thread's reactor.
#[derive(Debug)]
pub struct ChildStream {
    watch: AsyncFd<Arc<OwnedFd>>,
    channel: Channel,
}

/// What a parent waits for.
#[derive(Debug)]
pub enum ParentEvent {
    Signal(Signal),
    Message(FromChild),
    /// The serving process has ended with this status (128 and more: killed by a signal).
    Ended(i32),
    /// The time is up.
    TimedOut,
}

/// Forks the serving process.
///
/// # Errors
/// Threads exist already, or the system has no room.
pub fn split() -> io::Result<Role> {
    let (parent, child) = Channel::pair()?;
    let parent_pid = rustix::process::getpid();
    match process::fork()? {
        Fork::Parent(child) => {
            let end = rustix::process::pidfd_open(child, PidfdFlags::empty())?;
            Ok(Role::Parent(ParentLink { channel: parent, child, end, closed: false }))
        }
        Fork::Child => {
            drop(parent);
            follow_parent()?;
            if rustix::process::getppid() != Some(parent_pid) {
                // It died before the kernel was asked to tell.
                std::process::exit(1);
            }
            Ok(Role::Child(ChildLink { channel: child }))
        }
    }
}

/// Asks the kernel for TERM when the parent dies. Changing user forgets it, so the serving process
/// asks again afterwards; the end of the channel tells it in any case.
pub fn follow_parent() -> io::Result<()> {
    let signal = Some(rustix::process::Signal::TERM);
    Ok(rustix::process::set_parent_process_death_signal(signal)?)
}

impl ParentLink {
    /// The number of the serving process.
    pub fn child(&self) -> Pid {
        self.child
    }

    /// Tells the serving process something, waiting for it to read.
    ///
    /// # Errors
    /// It has ended.
    pub fn send(&mut self, message: ToChild) -> io::Result<()> {
        self.channel.send(message.into_frame())
    }

    /// Waits for a signal, a message or the end of the serving process.
    ///
    /// # Errors
    /// The kernel's, or a message that makes no sense: the serving process is not to be trusted
    /// then.
    pub fn wait(
        &mut self,
        signals: &Signals,
        timeout: Option<Duration>,
    ) -> io::Result<ParentEvent> {
        use ParentEvent::Message;
        let end = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(signal) = signals.try_next()? {
                return Ok(ParentEvent::Signal(signal));
            }
            if !self.closed {
                match self.channel.try_receive() {
                    Ok(Some(frame)) => return FromChild::from_frame(frame).map(Message),
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        self.closed = true;
                    }
                    Err(error) => return Err(error),
                }
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let expired = left.is_some_and(|left| left.is_zero());
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            // The channel ends with the process, so that all it said is read before its end.
            let channel = if self.closed { self.end.as_fd() } else { self.channel.as_fd() };
            let mut fds = [
                PollFd::new(signals, PollFlags::IN),
                PollFd::from_borrowed_fd(channel, PollFlags::IN),
            ];
            let count = match poll(&mut fds, left.as_ref()) {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if self.closed && !fds[1].revents().is_empty() {
                return process::wait(self.child).map(ParentEvent::Ended);
            }
            if expired && count == 0 {
                return Ok(ParentEvent::TimedOut);
            }
        }
    }
}

impl ChildLink {
    /// Waits for the next message; `None` when the parent is gone.
    pub fn receive(&mut self) -> io::Result<Option<ToChild>> {
        loop {
            match self.channel.try_receive() {
                Ok(Some(frame)) => return ToChild::from_frame(frame).map(Some),
                Ok(None) => self.channel.wait(PollFlags::IN)?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    pub fn send(&mut self, message: &FromChild) -> io::Result<()> {
        self.channel.send(message.to_frame())
    }

    /// Goes on from the control thread's reactor.
    pub fn into_stream(self) -> io::Result<ChildStream> {
        Ok(ChildStream { watch: sys::watch(self.channel.shared())?, channel: self.channel })
    }
}

impl ChildStream {
    /// Waits for the next message; `None` when the parent is gone. Dropping the future loses
    /// nothing.
    pub async fn receive(&mut self) -> io::Result<Option<ToChild>> {
        loop {
            match self.channel.try_receive() {
                Ok(Some(frame)) => return ToChild::from_frame(frame).map(Some),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
            let mut ready = self.watch.readable().await?;
            // Look again after clearing, so that nothing that came between is missed.
            ready.clear_ready();
            if let Some(frame) = match self.channel.try_receive() {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                received => received?,
            } {
                return ToChild::from_frame(frame).map(Some);
            }
        }
    }

    /// Tells the parent something. It reads promptly, so this does not wait for long.
    pub fn send(&mut self, message: &FromChild) -> io::Result<()> {
        self.channel.send(message.to_frame())
    }
}

impl ToChild {
    fn into_frame(self) -> Frame {
        match self {
            Self::Load(recorded) => {
                let (body, fds) = recorded.into_message();
                Frame { kind: 1, body, fds }
            }
            Self::Stop => Frame::empty(2),
            Self::Finish => Frame::empty(3),
            Self::LogServerStates => Frame::empty(4),
            Self::ReloadFailed => Frame::empty(5),
            Self::Pause => Frame::empty(6),
            Self::Resume => Frame::empty(7),
        }
    }

    fn from_frame(frame: Frame) -> io::Result<Self> {
        match frame.kind {
            1 => Recorded::from_message(&frame.body, frame.fds)
                .map(Self::Load)
                .ok_or_else(|| io::ErrorKind::InvalidData.into()),
            2 => Ok(Self::Stop),
            3 => Ok(Self::Finish),
            4 => Ok(Self::LogServerStates),
            5 => Ok(Self::ReloadFailed),
            6 => Ok(Self::Pause),
            7 => Ok(Self::Resume),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl FromChild {
    fn to_frame(&self) -> Frame {
        match self {
            Self::Ready => Frame::empty(1),
            Self::Refused(why) => {
                Frame { kind: 2, body: why.clone().into_bytes(), fds: Vec::new() }
            }
            Self::ReloadWanted => Frame::empty(3),
        }
    }

    fn from_frame(frame: Frame) -> io::Result<Self> {
        match frame.kind {
            1 => Ok(Self::Ready),
            2 => Ok(Self::Refused(String::from_utf8_lossy(&frame.body).into_owned())),
            3 => Ok(Self::ReloadWanted),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl AsFd for ParentLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bind::{BindAddress, BindSpec, Neighbor};
    use crate::files::{Direct, Files, Recording, Replay};
    use crate::workers::block_on;
    use std::path::Path;

    #[test]
    fn a_configuration_crosses_with_many_sockets() {
        let (parent, child) = Channel::pair().unwrap();
        let specs: Vec<_> = (1..=5)
            .map(|host| format!("127.0.0.{host}:0").parse().unwrap())
            .map(|address| BindSpec::new(BindAddress::Inet(address)))
            .collect();
        let recording = Recording::new(Direct::new(Neighbor::Refused));
        let content = recording.read(Path::new("src/parent.rs")).unwrap();
        for spec in &specs {
            drop(recording.bind(spec, 100).unwrap());
        }
        let sender = std::thread::spawn(move || {
            let mut parent = parent;
            parent.send(ToChild::Load(recording.into_recorded()).into_frame()).unwrap();
            parent.send(ToChild::Finish.into_frame()).unwrap();
            // Keeps the end open until the other has answered.
            loop {
                if let Some(frame) = parent.try_receive().unwrap() {
                    return FromChild::from_frame(frame).unwrap();
                }
                parent.wait(PollFlags::IN).unwrap();
            }
        });
        block_on(async {
            let mut link = ChildLink { channel: child }.into_stream().unwrap();
            let Some(ToChild::Load(recorded)) = link.receive().await.unwrap() else {
                panic!("not a configuration")
            };
            let replay = Replay::new(recorded);
            assert!(replay.read(Path::new("src/parent.rs")).unwrap() == content);
            for spec in &specs {
                assert_eq!(replay.bind(spec, 100).unwrap().len(), 100);
            }
            assert!(matches!(link.receive().await.unwrap(), Some(ToChild::Finish)));
            link.send(&FromChild::Refused("no".into())).unwrap();
            assert!(link.receive().await.unwrap().is_none());
        });
        assert_eq!(sender.join().unwrap(), FromChild::Refused("no".into()));
    }

    #[test]
    fn a_blocking_child_sees_messages_and_the_end() {
        let (mut parent, child) = Channel::pair().unwrap();
        let mut link = ChildLink { channel: child };
        parent.send(ToChild::LogServerStates.into_frame()).unwrap();
        assert!(matches!(link.receive().unwrap(), Some(ToChild::LogServerStates)));
        drop(parent);
        assert!(link.receive().unwrap().is_none());
    }

    #[test]
    fn nonsense_is_refused() {
        let (mut parent, child) = Channel::pair().unwrap();
        let mut link = ChildLink { channel: child };
        parent.send(Frame::empty(99)).unwrap();
        assert_eq!(link.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
