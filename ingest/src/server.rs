//! The doors: OTLP over gRPC and HTTP, profile uploads, deploy events, health and metrics.
//!
//! | module | is |
//! |---|---|
//! | `otlp_grpc`, `otlp_http`, `signal` | OTLP traces, metrics, logs and profiles |
//! | `profiles`, `push` | pprof: Pyroscope's `/ingest` and `Push`, and plain uploads |
//! | `deploys`, `webhook_secrets` | `POST /api/v1/deploys`, and who may send webhooks there |
//! | `health`, `exposition` | `/healthz`, `/readyz`, `/metrics` |
//! | `guard` | `Host` and `Origin` checks of every listener |
//! | [`Access`], `rate` | who sends, what it may do, and how often |
//! | `body`, `inflate`, `admission`, `memory` | reading under limits |
//! | `decoders` | the threads that decode large requests |
//! | `refusal`, `rpc_status`, `reply` | saying no in each protocol's terms |
//!
//! Architecture invariant: an acknowledgement is made in one place, after the store has the request
//! on disk; nothing else can make an `Acknowledged`, and no door answers success without one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::AsArray;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use upriver_store::batch::TableBatch;
use upriver_store::record::LogRecord;
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use crate::{Decoded, decode, pprof, record_kind};

mod access;
mod admission;
mod audit_counts;
mod body;
mod counters;
mod decoders;
mod deploys;
mod exposition;
mod guard;
mod health;
mod inflate;
mod memory;
mod otlp_grpc;
mod otlp_http;
mod parca_grpc;
mod profiles;
mod push;
mod rate;
mod refusal;
mod refusal_log;
mod reply;
mod rpc_status;
mod signal;
mod slot;
mod unread;
mod webhook_secrets;

pub use access::{Access, AccessOptions, ApiKey, DEFAULT_TENANT, KeyHash, Peer, Scope};
pub use admission::Limits;
pub use audit_counts::AuditCounts;
pub use guard::{Guard, Listener};
pub use memory::{MemoryLimits, MemoryMeter};
pub use rate::{RateLimits, Sizer};
pub use slot::StoreSlot;
pub use webhook_secrets::{DeploySecrets, WebhookSecret};

use admission::{Admission, Charge};
use counters::{Counters, Door, add};
use decoders::Decoders;
use refusal::{Class, Refusal};
use refusal_log::RefusalLog;

/// Tells the time of arrival. The servers read the clock, nothing below them does.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixNanos + Send + Sync>);

impl Clock {
    /// A clock that says what `now` says.
    pub fn new(now: impl Fn() -> UnixNanos + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The instant.
    pub fn now(&self) -> UnixNanos {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Work on more bytes than this leaves the threads that serve connections: about a millisecond of
/// decoding.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// How requests are taken.
#[derive(Clone, Debug)]
pub struct ReceiverOptions {
    /// How much is taken at a time.
    pub limits: Limits,
    /// What senders of webhooks have to know.
    pub deploy_secrets: DeploySecrets,
    /// Who may send, and how often.
    pub access: Arc<Access>,
    /// How much memory the process takes.
    pub memory: Arc<MemoryMeter>,
    /// What came of the changes that the service judged by itself.
    pub audits: Arc<AuditCounts>,
}

impl Default for ReceiverOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            deploy_secrets: DeploySecrets::default(),
            access: Access::new(AccessOptions::default()),
            memory: Arc::default(),
            audits: Arc::default(),
        }
    }
}

/// Takes requests from all doors into the stores of the tenants.
#[derive(Clone)]
pub struct Receiver {
    shared: Arc<Shared>,
    /// The store of one tenant.
    slot: Arc<StoreSlot>,
}

struct Shared {
    /// The stores of all tenants, for metrics.
    slots: BTreeMap<String, Arc<StoreSlot>>,
    access: Arc<Access>,
    memory: Arc<MemoryMeter>,
    audits: Arc<AuditCounts>,
    limits: Limits,
    deploy_secrets: DeploySecrets,
    admission: Arc<Admission>,
    decoders: Decoders,
    clock: Clock,
    counters: Counters,
    refusals: RefusalLog,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

/// A request that was let in and is still to be read.
#[derive(Debug)]
struct Arrival {
    /// When it came.
    received: UnixNanos,
    /// Its place among those in flight.
    charge: Charge,
}

/// A request read from the wire, ready to be logged.
#[derive(Debug)]
struct Upload {
    /// What is logged.
    records: Vec<LogRecord>,
    /// The memory that it takes.
    charge: Charge,
}

/// Proof that a request is durable and visible, and what of it was taken.
#[derive(Clone, Debug, Default)]
struct Acknowledged {
    /// Items in it, taken or not.
    items: u64,
    rejected: u64,
    rejected_profiles: u64,
    message: Option<String>,
    /// Ids of the changes among the rows.
    change_ids: Vec<String>,
    _only_made_here: (),
}

impl Receiver {
    /// A receiver for each tenant, whose requests go to that tenant's store. Limits and counts are
    /// shared.
    pub fn for_tenants(
        slots: &BTreeMap<String, Arc<StoreSlot>>,
        options: ReceiverOptions,
        clock: Clock,
    ) -> BTreeMap<String, Self> {
        let ReceiverOptions { limits, deploy_secrets, access, memory, audits } = options;
        let admission = Admission::new(&limits, Arc::clone(&memory));
        let counters = Counters::default();
        let slots_of_all = slots.clone();
        let shared = Arc::new(Shared {
            slots: slots_of_all,
            access,
            memory,
            audits,
            limits,
            deploy_secrets,
            admission,
            decoders: Decoders::new(),
            clock,
            counters,
            refusals: RefusalLog::default(),
        });
        let receiver =
            |slot: &Arc<StoreSlot>| Self { shared: Arc::clone(&shared), slot: Arc::clone(slot) };
        slots.iter().map(|(tenant, slot)| (tenant.clone(), receiver(slot))).collect()
    }

