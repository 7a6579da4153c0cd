use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, take_record_batch};
use deltalake_core::kernel::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::compact::{Selection, compact};
use crate::parquet_writer::sorted_indices;
use crate::rollup::operation_minutes;
use crate::snapshot::Bound;
use crate::testing::{Span, spans};
use crate::trace_index::TraceIndex;

const DAY: i64 = 86_400_000_000_000;

#[tokio::test]
async fn rows_and_source_versions_arrive_together_and_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = TableHandle::open_or_create(&place(folder.path()), Table::Spans).await.unwrap();
    assert_eq!(table.committed_version("node").await.unwrap(), None);
    let rows = spans(&[Span::new(1, 1, DAY), Span::new(1, 2, 2 * DAY)]);
    table.commit(vec![rows], &[("node".to_owned(), 7)]).await.unwrap();
    table.commit(vec![], &[("node".to_owned(), 9), ("import:x".to_owned(), 1)]).await.unwrap();

    let again = TableHandle::open(&place(folder.path()), Table::Spans).await.unwrap();
    assert_eq!(again.committed_version("node").await.unwrap(), Some(9));
    assert_eq!(again.committed_version("import:x").await.unwrap(), Some(1));
    assert_eq!(again.version(), 2);
    let dates: Vec<_> = again.files().iter().map(|file| (file.date, file.rows)).collect();
    assert_eq!(dates, [(1, 1), (2, 1)]);
    for (reopened, held) in again.files().iter().zip(sorted(&table.files())) {
        assert_eq!(reopened.path, held.path);
        assert_eq!(reopened.statistics, held.statistics, "the log gives back what was written");
    }
}

#[tokio::test]
async fn files_hold_the_rows_in_the_tables_schema_and_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = TableHandle::open_or_create(&place(folder.path()), Table::Spans).await.unwrap();
    let rows = spans(&[
        Span { service: "b", ..Span::new(1, 1, 10) },
        Span { service: "a", ..Span::new(1, 2, 20) },
        Span { service: "a", ..Span::new(1, 3, 5_000) },
    ]);
    table.commit(vec![rows], &[]).await.unwrap();
    let found = read(&table);
    let services: Vec<_> = crate::trace_index::texts(&found, "service_name")
        .unwrap()
        .iter()
        .map(Option::unwrap)
        .collect();
    assert_eq!(services, ["a", "a", "b"]);
    let expected = Table::Spans.schema();
    let stored: Vec<_> = found.schema().fields().iter().cloned().collect();
    assert_eq!(stored[..], expected.fields()[..expected.fields().len() - 1]);
}

#[tokio::test]
async fn statistics_bound_every_value() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = TableHandle::open_or_create(&place(folder.path()), Table::Spans).await.unwrap();
    let long = "x".repeat(100);
    let rows = spans(&[
        Span { service: "a", duration: 3, ..Span::new(1, 1, 1_000) },
        Span { service: &long, duration: 9, ..Span::new(1, 2, 5_000) },
    ]);
    table.commit(vec![rows], &[]).await.unwrap();
    let file = &table.files()[0];
    let of = |name: &str| file.statistics[name].clone();
    assert_eq!(of("duration_ns").min, Some(Bound::Int(3)));
    assert_eq!(of("duration_ns").max, Some(Bound::Int(9)));
    assert_eq!(of("time").min, Some(Bound::Int(1)));
    assert_eq!(of("time").max, Some(Bound::Int(5)));
    assert_eq!(of("http_route").null_count, Some(2));
    let Some(Bound::Text(upper)) = of("service_name").max else { panic!("text") };
    assert!(upper.as_str() >= long.as_str() && upper.len() < long.len());
}

