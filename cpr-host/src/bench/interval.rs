//! The median and its interval from order statistics.

use serde::Serialize;

/// The least number of values whose smallest and largest are an interval at 95 %.
pub(super) const ENOUGH: usize = 6;

/// A median with its distribution-free interval at 95 %.
///
/// The interval reaches from the k-th smallest to the k-th largest of n values, k the largest number with
/// P(Binomial(n, 1/2) < k) <= 2.5 %; below 6 values it is all of them, which covers less.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The median.
    pub median: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Of these values; NaN for none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        if n == 0 {
            return Self { median: f64::NAN, low: f64::NAN, high: f64::NAN };
        }
        let median = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
        let k = rank(n);
        Self { median, low: sorted[k - 1], high: sorted[n - k] }
    }

    /// Of `values[i] / base[i]`.
    #[must_use]
    pub fn of_ratios(values: &[f64], base: &[f64]) -> Self {
        Self::of(&values.iter().zip(base).map(|(value, base)| value / base).collect::<Vec<_>>())
    }
}

/// The k of the k-th smallest value, from 1.
fn rank(n: usize) -> usize {
    // P(X = i) of Binomial(n, 1/2) by its recurrence.
    let mut probability = 0.5_f64.powf((0..n).fold(0.0, |count, _| count + 1.0));
    let (mut below, mut k, mut i) = (0.0, 0, 0.0);
    let trials = (0..n).fold(0.0, |count, _| count + 1.0);
    while k < n.div_ceil(2) {
        below += probability;
        if below > 0.025 {
            break;
        }
        k += 1;
        i += 1.0;
        probability *= (trials - i + 1.0) / i;
    }
    k.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_tables() {
        // Published ranks of the sign interval for the median.
        for (n, k) in [(6, 1), (9, 2), (10, 2), (20, 6), (31, 10), (50, 18)] {
            assert_eq!(rank(n), k, "n = {n}");
        }
        assert_eq!(rank(1), 1);
    }

    #[test]
    fn the_median_of_ratios() {
        let interval = Interval::of_ratios(&[2.0, 6.0, 3.0], &[1.0, 2.0, 3.0]);
        assert_eq!((interval.median, interval.low, interval.high), (2.0, 1.0, 3.0));
        assert!(Interval::of(&[]).median.is_nan());
        assert_eq!(Interval::of(&[1.0, 4.0]).median, 2.5);
    }
}
