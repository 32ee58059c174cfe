//! The float types that parameters are made of, and the only float casts of the crate.

use core::fmt::Debug;

use num_traits::Float;

/// A parameter's float type: `f32` or `f64`.
///
/// Sums, moments, λ and κ are `f64` for both: configuration is `f64`, the scalars of a step are formed in `f64`
/// and rounded to `Self` once, by [`Real::from_f64`].
pub trait Real: Float + Debug + Default + Send + Sync + sealed::Sealed + 'static {
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;

    /// The nearest value of this type, ties to even; beyond its range ±∞, and NaN for NaN.
    fn from_f64(value: f64) -> Self;

    /// The same number as `f64`, exactly.
    fn to_f64(self) -> f64;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}

/// A count as `f64`: exact up to 2⁵³, the nearest value beyond.
#[inline(always)]
pub(crate) const fn count_as_f64(count: u64) -> f64 {
    count as f64
}

/// The count nearest to `value`, halves away from zero: 0 for negative numbers and NaN, `u64::MAX` beyond its range.
#[inline]
pub(crate) fn round_to_count(value: f64) -> u64 {
    libm::round(value) as u64
}
