//! Versions of TLS: which a line asks for, and which of them there are.

use std::fmt;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

/// A version that a configuration may name, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    Ssl3,
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl Version {
    /// By their names in `ssl-min-ver`.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("SSLv3", Self::Ssl3),
        ("TLSv1.0", Self::Tls10),
        ("TLSv1.1", Self::Tls11),
        ("TLSv1.2", Self::Tls12),
        ("TLSv1.3", Self::Tls13),
    ];

    /// Whether it can be spoken: TLS 1.2 and 1.3.
    pub fn is_spoken(self) -> bool {
        self >= Self::Tls12
    }

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The versions that a line allows: `ssl-min-ver`, `ssl-max-ver`, `no-tlsv12`, `force-tlsv13`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Versions {
    pub min: Option<Version>,
    pub max: Option<Version>,
    pub no_tls12: bool,
    pub no_tls13: bool,
}

impl Versions {
    /// What is written here, and `base` where nothing is.
    #[must_use]
    pub fn or(self, base: Self) -> Self {
        let own = self.no_tls12 || self.no_tls13;
        Self {
            min: self.min.or(base.min),
            max: self.max.or(base.max),
            no_tls12: if own { self.no_tls12 } else { base.no_tls12 },
            no_tls13: if own { self.no_tls13 } else { base.no_tls13 },
        }
    }

    pub fn allows(self, version: Version) -> bool {
        let excluded = match version {
            Version::Tls12 => self.no_tls12,
            Version::Tls13 => self.no_tls13,
            _ => true,
        };
        !excluded
            && self.min.is_none_or(|min| version >= min)
            && self.max.is_none_or(|max| version <= max)
    }

    /// Those that are allowed and spoken; may be none.
    pub fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        let known = [(Version::Tls13, &TLS13), (Version::Tls12, &TLS12)];
        known
            .into_iter()
            .filter(|(name, _)| self.allows(*name))
            .map(|(_, version)| version)
            .collect()
    }
}
