//! From measured signals to an outcome: what is worse by more than chance, since when, and whether
//! something else explains it as well as the change does.

use std::collections::BTreeSet;

use super::document::{AuditOutcome, AuditState, AuditedSignal, Role};
use super::judge::{COUNT_MIN, FALSE_DISCOVERIES, REQUESTS_MIN, Z_MIN, Z_UNDECIDED};
use super::measure::{Measured, What};
use crate::diagnosis::{Change, kind_words};
use crate::figures;
use crate::statistics::{normal_tail, significant_of};

/// Signals that a summary names; the document has all.
const NAMED_MAX: usize = 3;

/// What the signals came to.
#[derive(Debug)]
pub(super) struct Conclusion {
    pub(super) outcome: AuditOutcome,
    pub(super) summary: String,
    pub(super) signals: Vec<AuditedSignal>,
}

/// A signal with its state so far.
struct Judged {
    measured: Measured,
    state: AuditState,
    reason: Option<String>,
}

impl Judged {
    fn is(&self, role: Role, what: What) -> bool {
        self.measured.role == role && self.measured.what == what
    }

    fn is_between(&self, client: &str, server: &str) -> bool {
        let edge = self.measured.edge.as_ref();
        edge.is_some_and(|(from, to)| from == client && to == server)
    }

    fn regressed(&self) -> bool {
        self.state == AuditState::Regressed
    }

    fn excuse(&mut self, reason: String) {
        self.state = AuditState::Elsewhere;
        self.reason = Some(reason);
    }
}

/// Concludes.
pub(super) fn conclude(
    change: &Change,
    measured: Vec<Measured>,
    others: &[&Change],
    (before, after): (i64, i64),
) -> Conclusion {
    let mut signals = Signals::new(change, measured);
    signals.excuse_what_others_explain(others);
    signals.excuse_unlinked_consumers();
    let enough = before.min(after) >= REQUESTS_MIN;
    let (outcome, summary) = signals.outcome(enough, (before, after));
    Conclusion { outcome, summary, signals: signals.documented() }
}

struct Signals<'a> {
    change: &'a Change,
    all: Vec<Judged>,
}

impl<'a> Signals<'a> {
    fn new(change: &'a Change, measured: Vec<Measured>) -> Self {
        let tails: Vec<f64> = measured
            .iter()
            .map(|signal| (signal.tests as f64 * normal_tail(signal.verdict.z)).min(1.0))
            .collect();
        let significant = significant_of(&tails, FALSE_DISCOVERIES);
        let judged = |(measured, is_significant): (Measured, bool)| {
            let state = state(change, &measured, is_significant);
            Judged { measured, state, reason: None }
        };
        Self { change, all: measured.into_iter().zip(significant).map(judged).collect() }
    }

    fn any(&self, is_it: impl Fn(&Judged) -> bool) -> bool {
        self.all.iter().any(|signal| signal.regressed() && is_it(signal))
    }

    /// What of the service itself is worse and has a cause outside of it.
    fn excuse_what_others_explain(&mut self, others: &[&Change]) {
        let service = self.change.service.clone();
        let own = |what| move |signal: &Judged| signal.is(Role::Own, what);
        let does_other_work = self.any(own(What::CallRate)) || self.any(own(What::Requests));
        let works_more = self.any(own(What::OwnWork)) || self.any(own(What::Cpu));
        let slow = self.slow_callees();
        let larger = self.larger_bodies(others);
        let surge = self.any(|signal| signal.measured.what == What::Rate);
        let same_by_version = self.all.iter().any(|signal| {
            signal.is(Role::Own, What::ByVersion) && signal.state == AuditState::Unchanged
        });
        let unsure = self.silent_callees(&slow);
        for signal in self
            .all
            .iter_mut()
            .filter(|signal| signal.regressed() && signal.measured.role == Role::Own)
        {
            let what = signal.measured.what;
            let is_time = matches!(what, What::Latency | What::Errors);
            let follows_bytes =
                is_time || matches!(what, What::OwnWork | What::Cpu | What::Garbage);
            if is_time && same_by_version {
                signal.excuse("other versions are as slow in the same minutes".to_owned());
            } else if follows_bytes && !does_other_work && !larger.is_empty() {
                signal.excuse(format!("{service} gets larger bodies from {}", list(&larger)));
            } else if is_time && !does_other_work && !works_more && !slow.is_empty() {
                signal.excuse(format!(
                    "{} is slower too by its own account or others', and {service} neither works nor calls more than before",
                    list(&slow)
                ));
            } else if is_time && !works_more && surge {
                signal.excuse("more requests came at the same time".to_owned());
            } else if is_time && !works_more && !unsure.is_empty() {
                signal.reason = Some(format!(
                    "the time is in calls to {}, which does not say itself whether it is slower: the change asks more of it, or it is slow",
                    list(&unsure)
                ));
            }
        }
    }

