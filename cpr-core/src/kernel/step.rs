//! The loop of a base step over the streams of one chunk.

use crate::{
    base::BaseRule,
    dispatch::{self, Kernel},
    observer::{Observer, Unobserved, padded},
    real::Real,
    reduce::LANES,
    shard::Shard,
    shrink::Shrink,
};

/// The base step, block by block, with a correction that is short enough to go along, and the measure of what is written
/// where the registers hold its sums too.
pub(super) struct Step<'a, T: Real, B, S, O: Observer<T>, C, const M: usize> {
    pub(super) copy: C,
    pub(super) base: B,
    pub(super) shrink: S,
    /// Added fused: `Unobserved`, or at a level that fuses.
    pub(super) observer: O,
    pub(super) lanes: O::Lanes,
    pub(super) shard: Shard<'a, T, M>,
}

impl<'a, T: Real, B, S, C, const M: usize> Step<'a, T, B, S, Unobserved, C, M> {
    /// Without a measure.
    pub(super) const fn alone(copy: C, base: B, shrink: S, shard: Shard<'a, T, M>) -> Self {
        Self { copy, base, shrink, observer: Unobserved, lanes: (), shard }
    }
}

/// A copy of θ before the base step, made block by block: in Adam's loop, which waits for divisions, a store costs no time.
pub(super) trait Save<T> {
    /// Takes the next block.
    fn save(&mut self, before: &[T; LANES]);
}

/// Nowhere.
impl<T> Save<T> for () {
    #[inline(always)]
    fn save(&mut self, _before: &[T; LANES]) {}
}

/// Into a copy; the last block with its padding.
impl<T: Real> Save<T> for core::slice::IterMut<'_, [T; LANES]> {
    #[inline(always)]
    fn save(&mut self, before: &[T; LANES]) {
        if let Some(block) = self.next() {
            *block = *before;
        }
    }
}

/// What the loop over blocks holds.
struct Blocks<T: Real, B, S, O: Observer<T>, C, const M: usize> {
    copy: C,
    base: B,
    shrink: S,
    observer: O,
    lanes: O::Lanes,
    lead: usize,
    stopped: u64,
}

impl<T, B, S, O, C, const M: usize> Blocks<T, B, S, O, C, M>
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    O: Observer<T>,
    C: Save<T>,
{
    /// One block, in place; what its correction stopped is counted.
    #[inline(always)]
    fn step(&mut self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; M]) {
        let before = *theta;
        self.copy.save(&before);
        self.base.block(theta, grad, moments);
        self.stopped += u64::from(self.shrink.block(&before, theta));
    }

    /// One block of the streams; `stored` are its M moments.
    #[inline(always)]
    fn run(&mut self, theta: &mut [T; LANES], grad: &[T; LANES], stored: &mut [&mut [T; LANES]]) {
        if const { M == 0 } {
            // So short a body LLVM takes for several blocks at once, gathers what belongs together and scatters it:
            // three times the instructions.
            core::hint::black_box(&*theta);
        }
        dispatch::prefetch_beyond(theta, self.lead);
        dispatch::prefetch_beyond(grad, self.lead);
        let mut local = [[T::ZERO; LANES]; M];
        for (local, stored) in local.iter_mut().zip(&*stored) {
            if const { !B::FINISHES } {
                dispatch::prefetch_beyond(*stored, self.lead);
            }
            *local = **stored;
        }
        let mut block = *theta;
        self.step(&mut block, grad, &mut local);
        *theta = block;
        self.observer.add::<true>(&mut self.lanes, &block, LANES);
        for (local, stored) in local.iter().zip(stored) {
            **stored = *local;
        }
    }
}

impl<T, B, S, O, C, const M: usize> Kernel for Step<'_, T, B, S, O, C, M>
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    O: Observer<T>,
    C: Save<T>,
{
    type Output = (u64, O::Lanes);

    #[inline(always)]
    fn run(self) -> (u64, O::Lanes) {
        let Self { copy, base, shrink, observer, lanes, shard } = self;
        let Shard { theta, grad, moments } = shard;
        let lead = dispatch::where_it_gains(dispatch::half_page::<T>());
        let mut blocks = Blocks { copy, base, shrink, observer, lanes, lead, stopped: 0 };

        let (thetas, theta_tail) = theta.as_chunks_mut::<LANES>();
        let (grads, grad_tail) = grad.as_chunks::<LANES>();
        let mut moment_tails: [&mut [T]; M] = core::array::from_fn(|_| Default::default());
        let mut tails = moment_tails.iter_mut();
        let mut rows = moments.map(|moment| {
            let (blocks, tail) = moment.as_chunks_mut::<LANES>();
            if let Some(slot) = tails.next() {
                *slot = tail;
            }
            blocks
        });

        // Zipped, slices are known to have one length: the loop has one counter and tests no slice of its own. By `for`, for
        // what `for_each` calls is compiled without the instruction set of this level.
        let both = thetas.iter_mut().zip(grads);
        match rows.as_mut_slice() {
            [] => {
                for (theta, grad) in both {
                    blocks.run(theta, grad, &mut []);
                }
            }
            [m] => {
                for ((theta, grad), m) in both.zip(&mut **m) {
                    blocks.run(theta, grad, &mut [m]);
                }
            }
            [m, v] => {
                for (((theta, grad), m), v) in both.zip(&mut **m).zip(&mut **v) {
                    blocks.run(theta, grad, &mut [m, v]);
                }
            }
            [m, v, top] => {
                for ((((theta, grad), m), v), top) in
                    both.zip(&mut **m).zip(&mut **v).zip(&mut **top)
                {
                    blocks.run(theta, grad, &mut [m, v, top]);
                }
            }
            // No rule of this crate has as many; each row is asked for its block.
            rows => {
                for (i, (theta, grad)) in both.enumerate() {
                    let mut stored = heapless::Vec::<_, M>::new();
                    for block in rows.iter_mut().filter_map(|row| row.get_mut(i)) {
                        // There is room for as many as there are rows.
                        let _full = stored.push(block);
                    }
                    blocks.run(theta, grad, &mut stored);
                }
            }
        }

        if !theta_tail.is_empty() {
            let mut block = padded(theta_tail);
            let grad = padded(grad_tail);
            let mut local = moment_tails.each_ref().map(|tail| padded(tail));
            // A padding element is 0 with gradient 0: no correction carries it through zero.
            blocks.step(&mut block, &grad, &mut local);
            unpad(&block, theta_tail);
            blocks.observer.add::<true>(&mut blocks.lanes, &block, theta_tail.len());
            for (local, tail) in local.iter().zip(moment_tails) {
                unpad(local, tail);
            }
        }
        (blocks.stopped, blocks.lanes)
    }
}

#[inline(always)]
fn unpad<T: Real>(block: &[T; LANES], tail: &mut [T]) {
    for (slot, &value) in tail.iter_mut().zip(block) {
        *slot = value;
    }
}
