//! A certificate that is being put together piece by piece, as the runtime API does.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;

use crate::bundle::{Bundle, BundleError, Part, certificates, find_key};
use crate::ocsp::OcspResponse;
use crate::pem::blocks;

/// The pieces of a certificate, of which some may be missing yet.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    chain: Vec<CertificateDer<'static>>,
    key: Option<Arc<dyn SigningKey>>,
    issuer: Option<CertificateDer<'static>>,
    ocsp: Option<Vec<u8>>,
}

impl Draft {
    /// The pieces of a certificate that is there.
    pub fn of(bundle: &Bundle) -> Self {
        Self {
            chain: bundle.chain().to_vec(),
            key: Some(Arc::clone(&bundle.key.key)),
            issuer: bundle.issuer.clone(),
            ocsp: bundle.key.ocsp.clone(),
        }
    }

    /// Takes the certificate, those above it, and the key if it is there too; else the key is to come.
    ///
    /// # Errors
    /// What is no PEM, or no certificate; nothing is changed then.
    pub fn set_pem(&mut self, text: &[u8]) -> Result<(), BundleError> {
        let blocks = blocks(text).map_err(|error| BundleError::Pem { part: Part::Pem, error })?;
        let chain = certificates(&blocks, Part::Pem)?;
        if chain.is_empty() {
            return Err(BundleError::NoCertificate { part: Part::Pem });
        }
        self.key = find_key(&blocks, Part::Pem)?;
        self.issuer = chain.get(1).cloned();
        self.chain = chain;
        Ok(())
    }

    /// Takes the key.
    ///
    /// # Errors
    /// What is no key that can be used.
    pub fn set_key(&mut self, text: &[u8]) -> Result<(), BundleError> {
        let blocks = blocks(text).map_err(|error| BundleError::Pem { part: Part::Key, error })?;
        self.key = Some(find_key(&blocks, Part::Key)?.ok_or(BundleError::NoKey)?);
        Ok(())
    }

    /// Takes the certificate of the one who signed it.
    ///
    /// # Errors
    /// What is no certificate.
    pub fn set_issuer(&mut self, text: &[u8]) -> Result<(), BundleError> {
        let part = Part::Issuer;
        let blocks = blocks(text).map_err(|error| BundleError::Pem { part, error })?;
        let found = certificates(&blocks, part)?;
        self.issuer = Some(found.into_iter().next().ok_or(BundleError::NoCertificate { part })?);
        Ok(())
    }

    /// Takes what is stapled; `false` where it is no OCSP response.
    #[must_use]
    pub fn set_ocsp(&mut self, der: Vec<u8>) -> bool {
        let is_response = OcspResponse::parse(&der).is_some();
        if is_response {
            self.ocsp = Some(der);
        }
        is_response
    }

    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub fn ocsp(&self) -> Option<&[u8]> {
        self.ocsp.as_deref()
    }

    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The certificate, once all is there.
    ///
    /// # Errors
    /// What is missing, or that the key is another's.
    pub fn build(&self) -> Result<Bundle, BundleError> {
        let key = self.key.clone().ok_or(BundleError::NoKey)?;
        Bundle::assemble(self.chain.clone(), key, Part::Key, self.issuer.clone(), self.ocsp.clone())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pem() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["a.test".into()]).expect("a host");
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_is_put_together() {
        let ((certificate, key), (_, other)) = (pem(), pem());
        let mut draft = Draft::default();
        assert!(draft.set_pem(b"nothing").is_err());
        draft.set_pem(certificate.as_bytes()).expect("a certificate");
        assert_eq!(draft.build().err(), Some(BundleError::NoKey));
        draft.set_key(other.as_bytes()).expect("a key");
        assert_eq!(draft.build().err(), Some(BundleError::WrongKey { part: Part::Key }));
        draft.set_key(key.as_bytes()).expect("a key");
        assert!(!draft.set_ocsp(b"no response".to_vec()));
        let bundle = draft.build().expect("all is there");
        assert_eq!(&*bundle.names[0], "a.test");
        // All of it again, from what is offered.
        let mut draft = Draft::of(&bundle);
        assert!(draft.has_key());
        draft.set_issuer(certificate.as_bytes()).expect("a certificate");
        assert!(draft.build().expect("all is there").issuer.is_some());
        // A new certificate without its key takes the old key away.
        draft.set_pem(certificate.as_bytes()).expect("a certificate");
        assert!(!draft.has_key());
    }
}
