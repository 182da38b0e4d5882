//! What the process does to itself at start-up: user, group and chroot, limits, pid file, going
//! into the background, and telling systemd.
//!
//! Everything here is called by `bin` on the main thread before workers exist, in this order where
//! several are asked for: [`raise_descriptor_limit`], [`limit_memory`], [`daemonize`],
//! [`write_pid_file`], [`Privileges::drop_to`].

use std::ffi::CString;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::files::UserIds;
use crate::signals::Signal;

mod notify;

pub use notify::Notify;

/// What to give up once everything is bound (`user`, `group`, `uid`, `gid`, `chroot`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub chroot: Option<PathBuf>,
}

impl Privileges {
    /// Whether anything is to be given up.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Gives them up, for good.
    ///
    /// Also promises the kernel never to gain any through a set-uid program, and loads the time
    /// zone first, whose file is out of reach afterwards.
    ///
    /// # Errors
    /// Which step failed and why; the process must end then.
    pub fn drop_to(&self) -> Result<(), PrivilegeError> {
        let step = |step: &'static str| move |error: io::Error| PrivilegeError { step, error };
        crate::local_time::utc_offset_seconds(0);
        if let Some(root) = &self.chroot {
            rustix::process::chroot(root).map_err(io::Error::from).map_err(step("chroot"))?;
            std::env::set_current_dir("/").map_err(step("chdir"))?;
        }
        // Groups first: without the user's privileges they could not be changed any more. Each
        // call goes through libc, which changes all threads and not only this one.
        if self.gid.is_some() || self.uid.is_some() {
            // SAFETY: a count of 0 reads nothing behind the pointer.
            let result = unsafe { libc::setgroups(0, std::ptr::null()) };
            // Who is no superuser cannot drop groups, and has none to drop by being root.
            if result != 0 && rustix::process::geteuid().is_root() {
                return Err(step("setgroups")(io::Error::last_os_error()));
            }
        }
        if let Some(gid) = self.gid {
            // SAFETY: takes a number.
            check(unsafe { libc::setgid(gid) }).map_err(step("setgid"))?;
        }
        if let Some(uid) = self.uid {
            // SAFETY: takes a number.
            check(unsafe { libc::setuid(uid) }).map_err(step("setuid"))?;
        }
        if !self.is_empty() {
            rustix::thread::set_no_new_privs(true)
                .map_err(io::Error::from)
                .map_err(step("no_new_privs"))?;
        }
        Ok(())
    }
}

/// A step of giving up privileges that failed.
#[derive(Debug)]
pub struct PrivilegeError {
    pub step: &'static str,
    pub error: io::Error,
}

/// Finds a user by name.
///
/// # Errors
/// `NotFound` when there is none.
pub fn find_user(name: &str) -> io::Result<UserIds> {
    let name = c_string(name)?;
    with_lookup_buffer(|buffer| {
        // SAFETY: all pointers are valid for the call, `passwd` is plain data for which zeroes are
        // a value, and only its numbers are used, which do not point into the buffer.
        unsafe {
            let mut entry: libc::passwd = std::mem::zeroed();
            let mut found = std::ptr::null_mut();
            let (start, len) = (buffer.as_mut_ptr().cast(), buffer.len());
            let error = libc::getpwnam_r(name.as_ptr(), &raw mut entry, start, len, &raw mut found);
            let ids = UserIds { uid: entry.pw_uid, gid: entry.pw_gid };
            (error, (!found.is_null()).then_some(ids))
        }
    })
}

/// Finds a group by name.
///
/// # Errors
/// `NotFound` when there is none.
pub fn find_group(name: &str) -> io::Result<u32> {
    let name = c_string(name)?;
    with_lookup_buffer(|buffer| {
        // SAFETY: as in `find_user`.
        unsafe {
            let mut entry: libc::group = std::mem::zeroed();
            let mut found = std::ptr::null_mut();
            let (start, len) = (buffer.as_mut_ptr().cast(), buffer.len());
            let error = libc::getgrnam_r(name.as_ptr(), &raw mut entry, start, len, &raw mut found);
            (error, (!found.is_null()).then_some(entry.gr_gid))
        }
    })
}

