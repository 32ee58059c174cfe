//! The passes of a step over the flat buffers: divided at chunks, joined in no order, so that every measure stands at
//! its chunk's place.

use cpr_core::{CHUNK, Correction, L2, Observed, Pairwise, Real, Shard, Statistic, all_finite};

use crate::parallel::Workers;

/// Chunks that one task takes: enough work to be worth a hand-over, few enough to share.
const GRAIN: usize = 6;

/// Up to [`CHUNK`] consecutive elements of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) group: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Chunk {
    const fn len(&self) -> usize {
        self.end - self.start
    }
}

/// The flat buffers of consecutive chunks.
pub(super) struct Flat<'a, T, const M: usize> {
    pub(super) theta: &'a mut [T],
    pub(super) grads: &'a [T],
    pub(super) moments: [&'a mut [T]; M],
}

impl<'a, T, const M: usize> Flat<'a, T, M> {
    fn split_at(self, elements: usize) -> (Self, Self) {
        let (theta, later_theta) = self.theta.split_at_mut(elements);
        let (grads, later_grads) = self.grads.split_at(elements);
        let mut later: [&'a mut [T]; M] = std::array::from_fn(|_| Default::default());
        let mut slots = later.iter_mut();
        let moments = self.moments.map(|moment| {
            let (head, tail) = moment.split_at_mut(elements);
            if let Some(slot) = slots.next() {
                *slot = tail;
            }
            head
        });
        (
            Self { theta, grads, moments },
            Self { theta: later_theta, grads: later_grads, moments: later },
        )
    }
}

/// Elements of consecutive chunks.
fn elements(chunks: &[Chunk]) -> usize {
    chunks.iter().map(Chunk::len).sum()
}

/// Phase 1: `run` on every chunk, its measure to the chunk's place in `observed`.
pub(super) fn first<T: Real, const M: usize>(
    workers: &Workers,
    chunks: &[Chunk],
    flat: Flat<'_, T, M>,
    observed: &mut [Observed],
    run: &(impl Fn(&Chunk, Shard<'_, T, M>) -> Observed + Sync),
) {
    if chunks.len() > GRAIN {
        let half = chunks.len() / 2;
        let (near, far) = chunks.split_at(half);
        let (near_flat, far_flat) = flat.split_at(elements(near));
        let (near_observed, far_observed) = observed.split_at_mut(half);
        workers.join(
            || first(workers, near, near_flat, near_observed, run),
            || first(workers, far, far_flat, far_observed, run),
        );
        return;
    }
    let mut rest = flat;
    for (chunk, observed) in chunks.iter().zip(observed) {
        let (own, later) = rest.split_at(chunk.len());
        rest = later;
        // Cut at one place, the slices are of one length.
        if let Ok(shard) = Shard::new(own.theta, own.grads, own.moments) {
            *observed = run(chunk, shard);
        }
    }
}

/// Phase 4: `run` on the elements of each group; what it stopped to the place of its call's first chunk in `observed` and 0 to the
/// others, for only the sum over a group is read.
///
/// The cuts are those of [`first`], and as long as there are several of `threads` to share a part, its first half goes to the
/// caller, as there: another core's cache is far. What one thread has it goes through from the end to the start: what phase 1
/// touched last is what a cache that is too small for all of it still holds.
pub(super) fn correct<T: Real>(
    (workers, threads): (&Workers, usize),
    chunks: &[Chunk],
    theta: &mut [T],
    observed: &mut [Observed],
    run: &(impl Fn(usize, &mut [T]) -> u64 + Sync),
) {
    if chunks.len() > GRAIN {
        let half = chunks.len() / 2;
        let (near, far) = chunks.split_at(half);
        let (near_theta, far_theta) = theta.split_at_mut(elements(near));
        let (near_observed, far_observed) = observed.split_at_mut(half);
        let near_half = || correct((workers, threads / 2), near, near_theta, near_observed, run);
        let far_half =
            || correct((workers, threads.div_ceil(2)), far, far_theta, far_observed, run);
        if threads > 1 {
            workers.join(near_half, far_half);
        } else {
            workers.join(far_half, near_half);
        }
        return;
    }
    // The chunks of a group in one call: a long slice is corrected faster than its pieces.
    let (mut chunks, mut theta, mut observed) = (chunks, theta, observed);
    while let Some(last) = chunks.last() {
        let before = chunks.partition_point(|chunk| chunk.group != last.group);
        let (earlier, own) = theta.split_at_mut(elements(&chunks[..before]));
        let (earlier_observed, own_observed) = observed.split_at_mut(before);
        let mut stopped = run(last.group, own);
        for observed in own_observed {
            observed.stopped = std::mem::take(&mut stopped);
        }
        (chunks, theta, observed) = (&chunks[..before], earlier, earlier_observed);
    }
}

/// Before a step: `run` on every chunk of `values`, its measure to the chunk's place in `observed`.
pub(super) fn observe<T: Real>(
    workers: &Workers,
    chunks: &[Chunk],
    values: &[T],
    observed: &mut [Observed],
    run: &(impl Fn(&Chunk, &[T]) -> Statistic + Sync),
) {
    if chunks.len() > GRAIN {
        let half = chunks.len() / 2;
        let (near, far) = chunks.split_at(half);
        let (near_observed, far_observed) = observed.split_at_mut(half);
        workers.join(
            || observe(workers, near, values, near_observed, run),
            || observe(workers, far, values, far_observed, run),
        );
        return;
    }
    for (chunk, observed) in chunks.iter().zip(observed) {
        let statistic = run(chunk, &values[chunk.start..chunk.end]);
        *observed = Observed { statistic, stopped: 0 };
    }
}

/// The index of the first chunk with a gradient that is not finite.
pub(super) fn first_non_finite<T: Real>(
    workers: &Workers,
    chunks: &[Chunk],
    grads: &[T],
) -> Option<usize> {
    let blocks = grads.chunks(GRAIN * CHUNK).count();
    let block = |index: usize| {
        let start = index * GRAIN * CHUNK;
        &grads[start..grads.len().min(start + GRAIN * CHUNK)]
    };
    // The common case reads each gradient once, in blocks of its own; only a bad one is looked for by chunk.
    if finite_between(workers, &block, 0, blocks) {
        return None;
    }
    chunks.iter().position(|chunk| !all_finite(&grads[chunk.start..chunk.end]))
}

fn finite_between<'a, T: Real>(
    workers: &Workers,
    block: &(impl Fn(usize) -> &'a [T] + Sync),
    from: usize,
    to: usize,
) -> bool {
    match to - from {
        0 => true,
        1 => all_finite(block(from)),
        several => {
            let half = from + several / 2;
            let (mut near, mut far) = (true, true);
            workers.join(
                || near = finite_between(workers, block, from, half),
                || far = finite_between(workers, block, half, to),
            );
            near && far
        }
    }
}

/// √Σx² over all chunks, in the fixed order.
pub(super) fn norm<T: Real>(workers: &Workers, chunks: &[Chunk], values: &[T]) -> f64 {
    let measures = workers.map(chunks.len(), |index| {
        let Chunk { start, end, .. } = chunks[index];
        cpr_core::measure(&L2, &values[start..end])
    });
    let mut whole = Pairwise::new();
    whole.extend(measures);
    match whole.finish() {
        Statistic::Sum { total, .. } => total.sqrt(),
        Statistic::Moments { .. } => f64::NAN,
    }
}

/// Scales gradients whose global norm is above `limit` down to it; returns the norm before.
pub(super) fn clip<T: Real>(
    workers: &Workers,
    chunks: &[Chunk],
    grads: &mut [T],
    limit: f64,
) -> f64 {
    let norm = norm(workers, chunks, grads);
    if norm > limit {
        scale(workers, grads, limit / norm);
    }
    norm
}

/// Scales all parameters together to this global norm; parameters that are all zero stay.
pub(super) fn rescale<T: Real>(workers: &Workers, chunks: &[Chunk], theta: &mut [T], target: f64) {
    let norm = norm(workers, chunks, theta);
    if norm > 0.0 && norm.is_finite() {
        scale(workers, theta, target / norm);
    }
}

fn scale<T: Real>(workers: &Workers, values: &mut [T], factor: f64) {
    let scaling = Correction::Scale { scale: factor, center: 0.0 };
    workers.for_each_chunk(values, GRAIN * CHUNK, |_, part| {
        scaling.apply(part);
    });
}
