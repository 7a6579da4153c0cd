//! File statistics: what a reader needs to leave a file out, in the Delta log's JSON form.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::compute::{max, max_boolean, max_string, min, min_boolean, min_string};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::temporal_conversions::timestamp_us_to_datetime;
use serde_json::{Map, Value, json};

use crate::schema::{Column, Kind, Table};
use crate::snapshot::{Bound, ColumnStatistics, DataFile};

/// Longest text in statistics; a longer one is cut to a bound. Delta writers cut at 32 characters,
/// which keeps `METHOD /long/common/prefix` names apart too rarely.
const TEXT_CHARS_MAX: usize = 64;
/// Follows a cut maximum so that it stays an upper bound.
const AFTER_CUT: char = '\u{10FFFF}';
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Statistics of all columns that have an order, of rows that come batch by batch.
#[derive(Debug)]
pub(crate) struct RowStatistics {
    table: Table,
    columns: BTreeMap<String, ColumnStatistics>,
    /// Columns with a value that no bound holds for, such as `NaN`.
    unbounded: BTreeSet<String>,
}

impl RowStatistics {
    /// Of no rows yet.
    pub(crate) fn new(table: Table) -> Self {
        Self { table, columns: BTreeMap::new(), unbounded: BTreeSet::new() }
    }

    /// Takes the rows into account.
    pub(crate) fn add(&mut self, rows: &RecordBatch) {
        for column in self.table.columns().iter().filter(|column| column.name != "date") {
            if let Some(array) = rows.column_by_name(column.name) {
                self.add_column(column, array);
            }
        }
    }

    /// Takes rows of one column into account.
    pub(crate) fn add_column(&mut self, column: &Column, array: &dyn Array) {
        if let Some(bounds) = bounds(column.kind, array) {
            let nulls = array.null_count() as u64;
            self.add_bounds(column.name, bounds, (nulls, array.len() as u64 > nulls));
        }
    }

    /// Takes texts of a column into account: the least, the greatest, and how many are missing.
    pub(crate) fn add_texts(&mut self, column: &str, texts: Option<(&str, &str)>, nulls: u64) {
        let bounds = (texts.map(|(least, _)| lower(least)), texts.map(|(_, most)| upper(most)));
        self.add_bounds(column, bounds, (nulls, texts.is_some()));
    }

    fn add_bounds(
        &mut self,
        column: &str,
        (min, max): (Option<Bound>, Option<Bound>),
        (nulls, has_values): (u64, bool),
    ) {
        if has_values && min.is_none() {
            self.unbounded.insert(column.to_owned());
        }
        let known = self.columns.entry(column.to_owned()).or_default();
        known.min = outer(known.min.take(), min, Ordering::Less);
        known.max = outer(known.max.take(), max, Ordering::Greater);
        known.null_count = Some(known.null_count.unwrap_or(0) + nulls);
    }

    /// The statistics by column.
    pub(crate) fn finish(mut self) -> BTreeMap<String, ColumnStatistics> {
        for name in &self.unbounded {
            if let Some(column) = self.columns.get_mut(name) {
                (column.min, column.max) = (None, None);
            }
        }
        self.columns
    }
}

/// The one that lies further out, in this direction.
fn outer(known: Option<Bound>, new: Option<Bound>, further: Ordering) -> Option<Bound> {
    match (known, new) {
        (Some(known), Some(new)) if order(&new, &known) == Some(further) => Some(new),
        (None, new) => new,
        (known, _) => known,
    }
}

