//! Judges changes by itself: what they did in their first 5, 15 and 60 minutes.
//!
//! Once a minute it is looked for what is due, with a query over the last one and a half hours alone. What
//! is due is judged one after the other, the newest change first, and stored as findings of the rule
//! `deploy_audit`. They say what was judged, so that nothing is judged again after a restart. What could
//! not be judged in time is left out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use arrow::array::RecordBatch;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use upriver_analyze::format::{self, Format};
use upriver_analyze::{QueryRuntime, Session, SessionOptions, literal};
use upriver_ingest::server::{AuditCounts, Clock, StoreSlot};
use upriver_rules::audit::document::{Audit, AuditOutcome, SETTLED};
use upriver_rules::audit::{AUDIT_RULE, AuditRequest, audit};
use upriver_store::schema::Table;
use upriver_store::snapshot::SnapshotSource;
use upriver_store::store::Store;
use upriver_store::time::UnixNanos;

use crate::records;

/// How much of the time after a change is judged, in minutes.
const AFTER_MINUTES: [i64; 3] = [5, 15, 60];
/// An audit that comes later than this tells nobody anything: it is left out.
const LATE: i64 = 30 * MINUTE;
/// How often it is looked for what is due.
const INTERVAL: Duration = Duration::from_mins(1);
/// Audits of a round; the rest waits for the next one, and may then be too late.
const ROUND_MAX: usize = 10;
/// Since when versions are compared: longer than any change can be due.
const KNOWN: i64 = 2 * HOUR;

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;

/// Judges the changes of one tenant.
pub(super) struct Auditor {
    tenant: String,
    slot: Arc<StoreSlot>,
    options: SessionOptions,
    runtime: QueryRuntime,
    counts: Arc<AuditCounts>,
    /// Instants of possible changes, with the minutes after them, that were looked into already.
    looked: BTreeSet<(i64, i64)>,
}

impl Auditor {
    /// For a tenant's store.
    pub(super) fn new(
        tenant: &str,
        slot: Arc<StoreSlot>,
        options: SessionOptions,
        counts: Arc<AuditCounts>,
    ) -> anyhow::Result<Self> {
        let runtime = QueryRuntime::new(options.memory_limit_bytes)?;
        let (tenant, looked) = (tenant.to_owned(), BTreeSet::new());
        Ok(Self { tenant, slot, options, runtime, counts, looked })
    }

