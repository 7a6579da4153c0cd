//! Causes without a recorded change: services that behave differently, machines, traffic, and none.

use std::collections::BTreeMap;

use super::{
    DEPENDENCY_PRIOR, HOST_PRIOR, LINK, LINKS_MAX, Measured, OWN_CHANGED, OWN_CHANGED_SHARED,
    OWN_SHARE_MAIN, TRAFFIC_PRIOR, UNKNOWN_PRIOR, Weighed, explained, mechanism, mechanism_of,
};
use crate::diagnosis::attribution::{Added, Part};
use crate::diagnosis::document::{CauseKind, Mechanism};
use crate::diagnosis::profile::GARBAGE;
use crate::diagnosis::signal::Direction;
use crate::diagnosis::utilisation::Utilisation;
use crate::figures;

/// Services that behave differently, whether or not a change of theirs is known.
pub(super) fn dependencies(measured: &Measured<'_>) -> Vec<Weighed> {
    let mut found: BTreeMap<String, Weighed> = BTreeMap::new();
    for growth in measured.payloads.origins() {
        let producer = growth.producer();
        if producer.is_empty() || producer == measured.service {
            continue;
        }
        let mut weighed = Weighed::new(CauseKind::Dependency, DEPENDENCY_PRIOR);
        weighed.service = Some(producer.to_owned());
        weighed.operation = Some(growth.edge.operation.clone());
        weighed.mechanism = match growth.direction {
            Direction::Response => Mechanism::ResponsePayloadGrowth,
            Direction::Request => Mechanism::RequestPayloadGrowth,
        };
        weighed.is_shown = true;
        weighed.supporting.push(growth.finding.clone());
        weighed.term("own_signals", OWN_CHANGED, "its bodies grew, without a recorded change");
        mechanism(measured, &mut weighed);
        found.entry(producer.to_owned()).or_insert(weighed);
    }
    for (service, reason, findings) in slow_services(measured) {
        let mut weighed = slow_service(measured, &service, (reason, findings));
        mechanism(measured, &mut weighed);
        if measured.attribution.of(&service).is_some_and(|a| a.main_part() == Part::Asking) {
            blame_the_cache(measured, &mut weighed);
        }
        found.entry(service).or_insert(weighed);
    }
    found.into_values().collect()
}

/// A service that is slow, whatever is recorded of it.
fn slow_service(
    measured: &Measured<'_>,
    service: &str,
    (reason, findings): (String, Vec<String>),
) -> Weighed {
    let waits = waiting(measured, service);
    let how = match mechanism_of(measured, service) {
        Mechanism::SlowerCode if waits.is_some() => Mechanism::Queueing,
        how => how,
    };
    let kind = match how {
        Mechanism::RetryAmplification => CauseKind::RetryStorm,
        // Something in the symptom's own service is no dependency of it.
        _ if service == measured.service => CauseKind::Unknown,
        _ => CauseKind::Dependency,
    };
    let mut weighed = Weighed::new(kind, DEPENDENCY_PRIOR);
    weighed.service = Some(service.to_owned());
    weighed.mechanism = how;
    weighed.supporting.extend(findings);
    weighed.supporting.extend(waits.map(|utilisation| utilisation.finding.clone()));
    let is_fed = measured.payloads.growths.iter().any(|growth| growth.consumer() == service);
    let explained = if is_fed {
        Some("larger bodies explain it".to_owned())
    } else {
        explained(measured, service)
    };
    weighed.is_shown = explained.is_none();
    let is_called = measured.attribution.of(service).is_some_and(|a| a.main_part() == Part::Called);
    match explained {
        Some(explained) => weighed.term("own_signals", 1.0, format!("{reason}, and {explained}")),
        // What answers without a span of its own may run on the machine as well.
        None if is_called && measured.attribution.host.is_some() => {
            let reason = format!("{reason}, and where it runs is not known");
            weighed.term("own_signals", OWN_CHANGED_SHARED, reason);
        }
        None => weighed.term("own_signals", OWN_CHANGED, reason),
    }
    weighed
}

/// Whether a service waits for its processors. That these are busier does not tell why: slower code of a
/// change keeps them busy too, so it neither speaks for a cause nor against one.
fn waiting<'a>(measured: &Measured<'a>, service: &str) -> Option<&'a Utilisation> {
    measured.utilisation.get(service).filter(|utilisation| utilisation.waiting().is_some())
}

