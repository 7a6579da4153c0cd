//! Single traces: which pages of which files can hold them, found out before a file is opened.
//!
//! A bloom filter has some ten KiB a row group, and an id concerns 32 bytes of it. DataFusion reads all of it,
//! one row group after the other, in each file that it has prepared to decode: a fifth of the time that a trace
//! took among five million spans. Of a row group it would read the ids of all rows, see [`PageFilters`].

use std::ops::Range;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::datasource::physical_plan::{FileGroup, ParquetFileReaderFactory};
use datafusion::error::Result;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use upriver_store::trace_pages::PageFilters;
use xxhash_rust::xxh64::xxh64;

use super::reader::IndexedReaders;

/// The column that has bloom filters.
const TRACE_ID: &str = "trace_id";
/// Files that are asked at once: in a bucket each is a request.
const FILES_AT_ONCE: usize = 32;
/// Bytes of a block of a bloom filter, which has all bits of a value.
const BLOCK_BYTES: u64 = 32;
/// Blocks of a filter that are read one by one; of more ids it is read whole.
const BLOCKS_MAX: usize = 64;
/// Seed of the hash that the Parquet format prescribes for bloom filters.
const HASH_SEED: u64 = 0;

/// The parts of the files that can hold rows of one of the ids, as much for each partition as for another.
pub(super) async fn groups(
    files: Vec<PartitionedFile>,
    readers: &IndexedReaders,
    ids: &[&[u8]],
    partitions: usize,
) -> Result<Vec<FileGroup>> {
    let asked = files.into_iter().map(|file| Candidate::of(file, readers, ids));
    let candidates: Vec<_> =
        futures::stream::iter(asked).buffered(FILES_AT_ONCE).try_collect().await?;
    Ok(shares(&candidates, partitions))
}

/// What reads a file.
type Reader = dyn AsyncFileReader + Send;

/// A file, and those of its pages that can hold one of the ids.
#[derive(Debug)]
struct Candidate {
    file: PartitionedFile,
    row_groups: usize,
    wanted: Vec<Wanted>,
}

/// A row group that is read, or some rows of it.
#[derive(Debug)]
struct Wanted {
    number: usize,
    /// Where DataFusion takes it to be in its file.
    start: i64,
    rows: RowGroupAccess,
}

impl Candidate {
    async fn of(file: PartitionedFile, readers: &IndexedReaders, ids: &[&[u8]]) -> Result<Self> {
        let metrics = ExecutionPlanMetricsSet::new();
        let mut reader = readers.create_reader(0, file.clone(), None, &metrics)?;
        let footer = reader.get_metadata(None).await?;
        let all = 0..footer.num_row_groups();
        let filters: Vec<_> =
            all.clone().map(|number| Filter::of_row_group(&footer, number)).collect();
        let can_hold = can_hold(&mut *reader, &filters, ids).await?;
        let numbers: Vec<_> = all.zip(can_hold).filter_map(|(n, can)| can.then_some(n)).collect();
        let wanted = match PageFilters::of(&footer) {
            Some(pages) => wanted_pages(&mut *reader, (&footer, &pages), &numbers, ids).await?,
            None => numbers.iter().map(|n| Wanted::of(&footer, *n, RowGroupAccess::Scan)).collect(),
        };
        Ok(Self { file, row_groups: footer.num_row_groups(), wanted })
    }

    /// The part of the file from one offset to another, where only its wanted rows are read.
    fn part(&self, range: Range<i64>) -> PartitionedFile {
        let mut plan = ParquetAccessPlan::new_none(self.row_groups);
        for wanted in self.wanted.iter().filter(|wanted| range.contains(&wanted.start)) {
            plan.set(wanted.number, wanted.rows.clone());
        }
        self.file.clone().with_range(range.start, range.end).with_extension(plan)
    }
}

impl Wanted {
    fn of(footer: &ParquetMetaData, number: usize, rows: RowGroupAccess) -> Self {
        let first = footer.row_group(number).column(0);
        let start = first.dictionary_page_offset().unwrap_or_else(|| first.data_page_offset());
        Self { number, start, rows }
    }
}

