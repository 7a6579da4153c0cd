//! The shares of the groups, before any sample is drawn.

use super::{Group, Nesting, groups};

/// Share of the stacks that hold one of the functions, a stack once.
fn share(groups: &[Group], functions: &[&str], of: fn(&Group) -> f64) -> f64 {
    groups
        .iter()
        .map(|group| {
            let weights: f64 = group.stacks.iter().map(|(weight, _)| weight).sum();
            let matching: f64 = group
                .stacks
                .iter()
                .filter(|(_, stack)| stack.iter().any(|f| functions.contains(&f.function)))
                .map(|(weight, _)| weight)
                .sum();
            of(group) * matching / weights
        })
        .sum()
}

fn check(nesting: Nesting, functions: &[&str], healthy: f64, inflated: f64) {
    let groups = groups(nesting);
    for (of, expected) in
        [((|g| g.healthy) as fn(&Group) -> f64, healthy), (|g| g.inflated, inflated)]
    {
        let got = share(&groups, functions, of);
        assert!((got - expected).abs() < 1e-9, "{functions:?}: {got} %, wanted {expected} %");
    }
}

const SCAN: &str = "runtime.scanobject";
const MALLOC: &str = "runtime.mallocgc";
const MARSHAL: &str = "encoding/json.Marshal";

#[test]
fn both_sets_have_the_shares_of_the_story() {
    for nesting in [Nesting::Disjoint, Nesting::UnderMarshal] {
        check(nesting, &[SCAN], 4.0, 22.0);
        check(nesting, &[MALLOC], 2.0, 9.0);
        check(nesting, &[MARSHAL], 4.0, 24.0);
        check(nesting, &["handlers.Checkout"], 6.0, 6.0);
        check(nesting, &["pgx.Query"], 12.0, 12.0);
        check(nesting, &[SCAN, MALLOC], 6.0, 31.0);
    }
}

#[test]
fn the_union_depends_on_the_nesting() {
    check(Nesting::Disjoint, &[SCAN, MALLOC, MARSHAL], 10.0, 55.0);
    check(Nesting::UnderMarshal, &[SCAN, MALLOC, MARSHAL], 10.0 - 16.0 / 9.0, 47.0);
}

#[test]
fn shares_add_up_and_are_never_negative() {
    for nesting in [Nesting::Disjoint, Nesting::UnderMarshal] {
        let groups = groups(nesting);
        assert!(groups.iter().all(|group| group.healthy >= 0.0 && group.inflated >= 0.0));
        assert!((groups.iter().map(|group| group.healthy).sum::<f64>() - 100.0).abs() < 1e-9);
        assert!((groups.iter().map(|group| group.inflated).sum::<f64>() - 100.0).abs() < 1e-9);
    }
}
