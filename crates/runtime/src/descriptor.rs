//! Descriptors that were open when the process started and that the configuration names by number.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A new descriptor of what `number` is open on, closed on exec.
///
/// # Errors
/// `EBADF` where `number` is not open; `EMFILE` where no descriptor is free.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes any number and no pointer.
    let new = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if new < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made `new`, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}
