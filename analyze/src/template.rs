//! SQL texts of views and table functions, and the values that are put into them.

use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use futures::FutureExt;

#[cfg(test)]
mod tests;

/// Puts literals in place of `$names`, in one pass: a value that itself contains a `$name` stays as
/// it is. The literals come from [`crate::literal`].
pub(crate) fn bind(template: &str, values: &[(&str, String)]) -> Result<String> {
    let mut sql = String::with_capacity(template.len() * 2);
    let mut parts = template.split('$');
    sql.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let Some((_, value)) = values.iter().find(|(known, _)| *known == name) else {
            return internal_err!("the template has no value for ${name}");
        };
        sql.push_str(value);
        sql.push_str(rest);
    }
    Ok(sql)
}

/// Plans a text of our own over the tables of the session.
pub(crate) fn plan(state: &SessionState, sql: &str) -> Result<LogicalPlan> {
    let mut parser = DFParserBuilder::new(sql).with_dialect(&PostgreSqlDialect {}).build()?;
    let statement = parser.parse_statement()?;
    // Tables are looked up in memory, so planning never waits.
    let planned = state.statement_to_plan(statement).now_or_never();
    planned.ok_or_else(|| internal_datafusion_err!("planning waited for a table"))?
}
