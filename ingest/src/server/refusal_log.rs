//! What is logged of refused requests. Under overload thousands a second are refused for one reason:
//! one line a second tells it, the counters tell how many.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use upriver_store::time::UnixNanos;

use super::counters::Door;
use super::refusal::Refusal;

/// Writes the lines, one a second.
#[derive(Debug)]
pub(super) struct RefusalLog {
    /// The second of the last line.
    second: AtomicI64,
    /// Refusals since then.
    unsaid: AtomicU64,
}

impl Default for RefusalLog {
    fn default() -> Self {
        Self { second: AtomicI64::new(i64::MIN), unsaid: AtomicU64::new(0) }
    }
}

impl RefusalLog {
    /// Refused requests are the sender's news; ours are failures.
    pub(super) fn note(&self, door: Door, refusal: &Refusal, now: UnixNanos) {
        let (receiver, transport) = (door.receiver(), door.transport());
        let reason = refusal.message.as_str();
        if !refusal.is_our_fault() {
            tracing::debug!(name: "receiver.request.refuse", receiver, transport, reason, "receiver.request.refuse");
            return;
        }
        if let Some(unsaid) = self.is_due(now) {
            tracing::warn!(name: "receiver.request.fail", receiver, transport, reason, unsaid, "receiver.request.fail");
        }
    }

    /// How many were not said since the last line, where it is time for one.
    fn is_due(&self, now: UnixNanos) -> Option<u64> {
        const SECOND: i64 = 1_000_000_000;
        let second = now.0.div_euclid(SECOND);
        if self.second.swap(second, Ordering::Relaxed) == second {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_counts_the_others() {
        let log = RefusalLog::default();
        let at = |millis: i64| log.is_due(UnixNanos(millis * 1_000_000));
        assert_eq!(at(0), Some(0));
        assert_eq!((at(1), at(999)), (None, None));
        assert_eq!(at(1_000), Some(2));
        // The clock was set back.
        assert_eq!((at(500), at(501)), (Some(0), None));
    }
}
