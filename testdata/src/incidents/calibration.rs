//! How strong a fault must be: it is made stronger until trial requests are as slow as was wanted.

use super::clock::{HOUR, MINUTE, count};
use super::faults::Fault;
use super::plan::Plan;
use super::requests::Player;
use super::world::World;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

const REQUESTS: usize = 160;
const FIRST: f64 = 0.25;
const STEP: f64 = 1.35;
/// More does not make it another incident.
const MAGNITUDE_MAX: f64 = 120.0;

/// Sets the faults of the world, and what of its topology goes with them.
pub(crate) fn calibrate(plan: &Plan, world: &mut World, wanted: f64, random: &ChaCha8Rng) {
    let healthy = durations(plan, world, random.clone());
    world.slow_from = healthy[healthy.len() * 9 / 10];
    let mut magnitude = FIRST;
    if !plan.family.is_healthy() {
        loop {
            plan.tune(&mut world.topology, magnitude);
            let slow = plan.faults(magnitude).iter().map(Fault::always).collect();
            if ratio(plan, world, slow, random) >= wanted || magnitude > MAGNITUDE_MAX {
                break;
            }
            magnitude *= STEP;
        }
    }
    world.faults = plan.faults(magnitude);
}

/// How many times longer trial requests take with these faults.
fn ratio(plan: &Plan, world: &mut World, slow: Vec<Fault>, random: &ChaCha8Rng) -> f64 {
    world.faults = Vec::new();
    let healthy = durations(plan, world, random.clone());
    world.faults = slow;
    let slower = durations(plan, world, random.clone());
    let at = |sorted: &[i64], share: f64| sorted[count((sorted.len() - 1) as f64 * share)] as f64;
    f64::max(at(&slower, 0.5) / at(&healthy, 0.5), at(&slower, 0.9) / at(&healthy, 0.9))
}

fn durations(plan: &Plan, world: &World, mut random: ChaCha8Rng) -> Vec<i64> {
    let start = world.clock.start;
    let instants: Vec<i64> =
        (0..REQUESTS).map(|_| start + random.random_range(0..2 * HOUR / MINUTE) * MINUTE).collect();
    let mut player = Player::new(world, random);
    let mut durations: Vec<i64> =
        instants.into_iter().map(|i| player.play(plan.site.entry, i).duration).collect();
    durations.sort_unstable();
    durations
}
