//! The figures of the incident as population values of the generated data.

use crate::observed::{self, MINUTE, SECOND, WEEK, end, int, quantile, start};
use crate::pprof::{self, Count};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::BTreeMap;
use upriver_testdata::scenario::{Options, Scenario, Slice, Variant};

/// What a window of time holds.
#[derive(Debug, Default)]
struct Window {
    length: i64,
    spans: usize,
    /// Requests to checkout, and those that failed.
    requests: usize,
    errors: usize,
    /// Durations by service and span name.
    durations: BTreeMap<(String, String), Vec<i64>>,
    /// Body sizes of inventory's responses as the server and the client report them.
    server_bytes: Vec<i64>,
    client_bytes: Vec<i64>,
    shares: BTreeMap<&'static str, Count>,
    paints: Vec<u64>,
}

const SETS: [(&str, &[&str]); 7] = [
    ("gc", &["runtime.scanobject"]),
    ("allocation", &["runtime.mallocgc"]),
    ("serialization", &["encoding/json.Marshal"]),
    ("handler", &["handlers.Checkout"]),
    ("query", &["pgx.Query"]),
    ("gc+allocation", &["runtime.scanobject", "runtime.mallocgc"]),
    ("all", &["runtime.scanobject", "runtime.mallocgc", "encoding/json.Marshal"]),
];

impl Window {
    fn span(&mut self, service: &str, span: &Span) {
        self.spans += 1;
        let duration = end(span) - start(span);
        let key = (service.to_owned(), span.name.clone());
        self.durations.entry(key).or_default().push(duration);
        if service == "checkout" && span.parent_span_id.is_empty() {
            self.requests += 1;
            self.errors += usize::from(span.status.as_ref().unwrap().code == 2);
        }
        let bytes = int(&span.attributes, "http.response.body.size");
        match (service, span.name.as_str()) {
            ("inventory-service", "GET /inventory/items") => self.server_bytes.push(bytes.unwrap()),
            ("checkout", "inventory_check") => self.client_bytes.push(bytes.unwrap()),
            _ => {}
        }
    }

    fn slice(&mut self, slice: &Slice) {
        for profile in &slice.profiles {
            let samples = pprof::read(&profile.bytes);
            assert_eq!(samples.time_unix_nano, profile.entry.time_unix_nano);
            assert_eq!(samples.duration_nano, profile.entry.duration_nano);
            for (name, functions) in SETS {
                self.shares.entry(name).or_default().add(&samples, functions);
            }
        }
        let metrics = slice
            .metrics
            .iter()
            .flat_map(|request| &request.resource_metrics)
            .flat_map(|resource| &resource.scope_metrics)
            .flat_map(|scope| &scope.metrics);
        for metric in metrics.filter(|metric| metric.name == "web_vitals.lcp") {
            let Some(Data::Histogram(histogram)) = &metric.data else { panic!("no histogram") };
            let counts = &histogram.data_points[0].bucket_counts;
            self.paints.resize(counts.len(), 0);
            self.paints.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }

    fn milliseconds(&mut self, service: &str, name: &str, permille: usize) -> f64 {
        let key = (service.to_owned(), name.to_owned());
        quantile(self.durations.get_mut(&key).unwrap(), permille) / 1e6
    }

    fn p99(&mut self) -> f64 {
        self.milliseconds("checkout", "POST /checkout", 990)
    }

    fn median(&mut self, name: &str) -> f64 {
        self.milliseconds("checkout", name, 500)
    }

    fn rate(&self) -> f64 {
        self.requests as f64 * SECOND as f64 / self.length as f64
    }

    fn percent(&self, set: &str) -> f64 {
        self.shares[set].percent()
    }

    /// Share of the paints under 2.5 s, which is called good.
    fn good_paints(&self) -> f64 {
        let all: u64 = self.paints.iter().sum();
        self.paints.iter().take(6).sum::<u64>() as f64 / all as f64
    }
}

/// The windows that the story speaks of.
struct Incident {
    spans: usize,
    last_week: Window,
    hour_before: Window,
    during: Window,
    recovered: Window,
    /// The quiet days.
    week: Window,
}

impl Incident {
    fn generate(options: Options) -> Self {
        let scenario = Scenario::new(options);
        let timeline = *scenario.timeline();
        let (rolled_out, rollback) = (timeline.rollout.end, timeline.rollback.unwrap().start);
        let ranges = [
            (rolled_out - WEEK, timeline.end - WEEK),
            (timeline.rollout.start - 60 * MINUTE, timeline.rollout.start),
            (rolled_out, rollback),
            (rollback + 5 * MINUTE, timeline.end),
            (timeline.end - WEEK, timeline.busy_start),
        ];
        let mut windows =
            ranges.map(|(from, to)| Window { length: to - from, ..Window::default() });
        let mut spans = 0;
        for slice in scenario.slices() {
            spans += slice.span_count();
            for (window, (from, to)) in windows.iter_mut().zip(ranges) {
                if slice.start_unix_nano >= to || slice.end_unix_nano <= from {
                    continue;
                }
                window.slice(&slice);
                for (resource, span) in observed::spans(&slice.traces) {
                    if (from..to).contains(&start(span)) {
                        window.span(observed::service(resource), span);
                    }
                }
            }
        }
        let [last_week, hour_before, during, recovered, week] = windows;
        Self { spans, last_week, hour_before, during, recovered, week }
    }

