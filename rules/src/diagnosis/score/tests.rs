//! Weighing made-up evidence.

use std::collections::{BTreeMap, BTreeSet};

use super::{Measured, Weighed, weigh};
use crate::diagnosis::attribution::{Added, Attribution, MoreCalls, Part, SideBySide, SlowHost};
use crate::diagnosis::changes::{Candidate, Candidates, Change, OwnSignal, SignalKind};
use crate::diagnosis::document::{CauseKind, Mechanism};
use crate::diagnosis::payload::Payloads;
use crate::diagnosis::profile::Profiles;
use crate::diagnosis::traffic::{Surge, Traffic};
use crate::diagnosis::utilisation::Utilisation;
use crate::time::{MINUTE, Time, Window};

pub(crate) fn onset() -> Time {
    Time::of(1_000 * MINUTE)
}

/// What is known of an incident of the shop, which calls the stock.
#[derive(Default)]
pub(crate) struct Known {
    attribution: Attribution,
    pub(crate) candidates: Candidates,
    traffic: Traffic,
    utilisation: BTreeMap<String, Utilisation>,
}

impl Known {
    pub(crate) fn of(added: Added) -> Self {
        let attribution = Attribution { services: vec![added], ..Attribution::default() };
        Self { attribution, ..Self::default() }
    }

    /// A deploy of the stock, three minutes before the onset, after which it is slower or not.
    pub(crate) fn with_deploy(mut self, has_changed: bool) -> Self {
        let change = Change {
            id: "d1".to_owned(),
            kind: "deploy".to_owned(),
            source: "explicit".to_owned(),
            service: "stock".to_owned(),
            version: "2.0".to_owned(),
            previous_version: None,
            start: onset() - 3 * MINUTE,
        };
        let (what, finding) = (SignalKind::Duration, "slower".to_owned());
        let signals = vec![OwnSignal { what, has_changed, finding, operation: None }];
        let finding = "it happened".to_owned();
        let candidate =
            Candidate { change, distance: Some(1), signals, finding, slow_before: None };
        let rate_per_minute = 1.0 / 120.0;
        let weighed = vec![candidate];
        self.candidates = Candidates { weighed, rate_per_minute, ..Candidates::default() };
        self
    }

    pub(crate) fn weighed(&self) -> Vec<Weighed> {
        let reach = BTreeMap::from([("shop".to_owned(), 0), ("stock".to_owned(), 1)]);
        let profiles = Profiles::default();
        weigh(&Measured {
            service: "shop",
            onset: onset(),
            interval: Window::new(onset() - MINUTE, onset() + MINUTE),
            candidates: &self.candidates,
            reach: &reach,
            budget: None,
            attribution: &self.attribution,
            breadth: None,
            payloads: &Payloads::default(),
            gaps: &[],
            profiles: &profiles,
            culprit_profiles: &profiles,
            utilisation: &self.utilisation,
            traffic: &self.traffic,
            symptom_findings: &[],
        })
    }

    fn first(&self) -> Weighed {
        self.weighed().remove(0)
    }
}

fn names(weighed: &Weighed) -> (CauseKind, Option<&str>, Mechanism) {
    (weighed.kind, weighed.service.as_deref(), weighed.mechanism)
}

#[test]
fn slow_work_is_the_deploys_if_it_began_with_it_and_else_the_services() {
    let slow = || Known::of(Added::made_up("stock", Part::Own, 50.0));
    let named = slow().with_deploy(true).first();
    assert_eq!(names(&named), (CauseKind::Deploy, Some("stock"), Mechanism::SlowerCode));
    let named = slow().with_deploy(false).first();
    assert_eq!(names(&named), (CauseKind::Dependency, Some("stock"), Mechanism::SlowerCode));
    let named = slow().first();
    assert_eq!(names(&named), (CauseKind::Dependency, Some("stock"), Mechanism::SlowerCode));
    assert!(named.confidence <= super::CONFIDENCE_UNRECORDED_MAX);
}

#[test]
fn a_service_that_was_slow_before_its_deploy_is_not_slow_by_it() {
    let mut known = Known::of(Added::made_up("stock", Part::Own, 50.0)).with_deploy(true);
    known.candidates.weighed[0].slow_before = Some("slow before".to_owned());
    let weighed = known.weighed();
    assert_eq!(names(&weighed[0]), (CauseKind::Dependency, Some("stock"), Mechanism::SlowerCode));
    let deploy = weighed.iter().find(|weighed| weighed.change.is_some()).unwrap();
    assert!(deploy.is_vetoed && deploy.confidence == 0.0);
    assert_eq!(deploy.against, ["slow before"]);
}

#[test]
fn a_version_beside_another_decides() {
    let beside = |is_slower: bool| {
        let mut added = Added::made_up("stock", Part::Own, 50.0);
        added.versions = vec![SideBySide {
            version: "2.0".to_owned(),
            is_slower,
            is_same: !is_slower,
            finding: Some("side by side".to_owned()),
        }];
        Known::of(added).with_deploy(true).first()
    };
    let slower = beside(true);
    assert_eq!(slower.kind, CauseKind::Deploy);
    assert!(slower.confidence > super::CONFIDENCE_MAX, "{}", slower.confidence);
    assert_eq!(beside(false).kind, CauseKind::Dependency, "both versions are slow");
}

