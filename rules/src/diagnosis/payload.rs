//! Body sizes per edge, now and before, and how span times follow them.

use std::collections::BTreeMap;

use super::breadth::{Breadth, PartFactor};
use super::inquiry::{Figures, Inquiry, Reading};
use super::reading::{
    BODIES, Body, DURATION, SPAN_COUNT, body_column, body_rows, is_operation, operation_rows,
    payload_rows,
};
use super::signal::{Direction, Edge, Measure, Signal};
use crate::error::RulesError;
use crate::figures;
use crate::rows::Rows;
use crate::time::Periods;

/// Bodies that grew by less than this factor did not grow.
pub(crate) const GROWTH_MIN: f64 = 1.5;
/// Or by fewer bytes.
pub(crate) const GROWTH_BYTES_MIN: f64 = 512.0;
/// With fewer bodies in either window nothing is said.
pub(crate) const COUNT_MIN: i64 = 30;
/// A part with a lower elasticity does not care for the bytes.
const ELASTICITY_MIN: f64 = 0.1;
/// Grown edges that become findings, the most grown first.
const EDGES_MAX: usize = 6;

/// An edge whose bodies grew.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    pub(crate) edge: Edge,
    pub(crate) direction: Direction,
    pub(crate) measure: Measure,
    pub(crate) figures: Figures,
    pub(crate) finding: String,
}

impl Growth {
    pub(crate) fn ratio(&self) -> f64 {
        self.figures.ratio().unwrap_or(1.0)
    }

    /// The service that sends the grown bodies.
    pub(crate) fn producer(&self) -> &str {
        match self.direction {
            Direction::Request => &self.edge.client_service,
            Direction::Response => &self.edge.server_service,
        }
    }

    /// The service that has to cope with them.
    pub(crate) fn consumer(&self) -> &str {
        match self.direction {
            Direction::Request => &self.edge.server_service,
            Direction::Response => &self.edge.client_service,
        }
    }
}

/// What is known about body sizes around the symptom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payloads {
    pub(crate) growths: Vec<Growth>,
    /// Whether any sizes are known at all.
    pub(crate) is_measured: bool,
    pub(crate) elasticities: Vec<String>,
}

impl Payloads {
    /// Grown bodies that no grown bodies further down explain: a service that hands on what it got
    /// is not their origin.
    pub(crate) fn origins(&self) -> Vec<&Growth> {
        let receives = |service: &str, direction: Direction| {
            self.growths.iter().any(|g| g.direction == direction && g.consumer() == service)
        };
        self.growths
            .iter()
            .filter(|growth| !receives(growth.producer(), growth.direction))
            .collect()
    }
}

/// Compares body sizes on every edge that these services answer.
pub(crate) async fn compute(
    inquiry: &mut Inquiry<'_>,
    services: &[String],
    periods: &Periods,
) -> Result<Payloads, RulesError> {
    let mut payloads = Payloads::default();
    let mut grown = Vec::new();
    for ((direction, measure), sizes) in sizes(inquiry, services, periods).await? {
        payloads.is_measured |= !sizes.is_empty();
        grown.extend(
            sizes
                .into_iter()
                .filter(|(_, size)| size.has_grown())
                .map(|(edge, size)| (size.growth(), edge, direction, measure)),
        );
    }
    grown.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (&a.1, a.2, a.3).cmp(&(&b.1, b.2, b.3))));
    // Wire and uncompressed size of the same body are one growth.
    let mut seen: Vec<(Edge, Direction)> = Vec::new();
    for (_, edge, direction, measure) in grown {
        if seen.len() == EDGES_MAX || seen.contains(&(edge.clone(), direction)) {
            continue;
        }
        seen.push((edge.clone(), direction));
        payloads.growths.extend(note(inquiry, edge, (direction, measure), periods).await?);
    }
    if !payloads.is_measured {
        inquiry.not_measured(
            "body sizes",
            "no span carries http.request.body.size or http.response.body.size (or their kin) on the edges of the symptom",
        );
    }
    Ok(payloads)
}

/// Sizes on an edge in both periods: medians and counts.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    p50: [Option<f64>; 2],
    p99: [Option<f64>; 2],
    n: [i64; 2],
}

impl Size {
    fn ratio(pair: [Option<f64>; 2]) -> f64 {
        match pair {
            [Some(now), Some(before)] if before > 0.0 => now / before,
            _ => 1.0,
        }
    }

