//! `fraction_above(h, x) -> double`: which part of all values of the histograms of a group lies
//! above `x`, such as the requests slower than an objective.

use datafusion::logical_expr::AggregateUDF;

use super::histogram_aggregate::{HistogramAggregate, Input, Output};

pub(super) fn fraction_above() -> AggregateUDF {
    HistogramAggregate::new("fraction_above", Input::Histogram, Output::FractionAbove).into()
}
