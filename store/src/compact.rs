//! Compaction: small files of a date become one sorted file with the same rows.

mod columns;
mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::{Arc, Weak};

use object_store::ObjectStoreExt;
use object_store::path::Path as ObjectPath;

use self::columns::Source;
use self::merge::Merge;
pub(crate) use self::merge::rows_in_order;
use crate::delta::{COMPACTED_FILE_BYTES, TableError, TableHandle};
use crate::parquet_writer::{FileWriter, MergedFile, PAGE_ROWS, WriteError, Writing, WrittenFile};
use crate::place::Place;
use crate::schema::Table;
use crate::snapshot::DataFile;

/// Files up to this size are put together whatever they are put together with: they cost more to open
/// than to write again.
const SMALL_FILE_BYTES: i64 = 4 << 20;
/// Fewer files than this are not worth a commit; ten seconds a commit leave a dozen in two minutes. Of four
/// files that each are at most twice as large as the one before, the largest is little over a half.
const FILES_MIN_BALANCED: usize = 4;
/// Files that are read at a time: each takes a page of a column in memory, of a rollup one of every column. More
/// of them are put together in several steps. (With 128, which saves a step, 250 MB more for an eighth less
/// processor time.)
const FILES_MAX: usize = 16;
const _: () = assert!(FILES_MAX <= 1 << u8::BITS, "a merge numbers files with a byte");

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Files that were read and left the table.
    pub files_removed: u64,
    /// Files that took their place.
    pub files_added: u64,
    /// Bytes of the files that were read.
    pub bytes_removed: u64,
    /// Bytes of the files that took their place.
    pub bytes_added: u64,
}

impl std::fmt::Display for CompactReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} files became {}", self.files_removed, self.files_added)
    }
}

impl std::ops::AddAssign for CompactReport {
    fn add_assign(&mut self, other: Self) {
        self.files_removed += other.files_removed;
        self.files_added += other.files_added;
        self.bytes_removed += other.bytes_removed;
        self.bytes_added += other.bytes_added;
    }
}

/// Which files are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All that are smaller than a compacted file is to be.
    All,
    /// Files of about the same size, four or more, so that no row is written again more
    /// often than its date has nearly doubled.
    Balanced,
}

/// Which files may be put together at all.
pub(crate) type MayGo<'a> = &'a (dyn Fn(&DataFile) -> bool + Sync);

/// Compacts every date of the table that has files to put together. One that is not in the table's
/// order, as an earlier build or somebody else may have written it, is left as it is.
pub(crate) async fn compact(
    handle: &mut TableHandle,
    selection: Selection,
    may_go: MayGo<'_>,
) -> Result<CompactReport, TableError> {
    let mut report = CompactReport::default();
    let mut left_out = BTreeSet::new();
    // Files that came out of a step may be put together further: bounded, since each step leaves fewer.
    loop {
        let known = |file: &&DataFile| may_go(file) && !left_out.contains(&file.path);
        let groups = groups(handle.files().iter().filter(known), selection);
        if groups.is_empty() {
            return Ok(report);
        }
        for group in groups {
            match compact_group(handle, group).await {
                Err(TableError::Write { table, source: WriteError::Unsorted(path) }) => {
                    tracing::warn!(table, %path, "a file is not in the table's order and stays as it is");
                    left_out.insert(path);
                }
                step => report += step?,
            }
        }
    }
}

async fn compact_group(
    handle: &mut TableHandle,
    group: Vec<DataFile>,
) -> Result<CompactReport, TableError> {
    let table = handle.table();
    let failed = |source| TableError::Write { table: table.name(), source };
    let removed: BTreeSet<_> = group.iter().map(|file| file.path.clone()).collect();
    let bytes_removed = group.iter().map(|file| file.size_bytes).sum();
    let mut inputs = Vec::with_capacity(group.len());
    for file in group {
        let content = local_copy(handle.place(), &file).await.map_err(failed)?;
        inputs.push((file, content));
    }
    // Goes with this future: then nobody waits for the files, and the work ends.
    let wanted = Arc::new(());
    let is_wanted = Arc::downgrade(&wanted);
    let work = move |place: Place| rewrite(&place, table, inputs, &is_wanted);
    let written = handle.write_with(work).await?;
    let step = CompactReport {
        files_removed: removed.len() as u64,
        files_added: written.len() as u64,
        bytes_removed,
        bytes_added: written.iter().map(|file| file.data.size_bytes).sum(),
    };
    handle.replace(&removed, written).await?;
    Ok(step)
}

