//! OpenSSL's numbers for what is wrong with a certificate (`X509_V_ERR_…` of version 3.0).

use rustls::CertificateError;

/// A set of errors that a line ignores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ErrorSet(u128);

impl ErrorSet {
    const ALL: Self = Self(u128::MAX);

    /// Reads `all`, or numbers and names between commas. `None` where it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::ALL);
        }
        let mut set = 0;
        for word in text.split(',') {
            let number = word.parse().ok().or_else(|| error_number(word))?;
            set |= 1u128.checked_shl(u32::from(number))?;
        }
        Some(Self(set))
    }

    pub(crate) fn contains(self, number: u8) -> bool {
        1u128.checked_shl(u32::from(number)).is_some_and(|bit| self.0 & bit != 0)
    }

    pub(crate) fn or(self, base: Self) -> Self {
        if self.0 == 0 { base } else { self }
    }
}

/// The number of an error's name, with `X509_V_ERR_` in front.
pub fn error_number(name: &str) -> Option<u8> {
    let name = name.strip_prefix("X509_V_")?;
    let found = NAMES.iter().position(|known| *known == name)?;
    u8::try_from(found).ok()
}

/// The name of an error's number, such as `X509_V_ERR_CERT_HAS_EXPIRED`.
pub fn error_name(number: u8) -> Option<String> {
    NAMES.get(usize::from(number)).map(|name| format!("X509_V_{name}"))
}

/// What sends the alert that OpenSSL sends.
pub(super) fn certificate_error(number: u8) -> CertificateError {
    match number {
        UNABLE_TO_GET_CRL => CertificateError::UnknownRevocationStatus,
        CRL_EXPIRED => CertificateError::ExpiredRevocationList,
        SIGNATURE_FAILURE => CertificateError::BadSignature,
        NOT_YET_VALID => CertificateError::NotValidYet,
        EXPIRED => CertificateError::Expired,
        REVOKED => CertificateError::Revoked,
        INVALID_PURPOSE => CertificateError::InvalidPurpose,
        UNHANDLED_EXTENSION => CertificateError::UnhandledCriticalExtension,
        HOSTNAME_MISMATCH => CertificateError::NotValidForName,
        DEPTH_ZERO_SELF_SIGNED
        | SELF_SIGNED_IN_CHAIN
        | NO_ISSUER
        | NO_ISSUER_LOCALLY
        | UNVERIFIED_LEAF
        | CHAIN_TOO_LONG
        | INVALID_CA
        | PATH_LENGTH => CertificateError::UnknownIssuer,
        _ => CertificateError::BadEncoding,
    }
}

pub(super) const UNSPECIFIED: u8 = 1;
pub(super) const NO_ISSUER: u8 = 2;
pub(super) const UNABLE_TO_GET_CRL: u8 = 3;
pub(super) const SIGNATURE_FAILURE: u8 = 7;
pub(super) const CRL_SIGNATURE_FAILURE: u8 = 8;
pub(super) const NOT_YET_VALID: u8 = 9;
pub(super) const EXPIRED: u8 = 10;
pub(super) const CRL_EXPIRED: u8 = 12;
pub(super) const DEPTH_ZERO_SELF_SIGNED: u8 = 18;
pub(super) const SELF_SIGNED_IN_CHAIN: u8 = 19;
pub(super) const NO_ISSUER_LOCALLY: u8 = 20;
pub(super) const UNVERIFIED_LEAF: u8 = 21;
pub(super) const CHAIN_TOO_LONG: u8 = 22;
pub(super) const REVOKED: u8 = 23;
pub(super) const PATH_LENGTH: u8 = 25;
pub(super) const INVALID_PURPOSE: u8 = 26;
pub(super) const UNHANDLED_EXTENSION: u8 = 34;
pub(super) const INVALID_EXTENSION: u8 = 41;
pub(super) const PERMITTED_VIOLATION: u8 = 47;
pub(super) const HOSTNAME_MISMATCH: u8 = 62;
pub(super) const UNSUPPORTED_SIGNATURE: u8 = 76;
pub(super) const INVALID_CA: u8 = 79;

