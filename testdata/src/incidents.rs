//! Labelled incidents from seeds over random topologies, for evaluating a diagnosis on what it has
//! never seen: some thirty-five kinds of incidents, healthy days and traps.
//!
//! A seed decides the topology, the traffic, the noise and the harmless deploys; a [`Family`] decides
//! what goes wrong in it. How strong it is, is drawn as a factor at the symptom, and the fault is made
//! stronger until trial requests show it. Nothing here knows how a diagnosis works.
//!
//! | module | holds |
//! |---|---|
//! | `topology` | services, operations, calls, databases, caches |
//! | `clock` | the instants of a case |
//! | `changes` | deploys with and without effect, versions of instances |
//! | `faults` | effects on requests, and the noise of minutes |
//! | `families`, `plan` | what happens in which kind of case, and what is true then |
//! | `world` | what holds at an instant |
//! | `requests`, `spans` | requests played through the topology, as OTLP spans |
//! | `calibration` | how strong a fault must be |
//! | `profiles`, `meters` | CPU profiles and metrics |
//! | `label`, `case` | what is true, and the importable folder |

mod calibration;
mod case;
mod changes;
mod clock;
mod families;
mod faults;
mod label;
mod meters;
mod plan;
mod profiles;
mod requests;
mod spans;
mod topology;
mod world;

pub use case::IncidentSummary;
pub use families::Family;
pub use label::{Cause, Effect, Expected, Label, Setting, Symptom};

use calibration::calibrate;
use changes::Changes;
use clock::{Clock, HOUR, SECOND, nanos};
use faults::Weather;
use plan::Plan;
use profiles::{Shift, ShiftKind};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use topology::Topology;
use world::World;

/// Spans of a case, roughly: some are small.
const SPANS: (f64, f64) = (60_000.0, 110_000.0);
/// Requests per second at the entry: with fewer no window holds enough, with more a case is large.
const RATE: (f64, f64) = (0.3, 3.0);
/// Factors at the symptom that are aimed at, with their weights.
const WANTED: [(f64, u32); 6] = [(1.15, 1), (1.3, 2), (1.5, 3), (2.0, 4), (3.0, 3), (4.5, 2)];
/// Shares of the traces that are kept.
const SAMPLED: [f64; 6] = [1.0, 1.0, 1.0, 0.5, 0.25, 0.1];
/// Hours before the onset without which a slow growth looks like a rise.
const HOURS_SEARCHED: u32 = 26;
/// Errors of clocks, in milliseconds.
const SKEW_MS: [f64; 4] = [0.0, 1.0, 5.0, 30.0];

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which kind of case.
    pub family: Family,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Hours of healthy traffic before it begins.
    pub history_hours: u32,
    /// Times the usual number of spans: less for tests, more for what size costs.
    pub size: f64,
    /// How much requests differ in what they ask for: the sigma of the logarithm of the work that each of
    /// them is. With 0 durations scatter as the sums of independent times that they are.
    pub scatter: f64,
    /// What no sender reports.
    pub without: Option<Attributes>,
}

/// Attributes of spans that some senders do not report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// Sizes of bodies.
    PayloadSizes,
    /// The service's version.
    Versions,
    /// The machine.
    Hosts,
}

impl Options {
    /// A case with two hours of history.
    pub fn new(family: Family, seed: u64) -> Self {
        Self { family, seed, history_hours: 2, size: 1.0, scatter: 0.0, without: None }
    }
}

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Topology = 0,
    Setting = 1,
    Plan = 2,
    Weather = 3,
    Decoys = 4,
    Trial = 5,
    Profiles = 6,
    Minutes = 7,
}

fn random(options: Options, purpose: Purpose, nth: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    random.set_stream(nth << 4 | purpose as u64);
    random
}

/// A case, ready to be generated.
#[derive(Debug)]
pub struct Incident {
    options: Options,
    world: World,
    plan: Plan,
    shifts: Vec<Shift>,
    setting: Setting,
}

