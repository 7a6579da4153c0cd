//! The case as a folder: traffic minute by minute, metrics, profiles, changes and the label.

use super::changes::ENVIRONMENT;
use super::clock::{MINUTE, SECOND, count, whole};
use super::families::Family;
use super::faults::Effect as FaultEffect;
use super::label::{Effect, Expected, Label, Setting, Symptom};
use super::profiles::{LENGTH, instants, record};
use super::requests::{Player, Request, Sent, trace_state};
use super::spans::text;
use super::{Attributes, Incident, Purpose, must_not_blame, random};
use crate::case_folder::{CaseError, Lines, make_folder, write_file, write_label};
use crate::scenario::ProfileEntry;
use crate::{incidents::meters, scenario::Deploy};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use rand::Rng;
use rand::distr::weighted::WeightedIndex;
use rand_distr::{Distribution, Poisson};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const WINDOW_MINUTES: i64 = 15;
/// Healthy time that a label names: up to a minute before the onset.
const BASELINE: i64 = 60 * MINUTE;
/// Instants before the onset at which nothing is wrong yet.
const HEALTHY_BEFORE: [i64; 2] = [50 * MINUTE, 12 * MINUTE];
/// On healthy days every so often, once there is some history.
const HEALTHY_EVERY: i64 = 15 * MINUTE;
const HEALTHY_AFTER: i64 = 75 * MINUTE;
/// Slower by less than this, an incident need not be noticed.
const NOTICED: f64 = 1.2;
/// Services that are profiled beside those in question.
const PROFILED_MORE: usize = 1;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IncidentSummary {
    /// Number of spans.
    pub spans: usize,
    /// Number of profiles.
    pub profiles: usize,
    /// Number of reported changes.
    pub deploys: usize,
}

/// A minute of the case.
#[derive(Clone, Debug)]
struct Minute {
    traces: ExportTraceServiceRequest,
    /// Start and duration of requests with the symptom.
    durations: Vec<(i64, i64)>,
}

impl Incident {
    /// Generates the case into a folder, which is made if missing, and returns its label.
    pub fn write_case(&self, folder: &Path) -> Result<(IncidentSummary, Label), CaseError> {
        make_folder(&folder.join("profiles"))?;
        let clock = self.world.clock;
        let mut summary = IncidentSummary::default();
        let mut durations = Vec::new();
        let mut traces = Lines::compressed(folder.join("traces.jsonl.zst"))?;
        let mut metrics = Lines::compressed(folder.join("metrics.jsonl.zst"))?;
        let mut nth = 0;
        let mut start = clock.start;
        while start < clock.end {
            if !clock.is_recorded(start) {
                (start, nth) = (start + MINUTE, nth + 1);
                continue;
            }
            let minute = self.minute(nth, (start, (start + MINUTE).min(clock.end)));
            summary.spans += span_count(&minute.traces);
            durations.extend(minute.durations);
            traces.write_all([&minute.traces])?;
            metrics.write_all([&meters::export(&self.world, start + MINUTE - SECOND)])?;
            start += MINUTE;
            nth += 1;
        }
        traces.finish()?;
        metrics.finish()?;
        summary.profiles = self.write_profiles(folder)?;
        let deploys: Vec<Deploy> = self.world.changes.recorded();
        summary.deploys = deploys.len();
        let mut lines = Lines::plain(folder.join("deploys.jsonl"))?;
        lines.write_all(&deploys)?;
        lines.finish()?;
        let label = self.label(&durations, summary.spans);
        write_label(folder, &label)?;
        Ok((summary, label))
    }

    /// Requests that begin in a minute, as one batch that a Collector writes.
    fn minute(&self, nth: u64, (start, end): (i64, i64)) -> Minute {
        let world = &self.world;
        let mut drawn = random(self.options, Purpose::Minutes, nth);
        let expected = world.rate_at(start) * (end - start) as f64 / SECOND as f64;
        let requests =
            Poisson::new(expected.max(1e-6)).map_or(0.0, |counts| counts.sample(&mut drawn));
        let mut starts: Vec<i64> =
            (0..whole(requests)).map(|_| drawn.random_range(start..end)).collect();
        starts.sort_unstable();
        let mix = WeightedIndex::new(world.mix_at(start)).ok();
        let operations: Vec<usize> =
            starts.iter().map(|_| mix.as_ref().map_or(0, |mix| mix.sample(&mut drawn))).collect();
        let kept: Vec<f64> = starts.iter().map(|_| drawn.random()).collect();
        let mut player = Player::new(world, drawn);
        let mut durations = Vec::new();
        let mut senders: BTreeMap<(usize, usize, usize), Vec<Span>> = BTreeMap::new();
        for ((instant, operation), kept) in starts.into_iter().zip(operations).zip(kept) {
            let request = player.play(operation, instant);
            if request.operation == self.plan.site.entry {
                durations.push((request.start, request.duration));
            }
            let is_fast = request.duration < world.slow_from;
            if !(is_fast && kept >= world.fast_kept(instant)) {
                self.send(request, &mut senders);
            }
        }
        let resource_spans = senders.into_iter().map(|(sender, spans)| self.batch(sender, spans));
        let traces = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        Minute { traces, durations }
    }

