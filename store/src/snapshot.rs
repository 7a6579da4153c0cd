//! What a query sees: the committed files of every table and the rows that are durable but not yet
//! committed, taken at one instant so that no row is missing and none is there twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::batch::TableBatch;
use crate::place::Place;
use crate::schema::Table;

/// Where query engines get the newest snapshot: a writing store or a read-only one.
pub trait SnapshotSource: Send + Sync {
    /// The newest consistent view of all tables.
    fn snapshot(&self) -> Snapshot;
}

/// A consistent view of all tables.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    tables: BTreeMap<Table, TableSnapshot>,
}

impl Snapshot {
    /// A snapshot of these tables; a missing one is empty.
    pub fn new(tables: impl IntoIterator<Item = (Table, TableSnapshot)>) -> Self {
        Self { tables: tables.into_iter().collect() }
    }

    /// A snapshot of rows in memory alone.
    pub fn in_memory(batches: impl IntoIterator<Item = TableBatch>) -> Self {
        let mut snapshot = Self::default();
        for batch in batches {
            // Rows that cannot be unfolded are shown as they came.
            let rows = batch.unfolded().unwrap_or_else(|_| batch.rows.clone());
            snapshot.tables.entry(batch.table).or_default().hot.push(rows);
        }
        snapshot
    }

    /// The view of one table.
    pub fn table(&self, table: Table) -> TableSnapshot {
        self.tables.get(&table).cloned().unwrap_or_default()
    }
}

/// A consistent view of one table.
#[derive(Clone, Debug, Default)]
pub struct TableSnapshot {
    /// Where the tables are, each in the folder of its name; paths of files are relative to that.
    pub place: Option<Place>,
    /// The committed files.
    pub files: Arc<Vec<DataFile>>,
    /// Durable rows that are in no file yet, parents and rollups filled in.
    pub hot: Vec<RecordBatch>,
}

/// A committed Parquet file.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// Path relative to the table's folder, such as `date=2026-01-02/part-....parquet`.
    pub path: String,
    /// Size of the file.
    pub size_bytes: u64,
    /// Rows in the file.
    pub rows: u64,
    /// Its partition: days since 1970.
    pub date: i32,
    /// When its rows were written first, in milliseconds since 1970: compaction does not change it.
    pub written_unix_ms: i64,
    /// The source and its version whose rows these are, until upkeep wrote them again.
    pub committed_as: Option<(String, i64)>,
    /// No table of minutes has what its spans come to: minutes are made of it when somebody asks.
    pub without_minutes: bool,
    /// Statistics of columns, where the Delta log has them. Shared: with each commit the list of files is
    /// made anew.
    pub statistics: Arc<BTreeMap<String, ColumnStatistics>>,
}

/// Smallest and largest value of a column in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnStatistics {
    /// The smallest value, or a lower bound of it.
    pub min: Option<Bound>,
    /// The largest value, or an upper bound of it.
    pub max: Option<Bound>,
    /// Number of nulls.
    pub null_count: Option<u64>,
}

/// A value in statistics.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// Integers; timestamps in microseconds.
    Int(i64),
    /// Floats.
    Float(f64),
    /// Truth values; false is below true.
    Bool(bool),
    /// Texts; possibly cut, then still a bound.
    Text(String),
}
