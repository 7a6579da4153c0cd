//! What a running server spends on spans, beside plain prost decoding of the same bytes in the same
//! run: `./bench.sh ingest`.
//!
//! CPU time is of the server's process (`/proc/PID/stat`), so that the sender, on the same machine, is
//! not counted. Bursts that fit the hot buffer tell what an acknowledgement costs and what
//! the first query after it; a long run under full load tells what rows cost until they are committed.

#![expect(clippy::print_stdout, reason = "a program that prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "measuring takes a clock")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes};
use clap::Parser;
use mimalloc::MiMalloc;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use upriver_testdata::load::Template;

/// The server's allocator too, so that the comparison is of decoders.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const TEMPLATES: u64 = 16;
/// Spans of a burst: rows of 33 MB, less than a server keeps before it commits early.
const BURST_SPANS: usize = 40_000;
const WARM_UP_SPANS: usize = 10_000;
/// The kernel reports times to programs in hundredths of a second.
const NANOS_PER_TICK: u64 = 10_000_000;
const PATIENCE: Duration = Duration::from_mins(2);

/// CPU time per million spans, memory and bytes per span of `upriver serve`.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server to measure, a release build.
    #[arg(long, value_name = "FILE", default_value = "target/release/upriver")]
    binary: PathBuf,
    /// Spans of the long run.
    #[arg(long, default_value_t = 1_000_000)]
    spans: usize,
    /// Bursts before it.
    #[arg(long, default_value_t = 5)]
    bursts: u64,
    /// Spans of a request.
    #[arg(long, default_value_t = 500)]
    request_spans: usize,
    /// Requests in flight.
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// Folder on the disk to measure; a fresh folder in it is used and removed.
    #[arg(long, value_name = "DIR", default_value = "target")]
    disk: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let start = u64::try_from(now.as_nanos())?;
    let templates: Vec<_> =
        (0..TEMPLATES).map(|seed| Template::new(seed, arguments.request_spans, start)).collect();
    let bytes = templates[0].body(0).len() / arguments.request_spans;
    println!("requests of {} spans, {bytes} bytes a span", arguments.request_spans);
    let load = Arc::new(Load { templates, number: AtomicU64::new(0) });
    let prost = prost_micros(&load)?;
    println!("prost decode of the same bytes   {prost:6.2} us of CPU per span");
    for transport in [Transport::Grpc, Transport::Http] {
        measure(&arguments, transport, &load, prost).await?;
    }
    println!("prost decode, once more          {:6.2} us of CPU per span", prost_micros(&load)?);
    Ok(())
}

/// Requests, each with ids of its own.
struct Load {
    templates: Vec<Template>,
    number: AtomicU64,
}

impl Load {
    fn next(&self) -> Bytes {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let template = number % self.templates.len() as u64;
        let index = usize::try_from(template).expect("fewer templates than memory");
        self.templates[index].body(number).into()
    }
}

/// Microseconds of this thread per span of plain decoding into structs, which are dropped.
fn prost_micros(load: &Load) -> Result<f64> {
    const ROUNDS: usize = 400;
    let bodies: Vec<_> = (0..TEMPLATES).map(|_| load.next()).collect();
    let path = format!("/proc/self/task/{}/schedstat", thread_id()?);
    let mut spans = 0;
    let before = nanos_of(Path::new(&path))?;
    for round in 0..ROUNDS {
        let request = ExportTraceServiceRequest::decode(&bodies[round % bodies.len()][..])?;
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        spans += scopes.map(|scope| scope.spans.len()).sum::<usize>();
    }
    let took = nanos_of(Path::new(&path))? - before;
    Ok(took as f64 / spans as f64 / 1_000.0)
}

