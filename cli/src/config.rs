//! Settings of the service: flag before environment before file before default.
//!
//! The file is YAML in the Collector's manner; unknown keys are refused with their line and the key
//! that was most likely meant. No file is needed to start.

mod access;
mod error;
mod file;
mod nearest;
mod unbuilt;
mod value;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use upriver_analyze::SessionOptions;
use upriver_ingest::server::{AccessOptions, DeploySecrets, Limits, WebhookSecret};
use upriver_store::faults::UnknownFault;
use upriver_store::store::{Compression, Durability, StoreOptions, StoredMinutes};

pub(crate) use access::{MemoryMark, TlsSettings, TlsVersion};
pub(crate) use error::ConfigError;
pub(crate) use value::Environment;

use error::Place;
use file::{Api, File, Given, Origin, Webhooks};

/// Where the tables are unless something else is said.
/// A request to a bucket takes longer and costs money; rows are readable before.
const COMMIT_INTERVAL_BUCKET: Duration = Duration::from_secs(30);
const DATA_DEFAULT: &str = "./upriver-data";
const GRPC_PORT: u16 = 4317;
const HTTP_PORT: u16 = 4318;
const API_PORT: u16 = 4040;

/// Everything that the service needs to run.
#[derive(Clone, Debug)]
pub(crate) struct ServeSettings {
    /// OTLP/gRPC.
    pub(crate) grpc: Endpoint,
    /// OTLP/HTTP.
    pub(crate) otlp_http: Endpoint,
    /// Profiles, deploys, SQL, health, metrics.
    pub(crate) api: Endpoint,
    /// Names besides loopback under which the service is reached.
    pub(crate) allowed_hosts: Vec<String>,
    /// Limits of the receivers.
    pub(crate) limits: Limits,
    /// What senders of webhooks have to know.
    pub(crate) deploy_secrets: DeploySecrets,
    /// Who may come in, and how often.
    pub(crate) access: AccessOptions,
    /// The soft and the hard mark of the memory limiter.
    pub(crate) memory: [MemoryMark; 2],
    /// The store.
    pub(crate) store: StoreOptions,
    /// Queries.
    pub(crate) query: SessionOptions,
    /// Whether changes are judged without being asked.
    pub(crate) deploy_audits: bool,
    /// The service's own log.
    pub(crate) logs: LogSettings,
    /// Keys that were given and do nothing yet.
    pub(crate) without_effect: Vec<&'static str>,
}

/// A listener.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Where it listens; port 0 takes a free one.
    pub(crate) address: SocketAddr,
    /// Origins of web pages that may send requests.
    pub(crate) origins: Vec<String>,
    /// How connections are encrypted, if they are.
    pub(crate) tls: Option<TlsSettings>,
}

/// The service's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// Least severe level that is written.
    pub(crate) level: tracing::Level,
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
}

/// What was said on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// `--data`
    pub(crate) data: Option<String>,
    /// `--wal`
    pub(crate) wal: Option<PathBuf>,
    /// `--otlp-grpc`
    pub(crate) otlp_grpc: Option<String>,
    /// `--otlp-http`
    pub(crate) otlp_http: Option<String>,
    /// `--api`
    pub(crate) api: Option<String>,
    /// `--wal-repair`
    pub(crate) wal_repair: bool,
}

impl ServeSettings {
    /// The defaults on free ports of loopback: for a server inside another command.
    pub(crate) fn embedded(data: PathBuf) -> Self {
        let mut settings = Self::default();
        settings.store.data = data.into();
        settings.deploy_audits = false;
        for endpoint in [&mut settings.grpc, &mut settings.otlp_http, &mut settings.api] {
            endpoint.address.set_port(0);
        }
        settings
    }

    /// The settings of a file, the environment and the command line together.
    pub(crate) fn load(
        path: Option<&Path>,
        environment: Environment<'_>,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?,
            None => String::new(),
        };
        let path = path.unwrap_or_else(|| Path::new("configuration"));
        let mut file = parse(path, &text)?;
        for (name, place) in ENVIRONMENT {
            if let Some(text) = environment(name) {
                *place(&mut file) = Some(Given { text, origin: Origin::Environment(name) });
            }
        }
        override_file(&mut file, overrides);
        let reader = Reader { path, environment };
        let mut settings = reader.settings(&file)?;
        settings.store.wal_repair = overrides.wal_repair;
        // For tests of this binary; a release takes no orders to fail.
        if cfg!(debug_assertions) {
            reader.faults(&mut settings.store)?;
        }
        Ok(settings)
    }
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            grpc: Endpoint::loopback(GRPC_PORT),
            otlp_http: Endpoint::loopback(HTTP_PORT),
            api: Endpoint::loopback(API_PORT),
            allowed_hosts: Vec::new(),
            limits: Limits::default(),
            deploy_secrets: DeploySecrets::default(),
            access: AccessOptions::default(),
            memory: access::MEMORY_DEFAULT,
            store: StoreOptions {
                data: PathBuf::from(DATA_DEFAULT).into(),
                ..StoreOptions::default()
            },
            query: SessionOptions::default(),
            deploy_audits: true,
            logs: LogSettings { level: tracing::Level::INFO, json: false },
            without_effect: Vec::new(),
        }
    }
}

