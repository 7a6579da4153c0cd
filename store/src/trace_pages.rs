//! In which rows of a row group a trace can be: a small bloom filter for each page of `spans`.
//!
//! Spans are sorted by service, so those of a trace lie in a row group of each service that it went through,
//! and the row group's own filter says no more than that. The ids of all of its rows would have to be read.
//!
//! Filters stand between the last row group and the footer of a file that compaction wrote, where readers that
//! do not know them find nothing. The footer's key-value metadata says where: rows of a page,
//! the offset of the first filter, then for each row group a digit for each of its pages: the filter has
//! two to the power of the digit times 32 bytes. They follow each other without anything in between.
//!
//! Source of the filters: parquet-format, "Bloom Filter" (split block, XXH64, without the header).

use std::ops::Range;

use parquet::bloom_filter::Sbbf;
use parquet::errors::Result;
use parquet::file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData};

/// Name of the metadata.
const KEY: &str = "upriver.trace_id.pages";
/// Bytes of a filter before it is folded: eight bits for each of 4,096 ids that are all different.
const FILTER_BYTES: usize = 4_096;
/// Pages of this share are read in vain. (A hundredth would take half as much again.)
const FALSE_POSITIVES: f64 = 0.05;
/// The smallest filter.
const UNIT_BYTES: u64 = 32;

/// Filters of a file on its way.
#[derive(Debug)]
pub(crate) struct TracePages {
    page_rows: usize,
    bits: Vec<u8>,
    /// A digit for each page, by row group.
    sizes: Vec<String>,
}

impl TracePages {
    pub(crate) fn new(page_rows: usize) -> Self {
        Self { page_rows, bits: Vec::new(), sizes: Vec::new() }
    }

    /// Begins the next row group.
    pub(crate) fn next_row_group(&mut self) -> &mut Self {
        self.sizes.push(String::new());
        self
    }

    /// Adds the ids of the next page.
    pub(crate) fn add<'a>(&mut self, ids: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let mut filter = Sbbf::new_with_num_of_bytes(FILTER_BYTES);
        ids.for_each(|id| filter.insert(id));
        filter.fold_to_target_fpp(FALSE_POSITIVES);
        let size = char::from_digit(filter.num_blocks().ilog2(), 10);
        if let Some(row_group) = self.sizes.last_mut() {
            row_group.extend(size);
            filter.write_bitset(&mut self.bits)?;
        }
        Ok(())
    }

    /// What stands in the file from this offset on, and the metadata that says so.
    pub(crate) fn finish(self, offset: usize) -> (Vec<u8>, KeyValue) {
        let sizes = self.sizes.join(" ");
        let value = format!("{} {offset} {sizes}", self.page_rows);
        (self.bits, KeyValue::new(KEY.to_owned(), value))
    }
}

/// Where the filters of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFilters {
    /// Rows of each page of a row group but the last.
    pub page_rows: usize,
    /// The bytes of the filter of each page, by row group.
    pub row_groups: Vec<Vec<Range<u64>>>,
}

impl PageFilters {
    /// Those of a file; `None` where it has none, or none that fit its row groups.
    pub fn of(footer: &ParquetMetaData) -> Option<Self> {
        let metadata = footer.file_metadata().key_value_metadata()?;
        let value = metadata.iter().find(|entry| entry.key == KEY)?.value.as_deref()?;
        let filters = Self::parse(value)?;
        let fits = |(pages, rows): (&Vec<_>, i64)| {
            usize::try_from(rows).is_ok_and(|rows| rows.div_ceil(filters.page_rows) == pages.len())
        };
        let rows = footer.row_groups().iter().map(RowGroupMetaData::num_rows);
        let is_whole = filters.row_groups.len() == footer.num_row_groups()
            && filters.row_groups.iter().zip(rows).all(fits);
        is_whole.then_some(filters)
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(' ');
        let page_rows = parts.next()?.parse().ok().filter(|rows| *rows > 0)?;
        let mut next: u64 = parts.next()?.parse().ok()?;
        let mut filter = |digit: char| {
            let start = next;
            next = start.checked_add(UNIT_BYTES << digit.to_digit(10)?)?;
            Some(start..next)
        };
        let row_groups = parts.map(|digits| digits.chars().map(&mut filter).collect());
        Some(Self { page_rows, row_groups: row_groups.collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> [u8; 16] {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        [mixed.to_be_bytes(), number.to_be_bytes()].concat().try_into().unwrap()
    }

    #[test]
    fn each_page_has_a_filter_of_its_ids() {
        let mut pages = TracePages::new(4_096);
        let ids = |page: u64| (page * 10_000..).map(id);
        let counts = [[1, 1_000], [4_096, 300]];
        for (group, counts) in counts.iter().enumerate() {
            pages.next_row_group();
            for (page, count) in counts.iter().enumerate() {
                let ids: Vec<_> = ids((group * 2 + page) as u64).take(*count).collect();
                pages.add(ids.iter().map(<[u8; 16]>::as_slice)).unwrap();
            }
        }
        let (bits, metadata) = pages.finish(1_000);
        assert_eq!(metadata.value.as_deref(), Some("4096 1000 05 74"));
        let filters = PageFilters::parse("4096 1000 05 74").unwrap();
        let ranges = filters.row_groups.concat();
        let [one, thousand, all, some] = &ranges[..] else { panic!("{filters:?}") };
        assert_eq!((one.start, some.end), (1_000, 1_000 + bits.len() as u64));
        assert_eq!((one.end, thousand.end, all.end), (1_032, 2_056, 6_152));
        for (page, (range, count)) in ranges.iter().zip(counts.iter().flatten()).enumerate() {
            let place = |at: u64| usize::try_from(at - 1_000).unwrap();
            let filter = Sbbf::new(&bits[place(range.start)..place(range.end)]);
            assert!(ids(page as u64).take(*count).all(|id| filter.check(&id[..])), "{page}");
            let others = ids(77).take(10_000).filter(|id| filter.check(&id[..])).count();
            assert!(others < 600, "{page}: {others} of 10,000");
        }
    }

    #[test]
    fn what_is_no_metadata_of_ours_is_none() {
        for value in ["", "4096", "0 1 1", "4096 x 1", "4096 1 12a", "4096 18446744073709551615 1"]
        {
            assert_eq!(PageFilters::parse(value), None, "{value}");
        }
        assert_eq!(PageFilters::parse("4096 7 ").unwrap().row_groups, [vec![]]);
    }
}
