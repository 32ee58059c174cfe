//! The learning rate as a pure function of the step.

use std::f64::consts::PI;

/// What the learning rate does after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Stays at its peak.
    Constant,
    /// Half a cosine: f = m + (1 − m)·(1 + cos πq)/2.
    Cosine,
    /// A line: f = m + (1 − m)·(1 − q).
    Linear,
    /// f = m + (1 − m)·(1 − q)^power.
    Polynomial {
        /// The exponent, finite and above 0.
        power: f64,
    },
    /// Warm-up, stable, decay: at its peak until the last `decay` steps, then a line down to m.
    Stable {
        /// Steps of the decay, at least 1; with the warm-up no more than all steps.
        decay: u64,
    },
}

/// Configuration of a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleConfig {
    /// The peak, finite and at least 0.
    pub lr: f64,
    /// Steps of linear warm-up, 0 for none; at most `steps`.
    pub warmup: u64,
    /// All steps of the run, T, at least 1.
    pub steps: u64,
    /// What follows the warm-up.
    pub shape: Shape,
    /// m, the share of the peak that the last step has, in \[0, 1\]. [`Shape::Constant`] does not use it.
    pub min_factor: f64,
}

/// A schedule cannot be made of these numbers.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A number outside its range.
    #[error("{option} = {given} is out of range: it must be {limit}")]
    OutOfRange {
        /// The field of [`ScheduleConfig`] or [`Shape`].
        option: &'static str,
        /// What was given.
        given: f64,
        /// The range.
        limit: &'static str,
    },
    /// A run without steps.
    #[error("the run has 0 steps: give it at least 1")]
    NoSteps,
    /// A wsd schedule whose decay has no steps.
    #[error("wsd decays over 0 steps: give it at least 1, or choose constant")]
    NoDecay,
    /// Warm-up and decay do not fit into the run.
    #[error(
        "{warmup} steps of warm-up and {decay} of decay do not fit into {steps} steps: \
         shorten them, or train longer"
    )]
    TooShort {
        /// Steps of the warm-up.
        warmup: u64,
        /// Steps of the decay of [`Shape::Stable`]; 0 for other shapes.
        decay: u64,
        /// Steps of the run.
        steps: u64,
    },
}

/// lr(t) for t = 1, 2, …, T.
///
/// With w steps of warm-up lr(t) = peak·t/w for t < w, so lr(w) is the peak. After it lr(t) = peak·f(q), where
/// q = (t − s)/(T − s) rises from 0 at s = max(w, 1) to 1 at the last step; [`Shape`] has f. A run that ends with
/// its warm-up (T <= s) ends at the peak. Past T the rate of the last step stays; t = 0 is read as 1.
///
/// The cosine and the power are libm's: the same bits on every platform.
///
/// ```
/// use cpr_host::schedule::{Schedule, ScheduleConfig, Shape};
/// let schedule = Schedule::new(ScheduleConfig {
///     lr: 1.0, warmup: 10, steps: 110, shape: Shape::Cosine, min_factor: 0.1,
/// })?;
/// assert_eq!([1, 10, 110].map(|t| schedule.lr(t)), [0.1, 1.0, 0.1]);
/// # Ok::<(), cpr_host::schedule::ScheduleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    config: ScheduleConfig,
}

impl Schedule {
    /// The schedule of this configuration.
    ///
    /// # Errors
    /// [`ScheduleError::OutOfRange`] for a peak that is negative or not finite, a `min_factor` outside \[0, 1\] or
    /// a power that is not finite and above 0; [`ScheduleError::NoSteps`], [`ScheduleError::NoDecay`];
    /// [`ScheduleError::TooShort`].
    pub fn new(config: ScheduleConfig) -> Result<Self, ScheduleError> {
        let ScheduleConfig { lr, warmup, steps, shape, min_factor } = config;
        let range = |option, given: f64, limit, holds| {
            if holds { Ok(()) } else { Err(ScheduleError::OutOfRange { option, given, limit }) }
        };
        range("lr", lr, "finite and at least 0", lr >= 0.0 && lr.is_finite())?;
        range("min_lr_factor", min_factor, "in [0, 1]", (0.0..=1.0).contains(&min_factor))?;
        if steps == 0 {
            return Err(ScheduleError::NoSteps);
        }
        let decay = match shape {
            Shape::Polynomial { power } => {
                range("power", power, "finite and above 0", power > 0.0 && power.is_finite())?;
                0
            }
            Shape::Stable { decay: 0 } => return Err(ScheduleError::NoDecay),
            Shape::Stable { decay } => decay,
            Shape::Constant | Shape::Cosine | Shape::Linear => 0,
        };
        if warmup.checked_add(decay).is_none_or(|used| used > steps) {
            return Err(ScheduleError::TooShort { warmup, decay, steps });
        }
        Ok(Self { config })
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &ScheduleConfig {
        &self.config
    }

    /// The learning rate of step `t`, counted from 1.
    #[must_use]
    pub fn lr(&self, t: u64) -> f64 {
        let ScheduleConfig { lr, warmup, steps, shape, min_factor } = self.config;
        let t = t.clamp(1, steps);
        if t < warmup {
            return lr * share(t, warmup);
        }
        let first = match shape {
            Shape::Stable { decay } => steps - decay,
            _ => warmup.max(1),
        };
        if t <= first {
            return lr;
        }
        let q = share(t - first, steps - first);
        let left = match shape {
            Shape::Constant => return lr,
            Shape::Cosine => 0.5 * (1.0 + libm::cos(PI * q)),
            Shape::Linear | Shape::Stable { .. } => 1.0 - q,
            Shape::Polynomial { power } => libm::pow(1.0 - q, power),
        };
        lr * (min_factor + (1.0 - min_factor) * left)
    }
}

/// part/whole; the counts are exact up to 2⁵³.
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(shape: Shape, warmup: u64, steps: u64) -> Schedule {
        Schedule::new(ScheduleConfig { lr: 2.0, warmup, steps, shape, min_factor: 0.25 }).unwrap()
    }

