//! What a comparison reads: whole minutes from the rollups, their ragged edges from spans, so that a
//! window is exact to the nanosecond and cheap however much traffic there was.
//!
//! A rollup row counts the spans that *began* in its minute. Near the instant of the diagnosis some
//! of them may have ended after it, so the last minutes are read from spans, which say when they
//! ended.

use upriver_analyze::literal;

use super::signal::{Direction, Edge, Measure, Operation};
use crate::time::{MINUTE, Time, Window};

#[cfg(test)]
mod tests;

/// Spans that began longer ago than this have ended: rollups are read up to here.
const SETTLE: i64 = 2 * MINUTE;

/// A column of `operation_minutes`, and how it is made from `spans`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    of_spans: &'static str,
}

/// Number of spans.
pub(crate) const SPAN_COUNT: Column = Column { name: "span_count", of_spans: "count(*)" };
/// Number of failed spans.
pub(crate) const ERROR_COUNT: Column =
    Column { name: "error_count", of_spans: "count(*) FILTER (WHERE status_code = 'ERROR')" };
/// Number of requests that the spans stand for, in millionths.
pub(crate) const ADJUSTED_COUNT: Column =
    Column { name: "adjusted_count_micros", of_spans: "sum(adjusted_count_micros)" };
/// Durations.
pub(crate) const DURATION: Column = Column { name: "duration", of_spans: "hist_of(duration_ns)" };

/// A part of a window and where it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Minutes(Window),
    Spans(Window),
}

/// Cuts a window into whole settled minutes and the rest. There is at least one piece.
fn pieces(window: Window, at: Time) -> Vec<Piece> {
    let minute_down = |time: Time| Time::of(time.nanos().div_euclid(MINUTE) * MINUTE);
    let first = minute_down(window.start + (MINUTE - 1));
    let last = minute_down(window.end.min(at - SETTLE));
    if last <= first {
        return vec![Piece::Spans(window)];
    }
    let mut pieces = Vec::new();
    if window.start < first {
        pieces.push(Piece::Spans(Window::new(window.start, first)));
    }
    pieces.push(Piece::Minutes(Window::new(first, last)));
    if last < window.end {
        pieces.push(Piece::Spans(Window::new(last, window.end)));
    }
    pieces
}

/// Rows `(period, columns..)` of the operations that a condition on `service_name`, `span_name`,
/// `span_kind`, `service_version` or `parent_service` selects.
pub(crate) fn operation_rows(
    condition: &str,
    columns: &[Column],
    periods: &[(&str, Window)],
    at: Time,
) -> String {
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    let of_spans: Vec<_> =
        columns.iter().map(|c| format!("{} AS {}", c.of_spans, c.name)).collect();
    let parts = periods.iter().flat_map(|(period, window)| {
        pieces(*window, at).into_iter().map(|piece| match piece {
            Piece::Minutes(part) => format!(
                "  SELECT '{period}' AS period, {} FROM operation_minutes\n  WHERE {condition} AND {}",
                names.join(", "),
                within("time", part)
            ),
            Piece::Spans(part) => format!(
                "  SELECT '{period}' AS period, {} FROM spans\n  WHERE {condition} AND {} AND {}",
                of_spans.join(", "),
                within("time", part),
                ended(at)
            ),
        }).collect::<Vec<_>>()
    });
    parts.collect::<Vec<_>>().join("\n  UNION ALL\n")
}

/// Rows `(service_name, span_name, span_kind, time, duration)` in bins, of the operations that a condition
/// selects. With `bin` a minute the rollups are read, below that the spans.
pub(crate) fn series_rows(condition: &str, window: Window, bin: i64, at: Time) -> String {
    const KEYS: &str = "service_name, span_name, span_kind";
    let pieces = if bin < MINUTE { vec![Piece::Spans(window)] } else { pieces(window, at) };
    let bin = format!("date_bin(INTERVAL '{} seconds', time)", bin / crate::time::SECOND);
    let parts = pieces.into_iter().map(|piece| match piece {
        Piece::Minutes(part) => format!(
            "  SELECT {KEYS}, time, hist_merge(duration) AS duration FROM operation_minutes\n  WHERE {condition} AND {}\n  GROUP BY {KEYS}, time",
            within("time", part)
        ),
        Piece::Spans(part) => format!(
            "  SELECT {KEYS}, {bin} AS time, hist_of(duration_ns) AS duration FROM spans\n  WHERE {condition} AND {} AND {}\n  GROUP BY {KEYS}, 4",
            within("time", part),
            ended(at)
        ),
    });
    let parts = parts.collect::<Vec<_>>().join("\n  UNION ALL\n");
    format!("SELECT {KEYS}, time, duration FROM (\n{parts}\n) AS bins\nORDER BY {KEYS}, time")
}

