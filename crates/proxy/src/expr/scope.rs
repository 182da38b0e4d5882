//! What parsing an expression needs to know about the rest of the configuration.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::sync::Arc;

use telamon_config::{ConfigErrorKind, Environment, nearest};
use telamon_runtime::Files;

use super::{Acls, Lists, Place};
use crate::model::{Mode, ProxyId, ServerId, TableId, TableSpec, Userlist};
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
    /// `tune.stick-counters`.
    pub stick_counters: u32,
    /// `expose-experimental-directives` stands in `global`.
    pub experimental: bool,
    /// Names the line in messages of the socket: `file 'x.cfg' line 12`.
    pub line: String,
}

/// The names of everything that a line may refer to before it was read: all proxies in the order
/// of the files, so that a [`ProxyId`] is an index, and all user lists.
#[derive(Debug, Default)]
pub struct Directory {
    pub proxies: Vec<ProxyEntry>,
    pub userlists: HashMap<Box<str>, Arc<Userlist>>,
    /// The names of the `resolvers` sections, once these have been read.
    pub resolvers: OnceCell<Vec<Box<str>>>,
    /// In the order of their [`TableId`]s.
    pub tables: Vec<TableSpec>,
    /// The first frontend and the first backend of each name, made when one is first looked for.
    pub(crate) index: OnceCell<[HashMap<Arc<str>, ProxyId>; 2]>,
    /// How often the nearest name was looked for, which takes time with every name there is.
    pub(crate) searches: Cell<u32>,
}

/// The names in one proxy.
#[derive(Debug, Default)]
pub struct ProxyEntry {
    pub name: Arc<str>,
    pub frontend: bool,
    pub backend: bool,
    /// In the order of their [`ServerId`]s.
    pub servers: Vec<Arc<str>>,
    /// Its stick table.
    pub table: Option<TableId>,
}

impl ParseScope<'_> {
    /// The stick table of the section that the line stands in.
    ///
    /// # Errors
    /// When it has none, or is a `defaults` section.
    pub fn own_table(&self, needed_by: &str) -> Result<TableId, ConfigErrorKind> {
        let own = self.proxy.and_then(|ProxyId(proxy)| self.directory.proxies.get(proxy as usize));
        own.and_then(|proxy| proxy.table).ok_or_else(|| ConfigErrorKind::Missing {
            what: "a `stick-table` in its own section, or the name of one".into(),
            after: needed_by.to_owned(),
        })
    }
}

impl Directory {
    /// # Errors
    /// When there is none of that name.
    pub fn frontend(&self, name: &str) -> Result<ProxyId, ConfigErrorKind> {
        self.proxy(FRONTENDS, "frontend", name)
    }

    /// # Errors
    /// When there is none of that name.
    pub fn backend(&self, name: &str) -> Result<ProxyId, ConfigErrorKind> {
        self.proxy(BACKENDS, "backend", name)
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
    pub fn table(&self, name: &str) -> Result<TableId, ConfigErrorKind> {
        match self.tables.iter().position(|table| *table.name == *name) {
            Some(at) => Ok(TableId(at as u32)),
            None => {
                let names = self.tables.iter().map(|table| &*table.name);
                Err(undefined("stick table", name, names))
            }
        }
    }

    pub(crate) fn table_spec(&self, id: TableId) -> Option<&TableSpec> {
        self.tables.get(id.0 as usize)
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
        side: usize,
        what: &'static str,
        name: &str,
    ) -> Result<ProxyId, ConfigErrorKind> {
        let index = self.index.get_or_init(|| {
            let mut index = [HashMap::new(), HashMap::new()];
            for (at, entry) in (0u32..).zip(&self.proxies) {
                for (side, takes_part) in [(FRONTENDS, entry.frontend), (BACKENDS, entry.backend)] {
                    if takes_part {
                        index[side].entry(Arc::clone(&entry.name)).or_insert(ProxyId(at));
                    }
                }
            }
            index
        });
        index[side].get(name).copied().ok_or_else(|| {
            self.searches.set(self.searches.get() + 1);
            let searched = self.searches.get() <= SEARCHES_MAX;
            let names = index[side].keys().filter(|_| searched);
            undefined(what, name, names.map(|name| &**name))
        })
    }
}

const FRONTENDS: usize = 0;
const BACKENDS: usize = 1;

/// Names of proxies beyond this many that do not exist get no proposal.
const SEARCHES_MAX: u32 = 100;

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
