//! The messages that all signals share.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::Deserialize;

use super::encode::{
    Message, put_bytes, put_int32, put_message, put_present_bytes, put_present_fixed64,
    put_present_varint, put_varint,
};
use super::scalars::{Base64, Encoded, Float, Integer, Object, Text};

/// `AnyValue`. Of several alternatives, which is against the specification, the first below counts.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AnyValue {
    string_value: Option<Text>,
    bool_value: Option<bool>,
    int_value: Option<Integer<i64>>,
    double_value: Option<Float>,
    array_value: Option<Object<ArrayValue>>,
    kvlist_value: Option<Object<KeyValueList>>,
    bytes_value: Option<Base64>,
    string_value_strindex: Option<Integer<i32>>,
}

impl Message for AnyValue {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Text(value)) = &self.string_value {
            put_present_bytes(out, 1, value.as_bytes());
        } else if let Some(value) = self.bool_value {
            put_present_varint(out, 2, u64::from(value));
        } else if let Some(Integer(value)) = self.int_value {
            put_present_varint(out, 3, value.cast_unsigned());
        } else if let Some(Float(value)) = self.double_value {
            put_present_fixed64(out, 4, value.to_bits());
        } else if let Some(Object(list)) = &self.array_value {
            put_present_bytes(out, 5, &list.values.bytes);
        } else if let Some(Object(map)) = &self.kvlist_value {
            put_present_bytes(out, 6, &map.values.bytes);
        } else if let Some(Base64(value)) = &self.bytes_value {
            put_present_bytes(out, 7, value);
        } else if let Some(Integer(number)) = self.string_value_strindex {
            put_present_varint(out, 8, i64::from(number).cast_unsigned());
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ArrayValue {
    values: Encoded<AnyValue, 1>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeyValueList {
    values: Encoded<KeyValue, 1>,
}

/// `KeyValue`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct KeyValue {
    key: Text,
    value: Option<Object<AnyValue>>,
    key_strindex: Integer<i32>,
}

impl Message for KeyValue {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, self.key.0.as_bytes());
        if let Some(Object(value)) = &self.value {
            put_message(out, 2, value);
        }
        put_int32(out, 3, self.key_strindex.0);
    }
}

/// `Resource`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Resource {
    attributes: Encoded<KeyValue, 1>,
    dropped_attributes_count: Integer<u32>,
}

impl Message for Resource {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.attributes.bytes);
        put_varint(out, 2, u64::from(self.dropped_attributes_count.0));
    }
}

/// `InstrumentationScope`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Scope {
    name: Text,
    version: Text,
    attributes: Encoded<KeyValue, 3>,
    dropped_attributes_count: Integer<u32>,
}

impl Message for Scope {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, self.name.0.as_bytes());
        put_bytes(out, 2, self.version.0.as_bytes());
        out.extend_from_slice(&self.attributes.bytes);
        put_varint(out, 4, u64::from(self.dropped_attributes_count.0));
    }
}
