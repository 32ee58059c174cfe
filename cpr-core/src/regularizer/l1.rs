//! The L1 norm.

use super::{AnyRegularizer, Kernels, Planned, Regularizer, Violation};
use crate::{
    base::BaseRule,
    constraint::StepRule,
    correction::Correction,
    kernel,
    observer::{SumOf, Term},
    real::Real,
    shard::Shard,
    shrink::{SignStep, SoftThresholdStep, Unmoved},
    statistic::{Observed, Statistic},
};

/// R(θ) = Σ|θ|; ∇R = sign θ, 0 at 0.
///
/// * Gradient step: θ − ℓ·sign θ. Guard: an element that would cross zero stops there.
/// * Proximal step: sign θ·max(0, |θ| − ℓ), with exact zeros.
///
/// At the bound λ is stable for μ·κ/n below about 1; the gradient step does not settle there but stays bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L1;

#[derive(Clone, Copy, Debug)]
struct Magnitudes;

impl<T: Real> Term<T> for Magnitudes {
    #[inline(always)]
    fn of(self, element: T) -> f64 {
        element.abs().to_f64()
    }
}

impl Regularizer for L1 {
    fn value(&self, statistic: &Statistic) -> f64 {
        super::total(statistic)
    }
}

impl Kernels for L1 {
    fn observe<T: Real>(&self, chunk: &[T]) -> Statistic {
        kernel::measure(SumOf(Magnitudes), chunk)
    }

    fn first_pass<T: Real, B: BaseRule<T, M>, const M: usize>(
        &self,
        correction: &Correction,
        base: B,
        chunk: Shard<'_, T, M>,
    ) -> Observed {
        let sum = SumOf(Magnitudes);
        match *correction {
            Correction::Sign { step, guard } => {
                kernel::first_pass(base, SignStep::of(step, guard), sum, chunk)
            }
            Correction::SoftThreshold { threshold } => {
                kernel::first_pass(base, SoftThresholdStep::of(threshold), sum, chunk)
            }
            _ => kernel::first_pass(base, Unmoved, sum, chunk),
        }
    }

    fn plan(&self, violation: &Violation, _statistic: &Statistic) -> Planned {
        Planned::plain(match violation.rule {
            StepRule::Gradient => Correction::Sign { step: violation.ell, guard: violation.guard },
            StepRule::Proximal => Correction::SoftThreshold { threshold: violation.ell },
        })
    }

    fn into_any(self) -> AnyRegularizer {
        AnyRegularizer::L1(self)
    }

    fn from_any(any: AnyRegularizer) -> Option<Self> {
        if let AnyRegularizer::L1(l1) = any { Some(l1) } else { None }
    }
}
