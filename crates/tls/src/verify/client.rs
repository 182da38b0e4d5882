//! Certificates of clients (`verify`, `ca-file`, `crl-file`).

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

use super::{CaFile, ErrorSet, Trust, Verdict, conclude, schemes, verify_tls12, verify_tls13};

/// Asks clients for a certificate.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    trust: Trust,
    mandatory: bool,
    /// The names of authorities that it sends.
    hints: Vec<DistinguishedName>,
    ca_ignore: ErrorSet,
    crt_ignore: ErrorSet,
    schemes: Vec<SignatureScheme>,
}

impl ClientVerifier {
    /// `named` are the authorities whose names clients are told.
    pub(crate) fn new(
        trust: Trust,
        mandatory: bool,
        named: Option<&CaFile>,
        (ca_ignore, crt_ignore): (ErrorSet, ErrorSet),
        sigalgs: Option<&[SignatureScheme]>,
    ) -> Arc<Self> {
        let anchors = named.iter().flat_map(|file| &file.anchors);
        let hints = anchors.map(|a| DistinguishedName::in_sequence(&a.subject)).collect();
        Arc::new(Self { trust, mandatory, hints, ca_ignore, crt_ignore, schemes: schemes(sigalgs) })
    }

    pub(crate) fn verdict(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Verdict {
        self.trust.verdict(chain, now, false, self.ca_ignore, self.crt_ignore)
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain: Vec<_> = std::iter::once(leaf).chain(rest).cloned().collect();
        conclude(self.verdict(&chain, now)).map(|()| ClientCertVerified::assertion())
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
