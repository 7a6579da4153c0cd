//! One column of a row group as bytes of a Parquet file: a dictionary, pages, and what an index says
//! of them.
//!
//! Source: parquet-format, "Data Pages" (version 1), "Page Index".

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::hybrid;

/// Longest text in statistics, in bytes; of a longer one its beginning bounds it. The same as the Parquet
/// library's.
const BOUND_BYTES_MAX: usize = 64;

/// The least and the greatest text, and how many are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TextBounds {
    pub(super) least_and_greatest: Option<(String, String)>,
    pub(super) nulls: u64,
}

/// A page before it is compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageContent<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) encoding: Encoding,
    /// Rows that begin in it.
    pub(super) rows: usize,
    /// Values, missing ones and empty lists included.
    pub(super) values: usize,
    pub(super) nulls: u64,
    /// The least and the greatest of its texts.
    pub(super) bounds: Option<(&'a str, &'a str)>,
}

/// Of a column that zstd makes smaller by less than a tenth the pages are written as they are. A reader makes
/// itself a compressor and a decompressor for each column of each row group, which is a fifth of the processor
/// time of looking up a trace, and two in five of a span's columns are empty, the same in all rows, or random.
const WORTH_COMPRESSING: f64 = 0.9;

/// A column on its way.
pub(super) struct Chunk {
    column: ColumnDescPtr,
    compressor: zstd::bulk::Compressor<'static>,
    /// Compressed, in their order.
    pages: Vec<HeldPage>,
    values: i64,
    column_index: ColumnIndexBuilder,
    /// Whether no page's bounds are below those of the page before, and whether none are above.
    is_rising: bool,
    is_falling: bool,
    page_before: Option<(String, String)>,
    bounds: TextBounds,
}

/// A page that waits for the others.
struct HeldPage {
    page: Page,
    /// Its bytes before it was compressed.
    plain_bytes: usize,
    rows: u64,
}

/// What is written of a column.
struct Written {
    sink: TrackedWrite<Vec<u8>>,
    sizes: Sizes,
    encodings: Vec<PageEncodingStats>,
    offset_index: OffsetIndexBuilder,
}

/// What the pages come to.
#[derive(Debug, Default)]
struct Sizes {
    compressed: i64,
    uncompressed: i64,
    rows: u64,
    dictionary_at: Option<i64>,
    data_at: Option<i64>,
}

impl Chunk {
    /// A column of texts, compressed with zstd at this level where that is worth it.
    pub(super) fn new(column: ColumnDescPtr, zstd_level: i32) -> Result<Self, ParquetError> {
        Ok(Self {
            column,
            compressor: zstd::bulk::Compressor::new(zstd_level)?,
            pages: Vec::new(),
            values: 0,
            column_index: ColumnIndexBuilder::new(Type::BYTE_ARRAY),
            is_rising: true,
            is_falling: true,
            page_before: None,
            bounds: TextBounds::default(),
        })
    }

    /// What is written.
    pub(super) fn column(&self) -> &ColumnDescPtr {
        &self.column
    }

