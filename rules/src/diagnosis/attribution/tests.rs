//! Added time that is put where it was put in.

use super::{Attribution, Part, attribute};
use crate::diagnosis::signal::Operation;
use crate::diagnosis::traces::{Place, Sample, Span, Trace};

const MS: i64 = 1_000_000;

/// What is different about a request: extra milliseconds by where they are spent, and the rest.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extra {
    pub(crate) shop_own: i64,
    pub(crate) stock_own: i64,
    /// Before and after every call of the shop.
    pub(crate) shop_calls: i64,
    /// On the way to the stock and back.
    pub(crate) stock_network: i64,
    /// Calls to the stock beside the one that there always is.
    pub(crate) stock_calls: i64,
    /// Of all calls to the stock, so many of the first fail.
    pub(crate) stock_failures: i64,
    /// The shop asks a cache first.
    pub(crate) asks_cache: bool,
    pub(crate) shop_fails: bool,
    pub(crate) version: &'static str,
    pub(crate) host: &'static str,
}

/// Spans of one trace.
struct Scene<'a> {
    sample: &'a mut Sample,
    spans: Vec<Span>,
    start: i64,
    extra: Extra,
}

impl Scene<'_> {
    fn add(&mut self, (service, name, kind): (&str, &str, &str), (start, ms): (i64, i64)) -> usize {
        let operation = Operation {
            service: service.to_owned(),
            span_name: name.to_owned(),
            span_kind: kind.to_owned(),
        };
        let peer = (kind == "CLIENT").then(|| name.trim_start_matches("call ").to_owned());
        let group = self.sample.groups.of(operation, peer);
        if name == "call cache" {
            self.sample.groups.systems[group] = Some("redis".to_owned());
        }
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        // All but the payment run on the machine in question.
        let host = if service == "payment" { "elsewhere" } else { self.extra.host };
        let version = if service == "shop" { self.extra.version } else { "" };
        let place = Place { version: text(version), host: text(host) };
        let place = self.sample.groups.place(place);
        let start = (self.start + start) * MS;
        self.spans.push(Span { group, place, start, duration: ms * MS, ..Span::default() });
        self.spans.len() - 1
    }

    fn child_of(&mut self, parent: usize, child: usize) {
        self.spans[parent].children.push(child);
    }
}

/// A request to the shop, which calls stock, cart and payment in turn.
fn request(sample: &mut Sample, number: i64, extra: Extra) -> Trace {
    let jitter = number % 7;
    let mut scene = Scene { sample, spans: Vec::new(), start: number * 1_000, extra };
    let root = scene.add(("shop", "POST /buy", "SERVER"), (0, 0));
    scene.spans[root].has_failed = extra.shop_fails;
    let mut at = 10 + jitter + extra.shop_own;
    if extra.asks_cache {
        let cache = scene.add(("shop", "call cache", "CLIENT"), (at, 1));
        scene.child_of(root, cache);
        at += 1;
    }
    let mut callees = vec![("stock", 20 + extra.stock_own)];
    callees.extend((0..extra.stock_calls).map(|_| ("stock", 20 + extra.stock_own)));
    callees.extend([("cart", 5), ("payment", 30)]);
    for (nth, (callee, own)) in (0..).zip(callees) {
        let network = if callee == "stock" { extra.stock_network } else { 0 };
        let gap = 2 + extra.shop_calls + network;
        let own = own + jitter;
        let client = scene.add(("shop", &format!("call {callee}"), "CLIENT"), (at, own + gap));
        let server = scene.add((callee, "GET /", "SERVER"), (at + gap / 2, own));
        scene.child_of(root, client);
        scene.child_of(client, server);
        at += own + gap;
        if nth < extra.stock_failures {
            for span in [client, server] {
                scene.spans[span].has_failed = true;
            }
            // It waits before it tries again.
            at += 40;
        }
    }
    scene.spans[root].duration = at * MS;
    Trace { spans: scene.spans, root }
}

/// Requests of a sample, a second apart.
const REQUESTS: i64 = 300;

