//! From weighed causes to a verdict: what is named, what was ruled out and by what, or that nothing
//! is supported.

use super::actions;
use super::changes::{Candidate, Candidates, Change};
use super::document::{
    Action, CauseKind, DeployReference, Hypothesis, Mechanism, RootCause, RuledOut, Verdict,
};
use super::payload::Payloads;
use super::score::{AT_ONCE, CONFIDENCE_NAMED, FORMULA, MARGIN_NAMED, Weighed};
use crate::figures;

/// Hypotheses that are printed, whatever their confidence.
const HYPOTHESES_MIN: usize = 3;
/// Further ones from this confidence on.
const CONFIDENCE_SHOWN: f64 = 0.01;
/// A cause is confirmed from this confidence on, if its own signals and two links show it, at once or beside
/// another version.
const CONFIDENCE_CONFIRMED: f64 = 0.9;
const LINKS_CONFIRMED: usize = 2;
/// A change is blamed from this confidence on: it will be rolled back. Below, its service is named, and the
/// change as what may be why. Of changes that came first with less, one in four did nothing, of the others 2 in 106
/// (110 generated incidents of seven topologies, seeds 23 to 49).
const CONFIDENCE_BLAMED: f64 = 0.6;
/// And from this one on if its effect came later than at once: then the service may as well have become slow by
/// itself. Of changes with a late effect whose confidence lay between 0.8 and this two of 30 were harmless, of those
/// with more four of 132; 0.9 would leave 44 in doubt that were all right (40 topologies,
/// seeds 53 to 131, 1,440 generated cases).
const CONFIDENCE_BLAMED_LATE: f64 = 0.85;
/// A change is mentioned beside its service from this confidence on.
const CONFIDENCE_DOUBTED: f64 = 0.2;

/// What the weighing came to.
#[derive(Debug)]
pub(crate) struct Conclusion {
    pub(crate) verdict: Verdict,
    pub(crate) root_cause: Option<RootCause>,
    /// A change of its service that may be why, and how likely that is.
    pub(crate) doubted: Option<(DeployReference, f64)>,
    pub(crate) hypotheses: Vec<Hypothesis>,
    pub(crate) ruled_out: Vec<RuledOut>,
    pub(crate) actions: Vec<Action>,
}

/// Concludes.
pub(crate) fn conclude(
    service: &str,
    weighed: &[Weighed],
    candidates: &Candidates,
    payloads: &Payloads,
) -> Conclusion {
    let named = named(weighed);
    let cause = named.map(|named| named.cause);
    let verdict = match cause {
        None => Verdict::Inconclusive,
        Some(top) if is_confirmed(top) => Verdict::Confirmed,
        Some(_) => Verdict::Likely,
    };
    let doubted = named.and_then(|named| named.doubted);
    let doubted = doubted.and_then(|doubted| {
        let change = &candidate(doubted, candidates)?.change;
        Some((change, doubted.confidence))
    });
    Conclusion {
        verdict,
        root_cause: named.map(|named| root_cause(named, candidates)),
        doubted: doubted.map(|(change, confidence)| (change.reference(), confidence)),
        hypotheses: hypotheses(weighed, candidates),
        ruled_out: decoys(service, weighed, (cause, candidates)),
        actions: actions(service, (cause, doubted), candidates, payloads),
    }
}

/// What is named.
#[derive(Clone, Copy, Debug)]
struct Named<'a> {
    cause: &'a Weighed,
    /// A change of the same service that may be why, where it is not likely enough to be blamed.
    doubted: Option<&'a Weighed>,
}

impl Named<'_> {
    /// Of the service, whether or not the change is why.
    fn confidence(self) -> f64 {
        let doubted = self.doubted.map_or(0.0, |doubted| doubted.confidence);
        (self.cause.confidence + doubted).min(self.cause.cap())
    }
}

/// The likeliest cause, if it is likely enough, ahead of the next, and a cause at all.
fn named(weighed: &[Weighed]) -> Option<Named<'_>> {
    let (top, rest) = weighed.split_first()?;
    // Whether a change of the service is recorded or not, it is the same service.
    let is_same = |other: &&Weighed| {
        other.service == top.service && (other.change.is_none() || top.change.is_none())
    };
    let rival = rest.iter().find(|other| !is_same(other));
    let ahead = rival.is_none_or(|next| top.weight - next.weight >= MARGIN_NAMED);
    let same = rest.iter().find(|other| is_same(other) && other.is_shown);
    // A cache may have lost its contents, or those that ask it were changed to ask for something else.
    let is_alike = |other: &&Weighed| {
        let is_unchanged = other.change.is_none() && other.is_shown;
        is_unchanged && other.mechanism != Mechanism::None && other.mechanism == top.mechanism
    };
    let is_doubted = top.change.is_some() && top.confidence < confidence_blamed(top);
    let named = match same {
        Some(cause) if is_doubted => Named { cause, doubted: Some(top) },
        None if is_doubted && rest.iter().any(|other| is_alike(&other)) => return None,
        Some(change) if change.change.is_some() && change.confidence >= CONFIDENCE_DOUBTED => {
            Named { cause: top, doubted: Some(change) }
        }
        _ => Named { cause: top, doubted: None },
    };
    let is_cause = top.service.is_some() && top.is_shown;
    (is_cause && ahead && named.confidence() >= CONFIDENCE_NAMED).then_some(named)
}

