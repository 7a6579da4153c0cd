//! What a refused request still sends is read to its end and thrown away.
//!
//! A sender that is answered before it has sent its body writes on into a closed connection: it gets a
//! reset, mostly before it reads the answer, and never learns that it should come again later. Reading
//! on costs the bandwidth that the body takes anyway, and no memory.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::time::timeout;

use super::body::next_piece;

/// How much is thrown away: twice the largest body that is taken, so one that is over the limit by
/// mistake is read to its end.
const DISCARDED_BYTES_MAX: usize = 128 << 20;
/// How long that may take: the usual export timeout, after which the sender has gone.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(10);

/// Passes the request on; what is left of its body when it was refused is read here.
pub(super) async fn drain(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = Lent(Arc::new(Mutex::new(body)));
    let request = Request::from_parts(parts, Body::new(body.clone()));
    let response = next.run(request).await;
    let status = response.status();
    let is_refused = status.is_client_error() || status.is_server_error() || is_grpc(&response);
    // Who was too slow is not waited for again.
    if is_refused && status != StatusCode::REQUEST_TIMEOUT && !body.is_end_stream() {
        let discarding = timeout(DISCARD_TIME_MAX, discard(Body::new(body)));
        // The answer is given either way.
        drop(discarding.await);
    }
    response
}

/// gRPC refuses with 200 and a status of its own; what it accepted it has read.
fn is_grpc(response: &Response) -> bool {
    response.headers().contains_key("grpc-status")
}

async fn discard(mut body: Body) {
    let mut discarded = 0;
    while let Ok(Some(piece)) = next_piece(&mut body).await {
        discarded += piece.len();
        if discarded > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

/// A body that can be read on by others once its reader has gone.
#[derive(Clone, Debug)]
struct Lent(Arc<Mutex<Body>>);

impl Lent {
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}
