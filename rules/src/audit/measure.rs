//! What is measured of a service and of those around it, each with a finding.

mod profiles;

use std::collections::{BTreeMap, BTreeSet};

use upriver_analyze::histogram::Histogram;
use upriver_analyze::literal;

use super::document::Role;
use super::judge::{COUNT_MIN, Minutes, PerRequest, REQUESTS_MIN, Verdict, Z_UNDECIDED};
use super::queries;
use super::series::{self, EdgeMinutes, OperationMinutes};
use super::windows::Windows;
use crate::diagnosis::payload::{GROWTH_BYTES_MIN, GROWTH_MIN, subject as edge_subject};
use crate::diagnosis::reading::is_operation;
use crate::diagnosis::signal::{Direction, Edge, Measure, Operation, Signal};
use crate::diagnosis::symptom::{DELTA_MS_MIN, latency_statement, measure_name, subject};
use crate::diagnosis::traffic::ERROR_POINTS;
use crate::diagnosis::{Change, Graph, Inquiry, Reading};
use crate::error::RulesError;
use crate::figures;
use crate::statistics::share_z_by;
use crate::time::{MINUTE, Periods, Time, Window};

/// Slower, or more, is worth a word by this factor: as for a symptom.
const RATIO_MIN: f64 = 1.2;
/// Another rate of requests is an explanation of its own from this factor on.
const RATE_MIN: f64 = 1.5;
/// Callers that are looked at, the nearest first.
const CONSUMERS_MAX: usize = 8;
/// Operations of a caller that are looked at, the most frequent first.
const CONSUMER_OPERATIONS_MAX: usize = 3;
/// Callers of which profiles are compared: each costs some queries.
const PROFILED_MAX: usize = 4;
/// Minutes in which two versions ran side by side, below which they are not compared.
const SIDE_BY_SIDE_MIN: usize = 5;
/// The quantiles that are watched, and the observations on each side that one needs.
const QUANTILES: [(f64, i64); 3] = [(0.5, COUNT_MIN), (0.9, COUNT_MIN), (0.99, 368)];

/// What sort of signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Time of requests to an operation.
    Latency,
    /// The same of the new version against others in the same minutes.
    ByVersion,
    /// Failed requests.
    Errors,
    /// Bodies of responses on an edge.
    Responses,
    /// Bodies of requests on an edge.
    Requests,
    /// Time of calls on an edge, as the caller sees it.
    Calls,
    /// Calls to a service for each request.
    CallRate,
    /// Own work for each request.
    OwnWork,
    /// Processor time for each request.
    Cpu,
    /// Share of garbage collection and allocation in the processor time.
    Garbage,
    /// Requests per second.
    Rate,
}

impl What {
    fn rule(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::ByVersion => "latency_by_version",
            Self::Errors => "error_share",
            Self::Responses => "response_size",
            Self::Requests => "request_size",
            Self::Calls => "call_latency",
            Self::CallRate => "calls_per_request",
            Self::OwnWork => "own_time_per_request",
            Self::Cpu => "cpu_per_request",
            Self::Garbage => "garbage_collection_share",
            Self::Rate => "request_rate",
        }
    }
}

/// A measured signal.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) role: Role,
    pub(super) service: String,
    pub(super) what: What,
    pub(super) rule: &'static str,
    pub(super) subject: String,
    /// On an edge: between whom.
    pub(super) edge: Option<(String, String)>,
    pub(super) verdict: Verdict,
    /// Quantiles that were tried.
    pub(super) tests: usize,
    /// Whether the figures are worse by the least factor and difference of their kind.
    pub(super) is_larger: bool,
    /// Observations on each side that its kind needs to be called unchanged.
    pub(super) needed: i64,
    pub(super) finding: String,
}

/// All signals of a change.
#[derive(Debug)]
pub(super) struct All {
    pub(super) signals: Vec<Measured>,
    /// Requests to the service before and after.
    pub(super) requests: (i64, i64),
}

/// Who is around the changed service.
struct Around {
    service: String,
    /// Callers by distance.
    consumers: Vec<String>,
    direct: Vec<String>,
    callees: BTreeSet<String>,
}

