//! What the Delta log says of a file, in DataFusion's terms: `count(*)`, `min` and `max` of integers
//! and the choice of files need no footer.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::scalar::ScalarValue;
use upriver_store::snapshot::{Bound, DataFile};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The smallest and largest value of a column in a file, or bounds of them.
pub(super) fn bounds(
    file: &DataFile,
    column: &str,
    kind: &DataType,
) -> (Option<ScalarValue>, Option<ScalarValue>) {
    let known = file.statistics.get(column);
    let (min, max) = known.map_or((None, None), |known| (known.min.as_ref(), known.max.as_ref()));
    let value = |bound: Option<&Bound>| bound.and_then(|bound| scalar(bound, kind));
    match (column, value(min), value(max)) {
        ("date", ..) => (Some(date(file)), Some(date(file))),
        ("time", min, max) => {
            let start = i64::from(file.date) * MICROS_PER_DAY;
            let day = |micros| scalar(&Bound::Int(micros), kind);
            (min.or_else(|| day(start)), max.or_else(|| day(start + MICROS_PER_DAY - 1)))
        }
        (_, min, max) => (min, max),
    }
}

/// The file's partition value.
pub(super) fn date(file: &DataFile) -> ScalarValue {
    ScalarValue::Date32(Some(file.date))
}

/// Statistics of a file for all columns of `schema`, which has no partition column.
pub(super) fn of_file(file: &DataFile, schema: &Schema) -> Statistics {
    let columns = schema.fields().iter().map(|field| {
        let (min, max) = bounds(file, field.name(), field.data_type());
        let exact = *field.data_type() == DataType::Int64;
        let null_count = file.statistics.get(field.name()).and_then(|known| known.null_count);
        ColumnStatistics::new_unknown()
            .with_min_value(precision(min, exact))
            .with_max_value(precision(max, exact))
            .with_null_count(precision(null_count.and_then(|n| usize::try_from(n).ok()), true))
    });
    Statistics {
        num_rows: precision(usize::try_from(file.rows).ok(), true),
        total_byte_size: precision(usize::try_from(file.size_bytes).ok(), false),
        column_statistics: columns.collect(),
    }
}

fn precision<T>(value: Option<T>, exact: bool) -> Precision<T>
where
    T: std::fmt::Debug + Clone + PartialEq + Eq + PartialOrd,
{
    match (value, exact) {
        (Some(value), true) => Precision::Exact(value),
        (Some(value), false) => Precision::Inexact(value),
        (None, _) => Precision::Absent,
    }
}

/// A bound in the type of its column. Bounds of floats are not used: a file may hold values that are
/// no number, which lie outside of them.
fn scalar(bound: &Bound, kind: &DataType) -> Option<ScalarValue> {
    match (bound, kind) {
        (Bound::Int(value), DataType::Int64) => Some(ScalarValue::Int64(Some(*value))),
        (Bound::Int(micros), DataType::Timestamp(_, zone)) => {
            Some(ScalarValue::TimestampMicrosecond(Some(*micros), zone.as_ref().map(Arc::clone)))
        }
        (Bound::Text(text), DataType::Utf8View) => Some(ScalarValue::Utf8View(Some(text.clone()))),
        _ => None,
    }
}
