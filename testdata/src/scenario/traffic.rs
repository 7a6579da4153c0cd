//! The requests of a slice, as the spans that each instance exports.

use super::fleet::{Instance, Service};
use super::latency::{Call, CheckoutTimes, Conditions, Draw, MinuteFactors, Stretch};
use super::latency::{lognormal, nanos, whole};
use super::spans::{self, Parent, Place, Scope, int};
use super::timeline::SECOND;
use super::{Purpose, Scenario};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Share of the requests that are checkouts; the others ask for the status of an order.
const CHECKOUT_SHARE: f64 = 0.39;
/// One checkout in this many fails.
const CHECKOUTS_PER_ERROR: f64 = 500.0;
/// Requests per second to each of the services that checkout does not call, per request to the shop.
const ELSEWHERE_SHARE: f64 = 0.02;
/// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` of the SDKs.
const EXPORT_BATCH: usize = 512;
/// Sizes of bodies that do not change.
const CHECKOUT_REQUEST_BYTES: f64 = 1_100.0;
const CHECKOUT_RESPONSE_BYTES: f64 = 2_400.0;
const STATUS_RESPONSE_BYTES: f64 = 180.0;
const PAYMENT_REQUEST_BYTES: f64 = 640.0;
const PAYMENT_RESPONSE_BYTES: f64 = 1_200.0;
const SMALL_SIGMA: f64 = 0.1;

const AUTH_RPC: (&str, &str) = ("shop.auth.v1.Auth", "Check");
const RECOMMENDATION_RPC: (&str, &str) = ("shop.recommendation.v1.Recommendations", "List");
const PAYMENT_ROUTE: &str = "/v1/charges";
const PAYMENT_OPERATION: &str = "POST /v1/charges";

/// A request to checkout, for its metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObservedRequest {
    pub(crate) instance: Instance,
    pub(crate) is_checkout: bool,
    pub(crate) is_large: bool,
    pub(crate) status: i64,
    pub(crate) seconds: f64,
}

/// Generates the requests that arrive in `[start, end)`.
pub(crate) fn generate(
    scenario: &Scenario,
    start: i64,
    end: i64,
) -> (Vec<ExportTraceServiceRequest>, Vec<ObservedRequest>) {
    let mut random = scenario.random(start, Purpose::Traffic);
    let minutes = MinuteFactors::new(start, end, &mut random);
    let mut traffic =
        Traffic { scenario, random, minutes, queues: BTreeMap::new(), observed: Vec::new() };
    let rate = scenario.timeline.rate(start);
    let mut failures = Failures::new(rate, start);
    for arrival in traffic.arrivals(rate, start, end) {
        if traffic.random.random_bool(CHECKOUT_SHARE) {
            let fails = failures.next_fails(arrival);
            traffic.checkout(arrival, fails);
        } else {
            traffic.status(arrival);
        }
    }
    for service in [Service::Search, Service::Recommendation] {
        for arrival in traffic.arrivals(rate * ELSEWHERE_SHARE, start, end) {
            traffic.elsewhere(service, arrival);
        }
    }
    traffic.into_exports()
}

/// Spreads failures evenly: the first checkout after each beat of a clock fails.
struct Failures {
    period: i64,
    last_beat: i64,
}

impl Failures {
    fn new(rate: f64, start: i64) -> Self {
        let period = whole(CHECKOUTS_PER_ERROR / (rate * CHECKOUT_SHARE) * SECOND as f64);
        Self { period, last_beat: (start - 1).div_euclid(period) }
    }

    fn next_fails(&mut self, arrival: i64) -> bool {
        let beat = arrival.div_euclid(self.period);
        let fails = beat != self.last_beat;
        self.last_beat = beat;
        fails
    }
}

struct Traffic<'a> {
    scenario: &'a Scenario,
    random: ChaCha8Rng,
    minutes: MinuteFactors,
    queues: BTreeMap<Instance, Vec<(Scope, Span)>>,
    observed: Vec<ObservedRequest>,
}

/// The instances that serve one checkout.
struct Route {
    checkout: Instance,
    inventory: Instance,
    payment: Instance,
    auth: Instance,
}

/// Ids of one checkout's trace: the nine spans in the order of [`Traffic::checkout`].
struct TraceIds {
    trace: [u8; 16],
    spans: [[u8; 8]; 9],
}

impl TraceIds {
    fn root(&self) -> Place {
        Place { trace_id: self.trace, span_id: self.spans[0], parent: Parent::None }
    }

    fn child(&self, index: usize) -> Place {
        let parent = Parent::Local(self.spans[0]);
        Place { trace_id: self.trace, span_id: self.spans[index], parent }
    }

    /// The server's span of a call whose client's span is the one before.
    fn server(&self, index: usize) -> Place {
        let parent = Parent::Remote(self.spans[index - 1]);
        Place { trace_id: self.trace, span_id: self.spans[index], parent }
    }
}

