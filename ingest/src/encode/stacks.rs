//! Frames back into the locations, functions and mappings of a pprof profile.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, ListArray, StringArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;

use super::rows::{Hex, Rows, SpanId, elements, int, text};
use crate::pprof::message::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

/// Label of a sample that has an instant of its own, which OTLP profiles know and pprof does not:
/// nanoseconds since 1970.
pub(crate) const SAMPLE_TIME: &str = "upriver.sample.time_unix_nano";

/// Stacks by their ids.
pub(super) struct Stacks<'a> {
    lists: &'a ListArray,
    functions: &'a StringArray,
    files: &'a StringArray,
    lines: &'a Int64Array,
    mappings: &'a StringArray,
    build_ids: &'a StringArray,
    addresses: &'a Int64Array,
    inlined: &'a BooleanArray,
    rows: HashMap<i64, usize>,
}

impl<'a> Stacks<'a> {
    /// Stacks are written once a day at least, so the same one may be there several times.
    pub(super) fn new(rows: Rows<'a>) -> Self {
        let lists = rows.lists("frames");
        let frames = lists.values().as_struct();
        let text = |at: usize| frames.column(at).as_string::<i32>();
        let ids = rows.ints("stack_id").values().iter();
        Self {
            lists,
            functions: text(0),
            files: text(1),
            lines: frames.column(2).as_primitive::<Int64Type>(),
            mappings: text(3),
            build_ids: text(4),
            addresses: frames.column(5).as_primitive::<Int64Type>(),
            inlined: frames.column(6).as_boolean(),
            rows: ids.enumerate().map(|(row, id)| (*id, row)).collect(),
        }
    }

    /// The frames of a stack, leaf first, cut into locations: what was inlined is in the location of the
    /// function that it was inlined into. None where the stack is not kept any more.
    fn locations(&self, stack: i64) -> Vec<Vec<Frame<'a>>> {
        let Some(row) = self.rows.get(&stack) else { return Vec::new() };
        let mut locations = vec![Vec::new()];
        for at in elements(self.lists.value_offsets(), *row) {
            let frame = self.frame(at);
            let is_last = !frame.is_inlined;
            if let Some(location) = locations.last_mut() {
                location.push(frame);
            }
            if is_last {
                locations.push(Vec::new());
            }
        }
        locations.retain(|frames| !frames.is_empty());
        locations
    }

    fn frame(&self, at: usize) -> Frame<'a> {
        Frame {
            function: text(self.functions, at).unwrap_or_default(),
            file: text(self.files, at).unwrap_or_default(),
            line: int(self.lines, at).unwrap_or_default(),
            mapping: text(self.mappings, at).unwrap_or_default(),
            build_id: text(self.build_ids, at).unwrap_or_default(),
            address: int(self.addresses, at),
            is_inlined: self.inlined.is_valid(at) && self.inlined.value(at),
        }
    }
}

/// A frame as it is stored. It has an address where it has no function; then its name is made of both.
#[derive(Clone, Copy, Debug)]
struct Frame<'a> {
    function: &'a str,
    file: &'a str,
    line: i64,
    mapping: &'a str,
    build_id: &'a str,
    address: Option<i64>,
    is_inlined: bool,
}

impl<'a> Frame<'a> {
    /// The function's own name.
    fn name(&self) -> &'a str {
        if self.address.is_some() { "" } else { self.function }
    }
}

/// A sample to be added.
pub(super) struct Measured<'a> {
    pub(super) stack: i64,
    /// One for each type.
    pub(super) values: Vec<i64>,
    /// The sample's own instant.
    pub(super) time: Option<i64>,
    pub(super) span: Option<SpanId>,
    pub(super) trace: Option<Hex<'a>>,
    pub(super) labels: &'a BTreeMap<&'a str, &'a str>,
}

/// Makes a profile of stored samples and stacks.
#[derive(Default)]
pub(super) struct ProfileBuilder {
    profile: Profile,
    texts: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    mappings: HashMap<(i64, i64), u64>,
    locations: HashMap<LocationKey, u64>,
    stacks: HashMap<i64, Vec<u64>>,
}

/// Mapping, address, and the functions with their lines.
type LocationKey = (u64, u64, Vec<(u64, i64)>);

