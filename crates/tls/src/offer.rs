//! What one line says of TLS: a `bind` line, a line of a crt-list, `ssl-default-bind-*`.

use std::fmt;

use rustls::{CipherSuite, NamedGroup, SignatureScheme};

use crate::cipher;
use crate::verify::ErrorSet;
use crate::version::{Version, Versions};

/// The settings of one line. What is not written is absent, and comes from what stands above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    pub versions: Versions,
    pub ciphers: Option<Vec<CipherSuite>>,
    pub ciphersuites: Option<Vec<CipherSuite>>,
    pub curves: Option<Vec<NamedGroup>>,
    /// What may be signed with.
    pub sigalgs: Option<Vec<SignatureScheme>>,
    /// What the other side may sign with.
    pub client_sigalgs: Option<Vec<SignatureScheme>>,
    /// Empty: none is negotiated.
    pub alpn: Option<Vec<Vec<u8>>>,
    pub verify: Option<Verify>,
    /// As the store knows them.
    pub ca_file: Option<Box<str>>,
    pub ca_verify_file: Option<Box<str>>,
    pub crl_file: Option<Box<str>>,
    pub ca_ignore: ErrorSet,
    pub crt_ignore: ErrorSet,
    pub no_ca_names: bool,
    pub no_tickets: bool,
    pub prefer_client_ciphers: bool,
}

/// Whether the other side must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verify {
    #[default]
    None,
    Optional,
    Required,
}

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferError {
    /// Nothing of the list can be spoken.
    Nothing(cipher::NothingLeft),
    Bad {
        what: &'static str,
        expected: &'static str,
    },
    /// A version that is never spoken.
    TooOld(Version),
    Unknown,
}

