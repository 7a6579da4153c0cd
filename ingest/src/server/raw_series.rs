//! Series of raw pprof profiles, each with labels: what agents push in one call, in the dialects of
//! Pyroscope (`push.v1`) and Parca (`parca.profilestore.v1alpha1`), as protobuf or JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use upriver_store::record::LogRecord;
use upriver_store::time::UnixNanos;

use super::refusal::Refusal;
use crate::pprof::PprofUpload;

/// Most profiles in one call. Agents send one per process and type.
const PROFILES_MAX: usize = 10_000;

/// Service of a series that names none, as in OTLP.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A message that carries series.
pub(super) trait RawSeries {
    /// Its name, for errors.
    const NAME: &'static str;

    /// The series: labels and profiles.
    fn series(self) -> Vec<(Vec<Label>, Vec<RawSample>)>;
}

/// `push.v1.PushRequest`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct PyroscopePush {
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
pub(super) struct ParcaWriteRaw {
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
pub(super) struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// A profile, gzip or raw.
#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(default)]
pub(super) struct RawSample {
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
pub(super) fn from_protobuf<M: RawSeries + Message + Default>(
    body: Bytes,
    received: UnixNanos,
) -> Result<Vec<LogRecord>, Refusal> {
    let message = M::decode(body).map_err(|error| unreadable::<M>(&error.to_string()))?;
    records(message, received)
}

/// The records of the same message as JSON, where bytes are base64.
pub(super) fn from_json<M: RawSeries + for<'de> Deserialize<'de>>(
    body: &[u8],
    received: UnixNanos,
) -> Result<Vec<LogRecord>, Refusal> {
    // serde takes a list for a message with its fields in order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(unreadable::<M>("it is not a JSON object"));
    }
    let message = serde_json::from_slice(body);
    records::<M>(message.map_err(|error| unreadable::<M>(&error.to_string()))?, received)
}

fn unreadable<M: RawSeries>(why: &str) -> Refusal {
    Refusal::invalid(format!("cannot read the {}: {why}", M::NAME))
}

fn records<M: RawSeries>(message: M, received: UnixNanos) -> Result<Vec<LogRecord>, Refusal> {
    let series = message.series();
    let profiles: usize = series.iter().map(|(_, samples)| samples.len()).sum();
    if profiles > PROFILES_MAX {
        return Err(Refusal::invalid(format!(
            "{profiles} profiles in one call, at most {PROFILES_MAX}; send fewer at once"
        )));
    }
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

fn bytes_of_base64<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}
