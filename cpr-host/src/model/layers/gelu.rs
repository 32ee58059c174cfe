//! The Gaussian error linear unit in the form of GPT-2.
//!
//! ```text
//! y = x/2·(1 + tanh u),   u = √(2/π)·(x + 0.044715·x³)
//! ```
//!
//! Source: Hendrycks, Gimpel, "Gaussian Error Linear Units", 2016 (arXiv 1606.08415), its
//! approximation by tanh.

use super::exp::Exp;

/// √(2/π).
const SLOPE: f64 = 0.797_884_560_802_865_4;
const CUBIC: f64 = 0.044_715;

/// tanh u, from e^(−2|u|).
#[inline(always)]
fn tanh<T: Exp>(u: T) -> T {
    let power = (-(u.abs() + u.abs())).exp_nonpositive();
    ((T::ONE - power) / (T::ONE + power)).copysign(u)
}

/// out ← gelu(x), over the shorter length.
pub fn forward<T: Exp>(x: &[T], out: &mut [T]) {
    let [slope, cubic, half] = [SLOPE, CUBIC, 0.5].map(T::from_f64);
    for (out, &x) in out.iter_mut().zip(x) {
        let u = slope * (x + cubic * x * x * x);
        *out = half * x * (T::ONE + tanh(u));
    }
}

/// The gradient by x, in place: `gradient` ← `gradient`·gelu′(x).
pub fn backward<T: Exp>(x: &[T], gradient: &mut [T]) {
    let [slope, cubic, half] = [SLOPE, CUBIC, 0.5].map(T::from_f64);
    let triple = T::from_f64(3.0 * CUBIC);
    for (gradient, &x) in gradient.iter_mut().zip(x) {
        let square = x * x;
        let t = tanh(slope * (x + cubic * square * x));
        let inner = slope * (T::ONE + triple * square);
        let derivative = half * (T::ONE + t) + half * x * (T::ONE - t * t) * inner;
        *gradient = *gradient * derivative;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_derivatives() {
        let naive = |x: f64| 0.5 * x * (1.0 + libm::tanh(SLOPE * (x + CUBIC * x * x * x)));
        for step in -400..=400 {
            let x = f64::from(step) / 40.0;
            let mut y = [0.0];
            forward(&[x], &mut y);
            assert!((y[0] - naive(x)).abs() < 1e-14 * (1.0 + x.abs()), "{x}");
            let mut gradient = [2.0];
            backward(&[x], &mut gradient);
            let difference = (naive(x + 1e-5) - naive(x - 1e-5)) / 1e-5;
            assert!((gradient[0] - difference).abs() < 1e-8, "{x}");
        }
        let mut y = [0.0_f32; 4];
        forward(&[-1e6, 1e6, f32::NAN, -0.0], &mut y);
        assert_eq!((y[0], y[1], y[3]), (0.0, 1e6, 0.0));
        assert!(y[2].is_nan());
    }
}