    /// Writes the dictionary, before any page.
    pub(super) fn write_dictionary(&mut self, texts: &[&str]) -> Result<(), ParquetError> {
        let mut bytes = Vec::new();
        for text in texts {
            push_plain(text, &mut bytes);
        }
        let page = Page::DictionaryPage {
            buf: self.compressor.compress(&bytes)?.into(),
            num_values: number(texts.len()),
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.pages.push(HeldPage { page, plain_bytes: bytes.len(), rows: 0 });
        Ok(())
    }

    /// Writes the next page.
    pub(super) fn write(&mut self, content: PageContent<'_>) -> Result<(), ParquetError> {
        let PageContent { bytes, encoding, rows, values, nulls, bounds } = content;
        let page = Page::DataPage {
            buf: self.compressor.compress(bytes)?.into(),
            num_values: number(values),
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.pages.push(HeldPage { page, plain_bytes: bytes.len(), rows: rows as u64 });
        self.values += signed(values as u64);
        self.note_bounds(bounds, nulls);
        Ok(())
    }

    fn note_bounds(&mut self, bounds: Option<(&str, &str)>, nulls: u64) {
        self.bounds.nulls += nulls;
        let Some((least, greatest)) = bounds else {
            self.column_index.append(true, Vec::new(), Vec::new(), signed(nulls));
            return;
        };
        let (low, high) = (lower(least).0, upper(greatest).0);
        self.column_index.append(false, low, high, signed(nulls));
        if let Some((least_before, greatest_before)) = &self.page_before {
            self.is_rising &= &**least_before <= least && &**greatest_before <= greatest;
            self.is_falling &= &**least_before >= least && &**greatest_before >= greatest;
        }
        self.page_before = Some((least.to_owned(), greatest.to_owned()));
        match &mut self.bounds.least_and_greatest {
            Some((all_least, all_greatest)) => {
                if least < &**all_least {
                    least.clone_into(all_least);
                }
                if greatest > &**all_greatest {
                    greatest.clone_into(all_greatest);
                }
            }
            unknown => *unknown = Some((least.to_owned(), greatest.to_owned())),
        }
    }

    /// The bytes, what a row group has to know of them, and the bounds of the texts. A column inside of
    /// another has neither bounds nor an index of them.
    pub(super) fn finish(self) -> Result<(Bytes, ColumnCloseResult, TextBounds), ParquetError> {
        let Self { column, pages, values, mut column_index, bounds, .. } = self;
        let (compression, written) = Written::of(pages)?;
        let Written { sink, sizes, encodings, offset_index } = written;
        let has_bounds = column.path().parts().len() == 1;
        let order = match (self.is_rising, self.is_falling) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        };
        column_index.set_boundary_order(order);
        let used = encodings.iter().map(|pages| pages.encoding).chain([Encoding::RLE]);
        let mut metadata = ColumnChunkMetaData::builder(column)
            .set_compression(compression)
            .set_encodings(used.collect())
            .set_page_encoding_stats(encodings)
            .set_total_compressed_size(sizes.compressed)
            .set_total_uncompressed_size(sizes.uncompressed)
            .set_num_values(values)
            .set_data_page_offset(sizes.data_at.unwrap_or(0))
            .set_dictionary_page_offset(sizes.dictionary_at);
        if has_bounds {
            metadata = metadata.set_statistics(statistics(&bounds));
        }
        let bytes = Bytes::from(sink.into_inner()?);
        let closed = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: sizes.rows,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: if has_bounds { Some(column_index.build()?) } else { None },
            offset_index: Some(offset_index.build()),
        };
        Ok((bytes, closed, bounds))
    }
}

impl HeldPage {
    /// The page before it was compressed.
    fn plain(self, decompressor: &mut zstd::bulk::Decompressor<'_>) -> Result<Self, ParquetError> {
        let bytes = decompressor.decompress(self.page.buffer(), self.plain_bytes)?;
        let page = match self.page {
            Page::DictionaryPage { num_values, encoding, is_sorted, .. } => {
                Page::DictionaryPage { buf: bytes.into(), num_values, encoding, is_sorted }
            }
            Page::DataPage {
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                statistics,
                ..
            } => Page::DataPage {
                buf: bytes.into(),
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                statistics,
            },
            other @ Page::DataPageV2 { .. } => other,
        };
        Ok(Self { page, ..self })
    }
}

impl Written {
    /// Writes pages as they are held, or without compression where it is not worth it.
    fn of(pages: Vec<HeldPage>) -> Result<(Compression, Self), ParquetError> {
        let compressed: usize = pages.iter().map(|held| held.page.buffer().len()).sum();
        let plain: usize = pages.iter().map(|held| held.plain_bytes).sum();
        let is_worth_it = (compressed as f64) < WORTH_COMPRESSING * plain as f64;
        let mut written = Self {
            sink: TrackedWrite::new(Vec::new()),
            sizes: Sizes::default(),
            encodings: Vec::new(),
            offset_index: OffsetIndexBuilder::new(),
        };
        if is_worth_it {
            for held in pages {
                written.write(held)?;
            }
        } else {
            let mut decompressor = zstd::bulk::Decompressor::new()?;
            for held in pages {
                written.write(held.plain(&mut decompressor)?)?;
            }
        }
        let zstd = Compression::ZSTD(ZstdLevel::default());
        Ok((if is_worth_it { zstd } else { Compression::UNCOMPRESSED }, written))
    }

