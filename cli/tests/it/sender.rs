//! Sends a scenario to a server as its senders would, over HTTP.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use upriver_ingest::{Decoded, decode, pprof::PprofUpload, record_kind};
use upriver_store::record::LogRecord;
use upriver_store::schema::{Column, Kind, Table};
use upriver_store::time::UnixNanos;
use upriver_testdata::scenario::{ProfileFile, Slice};

use crate::server::{Serve, client};

/// Name under which a request's rows carry its number.
pub(crate) const MARK: &str = "test.request";

/// A request, and the rows that it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) number: usize,
    is_otlp: bool,
    path: String,
    query: Vec<(&'static str, String)>,
    content_type: &'static str,
    body: Vec<u8>,
    pub(crate) rows: BTreeMap<Table, usize>,
    /// Sums over the rows of each table, by column.
    pub(crate) sums: BTreeMap<Table, Sums>,
}

/// Of a column with integers their sum, of one with texts the sum of their lengths.
pub(crate) type Sums = BTreeMap<&'static str, i128>;

impl Request {
    /// Sends it; whether it was acknowledged.
    pub(crate) async fn send(&self, http: &reqwest::Client, serve: &Addresses) -> bool {
        let base = if self.is_otlp { &serve.otlp_http } else { &serve.api };
        let request = http.post(format!("{base}{}", self.path)).query(&self.query);
        let request = request.header("content-type", self.content_type).body(self.body.clone());
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }
}

/// Where to send.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    api: String,
    otlp_http: String,
}

impl Addresses {
    pub(crate) fn of(serve: &Serve) -> Self {
        Self { api: serve.api.clone(), otlp_http: serve.otlp_http.clone() }
    }
}

/// Sends everything, in order of kind, and expects every acknowledgement.
pub(crate) async fn send_all(requests: &[Request], serve: &Serve) {
    let (http, addresses) = (client(), Addresses::of(serve));
    for request in requests {
        assert!(request.send(&http, &addresses).await, "request {}", request.number);
    }
}

/// The requests of a slice, numbered on from `first`.
pub(crate) fn requests(slice: Slice, first: usize) -> Vec<Request> {
    let mut requests = Vec::new();
    for deploy in &slice.deploys {
        let mut event = serde_json::to_value(deploy).unwrap();
        event["attributes"] = serde_json::json!({ MARK: number(first, &requests).to_string() });
        let body = serde_json::to_vec(&event).unwrap();
        let decoded = upriver_ingest::deploys::decode(&body, UnixNanos(1)).unwrap();
        requests.push(Request {
            number: number(first, &requests),
            is_otlp: false,
            path: "/api/v1/deploys".to_owned(),
            query: Vec::new(),
            content_type: "application/json",
            body,
            sums: sums(&decoded),
            rows: count(decoded),
        });
    }
    for mut export in slice.traces {
        let mark = number(first, &requests);
        export.resource_spans.iter_mut().for_each(|spans| put_mark(&mut spans.resource, mark));
        requests.push(otlp(mark, "/v1/traces", record_kind::OTLP_TRACES, export.encode_to_vec()));
    }
    for mut export in slice.metrics {
        let mark = number(first, &requests);
        export
            .resource_metrics
            .iter_mut()
            .for_each(|metrics| put_mark(&mut metrics.resource, mark));
        requests.push(otlp(mark, "/v1/metrics", record_kind::OTLP_METRICS, export.encode_to_vec()));
    }
    for profile in slice.profiles {
        requests.push(upload(number(first, &requests), profile));
    }
    requests
}

fn number(first: usize, requests: &[Request]) -> usize {
    first + requests.len()
}

fn put_mark(resource: &mut Option<Resource>, mark: usize) {
    let value = Some(AnyValue { value: Some(Value::StringValue(mark.to_string())) });
    let attribute = KeyValue { key: MARK.to_owned(), value, ..KeyValue::default() };
    resource.get_or_insert_default().attributes.push(attribute);
}

fn otlp(number: usize, path: &str, kind: u8, body: Vec<u8>) -> Request {
    let payload = body.clone().into();
    let record = LogRecord { kind, received: UnixNanos(1), payload };
    let decoded = decode(&record).unwrap();
    Request {
        number,
        is_otlp: true,
        path: path.to_owned(),
        query: Vec::new(),
        content_type: "application/x-protobuf",
        body,
        sums: sums(&decoded),
        rows: count(decoded),
    }
}

fn upload(number: usize, profile: ProfileFile) -> Request {
    const SECOND: i64 = 1_000_000_000;
    let entry = profile.entry;
    let record = PprofUpload::new(&entry.service)
        .into_record(profile.bytes.clone().into(), UnixNanos(entry.time_unix_nano));
    let decoded = decode(&record).unwrap();
    let labels = entry.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let own = [format!("service_version={}", entry.version), format!("{MARK}={number}")];
    let labels: Vec<_> = own.into_iter().chain(labels).collect();
    let until = entry.time_unix_nano + entry.duration_nano;
    Request {
        number,
        is_otlp: false,
        path: "/ingest".to_owned(),
        query: vec![
            ("name", format!("{}{{{}}}", entry.service, labels.join(","))),
            ("from", (entry.time_unix_nano / SECOND).to_string()),
            ("until", (until / SECOND).to_string()),
            ("format", "pprof".to_owned()),
        ],
        content_type: "application/octet-stream",
        body: profile.bytes,
        sums: sums(&decoded),
        rows: count(decoded),
    }
}

/// Rows by table. Stacks are stored once, whoever sends them, so they are not counted.
fn count(decoded: Decoded) -> BTreeMap<Table, usize> {
    let stacks = [Table::ProfileStacks, Table::ProfileStackFrames];
    let batches = decoded.batches.into_iter().filter(|batch| !stacks.contains(&batch.table));
    let mut rows = BTreeMap::new();
    for batch in batches.filter(|batch| batch.rows.num_rows() > 0) {
        *rows.entry(batch.table).or_default() += batch.rows.num_rows();
    }
    rows
}

/// Columns that the store fills, and those of uploaded profiles that are made of the labels in the query.
const FILLED: [&str; 9] = [
    "parent_service",
    "parent_name",
    "self_time_ns",
    "callee_service",
    "callee_operation",
    "service_version",
    "service_instance_id",
    "deployment_environment_name",
    "profile_id",
];

/// The columns of a table that are summed.
pub(crate) fn summed(table: Table) -> impl Iterator<Item = &'static Column> {
    let is_summed = |column: &&Column| {
        matches!(column.kind, Kind::Int | Kind::Text) && !FILLED.contains(&column.name)
    };
    table.columns().iter().filter(is_summed)
}

fn sums(decoded: &Decoded) -> BTreeMap<Table, Sums> {
    let mut sums = BTreeMap::<Table, Sums>::new();
    for batch in decoded.batches.iter().filter(|batch| batch.rows.num_rows() > 0) {
        let rows = batch.unfolded().unwrap();
        for column in summed(batch.table) {
            let values = rows.column_by_name(column.name).unwrap();
            let sum: i128 = if column.kind == Kind::Int {
                let values = values.as_primitive::<Int64Type>();
                values.iter().flatten().map(i128::from).sum()
            } else {
                let lengths = values.as_string::<i32>().iter().flatten().map(str::len);
                lengths.sum::<usize>().try_into().unwrap()
            };
            *sums.entry(batch.table).or_default().entry(column.name).or_default() += sum;
        }
    }
    sums
}