/// Files of one date that become one.
fn groups<'a>(
    files: impl Iterator<Item = &'a DataFile>,
    selection: Selection,
) -> Vec<Vec<DataFile>> {
    // A file with minutes and one without stay apart: it is said of a whole file.
    let mut by_kind = BTreeMap::<(i32, bool), Vec<&DataFile>>::new();
    for file in files.filter(|file| bytes(file) < COMPACTED_FILE_BYTES) {
        by_kind.entry((file.date, file.without_minutes)).or_default().push(file);
    }
    let mut groups = Vec::new();
    for mut candidates in by_kind.into_values() {
        candidates.sort_by(|a, b| (a.size_bytes, &a.path).cmp(&(b.size_bytes, &b.path)));
        let mut group = Vec::<DataFile>::new();
        let mut group_bytes = 0;
        for file in candidates {
            let is_too_large = selection == Selection::Balanced
                && bytes(file) > SMALL_FILE_BYTES
                && group.last().is_some_and(|smaller| bytes(file) > 2 * bytes(smaller));
            let is_full = group_bytes >= COMPACTED_FILE_BYTES || group.len() >= FILES_MAX;
            if is_too_large || is_full {
                groups.push(std::mem::take(&mut group));
                group_bytes = 0;
            }
            group_bytes += bytes(file);
            group.push(file.clone());
        }
        groups.push(group);
    }
    let least = if selection == Selection::Balanced { FILES_MIN_BALANCED } else { 2 };
    groups.retain(|group| group.len() >= least);
    groups
}

fn bytes(file: &DataFile) -> i64 {
    i64::try_from(file.size_bytes).unwrap_or(i64::MAX)
}

/// The file itself, or a copy of it on the local disk that goes with the handle.
pub(crate) async fn local_copy(place: &Place, file: &DataFile) -> Result<File, WriteError> {
    if let Some(folder) = place.local() {
        return Ok(File::open(folder.join(&file.path))?);
    }
    let drafts = place.drafts().ok_or(WriteError::ReadOnly)?;
    let copy = tempfile::tempfile_in(drafts)?;
    let path = ObjectPath::from(file.path.as_str());
    let content = place.objects().get(&path).await.map_err(io::Error::from)?;
    let mut writer = tokio::fs::File::from_std(copy.try_clone()?);
    let mut chunks = tokio_util::io::StreamReader::new(content.into_stream());
    tokio::io::copy(&mut chunks, &mut writer).await?;
    Ok(copy)
}

/// Merges sorted files.
fn rewrite(
    place: &Place,
    table: Table,
    inputs: Vec<(DataFile, File)>,
    is_wanted: &Weak<()>,
) -> Result<Vec<WrittenFile>, WriteError> {
    let Some((first, _)) = inputs.first() else { return Ok(Vec::new()) };
    let (date, without_minutes) = (first.date, first.without_minutes);
    // Retention goes by when rows came, so the age of the newest is kept.
    let written_unix_ms = inputs.iter().map(|(file, _)| file.written_unix_ms).max().unwrap_or(0);
    let mut written = if table.is_rollup() {
        rewrite_rows(place, table, date, inputs, is_wanted)?
    } else {
        rewrite_columns(place, table, date, inputs, is_wanted)?
    };
    for file in &mut written {
        file.data.written_unix_ms = written_unix_ms;
        file.data.without_minutes = without_minutes;
    }
    Ok(written)
}

