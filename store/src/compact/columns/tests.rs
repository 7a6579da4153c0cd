use std::sync::Arc;

use arrow::array::AsArray;
use parquet::bloom_filter::Sbbf;
use proptest::prelude::*;

use super::super::{rewrite_columns, rewrite_rows};
use super::*;
use crate::parquet_writer::testing::{Shape, content, rows};
use crate::parquet_writer::{WrittenFile, write_partitions};
use crate::place::Place;
use crate::schema::Table;
use crate::trace_pages::PageFilters;

/// Merges the files of each batch by row and by column, and compares what came out. Where texts are too many
/// for a dictionary, the library's writer learns that in the middle of a page.
fn compare(table: Table, batches: &[arrow::array::RecordBatch], has_dictionaries: bool) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::folder(folder.path(), true).unwrap();
    let written: Vec<_> = batches
        .iter()
        .flat_map(|rows| write_partitions(&place, table, std::slice::from_ref(rows)).unwrap())
        .collect();
    let open = |path: &str| File::open(folder.path().join(path)).unwrap();
    let wanted = Arc::new(());
    let is_wanted = Arc::downgrade(&wanted);
    for date in [20_000, 20_001] {
        let files = || {
            let of_date = written.iter().filter(|file| file.data.date == date);
            of_date.map(|file| (file.data.clone(), open(&file.data.path))).collect()
        };
        let by_row = rewrite_rows(&place, table, date, files(), &is_wanted).unwrap();
        let by_column = rewrite_columns(&place, table, date, files(), &is_wanted).unwrap();
        let content = |written: &[WrittenFile]| {
            let files = written.iter().map(|file| (file.data.rows, content(open(&file.data.path))));
            files.collect::<Vec<_>>()
        };
        for ((rows, left), (same_rows, right)) in content(&by_column).iter().zip(content(&by_row)) {
            assert_eq!(*rows, same_rows);
            assert_eq!(left.rows.num_rows() as u64, *rows);
            if has_dictionaries {
                left.assert_same(&right);
            }
            assert_eq!(left.rows, right.rows);
        }
        assert_eq!(by_column.len(), by_row.len());
        for (left, right) in by_column.iter().zip(by_row) {
            assert_eq!(left.data.statistics, right.data.statistics);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn files_merged_by_column_are_those_merged_by_row(
        seed: u64,
        batches in 1..5_usize,
        rows_of_batch in 0..300_usize,
        texts in prop_oneof![Just(1_u64), 2..40_u64, Just(1 << 40)],
        longer_by in prop_oneof![Just(0_usize), Just(40)],
        attributes_max in 0..6_u64,
        table in prop_oneof![Just(Table::Spans), Just(Table::Logs), Just(Table::Profiles)],
    ) {
        let shape =
            Shape { seed, batches, rows: rows_of_batch, texts, longer_by, attributes_max };
        compare(table, &rows(table, shape), true);
    }
}

#[test]
fn many_rows_and_texts_without_a_dictionary_and_more_of_them_than_are_held_are_merged() {
    for (rows_of_batch, texts, longer_by, has_dictionaries) in
        [(21_000, 9, 1, true), (21_000, 1 << 40, 100, false), (9_000, 1 << 40, 800, false)]
    {
        let shape =
            Shape { seed: 7, batches: 3, rows: rows_of_batch, texts, longer_by, attributes_max: 2 };
        compare(Table::SpanEvents, &rows(Table::SpanEvents, shape), has_dictionaries);
    }
}

#[test]
fn each_page_of_merged_spans_has_a_filter_of_its_traces() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::folder(folder.path(), true).unwrap();
    let shape =
        Shape { seed: 3, batches: 2, rows: 9_000, texts: 9, longer_by: 0, attributes_max: 1 };
    let written = rows(Table::Spans, shape).into_iter();
    let written = written.flat_map(|rows| write_partitions(&place, Table::Spans, &[rows]).unwrap());
    let path_of = |file: &WrittenFile| folder.path().join(&file.data.path);
    let files = written.filter(|file| file.data.date == 20_000);
    let files = files.map(|file| (file.data.clone(), File::open(path_of(&file)).unwrap()));
    let wanted = Arc::new(());
    let merged =
        rewrite_columns(&place, Table::Spans, 20_000, files.collect(), &Arc::downgrade(&wanted));
    let path = path_of(&merged.unwrap()[0]);
    let bytes = std::fs::read(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let filters = PageFilters::of(reader.metadata()).unwrap();
    let [pages] = &filters.row_groups[..] else { panic!("{filters:?}") };
    assert_eq!((filters.page_rows, pages.len() > 1), (4_096, true));
    let mut row = 0;
    for rows in reader.build().unwrap() {
        let ids = rows.unwrap().column_by_name("trace_id").unwrap().as_binary::<i32>().clone();
        for id in ids.iter().flatten() {
            let page = pages[row / filters.page_rows].clone();
            let place = |at: u64| usize::try_from(at).unwrap();
            let filter = Sbbf::new(&bytes[place(page.start)..place(page.end)]);
            assert!(filter.check(id), "row {row}");
            row += 1;
        }
    }
    assert!(row > filters.page_rows);
}

#[test]
fn a_column_that_a_file_does_not_have_is_null_where_it_may_be() {
    let taken = |name: &str| {
        let column = Table::Spans.columns().iter().find(|column| column.name == name).unwrap();
        let rows = ColumnRows { path: "old.parquet", column, reader: None, rows: None };
        gather(&mut [rows], &[0, 0, 0])
    };
    let part = taken("http_route").unwrap();
    assert_eq!((part.arrays[0].null_count(), part.rows.len()), (3, 3));
    let error = taken("span_name").unwrap_err();
    assert!(
        format!("{error:?}").contains("span_name of old.parquet has rows without a value"),
        "{error:?}"
    );
}
