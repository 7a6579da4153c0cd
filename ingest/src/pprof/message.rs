//! The messages of pprof's `profile.proto`, and the one that is logged.
//!
//! Own messages and not a crate's, because the string table is bytes here: a single function name
//! that is not UTF-8 must not refuse a whole profile. Field numbers are those of the public
//! `profile.proto` of google/pprof; a text is an index into the string table.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

/// A profile.
#[derive(Clone, PartialEq, Message)]
pub struct Profile {
    /// What the values of each sample are, in order.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// What was measured.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// The binaries and libraries.
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    /// The places in the program that samples name.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// The functions that locations name.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// All texts; entry 0 is empty.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub string_table: Vec<Bytes>,
    /// Frames that a viewer should leave out (text).
    #[prost(int64, tag = "7")]
    pub drop_frames: i64,
    /// Frames that a viewer should keep (text).
    #[prost(int64, tag = "8")]
    pub keep_frames: i64,
    /// Start, in nanoseconds since 1970; 0 where unknown.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// Length; 0 where unknown.
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    /// What a period is.
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    /// What lies between two samples.
    #[prost(int64, tag = "12")]
    pub period: i64,
    /// Free texts.
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    /// The sample type that a viewer should show first (text).
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
    /// Where the profile is explained (text).
    #[prost(int64, tag = "15")]
    pub doc_url: i64,
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ValueType {
    /// `cpu`, `alloc_space` and so on (text).
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    /// `nanoseconds`, `bytes`, `count` (text).
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// A stack and what was measured on it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Sample {
    /// Ids of locations, leaf first.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// One value for each sample type.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    /// What else is known.
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

/// A label of a sample: a text or a number.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Label {
    /// Name (text).
    #[prost(int64, tag = "1")]
    pub key: i64,
    /// Value (text); 0 where the value is a number.
    #[prost(int64, tag = "2")]
    pub str: i64,
    /// Value.
    #[prost(int64, tag = "3")]
    pub num: i64,
    /// Unit of the number (text).
    #[prost(int64, tag = "4")]
    pub num_unit: i64,
}

/// A binary or library in the address space.
#[expect(clippy::struct_excessive_bools, reason = "profile.proto has them")]
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Mapping {
    /// Its id, not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// First address.
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    /// First address after it.
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    /// What of the file is at the first address.
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    /// File (text).
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// Build id (text).
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    /// Whether locations have functions.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    /// Whether functions have files.
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    /// Whether lines have numbers.
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    /// Whether inlined functions are given.
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

/// A place in the program.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Location {
    /// Its id, not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Id of its mapping; 0 for none.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// Address of the instruction; 0 where unknown.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// The functions there: innermost inlined one first, the one that has the code last.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
    /// Whether several addresses were folded into one.
    #[prost(bool, tag = "5")]
    pub is_folded: bool,
}

/// A line of a function.
#[expect(clippy::struct_field_names, reason = "the names of profile.proto")]
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Line {
    /// Id of the function; 0 for none.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    /// Line; 0 where unknown.
    #[prost(int64, tag = "2")]
    pub line: i64,
    /// Column; 0 where unknown.
    #[prost(int64, tag = "3")]
    pub column: i64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Function {
    /// Its id, not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Name for people (text).
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// Name of the symbol (text).
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    /// Source file (text).
    #[prost(int64, tag = "4")]
    pub filename: i64,
    /// First line.
    #[prost(int64, tag = "5")]
    pub start_line: i64,
}

/// A received profile as it is logged: the sender's parameters and the body as it came.
#[derive(Clone, PartialEq, Message)]
pub struct LoggedProfile {
    /// Labels under their canonical names, such as `service.version`.
    #[prost(btree_map = "string, string", tag = "1")]
    pub labels: BTreeMap<String, String>,
    /// `service.name`.
    #[prost(string, tag = "2")]
    pub service: String,
    /// Start that the sender gave; absent where it gave none.
    #[prost(int64, optional, tag = "3")]
    pub from_unix_nano: Option<i64>,
    /// End that the sender gave; absent where it gave none.
    #[prost(int64, optional, tag = "4")]
    pub until_unix_nano: Option<i64>,
    /// Samples per second; 0 where the sender gave none.
    #[prost(uint32, tag = "5")]
    pub sample_rate: u32,
    /// The profile, gzip or raw, as it was sent.
    #[prost(bytes = "bytes", tag = "6")]
    pub body: Bytes,
}
