//! The element-wise power |x|ᵃ of the p-norm rules: no branch, no table, the same operations at every SIMD level.

use num_traits::Float;

use crate::extended::two_product;
use crate::real::{
    ROUND, ROUND_SINGLE, Real, leading_bits, leading_bits_single, power_of_two,
    powers_of_two_single, split_exponent, split_exponent_single,
};
use crate::reduce::LANES;

/// xᵃ for one exponent a > 0 and magnitudes x >= 0, by the cheapest rule that this exponent has.
///
/// A loop takes the choice of the rule once, outside, by [`Power::choose`], and is compiled for each rule:
///
/// | a | rule | error in ULP of the result |
/// |---|---|---|
/// | ½ | √x | ½ (correctly rounded) |
/// | 1 | x | 0 |
/// | 3/2 | x·√x | below 1.5 |
/// | 2 | x·x | ½ (correctly rounded) |
/// | any other | [`General`] | `f32`: below 1.6 for a <= 8, 40 for a <= 64; `f64`: below 1.3 for a <= 8, 2 for a <= 64 |
///
/// For every a: 0 → 0, ∞ → ∞, NaN → NaN; subnormal x are numbers like any other; results beyond the range are ∞, results
/// below it subnormal or 0, each the rounding of a value within the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Power {
    /// a = ½.
    SquareRoot,
    /// a = 1.
    Identity,
    /// a = 3/2.
    ThreeHalves,
    /// a = 2.
    Square,
    /// Any other a.
    General(General),
}

impl Power {
    /// For 0 < `exponent` <= 64; other exponents give no meaningful values, but no panic.
    pub(crate) fn new(exponent: f64) -> Self {
        if exponent == 0.5 {
            Self::SquareRoot
        } else if exponent == 1.0 {
            Self::Identity
        } else if exponent == 1.5 {
            Self::ThreeHalves
        } else if exponent == 2.0 {
            Self::Square
        } else {
            Self::General(General::new(exponent))
        }
    }

    /// Runs `task`, a loop as a rule, with the rule of this exponent as a type of its own.
    #[inline(always)]
    pub(crate) fn choose<F: ForEachPower>(self, task: F) -> F::Output {
        match self {
            Self::SquareRoot => task.run(SquareRoot),
            Self::Identity => task.run(Identity),
            Self::ThreeHalves => task.run(ThreeHalves),
            Self::Square => task.run(Square),
            Self::General(general) => task.run(general),
        }
    }
}

impl Power {
    /// Replaces every x of a block by |x|ᵃ; the choice of the rule is taken once for the block.
    #[inline(always)]
    pub(crate) fn of_magnitudes<T: Real>(self, block: &mut [T; LANES]) {
        struct Block<'a, T>(&'a mut [T; LANES]);
        impl<T: Real> ForEachPower for Block<'_, T> {
            type Output = ();
            #[inline(always)]
            fn run<P: ElementPower>(self, power: P) {
                for x in self.0 {
                    *x = power.of(x.abs());
                }
            }
        }
        self.choose(Block(block));
    }
}

/// What [`Power::choose`] runs: code that is written once and compiled for each rule.
pub(crate) trait ForEachPower {
    /// What it returns.
    type Output;

    /// Runs it. To be marked `#[inline(always)]` where the caller is compiled for a SIMD level.
    fn run<P: ElementPower>(self, power: P) -> Self::Output;
}

/// One rule for xᵃ.
pub(crate) trait ElementPower: Copy {
    /// xᵃ for x = `magnitude` >= 0; never a panic.
    fn of<T: Real>(self, magnitude: T) -> T;
}

impl ElementPower for Power {
    /// Takes the choice anew for each element: for single values.
    #[inline(always)]
    fn of<T: Real>(self, magnitude: T) -> T {
        struct One<T>(T);
        impl<T: Real> ForEachPower for One<T> {
            type Output = T;
            #[inline(always)]
            fn run<P: ElementPower>(self, power: P) -> T {
                power.of(self.0)
            }
        }
        self.choose(One(magnitude))
    }
}

/// √x.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SquareRoot;

impl ElementPower for SquareRoot {
    #[inline(always)]
    fn of<T: Real>(self, magnitude: T) -> T {
        Float::sqrt(magnitude)
    }
}

