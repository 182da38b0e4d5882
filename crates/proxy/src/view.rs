//! The running proxy as pages and sockets reach it: from the control thread, without the [`Plane`](crate::plane::Plane)
//! that owns it.

use std::sync::{Arc, PoisonError, RwLock};

use telamon_runtime::workers::Peers;

use crate::snapshot::Snapshot;
use crate::worker::{Shared, Worker};

/// A way to the configuration in force, to what the workers share, and to the workers. Clones see the same.
#[derive(Debug, Clone)]
pub struct View {
    current: Arc<RwLock<Arc<Snapshot>>>,
    pub shared: Arc<Shared>,
    pub peers: Peers<Worker>,
}

impl View {
    pub(crate) fn new(snapshot: Arc<Snapshot>, shared: Arc<Shared>, peers: Peers<Worker>) -> Self {
        Self { current: Arc::new(RwLock::new(snapshot)), shared, peers }
    }

    /// The configuration in force; a reload may replace it at any time.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, snapshot: Arc<Snapshot>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}
