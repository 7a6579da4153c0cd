//! What comes beside a profile: whose it is and when it was taken.
//!
//! Three ways to say it: Pyroscope's query parameters, plain query parameters, and a line of
//! `profiles.jsonl` in a case. All give a [`PprofUpload`], which is logged with the body.
//!
//! | parameter | meaning |
//! |---|---|
//! | `name` | Pyroscope's `app{key=value,key2="value"}`; a profile type behind the app, as in `app.cpu`, is taken off |
//! | `service`, `version`, `environment`, `instance` | plain; they win over what `name` says |
//! | `from`, `until`, `time` | seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size, or RFC 3339; `time` is `from` |
//! | `sampleRate` | samples per second, for a profile without a period |
//! | `spyName` | kept as the label `spy_name` |
//! | `format` | `pprof` or absent; `folded` (also `collapsed`, `groups`) or `lines` for stacks as text |
//!
//! Other parameters are ignored, as Pyroscope does. A profile's own time wins over `from`.

mod name;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use upriver_store::record::LogRecord;
use upriver_store::time::UnixNanos;

use super::folded::{self, Folding};
use super::format::{JFR, JFR_HINT};
use super::message::LoggedProfile;
use crate::otlp::shown;
use crate::{DecodeError, record_kind};

/// Label under which the version of the service is logged.
pub(super) const VERSION: &str = "service.version";
/// Label under which the environment is logged.
pub(super) const ENVIRONMENT: &str = "deployment.environment.name";
/// Label under which the instance is logged.
pub(super) const INSTANCE: &str = "service.instance.id";
const SERVICE: &str = "service.name";

/// What errors call the input.
const WHAT: &str = "profile parameters";

/// Whose profile it is and when it was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PprofUpload {
    /// `service.name`.
    pub service: String,
    /// The sender's labels. Version, environment and instance are under their names in the semantic
    /// conventions, whatever the sender called them; set them with [`PprofUpload::set_label`].
    pub labels: BTreeMap<String, String>,
    /// Start that the sender gave.
    pub from: Option<UnixNanos>,
    /// End that the sender gave.
    pub until: Option<UnixNanos>,
    /// Samples per second; 0 where the sender gave none.
    pub sample_rate: u32,
    /// How the body is text, where it is no pprof.
    pub folding: Option<Folding>,
}

impl PprofUpload {
    /// A profile of this service of which nothing else is known.
    pub fn new(service: impl Into<String>) -> Self {
        Self { service: service.into(), ..Self::default() }
    }

    /// Reads query parameters, percent-decoded, in the order in which they were sent.
    pub fn from_query<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, DecodeError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut upload = Self::default();
        let mut plain = Vec::new();
        for (key, value) in pairs {
            upload.parameter(key.as_ref(), value.as_ref(), &mut plain)?;
        }
        for (key, value) in plain {
            upload.set_label(&key, value);
        }
        if upload.service.is_empty() {
            return Err(invalid(
                "no service is named; add the query parameter `service=checkout`, \
                 or Pyroscope's `name=checkout{version=1.2}`",
            ));
        }
        if let (Some(from), Some(until)) = (upload.from, upload.until)
            && until < from
        {
            return Err(invalid("`until` is before `from`"));
        }
        Ok(upload)
    }

    /// Takes one parameter. Plain ones are put aside, because they win over `name`.
    fn parameter(
        &mut self,
        key: &str,
        value: &str,
        plain: &mut Vec<(String, String)>,
    ) -> Result<(), DecodeError> {
        match key {
            "name" => self.take_name(value)?,
            "from" | "time" => self.from = instant(key, value)?.or(self.from),
            "until" => self.until = instant(key, value)?.or(self.until),
            "sampleRate" if !value.is_empty() => self.sample_rate = sample_rate(value)?,
            "spyName" if !value.is_empty() => self.set_label("spy_name", value.to_owned()),
            "format" => self.folding = folding(value)?,
            "service" | "service_name" | "service.name" | "version" | "service_version"
            | "service.version" | "environment" | "instance"
                if !value.is_empty() =>
            {
                plain.push((key.to_owned(), value.to_owned()));
            }
            _ => {}
        }
        Ok(())
    }

    fn take_name(&mut self, text: &str) -> Result<(), DecodeError> {
        let name =
            name::parse(text).map_err(|why| invalid(format!("name={}: {why}", shown(text))))?;
        let app = name.app;
        self.service.clone_from(&app);
        if let Some(profile_type) = name.profile_type {
            self.set_label("type", profile_type);
        }
        for (key, value) in name.labels {
            self.set_label(&key, value);
        }
        if self.service != app && !app.is_empty() {
            self.set_label("app_name", app);
        }
        Ok(())
    }

    /// Sets a label. The names that senders give to service, version, environment and instance set
    /// those.
    pub fn set_label(&mut self, key: &str, value: String) {
        match canonical(key) {
            SERVICE => self.service = value,
            key => {
                self.labels.insert(key.to_owned(), value);
            }
        }
    }

    /// The body as pprof, which is what is logged, where it came as text.
    pub fn to_pprof(&self, body: Bytes) -> Result<Bytes, DecodeError> {
        match self.folding {
            Some(folding) => folded::to_pprof(&body, folding, self.sample_rate),
            None => Ok(body),
        }
    }

    /// What is logged and decoded: these parameters and the body, gzip or raw, as it was sent.
    pub fn into_record(self, body: Bytes, received: UnixNanos) -> LogRecord {
        let logged = LoggedProfile {
            labels: self.labels,
            service: self.service,
            from_unix_nano: self.from.map(|from| from.0),
            until_unix_nano: self.until.map(|until| until.0),
            sample_rate: self.sample_rate,
            body,
        };
        LogRecord { kind: record_kind::PPROF, received, payload: logged.encode_to_vec().into() }
    }
}

