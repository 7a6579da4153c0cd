//! Hours from minutes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::merge_partials;
use crate::schema::Table;

/// Microseconds of an hour, in which `time` is kept.
pub const HOUR_MICROS: i64 = 3_600_000_000;

/// The hours that rows of minutes come to: as additive as these, with the same columns.
pub fn hours(minutes: Table, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = rows.schema();
    let time = schema.index_of("time")?;
    let other = || ArrowError::CastError("`time` is no timestamp in microseconds".to_owned());
    let starts = rows.column(time).as_primitive_opt::<TimestampMicrosecondType>();
    let starts = starts.ok_or_else(other)?;
    let hours = starts
        .unary::<_, TimestampMicrosecondType>(|micros| micros - micros.rem_euclid(HOUR_MICROS));
    let zone = match starts.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let mut columns = rows.columns().to_vec();
    columns[time] = Arc::new(hours.with_timezone_opt(zone)) as ArrayRef;
    Ok(merge_partials(minutes, RecordBatch::try_new(schema, columns)?))
}
