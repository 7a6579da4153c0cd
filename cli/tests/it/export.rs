//! `upriver export`: what it writes gives the same rows again, and what it refuses.

mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use upriver_store::schema::{Column, Kind, Table};

use crate::binary::{Imported, Run, text, time, upriver, with_input};
use crate::server::{Serve, client};

/// Everything that there can be.
pub(crate) const ALWAYS: [&str; 4] =
    ["--from", "1960-01-01T00:00:00Z", "--to", "2300-01-01T00:00:00Z"];

/// Columns that a case does not bring back: ids of profiles are hashes of the bytes that came, and what
/// dangled in them is gone.
const NOT_KEPT: [&str; 2] = ["profile_id", "dangling_references"];

pub(crate) struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn import(&self, from: &str, data: &str) {
        upriver(&["import", text(&self.path(from)), "--data", text(&self.path(data))]).ended(0);
    }

    fn export(&self, data: &str, to: &str, arguments: &[&str]) -> Run {
        let (data, output) = (self.path(data), self.path(to));
        upriver(&[&["export", "--data", text(&data), "-o", text(&output)], arguments].concat())
    }

    /// Exports everything of one data folder and imports it into another.
    fn copy(&self, data: &str, copy: &str, arguments: &[&str]) {
        let name = format!("{data}-to-{copy}");
        let run = self.export(data, &name, &[&ALWAYS[..], arguments].concat());
        run.ended(0);
        assert!(!run.err.contains("warning"), "{}", run.err);
        assert!(run.out.is_empty(), "{}", run.out);
        self.import(&name, copy);
    }
}

pub(crate) fn rows(data: &Path, query: &str) -> Vec<Value> {
    let run = upriver(&["sql", "--format", "json", "--data", text(data), query]);
    run.json(0).as_array().unwrap().clone()
}

