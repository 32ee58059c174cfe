//! The loops of phase 1 over one chunk, and of phase 4 over a slice, written once for every rule.

mod decay;
mod step;

use decay::{Decaying, Room};
use step::{Behind, Step};

use crate::{
    base::{BaseRule, DecayStep},
    dispatch::{self, Kernel, Level},
    observer::{Observer, STRIP, Unobserved},
    power::PART,
    real::Real,
    reduce::LANES,
    shard::Shard,
    shrink::{Shrink, Shrunk, Unmoved},
    statistic::{Observed, Statistic},
    streams::{self, LEAD},
};

/// Elements of a strip where the base step alone comes before the measure: what both read stays in the first cache.
const WIDE_STRIP: usize = 2 * STRIP;

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
/// base step and the lanes of a short measure at once: there the measure goes along, in the shadow of the step's divisions, or
/// the decay of a p-norm ([`Decaying`]).
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
    let mut stopped = 0;
    let mut lanes = observer.begin();
    if let Some(rule) = taken_along::<_, _, S, O, M>(level, &base) {
        let mut room = Room::new();
        let beside = Decaying::new(rule, &mut room);
        (stopped, ()) = dispatch::run_at(level, Step { beside, base, shrink, shard });
    } else if const { B::FINISHES || S::STRIPWISE } {
        let mut copy = [[T::ZERO; LANES]; STRIP / LANES];
        for (number, mut strip) in shard.cut::<STRIP>().enumerate() {
            stopped += long_step(level, (base, shrink), &mut copy, strip.reborrow());
            if number == 0 {
                observer.set_origin(&mut lanes, strip.theta);
            }
            lanes = add(level, observer, lanes, strip.theta);
        }
    } else if !O::OBSERVES {
        (stopped, ()) = dispatch::run_at(level, Step { beside: (), base, shrink, shard });
    } else if O::GOES_ALONG && level == Level::Avx512 {
        let beside = Behind::new(observer);
        (stopped, lanes) = dispatch::run_at(level, Step { beside, base, shrink, shard });
    } else {
        for (number, mut strip) in shard.cut::<WIDE_STRIP>().enumerate() {
            let step = Step { beside: (), base, shrink, shard: strip.reborrow() };
            stopped += dispatch::run_at(level, step).0;
            if number == 0 {
                observer.set_origin(&mut lanes, strip.theta);
            }
            lanes = add(level, observer, lanes, strip.theta);
        }
    }
    Observed { statistic: observer.fold(lanes, count), stopped }
}

/// The decay that goes along with the base step where the registers suffice, and nothing comes after it.
fn taken_along<T, B, S, O, const M: usize>(level: Level, base: &B) -> Option<Shrunk<T>>
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    O: Observer<T>,
{
    if const { !B::FINISHES || !S::IDENTITY || O::OBSERVES } || level < Level::Avx512 {
        return None;
    }
    base.decay().and_then(DecayStep::as_shrunk)
}

/// The base step of a strip, what finishes it, and its correction, one after the other.
fn long_step<T, B, S, const M: usize>(
    level: Level,
    (base, shrink): (B, S),
    copy: &mut [[T; LANES]; STRIP / LANES],
    mut shard: Shard<'_, T, M>,
) -> u64
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
{
    let beside = copy.iter_mut();
    dispatch::run_at(level, Step { beside, base, shrink: Unmoved, shard: shard.reborrow() });
    let Shard { theta, moments, .. } = shard;
    let Some(before) = copy.as_flattened().get(..theta.len()) else { return 0 };
    if const { B::FINISHES } {
        dispatch::run_at(level, Finish { base, before, theta: &mut *theta, moments });
    }
    dispatch::run_at(level, CorrectFrom { shrink, before, theta })
}

/// What follows the blocks of a base step; where it asks ahead part by part, while the moments of the next strip come.
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
        // A rule over the whole strip begins once; where it asks ahead, part by part.
        let turn = if lead > 0 { PART } else { STRIP };
        // Cut as `Parts` does, not by `chunks`, in which a panic may stay.
        loop {
            let length = theta.len().min(turn);
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
struct Measure<'a, T, O, const FUSE: bool> {
    observer: O,
    theta: &'a [T],
}

impl<T: Real, O: Observer<T>, const FUSE: bool> Kernel for Measure<'_, T, O, FUSE> {
    type Output = Statistic;

    #[inline(always)]
    fn run(self) -> Statistic {
        let mut lanes = self.observer.begin();
        self.observer.set_origin(&mut lanes, self.theta);
        for strip in self.theta.chunks(STRIP) {
            self.observer.add_strip::<FUSE>(&mut lanes, strip);
        }
        self.observer.fold(lanes, self.theta.len() as u64)
    }
}

/// Measures one chunk.
#[inline]
pub(crate) fn measure<T: Real, O: Observer<T>>(observer: O, theta: &[T]) -> Statistic {
    let level = Level::current();
    if level.fuses() {
        dispatch::run_at(level, Measure::<_, _, true> { observer, theta })
    } else {
        dispatch::run_at(level, Measure::<_, _, false> { observer, theta })
    }
}

/// Phase 4 on a slice of any length: in turns among its streams, or from its end, where what phase 1 touched last still lies in
/// the cache. Firmware, whose memory is all alike, has one plain loop.
struct Correct<'a, T, S> {
    shrink: S,
    theta: &'a mut [T],
    streams: bool,
}

impl<T: Real, S: Shrink<T>> Kernel for Correct<'_, T, S> {
    type Output = u64;

    #[inline(always)]
    fn run(self) -> u64 {
        let Self { shrink, mut theta, streams } = self;
        let mut stopped = 0;
        if streams {
            let mut streams = streams::cut_mut(&mut theta, S::TURN);
            for _ in 0..streams[0].len() / S::TURN {
                for stream in &mut streams {
                    let Some(part) = stream.split_off_mut(..S::TURN) else { continue };
                    dispatch::prefetch_beyond(part, LEAD);
                    stopped += shrink.slice(part);
                }
            }
        } else if cfg!(feature = "std") {
            while let Some(start) = theta.len().checked_sub(S::TURN)
                && let Some(part) = theta.split_off_mut(start..)
            {
                stopped += shrink.slice(part);
            }
        }
        stopped + shrink.slice(theta)
    }
}

/// Corrects a slice; returns the number of elements that the guard stopped at zero.
#[inline]
pub(crate) fn correct<T: Real, S: Shrink<T>>(shrink: S, theta: &mut [T]) -> u64 {
    dispatch::run(Correct { shrink, theta, streams: dispatch::is_intel() })
}

#[cfg(test)]
mod tests;
