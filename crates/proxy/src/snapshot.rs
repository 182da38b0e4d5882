//! The running configuration as one immutable value, and how workers hold it.
//!
//! A reload makes a new [`Snapshot`] and sends it to every worker; a request keeps the one it began with through a
//! [`SnapshotRef`], which is counted inside the worker, so no atomic is touched per request.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::Model;

/// A configuration that traffic is served with.
#[derive(Debug)]
pub struct Snapshot {
    pub model: Model,
    /// Counts reloads from 0.
    pub generation: u64,
}

/// A worker's reference to a snapshot.
///
/// The inner count is the process's, touched once per snapshot and worker; the outer one the worker's own.
#[derive(Debug, Clone)]
#[expect(clippy::redundant_allocation, reason = "two counts on purpose: one atomic, one not")]
pub struct SnapshotRef(Rc<Arc<Snapshot>>);

impl SnapshotRef {
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self(Rc::new(snapshot))
    }

    /// Whether both are the same configuration.
    pub fn same(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    /// The reference that other threads can hold.
    pub fn shared(&self) -> &Arc<Snapshot> {
        &self.0
    }
}

impl Deref for SnapshotRef {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.0.model
    }
}
