use upriver_ingest::server::{KeyHash, RateLimits, Scope, Sizer};
use upriver_store::maintenance::Retention;
use upriver_store::place::Location;

use super::*;

const NO_ENVIRONMENT: Environment<'static> = &|_| None;

/// The settings of a file with this text.
fn load(text: &str) -> Result<ServeSettings, ConfigError> {
    load_with(text, NO_ENVIRONMENT, &Overrides::default())
}

fn load_with(
    text: &str,
    environment: Environment<'_>,
    overrides: &Overrides,
) -> Result<ServeSettings, ConfigError> {
    let (_folder, path) = written(text);
    ServeSettings::load(Some(&path), environment, overrides)
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upriver.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// The message of a file that is refused, with the folder of the test cut off.
fn refusal(text: &str) -> String {
    let message = load(text).unwrap_err().to_string();
    message.split_once("upriver.yaml").unwrap_or(("", message.as_str())).1.to_owned()
}

#[test]
fn no_file_is_needed() {
    let settings = ServeSettings::load(None, NO_ENVIRONMENT, &Overrides::default()).unwrap();
    assert_eq!(settings.grpc.address, "127.0.0.1:4317".parse().unwrap());
    assert_eq!(settings.otlp_http.address, "127.0.0.1:4318".parse().unwrap());
    assert_eq!(settings.api.address, "127.0.0.1:4040".parse().unwrap());
    assert_eq!(settings.store.data, Location::Folder("./upriver-data".into()));
    assert_eq!(settings.store.wal, None);
    assert_eq!(settings.store.commit_interval, Duration::from_secs(10));
    assert_eq!(settings.limits.http_body_bytes_max, 64 << 20);
    assert_eq!(settings.query.memory_limit_bytes, 2 << 30);
    assert_eq!(settings.query.timeout, Duration::from_mins(1));
    assert_eq!(settings.logs, LogSettings { level: tracing::Level::INFO, json: false });
}

/// The frame of the design with its defaults.
const FRAME: &str = r#"
receivers:
  otlp:
    protocols:
      grpc: { endpoint: "127.0.0.1:4317" }
      http: { endpoint: "127.0.0.1:4318" }
api: { endpoint: "127.0.0.1:4040" }
query:
  postgres: { endpoint: "127.0.0.1:5433" }
  flight_sql: { endpoint: "127.0.0.1:8815" }
  memory_limit: 2GiB
  timeout: 60s
storage:
  path: ./upriver-data
  durability: fsync
  commit_interval: 10s
  retention: { spans: 14d, profiles: 14d, logs: 7d, rollups: 400d }
limits: { per_sender: 1000, per_address: 100, burst: 5000, loopback: false }
rules: { paths: [], library: true, interval: 1m }
notify: {}
service: { telemetry: { logs: { level: info } } }
"#;

#[test]
fn the_documented_frame_is_the_default() {
    let settings = load(FRAME).unwrap();
    let defaults = ServeSettings::default();
    assert_eq!(format!("{:?}", settings.store), format!("{:?}", defaults.store));
    assert_eq!(format!("{:?}", settings.limits), format!("{:?}", defaults.limits));
    assert_eq!(format!("{:?}", settings.query), format!("{:?}", defaults.query));
    assert_eq!(settings.logs, defaults.logs);
    assert_eq!(settings.access.rates, defaults.access.rates);
    let silent = ["rules.interval", "rules.library"];
    assert!(silent.iter().all(|key| settings.without_effect.contains(key)));
}

#[test]
fn the_shipped_configuration_is_the_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/upriver.yaml");
    let settings = ServeSettings::load(Some(&path), NO_ENVIRONMENT, &Overrides::default()).unwrap();
    assert_eq!(format!("{settings:?}"), format!("{:?}", ServeSettings::default()));
}

