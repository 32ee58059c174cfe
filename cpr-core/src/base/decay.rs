//! Decays that act on a base step: the p-norm of any p, L1, and the 3/2 norm.

use super::{Base, BaseRule, ScaleDecay, scaled};
use crate::{
    error::{ConfigError, exponent, non_negative},
    real::Real,
    reduce::LANES,
    shrink::{PowerStep, Shrink, Shrunk, SoftThresholdStep},
};

/// A decay after the base step, scaled by the learning rate.
///
/// Over [`Adam`](super::Adam) these are PAdam, PAdamLate, AdamL1 and AdamL3/2 (Outmezguine, Levi, arXiv 2404.10824,
/// equation 13 and the authors' code).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// w ← w·X/(X + p·lr·λ_p), X = |w|^(2 − p): decoupled decay of Σ|w|^p.
    ///
    /// p = 2 is w/(1 + 2·lr·λ_p). For p > 2 it is computed as w/(1 + p·lr·λ_p·|w|^(p − 2)). For p < 2 a weight
    /// at which X = 0 becomes 0: with `late` off, a weight at zero stays there.
    PNorm {
        /// The exponent p, above 0 and at most 64.
        p: f64,
        /// λ_p, finite and at least 0.
        lambda: f64,
        /// X of the weight after the base step (PAdamLate) in place of before it (PAdam).
        late: bool,
        /// Magnitudes below the smallest normal number become 0, so that sparsity is exact.
        flush: bool,
    },
    /// w ← sign w·max(|w| − lr·λ, 0)/(1 + lr·wd): the prox of lr·(λ|w| + wd·w²/2), in that order.
    L1 {
        /// λ, finite and at least 0.
        lambda: f64,
        /// wd, finite and at least 0.
        weight_decay: f64,
    },
    /// The prox of (2c/3)·|w|^{3/2}, c = lr·λ: w + sign w·(1 − √(1 + 4|w|/c²))·c²/2.
    ///
    /// Computed as sign w·r², r = |w|/(h + √(h² + |w|)), h = c/2, which loses no digits and does not overflow.
    ThreeHalves {
        /// λ, finite and at least 0.
        lambda: f64,
    },
}

impl Decay {
    fn check(&self) -> Result<(), ConfigError> {
        match *self {
            Self::PNorm { p, lambda, .. } => {
                exponent(p)?;
                non_negative("lambda_p", lambda)
            }
            Self::L1 { lambda, weight_decay } => {
                non_negative("l1_lambda", lambda)?;
                non_negative("weight_decay", weight_decay)
            }
            Self::ThreeHalves { lambda } => non_negative("l3_2_lambda", lambda),
        }
    }

    fn scaled(self, factor: f64) -> Self {
        let of = |strength| scaled(strength, factor);
        match self {
            Self::PNorm { p, lambda, late, flush } => {
                Self::PNorm { p, lambda: of(lambda), late, flush }
            }
            Self::L1 { lambda, weight_decay } => {
                Self::L1 { lambda: of(lambda), weight_decay: of(weight_decay) }
            }
            Self::ThreeHalves { lambda } => Self::ThreeHalves { lambda: of(lambda) },
        }
    }

    /// The scalars at learning rate `lr`.
    fn at<T: Real>(&self, lr: f64) -> DecayStep<T> {
        match *self {
            Self::PNorm { lambda, .. } if lr * lambda == 0.0 => DecayStep(Kind::Identity),
            Self::PNorm { p, lambda, late, flush } => {
                DecayStep(Kind::Power(PowerStep::of(p, p * (lr * lambda), late, flush)))
            }
            // Not even −0 changes.
            Self::L1 { lambda, weight_decay } if lr * lambda == 0.0 && lr * weight_decay == 0.0 => {
                DecayStep(Kind::Identity)
            }
            Self::L1 { lambda, weight_decay } => DecayStep(Kind::L1 {
                soft: SoftThresholdStep::of(lr * lambda),
                divisor: T::from_f64(1.0 + lr * weight_decay),
            }),
            Self::ThreeHalves { lambda } if lr * lambda == 0.0 => DecayStep(Kind::Identity),
            Self::ThreeHalves { lambda } => {
                let half = lr * lambda / 2.0;
                let square = T::from_f64(half * half);
                DecayStep(Kind::ThreeHalves { half: T::from_f64(half), square })
            }
        }
    }
}

