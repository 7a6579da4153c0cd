//! The protobuf wire format, read in place: fields of a message as borrowed bytes.
//!
//! OTLP is read without building message structs first. An empty span is two bytes on the wire and
//! some 300 in memory, so materialising a hostile request costs a hundred times its size; reading in
//! place costs nothing, and spares a copy of every text.
//!
//! As in other protobuf readers: unknown fields are skipped, a field with the wrong wire type is an
//! error, of a repeated scalar the last one counts, texts must be UTF-8.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use ascii::AsAsciiStr;

/// Groups (a deprecated encoding) inside each other before the reader refuses.
const GROUP_DEPTH_MAX: usize = 32;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WireError {
    /// Message or field, such as `Span.name`.
    place: &'static str,
    problem: &'static str,
}

impl WireError {
    pub(crate) fn new(place: &'static str, problem: &'static str) -> Self {
        Self { place, problem }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for WireError {}

/// The value of a field as the wire has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Field<'a> {
    /// `int32`, `int64`, `uint32`, `uint64`, `sint32`, `bool`, enums.
    Varint(u64),
    /// `fixed64`, `sfixed64`, `double`.
    Fixed64(u64),
    /// `string`, `bytes`, messages, packed lists.
    Bytes(&'a [u8]),
    /// `fixed32`.
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// Bytes, a message or a packed list.
    #[inline]
    pub(crate) fn bytes(self, place: &'static str) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::new(place, WRONG_TYPE)),
        }
    }

    /// Text.
    #[inline]
    pub(crate) fn text(self, place: &'static str) -> Result<&'a str, WireError> {
        let bytes = self.bytes(place)?;
        if let Ok(text) = bytes.as_ascii_str() {
            return Ok(text.as_str());
        }
        std::str::from_utf8(bytes)
            .map_err(|_utf8_error| WireError::new(place, "the text is not UTF-8"))
    }

    /// A variable-length integer.
    #[inline]
    pub(crate) fn varint(self, place: &'static str) -> Result<u64, WireError> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(WireError::new(place, WRONG_TYPE)),
        }
    }

    /// An `int32` or enum: the low 32 bits, as protobuf prescribes.
    #[inline]
    pub(crate) fn int32(self, place: &'static str) -> Result<i32, WireError> {
        let low = self.varint(place)? & u64::from(u32::MAX);
        Ok(u32::try_from(low).unwrap_or_default().cast_signed())
    }

    /// A `sint32` in zigzag form.
    pub(crate) fn sint32(self, place: &'static str) -> Result<i32, WireError> {
        let raw = self.int32(place)?.cast_unsigned();
        Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
    }

    /// Eight bytes.
    #[inline]
    pub(crate) fn fixed64(self, place: &'static str) -> Result<u64, WireError> {
        match self {
            Self::Fixed64(value) => Ok(value),
            _ => Err(WireError::new(place, WRONG_TYPE)),
        }
    }

    /// A double.
    pub(crate) fn double(self, place: &'static str) -> Result<f64, WireError> {
        self.fixed64(place).map(f64::from_bits)
    }

    /// Four bytes.
    #[inline]
    pub(crate) fn fixed32(self, place: &'static str) -> Result<u32, WireError> {
        match self {
            Self::Fixed32(value) => Ok(value),
            _ => Err(WireError::new(place, WRONG_TYPE)),
        }
    }

    /// One or many `fixed64`: packed, or one of several single ones.
    pub(crate) fn fixed64_list(
        self,
        place: &'static str,
        mut each: impl FnMut(u64),
    ) -> Result<(), WireError> {
        let Self::Bytes(bytes) = self else {
            each(self.fixed64(place)?);
            return Ok(());
        };
        let (values, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(WireError::new(place, "a packed list ends inside a value"));
        }
        for value in values {
            each(u64::from_le_bytes(*value));
        }
        Ok(())
    }

    /// One or many varints: packed, or one of several single ones.
    pub(crate) fn varint_list(
        self,
        place: &'static str,
        mut each: impl FnMut(u64),
    ) -> Result<(), WireError> {
        let Self::Bytes(bytes) = self else {
            each(self.varint(place)?);
            return Ok(());
        };
        let mut reader = Reader::new(bytes, place);
        while !reader.rest.is_empty() {
            each(reader.read_varint()?);
        }
        Ok(())
    }
}

const WRONG_TYPE: &str = "the field has the wrong wire type";

/// The fields of a message in wire order. After an error it must not be read on.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` as the message of that name.
    pub(crate) fn new(bytes: &'a [u8], message: &'static str) -> Self {
        Self { rest: bytes, message }
    }

