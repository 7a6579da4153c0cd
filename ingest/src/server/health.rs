//! `GET /healthz`, `/readyz` and `/metrics`.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::access::Scope;
use super::guard::Listener;
use super::{Receiver, exposition, reply};

const TEXT: &str = "text/plain; charset=utf-8";
/// Content type of the Prometheus text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Receiver {
    /// Health, readiness and the service's own metrics.
    pub fn health_routes(&self) -> Router {
        Router::new()
            .route("/healthz", get(async || text(StatusCode::OK, "ok".to_owned())))
            .route("/readyz", get(ready))
            .merge(self.require(Scope::Read, Router::new().route("/metrics", get(metrics))))
            .with_state(self.clone())
    }

    /// Requires a scope of those who ask on the API listener.
    fn require(&self, scope: Scope, routes: Router<Self>) -> Router<Self> {
        self.shared.access.require(Listener::Api, scope, routes)
    }
}

async fn ready(State(receiver): State<Receiver>) -> Response {
    let memory = receiver.shared.memory.is_exhausted().then_some("memory is over its hard limit");
    match receiver.slot.not_ready().or(memory) {
        None => text(StatusCode::OK, "ready".to_owned()),
        Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}")),
    }
}

async fn metrics(State(receiver): State<Receiver>) -> Response {
    reply::respond(StatusCode::OK, PROMETHEUS_TEXT, exposition::render(&receiver).into())
}

fn text(status: StatusCode, mut body: String) -> Response {
    body.push('\n');
    reply::respond(status, TEXT, body.into())
}
