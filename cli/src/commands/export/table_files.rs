//! Rows of one table on their way into files of the draft, each of some size and with its hash.

use std::fs::File;
use std::io::{self, Write};

use anyhow::Context;
use sha2::{Digest, Sha256};
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;
use upriver_store::table_file::TableFileWriter;

use super::folder::{Draft, Written};
use crate::bundle::hexadecimal;

/// A file ends once it has this much: a size that tools read well, and that is copied again after a cut.
const FILE_BYTES: u64 = 256 << 20;

/// What the files are called, and what becomes of their rows in an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Added as they are.
    Kept,
    /// Minutes of rows that are in the export too, of which they are made again.
    Derived,
    /// Minutes whose rows are not stored any more, or are no rows of a table.
    Alone,
}

/// Files of a table. Without a row there is none.
pub(super) struct TableFiles<'a> {
    draft: &'a mut Draft,
    table: Table,
    rows: Rows,
    number: u32,
    open: Option<(String, TableFileWriter<Hashed>)>,
}

impl<'a> TableFiles<'a> {
    pub(super) fn new(draft: &'a mut Draft, table: Table, rows: Rows) -> Self {
        Self { draft, table, rows, number: 0, open: None }
    }

    /// Adds some rows.
    pub(super) fn write(&mut self, batch: &TableBatch) -> anyhow::Result<()> {
        if batch.rows.num_rows() == 0 {
            return Ok(());
        }
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        let Some((name, file)) = &mut self.open else { return Ok(()) };
        file.write(&batch.rows).with_context(|| format!("could not write `{name}`"))?;
        if file.bytes() >= FILE_BYTES { self.end() } else { Ok(()) }
    }

    fn begin(&mut self) -> anyhow::Result<(String, TableFileWriter<Hashed>)> {
        self.number += 1;
        let part = if self.rows == Rows::Alone { "alone" } else { "part" };
        let name = format!("{}/{part}-{:05}.parquet", self.table.folder(), self.number);
        let output = Hashed { file: self.draft.create(&name)?, hash: Sha256::new() };
        Ok((name, TableFileWriter::create(output, self.table)?))
    }

    /// Ends the file that is open.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        let Some((name, file)) = self.open.take() else { return Ok(()) };
        let failed = || format!("could not write `{name}`");
        let records = file.rows();
        let Hashed { file, hash } = file.finish().with_context(failed)?;
        file.sync_all().with_context(failed)?;
        self.draft.add(Written {
            records,
            of: self.table.folder(),
            sha256: Some(hexadecimal(hash.finalize())),
            derived: (self.rows == Rows::Derived).then_some(true),
            name,
        });
        Ok(())
    }
}

/// A file, and the hash of what was written to it.
struct Hashed {
    file: File,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
