//! A sample: what was observed on a stack, how often and when.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use upriver_store::time::UnixNanos;

use super::super::Fault;
use super::super::wire::{Field, Reader};
use super::layout::Layout;

/// Values, timestamps or attributes of one sample. More would be refused as rows later; held as
/// numbers these take 128 MB.
const ENTRIES_MAX: usize = 16 << 20;

/// The fields of a sample. Reading the next one keeps the room.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) stack: i32,
    pub(super) attributes: Vec<i32>,
    pub(super) link: i32,
    values: Vec<i64>,
    timestamps: Vec<u64>,
}

impl Sample {
    /// Takes the fields of a sample in place of its own.
    pub(super) fn read(&mut self, bytes: &[u8], layout: Layout) -> Result<(), Fault> {
        (self.stack, self.link) = (0, 0);
        self.attributes.clear();
        self.values.clear();
        self.timestamps.clear();
        for field in Reader::new(bytes, "Sample") {
            let (number, field) = field?;
            match (layout, number) {
                (_, 1) => self.stack = field.int32("Sample.stack_index")?,
                (Layout::Current, 2) | (Layout::Earlier, 3) => {
                    indices(field, "Sample.attribute_indices", &mut self.attributes)?;
                }
                (Layout::Current, 3) | (Layout::Earlier, 4) => {
                    self.link = field.int32("Sample.link_index")?;
                }
                (Layout::Current, 4) | (Layout::Earlier, 2) => {
                    check_length(field, self.values.len())?;
                    let values = &mut self.values;
                    field.varint_list("Sample.values", |value| values.push(value.cast_signed()))?;
                }
                (_, 5) => {
                    check_length(field, self.timestamps.len())?;
                    let timestamps = &mut self.timestamps;
                    field.fixed64_list("Sample.timestamps_unix_nano", |time| {
                        timestamps.push(time);
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether values and timestamps can belong together; if not, how they cannot.
    pub(super) fn check_numbers(&self) -> Result<(), String> {
        let (values, timestamps) = (self.values.len(), self.timestamps.len());
        if values == timestamps || values == 0 || timestamps == 0 {
            return Ok(());
        }
        Err(format!("has {values} values for {timestamps} timestamps"))
    }

    /// The observations: when, where that is known, and the value, which is 1 where there are
    /// timestamps alone.
    pub(super) fn observations(&self) -> impl Iterator<Item = (Option<UnixNanos>, i64)> {
        let count = self.values.len().max(self.timestamps.len());
        (0..count).map(|number| {
            let time = self.timestamps.get(number).filter(|time| **time != 0);
            let value = self.values.get(number).copied().unwrap_or(1);
            (time.map(|time| UnixNanos::from_wire(*time)), value)
        })
    }
}

/// Reads a list of indices.
pub(super) fn indices(
    field: Field<'_>,
    place: &'static str,
    into: &mut Vec<i32>,
) -> Result<(), Fault> {
    check_length(field, into.len())?;
    field.varint_list(place, |index| {
        // The low 32 bits, as protobuf prescribes.
        let low = u32::try_from(index & u64::from(u32::MAX)).unwrap_or_default();
        into.push(low.cast_signed());
    })?;
    Ok(())
}

/// A packed list has at most as many entries as bytes.
fn check_length(field: Field<'_>, known: usize) -> Result<(), Fault> {
    let more = match field {
        Field::Bytes(bytes) => bytes.len(),
        _ => 1,
    };
    if known.saturating_add(more) > ENTRIES_MAX {
        return Err(Fault::TooMany(format!(
            "a list of one sample takes more than {ENTRIES_MAX} bytes; send smaller batches"
        )));
    }
    Ok(())
}
