//! Rows back into what they could have been decoded from: OTLP JSON lines, pprof profiles, deploy
//! events. The mirror of the decoders; what it writes, `upriver import` takes.
//!
//! | module | writes |
//! |---|---|
//! | `spans` | spans with their events |
//! | `points`, `summaries` | data points of `metrics` and `metric_histograms` |
//! | `logs` | log records |
//! | `deploys` | deploy events |
//! | `profiles`, `stacks` | pprof, and the line of `profiles.jsonl` beside it |
//! | `rows`, `attributes`, `lines` | what all of them share |
//!
//! What no column keeps does not come back (`docs/export.md` lists it). The same rows in the same
//! order give the same bytes.

mod attributes;
mod deploys;
mod lines;
mod logs;
mod points;
mod profiles;
mod rows;
mod spans;
mod stacks;
mod summaries;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::error::ArrowError;
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;

pub use self::deploys::deploys;
pub use self::lines::Encoded;
pub use self::logs::logs;
pub use self::points::{histograms, metrics};
pub use self::profiles::{ProfileFile, profiles};
pub use self::spans::spans;
pub(crate) use self::stacks::SAMPLE_TIME;

/// Rows that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The rows are not of the table.
    #[error("the rows are not of the table {table}")]
    Columns {
        /// The table's name.
        table: &'static str,
        /// What differs.
        source: ArrowError,
    },
    /// The profile could not be compressed.
    #[error("a profile could not be compressed")]
    Compress(#[from] std::io::Error),
}

/// What a query returned of a table, in the table's own types: queries give texts and ids as views.
pub fn of_table(table: Table, rows: &RecordBatch) -> Result<TableBatch, EncodeError> {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| {
        let missing = || ArrowError::SchemaError(format!("there is no column {}", field.name()));
        let column = rows.column_by_name(field.name()).ok_or_else(missing)?;
        cast(column, field.data_type())
    });
    let columns = columns.collect::<Result<Vec<_>, _>>();
    columns
        .and_then(|columns| RecordBatch::try_new(Arc::clone(&schema), columns))
        .map(|rows| TableBatch::new(table, rows))
        .map_err(|source| EncodeError::Columns { table: table.name(), source })
}
