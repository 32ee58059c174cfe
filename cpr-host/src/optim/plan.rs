//! The four phases of one step, wave by wave, whatever the base rules are.

use std::ops::Range;

use cpr_core::{
    AnyRegularizer, FirstPass, Merge, Observed, Pairwise, Real, Shard, Statistic,
    base::{AdaDecay, AmosStep, Base, BaseRule, ScaleDecay},
    base_step,
};

use super::{
    Group,
    passes::Chunk,
    shares::{self, Flat},
};
use crate::{pages::Buffer, parallel::Workers};

/// Bytes of parameters in one wave: phase 4 comes back to them after phase 1 has read four streams of that length.
const WAVE_BYTES: usize = 1 << 20;

/// Consecutive groups whose elements together reach the length of a wave; a group is never cut.
pub(super) fn waves<T>(groups: &[Group]) -> Vec<Range<usize>> {
    let limit = WAVE_BYTES / size_of::<T>();
    let mut waves = Vec::new();
    let (mut start, mut elements) = (0, 0);
    for (index, group) in groups.iter().enumerate() {
        elements += group.range.len();
        if elements >= limit {
            waves.push(start..index + 1);
            (start, elements) = (index + 1, 0);
        }
    }
    if start < groups.len() {
        waves.push(start..groups.len());
    }
    waves
}

/// What the waves of one step share.
pub(super) struct Plan<'a> {
    pub(super) chunks: &'a [Chunk],
    pub(super) waves: &'a [Range<usize>],
    pub(super) workers: &'a Workers,
    pub(super) t: u64,
    pub(super) lr: f64,
}

/// The buffers that a step changes.
pub(super) struct Buffers<'a, T, const M: usize> {
    pub(super) groups: &'a mut [Group],
    pub(super) observed: &'a mut [Observed],
    pub(super) steppers: &'a mut [usize],
    pub(super) theta: &'a mut [T],
    pub(super) grads: &'a [T],
    pub(super) moments: &'a mut [Buffer<T>; M],
}

/// How the regularized parameters decay in the step at hand.
#[derive(Clone, Copy)]
pub(super) enum Decaying<'a> {
    /// As their base says, times this factor.
    Scaled(f64),
    /// Element by element, by the magnitudes of each parameter's gradients.
    Elements(AdaDecay, &'a [Statistic]),
}

/// Phase 1 of one chunk of one group.
trait Steps<T: Real, const M: usize>: Sync {
    fn run(&self, index: usize, group: &Group, shard: Shard<'_, T, M>) -> Observed;
}

/// Steps that depend on whether a group is regularized, under its constraint if it has one.
struct Bases<A, B> {
    own: A,
    free: B,
}

impl<T, A, B, const M: usize> Steps<T, M> for Bases<A, B>
where
    T: Real,
    A: BaseRule<T, M> + Sync,
    B: BaseRule<T, M> + Sync,
{
    fn run(&self, _: usize, group: &Group, shard: Shard<'_, T, M>) -> Observed {
        match &group.first {
            Some(first) => return first.run(&self.own, shard),
            None if group.regularized => base_step(&self.own, shard),
            None => base_step(&self.free, shard),
        }
        Observed::NEUTRAL
    }
}

/// A decay for each element before the steps of regularized groups; no constraint stands beside it.
struct ElementDecay<'a, A, B> {
    rule: AdaDecay,
    lr: f64,
    magnitudes: &'a [Statistic],
    bases: Bases<A, B>,
}

impl<T, A, B, const M: usize> Steps<T, M> for ElementDecay<'_, A, B>
where
    T: Real,
    A: BaseRule<T, M> + Sync,
    B: BaseRule<T, M> + Sync,
{
    fn run(&self, index: usize, group: &Group, shard: Shard<'_, T, M>) -> Observed {
        if group.regularized {
            let seen = &self.magnitudes[index];
            base_step(&self.rule.before(self.bases.own, self.lr, seen), shard);
        } else {
            base_step(&self.bases.free, shard);
        }
        Observed::NEUTRAL
    }
}

