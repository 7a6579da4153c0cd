//! The messages of profiles, written in the layout of OTLP 1.10. Names are the same in 1.8 and 1.9 but
//! for two that were singular then, so JSON of those versions is read as well.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::Deserialize;

use super::common::{AnyValue, Resource, Scope};
use super::encode::{
    Message, put_bytes, put_fixed64, put_int32, put_message, put_present_bytes, put_raw_varint,
    put_varint,
};
use super::scalars::{Encoded, EncodedTexts, Hex, HexOrBase64, Integer, Object, Text};

/// `ExportProfilesServiceRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Request {
    resource_profiles: Encoded<ResourceProfiles, 1>,
    dictionary: Option<Object<Dictionary>>,
}

impl Message for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.resource_profiles.bytes);
        if let Some(Object(dictionary)) = &self.dictionary {
            put_message(out, 2, dictionary);
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names of the JSON encoding")]
struct Dictionary {
    mapping_table: Encoded<Mapping, 1>,
    location_table: Encoded<Location, 2>,
    function_table: Encoded<Function, 3>,
    link_table: Encoded<Link, 4>,
    string_table: EncodedTexts<5>,
    attribute_table: Encoded<KeyValueAndUnit, 6>,
    stack_table: Encoded<Stack, 7>,
}

impl Message for Dictionary {
    fn encode(&self, out: &mut Vec<u8>) {
        let tables = [
            &self.mapping_table.bytes,
            &self.location_table.bytes,
            &self.function_table.bytes,
            &self.link_table.bytes,
            &self.string_table.bytes,
            &self.attribute_table.bytes,
            &self.stack_table.bytes,
        ];
        for table in tables {
            out.extend_from_slice(table);
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceProfiles {
    resource: Option<Object<Resource>>,
    scope_profiles: Encoded<ScopeProfiles, 2>,
    schema_url: Text,
}

impl Message for ResourceProfiles {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Object(resource)) = &self.resource {
            put_message(out, 1, resource);
        }
        out.extend_from_slice(&self.scope_profiles.bytes);
        put_bytes(out, 3, self.schema_url.0.as_bytes());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ScopeProfiles {
    scope: Option<Object<Scope>>,
    profiles: Encoded<Profile, 2>,
    schema_url: Text,
}

impl Message for ScopeProfiles {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Object(scope)) = &self.scope {
            put_message(out, 1, scope);
        }
        out.extend_from_slice(&self.profiles.bytes);
        put_bytes(out, 3, self.schema_url.0.as_bytes());
    }
}

/// The original payload is left out: nothing reads it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names of the JSON encoding")]
struct Profile {
    sample_type: Option<Object<ValueType>>,
    #[serde(alias = "sample")]
    samples: Encoded<Sample, 2>,
    time_unix_nano: Integer<u64>,
    duration_nano: Integer<u64>,
    period_type: Option<Object<ValueType>>,
    period: Integer<i64>,
    profile_id: HexOrBase64,
    dropped_attributes_count: Integer<u32>,
    attribute_indices: Option<Vec<Integer<i32>>>,
}

impl Message for Profile {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Object(sample_type)) = &self.sample_type {
            put_message(out, 1, sample_type);
        }
        out.extend_from_slice(&self.samples.bytes);
        put_fixed64(out, 3, self.time_unix_nano.0);
        put_varint(out, 4, self.duration_nano.0);
        if let Some(Object(period_type)) = &self.period_type {
            put_message(out, 5, period_type);
        }
        put_varint(out, 6, self.period.0.cast_unsigned());
        put_bytes(out, 7, &self.profile_id.0);
        put_varint(out, 8, u64::from(self.dropped_attributes_count.0));
        put_indices(out, 11, self.attribute_indices.as_deref());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ValueType {
    type_strindex: Integer<i32>,
    unit_strindex: Integer<i32>,
}

impl Message for ValueType {
    fn encode(&self, out: &mut Vec<u8>) {
        put_int32(out, 1, self.type_strindex.0);
        put_int32(out, 2, self.unit_strindex.0);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Sample {
    stack_index: Integer<i32>,
    attribute_indices: Option<Vec<Integer<i32>>>,
    link_index: Integer<i32>,
    values: Option<Vec<Integer<i64>>>,
    timestamps_unix_nano: Option<Vec<Integer<u64>>>,
}

impl Message for Sample {
    /// Values are written even if there are none, which tells the layout of 1.10 from the earlier one.
    fn encode(&self, out: &mut Vec<u8>) {
        put_int32(out, 1, self.stack_index.0);
        put_indices(out, 2, self.attribute_indices.as_deref());
        put_int32(out, 3, self.link_index.0);
        let mut packed = Vec::new();
        for Integer(value) in self.values.as_deref().unwrap_or_default() {
            put_raw_varint(&mut packed, value.cast_unsigned());
        }
        put_present_bytes(out, 4, &packed);
        packed.clear();
        for Integer(time) in self.timestamps_unix_nano.as_deref().unwrap_or_default() {
            packed.extend_from_slice(&time.to_le_bytes());
        }
        put_bytes(out, 5, &packed);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Mapping {
    memory_start: Integer<u64>,
    memory_limit: Integer<u64>,
    file_offset: Integer<u64>,
    filename_strindex: Integer<i32>,
    attribute_indices: Option<Vec<Integer<i32>>>,
}

impl Message for Mapping {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, 1, self.memory_start.0);
        put_varint(out, 2, self.memory_limit.0);
        put_varint(out, 3, self.file_offset.0);
        put_int32(out, 4, self.filename_strindex.0);
        put_indices(out, 5, self.attribute_indices.as_deref());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Location {
    mapping_index: Integer<i32>,
    address: Integer<u64>,
    #[serde(alias = "line")]
    lines: Encoded<Line, 3>,
    attribute_indices: Option<Vec<Integer<i32>>>,
}

impl Message for Location {
    fn encode(&self, out: &mut Vec<u8>) {
        put_int32(out, 1, self.mapping_index.0);
        put_varint(out, 2, self.address.0);
        out.extend_from_slice(&self.lines.bytes);
        put_indices(out, 4, self.attribute_indices.as_deref());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names of the JSON encoding")]
struct Line {
    function_index: Integer<i32>,
    line: Integer<i64>,
    column: Integer<i64>,
}

impl Message for Line {
    fn encode(&self, out: &mut Vec<u8>) {
        put_int32(out, 1, self.function_index.0);
        put_varint(out, 2, self.line.0.cast_unsigned());
        put_varint(out, 3, self.column.0.cast_unsigned());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Function {
    name_strindex: Integer<i32>,
    system_name_strindex: Integer<i32>,
    filename_strindex: Integer<i32>,
    start_line: Integer<i64>,
}

impl Message for Function {
    fn encode(&self, out: &mut Vec<u8>) {
        put_int32(out, 1, self.name_strindex.0);
        put_int32(out, 2, self.system_name_strindex.0);
        put_int32(out, 3, self.filename_strindex.0);
        put_varint(out, 4, self.start_line.0.cast_unsigned());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Link {
    trace_id: Hex<16>,
    span_id: Hex<8>,
}

impl Message for Link {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, &self.trace_id.0);
        put_bytes(out, 2, &self.span_id.0);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct KeyValueAndUnit {
    key_strindex: Integer<i32>,
    value: Option<Object<AnyValue>>,
    unit_strindex: Integer<i32>,
}

impl Message for KeyValueAndUnit {
    fn encode(&self, out: &mut Vec<u8>) {
        put_int32(out, 1, self.key_strindex.0);
        if let Some(Object(value)) = &self.value {
            put_message(out, 2, value);
        }
        put_int32(out, 3, self.unit_strindex.0);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Stack {
    location_indices: Option<Vec<Integer<i32>>>,
}

impl Message for Stack {
    fn encode(&self, out: &mut Vec<u8>) {
        put_indices(out, 1, self.location_indices.as_deref());
    }
}

/// Writes a packed list of `int32`.
fn put_indices(out: &mut Vec<u8>, number: u32, indices: Option<&[Integer<i32>]>) {
    let mut packed = Vec::new();
    for Integer(index) in indices.unwrap_or_default() {
        put_raw_varint(&mut packed, i64::from(*index).cast_unsigned());
    }
    put_bytes(out, number, &packed);
}
