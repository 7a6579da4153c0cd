//! Request bytes to record batches, by signal, beside prost's decoding of the same bytes into structs
//! in the same run: `./bench.sh decode`. Throughput is in items: spans, points, log records, samples.

#![allow(missing_docs, reason = "criterion_group! makes a function without any")]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use mimalloc::MiMalloc;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord as OtlpLogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use upriver_ingest::pprof::PprofUpload;
use upriver_ingest::{decode, record_kind};
use upriver_store::record::LogRecord;
use upriver_store::time::UnixNanos;
use upriver_testdata::load::Template;
use upriver_testdata::scenario::{Options, Scenario, Slice};

/// The server's allocator, for both sides.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const RECEIVED: UnixNanos = UnixNanos(1_795_226_603_510_000_123);
const LOG_RECORDS: usize = 500;

criterion_group!(benches, traces, metrics, logs, profiles);
criterion_main!(benches);

fn traces(criterion: &mut Criterion) {
    let template = Template::new(1, 500, RECEIVED.0.cast_unsigned());
    let mut group = criterion.benchmark_group("traces");
    group.throughput(Throughput::Elements(template.spans() as u64));
    ours(&mut group, record_kind::OTLP_TRACES, &template.body(1));
    prost::<ExportTraceServiceRequest>(&mut group, &template.body(1));
    group.finish();
}

fn metrics(criterion: &mut Criterion) {
    let scenario = Scenario::new(Options::default());
    let largest = scenario.slices().take(40).flat_map(|slice: Slice| slice.metrics);
    let body = largest.map(|request| request.encode_to_vec()).max_by_key(Vec::len);
    let body = body.expect("the scenario has metrics");
    let mut group = criterion.benchmark_group("metrics");
    group.throughput(Throughput::Elements(items(record_kind::OTLP_METRICS, &body)));
    ours(&mut group, record_kind::OTLP_METRICS, &body);
    prost::<ExportMetricsServiceRequest>(&mut group, &body);
    group.finish();
}

fn logs(criterion: &mut Criterion) {
    let body = log_request().encode_to_vec();
    let mut group = criterion.benchmark_group("logs");
    group.throughput(Throughput::Elements(LOG_RECORDS as u64));
    ours(&mut group, record_kind::OTLP_LOGS, &body);
    prost::<ExportLogsServiceRequest>(&mut group, &body);
    group.finish();
}

/// pprof has no structs of prost's here: the figure stands alone.
fn profiles(criterion: &mut Criterion) {
    let scenario = Scenario::new(Options::default());
    let profile = scenario.slices().flat_map(|slice| slice.profiles).next();
    let profile = profile.expect("the scenario has profiles");
    let record = PprofUpload::new("bench").into_record(profile.bytes.into(), RECEIVED);
    let decoded = decode(&record).expect("the profile is read");
    let mut group = criterion.benchmark_group("pprof");
    group.throughput(Throughput::Elements(decoded.accepted));
    group.bench_function("upriver", |bencher| bencher.iter(|| decode(black_box(&record))));
    group.finish();
}

fn ours(group: &mut BenchmarkGroup<'_, WallTime>, kind: u8, body: &[u8]) {
    let record = LogRecord { kind, received: RECEIVED, payload: body.to_vec().into() };
    group.bench_function("upriver", |bencher| bencher.iter(|| decode(black_box(&record))));
}

fn prost<M: Message + Default>(group: &mut BenchmarkGroup<'_, WallTime>, body: &[u8]) {
    group.bench_function("prost", |bencher| bencher.iter(|| M::decode(black_box(body))));
}

fn items(kind: u8, body: &[u8]) -> u64 {
    let record = LogRecord { kind, received: RECEIVED, payload: body.to_vec().into() };
    decode(&record).expect("the request is read").accepted
}

fn log_request() -> ExportLogsServiceRequest {
    let text = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        ..KeyValue::default()
    };
    let record = |number: usize| OtlpLogRecord {
        time_unix_nano: RECEIVED.0.cast_unsigned() + number as u64,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(format!("order {number} was taken in {number} ms"))),
        }),
        attributes: (0..8)
            .map(|i| text(&format!("app.field.{i}"), format!("{number}-{i}")))
            .collect(),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        ..OtlpLogRecord::default()
    };
    let log_records = (0..LOG_RECORDS).map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    }
}