impl Endpoint {
    fn loopback(port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { address, origins: Vec::new(), tls: None }
    }
}

/// A value's place in the file, made if it is not there.
type PlaceOf = fn(&mut File) -> &mut Option<Given>;

macro_rules! place {
    ($file:ident, $($section:ident).+ => $leaf:ident) => {
        &mut $file$(.$section.get_or_insert_default())+.$leaf
    };
}

/// Settings that the environment may give, besides the ones that are flags too.
const ENVIRONMENT: [(&str, PlaceOf); 16] = [
    ("UPRIVER_OTLP_GRPC_INSECURE", |f| place!(f, receivers.otlp.protocols.grpc => insecure)),
    ("UPRIVER_OTLP_HTTP_INSECURE", |f| place!(f, receivers.otlp.protocols.http => insecure)),
    ("UPRIVER_API_INSECURE", |f| place!(f, api => insecure)),
    ("UPRIVER_DURABILITY", |f| place!(f, storage => durability)),
    ("UPRIVER_WAL_COMPRESSION", |f| place!(f, storage => wal_compression)),
    ("UPRIVER_MINUTES", |f| place!(f, storage => minutes)),
    ("UPRIVER_COMMIT_INTERVAL", |f| place!(f, storage => commit_interval)),
    ("UPRIVER_SETTLE", |f| place!(f, storage => settle)),
    ("UPRIVER_HOT_MEMORY", |f| place!(f, storage => hot_memory)),
    ("UPRIVER_REFRESH_INTERVAL", |f| place!(f, storage => refresh_interval)),
    ("UPRIVER_MAINTENANCE_INTERVAL", |f| place!(f, storage => maintenance_interval)),
    ("UPRIVER_QUERY_MEMORY_LIMIT", |f| place!(f, query => memory_limit)),
    ("UPRIVER_QUERY_TIMEOUT", |f| place!(f, query => timeout)),
    ("UPRIVER_DEPLOY_AUDITS", |f| place!(f, rules => deploy_audits)),
    ("UPRIVER_LOG_LEVEL", |f| place!(f, service.telemetry.logs => level)),
    ("UPRIVER_LOG_ENCODING", |f| place!(f, service.telemetry.logs => encoding)),
];

fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let file: Option<File> =
        serde_saphyr::from_str(text).map_err(|error| error::malformed(path, &error))?;
    Ok(file.unwrap_or_default())
}

fn override_file(file: &mut File, overrides: &Overrides) {
    let wal = overrides.wal.as_ref().map(|path| path.to_string_lossy().into_owned());
    let flags: [(&'static str, &Option<String>, PlaceOf); 5] = [
        ("--data", &overrides.data, |f| place!(f, storage => path)),
        ("--wal", &wal, |f| place!(f, storage => wal)),
        (
            "--otlp-grpc",
            &overrides.otlp_grpc,
            |f| place!(f, receivers.otlp.protocols.grpc => endpoint),
        ),
        (
            "--otlp-http",
            &overrides.otlp_http,
            |f| place!(f, receivers.otlp.protocols.http => endpoint),
        ),
        ("--api", &overrides.api, |f| place!(f, api => endpoint)),
    ];
    for (name, value, place) in flags {
        if let Some(text) = value {
            *place(file) = Some(Given { text: text.clone(), origin: Origin::Flag(name) });
        }
    }
}

/// The keys of a listener.
struct EndpointKeys {
    endpoint: &'static str,
    insecure: &'static str,
    tls: &'static str,
}

/// Makes settings of what was given.
struct Reader<'a> {
    path: &'a Path,
    environment: Environment<'a>,
}

