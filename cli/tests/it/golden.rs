//! Folders as earlier builds left them, killed with rows in the log: `cli/tests/golden/FORMAT/data`, and what
//! their tables came to then. Every later build reads them as they were, and writes on.
//!
//! A build that changes what is on the disk adds its own: `UPRIVER_GOLDEN=FORMAT cargo test --workspace golden`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tempfile::TempDir;
use upriver_store::schema::Table;
use upriver_testdata::scenario::{Options, Scenario};

use crate::binary::{copy_folder, text, upriver};
use crate::export::{ALWAYS, figures_of, nasty_data, rows};
use crate::sender::{requests, send_all};
use crate::server::{Serve, command};

/// What upkeep completes in rows whose traces came apart: they are not known beforehand.
const COMPLETED: [&str; 8] = [
    "parent_service",
    "parent_name",
    "self_time_ns",
    "callee_service",
    "callee_operation",
    "client_service",
    "server_service",
    "operation",
];

fn formats() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[expect(clippy::disallowed_methods, reason = "a new folder is made on demand")]
fn wanted() -> Option<String> {
    std::env::var("UPRIVER_GOLDEN").ok()
}

/// What the tables come to, of the columns that they had when the folder was made.
fn contents(data: &Path, known: Option<&Map<String, Value>>) -> Map<String, Value> {
    let table = |table: Table| {
        let known = known.map(|known| known.get(table.folder()).cloned().unwrap_or_default());
        let is_known = |column: &str| known.as_ref().is_none_or(|known| !known[column].is_null());
        let has_column = |column: &str| is_known(&format!("{column}_count"));
        (table.folder().to_owned(), figures_of(data, table, has_column))
    };
    let is_there = |table: &Table| match known {
        Some(known) => known.contains_key(table.folder()),
        None => !table.is_former(),
    };
    Table::ALL.into_iter().filter(is_there).map(table).collect()
}

/// Leaves out what is said of a column.
fn forget(tables: &mut Map<String, Value>, table: &str, column: &str) {
    if let Some(figures) = tables.get_mut(table).and_then(Value::as_object_mut) {
        figures.remove(column);
        figures.remove(&format!("{column}_count"));
    }
}

/// What is odd, and two requests of each kind, in files; two more in the log.
async fn make(format: &str) {
    let folder = formats().join(format);
    assert!(!folder.exists(), "{} is there already, and stays as it is", folder.display());
    let place = TempDir::new().unwrap();
    let scenario = Scenario::new(Options::default());
    let mut kinds = BTreeMap::<Vec<Table>, Vec<_>>::new();
    for request in scenario.slices().flat_map(|slice| requests(slice, 0)) {
        let of_kind = kinds.entry(request.rows.keys().copied().collect()).or_default();
        if of_kind.len() < 4 {
            of_kind.push(request);
        }
    }
    let half = |first: bool| {
        let of = kinds.values().flat_map(|of| of.iter().enumerate());
        of.filter(move |(at, _)| (*at < 2) == first).map(|(_, request)| request.clone())
    };
    let data = place.path().join("data");
    let made = nasty_data();
    let odd = made.path("data");
    fs::rename(&odd, &data).unwrap();
    for (is_first, end) in [(true, "-TERM"), (false, "-KILL")] {
        let mut settings = command(&data);
        settings.env("UPRIVER_COMMIT_INTERVAL", "1h");
        let serve = Serve::run(settings);
        send_all(&half(is_first).collect::<Vec<_>>(), &serve).await;
        serve.end(end);
    }
    for table in Table::ALL.into_iter().filter(|table| !table.is_former()) {
        // Where a table was made is said in its first entry, and nowhere used.
        let log = data.join("default").join(table.folder()).join("_delta_log");
        for entry in fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()) {
            let said = fs::read_to_string(&entry).unwrap();
            fs::write(&entry, said.replace(text(odd.parent().unwrap()), "/var/lib/upriver"))
                .unwrap();
        }
    }
    for lock in ["default/upriver.lock", "wal/upriver.lock"] {
        let _none = fs::remove_file(data.join(lock));
    }
    copy_folder(&data, &folder.join("data"));
    let known = serde_json::to_string_pretty(&contents(&data, None)).unwrap();
    fs::write(folder.join("tables.json"), known + "\n").unwrap();
}

#[tokio::test]
async fn folders_of_earlier_builds_are_read_as_they_were() {
    if let Some(format) = wanted() {
        make(&format).await;
    }
    let mut found = 0;
    for format in fs::read_dir(formats()).unwrap() {
        let format = format.unwrap().path();
        let place = TempDir::new().unwrap();
        let data = place.path().join("data");
        copy_folder(&format.join("data"), &data);
        let mut known: Map<String, Value> =
            serde_json::from_slice(&fs::read(format.join("tables.json")).unwrap()).unwrap();
        for table in Table::ALL {
            for column in table.former_columns() {
                forget(&mut known, table.folder(), column);
            }
        }
        let same = |expected: &Map<String, Value>, when: &str| {
            for (table, found) in contents(&data, Some(expected)) {
                assert_eq!(found, expected[&table], "{}, {table} {when}", format.display());
            }
        };
        same(&known, "as read");
        let spans = rows(&data, "SELECT count(*) AS n FROM spans")[0]["n"].clone();
        assert!(spans.as_u64() > Some(100), "{spans}");
        // A writer replays the log, adds the columns that are new, and puts files together.
        upriver(&["storage", "compact", "--data", text(&data)]).ended(0);
        let mut kept = known.clone();
        kept.retain(|name, _| Table::from_folder(name).is_some_and(|table| !table.is_rollup()));
        for table in known.keys() {
            for column in COMPLETED {
                forget(&mut kept, table, column);
            }
        }
        assert!(kept.len() > 8, "{kept:?}");
        same(&kept, "as written on");
        upriver(&["storage", "verify", "--data", text(&data)]).ended(0);
        let (tables, copy) = (place.path().join("tables"), place.path().join("copy"));
        let export = ["export", "--data", text(&data), "-o", text(&tables), "--format", "parquet"];
        upriver(&[&export[..], &ALWAYS].concat()).ended(0);
        upriver(&["import", text(&tables), "--data", text(&copy)]).ended(0);
        for (table, found) in contents(&copy, Some(&kept)) {
            assert_eq!(found, contents(&data, Some(&kept))[&table], "{table} exported");
        }
        found += 1;
    }
    assert!(found > 0, "no folder of an earlier build");
}
