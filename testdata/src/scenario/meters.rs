//! OTLP metrics: the browsers' largest contentful paint, and checkout's own request durations and
//! runtime figures.

use super::fleet::{Fleet, Instance, Service};
use super::latency::{lognormal, whole};
use super::names::Names;
use super::profiles::cpu_cores;
use super::spans::{int, text};
use super::timeline::SECOND;
use super::traffic::ObservedRequest;
use super::{Purpose, Scenario};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::collections::BTreeMap;

/// Pages that report a paint, per request to checkout.
const PAINTS_PER_REQUEST: f64 = 0.5;
/// Median of the largest contentful paint, and its spread; the incident does not touch it.
const PAINT_MS: f64 = 1_900.0;
const PAINT_SIGMA: f64 = 0.32;
const PAINT_BOUNDS_MS: [f64; 12] = [
    250.0, 500.0, 1_000.0, 1_500.0, 2_000.0, 2_500.0, 3_000.0, 4_000.0, 5_000.0, 7_500.0, 10_000.0,
    20_000.0,
];
/// Bounds that the semantic conventions advise for `http.server.request.duration`.
const DURATION_BOUNDS_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Memory that a request allocates.
const ALLOCATED_STATUS: i64 = 12_000;
const ALLOCATED_CHECKOUT: i64 = 420_000;
const ALLOCATED_CHECKOUT_LARGE: i64 = 4_400_000;

/// The meters of all processes, from the start of the scenario on.
#[derive(Debug)]
pub(crate) struct Meters<'a> {
    fleet: &'a Fleet,
    names: &'a Names,
    start: i64,
    processes: BTreeMap<Instance, Process>,
}

/// Cumulative figures of one process of checkout.
#[derive(Debug, Default)]
struct Process {
    durations: BTreeMap<(bool, i64), Distribution>,
    cpu_seconds: f64,
    allocated: i64,
}

#[derive(Debug, Default)]
struct Distribution {
    counts: Vec<u64>,
    sum: f64,
    min: f64,
    max: f64,
}

impl Distribution {
    fn record(&mut self, bounds: &[f64], value: f64) {
        if self.counts.is_empty() {
            self.counts = vec![0; bounds.len() + 1];
            (self.min, self.max) = (value, value);
        }
        self.counts[bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    fn point(
        &self,
        bounds: &[f64],
        attributes: Vec<KeyValue>,
        (start, end): (i64, i64),
    ) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: start.cast_unsigned(),
            time_unix_nano: end.cast_unsigned(),
            count: self.counts.iter().sum(),
            sum: Some(self.sum),
            bucket_counts: self.counts.clone(),
            explicit_bounds: bounds.to_vec(),
            min: Some(self.min),
            max: Some(self.max),
            ..HistogramDataPoint::default()
        }
    }
}

impl<'a> Meters<'a> {
    pub(crate) fn new(fleet: &'a Fleet, names: &'a Names, start: i64) -> Self {
        Self { fleet, names, start, processes: BTreeMap::new() }
    }

    /// What the browsers and the processes of checkout export at the end of a slice.
    pub(crate) fn export(
        &mut self,
        scenario: &Scenario,
        observed: &[ObservedRequest],
        slice: (i64, i64),
    ) -> Vec<ExportMetricsServiceRequest> {
        self.record(scenario, observed, slice);
        let running: Vec<Instance> = (0..Service::Checkout.slots())
            .map(|slot| self.fleet.instance(Service::Checkout, slot, slice.1 - 1))
            .collect();
        let mut exports = vec![self.paints(scenario, slice)];
        exports.extend(running.iter().map(|instance| self.process_export(*instance, slice.1)));
        exports
    }

    fn record(&mut self, scenario: &Scenario, observed: &[ObservedRequest], slice: (i64, i64)) {
        for request in observed {
            let process = self.processes.entry(request.instance).or_default();
            process
                .durations
                .entry((request.is_checkout, request.status))
                .or_default()
                .record(&DURATION_BOUNDS_S, request.seconds);
            process.allocated += match (request.is_checkout, request.is_large) {
                (false, _) => ALLOCATED_STATUS,
                (true, false) => ALLOCATED_CHECKOUT,
                (true, true) => ALLOCATED_CHECKOUT_LARGE,
            };
        }
        let cores = cpu_cores(&scenario.timeline, slice.0);
        for slot in 0..Service::Checkout.slots() {
            let instance = self.fleet.instance(Service::Checkout, slot, slice.0);
            let process = self.processes.entry(instance).or_default();
            process.cpu_seconds += cores * (slice.1 - slice.0) as f64 / SECOND as f64;
        }
    }

