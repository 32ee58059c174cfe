//! The element-wise rules of a correction, in the precision of the parameters.
//!
//! Each maps (θ before the base step, θ after it) to the corrected θ; where a correction runs on its own, after
//! phase 1, both are the same. A rule returns how many elements the overshoot guard stopped at zero.

mod pnorm;

pub(crate) use pnorm::{PowerStep, Shrunk};

use crate::{real::Real, reduce::LANES, streams};

/// A correction, element by element.
pub(crate) trait Shrink<T: Real>: Copy {
    /// The corrected element, and whether the guard stopped it at zero.
    fn element(&self, before: T, after: T) -> (T, bool);

    /// Whether it changes nothing.
    const IDENTITY: bool = false;

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
    const IDENTITY: bool = true;
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