    /// Judges what is due, once a minute, until `stop`; on the threads of queries.
    pub(super) async fn run(mut self, clock: Clock, threads: Handle, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut round = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now = clock.now();
            let work = async move {
                let mut auditor = self;
                let judged = auditor.round(now).await;
                (auditor, judged)
            };
            round.spawn_on(work, &threads);
            let ended = tokio::select! {
                biased;
                // What is being judged is judged again by the next start.
                () = stop.cancelled() => return,
                ended = round.join_next() => ended,
            };
            let Some(Ok((auditor, judged))) = ended else {
                tracing::error!(name: "server.audit.stop", "server.audit.stop: a round panicked; please report this");
                return;
            };
            self = auditor;
            if let Err(error) = judged {
                let error = format!("{error:#}");
                tracing::warn!(name: "server.audit.fail", tenant = self.tenant, error, "server.audit.fail: tried again in a minute");
            }
        }
    }

    /// Judges what is due as of an instant, the newest change first. Gives how many were judged.
    pub(super) async fn round(&mut self, now: UnixNanos) -> anyhow::Result<usize> {
        let session = Session::with_runtime(&self.slot.snapshot(), &self.options, &self.runtime)?;
        let due = self.possible(&session, now).await?;
        if due.iter().all(|due| self.looked.contains(due)) {
            return Ok(0);
        }
        // Of the servers that write to a bucket one judges.
        if !self.store()?.keeps(Table::Findings, now).await? {
            return Ok(0);
        }
        let mut judged = 0;
        for change in due_changes(&session, now).await? {
            if judged == ROUND_MAX {
                return Ok(judged);
            }
            self.judge(&session, &change, now).await?;
            judged += 1;
        }
        self.looked.retain(|(start, _)| *start > now.0 - KNOWN);
        self.looked.extend(due);
        Ok(judged)
    }

    /// What can be due: received changes and first sights of versions. It is cheap, where asking for the
    /// changes themselves reads all time.
    async fn possible(
        &self,
        session: &Session,
        now: UnixNanos,
    ) -> anyhow::Result<BTreeSet<(i64, i64)>> {
        let since = literal::timestamp(UnixNanos(now.0 - KNOWN));
        let sql = format!(
            "SELECT start_unix_nano AS start FROM deploys WHERE time >= {since}\nUNION\nSELECT min(first_unix_nano) AS start FROM operation_minutes\nWHERE time >= {since} AND service_version IS NOT NULL\nGROUP BY service_name, deployment_environment_name, service_version\nORDER BY start"
        );
        let rows = rows(&session.query(&sql).await?)?;
        let starts = rows.iter().filter_map(|row| row["start"].as_i64());
        Ok(starts.filter_map(|start| Some((start, due_minutes(start, now)?))).collect())
    }

    async fn judge(&self, session: &Session, due: &Due, now: UnixNanos) -> anyhow::Result<()> {
        let mut request = AuditRequest::new(due.id.clone(), due.as_of());
        request.window = Duration::from_mins(due.minutes.unsigned_abs());
        let audit = audit(session, &request).await;
        let audit = audit.with_context(|| format!("could not judge the change {}", due.id))?;
        let labels = [
            ("change", due.id.clone()),
            ("minutes", due.minutes.to_string()),
            ("outcome", audit.outcome.name().to_owned()),
            ("audit", audit.id.clone()),
        ];
        let findings: Vec<_> = audit.verdict_findings().cloned().collect();
        let rows = records::of_labelled_findings(&findings, audit.at.0, &labels)?;
        self.store()?.append_rows(now, vec![rows]).await?;
        self.tell(&audit, due);
        Ok(())
    }

    fn store(&self) -> anyhow::Result<Arc<Store>> {
        self.slot.store().ok_or_else(|| anyhow!("the store is closed"))
    }

    fn tell(&self, audit: &Audit, due: &Due) {
        let (tenant, change) = (self.tenant.as_str(), due.id.as_str());
        let (minutes, outcome) = (due.minutes, audit.outcome.name());
        let summary = upriver_rules::escape::terminal(&audit.summary);
        if audit.outcome == AuditOutcome::Regression {
            tracing::warn!(name: "server.audit.judge", tenant, change, minutes, outcome, summary, "server.audit.judge");
        } else {
            tracing::info!(name: "server.audit.judge", tenant, change, minutes, outcome, summary, "server.audit.judge");
        }
        match audit.outcome {
            AuditOutcome::Pass => AuditCounts::add(&self.counts.pass),
            AuditOutcome::Regression => AuditCounts::add(&self.counts.regression),
            AuditOutcome::Inconclusive => AuditCounts::add(&self.counts.inconclusive),
        }
    }
}

/// A change with the minutes after it that are to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Due {
    id: String,
    start: i64,
    minutes: i64,
}

impl Due {
    /// The instant as of which these minutes are over and all their spans have ended.
    fn as_of(&self) -> UnixNanos {
        UnixNanos(due_at(self.start, self.minutes))
    }
}

fn due_at(start: i64, minutes: i64) -> i64 {
    // Whole minutes are judged, so the first one after the start counts.
    start.saturating_add((minutes + 1) * MINUTE + SETTLED)
}

/// The longest time after a change that is due and not too late.
fn due_minutes(start: i64, now: UnixNanos) -> Option<i64> {
    let is_due = |minutes: &&i64| {
        let due = due_at(start, **minutes);
        due <= now.0 && now.0 < due + LATE
    };
    AFTER_MINUTES.iter().rev().find(is_due).copied()
}

/// Changes that are due and were not judged, the newest first.
async fn due_changes(session: &Session, now: UnixNanos) -> anyhow::Result<Vec<Due>> {
    let since = literal::timestamp(UnixNanos(now.0 - KNOWN));
    let judged = format!(
        "SELECT labels['change'] AS change, labels['minutes'] AS minutes FROM findings\nWHERE rule = {} AND time >= {since}",
        literal::text(AUDIT_RULE)
    );
    let judged: BTreeSet<(String, String)> = rows(&session.query(&judged).await?)?
        .iter()
        .filter_map(|row| {
            Some((row["change"].as_str()?.to_owned(), row["minutes"].as_str()?.to_owned()))
        })
        .collect();
    let changes = format!(
        "SELECT id, start_unix_nano FROM changes WHERE time >= {since} ORDER BY start_unix_nano DESC, id"
    );
    let changes = rows(&session.query(&changes).await?)?;
    let due = changes.iter().filter_map(|row| {
        let (id, start) = (row["id"].as_str()?.to_owned(), row["start_unix_nano"].as_i64()?);
        let minutes = due_minutes(start, now)?;
        Some(Due { id, start, minutes })
    });
    Ok(due.filter(|due| !judged.contains(&(due.id.clone(), due.minutes.to_string()))).collect())
}

fn rows(batches: &[RecordBatch]) -> anyhow::Result<Vec<Value>> {
    let mut json = Vec::new();
    format::write(Format::Json, batches, &mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

#[cfg(test)]
mod tests;
