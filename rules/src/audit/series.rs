//! The minutes of operations and edges: one query for each table, whatever is judged of them.

use std::collections::BTreeMap;

use upriver_analyze::histogram::Histogram;
use upriver_analyze::literal;

use super::judge::{Minutes, PerRequest, Share};
use super::queries::{IS_ANSWER, IS_WORK, is_edge};
use super::windows::Windows;
use crate::diagnosis::Inquiry;
use crate::diagnosis::reading::{is_operation, within};
use crate::diagnosis::signal::{Edge, Operation};
use crate::error::RulesError;
use crate::rows::Rows;

/// Operations of a service that are looked at, the most frequent first.
const OPERATIONS_MAX: usize = 6;
/// Edges that are looked at, the most frequent first.
const EDGES_MAX: usize = 48;

/// The minutes of an operation.
#[derive(Clone, Debug, Default)]
pub(super) struct OperationMinutes {
    pub(super) durations: Minutes<Histogram>,
    pub(super) errors: Minutes<Share>,
    /// Of the changed version and of others, for the changed service.
    pub(super) by_version: [Minutes<Histogram>; 2],
}

/// The minutes of an edge.
#[derive(Clone, Debug, Default)]
pub(super) struct EdgeMinutes {
    pub(super) durations: Minutes<Histogram>,
    pub(super) errors: Minutes<Share>,
    /// Requests and responses; of wire and uncompressed sizes the one that there is more of.
    pub(super) bytes: [Sizes; 2],
}

/// Sizes of bodies in one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    pub(super) wire: Minutes<Histogram>,
    pub(super) uncompressed: Minutes<Histogram>,
}

/// Operations that answer requests, of some services, with their minutes.
pub(super) async fn operations(
    inquiry: &Inquiry<'_>,
    services: &[String],
    (version, windows): (&str, &Windows),
) -> Result<BTreeMap<Operation, OperationMinutes>, RulesError> {
    let chosen = frequent_operations(inquiry, services, windows).await?;
    let mut found = BTreeMap::<Operation, OperationMinutes>::new();
    if chosen.is_empty() {
        return Ok(found);
    }
    let conditions: Vec<_> =
        chosen.iter().map(|operation| format!("({})", is_operation(operation))).collect();
    let sql = format!(
        "SELECT service_name, span_name, span_kind, time, CASE WHEN service_version = {} THEN 1 ELSE 0 END AS is_changed,\n  sum(span_count) AS n, sum(error_count) AS errors, hist_merge(duration) AS duration\nFROM operation_minutes WHERE ({}) AND {}\nGROUP BY service_name, span_name, span_kind, time, is_changed\nORDER BY service_name, span_name, span_kind, time, is_changed",
        literal::text(version),
        conditions.join(" OR "),
        within("time", windows.history)
    );
    let rows = inquiry.rows("the minutes of operations", &sql).await?;
    let (times, changed) = (rows.times("time")?, rows.ints("is_changed")?);
    let (counts, errors) = (rows.ints("n")?, rows.ints("errors")?);
    let durations = rows.histograms("duration")?;
    for (row, operation) in operations_of(&rows)?.into_iter().enumerate() {
        let Some(time) = times[row] else { continue };
        let minutes = found.entry(operation).or_default();
        minutes.durations.add(time, &durations[row]);
        minutes.errors.add(time, &Share { hits: errors[row], n: counts[row] });
        minutes.by_version[usize::from(changed[row] == 0)].add(time, &durations[row]);
    }
    Ok(found)
}

async fn frequent_operations(
    inquiry: &Inquiry<'_>,
    services: &[String],
    windows: &Windows,
) -> Result<Vec<Operation>, RulesError> {
    let names: Vec<_> = services.iter().map(|name| literal::text(name)).collect();
    let sql = format!(
        "SELECT service_name, span_name, span_kind, sum(span_count) AS n FROM operation_minutes\nWHERE service_name IN ({}) AND {IS_ANSWER} AND {}\nGROUP BY service_name, span_name, span_kind\nORDER BY service_name, n DESC, span_name, span_kind",
        names.join(", "),
        within("time", windows.after)
    );
    let rows = inquiry.rows("the operations after the change", &sql).await?;
    let mut of_service = BTreeMap::<String, usize>::new();
    let mut chosen = operations_of(&rows)?;
    chosen.retain(|operation| {
        let seen = of_service.entry(operation.service.clone()).or_default();
        *seen += 1;
        *seen <= OPERATIONS_MAX
    });
    Ok(chosen)
}

fn operations_of(rows: &Rows) -> Result<Vec<Operation>, RulesError> {
    let (services, names) = (rows.texts("service_name")?, rows.texts("span_name")?);
    let kinds = rows.texts("span_kind")?;
    Ok(services
        .into_iter()
        .zip(names.into_iter().zip(kinds))
        .map(|(service, (span_name, span_kind))| Operation { service, span_name, span_kind })
        .collect())
}