    fn error(&self, problem: &'static str) -> WireError {
        WireError::new(self.message, problem)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some((head, rest)) = self.rest.split_first_chunk() else {
            return Err(self.error("the message ends inside a field"));
        };
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    fn read_varint(&mut self) -> Result<u64, WireError> {
        // Nearly all are one byte long.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.read_long_varint()
    }

    fn read_long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                break;
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("a number has more than 64 bits"))
    }

    fn read_bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.read_varint()?;
        let parts = usize::try_from(length).ok().and_then(|n| self.rest.split_at_checked(n));
        let Some((bytes, rest)) = parts else {
            return Err(self.error("a length goes past the end of the message"));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// The number of a field and its wire type.
    fn read_key(&mut self) -> Result<(u32, u8), WireError> {
        let key = self.read_varint()?;
        let wire_type = (key & 7) as u8;
        match u32::try_from(key >> 3) {
            Ok(number @ 1..=FIELD_NUMBER_MAX) => Ok((number, wire_type)),
            _ => Err(self.error("a field number is out of range")),
        }
    }

    /// The value of a field; `None` after a skipped group.
    fn read_value(&mut self, number: u32, wire_type: u8) -> Result<Option<Field<'a>>, WireError> {
        Ok(Some(match wire_type {
            0 => Field::Varint(self.read_varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.take()?)),
            2 => Field::Bytes(self.read_bytes()?),
            3 => return self.skip_group(number).map(|()| None),
            5 => Field::Fixed32(u32::from_le_bytes(self.take()?)),
            _ => return Err(self.error("a field has an invalid wire type")),
        }))
    }

    fn skip_group(&mut self, number: u32) -> Result<(), WireError> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            match self.read_key()? {
                (number, 3) if open.len() < GROUP_DEPTH_MAX => open.push(number),
                (_, 3) => return Err(self.error("groups are nested too deeply")),
                (number, 4) if number == innermost => drop(open.pop()),
                (number, wire_type) => drop(self.read_value(number, wire_type)?),
            }
        }
        Ok(())
    }
}

/// Protobuf's limit: 29 bits.
const FIELD_NUMBER_MAX: u32 = (1 << 29) - 1;

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Field<'a>), WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // Nearly all fields are short texts and messages with a number below 16.
        if let [key @ 0x08..0x80, length @ ..0x80, rest @ ..] = self.rest
            && key & 7 == 2
            && let Some((bytes, rest)) = rest.split_at_checked(usize::from(*length))
        {
            self.rest = rest;
            return Some(Ok((u32::from(key >> 3), Field::Bytes(bytes))));
        }
        self.next_of_any_kind()
    }
}

impl<'a> Reader<'a> {
    fn next_of_any_kind(&mut self) -> Option<Result<(u32, Field<'a>), WireError>> {
        while !self.rest.is_empty() {
            let field = self
                .read_key()
                .and_then(|(number, kind)| Ok((number, self.read_value(number, kind)?)));
            match field {
                Ok((number, Some(value))) => return Some(Ok((number, value))),
                Ok((_, None)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// The messages in field `number` of a message.
pub(crate) fn messages<'a>(
    bytes: &'a [u8],
    message: &'static str,
    number: u32,
) -> impl Iterator<Item = Result<&'a [u8], WireError>> {
    Reader::new(bytes, message).filter_map(move |field| match field {
        Ok((found, value)) if found == number => Some(value.bytes(message)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

#[cfg(test)]
mod tests;
