//! What a query returned of a table, in the table's own types.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;

use super::EncodeError;

/// The rows of a table from the result of a query for all its columns: there texts are views, and from
/// a server ids are in hexadecimal.
pub fn of_table(table: Table, rows: &RecordBatch) -> Result<TableBatch, EncodeError> {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| {
        let missing = || ArrowError::SchemaError(format!("there is no column {}", field.name()));
        let column = rows.column_by_name(field.name()).ok_or_else(missing)?;
        stored(column, field.data_type())
    });
    columns
        .collect::<Result<Vec<_>, _>>()
        .and_then(|columns| RecordBatch::try_new(Arc::clone(&schema), columns))
        .map(|rows| TableBatch::new(table, rows))
        .map_err(|source| EncodeError::Columns { table: table.name(), source })
}

/// A column in the type that the table has.
fn stored(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), kind) {
        (DataType::Utf8, DataType::Binary) => from_hexadecimal(column),
        (DataType::List(_), DataType::List(element)) => {
            let list = column.as_list::<i32>();
            let values = stored(list.values(), element.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, values, nulls)?))
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let parts = column.as_struct();
            let columns = fields.iter().zip(parts.columns());
            let columns = columns.map(|(field, part)| stored(part, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, parts.nulls().cloned())?))
        }
        _ => cast(column, kind),
    }
}

fn from_hexadecimal(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let bytes = column.as_string::<i32>().iter().map(|text| text.map(decode).transpose());
    Ok(Arc::new(bytes.collect::<Result<BinaryArray, _>>()?))
}

fn decode(text: &str) -> Result<Vec<u8>, ArrowError> {
    let wrong = || ArrowError::CastError(format!("{text:?} is not hexadecimal"));
    let (pairs, rest) = text.as_bytes().as_chunks();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    let bytes = pairs.iter().map(byte).collect::<Option<Vec<_>>>();
    bytes.filter(|_| rest.is_empty()).ok_or_else(wrong)
}
