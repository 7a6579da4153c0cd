//! Rows of files in some minutes, without the rest of the files.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;
use foldhash::fast::RandomState;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
    RowFilter,
};
use parquet::file::metadata::PageIndexPolicy;

use crate::compact::local_copy;
use crate::parquet_writer::WriteError;
use crate::place::Place;
use crate::schema::{Kind, Table};
use crate::snapshot::{Bound, DataFile};
use crate::trace_index::trace_key;

/// Rows that are read at a time.
const BATCH_ROWS: usize = 8_192;
const MICROS_PER_MINUTE: i64 = 60_000_000;
const MINUTES_PER_DAY: i64 = 24 * 60;

/// Minutes, counted since 1970.
pub(super) type Minutes = BTreeSet<i64>;
/// Traces, by [`trace_key`].
pub(super) type Traces = HashSet<u128, RandomState>;

/// The minute of an instant in nanoseconds.
pub(super) fn minute_of(nanos: i64) -> i64 {
    nanos.div_euclid(1_000).div_euclid(MICROS_PER_MINUTE)
}

/// The first and the last minute of a file; of its whole day where the log does not say.
pub(super) fn minutes_of(file: &DataFile) -> (i64, i64) {
    let day = i64::from(file.date) * MINUTES_PER_DAY;
    let time = file.statistics.get("time");
    let minute = |bound: Option<&Bound>| match bound {
        Some(Bound::Int(micros)) => Some(micros.div_euclid(MICROS_PER_MINUTE)),
        _ => None,
    };
    let first = minute(time.and_then(|time| time.min.as_ref())).unwrap_or(day);
    let last = minute(time.and_then(|time| time.max.as_ref())).unwrap_or(day + MINUTES_PER_DAY - 1);
    (first, last)
}

/// Whether a file may have rows in these minutes.
pub(super) fn overlaps(file: &DataFile, minutes: &Minutes) -> bool {
    let (first, last) = minutes_of(file);
    first <= last && minutes.range(first..=last).next().is_some()
}

/// Which rows are wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Those of these minutes,
    pub(super) minutes: Arc<Minutes>,
    /// and of these traces, where some are given.
    pub(super) traces: Option<Arc<Traces>>,
}

impl Wanted {
    /// What traces have in these minutes.
    pub(super) fn new(minutes: Minutes, traces: Traces) -> Self {
        Self { minutes: Arc::new(minutes), traces: Some(Arc::new(traces)) }
    }

    /// All of these minutes.
    pub(super) fn all_of(minutes: &Minutes) -> Self {
        Self { minutes: Arc::new(minutes.clone()), traces: None }
    }
}

/// A file of a table, or a copy of it on the local disk.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) table: Table,
    pub(crate) data: DataFile,
    content: File,
}

/// Opens files of a table.
pub(super) async fn open(
    place: &Place,
    table: Table,
    files: Vec<DataFile>,
) -> Result<Vec<OpenFile>, WriteError> {
    let mut opened = Vec::with_capacity(files.len());
    for data in files {
        let content = local_copy(place, &data).await?;
        opened.push(OpenFile::new(table, data, content));
    }
    Ok(opened)
}

impl OpenFile {
    /// The file itself.
    pub(crate) fn content(&self) -> Result<File, WriteError> {
        Ok(self.content.try_clone()?)
    }

    /// A file, or a copy of it, that is open already.
    pub(crate) fn new(table: Table, data: DataFile, content: File) -> Self {
        Self { table, data, content }
    }

    /// Some columns of all rows, in the table's types; null where the file does not have them.
    pub(crate) fn columns(
        &self,
        columns: &'static [&'static str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch, WriteError>> + '_, WriteError> {
        self.read(columns, None)
    }

    /// Some columns of the rows that are wanted.
    pub(super) fn wanted(
        &self,
        columns: &[&'static str],
        wanted: &Wanted,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, WriteError>> + '_, WriteError> {
        self.read(columns, Some(wanted))
    }

    fn read(
        &self,
        columns: &[&'static str],
        wanted: Option<&Wanted>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, WriteError>> + '_, WriteError> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let builder =
            ParquetRecordBatchReaderBuilder::try_new_with_options(self.content()?, options)?;
        let mask = |names: &[&str]| {
            ProjectionMask::columns(builder.parquet_schema(), names.iter().copied())
        };
        let mut predicates = Vec::<Box<dyn ArrowPredicate>>::new();
        if let Some(wanted) = wanted {
            let minutes = Arc::clone(&wanted.minutes);
            let is_in = move |rows: RecordBatch| in_minutes(rows.column(0), &minutes);
            predicates.push(Box::new(ArrowPredicateFn::new(mask(&["time"]), is_in)));
            if let Some(traces) = wanted.traces.clone() {
                let is_of = move |rows: RecordBatch| of_traces(rows.column(0), &traces);
                predicates.push(Box::new(ArrowPredicateFn::new(mask(&["trace_id"]), is_of)));
            }
        }
        let mask = mask(columns);
        let reader = builder
            .with_projection(mask)
            .with_row_filter(RowFilter::new(predicates))
            .with_batch_size(BATCH_ROWS)
            .build()?;
        let schema = projected(self.table, columns)?;
        Ok(reader.map(move |rows| Ok(in_schema(&schema, &rows?, self.data.date)?)))
    }
}

/// The minute of each row, by its `time`.
pub(super) fn row_minutes(rows: &RecordBatch) -> Option<Vec<i64>> {
    let times = rows.column_by_name("time")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(times.values().iter().map(|micros| micros.div_euclid(MICROS_PER_MINUTE)).collect())
}

fn in_minutes(times: &ArrayRef, minutes: &Minutes) -> Result<BooleanArray, ArrowError> {
    let times = cast(times, &Kind::Time.data_type())?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let minute = |micros: &i64| minutes.contains(&micros.div_euclid(MICROS_PER_MINUTE));
    Ok(times.values().iter().map(|micros| Some(minute(micros))).collect())
}

fn of_traces(ids: &ArrayRef, traces: &Traces) -> Result<BooleanArray, ArrowError> {
    let ids = cast(ids, &DataType::Binary)?;
    let ids = ids.as_binary::<i32>();
    Ok(ids.iter().map(|id| Some(id.is_some_and(|id| traces.contains(&trace_key(id))))).collect())
}

fn projected(table: Table, columns: &[&str]) -> Result<Arc<Schema>, ArrowError> {
    let schema = table.schema();
    let places = columns.iter().map(|name| schema.index_of(name));
    Ok(Arc::new(schema.project(&places.collect::<Result<Vec<_>, _>>()?)?))
}

fn in_schema(
    schema: &Arc<Schema>,
    rows: &RecordBatch,
    date: i32,
) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, ArrowError> {
        match rows.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None if field.name() == "date" => {
                Ok(Arc::new(arrow::array::Date32Array::from_value(date, rows.num_rows())))
            }
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<_>, _>>()?)
}