/// x itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity;

impl ElementPower for Identity {
    #[inline(always)]
    fn of<T: Real>(self, magnitude: T) -> T {
        magnitude
    }
}

/// x·√x.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreeHalves;

impl ElementPower for ThreeHalves {
    #[inline(always)]
    fn of<T: Real>(self, magnitude: T) -> T {
        magnitude * Float::sqrt(magnitude)
    }
}

/// x·x.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Square;

impl ElementPower for Square {
    #[inline(always)]
    fn of<T: Real>(self, magnitude: T) -> T {
        magnitude * magnitude
    }
}

/// xᵃ = 2^(a·log₂ x) for any a, by two polynomials.
///
/// With x = m·2ᵏ, m in [√½, √2), and s = (m − 1)/(m + 1), |s| < 0.1716: log₂ x = k + s·L(s²), where L approximates
/// (2/ln 2)·artanh(s)/s. With n the whole number nearest to y = a·log₂ x and r = y − n: 2^y = 2ⁿ·(1 + r·E(r)), where E
/// approximates (2^r − 1)/r for |r| up to 0.53, which holds for a <= 6.
///
/// The error of y is the relative error of the result, and up to 8 bits of y (`f64`: 11) stand before the point. So s is held
/// as an upper half s′ of its bits and a rest, and a and 2a/ln 2 are cut likewise: the products a′·k and (2a/ln 2)′·s′ are exact,
/// n is taken off the first, then the second and at last what is small are added. `f32` stays in `f32`: twice the elements
/// a register, and no software `f64` on a microcontroller.
///
/// The coefficients are those of mpmath's Chebyshev fit at 60 digits (Python), highest power first:
///
/// ```text
/// from mpmath import mp, mpf, chebyfit, atanh, sqrt, log
/// mp.dps = 60
/// end = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2 * (1 + mpf(2) ** -20)
/// tail = lambda z: mpf(1) / 3 + z / 5 + z * z / 7 if z < mpf(10) ** -12 else (atanh(sqrt(z)) / sqrt(z) - 1) / z
/// exp2 = lambda r: log(2) + log(2) ** 2 * r / 2 + log(2) ** 3 * r * r / 6 if abs(r) < mpf(10) ** -14 else (2 ** r - 1) / r
/// chebyfit(tail, [0, end], 3)           # LOG_SINGLE, error 9.5e-8
/// chebyfit(tail, [0, end], 8)           # LOG_DOUBLE, error 1.1e-18
/// chebyfit(exp2, [-0.53, 0.53], 6)      # EXP_SINGLE, error 1.2e-8
/// chebyfit(exp2, [-0.53, 0.53], 11)     # EXP_DOUBLE, error 2.4e-17
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct General {
    single: Pieces<f32>,
    double: Pieces<f64>,
}

/// a and 2a/ln 2, cut so that products of the upper parts are exact.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pieces<T> {
    /// a, without the bits that a binary exponent needs in a product.
    exponent_high: T,
    /// a − `exponent_high`.
    exponent_low: T,
    /// 2a/ln 2.
    factor: T,
    /// The upper half of the bits of 2a/ln 2.
    factor_high: T,
    /// 2a/ln 2 − `factor_high`.
    factor_low: T,
}

impl General {
    fn new(exponent: f64) -> Self {
        /// 2/ln 2, and what that float lacks of it.
        const TWO_OVER_LN_2: f64 = 2.885_390_081_777_926_8;
        const TWO_OVER_LN_2_REST: f64 = 4.071_054_748_186_206_6e-17;
        let (factor, error) = two_product(exponent, TWO_OVER_LN_2);
        let rest = error + exponent * TWO_OVER_LN_2_REST;
        // 53 bits less the 11 of an exponent, and half of them; for `f32` 24 bits less 8, and half of them.
        let (exponent_high, factor_high) =
            (leading_bits::<11>(exponent), leading_bits::<27>(factor));
        let (exponent_short, factor_short) =
            (leading_bits::<37>(exponent), leading_bits::<41>(factor));
        Self {
            single: Pieces {
                exponent_high: f32::from_f64(exponent_short),
                exponent_low: f32::from_f64(exponent - exponent_short),
                factor: f32::from_f64(factor),
                factor_high: f32::from_f64(factor_short),
                factor_low: f32::from_f64(factor - factor_short),
            },
            double: Pieces {
                exponent_high,
                exponent_low: exponent - exponent_high,
                factor,
                factor_high,
                factor_low: (factor - factor_high) + rest,
            },
        }
    }
}

