//! The same rows in memory, in files, or half and half.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use upriver_store::batch::TableBatch;
use upriver_store::place::Place;
use upriver_store::schema::{Kind, Table};
use upriver_store::snapshot::{Bound, ColumnStatistics, DataFile, Snapshot, TableSnapshot};

/// Where the rows of a snapshot lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Hot,
    Committed,
    /// Committed, and minutes of spans are not stored.
    Sparse,
    Half,
}

impl Layout {
    fn is_committed(self, number: usize) -> bool {
        match self {
            Self::Hot => false,
            Self::Committed | Self::Sparse => true,
            Self::Half => number.is_multiple_of(2),
        }
    }
}

/// A snapshot of the batches, each committed one in files of its own below `data`.
pub(crate) fn snapshot(batches: &[TableBatch], layout: Layout, data: &Path) -> Snapshot {
    place(batches, layout, data, None)
}

/// A snapshot of committed files that were written before there was a column.
pub(crate) fn snapshot_without(batches: &[TableBatch], column: &str, data: &Path) -> Snapshot {
    place(batches, Layout::Committed, data, Some(column))
}

fn place(batches: &[TableBatch], layout: Layout, data: &Path, missing: Option<&str>) -> Snapshot {
    let mut tables = BTreeMap::<Table, (Vec<DataFile>, Vec<RecordBatch>)>::new();
    let mut numbers = BTreeMap::<Table, usize>::new();
    let batches = batches.iter().map(|batch| match layout {
        Layout::Sparse => without_minutes_of_spans(batch),
        _ => batch.clone(),
    });
    for batch in batches.filter(|batch| batch.rows.num_rows() > 0) {
        let number = numbers.entry(batch.table).or_default();
        let (files, hot) = tables.entry(batch.table).or_default();
        if layout.is_committed(*number) {
            let mut written = commit(&batch, *number, data, missing);
            for file in &mut written {
                file.without_minutes = layout == Layout::Sparse && batch.table == Table::Spans;
            }
            files.extend(written);
        } else {
            hot.push(batch.rows.clone());
        }
        *number += 1;
    }
    Snapshot::new(tables.into_iter().map(|(table, (files, hot))| {
        (table, TableSnapshot { place: Some(place_of(data)), files: Arc::new(files), hot })
    }))
}

/// Minutes without those that count spans.
fn without_minutes_of_spans(batch: &TableBatch) -> TableBatch {
    let rows = match batch.rows.column_by_name("span_count") {
        Some(counts) if batch.table.is_made_of_spans() => {
            let counts = counts.as_primitive::<Int64Type>();
            let is_kept = counts.iter().map(|count| Some(count == Some(0))).collect();
            filter_record_batch(&batch.rows, &is_kept).unwrap()
        }
        _ => batch.rows.clone(),
    };
    TableBatch::new(batch.table, rows)
}

fn place_of(data: &Path) -> Place {
    Place::folder(&data.join("default"), false).unwrap()
}

/// Writes the rows of each day to a file, without the partition column.
fn commit(batch: &TableBatch, number: usize, data: &Path, missing: Option<&str>) -> Vec<DataFile> {
    let dates = batch.rows.column_by_name("date").unwrap().as_primitive::<Date32Type>();
    let mut days = BTreeMap::<i32, Vec<u32>>::new();
    for (row, date) in dates.values().iter().enumerate() {
        days.entry(*date).or_default().push(u32::try_from(row).unwrap());
    }
    days.into_iter()
        .map(|(date, indices)| {
            let rows = take_record_batch(&batch.rows, &UInt32Array::from(indices)).unwrap();
            let path = format!("date={date}/part-{number:04}.parquet");
            write_file(
                batch.table,
                &without(&rows, &["date", missing.unwrap_or_default()]),
                &path,
                date,
                data,
            )
        })
        .collect()
}

fn without(rows: &RecordBatch, columns: &[&str]) -> RecordBatch {
    let schema = rows.schema();
    let kept = schema.fields().iter().enumerate();
    let kept = kept.filter(|(_, field)| !columns.contains(&field.name().as_str()));
    rows.project(&kept.map(|(i, _)| i).collect::<Vec<_>>()).unwrap()
}

fn write_file(table: Table, inside: &RecordBatch, path: &str, date: i32, data: &Path) -> DataFile {
    let full = place_of(data).child(table.folder()).local().unwrap().join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_column_bloom_filter_enabled("trace_id".into(), true)
        .set_column_bloom_filter_max_ndv("trace_id".into(), 1000)
        .build();
    let file = File::create(&full).unwrap();
    let mut writer = ArrowWriter::try_new(file, inside.schema(), Some(properties)).unwrap();
    writer.write(inside).unwrap();
    writer.close().unwrap();
    DataFile {
        path: path.to_owned(),
        size_bytes: full.metadata().unwrap().len(),
        rows: inside.num_rows() as u64,
        date,
        written_unix_ms: 0,
        committed_as: None,
        without_minutes: false,
        statistics: Arc::new(statistics(table, inside)),
    }
}

fn statistics(table: Table, rows: &RecordBatch) -> BTreeMap<String, ColumnStatistics> {
    let columns = table.columns().iter().filter(|column| column.name != "date");
    let known = columns.filter_map(|column| {
        let array = rows.column_by_name(column.name)?;
        let (min, max) = bounds(column.kind, array)?;
        let null_count = Some(array.null_count() as u64);
        Some((column.name.to_owned(), ColumnStatistics { min, max, null_count }))
    });
    known.collect()
}

fn bounds(kind: Kind, array: &dyn Array) -> Option<(Option<Bound>, Option<Bound>)> {
    let integers = match kind {
        Kind::Int => array.as_primitive::<Int64Type>().iter().flatten().collect::<Vec<_>>(),
        Kind::Time => array.as_primitive::<TimestampMicrosecondType>().values().to_vec(),
        Kind::Text => {
            let texts: Vec<_> = array.as_string::<i32>().iter().flatten().collect();
            let bound = |text: Option<&&str>| text.map(|text| Bound::Text((*text).to_owned()));
            return Some((bound(texts.iter().min()), bound(texts.iter().max())));
        }
        _ => return None,
    };
    Some((
        integers.iter().min().map(|v| Bound::Int(*v)),
        integers.iter().max().map(|v| Bound::Int(*v)),
    ))
}