#[test]
fn every_value_is_read() {
    let settings = load(
        r#"
receivers:
  otlp:
    protocols:
      grpc: { endpoint: "localhost:14317", max_recv_msg_size_mib: 8 }
      http:
        endpoint: "[::1]:14318"
        max_request_body_size: 1MB
        cors: { allowed_origins: ["https://shop.example"] }
api: { endpoint: "0.0.0.0:80", insecure: true, cors: { allowed_origins: ["*"] } }
query: { postgres: { enabled: false }, memory_limit: 512MiB, timeout: 1m30s }
storage: { path: /data, wal: /wal, durability: "interval:100ms", wal_compression: zstd, commit_interval: 500ms, hot_memory: 64MiB,
  settle: 2s, refresh_interval: 7s, maintenance_interval: 0s, retention: { spans: 3d, changes: forever } }
service:
  allowed_hosts: [upriver.internal]
  telemetry: { logs: { level: debug, encoding: json } }
"#,
    )
    .unwrap();
    assert_eq!(settings.grpc.address, "127.0.0.1:14317".parse().unwrap());
    assert_eq!(settings.otlp_http.address, "[::1]:14318".parse().unwrap());
    assert_eq!(settings.otlp_http.origins, ["https://shop.example"]);
    assert_eq!(settings.api.address, "0.0.0.0:80".parse().unwrap());
    assert_eq!(settings.api.origins, ["*"]);
    assert_eq!(settings.limits.grpc_message_bytes_max, 8 << 20);
    assert_eq!(settings.limits.http_body_bytes_max, 1_000_000);
    assert_eq!(settings.query.memory_limit_bytes, 512 << 20);
    assert_eq!(settings.query.timeout, Duration::from_secs(90));
    assert_eq!(settings.store.data, Location::Folder("/data".into()));
    assert_eq!(settings.store.wal, Some(PathBuf::from("/wal")));
    let durability = format!("{:?}", settings.store.durability);
    assert_eq!(durability, format!("{:?}", Durability::Interval(Duration::from_millis(100))));
    assert_eq!(settings.store.wal_compression, Compression::Zstd);
    assert_eq!(settings.store.commit_interval, Duration::from_millis(500));
    assert_eq!(settings.store.hot_bytes_max, 64 << 20);
    assert_eq!(settings.store.settle, Duration::from_secs(2));
    assert_eq!(settings.store.refresh_interval, Duration::from_secs(7));
    assert_eq!(settings.store.maintenance.interval, Duration::ZERO);
    let retention =
        Retention { spans: Some(Duration::from_hours(72)), changes: None, ..Retention::default() };
    assert_eq!(settings.store.maintenance.retention, retention);
    assert_eq!(settings.allowed_hosts, ["upriver.internal"]);
    assert_eq!(settings.logs, LogSettings { level: tracing::Level::DEBUG, json: true });
}

#[test]
fn a_bucket_is_committed_to_less_often() {
    let interval = |text: &str| load(text).unwrap().store.commit_interval.as_secs();
    assert_eq!(interval("storage: { path: ./data }"), 10);
    assert_eq!(interval("storage: { path: \"s3://bucket/x\" }"), 30);
    assert_eq!(interval("storage: { path: \"s3://bucket/x\", commit_interval: 5s }"), 5);
}

