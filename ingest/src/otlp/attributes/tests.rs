use opentelemetry_proto::tonic::common::v1::any_value::Value as Proto;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use prost::Message;

use super::*;

fn any(value: Proto) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn entry(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), key_strindex: 0 }
}

fn text_of(value: &AnyValue) -> Result<Option<String>, WireError> {
    let bytes = value.encode_to_vec();
    Ok(Value::read(&bytes, Strings::default())?.text()?.map(Cow::into_owned))
}

#[test]
fn values_become_text() {
    let list = Proto::ArrayValue(ArrayValue {
        values: vec![
            any(Proto::StringValue("a\"\\\n\u{1}ü".into())),
            any(Proto::BytesValue(vec![0, 1, 2])),
            any(Proto::DoubleValue(f64::NEG_INFINITY)),
            AnyValue { value: None },
        ],
    });
    let map = Proto::KvlistValue(KeyValueList {
        values: vec![
            entry("k", any(Proto::IntValue(-1))),
            entry("k", any(Proto::IntValue(-2))),
            entry("l", any(list.clone())),
            entry("e", any(Proto::KvlistValue(KeyValueList::default()))),
        ],
    });
    for (value, expected) in [
        (Proto::StringValue("it's \n\u{1b}[31m".into()), "it's \n\u{1b}[31m"),
        (Proto::StringValue(String::new()), ""),
        (Proto::IntValue(i64::MIN), "-9223372036854775808"),
        (Proto::BoolValue(true), "true"),
        (Proto::DoubleValue(1.0), "1.0"),
        (Proto::DoubleValue(1e300), "1e300"),
        (Proto::DoubleValue(0.1 + 0.2), "0.30000000000000004"),
        (Proto::DoubleValue(f64::NAN), "NaN"),
        (Proto::BytesValue(vec![255, 254]), "//4="),
        (list, r#"["a\"\\\n\u0001ü","AAEC","-Infinity",null]"#),
        (map, r#"{"k":-1,"l":["a\"\\\n\u0001ü","AAEC","-Infinity",null],"e":{}}"#),
    ] {
        let text = text_of(&any(value.clone())).unwrap();
        assert_eq!(text.as_deref(), Some(expected));
        if let Proto::ArrayValue(_) | Proto::KvlistValue(_) = value {
            serde_json::from_str::<serde_json::Value>(expected).unwrap();
        }
    }
    assert_eq!(text_of(&AnyValue { value: None }), Ok(None));
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| {
        (0..depth).fold(any(Proto::IntValue(1)), |inner, _| {
            any(Proto::ArrayValue(ArrayValue { values: vec![inner] }))
        })
    };
    assert!(text_of(&nested(DEPTH_MAX - 1)).is_ok());
    let error = text_of(&nested(DEPTH_MAX)).unwrap_err().to_string();
    assert_eq!(error, "AnyValue: lists and maps are nested too deeply");
    assert!(text_of(&nested(500)).is_err());
}

fn attributes<'a>(encoded: &'a [Vec<u8>], budget: &mut Budget) -> Attributes<'a> {
    let mut attributes = Attributes::default();
    for bytes in encoded {
        attributes.read(bytes, budget).unwrap();
    }
    attributes
}

#[test]
fn the_first_of_a_repeated_key_is_kept() {
    // Both below and above the number of keys that are compared one by one.
    for keys in [3, COMPARED_KEYS_MAX + 20] {
        let encoded: Vec<_> = (0..keys * 2)
            .map(|i| {
                let value = any(Proto::IntValue(i64::try_from(i).unwrap()));
                entry(&format!("key{}", i % keys), value).encode_to_vec()
            })
            .collect();
        let attributes = attributes(&encoded, &mut Budget::default());
        assert_eq!(attributes.entries.len(), keys);
        for (i, (key, value)) in attributes.iter().enumerate() {
            assert_eq!(
                (key.name, value),
                (&*format!("key{i}"), Value::Int(i64::try_from(i).unwrap()))
            );
        }
    }
}

