//! Quantiles of merged histograms are taken where they are merged: `histogram_quantile(hist_merge(h), q)`, however
//! often with another `q`, would write each merged histogram down only to read it again for every quantile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::scalar::ScalarValue;

use crate::functions::hist_quantiles;

/// Rewrites a projection of an aggregation, where nothing else is made of the merged histogram.
#[derive(Debug)]
pub(crate) struct MergedQuantiles;

impl OptimizerRule for MergedQuantiles {
    fn name(&self) -> &'static str {
        "merged_quantiles"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Projection(projection) = &plan else { return Ok(Transformed::no(plan)) };
        let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref() else {
            return Ok(Transformed::no(plan));
        };
        let asked = Asked::of(projection, aggregate)?;
        if asked.quantiles.is_empty() {
            return Ok(Transformed::no(plan));
        }
        let aggregate = asked.in_aggregate(aggregate)?;
        Ok(Transformed::yes(asked.in_projection(&plan, aggregate)?))
    }
}

/// Quantiles of merged histograms of which nothing else is asked.
struct Asked {
    /// Places of the merged histograms among the columns of the aggregation.
    places: HashMap<Column, usize>,
    quantiles: HashMap<Column, Vec<f64>>,
}

impl Asked {
    fn of(projection: &Projection, aggregate: &Aggregate) -> Result<Self> {
        let groups = aggregate.group_expr_len()?;
        let merged = (groups..).zip(&aggregate.aggr_expr).filter(|(_, made)| is_merge(made));
        let column = |place| Column::from(aggregate.schema.qualified_field(place));
        let places: HashMap<_, _> = merged.map(|(place, _)| (column(place), place)).collect();
        let mut quantiles: HashMap<Column, Vec<f64>> = HashMap::new();
        let mut otherwise_used = HashSet::new();
        for expression in &projection.expr {
            expression.apply(|part| {
                if let Some((column, q)) = quantile_of(part) {
                    let of_column = quantiles.entry(column.clone()).or_default();
                    if place_of(q, of_column).is_none() {
                        of_column.push(q);
                    }
                    return Ok(TreeNodeRecursion::Jump);
                }
                if let Expr::Column(column) = part {
                    otherwise_used.insert(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        quantiles
            .retain(|column, _| places.contains_key(column) && !otherwise_used.contains(column));
        Ok(Self { places, quantiles })
    }

    /// The aggregation with quantiles in the places of histograms.
    fn in_aggregate(&self, aggregate: &Aggregate) -> Result<Aggregate> {
        let groups = aggregate.group_expr_len()?;
        let mut made = aggregate.aggr_expr.clone();
        for (column, quantiles) in &self.quantiles {
            let place = self.places.get(column).and_then(|place| made.get_mut(place - groups));
            if let Some(Expr::AggregateFunction(merge)) = place {
                merge.func = Arc::new(hist_quantiles());
                merge.params.args.extend(quantiles.iter().map(|q| lit(*q)));
            }
        }
        Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), made)
    }

    /// The projection with the fields of quantiles for calls of the function.
    fn in_projection(&self, projection: &LogicalPlan, aggregate: Aggregate) -> Result<LogicalPlan> {
        let names = NamePreserver::new(projection);
        let expressions = projection.expressions().into_iter().map(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_down(|part| {
                let field = quantile_of(&part).and_then(|(column, q)| {
                    let place = place_of(q, self.quantiles.get(column)?)?;
                    let quantiles = aggregate.schema.qualified_field(*self.places.get(column)?);
                    Some(get_field(Expr::Column(quantiles.into()), place.to_string()))
                });
                Ok(field.map_or_else(|| Transformed::no(part), Transformed::yes))
            })?;
            Ok(name.restore(rewritten.data))
        });
        let expressions = expressions.collect::<Result<Vec<_>>>()?;
        let aggregate = Arc::new(LogicalPlan::Aggregate(aggregate));
        Ok(LogicalPlan::Projection(Projection::try_new(expressions, aggregate)?))
    }
}

fn place_of(q: f64, quantiles: &[f64]) -> Option<usize> {
    quantiles.iter().position(|asked| asked.total_cmp(&q).is_eq())
}

fn is_merge(made: &Expr) -> bool {
    matches!(made, Expr::AggregateFunction(AggregateFunction { func, .. }) if func.name() == "hist_merge")
}

/// The column and the fraction, where the expression is a quantile of a column.
fn quantile_of(expression: &Expr) -> Option<(&Column, f64)> {
    let Expr::ScalarFunction(call) = expression else { return None };
    match call.args.as_slice() {
        [Expr::Column(column), Expr::Literal(ScalarValue::Float64(Some(q)), _)]
            if call.func.name() == "histogram_quantile" && (0.0..=1.0).contains(q) =>
        {
            Some((column, *q))
        }
        _ => None,
    }
}
