//! A real server on free ports over a real store, and a client that writes HTTP/1.1 by hand, so that
//! tests decide every header and how the body is cut.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arrow::array::RecordBatch;
use axum::{Extension, Router};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::profiles::v1development as profiles;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use upriver_ingest::server::{
    Access, AccessOptions, Clock, DEFAULT_TENANT, DeploySecrets, Guard, Limits, Listener,
    MemoryLimits, MemoryMeter, Peer, Receiver, ReceiverOptions, StoreSlot,
};
use upriver_store::schema::Table;
use upriver_store::snapshot::SnapshotSource;
use upriver_store::store::{Store, StoreOptions};
use upriver_store::time::UnixNanos;

/// 2026-05-04T12:00:00Z: when everything in these tests arrives.
pub(crate) const NOW: UnixNanos = UnixNanos(1_777_896_000_000_000_000);

/// A running server.
pub(crate) struct Server {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) slot: Arc<StoreSlot>,
    pub(crate) memory: Arc<MemoryMeter>,
    /// The routes of the gRPC listener, for calls that no client would make.
    pub(crate) grpc_routes: Router,
    _tasks: JoinSet<()>,
    _folder: TempDir,
}

/// How a server is set up; the default is what `upriver serve` has.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) deploy_secrets: DeploySecrets,
    pub(crate) access: AccessOptions,
    pub(crate) memory: MemoryLimits,
    /// Where all requests seem to come from; this machine unless given.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) hot_bytes_max: Option<usize>,
    /// Leaves the store out, as while the log is replayed.
    pub(crate) replaying: bool,
    pub(crate) hosts: Vec<String>,
    pub(crate) any_address: bool,
    pub(crate) origins: Vec<String>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let slot = StoreSlot::replaying();
        if !setup.replaying {
            slot.fill(Arc::new(open_store(&folder, setup.hot_bytes_max).await));
        }
        let access = Access::new(setup.access.clone());
        let memory = Arc::new(MemoryMeter::new(setup.memory));
        let options = ReceiverOptions {
            limits: setup.limits.clone(),
            deploy_secrets: setup.deploy_secrets.clone(),
            access: Arc::clone(&access),
            memory: Arc::clone(&memory),
            ..ReceiverOptions::default()
        };
        let slots = [(DEFAULT_TENANT.to_owned(), Arc::clone(&slot))].into();
        let receivers = Receiver::for_tenants(&slots, options, Clock::new(|| NOW));
        let peer = Peer {
            address: setup.peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            certificate: None,
        };
        let routes = |listener, of: fn(&Receiver) -> Router| {
            let tenants = receivers.iter().map(|(tenant, one)| (tenant.clone(), of(one)));
            let guard = Guard {
                listener,
                hosts: setup.hosts.clone(),
                any_address: setup.any_address,
                origins: setup.origins.clone(),
            };
            let routes = guard.protect(access.identify(listener, tenants.collect()));
            routes.layer(Extension(peer.clone()))
        };
        let mut tasks = JoinSet::new();
        let (listener, grpc) = bind().await;
        let grpc_routes = routes(Listener::OtlpGrpc, Receiver::grpc_routes);
        let calls = Routes::from(grpc_routes.clone());
        tasks.spawn(async move {
            let server = tonic::transport::Server::builder().accept_http1(true).add_routes(calls);
            server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
        });
        let (listener, http) = bind().await;
        let otlp = routes(Listener::OtlpHttp, Receiver::otlp_http_routes);
        tasks.spawn(async move { axum::serve(listener, otlp).await.unwrap() });
        let (listener, api) = bind().await;
        let rest = routes(Listener::Api, Receiver::api_routes);
        tasks.spawn(async move { axum::serve(listener, rest).await.unwrap() });
        Self { grpc, http, api, slot, memory, grpc_routes, _tasks: tasks, _folder: folder }
    }

    /// Rows of a table that a query would see.
    pub(crate) fn rows(&self, table: Table) -> usize {
        self.slot.snapshot().table(table).hot.iter().map(RecordBatch::num_rows).sum()
    }

    /// Rows of all tables.
    pub(crate) fn all_rows(&self) -> usize {
        Table::ALL.into_iter().map(|table| self.rows(table)).sum()
    }

    /// Rows of a table as text.
    pub(crate) fn slot_rows(&self, table: Table) -> Vec<String> {
        let snapshot = self.slot.snapshot().table(table);
        let lines = arrow::util::pretty::pretty_format_batches(&snapshot.hot).unwrap().to_string();
        lines.lines().skip(3).map(str::to_owned).collect()
    }

    /// Sends a good request and sees its span: the server is alive.
    pub(crate) async fn assert_alive(&self) {
        let before = self.rows(Table::Spans);
        let answer = Request::post("/v1/traces")
            .header("content-type", "application/x-protobuf")
            .body(&traces(1))
            .send(self.http)
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(self.rows(Table::Spans), before + 1);
    }
}

