//! What the doors took and refused, in the names of the Collector's receivers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::refusal::Refusal;

/// A way in: receiver, transport and signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    OtlpGrpcTraces,
    OtlpGrpcMetrics,
    OtlpGrpcLogs,
    OtlpGrpcProfiles,
    OtlpHttpTraces,
    OtlpHttpMetrics,
    OtlpHttpLogs,
    OtlpHttpProfiles,
    PyroscopeIngest,
    PyroscopePush,
    ParcaWriteRaw,
    PprofUpload,
    Deploys,
}

impl Door {
    pub(super) const ALL: [Self; 13] = [
        Self::OtlpGrpcTraces,
        Self::OtlpGrpcMetrics,
        Self::OtlpGrpcLogs,
        Self::OtlpGrpcProfiles,
        Self::OtlpHttpTraces,
        Self::OtlpHttpMetrics,
        Self::OtlpHttpLogs,
        Self::OtlpHttpProfiles,
        Self::PyroscopeIngest,
        Self::PyroscopePush,
        Self::ParcaWriteRaw,
        Self::PprofUpload,
        Self::Deploys,
    ];

    pub(super) fn receiver(self) -> &'static str {
        match self {
            Self::OtlpGrpcTraces
            | Self::OtlpGrpcMetrics
            | Self::OtlpGrpcLogs
            | Self::OtlpGrpcProfiles
            | Self::OtlpHttpTraces
            | Self::OtlpHttpMetrics
            | Self::OtlpHttpLogs
            | Self::OtlpHttpProfiles => "otlp",
            Self::PyroscopeIngest | Self::PyroscopePush => "pyroscope",
            Self::ParcaWriteRaw => "parca",
            Self::PprofUpload => "pprof",
            Self::Deploys => "deploys",
        }
    }

    pub(super) fn transport(self) -> &'static str {
        match self {
            Self::OtlpGrpcTraces
            | Self::OtlpGrpcMetrics
            | Self::OtlpGrpcLogs
            | Self::OtlpGrpcProfiles => "grpc",
            Self::PyroscopePush => "connect",
            _ => "http",
        }
    }

    /// What is counted, as metric names spell it.
    pub(super) fn items(self) -> &'static str {
        match self {
            Self::OtlpGrpcTraces | Self::OtlpHttpTraces => "spans",
            Self::OtlpGrpcMetrics | Self::OtlpHttpMetrics => "metric_points",
            Self::OtlpGrpcLogs | Self::OtlpHttpLogs => "log_records",
            Self::OtlpGrpcProfiles
            | Self::OtlpHttpProfiles
            | Self::PyroscopeIngest
            | Self::PyroscopePush
            | Self::ParcaWriteRaw
            | Self::PprofUpload => "profile_samples",
            Self::Deploys => "deploys",
        }
    }
}

/// Counts of one door since the start.
#[derive(Debug, Default)]
pub(super) struct DoorCounters {
    /// Items made durable.
    pub(super) accepted: AtomicU64,
    /// Items that the sender should not have sent.
    pub(super) refused: AtomicU64,
    /// Good items that could not be stored.
    pub(super) failed: AtomicU64,
    /// Requests by outcome.
    pub(super) requests_ok: AtomicU64,
    pub(super) requests_refused: AtomicU64,
    pub(super) requests_failed: AtomicU64,
}

/// Counts of all doors.
#[derive(Debug, Default)]
pub(super) struct Counters {
    doors: [DoorCounters; Door::ALL.len()],
}

impl Counters {
    pub(super) fn door(&self, door: Door) -> &DoorCounters {
        &self.doors[door as usize]
    }

    /// Counts the end of a request.
    pub(super) fn request<T>(&self, door: Door, outcome: &Result<T, Refusal>) {
        let counters = self.door(door);
        let counter = match outcome {
            Ok(_) => &counters.requests_ok,
            Err(refusal) if refusal.is_our_fault() => &counters.requests_failed,
            Err(_) => &counters.requests_refused,
        };
        add(counter, 1);
    }
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(super) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
