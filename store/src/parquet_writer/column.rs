//! One column of a row group: its rows in the table's order, as bytes of a Parquet file.
//!
//! Texts are most of a row and few are distinct, so they are numbered where they lie, in the order of their
//! arrival, and the numbers put in order; no row is copied. What is left of the columns goes through the
//! Parquet library.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::interleave;
use arrow::datatypes::Field;
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Chunk, PageContent, push_levels, push_places, push_plain};
use super::distinct::{ListCodes, Order, Side, list_codes, text_codes};
use super::{CHUNK_ROWS, PAGE_ROWS, RowAt, TableFile, WriteError, Writing};
use crate::delta::statistics::RowStatistics;
use crate::schema::{Column, Kind};
use crate::text_column::{Distinct, NULL, TextColumn};

/// Distinct texts of a column that are kept once; of more, each is kept where it stands, since a reader of
/// one page reads the dictionary too. The same as the Parquet library's.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;
/// Bytes of texts after which a page ends. The same as the Parquet library's.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A column of Parquet with the rows of a row group.
pub(super) enum Encoded {
    /// Texts, whose bytes are here.
    Texts(Bytes, ColumnCloseResult),
    /// What the Parquet library wrote.
    Other(ArrowColumnChunk),
}

impl Encoded {
    /// Makes it the next column of a row group.
    pub(super) fn append(
        self,
        out: &mut SerializedRowGroupWriter<'_, TableFile>,
    ) -> Result<(), WriteError> {
        match self {
            Self::Texts(bytes, closed) => out.append_column(&bytes, closed)?,
            Self::Other(chunk) => chunk.append_to_row_group(out)?,
        }
        Ok(())
    }
}

/// Rows of a column of a table, batch by batch, and the order in which they are written.
#[derive(Clone, Copy)]
pub(super) struct ColumnRows<'a> {
    pub(super) column: &'static Column,
    pub(super) arrays: &'a [ArrayRef],
    pub(super) order: &'a Order<'a>,
}

impl<'a> ColumnRows<'a> {
    /// Writes texts, or texts by their names: all rows of a row group, so that what repeats is there once.
    pub(super) fn encode_texts(
        &self,
        leaves: &[ColumnDescPtr],
        writing: Writing,
        statistics: &mut RowStatistics,
    ) -> Result<Vec<Encoded>, WriteError> {
        match (self.column.kind, leaves) {
            (Kind::Text, [leaf]) => Ok(vec![self.encode_one_text(leaf, writing, statistics)?]),
            (Kind::Attributes, [keys, values]) => {
                self.encode_attributes([keys, values], writing, statistics)
            }
            _ => Err(self.no_texts().into()),
        }
    }

    /// Hands rows to the Parquet library.
    pub(super) fn write(
        &self,
        field: &Field,
        writers: &mut [ArrowColumnWriter],
        statistics: &mut RowStatistics,
    ) -> Result<(), WriteError> {
        let arrays: Vec<_> = self.arrays.iter().map(AsRef::as_ref).collect();
        for rows in self.order.rows.chunks(CHUNK_ROWS) {
            let chunk: ArrayRef = interleave(&arrays, rows)?;
            statistics.add_column(self.column, &chunk);
            let parts = compute_leaves(field, &chunk)?;
            for (writer, part) in writers.iter_mut().zip(parts) {
                writer.write(&part)?;
            }
        }
        Ok(())
    }

    fn encode_one_text(
        &self,
        leaf: &ColumnDescPtr,
        writing: Writing,
        statistics: &mut RowStatistics,
    ) -> Result<Encoded, WriteError> {
        let arrays = self.texts()?;
        let mut chunk = Chunk::new(Arc::clone(leaf), writing.zstd_level())?;
        let mut distinct = Distinct::default();
        match text_codes(&arrays, self.order, &mut distinct, DICTIONARY_BYTES_MAX) {
            Some(codes) => write_coded(&mut chunk, &codes, &distinct.texts)?,
            None => write_plain(&mut chunk, &arrays, self.order.rows)?,
        }
        encoded_texts(self.column, chunk, statistics)
    }

    fn encode_attributes(
        &self,
        [key_leaf, value_leaf]: [&ColumnDescPtr; 2],
        writing: Writing,
        statistics: &mut RowStatistics,
    ) -> Result<Vec<Encoded>, WriteError> {
        let encoded = [key_leaf, value_leaf].into_iter().zip(self.sides()?).map(|(leaf, sides)| {
            let mut chunk = Chunk::new(Arc::clone(leaf), writing.zstd_level())?;
            let mut distinct = Distinct::default();
            let codes = list_codes(&sides, self.order, &mut distinct, DICTIONARY_BYTES_MAX);
            let lists = Lists { sides: &sides, rows: self.order.rows };
            match codes {
                Some(codes) => lists.write_coded(&mut chunk, &codes, &distinct.texts)?,
                None => lists.write_plain(&mut chunk)?,
            }
            encoded_texts(self.column, chunk, statistics)
        });
        encoded.collect()
    }

    /// Writes texts, or texts by their names: some rows of a row group, each text where it stands.
    pub(super) fn write_texts(&self, chunks: &mut [Chunk]) -> Result<(), WriteError> {
        match (self.column.kind, chunks) {
            (Kind::Text, [chunk]) => write_plain(chunk, &self.texts()?, self.order.rows),
            (Kind::Attributes, [keys, values]) => {
                for (chunk, sides) in [keys, values].into_iter().zip(self.sides()?) {
                    Lists { sides: &sides, rows: self.order.rows }.write_plain(chunk)?;
                }
                Ok(())
            }
            _ => Err(self.no_texts().into()),
        }
    }

    fn texts(&self) -> Result<Vec<TextColumn<'a>>, ArrowError> {
        let texts = self.arrays.iter().map(TextColumn::of).collect::<Option<Vec<_>>>();
        texts.ok_or_else(|| self.no_texts())
    }

    /// Names and values.
    fn sides(&self) -> Result<[Vec<Side<'a>>; 2], ArrowError> {
        let sides: [fn(&'a ArrayRef) -> Option<Side<'a>>; 2] = [Side::keys, Side::values];
        let [keys, values] =
            sides.map(|side| self.arrays.iter().map(side).collect::<Option<Vec<_>>>());
        keys.zip(values).map(Into::into).ok_or_else(|| self.no_texts())
    }

    fn no_texts(&self) -> ArrowError {
        ArrowError::SchemaError(format!("{} has no texts", self.column.name))
    }
}

/// The texts of a column, complete.
pub(super) fn encoded_texts(
    column: &Column,
    chunk: Chunk,
    statistics: &mut RowStatistics,
) -> Result<Encoded, WriteError> {
    let (bytes, closed, bounds) = chunk.finish()?;
    if column.kind == Kind::Text {
        let known = bounds.least_and_greatest.as_ref();
        let known = known.map(|(least, greatest)| (least.as_str(), greatest.as_str()));
        statistics.add_texts(column.name, known, bounds.nulls);
    }
    Ok(Encoded::Texts(bytes, closed))
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
