//! The two polynomials of [`General`], in four stages.
//!
//! The whole of them waits for itself, longer than a processor looks ahead. So a loop takes a tile through one stage while
//! those before it go through the later ones: what is at hand at once are short chains that do not wait for each other.
//! One element goes through the same operations.

use super::{General, Pieces, TILE, TILES, Tiles};
use crate::{
    real::{
        FIELD_SINGLE, ROUND, ROUND_SINGLE, Real, power_of_two, power_of_two_single,
        powers_of_two_single, split_exponent, split_exponent_single, whole_as_single,
    },
    reduce::LANES,
};

/// Tiles that are under way.
const UNDER_WAY: usize = 3;

/// |x|ᵃ of every tile: the bits of [`General`]'s `of`.
#[inline(always)]
pub(crate) fn raise_tiles<T: Real>(tiles: &mut impl Tiles<T>, general: General) {
    if tiles.count() == 0 {
        return;
    }
    // [s, k] of one tile, [n, r] of the one before it, [n, 2^r] of the one before that, n with the rounding constant: arrays that
    // become registers.
    let [mut s, mut k, mut n, mut r, mut shifted, mut mantissas] = [[T::ZERO; TILE]; 6];
    for place in 0..tiles.count() + UNDER_WAY {
        if let Some(place) = place.checked_sub(UNDER_WAY)
            && let Some(values) = tiles.values(place)
        {
            let mut powers = [T::ZERO; TILE];
            let parts = shifted.iter().zip(&mantissas);
            for ((power, x), (n, m)) in powers.iter_mut().zip(values).zip(parts) {
                *power = x.abs().scaled::<false>([*n, *m]);
            }
            tiles.take(place, &powers);
        }
        let later = shifted.iter_mut().zip(&mut mantissas);
        for ((shifted, m), (n, r)) in later.zip(n.iter().zip(&r)) {
            [*shifted, *m] = T::mantissa([*n, *r]);
        }
        for ((n, r), (s, k)) in n.iter_mut().zip(&mut r).zip(s.iter().zip(&k)) {
            [*n, *r] = T::exponent::<false>([*s, *k], general);
        }
        if let Some(values) = tiles.values(place) {
            for (x, (s, k)) in values.iter().zip(s.iter_mut().zip(&mut k)) {
                [*s, *k] = x.abs().logarithm::<false>();
            }
        }
    }
}

