//! Rewriting the expressions of a plan, which keep their names.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// What becomes of an expression over columns of this schema.
type Rewrite = fn(Expr, &DFSchema) -> Result<Transformed<Expr>>;

/// The plan with all expressions rewritten, those of subqueries and of scans too.
pub(crate) fn rewritten(plan: LogicalPlan, rewrite: Rewrite) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(|node| rewrite_node(node, rewrite))?.data)
}

fn rewrite_node(plan: LogicalPlan, rewrite: Rewrite) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(
            scan.table_name.clone(),
            &scan.source.schema(),
        )?);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let rewritten = expression.transform_up(|e| rewrite(e, &schema))?;
        Ok(rewritten.update_data(|data| name.restore(data)))
    })
}
