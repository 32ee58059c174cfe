//! λ, the Lagrange multiplier of one matrix.

/// The multiplier λ of an inequality constraint: finite and at least 0 by construction.
///
/// The default is λ = 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Multiplier(f64);

impl Multiplier {
    /// λ = 0: the constraint does nothing.
    pub const ZERO: Self = Self(0.0);

    /// The multiplier of this value, or `None` if that is negative or not finite.
    #[must_use]
    pub fn new(lambda: f64) -> Option<Self> {
        (lambda >= 0.0 && lambda.is_finite()).then_some(Self(lambda))
    }

    /// λ.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// λ ← max(0, λ + rate·violation), one step of dual ascent.
    ///
    /// `violation` is R − κ, positive when violated, and `rate` is μ/n or μ (arXiv 2311.09058, Algorithm 1,
    /// line 7). λ saturates at the largest finite number; a violation that is NaN leaves it as it is.
    #[must_use]
    pub fn ascend(self, rate: f64, violation: f64) -> Self {
        let raised = self.0 + rate * violation;
        if raised.is_nan() { self } else { Self(raised.clamp(0.0, f64::MAX)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_negative_never_infinite() {
        assert_eq!(Multiplier::ZERO.ascend(1.0, -1.0).get(), 0.0);
        assert_eq!(Multiplier::ZERO.ascend(0.5, 3.0).get(), 1.5);
        assert_eq!(Multiplier::ZERO.ascend(f64::MAX, f64::MAX).get(), f64::MAX);
        assert_eq!(Multiplier(2.0).ascend(0.0, f64::INFINITY).get(), 2.0);
        assert_eq!(Multiplier::new(-1.0), None);
        assert_eq!(Multiplier::new(f64::INFINITY), None);
    }
}
