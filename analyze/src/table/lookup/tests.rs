use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::*;

const ROW_GROUPS: usize = 5;
const ROWS: usize = 700;
const PAGE_ROWS: usize = 200;

fn id(number: usize) -> Vec<u8> {
    let number = number as u64;
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [mixed.to_be_bytes(), number.to_be_bytes()].concat()
}

/// What a file has beside its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filters {
    Missing,
    OfRowGroups,
    /// Those, and of pages.
    OfPages,
}

/// The filters of all pages, as the metadata of a file has them from this offset on.
fn page_filters(offset: usize) -> (Vec<u8>, KeyValue) {
    let (mut bits, mut value) = (Vec::new(), format!("{PAGE_ROWS} {offset}"));
    for row_group in 0..ROW_GROUPS {
        value.push(' ');
        for page in (0..ROWS).step_by(PAGE_ROWS) {
            let mut filter = Sbbf::new_with_num_of_bytes(32 << 4);
            let rows = row_group * ROWS + page..row_group * ROWS + ROWS.min(page + PAGE_ROWS);
            rows.for_each(|number| filter.insert(&id(number)[..]));
            filter.write_bitset(&mut bits).unwrap();
            value.push('4');
        }
    }
    (bits, KeyValue::new("upriver.trace_id.pages".to_owned(), value))
}

/// A file whose row groups have an id for each row, and readers that find it.
async fn stored(filters: Filters) -> (PartitionedFile, IndexedReaders) {
    let ids: Vec<_> = (0..ROW_GROUPS * ROWS).map(id).collect();
    let ids: ArrayRef = Arc::new(BinaryArray::from_iter_values(&ids));
    let other: ArrayRef = Arc::new(BinaryArray::from_iter_values(vec![[1]; ROW_GROUPS * ROWS]));
    let rows = RecordBatch::try_from_iter([("before", other), (TRACE_ID, ids)]).unwrap();
    let mut properties = WriterProperties::builder().set_max_row_group_row_count(Some(ROWS));
    if filters != Filters::Missing {
        properties = properties.set_column_bloom_filter_fpp(TRACE_ID.into(), 0.01);
    }
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties.build())).unwrap();
    writer.write(&rows).unwrap();
    writer.flush().unwrap();
    if filters == Filters::OfPages {
        let (bits, metadata) = page_filters(writer.bytes_written());
        writer.write_all(&bits).unwrap();
        writer.append_key_value_metadata(metadata);
    }
    writer.close().unwrap();
    let file = PartitionedFile::new("some.parquet", bytes.len() as u64);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    store.put(&file.object_meta.location, bytes.into()).await.unwrap();
    let footers = RuntimeEnv::default().cache_manager.get_file_metadata_cache();
    let cached = CachedParquetFileReaderFactory::new(store, footers);
    (file, IndexedReaders::new(cached, None))
}

async fn wanted(ids: &[Vec<u8>], filters: Filters) -> Vec<usize> {
    let (file, readers) = stored(filters).await;
    let ids: Vec<_> = ids.iter().map(Vec::as_slice).collect();
    let candidate = Candidate::of(file, &readers, &ids).await.unwrap();
    assert_eq!(candidate.row_groups, ROW_GROUPS);
    candidate.wanted.iter().map(|wanted| wanted.number).collect()
}

#[tokio::test]
async fn an_id_is_looked_for_where_it_is_and_hardly_elsewhere() {
    let (file, readers) = stored(Filters::OfRowGroups).await;
    let mut elsewhere = 0;
    for number in (0..ROW_GROUPS * ROWS).step_by(7) {
        let id = id(number);
        let candidate = Candidate::of(file.clone(), &readers, &[&id]).await.unwrap();
        let wanted: Vec<_> = candidate.wanted.iter().map(|wanted| wanted.number).collect();
        assert!(wanted.contains(&(number / ROWS)), "{number}: {wanted:?}");
        elsewhere += wanted.len() - 1;
    }
    // Of 500 ids in four other row groups each, one in a hundred.
    assert!(elsewhere < 60, "{elsewhere}");
}

