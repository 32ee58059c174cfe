//! Phases 1 and 4 of a wave, dealt out to the threads: each corrects what it has stepped, which lies in the caches of its
//! core.
//!
//! Where two cores share no cache, what one has written comes to the other slower than memory does, so that halves which are
//! fixed beforehand do not suffice: the faster thread steps more than its half, and would find the rest of it in the cache of
//! the other.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use cpr_core::{Observed, Real, Shard};

use super::passes::{Chunk, elements};
use crate::parallel::Workers;

/// Consecutive chunks of a wave, with what a phase needs of them.
trait Part: Send + Sized {
    /// Chunks that a thread takes at once: enough work to be worth a lock, few enough to end at the same time.
    const GRAIN: usize;

    /// Their number.
    fn chunks(&self) -> usize;

    /// The first `chunks` of them, and the others.
    fn split_at(self, chunks: usize) -> (Self, Self);
}

/// The ends of what a thread has to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

impl End {
    const fn other(self) -> Self {
        match self {
            Self::First => Self::Last,
            Self::Last => Self::First,
        }
    }
}

/// What one thread has to do, in the order of the chunks; on cache lines of its own, for another core's come slowly.
#[repr(align(128))]
struct Share<P>(Mutex<VecDeque<P>>);

/// What each thread has to do, and all of them together.
struct Shares<P> {
    shares: Vec<Share<P>>,
    chunks: usize,
}

impl<P: Part> Shares<P> {
    /// Of parts and the threads they are dealt to.
    fn new(threads: usize, parts: impl IntoIterator<Item = (usize, P)>) -> Self {
        let mut shares: Vec<_> = (0..threads).map(|_| VecDeque::new()).collect();
        let mut chunks = 0;
        for (thread, part) in parts {
            chunks += part.chunks();
            shares[thread].push_back(part);
        }
        Self { shares: shares.into_iter().map(|share| Share(Mutex::new(share))).collect(), chunks }
    }

    /// What is next at an end of a thread's share.
    fn next(&self, thread: usize, end: End) -> Option<P> {
        let mut share = self.shares[thread].0.lock().unwrap_or_else(PoisonError::into_inner);
        match end {
            End::First => {
                let part = share.pop_front()?;
                if part.chunks() <= P::GRAIN {
                    return Some(part);
                }
                let (taken, left) = part.split_at(P::GRAIN);
                share.push_front(left);
                Some(taken)
            }
            End::Last => {
                let part = share.pop_back()?;
                let Some(chunks) = part.chunks().checked_sub(P::GRAIN) else { return Some(part) };
                let (left, taken) = part.split_at(chunks);
                if chunks > 0 {
                    share.push_back(left);
                }
                Some(taken)
            }
        }
    }

    /// `run` on everything: each thread goes through its share from one end, and then takes from the other end of what
    /// others have left. What is too little to be shared the caller does, and wakes nobody.
    fn run(&self, workers: &Workers, from: End, run: impl Fn(usize, P) + Send + Sync) {
        let threads = self.shares.len();
        let work = |own: usize| {
            while let Some(part) = self.next(own, from) {
                run(own, part);
            }
            for step in 1..threads {
                while let Some(part) = self.next((own + step) % threads, from.other()) {
                    run(own, part);
                }
            }
        };
        if self.chunks <= P::GRAIN { work(0) } else { workers.for_each_thread(work) }
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

/// What phase 1 needs of chunks.
struct Step<'a, T, const M: usize> {
    chunks: &'a [Chunk],
    flat: Flat<'a, T, M>,
    observed: &'a mut [Observed],
    steppers: &'a mut [usize],
}

impl<T: Real, const M: usize> Part for Step<'_, T, M> {
    const GRAIN: usize = 6;

    fn chunks(&self) -> usize {
        self.chunks.len()
    }

    fn split_at(self, chunks: usize) -> (Self, Self) {
        let (near, far) = self.chunks.split_at(chunks);
        let (near_flat, far_flat) = self.flat.split_at(elements(near));
        let (near_observed, far_observed) = self.observed.split_at_mut(chunks);
        let (near_steppers, far_steppers) = self.steppers.split_at_mut(chunks);
        let part = |chunks, flat, observed, steppers| Self { chunks, flat, observed, steppers };
        (
            part(near, near_flat, near_observed, near_steppers),
            part(far, far_flat, far_observed, far_steppers),
        )
    }
}

/// Phase 1: `run` on every chunk, its measure to the chunk's place in `observed`, and to that in `steppers` which thread it was.
pub(super) fn first<T: Real, const M: usize>(
    workers: &Workers,
    chunks: &[Chunk],
    flat: Flat<'_, T, M>,
    (observed, steppers): (&mut [Observed], &mut [usize]),
    run: &(impl Fn(&Chunk, Shard<'_, T, M>) -> Observed + Sync),
) {
    let threads = workers.threads().get();
    let mut rest = Some(Step { chunks, flat, observed, steppers });
    let parts = (0..threads).filter_map(|thread| {
        let left = rest.take()?;
        let share = left.chunks() / (threads - thread);
        let (own, later) = left.split_at(share);
        rest = Some(later);
        Some((thread, own))
    });
    Shares::new(threads, parts).run(workers, End::First, |thread, part| {
        let Step { chunks, flat, observed, steppers } = part;
        let mut rest = flat;
        for ((chunk, observed), stepper) in chunks.iter().zip(observed).zip(steppers) {
            let (own, later) = rest.split_at(chunk.len());
            rest = later;
            *stepper = thread;
            // Cut at one place, the slices are of one length.
            if let Ok(shard) = Shard::new(own.theta, own.grads, own.moments) {
                *observed = run(chunk, shard);
            }
        }
    });
}

/// What phase 4 needs of chunks.
struct Correction<'a, T> {
    chunks: &'a [Chunk],
    theta: &'a mut [T],
    observed: &'a mut [Observed],
}

impl<T: Real> Part for Correction<'_, T> {
    const GRAIN: usize = 6;

    fn chunks(&self) -> usize {
        self.chunks.len()
    }

    fn split_at(self, chunks: usize) -> (Self, Self) {
        let (near, far) = self.chunks.split_at(chunks);
        let (near_theta, far_theta) = self.theta.split_at_mut(elements(near));
        let (near_observed, far_observed) = self.observed.split_at_mut(chunks);
        let part = |chunks, theta, observed| Self { chunks, theta, observed };
        (part(near, near_theta, near_observed), part(far, far_theta, far_observed))
    }
}

/// Phase 4: `run` on the elements of each group; what it stopped to the place of its call's first chunk in `observed` and 0 to the
/// others, for only the sum over a group is read.
///
/// Each thread begins with what it stepped last, as `steppers` says of each chunk: what phase 1 touched last is what a cache
/// that is too small for all of it still holds.
pub(super) fn correct<T: Real>(
    workers: &Workers,
    steppers: &[usize],
    chunks: &[Chunk],
    theta: &mut [T],
    observed: &mut [Observed],
    run: &(impl Fn(usize, &mut [T]) -> u64 + Sync),
) {
    let mut rest = Some(Correction { chunks, theta, observed });
    let parts = steppers.chunk_by(|a, b| a == b).filter_map(|same| {
        let (own, later) = rest.take()?.split_at(same.len());
        rest = Some(later);
        Some((*same.first()?, own))
    });
    Shares::new(workers.threads().get(), parts).run(workers, End::Last, |_, part| {
        // The chunks of a group in one call: a long slice is corrected faster than its pieces.
        let Correction { mut chunks, mut theta, mut observed } = part;
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
    });
}

#[cfg(test)]
mod tests;
