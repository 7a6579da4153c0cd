//! From a symptom to a verdict: one file per step, in the order of the page on which an engineer
//! would take notes.
//!
//! | step | asks |
//! |---|---|
//! | `symptom`, `onset`, `short_history` | which operation regressed, since when |
//! | `missing` | whether slow requests are more, or only fast ones fewer |
//! | `traces`, `budget` | where the added time of a mean request is, by self time on the critical path |
//! | `requests`, `attribution` | which service the time comes from: its own work, its calls, or calls to it; which version or machine |
//! | `breadth` | one part or many, by which factors |
//! | `gap` | the callee, or the caller around the call |
//! | `payload` | bodies per edge, and how times follow them |
//! | `profile`, `amdahl` | which frames took over, and what removing them would bring |
//! | `utilisation` | how busy processors are, where services say so |
//! | `traffic` | request rate, errors, the client's side |
//! | `graph`, `changes` | changes in reach, and what each did to its own service |
//! | `score`, `verdict`, `actions` | log-odds with "none of these", what is named, what to do |
//!
//! Every figure comes from a query that the document carries: `signal` writes it, `inquiry` runs it
//! and makes the finding, `reading` says which rows a window is. Queries that differ in the figure alone
//! are not all run: `served` reads what they have in common.

mod actions;
mod amdahl;
mod attribution;
mod breadth;
mod budget;
mod changes;
pub mod document;
#[cfg(test)]
mod draws;
mod gap;
mod graph;
mod inquiry;
mod missing;
mod onset;
pub(crate) mod payload;
mod placebo;
pub(crate) mod profile;
pub(crate) mod reading;
mod reads;
mod requests;
mod score;
mod served;
mod short_history;
pub mod signal;
pub(crate) mod symptom;
mod traces;
pub(crate) mod traffic;
mod utilisation;
mod verdict;
mod watched;

use std::collections::BTreeMap;
use std::time::Duration;

use upriver_analyze::{Session, UnixNanos};

pub(crate) use attribution::WITHIN_MINUTE;
pub(crate) use changes::{Change, kind_words, load as load_changes};
pub(crate) use graph::Graph;
pub(crate) use inquiry::{Figures, Inquiry, Reading};
pub use reads::Reads;
pub(crate) use symptom::Scope;

use amdahl::Target;
use attribution::{Attribution, Part};
use breadth::Breadth;
use budget::Budget;
use changes::{Candidates, Surroundings};
use document::{Amdahl, CauseKind, Diagnosis, Request, RuledOut, SCHEMA, Verdict};
use gap::Gap;
use payload::Payloads;
use profile::Profiles;
use score::{Measured, weigh};
use signal::{Operation, Signal};
use symptom::{Regression, Symptoms};
use traffic::Traffic;
use utilisation::Utilisation;

use crate::error::RulesError;
use crate::figures;
use crate::time::{HOUR, Periods, Time, Window, nanos};

/// What is asked.
#[derive(Clone, Debug)]
pub struct DiagnoseRequest {
    /// The service; none to look everywhere.
    pub service: Option<String>,
    /// Name of its server spans; none for all of them.
    pub operation: Option<String>,
    /// Nothing that ended or was recorded at or after this instant is read.
    pub at: UnixNanos,
    /// Whether somebody asked for that instant, rather than for now.
    pub is_at_given: bool,
    /// The time before `at` that is in question.
    pub window: Duration,
    /// Latency that the symptom's percentile should have, if one was agreed.
    pub objective: Option<Duration>,
}

impl DiagnoseRequest {
    /// Everything in the last 15 minutes before an instant.
    pub fn new(at: UnixNanos) -> Self {
        let window = Duration::from_mins(15);
        Self { service: None, operation: None, at, is_at_given: true, window, objective: None }
    }

    /// The question, for the document.
    fn asked(&self, scope: &Scope) -> Request {
        let among = match scope {
            Scope::Services(services) if self.service.is_none() => services.clone(),
            _ => Vec::new(),
        };
        Request {
            service: self.service.clone(),
            operation: self.operation.clone(),
            among,
            at: self.is_at_given.then_some(Time(self.at)),
            window_seconds: self.window.as_secs_f64(),
            objective_ms: self.objective.map(|objective| objective.as_secs_f64() * 1e3),
        }
    }