/// Edges that a condition selects, with their minutes.
pub(super) async fn edges(
    inquiry: &Inquiry<'_>,
    condition: &str,
    windows: &Windows,
) -> Result<BTreeMap<Edge, EdgeMinutes>, RulesError> {
    let keys = "client_service, server_service, operation, reporter";
    let of_spans = "(source IS DISTINCT FROM 'metrics') AND client_service <> '' AND client_service <> server_service";
    let sql = format!(
        "SELECT {keys}, sum(span_count) AS n FROM edge_minutes\nWHERE ({condition}) AND {of_spans} AND {}\nGROUP BY {keys} ORDER BY n DESC, {keys} LIMIT {EDGES_MAX}",
        within("time", windows.after)
    );
    let chosen = edges_of(&inquiry.rows("the edges after the change", &sql).await?)?;
    let mut found = BTreeMap::<Edge, EdgeMinutes>::new();
    if chosen.is_empty() {
        return Ok(found);
    }
    let conditions: Vec<_> = chosen.iter().map(|edge| format!("({})", is_edge(edge))).collect();
    let sizes = SIZES.map(|column| format!("hist_merge({column}) AS {column}")).join(", ");
    let sql = format!(
        "SELECT {keys}, time, sum(span_count) AS n, sum(error_count) AS errors, hist_merge(duration) AS duration,\n  {sizes}\nFROM edge_minutes WHERE ({}) AND {of_spans} AND {}\nGROUP BY {keys}, time ORDER BY {keys}, time",
        conditions.join(" OR "),
        within("time", windows.history)
    );
    let rows = inquiry.rows("the minutes of edges", &sql).await?;
    let times = rows.times("time")?;
    let (counts, errors) = (rows.ints("n")?, rows.ints("errors")?);
    let durations = rows.histograms("duration")?;
    let sizes = SIZES.map(|column| rows.histograms(column));
    let [request_wire, request_plain, response_wire, response_plain] = sizes;
    let sizes = [[request_wire?, request_plain?], [response_wire?, response_plain?]];
    for (row, edge) in edges_of(&rows)?.into_iter().enumerate() {
        let Some(time) = times[row] else { continue };
        let minutes = found.entry(edge).or_default();
        minutes.durations.add(time, &durations[row]);
        minutes.errors.add(time, &Share { hits: errors[row], n: counts[row] });
        for (kept, [wire, plain]) in minutes.bytes.iter_mut().zip(&sizes) {
            kept.wire.add(time, &wire[row]);
            kept.uncompressed.add(time, &plain[row]);
        }
    }
    Ok(found)
}

const SIZES: [&str; 4] = [
    "request_wire_bytes",
    "request_uncompressed_bytes",
    "response_wire_bytes",
    "response_uncompressed_bytes",
];

fn edges_of(rows: &Rows) -> Result<Vec<Edge>, RulesError> {
    let (clients, servers) = (rows.texts("client_service")?, rows.texts("server_service")?);
    let (operations, reporters) = (rows.texts("operation")?, rows.texts("reporter")?);
    Ok((0..rows.len())
        .map(|row| Edge {
            client_service: clients[row].clone(),
            server_service: servers[row].clone(),
            operation: operations[row].clone(),
            reporter: reporters[row].clone(),
        })
        .collect())
}

/// A service's own work by the minute: self times of its spans, and the requests that it answers.
pub(super) async fn own_work(
    inquiry: &Inquiry<'_>,
    service: &str,
    windows: &Windows,
) -> Result<Minutes<PerRequest>, RulesError> {
    let sql = format!(
        "SELECT time, sum(CASE WHEN {IS_WORK} THEN coalesce(self_time['sum'], 0) ELSE 0 END) AS amount,\n  sum(CASE WHEN {IS_ANSWER} THEN span_count ELSE 0 END) AS requests\nFROM operation_minutes WHERE service_name = {} AND {}\nGROUP BY time ORDER BY time",
        literal::text(service),
        within("time", windows.history)
    );
    per_request(inquiry, "own work over time", &sql).await
}

/// Calls from a service to another by the minute, and the requests that it answers.
pub(super) fn calls(
    requests: &Minutes<PerRequest>,
    edges: &BTreeMap<Edge, EdgeMinutes>,
    (service, callee): (&str, &str),
) -> Minutes<PerRequest> {
    let mut calls = Minutes::default();
    for (minute, cell) in &requests.0 {
        calls.0.insert(*minute, PerRequest { amount: 0, requests: cell.requests });
    }
    let of_callee = edges.iter().filter(|(edge, _)| {
        edge.client_service == service && edge.server_service == callee && edge.reporter == "client"
    });
    for (_, minutes) in of_callee {
        for (minute, cell) in &minutes.errors.0 {
            calls.0.entry(*minute).or_default().amount += cell.n;
        }
    }
    calls
}

/// Processor time in the profiles of a service by the minute, and the requests that it answers.
pub(super) async fn cpu(
    inquiry: &Inquiry<'_>,
    (service, sample_type): (&str, &str),
    windows: &Windows,
) -> Result<Minutes<PerRequest>, RulesError> {
    let (name, window) = (literal::text(service), within("time", windows.history));
    let sql = format!(
        "SELECT time, sum(amount) AS amount, sum(requests) AS requests FROM (\n  SELECT time, value AS amount, 0 AS requests FROM profile_minutes\n  WHERE service_name = {name} AND sample_type = {} AND {window}\n  UNION ALL\n  SELECT time, 0, span_count FROM operation_minutes\n  WHERE service_name = {name} AND {IS_ANSWER} AND {window}\n) AS minutes\nGROUP BY time HAVING sum(amount) > 0 AND sum(requests) > 0 ORDER BY time",
        literal::text(sample_type)
    );
    per_request(inquiry, "processor time over time", &sql).await
}

async fn per_request(
    inquiry: &Inquiry<'_>,
    what: &'static str,
    sql: &str,
) -> Result<Minutes<PerRequest>, RulesError> {
    let rows = inquiry.rows(what, sql).await?;
    let (amounts, requests) = (rows.ints("amount")?, rows.ints("requests")?);
    let mut minutes = Minutes::default();
    for (row, time) in rows.times("time")?.into_iter().enumerate() {
        let Some(time) = time else { continue };
        minutes.add(time, &PerRequest { amount: amounts[row], requests: requests[row] });
    }
    Ok(minutes)
}
