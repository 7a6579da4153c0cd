//! The values of a result as people and programs expect them.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::json::WriterBuilder;

use crate::hex;

/// The batches with ids as hexadecimal text, instants in UTC, and every column name once.
pub(super) fn all(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>, ArrowError> {
    batches.iter().map(present).collect()
}

fn present(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut names = HashSet::new();
    let schema = batch.schema();
    let mut fields = Vec::with_capacity(schema.fields().len());
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let column = shown(column)?;
        let name = unique(field.name(), &mut names);
        fields.push(Field::new(name, column.data_type().clone(), field.is_nullable()));
        columns.push(column);
    }
    with_columns(batch, fields, columns)
}

/// Two columns may have one name, as in `SELECT a.time, b.time`; an object has it once.
fn unique(name: &str, names: &mut HashSet<String>) -> String {
    let numbered = (1..).map(|n| if n == 1 { name.to_owned() } else { format!("{name}_{n}") });
    let free = numbered.into_iter().find(|candidate| !names.contains(candidate));
    let free = free.unwrap_or_else(|| name.to_owned());
    names.insert(free.clone());
    free
}

fn shown(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let binary = cast(column, &DataType::BinaryView)?;
            let texts = binary.as_binary_view().iter().map(|bytes| bytes.map(hex::encode));
            Ok(Arc::new(texts.collect::<StringArray>()))
        }
        // Without a zone it is in the session's, which is UTC.
        DataType::Timestamp(unit, _) => {
            cast(column, &DataType::Timestamp(*unit, Some("UTC".into())))
        }
        DataType::List(element) => {
            let list = column.as_list::<i32>();
            let values = shown(list.values())?;
            let element = Field::new(element.name(), values.data_type().clone(), true);
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::new(element), offsets, values, nulls)?))
        }
        DataType::Struct(fields) => {
            let parts = column.as_struct();
            let columns: Vec<_> = parts.columns().iter().map(shown).collect::<Result<_, _>>()?;
            let fields = fields.iter().zip(&columns).map(|(field, column)| {
                Field::new(field.name(), column.data_type().clone(), field.is_nullable())
            });
            let fields = fields.collect::<Vec<_>>().into();
            Ok(Arc::new(StructArray::try_new(fields, columns, parts.nulls().cloned())?))
        }
        _ => Ok(Arc::clone(column)),
    }
}

/// Lists, maps and structs as JSON text, for formats that have none.
pub(super) fn nested_as_json(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(Arc::new(json_texts(column)?));
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    with_columns(batch, fields, columns)
}

/// Each value of a column as JSON text; null stays null.
fn json_texts(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    const BEFORE: &str = "{\"v\":";
    let field = Field::new("v", column.data_type().clone(), true);
    let single =
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::clone(column)])?;
    let mut lines = Vec::new();
    let mut writer: LineDelimitedWriter<_> =
        WriterBuilder::new().with_explicit_nulls(true).build(&mut lines);
    writer.write(&single)?;
    writer.finish()?;
    drop(writer);
    let lines = String::from_utf8_lossy(&lines);
    let values = lines.lines().enumerate().map(|(row, line)| {
        let value = line.strip_prefix(BEFORE)?.strip_suffix('}')?;
        column.is_valid(row).then_some(value)
    });
    Ok(values.collect())
}

fn with_columns(
    batch: &RecordBatch,
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}