    /// The routes of the API listener: profiles, deploys, health and metrics.
    pub fn api_routes(&self) -> Router {
        let routes = self.profile_routes().merge(self.deploy_routes()).merge(self.health_routes());
        routes.fallback(unknown_path)
    }

    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    fn deploy_secrets(&self) -> &DeploySecrets {
        &self.shared.deploy_secrets
    }

    /// Takes one request: a place among those in flight, the body by `read`, then the store.
    async fn receive<F>(
        &self,
        door: Door,
        read: impl FnOnce(Arrival) -> F,
    ) -> Result<Acknowledged, Refusal>
    where
        F: Future<Output = Result<Upload, Refusal>>,
    {
        let taking = async {
            self.slot.open()?.admit()?;
            let charge = self.shared.admission.enter()?;
            let upload = read(Arrival { received: self.shared.clock.now(), charge }).await?;
            self.acknowledge(door, upload).await
        };
        let outcome = taking.await;
        self.shared.counters.request(door, &outcome);
        if let Err(refusal) = &outcome {
            self.shared.refusals.note(door, refusal, self.shared.clock.now());
        }
        outcome
    }

    /// Makes the request durable and visible: the one place where an [`Acknowledged`] comes from.
    /// All records are decoded before the first is logged, so that a refusal leaves nothing behind.
    async fn acknowledge(&self, door: Door, upload: Upload) -> Result<Acknowledged, Refusal> {
        let Upload { records, charge } = upload;
        let mut decoded = Vec::with_capacity(records.len());
        for record in records {
            decoded.push((record.clone(), self.decode(record).await?));
        }
        let counters = self.shared.counters.door(door);
        let mut acknowledged = Acknowledged::default();
        for (record, decoded) in decoded {
            let Decoded { batches, accepted, rejected, rejected_profiles, message } = decoded;
            add(&counters.refused, rejected);
            acknowledged.change_ids.extend(change_ids(&batches));
            if let Err(refusal) = self.append(record, batches).await {
                add(&counters.failed, accepted);
                return Err(refusal);
            }
            add(&counters.accepted, accepted);
            acknowledged.items += accepted + rejected;
            acknowledged.rejected += rejected;
            acknowledged.rejected_profiles += rejected_profiles;
            acknowledged.message = acknowledged.message.or(message);
        }
        drop(charge);
        Ok(acknowledged)
    }

    /// Profiles may be compressed inside their body, so the limit is theirs to keep as well.
    async fn decode(&self, record: LogRecord) -> Result<Decoded, Refusal> {
        let limit = self.shared.limits.http_body_bytes_max;
        let bytes = record.payload.len();
        let work = move || match record.kind {
            record_kind::PPROF => pprof::decode_within(&record, limit),
            _ => decode(&record),
        };
        Ok(self.beside(bytes, work).await??)
    }

    /// Runs `work` on `bytes` of input here when it is short, else beside the threads that serve
    /// connections.
    async fn beside<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if bytes <= INLINE_BYTES_MAX {
            return Ok(work());
        }
        self.shared.decoders.run(work).await.map_err(|error| {
            let message = format!("decoding stopped: {error}; please report this");
            Refusal::new(Class::Internal, message)
        })
    }

    /// A request without rows needs no place in the log.
    async fn append(&self, record: LogRecord, batches: Vec<TableBatch>) -> Result<(), Refusal> {
        if batches.is_empty() {
            return Ok(());
        }
        self.slot.open()?.append(record, batches).await?;
        Ok(())
    }
}

async fn unknown_path(request: Request) -> Response {
    let message = format!(
        "the path {:?} is unknown; this port takes profiles on /ingest, /api/v1/profiles, /push.v1.PusherService/Push and /profiles/writeraw, deploys on /api/v1/deploys, queries on /api/v1/query and questions on /api/v1/diagnose and /api/v1/verify; OTLP has its own ports, 4317 (gRPC) and 4318 (HTTP) by default",
        request.uri().path()
    );
    reply::api_refusal(&Refusal::new(Class::Path, message))
}

/// The ids of the changes among the rows.
fn change_ids(batches: &[TableBatch]) -> Vec<String> {
    let deploys = batches.iter().filter(|batch| batch.table == Table::Deploys);
    let ids = deploys.filter_map(|batch| batch.rows.column_by_name("id"));
    let ids = ids.filter_map(|column| column.as_string_opt::<i32>());
    ids.flat_map(|column| column.iter().flatten().map(str::to_owned)).collect()
}
