//! What a runtime or a well-known library does in a frame of a profile: its family.
//!
//! The patterns are data, in `ingest/frame_families.yaml`, which also explains them. They are put
//! into tries once, so that a name costs about its own length, however many patterns there are.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;

/// What a frame does, apart from the service's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Garbage collection: marking, sweeping, write barriers.
    Gc,
    /// Making and freeing objects and memory.
    Allocation,
    /// Between objects and bytes: JSON, protobuf, XML and so on, both ways.
    Serialization,
    /// Taking and releasing locks.
    Lock,
    /// The kernel at the program's request.
    Syscall,
    /// Hashing, signing, encrypting.
    Crypto,
    /// Encrypted connections.
    Tls,
    /// gzip, zstd and so on, both ways.
    Compression,
    /// Database drivers and mappers.
    Database,
    /// Regular expressions.
    Regex,
    /// Choosing and waking threads, goroutines and tasks.
    Scheduler,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 11] = [
        Self::Gc,
        Self::Allocation,
        Self::Serialization,
        Self::Lock,
        Self::Syscall,
        Self::Crypto,
        Self::Tls,
        Self::Compression,
        Self::Database,
        Self::Regex,
        Self::Scheduler,
    ];

    /// The name in the column `profile_stack_frames.family`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gc => "gc",
            Self::Allocation => "allocation",
            Self::Serialization => "serialization",
            Self::Lock => "lock",
            Self::Syscall => "syscall",
            Self::Crypto => "crypto",
            Self::Tls => "tls",
            Self::Compression => "compression",
            Self::Database => "database",
            Self::Regex => "regex",
            Self::Scheduler => "scheduler",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The family of a frame, from its function's name as the profiler wrote it and its source file
/// (empty where unknown). The first rule that matches wins.
pub fn family(function: &str, file: &str) -> Option<Family> {
    let name = Name::new(function);
    let files = [file, name.file];
    match RULES.packaged.find(name, files) {
        Some(Owner::Family(family)) => Some(family),
        Some(Owner::Service) => None,
        None if files.into_iter().any(has_packages) => None,
        None => match RULES.native.find(name, files) {
            Some(Owner::Family(family)) => Some(family),
            Some(Owner::Service) | None => None,
        },
    }
}

/// Whether the file is of a language whose functions are not C's, though their names may look so.
fn has_packages(file: &str) -> bool {
    const EXTENSIONS: [&str; 17] = [
        "py", "pyx", "rb", "js", "mjs", "cjs", "ts", "mts", "cts", "jsx", "tsx", "php", "java",
        "kt", "scala", "cs", "ex",
    ];
    file.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension))
}

/// A function's name without what profilers put around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name<'a> {
    function: &'a str,
    /// The file inside the name; empty where there is none.
    file: &'a str,
}

impl<'a> Name<'a> {
    fn new(text: &'a str) -> Self {
        let (function, file) = Self::split(text);
        Self { function: without_mark(function), file }
    }

    /// `app.rb:12 - render` and `app.js:render:12` taken apart.
    fn split(text: &'a str) -> (&'a str, &'a str) {
        if let Some((place, function)) = text.split_once(" - ")
            && let Some(file) = without_line(place)
        {
            return (function, file);
        }
        match without_line(text).and_then(|text| text.rsplit_once(':')) {
            Some((file, function)) if !file.ends_with(':') => (function, file),
            _ => (text, ""),
        }
    }

    /// Behind `libjvm.so.`, `libc.so.6.` or `module!`.
    fn without_library(self) -> &'a str {
        let name = self.function;
        if let Some((_, function)) = name.split_once('!') {
            return function;
        }
        [".so.", ".dylib.", ".dll."]
            .into_iter()
            .find_map(|end| name.split_once(end))
            .map_or(name, |(_, rest)| {
                rest.trim_start_matches(|char: char| char.is_ascii_digit() || char == '.')
            })
    }

    /// Behind Rust's `<`, `&mut ` and the like.
    fn without_sigils(self) -> &'a str {
        let mut name = self.function;
        loop {
            let before = name;
            name = name.trim_start_matches(['<', '&', '*']);
            name = name.strip_prefix("mut ").or_else(|| name.strip_prefix("dyn ")).unwrap_or(name);
            if name == before {
                return name;
            }
        }
    }
}

/// `file:12` without the line; none if there is no line.
fn without_line(text: &str) -> Option<&str> {
    let (rest, line) = text.rsplit_once(':')?;
    let digits = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(rest)
}

/// async-profiler's `_[k]` for kernel, `_[j]` for compiled and so on.
fn without_mark(function: &str) -> &str {
    let mark = function.strip_suffix(']').and_then(|rest| rest.rsplit_once("_["));
    match mark {
        Some((name, mark)) if mark.len() == 1 => name,
        _ => function,
    }
}

static RULES: LazyLock<Rules> =
    LazyLock::new(|| Rules::parse(DATA).expect("the file is compiled in and a test reads it"));

const DATA: &str = include_str!("../frame_families.yaml");

/// All rules, ready to be asked.
struct Rules {
    packaged: RuleSet,
    native: RuleSet,
}

