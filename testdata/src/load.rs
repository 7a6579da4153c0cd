//! Requests for benchmarks and for overload: the traces of a shop of ten services.
//!
//! A request has ten resources of eleven attributes; each of its spans has twelve attributes and on
//! average 1.3 events, about 700 bytes as protobuf. A [`Template`] is encoded once; [`Template::body`]
//! gives it other ids each time, so that no two requests repeat a span.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, status::StatusCode,
};
use prost::Message;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

/// The services, callers before the called.
const SERVICES: [&str; 10] = [
    "storefront",
    "checkout",
    "basket",
    "catalogue",
    "payment",
    "delivery",
    "recommendation",
    "exchange-rate",
    "mailer",
    "ledger",
];
const INSTANCES: u32 = 6;
const THINGS: [&str; 8] =
    ["orders", "items", "customers", "baskets", "quotes", "invoices", "sessions", "reviews"];
/// How deep services call each other.
const CALLS_MAX: usize = 3;
/// First bytes of every trace id of a template, by which they are found again.
const MARK: [u8; 8] = [0xa5, 0x5a, 0xc3, 0x3c, 0x96, 0x69, 0xf0, 0x0f];

/// An encoded request whose ids can be changed.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    spans: usize,
    /// Where ids are of which eight bytes are changed: half of a trace id, a span id, a parent's id.
    ids_at: Vec<usize>,
}

impl Template {
    /// A request of this many spans, which start in the second after `start_unix_nano`. The same seed
    /// gives the same request.
    pub fn new(seed: u64, spans: usize, start_unix_nano: u64) -> Self {
        let mut shop = Shop::new(seed, start_unix_nano);
        while shop.spans < spans {
            shop.trace(spans);
        }
        let bytes = shop.request().encode_to_vec();
        let ids_at = ids_in(&bytes);
        Self { bytes, spans, ids_at }
    }

    /// Spans of the request.
    pub fn spans(&self) -> usize {
        self.spans
    }

    /// The first half, as a number, of every trace id of the request with this number.
    pub fn trace_mark(number: u64) -> u64 {
        u64::from_be_bytes(MARK) ^ spread(number)
    }

    /// The request with ids of its own: other numbers give other ids.
    pub fn body(&self, number: u64) -> Vec<u8> {
        let mut body = self.bytes.clone();
        let mask = spread(number).to_be_bytes();
        for at in &self.ids_at {
            for (byte, mask) in body[*at..].iter_mut().zip(mask) {
                *byte ^= mask;
            }
        }
        body
    }
}

/// Where the ids of spans are: each span begins with them, in this order.
fn ids_in(bytes: &[u8]) -> Vec<usize> {
    const TRACE_ID: [u8; 2] = [0x0a, 16];
    const SPAN_ID: [u8; 2] = [0x12, 8];
    const PARENT_SPAN_ID: [u8; 2] = [0x22, 8];
    let needle = [&TRACE_ID[..], &MARK].concat();
    let mut ids_at = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(needle.len()).position(|bytes| bytes == needle) {
        let trace = at + found + TRACE_ID.len();
        ids_at.push(trace);
        at = trace + 16;
        for tag in [SPAN_ID, PARENT_SPAN_ID] {
            if bytes[at..].starts_with(&tag) {
                ids_at.push(at + tag.len());
                at += tag.len() + 8;
            }
        }
    }
    ids_at
}

/// A one-to-one map of numbers that leaves no two alike in most bits (the finaliser of SplitMix64,
/// Steele and others, "Fast splittable pseudorandom number generators", 2014).
fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The request as it grows.
struct Shop {
    random: ChaCha8Rng,
    start: u64,
    spans: usize,
    by_service: Vec<Vec<Span>>,
    /// The pod of each service that exports this request.
    pods: Vec<u32>,
}

/// A span to be made.
struct Call<'a> {
    trace_id: &'a [u8],
    parent: &'a [u8],
    service: usize,
    start: u64,
    duration: u64,
}

