//! `hist_of(int) -> histogram`: the histogram of the values of a group, as the rollups hold it.

use datafusion::logical_expr::AggregateUDF;

use super::histogram_aggregate::{HistogramAggregate, Input, Output};

pub(super) fn hist_of() -> AggregateUDF {
    HistogramAggregate::new("hist_of", Input::Integer, Output::Histogram).into()
}
