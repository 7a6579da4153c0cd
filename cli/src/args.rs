//! What can be typed: clap types alone, no behaviour.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use upriver_ingest::server::Scope;
use upriver_store::place::Location;
use upriver_store::store::StoreOptions;

use crate::environment;

/// OpenTelemetry backend that says what upstream changed and made you slow.
#[derive(Debug, Parser)]
#[command(name = "upriver", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Receive OTLP, profiles and deploy events, and answer queries
    Serve(ServeArgs),
    /// Play an incident through real OTLP into an embedded server, then diagnose it
    Demo(DemoArgs),
    /// Say what changed and made a service slow
    Diagnose(DiagnoseArgs),
    /// Say whether a rollback brought every named signal back
    Verify(VerifyArgs),
    /// Run one SQL query, or a prompt
    Sql(SqlArgs),
    /// Read files or case folders into a data folder
    Import(ImportArgs),
    /// Write a range of time as a folder that can be imported elsewhere
    Export(ExportArgs),
    /// Changes to services
    #[command(subcommand)]
    Deploy(DeployCommand),
    /// The health of the tables
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Rule files
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Keys of senders and readers
    #[command(subcommand)]
    Key(KeyCommand),
}

/// `upriver serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file (YAML)
    #[arg(long, value_name = "FILE", env = "UPRIVER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where the tables are: a folder, or a bucket such as s3://bucket/prefix
    #[arg(long, value_name = "DIR|URL", env = "UPRIVER_DATA")]
    pub(crate) data: Option<String>,
    /// Folder of the write-ahead log; with a bucket it has to be given
    #[arg(long, value_name = "DIR", env = "UPRIVER_WAL")]
    pub(crate) wal: Option<PathBuf>,
    /// Address of OTLP/gRPC
    #[arg(long, value_name = "ADDRESS", env = "UPRIVER_OTLP_GRPC")]
    pub(crate) otlp_grpc: Option<String>,
    /// Address of OTLP/HTTP
    #[arg(long, value_name = "ADDRESS", env = "UPRIVER_OTLP_HTTP")]
    pub(crate) otlp_http: Option<String>,
    /// Address of profile push, deploys, SQL, health and metrics
    #[arg(long, value_name = "ADDRESS", env = "UPRIVER_API")]
    pub(crate) api: Option<String>,
    /// Cut bad frames out of the write-ahead log instead of refusing to start
    #[arg(long)]
    pub(crate) wal_repair: bool,
    /// Write the bound addresses to this file as JSON once everything listens
    #[arg(long, value_name = "FILE")]
    pub(crate) addresses_file: Option<PathBuf>,
}

/// `upriver demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Scenario to play
    #[arg(value_enum, default_value_t = ScenarioName::Checkout)]
    pub(crate) scenario: ScenarioName,
    /// Keep the data in this new or empty folder (default: a new folder below the system's temporary one)
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Seed of the generator
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Write the scenario as an importable case into this folder and stop
    #[arg(long, value_name = "DIR")]
    pub(crate) write_case: Option<PathBuf>,
}

/// The scenarios that `demo` plays.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ScenarioName {
    /// The checkout incident: an upstream deploy makes responses ten times larger
    Checkout,
    /// The same, with the allocations inside the serialiser
    NestedAllocation,
    /// The inflation starts an hour before the deploy
    InflationBeforeDeploy,
    /// The deploy happens and nothing gets slower
    DeployWithoutInflation,
    /// The inflation happens and nothing was deployed
    InflationWithoutDeploy,
    /// The checkout incident with hostile names
    HostileNames,
}

/// Where a reading command finds the data.
#[derive(Clone, Debug, Args)]
pub(crate) struct SourceArgs {
    /// A running server
    #[arg(long, value_name = "URL", env = "UPRIVER_SERVER", conflicts_with = "data")]
    pub(crate) server: Option<String>,
    /// Key to show the server; better given in the environment, where other users do not see it
    #[arg(long, value_name = "KEY", env = "UPRIVER_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// A data folder, or a bucket such as s3://bucket/prefix; no server is needed
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) data: Option<Location>,
    /// Partitions in which a query on a data folder runs (default: one per core)
    #[arg(long, value_name = "N", hide = true)]
    pub(crate) partitions: Option<usize>,
}

