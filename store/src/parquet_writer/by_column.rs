//! A sorted file written column by column: what a commit does.
//!
//! Texts are most of a row and few are distinct, so they are numbered where they lie, in the order of their
//! arrival, and the numbers put in order; no row is copied. What is left of the columns goes through the
//! Parquet library. Files have the same rows, encodings and statistics as those that [`FileWriter`] makes.
//!
//! [`FileWriter`]: super::FileWriter

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::interleave;
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, compute_leaves};
use parquet::basic::Encoding;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Chunk, PageContent, TextBounds, push_levels, push_places, push_plain};
use super::distinct::{ListCodes, Order, Side, list_codes, text_codes};
use super::{
    CHUNK_ROWS, COMMIT_ZSTD_LEVEL, PAGE_ROWS, RowAt, TableFile, Target, WriteError, Writing,
    WrittenFile, group_rows, properties,
};
use crate::delta::statistics::RowStatistics;
use crate::place::Place;
use crate::schema::{Column, Kind, Table};
use crate::text_column::{Distinct, NULL, TextColumn};

/// Distinct texts of a column that are kept once; of more, each is kept where it stands, since a reader of
/// one page reads the dictionary too. The same as the Parquet library's.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;
/// Bytes of texts after which a page ends. The same as the Parquet library's.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Writes the rows at these places, which are in the table's order, as one file.
pub(super) fn write_file(
    place: &Place,
    table: Table,
    date: i32,
    batches: &[RecordBatch],
    rows: &[RowAt],
) -> Result<WrittenFile, WriteError> {
    let (target, file) = Target::create(place, table, date)?;
    let properties = properties(table, rows.len(), Writing::Commit)?;
    let writer = ArrowWriter::try_new(file, super::file_schema(table)?, Some(properties))?;
    let (mut writer, factory) = writer.into_serialized_writer()?;
    let mut statistics = RowStatistics::new(table);
    for (number, rows) in rows.chunks(group_rows(table)).enumerate() {
        let columns = factory.create_column_writers(number)?;
        let group = Group { order: Order::new(rows), batches, statistics: &mut statistics };
        let mut out = writer.next_row_group()?;
        group.write(table, columns, &mut out)?;
        out.close()?;
    }
    let file = writer.into_inner()?;
    target.finish(file, rows.len() as u64, statistics)
}

/// The rows of a row group.
struct Group<'a> {
    order: Order<'a>,
    batches: &'a [RecordBatch],
    statistics: &'a mut RowStatistics,
}

