//! The checkout incident as a generator: eight days of a shop's traffic that end with an incident,
//! a rollback and the recovery.
//!
//! `inventory-service` rolls out a version whose responses carry 85 KB where they carried 8 KB.
//! `checkout` reads, prices and serialises ten times as much, its garbage collector and its
//! serialiser take over the processor, and `POST /checkout` goes from 240 ms to 1.4 s at the 99th
//! percentile. The same seed gives the same bytes, and requests draw the same random numbers in
//! every [`Variant`], so variants differ only in what they are about.
//!
//! | module | holds |
//! |---|---|
//! | [`timeline`](Timeline) | instants, traffic rates, how far the inflation has got |
//! | `names` | what services, operations and versions are called, plain and hostile |
//! | `fleet` | services, their instances, changes and versions over time |
//! | `latency` | the distributions, fitted to the story's figures |
//! | `traffic`, `spans` | requests of a slice as OTLP spans |
//! | `meters` | OTLP metrics |
//! | `profiles`, `stacks` | CPU profiles with the story's shares |
//! | `label`, `case` | what is true, and the importable folder |

mod case;
mod deploys;
mod fleet;
mod label;
mod latency;
mod meters;
mod names;
mod profiles;
mod spans;
mod stacks;
mod timeline;
mod traffic;

pub use case::{CaseError, CaseSummary};
pub use deploys::Deploy;
pub use label::{Cause, Expected, Label, Symptom};
pub use profiles::{ProfileEntry, ProfileFile};
pub use timeline::{Inflation, Interval, Timeline};

use fleet::Fleet;
use meters::Meters;
use names::Names;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use profiles::Profiler;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use timeline::{MINUTE, ROLLOUT_DEFAULT};

/// Which incident, or absence of one, is generated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Variant {
    /// The incident as it happened.
    #[default]
    Checkout,
    /// The incident with the same frame shares in the profiles, but `mallocgc` under `Marshal`: the
    /// union is 47 %, not 55 %.
    NestedAllocation,
    /// The inflation starts 60 minutes before the deploy, so it was not the deploy.
    InflationBeforeDeploy,
    /// The deploy without any inflation: a healthy day, nobody rolls back.
    DeployWithoutInflation,
    /// The inflation without a deploy of inventory and without a change of its version.
    InflationWithoutDeploy,
    /// The incident with service, operation and version names full of quotes, newlines, terminal
    /// escapes, shell, SQL and markup syntax.
    HostileNames,
}

impl Variant {
    /// Every variant, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::Checkout,
        Self::NestedAllocation,
        Self::InflationBeforeDeploy,
        Self::DeployWithoutInflation,
        Self::InflationWithoutDeploy,
        Self::HostileNames,
    ];

    /// Name of the variant in labels and folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::NestedAllocation => "nested_allocation",
            Self::InflationBeforeDeploy => "inflation_before_deploy",
            Self::DeployWithoutInflation => "deploy_without_inflation",
            Self::InflationWithoutDeploy => "inflation_without_deploy",
            Self::HostileNames => "hostile_names",
        }
    }
}

/// Sought among some 800 seeds for samples at the population's figures: 2.22x and 630 ms at 55 %, 1.89x
/// at 47 %. The first sixty range from 2.20x to 2.24x with a p99 up to 3 % away, and are as right: that
/// the demo meets the figures exactly says something about the seed and nothing about the diagnosis.
const SEED_DEFAULT: u64 = 647;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Which incident.
    pub variant: Variant,
    /// Start of inventory's rollout, in nanoseconds since 1970; every other instant follows from it.
    pub rollout_unix_nano: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self::new(Variant::default())
    }
}

impl Options {
    /// The variant with the default seed and the rollout at 10:31 on a fixed Wednesday.
    pub fn new(variant: Variant) -> Self {
        Self { seed: SEED_DEFAULT, variant, rollout_unix_nano: ROLLOUT_DEFAULT }
    }

