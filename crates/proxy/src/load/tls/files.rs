//! Files about TLS: found as HAProxy finds them, read once, kept in the store.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use telamon_config::{Diagnostics, Location};
use telamon_runtime::files::PathKind;
use telamon_tls::{
    Bundle, BundleError, CaFile, Certificate, CrlFile, CrtLine, CrtList, Offer, Parts, Source,
    TicketKeys, read_certificates,
};

use super::super::base::{Base, unreadable};
use super::{Places, TlsMistake, parse_ticket_keys};

/// Reads files into the store, and reports what is wrong with them at the words that name them.
///
/// Every method gives the name in the store; `None` where the file is of no use, which is reported once.
pub(in crate::load) struct Files<'f> {
    pub(in crate::load) base: &'f Base,
    pub(in crate::load) to: &'f mut Diagnostics,
}

impl Files<'_> {
    /// What `crt` names: a file, a bundle of `.rsa`, `.ecdsa` and `.dsa`, a directory, an entry of a `crt-store`.
    pub(super) fn certificates(&mut self, written: &str, at: Location) -> Vec<Source> {
        let path = self.under_crt_base(written);
        if self.base.tls.certificate(&path).is_none()
            && !written.starts_with('@')
            && let Ok(PathKind::Directory) = self.base.files.kind(Path::new(&*path))
        {
            return self.directory(&path, at).map(Source::List).into_iter().collect();
        }
        self.bundle(written, at).into_iter().map(Source::Certificate).collect()
    }

    /// One certificate.
    pub(super) fn certificate(&mut self, written: &str, at: Location) -> Option<Box<str>> {
        let path = self.under_crt_base(written);
        self.load(&path, at)
    }

    /// A certificate, or those of `NAME.rsa` and its kin where there is no `NAME`.
    fn bundle(&mut self, written: &str, at: Location) -> Vec<Box<str>> {
        if let Some(name) = written.strip_prefix('@') {
            return self.stored(name, at).into_iter().collect();
        }
        let path = self.under_crt_base(written);
        if self.base.tls.certificate(&path).is_some() {
            return vec![path.into()];
        }
        if self.base.tls_defaults().extras.bundle
            && self.base.files.kind(Path::new(&*path)).is_err()
        {
            let parts = BUNDLE.map(|extension| format!("{path}.{extension}"));
            let there = parts.iter().filter(|part| self.is_file(part)).cloned();
            let there: Vec<String> = there.collect();
            if !there.is_empty() {
                return there.iter().filter_map(|part| self.load(part, at)).collect();
            }
        }
        self.load(&path, at).into_iter().collect()
    }

    /// What `@STORE/NAME` means.
    fn stored(&mut self, name: &str, at: Location) -> Option<Box<str>> {
        let key: Box<str> = format!("@{name}").into();
        if self.base.tls.certificate(&key).is_some() {
            return Some(key);
        }
        let Some(entry) = self.base.crt_stores().find(name) else {
            let known = self.base.crt_stores().names();
            let kind = telamon_config::ConfigErrorKind::undefined(
                "certificate",
                name,
                known.iter().map(|name| &**name),
            );
            self.to.error(at, kind);
            return None;
        };
        let pem = self.read(&entry.certificate, at)?;
        let optional = |files: &mut Self, path: &Option<Box<str>>| -> Option<Option<Vec<u8>>> {
            match path {
                None => Some(None),
                Some(path) => files.read(path, at).map(Some),
            }
        };
        let key_text = optional(self, &entry.key)?;
        let ocsp = optional(self, &entry.ocsp)?;
        let issuer = optional(self, &entry.issuer)?;
        let parts = Parts {
            pem: &pem,
            key: key_text.as_deref(),
            ocsp: ocsp.as_deref(),
            issuer: issuer.as_deref(),
            skip_self_issued_ca: self.base.tls_defaults().skip_self_issued_ca,
        };
        let bundle = self.judged(&entry.certificate, Bundle::new(&parts), at)?;
        self.base.tls.set_certificate(&key, Arc::new(bundle));
        Some(key)
    }

    /// Reads a certificate and the files beside it, unless that was done before.
    fn load(&mut self, path: &str, at: Location) -> Option<Box<str>> {
        if self.base.tls.certificate(path).is_some() {
            return Some(path.into());
        }
        let defaults = self.base.tls_defaults();
        let pem = self.read(path, at)?;
        let stem = match path.strip_suffix(".crt") {
            Some(stem) if defaults.drop_extension => stem,
            _ => path,
        };
        let has_key = pem.windows(KEY_MARK.len()).any(|window| window == KEY_MARK);
        let key = self.beside(defaults.extras.key && !has_key, stem, "key", at)?;
        let ocsp = self.beside(defaults.extras.ocsp, stem, "ocsp", at)?;
        let issuer = self.beside(defaults.extras.issuer, stem, "issuer", at)?;
        let parts = Parts {
            pem: &pem,
            key: key.as_deref(),
            ocsp: ocsp.as_deref(),
            issuer: issuer.as_deref(),
            skip_self_issued_ca: defaults.skip_self_issued_ca,
        };
        let bundle = self.judged(path, Bundle::new(&parts), at)?;
        let bundle = self.completed(bundle);
        self.base.tls.set_certificate(path, Arc::new(bundle));
        Some(path.into())
    }

    /// A file beside a certificate, where there is one. `None`: it cannot be read.
    fn beside(
        &mut self,
        wanted: bool,
        stem: &str,
        extension: &str,
        at: Location,
    ) -> Option<Option<Vec<u8>>> {
        let path = format!("{stem}.{extension}");
        if !wanted || !self.is_file(&path) {
            return Some(None);
        }
        self.read(&path, at).map(Some)
    }

    /// A certificate that can be used; says where it is out of its time, as nobody will believe it.
    fn judged(
        &mut self,
        path: &str,
        found: Result<Bundle, BundleError>,
        at: Location,
    ) -> Option<Bundle> {
        let bundle = match found {
            Ok(bundle) => bundle,
            Err(error) => {
                let path = match error.part() {
                    telamon_tls::Part::Pem => path.to_owned(),
                    telamon_tls::Part::Key => format!("{path}.key"),
                    telamon_tls::Part::Issuer => format!("{path}.issuer"),
                };
                let mistake =
                    TlsMistake::environment(error.to_string(), error.help()).of_file(&path);
                self.to.error(at, mistake.into());
                return None;
            }
        };
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
        let (what, when) = match () {
            () if now > bundle.not_after => ("the certificate has expired on", bundle.not_after),
            () if now < bundle.not_before => {
                ("the certificate is not valid before", bundle.not_before)
            }
            () => return Some(bundle),
        };
        let title = format!("{what} {}", date(when));
        let help = "it is loaded all the same, as HAProxy does; clients that verify it will refuse it: put a new one in its place";
        self.to.warning(at, TlsMistake::environment(title, help).of_file(path).into());
        Some(bundle)
    }

    /// The certificate with the chain that `issuers-chain-path` has for it, where its own file has none.
    fn completed(&mut self, bundle: Bundle) -> Bundle {
        let Some((directory, at)) = &self.base.tls_defaults().issuers else { return bundle };
        if bundle.chain().len() > 1 {
            return bundle;
        }
        let base = self.base;
        let chains = base.tls_issuers.get_or_init(|| self.issuers(directory, *at));
        let Ok(leaf) = Certificate::parse(bundle.chain()[0].as_ref()) else { return bundle };
        let issuer = leaf.issuer().oneline();
        match chains.get(&issuer) {
            Some(chain) => bundle.with_chain(chain),
            None => bundle,
        }
    }

    /// The chains of `issuers-chain-path`, by the name of their first certificate.
    fn issuers(&mut self, directory: &str, at: Location) -> super::super::base::Issuers {
        let mut chains = super::super::base::Issuers::new();
        for path in self.entries(directory, at).unwrap_or_default() {
            let Some(text) = self.read(&path, at) else { continue };
            match read_certificates(&text) {
                Ok(chain) => {
                    let first =
                        chain.first().and_then(|first| Certificate::parse(first.as_ref()).ok());
                    if let Some(name) = first.map(|first| first.subject().oneline()) {
                        chains.entry(name).or_insert(chain);
                    }
                }
                Err(error) => {
                    let mistake =
                        TlsMistake::environment(error.to_string(), error.help()).of_file(&path);
                    self.to.error(at, mistake.into());
                }
            }
        }
        chains
    }

    /// All certificates of a directory, as a list.
    fn directory(&mut self, path: &str, at: Location) -> Option<Box<str>> {
        if self.base.tls.crt_list(path).is_some() {
            return Some(path.into());
        }
        let before = self.to.errors();
        let extras = self.base.tls_defaults().extras;
        let mut list = CrtList { is_directory: true, ..CrtList::default() };
        for entry in self.entries(path, at)? {
            let skipped = [
                (extras.key, "key"),
                (extras.ocsp, "ocsp"),
                (extras.issuer, "issuer"),
                (extras.sctl, "sctl"),
            ];
            let extension = entry.rsplit_once('.').map_or("", |(_, extension)| extension);
            if skipped.iter().any(|(on, name)| *on && *name == extension) {
                continue;
            }
            if let Some(certificate) = self.load(&entry, at) {
                list.lines.push(CrtLine { certificate, ..CrtLine::default() });
            }
        }
        if self.to.errors() > before {
            return None;
        }
        self.base.tls.set_crt_list(path, list);
        Some(path.into())
    }

    /// What `crt-list` names.
    pub(super) fn list(&mut self, written: &str, at: Location) -> Option<Box<str>> {
        if self.base.tls.crt_list(written).is_some() {
            return Some(written.into());
        }
        let before = self.to.errors();
        if let Ok(PathKind::Directory) = self.base.files.kind(Path::new(written)) {
            return self.directory(written, at);
        }
        let text = self.read(written, at)?;
        let mut list = match CrtList::parse(&text) {
            Ok(list) => list,
            Err(error) => {
                let help = "a line is `FILE [settings] name...`";
                self.to.error(
                    at,
                    TlsMistake::environment(error.to_string(), help).of_file(written).into(),
                );
                return None;
            }
        };
        let mut lines = Vec::with_capacity(list.lines.len());
        for mut line in std::mem::take(&mut list.lines) {
            self.trust(&mut line.offer, Places::all(at));
            for certificate in self.bundle(&line.certificate, at) {
                lines.push(CrtLine { certificate, ..line.clone() });
            }
        }
        list.lines = lines;
        if self.to.errors() > before {
            return None;
        }
        self.base.tls.set_crt_list(written, list);
        Some(written.into())
    }

    /// Reads the files of authorities and revocations that settings name, and puts their names in the store there.
    pub(super) fn trust(&mut self, offer: &mut Offer, places: Places) {
        if let Some(name) = offer.ca_file.take() {
            offer.ca_file = self.ca_file(&name, places.ca_file).or(Some(name));
        }
        if let Some(name) = offer.ca_verify_file.take() {
            offer.ca_verify_file = self.ca_file(&name, places.ca_verify_file).or(Some(name));
        }
        if let Some(name) = offer.crl_file.take() {
            offer.crl_file = self.crl_file(&name, places.crl_file).or(Some(name));
        }
    }

    fn ca_file(&mut self, written: &str, at: Location) -> Option<Box<str>> {
        let path = self.under_ca_base(written);
        if self.base.tls.ca_file(&path).is_some() {
            return Some(path.into());
        }
        let texts = match written {
            "@system-ca" => vec![self.system_authorities(at)?],
            _ => match self.base.files.kind(Path::new(&*path)) {
                Ok(PathKind::Directory) => {
                    let entries = self.entries(&path, at)?;
                    let known = |entry: &String| {
                        CA_EXTENSIONS.iter().any(|extension| entry.ends_with(extension))
                    };
                    let files: Vec<_> = entries.into_iter().filter(known).collect();
                    files.iter().filter_map(|file| self.read(file, at)).collect()
                }
                _ => vec![self.read(&path, at)?],
            },
        };
        match CaFile::parse(texts.iter().map(Vec::as_slice)) {
            Ok(file) => {
                if self.base.tls.set_ca_file(&path, Arc::new(file)).is_err() {
                    return None;
                }
                Some(path.into())
            }
            Err(error) => {
                let help = "it must hold the certificates of authorities as `-----BEGIN CERTIFICATE-----` blocks";
                self.to.error(
                    at,
                    TlsMistake::environment(error.to_string(), help).of_file(&path).into(),
                );
                None
            }
        }
    }

    fn system_authorities(&mut self, at: Location) -> Option<Vec<u8>> {
        let there = SYSTEM_CA.iter().find(|path| self.is_file(path));
        match there {
            Some(path) => self.read(path, at),
            None => {
                let title =
                    "the system's authorities are in none of the places that are known".to_owned();
                let help = format!(
                    "one of {} is looked for; install `ca-certificates`, or name a file",
                    SYSTEM_CA.join(", ")
                );
                self.to.error(at, TlsMistake::environment(title, help).into());
                None
            }
        }
    }

    fn crl_file(&mut self, written: &str, at: Location) -> Option<Box<str>> {
        let path = self.under_ca_base(written);
        if self.base.tls.crl_file(&path).is_some() {
            return Some(path.into());
        }
        let text = self.read(&path, at)?;
        match CrlFile::parse(&text) {
            Ok(file) => {
                if self.base.tls.set_crl_file(&path, Arc::new(file)).is_err() {
                    return None;
                }
                Some(path.into())
            }
            Err(error) => {
                let title = match error {
                    BundleError::NoCertificate { .. } => {
                        "it holds no list of revocations".to_owned()
                    }
                    other => other.to_string(),
                };
                let help = "it must hold lists of revocations as `-----BEGIN X509 CRL-----` blocks";
                self.to.error(at, TlsMistake::environment(title, help).of_file(&path).into());
                None
            }
        }
    }

    pub(super) fn ticket_keys(&mut self, path: &str, at: Location) -> Option<Arc<TicketKeys>> {
        let mut known = self.base.tls_tickets.borrow_mut();
        if let Some(keys) = known.get(path) {
            return Some(Arc::clone(keys));
        }
        let text = self.read(path, at)?;
        match parse_ticket_keys(&text) {
            Ok(keys) => {
                known.insert(path.into(), Arc::clone(&keys));
                Some(keys)
            }
            Err(mistake) => {
                self.to.error(at, mistake.of_file(path).into());
                None
            }
        }
    }

    /// The files of a directory without those that begin with a dot, in order.
    fn entries(&mut self, directory: &str, at: Location) -> Option<Vec<String>> {
        let paths = match self.base.files.list(Path::new(directory)) {
            Ok(paths) => paths,
            Err(error) => {
                self.to.error(at, unreadable(directory, error));
                return None;
            }
        };
        let paths = paths.iter().map(|path| path.to_string_lossy().into_owned());
        let visible =
            |path: &String| !path.rsplit('/').next().is_some_and(|name| name.starts_with('.'));
        let files: Vec<_> = paths.filter(visible).collect();
        Some(files.into_iter().filter(|path| self.is_file(path)).collect())
    }

    fn is_file(&self, path: &str) -> bool {
        matches!(self.base.files.kind(Path::new(path)), Ok(PathKind::File))
    }

    fn read(&mut self, path: &str, at: Location) -> Option<Vec<u8>> {
        self.base.read(self.to, path, at)
    }

    fn under_crt_base<'p>(&self, path: &'p str) -> Cow<'p, str> {
        under(self.base.tls_defaults().crt_base.as_deref(), path)
    }

    fn under_ca_base<'p>(&self, path: &'p str) -> Cow<'p, str> {
        under(self.base.tls_defaults().ca_base.as_deref(), path)
    }
}

