//! CPR over any base optimizer and a whole parameter set: the four phases, on threads.
//!
//! A step cuts the flat buffer into chunks (never across parameters), runs phase 1 on them in any order, merges what
//! they measured in the order of the chunks, updates each constraint, and corrects. Parameters are taken in *waves*
//! that fit into the cache, so that phase 4 finds θ there. Chunks and waves depend on the shapes alone: the bits of
//! a step do not depend on the number of threads.

mod passes;
mod spec;
mod state;

pub use spec::{BaseSpec, OptimizerSpec};
pub use state::{OptimizerState, StateError, constraint_of};

use std::ops::Range;

use cpr_core::{
    AnyRegularizer, CHUNK, Constraint, Correction, FirstPass, GroupError, Merge, Observed,
    Pairwise, Real, Report, base::Base,
};

use self::passes::{Chunk, Flat};
use crate::{
    parallel::Workers,
    param::{Grouping, ParamLayout},
};

/// Bytes of parameters in one wave: phase 4 comes back to them after phase 1 has read four streams of that length.
const WAVE_BYTES: usize = 1 << 20;

/// Why an optimizer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OptimError {
    /// A parameter cannot be under this constraint.
    #[error("parameter `{name}`: {source}")]
    Group {
        /// The parameter.
        name: String,
        /// Why.
        source: GroupError,
    },
    /// The bases of regularized and free parameters keep different moments.
    #[error(
        "the base optimizers of regularized and free parameters keep different moments: choose two of one kind"
    )]
    Bases,
    /// Parameters, gradients and layout differ in length.
    #[error("{given} values were given for a layout of {expected} parameters' elements")]
    Length {
        /// Number of values.
        given: usize,
        /// Number of elements of the layout.
        expected: usize,
    },
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every parameter was stepped.
    Stepped,
    /// The gradient of the parameter of this index is not finite: nothing was changed.
    Skipped {
        /// The first such parameter, in the order of the layout.
        parameter: usize,
    },
}

/// One parameter of the layout and its constraint.
#[derive(Clone, Debug)]
struct Group {
    name: String,
    range: Range<usize>,
    /// Its chunks, in the list of all chunks.
    chunks: Range<usize>,
    regularized: bool,
    constraint: Option<Constraint<AnyRegularizer>>,
    first: Option<FirstPass<AnyRegularizer>>,
    correction: Correction,
}

/// An optimizer over the parameters of one layout.
///
/// State is data: the moments (flat, in the order of the layout), t, and one constraint per regularized parameter.
#[derive(Debug)]
pub struct Optimizer<T> {
    spec: OptimizerSpec,
    engine: Engine<T>,
    groups: Vec<Group>,
    chunks: Vec<Chunk>,
    /// Ranges of groups that are stepped together.
    waves: Vec<Range<usize>>,
    observed: Vec<Observed>,
    t: u64,
    skipped: u64,
    check_finite: bool,
    /// The norm that global rescaling holds all parameters at.
    rescale_norm: Option<f64>,
    elements: usize,
}

/// The base rules with the moments that they keep.
#[derive(Debug)]
enum Engine<T> {
    Sgd([cpr_core::base::Sgd; 2], [Vec<T>; 0]),
    Momentum([cpr_core::base::Momentum; 2], [Vec<T>; 1]),
    Adam([cpr_core::base::Adam; 2], [Vec<T>; 2]),
    AmsGrad([cpr_core::base::AmsGrad; 2], [Vec<T>; 3]),
    Decayed(cpr_core::base::Decayed<cpr_core::base::Adam>, cpr_core::base::Adam, [Vec<T>; 2]),
}

impl<T: Real> Engine<T> {
    fn new(spec: &OptimizerSpec, elements: usize) -> Result<Self, OptimError> {
        fn zeros<T: Real, const M: usize>(elements: usize) -> [Vec<T>; M] {
            std::array::from_fn(|_| vec![T::ZERO; elements])
        }
        Ok(match (spec.regularized, spec.free) {
            (BaseSpec::Sgd(a), BaseSpec::Sgd(b)) => Self::Sgd([a, b], zeros(elements)),
            (BaseSpec::Momentum(a), BaseSpec::Momentum(b)) => {
                Self::Momentum([a, b], zeros(elements))
            }
            (BaseSpec::Adam(a), BaseSpec::Adam(b)) => Self::Adam([a, b], zeros(elements)),
            (BaseSpec::AmsGrad(a), BaseSpec::AmsGrad(b)) => Self::AmsGrad([a, b], zeros(elements)),
            (BaseSpec::DecayedAdam(a), BaseSpec::Adam(b)) => Self::Decayed(a, b, zeros(elements)),
            _ => return Err(OptimError::Bases),
        })
    }

