//! Variables of candle under an optimizer of this crate, as the training loop sees them.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor, Var, backprop::GradStore};
use candle_nn::Optimizer as _;
use cpr_core::{
    AnyRegularizer, CHUNK, Constraint, Correction, L2, Pairwise, Report, Statistic, all_finite,
    base::{AmosState, AwdState},
    measure,
};
use cpr_host::{
    checkpoint::{CheckpointWriter, Meta, Policy, Tensors},
    config::{OptimConfig, RunConfig},
    experiment::{
        Step, Weights,
        section::{self, Section},
    },
    optim::{StateError, constraint_of, take_amos},
    parallel::{Workers, WorkersError},
    param::ParamLayout,
    train::{Constraints, Take, Taken, Target, TrainError},
};

use super::{SpecParams, failed};
use crate::{
    Counters, GroupReport, Groups, Optim, Outcome, Reports,
    group::{Base, ParameterState, Values},
    grouping,
    optim::{Member, host_values},
};

/// The constraint of each parameter that has one.
type ByParameter = Vec<Option<Constraint<AnyRegularizer>>>;

/// The moments of one parameter, and v and b of Amos.
type Moments = (Vec<Values>, Option<AmosState>);

/// Parameters as f32 variables on one device, and the optimizer over them.
///
/// Variables that the optimizer never steps, such as the running statistics of a batch norm, are part of a checkpoint.
#[derive(Debug)]
pub struct VarWeights {
    /// Of the variables that are stepped.
    layout: ParamLayout,
    vars: Vec<Var>,
    /// The optimizer's name in the configuration.
    name: String,
    optimizer: Optim<SpecParams>,
    workers: Workers,
    device: Device,
    rescale: Option<Rescale>,
}

/// Global rescaling: all weights together are held at a norm.
#[derive(Clone, Copy, Debug)]
struct Rescale {
    factor: f64,
    norm: f64,
}

impl VarWeights {
    /// The parameters `theta` of this layout before the first step, with the optimizer and the threads that a
    /// configuration asks for.
    ///
    /// # Errors
    /// [`TrainError`]: a setting, a parameter that cannot be under its constraint, memory or threads that cannot be had.
    pub fn new(
        run: &RunConfig,
        optim: &OptimConfig,
        device: &Device,
        layout: &ParamLayout,
        theta: &[f32],
    ) -> Result<Self, TrainError> {
        let mut vars = Vec::with_capacity(layout.params().len());
        for param in layout.params() {
            let values = theta.get(param.range.clone()).unwrap_or_default();
            let var = Var::from_slice(values, param.shape.as_slice(), device).map_err(failed)?;
            vars.push((param.name.clone(), var));
        }
        Self::over(run, optim, device, vars)
    }

    /// These variables of that device, by their names, before the first step.
    ///
    /// # Errors
    /// As [`new`](Self::new), and names or variables that occur twice.
    pub fn over(
        run: &RunConfig,
        optim: &OptimConfig,
        device: &Device,
        named: Vec<(String, Var)>,
    ) -> Result<Self, TrainError> {
        let params = SpecParams::new(optim)?;
        let spec = *params.spec();
        let workers = Self::workers_of(run)?;
        let groups = match optim.constraint.regularize_embeddings {
            true => Groups::with_embeddings(),
            false => Groups::default(),
        };
        let mut builder = Optim::builder(params)
            .groups(groups)
            .threads(workers.threads())
            .check_finite(!run.skip_finite_check);
        if let Some(clip) = spec.clip {
            builder = builder.clip(clip);
        }
        // In the order given, in which sums over all parameters run on the host too.
        let optimizer = builder.from_named(named).map_err(failed)?;
        let members = optimizer.members.iter().map(|Member { name, var, .. }| {
            (name.clone(), var.dims().to_vec(), grouping::kind(name, var.rank()))
        });
        let mut weights = Self {
            layout: ParamLayout::new(members).map_err(TrainError::other)?,
            vars: optimizer.members.iter().map(|member| member.var.clone()).collect(),
            name: optim.optimizer.to_string(),
            optimizer,
            workers,
            device: device.clone(),
            rescale: spec.rescale.map(|factor| Rescale { factor, norm: 0.0 }),
        };
        weights.start_rescaling()?;
        Ok(weights)
    }

