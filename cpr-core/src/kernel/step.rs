//! The loop of a base step over the streams of one chunk.

use core::cell::Cell;

use crate::{
    base::BaseRule,
    dispatch::{self, Kernel},
    observer::{Observer, padded},
    real::Real,
    reduce::LANES,
    shard::Shard,
    shrink::Shrink,
};

/// The base step, block by block, with a correction that is short enough to go along, and what goes beside it.
pub(super) struct Step<'a, T, B, S, C, const M: usize> {
    pub(super) beside: C,
    pub(super) base: B,
    pub(super) shrink: S,
    pub(super) shard: Shard<'a, T, M>,
}

impl<T, B, S, C, const M: usize> Kernel for Step<'_, T, B, S, C, M>
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    C: Beside<T>,
{
    type Output = (u64, C::Output);

    #[inline(always)]
    fn run(self) -> (u64, C::Output) {
        let Self { mut beside, base, shrink, shard } = self;
        let Shard { theta, grad, moments } = shard;
        let shard = Shard { theta: &mut *theta, grad, moments };
        let stopped = walk(&mut beside, (base, shrink), shard);
        (stopped, beside.finish(theta))
    }
}

/// How many blocks the measure is behind the step, at least 1: by then no store of theirs is under way. 16 are no better.
pub(super) const LAG: usize = 8;

/// The blocks of θ in a loop that steps one of them and reads others.
pub(super) type Thetas<'a, T> = &'a [Cell<[T; LANES]>];

/// What goes along with a block in the loop of a base step: in Adam's, which waits for divisions, it costs next to no time.
pub(super) trait Beside<T> {
    /// What it gives back.
    type Output;

    /// Whether it does what would follow the blocks of the base step, strip by strip.
    const FINISHES: bool = false;