/// Calls a `get…nam_r` with a buffer that grows until the entry fits.
fn with_lookup_buffer<T>(mut call: impl FnMut(&mut [u8]) -> (i32, Option<T>)) -> io::Result<T> {
    let mut buffer = vec![0; 4096];
    loop {
        match call(&mut buffer) {
            (_, Some(found)) => return Ok(found),
            (libc::ERANGE, None) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            (libc::EINTR, None) => {}
            // What an absent name gives differs between name services; getpwnam(3) lists these.
            (0 | libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM, None) => {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no such name"));
            }
            (error, None) => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// What the descriptors of the process go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorNeeds {
    /// All that does not grow with connections: listening sockets, reactors, logs, health checks.
    pub fixed: u64,
    /// Two each (`maxpipes`).
    pub pipes: u64,
}

impl DescriptorNeeds {
    /// Descriptors for `maxconn` connections: one on each side.
    pub fn for_connections(&self, maxconn: u64) -> u64 {
        self.fixed.saturating_add(2 * self.pipes).saturating_add(maxconn.saturating_mul(2))
    }

    /// The largest `maxconn` that fits under `limit` descriptors.
    pub fn maxconn_within(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.for_connections(0)) / 2
    }
}

/// The descriptors this process may open now, and those it may raise that to.
pub fn descriptor_limits() -> (u64, u64) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}

/// Raises the limit of descriptors to `wanted`, the hard one too if that is permitted.
///
/// Never lowers it.
///
/// # Errors
/// The number that is allowed; the limit has been raised to it.
pub fn raise_descriptor_limit(wanted: u64) -> Result<(), DescriptorShortage> {
    let (soft, hard) = descriptor_limits();
    if soft >= wanted {
        return Ok(());
    }
    let set = |soft: u64, hard: u64| {
        let finite = |limit: u64| (limit != u64::MAX).then_some(limit);
        let limit = Rlimit { current: finite(soft), maximum: finite(hard) };
        setrlimit(Resource::Nofile, limit)
    };
    if set(wanted, hard.max(wanted)).is_ok() {
        return Ok(());
    }
    let allowed = if set(hard, hard).is_ok() { hard } else { soft };
    Err(DescriptorShortage { wanted, allowed })
}

/// Fewer descriptors are allowed than needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorShortage {
    pub wanted: u64,
    pub allowed: u64,
}

/// Limits the memory of this process (`-m`), in MiB of private writable memory.
pub fn limit_memory(megabytes: u64) -> io::Result<()> {
    let bytes = Some(megabytes.saturating_mul(1 << 20));
    // Not the address space, much of which an allocator reserves and never uses.
    Ok(setrlimit(Resource::Data, Rlimit { current: bytes, maximum: bytes })?)
}

/// Lets the kernel write a core file although privileges were dropped (`set-dumpable`).
pub fn set_dumpable() -> io::Result<()> {
    let behavior = rustix::process::DumpableBehavior::Dumpable;
    rustix::process::set_dumpable_behavior(behavior)?;
    let unlimited = Rlimit { current: None, maximum: None };
    // Who may not raise the hard limit gets what the limit allows.
    Ok(setrlimit(Resource::Core, unlimited).or_else(|_| {
        let maximum = getrlimit(Resource::Core).maximum;
        setrlimit(Resource::Core, Rlimit { current: maximum, maximum })
    })?)
}

/// Writes this process's number, and a line feed, to a file (`pidfile`, `-p`).
pub fn write_pid_file(path: &Path) -> io::Result<()> {
    std::fs::write(path, format!("{}\n", std::process::id()))
}

/// The name of this machine.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The end of [`daemonize`] in the background process.
#[derive(Debug)]
#[must_use = "the foreground process waits for it"]
pub struct Background {
    foreground: std::io::PipeWriter,
    /// `/dev/null`, opened while it can be: a chroot may have none.
    null: OwnedFd,
}

/// Goes on in the background (`-D`, `daemon`). The process that was started stays until
/// [`Background::ready`] and then exits with 0; if the background process ends before, it exits
/// with that one's status.
///
/// # Errors
/// Threads exist already, or the system has no room for a process.
pub fn daemonize() -> io::Result<Background> {
    let (mut reader, writer) = io::pipe()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    match fork()? {
        Fork::Parent(child) => {
            drop(writer);
            let mut word = [0];
            let ready = matches!(reader.read(&mut word), Ok(1));
            std::process::exit(if ready { 0 } else { wait(child)? })
        }
        Fork::Child => {
            drop(reader);
            rustix::process::setsid()?;
            Ok(Background { foreground: writer, null: null.into() })
        }
    }
}

