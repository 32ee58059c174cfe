//! Softmax and cross-entropy over one row of logits.

use super::exp::Exp;

/// Partial sums and maxima of a row, so that the loops vectorize; part of the definition of the
/// bits.
const LANES: usize = 16;

/// The loss of one row, and what the backward pass needs of it.
#[derive(Clone, Copy, Debug)]
pub struct RowLoss {
    /// −ln p of the label.
    pub loss: f64,
    /// Whether the label has the largest logit; of equal logits the first one counts.
    pub correct: bool,
    /// Σⱼ e^(logitⱼ − largest), at least 1.
    sum: f64,
}

/// The loss of `logits` with the given label; the logits become e^(logitⱼ − largest logit).
///
/// The powers are summed in f64, so that a loss far below the precision of T is still right. NaN if
/// a logit is NaN.
///
/// # Panics
///
/// If `label` is not below the number of logits.
#[inline(always)]
pub fn forward<T: Exp>(logits: &mut [T], label: usize) -> RowLoss {
    let largest = largest(logits);
    let target = logits[label];
    let correct = target == largest && logits[..label].iter().all(|&logit| logit < largest);
    for logit in logits.iter_mut() {
        *logit = (*logit - largest).exp_nonpositive();
    }
    let sum = sum(logits);
    // Two logarithms of the same power of e cancel where the difference is exact.
    let loss = libm::log(sum) + (largest.to_f64() - target.to_f64());
    RowLoss { loss, correct, sum }
}

/// The gradient of `scale`·loss by the logits: scale·(pⱼ − [j is the label]), in the place of the
/// powers that [`forward`] left.
///
/// The entry of the label is made as −(Σ of the others): where the fit is good, p − 1 would cancel.
///
/// # Panics
///
/// If `label` is not below the number of logits.
#[inline(always)]
pub fn backward<T: Exp>(powers: &mut [T], label: usize, row: &RowLoss, scale: f64) {
    let factor = scale / row.sum;
    let others = row.sum - powers[label].to_f64();
    let rounded = T::from_f64(factor);
    for power in powers.iter_mut() {
        *power = *power * rounded;
    }
    powers[label] = T::from_f64(-factor * others);
}

#[inline(always)]
fn largest<T: Exp>(row: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut lanes = [T::neg_infinity(); LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    lanes.iter().chain(rest).copied().fold(T::neg_infinity(), larger)
}

#[inline(always)]
fn sum<T: Exp>(row: &[T]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane].to_f64();
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += value.to_f64();
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_gradient_and_prediction() {
        let logits = [0.5, -1.0, 2.0, 0.0, 1.5];
        let naive = |logits: &[f64], label: usize| {
            logits.iter().map(|x| libm::exp(*x)).sum::<f64>().ln() - logits[label]
        };
        for label in 0..5 {
            let mut row = logits;
            let outcome = forward(&mut row, label);
            assert!((outcome.loss - naive(&logits, label)).abs() < 1e-14);
            assert_eq!(outcome.correct, label == 2);
            backward(&mut row, label, &outcome, 0.5);
            for j in 0..5 {
                let [mut above, mut below] = [logits; 2];
                above[j] += 1e-5;
                below[j] -= 1e-5;
                let difference = (naive(&above, label) - naive(&below, label)) / 2e-5;
                assert!((row[j] - 0.5 * difference).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn long_rows_use_every_lane() {
        for n in [1_usize, 15, 16, 17, 114] {
            for label in [0, n / 2, n - 1] {
                let mut row = vec![-1.0_f64; n];
                row[label] = 1.0;
                let outcome = forward(&mut row, label);
                let expected = libm::log(1.0 + (n - 1) as f64 * libm::exp(-2.0));
                assert!((outcome.loss - expected).abs() < 1e-14 && outcome.correct);
            }
        }
    }

    #[test]
    fn a_good_fit_keeps_its_small_loss_and_gradient() {
        let mut row = [0.0_f32, 30.0, 0.0];
        let outcome = forward(&mut row, 1);
        let others = 2.0 * libm::exp(-30.0);
        assert!((outcome.loss / others - 1.0).abs() < 1e-2, "{}", outcome.loss);
        backward(&mut row, 1, &outcome, 1.0);
        assert!((f64::from(row[1]) / -others - 1.0).abs() < 1e-2, "{}", row[1]);
    }

    #[test]
    fn ties_and_not_a_number() {
        assert!(!forward(&mut [1.0, 1.0], 1).correct);
        assert!(forward(&mut [1.0, 1.0], 0).correct);
        let outcome = forward(&mut [1.0, f64::NAN, 0.0], 0);
        assert!(outcome.loss.is_nan());
        let extreme = forward(&mut [1e30_f32, -1e30], 1);
        assert_eq!(extreme.loss, 2.0 * f64::from(1e30_f32));
    }
}
