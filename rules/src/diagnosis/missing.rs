//! Whether an operation has more slow requests, or only fewer fast ones: then nothing became slower.
//!
//! A sampler that begins to keep slow traces, or fast requests that go elsewhere (to a cache in front, to another
//! name), raise every quantile of what is left. What tells it from a slowdown is the number of slow requests in a
//! second, which stays where it was while the number of all requests falls.

use super::document::{CauseKind, Hypothesis, Mechanism, RuledOut};
use super::inquiry::{Inquiry, Reading};
use super::score::CONFIDENCE_UNRECORDED_MAX;
use super::served::Served;
use super::signal::{Operation, Signal};
use super::symptom::{Regression, measure_name, subject};
use super::traffic;
use crate::error::RulesError;
use crate::figures;
use crate::statistics::rate_ratio_z;

/// Slow requests that became more by so many standard errors are more.
const Z_MORE: f64 = 2.0;
/// That requests are fewer has to be shown by so many.
const Z_FEWER: f64 = 3.0;
/// And by so many where another operation has shown that fast ones are missing: of many operations that lose their
/// fast requests one in forty seems to have more slow ones by two.
const Z_MORE_OF_MANY: f64 = 3.0;
/// Fewer requests must account for at least this part of a slow share that rose, in logarithms.
const PART_MIN: f64 = 0.5;
/// Operations of which it is said, those with most requests; a sampler is seen in many.
const NOTED_MAX: usize = 4;

/// Operations that seem slower since their fast requests are missing.
#[derive(Debug, Default)]
pub(crate) struct Missing(Vec<Requests>);

impl Missing {
    /// Those of some regressions that have more slow requests; the others are kept here.
    pub(super) async fn slower_of(
        &mut self,
        inquiry: &Inquiry<'_>,
        regressions: Vec<Regression>,
    ) -> Result<Vec<Regression>, RulesError> {
        let mut slower = Vec::new();
        let mut doubtful = Vec::new();
        for regression in regressions {
            match requests(inquiry, &regression).await? {
                None => slower.push(regression),
                Some(requests) if requests.are_fast_missing() => self.0.push(requests),
                Some(requests) => doubtful.push((regression, requests)),
            }
        }
        for (regression, requests) in doubtful {
            if self.0.is_empty() || requests.z_slow >= Z_MORE_OF_MANY {
                slower.push(regression);
            }
        }
        Ok(slower)
    }

    /// What they were taken for, ruled out, and what the one with most requests is instead.
    pub(super) fn note(&self, inquiry: &mut Inquiry<'_>) -> (Vec<RuledOut>, Option<Hypothesis>) {
        let rate = |requests: &Requests| requests.all.figures.baseline.unwrap_or(0.0);
        let mut most: Vec<_> = self.0.iter().collect();
        most.sort_by(|a, b| {
            rate(b).total_cmp(&rate(a)).then_with(|| a.operation.cmp(&b.operation))
        });
        let noted = most.iter().take(NOTED_MAX);
        let mut ruled_out: Vec<_> = noted.map(|requests| requests.note(inquiry)).collect();
        if let Some(others) = most.len().checked_sub(NOTED_MAX).filter(|others| *others > 0) {
            let what = format!("that {others} further operations are slower");
            let reason = "their fast requests are missing too".to_owned();
            ruled_out.push(RuledOut { what, reason, findings: Vec::new() });
        }
        let hypothesis = most.first().map(|requests| Hypothesis {
            rank: 1,
            kind: CauseKind::TelemetryArtefact,
            service: Some(requests.operation.service.clone()),
            mechanism: Mechanism::None,
            deploy: None,
            confidence: CONFIDENCE_UNRECORDED_MAX,
            evidence: Vec::new(),
            supporting: ruled_out.iter().flat_map(|out| out.findings.clone()).collect(),
            against: Vec::new(),
        });
        (ruled_out, hypothesis)
    }
}