#[test]
fn secrets_of_webhooks_are_read_and_never_printed() {
    let environment = |name: &str| (name == "GITHUB_SECRET").then(|| "hush-1".to_owned());
    let text =
        "api: { webhooks: { github_secret: \"${env:GITHUB_SECRET}\", gitlab_token: hush-2 } }";
    let settings = load_with(text, &environment, &Overrides::default()).unwrap();
    let secrets = &settings.deploy_secrets;
    assert!(secrets.github.is_some() && secrets.gitlab.is_some() && secrets.flux.is_none());
    let printed = format!("{settings:?}");
    assert!(!printed.contains("hush"), "{printed}");
    for (text, expected) in [
        (
            "api:\n  webhooks:\n    github_sercet: x\n",
            ":3: unknown key `github_sercet`; did you mean `github_secret`?",
        ),
        (
            "api:\n  webhooks: { flux_secret: \"\" }\n",
            ":2: api.webhooks.flux_secret: the secret is empty, which protects nothing; give one, or remove the key",
        ),
        (
            "api: { webhooks: { gitlab_token: \"${env:NONE}\" } }",
            ":1: api.webhooks.gitlab_token: the environment variable NONE is not set",
        ),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn empty_sections_are_as_good_as_none() {
    for text in [
        "",
        "# nothing\n",
        "receivers:\n",
        "receivers:\n  otlp:\n    protocols:\n      grpc:\n      http:\n",
    ] {
        load(text).unwrap();
    }
}

#[test]
fn unknown_keys_are_refused_with_line_and_nearest_key() {
    for (text, expected) in [
        ("storage:\n  pth: /data\n", ":2: unknown key `pth`; did you mean `path`?"),
        ("\n\nstorrage: {}\n", ":3: unknown key `storrage`; did you mean `storage`?"),
        (
            "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpont: x\n",
            ":5: unknown key `endpont`; did you mean `endpoint`?",
        ),
        ("receivers:\n  jaeger: {}\n", ":2: unknown key `jaeger`; known here are otlp"),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn values_that_make_no_sense_are_refused_with_their_place() {
    for (text, expected) in [
        ("query:\n  timeout: soon\n", ":2: query.timeout: \"soon\" is not a duration"),
        ("query: { memory_limit: lots }\n", ":1: query.memory_limit: \"lots\" is not a size"),
        ("query: { memory_limit: 99999999999GiB }\n", "more than this machine can count"),
        ("storage: { durability: maybe }\n", "use fsync, interval:100ms or none"),
        ("storage: { wal_compression: lz4 }\n", "use none or zstd"),
        ("storage: { commit_interval: 0s }\n", "longer than zero"),
        ("storage: { retention: { logs: 1h } }\n", "give 1d or more, or `forever`"),
        ("storage: { retention: { logs: long } }\n", "write it as 10s, 5m or 14d, or `forever`"),
        ("storage: { path: \"ftp://host/prefix\" }\n", "`ftp` is not known"),
        ("storage: { wal: \"s3://bucket/prefix\" }\n", "the log is on a local disk"),
        ("storage: { path: \"\" }\n", "the path is empty"),
        ("api: { endpoint: \"upriver:4040\" }\n", "write an IP address and a port"),
        ("api: { endpoint: \"127.0.0.1:0\", insecure: maybe }\n", "neither true nor false"),
        ("service: { telemetry: { logs: { level: loud } } }\n", "use error, warn, info"),
        ("storage: [1, 2]\n", ":1: "),
        ("storage: {\n", ": "),
        ("storage: {}\nstorage: {}\n", ":2: duplicate"),
    ] {
        let message = refusal(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn listening_for_others_has_to_be_asked_for() {
    for (text, key) in [
        ("api: { endpoint: \"0.0.0.0:4040\" }", "api.insecure: true"),
        (
            "receivers: { otlp: { protocols: { grpc: { endpoint: \"[::]:4317\" } } } }",
            "receivers.otlp.protocols.grpc.insecure: true",
        ),
        (
            "receivers: { otlp: { protocols: { http: { endpoint: \"10.0.0.1:4318\" } } } }",
            "receivers.otlp.protocols.http.insecure: true",
        ),
    ] {
        let message = refusal(text);
        assert!(message.contains("reached from other machines by anyone"), "{message}");
        assert!(message.contains(key), "{message}");
    }
    let insecure = |name: &str| (name == "UPRIVER_API_INSECURE").then(|| "true".to_owned());
    let overrides = Overrides { api: Some("0.0.0.0:4040".into()), ..Overrides::default() };
    load_with("", &insecure, &overrides).unwrap();
    let refused = load_with("", NO_ENVIRONMENT, &overrides).unwrap_err().to_string();
    assert!(refused.starts_with("flag --api: api.endpoint: "), "{refused}");
}

#[test]
fn what_is_not_built_is_refused_unless_it_is_the_default() {
    for (text, expected) in [
        (
            "rules: { paths: [/rules] }",
            ":1: rules.paths: evaluating rules in the server is not built yet",
        ),
        (
            "rules: { interval: 5m }",
            "rules.interval: evaluating rules in the server is not built yet; remove the key, or leave it at 1m",
        ),
        ("notify: { slack: { url: x } }", "notify: sending notifications is not built yet"),
        (
            "query: { postgres: { endpoint: \"127.0.0.1:6000\" } }",
            "the Postgres door is not built yet",
        ),
        ("query: { flight_sql: { enabled: true } }", "the Flight SQL door is not built yet"),
        (
            "receivers: { otlp: { protocols: { grpc: { auth: { authenticator: x } } } } }",
            "receivers.otlp.protocols.grpc.auth: authentication by the listener (keys stand in auth.keys) is not built yet",
        ),
    ] {
        let message = refusal(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
    load("rules: { interval: 60s }").unwrap();
    load("api: { tls: }").unwrap();
}

#[test]
fn flag_before_environment_before_file_before_default() {
    let file = "storage: { commit_interval: 1s, path: /file }\nquery: { timeout: 1s }";
    let environment = |name: &str| (name == "UPRIVER_COMMIT_INTERVAL").then(|| "2s".to_owned());
    let overrides = Overrides { data: Some("/flag".into()), ..Overrides::default() };
    let settings = load_with(file, &environment, &overrides).unwrap();
    assert_eq!(settings.store.data, Location::Folder("/flag".into()));
    assert_eq!(settings.store.commit_interval, Duration::from_secs(2));
    assert_eq!(settings.query.timeout, Duration::from_secs(1));
    assert_eq!(settings.query.memory_limit_bytes, 2 << 30);
    let wrong = |name: &str| (name == "UPRIVER_QUERY_TIMEOUT").then(|| "soon".to_owned());
    let message = load_with("", &wrong, &Overrides::default()).unwrap_err().to_string();
    assert!(message.starts_with("environment variable UPRIVER_QUERY_TIMEOUT: query.timeout:"));
}

#[test]
fn references_to_the_environment_are_replaced_in_the_file_alone() {
    let environment = |name: &str| (name == "DATA").then(|| "/a: b # c".to_owned());
    let read = |text: &str| load_with(text, &environment, &Overrides::default());
    let path = |text: &str| read(text).unwrap().store.data;
    assert_eq!(
        path("storage: { path: \"${env:DATA}/x\" }"),
        Location::Folder("/a: b # c/x".into())
    );
    assert_eq!(
        path("storage: { path: \"${env:NONE:-/default}\" }"),
        Location::Folder("/default".into())
    );
    assert_eq!(path("storage: { path: \"/a$$b\" }"), Location::Folder("/a$b".into()));
    for (text, expected) in [
        ("storage: { path: \"${env:NONE}\" }", "the environment variable NONE is not set"),
        ("storage: { path: \"${file:x}\" }", "`${file:x}` is not known"),
        ("storage: { path: \"a$b\" }", "a `$` stands alone"),
    ] {
        let message = read(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
    let flag = Overrides { data: Some("/a$b".into()), ..Overrides::default() };
    let settings = load_with("", NO_ENVIRONMENT, &flag).unwrap();
    assert_eq!(settings.store.data, Location::Folder("/a$b".into()));
}

#[test]
fn a_missing_file_is_named() {
    let path = Path::new("/nowhere/upriver.yaml");
    let error = ServeSettings::load(Some(path), NO_ENVIRONMENT, &Overrides::default());
    assert!(error.unwrap_err().to_string().contains("/nowhere/upriver.yaml"));
}

#[test]
fn the_nearest_name_is_the_one_with_the_fewest_slips() {
    for (typed, expected) in [
        ("endpont", Some("endpoint")),
        ("ENDPOINT", Some("endpoint")),
        ("insecured", Some("insecure")),
        ("zzz", None),
    ] {
        assert_eq!(nearest::nearest(typed, &["endpoint", "insecure"]), expected, "{typed}");
    }
}

#[test]
fn keys_limits_and_certificates_are_read() {
    let hash = KeyHash::of("hush").to_string();
    let text = format!(
        "auth:\n  keys:\n    - {{ name: fleet, hash: \"{hash}\", scopes: [telemetry, deploys], tenant: shop, tenants: [lab] }}\n  anonymous: [read]\n\
         limits: {{ per_sender: 10, per_address: 5, burst: 7, loopback: true, sizer: bytes, memory_soft: 1GiB, memory_hard: 90% }}\n\
         api: {{ endpoint: \"0.0.0.0:4040\", tls: {{ cert_file: a.pem, key_file: a.key, min_version: \"1.3\" }} }}\n"
    );
    let settings = load(&text).unwrap();
    let key = &settings.access.keys[0];
    assert_eq!((key.name.as_str(), key.tenant.as_str()), ("fleet", "shop"));
    assert_eq!(key.other_tenants, ["lab"]);
    assert_eq!(key.scopes, [Scope::Telemetry, Scope::Deploys]);
    assert_eq!(key.hash, KeyHash::of("hush"));
    assert_eq!(settings.access.anonymous, [Scope::Read]);
    let rates = RateLimits {
        per_sender: 10,
        per_address: 5,
        burst: 7,
        loopback: true,
        sizer: Sizer::Bytes,
    };
    assert_eq!(settings.access.rates, rates);
    assert_eq!(settings.memory, [MemoryMark::Bytes(1 << 30), MemoryMark::Percent(90)]);
    let tls = settings.api.tls.unwrap();
    assert_eq!((tls.cert_file, tls.key_file), ("a.pem".into(), "a.key".into()));
    assert_eq!((tls.client_ca_file, tls.min_version), (None, TlsVersion::Tls13));
    assert_eq!(load("").unwrap().access.rates, RateLimits::default());
}

#[test]
fn keys_limits_and_certificates_that_make_no_sense_are_refused() {
    let hash = KeyHash::of("hush").to_string();
    let keys = |entry: &str| format!("auth:\n  keys:\n    - {entry}\n");
    for (text, expected) in [
        (keys("{ hash: x, scopes: [read] }"), "an entry has no name"),
        (keys("{ name: a, scopes: [read] }"), "an entry has no hash"),
        (keys(&format!("{{ name: a, hash: \"{hash}\" }}")), "an entry has no scopes"),
        (keys("{ name: a, hash: hush-hush, scopes: [read] }"), "64 hexadecimal digits"),
        (keys(&format!("{{ name: a, hash: \"{hash}\", scopes: [admin] }}")), "is not a scope"),
        (
            keys(&format!("{{ name: a, hash: \"{hash}\", scopes: [read], tenant: ../x }}")),
            "cannot be a tenant",
        ),
        (
            keys(&format!(
                "{{ name: a, hash: \"{hash}\", scopes: [read] }}\n    - {{ name: b, hash: \"{hash}\", scopes: [read] }}"
            )),
            "the key of \"b\" is there twice",
        ),
        ("limits: { per_sender: 0 }".to_owned(), "above zero"),
        ("limits: { sizer: spans }".to_owned(), "use requests, items or bytes"),
        ("limits: { memory_soft: 101% }".to_owned(), "is not a share"),
        ("api: { tls: { cert_file: a } }".to_owned(), "cert_file and key_file are needed"),
        (
            "api: { tls: { cert_file: a, key_file: b, min_version: \"1.1\" } }".to_owned(),
            "use 1.2 or 1.3",
        ),
    ] {
        let message = refusal(&text);
        assert!(message.contains(expected), "{text}: {message}");
        assert!(!message.contains("hush-hush"), "{message}");
    }
}

#[test]
fn keys_or_client_certificates_open_a_listener_to_others() {
    let hash = KeyHash::of("hush").to_string();
    let open = "api: { endpoint: \"0.0.0.0:4040\"";
    load(&format!(
        "auth: {{ keys: [{{ name: a, hash: \"{hash}\", scopes: [read] }}] }}\n{open} }}"
    ))
    .unwrap();
    let tls = "cert_file: a, key_file: b";
    load(&format!("{open}, tls: {{ {tls}, client_ca_file: c }} }}")).unwrap();
    // Encryption alone says nothing about who sends.
    let message = refusal(&format!("{open}, tls: {{ {tls} }} }}"));
    assert!(message.contains("client_ca_file"), "{message}");
}
