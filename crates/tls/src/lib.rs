//! TLS without sockets: certificates, trust, what a listener offers and what a server is asked for.
//!
//! Bytes of PEM files come in, configurations of `rustls` go out; reading files and moving records is the
//! business of others. The cryptography is aws-lc-rs everywhere.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

mod certificate;
mod revocation;

pub use certificate::{Certificate, Name, NotACertificate, Time};
pub use revocation::{NotARevocationList, RevocationList};

/// The cryptography that all of the process uses.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}