    fn send(&self, request: Request, senders: &mut BTreeMap<(usize, usize, usize), Vec<Span>>) {
        let state = trace_state(self.world.sampled);
        for Sent { service, instance, mut span } in request.spans {
            if self.world.loses_spans(service, request.start) {
                continue;
            }
            span.trace_state = state.clone().unwrap_or_default();
            let version = self.world.changes.version(service, instance, request.start).1;
            senders.entry((service, instance, version)).or_default().push(span);
        }
    }

    fn batch(
        &self,
        (service, instance, process): (usize, usize, usize),
        spans: Vec<Span>,
    ) -> ResourceSpans {
        let topology = &self.world.topology;
        let of = &topology.services[service];
        let version = match process {
            0 => "1.0.0",
            change => &self.world.changes.all[change - 1].version,
        };
        let mut attributes = vec![
            text("service.name", &of.name),
            text("service.version", version),
            text("service.instance.id", &format!("{}-{process}-{instance}", of.name)),
            text("host.name", &topology.hosts[of.instances[instance]]),
            text("deployment.environment.name", ENVIRONMENT),
            text("telemetry.sdk.language", "go"),
        ];
        let left_out = match self.options.without {
            Some(Attributes::Versions) => "service.version",
            Some(Attributes::Hosts) => "host.name",
            Some(Attributes::PayloadSizes) | None => "",
        };
        attributes.retain(|attribute| attribute.key != left_out);
        let scope =
            InstrumentationScope { name: "http".to_owned(), ..InstrumentationScope::default() };
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    }

    fn write_profiles(&self, folder: &Path) -> Result<usize, CaseError> {
        let mut entries = Vec::new();
        let clock = self.world.clock;
        for service in self.profiled() {
            let mut drawn = random(self.options, Purpose::Profiles, service as u64);
            let taken = instants(clock.start, clock.at, &mut drawn);
            for instant in taken.into_iter().filter(|instant| clock.is_recorded(*instant)) {
                let (version, _) = self.world.changes.version(service, 0, instant);
                let work = self.world.own_factor((service, 0), instant)
                    * self.world.rate_at(instant)
                    / self.world.rate;
                let holds = |shift: &&super::Shift| {
                    shift.service == service && instant + LENGTH / 2 >= shift.start
                };
                let shifts: Vec<_> = self.shifts.iter().filter(holds).copied().collect();
                let bytes = record(instant, work.min(3.0), &shifts, &mut drawn);
                let name = &self.world.topology.services[service].name;
                let entry = ProfileEntry {
                    file: format!("profiles/{}-{name}.pb.gz", instant / SECOND),
                    service: name.clone(),
                    version: version.to_owned(),
                    kind: "cpu".to_owned(),
                    time_unix_nano: instant,
                    duration_nano: LENGTH,
                    labels: BTreeMap::new(),
                };
                write_file(&folder.join(&entry.file), &bytes)?;
                entries.push(entry);
            }
        }
        let mut lines = Lines::plain(folder.join("profiles.jsonl"))?;
        lines.write_all(&entries)?;
        lines.finish()?;
        Ok(entries.len())
    }

    /// The entry, the services in question and some more, as far as they are instrumented.
    fn profiled(&self) -> BTreeSet<usize> {
        let site = &self.plan.site;
        let more = site.others.iter().take(PROFILED_MORE).copied();
        let services = [0, site.target, site.caller].into_iter().chain(more);
        services.filter(|s| self.world.topology.services[*s].is_instrumented).collect()
    }

