//! The three maps along one axis, and their transposes: Bᵀ, Aᵀ and G of F(2, 3).
//!
//! ```text
//!      ⎡1  0 −1  0⎤        ⎡1  1  1  0⎤       ⎡1  0  0⎤
//! Bᵀ = ⎢0  1  1  0⎥   Aᵀ = ⎣0  1 −1 −1⎦   G = ⎢½  ½  ½⎥
//!      ⎢0 −1  1  0⎥                           ⎢½ −½  ½⎥
//!      ⎣0  1  0 −1⎦                           ⎣0  0  1⎦
//! ```

use cpr_core::Real;

use crate::nn::element::{Element, narrow};

/// A map along the columns and then the rows of a small matrix.
#[inline(always)]
pub(super) fn both<T: Element, const I: usize, const O: usize>(
    x: [[T; I]; I],
    map: impl Fn([T; I]) -> [T; O],
) -> [[T; O]; O] {
    let zero = <T as Real>::ZERO;
    // Plain loops: what `map` and `from_fn` of an array make is not always inlined, and then not widened.
    let mut columns = [[zero; O]; I];
    for column in 0..I {
        let mut along = [zero; I];
        for row in 0..I {
            along[row] = x[row][column];
        }
        columns[column] = map(along);
    }
    let mut out = [[zero; O]; O];
    for row in 0..O {
        let mut along = [zero; I];
        for column in 0..I {
            along[column] = columns[column][row];
        }
        out[row] = map(along);
    }
    out
}

/// Bᵀ·d.
#[inline(always)]
pub(super) fn input<T: Element>([a, b, c, d]: [T; 4]) -> [T; 4] {
    [a - c, b + c, c - b, b - d]
}

/// B·v.
#[inline(always)]
pub(super) fn input_transposed<T: Element>([a, b, c, d]: [T; 4]) -> [T; 4] {
    [a, b - c + d, b + c - a, -d]
}

/// Aᵀ·m.
#[inline(always)]
pub(super) fn output<T: Element>([a, b, c, d]: [T; 4]) -> [T; 2] {
    [a + b + c, b - c - d]
}

/// A·y.
#[inline(always)]
pub(super) fn output_transposed<T: Element>([a, b]: [T; 2]) -> [T; 4] {
    [a, a + b, a - b, -b]
}

/// G·w.
#[inline(always)]
pub(super) fn kernel<T: Element>([a, b, c]: [T; 3]) -> [T; 4] {
    let half = narrow::<T>(0.5);
    let (even, odd) = ((a + c) * half, b * half);
    [a, even + odd, even - odd, c]
}

/// Gᵀ·u.
#[inline(always)]
pub(super) fn kernel_transposed<T: Element>([a, b, c, d]: [T; 4]) -> [T; 3] {
    let half = narrow::<T>(0.5);
    let (even, odd) = ((b + c) * half, (b - c) * half);
    [a + even, odd, even + d]
}
