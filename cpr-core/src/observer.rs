//! How a chunk's elements become a [`Statistic`]: sixteen lanes, folded in a fixed tree.

use crate::{
    real::{Real, count_as_f64},
    reduce::LANES,
    statistic::Statistic,
};

/// Accumulates the elements of one chunk.
pub(crate) trait Observer<T: Real>: Copy {
    /// The running sums.
    type Lanes: Copy;

    /// Whether it measures anything.
    const OBSERVES: bool = true;

    /// Whether it is short enough to go along with a base step, its lanes in registers.
    const GOES_ALONG: bool = false;

    /// Sums of nothing.
    fn begin(self) -> Self::Lanes;

    /// Tells the lanes the first element of `theta`, with which a chunk begins: once, before the first [`add`](Self::add), with θ
    /// as it is measured.
    #[inline(always)]
    fn set_origin(self, _lanes: &mut Self::Lanes, _theta: &[T]) {}

    /// Adds the first `used` elements of a block, element i to lane i; the same bits whether it may fuse or not.
    ///
    /// FUSE is for levels that [fuse](crate::dispatch::Level::fuses).
    fn add<const FUSE: bool>(self, lanes: &mut Self::Lanes, block: &[T; LANES], used: usize);

    /// Adds a strip that begins at lane 0.
    #[inline(always)]
    fn add_strip<const FUSE: bool>(self, lanes: &mut Self::Lanes, strip: &[T]) {
        let (blocks, tail) = strip.as_chunks::<LANES>();
        for block in blocks {
            self.add::<FUSE>(lanes, block, LANES);
        }
        if !tail.is_empty() {
            self.add::<FUSE>(lanes, &padded(tail), tail.len());
        }
    }

    /// Folds the lanes of `count` elements.
    fn fold(self, lanes: Self::Lanes, count: u64) -> Statistic;
}

/// Elements of a strip: enough for the loops over it to be long, few enough for its copies to stay in the first cache,
/// and without std on a microcontroller's stack. It changes no bit of a result.
pub(crate) const STRIP: usize = if cfg!(feature = "std") { 32 * LANES } else { 2 * LANES };

/// The last elements of a slice as a block, the rest of it zeros.
#[inline(always)]
pub(crate) fn padded<T: Real>(tail: &[T]) -> [T; LANES] {
    let mut block = [T::ZERO; LANES];
    for (slot, &value) in block.iter_mut().zip(tail) {
        *slot = value;
    }
    block
}

/// What one element adds to a sum.
pub(crate) trait Term<T: Real>: Copy {
    /// The term, exact or rounded once, in f64.
    fn of(self, element: T) -> f64;

    /// Adds the terms of the first `used` elements of a block, element i to lane i.
    #[inline(always)]
    fn add(self, lanes: &mut [f64; LANES], block: &[T; LANES], used: usize) {
        // Terms first, then lanes: loops over local arrays, the form that LLVM turns into whole vectors.
        let mut terms = [0.0; LANES];
        for (i, (term, &element)) in terms.iter_mut().zip(block).enumerate() {
            *term = if i < used { self.of(element) } else { 0.0 };
        }
        for (lane, term) in lanes.iter_mut().zip(terms) {
            *lane += term;
        }
    }

    /// [`add`](Self::add), to the bit, where a fused multiply-add is one operation.
    #[inline(always)]
    fn add_fused(self, lanes: &mut [f64; LANES], block: &[T; LANES], used: usize) {
        self.add(lanes, block, used);
    }
}

/// Measures nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unobserved;

impl<T: Real> Observer<T> for Unobserved {
    type Lanes = ();

    const OBSERVES: bool = false;

    #[inline(always)]
    fn begin(self) {}

    #[inline(always)]
    fn add<const FUSE: bool>(self, _lanes: &mut (), _block: &[T; LANES], _used: usize) {}

    #[inline(always)]
    fn fold(self, _lanes: (), count: u64) -> Statistic {
        Statistic::Sum { count, total: 0.0 }
    }
}

/// A sum of terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SumOf<F>(pub(crate) F);

impl<T: Real, F: Term<T>> Observer<T> for SumOf<F> {
    type Lanes = [f64; LANES];

    const GOES_ALONG: bool = true;

