//! The memory limiter: requests are refused before memory is gone, so that every sender hears "later"
//! instead of losing what the process had in its hands.
//!
//! It goes by the memory that the process has for itself, as the kernel that would end it does: pages of
//! the program's file can be dropped at any time. Between the two
//! marks lies what is being worked on when the first is reached: bodies being read, rows being decoded,
//! a commit under way.

use std::sync::atomic::{AtomicU64, Ordering};

use super::refusal::Refusal;

/// The marks, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Over this, requests are refused with the advice to retry.
    pub soft: u64,
    /// Over this, the service is not ready either.
    pub hard: u64,
}

impl MemoryLimits {
    /// No limits.
    pub const NONE: Self = Self { soft: u64::MAX, hard: u64::MAX };
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self::NONE
    }
}

/// How much memory the process takes, as somebody who may ask the system last said.
#[derive(Debug, Default)]
pub struct MemoryMeter {
    limits: MemoryLimits,
    used: AtomicU64,
    refused: AtomicU64,
}

impl MemoryMeter {
    /// A meter that was not read yet.
    pub fn new(limits: MemoryLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Notes what the process takes now.
    pub fn set_used(&self, bytes: u64) {
        self.used.store(bytes, Ordering::Relaxed);
    }

    /// What the process took when it was last looked at; 0 before that.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The marks.
    pub fn limits(&self) -> MemoryLimits {
        self.limits
    }

    /// Whether memory is over the soft mark: time to commit.
    pub fn is_scarce(&self) -> bool {
        self.used() > self.limits.soft
    }

    /// Whether memory is over the hard mark.
    pub fn is_exhausted(&self) -> bool {
        self.used() > self.limits.hard
    }

    /// Requests that were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Lets a request, or more of its body, in.
    pub(super) fn admit(&self) -> Result<(), Refusal> {
        if !self.is_scarce() {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(Refusal::unavailable(format!(
            "{} MiB of memory are in use and the limit is {} MiB; send again later",
            self.used() >> 20,
            self.limits.soft >> 20
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_mark_refuses_and_the_hard_one_ends_readiness() {
        let meter = MemoryMeter::new(MemoryLimits { soft: 100 << 20, hard: 200 << 20 });
        let at = |bytes: u64| {
            meter.set_used(bytes);
            (meter.admit().is_ok(), meter.is_scarce(), meter.is_exhausted())
        };
        assert_eq!(at(100 << 20), (true, false, false));
        assert_eq!(at(101 << 20), (false, true, false));
        assert_eq!(at(201 << 20), (false, true, true));
        assert_eq!(at(99 << 20), (true, false, false));
        assert_eq!(meter.refused(), 2);
        meter.set_used(150 << 20);
        let refusal = meter.admit().unwrap_err();
        assert!(refusal.message.contains("150 MiB"), "{}", refusal.message);
        assert!(refusal.retry_after().is_some());
    }
}
