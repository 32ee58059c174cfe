//! Layer normalization over the rows of a matrix.
//!
//! ```text
//! y = w·(x − mean)/√(var + 1e-5) + b,   mean and var (over n) of the row
//! ```
//!
//! Source: Ba, Kiros, Hinton, "Layer Normalization", 2016 (arXiv 1607.06450).

use super::vector::{dot, sum};
use cpr_core::Real;

/// What is added to the variance.
const EPS: f64 = 1e-5;

/// out ← the normalized rows of `x`, of the length of `weight`; `statistics` ← mean and reciprocal
/// deviation of each row, for the backward pass. Without `bias` it is 0.
pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    out: &mut [T],
    statistics: &mut [[T; 2]],
) {
    let n = weight.len();
    let share = T::from_f64(1.0 / n as f64);
    let rows = x.chunks_exact(n).zip(out.chunks_exact_mut(n));
    for ((x, out), statistics) in rows.zip(statistics) {
        let mean = sum(x) * share;
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x - mean;
        }
        let variance = dot(out, out) * share;
        let scale = T::ONE / (variance + T::from_f64(EPS)).sqrt();
        *statistics = [mean, scale];
        for (out, &weight) in out.iter_mut().zip(weight) {
            *out = *out * scale * weight;
        }
        if let Some(bias) = bias {
            super::vector::add(out, bias);
        }
    }
}

/// The gradient by x, added to `d_x`, and those by weight and bias, added to theirs; `gradient` is
/// that of the output and is overwritten.
///
/// With x̂ the normalized row and g = w·dy: dx = (g − mean(g) − x̂·mean(g·x̂))/deviation.
pub fn backward<T: Real>(
    x: &[T],
    weight: &[T],
    statistics: &[[T; 2]],
    gradient: &mut [T],
    d_x: &mut [T],
    d_weight: &mut [T],
    mut d_bias: Option<&mut [T]>,
) {
    let n = weight.len();
    let share = T::from_f64(1.0 / n as f64);
    let mut normal = vec![T::ZERO; n];
    let rows = x.chunks_exact(n).zip(gradient.chunks_exact_mut(n)).zip(d_x.chunks_exact_mut(n));
    for (((x, gradient), d_x), &[mean, scale]) in rows.zip(statistics) {
        if let Some(d_bias) = &mut d_bias {
            super::vector::add(d_bias, gradient);
        }
        for (normal, &x) in normal.iter_mut().zip(x) {
            *normal = (x - mean) * scale;
        }
        for ((d_weight, gradient), (&weight, &normal)) in
            d_weight.iter_mut().zip(&mut *gradient).zip(weight.iter().zip(&normal))
        {
            *d_weight = *d_weight + *gradient * normal;
            *gradient = *gradient * weight;
        }
        let level = sum(gradient) * share;
        let slope = dot(gradient, &normal) * share;
        for ((d_x, &gradient), &normal) in d_x.iter_mut().zip(&*gradient).zip(&normal) {
            *d_x = *d_x + scale * (gradient - level - normal * slope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Random, Stream};

    #[test]
    fn gradients_agree_with_differences() {
        const N: usize = 11;
        let mut random = Random::new(1, Stream::Init, 0);
        let mut draw = |count: usize| {
            let mut values = vec![0.0; count];
            random.fill_normal(1.0, &mut values);
            values
        };
        let (mut x, mut weight, mut bias) = (draw(3 * N), draw(N), draw(N));
        let target = draw(3 * N);
        let loss = |x: &[f64], weight: &[f64], bias: &[f64]| {
            let mut out = vec![0.0; 3 * N];
            forward(x, weight, Some(bias), &mut out, &mut [[0.0; 2]; 3]);
            dot(&out, &target)
        };
        let (mut out, mut statistics) = (vec![0.0; 3 * N], [[0.0; 2]; 3]);
        forward(&x, &weight, Some(&bias), &mut out, &mut statistics);
        let row: Vec<f64> = (0..N).map(|i| (out[i] - bias[i]) / weight[i]).collect();
        assert!(row.iter().sum::<f64>().abs() < 1e-12);
        assert!((dot(&row, &row) / N as f64 - 1.0).abs() < 1e-4);

        let (mut d_x, mut d_weight, mut d_bias) = (vec![1.0; 3 * N], vec![0.0; N], vec![0.0; N]);
        let mut gradient = target.clone();
        let d_bias_of = Some(&mut *d_bias);
        backward(&x, &weight, &statistics, &mut gradient, &mut d_x, &mut d_weight, d_bias_of);
        let close = |given: f64, above: f64, below: f64| {
            assert!((given - (above - below) / 2e-5).abs() < 1e-6, "{given}");
        };
        for i in 0..3 * N {
            let value = x[i];
            x[i] = value + 1e-5;
            let above = loss(&x, &weight, &bias);
            x[i] = value - 1e-5;
            close(d_x[i] - 1.0, above, loss(&x, &weight, &bias));
            x[i] = value;
        }
        for i in 0..N {
            let value = weight[i];
            weight[i] = value + 1e-5;
            let above = loss(&x, &weight, &bias);
            weight[i] = value - 1e-5;
            close(d_weight[i], above, loss(&x, &weight, &bias));
            weight[i] = value;
            bias[i] += 1e-5;
            let above = loss(&x, &weight, &bias);
            bias[i] -= 2e-5;
            close(d_bias[i], above, loss(&x, &weight, &bias));
            bias[i] += 1e-5;
        }
    }
}
