//! A sample of whole traces: who calls what inside the symptom, and where its time is.
//!
//! Traces are picked by the hash of their id, so the same ones come out hot, committed or compacted,
//! and a sample says the same as all traces would.

use std::collections::BTreeMap;

use super::inquiry::Inquiry;
use super::reading::{ended, is_operation, within};
use super::signal::Operation;
use crate::error::RulesError;
use crate::time::{MINUTE, Periods, Time, Window};

pub(crate) mod critical_path;

/// Traces of a sample: the mean of as many is within 3 % where single ones scatter by half.
const SAMPLE_TRACES: usize = 1_000;
/// Where this many times as many traces are to be expected in a part of the time before, that part is sampled.
const ENOUGH: f64 = 2.0;
/// Spans below the symptom's may begin this long after its window: messages wait in queues.
const MARGIN: i64 = 10 * MINUTE;
/// And this long before, since clocks differ.
const SKEW: i64 = MINUTE;

/// A span of a sampled trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    pub(crate) group: usize,
    pub(crate) place: usize,
    pub(crate) start: i64,
    pub(crate) duration: i64,
    pub(crate) has_failed: bool,
    pub(crate) children: Vec<usize>,
}

/// What ran a span.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The service's version.
    pub(crate) version: Option<String>,
    /// The machine.
    pub(crate) host: Option<String>,
}

/// A trace with the span of the symptom in it.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) spans: Vec<Span>,
    pub(crate) root: usize,
}

impl Trace {
    /// The spans from the root down, each with the number of spans above it.
    pub(crate) fn top_down(&self) -> Vec<(usize, usize)> {
        let mut seen = vec![false; self.spans.len()];
        let mut order = vec![(self.root, 0)];
        seen[self.root] = true;
        let mut next = 0;
        while let Some((index, depth)) = order.get(next).copied() {
            for child in &self.spans[index].children {
                if !std::mem::replace(&mut seen[*child], true) {
                    order.push((*child, depth + 1));
                }
            }
            next += 1;
        }
        order
    }
}

/// Sampled traces of the symptom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) traces: Vec<Trace>,
    pub(crate) groups: Groups,
    pub(crate) sql: String,
    /// Length of the window.
    pub(crate) seconds: f64,
}

/// Spans of the same service, name, kind and callee are a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    pub(crate) operations: Vec<Operation>,
    /// Whom a group of client spans calls, where the spans say so.
    pub(crate) peers: Vec<Option<String>>,
    /// Which database or cache a group of client spans asks.
    pub(crate) systems: Vec<Option<String>>,
    pub(crate) places: Vec<Place>,
    index: BTreeMap<(Operation, Option<String>), usize>,
    index_of_places: BTreeMap<Place, usize>,
}

impl Groups {
    pub(super) fn of(&mut self, operation: Operation, peer: Option<String>) -> usize {
        let key = (operation, peer);
        if let Some(group) = self.index.get(&key) {
            return *group;
        }
        let group = self.operations.len();
        self.operations.push(key.0.clone());
        self.peers.push(key.1.clone());
        self.systems.push(None);
        self.index.insert(key, group);
        group
    }

    pub(super) fn place(&mut self, place: Place) -> usize {
        if let Some(known) = self.index_of_places.get(&place) {
            return *known;
        }
        let number = self.places.len();
        self.index_of_places.insert(place.clone(), number);
        self.places.push(place);
        number
    }
}

/// The time before that traces are sampled from: all of it, or, where it has traces by far enough, as much
/// of its end as the window in question is long. All spans of that time have to be looked at.
pub(crate) async fn time_before(
    inquiry: &Inquiry<'_>,
    operation: &Operation,
    periods: &Periods,
) -> Result<Window, RulesError> {
    let spans = inquiry.served(operation, periods.before).await?.spans;
    Ok(sampled_of(periods.before, periods.now.nanos(), spans))
}

/// Of a window with so many spans the end that is that long, if that is enough.
fn sampled_of(window: Window, nanos: i64, spans: i64) -> Window {
    let end = Window::new(window.start.max(window.end - nanos), window.end);
    let expected = spans as f64 * end.seconds() / window.seconds();
    if expected >= ENOUGH * SAMPLE_TRACES as f64 { end } else { window }
}

