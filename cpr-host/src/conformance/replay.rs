//! A trajectory's gradients through an engine, compared after every step.

use cpr_core::{
    Adaptive, BoundInit, ConstraintConfig, ConstraintRule, L2, Real, Regularizer, base::Base,
    measure,
};

use super::{
    Checks, Mismatch, Precision, ReplayEngine, ReplayParameter, ReplaySetup, Report, Standing,
    TrajectoryError,
    base::BaseChoice,
    engine::Group,
    format::{Parameter, Recorded, Step, Trajectory},
    mapping::Recipe,
    report::Place,
};

/// Replays a trajectory on an engine.
pub(super) fn replay(
    trajectory: &Trajectory,
    engine: &mut dyn ReplayEngine,
) -> Result<Report, TrajectoryError> {
    let failed = |source| TrajectoryError::Engine { source };
    engine.start(&setup(trajectory)?).map_err(failed)?;
    let mut checks = Checks::default();
    let mut mismatches = Vec::new();
    let mut standings = engine.standings().map_err(failed)?;
    let mut histories: Vec<Option<History<'_>>> = trajectory
        .parameters
        .iter()
        .zip(&standings)
        .map(|(parameter, standing)| {
            let recipe = trajectory.method.constraint.as_ref().filter(|_| parameter.constrained)?;
            let kappa = standing.report.and_then(|report| report.kappa);
            Some(History { recipe, has_risen: false, kappa, kappa_changed: None })
        })
        .collect();

    for (t, step) in (1u64..).zip(&trajectory.steps) {
        engine.step(step.lr, &step.grads).map_err(failed)?;
        standings = engine.standings().map_err(failed)?;
        complete(trajectory, &standings)?;
        for (i, (parameter, standing)) in trajectory.parameters.iter().zip(&standings).enumerate() {
            for (j, (&replayed, &recorded)) in
                standing.theta.iter().zip(&step.params[i]).enumerate()
            {
                let recorded = trajectory.precision.round(recorded);
                let place = || Place { step: t, parameter: &parameter.name, element: Some(j) };
                Checks::see(&mut checks.theta, replayed, recorded, place);
            }
            if let (Some(own), Some(recorded)) = (&mut histories[i], step.constraints[i]) {
                own.compare(t, standing, &recorded, parameter, &mut checks, &mut mismatches);
            }
        }
    }

    let last = u64::try_from(trajectory.steps.len()).unwrap_or(u64::MAX);
    for (i, (parameter, standing)) in trajectory.parameters.iter().zip(&standings).enumerate() {
        if let (Some(own), Some(recorded)) = (&histories[i], parameter.kappa_changed)
            && own.kappa_changed != recorded
        {
            mismatches.push(Mismatch::kappa_changed(&parameter.name, recorded, own.kappa_changed));
        }
        for moment in &trajectory.last[i] {
            let values = standing.moments.get(moment.index).map_or(&[][..], Vec::as_slice);
            let name = format!("{}.{}", parameter.name, moment.name);
            for (j, (&replayed, &recorded)) in values.iter().zip(&moment.values).enumerate() {
                let recorded = trajectory.precision.round(recorded);
                let place = || Place { step: last, parameter: &name, element: Some(j) };
                Checks::see(&mut checks.moments, replayed, recorded, place);
            }
        }
    }
    Ok(Report::new(trajectory, checks, mismatches))
}

/// An engine that leaves parameters, elements or moments out would not be compared there.
fn complete(trajectory: &Trajectory, standings: &[Standing]) -> Result<(), TrajectoryError> {
    let moments = trajectory.method.base.moments().len();
    let fits = |(parameter, standing): (&Parameter, &Standing)| {
        let n = parameter.init.len();
        standing.theta.len() == n
            && standing.moments.len() == moments
            && standing.moments.iter().all(|moment| moment.len() == n)
            && standing.report.is_some() == parameter.constrained
    };
    let pairs = trajectory.parameters.iter().zip(standings);
    if standings.len() == trajectory.parameters.len() && pairs.into_iter().all(fits) {
        return Ok(());
    }
    Err(TrajectoryError::Engine { source: "it does not tell of all parameters and moments".into() })
}

