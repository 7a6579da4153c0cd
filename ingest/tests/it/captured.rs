//! Requests of real clients, counted independently by walking prost's messages.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::Path;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use upriver_ingest::otlp::{decode_logs, decode_metrics, decode_traces, json};
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use crate::support::{cells, fixtures, read, row_count};

/// The body of a request as protobuf.
fn protobuf(
    path: &Path,
    to_protobuf: fn(&[u8]) -> Result<Vec<u8>, upriver_ingest::DecodeError>,
) -> Vec<u8> {
    let body = read(path);
    if body.starts_with(b"{") { to_protobuf(&body).unwrap() } else { body }
}

fn each(signal: &str, check: impl Fn(&Path)) {
    let Some(folder) = fixtures("otlp/captured") else { return };
    let index: serde_json::Value =
        serde_json::from_slice(&read(&folder.join("index.json"))).unwrap();
    let names = index.as_array().unwrap().iter().filter_map(|entry| entry["file"].as_str());
    let matching: Vec<_> = names.filter(|name| name.contains(signal)).collect();
    assert!(matching.len() >= 3, "{matching:?}");
    for name in matching {
        check(&folder.join(name));
    }
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<&Span> {
    request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).collect()
}

#[test]
fn traces_are_complete() {
    each(".traces.", |path| {
        let body = protobuf(path, json::traces_to_protobuf);
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        let spans = spans(&request);
        let decoded = decode_traces(&body).unwrap();
        let name = path.display();
        assert!(!spans.is_empty(), "{name}");
        assert_eq!(decoded.accepted, spans.len() as u64, "{name}");
        assert_eq!((decoded.rejected, &decoded.message), (0, &None), "{name}");
        let events: usize = spans.iter().map(|span| span.events.len()).sum();
        assert_eq!(row_count(&decoded, Table::SpanEvents), events, "{name}");
        let columns = [
            "span_name",
            "start_unix_nano",
            "duration_ns",
            "span_id",
            "trace_id",
            "flags",
            "event_count",
        ];
        let expected: Vec<_> = spans
            .iter()
            .map(|span| {
                let duration = span.end_time_unix_nano - span.start_time_unix_nano;
                let id = i64::from_be_bytes(span.span_id.clone().try_into().unwrap());
                let trace = u128::from_be_bytes(span.trace_id.clone().try_into().unwrap());
                let (start, flags, events) =
                    (span.start_time_unix_nano, span.flags, span.events.len());
                format!(
                    "{} | {start} | {duration} | {id} | {trace:032x} | {flags} | {events}",
                    span.name
                )
            })
            .collect();
        assert_eq!(cells(&decoded, Table::Spans, &columns), expected, "{name}");
    });
}

#[test]
fn attributes_of_traces_are_complete() {
    each(".traces.", |path| {
        let body = protobuf(path, json::traces_to_protobuf);
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        let decoded = decode_traces(&body).unwrap();
        let batch = decoded.batches.iter().find(|batch| batch.table == Table::Spans).unwrap();
        let column = |name| {
            let rows = batch.unfolded().unwrap();
            let column = rows.column_by_name(name).unwrap();
            arrow::array::AsArray::as_map(column).clone()
        };
        let (own, resource) = (column("attributes"), column("resource_attributes"));
        let sent = spans(&request);
        let mut in_map: usize = sent.iter().map(|span| span.attributes.len()).sum();
        for known in Table::Spans.attribute_columns() {
            let found = cells(&decoded, Table::Spans, &[known.column]);
            for (span, found) in sent.iter().zip(found) {
                let is_column = |attribute: &&KeyValue| attribute.key == known.attribute;
                let Some(attribute) = span.attributes.iter().find(is_column) else { continue };
                match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
                    Value::StringValue(text) => assert_eq!(found, *text, "{}", path.display()),
                    Value::IntValue(number) => {
                        assert_eq!(found, number.to_string(), "{}", path.display());
                    }
                    other => panic!("{}: {other:?}", known.attribute),
                }
                in_map -= 1;
            }
        }
        assert_eq!(arrow::array::Array::len(own.keys()), in_map, "{}", path.display());
        let of_resources: usize = request
            .resource_spans
            .iter()
            .map(|r| {
                let spans: usize = r.scope_spans.iter().map(|s| s.spans.len()).sum();
                r.resource.as_ref().map_or(0, |resource| resource.attributes.len()) * spans
            })
            .sum();
        assert_eq!(arrow::array::Array::len(resource.keys()), of_resources, "{}", path.display());
    });
}

