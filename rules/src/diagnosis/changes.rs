//! Changes that could have caused the symptom, and what each did to its own service.

use std::collections::{BTreeMap, BTreeSet};

use super::attribution::Attribution;
use super::document::{CauseKind, DeployReference, RuledOut};
use super::inquiry::{Figures, Inquiry};
use super::onset::Onset;
use super::payload::{GROWTH_MIN, Payloads, subject as edge_subject};
use super::reading::{ended, is_operation, within};
use super::signal::{Direction, Operation, Signal};
use super::symptom::subject;
use crate::error::RulesError;
use crate::figures;
use crate::statistics::share_rise_z;
use crate::time::{HOUR, MINUTE, Periods, SECOND, Time, WEEK, Window};

/// Changes this long before the onset are considered.
const REACH: i64 = 24 * HOUR;
/// Changes that are weighed, the nearest to the onset first: each costs some queries.
const WEIGHED_MAX: usize = 24;
/// A service's own signals are compared this long before and after its change.
const AROUND: i64 = 30 * MINUTE;
/// Observations on each side of a change, below which nothing is said.
const COUNT_MIN: i64 = 20;
/// A service is slower since its change by this factor
const SLOWER_RATIO: f64 = 1.2;
/// and this many milliseconds.
const SLOWER_MS: f64 = 2.0;
/// A 90th percentile scatters more than a median: this factor,
const TAIL_RATIO: f64 = 1.3;
/// with so many requests on each side for its 95 % interval (order statistics).
const TAIL_COUNT_MIN: i64 = 36;
/// Errors rose at a change by this many points
const ERROR_POINTS: f64 = 1.0;
/// and standard errors.
const ERROR_Z: f64 = 3.0;
/// Requests make more calls since a change by this factor.
const CALLS_RATIO: f64 = 1.2;

/// A pipeline may record the start of a rollout so late.
const RECORDED_LATE: i64 = 30 * SECOND;
/// Requests up to so long before a change are looked at,
const EARLIER: i64 = 5 * MINUTE;
/// and held against this long before the earliest onset.
const QUIET: i64 = 10 * MINUTE;
/// Of them so many percent were slower than nine of ten quiet ones: three times as many as by chance.
const EARLIER_PERCENT: f64 = 30.0;

/// A recorded or inferred change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) source: String,
    pub(crate) service: String,
    pub(crate) version: String,
    pub(crate) previous_version: Option<String>,
    pub(crate) start: Time,
}

impl Change {
    pub(crate) fn reference(&self) -> DeployReference {
        DeployReference {
            id: self.id.clone(),
            version: self.version.clone(),
            time: self.start,
            source: self.source.clone(),
        }
    }

    pub(crate) fn cause_kind(&self) -> CauseKind {
        match self.kind.as_str() {
            "config" | "feature_flag" => CauseKind::ConfigChange,
            _ => CauseKind::Deploy,
        }
    }

    /// `inventory-service@2.4.0`.
    pub(crate) fn name(&self) -> String {
        format!("{}@{}", self.service, self.version)
    }
}

/// All changes before an instant that began in a window, oldest first.
pub(crate) async fn load(inquiry: &Inquiry<'_>, window: Window) -> Result<Vec<Change>, RulesError> {
    let until = window.end.min(inquiry.at);
    let sql = format!(
        "SELECT id, kind, source, service_name, service_version, previous_version, start_unix_nano FROM changes\nWHERE {}\nORDER BY start_unix_nano, service_name, id",
        within("time", Window::new(window.start, until))
    );
    let rows = inquiry.rows("the changes", &sql).await?;
    let (ids, kinds, sources) = (rows.texts("id")?, rows.texts("kind")?, rows.texts("source")?);
    let (services, versions) = (rows.texts("service_name")?, rows.texts("service_version")?);
    let (previous, starts) =
        (rows.optional_texts("previous_version")?, rows.ints("start_unix_nano")?);
    Ok((0..rows.len())
        .map(|row| Change {
            id: ids[row].clone(),
            kind: kinds[row].clone(),
            source: sources[row].clone(),
            service: services[row].clone(),
            version: versions[row].clone(),
            previous_version: previous[row].clone().filter(|version| !version.is_empty()),
            start: Time::of(starts[row]),
        })
        .collect())
}

/// What is known of the services around the symptom.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// Services that the symptom can have caught something from, with their distance.
    pub(crate) reach: &'a BTreeMap<String, usize>,
    pub(crate) payloads: &'a Payloads,
    /// Server operations in the sampled traces, by service.
    pub(crate) operations: &'a BTreeMap<String, Vec<Operation>>,
    pub(crate) attribution: &'a Attribution,
}

/// One signal of a service around its change.
#[derive(Clone, Debug)]
pub(crate) struct OwnSignal {
    pub(crate) what: SignalKind,
    pub(crate) has_changed: bool,
    pub(crate) finding: String,
    pub(crate) operation: Option<String>,
}

