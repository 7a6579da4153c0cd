//! Exports as Parquet: every row of every table comes back as it was, and bad folders leave nothing behind.

use super::*;
use crate::binary::copy_folder;

const LOGS: &str = "logs/part-00001.parquet";
const PARQUET: [&str; 2] = ["--format", "parquet"];

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("bundle.json")).unwrap()).unwrap()
}

fn write_manifest(folder: &Path, manifest: &Value) {
    fs::write(folder.join("bundle.json"), manifest.to_string()).unwrap();
}

fn files(manifest: &Value) -> &Vec<Value> {
    manifest["files"].as_array().unwrap()
}

#[track_caller]
fn same_figures(one: &Path, other: &Path, when: &str) {
    for table in Table::ALL {
        let (before, after) = (figures(one, table, &[]), figures(other, table, &[]));
        assert_eq!(before, after, "{} {when}", table.name());
    }
}

/// Spans and bodies came in files of their own, so their parts of a minute are rows of their own until
/// upkeep puts them together. It makes the hours too.
fn compact(data: &Path) {
    upriver(&["storage", "compact", "--data", text(data)]).ended(0);
}

#[test]
fn an_incident_comes_back_as_it_was_stored() {
    let imported = Imported::recent();
    let place = Place::new();
    let (data, output, copy) = (imported.data(), place.path("tables"), place.path("copy"));
    compact(&data);
    let export = ["export", "--data", text(&data), "-o", text(&output)];
    upriver(&[&export[..], &ALWAYS, &PARQUET].concat()).ended(0);
    let manifest = manifest(&output);
    assert_eq!(manifest["format"], "parquet");
    let listed = |table: &str| files(&manifest).iter().find(|file| file["of"] == table).unwrap();
    let spans = rows(&data, "SELECT count(*) AS n FROM spans")[0]["n"].clone();
    assert_eq!(listed("spans")["records"], spans);
    assert_eq!(listed("operation_minutes")["derived"], true);
    assert!(listed("spans")["derived"].is_null());
    place.import("tables", "copy");
    compact(&copy);
    same_figures(&data, &copy, "when imported");
    let again = upriver(&["import", text(&output), "--data", text(&copy)]);
    again.ended(0);
    let kept = files(&manifest).iter().filter(|file| file["derived"].is_null()).count();
    assert_eq!(again.err.matches("already in").count(), kept, "{}", again.err);
    same_figures(&data, &copy, "when imported twice");
    upriver(&["storage", "verify", "--data", text(&copy)]).ended(0);
    let diagnose = |data: &Path| {
        upriver(&["diagnose", "--at", &imported.at(), "--format", "json", "--data", text(data)])
    };
    let before = diagnose(&data);
    before.ended(1);
    assert_eq!(before.out, diagnose(&copy).out);
}

#[test]
fn nothing_that_is_stored_is_lost() {
    let place = nasty_data();
    let data = place.path("data");
    place.copy("data", "copy", &PARQUET);
    compact(&place.path("copy"));
    // Hours are made of the tables that were put together.
    let tables = Table::ALL.into_iter().filter(|table| table.minutes().is_none());
    same_rows(&data, &place.path("copy"), &tables.collect::<Vec<_>>(), &[]);
    // A server gives the same bytes, of rows that are not committed too, so that an import knows them.
    let serve = Serve::start(&data);
    let from_server = place.path("from-server");
    let export = ["export", "--server", &serve.api, "-o", text(&from_server)];
    upriver(&[&export[..], &ALWAYS, &PARQUET].concat()).ended(0);
    serve.end("-TERM");
    assert_eq!(manifest(&from_server), manifest(&place.path("data-to-copy")));
}

#[test]
fn exports_of_one_range_after_the_other_have_each_row_once() {
    let place = nasty_data();
    let (data, copy) = (place.path("data"), place.path("copy"));
    let [start, middle, end] = [ALWAYS[1], "2026-01-01T00:00:00.000000002Z", ALWAYS[3]];
    for (name, from, to) in [("one", start, middle), ("two", middle, end)] {
        let range = ["--from", from, "--to", to];
        place.export("data", name, &[&range[..], &PARQUET].concat()).ended(0);
        place.import(name, "copy");
    }
    let tables = Table::ALL.into_iter().filter(|table| !table.is_rollup()).collect::<Vec<_>>();
    same_rows(&data, &copy, &tables, &[]);
    for (table, sum) in [("operation_minutes", "span_count"), ("edge_minutes", "span_count")] {
        let sum = format!("SELECT sum({sum}) AS n FROM {table}");
        assert_eq!(rows(&data, &sum), rows(&copy, &sum), "{table}");
    }
    let sizes = "SELECT response_wire_bytes FROM edge_minutes WHERE source = 'metrics'";
    let sizes = [rows(&data, sizes), rows(&copy, sizes)];
    assert!(sizes[0].len() == 1 && sizes[0] == sizes[1], "{sizes:?}");
    upriver(&["storage", "verify", "--data", text(&copy)]).ended(0);
}

