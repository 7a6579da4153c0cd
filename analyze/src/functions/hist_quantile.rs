//! `hist_quantile(h, q) -> double`: the quantile of all values of the histograms of a group.
//!
//! Merges first and takes the quantile once: percentiles are never averaged.

use datafusion::logical_expr::AggregateUDF;

use super::histogram_aggregate::{HistogramAggregate, Input, Output};

pub(super) fn hist_quantile() -> AggregateUDF {
    HistogramAggregate::new("hist_quantile", Input::Histogram, Output::Quantile).into()
}
