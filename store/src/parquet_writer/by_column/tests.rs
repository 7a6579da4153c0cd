use std::fs::File;

use arrow::array::{
    Date32Array, Int64Array, MapBuilder, MapFieldNames, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::Field;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use proptest::prelude::*;

use super::super::{FileWriter, order, write_partitions};
use super::*;
use crate::batch::unfolded;
use crate::testing::{arriving, plain};

/// Numbers that are the same each time: a linear congruential generator with Knuth's multiplier.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// How a column of texts is filled.
#[derive(Clone, Copy, Debug)]
struct Shape {
    seed: u64,
    batches: usize,
    rows: usize,
    /// Distinct texts.
    texts: u64,
    /// Characters that a text has beside its number.
    longer_by: usize,
    attributes_max: u64,
}

/// Rows of a table with texts and attributes of this shape.
fn rows(table: Table, shape: Shape) -> Vec<RecordBatch> {
    let mut numbers = Numbers(shape.seed);
    (0..shape.batches).map(|_| batch(table, shape, &mut numbers)).collect()
}

fn batch(table: Table, shape: Shape, numbers: &mut Numbers) -> RecordBatch {
    let text = |numbers: &mut Numbers| {
        let number = numbers.below(shape.texts);
        format!("{number}{}", "ü".repeat(shape.longer_by))
    };
    let columns = table.columns().iter().map(|column| -> ArrayRef {
        let is_null = |numbers: &mut Numbers| column.nullable && numbers.below(3) == 0;
        match column.kind {
            Kind::Text => {
                let value = |_| (!is_null(numbers)).then(|| text(numbers));
                Arc::new((0..shape.rows).map(value).collect::<StringArray>())
            }
            Kind::Int => {
                let value = |_| (!is_null(numbers)).then(|| numbers.below(1 << 30).cast_signed());
                Arc::new((0..shape.rows).map(value).collect::<Int64Array>())
            }
            Kind::Time => {
                let value = |_| numbers.below(1 << 30).cast_signed();
                let times = TimestampMicrosecondArray::from_iter_values((0..shape.rows).map(value));
                Arc::new(times.with_timezone("UTC"))
            }
            Kind::Date => {
                let value = |_| i32::try_from(numbers.below(2)).unwrap() + 20_000;
                Arc::new(Date32Array::from_iter_values((0..shape.rows).map(value)))
            }
            Kind::Attributes => {
                let entry = String::from("key_value");
                let names = MapFieldNames { entry, key: "key".into(), value: "value".into() };
                let strings = StringBuilder::new;
                let mut map = MapBuilder::new(Some(names), strings(), strings())
                    .with_keys_field(Field::new("key", arrow::datatypes::DataType::Utf8, false));
                for _ in 0..shape.rows {
                    for key in 0..numbers.below(shape.attributes_max + 1) {
                        map.keys().append_value(format!("key.{key}"));
                        let value = (numbers.below(9) > 0).then(|| text(numbers));
                        map.values().append_option(value);
                    }
                    map.append(true).unwrap();
                }
                Arc::new(map.finish())
            }
            kind => plain(kind, column.nullable, shape.rows),
        }
    });
    RecordBatch::try_new(table.schema(), columns.collect()).unwrap()
}

/// Everything that a reader gets from a file.
#[derive(Debug, PartialEq)]
struct Content {
    rows: RecordBatch,
    group_rows: Vec<i64>,
    /// Of each page of each column of texts that has an index: bounds and missing values.
    index: Vec<String>,
    /// The first row of each page of every column.
    pages: Vec<Vec<Vec<i64>>>,
    statistics: Vec<String>,
}

fn content(file: File) -> Content {
    let metadata = {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        ArrowReaderMetadata::load(&file, options).unwrap()
    };
    let parquet = metadata.metadata();
    let index = parquet.column_index().unwrap().iter().flatten();
    let pages = parquet.offset_index().unwrap().iter().map(|group| {
        let first_rows = |column: &parquet::file::page_index::offset_index::OffsetIndexMetaData| {
            column.page_locations.iter().map(|page| page.first_row_index).collect()
        };
        group.iter().map(first_rows).collect()
    });
    let columns = parquet.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = Arc::clone(builder.schema());
    let read: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    Content {
        rows: concat_batches(&schema, &read).unwrap(),
        group_rows: parquet.row_groups().iter().map(RowGroupMetaData::num_rows).collect(),
        index: index.map(|index| format!("{index:?}")).collect(),
        pages: pages.collect(),
        statistics: columns.map(|column| format!("{:?}", column.statistics())).collect(),
    }
}

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
        let (left, right) = (content(open(by_column)), content(open(&by_row)));
        assert_eq!(
            left.rows,
            rows.project(&(0..rows.num_columns() - 1).collect::<Vec<_>>()).unwrap()
        );
        assert_eq!(left.group_rows, right.group_rows);
        assert_eq!(left.statistics, right.statistics);
        for (left, right) in left.index.iter().zip(&right.index) {
            assert_eq!(bounds_of(left), bounds_of(right));
        }
    }
    let written_rows: u64 = written.iter().map(|file| file.data.rows).sum();
    assert_eq!(written_rows, all.num_rows() as u64);
}

/// Levels are counted by the library's writer alone; no reader of ours asks for them.
fn bounds_of(index: &str) -> &str {
    index.split("repetition_level_histograms").next().unwrap()
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
