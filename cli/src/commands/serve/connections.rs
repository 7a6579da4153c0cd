//! Connections of one listener: accepted, encrypted where asked for, and served over HTTP/1 and HTTP/2
//! until the server stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use upriver_ingest::server::Peer;

use super::tls::Tls;

/// Connections of one listener at a time; more wait in the system's queue. Exporters keep one each, so
/// this is a fleet of thousands; each idle one takes a few KiB.
const CONNECTIONS_MAX: usize = 8192;
/// How long a client may take over its TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a client may take to send the head of its next request, idle time included: longer than the
/// 60 s at which OpenTelemetry exports metrics, so that exporters keep their connection.
const HEAD_MAX: Duration = Duration::from_secs(90);
/// Bytes of an HTTP/2 request that may be under way before the receiver answers: a whole usual batch,
/// where the protocol's 64 KiB would cost a round trip each.
const WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of an HTTP/2 frame: a usual batch in two, where the protocol's 16 KiB would take two dozen, each
/// with its own turn through the connection. A connection keeps about as much to read into.
const FRAME_BYTES: u32 = 256 << 10;
/// Requests that one HTTP/2 connection may have open. Exporters use one to a few dozen.
const STREAMS_MAX: u32 = 256;
/// A connection whose other end is gone is found out after this time without traffic.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves the routes to everybody who connects, until `stop`; then lets requests in progress end.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    routes: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let http = Arc::new(http());
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted?,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, address, place)) = accepted else { continue };
        let connection = Connection {
            address,
            tls: tls.clone(),
            routes: routes.clone(),
            http: Arc::clone(&http),
            watcher: graceful.watcher(),
            _place: place,
        };
        connections.spawn(connection.serve(stream));
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
    Ok(())
}

fn http() -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(KEEPALIVE);
    http
}

/// The next connection; none where it was gone again, or the system has no sockets left just now.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> anyhow::Result<Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)>> {
    let place = Arc::clone(places).acquire_owned().await.context("a listener was closed")?;
    match listener.accept().await {
        Ok((stream, address)) => {
            // Answers are single writes; waiting to fill a packet only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(name: "server.connection.slow", %error, "server.connection.slow");
            }
            Ok(Some((stream, address, place)))
        }
        Err(error) => {
            tracing::warn!(name: "server.connection.fail", %error, "server.connection.fail");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            Ok(None)
        }
    }
}

/// A connection on its way to being served.
struct Connection {
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    routes: Router,
    http: Arc<Builder<TokioExecutor>>,
    watcher: Watcher,
    /// Its place among the connections of the listener.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let Some(tls) = self.tls.clone() else {
            return self.serve_requests(stream, None).await;
        };
        let address = self.address;
        match tokio::time::timeout(HANDSHAKE_MAX, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let certificate = certificates.and_then(|chain| chain.first());
                let certificate = certificate.map(|der| Arc::from(der.as_ref()));
                self.serve_requests(stream, certificate).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(name: "server.handshake.fail", %address, %error, "server.handshake.fail");
            }
            Err(_elapsed) => {
                tracing::debug!(name: "server.handshake.fail", %address, error = "it took too long", "server.handshake.fail");
            }
        }
    }

    async fn serve_requests<S>(self, stream: S, certificate: Option<Arc<[u8]>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = Peer { address: self.address.ip(), certificate };
        let routes = self.routes;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            routes.clone().oneshot(request.map(Body::new))
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = self.watcher.watch(connection).await {
            let address = self.address;
            tracing::debug!(name: "server.connection.break", %address, error, "server.connection.break");
        }
    }
}
