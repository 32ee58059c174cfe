//! Loops over slices at the widest vectors of the machine: sums whose bits do not depend on them.

use cpr_core::Real;
pub(super) use cpr_host::vectorized;

/// Independent partial sums of a row, so that its loops vectorize; part of the definition of the bits.
const LANES: usize = 16;

/// Σ term(aᵢ): element i goes to lane i mod 16, the lanes are added in a fixed tree.
#[inline(always)]
pub(super) fn sum<A: Copy, T: Real>(a: &[A], term: impl Fn(A) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane] + term(chunk[lane]);
        }
    }
    for (lane, &a) in lanes.iter_mut().zip(rest) {
        *lane = *lane + term(a);
    }
    fold(lanes)
}

/// Σ term(aᵢ, bᵢ) over the shorter length, as [`sum`].
#[inline(always)]
pub(super) fn sum_pairs<T: Real>(a: &[T], b: &[T], term: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane] + term(a[lane], b[lane]);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = *lane + term(a, b);
    }
    fold(lanes)
}

/// The largest element; −∞ of none, and NaN is passed over.
#[inline(always)]
pub(super) fn largest<T: Real>(a: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut lanes = [T::neg_infinity(); LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    lanes.iter().chain(rest).copied().fold(T::neg_infinity(), larger)
}

/// The sum of the lanes, in a fixed tree.
#[inline(always)]
fn fold<T: Real>(lanes: [T; LANES]) -> T {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = lanes[lane] + lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}
