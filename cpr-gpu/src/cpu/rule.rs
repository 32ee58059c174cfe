//! The base rule of one parameter with what it keeps, and its four phases.

use cpr_core::{
    AnyRegularizer, Constraint, Merge, Observed, Pairwise, Real, Statistic,
    base::{self, AdaDecay, AmosState, BaseRule, ScaleDecay},
    base_step,
};
use cpr_host::{pages::Buffer, parallel::Workers};

use super::{
    gradient::Source,
    passes::{self, Part},
};
use crate::group::Base;

/// A base rule with the moments that it keeps.
#[derive(Debug)]
pub(super) enum Rule<T> {
    Sgd(base::Sgd, [Buffer<T>; 0]),
    Momentum(base::Momentum, [Buffer<T>; 1]),
    Adam(base::Adam, [Buffer<T>; 2]),
    AmsGrad(base::AmsGrad, [Buffer<T>; 3]),
    DecayedAdam(base::Decayed<base::Adam>, [Buffer<T>; 2]),
    DecayedAmsGrad(base::Decayed<base::AmsGrad>, [Buffer<T>; 3]),
    Amos(Amos, [Buffer<T>; 0]),
    AmosMomentum(Amos, [Buffer<T>; 1]),
}

/// Amos of one parameter: its rule, its scale η, its v and b.
#[derive(Debug)]
pub(super) struct Amos {
    rule: base::Amos,
    eta: f64,
    pub(super) state: AmosState,
}

impl Amos {
    /// The scalars of a step, with the state that it leaves.
    fn advance<T: Real>(&mut self, step: &Step<'_>) -> base::AmosStep<T> {
        let (state, scalars) = self.rule.step(self.state, step.t, step.lr, self.eta, &step.seen);
        self.state = state;
        scalars
    }
}

impl<T: Real> Rule<T> {
    pub(super) fn new(base: Base, elements: usize) -> Self {
        fn zeros<T: Real, const M: usize>(elements: usize) -> [Buffer<T>; M] {
            std::array::from_fn(|_| Buffer::zeros(elements))
        }
        match base {
            Base::Sgd(rule) => Self::Sgd(rule, zeros(elements)),
            Base::Momentum(rule) => Self::Momentum(rule, zeros(elements)),
            Base::Adam(rule) => Self::Adam(rule, zeros(elements)),
            Base::AmsGrad(rule) => Self::AmsGrad(rule, zeros(elements)),
            Base::DecayedAdam(rule) => Self::DecayedAdam(rule, zeros(elements)),
            Base::DecayedAmsGrad(rule) => Self::DecayedAmsGrad(rule, zeros(elements)),
            Base::Amos(rule, scale) => {
                let own = Amos { rule, eta: scale.eta(), state: AmosState::default() };
                match base.moments() {
                    [] => Self::Amos(own, zeros(elements)),
                    _ => Self::AmosMomentum(own, zeros(elements)),
                }
            }
        }
    }

    pub(super) fn moments(&self) -> &[Buffer<T>] {
        match self {
            Self::Sgd(_, moments) | Self::Amos(_, moments) => moments,
            Self::Momentum(_, moments) | Self::AmosMomentum(_, moments) => moments,
            Self::Adam(_, moments) | Self::DecayedAdam(_, moments) => moments,
            Self::AmsGrad(_, moments) | Self::DecayedAmsGrad(_, moments) => moments,
        }
    }

    pub(super) fn moments_mut(&mut self) -> &mut [Buffer<T>] {
        match self {
            Self::Sgd(_, moments) | Self::Amos(_, moments) => moments,
            Self::Momentum(_, moments) | Self::AmosMomentum(_, moments) => moments,
            Self::Adam(_, moments) | Self::DecayedAdam(_, moments) => moments,
            Self::AmsGrad(_, moments) | Self::DecayedAmsGrad(_, moments) => moments,
        }
    }

