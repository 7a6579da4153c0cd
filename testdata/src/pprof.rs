//! A writer of gzip pprof files: the messages of `profile.proto` and the tables that they need.
//!
//! Written against <https://github.com/google/pprof/blob/main/proto/profile.proto>, apart from the
//! decoder under test.

use flate2::{Compression, write::GzEncoder};
use prost::Message;
use std::collections::HashMap;
use std::io::Write;

/// A function of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    pub(crate) function: &'static str,
    pub(crate) file: &'static str,
    pub(crate) line: i64,
}

/// What a CPU profile says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuProfile {
    pub(crate) time_unix_nano: i64,
    pub(crate) duration_nano: i64,
    pub(crate) period_nano: i64,
    pub(crate) binary: &'static str,
}

/// A Go CPU profile: for every stack, leaf first, how often it was seen.
pub(crate) fn cpu_profile(profile: CpuProfile, samples: &[(&[Frame], i64)]) -> Vec<u8> {
    let mut tables = Tables::new();
    let mut message = Profile {
        sample_type: vec![
            tables.value_type("samples", "count"),
            tables.value_type("cpu", "nanoseconds"),
        ],
        period_type: Some(tables.value_type("cpu", "nanoseconds")),
        period: profile.period_nano,
        time_nanos: profile.time_unix_nano,
        duration_nanos: profile.duration_nano,
        mapping: vec![Mapping {
            id: 1,
            memory_start: ADDRESS_START,
            memory_limit: ADDRESS_START + ADDRESS_SIZE,
            filename: tables.string(profile.binary),
            has_functions: true,
        }],
        ..Profile::default()
    };
    for (stack, count) in samples {
        message.sample.push(Sample {
            location_id: stack.iter().map(|frame| tables.location(*frame)).collect(),
            value: vec![*count, count * profile.period_nano],
        });
    }
    message.location = tables.locations;
    message.function = tables.functions;
    message.string_table = tables.strings;
    gzip(&message.encode_to_vec())
}

/// Gzip without a time of its own, so that the same profile gives the same bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing into memory does not fail");
    encoder.finish().expect("writing into memory does not fail")
}

/// Where the Go linker puts the text of a program.
const ADDRESS_START: u64 = 0x40_0000;
const ADDRESS_SIZE: u64 = 0x80_0000;

struct Tables {
    strings: Vec<String>,
    string_index: HashMap<&'static str, i64>,
    functions: Vec<Function>,
    locations: Vec<Location>,
    location_index: HashMap<Frame, u64>,
}

impl Tables {
    fn new() -> Self {
        Self {
            strings: vec![String::new()],
            string_index: HashMap::from([("", 0)]),
            functions: Vec::new(),
            locations: Vec::new(),
            location_index: HashMap::new(),
        }
    }

    fn string(&mut self, string: &'static str) -> i64 {
        let next = self.strings.len().cast_signed() as i64;
        *self.string_index.entry(string).or_insert_with(|| {
            self.strings.push(string.to_owned());
            next
        })
    }

    fn value_type(&mut self, kind: &'static str, unit: &'static str) -> ValueType {
        ValueType { kind: self.string(kind), unit: self.string(unit) }
    }

    /// One function and one location for each frame.
    fn location(&mut self, frame: Frame) -> u64 {
        if let Some(id) = self.location_index.get(&frame) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        let name = self.string(frame.function);
        let filename = self.string(frame.file);
        let start_line = (frame.line - 7).max(1);
        self.functions.push(Function { id, name, system_name: name, filename, start_line });
        self.locations.push(Location {
            id,
            mapping_id: 1,
            address: ADDRESS_START + 0x140 * id + 0x2f,
            line: vec![Line { function_id: id, line: frame.line }],
        });
        self.location_index.insert(frame, id);
        id
    }
}

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
    #[prost(int64, tag = "5")]
    start_line: i64,
}