impl ProfileBuilder {
    pub(super) fn sample_type(&mut self, name: &str, unit: &str) {
        let (r#type, unit) = (self.text(name), self.text(unit));
        self.profile.sample_type.push(ValueType { r#type, unit });
    }

    pub(super) fn period_type(&mut self, name: &str, unit: &str) {
        let (r#type, unit) = (self.text(name), self.text(unit));
        self.profile.period_type = Some(ValueType { r#type, unit });
    }

    pub(super) fn sample(&mut self, stacks: &Stacks<'_>, measured: &Measured<'_>) {
        let mut label: Vec<_> =
            measured.labels.iter().map(|(key, value)| self.text_label(key, value)).collect();
        if let Some(span) = measured.span {
            label.push(self.text_label("span_id", &span.to_string()));
        }
        if let Some(trace) = measured.trace {
            label.push(self.text_label("trace_id", &trace.to_string()));
        }
        if let Some(time) = measured.time {
            label.push(Label { key: self.text(SAMPLE_TIME), str: 0, num: time, num_unit: 0 });
        }
        let location_id = self.stack(stacks, measured.stack);
        self.profile.sample.push(Sample { location_id, value: measured.values.clone(), label });
    }

    /// Adds samples that measured nothing, of which no row is kept, up to the number that there were.
    pub(super) fn pad(&mut self, samples: usize) {
        let Some(first) = self.profile.sample.first() else { return };
        let value = vec![0; first.value.len()];
        let empty = Sample { location_id: first.location_id.clone(), value, label: Vec::new() };
        let missing = samples.saturating_sub(self.profile.sample.len());
        self.profile.sample.extend(std::iter::repeat_n(empty, missing));
    }

    pub(super) fn finish(mut self) -> Profile {
        self.text("");
        self.profile
    }

    fn text_label(&mut self, key: &str, value: &str) -> Label {
        Label { key: self.text(key), str: self.text(value), num: 0, num_unit: 0 }
    }

    /// The place of a text in the table, whose first one is empty.
    fn text(&mut self, text: &str) -> i64 {
        if self.profile.string_table.is_empty() {
            self.profile.string_table.push(Bytes::new());
            self.texts.insert(String::new(), 0);
        }
        if let Some(place) = self.texts.get(text) {
            return *place;
        }
        let place = i64::try_from(self.profile.string_table.len()).unwrap_or(i64::MAX);
        self.profile.string_table.push(Bytes::copy_from_slice(text.as_bytes()));
        self.texts.insert(text.to_owned(), place);
        place
    }

    fn stack(&mut self, stacks: &Stacks<'_>, stack: i64) -> Vec<u64> {
        if let Some(known) = self.stacks.get(&stack) {
            return known.clone();
        }
        let locations = stacks.locations(stack);
        let ids: Vec<_> = locations.iter().map(|frames| self.location(frames)).collect();
        self.stacks.insert(stack, ids.clone());
        ids
    }

    fn location(&mut self, frames: &[Frame<'_>]) -> u64 {
        let mapping_id = frames.first().map_or(0, |frame| self.mapping(frame));
        let address = frames.iter().find_map(|frame| frame.address).unwrap_or_default();
        let is_bare =
            |frame: &Frame<'_>| frame.address.is_some() && frame.file.is_empty() && frame.line == 0;
        let lines = match frames {
            [only] if is_bare(only) => Vec::new(),
            frames => frames.iter().map(|frame| (self.function(frame), frame.line)).collect(),
        };
        let next = next_id(&self.locations);
        let key = (mapping_id, address.cast_unsigned(), lines);
        if let Some(known) = self.locations.get(&key) {
            return *known;
        }
        let line = key.2.iter().map(|(function_id, line)| Line {
            function_id: *function_id,
            line: *line,
            column: 0,
        });
        let line = line.collect();
        let address = key.1;
        self.profile.location.push(Location {
            id: next,
            mapping_id,
            address,
            line,
            is_folded: false,
        });
        self.locations.insert(key, next);
        next
    }

    /// The id of a function; 0 where neither name nor file is known.
    fn function(&mut self, frame: &Frame<'_>) -> u64 {
        let (name, filename) = (self.text(frame.name()), self.text(frame.file));
        if (name, filename) == (0, 0) {
            return 0;
        }
        let next = next_id(&self.functions);
        let id = *self.functions.entry((name, filename)).or_insert(next);
        if id == next {
            let function = Function { id, name, system_name: name, filename, start_line: 0 };
            self.profile.function.push(function);
        }
        id
    }

    /// The id of a mapping; 0 where nothing is known of the binary. It maps no memory, so that addresses
    /// are taken as the places in the file that they are.
    fn mapping(&mut self, frame: &Frame<'_>) -> u64 {
        let (filename, build_id) = (self.text(frame.mapping), self.text(frame.build_id));
        if (filename, build_id) == (0, 0) {
            return 0;
        }
        let next = next_id(&self.mappings);
        let id = *self.mappings.entry((filename, build_id)).or_insert(next);
        if id == next {
            self.profile.mapping.push(Mapping { id, filename, build_id, ..Mapping::default() });
        }
        id
    }
}

/// Ids of pprof begin with 1.
fn next_id<K: Eq + Hash>(known: &HashMap<K, u64>) -> u64 {
    known.len() as u64 + 1
}
