//! Health checks (their types; the running of them is being landed).
use std::sync::Arc;
use crate::snapshot::Snapshot;
use crate::worker::Shared;
pub mod status;
pub use status::CheckStatus;
#[derive(Debug)]
pub struct Checks;
impl Checks {
    pub fn start(_: Arc<Snapshot>, _: Arc<Shared>) -> Self { Self }
    pub fn reload(&mut self, _: Arc<Snapshot>) {}
    pub fn stop(&self) {}
}
