//! A sorted file whose columns come one after the other, each with all of its rows: what compaction writes.
//!
//! A Parquet file has one row group after the other, so columns wait in a [`Spool`] until all are there. In
//! memory is what one column of one row group takes.

use std::io;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::Chunk;
use super::column::{ColumnRows, Encoded, encoded_texts};
use super::distinct::Order;
use super::spool::{Spool, Spooled};
use super::{PAGE_ROWS, RowAt, Target, WriteError, Writing, WrittenFile, group_rows, properties};
use crate::delta::statistics::RowStatistics;
use crate::place::Place;
use crate::schema::{Kind, Table};
use crate::trace_pages::TracePages;

/// Texts of a column that are in memory at once, of all rows of a row group. (Tests have few rows.)
const TEXT_BYTES_MAX: usize = if cfg!(test) { 4 << 20 } else { 32 << 20 };

/// A file on its way. Each of its row groups takes the columns in the table's order.
pub(crate) struct MergedFile {
    table: Table,
    rows: usize,
    schema: SchemaRef,
    leaves: Vec<Vec<ColumnDescPtr>>,
    properties: WriterProperties,
    statistics: RowStatistics,
    /// Of spans.
    trace_pages: Option<TracePages>,
    spool: Spool,
    /// What is there of each row group.
    groups: Vec<Vec<Waiting>>,
}

/// A column of a row group.
enum Waiting {
    /// Texts: all of its bytes wait as one.
    Texts(Spooled, ColumnCloseResult),
    /// Another: each of its pages waits.
    Pages(Encoded),
}

/// Rows of a column, from several files; texts may be there once for all rows that have them.
#[derive(Debug, Default)]
pub(crate) struct ColumnPart {
    pub(crate) arrays: Vec<ArrayRef>,
    /// Where each row is, in the table's order. Those of an array stand in the array's order.
    pub(crate) rows: Vec<RowAt>,
}

impl ColumnPart {
    /// Rows that follow each other.
    fn of(parts: Vec<Self>) -> Self {
        let mut all = Self::default();
        for part in parts {
            let before = all.arrays.len();
            all.arrays.extend(part.arrays);
            all.rows.extend(part.rows.into_iter().map(|(array, row)| (before + array, row)));
        }
        all
    }

    /// What its texts take, or where they are.
    fn text_bytes(&self) -> usize {
        self.arrays.iter().map(text_bytes).sum()
    }
}

/// What the texts of a column take that are there for each row, and the places of those that are there once.
fn text_bytes(array: &ArrayRef) -> usize {
    let span = |ends: &[i32]| match ends {
        [first, .., last] => usize::try_from(last - first).unwrap_or(0),
        _ => 0,
    };
    if let Some(texts) = array.as_string_opt::<i32>() {
        return span(texts.value_offsets());
    }
    match array.as_map_opt() {
        Some(map) => {
            let (start, texts) = (map.value_offsets()[0], span(map.value_offsets()));
            let start = usize::try_from(start).unwrap_or(0);
            [map.keys(), map.values()]
                .map(|side| text_bytes(&side.slice(start, texts)))
                .iter()
                .sum()
        }
        None => array.len() * size_of::<i32>(),
    }
}

impl MergedFile {
    /// Begins a file of so many rows.
    pub(crate) fn create(place: &Place, table: Table, rows: usize) -> Result<Self, WriteError> {
        let folder = place.local().or_else(|| place.drafts()).ok_or(WriteError::ReadOnly)?;
        let groups = rows.div_ceil(group_rows(table));
        Ok(Self {
            table,
            rows,
            schema: super::file_schema(table)?,
            leaves: super::leaves(table)?,
            properties: properties(table, rows, Writing::Compaction)?,
            statistics: RowStatistics::new(table),
            trace_pages: (table == Table::Spans).then(|| TracePages::new(PAGE_ROWS)),
            spool: Spool::new(folder, place.room().clone()),
            groups: (0..groups).map(|_| Vec::new()).collect(),
        })
    }

    /// Rows of each of its row groups but the last.
    pub(crate) fn group_rows(&self) -> usize {
        group_rows(self.table)
    }

    /// Writes a column of a row group, whose rows come in parts of a page, as the last one may not be. Texts are held until all are there, since what
    /// repeats is written once; where they are too many, each is written where it stands.
    pub(crate) fn write(
        &mut self,
        (group, position): (usize, usize),
        mut parts: impl Iterator<Item = Result<ColumnPart, WriteError>>,
    ) -> Result<(), WriteError> {
        if !self.table.columns()[position].kind.is_texts() {
            return self.write_values((group, position), parts);
        }
        let (mut held, mut bytes) = (Vec::new(), 0);
        while bytes <= TEXT_BYTES_MAX {
            let Some(part) = parts.next() else {
                return self.write_texts((group, position), &ColumnPart::of(held));
            };
            held.push(part?);
            bytes += held.last().map_or(0, ColumnPart::text_bytes);
        }
        self.write_many_texts((group, position), held.into_iter().map(Ok).chain(parts))
    }