impl Reader<'_> {
    fn settings(&self, file: &File) -> Result<ServeSettings, ConfigError> {
        let without_effect = unbuilt::check(file, self)?;
        let mut settings = ServeSettings { without_effect, ..ServeSettings::default() };
        settings.access = self.access(&file.auth.clone().unwrap_or_default())?;
        (settings.access.rates, settings.memory) =
            self.limits(&file.limits.clone().unwrap_or_default())?;
        self.receivers(file, &mut settings)?;
        self.storage(file, &mut settings.store)?;
        if let Some(query) = &file.query {
            let limit = &mut settings.query.memory_limit_bytes;
            self.set("query.memory_limit", query.memory_limit.as_ref(), value::bytes, limit)?;
            let timeout = &mut settings.query.timeout;
            self.set("query.timeout", query.timeout.as_ref(), value::duration, timeout)?;
        }
        let audits = file.rules.as_ref().and_then(|rules| rules.deploy_audits.as_ref());
        let judged = &mut settings.deploy_audits;
        self.set("rules.deploy_audits", audits, value::boolean, judged)?;
        let service = file.service.clone().unwrap_or_default();
        let hosts = service.allowed_hosts.unwrap_or_default();
        settings.allowed_hosts = self.texts("service.allowed_hosts", &hosts)?;
        let logs = service.telemetry.and_then(|telemetry| telemetry.logs).unwrap_or_default();
        let level = &mut settings.logs.level;
        self.set("service.telemetry.logs.level", logs.level.as_ref(), log_level, level)?;
        let json = &mut settings.logs.json;
        self.set("service.telemetry.logs.encoding", logs.encoding.as_ref(), log_encoding, json)?;
        Ok(settings)
    }

    fn receivers(&self, file: &File, settings: &mut ServeSettings) -> Result<(), ConfigError> {
        let otlp = file.receivers.clone().unwrap_or_default().otlp.unwrap_or_default();
        let protocols = otlp.protocols.unwrap_or_default();
        let has_keys = !settings.access.keys.is_empty();
        let grpc = protocols.grpc.unwrap_or_default();
        let keys = EndpointKeys {
            endpoint: "receivers.otlp.protocols.grpc.endpoint",
            insecure: "receivers.otlp.protocols.grpc.insecure",
            tls: "receivers.otlp.protocols.grpc.tls",
        };
        settings.grpc.tls = self.tls(keys.tls, grpc.tls.as_ref())?;
        let given = (grpc.endpoint.as_ref(), grpc.insecure.as_ref());
        self.endpoint(&keys, given, has_keys, &mut settings.grpc)?;
        let limit = &mut settings.limits.grpc_message_bytes_max;
        let key = "receivers.otlp.protocols.grpc.max_recv_msg_size_mib";
        self.set(key, grpc.max_recv_msg_size_mib.as_ref(), mebibytes, limit)?;

        let http = protocols.http.unwrap_or_default();
        let keys = EndpointKeys {
            endpoint: "receivers.otlp.protocols.http.endpoint",
            insecure: "receivers.otlp.protocols.http.insecure",
            tls: "receivers.otlp.protocols.http.tls",
        };
        settings.otlp_http.tls = self.tls(keys.tls, http.tls.as_ref())?;
        let given = (http.endpoint.as_ref(), http.insecure.as_ref());
        self.endpoint(&keys, given, has_keys, &mut settings.otlp_http)?;
        let limit = &mut settings.limits.http_body_bytes_max;
        let key = "receivers.otlp.protocols.http.max_request_body_size";
        self.set(key, http.max_request_body_size.as_ref(), value::bytes, limit)?;
        let origins = http.cors.unwrap_or_default().allowed_origins.unwrap_or_default();
        let key = "receivers.otlp.protocols.http.cors.allowed_origins";
        settings.otlp_http.origins = self.texts(key, &origins)?;
        self.api(&file.api.clone().unwrap_or_default(), settings)
    }

    fn api(&self, api: &Api, settings: &mut ServeSettings) -> Result<(), ConfigError> {
        let keys =
            EndpointKeys { endpoint: "api.endpoint", insecure: "api.insecure", tls: "api.tls" };
        settings.api.tls = self.tls(keys.tls, api.tls.as_ref())?;
        let given = (api.endpoint.as_ref(), api.insecure.as_ref());
        let has_keys = !settings.access.keys.is_empty();
        self.endpoint(&keys, given, has_keys, &mut settings.api)?;
        let origins = api.cors.iter().flat_map(|cors| cors.allowed_origins.iter().flatten());
        let origins: Vec<_> = origins.cloned().collect();
        settings.api.origins = self.texts("api.cors.allowed_origins", &origins)?;
        let webhooks = api.webhooks.clone().unwrap_or_default();
        self.webhooks(&webhooks, &mut settings.deploy_secrets)
    }

    fn webhooks(&self, given: &Webhooks, secrets: &mut DeploySecrets) -> Result<(), ConfigError> {
        for (key, given, secret) in [
            ("api.webhooks.github_secret", &given.github_secret, &mut secrets.github),
            ("api.webhooks.gitlab_token", &given.gitlab_token, &mut secrets.gitlab),
            ("api.webhooks.flux_secret", &given.flux_secret, &mut secrets.flux),
        ] {
            self.set(key, given.as_ref(), webhook_secret, secret)?;
        }
        Ok(())
    }

    fn storage(&self, file: &File, store: &mut StoreOptions) -> Result<(), ConfigError> {
        let Some(storage) = &file.storage else { return Ok(()) };
        self.set("storage.path", storage.path.as_ref(), str::parse, &mut store.data)?;
        let wal = |text: &str| folder(text).map(Some);
        self.set("storage.wal", storage.wal.as_ref(), wal, &mut store.wal)?;
        let durability_given = storage.durability.as_ref();
        self.set("storage.durability", durability_given, durability, &mut store.durability)?;
        let packed = storage.wal_compression.as_ref();
        self.set("storage.wal_compression", packed, compression, &mut store.wal_compression)?;
        let minutes = storage.minutes.as_ref();
        self.set("storage.minutes", minutes, stored_minutes, &mut store.minutes)?;
        let interval = storage.commit_interval.as_ref();
        self.set(
            "storage.commit_interval",
            interval,
            positive_duration,
            &mut store.commit_interval,
        )?;
        if interval.is_none() && store.data.folder().is_none() {
            store.commit_interval = COMMIT_INTERVAL_BUCKET;
        }
        self.set("storage.settle", storage.settle.as_ref(), value::duration, &mut store.settle)?;
        let hot = storage.hot_memory.as_ref();
        self.set("storage.hot_memory", hot, value::bytes, &mut store.hot_bytes_max)?;
        let given = storage.refresh_interval.as_ref();
        let (key, refresh) = ("storage.refresh_interval", &mut store.refresh_interval);
        self.set(key, given, positive_duration, refresh)?;
        let given = storage.maintenance_interval.as_ref();
        let interval = &mut store.maintenance.interval;
        self.set("storage.maintenance_interval", given, value::duration, interval)?;
        self.retention(&storage.retention.clone().unwrap_or_default(), store)
    }

    fn retention(
        &self,
        given: &file::Retention,
        store: &mut StoreOptions,
    ) -> Result<(), ConfigError> {
        let retention = &mut store.maintenance.retention;
        for (key, given, kept) in [
            ("storage.retention.spans", &given.spans, &mut retention.spans),
            ("storage.retention.profiles", &given.profiles, &mut retention.profiles),
            ("storage.retention.metrics", &given.metrics, &mut retention.metrics),
            ("storage.retention.logs", &given.logs, &mut retention.logs),
            ("storage.retention.rollups", &given.rollups, &mut retention.rollups),
            ("storage.retention.changes", &given.changes, &mut retention.changes),
        ] {
            self.set(key, given.as_ref(), kept_for, kept)?;
        }
        Ok(())
    }

    fn faults(&self, store: &mut StoreOptions) -> Result<(), ConfigError> {
        const NAME: &str = "UPRIVER_FAULTS";
        let given =
            (self.environment)(NAME).map(|text| Given { text, origin: Origin::Environment(NAME) });
        let faults = |text: &str| text.parse().map_err(|unknown: UnknownFault| unknown.to_string());
        self.set("faults", given.as_ref(), faults, &mut store.faults)
    }

    /// Others than this machine are listened to where senders show who they are, or where somebody said
    /// that this is not needed.
    fn endpoint(
        &self,
        keys: &EndpointKeys,
        (endpoint, insecure): (Option<&Given>, Option<&Given>),
        has_keys: bool,
        setting: &mut Endpoint,
    ) -> Result<(), ConfigError> {
        self.set(keys.endpoint, endpoint, value::address, &mut setting.address)?;
        let mut allowed = false;
        self.set(keys.insecure, insecure, value::boolean, &mut allowed)?;
        let is_authenticated =
            has_keys || setting.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
        let is_fine = allowed || is_authenticated || setting.address.ip().is_loopback();
        let (Some(given), false) = (endpoint, is_fine) else {
            return Ok(());
        };
        let EndpointKeys { insecure, tls, .. } = keys;
        let what = format!(
            "{} can be reached from other machines by anyone; give keys in auth.keys or ask for client certificates with {tls}.client_ca_file, listen on 127.0.0.1, or set {insecure}: true if the network is trusted",
            setting.address
        );
        Err(ConfigError::Value {
            place: Place::of(self.path, &given.origin),
            key: keys.endpoint,
            what,
        })
    }

    /// Replaces the setting when a value is given.
    fn set<T>(
        &self,
        key: &'static str,
        given: Option<&Given>,
        read: impl Fn(&str) -> Result<T, String>,
        setting: &mut T,
    ) -> Result<(), ConfigError> {
        if let Some(given) = given {
            let text = self.text(key, given)?;
            *setting = read(&text).map_err(|what| self.value_error(key, given, what))?;
        }
        Ok(())
    }

    fn texts(&self, key: &'static str, given: &[Given]) -> Result<Vec<String>, ConfigError> {
        given.iter().map(|given| self.text(key, given)).collect()
    }

    /// The text of a value, references to the environment replaced.
    fn text(&self, key: &'static str, given: &Given) -> Result<String, ConfigError> {
        if matches!(given.origin, Origin::Line(_)) {
            let expanded = value::expand(&given.text, self.environment);
            return expanded.map_err(|what| self.value_error(key, given, what));
        }
        Ok(given.text.clone())
    }

    /// A section in which something is missing.
    fn incomplete(&self, key: &'static str, what: impl Into<String>) -> ConfigError {
        ConfigError::Incomplete { file: self.path.to_owned(), key, what: what.into() }
    }

    fn value_error(&self, key: &'static str, given: &Given, what: String) -> ConfigError {
        ConfigError::Value { place: Place::of(self.path, &given.origin), key, what }
    }
}

