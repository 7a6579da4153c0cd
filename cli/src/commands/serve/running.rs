//! A running server: three listeners, the stores of all tenants and the queries behind them, and an
//! orderly end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use upriver_analyze::http::QueryService;
use upriver_ingest::server::{
    Access, AuditCounts, DEFAULT_TENANT, Guard, Listener, MemoryMeter, Receiver, ReceiverOptions,
    Scope, StoreSlot,
};
use upriver_store::snapshot::SnapshotSource;
use upriver_store::store::{Store, StoreOptions};

use super::audits::Auditor;
use super::queries::{QueryThreads, when_ready};
use super::tls::Tls;
use super::{connections, memory, own_profile};
use crate::api::Diagnostics;
use crate::config::{Endpoint, ServeSettings};
use crate::environment::system_clock;
use crate::error::Advise;

/// How long requests in progress may take to end after the signal to stop: the longest time for a
/// body to arrive is cut short, an orderly orchestrator waits 30 s before it kills.
const DRAIN: Duration = Duration::from_secs(10);

/// Where the store of each tenant will be.
type Slots = BTreeMap<String, Arc<StoreSlot>>;

/// A server that listens, and how to end it.
#[derive(Debug)]
pub(crate) struct RunningServer {
    /// Where OTLP/gRPC listens.
    pub(crate) grpc: SocketAddr,
    /// Where OTLP/HTTP listens.
    pub(crate) otlp_http: SocketAddr,
    /// Where profiles, deploys, SQL, health and metrics listen.
    pub(crate) api: SocketAddr,
    stores: Vec<Arc<Store>>,
    slots: Slots,
    listeners: Listeners,
    upkeep: JoinSet<()>,
    upkeep_stop: CancellationToken,
    _queries: QueryThreads,
}

/// Opens the doors, then the stores: until their logs are replayed, senders are told to come back.
pub(crate) async fn start(settings: ServeSettings) -> anyhow::Result<RunningServer> {
    let tenants = Access::tenants(&settings.access);
    let slots: Slots = tenants.into_iter().map(|tenant| (tenant, StoreSlot::replaying())).collect();
    let queries = QueryThreads::start()?;
    let meter = Arc::new(MemoryMeter::new(memory::limits(settings.memory)));
    let audits = Arc::new(AuditCounts::default());
    let counted = Counted { meter: Arc::clone(&meter), audits: Arc::clone(&audits) };
    let listeners = Listeners::open(&settings, &slots, &queries, counted).await?;
    let [grpc, otlp_http, api] = listeners.addresses;
    tracing::info!(name: "server.listeners.open", %grpc, %otlp_http, %api, "server.listeners.open");

    let upkeep_stop = CancellationToken::new();
    let mut upkeep = JoinSet::new();
    upkeep.spawn(memory::watch(Arc::clone(&meter), upkeep_stop.clone()));
    let mut stores = Vec::new();
    for (tenant, slot) in &slots {
        let store = open_store(&settings.store, tenant).await?;
        slot.fill(Arc::clone(&store));
        tracing::info!(name: "server.store.open", tenant, "server.store.open");
        let (committing, stop) = (Arc::clone(&store), upkeep_stop.clone());
        let clock = system_clock();
        upkeep.spawn(async move { committing.run(|| clock.now(), stop.cancelled_owned()).await });
        let (keeping, stop, clock) = (Arc::clone(&store), upkeep_stop.clone(), system_clock());
        upkeep.spawn(async move { keeping.keep(|| clock.now(), stop.cancelled_owned()).await });
        let (following, stop) = (Arc::clone(&store), upkeep_stop.clone());
        upkeep.spawn(async move { following.follow(stop.cancelled_owned()).await });
        upkeep.spawn(memory::relieve(Arc::clone(&store), Arc::clone(&meter), upkeep_stop.clone()));
        if settings.deploy_audits {
            let (slot, options) = (Arc::clone(slot), settings.query.clone());
            let auditor = Auditor::new(tenant, slot, options, Arc::clone(&audits))?;
            upkeep.spawn(auditor.run(system_clock(), queries.handle(), upkeep_stop.clone()));
        }
        stores.push(store);
    }
    Ok(RunningServer {
        grpc,
        otlp_http,
        api,
        stores,
        slots,
        listeners,
        upkeep,
        upkeep_stop,
        _queries: queries,
    })
}

