//! The recorded gradients through `cpr-core`, compared after every step.

use cpr_core::{
    Adaptive, AnyRegularizer, BoundInit, Constraint, ConstraintConfig, ConstraintRule, L2, Real,
    Regularizer, Shard,
    base::{Base, BaseRule},
    base_step, constrained_step, measure,
};

use super::{
    Checks, Mismatch, Report, TrajectoryError,
    base::BaseChoice,
    format::{Parameter, Recorded, Step, Trajectory},
    mapping::Recipe,
    report::Place,
};

/// Replays a trajectory in the precision of `T`.
pub(super) fn replay<T: Real>(trajectory: &Trajectory) -> Result<Report, TrajectoryError> {
    match trajectory.method.base {
        BaseChoice::Sgd(base) => replay_over::<T, _, 0>(trajectory, base),
        BaseChoice::Momentum(base) => replay_over::<T, _, 1>(trajectory, base),
        BaseChoice::Adam(base) => replay_over::<T, _, 2>(trajectory, base),
        BaseChoice::AmsGrad(base) => replay_over::<T, _, 3>(trajectory, base),
        BaseChoice::DecayedAdam(base) => replay_over::<T, _, 2>(trajectory, base),
        BaseChoice::DecayedAmsGrad(base) => replay_over::<T, _, 3>(trajectory, base),
    }
}

fn replay_over<T: Real, B: Base<T, M>, const M: usize>(
    trajectory: &Trajectory,
    base: B,
) -> Result<Report, TrajectoryError> {
    let mut checks = Checks::default();
    let mut mismatches = Vec::new();
    for (i, parameter) in trajectory.parameters.iter().enumerate() {
        // Parameters do not act on each other: each is replayed from its first step to its last.
        let recipe = trajectory.method.constraint.as_ref().filter(|_| parameter.constrained);
        let constrained = match recipe {
            None => None,
            Some(recipe) => {
                let constraint = start::<T, B, M>(trajectory, i, recipe, base)?;
                Some(Constrained::new(recipe, constraint))
            }
        };
        let mut group = Group::<T, M>::new(parameter);
        let mut constrained = constrained;
        for (t, step) in (1u64..).zip(&trajectory.steps) {
            let scalars = base.at(t, step.lr);
            let constraint = constrained.as_mut().map(|own| &mut own.constraint);
            group.step(parameter, &step.grads[i], &scalars, step.lr, constraint)?;
            let place = |element| Place { step: t, parameter: &parameter.name, element };
            for (j, (&replayed, &recorded)) in group.theta.iter().zip(&step.params[i]).enumerate() {
                // Recorded numbers are of the file's precision: the rounding is that of the decimals.
                let recorded = T::from_f64(recorded).to_f64();
                Checks::see(&mut checks.theta, replayed.to_f64(), recorded, || place(Some(j)));
            }
            if let (Some(own), Some(recorded)) = (&mut constrained, step.constraints[i]) {
                own.compare(t, &recorded, parameter, &mut checks, &mut mismatches);
            }
        }
        if let (Some(own), Some(recorded)) = (&constrained, parameter.kappa_changed)
            && own.kappa_changed != recorded
        {
            mismatches.push(Mismatch::kappa_changed(&parameter.name, recorded, own.kappa_changed));
        }
        let last = u64::try_from(trajectory.steps.len()).unwrap_or(u64::MAX);
        for moment in &trajectory.last[i] {
            let values = group.moments.get(moment.index).map_or(&[][..], Vec::as_slice);
            for (j, (&replayed, &recorded)) in values.iter().zip(&moment.values).enumerate() {
                let name = format!("{}.{}", parameter.name, moment.name);
                let recorded = T::from_f64(recorded).to_f64();
                Checks::see(&mut checks.moments, replayed.to_f64(), recorded, || Place {
                    step: last,
                    parameter: &name,
                    element: Some(j),
                });
            }
        }
    }
    Ok(Report::new(trajectory, checks, mismatches))
}

/// One parameter and its moments.
struct Group<T, const M: usize> {
    theta: Vec<T>,
    moments: [Vec<T>; M],
}

impl<T: Real, const M: usize> Group<T, M> {
    fn new(parameter: &Parameter) -> Self {
        let theta: Vec<T> = parameter.init.iter().map(|&x| T::from_f64(x)).collect();
        let moments = core::array::from_fn(|_| vec![T::ZERO; theta.len()]);
        Self { theta, moments }
    }