/// What a query for sizes groups by: one edge, or every edge of some services.
#[derive(Clone, Debug)]
pub(crate) enum Edges<'a> {
    /// The rows of one edge.
    One(&'a Edge),
    /// The rows of all edges that these services answer, with the columns of the edge.
    Servers(&'a [String]),
}

/// Rows `(period, bytes)` of body sizes, for several edges with their columns before it.
pub(crate) fn payload_rows(
    edges: &Edges<'_>,
    direction: Direction,
    measure: Measure,
    (periods, at): (&[(&str, Window)], Time),
) -> String {
    let keys = ["client_service", "server_service", "operation", "reporter"];
    let (select, group) = match edges {
        Edges::One(_) => (String::new(), String::new()),
        Edges::Servers(_) => {
            let of = |table: &str| keys.map(|key| format!("{table}.{key}")).join(", ");
            (format!(", {}", of("p")), format!("\n  GROUP BY {}", of("p")))
        }
    };
    let condition = edges.condition("p");
    let column = format!("{}_{}", direction.name(), measure.column());
    let parts = periods.iter().flat_map(|(period, window)| {
        pieces(*window, at)
            .into_iter()
            .map(|piece| match piece {
                Piece::Minutes(part) => format!(
                    "  SELECT '{period}' AS period{select}, p.{column} AS bytes FROM edge_minutes AS p\n  WHERE {condition} AND (p.source IS DISTINCT FROM 'metrics') AND {}",
                    within("p.time", part)
                ),
                Piece::Spans(part) => format!(
                    "  SELECT '{period}' AS period{select}, hist_of(p.{}) AS bytes FROM payload_sizes AS p\n  JOIN spans AS s ON s.trace_id = p.trace_id AND s.span_id = p.span_id\n    AND s.service_name = CASE p.reporter WHEN 'server' THEN p.server_service ELSE p.client_service END\n  WHERE {condition} AND p.direction = '{}' AND {} AND {} AND {}{group}",
                    measure.column(),
                    direction.name(),
                    within("p.time", part),
                    within("s.time", part),
                    ended(at).replace("start_unix_nano", "s.start_unix_nano")
                ),
            })
            .collect::<Vec<_>>()
    });
    parts.collect::<Vec<_>>().join("\n  UNION ALL\n")
}

impl Edges<'_> {
    fn condition(&self, table: &str) -> String {
        match self {
            Self::One(edge) => {
                let texts = [
                    ("client_service", &edge.client_service),
                    ("server_service", &edge.server_service),
                    ("operation", &edge.operation),
                    ("reporter", &edge.reporter),
                ];
                let equal = texts.map(|(column, value)| {
                    // A sender that is not known is '' in the rollup and null in the rows.
                    let column = if column == "client_service" && value.is_empty() {
                        format!("coalesce({table}.{column}, '')")
                    } else {
                        format!("{table}.{column}")
                    };
                    format!("{column} = {}", literal::text(value))
                });
                equal.join(" AND ")
            }
            Self::Servers(services) => {
                let services: Vec<_> = services.iter().map(|name| literal::text(name)).collect();
                format!("{table}.server_service IN ({})", services.join(", "))
            }
        }
    }
}

/// A condition that selects an operation.
pub(crate) fn is_operation(operation: &Operation) -> String {
    format!(
        "service_name = {} AND span_name = {} AND span_kind = {}",
        literal::text(&operation.service),
        literal::text(&operation.span_name),
        literal::text(&operation.span_kind)
    )
}

/// `column >= start AND column < end`.
pub(crate) fn within(column: &str, window: Window) -> String {
    format!("{column} >= {} AND {column} < {}", window.start.sql(), window.end.sql())
}

/// A span that ended before an instant.
pub(crate) fn ended(at: Time) -> String {
    format!("start_unix_nano + duration_ns < {}", at.nanos())
}
