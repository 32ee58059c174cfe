//! Adam and AMSGrad.

use num_traits::Float;

use super::{Base, BaseRule, Intake, ScaleDecay, WeightDecay};
use crate::{
    bias::BiasCorrection,
    error::{ConfigError, in_range, non_negative},
    real::Real,
    reduce::LANES,
};

/// Hyperparameters of Adam. The default is torch's: β 0.9 and 0.999, ε 1e-8, no decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// β₁, decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// β₂, decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// ε, added to the root of the second moment, finite and at least 0. With 0 (or what rounds to 0 in the
    /// parameters' type) an element whose gradients were all 0 becomes NaN.
    pub eps: f64,
    /// Weight decay: `Decoupled` makes it AdamW.
    pub weight_decay: WeightDecay,
    /// Ascend in place of descend.
    pub maximize: bool,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: WeightDecay::None,
            maximize: false,
        }
    }
}

/// Adam (Kingma, Ba, arXiv 1412.6980, Algorithm 1), with decoupled decay AdamW.
///
/// m ← m + (1 − β₁)(g − m),  v ← β₂·v + (1 − β₂)·g²,
/// θ ← θ − lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)
///
/// Two moments: m, v, both zero at the start. 1 − βᵗ is right to 2 units in the last place for t up to 2³².
///
/// ```
/// use cpr_core::base::{Adam, AdamConfig};
/// assert!(Adam::new(AdamConfig { beta2: 0.98, ..AdamConfig::default() }).is_ok());
/// assert!(Adam::new(AdamConfig { beta1: 1.0, ..AdamConfig::default() }).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    config: AdamConfig,
    first: BiasCorrection,
    second: BiasCorrection,
}

impl Adam {
    /// The rule of this configuration.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for a β outside [0, 1), or a negative or non-finite ε or weight decay.
    pub fn new(config: AdamConfig) -> Result<Self, ConfigError> {
        let beta =
            |option, beta: f64| in_range(option, beta, "in [0, 1)", (0.0..1.0).contains(&beta));
        beta("beta1", config.beta1)?;
        beta("beta2", config.beta2)?;
        non_negative("eps", config.eps)?;
        config.weight_decay.check()?;
        Ok(Self {
            config,
            first: BiasCorrection::new(config.beta1),
            second: BiasCorrection::new(config.beta2),
        })
    }

    /// The hyperparameters.
    #[must_use]
    pub const fn config(&self) -> &AdamConfig {
        &self.config
    }
}

impl ScaleDecay for Adam {
    fn scale_decay(&self, factor: f64) -> Self {
        let weight_decay = self.config.weight_decay.scaled(factor);
        Self { config: AdamConfig { weight_decay, ..self.config }, ..*self }
    }
}

impl<T: Real> Base<T, 2> for Adam {
    type Step = AdamStep<T>;

    fn at(&self, t: u64, lr: f64) -> AdamStep<T> {
        // Steps count from 1; 1 − β⁰ = 0 would divide.
        let t = t.max(1);
        let AdamConfig { beta1, beta2, eps, weight_decay, maximize } = self.config;
        AdamStep {
            intake: Intake::new(weight_decay, maximize, lr),
            gain1: T::from_f64(1.0 - beta1),
            beta2: T::from_f64(beta2),
            gain2: T::from_f64(1.0 - beta2),
            step_size: T::from_f64(lr / self.first.at(t)),
            root_gain: T::from_f64(1.0 / Float::sqrt(self.second.at(t))),
            eps: T::from_f64(eps),
        }
    }
}

/// The scalars of one step of [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep<T> {
    intake: Intake<T>,
    gain1: T,
    beta2: T,
    gain2: T,
    step_size: T,
    root_gain: T,
    eps: T,
}

impl<T: Real> AdamStep<T> {
    /// (decayed θ, m, v) of one element.
    #[inline(always)]
    fn moments(&self, theta: T, grad: T, m: T, v: T) -> (T, T, T) {
        let (theta, grad) = self.intake.of(theta, grad);
        let m = m + self.gain1 * (grad - m);
        let v = self.beta2 * v + self.gain2 * (grad * grad);
        (theta, m, v)
    }

    /// θ after the step, from the first moment and the second moment in force.
    #[inline(always)]
    fn descend(&self, theta: T, m: T, v: T) -> T {
        theta - self.step_size * (m / (v.sqrt() * self.root_gain + self.eps))
    }
}

impl<T: Real> BaseRule<T, 2> for AdamStep<T> {
    #[inline(always)]
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; 2]) {
        let [ms, vs] = moments;
        let mut follow = *grad;
        if !self.intake.is_plain() {
            for (follow, &theta) in follow.iter_mut().zip(&*theta) {
                *follow = self.intake.of(theta, *follow).1;
            }
        }
        for (((theta, &grad), m), v) in theta.iter_mut().zip(&follow).zip(ms).zip(vs) {
            let kept = *theta * self.intake.keep;
            *m = *m + self.gain1 * (grad - *m);
            *v = self.beta2 * *v + self.gain2 * (grad * grad);
            *theta = self.descend(kept, *m, *v);
        }
    }
}

/// AMSGrad (Reddi, Kale, Kumar, arXiv 1904.09237): [`Adam`] with the largest second moment so far in its root.
///
/// Three moments: m, v, and the running maximum of v, all zero at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AmsGrad(pub Adam);

impl ScaleDecay for AmsGrad {
    fn scale_decay(&self, factor: f64) -> Self {
        Self(self.0.scale_decay(factor))
    }
}

impl<T: Real> Base<T, 3> for AmsGrad {
    type Step = AmsGradStep<T>;

    fn at(&self, t: u64, lr: f64) -> AmsGradStep<T> {
        AmsGradStep(self.0.at(t, lr))
    }
}

/// The scalars of one step of [`AmsGrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AmsGradStep<T>(AdamStep<T>);

impl<T: Real> BaseRule<T, 3> for AmsGradStep<T> {
    #[inline(always)]
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; 3]) {
        let [ms, vs, tops] = moments;
        for ((((theta, &grad), m), v), top) in theta.iter_mut().zip(grad).zip(ms).zip(vs).zip(tops)
        {
            let kept;
            (kept, *m, *v) = self.0.moments(*theta, grad, *m, *v);
            // A NaN moment stays: it is not smaller than anything.
            *top = if *v < *top { *top } else { *v };
            *theta = self.0.descend(kept, *m, *top);
        }
    }
}
