//! What is known of the spans that arrived lately: who the parent was, when the children ran, and which of
//! them answered a call.
//!
//! Rows are completed from it when they are committed and, by the same functions, when a query reads
//! them before that. The result depends on the set of spans in the index alone, never on the order
//! in which they came.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, Int64Builder, RecordBatch};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type};

use self::known::{KnownSpan, KnownSpans, SpanKey};
use self::names::{HeldNames, NameId, Names};
use crate::text_column::{FoldedTextBuilder, TextColumn};

mod known;
mod names;
#[cfg(test)]
mod tests;

/// Spans that the index remembers, the oldest go first: 22 s at 20,000 spans/s, 42 MB. Just below
/// seven eighths of a power of two, up to which a hash table does not double.
pub const SPANS_MAX: usize = 450_000;

/// The columns of `spans` that are filled in.
pub(crate) const SPANS_FILLED: [&str; 5] =
    ["parent_service", "parent_name", "self_time_ns", "callee_service", "callee_operation"];

/// The lately received spans, by id and by parent.
#[derive(Debug)]
pub struct TraceIndex {
    spans: KnownSpans,
    names: Names,
}

impl Default for TraceIndex {
    fn default() -> Self {
        Self::with_capacity(SPANS_MAX)
    }
}

impl TraceIndex {
    /// An index that remembers this many spans.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { spans: KnownSpans::with_capacity(capacity), names: Names::default() }
    }

    /// Remembers the spans of a batch in the schema of `spans`. A span that is known already stays as
    /// it was.
    pub fn insert(&mut self, rows: &RecordBatch) {
        let Some(columns) = SpanColumns::new(rows) else { return };
        let mut held = columns.names().map(HeldNames::new);
        for row in 0..rows.num_rows() {
            let key = columns.key(row);
            if self.spans.get(key).is_none() {
                let names = held.each_mut().map(|column| column.hold(row, &mut self.names));
                self.spans.insert(key.0, columns.known_span(row, names), &mut self.names);
            }
        }
        for column in held {
            column.release(&mut self.names);
        }
    }

    /// The batch with the columns of `SPANS_FILLED` filled in. What a row says already stays where
    /// the index knows nothing; of two self times the lower one is right, since it leaves out more
    /// children.
    pub fn enrich_spans(&self, rows: &RecordBatch) -> RecordBatch {
        let (Some(columns), Some(said)) = (SpanColumns::new(rows), FilledColumns::new(rows)) else {
            return rows.clone();
        };
        let room = rows.num_rows();
        let mut services = FoldedTextBuilder::with_rows(room);
        let mut names = FoldedTextBuilder::with_rows(room);
        let mut self_times = Int64Builder::with_capacity(room);
        let mut callees = FoldedTextBuilder::with_rows(room);
        let mut callee_operations = FoldedTextBuilder::with_rows(room);
        let mut intervals = Vec::new();
        let text = |name| self.names.text(name);
        for row in 0..rows.num_rows() {
            let key = columns.key(row);
            let parent = columns.parent(row).and_then(|id| self.spans.get((key.0, id)));
            let parent = parent.map(|span| (text(span.service), text(span.name)));
            let (service, name) = pair(said.parent, row, parent);
            services.append_option(service);
            names.append_option(name);
            let Family { self_time, answer } = self.family(key, &mut intervals);
            let known = self_time.into_iter().chain(said.self_time(row));
            self_times.append_option(known.min());
            let callee = answer.filter(|_| columns.calls(row));
            let callee = callee.map(|span| (text(span.service), text(span.operation)));
            let (service, operation) = pair(said.callee, row, callee);
            callees.append_option(service);
            callee_operations.append_option(operation);
        }
        let [parent_service, parent_name, self_time, callee_service, callee_operation] =
            SPANS_FILLED;
        let filled: [(&str, ArrayRef); 5] = [
            (parent_service, Arc::new(services.finish())),
            (parent_name, Arc::new(names.finish())),
            (self_time, Arc::new(self_times.finish())),
            (callee_service, Arc::new(callees.finish())),
            (callee_operation, Arc::new(callee_operations.finish())),
        ];
        replace(rows, filled)
    }

    /// Duration minus the union of the children that the same instance of the service ran, whose
    /// intervals these are.
    fn self_time(span: &KnownSpan, intervals: &mut [(i64, i64)]) -> i64 {
        intervals.sort_unstable();
        let mut covered = 0;
        let mut reached = span.start;
        for (start, end) in intervals.iter().copied() {
            covered += (end - start.max(reached)).max(0);
            reached = reached.max(end);
        }
        span.end - span.start - covered
    }

    /// The self time of a span, where it is known, and the span that answered it, where it was a call.
    /// `intervals` is overwritten.
    fn family(&self, key: SpanKey, intervals: &mut Vec<(i64, i64)>) -> Family<'_> {
        intervals.clear();
        let span = self.spans.get(key);
        let mut answer = None;
        for child in self.spans.children(key) {
            if let Some(span) = span
                && (child.service, child.instance) == (span.service, span.instance)
            {
                let (start, end) = (child.start.max(span.start), child.end.min(span.end));
                if start < end {
                    intervals.push((start, end));
                }
            }
            answer = first_to_answer(answer, child);
        }
        Family { self_time: span.map(|span| Self::self_time(span, intervals)), answer }
    }
}

