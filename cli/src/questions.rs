//! The questions of `diagnose`, `verify` and `deploy audit`, as the command line and `/api/v1` ask them.

use std::time::Duration;

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use upriver_analyze::{Session, UnixNanos, literal};
use upriver_rules::time::Time;
use upriver_rules::{
    Audit, AuditRequest, DiagnoseRequest, Verification, VerifyRequest, VerifyTarget, audit, verify,
};

/// Route of [`DiagnoseQuestion`].
pub(crate) const DIAGNOSE_PATH: &str = "/api/v1/diagnose";
/// Route of [`VerifyQuestion`].
pub(crate) const VERIFY_PATH: &str = "/api/v1/verify";
/// Route of [`AuditQuestion`].
pub(crate) const AUDIT_PATH: &str = "/api/v1/audit";
/// Header of an answer: queries that were run for it.
pub(crate) const QUERIES_HEADER: &str = "upriver-queries";
/// Header of an answer: rows that they read.
pub(crate) const ROWS_READ_HEADER: &str = "upriver-rows-read";
/// Where `--window` is not given.
const WINDOW_SECONDS: u64 = 15 * 60;

/// What changed and made a service slow?
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DiagnoseQuestion {
    /// Service with the symptom; none to test all.
    pub(crate) service: Option<String>,
    /// Its operation.
    pub(crate) operation: Option<String>,
    /// As of when.
    pub(crate) at: Option<Time>,
    /// Length of the current window.
    pub(crate) window_seconds: u64,
    /// Agreed latency.
    pub(crate) objective_ms: Option<u64>,
}

impl Default for DiagnoseQuestion {
    fn default() -> Self {
        Self {
            service: None,
            operation: None,
            at: None,
            window_seconds: WINDOW_SECONDS,
            objective_ms: None,
        }
    }
}

impl DiagnoseQuestion {
    /// The question as of an instant.
    pub(crate) fn request(&self, at: Time) -> anyhow::Result<DiagnoseRequest> {
        if self.window_seconds == 0 {
            return Err(anyhow!("the window is empty: it has to be at least a second"));
        }
        Ok(DiagnoseRequest {
            service: self.service.clone(),
            operation: self.operation.clone(),
            at: at.0,
            is_at_given: self.at.is_some(),
            window: Duration::from_secs(self.window_seconds),
            objective: self.objective_ms.map(Duration::from_millis),
        })
    }
}

/// Did the rollback bring every named signal back?
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyQuestion {
    /// `SERVICE@VERSION`, the id of a deploy, or the id of a diagnosis.
    pub(crate) subject: String,
    /// As of when.
    #[serde(default)]
    pub(crate) at: Option<Time>,
}

impl VerifyQuestion {
    /// Verifies as of an instant.
    pub(crate) async fn answer(&self, session: &Session, at: Time) -> anyhow::Result<Verification> {
        let target = match self.stored_diagnosis(session).await? {
            Some(document) => VerifyTarget::Diagnosis(Box::new(serde_json::from_str(&document)?)),
            None => VerifyTarget::Deploy(self.subject.clone()),
        };
        let request = VerifyRequest { target, at: at.0 };
        Ok(verify(session, &request).await?)
    }

    /// The document of the diagnosis with this id, if there is one.
    async fn stored_diagnosis(&self, session: &Session) -> anyhow::Result<Option<String>> {
        let id = literal::text(&self.subject);
        let rows = session
            .query(&format!("SELECT document FROM diagnoses WHERE id = {id} LIMIT 1"))
            .await?;
        let mut json = Vec::new();
        upriver_analyze::format::write(upriver_analyze::format::Format::Json, &rows, &mut json)?;
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&json)?;
        let document = rows.first().and_then(|row| row.get("document")?.as_str());
        Ok(document.map(str::to_owned))
    }
}

/// Did a change make its service, or those that call it, worse?
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuestion {
    /// `SERVICE@VERSION` or the id of a change.
    pub(crate) subject: String,
    /// As of when.
    #[serde(default)]
    pub(crate) at: Option<Time>,
    /// How long after the change is looked at, at most.
    #[serde(default)]
    pub(crate) window_seconds: Option<u64>,
}

impl AuditQuestion {
    /// Judges as of an instant.
    pub(crate) async fn answer(&self, session: &Session, at: Time) -> anyhow::Result<Audit> {
        let mut request = AuditRequest::new(&self.subject, at.0);
        if let Some(seconds) = self.window_seconds {
            if seconds < 60 {
                return Err(anyhow!(
                    "the window is {seconds} s long: it has to be at least a minute"
                ));
            }
            request.window = Duration::from_secs(seconds);
        }
        Ok(audit(session, &request).await?)
    }
}

/// An instant in the data's range.
pub(crate) fn time(at: jiff::Timestamp) -> anyhow::Result<Time> {
    let nanos = i64::try_from(at.as_nanosecond());
    nanos
        .map(|nanos| Time(UnixNanos(nanos)))
        .map_err(|_outside| anyhow!("`{at}` is outside of the years 1677 to 2262"))
}
