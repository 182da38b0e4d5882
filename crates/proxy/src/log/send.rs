//! Sending lines without ever waiting.
//!
//! Each thread has a socket per family and sends each line with one call that returns at once; what cannot be taken
//! just then is dropped and counted. Datagram sockets are not connected, so a syslog daemon may come, go and come back,
//! and a path is looked up anew for each line.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::Level;
use super::date::Stamp;
use super::notice;
use super::target::{Destination, LogTarget, Origin};

/// Lines that no target took since the process started.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Says on standard error how many lines were dropped since the last call, if any. For the control thread, now and then:
/// a worker must not wait for standard error.
pub fn report_dropped_lines() {
    static TOLD: AtomicU64 = AtomicU64::new(0);

    let dropped = dropped_lines();
    let told = TOLD.swap(dropped, Ordering::Relaxed);
    if dropped > told {
        notice::warning(format_args!("dropped {} log lines", dropped - told));
    }
}

/// Sends a message to each target that takes its level.
pub(crate) fn to_all<'t>(
    targets: impl IntoIterator<Item = &'t LogTarget>,
    level: Level,
    origin: &Origin<'_>,
    message: &[u8],
) {
    let now = Stamp::now();
    OUTLET.with_borrow_mut(|outlet| {
        let Outlet { sockets, line } = outlet;
        for (index, target) in targets.into_iter().enumerate() {
            if !target.takes(level) {
                continue;
            }
            target.write_line(level, origin, now, message, line);
            if let Err(error) = sockets.send(target, line) {
                DROPPED.fetch_add(1, Ordering::Relaxed);
                report(target, index, &error);
            }
        }
    });
}

/// Says once for each target that it cannot be reached; a target that is merely busy is only counted.
fn report(target: &LogTarget, index: usize, error: &io::Error) {
    if error.kind() == io::ErrorKind::WouldBlock || target.reported.swap(true, Ordering::Relaxed) {
        return;
    }
    notice::alert(format_args!(
        "sendmsg()/writev() failed in logger #{}: {} (errno={})",
        index + 1,
        notice::text_of(error),
        error.raw_os_error().unwrap_or(0)
    ));
}

/// What a thread sends with.
#[derive(Default)]
struct Outlet {
    sockets: Sockets,
    /// The line being made; kept for its capacity, which no line exceeds by much.
    line: Vec<u8>,
}

#[derive(Default)]
struct Sockets {
    inet: Option<UdpSocket>,
    inet6: Option<UdpSocket>,
    unix: Option<UnixDatagram>,
}

impl Sockets {
    fn send(&mut self, target: &LogTarget, line: &[u8]) -> io::Result<()> {
        match &target.destination {
            Destination::Udp(to) => self.udp(to)?.send_to(line, to).map(drop),
            Destination::Unix(path) => self.unix()?.send_to(line, path).map(drop),
            Destination::Abstract(name) => {
                let to = UnixAddr::from_abstract_name(name)?;
                self.unix()?.send_to_addr(line, &to).map(drop)
            }
            Destination::Descriptor(number) => {
                let descriptor = target.descriptor.get_or_init(|| open(*number).ok());
                let closed =
                    || io::Error::from_raw_os_error(rustix::io::Errno::BADF.raw_os_error());
                write(descriptor.as_ref().ok_or_else(closed)?, line)
            }
        }
    }

    fn udp(&mut self, to: &SocketAddr) -> io::Result<&UdpSocket> {
        let (slot, any) = match to {
            SocketAddr::V4(_) => (&mut self.inet, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (&mut self.inet6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        opened(slot, || {
            let socket = UdpSocket::bind(any)?;
            socket.set_nonblocking(true)?;
            // Nobody reads what strangers send here; the kernel makes of it the least it allows.
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 0)?;
            Ok(socket)
        })
    }

    fn unix(&mut self) -> io::Result<&UnixDatagram> {
        opened(&mut self.unix, || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
    }
}

fn opened<S>(slot: &mut Option<S>, open: impl FnOnce() -> io::Result<S>) -> io::Result<&S> {
    Ok(match slot {
        Some(socket) => socket,
        None => slot.insert(open()?),
    })
}

/// A descriptor of our own for one that was open at the start, set so that writing never waits.
///
/// A terminal is left as it is, since the mode would stay with the shell after us; [`write`] asks it before each line.
fn open(number: RawFd) -> io::Result<OwnedFd> {
    let descriptor = telamon_runtime::descriptor::duplicate(number)?;
    let kind = File::from(descriptor.try_clone()?).metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        let flags = fcntl_getfl(&descriptor)?;
        fcntl_setfl(&descriptor, flags | OFlags::NONBLOCK)?;
    }
    Ok(descriptor)
}

/// Writes a line at once or not at all, as far as the kernel allows: a pipe may take a part of a line longer than 4096
/// bytes.
fn write(descriptor: &OwnedFd, line: &[u8]) -> io::Result<()> {
    /// Lines of several threads do not mix in a file or on a terminal.
    static WRITING: Mutex<()> = Mutex::new(());

    let _writing = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if descriptor.is_terminal() && !writable(descriptor)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let written = rustix::io::write(descriptor, line)?;
    if written < line.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}

fn writable(descriptor: &impl AsFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(descriptor, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut asked, Some(&now))? > 0)
}

thread_local! {
    static OUTLET: RefCell<Outlet> = RefCell::default();
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::Facility;

    const ORIGIN: Origin<'static> =
        Origin { tag: "t", hostname: None, pid: 7, structured_data: b"" };

    fn target(destination: Destination) -> LogTarget {
        let mut target = LogTarget::new(destination, Facility::from_name("local0").unwrap());
        target.format = Some(super::super::HeaderFormat::Short);
        target
    }

    #[test]
    fn datagrams_arrive_also_after_the_receiver_came_back() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let udp = target(Destination::Udp(receiver.local_addr().unwrap()));
        let directory = std::env::temp_dir().join(format!("telamon-log-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("log");
        let unix = target(Destination::Unix(path.clone()));
        let mut buffer = [0; 100];
        for round in 0..2 {
            let before = dropped_lines();
            to_all([&unix], Level::Info, &ORIGIN, b"nobody there");
            assert!(dropped_lines() > before, "round {round}");
            let local = UnixDatagram::bind(&path).unwrap();
            to_all([&unix, &udp], Level::Info, &ORIGIN, b"hello");
            let received = local.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..received], b"<6>hello\n");
            let received = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..received], b"<6>hello\n");
            drop(local);
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn a_full_pipe_drops_lines_and_does_not_wait() {
        use std::os::fd::AsRawFd as _;

        let (reader, writer) = io::pipe().unwrap();
        let pipe = target(Destination::Descriptor(writer.as_raw_fd()));
        let before = dropped_lines();
        for _ in 0..100 {
            to_all([&pipe], Level::Info, &ORIGIN, &[b'x'; 1000]);
        }
        assert!(dropped_lines() >= before + 20, "a pipe holds 64 KiB");
        drop((reader, writer));
    }
}
