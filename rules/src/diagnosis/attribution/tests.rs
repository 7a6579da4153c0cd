//! Added time that is put where it was put in.

use super::{Attribution, attribute};
use crate::diagnosis::signal::Operation;
use crate::diagnosis::traces::{Sample, Span, Trace};

const MS: i64 = 1_000_000;

/// Extra milliseconds, by where they are spent.
#[derive(Clone, Copy, Default)]
struct Extra {
    shop_own: i64,
    stock_own: i64,
    /// Before and after every call of the shop.
    shop_calls: i64,
    /// On the way to the stock and back.
    stock_network: i64,
}

/// A request to the shop, which calls stock, cart and payment in turn.
fn request(sample: &mut Sample, number: i64, extra: Extra) -> Trace {
    let jitter = number % 7;
    let mut spans = Vec::new();
    let mut add = |service: &str, name: &str, kind: &str, start: i64, ms: i64| {
        let operation = Operation {
            service: service.to_owned(),
            span_name: name.to_owned(),
            span_kind: kind.to_owned(),
        };
        let group = sample.groups.of(operation, None);
        spans.push(Span { group, start: start * MS, duration: ms * MS, children: Vec::new() });
        spans.len() - 1
    };
    let root = add("shop", "POST /buy", "SERVER", 0, 0);
    let mut at = 10 + jitter + extra.shop_own;
    let mut links = Vec::new();
    for (callee, own) in [("stock", 20 + extra.stock_own), ("cart", 5), ("payment", 30)] {
        let network = if callee == "stock" { extra.stock_network } else { 0 };
        let gap = 2 + extra.shop_calls + network;
        let own = own + jitter;
        let client = add("shop", &format!("call {callee}"), "CLIENT", at, own + gap);
        let server = add(callee, "GET /", "SERVER", at + gap / 2, own);
        links.extend([(root, client), (client, server)]);
        at += own + gap;
    }
    for (parent, child) in links {
        spans[parent].children.push(child);
    }
    spans[root].duration = at * MS;
    Trace { spans, root }
}

/// One in `every` requests has the extra time.
fn sample(extra: Extra, every: i64) -> Sample {
    let mut sample = Sample { seconds: 600.0, ..Sample::default() };
    for number in 0..100 {
        let extra = if number % every == 0 { extra } else { Extra::default() };
        let trace = request(&mut sample, number, extra);
        sample.traces.push(trace);
    }
    sample
}

fn attributed(extra: Extra, every: i64) -> Attribution {
    attribute(&sample(extra, every), &sample(Extra::default(), 1))
}

fn shown(attribution: &Attribution) -> Vec<&str> {
    attribution.shown().map(|added| added.service.as_str()).collect()
}

#[test]
fn nothing_is_shown_where_nothing_changed() {
    assert!(shown(&attributed(Extra::default(), 1)).is_empty());
    let few =
        attribute(&sample(Extra { shop_own: 500, ..Extra::default() }, 1), &Sample::default());
    assert!(few.services.is_empty(), "nothing to compare with: {few:?}");
}

#[test]
fn own_work_is_the_services_and_not_its_callers() {
    let attribution = attributed(Extra { stock_own: 50, ..Extra::default() }, 1);
    assert_eq!(shown(&attribution), ["stock"]);
    let stock = &attribution.services[0];
    assert!((stock.own_ms - 50.0).abs() < 1.0 && stock.called_ms.abs() < 0.5, "{stock:?}");
    assert!((attribution.share_of("stock") - 1.0).abs() < 1e-9);
    let attribution = attributed(Extra { shop_own: 50, ..Extra::default() }, 1);
    assert_eq!(shown(&attribution), ["shop"]);
}

#[test]
fn a_gap_to_one_callee_is_the_callees_and_gaps_to_all_are_the_callers() {
    let attribution = attributed(Extra { stock_network: 50, ..Extra::default() }, 1);
    assert_eq!(shown(&attribution), ["stock"]);
    assert!((attribution.services[0].called_ms - 50.0).abs() < 1.0, "{attribution:?}");
    let attribution = attributed(Extra { shop_calls: 50, ..Extra::default() }, 1);
    assert_eq!(shown(&attribution), ["shop"]);
    assert!((attribution.services[0].calling_ms - 150.0).abs() < 1.0, "{attribution:?}");
}

#[test]
fn two_causes_at_once_are_both_shown_the_larger_first() {
    let extra = Extra { stock_own: 30, shop_own: 60, ..Extra::default() };
    assert_eq!(shown(&attributed(extra, 1)), ["shop", "stock"]);
}

#[test]
fn slow_requests_in_a_part_of_the_window_are_enough() {
    let attribution = attributed(Extra { stock_network: 80, ..Extra::default() }, 3);
    assert_eq!(shown(&attribution), ["stock"]);
}
