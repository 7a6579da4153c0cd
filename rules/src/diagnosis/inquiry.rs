//! What the steps of a diagnosis share: the session, the instant, and the findings so far.

use upriver_analyze::{Session, content_id};

use super::document::{Finding, NotMeasured};
use super::served::{self, Known, Served};
use super::signal::{Operation, Signal};
use crate::error::RulesError;
use crate::rows::Rows;
use crate::time::{Periods, Time, Window};

/// The figures that a finding's query returned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) observed: Option<f64>,
    pub(crate) baseline: Option<f64>,
    pub(crate) n: i64,
}

impl Figures {
    /// Both figures, where both were there to see.
    pub(crate) fn pair(&self) -> Option<(f64, f64)> {
        self.observed.zip(self.baseline)
    }

    /// Observed divided by baseline.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.pair().filter(|(_, before)| *before > 0.0).map(|(now, before)| now / before)
    }

    /// Observed minus baseline.
    pub(crate) fn difference(&self) -> Option<f64> {
        self.pair().map(|(now, before)| now - before)
    }
}

/// A query with its figures, on the way to a finding.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) figures: Figures,
    signal: Option<Signal>,
    unit: String,
    sql: String,
}

/// A diagnosis that is being made.
#[derive(Debug)]
pub(crate) struct Inquiry<'a> {
    pub(crate) session: &'a Session,
    pub(crate) at: Time,
    pub(crate) findings: Vec<Finding>,
    pub(crate) not_measured: Vec<NotMeasured>,
    served: Known,
}

impl<'a> Inquiry<'a> {
    pub(crate) fn new(session: &'a Session, at: Time) -> Self {
        let (findings, not_measured) = (Vec::new(), Vec::new());
        Self { session, at, findings, not_measured, served: Known::default() }
    }

    /// Measures a signal.
    pub(crate) async fn read(
        &self,
        signal: Signal,
        periods: &Periods,
    ) -> Result<Reading, RulesError> {
        let figures = match signal.operation() {
            Some(operation) => self.figures_of(&signal, operation, periods).await?,
            None => figures(self.session, &signal.sql(periods)).await?,
        };
        Ok(Self::measured(signal, figures, periods))
    }

    /// A signal whose figures follow from rows that were read already.
    pub(crate) fn measured(signal: Signal, figures: Figures, periods: &Periods) -> Reading {
        let (sql, unit) = (signal.sql(periods), signal.unit().to_owned());
        Reading { figures, signal: Some(signal), unit, sql }
    }

    /// Figures of a signal of what an operation served.
    async fn figures_of(
        &self,
        signal: &Signal,
        operation: &Operation,
        periods: &Periods,
    ) -> Result<Figures, RulesError> {
        self.read_served([operation], &[periods.now, periods.before]).await?;
        let now = self.served(operation, periods.now).await?;
        let before = self.served(operation, periods.before).await?;
        Ok(Figures {
            observed: signal.figure(&now, periods.now),
            baseline: signal.figure(&before, periods.before),
            n: now.spans,
        })
    }

    /// What an operation served in a window.
    pub(crate) async fn served(
        &self,
        operation: &Operation,
        window: Window,
    ) -> Result<Served, RulesError> {
        self.read_served([operation], &[window]).await?;
        Ok(self.served.get(operation, window).unwrap_or_default())
    }

    /// Reads what operations served in windows, so that their signals need no query each.
    pub(crate) async fn read_served<'o>(
        &self,
        operations: impl IntoIterator<Item = &'o Operation>,
        windows: &[Window],
    ) -> Result<(), RulesError> {
        let missing = self.served.missing(operations, windows);
        for (operations, sql) in served::queries(&missing, windows, self.at) {
            let rows = self.rows("what operations served", &sql).await?;
            self.served.keep((operations, windows), &rows)?;
        }
        Ok(())
    }

    /// Runs a query that returns `observed`, `baseline` and `n`.
    pub(crate) async fn read_sql(&self, sql: String, unit: &str) -> Result<Reading, RulesError> {
        Ok(Self::known(figures(self.session, &sql).await?, sql, unit))
    }

    /// A reading whose figures follow from rows that were read already, with the query that returns them too.
    pub(crate) fn known(figures: Figures, sql: String, unit: &str) -> Reading {
        Reading { figures, signal: None, unit: unit.to_owned(), sql }
    }

    /// Makes a finding of a reading, and gives its id. The same figures of the same subject are
    /// one finding.
    pub(crate) fn note(
        &mut self,
        rule: &str,
        subject: &str,
        reading: Reading,
        statement: String,
    ) -> String {
        let Figures { observed, baseline, n } = reading.figures;
        let figure = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        let id = content_id([
            rule,
            subject,
            &self.at.to_string(),
            &figure(observed),
            &figure(baseline),
            &n.to_string(),
            &reading.sql,
        ]);
        if self.findings.iter().any(|finding| finding.id == id) {
            return id;
        }
        let change = match reading.unit.as_str() {
            "%" => reading.figures.difference(),
            _ => reading.figures.ratio(),
        };
        self.findings.push(Finding {
            id: id.clone(),
            rule: rule.to_owned(),
            subject: subject.to_owned(),
            observed,
            baseline,
            change,
            n: Some(n),
            unit: reading.unit,
            statement,
            sql: reading.sql,
            signal: reading.signal,
        });
        id
    }

    pub(crate) fn not_measured(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let missing = NotMeasured { what: what.into(), why: why.into() };
        if !self.not_measured.contains(&missing) {
            self.not_measured.push(missing);
        }
    }

    pub(crate) async fn rows(&self, what: &'static str, sql: &str) -> Result<Rows, RulesError> {
        Rows::query(self.session, what, sql).await
    }
}

/// Runs a query that returns one row of `observed`, `baseline` and `n`.
pub(crate) async fn figures(session: &Session, sql: &str) -> Result<Figures, RulesError> {
    let rows = Rows::query(session, "a finding", sql).await?;
    let first = |values: Vec<Option<f64>>| values.first().copied().flatten();
    Ok(Figures {
        observed: first(rows.floats("observed")?),
        baseline: first(rows.floats("baseline")?),
        n: rows.ints("n")?.first().copied().unwrap_or(0),
    })
}
