//! Rows of the same key put together, for compaction.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use super::Sums;
use super::edges::{self, EdgeKey, EdgeSums};
use super::operations::{self, OperationKey, OperationSums};
use super::profiles::{self, ProfileKey, ProfileSums};
use crate::histogram::HistogramColumn;
use crate::schema::Table;
use crate::time::UnixNanos;
use crate::trace_index::{integers, texts};

/// Adds up rows of equal key. Tables that are no rollup come back as they are, and so does a table
/// with a row that cannot be read.
pub fn merge_partials(table: Table, rows: RecordBatch) -> RecordBatch {
    let merged = match table {
        Table::OperationMinutes | Table::OperationHours => merge_operations(&rows),
        Table::EdgeMinutes | Table::EdgeHours => merge_edges(&rows),
        Table::ProfileMinutes | Table::ProfileHours => merge_profiles(&rows),
        _ => None,
    };
    merged.unwrap_or(rows)
}

fn merge_operations(rows: &RecordBatch) -> Option<RecordBatch> {
    let text = |name| texts(rows, name);
    let (service, name, kind) = (text("service_name")?, text("span_name")?, text("span_kind")?);
    let (operation, version) = (text("operation")?, text("service_version")?);
    let environment = text("deployment_environment_name")?;
    let parent_service = text("parent_service")?;
    let (spans, errors) = (integers(rows, "span_count")?, integers(rows, "error_count")?);
    let adjusted = integers(rows, "adjusted_count_micros")?;
    let (first, last) = (integers(rows, "first_unix_nano")?, integers(rows, "last_unix_nano")?);
    let (duration, self_time) = (histograms(rows, "duration")?, histograms(rows, "self_time")?);

    let mut sums = Sums::<OperationKey<'_>, OperationSums>::default();
    for row in 0..rows.num_rows() {
        let key = OperationKey {
            service: service.value(row),
            name: name.value(row),
            minute: minute(rows, row)?,
            kind: kind.value(row),
            operation: operation.value(row),
            version: version.value_or_none(row),
            environment: environment.value_or_none(row),
            parent_service: parent_service.value_or_none(row),
        };
        let sum = sums.entry(key).or_default();
        sum.spans += spans.value(row);
        sum.errors += errors.value(row);
        sum.adjusted_micros = sum.adjusted_micros.saturating_add(adjusted.value(row));
        sum.first = sum.first.min(first.value(row));
        sum.last = sum.last.max(last.value(row));
        duration.merge_into(row, &mut sum.duration);
        self_time.merge_into(row, &mut sum.self_time);
    }
    Some(operations::rows_of(sums.iter()))
}

fn merge_edges(rows: &RecordBatch) -> Option<RecordBatch> {
    let text = |name| texts(rows, name);
    let (client, server) = (text("client_service")?, text("server_service")?);
    let (operation, reporter) = (text("operation")?, text("reporter")?);
    let (version, environment) = (text("service_version")?, text("deployment_environment_name")?);
    let source = text("source")?;
    let (spans, errors) = (integers(rows, "span_count")?, integers(rows, "error_count")?);
    let adjusted = integers(rows, "adjusted_count_micros")?;
    let duration = histograms(rows, "duration")?;
    let bytes = [
        histograms(rows, "request_wire_bytes")?,
        histograms(rows, "response_wire_bytes")?,
        histograms(rows, "request_uncompressed_bytes")?,
        histograms(rows, "response_uncompressed_bytes")?,
    ];

    let mut sums = Sums::<EdgeKey<'_>, EdgeSums>::default();
    for row in 0..rows.num_rows() {
        let key = EdgeKey {
            client: client.value(row),
            server: server.value(row),
            operation: operation.value(row),
            minute: minute(rows, row)?,
            reporter: reporter.value(row),
            version: version.value_or_none(row),
            environment: environment.value_or_none(row),
            // Rows of before the column was there are of spans.
            source: source.value_or_none(row).unwrap_or(edges::SPANS),
        };
        let sum = sums.entry(key).or_default();
        sum.spans += spans.value(row);
        sum.errors += errors.value(row);
        sum.adjusted_micros = sum.adjusted_micros.saturating_add(adjusted.value(row));
        duration.merge_into(row, &mut sum.duration);
        for (total, column) in sum.bytes.iter_mut().zip(&bytes) {
            column.merge_into(row, total);
        }
    }
    Some(edges::rows_of(sums.iter()))
}

fn merge_profiles(rows: &RecordBatch) -> Option<RecordBatch> {
    let text = |name| texts(rows, name);
    let (service, sample_type, unit) = (text("service_name")?, text("sample_type")?, text("unit")?);
    let (version, environment) = (text("service_version")?, text("deployment_environment_name")?);
    let families = text("families")?;
    let (samples, value) = (integers(rows, "sample_count")?, integers(rows, "value")?);

    let mut sums = Sums::<ProfileKey<'_>, ProfileSums>::default();
    for row in 0..rows.num_rows() {
        let key = ProfileKey {
            minute: minute(rows, row)?,
            service: service.value(row),
            sample_type: sample_type.value(row),
            unit: unit.value(row),
            version: version.value_or_none(row),
            environment: environment.value_or_none(row),
            families: families.value(row),
        };
        let sum = sums.entry(key).or_default();
        sum.samples += samples.value(row);
        sum.value = sum.value.saturating_add(value.value(row));
    }
    Some(profiles::rows_of(&sums))
}

fn histograms<'a>(rows: &'a RecordBatch, name: &str) -> Option<HistogramColumn<'a>> {
    HistogramColumn::new(rows.column_by_name(name)?)
}

fn minute(rows: &RecordBatch, row: usize) -> Option<UnixNanos> {
    let times = rows.column_by_name("time")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    times.is_valid(row).then(|| UnixNanos(times.value(row).saturating_mul(1_000)))
}