/// Requests, each different in its own way.
pub(crate) fn sample_of(extra: impl Fn(i64) -> Extra) -> Sample {
    let mut sample = Sample { seconds: REQUESTS as f64, ..Sample::default() };
    for number in 0..REQUESTS {
        let trace = request(&mut sample, number, extra(number));
        sample.traces.push(trace);
    }
    sample
}

/// One in `every` requests has the extra time.
pub(crate) fn sample(extra: Extra, every: i64) -> Sample {
    sample_of(|number| if number % every == 0 { extra } else { Extra::default() })
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
    assert!(
        (stock.ms_in(Part::Own) - 50.0).abs() < 1.0 && stock.ms_in(Part::Called).abs() < 0.5,
        "{stock:?}"
    );
    assert!((attribution.share_of("stock") - 1.0).abs() < 1e-9);
    let attribution = attributed(Extra { shop_own: 50, ..Extra::default() }, 1);
    assert_eq!(shown(&attribution), ["shop"]);
}

#[test]
fn a_gap_to_one_callee_is_the_callees_and_gaps_to_all_are_the_callers() {
    let attribution = attributed(Extra { stock_network: 50, ..Extra::default() }, 1);
    assert_eq!(shown(&attribution), ["stock"]);
    assert!((attribution.services[0].ms_in(Part::Called) - 50.0).abs() < 1.0, "{attribution:?}");
    let attribution = attributed(Extra { shop_calls: 50, ..Extra::default() }, 1);
    assert_eq!(shown(&attribution), ["shop"]);
    assert!((attribution.services[0].ms_in(Part::Calling) - 150.0).abs() < 1.0, "{attribution:?}");
}

