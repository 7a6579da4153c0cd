//! The symptom: which operation regressed, since when, and by how much.

use std::collections::{BTreeMap, BTreeSet};

use upriver_analyze::histogram::Histogram;
use upriver_analyze::literal;

use super::attribution::Attribution;
use super::document::Symptom;
use super::graph::Graph;
use super::inquiry::{Inquiry, Reading};
use super::missing::Missing;
use super::onset::{self, Onset, P99_COUNT_MIN, RATIO_MIN};
use super::reading::within;
use super::short_history;
use super::signal::{Operation, Signal};
use super::watched::Watched;
use crate::error::RulesError;
use crate::escape;
use crate::figures;
use crate::spelling;
use crate::statistics::{Z_95, quantile};
use crate::time::{HOUR, MINUTE, Periods, Time, WEEK, Window};

/// A regression of fewer milliseconds is not reported: the least effect that goes with a test of placebo
/// windows, beside a factor of 1.2.
pub(crate) const DELTA_MS_MIN: f64 = 5.0;
/// With fewer requests in the window nothing is said about it.
pub(crate) const COUNT_MIN: i64 = 50;
/// Requests for a 95 % interval of the 90th percentile.
pub(crate) const P90_COUNT_MIN: i64 = 36;
/// How far back operations are looked for.
const HISTORY: i64 = 30 * HOUR;
/// Operations whose figures of the window are below this factor of a calm hour are not looked at
/// more closely.
const SCREEN_RATIO: f64 = 1.15;
/// Operations that are looked at more closely, the most changed first: each costs a query.
const SCREENED_MAX: usize = 200;
/// An operation that is as slow as in the same window last week has its hour, not an incident. If it was slow then by
/// what is usual now, the two may differ by chance as well (95 %).
const SEASONAL_RATIO: f64 = 1.15;
/// Without a rise in the last hours, an operation is reported if it is this much slower than in the
/// same window last week.
const WEEKLY_RATIO: f64 = 1.5;

/// Which operations are asked about.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// All.
    Everything,
    /// All of these services.
    Services(Vec<String>),
    /// All of this name.
    Operation { service: Option<String>, span_name: String },
}

/// An operation that regressed.
#[derive(Clone, Debug)]
pub(crate) struct Regression {
    pub(crate) operation: Operation,
    pub(crate) onset: Onset,
    pub(crate) periods: Periods,
    pub(crate) measure: f64,
    pub(crate) reading: Reading,
    pub(crate) method: String,
}

impl Regression {
    pub(crate) fn ratio(&self) -> f64 {
        self.reading.figures.ratio().unwrap_or(1.0)
    }

    /// As the document has it.
    pub(crate) fn symptom(&self, findings: Vec<String>) -> Symptom {
        let figures = self.reading.figures;
        Symptom {
            service: self.operation.service.clone(),
            operation: self.operation.span_name.clone(),
            measure: format!("{}_ms", measure_name(self.measure)),
            baseline: figures.baseline,
            current: figures.observed,
            ratio: figures.ratio(),
            onset: self.onset.onset,
            onset_interval: self.onset.interval,
            onset_method: self.method.clone(),
            findings,
        }
    }
}

/// What was found in the scope.
#[derive(Debug, Default)]
pub(crate) struct Symptoms {
    /// The worst regressed operation nearest the entry of the graph.
    pub(crate) main: Option<Regression>,
    /// Others that it does not explain.
    pub(crate) others: Vec<Regression>,
    /// The operation with most requests, for a healthy report.
    pub(crate) busiest: Option<Operation>,
    /// Requests in the window, of all operations in scope.
    pub(crate) requests: i64,
    /// Operations that seem slower since their fast requests are missing.
    pub(crate) missing: Missing,
    /// Where the added time of all traces comes from, where history is too short for more.
    pub(crate) attribution: Option<Attribution>,
}