impl Shop {
    fn new(seed: u64, start: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let pods = SERVICES.map(|_| random.random_range(0..INSTANCES)).to_vec();
        Self { random, start, spans: 0, by_service: vec![Vec::new(); SERVICES.len()], pods }
    }

    /// Adds a trace, cut off where the request is full.
    fn trace(&mut self, spans_max: usize) {
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&MARK);
        self.random.fill_bytes(&mut trace_id[8..]);
        let start = self.start + self.random.random_range(0..1_000_000_000);
        let duration = self.random.random_range(20_000_000..400_000_000);
        let root = Call { trace_id: &trace_id, parent: &[], service: 0, start, duration };
        self.serve(&root, 0, spans_max);
    }

    /// A request that a service answers: its handler, its database, its calls of other services.
    fn serve(&mut self, call: &Call<'_>, depth: usize, spans_max: usize) {
        let route = self.random.random_range(0..THINGS.len());
        let server = self.server_span(call, route);
        let id = self.push(call.service, server, spans_max);
        let inner = |start, duration| Call { parent: &id, start, duration, ..*call };
        if self.random.random_bool(0.6) {
            let handler = self.handler_span(&inner(call.start + 100_000, call.duration / 2));
            self.push(call.service, handler, spans_max);
        }
        for n in 0..self.random.random_range(0..3) {
            let query = self.query_span(&inner(call.start + n * 2_000_000, call.duration / 10));
            self.push(call.service, query, spans_max);
        }
        if depth == CALLS_MAX {
            return;
        }
        let least = usize::from(depth == 0);
        for _ in 0..self.random.random_range(least..=CALLS_MAX - depth) {
            let peer = self.random.random_range(1..SERVICES.len());
            let outer = inner(call.start + 500_000, call.duration / 3);
            let client = self.client_span(&outer, peer);
            let id = self.push(call.service, client, spans_max);
            let start = outer.start + 300_000;
            let duration = outer.duration * 9 / 10;
            let next = Call { parent: &id, service: peer, start, duration, ..*call };
            self.serve(&next, depth + 1, spans_max);
        }
    }

    /// Adds the span, unless the request is full; gives its id.
    fn push(&mut self, service: usize, span: Span, spans_max: usize) -> Vec<u8> {
        let id = span.span_id.clone();
        if self.spans < spans_max {
            self.by_service[service].push(span);
            self.spans += 1;
        }
        id
    }

    fn span(&mut self, call: &Call<'_>, name: String, kind: SpanKind) -> Span {
        let mut span_id = vec![0; 8];
        self.random.fill_bytes(&mut span_id);
        let spread = LogNormal::new(0.0, 0.5).expect("a finite spread").sample(&mut self.random);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds")]
        let duration = (call.duration as f64 * spread) as u64;
        Span {
            trace_id: call.trace_id.to_vec(),
            span_id,
            parent_span_id: call.parent.to_vec(),
            name,
            kind: kind.into(),
            flags: 0x101,
            start_time_unix_nano: call.start,
            end_time_unix_nano: call.start + duration,
            events: self.events(call.start, duration),
            ..Span::default()
        }
    }

    /// One event, and for three spans in ten a second one.
    fn events(&mut self, start: u64, duration: u64) -> Vec<Event> {
        let received = Event {
            time_unix_nano: start + duration / 2,
            name: "response.received".to_owned(),
            attributes: vec![
                integer("response.part", self.random.random_range(0..1_000)),
                text("response.state", "complete"),
            ],
            ..Event::default()
        };
        if !self.random.random_bool(0.3) {
            return vec![received];
        }
        let exception = Event {
            time_unix_nano: start + duration / 3,
            name: "exception".to_owned(),
            attributes: vec![
                text("exception.type", "TimeoutError"),
                text("exception.message", "the peer did not answer within 500 ms"),
            ],
            ..Event::default()
        };
        vec![received, exception]
    }

    fn server_span(&mut self, call: &Call<'_>, route: usize) -> Span {
        let (service, thing) = (SERVICES[call.service], THINGS[route]);
        let method = ["GET", "POST", "PUT", "DELETE"][route % 4];
        let path = format!("/v1/{service}/{thing}");
        let mut span = self.span(call, format!("{method} {path}/{{id}}"), SpanKind::Server);
        let status = self.status_code();
        let id = self.random.random_range(0..10_000_000);
        span.attributes = vec![
            text("http.request.method", method),
            text("http.route", &format!("{path}/{{id}}")),
            text("url.path", &format!("{path}/{id}")),
            text("url.scheme", "https"),
            integer("http.response.status_code", status),
            text("server.address", &format!("{service}.shop.svc.cluster.local")),
            integer("server.port", 8080),
            integer("http.response.body.size", self.body_size()),
            text("client.address", &self.address()),
            text("network.protocol.version", "1.1"),
            text("user_agent.original", &self.user_agent()),
            integer("thread.id", self.random.random_range(0..64)),
        ];
        if status >= 500 {
            let code = StatusCode::Error.into();
            span.status = Some(Status { code, message: "the upstream request failed".to_owned() });
        }
        span
    }

    fn client_span(&mut self, call: &Call<'_>, peer: usize) -> Span {
        let (service, thing) = (SERVICES[peer], THINGS[self.random.random_range(0..8)]);
        let mut span = self.span(call, "GET".to_owned(), SpanKind::Client);
        let address = format!("{service}.shop.svc.cluster.local");
        let id = self.random.random_range(0..10_000_000);
        span.attributes = vec![
            text("http.request.method", "GET"),
            text("url.full", &format!("http://{address}:8080/v1/{service}/{thing}/{id}")),
            text("url.template", &format!("/v1/{service}/{thing}/{{id}}")),
            integer("http.response.status_code", self.status_code()),
            text("server.address", &address),
            integer("server.port", 8080),
            integer("http.response.body.size", self.body_size()),
            text("network.peer.address", &self.address()),
            integer("network.peer.port", 8080),
            text("network.protocol.version", "2"),
            integer("http.request.resend_count", 0),
            text("peer.service", service),
        ];
        span
    }

    fn query_span(&mut self, call: &Call<'_>) -> Span {
        let table = THINGS[self.random.random_range(0..8)];
        let system = ["postgresql", "redis", "mongodb"][self.random.random_range(0..3)];
        let mut span = self.span(call, format!("SELECT {table}"), SpanKind::Client);
        let query = format!("SELECT id, name, price, changed FROM {table} WHERE id = $1 LIMIT 50");
        span.attributes = vec![
            text("db.system.name", system),
            text("db.namespace", "shop"),
            text("db.collection.name", table),
            text("db.operation.name", "SELECT"),
            text("db.query.text", &query),
            text("server.address", &format!("{system}-0.db.svc.cluster.local")),
            integer("server.port", 5432),
            text("network.peer.address", &self.address()),
            text("network.transport", "tcp"),
            integer("db.response.returned_rows", self.random.random_range(0..100)),
            integer("thread.id", self.random.random_range(0..64)),
            text("thread.name", &format!("worker-{}", self.random.random_range(0..64))),
        ];
        span
    }

    fn handler_span(&mut self, call: &Call<'_>) -> Span {
        let service = SERVICES[call.service];
        let mut span = self.span(call, format!("{service}.handle"), SpanKind::Internal);
        let tier = ["free", "gold", "platinum"][self.random.random_range(0..3)];
        span.attributes = vec![
            text("code.function.name", &format!("shop.{service}.Handler.handle")),
            text("code.file.path", &format!("src/{service}/handler.rs")),
            integer("code.line.number", self.random.random_range(1..900)),
            integer("thread.id", self.random.random_range(0..64)),
            text("thread.name", &format!("worker-{}", self.random.random_range(0..64))),
            text("app.customer.tier", tier),
            text("app.shop.id", &format!("shop-{}", self.random.random_range(0..500))),
            boolean("app.discounted", self.random.random_bool(0.5)),
            integer("app.items.count", self.random.random_range(0..20)),
            double("app.items.price", self.random.random_range(0.0..100.0)),
            text("app.region", "eu-west-1"),
            boolean("app.cache.hit", self.random.random_bool(0.8)),
        ];
        span
    }

    /// 80 % OK; the rest as a shop has them.
    fn status_code(&mut self) -> i64 {
        const OTHERS: [i64; 6] = [201, 204, 304, 400, 404, 503];
        let is_ok = self.random.random_bool(0.8);
        if is_ok { 200 } else { OTHERS[self.random.random_range(0..OTHERS.len())] }
    }

    fn body_size(&mut self) -> i64 {
        let size = LogNormal::new(8.0, 1.2).expect("a finite spread").sample(&mut self.random);
        #[expect(clippy::cast_possible_truncation, reason = "bytes")]
        let size = size as i64;
        size
    }

    fn address(&mut self) -> String {
        let [a, b, c] = self.random.random::<[u8; 3]>();
        format!("10.{}.{b}.{c}", a % 4)
    }

    fn user_agent(&mut self) -> String {
        let version = self.random.random_range(110..140);
        format!(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{version}.0.0.0 Safari/537.36"
        )
    }

    fn request(self) -> ExportTraceServiceRequest {
        let services = self.by_service.into_iter().enumerate();
        let resource_spans = services.map(|(service, spans)| ResourceSpans {
            resource: Some(resource(service, self.pods[service])),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: format!("shop.{}.instrumentation", SERVICES[service]),
                    version: "2.19.0".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        });
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
    }
}

