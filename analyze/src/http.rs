//! SQL over HTTP: `GET` or `POST /api/v1/query`.
//!
//! The statement is `q`, the format `format`, else what `Accept` names, else JSON. A body is JSON or a
//! form, by exact content type. Errors are `{"code", "message", "query_id"}`; the id is also in the
//! header `X-Query-Id`. Results are complete or an error: they are formatted before the first byte
//! goes out, which their limit of bytes allows for.

mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use upriver_store::snapshot::SnapshotSource;

use crate::error::QueryError;
use crate::format::{self, LimitedBuffer};
use crate::session::{QueryRuntime, Session, SessionOptions};
use request::QueryRequest;

/// Queries that run at once: each may use all processors, more only share them.
const CONCURRENT_QUERIES_MAX: usize = 8;
/// How long a query waits for another to end before the client is told to come back.
const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// A statement of a mebibyte, escaped.
const BODY_BYTES_MAX: usize = 2 << 20;
const QUERY_ID: HeaderName = HeaderName::from_static("x-query-id");

/// What the route needs: where snapshots come from and where queries run.
pub struct QueryService {
    source: Arc<dyn SnapshotSource>,
    options: SessionOptions,
    runtime: QueryRuntime,
    executor: Handle,
    permits: Semaphore,
    served: AtomicU64,
}

impl std::fmt::Debug for QueryService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryService").field("options", &self.options).finish_non_exhaustive()
    }
}

impl QueryService {
    /// Queries over the newest snapshot of `source`, run on `executor`, a runtime of their own so that
    /// ingest keeps its threads.
    pub fn new(
        source: Arc<dyn SnapshotSource>,
        options: SessionOptions,
        executor: Handle,
    ) -> Result<Self, QueryError> {
        let runtime = QueryRuntime::new(options.memory_limit_bytes)?;
        let permits = Semaphore::new(CONCURRENT_QUERIES_MAX);
        Ok(Self { source, options, runtime, executor, permits, served: AtomicU64::new(0) })
    }

    async fn answer(self: Arc<Self>, request: QueryRequest) -> Result<Vec<u8>, QueryError> {
        let waited = tokio::time::timeout(QUEUE_WAIT, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = waited else {
            return Err(QueryError::Busy { running: CONCURRENT_QUERIES_MAX });
        };
        let service = Arc::clone(&self);
        // Dropping the set, as when the client goes away, ends the query.
        let mut running = JoinSet::new();
        running.spawn_on(async move { service.run(&request).await }, &self.executor);
        match running.join_next().await {
            Some(Ok(result)) => result,
            _ => Err(QueryError::Internal(datafusion::error::DataFusionError::Internal(
                "the query's task ended".to_owned(),
            ))),
        }
    }

    async fn run(&self, request: &QueryRequest) -> Result<Vec<u8>, QueryError> {
        let snapshot = self.source.snapshot();
        let session = Session::with_runtime(&snapshot, &self.options, &self.runtime)?;
        let batches = session.query(&request.sql).await?;
        let mut bytes = LimitedBuffer::default();
        format::write(request.format, &batches, &mut bytes)?;
        Ok(bytes.into_bytes())
    }
}

/// The route `/api/v1/query`.
pub fn routes(service: QueryService) -> Router {
    Router::new()
        .route("/api/v1/query", get(query).post(query))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(service))
}

async fn query(
    State(service): State<Arc<QueryService>>,
    request: axum::extract::Request,
) -> Response {
    let id = format!("q{:08x}", service.served.fetch_add(1, Ordering::Relaxed));
    let mut response = match request::read(request).await {
        Err(refused) => refused.into_response(&id),
        Ok(request) => {
            let format = request.format;
            match Arc::clone(&service).answer(request).await {
                Ok(bytes) => ([(header::CONTENT_TYPE, format.media_type())], bytes).into_response(),
                Err(error) => failure(&error, &id),
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(QUERY_ID, id);
    }
    response
}

fn failure(error: &QueryError, id: &str) -> Response {
    let status = status_of(error);
    if status.is_server_error() {
        tracing::warn!(query_id = id, error = error as &dyn std::error::Error, "query failed");
    }
    let mut response = error_document(status, error.code(), &error.to_string(), id);
    if matches!(error, QueryError::Busy { .. }) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn status_of(error: &QueryError) -> StatusCode {
    match error {
        QueryError::Refused { .. } | QueryError::Sql { .. } => StatusCode::BAD_REQUEST,
        QueryError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        QueryError::Memory { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        QueryError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        QueryError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        QueryError::Storage(_) | QueryError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn error_document(status: StatusCode, code: &str, message: &str, id: &str) -> Response {
    let document = serde_json::json!({ "code": code, "message": message, "query_id": id });
    (status, axum::Json(document)).into_response()
}