/// The pages of these row groups that can hold one of the ids.
async fn wanted_pages(
    reader: &mut Reader,
    (footer, pages): (&ParquetMetaData, &PageFilters),
    row_groups: &[usize],
    ids: &[&[u8]],
) -> Result<Vec<Wanted>> {
    let of_groups = row_groups.iter().map(|number| &pages.row_groups[*number]);
    let filters: Vec<_> =
        of_groups.flatten().map(|bits| Some(Filter { bits: bits.clone() })).collect();
    let mut can_hold = can_hold(reader, &filters, ids).await?.into_iter();
    let wanted = row_groups.iter().filter_map(|number| {
        let rows = usize::try_from(footer.row_group(*number).num_rows()).ok()?;
        let starts = (0..rows).step_by(pages.page_rows);
        let ranges = starts.zip(&mut can_hold).filter(|(_, can_hold)| *can_hold);
        let ranges = ranges.map(|(start, _)| start..rows.min(start + pages.page_rows));
        let selection = RowSelection::from_consecutive_ranges(ranges, rows);
        let has_rows = selection.selects_any();
        let access = RowGroupAccess::Selection(selection);
        has_rows.then(|| Wanted::of(footer, *number, access))
    });
    Ok(wanted.collect())
}

/// Where the bits of a bloom filter lie.
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    bits: Range<u64>,
}

impl Filter {
    /// That of a row group; `None` where there is none.
    fn of_row_group(footer: &ParquetMetaData, number: usize) -> Option<Self> {
        let columns = footer.file_metadata().schema_descr().columns();
        let column = columns.iter().position(|column| column.path().string() == TRACE_ID)?;
        Self::of(footer.row_group(number).column(column))
    }

    /// A filter is a header of less than one block, and whole blocks.
    fn of(column: &ColumnChunkMetaData) -> Option<Self> {
        let offset = u64::try_from(column.bloom_filter_offset()?).ok()?;
        let length = u64::try_from(column.bloom_filter_length()?).ok()?;
        let bits = offset + length % BLOCK_BYTES..offset + length;
        (!bits.is_empty()).then_some(Self { bits })
    }

    /// What has to be read of it: a block for each id, or all of it for many.
    fn needed(&self, ids: &[&[u8]]) -> Vec<Range<u64>> {
        if ids.len() > BLOCKS_MAX {
            return vec![self.bits.clone()];
        }
        ids.iter().map(|id| self.block(id)).collect()
    }

    /// The block that says whether an id can be among the rows: the upper half of its hash, scaled to the
    /// number of blocks.
    fn block(&self, id: &[u8]) -> Range<u64> {
        let blocks = (self.bits.end - self.bits.start) / BLOCK_BYTES;
        let number = ((xxh64(id, HASH_SEED) >> 32) * blocks) >> 32;
        let start = self.bits.start + number * BLOCK_BYTES;
        start..start + BLOCK_BYTES
    }
}

/// Which of the filters have one of the ids, or there is none to tell.
async fn can_hold(
    reader: &mut Reader,
    filters: &[Option<Filter>],
    ids: &[&[u8]],
) -> Result<Vec<bool>> {
    let needed: Vec<_> = filters.iter().flatten().flat_map(|f| f.needed(ids)).collect();
    let bits = if needed.is_empty() { Vec::new() } else { reader.get_byte_ranges(needed).await? };
    let mut bits = bits.iter();
    let can_hold = filters.iter().map(|filter| {
        filter.as_ref().is_none_or(|filter| {
            // A single block is a filter, too.
            let parts = bits.by_ref().take(filter.needed(ids).len());
            let parts: Vec<_> = parts.map(|bits| Sbbf::new(bits)).collect();
            ids.iter().zip(parts.iter().cycle()).any(|(id, part)| part.check(*id))
        })
    });
    Ok(can_hold.collect())
}

/// The same number of row groups for each partition, one more or less. The rows of a trace lie in one file,
/// at the time of the trace, among those of every service that it went through: split by files, one partition
/// would read all of them.
fn shares(candidates: &[Candidate], partitions: usize) -> Vec<FileGroup> {
    let partitions = partitions.max(1);
    let all: usize = candidates.iter().map(|candidate| candidate.wanted.len()).sum();
    let mut partition_of = (0..all).map(|number| number * partitions / all);
    let mut groups = vec![Vec::new(); partitions];
    for candidate in candidates {
        let mut parts = Vec::<(usize, i64)>::new();
        for (Wanted { start, .. }, partition) in candidate.wanted.iter().zip(&mut partition_of) {
            match parts.last() {
                None => parts.push((partition, 0)),
                Some((last, _)) if *last != partition => parts.push((partition, *start)),
                Some(_) => {}
            }
        }
        let end = candidate.file.object_meta.size.cast_signed();
        let ends = parts.iter().skip(1).map(|(_, start)| *start).chain([end]);
        for ((partition, start), end) in parts.iter().zip(ends) {
            groups[*partition].push(candidate.part(*start..end));
        }
    }
    groups.into_iter().filter(|group| !group.is_empty()).map(FileGroup::new).collect()
}

#[cfg(test)]
mod tests;
