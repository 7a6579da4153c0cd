//! A page as Markdown.

use super::page::{Body, Page, Step};
use crate::escape::{markdown, markdown_block};

/// The page as CommonMark with tables.
pub(super) fn render(page: &Page) -> String {
    let mut out = format!("## {}\n", markdown(&page.headline));
    for section in &page.sections {
        out.push_str(&format!("\n### {}\n\n", markdown(section.title)));
        out.push_str(&body(&section.body));
    }
    out
}

fn body(body: &Body) -> String {
    match body {
        Body::Sentences(lines) => {
            let paragraphs: Vec<_> = lines.iter().map(|line| markdown(line)).collect();
            format!("{}\n", paragraphs.join("\n\n"))
        }
        Body::Points(lines) => lines.iter().map(|line| format!("- {}\n", markdown(line))).collect(),
        Body::Figures(rows) => {
            let columns = rows.iter().map(|(figures, _)| figures.len()).max().unwrap_or(0);
            let head = format!("|{} |\n|{}---|\n", " |".repeat(columns), "--:|".repeat(columns));
            let line = |(figures, what): &(Vec<String>, String)| {
                let cells = figures.iter().chain([what]).map(|cell| markdown(cell));
                format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
            };
            head + &rows.iter().map(line).collect::<String>()
        }
        Body::Steps(steps) => {
            steps.iter().enumerate().map(|(i, step)| self::step(i + 1, step)).collect()
        }
    }
}

fn step(number: usize, step: &Step) -> String {
    let lead = format!("{number}. ");
    let indent = " ".repeat(lead.len());
    let mut out = format!("{lead}{}\n", markdown(&step.title));
    if let Some(detail) = &step.detail {
        out.push_str(&format!("\n{indent}{}\n", markdown(detail)));
    }
    if let Some(command) = &step.command {
        out.push('\n');
        for line in markdown_block("sh", command).lines() {
            out.push_str(&format!("{indent}{line}\n"));
        }
        out.push('\n');
    }
    out
}
