//! Which version of OTLP wrote a request.
//!
//! The package has stayed `v1development` while its messages changed:
//!
//! | field of `Sample` | 1.8 and 1.9 | 1.10 and later |
//! |---|---|---|
//! | 2 | values, a list | attribute indices, a list |
//! | 3 | attribute indices, a list | link index, a number |
//! | 4 | link index, a number | values, a list |
//!
//! A reader of the one takes the other for valid and shows wrong numbers, so the layout is sought
//! out before anything is read: by the kinds of fields 3 and 4 of any sample, which tell for sure. A
//! request that has neither anywhere is told by what only one of the layouts allows: a sample without
//! timestamps needs values; values and timestamps are of one number; attribute indices are below the
//! length of their table and differ within a sample. Where nothing tells, it is 1.10.
//!
//! 1.7 and earlier have other messages around the samples and are refused.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::super::Fault;
use super::super::wire::{Field, Reader, WireError};
use super::each_profile;

/// The numbers of the fields of `Sample` and `Profile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// OTLP 1.8 and 1.9.
    Earlier,
    /// OTLP 1.10 and later.
    Current,
}

impl Layout {
    /// The layout of a request whose attribute table has this length.
    pub(super) fn of(body: &[u8], attribute_count: usize) -> Result<Self, Fault> {
        let mut evidence = Evidence::default();
        each_profile(body, |profile| {
            check_profile(profile)?;
            for field in Reader::new(profile, "Profile") {
                if let (2, Field::Bytes(sample)) = field? {
                    evidence.add(sample, attribute_count)?;
                }
            }
            Ok(())
        })?;
        evidence.layout()
    }
}

/// What was seen that only one of the layouts has.
#[derive(Debug, Default)]
struct Evidence {
    /// Kinds of fields: of the earlier, of the current layout.
    kinds: [bool; 2],
    /// Values of fields.
    values: [bool; 2],
    /// The first entries of the sample at hand.
    entries: Vec<u64>,
}

/// Entries of a sample that are compared with each other; more attributes than this no sample has.
const ENTRIES_MAX: usize = 1024;

/// The entries of field 2 of a sample.
#[derive(Clone, Copy, Debug, Default)]
struct Field2 {
    count: usize,
    /// Whether one of them is no index of an attribute.
    beyond: bool,
}

impl Field2 {
    fn add(&mut self, entry: u64, attribute_count: usize) {
        self.count = self.count.saturating_add(1);
        self.beyond |= usize::try_from(entry).is_ok_and(|index| index >= attribute_count);
    }
}

impl Evidence {
    fn add(&mut self, sample: &[u8], attribute_count: usize) -> Result<(), Fault> {
        let [earlier, current] = &mut self.kinds;
        let entries = &mut self.entries;
        entries.clear();
        let (mut field_2, mut timestamps, mut told) = (Field2::default(), 0_usize, false);
        for field in Reader::new(sample, "Sample") {
            match field? {
                (2, field) => field.varint_list("Sample.field_2", |entry| {
                    field_2.add(entry, attribute_count);
                    if entries.len() < ENTRIES_MAX {
                        entries.push(entry);
                    }
                })?,
                (3, Field::Bytes(_)) | (4, Field::Varint(_)) => (*earlier, told) = (true, true),
                (3, Field::Varint(_)) | (4, Field::Bytes(_)) => (*current, told) = (true, true),
                (5, field) => field.fixed64_list("Sample.timestamps_unix_nano", |_| {
                    timestamps = timestamps.saturating_add(1);
                })?,
                (6, _) => return Err(too_old()),
                _ => {}
            }
        }
        if !told && field_2.count > 0 {
            self.weigh(field_2, timestamps);
        }
        Ok(())
    }

    /// What field 2 can be in a sample that has neither field 3 nor field 4.
    fn weigh(&mut self, field_2: Field2, timestamps: usize) {
        self.entries.sort_unstable();
        let distinct = self.entries.is_sorted_by(|left, right| left < right);
        let [earlier, current] = &mut self.values;
        *earlier |= timestamps == 0 || field_2.beyond || !distinct;
        *current |= timestamps != 0 && field_2.count != timestamps;
    }

    fn layout(&self) -> Result<Layout, Fault> {
        let decided = match self.kinds {
            [false, false] => self.values,
            kinds => kinds,
        };
        match decided {
            [true, true] => Err(Fault::Invalid(
                "its samples are partly of the layout of OTLP 1.8 and 1.9 and partly of that of \
                 1.10, so that values and attributes cannot be told apart; send all of it in the \
                 layout of OTLP 1.10 or later"
                    .to_owned(),
            )),
            [true, false] => Ok(Layout::Earlier),
            [false, _] => Ok(Layout::Current),
        }
    }
}

/// Refuses profiles of the messages before 1.8.
fn check_profile(profile: &[u8]) -> Result<(), Fault> {
    let mut sample_types = 0_usize;
    for field in Reader::new(profile, "Profile") {
        match field? {
            (1, Field::Bytes(_)) => sample_types = sample_types.saturating_add(1),
            // 1.7 had the indices of locations in field 3, 1.3 a start in field 2.
            (2 | 5, Field::Bytes(_)) | (3, Field::Fixed64(_)) | (4, Field::Varint(_)) => {}
            (1..=5, _) => return Err(too_old()),
            _ => {}
        }
    }
    if sample_types > 1 {
        return Err(too_old());
    }
    Ok(())
}

/// An attribute of the dictionary with a text as its key, as 1.7 had them.
pub(super) fn check_attribute_key(key: Field<'_>) -> Result<i32, Fault> {
    match key {
        Field::Bytes(_) => Err(too_old()),
        key => Ok(key.int32("KeyValueAndUnit.key_strindex")?),
    }
}

fn too_old() -> Fault {
    Fault::Invalid(
        "these are OTLP profiles of version 1.7 or earlier, whose messages are others; update the \
         profiler, or the Collector that it sends through, to one that speaks OTLP 1.10 or later"
            .to_owned(),
    )
}

/// Where the indices of a profile's own attributes are.
pub(super) fn attributes_field(profile: &[u8], layout: Layout) -> Result<u32, WireError> {
    const SINCE_1_9: u32 = 11;
    const IN_1_8: u32 = 12;
    if layout == Layout::Current {
        return Ok(SINCE_1_9);
    }
    // 1.8 had comments in field 7, which moved every later field by one.
    let (mut is_1_8, mut payload, mut format) = (false, false, false);
    for field in Reader::new(profile, "Profile") {
        match field? {
            (8, Field::Bytes(_)) | (9, Field::Varint(_)) | (IN_1_8, _) => is_1_8 = true,
            (9, Field::Bytes(_)) => format = true,
            (10, _) => payload = true,
            _ => {}
        }
    }
    Ok(if is_1_8 || (payload && !format) { IN_1_8 } else { SINCE_1_9 })
}
