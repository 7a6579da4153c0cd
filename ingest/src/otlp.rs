//! OTLP traces, metrics, logs and profiles to rows.
//!
//! | module | is |
//! |---|---|
//! | [`json`] | OTLP JSON to the protobuf form that is logged |
//! | `traces`, `operation`, `promoted`, `payload_sizes`, `sampling` | spans, the bodies that they report, and their events |
//! | `metrics` | data points |
//! | `logs` | log records and events |
//! | `profiles` | profiles with their dictionary |
//! | `resource`, `attributes`, `strings` | what all signals share |
//! | `wire` | protobuf read in place |
//!
//! Choices that the specification leaves open: a span with an invalid id is rejected alone (partial
//! success), the rest of its request is kept; a text that is not UTF-8 or a broken field refuses the
//! whole request, as other protobuf readers do; of a repeated attribute key the first value is kept;
//! instants beyond 2262 and counts beyond 2^63 saturate.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use upriver_store::time::UnixNanos;

use crate::profiles::TooManyRows;
use crate::{DecodeError, Decoded};

mod attributes;
pub mod json;
mod keys;
mod logs;
mod metrics;
mod operation;
mod payload_sizes;
mod profiles;
mod promoted;
mod resource;
mod sampling;
mod strings;
mod traces;
mod wire;

pub(crate) use attributes::AttributesBuilder;
pub(crate) use keys::is_read_by_type;
use wire::WireError;

/// Turns an `ExportTraceServiceRequest` (protobuf) into rows of `spans` and `span_events`. A span
/// with an invalid id is rejected; the others are kept.
pub fn decode_traces(body: &[u8]) -> Result<Decoded, DecodeError> {
    checked(body, TRACES, traces::decode)
}

/// Turns an `ExportMetricsServiceRequest` (protobuf) into rows of `metrics` and
/// `metric_histograms`. A histogram whose buckets do not fit its bounds is rejected; the other data
/// points are kept.
///
/// A summary becomes rows of `metrics` as Prometheus exposes it: one per quantile with the attribute
/// `quantile`, and `<name>_sum` and `<name>_count`; it counts as one data point.
pub fn decode_metrics(body: &[u8]) -> Result<Decoded, DecodeError> {
    checked(body, METRICS, metrics::decode)
}

/// Turns an `ExportLogsServiceRequest` (protobuf) that arrived at `received` into rows of `logs`.
/// A record that says no instant at all gets the one of its arrival. One with an invalid trace or
/// span id is kept without it, and the sender is told.
pub fn decode_logs(body: &[u8], received: UnixNanos) -> Result<Decoded, DecodeError> {
    checked(body, LOGS, |body| logs::decode(body, received))
}

/// Turns an `ExportProfilesServiceRequest` (protobuf, `v1development`, of OTLP 1.8 and later) that
/// arrived at `received` into rows of `profiles`, `profile_samples`, `profile_stacks` and
/// `profile_stack_frames`. A profile whose values could not be told apart or attributed is rejected;
/// the others are kept.
pub fn decode_profiles(body: &[u8], received: UnixNanos) -> Result<Decoded, DecodeError> {
    checked(body, PROFILES, |body| profiles::decode(body, received))
}

const TRACES: &str = "OTLP traces";
const METRICS: &str = "OTLP metrics";
const LOGS: &str = "OTLP logs";
const PROFILES: &str = "OTLP profiles";

/// The largest request that is decoded, whatever a receiver allows: 32-bit offsets of a text column
/// then hold even if every byte of it is a control character that JSON writes as six.
const REQUEST_BYTES_MAX: usize = 256 << 20;

/// What the rows of one request may take, roughly. Rows repeat what a request says once (resource
/// attributes, names), so a small request could unfold without bound; 64 MiB of ordinary spans
/// take about half of this.
const ROWS_BYTES_MAX: usize = 1 << 30;

fn checked(
    body: &[u8],
    what: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<Decoded, Fault>,
) -> Result<Decoded, DecodeError> {
    if body.len() > REQUEST_BYTES_MAX {
        let why = format!(
            "{} bytes, at most {REQUEST_BYTES_MAX} are decoded at once; send smaller batches",
            body.len()
        );
        return Err(DecodeError::too_large(what, why));
    }
    decode(body).map_err(|fault| match fault {
        Fault::Wire(error) => DecodeError::invalid(what, error.to_string()),
        Fault::Invalid(why) => DecodeError::invalid(what, why),
        Fault::TooMany(why) => DecodeError::too_large(what, why),
        Fault::TooLarge => DecodeError::too_large(
            what,
            format!("the rows would take more than {ROWS_BYTES_MAX} bytes; send smaller batches"),
        ),
    })
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    Wire(WireError),
    /// What is wrong, and what to send instead.
    Invalid(String),
    /// The rows would take more than they may.
    TooLarge,
    /// Which other limit it is over, and what to do.
    TooMany(String),
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<TooManyRows> for Fault {
    fn from(_: TooManyRows) -> Self {
        Self::TooLarge
    }
}

/// What the rows of a request still may take.
#[derive(Debug)]
struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(ROWS_BYTES_MAX)
    }
}

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        self.0 = self.0.checked_sub(bytes).ok_or(Fault::TooLarge)?;
        Ok(())
    }
}

/// Items of a request that were left out.
#[derive(Debug, Default)]
struct Rejections {
    count: u64,
    first: Option<String>,
}

impl Rejections {
    /// Counts an item; the first one is described: which it is and why it was left out.
    fn note(&mut self, why: impl FnOnce() -> String) {
        self.count = self.count.saturating_add(1);
        self.first.get_or_insert_with(why);
    }

    /// What the sender is told. `item` is what one of them is called.
    fn message(&self, item: &str) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(match self.count {
            1 => format!("1 {item} rejected because {first}"),
            count => format!("{count} {item}s rejected, the first because {first}"),
        })
    }
}

/// A name for a message: quoted, escaped, and short.
pub(crate) fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut short: String = name.chars().take(CHARS_MAX).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests;