#[test]
fn minutes_whose_rows_are_gone_are_kept() {
    let place = nasty_data();
    place.export("data", "tables", &[&ALWAYS[..], &PARQUET].concat()).ended(0);
    let folder = place.path("tables");
    let mut changed = manifest(&folder);
    // As when retention took the rows.
    let listed = changed["files"].as_array_mut().unwrap();
    listed.retain(|file| file["of"].as_str().unwrap().ends_with("_minutes"));
    for file in listed {
        file["derived"] = Value::Bool(false);
    }
    write_manifest(&folder, &changed);
    place.import("tables", "old");
    place.copy("old", "older", &PARQUET);
    let minutes = Table::ALL.into_iter().filter(|table| table.is_rollup()).collect::<Vec<_>>();
    for copy in ["old", "older"] {
        same_rows(&place.path("data"), &place.path(copy), &minutes, &[]);
        assert_eq!(rows(&place.path(copy), "SELECT count(*) AS n FROM spans")[0]["n"], 0);
    }
    let exported = manifest(&place.path("old-to-older"));
    assert!(!exported.to_string().contains("derived"), "{exported}");
}

#[test]
fn a_bad_folder_is_refused_and_nothing_of_it_is_taken() {
    let place = nasty_data();
    let day = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z"];
    let good = place.path("good");
    place.export("data", "good", &[&day[..], &PARQUET].concat()).ended(0);
    type Spoil = fn(&Path, &mut Value);
    let cases: [(Spoil, &[&str]); 14] = [
        (|folder, _| cut(&folder.join(LOGS)), &["hash", "copy it again"]),
        (|folder, _| spoil(&folder.join("spans/part-00001.parquet")), &["not the file that was"]),
        (|folder, _| fs::remove_file(folder.join("spans/part-00001.parquet")).unwrap(), &["spans"]),
        (
            |_, all| change(all, "name", "../good/logs/part-00001.parquet"),
            &["outside of its folder"],
        ),
        (|_, all| change(all, "name", "/etc/passwd"), &["outside of its folder", "/etc/passwd"]),
        (|_, all| change(all, "name", ""), &["outside of its folder"]),
        (|_, all| change(all, "of", "spans"), &["logs/part-00001", "has no column"]),
        (|_, all| change(all, "of", "passwords"), &["a table `passwords`", "hint"]),
        (|_, all| change(all, "of", "edge_hours"), &["`edge_hours`", "made of minutes"]),
        (|_, all| change(all, "sha256", "00"), &["hash"]),
        (|_, all| log_file(all)["records"] = 2_000.into(), &["rows where `bundle.json` says 2000"]),
        (|_, all| all["files"][0]["derived"] = true.into(), &["not made of other rows"]),
        (|_, all| all["format"] = "orc".into(), &["\"orc\"", "does not know"]),
        (
            |_, all| {
                let again = log_file(all).clone();
                all["files"].as_array_mut().unwrap().push(again);
            },
            &["lists `logs/part-00001.parquet` twice"],
        ),
    ];
    for (spoil, expected) in cases {
        let bad = place.path("bad");
        let _old = fs::remove_dir_all(&bad);
        copy_folder(&good, &bad);
        let mut changed = manifest(&bad);
        spoil(&bad, &mut changed);
        write_manifest(&bad, &changed);
        let data = place.path("copy");
        upriver(&["import", text(&bad), "--data", text(&data)]).failed(expected);
        for table in Table::ALL.into_iter().filter(|_| data.is_dir()) {
            let count = format!("SELECT count(*) AS n FROM {}", table.folder());
            assert_eq!(rows(&data, &count)[0]["n"], 0, "{expected:?}: {}", table.name());
        }
    }
    let alone = good.join(LOGS);
    let copy = place.path("copy");
    upriver(&["import", text(&alone), "--data", text(&copy)]).failed(&["Parquet file by itself"]);
    place.export("data", "out", &[&["0123"][..], &PARQUET].concat()).failed(&["--from"]);
    // The good one is taken after all that.
    place.import("good", "copy");
    assert_eq!(rows(&copy, "SELECT count(*) AS n FROM logs")[0]["n"], 1);
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let place = nasty_data();
    let (good, bad) = (place.path("good"), place.path("bad"));
    place.export("data", "good", &[&ALWAYS[..], &PARQUET].concat()).ended(0);
    copy_folder(&good, &bad);
    fs::remove_file(bad.join(LOGS)).unwrap();
    std::os::unix::fs::symlink(good.join(LOGS), bad.join(LOGS)).unwrap();
    let copy = place.path("copy");
    upriver(&["import", text(&bad), "--data", text(&copy)]).failed(&["outside of its folder"]);
}

fn log_file(all: &mut Value) -> &mut Value {
    let files = all["files"].as_array_mut().unwrap().iter_mut();
    files.into_iter().find(|file| file["of"] == "logs").unwrap()
}

fn change(all: &mut Value, what: &str, to: &str) {
    log_file(all)[what] = to.into();
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn spoil(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}
