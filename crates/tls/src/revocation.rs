//! What one revocation list says, for those who look at it (`show ssl crl-file`).

use std::fmt;

use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::certificate::{Name, Time, long_name};

/// A list of revoked certificates (RFC 5280, 5.1), read from its DER encoding, which it borrows.
#[derive(Debug, Clone)]
pub struct RevocationList<'d>(CertificateRevocationList<'d>);

/// The bytes are no revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotARevocationList;

impl fmt::Display for NotARevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a certificate revocation list")
    }
}

impl std::error::Error for NotARevocationList {}

impl<'d> RevocationList<'d> {
    /// Reads a list.
    ///
    /// # Errors
    /// When the bytes are not one.
    pub fn parse(der: &'d [u8]) -> Result<Self, NotARevocationList> {
        let (_, parsed) =
            CertificateRevocationList::from_der(der).map_err(|_| NotARevocationList)?;
        Ok(Self(parsed))
    }

    /// 1 or 2; today it is 2.
    pub fn version(&self) -> u32 {
        self.0.version().map_or(1, |version| version.0.saturating_add(1))
    }

    /// How it was signed, as OpenSSL's long name: `sha256WithRSAEncryption`.
    pub fn signature_algorithm(&self) -> &'static str {
        long_name(&self.0.signature_algorithm.algorithm)
    }

    /// Whose certificates it revokes.
    pub fn issuer(&self) -> Name<'_> {
        Name::new(&self.0.tbs_cert_list.issuer)
    }

    /// When it was made.
    pub fn last_update(&self) -> Time {
        Time(self.0.last_update())
    }

    /// When the next one is due at the latest.
    pub fn next_update(&self) -> Option<Time> {
        self.0.next_update().map(Time)
    }

    /// The serial numbers of the revoked certificates, and since when they are.
    pub fn revoked(&self) -> impl Iterator<Item = (&[u8], Time)> {
        self.0.iter_revoked_certificates().map(|revoked| {
            let serial = match revoked.raw_serial() {
                [0, rest @ ..] if !rest.is_empty() => rest,
                raw => raw,
            };
            (serial, Time(revoked.revocation_date))
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    use super::*;

    #[test]
    fn a_list_says_who_is_revoked() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Signer");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
        let issuer = Issuer::new(params, KeyPair::generate().expect("a key"));
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 2, 3),
            next_update: date_time_ymd(2025, 2, 3),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(0x9abc),
                revocation_time: date_time_ymd(2024, 1, 12),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer).expect("a list");
        let list = RevocationList::parse(list.der()).expect("a list");
        assert_eq!(list.version(), 2);
        assert_eq!(list.signature_algorithm(), "ecdsa-with-SHA256");
        assert!(list.issuer().oneline().ends_with(b"/CN=Signer"));
        assert_eq!(list.last_update().to_string(), "Feb  3 00:00:00 2024 GMT");
        assert_eq!(list.next_update().map(|time| time.unix()), Some(1_738_540_800));
        let revoked: Vec<_> = list.revoked().collect();
        let [(serial, since)] = revoked[..] else { panic!("one is revoked: {revoked:?}") };
        assert_eq!(
            (serial, since.to_string()),
            (&[0x9a, 0xbc][..], "Jan 12 00:00:00 2024 GMT".into())
        );
        assert_eq!(RevocationList::parse(b"").err(), Some(NotARevocationList));
    }
}
