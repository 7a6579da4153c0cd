//! `/api/v1/diagnose`, `/api/v1/verify` and `/api/v1/audit`: the server answers, and keeps what it concluded.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use upriver_analyze::{QueryRuntime, Session, SessionOptions, Work};
use upriver_ingest::server::{Clock, StoreSlot};
use upriver_rules::time::Time;
use upriver_rules::{RulesError, diagnose};
use upriver_store::snapshot::SnapshotSource;

use crate::questions::{
    AUDIT_PATH, AuditQuestion, DIAGNOSE_PATH, DiagnoseQuestion, QUERIES_HEADER, ROWS_READ_HEADER,
    VERIFY_PATH, VerifyQuestion,
};
use crate::records;

/// What the routes need.
#[derive(Clone)]
pub(crate) struct Diagnostics {
    slot: Arc<StoreSlot>,
    options: SessionOptions,
    runtime: QueryRuntime,
    threads: Handle,
    clock: Clock,
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diagnostics").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A document, and what was read for it.
type Answered<T> = anyhow::Result<(Work, T)>;

impl Diagnostics {
    /// Diagnoses over the newest snapshot, on the threads of queries.
    pub(crate) fn new(
        slot: Arc<StoreSlot>,
        options: SessionOptions,
        threads: Handle,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let runtime = QueryRuntime::new(options.memory_limit_bytes)?;
        Ok(Self { slot, options, runtime, threads, clock })
    }

    /// The routes.
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route(DIAGNOSE_PATH, post(answer_diagnose))
            .route(VERIFY_PATH, post(answer_verify))
            .route(AUDIT_PATH, post(answer_audit))
            .with_state(self)
    }

    fn session(&self) -> anyhow::Result<Session> {
        Ok(Session::with_runtime(&self.slot.snapshot(), &self.options, &self.runtime)?)
    }

    fn now(&self) -> Time {
        Time(self.clock.now())
    }

    async fn diagnose(self, question: DiagnoseQuestion) -> Answered<impl Serialize> {
        let at = question.at.unwrap_or_else(|| self.now());
        let session = self.session()?;
        let diagnosis = diagnose(&session, &question.request(at)?).await?;
        if let Some(store) = self.slot.store() {
            store.append_rows(self.now().0, records::of_diagnosis(&diagnosis)?).await?;
        }
        Ok((session.work(), diagnosis))
    }

    async fn verify(self, question: VerifyQuestion) -> Answered<impl Serialize> {
        let at = question.at.unwrap_or_else(|| self.now());
        let session = self.session()?;
        let verification = question.answer(&session, at).await?;
        Ok((session.work(), verification))
    }

    async fn audit(self, question: AuditQuestion) -> Answered<impl Serialize> {
        let at = question.at.unwrap_or_else(|| self.now());
        let session = self.session()?;
        let audit = question.answer(&session, at).await?;
        Ok((session.work(), audit))
    }
}

async fn answer_diagnose(
    State(diagnostics): State<Diagnostics>,
    Json(question): Json<DiagnoseQuestion>,
) -> Response {
    let threads = diagnostics.threads.clone();
    answer_on(&threads, diagnostics.diagnose(question)).await
}

async fn answer_verify(
    State(diagnostics): State<Diagnostics>,
    Json(question): Json<VerifyQuestion>,
) -> Response {
    let threads = diagnostics.threads.clone();
    answer_on(&threads, diagnostics.verify(question)).await
}

async fn answer_audit(
    State(diagnostics): State<Diagnostics>,
    Json(question): Json<AuditQuestion>,
) -> Response {
    let threads = diagnostics.threads.clone();
    answer_on(&threads, diagnostics.audit(question)).await
}

/// Answers on the threads of queries. The work belongs to the answer: when the client goes away, it
/// ends.
async fn answer_on<T: Serialize + Send + 'static>(
    threads: &Handle,
    work: impl Future<Output = Answered<T>> + Send + 'static,
) -> Response {
    let mut running = JoinSet::new();
    running.spawn_on(work, threads);
    match running.join_next().await {
        Some(Ok(Ok((work, document)))) => match serde_json::to_vec_pretty(&document) {
            Ok(json) => {
                let read = [(QUERIES_HEADER, work.queries), (ROWS_READ_HEADER, work.rows_read)]
                    .map(|(name, count)| (name, count.to_string()));
                (read, [(CONTENT_TYPE, "application/json")], json).into_response()
            }
            Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Some(Ok(Err(error))) => {
            let is_usage = error.downcast_ref::<RulesError>().is_none_or(RulesError::is_usage);
            let status =
                if is_usage { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
            refusal(status, &format!("{error:#}"))
        }
        _ => {
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the diagnosis stopped; please report this")
        }
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "code": status.as_u16(), "message": message }))).into_response()
}
