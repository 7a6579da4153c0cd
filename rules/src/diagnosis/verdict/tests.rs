//! What is named of causes that were weighed.

use super::{Conclusion, conclude};
use crate::diagnosis::attribution::{Added, MoreCalls, Part};
use crate::diagnosis::document::{CauseKind, Verdict};
use crate::diagnosis::payload::Payloads;
use crate::diagnosis::score::tests::{Known, onset};
use crate::time::MINUTE;

/// The stock is slow since some minutes after its deploy, where services are deployed every fifty minutes.
fn concluded(minutes: i64) -> Conclusion {
    concluded_of(Added::made_up("stock", Part::Own, 50.0), minutes)
}

fn concluded_of(added: Added, minutes: i64) -> Conclusion {
    let mut known = Known::of(added).with_deploy(true);
    known.candidates.rate_per_minute = 1.0 / 50.0;
    known.candidates.weighed[0].change.start = onset() - minutes * MINUTE;
    conclude("shop", &known.weighed(), &known.candidates, &Payloads::default())
}

#[test]
fn a_likely_change_is_blamed() {
    let conclusion = concluded(3);
    let cause = conclusion.root_cause.as_ref().unwrap();
    assert_eq!((cause.kind, &*cause.service), (CauseKind::Deploy, "stock"));
    assert_eq!(cause.deploy.as_ref().unwrap().id, "d1");
    assert!(conclusion.doubted.is_none());
    assert_eq!(conclusion.actions[0].kind, "roll_back");
    let reason = |conclusion: &Conclusion| conclusion.hypotheses[0].evidence[2].reason.clone();
    assert_eq!(reason(&conclusion), "it takes longer itself since then");
    assert_eq!(reason(&concluded(20)), "it takes longer itself since 20 min after it");
}

#[test]
fn of_a_change_that_may_or_may_not_be_why_the_service_is_named() {
    let conclusion = concluded(40);
    let first = &conclusion.hypotheses[0];
    assert_eq!(first.kind, CauseKind::Deploy);
    assert!((0.5..super::CONFIDENCE_BLAMED).contains(&first.confidence), "{}", first.confidence);
    let cause = conclusion.root_cause.unwrap();
    assert_eq!((cause.kind, &*cause.service), (CauseKind::Dependency, "stock"));
    assert!(cause.deploy.is_none());
    assert!(cause.confidence > first.confidence, "of the service more is known");
    assert_eq!(conclusion.verdict, Verdict::Likely);
    let (doubted, confidence) = conclusion.doubted.unwrap();
    assert_eq!((doubted.id.as_str(), confidence), ("d1", first.confidence));
    assert!(conclusion.ruled_out.is_empty(), "nothing speaks against it");
    assert_eq!(conclusion.actions[0].title, "find out whether stock@2.0 is why");
    assert!(conclusion.actions.iter().all(|action| action.kind != "roll_back"));
}

#[test]
fn a_late_effect_takes_more_to_blame_a_change() {
    let blamed = |conclusion: &Conclusion| {
        conclusion.root_cause.as_ref().is_some_and(|cause| cause.deploy.is_some())
    };
    let (earlier, later) = (concluded(12), concluded(20));
    let confidence = |conclusion: &Conclusion| conclusion.hypotheses[0].confidence;
    assert!(blamed(&earlier) && confidence(&earlier) >= super::CONFIDENCE_BLAMED_LATE);
    assert!(!blamed(&later) && confidence(&later) < super::CONFIDENCE_BLAMED_LATE);
    assert!(confidence(&later) > super::CONFIDENCE_BLAMED && later.doubted.is_some());
}

#[test]
fn a_cold_cache_or_a_late_effect_is_left_open() {
    let asking = || {
        let mut added = Added::made_up("stock", Part::Asking, 50.0);
        added.more_calls = Some(MoreCalls::made_up("stock", "orders-db", Some("stock-cache")));
        added
    };
    let verdict = |minutes: i64| concluded_of(asking(), minutes).verdict;
    assert_eq!((verdict(3), verdict(20)), (Verdict::Likely, Verdict::Inconclusive));
}

#[test]
fn a_late_effect_confirms_no_change() {
    let verdict = |minutes: i64, is_side_by_side: bool| {
        let mut known = Known::of(Added::made_up("stock", Part::Own, 50.0)).with_deploy(true);
        known.candidates.weighed[0].change.start = onset() - minutes * MINUTE;
        let mut weighed = known.weighed();
        let first = &mut weighed[0];
        (first.confidence, first.links) = (0.95, 2);
        first.is_side_by_side = is_side_by_side;
        conclude("shop", &weighed, &known.candidates, &Payloads::default()).verdict
    };
    assert_eq!(verdict(5, false), Verdict::Confirmed);
    assert_eq!(verdict(6, false), Verdict::Likely);
    assert_eq!(verdict(6, true), Verdict::Confirmed);
}
