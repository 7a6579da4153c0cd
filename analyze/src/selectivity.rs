//! How many rows a condition leaves over, as the planner takes it.
//!
//! A hash join holds one of its sides in memory, and the planner decides which by such estimates. DataFusion
//! takes a fifth for any condition on text, and what the bounds say for one on time alone: the spans of two
//! hours were held to find those of one route. Here each condition counts, with the shares that PostgreSQL
//! takes where it knows nothing of the values (`src/include/utils/selfuncs.h`).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::operator_statistics::{
    ExtendedStatistics, StatisticsProvider, StatisticsRegistry, StatisticsResult,
};
use datafusion::scalar::ScalarValue;

/// Rows that have a given value, match a pattern or have no value.
const EQUAL: f64 = 0.005;
/// Rows below or above a value, and those of any other condition.
const UNKNOWN: f64 = 1.0 / 3.0;
/// Rows between two values.
const BETWEEN: f64 = 0.005;

/// DataFusion's estimates, with these of conditions before its own.
pub(crate) fn estimates() -> StatisticsRegistry {
    let mut estimates = StatisticsRegistry::default_with_builtin_providers();
    estimates.register(Arc::new(Conditions));
    estimates
}

#[derive(Debug)]
struct Conditions;

impl StatisticsProvider for Conditions {
    fn compute_statistics(
        &self,
        plan: &dyn ExecutionPlan,
        inputs: &[ExtendedStatistics],
    ) -> Result<StatisticsResult> {
        let (Some(filter), [input]) = (plan.downcast_ref::<FilterExec>(), inputs) else {
            return Ok(StatisticsResult::Delegate);
        };
        let share = share(filter.predicate(), input.base());
        let mut left_over = input.base().clone().to_inexact();
        left_over.num_rows = left_over.num_rows.with_estimated_selectivity(share);
        left_over.total_byte_size = left_over.total_byte_size.with_estimated_selectivity(share);
        let left_over = left_over.project(filter.projection().as_ref());
        Ok(StatisticsResult::Computed(left_over.into()))
    }
}

/// The share of rows for which a condition holds, its parts taken as independent.
fn share(condition: &Arc<dyn PhysicalExpr>, input: &Statistics) -> f64 {
    let mut limits = BTreeMap::<usize, Limits>::new();
    let mut share = 1.0;
    for part in split_conjunction(condition) {
        match bound(part) {
            Some((column, bound)) => {
                let limits = limits.entry(column.index()).or_default();
                limits.narrow(bound, input.column_statistics.get(column.index()));
            }
            None => share *= share_of_part(part, input),
        }
    }
    limits.values().fold(share, |share, limits| share * limits.share())
}

fn share_of_part(part: &Arc<dyn PhysicalExpr>, input: &Statistics) -> f64 {
    if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
        let (left, right) = (binary.left(), binary.right());
        return match binary.op() {
            Operator::Or => {
                let (left, right) = (share(left, input), share(right, input));
                left + right - left * right
            }
            Operator::Eq | Operator::IsNotDistinctFrom => EQUAL,
            Operator::NotEq | Operator::IsDistinctFrom => 1.0 - EQUAL,
            _ => UNKNOWN,
        };
    }
    if let Some(list) = part.downcast_ref::<InListExpr>() {
        let share = (list.list().len() as f64 * EQUAL).min(1.0);
        return if list.negated() { 1.0 - share } else { share };
    }
    if let Some(like) = part.downcast_ref::<LikeExpr>() {
        return if like.negated() { 1.0 - EQUAL } else { EQUAL };
    }
    if let Some(not) = part.downcast_ref::<NotExpr>() {
        return 1.0 - share(not.arg(), input);
    }
    if let Some(null) = part.downcast_ref::<IsNullExpr>() {
        return nulls(null.arg(), input).unwrap_or(EQUAL);
    }
    if let Some(some) = part.downcast_ref::<IsNotNullExpr>() {
        return 1.0 - nulls(some.arg(), input).unwrap_or(EQUAL);
    }
    UNKNOWN
}

/// The share of rows without a value, where it is known.
fn nulls(values: &Arc<dyn PhysicalExpr>, input: &Statistics) -> Option<f64> {
    let column = values.downcast_ref::<Column>()?;
    let known = input.column_statistics.get(column.index())?;
    let (nulls, rows) = (known.null_count.get_value()?, input.num_rows.get_value()?);
    (*rows > 0).then(|| (*nulls as f64 / *rows as f64).min(1.0))
}

