//! What a configuration says, made; and made again from a checkpoint.

use std::{num::NonZeroUsize, path::Path};

use cpr_core::{L2, Statistic};

use super::{
    EXPERIMENT, Length, Resume, TrainError,
    take::{Taken, Target},
};
use crate::{
    checkpoint::{Checkpoint, Meta},
    config::GrokkingConfig,
    data::{
        batches::{Batches, Cursor},
        modular::ModularAddition,
    },
    model::{
        Outcome as Evaluation,
        modular::{ModularConfig, ModularTransformer},
    },
    optim::Optimizer,
    parallel::Workers,
    param::Grouping,
    schedule::Schedule,
};

/// What a configuration says, made: data, model, optimizer, and the parameters before the first step.
#[derive(Debug)]
pub struct Experiment {
    /// The configuration.
    pub config: GrokkingConfig,
    /// Training and validation pairs.
    pub data: ModularAddition,
    /// The model with its workspace.
    pub model: ModularTransformer<f32>,
    /// The parameters, flat.
    pub theta: Vec<f32>,
    /// The optimizer over them.
    pub optimizer: Optimizer<f32>,
    /// lr(t).
    pub schedule: Schedule,
    /// The batches.
    pub batches: Batches,
    /// Steps of the whole run.
    pub total: u64,
    /// Threads.
    pub workers: Workers,
}

impl Experiment {
    /// Makes everything of a configuration; nothing is written.
    ///
    /// # Errors
    /// [`TrainError`] for what cannot be made: each names the key.
    pub fn new(config: GrokkingConfig) -> Result<Self, TrainError> {
        config.check()?;
        let data = ModularAddition::new(config.p, config.train_fraction, config.seed)?;
        let model = ModularTransformer::new(ModularConfig::new(
            config.p,
            config.dim,
            config.heads,
            config.mlp_ratio,
        )?);
        let mut theta = model.init(config.seed);
        let total = config.total_steps(data.train.len() as u64);
        let grouping = Grouping { embeddings: config.regularize_embeddings };
        let mut optimizer =
            Optimizer::new(config.optimizer()?, grouping, model.layout(), &mut theta)?;
        optimizer.check_gradients(!config.skip_finite_check);
        let at_least_one = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let batches =
            Batches::new(at_least_one(data.train.len()), at_least_one(config.batch), config.seed);
        let workers = match NonZeroUsize::new(config.threads) {
            Some(threads) => Workers::new(threads)?,
            None => Workers::available()?,
        };
        let schedule = config.schedule(total)?;
        Ok(Self { config, data, model, theta, optimizer, schedule, batches, total, workers })
    }

    /// The table of parameter groups.
    pub fn groups(&self) -> String {
        Grouping { embeddings: self.config.regularize_embeddings }.table(self.model.layout())
    }

    /// Loss and accuracy on the training and the validation pairs.
    ///
    /// # Errors
    /// [`TrainError::Input`], which the data of the same configuration never gives.
    pub fn evaluate(&mut self) -> Result<[Evaluation; 2], TrainError> {
        let train = self.model.evaluate(&self.workers, &self.theta, &self.data.train)?;
        let validation = self.model.evaluate(&self.workers, &self.theta, &self.data.validation)?;
        Ok([train, validation])
    }

    /// The logits of all p² pairs, the row of (a, b) at a·p + b; [p², p + 1].
    ///
    /// # Errors
    /// [`TrainError::Input`], which the parameters of the same configuration never give.
    pub fn logits(&mut self) -> Result<Vec<f32>, TrainError> {
        let mut pairs: Vec<_> =
            self.data.train.iter().chain(&self.data.validation).copied().collect();
        pairs.sort_unstable();
        Ok(self.model.logits(&self.workers, &self.theta, &pairs)?)
    }

    /// Σθ² of every parameter, in the order of the layout.
    pub(super) fn squares(&self) -> impl Iterator<Item = (&str, f64)> {
        self.model.layout().params().iter().map(|param| {
            let total = match cpr_core::measure(&L2, &self.theta[param.range.clone()]) {
                Statistic::Sum { total, .. } => total,
                Statistic::Moments { .. } => f64::NAN,
            };
            (param.name.as_str(), total)
        })
    }
}

/// Makes the experiment of a checkpoint, with its parameters and state; `path` is what errors name, 0 `threads`
/// are all cores.
///
/// # Errors
/// [`TrainError`].
pub fn load(
    path: &Path,
    checkpoint: Checkpoint,
    threads: usize,
) -> Result<(Experiment, Meta), TrainError> {
    let how = Resume { threads, ..Resume::default() };
    let (experiment, meta, _) = load_as(path, checkpoint, how)?;
    Ok((experiment, meta))
}

pub(super) fn load_as(
    path: &Path,
    checkpoint: Checkpoint,
    how: Resume,
) -> Result<(Experiment, Meta, Taken), TrainError> {
    let Checkpoint { meta, tensors } = checkpoint;
    if meta.kind != EXPERIMENT {
        return Err(TrainError::OtherExperiment { path: path.to_owned(), given: meta.kind });
    }
    let mut config = GrokkingConfig::from_toml(&meta.config, path)?;
    config.threads = how.threads;
    match how.length {
        Length::Configured => {}
        Length::Steps(steps) => config.steps = steps,
        Length::Epochs(epochs) => (config.steps, config.epochs) = (0, epochs),
    }
    let mut experiment = Experiment::new(config.resolved()?)?;
    let taken = experiment.take(path, &meta, tensors, how.take, Target::SameRun)?;
    let cursor: Cursor = serde_json::from_value(meta.cursor.clone())
        .map_err(|_| TrainError::BadMeta { path: path.to_owned(), field: "cursor" })?;
    experiment.batches.seek(cursor);
    experiment.optimizer.set_skipped(meta.non_finite.steps);
    Ok((experiment, meta, taken))
}