/// The text itself never stands in a message.
fn webhook_secret(text: &str) -> Result<Option<WebhookSecret>, String> {
    let wrong = "the secret is empty, which protects nothing; give one, or remove the key";
    WebhookSecret::new(text.to_owned()).map(Some).ok_or_else(|| wrong.to_owned())
}

/// A local folder.
fn folder(text: &str) -> Result<PathBuf, String> {
    if text.contains("://") {
        return Err(format!("{text:?}: the log is on a local disk; give a local folder"));
    }
    if text.is_empty() {
        return Err("the path is empty; give a local folder".to_owned());
    }
    Ok(PathBuf::from(text))
}

fn durability(text: &str) -> Result<Durability, String> {
    if let Some(interval) = text.strip_prefix("interval:") {
        return positive_duration(interval).map(Durability::Interval);
    }
    match text {
        "fsync" => Ok(Durability::Fsync),
        "none" => Ok(Durability::None),
        _ => Err(format!("{text:?} is not known; use fsync, interval:100ms or none")),
    }
}

fn stored_minutes(text: &str) -> Result<StoredMinutes, String> {
    match text {
        "all" => Ok(StoredMinutes::All),
        "dense" => Ok(StoredMinutes::Dense),
        _ => Err(format!("{text:?} is not known; use dense or all")),
    }
}

