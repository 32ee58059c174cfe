//! Any split of a matrix, merged in any order.

use cpr_core::{CHUNK, Merge, Pairwise, Real, Regularizer, Statistic, measure};

use super::bytes::Bytes;
use crate::{
    cases::Measure,
    noise, oracle,
    tolerance::{CUT_ANYWHERE, CUT_AT_OUTLIERS, Tolerance},
};

/// Any floats, cut anywhere and merged in any order, against one pass and against the oracle.
///
/// Laws: counts add up; sums and deviations agree to rounding where they are finite; cut at chunks and pushed in
/// order, to the bit; the neutral element leaves every bit.
pub fn merge(data: &[u8]) {
    let mut bytes = Bytes(data);
    let measures = [Measure::L2, Measure::L1, Measure::Huber(0.5), Measure::Std, Measure::Lp(0.7)];
    let kind = measures[usize::from(bytes.below(5))];
    let (seed, cuts) = (u64::from(bytes.byte()), usize::from(bytes.below(9)));
    let long = bytes.below(4) == 0;
    let mut theta: Vec<f64> = Vec::new();
    while !bytes.0.is_empty() && theta.len() < 600 {
        theta.push(bytes.any());
    }
    if long {
        // Several chunks: the same numbers over and over, shrinking.
        let period = theta.len().max(1);
        let len = 2 * CHUNK + 17 * period;
        theta.resize(period, 0.25);
        theta = (0..len).map(|i| theta[i % period] / (1 + i / period) as f64).collect();
    }
    if bytes.flag() {
        let narrow: Vec<f32> = theta.iter().map(|&x| f32::from_f64(x)).collect();
        check(kind, &narrow, seed, cuts, CUT_AT_OUTLIERS);
    } else {
        check(kind, &theta, seed, cuts, CUT_AT_OUTLIERS);
    }
}

/// Cuts `theta` at seeded places and checks every law, a standard deviation to the tolerance given; what [`merge`]
/// does with its bytes.
///
/// # Panics
/// Where a law is broken.
pub fn check<T: Real>(kind: Measure, theta: &[T], seed: u64, cuts: usize, of_std: Tolerance) {
    let regularizer = kind.regularizer();
    let n = theta.len();
    let whole = measure(&regularizer, theta);
    assert_eq!(Statistic::NEUTRAL.merge(whole).count(), n as u64);
    let mut by_chunk = Pairwise::new();
    by_chunk.extend(theta.chunks(CHUNK).map(|chunk| measure(&regularizer, chunk)));
    assert_eq!(words(by_chunk.finish()), words(whole), "chunk by chunk is not one pass");

    let mut places: Vec<usize> =
        (0..cuts as u64).map(|i| (noise::mix(seed * 31 + i) as usize) % (n + 1)).collect();
    places.extend([0, n]);
    places.sort_unstable();
    let parts: Vec<Statistic> =
        places.windows(2).map(|w| measure(&regularizer, &theta[w[0]..w[1]])).collect();
    let order = noise::shuffled(seed, parts.len());
    let merged = order.iter().fold(Statistic::NEUTRAL, |sum, &i| sum.merge(parts[i]));
    assert_eq!(merged.count(), n as u64);
    if n < 2 && kind == Measure::Std {
        return;
    }
    let (one, other) = (regularizer.value(&whole), regularizer.value(&merged));
    let wide: Vec<f64> = theta.iter().map(|&x| x.to_f64()).collect();
    let largest = wide.iter().fold(0.0f64, |top, x| top.max(x.abs()));
    // Squares of numbers beyond 1e150 overflow, below 1e-150 underflow; the mean of f64 costs a rounding of itself.
    if wide.iter().any(|x| !x.is_finite() || (*x != 0.0 && !(1e-150..1e150).contains(&x.abs()))) {
        return;
    }
    let floor = if kind == Measure::Std { largest } else { 0.0 };
    let tolerance = if kind == Measure::Std { of_std } else { CUT_ANYWHERE };
    let expected = oracle::value(kind, &wide);
    for (given, against) in [(other, one), (one, expected), (other, expected)] {
        let distance = (given - against).abs();
        assert!(
            distance <= tolerance.limit * against.abs().max(floor),
            "{kind:?}, n = {n}: {given:e} against {against:e}, {}",
            Tolerance::distance(given, against)
        );
    }
}

fn words(statistic: Statistic) -> [u64; 3] {
    let canonical = |x: f64| if x.is_nan() { u64::MAX } else { x.to_bits() };
    match statistic {
        Statistic::Sum { count, total } => [count, canonical(total), 0],
        Statistic::Moments { count, mean, m2 } => [count, canonical(mean), canonical(m2)],
    }
}
