//! `upriver import`: what it takes, what it refuses, and that a refusal leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::binary::{Run, text, upriver};
use crate::server::Serve;

const SPAN: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"GET /","kind":2,"startTimeUnixNano":"1767225600000000000","endTimeUnixNano":"1767225600100000000"}]}]}]}"#;
const DEPLOY: &str =
    r#"{"service":"shop","version":"2","time_unix_nano":1767225600000000000,"kind":"deploy"}"#;

const LOG: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeLogs":[{"logRecords":[{"timeUnixNano":"1767225600000000000","severityNumber":17,"body":{"stringValue":"out of stock"}}]}]}]}"#;
const PROFILE: &str = r#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"sampleType":{"typeStrindex":1,"unitStrindex":2},"timeUnixNano":"1767225600000000000","samples":[{"values":["7"]}]}]}]}],"dictionary":{"stringTable":["","samples","count"]}}"#;

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A case folder with these files.
    fn case(&self, files: &[(&str, &str)]) -> PathBuf {
        let case = self.folder.path().join("case");
        let _old = fs::remove_dir_all(&case);
        for (name, content) in files {
            let path = case.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        case
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn import(&self, path: &Path) -> Run {
        upriver(&["import", text(path), "--data", text(&self.data())])
    }

    fn count(&self, table: &str) -> i64 {
        let query = format!("SELECT count(*) AS n FROM {table}");
        let run = upriver(&["sql", "--format", "json", "--data", text(&self.data()), &query]);
        run.json(0)[0]["n"].as_i64().unwrap()
    }
}

#[test]
fn a_case_folder_is_taken_and_unknown_names_in_it_are_not() {
    let place = Place::new();
    let spans = format!("{SPAN}\n\n{SPAN}\n").replacen("b7ad6b7169203331", "b7ad6b7169203332", 1);
    let case = place.case(&[
        ("traces.jsonl", &spans),
        ("deploys.jsonl", DEPLOY),
        ("logs.jsonl", LOG),
        ("label.json", "not even JSON"),
        ("notes/traces.jsonl", "not even JSON"),
        ("README.md", "#"),
    ]);
    place.import(&case).ended(0);
    assert_eq!((place.count("spans"), place.count("deploys")), (2, 1));
    assert_eq!(place.count("logs WHERE body = 'out of stock'"), 1);
    let again = place.import(&case);
    again.ended(0);
    assert_eq!(again.err.matches("already in").count(), 3, "{}", again.err);
    assert_eq!((place.count("spans"), place.count("deploys")), (2, 1));
    // The same bytes from another place are the same file.
    let copy = place.folder.path().join("copy.jsonl");
    fs::copy(case.join("traces.jsonl"), &copy).unwrap();
    place.import(&copy).ended(0);
    assert_eq!(place.count("spans"), 2);
}

#[test]
fn a_bad_record_is_named_and_nothing_of_its_file_is_taken() {
    let place = Place::new();
    let timeless = LOG.replace("timeUnixNano", "otherUnixNano");
    let cases: [(&str, String, &[&str]); 8] = [
        ("logs.jsonl", format!("{LOG}\n{{\"resourceLogs\": 7}}\n"), &["logs.jsonl:2"]),
        ("logs.jsonl", timeless, &["logs.jsonl:1", "a log record without `timeUnixNano`"]),
        ("traces.jsonl", format!("{SPAN}\n{{\"resourceSpans\": 7}}\n"), &["traces.jsonl:2"]),
        ("traces.jsonl", format!("{SPAN}\n{}\n", SPAN.trim_end_matches('}')), &["traces.jsonl:2"]),
        (
            "deploys.jsonl",
            format!("{DEPLOY}\n{{\"version\": \"2\"}}\n"),
            &["deploys.jsonl:2", "service"],
        ),
        (
            "deploys.jsonl",
            "{\"service\": \"shop\", \"version\": \"2\"}\n".to_owned(),
            &["deploys.jsonl:1", "time"],
        ),
        (
            "profiles.jsonl",
            "{\"file\": \"../../secret\", \"service\": \"shop\", \"time_unix_nano\": 1}\n"
                .to_owned(),
            &["outside of its folder", "../../secret"],
        ),
        (
            "profiles.jsonl",
            "{\"file\": \"gone.pb.gz\", \"service\": \"shop\", \"time_unix_nano\": 1}\n".to_owned(),
            &["gone.pb.gz"],
        ),
    ];
    for (name, content, expected) in cases {
        let case = place.case(&[(name, &content)]);
        place.import(&case).failed(expected);
        for table in ["spans", "deploys", "logs", "profiles", "operation_minutes"] {
            assert_eq!(place.count(table), 0, "{name}: {table}");
        }
    }
    place.import(&place.case(&[("README.md", "#")])).failed(&["none of the files of a case"]);
    place.import(&place.folder.path().join("nowhere")).failed(&["nowhere"]);
}

#[test]
fn a_file_is_known_by_what_it_holds() {
    let place = Place::new();
    for (content, table) in [(LOG, "logs"), (PROFILE, "profiles"), (SPAN, "spans")] {
        let file = place.folder.path().join("records.json");
        fs::write(&file, content).unwrap();
        place.import(&file).ended(0);
        assert_eq!(place.count(table), 1, "{table}");
    }
}

#[test]
fn a_folder_that_is_served_has_its_writer() {
    let place = Place::new();
    let case = place.case(&[("traces.jsonl", SPAN)]);
    let serve = Serve::start(&place.data());
    place.import(&case).failed(&["in use"]);
    assert_eq!(place.count("spans"), 0, "readers need no lock");
    serve.end("-TERM");
    place.import(&case).ended(0);
    assert_eq!(place.count("spans"), 1);
}
