//! What one certificate says: names, serial, validity, keys, fingerprints, in the words that OpenSSL has for them.
//!
//! Configurations compare these texts and scripts read them (`ssl_c_s_dn`, `show ssl cert`), so they are the same
//! to the byte. Nothing is verified here; a certificate says of itself what it likes.

use std::fmt;

use sha1::{Digest, Sha1};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

mod name;
mod objects;

pub use name::Name;
pub(crate) use objects::long_name;

/// A certificate that was read from its DER encoding, which it borrows.
#[derive(Debug, Clone)]
pub struct Certificate<'d> {
    der: &'d [u8],
    parsed: X509Certificate<'d>,
}

/// The bytes are no X.509 certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotACertificate;

impl fmt::Display for NotACertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an X.509 certificate")
    }
}

impl std::error::Error for NotACertificate {}

impl<'d> Certificate<'d> {
    /// Reads a certificate (RFC 5280, 4.1). Bytes after it are left alone.
    ///
    /// # Errors
    /// When the bytes are not a certificate.
    pub fn parse(der: &'d [u8]) -> Result<Self, NotACertificate> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| NotACertificate)?;
        Ok(Self { der: &der[..der.len() - rest.len()], parsed })
    }

    /// The certificate itself.
    pub fn der(&self) -> &'d [u8] {
        self.der
    }

    /// 1 to 3; today it is 3.
    pub fn version(&self) -> u32 {
        self.parsed.version.0.saturating_add(1)
    }

    /// The serial number's bytes, without the zero that only says that it is positive.
    pub fn serial(&self) -> &'d [u8] {
        match self.parsed.tbs_certificate.raw_serial() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            raw => raw,
        }
    }

    /// Whom it names.
    pub fn subject(&self) -> Name<'_> {
        Name::new(&self.parsed.subject)
    }

    /// Who signed it.
    pub fn issuer(&self) -> Name<'_> {
        Name::new(&self.parsed.issuer)
    }

    /// From when it is valid.
    pub fn not_before(&self) -> Time {
        Time(self.parsed.validity.not_before)
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> Time {
        Time(self.parsed.validity.not_after)
    }

    /// The fingerprint by which certificates are commonly named.
    pub fn sha1(&self) -> [u8; 20] {
        Sha1::digest(self.der).into()
    }

    /// What its key is for, as OpenSSL's short name: `rsaEncryption`, `id-ecPublicKey`, `ED25519`.
    pub fn key_algorithm(&self) -> &'static str {
        objects::algorithm(&self.parsed.subject_pki.algorithm.algorithm)
    }

    /// The kind and size of its key: `RSA2048`, `EC256`, `DSA1024`; `None` for kinds without such a name.
    pub fn key(&self) -> Option<String> {
        let key = &self.parsed.subject_pki;
        if key.algorithm.algorithm == x509_parser::oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
            return Some(format!("EC{}", objects::curve_bits(&curve)?));
        }
        Some(match key.parsed().ok()? {
            PublicKey::RSA(rsa) => format!("RSA{}", bits(rsa.modulus)),
            PublicKey::DSA(_) => {
                // The modulus p is the first of the three parameters (RFC 3279, 2.3.2).
                let parameters = key.algorithm.parameters.as_ref()?.as_sequence().ok()?;
                let (_, p) =
                    x509_parser::der_parser::der::parse_der_integer(&parameters.content).ok()?;
                format!("DSA{}", bits(p.as_slice().ok()?))
            }
            _ => return None,
        })
    }

    /// How it was signed, as OpenSSL's short name: `RSA-SHA256`, `ecdsa-with-SHA384`.
    pub fn signature_algorithm(&self) -> &'static str {
        objects::algorithm(&self.parsed.tbs_certificate.signature.algorithm)
    }

    /// The hosts that it is for, as the extension lists them; an entry of another kind is `None`.
    pub fn alternative_names(&self) -> Vec<Option<&str>> {
        let Ok(Some(extension)) = self.parsed.subject_alternative_name() else { return Vec::new() };
        let names = extension.value.general_names.iter();
        names
            .map(|name| match name {
                GeneralName::DNSName(host) => Some(*host),
                _ => None,
            })
            .collect()
    }

    /// The host names of a server's certificate: those of the extension and the common names of the subject.
    pub fn host_names(&self) -> Vec<&str> {
        let common = self.parsed.subject.iter_common_name().filter_map(|name| name.as_str().ok());
        self.alternative_names().into_iter().flatten().chain(common).collect()
    }

    /// The identifier of its key, by which those that it signed name it.
    pub fn key_identifier(&self) -> Option<&[u8]> {
        self.parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        })
    }
}

/// A moment in a certificate or revocation list, to the second, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub(crate) ASN1Time);

impl Time {
    /// `YYMMDDhhmmssZ`, as the fetches give it; `None` outside of this century, which two digits cannot say.
    pub fn compact(&self) -> Option<String> {
        let time = self.0.to_datetime();
        (2000..2100).contains(&time.year()).then(|| {
            format!(
                "{:02}{:02}{:02}{:02}{:02}{:02}Z",
                time.year() - 2000,
                time.month() as u8,
                time.day(),
                time.hour(),
                time.minute(),
                time.second()
            )
        })
    }

    /// Seconds since 1970.
    pub fn unix(&self) -> i64 {
        self.0.timestamp()
    }
}

/// `Apr 28 18:59:42 2020 GMT`, as OpenSSL prints it.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0.to_datetime();
        write!(
            f,
            "{} {:2} {:02}:{:02}:{:02} {} GMT",
            month(time.month() as usize - 1).unwrap_or_default(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.year()
        )
    }
}

/// The short name of a month, counted from 0.
pub(crate) fn month(month: usize) -> Option<&'static str> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    MONTHS.get(month).copied()
}

/// How long a number is whose bytes may begin with zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    match &number[zeros..] {
        [] => 0,
        rest @ [first, ..] => rest.len() * 8 - first.leading_zeros() as usize,
    }
}

#[cfg(test)]
mod tests;
