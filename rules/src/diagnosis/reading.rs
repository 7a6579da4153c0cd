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

impl Column {
    /// As it is called in results.
    pub(crate) fn name(self) -> &'static str {
        self.name
    }
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
    rows_of(condition, (&[], columns), periods, at)
}

/// The same of several operations: rows `(service_name, span_name, span_kind, period, columns..)`.
pub(crate) fn rows_by_operation(
    condition: &str,
    columns: &[Column],
    periods: &[(&str, Window)],
    at: Time,
) -> String {
    rows_of(condition, (&KEYS, columns), periods, at)
}

/// What an operation is.
const KEYS: [&str; 3] = ["service_name", "span_name", "span_kind"];

fn rows_of(
    condition: &str,
    (keys, columns): (&[&str], &[Column]),
    periods: &[(&str, Window)],
    at: Time,
) -> String {
    let (select, group) = match keys {
        [] => (String::new(), String::new()),
        keys => (format!("{}, ", keys.join(", ")), format!("\n  GROUP BY {}", keys.join(", "))),
    };
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    let of_spans: Vec<_> =
        columns.iter().map(|c| format!("{} AS {}", c.of_spans, c.name)).collect();
    let parts = periods.iter().flat_map(|(period, window)| {
        pieces(*window, at).into_iter().map(|piece| match piece {
            Piece::Minutes(part) => format!(
                "  SELECT {select}'{period}' AS period, {} FROM operation_minutes\n  WHERE {condition} AND {}",
                names.join(", "),
                within("time", part)
            ),
            Piece::Spans(part) => format!(
                "  SELECT {select}'{period}' AS period, {} FROM spans\n  WHERE {condition} AND {} AND {}{group}",
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
    let keys = KEYS.join(", ");
    let pieces = if bin < MINUTE { vec![Piece::Spans(window)] } else { pieces(window, at) };
    let bin = format!("date_bin(INTERVAL '{} seconds', time)", bin / crate::time::SECOND);
    let parts = pieces.into_iter().map(|piece| match piece {
        Piece::Minutes(part) => format!(
            "  SELECT {keys}, time, hist_merge(duration) AS duration FROM operation_minutes\n  WHERE {condition} AND {}\n  GROUP BY {keys}, time",
            within("time", part)
        ),
        Piece::Spans(part) => format!(
            "  SELECT {keys}, {bin} AS time, hist_of(duration_ns) AS duration FROM spans\n  WHERE {condition} AND {} AND {}\n  GROUP BY {keys}, 4",
            within("time", part),
            ended(at)
        ),
    });
    let parts = parts.collect::<Vec<_>>().join("\n  UNION ALL\n");
    format!("SELECT {keys}, time, duration FROM (\n{parts}\n) AS bins\nORDER BY {keys}, time")
}

/// One of the sizes that are known of calls.
pub(crate) type Body = (Direction, Measure);

/// All of them.
pub(crate) const BODIES: [Body; 4] = [
    (Direction::Response, Measure::Wire),
    (Direction::Response, Measure::Uncompressed),
    (Direction::Request, Measure::Wire),
    (Direction::Request, Measure::Uncompressed),
];

/// Its column in `edge_minutes`.
pub(crate) fn body_column((direction, measure): Body) -> String {
    format!("{}_{}", direction.name(), measure.column())
}

/// Rows `(period, bytes)` of one body on one edge.
pub(crate) fn payload_rows(
    edge: &Edge,
    body: Body,
    periods: &[(&str, Window)],
    at: Time,
) -> String {
    let (direction, measure) = body;
    let select = Select {
        keys: "",
        of_minutes: format!("p.{} AS bytes", body_column(body)),
        of_bodies: format!("hist_of(p.{}) AS bytes", measure.column()),
        condition: format!("{} AND p.direction = '{}'", is_edge(edge), direction.name()),
        condition_of_minutes: is_edge(edge),
        group: "",
    };
    rows_of_bodies(&select, periods, at)
}

/// Rows `(client, server, operation, reporter, period, bodies..)` of all edges that services answer, with
/// a column of each of [`BODIES`].
pub(crate) fn body_rows(services: &[String], periods: &[(&str, Window)], at: Time) -> String {
    let services: Vec<_> = services.iter().map(|name| literal::text(name)).collect();
    let condition = format!("p.server_service IN ({})", services.join(", "));
    let of_bodies = BODIES.map(|body| {
        let (direction, measure) = body;
        let name = body_column(body);
        format!(
            "hist_of(p.{}) FILTER (WHERE p.direction = '{}') AS {name}",
            measure.column(),
            direction.name()
        )
    });
    let select = Select {
        // Who is not known is '' in the rollup and null in the rows.
        keys: "coalesce(p.client_service, '') AS client, coalesce(p.server_service, '') AS server, p.operation, p.reporter, ",
        of_minutes: BODIES.map(|body| format!("p.{}", body_column(body))).join(", "),
        of_bodies: of_bodies.join(", "),
        condition_of_minutes: condition.clone(),
        condition,
        group: "\n  GROUP BY 1, 2, p.operation, p.reporter",
    };
    rows_of_bodies(&select, periods, at)
}

/// What is read of bodies, of minutes and of single ones.
struct Select {
    keys: &'static str,
    of_minutes: String,
    of_bodies: String,
    condition_of_minutes: String,
    condition: String,
    group: &'static str,
}

fn rows_of_bodies(select: &Select, periods: &[(&str, Window)], at: Time) -> String {
    let Select { keys, of_minutes, of_bodies, condition_of_minutes, condition, group } = select;
    let parts = periods.iter().flat_map(|(period, window)| {
        pieces(*window, at)
            .into_iter()
            .map(|piece| match piece {
                Piece::Minutes(part) => format!(
                    "  SELECT {keys}'{period}' AS period, {of_minutes} FROM edge_minutes AS p\n  WHERE {condition_of_minutes} AND (p.source IS DISTINCT FROM 'metrics') AND {}",
                    within("p.time", part)
                ),
                Piece::Spans(part) => format!(
                    "  SELECT {keys}'{period}' AS period, {of_bodies} FROM payload_sizes AS p\n  WHERE {condition} AND {} AND {}{group}",
                    within("p.time", part),
                    ended(at).replace("start_unix_nano", "p.time_unix_nano")
                ),
            })
            .collect::<Vec<_>>()
    });
    parts.collect::<Vec<_>>().join("\n  UNION ALL\n")
}

fn is_edge(edge: &Edge) -> String {
    let texts = [
        ("client_service", &edge.client_service),
        ("server_service", &edge.server_service),
        ("operation", &edge.operation),
        ("reporter", &edge.reporter),
    ];
    let equal = texts.map(|(column, value)| {
        // A sender that is not known is '' in the rollup and null in the rows.
        let column = if column == "client_service" && value.is_empty() {
            format!("coalesce(p.{column}, '')")
        } else {
            format!("p.{column}")
        };
        format!("{column} = {}", literal::text(value))
    });
    equal.join(" AND ")
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

/// A condition that selects several.
pub(crate) fn is_any(operations: &[&Operation]) -> String {
    let each: Vec<_> = operations.iter().map(|one| format!("({})", is_operation(one))).collect();
    format!("({})", each.join(" OR "))
}

/// `column >= start AND column < end`.
pub(crate) fn within(column: &str, window: Window) -> String {
    format!("{column} >= {} AND {column} < {}", window.start.sql(), window.end.sql())
}

/// A span that ended before an instant.
pub(crate) fn ended(at: Time) -> String {
    format!("start_unix_nano + duration_ns < {}", at.nanos())
}
