//! Rank tests that are exact, ties included, for the sample sizes of seeds.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// Up to this many values the distribution of the ranks is counted; beyond, it is as good as normal.
const EXACT: usize = 50;

/// Wilcoxon's signed-rank test that the differences are symmetric around 0: the two-sided p value.
///
/// Differences of 0 say nothing and are left out; equal sizes share their mean rank. Up to 50 differences the p value
/// is the share of the 2ⁿ assignments of signs whose rank sum is at least as far from its mean, so n = 5 differences of one
/// sign give 2/32; beyond, the normal approximation with the correction for ties. NaN is left out; infinite differences
/// have the highest ranks. `None` where no difference is left.
#[must_use]
pub fn signed_rank(differences: &[f64]) -> Option<f64> {
    signed_rank_as(differences, EXACT)
}

/// As [`signed_rank`], counted up to that many differences.
pub(super) fn signed_rank_as(differences: &[f64], exact: usize) -> Option<f64> {
    let kept: Vec<f64> =
        differences.iter().copied().filter(|value| !value.is_nan() && *value != 0.0).collect();
    if kept.is_empty() {
        return None;
    }
    let sizes: Vec<f64> = kept.iter().map(|value| value.abs()).collect();
    let ranks = doubled_ranks(&sizes);
    let positive: usize =
        ranks.iter().zip(&kept).filter(|(_, value)| **value > 0.0).map(|(rank, _)| rank).sum();
    let total: usize = ranks.iter().sum();
    if kept.len() <= exact {
        // counts[s]: sets of ranks whose sum is s.
        let mut counts = vec![0.0; total + 1];
        counts[0] = 1.0;
        for &rank in &ranks {
            for sum in (rank..=total).rev() {
                counts[sum] += counts[sum - rank];
            }
        }
        return Some(share_as_far(&counts, positive, total as f64 / 2.0));
    }
    // Doubled ranks: Var = Σ(2·rank)²/4.
    let variance = ranks.iter().map(|&rank| (rank * rank) as f64).sum::<f64>() / 4.0;
    Some(normal_tails(positive as f64 - total as f64 / 2.0, variance))
}

/// The test of Mann, Whitney and Wilcoxon that two samples come from one distribution: the two-sided p value.
///
/// Equal values share their mean rank. Up to 50 values in all the p value is the share of the ways to choose the first
/// sample's ranks whose sum is at least as far from its mean, so five values against five, all smaller, give 2/252; beyond, the
/// normal approximation with the correction for ties. NaN is left out; +∞ stands for what never came. `None` where
/// a sample is empty.
#[must_use]
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Option<f64> {
    mann_whitney_as(a, b, EXACT)
}

/// As [`mann_whitney`], counted up to that many values.
pub(super) fn mann_whitney_as(a: &[f64], b: &[f64], exact: usize) -> Option<f64> {
    let mut values: Vec<f64> = a.iter().copied().filter(|value| !value.is_nan()).collect();
    let first = values.len();
    values.extend(b.iter().copied().filter(|value| !value.is_nan()));
    let all = values.len();
    if first == 0 || first == all {
        return None;
    }
    let ranks = doubled_ranks(&values);
    let sum: usize = ranks[..first].iter().sum();
    let mean = first as f64 * (all + 1) as f64;
    if all <= exact {
        let total: usize = ranks.iter().sum();
        // counts[k][s]: choices of k ranks whose sum is s.
        let mut counts = vec![vec![0.0; total + 1]; first + 1];
        counts[0][0] = 1.0;
        for &rank in &ranks {
            for chosen in (1..=first).rev() {
                for sum in (rank..=total).rev() {
                    counts[chosen][sum] += counts[chosen - 1][sum - rank];
                }
            }
        }
        return Some(share_as_far(&counts[first], sum, mean));
    }
    // Of a sum drawn without replacement: n·m/(N·(N − 1))·Σ(rank − mean rank)².
    let center = (all + 1) as f64;
    let squares: f64 = ranks.iter().map(|&rank| (rank as f64 - center).powi(2)).sum();
    let pairs = first as f64 * (all - first) as f64;
    let variance = pairs / (all as f64 * (all - 1) as f64) * squares;
    Some(normal_tails(sum as f64 - mean, variance))
}

/// Twice the rank of each value, 1 being the lowest; equal values share the mean of theirs, which twice over is whole.
fn doubled_ranks(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0; values.len()];
    let mut below = 0;
    for ties in order.chunk_by(|&i, &j| values[i] == values[j]) {
        for &index in ties {
            ranks[index] = 2 * below + ties.len() + 1;
        }
        below += ties.len();
    }
    ranks
}

/// The share of the counted sums that are at least as far from `mean` as `sum`.
fn share_as_far(counts: &[f64], sum: usize, mean: f64) -> f64 {
    let distance = |sum: usize| (sum as f64 - mean).abs();
    let far = distance(sum);
    let (mut tails, mut all) = (0.0, 0.0);
    for (other, count) in counts.iter().enumerate() {
        all += count;
        if distance(other) >= far {
            tails += count;
        }
    }
    tails / all
}

/// Both tails of a normal variable of mean 0 beyond ±`distance`, of a sum in steps of 2 (hence the correction by 1).
fn normal_tails(distance: f64, variance: f64) -> f64 {
    let corrected = (distance.abs() - 1.0).max(0.0);
    if variance <= 0.0 {
        return 1.0;
    }
    let z = corrected / variance.sqrt();
    (2.0 * Normal::standard().cdf(-z)).min(1.0)
}
