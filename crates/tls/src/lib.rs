//! TLS without sockets: certificates, trust, what a listener offers and what a server is asked for.
//!
//! Bytes of PEM files come in, configurations of `rustls` go out; reading files and moving records is the
//! business of others. The cryptography is aws-lc-rs everywhere.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

mod acceptor;
mod bundle;
mod certificate;
mod cipher;
mod connector;
mod crt_list;
mod draft;
mod handshake;
mod ocsp;
mod offer;
mod pem;
mod reason;
mod revocation;
mod store;
mod tickets;
mod transactions;
mod verify;
mod version;

#[cfg(test)]
mod tests;

pub use acceptor::{Acceptor, AcceptorSpec, BuildError, NoCertificate, Resumption, Source};
pub use bundle::{Bundle, BundleError, Part, Parts, read_certificates};
pub use certificate::{Certificate, Name, NotACertificate, Time};
pub use cipher::NothingLeft;
pub use connector::{Connector, ConnectorSpec};
pub use crt_list::{CrtLine, CrtList, CrtListError, CrtListErrorKind};
pub use draft::Draft;
pub use handshake::{Handshake, cipher_name};
pub use ocsp::OcspResponse;
pub use offer::{Offer, OfferError, Verify, protocols};
pub use pem::{PemError, PemErrorKind, decode_base64};
pub use reason::Reason;
pub use revocation::{NotARevocationList, RevocationList};
pub use store::{Store, StoreError};
pub use tickets::{TicketKeyError, TicketKeys};
pub use transactions::Transactions;
pub use verify::{CaFile, CrlFile, ErrorSet, Verdict, error_name, error_number, take_verdict};
pub use version::{Version, Versions};

/// The cryptography that all of the process uses.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}
