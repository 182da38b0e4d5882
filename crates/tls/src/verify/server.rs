//! Certificates of servers (`verify`, `ca-file`, `crl-file`, `verifyhost`).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::errors::HOSTNAME_MISMATCH;
use super::{ErrorSet, Trust, Verdict, conclude, host, schemes, verify_tls12, verify_tls13};

/// Looks at servers' certificates; without [`Trust`] it believes any.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    trust: Option<Trust>,
    /// `verifyhost`: the name that counts where none is sent.
    host: Option<Box<str>>,
    schemes: Vec<SignatureScheme>,
}

impl ServerVerifier {
    pub(crate) fn new(
        trust: Option<Trust>,
        host: Option<Box<str>>,
        sigalgs: Option<&[SignatureScheme]>,
    ) -> Arc<Self> {
        Arc::new(Self { trust, host, schemes: schemes(sigalgs) })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else { return Ok(ServerCertVerified::assertion()) };
        let chain: Vec<_> = std::iter::once(leaf).chain(rest).cloned().collect();
        let none = ErrorSet::default();
        let mut verdict = trust.verdict(&chain, now, true, none, none);
        // As HAProxy: the name that is sent, else the one that the line gives, else any.
        let wanted = match name {
            ServerName::DnsName(name) => Some(name.as_ref()),
            _ => self.host.as_deref(),
        };
        if verdict.refused.is_none() && wanted.is_some_and(|wanted| !host::matches(leaf, wanted)) {
            verdict = Verdict {
                result: HOSTNAME_MISMATCH,
                refused: Some((HOSTNAME_MISMATCH, 0)),
                ..verdict
            };
        }
        conclude(verdict).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
