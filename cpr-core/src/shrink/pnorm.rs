//! The decay of a p-norm: each weight times a factor that a power of a magnitude makes.

use super::{Shrink, length};
use crate::{
    power::{ElementPower, ForEachPower, General, Identity, PART, Power, TILE, Tiles, raise_tiles},
    real::Real,
};

/// θ·X/(X + strength), X = |x|^(2 − p), with x the θ before the base step, or after it if `late`; for p > 2
/// θ/(1 + strength·|x|^(p − 2)), for p = 2 θ/(1 + strength).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PowerStep<T> {
    form: Form,
    strength: T,
    late: bool,
    /// Magnitudes below it become 0; 0 keeps them.
    smallest: T,
}

/// How the factor is made of a power.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// X/(X + strength): p < 2.
    Ratio(Power),
    /// 1/(1 + strength): p = 2.
    Constant,
    /// 1/(1 + strength·y): p > 2.
    Reciprocal(Power),
}

impl<T: Real> PowerStep<T> {
    pub(crate) fn of(p: f64, strength: f64, late: bool, flush: bool) -> Self {
        let form = if p < 2.0 {
            Form::Ratio(Power::new(2.0 - p))
        } else if p == 2.0 {
            Form::Constant
        } else {
            Form::Reciprocal(Power::new(p - 2.0))
        };
        let smallest = if flush { T::min_positive_value() } else { T::ZERO };
        // X = 0 means all of the shrinkage, also where the strength rounds to 0 and 0/(0 + 0) would be NaN. No X that is some
        // digits larger feels a strength so small.
        let least = if p < 2.0 { T::min_positive_value() } else { T::ZERO };
        Self { form, strength: length::<T>(strength).max(least), late, smallest }
    }
}

impl<T: Real> PowerStep<T> {
    /// What it does to a single weight, where a power that is not the cheapest decides as X.
    #[inline]
    pub(crate) fn as_shrunk(&self) -> Option<Shrunk<T>> {
        let Self { form: Form::Ratio(Power::General(power)), strength, smallest, late } = *self
        else {
            return None;
        };
        Some(Shrunk { power, late, limits: (strength, smallest) })
    }
}

/// θ·X/(X + strength) for one weight after the other, their powers made elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Shrunk<T> {
    /// What makes X of the magnitude that decides.
    pub(crate) power: General,
    /// Whether that is the magnitude after the base step.
    pub(crate) late: bool,
    limits: (T, T),
}

impl<T: Real> Shrunk<T> {
    /// The weight by its X, which is finite where it is ORDINARY.
    #[inline(always)]
    pub(crate) fn of<const ORDINARY: bool>(&self, w: T, power: T) -> T {
        shrunk::<_, ORDINARY>(Ratio, w, power, self.limits)
    }
}

/// The rule by which a power makes a factor, as a type of its own: a loop holds no choice.
trait Factor<T>: Copy {
    /// The weight times the factor, from the power of the magnitude that decides.
    fn times(self, w: T, power: T, strength: T) -> T;
}

/// X/(X + strength).
#[derive(Clone, Copy)]
struct Ratio;

impl<T: Real> Factor<T> for Ratio {
    #[inline(always)]
    fn times(self, w: T, power: T, strength: T) -> T {
        w * (power / (power + strength))
    }
}

/// 1/(1 + strength).
#[derive(Clone, Copy)]
struct Constant;

impl<T: Real> Factor<T> for Constant {
    #[inline(always)]
    fn times(self, w: T, _power: T, strength: T) -> T {
        w / (T::ONE + strength)
    }
}

/// 1/(1 + strength·y).
#[derive(Clone, Copy)]
struct Reciprocal;

impl<T: Real> Factor<T> for Reciprocal {
    #[inline(always)]
    fn times(self, w: T, power: T, strength: T) -> T {
        w / (T::ONE + strength * power)
    }
}

