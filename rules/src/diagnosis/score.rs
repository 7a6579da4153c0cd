//! Weighs possible causes by log-odds, with an explicit "none of these".
//!
//! Each term is the logarithm of a likelihood ratio, held within [`TERM_MAX`], so that no single
//! piece of evidence decides; correlated evidence counts once. The constants are engineering
//! choices. Temporal nearness alone is weak where deploys are frequent: what a service's own signals
//! did at its change weighs most, then the call graph, then time.

use std::collections::{BTreeMap, BTreeSet};

use super::attribution::{Added, Attribution, Part, SideBySide, SlowHost};
use super::breadth::Breadth;
use super::budget::Budget;
use super::changes::{Candidate, Candidates, OwnSignal, SignalKind};
use super::document::{CauseKind, Evidence, Mechanism};
use super::gap::Gap;
use super::payload::{Growth, Payloads};
use super::profile::{GARBAGE, Profiles};
use super::signal::Direction;
use super::traffic::Traffic;
use super::utilisation::Utilisation;
use crate::figures;
use crate::time::{MINUTE, Time, Window};

mod unchanged;

#[cfg(test)]
pub(crate) mod tests;

/// Probability that a recorded change is the cause, before any evidence: about half to two thirds
/// of incidents follow one.
const CHANGE_PRIOR: f64 = 0.7;
/// The rest is divided among a dependency without a recorded change, more traffic, a machine, and the
/// unknown.
const DEPENDENCY_PRIOR: f64 = 0.3 * (1.0 - CHANGE_PRIOR);
const TRAFFIC_PRIOR: f64 = 0.2 * (1.0 - CHANGE_PRIOR);
const HOST_PRIOR: f64 = 0.1 * (1.0 - CHANGE_PRIOR);
const UNKNOWN_PRIOR: f64 = 0.4 * (1.0 - CHANGE_PRIOR);
/// One term counts for at most this.
const TERM_MAX: f64 = 3.0;
/// All terms together.
const TOTAL_MAX: f64 = 7.0;
/// Effects follow a change within minutes (65 %) or hours (35 %): means of the two exponentials.
const LAG_SHORT_MIN: f64 = 12.0;
const LAG_LONG_MIN: f64 = 90.0;
const LAG_SHORT_SHARE: f64 = 0.65;
/// A change that has an effect has it while it is rolled out, within minutes: with a later one other causes come
/// between.
pub(crate) const AT_ONCE: i64 = 5 * MINUTE;
/// Each call between the symptom and a service makes it this much less likely.
const DISTANCE_DECAY: f64 = 0.6;
/// A service's own signal changes at a change that caused something in 90 %, at another in 5 %.
const OWN_CHANGED: f64 = 18.0;
/// Two versions in the same minutes differ, or do not: nothing else than the version can be why.
const SIDE_BY_SIDE: f64 = 20.0;
/// A signal that changed where something else may explain it as well.
const OWN_CHANGED_SHARED: f64 = 3.0;
/// A link of the mechanism that was seen.
const LINK: f64 = 3.0;
/// Links are not independent of each other: this many count.
const LINKS_MAX: usize = 2;
/// A service with less of the added time than this did not become slow by itself.
const OWN_SHARE_MIN: f64 = 0.2;
/// A service with this much of it is where the time goes.
const OWN_SHARE_MAIN: f64 = 0.5;
/// No confidence above this without a rollback or two versions side by side.
pub(crate) const CONFIDENCE_MAX: f64 = 0.95;
/// And with them.
const CONFIDENCE_SIDE_BY_SIDE_MAX: f64 = 0.98;
/// And for a cause without a recorded change, which may only be missing from the records.
pub(crate) const CONFIDENCE_UNRECORDED_MAX: f64 = 0.8;
/// A cause is named from this confidence on,
pub(crate) const CONFIDENCE_NAMED: f64 = 0.5;
/// if it is ahead of the next by this much in log-odds.
pub(crate) const MARGIN_NAMED: f64 = 1.0;

/// How confidences come about, for the document.
pub(crate) const FORMULA: &str = "confidence = prior * exp(sum of log-odds) / the sum of the same over all hypotheses, at most 0.95 without a rollback; terms within +-3, sums within +-7";

