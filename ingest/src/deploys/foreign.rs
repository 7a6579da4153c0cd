//! Events of other tools, known by their shape, so that they are refused by name where plain JSON is
//! expected, with the address that takes them.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::{Map, Value};

use super::{EXPECTED, Refusal};

/// Refuses an event that is not ours; `None` if it may be ours.
pub(super) fn format_of(entry: &Map<String, Value>) -> Option<Refusal> {
    let has = |key: &str| entry.contains_key(key);
    let is_object = |key: &str| entry.get(key).is_some_and(Value::is_object);
    let (format, address) = if has("service") || has("service_name") || has("service.name") {
        return None;
    } else if has("specversion") && has("type") {
        ("a CloudEvents event", Some("cdevents"))
    } else if is_object("context") && is_object("subject") {
        ("a CDEvents event", Some("cdevents"))
    } else if entry.get("object_kind").is_some_and(Value::is_string) {
        ("a GitLab webhook", Some("gitlab"))
    } else if is_object("repository") {
        ("a GitHub webhook", Some("github"))
    } else if is_object("involvedObject") {
        ("a Flux notification", Some("flux"))
    } else if entry.get("alerts").is_some_and(Value::is_array) {
        ("an Alertmanager webhook", None)
    } else {
        return None;
    };
    let hint = match address {
        Some(address) => format!("send it to /api/v1/deploys/{address}; here, {EXPECTED}"),
        None => EXPECTED.to_owned(),
    };
    Some(Refusal::Unsupported { format: format!("{format} as plain JSON"), hint })
}