    fn step<S: BaseRule<T, M>, R: Regularizer>(
        &mut self,
        parameter: &Parameter,
        grads: &[f64],
        scalars: &S,
        lr: f64,
        constraint: Option<&mut Constraint<R>>,
    ) -> Result<(), TrajectoryError> {
        let grads: Vec<T> = grads.iter().map(|&g| T::from_f64(g)).collect();
        let moments = self.moments.each_mut().map(Vec::as_mut_slice);
        let shard = Shard::new(&mut self.theta, &grads, moments).map_err(|source| {
            TrajectoryError::Shard { parameter: parameter.name.clone(), source }
        })?;
        match constraint {
            None => base_step(scalars, shard),
            Some(constraint) => constrained_step(constraint, scalars, lr, shard),
        }
        Ok(())
    }
}

/// The constraint of parameter `i` before the first step.
fn start<T: Real, B: Base<T, M>, const M: usize>(
    trajectory: &Trajectory,
    i: usize,
    recipe: &Recipe,
    base: B,
) -> Result<Constraint<AnyRegularizer>, TrajectoryError> {
    let parameter = &trajectory.parameters[i];
    let in_group = |source| TrajectoryError::Group { parameter: parameter.name.clone(), source };
    let theta = Group::<T, M>::new(parameter).theta;
    let mut config = recipe.config;
    match config.bound {
        // Refused by the library, since it holds the parameters at zero for ever; the published code does it.
        BoundInit::Dependent(factor)
            if factor * config.regularizer.value(&measure(&config.regularizer, &theta)) == 0.0 =>
        {
            config.bound = BoundInit::Uniform(0.0);
        }
        BoundInit::Inflection(_) if recipe.watches_squares => {
            config.bound = match inflection_of_squares::<T, B, M>(trajectory, i, recipe, base)? {
                Some(step) => BoundInit::WarmStart(step),
                None => BoundInit::WarmStart(u64::MAX),
            };
        }
        _ => {}
    }
    ConstraintRule::new(config)?.start_from(&theta).map_err(in_group)
}

/// The step at which Σθ² inflects. Until then nothing is constrained, so that one run of the base optimizer
/// alone finds it.
fn inflection_of_squares<T: Real, B: Base<T, M>, const M: usize>(
    trajectory: &Trajectory,
    i: usize,
    recipe: &Recipe,
    base: B,
) -> Result<Option<u64>, TrajectoryError> {
    let parameter = &trajectory.parameters[i];
    let in_group = |source| TrajectoryError::Group { parameter: parameter.name.clone(), source };
    let config = ConstraintConfig { mu: 0.0, ..ConstraintConfig::new(L2, recipe.config.bound) };
    let mut group = Group::<T, M>::new(parameter);
    let mut watch = ConstraintRule::new(config)?.start_from(&group.theta).map_err(in_group)?;
    for (t, step) in (1u64..).zip(&trajectory.steps) {
        let Step { lr, grads, .. } = step;
        group.step(parameter, &grads[i], &base.at(t, *lr), *lr, Some(&mut watch))?;
    }
    Ok(watch.bound().set_at())
}

/// A constraint in replay, and what the file's conventions need to know of its past.
struct Constrained<'a> {
    recipe: &'a Recipe,
    constraint: Constraint<AnyRegularizer>,
    has_risen: bool,
    kappa: Option<f64>,
    kappa_changed: Option<u64>,
}

impl<'a> Constrained<'a> {
    fn new(recipe: &'a Recipe, constraint: Constraint<AnyRegularizer>) -> Self {
        let kappa = constraint.bound().kappa();
        Self { recipe, constraint, has_risen: false, kappa, kappa_changed: None }
    }

    /// Compares with what was recorded after step `t`.
    fn compare(
        &mut self,
        t: u64,
        recorded: &Recorded,
        parameter: &Parameter,
        checks: &mut Checks,
        mismatches: &mut Vec<Mismatch>,
    ) {
        let report = self.constraint.report();
        self.has_risen |= report.is_active();
        if report.kappa != self.kappa && self.kappa_changed.is_none() {
            self.kappa_changed = Some(t);
        }
        self.kappa = report.kappa;

        let place = || Place { step: t, parameter: &parameter.name, element: None };
        Checks::see(&mut checks.lambda, report.lambda, recorded.lambda, place);
        let kappa = report.kappa.unwrap_or(self.recipe.unset.as_number());
        Checks::see(&mut checks.kappa, kappa, recorded.kappa, place);
        if let Some(reg) = recorded.reg {
            Checks::see(&mut checks.reg, report.value, reg, place);
        }
        if let Some(flag) = recorded.adapt_flag
            && self.recipe.config.adaptive != Adaptive::Off
            && flag != self.has_risen
        {
            mismatches.push(Mismatch::adapt_flag(&parameter.name, t, flag, self.has_risen));
        }
    }
}
