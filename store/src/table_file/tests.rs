use std::io::{Seek, SeekFrom, Write};

use arrow::array::{AsArray, BinaryArray, Date32Array, Int64Array, StringArray, StructArray};
use parquet::file::properties::WriterProperties;

use super::*;
use crate::rollup::operation_minutes;
use crate::testing::{self, Span, spans};

fn some_spans() -> RecordBatch {
    spans(&[
        Span::new(1, 1, 1_700_000_000_000_000_001),
        Span { duration: 7, ..Span::new(1, 2, 20) },
    ])
}

fn written(table: Table, rows: &RecordBatch) -> File {
    let mut writer = TableFileWriter::create(tempfile::tempfile().unwrap(), table).unwrap();
    writer.write(rows).unwrap();
    assert_eq!(writer.rows(), rows.num_rows() as u64);
    writer.finish().unwrap()
}

/// Any rows as Parquet, as others write it.
fn foreign(rows: &RecordBatch) -> File {
    let properties = WriterProperties::builder().build();
    let file = tempfile::tempfile().unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.into_inner().unwrap()
}

fn read(file: File, table: Table) -> Result<Vec<RecordBatch>, TableFileError> {
    TableFileReader::open(file, table)?.collect()
}

#[track_caller]
fn refused(file: File, table: Table, expected: &str) {
    let error = read(file, table).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

/// The rows with other values in a column.
fn with(rows: &RecordBatch, column: &str, values: ArrayRef) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of(column).unwrap()] = values;
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

#[test]
fn rows_come_back_as_they_were() {
    let rows = some_spans();
    let found = read(written(Table::Spans, &rows), Table::Spans).unwrap();
    assert_eq!(found, std::slice::from_ref(&rows));
    let minutes = operation_minutes(&[rows]);
    let file = written(Table::OperationMinutes, &minutes);
    assert_eq!(read(file, Table::OperationMinutes).unwrap(), [minutes]);
}

#[test]
fn columns_of_later_versions_are_null_and_others_are_refused() {
    let rows = some_spans();
    let without = |name: &str| {
        let kept = (0..rows.num_columns()).filter(|i| rows.schema().field(*i).name() != name);
        rows.project(&kept.collect::<Vec<_>>()).unwrap()
    };
    let found = read(foreign(&without("callee_service")), Table::Spans).unwrap();
    assert_eq!(found, std::slice::from_ref(&rows), "it was null");
    refused(foreign(&without("span_id")), Table::Spans, "no column `span_id`");
    refused(foreign(&rows), Table::Logs, "no column");
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(arrow::datatypes::Field::new("shoe_size", DataType::Int64, true)));
    let columns = [rows.columns(), &[Arc::new(Int64Array::from(vec![42; 2])) as ArrayRef]].concat();
    let wider = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    refused(foreign(&wider), Table::Spans, "`shoe_size`");
    let texts = Arc::new(StringArray::from(vec!["1", "2"])) as ArrayRef;
    let schema = rows.schema();
    let fields = schema.fields().iter().map(|field| match field.name().as_str() {
        "duration_ns" => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        _ => Arc::clone(field),
    });
    let position = schema.index_of("duration_ns").unwrap();
    let mut columns = rows.columns().to_vec();
    columns[position] = texts;
    let other =
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap();
    refused(foreign(&other), Table::Spans, "`duration_ns` is Utf8, not Int64");
}

#[test]
fn columns_of_earlier_versions_are_passed_over() {
    let traces: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&[7; 16], &[8; 16]]));
    let sizes = testing::rows(Table::FormerPayloadSizes, 2, &[("trace_id", traces)]);
    let mut fields = sizes.schema().fields().to_vec();
    fields.push(Arc::new(arrow::datatypes::Field::new("parent_span_id", DataType::Int64, true)));
    let parents: ArrayRef = Arc::new(Int64Array::from(vec![Some(42), None]));
    let columns = [sizes.columns(), &[parents]].concat();
    let wider = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    assert_eq!(read(foreign(&wider), Table::FormerPayloadSizes).unwrap(), [sizes]);
}

#[test]
fn rows_that_no_decoder_gives_are_refused_by_number() {
    let rows = some_spans();
    let bad: [(&str, ArrayRef, &str); 5] = [
        ("date", Arc::new(Date32Array::from(vec![19_675, 1])), "row 2: `date` is not the day"),
        (
            "trace_id",
            Arc::new(BinaryArray::from_vec(vec![&[1; 16], &[1; 15]])),
            "row 2: a trace id has not 16 bytes",
        ),
        (
            "start_unix_nano",
            Arc::new(Int64Array::from(vec![1_700_000_000_000_001_000, 20])),
            "row 1: `time` is not the row's exact instant",
        ),
        ("duration_ns", Arc::new(Int64Array::from(vec![0, -1])), "row 2: a duration is negative"),
        ("self_time_ns", Arc::new(Int64Array::from(vec![None, Some(-1)])), "row 2: a duration"),
    ];
    for (column, values, expected) in bad {
        refused(foreign(&with(&rows, column, values)), Table::Spans, expected);
    }
    let nulls = spans(&[Span::new(1, 1, 1)]);
    let schema = nulls.schema();
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut columns = nulls.columns().to_vec();
    columns[schema.index_of("service_name").unwrap()] = new_null_array(&DataType::Utf8, 1);
    let nulls = RecordBatch::try_new(schema, columns).unwrap();
    refused(foreign(&nulls), Table::Spans, "not rows of the table");
    let minutes = operation_minutes(&[rows]);
    let durations = minutes.column_by_name("duration").unwrap().as_struct();
    let mut parts = durations.columns().to_vec();
    parts[0] = Arc::new(Int64Array::from(vec![-1; minutes.num_rows()]));
    let broken = StructArray::new(durations.fields().clone(), parts, None);
    let minutes = with(&minutes, "duration", Arc::new(broken));
    refused(foreign(&minutes), Table::OperationMinutes, "row 1: a histogram cannot be read");
}

#[test]
fn a_file_that_is_cut_off_or_changed_never_panics() {
    let mut file = written(Table::Spans, &some_spans());
    let length = file.seek(SeekFrom::End(0)).unwrap();
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    file.seek(SeekFrom::Start(0)).unwrap();
    std::io::Read::read_exact(&mut file, &mut bytes).unwrap();
    let of = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    };
    for end in (0..bytes.len()).step_by(97) {
        refused(of(&bytes[..end]), Table::Spans, "not a whole Parquet file");
    }
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        refused += usize::from(read(of(&changed), Table::Spans).is_err());
    }
    assert!(refused > 100, "{refused}");
}
