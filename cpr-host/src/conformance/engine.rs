//! What replays: the interface, and the engine of `cpr-core` alone.

use std::error::Error;

use cpr_core::{
    AnyRegularizer, Constraint, ConstraintRule, LengthError, Real, Regularizer, Shard,
    base::{Base, BaseRule},
    base_step, constrained_step,
};

use super::{Precision, base::BaseChoice};

/// What an engine is to replay.
#[derive(Clone, Debug)]
pub struct ReplaySetup {
    /// The float type of the parameters.
    pub precision: Precision,
    /// The base optimizer of every parameter.
    pub base: BaseChoice,
    /// In the order of the file.
    pub parameters: Vec<ReplayParameter>,
}

/// One parameter of a replay.
#[derive(Clone, Debug)]
pub struct ReplayParameter {
    /// Its name.
    pub name: String,
    /// Its elements before the first step, numbers of the precision.
    pub init: Vec<f64>,
    /// Its constraint, to be started from `init`.
    pub constraint: Option<ConstraintRule<AnyRegularizer>>,
}

/// How a parameter stands after a step.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its elements.
    pub theta: Vec<f64>,
    /// Its moments, in the order of [`BaseChoice::moments`].
    pub moments: Vec<Vec<f64>>,
    /// Its constraint.
    pub report: Option<cpr_core::Report>,
}

/// Why an engine could not replay.
pub type EngineError = Box<dyn Error + Send + Sync>;

/// Something that steps parameters, to be held against recordings.
pub trait ReplayEngine {
    /// Begins a replay; whatever was before is over.
    ///
    /// # Errors
    /// The engine's own.
    fn start(&mut self, setup: &ReplaySetup) -> Result<(), EngineError>;

    /// One step of all parameters; `grads` by parameter, to be rounded to the precision.
    ///
    /// # Errors
    /// The engine's own.
    fn step(&mut self, lr: f64, grads: &[Vec<f64>]) -> Result<(), EngineError>;

    /// How every parameter stands, in the order of the setup.
    ///
    /// # Errors
    /// The engine's own.
    fn standings(&self) -> Result<Vec<Standing>, EngineError>;
}

/// `cpr-core` on slices, each parameter on its own.
#[derive(Default)]
pub(super) struct Core(Option<Box<dyn ReplayEngine>>);

impl ReplayEngine for Core {
    fn start(&mut self, setup: &ReplaySetup) -> Result<(), EngineError> {
        fn over<T: Real>(setup: &ReplaySetup) -> Result<Box<dyn ReplayEngine>, EngineError> {
            Ok(match setup.base {
                BaseChoice::Sgd(base) => Box::new(Run::<T, _, 0>::new(setup, base)?),
                BaseChoice::Momentum(base) => Box::new(Run::<T, _, 1>::new(setup, base)?),
                BaseChoice::Adam(base) => Box::new(Run::<T, _, 2>::new(setup, base)?),
                BaseChoice::AmsGrad(base) => Box::new(Run::<T, _, 3>::new(setup, base)?),
                BaseChoice::DecayedAdam(base) => Box::new(Run::<T, _, 2>::new(setup, base)?),
                BaseChoice::DecayedAmsGrad(base) => Box::new(Run::<T, _, 3>::new(setup, base)?),
            })
        }
        self.0 = Some(match setup.precision {
            Precision::F32 => over::<f32>(setup)?,
            Precision::F64 => over::<f64>(setup)?,
        });
        Ok(())
    }

    fn step(&mut self, lr: f64, grads: &[Vec<f64>]) -> Result<(), EngineError> {
        self.0.as_mut().ok_or("not started")?.step(lr, grads)
    }

    fn standings(&self) -> Result<Vec<Standing>, EngineError> {
        self.0.as_ref().ok_or("not started")?.standings()
    }
}

/// A replay with one base and precision.
struct Run<T, B, const M: usize> {
    base: B,
    t: u64,
    groups: Vec<(Group<T, M>, Option<Constraint<AnyRegularizer>>)>,
}

impl<T: Real, B, const M: usize> Run<T, B, M> {
    fn new(setup: &ReplaySetup, base: B) -> Result<Self, EngineError> {
        let mut groups = Vec::with_capacity(setup.parameters.len());
        for ReplayParameter { name, init, constraint } in &setup.parameters {
            let group = Group::<T, M>::new(init);
            let started = constraint.map(|rule| rule.start_from(&group.theta)).transpose();
            let constraint = started.map_err(|source| format!("parameter {name:?}: {source}"))?;
            groups.push((group, constraint));
        }
        Ok(Self { base, t: 0, groups })
    }
}

impl<T: Real, B: Base<T, M>, const M: usize> ReplayEngine for Run<T, B, M> {
    fn start(&mut self, setup: &ReplaySetup) -> Result<(), EngineError> {
        *self = Self::new(setup, self.base)?;
        Ok(())
    }

    fn step(&mut self, lr: f64, grads: &[Vec<f64>]) -> Result<(), EngineError> {
        self.t = self.t.saturating_add(1);
        let scalars = self.base.at(self.t, lr);
        for ((group, constraint), grads) in self.groups.iter_mut().zip(grads) {
            group.step(grads, &scalars, lr, constraint.as_mut())?;
        }
        Ok(())
    }

    fn standings(&self) -> Result<Vec<Standing>, EngineError> {
        let wide = |values: &Vec<T>| values.iter().map(|&x| Real::to_f64(x)).collect::<Vec<f64>>();
        let standing = |(group, constraint): &(Group<T, M>, Option<Constraint<_>>)| Standing {
            theta: wide(&group.theta),
            moments: group.moments.iter().map(wide).collect(),
            report: constraint.as_ref().map(Constraint::report),
        };
        Ok(self.groups.iter().map(standing).collect())
    }
}

/// One parameter and its moments.
pub(super) struct Group<T, const M: usize> {
    pub(super) theta: Vec<T>,
    moments: [Vec<T>; M],
}

impl<T: Real, const M: usize> Group<T, M> {
    pub(super) fn new(init: &[f64]) -> Self {
        let theta: Vec<T> = init.iter().map(|&x| T::from_f64(x)).collect();
        let moments = core::array::from_fn(|_| vec![T::ZERO; theta.len()]);
        Self { theta, moments }
    }

    pub(super) fn step<S: BaseRule<T, M>, R: Regularizer>(
        &mut self,
        grads: &[f64],
        scalars: &S,
        lr: f64,
        constraint: Option<&mut Constraint<R>>,
    ) -> Result<(), LengthError> {
        let grads: Vec<T> = grads.iter().map(|&g| T::from_f64(g)).collect();
        let moments = self.moments.each_mut().map(Vec::as_mut_slice);
        let shard = Shard::new(&mut self.theta, &grads, moments)?;
        match constraint {
            None => base_step(scalars, shard),
            Some(constraint) => constrained_step(constraint, scalars, lr, shard),
        }
        Ok(())
    }
}
