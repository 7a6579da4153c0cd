//! Rows that the service itself writes (findings, diagnoses) as a logged record, kind 0.
//!
//! For every batch: the table's name (one byte of length, then UTF-8), the length of the rows
//! (4 bytes, little-endian), then the rows as an Arrow IPC stream.

use std::fmt::Display;
use std::io::Cursor;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::{Buf, Bytes};

use crate::batch::TableBatch;
use crate::record::DecodeFailure;
use crate::schema::Table;

/// The kind of such records.
pub(crate) const KIND: u8 = 0;

/// The rows as the payload of a record.
pub(crate) fn encode(batches: &[TableBatch]) -> Result<Bytes, ArrowError> {
    let mut out = Vec::new();
    for TableBatch { table, rows } in batches {
        let name = table.name();
        out.push(
            u8::try_from(name.len()).map_err(|error| ArrowError::IpcError(error.to_string()))?,
        );
        out.extend_from_slice(name.as_bytes());
        let mut stream = Vec::new();
        let mut writer = StreamWriter::try_new(&mut stream, &rows.schema())?;
        writer.write(rows)?;
        writer.finish()?;
        drop(writer);
        let length = u32::try_from(stream.len());
        let length = length.map_err(|error| ArrowError::IpcError(error.to_string()))?;
        out.extend_from_slice(&length.to_le_bytes());
        out.append(&mut stream);
    }
    Ok(out.into())
}

/// The rows of such a payload.
pub(crate) fn decode(payload: &Bytes) -> Result<Vec<TableBatch>, DecodeFailure> {
    let mut rest = payload.clone();
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let name_bytes = take(&mut rest, 1)?.get_u8();
        let name = take(&mut rest, name_bytes.into())?;
        let name = std::str::from_utf8(&name).map_err(failure)?;
        let table = Table::from_folder(name)
            .ok_or_else(|| DecodeFailure(format!("there is no table {name:?}")))?;
        let stream_bytes = take(&mut rest, 4)?.get_u32_le();
        let stream = take(&mut rest, stream_bytes as usize)?;
        for rows in StreamReader::try_new(Cursor::new(stream), None).map_err(failure)? {
            let rows = rows.map_err(failure)?;
            check_schema(table, &rows.schema())?;
            batches.push(TableBatch::new(table, rows));
        }
    }
    Ok(batches)
}

fn check_schema(table: Table, found: &SchemaRef) -> Result<(), DecodeFailure> {
    if found.fields() == table.schema().fields() {
        return Ok(());
    }
    Err(DecodeFailure(format!("the rows have other columns than the table {}", table.name())))
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, DecodeFailure> {
    if rest.len() < length {
        return Err(DecodeFailure("the record is cut off".to_owned()));
    }
    Ok(rest.split_to(length))
}

fn failure(error: impl Display) -> DecodeFailure {
    DecodeFailure(error.to_string())
}
