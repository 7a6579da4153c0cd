//! The configuration file as it may be written: the frame of keys. Every value is kept as text with
//! the line it stands on; what it means is decided when the settings are made of it.

use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// On this line of the file.
    Line(u64),
    /// In this environment variable.
    Environment(&'static str),
    /// With this flag.
    Flag(&'static str),
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// Its text.
    pub(crate) text: String,
    /// Where it was given.
    pub(crate) origin: Origin,
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { text: spanned.value, origin: Origin::Line(spanned.referenced.line()) })
    }
}

/// Something that is there, whatever it is: for keys that are known and not built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    /// The line it stands on.
    pub(crate) line: u64,
    /// Whether there is nothing in it.
    pub(crate) empty: bool,
}

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<serde_json::Value>::deserialize(deserializer)?;
        let empty = match &spanned.value {
            serde_json::Value::Null => true,
            serde_json::Value::Object(map) => map.is_empty(),
            serde_json::Value::Array(list) => list.is_empty(),
            _ => false,
        };
        Ok(Self { line: spanned.referenced.line(), empty })
    }
}

/// Makes a struct of the file: all keys optional, unknown ones refused, an empty section the same
/// as none.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name {
            $(pub(crate) $field: Option<$type>,)*
        }
    };
}

section!(
    /// The whole file.
    File {
        receivers: Receivers,
        api: Api,
        query: Query,
        storage: Storage,
        auth: Auth,
        limits: Limits,
        rules: Rules,
        notify: Present,
        service: Service,
    }
);
section!(
    /// `receivers:`
    Receivers { otlp: Otlp, }
);
section!(
    /// `receivers: otlp:`
    Otlp { protocols: Protocols, }
);
section!(
    /// `receivers: otlp: protocols:`
    Protocols { grpc: Grpc, http: Http, }
);
section!(
    /// `receivers: otlp: protocols: grpc:`
    Grpc {
        endpoint: Given,
        insecure: Given,
        max_recv_msg_size_mib: Given,
        tls: Tls,
        auth: Present,
    }
);
section!(
    /// `receivers: otlp: protocols: http:`
    Http {
        endpoint: Given,
        insecure: Given,
        max_request_body_size: Given,
        cors: Cors,
        tls: Tls,
        auth: Present,
    }
);
section!(
    /// `api:`
    Api {
        endpoint: Given,
        insecure: Given,
        cors: Cors,
        webhooks: Webhooks,
        tls: Tls,
        auth: Present,
    }
);
section!(
    /// `api: webhooks:`
    Webhooks { github_secret: Given, gitlab_token: Given, flux_secret: Given, }
);
section!(
    /// `cors:` of an HTTP listener.
    Cors { allowed_origins: Vec<Given>, }
);
section!(
    /// `query:`
    Query { postgres: SqlDoor, flight_sql: SqlDoor, memory_limit: Given, timeout: Given, }
);
section!(
    /// A SQL door of `query:`.
    SqlDoor { endpoint: Given, enabled: Given, }
);
section!(
    /// `storage:`
    Storage {
        path: Given,
        wal: Given,
        durability: Given,
        wal_compression: Given,
        minutes: Given,
        commit_interval: Given,
        settle: Given,
        hot_memory: Given,
        refresh_interval: Given,
        maintenance_interval: Given,
        retention: Retention,
    }
);
section!(
    /// `storage: retention:`
    Retention {
        spans: Given,
        profiles: Given,
        metrics: Given,
        logs: Given,
        rollups: Given,
        changes: Given,
    }
);
section!(
    /// `limits:`
    Limits {
        per_sender: Given,
        per_address: Given,
        burst: Given,
        loopback: Given,
        sizer: Given,
        memory_soft: Given,
        memory_hard: Given,
    }
);
section!(
    /// `auth:`
    Auth { keys: Vec<Key>, anonymous: Vec<Given>, }
);
section!(
    /// An entry of `auth: keys:`.
    Key { name: Given, hash: Given, scopes: Vec<Given>, tenant: Given, tenants: Vec<Given>, }
);
section!(
    /// `tls:` of a listener.
    Tls { cert_file: Given, key_file: Given, client_ca_file: Given, min_version: Given, }
);
section!(
    /// `rules:`
    Rules { paths: Present, library: Given, interval: Given, deploy_audits: Given, }
);
section!(
    /// `service:`
    Service { allowed_hosts: Vec<Given>, telemetry: Telemetry, }
);
section!(
    /// `service: telemetry:`
    Telemetry { logs: Logs, }
);
section!(
    /// `service: telemetry: logs:`
    Logs { level: Given, encoding: Given, }
);
