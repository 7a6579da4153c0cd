//! Documents for people: text for a terminal, Markdown for a ticket. JSON is the document itself.
//!
//! Both forms say the same in the same order, as `Page` has it: what happened, why it is thought
//! so, what it was not, what to do. Text from telemetry is escaped here and nowhere before.

mod audit;
mod diagnosis;
mod markdown;
mod page;
mod text;
mod verification;

#[cfg(test)]
mod tests;

use crate::audit::Audit;
use crate::diagnosis::document::Diagnosis;
use crate::verify::Verification;

/// A diagnosis for a terminal, at most 100 columns wide.
pub fn text(diagnosis: &Diagnosis) -> String {
    text::render(&diagnosis::page(diagnosis))
}

/// A diagnosis for a ticket.
pub fn markdown(diagnosis: &Diagnosis) -> String {
    markdown::render(&diagnosis::page(diagnosis))
}

/// A verification for a terminal, at most 100 columns wide.
pub fn verification_text(verification: &Verification) -> String {
    text::render(&verification::page(verification))
}

/// A verification for a ticket.
pub fn verification_markdown(verification: &Verification) -> String {
    markdown::render(&verification::page(verification))
}

/// An audit for a terminal, at most 100 columns wide.
pub fn audit_text(audit: &Audit) -> String {
    text::render(&audit::page(audit))
}

/// An audit for a ticket.
pub fn audit_markdown(audit: &Audit) -> String {
    markdown::render(&audit::page(audit))
}
