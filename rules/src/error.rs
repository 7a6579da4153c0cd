//! Why a rule, a diagnosis or a verification could not be made.

use upriver_analyze::QueryError;

/// A rule, a diagnosis or a verification that failed.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A query failed.
    #[error("the query for {what} failed")]
    Query {
        /// What was to be found out.
        what: String,
        /// Why.
        #[source]
        source: QueryError,
    },
    /// A query gave a column of another type than expected, or none.
    #[error("the query for {what} gave no usable column `{column}`")]
    Column {
        /// What was to be found out.
        what: String,
        /// The column.
        column: String,
    },
    /// No span of the service in the time that a diagnosis reads.
    #[error("there is no service `{name}` before {before}{}", hint(nearest.as_ref()))]
    UnknownService {
        /// The name, with control characters made visible.
        name: String,
        /// The instant before which was looked.
        before: String,
        /// The nearest known name.
        nearest: Option<String>,
    },
    /// No server or consumer span of that name.
    #[error("there is no server operation `{name}` before {before}{}", hint(nearest.as_ref()))]
    UnknownOperation {
        /// The name, with control characters made visible.
        name: String,
        /// The instant before which was looked.
        before: String,
        /// The nearest known name.
        nearest: Option<String>,
    },
    /// No change with that id, or of that service and version.
    #[error(
        "there is no change `{target}` before {before}{}; `upriver deploy list` shows the known ones",
        hint(nearest.as_ref())
    )]
    UnknownChange {
        /// What was asked for, with control characters made visible.
        target: String,
        /// The instant before which was looked.
        before: String,
        /// The nearest known id or `SERVICE@VERSION`.
        nearest: Option<String>,
    },
    /// A rule file that is not valid.
    #[error("{file}: {message}")]
    RuleFile {
        /// The file.
        file: String,
        /// What is wrong and where.
        message: String,
    },
    /// A template of a rule that cannot be rendered.
    #[error("rule {rule}: the template of {field} cannot be rendered: {message}")]
    Template {
        /// The rule.
        rule: String,
        /// The label or annotation.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// A rule whose query does not return what it promises.
    #[error("rule {rule}: {message}")]
    Rule {
        /// The rule.
        rule: String,
        /// What is wrong.
        message: String,
    },
    /// A document could not be written as JSON.
    #[error("the document could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

fn hint(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(": did you mean `{nearest}`?"))
}

impl RulesError {
    /// Whether the person asked for something that is not there, or wrote something wrong.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Query { .. } | Self::Column { .. } | Self::Json(_))
    }
}
