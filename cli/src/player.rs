//! Plays a scenario into a server as its senders would: OTLP/gRPC, profile upload, deploy events.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use reqwest::StatusCode;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use upriver_testdata::scenario::{ProfileFile, Slice};

/// Requests under way at once, as several exporters would have.
const REQUESTS_AT_ONCE: usize = 8;

/// A refusal that asks for it is answered by sending again, at first after this, then twice as late
/// each time, as the SDKs' exporters do.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// At the latest after this.
const RETRY_LAST: Duration = Duration::from_secs(5);
/// Then the server is taken for one that does not recover.
const RETRIES: usize = 12;

/// A connection to the doors of a server.
#[derive(Clone, Debug)]
pub(crate) struct Player {
    traces: TraceServiceClient<Channel>,
    metrics: MetricsServiceClient<Channel>,
    http: reqwest::Client,
    api: String,
}

/// What was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Requests.
    pub(crate) requests: usize,
    /// Spans.
    pub(crate) spans: usize,
    /// Profiles.
    pub(crate) profiles: usize,
    /// Deploy events.
    pub(crate) deploys: usize,
}

impl Player {
    /// Connects to a server's gRPC and API listeners.
    pub(crate) async fn connect(grpc: SocketAddr, api: SocketAddr) -> anyhow::Result<Self> {
        let channel = Channel::from_shared(format!("http://{grpc}"))?
            .connect()
            .await
            .with_context(|| format!("could not connect to OTLP/gRPC on {grpc}"))?;
        Ok(Self {
            traces: TraceServiceClient::new(channel.clone()),
            metrics: MetricsServiceClient::new(channel),
            http: reqwest::Client::builder().no_proxy().build()?,
            api: format!("http://{api}"),
        })
    }

    /// Sends everything of a slice and waits for every acknowledgement. Changes go first, as a
    /// pipeline reports them while the services start.
    pub(crate) async fn send(&self, slice: Slice, sent: &mut Sent) -> anyhow::Result<()> {
        sent.spans += slice.span_count();
        sent.profiles += slice.profiles.len();
        sent.deploys += slice.deploys.len();
        sent.requests += slice.traces.len()
            + slice.metrics.len()
            + slice.profiles.len()
            + usize::from(!slice.deploys.is_empty());
        if !slice.deploys.is_empty() {
            let request = self.http.post(format!("{}/api/v1/deploys", self.api));
            post(request.json(&slice.deploys)).await?;
        }
        let traces = slice.traces.into_iter().map(|request| async move {
            let send = || async { self.traces.clone().export(request.clone()).await };
            let answer = with_retries(send).await?;
            ensure!(answer.partial_success.is_none(), "spans were rejected: {answer:?}");
            Ok(())
        });
        stream::iter(traces).buffer_unordered(REQUESTS_AT_ONCE).try_collect::<()>().await?;
        for request in slice.metrics {
            let send = || async { self.metrics.clone().export(request.clone()).await };
            let answer = with_retries(send).await?;
            ensure!(answer.partial_success.is_none(), "data points were rejected: {answer:?}");
        }
        for profile in slice.profiles {
            self.upload(profile).await?;
        }
        Ok(())
    }

    /// Pushes a profile as Pyroscope's clients do.
    async fn upload(&self, profile: ProfileFile) -> anyhow::Result<()> {
        const NANOS_PER_SECOND: i64 = 1_000_000_000;
        let entry = profile.entry;
        let from = entry.time_unix_nano;
        let until = from + entry.duration_nano;
        let labels = entry.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let labels: Vec<_> =
            [format!("service_version={}", entry.version)].into_iter().chain(labels).collect();
        let query = [
            ("name", format!("{}{{{}}}", entry.service, labels.join(","))),
            ("from", (from / NANOS_PER_SECOND).to_string()),
            ("until", (until / NANOS_PER_SECOND).to_string()),
            ("format", "pprof".to_owned()),
            ("spyName", "gospy".to_owned()),
        ];
        let request = self
            .http
            .post(format!("{}/ingest", self.api))
            .query(&query)
            .header("content-type", "application/octet-stream")
            .body(profile.bytes);
        post(request).await
    }
}

/// Calls until the answer is not that the server is busy.
async fn with_retries<T, F>(call: impl Fn() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut delays = delays();
    loop {
        let answer = call().await;
        let is_busy = answer.as_ref().is_err_and(|status| {
            matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
        });
        match delays.next() {
            Some(delay) if is_busy => tokio::time::sleep(delay).await,
            _ => return answer.map(Response::into_inner),
        }
    }
}

/// The same over HTTP; an answer that is no success is an error.
async fn post(request: reqwest::RequestBuilder) -> anyhow::Result<()> {
    let mut delays = delays();
    loop {
        let attempt = request.try_clone().context("the body can be sent once only")?;
        let response = attempt.send().await?;
        let is_busy = matches!(
            response.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        );
        match delays.next() {
            Some(delay) if is_busy => tokio::time::sleep(delay).await,
            _ => return accepted(response).await,
        }
    }
}

fn delays() -> impl Iterator<Item = Duration> {
    let later = |delay: &Duration| Some((*delay * 2).min(RETRY_LAST));
    std::iter::successors(Some(RETRY_FIRST), later).take(RETRIES)
}

async fn accepted(response: reqwest::Response) -> anyhow::Result<()> {
    let status = response.status();
    let url = response.url().path().to_owned();
    let body = response.text().await?;
    ensure!(status.is_success(), "`{url}` answered {status}: {body}");
    Ok(())
}