    fn write_texts(
        &mut self,
        (group, position): (usize, usize),
        ColumnPart { arrays, rows }: &ColumnPart,
    ) -> Result<(), WriteError> {
        let column = &self.table.columns()[position];
        let order = Order::new(rows, arrays.iter().map(Array::len));
        let rows = ColumnRows { column, arrays, order: &order };
        let leaves = &self.leaves[position];
        let encoded = rows.encode_texts(leaves, Writing::Compaction, &mut self.statistics)?;
        encoded.into_iter().try_for_each(|encoded| self.keep(group, encoded))
    }

    fn write_many_texts(
        &mut self,
        (group, position): (usize, usize),
        parts: impl Iterator<Item = Result<ColumnPart, WriteError>>,
    ) -> Result<(), WriteError> {
        let column = &self.table.columns()[position];
        let level = Writing::Compaction.zstd_level();
        let leaves = self.leaves[position].iter();
        let chunks = leaves.map(|leaf| Chunk::new(Arc::clone(leaf), level));
        let mut chunks = chunks.collect::<Result<Vec<_>, _>>()?;
        for part in parts {
            let ColumnPart { arrays, rows } = &part?;
            let rows = ColumnRows { column, arrays, order: &Order::unknown(rows) };
            rows.write_texts(&mut chunks)?;
        }
        for chunk in chunks {
            let encoded = encoded_texts(column, chunk, &mut self.statistics)?;
            self.keep(group, encoded)?;
        }
        Ok(())
    }

    /// The next column of a row group.
    fn keep(&mut self, group: usize, encoded: Encoded) -> Result<(), WriteError> {
        self.groups[group].push(match encoded {
            Encoded::Texts(bytes, closed) => Waiting::Texts(self.spool.put(&bytes)?, closed),
            other @ Encoded::Other(_) => Waiting::Pages(other),
        });
        Ok(())
    }

    fn write_values(
        &mut self,
        (group, position): (usize, usize),
        parts: impl Iterator<Item = Result<ColumnPart, WriteError>>,
    ) -> Result<(), WriteError> {
        let (column, field) = (&self.table.columns()[position], self.schema.field(position));
        let mut writers = self.writers_of(position)?.create_column_writers(group)?;
        let pages = self.trace_pages.as_mut().filter(|_| column.kind == Kind::TraceId);
        let mut pages = pages.map(TracePages::next_row_group);
        for part in parts {
            let ColumnPart { arrays, rows } = &part?;
            if let Some(pages) = &mut pages {
                let arrays: Vec<_> = arrays.iter().map(AsArray::as_binary::<i32>).collect();
                pages.add(rows.iter().map(|(array, row)| arrays[*array].value(*row)))?;
            }
            let rows = ColumnRows { column, arrays, order: &Order::unknown(rows) };
            rows.write(field, &mut writers, &mut self.statistics)?;
        }
        for writer in writers {
            self.keep(group, Encoded::Other(writer.close()?))?;
        }
        Ok(())
    }

    /// Writers of the Parquet library for one column.
    fn writers_of(&self, position: usize) -> Result<ArrowRowGroupWriterFactory, WriteError> {
        let alone = Schema::new(vec![self.schema.field(position).clone()]);
        let properties = Some(self.properties.clone());
        let writer = ArrowWriter::try_new(io::sink(), Arc::new(alone), properties)?;
        let (_, factory) = writer.into_serialized_writer()?;
        Ok(factory.with_page_store_factory(Arc::new(self.spool.clone())))
    }

    /// Puts all columns in their places and syncs the file.
    pub(crate) fn finish(self, place: &Place, date: i32) -> Result<WrittenFile, WriteError> {
        let (target, file) = Target::create(place, self.table, date)?;
        let writer = ArrowWriter::try_new(file, self.schema, Some(self.properties))?;
        let (mut writer, _) = writer.into_serialized_writer()?;
        for group in self.groups {
            let mut out = writer.next_row_group()?;
            for column in group {
                let encoded = match column {
                    Waiting::Texts(at, closed) => Encoded::Texts(self.spool.get(at)?, closed),
                    Waiting::Pages(encoded) => encoded,
                };
                encoded.append(&mut out)?;
            }
            out.close()?;
        }
        if let Some(pages) = self.trace_pages {
            let (bits, metadata) = pages.finish(writer.bytes_written());
            writer.write_all(&bits)?;
            writer.append_key_value_metadata(metadata);
        }
        let file = writer.into_inner()?;
        target.finish(file, self.rows as u64, self.statistics)
    }
}
