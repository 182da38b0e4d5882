//! What one `bind` line offers: which certificate and which settings answer a client's hello.
//!
//! ```text
//! hello -> name, kinds of key -> Table -> Entry -> ServerConfig
//! ```
//!
//! An [`Entry`](table::Entry) is a certificate on one line of the configuration. Its `ServerConfig` is made when it is
//! first asked for, as a copy of one that all entries with the same settings share. The [`Table`](table::Table) finds
//! entries by name in constant time, however many there are; it changes at run time under a lock that a handshake holds
//! for as long as it looks up.

mod table;

use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{ServerConfig, SignatureAlgorithm, SignatureScheme};

use crate::bundle::Bundle;
use crate::cipher;
use crate::crt_list::CrtLine;
use crate::offer::{Offer, Verify};
use crate::provider;
use crate::store::{Lookup, Store};
use crate::tickets::{Context, Sessions, TicketKeys, Tickets};
use crate::verify::{CaFile, ClientVerifier, Trust, Verdict};
use table::{Entry, Table};

/// What a `bind` line says of TLS.
#[derive(Debug, Clone)]
pub struct AcceptorSpec {
    /// With `ssl-default-bind-*` in it.
    pub offer: Offer,
    pub certificates: Vec<Source>,
    /// `strict-sni`: who asks for a name that no certificate has gets none.
    pub strict_sni: bool,
    pub resumption: Resumption,
}

/// Where certificates come from. Files are those of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Certificate(Box<str>),
    /// A list, or a directory.
    List(Box<str>),
}

/// How sessions are taken up again.
#[derive(Debug, Clone)]
pub struct Resumption {
    /// `tls-ticket-keys`; `None` takes the keys of the process.
    pub tickets: Option<Arc<TicketKeys>>,
    /// `tune.ssl.cachesize`: sessions kept for clients that take no tickets, over all listeners; 0 keeps none.
    pub sessions_max: usize,
    /// `tune.ssl.lifetime`: seconds that a session may be taken up for.
    pub lifetime_s: u32,
}

impl Default for Resumption {
    fn default() -> Self {
        Self { tickets: None, sessions_max: 20_000, lifetime_s: 300 }
    }
}

/// No certificate for the name that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoCertificate;

/// Why a line cannot be used.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildError {
    /// A file that the store does not have; whoever loads puts it there first.
    NotLoaded(Box<str>),
    /// No version of TLS is left.
    NoVersion,
    /// `verify` without authorities.
    NoCaFile,
    Rustls(rustls::Error),
}

/// What one `bind` line offers.
#[derive(Debug)]
pub struct Acceptor {
    spec: AcceptorSpec,
    table: RwLock<Table>,
}

impl Acceptor {
    /// Files must be in the store, which tells the acceptor of their replacements.
    ///
    /// # Errors
    /// What the line asks for that cannot be.
    pub fn new(spec: AcceptorSpec, store: &Store) -> Result<Arc<Self>, BuildError> {
        let acceptor = store.with_lookup(|files| {
            let acceptor = Self { spec, table: RwLock::default() };
            // Also without any certificate: it is an error now, not once one is added.
            acceptor.settings(files, &Offer::default())?;
            for source in &acceptor.spec.certificates {
                match source {
                    Source::Certificate(name) => {
                        let line = CrtLine { certificate: name.clone(), ..CrtLine::default() };
                        acceptor.add(files, &line, None)?;
                    }
                    Source::List(name) => {
                        let list = files
                            .crt_list(name)
                            .ok_or_else(|| BuildError::NotLoaded(name.clone()))?;
                        for line in &list.lines {
                            acceptor.add(files, line, Some(name))?;
                        }
                    }
                }
            }
            Ok(acceptor)
        })?;
        let acceptor = Arc::new(acceptor);
        store.join_acceptor(&acceptor);
        Ok(acceptor)
    }

