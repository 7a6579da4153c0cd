//! Evaluates rules: one query, one finding per row, nothing remembered between evaluations.
//!
//! A rule with `for` is asked again for earlier instants instead of keeping state, so an evaluation
//! of the same data at the same instant always says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use minijinja::{Environment, UndefinedBehavior, Value};
use upriver_analyze::{Session, content_id, literal};

use crate::diagnosis::document::Finding;
use crate::error::RulesError;
use crate::figures;
use crate::rows::Rows;
use crate::rule_file::Rule;
use crate::time::{Time, nanos};

#[cfg(test)]
mod tests;

/// Earlier instants at which a rule with `for` is asked at most: a day by minutes would be 1,440
/// queries, longer conditions belong into the query.
const EARLIER_MAX: u32 = 60;

/// A finding of a rule, with what its file says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// The finding.
    pub finding: Finding,
    /// Labels, rendered.
    pub labels: BTreeMap<String, String>,
    /// Annotations, rendered.
    pub annotations: BTreeMap<String, String>,
}

/// Evaluates a rule as of an instant. `interval` is the group's: the distance of the earlier instants
/// at which a rule with `for` must have held too. Findings are sorted by subject.
pub async fn evaluate(
    session: &Session,
    rule: &Rule,
    interval: Duration,
    now: Time,
) -> Result<Vec<Firing>, RulesError> {
    let rows = Matches::at(session, rule, now).await?;
    let mut held: BTreeSet<Vec<String>> = rows.subjects()?.into_iter().collect();
    for earlier in earlier_instants(rule, interval, now)? {
        if held.is_empty() {
            break;
        }
        let then = Matches::at(session, rule, earlier).await?.subjects()?;
        let then: BTreeSet<_> = then.into_iter().collect();
        held.retain(|subject| then.contains(subject));
    }
    rows.firings(&held)
}

fn earlier_instants(rule: &Rule, interval: Duration, now: Time) -> Result<Vec<Time>, RulesError> {
    let (held_for, step) = (nanos(rule.held_for), nanos(interval).max(1));
    let steps = held_for.div_euclid(step) + i64::from(held_for % step > 0);
    if steps > i64::from(EARLIER_MAX) {
        let message = format!(
            "`for` is {steps} intervals long, at most {EARLIER_MAX}: shorten it, or look further back in the query"
        );
        return Err(RulesError::Rule { rule: rule.rule.clone(), message });
    }
    Ok((1..=steps).map(|i| now - (i * step).min(held_for)).collect())
}

/// The rows of a rule's query at one instant.
struct Matches<'a> {
    rule: &'a Rule,
    now: Time,
    sql: String,
    rows: Rows,
}

impl<'a> Matches<'a> {
    async fn at(session: &Session, rule: &'a Rule, now: Time) -> Result<Self, RulesError> {
        let query = at_instant(&rule.sql, now);
        let figure = |expression: Option<&String>, kind: &str| match expression {
            Some(expression) => format!("CAST({expression} AS {kind})"),
            None => format!("CAST(NULL AS {kind})"),
        };
        let sql = format!(
            "SELECT *, {} AS finding_observed, {} AS finding_baseline, {} AS finding_n FROM (\n{query}\n) AS rule",
            figure(rule.observed.as_ref(), "DOUBLE"),
            figure(rule.baseline.as_ref(), "DOUBLE"),
            figure(rule.n.as_ref(), "BIGINT"),
        );
        let rows = Rows::query(session, "a rule", &sql).await?;
        Ok(Self { rule, now, sql, rows })
    }

    /// The subject of each row, column by column.
    fn subjects(&self) -> Result<Vec<Vec<String>>, RulesError> {
        let mut subjects = vec![Vec::new(); self.rows.len()];
        for column in &self.rule.subject {
            for (subject, text) in subjects.iter_mut().zip(self.rows.texts(column)?) {
                subject.push(text);
            }
        }
        Ok(subjects)
    }