    /// For the next block, with θ `before` its step: that at a place of the blocks of θ, or the padded tail, which has none.
    fn block(&mut self, before: &[T; LANES], place: Option<(Thetas<'_, T>, usize)>);

    /// After the last block, with θ as it was written.
    fn finish(self, theta: &mut [T]) -> Self::Output;
}

/// Nothing.
impl<T> Beside<T> for () {
    type Output = ();

    #[inline(always)]
    fn block(&mut self, _: &[T; LANES], _: Option<(Thetas<'_, T>, usize)>) {}

    #[inline(always)]
    fn finish(self, _: &mut [T]) {}
}

/// A copy of θ; the last block with its padding.
impl<T: Real> Beside<T> for core::slice::IterMut<'_, [T; LANES]> {
    type Output = ();

    #[inline(always)]
    fn block(&mut self, before: &[T; LANES], _: Option<(Thetas<'_, T>, usize)>) {
        if let Some(block) = self.next() {
            *block = *before;
        }
    }

    #[inline(always)]
    fn finish(self, _: &mut [T]) {}
}

/// The measure of what the step writes, [`LAG`] blocks behind it; added fused, for a level that fuses.
///
/// A block's measure is then a load and two operations that wait for nothing. Of the block just stepped it would wait for
/// the step's root and division, in queues that then hold fewer blocks under way: in the cache of an AMD Zen 4 a step with
/// the sum of squares took 1.17 of one without, and takes 1.04 so.
pub(super) struct Behind<T: Real, O: Observer<T>> {
    observer: O,
    lanes: O::Lanes,
}

impl<T: Real, O: Observer<T>> Behind<T, O> {
    pub(super) fn new(observer: O) -> Self {
        Self { observer, lanes: observer.begin() }
    }
}

impl<T: Real, O: Observer<T>> Beside<T> for Behind<T, O> {
    type Output = O::Lanes;

    #[inline(always)]
    fn block(&mut self, _: &[T; LANES], place: Option<(Thetas<'_, T>, usize)>) {
        let Some((thetas, place)) = place else { return };
        if let Some(block) = thetas.get(place.wrapping_sub(LAG)) {
            let block = block.get();
            if place == LAG {
                core::hint::cold_path();
                self.observer.set_origin(&mut self.lanes, &block);
            }
            self.observer.add::<true>(&mut self.lanes, &block, LANES);
        }
    }

    /// Adds the last blocks and the tail, which no block came after.
    #[inline(always)]
    fn finish(self, theta: &mut [T]) -> O::Lanes {
        let Self { observer, mut lanes } = self;
        let measured = (theta.len() / LANES).saturating_sub(LAG);
        if measured == 0 {
            observer.set_origin(&mut lanes, theta);
        }
        observer.add_strip::<true>(&mut lanes, theta.get(measured * LANES..).unwrap_or_default());
        lanes
    }
}

/// What the loop over blocks holds.
struct Blocks<'a, B, S, C> {
    beside: &'a mut C,
    base: B,
    shrink: S,
    lead: usize,
    stopped: u64,
}

impl<B, S, C> Blocks<'_, B, S, C> {
    /// One block, in place; what its correction stopped is counted.
    #[inline(always)]
    fn step<T, const M: usize>(
        &mut self,
        place: Option<(Thetas<'_, T>, usize)>,
        theta: &mut [T; LANES],
        grad: &[T; LANES],
        moments: &mut [[T; LANES]; M],
    ) where
        T: Real,
        B: BaseRule<T, M>,
        S: Shrink<T>,
        C: Beside<T>,
    {
        let before = *theta;
        self.beside.block(&before, place);
        self.base.block(theta, grad, moments);
        self.stopped += u64::from(self.shrink.block(&before, theta));
    }

    /// One block of the streams; `stored` are its M moments.
    #[inline(always)]
    fn run<T, const M: usize>(
        &mut self,
        place: (Thetas<'_, T>, usize),
        theta: &Cell<[T; LANES]>,
        grad: &[T; LANES],
        stored: &mut [&mut [T; LANES]],
    ) where
        T: Real,
        B: BaseRule<T, M>,
        S: Shrink<T>,
        C: Beside<T>,
    {
        if const { M == 0 } {
            // So short a body LLVM takes for several blocks at once, gathers what belongs together and scatters it:
            // three times the instructions.
            core::hint::black_box(theta);
        }
        dispatch::prefetch_beyond(theta.as_array_of_cells(), self.lead);
        dispatch::prefetch_beyond(grad, self.lead);
        let mut local = [[T::ZERO; LANES]; M];
        for (local, stored) in local.iter_mut().zip(&*stored) {
            // What follows a strip asks ahead for the moments of the next.
            if const { !B::FINISHES || C::FINISHES } {
                dispatch::prefetch_beyond(*stored, self.lead);
            }
            *local = **stored;
        }
        let mut block = theta.get();
        self.step(Some(place), &mut block, grad, &mut local);
        theta.set(block);
        for (local, stored) in local.iter().zip(stored) {
            **stored = *local;
        }
    }
}

/// The loop over the blocks of a shard; the number of elements stopped.
#[inline(always)]
fn walk<T, B, S, C, const M: usize>(
    beside: &mut C,
    (base, shrink): (B, S),
    shard: Shard<'_, T, M>,
) -> u64
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    C: Beside<T>,
{
    let Shard { theta, grad, moments } = shard;
    let lead = dispatch::where_it_gains(dispatch::half_page::<T>());
    let mut blocks = Blocks { beside, base, shrink, lead, stopped: 0 };

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
    let thetas = Cell::from_mut(thetas).as_slice_of_cells();
    let both = thetas.iter().enumerate().zip(grads);
    match rows.as_mut_slice() {
        [] => {
            for ((i, theta), grad) in both {
                blocks.run::<T, M>((thetas, i), theta, grad, &mut []);
            }
        }
        [m] => {
            for (((i, theta), grad), m) in both.zip(&mut **m) {
                blocks.run::<T, M>((thetas, i), theta, grad, &mut [m]);
            }
        }
        [m, v] => {
            for ((((i, theta), grad), m), v) in both.zip(&mut **m).zip(&mut **v) {
                blocks.run::<T, M>((thetas, i), theta, grad, &mut [m, v]);
            }
        }
        [m, v, top] => {
            for (((((i, theta), grad), m), v), top) in
                both.zip(&mut **m).zip(&mut **v).zip(&mut **top)
            {
                blocks.run::<T, M>((thetas, i), theta, grad, &mut [m, v, top]);
            }
        }
        // No rule of this crate has as many; each row is asked for its block.
        rows => {
            for ((i, theta), grad) in both {
                let mut stored = heapless::Vec::<_, M>::new();
                for block in rows.iter_mut().filter_map(|row| row.get_mut(i)) {
                    // There is room for as many as there are rows.
                    let _full = stored.push(block);
                }
                blocks.run::<T, M>((thetas, i), theta, grad, &mut stored);
            }
        }
    }

    if !theta_tail.is_empty() {
        let mut block = padded(theta_tail);
        let grad = padded(grad_tail);
        let mut local = moment_tails.each_ref().map(|tail| padded(tail));
        // A padding element is 0 with gradient 0: no correction carries it through zero.
        blocks.step(None, &mut block, &grad, &mut local);
        unpad(&block, theta_tail);
        for (local, tail) in local.iter().zip(moment_tails) {
            unpad(local, tail);
        }
    }
    blocks.stopped
}

#[inline(always)]
fn unpad<T: Real>(block: &[T; LANES], tail: &mut [T]) {
    for (slot, &value) in tail.iter_mut().zip(block) {
        *slot = value;
    }
}
