//! Minutes that no table stores: spans of commits whose minutes would have had nearly as many rows, seen as
//! rows of `operation_minutes` and `edge_minutes`.
//!
//! A row of these tables is a part of a minute, and here each span is a part of its own: nothing has to be
//! grouped twice, and what a query does not ask for is not worked out. The rows are those that
//! `upriver_store::rollup` makes of the same spans one by one.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::functions::expr_fn::{coalesce, date_trunc};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlanBuilder, Operator, lit, when};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{cast, ident};
use upriver_store::schema::Table;
use upriver_store::snapshot::TableSnapshot;

use super::{ScanRequest, StoreTable, pruning};
use crate::functions::histogram_of;

const MICROS_PER_MINUTE: i64 = 60_000_000;
/// Columns that a span and its minute have in common.
const SHARED: [&str; 3] = ["service_version", "deployment_environment_name", "date"];
const SHARED_WITH_OPERATIONS: [&str; 5] =
    ["service_name", "span_name", "span_kind", "operation", "parent_service"];

/// The committed spans of which a table of minutes has no rows.
#[derive(Debug)]
pub(super) struct UnstoredMinutes {
    table: Table,
    spans: Arc<StoreTable>,
}

impl UnstoredMinutes {
    /// Those of a snapshot of `spans`; `None` where all minutes are stored.
    pub(super) fn of(
        table: Table,
        spans: &TableSnapshot,
        open: impl FnOnce(TableSnapshot) -> Result<StoreTable>,
    ) -> Result<Option<Self>> {
        let files = spans.files.iter().filter(|file| file.without_minutes).cloned();
        let files: Vec<_> = files.collect();
        if !table.is_made_of_spans() || files.is_empty() {
            return Ok(None);
        }
        let spans = TableSnapshot { files: Arc::new(files), hot: Vec::new(), ..spans.clone() };
        Ok(Some(Self { table, spans: Arc::new(open(spans)?) }))
    }

    /// A scan of the spans that the filters leave over; `None` if there are none.
    pub(super) async fn scan(
        &self,
        schema: &SchemaRef,
        request: &ScanRequest<'_>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let filters: Vec<_> =
            request.filters.iter().filter_map(|filter| self.of_spans(filter)).collect();
        let of_spans = ScanRequest { filters: &filters, ..*request };
        let (files, columns) = (&self.spans.snapshot.files, &self.spans.schema);
        if pruning::files(files, columns, &of_spans)?.is_empty() {
            return Ok(None);
        }
        let Some(columns_of) = self.columns_of(request.filters) else { return Ok(None) };
        let spans = provider_as_source(Arc::clone(&self.spans) as _);
        let mut plan = LogicalPlanBuilder::scan(Table::Spans.name(), spans, None)?;
        if let Some(filter) = conjunction(filters.into_iter().chain(columns_of.filter())) {
            plan = plan.filter(filter)?;
        }
        let column = |place: &usize| {
            let field = schema.field(*place);
            let value = columns_of.value(field.name());
            cast(value, field.data_type().clone()).alias(field.name())
        };
        let plan = plan.project(request.columns.iter().map(column))?.build()?;
        request.state.create_physical_plan(&plan).await.map(Some)
    }

    /// What the columns are made of; `None` where filters leave out all spans.
    fn columns_of(&self, filters: &[Expr]) -> Option<ColumnsOf> {
        if self.table == Table::OperationMinutes {
            return Some(ColumnsOf::Operations);
        }
        let mut side = None;
        for (column, text) in filters.iter().flat_map(split_conjunction).filter_map(equal_text) {
            match (column, text) {
                ("source", "spans") => {}
                ("reporter", SERVER) => side = Some(Side::Served),
                ("reporter", CLIENT) => side = Some(Side::Called),
                ("source" | "reporter", _) => return None,
                _ => {}
            }
        }
        Some(ColumnsOf::Edges(side))
    }

    /// What a filter on minutes says of their spans: that much or less. `None` where it says nothing.
    fn of_spans(&self, filter: &Expr) -> Option<Expr> {
        let is_shared = |name: &str| {
            SHARED.contains(&name)
                || self.table == Table::OperationMinutes && SHARED_WITH_OPERATIONS.contains(&name)
        };
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                conjunction([left, right].into_iter().filter_map(|side| self.of_spans(side)))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Some(self.of_spans(left)?.or(self.of_spans(right)?))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_time(left) => bounds(*op, right),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_time(right) => {
                bounds(op.swap()?, left)
            }
            Expr::Between(between) if is_time(&between.expr) && !between.negated => {
                let low = bounds(Operator::GtEq, &between.low)?;
                Some(low.and(bounds(Operator::LtEq, &between.high)?))
            }
            other => {
                let is_of_spans = !other.is_volatile()
                    && other.column_refs().iter().all(|column| is_shared(&column.name));
                is_of_spans.then(|| unqualified(other)).flatten()
            }
        }
    }
}

