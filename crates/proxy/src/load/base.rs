//! What all parts of one run share: the way to files, the names in the configuration, the lists.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use telamon_config::{Args, ConfigErrorKind, Diagnostics, Family, FileId, Host, Location};
use telamon_runtime::Files;

use super::LoadOptions;
use super::state_file::StateFile;
use super::tls::{CrtStores, TlsDefaults};
use crate::expr::{Directory, Lists, LogFormat};
use crate::log::Builtin;

/// Shared by every context of one run.
pub(super) struct Base {
    pub(super) files: Rc<dyn Files>,
    pub(super) directory: Directory,
    pub(super) lists: Arc<Lists>,
    pub(super) options: LoadOptions,
    /// The files of the configuration as messages name them.
    pub(super) paths: HashMap<FileId, String>,
    /// Worker threads, known once `global` is.
    pub(super) workers: Cell<usize>,
    /// `expose-experimental-directives`.
    pub(super) experimental: Cell<bool>,
    /// Host names that were asked for; each is asked for once.
    pub(super) resolved: RefCell<HashMap<Box<str>, Rc<[IpAddr]>>>,
    /// The states of all servers, read when first asked for.
    pub(super) states: OnceCell<Option<Rc<StateFile>>>,
    pub(super) builtin_formats: [OnceCell<Arc<LogFormat>>; 4],
    /// Certificates and the like that were read.
    pub(super) tls: Arc<telamon_tls::Store>,
    /// What `global` says of TLS, known once it is read.
    pub(super) tls_defaults: OnceCell<TlsDefaults>,
    pub(super) crt_stores: OnceCell<CrtStores>,
    /// The chains of `issuers-chain-path`, read when first asked for.
    pub(super) tls_issuers: OnceCell<Issuers>,
    /// `tls-ticket-keys` by file: listeners with one file share the keys.
    pub(super) tls_tickets: RefCell<HashMap<Box<str>, Arc<telamon_tls::TicketKeys>>>,
}

/// Chains by the subject of their first certificate.
pub(super) type Issuers = HashMap<Vec<u8>, Vec<rustls::pki_types::CertificateDer<'static>>>;

/// Where mistakes go: a line that is being read, or the list of all.
pub(super) trait Report {
    fn error(&mut self, at: Location, kind: ConfigErrorKind);
}

impl Report for Args<'_> {
    fn error(&mut self, at: Location, kind: ConfigErrorKind) {
        self.fail(at, kind);
    }
}

impl Report for Diagnostics {
    fn error(&mut self, at: Location, kind: ConfigErrorKind) {
        Self::error(self, at, kind);
    }
}

impl Base {
    /// The first address of a host name in the family. Reports where there is none; `None` also where names are not
    /// looked up.
    pub(super) fn resolve(
        &self,
        to: &mut dyn Report,
        name: &str,
        family: Family,
        at: Location,
    ) -> Option<IpAddr> {
        if self.options.offline {
            return None;
        }
        let found = self.look_up(name, family);
        if found.is_none() {
            to.error(at, ConfigErrorKind::Unresolved { what: "host", name: name.to_owned() });
        }
        found
    }

    /// As [`resolve`](Self::resolve), without a report.
    pub(super) fn look_up(&self, name: &str, family: Family) -> Option<IpAddr> {
        let mut resolved = self.resolved.borrow_mut();
        if !resolved.contains_key(name) {
            let found = self.files.resolve(name).unwrap_or_default();
            resolved.insert(name.into(), found.into());
        }
        resolved[name].iter().copied().find(|ip| fits(*ip, family))
    }

    /// The same, where names are looked up at all.
    pub(super) fn look_up_unless_offline(&self, name: &str, family: Family) -> Option<IpAddr> {
        (!self.options.offline).then(|| self.look_up(name, family)).flatten()
    }

    /// A host as an address; an unspecified one is all of the family.
    pub(super) fn address(
        &self,
        to: &mut dyn Report,
        host: &Host,
        family: Family,
        at: Location,
    ) -> Option<IpAddr> {
        match host {
            Host::Ip(ip) => Some(*ip),
            Host::Unspecified => Some(unspecified(family)),
            Host::Name(name) => self.resolve(to, name, family, at),
        }
    }

    /// The file of `server-state-file`.
    pub(super) fn state_file(
        &self,
        read: impl FnOnce() -> Option<StateFile>,
    ) -> Option<Rc<StateFile>> {
        self.states.get_or_init(|| read().map(Rc::new)).clone()
    }

    /// The content of a file; reports where it cannot be read. `None` also where files are not looked at.
    pub(super) fn read(&self, to: &mut dyn Report, path: &str, at: Location) -> Option<Vec<u8>> {
        if self.options.offline {
            return None;
        }
        let error = match self.files.read(Path::new(path)) {
            Ok(bytes) => return Some(bytes),
            Err(error) => error,
        };
        to.error(at, unreadable(path, error));
        None
    }

    pub(super) fn uid(&self, to: &mut dyn Report, name: &str, at: Location) -> Option<(u32, u32)> {
        if self.options.offline {
            return None;
        }
        match self.files.user(name) {
            Ok(ids) => Some((ids.uid, ids.gid)),
            Err(_) => {
                to.error(at, ConfigErrorKind::Unresolved { what: "user", name: name.to_owned() });
                None
            }
        }
    }

    pub(super) fn gid(&self, to: &mut dyn Report, name: &str, at: Location) -> Option<u32> {
        if self.options.offline {
            return None;
        }
        let found = self.files.group(name).ok();
        if found.is_none() {
            to.error(at, ConfigErrorKind::Unresolved { what: "group", name: name.to_owned() });
        }
        found
    }

    /// The line in messages of the socket.
    pub(super) fn line(&self, at: Location) -> String {
        let path = self.paths.get(&at.file).map_or("", |path| path);
        format!("file '{path}' line {}", at.line)
    }

    pub(super) fn tls_defaults(&self) -> &TlsDefaults {
        self.tls_defaults.get_or_init(TlsDefaults::default)
    }

    pub(super) fn crt_stores(&self) -> &CrtStores {
        self.crt_stores.get_or_init(CrtStores::default)
    }

    /// A built-in format, made once.
    pub(super) fn builtin_format(&self, builtin: Builtin) -> Arc<LogFormat> {
        let place = &self.builtin_formats[builtin as usize];
        Arc::clone(place.get_or_init(|| Arc::new(LogFormat::builtin(builtin))))
    }
}

pub(super) fn unreadable(path: &str, error: io::Error) -> ConfigErrorKind {
    ConfigErrorKind::Unreadable { path: PathBuf::from(path), error: error.into() }
}

/// All addresses of a family; IPv4 unless it says otherwise.
pub(super) fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        Family::V4 | Family::Any => std::net::Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn fits(ip: IpAddr, family: Family) -> bool {
    match family {
        Family::Any => true,
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
    }
}