/// Tests every operation in scope.
pub(crate) async fn find(
    inquiry: &Inquiry<'_>,
    scope: &Scope,
    window: i64,
) -> Result<Symptoms, RulesError> {
    let now = Window::new(inquiry.at - window, inquiry.at);
    let hourly = hourly(inquiry, scope, now.start).await?;
    let current = current(inquiry, scope, now).await?;
    if current.is_empty() {
        check_names(inquiry, scope).await?;
    }
    let screened = screened(&hourly, &current);
    let onsets = onset::find(inquiry, &screened).await?;
    let mut regressions = Vec::new();
    let mut risen = BTreeSet::new();
    for (operation, onset) in screened.into_iter().zip(onsets) {
        let Some(onset) = onset else { continue };
        if let Some(regression) = regression(inquiry, operation, onset, window).await? {
            risen.insert(operation);
            regressions.push(regression);
        }
    }
    let mut grown = grown(inquiry, scope, (&current, now)).await?;
    grown.retain(|operation| !risen.contains(operation));
    inquiry.read_served(grown.iter().copied(), &[now, now.earlier(WEEK)]).await?;
    for operation in grown {
        regressions.extend(against_last_week(inquiry, operation, window).await?);
    }
    let mut missing = Missing::default();
    let regressions = missing.slower_of(inquiry, regressions).await?;
    let graph = Graph::load(inquiry, Window::new(inquiry.at - HISTORY, inquiry.at)).await?;
    let busiest = current.iter().max_by_key(|(operation, h)| (h.count, *operation));
    let busiest = busiest.map(|(operation, _)| operation.clone());
    let requests = current.values().map(|durations| durations.count).sum();
    let (mut main, mut others) = choose(&regressions, &graph);
    let mut attribution = None;
    let found = short_history::find(inquiry, (scope, window), &mut missing).await?;
    if let Some((regression, added)) = found {
        // Few points may show a rise in a callee and not in those that wait for it.
        let is_entry = main.as_ref().is_none_or(|main| {
            let (caller, callee) = (&regression.operation.service, &main.operation.service);
            caller != callee && graph.downstream(caller).contains_key(callee)
        });
        if is_entry {
            others.extend(main.replace(regression));
            attribution = Some(added);
        }
    }
    Ok(Symptoms { main, others, busiest, requests, missing, attribution })
}

fn condition(scope: &Scope) -> String {
    let kinds = "span_kind IN ('SERVER', 'CONSUMER')";
    match scope {
        Scope::Everything => kinds.to_owned(),
        Scope::Services(services) => {
            let names: Vec<_> = services.iter().map(|name| literal::text(name)).collect();
            format!("{kinds} AND service_name IN ({})", names.join(", "))
        }
        Scope::Operation { service, span_name } => {
            let service = service.as_ref().map_or_else(String::new, |name| {
                format!(" AND service_name = {}", literal::text(name))
            });
            format!("{kinds}{service} AND span_name = {}", literal::text(span_name))
        }
    }
}

type Durations = BTreeMap<Operation, Histogram>;

/// Durations of each operation in the window in question.
async fn current(
    inquiry: &Inquiry<'_>,
    scope: &Scope,
    now: Window,
) -> Result<Durations, RulesError> {
    let sql = format!(
        "SELECT service_name, span_name, span_kind, hist_merge(duration) AS duration FROM operation_minutes\nWHERE {} AND {}\nGROUP BY service_name, span_name, span_kind ORDER BY service_name, span_name, span_kind",
        condition(scope),
        within("time", now)
    );
    let rows = inquiry.rows("the operations of the window", &sql).await?;
    let operations = Operation::of_rows(&rows)?;
    Ok(operations.into_iter().zip(rows.histograms("duration")?).collect())
}

/// Durations of each operation in each hour before the window.
async fn hourly(
    inquiry: &Inquiry<'_>,
    scope: &Scope,
    end: Time,
) -> Result<BTreeMap<Operation, Vec<Histogram>>, RulesError> {
    let sql = format!(
        "SELECT service_name, span_name, span_kind, date_bin(INTERVAL '1 hour', time) AS hour, hist_merge(duration) AS duration FROM operation_minutes\nWHERE {} AND {}\nGROUP BY service_name, span_name, span_kind, hour ORDER BY service_name, span_name, span_kind, hour",
        condition(scope),
        within("time", Window::new(inquiry.at - HISTORY, end))
    );
    let rows = inquiry.rows("the operations of earlier hours", &sql).await?;
    let mut hours: BTreeMap<Operation, Vec<Histogram>> = BTreeMap::new();
    for (operation, durations) in
        Operation::of_rows(&rows)?.into_iter().zip(rows.histograms("duration")?)
    {
        hours.entry(operation).or_default().push(durations);
    }
    Ok(hours)
}

