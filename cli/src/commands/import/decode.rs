//! Records of a file to rows, by the server's decoders. An error names the file and the line.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use upriver_ingest::pprof::{PprofUpload, ProfileEntry};
use upriver_ingest::{Decoded, decode, otlp, record_kind};
use upriver_store::batch::TableBatch;
use upriver_store::record::LogRecord;
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use super::Taken;
use super::unit::{Kind, Unit};

/// Longest line: the limit of a request.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Imported records have no instant of arrival; what needs one has to say it.
const NO_ARRIVAL: UnixNanos = UnixNanos(0);

/// Reads a unit record by record.
pub(super) struct Decoder<'a> {
    unit: &'a Unit,
    input: Input,
    line: usize,
    taken: Taken,
}

enum Input {
    Lines(Box<dyn BufRead>),
    Profiles(VecDeque<(usize, ProfileEntry)>),
    Pprof(Option<PathBuf>),
}

impl<'a> Decoder<'a> {
    /// Opens the unit at its start.
    pub(super) fn open(unit: &'a Unit) -> anyhow::Result<Self> {
        let input = match unit.kind {
            Kind::Profiles => Input::Profiles(unit.profile_entries()?.into()),
            Kind::Pprof => Input::Pprof(Some(unit.path.clone())),
            Kind::Traces | Kind::Metrics | Kind::Logs | Kind::OtlpProfiles | Kind::Deploys => {
                Input::Lines(unit.open()?)
            }
        };
        Ok(Self { unit, input, line: 0, taken: Taken::default() })
    }

    /// How much was taken so far.
    pub(super) fn taken(&self) -> &Taken {
        &self.taken
    }

    /// The rows of the next record; `None` at the end.
    pub(super) fn next_record(&mut self) -> anyhow::Result<Option<Vec<TableBatch>>> {
        let decoded = match &mut self.input {
            Input::Lines(input) => loop {
                let mut line = Vec::new();
                let read = input.as_mut().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
                let read =
                    read.with_context(|| format!("could not read `{}`", self.unit.name()))?;
                if read == 0 {
                    return Ok(None);
                }
                self.line += 1;
                let place = || format!("{}:{}", self.unit.name(), self.line);
                if read as u64 > LINE_BYTES_MAX {
                    bail!("{}: the line is longer than {LINE_BYTES_MAX} bytes", place());
                }
                if !line.trim_ascii().is_empty() {
                    break decode_line(self.unit.kind, line).with_context(place)?;
                }
            },
            Input::Profiles(entries) => {
                let Some((number, entry)) = entries.pop_front() else { return Ok(None) };
                let place = || format!("{}:{number}", self.unit.name());
                let path = self.unit.beside(Path::new(&entry.file)).with_context(place)?;
                decode_profile(entry.upload, &path).with_context(place)?
            }
            Input::Pprof(path) => {
                let Some(path) = path.take() else { return Ok(None) };
                let service = self.unit.service.clone().unwrap_or_default();
                decode_profile(PprofUpload::new(service), &path)
                    .with_context(|| self.unit.name())?
            }
        };
        self.taken.accepted += decoded.accepted;
        self.taken.rejected += decoded.rejected;
        if decoded.rejected > 0 {
            self.taken.why = decoded.message.or_else(|| self.taken.why.take());
        }
        Ok(Some(decoded.batches))
    }
}

fn decode_line(kind: Kind, line: Vec<u8>) -> anyhow::Result<Decoded> {
    let (kind, payload) = match kind {
        Kind::Traces => (record_kind::OTLP_TRACES, otlp::json::traces_to_protobuf(&line)?),
        Kind::Metrics => (record_kind::OTLP_METRICS, otlp::json::metrics_to_protobuf(&line)?),
        Kind::Logs => (record_kind::OTLP_LOGS, otlp::json::logs_to_protobuf(&line)?),
        Kind::OtlpProfiles => {
            (record_kind::OTLP_PROFILES, otlp::json::profiles_to_protobuf(&line)?)
        }
        _ => (record_kind::DEPLOYS, line),
    };
    let received = if kind == record_kind::DEPLOYS { received(&payload) } else { NO_ARRIVAL };
    let record = LogRecord { kind, received, payload: Bytes::from(payload) };
    let decoded = decode(&record)?;
    let lacking = match kind {
        record_kind::OTLP_LOGS => "a log record without `timeUnixNano` or `observedTimeUnixNano`",
        record_kind::OTLP_PROFILES => "a profile without `timeUnixNano`",
        _ => "a change without `time_unix_nano` or `time`",
    };
    ensure!(
        !decoded.batches.iter().any(lacks_time),
        "{lacking}: an import has no instant of arrival to take instead"
    );
    Ok(decoded)
}

/// When a change was received, where the line says so, as those of an export do.
fn received(line: &[u8]) -> UnixNanos {
    #[derive(serde::Deserialize)]
    struct Received {
        received_unix_nano: i64,
    }
    let received = serde_json::from_slice::<Received>(line);
    received.map_or(NO_ARRIVAL, |line| UnixNanos(line.received_unix_nano))
}

fn decode_profile(upload: PprofUpload, path: &Path) -> anyhow::Result<Decoded> {
    let body = fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
    let decoded = decode(&upload.into_record(Bytes::from(body), NO_ARRIVAL))?;
    ensure!(
        !decoded.batches.iter().any(lacks_time),
        "neither the profile nor its entry in profiles.jsonl (`time_unix_nano`) says when it was taken"
    );
    Ok(decoded)
}

/// Whether a row has the instant of arrival for want of another.
fn lacks_time(batch: &TableBatch) -> bool {
    let column = match batch.table {
        Table::Deploys => "start_unix_nano",
        Table::Profiles | Table::Logs => "time_unix_nano",
        _ => return false,
    };
    batch
        .rows
        .column_by_name(column)
        .is_some_and(|times| times.as_primitive::<Int64Type>().values().contains(&NO_ARRIVAL.0))
}
