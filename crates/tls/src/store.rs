//! What was read from files, by the names that the configuration has for them.
//!
//! Listeners and servers are told of every replacement, so one `set` reaches all of them. The store is for the
//! control thread; handshakes never look here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::acceptor::Acceptor;
use crate::bundle::Bundle;
use crate::connector::Connector;
use crate::crt_list::{CrtLine, CrtList};
use crate::transactions::Transactions;
use crate::verify::{CaFile, CrlFile};

/// The files of one configuration.
#[derive(Debug, Default)]
pub struct Store {
    files: Mutex<Files>,
    transactions: Mutex<Transactions>,
}

#[derive(Debug, Default)]
struct Files {
    certificates: BTreeMap<Box<str>, Arc<Bundle>>,
    ca_files: BTreeMap<Box<str>, Arc<CaFile>>,
    crl_files: BTreeMap<Box<str>, Arc<CrlFile>>,
    crt_lists: BTreeMap<Box<str>, CrtList>,
    acceptors: Vec<Weak<Acceptor>>,
    connectors: Vec<Weak<Connector>>,
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// No file of that name.
    Unknown,
    /// It is used by a listener, a server or a list.
    InUse,
    /// What uses it cannot do with it: a message of rustls.
    Rejected(String),
}

impl Store {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the runtime API has begun.
    pub fn transactions(&self) -> MutexGuard<'_, Transactions> {
        self.transactions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many listeners and servers offer a certificate, or believe a file.
    pub fn users(&self, name: &str) -> usize {
        let files = self.files();
        let acceptors = files.acceptors().filter(|one| one.offers(name) || one.trusts(name));
        let connectors = files.connectors().filter(|one| one.shows(name) || one.trusts(name));
        acceptors.count() + connectors.count()
    }

    /// How many listeners offer a list.
    pub fn list_users(&self, name: &str) -> usize {
        self.files().acceptors().filter(|acceptor| acceptor.uses_list(name)).count()
    }

    // Certificates

    pub fn certificate(&self, name: &str) -> Option<Arc<Bundle>> {
        self.files().certificates.get(name).cloned()
    }

    /// All certificates by name, and whether anything uses them.
    pub fn certificates(&self) -> Vec<(Box<str>, Arc<Bundle>, bool)> {
        let files = self.files();
        let used = |name: &str| files.uses_certificate(name);
        files
            .certificates
            .iter()
            .map(|(name, bundle)| (name.clone(), Arc::clone(bundle), used(name)))
            .collect()
    }

    /// Adds a certificate, or replaces it wherever it is offered or shown. Handshakes that have begun end with the old
    /// one.
    pub fn set_certificate(&self, name: &str, bundle: Arc<Bundle>) {
        let mut files = self.files();
        files.acceptors().for_each(|acceptor| acceptor.replace(name, &bundle));
        files.connectors().for_each(|connector| connector.replace(name, &bundle));
        files.certificates.insert(name.into(), bundle);
    }

    /// # Errors
    /// Where it is not there, or in use.
    pub fn remove_certificate(&self, name: &str) -> Result<(), StoreError> {
        let mut files = self.files();
        if files.uses_certificate(name) {
            return Err(StoreError::InUse);
        }
        files.certificates.remove(name).map(drop).ok_or(StoreError::Unknown)
    }

    // Authorities

    pub fn ca_file(&self, name: &str) -> Option<Arc<CaFile>> {
        self.files().ca_files.get(name).cloned()
    }

    /// All files of authorities by name, and whether anything uses them.
    pub fn ca_files(&self) -> Vec<(Box<str>, Arc<CaFile>, bool)> {
        let files = self.files();
        let used = |name: &str| files.trusts(name);
        files
            .ca_files
            .iter()
            .map(|(name, file)| (name.clone(), Arc::clone(file), used(name)))
            .collect()
    }

