//! An audit as a page.

use super::page::{Body, Page};
use crate::audit::document::{Audit, AuditState, AuditedChange, AuditedSignal, Role};
use crate::figures;

/// Signals that are not worse, as a person reads them; the document has all.
const UNCHANGED_MAX: usize = 12;

/// The outcome, then what is worse, then the rest.
pub(super) fn page(audit: &Audit) -> Page {
    let outcome = audit.outcome.name().to_uppercase();
    let mut page = Page { headline: format!("{outcome}: {}", audit.summary), ..Page::default() };
    page.add("What was changed", Body::Sentences(what(audit)));
    let judged = |state| signals(audit, state, |signal| signal.role != Role::Surroundings);
    for (title, state) in [
        ("Worse since", AuditState::Regressed),
        ("Worse, with another explanation", AuditState::Elsewhere),
        ("Worse, since before the change", AuditState::BeganEarlier),
    ] {
        page.add(title, Body::Points(judged(state)));
    }
    let around = |signal: &AuditedSignal| signal.role == Role::Surroundings;
    page.add("Worse around it", Body::Points(signals(audit, AuditState::Regressed, around)));
    page.add("Changed nearby", Body::Points(audit.other_changes.iter().map(change).collect()));
    page.add("Undecided", Body::Points(judged(AuditState::Undecided)));
    let mut unchanged = judged(AuditState::Unchanged);
    let rest = unchanged.len().saturating_sub(UNCHANGED_MAX);
    unchanged.truncate(UNCHANGED_MAX);
    if rest > 0 {
        unchanged.push(format!("{rest} more"));
    }
    page.add("Not shown to be worse", Body::Points(unchanged));
    page.add("Too few observations", Body::Points(judged(AuditState::Insufficient)));
    let missing = audit.not_measured.iter();
    let missing = missing.map(|missing| format!("{}: {}", missing.what, missing.why));
    page.add("Not measured", Body::Points(missing.collect()));
    let footer = format!(
        "{} findings, each with the SQL that returns its figures: `--format json`; audit {} as of {}",
        audit.findings.len(),
        audit.id,
        audit.at
    );
    page.add("Every figure", Body::Sentences(vec![footer]));
    page
}

fn what(audit: &Audit) -> Vec<String> {
    let changed = &audit.change;
    let from = changed.previous_version.as_ref().map(|version| format!(" in place of {version}"));
    let mut lines = vec![format!(
        "{}{} ({}, id {})",
        change(changed),
        from.unwrap_or_default(),
        changed.source,
        changed.id
    )];
    let (before, after) = (audit.before, audit.after);
    lines.push(format!(
        "{}-{} against {}-{} UTC; {} requests, {} before",
        after.start.clock(),
        after.end.clock(),
        before.start.clock(),
        before.end.clock(),
        figures::count(audit.requests.after),
        figures::count(audit.requests.before)
    ));
    if let Some(enough) = audit.requests.enough_at {
        lines.push(format!(
            "{} requests, enough to see half as much time again, will be there at {} UTC at the rate so far",
            figures::count(audit.requests.needed),
            enough.clock()
        ));
    }
    lines
}

fn change(change: &AuditedChange) -> String {
    let kind = change.kind.replace('_', " ");
    format!("{kind} of {} {} at {}", change.service, change.version, change.time.clock())
}

fn signals(
    audit: &Audit,
    state: AuditState,
    is_shown: impl Fn(&AuditedSignal) -> bool,
) -> Vec<String> {
    let shown = audit.signals_in(state).filter(|signal| is_shown(signal));
    shown.filter_map(|signal| line(audit, signal)).collect()
}

fn line(audit: &Audit, signal: &AuditedSignal) -> Option<String> {
    let finding = audit.finding(&signal.finding)?;
    let n = finding.n.unwrap_or(0);
    let since = signal
        .since
        .map(|since| format!("; between {} and {}", since.start.clock(), since.end.clock()));
    let reason = signal.reason.as_ref().map(|reason| format!("; {reason}"));
    let z = match signal.state {
        AuditState::Insufficient => String::new(),
        _ => format!(", z {:.1}", signal.z),
    };
    Some(format!(
        "{} ({} observations{z}{}){}",
        finding.statement,
        figures::count(n),
        since.unwrap_or_default(),
        reason.unwrap_or_default()
    ))
}
