//! The committed files: a plain Parquet scan over those that can hold rows of the query.

use std::path::Path;
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
use super::{FileLocation, ScanRequest, lookup, pruning, statistics};

/// Makes the place of the tables known to the runtime under a scheme of its own. Paths cannot leave
/// that place; there is no `file://`.
pub(super) fn locate(place: &Place, table: Table, runtime: &RuntimeEnv) -> Result<FileLocation> {
    let host = content_id([place.url().as_str()]);
    let store = ObjectStoreUrl::parse(format!("upriver://{host}"))?;
    if runtime.object_store(&store).is_err() {
        runtime.register_object_store(store.as_ref(), place.objects());
    }
    let local = place.local().map(Path::to_path_buf);
    Ok(FileLocation { store, folder: table.folder(), local })
}

/// A scan of the files that the filters leave over; `None` if there are none.
pub(super) async fn scan(
    location: &FileLocation,
    schema: &SchemaRef,
    files: &[DataFile],
    request: &ScanRequest<'_>,
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
    let readers = readers(location, request)?;
    let ids = pruning::trace_ids(request.filters);
    let groups = match &ids {
        Some(ids) => lookup::groups(parts, &readers, ids, partitions).await?,
        None => FileGroup::new(parts).split_files(partitions),
    };
    if groups.is_empty() {
        return Ok(None);
    }
    // Filters on rows are evaluated while decoding for lookups only: it makes them ten times faster and
    // aggregates slower.
    let source = ParquetSource::new(table)
        .with_parquet_file_reader_factory(Arc::new(readers))
        .with_pushdown_filters(ids.is_some())
        .with_bloom_filter_on_read(ids.is_none());
    let config = FileScanConfigBuilder::new(location.store.clone(), Arc::new(source))
        .with_file_groups(groups)
        .with_statistics(total)
        .with_limit(request.limit)
        .with_projection_indices(Some(request.columns.to_vec()))?
        .build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// Readers that find footers and page indexes in the runtime's cache.
fn readers(location: &FileLocation, request: &ScanRequest) -> Result<IndexedReaders> {
    let runtime = request.state.runtime_env();
    let store = runtime.object_store(&location.store)?;
    let footers = runtime.cache_manager.get_file_metadata_cache();
    let cached = CachedParquetFileReaderFactory::new(store, footers);
    Ok(IndexedReaders::new(cached, location.local.clone()))
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
