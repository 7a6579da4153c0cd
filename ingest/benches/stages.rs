//! What a span costs from the bytes of its request until it is in the tables, stage by stage, beside
//! prost's decoding of the same bytes in the same run: `./bench.sh stages`. CPU time of all threads of
//! the process; no transport.

#![expect(clippy::print_stdout, reason = "a program that prints what it measured")]

use std::fs;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result};
use mimalloc::MiMalloc;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::task::JoinSet;
use upriver_ingest::{decode, record_kind, replay};
use upriver_store::record::LogRecord;
use upriver_store::snapshot::SnapshotSource;
use upriver_store::store::{Store, StoreOptions};
use upriver_store::time::UnixNanos;
use upriver_testdata::load::Template;

/// The server's allocator, for both sides.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const RECEIVED: UnixNanos = UnixNanos(1_795_226_603_510_000_123);
const REQUEST_SPANS: usize = 500;
/// Requests that are committed together: rows of 33 MB, less than a server commits early.
const REQUESTS: u64 = 80;
const COMMITS: u64 = 8;
/// Requests that wait for one sync of the log.
const SENDERS: usize = 8;
/// The kernel reports times to programs in hundredths of a second.
const NANOS_PER_TICK: u64 = 10_000_000;

#[tokio::main]
async fn main() -> Result<()> {
    let templates: Vec<_> = (0..16)
        .map(|seed| Template::new(seed, REQUEST_SPANS, RECEIVED.0.cast_unsigned()))
        .collect();
    let body = |number: u64| {
        let place = usize::try_from(number % templates.len() as u64).unwrap_or(0);
        templates[place].body(number)
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let options = StoreOptions { data: folder.path().to_owned().into(), ..StoreOptions::default() };
    let store = Arc::new(Store::open(options, replay()).await?);
    let mut stages = Stages::default();
    for commit in 0..=COMMITS {
        // The first one warms up.
        if commit == 1 {
            stages = Stages::default();
        }
        let numbers = commit * REQUESTS..(commit + 1) * REQUESTS;
        let bodies: Vec<_> = numbers.map(body).collect();
        let mut clock = Ticks::now()?;
        for body in &bodies {
            black_box(ExportTraceServiceRequest::decode(&body[..])?);
        }
        clock.note(&mut stages.prost)?;
        let mut decoded = Vec::new();
        for payload in bodies {
            let payload = payload.into();
            let record = LogRecord { kind: record_kind::OTLP_TRACES, received: RECEIVED, payload };
            let rows = decode(&record)?;
            decoded.push((record, rows.batches));
        }
        clock.note(&mut stages.decoded)?;
        let mut senders = JoinSet::new();
        for (record, batches) in decoded {
            let store = Arc::clone(&store);
            senders.spawn(async move { store.append(record, batches).await });
            if senders.len() == SENDERS
                && let Some(appended) = senders.join_next().await
            {
                appended??;
            }
        }
        while let Some(appended) = senders.join_next().await {
            appended??;
        }
        clock.note(&mut stages.logged)?;
        black_box(store.snapshot());
        clock.note(&mut stages.shown)?;
        store.flush().await?;
        clock.note(&mut stages.committed)?;
    }
    stages.print();
    let files = store.statistics().files;
    let spans = (COMMITS + 1) * REQUESTS * REQUEST_SPANS as u64;
    let bytes: u64 = files.values().map(|(_, bytes)| bytes).sum();
    println!("{:.1} bytes a span in all tables", bytes as f64 / spans as f64);
    store.close().await?;
    Ok(())
}

/// CPU time by stage, in nanoseconds.
#[derive(Debug, Default)]
struct Stages {
    prost: u64,
    decoded: u64,
    logged: u64,
    shown: u64,
    committed: u64,
}

impl Stages {
    fn print(&self) {
        let spans = (COMMITS * REQUESTS * REQUEST_SPANS as u64) as f64;
        for (stage, nanos) in [
            ("prost decode into structs", self.prost),
            ("decoded into rows", self.decoded),
            ("in the log, and visible", self.logged),
            ("completed for a query", self.shown),
            ("committed, without that", self.committed),
        ] {
            let micros = nanos as f64 / spans / 1_000.0;
            let ratio = nanos as f64 / self.prost as f64;
            println!("{stage:26} {micros:6.2} us of CPU per span, {ratio:.2} of prost");
        }
    }
}

/// CPU time of the process, in steps of 10 ms.
struct Ticks(u64);

impl Ticks {
    fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/self/stat")?;
        // The name before may hold spaces; user and system time are the 12th and 13th field after it.
        let (_, fields) = text.rsplit_once(") ").context("/proc/self/stat has no name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(Self(ticks.sum::<Result<u64, _>>()? * NANOS_PER_TICK))
    }

    /// Adds the time since the last note.
    fn note(&mut self, stage: &mut u64) -> Result<()> {
        let now = Self::now()?;
        *stage += now.0 - self.0;
        *self = now;
        Ok(())
    }
}
