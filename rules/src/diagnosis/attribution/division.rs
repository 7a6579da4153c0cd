//! How each group of requests or calls changed, and whose time that is.

use std::collections::BTreeMap;

use super::groups::{Group, Observations};
use super::{Added, DELTA_MIN, Part, RATIO_MIN};
use crate::statistics::mean_and_error;

/// Changes of all groups that both samples have.
pub(super) type Changes<'a> = BTreeMap<Group<'a>, Change>;

/// How a group changed.
#[derive(Debug)]
pub(super) struct Change {
    /// Mean of before, in nanoseconds.
    before: f64,
    /// Nanoseconds added to one of it, as far as they are shown: one standard error less than the means
    /// say, so that a few wild ones do not come first.
    pub(super) delta: f64,
    /// The same with one standard error more.
    delta_most: f64,
    /// How often it occurs in a trace.
    rate: f64,
    /// Whether the change is worth a word.
    is_slower: bool,
    /// Of numbers of calls: whether they are made again because they failed.
    pub(super) is_repeated: bool,
}

impl Change {
    /// Of observations with the number of their trace, in so many traces.
    pub(super) fn of(now: &[(usize, f64)], before: &[(usize, f64)], traces: usize) -> Self {
        let values = |observed: &[(usize, f64)]| -> Vec<f64> {
            observed.iter().map(|(_, value)| *value).collect()
        };
        let (mean_now, error_now) = mean_and_error(&values(now));
        let (mean_before, error_before) = mean_and_error(&values(before));
        let whole = mean_now - mean_before;
        let error = error_now.hypot(error_before);
        Self {
            before: mean_before,
            delta: whole.signum() * (whole.abs() - error).max(0.0),
            delta_most: whole + error,
            rate: now.len() as f64 / traces.max(1) as f64,
            is_slower: whole >= DELTA_MIN && mean_now >= RATIO_MIN * mean_before,
            is_repeated: false,
        }
    }

    /// Milliseconds of a mean trace.
    pub(super) fn added_ms(&self, delta: f64) -> f64 {
        delta * self.rate / 1e6
    }
}

/// Gives each change to a service; those of gaps to one of their ends or to both. A service with a
/// change that is worth a word may be shown.
pub(super) fn divide(changes: &Changes<'_>, common: &BTreeMap<&str, Common>) -> Vec<Added> {
    let mut services = BTreeMap::<&str, Added>::new();
    for (group, change) in changes {
        for (service, part, share) in group.parts(change, change.delta, common) {
            let added = services.entry(service).or_insert_with(|| Added::none(service));
            added.parts[part as usize] += change.added_ms(share);
            added.is_shown |= change.is_slower && share >= DELTA_MIN / 2.0;
        }
    }
    let mut services: Vec<Added> = services.into_values().collect();
    services.sort_by(|a, b| b.ms().total_cmp(&a.ms()).then_with(|| a.service.cmp(&b.service)));
    services
}

/// What each service added to each trace that it takes part in, over the mean of before.
pub(super) fn excess<'a>(
    observed: &Observations<'a>,
    changes: &Changes<'a>,
    common: &BTreeMap<&str, Common>,
) -> BTreeMap<&'a str, BTreeMap<usize, f64>> {
    let mut excess = BTreeMap::<&str, BTreeMap<usize, f64>>::new();
    for (group, values) in observed {
        let Some(change) = changes.get(group) else { continue };
        for (trace, value) in values {
            for (service, _, share) in group.parts(change, value - change.before, common) {
                *excess.entry(service).or_default().entry(*trace).or_default() += share;
            }
        }
    }
    excess
}

/// What the gaps of a caller have in common, in nanoseconds: as far as it is shown, and at most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Common {
    shown: f64,
    most: f64,
}

/// What the gaps of each caller have in common: the lower median over its callees, so that more than
/// half of them must have grown. With one callee nothing can be told apart.
pub(super) fn common_gaps<'a>(changes: &Changes<'a>) -> BTreeMap<&'a str, Common> {
    let mut gaps = BTreeMap::<&str, BTreeMap<&str, (Common, f64)>>::new();
    for (group, change) in changes {
        if let Group::Gap { caller, callee, .. } = group {
            let (sum, rate) = gaps.entry(caller).or_default().entry(callee).or_default();
            sum.shown += change.delta * change.rate;
            sum.most += change.delta_most * change.rate;
            *rate += change.rate;
        }
    }
    let common = |edges: BTreeMap<&str, (Common, f64)>| {
        let of_a_call =
            |(sum, rate): (Common, f64)| Common { shown: sum.shown / rate, most: sum.most / rate };
        let mut edges: Vec<_> = edges.into_values().map(of_a_call).collect();
        edges.sort_by(|a, b| a.shown.total_cmp(&b.shown));
        match edges.len() {
            0 | 1 => Common::default(),
            callees => Some(edges[(callees - 1) / 2]).filter(|c| c.shown > 0.0).unwrap_or_default(),
        }
    };
    gaps.into_iter().map(|(caller, edges)| (caller, common(edges))).collect()
}

impl<'a> Group<'a> {
    /// Whose time something added to the group is.
    fn parts(
        &self,
        change: &Change,
        delta: f64,
        common: &BTreeMap<&str, Common>,
    ) -> impl Iterator<Item = (&'a str, Part, f64)> + use<'a> {
        let (first, second) = match *self {
            Self::Own { service, .. } => ((service, Part::Own, delta), None),
            Self::Gap { caller, callee, .. } => {
                let common = common.get(caller).copied().unwrap_or_default();
                // No longer than the others' may be: the caller's too, as long as each time was.
                let is_common = common.shown > 0.0 && change.delta <= common.most;
                let callers = if is_common { delta } else { common.shown.min(delta.max(0.0)) };
                ((caller, Part::Calling, callers), Some((callee, Part::Called, delta - callers)))
            }
            Self::Calls(calls) if change.is_repeated => {
                ((calls.callee, Part::Repeated, delta), None)
            }
            Self::Calls(calls) => ((calls.caller, Part::Asking, delta), None),
        };
        std::iter::once(first).chain(second)
    }
}
