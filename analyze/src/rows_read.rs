//! How many rows a finished plan read: what a query costs, whatever machine runs it.

use datafusion::common::stats::Precision;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

/// Rows of a Parquet file that were looked at and left out below the scan's own output.
const LEFT_OUT: &str = "pushdown_rows_pruned";

/// Rows that left the scans of a plan, with those that a scan left out itself after looking at them. Rows of
/// pages and files that statistics ruled out were not read.
pub(crate) fn of(plan: &dyn ExecutionPlan) -> u64 {
    let children = plan.children();
    if !children.is_empty() {
        return children.into_iter().map(|child| of(child.as_ref())).sum();
    }
    let metrics = plan.metrics();
    let counted = metrics.as_ref().and_then(|metrics| {
        let left_out = metrics.sum_by_name(LEFT_OUT).map_or(0, |count| count.as_usize());
        metrics.output_rows().map(|rows| rows + left_out)
    });
    // Rows in memory are not counted when they are read, and read whole.
    let statistics = || StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok();
    let in_memory = || match statistics()?.num_rows {
        Precision::Exact(rows) => Some(rows),
        _ => None,
    };
    counted.or_else(in_memory).map_or(0, |rows| rows as u64)
}
