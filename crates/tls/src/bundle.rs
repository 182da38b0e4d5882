//! A certificate with its chain and its key, as HAProxy's PEM bundles have it.
//!
//! One file may hold everything; parts may stand beside it (`.key`, `.ocsp`, `.issuer`, `.sctl`). The first
//! certificate is the server's, the others are its chain, in order. `DH PARAMETERS` are passed over.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::pem::{Block, PemError, blocks};
use crate::provider;

/// The texts that one certificate is made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts<'p> {
    pub pem: &'p [u8],
    /// `.key`; looked at where the PEM has no key.
    pub key: Option<&'p [u8]>,
    /// `.ocsp`: a response in DER, sent with the certificate.
    pub ocsp: Option<&'p [u8]>,
    /// `.issuer`: the certificate that has signed it, where the chain does not have it.
    pub issuer: Option<&'p [u8]>,
    /// `ssl-skip-self-issued-ca`: leaves a root at the end of the chain out.
    pub skip_self_issued_ca: bool,
}

/// A certificate that can be offered.
#[derive(Debug)]
pub struct Bundle {
    pub key: Arc<CertifiedKey>,
    pub issuer: Option<CertificateDer<'static>>,
    /// What it is good for by its own words, in lower case: names of its subject and alternative names.
    pub names: Vec<Box<str>>,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

/// Why there is no certificate in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleError {
    Pem {
        part: Part,
        error: PemError,
    },
    NoCertificate {
        part: Part,
    },
    BadCertificate {
        part: Part,
        line: u32,
    },
    NoKey,
    EncryptedKey {
        part: Part,
        line: u32,
    },
    /// A key of a kind that is not there (DSA), or broken.
    BadKey {
        part: Part,
        line: u32,
        label: Box<str>,
    },
    /// It is not the certificate's.
    WrongKey {
        part: Part,
    },
}

/// Which of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Pem,
    Key,
    Issuer,
}

impl Bundle {
    /// # Errors
    /// What is missing or wrong, and in which text.
    pub fn new(parts: &Parts<'_>) -> Result<Self, BundleError> {
        let read = |part, text| blocks(text).map_err(|error| BundleError::Pem { part, error });
        let pem = read(Part::Pem, parts.pem)?;
        let key = match find_key(&pem, Part::Pem)? {
            Some(key) => Some((key, Part::Pem)),
            None => match parts.key {
                Some(text) => {
                    find_key(&read(Part::Key, text)?, Part::Key)?.map(|key| (key, Part::Key))
                }
                None => None,
            },
        };
        let mut chain = certificates(&pem, Part::Pem)?;
        if chain.is_empty() {
            return Err(BundleError::NoCertificate { part: Part::Pem });
        }
        let issuer = match parts.issuer {
            Some(text) => {
                let mut issuers = certificates(&read(Part::Issuer, text)?, Part::Issuer)?;
                if issuers.is_empty() {
                    return Err(BundleError::NoCertificate { part: Part::Issuer });
                }
                Some(issuers.swap_remove(0))
            }
            None => chain.get(1).cloned(),
        };
        if parts.skip_self_issued_ca && chain.len() > 1 {
            let last = chain.last().and_then(|last| X509Certificate::from_der(last).ok());
            if last.is_some_and(|(_, last)| last.subject().as_raw() == last.issuer().as_raw()) {
                chain.pop();
            }
        }
        let (key, part) = key.ok_or(BundleError::NoKey)?;
        let ocsp = parts.ocsp.filter(|response| !response.is_empty()).map(<[u8]>::to_vec);
        Self::assemble(chain, key, part, issuer, ocsp)
    }

    /// Puts together what was read; the chain is not empty, and the key came with that part.
    pub(crate) fn assemble(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
        part: Part,
        issuer: Option<CertificateDer<'static>>,
        ocsp: Option<Vec<u8>>,
    ) -> Result<Self, BundleError> {
        let first = chain.first().ok_or(BundleError::NoCertificate { part: Part::Pem })?;
        let broken = || BundleError::BadCertificate { part: Part::Pem, line: 1 };
        let (_, leaf) = X509Certificate::from_der(first).map_err(|_| broken())?;
        // A key that does not say what its public half is cannot be compared.
        if key.public_key().is_some_and(|public| public.as_ref() != leaf.public_key().raw) {
            return Err(BundleError::WrongKey { part });
        }
        let (names, validity) = (names(&leaf), leaf.validity());
        let (not_before, not_after) =
            (validity.not_before.timestamp(), validity.not_after.timestamp());
        let key = Arc::new(CertifiedKey { cert: chain, key, ocsp });
        Ok(Self { key, issuer, names, not_before, not_after })
    }

