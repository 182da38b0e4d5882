//! Whether a certificate is to be believed, with OpenSSL's numbers for why not.
//!
//! webpki decides. Where it refuses, [`path`] walks the chain once more to say which certificate is wrong and how in
//! OpenSSL's numbers, for HAProxy's configurations name them (`ca-ignore-err`, `crt-ignore-err`) and its logs show
//! them. Errors that a line ignores are ignored as HAProxy does: each certificate's own, at its own depth.

mod client;
mod errors;
mod host;
mod path;
mod server;

use std::cell::Cell;
use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use webpki::{CertRevocationList, KeyUsage, OwnedCertRevocationList, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer, X509Certificate};

pub(crate) use client::ClientVerifier;
pub use errors::{ErrorSet, error_name, error_number};
pub(crate) use server::ServerVerifier;

use crate::bundle::{BundleError, Part, read_certificates};
use crate::pem::blocks;
use crate::provider;
use crate::revocation::RevocationList;

/// Authorities: what a `ca-file` holds.
#[derive(Debug, Default)]
pub struct CaFile {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    /// From when to when each anchor is valid, in seconds since 1970.
    times: Vec<(i64, i64)>,
}

impl CaFile {
    /// Reads one file, or those of a directory one after the other.
    ///
    /// # Errors
    /// What is no PEM or no certificate, or no certificate at all.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Result<Self, BundleError> {
        let mut file = Self::default();
        for text in texts {
            for certificate in read_certificates(text)? {
                file.add(certificate);
            }
        }
        if file.certificates.is_empty() {
            return Err(BundleError::NoCertificate { part: Part::Pem });
        }
        Ok(file)
    }

    /// Its certificates, in order.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Certificates that cannot vouch for others (their form is beyond what webpki knows) are kept for show.
    fn add(&mut self, certificate: CertificateDer<'static>) {
        if self.certificates.contains(&certificate) {
            return;
        }
        if let Ok(anchor) = webpki::anchor_from_trusted_cert(&certificate)
            && let Ok((_, parsed)) = X509Certificate::from_der(&certificate)
        {
            let validity = parsed.validity();
            self.anchors.push(anchor.to_owned());
            self.times.push((validity.not_before.timestamp(), validity.not_after.timestamp()));
        }
        self.certificates.push(certificate);
    }

    fn extended(&self, other: &Self) -> Self {
        let mut all = Self {
            certificates: self.certificates.clone(),
            anchors: self.anchors.clone(),
            times: self.times.clone(),
        };
        other.certificates.iter().for_each(|certificate| all.add(certificate.clone()));
        all
    }
}

/// Revocations: what a `crl-file` holds.
#[derive(Debug, Default)]
pub struct CrlFile {
    ders: Vec<CertificateRevocationListDer<'static>>,
    lists: Vec<CertRevocationList<'static>>,
    /// Some are of version 1, which webpki does not read: all are looked into by [`path`].
    walked: bool,
}

impl CrlFile {
    /// # Errors
    /// What is no PEM, or no list of revocations at all; lists that cannot be read.
    pub fn parse(text: &[u8]) -> Result<Self, BundleError> {
        let part = Part::Pem;
        let mut file = Self::default();
        for block in blocks(text).map_err(|error| BundleError::Pem { part, error })? {
            if block.label != "X509 CRL" {
                continue;
            }
            match OwnedCertRevocationList::from_der(&block.der) {
                Ok(list) => file.lists.push(list.into()),
                Err(_)
                    if RevocationList::parse(&block.der).is_ok_and(|list| list.version() == 1) =>
                {
                    file.walked = true;
                }
                Err(_) => return Err(BundleError::BadCertificate { part, line: block.line }),
            }
            file.ders.push(block.der.into());
        }
        if file.ders.is_empty() {
            return Err(BundleError::NoCertificate { part });
        }
        Ok(file)
    }

    /// Its lists, in order.
    pub fn lists(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.ders
    }
}

/// Whom a verifier believes.
#[derive(Debug)]
pub(crate) struct Trust {
    authorities: Arc<CaFile>,
    revocations: Option<Arc<CrlFile>>,
}

/// What came of looking at a certificate.
///
/// The numbers are OpenSSL's (`X509_V_ERR_…`), 0 where nothing is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The last error, also where it is ignored (`ssl_c_verify`).
    pub result: u8,
    /// The first error of the peer's own certificate (`ssl_c_err`).
    pub err: u8,
    /// The first error of a certificate above it (`ssl_c_ca_err`), and how far above.
    pub ca_err: u8,
    pub ca_err_depth: u8,
    /// The error that has ended the handshake, and its depth.
    pub refused: Option<(u8, u8)>,
}

/// One thing wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flaw {
    /// 0 is the peer's own certificate.
    depth: u8,
    number: u8,
}

thread_local! {
    static LAST: Cell<Option<Verdict>> = const { Cell::new(None) };
}

/// The verdict on the certificate that this thread has looked at last, taken out.
///
/// A verifier cannot hand more than an alert through rustls. Whoever moves a handshake on may ask here right after
/// it: rustls looks at certificates inside `process_new_packets`, on the same thread. `None` where it has not looked
/// at any, as when a session is resumed.
pub fn take_verdict() -> Option<Verdict> {
    LAST.take()
}

