//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use super::file::Origin;
use super::nearest::nearest;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}; check --config", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML, or not of the right shape.
    #[error("{place}: {what}")]
    Malformed {
        /// The file and line.
        place: Place,
        /// What is wrong there.
        what: String,
    },
    /// A key that is not known.
    #[error("{place}: unknown key `{key}`{advice}")]
    UnknownKey {
        /// The file and line.
        place: Place,
        /// The key.
        key: String,
        /// Which key may be meant.
        advice: String,
    },
    /// A value that cannot be used.
    #[error("{place}: {key}: {what}")]
    Value {
        /// Where it was given.
        place: Place,
        /// The key's path.
        key: &'static str,
        /// What is wrong with it, and what would be right.
        what: String,
    },
    /// A section in which something is missing.
    #[error("{file}: {key}: {what}", file = file.display())]
    Incomplete {
        /// The file.
        file: PathBuf,
        /// The section's path.
        key: &'static str,
        /// What is missing.
        what: String,
    },
    /// A key or value that asks for something that is not built.
    #[error("{place}: {key}: {what} is not built yet; remove the key, or leave it at {default}")]
    NotBuilt {
        /// Where it was given.
        place: Place,
        /// The key's path.
        key: &'static str,
        /// What it asks for.
        what: &'static str,
        /// The value that is accepted.
        default: &'static str,
    },
}

/// Where a value was given, as a person looks it up.
#[derive(Clone, Debug)]
pub(crate) struct Place(String);

impl Place {
    pub(super) fn of(file: &Path, origin: &Origin) -> Self {
        Self(match origin {
            Origin::Line(line) => format!("{}:{line}", file.display()),
            Origin::Environment(name) => format!("environment variable {name}"),
            Origin::Flag(name) => format!("flag {name}"),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Turns what the YAML reader says into our terms.
pub(super) fn malformed(file: &Path, error: &serde_saphyr::Error) -> ConfigError {
    let line = error.location().map_or(0, |location| location.line());
    let place = Place::of(file, &Origin::Line(line));
    match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            let advice = match nearest(field, expected) {
                Some(known) => format!("; did you mean `{known}`?"),
                None => format!("; known here are {}", expected.join(", ")),
            };
            ConfigError::UnknownKey { place, key: field.clone(), advice }
        }
        other => {
            let text = other.to_string();
            let what = text.lines().next().unwrap_or("not readable as YAML").to_owned();
            ConfigError::Malformed { place, what }
        }
    }
}