    fn label(&self, durations: &[(i64, i64)], spans: usize) -> Label {
        let (clock, family) = (self.world.clock, self.plan.family);
        let topology = &self.world.topology;
        let is_incident = !family.is_healthy();
        let onset = is_incident.then_some(clock.onset);
        let baseline = [clock.onset - BASELINE, clock.onset - MINUTE];
        let effect = effect(
            durations,
            baseline,
            (clock.onset.max(clock.at - WINDOW_MINUTES * MINUTE), clock.at),
        );
        let slowed = self.world.faults.iter().find_map(|fault| match fault.effect {
            FaultEffect::OwnTime { service, .. } if is_incident => Some(service),
            _ => None,
        });
        Label {
            family: family.name().to_owned(),
            seed: self.options.seed,
            expected: self.expected(effect),
            symptom: is_incident.then(|| Symptom {
                service: topology.services[0].name.clone(),
                operation: topology.services[0].operations[self.plan.site.entry].name(),
            }),
            onset_unix_nano: onset,
            diagnose_at_unix_nano: clock.at,
            healthy_at_unix_nano: self.healthy_instants(),
            window: format!("{WINDOW_MINUTES}m"),
            window_minutes: WINDOW_MINUTES,
            baseline_window_unix_nano: baseline,
            effect: effect.filter(|_| is_incident),
            slowed_service: slowed.map(|service| topology.services[service].name.clone()),
            services: topology.services.iter().filter(|s| s.is_instrumented).count(),
            setting: Setting { spans, ..self.setting.clone() },
            profile_evidence: !self.shifts.is_empty(),
            payload_evidence: matches!(family, Family::PayloadGrowth | Family::RequestGrowth),
            source: "generated".to_owned(),
        }
    }

    fn healthy_instants(&self) -> Vec<i64> {
        let clock = self.world.clock;
        match self.plan.family {
            Family::HealthyDay | Family::HealthyBusy | Family::HealthyRefactor => {
                let first = clock.start + HEALTHY_AFTER;
                (0..(clock.at - first) / HEALTHY_EVERY).map(|n| first + n * HEALTHY_EVERY).collect()
            }
            Family::Leak => Vec::new(),
            Family::HealthySpike => vec![clock.onset - HEALTHY_BEFORE[0]],
            _ => HEALTHY_BEFORE.iter().map(|before| clock.onset - before).collect(),
        }
    }

    fn expected(&self, effect: Option<Effect>) -> Expected {
        let mut causes = self.plan.causes(&self.world.topology);
        let is_found = effect.is_some_and(|effect| effect.ratio >= NOTICED);
        let verdict: &[&str] = match self.plan.family {
            Family::TelemetryLoss => &["healthy", "inconclusive"],
            Family::TailSampling => &["healthy", "inconclusive", "likely", "confirmed"],
            family if family.is_healthy() => &["healthy"],
            _ if is_found => &["confirmed", "likely"],
            _ => &["confirmed", "likely", "inconclusive", "healthy"],
        };
        let root_cause = (!causes.is_empty()).then(|| causes.remove(0));
        Expected {
            verdict: verdict.iter().map(|word| (*word).to_owned()).collect(),
            no_deploy_blame: root_cause.as_ref().is_none_or(|cause| cause.deploy_version.is_none()),
            root_cause,
            also_acceptable: causes,
            must_not_blame: must_not_blame(
                &self.world.changes,
                self.plan.change.filter(|_| !self.plan.family.is_healthy()),
            ),
        }
    }
}

fn span_count(request: &ExportTraceServiceRequest) -> usize {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

/// How much slower requests were, at the quantile that shows it more.
fn effect(
    durations: &[(i64, i64)],
    [from, until]: [i64; 2],
    (start, end): (i64, i64),
) -> Option<Effect> {
    let sorted = |from: i64, until: i64| {
        let within = durations.iter().filter(|(start, _)| (from..until).contains(start));
        let mut durations: Vec<i64> = within.map(|(_, duration)| *duration).collect();
        durations.sort_unstable();
        durations
    };
    let (before, now) = (sorted(from, until), sorted(start, end));
    if before.is_empty() || now.is_empty() {
        return None;
    }
    let at = |sorted: &[i64], quantile: f64| {
        sorted[count((sorted.len() - 1) as f64 * quantile)] as f64 / 1e6
    };
    let effects = [0.5, 0.9].map(|quantile| {
        let (now_ms, before_ms) = (at(&now, quantile), at(&before, quantile));
        Effect {
            ratio: now_ms / before_ms,
            delta_ms: now_ms - before_ms,
            quantile,
            requests: now.len(),
        }
    });
    effects.into_iter().max_by(|a, b| a.ratio.total_cmp(&b.ratio))
}
