//! A table of the store as DataFusion sees it: committed Parquet files and rows in memory.
//!
//! A scan is `UnionExec[DataSourceExec(ParquetSource), DataSourceExec(memory)]`, either side alone
//! where the other is empty; tables of minutes add those that are not stored ([`minutes`]). The Parquet side is DataFusion's own node over plain files, so a plan of
//! it can be sent to another process; no node of ours is in it.

mod files;
mod hot;
mod lookup;
mod minutes;
mod page_cache;
mod pruning;
mod reader;
mod statistics;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use upriver_store::schema::Table;
use upriver_store::snapshot::{Snapshot, TableSnapshot};

use self::minutes::UnstoredMinutes;

/// One table of one snapshot.
#[derive(Debug)]
pub(crate) struct StoreTable {
    schema: SchemaRef,
    snapshot: TableSnapshot,
    files: Option<FileLocation>,
    unstored: Option<UnstoredMinutes>,
}

/// Where a table's files are: a store of the runtime, the table's folder in it, and what the store is on this
/// machine.
#[derive(Clone, Debug)]
struct FileLocation {
    store: ObjectStoreUrl,
    folder: &'static str,
    local: Option<PathBuf>,
}

impl StoreTable {
    /// The table, its place made known to the runtime if it has files.
    pub(crate) fn new(table: Table, snapshot: &Snapshot, runtime: &RuntimeEnv) -> Result<Self> {
        let mut opened = Self::of(table, snapshot.table(table), runtime)?;
        let spans = &snapshot.table(Table::Spans);
        let open = |spans| Self::of(Table::Spans, spans, runtime);
        opened.unstored = UnstoredMinutes::of(table, spans, open)?;
        Ok(opened)
    }

    fn of(table: Table, snapshot: TableSnapshot, runtime: &RuntimeEnv) -> Result<Self> {
        let place = snapshot.place.as_ref().filter(|_| !snapshot.files.is_empty());
        let files = place.map(|place| files::locate(place, table, runtime)).transpose()?;
        let schema = Arc::new(query_schema(&table.schema()));
        Ok(Self { schema, snapshot, files, unstored: None })
    }
}

#[async_trait]
impl TableProvider for StoreTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters choose files and are evaluated again above the scan.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = (0..self.schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all);
        let request = ScanRequest { state, columns, filters, limit };
        let committed = match &self.files {
            Some(location) => {
                files::scan(location, &self.schema, &self.snapshot.files, &request).await?
            }
            None => None,
        };
        let unstored = match &self.unstored {
            Some(minutes) => minutes.scan(&self.schema, &request).await?,
            None => None,
        };
        let in_memory = hot::scan(&self.schema, &self.snapshot.hot, &request)?;
        let mut arms: Vec<_> = [committed, unstored, in_memory].into_iter().flatten().collect();
        match (arms.pop(), arms.is_empty()) {
            (None, _) => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(columns)?)))),
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                arms.push(last);
                UnionExec::try_new(arms)
            }
        }
    }
}

/// What a scan is asked for.
#[derive(Clone, Copy)]
struct ScanRequest<'a> {
    state: &'a dyn Session,
    columns: &'a [usize],
    filters: &'a [Expr],
    limit: Option<usize>,
}

/// The schema that queries see: the table's, texts and ids as views, which is what the Parquet
/// reader gives without copying and what grouping is fastest on.
fn query_schema(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| {
        let kind = match field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            other => other.clone(),
        };
        Field::new(field.name(), kind, field.is_nullable())
    });
    Schema::new(fields.collect::<Vec<_>>())
}