impl Background {
    /// Lets the foreground process exit, and gives up its terminal.
    ///
    /// # Errors
    /// Those of `dup2` and `write`.
    pub fn ready(mut self) -> io::Result<()> {
        self.give_up_terminal()?;
        self.foreground.write_all(b"1")
    }

    /// Gives up the terminal, for a process that shares it with the one that says
    /// [`ready`](Self::ready): whoever reads what the foreground process wrote sees its end.
    ///
    /// # Errors
    /// Those of `dup2`.
    pub fn follow(self) -> io::Result<()> {
        self.give_up_terminal()
    }

    fn give_up_terminal(&self) -> io::Result<()> {
        rustix::stdio::dup2_stdin(&self.null)?;
        rustix::stdio::dup2_stdout(&self.null)?;
        rustix::stdio::dup2_stderr(&self.null)?;
        Ok(())
    }
}

/// The number of a process of ours.
pub use rustix::process::Pid;

pub(crate) enum Fork {
    Parent(Pid),
    Child,
}

/// Splits the process in two.
///
/// # Errors
/// `ResourceBusy` when threads exist: what they hold would be held for ever in the child.
pub(crate) fn fork() -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "threads exist already"));
    }
    // SAFETY: no other thread exists, so that every lock and all memory is as this thread knows
    // it, in both processes.
    let pid = check(unsafe { libc::fork() })?;
    Ok(Pid::from_raw(pid).map_or(Fork::Child, Fork::Parent))
}

/// Waits for a child to end and gives its exit status, 128 and the signal's number if killed.
pub(crate) fn wait(child: Pid) -> io::Result<i32> {
    let options = rustix::process::WaitOptions::empty();
    loop {
        match rustix::process::waitpid(Some(child), options) {
            Ok(Some((_, status))) => {
                if let Some(code) = status.exit_status() {
                    return Ok(code);
                }
                if let Some(signal) = status.terminating_signal() {
                    return Ok(128 + signal);
                }
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn c_string(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::Error::new(io::ErrorKind::NotFound, "no such name"))
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.step, self.error)
    }
}

impl std::error::Error for PrivilegeError {}

impl fmt::Display for DescriptorShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} descriptors are needed, {} allowed", self.wanted, self.allowed)
    }
}

impl std::error::Error for DescriptorShortage {}

/// Sends a process the signal that means `what` to Telamon and HAProxy alike.
///
/// # Errors
/// There is no such process, or it is another user's.
pub fn signal(pid: u32, what: Signal) -> io::Result<()> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(raw, what.number())?)
}

/// Whether there is such a process, whoever's it is; asked of the kernel, since there may be no `/proc` (`chroot`).
pub fn is_alive(pid: u32) -> bool {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let asked = raw.map(rustix::process::test_kill_process);
    matches!(asked, Some(Ok(()) | Err(rustix::io::Errno::PERM)))
}

/// Ends a process at once.
///
/// # Errors
/// As [`signal`].
pub fn kill(pid: Pid) -> io::Result<()> {
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}

/// The number of this process, as logs and statistics show it.
pub fn pid() -> u32 {
    std::process::id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name() {
        assert_eq!(find_user("root").unwrap(), UserIds { uid: 0, gid: 0 });
        assert_eq!(find_group("root").unwrap(), 0);
        for absent in ["no-such-name", "", "nul\0"] {
            assert_eq!(find_user(absent).unwrap_err().kind(), io::ErrorKind::NotFound);
            assert_eq!(find_group(absent).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn descriptors_and_connections_are_counted_both_ways() {
        let needs = DescriptorNeeds { fixed: 100, pipes: 10 };
        assert_eq!(needs.for_connections(500), 1120);
        assert_eq!(needs.maxconn_within(1120), 500);
        assert_eq!(needs.maxconn_within(1121), 500);
        assert_eq!(needs.maxconn_within(50), 0);
    }

    #[test]
    fn a_limit_that_is_high_enough_is_left() {
        let (soft, _) = descriptor_limits();
        raise_descriptor_limit(soft).unwrap();
        assert_eq!(descriptor_limits().0, soft);
    }

    #[test]
    fn a_process_with_threads_does_not_fork() {
        // The test runner has some.
        assert_eq!(fork().err().map(|error| error.kind()), Some(io::ErrorKind::ResourceBusy));
    }

    #[test]
    fn the_machine_has_a_name() {
        assert!(!hostname().is_empty());
    }
}