    /// Names and values of the moments.
    fn moments(&self) -> Vec<(&'static str, &Vec<T>)> {
        match self {
            Self::Sgd(..) => Vec::new(),
            Self::Momentum(_, [buffer]) => vec![("momentum_buffer", buffer)],
            Self::Adam(_, [m, v]) | Self::Decayed(_, _, [m, v]) => {
                vec![("exp_avg", m), ("exp_avg_sq", v)]
            }
            Self::AmsGrad(_, [m, v, top]) => {
                vec![("exp_avg", m), ("exp_avg_sq", v), ("max_exp_avg_sq", top)]
            }
        }
    }

    fn moments_mut(&mut self) -> &mut [Vec<T>] {
        match self {
            Self::Sgd(_, moments) => moments,
            Self::Momentum(_, moments) => moments,
            Self::Adam(_, moments) | Self::Decayed(_, _, moments) => moments,
            Self::AmsGrad(_, moments) => moments,
        }
    }
}

impl<T: Real> Optimizer<T> {
    /// An optimizer for the parameters `theta` of this layout, as they are before the first step.
    ///
    /// `theta` is changed only by global rescaling, which scales it once here.
    ///
    /// # Errors
    /// [`OptimError::Group`] names the parameter whose constraint cannot be made.
    pub fn new(
        spec: OptimizerSpec,
        grouping: Grouping,
        layout: &ParamLayout,
        theta: &mut [T],
    ) -> Result<Self, OptimError> {
        let elements = layout.len();
        if theta.len() != elements {
            return Err(OptimError::Length { given: theta.len(), expected: elements });
        }
        let mut chunks = Vec::new();
        let mut groups = Vec::new();
        for (index, param) in layout.params().iter().enumerate() {
            let first = chunks.len();
            chunks.extend(param.range.clone().step_by(CHUNK).map(|start| Chunk {
                group: index,
                start,
                end: param.range.end.min(start + CHUNK),
            }));
            let regularized = grouping.decide(param.kind).regularized;
            let constraint =
                match spec.constraint {
                    Some(rule) if regularized => {
                        let started = rule.start_from(&theta[param.range.clone()]);
                        Some(started.map_err(|source| OptimError::Group {
                            name: param.name.clone(),
                            source,
                        })?)
                    }
                    _ => None,
                };
            groups.push(Group {
                name: param.name.clone(),
                range: param.range.clone(),
                chunks: first..chunks.len(),
                regularized,
                constraint,
                first: None,
                correction: Correction::Identity,
            });
        }
        let engine = Engine::new(&spec, elements)?;
        let observed = vec![Observed::NEUTRAL; chunks.len()];
        let waves = waves(&groups, WAVE_BYTES / size_of::<T>());
        let mut optimizer = Self {
            spec,
            engine,
            groups,
            chunks,
            waves,
            observed,
            t: 0,
            skipped: 0,
            check_finite: true,
            rescale_norm: None,
            elements,
        };
        optimizer.rescale(theta);
        Ok(optimizer)
    }

    /// Under global rescaling: scales `theta` by its factor, and holds it at that norm from here on.
    pub fn rescale(&mut self, theta: &mut [T]) {
        if let Some(factor) = self.spec.rescale {
            Correction::Scale { scale: factor, center: 0.0 }.apply(theta);
            self.rescale_norm = Some(passes::norm(&Workers::inline(), &self.chunks, theta));
        }
    }

    /// One step at learning rate `lr`, from gradients that may be scaled in place by clipping.
    ///
    /// # Errors
    /// [`OptimError::Length`] where the buffers are not those of the layout; nothing was changed.
    pub fn step(
        &mut self,
        workers: &Workers,
        lr: f64,
        theta: &mut [T],
        grads: &mut [T],
    ) -> Result<Outcome, OptimError> {
        for given in [theta.len(), grads.len()] {
            if given != self.elements {
                return Err(OptimError::Length { given, expected: self.elements });
            }
        }
        Ok(workers.run(|| self.step_inside(workers, lr, theta, grads)))
    }

