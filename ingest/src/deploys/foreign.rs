//! Events of other tools, known by their shape, so that they are refused by name.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::{Map, Value};

/// The format of an event that is not ours; `None` if it may be ours.
pub(super) fn format_of(entry: &Map<String, Value>) -> Option<&'static str> {
    let has = |key: &str| entry.contains_key(key);
    let is_object = |key: &str| entry.get(key).is_some_and(Value::is_object);
    if has("service") || has("service_name") || has("service.name") {
        None
    } else if has("specversion") && has("type") {
        Some("a CloudEvents event")
    } else if is_object("context") && is_object("subject") {
        Some("a CDEvents event")
    } else if is_object("repository") {
        Some("a GitHub webhook")
    } else if is_object("involvedObject") {
        Some("a Flux notification")
    } else if entry.get("alerts").is_some_and(Value::is_array) {
        Some("an Alertmanager webhook")
    } else {
        None
    }
}
