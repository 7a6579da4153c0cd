//! Who may speak to a listener: requests for a known host name, from no foreign web page.
//!
//! Loopback is no boundary. A page in the user's browser can send requests to 127.0.0.1, and by
//! rebinding its own name to 127.0.0.1 it can read the answers too. The first carries a foreign
//! `Origin`, the second a foreign `Host`; both are refused unless configured.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::{Router, body::Body};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::refusal::{Class, Refusal};
use super::reply::{self, OtlpEncoding};
use super::{otlp_grpc, unread};

/// The setting with further host names.
const HOSTS_SETTING: &str = "service.allowed_hosts";

/// Which listener is guarded: it decides how a refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP.
    OtlpHttp,
    /// Everything else.
    Api,
}

impl Listener {
    /// A refusal in the terms of the listener's protocol.
    pub(super) fn refuse(self, headers: &HeaderMap, refusal: &Refusal) -> Response {
        match self {
            Self::OtlpGrpc if otlp_grpc::is_grpc(headers) => otlp_grpc::refuse(refusal),
            Self::OtlpGrpc | Self::Api => reply::api_refusal(refusal),
            Self::OtlpHttp => reply::otlp_refusal(OtlpEncoding::of(headers), refusal),
        }
    }
}

/// The checks of one listener.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The listener.
    pub listener: Listener,
    /// Names besides loopback under which the listener is reached.
    pub hosts: Vec<String>,
    /// Whether any IP address may stand as host: so for listeners that others can reach, since a
    /// rebound name is a name, never an address.
    pub any_address: bool,
    /// Origins of pages that may send requests, such as `https://shop.example`; `*` for all.
    pub origins: Vec<String>,
}

/// What the `Origin` of a request allows.
enum Admitted {
    /// No page sent it, or one of this very server.
    Local,
    /// A page of a configured origin.
    CrossOrigin(HeaderValue),
}

impl Guard {
    /// Puts the checks in front of all routes. What refused requests still send is read.
    pub fn protect(self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(Arc::new(self), check)).layer(from_fn(unread::drain))
    }

    fn admit(&self, request: &Request) -> Result<Admitted, Refusal> {
        let host = host_of(request)?;
        if !self.knows(&host) {
            let message = format!(
                "the host {:?} is not a name of this server; use localhost, or add it to {HOSTS_SETTING}",
                host.host()
            );
            return Err(Refusal::new(Class::Forbidden, message));
        }
        self.admit_origin(request.headers(), &host)
    }

    fn knows(&self, host: &Authority) -> bool {
        let name = host.host().trim_end_matches('.');
        if let Some(address) = address_of(name) {
            return self.any_address || address.is_loopback() || self.lists(name);
        }
        name.eq_ignore_ascii_case("localhost") || self.lists(name)
    }

    fn lists(&self, name: &str) -> bool {
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn admit_origin(&self, headers: &HeaderMap, host: &Authority) -> Result<Admitted, Refusal> {
        let Some(origin) = headers.get(ORIGIN) else {
            return if is_hidden_cross_site(headers) {
                Err(self.foreign("another site"))
            } else {
                Ok(Admitted::Local)
            };
        };
        let text = origin.to_str().unwrap_or("(not text)");
        let own = text
            .split_once("://")
            .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()));
        if own {
            return Ok(Admitted::Local);
        }
        let listed = |known: &String| known == "*" || known.eq_ignore_ascii_case(text);
        if self.origins.iter().any(listed) {
            return Ok(Admitted::CrossOrigin(origin.clone()));
        }
        Err(self.foreign(text))
    }

    fn foreign(&self, origin: &str) -> Refusal {
        let advice = match self.listener {
            Listener::OtlpGrpc => "gRPC takes no requests from web pages",
            Listener::OtlpHttp => {
                "to allow it, add it to receivers.otlp.protocols.http.cors.allowed_origins"
            }
            Listener::Api => "to allow it, add it to api.cors.allowed_origins",
        };
        let message = format!("requests from web pages of {origin:?} are refused; {advice}");
        Refusal::new(Class::Forbidden, message)
    }
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let admitted = match guard.admit(&request) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            tracing::warn!(name: "listener.request.refuse", listener = ?guard.listener, reason = refusal.message, "listener.request.refuse");
            return guard.listener.refuse(request.headers(), &refusal);
        }
    };
    let Admitted::CrossOrigin(origin) = admitted else {
        return next.run(request).await;
    };
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response =
        if preflight { answer_preflight(request.headers()) } else { next.run(request).await };
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    response
}

fn answer_preflight(headers: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static("GET, POST");
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

/// `:authority` of HTTP/2, else the one `Host` of HTTP/1.
fn host_of(request: &Request) -> Result<Authority, Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::invalid("the request has more than one Host header"));
    }
    let header = header.map(|value| Authority::try_from(value.as_bytes())).transpose();
    let Ok(header) = header else {
        return Err(Refusal::invalid("the Host header is not a host name"));
    };
    let authority = request.uri().authority();
    if let (Some(header), Some(authority)) = (&header, authority)
        && header.host() != authority.host()
    {
        return Err(Refusal::invalid("the Host header and the request's address differ"));
    }
    let host = authority.cloned().or(header);
    let host = host.ok_or_else(|| Refusal::invalid("the request has no Host header; add one"))?;
    if host.as_str().contains('@') {
        return Err(Refusal::invalid("the Host header is not a host name"));
    }
    Ok(host)
}

/// The address that a host stands for, IPv6 in brackets.
fn address_of(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(|address| address.to_canonical()),
        None => host.parse().ok(),
    }
}

/// Browsers leave `Origin` out of simple GET requests of other sites, but say so in fetch
/// metadata. Following a link is fine.
fn is_hidden_cross_site(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    is("sec-fetch-site", "cross-site") && !is("sec-fetch-mode", "navigate")
}
