//! Rule files: YAML in the shape that Prometheus users know, with SQL where they have PromQL.
//!
//! A row of a rule's query is a finding. `$now` in the query stands for the instant of the
//! evaluation.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};

use crate::error::RulesError;
use crate::spelling::nearest;

#[cfg(test)]
mod tests;

/// How often a group is evaluated where it does not say: Prometheus's default.
const INTERVAL_DEFAULT: Duration = Duration::from_mins(1);

/// A file of rules.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// Rules that are evaluated together.
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleGroup {
    /// Name of the group, unique in its file.
    pub name: String,
    /// How often the rules are evaluated.
    #[serde(default = "interval_default", deserialize_with = "duration")]
    pub interval: Duration,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A rule: a query whose rows are findings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "`rule` is the key in the file")]
pub struct Rule {
    /// Name of the rule.
    pub rule: String,
    /// The query. `$now` is the instant of the evaluation.
    pub sql: String,
    /// Columns that say what a row is about.
    pub subject: Vec<String>,
    /// SQL over the query's columns that gives the figure now.
    #[serde(default)]
    pub observed: Option<String>,
    /// SQL over the query's columns that gives the figure before.
    #[serde(default)]
    pub baseline: Option<String>,
    /// SQL over the query's columns that gives the number of observations behind `observed`.
    #[serde(default)]
    pub n: Option<String>,
    /// Unit of the figures.
    #[serde(default)]
    pub unit: String,
    /// How long a row must be there before it is a finding.
    #[serde(default, rename = "for", deserialize_with = "duration")]
    pub held_for: Duration,
    /// Labels; templates over the row's columns.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations; templates over the row's columns. `summary` is the finding's statement.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// Reads a rule file. `name` is the file's name in messages.
pub fn parse(name: &str, text: &str) -> Result<RuleFile, RulesError> {
    let invalid = |message: String| RulesError::RuleFile { file: name.to_owned(), message };
    let file: RuleFile =
        serde_saphyr::from_str(text).map_err(|error| invalid(with_hint(&error.to_string())))?;
    check(&file).map_err(invalid)?;
    Ok(file)
}

fn check(file: &RuleFile) -> Result<(), String> {
    let mut names: Vec<&str> = file.groups.iter().map(|group| group.name.as_str()).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        if let [first, second] = pair
            && first == second
        {
            return Err(format!("the group `{first}` is there twice"));
        }
    }
    for group in &file.groups {
        if group.interval.is_zero() {
            return Err(format!("group `{}`: the interval is zero", group.name));
        }
        for rule in &group.rules {
            let fault = if rule.rule.is_empty() {
                "the name is empty"
            } else if rule.sql.trim().is_empty() {
                "the query is empty"
            } else if rule.subject.is_empty() {
                "`subject` names no column: say which columns tell findings apart"
            } else {
                continue;
            };
            return Err(format!("group `{}`, rule `{}`: {fault}", group.name, rule.rule));
        }
    }
    Ok(())
}

/// The parser's message, with the known key that is nearest to an unknown one. The names stand in
/// its first line, the file's own text below it.
fn with_hint(message: &str) -> String {
    let hint = || {
        let first = message.lines().next()?;
        let (before, known) = first.split_once("expected one of ")?;
        let (_, unknown) = before.split_once("unknown field `")?;
        let (unknown, _) = unknown.split_once('`')?;
        nearest(unknown, known.split(", ").map(|name| name.trim_matches('`')))
    };
    match hint() {
        Some(hint) => format!("{message}\ndid you mean `{hint}`?"),
        None => message.to_owned(),
    }
}

fn interval_default() -> Duration {
    INTERVAL_DEFAULT
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed: SignedDuration = text.parse().map_err(|error| {
        serde::de::Error::custom(format!("`{text}` is no duration such as `5m`: {error}"))
    })?;
    Duration::try_from(parsed)
        .map_err(|_negative| serde::de::Error::custom(format!("`{text}` is negative")))
}