/// What sort of signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalKind {
    /// Bodies that it answers with.
    Responses,
    /// Bodies that it sends to others.
    Requests,
    /// Calls that it makes per request.
    Calls,
    /// Time that it takes.
    Duration,
    /// Requests that fail.
    Errors,
}

/// A change with what it did to its own service.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) change: Change,
    /// Calls between the symptom's service and this one; `None` where it is not reached.
    pub(crate) distance: Option<usize>,
    pub(crate) signals: Vec<OwnSignal>,
    /// The finding that the change happened, and when.
    pub(crate) finding: String,
    /// The finding that its own requests were slow before it.
    pub(crate) slow_before: Option<String>,
}

/// The candidates, and how often services in reach change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    pub(crate) weighed: Vec<Candidate>,
    /// Changes per minute of the services in reach, over the week before the onset.
    pub(crate) rate_per_minute: f64,
    /// Services that were changed in the day before the onset or since.
    pub(crate) changed: BTreeSet<String>,
}

/// A service in reach is taken to change at least this often, once in two days.
const RATE_MIN: f64 = 1.0 / (48.0 * 60.0);

/// Weighs the changes before the onset, and those after it that people will ask about.
pub(crate) async fn compute(
    inquiry: &mut Inquiry<'_>,
    Onset { onset, interval, .. }: Onset,
    around: &Surroundings<'_>,
) -> Result<Candidates, RulesError> {
    let all = load(inquiry, Window::new(onset - WEEK, inquiry.at)).await?;
    let in_reach = |change: &&Change| around.reach.contains_key(&change.service);
    let earlier = all.iter().filter(|change| change.start < onset).filter(in_reach).count();
    let first = all.first().map_or(onset, |change| change.start);
    // Over a day at least, or as long as anything is known.
    let known = known_since(inquiry, Window::new(onset - 24 * HOUR, onset)).await?;
    let since = first.min(known.unwrap_or(onset)).min(onset - HOUR);
    let minutes = (onset.nanos() - since.nanos()) as f64 / MINUTE as f64;
    let mut near: Vec<Change> =
        all.into_iter().filter(|change| change.start >= onset - REACH).collect();
    let changed = near.iter().map(|change| change.service.clone()).collect();
    near.sort_by_key(|change| {
        (change.start.nanos().abs_diff(onset.nanos()), change.service.clone(), change.id.clone())
    });
    near.truncate(WEIGHED_MAX);
    let mut weighed = Vec::new();
    for change in near {
        weighed.push(candidate(inquiry, change, (onset, interval), around).await?);
    }
    let rate_per_minute = (earlier as f64 / minutes).max(RATE_MIN);
    Ok(Candidates { weighed, rate_per_minute, changed })
}

/// That a service was not changed in the day before the onset or since, if so.
pub(crate) fn none_of(
    inquiry: &mut Inquiry<'_>,
    service: &str,
    (candidates, onset): (&Candidates, Time),
) -> Option<RuledOut> {
    if candidates.changed.contains(service) {
        return None;
    }
    let sql = format!(
        "SELECT count(*) AS observed, CAST(NULL AS DOUBLE) AS baseline, count(*) AS n FROM changes\nWHERE service_name = {} AND {}",
        upriver_analyze::literal::text(service),
        within("time", Window::new(onset - REACH, inquiry.at))
    );
    let figures = Figures { observed: Some(0.0), baseline: None, n: 0 };
    let reason = "no change of it in the 24 hours before the onset or since".to_owned();
    let statement = format!("{service}: {reason}");
    let finding =
        inquiry.note("no_change", service, Inquiry::known(figures, sql, "changes"), statement);
    Some(RuledOut { what: format!("deploys of {service}"), reason, findings: vec![finding] })
}

/// The first minute of a window in which there were spans.
async fn known_since(inquiry: &Inquiry<'_>, window: Window) -> Result<Option<Time>, RulesError> {
    let sql = format!(
        "SELECT min(time) AS first FROM operation_minutes WHERE {}",
        within("time", window)
    );
    let rows = inquiry.rows("since when spans are known", &sql).await?;
    Ok(rows.times("first")?.first().copied().flatten())
}

async fn candidate(
    inquiry: &mut Inquiry<'_>,
    change: Change,
    (onset, interval): (Time, Window),
    around: &Surroundings<'_>,
) -> Result<Candidate, RulesError> {
    let finding = note_change(inquiry, &change, onset);
    let distance = around.reach.get(&change.service).copied();
    let mut signals = Vec::new();
    if distance.is_some() && change.start <= onset + 3 * MINUTE {
        signals = own_signals(inquiry, &change, (onset, around)).await?;
    }
    let mut slow_before = None;
    let operations = around.operations.get(&change.service).map_or(&[][..], Vec::as_slice);
    for operation in operations {
        let is_slower = signals.iter().any(|signal| {
            signal.what == SignalKind::Duration
                && signal.has_changed
                && signal.operation.as_ref() == Some(&operation.span_name)
        });
        if is_slower && slow_before.is_none() {
            slow_before = earlier_effect(inquiry, &change, (operation, interval)).await?;
        }
    }
    Ok(Candidate { change, distance, signals, finding, slow_before })
}