impl Offer {
    /// The settings that a line of a crt-list may have, and whether each takes a value.
    pub const WORDS: [(&'static str, bool); 30] = [
        ("allow-0rtt", false),
        ("alpn", true),
        ("ca-file", true),
        ("ca-ignore-err", true),
        ("ca-verify-file", true),
        ("ciphers", true),
        ("ciphersuites", true),
        ("client-sigalgs", true),
        ("crl-file", true),
        ("crt-ignore-err", true),
        ("curves", true),
        ("ecdhe", true),
        ("force-sslv3", false),
        ("force-tlsv10", false),
        ("force-tlsv11", false),
        ("force-tlsv12", false),
        ("force-tlsv13", false),
        ("no-alpn", false),
        ("no-ca-names", false),
        ("no-sslv3", false),
        ("no-tls-tickets", false),
        ("no-tlsv10", false),
        ("no-tlsv11", false),
        ("no-tlsv12", false),
        ("no-tlsv13", false),
        ("prefer-client-ciphers", false),
        ("sigalgs", true),
        ("ssl-max-ver", true),
        ("ssl-min-ver", true),
        ("verify", true),
    ];

    /// Sets what a word and its value say. Files are taken by name; the caller puts `ca-base` in front.
    ///
    /// # Errors
    /// A value that cannot be used, or a word that is none of [`WORDS`](Self::WORDS).
    pub fn set(&mut self, word: &str, value: &str) -> Result<(), OfferError> {
        match word {
            // Early data is never accepted, which clients must expect anyway.
            "allow-0rtt" => {}
            "alpn" => self.alpn = Some(protocols(value)?),
            "no-alpn" => self.alpn = Some(Vec::new()),
            "ca-file" => self.ca_file = Some(value.into()),
            "ca-verify-file" => self.ca_verify_file = Some(value.into()),
            "crl-file" => self.crl_file = Some(value.into()),
            "ca-ignore-err" => self.ca_ignore = ErrorSet::parse(value).ok_or(BAD_IGNORE)?,
            "crt-ignore-err" => self.crt_ignore = ErrorSet::parse(value).ok_or(BAD_IGNORE)?,
            "ciphers" => self.ciphers = Some(cipher::suites(value)?),
            "ciphersuites" => self.ciphersuites = Some(cipher::suites13(value)?),
            "curves" | "ecdhe" => self.curves = Some(cipher::groups(value)?),
            "sigalgs" => self.sigalgs = Some(cipher::signatures(value)?),
            "client-sigalgs" => self.client_sigalgs = Some(cipher::signatures(value)?),
            "no-ca-names" => self.no_ca_names = true,
            "no-tls-tickets" => self.no_tickets = true,
            "prefer-client-ciphers" => self.prefer_client_ciphers = true,
            "no-sslv3" | "no-tlsv10" | "no-tlsv11" => {}
            "no-tlsv12" => self.versions.no_tls12 = true,
            "no-tlsv13" => self.versions.no_tls13 = true,
            "force-sslv3" => return Err(OfferError::TooOld(Version::Ssl3)),
            "force-tlsv10" => return Err(OfferError::TooOld(Version::Tls10)),
            "force-tlsv11" => return Err(OfferError::TooOld(Version::Tls11)),
            "force-tlsv12" => self.versions = only(Version::Tls12),
            "force-tlsv13" => self.versions = only(Version::Tls13),
            "ssl-min-ver" => self.versions.min = Some(version(value)?),
            "ssl-max-ver" => match version(value)? {
                max if max.is_spoken() => self.versions.max = Some(max),
                max => return Err(OfferError::TooOld(max)),
            },
            "verify" => {
                self.verify = Some(match value {
                    "none" => Verify::None,
                    "optional" => Verify::Optional,
                    "required" => Verify::Required,
                    _ => {
                        return Err(OfferError::Bad {
                            what: "verification",
                            expected: "`none`, `optional` or `required`",
                        });
                    }
                });
            }
            _ => return Err(OfferError::Unknown),
        }
        Ok(())
    }

    /// What is written here, and `base` where nothing is.
    #[must_use]
    pub fn or(&self, base: &Self) -> Self {
        let or =
            |own: &Option<Box<str>>, base: &Option<Box<str>>| own.clone().or_else(|| base.clone());
        Self {
            versions: self.versions.or(base.versions),
            ciphers: self.ciphers.clone().or_else(|| base.ciphers.clone()),
            ciphersuites: self.ciphersuites.clone().or_else(|| base.ciphersuites.clone()),
            curves: self.curves.clone().or_else(|| base.curves.clone()),
            sigalgs: self.sigalgs.clone().or_else(|| base.sigalgs.clone()),
            client_sigalgs: self.client_sigalgs.clone().or_else(|| base.client_sigalgs.clone()),
            alpn: self.alpn.clone().or_else(|| base.alpn.clone()),
            verify: self.verify.or(base.verify),
            ca_file: or(&self.ca_file, &base.ca_file),
            ca_verify_file: or(&self.ca_verify_file, &base.ca_verify_file),
            crl_file: or(&self.crl_file, &base.crl_file),
            ca_ignore: self.ca_ignore.or(base.ca_ignore),
            crt_ignore: self.crt_ignore.or(base.crt_ignore),
            no_ca_names: self.no_ca_names || base.no_ca_names,
            no_tickets: self.no_tickets || base.no_tickets,
            prefer_client_ciphers: self.prefer_client_ciphers || base.prefer_client_ciphers,
        }
    }
}

const BAD_IGNORE: OfferError = OfferError::Bad {
    what: "list of errors",
    expected: "`all`, numbers such as `10,18`, or names such as `X509_V_ERR_CERT_HAS_EXPIRED`",
};

fn only(version: Version) -> Versions {
    Versions { min: Some(version), max: Some(version), ..Versions::default() }
}

fn version(text: &str) -> Result<Version, OfferError> {
    let found = Version::NAMES.iter().find(|(name, _)| *name == text);
    found
        .map(|(_, version)| *version)
        .ok_or(OfferError::Bad { what: "version of TLS", expected: "`TLSv1.2` or `TLSv1.3`" })
}

/// Reads `h2,http/1.1`.
///
/// # Errors
/// An empty name, or one of more than 255 bytes.
pub fn protocols(text: &str) -> Result<Vec<Vec<u8>>, OfferError> {
    let names: Vec<_> = text.split(',').map(|name| name.as_bytes().to_vec()).collect();
    if names.iter().all(|name| (1..=255).contains(&name.len())) {
        return Ok(names);
    }
    Err(OfferError::Bad { what: "list of protocols", expected: "names such as `h2,http/1.1`" })
}

impl From<cipher::NothingLeft> for OfferError {
    fn from(nothing: cipher::NothingLeft) -> Self {
        Self::Nothing(nothing)
    }
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(nothing) => write!(f, "no {} of this list can be spoken", nothing.what),
            Self::Bad { what, expected } => write!(f, "the {what} must be {expected}"),
            Self::TooOld(version) => write!(f, "{version} is never spoken"),
            Self::Unknown => f.write_str("unknown setting of TLS"),
        }
    }
}

impl OfferError {
    /// The way out.
    pub fn help(&self) -> String {
        match self {
            Self::Nothing(nothing) => format!("there is {}", nothing.known),
            Self::Bad { expected, .. } => format!("write {expected}"),
            Self::TooOld(_) => {
                "TLS 1.2 and 1.3 are spoken, nothing older: take the word out; clients that know only older versions need another proxy in front".to_owned()
            }
            Self::Unknown => String::new(),
        }
    }
}

impl std::error::Error for OfferError {}
