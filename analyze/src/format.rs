//! Results as bytes: JSON, JSON lines, CSV, an Arrow stream, Parquet, and a table for terminals.
//!
//! All of them show the same values: binary ids as hexadecimal text, instants in UTC with `Z`, 64-bit
//! integers exact.

mod present;
mod text_table;

use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::WriterBuilder as JsonBuilder;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited};
use datafusion::error::DataFusionError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::QueryError;

#[cfg(test)]
mod tests;

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An array of row objects.
    Json,
    /// One row object per line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
    /// A table for terminals.
    Table,
}

impl Format {
    /// Every format, in the order in which messages name them.
    pub const ALL: [Self; 6] =
        [Self::Json, Self::Jsonl, Self::Csv, Self::Arrow, Self::Parquet, Self::Table];

    /// The format's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
            Self::Table => "table",
        }
    }

    /// The media type of the format.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Jsonl => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Table => "text/plain; charset=utf-8",
        }
    }
}

impl FromStr for Format {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, QueryError> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            QueryError::sql(format!("{name:?} is no format: use one of {names}"))
        })
    }
}

/// Writes the batches of one result, at least one of them.
pub fn write(
    format: Format,
    batches: &[RecordBatch],
    out: &mut dyn Write,
) -> Result<(), QueryError> {
    let shown = present::all(batches).map_err(failure)?;
    let written = match format {
        Format::Json => write_json::<JsonArray>(&shown, out),
        Format::Jsonl => write_json::<LineDelimited>(&shown, out),
        Format::Csv => write_csv(&shown, out),
        Format::Arrow => write_arrow(&shown, out),
        Format::Parquet => write_parquet(&shown, out),
        Format::Table => text_table::write(&shown, out),
    };
    written.map_err(failure)
}

/// An array of row objects.
pub fn json(batches: &[RecordBatch], out: &mut dyn Write) -> Result<(), QueryError> {
    write(Format::Json, batches, out)
}

/// One row object per line.
pub fn jsonl(batches: &[RecordBatch], out: &mut dyn Write) -> Result<(), QueryError> {
    write(Format::Jsonl, batches, out)
}

/// Comma-separated values with a header; nested values are JSON text.
pub fn csv(batches: &[RecordBatch], out: &mut dyn Write) -> Result<(), QueryError> {
    write(Format::Csv, batches, out)
}

/// A table for terminals, free of control characters.
pub fn table(batches: &[RecordBatch], out: &mut dyn Write) -> Result<(), QueryError> {
    write(Format::Table, batches, out)
}

/// A writer's error; the own one of [`LimitedBuffer`] comes back out of it.
fn failure(error: ArrowError) -> QueryError {
    if error.to_string().contains(TOO_LONG) {
        let message = format!(
            "the result has more than {} MiB: aggregate, choose columns, narrow the time window or add LIMIT",
            RESULT_BYTES_MAX >> 20
        );
        return QueryError::TooLarge { message };
    }
    QueryError::from(DataFusionError::from(error))
}

/// Bytes of a result held in memory before they are sent: results are read by people and dashboards,
/// larger ones are exports, for which the Parquet files themselves are better.
pub const RESULT_BYTES_MAX: usize = 256 << 20;
const TOO_LONG: &str = "the result is too long";

/// A buffer that takes [`RESULT_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub struct LimitedBuffer {
    bytes: Vec<u8>,
}

impl LimitedBuffer {
    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Write for LimitedBuffer {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + part.len() > RESULT_BYTES_MAX {
            return Err(std::io::Error::other(TOO_LONG));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn write_json<F: JsonFormat>(
    batches: &[RecordBatch],
    out: &mut dyn Write,
) -> Result<(), ArrowError> {
    let mut writer = JsonBuilder::new().with_explicit_nulls(true).build::<_, F>(&mut *out);
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(())
}

fn write_csv(batches: &[RecordBatch], out: &mut dyn Write) -> Result<(), ArrowError> {
    let mut writer = CsvBuilder::new().with_header(true).build(&mut *out);
    for batch in batches {
        writer.write(&present::nested_as_json(batch)?)?;
    }
    Ok(())
}

fn write_arrow(batches: &[RecordBatch], out: &mut dyn Write) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(&mut *out, &schema_of(batches))?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}

fn write_parquet(batches: &[RecordBatch], out: &mut dyn Write) -> Result<(), ArrowError> {
    // ArrowWriter takes only writers that may go to another thread.
    let mut file = LimitedBuffer::default();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(&mut file, schema_of(batches), Some(properties))?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.close()?;
    out.write_all(&file.into_bytes())?;
    Ok(())
}

fn schema_of(batches: &[RecordBatch]) -> SchemaRef {
    batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema)
}
