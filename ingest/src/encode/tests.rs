//! What single values become; whole round trips are tests of `upriver export`.

use arrow::array::{MapBuilder, StringBuilder};

use super::attributes;
use super::lines::json;

/// The attribute as JSON.
fn attribute(key: &str, text: Option<&str>) -> String {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value(key);
    map.values().append_option(text);
    map.append(true).unwrap();
    json(&attributes::of_row(&map.finish(), 0))
}

#[test]
fn an_attribute_is_text_unless_a_column_is_made_of_its_type() {
    let cases = [
        ("user.id", Some("17"), r#"{"stringValue":"17"}"#),
        ("flag", Some("true"), r#"{"stringValue":"true"}"#),
        ("http.status_code", Some("503"), r#"{"intValue":"503"}"#),
        ("http.status_code", Some("503.0"), r#"{"doubleValue":503.0}"#),
        ("http.status_code", Some("0503"), r#"{"stringValue":"0503"}"#),
        ("messaging.destination.temporary", Some("true"), r#"{"boolValue":true}"#),
        (
            "http.request.header.content-length",
            Some(r#"["7"]"#),
            r#"{"arrayValue":{"values":[{"stringValue":"7"}]}}"#,
        ),
        (
            "http.request.header.content-length",
            Some(r#"[ "7" ]"#),
            r#"{"stringValue":"[ \"7\" ]"}"#,
        ),
        ("rpc.message.uncompressed_size", Some("9"), r#"{"intValue":"9"}"#),
    ];
    for (key, text, expected) in cases {
        assert_eq!(attribute(key, text), format!(r#"[{{"key":"{key}","value":{expected}}}]"#));
    }
    assert_eq!(attribute("gone", None), r#"[{"key":"gone"}]"#);
}