/// Operations that may have regressed, cheaply: slower now than in a calm hour, or new.
fn screened<'a>(
    hourly: &BTreeMap<Operation, Vec<Histogram>>,
    current: &'a Durations,
) -> Vec<&'a Operation> {
    let mut screened: Vec<(f64, &Operation)> = current
        .iter()
        .filter(|(_, now)| now.count >= COUNT_MIN)
        .map(|(operation, now)| {
            let hours = hourly.get(operation).map_or(&[][..], Vec::as_slice);
            (screen_ratio(hours, now), operation)
        })
        .filter(|(ratio, _)| *ratio >= SCREEN_RATIO)
        .collect();
    screened.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    screened.truncate(SCREENED_MAX);
    screened.into_iter().map(|(_, operation)| operation).collect()
}

/// Operations that may have become slower over days, cheaply: hours before the window hide what grew in them.
async fn grown<'a>(
    inquiry: &Inquiry<'_>,
    scope: &Scope,
    (current, now): (&'a Durations, Window),
) -> Result<Vec<&'a Operation>, RulesError> {
    let around = Window::new(now.start - MINUTE, now.end + MINUTE);
    let last_week = self::current(inquiry, scope, around.earlier(WEEK)).await?;
    let mut grown: Vec<(f64, &Operation)> = current
        .iter()
        .filter(|(_, now)| now.count >= COUNT_MIN)
        .filter_map(|(operation, now)| {
            let then =
                last_week.get(operation).filter(|then| then.count >= COUNT_MIN)?.quantile(0.5)?;
            Some((now.quantile(0.5)? / then.max(1.0), operation))
        })
        .filter(|(ratio, _)| *ratio >= SCREEN_RATIO)
        .collect();
    grown.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    grown.truncate(SCREENED_MAX);
    Ok(grown.into_iter().map(|(_, operation)| operation).collect())
}

/// The largest factor among the watched quantiles against the lower quartile of the hours;
/// infinite where there is nothing to compare with.
fn screen_ratio(hours: &[Histogram], now: &Histogram) -> f64 {
    let ratio = |q: f64| {
        let calm: Vec<f64> =
            hours.iter().filter(|h| h.count >= 20).filter_map(|h| h.quantile(q)).collect();
        // A single hour may hold the incident itself.
        if calm.len() < 2 {
            return f64::INFINITY;
        }
        let calm = quantile(&calm, 0.25).unwrap_or(0.0);
        now.quantile(q).map_or(1.0, |now| now / calm.max(1.0))
    };
    [0.5, 0.9, 0.99].map(ratio).into_iter().fold(0.0, f64::max)
}

/// Looks closely at an operation that rose.
async fn regression(
    inquiry: &Inquiry<'_>,
    operation: &Operation,
    onset: Onset,
    window: i64,
) -> Result<Option<Regression>, RulesError> {
    let now = Window::new(onset.onset.max(inquiry.at - window), inquiry.at);
    let periods = Periods { now, before: onset.baseline, at: inquiry.at };
    inquiry.read_served([operation], &[now, onset.baseline, now.earlier(WEEK)]).await?;
    let Some((measure, reading)) =
        worst_quantile(inquiry, operation, &periods, onset.watched.quantile()).await?
    else {
        return Ok(None);
    };
    if is_seasonal(inquiry, operation, now, (measure, &reading)).await? {
        return Ok(None);
    }
    let method = format!(
        "clipped CUSUM (k 1.5, h 12) over {} s points of {}, likelihood-ratio split with its 95 % interval, held against windows of its length in quiet time",
        onset.resolution / crate::time::SECOND,
        onset.watched
    );
    let operation = operation.clone();
    Ok(Some(Regression { operation, onset, periods, measure, reading, method }))
}

