//! What operations served in windows of time, read once: the figures of several signals follow from it,
//! and the query of each returns the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use upriver_analyze::histogram::Histogram;

use super::reading::{
    ADJUSTED_COUNT, DURATION, ERROR_COUNT, SPAN_COUNT, is_any, rows_by_operation,
};
use super::signal::Operation;
use crate::error::RulesError;
use crate::rows::Rows;
use crate::time::{Time, Window};

/// Operations that are read together.
const TOGETHER: usize = 32;

/// The spans of an operation in a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Served {
    pub(crate) spans: i64,
    pub(crate) errors: i64,
    /// Requests that the spans stand for, in millionths.
    pub(crate) adjusted_micros: i64,
    pub(crate) durations: Histogram,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<BTreeMap<Key, Served>>);

/// An operation, with start and end of a window.
type Key = (Operation, i64, i64);

fn key(operation: &Operation, window: Window) -> Key {
    (operation.clone(), window.start.nanos(), window.end.nanos())
}

impl Known {
    /// What an operation served in a window, if that was read.
    pub(crate) fn get(&self, operation: &Operation, window: Window) -> Option<Served> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key(operation, window)).cloned()
    }

    /// Of these operations those of which a window was not read yet, each once.
    pub(crate) fn missing<'a>(
        &self,
        operations: impl IntoIterator<Item = &'a Operation>,
        windows: &[Window],
    ) -> Vec<&'a Operation> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_missing =
            |o: &&Operation| windows.iter().any(|window| !known.contains_key(&key(o, *window)));
        operations.into_iter().collect::<BTreeSet<_>>().into_iter().filter(is_missing).collect()
    }

    /// Keeps what was read of operations in windows; those without a row served nothing.
    pub(crate) fn keep(
        &self,
        (operations, windows): (&[&Operation], &[Window]),
        rows: &Rows,
    ) -> Result<(), RulesError> {
        let (periods, spans) = (rows.ints("period")?, rows.ints(SPAN_COUNT.name())?);
        let (errors, adjusted) =
            (rows.ints(ERROR_COUNT.name())?, rows.ints(ADJUSTED_COUNT.name())?);
        let durations = rows.histograms(DURATION.name())?;
        let mut served: BTreeMap<Key, Served> = operations
            .iter()
            .flat_map(|operation| windows.iter().map(|window| key(operation, *window)))
            .map(|key| (key, Served::default()))
            .collect();
        for (row, (operation, durations)) in
            Operation::of_rows(rows)?.into_iter().zip(durations).enumerate()
        {
            let window = usize::try_from(periods[row]).ok().and_then(|nth| windows.get(nth));
            if let Some(window) = window {
                let (spans, errors) = (spans[row], errors[row]);
                let row = Served { spans, errors, adjusted_micros: adjusted[row], durations };
                served.insert(key(&operation, *window), row);
            }
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut served);
        Ok(())
    }
}

/// The queries for what operations served in windows.
pub(crate) fn queries<'a>(
    operations: &'a [&'a Operation],
    windows: &[Window],
    at: Time,
) -> impl Iterator<Item = (&'a [&'a Operation], String)> {
    let periods: Vec<_> =
        windows.iter().enumerate().map(|(nth, window)| (nth.to_string(), *window)).collect();
    operations.chunks(TOGETHER).map(move |operations| {
        let periods: Vec<_> = periods.iter().map(|(nth, window)| (nth.as_str(), *window)).collect();
        let columns = [SPAN_COUNT, ERROR_COUNT, ADJUSTED_COUNT, DURATION];
        let rows = rows_by_operation(&is_any(operations), &columns, &periods, at);
        let sql = format!(
            "SELECT service_name, span_name, span_kind, period, sum(span_count) AS span_count,\n  sum(error_count) AS error_count, sum(adjusted_count_micros) AS adjusted_count_micros, hist_merge(duration) AS duration\nFROM (\n{rows}\n) AS rows\nGROUP BY service_name, span_name, span_kind, period"
        );
        (operations, sql)
    })
}
