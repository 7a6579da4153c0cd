//! What a page says, before it is text or Markdown. Texts are still as telemetry sent them.

/// A page: one headline, then sections from the most to the least urgent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Page {
    pub(super) headline: String,
    pub(super) sections: Vec<Section>,
}

/// A titled part of a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) body: Body,
}

/// What a section holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    /// Sentences, each its own paragraph.
    Sentences(Vec<String>),
    /// Points, each a sentence.
    Points(Vec<String>),
    /// Right-aligned figures and what they are of.
    Figures(Vec<(Vec<String>, String)>),
    /// Things to do in order, some with a command.
    Steps(Vec<Step>),
}

/// A thing to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) title: String,
    pub(super) detail: Option<String>,
    /// Already quoted for a shell.
    pub(super) command: Option<String>,
}

impl Page {
    /// Adds a section unless it is empty.
    pub(super) fn add(&mut self, title: &'static str, body: Body) {
        let is_empty = match &body {
            Body::Sentences(lines) | Body::Points(lines) => lines.is_empty(),
            Body::Figures(rows) => rows.is_empty(),
            Body::Steps(steps) => steps.is_empty(),
        };
        if !is_empty {
            self.sections.push(Section { title, body });
        }
    }
}