/// A path below a directory, unless it says where it is itself.
pub(super) fn under<'p>(directory: Option<&str>, path: &'p str) -> Cow<'p, str> {
    match directory {
        Some(directory) if !path.starts_with(['/', '@']) => format!("{directory}/{path}").into(),
        _ => path.into(),
    }
}

/// The day of a time, such as `2018-01-16`.
fn date(seconds: i64) -> String {
    // Civil days from a count of them: eras of 400 years that begin in March.
    let days = seconds.div_euclid(86400) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let (day, month) =
        (day - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + i64::from(month <= 2))
}

const KEY_MARK: &[u8] = b"PRIVATE KEY-----";
const BUNDLE: [&str; 3] = ["rsa", "ecdsa", "dsa"];
const CA_EXTENSIONS: [&str; 4] = [".pem", ".crt", ".cer", ".crl"];

/// Where systems keep the authorities that they believe: Debian, Red Hat, SUSE, Alpine and the BSDs.
const SYSTEM_CA: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

#[cfg(test)]
mod tests {
    #[test]
    fn days_have_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_516_143_758, "2018-01-16"),
            (-1, "1969-12-31"),
            (4_102_444_799, "2099-12-31"),
        ] {
            assert_eq!(super::date(seconds), expected);
        }
    }
}