    fn growth(&self) -> f64 {
        Self::ratio(self.p50).max(Self::ratio(self.p99))
    }

    fn has_grown(&self) -> bool {
        let delta = |pair: [Option<f64>; 2]| pair[0].unwrap_or(0.0) - pair[1].unwrap_or(0.0);
        let grew = |pair| Self::ratio(pair) >= GROWTH_MIN && delta(pair) >= GROWTH_BYTES_MIN;
        self.n.iter().all(|n| *n >= COUNT_MIN) && (grew(self.p50) || grew(self.p99))
    }
}

/// Sizes of each kind by edge; of two reporters of one edge the server counts.
async fn sizes(
    inquiry: &Inquiry<'_>,
    services: &[String],
    periods: &Periods,
) -> Result<Vec<(Body, BTreeMap<Edge, Size>)>, RulesError> {
    let both = [("now", periods.now), ("before", periods.before)];
    let rows = body_rows(services, &both, periods.at);
    let figures = BODIES.map(|body| {
        let name = body_column(body);
        format!(
            "  hist_quantile({name}, 0.5) AS {name}_p50, hist_quantile({name}, 0.99) AS {name}_p99, sum({name}['count']) AS {name}_n"
        )
    });
    let sql = format!(
        "SELECT client, server, operation, reporter, period,\n{}\nFROM (\n{rows}\n) AS rows\nGROUP BY client, server, operation, reporter, period\nORDER BY client, server, operation, reporter, period",
        figures.join(",\n")
    );
    let rows = inquiry.rows("body sizes", &sql).await?;
    BODIES.into_iter().map(|body| Ok((body, sizes_of(body, &rows)?))).collect()
}

fn sizes_of(body: Body, rows: &Rows) -> Result<BTreeMap<Edge, Size>, RulesError> {
    let figure = |name: &str| rows.floats(&format!("{}_{name}", body_column(body)));
    let (p50, p99) = (figure("p50")?, figure("p99")?);
    let counts = rows.ints(&format!("{}_n", body_column(body)))?;
    let (clients, servers) = (rows.texts("client")?, rows.texts("server")?);
    let (operations, reporters) = (rows.texts("operation")?, rows.texts("reporter")?);
    let periods = rows.texts("period")?;
    let mut sizes: BTreeMap<Edge, Size> = BTreeMap::new();
    for row in (0..rows.len()).filter(|row| counts[*row] > 0) {
        let edge = Edge {
            client_service: clients[row].clone(),
            server_service: servers[row].clone(),
            operation: operations[row].clone(),
            reporter: reporters[row].clone(),
        };
        let size = sizes.entry(edge).or_default();
        let side = usize::from(periods[row] != "now");
        (size.p50[side], size.p99[side], size.n[side]) = (p50[row], p99[row], counts[row]);
    }
    let servers_know: Vec<Edge> = sizes
        .iter()
        .filter(|(edge, size)| edge.reporter == "server" && size.n.iter().all(|n| *n >= COUNT_MIN))
        .map(|(edge, _)| Edge { reporter: "client".to_owned(), ..edge.clone() })
        .collect();
    sizes.retain(|edge, _| !servers_know.contains(edge));
    Ok(sizes)
}

async fn note(
    inquiry: &mut Inquiry<'_>,
    edge: Edge,
    (direction, measure): (Direction, Measure),
    periods: &Periods,
) -> Result<Option<Growth>, RulesError> {
    let signal = |quantile| Signal::Payload { edge: edge.clone(), direction, measure, quantile };
    let median = inquiry.read(signal(0.5), periods).await?;
    let tail = inquiry.read(signal(0.99), periods).await?;
    let (reading, name) = if median.figures.ratio().unwrap_or(1.0) >= GROWTH_MIN {
        (median, "at the median")
    } else {
        (tail, "at the 99th percentile")
    };
    let Some((now, before)) = reading.figures.pair() else { return Ok(None) };
    let subject = subject(&edge);
    let statement = format!(
        "the {} of {subject} grew from {} to {} {name} ({})",
        direction.name(),
        figures::bytes(before),
        figures::bytes(now),
        figures::times(reading.figures.ratio().unwrap_or(1.0))
    );
    let figures = reading.figures;
    let finding = inquiry.note("payload_growth", &subject, reading, statement);
    Ok(Some(Growth { edge, direction, measure, figures, finding }))
}