    /// Callees whose calls are slower and that are slower by their own account, or for others too.
    fn slow_callees(&self) -> BTreeSet<String> {
        let service = self.change.service.as_str();
        let speaks_for_itself = |callee: &str| {
            self.any(|signal| {
                let measured = &signal.measured;
                let own = matches!(measured.what, What::Latency | What::Errors)
                    && measured.service == callee;
                let of_others = measured.what == What::Calls
                    && measured
                        .edge
                        .as_ref()
                        .is_some_and(|(from, to)| from != service && to == callee);
                measured.role == Role::Surroundings && (own || of_others)
            })
        };
        self.called_slower().into_iter().filter(|callee| speaks_for_itself(callee)).collect()
    }

    /// Callees whose calls are slower, and of whom nothing else is known.
    fn silent_callees(&self, slow: &BTreeSet<String>) -> BTreeSet<String> {
        self.called_slower().difference(slow).cloned().collect()
    }

    fn called_slower(&self) -> BTreeSet<String> {
        let service = self.change.service.as_str();
        let calls = self
            .all
            .iter()
            .filter(|signal| signal.regressed() && signal.is(Role::Surroundings, What::Calls));
        let edges = calls.filter_map(|signal| signal.measured.edge.clone());
        edges.filter(|(from, _)| from == service).map(|(_, to)| to).collect()
    }

    /// Services that send larger bodies to this one, and not for its sake alone.
    fn larger_bodies(&self, others: &[&Change]) -> BTreeSet<String> {
        let service = self.change.service.as_str();
        let changed = |name: &str| others.iter().any(|other| other.service == name);
        let mut found = BTreeSet::new();
        for signal in self.all.iter().filter(|signal| signal.regressed()) {
            let Some((client, server)) = &signal.measured.edge else { continue };
            match signal.measured.what {
                What::Responses if client == service => {
                    let to_others = self.any(|other| {
                        let edge = other.measured.edge.as_ref();
                        other.measured.what == What::Responses
                            && edge.is_some_and(|(to, from)| from == server && to != service)
                    });
                    if to_others || changed(server) {
                        found.insert(server.clone());
                    }
                }
                What::Requests if server == service => {
                    found.insert(client.clone());
                }
                _ => {}
            }
        }
        found
    }

    /// A caller that is worse counts if what it gets from the service is: directly, or through another
    /// caller that is worse because of it.
    fn excuse_unlinked_consumers(&mut self) {
        let mut linked = BTreeSet::from([self.change.service.clone()]);
        loop {
            let next: Vec<String> = self
                .all
                .iter()
                .filter(|signal| signal.regressed())
                .filter_map(|signal| signal.measured.edge.as_ref())
                .filter(|(client, server)| {
                    linked.contains(server)
                        && !linked.contains(client)
                        && self.hands_on(client, server)
                })
                .map(|(client, _)| client.clone())
                .collect();
            if next.is_empty() {
                break;
            }
            linked.extend(next);
        }
        let service = self.change.service.clone();
        for signal in self
            .all
            .iter_mut()
            .filter(|signal| signal.regressed() && signal.measured.role == Role::Consumer)
        {
            let at = match (&signal.measured.edge, signal.measured.what) {
                // A call belongs to who makes it, a response to who sends it.
                (Some((client, _)), What::Calls) => client,
                _ => &signal.measured.service,
            };
            if !linked.contains(at) {
                let reason =
                    format!("nothing that comes to it from {service} got worse through the change");
                signal.excuse(reason);
            }
        }
    }

    /// Whether what a client gets from a server got worse: larger or failing responses, or slower ones by
    /// the server's own account or to this client more than calls to others.
    fn hands_on(&self, client: &str, server: &str) -> bool {
        let is_changed = server == self.change.service;
        let role = if is_changed { Role::Own } else { Role::Consumer };
        let of_server = |signal: &Judged, what: What| {
            signal.is(role, what) && signal.measured.service == server
        };
        let is_larger = self
            .any(|signal| of_server(signal, What::Responses) && signal.is_between(client, server));
        let is_slower = self.any(|signal| {
            of_server(signal, What::Latency)
                || of_server(signal, What::ByVersion)
                || of_server(signal, What::Errors)
        });
        let is_called_slower = self
            .any(|signal| signal.measured.what == What::Calls && signal.is_between(client, server));
        let calls_all_slower = self.any(|signal| {
            let edge = signal.measured.edge.as_ref();
            signal.is(Role::Surroundings, What::Calls)
                && edge.is_some_and(|(from, to)| from == client && to != server)
        });
        let excused = self.all.iter().any(|signal| {
            signal.state == AuditState::Elsewhere && of_server(signal, What::Latency)
        });
        is_larger || (is_called_slower && (is_slower || !(calls_all_slower || excused)))
    }

