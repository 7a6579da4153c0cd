//! What came of the changes that the service judged by itself, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts by outcome since the start.
#[derive(Debug, Default)]
pub struct AuditCounts {
    /// Nothing was shown to be worse.
    pub pass: AtomicU64,
    /// Something was.
    pub regression: AtomicU64,
    /// It could not be told.
    pub inconclusive: AtomicU64,
}

impl AuditCounts {
    /// Counts one more.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
