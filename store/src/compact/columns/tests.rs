use std::sync::Arc;

use proptest::prelude::*;

use super::super::{rewrite_columns, rewrite_rows};
use super::*;
use crate::parquet_writer::testing::{Shape, content, rows};
use crate::parquet_writer::{WrittenFile, write_partitions};
use crate::place::Place;
use crate::schema::Table;

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
