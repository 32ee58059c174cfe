//! The standard deviation.

use num_traits::Float;

use super::{AnyRegularizer, Kernels, Planned, Regularizer, Violation};
use crate::{
    base::BaseRule,
    constraint::{Order, StepRule},
    correction::Correction,
    kernel,
    observer::MomentsOf,
    real::{Real, count_as_f64},
    shard::Shard,
    shrink::{ProximalPullStep, PullStep, ScaleStep, Unmoved},
    statistic::{Observed, Statistic},
};

/// R(θ) = √(Σ(θ − mean)²/(n − 1)), the sample standard deviation of a matrix's elements;
/// ∇R = (θ − mean)/((n − 1)·R), 0 where R = 0. λ rises at rate μ.
///
/// With a = ℓ/((n − 1)·R):
/// * Gradient step: θ − a·(θ − mean). Guard (a > 1): mean + (θ − mean)·κ/R, or the mean where R <= κ or κ = 0.
/// * Proximal step: mean + (θ − mean)·max(0, 1 − a). Under `BeforeBase` the R of θ after the base step is not
///   known in one pass; R + ℓ/(n − 1) stands for it, with R and the mean from before the base step, so that the
///   scale is 1/(1 + a). At rest that is exact: the prox takes ℓ/(n − 1) from R, and ends at the R it began with.
///
/// One element has no standard deviation: such a group is refused when it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Std;

impl Regularizer for Std {
    fn value(&self, statistic: &Statistic) -> f64 {
        match *statistic {
            _ if statistic.count() == 0 => 0.0,
            Statistic::Moments { count, m2, .. } => Float::sqrt(m2 / count_as_f64(count - 1)),
            Statistic::Sum { .. } => f64::NAN,
        }
    }

    fn is_sum(&self) -> bool {
        false
    }

    fn takes(&self, statistic: &Statistic) -> bool {
        matches!(statistic, Statistic::Moments { .. })
    }

    fn unmeasured(&self, count: u64) -> Statistic {
        Statistic::Moments { count, mean: f64::NAN, m2: f64::NAN }
    }

    fn fewest_elements(&self) -> u64 {
        2
    }
}

impl Kernels for Std {
    fn observe<T: Real>(&self, chunk: &[T]) -> Statistic {
        kernel::measure(MomentsOf, chunk)
    }

    fn first_pass<T: Real, B: BaseRule<T, M>, const M: usize>(
        &self,
        correction: &Correction,
        base: B,
        chunk: Shard<'_, T, M>,
    ) -> Observed {
        match *correction {
            Correction::Pull { rate, center, proximal: false } => {
                kernel::first_pass(base, PullStep::of(rate, center), MomentsOf, chunk)
            }
            Correction::Pull { rate, center, proximal: true } => {
                let prox = ProximalPullStep(PullStep::of(rate, center));
                kernel::first_pass(base, prox, MomentsOf, chunk)
            }
            Correction::Scale { scale, center } => {
                kernel::first_pass(base, ScaleStep::of(scale, center), MomentsOf, chunk)
            }
            _ => kernel::first_pass(base, Unmoved, MomentsOf, chunk),
        }
    }

    fn plan(&self, violation: &Violation, statistic: &Statistic) -> Planned {
        let Violation { ell, value, kappa, rule, order, .. } = *violation;
        let Statistic::Moments { count, mean, .. } = *statistic else {
            return Planned::plain(Correction::Identity);
        };
        if value == 0.0 {
            return Planned::plain(Correction::Identity);
        }
        let share = ell / (count_as_f64(count - 1) * value);
        match rule {
            StepRule::Gradient => Planned::pull(share, mean, violation, || {
                if value <= kappa || kappa == 0.0 { 0.0 } else { kappa / value }
            }),
            StepRule::Proximal => {
                let (scale, rate) = match order {
                    Order::AfterBase => ((1.0 - share).max(0.0), share.min(1.0)),
                    Order::BeforeBase => (1.0 / (1.0 + share), share / (1.0 + share)),
                };
                Planned::plain(Planned::prox(scale, mean, rate))
            }
        }
    }

    fn correct<T: Real>(&self, correction: &Correction, theta: &mut [T]) -> u64 {
        correction.apply_pull(theta)
    }

    fn into_any(self) -> AnyRegularizer {
        AnyRegularizer::Std(self)
    }

    fn from_any(any: AnyRegularizer) -> Option<Self> {
        if let AnyRegularizer::Std(std) = any { Some(std) } else { None }
    }
}
