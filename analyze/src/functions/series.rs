//! `range` and `generate_series`, as list and as table: how many elements they would have, and the
//! limit of the table forms.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use crate::error::QueryError;

/// Rows of a generated table: one per second for months, and still milliseconds of work.
const ROWS_MAX: f64 = 10_000_000.0;
const NANOS_PER_DAY: f64 = 86_400e9;
/// The shortest month, so that the number of steps is never underestimated.
const DAYS_PER_MONTH: f64 = 28.0;

/// A table function whose rows are counted before it is called.
#[derive(Debug)]
pub(crate) struct LimitedSeries(pub(crate) Arc<TableFunction>);

impl TableFunctionImpl for LimitedSeries {
    fn call_with_args(&self, arguments: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let arrays = arguments.exprs().iter().map(|argument| match argument {
            Expr::Literal(value, _) => value.to_array().map(Some),
            _ => Ok(None),
        });
        let arrays: Option<Vec<ArrayRef>> = arrays.collect::<Result<_>>()?;
        let rows = arrays.map_or(Ok(0.0), |arrays| elements(&arrays))?;
        if rows > ROWS_MAX {
            let message = format!(
                "{}() would give {rows:.0} rows, at most {ROWS_MAX:.0} are allowed: use a larger step",
                self.0.name()
            );
            return Err(QueryError::TooLarge { message }.into());
        }
        self.0.create_table_provider_with_args(arguments)
    }
}

/// Elements of all rows' series together: `(stop)`, `(start, stop)` or `(start, stop, step)`. What
/// cannot be counted, such as a step of nothing, is left to the function itself.
pub(super) fn elements(arguments: &[ArrayRef]) -> Result<f64> {
    let positions: Vec<_> = arguments.iter().map(positions).collect::<Result<_>>()?;
    let rows = arguments.first().map_or(0, Array::len);
    let count = |row: usize| -> Option<f64> {
        let (start, stop, step) = match positions.as_slice() {
            [stop] => (0.0, stop[row]?, 1.0),
            [start, stop] => (start[row]?, stop[row]?, 1.0),
            [start, stop, step] => (start[row]?, stop[row]?, step[row]?),
            _ => return None,
        };
        let steps = (stop - start) / step;
        (steps.is_finite() && steps > 0.0).then_some(steps + 1.0)
    };
    Ok((0..rows).filter_map(count).sum())
}

/// Values on one axis: integers as they are, instants and intervals in nanoseconds.
fn positions(array: &ArrayRef) -> Result<Vec<Option<f64>>> {
    if let DataType::Interval(_) = array.data_type() {
        let intervals = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let nanos = intervals.iter().map(|interval| {
            interval.map(|i| {
                let days = f64::from(i.months) * DAYS_PER_MONTH + f64::from(i.days);
                days * NANOS_PER_DAY + i.nanoseconds as f64
            })
        });
        return Ok(nanos.collect());
    }
    let (array, unit) = match array.data_type() {
        DataType::Date32 | DataType::Date64 => {
            (cast(&cast(array, &DataType::Date32)?, &DataType::Int32)?, NANOS_PER_DAY)
        }
        DataType::Timestamp(unit, _) => (cast(array, &DataType::Int64)?, nanos_of(*unit)),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => (
            cast(
                &cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, None))?,
                &DataType::Int64,
            )?,
            1.0,
        ),
        _ => (Arc::clone(array), 1.0),
    };
    let numbers = cast(&array, &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    Ok(numbers.iter().map(|number| number.map(|n| n * unit)).collect())
}

fn nanos_of(unit: TimeUnit) -> f64 {
    match unit {
        TimeUnit::Second => 1e9,
        TimeUnit::Millisecond => 1e6,
        TimeUnit::Microsecond => 1e3,
        TimeUnit::Nanosecond => 1.0,
    }
}