    pub(super) const fn amos(&self) -> Option<&Amos> {
        match self {
            Self::Amos(own, _) | Self::AmosMomentum(own, _) => Some(own),
            _ => None,
        }
    }

    pub(super) const fn amos_mut(&mut self) -> Option<&mut Amos> {
        match self {
            Self::Amos(own, _) | Self::AmosMomentum(own, _) => Some(own),
            _ => None,
        }
    }

    /// The four phases on a whole parameter.
    pub(super) fn step<G: Source<T>>(&mut self, theta: &mut [T], grads: &[G], step: Step<'_>) {
        match self {
            Self::Sgd(rule, moments) => decaying(rule, theta, grads, moments, step),
            Self::Momentum(rule, moments) => decaying(rule, theta, grads, moments, step),
            Self::Adam(rule, moments) => decaying(rule, theta, grads, moments, step),
            Self::AmsGrad(rule, moments) => decaying(rule, theta, grads, moments, step),
            Self::DecayedAdam(rule, moments) => decaying(rule, theta, grads, moments, step),
            Self::DecayedAmsGrad(rule, moments) => decaying(rule, theta, grads, moments, step),
            Self::Amos(own, moments) => phases(&own.advance(&step), theta, grads, moments, step),
            Self::AmosMomentum(own, moments) => {
                phases(&own.advance(&step), theta, grads, moments, step);
            }
        }
    }
}

/// What a step of one parameter needs beside its slices.
pub(super) struct Step<'a> {
    pub(super) workers: &'a Workers,
    pub(super) t: u64,
    pub(super) lr: f64,
    pub(super) scale: Option<f64>,
    /// Times its decay.
    pub(super) decay: f64,
    /// The decay of each of its elements.
    pub(super) elements: Option<AdaDecay>,
    /// What was seen of its gradient before the step.
    pub(super) seen: Statistic,
    pub(super) constraint: Option<&'a mut Constraint<AnyRegularizer>>,
    pub(super) observed: &'a mut [Observed],
}

/// The four phases under a base, with the decay of the step at hand.
fn decaying<T, G, B, const M: usize>(
    rule: &B,
    theta: &mut [T],
    grads: &[G],
    moments: &mut [Buffer<T>; M],
    step: Step<'_>,
) where
    T: Real,
    G: Source<T>,
    B: base::Base<T, M, Step: Sync> + ScaleDecay,
{
    let Step { t, lr, decay, .. } = step;
    match step.elements {
        None => phases(&rule.scale_decay(decay).at(t, lr), theta, grads, moments, step),
        Some(elements) => {
            let elements = elements.scale_decay(decay);
            phases(&elements.before(rule.at(t, lr), lr, &step.seen), theta, grads, moments, step);
        }
    }
}

fn phases<T, G, S, const M: usize>(
    base: &S,
    theta: &mut [T],
    grads: &[G],
    moments: &mut [Buffer<T>; M],
    step: Step<'_>,
) where
    T: Real,
    G: Source<T>,
    S: BaseRule<T, M> + Sync,
{
    let Step { workers, lr, scale, constraint, observed, .. } = step;
    let moments = moments.each_mut().map(|moment| &mut **moment);
    let part = Part { theta: &mut *theta, grads, moments, observed: &mut *observed };
    let Some(constraint) = constraint else {
        passes::first(workers, part, scale, &|shard| {
            base_step(base, shard);
            Observed::NEUTRAL
        });
        return;
    };
    // 1: step and observe.
    let first = constraint.begin(lr);
    passes::first(workers, part, scale, &|shard| first.run(base, shard));
    // 2 and 3: merge in the order of the chunks, update.
    let mut whole = Pairwise::new();
    whole.extend(observed.iter().copied());
    let correction = constraint.update(&whole.finish(), lr);
    // 4: correct, where there is anything to correct.
    if !correction.is_identity() {
        passes::correct(workers, theta, observed, &correction);
        constraint.count_stopped(observed.iter().map(|observed| observed.stopped).sum());
    }
}
