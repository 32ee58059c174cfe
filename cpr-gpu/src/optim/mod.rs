//! The optimizers: one type over any hyperparameters, behind `candle_nn::Optimizer`.

mod builder;
mod params;

pub(crate) use builder::host_values;
pub use builder::{Builder, Strict, Warning};
pub use params::{
    Params, ParamsAdam, ParamsAdamCpr, ParamsAdamW, ParamsPAdam, ParamsSgd, ParamsSgdCpr,
};

use candle_core::{Tensor, Var, backprop::GradStore};
use cpr_host::schedule::Schedule;

use crate::{
    Counters, Error, GroupReport, Outcome, Path, Pattern, Reports,
    engine::{Engine, StepRequest},
    group::Base,
};

/// Adam under a bound on every matrix (arXiv 2311.09058).
pub type AdamCpr = Optim<ParamsAdamCpr>;
/// SGD, plain or with momentum, under a bound on every matrix.
pub type SgdCpr = Optim<ParamsSgdCpr>;
/// Adam with decoupled weight decay (arXiv 1711.05101).
pub type AdamW = Optim<ParamsAdamW>;
/// Adam (arXiv 1412.6980), with coupled decay if any.
pub type Adam = Optim<ParamsAdam>;
/// SGD, plain or with momentum.
pub type Sgd = Optim<ParamsSgd>;
/// Adam with the decay of any p-norm (arXiv 2404.10824).
pub type PAdam = Optim<ParamsPAdam>;

/// One parameter as the optimizer knows it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) var: Var,
    pub(crate) base: Base,
    /// May be without a gradient.
    pub(crate) optional: bool,
}

/// An optimizer over named parameters; see [`AdamCpr`] and its siblings for the usual ones.
///
/// `candle_nn::Optimizer` is implemented, so that a training loop changes by one line. What the trait has no room for
/// is here: [`builder`](Self::builder) for names, groups and options, [`report`](Self::report), saving and loading.
#[derive(Debug)]
pub struct Optim<P> {
    pub(crate) params: P,
    pub(crate) members: Vec<Member>,
    /// Saved and loaded, never stepped.
    pub(crate) frozen: Vec<(String, Var)>,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) named: bool,
    schedule: Option<Schedule>,
    /// Steps asked for: on a device the engine's counts cost a wait.
    pub(crate) asked: u64,
    clip: Option<f64>,
    check_finite: bool,
    /// On every decay, as the schedule's factor on lr: no part of the state.
    decay_factor: f64,
    table: String,
    warnings: Vec<Warning>,
}

impl<P: Params> Optim<P> {
    /// Names, groups and options first.
    pub fn builder(params: P) -> Builder<P> {
        Builder::new(params)
    }

    /// One step with the gradients of one backward pass, at [`next_lr`](Self::next_lr).
    ///
    /// # Errors
    /// [`Error::MissingGradient`] in strict mode; [`Error::GradientShape`], [`Error::GradientDtype`] and
    /// [`Error::GradientDevice`] for gradients that were put in by hand. Nothing was changed then.
    pub fn apply(&mut self, grads: &GradStore) -> Result<Outcome, Error> {
        let gradients = self.bind(grads)?;
        let request = StepRequest {
            lr: self.next_lr(),
            clip: self.clip,
            check_finite: self.check_finite,
            decay: self.decay_factor,
        };
        let outcome = self.engine.step(&gradients, &request)?;
        self.asked = self.asked.saturating_add(1);
        Ok(outcome)
    }

