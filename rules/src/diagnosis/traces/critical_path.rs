//! Where the time of a request is: its critical path, each instant given to exactly one span.
//!
//! From the end of a span backwards: the child that ended last was waited for, so the time since
//! its end is the span's own, its duration is the child's (and is divided there), and the walk goes
//! on at its start (as in CRISP, USENIX ATC 2022, and Jaeger's critical path). Times of spans in
//! one trace therefore add up to the duration of its root, and their means to its mean.

use std::collections::BTreeMap;

use super::{Groups, Sample, Trace};

/// Self time on the critical path by (service, span name), in nanoseconds over all traces.
pub(crate) type SelfTimes = BTreeMap<(String, String), i64>;

/// Sums the critical paths of a sample.
pub(crate) fn self_times(sample: &Sample) -> SelfTimes {
    let mut times = vec![0; sample.groups.operations.len()];
    for trace in &sample.traces {
        add(trace, &sample.groups, &mut times);
    }
    let mut named = SelfTimes::new();
    for (operation, time) in sample.groups.operations.iter().zip(times) {
        let key = (operation.service.clone(), operation.span_name.clone());
        *named.entry(key).or_default() += time;
    }
    named
}

/// Total duration of the symptom's spans, in nanoseconds.
pub(crate) fn total(sample: &Sample) -> i64 {
    sample.traces.iter().map(|trace| trace.spans[trace.root].duration).sum()
}

/// A span with the part of time that is divided among it and its children, and how far its clock
/// is off from its parent's.
struct Visit {
    span: usize,
    start: i64,
    end: i64,
    offset: i64,
}

fn add(trace: &Trace, groups: &Groups, times: &mut [i64]) {
    let mut seen = vec![false; trace.spans.len()];
    let root = &trace.spans[trace.root];
    let end = root.start.saturating_add(root.duration);
    let mut open = vec![Visit { span: trace.root, start: root.start, end, offset: 0 }];
    while let Some(visit) = open.pop() {
        if std::mem::replace(&mut seen[visit.span], true) {
            // A circle of parents: the time is its own.
            times[trace.spans[visit.span].group] += visit.end - visit.start;
            continue;
        }
        let (own, children) = divide(trace, groups, &visit);
        times[trace.spans[visit.span].group] += own;
        open.extend(children.into_iter().filter(|child| !seen[child.span]));
    }
}

/// The span's own part, and the parts of the children that were waited for.
fn divide(trace: &Trace, groups: &Groups, visit: &Visit) -> (i64, Vec<Visit>) {
    let span = &trace.spans[visit.span];
    let mut children: Vec<Visit> = span
        .children
        .iter()
        .filter(|child| **child != trace.root && is_waited_for(trace, groups, **child))
        .map(|child| placed(trace, groups, visit, *child))
        .filter(|child| child.start < child.end)
        .collect();
    children.sort_by_key(|child| (std::cmp::Reverse(child.end), child.start, child.span));
    let (mut cursor, mut own, mut path) = (visit.end, 0, Vec::new());
    for child in children {
        if child.end > cursor {
            continue;
        }
        own += cursor - child.end;
        cursor = child.start;
        path.push(child);
    }
    (own + cursor - visit.start, path)
}

/// Whoever sends a message does not wait for its consumer.
fn is_waited_for(trace: &Trace, groups: &Groups, span: usize) -> bool {
    groups.operations[trace.spans[span].group].span_kind != "CONSUMER"
}

/// The child within its parent's part. A child of another service that does not lie within its
/// parent has another clock: it is moved to the middle, if it fits.
fn placed(trace: &Trace, groups: &Groups, parent: &Visit, child: usize) -> Visit {
    let (outer, inner) = (&trace.spans[parent.span], &trace.spans[child]);
    let remote = groups.operations[outer.group].service != groups.operations[inner.group].service;
    let outer_start = outer.start + parent.offset;
    let (start, end) = (inner.start + parent.offset, inner.start + parent.offset + inner.duration);
    let is_outside = start < outer_start || end > outer_start + outer.duration;
    let mut offset = parent.offset;
    if remote && is_outside && inner.duration <= outer.duration {
        offset += outer_start + (outer.duration - inner.duration) / 2 - start;
    }
    let start = inner.start + offset;
    Visit {
        span: child,
        start: start.max(parent.start),
        end: (start + inner.duration).min(parent.end),
        offset,
    }
}
