//! `operation_minutes` from completed spans.

use arrow::array::{Array, Int64Array, RecordBatch};

use super::{RowBuilder, Sums, Value};
use crate::histogram::Histogram;
use crate::schema::Table;
use crate::text_column::{Distinct, Numbered, TextColumn};
use crate::time::UnixNanos;
use crate::trace_index::{integers, texts};

/// What makes two spans count in the same row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct OperationKey<'a> {
    pub(super) minute: UnixNanos,
    pub(super) service: &'a str,
    pub(super) name: &'a str,
    pub(super) kind: &'a str,
    pub(super) operation: &'a str,
    pub(super) version: Option<&'a str>,
    pub(super) environment: Option<&'a str>,
    pub(super) parent_service: Option<&'a str>,
}

/// What is added up.
#[derive(Clone, Debug)]
pub(super) struct OperationSums {
    pub(super) spans: i64,
    pub(super) errors: i64,
    pub(super) adjusted_micros: i64,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) duration: Histogram,
    pub(super) self_time: Histogram,
}

impl Default for OperationSums {
    fn default() -> Self {
        Self {
            spans: 0,
            errors: 0,
            adjusted_micros: 0,
            first: i64::MAX,
            last: i64::MIN,
            duration: Histogram::default(),
            self_time: Histogram::default(),
        }
    }
}

/// One row per minute, service, name, kind, operation, version, environment and calling service, in
/// the table's order.
pub fn operation_minutes(spans: &[RecordBatch]) -> RecordBatch {
    // Keys are many texts: by their numbers they are found in a third of the time.
    let mut places = Sums::<(UnixNanos, [u32; 7]), usize>::default();
    let mut sums: Vec<(OperationKey<'_>, OperationSums)> = Vec::new();
    let mut distinct = Distinct::default();
    for rows in spans {
        let Some(columns) = Columns::new(rows) else { continue };
        let mut numbered = columns.texts().map(Numbered::new);
        for row in 0..rows.num_rows() {
            let codes = numbered.each_mut().map(|column| column.code(row, &mut distinct));
            let place = *places.entry((columns.minute(row), codes)).or_insert_with(|| {
                sums.push((columns.key(row), OperationSums::default()));
                sums.len() - 1
            });
            columns.add(row, &mut sums[place].1);
        }
    }
    rows_of(sums.iter().map(|(key, sum)| (key, sum)))
}

pub(super) fn rows_of<'s, 'a: 's>(
    sums: impl Iterator<Item = (&'s OperationKey<'a>, &'s OperationSums)>,
) -> RecordBatch {
    let mut rows = RowBuilder::new(Table::OperationMinutes);
    let mut sorted: Vec<_> = sums.collect();
    sorted.sort_unstable_by_key(|(key, sum)| (key.minute, sum.first, **key));
    for (key, sum) in sorted {
        rows.append([
            Value::Minute(key.minute),
            Value::Text(Some(key.service)),
            Value::Text(Some(key.name)),
            Value::Text(Some(key.kind)),
            Value::Text(Some(key.operation)),
            Value::Text(key.version),
            Value::Text(key.environment),
            Value::Text(key.parent_service),
            Value::Int(sum.spans),
            Value::Int(sum.errors),
            Value::Int(sum.adjusted_micros),
            Value::Int(sum.first),
            Value::Int(sum.last),
            Value::Histogram(&sum.duration),
            Value::Histogram(&sum.self_time),
            Value::Date(key.minute),
        ]);
    }
    rows.finish()
}

struct Columns<'a> {
    start: &'a Int64Array,
    service: TextColumn<'a>,
    name: TextColumn<'a>,
    kind: TextColumn<'a>,
    operation: TextColumn<'a>,
    status: TextColumn<'a>,
    version: TextColumn<'a>,
    environment: TextColumn<'a>,
    parent_service: TextColumn<'a>,
    duration: &'a Int64Array,
    self_time: &'a Int64Array,
    adjusted: &'a Int64Array,
}

impl<'a> Columns<'a> {
    fn new(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            start: integers(rows, "start_unix_nano")?,
            service: texts(rows, "service_name")?,
            name: texts(rows, "span_name")?,
            kind: texts(rows, "span_kind")?,
            operation: texts(rows, "operation")?,
            status: texts(rows, "status_code")?,
            version: texts(rows, "service_version")?,
            environment: texts(rows, "deployment_environment_name")?,
            parent_service: texts(rows, "parent_service")?,
            duration: integers(rows, "duration_ns")?,
            self_time: integers(rows, "self_time_ns")?,
            adjusted: integers(rows, "adjusted_count_micros")?,
        })
    }

    /// What a key is made of beside the minute.
    fn texts(&self) -> [TextColumn<'a>; 7] {
        [
            self.service,
            self.name,
            self.kind,
            self.operation,
            self.version,
            self.environment,
            self.parent_service,
        ]
    }

    fn minute(&self, row: usize) -> UnixNanos {
        UnixNanos(self.start.value(row)).minute()
    }

    fn key(&self, row: usize) -> OperationKey<'a> {
        OperationKey {
            service: self.service.value(row),
            name: self.name.value(row),
            minute: self.minute(row),
            kind: self.kind.value(row),
            operation: self.operation.value(row),
            version: self.version.value_or_none(row),
            environment: self.environment.value_or_none(row),
            parent_service: self.parent_service.value_or_none(row),
        }
    }

    fn add(&self, row: usize, sums: &mut OperationSums) {
        let start = self.start.value(row);
        sums.spans += 1;
        sums.errors += i64::from(self.status.value(row) == "ERROR");
        sums.adjusted_micros = sums.adjusted_micros.saturating_add(self.adjusted.value(row));
        sums.first = sums.first.min(start);
        sums.last = sums.last.max(start);
        sums.duration.record(self.duration.value(row));
        if self.self_time.is_valid(row) {
            sums.self_time.record(self.self_time.value(row));
        }
    }
}
