//! What every table holds: columns, types, order, meaning. `docs/tables.md` is generated from here.
//!
//! Delta's types are the limit: no unsigned integers, no fixed-size binary, microsecond timestamps.
//! An instant is therefore kept twice, as `time` (for pruning and people) and as exact
//! `*_unix_nano` (for arithmetic). `date` is the partition column and always the last one.

mod attributes;
mod changes;
mod logs;
mod metrics;
mod profiles;
mod rollups;
mod traces;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

pub use attributes::AttributeColumn;

use crate::text_column::folded_type;

#[cfg(test)]
mod tests;

/// A table of the store. Its name, columns and row meaning are a stable interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One row is a span.
    Spans,
    /// One row is an event or exception of a span.
    SpanEvents,
    /// One row is a received profile.
    Profiles,
    /// One row is a sample of a profile: a stack and its value.
    ProfileSamples,
    /// One row is a stack, leaf first.
    ProfileStacks,
    /// One row is a distinct function of a stack: the inverted index.
    ProfileStackFrames,
    /// One row is a number data point.
    Metrics,
    /// One row is a histogram data point.
    MetricHistograms,
    /// One row is a log record or an event.
    Logs,
    /// One row is a change: deploy, rollback, configuration, feature flag.
    Deploys,
    /// One row is a partial minute of an operation.
    OperationMinutes,
    /// One row is a partial minute of an edge between two services.
    EdgeMinutes,
    /// One row is a partial minute of the samples of a service.
    ProfileMinutes,
    /// One row is an hour of an operation.
    OperationHours,
    /// One row is an hour of an edge between two services.
    EdgeHours,
    /// One row is an hour of the samples of a service.
    ProfileHours,
    /// One row is something that a rule or a diagnosis found.
    Findings,
    /// One row is a concluded diagnosis.
    Diagnoses,
    /// One row is one observed body on an edge, as earlier builds stored them: see [`Table::is_former`].
    FormerPayloadSizes,
}

impl Table {
    /// All tables, in the order in which a batch is committed: rows before what is derived from
    /// them.
    pub const ALL: [Self; 19] = [
        Self::Spans,
        Self::SpanEvents,
        Self::FormerPayloadSizes,
        Self::Profiles,
        Self::ProfileSamples,
        Self::ProfileStacks,
        Self::ProfileStackFrames,
        Self::Metrics,
        Self::MetricHistograms,
        Self::Logs,
        Self::Deploys,
        Self::OperationMinutes,
        Self::EdgeMinutes,
        Self::ProfileMinutes,
        Self::OperationHours,
        Self::EdgeHours,
        Self::ProfileHours,
        Self::Findings,
        Self::Diagnoses,
    ];

