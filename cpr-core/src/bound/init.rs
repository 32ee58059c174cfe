//! The ways to set κ.

use super::{Bound, Inflection, Trace};
use crate::{
    error::{ConfigError, GroupError, in_range, positive},
    real::count_as_f64,
};

/// How κ is set (arXiv 2311.09058, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BoundInit {
    /// Kappa-K: κ for every matrix, on R itself; at least 0, ∞ constrains nothing.
    Uniform(f64),
    /// Kappa-K per element: κ·n, for regularizers that are sums; at least 0.
    UniformPerElement(f64),
    /// Kappa-kI₀: κ = k·R(θ before the first step), k finite and above 0. Refused for a matrix with R = 0.
    Dependent(f64),
    /// Kappa-WS: free for t < s, κ = R at t = s, active for t > s; s >= 1 steps.
    WarmStart(u64),
    /// Kappa-IP: κ = R at the first inflection of R over steps.
    Inflection(Inflection),
}

impl BoundInit {
    /// The library's choice where a learning-rate warm-up is given and nothing else is said: a warm start of twice
    /// its steps, the paper's strong default.
    ///
    /// # Errors
    /// [`ConfigError::ZeroSteps`] without a warm-up: then the user must choose.
    pub fn for_warmup(warmup_steps: u64) -> Result<Self, ConfigError> {
        Self::warm_start_multiple(2.0, warmup_steps)
    }

    /// A warm start of a multiple of the learning-rate warm-up.
    ///
    /// s = multiple · `warmup_steps`, rounded to the nearest step.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] unless the multiple is finite and above 0; [`ConfigError::ZeroSteps`] where
    /// the product rounds to 0, as it does without a warm-up.
    pub fn warm_start_multiple(multiple: f64, warmup_steps: u64) -> Result<Self, ConfigError> {
        positive("warm_start", multiple)?;
        match crate::real::round_to_count(multiple * count_as_f64(warmup_steps)) {
            0 => Err(ConfigError::ZeroSteps { option: "warm_start" }),
            steps => Ok(Self::WarmStart(steps)),
        }
    }

    pub(crate) fn check(&self, is_sum: bool) -> Result<(), ConfigError> {
        let bound = |given: f64| in_range("kappa", given, "at least 0", given >= 0.0);
        match *self {
            Self::Uniform(kappa) => bound(kappa),
            Self::UniformPerElement(kappa) if is_sum => bound(kappa),
            Self::UniformPerElement(_) => Err(ConfigError::PerElementOfNoSum),
            Self::Dependent(factor) => positive("dependent", factor),
            Self::WarmStart(0) => Err(ConfigError::ZeroSteps { option: "warm_start" }),
            Self::WarmStart(_) => Ok(()),
            Self::Inflection(rule) => rule.check(),
        }
    }

    /// The bound before the first step, for n elements with this R.
    pub(crate) fn start(&self, count: u64, value: f64) -> Result<Bound, GroupError> {
        let set = |kappa| Ok(Bound::Set { kappa, at: 0 });
        match *self {
            Self::Uniform(kappa) => set(kappa),
            Self::UniformPerElement(kappa) => {
                set(if count == 0 { kappa } else { kappa * count_as_f64(count) })
            }
            Self::Dependent(factor) if count == 0 => set(factor),
            Self::Dependent(_) if value == 0.0 => Err(GroupError::DependentOnZero),
            Self::Dependent(_) if !value.is_finite() => Err(GroupError::NonFinite { given: value }),
            Self::Dependent(factor) => match factor * value {
                kappa if kappa > 0.0 && kappa.is_finite() => set(kappa),
                given => Err(GroupError::DependentOutOfRange { given }),
            },
            Self::WarmStart(_) => Ok(Bound::WarmUp),
            Self::Inflection(_) => Ok(Bound::Watching(Trace::Empty)),
        }
    }
}
