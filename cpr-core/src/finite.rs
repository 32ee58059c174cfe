//! Whether gradients are finite, before a step touches anything.

use crate::{
    dispatch::{self, Kernel},
    real::Real,
    reduce::LANES,
    streams::{self, LEAD, TURN},
};

/// Elements of one turn in the loop: a sum for each.
const WIDTH: usize = if dispatch::ASKS_AHEAD { TURN } else { LANES };

/// One read-only pass, in turns among streams or not.
struct AllFinite<'a, T> {
    values: &'a [T],
    streams: bool,
}

impl<T: Real> Kernel for AllFinite<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Self { mut values, streams } = self;
        let mut sums = [T::ZERO; WIDTH];
        if streams {
            let mut streams = streams::cut(&mut values, WIDTH);
            for _ in 0..streams[0].len() / WIDTH {
                for stream in &mut streams {
                    let Some(part) = stream.split_off(..WIDTH) else { continue };
                    dispatch::prefetch_beyond(part, LEAD);
                    add(&mut sums, part);
                }
            }
        }
        let (parts, tail) = values.as_chunks::<WIDTH>();
        for part in parts {
            add(&mut sums, part);
        }
        add(&mut sums, tail);
        sums.iter().all(|sum| !sum.is_nan())
    }
}

/// Adds x·0, which is 0 for a finite x and NaN otherwise, and NaN stays through a sum: no branch in the loop.
#[inline(always)]
fn add<T: Real>(sums: &mut [T; WIDTH], part: &[T]) {
    for (sum, &x) in sums.iter_mut().zip(part) {
        *sum = *sum + x * T::ZERO;
    }
}

/// Whether every element is finite: neither NaN nor ±∞. True for no elements.
///
/// The trainer looks at all gradients with it before phase 1, and skips the step whole if one is not finite.
#[must_use]
pub fn all_finite<T: Real>(values: &[T]) -> bool {
    dispatch::run(AllFinite { values, streams: dispatch::is_intel() })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::{dispatch::Level, streams::STREAMS};

    #[test]
    fn one_value_that_is_not_finite_is_found_wherever_it_stands() {
        let turn = STREAMS * TURN;
        for (n, stride) in [(1, 1), (16, 1), (17, 1), (40, 1), (turn, 41), (2 * turn + 37, 83)] {
            let mut values: Vec<f32> = (0x3f80_0000..).map(f32::from_bits).take(n).collect();
            let found = |values: &[f32]| {
                let levels = [Level::Baseline, Level::Avx2, Level::Avx512];
                let [first, others @ ..] = [false, true].map(|streams| {
                    levels.map(|level| !dispatch::run_at(level, AllFinite { values, streams }))
                });
                assert_eq!(others, [first]);
                assert_eq!(first, [first[0]; 3]);
                first[0]
            };
            assert!(!found(&values));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for place in (0..values.len()).step_by(stride).chain([values.len() - 1]) {
                    let good = std::mem::replace(&mut values[place], bad);
                    assert!(found(&values), "{bad} at {place} of {n}");
                    values[place] = good;
                }
            }
        }
        assert!(all_finite::<f32>(&[]) && all_finite(&[f64::MAX, f64::MIN_POSITIVE, -0.0]));
    }
}
