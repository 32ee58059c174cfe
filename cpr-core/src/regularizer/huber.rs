//! The Huber norm.

use super::{AnyRegularizer, Kernels, Planned, Regularizer, Violation};
use crate::{
    base::BaseRule,
    constraint::StepRule,
    correction::Correction,
    error::{ConfigError, positive},
    kernel,
    observer::{SumOf, Term},
    real::Real,
    shard::Shard,
    shrink::{ClipStep, HuberProxStep, Unmoved},
    statistic::{Observed, Statistic},
};

/// R(θ) = Σ h(θ), h = θ²/2 for |θ| <= δ, δ·(|θ| − δ/2) beyond; ∇R = clip(θ, ±δ). The default is δ = 1.
///
/// * Gradient step: θ − ℓ·clip(θ, ±δ). Guard: an element that would cross zero stops there.
/// * Proximal step: θ/(1 + ℓ) for |θ| <= δ·(1 + ℓ), else θ − ℓδ·sign θ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Huber {
    delta: f64,
}

impl Huber {
    /// The Huber norm with this δ.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] unless δ is finite and above 0.
    pub fn new(delta: f64) -> Result<Self, ConfigError> {
        positive("delta", delta)?;
        Ok(Self { delta })
    }

    /// δ, where the quadratic turns into a line.
    #[must_use]
    pub const fn delta(&self) -> f64 {
        self.delta
    }
}

impl Default for Huber {
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

impl<T: Real> Term<T> for Huber {
    #[inline(always)]
    fn of(self, element: T) -> f64 {
        let magnitude = element.abs().to_f64();
        let inside = 0.5 * magnitude * magnitude;
        let outside = self.delta * (magnitude - 0.5 * self.delta);
        if magnitude <= self.delta { inside } else { outside }
    }
}

impl Regularizer for Huber {
    fn value(&self, statistic: &Statistic) -> f64 {
        super::total(statistic)
    }
}

impl Kernels for Huber {
    fn observe<T: Real>(&self, chunk: &[T]) -> Statistic {
        kernel::measure(SumOf(*self), chunk)
    }

    fn first_pass<T: Real, B: BaseRule<T, M>, const M: usize>(
        &self,
        correction: &Correction,
        base: B,
        chunk: Shard<'_, T, M>,
    ) -> Observed {
        let sum = SumOf(*self);
        match *correction {
            Correction::Clip { step, delta, guard } => {
                kernel::first_pass(base, ClipStep::of(step, delta, guard), sum, chunk)
            }
            Correction::HuberProx { step, delta } => {
                kernel::first_pass(base, HuberProxStep::of(step, delta), sum, chunk)
            }
            _ => kernel::first_pass(base, Unmoved, sum, chunk),
        }
    }

    fn plan(&self, violation: &Violation, _statistic: &Statistic) -> Planned {
        let (step, delta) = (violation.ell, self.delta);
        Planned::plain(match violation.rule {
            StepRule::Gradient => Correction::Clip { step, delta, guard: violation.guard },
            StepRule::Proximal => Correction::HuberProx { step, delta },
        })
    }

    fn into_any(self) -> AnyRegularizer {
        AnyRegularizer::Huber(self)
    }

    fn from_any(any: AnyRegularizer) -> Option<Self> {
        if let AnyRegularizer::Huber(huber) = any { Some(huber) } else { None }
    }
}
