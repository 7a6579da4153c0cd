//! Readers of files whose page indexes stay in memory with their footers, and which do not wait for what the
//! operating system has in memory.
//!
//! DataFusion asks its cache for a footer without page indexes, and then reads those again in every query:
//! a fifth of the time that a trace takes that is not in a file.

use std::future::ready;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::page_cache::CachedFile;

/// Makes readers that ask the cache of footers for page indexes as well.
#[derive(Debug)]
pub(super) struct IndexedReaders {
    cached: CachedParquetFileReaderFactory,
    folder: Option<PathBuf>,
}

impl IndexedReaders {
    /// Readers of the files of a store, which lie in this folder if they are local.
    pub(super) fn new(cached: CachedParquetFileReaderFactory, folder: Option<PathBuf>) -> Self {
        Self { cached, folder }
    }
}

impl ParquetFileReaderFactory for IndexedReaders {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let path = |folder: &PathBuf| folder.join(file.object_meta.location.as_ref());
        let cached = self.folder.as_ref().map(path).map(CachedFile::new);
        let bytes_read = MetricBuilder::new(metrics).counter("bytes_scanned", partition);
        let stored = self.cached.create_reader(partition, file, metadata_size_hint, metrics)?;
        Ok(Box::new(IndexedReader { stored, cached, bytes_read }))
    }
}

struct IndexedReader {
    stored: Box<dyn AsyncFileReader + Send>,
    cached: Option<CachedFile>,
    /// What did not go through the store, which counts by itself.
    bytes_read: Count,
}

impl IndexedReader {
    /// The bytes that are in memory; `None` where not all are.
    fn read_cached(&mut self, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
        let parts = self.cached.as_mut()?.read(ranges)?;
        self.bytes_read.add(parts.iter().map(Bytes::len).sum());
        Some(parts)
    }
}

impl AsyncFileReader for IndexedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.stored.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        match self.read_cached(&ranges) {
            Some(parts) => ready(Ok(parts)).boxed(),
            None => self.stored.get_byte_ranges(ranges),
        }
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let options = options.cloned().unwrap_or_default();
        let options = options.with_page_index_policy(PageIndexPolicy::Optional);
        async move { self.stored.get_metadata(Some(&options)).await }.boxed()
    }
}