    /// The configuration that answers a client's hello.
    ///
    /// A certificate for the very name comes before one for a wildcard, ECDSA before RSA where the client can verify
    /// it; a client without a name, or with one that no certificate has, gets the first certificate, unless the line is
    /// `strict-sni`.
    ///
    /// # Errors
    /// There is none: the answer is the alert `unrecognized_name`.
    pub fn choose(&self, hello: &ClientHello<'_>) -> Result<Arc<ServerConfig>, NoCertificate> {
        let wanted = Wanted::new(hello);
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let found = hello.server_name().and_then(|name| table.find(name, wanted));
        let entry = match found {
            Some(entry) => entry,
            None if self.spec.strict_sni => return Err(NoCertificate),
            None => table.default(wanted).ok_or(NoCertificate)?,
        };
        Ok(entry.config())
    }

    /// The verdict on a client's certificates under the settings that a name gets, for sessions that were resumed:
    /// rustls does not look at certificates again then. The client's own comes first.
    pub fn verdict(
        &self,
        name: Option<&str>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Verdict {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let found = name
            .and_then(|name| table.find(name, Wanted::ANY))
            .or_else(|| table.default(Wanted::ANY));
        let verifier = found.and_then(|entry| entry.settings.verifier.clone());
        drop(table);
        verifier.map_or_else(Verdict::default, |verifier| verifier.verdict(chain, now))
    }

    /// What the line says.
    pub fn spec(&self) -> &AcceptorSpec {
        &self.spec
    }

    /// The keys that its tickets are sealed with (`show tls-keys`); `None` where they are the process's.
    pub fn ticket_keys(&self) -> Option<&Arc<TicketKeys>> {
        self.spec.resumption.tickets.as_ref()
    }

    /// Whether it is a line of this list that answers clients for whose name there is no certificate.
    pub fn falls_back_on(&self, list: &str, certificate: &str) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        !self.spec.strict_sni && table.begins_with(list, certificate)
    }

    /// Whether a certificate of that name is offered.
    pub(crate) fn offers(&self, name: &str) -> bool {
        self.table.read().unwrap_or_else(PoisonError::into_inner).holds(name)
    }

    pub(crate) fn uses_list(&self, name: &str) -> bool {
        self.spec
            .certificates
            .iter()
            .any(|source| matches!(source, Source::List(list) if &**list == name))
    }

    /// Whether any line believes a file of authorities or revocations.
    pub(crate) fn trusts(&self, name: &str) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.in_use().any(|settings| settings.trusts(name))
    }

    pub(crate) fn replace(&self, name: &str, bundle: &Arc<Bundle>) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).replace(name, bundle);
    }

    pub(crate) fn insert(&self, entry: Entry) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).insert(entry);
    }

    pub(crate) fn remove(&self, list: &str, certificate: &str, number: Option<u32>) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(
            list,
            certificate,
            number,
        );
    }

    /// The settings that believe a file, made anew with what it holds now.
    pub(crate) fn renewed_trust(
        &self,
        files: &Lookup<'_>,
        name: &str,
    ) -> Result<Vec<Arc<Settings>>, rustls::Error> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut renewed = Vec::new();
        for settings in &table.settings {
            renewed.push(match settings.trusts(name) {
                true => Arc::new(
                    Settings::new(settings.offer.clone(), &self.spec.resumption, files).map_err(
                        |error| match error {
                            BuildError::Rustls(error) => error,
                            other => rustls::Error::General(other.to_string()),
                        },
                    )?,
                ),
                false => Arc::clone(settings),
            });
        }
        Ok(renewed)
    }

    pub(crate) fn take_trust(&self, settings: Vec<Arc<Settings>>) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).take_settings(settings);
    }

    fn add(
        &self,
        files: &Lookup<'_>,
        line: &CrtLine,
        list: Option<&str>,
    ) -> Result<(), BuildError> {
        let bundle = files
            .certificate(&line.certificate)
            .ok_or_else(|| BuildError::NotLoaded(line.certificate.clone()))?;
        let entry = self.prepare(files, line, bundle, list)?;
        self.insert(entry);
        Ok(())
    }

    /// An entry that is not in the table yet.
    pub(crate) fn prepare(
        &self,
        files: &Lookup<'_>,
        line: &CrtLine,
        bundle: &Arc<Bundle>,
        list: Option<&str>,
    ) -> Result<Entry, BuildError> {
        let settings = self.settings(files, &line.offer)?;
        Ok(Entry::new(line, list, Arc::clone(bundle), settings))
    }

    /// The settings of a line; lines that say the same share them.
    fn settings(&self, files: &Lookup<'_>, own: &Offer) -> Result<Arc<Settings>, BuildError> {
        let offer = own.or(&self.spec.offer);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.settings.iter().find(|settings| settings.offer == offer) {
            return Ok(Arc::clone(known));
        }
        let settings = Arc::new(Settings::new(offer, &self.spec.resumption, files)?);
        table.settings.push(Arc::clone(&settings));
        Ok(settings)
    }
}