    /// The threads of a run: layers and candle's products take those of the pool that they run in, also if it is one.
    ///
    /// # Errors
    /// If the operating system refuses the threads.
    pub fn workers_of(run: &RunConfig) -> Result<Workers, WorkersError> {
        let available = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Workers::apart(NonZeroUsize::new(run.threads).unwrap_or_else(available))
    }

    /// Names and shapes of the variables.
    #[must_use]
    pub const fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// The parameter whose R, κ and λ a plot shows where the experiment has no choice of its own: the largest one that is
    /// constrained, of equal ones the first.
    ///
    /// # Errors
    /// Those of a device.
    pub fn largest(&self) -> Result<Option<String>, TrainError> {
        let size = |name: &str| self.layout.get(name).map_or(0, |param| param.range.len());
        let constrained = self.reports()?.into_iter().map(|(name, _)| name);
        Ok(constrained.rev().max_by_key(|name| size(name)))
    }

    /// The variables, in the order of the layout.
    #[must_use]
    pub fn vars(&self) -> &[Var] {
        &self.vars
    }

    /// The optimizer.
    #[must_use]
    pub const fn optimizer(&self) -> &Optim<SpecParams> {
        &self.optimizer
    }

    /// Threads for passes on the CPU: candle's products run on those of the pool that they are called in.
    #[must_use]
    pub const fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Where the network runs, for a heading.
    #[must_use]
    pub fn place(&self) -> String {
        match self.device.location() {
            candle_core::DeviceLocation::Cpu => format!("{} threads", self.workers.threads()),
            candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
            other => format!("{other:?}"),
        }
    }

    /// Updates the parameters from the gradients that belong to this loss; nothing is changed where one of the two is not
    /// finite. On a device this waits for it, so that the loop knows of each step what became of it.
    ///
    /// # Errors
    /// [`TrainError::Other`]: a parameter without a gradient, and what the device says.
    pub fn step(&mut self, lr: f64, loss: f64, grads: &GradStore) -> Result<Step, TrainError> {
        if !loss.is_finite() {
            self.optimizer.skip().map_err(failed)?;
            return Ok(Step::BadLoss {
                what: match self.first_bad_gradient(grads)? {
                    Some(name) => format!("the loss and with it the gradient of `{name}`"),
                    None => "the loss".to_owned(),
                },
            });
        }
        self.optimizer.set_learning_rate(lr);
        let skipped = match self.optimizer.apply(grads).map_err(failed)? {
            Outcome::Stepped => None,
            Outcome::Skipped { parameter } => Some(parameter),
            Outcome::Queued => match self.counters()?.skipped_in_a_row {
                0 => None,
                _ => Some(self.first_bad_gradient(grads)?.unwrap_or_default()),
            },
        };
        if let Some(name) = skipped {
            return Ok(Step::BadGradient { what: format!("the gradient of `{name}`") });
        }
        if let Some(Rescale { norm, .. }) = self.rescale {
            let now = self.norm()?;
            if now > 0.0 && now.is_finite() {
                self.scale(norm / now)?;
            }
        }
        let Reports(reports) = self.optimizer.report().map_err(failed)?;
        let bad = |report: &Report| report.non_finite > 0 || !report.value.is_finite();
        Ok(match reports.into_iter().find(|group| bad(&group.report)) {
            Some(GroupReport { name, .. }) => Step::BadStatistic { parameter: name },
            None => Step::Taken,
        })
    }

    fn counters(&self) -> Result<Counters, TrainError> {
        self.optimizer.counters().map_err(failed)
    }

    /// Copies of the variables that are not stepped, for [`put_back`](Self::put_back).
    ///
    /// # Errors
    /// Those of the device.
    pub fn frozen(&self) -> Result<Vec<Tensor>, TrainError> {
        let copies = self.optimizer.frozen.iter().map(|(_, var)| var.as_detached_tensor().copy());
        copies.collect::<Result<_, _>>().map_err(failed)
    }

