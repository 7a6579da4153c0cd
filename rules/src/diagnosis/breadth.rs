//! Which parts of the operation became slower, by which factors, and which did not: one slow part
//! looks different from a common cause.

use super::budget::Budget;
use super::inquiry::{Figures, Inquiry, Reading};
use super::onset::RATIO_MIN;
use super::reading::{DURATION, SPAN_COUNT, is_operation, operation_rows};
use super::signal::{Operation, Signal};
use super::symptom::subject;
use super::traces::{Part, parts};
use crate::error::RulesError;
use crate::figures;
use crate::statistics::heterogeneity::{LogRatio, Uniformity, effective_number, uniformity};
use crate::time::Periods;

/// Slower by less than this is not slower.
const DELTA_MS_MIN: f64 = 1.0;
/// Parts with fewer spans are not judged.
const COUNT_MIN: i64 = 20;
/// Minutes scatter by this much whatever the number of spans, as a sigma of the logarithm.
const MINUTE_SIGMA: f64 = 0.05;
/// With fewer effective contributors, or one of more than this share, a single part is slow.
const CONTRIBUTORS_SINGLE: f64 = 1.5;
const SHARE_SINGLE: f64 = 0.8;
/// A common cause shows in at least half of the parts and two effective contributors.
const BREADTH_COMMON: f64 = 0.5;
const CONTRIBUTORS_COMMON: f64 = 2.0;

/// How the inflation is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// All by the same factor, shown by equivalence.
    Proportional,
    /// Many, by different factors.
    BroadNonUniform,
    /// Many; whether by the same factor cannot be shown.
    Broad,
    /// One part.
    Single,
    /// None of these.
    Undetermined,
}

impl Pattern {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Proportional => "broad and proportional",
            Self::BroadNonUniform => "broad and not uniform",
            Self::Broad => "broad",
            Self::Single => "mostly in a single part",
            Self::Undetermined => "neither broad nor in a single part",
        }
    }
}

/// A part with its factor.
#[derive(Clone, Debug)]
pub(crate) struct PartFactor {
    pub(crate) part: Part,
    pub(crate) figures: Figures,
    pub(crate) is_slower: bool,
    pub(crate) finding: String,
}

impl PartFactor {
    pub(crate) fn ratio(&self) -> f64 {
        self.figures.ratio().unwrap_or(1.0)
    }
}

/// The parts, each with its factor, and the finding that says how they compare.
#[derive(Clone, Debug)]
pub(crate) struct Breadth {
    pub(crate) parts: Vec<PartFactor>,
    pub(crate) finding: String,
}

/// Compares every part of the symptom.
pub(crate) async fn compute(
    inquiry: &mut Inquiry<'_>,
    operation: &Operation,
    budget: &Budget,
    periods: &Periods,
) -> Result<Option<Breadth>, RulesError> {
    let found = parts(&[&budget.now, &budget.before], &operation.service);
    let mut factors = Vec::new();
    let operations = found.iter().map(|part| &part.operation);
    inquiry.read_served(operations, &[periods.now, periods.before]).await?;
    for part in found {
        factors.extend(part_factor(inquiry, part, periods).await?);
    }
    if factors.is_empty() {
        inquiry.not_measured(
            "which part of the operation is slow",
            "its spans have no child spans of the same service in both windows: instrument its calls and its own work",
        );
        return Ok(None);
    }
    factors.sort_by(|a, b| {
        b.ratio().total_cmp(&a.ratio()).then_with(|| a.part.operation.cmp(&b.part.operation))
    });
    let pattern = pattern(inquiry, &factors, periods).await?;
    let finding = summary(inquiry, operation, (&factors, pattern), periods).await?;
    Ok(Some(Breadth { parts: factors, finding }))
}

async fn part_factor(
    inquiry: &mut Inquiry<'_>,
    part: Part,
    periods: &Periods,
) -> Result<Option<PartFactor>, RulesError> {
    let signal = Signal::Duration { operation: part.operation.clone(), quantile: 0.5 };
    let reading = inquiry.read(signal, periods).await?;
    let figures = reading.figures;
    let (Some((now, before)), Some(ratio)) = (figures.pair(), figures.ratio()) else {
        return Ok(None);
    };
    if figures.n < COUNT_MIN {
        return Ok(None);
    }
    let is_slower = ratio >= RATIO_MIN && now - before >= DELTA_MS_MIN;
    let subject = subject(&part.operation);
    let statement = format!(
        "{subject} {} {} to {} at the median ({})",
        if is_slower { "went from" } else { "is unaffected:" },
        figures::milliseconds(before),
        figures::milliseconds(now),
        figures::times(ratio)
    );
    let rule = if is_slower { "span_inflation" } else { "span_unaffected" };
    let finding = inquiry.note(rule, &subject, reading, statement);
    Ok(Some(PartFactor { part, figures, is_slower, finding }))
}

