//! Rows of tables, from a server or a folder.

use anyhow::{Context, anyhow};
use arrow::array::{Array, AsArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int64Type};
use upriver_analyze::literal;
use upriver_ingest::encode;
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;

use super::range::Range;
use crate::target::Target;

/// Where rows are read.
pub(super) struct Source(Target);

impl Source {
    pub(super) fn new(target: Target) -> Self {
        Self(target)
    }

    /// The rows of a table in a range, in an order that is the same each time.
    pub(super) async fn rows(&self, table: Table, range: Range) -> anyhow::Result<TableBatch> {
        self.rows_where(table, &range.condition(table)).await
    }

    /// The rows of a table that a condition selects.
    pub(super) async fn rows_where(
        &self,
        table: Table,
        condition: &str,
    ) -> anyhow::Result<TableBatch> {
        let name = table.name();
        let sql = format!("SELECT * FROM {name} WHERE {condition} ORDER BY {}", order(table));
        let batches = self.0.query(&sql).await.with_context(|| format!("could not read {name}"))?;
        let first = batches.first().ok_or_else(|| anyhow!("the answer has no columns"))?;
        let rows = concat_batches(&first.schema(), &batches)?;
        Ok(encode::of_table(table, &rows)?)
    }

    /// The document of the stored diagnosis with this id.
    pub(super) async fn stored_diagnosis(&self, id: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let id = literal::text(id);
        let sql = format!("SELECT document FROM diagnoses WHERE id = {id} LIMIT 1");
        let batches = self.0.query(&sql).await?;
        let Some(row) = batches.iter().find(|rows| rows.num_rows() > 0) else { return Ok(None) };
        let documents = cast(row.column(0), &DataType::Utf8)?;
        Ok(Some(documents.as_string::<i32>().value(0).as_bytes().to_vec()))
    }

    /// The one row of integers that a query returns.
    pub(super) async fn integers<const N: usize>(
        &self,
        sql: &str,
    ) -> anyhow::Result<[Option<i64>; N]> {
        let batches = self.0.query(sql).await?;
        let row = batches.iter().find(|rows| rows.num_rows() > 0);
        let row = row.ok_or_else(|| anyhow!("the query returned no row"))?;
        let mut values = [None; N];
        for (value, column) in values.iter_mut().zip(row.columns()) {
            let column = cast(column, &DataType::Int64)?;
            let column = column.as_primitive::<Int64Type>();
            *value = column.is_valid(0).then(|| column.value(0));
        }
        Ok(values)
    }
}

/// Columns that put rows in order: time first, then what tells rows apart.
fn order(table: Table) -> &'static str {
    match table {
        Table::Spans => "start_unix_nano, trace_id, span_id, service_name, span_name",
        Table::SpanEvents => "time_unix_nano, trace_id, span_id, event_name",
        Table::FormerPayloadSizes => "time_unix_nano, trace_id, span_id, direction",
        Table::Profiles => "time_unix_nano, service_name, profile_id",
        Table::ProfileSamples => {
            "time_unix_nano, profile_id, sample_type, stack_id, span_id, trace_id, value"
        }
        Table::ProfileStacks => "time, stack_id",
        Table::ProfileStackFrames => "time, stack_id, depth_min, function, file",
        Table::Metrics | Table::MetricHistograms => {
            "time_unix_nano, service_name, metric_name, series_id, start_unix_nano"
        }
        Table::Logs => "time_unix_nano, service_name, trace_id, span_id, body",
        Table::Deploys => "start_unix_nano, service_name, id, received_unix_nano, end_unix_nano",
        Table::OperationMinutes | Table::OperationHours => {
            "time, service_name, span_name, span_kind, operation"
        }
        Table::EdgeMinutes | Table::EdgeHours => {
            "time, reporter, client_service, server_service, operation"
        }
        Table::ProfileMinutes | Table::ProfileHours => {
            "time, service_name, sample_type, unit, families"
        }
        Table::Findings | Table::Diagnoses => "time, id",
    }
}
