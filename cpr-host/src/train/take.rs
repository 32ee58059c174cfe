//! What of a checkpoint goes into an experiment, and what starts afresh.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{TrainError, differ::by_settings};
use crate::{
    checkpoint::{Binding, Checkpoint, CheckpointError, Meta, read_weights},
    experiment::{Experiment, Weights},
};

/// What to take of a checkpoint; by default all, or nothing where it does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Take {
    /// The weights alone: moments, t and constraints start afresh.
    pub reset_optimizer: bool,
    /// What fits; the rest starts afresh.
    pub partial: bool,
}

/// What the checkpoint is loaded into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The run that wrote it.
    SameRun,
    /// A new run, maybe with another optimizer.
    NewRun,
}

/// The constraints of an experiment that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraints {
    /// Neither the optimizer nor the checkpoint has any.
    Absent,
    /// Those of the checkpoint; these start afresh at the weights that were loaded.
    Kept {
        /// The parameters of the others.
        afresh: Vec<String>,
    },
    /// None was taken: all start afresh at the weights that were loaded.
    Afresh,
    /// The checkpoint has that many, and the optimizer none.
    LeftBehind(usize),
}

/// What was taken of a checkpoint; its `Display` says it, and what starts afresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The checkpoint.
    pub path: PathBuf,
    /// The kind of run that wrote it.
    pub kind: String,
    /// Its step.
    pub step: u64,
    /// Its optimizer; none in a file of weights alone.
    pub optimizer: Option<String>,
    /// Number of parameters whose weights were taken.
    pub weights: usize,
    /// t of the moments that were taken; none where they start afresh at t = 0.
    pub t: Option<u64>,
    /// The constraints.
    pub constraints: Constraints,
    /// What did not fit.
    pub binding: Binding,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} ({} at step {}", self.path.display(), self.kind, self.step)?;
        if let Some(optimizer) = &self.optimizer {
            write!(f, ", {optimizer}")?;
        }
        write!(f, ")\n  weights      of {} parameters\n  moments      ", self.weights)?;
        match self.t {
            Some(t) => writeln!(f, "taken, at t = {t}")?,
            None => writeln!(f, "start afresh, at t = 0")?,
        }
        f.write_str("  constraints  ")?;
        match &self.constraints {
            Constraints::Absent => f.write_str("none")?,
            Constraints::Kept { afresh } if afresh.is_empty() => f.write_str("taken")?,
            Constraints::Kept { afresh } => {
                write!(f, "taken, but these start afresh: {}", afresh.join(", "))?;
            }
            Constraints::Afresh => {
                f.write_str(
                    "start afresh at these weights: lambda = 0, kappa by its rule from here",
                )?;
            }
            Constraints::LeftBehind(count) => {
                write!(f, "{count} left behind: this optimizer has none")?;
            }
        }
        if !self.binding.is_complete() {
            write!(f, "\n  not taken    {}", self.binding)?;
        }
        Ok(())
    }
}

/// Starts an experiment, which has not taken a step, from the weights of a checkpoint and, unless `take` says
/// otherwise, its moments, t and constraint records. Schedule and data stay at their start.
///
/// Between an optimizer with constraints and one without, the weights and moments go over: constraints start
/// afresh at the weights loaded, or are left behind. With `reset_optimizer` any safetensors file of F32 weights
/// under the names of this model will do.
///
/// # Errors
/// [`TrainError::Checkpoint`] where the file cannot be read, or names all that does not fit; in its place
/// [`TrainError::OtherExperiment`] or [`TrainError::OtherModel`] where that is why; [`TrainError::NothingFits`] where not a
/// single parameter is taken;
/// [`TrainError::State`] for a constraint made under other settings. The experiment is then of no more use.
pub fn start_from<E: Experiment>(
    experiment: &mut E,
    path: &Path,
    take: Take,
) -> Result<Taken, TrainError> {
    let (meta, tensors) = match Checkpoint::read(path) {
        Ok(Checkpoint { meta, tensors }) => (meta, tensors),
        Err(CheckpointError::NotCheckpoint { .. }) if take.reset_optimizer => {
            (Meta::new("weights"), read_weights(path)?)
        }
        Err(error) => return Err(error.into()),
    };
    let taken = experiment.weights_mut().take(path, &meta, tensors, take, Target::NewRun);
    let taken = taken.map_err(|error| by_settings(error, &meta, experiment.config()))?;
    if taken.weights == 0 {
        return Err(TrainError::NothingFits { path: path.to_owned(), kind: taken.kind });
    }
    Ok(taken)
}
