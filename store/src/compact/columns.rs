//! The columns of sorted files, one after the other, merged in an order that is known.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Encoding;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use crate::parquet_writer::{ColumnPart, WriteError};
use crate::schema::Column;
use crate::snapshot::DataFile;
use crate::text_column::folded_type;

/// Rows of a file that are read at once.
const READ_ROWS_MAX: usize = 8_192;
/// Fewer than that where rows are large.
const READ_BYTES: u64 = 256 << 10;
const READ_ROWS_MIN: u64 = 64;

/// A file whose columns are read.
pub(super) struct Source {
    pub(super) file: DataFile,
    content: File,
    metadata: ArrowReaderMetadata,
}

impl Source {
    pub(super) fn open(file: DataFile, content: File) -> Result<Self, WriteError> {
        let metadata = ArrowReaderMetadata::load(&content, ArrowReaderOptions::new())?;
        Ok(Self { file, content, metadata })
    }

    /// A reader of some of its columns.
    pub(super) fn reader(&self, columns: &[&str]) -> Result<ParquetRecordBatchReader, WriteError> {
        let known = columns.iter().filter_map(|name| self.position(name));
        self.reader_of(self.metadata.clone(), known.collect(), READ_ROWS_MAX)
    }

    /// A column from its first row to its last.
    pub(super) fn column(&self, column: &'static Column) -> Result<ColumnRows<'_>, WriteError> {
        let path = self.file.path.as_str();
        let Some(position) = self.position(column.name) else {
            return Ok(ColumnRows { path, column, reader: None, rows: None });
        };
        let mut metadata = self.metadata.clone();
        if column.kind.is_texts() {
            let schema = self.folded_schema(position);
            let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
        }
        let bytes = self.chunks(position).map(|(_, chunk)| chunk.uncompressed_size()).sum::<i64>();
        let row_bytes = bytes.unsigned_abs() / self.file.rows.max(1);
        let rows = (READ_BYTES / row_bytes.max(1)).max(READ_ROWS_MIN);
        let rows = usize::try_from(rows).unwrap_or(usize::MAX).min(READ_ROWS_MAX);
        let reader = self.reader_of(metadata, vec![position], rows)?;
        Ok(ColumnRows { path, column, reader: Some(reader), rows: None })
    }

    fn reader_of(
        &self,
        metadata: ArrowReaderMetadata,
        positions: Vec<usize>,
        rows: usize,
    ) -> Result<ParquetRecordBatchReader, WriteError> {
        let content = self.content.try_clone()?;
        let wanted = ProjectionMask::roots(metadata.parquet_schema(), positions);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(content, metadata);
        Ok(builder.with_projection(wanted).with_batch_size(rows).build()?)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.metadata.schema().index_of(name).ok()
    }

    /// The columns of Parquet that a column is made of, by row group, with their names.
    fn chunks(&self, position: usize) -> impl Iterator<Item = (&str, &ColumnChunkMetaData)> {
        let schema = self.metadata.parquet_schema();
        let groups = self.metadata.metadata().row_groups().iter().map(RowGroupMetaData::columns);
        groups.flat_map(move |columns| {
            let columns = columns.iter().enumerate();
            let of_column =
                columns.filter(move |(leaf, _)| schema.get_column_root_idx(*leaf) == position);
            of_column.map(|(_, chunk)| (chunk.column_descr().name(), chunk))
        })
    }

    /// The schema of the file, where what has a dictionary in all row groups comes with it: each text once.
    fn folded_schema(&self, position: usize) -> Schema {
        let is_folded = |leaf: &str| {
            let mut chunks = self.chunks(position).filter(|(name, _)| *name == leaf);
            chunks.all(|(_, chunk)| {
                let pages = chunk.page_encoding_stats_mask();
                pages.is_some_and(|pages| pages.is_only(Encoding::RLE_DICTIONARY))
            })
        };
        let schema = self.metadata.schema();
        let fields = schema.fields().iter().enumerate().map(|(at, field)| {
            if at != position {
                return Arc::clone(field);
            }
            let folded = folded(field.name(), field.data_type(), &is_folded);
            Arc::new(field.as_ref().clone().with_data_type(folded))
        });
        Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
    }
}

/// The type with dictionaries in place of those of its texts that have one.
fn folded(name: &str, data_type: &DataType, is_folded: &dyn Fn(&str) -> bool) -> DataType {
    let inside = |field: &Arc<Field>| {
        let folded = folded(field.name(), field.data_type(), is_folded);
        Arc::new(field.as_ref().clone().with_data_type(folded))
    };
    match data_type {
        DataType::Utf8 if is_folded(name) => folded_type(data_type),
        DataType::Map(entries, is_sorted) => DataType::Map(inside(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        other => other.clone(),
    }
}

/// The type with texts in place of dictionaries of them.
fn unfolded(data_type: &DataType) -> DataType {
    let inside = |field: &Arc<Field>| {
        let unfolded = unfolded(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(unfolded))
    };
    match data_type {
        DataType::Dictionary(_, texts) => texts.as_ref().clone(),
        DataType::Map(entries, is_sorted) => DataType::Map(inside(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        other => other.clone(),
    }
}

/// A column of a file on its way.
pub(super) struct ColumnRows<'a> {
    path: &'a str,
    column: &'static Column,
    /// None where the file does not have the column: it is null there.
    reader: Option<ParquetRecordBatchReader>,
    /// What was read and not taken.
    rows: Option<ArrayRef>,
}

impl ColumnRows<'_> {
    /// Adds the next rows, so many, in as many arrays as they were read.
    fn take(&mut self, mut count: usize, taken: &mut Vec<ArrayRef>) -> Result<(), WriteError> {
        while count > 0 {
            let rows = match self.rows.take() {
                Some(rows) => rows,
                None => self.read(count)?,
            };
            if rows.len() > count {
                self.rows = Some(rows.slice(count, rows.len() - count));
                taken.push(rows.slice(0, count));
                return Ok(());
            }
            count -= rows.len();
            taken.push(rows);
        }
        Ok(())
    }

    fn read(&mut self, wanted: usize) -> Result<ArrayRef, WriteError> {
        let (path, Column { name, kind, nullable, .. }) = (self.path, self.column);
        let rows = match &mut self.reader {
            None => new_null_array(&kind.data_type(), wanted),
            Some(reader) => {
                let ended = || ArrowError::ParquetError(format!("{name} of {path} ends too early"));
                let rows = reader.next().ok_or_else(ended)??;
                self.as_declared(rows.column(0))?
            }
        };
        if !nullable && rows.null_count() > 0 {
            let missing = format!("{name} of {path} has rows without a value, which it must not");
            return Err(ArrowError::InvalidArgumentError(missing).into());
        }
        Ok(rows)
    }

    /// In the type of today; texts may be there once for all rows that have them.
    fn as_declared(&self, rows: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let declared = self.column.kind.data_type();
        let is_as_declared = unfolded(rows.data_type()) == declared;
        if is_as_declared { Ok(Arc::clone(rows)) } else { cast(rows, &declared) }
    }
}

/// The next rows of a column of several files, given of each row of the merged file from which of them it is.
pub(super) fn gather(files: &mut [ColumnRows<'_>], from: &[u8]) -> Result<ColumnPart, WriteError> {
    let mut counts = vec![0; files.len()];
    for file in from {
        counts[usize::from(*file)] += 1;
    }
    let mut arrays = Vec::new();
    let mut next = Vec::with_capacity(files.len());
    for (file, count) in files.iter_mut().zip(counts) {
        next.push((arrays.len(), 0));
        file.take(count, &mut arrays)?;
    }
    let lengths: Vec<_> = arrays.iter().map(Array::len).collect();
    let rows = from.iter().map(|file| {
        let (array, row) = &mut next[usize::from(*file)];
        if *row == lengths[*array] {
            (*array, *row) = (*array + 1, 0);
        }
        *row += 1;
        (*array, *row - 1)
    });
    Ok(ColumnPart { rows: rows.collect(), arrays })
}

#[cfg(test)]
mod tests;
