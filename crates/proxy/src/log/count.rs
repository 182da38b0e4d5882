//! The counter behind `%lc`.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many lines a proxy has written, modulo 2^32.
#[derive(Debug, Default)]
pub struct LineCount(AtomicU32);

impl LineCount {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clone for LineCount {
    /// Another proxy with the same settings counts its own lines.
    fn clone(&self) -> Self {
        Self::default()
    }
}
