//! CPR over any base optimizer and a whole parameter set: the four phases, on threads.
//!
//! A step cuts the flat buffer into chunks (never across parameters), runs phase 1 on them in any order, merges what
//! they measured in the order of the chunks, updates each constraint, and corrects. Parameters are taken in *waves*
//! that fit into the cache, so that phase 4 finds θ there. Chunks and waves depend on the shapes alone: the bits of
//! a step do not depend on the number of threads.

mod engine;
mod passes;
mod plan;
mod shares;
mod spec;
mod state;

pub use spec::{BaseSpec, DecayRule, OptimizerSpec};
pub use state::{AMOS, AWD_AVERAGE, OptimizerState, StateError, constraint_of, take_amos};

use std::ops::Range;

use cpr_core::{
    AnyRegularizer, CHUNK, Constraint, Correction, GroupError, L2, Merge, Observed, Pairwise, Real,
    Report, Statistic,
    base::{AwdState, ModelScale, ScaleDecay, magnitudes},
};

use self::{
    engine::Engine,
    passes::Chunk,
    plan::{Buffers, Decaying, First, Plan, waves},
};
use crate::{
    parallel::Workers,
    param::{Grouping, ParamKind, ParamLayout},
};

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
    /// A decay or base that regularises by itself, beside a bound.
    #[error("{rule} regularises by itself: take it without a bound, or another optimizer")]
    Bound {
        /// AdaDecay or Amos.
        rule: &'static str,
    },
    /// The decay rule does not go with the base optimizer.
    #[error(
        "{rule} does not go with this optimizer: AdaDecay needs SGD, Adam or AMSGrad, and Amos decays by its own rule"
    )]
    Decay {
        /// The decay rule.
        rule: &'static str,
    },
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
    /// What it is for, as Amos asks.
    scale: ModelScale,
    constraint: Option<Constraint<AnyRegularizer>>,
    first: Option<First>,
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
    /// Which thread stepped each chunk.
    steppers: Vec<usize>,
    /// What the decay rule or Amos saw of each group before the step.
    seen: Vec<Statistic>,
    awd: AwdState,
    /// On the decay of regularized parameters, as on lr: not part of the state.
    decay_factor: f64,
    t: u64,
    skipped: u64,
    check_finite: bool,
    /// The norm that global rescaling holds all parameters at.
    rescale_norm: Option<f64>,
    elements: usize,
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
        spec.check()?;
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
                scale: model_scale(param.kind, &param.shape),
                constraint,
                first: None,
                correction: Correction::Identity,
            });
        }
        let engine = Engine::new(&spec, &groups, elements)?;
        let observed = vec![Observed::NEUTRAL; chunks.len()];
        let steppers = vec![0; chunks.len()];
        let seen = vec![Statistic::NEUTRAL; groups.len()];
        let waves = waves::<T>(&groups);
        let mut optimizer = Self {
            spec,
            engine,
            groups,
            chunks,
            waves,
            observed,
            steppers,
            seen,
            awd: AwdState::default(),
            decay_factor: 1.0,
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
        self.observe(workers, lr, theta, grads);
        let t = self.t;
        let factor = self.decay_factor;
        let decaying = match self.spec.decay {
            DecayRule::Constant => Decaying::Scaled(factor),
            DecayRule::Awd(_) => Decaying::Scaled(factor * self.awd.factor()),
            DecayRule::AdaDecay(rule) => Decaying::Elements(rule.scale_decay(factor), &self.seen),
        };
        let plan = Plan { chunks: &self.chunks, waves: &self.waves, workers, t, lr };
        macro_rules! buffers {
            ($moments:expr) => {
                Buffers {
                    groups: &mut self.groups,
                    observed: &mut self.observed,
                    steppers: &mut self.steppers,
                    theta,
                    grads,
                    moments: $moments,
                }
            };
        }
        match &mut self.engine {
            Engine::Sgd([a, b], moments) => plan.bases((a, b), decaying, buffers!(moments)),
            Engine::Momentum([a, b], moments) => plan.bases((a, b), decaying, buffers!(moments)),
            Engine::Adam([a, b], moments) => plan.bases((a, b), decaying, buffers!(moments)),
            Engine::AmsGrad([a, b], moments) => plan.bases((a, b), decaying, buffers!(moments)),
            Engine::Decayed(a, b, moments) => plan.bases((a, b), decaying, buffers!(moments)),
            Engine::Amos(own, moments) => plan.amos(&own.steps, buffers!(moments)),
            Engine::AmosMomentum(own, moments) => plan.amos(&own.steps, buffers!(moments)),
        }
        if let Some(target) = self.rescale_norm {
            passes::rescale(workers, &self.chunks, theta, target);
        }
        Outcome::Stepped
    }

    /// What the step at hand needs of whole parameters: measured chunk by chunk, merged in their order.
    fn observe(&mut self, workers: &Workers, lr: f64, theta: &[T], grads: &[T]) {
        let Self { chunks, groups, observed, seen, .. } = self;
        let groups = &*groups;
        let mut measure = |values: &[T], all: bool, of: &(dyn Fn(&[T]) -> Statistic + Sync)| {
            let wanted = |group: &Group| all || group.regularized;
            passes::observe(workers, chunks, values, observed, &|chunk, values| {
                if wanted(&groups[chunk.group]) { of(values) } else { Statistic::NEUTRAL }
            });
            for (seen, group) in seen.iter_mut().zip(groups) {
                let mut whole = Pairwise::new();
                whole.extend(observed[group.chunks.clone()].iter().map(|o| o.statistic));
                *seen = whole.finish();
            }
            let mut whole = Pairwise::new();
            whole.extend(seen.iter().copied());
            whole.finish()
        };
        let squares = |values: &[T]| cpr_core::measure(&L2, values);
        match self.spec.decay {
            DecayRule::Awd(awd) => {
                let weights = measure(theta, false, &squares);
                self.awd = awd.update(self.awd, &weights, &measure(grads, false, &squares));
            }
            DecayRule::AdaDecay(_) => {
                measure(grads, false, &magnitudes);
            }
            DecayRule::Constant => {}
        }
        if let Some(amos) = self.engine.amos_mut() {
            measure(grads, true, &squares);
            amos.advance(groups, self.t, lr, &self.seen);
        }
    }

    /// From the next step on, times the decay of the regularized parameters: what a schedule of the decay
    /// ([`DecaySchedule`](cpr_core::base::DecaySchedule)) says of that step. Like the learning rate it is no part of the
    /// state. Without a decay, and for Amos, which derives its own, it has no effect.
    pub const fn scale_decay(&mut self, factor: f64) {
        self.decay_factor = factor;
    }

    /// Whether a step looks for non-finite gradients first, in one read-only pass (default: yes).
    pub const fn check_gradients(&mut self, check: bool) {
        self.check_finite = check;
    }

    /// Exchanges the moments, as many as there are of both, for those of another optimizer of the same base.
    #[cfg(feature = "cli")]
    pub(crate) fn exchange_moments(&mut self, moments: &mut [crate::pages::Buffer<T>]) {
        for (own, other) in self.engine.moments_mut().iter_mut().zip(moments) {
            std::mem::swap(own, other);
        }
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

/// What a parameter of this kind and shape is for, as Amos asks: a matrix maps its last dimensions to its first, an
/// embedding has rows.
#[must_use]
pub fn model_scale(kind: ParamKind, shape: &[usize]) -> ModelScale {
    let product =
        |sides: &[usize]| sides.iter().fold(1, |n: u64, &side| n.saturating_mul(side as u64));
    match kind {
        ParamKind::Matrix => ModelScale::Linear { inputs: product(shape.get(1..).unwrap_or(&[])) },
        ParamKind::Embedding => {
            ModelScale::Embedding { width: product(shape.last().map_or(&[], std::slice::from_ref)) }
        }
        ParamKind::Bias => ModelScale::Bias,
        ParamKind::Norm => ModelScale::Normalization,
    }
}

#[cfg(test)]
mod tests;
