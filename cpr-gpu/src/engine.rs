//! The boundary between the optimizer and the device that steps.

use std::fmt;

use candle_core::Tensor;
use cpr_core::{AnyRegularizer, Constraint, base::AwdState};

use crate::{
    Error,
    group::{Parameter, ParameterState},
};

/// What computes the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Path {
    /// Slices of the CPU storages through `cpr-core`.
    Cpu,
    /// Fused kernels on a CUDA device.
    Cuda,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// One step, in host scalars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRequest {
    /// The learning rate before the factors of the groups; finite and at least 0.
    pub lr: f64,
    /// Largest global norm of the gradient; larger ones are scaled down to it.
    pub clip: Option<f64>,
    /// Look for gradients that are not finite first, and skip the step whole if there is one.
    pub check_finite: bool,
    /// Times every decay of this step: what a schedule of the decay says; finite and at least 0. Amos derives its own.
    pub decay: f64,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every parameter with a gradient was stepped.
    Stepped,
    /// The gradient of this parameter is not finite: nothing was changed.
    Skipped {
        /// The first such parameter, in the order of the optimizer.
        parameter: String,
    },
    /// The step is queued on the device, which decides itself: [`Counters`] tell later, at the cost of a wait.
    Queued,
}

/// Counts of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Steps taken, t.
    pub steps: u64,
    /// Steps skipped because of a gradient that was not finite.
    pub skipped: u64,
    /// Those skipped in a row up to now.
    pub skipped_in_a_row: u64,
}

impl Counters {
    /// Steps asked for: taken and skipped.
    #[must_use]
    pub const fn asked(&self) -> u64 {
        self.steps.saturating_add(self.skipped)
    }
}

/// Holds moments, master weights and constraints of one optimizer on one device, and steps its variables.
///
/// The optimizer proves before it calls that gradients have the shape and device of their variables, and the type of
/// the variable or of its master weights. An engine counts per parameter how often it was stepped: that is the t of its
/// bias corrections, so that a parameter without a gradient at first is corrected rightly later.
pub trait Engine: fmt::Debug + Send {
    /// What it is, for tests that assert which path ran.
    fn path(&self) -> Path;

    /// One step. `gradients` are in the order of the parameters; those without one are left as they are.
    ///
    /// # Errors
    /// Those of the device.
    fn step(
        &mut self,
        gradients: &[Option<&Tensor>],
        request: &StepRequest,
    ) -> Result<Outcome, Error>;

    /// Steps taken and skipped; on a device a wait for it.
    ///
    /// # Errors
    /// Those of the device.
    fn counters(&self) -> Result<Counters, Error>;

    /// Sets the counts, from a checkpoint.
    ///
    /// # Errors
    /// Those of the device.
    fn set_counters(&mut self, counters: Counters) -> Result<(), Error>;

    /// The constraints in the order of the parameters; on a device a wait for it.
    ///
    /// # Errors
    /// Those of the device.
    fn constraints(&self) -> Result<Vec<Option<Constraint<AnyRegularizer>>>, Error>;

    /// The global norm of the gradient of the last step, before clipping; none without clipping.
    ///
    /// # Errors
    /// Those of the device.
    fn gradient_norm(&self) -> Result<Option<f64>, Error>;

    /// The average of ‖∇w‖/‖w‖ that AWD keeps; none where no parameter has that rule. On a device a wait for it.
    ///
    /// # Errors
    /// Those of the device.
    fn awd(&self) -> Result<Option<AwdState>, Error>;

    /// Sets that average, from a checkpoint; without effect where no parameter has that rule.
    ///
    /// # Errors
    /// Those of the device.
    fn set_awd(&mut self, state: AwdState) -> Result<(), Error>;

    /// Gradients that had to be copied so far because they were not contiguous.
    fn copied_gradients(&self) -> u64;

    /// The state of the parameter of this index.
    ///
    /// # Errors
    /// Those of the device.
    fn read(&self, index: usize) -> Result<ParameterState, Error>;

    /// Replaces the state of the parameter of this index, its variable's value included. The lengths, types and the
    /// number of moments are those of [`read`](Self::read).
    ///
    /// # Errors
    /// Those of the device.
    fn write(&mut self, index: usize, state: ParameterState) -> Result<(), Error>;

    /// Takes the variables' values as they are: after they were changed from outside. Master weights are read anew and
    /// every constraint measures its R again, which `BeforeBase` carries from step to step.
    ///
    /// # Errors
    /// Those of the device.
    fn reobserve(&mut self) -> Result<(), Error>;
}

/// The engine for these parameters, which are all on one device; `threads` workers on a CPU.
///
/// # Errors
/// [`Error::Device`] where this build has none, and those of the device.
pub(crate) fn engine_for(
    parameters: Vec<Parameter>,
    workers: cpr_host::parallel::Workers,
) -> Result<Box<dyn Engine>, Error> {
    #[cfg(feature = "cuda")]
    if parameters.first().is_some_and(|parameter| parameter.var.device().is_cuda()) {
        return Ok(Box::new(crate::cuda::CudaEngine::new(parameters)?));
    }
    if let Some(parameter) = parameters.iter().find(|parameter| !parameter.var.device().is_cpu()) {
        return Err(Error::Device {
            name: parameter.name.clone(),
            device: parameter.var.device().location(),
        });
    }
    Ok(Box::new(crate::cpu::CpuEngine::new(parameters, workers)?))
}