/// The 99th percentile if there are requests enough and it is slower, else what can be shown.
async fn worst_quantile(
    inquiry: &Inquiry<'_>,
    operation: &Operation,
    periods: &Periods,
    found_in: f64,
) -> Result<Option<(f64, Reading)>, RulesError> {
    for measure in [0.99, 0.9, found_in] {
        let signal = Signal::Duration { operation: operation.clone(), quantile: measure };
        let reading = inquiry.read(signal, periods).await?;
        let count_min = match measure {
            q if q > 0.95 => P99_COUNT_MIN,
            q if q > 0.8 => P90_COUNT_MIN.max(COUNT_MIN),
            _ => COUNT_MIN,
        };
        let figures = reading.figures;
        let slower = figures.ratio().is_some_and(|ratio| ratio >= RATIO_MIN)
            && figures.difference().is_some_and(|delta| delta >= DELTA_MS_MIN);
        if slower && figures.n >= count_min {
            return Ok(Some((measure, reading)));
        }
    }
    Ok(None)
}

async fn is_seasonal(
    inquiry: &Inquiry<'_>,
    operation: &Operation,
    now: Window,
    (measure, reading): (f64, &Reading),
) -> Result<bool, RulesError> {
    let last_week = now.earlier(WEEK);
    let served = inquiry.served(operation, last_week).await?;
    let signal = Signal::Duration { operation: operation.clone(), quantile: measure };
    let (Some((current, usual)), Some(then)) =
        (reading.figures.pair(), signal.figure(&served, last_week))
    else {
        return Ok(false);
    };
    if served.spans >= COUNT_MIN && current < SEASONAL_RATIO * then {
        return Ok(true);
    }
    // Of both windows so many requests are known: their quantiles differ by chance as those of so many of one.
    let known = served.spans * reading.figures.n / (served.spans + reading.figures.n).max(1);
    let most = signal.at_rank_shifted(Z_95, known).and_then(|q| q.figure(&served, last_week));
    let was_slow = then >= RATIO_MIN * usual && served.spans >= signal.observations_min();
    Ok(was_slow && most.is_some_and(|most| current <= most))
}

/// An operation that has been slow for longer than the onset is sought.
async fn against_last_week(
    inquiry: &Inquiry<'_>,
    operation: &Operation,
    window: i64,
) -> Result<Option<Regression>, RulesError> {
    let now = Window::new(inquiry.at - window, inquiry.at);
    let periods = Periods { now, before: now.earlier(WEEK), at: inquiry.at };
    let signal = |quantile| Signal::Duration { operation: operation.clone(), quantile };
    let median = inquiry.read(signal(0.5), &periods).await?.figures;
    let slower = |ratio: Option<f64>| ratio.is_some_and(|ratio| ratio >= WEEKLY_RATIO);
    if median.n < COUNT_MIN || !slower(median.ratio()) {
        return Ok(None);
    }
    let reading = inquiry.read(signal(0.9), &periods).await?;
    let moved = reading.figures.difference().is_some_and(|delta| delta >= DELTA_MS_MIN);
    if !slower(reading.figures.ratio()) || !moved {
        return Ok(None);
    }
    let start = inquiry.at - 6 * HOUR;
    let onset = Onset {
        onset: start,
        interval: Window::new(periods.before.end, start),
        baseline: periods.before,
        watched: Watched::Quantile { quantile: 0.9, count_min: COUNT_MIN },
        resolution: WEEK,
    };
    let method = "slower than in the same window last week, and no rise in the last 6 hours: it began before them".to_owned();
    let operation = operation.clone();
    Ok(Some(Regression { operation, onset, periods, measure: 0.9, reading, method }))
}

/// The worst regression nearest the entry of the graph, and those that it does not explain.
fn choose(regressions: &[Regression], graph: &Graph) -> (Option<Regression>, Vec<Regression>) {
    let reaches: Vec<_> =
        regressions.iter().map(|r| graph.downstream(&r.operation.service)).collect();
    let explains = |from: usize, to: usize| {
        let (a, b) = (&regressions[from].operation.service, &regressions[to].operation.service);
        a != b && reaches[from].contains_key(b) && !reaches[to].contains_key(a)
    };
    let all = 0..regressions.len();
    let mut entries: Vec<usize> =
        all.clone().filter(|to| !all.clone().any(|from| explains(from, *to))).collect();
    entries.sort_by(|a, b| {
        let (a, b) = (&regressions[*a], &regressions[*b]);
        b.ratio().total_cmp(&a.ratio()).then_with(|| a.operation.cmp(&b.operation))
    });
    let mut chosen: Vec<_> = entries.into_iter().map(|i| regressions[i].clone()).collect();
    let main = (!chosen.is_empty()).then(|| chosen.remove(0));
    (main, chosen)
}