impl Rules {
    fn parse(yaml: &str) -> Result<Self, serde_saphyr::Error> {
        let rules: Vec<Rule> = serde_saphyr::from_str(yaml)?;
        let (native, packaged): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(|rule| rule.runtime == Runtime::Native);
        Ok(Self { packaged: RuleSet::new(&packaged), native: RuleSet::new(&native) })
    }
}

/// A rule of the data file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    family: Option<Family>,
    runtime: Runtime,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
}

/// Whose names a rule has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Runtime {
    Go,
    Jvm,
    V8,
    Python,
    Ruby,
    Dotnet,
    Rust,
    Native,
}

/// Whose a frame is, by a rule.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// The service's own: a rule without a family.
    Service,
    /// A family's.
    Family(Family),
}

impl Owner {
    fn of(family: Option<Family>) -> Self {
        family.map_or(Self::Service, Self::Family)
    }
}

/// Rules in their order. A rank is a rule's position.
struct RuleSet {
    owners: Vec<Owner>,
    functions: Patterns,
    files: Patterns,
}

impl RuleSet {
    fn new(rules: &[Rule]) -> Self {
        let mut functions = Patterns::default();
        let mut files = Patterns::default();
        for (rule, rank) in rules.iter().zip(0..) {
            rule.functions.iter().for_each(|pattern| functions.add(pattern, rank));
            rule.files.iter().for_each(|pattern| files.add(pattern, rank));
        }
        Self { owners: rules.iter().map(|rule| Owner::of(rule.family)).collect(), functions, files }
    }

    /// What the first rule that matches says; none where no rule matches.
    fn find(&self, name: Name<'_>, files: [&str; 2]) -> Option<Owner> {
        let beginnings = [name.function, name.without_library(), name.without_sigils()];
        let by_function = beginnings
            .into_iter()
            .map(|text| self.functions.anchored.best(text.as_bytes()))
            .chain([self.functions.anywhere(name.function)]);
        let by_file = files.into_iter().flat_map(|file| {
            [self.files.anchored.best(file.as_bytes()), self.files.anywhere(file)]
        });
        let rank = by_function.chain(by_file).flatten().min()?;
        self.owners.get(usize::from(rank)).copied()
    }
}

#[derive(Default)]
struct Patterns {
    anchored: Trie,
    anywhere: Trie,
}

impl Patterns {
    fn add(&mut self, pattern: &str, rank: u16) {
        let (trie, pattern) = match pattern.strip_prefix('*') {
            Some(pattern) => (&mut self.anywhere, pattern),
            None => (&mut self.anchored, pattern),
        };
        match pattern.strip_suffix('*') {
            Some(prefix) => trie.add(prefix.as_bytes(), End::Open, rank),
            None => trie.add(pattern.as_bytes(), End::Closed, rank),
        }
    }

    /// The best rank at any beginning of a word.
    fn anywhere(&self, text: &str) -> Option<u16> {
        let bytes = text.as_bytes();
        let mut in_word = false;
        let mut best: Option<u16> = None;
        for (position, byte) in bytes.iter().enumerate() {
            if !in_word
                && let Some(rank) = bytes.get(position..).and_then(|rest| self.anywhere.best(rest))
            {
                best = Some(best.map_or(rank, |best| best.min(rank)));
            }
            in_word = byte.is_ascii_alphanumeric() || *byte == b'_';
        }
        best
    }
}

/// Whether a name may go on behind the pattern.
#[derive(Clone, Copy)]
enum End {
    Open,
    Closed,
}

/// Patterns by their bytes.
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    children: Vec<(u8, usize)>,
    open: Option<u16>,
    closed: Option<u16>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    fn add(&mut self, pattern: &[u8], end: End, rank: u16) {
        let mut at = 0;
        for byte in pattern {
            at = self.child(at, *byte).unwrap_or_else(|| self.add_child(at, *byte));
        }
        if let Some(node) = self.nodes.get_mut(at) {
            let slot = match end {
                End::Open => &mut node.open,
                End::Closed => &mut node.closed,
            };
            slot.get_or_insert(rank);
        }
    }

    fn add_child(&mut self, at: usize, byte: u8) -> usize {
        let child = self.nodes.len();
        self.nodes.push(Node::default());
        if let Some(node) = self.nodes.get_mut(at) {
            node.children.push((same(byte), child));
        }
        child
    }

    fn child(&self, at: usize, byte: u8) -> Option<usize> {
        let byte = same(byte);
        let children = &self.nodes.get(at)?.children;
        children.iter().find(|(known, _)| *known == byte).map(|(_, child)| *child)
    }

    /// The lowest rank among the patterns that match from the beginning of the text.
    fn best(&self, text: &[u8]) -> Option<u16> {
        let mut best: Option<u16> = None;
        let mut take = |rank: Option<u16>| best = best.into_iter().chain(rank).min();
        let mut at = 0;
        for byte in text {
            take(self.nodes.get(at).and_then(|node| node.open));
            match self.child(at, *byte) {
                Some(child) => at = child,
                None => return best,
            }
        }
        let last = self.nodes.get(at);
        take(last.and_then(|node| node.open));
        take(last.and_then(|node| node.closed));
        best
    }
}

/// Separators of paths and packages are one character.
fn same(byte: u8) -> u8 {
    if matches!(byte, b'/' | b'\\') { b'.' } else { byte }
}

#[cfg(test)]
mod tests;
