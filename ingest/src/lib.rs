//! What arrives, turned into rows: OTLP traces, metrics, logs and profiles, pprof profiles,
//! deploy events.
//!
//! | module | is |
//! |---|---|
//! | [`otlp`] | OTLP traces, metrics, logs and profiles, protobuf and JSON, to rows |
//! | [`pprof`] | pprof profiles to rows |
//! | [`frame_family`] | what a runtime or a well-known library does in a frame of a profile |
//! | [`deploys`] | deploy events to rows |
//! | [`encode`] | rows back into OTLP JSON lines, pprof and deploy events |
//! | `server` | the doors: gRPC and HTTP receivers (feature `server`) |
//!
//! [`decode`] is the one way from a logged request to rows, on arrival and on replay alike.
//!
//! Architecture invariant: decoders are total and pure. Any bytes give rows or a [`DecodeError`];
//! the same bytes received at the same instant give the same rows. This crate never reads a table.

use std::sync::Arc;

use upriver_store::batch::TableBatch;
use upriver_store::record::{Decode, DecodeFailure, LogRecord};

pub mod deploys;
pub mod encode;
pub mod frame_family;
pub mod otlp;
pub mod pprof;
#[cfg(feature = "server")]
pub mod server;

mod profiles;
mod rows;

/// What the payload of a logged request is: [`LogRecord::kind`]. 0 belongs to the store.
pub mod record_kind {
    /// `ExportTraceServiceRequest`, protobuf.
    pub const OTLP_TRACES: u8 = 1;
    /// `ExportMetricsServiceRequest`, protobuf.
    pub const OTLP_METRICS: u8 = 2;
    /// `ExportLogsServiceRequest`, protobuf.
    pub const OTLP_LOGS: u8 = 3;
    /// `ExportProfilesServiceRequest`, protobuf.
    pub const OTLP_PROFILES: u8 = 4;
    /// A pprof profile with the labels that came beside it.
    pub const PPROF: u8 = 5;
    /// Deploy events, JSON.
    pub const DEPLOYS: u8 = 6;
}

/// The rows of a request, and what of it was left out.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Rows per table; tables without rows are absent.
    pub batches: Vec<TableBatch>,
    /// Items taken: spans, data points, log records, samples, changes.
    pub accepted: u64,
    /// Items left out; `message` says why.
    pub rejected: u64,
    /// Profiles left out of an OTLP request, whose answer counts profiles; the items of profiles
    /// are their samples.
    pub rejected_profiles: u64,
    /// What the sender should know: why items were rejected, or a warning.
    pub message: Option<String>,
}

/// Why a request as a whole cannot be taken. Sending it again would not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what they are said to be, or break a rule of the format.
    #[error("cannot read {what}: {why}")]
    Invalid {
        /// What was expected, such as `OTLP traces`.
        what: &'static str,
        /// What is wrong, where, and what is expected instead.
        why: String,
    },
    /// The request, or what it unfolds to, is over a limit.
    #[error("{what} too large: {why}")]
    TooLarge {
        /// What was read, such as `OTLP traces`.
        what: &'static str,
        /// The limit and how to stay below it.
        why: String,
    },
    /// The bytes are of a format that is known but not taken.
    #[error("{format} is not supported: {hint}")]
    Unsupported {
        /// The format by name, such as `JFR`.
        format: String,
        /// What to send instead.
        hint: String,
    },
}

/// The class of a [`DecodeError`], for a protocol's status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// HTTP 400, gRPC `INVALID_ARGUMENT`.
    InvalidArgument,
    /// HTTP 413, gRPC `RESOURCE_EXHAUSTED` without retry advice.
    TooLarge,
    /// HTTP 400 or 415, gRPC `UNIMPLEMENTED`.
    Unsupported,
}

impl DecodeError {
    /// An [`DecodeError::Invalid`].
    pub fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { what, why: why.into() }
    }

    /// A [`DecodeError::TooLarge`].
    pub fn too_large(what: &'static str, why: impl Into<String>) -> Self {
        Self::TooLarge { what, why: why.into() }
    }

    /// An [`DecodeError::Unsupported`].
    pub fn unsupported(format: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unsupported { format: format.into(), hint: hint.into() }
    }

    /// The class of the error.
    pub fn kind(&self) -> DecodeErrorKind {
        match self {
            Self::Invalid { .. } => DecodeErrorKind::InvalidArgument,
            Self::TooLarge { .. } => DecodeErrorKind::TooLarge,
            Self::Unsupported { .. } => DecodeErrorKind::Unsupported,
        }
    }
}

/// Turns a logged request into rows.
pub fn decode(record: &LogRecord) -> Result<Decoded, DecodeError> {
    match record.kind {
        record_kind::OTLP_TRACES => otlp::decode_traces(&record.payload),
        record_kind::OTLP_METRICS => otlp::decode_metrics(&record.payload),
        record_kind::OTLP_LOGS => otlp::decode_logs(&record.payload, record.received),
        record_kind::OTLP_PROFILES => otlp::decode_profiles(&record.payload, record.received),
        record_kind::PPROF => pprof::decode_record(record),
        record_kind::DEPLOYS => deploys::decode(&record.payload, record.received),
        kind => Err(DecodeError::unsupported(
            format!("log record kind {kind}"),
            "it was written by a newer version of Upriver; replay it with that version",
        )),
    }
}

/// The function that the store replays its log with.
pub fn replay() -> Decode {
    Arc::new(|record| {
        decode(record).map(|decoded| decoded.batches).map_err(|e| DecodeFailure(e.to_string()))
    })
}

#[cfg(test)]
mod tests;
