//! The one escaping function for SQL: texts, identifiers and instants that come from telemetry.
//!
//! Anyone who can send a span chooses `service.name`, so no other code puts quotes around a value.

use jiff::Timestamp;
use upriver_store::time::UnixNanos;

#[cfg(test)]
mod tests;

/// A text as a SQL literal: `it's` becomes `'it''s'`. Backslashes mean nothing in it.
pub fn text(value: &str) -> String {
    quoted(value, '\'')
}

/// A name as a SQL identifier, exact in case: `a"b` becomes `"a""b"`.
pub fn identifier(name: &str) -> String {
    quoted(name, '"')
}

/// An instant as a SQL literal, `TIMESTAMP '2026-01-02T03:04:05.000006Z'`. The column `time` holds
/// microseconds, so anything finer is cut.
pub fn timestamp(instant: UnixNanos) -> String {
    format!("TIMESTAMP '{}'", rfc3339(instant))
}

/// An instant as RFC 3339 in UTC, with the microseconds that are not zero.
pub fn rfc3339(instant: UnixNanos) -> String {
    Timestamp::from_microsecond(instant.micros())
        .map_or_else(|_| instant.0.to_string(), |time| time.to_string())
}

fn quoted(value: &str, quote: char) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push(quote);
    for character in value.chars() {
        if character == quote {
            out.push(quote);
        }
        out.push(character);
    }
    out.push(quote);
    out
}
