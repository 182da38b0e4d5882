//! Certificates by the names that they are offered for.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustls::{ServerConfig, SignatureAlgorithm};

use super::{Settings, Wanted};
use crate::bundle::Bundle;
use crate::crt_list::CrtLine;

/// All entries of a `bind` line.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// In the order of the configuration; what was removed leaves a gap.
    entries: Vec<Option<Entry>>,
    exact: HashMap<Box<str>, Vec<u32>>,
    /// By what follows the `*`.
    wildcards: HashMap<Box<str>, Vec<u32>>,
    /// The entries of each certificate.
    by_certificate: HashMap<Box<str>, Vec<u32>>,
    /// The line's own first.
    pub(super) settings: Vec<Arc<Settings>>,
}

/// A certificate on one line.
#[derive(Debug)]
pub(crate) struct Entry {
    certificate: Box<str>,
    list: Option<Box<str>>,
    /// The list's line.
    number: u32,
    filters: Vec<Box<str>>,
    bundle: Arc<Bundle>,
    pub(super) settings: Arc<Settings>,
    config: OnceLock<Arc<ServerConfig>>,
}

impl Entry {
    pub(super) fn new(
        line: &CrtLine,
        list: Option<&str>,
        bundle: Arc<Bundle>,
        settings: Arc<Settings>,
    ) -> Self {
        Self {
            certificate: line.certificate.clone(),
            list: list.map(Into::into),
            number: line.number,
            filters: line.filters.clone(),
            bundle,
            settings,
            config: OnceLock::new(),
        }
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(self.config.get_or_init(|| self.settings.config(&self.bundle)))
    }

    /// The names that it is offered for, in lower case: `a.example`, `*.example`.
    fn names(&self) -> &[Box<str>] {
        if self.filters.is_empty() { &self.bundle.names } else { &self.filters }
    }

    fn excludes(&self, name: &str) -> bool {
        self.filters.iter().any(|filter| filter.strip_prefix('!') == Some(name))
    }
}