/// Fetches the sample of a window.
pub(crate) async fn sample(
    inquiry: &Inquiry<'_>,
    operation: &Operation,
    window: Window,
) -> Result<Sample, RulesError> {
    let sql = sql_of(&is_operation(operation), window, inquiry.at);
    let is_root = |span: &RawSpan| span.operation == *operation && contains(window, span);
    read_sample(inquiry, (sql, window), is_root).await
}

/// Fetches traces of every kind that began in a window, from their first span on.
pub(crate) async fn sample_entries(
    inquiry: &Inquiry<'_>,
    window: Window,
) -> Result<Sample, RulesError> {
    let is_entry = "parent_span_id IS NULL";
    let sql = sql_of(is_entry, window, inquiry.at);
    read_sample(inquiry, (sql, window), |span| span.parent.is_none() && contains(window, span))
        .await
}

async fn read_sample(
    inquiry: &Inquiry<'_>,
    (sql, window): (String, Window),
    is_root: impl Fn(&RawSpan) -> bool,
) -> Result<Sample, RulesError> {
    let rows = inquiry.rows("sampled traces", &sql).await?;
    let raw = raw_spans(&rows)?;
    let mut sample = Sample { sql, seconds: window.seconds(), ..Sample::default() };
    let mut rest = raw.as_slice();
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|span| span.trace_id == first.trace_id).count();
        let (spans, later) = rest.split_at(length);
        rest = later;
        sample.traces.extend(trace(spans, &is_root, &mut sample.groups));
    }
    Ok(sample)
}

fn contains(window: Window, span: &RawSpan) -> bool {
    (window.start.nanos()..window.end.nanos()).contains(&span.start)
}

fn sql_of(condition: &str, window: Window, at: Time) -> String {
    let wide = Window::new(window.start - SKEW, (window.end + MARGIN).min(at));
    format!(
        "SELECT trace_id, span_id, parent_span_id, service_name, span_name, span_kind,\n  coalesce(peer_service, server_address) AS peer,\n  db_system_name, service_version, host_name, status_code, start_unix_nano, duration_ns\nFROM spans\nWHERE trace_id IN (\n  SELECT trace_id FROM spans\n  WHERE {} AND {} AND {}\n  ORDER BY sha256(trace_id) LIMIT {SAMPLE_TRACES}\n)\nAND {} AND {}\nORDER BY trace_id, start_unix_nano, span_id, service_name, span_name",
        condition,
        within("time", window),
        ended(at),
        within("time", wide),
        ended(at)
    )
}

struct RawSpan {
    trace_id: Vec<u8>,
    span_id: i64,
    parent: Option<i64>,
    operation: Operation,
    peer: Option<String>,
    system: Option<String>,
    place: Place,
    has_failed: bool,
    start: i64,
    duration: i64,
}

fn raw_spans(rows: &crate::rows::Rows) -> Result<Vec<RawSpan>, RulesError> {
    let (traces, ids) = (rows.binaries("trace_id")?, rows.ints("span_id")?);
    let parents = rows.optional_ints("parent_span_id")?;
    let (services, names) = (rows.texts("service_name")?, rows.texts("span_name")?);
    let (kinds, peers) = (rows.texts("span_kind")?, rows.optional_texts("peer")?);
    let (systems, statuses) = (rows.optional_texts("db_system_name")?, rows.texts("status_code")?);
    let (versions, hosts) =
        (rows.optional_texts("service_version")?, rows.optional_texts("host_name")?);
    let (starts, durations) = (rows.ints("start_unix_nano")?, rows.ints("duration_ns")?);
    let mut spans = Vec::with_capacity(rows.len());
    for (row, trace_id) in traces.into_iter().enumerate() {
        spans.push(RawSpan {
            trace_id,
            span_id: ids[row],
            parent: parents[row].filter(|parent| *parent != 0),
            operation: Operation {
                service: services[row].clone(),
                span_name: names[row].clone(),
                span_kind: kinds[row].clone(),
            },
            peer: peers[row].clone(),
            system: systems[row].clone(),
            place: Place { version: versions[row].clone(), host: hosts[row].clone() },
            has_failed: statuses[row] == "ERROR",
            start: starts[row],
            duration: durations[row].max(0),
        });
    }
    Ok(spans)
}

