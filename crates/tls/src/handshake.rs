//! What two ends agreed on, or how far they came: for expressions, logs and the PROXY protocol.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ProtocolVersion};

use crate::certificate::Certificate;
use crate::reason::Reason;
use crate::verify::Verdict;

/// What is known of one connection's TLS. After a handshake that failed, what was known by then.
#[derive(Debug, Clone, Default)]
pub struct Handshake {
    pub version: Option<ProtocolVersion>,
    pub cipher: Option<CipherSuite>,
    /// The protocol that was agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// An earlier session was taken up again.
    pub resumed: bool,
    /// What the peer showed, its own certificate first; empty if nothing. Kept when a session is resumed.
    pub peer: Vec<CertificateDer<'static>>,
    /// What this end showed.
    pub own: Option<Arc<CertifiedKey>>,
    /// What came of looking at the peer's certificates.
    pub verdict: Verdict,
    /// What went wrong.
    pub error: Option<Reason>,
    /// The client's first message, from its type on, where `tune.ssl.capture-buffer-size` asks for it.
    pub hello: Option<Box<[u8]>>,
}

impl Handshake {
    /// The protocol's name: `TLSv1.3`.
    pub fn protocol(&self) -> Option<&'static str> {
        Some(match self.version? {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => return None,
        })
    }

    /// OpenSSL's name of the cipher: `ECDHE-RSA-AES128-GCM-SHA256`; `(NONE)` where it did not come to one.
    pub fn cipher_name(&self) -> &'static str {
        self.cipher.and_then(cipher).map_or("(NONE)", |(name, _)| name)
    }

    /// The size of the cipher's key in bits.
    pub fn cipher_bits(&self) -> Option<u32> {
        self.cipher.and_then(cipher).map(|(_, bits)| bits)
    }

    /// The peer's own certificate, in DER.
    pub fn peer_der(&self) -> Option<&[u8]> {
        self.peer.first().map(|der| &**der)
    }

    /// The peer's own certificate.
    pub fn peer_certificate(&self) -> Option<Certificate<'_>> {
        Certificate::parse(self.peer_der()?).ok()
    }

    /// This end's certificate, in DER.
    pub fn own_der(&self) -> Option<&[u8]> {
        self.own.as_ref()?.cert.first().map(|der| &**der)
    }
}

/// OpenSSL's name of a cipher suite that we speak.
pub fn cipher_name(suite: CipherSuite) -> Option<&'static str> {
    cipher(suite).map(|(name, _)| name)
}

/// OpenSSL's name of a cipher suite, and the size of its key in bits.
fn cipher(suite: CipherSuite) -> Option<(&'static str, u32)> {
    Some(match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ("TLS_AES_128_GCM_SHA256", 128),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ("TLS_AES_256_GCM_SHA384", 256),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => ("TLS_CHACHA20_POLY1305_SHA256", 256),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            ("ECDHE-ECDSA-AES128-GCM-SHA256", 128)
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            ("ECDHE-ECDSA-AES256-GCM-SHA384", 256)
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("ECDHE-ECDSA-CHACHA20-POLY1305", 256)
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => ("ECDHE-RSA-AES128-GCM-SHA256", 128),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => ("ECDHE-RSA-AES256-GCM-SHA384", 256),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("ECDHE-RSA-CHACHA20-POLY1305", 256)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cipher_that_we_speak_has_a_name() {
        for suite in &crate::provider().cipher_suites {
            assert!(cipher(suite.suite()).is_some(), "{suite:?}");
        }
        assert_eq!(Handshake::default().cipher_name(), "(NONE)");
    }
}