/// Everything that has been measured.
#[derive(Debug)]
pub(crate) struct Measured<'a> {
    pub(crate) service: &'a str,
    pub(crate) onset: Time,
    pub(crate) interval: Window,
    pub(crate) candidates: &'a Candidates,
    pub(crate) reach: &'a BTreeMap<String, usize>,
    pub(crate) budget: Option<&'a Budget>,
    pub(crate) attribution: &'a Attribution,
    pub(crate) breadth: Option<&'a Breadth>,
    pub(crate) payloads: &'a Payloads,
    pub(crate) gaps: &'a [Gap],
    pub(crate) profiles: &'a Profiles,
    /// Those of the service that the time comes from.
    pub(crate) culprit_profiles: &'a Profiles,
    /// How busy services are, where they say so.
    pub(crate) utilisation: &'a BTreeMap<String, Utilisation>,
    pub(crate) traffic: &'a Traffic,
    pub(crate) symptom_findings: &'a [String],
}

/// A possible cause with its evidence.
#[derive(Clone, Debug)]
pub(crate) struct Weighed {
    pub(crate) kind: CauseKind,
    pub(crate) service: Option<String>,
    pub(crate) operation: Option<String>,
    pub(crate) mechanism: Mechanism,
    /// Index of the candidate.
    pub(crate) change: Option<usize>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) supporting: Vec<String>,
    pub(crate) against: Vec<String>,
    /// Links of the mechanism that were seen.
    pub(crate) links: usize,
    /// Whether the cause's own signals show it.
    pub(crate) is_shown: bool,
    /// Cannot be the cause: the effect came first.
    pub(crate) is_vetoed: bool,
    /// Its version is slower than others in the same minutes.
    pub(crate) is_side_by_side: bool,
    /// From a change to the onset.
    pub(crate) lag: Option<i64>,
    prior: f64,
    pub(crate) confidence: f64,
    /// Logarithm of prior and evidence, for margins.
    pub(crate) weight: f64,
}

impl Weighed {
    fn new(kind: CauseKind, prior: f64) -> Self {
        Self {
            kind,
            service: None,
            operation: None,
            mechanism: Mechanism::None,
            change: None,
            evidence: Vec::new(),
            supporting: Vec::new(),
            against: Vec::new(),
            links: 0,
            is_shown: false,
            is_vetoed: false,
            is_side_by_side: false,
            lag: None,
            prior,
            confidence: 0.0,
            weight: 0.0,
        }
    }

    fn term(&mut self, term: &str, likelihood_ratio: f64, reason: impl Into<String>) {
        let log_odds = likelihood_ratio.max(1e-9).ln().clamp(-TERM_MAX, TERM_MAX);
        self.evidence.push(Evidence { term: term.to_owned(), log_odds, reason: reason.into() });
    }

    fn log_odds(&self) -> f64 {
        self.evidence.iter().map(|e| e.log_odds).sum::<f64>().clamp(-TOTAL_MAX, TOTAL_MAX)
    }

    pub(crate) fn cap(&self) -> f64 {
        match self.kind {
            _ if self.is_side_by_side => CONFIDENCE_SIDE_BY_SIDE_MAX,
            CauseKind::Dependency | CauseKind::RetryStorm | CauseKind::Host => {
                CONFIDENCE_UNRECORDED_MAX
            }
            CauseKind::Unknown if self.service.is_some() => CONFIDENCE_UNRECORDED_MAX,
            _ => CONFIDENCE_MAX,
        }
    }
}

/// Weighs all causes, the likeliest first. Ties are in a fixed order but keep equal confidence.
pub(crate) fn weigh(measured: &Measured<'_>) -> Vec<Weighed> {
    let mut all: Vec<Weighed> = measured
        .candidates
        .weighed
        .iter()
        .enumerate()
        .map(|(index, candidate)| change(measured, index, candidate))
        .collect();
    all.extend(unchanged::dependencies(measured));
    all.extend(unchanged::host(measured));
    all.push(unchanged::traffic(measured));
    all.push(unchanged::unknown(measured));
    for weighed in &mut all {
        let possible = if weighed.is_vetoed { f64::NEG_INFINITY } else { weighed.log_odds() };
        weighed.weight = weighed.prior.ln() + possible;
    }
    let total: f64 = all.iter().map(|weighed| weighed.weight.exp()).sum();
    for weighed in &mut all {
        weighed.confidence = (weighed.weight.exp() / total).min(weighed.cap());
    }
    all.sort_by(|a, b| {
        b.weight
            .total_cmp(&a.weight)
            .then_with(|| (a.kind, &a.service, a.change).cmp(&(b.kind, &b.service, b.change)))
    });
    all
}