impl Around {
    fn of(service: &str, graph: &Graph) -> Self {
        let mut up: Vec<(usize, String)> = graph
            .upstream(service)
            .into_iter()
            .filter(|(name, _)| name != service)
            .map(|(name, distance)| (distance, name))
            .collect();
        up.sort();
        up.truncate(CONSUMERS_MAX);
        let down = graph.downstream(service).into_iter();
        Self {
            service: service.to_owned(),
            direct: up.iter().filter(|(d, _)| *d == 1).map(|(_, name)| name.clone()).collect(),
            consumers: up.into_iter().map(|(_, name)| name).collect(),
            callees: down.filter(|(_, distance)| *distance == 1).map(|(name, _)| name).collect(),
        }
    }

    fn is_consumer(&self, service: &str) -> bool {
        self.consumers.iter().any(|name| name == service)
    }
}

/// An audit that is being made.
struct Measuring<'a, 'b> {
    inquiry: &'a mut Inquiry<'b>,
    change: &'a Change,
    windows: &'a Windows,
    around: Around,
    periods: Periods,
    signals: Vec<Measured>,
}

/// Measures everything.
pub(super) async fn all(
    inquiry: &mut Inquiry<'_>,
    change: &Change,
    (windows, graph): (&Windows, &Graph),
) -> Result<All, RulesError> {
    let periods = Periods { now: windows.after, before: windows.before, at: inquiry.at };
    let around = Around::of(&change.service, graph);
    let mut measuring =
        Measuring { inquiry, change, windows, around, periods, signals: Vec::new() };
    let requests = measuring.run().await?;
    Ok(All { signals: measuring.signals, requests })
}

impl Measuring<'_, '_> {
    async fn run(&mut self) -> Result<(i64, i64), RulesError> {
        let service = self.change.service.clone();
        let work = series::own_work(self.inquiry, &service, self.windows).await?;
        let requests = work.counts(self.windows);
        if self.windows.after.nanos() < MINUTE {
            self.inquiry.not_measured("everything since the change", "no whole minute is over yet");
            return Ok(requests);
        }
        let callees = self.around.callees.iter();
        let services: Vec<String> =
            [&service].into_iter().chain(&self.around.consumers).chain(callees).cloned().collect();
        let version = self.change.version.as_str();
        let operations =
            series::operations(self.inquiry, &services, (version, self.windows)).await?;
        let edges = series::edges(self.inquiry, &self.edges_condition(), self.windows).await?;
        self.of_operations(&operations).await?;
        self.of_edges(&edges).await?;
        self.work_per_request(&work).await?;
        self.calls_per_request((&work, &edges)).await?;
        self.request_rate(&operations).await?;
        let direct = self.around.direct.clone();
        for name in [&service].into_iter().chain(direct.iter().take(PROFILED_MAX)) {
            self.of_profiles(name).await?;
        }
        if self.around.consumers.is_empty() {
            self.inquiry.not_measured(
                format!("consumers of {service}"),
                "no service that calls it sends spans in these windows",
            );
        }
        Ok(requests)
    }

    fn edges_condition(&self) -> String {
        let list = |names: &mut dyn Iterator<Item = &String>| {
            names.map(|name| literal::text(name)).collect::<Vec<_>>().join(", ")
        };
        let Around { service, consumers, callees, .. } = &self.around;
        format!(
            "server_service IN ({}) OR client_service IN ({})",
            list(&mut [service].into_iter().chain(consumers).chain(callees)),
            list(&mut [service].into_iter().chain(consumers))
        )
    }

    fn role_of(&self, service: &str) -> Role {
        if service == self.around.service {
            Role::Own
        } else if self.around.is_consumer(service) {
            Role::Consumer
        } else {
            Role::Surroundings
        }
    }

    async fn of_operations(
        &mut self,
        operations: &BTreeMap<Operation, OperationMinutes>,
    ) -> Result<(), RulesError> {
        let mut seen = BTreeMap::<&str, usize>::new();
        let mut by_count: Vec<_> = operations.iter().collect();
        by_count.sort_by_key(|(operation, minutes)| {
            (-minutes.durations.counts(self.windows).1, (*operation).clone())
        });
        for (operation, minutes) in by_count {
            let role = self.role_of(&operation.service);
            let count = seen.entry(&operation.service).or_default();
            *count += 1;
            if role == Role::Consumer && *count > CONSUMER_OPERATIONS_MAX {
                continue;
            }
            self.latency(operation, minutes, role).await?;
            self.errors(operation, minutes, role).await?;
            if role == Role::Own {
                self.by_version(operation, minutes).await?;
            }
        }
        Ok(())
    }

