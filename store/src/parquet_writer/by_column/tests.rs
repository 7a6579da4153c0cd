use std::fs::File;

use arrow::array::Date32Array;
use arrow::compute::interleave_record_batch;
use proptest::prelude::*;

use super::super::testing::{Shape, content, rows};
use super::super::{FileWriter, order, write_partitions};
use super::*;
use crate::batch::unfolded;
use crate::testing::arriving;

/// Both writers make a file of the same content from the same rows.
fn compare(table: Table, batches: &[RecordBatch]) {
    let is_as_it_arrives = batches[0].schema() == table.arriving_schema();
    if !is_as_it_arrives {
        compare(table, &batches.iter().map(|rows| arriving(table, rows)).collect::<Vec<_>>());
    }
    let folder = tempfile::tempdir().unwrap();
    let place = Place::folder(folder.path(), true).unwrap();
    let written = write_partitions(&place, table, batches).unwrap();
    let in_order = order::sorted(table, batches).unwrap();
    let batches: Vec<_> = batches.iter().map(|rows| unfolded(table, rows).unwrap()).collect();
    let sources: Vec<_> = batches.iter().collect();
    let all = interleave_record_batch(&sources, &in_order).unwrap();
    for by_column in &written {
        let date = by_column.data.date;
        let dates = all.column_by_name("date").unwrap();
        let of_date = arrow::compute::kernels::cmp::eq(dates, &Date32Array::new_scalar(date));
        let rows = arrow::compute::filter_record_batch(&all, &of_date.unwrap()).unwrap();
        let mut writer =
            FileWriter::create(&place, table, date, (rows.num_rows(), Writing::Commit)).unwrap();
        writer.write(&rows).unwrap();
        let by_row = writer.finish().unwrap();
        assert_eq!(by_column.data.rows, by_row.data.rows);
        assert_eq!(by_column.data.statistics, by_row.data.statistics);
        let open = |file: &WrittenFile| File::open(folder.path().join(&file.data.path)).unwrap();
        let left = content(open(by_column));
        assert_eq!(
            left.rows,
            rows.project(&(0..rows.num_columns() - 1).collect::<Vec<_>>()).unwrap()
        );
        left.assert_same(&content(open(&by_row)));
    }
    let written_rows: u64 = written.iter().map(|file| file.data.rows).sum();
    assert_eq!(written_rows, all.num_rows() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_file_by_column_is_the_file_by_row(
        seed: u64,
        batches in 1..5_usize,
        rows_of_batch in 0..300_usize,
        texts in prop_oneof![Just(1_u64), 2..40_u64, Just(1 << 40)],
        longer_by in prop_oneof![Just(0_usize), Just(40)],
        attributes_max in 0..6_u64,
        table in prop_oneof![Just(Table::Spans), Just(Table::Logs), Just(Table::OperationMinutes)],
    ) {
        let shape =
            Shape { seed, batches, rows: rows_of_batch, texts, longer_by, attributes_max };
        compare(table, &rows(table, shape));
    }
}

#[test]
fn pages_and_row_groups_follow_each_other() {
    let shape =
        Shape { seed: 7, batches: 9, rows: 4_096, texts: 9, longer_by: 1, attributes_max: 2 };
    compare(Table::OperationMinutes, &rows(Table::OperationMinutes, shape));
    compare(Table::SpanEvents, &rows(Table::SpanEvents, shape));
}

#[test]
fn more_texts_than_a_dictionary_holds_are_written_where_they_stand() {
    let shape = Shape {
        seed: 1,
        batches: 3,
        rows: 3_000,
        texts: 1 << 40,
        longer_by: 100,
        attributes_max: 3,
    };
    compare(Table::SpanEvents, &rows(Table::SpanEvents, shape));
}
