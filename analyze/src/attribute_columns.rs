//! `attributes['http.route']` just works: what a column says is read there, since the map has only the
//! other attributes, and the column has statistics besides.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast, lit, when};
use datafusion::optimizer::AnalyzerRule;
use upriver_store::schema::{AttributeColumn, Table};

use crate::plan_expressions::rewritten;

/// The column of the other attributes.
const MAP: &str = "attributes";

/// Rewrites accesses of the map.
#[derive(Debug)]
pub(crate) struct AttributeColumns;

impl AnalyzerRule for AttributeColumns {
    fn name(&self) -> &'static str {
        "attribute_columns"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewritten(plan, rewrite)
    }
}

fn rewrite(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Some((column, name)) = column_of(&expression, schema) else {
        return Ok(Transformed::no(expression));
    };
    let of_map = expression.get_type(schema)?;
    let is_of_texts = !Expr::Column(column.clone()).get_type(schema)?.is_integer();
    let mut said = cast(Expr::Column(column), of_map);
    if let Some((column, attribute)) = name {
        said = when(Expr::Column(column).eq(lit(attribute)), said).end()?;
    }
    // What is not a number is in the map alone.
    let value = if is_of_texts { said } else { coalesce(vec![said, expression]) };
    Ok(Transformed::yes(value))
}

/// A column, and the value that it must have.
type Name = (Column, &'static str);

/// The column that holds the attribute, where the expression is one in the map of a row that has it, and
/// which says that it does where it may be another's.
fn column_of(expression: &Expr, schema: &DFSchema) -> Option<(Column, Option<Name>)> {
    let Expr::ScalarFunction(access) = expression else { return None };
    let (true, [Expr::Column(map), Expr::Literal(key, _)]) =
        (access.func.name() == "get_field", access.args.as_slice())
    else {
        return None;
    };
    let key = key.try_as_str().flatten().filter(|_| map.name == MAP)?;
    let known = Table::ALL.iter().flat_map(|table| table.attribute_columns());
    let is_asked = |known: &&AttributeColumn| known.attribute == key;
    let column = |name| Column::new(map.relation.clone(), name);
    let mut columns = known.filter(is_asked).map(|known| {
        (column(known.column), known.named_by.map(|name| (column(name), known.attribute)))
    });
    columns.find(|(value, name)| {
        let name = name.iter().map(|(name, _)| name);
        name.chain([value]).all(|column| schema.has_column(column))
    })
}
