//! Spans with their events as `ExportTraceServiceRequest`.

use std::collections::{HashMap, VecDeque};

use arrow::array::{AsArray, ListArray};
use arrow::datatypes::Int64Type;
use serde::Serialize;
use upriver_store::batch::TableBatch;

use super::attributes::{self, KeyValue};
use super::lines::{Encoded, Signal, by_sender};
use super::rows::{Hex, Rows, SpanId, Unsigned, elements, int, span, text, trace};

const TRACES: Signal = Signal { resources: "resourceSpans", scopes: "scopeSpans", items: "spans" };

#[expect(clippy::struct_field_names, reason = "the names of the protocol")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: Option<Hex<'a>>,
    span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u32,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: Unsigned,
    end_time_unix_nano: Unsigned,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Event<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link<'a>>,
    status: Status<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    time_unix_nano: Unsigned,
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Link<'a> {
    trace_id: Hex<'a>,
    span_id: SpanId,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    code: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Rows of `spans` and `span_events` as lines. Events are those of the spans, in the order of their
/// instants; of others nothing is written. Events that a span says to have and that are not among the
/// rows count as left out.
pub fn spans(spans: &TableBatch, events: &TableBatch) -> Encoded {
    let rows = Rows::new(spans);
    let mut events = Events::new(Rows::new(events), rows);
    let mut encoded = Encoded { items: rows.count() as u64, ..Encoded::default() };
    for (sender, of_sender) in by_sender(rows, Some("scope_version")) {
        let spans = of_sender.iter().map(|row| span_of(rows, *row, &mut events));
        encoded.push(TRACES, &sender, spans);
    }
    encoded.left_out = events.missing;
    encoded
}

fn span_of<'a>(rows: Rows<'a>, row: usize, events: &mut Events<'a>) -> Span<'a> {
    let start = rows.ints("start_unix_nano").value(row).max(0);
    let end = start.saturating_add(rows.ints("duration_ns").value(row));
    Span {
        trace_id: trace(rows.bytes("trace_id"), row),
        span_id: span(rows.ints("span_id"), row),
        trace_state: text(rows.texts("trace_state"), row),
        parent_span_id: span(rows.ints("parent_span_id"), row),
        flags: u32::try_from(rows.ints("flags").value(row)).unwrap_or_default(),
        name: rows.texts("span_name").value(row),
        kind: kind(rows.texts("span_kind").value(row)),
        start_time_unix_nano: Unsigned(start),
        end_time_unix_nano: Unsigned(end),
        attributes: attributes::with_columns(rows, row),
        events: events.take(&Owner::of(rows, row), rows.ints("event_count").value(row)),
        links: links(rows.lists("links"), row),
        status: Status {
            message: text(rows.texts("status_message"), row),
            code: status(rows.texts("status_code").value(row)),
        },
    }
}

fn kind(name: &str) -> u8 {
    match name {
        "INTERNAL" => 1,
        "SERVER" => 2,
        "CLIENT" => 3,
        "PRODUCER" => 4,
        "CONSUMER" => 5,
        _ => 0,
    }
}

fn status(name: &str) -> u32 {
    match name {
        "OK" => 1,
        "ERROR" => 2,
        _ => 0,
    }
}

fn links(column: &ListArray, row: usize) -> Vec<Link<'_>> {
    let links = column.values().as_struct();
    let traces = links.column(0).as_binary::<i32>();
    let spans = links.column(1).as_primitive::<Int64Type>();
    elements(column.value_offsets(), row)
        .filter_map(|at| {
            let span_id = int(spans, at).map(SpanId)?;
            Some(Link { trace_id: trace(traces, at)?, span_id })
        })
        .collect()
}

/// What says whose an event is. Client and server may share a span id, so names belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owner<'a> {
    trace: &'a [u8],
    span: i64,
    service: &'a str,
    name: &'a str,
}

impl<'a> Owner<'a> {
    fn of(rows: Rows<'a>, row: usize) -> Self {
        Self {
            trace: rows.bytes("trace_id").value(row),
            span: rows.ints("span_id").value(row),
            service: rows.texts("service_name").value(row),
            name: rows.texts("span_name").value(row),
        }
    }
}

/// The events that are still to be given to their spans.
struct Events<'a> {
    rows: Rows<'a>,
    /// By owner, for each of the spans with these ids what is left for it.
    left: HashMap<Owner<'a>, VecDeque<Vec<usize>>>,
    /// Events that spans should have had.
    missing: u64,
}

impl<'a> Events<'a> {
    /// A span that was sent twice is there twice, and so are its events: they are dealt out in turn.
    fn new(rows: Rows<'a>, spans: Rows<'a>) -> Self {
        let counts = spans.ints("event_count");
        let mut left = HashMap::<_, VecDeque<_>>::new();
        for row in (0..spans.count()).filter(|row| counts.value(*row) > 0) {
            left.entry(Owner::of(spans, row)).or_default().push_back(Vec::new());
        }
        let mut dealt = HashMap::<Owner<'_>, usize>::new();
        for row in 0..rows.count() {
            let owner = Owner::of(rows, row);
            if let Some(spans) = left.get_mut(&owner) {
                let turn = dealt.entry(owner).or_default();
                let taker = *turn % spans.len();
                spans[taker].push(row);
                *turn += 1;
            }
        }
        Self { rows, left, missing: 0 }
    }

    fn take(&mut self, owner: &Owner<'a>, count: i64) -> Vec<Event<'a>> {
        if count == 0 {
            return Vec::new();
        }
        let rows = self.left.get_mut(owner).and_then(VecDeque::pop_front).unwrap_or_default();
        let found = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        self.missing += u64::try_from(count - found).unwrap_or_default();
        rows.into_iter().map(|row| self.event(row)).collect()
    }

    fn event(&self, row: usize) -> Event<'a> {
        Event {
            time_unix_nano: Unsigned(self.rows.ints("time_unix_nano").value(row)),
            name: self.rows.texts("event_name").value(row),
            attributes: attributes::with_columns(self.rows, row),
        }
    }
}