fn compression(text: &str) -> Result<Compression, String> {
    match text {
        "none" => Ok(Compression::None),
        "zstd" => Ok(Compression::Zstd),
        _ => Err(format!("{text:?} is not known; use none or zstd")),
    }
}

/// How long rows are kept; `None` is for ever.
fn kept_for(text: &str) -> Result<Option<Duration>, String> {
    if text == "forever" {
        return Ok(None);
    }
    let kept = value::duration(text).map_err(|wrong| format!("{wrong}, or `forever`"))?;
    if kept < Duration::from_hours(24) {
        return Err(format!(
            "{text:?} is too short: whole days are dropped, so give 1d or more, or `forever`"
        ));
    }
    Ok(Some(kept))
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = value::duration(text)?;
    if duration.is_zero() { Err("it must be longer than zero".to_owned()) } else { Ok(duration) }
}

fn mebibytes(text: &str) -> Result<usize, String> {
    let number: usize =
        text.parse().map_err(|_error| format!("{text:?} is not a whole number of mebibytes"))?;
    number.checked_mul(1 << 20).ok_or_else(|| format!("{text:?} is more than can be counted"))
}

fn log_level(text: &str) -> Result<tracing::Level, String> {
    text.parse()
        .map_err(|_error| format!("{text:?} is not a level; use error, warn, info, debug or trace"))
}

fn log_encoding(text: &str) -> Result<bool, String> {
    match text {
        "console" => Ok(false),
        "json" => Ok(true),
        _ => Err(format!("{text:?} is not known; use console or json")),
    }
}