    /// The table's SQL name.
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// The name of the table's folder, by which exports call it too.
    pub fn folder(self) -> &'static str {
        // Its SQL name is that of the view, which has the rows of earlier builds and of this one.
        if self == Self::FormerPayloadSizes { "payload_sizes" } else { self.name() }
    }

    /// The table with this folder.
    pub fn from_folder(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.folder() == name)
    }

    /// Whether only earlier builds wrote such rows: columns of another table say the same now. What there
    /// is stays, and is imported from exports; where there is none, the table is not made.
    pub fn is_former(self) -> bool {
        self == Self::FormerPayloadSizes
    }

    /// One sentence: what one row is.
    pub fn row_meaning(self) -> &'static str {
        self.definition().row
    }

    /// The columns, `date` last.
    pub fn columns(self) -> &'static [Column] {
        self.definition().columns
    }

    /// Columns that the table had in earlier versions, of which files may still be there. They are not
    /// read: another table says the same.
    pub fn former_columns(self) -> &'static [&'static str] {
        match self {
            Self::FormerPayloadSizes => &["parent_span_id"],
            _ => &[],
        }
    }

    /// The columns by which rows are sorted inside a file.
    pub fn sort_columns(self) -> &'static [&'static str] {
        self.definition().sort
    }

    /// The column with a row's exact instant, where there is one beside `time`, which is in microseconds.
    pub fn exact_time(self) -> Option<&'static str> {
        let starts = matches!(self, Self::Spans | Self::Deploys);
        let name = if starts { "start_unix_nano" } else { "time_unix_nano" };
        self.columns().iter().any(|column| column.name == name).then_some(name)
    }

    /// Whether rows are sums of others', of which two may be put together.
    pub fn is_rollup(self) -> bool {
        let is_minutes =
            matches!(self, Self::OperationMinutes | Self::EdgeMinutes | Self::ProfileMinutes);
        is_minutes || self.minutes().is_some()
    }

    /// Whether its rows are minutes of spans.
    pub fn is_made_of_spans(self) -> bool {
        matches!(self, Self::OperationMinutes | Self::EdgeMinutes)
    }

    /// Of a table of hours, the minutes that they are the sums of.
    pub fn minutes(self) -> Option<Self> {
        match self {
            Self::OperationHours => Some(Self::OperationMinutes),
            Self::EdgeHours => Some(Self::EdgeMinutes),
            Self::ProfileHours => Some(Self::ProfileMinutes),
            _ => None,
        }
    }

    /// The Arrow schema of the table, `date` included.
    pub fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<Vec<SchemaRef>> = LazyLock::new(|| {
            Table::ALL.iter().map(|table| Arc::new(arrow_schema(table.columns()))).collect()
        });
        let position = Self::ALL.iter().position(|table| *table == self);
        Arc::clone(&SCHEMAS[position.expect("ALL lists every table")])
    }

    /// The schema of rows on their way into the table: as [`Table::schema`], but of what comes of traces
    /// each text is there once, as is what all spans of a sender have in common: as dictionaries.
    pub fn arriving_schema(self) -> SchemaRef {
        static OF_TRACES: LazyLock<[SchemaRef; 2]> =
            LazyLock::new(|| [Table::Spans, Table::SpanEvents].map(folded_schema));
        let [spans, events] = &*OF_TRACES;
        match self {
            Self::Spans => Arc::clone(spans),
            Self::SpanEvents => Arc::clone(events),
            _ => self.schema(),
        }
    }

    fn definition(self) -> &'static Definition {
        match self {
            Self::Spans => &traces::SPANS,
            Self::SpanEvents => &traces::SPAN_EVENTS,
            Self::FormerPayloadSizes => &traces::FORMER_PAYLOAD_SIZES,
            Self::Profiles => &profiles::PROFILES,
            Self::ProfileSamples => &profiles::PROFILE_SAMPLES,
            Self::ProfileStacks => &profiles::PROFILE_STACKS,
            Self::ProfileStackFrames => &profiles::PROFILE_STACK_FRAMES,
            Self::Metrics => &metrics::METRICS,
            Self::MetricHistograms => &metrics::METRIC_HISTOGRAMS,
            Self::Logs => &logs::LOGS,
            Self::Deploys => &changes::DEPLOYS,
            Self::OperationMinutes => &rollups::OPERATION_MINUTES,
            Self::EdgeMinutes => &rollups::EDGE_MINUTES,
            Self::ProfileMinutes => &rollups::PROFILE_MINUTES,
            Self::OperationHours => &rollups::OPERATION_HOURS,
            Self::EdgeHours => &rollups::EDGE_HOURS,
            Self::ProfileHours => &rollups::PROFILE_HOURS,
            Self::Findings => &changes::FINDINGS,
            Self::Diagnoses => &changes::DIAGNOSES,
        }
    }
}

/// A column: its name, type, whether it may be null, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// OpenTelemetry's field or attribute name in snake_case.
    pub name: &'static str,
    /// The kind of value.
    pub kind: Kind,
    /// Whether the value may be missing.
    pub nullable: bool,
    /// One sentence for `docs/tables.md`.
    pub doc: &'static str,
}

/// The kinds of value that columns hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// A signed 64-bit integer; unsigned input saturates.
    Int,
    /// A 64-bit float.
    Float,
    /// True or false.
    Bool,
    /// An instant in UTC, microseconds.
    Time,
    /// The day in UTC: the partition column.
    Date,
    /// The 16 bytes of a trace id.
    TraceId,
    /// Attributes: name to value, values as text.
    Attributes,
    /// A list of texts.
    TextList,
    /// A list of integers.
    IntList,
    /// A list of floats.
    FloatList,
    /// An exponential histogram with exact integer count, sum, minimum and maximum.
    Histogram,
    /// Stack frames, leaf first.
    Frames,
    /// Links to other spans.
    Links,
}

impl Kind {
    /// Whether it is a text in each row, or texts by their names.
    #[cfg(feature = "delta")]
    pub(crate) fn is_texts(self) -> bool {
        matches!(self, Self::Text | Self::Attributes)
    }

    /// The Arrow type of the kind.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
            Self::TraceId => DataType::Binary,
            Self::Attributes => attributes_type(),
            Self::TextList => list_of(DataType::Utf8),
            Self::IntList => list_of(DataType::Int64),
            Self::FloatList => list_of(DataType::Float64),
            Self::Histogram => crate::histogram::data_type(),
            Self::Frames => list_of(DataType::Struct(frame_fields())),
            Self::Links => list_of(DataType::Struct(link_fields())),
        }
    }

    /// The type's name in `docs/tables.md`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "int64",
            Self::Float => "float64",
            Self::Bool => "boolean",
            Self::Time => "timestamp(us, UTC)",
            Self::Date => "date",
            Self::TraceId => "binary(16)",
            Self::Attributes => "map(text, text)",
            Self::TextList => "list(text)",
            Self::IntList => "list(int64)",
            Self::FloatList => "list(float64)",
            Self::Histogram => "histogram",
            Self::Frames => "list(frame)",
            Self::Links => "list(link)",
        }
    }
}

