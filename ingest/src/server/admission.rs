//! How much is taken at a time: requests and bytes in flight, each under a named limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::memory::MemoryMeter;
use super::refusal::Refusal;

/// Limits of the receivers.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest gRPC message, before and after decompression. 64 MiB is what OTLP recommends.
    pub grpc_message_bytes_max: usize,
    /// Largest HTTP body, before and after decompression. 64 MiB is what OTLP recommends.
    pub http_body_bytes_max: usize,
    /// Bodies held at once, over all receivers. Four of the largest messages: a burst of full-size
    /// batches is taken, and rows of at most this many encoded bytes are being built beside the hot
    /// buffer, which has its own limit.
    pub in_flight_bytes_max: usize,
    /// Requests being read, decoded or logged at once. Each waits for a group commit of a few
    /// milliseconds, so this many give far over 100,000 requests per second before the limit does.
    pub requests_max: usize,
    /// Longest time for a body to arrive: three times the usual export timeout of 10 s, so that no
    /// living exporter is cut off and a dead one does not hold memory.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grpc_message_bytes_max: 64 << 20,
            http_body_bytes_max: 64 << 20,
            in_flight_bytes_max: 256 << 20,
            requests_max: 1024,
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// Counts what is in flight against the limits.
#[derive(Debug, Default)]
pub(super) struct Admission {
    requests: AtomicUsize,
    requests_max: usize,
    bytes: AtomicUsize,
    bytes_max: usize,
    memory: Arc<MemoryMeter>,
}

impl Admission {
    pub(super) fn new(limits: &Limits, memory: Arc<MemoryMeter>) -> Arc<Self> {
        Arc::new(Self {
            memory,
            requests_max: limits.requests_max,
            bytes_max: limits.in_flight_bytes_max,
            ..Self::default()
        })
    }

    /// Takes a place for one request; it is given back when the charge is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Charge, Refusal> {
        self.memory.admit()?;
        if !add_within(&self.requests, 1, self.requests_max) {
            return Err(Refusal::unavailable(format!(
                "{} requests are in progress, which is the limit; send again later",
                self.requests_max
            )));
        }
        Ok(Charge { admission: Arc::clone(self), bytes: 0 })
    }

    /// Requests and bytes in flight now.
    pub(super) fn in_flight(&self) -> (usize, usize) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// One request's share of what is in flight.
#[derive(Debug)]
pub(super) struct Charge {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Charge {
    /// Takes further bytes; they are given back with the charge.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.admission.memory.admit()?;
        if !add_within(&self.admission.bytes, bytes, self.admission.bytes_max) {
            return Err(Refusal::unavailable(format!(
                "request bodies in progress reach the limit of {} bytes; send again later",
                self.admission.bytes_max
            )));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.admission.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds unless the sum would be over the limit.
fn add_within(counter: &AtomicUsize, amount: usize, limit: usize) -> bool {
    let add = |now: usize| now.checked_add(amount).filter(|sum| *sum <= limit);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}