#[test]
fn gaps_that_differ_by_no_more_than_chance_are_the_callers() {
    // A few requests, of which one in three waits around its calls, the stock's by chance the longest.
    let few = |slow: i64| {
        let mut sample = Sample { seconds: 60.0, ..Sample::default() };
        for number in 0..30 {
            let extra = match number % 3 {
                0 => Extra {
                    shop_own: slow,
                    shop_calls: slow + slow * (number % 4) / 4,
                    stock_network: slow * (number % 5) / 4,
                    ..Extra::default()
                },
                _ => Extra::default(),
            };
            let trace = request(&mut sample, number, extra);
            sample.traces.push(trace);
        }
        sample
    };
    let attribution = attribute(&few(80), &few(0));
    assert_eq!(shown(&attribution), ["shop"], "{attribution:#?}");
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

#[test]
fn more_calls_are_the_callers_and_calls_that_are_made_again_the_callees() {
    let attribution = attributed(Extra { stock_calls: 3, ..Extra::default() }, 1);
    assert_eq!(shown(&attribution), ["shop"]);
    let shop = attribution.main().unwrap();
    assert_eq!(shop.main_part(), Part::Asking);
    let more = shop.more_calls.as_ref().unwrap();
    assert_eq!((&*more.callee, &more.cache), ("stock", &None));
    let failing = Extra { stock_calls: 2, stock_failures: 2, ..Extra::default() };
    let attribution = attributed(failing, 2);
    assert_eq!(shown(&attribution), ["stock"], "pauses before retries are no work of the shop");
    assert_eq!(attribution.main().unwrap().main_part(), Part::Repeated);
}

#[test]
fn calls_beside_a_cache_that_is_asked_as_often_are_misses() {
    let cached = |stock_calls| Extra { stock_calls, asks_cache: true, ..Extra::default() };
    let attribution = attribute(&sample(cached(2), 1), &sample(cached(0), 1));
    let more = attribution.main().unwrap().more_calls.clone().unwrap();
    assert_eq!((&*more.callee, more.cache.as_deref()), ("stock", Some("cache")));
}

#[test]
fn a_version_is_held_against_the_other_in_the_same_minutes() {
    let of = |number: i64, shop_own: i64| match number % 4 {
        0 => Extra { shop_own, version: "2.0", ..Extra::default() },
        _ => Extra { version: "1.0", ..Extra::default() },
    };
    let before = sample_of(|_| Extra { version: "1.0", ..Extra::default() });
    let attribution = attribute(&sample_of(|number| of(number, 60)), &before);
    let side = |attribution: &Attribution, version: &str| {
        let versions = &attribution.main().unwrap().versions;
        versions.iter().find(|side| side.version == version).cloned().unwrap()
    };
    let new = side(&attribution, "2.0");
    assert!(new.is_slower && !new.is_same, "{new:?}");
    assert!(!side(&attribution, "1.0").is_slower);
    // Both versions slow at once: it is not the version.
    let both = sample_of(|number| Extra { shop_own: 60, ..of(number, 0) });
    let new = side(&attribute(&both, &before), "2.0");
    assert!(!new.is_slower && new.is_same, "{new:?}");
    // One after the other: nothing is side by side.
    let turns = sample_of(|number| match number {
        0..180 => Extra { version: "1.0", ..Extra::default() },
        _ => Extra { shop_own: 60, version: "2.0", ..Extra::default() },
    });
    assert!(attribute(&turns, &before).main().unwrap().versions.is_empty());
}

#[test]
fn a_machine_is_named_if_several_services_are_slow_on_it_and_not_elsewhere() {
    let on = |number: i64, own: i64| match number % 2 {
        0 => Extra { shop_own: own, stock_own: own, host: "node-1", ..Extra::default() },
        _ => Extra { host: "node-2", ..Extra::default() },
    };
    let before = sample_of(|number| on(number, 0));
    let host = attribute(&sample_of(|number| on(number, 40)), &before).host.unwrap();
    assert_eq!((&*host.host, host.services), ("node-1", vec!["shop".into(), "stock".into()]));
    let everywhere = sample_of(|number| Extra { shop_own: 40, stock_own: 40, ..on(number, 0) });
    assert_eq!(attribute(&everywhere, &before).host, None, "slow on both machines");
    let alone = sample_of(|number| Extra { stock_own: 0, ..on(number, 40) });
    assert_eq!(attribute(&alone, &before).host, None, "one service may have its own reason");
    // A version that runs on the other machine too is not slow there; one that does not may be why.
    let same_elsewhere = |there: &'static str| {
        let now = sample_of(|number| {
            let version = if number % 2 == 0 { "2.0" } else { there };
            Extra { version, ..on(number, 40) }
        });
        attribute(&now, &before).host.unwrap().same_elsewhere.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(same_elsewhere("2.0"), [("shop".to_owned(), "2.0".to_owned())]);
    assert_eq!(same_elsewhere("1.0"), [("shop".to_owned(), "1.0".to_owned())]);
}

#[test]
fn time_in_failed_requests_is_told_from_slow_ones() {
    let failing = Extra { shop_own: 80, shop_fails: true, ..Extra::default() };
    let (now, before) = attributed(failing, 4).main().unwrap().failures.unwrap();
    assert!((now - 0.25).abs() < 1e-9 && before == 0.0);
    let slow = sample_of(|number| Extra {
        shop_own: 80,
        shop_fails: number % 20 == 0,
        ..Extra::default()
    });
    let attribution = attribute(&slow, &sample(Extra::default(), 1));
    assert_eq!(attribution.main().unwrap().failures, None, "all are slow, some fail");
}

#[test]
fn the_onset_is_where_slow_traces_become_frequent() {
    let late = sample_of(|number| Extra {
        stock_own: if number >= 120 { 60 } else { 0 },
        ..Extra::default()
    });
    let mut before = sample(Extra::default(), 1);
    for trace in &mut before.traces {
        for span in &mut trace.spans {
            span.start -= 1_000_000 * MS;
        }
    }
    let (onset, interval) = attribute(&late, &before).onset.unwrap();
    assert!((onset.nanos() - 120_000 * MS).abs() <= 2_000 * MS, "{onset:?}");
    assert!(interval.start <= onset && onset <= interval.end, "{interval:?}");
    assert!(interval.end.nanos() - interval.start.nanos() < 20_000 * MS, "{interval:?}");
}