/// Whether the names in a scope exist at all.
async fn check_names(inquiry: &Inquiry<'_>, scope: &Scope) -> Result<(), RulesError> {
    let (service, span_name) = match scope {
        Scope::Everything => return Ok(()),
        Scope::Services(services) => match services.as_slice() {
            [service] => (Some(service), None),
            _ => return Ok(()),
        },
        Scope::Operation { service, span_name } => (service.as_ref(), Some(span_name)),
    };
    let sql = format!(
        "SELECT DISTINCT service_name, span_name, span_kind FROM operation_minutes WHERE time < {} ORDER BY service_name, span_name, span_kind",
        inquiry.at.sql()
    );
    let known = Operation::of_rows(&inquiry.rows("the known operations", &sql).await?)?;
    let before = inquiry.at.to_string();
    let is_served_by =
        |operation: &Operation| service.is_none_or(|name| operation.service == *name);
    if let Some(service) = service.filter(|_| !known.iter().any(is_served_by)) {
        let names = known.iter().map(|operation| operation.service.as_str());
        let nearest = spelling::nearest(service, names).map(escape::terminal);
        return Err(RulesError::UnknownService {
            name: escape::terminal(service),
            before,
            nearest,
        });
    }
    let Some(span_name) = span_name else { return Ok(()) };
    let served = |operation: &&Operation| {
        is_served_by(operation) && matches!(&*operation.span_kind, "SERVER" | "CONSUMER")
    };
    let names: Vec<_> = known.iter().filter(served).map(|o| o.span_name.as_str()).collect();
    if names.contains(&span_name.as_str()) {
        return Ok(());
    }
    let nearest = spelling::nearest(span_name, names).map(escape::terminal);
    Err(RulesError::UnknownOperation { name: escape::terminal(span_name), before, nearest })
}

/// Notes the symptom's figures, and those of last week where there are some.
pub(crate) async fn note(
    inquiry: &mut Inquiry<'_>,
    regression: &Regression,
) -> Result<Vec<String>, RulesError> {
    let subject = subject(&regression.operation);
    let statement =
        latency_statement(&subject, regression.measure, &regression.reading).unwrap_or_default();
    let mut ids = vec![inquiry.note("latency", &subject, regression.reading.clone(), statement)];
    let now = regression.periods.now;
    let weekly = Periods { now, before: now.earlier(WEEK), at: inquiry.at };
    let signal =
        Signal::Duration { operation: regression.operation.clone(), quantile: regression.measure };
    let reading = inquiry.read(signal, &weekly).await?;
    if let Some((current, before)) = reading.figures.pair() {
        let statement = format!(
            "against the same window last week {} of {subject} went from {} to {}",
            measure_name(regression.measure),
            figures::milliseconds(before),
            figures::milliseconds(current)
        );
        ids.push(inquiry.note("latency_last_week", &subject, reading, statement));
    }
    Ok(ids)
}

/// `p99 of checkout POST /checkout went from 240 ms to 1,400 ms (5.8x)`.
pub(crate) fn latency_statement(subject: &str, measure: f64, reading: &Reading) -> Option<String> {
    let (now, before) = reading.figures.pair()?;
    Some(format!(
        "{} of {subject} went from {} to {} ({})",
        measure_name(measure),
        figures::milliseconds(before),
        figures::milliseconds(now),
        figures::times(reading.figures.ratio()?)
    ))
}

/// `p99`.
pub(crate) fn measure_name(quantile: f64) -> String {
    format!("p{:.0}", quantile * 100.0)
}

/// `checkout POST /checkout`.
pub(crate) fn subject(operation: &Operation) -> String {
    format!("{} {}", operation.service, operation.span_name)
}
