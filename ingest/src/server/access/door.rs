//! The checks in front of routes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::ServiceExt as _;

use super::{Access, Scope, Sender, Standing, count};
use crate::server::guard::Listener;
use crate::server::refusal::{Class, Refusal};
use crate::server::reply::Taken;

/// "RateLimit header fields for HTTP" of the IETF: what may still be sent, and the policy.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl Access {
    /// Finds out who sends a request and hands it to the routes of that sender's tenant.
    pub fn identify(
        self: &Arc<Self>,
        listener: Listener,
        tenants: BTreeMap<String, Router>,
    ) -> Router {
        let identity = Identity { access: Arc::clone(self), listener, tenants };
        let identity = Arc::new(identity);
        Router::new().fallback(async move |request: Request| identity.hand_over(request).await)
    }

    /// Requires a scope, for requests that are answered rather than stored.
    pub fn require<S: Clone + Send + Sync + 'static>(
        self: &Arc<Self>,
        listener: Listener,
        scope: Scope,
        routes: Router<S>,
    ) -> Router<S> {
        let check = Check { access: Arc::clone(self), listener, scope: Some(scope) };
        routes.route_layer(from_fn_with_state(Arc::new(check), require))
    }

    /// Keeps senders to their limits, and requires a scope unless the route looks at scopes itself.
    pub(in crate::server) fn limit<S: Clone + Send + Sync + 'static>(
        self: &Arc<Self>,
        listener: Listener,
        scope: Option<Scope>,
        routes: Router<S>,
    ) -> Router<S> {
        let check = Check { access: Arc::clone(self), listener, scope };
        routes.route_layer(from_fn_with_state(Arc::new(check), limit))
    }

    fn refuse(&self, listener: Listener, request: &Request, refusal: &Refusal) -> Response {
        match refusal.class {
            Class::Unauthenticated => count(&self.counts.unauthenticated),
            Class::Forbidden => count(&self.counts.forbidden),
            _ => {}
        }
        let path = request.uri().path();
        tracing::debug!(name: "access.request.refuse", ?listener, path, reason = refusal.message, "access.request.refuse");
        listener.refuse(request.headers(), refusal)
    }
}

struct Identity {
    access: Arc<Access>,
    listener: Listener,
    tenants: BTreeMap<String, Router>,
}

impl Identity {
    async fn hand_over(&self, mut request: Request) -> Response {
        let sender = match self.access.sender(&request) {
            Ok(sender) => sender,
            Err(refusal) => return self.access.refuse(self.listener, &request, &refusal),
        };
        let Some(routes) = self.tenants.get(&*sender.tenant) else {
            let message = format!("there is no tenant {:?}", sender.tenant);
            let refusal = Refusal::new(Class::Forbidden, message);
            return self.access.refuse(self.listener, &request, &refusal);
        };
        // Nothing further in needs the key, and so nothing can log it.
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().remove("x-api-key");
        request.extensions_mut().insert(sender);
        match routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

struct Check {
    access: Arc<Access>,
    listener: Listener,
    scope: Option<Scope>,
}

impl Check {
    /// The sender, who may do what this needs.
    fn sender(&self, request: &Request) -> Result<Sender, Refusal> {
        let sender = super::of(request.extensions())?.clone();
        match self.scope {
            Some(scope) => sender.check(scope).map(|()| sender),
            None => Ok(sender),
        }
    }
}

async fn require(State(check): State<Arc<Check>>, request: Request, next: Next) -> Response {
    match check.sender(&request) {
        Ok(_) => next.run(request).await,
        Err(refusal) => check.access.refuse(check.listener, &request, &refusal),
    }
}

async fn limit(State(check): State<Arc<Check>>, request: Request, next: Next) -> Response {
    let access = &check.access;
    let admitted = check.sender(&request).and_then(|sender| {
        let standing = access.admit(&sender)?;
        Ok((sender, standing))
    });
    let (sender, standing) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return access.refuse(check.listener, &request, &refusal),
    };
    let Some(standing) = standing else { return next.run(request).await };
    let bytes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&bytes);
    let request = request.map(|body| Body::new(CountedBody { body, bytes: counted }));
    let mut response = next.run(request).await;
    let items = response.extensions().get::<Taken>().map_or(0, |taken| taken.items);
    access.charge(&sender, items, bytes.load(Ordering::Relaxed));
    tell(&mut response, standing);
    response
}

/// Says how the sender stands.
fn tell(response: &mut Response, standing: Standing) {
    let (burst, filled_in) = standing.quota;
    let seconds = |time: std::time::Duration| time.as_secs_f64().ceil();
    let limit = format!("\"default\";r={};t={}", standing.remaining, seconds(standing.full_in));
    let policy = format!("\"default\";q={burst};w={}", seconds(filled_in));
    for (name, text) in [(RATE_LIMIT, limit), (RATE_LIMIT_POLICY, policy)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Counts the bytes of a body while it is read.
struct CountedBody {
    body: Body,
    bytes: Arc<AtomicU64>,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