fn change(measured: &Measured<'_>, index: usize, candidate: &Candidate) -> Weighed {
    let mut weighed = Weighed::new(candidate.change.cause_kind(), CHANGE_PRIOR);
    weighed.service = Some(candidate.change.service.clone());
    weighed.change = Some(index);
    time(measured, candidate, &mut weighed);
    topology(measured, candidate, &mut weighed);
    own_signals(measured, candidate, &mut weighed);
    mechanism(measured, &mut weighed);
    weighed
}

fn time(measured: &Measured<'_>, candidate: &Candidate, weighed: &mut Weighed) {
    let start = candidate.change.start;
    if measured.interval.end <= start {
        weighed.is_vetoed = true;
        weighed.against.push(candidate.finding.clone());
        weighed.term("time", 0.0, "it began after the onset");
        return;
    }
    if let Some(finding) = &candidate.slow_before {
        weighed.is_vetoed = true;
        weighed.against.push(finding.clone());
        weighed.term("time", 0.0, "its requests were slow before it");
        return;
    }
    let lag = (measured.onset.nanos() - start.nanos()).max(0);
    weighed.lag = Some(lag);
    let lag = lag as f64 / MINUTE as f64;
    let density = LAG_SHORT_SHARE / LAG_SHORT_MIN * (-lag / LAG_SHORT_MIN).exp()
        + (1.0 - LAG_SHORT_SHARE) / LAG_LONG_MIN * (-lag / LAG_LONG_MIN).exp();
    let ratio = density / measured.candidates.rate_per_minute;
    // How often services in reach change says nothing of one that is out of reach.
    let ratio = if candidate.distance.is_some() { ratio } else { ratio.min(1.0) };
    let side = if ratio >= 1.0 { &mut weighed.supporting } else { &mut weighed.against };
    side.push(candidate.finding.clone());
    weighed.term(
        "time",
        ratio,
        format!(
            "{lag:.0} min before the onset, where services in reach change {:.1} times a day",
            measured.candidates.rate_per_minute * 24.0 * 60.0
        ),
    );
}

fn topology(measured: &Measured<'_>, candidate: &Candidate, weighed: &mut Weighed) {
    let service = &candidate.change.service;
    let Some(distance) = candidate.distance else {
        weighed.term("topology", 0.0, format!("no calls between {} and it", measured.service));
        return;
    };
    if measured.budget.is_some_and(|budget| !budget.has_service(service)) {
        weighed.term("topology", 0.0, "it is in no sampled trace of the operation");
        return;
    }
    let decay = |distance: usize| DISTANCE_DECAY.powi(i32::try_from(distance).unwrap_or(i32::MAX));
    let all: f64 = measured.reach.values().map(|distance| decay(*distance)).sum();
    let ratio = decay(distance) * measured.reach.len() as f64 / all;
    let reason = match distance {
        0 => "the service of the symptom itself".to_owned(),
        1 => format!("one call away from {}", measured.service),
        calls => format!("{calls} calls away from {}", measured.service),
    };
    weighed.term("topology", ratio, reason);
}

