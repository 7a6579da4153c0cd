use arrow::array::AsArray;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use prost::Message;
use upriver_store::histogram::HistogramColumn;
use upriver_store::rollup::SizeMetrics;
use upriver_store::schema::Table;

use super::*;
use crate::otlp::operation::operation as span_operation;
use crate::otlp::promoted::Promoted;
use crate::otlp::traces::SpanKind;
use crate::rows::tests::cells;

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, key_strindex: 0 }
}

fn request(resource: Vec<KeyValue>, metrics: Vec<proto::Metric>) -> Vec<u8> {
    let scope_metrics = ScopeMetrics { metrics, ..ScopeMetrics::default() };
    let resource = ProtoResource { attributes: resource, ..ProtoResource::default() };
    let resource_metrics = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![scope_metrics],
        schema_url: String::new(),
    };
    ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }.encode_to_vec()
}

fn metric(name: &str, data: Data) -> proto::Metric {
    proto::Metric {
        name: name.into(),
        unit: "By".into(),
        data: Some(data),
        ..proto::Metric::default()
    }
}

fn shop(metrics: Vec<proto::Metric>) -> Decoded {
    decode(&request(vec![attribute("service.name", "shop")], metrics)).unwrap()
}

fn exemplar(trace: u8) -> proto::Exemplar {
    proto::Exemplar {
        trace_id: vec![trace; 16],
        span_id: vec![0, 0, 0, 0, 0, 0, 0, trace],
        ..proto::Exemplar::default()
    }
}

#[test]
fn numbers_become_rows() {
    let point = |value| NumberDataPoint {
        attributes: vec![attribute("k", "v")],
        start_time_unix_nano: 5,
        time_unix_nano: 7,
        value,
        exemplars: vec![exemplar(0), exemplar(3), exemplar(4)],
        flags: 0,
    };
    let points =
        vec![point(Some(Number::AsInt(-2))), point(Some(Number::AsDouble(0.5))), point(None)];
    let gauge = proto::Gauge { data_points: points.clone() };
    let sum = Sum { data_points: points, aggregation_temporality: 2, is_monotonic: true };
    let decoded = shop(vec![metric("g", Data::Gauge(gauge)), metric("s", Data::Sum(sum))]);
    let columns = [
        "time_unix_nano",
        "metric_name",
        "service_name",
        "metric_type",
        "unit",
        "value_int",
        "value_double",
        "start_unix_nano",
        "temporality",
        "is_monotonic",
        "exemplar_span_id",
        "attributes",
    ];
    assert_eq!(
        cells(&decoded, Table::Metrics, &columns),
        [
            "7 | g | shop | gauge | By | -2 | -2.0 | 5 | ∅ | ∅ | 3 | {k: v}",
            "7 | g | shop | gauge | By | ∅ | 0.5 | 5 | ∅ | ∅ | 3 | {k: v}",
            "7 | g | shop | gauge | By | ∅ | ∅ | 5 | ∅ | ∅ | 3 | {k: v}",
            "7 | s | shop | sum | By | -2 | -2.0 | 5 | cumulative | true | 3 | {k: v}",
            "7 | s | shop | sum | By | ∅ | 0.5 | 5 | cumulative | true | 3 | {k: v}",
            "7 | s | shop | sum | By | ∅ | ∅ | 5 | cumulative | true | 3 | {k: v}",
        ]
    );
    assert_eq!((decoded.accepted, decoded.rejected), (6, 0));
}

const HISTOGRAM_COLUMNS: [&str; 16] = [
    "metric_name",
    "metric_type",
    "temporality",
    "count",
    "sum",
    "min",
    "max",
    "explicit_bounds",
    "bucket_counts",
    "scale",
    "zero_count",
    "zero_threshold",
    "positive_offset",
    "positive_counts",
    "negative_offset",
    "negative_counts",
];