pub(crate) fn order(a: &Bound, b: &Bound) -> Option<Ordering> {
    match (a, b) {
        (Bound::Int(a), Bound::Int(b)) => Some(a.cmp(b)),
        (Bound::Float(a), Bound::Float(b)) => a.partial_cmp(b),
        (Bound::Bool(a), Bound::Bool(b)) => Some(a.cmp(b)),
        (Bound::Text(a), Bound::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn bounds(kind: Kind, array: &dyn Array) -> Option<(Option<Bound>, Option<Bound>)> {
    Some(match kind {
        Kind::Int => {
            let values = array.as_primitive::<Int64Type>();
            (min(values).map(Bound::Int), max(values).map(Bound::Int))
        }
        Kind::Time => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            (min(values).map(Bound::Int), max(values).map(Bound::Int))
        }
        Kind::Float => {
            let values = array.as_primitive::<Float64Type>();
            let finite = values.iter().flatten().all(f64::is_finite);
            let bound = |value: Option<f64>| value.filter(|_| finite).map(Bound::Float);
            (bound(min(values)), bound(max(values)))
        }
        Kind::Bool => {
            let values = array.as_boolean();
            (min_boolean(values).map(Bound::Bool), max_boolean(values).map(Bound::Bool))
        }
        Kind::Text => {
            let values = array.as_string::<i32>();
            (min_string(values).map(lower), max_string(values).map(upper))
        }
        _ => return None,
    })
}

fn lower(text: &str) -> Bound {
    Bound::Text(text.chars().take(TEXT_CHARS_MAX).collect())
}

fn upper(text: &str) -> Bound {
    let mut cut: String = text.chars().take(TEXT_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push(AFTER_CUT);
    }
    Bound::Text(cut)
}

/// The `stats` text of an Add action.
pub(crate) fn to_json(file: &DataFile, table: Table) -> String {
    let kind = |name: &str| table.columns().iter().find(|c| c.name == name).map(|c| c.kind);
    let (mut mins, mut maxs, mut nulls) = (Map::new(), Map::new(), Map::new());
    for (name, column) in file.statistics.iter() {
        let Some(kind) = kind(name) else { continue };
        if let Some(bound) = &column.min {
            mins.insert(name.clone(), bound_to_json(kind, bound));
        }
        if let Some(bound) = &column.max {
            maxs.insert(name.clone(), bound_to_json(kind, bound));
        }
        if let Some(count) = column.null_count {
            nulls.insert(name.clone(), count.into());
        }
    }
    json!({ "numRecords": file.rows, "minValues": mins, "maxValues": maxs, "nullCount": nulls })
        .to_string()
}

fn bound_to_json(kind: Kind, bound: &Bound) -> Value {
    match bound {
        Bound::Int(micros) if kind == Kind::Time => time_text(*micros).into(),
        Bound::Int(value) => (*value).into(),
        Bound::Float(value) => (*value).into(),
        Bound::Bool(value) => (*value).into(),
        Bound::Text(text) => text.as_str().into(),
    }
}

/// Rows and statistics from the `stats` text of an Add action. What cannot be read is left out: a
/// file without statistics is read, never skipped.
pub(crate) fn from_json(text: &str) -> (u64, BTreeMap<String, ColumnStatistics>) {
    let stats: Value = serde_json::from_str(text).unwrap_or_default();
    let rows = stats["numRecords"].as_u64().unwrap_or(0);
    let mut columns = BTreeMap::<String, ColumnStatistics>::new();
    for (name, value) in stats["minValues"].as_object().into_iter().flatten() {
        columns.entry(name.clone()).or_default().min = bound_from_json(name, value);
    }
    for (name, value) in stats["maxValues"].as_object().into_iter().flatten() {
        columns.entry(name.clone()).or_default().max = bound_from_json(name, value);
    }
    for (name, value) in stats["nullCount"].as_object().into_iter().flatten() {
        columns.entry(name.clone()).or_default().null_count = value.as_u64();
    }
    (rows, columns)
}

fn bound_from_json(name: &str, value: &Value) -> Option<Bound> {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().map(Bound::Float),
        Value::Number(number) => number.as_i64().map(Bound::Int),
        Value::Bool(value) => Some(Bound::Bool(*value)),
        Value::String(text) if name == "time" => micros_from_text(text).map(Bound::Int),
        Value::String(text) => Some(Bound::Text(text.clone())),
        _ => None,
    }
}

fn time_text(micros: i64) -> String {
    timestamp_us_to_datetime(micros)
        .map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        .unwrap_or_default()
}

fn micros_from_text(text: &str) -> Option<i64> {
    string_to_timestamp_nanos(text).ok().map(|nanos| nanos.div_euclid(1_000))
}

/// A partition value: `2026-01-02`.
pub(crate) fn date_text(days: i32) -> String {
    Date32Type::to_naive_date_opt(days).map(|date| date.to_string()).unwrap_or_default()
}

/// Days since 1970 of a partition value.
pub(crate) fn date_from_text(text: &str) -> Option<i32> {
    let micros = micros_from_text(&format!("{text}T00:00:00Z"))?;
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()
}