/// `upriver diagnose`
#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    /// Service with the symptom (default: every service is tested)
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Its operation: the server span's name
    #[arg(long, requires = "service")]
    pub(crate) operation: Option<String>,
    /// Diagnose as of this instant (RFC 3339); nothing later is read
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<jiff::Timestamp>,
    /// Length of the current window
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    pub(crate) window: jiff::SignedDuration,
    /// Latency that the symptom's percentile should have, if one was agreed
    #[arg(long, value_name = "DURATION")]
    pub(crate) objective: Option<jiff::SignedDuration>,
    /// Say on stderr how many queries it took, how many rows they read, and how long
    #[arg(long)]
    pub(crate) stats: bool,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = DocumentFormat::Text)]
    pub(crate) format: DocumentFormat,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// `upriver verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A deploy (`SERVICE@VERSION` or its id), or the id of a diagnosis
    #[arg(value_name = "DEPLOY|DIAGNOSIS")]
    pub(crate) subject: String,
    /// Judge as of this instant (RFC 3339); nothing later is read
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<jiff::Timestamp>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = DocumentFormat::Text)]
    pub(crate) format: DocumentFormat,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Forms of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentFormat {
    /// For a person at a terminal
    Text,
    /// The document itself
    Json,
    /// For a ticket
    Markdown,
}

/// `upriver sql`
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The query; without it, queries are read from standard input
    pub(crate) query: Option<String>,
    /// Form of the rows
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub(crate) format: RowFormat,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Forms of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// A table for a terminal
    Table,
    /// An array of objects
    Json,
    /// One object a line
    Jsonl,
    /// Comma-separated values with a header
    Csv,
}

/// `upriver import`
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Files (OTLP JSON lines, pprof, deploy events; plain, .gz or .zst), case folders, or exports
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) tables: TablesArgs,
    /// Service of profiles that are given as single files
    #[arg(long)]
    pub(crate) service: Option<String>,
}

/// `upriver export`
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// What this diagnosis read: its document (`-` for standard input), or the id of a stored one
    #[arg(required_unless_present = "from", conflicts_with_all = ["from", "to"])]
    pub(crate) diagnosis: Option<String>,
    /// First instant (RFC 3339)
    #[arg(long, value_name = "TIME", requires = "to")]
    pub(crate) from: Option<jiff::Timestamp>,
    /// The instant before which the range ends (RFC 3339)
    #[arg(long, value_name = "TIME", requires = "from")]
    pub(crate) to: Option<jiff::Timestamp>,
    /// Folder to write, new or empty
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Form of the files
    #[arg(long, value_enum, default_value_t = ExportFormat::Case)]
    pub(crate) format: ExportFormat,
    /// Compress lines with zstd
    #[arg(long)]
    pub(crate) compress: bool,
    /// Replace an earlier export
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// What other tools take: OTLP JSON lines, pprof, deploy events
    Case,
    /// Every row of every table as it is, as Parquet
    Parquet,
}

/// `upriver deploy`
#[derive(Debug, Subcommand)]
pub(crate) enum DeployCommand {
    /// List the changes, explicit and inferred
    List(DeployListArgs),
    /// Tell a running server of a change
    Record(DeployRecordArgs),
    /// Say whether a change made its service, or those that call it, worse
    Audit(DeployAuditArgs),
}

/// `upriver deploy audit`
#[derive(Debug, Args)]
pub(crate) struct DeployAuditArgs {
    /// A change: its id as `upriver deploy list` prints it, or `SERVICE@VERSION`
    #[arg(value_name = "DEPLOY")]
    pub(crate) subject: String,
    /// Judge as of this instant (RFC 3339); nothing later is read
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<jiff::Timestamp>,
    /// How long after the change is looked at, at most
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(crate) window: jiff::SignedDuration,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = DocumentFormat::Text)]
    pub(crate) format: DocumentFormat,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// `upriver deploy record`
