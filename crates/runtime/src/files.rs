//! Every opening of a file and every bind that a configuration asks for.
//!
//! Loading a configuration takes a [`Files`] and asks it for everything outside the text: files,
//! directories, names of hosts, users and groups, listening sockets. [`Direct`] asks the system.
//! Under a privileged parent, the parent loads and checks through [`Recording`], sends the
//! [`Recorded`] answers to the serving process, and that one loads the same through [`Replay`]:
//! it gets what its configuration needs and cannot ask for anything else.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use crate::bind::{BindSpec, Neighbor, bind};
use crate::handover::{self, Taken};
use crate::process;

mod recorded;

pub use recorded::{Recorded, Recording, Replay};

/// Answers what a configuration asks of the system. All calls may block: control thread only.
pub trait Files {
    /// The content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether `path` is a file or a directory.
    fn kind(&self, path: &Path) -> io::Result<PathKind>;
    /// The paths in a directory, in lexical order of their names.
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;
    /// The addresses of a host name, in the resolver's order; never empty.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
    /// The user and group numbers of a user.
    fn user(&self, name: &str) -> io::Result<UserIds>;
    /// The number of a group.
    fn group(&self, name: &str) -> io::Result<u32>;
    /// Binds and listens: a socket per worker where the address allows it, else one.
    fn bind(&self, spec: &BindSpec, workers: usize) -> io::Result<Vec<OwnedFd>>;
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    File,
    Directory,
}

/// The numbers of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserIds {
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
}

/// Asks the system.
#[derive(Clone, Debug)]
pub struct Direct {
    neighbor: Neighbor,
    /// Sockets that were taken over and that nobody has asked for yet.
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Direct {
    /// `neighbor` says what to make of a port that another process has.
    pub fn new(neighbor: Neighbor) -> Self {
        Self { neighbor, taken: Arc::default() }
    }

    /// Prefers these sockets, of the process that is replaced, to new ones at their addresses.
    pub fn with_taken(self, taken: Vec<Taken>) -> Self {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        self
    }

    /// Closes those that the configuration did not ask for: clients would wait in their queues for ever.
    pub fn close_unused(&self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl<F: Files + ?Sized> Files for Rc<F> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        (**self).read(path)
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        (**self).kind(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        (**self).list(directory)
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        (**self).resolve(host)
    }

    fn user(&self, name: &str) -> io::Result<UserIds> {
        (**self).user(name)
    }

    fn group(&self, name: &str) -> io::Result<u32> {
        (**self).group(name)
    }

    fn bind(&self, spec: &BindSpec, workers: usize) -> io::Result<Vec<OwnedFd>> {
        (**self).bind(spec, workers)
    }
}

impl Files for Direct {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        let directory = std::fs::metadata(path)?.is_dir();
        Ok(if directory { PathKind::Directory } else { PathKind::File })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(directory)?;
        let mut paths =
            entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in (host, 0).to_socket_addrs()? {
            if !addresses.contains(&address.ip()) {
                addresses.push(address.ip());
            }
        }
        if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
    }

    fn user(&self, name: &str) -> io::Result<UserIds> {
        process::find_user(name)
    }

    fn group(&self, name: &str) -> io::Result<u32> {
        process::find_group(name)
    }

    fn bind(&self, spec: &BindSpec, workers: usize) -> io::Result<Vec<OwnedFd>> {
        let copies = if spec.is_per_worker() { workers.max(1) } else { 1 };
        let mut sockets = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            handover::choose(&mut taken, spec, copies)
        };
        for socket in &sockets {
            rustix::io::ioctl_fionbio(socket, true)?;
            spec.apply(socket.as_fd())?;
        }
        if sockets.is_empty() {
            return bind(spec, workers, self.neighbor);
        }
        if sockets.len() < copies {
            // Where the old sockets do not share their port, the workers that get none accept nothing.
            let more = bind(spec, copies - sockets.len(), Neighbor::Replaced);
            sockets.extend(more.unwrap_or_default());
        }
        Ok(sockets)
    }
}
