use proptest::prelude::*;

use super::*;
use crate::testing::{Span, spans};

fn index_of(rows: &[RecordBatch]) -> TraceIndex {
    let mut index = TraceIndex::default();
    for rows in rows {
        index.insert(rows);
    }
    index
}

fn self_times(rows: &RecordBatch, index: &TraceIndex) -> Vec<Option<i64>> {
    integers(&index.enrich_spans(rows), "self_time_ns").unwrap().iter().collect()
}

#[test]
fn parallel_and_overlapping_children_are_counted_once() {
    let child = |id, start, duration| Span { parent: Some(1), duration, ..Span::new(7, id, start) };
    let rows = spans(&[
        Span { duration: 100, ..Span::new(7, 1, 1_000) },
        child(2, 1_010, 30),
        child(3, 1_020, 30),
        child(4, 1_090, 50),
    ]);
    let times = self_times(&rows, &index_of(std::slice::from_ref(&rows)));
    assert_eq!(times, [Some(100 - 40 - 10), Some(30), Some(30), Some(50)]);
}

#[test]
fn children_of_other_services_and_instances_do_not_count() {
    let rows = spans(&[
        Span { duration: 100, instance: Some("a"), ..Span::new(7, 1, 0) },
        Span { parent: Some(1), duration: 20, instance: Some("b"), ..Span::new(7, 2, 10) },
        Span { parent: Some(1), duration: 20, service: "other", ..Span::new(7, 3, 40) },
    ]);
    let times = self_times(&rows, &index_of(std::slice::from_ref(&rows)));
    assert_eq!(times[0], Some(100));
}

#[test]
fn parents_are_found_whenever_they_come() {
    let child = spans(&[Span { parent: Some(1), ..Span::new(7, 2, 10) }]);
    let parent = spans(&[Span { service: "front", name: "GET /", ..Span::new(7, 1, 0) }]);
    let other_trace = spans(&[Span { service: "wrong", ..Span::new(8, 1, 0) }]);
    let index = index_of(&[child.clone(), other_trace, parent]);
    let filled = index.enrich_spans(&child);
    assert_eq!(texts(&filled, "parent_service").unwrap().value(0), "front");
    assert_eq!(texts(&filled, "parent_name").unwrap().value(0), "GET /");
}

#[test]
fn a_call_is_answered_by_the_first_serving_child() {
    let serve = |id, start, service| Span {
        parent: Some(1),
        kind: "SERVER",
        service,
        name: "GET /stock",
        ..Span::new(7, id, start)
    };
    let rows = spans(&[
        Span { kind: "CLIENT", ..Span::new(7, 1, 0) },
        serve(3, 30, "late"),
        serve(2, 20, "early"),
    ]);
    let filled = index_of(std::slice::from_ref(&rows)).enrich_spans(&rows);
    let callees = |name| texts(&filled, name).unwrap().iter().collect::<Vec<_>>();
    assert_eq!(callees("callee_service"), [Some("early"), None, None]);
    assert_eq!(callees("callee_operation"), [Some("GET /stock"), None, None]);
}

#[test]
fn what_a_row_says_stays_where_the_index_knows_less() {
    let rows = spans(&[
        Span { kind: "CLIENT", duration: 100, ..Span::new(7, 1, 0) },
        Span { parent: Some(1), duration: 40, ..Span::new(7, 2, 10) },
        Span { parent: Some(1), kind: "SERVER", service: "stock", ..Span::new(7, 3, 20) },
    ]);
    let filled = index_of(std::slice::from_ref(&rows)).enrich_spans(&rows);
    for known in [index_of(&[]), index_of(&[rows.slice(0, 1)]), index_of(&[rows.slice(1, 2)])] {
        assert_eq!(known.enrich_spans(&filled), filled);
    }
    assert_eq!(index_of(std::slice::from_ref(&rows)).enrich_spans(&filled), filled);
}

#[test]
fn the_oldest_are_forgotten() {
    let mut index = TraceIndex::with_capacity(2);
    let rows: Vec<_> = (1..=3).map(|id| spans(&[Span::new(7, id, id)])).collect();
    for rows in &rows {
        index.insert(rows);
    }
    assert_eq!(self_times(&rows[0], &index), [None]);
    assert_eq!(self_times(&rows[2], &index), [Some(10)]);
    let before = index.names.len();
    index.insert(&spans(&[Span { name: "one more", ..Span::new(8, 1, 1) }]));
    index.insert(&spans(&[Span::new(9, 1, 1), Span::new(9, 2, 1)]));
    assert_eq!(index.names.len(), before, "texts go with the last span that names them");
}

#[test]
fn a_family_of_thousands_costs_no_square_of_it() {
    const CHILDREN: i64 = 200_000;
    let mut all = vec![Span { kind: "CLIENT", duration: CHILDREN, ..Span::new(7, 1, 0) }];
    let child = |id| Span { parent: Some(1), kind: "SERVER", duration: 1, ..Span::new(7, id, id) };
    all.extend((2..CHILDREN).map(child));
    let rows = spans(&all);
    let mut index = TraceIndex::with_capacity(1_000);
    index.insert(&rows);
    let index = index_of(std::slice::from_ref(&rows));
    let calls = rows.slice(0, 1);
    let calls = arrow::compute::concat_batches(&rows.schema(), vec![&calls; 1_000]).unwrap();
    assert_eq!(index.enrich_spans(&calls).num_rows(), 1_000);
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(
        starts in prop::collection::vec((0i64..100, 1i64..100), 2..20), rotate in 0usize..20,
    ) {
        let all: Vec<_> = starts.iter().enumerate().map(|(i, (start, duration))| {
            let parent = (i > 0).then(|| (i as i64 - 1) / 2 + 1);
            Span { parent, duration: *duration, ..Span::new(7, i as i64 + 1, *start) }
        }).collect();
        let rows = spans(&all);
        let mut parts: Vec<_> = (0..all.len()).map(|i| rows.slice(i, 1)).collect();
        parts.rotate_left(rotate % all.len());
        parts.push(rows.slice(0, 1));
        let expected = index_of(std::slice::from_ref(&rows)).enrich_spans(&rows);
        prop_assert_eq!(index_of(&parts).enrich_spans(&rows), expected);
    }

    #[test]
    fn a_full_index_knows_what_one_of_the_newest_alone_would(
        parents in prop::collection::vec(0i64..12, 1..60), capacity in 1usize..20,
    ) {
        let all: Vec<_> = parents.iter().zip(1i64..).map(|(parent, id)| {
            let parent = (*parent > 0 && *parent != id).then_some(*parent);
            let kind = ["SERVER", "CLIENT"][usize::from(id % 3 == 0)];
            Span { parent, duration: 5, kind, ..Span::new(7, id, id * 3) }
        }).collect();
        let rows = spans(&all);
        let mut full = TraceIndex::with_capacity(capacity);
        full.insert(&rows);
        let newest = rows.num_rows().saturating_sub(capacity);
        let alone = index_of(&[rows.slice(newest, rows.num_rows() - newest)]);
        prop_assert_eq!(full.enrich_spans(&rows), alone.enrich_spans(&rows));
    }
}