    /// Adds a file of authorities, or replaces it for all that believe it.
    ///
    /// # Errors
    /// Where what uses it cannot do with it; nothing is changed then.
    pub fn set_ca_file(&self, name: &str, file: Arc<CaFile>) -> Result<(), StoreError> {
        let mut files = self.files();
        let old = files.ca_files.insert(name.into(), file);
        let result = self.renew_trust(&files, name);
        if result.is_err() {
            match old {
                Some(old) => files.ca_files.insert(name.into(), old),
                None => files.ca_files.remove(name),
            };
        }
        result
    }

    /// # Errors
    /// Where it is not there, or in use.
    pub fn remove_ca_file(&self, name: &str) -> Result<(), StoreError> {
        let mut files = self.files();
        if files.trusts(name) {
            return Err(StoreError::InUse);
        }
        files.ca_files.remove(name).map(drop).ok_or(StoreError::Unknown)
    }

    // Revocations

    pub fn crl_file(&self, name: &str) -> Option<Arc<CrlFile>> {
        self.files().crl_files.get(name).cloned()
    }

    /// All files of revocations by name, and whether anything uses them.
    pub fn crl_files(&self) -> Vec<(Box<str>, Arc<CrlFile>, bool)> {
        let files = self.files();
        let used = |name: &str| files.trusts(name);
        files
            .crl_files
            .iter()
            .map(|(name, file)| (name.clone(), Arc::clone(file), used(name)))
            .collect()
    }

    /// Adds a file of revocations, or replaces it for all that look into it.
    ///
    /// # Errors
    /// Where what uses it cannot do with it; nothing is changed then.
    pub fn set_crl_file(&self, name: &str, file: Arc<CrlFile>) -> Result<(), StoreError> {
        let mut files = self.files();
        let old = files.crl_files.insert(name.into(), file);
        let result = self.renew_trust(&files, name);
        if result.is_err() {
            match old {
                Some(old) => files.crl_files.insert(name.into(), old),
                None => files.crl_files.remove(name),
            };
        }
        result
    }

    /// # Errors
    /// Where it is not there, or in use.
    pub fn remove_crl_file(&self, name: &str) -> Result<(), StoreError> {
        let mut files = self.files();
        if files.trusts(name) {
            return Err(StoreError::InUse);
        }
        files.crl_files.remove(name).map(drop).ok_or(StoreError::Unknown)
    }

    // Lists of certificates

    /// The names of all lists, in order.
    pub fn crt_lists(&self) -> Vec<Box<str>> {
        self.files().crt_lists.keys().cloned().collect()
    }

    pub fn crt_list(&self, name: &str) -> Option<CrtList> {
        self.files().crt_lists.get(name).cloned()
    }

    /// Adds a list that listeners may name. Its certificates are the caller's to add first.
    pub fn set_crt_list(&self, name: &str, list: CrtList) {
        self.files().crt_lists.insert(name.into(), list);
    }

    /// Adds a line to the end of a list, and offers its certificate wherever the list is offered.
    ///
    /// # Errors
    /// Where the list or the certificate is not there, or a listener cannot do what the line says.
    pub fn add_to_crt_list(&self, name: &str, line: CrtLine) -> Result<(), StoreError> {
        let mut files = self.files();
        let bundle =
            files.certificates.get(&line.certificate).cloned().ok_or(StoreError::Unknown)?;
        if !files.crt_lists.contains_key(name) {
            return Err(StoreError::Unknown);
        }
        let users: Vec<_> = files.acceptors().filter(|acceptor| acceptor.uses_list(name)).collect();
        let added: Result<Vec<_>, _> = users
            .iter()
            .map(|acceptor| acceptor.prepare(&files.lookup(), &line, &bundle, Some(name)))
            .collect();
        let added = added.map_err(|error| StoreError::Rejected(error.to_string()))?;
        for (acceptor, entry) in users.iter().zip(added) {
            acceptor.insert(entry);
        }
        if let Some(list) = files.crt_lists.get_mut(name) {
            list.lines.push(line);
        }
        Ok(())
    }

