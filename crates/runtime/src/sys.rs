//! The few calls that neither rustix nor socket2 offer safely.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sets a socket option whose value is a C `int`.
pub(crate) fn set_option(fd: impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set_option_raw(fd, level, name, &value)
}

/// Sets a socket option to the bytes of `value`.
fn set_option_raw<T>(fd: impl AsFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed for the call, and the kernel only reads `size_of::<T>()`
    // bytes behind a pointer that is valid for them.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Attaches a classic BPF program that chooses the socket of a reuseport group by its index.
pub(crate) fn attach_reuseport_program(
    fd: impl AsFd,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        // The kernel copies the program and never writes to it.
        filter: program.as_ptr().cast_mut(),
    };
    set_option_raw(fd, libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &filter)
}

/// Watches a descriptor on this thread's reactor for something to read.
pub(crate) fn watch(fd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an `OwnedFd` stays open and the same for as long as it lives, and the `AsyncFd` owns
    // a share of it until it has deregistered.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

/// A descriptor's place on a reactor, for reading and writing.
pub(crate) type Watch = AsyncFd<RawFd>;

/// Watches a connected socket on this thread's reactor, edge by edge.
///
/// # Safety
/// The descriptor stays open until the watch was dropped.
pub(crate) unsafe fn watch_stream(fd: BorrowedFd<'_>) -> io::Result<Watch> {
    // SAFETY: passed on to the caller.
    Ok(unsafe { AsyncFd::register(fd.as_raw_fd()) }?)
}

/// The system's monotonic clock in nanoseconds, by way of the C library: it asks no kernel, and runs under valgrind, which
/// rustix's own way to the clock does not.
pub(crate) fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the write of a `timespec`. There is no other error for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    // This clock begins at zero.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Takes over a descriptor that the process inherited.
///
/// # Safety
/// It is open, and nothing else in the process owns it.
pub(crate) unsafe fn take_descriptor(fd: RawFd) -> OwnedFd {
    // SAFETY: passed on to the caller.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
