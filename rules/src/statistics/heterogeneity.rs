//! Whether several log ratios are the same factor: `DerSimonian` and Laird's variance between groups,
//! with its upper limit by the Q-profile method, and the effective number of contributors.

/// The factors are called uniform only if their spread is below this even at its upper limit:
/// within 42 % of each other.
const TAU_UNIFORM_MAX: f64 = 0.35;
/// And different only if it is above this,
const TAU_DIFFERENT_MIN: f64 = 0.22;
/// and chance would give as much in fewer than one of a hundred cases: this quantile of chi square.
const Q_LEVEL: f64 = 0.99;

/// A log ratio with its standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogRatio {
    pub(crate) value: f64,
    pub(crate) error: f64,
}

/// What the spread of several factors supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uniformity {
    /// Equivalent factors.
    Uniform,
    /// Different factors.
    Different,
    /// Neither can be shown.
    Undetermined,
}

/// Tests whether the factors are one.
pub(crate) fn uniformity(ratios: &[LogRatio]) -> Uniformity {
    if ratios.len() < 2 {
        return Uniformity::Undetermined;
    }
    let freedom = (ratios.len() - 1) as f64;
    let spread = tau_squared(ratios).sqrt();
    if cochran_q(ratios, 0.0) > chi_squared_quantile(freedom, Q_LEVEL) && spread > TAU_DIFFERENT_MIN
    {
        return Uniformity::Different;
    }
    // The upper limit of tau lies below the bound if, at the bound, Q is already too small.
    let at_bound = cochran_q(ratios, TAU_UNIFORM_MAX * TAU_UNIFORM_MAX);
    if at_bound < chi_squared_quantile(freedom, 0.05) {
        return Uniformity::Uniform;
    }
    Uniformity::Undetermined
}

/// `1 / sum(share^2)` of the positive contributions: how many groups carry the change.
pub(crate) fn effective_number(contributions: &[f64]) -> f64 {
    let positive: Vec<f64> = contributions.iter().copied().filter(|c| *c > 0.0).collect();
    let total: f64 = positive.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    1.0 / positive.iter().map(|c| (c / total) * (c / total)).sum::<f64>()
}

/// Cochran's Q with an assumed variance between groups.
fn cochran_q(ratios: &[LogRatio], between: f64) -> f64 {
    let weight = |ratio: &LogRatio| 1.0 / (ratio.error * ratio.error + between);
    let total: f64 = ratios.iter().map(weight).sum();
    let mean = ratios.iter().map(|r| weight(r) * r.value).sum::<f64>() / total;
    ratios.iter().map(|r| weight(r) * (r.value - mean) * (r.value - mean)).sum()
}

fn tau_squared(ratios: &[LogRatio]) -> f64 {
    let weights: Vec<f64> = ratios.iter().map(|r| 1.0 / (r.error * r.error)).collect();
    let total: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|w| w * w).sum();
    let scale = total - squares / total;
    ((cochran_q(ratios, 0.0) - (ratios.len() - 1) as f64) / scale).max(0.0)
}

/// Quantile of chi square by Wilson and Hilferty's cube (1931), exact to about 1 %.
fn chi_squared_quantile(freedom: f64, q: f64) -> f64 {
    let z = if q > 0.5 { 2.326_347_9 } else { -1.644_853_6 };
    debug_assert!((q - Q_LEVEL).abs() < 1e-9 || (q - 0.05).abs() < 1e-9, "only these two are used");
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + z * part.sqrt()).max(0.0).powi(3)
}

#[cfg(test)]
mod tests {
    use super::{LogRatio, Uniformity, effective_number, uniformity};

    fn check(factors: &[f64], error: f64, expected: Uniformity) {
        let ratios: Vec<_> =
            factors.iter().map(|f: &f64| LogRatio { value: f.ln(), error }).collect();
        assert_eq!(uniformity(&ratios), expected, "{factors:?} +- {error}");
    }

    #[test]
    fn proportional_is_said_only_where_equivalence_holds() {
        check(&[28.3, 10.6, 3.1, 42.5], 0.05, Uniformity::Different);
        check(&[2.0, 2.02, 1.98, 2.05, 1.99], 0.05, Uniformity::Uniform);
        check(&[2.0, 2.6, 1.7], 0.5, Uniformity::Undetermined);
        check(&[2.0], 0.05, Uniformity::Undetermined);
    }

    #[test]
    fn contributors_are_counted_by_their_weight() {
        assert!((effective_number(&[1.0, 1.0, 1.0]) - 3.0).abs() < 1e-9);
        assert!((effective_number(&[328.0, 770.0, 190.0, 332.0, 0.0]) - 3.1).abs() < 0.1);
        assert!(effective_number(&[]).abs() < 1e-9);
    }
}