impl<'a> Group<'a> {
    fn write(
        mut self,
        table: Table,
        columns: Vec<ArrowColumnWriter>,
        out: &mut SerializedRowGroupWriter<'_, TableFile>,
    ) -> Result<(), WriteError> {
        let schema = table.schema();
        let leaves = super::leaves(table)?;
        let mut columns = columns.into_iter();
        for (position, column) in table.columns().iter().enumerate() {
            if column.name == "date" {
                continue;
            }
            let arrays: Vec<_> = self.batches.iter().map(|rows| rows.column(position)).collect();
            let leaves = &leaves[position];
            let mut writers: Vec<_> = columns.by_ref().take(leaves.len()).collect();
            match (column.kind, &leaves[..]) {
                (Kind::Text, [leaf]) => self.write_texts(column, &arrays, leaf, out)?,
                (Kind::Attributes, [keys, values]) => {
                    self.write_attributes(&arrays, [keys, values], out)?;
                }
                _ => {
                    for rows in self.order.rows.chunks(CHUNK_ROWS) {
                        let arrays: Vec<_> = arrays.iter().map(AsRef::as_ref).collect();
                        let chunk: ArrayRef = interleave(&arrays, rows)?;
                        self.statistics.add_column(column, &chunk);
                        let parts = compute_leaves(schema.field(position), &chunk)?;
                        for (writer, part) in writers.iter_mut().zip(parts) {
                            writer.write(&part)?;
                        }
                    }
                    for writer in writers {
                        writer.close()?.append_to_row_group(out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn write_texts(
        &mut self,
        column: &Column,
        arrays: &[&'a ArrayRef],
        leaf: &ColumnDescPtr,
        out: &mut SerializedRowGroupWriter<'_, TableFile>,
    ) -> Result<(), WriteError> {
        let texts = arrays.iter().map(|array| TextColumn::of(array)).collect::<Option<Vec<_>>>();
        let not_text = || ArrowError::SchemaError(format!("{} has no texts", column.name));
        let arrays = texts.ok_or_else(not_text)?;
        let mut chunk = Chunk::new(Arc::clone(leaf), COMMIT_ZSTD_LEVEL)?;
        let mut distinct = Distinct::default();
        match text_codes(&arrays, &self.order, &mut distinct, DICTIONARY_BYTES_MAX) {
            Some(codes) => write_coded(&mut chunk, &codes, &distinct.texts)?,
            None => write_plain(&mut chunk, &arrays, self.order.rows)?,
        }
        let bounds = append(chunk, out)?;
        let known = bounds.least_and_greatest.as_ref();
        let known = known.map(|(least, greatest)| (least.as_str(), greatest.as_str()));
        self.statistics.add_texts(column.name, known, bounds.nulls);
        Ok(())
    }

    fn write_attributes(
        &self,
        arrays: &[&'a ArrayRef],
        [key_leaf, value_leaf]: [&ColumnDescPtr; 2],
        out: &mut SerializedRowGroupWriter<'_, TableFile>,
    ) -> Result<(), WriteError> {
        let sides: [fn(&'a ArrayRef) -> Option<Side<'a>>; 2] = [Side::keys, Side::values];
        for (leaf, side) in [key_leaf, value_leaf].into_iter().zip(sides) {
            let sides = arrays.iter().map(|array| side(array)).collect::<Option<Vec<_>>>();
            let no_attributes = || ArrowError::SchemaError("there are no attributes".to_owned());
            let sides = sides.ok_or_else(no_attributes)?;
            let mut chunk = Chunk::new(Arc::clone(leaf), COMMIT_ZSTD_LEVEL)?;
            let mut distinct = Distinct::default();
            let codes = list_codes(&sides, &self.order, &mut distinct, DICTIONARY_BYTES_MAX);
            let lists = Lists { sides: &sides, rows: self.order.rows };
            match codes {
                Some(codes) => lists.write_coded(&mut chunk, &codes, &distinct.texts)?,
                None => lists.write_plain(&mut chunk)?,
            }
            append(chunk, out)?;
        }
        Ok(())
    }
}

fn append(
    chunk: Chunk,
    out: &mut SerializedRowGroupWriter<'_, TableFile>,
) -> Result<TextBounds, WriteError> {
    let (bytes, closed, bounds) = chunk.finish()?;
    out.append_column(&bytes, closed)?;
    Ok(bounds)
}

/// The least and the greatest of the texts of a page.
#[derive(Clone, Copy, Debug, Default)]
struct Extremes<'a>(Option<(&'a str, &'a str)>);

impl<'a> Extremes<'a> {
    fn add(&mut self, text: &'a str) {
        self.0 = Some(match self.0 {
            Some((least, greatest)) => (least.min(text), greatest.max(text)),
            None => (text, text),
        });
    }
}

/// Writes a column of texts by their numbers.
fn write_coded(chunk: &mut Chunk, codes: &[u32], texts: &[&str]) -> Result<(), WriteError> {
    chunk.write_dictionary(texts)?;
    let has_levels = chunk.column().max_def_level() > 0;
    // In which page a text was last.
    let mut seen = vec![0_usize; texts.len()];
    let (mut bytes, mut levels, mut present) = (Vec::new(), Vec::new(), Vec::new());
    for (number, codes) in (1..).zip(codes.chunks(PAGE_ROWS)) {
        bytes.clear();
        present.clear();
        present.extend(codes.iter().copied().filter(|code| *code != NULL));
        if has_levels {
            levels.clear();
            levels.extend(codes.iter().map(|code| u8::from(*code != NULL)));
            push_levels(&levels, 1, &mut bytes);
        }
        push_places(&present, texts.len(), &mut bytes);
        let mut extremes = Extremes::default();
        for code in &present {
            let code = *code as usize;
            if seen[code] != number {
                seen[code] = number;
                extremes.add(texts[code]);
            }
        }
        chunk.write(PageContent {
            bytes: &bytes,
            encoding: Encoding::RLE_DICTIONARY,
            rows: codes.len(),
            values: codes.len(),
            nulls: (codes.len() - present.len()) as u64,
            bounds: extremes.0,
        })?;
    }
    Ok(())
}

/// Writes a column of texts as they are.
fn write_plain(
    chunk: &mut Chunk,
    arrays: &[TextColumn<'_>],
    rows: &[RowAt],
) -> Result<(), WriteError> {
    let has_levels = chunk.column().max_def_level() > 0;
    let (mut bytes, mut levels, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = rows;
    while !rest.is_empty() {
        bytes.clear();
        texts.clear();
        levels.clear();
        let mut extremes = Extremes::default();
        while let Some((batch, row)) = rest.get(levels.len()).copied()
            && levels.len() < PAGE_ROWS
            && texts.len() < PAGE_BYTES_MAX
        {
            let text = arrays[batch].value_or_none(row);
            levels.push(u8::from(text.is_some()));
            if let Some(text) = text {
                push_plain(text, &mut texts);
                extremes.add(text);
            }
        }
        let nulls: u64 = levels.iter().map(|level| u64::from(*level == 0)).sum();
        if has_levels {
            push_levels(&levels, 1, &mut bytes);
        }
        bytes.extend_from_slice(&texts);
        chunk.write(PageContent {
            bytes: &bytes,
            encoding: Encoding::PLAIN,
            rows: levels.len(),
            values: levels.len(),
            nulls,
            bounds: extremes.0,
        })?;
        rest = &rest[levels.len()..];
    }
    Ok(())
}

/// One side of a column of attributes, in the table's order.
struct Lists<'a, 'r> {
    sides: &'r [Side<'a>],
    rows: &'r [RowAt],
}

/// The levels of a page: whether a value goes on with the row before it, and whether there is one.
#[derive(Debug, Default)]
struct ListLevels {
    repetition: Vec<u8>,
    definition: Vec<u8>,
    rows: usize,
    nulls: u64,
}

impl ListLevels {
    fn clear(&mut self) {
        self.repetition.clear();
        self.definition.clear();
        (self.rows, self.nulls) = (0, 0);
    }

    /// Adds a row of so many values.
    #[inline]
    fn begin_row(&mut self, values: usize) {
        self.rows += 1;
        self.repetition.push(0);
        if values == 0 {
            self.definition.push(0);
        } else {
            self.repetition.resize(self.repetition.len() + values - 1, 1);
        }
    }

    fn push(&self, has_nulls: bool, bytes: &mut Vec<u8>) {
        push_levels(&self.repetition, 1, bytes);
        push_levels(&self.definition, 1 + u8::from(has_nulls), bytes);
    }

    fn content<'b>(&self, bytes: &'b [u8], encoding: Encoding) -> PageContent<'b> {
        let (rows, values, nulls) = (self.rows, self.definition.len(), self.nulls);
        PageContent { bytes, encoding, rows, values, nulls, bounds: None }
    }
}

impl Lists<'_, '_> {
    fn write_coded(
        &self,
        chunk: &mut Chunk,
        codes: &ListCodes,
        texts: &[&str],
    ) -> Result<(), WriteError> {
        chunk.write_dictionary(texts)?;
        let has_nulls = chunk.column().max_def_level() > 1;
        let present_level = 1 + u8::from(has_nulls);
        let (mut bytes, mut present) = (Vec::new(), Vec::new());
        let mut levels = ListLevels::default();
        for page in 0..self.rows.len().div_ceil(PAGE_ROWS) {
            levels.clear();
            bytes.clear();
            present.clear();
            let end = self.rows.len().min((page + 1) * PAGE_ROWS);
            for place in page * PAGE_ROWS..end {
                let codes = codes.of(place);
                levels.begin_row(codes.len());
                for code in codes {
                    let is_present = *code != NULL;
                    levels.definition.push(present_level - u8::from(!is_present));
                    levels.nulls += u64::from(!is_present);
                    if is_present {
                        present.push(*code);
                    }
                }
            }
            levels.push(has_nulls, &mut bytes);
            push_places(&present, texts.len(), &mut bytes);
            chunk.write(levels.content(&bytes, Encoding::RLE_DICTIONARY))?;
        }
        Ok(())
    }

    fn write_plain(&self, chunk: &mut Chunk) -> Result<(), WriteError> {
        let has_nulls = chunk.column().max_def_level() > 1;
        let present_level = 1 + u8::from(has_nulls);
        let (mut bytes, mut texts) = (Vec::new(), Vec::new());
        let mut levels = ListLevels::default();
        let mut rest = self.rows;
        while !rest.is_empty() {
            levels.clear();
            bytes.clear();
            texts.clear();
            while let Some((batch, row)) = rest.get(levels.rows).copied()
                && levels.rows < PAGE_ROWS
                && texts.len() < PAGE_BYTES_MAX
            {
                let side = self.sides[batch];
                levels.begin_row(side.len(row));
                for text in side.of(row) {
                    levels.definition.push(present_level - u8::from(text.is_none()));
                    levels.nulls += u64::from(text.is_none());
                    if let Some(text) = text {
                        push_plain(text, &mut texts);
                    }
                }
            }
            levels.push(has_nulls, &mut bytes);
            bytes.extend_from_slice(&texts);
            chunk.write(levels.content(&bytes, Encoding::PLAIN))?;
            rest = &rest[levels.rows..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