/// All rows of a table without some columns, in an order of their own. Rows of stacks are there at least
/// once a day, so different ones count.
fn all_rows(data: &Path, table: Table, without: &[&str]) -> Vec<String> {
    let is_repeated = matches!(table, Table::ProfileStacks | Table::ProfileStackFrames);
    let (distinct, time) = if is_repeated { ("DISTINCT ", "time") } else { ("", "") };
    let columns = table.columns().iter().map(|column| column.name);
    let columns = columns.filter(|name| !without.contains(name) && *name != time);
    let columns: Vec<_> = columns.map(|name| format!("\"{name}\"")).collect();
    let query = format!("SELECT {distinct}{} FROM {}", columns.join(", "), table.folder());
    let mut rows: Vec<_> = rows(data, &query).iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

/// Of each column how many values and different ones there are, and what they come to.
fn figures(data: &Path, table: Table, without: &[&str]) -> Value {
    figures_of(data, table, |column| !without.contains(&column))
}

/// The same of some columns.
pub(crate) fn figures_of(data: &Path, table: Table, is_kept: impl Fn(&str) -> bool) -> Value {
    let kept = table.columns().iter().filter(|column| is_kept(column.name));
    let figures = kept.flat_map(|Column { name, kind, .. }| {
        let count = format!("count(\"{name}\") AS \"{name}_count\"");
        // Sums as text: JSON would lose digits.
        let sum = |value: &str, digits| {
            format!("CAST(sum(CAST({value} AS DECIMAL(38, {digits}))) AS VARCHAR)")
        };
        let more = match kind {
            Kind::Int => sum(&format!("\"{name}\""), 0),
            Kind::Float => sum(&format!("nanvl(\"{name}\", 0.0)"), 9),
            Kind::Text => format!("count(DISTINCT \"{name}\") * 1000000 + sum(length(\"{name}\"))"),
            Kind::Attributes if *name == "attributes" => attributes_of(table),
            Kind::Attributes => format!("sum(cardinality(\"{name}\"))"),
            Kind::Histogram => format!("sum(\"{name}\"['sum']) + sum(\"{name}\"['count'])"),
            _ => format!("count(DISTINCT \"{name}\")"),
        };
        [count, format!("{more} AS \"{name}\"")]
    });
    let figures: Vec<_> = figures.collect();
    let query = format!("SELECT count(*) AS rows, {} FROM {}", figures.join(", "), table.folder());
    rows(data, &query)[0].clone()
}

/// How many attributes there are, in the map or as columns. Rows of earlier builds have some in both.
fn attributes_of(table: Table) -> String {
    let columns = table.attribute_columns().iter().map(|known| {
        let names: Vec<_> = [Some(known.attribute), known.older].into_iter().flatten().collect();
        let is_it = known.named_by.map(|name| format!("{name} = '{}' AND ", known.attribute));
        format!(
            " + count(*) FILTER (WHERE {}{} IS NOT NULL AND NOT array_has_any(map_keys(attributes), ['{}']))",
            is_it.unwrap_or_default(),
            known.column,
            names.join("', '")
        )
    });
    format!("sum(cardinality(attributes)){}", columns.collect::<String>())
}

#[track_caller]
fn same_rows(one: &Path, other: &Path, tables: &[Table], without: &[&str]) {
    for table in tables {
        let (before, after) = (all_rows(one, *table, without), all_rows(other, *table, without));
        let differ = before.iter().zip(&after).find(|(before, after)| before != after);
        if let Some((before, after)) = differ {
            panic!("{}:\n{before}\n{after}", table.name());
        }
        assert_eq!(before.len(), after.len(), "{}", table.name());
    }
}

const TRACES: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
 {"key":"service.name","value":{"stringValue":"shop \"ü\"\n"}},{"key":"service.version","value":{"doubleValue":1.5}},
 {"key":"process.pid","value":{"intValue":"7"}},{"key":"host.name","value":{"stringValue":"h"}},{"key":"empty"}]},
 "scopeSpans":[{"scope":{"name":"lib","version":"2"},"spans":[
 {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"f7ad6b7169203331","name":"GET /","kind":2,"flags":257,
  "traceState":"ot=th:8,x=y","startTimeUnixNano":"1767225600000000001","endTimeUnixNano":"1767225600100000003",
  "attributes":[{"key":"bytes","value":{"bytesValue":"AAH/"}},{"key":"list","value":{"arrayValue":{"values":[{"intValue":"1"},{"stringValue":"\u0001"},{}]}}},
   {"key":"map","value":{"kvlistValue":{"values":[{"key":"a","value":{"kvlistValue":{"values":[{"key":"b","value":{"boolValue":true}}]}}}]}}},
   {"key":"nan","value":{"doubleValue":"NaN"}},{"key":"nothing","value":{}},{"key":"text","value":{"stringValue":""}},
   {"key":"http.status_code","value":{"doubleValue":503.0}},{"key":"http.response.header.content-length","value":{"arrayValue":{"values":[{"stringValue":"1234"}]}}},
   {"key":"http.request.body.size","value":{"intValue":"77"}}],
  "events":[{"timeUnixNano":"0","name":"first"},{"timeUnixNano":"1767225600050000000","name":"exception","attributes":[{"key":"exception.type","value":{"stringValue":"E"}},{"key":"n","value":{"intValue":"-1"}}]},
   {"timeUnixNano":"9223372036854775807","name":"late","attributes":[{"key":"a","value":{"stringValue":"x"}}]}],
  "links":[{"traceId":"0af7651916cd43dd8448eb211c80319d","spanId":"0000000000000001"},{"traceId":"0af7651916cd43dd8448eb211c80319d","spanId":"8000000000000000"}],
  "droppedEventsCount":1,"status":{"code":2,"message":"no\tgood"}},
 {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"0000000000000002","parentSpanId":"f7ad6b7169203331","name":"rpc","kind":3,
  "startTimeUnixNano":"1767225600000000002","endTimeUnixNano":"1767225600000000009",
  "attributes":[{"key":"rpc.system","value":{"stringValue":"grpc"}},{"key":"peer.service","value":{"stringValue":"stock"}}],
  "events":[{"timeUnixNano":"1767225600000000003","name":"rpc.message","attributes":[{"key":"rpc.message.type","value":{"stringValue":"SENT"}},{"key":"rpc.message.uncompressed_size","value":{"doubleValue":12.0}}]},
   {"timeUnixNano":"1767225600000000004","name":"rpc.message","attributes":[{"key":"rpc.message.type","value":{"stringValue":"SENT"}},{"key":"rpc.message.uncompressed_size","value":{"intValue":"30"}}]}]},
 {"traceId":"0af7651916cd43dd8448eb211c80319e","spanId":"0000000000000003","name":"1970","kind":4,"startTimeUnixNano":"0","endTimeUnixNano":"5",
  "attributes":[{"key":"messaging.system","value":{"stringValue":"kafka"}},{"key":"messaging.destination.name","value":{"stringValue":"tmp-1"}},
   {"key":"messaging.destination.temporary","value":{"boolValue":true}},{"key":"messaging.operation.name","value":{"stringValue":"send"}}]},
 {"traceId":"0af7651916cd43dd8448eb211c80319f","spanId":"0000000000000004","name":"2262","kind":1,"startTimeUnixNano":"9223372036854775000","endTimeUnixNano":"18446744073709551615"}]},
 {"spans":[{"traceId":"0af7651916cd43dd8448eb211c8031a0","spanId":"0000000000000005","name":"","startTimeUnixNano":"1767225601000000000","endTimeUnixNano":"1767225600000000000"}]}]}]}"#;