    #[inline(always)]
    fn begin(self) -> Self::Lanes {
        [0.0; LANES]
    }

    #[inline(always)]
    fn add<const FUSE: bool>(self, lanes: &mut Self::Lanes, block: &[T; LANES], used: usize) {
        if const { FUSE } {
            self.0.add_fused(lanes, block, used);
        } else {
            self.0.add(lanes, block, used);
        }
    }

    #[inline(always)]
    fn fold(self, lanes: Self::Lanes, count: u64) -> Statistic {
        Statistic::Sum { count, total: fold(lanes) }
    }
}

/// Mean and squared deviations, from the deviations d from the chunk's first element:
/// mean = first + Σd/n, m2 = Σd² − (Σd)²/n.
///
/// A matrix of one constant has m2 = 0 exactly, and a mean far from zero costs no digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MomentsOf;

/// Running sums of [`MomentsOf`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MomentLanes {
    origin: f64,
    deviations: [f64; LANES],
    squares: [f64; LANES],
}

impl<T: Real> Observer<T> for MomentsOf {
    type Lanes = MomentLanes;

    const GOES_ALONG: bool = true;

    #[inline(always)]
    fn begin(self) -> MomentLanes {
        MomentLanes { origin: 0.0, deviations: [0.0; LANES], squares: [0.0; LANES] }
    }

    #[inline(always)]
    fn set_origin(self, lanes: &mut MomentLanes, theta: &[T]) {
        lanes.origin = theta.first().map_or(0.0, |&first| Real::to_f64(first));
    }

    #[inline(always)]
    fn add<const FUSE: bool>(self, lanes: &mut MomentLanes, block: &[T; LANES], used: usize) {
        // A padding element stands at the origin. Local arrays first, as in `SumOf`.
        let mut deviations = [0.0; LANES];
        for (i, (deviation, &element)) in deviations.iter_mut().zip(block).enumerate() {
            *deviation = if i < used { element.to_f64() - lanes.origin } else { 0.0 };
        }
        for (lane, deviation) in lanes.deviations.iter_mut().zip(deviations) {
            *lane += deviation;
        }
        for (lane, deviation) in lanes.squares.iter_mut().zip(deviations) {
            *lane += deviation * deviation;
        }
    }

    #[inline(always)]
    fn fold(self, lanes: MomentLanes, count: u64) -> Statistic {
        if count == 0 {
            return Statistic::Moments { count: 0, mean: 0.0, m2: 0.0 };
        }
        let sum = fold(lanes.deviations);
        let offset = sum / count_as_f64(count);
        let m2 = fold(lanes.squares) - sum * offset;
        // Rounding can leave a tiny negative number; NaN stays NaN.
        let m2 = if m2 < 0.0 { 0.0 } else { m2 };
        Statistic::Moments { count, mean: lanes.origin + offset, m2 }
    }
}

/// [`MomentsOf`] of the magnitudes |x|.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MagnitudesOf;

impl<T: Real> Observer<T> for MagnitudesOf {
    type Lanes = MomentLanes;

    const GOES_ALONG: bool = true;

    #[inline(always)]
    fn begin(self) -> MomentLanes {
        Observer::<T>::begin(MomentsOf)
    }

    #[inline(always)]
    fn set_origin(self, lanes: &mut MomentLanes, theta: &[T]) {
        Observer::<T>::set_origin(MomentsOf, lanes, theta);
        lanes.origin = lanes.origin.abs();
    }

    #[inline(always)]
    fn add<const FUSE: bool>(self, lanes: &mut MomentLanes, block: &[T; LANES], used: usize) {
        Observer::<T>::add::<FUSE>(MomentsOf, lanes, &block.map(T::abs), used);
    }

    #[inline(always)]
    fn fold(self, lanes: MomentLanes, count: u64) -> Statistic {
        Observer::<T>::fold(MomentsOf, lanes, count)
    }
}

/// The fixed tree: lane i takes lane i + 8, then i + 4, i + 2, i + 1.
#[inline(always)]
fn fold(mut lanes: [f64; LANES]) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half);
        for (l, h) in low.iter_mut().zip(high.iter()) {
            *l += *h;
        }
        half /= 2;
    }
    lanes[0]
}