/// The store of a tenant: tables in a folder of its own, and a log of its own in the log's folder.
async fn open_store(options: &StoreOptions, tenant: &str) -> anyhow::Result<Arc<Store>> {
    let folder = options.data.to_string();
    let options = options.clone().for_tenant(tenant);
    let store = Store::open(options, upriver_ingest::replay()).await;
    store.map(Arc::new).with_context(|| format!("could not open tenant `{tenant}` in `{folder}`"))
}

impl RunningServer {
    /// Takes no new connections, lets requests in progress end, commits what was acknowledged and
    /// closes the stores.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.listeners.drain().await;
        self.upkeep_stop.cancel();
        while self.upkeep.join_next().await.is_some() {}
        for slot in self.slots.values() {
            drop(slot.stop());
        }
        let mut closed = Ok(());
        for store in &self.stores {
            closed = closed.and(store.close().await.context("could not close a store"));
        }
        closed?;
        tracing::info!(name: "server.store.close", "server.store.close");
        Ok(())
    }
}

/// What the receivers count or show beside what they take.
struct Counted {
    meter: Arc<MemoryMeter>,
    audits: Arc<AuditCounts>,
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
        slots: &Slots,
        queries: &QueryThreads,
        counted: Counted,
    ) -> anyhow::Result<Self> {
        let access = Access::new(settings.access.clone());
        let options = ReceiverOptions {
            limits: settings.limits.clone(),
            deploy_secrets: settings.deploy_secrets.clone(),
            access: Arc::clone(&access),
            memory: counted.meter,
            audits: counted.audits,
        };
        let receivers = Receiver::for_tenants(slots, options, system_clock());
        let mut api = BTreeMap::new();
        for (tenant, slot) in slots {
            let reading = reading_routes(settings, slot, queries)?;
            let reading = when_ready(reading, slot);
            // The process belongs to whoever runs the service: to the default tenant.
            let reading = match tenant.as_str() {
                DEFAULT_TENANT => reading.merge(own_profile::routes()),
                _ => reading,
            };
            api.insert(tenant, access.require(Listener::Api, Scope::Read, reading));
        }
        let grpc = bind(&settings.grpc, "--otlp-grpc").await?;
        let http = bind(&settings.otlp_http, "--otlp-http").await?;
        let rest = bind(&settings.api, "--api").await?;
        let addresses = [grpc.1, http.1, rest.1];
        let routes_of = |listener: Listener, (tenant, receiver): (&String, &Receiver)| {
            let routes = match listener {
                Listener::OtlpGrpc => receiver.grpc_routes(),
                Listener::OtlpHttp => receiver.otlp_http_routes(),
                Listener::Api => {
                    receiver.api_routes().merge(api.get(tenant).cloned().unwrap_or_default())
                }
            };
            (tenant.clone(), routes)
        };
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        for (listener, socket, endpoint) in [
            (Listener::OtlpGrpc, grpc.0, &settings.grpc),
            (Listener::OtlpHttp, http.0, &settings.otlp_http),
            (Listener::Api, rest.0, &settings.api),
        ] {
            let routes = receivers.iter().map(|of_tenant| routes_of(listener, of_tenant)).collect();
            let routes = access.identify(listener, routes);
            let routes = guard(settings, listener, endpoint).protect(routes);
            let tls = endpoint.tls.clone().map(Tls::load).transpose();
            let tls = tls.with_context(|| format!("cannot encrypt {}", endpoint.address))?;
            if let Some(tls) = &tls {
                let renewing = Arc::clone(tls).renew(stop.clone());
                tasks.spawn(async move {
                    renewing.await;
                    Ok(())
                });
            }
            tasks.spawn(connections::serve(socket, tls, routes, stop.clone()));
        }
        Ok(Self { addresses, tasks, stop })
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

fn guard(settings: &ServeSettings, listener: Listener, endpoint: &Endpoint) -> Guard {
    Guard {
        listener,
        hosts: settings.allowed_hosts.clone(),
        any_address: !endpoint.address.ip().is_loopback(),
        origins: endpoint.origins.clone(),
    }
}

/// Queries and questions over one tenant's tables.
fn reading_routes(
    settings: &ServeSettings,
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
    Ok(upriver_analyze::http::routes(service).merge(diagnostics.routes()))
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

#[cfg(test)]
mod tests;
