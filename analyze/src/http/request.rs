//! A query as it is asked over HTTP.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use url::form_urlencoded;

use super::{BODY_BYTES_MAX, error_document};
use crate::format::Format;

/// A statement and the format of its result.
#[derive(Debug)]
pub(super) struct QueryRequest {
    pub(super) sql: String,
    pub(super) format: Format,
}

/// A request that is no query.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(super) fn into_response(self, id: &str) -> Response {
        error_document(self.status, self.code, &self.message, id)
    }
}

/// The fields of a query string, form or JSON body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    q: Option<String>,
    format: Option<String>,
}

pub(super) async fn read(request: Request) -> Result<QueryRequest, Refused> {
    let accepted = accepted_format(request.headers());
    let mut fields = pairs(request.uri().query().unwrap_or_default().as_bytes())?;
    if request.method() == Method::POST {
        let body = body_fields(request).await?;
        fields = Fields { q: body.q.or(fields.q), format: body.format.or(fields.format) };
    }
    let sql = fields.q.ok_or_else(|| Refused::invalid("the query is missing: give it as `q`"))?;
    let format = match fields.format {
        Some(name) => name.parse().map_err(|error| Refused::invalid(format!("{error}")))?,
        None => accepted.unwrap_or(Format::Json),
    };
    Ok(QueryRequest { sql, format })
}

async fn body_fields(request: Request) -> Result<Fields, Refused> {
    let kind = media_type(request.headers(), &header::CONTENT_TYPE);
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_error| {
        let message = format!("the body has more than {BODY_BYTES_MAX} bytes or ended early");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    })?;
    match kind.as_deref() {
        Some("application/json") => serde_json::from_slice(&body).map_err(|error| {
            Refused::invalid(format!("the body is no JSON object with `q` and `format`: {error}"))
        }),
        Some("application/x-www-form-urlencoded") => pairs(&body),
        other => Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!(
                "a body of content type {:?} is not read: send application/json or application/x-www-form-urlencoded",
                other.unwrap_or_default()
            ),
        )),
    }
}

fn pairs(encoded: &[u8]) -> Result<Fields, Refused> {
    let mut fields = Fields::default();
    for (name, value) in form_urlencoded::parse(encoded) {
        let field = match name.as_ref() {
            "q" => &mut fields.q,
            "format" => &mut fields.format,
            other => {
                let message = format!("unknown parameter {other:?}: there are `q` and `format`");
                return Err(Refused::invalid(message));
            }
        };
        *field = Some(value.into_owned());
    }
    Ok(fields)
}

/// The first media type of `Accept` that is the one of a format.
fn accepted_format(headers: &HeaderMap) -> Option<Format> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
    accept.split(',').map(essence).find_map(|wanted| {
        Format::ALL.into_iter().find(|format| essence(format.media_type()) == wanted)
    })
}

fn media_type(headers: &HeaderMap, name: &http::HeaderName) -> Option<String> {
    Some(essence(headers.get(name)?.to_str().ok()?))
}

/// A media type without parameters.
fn essence(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
