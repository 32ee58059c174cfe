//! The loops of phase 1 over one chunk, and of phase 4 over a slice, written once for every rule.

use crate::{
    base::BaseRule,
    dispatch::{self, Kernel, Level},
    observer::{Observer, STRIP, Unobserved, padded},
    power::PART,
    real::Real,
    reduce::LANES,
    shard::Shard,
    shrink::{Shrink, Unmoved},
    statistic::{Observed, Statistic},
    streams::{self, LEAD},
};

/// Elements of a strip where the base step alone comes before the measure: what both read stays in the first cache.
const WIDE_STRIP: usize = 2 * STRIP;

/// The base step, block by block, with a correction that is short enough to go along, and the measure of what is written
/// where the registers hold its sums too.
struct Step<'a, T: Real, B, S, O: Observer<T>, const M: usize, const FUSE: bool> {
    base: B,
    shrink: S,
    observer: O,
    lanes: O::Lanes,
    shard: Shard<'a, T, M>,
}

impl<'a, T: Real, B, S, const M: usize> Step<'a, T, B, S, Unobserved, M, false> {
    /// Without a measure.
    const fn alone(base: B, shrink: S, shard: Shard<'a, T, M>) -> Self {
        Self { base, shrink, observer: Unobserved, lanes: (), shard }
    }
}

/// What the loop over blocks holds.
struct Blocks<T: Real, B, S, O: Observer<T>, const M: usize, const FUSE: bool> {
    base: B,
    shrink: S,
    observer: O,
    lanes: O::Lanes,
    lead: usize,
    stopped: u64,
}

impl<T, B, S, O, const M: usize, const FUSE: bool> Blocks<T, B, S, O, M, FUSE>
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    O: Observer<T>,
{
    /// One block of `count` elements, in place.
    #[inline(always)]
    fn step(&mut self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; M]) {
        let before = *theta;
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
        self.observer.add::<FUSE>(&mut self.lanes, &block, LANES);
        for (local, stored) in local.iter().zip(stored) {
            **stored = *local;
        }
    }
}

impl<T, B, S, O, const M: usize, const FUSE: bool> Kernel for Step<'_, T, B, S, O, M, FUSE>
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    O: Observer<T>,
{
    type Output = (u64, O::Lanes);

    #[inline(always)]
    fn run(self) -> (u64, O::Lanes) {
        let Self { base, shrink, observer, lanes, shard } = self;
        let Shard { theta, grad, moments } = shard;
        let lead = dispatch::where_it_gains(dispatch::half_page::<T>());
        let mut blocks =
            Blocks::<_, _, _, _, M, FUSE> { base, shrink, observer, lanes, lead, stopped: 0 };

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
            _ => {}
        }

        if !theta_tail.is_empty() {
            let mut block = padded(theta_tail);
            let grad = padded(grad_tail);
            let mut local = moment_tails.each_ref().map(|tail| padded(tail));
            // A padding element is 0 with gradient 0: no correction carries it through zero.
            blocks.step(&mut block, &grad, &mut local);
            unpad(&block, theta_tail);
            blocks.observer.add::<FUSE>(&mut blocks.lanes, &block, theta_tail.len());
            for (local, tail) in local.iter().zip(moment_tails) {
                unpad(local, tail);
            }
        }
        (blocks.stopped, blocks.lanes)
    }
}

/// Runs phase 1 on one chunk.
#[inline]
pub(crate) fn first_pass<T, B, S, O, const M: usize>(
    base: B,
    shrink: S,
    observer: O,
    shard: Shard<'_, T, M>,
) -> Observed
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    O: Observer<T>,
{
    first_pass_at(Level::current(), (base, shrink, observer), shard)
}

