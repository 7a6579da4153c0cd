//! Data points as `ExportMetricsServiceRequest`: gauges, sums, summaries and histograms.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, ListArray};
use arrow::datatypes::{Float64Type, Int64Type};
use serde::Serialize;
use upriver_store::batch::TableBatch;

use super::attributes::{self, KeyValue};
use super::lines::{Encoded, Sender, Signal, by_sender};
use super::rows::{Double, Hex, Rows, Signed, SpanId, Unsigned, float, int, span, text, trace};
use super::summaries::{self, SummaryPoint};

const METRICS: Signal =
    Signal { resources: "resourceMetrics", scopes: "scopeMetrics", items: "metrics" };
/// Points of one metric in a line; a line ends between two metrics.
const POINTS_MAX: usize = 200;

/// What all points of a metric share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MetricName<'a> {
    pub(super) name: &'a str,
    pub(super) unit: &'a str,
    kind: &'a str,
    temporality: u8,
    is_monotonic: bool,
}

impl<'a> MetricName<'a> {
    fn of(rows: Rows<'a>, row: usize) -> Self {
        let temporality = match text(rows.texts("temporality"), row) {
            Some("delta") => 1,
            Some("cumulative") => 2,
            _ => 0,
        };
        Self {
            name: rows.texts("metric_name").value(row),
            unit: rows.texts("unit").value(row),
            kind: rows.texts("metric_type").value(row),
            temporality,
            is_monotonic: false,
        }
    }
}

