//! What is watched of an operation's requests: quantiles, and the share of slow ones.

use upriver_analyze::histogram::Histogram;

/// The quantiles that are watched, and how many requests make a point of each.
pub(super) const QUANTILES: [Watched; 3] = [
    Watched::Quantile { quantile: 0.5, count_min: 20 },
    Watched::Quantile { quantile: 0.9, count_min: 40 },
    Watched::Quantile { quantile: 0.99, count_min: 200 },
];
/// Requests that make a point of the share of slow ones: one in five such points has one by chance.
const SHARE_COUNT_MIN: i64 = 20;
/// Slow is what one request in a hundred of quiet time is: where only some requests change, it is their
/// share that shows it, long before a 99th percentile has requests enough.
const SLOW: f64 = 0.99;

/// A figure of some requests that rises when they become slower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Watched {
    Quantile {
        quantile: f64,
        /// Requests that it takes.
        count_min: i64,
    },
    /// The share of requests that take longer than these nanoseconds.
    ShareAbove(f64),
}

impl Watched {
    /// The share of requests that are slow by what quiet time knows.
    pub(super) fn slow_share(quiet: &Histogram) -> Option<Self> {
        quiet.quantile(SLOW).filter(|nanos| *nanos > 0.0).map(Self::ShareAbove)
    }

    /// Requests that it takes.
    pub(super) fn count_min(self) -> i64 {
        match self {
            Self::Quantile { count_min, .. } => count_min,
            Self::ShareAbove(_) => SHARE_COUNT_MIN,
        }
    }

    /// The quantile in which a rise of it shows.
    pub(super) fn quantile(self) -> f64 {
        match self {
            Self::Quantile { quantile, .. } => quantile,
            Self::ShareAbove(_) => SLOW,
        }
    }

    /// On a scale on which it scatters evenly: logarithms of quantiles, and of shares Anscombe's arcsine
    /// (Biometrika 35, 1948). `None` of too few requests.
    pub(super) fn value(self, durations: &Histogram) -> Option<f64> {
        let count = durations.count as f64;
        if durations.count < self.count_min() {
            return None;
        }
        match self {
            Self::Quantile { quantile, .. } => {
                durations.quantile(quantile).filter(|value| *value > 0.0).map(f64::ln)
            }
            Self::ShareAbove(nanos) => {
                let slow = durations.fraction_above(nanos)? * count;
                Some(((slow + 0.375) / (count + 0.75)).sqrt().asin())
            }
        }
    }

    /// How many times one value stands for of another.
    pub(super) fn ratio(self, before: f64, after: f64) -> f64 {
        match self {
            Self::Quantile { .. } => (after - before).exp(),
            Self::ShareAbove(_) => (after.sin() / before.sin()).powi(2),
        }
    }
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Quantile { quantile, .. } => write!(f, "p{:.0}", quantile * 100.0),
            Self::ShareAbove(nanos) => write!(
                f,
                "the share above {}, which is p{:.0} of earlier hours",
                crate::figures::milliseconds(nanos / 1e6),
                SLOW * 100.0
            ),
        }
    }
}