    /// The same, moved so that the last request comes before `end_unix_nano`, on a whole minute.
    #[must_use]
    pub fn ending_by(self, end_unix_nano: i64) -> Self {
        let timeline = Timeline::new(self.variant, self.rollout_unix_nano);
        let shift = end_unix_nano.div_euclid(MINUTE) * MINUTE - timeline.end;
        Self { rollout_unix_nano: self.rollout_unix_nano + shift, ..self }
    }
}

/// A part of the scenario, some minutes long, as the services and people sent it in that time.
#[derive(Clone, Debug)]
pub struct Slice {
    /// First instant, in nanoseconds since 1970.
    pub start_unix_nano: i64,
    /// End of the slice, exclusive. Spans begin in the slice; the last may end after it.
    pub end_unix_nano: i64,
    /// Exports of spans, each from one instance of one service.
    pub traces: Vec<ExportTraceServiceRequest>,
    /// Exports of metrics, each from one sender.
    pub metrics: Vec<ExportMetricsServiceRequest>,
    /// Profiles that began in the slice.
    pub profiles: Vec<ProfileFile>,
    /// Changes whose rollout began in the slice.
    pub deploys: Vec<Deploy>,
}

impl Slice {
    /// Number of spans in the slice.
    pub fn span_count(&self) -> usize {
        self.traces
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans)
            .map(|scope| scope.spans.len())
            .sum()
    }
}

/// A scenario, ready to be generated.
#[derive(Clone, Debug)]
pub struct Scenario {
    options: Options,
    timeline: Timeline,
    names: Names,
    fleet: Fleet,
}

impl Scenario {
    /// The scenario of these options. Nothing is generated yet.
    pub fn new(options: Options) -> Self {
        let timeline = Timeline::new(options.variant, options.rollout_unix_nano);
        let names = Names::of(options.variant);
        let fleet = Fleet::new(&names, &timeline);
        Self { options, timeline, names, fleet }
    }

    /// The instants of the scenario.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// All changes to services, in time order.
    pub fn deploys(&self) -> Vec<Deploy> {
        self.fleet.deploys(&self.names)
    }

    /// What is true in this scenario.
    pub fn label(&self) -> Label {
        Label::of(self.options.variant, &self.timeline, &self.names, &self.deploys())
    }

    /// Generates the scenario in time order.
    pub fn slices(&self) -> Slices<'_> {
        Slices {
            scenario: self,
            next_start: self.timeline.start,
            deploys: self.deploys(),
            meters: Meters::new(&self.fleet, &self.names, self.timeline.start),
            profiler: Profiler::new(self.options.variant),
        }
    }

    /// Random numbers of one slice for one purpose. They depend on nothing else, so a slice comes
    /// out the same whatever comes before it.
    fn random(&self, slice_start: i64, purpose: Purpose) -> ChaCha8Rng {
        let minutes = (slice_start - self.timeline.rollout.start).div_euclid(MINUTE);
        let mut random = ChaCha8Rng::seed_from_u64(self.options.seed);
        random.set_stream(minutes.cast_unsigned().wrapping_mul(4) | purpose as u64);
        random
    }
}

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Traffic = 0,
    Browser = 1,
    Profiles = 2,
}

/// Iterator over the slices of a scenario; holds one at a time.
#[derive(Debug)]
pub struct Slices<'a> {
    scenario: &'a Scenario,
    next_start: i64,
    deploys: Vec<Deploy>,
    meters: Meters<'a>,
    profiler: Profiler,
}

impl Iterator for Slices<'_> {
    type Item = Slice;

    fn next(&mut self) -> Option<Slice> {
        let scenario = self.scenario;
        let start = self.next_start;
        if start >= scenario.timeline.end {
            return None;
        }
        let end = scenario.timeline.slice_end(start);
        self.next_start = end;
        let (traces, observed) = traffic::generate(scenario, start, end);
        let later = self.deploys.partition_point(|deploy| deploy.time_unix_nano < end);
        Some(Slice {
            start_unix_nano: start,
            end_unix_nano: end,
            traces,
            metrics: self.meters.export(scenario, &observed, (start, end)),
            profiles: self.profiler.record(scenario, start, end),
            deploys: self.deploys.drain(..later).collect(),
        })
    }
}
