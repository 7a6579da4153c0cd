//! Failures as a person reads them: what failed, why, and a hint.

use std::fmt;
use std::io::Write;

use anyhow::Error;

/// A piece of advice that travels with an error and is printed below it.
#[derive(Debug)]
pub(crate) struct Hint(pub(crate) String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error with a hint.
#[derive(Debug)]
pub(crate) struct Advised {
    source: Error,
    hint: Hint,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl std::error::Error for Advised {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// Adds a hint to an error.
pub(crate) trait Advise<T> {
    /// The same result; an error carries the hint.
    fn hint(self, hint: impl Into<String>) -> Result<T, Error>;
}

impl<T, E: Into<Error>> Advise<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> Result<T, Error> {
        self.map_err(|error| Error::new(Advised { source: error.into(), hint: Hint(hint.into()) }))
    }
}

/// Writes the error, what caused it, and its hint.
pub(crate) fn report(error: &Error, err: &mut dyn Write) -> std::io::Result<()> {
    writeln!(err, "error: {}", printable(&error.to_string()))?;
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !said.contains(&text) {
            writeln!(err, "  caused by: {}", printable(&text))?;
            said = text;
        }
    }
    if let Some(advised) = error.chain().find_map(|cause| cause.downcast_ref::<Advised>()) {
        writeln!(err, "\nhint: {}", advised.hint)?;
    }
    Ok(())
}

/// Control characters (of a name that somebody sent) never reach the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control() && c != '\n';
            let plain = (!escaped).then_some(c);
            plain.into_iter().chain(escaped.then(|| c.escape_default()).into_iter().flatten())
        })
        .collect()
}