/// What the service's own signals did at its change.
fn own_signals(measured: &Measured<'_>, candidate: &Candidate, weighed: &mut Weighed) {
    let service = &candidate.change.service;
    if weighed.is_vetoed || candidate.distance.is_none() {
        return;
    }
    let changed = |kind: SignalKind| {
        candidate.signals.iter().find(|signal| signal.what == kind && signal.has_changed)
    };
    let hands_on = |direction: Direction| {
        measured
            .payloads
            .growths
            .iter()
            .any(|growth| growth.direction == direction && growth.consumer() == service)
    };
    if let Some(signal) = changed(SignalKind::Responses).filter(|_| !hands_on(Direction::Response))
    {
        return shown(
            weighed,
            Mechanism::ResponsePayloadGrowth,
            signal,
            "its responses grew at it",
        );
    }
    if let Some(signal) = changed(SignalKind::Requests).filter(|_| !hands_on(Direction::Request)) {
        return shown(weighed, Mechanism::RequestPayloadGrowth, signal, "its requests grew at it");
    }
    if let Some(host) = same_elsewhere(measured, candidate) {
        weighed.against.extend(host.findings.iter().cloned());
        let reason = "the same version on other machines takes as long as before";
        return weighed.term("own_signals", 1.0 / SIDE_BY_SIDE, reason);
    }
    if let Some(side) = side_by_side(measured, candidate) {
        return beside_others(measured, candidate, (side, weighed));
    }
    let share = own_share(measured, service);
    if let Some(signal) = changed(SignalKind::Calls).filter(|_| share >= OWN_SHARE_MIN) {
        let asks = measured.attribution.of(service).and_then(|added| added.more_calls.as_ref());
        let misses = asks.is_some_and(|more| more.cache.is_some());
        let mechanism = if misses { Mechanism::CacheMiss } else { Mechanism::NPlusOne };
        let reason = format!("it makes more calls for a request {}", since(weighed));
        return shown(weighed, mechanism, signal, &reason);
    }
    let slower = changed(SignalKind::Duration).or_else(|| changed(SignalKind::Errors));
    if let Some(signal) = slower {
        let is_fed = hands_on(Direction::Response) || hands_on(Direction::Request);
        if share < OWN_SHARE_MIN || is_fed {
            return weighed.term("own_signals", 1.0, "it is slower, which others explain as well");
        }
        let reason = format!("it takes longer itself {}", since(weighed));
        shown(weighed, mechanism_of(measured, service), signal, &reason);
        // With or without the change it would have become slower.
        if let (Some(explained), Some(term)) =
            (explained(measured, service), weighed.evidence.last_mut())
        {
            term.log_odds = 0.0;
            term.reason = format!("{}, and {explained}", term.reason);
        }
        return;
    }
    if candidate.signals.is_empty() {
        return weighed.term("own_signals", 1.0, "its own figures around the change are not known");
    }
    weighed.against.extend(candidate.signals.iter().map(|signal| signal.finding.clone()));
    weighed.term("own_signals", 0.0, "none of its own figures changed at it");
}

/// Since when a service behaves differently, from its change.
fn since(weighed: &Weighed) -> String {
    match weighed.lag {
        Some(lag) if lag > AT_ONCE => format!("since {} min after it", lag / MINUTE),
        _ => "since then".to_owned(),
    }
}

/// The machine that a service is slower on, if the version that a change brought is not slower on others.
fn same_elsewhere<'a>(measured: &'a Measured<'_>, candidate: &Candidate) -> Option<&'a SlowHost> {
    let of = (candidate.change.service.clone(), candidate.change.version.clone());
    let host = measured.attribution.host.as_ref()?;
    (host.services.contains(&of.0) && host.same_elsewhere.contains(&of)).then_some(host)
}

/// The version that a change brought beside the service's others.
fn side_by_side<'a>(measured: &'a Measured<'_>, candidate: &Candidate) -> Option<&'a SideBySide> {
    let added = measured.attribution.of(&candidate.change.service)?;
    let mut sides = added.versions.iter();
    sides.find(|side| side.version == candidate.change.version && (side.is_slower || side.is_same))
}

/// Two versions in the same minutes are the nearest that there is to an experiment.
fn beside_others(
    measured: &Measured<'_>,
    candidate: &Candidate,
    (side, weighed): (&SideBySide, &mut Weighed),
) {
    let service = &candidate.change.service;
    if !side.is_slower {
        weighed.against.extend(side.finding.clone());
        let reason = "its other version takes as long in the same minutes";
        return weighed.term("own_signals", 1.0 / SIDE_BY_SIDE, reason);
    }
    weighed.mechanism = mechanism_of(measured, service);
    weighed.is_shown = true;
    weighed.is_side_by_side = true;
    weighed.supporting.extend(side.finding.clone());
    let reason = "it takes longer than its other version in the same minutes";
    weighed.term("own_signals", SIDE_BY_SIDE, reason);
}

