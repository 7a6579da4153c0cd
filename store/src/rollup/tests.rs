use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use proptest::prelude::*;

use super::*;
use crate::histogram::HistogramColumn;
use crate::testing::{self, Span, spans};
use crate::time::NANOS_PER_MINUTE;
use crate::trace_index::{TraceIndex, integers, texts};

fn enriched(rows: &RecordBatch) -> RecordBatch {
    let mut index = TraceIndex::default();
    index.insert(rows);
    index.enrich_spans(rows)
}

#[test]
fn a_minute_counts_spans_errors_and_durations() {
    let rows = spans(&[
        Span { duration: 5, ..Span::new(1, 1, 10) },
        Span { duration: 7, status: "ERROR", ..Span::new(1, 2, 20) },
        Span { duration: 9, ..Span::new(1, 3, NANOS_PER_MINUTE) },
    ]);
    let rows = enriched(&rows);
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
    let rows = enriched(&rows);
    let edges = edge_minutes(&[rows], &[]);
    let column = |name| -> Vec<String> {
        texts(&edges, name).unwrap().iter().map(|t| t.unwrap().to_owned()).collect()
    };
    assert_eq!(column("client_service"), ["shop", "", "shop"]);
    assert_eq!(column("server_service"), ["stock", "shop", "stock"]);
    assert_eq!(column("operation"), ["GET /stock", "POST /", "GET /stock"]);
    assert_eq!(column("reporter"), ["client", "server", "server"]);
    assert_eq!(edges.column_by_name("response_wire_bytes").unwrap().null_count(), 3);
}

/// Samples at these instants, of stack 1 to 4 in turn; each is worth its number.
fn samples(times: &[i64]) -> RecordBatch {
    let rows = times.len();
    let ints =
        |of: &dyn Fn(usize) -> i64| Arc::new((0..rows).map(of).map(Some).collect::<Int64Array>());
    let text = |value: &str| Arc::new(StringArray::from(vec![value; rows])) as ArrayRef;
    let given: [(&str, ArrayRef); 5] = [
        ("time_unix_nano", ints(&|row| times[row])),
        ("service_name", text("shop")),
        ("sample_type", text("cpu")),
        ("stack_id", ints(&|row| row as i64 % 4 + 1)),
        ("value", ints(&|row| row as i64 + 1)),
    ];
    testing::rows(Table::ProfileSamples, rows, &given)
}

/// Stack 1 collects and allocates, 2 allocates, 3 has frames of no family, 4 is not known.
fn frames() -> RecordBatch {
    let given: [(&str, ArrayRef); 2] = [
        ("stack_id", Arc::new(Int64Array::from(vec![1, 1, 1, 2, 3]))),
        (
            "family",
            Arc::new(StringArray::from(vec![
                Some("gc"),
                Some("allocation"),
                Some("gc"),
                Some("allocation"),
                None,
            ])),
        ),
    ];
    testing::rows(Table::ProfileStackFrames, 5, &given)
}

#[test]
fn a_sample_counts_once_whatever_its_families() {
    let rows = samples(&[1, 2, 3, 4, 5, NANOS_PER_MINUTE]);
    let minutes = profile_minutes(&[rows], &[frames()]);
    let families: Vec<_> = texts(&minutes, "families").unwrap().iter().flatten().collect();
    assert_eq!(families, ["", "allocation", "allocation,gc", "allocation"]);
    let column = |name| integers(&minutes, name).unwrap().values().to_vec();
    assert_eq!(column("sample_count"), [2, 1, 2, 1]);
    assert_eq!(column("value"), [3 + 4, 2, 1 + 5, 6]);
}

proptest! {
    #[test]
    fn parts_of_samples_merge_to_the_whole(
        minutes in prop::collection::vec(0i64..3, 1..40), cut in 0usize..40,
    ) {
        let times: Vec<_> = minutes.iter().map(|minute| minute * NANOS_PER_MINUTE).collect();
        let rows = samples(&times);
        let cut = cut.min(rows.num_rows());
        let parts = [rows.slice(0, cut), rows.slice(cut, rows.num_rows() - cut)];
        let parts = parts.map(|part| profile_minutes(&[part], &[frames()]));
        let joined = concat_batches(&Table::ProfileMinutes.schema(), &parts).unwrap();
        let whole = profile_minutes(&[rows], &[frames()]);
        prop_assert_eq!(merge_partials(Table::ProfileMinutes, joined), whole);
    }

    #[test]
    fn parts_merge_to_the_whole(
        cases in prop::collection::vec((0i64..3, 0i64..1_000, 0usize..2), 1..40), cut in 0usize..40,
    ) {
        let all: Vec<_> = cases.iter().enumerate().map(|(i, (minute, duration, kind))| Span {
            duration: *duration,
            kind: ["SERVER", "INTERNAL"][*kind],
            ..Span::new(i as i64, i as i64, minute * NANOS_PER_MINUTE)
        }).collect();
        let rows = enriched(&spans(&all));
        let cut = cut.min(all.len());
        let parts = [rows.slice(0, cut), rows.slice(cut, all.len() - cut)];
        let whole = std::slice::from_ref(&rows);

        let minutes = parts.each_ref().map(|rows| operation_minutes(std::slice::from_ref(rows)));
        let joined = concat_batches(&Table::OperationMinutes.schema(), &minutes).unwrap();
        prop_assert_eq!(merge_partials(Table::OperationMinutes, joined), operation_minutes(whole));

        let edges = parts.each_ref().map(|rows| edge_minutes(std::slice::from_ref(rows), &[]));
        let joined = concat_batches(&Table::EdgeMinutes.schema(), &edges).unwrap();
        prop_assert_eq!(merge_partials(Table::EdgeMinutes, joined), edge_minutes(whole, &[]));
    }
}
