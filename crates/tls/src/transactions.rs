//! What the runtime API has begun and not committed: one replacement of each kind at a time, and files that are still empty.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::draft::Draft;
use crate::verify::{CaFile, CrlFile};

/// Belongs to the store of one configuration; a reload forgets it, as it reads all files again.
#[derive(Debug, Default)]
pub struct Transactions {
    pub certificate: Option<(Box<str>, Draft)>,
    pub ca_file: Option<(Box<str>, Arc<CaFile>)>,
    pub crl_file: Option<(Box<str>, Arc<CrlFile>)>,
    /// What `new` has made and nothing was committed to.
    pub empty_certificates: BTreeSet<Box<str>>,
    pub empty_ca_files: BTreeSet<Box<str>>,
    pub empty_crl_files: BTreeSet<Box<str>>,
}