const METRICS: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeMetrics":[{"scope":{"name":"m","version":"1.2"},"metrics":[
 {"name":"g","unit":"By","gauge":{"dataPoints":[{"timeUnixNano":"1767225600000000001","asInt":"-9223372036854775808"},{"timeUnixNano":"1767225600000000002","asDouble":0.1},
  {"timeUnixNano":"1767225600000000003","asDouble":"NaN"},{"timeUnixNano":"1767225600000000004","asDouble":-1e-300},{"timeUnixNano":"1767225600000000005","flags":1}]}},
 {"name":"s","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"startTimeUnixNano":"5","timeUnixNano":"1767225600000000001","asInt":"9007199254740993","attributes":[{"key":"k","value":{"boolValue":true}}],
  "exemplars":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"f7ad6b7169203331","asInt":"1"}]}]}},
 {"name":"d","sum":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"1767225600000000001","asDouble":0.30000000000000004}]}},
 {"name":"u","sum":{"dataPoints":[{"timeUnixNano":"1767225600000000001","asDouble":1}]}},
 {"name":"q_count","unit":"s","summary":{"dataPoints":[
  {"timeUnixNano":"1767225600000000001","count":"3","sum":1.5,"quantileValues":[{"quantile":0.5,"value":0.4},{"quantile":0.99,"value":"NaN"}],"attributes":[{"key":"k","value":{"stringValue":"a"}}]},
  {"timeUnixNano":"1767225600000000001","count":"3","sum":1.5,"quantileValues":[{"quantile":0.5,"value":0.4},{"quantile":0.99,"value":"NaN"}],"attributes":[{"key":"k","value":{"stringValue":"a"}}]},
  {"timeUnixNano":"1767225600000000001","count":"0","sum":0,"attributes":[{"key":"k","value":{"stringValue":"b"}}]}]}},
 {"name":"h","histogram":{"aggregationTemporality":1,"dataPoints":[{"startTimeUnixNano":"1767225600000000000","timeUnixNano":"1767225600000000001","count":"3","sum":4.5,"min":1,"max":2,"bucketCounts":["1","2"],"explicitBounds":[1.25]},
  {"timeUnixNano":"1767225600000000002","count":"0"}]}},
 {"name":"http.server.response.body.size","unit":"By","histogram":{"aggregationTemporality":1,"dataPoints":[{"startTimeUnixNano":"1767225540000000000","timeUnixNano":"1767225600000000001","count":"3","sum":450,"bucketCounts":["1","2"],"explicitBounds":[100],
  "attributes":[{"key":"http.route","value":{"stringValue":"/"}},{"key":"http.request.method","value":{"stringValue":"GET"}}]}]}},
 {"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1767225600000000001","count":"6","sum":-0.5,"scale":-3,"zeroCount":"1","zeroThreshold":1e-9,
  "positive":{"offset":-7,"bucketCounts":["1","0","2"]},"negative":{"offset":4,"bucketCounts":["2"]}}]}}]}]}]}"#;