    async fn latency(
        &mut self,
        operation: &Operation,
        minutes: &OperationMinutes,
        role: Role,
    ) -> Result<(), RulesError> {
        let Some(chosen) = worst(&minutes.durations, self.windows, (is_slower, MS_OF_NANOS)) else {
            if role != Role::Surroundings {
                self.too_few(&subject(operation), minutes.durations.counts(self.windows));
            }
            return Ok(());
        };
        if role == Role::Surroundings && !chosen.speaks() {
            return Ok(());
        }
        let signal = Signal::Duration { operation: operation.clone(), quantile: chosen.quantile };
        let reading = self.inquiry.read(signal, &self.periods).await?;
        let subject = subject(operation);
        let statement = latency_statement(&subject, chosen.quantile, &reading).unwrap_or_default();
        let larger = is_slower(reading.figures.pair());
        let of = Of { role, service: &operation.service, what: What::Latency, edge: None };
        self.push(of, (subject, reading, statement), chosen.judged(larger));
        Ok(())
    }

    async fn errors(
        &mut self,
        operation: &Operation,
        minutes: &OperationMinutes,
        role: Role,
    ) -> Result<(), RulesError> {
        let verdict = minutes.errors.larger(self.windows);
        let is_enough = verdict.n.0.min(verdict.n.1) >= COUNT_MIN;
        if !is_enough || (role != Role::Own && verdict.z < Z_UNDECIDED) {
            return Ok(());
        }
        let signal = Signal::ErrorShare { operation: operation.clone() };
        let reading = self.inquiry.read(signal, &self.periods).await?;
        let Some((now, before)) = reading.figures.pair() else { return Ok(()) };
        let subject = subject(operation);
        let statement =
            format!("{now:.2} % of the requests to {subject} failed, {before:.2} % before");
        let larger = now - before >= ERROR_POINTS;
        let of = Of { role, service: &operation.service, what: What::Errors, edge: None };
        self.push(of, (subject, reading, statement), Judged::of(verdict, larger));
        Ok(())
    }

    /// The new version against the others in the same minutes.
    async fn by_version(
        &mut self,
        operation: &Operation,
        minutes: &OperationMinutes,
    ) -> Result<(), RulesError> {
        let [changed, others] = &minutes.by_version;
        let after = self.windows.after;
        let shared: Vec<i64> = changed
            .0
            .range(after.start.nanos()..after.end.nanos())
            .map(|(minute, _)| *minute)
            .filter(|minute| others.0.contains_key(minute))
            .collect();
        let (Some(first), Some(last)) = (shared.first(), shared.last()) else { return Ok(()) };
        let window = Window::new(Time::of(*first), Time::of(*last) + MINUTE);
        let (new, old) = (changed.within(window), others.within(window));
        if shared.len() < SIDE_BY_SIDE_MIN || new.count.min(old.count) < COUNT_MIN {
            return Ok(());
        }
        let z_at = |q: f64| {
            let threshold = old.quantile(q).unwrap_or(0.0);
            let counted = |of: &Histogram| {
                let n = of.count as f64;
                (of.fraction_above(threshold).unwrap_or(0.0) * n, n)
            };
            // The minute is the same for both: requests are as good as independent.
            share_z_by(counted(&new), counted(&old), 1.0)
        };
        let quantile = [0.5, 0.9].into_iter().max_by(|a, b| z_at(*a).total_cmp(&z_at(*b)));
        let quantile = quantile.unwrap_or(0.5);
        let verdict =
            Verdict { z: z_at(quantile), placebos: 0, since: None, n: (old.count, new.count) };
        let periods = Periods { now: window, ..self.periods };
        let (condition, version) = (is_operation(operation), self.change.version.as_str());
        let sql = queries::side_by_side(&condition, version, quantile, &periods);
        let reading = self.inquiry.read_sql(sql, "ms").await?;
        let Some((now, before)) = reading.figures.pair() else { return Ok(()) };
        let subject = subject(operation);
        let statement = format!(
            "{} of {subject} is {} in requests to {version}, {} in those to other versions in the same minutes ({})",
            measure_name(quantile),
            figures::milliseconds(now),
            figures::milliseconds(before),
            figures::times(reading.figures.ratio().unwrap_or(1.0))
        );
        let larger = is_slower(reading.figures.pair());
        let service = &operation.service;
        let of = Of { role: Role::Own, service, what: What::ByVersion, edge: None };
        let judged = Judged { tests: 2, ..Judged::of(verdict, larger) };
        self.push(of, (subject, reading, statement), judged);
        Ok(())
    }

