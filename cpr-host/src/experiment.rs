//! What an experiment is to the training loop: data, a model and its evaluation, over weights with an optimizer.
//!
//! [`Experiment`] is made from its [`ExperimentConfig`], takes steps and evaluates; [`Weights`] is what its checkpoints
//! hold. The loop ([`crate::train::Run`]), the run folder, resuming, metrics and signals are the same for all. Here
//! the weights are [`FlatWeights`]: one slice and an [`Optimizer`](crate::optim::Optimizer); another crate has its own.

pub mod classify;
mod flat;
pub mod grokking;
pub mod lm;
pub mod section;

use std::{fmt::Write as _, path::Path};

use cpr_core::Report;
use serde_json::Value;

pub use classify::Classify;
pub use flat::FlatWeights;
pub use grokking::Grokking;
pub use lm::Lm;

use crate::{
    checkpoint::{CheckpointWriter, Meta, Tensors},
    config::ExperimentConfig,
    model::Outcome,
    observe::Row,
    plot::Figure,
    train::{Take, Taken, Target, TrainError},
};

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The parameters were stepped.
    Taken,
    /// Nothing was changed: a gradient was not finite.
    BadGradient {
        /// What was not finite: for the message.
        what: String,
    },
    /// Nothing was changed: the loss was not finite. Where that is so because parameters are not, the run ends.
    BadLoss {
        /// What was not finite: for the message.
        what: String,
    },
    /// The parameters were stepped, and R of one of them is not finite: the run ends.
    BadStatistic {
        /// The parameter.
        parameter: String,
    },
}

/// The figure of an evaluation that decides which checkpoint is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judge {
    /// The column of the metrics.
    pub metric: &'static str,
    /// Whether more is better.
    pub higher: bool,
}

impl Judge {
    /// Whether one value is better than another.
    #[must_use]
    pub fn prefers(self, value: f64, to: f64) -> bool {
        if self.higher { value > to } else { value < to }
    }
}

/// What is left of a run that has ended.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The content of `summary.json`: no wall-clock time, the same bytes in every run of a seed.
    pub json: String,
    /// The same for people, a table of whole lines.
    pub table: String,
    /// The figure of `plot.svg`; the run's options become its subtitle.
    pub figure: Figure,
}

/// The logits of all inputs: shape, and values in row-major order.
pub type Logits = (Vec<usize>, Vec<f32>);

/// Parameters and their optimizer: what a checkpoint holds.
pub trait Weights {
    /// From the next step on, times the weight decay: what its schedule says of that step. Without a decay it has no
    /// effect.
    fn scale_decay(&mut self, factor: f64);

    /// Steps skipped because something was not finite.
    ///
    /// # Errors
    /// Those of a device.
    fn skipped(&self) -> Result<u64, TrainError>;

    /// Name and standing of every constrained parameter, in a fixed order.
    ///
    /// # Errors
    /// Those of a device.
    fn reports(&self) -> Result<Vec<(String, Report)>, TrainError>;

    /// Name and Σθ² of every parameter, in a fixed order.
    ///
    /// # Errors
    /// Those of a device.
    fn squares(&self) -> Result<Vec<(String, f64)>, TrainError>;

    /// The first parameter with a value that is not finite.
    ///
    /// # Errors
    /// Those of a device.
    fn first_non_finite(&self) -> Result<Option<String>, TrainError>;

    /// The table of parameter groups.
    fn groups(&self) -> String;

    /// Hands a checkpoint of parameters, moments, constraint records and whatever else the next step depends on to
    /// `write`; `meta` lacks only its section on the optimizer.
    ///
    /// # Errors
    /// Those of a device.
    fn checkpoint<R>(
        &self,
        meta: Meta,
        write: impl FnOnce(&CheckpointWriter<'_>) -> R,
    ) -> Result<R, TrainError>;

    /// Takes what `take` says out of a checkpoint, the count of skipped steps too where the target is the same run;
    /// `path` is what errors name.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] names all that does not fit; [`TrainError::State`] for a constraint made under other
    /// settings. The weights are then of no more use.
    fn take(
        &mut self,
        path: &Path,
        meta: &Meta,
        tensors: Tensors,
        take: Take,
        target: Target,
    ) -> Result<Taken, TrainError>;
}

/// Data, model, optimizer: what a configuration says, made, before the first step or at a checkpoint.
pub trait Experiment: Sized {
    /// Its configuration.
    type Config: ExperimentConfig;
    /// Its parameters and their optimizer.
    type Weights: Weights;