/// Runs phase 1 at one level: strip by strip, a kernel for the base step, one for each longer rule, one for the measure.
///
/// What one kernel has written the next finds in the first cache. In one loop the rules would run out of registers, as
/// would a compiler out of patience with a loop for each combination of them. Only the 32 registers of AVX-512 hold a
/// base step and the lanes of a sum at once: there the sum goes along, in the shadow of the step's divisions.
fn first_pass_at<T, B, S, O, const M: usize>(
    level: Level,
    (base, shrink, observer): (B, S, O),
    shard: Shard<'_, T, M>,
) -> Observed
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    O: Observer<T>,
{
    let count = shard.theta.len() as u64;
    let level = level.min(Level::current());
    let mut lanes = observer.begin();
    let mut stopped = 0;
    if const { B::FINISHES || S::STRIPWISE } {
        let mut copy = [T::ZERO; STRIP];
        for mut strip in shard.cut::<STRIP>() {
            stopped += long_step(level, (base, shrink), &mut copy, strip.reborrow());
            lanes = add(level, observer, lanes, strip.theta);
        }
    } else if !O::OBSERVES || (O::FEW_LANES && level == Level::Avx512) {
        // Where nothing is observed there is nothing to fuse.
        let step = Step::<_, _, _, _, M, true> { base, shrink, observer, lanes, shard };
        (stopped, lanes) = dispatch::run_at(level, step);
    } else {
        for mut strip in shard.cut::<WIDE_STRIP>() {
            let step = Step::alone(base, shrink, strip.reborrow());
            stopped += dispatch::run_at(level, step).0;
            lanes = add(level, observer, lanes, strip.theta);
        }
    }
    Observed { statistic: observer.fold(lanes, count), stopped }
}

/// The base step of a strip, what finishes it, and its correction, one after the other.
fn long_step<T, B, S, const M: usize>(
    level: Level,
    (base, shrink): (B, S),
    copy: &mut [T; STRIP],
    shard: Shard<'_, T, M>,
) -> u64
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
{
    let Shard { theta, grad, moments } = shard;
    let Some(before) = copy.get_mut(..theta.len()) else { return 0 };
    dispatch::run_at(level, Copied { from: &*theta, to: &mut *before });
    let mut shard = Shard { theta: &mut *theta, grad, moments };
    dispatch::run_at(level, Step::alone(base, Unmoved, shard.reborrow()));
    if const { B::FINISHES } {
        let moments = shard.moments;
        dispatch::run_at(level, Finish { base, before, theta: shard.theta, moments });
    }
    dispatch::run_at(level, CorrectFrom { shrink, before, theta })
}

/// A copy of a strip, in blocks: of a plain loop LLVM makes a call, which takes more instructions.
struct Copied<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Real> Kernel for Copied<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let ((blocks, tail), (to_blocks, to_tail)) =
            (self.from.as_chunks::<LANES>(), self.to.as_chunks_mut::<LANES>());
        for (to, block) in to_blocks.iter_mut().zip(blocks) {
            *to = *block;
        }
        for (to, &element) in to_tail.iter_mut().zip(tail) {
            *to = element;
        }
    }
}

/// What follows the blocks of a base step; part by part, while the moments of the next strip come.
///
/// Arithmetic and memory take turns otherwise: no load is in flight while a strip is worked on.
struct Finish<'a, T, B, const M: usize> {
    base: B,
    before: &'a [T],
    theta: &'a mut [T],
    moments: [&'a mut [T]; M],
}

impl<T: Real, B: BaseRule<T, M>, const M: usize> Kernel for Finish<'_, T, B, M> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { base, mut before, mut theta, mut moments } = self;
        let lead = dispatch::where_it_gains(STRIP);
        // Cut as `Parts` does, not by `chunks`, in which a panic may stay.
        loop {
            let length = theta.len().min(PART);
            if length == 0 {
                return;
            }
            for part in moments.iter_mut().filter_map(|moment| moment.split_off_mut(..length)) {
                dispatch::prefetch_beyond(part, lead);
            }
            match (before.split_off(..length), theta.split_off_mut(..length)) {
                (Some(before), Some(theta)) => base.finish(before, theta),
                _ => return,
            }
        }
    }
}