    /// Undoes what a forward pass wrote into the variables that are not stepped, after a step that was skipped.
    ///
    /// # Errors
    /// Those of the device.
    pub fn put_back(&self, frozen: &[Tensor]) -> Result<(), TrainError> {
        let mut frozen = self.optimizer.frozen.iter().zip(frozen);
        frozen.try_for_each(|((_, var), values)| var.set(values)).map_err(failed)
    }

    fn named(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.optimizer.members.iter().map(|member| (member.name.as_str(), &member.var))
    }

    fn first_bad_gradient(&self, grads: &GradStore) -> Result<Option<String>, TrainError> {
        for (name, var) in self.named() {
            let Some(grad) = grads.get(var) else { continue };
            if !all_finite(&values(grad)?) {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }

    /// √Σθ² over all parameters, chunk by chunk in their order, as the host sums it.
    fn norm(&self) -> Result<f64, TrainError> {
        let mut whole = Pairwise::new();
        for var in &self.vars {
            let values = values(var)?;
            whole.extend(values.chunks(CHUNK).map(|chunk| measure(&L2, chunk)));
        }
        Ok(sum(&whole.finish()).sqrt())
    }

    /// θ ← factor·θ, for all parameters.
    fn scale(&mut self, factor: f64) -> Result<(), TrainError> {
        for var in &self.vars {
            let mut values = values(var)?;
            Correction::Scale { scale: factor, center: 0.0 }.apply(&mut values);
            let scaled = Tensor::from_vec(values, var.shape(), &self.device);
            scaled.and_then(|scaled| var.set(&scaled)).map_err(failed)?;
        }
        Ok(())
    }

    /// Under global rescaling: scales the parameters by its factor, and holds them at that norm from here on.
    fn start_rescaling(&mut self) -> Result<(), TrainError> {
        if let Some(Rescale { factor, .. }) = self.rescale {
            self.scale(factor)?;
            let norm = self.norm()?;
            self.rescale = Some(Rescale { factor, norm });
        }
        Ok(())
    }

    /// The moments of all parameters, and v and b of Amos, all or none, because one t corrects the bias of all.
    fn take_moments(&self, tensors: &mut Tensors) -> Result<Option<Vec<Moments>>, StateError> {
        let mut whole = true;
        let mut taken = Vec::with_capacity(self.vars.len());
        for member in &self.optimizer.members {
            let mut amos = None;
            if let Base::Amos(..) = member.base {
                amos = take_amos(tensors, &member.name)?;
                whole &= amos.is_some();
            }
            let mut moments = Vec::new();
            for moment in member.base.moments() {
                // What is missing is remembered, and named at the end of the binding.
                match tensors.take_moment::<f32>(&member.name, moment, member.var.dims()) {
                    Ok(values) => moments.push(Values::F32(values)),
                    Err(_) => whole = false,
                }
            }
            taken.push((moments, amos));
        }
        Ok(whole.then_some(taken))
    }

    /// The constraints, those that are `wanted` from their records, all others afresh at `theta`; and the names of these.
    fn take_constraints(
        &self,
        theta: &[Vec<f32>],
        tensors: &mut Tensors,
        wanted: impl Fn(&str) -> bool,
        partial: bool,
    ) -> Result<(ByParameter, Vec<String>), TrainError> {
        let own = self.optimizer.engine.constraints().map_err(failed)?;
        let (mut constraints, mut fresh) = (Vec::with_capacity(own.len()), Vec::new());
        for ((own, (name, _)), theta) in own.into_iter().zip(self.named()).zip(theta) {
            let Some(own) = own else {
                constraints.push(None);
                continue;
            };
            let record = if wanted(name) { tensors.take_constraint(name).ok() } else { None };
            constraints.push(Some(match record.map(|record| constraint_of(&own, name, &record)) {
                Some(Err(error)) if !partial => return Err(error.into()),
                Some(Ok(taken)) => taken,
                None | Some(Err(_)) => {
                    fresh.push(name.to_owned());
                    let parameter = || name.to_owned();
                    own.rule()
                        .start_from(theta)
                        .map_err(|source| StateError::Start { parameter: parameter(), source })?
                }
            }));
        }
        Ok((constraints, fresh))
    }
}

impl Weights for VarWeights {
    fn scale_decay(&mut self, factor: f64) {
        self.optimizer.scale_decay(factor);
    }

    fn skipped(&self) -> Result<u64, TrainError> {
        Ok(self.counters()?.skipped)
    }

    fn reports(&self) -> Result<Vec<(String, Report)>, TrainError> {
        let Reports(reports) = self.optimizer.report().map_err(failed)?;
        Ok(reports.into_iter().map(|group| (group.name, group.report)).collect())
    }

    fn squares(&self) -> Result<Vec<(String, f64)>, TrainError> {
        let squares = self
            .named()
            .map(|(name, var)| Ok((name.to_owned(), sum(&measure(&L2, &values(var)?)))));
        squares.collect()
    }

    fn first_non_finite(&self) -> Result<Option<String>, TrainError> {
        let frozen = self.optimizer.frozen.iter().map(|(name, var)| (name.as_str(), var));
        for (name, var) in self.named().chain(frozen) {
            if !all_finite(&values(var)?) {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }

    fn groups(&self) -> String {
        self.optimizer.table().to_owned()
    }

    fn checkpoint<R>(
        &self,
        meta: Meta,
        write: impl FnOnce(&CheckpointWriter<'_>) -> R,
    ) -> Result<R, TrainError> {
        let Counters { steps, skipped, .. } = self.counters()?;
        let rescale_norm = self.rescale.map(|rescale| rescale.norm);
        let awd_average = self.optimizer.engine.awd().map_err(failed)?.map(AwdState::factor);
        let section = Section { name: &self.name, t: steps, skipped, rescale_norm, awd_average };
        let mut snapshot = self.optimizer.snapshot().map_err(failed)?;
        *snapshot.meta_mut() = Meta { optimizer: Some(section.of_step(meta.step)), ..meta };
        Ok(write(&snapshot.writer()))
    }

    fn take(
        &mut self,
        path: &Path,
        meta: &Meta,
        mut tensors: Tensors,
        take: Take,
        target: Target,
    ) -> Result<Taken, TrainError> {
        let mut names = BTreeSet::new();
        // What is missing is remembered, and named at the end of the binding.
        let mut stored = |name: &str, var: &Var| match tensors.take_f32(name, var.dims()) {
            Ok(stored) => {
                names.insert(name.to_owned());
                Ok(stored)
            }
            Err(_) => values(var),
        };
        let theta = self.named().map(|(name, var)| stored(name, var));
        let theta = theta.collect::<Result<Vec<_>, _>>()?;
        let frozen = self.optimizer.frozen.iter().map(|(name, var)| stored(name, var));
        let frozen = frozen.collect::<Result<Vec<_>, _>>()?;
        if take.reset_optimizer {
            tensors.discard_optimizer();
        }
        let stored = tensors.has_constraints();
        let (mut moments, mut t) = (None, None);
        // Whether a run has constraints follows from its optimizer: only a new run may have another.
        let wanted = !take.reset_optimizer && (stored || target == Target::SameRun);
        if !take.reset_optimizer {
            let at = section::t(path, meta)?;
            moments = self.take_moments(&mut tensors)?;
            t = moments.is_some().then_some(at);
        }
        let (constraints, afresh) = self.take_constraints(
            &theta,
            &mut tensors,
            |name| wanted && names.contains(name),
            take.partial && !take.reset_optimizer,
        )?;
        let kept = match (stored, constraints.iter().any(Option::is_some)) {
            (false, false) => Constraints::Absent,
            (true, true) => Constraints::Kept { afresh },
            (false, true) => Constraints::Afresh,
            (true, false) if target == Target::SameRun => Constraints::Absent,
            (true, false) => Constraints::LeftBehind(tensors.discard_constraints()),
        };
        let policy = if take.partial { Policy::Partial } else { Policy::Strict };
        let binding = tensors.finish(policy)?;
        let norm = section::rescale_norm(path, meta)?;
        // The average goes with the moments: without them it starts afresh too.
        let awd = match section::awd_average(path, meta)?.filter(|_| t.is_some()) {
            None => AwdState::default(),
            Some(average) => AwdState::new(average).ok_or_else(|| TrainError::BadMeta {
                path: path.to_owned(),
                field: "awd_average",
            })?,
        };
        let weights = names.len();

        for ((_, var), values) in self.optimizer.frozen.iter().zip(frozen) {
            let values = Tensor::from_vec(values, var.shape(), &self.device);
            values.and_then(|values| var.set(&values)).map_err(failed)?;
        }
        let mut moments = moments.map(Vec::into_iter);
        for (index, (theta, constraint)) in theta.into_iter().zip(constraints).enumerate() {
            let own = self.optimizer.engine.read(index).map_err(failed)?;
            let taken = moments.as_mut().and_then(Iterator::next);
            let (moments, amos) = taken.unwrap_or((own.moments, own.amos));
            let steps = t.unwrap_or(own.steps);
            let theta = Values::F32(theta);
            let state = ParameterState { theta, moments, steps, constraint, amos };
            self.optimizer.engine.write(index, state).map_err(failed)?;
        }
        let mut counters = Counters { steps: t.unwrap_or(0), ..Counters::default() };
        if target == Target::SameRun {
            counters.skipped = meta.non_finite.steps;
            counters.skipped_in_a_row = meta.non_finite.in_a_row;
        }
        self.optimizer.engine.set_counters(counters).map_err(failed)?;
        self.optimizer.engine.set_awd(awd).map_err(failed)?;
        self.optimizer.asked = counters.asked();
        match norm {
            None => self.start_rescaling()?,
            Some(norm) => {
                if let Some(rescale) = &mut self.rescale {
                    rescale.norm = norm;
                }
            }
        }
        Ok(Taken {
            path: PathBuf::from(path),
            kind: meta.kind.clone(),
            step: meta.step,
            optimizer: meta.optimizer.as_ref().map(|optimizer| optimizer.name.clone()),
            weights,
            t,
            constraints: kept,
            binding,
        })
    }
}

/// The values of a tensor in f32, on the host.
fn values(tensor: &Tensor) -> Result<Vec<f32>, TrainError> {
    Ok(match host_values(tensor).map_err(failed)? {
        Values::F32(values) => values,
        // Variables here are f32, and candle gives gradients the type of their variable.
        Values::F64(_) => return Err(failed(candle_core::Error::msg("f64 in place of f32"))),
    })
}

/// The sum that a statistic of squares is.
const fn sum(statistic: &Statistic) -> f64 {
    match *statistic {
        Statistic::Sum { total, .. } => total,
        Statistic::Moments { .. } => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use cpr_host::{
        model::modular::{ModularConfig, ModularTransformer},
        param::Grouping,
    };

    use super::*;

    /// The optimizer tells what a parameter is for by its name, the host by its kind.
    #[test]
    fn groups_are_those_of_the_host() {
        let host = ModularTransformer::<f32>::new(ModularConfig::new(7, 8, 2, 4).unwrap());
        let theta = host.init(1);
        for embeddings in [true, false] {
            let mut optim = OptimConfig::default();
            optim.constraint.regularize_embeddings = embeddings;
            let (run, layout) = (RunConfig::default(), host.layout());
            let weights = VarWeights::new(&run, &optim, &Device::Cpu, layout, &theta).unwrap();
            let grouping = Grouping { embeddings };
            let regularized =
                layout.params().iter().filter(|p| grouping.decide(p.kind).regularized);
            let expected: Vec<_> = regularized.map(|param| param.name.clone()).collect();
            let reports = weights.reports().unwrap();
            assert_eq!(reports.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), expected);
        }
    }
}