impl Table {
    /// The best entry for a name in any case.
    pub(super) fn find(&self, name: &str, wanted: Wanted) -> Option<&Entry> {
        let mut lower = [0; NAME_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let name = std::str::from_utf8(lower).ok()?;
        let exact = self.exact.get(name).into_iter().flatten();
        let domain = name.find('.').map(|dot| &name[dot..]);
        let wildcards = domain.and_then(|domain| self.wildcards.get(domain)).into_iter().flatten();
        let exact = exact.filter_map(|at| self.entry(*at));
        let wildcards =
            wildcards.filter_map(|at| self.entry(*at)).filter(|entry| !entry.excludes(name));
        best(exact.chain(wildcards), wanted)
    }

    /// The entry for clients that no other is for: the first, or one beside it with another kind of key.
    pub(super) fn default(&self, wanted: Wanted) -> Option<&Entry> {
        let mut entries = self.entries.iter().flatten();
        let first = entries.next()?;
        let Some((bundle, "rsa" | "ecdsa" | "dsa")) = first.certificate.rsplit_once('.') else {
            return Some(first);
        };
        let beside = entries.take_while(|entry| {
            entry.certificate.rsplit_once('.').is_some_and(|(other, _)| other == bundle)
        });
        best(std::iter::once(first).chain(beside), wanted)
    }

    /// Whether the first entry is that certificate, on a line of that list.
    pub(super) fn begins_with(&self, list: &str, certificate: &str) -> bool {
        let first = self.entries.iter().flatten().next();
        first.is_some_and(|entry| {
            *entry.certificate == *certificate && entry.list.as_deref() == Some(list)
        })
    }

    pub(super) fn holds(&self, certificate: &str) -> bool {
        self.by_certificate.contains_key(certificate)
    }

    /// The line's own settings, and those that an entry has. Others were there for entries that were removed, or for
    /// ones that came to nothing.
    pub(super) fn in_use(&self) -> impl Iterator<Item = &Arc<Settings>> {
        let has_entry = |settings: &Arc<Settings>| {
            self.entries.iter().flatten().any(|entry| Arc::ptr_eq(&entry.settings, settings))
        };
        let others = self.settings.iter().skip(1).filter(move |settings| has_entry(settings));
        self.settings.first().into_iter().chain(others)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let at = self.entries.len() as u32;
        self.by_certificate.entry(entry.certificate.clone()).or_default().push(at);
        self.link(at, entry.names());
        self.entries.push(Some(entry));
    }

    /// Puts a new certificate in the place of the one that has its name.
    pub(super) fn replace(&mut self, certificate: &str, bundle: &Arc<Bundle>) {
        let Some(places) = self.by_certificate.get(certificate).cloned() else { return };
        for at in places {
            let Some(mut entry) = self.entries[at as usize].take() else { continue };
            self.unlink(at, entry.names());
            entry.bundle = Arc::clone(bundle);
            entry.config = OnceLock::new();
            self.link(at, entry.names());
            self.entries[at as usize] = Some(entry);
        }
    }

    pub(super) fn remove(&mut self, list: &str, certificate: &str, number: Option<u32>) {
        let Some(places) = self.by_certificate.get(certificate).cloned() else { return };
        for at in places {
            let goes = self.entry(at).is_some_and(|entry| {
                entry.list.as_deref() == Some(list)
                    && number.is_none_or(|number| entry.number == number)
            });
            if goes && let Some(entry) = self.entries[at as usize].take() {
                self.unlink(at, entry.names());
                drop_place(&mut self.by_certificate, certificate, at);
            }
        }
        // What only these lines said is forgotten; the first settings are those of the `bind` line itself.
        let used = |settings: &Arc<Settings>| {
            self.entries.iter().flatten().any(|entry| Arc::ptr_eq(&entry.settings, settings))
        };
        let kept: Vec<_> = self.settings.iter().map(used).collect();
        let mut place = 0;
        self.settings.retain(|_| {
            place += 1;
            place == 1 || kept[place - 1]
        });
    }

    /// Takes settings that were made anew, in the order of those that they replace.
    pub(super) fn take_settings(&mut self, settings: Vec<Arc<Settings>>) {
        for entry in self.entries.iter_mut().flatten() {
            let place = self.settings.iter().position(|old| Arc::ptr_eq(old, &entry.settings));
            if let Some(new) = place.and_then(|place| settings.get(place))
                && !Arc::ptr_eq(new, &entry.settings)
            {
                entry.settings = Arc::clone(new);
                entry.config = OnceLock::new();
            }
        }
        self.settings = settings;
    }

    fn entry(&self, at: u32) -> Option<&Entry> {
        self.entries.get(at as usize)?.as_ref()
    }

    fn link(&mut self, at: u32, names: &[Box<str>]) {
        for name in names {
            match name.strip_prefix('*') {
                _ if name.starts_with('!') => {}
                Some("") => {}
                Some(domain) => self.wildcards.entry(domain.into()).or_default().push(at),
                None => self.exact.entry(name.clone()).or_default().push(at),
            }
        }
    }

    fn unlink(&mut self, at: u32, names: &[Box<str>]) {
        for name in names {
            match name.strip_prefix('*') {
                Some(domain) => drop_place(&mut self.wildcards, domain, at),
                None => drop_place(&mut self.exact, name, at),
            }
        }
    }
}

fn drop_place(map: &mut HashMap<Box<str>, Vec<u32>>, name: &str, at: u32) {
    if let Some(places) = map.get_mut(name) {
        places.retain(|place| *place != at);
        if places.is_empty() {
            map.remove(name);
        }
    }
}

/// ECDSA before RSA before the rest, of what the client can verify; whatever there is where it can verify none.
fn best<'t>(entries: impl Iterator<Item = &'t Entry>, wanted: Wanted) -> Option<&'t Entry> {
    let (mut ecdsa, mut rsa, mut other) = (None, None, None);
    for entry in entries {
        let place = match entry.bundle.algorithm() {
            SignatureAlgorithm::ECDSA => &mut ecdsa,
            SignatureAlgorithm::RSA => &mut rsa,
            _ => &mut other,
        };
        place.get_or_insert(entry);
    }
    let can = |entry: Option<&'t Entry>, can: bool| entry.filter(|_| can);
    can(ecdsa, wanted.ecdsa).or(can(rsa, wanted.rsa)).or(other).or(ecdsa).or(rsa)
}

/// The longest host name (RFC 1035).
const NAME_MAX: usize = 255;