/// What entries share that say the same.
#[derive(Debug)]
pub(crate) struct Settings {
    offer: Offer,
    /// Complete but for the certificate.
    prototype: ServerConfig,
    verifier: Option<Arc<ClientVerifier>>,
}

impl Settings {
    fn new(offer: Offer, resumption: &Resumption, files: &Lookup<'_>) -> Result<Self, BuildError> {
        let versions = offer.versions.list();
        if versions.is_empty() {
            return Err(BuildError::NoVersion);
        }
        let provider = CryptoProvider {
            cipher_suites: cipher::supported(&offer),
            kx_groups: cipher::supported_groups(offer.curves.as_deref()),
            ..(**provider()).clone()
        };
        let verifier = client_verifier(&offer, files)?;
        let builder = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .map_err(BuildError::Rustls)?;
        let mut prototype = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier) as _),
            None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
        }
        .with_cert_resolver(Arc::new(NoKey));
        prototype.alpn_protocols = offer.alpn.clone().unwrap_or_default();
        prototype.ignore_client_order = !offer.prefer_client_ciphers;
        let context = context(&offer, files);
        let lifetime_s = resumption.lifetime_s;
        if !offer.no_tickets {
            let keys = resumption.tickets.clone().unwrap_or_else(TicketKeys::of_process);
            prototype.ticketer = Arc::new(Tickets { keys, context, lifetime_s });
        }
        prototype.session_storage = match resumption.sessions_max {
            0 => Arc::new(NoServerSessionStorage {}),
            max => Arc::new(Sessions { cache: Sessions::of_process(max), context, lifetime_s }),
        };
        if offer.no_tickets && resumption.sessions_max == 0 {
            prototype.send_tls13_tickets = 0;
        }
        Ok(Self { offer, prototype, verifier })
    }

    fn trusts(&self, name: &str) -> bool {
        let Offer { ca_file, ca_verify_file, crl_file, verify, .. } = &self.offer;
        let files = [ca_file, ca_verify_file, crl_file];
        !matches!(verify, None | Some(Verify::None))
            && files.into_iter().any(|file| file.as_deref() == Some(name))
    }

    /// The configuration that offers a certificate.
    fn config(&self, bundle: &Bundle) -> Arc<ServerConfig> {
        let mut config = self.prototype.clone();
        let key = match &self.offer.sigalgs {
            None => Arc::clone(&bundle.key),
            Some(allowed) => {
                let (inner, allowed) = (Arc::clone(&bundle.key.key), allowed.clone());
                let key = Arc::new(LimitedKey { inner, allowed });
                Arc::new(CertifiedKey { key, ..(*bundle.key).clone() })
            }
        };
        config.cert_resolver = Arc::new(OneKey(key));
        Arc::new(config)
    }
}

fn client_verifier(
    offer: &Offer,
    files: &Lookup<'_>,
) -> Result<Option<Arc<ClientVerifier>>, BuildError> {
    let mandatory = match offer.verify.unwrap_or_default() {
        Verify::None => return Ok(None),
        Verify::Optional => false,
        Verify::Required => true,
    };
    let find = |name: &Option<Box<str>>| -> Result<Option<Arc<CaFile>>, BuildError> {
        let Some(name) = name else { return Ok(None) };
        files.ca_file(name).cloned().map(Some).ok_or_else(|| BuildError::NotLoaded(name.clone()))
    };
    let (named, more) = (find(&offer.ca_file)?, find(&offer.ca_verify_file)?);
    let revocations = match &offer.crl_file {
        None => None,
        Some(name) => {
            let found = files.crl_file(name).cloned();
            Some(found.ok_or_else(|| BuildError::NotLoaded(name.clone()))?)
        }
    };
    let authorities = named.clone().or_else(|| more.clone()).ok_or(BuildError::NoCaFile)?;
    let trust = Trust::new(authorities, more.as_deref(), revocations);
    let named = named.as_deref().filter(|_| !offer.no_ca_names);
    let ignored = (offer.ca_ignore, offer.crt_ignore);
    Ok(Some(ClientVerifier::new(trust, mandatory, named, ignored, offer.client_sigalgs.as_deref())))
}