/// By number.
const NAMES: [&str; 80] = [
    "OK",
    "ERR_UNSPECIFIED",
    "ERR_UNABLE_TO_GET_ISSUER_CERT",
    "ERR_UNABLE_TO_GET_CRL",
    "ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE",
    "ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE",
    "ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY",
    "ERR_CERT_SIGNATURE_FAILURE",
    "ERR_CRL_SIGNATURE_FAILURE",
    "ERR_CERT_NOT_YET_VALID",
    "ERR_CERT_HAS_EXPIRED",
    "ERR_CRL_NOT_YET_VALID",
    "ERR_CRL_HAS_EXPIRED",
    "ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD",
    "ERR_ERROR_IN_CERT_NOT_AFTER_FIELD",
    "ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD",
    "ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD",
    "ERR_OUT_OF_MEM",
    "ERR_DEPTH_ZERO_SELF_SIGNED_CERT",
    "ERR_SELF_SIGNED_CERT_IN_CHAIN",
    "ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "ERR_CERT_CHAIN_TOO_LONG",
    "ERR_CERT_REVOKED",
    "ERR_NO_ISSUER_PUBLIC_KEY",
    "ERR_PATH_LENGTH_EXCEEDED",
    "ERR_INVALID_PURPOSE",
    "ERR_CERT_UNTRUSTED",
    "ERR_CERT_REJECTED",
    "ERR_SUBJECT_ISSUER_MISMATCH",
    "ERR_AKID_SKID_MISMATCH",
    "ERR_AKID_ISSUER_SERIAL_MISMATCH",
    "ERR_KEYUSAGE_NO_CERTSIGN",
    "ERR_UNABLE_TO_GET_CRL_ISSUER",
    "ERR_UNHANDLED_CRITICAL_EXTENSION",
    "ERR_KEYUSAGE_NO_CRL_SIGN",
    "ERR_UNHANDLED_CRITICAL_CRL_EXTENSION",
    "ERR_INVALID_NON_CA",
    "ERR_PROXY_PATH_LENGTH_EXCEEDED",
    "ERR_KEYUSAGE_NO_DIGITAL_SIGNATURE",
    "ERR_PROXY_CERTIFICATES_NOT_ALLOWED",
    "ERR_INVALID_EXTENSION",
    "ERR_INVALID_POLICY_EXTENSION",
    "ERR_NO_EXPLICIT_POLICY",
    "ERR_DIFFERENT_CRL_SCOPE",
    "ERR_UNSUPPORTED_EXTENSION_FEATURE",
    "ERR_UNNESTED_RESOURCE",
    "ERR_PERMITTED_VIOLATION",
    "ERR_EXCLUDED_VIOLATION",
    "ERR_SUBTREE_MINMAX",
    "ERR_APPLICATION_VERIFICATION",
    "ERR_UNSUPPORTED_CONSTRAINT_TYPE",
    "ERR_UNSUPPORTED_CONSTRAINT_SYNTAX",
    "ERR_UNSUPPORTED_NAME_SYNTAX",
    "ERR_CRL_PATH_VALIDATION_ERROR",
    "ERR_PATH_LOOP",
    "ERR_SUITE_B_INVALID_VERSION",
    "ERR_SUITE_B_INVALID_ALGORITHM",
    "ERR_SUITE_B_INVALID_CURVE",
    "ERR_SUITE_B_INVALID_SIGNATURE_ALGORITHM",
    "ERR_SUITE_B_LOS_NOT_ALLOWED",
    "ERR_SUITE_B_CANNOT_SIGN_P_384_WITH_P_256",
    "ERR_HOSTNAME_MISMATCH",
    "ERR_EMAIL_MISMATCH",
    "ERR_IP_ADDRESS_MISMATCH",
    "ERR_DANE_NO_MATCH",
    "ERR_EE_KEY_TOO_SMALL",
    "ERR_CA_KEY_TOO_SMALL",
    "ERR_CA_MD_TOO_WEAK",
    "ERR_INVALID_CALL",
    "ERR_STORE_LOOKUP",
    "ERR_NO_VALID_SCTS",
    "ERR_PROXY_SUBJECT_NAME_VIOLATION",
    "ERR_OCSP_VERIFY_NEEDED",
    "ERR_OCSP_VERIFY_FAILED",
    "ERR_OCSP_CERT_UNKNOWN",
    "ERR_UNSUPPORTED_SIGNATURE_ALGORITHM",
    "ERR_SIGNATURE_ALGORITHM_MISMATCH",
    "ERR_SIGNATURE_ALGORITHM_INCONSISTENCY",
    "ERR_INVALID_CA",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&[u8]>) {
        let found = ErrorSet::parse(text)
            .map(|set| (0..=255).filter(|n| set.contains(*n)).collect::<Vec<u8>>());
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn sets_of_errors() {
        check("10", Some(&[10]));
        check("10,18,X509_V_ERR_CERT_REVOKED", Some(&[10, 18, 23]));
        check("X509_V_OK", Some(&[0]));
        check("all", Some(&(0..128).collect::<Vec<u8>>()));
        check("", None);
        check("10,", None);
        check("200", None);
        check("CERT_HAS_EXPIRED", None);
        check("X509_V_ERR_NOTHING", None);
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(error_number("X509_V_ERR_HOSTNAME_MISMATCH"), Some(HOSTNAME_MISMATCH));
        assert_eq!(
            error_name(UNSUPPORTED_SIGNATURE).as_deref(),
            Some("X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM")
        );
        assert_eq!(error_name(200), None);
    }
}