/// Row by row, since several rows may become one; into more than one file where one would be larger than
/// twice the size wanted.
fn rewrite_rows(
    place: &Place,
    table: Table,
    date: i32,
    inputs: Vec<(DataFile, File)>,
    is_wanted: &Weak<()>,
) -> Result<Vec<WrittenFile>, WriteError> {
    let rows = inputs.iter().map(|(file, _)| file.rows).sum::<u64>();
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let mut written = Vec::new();
    let mut writer = None;
    for chunk in Merge::of(table, date, inputs)? {
        if is_wanted.strong_count() == 0 {
            return Err(WriteError::GivenUp);
        }
        let open = match &mut writer {
            Some(open) => open,
            None => {
                writer.insert(FileWriter::create(place, table, date, (rows, Writing::Compaction))?)
            }
        };
        open.write(&chunk?)?;
        if open.bytes() > 2 * COMPACTED_FILE_BYTES.unsigned_abs() {
            written.extend(writer.take().map(FileWriter::finish).transpose()?);
        }
    }
    written.extend(writer.map(FileWriter::finish).transpose()?);
    Ok(written)
}

/// Column by column, into one file: a group of files is less than twice the size wanted. In memory is what
/// one column takes, of which a table may have fifty.
fn rewrite_columns(
    place: &Place,
    table: Table,
    date: i32,
    inputs: Vec<(DataFile, File)>,
    is_wanted: &Weak<()>,
) -> Result<Vec<WrittenFile>, WriteError> {
    let sources = inputs.into_iter().map(|(file, content)| Source::open(file, content));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let order = merge::order(table, &sources)?;
    if order.is_empty() {
        return Ok(Vec::new());
    }
    let mut merged = MergedFile::create(place, table, order.len())?;
    let group_rows = merged.group_rows();
    let columns = table.columns().iter().enumerate().filter(|(_, column)| column.name != "date");
    for (position, column) in columns {
        let files = sources.iter().map(|source| source.column(column));
        let mut files = files.collect::<Result<Vec<_>, _>>()?;
        for (group, from) in order.chunks(group_rows).enumerate() {
            let parts = from.chunks(PAGE_ROWS).map(|from| match is_wanted.strong_count() {
                0 => Err(WriteError::GivenUp),
                _ => columns::gather(&mut files, from),
            });
            merged.write((group, position), parts)?;
        }
    }
    Ok(vec![merged.finish(place, date)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of the files that become one, of files of a date with these sizes in MiB.
    fn grouped(selection: Selection, sizes: &[u64]) -> Vec<Vec<u64>> {
        let file = |(number, size): (usize, &u64)| DataFile {
            path: format!("{number:04}"),
            size_bytes: size << 20,
            rows: 1,
            date: 1,
            written_unix_ms: 0,
            committed_as: None,
            without_minutes: false,
            statistics: Arc::default(),
        };
        let files: Vec<_> = sizes.iter().enumerate().map(file).collect();
        let sizes = |group: Vec<DataFile>| group.iter().map(|file| file.size_bytes >> 20).collect();
        groups(files.iter(), selection).into_iter().map(sizes).collect()
    }

    #[test]
    fn files_of_about_a_size_are_put_together() {
        let balanced = |sizes: &[u64]| grouped(Selection::Balanced, sizes);
        assert_eq!(balanced(&[8, 5, 7, 6]), [[5, 6, 7, 8]], "what commits leave under load");
        assert_eq!(balanced(&[1, 4, 1, 1]), [[1, 1, 1, 4]], "small ones in any case");
        assert_eq!(balanced(&[5, 6, 7]), Vec::<Vec<u64>>::new(), "too few");
        assert_eq!(balanced(&[5, 5, 6, 6, 40, 41]), [[5, 5, 6, 6]], "not with much larger ones");
        assert_eq!(
            balanced(&[5, 5, 6, 6, 127, 300]).concat(),
            [5, 5, 6, 6],
            "large enough already"
        );
        assert_eq!(balanced(&[5; 40]), [vec![5; 16], vec![5; 16], vec![5; 8]], "few at a time");
    }

    #[test]
    fn all_are_put_together_when_that_is_asked_for() {
        assert_eq!(grouped(Selection::All, &[1, 60, 100]), [[1, 60, 100]]);
        assert_eq!(grouped(Selection::All, &[1, 128, 200]), Vec::<Vec<u64>>::new());
        assert_eq!(grouped(Selection::All, &[100, 100, 100, 100]), [[100, 100], [100, 100]]);
    }
}