    fn step_inside(
        &mut self,
        workers: &Workers,
        lr: f64,
        theta: &mut [T],
        grads: &mut [T],
    ) -> Outcome {
        // Nothing is touched before every gradient is known to be finite.
        if self.check_finite
            && let Some(chunk) = passes::first_non_finite(workers, &self.chunks, grads)
        {
            self.skipped = self.skipped.saturating_add(1);
            return Outcome::Skipped { parameter: self.chunks[chunk].group };
        }
        if let Some(limit) = self.spec.clip {
            passes::clip(workers, &self.chunks, grads, limit);
        }

        self.t = self.t.saturating_add(1);
        let t = self.t;
        let plan = Plan { chunks: &self.chunks, waves: &self.waves, workers, lr };
        let (groups, observed) = (&mut self.groups, &mut self.observed);
        match &mut self.engine {
            Engine::Sgd([a, b], moments) => {
                plan.run((&a.at(t, lr), &b.at(t, lr)), groups, observed, theta, grads, moments);
            }
            Engine::Momentum([a, b], moments) => {
                plan.run((&a.at(t, lr), &b.at(t, lr)), groups, observed, theta, grads, moments);
            }
            Engine::Adam([a, b], moments) => {
                plan.run((&a.at(t, lr), &b.at(t, lr)), groups, observed, theta, grads, moments);
            }
            Engine::AmsGrad([a, b], moments) => {
                plan.run((&a.at(t, lr), &b.at(t, lr)), groups, observed, theta, grads, moments);
            }
            Engine::Decayed(a, b, moments) => {
                plan.run((&a.at(t, lr), &b.at(t, lr)), groups, observed, theta, grads, moments);
            }
        }
        if let Some(target) = self.rescale_norm {
            passes::rescale(workers, &self.chunks, theta, target);
        }
        Outcome::Stepped
    }

    /// Whether a step looks for non-finite gradients first, in one read-only pass (default: yes).
    pub const fn check_gradients(&mut self, check: bool) {
        self.check_finite = check;
    }

    /// Counts a step that was not taken because the loss is not finite.
    pub const fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    /// The first constrained parameter whose R is not finite, or was not on some step.
    pub fn non_finite_statistic(&self) -> Option<&str> {
        self.reports()
            .find(|(_, report)| report.non_finite > 0 || !report.value.is_finite())
            .map(|(name, _)| name)
    }

    /// Steps taken, t; skipped ones do not count.
    pub const fn steps(&self) -> u64 {
        self.t
    }

    /// Steps skipped because of a gradient that was not finite.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Name and standing of every constrained parameter, in the order of the layout.
    pub fn reports(&self) -> impl Iterator<Item = (&str, Report)> {
        self.groups.iter().filter_map(|group| {
            group.constraint.as_ref().map(|constraint| (group.name.as_str(), constraint.report()))
        })
    }

    /// The name of a parameter by its index in the layout.
    pub fn parameter(&self, index: usize) -> Option<&str> {
        self.groups.get(index).map(|group| group.name.as_str())
    }
}

/// Consecutive groups whose elements together reach `limit`; a group is never cut.
fn waves(groups: &[Group], limit: usize) -> Vec<Range<usize>> {
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
struct Plan<'a> {
    chunks: &'a [Chunk],
    waves: &'a [Range<usize>],
    workers: &'a Workers,
    lr: f64,
}

impl Plan<'_> {
    /// The four phases, wave by wave. `steps` are the base steps of regularized and free parameters.
    fn run<T, A, B, const M: usize>(
        &self,
        steps: (&A, &B),
        groups: &mut [Group],
        observed: &mut [Observed],
        theta: &mut [T],
        grads: &[T],
        moments: &mut [Vec<T>; M],
    ) where
        T: Real,
        A: cpr_core::base::BaseRule<T, M> + Sync,
        B: cpr_core::base::BaseRule<T, M> + Sync,
    {
        let Self { chunks, waves, workers, lr } = *self;
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
            passes::first(workers, chunk_list, flat, observed, &|chunk, shard| {
                let group = &wave[chunk.group - first_group];
                match &group.first {
                    Some(first) => return first.run(steps.0, shard),
                    None if group.regularized => cpr_core::base_step(steps.0, shard),
                    None => cpr_core::base_step(steps.1, shard),
                }
                Observed::NEUTRAL
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
                passes::correct(workers, chunk_list, theta, observed, &|chunk, theta| {
                    wave[chunk.group - first_group].correction.apply(theta)
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

#[cfg(test)]
mod tests;