/// `inventory-service GET /items to checkout`.
pub(crate) fn subject(edge: &Edge) -> String {
    let client =
        if edge.client_service.is_empty() { "its callers" } else { edge.client_service.as_str() };
    format!("{} {} to {client}", edge.server_service, edge.operation)
}

/// How much of a power of the bodies' growth each part follows: 0 for a part that does not care, 1
/// where twice the bytes take twice the time.
pub(crate) async fn elasticities(
    inquiry: &mut Inquiry<'_>,
    breadth: &Breadth,
    growth: &Growth,
    periods: &Periods,
) -> Result<Vec<String>, RulesError> {
    let mut findings = Vec::new();
    for factor in &breadth.parts {
        let reading = elasticity(inquiry, factor, growth, periods).await?;
        let Some(observed) = reading.figures.observed else { continue };
        let name = &factor.part.operation.span_name;
        let follows = if observed < ELASTICITY_MIN { "does not follow" } else { "follows" };
        let statement = format!(
            "{name} {follows} the size of {} (elasticity {:.2}: {} for {} the bytes)",
            subject(&growth.edge),
            // Not "-0.00".
            (observed * 100.0).round() / 100.0 + 0.0,
            figures::times(factor.ratio()),
            figures::times(growth.ratio())
        );
        let subject = super::symptom::subject(&factor.part.operation);
        findings.push(inquiry.note("payload_elasticity", &subject, reading, statement));
    }
    Ok(findings)
}

async fn elasticity(
    inquiry: &Inquiry<'_>,
    factor: &PartFactor,
    growth: &Growth,
    periods: &Periods,
) -> Result<Reading, RulesError> {
    let both = [("now", periods.now), ("before", periods.before)];
    let columns = [SPAN_COUNT, DURATION];
    let spans = operation_rows(&is_operation(&factor.part.operation), &columns, &both, periods.at);
    let (direction, measure) = (growth.direction, growth.measure);
    let bodies = payload_rows(&growth.edge, (direction, measure), &both, periods.at);
    let side = |figure: &str, period: &str| {
        format!("hist_quantile({figure}, 0.5) FILTER (WHERE period = '{period}')")
    };
    let sql = format!(
        "WITH spans_of_part AS (\n  SELECT {} / {} AS ratio, sum(span_count) FILTER (WHERE period = 'now') AS n FROM (\n{spans}\n  ) AS rows\n),\nbodies AS (\n  SELECT {} / {} AS ratio FROM (\n{bodies}\n  ) AS rows\n)\nSELECT ln(s.ratio) / ln(b.ratio) AS observed, CAST(NULL AS DOUBLE) AS baseline, coalesce(s.n, 0) AS n\nFROM spans_of_part AS s CROSS JOIN bodies AS b",
        side("duration", "now"),
        side("duration", "before"),
        side("bytes", "now"),
        side("bytes", "before")
    );
    inquiry.read_sql(sql, "elasticity").await
}

#[cfg(test)]
mod tests {
    use upriver_analyze::{Session, SessionOptions};
    use upriver_store::snapshot::Snapshot;

    use super::*;
    use crate::time::{MINUTE, SECOND, Time, Window};

    /// Minutes and single bodies differ in what may be missing, and either may come first.
    #[tokio::test]
    async fn sizes_are_read_wherever_windows_begin_and_end() {
        let session = Session::new(Snapshot::default(), &SessionOptions::default()).unwrap();
        let inquiry = Inquiry::new(&session, Time::of(100 * MINUTE));
        for (start, end) in [(0, 0), (0, 30), (30, 0), (30, 30)] {
            for at in [80, 70] {
                let window = |from: i64, to: i64| {
                    Window::new(
                        Time::of(from * MINUTE + start * SECOND),
                        Time::of(to * MINUTE + end * SECOND),
                    )
                };
                let at = Time::of(at * MINUTE);
                let periods = Periods { now: window(60, 70), before: window(10, 20), at };
                let sizes = sizes(&inquiry, &["shop".to_owned()], &periods).await.unwrap();
                assert!(sizes.iter().all(|(_, of_edges)| of_edges.is_empty()), "{periods:?}");
            }
        }
    }
}