    /// Takes a certificate out of a list: the one line of that number where one is given, else all lines with it.
    ///
    /// # Errors
    /// Where there is no such line.
    pub fn remove_from_crt_list(
        &self,
        name: &str,
        certificate: &str,
        number: Option<u32>,
    ) -> Result<(), StoreError> {
        let mut files = self.files();
        let list = files.crt_lists.get_mut(name).ok_or(StoreError::Unknown)?;
        let is_it = |line: &CrtLine| {
            *line.certificate == *certificate && number.is_none_or(|number| line.number == number)
        };
        let before = list.lines.len();
        list.lines.retain(|line| !is_it(line));
        if list.lines.len() == before {
            return Err(StoreError::Unknown);
        }
        files
            .acceptors()
            .filter(|acceptor| acceptor.uses_list(name))
            .for_each(|acceptor| acceptor.remove(name, certificate, number));
        Ok(())
    }

    // Users

    /// What the store tells of replacements.
    pub(crate) fn join_acceptor(&self, acceptor: &Arc<Acceptor>) {
        self.files().acceptors.push(Arc::downgrade(acceptor));
    }

    pub(crate) fn join_connector(&self, connector: &Arc<Connector>) {
        self.files().connectors.push(Arc::downgrade(connector));
    }

    pub(crate) fn with_lookup<R>(&self, use_it: impl FnOnce(&Lookup<'_>) -> R) -> R {
        use_it(&self.files().lookup())
    }

    /// Two passes, so that a failure leaves everybody as they were.
    fn renew_trust(&self, files: &Files, name: &str) -> Result<(), StoreError> {
        let lookup = files.lookup();
        let rejected = |error: rustls::Error| StoreError::Rejected(error.to_string());
        let mut ready = Vec::new();
        for acceptor in files.acceptors().filter(|acceptor| acceptor.trusts(name)) {
            let renewed = acceptor.renewed_trust(&lookup, name).map_err(rejected)?;
            ready.push((acceptor, renewed));
        }
        let mut connectors = Vec::new();
        for connector in files.connectors().filter(|connector| connector.trusts(name)) {
            let config = connector.build(&lookup).map_err(rejected)?;
            connectors.push((connector, config));
        }
        ready.into_iter().for_each(|(acceptor, renewed)| acceptor.take_trust(renewed));
        connectors.into_iter().for_each(|(connector, config)| connector.take(config));
        Ok(())
    }
}

/// The files, while they are locked.
pub(crate) struct Lookup<'f>(&'f Files);

impl Lookup<'_> {
    pub(crate) fn certificate(&self, name: &str) -> Option<&Arc<Bundle>> {
        self.0.certificates.get(name)
    }

    pub(crate) fn ca_file(&self, name: &str) -> Option<&Arc<CaFile>> {
        self.0.ca_files.get(name)
    }

    pub(crate) fn crl_file(&self, name: &str) -> Option<&Arc<CrlFile>> {
        self.0.crl_files.get(name)
    }

    pub(crate) fn crt_list(&self, name: &str) -> Option<&CrtList> {
        self.0.crt_lists.get(name)
    }
}

impl Files {
    fn lookup(&self) -> Lookup<'_> {
        Lookup(self)
    }

    fn acceptors(&self) -> impl Iterator<Item = Arc<Acceptor>> + '_ {
        self.acceptors.iter().filter_map(Weak::upgrade)
    }

    fn connectors(&self) -> impl Iterator<Item = Arc<Connector>> + '_ {
        self.connectors.iter().filter_map(Weak::upgrade)
    }

    fn uses_certificate(&self, name: &str) -> bool {
        let listed = |list: &CrtList| list.lines.iter().any(|line| &*line.certificate == name);
        self.crt_lists.values().any(listed)
            || self.acceptors().any(|acceptor| acceptor.offers(name))
            || self.connectors().any(|connector| connector.shows(name))
    }

    fn trusts(&self, name: &str) -> bool {
        self.acceptors().any(|acceptor| acceptor.trusts(name))
            || self.connectors().any(|connector| connector.trusts(name))
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such file"),
            Self::InUse => f.write_str("it is in use"),
            Self::Rejected(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}