/// Requests of an operation that seems slower, and those of them that are slow by what it was.
#[derive(Debug)]
struct Requests {
    operation: Operation,
    /// The quantile that rose, and what it was.
    measure: f64,
    baseline_ms: f64,
    /// In a second.
    all: Reading,
    slow: Reading,
    /// Standard errors by which all became more, and slow ones.
    z_all: f64,
    z_slow: f64,
}

/// The requests of an operation that gets fewer of them than before; `None` if it does not, or if it is not known.
async fn requests(
    inquiry: &Inquiry<'_>,
    regression: &Regression,
) -> Result<Option<Requests>, RulesError> {
    let Regression { operation, periods, measure, .. } = regression;
    let Some(baseline_ms) = regression.reading.figures.baseline else { return Ok(None) };
    let all = Signal::RequestRate { operation: operation.clone() };
    let all = inquiry.read(all, periods).await?;
    let is_fewer = all.figures.ratio().is_some_and(|ratio| ratio * traffic::RATE_FACTOR < 1.0);
    if !is_fewer || traffic::has_gaps(inquiry, periods.before).await? {
        return Ok(None);
    }
    let slow = Signal::SlowRequestRate { operation: operation.clone(), above_ms: baseline_ms };
    let slow = inquiry.read(slow, periods).await?;
    let count = |served: &Served| {
        let share = served.durations.fraction_above(baseline_ms * 1e6).unwrap_or(0.0);
        share * served.durations.count as f64
    };
    let now = inquiry.served(operation, periods.now).await?;
    let before = inquiry.served(operation, periods.before).await?;
    // Spans that stand for several requests are as few as they are.
    let weight =
        |served: &Served| served.adjusted_micros as f64 / 1e6 / (served.spans as f64).max(1.0);
    let (time_now, time_before) =
        (periods.now.seconds() / weight(&now), periods.before.seconds() / weight(&before));
    let z_slow = rate_ratio_z((count(&now), time_now), (count(&before), time_before));
    let z_all = rate_ratio_z((now.spans as f64, time_now), (before.spans as f64, time_before));
    let operation = operation.clone();
    Ok(Some(Requests { operation, measure: *measure, baseline_ms, all, slow, z_all, z_slow }))
}

impl Requests {
    /// Whether slow requests are as many as they were, and fast ones are missing.
    fn are_fast_missing(&self) -> bool {
        let (Some(all), Some(slow)) = (self.all.figures.ratio(), self.slow.figures.ratio()) else {
            return false;
        };
        let share = slow / all;
        self.z_all < -Z_FEWER && self.z_slow < Z_MORE && slow.ln() <= (1.0 - PART_MIN) * share.ln()
    }

    /// That the operation is slower, ruled out.
    fn note(&self, inquiry: &mut Inquiry<'_>) -> RuledOut {
        let subject = subject(&self.operation);
        let per_minute = |reading: &Reading| {
            let (now, before) = reading.figures.pair().unwrap_or_default();
            [now, before].map(|rate| figures::number(60.0 * rate))
        };
        let ([all_now, all_before], [slow_now, slow_before]) =
            (per_minute(&self.all), per_minute(&self.slow));
        let limit = figures::milliseconds(self.baseline_ms);
        let all_of = format!("{subject} got {all_now} requests/min, {all_before} before");
        let slow_of = format!(
            "{slow_now} requests/min to {subject} took more than {limit}, {slow_before} before"
        );
        let findings = vec![
            inquiry.note("request_rate", &subject, self.all.clone(), all_of),
            inquiry.note("slow_request_rate", &subject, self.slow.clone(), slow_of),
        ];
        let quantile = measure_name(self.measure);
        let reason = format!(
            "{slow_now} requests/min take longer than its earlier {quantile} of {limit}, {slow_before} before, and fast ones are missing: {all_now} of all requests/min, {all_before} before. A sampler may keep slow traces, or fast requests may go elsewhere"
        );
        RuledOut { what: format!("that {subject} is slower"), reason, findings }
    }
}
