//! Which files of a table can hold rows of a query.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::scalar::ScalarValue;
use upriver_store::snapshot::DataFile;

use super::{ScanRequest, statistics};

/// The files that the filters leave over.
pub(super) fn candidates<'a>(
    files: &'a [DataFile],
    schema: &SchemaRef,
    request: &ScanRequest,
) -> Result<Vec<&'a DataFile>> {
    let all = || files.iter().collect();
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
    let kept = predicate.prune(&FileStatistics { files, schema })?;
    Ok(files.iter().zip(kept).filter_map(|(file, kept)| kept.then_some(file)).collect())
}

/// Whether the filters ask for single traces. Only then are they evaluated while decoding: it makes
/// point lookups ten times faster and aggregates slower.
pub(super) fn is_trace_lookup(filters: &[Expr]) -> bool {
    let is_trace_id = |e: &Expr| matches!(e, Expr::Column(column) if column.name == "trace_id");
    let is_literal = |e: &Expr| matches!(e, Expr::Literal(..));
    filters.iter().any(|filter| match filter {
        Expr::BinaryExpr(comparison) if comparison.op == Operator::Eq => {
            let (left, right) = (&*comparison.left, &*comparison.right);
            (is_trace_id(left) && is_literal(right)) || (is_literal(left) && is_trace_id(right))
        }
        Expr::InList(list) => {
            !list.negated && is_trace_id(&list.expr) && list.list.iter().all(is_literal)
        }
        _ => false,
    })
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
