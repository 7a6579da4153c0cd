//! CPU profiles of checkout, as a continuous profiler takes them from each of its processes.

use super::fleet::{ENVIRONMENT, Instance, Service};
use super::stacks::{Group, Nesting, groups};
use super::timeline::{HOUR, MINUTE, SECOND, Timeline};
use super::{Purpose, Scenario, Variant};
use crate::pprof::{CpuProfile, Frame, cpu_profile};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Go's profiler interrupts a running thread 100 times per second.
const PERIOD: i64 = SECOND / 100;
/// Processor time of a process of checkout, as a share of the one processor that it may use.
const CORES_BUSY: f64 = 0.35;
const CORES_QUIET: f64 = 0.04;
/// Under pressure the same requests cost twice as much: the work outside the collector, the
/// allocator and the serialiser stays the same and falls from 90 to 45 % of the samples.
const PRESSURE_COST: f64 = 1.0;
/// Spread between profiles of a group's share; about as much again as counting samples brings.
const GROUP_SIGMA: f64 = 0.03;
/// A process is profiled this often through the week.
const QUIET_EVERY: i64 = HOUR;
const LENGTH: i64 = MINUTE;

/// A received profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileFile {
    /// What `profiles.jsonl` says about it.
    pub entry: ProfileEntry,
    /// The gzip pprof.
    pub bytes: Vec<u8>,
}

/// A line of `profiles.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileEntry {
    /// Path in the case folder.
    pub file: String,
    /// Service that was profiled.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Kind of profile: `cpu`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Start, in nanoseconds since 1970.
    pub time_unix_nano: i64,
    /// Length.
    pub duration_nano: i64,
    /// What the profiler says about the process.
    pub labels: BTreeMap<String, String>,
}

/// Processor time per second of a process of checkout at an instant.
pub(crate) fn cpu_cores(timeline: &Timeline, instant: i64) -> f64 {
    let cores = if timeline.is_busy(instant) { CORES_BUSY } else { CORES_QUIET };
    cores * (1.0 + PRESSURE_COST * timeline.pressure(instant))
}

/// The profilers of all processes.
#[derive(Debug)]
pub(crate) struct Profiler {
    groups: Vec<Group>,
}

impl Profiler {
    pub(crate) fn new(variant: Variant) -> Self {
        let nesting = match variant {
            Variant::NestedAllocation => Nesting::UnderMarshal,
            _ => Nesting::Disjoint,
        };
        Self { groups: groups(nesting) }
    }

    /// One profile of each process in a busy slice, of one process in some quiet ones.
    pub(crate) fn record(&self, scenario: &Scenario, start: i64, end: i64) -> Vec<ProfileFile> {
        let mut random = scenario.random(start, Purpose::Profiles);
        let slots = Service::Checkout.slots();
        let process = |slot| scenario.fleet.instance(Service::Checkout, slot, start);
        if scenario.timeline.is_busy(start) {
            (0..slots)
                .map(|slot| self.profile(scenario, process(slot), start, &mut random))
                .collect()
        } else if start.rem_euclid(QUIET_EVERY) < end - start {
            let slot = random.random_range(0..slots);
            vec![self.profile(scenario, process(slot), start, &mut random)]
        } else {
            Vec::new()
        }
    }

    fn profile(
        &self,
        scenario: &Scenario,
        process: Instance,
        start: i64,
        random: &mut ChaCha8Rng,
    ) -> ProfileFile {
        let timeline = &scenario.timeline;
        let seconds = LENGTH / SECOND;
        let pressure = (0..seconds).map(|s| timeline.pressure(start + s * SECOND)).sum::<f64>()
            / seconds as f64;
        let cores = cpu_cores(timeline, start + LENGTH / 2);
        let expected = cores * LENGTH as f64 / PERIOD as f64;
        let samples = self.samples(expected, pressure, random);
        let profile = CpuProfile {
            time_unix_nano: start,
            duration_nano: LENGTH,
            period_nano: PERIOD,
            binary: "/usr/local/bin/checkout",
        };
        let pod = scenario.fleet.pod(process);
        ProfileFile {
            entry: ProfileEntry {
                file: format!("profiles/{}-{pod}.pb.gz", start / SECOND),
                service: scenario.names.service(process.service).to_owned(),
                version: scenario.fleet.version(process).to_owned(),
                kind: "cpu".to_owned(),
                time_unix_nano: start,
                duration_nano: LENGTH,
                labels: BTreeMap::from([
                    ("deployment_environment_name".to_owned(), ENVIRONMENT.to_owned()),
                    ("service_instance_id".to_owned(), pod),
                ]),
            },
            bytes: cpu_profile(profile, &samples),
        }
    }

    /// Draws how often each stack was seen. Counts are Poisson, so the number of samples is too.
    fn samples(
        &self,
        expected: f64,
        pressure: f64,
        random: &mut ChaCha8Rng,
    ) -> Vec<(&[Frame], i64)> {
        let mut samples = Vec::new();
        for group in &self.groups {
            let z: f64 = random.sample(StandardNormal);
            let spread = (GROUP_SIGMA * z - GROUP_SIGMA * GROUP_SIGMA / 2.0).exp();
            let share = group.healthy + (group.inflated - group.healthy) * pressure;
            let weights: f64 = group.stacks.iter().map(|(weight, _)| weight).sum();
            for (weight, stack) in &group.stacks {
                let mean = expected * spread * share / 100.0 * weight / weights;
                let count = Poisson::new(mean).map_or(0.0, |counts| counts.sample(random));
                if count > 0.0 {
                    samples.push((stack.as_slice(), super::latency::whole(count)));
                }
            }
        }
        samples
    }
}
