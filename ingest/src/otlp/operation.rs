//! The operation of a span: what a caller asks for, in few words and with few distinct values.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::promoted::Promoted;
use super::resource::text;

/// `METHOD route` (or `METHOD template`) for HTTP, `service/method` for rpc, the destination for
/// messaging, else the span's name. Both sides of a call usually give the same; where only one
/// knows the route, the server's counts for the edge. What is put together is put into `room`.
pub(super) fn operation<'s>(
    span: &'s Promoted<'_>,
    span_name: &'s str,
    room: &'s mut String,
) -> &'s str {
    let found = match given(span.http_request_method.as_deref()) {
        Some(method) => http(span, method, room),
        None => rpc(span, room).or_else(|| messaging(span)),
    };
    found.unwrap_or(span_name)
}

/// The text of a column, where empty means missing.
fn given(value: Option<&str>) -> Option<&str> {
    value.and_then(text)
}

fn http<'s>(span: &'s Promoted<'_>, method: &str, room: &'s mut String) -> Option<&'s str> {
    let target =
        given(span.http_route.as_deref()).or_else(|| given(span.url_template.as_deref()))?;
    Some(joined([method, " ", target], room))
}

/// Newer conventions put the service into the method (`shop.Cart/Add`).
fn rpc<'s>(span: &'s Promoted<'_>, room: &'s mut String) -> Option<&'s str> {
    let method = given(span.rpc_method.as_deref())?;
    match given(span.rpc_service.as_deref()) {
        Some(service) if !method.contains('/') => Some(joined([service, "/", method], room)),
        _ => Some(method),
    }
}

fn joined<'s>(parts: [&str; 3], room: &'s mut String) -> &'s str {
    room.clear();
    room.extend(parts);
    room
}

fn messaging<'s>(span: &'s Promoted<'_>) -> Option<&'s str> {
    given(span.messaging_system.as_deref())?;
    if let Some(template) = given(span.messaging_destination_template.as_deref()) {
        return Some(template);
    }
    if span.messaging_destination_unnamed {
        return None;
    }
    given(span.messaging_destination_name.as_deref())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    #[expect(clippy::unnecessary_wraps, reason = "reads as the field that it fills")]
    fn each_protocol_names_its_operation() {
        fn some(text: &str) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(text))
        }
        let http = |route, template| Promoted {
            http_request_method: some("GET"),
            http_route: route,
            url_template: template,
            ..Promoted::default()
        };
        let rpc = |service, method| Promoted {
            rpc_service: service,
            rpc_method: method,
            ..Promoted::default()
        };
        let queue = |template, unnamed| Promoted {
            messaging_system: some("kafka"),
            messaging_destination_name: some("orders"),
            messaging_destination_template: template,
            messaging_destination_unnamed: unnamed,
            ..Promoted::default()
        };
        for (span, expected) in [
            (http(some("/a/{id}"), some("/b")), "GET /a/{id}"),
            (http(None, some("/b")), "GET /b"),
            (http(some(""), None), "span name"),
            (rpc(some("shop.Cart"), some("Add")), "shop.Cart/Add"),
            (rpc(some("shop.Cart"), some("shop.Cart/Add")), "shop.Cart/Add"),
            (rpc(None, some("shop.Cart/Add")), "shop.Cart/Add"),
            (rpc(some("shop.Cart"), None), "span name"),
            (queue(None, false), "orders"),
            (queue(some("orders-{region}"), true), "orders-{region}"),
            (queue(None, true), "span name"),
            (Promoted { db_operation_name: some("SELECT"), ..Promoted::default() }, "span name"),
        ] {
            let mut room = "of the span before".to_owned();
            assert_eq!(operation(&span, "span name", &mut room), expected, "{span:?}");
        }
    }
}
