//! Writing protobuf: the fields of a message, defaults left out.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Something that is written as a protobuf message.
pub(super) trait Message {
    /// Appends the fields of the message.
    fn encode(&self, out: &mut Vec<u8>);
}

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const FIXED32: u32 = 5;

fn put_key(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    put_raw_varint(out, u64::from((number << 3) | wire_type));
}

/// Appends a varint without a key.
pub(super) fn put_raw_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends a varint field, even if 0.
pub(super) fn put_present_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    put_key(out, number, VARINT);
    put_raw_varint(out, value);
}

/// Appends an unsigned varint field.
pub(super) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_present_varint(out, number, value);
    }
}

/// Appends an `int32` or enum field.
pub(super) fn put_int32(out: &mut Vec<u8>, number: u32, value: i32) {
    put_varint(out, number, i64::from(value).cast_unsigned());
}

/// Appends a `sint32` field in zigzag form.
pub(super) fn put_sint32(out: &mut Vec<u8>, number: u32, value: i32) {
    put_varint(out, number, u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()));
}

/// Appends a `fixed64` field, even if 0.
pub(super) fn put_present_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_key(out, number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `fixed64` field.
pub(super) fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_present_fixed64(out, number, value);
    }
}

/// Appends a `double` field, if there is a value.
pub(super) fn put_double(out: &mut Vec<u8>, number: u32, value: Option<f64>) {
    if let Some(value) = value {
        put_present_fixed64(out, number, value.to_bits());
    }
}

/// Appends a `fixed32` field.
pub(super) fn put_fixed32(out: &mut Vec<u8>, number: u32, value: u32) {
    if value != 0 {
        put_key(out, number, FIXED32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Appends bytes, a text or a message, even if empty.
pub(super) fn put_present_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_key(out, number, LENGTH_DELIMITED);
    put_raw_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends bytes or a text.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_present_bytes(out, number, bytes);
    }
}

/// Appends a message.
pub(super) fn put_message(out: &mut Vec<u8>, number: u32, message: &impl Message) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    put_present_bytes(out, number, &bytes);
}
