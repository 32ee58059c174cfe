//! Kappa-IP: the first inflection of R over steps.

use crate::error::{ConfigError, in_range};

/// When the first inflection of R sets κ.
///
/// R is sampled at t = interval, 2·interval, …; with `smoothing` s the watched value is v ← s·v + (1 − s)·R,
/// starting at the first sample. κ is R at the first sample with t > `burn_in` whose increase is smaller than
/// the one before, Δ²v < 0; the bound is active from the next step.
///
/// The paper samples every 10 % of the learning-rate warm-up ([`Inflection::for_warmup`]). The published code
/// for l2 is interval = 1, no smoothing, burn-in 3·`reg_step_size`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inflection {
    /// Steps from one sample to the next, at least 1.
    pub interval: u64,
    /// Weight of the past in the watched value, in [0, 1); `None` watches R itself.
    pub smoothing: Option<f64>,
    /// Steps within which no sample sets κ.
    pub burn_in: u64,
}

impl Inflection {
    /// Every `interval` steps, without smoothing or burn-in.
    #[must_use]
    pub const fn every(interval: u64) -> Self {
        Self { interval, smoothing: None, burn_in: 0 }
    }

    /// Every 10 % of a learning-rate warm-up of that many steps, at least every step.
    #[must_use]
    pub const fn for_warmup(warmup_steps: u64) -> Self {
        let tenth = warmup_steps / 10;
        Self::every(if tenth == 0 { 1 } else { tenth })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.interval == 0 {
            return Err(ConfigError::ZeroSteps { option: "inflection interval" });
        }
        match self.smoothing {
            Some(s) => in_range("inflection smoothing", s, "in [0, 1)", (0.0..1.0).contains(&s)),
            None => Ok(()),
        }
    }

    /// Whether R is sampled at step `t` >= 1.
    pub(crate) const fn samples(&self, t: u64) -> bool {
        t.is_multiple_of(self.interval)
    }
}

/// What has been watched of R so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Trace {
    /// No sample yet.
    #[default]
    Empty,
    /// One sample.
    One {
        /// The watched value.
        last: f64,
    },
    /// Two samples or more.
    Two {
        /// The watched value.
        last: f64,
        /// Its increase from the sample before.
        increase: f64,
    },
}

impl Trace {
    /// The trace with one more sample, and whether its increase is smaller than the one before.
    pub(crate) fn sample(self, rule: &Inflection, value: f64) -> (Self, bool) {
        let next = |last: f64| match rule.smoothing {
            Some(past) => last + (1.0 - past) * (value - last),
            None => value,
        };
        match self {
            Self::Empty => (Self::One { last: value }, false),
            Self::One { last } => {
                let now = next(last);
                (Self::Two { last: now, increase: now - last }, false)
            }
            Self::Two { last, increase: before } => {
                let now = next(last);
                let increase = now - last;
                (Self::Two { last: now, increase }, increase < before)
            }
        }
    }
}
