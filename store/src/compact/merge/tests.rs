use arrow::compute::{concat_batches, take_record_batch};
use proptest::prelude::*;

use super::super::rewrite;
use super::*;
use crate::parquet_writer::{sorted_indices, write_partitions};
use crate::place::Place;
use crate::rollup::operation_minutes;
use crate::testing::{Span, spans};
use crate::trace_index::TraceIndex;

/// Files of these rows, each with its own, in a folder.
fn files(folder: &tempfile::TempDir, table: Table, parts: &[RecordBatch]) -> Vec<(DataFile, File)> {
    let place = Place::folder(folder.path(), false).unwrap();
    let written = parts
        .iter()
        .flat_map(|rows| write_partitions(&place, table, std::slice::from_ref(rows)).unwrap());
    let opened = written.map(|file| {
        let content = File::open(folder.path().join(&file.data.path)).unwrap();
        (file.data, content)
    });
    opened.collect()
}

fn merged(table: Table, parts: &[RecordBatch]) -> RecordBatch {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::folder(folder.path(), false).unwrap();
    let wanted = Arc::new(());
    let inputs = files(&folder, table, parts);
    let written = rewrite(&place, table, inputs, &Arc::downgrade(&wanted)).unwrap();
    let chunks = written.iter().flat_map(|file| {
        let content = File::open(folder.path().join(&file.data.path)).unwrap();
        rows_in_order(table, &file.data, content).unwrap()
    });
    concat_batches(&table.schema(), &chunks.map(Result::unwrap).collect::<Vec<_>>()).unwrap()
}

const SERVICES: [&str; 3] = ["cart", "checkout", "stock"];

/// Spans of some services at some seconds of a day, in parts.
fn parts() -> impl Strategy<Value = Vec<Vec<(usize, i64, i64)>>> {
    let span = (0..SERVICES.len(), 0..200_i64, 1..1_000_i64);
    prop::collection::vec(prop::collection::vec(span, 1..60), 1..9)
}

fn rows(part: &[(usize, i64, i64)], first_id: i64) -> RecordBatch {
    let ids = first_id..;
    let of = part.iter().zip(ids).map(|((service, second, duration), id)| Span {
        service: SERVICES[*service],
        duration: *duration,
        ..Span::new(id, id, second * 1_000_000_000)
    });
    let batch = spans(&of.collect::<Vec<_>>());
    let mut index = TraceIndex::default();
    index.insert(&batch);
    index.enrich_spans(&batch)
}

/// Spans by id: rows that are equal in order may stand in either.
fn by_id(rows: &RecordBatch) -> RecordBatch {
    let ids = rows.column_by_name("span_id").unwrap();
    let order = arrow::compute::sort_to_indices(ids, None, None).unwrap();
    take_record_batch(rows, &order).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn merged_files_are_what_sorting_all_rows_gives(parts in parts()) {
        let batches: Vec<_> =
            parts.iter().zip(0..).map(|(part, n)| rows(part, n * 1_000)).collect();
        let merged = merged(Table::Spans, &batches);
        prop_assert_eq!(by_id(&merged), by_id(&concat_batches(&Table::Spans.schema(), &batches).unwrap()));
        let order = sorted_indices(Table::Spans, std::slice::from_ref(&merged)).unwrap();
        let key = |rows: &RecordBatch| {
            let columns = Table::Spans.sort_columns().iter();
            columns.map(|name| rows.column_by_name(name).cloned()).collect::<Vec<_>>()
        };
        prop_assert_eq!(key(&merged), key(&take_record_batch(&merged, &order).unwrap()));
    }

    #[test]
    fn merged_minutes_are_those_of_all_spans(parts in parts()) {
        let batches: Vec<_> =
            parts.iter().zip(0..).map(|(part, n)| rows(part, n * 1_000)).collect();
        let minutes: Vec<_> =
            batches.iter().map(|rows| operation_minutes(std::slice::from_ref(rows))).collect();
        prop_assert_eq!(merged(Table::OperationMinutes, &minutes), operation_minutes(&batches));
    }
}

#[test]
fn more_rows_than_a_chunk_come_out_in_several() {
    let part = |service: usize| (0..9_000).map(|n| (service, n % 500, n)).collect::<Vec<_>>();
    let batches = [rows(&part(0), 0), rows(&part(1), 10_000), rows(&part(0), 20_000)];
    let folder = tempfile::tempdir().unwrap();
    let chunks = Merge::of(Table::Spans, 0, files(&folder, Table::Spans, &batches)).unwrap();
    let sizes: Vec<_> = chunks.map(|chunk| chunk.unwrap().num_rows()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 27_000);
    assert!(sizes.iter().all(|rows| *rows <= CHUNK_ROWS), "{sizes:?}");
}

#[test]
fn a_file_that_is_not_in_order_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(&folder, Table::Spans, &[rows(&[(0, 1, 1)], 1)]);
    let (file, _) = &mut files[0];
    let path = folder.path().join(&file.path);
    let backwards = rows(&[(2, 9, 1), (0, 1, 1)], 1);
    let columns: Vec<_> = (0..backwards.num_columns() - 1).collect();
    let backwards = backwards.project(&columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(
        File::create(&path).unwrap(),
        backwards.schema(),
        None,
    )
    .unwrap();
    writer.write(&backwards).unwrap();
    writer.close().unwrap();
    let name = file.path.clone();
    files[0].1 = File::open(path).unwrap();
    let error = Merge::of(Table::Spans, 0, files).err().unwrap();
    assert!(matches!(&error, WriteError::Unsorted(path) if *path == name), "{error}");
}
