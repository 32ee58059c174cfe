//! The element-wise rules of a correction, in the precision of the parameters.
//!
//! Each maps (θ before the base step, θ after it) to the corrected θ; where a correction runs on its own, after
//! phase 1, both are the same. A rule returns how many elements the overshoot guard stopped at zero.

use crate::{
    power::{ElementPower, ForEachPower, Identity, PART, Power, TILE, Tiles, raise_tiles},
    real::Real,
    reduce::LANES,
    streams,
};

/// A correction, element by element.
pub(crate) trait Shrink<T: Real>: Copy {
    /// The corrected element, and whether the guard stopped it at zero.
    fn element(&self, before: T, after: T) -> (T, bool);

    /// Whether phase 1 corrects strips in place of blocks: where a rule is more than a multiplication and a sum.
    const STRIPWISE: bool = true;

    /// Elements of a turn of phase 4, where it takes turns among the [`streams`] of a slice, and of a part that it takes from the end.
    const TURN: usize = streams::TURN;

    /// Corrects a block of phase 1, the few elements of a rule that is not [`STRIPWISE`](Self::STRIPWISE); returns the
    /// number of elements stopped.
    #[inline(always)]
    fn block(&self, before: &[T; LANES], theta: &mut [T; LANES]) -> u32 {
        let mut stopped = 0;
        for (after, &before) in theta.iter_mut().zip(before) {
            let stops;
            (*after, stops) = self.element(before, *after);
            stopped += u32::from(stops);
        }
        stopped
    }

    /// Corrects a strip of phase 1, of one length with θ `before` the base step; returns the number of elements stopped.
    #[inline(always)]
    fn strip(&self, before: &[T], theta: &mut [T]) -> u64 {
        let mut stopped = 0;
        for (after, &before) in theta.iter_mut().zip(before) {
            let stops;
            (*after, stops) = self.element(before, *after);
            stopped += u32::from(stops);
        }
        u64::from(stopped)
    }

    /// Corrects a slice on its own, phase 4; returns the number of elements stopped.
    ///
    /// A plain loop: over blocks, LLVM gathers and scatters what it should load and store.
    #[inline(always)]
    fn slice(&self, theta: &mut [T]) -> u64 {
        let mut stopped = 0;
        for x in theta {
            let stops;
            (*x, stops) = self.element(*x, *x);
            stopped += u64::from(stops);
        }
        stopped
    }
}

/// Leaves everything as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unmoved;

impl<T: Real> Shrink<T> for Unmoved {
    const STRIPWISE: bool = false;

    #[inline(always)]
    fn element(&self, _before: T, after: T) -> (T, bool) {
        (after, false)
    }
}

/// θ − rate·(x − center), x the θ before the base step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PullStep<T> {
    rate: T,
    center: T,
}

impl<T: Real> PullStep<T> {
    pub(crate) fn of(rate: f64, center: f64) -> Self {
        Self { rate: length(rate), center: T::from_f64(center) }
    }
}

impl<T: Real> Shrink<T> for PullStep<T> {
    const STRIPWISE: bool = false;

    #[inline(always)]
    fn element(&self, before: T, after: T) -> (T, bool) {
        (after - self.rate * (before - self.center), false)
    }
}

/// θ − rate·(θ − center): a prox, of the θ after the base step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProximalPullStep<T>(pub(crate) PullStep<T>);

impl<T: Real> Shrink<T> for ProximalPullStep<T> {
    const STRIPWISE: bool = false;

    #[inline(always)]
    fn element(&self, _before: T, after: T) -> (T, bool) {
        self.0.element(after, after)
    }
}

/// A step length in the parameters' type, at most its largest number: ∞·0 would turn elements at zero into NaN.
fn length<T: Real>(step: f64) -> T {
    T::from_f64(step).min(T::max_value())
}

/// center + scale·(θ − center).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaleStep<T> {
    scale: T,
    center: T,
}

impl<T: Real> ScaleStep<T> {
    pub(crate) fn of(scale: f64, center: f64) -> Self {
        Self { scale: T::from_f64(scale), center: T::from_f64(center) }
    }
}

impl<T: Real> Shrink<T> for ScaleStep<T> {
    const STRIPWISE: bool = false;

