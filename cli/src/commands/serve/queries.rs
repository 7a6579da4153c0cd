//! User queries: on their own runtime, so that a heavy one takes no thread from the receivers, and
//! refused until the store is open.

use std::fmt;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::runtime::{Builder, Handle, Runtime};
use upriver_ingest::server::StoreSlot;

/// The threads of the queries: as many as the machine has cores. They end without being waited for.
pub(super) struct QueryThreads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl QueryThreads {
    pub(super) fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("upriver-query").enable_all().build();
        let runtime = runtime.context("could not start the threads of queries")?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl fmt::Debug for QueryThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueryThreads")
    }
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The routes, answering 503 with the reason while there is no store: an empty answer would be
/// wrong.
pub(super) fn when_ready(routes: Router, slot: &Arc<StoreSlot>) -> Router {
    routes.layer(from_fn_with_state(Arc::clone(slot), check))
}

async fn check(State(slot): State<Arc<StoreSlot>>, request: Request, next: Next) -> Response {
    let Some(reason) = slot.not_ready() else { return next.run(request).await };
    let message = format!("not ready: {reason}; ask again later");
    let body = json!({"code": "unavailable", "message": message});
    (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], axum::Json(body)).into_response()
}