async fn pattern(
    inquiry: &Inquiry<'_>,
    factors: &[PartFactor],
    periods: &Periods,
) -> Result<Pattern, RulesError> {
    let slower: Vec<_> = factors.iter().filter(|factor| factor.is_slower).collect();
    let deltas: Vec<f64> = slower.iter().filter_map(|factor| factor.figures.difference()).collect();
    let contributors = effective_number(&deltas);
    let top = deltas.iter().copied().fold(0.0, f64::max) / deltas.iter().sum::<f64>().max(1e-9);
    if slower.len() == 1
        || (!slower.is_empty() && (contributors < CONTRIBUTORS_SINGLE || top > SHARE_SINGLE))
    {
        return Ok(Pattern::Single);
    }
    let breadth = slower.len() as f64 / factors.len() as f64;
    if breadth < BREADTH_COMMON || contributors < CONTRIBUTORS_COMMON {
        return Ok(Pattern::Undetermined);
    }
    let mut ratios = Vec::new();
    for factor in &slower {
        ratios.extend(log_ratio(inquiry, factor, periods).await?);
    }
    Ok(match uniformity(&ratios) {
        Uniformity::Uniform => Pattern::Proportional,
        Uniformity::Different => Pattern::BroadNonUniform,
        Uniformity::Undetermined => Pattern::Broad,
    })
}

/// The logarithm of a factor with its standard error, from the quartiles of the part.
async fn log_ratio(
    inquiry: &Inquiry<'_>,
    factor: &PartFactor,
    periods: &Periods,
) -> Result<Option<LogRatio>, RulesError> {
    let operation = &factor.part.operation;
    let at = |quantile| Signal::Duration { operation: operation.clone(), quantile };
    let low = inquiry.read(at(0.25), periods).await?.figures;
    let high = inquiry.read(at(0.75), periods).await?.figures;
    let (Some(low), Some(high)) =
        (low.observed.zip(low.baseline), high.observed.zip(high.baseline))
    else {
        return Ok(None);
    };
    // Quartiles of a normal distribution lie 1.349 sigma apart; a median's standard error is
    // sqrt(pi / 2) of a mean's.
    let sigma = |low: f64, high: f64| (high / low.max(1e-9)).ln().max(0.0) / 1.349;
    let n = factor.figures.n.max(1) as f64;
    let error = |sigma: f64| std::f64::consts::FRAC_PI_2 * sigma * sigma / n;
    let variance = error(sigma(low.0, high.0))
        + error(sigma(low.1, high.1))
        + 2.0 * MINUTE_SIGMA * MINUTE_SIGMA / 15.0;
    Ok(Some(LogRatio { value: factor.ratio().ln(), error: variance.sqrt() }))
}

/// The finding "4 of 5 parts are slower".
async fn summary(
    inquiry: &mut Inquiry<'_>,
    operation: &Operation,
    (factors, pattern): (&[PartFactor], Pattern),
    periods: &Periods,
) -> Result<String, RulesError> {
    let both = [("now", periods.now), ("before", periods.before)];
    let parts: Vec<_> = factors
        .iter()
        .enumerate()
        .map(|(index, factor)| {
            let condition = is_operation(&factor.part.operation);
            let columns = [SPAN_COUNT, DURATION];
            let rows = operation_rows(&condition, &columns, &both, periods.at);
            format!("  SELECT {index} AS part, * FROM (\n{rows}\n  ) AS rows")
        })
        .collect();
    let sql = format!(
        "WITH parts AS (\n{}\n),\nsides AS (\n  SELECT part, hist_quantile(duration, 0.5) FILTER (WHERE period = 'now') / 1e6 AS now_ms,\n    hist_quantile(duration, 0.5) FILTER (WHERE period = 'before') / 1e6 AS before_ms,\n    sum(span_count) FILTER (WHERE period = 'now') AS n\n  FROM parts GROUP BY part\n)\nSELECT count(*) FILTER (WHERE now_ms >= {RATIO_MIN} * before_ms AND now_ms - before_ms >= {DELTA_MS_MIN}) AS observed,\n  count(*) AS baseline, coalesce(sum(n), 0) AS n\nFROM sides",
        parts.join("\n  UNION ALL\n")
    );
    let reading = inquiry.read_sql(sql, "parts").await?;
    let statement = statement(factors, pattern, &reading);
    Ok(inquiry.note("span_breadth", &subject(operation), reading, statement))
}

fn statement(factors: &[PartFactor], pattern: Pattern, reading: &Reading) -> String {
    let list: Vec<String> = factors
        .iter()
        .map(|factor| {
            format!("{} {}", factor.part.operation.span_name, figures::times(factor.ratio()))
        })
        .collect();
    let (slower, all) = reading.figures.pair().unwrap_or_default();
    format!(
        "the inflation is {}: {slower:.0} of {all:.0} parts are slower at the median: {}",
        pattern.words(),
        list.join(", ")
    )
}
