//! The float types that parameters are made of, and the only float casts of the crate.

use core::f64::consts::FRAC_1_SQRT_2;
use core::fmt::Debug;

use num_traits::Float;

use crate::exponential::{exp2_double, exp2_single};
use crate::power::{self, General};
use crate::reduce::LANES;

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
    use crate::{power::General, reduce::LANES};

    /// The stages of xᵃ: each type has its own polynomials.
    #[expect(private_interfaces, reason = "the seal keeps it inside the crate")]
    pub trait Sealed: Sized {
        /// Whether the square of every value is exact in `f64`.
        #[doc(hidden)]
        const SQUARES_ARE_EXACT: bool;
        #[doc(hidden)]
        fn are_ordinary(values: &[Self; LANES], exponent: &General) -> bool;
        #[doc(hidden)]
        fn logarithm<const ORDINARY: bool>(self) -> [Self; 2];
        #[doc(hidden)]
        fn exponent<const ORDINARY: bool>(parts: [Self; 2], exponent: General) -> [Self; 2];
        #[doc(hidden)]
        fn mantissa(parts: [Self; 2]) -> [Self; 2];
        #[doc(hidden)]
        fn scaled<const ORDINARY: bool>(self, parts: [Self; 2]) -> Self;
        #[doc(hidden)]
        fn exp2_bounded(self) -> Self;
    }
}

#[expect(private_interfaces, reason = "the seal keeps it inside the crate")]
impl sealed::Sealed for f32 {
    // Twice 24 bits are at most 53, and the exponents have room.
    const SQUARES_ARE_EXACT: bool = true;

    #[inline(always)]
    fn are_ordinary(values: &[Self; LANES], exponent: &General) -> bool {
        power::are_ordinary_single(values, exponent.single())
    }

    #[inline(always)]
    fn logarithm<const ORDINARY: bool>(self) -> [Self; 2] {
        power::logarithm_single::<ORDINARY>(self)
    }

    #[inline(always)]
    fn exponent<const ORDINARY: bool>(parts: [Self; 2], exponent: General) -> [Self; 2] {
        power::exponent_single(parts, exponent.single())
    }

    #[inline(always)]
    fn mantissa(parts: [Self; 2]) -> [Self; 2] {
        power::mantissa_single(parts)
    }

    #[inline(always)]
    fn scaled<const ORDINARY: bool>(self, parts: [Self; 2]) -> Self {
        power::scaled_single::<ORDINARY>(self, parts)
    }

    #[inline(always)]
    fn exp2_bounded(self) -> Self {
        exp2_single(self)
    }
}

#[expect(private_interfaces, reason = "the seal keeps it inside the crate")]
impl sealed::Sealed for f64 {
    const SQUARES_ARE_EXACT: bool = false;

    #[inline(always)]
    fn are_ordinary(values: &[Self; LANES], exponent: &General) -> bool {
        power::are_ordinary_double(values, exponent.double())
    }

    #[inline(always)]
    fn logarithm<const ORDINARY: bool>(self) -> [Self; 2] {
        power::logarithm_double::<ORDINARY>(self)
    }

    #[inline(always)]
    fn exponent<const ORDINARY: bool>(parts: [Self; 2], exponent: General) -> [Self; 2] {
        power::exponent_double::<ORDINARY>(parts, exponent.double())
    }

    #[inline(always)]
    fn mantissa(parts: [Self; 2]) -> [Self; 2] {
        power::mantissa_double(parts)
    }

    #[inline(always)]
    fn scaled<const ORDINARY: bool>(self, parts: [Self; 2]) -> Self {
        power::scaled_double::<ORDINARY>(self, parts)
    }