    fn scope(&self) -> Scope {
        match (&self.service, &self.operation) {
            (None, None) => Scope::Everything,
            (Some(service), None) => Scope::Services(vec![service.clone()]),
            (service, Some(span_name)) => {
                Scope::Operation { service: service.clone(), span_name: span_name.clone() }
            }
        }
    }
}

/// Finds what changed and made an operation slow.
pub async fn diagnose(
    session: &Session,
    request: &DiagnoseRequest,
) -> Result<Diagnosis, RulesError> {
    within_scope(session, request, request.scope()).await
}

/// The same among the operations of a scope.
pub(crate) async fn within_scope(
    session: &Session,
    request: &DiagnoseRequest,
    scope: Scope,
) -> Result<Diagnosis, RulesError> {
    let at = Time(request.at).whole_micros();
    let mut inquiry = Inquiry::new(session, at);
    let symptoms = symptom::find(&inquiry, &scope, nanos(request.window)).await?;
    let asked = request.asked(&scope);
    let diagnosis = match &symptoms.main {
        Some(main) => {
            let all = symptoms.attribution.as_ref();
            let evidence = Box::pin(gather(&mut inquiry, (main, all), request)).await?;
            explain(inquiry, &symptoms, main, evidence)
        }
        None => without_symptom(inquiry, &symptoms, request).await?,
    };
    Diagnosis { request: Some(asked), ..diagnosis }.with_id()
}

/// What all steps found.
struct Evidence {
    symptom: Vec<String>,
    budget: Option<Budget>,
    attribution: Attribution,
    breadth: Option<Breadth>,
    gaps: Vec<Gap>,
    payloads: Payloads,
    profiles: Profiles,
    /// Those of the service that the time comes from.
    culprit_profiles: Profiles,
    amdahl: Option<Amdahl>,
    utilisation: BTreeMap<String, Utilisation>,
    traffic: Traffic,
    reach: BTreeMap<String, usize>,
    candidates: Candidates,
    own_changes: Option<RuledOut>,
}

/// Takes all steps for one symptom.
async fn gather(
    inquiry: &mut Inquiry<'_>,
    (main, of_all_traces): (&Regression, Option<&Attribution>),
    request: &DiagnoseRequest,
) -> Result<Evidence, RulesError> {
    let (operation, periods) = (&main.operation, &main.periods);
    let symptom = symptom::note(inquiry, main).await?;
    let budget = budget::compute(inquiry, operation, periods).await?;
    let mut attribution = match (of_all_traces, &budget) {
        (Some(known), _) => known.clone(),
        (None, Some(budget)) => attribution::attribute(&budget.now, &budget.before),
        (None, None) => Attribution::default(),
    };
    attribution::note(inquiry, &mut attribution, periods).await?;
    let breadth = match &budget {
        Some(budget) => breadth::compute(inquiry, operation, budget, periods).await?,
        None => None,
    };
    let gaps = match &breadth {
        Some(breadth) => gap::compute(inquiry, breadth, periods).await?,
        None => Vec::new(),
    };
    let graph = Graph::load(inquiry, Window::new(periods.before.start, periods.at)).await?;
    let downstream = graph.downstream(&operation.service);
    let services: Vec<String> = downstream.keys().cloned().collect();
    let mut payloads = payload::compute(inquiry, &services, periods).await?;
    if let (Some(breadth), Some(growth)) = (&breadth, payloads.origins().first().copied().cloned())
    {
        payloads.elasticities = payload::elasticities(inquiry, breadth, &growth, periods).await?;
    }
    let profiles = profile::compute(inquiry, &operation.service, periods).await?;
    let operations = answering_operations(budget.as_ref());
    let culprit = attribution.main().filter(|added| added.main_part() == Part::Own);
    let busy: Vec<_> = culprit
        .map(|added| added.service.as_str())
        .into_iter()
        .chain([&*operation.service])
        .collect();
    let utilisation = utilisation::compute(inquiry, &busy, periods).await?;
    let amdahl = law(&profiles, main, (utilisation.get(&operation.service), request));
    // Requests that failed are made again: then there are more of them, and nobody asks for more.
    let loaded = culprit.filter(|added| added.failures.is_none());
    let slowest = loaded.and_then(|added| operations.get(&added.service)?.first());
    let traffic = traffic::compute(inquiry, (operation, slowest), periods).await?;
    let culprit_profiles = match culprit.filter(|added| added.service != operation.service) {
        Some(added) => profile::compute(inquiry, &added.service, periods).await?,
        None => profiles.clone(),
    };
    let reach = reach(downstream, &graph, &operation.service);
    let around = Surroundings {
        reach: &reach,
        payloads: &payloads,
        operations: &operations,
        attribution: &attribution,
    };
    let candidates = changes::compute(inquiry, main.onset, &around).await?;
    let own_changes =
        changes::none_of(inquiry, &operation.service, (&candidates, main.onset.onset));
    Ok(Evidence {
        symptom,
        budget,
        attribution,
        breadth,
        gaps,
        payloads,
        profiles,
        culprit_profiles,
        amdahl,
        utilisation,
        traffic,
        reach,
        candidates,
        own_changes,
    })
}

