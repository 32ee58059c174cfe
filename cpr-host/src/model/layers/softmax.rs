//! Softmax over a few scores, as attention over a short sequence needs it.

use super::exp::Exp;

/// pᵢ = e^(sᵢ − max s) / Σⱼ e^(sⱼ − max s).
///
/// NaN if a score is NaN or all are −∞.
#[inline(always)]
pub fn forward<T: Exp, const N: usize>(scores: [T; N]) -> [T; N] {
    let largest = scores.into_iter().fold(T::neg_infinity(), T::max);
    let powers = scores.map(|score| (score - largest).exp_nonpositive());
    let sum = powers.into_iter().fold(T::ZERO, |sum, power| sum + power);
    powers.map(|power| power / sum)
}

/// The gradient of the scores: pᵢ·(gᵢ − Σⱼ pⱼ·gⱼ), with g the gradient of the probabilities p.
#[inline(always)]
pub fn backward<T: Exp, const N: usize>(probabilities: [T; N], gradient: [T; N]) -> [T; N] {
    let mut mean = T::ZERO;
    for (p, g) in probabilities.into_iter().zip(gradient) {
        mean = mean + p * g;
    }
    std::array::from_fn(|i| probabilities[i] * (gradient[i] - mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_do_not_depend_on_a_common_shift() {
        let expected = [0.09003057317038046, 0.24472847105479764, 0.6652409557748218];
        for shift in [0.0, -500.0, 1000.0] {
            let p = forward([1.0 + shift, 2.0 + shift, 3.0 + shift]);
            for (p, expected) in p.into_iter().zip::<[f64; 3]>(expected) {
                assert!((p - expected).abs() < 1e-15, "{p}");
            }
        }
        assert_eq!(forward([0.0_f32, f32::NEG_INFINITY]), [1.0, 0.0]);
        assert!(forward([0.0, f64::NAN])[0].is_nan());
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let scores = [0.3, -1.2, 0.8];
        let weights = [2.0, -1.0, 0.5];
        let loss = |scores: [f64; 3]| -> f64 {
            forward(scores).iter().zip(weights).map(|(p, w): (&f64, f64)| p * w).sum()
        };
        let gradient = backward(forward(scores), weights);
        for (i, gradient) in gradient.into_iter().enumerate() {
            let step = |h: f64| std::array::from_fn(|j| scores[j] + if i == j { h } else { 0.0 });
            let difference = (loss(step(1e-5)) - loss(step(-1e-5))) / 2e-5;
            assert!((gradient - difference).abs() < 1e-9);
        }
    }
}
