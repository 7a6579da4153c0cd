//! What holds of every row of a table, whoever wrote it: partitions, pruning and rollups go by it.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};

use crate::histogram::HistogramColumn;
use crate::schema::{Kind, Table};
use crate::time::{NANOS_PER_MINUTE, UnixNanos};
use crate::trace_index::integers;

const MICROS_PER_DAY: i64 = 24 * 60 * MICROS_PER_MINUTE;
const MICROS_PER_MINUTE: i64 = NANOS_PER_MINUTE / 1_000;
const TRACE_ID_BYTES: usize = 16;
/// The first day that nanoseconds in 64 bits have as a whole; they end within a day, too.
const MICROS_MIN: i64 = i64::MIN / 1_000 + MICROS_PER_DAY;
const MICROS_MAX: i64 = i64::MAX / 1_000;

/// The first row that no decoder and no rollup gives, and what is wrong with it.
pub(super) fn rows(table: Table, rows: &RecordBatch) -> Result<(), (usize, &'static str)> {
    times(table, rows)?;
    durations(table, rows)?;
    for (column, values) in table.columns().iter().zip(rows.columns()) {
        match column.kind {
            Kind::TraceId => {
                let ids = values.as_binary::<i32>().iter();
                let is_wrong = |id: Option<&[u8]>| id.is_some_and(|id| id.len() != TRACE_ID_BYTES);
                first(ids.map(is_wrong), "a trace id has not 16 bytes")?;
            }
            Kind::Histogram => {
                let histograms = HistogramColumn::new(values.as_ref());
                let is_wrong = |row| {
                    let found = histograms.as_ref().and_then(|column| column.get(row));
                    values.is_valid(row) && found.is_none()
                };
                first((0..values.len()).map(is_wrong), "a histogram cannot be read")?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// `date` is the day of `time`, and `time` is the exact instant in microseconds, or a whole minute.
fn times(table: Table, rows: &RecordBatch) -> Result<(), (usize, &'static str)> {
    let times = rows.column_by_name("time").map(AsArray::as_primitive::<TimestampMicrosecondType>);
    let dates = rows.column_by_name("date").map(AsArray::as_primitive::<Date32Type>);
    let (Some(times), Some(dates)) = (times, dates) else { return Ok(()) };
    let (times, dates) = (times.values(), dates.values());
    let is_outside = |micros: &i64| !(MICROS_MIN..=MICROS_MAX).contains(micros);
    first(times.iter().map(is_outside), "`time` is before 1677 or after 2262")?;
    let is_other_day =
        |(micros, date): (&i64, &i32)| micros.div_euclid(MICROS_PER_DAY) != i64::from(*date);
    first(times.iter().zip(dates).map(is_other_day), "`date` is not the day of `time`")?;
    if table.is_rollup() {
        let is_between = |micros: &i64| micros.rem_euclid(MICROS_PER_MINUTE) != 0;
        return first(times.iter().map(is_between), "`time` is not the start of a minute");
    }
    match table.exact_time().and_then(|name| integers(rows, name)) {
        Some(exact) => {
            let is_other = |(nanos, micros): (&i64, &i64)| UnixNanos(*nanos).micros() != *micros;
            let pairs = exact.values().iter().zip(times);
            first(pairs.map(is_other), "`time` is not the row's exact instant")
        }
        None => Ok(()),
    }
}

/// Spans end after they start.
fn durations(table: Table, rows: &RecordBatch) -> Result<(), (usize, &'static str)> {
    if table != Table::Spans {
        return Ok(());
    }
    let columns = ["duration_ns", "self_time_ns"].into_iter();
    let mut columns = columns.filter_map(|name| integers(rows, name));
    columns.try_for_each(|durations| {
        let is_negative = |duration: Option<i64>| duration.is_some_and(|duration| duration < 0);
        first(durations.iter().map(is_negative), "a duration is negative")
    })
}

fn first(
    mut is_wrong: impl Iterator<Item = bool>,
    what: &'static str,
) -> Result<(), (usize, &'static str)> {
    is_wrong.position(|is_wrong| is_wrong).map_or(Ok(()), |row| Err((row, what)))
}