/// What the children of a span say of it.
struct Family<'i> {
    self_time: Option<i64>,
    /// The child that serves, the first by start and id where there are several.
    answer: Option<&'i KnownSpan>,
}

fn first_to_answer<'i>(
    known: Option<&'i KnownSpan>,
    child: &'i KnownSpan,
) -> Option<&'i KnownSpan> {
    let is_first = |known: &KnownSpan| (child.start, child.id) < (known.start, known.id);
    if child.answers && known.is_none_or(is_first) { Some(child) } else { known }
}

/// The columns of `spans` that the index reads.
struct SpanColumns<'a> {
    trace: &'a BinaryArray,
    id: &'a Int64Array,
    parent: &'a Int64Array,
    service: TextColumn<'a>,
    name: TextColumn<'a>,
    kind: TextColumn<'a>,
    operation: TextColumn<'a>,
    instance: TextColumn<'a>,
    start: &'a Int64Array,
    duration: &'a Int64Array,
}

impl<'a> SpanColumns<'a> {
    fn new(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            trace: rows.column_by_name("trace_id")?.as_binary_opt()?,
            id: integers(rows, "span_id")?,
            parent: integers(rows, "parent_span_id")?,
            service: texts(rows, "service_name")?,
            name: texts(rows, "span_name")?,
            kind: texts(rows, "span_kind")?,
            operation: texts(rows, "operation")?,
            instance: texts(rows, "service_instance_id")?,
            start: integers(rows, "start_unix_nano")?,
            duration: integers(rows, "duration_ns")?,
        })
    }

    fn key(&self, row: usize) -> SpanKey {
        (trace_key(self.trace.value(row)), self.id.value(row))
    }

    fn parent(&self, row: usize) -> Option<i64> {
        self.parent.is_valid(row).then(|| self.parent.value(row))
    }

    /// What the index keeps the texts of.
    fn names(&self) -> [TextColumn<'a>; 4] {
        [self.service, self.name, self.operation, self.instance]
    }

    fn known_span(&self, row: usize, names: [Option<NameId>; 4]) -> KnownSpan {
        let [service, name, operation, instance] = names;
        let start = self.start.value(row);
        KnownSpan {
            id: self.id.value(row),
            parent: self.parent(row).unwrap_or(0),
            start,
            end: start.saturating_add(self.duration.value(row)),
            service,
            name,
            operation,
            instance,
            answers: matches!(self.kind.value(row), "SERVER" | "CONSUMER"),
        }
    }

    /// Whether the span is the asking side of a call.
    fn calls(&self, row: usize) -> bool {
        matches!(self.kind.value(row), "CLIENT" | "PRODUCER")
    }
}

/// What rows of `spans` say already of what is filled in.
struct FilledColumns<'a> {
    parent: [TextColumn<'a>; 2],
    self_time: &'a Int64Array,
    callee: [TextColumn<'a>; 2],
}

impl<'a> FilledColumns<'a> {
    fn new(rows: &'a RecordBatch) -> Option<Self> {
        let [parent_service, parent_name, self_time, callee_service, callee_operation] =
            SPANS_FILLED;
        Some(Self {
            parent: [texts(rows, parent_service)?, texts(rows, parent_name)?],
            self_time: integers(rows, self_time)?,
            callee: [texts(rows, callee_service)?, texts(rows, callee_operation)?],
        })
    }

    fn self_time(&self, row: usize) -> Option<i64> {
        self.self_time.is_valid(row).then(|| self.self_time.value(row))
    }
}

/// What is known now, else what two columns said before.
fn pair<'a>(
    [first, second]: [TextColumn<'a>; 2],
    row: usize,
    known: Option<(&'a str, &'a str)>,
) -> (Option<&'a str>, Option<&'a str>) {
    known.map_or_else(
        || (first.value_or_none(row), second.value_or_none(row)),
        |(first, second)| (Some(first), Some(second)),
    )
}

pub(crate) fn texts<'a>(rows: &'a RecordBatch, name: &str) -> Option<TextColumn<'a>> {
    TextColumn::named(rows, name)
}

pub(crate) fn integers<'a>(rows: &'a RecordBatch, name: &str) -> Option<&'a Int64Array> {
    rows.column_by_name(name)?.as_primitive_opt::<Int64Type>()
}

/// The 16 bytes of a trace id as a number; other lengths, which no decoder lets in, as 0.
pub(crate) fn trace_key(bytes: &[u8]) -> u128 {
    bytes.try_into().map_or(0, u128::from_be_bytes)
}

fn replace<const N: usize>(rows: &RecordBatch, filled: [(&str, ArrayRef); N]) -> RecordBatch {
    let schema = rows.schema();
    let mut columns = rows.columns().to_vec();
    for (name, column) in filled {
        let Ok(position) = schema.index_of(name) else { continue };
        let unfolded = match (schema.field(position).data_type(), column.as_any_dictionary_opt()) {
            (DataType::Utf8, Some(folded)) => take(folded.values(), folded.keys(), None).ok(),
            _ => None,
        };
        columns[position] = unfolded.unwrap_or(column);
    }
    RecordBatch::try_new(schema, columns).unwrap_or_else(|_| rows.clone())
}