    fn outcome(&self, enough: bool, (before, after): (i64, i64)) -> (AuditOutcome, String) {
        let name = format!("{} of {}", kind_words(&self.change.kind), self.change.name());
        let counted = |state| {
            let is_it = |signal: &&Judged| {
                signal.state == state && signal.measured.role != Role::Surroundings
            };
            self.all.iter().filter(is_it).collect::<Vec<_>>()
        };
        let regressed = counted(AuditState::Regressed);
        if !regressed.is_empty() {
            return (
                AuditOutcome::Regression,
                format!("worse since {name}: {}", named(&regressed)),
            );
        }
        if !enough {
            let few = format!(
                "{} requests to {} since {name} and {} in the time before: {REQUESTS_MIN} are needed on each side",
                figures::count(after),
                self.change.service,
                figures::count(before)
            );
            return (AuditOutcome::Inconclusive, few);
        }
        for (state, why) in [
            (AuditState::Elsewhere, "with another explanation"),
            (AuditState::BeganEarlier, "which began before it"),
        ] {
            let found: Vec<&Judged> = counted(state)
                .into_iter()
                .filter(|signal| signal.measured.role == Role::Own)
                .collect();
            if let Some(first) = found.first() {
                let why = first.reason.clone().unwrap_or_else(|| why.to_owned());
                let summary =
                    format!("not shown to be through {name}: {} is worse: {why}", named(&found));
                return (AuditOutcome::Inconclusive, summary);
            }
        }
        let judged = counted(AuditState::Unchanged).len();
        let summary = format!(
            "nothing is shown to be worse since {name}: {judged} signals of it and of those that call it"
        );
        (AuditOutcome::Pass, summary)
    }

    /// What speaks against the change first, then by role and weight. What is around the service is
    /// listed where it changed.
    fn documented(mut self) -> Vec<AuditedSignal> {
        self.all.retain(|signal| {
            signal.measured.role != Role::Surroundings || signal.state < AuditState::Unchanged
        });
        self.all.sort_by(|a, b| {
            let key = |signal: &Judged| {
                (signal.measured.role == Role::Surroundings, signal.state, signal.measured.role)
            };
            let (a, b) = ((key(a), a), (key(b), b));
            let by_z = b.1.measured.verdict.z.total_cmp(&a.1.measured.verdict.z);
            let by_name = |signal: &Judged| (signal.measured.rule, signal.measured.subject.clone());
            a.0.cmp(&b.0).then(by_z).then_with(|| by_name(a.1).cmp(&by_name(b.1)))
        });
        self.all.into_iter().map(documented).collect()
    }
}

fn state(change: &Change, measured: &Measured, is_significant: bool) -> AuditState {
    let (z, (before, after)) = (measured.verdict.z, measured.verdict.n);
    let least = before.min(after);
    // A rate of requests is no test: it is there to explain.
    let is_shown = measured.what == What::Rate || (z >= Z_MIN && is_significant);
    if measured.is_larger && is_shown && least >= COUNT_MIN {
        let since = measured.verdict.since;
        return match since {
            Some(since) if since.end <= change.start => AuditState::BeganEarlier,
            _ => AuditState::Regressed,
        };
    }
    if least < measured.needed {
        AuditState::Insufficient
    } else if measured.is_larger && z >= Z_UNDECIDED {
        AuditState::Undecided
    } else {
        AuditState::Unchanged
    }
}

fn documented(signal: Judged) -> AuditedSignal {
    let Judged { measured, state, reason } = signal;
    let is_worse = state < AuditState::Undecided;
    AuditedSignal {
        role: measured.role,
        service: measured.service,
        rule: measured.rule.to_owned(),
        subject: measured.subject,
        state,
        reason,
        z: measured.verdict.z,
        placebo_windows: measured.verdict.placebos,
        since: measured.verdict.since.filter(|_| is_worse),
        finding: measured.finding,
    }
}

/// The heaviest first.
fn named(signals: &[&Judged]) -> String {
    let mut sorted = signals.to_vec();
    sorted.sort_by(|a, b| {
        let (a, b) = (&a.measured, &b.measured);
        let by_role = a.role.cmp(&b.role);
        let by_z = b.verdict.z.total_cmp(&a.verdict.z);
        by_role.then(by_z).then_with(|| a.subject.cmp(&b.subject))
    });
    let name = |signal: &&Judged| {
        let Measured { rule, subject, .. } = &signal.measured;
        match signal.measured.what {
            What::Latency | What::Errors | What::ByVersion => {
                format!("{} of {subject}", rule.replace('_', " "))
            }
            _ => subject.clone(),
        }
    };
    let mut names: Vec<String> = sorted.iter().take(NAMED_MAX).map(name).collect();
    if sorted.len() > NAMED_MAX {
        names.push(format!("{} more", sorted.len() - NAMED_MAX));
    }
    names.join(", ")
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}