    async fn of_edges(&mut self, edges: &BTreeMap<Edge, EdgeMinutes>) -> Result<(), RulesError> {
        for (edge, minutes) in edges {
            let has_client = |other: &Edge| {
                (&other.client_service, &other.server_service)
                    == (&edge.client_service, &edge.server_service)
                    && other.reporter == "client"
            };
            if edge.reporter == "client" || !edges.keys().any(has_client) {
                self.calls(edge, minutes).await?;
            }
            for direction in [Direction::Response, Direction::Request] {
                let of_direction = &minutes.bytes[usize::from(direction == Direction::Response)];
                let count = |sizes: &Minutes<Histogram>| sizes.counts(self.windows).1;
                let (measure, sizes) =
                    if count(&of_direction.uncompressed) > count(&of_direction.wire) {
                        (Measure::Uncompressed, &of_direction.uncompressed)
                    } else {
                        (Measure::Wire, &of_direction.wire)
                    };
                // Of two that report the same bodies the server counts.
                let server = Edge { reporter: "server".to_owned(), ..edge.clone() };
                let known_by_server = edge.reporter == "client"
                    && edges.get(&server).is_some_and(|of_server| {
                        let sizes = &of_server.bytes[usize::from(direction == Direction::Response)];
                        count(&sizes.wire).max(count(&sizes.uncompressed)) >= COUNT_MIN
                    });
                if !known_by_server {
                    self.sizes(edge, (direction, measure), sizes).await?;
                }
            }
        }
        Ok(())
    }

    async fn calls(&mut self, edge: &Edge, minutes: &EdgeMinutes) -> Result<(), RulesError> {
        let (client, server) = (edge.client_service.as_str(), edge.server_service.as_str());
        let towards = server == self.around.service || self.around.is_consumer(server);
        let role = match self.role_of(client) {
            Role::Consumer if towards => Role::Consumer,
            _ => Role::Surroundings,
        };
        let Some(chosen) = worst(&minutes.durations, self.windows, (is_slower, MS_OF_NANOS)) else {
            return Ok(());
        };
        let is_direct = role == Role::Consumer && server == self.around.service;
        if !is_direct && !chosen.speaks() {
            return Ok(());
        }
        let sql = queries::call_duration(edge, chosen.quantile, &self.periods);
        let reading = self.inquiry.read_sql(sql, "ms").await?;
        let subject = format!("calls of {client} to {server} {}", edge.operation);
        let statement = latency_statement(&subject, chosen.quantile, &reading).unwrap_or_default();
        let larger = is_slower(reading.figures.pair());
        let ends = Some((client.to_owned(), server.to_owned()));
        let of = Of { role, service: client, what: What::Calls, edge: ends };
        self.push(of, (subject, reading, statement), chosen.judged(larger));
        Ok(())
    }

    async fn sizes(
        &mut self,
        edge: &Edge,
        (direction, measure): (Direction, Measure),
        sizes: &Minutes<Histogram>,
    ) -> Result<(), RulesError> {
        let (sender, what) = match direction {
            Direction::Response => (&edge.server_service, What::Responses),
            Direction::Request => (&edge.client_service, What::Requests),
        };
        let role = match (self.role_of(sender), direction) {
            (Role::Own, _) => Role::Own,
            (Role::Consumer, Direction::Response) => Role::Consumer,
            _ => Role::Surroundings,
        };
        let Some(chosen) = worst(sizes, self.windows, (has_grown, 1.0)) else { return Ok(()) };
        if role != Role::Own && !chosen.speaks() {
            return Ok(());
        }
        let quantile = chosen.quantile;
        let signal = Signal::Payload { edge: edge.clone(), direction, measure, quantile };
        let reading = self.inquiry.read(signal, &self.periods).await?;
        let Some((now, before)) = reading.figures.pair() else { return Ok(()) };
        let subject = format!("{} of {}", direction.name(), edge_subject(edge));
        let statement = format!(
            "{} of the {subject} went from {} to {} ({})",
            measure_name(quantile),
            figures::bytes(before),
            figures::bytes(now),
            figures::times(reading.figures.ratio().unwrap_or(1.0))
        );
        let larger = has_grown(reading.figures.pair());
        let ends = Some((edge.client_service.clone(), edge.server_service.clone()));
        let of = Of { role, service: sender, what, edge: ends };
        self.push(of, (subject, reading, statement), chosen.judged(larger));
        Ok(())
    }