    const DECAYING: [Shape; 4] = [
        Shape::Cosine,
        Shape::Linear,
        Shape::Polynomial { power: 2.0 },
        Shape::Stable { decay: 30 },
    ];

    #[test]
    fn the_ends_are_exact() {
        for shape in DECAYING {
            for warmup in [0, 1, 7, 20] {
                let schedule = schedule(shape, warmup, 100);
                assert_eq!(schedule.lr(warmup.max(1)), 2.0, "{shape:?} {warmup}");
                assert_eq!(schedule.lr(100), 0.5, "{shape:?} {warmup}");
                assert_eq!(schedule.lr(1000), 0.5, "past the end: {shape:?}");
            }
        }
    }

    #[test]
    fn warm_up_is_a_line_and_never_zero() {
        for shape in DECAYING.into_iter().chain([Shape::Constant]) {
            let schedule = schedule(shape, 4, 100);
            assert_eq!([0, 1, 2, 3, 4].map(|t| schedule.lr(t)), [0.5, 0.5, 1.0, 1.5, 2.0]);
        }
    }

    #[test]
    fn decays_never_rise() {
        for shape in DECAYING {
            let schedule = schedule(shape, 10, 100);
            assert!((10..100).all(|t| schedule.lr(t + 1) <= schedule.lr(t)), "{shape:?}");
        }
    }

    #[test]
    fn half_way() {
        // s = 20, T = 100: q = 1/2 at t = 60.
        let at = |shape| schedule(shape, 20, 100).lr(60);
        assert_eq!(at(Shape::Constant), 2.0);
        assert!((at(Shape::Cosine) - 1.25).abs() < 1e-15);
        assert_eq!(at(Shape::Linear), 1.25);
        assert_eq!(at(Shape::Polynomial { power: 2.0 }), 0.875);
        let stable = schedule(Shape::Stable { decay: 30 }, 20, 100);
        assert_eq!([60, 70, 85].map(|t| stable.lr(t)), [2.0, 2.0, 1.25]);
    }

    #[test]
    fn a_run_of_one_step_has_the_peak() {
        for shape in [Shape::Cosine, Shape::Constant, Shape::Linear] {
            assert_eq!(schedule(shape, 0, 1).lr(1), 2.0);
            assert_eq!(schedule(shape, 1, 1).lr(1), 2.0);
        }
        assert_eq!(schedule(Shape::Stable { decay: 1 }, 0, 1).lr(1), 0.5);
    }

    #[test]
    fn what_is_refused() {
        let good =
            ScheduleConfig { lr: 1.0, warmup: 5, steps: 10, shape: Shape::Linear, min_factor: 0.0 };
        let message = |config| Schedule::new(config).unwrap_err().to_string();
        assert!(Schedule::new(good).is_ok());
        for lr in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(message(ScheduleConfig { lr, ..good }).contains("at least 0"));
        }
        for min_factor in [-0.1, 1.1, f64::NAN] {
            assert!(message(ScheduleConfig { min_factor, ..good }).contains("in [0, 1]"));
        }
        for power in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let shape = Shape::Polynomial { power };
            assert!(message(ScheduleConfig { shape, ..good }).contains("power"));
        }
        assert!(message(ScheduleConfig { steps: 0, ..good }).contains("0 steps"));
        assert!(message(ScheduleConfig { warmup: 11, ..good }).contains("do not fit"));
        for (decay, part) in [(0, "0 steps"), (6, "do not fit"), (u64::MAX, "do not fit")] {
            let shape = Shape::Stable { decay };
            assert!(message(ScheduleConfig { shape, ..good }).contains(part), "{decay}");
        }
    }
}
