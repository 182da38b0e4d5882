//! What OCSP responses, certificates and revocation lists say, from arbitrary bytes. Whatever comes: no panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_tls::{Certificate, OcspResponse, RevocationList};

fuzz_target!(|data: &[u8]| {
    if let Some(response) = OcspResponse::parse(data) {
        assert!(!response.id().is_empty());
        _ = (response.text(), response.summary());
    }
    if let Ok(certificate) = Certificate::parse(data) {
        _ = (certificate.subject().oneline(), certificate.issuer().rfc2253(), certificate.key());
        _ = (certificate.not_before().to_string(), certificate.not_after().compact());
        _ = (certificate.serial(), certificate.host_names(), certificate.key_identifier());
    }
    if let Ok(list) = RevocationList::parse(data) {
        _ = (list.issuer().oneline(), list.revoked().count(), list.last_update().to_string());
    }
});
