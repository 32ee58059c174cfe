//! The element-wise rules of a correction, in the precision of the parameters.
//!
//! Each maps (θ before the base step, θ after it) to the corrected θ; where a correction runs on its own, after
//! phase 1, both are the same. A rule returns how many elements the overshoot guard stopped at zero.

use crate::{power::Power, real::Real, reduce::LANES};

/// A correction of a block of elements.
pub(crate) trait Shrink<T: Real>: Copy {
    /// Corrects `theta`; returns the number of elements stopped at zero by the guard.
    fn block(&self, before: &[T; LANES], theta: &mut [T; LANES]) -> u32;
}

/// Leaves everything as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unmoved;

impl<T: Real> Shrink<T> for Unmoved {
    #[inline(always)]
    fn block(&self, _before: &[T; LANES], _theta: &mut [T; LANES]) -> u32 {
        0
    }
}

/// θ − rate·(x − center): x is θ before the base step, or, for a proximal step, after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PullStep<T> {
    pub(crate) rate: T,
    pub(crate) center: T,
    pub(crate) proximal: bool,
}

impl<T: Real> PullStep<T> {
    pub(crate) fn of(rate: f64, center: f64, proximal: bool) -> Self {
        Self { rate: T::from_f64(rate), center: T::from_f64(center), proximal }
    }
}

impl<T: Real> Shrink<T> for PullStep<T> {
    #[inline(always)]
    fn block(&self, before: &[T; LANES], theta: &mut [T; LANES]) -> u32 {
        // The choice stands outside the loops, which compilers then turn into vector instructions.
        if self.proximal {
            for after in theta {
                *after = *after - self.rate * (*after - self.center);
            }
        } else {
            for (after, &x) in theta.iter_mut().zip(before) {
                *after = *after - self.rate * (x - self.center);
            }
        }
        0
    }
}

/// θ − direction, but 0 where the guard is on and that crosses zero.
#[inline(always)]
fn descend<T: Real>(theta: &mut T, direction: T, guard: bool) -> u32 {
    let after = *theta;
    let moved = after - direction;
    let crosses =
        guard && ((after > T::ZERO && moved < T::ZERO) || (after < T::ZERO && moved > T::ZERO));
    *theta = if crosses { T::ZERO } else { moved };
    u32::from(crosses)
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
        Self { step: T::from_f64(step), guard }
    }
}

impl<T: Real> Shrink<T> for SignStep<T> {
    #[inline(always)]
    fn block(&self, before: &[T; LANES], theta: &mut [T; LANES]) -> u32 {
        let mut stopped = 0;
        for (after, &x) in theta.iter_mut().zip(before) {
            stopped += descend(after, self.step * sign(x), self.guard);
        }
        stopped
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

    /// The rule for one element.
    #[inline(always)]
    pub(crate) fn element(&self, x: T) -> T {
        let rest = x.abs() - self.threshold;
        // Written so that NaN stays NaN.
        let kept = if rest <= T::ZERO { T::ZERO } else { rest };
        if x < T::ZERO { -kept } else { kept }
    }
}

impl<T: Real> Shrink<T> for SoftThresholdStep<T> {
    #[inline(always)]
    fn block(&self, _before: &[T; LANES], theta: &mut [T; LANES]) -> u32 {
        for x in theta {
            *x = self.element(*x);
        }
        0
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
        Self { step: T::from_f64(step), delta: T::from_f64(delta), guard }
    }
}

impl<T: Real> Shrink<T> for ClipStep<T> {
    #[inline(always)]
    fn block(&self, before: &[T; LANES], theta: &mut [T; LANES]) -> u32 {
        let mut stopped = 0;
        for (after, &x) in theta.iter_mut().zip(before) {
            let above = if x > self.delta { self.delta } else { x };
            let clipped = if above < -self.delta { -self.delta } else { above };
            stopped += descend(after, self.step * clipped, self.guard);
        }
        stopped
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
    fn block(&self, _before: &[T; LANES], theta: &mut [T; LANES]) -> u32 {
        for x in theta {
            let inner = *x * self.inside;
            let outer = *x - self.outside * sign(*x);
            *x = if x.abs() <= self.limit { inner } else { outer };
        }
        0
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
        Self { form, strength: T::from_f64(strength), late, smallest }
    }
}

impl<T: Real> Shrink<T> for PowerStep<T> {
    #[inline(always)]
    fn block(&self, before: &[T; LANES], theta: &mut [T; LANES]) -> u32 {
        let mut powers = if self.late { *theta } else { *before };
        match self.form {
            Form::Ratio(power) => {
                power.of_magnitudes(&mut powers);
                for (w, x) in theta.iter_mut().zip(powers) {
                    // An overflowed X means no shrinkage, X/(X + c) = 1; X = 0 means all of it, whatever c is.
                    let x = if x > T::max_value() { T::max_value() } else { x };
                    let factor = if x == T::ZERO { T::ZERO } else { x / (x + self.strength) };
                    *w = *w * factor;
                }
            }
            Form::Constant => {
                for w in theta.iter_mut() {
                    *w = *w / (T::ONE + self.strength);
                }
            }
            Form::Reciprocal(power) => {
                power.of_magnitudes(&mut powers);
                for (w, y) in theta.iter_mut().zip(powers) {
                    *w = *w / (T::ONE + self.strength * y);
                }
            }
        }
        for w in theta {
            *w = if w.abs() < self.smallest { T::ZERO } else { *w };
        }
        0
    }
}
