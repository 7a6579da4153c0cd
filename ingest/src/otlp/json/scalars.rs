//! The values of proto3 JSON as OTLP restricts them. `null` is the default of each.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::encode::{Message, put_present_bytes};

/// A message: an object and nothing else. (What serde derives would also take a list, by position.)
#[derive(Debug, Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Object(T::default()))
            }
        }

        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// A list of messages, each written as field `NUMBER` as soon as it is read.
#[derive(Debug)]
pub(super) struct Encoded<T, const NUMBER: u32> {
    pub(super) bytes: Vec<u8>,
    element: PhantomData<T>,
}

impl<T, const NUMBER: u32> Default for Encoded<T, NUMBER> {
    fn default() -> Self {
        Self { bytes: Vec::new(), element: PhantomData }
    }
}

impl<'de, T, const NUMBER: u32> Deserialize<'de> for Encoded<T, NUMBER>
where
    T: Deserialize<'de> + Default + Message,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const NUMBER: u32>(PhantomData<T>);

        impl<'de, T, const NUMBER: u32> Visitor<'de> for ListVisitor<T, NUMBER>
        where
            T: Deserialize<'de> + Default + Message,
        {
            type Value = Encoded<T, NUMBER>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of JSON objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let (mut encoded, mut scratch) = (Encoded::default(), Vec::new());
                while let Some(Object(element)) = list.next_element::<Object<T>>()? {
                    scratch.clear();
                    element.encode(&mut scratch);
                    put_present_bytes(&mut encoded.bytes, NUMBER, &scratch);
                }
                Ok(encoded)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Encoded::default())
            }
        }

        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

/// Declares a type that is read by a visitor: what it expects, and one method per JSON form.
macro_rules! scalar {
    ($type:ty, [$($generics:tt)*], $expecting:expr, { $($methods:tt)* }) => {
        impl<'de, $($generics)*> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ScalarVisitor<T>(PhantomData<T>);

                impl<'de, $($generics)*> Visitor<'de> for ScalarVisitor<$type> {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(&$expecting)
                    }

                    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                        Ok(Self::Value::default())
                    }

                    $($methods)*
                }

                deserializer.deserialize_any(ScalarVisitor::<$type>(PhantomData))
            }
        }
    };
}

/// A text.
#[derive(Debug, Default)]
pub(super) struct Text(pub(super) String);

scalar!(Text, [], "a text", {
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(text.to_owned()))
    }
});

/// A list of texts, each written as field `NUMBER` as soon as it is read.
#[derive(Debug, Default)]
pub(super) struct EncodedTexts<const NUMBER: u32> {
    pub(super) bytes: Vec<u8>,
}

scalar!(EncodedTexts<NUMBER>, [const NUMBER: u32], "a list of texts", {
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(Text(text)) = list.next_element()? {
            put_present_bytes(&mut bytes, NUMBER, text.as_bytes());
        }
        Ok(EncodedTexts { bytes })
    }
});

/// True or false.
#[derive(Debug, Default)]
pub(super) struct Flag(pub(super) bool);

scalar!(Flag, [], "true or false", {
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Flag(value))
    }
});

/// An integer: a number, also with an exponent if it is whole, or a text of decimal digits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Integer<T>(pub(super) T);

scalar!(Integer<T>, [T: TryFrom<i128> + Default], integer_expected::<T>(), {
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        integer(i128::from(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        integer(i128::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        // Beyond it a double says nothing about the integer that was meant.
        const EXACT_MAX: f64 = 9007199254740992.0;
        if value.fract() != 0.0 || value.abs() > EXACT_MAX {
            return Err(E::custom(format!("{value} is not {}", integer_expected::<T>())));
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
        integer(value as i128)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.parse() {
            Ok(value) => integer(value),
            Err(_) => Err(E::custom(format!("{text:?} is not {}", integer_expected::<T>()))),
        }
    }
});

fn integer<T: TryFrom<i128>, E: de::Error>(value: i128) -> Result<Integer<T>, E> {
    T::try_from(value)
        .map(Integer)
        .map_err(|_range| E::custom(format!("{value} is not {}", integer_expected::<T>())))
}

fn integer_expected<T: TryFrom<i128>>() -> String {
    let sign = if T::try_from(-1).is_ok() { "a signed" } else { "an unsigned" };
    format!("{sign} {}-bit integer", size_of::<T>().saturating_mul(8))
}

/// An enum: a number. Names are forbidden in OTLP JSON.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Enumeration(pub(super) i32);

scalar!(Enumeration, [], "an enum as a number (OTLP JSON forbids names)", {
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        integer(i128::from(value)).map(|Integer(value)| Enumeration(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        integer(i128::from(value)).map(|Integer(value)| Enumeration(value))
    }
});

/// An id of `BYTES` bytes in hexadecimal; empty where missing.
#[derive(Debug, Default)]
pub(super) struct Hex<const BYTES: usize>(pub(super) Vec<u8>);

scalar!(Hex<BYTES>, [const BYTES: usize], hex_expected(BYTES), {
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let bytes = decode_hex(text).filter(|bytes| bytes.is_empty() || bytes.len() == BYTES);
        let wrong = || E::custom(format!("id {text:?} is not {}", hex_expected(BYTES)));
        bytes.map(Hex).ok_or_else(wrong)
    }
});

fn hex_expected(bytes: usize) -> String {
    format!("{} hexadecimal digits", bytes.saturating_mul(2))
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| {
        let value = digit(*high)? << 4 | digit(*low)?;
        u8::try_from(value).ok()
    };
    pairs.iter().map(byte).collect()
}

/// Bytes in base64: standard or URL-safe, padded or not.
#[derive(Debug, Default)]
pub(super) struct Base64(pub(super) Vec<u8>);

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);

scalar!(Base64, [], "bytes in base64", {
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
        engine.decode(text).map(Base64).map_err(|error| E::custom(format!("not base64: {error}")))
    }
});

/// The id of a profile: in hexadecimal as other ids, or in base64 as bytes elsewhere. The
/// specification names ids of traces and spans alone, and writers differ.
#[derive(Debug, Default)]
pub(super) struct HexOrBase64(pub(super) Vec<u8>);

scalar!(HexOrBase64, [], "an id in hexadecimal or base64", {
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        const DIGITS: usize = 32;
        if let Some(id) = decode_hex(text).filter(|_| text.len() == DIGITS) {
            return Ok(HexOrBase64(id));
        }
        let id = STANDARD.decode(text);
        id.map(HexOrBase64)
            .map_err(|error| E::custom(format!("id {text:?} is not base64: {error}")))
    }
});

/// A double: a number, or a text such as `NaN`, `Infinity` or a number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Float(pub(super) f64);

impl<'de> Deserialize<'de> for Float {
    /// Reads the digits itself: serde_json alone may miss the nearest double by one unit.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let wrong = || de::Error::custom(format!("{raw} is not a number, NaN or Infinity"));
        let value = match raw {
            "null" => Some(0.0),
            "\"NaN\"" => Some(f64::NAN),
            "\"Infinity\"" => Some(f64::INFINITY),
            "\"-Infinity\"" => Some(f64::NEG_INFINITY),
            number => number.trim_matches('"').parse().ok().filter(|value: &f64| value.is_finite()),
        };
        value.map(Self).ok_or_else(wrong)
    }
}
