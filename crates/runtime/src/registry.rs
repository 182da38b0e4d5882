//! The listening sockets of the process, which outlive its configurations.
//!
//! A reload [prepares](Registry::prepare) the new set (binding what is new, touching nothing that
//! serves), and [commits](Registry::commit) it once the whole configuration is accepted. Sockets
//! are known by [`BindKey`]: the same address with the same unchangeable settings is the same
//! socket.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bind::{BindAddress, BindKey, BindSpec};
use crate::files::Files;
use crate::handover::Offer;
use crate::listener::Steering;

/// The sockets that are bound now. Owned by the control thread.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    bound: HashMap<BindKey, Bound>,
}

/// One address and its sockets.
#[derive(Clone, Debug)]
pub struct Bound {
    /// One per worker, or one alone. Empty when another process holds them (a parent that has
    /// given them away).
    pub sockets: Vec<Arc<OwnedFd>>,
    /// The file of a Unix socket, removed at the end if it is still this one.
    file: Option<(PathBuf, FileIdentity)>,
}

type FileIdentity = (u64, u64);

/// A new set of sockets, all bound, that is not in force yet. Dropping it closes what is new.
#[derive(Debug)]
pub struct Prepared {
    specs: Vec<BindSpec>,
    fresh: HashMap<BindKey, Bound>,
}

/// A `bind` line that failed: the index of its specification and the reason.
#[derive(Debug)]
pub struct BindFailure {
    pub index: usize,
    pub error: io::Error,
}

impl Registry {
    /// Binds what `specs` has and the registry has not.
    ///
    /// # Errors
    /// All lines that failed, files of Unix sockets only where nothing else did; nothing new stays bound then.
    pub fn prepare(
        &self,
        specs: &[BindSpec],
        workers: usize,
        files: &dyn Files,
    ) -> Result<Prepared, Vec<BindFailure>> {
        let mut fresh = HashMap::new();
        let mut failures = Vec::new();
        // Files come last, and only if all else went well: a file is taken from whoever has it, for good.
        let is_file = |spec: &BindSpec| matches!(spec.address, BindAddress::Unix(_));
        let (files_last, others): (Vec<_>, Vec<_>) =
            specs.iter().enumerate().partition(|(_, spec)| is_file(spec));
        for (index, spec) in others.into_iter().chain(files_last) {
            let key = spec.key();
            if self.bound.contains_key(&key) || fresh.contains_key(&key) {
                continue;
            }
            if is_file(spec) && !failures.is_empty() {
                break;
            }
            match files.bind(spec, workers) {
                Ok(sockets) => {
                    let sockets = sockets.into_iter().map(Arc::new).collect();
                    fresh.insert(key, Bound { sockets, file: file_of(spec) });
                }
                Err(error) => failures.push(BindFailure { index, error }),
            }
        }
        let specs = specs.to_vec();
        if failures.is_empty() { Ok(Prepared { specs, fresh }) } else { Err(failures) }
    }

    /// Puts a prepared set in force and returns what it no longer has.
    ///
    /// The caller lets workers accept what is queued on the sockets returned, then drops them.
    pub fn commit(&mut self, prepared: Prepared) -> Vec<Bound> {
        let Prepared { specs, mut fresh } = prepared;
        let mut next = HashMap::with_capacity(specs.len());
        for spec in &specs {
            let key = spec.key();
            if let Some(bound) = self.bound.remove(&key) {
                for socket in &bound.sockets {
                    // Settings that can change while it is bound. One that the kernel refuses
                    // leaves the socket as it was, which serves.
                    let _ = spec.apply(socket.as_fd());
                }
                next.insert(key, bound);
            } else if let Some(bound) = fresh.remove(&key) {
                next.insert(key, bound);
            }
        }
        std::mem::replace(&mut self.bound, next).into_values().collect()
    }

    /// The sockets of a specification that is in force.
    pub fn get(&self, spec: &BindSpec) -> Option<&Bound> {
        self.bound.get(&spec.key())
    }

    /// Lets go of the sockets but remembers that they are bound, after they were given to the
    /// serving process: a copy kept here would keep the port open for nobody.
    pub fn give_away(&mut self) {
        for bound in self.bound.values_mut() {
            bound.sockets.clear();
        }
    }

    /// Turns new connections towards the sockets that a successor has at the same ports, if there is one: what is
    /// queued here can then be accepted and the sockets closed without resetting anyone.
    pub fn steer_away(&self) {
        for sockets in self.shared_ports() {
            let own = u16::try_from(sockets.len()).unwrap_or(u16::MAX);
            // A kernel that cannot steer leaves the few that come in the last instant to be reset.
            let _ = Steering::towards(&*sockets[0], own..own.saturating_add(1));
        }
    }

