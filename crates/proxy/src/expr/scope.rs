//! What parsing an expression needs to know about the rest of the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use telamon_config::{ConfigErrorKind, Environment, nearest};
use telamon_runtime::Files;

use super::{Acls, Lists, Place};
use crate::model::{Mode, ProxyId, ServerId, Userlist};
use crate::rules::ErrorSets;

/// Where an expression or a rule stands, and what it may name.
pub struct ParseScope<'s> {
    pub directory: &'s Directory,
    pub lists: &'s Lists,
    pub files: &'s dyn Files,
    /// The `http-errors` sections.
    pub errors: &'s ErrorSets,
    /// What `env(NAME)` reads.
    pub environment: &'s Environment,
    /// The ACLs that the proxy has declared so far.
    pub acls: Acls,
    /// The rule set that is being read; decides what may be fetched.
    pub place: Place,
    /// The proxy that the line stands in; `None` in `defaults` and `global`.
    pub proxy: Option<ProxyId>,
    pub mode: Mode,
    /// The proxy accepts; both are false in `defaults`.
    pub frontend: bool,
    /// The proxy has servers.
    pub backend: bool,
    /// Capture slots that were declared, for requests and responses.
    pub request_captures: usize,
    pub response_captures: usize,
    /// `telamon check --offline`: what this machine lacks is not looked at.
    pub offline: bool,
    /// Names the line in messages of the socket: `file 'x.cfg' line 12`.
    pub line: String,
}

/// The names of everything that a line may refer to before it was read: all proxies in the order
/// of the files, so that a [`ProxyId`] is an index, and all user lists.
#[derive(Debug, Default)]
pub struct Directory {
    pub proxies: Vec<ProxyEntry>,
    pub userlists: HashMap<Box<str>, Arc<Userlist>>,
}

/// The names in one proxy.
#[derive(Debug, Default)]
pub struct ProxyEntry {
    pub name: Arc<str>,
    pub frontend: bool,
    pub backend: bool,
    /// In the order of their [`ServerId`]s.
    pub servers: Vec<Arc<str>>,
}

impl Directory {
    /// # Errors
    /// When there is none of that name.
    pub fn frontend(&self, name: &str) -> Result<ProxyId, ConfigErrorKind> {
        self.proxy("frontend", name, |entry| entry.frontend)
    }

    /// # Errors
    /// When there is none of that name.
    pub fn backend(&self, name: &str) -> Result<ProxyId, ConfigErrorKind> {
        self.proxy("backend", name, |entry| entry.backend)
    }

    /// # Errors
    /// When the backend has none of that name.
    pub fn server(&self, backend: ProxyId, name: &str) -> Result<ServerId, ConfigErrorKind> {
        let servers = self.proxies.get(backend.0 as usize).map_or(&[][..], |entry| &entry.servers);
        match servers.iter().position(|server| **server == *name) {
            Some(at) => Ok(ServerId(at as u32)),
            None => Err(undefined("server", name, servers.iter().map(|server| &**server))),
        }
    }

    /// # Errors
    /// When there is none of that name.
    pub fn userlist(&self, name: &str) -> Result<Arc<Userlist>, ConfigErrorKind> {
        match self.userlists.get(name) {
            Some(list) => Ok(Arc::clone(list)),
            None => Err(undefined("userlist", name, self.userlists.keys().map(|name| &**name))),
        }
    }

    fn proxy(
        &self,
        what: &'static str,
        name: &str,
        wanted: impl Fn(&ProxyEntry) -> bool,
    ) -> Result<ProxyId, ConfigErrorKind> {
        let found = self.proxies.iter().position(|entry| wanted(entry) && *entry.name == *name);
        found.map(|at| ProxyId(at as u32)).ok_or_else(|| {
            let names = self.proxies.iter().filter(|entry| wanted(entry));
            undefined(what, name, names.map(|entry| &*entry.name))
        })
    }
}

pub(crate) fn undefined<'n>(
    what: &'static str,
    name: &str,
    names: impl Iterator<Item = &'n str>,
) -> ConfigErrorKind {
    ConfigErrorKind::Undefined {
        what,
        name: name.to_owned(),
        nearest: nearest(name, names).map(str::to_owned),
    }
}