const LOGS: &str = r#"{"resourceLogs":[{"resource":{},"scopeLogs":[{"logRecords":[
 {"timeUnixNano":"1767225600000000001","observedTimeUnixNano":"1767225600000000009","severityNumber":24,"severityText":"FATAL","body":{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"doubleValue":0.1},{"bytesValue":"AA=="}]}}}]}},
  "droppedAttributesCount":4294967295,"flags":1,"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"f7ad6b7169203331","eventName":"checkout.failed"},
 {"observedTimeUnixNano":"9223372036854775807","body":{"stringValue":""},"attributes":[{"key":"event.name","value":{"stringValue":"older"}}]},
 {"timeUnixNano":"1","body":{"boolValue":false}},{"timeUnixNano":"2"}]}]}]}"#;

const DEPLOYS: &str = r#"{"service":"shop","version":"2","previous_version":"1","environment":"prod","kind":"rollback","time_unix_nano":1767225600000000001,"end_unix_nano":1767225600000000002,"commit":"c","url":"https://x","description":"d","received_unix_nano":1767225600000000007,"attributes":{"by":"me","sevrice":"kept"}}
{"service":"shop","version":"r7","kind":"config","time":"2026-01-01T00:00:00Z"}
"#;

fn nasty() -> BTreeMap<&'static str, String> {
    let line = |text: &str| text.replace('\n', "") + "\n";
    BTreeMap::from([
        // Sent twice, as after a lost answer.
        ("traces.jsonl", line(TRACES) + &line(TRACES)),
        ("metrics.jsonl", line(METRICS)),
        ("logs.jsonl", line(LOGS)),
        ("deploys.jsonl", DEPLOYS.to_owned()),
    ])
}

pub(crate) fn nasty_data() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("case")).unwrap();
    for (name, content) in nasty() {
        fs::write(place.path("case").join(name), content).unwrap();
    }
    place.import("case", "data");
    place
}

const TELEMETRY: [Table; 8] = [
    Table::Spans,
    Table::SpanEvents,
    Table::FormerPayloadSizes,
    Table::Metrics,
    Table::MetricHistograms,
    Table::Logs,
    Table::Deploys,
    Table::OperationMinutes,
];

#[test]
fn whatever_was_sent_comes_back() {
    let place = nasty_data();
    place.copy("data", "copy", &[]);
    let (data, copy) = (place.path("data"), place.path("copy"));
    same_rows(&data, &copy, &[&TELEMETRY[..], &[Table::EdgeMinutes]].concat(), &[]);
    let counts = [("spans", 10), ("span_events", 10), ("metrics", 18), ("logs", 4), ("deploys", 2)];
    for (table, expected) in counts {
        let found = rows(&copy, &format!("SELECT count(*) AS n FROM {table}"));
        assert_eq!(found[0]["n"], expected, "{table}");
    }
    // Sizes of the status, of captured headers and of messages are the columns that they were.
    let sizes = "SELECT wire_bytes, uncompressed_bytes, count(*) AS n FROM payload_sizes GROUP BY 1, 2 ORDER BY 1, 2";
    let sizes = serde_json::to_string(&rows(&copy, sizes)).unwrap();
    for expected in ["\"wire_bytes\":77", "\"wire_bytes\":1234", "\"uncompressed_bytes\":42"] {
        assert!(sizes.contains(expected), "{sizes}");
    }
    // Exported again it is the same, byte for byte, so that an import knows it.
    place.copy("copy", "again", &[]);
    for name in ["traces.jsonl", "metrics.jsonl", "logs.jsonl", "deploys.jsonl"] {
        let read = |folder: &str| fs::read_to_string(place.path(folder).join(name)).unwrap();
        assert_eq!(read("data-to-copy"), read("copy-to-again"), "{name}");
    }
    assert_eq!(rows(&copy, "SELECT count(*) AS n FROM spans")[0]["n"], 10);
}