#[tokio::test]
async fn compaction_keeps_rows_and_merges_parts_of_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let mut raw =
        TableHandle::open_or_create(&place(&folder.path().join("s")), Table::Spans).await.unwrap();
    let rollup = &place(&folder.path().join("o"));
    let mut minutes = TableHandle::open_or_create(rollup, Table::OperationMinutes).await.unwrap();
    let mut all = Vec::new();
    for id in 1..=4 {
        let batch = spans(&[Span { duration: id * 10, ..Span::new(id, id, id * 1_000) }]);
        let mut index = TraceIndex::default();
        index.insert(&batch);
        let batch = index.enrich_spans(&batch);
        raw.commit(vec![batch.clone()], &[]).await.unwrap();
        minutes.commit(vec![operation_minutes(std::slice::from_ref(&batch))], &[]).await.unwrap();
        all.push(batch);
    }
    let before = read(&raw);
    let report = compact(&mut raw, Selection::All, &|_| true).await.unwrap();
    assert_eq!((report.files_removed, report.files_added), (4, 1));
    let order = sorted_indices(Table::Spans, std::slice::from_ref(&before)).unwrap();
    assert_eq!(read(&raw), take_record_batch(&before, &order).unwrap());

    compact(&mut minutes, Selection::All, &|_| true).await.unwrap();
    let merged = read(&minutes);
    let expected = operation_minutes(&all);
    let without_date = expected.project(&(0..expected.num_columns() - 1).collect::<Vec<_>>());
    assert_eq!(merged, without_date.unwrap());

    raw.refresh().await.unwrap();
    assert_eq!(raw.files().len(), 1, "removed files are not listed");
}

#[tokio::test]
async fn a_file_in_another_order_is_left_out_of_a_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = TableHandle::open_or_create(&place(folder.path()), Table::Spans).await.unwrap();
    for id in 1..=3 {
        let rows = [Span::new(id, 2 * id, id), Span::new(id, 2 * id + 1, 1_000_000)];
        table.commit(vec![spans(&rows)], &[]).await.unwrap();
    }
    let before = table.files();
    let path = folder.path().join(&before[1].path);
    let rows = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap());
    let rows = rows.unwrap().build().unwrap().next().unwrap().unwrap();
    let backwards = take_record_batch(&rows, &arrow::array::UInt32Array::from(vec![1, 0])).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&backwards).unwrap();
    writer.close().unwrap();

    let report = compact(&mut table, Selection::All, &|_| true).await.unwrap();
    assert_eq!((report.files_removed, report.files_added), (2, 1));
    let kept: Vec<_> = table.files().iter().map(|file| (file.path.clone(), file.rows)).collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.contains(&(before[1].path.clone(), 2)), "{kept:?}");
}

#[tokio::test]
async fn a_long_life_of_commits_is_read_from_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut table =
        TableHandle::open_or_create(&place(folder.path()), Table::Deploys).await.unwrap();
    for version in 1..=105 {
        table.commit(vec![], &[("node".to_owned(), version)]).await.unwrap();
    }
    let log = folder.path().join("_delta_log");
    let checkpoints = std::fs::read_dir(log).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().contains(".checkpoint")
    });
    assert!(checkpoints.count() >= 1);
    let again = TableHandle::open(&place(folder.path()), Table::Deploys).await.unwrap();
    assert_eq!(again.committed_version("node").await.unwrap(), Some(105));
}

#[tokio::test]
async fn of_two_that_replace_the_same_files_the_second_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let mut one = TableHandle::open_or_create(&place, Table::Spans).await.unwrap();
    for id in 1..=2 {
        one.commit(vec![spans(&[Span::new(id, id, DAY)])], &[]).await.unwrap();
    }
    let mut other = TableHandle::open(&place, Table::Spans).await.unwrap();
    compact(&mut one, Selection::All, &|_| true).await.unwrap();
    compact(&mut other, Selection::All, &|_| true).await.unwrap_err();
    let table = TableHandle::open(&place, Table::Spans).await.unwrap();
    assert_eq!(table.files().iter().map(|file| file.rows).sum::<u64>(), 2, "no row is there twice");
}