/// From which confidence on a change is blamed.
fn confidence_blamed(change: &Weighed) -> f64 {
    if is_proven(change) { CONFIDENCE_BLAMED } else { CONFIDENCE_BLAMED_LATE }
}

/// Whether the effect of a change came with it, or shows beside another version.
fn is_proven(change: &Weighed) -> bool {
    change.is_side_by_side || change.lag.is_some_and(|lag| lag <= AT_ONCE)
}

fn is_confirmed(top: &Weighed) -> bool {
    is_proven(top)
        && matches!(top.kind, CauseKind::Deploy | CauseKind::ConfigChange)
        && top.confidence >= CONFIDENCE_CONFIRMED
        && top.links >= LINKS_CONFIRMED
}

fn candidate<'a>(weighed: &Weighed, candidates: &'a Candidates) -> Option<&'a Candidate> {
    candidates.weighed.get(weighed.change?)
}

fn root_cause(named: Named<'_>, candidates: &Candidates) -> RootCause {
    let top = named.cause;
    RootCause {
        kind: top.kind,
        service: top.service.clone().unwrap_or_default(),
        operation: top.operation.clone(),
        mechanism: top.mechanism,
        deploy: candidate(top, candidates).map(|candidate| candidate.change.reference()),
        confidence: named.confidence(),
        formula: FORMULA.to_owned(),
        findings: top.supporting.clone(),
    }
}

fn hypotheses(weighed: &[Weighed], candidates: &Candidates) -> Vec<Hypothesis> {
    let mut hypotheses: Vec<Hypothesis> = Vec::new();
    for (index, cause) in weighed.iter().enumerate() {
        if index >= HYPOTHESES_MIN && cause.confidence < CONFIDENCE_SHOWN {
            break;
        }
        // Equal weights are an equal rank.
        let tied = index > 0 && (weighed[index - 1].weight - cause.weight).abs() < 1e-9;
        let rank = match hypotheses.last() {
            Some(before) if tied => before.rank,
            _ => index + 1,
        };
        hypotheses.push(Hypothesis {
            rank,
            kind: cause.kind,
            service: cause.service.clone(),
            mechanism: cause.mechanism,
            deploy: candidate(cause, candidates).map(|candidate| candidate.change.reference()),
            confidence: cause.confidence,
            evidence: cause.evidence.clone(),
            supporting: cause.supporting.clone(),
            against: cause.against.clone(),
        });
    }
    hypotheses
}

/// Every change that is not blamed, with the reason.
fn decoys(
    service: &str,
    weighed: &[Weighed],
    (named, candidates): (Option<&Weighed>, &Candidates),
) -> Vec<RuledOut> {
    let blamed = named.and_then(|top| top.change);
    let mut decoys: Vec<(usize, RuledOut)> = weighed
        .iter()
        .filter(|cause| cause.change != blamed || named.is_none())
        .filter_map(|cause| Some((cause.change?, candidate(cause, candidates)?, cause)))
        .filter_map(|(index, candidate, cause)| {
            let reason = reason(service, candidate, cause)?;
            let mut findings = vec![candidate.finding.clone()];
            findings.extend(candidate.signals.iter().map(|signal| signal.finding.clone()));
            let what = format!("{} {}", candidate.change.kind, candidate.change.name());
            Some((index, RuledOut { what, reason, findings }))
        })
        .collect();
    decoys.sort_by_key(|(index, _)| *index);
    decoys.into_iter().map(|(_, decoy)| decoy).collect()
}

/// Why a change is not blamed; `None` while it may still be the cause.
fn reason(service: &str, candidate: &Candidate, cause: &Weighed) -> Option<String> {
    let change = &candidate.change;
    if candidate.slow_before.is_some() {
        return Some(format!("{}'s requests were slow before it", change.service));
    }
    if cause.is_vetoed {
        return Some(format!("began at {}, after the onset", change.start.clock()));
    }
    if candidate.distance.is_none() {
        return Some(format!("no calls between {service} and {}", change.service));
    }
    let has_changed = candidate.signals.iter().any(|signal| signal.has_changed);
    if !candidate.signals.is_empty() && !has_changed {
        return Some(format!("none of {}'s own figures changed at it", change.service));
    }
    (cause.confidence < CONFIDENCE_SHOWN)
        .then(|| format!("confidence {}", figures::percent(100.0 * cause.confidence)))
}

fn actions(
    service: &str,
    (named, doubted): (Option<&Weighed>, Option<(&Change, f64)>),
    candidates: &Candidates,
    payloads: &Payloads,
) -> Vec<Action> {
    let Some(top) = named else { return actions::without_cause(service) };
    let culprit = top.service.as_deref().unwrap_or(service);
    let growth = payloads.growths.iter().find(|growth| growth.producer() == culprit);
    match (candidate(top, candidates), doubted) {
        (Some(candidate), _) => actions::against_change(&candidate.change, top.mechanism, growth),
        (None, Some((change, _))) => actions::about_change(change, growth),
        (None, None) => actions::against_dependency(culprit, growth),
    }
}

#[cfg(test)]
mod tests;
