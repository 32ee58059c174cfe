//! The rectifier max(x, 0), with the bias of the layer before it.

use cpr_core::Real;

/// x ← max(x + bias, 0), for rows of the length of `bias`. NaN stays NaN.
#[inline(always)]
pub fn forward_with_bias<T: Real>(x: &mut [T], bias: &[T]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, &bias) in row.iter_mut().zip(bias) {
            let sum = *x + bias;
            *x = if sum < T::ZERO { T::ZERO } else { sum };
        }
    }
}

/// x ← max(x, 0). NaN stays NaN.
#[inline(always)]
pub fn rectify<T: Real>(x: &mut [T]) {
    for x in x {
        *x = if *x < T::ZERO { T::ZERO } else { *x };
    }
}

/// The gradient before the rectifier, in place: `gradient` becomes 0 where the activation is 0.
///
/// The derivative at 0 is 0.
#[inline(always)]
pub fn backward<T: Real>(activation: &[T], gradient: &mut [T]) {
    for (gradient, &activation) in gradient.iter_mut().zip(activation) {
        *gradient = if activation == T::ZERO { T::ZERO } else { *gradient };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_negative_becomes_zero() {
        let mut x = [1.0, -3.0, 0.0, f64::NAN];
        rectify(&mut x);
        assert_eq!(x[..3], [1.0, 0.0, 0.0]);
        assert!(x[3].is_nan());
    }

    #[test]
    fn negative_sums_pass_neither_value_nor_gradient() {
        let mut x = [1.0, -3.0, -1.0, f64::NAN];
        forward_with_bias(&mut x, &[1.0, 2.0]);
        assert_eq!(x[..3], [2.0, 0.0, 0.0]);
        assert!(x[3].is_nan());
        let mut gradient = [5.0, 6.0, 7.0, 8.0];
        backward(&x, &mut gradient);
        assert_eq!(gradient, [5.0, 0.0, 0.0, 8.0]);
    }
}