    /// Counts a step as skipped, for a loss that is not finite. On a device this waits for it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn skip(&mut self) -> Result<(), Error> {
        let Counters { steps, skipped, skipped_in_a_row } = self.engine.counters()?;
        self.engine.set_counters(Counters {
            steps,
            skipped: skipped.saturating_add(1),
            skipped_in_a_row: skipped_in_a_row.saturating_add(1),
        })?;
        self.asked = self.asked.saturating_add(1);
        Ok(())
    }

    /// The gradient of every member.
    fn bind<'a>(&self, grads: &'a GradStore) -> Result<Vec<Option<&'a Tensor>>, Error> {
        let mut missing = Vec::new();
        let mut bound = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let grad = grads.get(&member.var);
            match grad {
                Some(grad) => check(member, grad)?,
                None if member.optional => {}
                None => missing.push(member.name.clone()),
            }
            bound.push(grad);
        }
        if missing.is_empty() { Ok(bound) } else { Err(Error::MissingGradient { names: missing }) }
    }

    /// The learning rate of the next step: the schedule's, or the one set.
    #[must_use]
    pub fn next_lr(&self) -> f64 {
        match &self.schedule {
            Some(schedule) => schedule.lr(self.asked.saturating_add(1)),
            None => self.params.lr(),
        }
    }

    /// Follows this schedule from the step it has come to; `None` keeps the learning rate where it is.
    pub fn set_schedule(&mut self, schedule: Option<Schedule>) {
        let lr = self.next_lr();
        self.params.set_lr(lr);
        self.schedule = schedule;
    }

    /// From the next step on, times every decay: what a schedule of the decay
    /// ([`DecaySchedule`](cpr_core::base::DecaySchedule)) says of that step; at first 1. What is not above 0 leaves the
    /// decay out. Like the learning rate it is no part of the state. Amos derives its own decay and does not follow it.
    pub const fn scale_decay(&mut self, factor: f64) {
        self.decay_factor = factor;
    }

    /// The hyperparameters.
    pub const fn params(&self) -> &P {
        &self.params
    }

    /// What computes the steps.
    #[must_use]
    pub fn path(&self) -> Path {
        self.engine.path()
    }

    /// Steps taken and skipped. On a device this waits for it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn counters(&self) -> Result<Counters, Error> {
        self.engine.counters()
    }

    /// How every constraint stands. On a device this waits for it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn report(&self) -> Result<Reports, Error> {
        let constraints = self.engine.constraints()?;
        let reports = self.members.iter().zip(constraints).filter_map(|(member, constraint)| {
            Some(GroupReport { name: member.name.clone(), report: constraint?.report() })
        });
        Ok(Reports(reports.collect()))
    }

    /// The global norm of the last step's gradient before clipping; none without clipping. On a device this waits.
    ///
    /// # Errors
    /// Those of the device.
    pub fn gradient_norm(&self) -> Result<Option<f64>, Error> {
        self.engine.gradient_norm()
    }

    /// Gradients that had to be copied so far because their elements were not contiguous.
    #[must_use]
    pub fn copied_gradients(&self) -> u64 {
        self.engine.copied_gradients()
    }

    /// To be called after variables were changed from outside (`Var::set`): reads master weights anew, and measures R
    /// for the constraints, which `Order::BeforeBase` carries from step to step.
    ///
    /// # Errors
    /// Those of the device.
    pub fn reobserve(&mut self) -> Result<(), Error> {
        self.engine.reobserve()
    }

    /// The table of groups: every parameter, its shape, whether it is regularised and why, its learning-rate factor,
    /// decay and constraint. A line with the totals closes it.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// What the user should know of how this optimizer was made.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The moments of a parameter by their names; for tests and studies.
    ///
    /// # Errors
    /// [`Error::UnknownParameter`], and those of the device.
    pub fn state_of(&self, name: &str) -> Result<crate::group::ParameterState, Error> {
        let index = self.members.iter().position(|member| member.name == name);
        let index = index.ok_or_else(|| Error::UnknownParameter { name: name.to_owned() })?;
        self.engine.read(index)
    }
}

/// Whether a gradient fits its parameter.
fn check(member: &Member, grad: &Tensor) -> Result<(), Error> {
    let Member { name, var, .. } = member;
    if grad.shape() != var.shape() {
        return Err(Error::GradientShape {
            name: name.clone(),
            given: grad.shape().clone(),
            expected: var.shape().clone(),
        });
    }
    let master = crate::group::master_dtype(var.dtype());
    if grad.dtype() != var.dtype() && grad.dtype() != master {
        return Err(Error::GradientDtype {
            name: name.clone(),
            given: grad.dtype(),
            expected: var.dtype(),
        });
    }
    let (given, expected) = (grad.device().location(), var.device().location());
    if given != expected {
        return Err(Error::GradientDevice { name: name.clone(), given, expected });
    }
    Ok(())
}

impl<P: Params> candle_nn::Optimizer for Optim<P> {
    type Config = P;

    /// From variables without names: those of rank 2 and more are regularised, in the order given;
    /// [`Optim::warnings`] says so. The state of such an optimizer cannot be saved.
    fn new(vars: Vec<Var>, config: P) -> candle_core::Result<Self> {
        Ok(Self::builder(config).from_vars(vars)?)
    }

    fn step(&mut self, grads: &GradStore) -> candle_core::Result<()> {
        self.apply(grads)?;
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.next_lr()
    }

    /// Holds from the next step on; a schedule is dropped.
    fn set_learning_rate(&mut self, lr: f64) {
        self.schedule = None;
        self.params.set_lr(lr);
    }
}

/// Patterns of the parameters that may be without a gradient.
fn is_optional(strict: &Strict, name: &str) -> bool {
    match strict {
        Strict::On => false,
        Strict::Off => true,
        Strict::Except(patterns) => patterns.iter().any(|pattern: &Pattern| pattern.matches(name)),
    }
}
