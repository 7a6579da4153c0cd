//! A running server: three listeners, the store and the queries behind them, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use upriver_analyze::http::QueryService;
use upriver_ingest::server::{Clock, Guard, Listener, Receiver, StoreSlot};
use upriver_store::snapshot::SnapshotSource;
use upriver_store::store::Store;
use upriver_store::time::UnixNanos;

use super::queries::{QueryThreads, when_ready};
use crate::api::Diagnostics;
use crate::config::{Endpoint, ServeSettings};
use crate::error::Advise;

/// How long requests in progress may take to end after the signal to stop: the longest time for a
/// body to arrive is cut short, an orderly orchestrator waits 30 s before it kills.
const DRAIN: Duration = Duration::from_secs(10);
/// Bytes of a gRPC request that may be under way before the receiver answers: a whole usual batch,
/// where the protocol's 64 KiB would cost a round trip each.
const GRPC_WINDOW_BYTES: u32 = 1 << 20;
/// Exports that one gRPC connection may have open. Exporters use one to a few dozen.
const GRPC_STREAMS_MAX: u32 = 256;
/// A connection whose other end is gone is found out after this time without traffic.
const GRPC_KEEPALIVE: Duration = Duration::from_mins(1);

/// A server that listens, and how to end it.
#[derive(Debug)]
pub(crate) struct RunningServer {
    /// Where OTLP/gRPC listens.
    pub(crate) grpc: SocketAddr,
    /// Where OTLP/HTTP listens.
    pub(crate) otlp_http: SocketAddr,
    /// Where profiles, deploys, SQL, health and metrics listen.
    pub(crate) api: SocketAddr,
    /// The open store.
    pub(crate) store: Arc<Store>,
    slot: Arc<StoreSlot>,
    listeners: Listeners,
    commits: JoinSet<()>,
    commits_stop: CancellationToken,
    _queries: QueryThreads,
}

/// Opens the doors, then the store: until its log is replayed, senders are told to come back.
pub(crate) async fn start(settings: ServeSettings) -> anyhow::Result<RunningServer> {
    let slot = StoreSlot::replaying();
    let queries = QueryThreads::start()?;
    let listeners = Listeners::open(&settings, &slot, &queries).await?;
    let [grpc, otlp_http, api] = listeners.addresses;
    tracing::info!(name: "server.listeners.open", %grpc, %otlp_http, %api, "server.listeners.open");

    let folder = settings.store.data.display().to_string();
    let store = Store::open(settings.store, upriver_ingest::replay())
        .await
        .with_context(|| format!("could not open the data folder `{folder}`"))?;
    let store = Arc::new(store);
    slot.fill(Arc::clone(&store));
    tracing::info!(name: "server.store.open", folder, "server.store.open");

    let commits_stop = CancellationToken::new();
    let mut commits = JoinSet::new();
    let (committing, stop) = (Arc::clone(&store), commits_stop.clone());
    let clock = system_clock();
    commits.spawn(async move { committing.run(|| clock.now(), stop.cancelled_owned()).await });
    Ok(RunningServer {
        grpc,
        otlp_http,
        api,
        store,
        slot,
        listeners,
        commits,
        commits_stop,
        _queries: queries,
    })
}

impl RunningServer {
    /// Takes no new connections, lets requests in progress end, commits what was acknowledged and
    /// closes the store.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.listeners.drain().await;
        self.commits_stop.cancel();
        while self.commits.join_next().await.is_some() {}
        drop(self.slot.stop());
        self.store.close().await.context("could not close the store")?;
        tracing::info!(name: "server.store.close", "server.store.close");
        Ok(())
    }
}