#[test]
fn metrics_are_complete() {
    each(".metrics.", |path| {
        let body = protobuf(path, json::metrics_to_protobuf);
        let request = ExportMetricsServiceRequest::decode(&body[..]).unwrap();
        let metrics: Vec<_> = request
            .resource_metrics
            .iter()
            .flat_map(|r| &r.scope_metrics)
            .flat_map(|s| &s.metrics)
            .collect();
        let (mut numbers, mut histograms, mut counted) = (0, 0, 0);
        for metric in metrics {
            match metric.data.as_ref().unwrap() {
                Data::Gauge(gauge) => numbers += gauge.data_points.len(),
                Data::Sum(sum) => numbers += sum.data_points.len(),
                Data::Histogram(h) => {
                    histograms += h.data_points.len();
                    counted += h.data_points.iter().map(|point| point.count).sum::<u64>();
                }
                Data::ExponentialHistogram(h) => histograms += h.data_points.len(),
                Data::Summary(_) => panic!("none of the clients sends summaries"),
            }
        }
        let decoded = decode_metrics(&body).unwrap();
        let name = path.display();
        assert!(numbers + histograms > 0, "{name}");
        assert_eq!(row_count(&decoded, Table::Metrics), numbers, "{name}");
        assert_eq!(row_count(&decoded, Table::MetricHistograms), histograms, "{name}");
        assert_eq!(decoded.accepted, (numbers + histograms) as u64, "{name}");
        assert_eq!((decoded.rejected, &decoded.message), (0, &None), "{name}");
        let counts = cells(&decoded, Table::MetricHistograms, &["count"]);
        let total: u64 = counts.iter().map(|count| count.parse::<u64>().unwrap()).sum();
        assert_eq!(total, counted, "{name}");
    });
}

#[test]
fn logs_are_complete() {
    each(".logs.", |path| {
        let body = protobuf(path, json::logs_to_protobuf);
        let request = ExportLogsServiceRequest::decode(&body[..]).unwrap();
        let records: Vec<_> = request
            .resource_logs
            .iter()
            .flat_map(|r| &r.scope_logs)
            .flat_map(|s| s.log_records.iter().map(|record| (s.scope.as_ref(), record)))
            .collect();
        let decoded = decode_logs(&body, UnixNanos(1)).unwrap();
        let name = path.display();
        assert!(!records.is_empty(), "{name}");
        assert_eq!(decoded.accepted, records.len() as u64, "{name}");
        assert_eq!((decoded.rejected, &decoded.message), (0, &None), "{name}");
        let columns = [
            "time_unix_nano",
            "observed_unix_nano",
            "severity_number",
            "severity_text",
            "body",
            "span_id",
            "trace_id",
            "flags",
            "scope_name",
        ];
        let expected: Vec<_> = records
            .iter()
            .map(|(scope, record)| {
                let body = match record.body.as_ref().and_then(|body| body.value.as_ref()) {
                    Some(Value::StringValue(text)) => text.clone(),
                    other => panic!("{name}: {other:?}"),
                };
                let shown = |text: String| if text.is_empty() { "∅".to_owned() } else { text };
                let id = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).ok();
                let span = id(&record.span_id).filter(|id| *id != 0);
                let trace: String =
                    record.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
                [
                    record.time_unix_nano.to_string(),
                    record.observed_time_unix_nano.to_string(),
                    record.severity_number.to_string(),
                    shown(record.severity_text.clone()),
                    body,
                    span.map_or_else(|| "∅".to_owned(), |id| id.to_string()),
                    shown(trace.trim_start_matches(&"0".repeat(32)).to_owned()),
                    record.flags.to_string(),
                    shown(scope.map(|scope| scope.name.clone()).unwrap_or_default()),
                ]
                .join(" | ")
            })
            .collect();
        assert_eq!(cells(&decoded, Table::Logs, &columns), expected, "{name}");
    });
}

