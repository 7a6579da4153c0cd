use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use proptest::prelude::*;

use super::*;
use crate::histogram::HistogramColumn;
use crate::testing::{Span, spans};
use crate::time::NANOS_PER_MINUTE;
use crate::trace_index::{TraceIndex, integers, texts};

fn enriched(rows: &RecordBatch) -> (RecordBatch, TraceIndex) {
    let mut index = TraceIndex::default();
    index.insert(rows);
    (index.enrich_spans(rows), index)
}

#[test]
fn a_minute_counts_spans_errors_and_durations() {
    let rows = spans(&[
        Span { duration: 5, ..Span::new(1, 1, 10) },
        Span { duration: 7, status: "ERROR", ..Span::new(1, 2, 20) },
        Span { duration: 9, ..Span::new(1, 3, NANOS_PER_MINUTE) },
    ]);
    let (rows, _) = enriched(&rows);
    let minutes = operation_minutes(&[rows]);
    let column = |name| integers(&minutes, name).unwrap().values().to_vec();
    assert_eq!(column("span_count"), [2, 1]);
    assert_eq!(column("error_count"), [1, 0]);
    assert_eq!(column("first_unix_nano"), [10, NANOS_PER_MINUTE]);
    assert_eq!(column("last_unix_nano"), [20, NANOS_PER_MINUTE]);
    let durations = HistogramColumn::new(minutes.column_by_name("duration").unwrap()).unwrap();
    assert_eq!(durations.get(0).map(|h| (h.count, h.sum, h.min, h.max)), Some((2, 12, 5, 7)));
}

#[test]
fn both_sides_of_a_call_report_the_same_edge() {
    let rows = spans(&[
        Span { kind: "CLIENT", service: "shop", name: "GET", ..Span::new(1, 1, 0) },
        Span {
            kind: "SERVER",
            service: "stock",
            name: "GET /stock",
            parent: Some(1),
            ..Span::new(1, 2, 1)
        },
        Span { kind: "CLIENT", service: "shop", name: "to nobody", ..Span::new(1, 3, 0) },
        Span { kind: "SERVER", service: "shop", name: "POST /", ..Span::new(1, 4, 0) },
    ]);
    let (rows, index) = enriched(&rows);
    let edges = edge_minutes(&[rows], &[], &index);
    let column = |name| -> Vec<String> {
        texts(&edges, name).unwrap().iter().map(|t| t.unwrap().to_owned()).collect()
    };
    assert_eq!(column("client_service"), ["shop", "", "shop"]);
    assert_eq!(column("server_service"), ["stock", "shop", "stock"]);
    assert_eq!(column("operation"), ["GET /stock", "POST /", "GET /stock"]);
    assert_eq!(column("reporter"), ["client", "server", "server"]);
    assert_eq!(edges.column_by_name("response_wire_bytes").unwrap().null_count(), 3);
}

proptest! {
    #[test]
    fn parts_merge_to_the_whole(
        cases in prop::collection::vec((0i64..3, 0i64..1_000, 0usize..2), 1..40), cut in 0usize..40,
    ) {
        let all: Vec<_> = cases.iter().enumerate().map(|(i, (minute, duration, kind))| Span {
            duration: *duration,
            kind: ["SERVER", "INTERNAL"][*kind],
            ..Span::new(i as i64, i as i64, minute * NANOS_PER_MINUTE)
        }).collect();
        let (rows, index) = enriched(&spans(&all));
        let cut = cut.min(all.len());
        let parts = [rows.slice(0, cut), rows.slice(cut, all.len() - cut)];
        let whole = std::slice::from_ref(&rows);

        let minutes = parts.each_ref().map(|rows| operation_minutes(std::slice::from_ref(rows)));
        let joined = concat_batches(&Table::OperationMinutes.schema(), &minutes).unwrap();
        prop_assert_eq!(merge_partials(Table::OperationMinutes, joined), operation_minutes(whole));

        let edges = parts.each_ref().map(|rows| edge_minutes(std::slice::from_ref(rows), &[], &index));
        let joined = concat_batches(&Table::EdgeMinutes.schema(), &edges).unwrap();
        prop_assert_eq!(merge_partials(Table::EdgeMinutes, joined), edge_minutes(whole, &[], &index));
    }
}
