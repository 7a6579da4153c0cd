//! `hist_quantiles(h, q, ...) -> struct`: several quantiles of all values of the histograms of a group, as fields
//! `0`, `1` and so on. What [`crate::merged_quantiles`] makes of statements that ask for them one by one.

use datafusion::logical_expr::AggregateUDF;

use super::histogram_aggregate::{HistogramAggregate, Input, Output};

pub(crate) fn hist_quantiles() -> AggregateUDF {
    HistogramAggregate::new("hist_quantiles", Input::Histogram, Output::Quantiles).into()
}
