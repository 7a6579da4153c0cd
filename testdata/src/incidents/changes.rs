//! Changes: the one that matters, and the many that do not.

use super::clock::{HOUR, MINUTE, SECOND, whole};
use super::topology::Topology;
use crate::scenario::Deploy;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Environment of everything in a case.
pub(crate) const ENVIRONMENT: &str = "production";
/// One instance after the other takes a version.
const STAGGER: i64 = 20 * SECOND;
/// Teams whose services are in no trace deploy as well.
const OUTSIDE: [&str; 4] = ["data-warehouse", "admin-console", "mail-batch", "build-cache"];
/// Share of the deploys that is theirs.
const OUTSIDE_SHARE: f64 = 0.2;
/// A change to a service.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Index in the topology; none for a service that is in no trace.
    pub(crate) service: Option<usize>,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) version: String,
    pub(crate) previous: String,
    pub(crate) start: i64,
    pub(crate) end: Option<i64>,
    /// How many of the instances take it; all unless it is a canary.
    pub(crate) instances: usize,
    /// Whether the pipeline reports it.
    pub(crate) is_recorded: bool,
}

impl Change {
    /// Whether an instance runs what the change brought.
    pub(crate) fn is_on(&self, instance: usize, instant: i64) -> bool {
        instance < self.instances && instant >= self.start + instance as i64 * STAGGER
    }

    fn has_version(&self) -> bool {
        self.kind == "deploy"
    }

    /// As the pipeline reports it.
    pub(crate) fn deploy(&self) -> Deploy {
        Deploy {
            service: self.name.clone(),
            version: self.version.clone(),
            previous_version: self.previous.clone(),
            environment: ENVIRONMENT.to_owned(),
            kind: self.kind.to_owned(),
            time_unix_nano: self.start,
            end_unix_nano: self.end.unwrap_or(self.start + MINUTE),
            commit: format!("{:08x}", self.start.unsigned_abs() ^ self.version.len() as u64),
            url: format!("https://pipeline.example/{}/{}", self.name, self.version),
            description: String::new(),
        }
    }
}

/// All changes of a case, and the version that each instance runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) all: Vec<Change>,
}

impl Changes {
    /// Plans a change of a service and returns its index. Versions follow the order of planning.
    pub(crate) fn plan(&mut self, topology: &Topology, service: usize, start: i64) -> usize {
        let name = topology.services[service].name.clone();
        let instances = topology.services[service].instances.len();
        self.push(Some(service), name, (start, instances))
    }

    fn push(
        &mut self,
        service: Option<usize>,
        name: String,
        (start, instances): (i64, usize),
    ) -> usize {
        self.all.push(Change {
            service,
            name,
            kind: "deploy",
            version: String::new(),
            previous: String::new(),
            start,
            end: Some(start + instances as i64 * STAGGER),
            instances,
            is_recorded: true,
        });
        self.all.len() - 1
    }

    /// Adds deploys without any effect, so many per hour.
    pub(crate) fn add_decoys(
        &mut self,
        topology: &Topology,
        (start, end, per_hour): (i64, i64, f64),
        random: &mut ChaCha8Rng,
    ) {
        let planned: Vec<(i64, Option<usize>)> =
            self.all.iter().map(|c| (c.start, c.service)).collect();
        let gap = HOUR as f64 / per_hour;
        let mut instant = start + whole(gap * random.random::<f64>());
        while instant < end {
            let service = random.random_range(0..topology.services.len());
            // A service that the story is about is left alone from half an hour before its change.
            let is_free = planned
                .iter()
                .all(|(other, of)| *of != Some(service) || instant < other - HOUR / 2);
            if random.random_bool(OUTSIDE_SHARE) {
                let name = OUTSIDE[random.random_range(0..OUTSIDE.len())].to_owned();
                self.push(None, name, (instant, 1));
            } else if is_free && topology.services[service].is_instrumented {
                self.plan(topology, service, instant);
            }
            instant += whole(gap * (0.3 - random.random::<f64>().ln()) / 1.3) + SECOND;
        }
    }

    /// Gives every change its version, in order of time within a service.
    pub(crate) fn number(&mut self) {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|i| (self.all[*i].start, *i));
        let mut next: std::collections::BTreeMap<(String, bool), usize> =
            std::collections::BTreeMap::new();
        for index in order {
            let change = &mut self.all[index];
            let count = next.entry((change.name.clone(), change.has_version())).or_insert(0);
            let word = if change.has_version() { "1." } else { "r" };
            let tail = if change.has_version() { ".0" } else { "" };
            change.previous = format!("{word}{count}{tail}");
            *count += 1;
            change.version = format!("{word}{count}{tail}");
        }
    }

    /// Version of an instance, and a number that tells its processes apart.
    pub(crate) fn version(&self, service: usize, instance: usize, instant: i64) -> (&str, usize) {
        let taken = self.all.iter().enumerate().filter(|(_, change)| {
            change.service == Some(service)
                && change.has_version()
                && change.is_on(instance, instant)
        });
        taken
            .max_by_key(|(_, change)| change.start)
            .map_or(("1.0.0", 0), |(i, c)| (&c.version, i + 1))
    }

    /// What the pipeline reported, in order of time.
    pub(crate) fn recorded(&self) -> Vec<Deploy> {
        let mut deploys: Vec<Deploy> =
            self.all.iter().filter(|change| change.is_recorded).map(Change::deploy).collect();
        deploys.sort_by(|a, b| (a.time_unix_nano, &a.service).cmp(&(b.time_unix_nano, &b.service)));
        deploys
    }
}