    async fn work_per_request(&mut self, work: &Minutes<PerRequest>) -> Result<(), RulesError> {
        let service = self.change.service.clone();
        let verdict = work.more(self.windows);
        if work.within(self.windows.before).amount <= 0 || verdict.n.0.min(verdict.n.1) < COUNT_MIN
        {
            self.inquiry.not_measured(
                format!("{service}'s own work"),
                "no self times of its spans are known in these windows",
            );
            return Ok(());
        }
        let sql = queries::own_time(&service, &self.periods);
        let reading = self.inquiry.read_sql(sql, "ms").await?;
        let what = format!("own work of {service} for each request");
        let statement = latency_words(&what, &reading);
        let larger = is_slower(reading.figures.pair());
        let of = Of { role: Role::Own, service: &service, what: What::OwnWork, edge: None };
        self.push(of, (what, reading, statement), Judged::of(verdict, larger));
        Ok(())
    }

    async fn calls_per_request(
        &mut self,
        (work, edges): (&Minutes<PerRequest>, &BTreeMap<Edge, EdgeMinutes>),
    ) -> Result<(), RulesError> {
        let service = self.change.service.clone();
        for callee in self.around.callees.clone() {
            let calls = series::calls(work, edges, (&service, &callee));
            let verdict = calls.more(self.windows);
            let amount = calls.within(self.windows.after).amount;
            if amount <= 0 || verdict.n.0.min(verdict.n.1) < COUNT_MIN {
                continue;
            }
            let sql = queries::calls_per_request(&service, &callee, &self.periods);
            let reading = self.inquiry.read_sql(sql, "calls").await?;
            let Some((now, before)) = reading.figures.pair() else { continue };
            let subject = format!("{service} to {callee}");
            let statement = format!(
                "{service} calls {callee} {now:.2} times for each request, {before:.2} times before ({})",
                figures::times(reading.figures.ratio().unwrap_or(1.0))
            );
            let larger = reading.figures.ratio().is_some_and(|ratio| ratio >= RATIO_MIN);
            let ends = Some((service.clone(), callee.clone()));
            let of = Of { role: Role::Own, service: &service, what: What::CallRate, edge: ends };
            self.push(of, (subject, reading, statement), Judged::of(verdict, larger));
        }
        Ok(())
    }

    /// Requests per second to the busiest operation.
    async fn request_rate(
        &mut self,
        operations: &BTreeMap<Operation, OperationMinutes>,
    ) -> Result<(), RulesError> {
        let own = operations.iter().filter(|(op, _)| op.service == self.change.service);
        let busiest = own.max_by_key(|(_, minutes)| minutes.durations.counts(self.windows).1);
        let Some((operation, minutes)) = busiest else { return Ok(()) };
        let signal = Signal::RequestRate { operation: operation.clone() };
        let reading = self.inquiry.read(signal, &self.periods).await?;
        let Some((now, before)) = reading.figures.pair() else { return Ok(()) };
        let subject = subject(operation);
        let ratio = reading.figures.ratio().unwrap_or(1.0);
        let statement = format!(
            "{subject} got {now:.2} requests/s, {before:.2} before ({})",
            figures::times(ratio)
        );
        let n = minutes.durations.counts(self.windows);
        let verdict = Verdict { z: 0.0, placebos: 0, since: None, n };
        let service = &operation.service;
        let of = Of { role: Role::Surroundings, service, what: What::Rate, edge: None };
        self.push(of, (subject, reading, statement), Judged::of(verdict, ratio >= RATE_MIN));
        Ok(())
    }