#[test]
fn the_canonical_form_ignores_order_and_divides_parts() {
    let canonical = |pairs: &[(&str, &str)]| {
        let encoded: Vec<_> = pairs
            .iter()
            .map(|(k, v)| entry(k, any(Proto::StringValue((*v).into()))).encode_to_vec())
            .collect();
        let mut out = Vec::new();
        attributes(&encoded, &mut Budget::default()).write_canonical(&mut out).unwrap();
        out
    };
    assert_eq!(canonical(&[("a", "1"), ("b", "2")]), canonical(&[("b", "2"), ("a", "1")]));
    assert_ne!(canonical(&[("a", "1"), ("b", "2")]), canonical(&[("a", "2"), ("b", "1")]));
    assert_ne!(canonical(&[("a", "bc")]), canonical(&[("ab", "c")]));
}

#[test]
fn numbers_and_sizes_are_found_in_other_types() {
    let captured =
        Proto::ArrayValue(ArrayValue { values: vec![any(Proto::StringValue("158025".into()))] });
    // As Node captures a header that was set as a number.
    let number = Proto::ArrayValue(ArrayValue { values: vec![any(Proto::IntValue(1_234))] });
    let two = Proto::ArrayValue(ArrayValue {
        values: vec![any(Proto::IntValue(1)), any(Proto::IntValue(2))],
    });
    for (value, integer, size) in [
        (Proto::IntValue(200), Some(200), Some(200)),
        (Proto::StringValue(" 200 ".into()), Some(200), Some(200)),
        (Proto::StringValue("ok".into()), None, None),
        (Proto::DoubleValue(8192.0), Some(8192), Some(8192)),
        (Proto::DoubleValue(0.5), None, None),
        (Proto::DoubleValue(1e300), None, None),
        (Proto::IntValue(-1), Some(-1), None),
        (captured, None, Some(158_025)),
        (number, None, Some(1_234)),
        (two, None, None),
    ] {
        let bytes = any(value.clone()).encode_to_vec();
        let value_read = Value::read(&bytes, Strings::default()).unwrap();
        assert_eq!(
            (value_read.integer(), value_read.size().unwrap()),
            (integer, size),
            "{value:?}"
        );
    }
}

#[test]
fn unknown_alternatives_and_indices_are_empty() {
    let indexed = KeyValue { key_strindex: 3, ..entry("", any(Proto::StringValueStrindex(1))) };
    let encoded = [indexed.encode_to_vec()];
    let attributes = attributes(&encoded, &mut Budget::default());
    assert_eq!(attributes.iter().count(), 0);
    assert_eq!(attributes.text(&["", "x"]), Ok(None));
}

/// The short way may give up on anything, and must otherwise read what the long way reads.
#[test]
fn usual_attributes_are_read_like_any() {
    let numbers = [0, 1, 127, 128, 255, 16_383, 16_384, -1, i64::MAX, i64::MIN];
    let values = numbers.into_iter().map(Proto::IntValue).chain([
        Proto::BoolValue(true),
        Proto::BoolValue(false),
        Proto::DoubleValue(1.5),
        Proto::StringValue(String::new()),
        Proto::StringValue("ü".repeat(62)),
        Proto::StringValue("x".repeat(126)),
        Proto::StringValue("x".repeat(128)),
        Proto::BytesValue(vec![0xff]),
        Proto::ArrayValue(ArrayValue::default()),
    ]);
    let values = values.map(|value| AnyValue { value: Some(value) });
    let mut short = 0;
    for value in values.chain([AnyValue { value: None }]) {
        for key in ["", "http.route", &"k".repeat(127), &"k".repeat(128)] {
            let whole = entry(key, value.clone()).encode_to_vec();
            // Cut off, changed and continued, too.
            for length in 0..=whole.len() {
                let mut bytes: Vec<u8> = whole.iter().copied().take(length).collect();
                for _ in 0..3 {
                    if let Some((name, value)) = usual_parts(&bytes) {
                        let usual = Value::read(value, Strings::default());
                        assert_eq!(usual, Value::read_any(value, Strings::default()), "{bytes:?}");
                        let any = read_key_value(&bytes, Strings::default());
                        assert_eq!(any, usual.map(|value| Some((name, value))), "{bytes:?}");
                        short += 1;
                    }
                    bytes.push(0x12);
                    if let Some(byte) = bytes.get_mut(length / 2) {
                        *byte ^= 0x80;
                    }
                }
            }
        }
    }
    assert!(short > 30, "{short} went the short way");
}