async fn open_store(folder: &TempDir, hot_bytes_max: Option<usize>) -> Store {
    let mut options =
        StoreOptions { data: folder.path().to_owned().into(), ..StoreOptions::default() };
    options.hot_bytes_max = hot_bytes_max.unwrap_or(options.hot_bytes_max);
    Store::open(options, upriver_ingest::replay()).await.unwrap()
}

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    host: Option<String>,
    body: Vec<u8>,
    chunked: bool,
    /// How many bytes the client says it sends; more than it does where the test wants it so.
    content_length: Option<usize>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            host: Some("localhost".to_owned()),
            body: Vec::new(),
            chunked: false,
            content_length: None,
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn host(mut self, host: Option<&str>) -> Self {
        self.host = host.map(str::to_owned);
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Sends the body in chunks, without a Content-Length, as Node's exporters do.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    pub(crate) fn content_length(mut self, bytes: usize) -> Self {
        self.content_length = Some(bytes);
        self
    }

    pub(crate) async fn send(self, address: SocketAddr) -> Answer {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let bytes = self.bytes();
        // The server may answer and close before it has read everything.
        let writing = async {
            let _sent = writer.write_all(&bytes).await;
        };
        let mut answer = Vec::new();
        let reading = async {
            let _closed = reader.read_to_end(&mut answer).await;
        };
        tokio::join!(writing, reading);
        Answer::parse(&answer)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        let mut header = |name: &str, value: &str| {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        };
        if let Some(host) = &self.host {
            header("Host", host);
        }
        for (name, value) in &self.headers {
            header(name, value);
        }
        header("Connection", "close");
        if self.chunked {
            header("Transfer-Encoding", "chunked");
        } else if self.method != "GET" {
            header("Content-Length", &self.content_length.unwrap_or(self.body.len()).to_string());
        }
        bytes.extend_from_slice(b"\r\n");
        if self.chunked {
            for chunk in self.body.chunks(1000) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// What the server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let split = split.unwrap_or_else(|| panic!("no answer: {}", bytes.escape_ascii()));
        let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Self { status, head, body: bytes[split + 4..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = dechunk(&answer.body);
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `google.rpc.Status` of a refusal, in whatever encoding it came.
    pub(crate) fn rpc_status(&self) -> RpcStatus {
        if self.header("content-type") == Some("application/x-protobuf") {
            return RpcStatus::decode(&self.body[..]).unwrap();
        }
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let json = self.json();
        RpcStatus {
            code: i32::try_from(json["code"].as_i64().unwrap()).unwrap(),
            message: json["message"].as_str().unwrap().to_owned(),
            details: Vec::new(),
        }
    }
}

fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
}

/// `google.rpc.Status` as googleapis defines it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<RpcDetail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcDetail {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// A request with this many spans.
pub(crate) fn traces(spans: u8) -> Vec<u8> {
    let span = |i: u8| Span {
        trace_id: vec![i + 1; 16],
        span_id: vec![i + 1; 8],
        name: "GET /cart".into(),
        kind: 2,
        start_time_unix_nano: 1_777_896_000_000_000_000,
        end_time_unix_nano: 1_777_896_000_010_000_000,
        ..Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(service("cart")),
            scope_spans: vec![ScopeSpans {
                spans: (0..spans).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}

/// A request with one number.
pub(crate) fn metrics() -> Vec<u8> {
    let point = NumberDataPoint {
        time_unix_nano: 1_777_896_000_000_000_000,
        value: Some(number_data_point::Value::AsInt(7)),
        ..NumberDataPoint::default()
    };
    let gauge = Metric {
        name: "queue.depth".into(),
        data: Some(metric::Data::Gauge(Gauge { data_points: vec![point] })),
        ..Metric::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(service("cart")),
            scope_metrics: vec![ScopeMetrics { metrics: vec![gauge], ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
    .encode_to_vec()
}

/// A request with this many log records.
pub(crate) fn logs(records: u8) -> Vec<u8> {
    let record = |i: u8| LogRecord {
        time_unix_nano: 1_777_896_000_000_000_000,
        body: Some(AnyValue { value: Some(any_value::Value::StringValue("cart is empty".into())) }),
        trace_id: vec![i + 1; 16],
        span_id: vec![i + 1; 8],
        ..LogRecord::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(service("cart")),
            scope_logs: vec![ScopeLogs {
                log_records: (0..records).map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
    .encode_to_vec()
}

/// A request with a profile of one sample on each of these stacks; the dictionary has stack 0.
pub(crate) fn otlp_profiles(stacks: &[i32]) -> Vec<u8> {
    let profile = |stack_index: &i32| profiles::Profile {
        sample_type: Some(profiles::ValueType { type_strindex: 1, unit_strindex: 2 }),
        samples: vec![profiles::Sample {
            stack_index: *stack_index,
            values: vec![7],
            ..profiles::Sample::default()
        }],
        time_unix_nano: 1_777_896_000_000_000_000,
        ..profiles::Profile::default()
    };
    let scope_profiles = vec![profiles::ScopeProfiles {
        profiles: stacks.iter().map(profile).collect(),
        ..profiles::ScopeProfiles::default()
    }];
    ExportProfilesServiceRequest {
        resource_profiles: vec![profiles::ResourceProfiles {
            resource: Some(service("cart")),
            scope_profiles,
            ..profiles::ResourceProfiles::default()
        }],
        dictionary: Some(profiles::ProfilesDictionary {
            string_table: ["", "samples", "count"].map(str::to_owned).into(),
            stack_table: vec![profiles::Stack::default()],
            ..profiles::ProfilesDictionary::default()
        }),
    }
    .encode_to_vec()
}

fn service(name: &str) -> Resource {
    let value = AnyValue { value: Some(any_value::Value::StringValue(name.into())) };
    let attribute =
        KeyValue { key: "service.name".into(), value: Some(value), ..KeyValue::default() };
    Resource { attributes: vec![attribute], ..Resource::default() }
}

/// The body as gzip.
pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}
