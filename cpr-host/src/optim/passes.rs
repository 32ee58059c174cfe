//! Passes over the flat buffers beside the four phases: divided at chunks, joined in no order, so that every measure stands at
//! its chunk's place.

use cpr_core::{CHUNK, Correction, L2, Observed, Pairwise, Real, Statistic, all_finite};

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
    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Elements of consecutive chunks.
pub(super) fn elements(chunks: &[Chunk]) -> usize {
    match chunks {
        [] => 0,
        [only] => only.len(),
        [first, .., last] => last.end - first.start,
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
