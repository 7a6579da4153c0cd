//! The model against the figures of the incident, on many more requests than a scenario has.

use super::{Call, CheckoutTimes, Conditions, Draw, MINUTE_SIGMA, lognormal};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const REQUESTS: usize = 300_000;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Healthy,
    Inflated,
    Recovered,
}

fn sample(state: State) -> Vec<CheckoutTimes> {
    let is_large = state == State::Inflated;
    let pressure = f64::from(u8::from(is_large));
    let has_recovered = state == State::Recovered;
    let mut random = ChaCha8Rng::seed_from_u64(7);
    (0..REQUESTS)
        .map(|_| {
            let minute_factor = lognormal(1.0, MINUTE_SIGMA, &mut random);
            let conditions = Conditions { pressure, is_large, has_recovered, minute_factor };
            Draw::new(&mut random).times(&conditions)
        })
        .collect()
}

fn quantile(times: &[CheckoutTimes], q: f64, of: impl Fn(&CheckoutTimes) -> i64) -> f64 {
    let mut values: Vec<i64> = times.iter().map(of).collect();
    values.sort_unstable();
    let rank = usize::try_from(super::whole(values.len() as f64 * q)).unwrap();
    values[rank] as f64 / 1e6
}

fn check(times: &[CheckoutTimes], medians: [f64; 5], p99: f64) {
    let spans: [fn(&CheckoutTimes) -> i64; 5] = [
        |t| t.order_query.duration,
        |t| t.inventory.client.duration,
        |t| t.payment.client.duration,
        |t| t.serialise.duration,
        |t| t.auth.client.duration,
    ];
    for (span, median) in spans.into_iter().zip(medians) {
        let got = quantile(times, 0.5, span);
        assert!((got / median - 1.0).abs() < 0.01, "median {got} ms, wanted {median} ms");
    }
    let got = quantile(times, 0.99, |t| t.total);
    assert!((got / p99 - 1.0).abs() < 0.01, "p99 {got} ms, wanted {p99} ms");
}

#[test]
fn healthy_checkouts_have_the_medians_and_the_p99_of_the_story() {
    check(&sample(State::Healthy), [12.0, 80.0, 90.0, 8.0, 5.0], 240.0);
}

#[test]
fn inflated_checkouts_have_the_medians_and_the_p99_of_the_story() {
    check(&sample(State::Inflated), [340.0, 850.0, 280.0, 340.0, 5.0], 1400.0);
}

#[test]
fn recovered_checkouts_are_at_235_ms() {
    let p99 = quantile(&sample(State::Recovered), 0.99, |t| t.total);
    assert!((p99 / 235.0 - 1.0).abs() < 0.01, "{p99} ms");
}

#[test]
fn the_p99s_of_the_parts_do_not_add_up() {
    let times = sample(State::Inflated);
    let parts = quantile(&times, 0.99, |t| t.inventory.client.duration)
        + quantile(&times, 0.99, |t| t.serialise.duration);
    assert!(parts > 1.05 * quantile(&times, 0.99, |t| t.total), "{parts} ms");
}

#[test]
fn payment_and_auth_grow_on_the_side_of_the_client_alone() {
    let server = |call: fn(&CheckoutTimes) -> Call, times: &[CheckoutTimes]| {
        quantile(times, 0.5, |t| call(t).server.duration)
    };
    let (before, during) = (sample(State::Healthy), sample(State::Inflated));
    for call in [|t: &CheckoutTimes| t.payment, |t: &CheckoutTimes| t.auth] {
        assert!((server(call, &during) / server(call, &before) - 1.0).abs() < 0.01);
    }
}

#[test]
fn children_lie_inside_the_request_and_servers_inside_their_clients() {
    for times in sample(State::Inflated).iter().chain(&sample(State::Healthy)).take(50_000) {
        let end = |s: super::Stretch| s.start + s.duration;
        for call in [times.auth, times.inventory, times.payment] {
            assert!(call.client.start <= call.server.start);
            assert!(end(call.server) <= end(call.client));
            assert!(end(call.client) <= times.serialise.start);
        }
        assert!(end(times.order_query) <= times.payment.client.start);
        assert!(end(times.serialise) <= times.total);
    }
}
