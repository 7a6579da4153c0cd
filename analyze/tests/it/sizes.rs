//! Two services whose own metrics report the sizes of responses, in two weeks; of one of them spans
//! report the sizes too.

use serde_json::{Value, json};
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;

use crate::fixtures::derived;
use crate::rows::rows;

const BEFORE: &str = "2026-01-01T10:06:00Z";
const NOW: &str = "2026-01-08T10:06:00Z";

pub(crate) fn batches() -> Vec<TableBatch> {
    let metrics = [
        responses("stock", BEFORE, 5_000, [0, 400, 0]),
        responses("stock", NOW, 20_000, [0, 0, 400]),
        responses("prices", BEFORE, 700, [400, 0, 0]),
        responses("prices", NOW, 700, [400, 0, 0]),
    ];
    let sizes = rows(Table::FormerPayloadSizes, [BEFORE, NOW].map(body));
    derived(vec![rows(Table::MetricHistograms, metrics), sizes])
}

/// What 400 responses of one size in the minute before add.
fn responses(service: &str, time: &str, bytes: i64, counts: [i64; 3]) -> Value {
    json!({
        "time": time,
        "metric_name": "http.server.response.body.size",
        "service_name": service,
        "metric_type": "histogram",
        "unit": "By",
        "temporality": "delta",
        "count": 400,
        "sum": 400.0 * bytes as f64,
        "min": bytes as f64,
        "max": bytes as f64,
        "explicit_bounds": [1000.0, 10000.0],
        "bucket_counts": counts,
        "attributes": { "http.request.method": "GET", "http.route": "/sku" },
    })
}

/// A response that a span of `prices` reports, as earlier builds stored it.
fn body(time: &str) -> Value {
    json!({
        "time": time,
        "client_service": "shop",
        "server_service": "prices",
        "operation": "GET /sku",
        "direction": "response",
        "reporter": "server",
        "wire_bytes": 700,
        "source_attribute": "http.response.body.size",
    })
}
