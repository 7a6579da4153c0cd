//! The read-only gate: one statement, parsed, allowed by kind, planned, and verified on the plan.
//!
//! Two checks, because each alone has holes: the statement's kind gives a clear refusal, the plan
//! catches what hides inside (a `WITH` that inserts, an `EXPLAIN ANALYZE` of a `COPY`).

use datafusion::execution::context::SQLOptions;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;

use crate::error::QueryError;

/// Longest statement: well above what the rules generate, far below what makes the parser slow.
const SQL_BYTES_MAX: usize = 1 << 20;

/// Plans a statement if it is one that may be run.
pub(crate) async fn plan(state: &SessionState, sql: &str) -> Result<LogicalPlan, QueryError> {
    let statement = parse(state, sql)?;
    if let Some(what) = refusal(&statement) {
        return Err(QueryError::Refused { what });
    }
    let plan = state.statement_to_plan(statement).await?;
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only
        .verify_plan(&plan)
        .map_err(|error| QueryError::Refused { what: error.strip_backtrace() })?;
    Ok(plan)
}

fn parse(state: &SessionState, sql: &str) -> Result<Statement, QueryError> {
    if sql.len() > SQL_BYTES_MAX {
        let message =
            format!("the statement has {} bytes, at most {SQL_BYTES_MAX} are read", sql.len());
        return Err(QueryError::TooLarge { message });
    }
    let recursion = state.config_options().sql_parser.recursion_limit.get();
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&PostgreSqlDialect {})
        .with_recursion_limit(recursion)
        .build()?
        .parse_statements()?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (Some(_), more) => {
            Err(QueryError::Refused { what: format!("more than one statement ({})", more + 1) })
        }
        (None, _) => Err(QueryError::sql("the query is empty: write a SELECT statement")),
    }
}

/// What the statement is, if it may not be run.
fn refusal(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Statement(inner) => match inner.as_ref() {
            SqlStatement::Query(_)
            | SqlStatement::ShowTables { .. }
            | SqlStatement::ShowColumns { .. }
            | SqlStatement::ShowVariable { .. }
            | SqlStatement::ShowFunctions { .. }
            | SqlStatement::ExplainTable { .. } => None,
            SqlStatement::Explain { statement, .. }
                if matches!(**statement, SqlStatement::Query(_)) =>
            {
                None
            }
            other => Some(keyword(&other.to_string())),
        },
        Statement::Explain(explain) => match explain.statement.as_ref() {
            Statement::Statement(inner) if matches!(**inner, SqlStatement::Query(_)) => None,
            other => Some(format!("EXPLAIN of {}", keyword(&other.to_string()))),
        },
        Statement::CreateExternalTable(_) => Some("CREATE EXTERNAL TABLE".to_owned()),
        Statement::CopyTo(_) => Some("COPY".to_owned()),
        Statement::Reset(_) => Some("RESET".to_owned()),
    }
}

/// The first word of a statement.
fn keyword(statement: &str) -> String {
    statement.split_whitespace().next().unwrap_or("this statement").to_ascii_uppercase()
}