/// Services that the symptom can have caught something from: those that it calls, and, one step
/// further away, those that call it and may send it other requests.
fn reach(
    downstream: BTreeMap<String, usize>,
    graph: &Graph,
    service: &str,
) -> BTreeMap<String, usize> {
    let mut reach = downstream;
    for (caller, distance) in graph.upstream(service) {
        reach.entry(caller).or_insert(distance + 1);
    }
    reach
}

/// Server operations in the sampled traces, by service.
fn answering_operations(budget: Option<&Budget>) -> BTreeMap<String, Vec<Operation>> {
    let mut operations: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    let samples = budget.into_iter().flat_map(|budget| [&budget.now, &budget.before]);
    for operation in samples.flat_map(|sample| &sample.groups.operations) {
        let known = operations.entry(operation.service.clone()).or_default();
        let answers = matches!(operation.span_kind.as_str(), "SERVER" | "CONSUMER");
        if answers && !known.contains(operation) {
            known.push(operation.clone());
        }
    }
    for known in operations.values_mut() {
        known.sort();
    }
    operations
}

fn law(
    profiles: &Profiles,
    main: &Regression,
    (utilisation, request): (Option<&Utilisation>, &DiagnoseRequest),
) -> Option<Amdahl> {
    let (current, baseline) = main.reading.figures.pair()?;
    let objective = request.objective.map(|objective| objective.as_secs_f64() * 1e3);
    let target = Target { ms: objective.unwrap_or(baseline), is_objective: objective.is_some() };
    amdahl::compute(profiles.combined.as_ref()?, current, target, utilisation)
}

/// Weighs the evidence and writes the document.
fn explain(
    mut inquiry: Inquiry<'_>,
    symptoms: &Symptoms,
    main: &Regression,
    evidence: Evidence,
) -> Diagnosis {
    let service = main.operation.service.as_str();
    let measured = Measured {
        service,
        onset: main.onset.onset,
        interval: main.onset.interval,
        candidates: &evidence.candidates,
        reach: &evidence.reach,
        budget: evidence.budget.as_ref(),
        attribution: &evidence.attribution,
        breadth: evidence.breadth.as_ref(),
        payloads: &evidence.payloads,
        gaps: &evidence.gaps,
        profiles: &evidence.profiles,
        culprit_profiles: &evidence.culprit_profiles,
        utilisation: &evidence.utilisation,
        traffic: &evidence.traffic,
        symptom_findings: &evidence.symptom,
    };
    let weighed = weigh(&measured);
    let conclusion = verdict::conclude(service, &weighed, &evidence.candidates, &evidence.payloads);
    let summary = summary(main, &conclusion);
    let (mut ruled_out, _) = symptoms.missing.note(&mut inquiry);
    ruled_out.extend(evidence.traffic.ruled_out);
    ruled_out.extend(evidence.own_changes);
    ruled_out.extend(conclusion.ruled_out);
    let (lines, unexplained_ms, sample) = match evidence.budget {
        Some(budget) => (budget.lines, budget.unexplained_ms, Some(budget.sample)),
        None => (Vec::new(), None, None),
    };
    Diagnosis {
        schema: SCHEMA.to_owned(),
        id: String::new(),
        verdict: conclusion.verdict,
        summary,
        request: None,
        at: inquiry.at,
        window: main.periods.now,
        baseline: main.periods.before,
        other_symptoms: symptoms.others.iter().map(|other| other.symptom(Vec::new())).collect(),
        symptom: Some(main.symptom(evidence.symptom)),
        root_cause: conclusion.root_cause,
        hypotheses: conclusion.hypotheses,
        findings: inquiry.findings,
        delta_budget: lines,
        unexplained_ms,
        budget_sample: sample,
        amdahl: evidence.amdahl,
        ruled_out,
        not_measured: inquiry.not_measured,
        actions: conclusion.actions,
    }
}

