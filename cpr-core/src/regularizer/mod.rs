//! The measures R(θ) of a matrix, one file each.
//!
//! | regularizer | R(θ) | ∇R | rate of λ |
//! |---|---|---|---|
//! | [`L2`] | Σθ² | 2θ | μ/n |
//! | [`L1`] | Σ\|θ\| | sign θ | μ/n |
//! | [`Huber`] | Σ h(θ), h = θ²/2 inside ±δ, δ(\|θ\| − δ/2) outside | clip(θ, ±δ) | μ/n |
//! | [`Std`] | sample standard deviation | (θ − mean)/((n − 1)·R), 0 where R = 0 | μ |
//! | [`Lp`] | Σ\|θ\|^p | p·sign θ·\|θ\|^(p − 1), applied as the factor of [`Correction::Power`] | μ/n |
//!
//! To add one: a file beside these with its type and its `impl Regularizer`, and a variant in `any.rs`.

mod any;
mod huber;
mod l1;
mod l2;
mod lp;
mod std;

#[cfg(test)]
pub(crate) use self::l2::Squares;
pub use self::{any::AnyRegularizer, huber::Huber, l1::L1, l2::L2, lp::Lp, std::Std};

use crate::{
    base::BaseRule,
    constraint::{Order, StepRule},
    correction::Correction,
    error::ConfigError,
    real::Real,
    shard::Shard,
    statistic::{Observed, Statistic},
};

/// A measure R(θ) of a matrix, and the step that lowers it.
///
/// Sealed: the kernels behind it are this crate's. [`AnyRegularizer`] is the choice at run time; a single
/// regularizer as the type parameter leaves the others out of the binary.
pub trait Regularizer: Copy + core::fmt::Debug + PartialEq + Kernels {
    /// R(θ) of the measured elements; NaN for a statistic of another regularizer's form.
    fn value(&self, statistic: &Statistic) -> f64;

    /// Whether R is a sum over elements: then λ rises at rate μ/n and a bound may be given per element.
    fn is_sum(&self) -> bool {
        true
    }

    /// Whether a statistic has the form that this measure is made of.
    fn takes(&self, statistic: &Statistic) -> bool {
        matches!(statistic, Statistic::Sum { .. })
    }

    /// A statistic of this form whose R is NaN.
    fn unmeasured(&self, count: u64) -> Statistic {
        Statistic::Sum { count, total: f64::NAN }
    }

    /// The fewest elements for which R is defined; 0 elements are always allowed and never constrained.
    fn fewest_elements(&self) -> u64 {
        1
    }

    /// Order, μ and `scale_by_lr` where the user says nothing.
    fn defaults(&self) -> Defaults {
        Defaults { order: Order::AfterBase, mu: 1.0, scale_by_lr: false }
    }

    /// Whether the regularizer works in this order.
    ///
    /// # Errors
    /// [`ConfigError::PowerNeedsBeforeBase`] for lp with p <= 1 in `AfterBase`.
    fn check(&self, _order: Order) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// What a regularizer works with where the user says nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Where R is taken.
    pub order: Order,
    /// μ.
    pub mu: f64,
    /// Whether lr scales the correction.
    pub scale_by_lr: bool,
}

/// What a correction is formed of.
#[derive(Clone, Copy, Debug)]
pub struct Violation {
    /// ℓ, the multiplier applied: λ, or lr·λ.
    pub(crate) ell: f64,
    /// R(θ).
    pub(crate) value: f64,
    /// κ.
    pub(crate) kappa: f64,
    /// Where R was taken.
    pub(crate) order: Order,
    /// Gradient or proximal.
    pub(crate) rule: StepRule,
    /// Whether the overshoot guard is on.
    pub(crate) guard: bool,
}

/// A correction, and whether it is the guard's.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    pub(crate) correction: Correction,
    pub(crate) guarded: bool,
}

impl Planned {
    const fn plain(correction: Correction) -> Self {
        Self { correction, guarded: false }
    }

    /// center + scale·(θ − center) with rate = 1 − scale: as a pull while little is taken away, as a scale where
    /// little is left, so that neither loses its digits in the parameters' type.
    fn prox(scale: f64, center: f64, rate: f64) -> Correction {
        if scale < 0.5 {
            Correction::Scale { scale, center }
        } else {
            Correction::Pull { rate, center, proximal: true }
        }
    }

    /// The share x/(1 + x) or x of a pull, or the guard's landing at the scale `landing()`.
    fn pull(x: f64, center: f64, violation: &Violation, landing: impl Fn() -> f64) -> Self {
        match violation.rule {
            StepRule::Gradient if violation.guard && x > 1.0 => {
                let scale = landing();
                let correction = match violation.order {
                    // As a scale: 1 − scale, rounded to the parameters' type, would miss a small bound.
                    Order::AfterBase => Correction::Scale { scale, center },
                    Order::BeforeBase => {
                        Correction::Pull { rate: 1.0 - scale, center, proximal: false }
                    }
                };
                Self { correction, guarded: true }
            }
            StepRule::Gradient => {
                Self::plain(Correction::Pull { rate: x, center, proximal: false })
            }
            StepRule::Proximal => Self::plain(Self::prox(1.0 / (1.0 + x), center, x / (1.0 + x))),
        }
    }
}

mod sealed {
    use super::{
        AnyRegularizer, BaseRule, Correction, Observed, Planned, Real, Shard, Statistic, Violation,
    };

    /// The loops of a regularizer, over one chunk.
    pub trait Kernels: Sized {
        /// The measure of a chunk.
        fn observe<T: Real>(&self, chunk: &[T]) -> Statistic;

        /// Base step, the correction of `BeforeBase`, and the measure of what was written.
        fn first_pass<T: Real, B: BaseRule<T, M>, const M: usize>(
            &self,
            correction: &Correction,
            base: B,
            chunk: Shard<'_, T, M>,
        ) -> Observed;

        /// The correction for ℓ > 0.
        fn plan(&self, violation: &Violation, statistic: &Statistic) -> Planned;

        /// Phase 4, for the corrections that `plan` makes: a firmware holds no others.
        fn correct<T: Real>(&self, correction: &Correction, theta: &mut [T]) -> u64 {
            correction.apply(theta)
        }

        /// The same measure as a value.
        fn into_any(self) -> AnyRegularizer;

        /// The measure from a value, if it is of this type.
        fn from_any(any: AnyRegularizer) -> Option<Self>;
    }
}
pub(crate) use sealed::Kernels;

/// R of a sum; NaN for moments.
fn total(statistic: &Statistic) -> f64 {
    match *statistic {
        Statistic::Sum { total, .. } => total,
        Statistic::Moments { .. } => f64::NAN,
    }
}