/// Builds the tree; `None` without a root. Where both sides of a call
/// share one span id, the client's span is the parent of the server's.
fn trace(
    raw: &[RawSpan],
    is_root: impl Fn(&RawSpan) -> bool,
    groups: &mut Groups,
) -> Option<Trace> {
    let root = raw.iter().position(is_root)?;
    let mut by_id: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (index, span) in raw.iter().enumerate() {
        by_id.entry(span.span_id).or_default().push(index);
    }
    let mut spans: Vec<Span> = raw
        .iter()
        .map(|span| {
            let group = groups.of(span.operation.clone(), span.peer.clone());
            if groups.systems[group].is_none() {
                groups.systems[group].clone_from(&span.system);
            }
            Span {
                group,
                place: groups.place(span.place.clone()),
                start: span.start,
                duration: span.duration,
                has_failed: span.has_failed,
                children: Vec::new(),
            }
        })
        .collect();
    for (index, span) in raw.iter().enumerate() {
        if let Some(parent) = parent_of(raw, &by_id, index, span) {
            spans[parent].children.push(index);
        }
    }
    Some(Trace { spans, root })
}

fn parent_of(
    raw: &[RawSpan],
    by_id: &BTreeMap<i64, Vec<usize>>,
    index: usize,
    span: &RawSpan,
) -> Option<usize> {
    let answers = |span: &RawSpan| matches!(&*span.operation.span_kind, "SERVER" | "CONSUMER");
    let same = by_id.get(&span.span_id).into_iter().flatten();
    let shared = same.copied().find(|other| *other != index && !answers(&raw[*other]));
    if let Some(client) = shared.filter(|_| answers(span)) {
        return Some(client);
    }
    let candidates = by_id.get(&span.parent?)?;
    // Of two spans with the parent's id the server's is the one that has children of its own.
    let server = candidates.iter().copied().find(|other| answers(&raw[*other]));
    server.or_else(|| candidates.first().copied()).filter(|parent| *parent != index)
}

/// A part of the symptom's own work: a call or a piece of local work without local parts.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) operation: Operation,
    /// Whom it calls, where its spans or its callees say so.
    pub(crate) peer: Option<String>,
    /// The callee's spans, if all calls reach the same ones.
    pub(crate) callee: Option<Operation>,
    /// Spans of the part in the sample.
    pub(crate) count: usize,
}

/// Parts that occur in fewer traces than one in this many are left out.
const PART_RARITY_MAX: usize = 20;
/// Parts that are looked at, the most frequent first.
const PARTS_MAX: usize = 16;

/// The parts of the symptom: spans of its service below it that have no such spans below them.
pub(crate) fn parts(samples: &[&Sample], service: &str) -> Vec<Part> {
    let mut counted = Counted::new();
    let mut traces = 0;
    for sample in samples {
        traces += sample.traces.len();
        for trace in &sample.traces {
            count_parts(trace, &sample.groups, service, &mut counted);
        }
    }
    let mut parts: Vec<Part> = counted
        .into_iter()
        .filter(|(_, (count, ..))| count * PART_RARITY_MAX >= traces)
        .map(|(operation, (count, peer, callees))| {
            let callee = (callees.len() == 1).then(|| callees.into_keys().next()).flatten();
            let peer = callee.as_ref().map(|callee| callee.service.clone()).or(peer);
            Part { operation, peer, callee, count }
        })
        .collect();
    parts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.operation.cmp(&b.operation)));
    parts.truncate(PARTS_MAX);
    parts.sort_by(|a, b| a.operation.cmp(&b.operation));
    parts
}

type Counted = BTreeMap<Operation, (usize, Option<String>, BTreeMap<Operation, usize>)>;

fn count_parts(trace: &Trace, groups: &Groups, service: &str, counted: &mut Counted) {
    let operation = |index: usize| &groups.operations[trace.spans[index].group];
    let is_local = |index: usize| {
        operation(index).service == service && operation(index).span_kind != "SERVER"
    };
    let mut seen = vec![false; trace.spans.len()];
    let mut open = vec![trace.root];
    while let Some(index) = open.pop() {
        if std::mem::replace(&mut seen[index], true) {
            continue;
        }
        let children = &trace.spans[index].children;
        let local: Vec<_> = children.iter().copied().filter(|child| is_local(*child)).collect();
        open.extend(&local);
        if index == trace.root || !local.is_empty() {
            continue;
        }
        let group = trace.spans[index].group;
        let entry = counted.entry(operation(index).clone()).or_default();
        entry.0 += 1;
        if entry.1.is_none() {
            entry.1.clone_from(&groups.peers[group]);
        }
        for child in children.iter().filter(|child| operation(**child).service != service) {
            *entry.2.entry(operation(*child).clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests;