/// Requests that a cache no longer answers are nobody's fault but the cache's, without a change of those
/// that ask it.
fn blame_the_cache(measured: &Measured<'_>, weighed: &mut Weighed) {
    let Some(asks) = weighed.service.as_deref().and_then(|name| measured.attribution.of(name))
    else {
        return;
    };
    if let Some(cache) = asks.more_calls.as_ref().and_then(|more| more.cache.clone()) {
        weighed.kind = CauseKind::Dependency;
        weighed.service = Some(cache);
    }
}

/// A machine on which several services are slow.
pub(super) fn host(measured: &Measured<'_>) -> Option<Weighed> {
    let host = measured.attribution.host.as_ref()?;
    let mut weighed = Weighed::new(CauseKind::Host, HOST_PRIOR);
    weighed.service = Some(host.host.clone());
    weighed.mechanism = Mechanism::Queueing;
    weighed.is_shown = true;
    weighed.supporting.extend(host.findings.iter().cloned());
    let share = figures::percent(100.0 * host.share);
    weighed.term(
        "own_signals",
        OWN_CHANGED,
        format!(
            "{share} of the work that became slower is on it, by {} services",
            host.services.len()
        ),
    );
    let exponent = i32::try_from(host.services.len().min(LINKS_MAX)).unwrap_or(0);
    weighed.term("mechanism", LINK.powi(exponent), "the same services elsewhere are not slower");
    weighed.links = host.services.len();
    Some(weighed)
}

/// Services in which most of the added time is.
fn slow_services(measured: &Measured<'_>) -> Vec<(String, String, Vec<String>)> {
    let mut slow = Vec::new();
    let words = |share: f64| figures::percent(100.0 * share);
    for added in measured.attribution.shown() {
        let share = measured.attribution.share_of(&added.service);
        if share >= OWN_SHARE_MAIN {
            let reason = format!("{} of the added time is {}", words(share), added.place());
            slow.push((added.service.clone(), reason, added.findings.clone()));
        }
    }
    if !slow.is_empty() {
        return slow;
    }
    for factor in measured.breadth.iter().flat_map(|breadth| &breadth.parts) {
        let part = &factor.part;
        let Some(peer) = part.peer.clone().filter(|_| part.callee.is_none() && factor.is_slower)
        else {
            continue;
        };
        let is_call = |service: &str, operation: &str| {
            service == part.operation.service && operation == part.operation.span_name
        };
        let share: f64 = measured
            .budget
            .iter()
            .flat_map(|budget| &budget.lines)
            .filter(|line| is_call(&line.service, &line.operation))
            .map(|line| line.share)
            .sum();
        if share >= OWN_SHARE_MAIN {
            let reason = format!("{} of the added time is spent in calls to it", words(share));
            slow.push((peer, reason, vec![factor.finding.clone()]));
        }
    }
    slow
}

pub(super) fn traffic(measured: &Measured<'_>) -> Weighed {
    let mut weighed = Weighed::new(CauseKind::Traffic, TRAFFIC_PRIOR);
    weighed.service = Some(measured.service.to_owned());
    let findings = measured.traffic.findings.iter().cloned();
    let Some(surge) = &measured.traffic.surge else {
        weighed.against.extend(findings.take(1));
        weighed.term("own_signals", 0.0, "the request rate did not rise");
        return weighed;
    };
    weighed.mechanism = Mechanism::Queueing;
    weighed.supporting.extend(findings);
    let requests = format!("{} the requests", figures::times(surge.ratio));
    // More requests slow down those that cannot take them, and nothing else.
    let main = measured.attribution.main();
    let queues = |added: &&Added| {
        added.service == surge.service && matches!(added.main_part(), Part::Own | Part::Called)
    };
    match main.filter(queues) {
        Some(added) => {
            weighed.service = Some(added.service.clone());
            weighed.is_shown = true;
            weighed.supporting.extend(added.findings.iter().cloned());
            weighed.term("own_signals", OWN_CHANGED, requests);
            mechanism(measured, &mut weighed);
        }
        None if main.is_some() => {
            let reason = format!("{requests}, and the added time comes from elsewhere");
            weighed.term("own_signals", 1.0, reason);
        }
        None => {
            weighed.is_shown = true;
            weighed.term("own_signals", OWN_CHANGED / 2.0, requests);
        }
    }
    weighed
}

pub(super) fn unknown(measured: &Measured<'_>) -> Weighed {
    let mut weighed = Weighed::new(CauseKind::Unknown, UNKNOWN_PRIOR);
    weighed.supporting.extend(measured.symptom_findings.first().cloned());
    let garbage = |name: &String| GARBAGE.contains(&name.as_str());
    let pressure = measured.profiles.risen.iter().any(|risen| risen.families.iter().any(garbage));
    if pressure && measured.payloads.growths.is_empty() {
        weighed.mechanism = Mechanism::GcPressure;
    }
    weighed
}