impl ElementPower for General {
    #[inline(always)]
    fn of<T: Real>(self, magnitude: T) -> T {
        magnitude.raised(self)
    }
}

/// (artanh(s)/s − 1)/s² as a polynomial in s², lowest power first.
const LOG_SINGLE: [f32; 3] = [0.333_333_43, 0.199_943_9, 0.147_899_75];

/// (2^r − 1)/r as a polynomial in r, lowest power first.
pub(crate) const EXP_SINGLE: [f32; 6] = [
    core::f32::consts::LN_2,
    0.240_226_5,
    5.550_343e-2,
    9.618_07e-3,
    1.339_796_1e-3,
    1.545_930_7e-4,
];

/// The same for `f64`.
const LOG_DOUBLE: [f64; 8] = [
    0.333_333_333_333_333_3,
    0.200_000_000_000_004_4,
    0.142_857_142_854_018_04,
    0.111_111_111_958_573_72,
    9.090_897_820_022_362e-2,
    7.693_119_853_805_562e-2,
    6.634_386_505_101_608e-2,
    6.543_313_745_598_621e-2,
];

/// The same for `f64`.
pub(crate) const EXP_DOUBLE: [f64; 11] = [
    core::f64::consts::LN_2,
    0.240_226_506_959_101_2,
    5.550_410_866_482_160_4e-2,
    9.618_129_107_594_06e-3,
    1.333_355_814_641_009_9e-3,
    1.540_353_046_198_769_7e-4,
    1.525_273_384_063_063_1e-5,
    1.321_543_097_532_831_7e-6,
    1.017_805_625_613_360_6e-7,
    7.074_773_332_151_955_6e-9,
    4.456_126_507_941_785e-10,
];

/// c₀ + c₁x + c₂x² + c₃x³ by two products that do not wait for each other (Estrin); x2 = x².
#[inline(always)]
pub(crate) fn cubic([c0, c1, c2, c3]: [f64; 4], x: f64, x2: f64) -> f64 {
    (c0 + c1 * x) + (c2 + c3 * x) * x2
}

/// `value` no further from 0 than `limit`, by two selects that are one instruction each.
#[inline(always)]
pub(crate) fn clamped<T: Real>(value: T, limit: T) -> T {
    let value = if value < limit { value } else { limit };
    if value > -limit { value } else { -limit }
}

/// xᵃ for x >= 0 by [`General`].
#[inline(always)]
pub(crate) fn raise_single(magnitude: f32, general: General) -> f32 {
    const TINIEST: f32 = f32::MIN_POSITIVE * f32::EPSILON;
    /// Makes every subnormal number normal: 2²⁴.
    const UP: f32 = 16_777_216.0;
    /// Results beyond 2^±250 are ∞ and 0: the polynomial is positive whatever r is then.
    const LIMIT: f32 = 250.0;
    let General { single: a, .. } = general;
    let subnormal = magnitude < f32::MIN_POSITIVE;
    let (m, k) = split_exponent_single(magnitude * if subnormal { UP } else { 1.0 });
    let k = k - if subnormal { 24.0 } else { 0.0 };

    let numerator = m - 1.0;
    let denominator = m + 1.0;
    let reciprocal = 1.0 / denominator;
    let s = numerator * reciprocal;
    let s_high = leading_bits_single::<12>(s);
    let denominator_high = leading_bits_single::<12>(denominator);
    let denominator_low = m - (denominator_high - 1.0);
    let remainder = (numerator - s_high * denominator_high) - s_high * denominator_low;
    let square = s * s;
    let [c0, c1, c2] = LOG_SINGLE;
    let tail = (c0 + c1 * square) + c2 * (square * square);
    let rest = remainder * reciprocal + (s * square) * tail;

    let whole = a.exponent_high * k;
    let part = a.factor_high * s_high;
    let small = a.exponent_low * k + (a.factor_low * s_high + a.factor * rest);
    // Without `small`, for which n then need not wait (a tenth of the time): |r| may exceed ½ by 0.005·a.
    let shifted = clamped(whole + part, LIMIT) + ROUND_SINGLE;
    let n = shifted - ROUND_SINGLE;
    let r = ((whole - n) + part) + small;
    let [e0, e1, e2, e3, e4, e5] = EXP_SINGLE;
    let r2 = r * r;
    let mantissa = 1.0 + r * ((e0 + e1 * r) + r2 * ((e2 + e3 * r) + r2 * (e4 + e5 * r)));
    let (one, other) = powers_of_two_single(shifted);
    // Bounds that LLVM does not turn into a longer test of the bits, as it does 0 and ∞.
    #[expect(clippy::manual_range_contains, reason = "`contains` stops early, by a branch")]
    let ordinary = (magnitude >= TINIEST) & (magnitude <= f32::MAX);
    if ordinary { mantissa * one * other } else { magnitude }
}