#[test]
fn captured_content_length_headers_are_sizes() {
    let Some(folder) = fixtures("otlp/captured") else { return };
    let body = read(&folder.join("py-http-stable-semconv-contentlength-headers.traces.body"));
    let decoded = decode_traces(&body).unwrap();
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let attributes = spans(&request).into_iter().flat_map(|span| &span.attributes);
    let headers = attributes.filter(|a| a.key.ends_with(".header.content_length")).count();
    assert!(headers > 0);
    let rows = ["request", "response"].map(|direction| {
        let (bytes, attribute) =
            (format!("{direction}_wire_bytes"), format!("{direction}_size_attribute"));
        cells(&decoded, Table::Spans, &["span_kind", &bytes, &attribute])
    });
    let rows: Vec<_> = rows.concat().into_iter().filter(|row| !row.ends_with('∅')).collect();
    assert_eq!(rows.len(), headers);
    let large = "SERVER | 158025 | http.response.header.content_length";
    assert!(rows.iter().any(|row| row == large), "{rows:#?}");
}

#[test]
fn the_examples_of_the_specification_decode() {
    let Some(folder) = fixtures("otlp") else { return };
    let traces = json::traces_to_protobuf(&read(&folder.join("spec-trace.json"))).unwrap();
    let decoded = decode_traces(&traces).unwrap();
    let columns =
        ["service_name", "span_name", "span_kind", "duration_ns", "scope_name", "attributes"];
    let span = "my.service | I'm a server span | SERVER | 1000000000 | my.library | {my.span.attr: some value}";
    assert_eq!(cells(&decoded, Table::Spans, &columns), [span]);

    let metrics = json::metrics_to_protobuf(&read(&folder.join("spec-metrics.json"))).unwrap();
    let decoded = decode_metrics(&metrics).unwrap();
    let columns = ["metric_name", "metric_type", "value_double", "temporality"];
    assert_eq!(
        cells(&decoded, Table::Metrics, &columns),
        ["my.counter | sum | 5.0 | delta", "my.gauge | gauge | 10.0 | ∅"]
    );
    let columns =
        ["metric_name", "count", "sum", "bucket_counts", "positive_offset", "positive_counts"];
    assert_eq!(
        cells(&decoded, Table::MetricHistograms, &columns),
        [
            "my.histogram | 2 | 2.0 | [1, 1] | ∅ | ∅",
            "my.exponential.histogram | 3 | 10.0 | ∅ | 1 | [0, 2]",
        ]
    );

    let received = UnixNanos(1);
    let columns = [
        "service_name",
        "time_unix_nano",
        "severity_number",
        "severity_text",
        "body",
        "event_name",
        "span_id",
        "trace_id",
        "scope_name",
        "attributes",
    ];
    let logs = json::logs_to_protobuf(&read(&folder.join("spec-logs.json"))).unwrap();
    assert_eq!(
        cells(&decode_logs(&logs, received).unwrap(), Table::Logs, &columns),
        ["my.service | 1544712660300000000 | 10 | Information | Example log record | ∅ \
          | -1233533854170369676 | 5b8efff798038103d269b633813fc60c | my.library \
          | {string.attribute: some string, boolean.attribute: true, int.attribute: 10, \
          double.attribute: 637.704, array.attribute: [\"many\",\"values\"], \
          map.attribute: {\"some.map.key\":\"some value\"}}"]
    );
    let events = json::logs_to_protobuf(&read(&folder.join("spec-events.json"))).unwrap();
    assert_eq!(
        cells(&decode_logs(&events, received).unwrap(), Table::Logs, &columns),
        ["my.service | 1544712660300000000 | 9 | test severity text \
          | {\"type\":0,\"url\":\"https://www.guidgenerator.com/online-guid-generator.aspx\",\
          \"referrer\":\"https://wwww.google.com\",\"title\":\"Free Online GUID Generator\"} \
          | browser.page_view | ∅ | ∅ | my.library | {event.attribute: some event attribute}"]
    );
}
