//! The committed files: a plain Parquet scan over those that can hold rows of the query.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Statistics;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use object_store::path::Path as ObjectPath;
use upriver_store::ids::content_id;
use upriver_store::place::Place;
use upriver_store::schema::Table;
use upriver_store::snapshot::DataFile;

use super::reader::IndexedReaders;
use super::{FileLocation, ScanRequest, pruning, statistics};

/// Makes the place of the tables known to the runtime under a scheme of its own. Paths cannot leave
/// that place; there is no `file://`.
pub(super) fn locate(place: &Place, table: Table, runtime: &RuntimeEnv) -> Result<FileLocation> {
    let host = content_id([place.url().as_str()]);
    let store = ObjectStoreUrl::parse(format!("upriver://{host}"))?;
    if runtime.object_store(&store).is_err() {
        runtime.register_object_store(store.as_ref(), place.objects());
    }
    Ok(FileLocation { store, folder: table.name() })
}

/// A scan of the files that the filters leave over; `None` if there are none.
pub(super) fn scan(
    location: &FileLocation,
    schema: &SchemaRef,
    files: &[DataFile],
    request: &ScanRequest,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let files = pruning::files(files, schema, request)?;
    if files.is_empty() {
        return Ok(None);
    }
    let table = table_schema(schema);
    let parts = files.iter().map(|file| partitioned_file(location, file, table.file_schema()));
    let parts: Vec<_> = parts.collect::<Result<_>>()?;
    let total = {
        let each = parts.iter().filter_map(|part| part.statistics.as_deref());
        Statistics::try_merge_iter(each, schema)?
    };
    let partitions = request.state.config().target_partitions();
    let groups = if pruning::is_trace_lookup(request.filters) {
        shares(&parts, partitions)
    } else {
        FileGroup::new(parts).split_files(partitions)
    };
    let config =
        FileScanConfigBuilder::new(location.store.clone(), source(location, table, request)?)
            .with_file_groups(groups)
            .with_statistics(total)
            .with_limit(request.limit)
            .with_projection_indices(Some(request.columns.to_vec()))?
            .build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// Files with fewer bytes are read by one partition: they have a row group or two.
const SHARED_FILE_BYTES: u64 = 8 << 20;

/// A share of each file for each partition. The rows of a trace lie in one file, at the time of the trace,
/// among those of every service that it went through: split by files, one partition would read all of them.
fn shares(files: &[PartitionedFile], partitions: usize) -> Vec<FileGroup> {
    let count = partitions.max(1) as u64;
    let mut groups = vec![Vec::new(); partitions.max(1)];
    for (number, file) in files.iter().enumerate() {
        let bytes = file.object_meta.size;
        if bytes < SHARED_FILE_BYTES {
            groups[number % partitions.max(1)].push(file.clone());
            continue;
        }
        let end_of = |share: u64| i64::try_from(bytes / count * share).unwrap_or(i64::MAX);
        for (share, group) in (1..).zip(&mut groups) {
            let end = if share == count { bytes.cast_signed() } else { end_of(share) };
            group.push(file.clone().with_range(end_of(share - 1), end));
        }
    }
    groups.into_iter().filter(|group| !group.is_empty()).map(FileGroup::new).collect()
}

fn source(
    location: &FileLocation,
    table: TableSchema,
    request: &ScanRequest,
) -> Result<Arc<ParquetSource>> {
    let runtime = request.state.runtime_env();
    let store = runtime.object_store(&location.store)?;
    let footers = runtime.cache_manager.get_file_metadata_cache();
    let source = ParquetSource::new(table)
        .with_parquet_file_reader_factory(Arc::new(IndexedReaders::new(
            CachedParquetFileReaderFactory::new(store, footers),
        )))
        .with_pushdown_filters(pruning::is_trace_lookup(request.filters));
    Ok(Arc::new(source))
}

/// The table's schema with its last column, the partition, apart: it is in paths, not in files.
fn table_schema(schema: &Schema) -> TableSchema {
    let (partition, columns) =
        schema.fields().split_last().expect("every table ends with its partition");
    let file_schema = Schema::new(columns.to_vec());
    TableSchema::builder(Arc::new(file_schema))
        .with_table_partition_cols(vec![Arc::clone(partition)])
        .build()
}

fn partitioned_file(
    location: &FileLocation,
    file: &DataFile,
    schema: &Schema,
) -> Result<PartitionedFile> {
    let path = ObjectPath::parse(format!("{}/{}", location.folder, file.path))
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    let mut part = PartitionedFile::new("", file.size_bytes);
    part.object_meta.location = path;
    Ok(part
        .with_partition_values(vec![statistics::date(file)])
        .with_statistics(Arc::new(statistics::of_file(file, schema))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_gets_its_share_of_a_large_file_and_every_byte_is_in_one() {
        let files = [SHARED_FILE_BYTES * 4 + 5, 7, SHARED_FILE_BYTES - 1, SHARED_FILE_BYTES]
            .map(|bytes| PartitionedFile::new(bytes.to_string(), bytes));
        for partitions in [1, 2, 3] {
            let groups = shares(&files, partitions);
            assert_eq!(groups.len(), partitions);
            for file in &files {
                let mut ranges: Vec<_> = groups
                    .iter()
                    .flat_map(FileGroup::iter)
                    .filter(|part| part.path() == file.path())
                    .map(PartitionedFile::range)
                    .collect();
                ranges.sort_unstable();
                let is_shared = file.object_meta.size >= SHARED_FILE_BYTES;
                assert_eq!(ranges.len(), if is_shared { partitions } else { 1 });
                assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, file.object_meta.size));
                assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0), "{ranges:?}");
            }
        }
        assert!(shares(&[], 2).is_empty());
    }
}
