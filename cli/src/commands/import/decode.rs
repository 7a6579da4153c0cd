//! Records of a file to rows, by the server's decoders. An error names the file and the line.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, Read};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use upriver_ingest::pprof::PprofUpload;
use upriver_ingest::{Decoded, decode, otlp, record_kind};
use upriver_store::batch::TableBatch;
use upriver_store::record::LogRecord;
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use super::Taken;
use super::unit::{Kind, ProfileLine, Unit};

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
    Profiles(VecDeque<(usize, ProfileLine)>),
    Pprof(Option<PathBuf>),
}

impl<'a> Decoder<'a> {
    /// Opens the unit at its start.
    pub(super) fn open(unit: &'a Unit) -> anyhow::Result<Self> {
        let input = match unit.kind {
            Kind::Profiles => Input::Profiles(unit.profile_lines()?.into()),
            Kind::Pprof => Input::Pprof(Some(unit.path.clone())),
            Kind::Traces | Kind::Metrics | Kind::Deploys => Input::Lines(unit.open()?),
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
            Input::Profiles(lines) => {
                let Some((number, line)) = lines.pop_front() else { return Ok(None) };
                let place = || format!("{}:{number}", self.unit.name());
                let path = self.unit.beside(&line.file).with_context(place)?;
                decode_profile(upload(line), &path).with_context(place)?
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
        _ => (record_kind::DEPLOYS, line),
    };
    let record = LogRecord { kind, received: NO_ARRIVAL, payload: Bytes::from(payload) };
    let decoded = decode(&record)?;
    if decoded.batches.iter().any(lacks_time) {
        return Err(anyhow!(
            "a change without `time_unix_nano` or `time`: an import has no instant of arrival to take instead"
        ));
    }
    Ok(decoded)
}

fn lacks_time(batch: &TableBatch) -> bool {
    batch.table == Table::Deploys
        && batch.rows.column_by_name("start_unix_nano").is_some_and(|starts| {
            starts.as_primitive::<Int64Type>().values().contains(&NO_ARRIVAL.0)
        })
}

fn upload(line: ProfileLine) -> PprofUpload {
    let mut upload = PprofUpload::new(line.service);
    if let Some(version) = line.version {
        upload.set_label("version", version);
    }
    for (key, value) in line.labels {
        upload.set_label(&key, value);
    }
    upload.from = line.time_unix_nano.map(UnixNanos);
    upload.until = line
        .time_unix_nano
        .zip(line.duration_nano)
        .map(|(start, duration)| UnixNanos(start.saturating_add(duration)));
    upload
}

fn decode_profile(upload: PprofUpload, path: &std::path::Path) -> anyhow::Result<Decoded> {
    let body = fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
    Ok(decode(&upload.into_record(Bytes::from(body), NO_ARRIVAL))?)
}
