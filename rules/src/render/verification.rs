//! A verification as a page.

use super::page::{Body, Page};
use crate::figures;
use crate::verify::{SignalState, Verification};

/// The outcome, then every signal.
pub(super) fn page(verification: &Verification) -> Page {
    let outcome = verification.outcome.words().to_uppercase();
    let mut page =
        Page { headline: format!("{outcome}: {}", verification.summary), ..Page::default() };
    page.add("What was undone", Body::Sentences(what(verification)));
    for (title, state) in [
        ("Not back", SignalState::NotRecovered),
        ("Back", SignalState::Recovered),
        ("Undecided: not shown to be back, with so few observations", SignalState::Undecided),
        ("Not measured", SignalState::Insufficient),
    ] {
        page.add(title, Body::Figures(signals(verification, state)));
    }
    let footer = format!("verification {} as of {}", verification.id, verification.at);
    page.add("Every figure", Body::Sentences(vec![format!("{footer}; its SQL: `--format json`")]));
    page
}

fn what(verification: &Verification) -> Vec<String> {
    let (Some(deploy), Some(rollback)) = (&verification.deploy, &verification.rollback) else {
        return Vec::new();
    };
    let first = verification.windows.first().map(|window| window.start.clock());
    let last = verification.windows.last().map(|window| window.end.clock());
    let mut lines = vec![format!(
        "{} {} of {} by {} at {} ({})",
        deploy.service,
        deploy.version,
        deploy.time.clock(),
        rollback.version,
        rollback.time.clock(),
        rollback.source
    )];
    if let (Some(first), Some(last)) = (first, last) {
        let windows = verification.windows.len();
        lines.push(format!("tested in {windows} windows from {first} to {last} UTC"));
    }
    lines
}

fn signals(verification: &Verification, state: SignalState) -> Vec<(Vec<String>, String)> {
    let signals = verification.signals.iter().filter(|signal| signal.state == state);
    signals
        .map(|signal| {
            let figure = |value: Option<f64>| {
                value.map_or_else(|| "?".to_owned(), |v| figures::with_unit(v, &signal.unit))
            };
            let limit = signal.limit.map(|limit| format!(", limit {}", figure(Some(limit))));
            let figures = [signal.baseline, signal.incident, signal.together].map(figure);
            let cells = vec![format!("{} -> {} -> {}", figures[0], figures[1], figures[2])];
            let bound = format!("95 % bound {}{}", figure(signal.bound), limit.unwrap_or_default());
            (cells, format!("{} {} ({bound})", signal.subject, signal.rule.replace('_', " ")))
        })
        .collect()
}