/// How a service became slow, of what is known of its requests and its processor time.
fn mechanism_of(measured: &Measured<'_>, service: &str) -> Mechanism {
    let Some(added) = measured.attribution.of(service) else { return Mechanism::SlowerCode };
    match added.main_part() {
        Part::Calling | Part::Called => return Mechanism::None,
        Part::Repeated => return Mechanism::RetryAmplification,
        Part::Asking => {
            let misses = added.more_calls.as_ref().is_some_and(|more| more.cache.is_some());
            return if misses { Mechanism::CacheMiss } else { Mechanism::NPlusOne };
        }
        Part::Own => {}
    }
    if added.failures.is_some() {
        return Mechanism::ErrorBurst;
    }
    let is_culprit = measured.attribution.main().is_some_and(|main| main.service == service);
    let profiles = if is_culprit { measured.culprit_profiles } else { measured.profiles };
    if is_culprit || service == measured.service {
        let risen = |names: &[&str]| {
            let families = profiles.risen.iter().flat_map(|risen| &risen.families);
            families.into_iter().any(|family| names.contains(&family.as_str()))
        };
        if risen(&["lock"]) {
            return Mechanism::LockContention;
        }
        if risen(&GARBAGE) {
            return Mechanism::GcPressure;
        }
    }
    Mechanism::SlowerCode
}

/// By how much the requests to a service rose, if they did.
fn surge_at(measured: &Measured<'_>, service: &str) -> Option<f64> {
    let surge = measured.traffic.surge.as_ref();
    surge.filter(|surge| surge.service == service).map(|surge| surge.ratio)
}

/// What explains as well that a service takes longer: more requests, or the machine that it runs on, where it is
/// slower there and not elsewhere.
fn explained(measured: &Measured<'_>, service: &str) -> Option<String> {
    if let Some(ratio) = surge_at(measured, service) {
        return Some(format!("{} the requests explain it", figures::times(ratio)));
    }
    let host = measured.attribution.host.as_ref()?;
    let is_on_it = host.services.iter().any(|name| name == service);
    is_on_it.then(|| "its machine explains it".to_owned())
}

fn shown(weighed: &mut Weighed, mechanism: Mechanism, signal: &OwnSignal, reason: &str) {
    weighed.mechanism = mechanism;
    weighed.is_shown = true;
    weighed.operation.clone_from(&signal.operation);
    weighed.supporting.push(signal.finding.clone());
    weighed.term("own_signals", OWN_CHANGED, reason);
}

/// Share of the added time that comes from the service, calls to others left out.
fn own_share(measured: &Measured<'_>, service: &str) -> f64 {
    if measured.attribution.shown().next().is_some() {
        return measured.attribution.share_of(service);
    }
    let calls: BTreeSet<&str> = measured
        .breadth
        .iter()
        .flat_map(|breadth| &breadth.parts)
        .filter(|factor| factor.part.operation.span_kind == "CLIENT")
        .map(|factor| factor.part.operation.span_name.as_str())
        .collect();
    let none = BTreeSet::new();
    let calls = if service == measured.service { &calls } else { &none };
    measured.budget.map_or(0.0, |budget| budget.share_of(service, calls))
}

/// The links from the cause to the symptom: each was measured on its own.
fn mechanism(measured: &Measured<'_>, weighed: &mut Weighed) {
    let Some(service) = weighed.service.clone().filter(|_| weighed.is_shown) else { return };
    let mut links: Vec<(String, Vec<String>)> = Vec::new();
    match weighed.mechanism {
        Mechanism::ResponsePayloadGrowth | Mechanism::RequestPayloadGrowth => {
            links.extend(payload_links(measured, &service));
        }
        _ => links.extend(time_links(measured, &service)),
    }
    weighed.links = links.len();
    if links.is_empty() {
        return weighed.term("mechanism", 1.0 / LINK, "no link from it to the symptom was seen");
    }
    let reasons: Vec<_> = links.iter().map(|(reason, _)| reason.clone()).collect();
    let exponent = i32::try_from(links.len().min(LINKS_MAX)).unwrap_or(0);
    for finding in links.into_iter().flat_map(|(_, findings)| findings) {
        if !weighed.supporting.contains(&finding) {
            weighed.supporting.push(finding);
        }
    }
    weighed.term("mechanism", LINK.powi(exponent), reasons.join("; "));
}