#[test]
fn more_requests_explain_a_service_that_queues_and_no_other() {
    let surge = |added: Added| {
        let mut known = Known::of(added);
        known.traffic.surge = Some(Surge { service: "stock".to_owned(), ratio: 2.0 });
        known.first()
    };
    let named = surge(Added::made_up("stock", Part::Own, 50.0));
    assert_eq!(names(&named), (CauseKind::Traffic, Some("stock"), Mechanism::Queueing));
    let named = surge(Added::made_up("cart", Part::Own, 50.0));
    assert_eq!(names(&named), (CauseKind::Dependency, Some("cart"), Mechanism::SlowerCode));
}

#[test]
fn more_requests_come_before_a_deploy_that_services_in_reach_have_every_half_hour() {
    let mut known = Known::of(Added::made_up("stock", Part::Own, 50.0)).with_deploy(true);
    known.candidates.weighed[0].change.start = onset() - 7 * MINUTE;
    known.candidates.rate_per_minute = 1.0 / 30.0;
    assert_eq!(known.first().kind, CauseKind::Deploy);
    known.traffic.surge = Some(Surge { service: "stock".to_owned(), ratio: 2.1 });
    assert_eq!(names(&known.first()), (CauseKind::Traffic, Some("stock"), Mechanism::Queueing));
}

#[test]
fn a_service_whose_processors_became_busy_waits_for_them() {
    let with = |before: f64, has_deploy: bool| {
        let mut known = Known::of(Added::made_up("stock", Part::Own, 50.0));
        let busy = Utilisation { now: 0.9, before: Some(before), finding: "busy".to_owned() };
        known.utilisation.insert("stock".to_owned(), busy);
        if has_deploy { known.with_deploy(true) } else { known }
    };
    let named = with(0.45, false).first();
    assert_eq!(names(&named), (CauseKind::Dependency, Some("stock"), Mechanism::Queueing));
    assert!(named.supporting.contains(&"busy".to_owned()));
    let named = with(0.89, false).first();
    assert_eq!(names(&named), (CauseKind::Dependency, Some("stock"), Mechanism::SlowerCode));
    // Slower code keeps processors busy too.
    let named = with(0.45, true).first();
    assert_eq!(names(&named), (CauseKind::Deploy, Some("stock"), Mechanism::SlowerCode));
}

#[test]
fn a_machine_comes_before_the_services_on_it() {
    let mut known = Known::of(Added::made_up("stock", Part::Own, 50.0));
    known.attribution.host = Some(SlowHost {
        host: "node-1".to_owned(),
        services: vec!["cart".to_owned(), "stock".to_owned()],
        share: 0.9,
        same_elsewhere: BTreeSet::new(),
        findings: Vec::new(),
    });
    assert_eq!(names(&known.first()), (CauseKind::Host, Some("node-1"), Mechanism::Queueing));
    // A deploy of one of them that fits is likelier, but not if the same version is as quick elsewhere.
    let own_signals = |known: &Known| {
        let weighed = known.weighed();
        let deploy = weighed.iter().find(|weighed| weighed.change.is_some()).unwrap();
        deploy.evidence.iter().find(|term| term.term == "own_signals").unwrap().clone()
    };
    let mut known = known.with_deploy(true);
    let explained = own_signals(&known);
    assert!(explained.log_odds == 0.0, "{explained:?}");
    assert!(explained.reason.ends_with("its machine explains it"), "{explained:?}");
    let host = known.attribution.host.as_mut().unwrap();
    host.same_elsewhere = BTreeSet::from([("stock".to_owned(), "2.0".to_owned())]);
    assert!(own_signals(&known).log_odds < -2.0);
    assert_eq!(names(&known.first()), (CauseKind::Host, Some("node-1"), Mechanism::Queueing));
}

#[test]
fn more_calls_are_misses_beside_a_cache_and_retries_after_failures() {
    let asking = |cache: Option<&str>| {
        let mut added = Added::made_up("stock", Part::Asking, 50.0);
        added.more_calls = Some(MoreCalls::made_up("stock", "orders-db", cache));
        Known::of(added).first()
    };
    let named = asking(None);
    assert_eq!(names(&named), (CauseKind::Dependency, Some("stock"), Mechanism::NPlusOne));
    let named = asking(Some("stock-cache"));
    assert_eq!(names(&named), (CauseKind::Dependency, Some("stock-cache"), Mechanism::CacheMiss));
    let named = Known::of(Added::made_up("stock", Part::Repeated, 50.0)).first();
    assert_eq!(
        names(&named),
        (CauseKind::RetryStorm, Some("stock"), Mechanism::RetryAmplification)
    );
}

#[test]
fn nothing_is_named_where_nothing_is_shown() {
    let known = Known::default();
    assert!(known.weighed().iter().all(|weighed| !weighed.is_shown));
}
