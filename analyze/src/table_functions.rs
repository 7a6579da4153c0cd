//! The table functions, one file each: a SQL text over the tables, with the call's arguments put in
//! as literals. `EXPLAIN` of a call shows the tables that it reads.
//!
//! A call is planned as a subquery, and SQL gives subqueries no order: results are the same rows with
//! the same values each time, and a caller who wants an order writes `ORDER BY`.

mod arguments;
mod compare_operations;
mod payload_growth;
mod profile_diff;
mod spans_between;

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::internal_datafusion_err;
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;

use crate::template;
use arguments::Arguments;

/// A table function: its signature for messages, and the SQL of a call.
#[derive(Debug)]
struct TableFunction {
    name: &'static str,
    /// As it is written in SQL, with the argument types.
    usage: &'static str,
    sql: fn(&Arguments) -> Result<String>,
}

const FUNCTIONS: [TableFunction; 4] = [
    spans_between::SPANS_BETWEEN,
    compare_operations::COMPARE_OPERATIONS,
    payload_growth::PAYLOAD_GROWTH,
    profile_diff::PROFILE_DIFF,
];

/// Adds the table functions to a session.
pub(crate) fn register(state: &mut SessionState) {
    for function in FUNCTIONS {
        state.register_udtf(function.name, Arc::new(function));
    }
}

/// The names of all table functions.
pub(crate) fn names() -> Vec<String> {
    FUNCTIONS.iter().map(|function| function.name.to_owned()).collect()
}

impl TableFunctionImpl for TableFunction {
    fn call_with_args(&self, call: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let state = call.session().as_any().downcast_ref::<SessionState>();
        let state = state.ok_or_else(|| internal_datafusion_err!("sessions are SessionStates"))?;
        let sql = (self.sql)(&Arguments::new(self.usage, call.exprs()))?;
        let plan = template::plan(state, &sql)?;
        Ok(Arc::new(ViewTable::new(plan, Some(sql))))
    }
}
