//! Why a query gave no rows: what the person, the data or the machine has to do with it.

use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// A query that failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The statement is none that a reader may run.
    #[error(
        "{what} is refused: every door is read-only (allowed: one SELECT, WITH, VALUES, EXPLAIN, SHOW or DESCRIBE statement)"
    )]
    Refused {
        /// What was asked for, such as `INSERT`.
        what: String,
    },
    /// The statement is not valid SQL over these tables.
    #[error("{message}")]
    Sql {
        /// What is wrong, and where it is known, what was meant.
        message: String,
    },
    /// The result or a value in it is too large.
    #[error("{message}")]
    TooLarge {
        /// Which limit, and how to stay below it.
        message: String,
    },
    /// The query needs more memory than queries may have.
    #[error(
        "the query needs more memory than queries may use: narrow its time window or columns, or raise the memory limit of queries ({message})"
    )]
    Memory {
        /// Which operator asked for how much.
        message: String,
    },
    /// The query took too long.
    #[error(
        "the query did not end within {}: narrow its time window, or raise the timeout of queries", seconds(*after)
    )]
    Timeout {
        /// The time that it had.
        after: Duration,
    },
    /// Too many queries run already.
    #[error("{running} queries run already: try again in a moment")]
    Busy {
        /// How many.
        running: usize,
    },
    /// A file of a table could not be read.
    #[error("a file of a table could not be read")]
    Storage(#[source] DataFusionError),
    /// A defect of this program.
    #[error("the query failed for a reason that is not its own")]
    Internal(#[source] DataFusionError),
}

impl QueryError {
    /// A short stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Sql { .. } => "invalid_query",
            Self::TooLarge { .. } => "too_large",
            Self::Memory { .. } => "out_of_memory",
            Self::Timeout { .. } => "timeout",
            Self::Busy { .. } => "busy",
            Self::Storage(_) => "storage",
            Self::Internal(_) => "internal",
        }
    }

    pub(crate) fn sql(message: impl Into<String>) -> Self {
        Self::Sql { message: message.into() }
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(inner) => Self::Internal(DataFusionError::External(inner)),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::from(*inner)
            }
            DataFusionError::Collection(mut all) if !all.is_empty() => {
                Self::from(all.swap_remove(0))
            }
            DataFusionError::Shared(shared) => from_shared(&shared),
            DataFusionError::ResourcesExhausted(message) => {
                Self::Memory { message: first_line(&message) }
            }
            DataFusionError::ArrowError(inner, backtrace) => from_arrow(*inner, backtrace),
            DataFusionError::ParquetError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::IoError(_) => Self::Storage(error),
            DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Configuration(_)
            | DataFusionError::Execution(_) => Self::sql(message_of(&error)),
            DataFusionError::Collection(_)
            | DataFusionError::Internal(_)
            | DataFusionError::ExecutionJoin(_)
            | DataFusionError::Substrait(_)
            | DataFusionError::Ffi(_) => Self::Internal(error),
        }
    }
}

/// An error that several consumers of one stream share, such as both sides of a repartitioning.
fn from_shared(shared: &DataFusionError) -> QueryError {
    let root = shared.find_root();
    if let DataFusionError::External(inner) = root
        && let Some(own) = inner.downcast_ref::<QueryError>()
    {
        return own.duplicate();
    }
    match root {
        DataFusionError::ResourcesExhausted(message) => {
            QueryError::Memory { message: first_line(message) }
        }
        DataFusionError::ParquetError(_)
        | DataFusionError::ObjectStore(_)
        | DataFusionError::IoError(_) => {
            QueryError::Storage(DataFusionError::Execution(message_of(root)))
        }
        other => QueryError::sql(message_of(other)),
    }
}

impl QueryError {
    /// The same error once more; sources are kept as text.
    fn duplicate(&self) -> Self {
        match self {
            Self::Refused { what } => Self::Refused { what: what.clone() },
            Self::Sql { message } => Self::Sql { message: message.clone() },
            Self::TooLarge { message } => Self::TooLarge { message: message.clone() },
            Self::Memory { message } => Self::Memory { message: message.clone() },
            Self::Timeout { after } => Self::Timeout { after: *after },
            Self::Busy { running } => Self::Busy { running: *running },
            Self::Storage(source) => Self::Storage(DataFusionError::Execution(message_of(source))),
            Self::Internal(source) => {
                Self::Internal(DataFusionError::Execution(message_of(source)))
            }
        }
    }
}

fn from_arrow(error: ArrowError, backtrace: Option<String>) -> QueryError {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
            Ok(inner) => QueryError::from(*inner),
            Err(inner) => QueryError::Internal(DataFusionError::External(inner)),
        },
        ArrowError::CastError(_)
        | ArrowError::ParseError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::DivideByZero
        | ArrowError::ArithmeticOverflow(_)
        | ArrowError::InvalidArgumentError(_) => QueryError::sql(lower_first(&error.to_string())),
        ArrowError::ParquetError(_) | ArrowError::IoError(..) => {
            QueryError::Storage(DataFusionError::ArrowError(Box::new(error), backtrace))
        }
        other => QueryError::Internal(DataFusionError::ArrowError(Box::new(other), backtrace)),
    }
}

/// The message without DataFusion's prefix and backtrace.
fn message_of(error: &DataFusionError) -> String {
    let text = match error {
        DataFusionError::Plan(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::Configuration(message)
        | DataFusionError::Execution(message) => message.clone(),
        DataFusionError::SQL(parser, _) => parser.to_string(),
        DataFusionError::SchemaError(schema, _) => schema.to_string(),
        other => other.strip_backtrace(),
    };
    let text = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default().to_owned();
    let text = text.trim_start_matches("sql parser error: ").trim_end_matches('.');
    let text = text.lines().collect::<Vec<_>>().join(" ");
    missing_table(&text).unwrap_or_else(|| lower_first(&text))
}

/// What to do about a table that does not exist, also where it looks like a file.
fn missing_table(text: &str) -> Option<String> {
    let name = text.strip_prefix("table '")?.strip_suffix("' not found")?;
    let name = name.strip_prefix("upriver.public.").unwrap_or(name);
    Some(format!(
        "there is no table or view {name:?}: SHOW TABLES lists them, files cannot be read"
    ))
}

fn first_line(message: &str) -> String {
    lower_first(message.lines().next().unwrap_or_default().trim_end_matches('.'))
}

/// Messages begin in lower case, unless they begin with a name such as `SELECT`.
fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second))
            if first.is_ascii_uppercase() && !second.is_ascii_uppercase() =>
        {
            first.to_ascii_lowercase().to_string() + chars.as_str()
        }
        _ => message.to_owned(),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
