//! Long sums: 2²⁶ squares and the standard deviation, right to 1 ULP of f32.

use cpr_core::{CHUNK, Merge, Pairwise, Regularizer, Statistic, measure};
use cpr_tests::{cases::Measure, fuzzing, noise, tolerance::CUT_ANYWHERE};

/// Elements of the long sums: 2²⁶, fewer where nothing is optimised.
const LONG: usize = if cfg!(debug_assertions) { 1 << 22 } else { 1 << 26 };

/// Streams `LONG` numbers through the fixed order of merging: the same as one slice, without its memory.
fn stream(kind: Measure, element: impl Fn(u64) -> f32) -> f64 {
    let regularizer = kind.regularizer();
    let mut whole = Pairwise::new();
    for start in (0..LONG as u64).step_by(CHUNK) {
        let chunk: Vec<f32> = (start..start + CHUNK as u64).map(&element).collect();
        whole.push(measure(&regularizer, &chunk));
    }
    let statistic = whole.finish();
    assert_eq!(statistic.count(), LONG as u64);
    regularizer.value(&statistic)
}

/// The exact sum of integers, as a number.
fn exact(element: impl Fn(u64) -> f32, of: impl Fn(i128) -> i128) -> i128 {
    // All data below are multiples of 2⁻²⁰ below 2¹²: squares are integers at the scale 2⁴⁰.
    (0..LONG as u64).map(|i| of((f64::from(element(i)) * f64::from(1 << 20)) as i128)).sum()
}

fn assert_one_ulp(given: f64, exact: f64, what: &str) {
    let ulp = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
    assert!((given - exact).abs() <= ulp, "{what}: {given:e}, exactly {exact:e}");
    // The design asks for 1 ULP of f32; sums in f64 are far better than that.
    assert!((given - exact).abs() <= 1e-11 * exact, "{what}: {given:e}, exactly {exact:e}");
}

/// Multiples of 2⁻²⁰ around `offset`.
fn grid(offset: f32) -> impl Fn(u64) -> f32 {
    move |i| offset + ((noise::mix(i) >> 48) as f32 - 32768.0) / 1_048_576.0
}

#[test]
fn long_sums_of_squares_are_right() {
    for offset in [0.0, 1.0, 7.5] {
        let element = grid(offset);
        let expected = exact(&element, |x| x * x) as f64 / 2f64.powi(40);
        assert_one_ulp(stream(Measure::L2, &element), expected, "Σθ²");
        let expected = exact(&element, i128::abs) as f64 / 2f64.powi(20);
        assert_one_ulp(stream(Measure::L1, &element), expected, "Σ|θ|");
    }
}

#[test]
fn long_standard_deviations_are_right() {
    // A mean of 100 deviations costs a naive f32 sum every digit.
    for offset in [0.0, 1.0, 7.5] {
        let element = grid(offset);
        let n = LONG as i128;
        let (sum, squares) = (exact(&element, |x| x), exact(&element, |x| x * x));
        let variance = (n * squares - sum * sum) as f64 / (n * (n - 1)) as f64;
        let expected = variance.sqrt() / 2f64.powi(20);
        assert_one_ulp(stream(Measure::Std, &element), expected, "std");
    }
}

#[test]
fn a_constant_matrix_has_no_deviation() {
    for value in [0.1f32, -3.7e-5, 1e30, 0.0, f32::MAX, 1e-42] {
        assert_eq!(stream(Measure::Std, |_| value), 0.0, "{value:e}");
        let square = f64::from(value) * f64::from(value) * LONG as f64;
        let given = stream(Measure::L2, |_| value);
        assert!((given - square).abs() <= 1e-13 * square, "{value:e}: {given} {square}");
    }
    let wide = vec![0.1f64; 3 * CHUNK + 7];
    assert_eq!(cpr_core::Std.value(&measure(&cpr_core::Std, &wide)), 0.0);
}

/// An outlier in front is the origin of every deviation of its chunk.
#[test]
fn an_outlier_in_front_costs_few_digits() {
    for outlier in [1e3f32, 1e6, 1e12] {
        let mut theta: Vec<f32> = noise::vector(5, 2 * CHUNK).iter().map(|&x| x as f32).collect();
        theta[0] = outlier;
        let given = cpr_core::Std.value(&measure(&cpr_core::Std, &theta));
        let wide: Vec<f64> = theta.iter().map(|&x| f64::from(x)).collect();
        let expected = cpr_tests::oracle::value(Measure::Std, &wide);
        assert!((given - expected).abs() <= 1e-11 * expected, "{given} {expected}");
    }
}

#[test]
fn any_cut_in_any_order_is_one_pass() {
    for kind in [Measure::L2, Measure::L1, Measure::Huber(0.5), Measure::Std, Measure::Lp(0.7)] {
        for n in [1, 2, 3, 17, 200, CHUNK, CHUNK + 1, 5 * CHUNK + 99] {
            for seed in 0..6 {
                let theta = noise::vector(seed + 10, n);
                fuzzing::check_splits(kind, &theta, seed, 7, CUT_ANYWHERE);
                let shifted: Vec<f32> = theta.iter().map(|x| (x + 3.0) as f32).collect();
                fuzzing::check_splits(kind, &shifted, seed, 3, CUT_ANYWHERE);
            }
        }
    }
}

/// Chan's formula on its own: two parts with different means, in exact arithmetic.
#[test]
fn moments_of_parts_with_different_means_merge() {
    // {1, 3} and {10, 10, 16}: means 2 and 12, m2 2 and 24; together mean 8, m2 = 2 + 24 + 10²·2·3/5 = 146.
    let a = Statistic::Moments { count: 2, mean: 2.0, m2: 2.0 };
    let b = Statistic::Moments { count: 3, mean: 12.0, m2: 24.0 };
    for merged in [a.merge(b), b.merge(a)] {
        let Statistic::Moments { count, mean, m2 } = merged else { panic!("moments") };
        assert_eq!(count, 5);
        assert!((mean - 8.0).abs() < 1e-14 && (m2 - 146.0).abs() < 1e-12, "{mean} {m2}");
    }
}