/// The loop of [`PowerStep`], compiled for each factor and each power.
struct Powered<'a, T, F> {
    factor: F,
    strength: T,
    smallest: T,
    /// The weights whose power decides; else those that are shrunk.
    before: Option<&'a [T]>,
    theta: &'a mut [T],
}

/// The weight times the factor, or 0; ORDINARY powers are finite.
#[inline(always)]
fn shrunk<T: Real, const ORDINARY: bool>(
    factor: impl Factor<T>,
    w: T,
    power: T,
    (strength, smallest): (T, T),
) -> T {
    // An overflowed power is the largest number: no NaN of ∞/∞, nor of ∞ times a strength that rounds to 0.
    let power = if !ORDINARY && power > T::max_value() { T::max_value() } else { power };
    let w = factor.times(w, power, strength);
    if w.abs() < smallest { T::ZERO } else { w }
}

/// The tiles of [`Powered`]: a power becomes a factor while those of the tiles behind it are made.
struct ShrunkTiles<'a, T, F> {
    factor: F,
    limits: (T, T),
    before: Option<&'a [[T; TILE]]>,
    theta: &'a mut [[T; TILE]],
}

impl<T: Real, F: Factor<T>> Tiles<T> for ShrunkTiles<'_, T, F> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.theta.len()
    }

    #[inline(always)]
    fn values(&self, place: usize) -> Option<&[T; TILE]> {
        self.before.unwrap_or(self.theta).get(place)
    }

    #[inline(always)]
    fn take(&mut self, place: usize, powers: &[T; TILE]) {
        if let Some(tile) = self.theta.get_mut(place) {
            for (w, &power) in tile.iter_mut().zip(powers) {
                *w = shrunk::<_, false>(self.factor, *w, power, self.limits);
            }
        }
    }
}

impl<T: Real, F: Factor<T>> ForEachPower for Powered<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<P: ElementPower>(self, power: P) {
        let Self { factor, strength, smallest, mut before, mut theta } = self;
        let limits = (strength, smallest);
        if let Some(general) = power.staged() {
            let (tiles, tail) = theta.as_chunks_mut::<TILE>();
            let (before_tiles, before_tail) = before.map(<[T]>::as_chunks::<TILE>).unzip();
            let mut tiles = ShrunkTiles { factor, limits, before: before_tiles, theta: tiles };
            raise_tiles(&mut tiles, general);
            (before, theta) = (before_tail, tail);
        }
        match before {
            Some(before) => {
                for (w, &x) in theta.iter_mut().zip(before) {
                    *w = shrunk::<_, false>(factor, *w, power.of(x.abs()), limits);
                }
            }
            None => {
                for w in theta {
                    *w = shrunk::<_, false>(factor, *w, power.of(w.abs()), limits);
                }
            }
        }
    }
}

impl<T: Real> PowerStep<T> {
    #[inline(always)]
    fn run(&self, before: Option<&[T]>, theta: &mut [T]) {
        let Self { form, strength, smallest, .. } = *self;
        match form {
            Form::Ratio(power) => {
                power.choose(Powered { factor: Ratio, strength, smallest, before, theta });
            }
            Form::Constant => {
                Powered { factor: Constant, strength, smallest, before, theta }.run(Identity);
            }
            Form::Reciprocal(power) => {
                power.choose(Powered { factor: Reciprocal, strength, smallest, before, theta });
            }
        }
    }
}

impl<T: Real> Shrink<T> for PowerStep<T> {
    const TURN: usize = 2 * PART;

    #[inline(always)]
    fn element(&self, before: T, after: T) -> (T, bool) {
        let mut theta = [after];
        self.run((!self.late).then_some(&[before]), &mut theta);
        (theta[0], false)
    }

    #[inline(always)]
    fn strip(&self, before: &[T], theta: &mut [T]) -> u64 {
        self.run((!self.late).then_some(before), theta);
        0
    }

    #[inline(always)]
    fn slice(&self, theta: &mut [T]) -> u64 {
        self.run(None, theta);
        0
    }
}