/// Replaces every x of at most [`TILES`] tiles by |x|ᵃ, stage after stage: for `f64`, whose state fills the registers, this is
/// faster where nothing comes after the power.
#[inline(always)]
pub(super) fn replace<T: Real>(values: &mut [[T; TILE]], general: General) {
    let [mut quotients, mut exponents] = [[[T::ZERO; TILE]; TILES]; 2];
    for ((x, s), k) in values.iter().zip(&mut quotients).zip(&mut exponents) {
        for ((x, s), k) in x.iter().zip(s).zip(k) {
            [*s, *k] = x.abs().logarithm::<false>();
        }
    }
    // The place of s takes n, that of k takes r.
    for (s, k) in quotients.iter_mut().zip(&mut exponents).take(values.len()) {
        for (s, k) in s.iter_mut().zip(k) {
            [*s, *k] = T::exponent::<false>([*s, *k], general);
        }
    }
    for ((x, n), r) in values.iter_mut().zip(&quotients).zip(&exponents) {
        for ((x, n), r) in x.iter_mut().zip(n).zip(r) {
            *x = x.abs().scaled::<false>(T::mantissa([*n, *r]));
        }
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

/// [s, k·2²³] for x >= 0; for an ORDINARY one without the care that only subnormal numbers need.
#[inline(always)]
pub(crate) fn logarithm_single<const ORDINARY: bool>(magnitude: f32) -> [f32; 2] {
    /// Makes every subnormal number normal: 2²⁴.
    const UP: f32 = 16_777_216.0;
    let subnormal = !ORDINARY && magnitude < f32::MIN_POSITIVE;
    let (m, k) = split_exponent_single(magnitude * if subnormal { UP } else { 1.0 });
    let k = k.wrapping_sub(if subnormal { 24 << FIELD_SINGLE } else { 0 });
    [(m - 1.0) / (m + 1.0), whole_as_single(k)]
}

/// [n + [`ROUND_SINGLE`], r] for [`logarithm_single`].
#[inline(always)]
pub(crate) fn exponent_single([s, k]: [f32; 2], a: &Pieces<f32>) -> [f32; 2] {
    let square = s * s;
    let [c0, c1, c2] = LOG_SINGLE;
    let tail = (c0 + c1 * square) + c2 * (square * square);
    let whole = a.exponent_high * k;
    let part = a.factor * (s + (s * square) * tail);
    // Without the rest of a, for which n then need not wait: |r| may exceed ½ by 0.005·a.
    let shifted = (whole + part) + ROUND_SINGLE;
    let n = shifted - ROUND_SINGLE;
    [shifted, (whole - n) + (part + a.exponent_low * k)]
}

/// [n + [`ROUND_SINGLE`], 2^r] for [`exponent_single`].
#[inline(always)]
pub(crate) fn mantissa_single([shifted, r]: [f32; 2]) -> [f32; 2] {
    let [e0, e1, e2, e3, e4, e5] = EXP_SINGLE;
    let r2 = r * r;
    let mantissa = 1.0 + r * ((e0 + e1 * r) + r2 * ((e2 + e3 * r) + r2 * (e4 + e5 * r)));
    [shifted, mantissa]
}

/// 2^(n + r) for [`mantissa_single`]; 0, ∞ and NaN stay what they are. For an ORDINARY x without the care that only results
/// which are not normal need, and ∞ and NaN.
#[inline(always)]
pub(crate) fn scaled_single<const ORDINARY: bool>(
    magnitude: f32,
    [shifted, mantissa]: [f32; 2],
) -> f32 {
    const TINIEST: f32 = f32::MIN_POSITIVE * f32::EPSILON;
    /// Results beyond 2^±250 are ∞ and 0.
    const LIMIT: f32 = 250.0;
    const LOWEST: i32 = (ROUND_SINGLE - LIMIT).to_bits().cast_signed();
    const HIGHEST: i32 = (ROUND_SINGLE + LIMIT).to_bits().cast_signed();
    if ORDINARY {
        let power = mantissa * power_of_two_single(shifted.to_bits());
        return if magnitude > 0.0 { power } else { 0.0 };
    }
    // Floats from the lowest on have the order of their bits, and what is below has smaller ones; whole numbers are compared by
    // a unit that has less to do here.
    let bits = shifted.to_bits().cast_signed().clamp(LOWEST, HIGHEST);
    let (one, other) = powers_of_two_single(bits.cast_unsigned());
    // Bounds that LLVM does not turn into a longer test of the bits, as it does 0 and ∞.
    #[expect(clippy::manual_range_contains, reason = "`contains` stops early, by a branch")]
    let ordinary = (magnitude >= TINIEST) & (magnitude <= f32::MAX);
    if ordinary { mantissa * one * other } else { magnitude }
}

/// [`logarithm_single`] for `f64`.
#[inline(always)]
pub(crate) fn logarithm_double<const ORDINARY: bool>(magnitude: f64) -> [f64; 2] {
    /// Makes every subnormal number normal: 2⁵⁴.
    const UP: f64 = 18_014_398_509_481_984.0;
    let subnormal = !ORDINARY && magnitude < f64::MIN_POSITIVE;
    let (m, k) = split_exponent(magnitude * if subnormal { UP } else { 1.0 });
    let k = k - if subnormal { 54.0 } else { 0.0 };
    [(m - 1.0) / (m + 1.0), k]
}

/// [`exponent_single`] for `f64`.
#[inline(always)]
pub(crate) fn exponent_double<const ORDINARY: bool>([s, k]: [f64; 2], a: &Pieces<f64>) -> [f64; 2] {
    /// Results beyond 2^±1100 are ∞ and 0.
    const LIMIT: f64 = 1100.0;
    let square = s * s;
    let [c0, c1, c2, c3, c4, c5, c6, c7] = LOG_DOUBLE;
    let fourth = square * square;
    let (lower, upper) = ([c0, c1, c2, c3], [c4, c5, c6, c7]);
    let tail = cubic(lower, square, fourth) + cubic(upper, square, fourth) * (fourth * fourth);
    let whole = a.exponent_high * k;
    let part = a.factor * (s + (s * square) * tail);
    let y = whole + part;
    let shifted = if ORDINARY { y } else { clamped(y, LIMIT) } + ROUND;
    let n = shifted - ROUND;
    let rest = (whole - n) + (part + a.exponent_low * k);
    // Beyond ±1 only where n is at its limit, and the result is ∞ or 0 anyway.
    [shifted, if ORDINARY { rest } else { clamped(rest, 1.0) }]
}

/// [`mantissa_single`] for `f64`.
#[inline(always)]
pub(crate) fn mantissa_double([shifted, r]: [f64; 2]) -> [f64; 2] {
    let [e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10] = EXP_DOUBLE;
    let r2 = r * r;
    let r4 = r2 * r2;
    let upper = cubic([e4, e5, e6, e7], r, r2) + ((e8 + e9 * r) + e10 * r2) * r4;
    let mantissa = 1.0 + r * (cubic([e0, e1, e2, e3], r, r2) + upper * r4);
    [shifted, mantissa]
}

/// [`scaled_single`] for `f64`.
#[inline(always)]
pub(crate) fn scaled_double<const ORDINARY: bool>(
    magnitude: f64,
    [shifted, mantissa]: [f64; 2],
) -> f64 {
    const TINIEST: f64 = f64::MIN_POSITIVE * f64::EPSILON;
    if ORDINARY {
        let power = mantissa * power_of_two(shifted);
        return if magnitude > 0.0 { power } else { 0.0 };
    }
    // 2ⁿ in two steps, so that a subnormal result is rounded once, by the last product.
    let n = shifted - ROUND;
    let half = n * 0.5 + ROUND;
    let other_half = (n - (half - ROUND)) + ROUND;
    let power = mantissa * power_of_two(half) * power_of_two(other_half);
    #[expect(clippy::manual_range_contains, reason = "`contains` stops early, by a branch")]
    let ordinary = (magnitude >= TINIEST) & (magnitude <= f64::MAX);
    if ordinary { power } else { magnitude }
}

/// Whether all of these are [ordinary](General): by their bits, of which those of a float > 0 have its order.
#[inline(always)]
pub(crate) fn are_ordinary_single(values: &[f32; LANES], a: &Pieces<f32>) -> bool {
    let [lowest, highest] = a.ordinary.map(f32::to_bits);
    let span = highest.wrapping_sub(lowest);
    let mut others = false;
    for x in values {
        let bits = x.abs().to_bits();
        others |= (bits.wrapping_sub(lowest) > span) & (bits != 0);
    }
    !others
}

/// [`are_ordinary_single`] for `f64`.
#[inline(always)]
pub(crate) fn are_ordinary_double(values: &[f64; LANES], a: &Pieces<f64>) -> bool {
    let [lowest, highest] = a.ordinary.map(f64::to_bits);
    let span = highest.wrapping_sub(lowest);
    let mut others = false;
    for x in values {
        let bits = x.abs().to_bits();
        others |= (bits.wrapping_sub(lowest) > span) & (bits != 0);
    }
    !others
}
