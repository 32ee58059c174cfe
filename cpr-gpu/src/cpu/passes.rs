//! The passes over one parameter: cut at chunks and divided among the workers, every result at its chunk's place.

use cpr_core::{CHUNK, Correction, Observed, Real, Shard, Statistic, all_finite};
use cpr_host::parallel::Workers;

use super::gradient::Source;

/// Chunks that one task takes: enough work to be worth a hand-over (96 KiB of f32), few enough to share. A parameter
/// that is not larger is never divided.
const GRAIN: usize = 6;

/// Where to cut work on `elements` in two, if it is worth it: at a multiple of [`CHUNK`].
fn middle(elements: usize) -> Option<usize> {
    let chunks = elements.div_ceil(CHUNK);
    (chunks > GRAIN).then_some(chunks / 2 * CHUNK)
}

/// The slices of consecutive chunks of one parameter, and the places of their measures.
pub(super) struct Part<'a, T, G, const M: usize> {
    pub(super) theta: &'a mut [T],
    pub(super) grads: &'a [G],
    pub(super) moments: [&'a mut [T]; M],
    pub(super) observed: &'a mut [Observed],
}

impl<'a, T, G, const M: usize> Part<'a, T, G, M> {
    /// At `elements`, a multiple of [`CHUNK`].
    fn split_at(self, elements: usize) -> (Self, Self) {
        let (theta, later_theta) = self.theta.split_at_mut(elements);
        let (grads, later_grads) = self.grads.split_at(elements);
        let (observed, later_observed) = self.observed.split_at_mut(elements / CHUNK);
        let mut later: [&'a mut [T]; M] = std::array::from_fn(|_| Default::default());
        let mut slots = later.iter_mut();
        let moments = self.moments.map(|moment| {
            let (head, tail) = moment.split_at_mut(elements);
            if let Some(slot) = slots.next() {
                *slot = tail;
            }
            head
        });
        let near = Self { theta, grads, moments, observed };
        let far = Self {
            theta: later_theta,
            grads: later_grads,
            moments: later,
            observed: later_observed,
        };
        (near, far)
    }
}

/// Phase 1: `run` on every chunk, its measure to the chunk's place.
pub(super) fn first<T: Real, G: Source<T>, const M: usize>(
    workers: &Workers,
    part: Part<'_, T, G, M>,
    scale: Option<f64>,
    run: &(impl Fn(Shard<'_, T, M>) -> Observed + Sync),
) {
    if let Some(middle) = middle(part.theta.len()) {
        let (near, far) = part.split_at(middle);
        workers.join(|| first(workers, near, scale, run), || first(workers, far, scale, run));
        return;
    }
    let mut buffer = [T::ZERO; CHUNK];
    let Part { theta, grads, moments, observed } = part;
    let mut moments = moments.map(|moment| moment.chunks_mut(CHUNK));
    let chunks = theta.chunks_mut(CHUNK).zip(grads.chunks(CHUNK)).zip(observed);
    for ((theta, grads), observed) in chunks {
        let moments = moments.each_mut().map(|chunks| chunks.next().unwrap_or_default());
        let grads = G::staged(grads, scale, &mut buffer);
        // Cut at one place, the slices are of one length.
        if let Ok(shard) = Shard::new(theta, grads, moments) {
            *observed = run(shard);
        }
    }
}

/// Phase 4; what a call stopped to the place of its first chunk and 0 to the others, for only their sum is read.
pub(super) fn correct<T: Real>(
    workers: &Workers,
    theta: &mut [T],
    observed: &mut [Observed],
    correction: &Correction,
) {
    if let Some(middle) = middle(theta.len()) {
        let (near, far) = theta.split_at_mut(middle);
        let (near_observed, far_observed) = observed.split_at_mut(middle / CHUNK);
        workers.join(
            || correct(workers, near, near_observed, correction),
            || correct(workers, far, far_observed, correction),
        );
        return;
    }
    // In one call: a long slice is corrected faster than its pieces.
    let mut stopped = correction.apply(theta);
    for observed in observed {
        observed.stopped = std::mem::take(&mut stopped);
    }
}

/// `measure` of every chunk, scaled as a step would scale it, to the chunk's place.
pub(super) fn observe<T: Real, G: Source<T>>(
    workers: &Workers,
    values: &[G],
    scale: Option<f64>,
    observed: &mut [Observed],
    measure: &(impl Fn(&[T]) -> Statistic + Sync),
) {
    if let Some(middle) = middle(values.len()) {
        let (near, far) = values.split_at(middle);
        let (near_observed, far_observed) = observed.split_at_mut(middle / CHUNK);
        workers.join(
            || observe(workers, near, scale, near_observed, measure),
            || observe(workers, far, scale, far_observed, measure),
        );
        return;
    }
    let mut buffer = [T::ZERO; CHUNK];
    for (values, observed) in values.chunks(CHUNK).zip(observed) {
        let statistic = measure(G::staged(values, scale, &mut buffer));
        *observed = Observed { statistic, stopped: 0 };
    }
}

/// Whether every gradient is finite.
pub(super) fn finite<T: Real, G: Source<T>>(workers: &Workers, grads: &[G]) -> bool {
    if let Some(middle) = middle(grads.len()) {
        let (near, far) = grads.split_at(middle);
        let (mut near_finite, mut far_finite) = (true, true);
        workers.join(
            || near_finite = finite::<T, G>(workers, near),
            || far_finite = finite::<T, G>(workers, far),
        );
        return near_finite && far_finite;
    }
    match G::direct(grads) {
        Some(grads) => all_finite(grads),
        None => {
            let mut buffer = [T::ZERO; CHUNK];
            grads.chunks(CHUNK).all(|chunk| all_finite(G::staged(chunk, None, &mut buffer)))
        }
    }
}

/// `convert` from master weights to the variable's own type, chunk by chunk.
pub(super) fn round<H: Copy + Send + Sync>(
    workers: &Workers,
    masters: &[f32],
    values: &mut [H],
    convert: &(impl Fn(&[f32], &mut [H]) + Sync),
) {
    if let Some(middle) = middle(masters.len()) {
        let (near, far) = masters.split_at(middle);
        let (near_values, far_values) = values.split_at_mut(middle);
        workers.join(
            || round(workers, near, near_values, convert),
            || round(workers, far, far_values, convert),
        );
        return;
    }
    convert(masters, values);
}