/// What a session must have in common with a listener to be taken up there: who is let in.
fn context(offer: &Offer, files: &Lookup<'_>) -> Context {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let verify = offer.verify.unwrap_or_default();
    hash.update(&[verify as u8]);
    if verify != Verify::None {
        for name in [&offer.ca_file, &offer.ca_verify_file].into_iter().flatten() {
            for certificate in files.ca_file(name).iter().flat_map(|file| file.certificates()) {
                hash.update(&(certificate.len() as u64).to_be_bytes());
                hash.update(certificate);
            }
            hash.update(b"/");
        }
        for list in offer
            .crl_file
            .iter()
            .filter_map(|name| files.crl_file(name))
            .flat_map(|file| file.lists())
        {
            hash.update(list);
        }
        hash.update(format!("{:?}{:?}", offer.ca_ignore, offer.crt_ignore).as_bytes());
    }
    let mut context = Context::default();
    context.copy_from_slice(hash.finish().as_ref());
    context
}

/// The kinds of key that a client can verify.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    ecdsa: bool,
    rsa: bool,
}

impl Wanted {
    const ANY: Self = Self { ecdsa: true, rsa: true };

    fn new(hello: &ClientHello<'_>) -> Self {
        use SignatureScheme as S;
        let schemes = hello.signature_schemes();
        let any = |wanted: &[SignatureScheme]| schemes.iter().any(|scheme| wanted.contains(scheme));
        // Before TLS 1.3 a suite names the kind of key too.
        let suite = |suite: &rustls::CipherSuite| {
            let number = u16::from(*suite);
            number >> 8 == 0x13
                || matches!(number, 0xc02b | 0xc02c | 0xcca9 | 0xc009 | 0xc00a | 0xc023 | 0xc024)
        };
        let ecdsa = any(&[
            S::ECDSA_NISTP256_SHA256,
            S::ECDSA_NISTP384_SHA384,
            S::ECDSA_NISTP521_SHA512,
            S::ED25519,
        ]);
        let rsa = [
            S::RSA_PKCS1_SHA256,
            S::RSA_PKCS1_SHA384,
            S::RSA_PKCS1_SHA512,
            S::RSA_PSS_SHA256,
            S::RSA_PSS_SHA384,
            S::RSA_PSS_SHA512,
        ];
        Self { ecdsa: ecdsa && hello.cipher_suites().iter().any(suite), rsa: any(&rsa) }
    }
}

/// Always the same key.
#[derive(Debug)]
struct OneKey(Arc<CertifiedKey>);

impl ResolvesServerCert for OneKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct NoKey;

impl ResolvesServerCert for NoKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// A key that signs only in some ways (`sigalgs`).
#[derive(Debug)]
struct LimitedKey {
    inner: Arc<dyn SigningKey>,
    allowed: Vec<SignatureScheme>,
}

impl SigningKey for LimitedKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let both: Vec<_> =
            self.allowed.iter().copied().filter(|scheme| offered.contains(scheme)).collect();
        self.inner.choose_scheme(&both)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }
}

impl std::fmt::Display for NoCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no certificate for the name that the client asks for")
    }
}

impl std::error::Error for NoCertificate {}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotLoaded(name) => write!(f, "`{name}` was not loaded"),
            Self::NoVersion => f.write_str("no version of TLS is left"),
            Self::NoCaFile => {
                f.write_str("certificates are to be verified, and there is no authority to believe")
            }
            Self::Rustls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}