fn summary(main: &Regression, conclusion: &verdict::Conclusion) -> String {
    let subject = symptom::subject(&main.operation);
    let Some(cause) = &conclusion.root_cause else {
        return format!(
            "{subject} is slower since {}; no cause is supported by the data",
            main.onset.onset.clock()
        );
    };
    let unrecorded = if conclusion.doubted.is_some() { "" } else { ", without a recorded change," };
    let what = match &cause.deploy {
        Some(deploy) => format!(
            "{} of {} {} at {}",
            cause.kind.name().replace('_', " "),
            cause.service,
            deploy.version,
            deploy.time.clock()
        ),
        None if cause.kind == CauseKind::Unknown => {
            format!("something in {} itself{unrecorded}", cause.service)
        }
        None => format!("{} {}{unrecorded}", cause.kind.name().replace('_', " "), cause.service),
    };
    let doubted = conclusion.doubted.as_ref().map_or_else(String::new, |(change, confidence)| {
        let (version, clock) = (&change.version, change.time.clock());
        let percent = figures::percent(100.0 * confidence);
        format!("; that its change to {version} at {clock} is why is {percent} likely")
    });
    format!("{what} made {subject} slow: {}{doubted}", cause.mechanism.words())
}

/// Healthy, or too little to say so.
async fn without_symptom(
    mut inquiry: Inquiry<'_>,
    symptoms: &Symptoms,
    request: &DiagnoseRequest,
) -> Result<Diagnosis, RulesError> {
    let now = Window::new(inquiry.at - nanos(request.window), inquiry.at);
    let before = Window::new(now.start - HOUR, now.start);
    let periods = Periods { now, before, at: inquiry.at };
    let mut traffic = Traffic::default();
    if let Some(operation) = &symptoms.busiest {
        let signal = Signal::Duration { operation: operation.clone(), quantile: 0.99 };
        let reading = inquiry.read(signal, &periods).await?;
        let subject = symptom::subject(operation);
        if let Some(statement) = symptom::latency_statement(&subject, 0.99, &reading) {
            inquiry.note("latency", &subject, reading, statement);
        }
        traffic = traffic::compute(&mut inquiry, (operation, None), &periods).await?;
    }
    let enough = symptoms.requests >= symptom::COUNT_MIN;
    if !enough {
        inquiry.not_measured(
            "whether an operation is slower",
            format!(
                "{} requests in the window: at least {} are needed",
                figures::count(symptoms.requests),
                symptom::COUNT_MIN
            ),
        );
    }
    let (mut ruled_out, artefact) = symptoms.missing.note(&mut inquiry);
    ruled_out.extend(traffic.ruled_out);
    let (verdict, summary) = match &artefact {
        _ if !enough => {
            (Verdict::Inconclusive, "too few requests to say whether an operation is slower")
        }
        None => (Verdict::Healthy, "no operation is slower than it was"),
        Some(_) => (
            Verdict::Healthy,
            "no operation is slower than it was: where one seems to be, only fast requests are missing",
        ),
    };
    Ok(Diagnosis {
        schema: SCHEMA.to_owned(),
        id: String::new(),
        verdict,
        summary: summary.to_owned(),
        request: None,
        at: inquiry.at,
        window: now,
        baseline: before,
        other_symptoms: Vec::new(),
        symptom: None,
        root_cause: None,
        hypotheses: artefact.into_iter().collect(),
        findings: inquiry.findings,
        delta_budget: Vec::new(),
        unexplained_ms: None,
        budget_sample: None,
        amdahl: None,
        ruled_out,
        not_measured: inquiry.not_measured,
        actions: Vec::new(),
    })
}