    /// Which evaluation is the best.
    const JUDGE: Judge;

    /// Makes everything of a configuration; nothing is written.
    ///
    /// # Errors
    /// [`TrainError`] for what cannot be made: each names the key.
    fn new(config: Self::Config) -> Result<Self, TrainError>;

    /// The configuration.
    fn config(&self) -> &Self::Config;

    /// The parameters and their optimizer.
    fn weights(&self) -> &Self::Weights;

    /// The parameters and their optimizer, to be loaded.
    fn weights_mut(&mut self) -> &mut Self::Weights;

    /// One line on what is trained on what, how long, and where.
    fn heading(&self) -> String;

    /// Steps of an epoch, at least 1.
    fn steps_per_epoch(&self) -> u64;

    /// Takes the next step of the data at learning rate `lr`: batch, gradient, update. `step` counts from 1, skipped
    /// steps included; what is random depends on the seed and on it alone, or is part of the cursor.
    ///
    /// # Errors
    /// [`TrainError`], after which the run cannot go on.
    fn step(&mut self, step: u64, lr: f64) -> Result<Step, TrainError>;

    /// The figures of an evaluation, in an order and under names that never change; [`JUDGE`](Self::JUDGE)'s is among
    /// them.
    ///
    /// # Errors
    /// [`TrainError`].
    fn evaluate(&mut self) -> Result<Vec<(String, f64)>, TrainError>;

    /// Where the data stands; null where that follows from the number of steps.
    fn cursor(&self) -> Value;

    /// Goes on where a checkpoint left the data after that many steps; false for a cursor that is none.
    #[must_use]
    fn seek(&mut self, cursor: &Value, step: u64) -> bool;

    /// Summary and figure of a run with these metrics, whose last step this is.
    ///
    /// # Errors
    /// [`TrainError`].
    fn finish(&mut self, rows: &[Row]) -> Result<Finish, TrainError>;

    /// The evaluation as lines of text, for `eval`.
    ///
    /// # Errors
    /// [`TrainError`].
    fn evaluation(&mut self) -> Result<String, TrainError>;

    /// Shape and values of the logits of all inputs; none where there are too many to be of use.
    ///
    /// # Errors
    /// [`TrainError`].
    fn logits(&mut self) -> Result<Option<Logits>, TrainError> {
        Ok(None)
    }

    /// Whether an evaluation follows that step: at the end of every `eval_every`-th epoch, the first one included.
    fn is_evaluated(&self, step: u64) -> bool {
        let (per_epoch, every) = (self.steps_per_epoch(), self.config().run().eval_every);
        step.is_multiple_of(per_epoch) && (step / per_epoch).saturating_sub(1).is_multiple_of(every)
    }

    /// Steps of the whole run.
    fn total_steps(&self) -> u64 {
        self.config().run().total_steps(self.steps_per_epoch())
    }
}

/// The figures of an evaluation on training and validation examples: `train/loss`, `train/accuracy`,
/// `validation/loss`, `validation/accuracy`.
#[must_use]
pub fn fits(train: Outcome, validation: Outcome) -> Vec<(String, f64)> {
    [
        ("train/loss", train.loss),
        ("train/accuracy", train.accuracy()),
        ("validation/loss", validation.loss),
        ("validation/accuracy", validation.accuracy()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// The same as lines of text.
#[must_use]
pub fn fits_text(train: Outcome, validation: Outcome) -> String {
    let mut text = String::new();
    for (name, outcome) in [("train", train), ("validation", validation)] {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:<12}loss {:.6}  accuracy {:.4} %  ({} of {})",
            outcome.loss,
            100.0 * outcome.accuracy(),
            outcome.correct,
            outcome.count
        );
    }
    text
}

/// The parameter whose R, κ and λ a plot shows where the experiment has no choice of its own: the largest one that is
/// constrained, of equal ones the first.
fn plotted(weights: &FlatWeights) -> Result<Option<String>, TrainError> {
    let size = |name: &str| weights.layout().get(name).map_or(0, |param| param.range.len());
    let mut best: Option<(usize, String)> = None;
    for (name, _) in weights.reports()? {
        if best.as_ref().is_none_or(|(largest, _)| size(&name) > *largest) {
            best = Some((size(&name), name));
        }
    }
    Ok(best.map(|(_, name)| name))
}
