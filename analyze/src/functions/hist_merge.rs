//! `hist_merge(h) -> histogram`: all values of the histograms of a group together.

use datafusion::logical_expr::AggregateUDF;

use super::histogram_aggregate::{HistogramAggregate, Input, Output};

pub(super) fn hist_merge() -> AggregateUDF {
    HistogramAggregate::new("hist_merge", Input::Histogram, Output::Histogram).into()
}