fn thread_id() -> Result<String> {
    let link = fs::read_link("/proc/thread-self")?;
    let name = link.file_name().context("the thread has no number")?;
    Ok(name.to_string_lossy().into_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Grpc,
    Http,
}

async fn measure(
    arguments: &Arguments,
    transport: Transport,
    load: &Arc<Load>,
    prost: f64,
) -> Result<()> {
    let per_span = |nanos: u64, spans: usize| nanos as f64 / spans as f64 / 1_000.0;
    let say = |what: &str, micros: f64| {
        println!(
            "{transport:?}: {what:26} {micros:6.2} us of CPU per span, {:.2} of prost",
            micros / prost
        );
    };
    let server = Server::start(arguments).await?;
    let send = |spans| server.send(transport, load, spans, arguments);
    send(WARM_UP_SPANS).await?;
    server.committed().await?;
    let (mut acknowledged, mut queryable) = (0, 0);
    let mut spans = 0;
    for _ in 0..arguments.bursts {
        let before = server.cpu_nanos()?;
        spans += send(BURST_SPANS).await?;
        let acked = server.cpu_nanos()?;
        server.query("SELECT count(*) FROM spans").await?;
        acknowledged += acked - before;
        queryable += server.cpu_nanos()? - acked;
        server.committed().await?;
    }
    if spans > 0 {
        say("acknowledged", per_span(acknowledged, spans));
        say("and then queried", per_span(acknowledged + queryable, spans));
    }

    let before = (server.cpu_nanos()?, server.bytes()?, server.table_bytes("spans")?);
    let began = Instant::now();
    let spans = send(arguments.spans).await?;
    let sent = began.elapsed();
    server.committed().await?;
    let took = server.cpu_nanos()? - before.0;
    say("committed, full load", per_span(took, spans));
    let rate = spans as f64 / sent.as_secs_f64();
    println!(
        "{transport:?}: {rate:.0} spans/s acknowledged, all committed after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let bytes = |now: u64, before: u64| (now - before) as f64 / spans as f64;
    println!(
        "{transport:?}: peak memory {} MiB; {:.1} bytes a span in `spans`, {:.1} in all tables",
        server.peak_mib()?,
        bytes(server.table_bytes("spans")?, before.2),
        bytes(server.bytes()?, before.1),
    );
    server.stop()
}

/// A running server and its folder.
struct Server {
    process: Child,
    folder: PathBuf,
    grpc: String,
    http: String,
    api: String,
    client: reqwest::Client,
}

impl Server {
    async fn start(arguments: &Arguments) -> Result<Self> {
        let folder = arguments.disk.join(format!("bench-ingest-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let addresses = folder.join("addresses.json");
        let free = "127.0.0.1:0";
        let log = fs::File::create(folder.join("log"))?;
        let process = Command::new(&arguments.binary)
            .args(["serve", "--otlp-grpc", free, "--otlp-http", free, "--api", free])
            .arg("--data")
            .arg(folder.join("data"))
            .arg("--addresses-file")
            .arg(&addresses)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", arguments.binary.display()))?;
        let began = Instant::now();
        let text = loop {
            if let Ok(text) = fs::read_to_string(&addresses) {
                break text;
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "the server does not listen; see its log in {}",
                folder.display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let addresses: serde_json::Value = serde_json::from_str(&text)?;
        let url = |name: &str| format!("http://{}", addresses[name].as_str().unwrap_or_default());
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self {
            process,
            folder,
            grpc: url("grpc"),
            http: url("otlp_http"),
            api: url("api"),
            client,
        })
    }

    /// Sends at least this many spans from several senders at once; what is refused is sent again.
    async fn send(
        &self,
        transport: Transport,
        load: &Arc<Load>,
        spans: usize,
        arguments: &Arguments,
    ) -> Result<usize> {
        let requests = spans.div_ceil(arguments.request_spans);
        let left = Arc::new(AtomicU64::new(requests as u64));
        let mut senders = JoinSet::new();
        for _ in 0..arguments.senders {
            let (load, left) = (Arc::clone(load), Arc::clone(&left));
            let sender = Sender::connect(transport, self).await?;
            senders.spawn(async move {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                    .is_ok()
                {
                    sender.send(load.next()).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = senders.join_next().await {
            done??;
        }
        Ok(requests * arguments.request_spans)
    }

    async fn query(&self, sql: &str) -> Result<()> {
        let request = self.client.post(format!("{}/api/v1/query", self.api));
        let answer = request.json(&serde_json::json!({ "q": sql })).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        answer.bytes().await?;
        Ok(())
    }

    /// Waits until no row is uncommitted.
    async fn committed(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let page =
                self.client.get(format!("{}/metrics", self.api)).send().await?.text().await?;
            let rows = page.lines().find(|line| line.starts_with("upriver_store_hot_rows{"));
            match rows.and_then(|line| line.rsplit(' ').next()) {
                Some("0") => return Ok(()),
                Some(_) => tokio::time::sleep(Duration::from_millis(250)).await,
                None => bail!("/metrics has no upriver_store_hot_rows"),
            }
        }
        bail!("rows are still not committed after {} s", PATIENCE.as_secs())
    }

    /// CPU time of all threads, ended ones too, in steps of 10 ms.
    fn cpu_nanos(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name before may hold spaces; user and system time are the 12th and 13th field after it.
        let (_, fields) = text.rsplit_once(") ").context("/proc/PID/stat has no name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(ticks.sum::<Result<u64, _>>()? * NANOS_PER_TICK)
    }

    fn peak_mib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
        Ok(kib.parse::<u64>()? / 1_024)
    }

    fn bytes(&self) -> Result<u64> {
        parquet_bytes(&self.folder.join("data/default"))
    }

    fn table_bytes(&self, table: &str) -> Result<u64> {
        parquet_bytes(&self.folder.join("data/default").join(table))
    }

    fn stop(mut self) -> Result<()> {
        let id = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        let status = tokio::task::block_in_place(|| self.process.wait())?;
        ensure!(status.success(), "the server ended with {status}; see {}", self.folder.display());
        fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended in the ordinary case.
        let _ended = self.process.kill();
    }
}

/// On CPU, by the scheduler's count.
fn nanos_of(schedstat: &Path) -> Result<u64> {
    let text = fs::read_to_string(schedstat)?;
    let nanos = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(nanos.parse()?)
}

fn parquet_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    let Ok(entries) = fs::read_dir(folder) else { return Ok(0) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += parquet_bytes(&entry.path())?;
        } else if entry.path().extension().is_some_and(|extension| extension == "parquet") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// One connection.
enum Sender {
    Grpc(tonic::client::Grpc<tonic::transport::Channel>),
    Http(reqwest::Client, String),
}

impl Sender {
    async fn connect(transport: Transport, server: &Server) -> Result<Self> {
        Ok(match transport {
            Transport::Grpc => {
                let channel = Endpoint::from_shared(server.grpc.clone())?.connect().await?;
                Self::Grpc(tonic::client::Grpc::new(channel))
            }
            Transport::Http => {
                Self::Http(reqwest::Client::builder().no_proxy().build()?, server.http.clone())
            }
        })
    }

    async fn send(&self, body: Bytes) -> Result<()> {
        while !self.try_send(body.clone()).await? {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Whether it was acknowledged; not where the server says to come again.
    async fn try_send(&self, body: Bytes) -> Result<bool> {
        match self {
            Self::Grpc(client) => {
                let mut client = client.clone();
                client.ready().await?;
                let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
                let answer =
                    client.unary(tonic::Request::new(body), path.parse()?, BytesCodec).await;
                match answer {
                    Ok(_) => Ok(true),
                    Err(status) if is_retryable(status.code()) => Ok(false),
                    Err(status) => Err(status.into()),
                }
            }
            Self::Http(client, url) => {
                let request = client.post(format!("{url}/v1/traces")).body(body);
                let request = request.header("content-type", "application/x-protobuf");
                let answer = request.send().await?;
                let status = answer.status();
                answer.bytes().await?;
                match status.as_u16() {
                    200 => Ok(true),
                    429 | 503 => Ok(false),
                    _ => bail!("the server answered {status}"),
                }
            }
        }
    }
}

fn is_retryable(code: tonic::Code) -> bool {
    matches!(code, tonic::Code::Unavailable | tonic::Code::ResourceExhausted)
}

/// Messages as they are.
#[derive(Clone, Copy, Debug)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
