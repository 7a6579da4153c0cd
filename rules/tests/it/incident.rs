//! A scenario as a query session: generated, decoded, completed and rolled up as the store does it,
//! all in memory.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use upriver_analyze::{RecordBatch, Session, SessionOptions, UnixNanos};
use upriver_ingest::pprof::PprofUpload;
use upriver_store::batch::TableBatch;
use upriver_store::record::LogRecord;
use upriver_store::rollup::{edge_minutes, operation_minutes};
use upriver_store::schema::Table;
use upriver_store::snapshot::Snapshot;
use upriver_store::trace_index::TraceIndex;
use upriver_testdata::scenario::{Label, Options, Scenario, Slice, Variant};

/// Nanoseconds in a minute.
pub(crate) const MINUTE: i64 = 60_000_000_000;
pub(crate) const WEEK: i64 = 7 * 24 * 60 * MINUTE;
/// What is decoded before the diagnosis, and a week earlier.
const BEFORE: i64 = 14 * 60 * MINUTE;
const LAST_WEEK: i64 = 20 * MINUTE;

/// An incident with what is true about it.
pub(crate) struct Incident {
    pub(crate) label: Label,
    snapshot: Snapshot,
}

impl Incident {
    /// The incident with `after` the instant of the diagnosis. Of the quiet week before, only what
    /// a diagnosis reads is decoded.
    pub(crate) fn new(variant: Variant, after: i64) -> Result<Self> {
        let scenario = Scenario::new(Options::new(variant));
        let label = scenario.label();
        let at = label.diagnose_at_unix_nano;
        let is_read = |slice: &Slice| {
            let overlaps =
                |from: i64, to: i64| slice.end_unix_nano > from && slice.start_unix_nano < to;
            overlaps(at - BEFORE, at + after) || overlaps(at - WEEK - LAST_WEEK, at - WEEK)
        };
        let mut tables = Tables::default();
        for slice in scenario.slices().filter(is_read) {
            tables.add(&slice)?;
        }
        Ok(Self { label, snapshot: tables.snapshot() })
    }

    /// A session whose queries run in so many parts.
    pub(crate) fn session(&self, target_partitions: usize) -> Result<Session> {
        let options = SessionOptions { target_partitions, ..SessionOptions::default() };
        Ok(Session::new(self.snapshot.clone(), &options)?)
    }

    /// The instant at which a diagnosis is asked for.
    pub(crate) fn at(&self) -> UnixNanos {
        UnixNanos(self.label.diagnose_at_unix_nano)
    }
}

/// Rows as the store would hold them.
#[derive(Default)]
pub(crate) struct Tables {
    rows: BTreeMap<Table, Vec<RecordBatch>>,
}

impl Tables {
    fn add(&mut self, slice: &Slice) -> Result<()> {
        let received = UnixNanos(slice.end_unix_nano);
        for traces in &slice.traces {
            self.add_traces(traces)?;
        }
        for metrics in &slice.metrics {
            self.extend(upriver_ingest::otlp::decode_metrics(&metrics.encode_to_vec())?.batches);
        }
        for profile in &slice.profiles {
            let mut upload = PprofUpload::new(&profile.entry.service);
            upload.set_label("version", profile.entry.version.clone());
            for (key, value) in &profile.entry.labels {
                upload.set_label(key, value.clone());
            }
            upload.from = Some(UnixNanos(profile.entry.time_unix_nano));
            let record = upload.into_record(Bytes::copy_from_slice(&profile.bytes), received);
            self.extend(decoded(&record)?);
        }
        for deploy in &slice.deploys {
            self.add_deploy(&serde_json::to_vec(deploy)?, received)?;
        }
        Ok(())
    }

    pub(crate) fn add_deploy(&mut self, body: &[u8], received: UnixNanos) -> Result<()> {
        self.extend(upriver_ingest::deploys::decode(body, received)?.batches);
        Ok(())
    }

    pub(crate) fn add_traces(&mut self, traces: &ExportTraceServiceRequest) -> Result<()> {
        self.extend(upriver_ingest::otlp::decode_traces(&traces.encode_to_vec())?.batches);
        Ok(())
    }

    fn extend(&mut self, batches: Vec<TableBatch>) {
        for batch in batches {
            self.rows.entry(batch.table).or_default().push(batch.rows);
        }
    }

    pub(crate) fn snapshot(mut self) -> Snapshot {
        let mut index = TraceIndex::default();
        let spans = self.rows.remove(&Table::Spans).unwrap_or_default();
        for rows in &spans {
            index.insert(rows);
        }
        let spans: Vec<_> = spans.iter().map(|rows| index.enrich_spans(rows)).collect();
        self.rows.insert(Table::OperationMinutes, vec![operation_minutes(&spans)]);
        self.rows.insert(Table::EdgeMinutes, vec![edge_minutes(&spans, &[])]);
        self.rows.insert(Table::Spans, spans);
        let rows = self.rows.into_iter().filter(|(_, batches)| !batches.is_empty());
        Snapshot::in_memory(rows.map(|(table, batches)| {
            let rows = arrow::compute::concat_batches(batches[0].schema_ref(), &batches);
            TableBatch::new(table, rows.expect("rows of a table have the same columns"))
        }))
    }
}

fn decoded(record: &LogRecord) -> Result<Vec<TableBatch>> {
    Ok(upriver_ingest::decode(record).context("a generated profile")?.batches)
}
