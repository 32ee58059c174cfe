//! The base rules, chosen at run time, with the moments and the small state that they keep.

use cpr_core::{
    Real, Statistic,
    base::{Adam, Amos, AmosState, AmosStep, AmsGrad, Decayed, Momentum, Sgd},
};

use super::{BaseSpec, Group, OptimError, OptimizerSpec};
use crate::pages::Buffer;

/// The base rules of regularized and free parameters, with the moments that they keep.
#[derive(Debug)]
pub(super) enum Engine<T> {
    Sgd([Sgd; 2], [Buffer<T>; 0]),
    Momentum([Momentum; 2], [Buffer<T>; 1]),
    Adam([Adam; 2], [Buffer<T>; 2]),
    AmsGrad([AmsGrad; 2], [Buffer<T>; 3]),
    Decayed(Decayed<Adam>, Adam, [Buffer<T>; 2]),
    Amos(AmosGroups<T>, [Buffer<T>; 0]),
    /// With the average over updates.
    AmosMomentum(AmosGroups<T>, [Buffer<T>; 1]),
}

impl<T: Real> Engine<T> {
    pub(super) fn new(
        spec: &OptimizerSpec,
        groups: &[Group],
        elements: usize,
    ) -> Result<Self, OptimError> {
        fn zeros<T: Real, const M: usize>(elements: usize) -> [Buffer<T>; M] {
            std::array::from_fn(|_| Buffer::zeros(elements))
        }
        Ok(match (spec.regularized, spec.free) {
            (BaseSpec::Sgd(a), BaseSpec::Sgd(b)) => Self::Sgd([a, b], zeros(elements)),
            (BaseSpec::Momentum(a), BaseSpec::Momentum(b)) => {
                Self::Momentum([a, b], zeros(elements))
            }
            (BaseSpec::Adam(a), BaseSpec::Adam(b)) => Self::Adam([a, b], zeros(elements)),
            (BaseSpec::AmsGrad(a), BaseSpec::AmsGrad(b)) => Self::AmsGrad([a, b], zeros(elements)),
            (BaseSpec::DecayedAdam(a), BaseSpec::Adam(b)) => Self::Decayed(a, b, zeros(elements)),
            (BaseSpec::Amos(a), BaseSpec::Amos(b)) => {
                match [a, b].map(|amos| amos.config().momentum > 0.0) {
                    [false, false] => Self::Amos(AmosGroups::new([a, b], groups), zeros(elements)),
                    [true, true] => {
                        Self::AmosMomentum(AmosGroups::new([a, b], groups), zeros(elements))
                    }
                    _ => return Err(OptimError::Bases),
                }
            }
            _ => return Err(OptimError::Bases),
        })
    }

    /// Names and values of the moments.
    pub(super) fn moments(&self) -> Vec<(&'static str, &Buffer<T>)> {
        match self {
            Self::Sgd(..) | Self::Amos(..) => Vec::new(),
            Self::Momentum(_, [buffer]) => vec![("momentum_buffer", buffer)],
            Self::AmosMomentum(_, [average]) => vec![("exp_avg", average)],
            Self::Adam(_, [m, v]) | Self::Decayed(_, _, [m, v]) => {
                vec![("exp_avg", m), ("exp_avg_sq", v)]
            }
            Self::AmsGrad(_, [m, v, top]) => {
                vec![("exp_avg", m), ("exp_avg_sq", v), ("max_exp_avg_sq", top)]
            }
        }
    }

    pub(super) fn moments_mut(&mut self) -> &mut [Buffer<T>] {
        match self {
            Self::Sgd(_, moments) | Self::Amos(_, moments) => moments,
            Self::Momentum(_, moments) | Self::AmosMomentum(_, moments) => moments,
            Self::Adam(_, moments) | Self::Decayed(_, _, moments) => moments,
            Self::AmsGrad(_, moments) => moments,
        }
    }

    /// The state of each parameter beside its moments, in the order of the layout; none for most rules.
    pub(super) fn amos(&self) -> Option<&AmosGroups<T>> {
        match self {
            Self::Amos(own, _) | Self::AmosMomentum(own, _) => Some(own),
            _ => None,
        }
    }

    pub(super) fn amos_mut(&mut self) -> Option<&mut AmosGroups<T>> {
        match self {
            Self::Amos(own, _) | Self::AmosMomentum(own, _) => Some(own),
            _ => None,
        }
    }
}

/// Amos over all parameters: one state a parameter, regularized or not, for its decay is part of its learning rate.
#[derive(Debug)]
pub(super) struct AmosGroups<T> {
    rules: [Amos; 2],
    /// η of each parameter.
    scales: Vec<f64>,
    pub(super) states: Vec<AmosState>,
    /// The scalars of the step at hand.
    pub(super) steps: Vec<AmosStep<T>>,
}

impl<T: Real> AmosGroups<T> {
    fn new(rules: [Amos; 2], groups: &[Group]) -> Self {
        let start = AmosState::default();
        let (_, still) =
            rules[0].step(start, 1, 0.0, 0.0, &Statistic::Sum { count: 0, total: 0.0 });
        Self {
            rules,
            scales: groups.iter().map(|group| group.scale.eta()).collect(),
            states: vec![start; groups.len()],
            steps: vec![still; groups.len()],
        }
    }

    /// Advances the states by step `t` and makes its scalars, from Σg² of every parameter.
    pub(super) fn advance(&mut self, groups: &[Group], t: u64, lr: f64, squares: &[Statistic]) {
        let [own, free] = self.rules;
        let places = self.states.iter_mut().zip(&mut self.steps);
        for ((((state, step), group), &eta), squares) in
            places.zip(groups).zip(&self.scales).zip(squares)
        {
            let rule = if group.regularized { own } else { free };
            (*state, *step) = rule.step(*state, t, lr, eta, squares);
        }
    }
}
