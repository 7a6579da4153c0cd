//! The columns of a batch by name, and values as OTLP JSON writes them.

use std::fmt;
use std::ops::Range;

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, MapArray,
    StringArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use serde::{Serialize, Serializer};
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;

/// The columns of a table's rows. Names are those of the table's schema, which every batch has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a>(&'a TableBatch);

impl<'a> Rows<'a> {
    pub(super) fn new(batch: &'a TableBatch) -> Self {
        Self(batch)
    }

    pub(super) fn count(self) -> usize {
        self.0.rows.num_rows()
    }

    pub(super) fn table(self) -> Table {
        self.0.table
    }

    fn column(self, name: &str) -> &'a dyn Array {
        let column = self.0.rows.column_by_name(name);
        column.expect("batches have the columns of their table")
    }

    pub(super) fn is_of_integers(self, name: &str) -> bool {
        *self.column(name).data_type() == DataType::Int64
    }

    pub(super) fn texts(self, name: &str) -> &'a StringArray {
        self.column(name).as_string()
    }

    pub(super) fn ints(self, name: &str) -> &'a Int64Array {
        self.column(name).as_primitive::<Int64Type>()
    }

    pub(super) fn floats(self, name: &str) -> &'a Float64Array {
        self.column(name).as_primitive::<Float64Type>()
    }

    pub(super) fn bools(self, name: &str) -> &'a BooleanArray {
        self.column(name).as_boolean()
    }

    pub(super) fn bytes(self, name: &str) -> &'a BinaryArray {
        self.column(name).as_binary()
    }

    pub(super) fn lists(self, name: &str) -> &'a ListArray {
        self.column(name).as_list()
    }

    pub(super) fn maps(self, name: &str) -> &'a MapArray {
        self.column(name).as_map()
    }
}

/// The text of a row; none where it is null.
pub(super) fn text(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// The integer of a row; none where it is null.
pub(super) fn int(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}

/// The float of a row; none where it is null.
pub(super) fn float(column: &Float64Array, row: usize) -> Option<Double> {
    column.is_valid(row).then(|| Double(column.value(row)))
}

/// The trace id of a row; none where it is null.
pub(super) fn trace(column: &BinaryArray, row: usize) -> Option<Hex<'_>> {
    column.is_valid(row).then(|| Hex(column.value(row)))
}

/// The span id of a row; none where it is null.
pub(super) fn span(column: &Int64Array, row: usize) -> Option<SpanId> {
    int(column, row).map(SpanId)
}

/// A 64-bit integer, which OTLP JSON writes as text. Instants and counts of the tables are never
/// negative unless somebody made the rows; such are written as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unsigned(pub(super) i64);

impl Serialize for Unsigned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.max(0))
    }
}

/// A signed 64-bit integer as text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Signed(pub(super) i64);

impl Serialize for Signed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A double; what JSON has no number for is a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Double(pub(super) f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

/// Bytes in hexadecimal, as ids are in OTLP JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A span id, which tables keep as a signed integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpanId(pub(super) i64);

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0.cast_unsigned())
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where the elements of a row's list or map are.
pub(super) fn elements(offsets: &[i32], row: usize) -> Range<usize> {
    let place = |at: usize| usize::try_from(offsets[at]).unwrap_or_default();
    place(row)..place(row + 1)
}