impl Traffic<'_> {
    /// One arrival in each of equal parts of the slice: flat by the minute, random by the second.
    fn arrivals(&mut self, rate: f64, start: i64, end: i64) -> Vec<i64> {
        let count = whole(rate * (end - start) as f64 / SECOND as f64);
        (0..count)
            .map(|index| {
                let at = (index as f64 + self.random.random::<f64>()) / count as f64;
                start + whole(at * (end - start) as f64)
            })
            .collect()
    }

    fn pick(&mut self, service: Service, arrival: i64) -> Instance {
        let slot = self.random.random_range(0..service.slots());
        self.scenario.fleet.instance(service, slot, arrival)
    }

    fn size(&mut self, median: f64) -> i64 {
        whole(lognormal(median, SMALL_SIGMA, &mut self.random))
    }

    fn push(&mut self, instance: Instance, scope: Scope, span: Span) {
        self.queues.entry(instance).or_default().push((scope, span));
    }

    fn checkout(&mut self, arrival: i64, fails: bool) {
        let timeline = &self.scenario.timeline;
        let route = Route {
            checkout: self.pick(Service::Checkout, arrival),
            inventory: self.pick(Service::Inventory, arrival),
            payment: self.pick(Service::Payment, arrival),
            auth: self.pick(Service::Auth, arrival),
        };
        let ids = TraceIds { trace: self.random.random(), spans: self.random.random() };
        let is_large = timeline.is_large(route.inventory.slot, arrival);
        let conditions = Conditions {
            pressure: timeline.pressure(arrival),
            is_large,
            has_recovered: timeline.has_recovered(arrival),
            minute_factor: self.minutes.at(arrival),
        };
        let times = Draw::new(&mut self.random).times(&conditions);
        let status = if fails { 502 } else { 200 };

        self.checkout_span(&route, &ids, (arrival, times.total), status);
        self.auth_spans(&route, &ids, (arrival, times.auth));
        self.inventory_spans(&route, &ids, arrival, &times);
        self.order_query_span(&route, &ids, (arrival, times.order_query));
        self.payment_spans(&route, &ids, (arrival, times.payment), fails);
        self.serialise_span(&route, &ids, (arrival, times.serialise));
        self.observed.push(ObservedRequest {
            instance: route.checkout,
            is_checkout: true,
            is_large,
            status,
            seconds: times.total as f64 / 1e9,
        });
    }

    fn checkout_span(&mut self, route: &Route, ids: &TraceIds, time: (i64, i64), status: i64) {
        let names = &self.scenario.names;
        let mut span = spans::span(ids.root(), &names.checkout, SpanKind::Server, time);
        span.attributes = spans::checkout_attributes("POST", &names.checkout_route, status);
        let (request, response) =
            (self.size(CHECKOUT_REQUEST_BYTES), self.size(CHECKOUT_RESPONSE_BYTES));
        span.attributes.push(int("http.request.body.size", request));
        span.attributes.push(int("http.response.body.size", response));
        if status >= 500 {
            spans::fail(&mut span, "502");
            spans::exception(&mut span, "*payment.UnavailableError", "payment answered 503");
        }
        self.push(route.checkout, Scope::OtelHttp, span);
    }

    fn auth_spans(&mut self, route: &Route, ids: &TraceIds, (arrival, call): (i64, Call)) {
        let (service, method) = AUTH_RPC;
        let name = &self.scenario.names.auth_check;
        let mut client =
            spans::span(ids.child(1), name, SpanKind::Client, at(arrival, call.client));
        client.attributes = spans::rpc_attributes(service, method, Service::Auth.slug());
        let name = format!("{service}/{method}");
        let mut server =
            spans::span(ids.server(2), &name, SpanKind::Server, at(arrival, call.server));
        server.attributes = spans::rpc_attributes(service, method, Service::Auth.slug());
        self.push(route.checkout, Scope::OtelGrpc, client);
        self.push(route.auth, Scope::OtelGrpc, server);
    }

    fn inventory_spans(
        &mut self,
        route: &Route,
        ids: &TraceIds,
        arrival: i64,
        times: &CheckoutTimes,
    ) {
        let (names, call) = (&self.scenario.names, times.inventory);
        let time = at(arrival, call.client);
        let mut client = spans::span(ids.child(3), &names.inventory_check, SpanKind::Client, time);
        client.attributes = spans::http_client_attributes("GET", Service::Inventory.slug(), 200);
        let time = at(arrival, call.server);
        let mut server = spans::span(ids.server(4), &names.inventory, SpanKind::Server, time);
        server.attributes = spans::http_server_attributes("GET", &names.inventory_route, 200);
        for span in [&mut client, &mut server] {
            span.attributes.push(int("http.response.body.size", times.inventory_bytes));
        }
        self.push(route.checkout, Scope::OtelHttp, client);
        self.push(route.inventory, Scope::JavaServlet, server);
    }

    fn order_query_span(
        &mut self,
        route: &Route,
        ids: &TraceIds,
        (arrival, query): (i64, Stretch),
    ) {
        let name = &self.scenario.names.order_query;
        let mut span = spans::span(ids.child(5), name, SpanKind::Client, at(arrival, query));
        span.attributes = spans::order_query_attributes();
        self.push(route.checkout, Scope::OtelPgx, span);
    }

    fn payment_spans(
        &mut self,
        route: &Route,
        ids: &TraceIds,
        (arrival, call): (i64, Call),
        fails: bool,
    ) {
        let status = if fails { 503 } else { 200 };
        let host = Service::Payment.slug();
        let name = &self.scenario.names.payment_call;
        let mut client =
            spans::span(ids.child(6), name, SpanKind::Client, at(arrival, call.client));
        client.attributes = spans::http_client_attributes("POST", host, status);
        let time = at(arrival, call.server);
        let mut server = spans::span(ids.server(7), PAYMENT_OPERATION, SpanKind::Server, time);
        server.attributes = spans::http_server_attributes("POST", PAYMENT_ROUTE, status);
        let (request, response) =
            (self.size(PAYMENT_REQUEST_BYTES), self.size(PAYMENT_RESPONSE_BYTES));
        for span in [&mut client, &mut server] {
            span.attributes.push(int("http.request.body.size", request));
            span.attributes.push(int("http.response.body.size", response));
            if fails {
                spans::fail(span, "503");
            }
        }
        self.push(route.checkout, Scope::OtelHttp, client);
        self.push(route.payment, Scope::NodeHttp, server);
    }

    fn serialise_span(&mut self, route: &Route, ids: &TraceIds, (arrival, time): (i64, Stretch)) {
        let name = &self.scenario.names.serialise_response;
        let mut span = spans::span(ids.child(8), name, SpanKind::Internal, at(arrival, time));
        span.attributes = vec![int("checkout.items", self.random.random_range(1..=6))];
        self.push(route.checkout, Scope::Checkout, span);
    }

    fn status(&mut self, arrival: i64) {
        let names = &self.scenario.names;
        let instance = self.pick(Service::Checkout, arrival);
        let duration = nanos(lognormal(2.2, 0.3, &mut self.random));
        let mut span =
            spans::span(self.root(), &names.status, SpanKind::Server, (arrival, duration));
        span.attributes = spans::checkout_attributes("GET", &names.status_route, 200);
        let size = self.size(STATUS_RESPONSE_BYTES);
        span.attributes.push(int("http.response.body.size", size));
        self.push(instance, Scope::OtelHttp, span);
        self.observed.push(ObservedRequest {
            instance,
            is_checkout: false,
            is_large: false,
            status: 200,
            seconds: duration as f64 / 1e9,
        });
    }

    /// A request to a service that checkout does not call.
    fn elsewhere(&mut self, service: Service, arrival: i64) {
        let instance = self.pick(service, arrival);
        let (median, sigma) = if service == Service::Search { (35.0, 0.4) } else { (18.0, 0.3) };
        let time = (arrival, nanos(lognormal(median, sigma, &mut self.random)));
        let place = self.root();
        if service == Service::Search {
            let mut span = spans::span(place, "GET /search", SpanKind::Server, time);
            span.attributes = spans::http_server_attributes("GET", "/search", 200);
            self.push(instance, Scope::JavaServlet, span);
        } else {
            let (service, method) = RECOMMENDATION_RPC;
            let name = format!("{service}/{method}");
            let mut span = spans::span(place, &name, SpanKind::Server, time);
            let host = Service::Recommendation.slug();
            span.attributes = spans::rpc_attributes(service, method, host);
            self.push(instance, Scope::OtelGrpc, span);
        }
    }

    fn root(&mut self) -> Place {
        let trace_id = self.random.random();
        Place { trace_id, span_id: self.random.random(), parent: Parent::None }
    }

    /// Each instance's spans in the order in which they ended, in batches of the SDK's size.
    fn into_exports(self) -> (Vec<ExportTraceServiceRequest>, Vec<ObservedRequest>) {
        let mut exports = Vec::new();
        for (instance, mut queue) in self.queues {
            let resource = self.scenario.fleet.resource(&self.scenario.names, instance);
            queue.sort_by_key(|(_, span)| span.end_time_unix_nano);
            while !queue.is_empty() {
                let rest = queue.split_off(queue.len().min(EXPORT_BATCH));
                let batch = std::mem::replace(&mut queue, rest);
                exports.push(ExportTraceServiceRequest {
                    resource_spans: vec![ResourceSpans {
                        resource: Some(resource.clone()),
                        scope_spans: by_scope(batch),
                        ..ResourceSpans::default()
                    }],
                });
            }
        }
        (exports, self.observed)
    }
}

fn by_scope(batch: Vec<(Scope, Span)>) -> Vec<ScopeSpans> {
    let mut scopes: BTreeMap<Scope, Vec<Span>> = BTreeMap::new();
    for (scope, span) in batch {
        scopes.entry(scope).or_default().push(span);
    }
    scopes
        .into_iter()
        .map(|(scope, spans)| ScopeSpans {
            scope: Some(scope.proto()),
            spans,
            ..ScopeSpans::default()
        })
        .collect()
}

/// Start and duration of a part of a request.
fn at(arrival: i64, stretch: Stretch) -> (i64, i64) {
    (arrival + stretch.start, stretch.duration)
}
