//! The SQL functions, one file each, and the registry that puts them into a session.
//!
//! Architecture invariant: aggregates carry histograms as their partial state, whose merge is
//! addition, so a result is the same bytes in whatever order and grouping the rows arrive.

mod accumulator;
mod deploy_id;
mod fraction_above;
mod hist_merge;
mod hist_of;
mod hist_quantile;
mod hist_quantiles;
mod histogram_aggregate;
mod histogram_buckets;
mod histogram_of;
mod histogram_quantile;
mod limited;
mod series;
mod span_hex;
mod trace_hex;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

fn aggregates() -> [AggregateUDF; 5] {
    [
        hist_merge::hist_merge(),
        hist_quantile::hist_quantile(),
        hist_quantiles(),
        fraction_above::fraction_above(),
        hist_of::hist_of(),
    ]
}

fn scalars() -> [ScalarUDF; 6] {
    [
        histogram_buckets::histogram_buckets(),
        histogram_quantile::histogram_quantile(),
        histogram_of(),
        trace_hex::trace_hex(),
        span_hex::span_hex(),
        deploy_id::deploy_id(),
    ]
}

/// The names of all functions.
pub(crate) fn names() -> Vec<String> {
    let aggregates = aggregates().map(|function| function.name().to_owned());
    let scalars = scalars().map(|function| function.name().to_owned());
    aggregates.into_iter().chain(scalars).collect()
}

/// Adds all functions, and puts limits on the built-in ones that can grow a value without bound.
pub(crate) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for aggregate in aggregates() {
        registry.register_udaf(Arc::new(aggregate))?;
    }
    for scalar in scalars() {
        registry.register_udf(Arc::new(scalar))?;
    }
    limited::register(registry)
}

pub(crate) use hist_quantiles::hist_quantiles;
pub(crate) use histogram_of::histogram_of;
pub(crate) use series::LimitedSeries;