/// A limit to a column's values.
#[derive(Clone, Copy, Debug)]
enum Bound<'a> {
    Lower(&'a ScalarValue),
    Upper(&'a ScalarValue),
}

/// The limit that a condition is, if it is one.
fn bound(part: &Arc<dyn PhysicalExpr>) -> Option<(&Column, Bound<'_>)> {
    let binary = part.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    let (column, value, is_swapped) = match (left.downcast_ref(), right.downcast_ref()) {
        (Some(column), _) => (column, right.downcast_ref::<Literal>()?, false),
        (None, Some(column)) => (column, left.downcast_ref::<Literal>()?, true),
        (None, None) => return None,
    };
    let is_lower = match binary.op() {
        Operator::Gt | Operator::GtEq => !is_swapped,
        Operator::Lt | Operator::LtEq => is_swapped,
        _ => return None,
    };
    let value = value.value();
    Some((column, if is_lower { Bound::Lower(value) } else { Bound::Upper(value) }))
}

/// The shares of a column's values that limits leave over, taken as spread evenly.
#[derive(Debug, Default)]
struct Limits {
    above: Option<f64>,
    below: Option<f64>,
    /// Whether nothing says where in the column a bound is.
    has_unknown: bool,
}

impl Limits {
    fn narrow(&mut self, bound: Bound<'_>, known: Option<&ColumnStatistics>) {
        let (is_lower, value) = match bound {
            Bound::Lower(value) => (true, value),
            Bound::Upper(value) => (false, value),
        };
        let below = known.and_then(|known| below(value, known));
        self.has_unknown |= below.is_none();
        let share = below.map_or(UNKNOWN, |below| if is_lower { 1.0 - below } else { below });
        let side = if is_lower { &mut self.above } else { &mut self.below };
        *side = Some(side.map_or(share, |other| other.min(share)));
    }

    fn share(&self) -> f64 {
        match (self.above, self.below) {
            (Some(_), Some(_)) if self.has_unknown => BETWEEN,
            (Some(above), Some(below)) => (above + below - 1.0).max(0.0),
            (one, other) => one.or(other).unwrap_or(1.0),
        }
    }
}

/// The share of a column's values below one.
fn below(value: &ScalarValue, known: &ColumnStatistics) -> Option<f64> {
    let number = |bound: &Precision<ScalarValue>| number(bound.get_value()?);
    let (min, max) = (number(&known.min_value)?, number(&known.max_value)?);
    let value = self::number(value)?;
    if max <= min {
        return Some(if value > min { 1.0 } else { 0.0 });
    }
    Some(((value - min) / (max - min)).clamp(0.0, 1.0))
}

/// Of values that can be told apart by distance.
fn number(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Int64(value)
        | ScalarValue::TimestampSecond(value, _)
        | ScalarValue::TimestampMillisecond(value, _)
        | ScalarValue::TimestampMicrosecond(value, _)
        | ScalarValue::TimestampNanosecond(value, _) => value.map(|value| value as f64),
        ScalarValue::Date32(value) => value.map(f64::from),
        ScalarValue::Float64(value) => *value,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::DFSchema;
    use datafusion::execution::context::SessionContext;
    use datafusion::logical_expr::{Expr, col, lit};

    use super::*;

    /// Of 1,000 rows: numbers from 0 to 100, and a name that every fourth does not have.
    fn share_of(condition: Expr) -> f64 {
        let schema = Schema::new(vec![
            Field::new("number", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]);
        let input = Statistics {
            num_rows: Precision::Exact(1_000),
            total_byte_size: Precision::Absent,
            column_statistics: vec![
                ColumnStatistics::new_unknown()
                    .with_min_value(Precision::Exact(ScalarValue::Int64(Some(0))))
                    .with_max_value(Precision::Exact(ScalarValue::Int64(Some(100)))),
                ColumnStatistics::new_unknown().with_null_count(Precision::Exact(250)),
            ],
        };
        let schema = DFSchema::try_from(schema).unwrap();
        let condition = SessionContext::new().create_physical_expr(condition, &schema).unwrap();
        share(&condition, &input)
    }

    fn assert_near(share: f64, expected: f64, condition: &impl Debug) {
        assert!((share - expected).abs() < 1e-9, "{share}, not {expected}: {condition:?}");
    }

    #[test]
    fn bounds_nulls_and_values_each_count() {
        let (number, name) = (|| col("number"), || col("name"));
        for (condition, expected) in [
            (number().gt_eq(lit(20i64)), 0.8),
            (lit(20i64).gt(number()), 0.2),
            (number().gt_eq(lit(20i64)).and(number().lt(lit(30i64))), 0.1),
            (number().lt(lit(30i64)).and(number().lt(lit(90i64))), 0.3),
            (number().gt(lit(500i64)), 0.0),
            (name().gt(lit("a")), UNKNOWN),
            (name().gt(lit("a")).and(name().lt(lit("b"))), BETWEEN),
            (number().gt(lit(ScalarValue::Int64(None))).and(number().lt(lit(30i64))), BETWEEN),
            (name().is_null(), 0.25),
            (name().is_not_null(), 0.75),
            (name().eq(lit("a")), EQUAL),
            (name().not_eq(lit("a")), 1.0 - EQUAL),
            (name().like(lit("a%")), EQUAL),
            (name().in_list(vec![lit("a"), lit("b"), lit("c"), lit("d")], false), 4.0 * EQUAL),
            (name().is_null().or(number().lt(lit(20i64))), 0.4),
            (name().eq(lit("a")).and(number().lt(lit(20i64))), 0.2 * EQUAL),
            (!name().is_null().or(number().lt(lit(20i64))), 0.6),
        ] {
            assert_near(share_of(condition.clone()), expected, &condition);
        }
    }
}
