//! Rows of any table for tests of writers, and what a reader gets from the files.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};

use crate::schema::{Kind, Table};
use crate::testing::plain;

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
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) batches: usize,
    pub(crate) rows: usize,
    /// Distinct texts.
    pub(crate) texts: u64,
    /// Characters that a text has beside its number.
    pub(crate) longer_by: usize,
    pub(crate) attributes_max: u64,
}

/// Rows of a table with texts and attributes of this shape.
pub(crate) fn rows(table: Table, shape: Shape) -> Vec<RecordBatch> {
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
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) rows: RecordBatch,
    group_rows: Vec<i64>,
    /// Of each page of each column of texts that has an index: bounds and missing values.
    index: Vec<String>,
    statistics: Vec<String>,
}

pub(crate) fn content(file: File) -> Content {
    let metadata = {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        ArrowReaderMetadata::load(&file, options).unwrap()
    };
    let parquet = metadata.metadata();
    let index = parquet.column_index().unwrap().iter().flatten();
    let columns = parquet.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    // What a file has beside its rows is metadata of their schema.
    let schema = Arc::new(Schema::new(builder.schema().fields().clone()));
    let read: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    Content {
        rows: concat_batches(&schema, &read).unwrap(),
        group_rows: parquet.row_groups().iter().map(RowGroupMetaData::num_rows).collect(),
        index: index.map(|index| format!("{index:?}")).collect(),
        statistics: columns.map(|column| format!("{:?}", column.statistics())).collect(),
    }
}

impl Content {
    /// Fails where another file has other rows, row groups, statistics or bounds of pages.
    pub(crate) fn assert_same(&self, other: &Self) {
        assert_eq!(self.rows, other.rows);
        assert_eq!(self.group_rows, other.group_rows);
        assert_eq!(self.statistics, other.statistics);
        assert_eq!(self.index.len(), other.index.len());
        for (left, right) in self.index.iter().zip(&other.index) {
            assert_eq!(bounds_of(left), bounds_of(right));
        }
    }
}

/// Levels are counted by the library's writer alone; no reader of ours asks for them.
fn bounds_of(index: &str) -> &str {
    index.split("repetition_level_histograms").next().unwrap()
}