#[test]
fn explicit_histograms_become_rows() {
    let explicit = proto::HistogramDataPoint {
        time_unix_nano: 7,
        count: 3,
        sum: Some(6.5),
        bucket_counts: vec![1, 2, 0],
        explicit_bounds: vec![1.0, 5.0],
        min: Some(0.5),
        ..proto::HistogramDataPoint::default()
    };
    let empty =
        proto::HistogramDataPoint { count: u64::MAX, ..proto::HistogramDataPoint::default() };
    let misfit = proto::HistogramDataPoint { explicit_bounds: vec![1.0], ..explicit.clone() };
    let data_points = vec![explicit, misfit, empty];
    let histogram = proto::Histogram { data_points, aggregation_temporality: 1 };
    let decoded = shop(vec![metric("h", Data::Histogram(histogram))]);
    let nulls = "∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅";
    assert_eq!(
        cells(&decoded, Table::MetricHistograms, &HISTOGRAM_COLUMNS),
        [
            format!("h | histogram | delta | 3 | 6.5 | 0.5 | ∅ | [1.0, 5.0] | [1, 2, 0] | {nulls}"),
            format!("h | histogram | delta | {} | ∅ | ∅ | ∅ | [] | [] | {nulls}", i64::MAX),
        ]
    );
    assert_eq!((decoded.accepted, decoded.rejected), (2, 1));
    assert_eq!(
        decoded.message.unwrap(),
        "1 data point rejected because it has 3 bucket counts for 1 bounds; \
         one more than bounds is expected (metric \"h\")"
    );
}

#[test]
fn exponential_histograms_become_rows() {
    let point = proto::ExponentialHistogramDataPoint {
        time_unix_nano: 8,
        count: 4,
        scale: -3,
        zero_count: 1,
        positive: Some(Buckets { offset: -9, bucket_counts: vec![1, 300] }),
        zero_threshold: 0.25,
        max: Some(9.0),
        ..proto::ExponentialHistogramDataPoint::default()
    };
    let histogram =
        proto::ExponentialHistogram { data_points: vec![point], aggregation_temporality: 2 };
    let decoded = shop(vec![metric("e", Data::ExponentialHistogram(histogram))]);
    assert_eq!(
        cells(&decoded, Table::MetricHistograms, &HISTOGRAM_COLUMNS),
        ["e | exponential_histogram | cumulative | 4 | ∅ | ∅ | 9.0 | ∅ | ∅ | -3 | 1 | 0.25 | -9 \
          | [1, 300] | 0 | []"]
    );
    assert_eq!((decoded.accepted, decoded.rejected), (1, 0));
}

#[test]
fn a_summary_is_rows_as_in_prometheus() {
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let point = SummaryDataPoint {
        attributes: vec![attribute("k", "v")],
        time_unix_nano: 7,
        count: 3,
        sum: 6.5,
        quantile_values: vec![quantile(0.5, 2.0), quantile(0.99, 4.0)],
        ..SummaryDataPoint::default()
    };
    let decoded = shop(vec![metric("s", Data::Summary(Summary { data_points: vec![point] }))]);
    let columns = ["metric_name", "metric_type", "value_int", "value_double", "attributes"];
    assert_eq!(
        cells(&decoded, Table::Metrics, &columns),
        [
            "s_count | summary | 3 | 3.0 | {k: v}",
            "s_sum | summary | ∅ | 6.5 | {k: v}",
            "s | summary | ∅ | 2.0 | {k: v, quantile: 0.5}",
            "s | summary | ∅ | 4.0 | {k: v, quantile: 0.99}",
        ]
    );
    assert_eq!(decoded.accepted, 1);
    let mut series = cells(&decoded, Table::Metrics, &["series_id"]);
    series.sort();
    series.dedup();
    assert_eq!(series.len(), 4);
}

