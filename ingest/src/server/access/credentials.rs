//! What a request shows of its sender: headers.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::server::refusal::{Class, Refusal};

/// The tenant, as Pyroscope, Mimir, Loki and Tempo name it.
pub(super) const TENANT_HEADER: &str = "x-scope-orgid";
/// The other usual place of a key.
const KEY_HEADER: &str = "x-api-key";

/// The key that a request shows: a bearer token, the password of basic authentication (for clients
/// that know nothing else), or `X-API-Key`.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Refusal> {
    let authorization = only(headers, AUTHORIZATION.as_str())?;
    let other = only(headers, KEY_HEADER)?;
    match (authorization, other) {
        (None, None) => Ok(None),
        (None, Some(key)) => Ok(Some(Cow::Borrowed(key))),
        (Some(authorization), None) => of_authorization(authorization).map(Some),
        (Some(_), Some(_)) => Err(refused(format!(
            "the request has both Authorization and {KEY_HEADER}; send one of them"
        ))),
    }
}

/// The tenant that a request asks for.
pub(super) fn tenant(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    Ok(only(headers, TENANT_HEADER)?.filter(|tenant| !tenant.is_empty()))
}

fn of_authorization(value: &str) -> Result<Cow<'_, str>, Refusal> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Cow::Borrowed(rest));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = STANDARD.decode(rest).ok().and_then(|pair| String::from_utf8(pair).ok());
        let password = pair.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, key)| key);
        return password
            .map(|key| Cow::Owned(key.to_owned()))
            .ok_or_else(|| refused("the basic authentication is not base64 of USER:KEY"));
    }
    // The scheme's own text is not repeated: it may be a key without a scheme.
    Err(refused("the Authorization header is neither `Bearer KEY` nor `Basic`"))
}

/// The one value of a header.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused(format!("the header {name} is there more than once")));
    }
    let text =
        value.to_str().map_err(|_not_text| refused(format!("the header {name} is not text")));
    text.map(|text| Some(text.trim()))
}

fn refused(what: impl Into<String>) -> Refusal {
    Refusal::new(Class::Unauthenticated, what)
}
