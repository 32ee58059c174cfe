//! A weight decay that changes over the run.

use core::f64::consts::FRAC_PI_2;

use crate::{
    error::{ConfigError, non_negative},
    real::count_as_f64,
};

/// A cosine from 1 to `end`: the factor on a weight decay, up or down.
///
/// factor(t) = end + (1 − end)·(1 + cos(π·(t − 1)/N))/2 for t = 1, …, N, and end from t = N + 1 on.
///
/// Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (DINO, arXiv 2104.14294), whose code has
/// this form (`cosine_scheduler` of utils.py, iterations from 0). The CPR paper (arXiv 2311.09058, figure E.4) compares
/// with ends of 0.1, 0.01, 10 and 100 of AdamW's decay. An end of 1 is the constant decay, to the bit.
///
/// ```
/// use cpr_core::base::{Adam, AdamConfig, Base, DecaySchedule, ScaleDecay, WeightDecay};
/// let weight_decay = WeightDecay::Decoupled(0.1);
/// let adamw = Adam::new(AdamConfig { weight_decay, ..AdamConfig::default() })?;
/// let schedule = DecaySchedule::cosine(0.01, 1000)?;
/// for t in 1..=1000 {
///     let _step: cpr_core::base::AdamStep<f32> =
///         adamw.scale_decay(schedule.factor(t)).at(t, 1e-3);
/// }
/// # Ok::<(), cpr_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecaySchedule {
    end: f64,
    steps: u64,
}

impl DecaySchedule {
    /// From 1 at the first step to `end` after `steps` steps.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for an end that is negative or not finite; [`ConfigError::ZeroSteps`].
    pub fn cosine(end: f64, steps: u64) -> Result<Self, ConfigError> {
        non_negative("weight_decay_end", end)?;
        if steps == 0 {
            return Err(ConfigError::ZeroSteps { option: "weight_decay_steps" });
        }
        Ok(Self { end, steps })
    }

    /// The factor at the last step and after it.
    #[must_use]
    pub const fn end(&self) -> f64 {
        self.end
    }

    /// N, the steps it takes.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The factor of step `t` = 1, 2, … (0 counts as 1), between 1 and the end.
    #[must_use]
    pub fn factor(&self, t: u64) -> f64 {
        let taken = t.saturating_sub(1);
        if taken >= self.steps {
            return self.end;
        }
        // (1 − cos x)/2 = sin²(x/2), which is 0 at the start exactly.
        let sine = libm::sin(FRAC_PI_2 * (count_as_f64(taken) / count_as_f64(self.steps)));
        1.0 + (self.end - 1.0) * (sine * sine)
    }
}
