//! The services, their instances, and which version each of them runs when.

use super::deploys::Deploy;
use super::names::Names;
use super::spans::text;
use super::timeline::{DAY, HOUR, Interval, MINUTE, SECOND, Timeline};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// Instances of a service are replaced this long after the rollout began.
pub(crate) const ROLLOUT_DELAYS: [i64; 3] = [5 * SECOND, 20 * SECOND, 35 * SECOND];
/// A rollback goes faster.
pub(crate) const ROLLBACK_DELAYS: [i64; 3] = [5 * SECOND, 35 * SECOND, 65 * SECOND];

pub(crate) const ENVIRONMENT: &str = "production";

/// A service of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Service {
    Checkout,
    Inventory,
    Payment,
    Auth,
    Search,
    Recommendation,
    /// The pages in the shoppers' browsers.
    Frontend,
}

impl Service {
    pub(crate) const ALL: [Self; 7] = [
        Self::Checkout,
        Self::Inventory,
        Self::Payment,
        Self::Auth,
        Self::Search,
        Self::Recommendation,
        Self::Frontend,
    ];

    /// Name of the service's workload and host; its telemetry may call it something else.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Inventory => "inventory-service",
            Self::Payment => "payment",
            Self::Auth => "auth",
            Self::Search => "search",
            Self::Recommendation => "recommendation",
            Self::Frontend => "frontend",
        }
    }

    /// Number of instances.
    pub(crate) fn slots(self) -> usize {
        match self {
            Self::Inventory => ROLLOUT_DELAYS.len(),
            Self::Checkout | Self::Payment | Self::Auth => 2,
            Self::Search | Self::Recommendation | Self::Frontend => 1,
        }
    }

    /// `telemetry.sdk.language` and version of its SDK.
    fn sdk(self) -> (&'static str, &'static str) {
        match self {
            Self::Checkout | Self::Auth | Self::Recommendation => ("go", "1.38.0"),
            Self::Inventory | Self::Search => ("java", "1.55.0"),
            Self::Payment => ("nodejs", "2.2.0"),
            Self::Frontend => ("webjs", "2.2.0"),
        }
    }

    /// Version at the start of the scenario; inventory's follows from its first change.
    fn first_version(self) -> &'static str {
        match self {
            Self::Checkout => "4.17.2",
            Self::Inventory => "2.3.6",
            Self::Payment => "5.11.4",
            Self::Auth => "1.9.3",
            Self::Search => "3.8.0",
            Self::Recommendation => "1.14.1",
            Self::Frontend => "8.30.0",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Deploy,
    Rollback,
}

#[derive(Clone, Debug)]
struct Change {
    service: Service,
    kind: Kind,
    rollout: Interval,
    version: String,
    description: &'static str,
}

/// Which version a service runs: 0 for the first, else one more than the index of its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Release(usize);

/// One process: a slot of a service and what runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instance {
    pub(crate) service: Service,
    pub(crate) slot: usize,
    pub(crate) release: Release,
}

/// All changes to all services, in time order.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    changes: Vec<Change>,
}

impl Fleet {
    pub(crate) fn new(names: &Names, timeline: &Timeline) -> Self {
        let mut changes = decoys(timeline);
        changes.push(Change {
            service: Service::Inventory,
            kind: Kind::Deploy,
            rollout: interval(timeline.rollout.start - 4 * DAY - 3 * HOUR),
            version: names.version_old.clone(),
            description: "fix the stock count of bundles",
        });
        if timeline.rolls_out {
            changes.push(Change {
                service: Service::Inventory,
                kind: Kind::Deploy,
                rollout: timeline.rollout,
                version: names.version_new.clone(),
                description: "include_full_sku_details: true in the inventory response",
            });
        }
        if let Some(rollback) = timeline.rollback {
            changes.push(Change {
                service: Service::Inventory,
                kind: Kind::Rollback,
                rollout: rollback,
                version: names.version_old.clone(),
                description: "return to the version before",
            });
        }
        changes.retain(|change| (timeline.start..timeline.end).contains(&change.rollout.start));
        changes.sort_by_key(|change| change.rollout.start);
        Self { changes }
    }

    /// The instance that runs in a slot at an instant.
    pub(crate) fn instance(&self, service: Service, slot: usize, instant: i64) -> Instance {
        let release = self
            .changes
            .iter()
            .rposition(|change| change.service == service && change.reaches(slot) <= instant)
            .map_or(0, |index| index + 1);
        Instance { service, slot, release: Release(release) }
    }

    /// When the instance began to run; none if before the scenario.
    pub(crate) fn started(&self, instance: Instance) -> Option<i64> {
        self.change(instance.release).map(|change| change.reaches(instance.slot))
    }

    pub(crate) fn version(&self, instance: Instance) -> &str {
        self.change(instance.release)
            .map_or_else(|| instance.service.first_version(), |change| &change.version)
    }

