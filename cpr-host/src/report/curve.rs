//! Curves over steps, averaged over seeds.

use super::{chart::Point, source::RunData};
use crate::stats::Sample;

/// Points of a curve that are kept: a plot is narrower than that many pixels apart.
const POINTS: usize = 90;
/// Points of the curves of matrices, of which there are many.
const FEW: usize = 48;

/// A point of a mean curve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) point: Point,
    /// Runs that it is the mean of.
    pub(crate) count: usize,
}

/// The mean of a column over the runs at every step at which one of them was evaluated, with the 95 % t-interval.
///
/// A run that has ended, or was not evaluated at a step, counts with its value before; a run without a value yet does
/// not count. At most ninety points are kept, spread evenly over the logarithms of the steps where these span decades.
pub(crate) fn mean_curve(runs: &[&RunData], column: &str) -> Vec<At> {
    let series: Vec<Vec<(u64, f64)>> = runs
        .iter()
        .map(|run| {
            let defined = run.rows.iter().filter_map(|row| Some((row.step, row.get(column)?)));
            defined.filter(|(_, value)| value.is_finite()).collect()
        })
        .collect();
    let mut steps: Vec<u64> = series.iter().flatten().map(|(step, _)| *step).collect();
    steps.sort_unstable();
    steps.dedup();
    let steps = spread(&steps, POINTS);
    let at = |step: &u64| {
        let values: Vec<f64> = series
            .iter()
            .filter_map(|series| {
                let upto = series.partition_point(|(other, _)| other <= step);
                series.get(upto.checked_sub(1)?).map(|(_, value)| *value)
            })
            .collect();
        let sample = Sample::of(&values);
        let y = sample.mean()?;
        let (low, high) =
            sample.interval().map_or((y, y), |interval| (interval.low(), interval.high()));
        Some(At { point: Point { x: *step as f64, y, low, high }, count: sample.len() })
    };
    steps.iter().filter_map(at).collect()
}

/// Fewer points of the same curve.
pub(crate) fn thinned(points: Vec<At>) -> Vec<At> {
    let steps: Vec<u64> = points.iter().map(|at| at.point.x as u64).collect();
    let kept = spread(&steps, FEW);
    points.into_iter().filter(|at| kept.binary_search(&(at.point.x as u64)).is_ok()).collect()
}

/// The last step at which a run was evaluated.
pub(crate) fn last_step(run: &RunData) -> u64 {
    run.rows.last().map_or(0, |row| row.step)
}

/// At most `count` of the sorted steps, the first and the last among them.
fn spread(steps: &[u64], count: usize) -> Vec<u64> {
    let (Some(&first), Some(&last)) = (steps.first(), steps.last()) else { return Vec::new() };
    if steps.len() <= count {
        return steps.to_vec();
    }
    let (low, high) = (first.max(1) as f64, last as f64);
    let logarithmic = high > 50.0 * low;
    let mut kept = vec![first];
    for index in 1..count {
        let share = index as f64 / (count - 1) as f64;
        let wanted = if logarithmic {
            libm::exp(libm::log(low) + share * (libm::log(high) - libm::log(low)))
        } else {
            low + share * (high - low)
        };
        let at = steps.partition_point(|step| (*step as f64) < wanted - 1e-9 * wanted);
        kept.push(steps[at.min(steps.len() - 1)]);
    }
    kept.dedup();
    kept
}
