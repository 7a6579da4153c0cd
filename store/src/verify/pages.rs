//! Whether the filters of the pages of a file have the traces of its rows: by one that lacks a trace, a lookup
//! would not find it.

use std::fs::File;
use std::ops::Range;
use std::vec::IntoIter;

use arrow::array::{AsArray, RecordBatch};
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::ChunkReader;

use crate::parquet_writer::WriteError;
use crate::trace_pages::PageFilters;

/// The rows of a file on their way past its filters.
pub(super) struct PageCheck {
    file: File,
    /// Rows of each page that is left, and where its filter is.
    pages: IntoIter<(usize, Range<u64>)>,
    filter: Sbbf,
    rows_left: usize,
    missing: u64,
}

impl PageCheck {
    /// Of a file that has such filters.
    pub(super) fn of(file: &File) -> Result<Option<Self>, WriteError> {
        let footer = ParquetMetaDataReader::new().parse_and_finish(file)?;
        let Some(filters) = PageFilters::of(&footer) else { return Ok(None) };
        let mut pages = Vec::new();
        for (row_group, filters_of_pages) in footer.row_groups().iter().zip(filters.row_groups) {
            let rows = usize::try_from(row_group.num_rows()).unwrap_or(0);
            let starts = (0..rows).step_by(filters.page_rows);
            let rows = starts.map(|start| filters.page_rows.min(rows - start));
            pages.extend(rows.zip(filters_of_pages));
        }
        let (file, pages) = (file.try_clone()?, pages.into_iter());
        Ok(Some(Self { file, pages, filter: Sbbf::new(&[]), rows_left: 0, missing: 0 }))
    }

    /// Looks for the traces of the next rows.
    pub(super) fn add(&mut self, rows: &RecordBatch) -> Result<(), WriteError> {
        let ids = rows.column_by_name("trace_id").and_then(|ids| ids.as_binary_opt::<i32>());
        for id in ids.into_iter().flatten().flatten() {
            if self.rows_left == 0 {
                self.next_page()?;
            }
            self.rows_left = self.rows_left.saturating_sub(1);
            self.missing += u64::from(!self.filter.check(id));
        }
        Ok(())
    }

    fn next_page(&mut self) -> Result<(), WriteError> {
        let Some((rows, at)) = self.pages.next() else { return Ok(()) };
        let length = usize::try_from(at.end - at.start).unwrap_or(0);
        let bits = self.file.get_bytes(at.start, length)?;
        (self.rows_left, self.filter) = (rows, Sbbf::new(&bits));
        Ok(())
    }

    /// Rows whose trace was not found.
    pub(super) fn missing(&self) -> u64 {
        self.missing
    }
}