impl Trust {
    pub(crate) fn new(
        authorities: Arc<CaFile>,
        more: Option<&CaFile>,
        revocations: Option<Arc<CrlFile>>,
    ) -> Self {
        let authorities = match more {
            Some(more) => Arc::new(authorities.extended(more)),
            None => authorities,
        };
        Self { authorities, revocations }
    }

    /// All that is wrong with a chain, the peer's certificate first. Empty: it is believed.
    fn flaws(&self, chain: &[CertificateDer<'_>], now: UnixTime, of_server: bool) -> Vec<Flaw> {
        let Some((leaf, rest)) = chain.split_first() else { return Vec::new() };
        match self.decide(leaf, rest, now, of_server) {
            Ok(None) if self.revocations.as_ref().is_some_and(|file| file.walked) => {
                path::flaws(self, chain, now, None, of_server)
            }
            Ok(None) => Vec::new(),
            Ok(Some(flaw)) => vec![flaw],
            Err(error) => path::flaws(self, chain, now, Some(&error), of_server),
        }
    }

    fn decide(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
        of_server: bool,
    ) -> Result<Option<Flaw>, webpki::Error> {
        let leaf = webpki::EndEntityCert::try_from(leaf)?;
        let anchors = &self.authorities.anchors;
        let usage = if of_server { KeyUsage::server_auth() } else { KeyUsage::client_auth() };
        let lists: Vec<_> = self
            .revocations
            .iter()
            .filter(|file| !file.walked)
            .flat_map(|file| &file.lists)
            .collect();
        let revocation = match lists.is_empty() {
            true => None,
            false => Some(
                webpki::RevocationOptionsBuilder::new(&lists)
                    .map_err(|_| webpki::Error::UnknownRevocationStatus)?
                    .with_depth(webpki::RevocationCheckDepth::Chain)
                    .with_status_policy(webpki::UnknownStatusPolicy::Deny)
                    .with_expiration_policy(webpki::ExpirationPolicy::Enforce)
                    .build(),
            ),
        };
        let verified =
            leaf.verify_for_usage(algorithms().all, anchors, rest, now, usage, revocation, None)?;
        // webpki leaves an authority's own times alone; OpenSSL does not.
        let used = verified.anchor();
        let depth =
            u8::try_from(verified.intermediate_certificates().count() + 1).unwrap_or(u8::MAX);
        let at = anchors.iter().position(|known| known == used);
        let times = at.and_then(|at| self.authorities.times.get(at));
        let late = times.and_then(|(from, to)| out_of_time(*from, *to, now));
        Ok(late.map(|number| Flaw { depth, number }))
    }

    /// The verdict on a chain, for fetches on sessions that were resumed.
    pub(crate) fn verdict(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        of_server: bool,
        ca_ignore: ErrorSet,
        crt_ignore: ErrorSet,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        for Flaw { depth, number } in self.flaws(chain, now, of_server) {
            verdict.result = number;
            let (first, ignored) = match depth {
                0 => (&mut verdict.err, crt_ignore),
                _ => (&mut verdict.ca_err, ca_ignore),
            };
            if *first == 0 {
                *first = number;
                if depth > 0 {
                    verdict.ca_err_depth = depth;
                }
            }
            if !ignored.contains(number) {
                verdict.refused = Some((number, depth));
                break;
            }
        }
        verdict
    }
}

fn out_of_time(not_before: i64, not_after: i64, now: UnixTime) -> Option<u8> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match () {
        () if now < not_before => Some(errors::NOT_YET_VALID),
        () if now > not_after => Some(errors::EXPIRED),
        () => None,
    }
}

/// Notes a verdict for [`take_verdict`], and makes the error that sends the right alert.
fn conclude(verdict: Verdict) -> Result<(), rustls::Error> {
    LAST.set(Some(verdict));
    let Some((number, _)) = verdict.refused else { return Ok(()) };
    Err(rustls::Error::InvalidCertificate(errors::certificate_error(number)))
}

fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    &provider().signature_verification_algorithms
}

/// Verifies a signature of a handshake of TLS 1.2, by certificates of version 1 too, which webpki does not read and
/// which servers that nobody verifies often have.
fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
    let result =
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms());
    if !is_unreadable(&result) {
        return result;
    }
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let spki = parsed.public_key().raw.into();
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| CertificateError::BadEncoding)?;
    let mapping = algorithms().mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
    let candidates = mapping.map_or(&[][..], |(_, algorithms)| algorithms);
    let valid =
        candidates.iter().any(|a| key.verify_signature(*a, message, signature.signature()).is_ok());
    match valid {
        true => Ok(rustls::client::danger::HandshakeSignatureValid::assertion()),
        false => Err(CertificateError::BadSignature.into()),
    }
}

/// As [`verify_tls12`], of TLS 1.3.
fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
    let result =
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms());
    if !is_unreadable(&result) {
        return result;
    }
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let spki = parsed.public_key().raw.into();
    rustls::crypto::verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms())
}

fn is_unreadable<T>(result: &Result<T, rustls::Error>) -> bool {
    matches!(
        result,
        Err(rustls::Error::InvalidCertificate(
            CertificateError::BadEncoding | CertificateError::Other(_)
        ))
    )
}

/// What the other side may sign with.
fn schemes(wanted: Option<&[SignatureScheme]>) -> Vec<SignatureScheme> {
    let all = algorithms().supported_schemes();
    match wanted {
        None => all,
        Some(wanted) => wanted.iter().copied().filter(|scheme| all.contains(scheme)).collect(),
    }
}