/// A step of its own for each group; no constraint stands beside it.
struct Own<'a, T>(&'a [AmosStep<T>]);

impl<T: Real, const M: usize> Steps<T, M> for Own<'_, T>
where
    AmosStep<T>: BaseRule<T, M>,
{
    fn run(&self, index: usize, _: &Group, shard: Shard<'_, T, M>) -> Observed {
        base_step(&self.0[index], shard);
        Observed::NEUTRAL
    }
}

impl Plan<'_> {
    /// A step of these bases, of regularized and of free parameters.
    pub(super) fn bases<T, A, B, const M: usize>(
        &self,
        (own, free): (&A, &B),
        decaying: Decaying<'_>,
        buffers: Buffers<'_, T, M>,
    ) where
        T: Real,
        A: Base<T, M, Step: Sync> + ScaleDecay,
        B: Base<T, M, Step: Sync>,
    {
        let Self { t, lr, .. } = *self;
        let free = free.at(t, lr);
        match decaying {
            Decaying::Scaled(factor) => {
                self.run(&Bases { own: own.scale_decay(factor).at(t, lr), free }, buffers);
            }
            Decaying::Elements(rule, magnitudes) => {
                let bases = Bases { own: own.at(t, lr), free };
                self.run(&ElementDecay { rule, lr, magnitudes, bases }, buffers);
            }
        }
    }

    /// A step of Amos, whose scalars are made.
    pub(super) fn amos<T: Real, const M: usize>(
        &self,
        steps: &[AmosStep<T>],
        buffers: Buffers<'_, T, M>,
    ) where
        AmosStep<T>: BaseRule<T, M>,
    {
        self.run(&Own(steps), buffers);
    }

    /// The four phases, wave by wave.
    fn run<T: Real, const M: usize>(&self, steps: &impl Steps<T, M>, buffers: Buffers<'_, T, M>) {
        let Self { chunks, waves, workers, lr, .. } = *self;
        let Buffers { groups, observed, steppers, theta, grads, moments } = buffers;
        for wave in waves {
            let wave = &mut groups[wave.clone()];
            for group in wave.iter_mut() {
                group.first = group.constraint.as_mut().map(|constraint| constraint.begin(lr));
            }
            let (Some(head), Some(last)) = (wave.first(), wave.last()) else { continue };
            let first_group = chunks[head.chunks.start].group;
            let elements = head.range.start..last.range.end;
            let within = head.chunks.start..last.chunks.end;

            // 1: step and observe.
            let flat = Flat {
                theta: &mut theta[elements.clone()],
                grads: &grads[elements.clone()],
                moments: moments.each_mut().map(|moment| &mut moment[elements.clone()]),
            };
            let chunk_list = &chunks[within.clone()];
            let observed = &mut observed[within.clone()];
            let steppers = &mut steppers[within.clone()];
            let places = (&mut *observed, &mut *steppers);
            shares::first(workers, chunk_list, flat, places, &|chunk, shard| {
                steps.run(chunk.group, &wave[chunk.group - first_group], shard)
            });

            // 2 and 3: merge in the order of the chunks, update.
            let mut corrects = false;
            for group in wave.iter_mut() {
                let Some(constraint) = &mut group.constraint else { continue };
                let mut whole = Pairwise::new();
                let own = group.chunks.start - within.start..group.chunks.end - within.start;
                whole.extend(observed[own].iter().copied());
                group.correction = constraint.update(&whole.finish(), lr);
                corrects |= !group.correction.is_identity();
            }

            // 4: correct, where there is anything to correct.
            if corrects {
                let theta = &mut theta[elements];
                shares::correct(workers, steppers, chunk_list, theta, observed, &|group, theta| {
                    wave[group - first_group].correction.apply(theta)
                });
                for group in wave.iter_mut() {
                    let Some(constraint) = &mut group.constraint else { continue };
                    let own = group.chunks.start - within.start..group.chunks.end - within.start;
                    constraint.count_stopped(observed[own].iter().map(|o| o.stopped).sum());
                }
            }
        }
    }
}

/// Phase 1 of a constraint.
pub(super) type First = FirstPass<AnyRegularizer>;
