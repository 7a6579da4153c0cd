//! The rows that are in no file yet.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{BatchCoalescer, cast};
use arrow::datatypes::SchemaRef;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

use super::{ScanRequest, pruning};

/// Rows of a batch as DataFusion's own sources give them: requests bring a few rows each, and the
/// cost of an operator is per batch.
const BATCH_ROWS: usize = 8192;

/// A scan of rows in memory; `None` if there are none.
pub(super) fn scan(
    schema: &SchemaRef,
    hot: &[RecordBatch],
    request: &ScanRequest,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let hot = pruning::batches(hot, schema, request)?;
    if hot.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(None);
    }
    let schema = Arc::new(schema.project(request.columns)?);
    let parts = hot.iter().map(|batch| in_schema(&batch.project(request.columns)?, &schema));
    let batches = joined(&schema, parts)?;
    Ok(Some(MemorySourceConfig::try_new_exec(&[batches], schema, None)?))
}

/// A batch with its columns cast to the schema's types.
fn in_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns: Vec<ArrayRef> =
        columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn joined(
    schema: &SchemaRef,
    parts: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<Vec<RecordBatch>> {
    if schema.fields().is_empty() {
        return parts.collect();
    }
    let mut coalescer = BatchCoalescer::new(Arc::clone(schema), BATCH_ROWS);
    let mut batches = Vec::new();
    for part in parts {
        coalescer.push_batch(part?)?;
        batches.extend(std::iter::from_fn(|| coalescer.next_completed_batch()));
    }
    coalescer.finish_buffered_batch()?;
    batches.extend(std::iter::from_fn(|| coalescer.next_completed_batch()));
    Ok(batches)
}