    /// Browsers come and go, so they send deltas.
    fn paints(&self, scenario: &Scenario, slice: (i64, i64)) -> ExportMetricsServiceRequest {
        let mut random = scenario.random(slice.0, Purpose::Browser);
        let seconds = (slice.1 - slice.0) as f64 / SECOND as f64;
        let mut paints = Distribution::default();
        for _ in 0..whole(scenario.timeline.rate(slice.0) * PAINTS_PER_REQUEST * seconds) {
            paints.record(&PAINT_BOUNDS_MS, lognormal(PAINT_MS, PAINT_SIGMA, &mut random));
        }
        let page = vec![text("url.path", "/checkout")];
        let data = metric::Data::Histogram(Histogram {
            data_points: vec![paints.point(&PAINT_BOUNDS_MS, page, slice)],
            aggregation_temporality: AggregationTemporality::Delta as i32,
        });
        let browser = self.fleet.instance(Service::Frontend, 0, slice.1 - 1);
        export(
            self.fleet.resource(self.names, browser),
            "@opentelemetry/browser-web-vitals",
            vec![named("web_vitals.lcp", "ms", data)],
        )
    }

    fn process_export(&self, instance: Instance, now: i64) -> ExportMetricsServiceRequest {
        let start = self.fleet.started(instance).unwrap_or(self.start);
        let mut metrics = Vec::new();
        if let Some(process) = self.processes.get(&instance) {
            let data_points = process
                .durations
                .iter()
                .map(|((is_checkout, status), distribution)| {
                    let attributes = self.route_attributes(*is_checkout, *status);
                    distribution.point(&DURATION_BOUNDS_S, attributes, (start, now))
                })
                .collect();
            let durations = metric::Data::Histogram(Histogram {
                data_points,
                aggregation_temporality: AggregationTemporality::Cumulative as i32,
            });
            metrics = vec![
                named("http.server.request.duration", "s", durations),
                named("process.cpu.time", "s", sum(double(process.cpu_seconds), (start, now))),
                named(
                    "go.memory.allocated",
                    "By",
                    sum(whole_number(process.allocated), (start, now)),
                ),
            ];
        }
        metrics.push(named("go.processor.limit", "{thread}", gauge(whole_number(1), now)));
        export(
            self.fleet.resource(self.names, instance),
            "go.opentelemetry.io/contrib/instrumentation/runtime",
            metrics,
        )
    }

    fn route_attributes(&self, is_checkout: bool, status: i64) -> Vec<KeyValue> {
        let (method, route) = if is_checkout {
            ("POST", &self.names.checkout_route)
        } else {
            ("GET", &self.names.status_route)
        };
        let mut attributes = vec![
            text("http.request.method", method),
            text("http.route", route),
            text("url.scheme", "https"),
            int("http.response.status_code", status),
        ];
        if status >= 500 {
            attributes.push(text("error.type", &status.to_string()));
        }
        attributes
    }
}

fn named(name: &str, unit: &str, data: metric::Data) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}

fn double(value: f64) -> number_data_point::Value {
    number_data_point::Value::AsDouble(value)
}

fn whole_number(value: i64) -> number_data_point::Value {
    number_data_point::Value::AsInt(value)
}

fn sum(value: number_data_point::Value, (start, now): (i64, i64)) -> metric::Data {
    metric::Data::Sum(Sum {
        data_points: vec![NumberDataPoint {
            start_time_unix_nano: start.cast_unsigned(),
            time_unix_nano: now.cast_unsigned(),
            value: Some(value),
            ..NumberDataPoint::default()
        }],
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
        is_monotonic: true,
    })
}

fn gauge(value: number_data_point::Value, now: i64) -> metric::Data {
    metric::Data::Gauge(Gauge {
        data_points: vec![NumberDataPoint {
            time_unix_nano: now.cast_unsigned(),
            value: Some(value),
            ..NumberDataPoint::default()
        }],
    })
}

fn export(resource: Resource, scope: &str, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}