/// That requests of a changed service took longer before the change already, where the onset is not known
/// well enough to say so: then something else made them slow.
async fn earlier_effect(
    inquiry: &mut Inquiry<'_>,
    change: &Change,
    (operation, interval): (&Operation, Window),
) -> Result<Option<String>, RulesError> {
    let end = change.start - RECORDED_LATE;
    let start = interval.start.max(end - EARLIER);
    let (earlier, quiet) =
        (Window::new(start, end), Window::new(interval.start - QUIET, interval.start));
    if earlier.nanos() == 0 {
        return Ok(None);
    }
    let usual = inquiry.served(operation, quiet).await?.durations;
    let Some(slow) = usual.quantile(0.9).map(f64::round) else { return Ok(None) };
    let side = |window: Window| within("time", window);
    let share = |window: Window| {
        format!(
            "100.0 * avg(CASE WHEN duration_ns > {slow:.0} THEN 1.0 ELSE 0.0 END) FILTER (WHERE {})",
            side(window)
        )
    };
    let sql = format!(
        "SELECT {} AS observed, {} AS baseline, count(*) FILTER (WHERE {}) AS n FROM spans\nWHERE {} AND {} AND {}",
        share(earlier),
        share(quiet),
        side(earlier),
        is_operation(operation),
        side(Window::new(quiet.start, earlier.end)),
        ended(inquiry.at)
    );
    let reading = inquiry.read_sql(sql, "%").await?;
    let Some((now, before)) = reading.figures.pair() else { return Ok(None) };
    let slow_ones = |percent: f64, n: i64| (percent / 100.0 * n as f64, n as f64);
    let z = share_rise_z(slow_ones(now, reading.figures.n), slow_ones(before, usual.count));
    if now < EARLIER_PERCENT || z < ERROR_Z {
        return Ok(None);
    }
    let what = subject(operation);
    let statement = format!(
        "{now:.0} % of the requests to {what} took longer than {} before the change to {} already, {before:.0} % before {}",
        figures::milliseconds(slow / 1e6),
        change.name(),
        earlier.start.clock()
    );
    Ok(Some(inquiry.note("slow_before_change", &what, reading, statement)))
}

/// That the change happened, with the minutes from it to the onset.
fn note_change(inquiry: &mut Inquiry<'_>, change: &Change, onset: Time) -> String {
    let sql = format!(
        "SELECT ({} - min(start_unix_nano)) / 6e10 AS observed, CAST(NULL AS DOUBLE) AS baseline, count(*) AS n\nFROM changes WHERE id = {}",
        onset.nanos(),
        upriver_analyze::literal::text(&change.id)
    );
    let lag = onset.nanos() - change.start.nanos();
    let figures = Figures { observed: Some(lag as f64 / 6e10), baseline: None, n: 1 };
    let reading = Inquiry::known(figures, sql, "minutes before the onset");
    let statement = format!(
        "{} of {} began at {}, {}",
        kind_words(&change.kind),
        change.name(),
        change.start.clock(),
        lag_words(lag / SECOND)
    );
    inquiry.note("change", &change.name(), reading, statement)
}

/// A kind of change in a sentence.
pub(crate) fn kind_words(kind: &str) -> &str {
    match kind {
        "deploy" => "the deploy",
        "rollback" => "the rollback",
        "config" => "the configuration change",
        "feature_flag" => "the feature flag change",
        _ => "the change",
    }
}

fn lag_words(seconds: i64) -> String {
    let side = if seconds < 0 { "after" } else { "before" };
    match seconds.abs() {
        0..60 => "within the minute of the onset".to_owned(),
        s if s < 2 * 3600 => format!("{} min {side} the onset", s / 60),
        s => format!("{} h {side} the onset", s / 3600),
    }
}

