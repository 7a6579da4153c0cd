//! Which files of a table, and which batches in memory, can hold rows of a query.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{max, min};
use arrow::datatypes::{
    DataType, Date32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::scalar::ScalarValue;
use upriver_store::snapshot::DataFile;

use super::{ScanRequest, statistics};

/// The files that the filters leave over.
pub(super) fn files<'a>(
    files: &'a [DataFile],
    schema: &SchemaRef,
    request: &ScanRequest,
) -> Result<Vec<&'a DataFile>> {
    candidates(files, &FileStatistics { files, schema }, schema, request)
}

/// The batches that the filters leave over. Requests bring a few rows of the same minute, so most
/// questions concern few of them.
pub(super) fn batches<'a>(
    batches: &'a [RecordBatch],
    schema: &SchemaRef,
    request: &ScanRequest,
) -> Result<Vec<&'a RecordBatch>> {
    candidates(batches, &BatchStatistics { batches, schema }, schema, request)
}

fn candidates<'a, T>(
    containers: &'a [T],
    statistics: &impl PruningStatistics,
    schema: &SchemaRef,
    request: &ScanRequest,
) -> Result<Vec<&'a T>> {
    let all = || containers.iter().collect();
    let Some(filter) = conjunction(request.filters.iter().filter(|f| !f.is_volatile()).cloned())
    else {
        return Ok(all());
    };
    let columns = DFSchema::try_from(Arc::clone(schema))?;
    let filter = request.state.create_physical_expr(filter, &columns)?;
    let predicate =
        PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).try_build(filter)?;
    if predicate.always_true() {
        return Ok(all());
    }
    let kept = predicate.prune(statistics)?;
    Ok(containers.iter().zip(kept).filter_map(|(one, kept)| kept.then_some(one)).collect())
}

/// The ids of the single traces that the filters ask for, if that is what they do.
pub(super) fn trace_ids(filters: &[Expr]) -> Option<Vec<&[u8]>> {
    filters.iter().find_map(trace_ids_of)
}

/// A short list of ids comes as alternatives.
fn trace_ids_of(filter: &Expr) -> Option<Vec<&[u8]>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (&**left, &**right)
        {
            (column, id) | (id, column) if is_trace_id(column) => Some(vec![literal(id)?]),
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some([trace_ids_of(left)?, trace_ids_of(right)?].concat())
        }
        Expr::InList(list) if !list.negated && is_trace_id(&list.expr) => {
            list.list.iter().map(literal).collect()
        }
        _ => None,
    }
}

fn is_trace_id(expression: &Expr) -> bool {
    matches!(expression, Expr::Column(column) if column.name == "trace_id")
}

/// The bytes of an id that is written down.
fn literal(expression: &Expr) -> Option<&[u8]> {
    match expression {
        Expr::Literal(ScalarValue::Binary(Some(id)) | ScalarValue::BinaryView(Some(id)), _) => {
            Some(id)
        }
        _ => None,
    }
}

/// The files' statistics, one container per file.
struct FileStatistics<'a> {
    files: &'a [DataFile],
    schema: &'a SchemaRef,
}

impl FileStatistics<'_> {
    fn column(
        &self,
        column: &Column,
        choose: impl Fn((Option<ScalarValue>, Option<ScalarValue>)) -> Option<ScalarValue>,
    ) -> Option<ArrayRef> {
        let kind = self.schema.field_with_name(&column.name).ok()?.data_type();
        let null = null_of(kind)?;
        let values = self.files.iter().map(|file| {
            choose(statistics::bounds(file, &column.name, kind)).unwrap_or_else(|| null.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

fn null_of(kind: &DataType) -> Option<ScalarValue> {
    ScalarValue::try_from(kind).ok()
}

impl PruningStatistics for FileStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column, |(min, _)| min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column, |(_, max)| max)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts = self.files.iter().map(|file| file.statistics.get(&column.name)?.null_count);
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| Some(file.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// Bounds of numbers and times, computed from the rows; texts have none.
struct BatchStatistics<'a> {
    batches: &'a [RecordBatch],
    schema: &'a SchemaRef,
}

impl BatchStatistics<'_> {
    fn column(
        &self,
        column: &Column,
        bound: impl Fn(&dyn Array) -> Option<ScalarValue>,
    ) -> Option<ArrayRef> {
        let null = null_of(self.schema.field_with_name(&column.name).ok()?.data_type())?;
        let values = self.batches.iter().map(|batch| {
            let rows = batch.column_by_name(&column.name);
            rows.and_then(|rows| bound(rows)).unwrap_or_else(|| null.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

/// The smallest value and the largest.
fn bounds(rows: &dyn Array) -> Option<[ScalarValue; 2]> {
    match rows.data_type() {
        DataType::Int64 => {
            let rows = rows.as_primitive::<Int64Type>();
            Some([ScalarValue::Int64(min(rows)), ScalarValue::Int64(max(rows))])
        }
        DataType::Date32 => {
            let rows = rows.as_primitive::<Date32Type>();
            Some([ScalarValue::Date32(min(rows)), ScalarValue::Date32(max(rows))])
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let rows = rows.as_primitive::<TimestampMicrosecondType>();
            Some([min(rows), max(rows)].map(|v| ScalarValue::TimestampMicrosecond(v, zone.clone())))
        }
        _ => None,
    }
}

impl PruningStatistics for BatchStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column, |rows| bounds(rows).map(|[min, _]| min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column, |rows| bounds(rows).map(|[_, max]| max))
    }

    fn num_containers(&self) -> usize {
        self.batches.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts = self
            .batches
            .iter()
            .map(|batch| batch.column_by_name(&column.name).map(|rows| rows.null_count() as u64));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.batches.iter().map(|batch| Some(batch.num_rows() as u64));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
