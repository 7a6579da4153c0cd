//! The binary, run to its end.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use upriver_testdata::scenario::{Label, Options, Scenario, Slice, Variant};

/// How a run ended, and what it said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The document on stdout, of a run that ended with this code.
    #[track_caller]
    pub(crate) fn json(&self, code: i32) -> Value {
        self.ended(code);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// The run ended with this code; if it is not one of errors, without an error message.
    #[track_caller]
    pub(crate) fn ended(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.err.contains("error:"), code == 2, "{}", self.err);
        assert!(code != 2 || self.out.is_empty(), "{}", self.out);
    }

    /// The run failed, and said all of this.
    #[track_caller]
    pub(crate) fn failed(&self, expected: &[&str]) {
        self.ended(2);
        for words in expected {
            assert!(self.err.contains(words), "{words:?} is not in: {}", self.err);
        }
    }
}

/// Runs the binary with these arguments.
pub(crate) fn upriver(arguments: &[&str]) -> Run {
    with_input(arguments, "")
}

/// The same in an environment with these variables.
pub(crate) fn upriver_with(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    run(arguments, environment, "")
}

/// The same with something on stdin.
pub(crate) fn with_input(arguments: &[&str], input: &str) -> Run {
    run(arguments, &[], input)
}

fn run(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upriver"));
    for variable in ["UPRIVER_CONFIG", "UPRIVER_DATA", "UPRIVER_SERVER"] {
        command.env_remove(variable);
    }
    command.envs(environment.iter().copied());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let input = input.to_owned();
    // Written beside, so that neither side waits for the other; a process that does not read it all
    // has said why.
    let writer = std::thread::spawn(move || {
        let _unread = stdin.write_all(input.as_bytes());
    });
    let done = process.wait_with_output().unwrap();
    writer.join().unwrap();
    Run {
        code: done.status.code(),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;
const WEEK: i64 = 7 * 24 * HOUR;

/// What was imported once: its label and its folder.
type Kept = (Label, PathBuf);

/// A scenario in a data folder, put there by `upriver import`: the hours up to its end, and as much of
/// the same hours a week earlier as is compared with, and every change. The rest of the quiet days
/// takes long to read and is read by no diagnosis.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) label: Label,
    pub(crate) folder: tempfile::TempDir,
}

impl Imported {
    /// The incident of which most is asked: imported once, and a copy for each test.
    pub(crate) fn checkout() -> Self {
        static FIRST: LazyLock<Kept> =
            LazyLock::new(|| Imported::new(Variant::Checkout).kept("checkout"));
        Self::copy_of(&FIRST)
    }

    /// Its last hours alone, which a diagnosis blames as well: for what is asked of whatever is stored.
    pub(crate) fn recent() -> Self {
        static FIRST: LazyLock<Kept> = LazyLock::new(|| {
            let at = Scenario::new(Options::new(Variant::Checkout)).label().diagnose_at_unix_nano;
            let is_recent = |slice: &Slice| slice.end_unix_nano > at - 3 * HOUR;
            Imported::part(Variant::Checkout, is_recent).kept("recent")
        });
        Self::copy_of(&FIRST)
    }

    /// Nothing is dropped at the end of a process, so it is kept where the next run finds it.
    fn kept(self, name: &str) -> Kept {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if kept.exists() {
            fs::remove_dir_all(&kept).unwrap();
        }
        copy_folder(self.folder.path(), &kept);
        (self.label, kept)
    }

    fn copy_of((label, kept): &Kept) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        copy_folder(kept, folder.path());
        Self { label: label.clone(), folder }
    }

    pub(crate) fn new(variant: Variant) -> Self {
        let at = Scenario::new(Options::new(variant)).label().diagnose_at_unix_nano;
        Self::part(variant, |slice| {
            let is_last_week =
                slice.end_unix_nano > at - WEEK - 20 * MINUTE && slice.start_unix_nano < at - WEEK;
            let is_recent = slice.end_unix_nano > at - 14 * HOUR;
            is_recent || is_last_week || !slice.deploys.is_empty()
        })
    }

    fn part(variant: Variant, is_read: impl Fn(&Slice) -> bool) -> Self {
        let scenario = Scenario::new(Options::new(variant));
        let folder = tempfile::TempDir::new().unwrap();
        let imported = Self { label: scenario.label(), folder };
        scenario.write_part_of_case(&imported.case(), is_read).unwrap();
        let run = imported.import();
        run.ended(0);
        assert!(run.out.is_empty(), "{}", run.out);
        imported
    }

    pub(crate) fn case(&self) -> PathBuf {
        self.folder.path().join("case")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn import(&self) -> Run {
        upriver(&["import", text(&self.case()), "--data", text(&self.data())])
    }

    /// Runs a command on the data.
    pub(crate) fn upriver(&self, arguments: &[&str]) -> Run {
        let data = self.data();
        upriver(&[arguments, &["--data", text(&data)]].concat())
    }

    /// `upriver diagnose` as of the label's instant, with further arguments.
    pub(crate) fn diagnose(&self, arguments: &[&str]) -> Run {
        let at = self.at();
        self.upriver(&[&["diagnose", "--at", &at], arguments].concat())
    }

    pub(crate) fn at(&self) -> String {
        time(self.label.diagnose_at_unix_nano)
    }

    /// The rows of a query.
    pub(crate) fn rows(&self, query: &str) -> Vec<Value> {
        let rows = self.upriver(&["sql", "--format", "json", query]).json(0);
        rows.as_array().unwrap().clone()
    }
}

/// Copies a folder over another.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &copy);
        } else {
            // What it may be a link to stays as it is.
            let _old = fs::remove_file(&copy);
            fs::copy(entry.path(), copy).unwrap();
        }
    }
}

/// An instant as RFC 3339.
pub(crate) fn time(unix_nano: i64) -> String {
    jiff::Timestamp::from_nanosecond(unix_nano.into()).unwrap().to_string()
}
