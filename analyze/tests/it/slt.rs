//! The SQL surface: `tests/slt/*.slt`, each over the fixture that its first line names, in every
//! layout, on one partition and on two.
//!
//! `touch analyze/tests/it/slt.rs; UPDATE_SLT=1 cargo nextest run --workspace -E 'package(upriver-analyze)'`
//! writes down what comes out now.

use std::fmt;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use sqllogictest::{DBOutput, DefaultColumnType, Runner};
use upriver_analyze::format::{self, Format};
use upriver_analyze::{QueryError, Session, SessionOptions};
use upriver_store::batch::TableBatch;
use upriver_store::snapshot::Snapshot;

use crate::fixtures;
use crate::layout::{self, Layout};

macro_rules! files {
    ($($name:ident),+) => {
        /// One test per file, so that they run side by side.
        const FILES: &[&str] = &[$(stringify!($name)),+];
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> anyhow::Result<()> {
                check(stringify!($name)).await
            }
        )+
    };
}

files!(
    attributes,
    changes,
    compare_operations,
    empty,
    histograms,
    ids,
    payload_growth,
    payload_growth_metrics,
    profile_diff,
    tables,
    version_minutes,
    views
);

#[test]
fn every_file_is_checked() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> =
        files.map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, FILES);
}

async fn check(name: &str) -> anyhow::Result<()> {
    let file = folder().join(name).with_extension("slt");
    if option_env!("UPDATE_SLT").is_some() {
        update(&file).await?;
    }
    let batches = fixture(&file)?;
    // Every layout, and every layout with files on one partition and on two.
    for (layout, partitions) in [
        (Layout::Hot, 2),
        (Layout::Committed, 1),
        (Layout::Sparse, 2),
        (Layout::Half, 1),
        (Layout::Half, 2),
    ] {
        let data = tempfile::tempdir()?;
        let result = run(name, layout::snapshot(&batches, layout, data.path()), partitions).await;
        result.map_err(|e| anyhow::anyhow!("{layout:?}, {partitions} partition(s): {e}"))?;
    }
    Ok(())
}

/// Checks a file over a snapshot.
pub(crate) async fn run(name: &str, snapshot: Snapshot, partitions: usize) -> anyhow::Result<()> {
    let mut runner = runner(snapshot, partitions)?;
    Ok(runner.run_file_async(folder().join(name).with_extension("slt")).await?)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt")
}

async fn update(file: &Path) -> anyhow::Result<()> {
    let mut runner = runner(Snapshot::in_memory(fixture(file)?), 1)?;
    let updated = runner.update_test_file(
        file,
        "|",
        sqllogictest::default_validator,
        sqllogictest::default_normalizer,
        sqllogictest::default_column_validator,
    );
    updated.await.map_err(|error| anyhow::anyhow!("{error}"))
}

type MakeDatabase = Box<dyn FnMut() -> std::future::Ready<Result<Database, Failure>>>;

/// What the first line of a file names.
fn fixture(file: &Path) -> anyhow::Result<Vec<TableBatch>> {
    let text = std::fs::read_to_string(file)?;
    let named = text.lines().next().and_then(|line| line.strip_prefix("# fixture: "));
    let named = named.ok_or_else(|| anyhow::anyhow!("{} names no fixture", file.display()))?;
    Ok(fixtures::named(named))
}

fn runner(snapshot: Snapshot, partitions: usize) -> anyhow::Result<Runner<Database, MakeDatabase>> {
    let options = SessionOptions { target_partitions: partitions, ..SessionOptions::default() };
    let mut session = Some(Session::new(snapshot, &options)?);
    let connect: MakeDatabase = Box::new(move || {
        std::future::ready(Ok(Database { session: session.take().expect("one connection") }))
    });
    Ok(Runner::new(connect))
}

#[derive(Debug)]
struct Database {
    session: Session,
}

#[derive(Debug)]
struct Failure(QueryError);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Failure {}

#[async_trait]
impl sqllogictest::AsyncDB for Database {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let batches = self.session.query(sql).await.map_err(Failure)?;
        let types = vec![DefaultColumnType::Any; batches[0].num_columns()];
        Ok(DBOutput::Rows { types, rows: cells(&batches) })
    }

    async fn shutdown(&mut self) {}
}

/// The rows as text, `|` between the cells and control characters escaped.
fn cells(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    format::write(Format::Jsonl, batches, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let rows = lines.lines().map(|line| {
        let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        vec![row.values().map(cell).collect::<Vec<_>>().join("|")]
    });
    rows.collect()
}

fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "NULL".to_owned(),
        serde_json::Value::String(text) => {
            text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
        }
        other => other.to_string(),
    }
}
