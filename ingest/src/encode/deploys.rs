//! Deploy events, one a line, as `POST /api/v1/deploys` and `deploys.jsonl` have them.

use std::collections::BTreeMap;

use serde::Serialize;
use upriver_store::batch::TableBatch;

use super::attributes::texts_of_row;
use super::lines::Encoded;
use super::rows::{Rows, int, text};

#[derive(Debug, Serialize)]
struct Deploy<'a> {
    service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    kind: &'a str,
    time_unix_nano: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_unix_nano: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    received_unix_nano: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, &'a str>,
}

/// Rows of `deploys` as lines.
pub fn deploys(deploys: &TableBatch) -> Encoded {
    let rows = Rows::new(deploys);
    let mut encoded = Encoded { items: rows.count() as u64, ..Encoded::default() };
    for row in 0..rows.count() {
        let of_row = |name| text(rows.texts(name), row);
        encoded.push_line(&Deploy {
            service: rows.texts("service_name").value(row),
            version: of_row("service_version"),
            previous_version: of_row("previous_version"),
            environment: of_row("deployment_environment_name"),
            kind: rows.texts("kind").value(row),
            time_unix_nano: rows.ints("start_unix_nano").value(row),
            end_unix_nano: int(rows.ints("end_unix_nano"), row),
            commit: of_row("commit"),
            url: of_row("url"),
            description: of_row("description"),
            received_unix_nano: rows.ints("received_unix_nano").value(row),
            attributes: texts_of_row(rows.maps("attributes"), row),
        });
    }
    encoded
}
