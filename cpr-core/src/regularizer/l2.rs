//! The squared L2 norm.

use num_traits::Float;

use super::{AnyRegularizer, Kernels, Planned, Regularizer, Violation};
use crate::{
    base::BaseRule,
    correction::Correction,
    kernel,
    observer::{SumOf, Term},
    real::{Real, add_square},
    reduce::LANES,
    shard::Shard,
    shrink::{ProximalPullStep, PullStep, ScaleStep, Unmoved},
    statistic::{Observed, Statistic},
};

/// R(θ) = Σθ², the squared L2 norm; ∇R = 2θ.
///
/// * Gradient step: θ − 2ℓθ. Guard (2ℓ > 1): θ·√(κ/R), or 0 where R <= κ or κ = 0.
/// * Proximal step: θ/(1 + 2ℓ).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L2;

/// What an element adds to Σθ².
#[derive(Clone, Copy, Debug)]
pub(crate) struct Squares;

impl<T: Real> Term<T> for Squares {
    #[inline(always)]
    fn of(self, element: T) -> f64 {
        let x = element.to_f64();
        x * x
    }

    #[inline(always)]
    fn add_fused(self, lanes: &mut [f64; LANES], block: &[T; LANES], used: usize) {
        let mut elements = [0.0; LANES];
        for (i, (x, &element)) in elements.iter_mut().zip(block).enumerate() {
            *x = if i < used { element.to_f64() } else { 0.0 };
        }
        for (lane, x) in lanes.iter_mut().zip(elements) {
            *lane = add_square::<T>(*lane, x);
        }
    }
}

impl Regularizer for L2 {
    fn value(&self, statistic: &Statistic) -> f64 {
        super::total(statistic)
    }
}

impl Kernels for L2 {
    fn observe<T: Real>(&self, chunk: &[T]) -> Statistic {
        kernel::measure(SumOf(Squares), chunk)
    }

    fn first_pass<T: Real, B: BaseRule<T, M>, const M: usize>(
        &self,
        correction: &Correction,
        base: B,
        chunk: Shard<'_, T, M>,
    ) -> Observed {
        match *correction {
            Correction::Pull { rate, center, proximal: false } => {
                kernel::first_pass(base, PullStep::of(rate, center), SumOf(Squares), chunk)
            }
            Correction::Pull { rate, center, proximal: true } => {
                let prox = ProximalPullStep(PullStep::of(rate, center));
                kernel::first_pass(base, prox, SumOf(Squares), chunk)
            }
            Correction::Scale { scale, center } => {
                kernel::first_pass(base, ScaleStep::of(scale, center), SumOf(Squares), chunk)
            }
            _ => kernel::first_pass(base, Unmoved, SumOf(Squares), chunk),
        }
    }

    fn plan(&self, violation: &Violation, _statistic: &Statistic) -> Planned {
        let Violation { ell, value, kappa, .. } = *violation;
        Planned::pull(2.0 * ell, 0.0, violation, || {
            if value <= kappa || kappa == 0.0 { 0.0 } else { Float::sqrt(kappa / value) }
        })
    }

    fn correct<T: Real>(&self, correction: &Correction, theta: &mut [T]) -> u64 {
        correction.apply_pull(theta)
    }

    fn into_any(self) -> AnyRegularizer {
        AnyRegularizer::L2(self)
    }

    fn from_any(any: AnyRegularizer) -> Option<Self> {
        if let AnyRegularizer::L2(l2) = any { Some(l2) } else { None }
    }
}