fn resource(service: usize, pod: u32) -> Resource {
    let name = SERVICES[service];
    let attributes = vec![
        text("service.name", name),
        text("service.namespace", "shop"),
        text("service.version", &format!("1.{service}.0")),
        text("service.instance.id", &format!("{service:08x}-7d4f-4c1a-9b1e-{pod:012x}")),
        text("deployment.environment.name", "production"),
        text("host.name", &format!("ip-10-0-{service}-{pod}.eu-west-1.compute.internal")),
        text("k8s.namespace.name", "shop"),
        text("k8s.pod.name", &format!("{name}-6c9f7b{service:x}d4-{pod:05x}")),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.language", ["go", "java", "nodejs", "python", "rust"][service % 5]),
        text("telemetry.sdk.version", "1.42.0"),
    ];
    Resource { attributes, ..Resource::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn integer(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

fn boolean(key: &str, value: bool) -> KeyValue {
    attribute(key, any_value::Value::BoolValue(value))
}

fn double(key: &str, value: f64) -> KeyValue {
    attribute(key, any_value::Value::DoubleValue(value))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const START: u64 = 1_795_226_603_000_000_000;

    fn spans(body: &[u8]) -> Vec<Span> {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    #[test]
    fn a_request_has_the_shape_that_is_promised() {
        let template = Template::new(1, 500, START);
        let body = template.body(0);
        let spans = spans(&body);
        assert_eq!((spans.len(), template.spans()), (500, 500));
        assert!(spans.iter().all(|span| span.attributes.len() == 12));
        let events: usize = spans.iter().map(|span| span.events.len()).sum();
        assert!((600..700).contains(&events), "{events} events");
        assert!((600..800).contains(&(body.len() / 500)), "{} bytes a span", body.len() / 500);
        assert_eq!(Template::new(1, 500, START).body(7), template.body(7));
    }

    #[test]
    fn other_numbers_give_other_ids_and_keep_the_parents() {
        let template = Template::new(2, 500, START);
        let mut ids = BTreeSet::new();
        for number in 0..20 {
            let spans = spans(&template.body(number));
            let own: BTreeSet<_> =
                spans.iter().map(|span| (&span.trace_id, &span.span_id)).collect();
            assert_eq!(own.len(), 500);
            let children = spans.iter().filter(|span| !span.parent_span_id.is_empty());
            for child in children.clone() {
                assert!(own.contains(&(&child.trace_id, &child.parent_span_id)), "{child:?}");
            }
            assert!(children.count() > 400);
            ids.extend(own.into_iter().map(|(trace, span)| (trace.clone(), span.clone())));
        }
        assert_eq!(ids.len(), 20 * 500);
    }
}
