//! What to do: undo the cause, limit what it can do, and keep it from coming back unseen.

use super::changes::Change;
use super::document::{Action, Mechanism};
use super::payload::{Growth, subject};
use crate::escape::shell;
use crate::figures;

/// A body may grow by this factor before a merge is stopped.
const GATE_FACTOR: f64 = 2.0;
/// Bytes of a KB, as sizes are printed.
const KB: f64 = 1000.0;

/// Actions against a change.
pub(crate) fn against_change(
    change: &Change,
    mechanism: Mechanism,
    growth: Option<&Growth>,
) -> Vec<Action> {
    let mut actions = vec![roll_back(change), verify(change)];
    if let (Mechanism::ResponsePayloadGrowth | Mechanism::RequestPayloadGrowth, Some(growth)) =
        (mechanism, growth)
    {
        actions.extend(against_growth(growth));
    }
    actions.push(runbook(&change.service));
    actions
}

/// Actions where a service behaves differently and a change of it may or may not be why.
pub(crate) fn about_change(change: &Change, growth: Option<&Growth>) -> Vec<Action> {
    let mut actions = vec![
        Action {
            detail: Some("an instance with the version before it, beside the others in the same minutes, decides; so does a rollback, where that is cheap".to_owned()),
            ..action(
                "investigate",
                format!("find out whether {} is why", change.name()),
                Some(&change.service),
            )
        },
        verify(change),
    ];
    actions.extend(growth.into_iter().flat_map(against_growth));
    actions.push(runbook(&change.service));
    actions
}

/// Actions where a service behaves differently without a recorded change.
pub(crate) fn against_dependency(service: &str, growth: Option<&Growth>) -> Vec<Action> {
    let mut actions = vec![Action {
        detail: Some("configuration, feature flags and data can change what a service answers without a deploy; record them with `upriver deploy record`".to_owned()),
        ..action("investigate", format!("ask what changed in {service}"), Some(service))
    }];
    actions.extend(growth.into_iter().flat_map(against_growth));
    actions.push(runbook(service));
    actions
}

/// What to do when no cause is supported.
pub(crate) fn without_cause(service: &str) -> Vec<Action> {
    vec![Action {
        detail: Some(
            "see what could not be measured, and the hypotheses with what speaks against each"
                .to_owned(),
        ),
        ..action(
            "investigate",
            "no cause is supported: look at the largest lines of the delta budget first".to_owned(),
            Some(service),
        )
    }]
}

fn action(kind: &str, title: String, service: Option<&str>) -> Action {
    Action {
        kind: kind.to_owned(),
        title,
        service: service.map(str::to_owned),
        command: None,
        detail: None,
        modes: Vec::new(),
    }
}

fn roll_back(change: &Change) -> Action {
    let service = &change.service;
    let to = change.previous_version.as_deref();
    let title = match to {
        Some(version) => format!("roll {service} back from {} to {version}", change.version),
        None => format!("roll {service} back from {}", change.version),
    };
    let workload = shell(&format!("deployment/{service}"));
    Action {
        command: Some(format!("kubectl rollout undo {workload}")),
        detail: Some("the command fits a Kubernetes deployment of the service's name; use your delivery tool's own otherwise".to_owned()),
        ..action("roll_back", title, Some(service))
    }
}

fn verify(change: &Change) -> Action {
    Action {
        command: Some(format!("upriver verify {}", shell(&change.name()))),
        ..action(
            "verify",
            "after the rollback, test that every signal came back".to_owned(),
            Some(&change.service),
        )
    }
}

fn against_growth(growth: &Growth) -> Vec<Action> {
    let Some((now, before)) = growth.figures.pair() else { return Vec::new() };
    let (producer, direction) = (growth.producer(), growth.direction.name());
    let edge = subject(&growth.edge);
    let mut actions = Vec::new();
    if let Some(limit) = limit_bytes(now, before) {
        actions.push(Action {
            detail: Some("begin with log; reject turns slow answers into errors".to_owned()),
            modes: ["log", "truncate", "reject"].map(str::to_owned).into(),
            ..action(
                "limit",
                format!(
                    "in {}, limit the {direction} of {edge} to {}",
                    growth.consumer(),
                    figures::bytes(limit)
                ),
                Some(growth.consumer()),
            )
        });
    }
    actions.push(action(
        "gate",
        format!(
            "gate merges of {producer}: the median {direction} body at most {GATE_FACTOR:.0} times the current production median, {}",
            figures::bytes(GATE_FACTOR * before)
        ),
        Some(producer),
    ));
    actions.push(action(
        "alert",
        format!("alert {producer}'s team when the p99 {direction} body of {edge} is up by more than 50 % week over week"),
        Some(producer),
    ));
    actions
}

/// The largest power of two of kilobytes below today's body that leaves healthy ones room.
fn limit_bytes(now: f64, before: f64) -> Option<f64> {
    let limit = KB * (now / KB).log2().floor().exp2();
    (limit >= GATE_FACTOR * before).then_some(limit)
}

fn runbook(service: &str) -> Action {
    action(
        "runbook",
        "runbook: when most spans of an operation are slower at once, look at deploys upstream in the last 2 hours and at response schemas first".to_owned(),
        Some(service),
    )
}

#[cfg(test)]
mod tests {
    use super::limit_bytes;

    #[test]
    fn a_limit_stops_the_grown_body_and_passes_the_healthy_one() {
        assert_eq!(limit_bytes(85_000.0, 8_000.0), Some(64_000.0));
        assert_eq!(limit_bytes(9_000.0, 5_000.0), None);
        assert_eq!(limit_bytes(1_500_000.0, 100_000.0), Some(1_024_000.0));
    }
}
