//! The element-wise power |x|ᵃ of the p-norm rules: no branch, no table, the same operations at every SIMD level.

mod raise;

pub(crate) use raise::{
    EXP_DOUBLE, EXP_SINGLE, are_ordinary_double, are_ordinary_single, clamped, cubic,
    exponent_double, exponent_single, logarithm_double, logarithm_single, mantissa_double,
    mantissa_single, raise_tiles, scaled_double, scaled_single,
};

use num_traits::Float;

use crate::{
    observer::STRIP,
    real::{ROUND, Real, leading_bits, power_of_two},
    reduce::LANES,
};

/// Elements of a tile, which a staged rule takes through a stage at once: one to eight registers. On a microcontroller, which
/// has no such registers, few: the last tile of a strip is filled up.
pub(crate) const TILE: usize = if cfg!(feature = "std") { LANES } else { 4 };

/// Tiles of a [`Part`].
const TILES: usize = if STRIP < 16 * TILE { STRIP / TILE } else { 16 };

/// Elements of [`TILES`] tiles.
pub(crate) const PART: usize = TILES * TILE;

const _: () = assert!(PART > 0 && STRIP.is_multiple_of(PART), "parts cut a strip");

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
/// | any other | [`General`] | below 1.5 + a, as measured |
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

/// Room for the powers of a part.
pub(crate) struct Part<T>([[T; TILE]; TILES]);

impl<T: Real> Part<T> {
    /// With nothing in it.
    pub(crate) const fn new() -> Self {
        Self([[T::ZERO; TILE]; TILES])
    }

    /// |x|ᵃ of every value, of which there are at most [`PART`].
    #[inline(always)]
    pub(crate) fn raised<P: ElementPower>(
        &mut self,
        power: P,
        values: impl ExactSizeIterator<Item = T>,
    ) -> &[T] {
        let count = values.len();
        let (tiles, _) = self.0.split_at_mut(count.div_ceil(TILE).min(TILES));
        for (place, value) in tiles.as_flattened_mut().iter_mut().zip(values) {
            *place = value;
        }
        power.replace(tiles);
        tiles.as_flattened().get(..count).unwrap_or_default()
    }
}

/// Values in tiles, and what takes their powers: a loop that goes on where a power is made, while those behind it are.
pub(crate) trait Tiles<T> {
    /// How many tiles there are.
    fn count(&self) -> usize;

    /// The values of one.
    fn values(&self, place: usize) -> Option<&[T; TILE]>;

    /// Takes |x|ᵃ of the values of one: in their order, each after its values were read for the last time.
    fn take(&mut self, place: usize, powers: &[T; TILE]);
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
    /// The rule, where [`raise_tiles`] is faster than a loop of [`of`](Self::of).
    #[inline(always)]
    fn staged(self) -> Option<General> {
        None
    }

    /// xᵃ for x = `magnitude` >= 0; never a panic.
    fn of<T: Real>(self, magnitude: T) -> T;

    /// Replaces every x of at most [`TILES`] tiles by |x|ᵃ: the bits of `of`.
    #[inline(always)]
    fn replace<T: Real>(self, values: &mut [[T; TILE]]) {
        for x in values.as_flattened_mut() {
            *x = self.of(x.abs());
        }
    }
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
/// The error of y is the relative error of the result, and up to 8 bits of y (`f64`: 11) stand before the point. So a is cut
/// into a′, whose product with k is exact, and a rest; n is taken off a′·k before what is small is added. s·L(s²) is below ½ and
/// needs no such care: its few roundings cost about a ULP for each unit of a. `f32` stays in `f32`: twice the elements a
/// register, and no software `f64` on a microcontroller.
///
/// *Ordinary* are 0 and those normal x whose power is normal, with room to spare. What only others need (subnormal x, results
/// beyond the range, ∞ and NaN) is a fifth of the operations: a loop that knows all of a block to be ordinary leaves it out, and
/// has the same bits.
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

/// What the exponent comes to in a product. For `f32`, where k comes as k·2²³, the first two are smaller by as much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pieces<T> {
    /// a, without the bits that a binary exponent needs in a product.
    exponent_high: T,
    /// a − `exponent_high`.
    exponent_low: T,
    /// 2a/ln 2.
    factor: T,
    /// The smallest and the largest ordinary x > 0.
    ordinary: [T; 2],
}

impl General {
    fn new(exponent: f64) -> Self {
        const TWO_OVER_LN_2: f64 = 2.885_390_081_777_926_8;
        let factor = exponent * TWO_OVER_LN_2;
        // 2⁻²³.
        let unit = f32::EPSILON.to_f64();
        // 2^±k, k a whole number, the greatest or the one below it, with a·k at most `most`, which an exponent may be with 2 to
        // spare. A microcontroller has no loop that asks.
        let ordinary = |most: f64, largest: f64| {
            if !cfg!(feature = "std") {
                return [1.0; 2];
            }
            let highest = power_of_two((most / exponent - 0.5).min(largest) + ROUND);
            [1.0 / highest, highest]
        };
        // 53 bits less the 11 of an exponent; for `f32` 24 bits less 8.
        let (high, short) = (leading_bits::<11>(exponent), leading_bits::<37>(exponent));
        Self {
            single: Pieces {
                exponent_high: f32::from_f64(short * unit),
                exponent_low: f32::from_f64((exponent - short) * unit),
                factor: f32::from_f64(factor),
                ordinary: ordinary(124.0, 126.0).map(f32::from_f64),
            },
            double: Pieces {
                exponent_high: high,
                exponent_low: exponent - high,
                factor,
                ordinary: ordinary(1020.0, 1022.0),
            },
        }
    }
}

impl General {
    /// The pieces for `f32`.
    #[inline(always)]
    pub(crate) const fn single(&self) -> &Pieces<f32> {
        &self.single
    }

    /// The pieces for `f64`.
    #[inline(always)]
    pub(crate) const fn double(&self) -> &Pieces<f64> {
        &self.double
    }
}

impl ElementPower for General {
    #[inline(always)]
    fn staged(self) -> Option<General> {
        // What keeps the many units of a large processor busy in a decay is work for nothing on a small one.
        cfg!(feature = "std").then_some(self)
    }

    #[inline(always)]
    fn of<T: Real>(self, magnitude: T) -> T {
        let parts = T::exponent::<false>(magnitude.logarithm::<false>(), self);
        magnitude.scaled::<false>(T::mantissa(parts))
    }

    #[inline(always)]
    fn replace<T: Real>(self, values: &mut [[T; TILE]]) {
        raise::replace(values, self);
    }
}

#[cfg(test)]
mod tests;