#[derive(Serialize)]
struct Metric<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'a str,
    #[serde(flatten)]
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Data<'a> {
    Gauge(Points<Vec<NumberPoint<'a>>>),
    Sum(Sum<'a>),
    Histogram(Aggregated<Vec<HistogramPoint<'a>>>),
    ExponentialHistogram(Aggregated<Vec<ExponentialPoint<'a>>>),
    Summary(Points<Vec<SummaryPoint<'a>>>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Points<T> {
    data_points: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Aggregated<T> {
    data_points: T,
    aggregation_temporality: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sum<'a> {
    data_points: Vec<NumberPoint<'a>>,
    aggregation_temporality: u8,
    is_monotonic: bool,
}

/// What points of every kind have.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Point<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) attributes: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_unix_nano: Option<Unsigned>,
    time_unix_nano: Unsigned,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exemplars: Vec<Exemplar<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Exemplar<'a> {
    trace_id: Hex<'a>,
    span_id: Option<SpanId>,
}

impl<'a> Point<'a> {
    pub(super) fn of(rows: Rows<'a>, row: usize) -> Self {
        let trace = trace(rows.bytes("exemplar_trace_id"), row);
        let exemplar = trace.map(|trace_id| Exemplar {
            trace_id,
            span_id: span(rows.ints("exemplar_span_id"), row),
        });
        Self {
            attributes: attributes::of_row(rows.maps("attributes"), row),
            start_time_unix_nano: int(rows.ints("start_unix_nano"), row).map(Unsigned),
            time_unix_nano: Unsigned(rows.ints("time_unix_nano").value(row)),
            exemplars: exemplar.into_iter().collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NumberPoint<'a> {
    #[serde(flatten)]
    point: Point<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_int: Option<Signed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_double: Option<Double>,
    /// `NO_RECORDED_VALUE` where the series has a gap.
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    count: Unsigned,
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<Double>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Double>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Double>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HistogramPoint<'a> {
    #[serde(flatten)]
    point: Point<'a>,
    #[serde(flatten)]
    totals: Totals,
    bucket_counts: Vec<Unsigned>,
    explicit_bounds: Vec<Double>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExponentialPoint<'a> {
    #[serde(flatten)]
    point: Point<'a>,
    #[serde(flatten)]
    totals: Totals,
    scale: i64,
    zero_count: Unsigned,
    zero_threshold: Double,
    positive: Buckets,
    negative: Buckets,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Buckets {
    offset: i64,
    bucket_counts: Vec<Unsigned>,
}

/// Rows of `metrics` as lines. Rows of a summary become one point again; those whose `_count` is not
/// among the rows are left out and counted.
pub fn metrics(metrics: &TableBatch) -> Encoded {
    let rows = Rows::new(metrics);
    let mut encoded = Encoded::default();
    for (sender, of_sender) in by_sender(rows, Some("scope_version")) {
        let kinds = rows.texts("metric_type");
        let (of_summaries, numbers): (Vec<_>, Vec<_>) =
            of_sender.into_iter().partition(|row| kinds.value(*row) == "summary");
        push_numbers(&mut encoded, rows, &sender, &numbers);
        let summaries = summaries::put_together(rows, &of_summaries);
        encoded.left_out += summaries.left_out;
        for ((name, unit), points) in summaries.points {
            encoded.items += points.len() as u64;
            let data = Data::Summary(Points { data_points: points });
            encoded.push(METRICS, &sender, [Metric { name, unit, data }]);
        }
    }
    encoded
}

fn push_numbers(encoded: &mut Encoded, rows: Rows<'_>, sender: &Sender<'_>, numbers: &[usize]) {
    let monotonic = rows.bools("is_monotonic");
    let by_metric = by_metric(rows, numbers, |row| monotonic.is_valid(row) && monotonic.value(row));
    encoded.items += numbers.len() as u64;
    let items = by_metric.iter().flat_map(|(metric, of_metric)| {
        of_metric.chunks(POINTS_MAX).map(|some| number_metric(rows, metric, some))
    });
    encoded.push(METRICS, sender, items);
}

/// The numbers of the rows of each metric, in their order.
fn by_metric<'a>(
    rows: Rows<'a>,
    of_sender: &[usize],
    is_monotonic: impl Fn(usize) -> bool,
) -> BTreeMap<MetricName<'a>, Vec<usize>> {
    let mut metrics = BTreeMap::<_, Vec<_>>::new();
    for row in of_sender {
        let name = MetricName { is_monotonic: is_monotonic(*row), ..MetricName::of(rows, *row) };
        metrics.entry(name).or_default().push(*row);
    }
    metrics
}

fn number_metric<'a>(rows: Rows<'a>, metric: &MetricName<'a>, points: &[usize]) -> Metric<'a> {
    let data_points: Vec<_> = points.iter().map(|row| number(rows, *row)).collect();
    let data = match metric.kind {
        "sum" => Data::Sum(Sum {
            data_points,
            aggregation_temporality: metric.temporality,
            is_monotonic: metric.is_monotonic,
        }),
        _ => Data::Gauge(Points { data_points }),
    };
    Metric { name: metric.name, unit: metric.unit, data }
}

fn number(rows: Rows<'_>, row: usize) -> NumberPoint<'_> {
    let as_int = int(rows.ints("value_int"), row).map(Signed);
    let as_double = float(rows.floats("value_double"), row).filter(|_| as_int.is_none());
    let is_gap = as_int.is_none() && as_double.is_none();
    NumberPoint { point: Point::of(rows, row), as_int, as_double, flags: is_gap.then_some(1) }
}

/// Rows of `metric_histograms` as lines.
pub fn histograms(histograms: &TableBatch) -> Encoded {
    let rows = Rows::new(histograms);
    let mut encoded = Encoded { items: rows.count() as u64, ..Encoded::default() };
    for (sender, of_sender) in by_sender(rows, Some("scope_version")) {
        let by_metric = by_metric(rows, &of_sender, |_| false);
        let items = by_metric.iter().flat_map(|(metric, of_metric)| {
            of_metric.chunks(POINTS_MAX).map(|some| histogram_metric(rows, metric, some))
        });
        encoded.push(METRICS, &sender, items);
    }
    encoded
}

fn histogram_metric<'a>(rows: Rows<'a>, metric: &MetricName<'a>, points: &[usize]) -> Metric<'a> {
    let aggregation_temporality = metric.temporality;
    let data = match metric.kind {
        "exponential_histogram" => Data::ExponentialHistogram(Aggregated {
            data_points: points.iter().map(|row| exponential(rows, *row)).collect(),
            aggregation_temporality,
        }),
        _ => Data::Histogram(Aggregated {
            data_points: points.iter().map(|row| explicit(rows, *row)).collect(),
            aggregation_temporality,
        }),
    };
    Metric { name: metric.name, unit: metric.unit, data }
}

fn totals(rows: Rows<'_>, row: usize) -> Totals {
    let value = |name| float(rows.floats(name), row);
    Totals {
        count: Unsigned(rows.ints("count").value(row)),
        sum: value("sum"),
        min: value("min"),
        max: value("max"),
    }
}

fn explicit(rows: Rows<'_>, row: usize) -> HistogramPoint<'_> {
    let bounds = rows.lists("explicit_bounds");
    let bounds = bounds.is_valid(row).then(|| bounds.value(row));
    let bounds = bounds.iter().flat_map(|bounds| bounds.as_primitive::<Float64Type>().values());
    HistogramPoint {
        point: Point::of(rows, row),
        totals: totals(rows, row),
        bucket_counts: counts(rows.lists("bucket_counts"), row),
        explicit_bounds: bounds.copied().map(Double).collect(),
    }
}

fn exponential(rows: Rows<'_>, row: usize) -> ExponentialPoint<'_> {
    let number = |name| int(rows.ints(name), row).unwrap_or_default();
    let buckets = |offset, name| Buckets {
        offset: number(offset),
        bucket_counts: counts(rows.lists(name), row),
    };
    ExponentialPoint {
        point: Point::of(rows, row),
        totals: totals(rows, row),
        scale: number("scale"),
        zero_count: Unsigned(number("zero_count")),
        zero_threshold: float(rows.floats("zero_threshold"), row).unwrap_or(Double(0.0)),
        positive: buckets("positive_offset", "positive_counts"),
        negative: buckets("negative_offset", "negative_counts"),
    }
}

fn counts(column: &ListArray, row: usize) -> Vec<Unsigned> {
    if column.is_null(row) {
        return Vec::new();
    }
    column.value(row).as_primitive::<Int64Type>().values().iter().copied().map(Unsigned).collect()
}