    /// Undoes what a predecessor has steered.
    pub fn steer_freely(&self) {
        for sockets in self.shared_ports() {
            // There was none, as a rule.
            let _ = Steering::release(&*sockets[0]);
        }
    }

    fn shared_ports(&self) -> impl Iterator<Item = &[Arc<OwnedFd>]> {
        let shared = |key: &BindKey| key.is_inet();
        self.bound
            .iter()
            .filter(move |(key, bound)| shared(key) && !bound.sockets.is_empty())
            .map(|(_, bound)| &*bound.sockets)
    }

    /// What a successor may take over (`-x`).
    pub fn offers(&self) -> Vec<Offer> {
        let offer = |key: &BindKey, socket: &Arc<OwnedFd>| Offer {
            socket: Arc::clone(socket),
            interface: key.interface().map(Into::into),
        };
        let bound = self.bound.iter();
        bound.flat_map(|(key, b)| b.sockets.iter().map(move |socket| offer(key, socket))).collect()
    }

    /// Lets go of the addresses that two processes cannot have at a time while they are bound, listening or not:
    /// abstract names. A successor is about to bind them.
    pub fn release_names(&mut self) {
        self.bound.retain(|key, _| !key.is_abstract());
    }

    /// Lets go of everything: a stop.
    pub fn take_all(&mut self) -> Vec<Bound> {
        self.bound.drain().map(|(_, bound)| bound).collect()
    }
}

impl Bound {
    /// Removes the file of a Unix socket, unless another process has put its own there.
    pub fn remove_file(&self) {
        if let Some((path, identity)) = &self.file
            && identity_of(path) == Some(*identity)
        {
            // Nothing depends on it: a stale file is replaced at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn file_of(spec: &BindSpec) -> Option<(PathBuf, FileIdentity)> {
    match &spec.address {
        BindAddress::Unix(path) => identity_of(path).map(|identity| (path.clone(), identity)),
        _ => None,
    }
}

fn identity_of(path: &Path) -> Option<FileIdentity> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Direct;
    use crate::{Endpoint, bind::Neighbor};

    fn spec(address: &str) -> BindSpec {
        BindSpec::new(BindAddress::Inet(address.parse().unwrap()))
    }

    fn address(bound: &Bound) -> Endpoint {
        Endpoint::from_any(&rustix::net::getsockname(&bound.sockets[0]).unwrap())
    }

    #[test]
    fn a_reload_keeps_binds_and_closes() {
        let files = Direct::new(Neighbor::Refused);
        let mut registry = Registry::default();
        let (kept, gone, new) = (spec("127.0.0.1:0"), spec("127.0.0.2:0"), spec("127.0.0.3:0"));
        let first = registry.prepare(&[kept.clone(), gone.clone()], 2, &files).unwrap();
        assert!(registry.commit(first).is_empty());
        let before = address(registry.get(&kept).unwrap());

        let mut changed = kept.clone();
        changed.backlog = 7;
        let second = registry.prepare(&[changed.clone(), new.clone()], 2, &files).unwrap();
        assert!(registry.get(&new).is_none());
        let closed = registry.commit(second);
        assert_eq!(closed.len(), 1);
        assert_eq!(address(registry.get(&changed).unwrap()), before);
        assert_eq!(registry.get(&new).unwrap().sockets.len(), 2);
        assert!(registry.get(&gone).is_none());
    }

    #[test]
    fn one_failure_binds_nothing_and_all_are_told() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = spec(&holder.local_addr().unwrap().to_string());
        let registry = Registry::default();
        let specs = [spec("127.0.0.1:0"), taken, spec("192.0.2.1:0")];
        let failures = registry.prepare(&specs, 1, &Direct::new(Neighbor::Refused)).unwrap_err();
        let indices: Vec<usize> = failures.iter().map(|failure| failure.index).collect();
        assert_eq!(indices, [1, 2]);
        assert_eq!(failures[0].error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn the_file_of_another_process_is_left_alone() {
        let path = std::env::temp_dir().join(format!("telamon-registry-{}", std::process::id()));
        let unix = BindSpec::new(BindAddress::Unix(path.clone()));
        let files = Direct::new(Neighbor::Refused);
        let mut registry = Registry::default();
        let prepared = registry.prepare(std::slice::from_ref(&unix), 1, &files).unwrap();
        registry.commit(prepared);
        let newer = files.bind(&unix, 1).unwrap();
        registry.get(&unix).unwrap().remove_file();
        assert!(path.exists());
        let mut other = Registry::default();
        drop(newer);
        let prepared = other.prepare(std::slice::from_ref(&unix), 1, &files).unwrap();
        other.commit(prepared);
        other.take_all()[0].remove_file();
        assert!(!path.exists());
    }
}
