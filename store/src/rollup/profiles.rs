//! `profile_minutes` from samples and the functions of their stacks.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Int64Array, RecordBatch};
use foldhash::fast::RandomState;

use super::{RowBuilder, Sums, Value, in_order};
use crate::schema::Table;
use crate::text_column::TextColumn;
use crate::time::UnixNanos;
use crate::trace_index::{integers, texts};

/// What makes two samples count in the same row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ProfileKey<'a> {
    pub(super) minute: UnixNanos,
    pub(super) service: &'a str,
    pub(super) sample_type: &'a str,
    pub(super) unit: &'a str,
    pub(super) version: Option<&'a str>,
    pub(super) environment: Option<&'a str>,
    pub(super) families: &'a str,
}

/// What is added up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProfileSums {
    pub(super) samples: i64,
    pub(super) value: i64,
}

/// One row per minute, service, type, version, environment and set of families, in the table's order.
/// `frames` are rows of `profile_stack_frames`: those of every stack of the samples.
pub fn profile_minutes(samples: &[RecordBatch], frames: &[RecordBatch]) -> RecordBatch {
    let families = families(frames);
    let mut sums = Sums::<ProfileKey<'_>, ProfileSums>::default();
    for rows in samples {
        let Some(columns) = Columns::new(rows) else { continue };
        for row in 0..rows.num_rows() {
            let sum = sums.entry(columns.key(row, &families)).or_default();
            sum.samples += 1;
            sum.value = sum.value.saturating_add(columns.value.value(row));
        }
    }
    rows_of(&sums)
}

pub(super) fn rows_of(sums: &Sums<ProfileKey<'_>, ProfileSums>) -> RecordBatch {
    let mut rows = RowBuilder::new(Table::ProfileMinutes);
    for (key, sum) in in_order(sums) {
        rows.append([
            Value::Minute(key.minute),
            Value::Text(Some(key.service)),
            Value::Text(Some(key.sample_type)),
            Value::Text(Some(key.unit)),
            Value::Text(key.version),
            Value::Text(key.environment),
            Value::Text(Some(key.families)),
            Value::Int(sum.samples),
            Value::Int(sum.value),
            Value::Date(key.minute),
        ]);
    }
    rows.finish()
}

/// The families of each stack that has some, in alphabetical order, with commas between.
fn families(frames: &[RecordBatch]) -> HashMap<i64, String, RandomState> {
    let mut sets = HashMap::<i64, BTreeSet<&str>, RandomState>::default();
    for rows in frames {
        let (Some(stacks), Some(families)) = (integers(rows, "stack_id"), texts(rows, "family"))
        else {
            continue;
        };
        for row in (0..rows.num_rows()).filter(|row| families.is_valid(*row)) {
            sets.entry(stacks.value(row)).or_default().insert(families.value(row));
        }
    }
    let joined = |set: BTreeSet<&str>| set.into_iter().collect::<Vec<_>>().join(",");
    sets.into_iter().map(|(stack, set)| (stack, joined(set))).collect()
}

/// The columns of `profile_samples` that count.
struct Columns<'a> {
    time: &'a Int64Array,
    service: TextColumn<'a>,
    sample_type: TextColumn<'a>,
    unit: TextColumn<'a>,
    version: TextColumn<'a>,
    environment: TextColumn<'a>,
    stack: &'a Int64Array,
    value: &'a Int64Array,
}

impl<'a> Columns<'a> {
    fn new(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            time: integers(rows, "time_unix_nano")?,
            service: texts(rows, "service_name")?,
            sample_type: texts(rows, "sample_type")?,
            unit: texts(rows, "unit")?,
            version: texts(rows, "service_version")?,
            environment: texts(rows, "deployment_environment_name")?,
            stack: integers(rows, "stack_id")?,
            value: integers(rows, "value")?,
        })
    }

    fn key(&self, row: usize, families: &'a HashMap<i64, String, RandomState>) -> ProfileKey<'a> {
        ProfileKey {
            minute: UnixNanos(self.time.value(row)).minute(),
            service: self.service.value(row),
            sample_type: self.sample_type.value(row),
            unit: self.unit.value(row),
            version: self.version.value_or_none(row),
            environment: self.environment.value_or_none(row),
            families: families.get(&self.stack.value(row)).map_or("", String::as_str),
        }
    }
}