/// Requests of real senders and where they go; none where they are not beside the repository.
#[expect(clippy::print_stdout, reason = "what is left out is said")]
fn fixtures() -> Vec<(PathBuf, &'static str)> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = repository.parent().unwrap().join("shared/fixtures");
    if !folder.is_dir() {
        println!("left out: no fixtures at {}", folder.display());
        return Vec::new();
    }
    let mut found = Vec::new();
    for part in ["otlp", "otlp/captured", "pprof"] {
        for entry in fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is = |words: &[&str]| words.iter().any(|word| name.contains(word));
            let target = match () {
                () if is(&["expected", "index", "MANIFEST", "corrupt"]) || path.is_dir() => {
                    continue;
                }
                () if is(&[".traces.", "spec-trace"]) => "/v1/traces",
                () if is(&[".metrics.", "spec-metrics"]) => "/v1/metrics",
                () if is(&[".logs.", "spec-logs", "spec-events"]) => "/v1/logs",
                () if is(&["otel-ebpf-profile.", "otlp-profiles"]) => "/v1development/profiles",
                () if part == "pprof" => "/api/v1/profiles?service=pprof",
                () => continue,
            };
            found.push((path, target));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn requests_of_real_senders_come_back() {
    let fixtures = fixtures();
    if fixtures.is_empty() {
        return;
    }
    let place = Place::new();
    let serve = Serve::start(&place.path("data"));
    let mut taken = BTreeMap::<&str, usize>::new();
    for (path, target) in &fixtures {
        let body = fs::read(path).unwrap();
        let is_json = body.starts_with(b"{");
        let base = if target.starts_with("/api") { &serve.api } else { &serve.otlp_http };
        let request = client().post(format!("{base}{target}")).body(body);
        let kind = if is_json { "application/json" } else { "application/x-protobuf" };
        let answer = request.header("content-type", kind).send().await.unwrap();
        *taken.entry(target).or_default() += usize::from(answer.status().is_success());
    }
    assert!(taken.len() == 5 && taken.values().all(|taken| *taken >= 2), "{taken:?}");
    // From the server, rows that are not committed yet; then from the folder.
    let server = ["export", "--server", &serve.api, "-o"];
    let from_server = place.path("from-server");
    upriver(&[&server[..], &[text(&from_server)], &ALWAYS].concat()).ended(0);
    let (status, said) = serve.end("-TERM");
    assert_eq!(status.code(), Some(0), "{said}");
    place.copy("data", "copy", &[]);
    for name in ["traces.jsonl", "metrics.jsonl", "logs.jsonl", "profiles.jsonl"] {
        let read = |folder: &str| fs::read_to_string(place.path(folder).join(name)).unwrap();
        assert_eq!(read("from-server"), read("data-to-copy"), "{name}");
    }
    let (data, copy) = (place.path("data"), place.path("copy"));
    let (metrics, others): (Vec<_>, Vec<_>) = TELEMETRY
        .into_iter()
        .partition(|table| matches!(table, Table::Metrics | Table::MetricHistograms));
    same_rows(&data, &copy, &others, &[]);
    same_rows(&data, &copy, &metrics, &["series_id"]);
    // A series is known by its scope's attributes too, which only those of the specification have.
    for table in ["metrics", "metric_histograms"] {
        let series = format!(
            "SELECT DISTINCT series_id FROM {table} WHERE service_name <> 'my.service' ORDER BY 1"
        );
        let series = [rows(&data, &series), rows(&copy, &series)];
        assert!(series[0].len() > 2 && series[0] == series[1], "{table}");
    }
    let profiles = [Table::Profiles, Table::ProfileSamples];
    // Samples with several instants of their own are several in pprof.
    same_rows(&data, &copy, &profiles, &[&NOT_KEPT[..], &["sample_count"]].concat());
    let sample = "SELECT count(*) AS n, count(DISTINCT profile_id) AS profiles FROM profile_samples WHERE profile_id IN (SELECT profile_id FROM profiles)";
    assert_eq!(rows(&data, sample), rows(&copy, sample));
    // Every stack of a sample is what it was; stacks that measured nothing are gone.
    for table in [Table::ProfileStacks, Table::ProfileStackFrames] {
        let of = |data: &Path| BTreeSet::from_iter(all_rows(data, table, &[]));
        let (before, after) = (of(&data), of(&copy));
        let new: Vec<_> = after.difference(&before).take(3).collect();
        assert!(new.is_empty(), "{}: {new:?}", table.name());
        assert!(after.len() * 10 > before.len() * 9, "{}: {}", table.name(), after.len());
    }
    let lost = "SELECT count(*) AS n FROM profile_samples WHERE stack_id NOT IN (SELECT stack_id FROM profile_stacks)";
    assert_eq!(rows(&copy, lost)[0]["n"], 0);
}

#[test]
fn an_incident_comes_back_with_its_rollups_and_its_diagnosis() {
    let imported = Imported::recent();
    let place = Place::new();
    let (data, output) = (imported.data(), place.path("bundle"));
    upriver(&[&["export", "--data", text(&data), "-o", text(&output)], &ALWAYS[..]].concat())
        .ended(0);
    place.import("bundle", "copy");
    let copy = place.path("copy");
    for table in Table::ALL {
        let is_repeated = matches!(table, Table::ProfileStacks | Table::ProfileStackFrames);
        let without = if is_repeated { &["time"][..] } else { &NOT_KEPT };
        if is_repeated {
            assert_eq!(all_rows(&data, table, without), all_rows(&copy, table, without));
        } else {
            assert_eq!(
                figures(&data, table, without),
                figures(&copy, table, without),
                "{}",
                table.name()
            );
        }
    }
    let diagnose = |data: &Path| {
        upriver(&["diagnose", "--at", &imported.at(), "--format", "json", "--data", text(data)])
    };
    let (before, after) = (diagnose(&data), diagnose(&copy));
    before.ended(1);
    assert_eq!(before.out, after.out);
    upriver(&["storage", "verify", "--data", text(&copy)]).ended(0);
    // The same of what the diagnosis read alone, packed for a ticket.
    fs::write(place.path("document.json"), &before.out).unwrap();
    let (document, ticket) = (place.path("document.json"), place.path("ticket"));
    let export = ["export", text(&document), "--data", text(&data), "-o", text(&ticket)];
    upriver(&export).ended(0);
    assert_eq!(fs::read_to_string(ticket.join("diagnosis.json")).unwrap(), before.out);
    assert!(ticket.join("traces.jsonl.zst").is_file());
    let manifest: Value =
        serde_json::from_slice(&fs::read(ticket.join("bundle.json")).unwrap()).unwrap();
    assert_eq!(manifest["to"], imported.at());
    let id = serde_json::from_str::<Value>(&before.out).unwrap()["id"].clone();
    assert_eq!(manifest["diagnosis"], id);
    place.import("ticket", "reader");
    assert_eq!(diagnose(&place.path("reader")).out, before.out);
    let changes = "SELECT id, kind, source, service_name, service_version, previous_version FROM changes WHERE time < TIMESTAMP '2026-03-11T10:47:00Z' ORDER BY id";
    assert_eq!(rows(&place.path("reader"), changes), rows(&data, changes));
    assert!(
        manifest["files"].as_array().unwrap().iter().all(|file| file["name"] != "logs.jsonl.zst")
    );
    // From standard input it is the same.
    let piped = place.path("piped");
    let export = ["export", "-", "--data", text(&data), "-o", text(&piped)];
    with_input(&export, &before.out).ended(0);
    let read = |folder: &Path| fs::read(folder.join("traces.jsonl.zst")).unwrap();
    assert!(read(&ticket) == read(&piped), "the same bytes");
}

#[test]
fn a_range_is_from_an_instant_to_before_another() {
    let place = nasty_data();
    // The first span starts at the first nanosecond, its child a nanosecond later.
    let (from, to) = (time(1_767_225_600_000_000_001), time(1_767_225_600_000_000_002));
    place.export("data", "range", &["--from", &from, "--to", &to]).ended(0);
    place.import("range", "copy");
    let copy = place.path("copy");
    let spans = rows(&copy, "SELECT DISTINCT span_name FROM spans");
    assert_eq!(serde_json::to_string(&spans).unwrap(), r#"[{"span_name":"GET /"}]"#);
    // Its events come with it, whenever they were.
    assert_eq!(rows(&copy, "SELECT count(*) AS n FROM span_events")[0]["n"], 6);
    assert_eq!(rows(&copy, "SELECT count(*) AS n FROM logs")[0]["n"], 1);
}

#[test]
fn what_cannot_be_exported_is_said_and_leaves_nothing() {
    let place = nasty_data();
    let day = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z"];
    let swapped = [day[0], day[3], day[2], day[1]];
    place.export("data", "out", &swapped).failed(&["is not before"]);
    place.export("data", "out", &[day[0], day[1], day[2], day[1]]).failed(&["is not before"]);
    let empty = ["--from", "2025-01-01T00:00:00Z", "--to", "2025-01-02T00:00:00Z"];
    place.export("data", "out", &empty).failed(&["there is nothing from", "hint"]);
    place.export("nowhere", "out", &day).failed(&["there is no data folder"]);
    place.export("data", "out", &["0123"]).failed(&["no file and no stored diagnosis"]);
    let case = place.path("case/deploys.jsonl");
    place.export("data", "out", &[text(&case)]).failed(&["not the document of a diagnosis"]);
    let usage = [&[text(&case)][..], &day].concat();
    assert_eq!(place.export("data", "out", &usage).code, Some(2));
    assert_eq!(place.export("data", "out", &day[..2]).code, Some(2));
    let names = |folder: &Path| -> Vec<_> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(place.0.path()), ["case", "data"], "nothing is left behind");
    fs::create_dir(place.path("mine")).unwrap();
    place.export("data", "mine", &day).ended(0);
    let written = names(&place.path("mine"));
    assert!(written.contains(&"bundle.json".to_owned()), "{written:?}");
    place.export("data", "mine", &day).failed(&["`", "is not empty", "--force"]);
    fs::write(place.path("mine/old.txt"), "old").unwrap();
    place.export("data", "mine", &[&day[..], &["--force"]].concat()).ended(0);
    assert_eq!(names(&place.path("mine")), written, "it is replaced as a whole");
    // What is no export is never replaced.
    let forced = [&day[..], &["--force"]].concat();
    place.export("data", "case", &forced).failed(&["is no export"]);
    assert_eq!(names(&place.path("case")).len(), 4);
    assert_eq!(names(place.0.path()), ["case", "data", "mine"]);
}

/// A span a minute for eight days: version 1, for two hours on the fifth day version 2, and version 3 on
/// the last one.
fn eight_days() -> String {
    const MINUTE: i64 = 60_000_000_000;
    const START: i64 = 1_767_225_600_000_000_000;
    let version = |minute: i64| match minute {
        6_000..6_120 => "2",
        11_400.. => "3",
        _ => "1",
    };
    let span = |minute: i64| {
        let (start, id) = (START + minute * MINUTE + 7, minute + 1);
        format!(
            r#"{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}},{{"key":"service.version","value":{{"stringValue":"{}"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"{id:032x}","spanId":"{id:016x}","name":"GET /","kind":2,"startTimeUnixNano":"{start}","endTimeUnixNano":"{}"}}]}}]}}"#,
            version(minute),
            start + 1_000_000
        )
    };
    let minutes: Vec<i64> = (0..8 * 1_440).collect();
    let line = |day: &[i64]| {
        let spans: Vec<_> = day.iter().map(|minute| span(*minute)).collect();
        format!("{{\"resourceSpans\":[{}]}}\n", spans.join(","))
    };
    minutes.chunks(1_440).map(line).collect()
}

#[test]
fn of_the_days_in_between_a_diagnosis_takes_what_says_which_versions_ran() {
    let place = Place::new();
    fs::create_dir(place.path("case")).unwrap();
    fs::write(place.path("case/traces.jsonl"), eight_days()).unwrap();
    place.import("case", "data");
    let at = "2026-01-08T23:50:00Z";
    let diagnose =
        |data: &Path| upriver(&["diagnose", "--at", at, "--format", "json", "--data", text(data)]);
    let (data, copy) = (place.path("data"), place.path("copy"));
    let before = diagnose(&data);
    fs::write(place.path("document.json"), &before.out).unwrap();
    let document = place.path("document.json");
    place.export("data", "ticket", &[text(&document)]).ended(0);
    place.import("ticket", "copy");
    assert_eq!(diagnose(&copy).out, before.out);
    let changes = format!("SELECT * FROM changes WHERE time < TIMESTAMP '{at}' ORDER BY time, id");
    let known = rows(&data, &changes);
    assert_eq!(known.len(), 3, "{known:?}");
    assert_eq!(rows(&copy, &changes), known);
    // A day and seven hours, half an hour of last week, and the turns.
    let kept = rows(&copy, "SELECT count(*) AS n FROM spans")[0]["n"].as_i64().unwrap();
    assert!((1_860..2_500).contains(&kept), "{kept} spans");
}