fn payload_links(measured: &Measured<'_>, service: &str) -> Vec<(String, Vec<String>)> {
    let mut links = Vec::new();
    let grown: Vec<&Growth> =
        measured.payloads.growths.iter().filter(|g| g.producer() == service).collect();
    let called = measured.breadth.iter().flat_map(|breadth| &breadth.parts).find(|factor| {
        let carries = |growth: &&&Growth| {
            let ends = [growth.consumer(), growth.producer()];
            ends.contains(&measured.service)
                && factor.part.peer.as_deref() == Some(growth.edge.server_service.as_str())
        };
        factor.is_slower && grown.iter().any(|growth| carries(&growth))
    });
    if let Some(factor) = called {
        let mut findings = vec![factor.finding.clone()];
        findings.extend(grown.iter().map(|growth| growth.finding.clone()));
        findings.extend(spread(measured));
        findings.extend(measured.payloads.elasticities.iter().cloned());
        let name = &factor.part.operation.span_name;
        links.push((
            format!("{name}, which carries them, is {} slower", figures::times(factor.ratio())),
            findings,
        ));
    }
    let copes =
        |name: &str| GARBAGE.contains(&name) || matches!(name, "serialization" | "compression");
    let risen: Vec<_> = measured
        .profiles
        .risen
        .iter()
        .filter(|risen| risen.families.iter().any(|name| copes(name)))
        .collect();
    if !risen.is_empty() {
        let words: Vec<_> = risen.iter().map(|risen| risen.families.join(" + ")).collect();
        let mut findings: Vec<_> = risen.iter().map(|risen| risen.finding.clone()).collect();
        findings.extend(measured.profiles.combined.iter().map(|combined| combined.finding.clone()));
        links.push((
            format!("{} spends more on {}", measured.service, words.join(" and ")),
            findings,
        ));
    }
    if grown.iter().any(|growth| growth.consumer() == measured.service)
        && own_share(measured, measured.service) >= OWN_SHARE_MIN
    {
        let findings = grown.iter().map(|growth| growth.finding.clone()).collect();
        let reason = format!("{}, which receives them, takes longer itself", measured.service);
        links.push((reason, findings));
    }
    links
}

/// How broad the inflation is, and the parts that it does not touch: a cause must explain both.
fn spread(measured: &Measured<'_>) -> Vec<String> {
    let Some(breadth) = measured.breadth else { return Vec::new() };
    let calm = breadth.parts.iter().filter(|factor| !factor.is_slower);
    let calm = calm.map(|factor| factor.finding.clone());
    std::iter::once(breadth.finding.clone()).chain(calm).collect()
}

fn time_links(measured: &Measured<'_>, service: &str) -> Vec<(String, Vec<String>)> {
    let mut links = Vec::new();
    let share = own_share(measured, service);
    if share >= OWN_SHARE_MAIN {
        let findings = measured.budget.map_or_else(Vec::new, |budget| budget.findings.clone());
        let words = figures::percent(100.0 * share);
        let place = measured.attribution.of(service).map_or("its own", Added::place);
        links.push((format!("{words} of the added time is {place}"), findings));
    }
    let slower = measured
        .breadth
        .iter()
        .flat_map(|breadth| &breadth.parts)
        .find(|factor| factor.is_slower && factor.part.peer.as_deref() == Some(service));
    if let Some(factor) = slower {
        let knows = |gap: &&Gap| gap.callee == service && gap.share >= OWN_SHARE_MAIN;
        if !measured.gaps.iter().any(|gap| knows(&gap)) {
            let name = &factor.part.operation.span_name;
            links
                .push((format!("{name}, which calls it, is slower"), vec![factor.finding.clone()]));
        }
    } else if service == measured.service && share >= OWN_SHARE_MAIN {
        links.push(("it is the service of the symptom".to_owned(), Vec::new()));
    }
    links
}