#[test]
fn a_series_is_resource_scope_metric_and_attributes() {
    let series = |resource: Vec<KeyValue>, name: &str, attributes: Vec<KeyValue>, time| {
        let point =
            NumberDataPoint { attributes, time_unix_nano: time, ..NumberDataPoint::default() };
        let gauge = Data::Gauge(proto::Gauge { data_points: vec![point] });
        let decoded = decode(&request(resource, vec![metric(name, gauge)])).unwrap();
        cells(&decoded, Table::Metrics, &["series_id"])
    };
    let (a, b) = (attribute("a", "1"), attribute("b", "2"));
    let first = series(vec![a.clone(), b.clone()], "m", vec![a.clone(), b.clone()], 1);
    assert_eq!(first, series(vec![b.clone(), a.clone()], "m", vec![b.clone(), a.clone()], 2));
    assert_ne!(first, series(vec![a.clone()], "m", vec![a.clone(), b.clone()], 1));
    assert_ne!(first, series(vec![a.clone(), b.clone()], "n", vec![a.clone(), b.clone()], 1));
    assert_ne!(first, series(vec![a.clone(), b], "m", vec![a], 1));
}

/// Edges that a request's metrics of sizes add: client, server, operation, count, sum.
fn edges(decoded: &Decoded) -> Vec<String> {
    let batch = decoded.batches.iter().find(|batch| batch.table == Table::MetricHistograms);
    let edges = SizeMetrics::default().edge_minutes(&[&batch.unwrap().rows]);
    let text =
        |name, row| edges.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
    let sizes = HistogramColumn::new(edges.column_by_name("response_wire_bytes").unwrap()).unwrap();
    let line = |row| {
        let sizes = sizes.get(row).unwrap();
        let [client, server, operation] =
            ["client_service", "server_service", "operation"].map(|name| text(name, row));
        format!("{client} > {server} {operation}: {} of {} bytes", sizes.count, sizes.sum)
    };
    (0..edges.num_rows()).map(line).collect()
}

#[test]
fn histograms_of_sizes_name_the_edge_as_spans_do() {
    for (attributes, operation) in [
        (&[("http.request.method", "GET"), ("http.route", "/i/{id}")][..], "GET /i/{id}"),
        (&[("http.method", "GET"), ("http.route", "/i")], "GET /i"),
        (&[("http.method", "GET"), ("url.template", "/i")], "GET /i"),
        (&[("http.request.method", "GET")], "GET"),
        (&[("http.request.method", "GET"), ("http.route", "")], "GET"),
        (&[("rpc.service", "a.B"), ("rpc.method", "C")], "a.B/C"),
        (&[("rpc.service", "a.B"), ("rpc.method", "a.B/C")], "a.B/C"),
        (&[("rpc.method", "a.B/C")], "a.B/C"),
    ] {
        let attributes: Vec<_> = attributes.iter().map(|(k, v)| attribute(k, v)).collect();
        let explicit = proto::HistogramDataPoint {
            attributes: attributes.clone(),
            count: 2,
            sum: Some(30.0),
            bucket_counts: vec![2, 0],
            explicit_bounds: vec![100.0],
            ..proto::HistogramDataPoint::default()
        };
        let exponential = proto::ExponentialHistogramDataPoint {
            attributes: attributes.clone(),
            count: 1,
            sum: Some(16.0),
            scale: 20,
            positive: Some(Buckets { offset: (4 << 20) - 1, bucket_counts: vec![1] }),
            ..proto::ExponentialHistogramDataPoint::default()
        };
        let explicit = proto::Histogram { data_points: vec![explicit], aggregation_temporality: 1 };
        let exponential = proto::ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality: 1,
        };
        let name = "http.server.response.body.size";
        let decoded = shop(vec![
            metric(name, Data::Histogram(explicit)),
            metric(name, Data::ExponentialHistogram(exponential)),
        ]);
        assert_eq!(edges(&decoded), [format!(" > shop {operation}: 3 of 46 bytes")]);

        // The conventions name a span without a route after its method.
        let encoded: Vec<_> = attributes.iter().map(Message::encode_to_vec).collect();
        let mut of_span = Attributes::default();
        for attribute in &encoded {
            of_span.read(attribute, &mut Budget::default()).unwrap();
        }
        let promoted = Promoted::read(&of_span, SpanKind::Server).unwrap();
        assert_eq!(span_operation(&promoted, "GET", &mut String::new()), operation);
    }
}