/// What an engine is to replay.
fn setup(trajectory: &Trajectory) -> Result<ReplaySetup, TrajectoryError> {
    fn over<T: Real>(trajectory: &Trajectory) -> Result<ReplaySetup, TrajectoryError> {
        match trajectory.method.base {
            BaseChoice::Sgd(base) => setup_over::<T, _, 0>(trajectory, base),
            BaseChoice::Momentum(base) => setup_over::<T, _, 1>(trajectory, base),
            BaseChoice::Adam(base) => setup_over::<T, _, 2>(trajectory, base),
            BaseChoice::AmsGrad(base) => setup_over::<T, _, 3>(trajectory, base),
            BaseChoice::DecayedAdam(base) => setup_over::<T, _, 2>(trajectory, base),
            BaseChoice::DecayedAmsGrad(base) => setup_over::<T, _, 3>(trajectory, base),
        }
    }
    match trajectory.precision {
        Precision::F32 => over::<f32>(trajectory),
        Precision::F64 => over::<f64>(trajectory),
    }
}

fn setup_over<T: Real, B: Base<T, M>, const M: usize>(
    trajectory: &Trajectory,
    base: B,
) -> Result<ReplaySetup, TrajectoryError> {
    let Trajectory { precision, method, .. } = trajectory;
    let mut parameters = Vec::with_capacity(trajectory.parameters.len());
    for (i, parameter) in trajectory.parameters.iter().enumerate() {
        let recipe = method.constraint.as_ref().filter(|_| parameter.constrained);
        let config =
            recipe.map(|recipe| config::<T, B, M>(trajectory, i, recipe, base)).transpose()?;
        let constraint = config.map(ConstraintRule::new).transpose()?;
        // Refused here with the parameter's name, before an engine is asked.
        let theta = Group::<T, M>::new(&parameter.init).theta;
        constraint.map(|rule| rule.start_from(&theta)).transpose().map_err(|source| {
            TrajectoryError::Group { parameter: parameter.name.clone(), source }
        })?;
        parameters.push(ReplayParameter {
            name: parameter.name.clone(),
            init: parameter.init.iter().map(|&x| precision.round(x)).collect(),
            constraint,
        });
    }
    Ok(ReplaySetup { precision: *precision, base: method.base, parameters })
}

/// The constraint of parameter `i`, with what the published code does in the library's terms.
fn config<T: Real, B: Base<T, M>, const M: usize>(
    trajectory: &Trajectory,
    i: usize,
    recipe: &Recipe,
    base: B,
) -> Result<ConstraintConfig<cpr_core::AnyRegularizer>, TrajectoryError> {
    let parameter = &trajectory.parameters[i];
    let theta = Group::<T, M>::new(&parameter.init).theta;
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
    Ok(config)
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
    let mut group = Group::<T, M>::new(&parameter.init);
    let mut watch = ConstraintRule::new(config)?.start_from(&group.theta).map_err(in_group)?;
    for (t, step) in (1u64..).zip(&trajectory.steps) {
        let Step { lr, grads, .. } = step;
        let step = group.step(&grads[i], &base.at(t, *lr), *lr, Some(&mut watch));
        step.map_err(|source| TrajectoryError::Shard {
            parameter: parameter.name.clone(),
            source,
        })?;
    }
    Ok(watch.bound().set_at())
}

/// What the file's conventions need to know of a constraint's past.
struct History<'a> {
    recipe: &'a Recipe,
    has_risen: bool,
    kappa: Option<f64>,
    kappa_changed: Option<u64>,
}

impl History<'_> {
    /// Compares with what was recorded after step `t`.
    fn compare(
        &mut self,
        t: u64,
        standing: &Standing,
        recorded: &Recorded,
        parameter: &Parameter,
        checks: &mut Checks,
        mismatches: &mut Vec<Mismatch>,
    ) {
        let Some(report) = standing.report else { return };
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