/// The filter with columns that are not of a table by name.
fn unqualified(filter: &Expr) -> Option<Expr> {
    let columns = filter.clone().transform(|part| {
        Ok(match part {
            Expr::Column(column) => Transformed::yes(ident(column.name)),
            other => Transformed::no(other),
        })
    });
    columns.ok().map(|columns| columns.data)
}

fn is_time(expression: &Expr) -> bool {
    matches!(expression, Expr::Column(column) if column.name == "time")
}

/// Where the start of a span lies whose minute compares so to an instant.
fn bounds(operator: Operator, instant: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), zone), _) = instant else {
        return None;
    };
    let at = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), zone.clone()));
    let not_before = || ident("time").gt_eq(at(*micros));
    let before = || ident("time").lt(at(micros.saturating_add(MICROS_PER_MINUTE)));
    match operator {
        Operator::Gt | Operator::GtEq => Some(not_before()),
        Operator::Lt | Operator::LtEq => Some(before()),
        Operator::Eq => Some(not_before().and(before())),
        _ => None,
    }
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Served,
    Called,
}

const SERVER: &str = "server";
const CLIENT: &str = "client";

impl Side {
    fn of_span(self) -> Expr {
        let kinds = match self {
            Self::Served => ["SERVER", "CONSUMER"],
            Self::Called => ["CLIENT", "PRODUCER"],
        };
        ident("span_kind").in_list(kinds.map(lit).to_vec(), false)
    }
}

/// The table whose columns are made, and of edges the side that all rows are of, if it is known: of served
/// calls less has to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ColumnsOf {
    Operations,
    Edges(Option<Side>),
}

impl ColumnsOf {
    /// Which spans are rows.
    fn filter(self) -> Option<Expr> {
        let called = || Side::Called.of_span().and(answered_by().is_not_null());
        match self {
            Self::Operations => None,
            Self::Edges(Some(Side::Served)) => Some(Side::Served.of_span()),
            Self::Edges(Some(Side::Called)) => Some(called()),
            Self::Edges(None) => Some(Side::Served.of_span().or(called())),
        }
    }

    fn value(self, column: &str) -> Expr {
        let of_table = match self {
            Self::Operations => operation_column(column),
            Self::Edges(side) => edge_column(column, side),
        };
        of_table.or_else(|| common_column(column)).unwrap_or_else(|| ident(column))
    }
}

fn operation_column(name: &str) -> Option<Expr> {
    Some(match name {
        "first_unix_nano" | "last_unix_nano" => ident("start_unix_nano"),
        "self_time" => histogram_of().call(vec![ident("self_time_ns")]),
        _ => return None,
    })
}

fn edge_column(name: &str, side: Option<Side>) -> Option<Expr> {
    let one_side = |served: Expr, called: Expr| match side {
        Some(Side::Served) => served,
        Some(Side::Called) => called,
        None => when(Side::Served.of_span(), served)
            .otherwise(called)
            .unwrap_or_else(|_| lit(ScalarValue::Null)),
    };
    Some(match name {
        "client_service" => {
            one_side(coalesce(vec![ident("parent_service"), lit("")]), ident("service_name"))
        }
        // Never null in a call, which the planner cannot know.
        "server_service" => one_side(ident("service_name"), coalesce(vec![answered_by(), lit("")])),
        // Of a call that nobody answered there is no operation of the callee.
        "operation" => one_side(
            ident("operation"),
            coalesce(vec![ident("callee_operation"), ident("operation")]),
        ),
        "reporter" => one_side(lit(SERVER), lit(CLIENT)),
        "source" => lit("spans"),
        "request_wire_bytes"
        | "response_wire_bytes"
        | "request_uncompressed_bytes"
        | "response_uncompressed_bytes" => histogram_of().call(vec![ident(name)]),
        _ => return None,
    })
}

/// What both tables have and spans do not.
fn common_column(name: &str) -> Option<Expr> {
    Some(match name {
        "time" => date_trunc(lit("minute"), ident("time")),
        "span_count" => lit(1_i64),
        "error_count" => cast(ident("status_code").eq(lit("ERROR")), DataType::Int64),
        "duration" => histogram_of().call(vec![ident("duration_ns")]),
        _ => return None,
    })
}

/// Who answered a call, as far as it is known.
fn answered_by() -> Expr {
    coalesce(vec![ident("callee_service"), ident("peer_service"), ident("server_address")])
}

/// The column and the text of a filter that says that one is the other.
fn equal_text(filter: &Expr) -> Option<(&str, &str)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else {
        return None;
    };
    match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(text, _))
        | (Expr::Literal(text, _), Expr::Column(column)) => {
            Some((column.name.as_str(), text.try_as_str()??))
        }
        _ => None,
    }
}
