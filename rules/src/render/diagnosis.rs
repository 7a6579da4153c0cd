//! A diagnosis as a page.

use super::page::{Body, Page, Step};
use crate::diagnosis::document::{
    Action, Amdahl, BudgetLine, Diagnosis, Hypothesis, RootCause, Symptom, Verdict,
};
use crate::figures;

/// Lines of the delta budget that a person reads; the document has all.
const BUDGET_LINES_MAX: usize = 8;
/// Hypotheses that a person reads: the honest three.
const HYPOTHESES_MAX: usize = 3;
/// Findings that are shown where no cause names its own.
const FINDINGS_MAX: usize = 12;

/// From the verdict down to what could not be measured.
pub(super) fn page(diagnosis: &Diagnosis) -> Page {
    let mut page = Page { headline: headline(diagnosis), ..Page::default() };
    page.add("Symptom", Body::Sentences(symptom(diagnosis)));
    page.add("Cause", Body::Sentences(diagnosis.root_cause.iter().map(cause).collect()));
    page.add("Why", Body::Points(evidence(diagnosis)));
    page.add("Where the time went", Body::Figures(budget(diagnosis)));
    page.add("What the hot frames are worth", Body::Sentences(amdahl(diagnosis.amdahl.as_ref())));
    page.add("What to do", Body::Steps(diagnosis.actions.iter().map(step).collect()));
    page.add("Ruled out", Body::Points(ruled_out(diagnosis)));
    page.add("Hypotheses", Body::Figures(hypotheses(diagnosis)));
    page.add("Regressed too", Body::Points(diagnosis.other_symptoms.iter().map(figure).collect()));
    page.add("Not measured", Body::Points(not_measured(diagnosis)));
    page.add("Every figure", Body::Sentences(vec![footer(diagnosis)]));
    page
}

fn headline(diagnosis: &Diagnosis) -> String {
    format!("{}: {}", diagnosis.verdict.name().to_uppercase(), diagnosis.summary)
}

fn symptom(diagnosis: &Diagnosis) -> Vec<String> {
    let Some(symptom) = &diagnosis.symptom else { return Vec::new() };
    let onset = symptom.onset_interval;
    vec![
        figure(symptom),
        format!(
            "since {} (between {} and {}); {} against {} UTC",
            symptom.onset.clock_beside(diagnosis.at),
            onset.start.clock_beside(diagnosis.at),
            onset.end.clock_beside(diagnosis.at),
            diagnosis.window.clocks(diagnosis.at),
            diagnosis.baseline.clocks(diagnosis.at),
        ),
    ]
}

fn figure(symptom: &Symptom) -> String {
    let value = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), figures::milliseconds);
    let ratio = symptom.ratio.map(|ratio| format!(" ({})", figures::times(ratio)));
    format!(
        "{} {}: {} {} -> {}{}",
        symptom.service,
        symptom.operation,
        symptom.measure.trim_end_matches("_ms"),
        value(symptom.baseline),
        value(symptom.current),
        ratio.unwrap_or_default()
    )
}

fn cause(cause: &RootCause) -> String {
    let what = cause.kind.name().replace('_', " ");
    let mechanism = cause.mechanism.words();
    let confidence = format!("{:.0} % confidence", 100.0 * cause.confidence);
    match &cause.deploy {
        Some(deploy) => format!(
            "{what} of {} {} at {} ({}, id {}): {mechanism}; {confidence}",
            cause.service,
            deploy.version,
            deploy.time.clock(),
            deploy.source,
            deploy.id
        ),
        None => format!("{what} {}: {mechanism}; {confidence}", cause.service),
    }
}

/// What the cause rests on; without a cause what was found at all.
fn evidence(diagnosis: &Diagnosis) -> Vec<String> {
    let statement = |id: &String| Some(diagnosis.finding(id)?.statement.clone());
    if let Some(cause) = &diagnosis.root_cause {
        return cause.findings.iter().filter_map(statement).collect();
    }
    let findings = diagnosis.findings.iter().take(FINDINGS_MAX);
    findings.map(|finding| finding.statement.clone()).collect()
}