    fn write(
        &mut self,
        HeldPage { page, plain_bytes, rows }: HeldPage,
    ) -> Result<(), ParquetError> {
        let (page_type, encoding) = (page.page_type(), page.encoding());
        let page = CompressedPage::new(page, plain_bytes);
        let written = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        self.sizes.compressed += signed(written.compressed_size as u64);
        self.sizes.uncompressed += signed(written.uncompressed_size as u64);
        match self.encodings.last_mut() {
            Some(last) if last.page_type == page_type && last.encoding == encoding => {
                last.count += 1;
            }
            _ => self.encodings.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
        let at = signed(written.offset);
        if page_type == PageType::DICTIONARY_PAGE {
            self.sizes.dictionary_at = Some(at);
            return Ok(());
        }
        let size = i32::try_from(written.compressed_size);
        let size =
            size.map_err(|_too_large| ParquetError::General("a page is over 2 GiB".to_owned()))?;
        self.offset_index.append_row_count(signed(rows));
        self.offset_index.append_offset_and_size(at, size);
        self.sizes.data_at.get_or_insert(at);
        self.sizes.rows += rows;
        Ok(())
    }
}

fn statistics(bounds: &TextBounds) -> Statistics {
    let nulls = Some(bounds.nulls);
    let Some((least, greatest)) = &bounds.least_and_greatest else {
        return Statistics::ByteArray(ValueStatistics::new(None, None, None, nulls, false));
    };
    let ((low, is_least), (high, is_greatest)) = (lower(least), upper(greatest));
    let (low, high) = (Some(ByteArray::from(low)), Some(ByteArray::from(high)));
    let statistics = ValueStatistics::new(low, high, None, nulls, false);
    let statistics = statistics.with_min_is_exact(is_least).with_max_is_exact(is_greatest);
    Statistics::ByteArray(statistics)
}

/// Something that is not above the text, and whether it is the text itself.
fn lower(text: &str) -> (Vec<u8>, bool) {
    let cut = beginning(text);
    (cut.as_bytes().to_vec(), cut.len() == text.len())
}

/// Something that is not below the text, and whether it is the text itself: its beginning with the last
/// character that has a next one of the same length replaced by that.
fn upper(text: &str) -> (Vec<u8>, bool) {
    let cut = beginning(text);
    if cut.len() == text.len() {
        return (text.as_bytes().to_vec(), true);
    }
    let places = cut.char_indices().rev();
    let next = places.filter_map(|(at, last)| {
        let next = char::from_u32(u32::from(last) + 1)?;
        (next.len_utf8() == last.len_utf8()).then_some((at, next))
    });
    let Some((at, next)) = next.into_iter().next() else {
        return (text.as_bytes().to_vec(), true);
    };
    let mut bound = cut.as_bytes()[..at].to_vec();
    bound.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
    (bound, false)
}

fn beginning(text: &str) -> &str {
    text.get(..text.floor_char_boundary(BOUND_BYTES_MAX)).unwrap_or(text)
}

/// Appends a text in the plain encoding: its length and its bytes.
#[inline]
pub(super) fn push_plain(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&number(text.len()).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends levels up to `largest`: their length in bytes, then the hybrid.
pub(super) fn push_levels(levels: &[u8], largest: u8, out: &mut Vec<u8>) {
    let length_at = out.len();
    out.extend_from_slice(&[0; size_of::<u32>()]);
    let levels_at = out.len();
    hybrid::encode(levels, hybrid::bit_width(largest.into()), out);
    let length = number(out.len() - levels_at);
    out[length_at..levels_at].copy_from_slice(&length.to_le_bytes());
}

/// Appends places in a dictionary of this many texts: the width of one, then the hybrid.
pub(super) fn push_places(places: &[u32], dictionary: usize, out: &mut Vec<u8>) {
    let width = hybrid::bit_width(number(dictionary.saturating_sub(1)));
    out.push(width);
    hybrid::encode(places, width, out);
}

pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_bounded_by_their_beginning() {
        let long = |last: &str| format!("{}{last}{}", "a".repeat(60), "z".repeat(20));
        for text in [long("b"), long("\u{7f}"), long("é"), long("\u{10FFFF}"), long("\u{7ff}")] {
            let ((low, is_low), (high, is_high)) = (lower(&text), upper(&text));
            assert!(low.as_slice() <= text.as_bytes() && !is_low, "{text}");
            assert!(high.as_slice() > text.as_bytes() && !is_high, "{text}");
            assert!(high.len() <= BOUND_BYTES_MAX, "{text}");
            assert!(std::str::from_utf8(&high).is_ok(), "{text}");
        }
        assert_eq!(upper("short"), (b"short".to_vec(), true));
        let highest = "\u{10FFFF}".repeat(20);
        assert_eq!(upper(&highest), (highest.as_bytes().to_vec(), true));
    }
}