/// The scalars of one step of a [`Decay`].
#[derive(Clone, Copy, Debug)]
pub struct DecayStep<T>(Kind<T>);

#[derive(Clone, Copy, Debug)]
enum Kind<T> {
    Identity,
    Power(PowerStep<T>),
    L1 { soft: SoftThresholdStep<T>, divisor: T },
    ThreeHalves { half: T, square: T },
}

impl<T: Real> DecayStep<T> {
    /// As what one weight after the other is put through, if it is that of a p-norm whose power takes long.
    pub(crate) fn as_shrunk(&self) -> Option<Shrunk<T>> {
        if let Kind::Power(step) = &self.0 { step.as_shrunk() } else { None }
    }

    #[inline(always)]
    fn strip(&self, before: &[T], theta: &mut [T]) {
        match self.0 {
            Kind::Identity => {}
            Kind::Power(step) => {
                step.strip(before, theta);
            }
            Kind::L1 { soft, divisor } => {
                for w in theta {
                    *w = soft.of_element(*w) / divisor;
                }
            }
            Kind::ThreeHalves { half, square } => {
                for w in theta {
                    let magnitude = w.abs();
                    let denominator = half + (square + magnitude).sqrt();
                    // 0/0 where the weight is 0 and c has rounded to 0.
                    let r = if magnitude == T::ZERO { T::ZERO } else { magnitude / denominator };
                    *w = if *w < T::ZERO { -(r * r) } else { r * r };
                }
            }
        }
    }
}

/// A base optimizer whose step is followed by a [`Decay`].
///
/// ```
/// use cpr_core::base::{Adam, AdamConfig, Decay, Decayed};
/// let adam = Adam::new(AdamConfig::default())?;
/// let padam = Decayed::new(adam, Decay::PNorm { p: 0.8, lambda: 1e-3, late: false, flush: true })?;
/// # Ok::<(), cpr_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decayed<B> {
    base: B,
    decay: Decay,
}

impl<B> Decayed<B> {
    /// The base with this decay.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for p <= 0 or p > 64 or a negative or non-finite strength.
    pub fn new(base: B, decay: Decay) -> Result<Self, ConfigError> {
        decay.check()?;
        Ok(Self { base, decay })
    }

    /// The base.
    #[must_use]
    pub const fn base(&self) -> &B {
        &self.base
    }

    /// The decay.
    #[must_use]
    pub const fn decay(&self) -> &Decay {
        &self.decay
    }
}

impl<B: ScaleDecay> ScaleDecay for Decayed<B> {
    /// Of the base's decay and of this one.
    fn scale_decay(&self, factor: f64) -> Self {
        Self { base: self.base.scale_decay(factor), decay: self.decay.scaled(factor) }
    }
}

impl<T: Real, B: Base<T, M>, const M: usize> Base<T, M> for Decayed<B> {
    type Step = DecayedStep<B::Step, T>;

    fn at(&self, t: u64, lr: f64) -> Self::Step {
        DecayedStep { base: self.base.at(t, lr), decay: self.decay.at(lr) }
    }
}

/// The scalars of one step of a [`Decayed`] base.
#[derive(Clone, Copy, Debug)]
pub struct DecayedStep<S, T> {
    base: S,
    decay: DecayStep<T>,
}

impl<T: Real, S: BaseRule<T, M>, const M: usize> BaseRule<T, M> for DecayedStep<S, T> {
    const FINISHES: bool = true;

    #[inline(always)]
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; M]) {
        self.base.block(theta, grad, moments);
    }

    #[inline(always)]
    fn finish(&self, before: &[T], theta: &mut [T]) {
        self.base.finish(before, theta);
        self.decay.strip(before, theta);
    }

    #[inline(always)]
    fn decay(&self) -> Option<&DecayStep<T>> {
        const { !S::FINISHES }.then_some(&self.decay)
    }
}
