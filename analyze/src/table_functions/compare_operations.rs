//! `compare_operations(current_start, current_end, baseline_start, baseline_end)`: every operation
//! now and before, from `operation_minutes` alone.
//!
//! Windows are cut to their whole minutes, since a rollup row covers a minute. Times are in
//! milliseconds, percentiles come from merged histograms, a ratio is now divided by before and null
//! where one of them is missing or the divisor is 0.

use datafusion::error::Result;

use super::TableFunction;
use super::arguments::Arguments;
use crate::{literal, template};

pub(super) const COMPARE_OPERATIONS: TableFunction = TableFunction {
    name: "compare_operations",
    usage: "compare_operations(current_start timestamp, current_end timestamp, baseline_start timestamp, baseline_end timestamp)",
    sql,
};

fn sql(arguments: &Arguments) -> Result<String> {
    let [start, end, baseline_start, baseline_end] = arguments.all()?;
    let current = arguments.window(start, end)?.whole_minutes();
    let baseline = arguments.window(baseline_start, baseline_end)?.whole_minutes();
    template::bind(
        include_str!("compare_operations.sql"),
        &[
            ("current_start", literal::timestamp(current.start)),
            ("current_end", literal::timestamp(current.end)),
            ("baseline_start", literal::timestamp(baseline.start)),
            ("baseline_end", literal::timestamp(baseline.end)),
        ],
    )
}