/// What the change did to its own service, from just before it to just after it: after the onset, where
/// the change took some minutes to take effect, since calm minutes in between would hide it.
async fn own_signals(
    inquiry: &mut Inquiry<'_>,
    change: &Change,
    (onset, around): (Time, &Surroundings<'_>),
) -> Result<Vec<OwnSignal>, RulesError> {
    let start = change.start;
    let after = if onset <= start + AROUND { onset.max(start) } else { start };
    let end = (after + AROUND).min(inquiry.at);
    let periods = Periods {
        now: Window::new(after, end),
        before: Window::new(start - AROUND, start),
        at: inquiry.at,
    };
    let mut signals = Vec::new();
    for growth in &around.payloads.growths {
        if growth.producer() != change.service {
            continue;
        }
        let signal = Signal::Payload {
            edge: growth.edge.clone(),
            direction: growth.direction,
            measure: growth.measure,
            quantile: 0.5,
        };
        let what = match growth.direction {
            Direction::Response => SignalKind::Responses,
            Direction::Request => SignalKind::Requests,
        };
        let subject = format!("{} of {}", growth.direction.name(), edge_subject(&growth.edge));
        let operation = Some(growth.edge.operation.clone());
        let own = Own { signal, what, subject, operation };
        signals.extend(own_signal(inquiry, change, own, &periods).await?);
    }
    let added = around.attribution.of(&change.service);
    if let Some(more) = added.and_then(|added| added.more_calls.as_ref()) {
        let (what, operation) = (SignalKind::Calls, Some(more.request.clone()));
        let subject = format!("calls of {} to {}", change.service, more.callee);
        let own = Own { signal: more.signal(), what, subject, operation };
        signals.extend(own_signal(inquiry, change, own, &periods).await?);
    }
    let operations = around.operations.get(&change.service).map_or(&[][..], Vec::as_slice);
    inquiry.read_served(operations, &[periods.now, periods.before]).await?;
    for operation in operations {
        let own = |signal: Signal, what: SignalKind, words: &str| Own {
            signal,
            what,
            subject: format!("{words}{}", subject(operation)),
            operation: Some(operation.span_name.clone()),
        };
        let duration = |quantile| Signal::Duration { operation: operation.clone(), quantile };
        let median = own(duration(0.5), SignalKind::Duration, "");
        let median = own_signal(inquiry, change, median, &periods).await?;
        let is_calm = median.as_ref().is_none_or(|signal| !signal.has_changed);
        signals.extend(median);
        // A part of the requests moves no median.
        if is_calm && added.is_some() {
            let tail = own(duration(0.9), SignalKind::Duration, "the 90th percentile of ");
            signals.extend(own_signal(inquiry, change, tail, &periods).await?);
            let share = Signal::ErrorShare { operation: operation.clone() };
            let errors = own(share, SignalKind::Errors, "the error share of ");
            signals.extend(own_signal(inquiry, change, errors, &periods).await?);
        }
    }
    Ok(signals)
}

struct Own {
    signal: Signal,
    what: SignalKind,
    subject: String,
    operation: Option<String>,
}

async fn own_signal(
    inquiry: &mut Inquiry<'_>,
    change: &Change,
    own: Own,
    periods: &Periods,
) -> Result<Option<OwnSignal>, RulesError> {
    let unit = own.signal.unit().to_owned();
    let is_tail = matches!(own.signal, Signal::Duration { quantile, .. } if quantile > 0.5);
    // Both sides need observations; the query counts the later one only.
    let swapped = Periods { now: periods.before, before: periods.now, ..*periods };
    let reversed = inquiry.read(own.signal.clone(), &swapped).await?.figures;
    let reading = inquiry.read(own.signal, periods).await?;
    let Figures { n, .. } = reading.figures;
    let Some((now, before)) = reading.figures.pair() else { return Ok(None) };
    let (count_min, slower) =
        if is_tail { (TAIL_COUNT_MIN, TAIL_RATIO) } else { (COUNT_MIN, SLOWER_RATIO) };
    if n < count_min || reversed.n < count_min {
        return Ok(None);
    }
    let ratio = reading.figures.ratio().unwrap_or(1.0);
    let has_changed = match own.what {
        SignalKind::Responses | SignalKind::Requests => ratio >= GROWTH_MIN,
        SignalKind::Calls => ratio >= CALLS_RATIO,
        SignalKind::Duration => ratio >= slower && now - before >= SLOWER_MS,
        SignalKind::Errors => {
            let failed = |percent: f64, n: i64| (percent / 100.0 * n as f64, n as f64);
            let z = share_rise_z(failed(now, n), failed(before, reversed.n));
            now - before >= ERROR_POINTS && z >= ERROR_Z
        }
    };
    let by = if unit == "%" { String::new() } else { format!(" ({})", figures::times(ratio)) };
    let statement = format!(
        "{} {} {} to {} at the change to {}{by}",
        own.subject,
        if has_changed { "went from" } else { "did not change:" },
        figures::with_unit(before, &unit),
        figures::with_unit(now, &unit),
        change.name(),
    );
    let rule = if has_changed { "changed_at_deploy" } else { "unchanged_at_deploy" };
    let finding = inquiry.note(rule, &own.subject, reading, statement);
    Ok(Some(OwnSignal { what: own.what, has_changed, finding, operation: own.operation }))
}
