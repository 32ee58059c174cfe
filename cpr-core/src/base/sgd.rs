//! Stochastic gradient descent, with and without momentum.

use super::{Base, BaseRule, Intake, ScaleDecay, WeightDecay};
use crate::{
    error::{ConfigError, in_range, non_negative},
    real::Real,
    reduce::LANES,
};

/// Hyperparameters of plain SGD.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SgdConfig {
    /// Weight decay, coupled (torch's `SGD`) or decoupled (SGDW).
    pub weight_decay: WeightDecay,
    /// Ascend in place of descend.
    pub maximize: bool,
}

/// θ ← θ − lr·g. No moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    config: SgdConfig,
}

impl Sgd {
    /// The rule of this configuration.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for a negative or non-finite weight decay.
    pub fn new(config: SgdConfig) -> Result<Self, ConfigError> {
        config.weight_decay.check()?;
        Ok(Self { config })
    }

    /// The hyperparameters.
    #[must_use]
    pub const fn config(&self) -> &SgdConfig {
        &self.config
    }
}

impl ScaleDecay for Sgd {
    fn scale_decay(&self, factor: f64) -> Self {
        let weight_decay = self.config.weight_decay.scaled(factor);
        Self { config: SgdConfig { weight_decay, ..self.config } }
    }
}

impl<T: Real> Base<T, 0> for Sgd {
    type Step = SgdStep<T>;

    fn at(&self, _t: u64, lr: f64) -> SgdStep<T> {
        let SgdConfig { weight_decay, maximize } = self.config;
        SgdStep { intake: Intake::new(weight_decay, maximize, lr), lr: T::from_f64(lr) }
    }
}

/// The scalars of one step of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep<T> {
    intake: Intake<T>,
    lr: T,
}

impl<T: Real> BaseRule<T, 0> for SgdStep<T> {
    #[inline(always)]
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], _moments: &mut [[T; LANES]; 0]) {
        for (theta, &grad) in theta.iter_mut().zip(grad) {
            let (kept, grad) = self.intake.of(*theta, grad);
            *theta = kept - self.lr * grad;
        }
    }
}

/// Hyperparameters of SGD with momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentumConfig {
    /// Momentum m, in [0, 1).
    pub momentum: f64,
    /// Dampening d of the gradient as it enters the buffer, in [0, 1]; the first step takes it whole, as torch.
    pub dampening: f64,
    /// Follow g + m·b in place of b; needs `momentum` > 0 and `dampening` = 0.
    pub nesterov: bool,
    /// Weight decay, coupled (torch's `SGD`) or decoupled (SGDW).
    pub weight_decay: WeightDecay,
    /// Ascend in place of descend.
    pub maximize: bool,
}

impl Default for MomentumConfig {
    fn default() -> Self {
        Self {
            momentum: 0.9,
            dampening: 0.0,
            nesterov: false,
            weight_decay: WeightDecay::None,
            maximize: false,
        }
    }
}

/// b ← m·b + (1 − d)·g (b = g at t = 1), θ ← θ − lr·b, or with Nesterov θ ← θ − lr·(g + m·b).
///
/// One moment: b, zero at the start. The form of Sutskever et al. (2013) as torch has it: lr multiplies the buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    config: MomentumConfig,
}

impl Momentum {
    /// The rule of this configuration.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for a momentum outside [0, 1), a dampening outside [0, 1] or a bad decay;
    /// [`ConfigError::NesterovNeedsMomentum`].
    pub fn new(config: MomentumConfig) -> Result<Self, ConfigError> {
        let MomentumConfig { momentum, dampening, nesterov, weight_decay, .. } = config;
        in_range("momentum", momentum, "in [0, 1)", (0.0..1.0).contains(&momentum))?;
        non_negative("dampening", dampening)?;
        in_range("dampening", dampening, "in [0, 1]", dampening <= 1.0)?;
        weight_decay.check()?;
        if nesterov && (momentum == 0.0 || dampening != 0.0) {
            return Err(ConfigError::NesterovNeedsMomentum);
        }
        Ok(Self { config })
    }

    /// The hyperparameters.
    #[must_use]
    pub const fn config(&self) -> &MomentumConfig {
        &self.config
    }
}

impl ScaleDecay for Momentum {
    fn scale_decay(&self, factor: f64) -> Self {
        let weight_decay = self.config.weight_decay.scaled(factor);
        Self { config: MomentumConfig { weight_decay, ..self.config } }
    }
}

impl<T: Real> Base<T, 1> for Momentum {
    type Step = MomentumStep<T>;

    fn at(&self, t: u64, lr: f64) -> MomentumStep<T> {
        let MomentumConfig { momentum, dampening, nesterov, weight_decay, maximize } = self.config;
        MomentumStep {
            intake: Intake::new(weight_decay, maximize, lr),
            lr: T::from_f64(lr),
            momentum: T::from_f64(momentum),
            gain: T::from_f64(if t <= 1 { 1.0 } else { 1.0 - dampening }),
            // What is followed is own·g + buffer·b.
            own: if nesterov { T::ONE } else { T::ZERO },
            buffer: T::from_f64(if nesterov { momentum } else { 1.0 }),
        }
    }
}

/// The scalars of one step of [`Momentum`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentumStep<T> {
    intake: Intake<T>,
    lr: T,
    momentum: T,
    gain: T,
    own: T,
    buffer: T,
}

impl<T: Real> BaseRule<T, 1> for MomentumStep<T> {
    #[inline(always)]
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; 1]) {
        let [buffers] = moments;
        for ((theta, &grad), buffer) in theta.iter_mut().zip(grad).zip(buffers) {
            let (kept, grad) = self.intake.of(*theta, grad);
            *buffer = self.momentum * *buffer + self.gain * grad;
            *theta = kept - self.lr * (self.own * grad + self.buffer * *buffer);
        }
    }
}