/// The three listeners.
#[derive(Debug)]
struct Listeners {
    addresses: [SocketAddr; 3],
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Listeners {
    async fn open(
        settings: &ServeSettings,
        slot: &Arc<StoreSlot>,
        queries: &QueryThreads,
    ) -> anyhow::Result<Self> {
        let receiver = Receiver::new(Arc::clone(slot), settings.receiver_options(), system_clock());
        let (grpc, grpc_address) = bind(&settings.grpc, "--otlp-grpc").await?;
        let (http, http_address) = bind(&settings.otlp_http, "--otlp-http").await?;
        let (api, api_address) = bind(&settings.api, "--api").await?;
        let guard = |listener, endpoint: &Endpoint| Guard {
            listener,
            hosts: settings.allowed_hosts.clone(),
            any_address: !endpoint.address.ip().is_loopback(),
            origins: endpoint.origins.clone(),
        };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let routes = guard(Listener::OtlpGrpc, &settings.grpc).protect(receiver.grpc_routes());
        tasks.spawn(serve_grpc(grpc, routes, stop.clone()));
        let routes =
            guard(Listener::OtlpHttp, &settings.otlp_http).protect(receiver.otlp_http_routes());
        tasks.spawn(serve_http(http, routes, stop.clone()));
        let routes = api_routes(settings, &receiver, slot, queries)?;
        let routes = guard(Listener::Api, &settings.api).protect(routes);
        tasks.spawn(serve_http(api, routes, stop.clone()));
        Ok(Self { addresses: [grpc_address, http_address, api_address], tasks, stop })
    }

    /// Ends accepting and waits for requests in progress; those that take too long are cut off.
    async fn drain(&mut self) {
        self.stop.cancel();
        let drained = tokio::time::timeout(DRAIN, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Err(error)) = ended {
                    tracing::warn!(name: "server.listener.fail", %error, "server.listener.fail");
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!(name: "server.requests.abort", seconds = DRAIN.as_secs(), "server.requests.abort: they took too long to end");
        }
        self.tasks.shutdown().await;
    }
}

fn api_routes(
    settings: &ServeSettings,
    receiver: &Receiver,
    slot: &Arc<StoreSlot>,
    queries: &QueryThreads,
) -> anyhow::Result<Router> {
    let source: Arc<dyn SnapshotSource> = Arc::<StoreSlot>::clone(slot);
    let service = QueryService::new(source, settings.query.clone(), queries.handle())
        .context("could not prepare queries")?;
    let diagnostics = Diagnostics::new(
        Arc::clone(slot),
        settings.query.clone(),
        queries.handle(),
        system_clock(),
    )?;
    let reading = upriver_analyze::http::routes(service).merge(diagnostics.routes());
    Ok(receiver.api_routes().merge(when_ready(reading, slot)))
}

async fn bind(endpoint: &Endpoint, flag: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let address = endpoint.address;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| anyhow!("could not listen on {address}: {error}"));
    let listener = listener.hint(format!(
        "another server may be running; stop it, or choose another address with `{flag} ADDRESS`"
    ))?;
    let bound = listener.local_addr().context("could not read the bound address")?;
    Ok((listener, bound))
}

async fn serve_grpc(
    listener: TcpListener,
    routes: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    tonic::transport::Server::builder()
        // Plain HTTP is answered with what this port is for.
        .accept_http1(true)
        .initial_stream_window_size(GRPC_WINDOW_BYTES)
        .initial_connection_window_size(4 * GRPC_WINDOW_BYTES)
        .max_concurrent_streams(GRPC_STREAMS_MAX)
        .http2_keepalive_interval(Some(GRPC_KEEPALIVE))
        .add_routes(Routes::from(routes))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.cancelled_owned(),
        )
        .await
        .context("the OTLP/gRPC listener failed")
}

async fn serve_http(
    listener: TcpListener,
    routes: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(name: "server.connection.slow", %error, "server.connection.slow");
        }
    });
    axum::serve(listener, routes)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("an HTTP listener failed")
}

/// Nanoseconds since 1970 by the system's clock; before 1970 it is 0.
#[expect(clippy::disallowed_methods, reason = "the server is where the clock is read")]
fn system_clock() -> Clock {
    Clock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixNanos::from_wire(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    })
}

#[cfg(test)]
mod tests;