fn budget(diagnosis: &Diagnosis) -> Vec<(Vec<String>, String)> {
    let line = |line: &BudgetLine| {
        let what = format!("{} {}", line.service, line.operation);
        (vec![signed(line.delta_ms), figures::percent(100.0 * line.share)], what)
    };
    let (shown, rest) =
        diagnosis.delta_budget.split_at(diagnosis.delta_budget.len().min(BUDGET_LINES_MAX));
    let mut rows: Vec<_> = shown.iter().map(line).collect();
    if !rest.is_empty() {
        let delta = rest.iter().map(|line| line.delta_ms).sum();
        let share: f64 = rest.iter().map(|line| line.share).sum();
        let cells = vec![signed(delta), figures::percent(100.0 * share)];
        rows.push((cells, format!("{} others", rest.len())));
    }
    if let (Some(unexplained), false) = (diagnosis.unexplained_ms, rows.is_empty()) {
        let what = "not explained by the sampled traces";
        rows.push((vec![signed(unexplained), String::new()], what.to_owned()));
    }
    rows
}

fn signed(milliseconds: f64) -> String {
    let sign = if milliseconds > 0.0 { "+" } else { "" };
    format!("{sign}{}", figures::milliseconds(milliseconds))
}

fn amdahl(amdahl: Option<&Amdahl>) -> Vec<String> {
    let Some(amdahl) = amdahl else { return Vec::new() };
    let enough = if amdahl.is_enough { "enough for" } else { "still over" };
    let threshold = amdahl.threshold_utilisation.filter(|_| !amdahl.is_enough).map(|rho| {
        let it_was = amdahl.utilisation.map(|now| format!(" (it was {:.0} %)", 100.0 * now));
        let it_was = it_was.unwrap_or_default();
        format!("; holds unless the CPU was more than {:.0} % utilised{it_was}", 100.0 * rho)
    });
    vec![
        format!(
            "removing all {} of the CPU in them gives at most {:.2}x: {} -> {}, {enough} the {} of {}{}",
            figures::percent(100.0 * amdahl.fraction),
            amdahl.speedup,
            figures::milliseconds(amdahl.current_ms),
            figures::milliseconds(amdahl.resulting_ms),
            amdahl.target,
            figures::milliseconds(amdahl.target_ms),
            threshold.unwrap_or_default()
        ),
        amdahl.caveat.clone(),
    ]
}

fn step(action: &Action) -> Step {
    let modes = (!action.modes.is_empty()).then(|| format!("modes: {}", action.modes.join(", ")));
    let detail: Vec<_> = action.detail.iter().cloned().chain(modes).collect();
    Step {
        title: action.title.clone(),
        detail: (!detail.is_empty()).then(|| detail.join("; ")),
        command: action.command.clone(),
    }
}

fn ruled_out(diagnosis: &Diagnosis) -> Vec<String> {
    let line = |out: &crate::diagnosis::document::RuledOut| format!("{}: {}", out.what, out.reason);
    diagnosis.ruled_out.iter().map(line).collect()
}

fn hypotheses(diagnosis: &Diagnosis) -> Vec<(Vec<String>, String)> {
    let line = |hypothesis: &Hypothesis| {
        let version = hypothesis.deploy.as_ref().map(|deploy| format!(" {}", deploy.version));
        let what = format!(
            "{} {}{}: {}",
            hypothesis.kind.name().replace('_', " "),
            hypothesis.service.as_deref().unwrap_or_default(),
            version.unwrap_or_default(),
            hypothesis.mechanism.words()
        );
        let cells = vec![
            format!("{}.", hypothesis.rank),
            format!("{:.0} %", 100.0 * hypothesis.confidence),
        ];
        (cells, what)
    };
    if diagnosis.verdict == Verdict::Healthy {
        return Vec::new();
    }
    diagnosis.hypotheses.iter().take(HYPOTHESES_MAX).map(line).collect()
}

fn not_measured(diagnosis: &Diagnosis) -> Vec<String> {
    let missing = diagnosis.not_measured.iter();
    missing.map(|missing| format!("{}: {}", missing.what, missing.why)).collect()
}

fn footer(diagnosis: &Diagnosis) -> String {
    format!(
        "{} findings, each with the SQL that returns its figures: `--format json`; diagnosis {} as of {}",
        diagnosis.findings.len(),
        diagnosis.id,
        diagnosis.at
    )
}