    #[inline(always)]
    fn element(&self, _before: T, after: T) -> (T, bool) {
        (self.center + self.scale * (after - self.center), false)
    }
}

/// θ − direction, but 0 where the guard is on and that crosses zero.
#[inline(always)]
fn descend<T: Real>(after: T, direction: T, guard: bool) -> (T, bool) {
    let moved = after - direction;
    let crosses =
        guard && ((after > T::ZERO && moved < T::ZERO) || (after < T::ZERO && moved > T::ZERO));
    (if crosses { T::ZERO } else { moved }, crosses)
}

/// sign(x), 0 at 0.
#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        T::ZERO
    }
}

/// θ − step·sign(θ before).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignStep<T> {
    pub(crate) step: T,
    pub(crate) guard: bool,
}

impl<T: Real> SignStep<T> {
    pub(crate) fn of(step: f64, guard: bool) -> Self {
        Self { step: length(step), guard }
    }
}

impl<T: Real> Shrink<T> for SignStep<T> {
    #[inline(always)]
    fn element(&self, before: T, after: T) -> (T, bool) {
        descend(after, self.step * sign(before), self.guard)
    }
}

/// sign(θ)·max(0, |θ| − threshold).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoftThresholdStep<T> {
    pub(crate) threshold: T,
}

impl<T: Real> SoftThresholdStep<T> {
    pub(crate) fn of(threshold: f64) -> Self {
        Self { threshold: T::from_f64(threshold) }
    }

    /// The rule.
    #[inline(always)]
    pub(crate) fn of_element(&self, x: T) -> T {
        let rest = x.abs() - self.threshold;
        // Written so that NaN stays NaN.
        let kept = if rest <= T::ZERO { T::ZERO } else { rest };
        if x < T::ZERO { -kept } else { kept }
    }
}

impl<T: Real> Shrink<T> for SoftThresholdStep<T> {
    #[inline(always)]
    fn element(&self, _before: T, after: T) -> (T, bool) {
        (self.of_element(after), false)
    }
}

/// θ − step·clip(θ before, ±delta).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClipStep<T> {
    pub(crate) step: T,
    pub(crate) delta: T,
    pub(crate) guard: bool,
}

impl<T: Real> ClipStep<T> {
    pub(crate) fn of(step: f64, delta: f64, guard: bool) -> Self {
        Self { step: length(step), delta: T::from_f64(delta), guard }
    }
}

impl<T: Real> Shrink<T> for ClipStep<T> {
    #[inline(always)]
    fn element(&self, before: T, after: T) -> (T, bool) {
        let above = if before > self.delta { self.delta } else { before };
        let clipped = if above < -self.delta { -self.delta } else { above };
        descend(after, self.step * clipped, self.guard)
    }
}

/// θ/(1 + step) for |θ| <= delta·(1 + step), else θ − step·delta·sign θ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HuberProxStep<T> {
    pub(crate) inside: T,
    pub(crate) limit: T,
    pub(crate) outside: T,
}

impl<T: Real> HuberProxStep<T> {
    pub(crate) fn of(step: f64, delta: f64) -> Self {
        Self {
            inside: T::from_f64(1.0 / (1.0 + step)),
            limit: T::from_f64(delta * (1.0 + step)),
            outside: T::from_f64(step * delta),
        }
    }
}

impl<T: Real> Shrink<T> for HuberProxStep<T> {
    #[inline(always)]
    fn element(&self, _before: T, after: T) -> (T, bool) {
        let inner = after * self.inside;
        let outer = after - self.outside * sign(after);
        (if after.abs() <= self.limit { inner } else { outer }, false)
    }
}

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

/// The weight times the factor, or 0.
#[inline(always)]
fn shrunk<T: Real>(factor: impl Factor<T>, w: T, power: T, (strength, smallest): (T, T)) -> T {
    // An overflowed power is the largest number: no NaN of ∞/∞, nor of ∞ times a strength that rounds to 0.
    let power = if power > T::max_value() { T::max_value() } else { power };
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
                *w = shrunk(self.factor, *w, power, self.limits);
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
                    *w = shrunk(factor, *w, power.of(x.abs()), limits);
                }
            }
            None => {
                for w in theta {
                    *w = shrunk(factor, *w, power.of(w.abs()), limits);
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
