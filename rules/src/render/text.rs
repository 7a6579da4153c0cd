//! A page as lines for a terminal.

use super::page::{Body, Page, Step};
use crate::escape::terminal;

/// Terminals are at least this wide beside an editor; commands are never broken.
const WIDTH: usize = 100;

/// The page, at most [`WIDTH`] columns wide.
pub(super) fn render(page: &Page) -> String {
    let mut out = wrapped(&terminal(&page.headline), "", "");
    for section in &page.sections {
        out.push('\n');
        out.push_str(section.title);
        out.push('\n');
        out.push_str(&body(&section.body));
    }
    out
}

fn body(body: &Body) -> String {
    match body {
        Body::Sentences(lines) => {
            lines.iter().map(|line| wrapped(&terminal(line), "  ", "  ")).collect()
        }
        Body::Points(lines) => {
            lines.iter().map(|line| wrapped(&terminal(line), "  - ", "    ")).collect()
        }
        Body::Figures(rows) => figures(rows),
        Body::Steps(steps) => {
            steps.iter().enumerate().map(|(i, step)| self::step(i + 1, step)).collect()
        }
    }
}

fn figures(rows: &[(Vec<String>, String)]) -> String {
    let columns = rows.iter().map(|(figures, _)| figures.len()).max().unwrap_or(0);
    let width = |column: usize| {
        let lengths = rows.iter().filter_map(|(figures, _)| figures.get(column));
        lengths.map(|figure| figure.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |(figures, what): &(Vec<String>, String)| {
        let cells = figures.iter().zip(&widths).map(|(figure, width)| format!("{figure:>width$}"));
        let lead = format!("  {}  ", cells.collect::<Vec<_>>().join("  "));
        wrapped(&terminal(what), &lead, &" ".repeat(lead.chars().count()))
    };
    rows.iter().map(line).collect()
}

fn step(number: usize, step: &Step) -> String {
    let lead = format!("  {number}. ");
    let indent = " ".repeat(lead.len());
    let mut out = wrapped(&terminal(&step.title), &lead, &indent);
    if let Some(detail) = &step.detail {
        out.push_str(&wrapped(&terminal(detail), &indent, &indent));
    }
    if let Some(command) = &step.command {
        out.push_str(&format!("{indent}$ {}\n", terminal(command)));
    }
    out
}

/// Words in lines of at most [`WIDTH`] columns; a longer word has a line of its own.
fn wrapped(text: &str, first: &str, next: &str) -> String {
    let mut out = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = line.chars().count() + usize::from(!is_empty) + word.chars().count();
        if !is_empty && length > WIDTH {
            out.push_str(&line);
            out.push('\n');
            next.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    out.push_str(&line);
    out.push('\n');
    out
}