#[tokio::test]
async fn many_ids_are_looked_for_as_few_are() {
    for count in [2, BLOCKS_MAX, BLOCKS_MAX + 1] {
        let ids: Vec<_> = (ROWS * 3..).map(id).take(count).collect();
        let found = wanted(&ids, Filters::OfRowGroups).await;
        assert!(found.contains(&3), "{count}: {found:?}");
        assert!(count > 2 || found.len() < ROW_GROUPS, "{count}: {found:?}");
        // Each asks for the same blocks, by itself or among all of a filter's.
        let one_by_one: Vec<_> = futures::stream::iter(&ids)
            .then(|id| wanted(std::slice::from_ref(id), Filters::OfRowGroups))
            .collect()
            .await;
        let mut one_by_one = one_by_one.concat();
        one_by_one.sort_unstable();
        one_by_one.dedup();
        assert_eq!(found, one_by_one, "{count}");
    }
}

#[tokio::test]
async fn without_filters_an_id_can_be_anywhere() {
    assert_eq!(wanted(&[id(1)], Filters::Missing).await, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn of_a_row_group_the_pages_are_read_that_can_hold_an_id() {
    let (file, readers) = stored(Filters::OfPages).await;
    let (mut pages, mut lookups) = (0, 0);
    for number in (0..ROW_GROUPS * ROWS).step_by(13) {
        let candidate = Candidate::of(file.clone(), &readers, &[&id(number)]).await.unwrap();
        let own = candidate.wanted.iter().find(|wanted| wanted.number == number / ROWS).unwrap();
        for wanted in &candidate.wanted {
            let RowGroupAccess::Selection(rows) = &wanted.rows else { panic!("{wanted:?}") };
            pages += rows.row_count().div_ceil(PAGE_ROWS);
            assert_eq!(rows.row_count() + rows.skipped_row_count(), ROWS);
        }
        let RowGroupAccess::Selection(rows) = &own.rows else { panic!("{own:?}") };
        let mut place = 0;
        let is_read = rows.iter().any(|part| {
            let rows = place..place + part.row_count;
            place = rows.end;
            !part.skip && rows.contains(&(number % ROWS))
        });
        assert!(is_read, "{number}: {rows:?}");
        lookups += 1;
    }
    // Twenty bits for each id: one page each, and hardly another.
    assert!(pages < lookups + lookups / 20, "{pages} of {lookups}");
}

fn candidate(name: &str, row_groups: usize, wanted: &[usize]) -> Candidate {
    let file = PartitionedFile::new(name, 1000);
    let of = |number: &usize| {
        let (number, start) = (*number, 4 + 100 * *number as i64);
        Wanted { number, start, rows: RowGroupAccess::Scan }
    };
    let wanted = wanted.iter().map(of).collect();
    Candidate { file, row_groups, wanted }
}

#[test]
fn each_partition_gets_as_many_row_groups_and_each_row_group_is_in_one() {
    let candidates = [
        candidate("a", 9, &[0, 3, 4, 8]),
        candidate("none", 3, &[]),
        candidate("b", 2, &[1]),
        candidate("c", 4, &[0, 1]),
    ];
    for partitions in 1..9 {
        let groups = shares(&candidates, partitions);
        assert_eq!(groups.len(), partitions.min(7));
        let mut read = Vec::new();
        for group in &groups {
            let before = read.len();
            for part in group.iter() {
                let range = part.range.clone().unwrap();
                let plan = part.extensions.get::<ParquetAccessPlan>().unwrap();
                let name = part.object_meta.location.as_ref();
                let of = candidates.iter().find(|c| c.file.path().as_ref() == name).unwrap();
                for Wanted { number, start, .. } in &of.wanted {
                    assert_eq!(plan.should_scan(*number), range.contains(*start));
                }
                let numbers = plan.row_group_indexes();
                read.extend(numbers.into_iter().map(|number| (name.to_owned(), number)));
            }
            let share = read.len() - before;
            assert!(share == 7 / partitions || share == 7_usize.div_ceil(partitions), "{share}");
        }
        let wanted = candidates.iter().flat_map(|of| {
            let name = of.file.path().to_string();
            of.wanted.iter().map(move |wanted| (name.clone(), wanted.number))
        });
        assert_eq!(read, wanted.collect::<Vec<_>>());
    }
    assert!(shares(&[], 2).is_empty());
}

#[test]
fn the_parts_of_a_file_are_all_of_it() {
    let groups = shares(&[candidate("a", 9, &[2, 3, 8])], 2);
    let ranges: Vec<_> =
        groups.iter().flat_map(FileGroup::iter).map(PartitionedFile::range).collect();
    assert_eq!(ranges, [(0, 804), (804, 1000)]);
}
