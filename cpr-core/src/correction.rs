//! What the constraint does to the parameters: a few scalars, the same for a SIMD loop and a CUDA kernel.

use crate::{
    kernel,
    real::Real,
    shrink::{
        ClipStep, HuberProxStep, PowerStep, PullStep, ScaleStep, SignStep, SoftThresholdStep,
    },
};

/// A correction θ' of the parameters θ.
///
/// x is the θ at which R was taken: the same θ under [`AfterBase`](crate::Order::AfterBase), the θ before the
/// base step under [`BeforeBase`](crate::Order::BeforeBase). Scalars are rounded once to the parameters' type.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Correction {
    /// θ' = θ.
    Identity,
    /// θ' = θ − rate·(x − center), with x = θ if `proximal`: l2 and std, of either step rule, guarded or not.
    Pull {
        /// Share of the deviation that is taken away.
        rate: f64,
        /// What the elements are pulled to: 0 for l2, the mean for std.
        center: f64,
        /// Pull θ after the base step (a prox) in place of x.
        proximal: bool,
    },
    /// θ' = center + scale·(θ − center): where the overshoot guard lands a matrix on its bound.
    Scale {
        /// √(κ/R) for l2, κ/R for std; at least 0.
        scale: f64,
        /// What the elements are pulled to: 0 for l2, the mean for std.
        center: f64,
    },
    /// θ' = θ − step·sign x, but 0 where `guard` and that crosses zero: l1.
    Sign {
        /// ℓ.
        step: f64,
        /// Stop at zero.
        guard: bool,
    },
    /// θ' = sign θ·max(0, |θ| − threshold): the prox of l1.
    SoftThreshold {
        /// ℓ.
        threshold: f64,
    },
    /// θ' = θ − step·clip(x, ±delta), but 0 where `guard` and that crosses zero: huber.
    Clip {
        /// ℓ.
        step: f64,
        /// δ, where the quadratic turns into a line.
        delta: f64,
        /// Stop at zero.
        guard: bool,
    },
    /// θ' = θ/(1 + step) for |θ| <= delta·(1 + step), else θ − step·delta·sign θ: the prox of huber.
    HuberProx {
        /// ℓ.
        step: f64,
        /// δ.
        delta: f64,
    },
    /// θ' = θ·X/(X + p·step), X = |x|^(2 − p): lp.
    Power {
        /// p.
        p: f64,
        /// ℓ.
        step: f64,
        /// Magnitudes below the smallest normal number become 0.
        flush: bool,
    },
}

impl Correction {
    /// Whether it changes nothing: phase 4 may be skipped.
    #[must_use]
    pub const fn is_identity(&self) -> bool {
        matches!(self, Self::Identity)
    }

    /// Phase 4: corrects θ in place; returns how many elements the guard stopped at zero.
    ///
    /// Works on any part of a matrix, in any order: each element by itself.
    ///
    /// ```
    /// use cpr_core::Correction;
    /// let mut theta = [3.0f32, -0.5, 1.0];
    /// let stopped = Correction::Sign { step: 1.0, guard: true }.apply(&mut theta);
    /// assert_eq!((theta, stopped), ([2.0, 0.0, 0.0], 1));
    /// ```
    pub fn apply<T: Real>(&self, theta: &mut [T]) -> u64 {
        match *self {
            Self::Identity => 0,
            Self::Pull { .. } | Self::Scale { .. } => self.apply_pull(theta),
            Self::Sign { step, guard } => kernel::correct(SignStep::of(step, guard), theta),
            Self::SoftThreshold { threshold } => {
                kernel::correct(SoftThresholdStep::of(threshold), theta)
            }
            Self::Clip { step, delta, guard } => {
                kernel::correct(ClipStep::of(step, delta, guard), theta)
            }
            Self::HuberProx { step, delta } => {
                kernel::correct(HuberProxStep::of(step, delta), theta)
            }
            Self::Power { p, step, flush } => {
                kernel::correct(PowerStep::of(p, p * step, false, flush), theta)
            }
        }
    }

    /// [`Correction::apply`] for a regularizer that only pulls, without the code of the other corrections.
    pub(crate) fn apply_pull<T: Real>(&self, theta: &mut [T]) -> u64 {
        // On its own, phase 4 has one θ: before and after are the same.
        match *self {
            Self::Pull { rate, center, .. } => kernel::correct(PullStep::of(rate, center), theta),
            Self::Scale { scale, center } => kernel::correct(ScaleStep::of(scale, center), theta),
            _ => 0,
        }
    }
}