    /// What the instance's exporter says about it.
    pub(crate) fn resource(&self, names: &Names, instance: Instance) -> Resource {
        let service = instance.service;
        let (language, sdk_version) = service.sdk();
        let mut attributes = vec![
            text("service.name", names.service(service)),
            text("service.namespace", "shop"),
            text("service.version", self.version(instance)),
            text("deployment.environment.name", ENVIRONMENT),
            text("telemetry.sdk.name", "opentelemetry"),
            text("telemetry.sdk.language", language),
            text("telemetry.sdk.version", sdk_version),
        ];
        if service == Service::Frontend {
            attributes.push(text("browser.language", "en-GB"));
        } else {
            let pod = self.pod(instance);
            attributes.extend([
                text("service.instance.id", &pod),
                text("k8s.namespace.name", "shop"),
                text("k8s.deployment.name", service.slug()),
                text("k8s.pod.name", &pod),
                text("host.name", &pod),
            ]);
        }
        Resource { attributes, ..Resource::default() }
    }

    /// Name of the instance's pod: workload, template hash, suffix.
    pub(crate) fn pod(&self, instance: Instance) -> String {
        let slug = instance.service.slug();
        let template = hash(&[slug, self.version(instance)]);
        let Release(release) = instance.release;
        let suffix = hash(&[slug, &instance.slot.to_string(), &release.to_string()]);
        format!("{slug}-{:09x}-{:05x}", template >> 28, suffix >> 44)
    }

    pub(crate) fn deploys(&self, names: &Names) -> Vec<Deploy> {
        self.changes.iter().map(|change| self.deploy(change, names)).collect()
    }

    fn deploy(&self, change: &Change, names: &Names) -> Deploy {
        let slug = change.service.slug();
        let before = self.instance(change.service, 0, change.rollout.start);
        let commit = hash(&[slug, &change.version, "commit"]);
        Deploy {
            service: names.service(change.service).to_owned(),
            version: change.version.clone(),
            previous_version: self.version(before).to_owned(),
            environment: ENVIRONMENT.to_owned(),
            kind: match change.kind {
                Kind::Deploy => "deploy".to_owned(),
                Kind::Rollback => "rollback".to_owned(),
            },
            time_unix_nano: change.rollout.start,
            end_unix_nano: change.rollout.end,
            commit: format!("{commit:016x}{:016x}{:08x}", hash(&[slug]), commit >> 32),
            url: format!("https://ci.shop.example/{slug}/runs/{}", commit % 100_000),
            description: change.description.to_owned(),
        }
    }

    fn change(&self, Release(release): Release) -> Option<&Change> {
        release.checked_sub(1).map(|index| &self.changes[index])
    }
}

impl Change {
    /// When the instance in a slot is replaced.
    fn reaches(&self, slot: usize) -> i64 {
        let delays = match self.kind {
            Kind::Deploy => ROLLOUT_DELAYS,
            Kind::Rollback => ROLLBACK_DELAYS,
        };
        self.rollout.start + delays[slot]
    }
}

/// Changes that did nothing: services that checkout calls and services that it does not, long
/// before, shortly before, during and after the guilty one.
fn decoys(timeline: &Timeline) -> Vec<Change> {
    let change = |offset: i64, service, version: &str, description| Change {
        service,
        kind: Kind::Deploy,
        rollout: interval(timeline.rollout.start + offset),
        version: version.to_owned(),
        description,
    };
    vec![
        change(-5 * DAY - 2 * HOUR, Service::Payment, "5.12.0", "add a card scheme"),
        change(-3 * DAY + HOUR, Service::Search, "3.8.1", "tune the ranking"),
        change(-2 * DAY - HOUR, Service::Checkout, "4.18.0", "show the delivery date"),
        change(-DAY - 5 * HOUR, Service::Recommendation, "1.14.2", "refresh the model"),
        change(-2 * HOUR, Service::Payment, "5.12.1", "log declined cards"),
        change(-45 * MINUTE, Service::Auth, "1.9.4", "rotate the signing key"),
        change(-7 * MINUTE, Service::Recommendation, "1.15.0", "new carousel"),
        change(2 * MINUTE, Service::Search, "3.9.0", "synonyms"),
        change(10 * MINUTE, Service::Frontend, "8.31.0", "new footer"),
        change(33 * MINUTE, Service::Auth, "1.9.5", "drop an old claim"),
    ]
}

fn interval(start: i64) -> Interval {
    Interval { start, end: start + 3 * MINUTE }
}

/// FNV-1a over the parts: stable names for pods and commits.
fn hash(parts: &[&str]) -> u64 {
    let separator = std::iter::once(&0xff);
    parts
        .iter()
        .flat_map(|part| part.as_bytes().iter().chain(separator.clone()))
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