#[derive(Debug, Args)]
pub(crate) struct DeployRecordArgs {
    /// What was changed, as it calls itself in `service.name`
    #[arg(long)]
    pub(crate) service: String,
    /// Its version after the change; of a setting or flag the revision
    #[arg(long)]
    pub(crate) version: String,
    /// Its version before (default: the one that was there before)
    #[arg(long, value_name = "VERSION")]
    pub(crate) previous_version: Option<String>,
    /// Where, such as `production`
    #[arg(long)]
    pub(crate) environment: Option<String>,
    /// What sort of change
    #[arg(long, value_enum, default_value_t = ChangeKind::Deploy)]
    pub(crate) kind: ChangeKind,
    /// When it began (RFC 3339; default: now)
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// When it ended (RFC 3339); leave it out while it goes on
    #[arg(long, value_name = "TIME")]
    pub(crate) end_time: Option<String>,
    /// The commit
    #[arg(long)]
    pub(crate) commit: Option<String>,
    /// Where to look it up
    #[arg(long)]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What sort of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChangeKind {
    /// A new version
    Deploy,
    /// An earlier version again
    Rollback,
    /// A setting
    Config,
    /// A feature flag
    #[value(name = "feature_flag")]
    FeatureFlag,
}

/// A running server.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// A running server
    #[arg(long, value_name = "URL", env = "UPRIVER_SERVER")]
    pub(crate) server: Option<String>,
    /// Key to show it; better given in the environment, where other users do not see it
    #[arg(long, value_name = "KEY", env = "UPRIVER_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
}

/// `upriver deploy list`
#[derive(Debug, Args)]
pub(crate) struct DeployListArgs {
    /// Only this service
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Form of the rows
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub(crate) format: RowFormat,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// `upriver key`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key up, and print it with the configuration that lets it in
    Create(KeyCreateArgs),
}

/// `upriver key create`
#[derive(Debug, Args)]
pub(crate) struct KeyCreateArgs {
    /// How its holder is called in logs
    #[arg(long)]
    pub(crate) name: String,
    /// What its holder may do
    #[arg(long = "scope", value_enum, value_delimiter = ',', required = true)]
    pub(crate) scopes: Vec<ScopeName>,
    /// Whose tables these are
    #[arg(long, default_value = "default")]
    pub(crate) tenant: String,
}

/// What a key's holder may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeName {
    /// Send spans, metrics, logs and profiles
    Telemetry,
    /// Record deploys and other changes
    Deploys,
    /// Query, diagnose and read metrics
    Read,
}

impl ScopeName {
    pub(crate) fn scope(self) -> Scope {
        match self {
            Self::Telemetry => Scope::Telemetry,
            Self::Deploys => Scope::Deploys,
            Self::Read => Scope::Read,
        }
    }
}

/// `upriver storage`
#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Files, rows and bytes of every table
    Status(StorageArgs),
    /// Merge small files into large sorted ones
    Compact(StorageArgs),
    /// Complete spans whose parents or children came in another commit
    Repair(StorageArgs),
    /// Read every file again, and compare it with its statistics and rollups with their rows
    Verify(StorageArgs),
}

/// Tables that a command reads or writes itself.
#[derive(Clone, Debug, Args)]
pub(crate) struct TablesArgs {
    /// Where the tables are: a folder, or a bucket such as s3://bucket/prefix
    #[arg(long, value_name = "DIR|URL", env = "UPRIVER_DATA", default_value = "./upriver-data")]
    pub(crate) data: Location,
    /// Folder of the write-ahead log; whoever writes to a bucket needs one
    #[arg(long, value_name = "DIR", env = "UPRIVER_WAL")]
    pub(crate) wal: Option<PathBuf>,
}

impl TablesArgs {
    /// How the tables are kept.
    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions {
            data: self.data.clone(),
            wal: self.wal.clone(),
            bucket: environment::bucket_options(),
            ..StoreOptions::default()
        }
    }
}

/// `upriver storage`
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    #[command(flatten)]
    pub(crate) tables: TablesArgs,
    /// Form of the rows
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub(crate) format: RowFormat,
}

/// `upriver rules`
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules of the library and of the given files
    List(RulesListArgs),
    /// Check rule files
    Check(RulesCheckArgs),
    /// Evaluate the rules once
    Run(RulesRunArgs),
}

/// `upriver rules list`
#[derive(Debug, Args)]
pub(crate) struct RulesListArgs {
    /// Rule files or folders besides the library
    pub(crate) paths: Vec<PathBuf>,
}

/// `upriver rules check`
#[derive(Debug, Args)]
pub(crate) struct RulesCheckArgs {
    /// Rule files or folders
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
}

/// `upriver rules run`
#[derive(Debug, Args)]
pub(crate) struct RulesRunArgs {
    /// Rule files or folders besides the library
    pub(crate) paths: Vec<PathBuf>,
    /// Evaluate as of this instant (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<jiff::Timestamp>,
    /// Form of the findings
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub(crate) format: RowFormat,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}