    #[inline(always)]
    fn exp2_bounded(self) -> Self {
        exp2_double(self)
    }
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

/// `sum` + x², x a value of `T`: in one operation where x² is exact, and the sum rounded once either way: the same bits, but
/// for which of two NaNs is left.
///
/// For loops of a level that has the operation; elsewhere it would be a call.
#[inline(always)]
pub(crate) fn add_square<T: Real>(sum: f64, x: f64) -> f64 {
    if const { T::SQUARES_ARE_EXACT } { fused(sum, x) } else { sum + x * x }
}

#[cfg(feature = "std")]
#[inline(always)]
fn fused(sum: f64, x: f64) -> f64 {
    x.mul_add(x, sum)
}

/// The core library has no fused multiply-add; no level without std fuses.
#[cfg(not(feature = "std"))]
#[inline(always)]
fn fused(sum: f64, x: f64) -> f64 {
    sum + x * x
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

/// `(m, e)` with `value` = m·2^e exactly, m in [√½, √2) and e a whole number, for a normal `value` > 0.
///
/// Without a branch, and with shifts that every SIMD level has. For any other `value` both are meaningless.
#[inline(always)]
pub(crate) const fn split_exponent(value: f64) -> (f64, f64) {
    const FIELD: u32 = f64::MANTISSA_DIGITS - 1;
    /// Moves the step of the exponent field from 1 down to √½.
    const STEP: u64 = 1.0_f64.to_bits() - FRAC_1_SQRT_2.to_bits();
    /// 2⁵²: in its binade the low bits of a float are a whole number.
    const WHOLE: f64 = 4_503_599_627_370_496.0;
    const BIAS: f64 = 1023.0;
    let bits = value.to_bits().wrapping_add(STEP);
    let mantissa = (bits & ((1 << FIELD) - 1)).wrapping_add(FRAC_1_SQRT_2.to_bits());
    let exponent = f64::from_bits((bits >> FIELD) | WHOLE.to_bits());
    (f64::from_bits(mantissa), exponent - (WHOLE + BIAS))
}

/// [`split_exponent`] for `f32`, but the exponent as it stands in the bits: e·2²³.
///
/// One subtraction takes it off; made a float by [`whole_as_single`], it needs no shift.
#[inline(always)]
pub(crate) const fn split_exponent_single(value: f32) -> (f32, i32) {
    const SQRT_HALF: u32 = core::f32::consts::FRAC_1_SQRT_2.to_bits();
    let bits = value.to_bits();
    let exponent = bits.wrapping_sub(SQRT_HALF) & (u32::MAX << FIELD_SINGLE);
    (f32::from_bits(bits.wrapping_sub(exponent)), exponent.cast_signed())
}

/// Where the exponent of an `f32` begins in its bits.
pub(crate) const FIELD_SINGLE: u32 = f32::MANTISSA_DIGITS - 1;

/// The `f32` nearest to a whole number.
#[inline(always)]
pub(crate) const fn whole_as_single(value: i32) -> f32 {
    value as f32
}

/// 1.5·2⁵²: `value + ROUND − ROUND` is the whole number nearest to `value`, ties to even, for |`value`| < 2⁵¹.
pub(crate) const ROUND: f64 = 6_755_399_441_055_744.0;

/// [`ROUND`] for `f32`, 1.5·2²³, and twice the bias of an exponent, which [`powers_of_two_single`] need not add then.
pub(crate) const ROUND_SINGLE: f32 = 12_582_912.0 + 2.0 * 127.0;

/// 2ⁿ, where `shifted` is n + [`ROUND`] for a whole n in [−1022, 1023].
#[inline(always)]
pub(crate) const fn power_of_two(shifted: f64) -> f64 {
    let exponent = shifted.to_bits() << (f64::MANTISSA_DIGITS - 1);
    f64::from_bits(exponent.wrapping_add(1.0_f64.to_bits()))
}

/// Two powers of two whose product is 2ⁿ, where `shifted` are the bits of n + [`ROUND_SINGLE`] for a whole n in [−252, 254].
#[inline(always)]
pub(crate) const fn powers_of_two_single(shifted: u32) -> (f32, f32) {
    let exponent = shifted << FIELD_SINGLE;
    let half = (exponent >> 1) & (u32::MAX << FIELD_SINGLE);
    (f32::from_bits(half), f32::from_bits(exponent.wrapping_sub(half)))
}

/// 2ⁿ, where `shifted` are the bits of n + [`ROUND_SINGLE`] for a whole n in [−126, 127].
#[inline(always)]
pub(crate) const fn power_of_two_single(shifted: u32) -> f32 {
    f32::from_bits(shifted.wrapping_sub(127) << FIELD_SINGLE)
}

/// `value` with the last `DROPPED` bits of its mantissa cut off.
///
/// What is left has 53 − `DROPPED` bits: its products with numbers of at most `DROPPED` bits are exact.
#[inline(always)]
pub(crate) const fn leading_bits<const DROPPED: u32>(value: f64) -> f64 {
    f64::from_bits(value.to_bits() & (u64::MAX << DROPPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x of every exponent, subnormal ones included, into sums from far below x² to far above it.
    #[test]
    fn a_square_is_added_to_the_bit() {
        for pattern in (0..=u32::MAX).step_by(0x0012_3457) {
            let single = f32::from_bits(pattern);
            let double = f64::from_bits(u64::from(pattern) << 32 | u64::from(!pattern));
            for scale in [1e-20, 1e-3, 1.0, 3.0, 1e12] {
                let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                let x = f64::from(single);
                let sum = x * x * scale;
                assert!(same(add_square::<f32>(sum, x), sum + x * x), "{single:e}");
                let sum = double * double * scale;
                assert!(same(add_square::<f64>(sum, double), sum + double * double), "{double:e}");
            }
        }
    }
}