/// [`raise_single`] for `f64`.
#[inline(always)]
pub(crate) fn raise_double(magnitude: f64, general: General) -> f64 {
    const TINIEST: f64 = f64::MIN_POSITIVE * f64::EPSILON;
    /// Makes every subnormal number normal: 2⁵⁴.
    const UP: f64 = 18_014_398_509_481_984.0;
    /// Results beyond 2^±1100 are ∞ and 0.
    const LIMIT: f64 = 1100.0;
    let General { double: a, .. } = general;
    let subnormal = magnitude < f64::MIN_POSITIVE;
    let (m, k) = split_exponent(magnitude * if subnormal { UP } else { 1.0 });
    let k = k - if subnormal { 54.0 } else { 0.0 };

    // s = s_high + s_low to some 75 bits: s_high has 26 bits, and its product with each part of m + 1 is exact.
    let numerator = m - 1.0;
    let denominator = m + 1.0;
    let reciprocal = 1.0 / denominator;
    let s = numerator * reciprocal;
    let s_high = leading_bits::<27>(s);
    let denominator_high = leading_bits::<27>(denominator);
    let denominator_low = m - (denominator_high - 1.0);
    let remainder = (numerator - s_high * denominator_high) - s_high * denominator_low;
    let s_low = remainder * reciprocal;

    let square = s * s;
    let [c0, c1, c2, c3, c4, c5, c6, c7] = LOG_DOUBLE;
    let fourth = square * square;
    let (lower, upper) = ([c0, c1, c2, c3], [c4, c5, c6, c7]);
    let tail = cubic(lower, square, fourth) + cubic(upper, square, fourth) * (fourth * fourth);
    let rest = s_low + (s * square) * tail;

    // y = a·k + (2a/ln 2)·artanh s: two exact products and what is left.
    let whole = a.exponent_high * k;
    let part = a.factor_high * s_high;
    let small = a.exponent_low * k + (a.factor_low * s_high + a.factor * rest);
    let shifted = clamped(whole + (part + small), LIMIT) + ROUND;
    let n = shifted - ROUND;
    // Beyond ±1 only where n is at its limit, and the result is ∞ or 0 anyway.
    let r = clamped(((whole - n) + part) + small, 1.0);
    let [e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10] = EXP_DOUBLE;
    let r2 = r * r;
    let r4 = r2 * r2;
    let upper = cubic([e4, e5, e6, e7], r, r2) + ((e8 + e9 * r) + e10 * r2) * r4;
    let mantissa = 1.0 + r * (cubic([e0, e1, e2, e3], r, r2) + upper * r4);

    // 2ⁿ in two steps, so that a subnormal result is rounded once, by the last product.
    let half = n * 0.5 + ROUND;
    let other_half = (n - (half - ROUND)) + ROUND;
    let power = mantissa * power_of_two(half) * power_of_two(other_half);
    #[expect(clippy::manual_range_contains, reason = "`contains` stops early, by a branch")]
    let ordinary = (magnitude >= TINIEST) & (magnitude <= f64::MAX);
    if ordinary { power } else { magnitude }
}

#[cfg(test)]
mod tests;
