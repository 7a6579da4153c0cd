//! `trace_id = '4bf92f35...'` just works: hexadecimal text that is compared with an id becomes the
//! id's bytes before types are coerced, so that statistics and bloom filters see a literal.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use crate::hex;
use crate::plan_expressions::rewritten;

/// Bytes of a trace id and of a span id.
const TRACE_ID_BYTES: usize = 16;
const SPAN_ID_BYTES: usize = 8;

/// Rewrites hexadecimal ids in comparisons and `IN` lists.
#[derive(Debug)]
pub(crate) struct HexadecimalIds;

impl AnalyzerRule for HexadecimalIds {
    fn name(&self) -> &'static str {
        "hexadecimal_ids"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewritten(plan, rewrite)
    }
}

fn rewrite(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let (left, right) = match (Id::of(&left, schema), Id::of(&right, schema)) {
                (Some(id), None) => (Transformed::no(*left), id.literal(*right)?),
                (None, Some(id)) => (id.literal(*left)?, Transformed::no(*right)),
                _ => (Transformed::no(*left), Transformed::no(*right)),
            };
            let changed = left.transformed || right.transformed;
            let comparison = BinaryExpr::new(Box::new(left.data), op, Box::new(right.data));
            let comparison = Expr::BinaryExpr(comparison);
            Ok(if changed { Transformed::yes(comparison) } else { Transformed::no(comparison) })
        }
        Expr::InList(InList { expr, list, negated }) => {
            let Some(id) = Id::of(&expr, schema) else {
                return Ok(Transformed::no(Expr::InList(InList { expr, list, negated })));
            };
            let list: Vec<_> =
                list.into_iter().map(|e| Ok(id.literal(e)?.data)).collect::<Result<_>>()?;
            Ok(Transformed::yes(Expr::InList(InList { expr, list, negated })))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// What an expression identifies, and in which type.
enum Id {
    Trace(DataType),
    Span,
}

impl Id {
    /// A binary value is a trace id: the tables have no other. An integer is a span id by its name.
    fn of(expression: &Expr, schema: &DFSchema) -> Option<Self> {
        let kind = expression.get_type(schema).ok()?;
        match kind {
            DataType::Binary | DataType::BinaryView => Some(Self::Trace(kind)),
            DataType::Int64 => {
                let (Expr::Column(column) | Expr::OuterReferenceColumn(_, column)) = expression
                else {
                    return None;
                };
                column.name.ends_with("span_id").then_some(Self::Span)
            }
            _ => None,
        }
    }

    /// The id that a text literal writes down; any other expression stays.
    fn literal(&self, expression: Expr) -> Result<Transformed<Expr>> {
        let Expr::Literal(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) = &expression
        else {
            return Ok(Transformed::no(expression));
        };
        let value = match self {
            Self::Trace(kind) => match (hex::decode::<TRACE_ID_BYTES>(text), kind) {
                (Some(bytes), DataType::Binary) => ScalarValue::Binary(Some(bytes.to_vec())),
                (Some(bytes), _) => ScalarValue::BinaryView(Some(bytes.to_vec())),
                (None, _) => {
                    return plan_err!("'{text}' is no trace id: write its 32 hexadecimal digits");
                }
            },
            Self::Span => match hex::decode::<SPAN_ID_BYTES>(text) {
                Some(bytes) => ScalarValue::Int64(Some(i64::from_be_bytes(bytes))),
                None if text.parse::<i64>().is_ok() => return Ok(Transformed::no(expression)),
                None => {
                    return plan_err!("'{text}' is no span id: write its 16 hexadecimal digits");
                }
            },
        };
        Ok(Transformed::yes(Expr::Literal(value, None)))
    }
}