    fn too_few(&mut self, subject: &str, (before, after): (i64, i64)) {
        self.inquiry.not_measured(
            format!("latency of {subject}"),
            format!(
                "{} requests since and {} before: {COUNT_MIN} are needed on each side",
                figures::count(after),
                figures::count(before)
            ),
        );
    }

    fn push(
        &mut self,
        of: Of<'_>,
        (subject, reading, statement): (String, Reading, String),
        judged: Judged,
    ) {
        let rule = of.what.rule();
        let finding = self.inquiry.note(rule, &subject, reading, statement);
        self.signals.push(Measured {
            role: of.role,
            service: of.service.to_owned(),
            what: of.what,
            rule,
            subject,
            edge: of.edge,
            verdict: judged.verdict,
            tests: judged.tests,
            is_larger: judged.is_larger,
            needed: judged.needed,
            finding,
        });
    }
}

/// Whose signal it is.
struct Of<'a> {
    role: Role,
    service: &'a str,
    what: What,
    edge: Option<(String, String)>,
}

/// What the minutes and the figures came to.
#[derive(Clone, Copy)]
struct Judged {
    verdict: Verdict,
    tests: usize,
    is_larger: bool,
    needed: i64,
}

impl Judged {
    fn of(verdict: Verdict, is_larger: bool) -> Self {
        Self { verdict, tests: 1, is_larger, needed: REQUESTS_MIN }
    }
}

/// The quantile of a histogram that is looked at.
struct Chosen {
    quantile: f64,
    verdict: Verdict,
    tests: usize,
    is_larger: bool,
}

impl Chosen {
    /// Whether it is worth a query though it is nobody's fault.
    fn speaks(&self) -> bool {
        self.is_larger && self.verdict.z >= Z_UNDECIDED
    }

    fn judged(&self, is_larger: bool) -> Judged {
        Judged { tests: self.tests, ..Judged::of(self.verdict, is_larger) }
    }
}

/// Whether figures now and before, in their unit, are worse.
type IsWorse = fn(Option<(f64, f64)>) -> bool;
/// Durations are kept in nanoseconds and told in milliseconds.
const MS_OF_NANOS: f64 = 1e-6;

/// Of the quantiles with observations enough the one that stands out most among those that are worse; of
/// none is, the 90th percentile. `None` with too few observations for any.
fn worst(
    minutes: &Minutes<Histogram>,
    windows: &Windows,
    (is_worse, scale): (IsWorse, f64),
) -> Option<Chosen> {
    let (before, after) = (minutes.within(windows.before), minutes.within(windows.after));
    let counted = before.count.min(after.count);
    let tried: Vec<_> = QUANTILES.into_iter().filter(|(_, needed)| counted >= *needed).collect();
    let chosen = tried.iter().map(|(quantile, _)| {
        let figure = |of: &Histogram| of.quantile(*quantile).map(|value| value * scale);
        let is_larger = is_worse(figure(&after).zip(figure(&before)));
        let verdict = minutes.above(windows, *quantile);
        Chosen { quantile: *quantile, verdict, tests: tried.len(), is_larger }
    });
    chosen.max_by(|a, b| {
        let preferred = |chosen: &Chosen| (chosen.quantile - 0.9).abs() < 1e-9;
        let by_z = a.verdict.z.total_cmp(&b.verdict.z);
        a.is_larger.cmp(&b.is_larger).then_with(|| {
            if a.is_larger { by_z } else { preferred(a).cmp(&preferred(b)).then(by_z) }
        })
    })
}

/// Milliseconds now and before.
fn is_slower(pair: Option<(f64, f64)>) -> bool {
    pair.is_some_and(|(now, before)| now >= RATIO_MIN * before && now - before >= DELTA_MS_MIN)
}

/// Bytes now and before.
fn has_grown(pair: Option<(f64, f64)>) -> bool {
    pair.is_some_and(|(now, before)| now >= GROWTH_MIN * before && now - before >= GROWTH_BYTES_MIN)
}

/// `own work of x for each request went from 3 ms to 9 ms (3.0x)`.
fn latency_words(what: &str, reading: &Reading) -> String {
    let Some((now, before)) = reading.figures.pair() else { return format!("{what} is not known") };
    format!(
        "{what} went from {} to {} ({})",
        figures::milliseconds(before),
        figures::milliseconds(now),
        figures::times(reading.figures.ratio().unwrap_or(1.0))
    )
}