/// The correction of a strip.
struct CorrectFrom<'a, T, S> {
    shrink: S,
    before: &'a [T],
    theta: &'a mut [T],
}

impl<T: Real, S: Shrink<T>> Kernel for CorrectFrom<'_, T, S> {
    type Output = u64;

    #[inline(always)]
    fn run(self) -> u64 {
        self.shrink.strip(self.before, self.theta)
    }
}

/// Adds the measure of a strip.
#[inline]
fn add<T: Real, O: Observer<T>>(
    level: Level,
    observer: O,
    lanes: O::Lanes,
    theta: &[T],
) -> O::Lanes {
    if level.fuses() {
        dispatch::run_at(level, Add::<_, _, true> { observer, lanes, theta })
    } else {
        dispatch::run_at(level, Add::<_, _, false> { observer, lanes, theta })
    }
}

/// The measure of a strip, added.
struct Add<'a, T, O: Observer<T>, const FUSE: bool>
where
    T: Real,
{
    observer: O,
    lanes: O::Lanes,
    theta: &'a [T],
}

impl<T: Real, O: Observer<T>, const FUSE: bool> Kernel for Add<'_, T, O, FUSE> {
    type Output = O::Lanes;

    #[inline(always)]
    fn run(self) -> O::Lanes {
        let mut lanes = self.lanes;
        for strip in self.theta.chunks(STRIP) {
            self.observer.add_strip::<FUSE>(&mut lanes, strip);
        }
        lanes
    }
}

/// The base step alone, on one chunk.
#[inline]
pub(crate) fn base_pass<T: Real, B: BaseRule<T, M>, const M: usize>(
    base: B,
    shard: Shard<'_, T, M>,
) {
    first_pass(base, Unmoved, Unobserved, shard);
}

/// Measures one chunk and changes nothing.
struct Measure<'a, T, O> {
    observer: O,
    theta: &'a [T],
}

impl<T: Real, O: Observer<T>> Kernel for Measure<'_, T, O> {
    type Output = Statistic;

    #[inline(always)]
    fn run(self) -> Statistic {
        let mut lanes = self.observer.begin();
        for strip in self.theta.chunks(STRIP) {
            self.observer.add_strip::<false>(&mut lanes, strip);
        }
        self.observer.fold(lanes, self.theta.len() as u64)
    }
}

/// Measures one chunk.
#[inline]
pub(crate) fn measure<T: Real, O: Observer<T>>(observer: O, theta: &[T]) -> Statistic {
    dispatch::run(Measure { observer, theta })
}

/// Phase 4 on a slice of any length.
struct Correct<'a, T, S> {
    shrink: S,
    theta: &'a mut [T],
}

impl<T: Real, S: Shrink<T>> Kernel for Correct<'_, T, S> {
    type Output = u64;

    #[inline(always)]
    fn run(self) -> u64 {
        let Self { shrink, mut theta } = self;
        let lead = dispatch::where_it_gains(LEAD);
        let mut stopped = 0;
        let mut streams = streams::cut_mut(&mut theta, S::TURN);
        for _ in 0..streams[0].len() / S::TURN {
            for stream in &mut streams {
                let Some(part) = stream.split_off_mut(..S::TURN) else { continue };
                dispatch::prefetch_beyond(part, lead);
                stopped += shrink.slice(part);
            }
        }
        stopped + shrink.slice(theta)
    }
}

/// Corrects a slice; returns the number of elements that the guard stopped at zero.
#[inline]
pub(crate) fn correct<T: Real, S: Shrink<T>>(shrink: S, theta: &mut [T]) -> u64 {
    dispatch::run(Correct { shrink, theta })
}

#[inline(always)]
fn unpad<T: Real>(block: &[T; LANES], tail: &mut [T]) {
    for (slot, &value) in tail.iter_mut().zip(block) {
        *slot = value;
    }
}

#[cfg(test)]
mod tests;
