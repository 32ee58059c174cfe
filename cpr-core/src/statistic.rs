//! What phase 1 measures of a matrix: a sum, or the first two moments. Statistics merge.

use crate::real::count_as_f64;

/// Values that merge: the laws under which a matrix may be cut anywhere.
///
/// * `merge(NEUTRAL, a) = merge(a, NEUTRAL) = a`, to the bit;
/// * `merge(a, b) = merge(b, a)`, to the bit for sums, to rounding for moments;
/// * `merge(merge(a, b), c) = merge(a, merge(b, c))` to rounding.
///
/// Rounding is the reason for the fixed order of [`Pairwise`](crate::Pairwise): merged in that order, the same
/// chunks give the same bits, whoever measured them.
pub trait Merge: Copy {
    /// The measure of no elements.
    const NEUTRAL: Self;

    /// The measure of the elements of both.
    #[must_use]
    fn merge(self, other: Self) -> Self;
}

/// A measure of n elements from which a regularizer forms R(θ).
///
/// Sums of f32 are formed in f64; see [`Pairwise`](crate::Pairwise) for their order and error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// Σ f(θᵢ), for a regularizer that is a sum over elements.
    Sum {
        /// Number of elements n.
        count: u64,
        /// The sum.
        total: f64,
    },
    /// Mean and Σ(θᵢ − mean)², for the standard deviation.
    Moments {
        /// Number of elements n.
        count: u64,
        /// Arithmetic mean; 0 for n = 0.
        mean: f64,
        /// Sum of squared deviations from the mean, at least 0.
        m2: f64,
    },
}

impl Statistic {
    /// Number of elements measured, n.
    #[must_use]
    #[inline]
    pub const fn count(&self) -> u64 {
        match *self {
            Self::Sum { count, .. } | Self::Moments { count, .. } => count,
        }
    }

    /// Whether every number in it is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        match *self {
            Self::Sum { total, .. } => total.is_finite(),
            Self::Moments { mean, m2, .. } => mean.is_finite() && m2.is_finite(),
        }
    }
}

impl Merge for Statistic {
    const NEUTRAL: Self = Self::Sum { count: 0, total: 0.0 };

    /// Sums add; moments merge by Chan's formula, δ = mean_b − mean_a, n = n_a + n_b:
    ///
    /// mean = mean_a + δ·n_b/n,  m2 = m2_a + m2_b + δ²·n_a·n_b/n
    ///
    /// (Chan, Golub, LeVeque 1979, "Updating Formulae and a Pairwise Algorithm", equation 2.1). A sum and
    /// moments, both of some elements, have nothing in common: the result is a NaN sum, which a constraint
    /// answers by its rule for a non-finite R.
    #[inline]
    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a.count() == 0 => b,
            (a, b) if b.count() == 0 => a,
            (Self::Sum { count: na, total: a }, Self::Sum { count: nb, total: b }) => {
                Self::Sum { count: na.saturating_add(nb), total: a + b }
            }
            (
                Self::Moments { count: na, mean: mean_a, m2: m2_a },
                Self::Moments { count: nb, mean: mean_b, m2: m2_b },
            ) => {
                let count = na.saturating_add(nb);
                let share = count_as_f64(nb) / count_as_f64(count);
                let delta = mean_b - mean_a;
                Self::Moments {
                    count,
                    mean: mean_a + delta * share,
                    m2: (m2_a + m2_b) + delta * delta * (count_as_f64(na) * share),
                }
            }
            (a, b) => Self::Sum { count: a.count().saturating_add(b.count()), total: f64::NAN },
        }
    }
}

/// What one pass over a chunk gives back: its [`Statistic`], and how many elements the guard stopped at zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// The measure of the parameters as they were written.
    pub statistic: Statistic,
    /// Elements that the overshoot guard of an element-wise correction stopped at zero.
    pub stopped: u64,
}

impl Merge for Observed {
    const NEUTRAL: Self = Self { statistic: Statistic::NEUTRAL, stopped: 0 };

    #[inline]
    fn merge(self, other: Self) -> Self {
        Self {
            statistic: self.statistic.merge(other.statistic),
            stopped: self.stopped.saturating_add(other.stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> Statistic {
        let n = count_as_f64(values.len() as u64);
        let mean = values.iter().sum::<f64>() / n;
        let m2 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
        Statistic::Moments { count: values.len() as u64, mean, m2 }
    }

    #[test]
    fn moments_of_two_parts_are_those_of_the_whole() {
        let values = [1.0, 4.0, -2.0, 8.5, 0.25, 3.0];
        let Statistic::Moments { count, mean, m2 } =
            moments(&values[..2]).merge(moments(&values[2..]))
        else {
            panic!("moments merge to moments")
        };
        let Statistic::Moments { mean: whole_mean, m2: whole_m2, .. } = moments(&values) else {
            panic!("moments")
        };
        assert_eq!(count, 6);
        assert!((mean - whole_mean).abs() < 1e-15, "{mean} {whole_mean}");
        assert!((m2 - whole_m2).abs() < 1e-13, "{m2} {whole_m2}");
    }

    #[test]
    fn neutral_leaves_every_bit() {
        for part in [moments(&[1.0, 3.0]), Statistic::Sum { count: 2, total: -0.0 }] {
            assert_eq!(Statistic::NEUTRAL.merge(part), part);
            assert_eq!(part.merge(Statistic::NEUTRAL), part);
        }
    }

    #[test]
    fn a_sum_and_moments_do_not_merge_silently() {
        let mixed = Statistic::Sum { count: 1, total: 1.0 }.merge(moments(&[1.0, 2.0]));
        assert!(!mixed.is_finite());
        assert_eq!(mixed.count(), 3);
    }
}
