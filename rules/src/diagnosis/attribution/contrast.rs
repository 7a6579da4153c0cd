//! What distinguishes a service's slow requests from its others: the version or the machine that ran
//! them, or that they failed.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnosis::requests::Request;
use crate::statistics::{Z_95, above_share_z, mean_and_error, normal_tail, share_rise_z};
use crate::time::MINUTE;

use super::{DELTA_MIN, RATIO_MIN, design_effect};

/// Requests on each side of a comparison.
const COUNT_MIN: usize = 20;
/// Chance below which two versions, or a machine now and before, are told apart.
const TAIL_MAX: f64 = 0.005;
/// The share above this quantile of the other side is what is tested: a change may touch all requests
/// or a part.
const QUANTILE: f64 = 0.75;
/// Two versions are the same if the one is at most this factor slower, with 95 % confidence.
const SAME_RATIO: f64 = 1.2;
/// A machine is where the time comes from if it has this share of it,
const HOST_SHARE: f64 = 0.7;
/// and so many services on it are slower: one alone may be slow for a reason of its own.
const HOST_SERVICES_MIN: usize = 2;
/// Errors matter if their share rose by this,
const ERRORS_MIN: f64 = 0.01;
/// and the failed requests have this share of the added time.
const ERRORS_SHARE: f64 = 0.5;
/// Standard errors of a risen share of errors.
const ERRORS_Z: f64 = 3.0;

/// One version of a service beside the others, in the minutes that both served.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SideBySide {
    pub(crate) version: String,
    pub(crate) is_slower: bool,
    /// Not slower by more than a fifth, and that is shown.
    pub(crate) is_same: bool,
    /// What says so, once it is noted.
    pub(crate) finding: Option<String>,
}

/// A machine on which several services are slower, and elsewhere they are not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SlowHost {
    pub(crate) host: String,
    pub(crate) services: Vec<String>,
    /// Its part of the time that was added to services' own work.
    pub(crate) share: f64,
    /// Those of them, with a version, that take as long as before on other machines, and that is shown.
    pub(crate) same_elsewhere: BTreeSet<(String, String)>,
    /// What says so, once it is noted.
    pub(crate) findings: Vec<String>,
}

type Mean<'a> = BTreeMap<(&'a str, &'a str), f64>;

/// Mean own time of each operation.
fn means<'a>(requests: &[Request<'a>]) -> Mean<'a> {
    let mut sums = BTreeMap::<_, (f64, f64)>::new();
    for request in requests {
        let sum = sums.entry(key(request)).or_default();
        *sum = (sum.0 + request.own, sum.1 + 1.0);
    }
    sums.into_iter().map(|(key, (sum, count))| (key, sum / count)).collect()
}

fn key<'a>(request: &Request<'a>) -> (&'a str, &'a str) {
    (&request.operation.service, &request.operation.span_name)
}

