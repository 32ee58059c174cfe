//! The element-wise 2ˣ: no branch, no table, the same operations at every SIMD level.

use crate::power::{EXP_DOUBLE, EXP_SINGLE, clamped, cubic};
use crate::real::{ROUND, ROUND_SINGLE, power_of_two, powers_of_two_single};

/// 2ˣ for `f32`, to a relative error below 1.8e-7 for |x| <= 120; beyond, and for NaN, 2 to the power of an end.
///
/// With n the whole number nearest to x and r = x − n: 2ˣ = 2ⁿ·(1 + r·E(r)), E the polynomial of the p-norm's power.
#[inline(always)]
pub(crate) fn exp2_single(x: f32) -> f32 {
    const LIMIT: f32 = 120.0;
    let x = clamped(x, LIMIT);
    let shifted = x + ROUND_SINGLE;
    let r = x - (shifted - ROUND_SINGLE);
    let [e0, e1, e2, e3, e4, e5] = EXP_SINGLE;
    let r2 = r * r;
    let mantissa = 1.0 + r * ((e0 + e1 * r) + r2 * ((e2 + e3 * r) + r2 * (e4 + e5 * r)));
    let (one, other) = powers_of_two_single(shifted.to_bits());
    mantissa * one * other
}

/// [`exp2_single`] for `f64`: to 3.4e-16 for |x| <= 1000.
#[inline(always)]
pub(crate) fn exp2_double(x: f64) -> f64 {
    const LIMIT: f64 = 1000.0;
    let x = clamped(x, LIMIT);
    let shifted = x + ROUND;
    let r = x - (shifted - ROUND);
    let [e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10] = EXP_DOUBLE;
    let r2 = r * r;
    let r4 = r2 * r2;
    let upper = cubic([e4, e5, e6, e7], r, r2) + ((e8 + e9 * r) + e10 * r2) * r4;
    let mantissa = 1.0 + r * (cubic([e0, e1, e2, e3], r, r2) + upper * r4);
    mantissa * power_of_two(shifted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_precision_is_within_its_bound() {
        for i in -1_200_000..=1_200_000_i32 {
            let x = i as f32 * 1.000_3e-4;
            let exact = libm::exp2(f64::from(x.clamp(-120.0, 120.0)));
            let error = (f64::from(exp2_single(x)) - exact).abs() / exact;
            assert!(error <= 1.8e-7, "2^{x}: {error}");
        }
    }

    #[test]
    fn double_precision_is_within_its_bound() {
        for i in -1_000_000..=1_000_000_i32 {
            let x = f64::from(i) * 1.000_03e-3;
            let exact = libm::exp2(x.clamp(-1000.0, 1000.0));
            // libm's own error is below 0.51 ULP.
            let error = (exp2_double(x) - exact).abs() / exact;
            assert!(error <= 3.4e-16, "2^{x}: {error}");
        }
    }

    #[test]
    fn the_ends_and_nan_are_finite() {
        for x in [f32::NEG_INFINITY, -120.0, 120.0, f32::INFINITY, f32::NAN] {
            assert!(exp2_single(x).is_normal(), "{x}");
        }
        for x in [f64::NEG_INFINITY, -1000.0, 1000.0, f64::INFINITY, f64::NAN] {
            assert!(exp2_double(x).is_normal(), "{x}");
        }
        assert_eq!((exp2_single(0.0), exp2_double(0.0)), (1.0, 1.0));
        assert_eq!((exp2_single(-3.0), exp2_double(10.0)), (0.125, 1024.0));
    }
}