impl Incident {
    /// The case of these options. The same options give the same case.
    pub fn new(options: Options) -> Self {
        let mut topology = Topology::random(&mut random(options, Purpose::Topology, 0));
        let mut drawn = random(options, Purpose::Setting, 0);
        let is_weekly = options.family.needs_last_week();
        let hours = if is_weekly {
            options.history_hours.max(HOURS_SEARCHED)
        } else {
            options.history_hours
        };
        let mut clock = Clock::random(i64::from(hours) * HOUR, &mut drawn);
        if is_weekly {
            clock = clock.with_last_week();
        }
        let setting = setting(options, &topology, &mut drawn);
        let skew = skews(setting.clock_skew_ms, topology.hosts.len(), &mut drawn);
        let of_family = options.family as u64;
        let mut of_plan = random(options, Purpose::Plan, of_family);
        let mut plan = Plan::new(options.family, &mut topology, &mut clock, &mut of_plan);
        let wanted = WANTED.choose_weighted(&mut of_plan, |w| w.1).map_or(2.0, |w| w.0);
        plan.changes.add_decoys(
            &topology,
            (clock.start, clock.at, setting.deploys_per_hour),
            &mut random(options, Purpose::Decoys, of_family),
        );
        plan.changes.number();
        let weather = Weather::random(
            topology.services.len(),
            (clock.start, clock.end),
            setting.minute_sigma,
            &mut random(options, Purpose::Weather, 0),
        );
        let mut world = World {
            mix: mix(&topology, plan.site.entry),
            rate: 0.0,
            slow_from: 0,
            topology,
            changes: plan.changes.clone(),
            faults: Vec::new(),
            weather,
            clock,
            clients_know_routes: drawn.random_bool(0.6),
            sampled: setting.sampled,
            scatter: options.scatter,
            skew,
        };
        world.rate = rate(&world, &mut drawn) * options.size;
        calibrate(&plan, &mut world, wanted, &random(options, Purpose::Trial, 0));
        if options.without == Some(Attributes::PayloadSizes) {
            world.topology.services.iter_mut().for_each(|service| service.reports_sizes = false);
        }
        let shifts = shifts(&plan);
        Self { options, world, plan, shifts, setting }
    }
}

fn setting(options: Options, topology: &Topology, random: &mut ChaCha8Rng) -> Setting {
    let deploys_per_hour = random.random_range(1_f64.ln()..12_f64.ln()).exp();
    Setting {
        depth: topology.layers,
        services: topology.services.len(),
        spans: 0,
        deploys_per_hour: match options.family {
            Family::HealthyBusy => 12.0,
            _ => deploys_per_hour,
        },
        sampled: SAMPLED.choose(random).copied().unwrap_or(1.0),
        clock_skew_ms: SKEW_MS.choose(random).copied().unwrap_or(0.0),
        minute_sigma: random.random_range(0.04..0.12),
    }
}

fn skews(sigma_ms: f64, hosts: usize, random: &mut ChaCha8Rng) -> Vec<i64> {
    let draw = |_| {
        let normal: f64 = StandardNormal.sample(random);
        nanos(normal.clamp(-2.0, 2.0) * sigma_ms)
    };
    (0..hosts).map(draw).collect()
}

/// Most of the requests ask for the operation in question.
fn mix(topology: &Topology, entry: usize) -> Vec<f64> {
    let others = topology.services[0].operations.len() - 1;
    let weight = |o| if o == entry { 0.7 } else { 0.3 / others.max(1) as f64 };
    (0..=others).map(weight).collect()
}

fn rate(world: &World, random: &mut ChaCha8Rng) -> f64 {
    let spans = random.random_range(SPANS.0..SPANS.1);
    let seconds = world.clock.recorded() as f64 / SECOND as f64;
    let of_request: f64 =
        world.mix.iter().enumerate().map(|(o, w)| w * world.topology.spans_of_entry(o)).sum();
    (spans / seconds / of_request).clamp(RATE.0, RATE.1)
}

/// What the profiles of the services in question show.
fn shifts(plan: &Plan) -> Vec<Shift> {
    let shift = |service, kind, factor| Shift { service, kind, factor, start: plan.onset };
    let target = plan.site.target;
    match plan.family {
        Family::PayloadGrowth => vec![shift(plan.site.caller, ShiftKind::Bodies, 3.5)],
        Family::RequestGrowth => vec![shift(target, ShiftKind::Bodies, 3.5)],
        Family::SlowCallee
        | Family::Canary
        | Family::ConfigChange
        | Family::FeatureFlag
        | Family::SimultaneousDeploys
        | Family::UnrecordedDeploy
        | Family::TwoCauses => vec![shift(target, ShiftKind::Code, 3.0)],
        Family::SlowEntry => vec![shift(0, ShiftKind::Code, 3.0)],
        Family::GcPressure | Family::Leak => vec![shift(target, ShiftKind::Collector, 5.0)],
        Family::LockContention => vec![shift(target, ShiftKind::Locks, 9.0)],
        Family::HealthyRefactor => vec![shift(target, ShiftKind::Refactor, 1.0)],
        _ => Vec::new(),
    }
}

/// Everything that the pipeline reported, and which of it matters.
pub(crate) fn must_not_blame(changes: &Changes, change: Option<usize>) -> Vec<String> {
    let harmless =
        changes.all.iter().enumerate().filter(|(i, c)| c.is_recorded && Some(*i) != change);
    let mut ids: Vec<String> = harmless.map(|(_, change)| change.deploy().id()).collect();
    ids.sort();
    ids
}
