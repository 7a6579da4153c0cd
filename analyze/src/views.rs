//! The views that a person starts from. Each is one SQL text, planned over the session's tables when
//! it is first used.
//!
//! | view | one row is |
//! |---|---|
//! | `changes` | a change of a service: sent by somebody, or inferred from `service.version` |
//! | `version_minutes` | a version of a service in a minute, with its share of the requests |
//! | `services` | a service in an environment, with its newest version |
//! | `operations` | an operation of a service over all stored time |
//! | `edges` | the calls of one service to another over all stored time |
//! | `payload_sizes` | one observed body, as one side of the call reported it |

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::TableType;

use upriver_store::schema::Table;

use crate::template;

/// Name and text; the texts read tables only.
const VIEWS: [(&str, &str); 6] = [
    ("changes", include_str!("views/changes.sql")),
    ("version_minutes", include_str!("views/version_minutes.sql")),
    ("services", include_str!("views/services.sql")),
    ("operations", include_str!("views/operations.sql")),
    ("edges", include_str!("views/edges.sql")),
    ("payload_sizes", include_str!("views/payload_sizes.sql")),
];

/// The tables of a session and the views over them.
#[derive(Debug)]
pub(crate) struct TablesAndViews {
    tables: Arc<dyn SchemaProvider>,
    /// A state that knows the tables alone, in which views are planned.
    planner: SessionState,
}

impl TablesAndViews {
    pub(crate) fn new(tables: Arc<dyn SchemaProvider>, planner: SessionState) -> Self {
        Self { tables, planner }
    }
}

/// The names of all views.
pub(crate) fn names() -> Vec<String> {
    VIEWS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

fn text_of(view: &str) -> Option<&'static str> {
    VIEWS.iter().find(|(name, _)| *name == view).map(|(_, sql)| *sql)
}

#[async_trait]
impl SchemaProvider for TablesAndViews {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.tables.table_names();
        // What is in such tables is in a view.
        let is_former =
            |name: &String| Table::ALL.iter().any(|t| t.is_former() && t.name() == name);
        names.retain(|name| !is_former(name));
        names.extend(self::names());
        names.sort();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(sql) = text_of(name) else { return self.tables.table(name).await };
        let plan = template::plan(&self.planner, sql)?;
        Ok(Some(Arc::new(ViewTable::new(plan, Some(sql.trim_end().to_owned())))))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        match text_of(name) {
            Some(_) => Ok(Some(TableType::View)),
            None => self.tables.table_type(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        text_of(name).is_some() || self.tables.table_exist(name)
    }
}