    fn healthy(&mut self) -> [&mut Window; 2] {
        [&mut self.last_week, &mut self.hour_before]
    }
}

#[track_caller]
fn near(what: &str, got: f64, wanted: f64, tolerance: f64) {
    let off = (got / wanted - 1.0).abs();
    assert!(off <= tolerance, "{what}: {got}, wanted {wanted} within {} %", tolerance * 100.0);
}

#[track_caller]
fn percent_near(what: &str, got: f64, wanted: f64, points: f64) {
    assert!((got - wanted).abs() <= points, "{what}: {got} %, wanted {wanted} %");
}

fn check_latency(incident: &mut Incident) {
    for window in incident.healthy() {
        near("healthy p99", window.p99(), 240.0, 0.03);
    }
    near("p99 during", incident.during.p99(), 1400.0, 0.02);
    near("p99 after", incident.recovered.p99(), 235.0, 0.05);
    let medians = [
        ("order_query", 12.0, 340.0),
        ("inventory_check", 80.0, 850.0),
        ("payment_call", 90.0, 280.0),
        ("serialise_response", 8.0, 340.0),
        ("auth_check", 5.0, 5.0),
    ];
    for (name, before, during) in medians {
        for window in incident.healthy() {
            near(name, window.median(name), before, 0.03);
        }
        near(name, incident.during.median(name), during, 0.03);
        near(name, incident.recovered.median(name), before, 0.05);
    }
}

/// What the services that checkout calls take themselves: only inventory's grows.
fn check_servers(incident: &mut Incident) {
    for (service, name) in [("payment", "POST /v1/charges"), ("auth", "shop.auth.v1.Auth/Check")] {
        let before = incident.hour_before.milliseconds(service, name, 500);
        near(name, incident.during.milliseconds(service, name, 500), before, 0.03);
    }
    let (service, name) = ("inventory-service", "GET /inventory/items");
    let before = incident.hour_before.milliseconds(service, name, 500);
    let during = incident.during.milliseconds(service, name, 500);
    assert!((2.5..3.5).contains(&(during / before)), "inventory grew {}-fold", during / before);
    let name = "GET /orders/{id}/status";
    near(name, incident.during.median(name), incident.hour_before.median(name), 0.03);
}

fn check_payload(incident: &mut Incident) {
    for window in incident.healthy() {
        near("bytes before", quantile(&mut window.server_bytes, 500), 8_000.0, 0.02);
    }
    let during = &mut incident.during;
    near("bytes during", quantile(&mut during.server_bytes, 500), 85_000.0, 0.02);
    near(
        "p99 bytes",
        quantile(&mut during.server_bytes, 990),
        10.625 * quantile(&mut incident.hour_before.server_bytes, 990),
        0.05,
    );
    near("bytes after", quantile(&mut incident.recovered.server_bytes, 500), 8_000.0, 0.02);
    for window in [&mut incident.during, &mut incident.hour_before] {
        // A call that a window's border cuts shows one of its two spans.
        let cut = window.client_bytes.len().abs_diff(window.server_bytes.len());
        assert!(cut <= 2, "{cut} calls have one span");
        for permille in [1, 250, 500, 750, 999] {
            let client = quantile(&mut window.client_bytes, permille);
            near("client's bytes", client, quantile(&mut window.server_bytes, permille), 0.001);
        }
    }
}

fn check_shares(incident: &Incident) {
    let expected = [
        ("gc", 4.0, 22.0),
        ("allocation", 2.0, 9.0),
        ("serialization", 4.0, 24.0),
        ("handler", 6.0, 6.0),
        ("query", 12.0, 12.0),
        ("gc+allocation", 6.0, 31.0),
        ("all", 10.0, 55.0),
    ];
    for (set, before, during) in expected {
        percent_near(set, incident.last_week.percent(set), before, 0.3);
        percent_near(set, incident.hour_before.percent(set), before, 0.3);
        percent_near(set, incident.during.percent(set), during, 0.5);
        percent_near(set, incident.recovered.percent(set), before, 0.5);
    }
    assert!(incident.during.shares["all"].total > 100_000);
    let quiet = incident.week.shares["all"].total;
    assert!(quiet > 20_000, "{quiet} samples in the quiet week");
}

/// Traffic, errors and browsers stay as they are.
fn check_flat(incident: &Incident) {
    let before = &incident.hour_before;
    for window in [&incident.last_week, before, &incident.during, &incident.recovered] {
        assert!(window.rate() >= 5.0, "{} requests per second", window.rate());
        near("rate", window.rate(), before.rate(), 0.01);
        let checkouts =
            window.durations[&("checkout".to_owned(), "POST /checkout".to_owned())].len();
        percent_near("errors", 100.0 * window.errors as f64 / checkouts as f64, 0.2, 0.06);
        percent_near("paints", 100.0 * window.good_paints(), 100.0 * before.good_paints(), 3.0);
    }
    near("quiet rate", incident.week.rate(), 0.1, 0.02);
    assert!(incident.spans <= 600_000, "{} spans", incident.spans);
    assert!(incident.spans > 500_000, "{} spans", incident.spans);
}

#[test]
fn the_incident_has_its_figures() {
    let mut incident = Incident::generate(Options::default());
    check_latency(&mut incident);
    check_servers(&mut incident);
    check_payload(&mut incident);
    check_shares(&incident);
    check_flat(&incident);
}

#[test]
fn nested_allocation_has_the_same_shares_and_a_smaller_union() {
    let incident = Incident::generate(Options::new(Variant::NestedAllocation));
    for (set, during) in
        [("gc", 22.0), ("allocation", 9.0), ("serialization", 24.0), ("gc+allocation", 31.0)]
    {
        percent_near(set, incident.during.percent(set), during, 0.5);
    }
    percent_near("union", incident.during.percent("all"), 47.0, 0.5);
}

#[test]
fn no_variant_has_too_many_spans() {
    for variant in [Variant::InflationBeforeDeploy, Variant::InflationWithoutDeploy] {
        let scenario = Scenario::new(Options::new(variant));
        let spans: usize = scenario.slices().map(|slice| slice.span_count()).sum();
        assert!(spans <= 600_000, "{}: {spans} spans", variant.name());
    }
}

#[test]
fn other_seeds_stay_near_the_figures() {
    let mut incident = Incident::generate(Options { seed: 1047, ..Options::default() });
    near("p99 before", incident.hour_before.p99(), 240.0, 0.1);
    near("p99 during", incident.during.p99(), 1400.0, 0.1);
    near("p99 after", incident.recovered.p99(), 235.0, 0.1);
    percent_near("gc", incident.during.percent("gc+allocation"), 31.0, 1.5);
    percent_near("serialization", incident.during.percent("serialization"), 24.0, 1.5);
}
