use super::*;
use crate::random::{Random, Stream};

fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance, "{a} is not {b} within {tolerance}");
}

#[test]
fn student_quantiles_are_the_tabulated_ones() {
    // NIST/SEMATECH e-Handbook, table 1.3.6.7.2, and closed forms for 1 and 2 degrees of freedom.
    for (freedom, p, quantile) in [
        (3, 0.975, 3.182),
        (4, 0.975, 2.776),
        (9, 0.975, 2.262),
        (29, 0.975, 2.045),
        (100, 0.975, 1.984),
        (4, 0.95, 2.132),
        (9, 0.995, 3.250),
    ] {
        close(student_quantile(p, freedom).unwrap(), quantile, 5e-4);
    }
    let cauchy = (std::f64::consts::PI * 0.475).tan();
    close(student_quantile(0.975, 1).unwrap(), cauchy, 1e-9);
    let two = 0.95 / (2.0 * 0.975 * 0.025_f64).sqrt();
    close(student_quantile(0.975, 2).unwrap(), two, 1e-9);
    close(student_quantile(0.025, 4).unwrap(), -student_quantile(0.975, 4).unwrap(), 1e-9);
    assert_eq!(student_quantile(0.975, 0), None);
    assert_eq!(student_quantile(1.0, 3), None);
}

#[test]
fn moments_of_a_sample() {
    let sample = Sample::of(&[4.0, 1.0, 3.0, f64::NAN, 2.0]);
    assert_eq!((sample.len(), sample.mean(), sample.median()), (4, Some(2.5), Some(2.5)));
    close(sample.variance().unwrap(), 5.0 / 3.0, 1e-15);
    // The order of the runs changes no bit.
    assert_eq!(sample, Sample::of(&[1.0, 2.0, 3.0, 4.0]));
    // Digits survive an offset.
    let shifted = Sample::of(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0]);
    assert_eq!((shifted.mean(), shifted.variance()), (Some(1e9 + 2.0), Some(1.0)));
}

#[test]
fn what_is_not_there_is_none() {
    let none = Sample::of(&[]);
    assert!(none.is_empty());
    assert_eq!((none.mean(), none.variance(), none.median()), (None, None, None));
    let one = Sample::of(&[3.0]);
    assert_eq!((one.mean(), one.deviation(), one.interval()), (Some(3.0), None, None));
    let never = Sample::of(&[5.0, f64::INFINITY, f64::INFINITY, 7.0, 9.0]);
    assert_eq!((never.mean(), never.interval(), never.median()), (None, None, Some(9.0)));
    assert_eq!(Sample::of(&[1.0, f64::INFINITY]).median(), Some(f64::INFINITY));
    let same = Sample::of(&[2.0, 2.0, 2.0]).interval().unwrap();
    assert_eq!((same.low(), same.high()), (2.0, 2.0));
}

/// The promise of an interval: of 10⁵ samples of three, five, ten normal values, 95 % of the intervals hold the mean.
#[test]
fn intervals_cover_95_percent() {
    const DRAWS: u64 = 100_000;
    for n in [3, 5, 10] {
        let mut random = Random::new(9, Stream::Init, n);
        let mut values = vec![0.0; usize::try_from(n).unwrap()];
        let mut covered = 0_u32;
        for _ in 0..DRAWS {
            random.fill_normal(2.5, &mut values);
            values.iter_mut().for_each(|value| *value += 7.0);
            covered += u32::from(Sample::of(&values).interval().unwrap().contains(7.0));
        }
        let share = f64::from(covered) / DRAWS as f64;
        assert!((share - LEVEL).abs() <= 0.005, "n = {n}: {share}");
    }
}

#[test]
fn pairs_are_those_of_equal_keys() {
    let never = f64::INFINITY;
    let a = [(1, 10.0), (2, 20.0), (4, never), (5, never)];
    let b = [(2, 15.0), (1, 11.0), (3, 0.0), (4, 8.0), (5, never)];
    assert_eq!(paired_differences(&a, &b), [-1.0, 5.0, never, 0.0]);
}

#[test]
fn signed_ranks_by_hand() {
    // All of one sign: 2 of 2ⁿ assignments are as extreme.
    close(signed_rank(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap(), 2.0 / 32.0, 1e-15);
    close(signed_rank(&[-1.0, -2.0, -3.0]).unwrap(), 2.0 / 8.0, 1e-15);
    // Rank sum 1 of 1..4: {}, {1} below and their mirror images.
    close(signed_rank(&[1.0, -2.0, -3.0, -4.0]).unwrap(), 4.0 / 16.0, 1e-15);
    // Zeros say nothing; infinities rank highest.
    close(signed_rank(&[0.0, f64::INFINITY, 2.0, 3.0, f64::NAN]).unwrap(), 2.0 / 8.0, 1e-15);
    assert_eq!(signed_rank(&[0.0, 0.0]), None);
    // Perfect balance with ties.
    close(signed_rank(&[1.0, -1.0]).unwrap(), 1.0, 1e-15);
    // Wilcoxon's own data (1945), Darwin's plants: rank sum 96 of n = 15, p = 0.0413 (R: wilcox.test).
    let darwin = [49., -67., 8., 16., 6., 23., 28., 41., 14., 29., 56., 24., 75., 60., -48.];
    close(signed_rank(&darwin).unwrap(), 0.041_26, 1e-5);
}

#[test]
fn mann_whitney_by_hand() {
    let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
    close(mann_whitney(&low, &high).unwrap(), 2.0 / 252.0, 1e-15);
    close(mann_whitney(&high, &low).unwrap(), 2.0 / 252.0, 1e-15);
    // Sums 3 and 4 of 1..5 taken by twos, and their mirror images 8 and 9: 4 of 10.
    close(mann_whitney(&[1.0, 3.0], &[2.0, 4.0, 5.0]).unwrap(), 4.0 / 10.0, 1e-15);
    // What never came is worse than anything that did, and equal to itself.
    let never = f64::INFINITY;
    close(mann_whitney(&[1.0, 2.0], &[never, never]).unwrap(), 2.0 / 6.0, 1e-15);
    close(mann_whitney(&[never], &[never]).unwrap(), 1.0, 1e-15);
    assert_eq!(mann_whitney(&[], &[1.0]), None);
}

#[test]
fn holm_steps_down() {
    assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]);
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    assert_eq!(holm(&[]), Vec::<f64>::new());
}

/// Both approximations meet the exact counts where one gives way to the other, ties included.
#[test]
fn the_normal_approximations_meet_the_exact_counts() {
    let mut random = Random::new(3, Stream::Init, 0);
    for shift in [0.0, 0.3, 0.8] {
        let mut normal = [0.0; 50];
        random.fill_normal(1.0, &mut normal);
        // To a tenth: some are equal.
        let values = normal.map(|value: f64| ((value + shift) * 10.0).round() / 10.0);
        let exact = ranks::signed_rank_as(&values, 50).unwrap();
        close(ranks::signed_rank_as(&values, 0).unwrap(), exact, 5e-3);
        let (a, b) = (&values[..25], values[25..].iter().map(|value| value + shift));
        let b: Vec<f64> = b.collect();
        let exact = ranks::mann_whitney_as(a, &b, 50).unwrap();
        close(ranks::mann_whitney_as(a, &b, 0).unwrap(), exact, 5e-3);
    }
}
