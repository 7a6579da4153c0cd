//! `upriver rules`: list, check and run rule files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use upriver_rules::engine::{Firing, evaluate};
use upriver_rules::escape::terminal;
use upriver_rules::library;
use upriver_rules::rule_file::{RuleFile, parse};

use crate::args::{RowFormat, RulesCommand, RulesRunArgs};
use crate::error::Advise;
use crate::output::Output;
use crate::questions;
use crate::run::Outcome;
use crate::target::{self, Target};

/// Lists, checks or runs.
pub(crate) async fn run(command: RulesCommand, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    match command {
        RulesCommand::List(args) => list(&with_library(&args.paths)?, output),
        RulesCommand::Check(args) => {
            let files = read(&args.paths)?;
            let rules: usize = files.iter().map(|(_, file)| rules_in(file)).sum();
            output.note(format!("{rules} rules in {} files are valid", files.len()))?;
            Ok(Outcome::Done)
        }
        RulesCommand::Run(args) => evaluate_all(args, output).await,
    }
}

fn list(files: &[(String, RuleFile)], output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    for (name, file) in files {
        for group in &file.groups {
            for rule in &group.rules {
                let line =
                    format!("{}  {}  every {:?}  {name}", rule.rule, group.name, group.interval);
                output.line(terminal(&line))?;
            }
        }
    }
    Ok(Outcome::Done)
}

async fn evaluate_all(args: RulesRunArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let files = with_library(&args.paths)?;
    let target = Target::open(&args.source).await?;
    let session = target.folder().hint("name a folder with `--data DIR`")?;
    let at = args.at.map(questions::time).transpose()?;
    let now = target::newest_unless(at, session).await?;
    let mut firings = Vec::new();
    for (name, file) in &files {
        for group in &file.groups {
            for rule in &group.rules {
                let found = evaluate(session, rule, group.interval, now).await;
                firings.extend(found.with_context(|| format!("{name}: rule `{}`", rule.rule))?);
            }
        }
    }
    print(&firings, args.format, output)?;
    Ok(if firings.is_empty() { Outcome::Done } else { Outcome::Found })
}

fn print(firings: &[Firing], format: RowFormat, output: &mut Output<'_>) -> anyhow::Result<()> {
    match format {
        RowFormat::Json => {
            let findings: Vec<_> = firings.iter().map(|firing| &firing.finding).collect();
            output.line(serde_json::to_string_pretty(&findings)?)?;
        }
        RowFormat::Jsonl => {
            for firing in firings {
                output.line(serde_json::to_string(&firing.finding)?)?;
            }
        }
        RowFormat::Table | RowFormat::Csv => {
            for firing in firings {
                let finding = &firing.finding;
                output.line(terminal(&format!("{}  {}", finding.rule, finding.statement)))?;
            }
        }
    }
    Ok(())
}

fn with_library(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, RuleFile)>> {
    let mut files: Vec<_> = library::files()?
        .into_iter()
        .map(|(name, file)| (format!("library/{name}"), file))
        .collect();
    files.extend(read(paths)?);
    Ok(files)
}

/// Rule files, and those directly in folders.
fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, RuleFile)>> {
    let mut files = Vec::new();
    for path in paths {
        for path in rule_files(path)? {
            let name = path.display().to_string();
            let text =
                fs::read_to_string(&path).with_context(|| format!("could not read `{name}`"))?;
            let file = parse(&name, &text)?;
            files.push((name, file));
        }
    }
    Ok(files)
}

fn rule_files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = fs::read_dir(path)
        .with_context(|| format!("could not read the folder `{}`", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(file);
        }
    }
    ensure!(!files.is_empty(), "the folder `{}` holds no .yaml file", path.display());
    files.sort();
    Ok(files)
}

fn rules_in(file: &RuleFile) -> usize {
    file.groups.iter().map(|group| group.rules.len()).sum()
}
