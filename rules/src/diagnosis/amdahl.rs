//! What removing the grown frames would bring at most: Amdahl's law, and when queueing makes it an
//! underestimate.

use super::document::Amdahl;
use super::profile::Risen;
use super::utilisation::Utilisation;

const FORMULA: &str = "speedup = 1 / (1 - f); resulting_ms = current_ms * (1 - f); with k = current_ms / target_ms, threshold_utilisation = (k (1 - f) - 1) / ((1 - f) (k - 1)) (M/M/1)";

/// A target for the symptom's figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) ms: f64,
    pub(crate) is_objective: bool,
}

/// Applies the law to the union of all risen families.
pub(crate) fn compute(
    combined: &Risen,
    current_ms: f64,
    target: Target,
    utilisation: Option<&Utilisation>,
) -> Option<Amdahl> {
    let fraction = combined.figures.observed? / 100.0;
    if !(0.0..1.0).contains(&fraction) || target.ms <= 0.0 {
        return None;
    }
    let left = 1.0 - fraction;
    let resulting_ms = current_ms * left;
    let is_enough = resulting_ms <= target.ms;
    let threshold_utilisation = threshold(current_ms / target.ms, left).filter(|_| !is_enough);
    let measured = utilisation.map(|utilisation| utilisation.now);
    let caveat = match threshold_utilisation {
        Some(rho) => format!(
            "latency is taken as proportional to processor time; waiting for the processor shrinks faster than work, so the conclusion {} above {:.0} %{}",
            match measured {
                Some(now) if now > rho => "does not hold, its utilisation being",
                _ => "holds unless its utilisation was",
            },
            100.0 * rho,
            measured.map_or_else(String::new, |now| format!(": it was {:.0} %", 100.0 * now))
        ),
        None => {
            "latency is taken as proportional to processor time, which is the most that removing frames can bring without queueing".to_owned()
        }
    };
    Some(Amdahl {
        fraction,
        speedup: 1.0 / left,
        current_ms,
        resulting_ms,
        target_ms: target.ms,
        target: if target.is_objective { "objective" } else { "baseline" }.to_owned(),
        is_enough,
        threshold_utilisation,
        utilisation: measured,
        formula: FORMULA.to_owned(),
        caveat,
        findings: [Some(&combined.finding), utilisation.map(|utilisation| &utilisation.finding)]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
    })
}

/// Utilisation at which an M/M/1 queue would gain the factor `k` from work that shrinks to `left`:
/// the gain `(1 - left rho) / (left (1 - rho))` solved for `rho`.
fn threshold(k: f64, left: f64) -> Option<f64> {
    let rho = (k * left - 1.0) / (left * (k - 1.0));
    (k > 1.0 && (0.0..1.0).contains(&rho)).then_some(rho)
}

#[cfg(test)]
mod tests {
    use super::{Target, compute};
    use crate::diagnosis::inquiry::Figures;
    use crate::diagnosis::profile::Risen;
    use crate::diagnosis::utilisation::Utilisation;

    fn check(percent: f64, target_ms: f64, expected: (f64, f64, Option<f64>)) {
        let figures = Figures { observed: Some(percent), baseline: None, n: 3000 };
        let risen = Risen { families: Vec::new(), figures, finding: String::new() };
        let target = Target { ms: target_ms, is_objective: true };
        let law = compute(&risen, 1400.0, target, None).expect("a share");
        let (speedup, resulting, rho) = expected;
        assert!((law.speedup - speedup).abs() < 0.005, "{law:?}");
        assert!((law.resulting_ms - resulting).abs() < 0.5, "{law:?}");
        let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 0.005,
            (a, b) => a.is_none() && b.is_none(),
        };
        assert!(near(law.threshold_utilisation, rho), "{law:?}");
    }

    #[test]
    fn a_measured_utilisation_says_whether_the_conclusion_holds() {
        let figures = Figures { observed: Some(55.0), baseline: None, n: 3000 };
        let risen = Risen { families: Vec::new(), figures, finding: "share".to_owned() };
        let target = Target { ms: 200.0, is_objective: true };
        for (now, expected) in [
            (0.34, "holds unless its utilisation was above 80 %: it was 34 %"),
            (0.91, "does not hold, its utilisation being above 80 %: it was 91 %"),
        ] {
            let busy = Utilisation { now, before: None, finding: "busy".to_owned() };
            let law = compute(&risen, 1400.0, target, Some(&busy)).expect("a share");
            assert!(law.caveat.ends_with(expected), "{}", law.caveat);
            assert_eq!((law.utilisation, law.findings.len()), (Some(now), 2));
        }
    }

    /// Worked by hand from the formulas; 630 and not 636, which rounds the factor first.
    #[test]
    fn the_factor_is_not_rounded_before_it_is_used() {
        check(55.0, 200.0, (2.22, 630.0, Some(0.796)));
        check(47.0, 200.0, (1.89, 742.0, Some(0.852)));
        check(95.0, 200.0, (20.0, 70.0, None));
    }
}