/// Each version of a service beside its others.
pub(super) fn versions(service: &str, now: &[Request<'_>], seconds: f64) -> Vec<SideBySide> {
    let usual = means(now);
    let mut minutes = BTreeMap::<i64, BTreeMap<&str, Vec<f64>>>::new();
    for request in now.iter().filter(|request| request.operation.service == service) {
        let Some(version) = request.place.version.as_deref() else { continue };
        // Operations differ: each request against the mean of its own.
        let factor = request.own / usual.get(&key(request)).copied().unwrap_or(1.0).max(1.0);
        let minute = minutes.entry(request.start.div_euclid(MINUTE)).or_default();
        minute.entry(version).or_default().push(factor);
    }
    minutes.retain(|_, versions| versions.len() > 1);
    let all: BTreeSet<&str> = minutes.values().flat_map(BTreeMap::keys).copied().collect();
    let mean_ms = usual.iter().filter(|((name, _), _)| *name == service).map(|(_, mean)| *mean);
    let mean = mean_ms.fold(0.0, f64::max);
    all.iter()
        .filter_map(|version| {
            let of = |is_it: bool| -> Vec<f64> {
                let sides = minutes.values().flat_map(BTreeMap::iter);
                let sides = sides.filter(|(name, _)| (*name == version) == is_it);
                sides.flat_map(|(_, factors)| factors.iter().copied()).collect()
            };
            let (own, others) = (of(true), of(false));
            if own.len() < COUNT_MIN || others.len() < COUNT_MIN {
                return None;
            }
            let (own_mean, own_error) = mean_and_error(&own);
            let (other_mean, other_error) = mean_and_error(&others);
            let z = above_share_z(&own, &others, QUANTILE, design_effect(own.len(), seconds));
            let is_slower = normal_tail(z) < TAIL_MAX
                && own_mean >= RATIO_MIN * other_mean
                && (own_mean - other_mean) * mean >= DELTA_MIN;
            let upper = own_mean - other_mean + Z_95 * own_error.hypot(other_error);
            let is_same = upper <= (SAME_RATIO - 1.0) * other_mean;
            Some(SideBySide { version: (*version).to_owned(), is_slower, is_same, finding: None })
        })
        .collect()
}

/// Whether what a service added is in requests that failed, and more of them do: the shares of failed
/// requests now and before.
pub(super) fn failures(
    service: &str,
    now: &[Request<'_>],
    before: &[Request<'_>],
) -> Option<(f64, f64)> {
    let usual = means(before);
    let of = |requests: &[Request<'_>]| {
        let own = requests.iter().filter(|request| request.operation.service == service);
        let failed = own.clone().filter(|request| request.has_failed).count() as f64;
        (failed, own.count() as f64)
    };
    let (after, first) = (of(now), of(before));
    let share = |(failed, all): (f64, f64)| failed / all.max(1.0);
    if share(after) - share(first) < ERRORS_MIN || share_rise_z(after, first) < ERRORS_Z {
        return None;
    }
    let (mut failed, mut all) = (0.0, 0.0);
    for request in now.iter().filter(|request| request.operation.service == service) {
        let Some(mean) = usual.get(&key(request)) else { continue };
        all += request.own - mean;
        failed += if request.has_failed { request.own - mean } else { 0.0 };
    }
    (failed > 0.0 && failed >= ERRORS_SHARE * all).then(|| (share(after), share(first)))
}

/// The machine that most of the added work is on, if its services are slower there and not elsewhere.
pub(super) fn slow_host(
    now: &[Request<'_>],
    before: &[Request<'_>],
    seconds: f64,
) -> Option<SlowHost> {
    let usual = means(before);
    // By machine and service, the factor of each request.
    let factors = |requests: &[Request<'_>]| {
        let mut factors = BTreeMap::<(String, String), Vec<f64>>::new();
        for request in requests {
            let (Some(host), Some(mean)) = (&request.place.host, usual.get(&key(request))) else {
                continue;
            };
            let at = (host.clone(), request.operation.service.clone());
            factors.entry(at).or_default().push(request.own / mean.max(1.0));
        }
        factors
    };
    let (after, first) = (factors(now), factors(before));
    let is_slower = |at: &(String, String)| {
        let (Some(after), Some(first)) = (after.get(at), first.get(at)) else { return false };
        if after.len() < COUNT_MIN || first.len() < COUNT_MIN {
            return false;
        }
        let (mean_after, mean_first) = (mean_and_error(after).0, mean_and_error(first).0);
        let z = above_share_z(after, first, QUANTILE, design_effect(after.len(), seconds));
        normal_tail(z) < TAIL_MAX && mean_after >= RATIO_MIN * mean_first
    };
    let mut added = BTreeMap::<&str, f64>::new();
    for request in now {
        let (Some(host), Some(mean)) = (&request.place.host, usual.get(&key(request))) else {
            continue;
        };
        *added.entry(host).or_default() += request.own - mean;
    }
    let all: f64 = added.values().filter(|nanos| **nanos > 0.0).sum();
    let (host, nanos) = added.iter().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)))?;
    if added.len() < 2 || *nanos < HOST_SHARE * all || *nanos <= 0.0 {
        return None;
    }
    let on_host: Vec<&(String, String)> = after.keys().filter(|at| at.0 == **host).collect();
    let slower: Vec<String> =
        on_host.iter().filter(|at| is_slower(at)).map(|at| at.1.clone()).collect();
    let elsewhere = |at: &&(String, String)| at.0 != **host && slower.contains(&at.1);
    let is_elsewhere = after.keys().filter(elsewhere).any(is_slower);
    (slower.len() >= HOST_SERVICES_MIN && 2 * slower.len() >= on_host.len() && !is_elsewhere).then(
        || SlowHost {
            host: (*host).to_owned(),
            services: slower,
            share: nanos / all,
            same_elsewhere: same_elsewhere(host, now, &usual),
            findings: Vec::new(),
        },
    )
}

/// Versions of services that take as long as before on other machines than this.
fn same_elsewhere(host: &str, now: &[Request<'_>], usual: &Mean<'_>) -> BTreeSet<(String, String)> {
    let mut factors = BTreeMap::<(&str, &str), Vec<f64>>::new();
    for request in now {
        let (Some(on), Some(version)) = (&request.place.host, &request.place.version) else {
            continue;
        };
        if let Some(mean) = usual.get(&key(request)).filter(|_| on != host) {
            let of = (&*request.operation.service, &**version);
            factors.entry(of).or_default().push(request.own / mean.max(1.0));
        }
    }
    factors.retain(|_, factors| {
        let (mean, error) = mean_and_error(factors);
        factors.len() >= COUNT_MIN && mean + Z_95 * error <= SAME_RATIO
    });
    factors.into_keys().map(|(service, version)| (service.to_owned(), version.to_owned())).collect()
}
