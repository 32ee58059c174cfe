//! Loops over one row that several layers share.

use cpr_core::Real;

/// Independent partial sums of [`dot`], so that it vectorizes; part of the definition of its bits.
const LANES: usize = 8;

/// Σ aᵢ·bᵢ over the shorter length: element i goes to lane i mod 8, then the lanes are added
/// pairwise. 0 for empty rows.
#[inline(always)]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane] + a[lane] * b[lane];
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = *lane + a * b;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// Σ aᵢ, in the lanes of [`dot`].
#[inline(always)]
pub fn sum<T: Real>(a: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane] + chunk[lane];
        }
    }
    for (lane, &a) in lanes.iter_mut().zip(rest) {
        *lane = *lane + a;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// The largest element; −∞ of none. A NaN is passed over unless there is nothing else.
#[inline(always)]
pub fn largest<T: Real>(a: &[T]) -> T {
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

/// out ← out + x.
#[inline(always)]
pub fn add<T: Real>(out: &mut [T], x: &[T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = *out + x;
    }
}

/// out ← out + factor·x.
#[inline(always)]
pub fn add_scaled<T: Real>(out: &mut [T], factor: T, x: &[T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = *out + factor * x;
    }
}

/// sums ← Σ over the rows of `rows`, in their order; a row has the length of `sums`. This is the
/// gradient of a bias, and of any row that is added to all rows.
#[inline(always)]
pub fn column_sums<T: Real>(rows: &[T], sums: &mut [T]) {
    sums.fill(T::ZERO);
    for row in rows.chunks_exact(sums.len()) {
        add(sums, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_taken_once() {
        for n in [0, 1, 7, 8, 9, 31] {
            let a: Vec<f64> = (1..=n).map(f64::from).collect();
            assert_eq!(dot(&a, &a), f64::from(n * (n + 1) * (2 * n + 1)) / 6.0);
            assert_eq!(sum(&a), f64::from(n * (n + 1)) / 2.0);
            let top = if n == 0 { f64::NEG_INFINITY } else { f64::from(n) };
            assert_eq!(largest(&a), top);
        }
    }

    #[test]
    fn sums_of_columns() {
        let mut sums = [9.0_f32; 2];
        column_sums(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut sums);
        assert_eq!(sums, [9.0, 12.0]);
        add_scaled(&mut sums, 2.0, &[1.0, -1.0]);
        assert_eq!(sums, [11.0, 10.0]);
        column_sums(&[], &mut sums);
        assert_eq!(sums, [0.0, 0.0]);
    }
}
