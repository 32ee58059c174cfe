//! Base optimizers: SGD, SGD with momentum, Adam, AMSGrad, and decays that act on their step; and what CPR is compared
//! with.
//!
//! | method | here | what it needs of a step |
//! |---|---|---|
//! | decay that follows a cosine | [`DecaySchedule`], by [`ScaleDecay`] | t |
//! | AWD | [`Awd`], by [`ScaleDecay`] | Σw² and Σg² of all weights |
//! | AdaDecay | [`AdaDecay`], before any base | [`magnitudes`] of the matrix's gradients |
//! | Amos | [`Amos`], a base of its own | Σg² of the matrix |
//! | p-norm, L1 and L3/2 decay | [`Decay`], after any base | nothing |
//!
//! Three types a rule: a configuration (plain fields), the rule made of it (validated, `Copy`), and the step
//! of one point in time (the scalars of that step, rounded once). The state is the caller's: moment slices,
//! and the number t of the step.

mod adadecay;
mod adam;
mod amos;
mod awd;
mod decay;
mod schedule;
mod sgd;

pub use adadecay::{AdaDecay, AdaDecayConfig, AdaDecayStep, magnitudes};
pub use adam::{Adam, AdamConfig, AdamStep, AmsGrad, AmsGradStep};
pub use amos::{Amos, AmosConfig, AmosState, AmosStep, ModelScale};
pub use awd::{Awd, AwdState};
pub use decay::{Decay, DecayStep, Decayed, DecayedStep};
pub use schedule::DecaySchedule;
pub use sgd::{Momentum, MomentumConfig, MomentumStep, Sgd, SgdConfig, SgdStep};

use crate::{
    error::{ConfigError, non_negative},
    real::Real,
    reduce::LANES,
};

/// The scalars of one step of a base optimizer, with M moments for each element.
///
/// Implement it to put another optimizer under the constraints. The rule works on blocks of [`LANES`]
/// elements and must treat each element by itself; the last block of a slice is padded with zeros.
pub trait BaseRule<T: Real, const M: usize>: Copy {
    /// Whether [`finish`](Self::finish) does anything.
    const FINISHES: bool = false;

    /// One step of a block: θ and the moments are replaced.
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; M]);

    /// What follows the blocks, a few hundred elements at a time, from θ `before` them: the decay of a [`Decayed`] base. The
    /// slices have one length; each element is still treated by itself.
    ///
    /// A plain loop over many elements is what compilers turn into whole vectors at every width; arithmetic of more than
    /// a dozen operations on one block stays scalar on machines without AVX-512.
    #[inline(always)]
    fn finish(&self, _before: &[T], _theta: &mut [T]) {}

    /// The decay that [`finish`](Self::finish) does, where it does that and nothing else: a loop may then do it in its place,
    /// to the same bits. `None` is always right. It is asked only where [`FINISHES`](Self::FINISHES) is true; a rule around another
    /// one hands on that rule's decay only if its own `finish` adds nothing.
    #[inline(always)]
    fn decay(&self) -> Option<&DecayStep<T>> {
        None
    }
}

/// A base optimizer: what makes the scalars of step t.
pub trait Base<T: Real, const M: usize>: Copy {
    /// The scalars of one step.
    type Step: BaseRule<T, M>;

    /// The scalars of step `t` = 1, 2, … (0 counts as 1) at learning rate `lr` (finite, at least 0).
    fn at(&self, t: u64, lr: f64) -> Self::Step;
}

/// A rule whose decay may change from step to step.
pub trait ScaleDecay: Copy {
    /// The same rule with every strength of decay times `factor`, for one step.
    ///
    /// A factor of 1 gives the same bits; one that is negative or NaN counts as 0, and a strength beyond the range of f64 is
    /// its largest number.
    #[must_use]
    fn scale_decay(&self, factor: f64) -> Self;
}

/// `strength`·`factor` as [`ScaleDecay`] has it.
fn scaled(strength: f64, factor: f64) -> f64 {
    if factor > 0.0 { (strength * factor).min(f64::MAX) } else { 0.0 }
}

/// How weights decay inside a base step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum WeightDecay {
    /// Not at all.
    #[default]
    None,
    /// g ← g + w·θ, before the moments: L2 regularisation, torch's `Adam` and `SGD`.
    Coupled(f64),
    /// θ ← θ·(1 − lr·w) before the step: AdamW (Loshchilov, Hutter, arXiv 1711.05101).
    Decoupled(f64),
}

impl WeightDecay {
    fn check(self) -> Result<(), ConfigError> {
        match self {
            Self::None => Ok(()),
            Self::Coupled(w) | Self::Decoupled(w) => non_negative("weight_decay", w),
        }
    }

    fn scaled(self, factor: f64) -> Self {
        match self {
            Self::None => Self::None,
            Self::Coupled(w) => Self::Coupled(scaled(w, factor)),
            Self::Decoupled(w) => Self::Decoupled(scaled(w, factor)),
        }
    }

    /// (weight in the gradient, factor on θ) at learning rate `lr`.
    fn at<T: Real>(self, lr: f64) -> (T, T) {
        match self {
            Self::None => (T::ZERO, T::ONE),
            Self::Coupled(w) => (T::from_f64(w), T::ONE),
            Self::Decoupled(w) => (T::ZERO, T::from_f64(1.0 - lr * w)),
        }
    }
}

/// What every base step does to its inputs first: the sign of the gradient and the decay of the weight.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Intake<T> {
    sign: T,
    coupled: T,
    keep: T,
}

impl<T: Real> Intake<T> {
    fn new(decay: WeightDecay, maximize: bool, lr: f64) -> Self {
        let (coupled, keep) = decay.at(lr);
        Self { sign: if maximize { -T::ONE } else { T::ONE }, coupled, keep }
    }

    /// Whether the gradient to follow is the gradient.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.sign == T::ONE && self.coupled == T::ZERO
    }

    /// (decayed θ, gradient to follow).
    #[inline(always)]
    fn of(&self, theta: T, grad: T) -> (T, T) {
        (theta * self.keep, self.sign * grad + self.coupled * theta)
    }
}