/// The name in the semantic conventions of what a label means.
fn canonical(key: &str) -> &str {
    match key {
        "service" | "service_name" => SERVICE,
        "version" | "service_version" => VERSION,
        "environment"
        | "env"
        | "deployment_environment"
        | "deployment_environment_name"
        | "deployment.environment" => ENVIRONMENT,
        "instance" | "service_instance_id" => INSTANCE,
        key => key,
    }
}

/// A line of `profiles.jsonl`: a file of the case and whose profile it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileEntry {
    /// Path of the profile inside the case folder, as the line gives it: not yet checked.
    pub file: String,
    /// Whose profile it is.
    pub upload: PprofUpload,
}

/// The line as it is written. Numbers may be texts, as 64-bit integers in OTLP JSON are.
#[derive(Deserialize)]
struct Line {
    file: String,
    service: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    environment: Option<String>,
    #[serde(default, rename = "type")]
    profile_type: Option<String>,
    #[serde(default)]
    time_unix_nano: Option<Number>,
    #[serde(default)]
    duration_nano: Option<Number>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(i64),
    Text(String),
}

impl ProfileEntry {
    /// Reads one line.
    pub fn from_json(line: &str) -> Result<Self, DecodeError> {
        let line: Line = serde_json::from_str(line)
            .map_err(|why| DecodeError::invalid("a line of profiles.jsonl", why.to_string()))?;
        let mut upload = PprofUpload::new(line.service);
        for (key, value) in line.labels.unwrap_or_default() {
            upload.set_label(&key, value);
        }
        let named = [(VERSION, line.version), (ENVIRONMENT, line.environment)];
        for (key, value) in named.into_iter().chain([("type", line.profile_type)]) {
            if let Some(value) = value {
                upload.set_label(key, value);
            }
        }
        let start = number("time_unix_nano", line.time_unix_nano)?;
        let duration = number("duration_nano", line.duration_nano)?;
        upload.from = start.map(UnixNanos);
        upload.until =
            start.zip(duration).map(|(start, length)| UnixNanos(start.saturating_add(length)));
        Ok(Self { file: line.file, upload })
    }
}

fn number(field: &str, value: Option<Number>) -> Result<Option<i64>, DecodeError> {
    match value {
        None => Ok(None),
        Some(Number::Number(number)) => Ok(Some(number)),
        Some(Number::Text(text)) => text.parse().map(Some).map_err(|why| {
            DecodeError::invalid(
                "a line of profiles.jsonl",
                format!("{field} is {}, not an integer: {why}", shown(&text)),
            )
        }),
    }
}

/// The first instant that is taken for milliseconds: as seconds it would be in the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;
/// The first instant that is taken for microseconds.
const MICROSECONDS_FROM: i64 = MILLISECONDS_FROM * 1_000;
/// The first instant that is taken for nanoseconds: as such it is in March 1973.
const NANOSECONDS_FROM: i64 = MICROSECONDS_FROM * 1_000;

/// An instant in any of the units that profilers send; none where the value is empty or 0.
fn instant(key: &str, value: &str) -> Result<Option<UnixNanos>, DecodeError> {
    let value = value.trim();
    if value.is_empty() || value == "0" {
        return Ok(None);
    }
    let unknown = || {
        invalid(format!(
            "{key}={} is no instant; send seconds, milliseconds or nanoseconds since 1970, \
             or RFC 3339",
            shown(value)
        ))
    };
    let Ok(number) = value.parse::<i64>() else {
        let instant = value.parse::<jiff::Timestamp>().ok();
        let nanos = instant.and_then(|instant| i64::try_from(instant.as_nanosecond()).ok());
        return nanos.map(|nanos| Some(UnixNanos(nanos))).ok_or_else(unknown);
    };
    let nanos_per_unit = match number {
        ..0 => return Err(unknown()),
        0..MILLISECONDS_FROM => 1_000_000_000,
        MILLISECONDS_FROM..MICROSECONDS_FROM => 1_000_000,
        MICROSECONDS_FROM..NANOSECONDS_FROM => 1_000,
        NANOSECONDS_FROM.. => 1,
    };
    // Seconds up to the year 2262 fit; later ones are no instant of a profile.
    number.checked_mul(nanos_per_unit).map(|nanos| Some(UnixNanos(nanos))).ok_or_else(unknown)
}

/// Samples per second, which Pyroscope's agents send as an integer.
fn sample_rate(value: &str) -> Result<u32, DecodeError> {
    value.trim().parse().map_err(|why| {
        invalid(format!(
            "sampleRate={} is not a whole number of samples per second: {why}",
            shown(value)
        ))
    })
}

fn folding(format: &str) -> Result<Option<Folding>, DecodeError> {
    match format {
        "" | "pprof" => Ok(None),
        "folded" | "collapsed" | "groups" => Ok(Some(Folding::Folded)),
        "lines" => Ok(Some(Folding::Lines)),
        "jfr" => Err(DecodeError::unsupported(JFR, JFR_HINT)),
        other => Err(DecodeError::unsupported(
            format!("the profile format {}", shown(other)),
            "send a pprof profile with `format=pprof`, or stacks as text with `format=folded`",
        )),
    }
}

fn invalid(why: impl Into<String>) -> DecodeError {
    DecodeError::invalid(WHAT, why)
}

#[cfg(test)]
mod tests;
