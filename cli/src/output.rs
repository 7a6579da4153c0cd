//! Where a command prints: data to one writer, everything else to the other, so tests hold both.

use std::io::{self, Write};

/// The two streams of a command.
pub(crate) struct Output<'a> {
    /// Data alone.
    pub(crate) out: &'a mut dyn Write,
    /// Progress, warnings, errors.
    pub(crate) err: &'a mut dyn Write,
}

impl Output<'_> {
    /// A line that is data.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.out, "{}", text.as_ref())
    }

    /// A line for the person who waits.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.err, "{}", text.as_ref())
    }
}

/// Whether the reader of our output went away, which ends a command without an error.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