/// `docs/tables.md`: every table and column.
pub fn markdown() -> String {
    let mut page = String::from(PREFACE);
    for table in Table::ALL.into_iter().filter(|table| !table.is_former()) {
        let sort = table.sort_columns().join(", ");
        page.push_str(&format!(
            "\n## {}\n\nOne row is {}. Sorted by {sort}.\n\n| column | type | meaning |\n|---|---|---|\n",
            table.name(),
            table.row_meaning(),
        ));
        for column in table.columns() {
            let optional = if column.nullable { ", nullable" } else { "" };
            page.push_str(&format!(
                "| `{}` | {}{optional} | {} |\n",
                column.name,
                column.kind.label(),
                column.doc
            ));
        }
    }
    page
}

const PREFACE: &str = "\
# Tables

Generated from `store/src/schema/`; a test compares. Every table is a Delta table (reader version 1,
writer version 2) in `<data>/<tenant>/<table>/`, partitioned by `date` (UTC), so any engine can read it.

Types: a **histogram** is `struct(count, sum, buckets)`: an OpenTelemetry exponential histogram of integers
(nanoseconds, bytes) whose bucket `i` covers `(2^(i/2^scale), 2^((i+1)/2^scale)]`; it merges by addition, percentiles
come from merged buckets only. `buckets` are bytes: none where all values are equal, so that each is `sum / count`; else
LEB128 varints (those marked with * zigzag) in one of two forms. After a byte `7F` (scale 5, of measured values): minimum; if
that is all, there are two values, and the other one is the rest of the sum. Else the maximum less the minimum, the number of zeros
less 1 where the minimum is 0, then the buckets without the least and the greatest value: for each that is then not empty the distance
to the one after the last (at first to the minimum's bucket, of a zero to bucket -1), doubled, plus 1 where its count less 2
follows; without it the count is 1. Without that byte: scale*, minimum*, maximum*, number of zeros*, then for each bucket that is
not empty its index and its count, the first index as it is*, each other as the distance to the one after the last. A **frame** is `struct(function, file, line, mapping, build_id, address, inlined)`. A **link**
is `struct(trace_id, span_id)`. Attribute values are text; lists and maps are JSON text.
";

/// What one table is, as the files below `schema/` write it down.
#[derive(Debug)]
struct Definition {
    name: &'static str,
    row: &'static str,
    sort: &'static [&'static str],
    columns: &'static [Column],
}

/// A column that always has a value.
const fn column(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, nullable: false, doc }
}

/// A column whose value may be missing.
const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, nullable: true, doc }
}

/// The partition column, the same in every table.
const DATE: Column = column("date", Kind::Date, "Day of `time` in UTC; the partition.");

/// The table's schema with texts, names of attributes, and attributes of resources as dictionaries.
fn folded_schema(table: Table) -> SchemaRef {
    let schema = table.schema();
    let fields = schema.fields().iter().map(|field| {
        let folded = match (field.name().as_str(), field.data_type()) {
            ("resource_attributes", data_type) => folded_type(data_type),
            (_, DataType::Utf8) => folded_type(&DataType::Utf8),
            (_, DataType::Map(..)) => folded_attributes_type(),
            _ => return Arc::clone(field),
        };
        Arc::new(Field::new(field.name(), folded, field.is_nullable()))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn arrow_schema(columns: &[Column]) -> Schema {
    let fields = columns.iter().map(|c| Field::new(c.name, c.kind.data_type(), c.nullable));
    Schema::new(fields.collect::<Vec<_>>())
}

/// Entry names are the ones that Parquet and Delta prescribe; other names make readers disagree.
/// The type of attributes on their way into a table: each name is there once.
pub fn folded_attributes_type() -> DataType {
    attributes_of(folded_type(&DataType::Utf8))
}

fn attributes_type() -> DataType {
    attributes_of(DataType::Utf8)
}

fn attributes_of(keys: DataType) -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", keys, false),
        Field::new("value", DataType::Utf8, true),
    ]);
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
}

pub(crate) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", item, true)))
}

/// The fields of a stack frame.
pub fn frame_fields() -> Fields {
    Fields::from(vec![
        Field::new("function", DataType::Utf8, true),
        Field::new("file", DataType::Utf8, true),
        Field::new("line", DataType::Int64, true),
        Field::new("mapping", DataType::Utf8, true),
        Field::new("build_id", DataType::Utf8, true),
        Field::new("address", DataType::Int64, true),
        Field::new("inlined", DataType::Boolean, true),
    ])
}

/// The fields of a span link.
pub fn link_fields() -> Fields {
    Fields::from(vec![
        Field::new("trace_id", DataType::Binary, true),
        Field::new("span_id", DataType::Int64, true),
    ])
}
