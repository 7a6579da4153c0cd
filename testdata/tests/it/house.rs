//! House rules: what a reader may rely on in every file, and which crate may know which.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest production file; longer ones are a reason to redesign. Only ever lowered.
const FILE_LINES_MAX: usize = 700;

/// Which crate may depend on which, ARCHITECTURE.md's table.
const EDGES: [(&str, &[&str]); 6] = [
    ("store", &[]),
    ("ingest", &["store"]),
    ("analyze", &["store"]),
    ("rules", &["analyze"]),
    ("testdata", &[]),
    ("cli", &["store", "ingest", "analyze", "rules", "testdata"]),
];

#[test]
fn every_source_file_says_what_it_is() {
    for file in rust_files() {
        if is_test(&file) {
            continue;
        }
        let text = read(&file);
        assert!(text.starts_with("//!"), "{} starts without `//!`", file.display());
    }
}

#[test]
fn no_production_file_outgrows_its_reader() {
    for file in rust_files().into_iter().filter(|file| !is_test(file)) {
        let lines = read(&file).lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", file.display());
    }
}

#[test]
fn modules_are_files_named_after_themselves() {
    for file in rust_files() {
        assert!(!file.ends_with("mod.rs"), "{}: use foo.rs and foo/", file.display());
    }
}

#[test]
fn crates_know_only_whom_they_may() {
    for (name, allowed) in EDGES {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        let dependencies = section(&manifest, "[dependencies]");
        let found: BTreeSet<_> = dependencies
            .lines()
            .filter_map(|line| line.strip_prefix("upriver-"))
            .filter_map(|rest| rest.split([' ', '.', '=']).next())
            .collect();
        let allowed: BTreeSet<_> = allowed.iter().copied().collect();
        let unwanted: Vec<_> = found.difference(&allowed).collect();
        assert!(unwanted.is_empty(), "{name} depends on {unwanted:?}");
    }
}

#[test]
fn every_crate_is_in_the_table_of_edges() {
    let manifest = read(&root().join("Cargo.toml"));
    let members = manifest.lines().find(|line| line.starts_with("members")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        assert!(EDGES.iter().any(|(name, _)| *name == member), "{member} has no edges");
    }
}

/// A table of rules and tests is worth what its tests are: each that it names is there.
#[test]
fn every_test_that_the_documentation_names_exists() {
    let text = read(&root().join("docs/otlp.md"));
    let files = rust_files();
    let mut named = 0;
    for name in text.split('`').skip(1).step_by(2).filter(|text| text.contains("::")) {
        let (module, test) = name.split_once("::").unwrap();
        let is_of_module = |file: &&PathBuf| {
            file.file_stem().is_some_and(|stem| stem == module)
                || file.ends_with(format!("{module}/tests.rs"))
        };
        let function = format!("fn {test}()");
        let found = files.iter().filter(is_of_module).any(|file| read(file).contains(&function));
        assert!(found, "docs/otlp.md names {name}, which is nowhere");
        named += 1;
    }
    assert!(named > 20, "{named} tests are named");
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read(&root().join("Cargo.toml"));
    for line in section(&manifest, "[workspace.dependencies]").lines() {
        let ours = line.starts_with("upriver-");
        if line.contains('=') && !line.starts_with('#') && !ours {
            assert!(line.contains(" # "), "no reason given: {line}");
        }
    }
}

#[test]
fn crates_take_lints_and_licence_from_the_workspace() {
    for (name, _) in EDGES {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} has its own lints");
        assert!(manifest.contains("license.workspace = true"), "{name} has its own licence");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn section<'a>(manifest: &'a str, header: &str) -> &'a str {
    let Some((_, rest)) = manifest.split_once(&format!("\n{header}\n")) else { return "" };
    rest.split("\n[").next().unwrap_or(rest)
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs")
}

fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = EDGES.iter().map(|(name, _)| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !path.ends_with("target") && !hidden {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 10, "the walk finds the sources");
    found
}
