//! Series of raw pprof profiles, each with labels: what agents push in one call, in the dialects of
//! Pyroscope (`push.v1`) and Parca (`parca.profilestore.v1alpha1`), as protobuf or JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use upriver_store::record::LogRecord;
use upriver_store::time::UnixNanos;

use super::PprofUpload;
use super::body::next_field;
use crate::DecodeError;

/// Most profiles in one call. Agents send one per process and type.
const PROFILES_MAX: usize = 10_000;

/// Messages and texts inside one call: series, labels, profiles. An empty one takes two bytes on the
/// wire and up to 48 in memory, so that the size of the body alone bounds little; 1 Mi of them stay
/// below 100 MB and give each of the most profiles a hundred labels.
const ENTRIES_MAX: usize = 1 << 20;

/// Labels are said once for a series and logged with each of its profiles. Written out they may take
/// this much; 10,000 profiles of one series may then have 6 KiB of labels each.
const LABELS_BYTES_MAX: usize = 64 << 20;

/// Service of a series that names none, as in OTLP.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A message that carries series.
pub trait RawSeries {
    /// Its name, for errors.
    const NAME: &'static str;

    /// The series: labels and profiles.
    fn series(self) -> Vec<(Vec<Label>, Vec<RawSample>)>;
}

/// `push.v1.PushRequest`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct PyroscopePush {
    #[prost(message, repeated, tag = "1")]
    series: Vec<PyroscopeSeries>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct PyroscopeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<RawSample>,
}

/// `parca.profilestore.v1alpha1.WriteRawRequest`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct ParcaWriteRaw {
    #[prost(message, repeated, tag = "2")]
    series: Vec<ParcaSeries>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct ParcaSeries {
    #[prost(message, optional, tag = "1")]
    labels: Option<LabelSet>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<RawSample>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct LabelSet {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
}

/// A label of a series.
#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(default)]
pub struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// A profile, gzip or raw.
#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(default)]
pub struct RawSample {
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(alias = "rawProfile", deserialize_with = "bytes_of_base64")]
    raw_profile: Bytes,
}

impl RawSeries for PyroscopePush {
    const NAME: &'static str = "push.v1.PushRequest";

    fn series(self) -> Vec<(Vec<Label>, Vec<RawSample>)> {
        self.series.into_iter().map(|series| (series.labels, series.samples)).collect()
    }
}

impl RawSeries for ParcaWriteRaw {
    const NAME: &'static str = "parca.profilestore.v1alpha1.WriteRawRequest";

    fn series(self) -> Vec<(Vec<Label>, Vec<RawSample>)> {
        let one = |series: ParcaSeries| (series.labels.unwrap_or_default().labels, series.samples);
        self.series.into_iter().map(one).collect()
    }
}

/// The records of a protobuf message.
pub fn from_protobuf<M: RawSeries + Message + Default>(
    body: Bytes,
    received: UnixNanos,
) -> Result<Vec<LogRecord>, DecodeError> {
    check_entries::<M>(entries_of_protobuf(&body, NESTED_MESSAGES))?;
    let message = M::decode(body).map_err(|error| unreadable::<M>(&error.to_string()))?;
    records(message, received)
}

/// The records of the same message as JSON, where bytes are base64.
pub fn from_json<M: RawSeries + for<'de> Deserialize<'de>>(
    body: &[u8],
    received: UnixNanos,
) -> Result<Vec<LogRecord>, DecodeError> {
    // serde takes a list for a message with its fields in order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(unreadable::<M>("it is not a JSON object"));
    }
    check_entries::<M>(body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count())?;
    let message = serde_json::from_slice(body);
    records::<M>(message.map_err(|error| unreadable::<M>(&error.to_string()))?, received)
}

/// Messages below the outermost one that hold messages: a series and, in Parca's, its set of labels.
const NESTED_MESSAGES: usize = 2;

/// Fields that have a length, in a message and in the messages inside it. What cannot be read ends
/// the count: reading the message itself ends there too.
fn entries_of_protobuf(mut rest: &[u8], nested: usize) -> usize {
    let mut entries = 0_usize;
    while let Ok(Some((_, content))) = next_field(&mut rest) {
        let Some(content) = content else { continue };
        entries = entries.saturating_add(1);
        if let Some(nested) = nested.checked_sub(1) {
            entries = entries.saturating_add(entries_of_protobuf(content, nested));
        }
    }
    entries
}

fn check_entries<M: RawSeries>(entries: usize) -> Result<(), DecodeError> {
    if entries <= ENTRIES_MAX {
        return Ok(());
    }
    let why = format!("{entries} entries, at most {ENTRIES_MAX}; send fewer profiles at once");
    Err(DecodeError::too_large(M::NAME, why))
}

fn unreadable<M: RawSeries>(why: &str) -> DecodeError {
    DecodeError::invalid(M::NAME, why)
}

fn records<M: RawSeries>(message: M, received: UnixNanos) -> Result<Vec<LogRecord>, DecodeError> {
    let series = message.series();
    let profiles: usize = series.iter().map(|(_, samples)| samples.len()).sum();
    if profiles > PROFILES_MAX {
        let why =
            format!("{profiles} profiles in one call, at most {PROFILES_MAX}; send fewer at once");
        return Err(DecodeError::too_large(M::NAME, why));
    }
    check_labels::<M>(&series)?;
    let mut records = Vec::with_capacity(profiles);
    for (labels, samples) in series {
        let mut upload = PprofUpload::new(UNKNOWN_SERVICE);
        for label in &labels {
            upload.set_label(&label.name, label.value.clone());
        }
        // Agents that follow Prometheus name the service as a job.
        if upload.service == UNKNOWN_SERVICE
            && let Some(job) = labels.iter().find(|label| label.name == "job")
        {
            upload.service.clone_from(&job.value);
        }
        for sample in samples {
            records.push(upload.clone().into_record(sample.raw_profile, received));
        }
    }
    Ok(records)
}

/// Refuses labels that would take too much memory once every profile has its own.
fn check_labels<M: RawSeries>(series: &[(Vec<Label>, Vec<RawSample>)]) -> Result<(), DecodeError> {
    let bytes = series.iter().map(|(labels, samples)| {
        let texts = labels.iter().map(|label| label.name.len().saturating_add(label.value.len()));
        texts.fold(0, usize::saturating_add).saturating_mul(samples.len())
    });
    let bytes = bytes.fold(0, usize::saturating_add);
    if bytes <= LABELS_BYTES_MAX {
        return Ok(());
    }
    let why = format!(
        "its labels would take {bytes} bytes beside each profile, at most {LABELS_BYTES_MAX}; \
         send shorter labels or fewer profiles at once"
    );
    Err(DecodeError::too_large(M::NAME, why))
}

fn bytes_of_base64<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
