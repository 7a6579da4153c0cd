//! One signal after another: figures in the windows, a bound, and what it says.

use super::document::{SignalState, VerifiedSignal};
use crate::diagnosis::document::{Diagnosis, Finding};
use crate::diagnosis::signal::Signal;
use crate::diagnosis::{Figures, Inquiry};
use crate::error::RulesError;
use crate::statistics::share_margin;
use crate::time::{Periods, Window};

/// Times and sizes may lie this factor from their baseline (Spinnaker's and DESIGN's 10 %).
const RATIO_MARGIN: f64 = 1.10;
/// Shares may lie this many percentage points from their baseline.
const SHARE_MARGIN: f64 = 2.0;
/// Differences below this many milliseconds are no regression, whatever their ratio.
const TIME_MARGIN_MS: f64 = 2.0;
/// One-sided 95 % of the normal distribution.
const Z_ONE_SIDED: f64 = 1.645;

/// Tests the signals of a diagnosis that had changed, in the order of its findings.
pub(super) async fn test_all(
    inquiry: &Inquiry<'_>,
    diagnosis: &Diagnosis,
    windows: &[Window],
) -> Result<Vec<VerifiedSignal>, RulesError> {
    let symptom = diagnosis.symptom.iter().flat_map(|symptom| &symptom.findings);
    let symptom: Vec<&String> = symptom.collect();
    let mut tested = Vec::new();
    let mut signals = Vec::new();
    for finding in &diagnosis.findings {
        let Some(signal) = &finding.signal else { continue };
        if signals.contains(signal) || !had_changed(signal, finding) {
            continue;
        }
        signals.push(signal.clone());
        let test = Test { inquiry, signal, baseline: diagnosis.baseline, windows };
        let is_symptom = symptom.contains(&&finding.id);
        tested.push(test.run(finding, is_symptom).await?);
    }
    Ok(tested)
}

/// Whether the incident took the signal out of its margin. Traffic has a margin of its own nowhere:
/// it follows customers, not deploys.
fn had_changed(signal: &Signal, finding: &Finding) -> bool {
    let (Some(observed), Some(baseline)) = (finding.observed, finding.baseline) else {
        return false;
    };
    let is_traffic = matches!(
        signal,
        Signal::RequestRate { .. } | Signal::SlowRequestRate { .. } | Signal::MetricMean { .. }
    );
    !is_traffic && !Limits::of(signal, baseline).contains(observed)
}

/// The values between which a signal counts as equal to its baseline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    low: f64,
    high: f64,
}

impl Limits {
    pub(super) fn of(signal: &Signal, baseline: f64) -> Self {
        match signal.unit() {
            "%" => Self { low: baseline - SHARE_MARGIN, high: baseline + SHARE_MARGIN },
            // Faster than before is no failure of a rollback.
            "ms" => Self {
                low: f64::NEG_INFINITY,
                high: (baseline * RATIO_MARGIN).max(baseline + TIME_MARGIN_MS),
            },
            _ => Self { low: baseline / RATIO_MARGIN, high: baseline * RATIO_MARGIN },
        }
    }

    fn contains(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// What a bound of all windows says, none if there is too little data, and whether one of the
    /// windows shows the signal outside.
    pub(super) fn judge(self, bound: Option<f64>, shows_outside: bool) -> SignalState {
        match bound {
            None => SignalState::Insufficient,
            Some(_) if shows_outside => SignalState::NotRecovered,
            Some(bound) if self.contains(bound) => SignalState::Recovered,
            Some(_) => SignalState::Undecided,
        }
    }
}

/// A signal and the windows in which it is asked for.
struct Test<'a> {
    inquiry: &'a Inquiry<'a>,
    signal: &'a Signal,
    baseline: Window,
    windows: &'a [Window],
}

impl Test<'_> {
    async fn run(&self, finding: &Finding, is_symptom: bool) -> Result<VerifiedSignal, RulesError> {
        let baseline = finding.baseline.unwrap_or_default();
        let limits = Limits::of(self.signal, baseline);
        let side = if finding.observed.unwrap_or_default() >= baseline { 1.0 } else { -1.0 };
        let mut after = Vec::new();
        let mut shows_outside = false;
        let mut is_enough = self.all_windows().end <= self.inquiry.at;
        for window in self.windows {
            let figures = self.figures(self.signal, *window).await?;
            after.push(figures.observed);
            is_enough &= figures.n >= self.signal.observations_min() && figures.observed.is_some();
            let nearest = self.bound(&figures, *window, -side).await?;
            shows_outside |= nearest.is_some_and(|nearest| !limits.contains(nearest));
        }
        let all = self.all_windows();
        let together = self.figures(self.signal, all).await?;
        let bound = self.bound(&together, all, side).await?;
        let state = limits.judge(bound.filter(|_| is_enough), shows_outside);
        let limit = if side > 0.0 { limits.high } else { limits.low };
        Ok(VerifiedSignal {
            rule: finding.rule.clone(),
            subject: finding.subject.clone(),
            unit: finding.unit.clone(),
            is_symptom,
            baseline: finding.baseline,
            incident: finding.observed,
            after,
            together: together.observed,
            bound,
            limit: Some(limit).filter(|limit| limit.is_finite()),
            n: together.n,
            state,
            sql: self.signal.sql(&self.periods(all)),
        })
    }

    /// The one-sided 95 % bound of a figure, above it or below: for a quantile the value so many
    /// standard errors of its rank away (order statistics), for a share half of its interval, for a
    /// mean the figure itself, since the tables keep no second moment.
    async fn bound(
        &self,
        figures: &Figures,
        window: Window,
        side: f64,
    ) -> Result<Option<f64>, RulesError> {
        let Some(value) = figures.observed else { return Ok(None) };
        if let Some(shifted) = self.signal.at_rank_shifted(side * Z_ONE_SIDED, figures.n) {
            return Ok(self.figures(&shifted, window).await?.observed);
        }
        if self.signal.unit() == "%" {
            let margin = share_margin(value / 100.0, figures.n as f64) * 100.0;
            return Ok(Some(value + side * margin));
        }
        Ok(Some(value))
    }

    async fn figures(&self, signal: &Signal, window: Window) -> Result<Figures, RulesError> {
        Ok(self.inquiry.read(signal.clone(), &self.periods(window)).await?.figures)
    }

    fn periods(&self, now: Window) -> Periods {
        Periods { now, before: self.baseline, at: self.inquiry.at }
    }

    fn all_windows(&self) -> Window {
        let start = self.windows.first().map_or(self.baseline.end, |window| window.start);
        let end = self.windows.last().map_or(self.baseline.end, |window| window.end);
        Window::new(start, end)
    }
}