#[tokio::test]
async fn what_left_the_table_is_deleted_once_nobody_can_read_it() {
    const HOUR: Duration = Duration::from_hours(1);
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let mut table = TableHandle::open_or_create(&place, Table::Spans).await.unwrap();
    // A checkpoint comes with every hundredth commit.
    for id in 1..=101 {
        table
            .commit(vec![spans(&[Span::new(id, id, DAY)])], &[("node".to_owned(), id)])
            .await
            .unwrap();
    }
    let lease = folder.path().join("_upriver/maintenance.json");
    std::fs::create_dir(lease.parent().unwrap()).unwrap();
    std::fs::write(&lease, "{}").unwrap();
    let never_committed = folder.path().join("date=1970-01-02/part-of-a-crash.parquet");
    std::fs::write(&never_committed, "x").unwrap();
    let written = table.files().iter().map(|file| file.written_unix_ms).max().unwrap();
    let after = |hours: i64| UnixNanos((written + hours * 3_600_000) * 1_000_000);
    compact(&mut table, Selection::All, &|_| true).await.unwrap();

    assert_eq!(table.delete_removed(HOUR, after(0)).await.unwrap(), 0, "queries may read them");
    assert_eq!(table.shorten_log(HOUR, after(0)).await.unwrap(), 0);
    let deleted = table.delete_removed(HOUR, after(2)).await.unwrap();
    assert!(deleted > 101, "{deleted} files: those of 101 commits, and one of a crash");
    assert!(lease.exists() && !never_committed.exists());
    // The hundredth entry has version 99.
    assert!(folder.path().join("_delta_log/00000000000000000099.checkpoint.parquet").exists());
    assert_eq!(table.shorten_log(HOUR, after(2)).await.unwrap(), 99, "versions before it");

    let again = TableHandle::open(&place, Table::Spans).await.unwrap();
    assert_eq!(again.committed_version("node").await.unwrap(), Some(101));
    assert_eq!(again.files().len(), 1);
    assert_eq!(read(&again).num_rows(), 101);
}

/// A table as a version made it that knew fewer columns, or other ones.
async fn older(place: &Place, columns: impl IntoIterator<Item = StructField>) {
    CreateBuilder::new()
        .with_log_store(log_store(place))
        .with_columns(columns)
        .with_partition_columns(["date"])
        .await
        .unwrap();
}

#[tokio::test]
async fn columns_of_a_newer_version_are_added_to_an_older_table() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let all: Vec<_> = columns(Table::Spans).unwrap().fields().cloned().collect();
    let is_new = |name: &str| ["parent_name", "links"].contains(&name);
    older(&place, all.iter().filter(|column| !is_new(column.name())).cloned()).await;
    let mut table = TableHandle::open_or_create(&place, Table::Spans).await.unwrap();
    let names = |table: &TableHandle| {
        let schema = table.handle.snapshot().unwrap().schema();
        schema.fields().map(|column| column.name().clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&table), all.iter().map(|column| column.name().clone()).collect());
    assert_eq!(table.version(), 1, "one entry for both");
    table.commit(vec![spans(&[Span::new(1, 1, DAY)])], &[]).await.unwrap();
    let again = TableHandle::open_or_create(&place, Table::Spans).await.unwrap();
    assert_eq!((again.version(), again.files().len()), (2, 1), "and nothing more");
}

#[tokio::test]
async fn a_table_with_a_column_of_another_type_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let text = |column: &StructField| StructField::nullable(column.name(), DataType::STRING);
    let all = columns(Table::Spans).unwrap();
    older(
        &place,
        all.fields().map(|column| match column.name().as_str() {
            "duration_ns" => text(column),
            _ => column.clone(),
        }),
    )
    .await;
    let error = TableHandle::open_or_create(&place, Table::Spans).await.unwrap_err().to_string();
    assert!(error.contains("its column `duration_ns` is string, not long"), "{error}");
}

fn place(folder: &Path) -> Place {
    Place::folder(folder, true).unwrap()
}

fn sorted(files: &[DataFile]) -> Vec<DataFile> {
    let mut files = files.to_vec();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn read(table: &TableHandle) -> RecordBatch {
    let mut batches = Vec::new();
    for file in table.files().iter() {
        let input = std::fs::File::open(table.place().local().unwrap().join(&file.path)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(input).unwrap().build().unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    let schema = batches[0].schema();
    concat_batches(&schema, &batches).unwrap()
}
