//! Statistics of a handful of seeds: mean, spread, 95 % t-interval, paired differences, rank tests.
//!
//! Everything here is exact for small samples; nothing assumes that there are thirty seeds. A value that never came
//! (a step that no evaluation reached) enters rank tests as +∞ and keeps a sample from having a mean.
//!
//! ```
//! use cpr_host::stats::Sample;
//!
//! let sample = Sample::of(&[10.0, 12.0, 14.0]);
//! let interval = sample.interval().unwrap();
//! assert_eq!(sample.mean(), Some(12.0));
//! // t for 2 degrees of freedom is 4.3027, the standard error 2/√3.
//! assert!((interval.half_width - 4.3027 * 2.0 / 3.0_f64.sqrt()).abs() < 1e-3);
//! ```

mod ranks;
#[cfg(test)]
mod tests;

use statrs::distribution::{ContinuousCDF as _, StudentsT};

pub use ranks::{mann_whitney, signed_rank};

/// The share of intervals that cover the mean.
pub const LEVEL: f64 = 0.95;

/// Values of one quantity over seeds, in any order.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    sorted: Vec<f64>,
}

/// An interval `center` ± `half_width`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean.
    pub center: f64,
    /// Half the length, at least 0.
    pub half_width: f64,
}

impl Interval {
    /// The lower end.
    #[must_use]
    pub fn low(self) -> f64 {
        self.center - self.half_width
    }

    /// The upper end.
    #[must_use]
    pub fn high(self) -> f64 {
        self.center + self.half_width
    }

    /// Whether the value lies in the interval, ends included.
    #[must_use]
    pub fn contains(self, value: f64) -> bool {
        (self.low()..=self.high()).contains(&value)
    }
}

impl Sample {
    /// The sample of these values; NaN is left out.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        // Sorted, so that the order of the runs changes no bit of a sum.
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The values from low to high.
    #[must_use]
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// The arithmetic mean; `None` without values, or where one is infinite.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        if self.is_empty() || self.sorted.iter().any(|value| value.is_infinite()) {
            return None;
        }
        // About the middle, so that large values with a small spread keep their digits.
        let middle = self.sorted[self.len() / 2];
        let offset = self.sorted.iter().map(|value| value - middle).sum::<f64>();
        Some(middle + offset / self.len() as f64)
    }

    /// The sample variance Σ(x − mean)²/(n − 1); `None` below two values, or where one is infinite.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.len() > 1)?;
        let squares = self.sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        Some(squares / (self.len() - 1) as f64)
    }

    /// The sample standard deviation: the root of [`variance`](Self::variance).
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// The median: the mean of the two middle values where their count is even; may be infinite.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let middle = self.len() / 2;
        let upper = *self.sorted.get(middle)?;
        if !self.len().is_multiple_of(2) {
            return Some(upper);
        }
        let lower = self.sorted[middle - 1];
        Some(if upper.is_infinite() { upper } else { lower + (upper - lower) / 2.0 })
    }

    /// The 95 % t-interval of the mean: mean ± t·√(variance/n), t the 97.5 % quantile of Student's distribution with
    /// n − 1 degrees of freedom. Exact for normal values. `None` below two values, or where one is infinite.
    #[must_use]
    pub fn interval(&self) -> Option<Interval> {
        let (center, variance) = (self.mean()?, self.variance()?);
        let t = student_quantile(0.5 + LEVEL / 2.0, self.len() - 1)?;
        Some(Interval { center, half_width: t * (variance / self.len() as f64).sqrt() })
    }
}

/// The differences a − b of the pairs that share a key, in the order of `a`; where one side never came (+∞) and the
/// other did, ±∞; where neither did, 0.
#[must_use]
pub fn paired_differences<K: PartialEq>(a: &[(K, f64)], b: &[(K, f64)]) -> Vec<f64> {
    let partner = |key: &K| b.iter().find(|(other, _)| other == key).map(|(_, value)| *value);
    a.iter()
        .filter_map(|(key, value)| Some((*value, partner(key)?)))
        .map(|(a, b)| if a == b { 0.0 } else { a - b })
        .collect()
}

/// The p values after Holm's correction for their number, in the same order: none is lower than it was, and the chance
/// of a false one among those below α is at most α.
#[must_use]
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut corrected = vec![0.0; values.len()];
    let mut largest: f64 = 0.0;
    for (place, index) in order.into_iter().enumerate() {
        largest = largest.max((values.len() - place) as f64 * values[index]).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

/// The value that a Student variable with `freedom` degrees of freedom stays below with probability `p`; `None` for
/// no degree of freedom or a `p` outside (0, 1).
#[must_use]
pub fn student_quantile(p: f64, freedom: usize) -> Option<f64> {
    if !(p > 0.0 && p < 1.0) {
        return None;
    }
    // As many seeds as lose a digit here do not exist.
    StudentsT::new(0.0, 1.0, freedom as f64).ok().map(|student| student.inverse_cdf(p))
}
