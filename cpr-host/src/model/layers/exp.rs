//! An exponential function that loops over it vectorize with, for softmax and cross-entropy.

use std::f64::consts;

use cpr_core::Real;

/// A float type with a branch-free exponential.
pub trait Exp: Real {
    /// eˣ for x ≤ 0, within 1.5 units in the last place (`f64`: 2, of the value of libm); NaN for
    /// NaN.
    ///
    /// Where eˣ is below the smallest normal number (x under −87.33 for `f32`, −708.39 for `f64`)
    /// the result is 0. For x > 0 it is unspecified.
    ///
    /// With n the integer nearest to x/ln 2 and r = x − n·ln 2, eˣ = 2ⁿ·eʳ and |r| ≤ ln 2 / 2. The
    /// Taylor polynomial of eʳ up to r⁷/7! (`f64`: r¹³/13!) leaves a relative error of
    /// |r|⁸/8! < 5.3e-9 (|r|¹⁴/14! < 4.2e-18), less than a tenth of a unit in the last place; the
    /// rest is rounding. Only sums, products and bit operations of the type itself are used, none
    /// fused, so the bits are the same at every SIMD level.
    fn exp_nonpositive(self) -> Self;
}

macro_rules! impl_exp {
    (
        $float:ty,
        mantissa: $mantissa:literal,
        bias: $bias:literal,
        // ln 2 = (high + low)/2^scale: n·high/2^scale is exact for every n of the range.
        ln2: $high:literal / $scale:literal + $low:literal,
        smallest: $smallest:literal,
        factorials: $($factorial:literal)+
    ) => {
        impl Exp for $float {
            #[inline(always)]
            fn exp_nonpositive(self) -> Self {
                // Added to a small number, 1.5·2^mantissa leaves no bits for a fraction: the sum is
                // rounded to an integer, which stands in the low bits of its mantissa.
                const ROUND: $float = 1.5 * (1_u64 << $mantissa) as $float;
                const HIGH: $float = $high / (1_u64 << $scale) as $float;
                let shifted = self * consts::LOG2_E as $float + ROUND;
                let n = shifted - ROUND;
                let r = (self - n * HIGH) - n * $low;
                let mut series = 0.0;
                $(series = series * r + (1.0 / $factorial);)+
                let power = (shifted.to_bits() << $mantissa).wrapping_add($bias << $mantissa);
                let value = series * Self::from_bits(power);
                if self < $smallest { 0.0 } else { value }
            }
        }
    };
}

impl_exp! {
    f32,
    mantissa: 23,
    bias: 127,
    ln2: 45_426.0 / 16 + 1.428_606_8e-6,
    smallest: -87.336_54,
    factorials: 5040.0 720.0 120.0 24.0 6.0 2.0 1.0 1.0
}
impl_exp! {
    f64,
    mantissa: 52,
    bias: 1023,
    ln2: 3_048_493_539_143.0 / 42 + 5.497_923_018_708_371e-14,
    smallest: -708.396_418_532_264_1,
    factorials: 6_227_020_800.0 479_001_600.0 39_916_800.0 3_628_800.0 362_880.0 40_320.0 5040.0 720.0
        120.0 24.0 6.0 2.0 1.0 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance in units in the last place of the expected value.
    fn ulps32(x: f32) -> f64 {
        let expected = libm::exp(f64::from(x));
        let ulp = f64::from((expected as f32).next_up() - expected as f32);
        (f64::from(x.exp_nonpositive()) - expected).abs() / ulp
    }

    #[test]
    fn single_precision_is_within_one_and_a_half_ulps() {
        // Every 97th float from -0 to the smallest argument.
        let worst = (0x8000_0000..=(-87.33_f32).to_bits())
            .step_by(97)
            .map(|bits| ulps32(f32::from_bits(bits)))
            .fold(0.0, f64::max);
        assert!(worst < 1.5, "{worst}");
    }

    #[test]
    fn double_precision_agrees_with_libm() {
        let steps = 2_000_000;
        let mut worst = 0.0_f64;
        for step in 0..=steps {
            let x = -708.39 * f64::from(step) / f64::from(steps);
            for x in [x, x * x / -708.39, x / 1000.0] {
                let expected = libm::exp(x);
                let ulp = expected.next_up() - expected;
                worst = worst.max((x.exp_nonpositive() - expected).abs() / ulp);
            }
        }
        assert!(worst <= 2.0, "{worst}");
    }

    #[test]
    fn special_values() {
        assert_eq!(0.0_f32.exp_nonpositive(), 1.0);
        assert_eq!((-0.0_f64).exp_nonpositive(), 1.0);
        for x in [-87.34_f32, -1e10, f32::NEG_INFINITY] {
            assert_eq!(x.exp_nonpositive(), 0.0);
        }
        for x in [-708.4_f64, -1e300, f64::NEG_INFINITY] {
            assert_eq!(x.exp_nonpositive(), 0.0);
        }
        assert!((-87.33_f32).exp_nonpositive() >= f32::MIN_POSITIVE);
        assert!((-708.39_f64).exp_nonpositive() >= f64::MIN_POSITIVE);
        assert!(f32::NAN.exp_nonpositive().is_nan());
        assert!(f64::NAN.exp_nonpositive().is_nan());
    }

    #[test]
    fn values_are_stable() {
        assert_eq!((-1.0_f32).exp_nonpositive().to_bits(), 1_052_531_378);
        assert_eq!((-10.5_f64).exp_nonpositive().to_bits(), 4_538_748_550_476_374_202);
    }
}