    /// The certificate itself, and those that vouch for it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// The same certificate with these certificates behind it.
    #[must_use]
    pub fn with_chain(&self, rest: &[CertificateDer<'static>]) -> Self {
        let mut cert = self.key.cert[..1].to_vec();
        cert.extend_from_slice(rest);
        let key =
            CertifiedKey { cert, key: Arc::clone(&self.key.key), ocsp: self.key.ocsp.clone() };
        Self {
            key: Arc::new(key),
            issuer: rest.first().cloned().or_else(|| self.issuer.clone()),
            ..self.same()
        }
    }

    /// The same certificate with another OCSP response.
    #[must_use]
    pub fn with_ocsp(&self, ocsp: Option<Vec<u8>>) -> Self {
        let key =
            CertifiedKey { cert: self.key.cert.clone(), key: Arc::clone(&self.key.key), ocsp };
        Self { key: Arc::new(key), ..self.same() }
    }

    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
    }

    fn same(&self) -> Self {
        Self {
            key: Arc::clone(&self.key),
            issuer: self.issuer.clone(),
            names: self.names.clone(),
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }
}

/// The certificates of a text that holds any number of them.
///
/// # Errors
/// What is no PEM or no certificate.
pub fn read_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    let part = Part::Pem;
    let blocks = blocks(text).map_err(|error| BundleError::Pem { part, error })?;
    certificates(&blocks, part)
}

pub(crate) fn certificates(
    blocks: &[Block<'_>],
    part: Part,
) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    let mut found = Vec::new();
    for block in blocks {
        if !matches!(block.label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") {
            continue;
        }
        let Ok((rest, _)) = X509Certificate::from_der(&block.der) else {
            return Err(BundleError::BadCertificate { part, line: block.line });
        };
        // OpenSSL's `TRUSTED CERTIFICATE` has its own words after the certificate.
        let len = block.der.len() - rest.len();
        found.push(CertificateDer::from(block.der[..len].to_vec()));
    }
    Ok(found)
}

pub(crate) fn find_key(
    blocks: &[Block<'_>],
    part: Part,
) -> Result<Option<Arc<dyn SigningKey>>, BundleError> {
    let is_key = |block: &&Block<'_>| block.label.ends_with("PRIVATE KEY");
    let Some(block) = blocks.iter().find(is_key) else { return Ok(None) };
    let line = block.line;
    if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
        return Err(BundleError::EncryptedKey { part, line });
    }
    let bad = || BundleError::BadKey { part, line, label: block.label.into() };
    let der = block.der.clone();
    let der: PrivateKeyDer<'static> = match block.label {
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
        "PRIVATE KEY" => PrivatePkcs8KeyDer::from(der).into(),
        _ => return Err(bad()),
    };
    provider().key_provider.load_private_key(der).map(Some).map_err(|_| bad())
}

/// The names that HAProxy finds a certificate by: its alternative names and those of its subject.
fn names(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    let mut add = |name: &str| {
        let name = name.to_ascii_lowercase();
        if !name.is_empty() && !names.iter().any(|known| **known == *name) {
            names.push(name.into());
        }
    };
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            if let GeneralName::DNSName(name) = name {
                add(name);
            }
        }
    }
    for name in certificate.subject().iter_common_name() {
        if let Ok(name) = name.as_str() {
            add(name);
        }
    }
    names
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem { error, .. } => error.fmt(f),
            Self::NoCertificate { .. } => f.write_str("it holds no certificate"),
            Self::BadCertificate { line, .. } => {
                write!(f, "line {line}: the certificate that begins here cannot be read")
            }
            Self::NoKey => f.write_str("the certificate's private key is missing"),
            Self::EncryptedKey { line, .. } => {
                write!(f, "line {line}: the private key is encrypted")
            }
            Self::BadKey { line, label, .. } => {
                write!(f, "line {line}: the {} cannot be used", label.to_ascii_lowercase())
            }
            Self::WrongKey { .. } => f.write_str("the private key is not the certificate's"),
        }
    }
}

impl BundleError {
    /// Which of the texts is wrong.
    pub fn part(&self) -> Part {
        match self {
            Self::NoKey => Part::Pem,
            Self::Pem { part, .. }
            | Self::NoCertificate { part }
            | Self::BadCertificate { part, .. }
            | Self::EncryptedKey { part, .. }
            | Self::BadKey { part, .. }
            | Self::WrongKey { part } => *part,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Pem { .. } | Self::BadCertificate { .. } => {
                "the file is damaged or no PEM: `openssl x509 -in FILE -text` shows what OpenSSL makes of it"
            }
            Self::NoCertificate { .. } => {
                "it must hold the certificate, then those between it and the root, as `-----BEGIN CERTIFICATE-----` blocks"
            }
            Self::NoKey => "append the private key to the file, or write it to FILE.key beside it",
            Self::EncryptedKey { .. } => {
                "nobody is there to type its password: decrypt it with `openssl pkey -in FILE -out FILE.key`"
            }
            Self::BadKey { .. } => {
                "RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, and Ed25519 can be used; `openssl pkey -in FILE -text -noout` shows what it is"
            }
            Self::WrongKey { .. } => {
                "compare `openssl x509 -in FILE -pubkey -noout` with `openssl pkey -in KEYFILE -pubout`: both must print the same"
            }
        }
    }
}

impl std::error::Error for BundleError {}