    fn firings(&self, held: &BTreeSet<Vec<String>>) -> Result<Vec<Firing>, RulesError> {
        let subjects = self.subjects()?;
        let observed = self.rows.floats("finding_observed")?;
        let baseline = self.rows.floats("finding_baseline")?;
        let n = self.rows.optional_ints("finding_n")?;
        let values = self.values()?;
        let mut firings = Vec::new();
        for (row, subject) in subjects.iter().enumerate().filter(|(_, s)| held.contains(*s)) {
            let render = |texts| self.render(texts, &values[row]);
            let annotations = render(&self.rule.annotations)?;
            let figures = (observed[row], baseline[row], n[row]);
            firings.push(Firing {
                finding: self.finding(subject, figures, annotations.get("summary")),
                labels: render(&self.rule.labels)?,
                annotations,
            });
        }
        firings.sort_by(|a, b| a.finding.subject.cmp(&b.finding.subject));
        Ok(firings)
    }

    fn finding(
        &self,
        subject: &[String],
        (observed, baseline, n): (Option<f64>, Option<f64>, Option<i64>),
        summary: Option<&String>,
    ) -> Finding {
        let columns = self.rule.subject.iter().zip(subject);
        let is_subject: Vec<_> = columns
            .map(|(column, text)| {
                format!("coalesce({}, '') = {}", literal::identifier(column), literal::text(text))
            })
            .collect();
        let sql = format!(
            "SELECT finding_observed AS observed, finding_baseline AS baseline, finding_n AS n FROM (\n{}\n) AS finding WHERE {}",
            self.sql,
            is_subject.join(" AND ")
        );
        let subject = subject.join(" ");
        let figure = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        let n_text = n.map_or_else(String::new, |n| n.to_string());
        let at = self.now.to_string();
        let (now, before) = (figure(observed), figure(baseline));
        let id = content_id([self.rule.rule.as_str(), &subject, &at, &now, &before, &n_text]);
        let ratio = observed.zip(baseline).filter(|(_, b)| *b != 0.0).map(|(o, b)| o / b);
        Finding {
            id,
            rule: self.rule.rule.clone(),
            statement: summary.cloned().unwrap_or_else(|| format!("{}: {subject}", self.rule.rule)),
            subject,
            observed,
            baseline,
            change: ratio,
            n,
            unit: self.rule.unit.clone(),
            sql,
            signal: None,
        }
    }

    /// The columns of each row as values of a template.
    fn values(&self) -> Result<Vec<BTreeMap<String, Value>>, RulesError> {
        let mut values = vec![BTreeMap::new(); self.rows.len()];
        for field in self.rows.batch().schema().fields() {
            let name = field.name();
            let column: Vec<Value> = if field.data_type().is_numeric() {
                self.rows.floats(name)?.into_iter().map(Value::from).collect()
            } else {
                let Ok(texts) = self.rows.texts(name) else { continue };
                texts.into_iter().map(Value::from).collect()
            };
            for (row, value) in values.iter_mut().zip(column) {
                row.insert(name.clone(), value);
            }
        }
        Ok(values)
    }

    fn render(
        &self,
        texts: &BTreeMap<String, String>,
        row: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, String>, RulesError> {
        let environment = templates();
        let render = |(field, text): (&String, &String)| {
            let rendered = environment.render_str(text, row);
            let rendered = rendered.map_err(|error| RulesError::Template {
                rule: self.rule.rule.clone(),
                field: field.clone(),
                message: error.to_string(),
            })?;
            Ok((field.clone(), rendered))
        };
        texts.iter().map(render).collect()
    }
}

/// Writes a figure.
type Filter = fn(f64) -> String;

/// Templates with the filters of figures. An unknown column is an error, not an empty text.
fn templates() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let filters: [(&'static str, Filter); 4] = [
        ("times", figures::times),
        ("milliseconds", figures::milliseconds),
        ("bytes", figures::bytes),
        ("percent", figures::percent),
    ];
    for (name, filter) in filters {
        environment.add_filter(name, filter);
    }
    environment
}

/// The query with `$now` as a literal, outside of quoted texts and names.
fn at_instant(sql: &str, now: Time) -> String {
    const PARAMETER: &str = "$now";
    let literal = now.sql();
    let mut out = String::with_capacity(sql.len() + literal.len());
    let mut quote = None;
    let mut rest = sql;
    while let Some(character) = rest.chars().next() {
        let after = rest
            .strip_prefix(PARAMETER)
            .filter(|after| !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
        if let (None, Some(after)) = (quote, after) {
            out.push_str(&literal);
            rest = after;
            continue;
        }
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        out.push(character);
        rest = rest.strip_prefix(character).unwrap_or_default();
    }
    out
}
