//! What one `server` line asks for.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::{ResolvesClientCert, Resumption, UnbufferedClientConnection};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

use crate::acceptor::BuildError;
use crate::bundle::Bundle;
use crate::cipher;
use crate::offer::{Offer, Verify};
use crate::provider;
use crate::store::{Lookup, Store};
use crate::verify::{ServerVerifier, Trust};

/// What a `server` line says of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorSpec {
    /// With `ssl-default-server-*` in it. `verify optional` is `none`.
    pub offer: Offer,
    /// `crt`: the certificate that is shown, by its name in the store.
    pub certificate: Option<Box<str>>,
    /// `verifyhost`
    pub verify_host: Option<Box<str>>,
    /// `no-ssl-reuse`: every handshake is a full one.
    pub no_resumption: bool,
}

/// What one `server` line asks for.
#[derive(Debug)]
pub struct Connector {
    spec: ConnectorSpec,
    config: RwLock<Arc<ClientConfig>>,
}

impl Connector {
    /// Files must be in the store, which tells the connector of their replacements.
    ///
    /// # Errors
    /// What the line asks for that cannot be.
    pub fn new(spec: ConnectorSpec, store: &Store) -> Result<Arc<Self>, BuildError> {
        let config = store.with_lookup(|files| config(&spec, files))?;
        let connector = Arc::new(Self { spec, config: RwLock::new(config) });
        store.join_connector(&connector);
        Ok(connector)
    }

    /// Begins a connection. `name` is sent and verified; one that is no host name, as an address, is not sent.
    /// Sessions with the server are taken up again.
    ///
    /// # Errors
    /// What rustls cannot begin.
    pub fn connect(&self, name: Option<&str>) -> Result<UnbufferedClientConnection, rustls::Error> {
        UnbufferedClientConnection::new(self.config(), server_name(name))
    }

    /// As [`connect`](Self::connect), with other protocols to negotiate than the line's.
    ///
    /// # Errors
    /// What rustls cannot begin.
    pub fn connect_with_alpn(
        &self,
        name: Option<&str>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<UnbufferedClientConnection, rustls::Error> {
        UnbufferedClientConnection::new_with_alpn(self.config(), server_name(name), alpn)
    }

    /// What the line says.
    pub fn spec(&self) -> &ConnectorSpec {
        &self.spec
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn shows(&self, certificate: &str) -> bool {
        self.spec.certificate.as_deref() == Some(certificate)
    }

    pub(crate) fn trusts(&self, name: &str) -> bool {
        let Offer { ca_file, crl_file, verify, .. } = &self.spec.offer;
        *verify == Some(Verify::Required)
            && [ca_file, crl_file].into_iter().any(|file| file.as_deref() == Some(name))
    }

    pub(crate) fn build(&self, files: &Lookup<'_>) -> Result<Arc<ClientConfig>, rustls::Error> {
        config(&self.spec, files).map_err(|error| match error {
            BuildError::Rustls(error) => error,
            other => rustls::Error::General(other.to_string()),
        })
    }

    pub(crate) fn take(&self, config: Arc<ClientConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Shows the new certificate from now on.
    pub(crate) fn replace(&self, name: &str, bundle: &Arc<Bundle>) {
        if self.shows(name) {
            let mut place = self.config.write().unwrap_or_else(PoisonError::into_inner);
            let mut config = ClientConfig::clone(&place);
            config.client_auth_cert_resolver = Arc::new(OneKey(Arc::clone(&bundle.key)));
            // Sessions were begun with the old one.
            config.resumption = resumption(&self.spec);
            *place = Arc::new(config);
        }
    }
}

fn config(spec: &ConnectorSpec, files: &Lookup<'_>) -> Result<Arc<ClientConfig>, BuildError> {
    let offer = &spec.offer;
    let find = |name: &str| BuildError::NotLoaded(name.into());
    let versions = offer.versions.list();
    if versions.is_empty() {
        return Err(BuildError::NoVersion);
    }
    let provider = CryptoProvider {
        cipher_suites: cipher::supported(offer),
        kx_groups: cipher::supported_groups(offer.curves.as_deref()),
        ..(**provider()).clone()
    };
    let trust = match offer.verify {
        Some(Verify::Required) => {
            let name = offer.ca_file.as_ref().ok_or(BuildError::NoCaFile)?;
            let authorities = files.ca_file(name).cloned().ok_or_else(|| find(name))?;
            let revocations = match &offer.crl_file {
                None => None,
                Some(name) => Some(files.crl_file(name).cloned().ok_or_else(|| find(name))?),
            };
            Some(Trust::new(authorities, None, revocations))
        }
        _ => None,
    };
    let verifier =
        ServerVerifier::new(trust, spec.verify_host.clone(), offer.client_sigalgs.as_deref());
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .map_err(BuildError::Rustls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &spec.certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let bundle = files.certificate(name).ok_or_else(|| find(name))?;
            builder.with_client_cert_resolver(Arc::new(OneKey(Arc::clone(&bundle.key))))
        }
    };
    config.alpn_protocols = offer.alpn.clone().unwrap_or_default();
    config.resumption = resumption(spec);
    Ok(Arc::new(config))
}

fn resumption(spec: &ConnectorSpec) -> Resumption {
    if spec.no_resumption {
        return Resumption::disabled();
    }
    Resumption::in_memory_sessions(SESSIONS_MAX)
}

/// An address of nobody stands for no name: it is not sent.
pub(crate) fn server_name(name: Option<&str>) -> ServerName<'static> {
    let host = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    match host {
        Some(host @ ServerName::DnsName(_)) => host,
        _ => ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4]))),
    }
}

/// Always the same certificate, whatever authorities the server names, as OpenSSL.
#[derive(Debug)]
struct OneKey(Arc<CertifiedKey>);

impl ResolvesClientCert for OneKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Names whose sessions with one server are kept; a server has few.
const SESSIONS_MAX: usize = 64;
