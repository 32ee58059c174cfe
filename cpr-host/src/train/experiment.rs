//! What a configuration says, made; and made again from a checkpoint.

use std::{num::NonZeroUsize, path::Path};

use cpr_core::{L2, Statistic};

use super::{EXPERIMENT, Length, TrainError};
use crate::{
    checkpoint::{Checkpoint, Meta, Policy},
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

    /// Takes parameters and the optimizer's state out of a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`], [`StateError`], or [`TrainError::BadMeta`].
    fn restore(&mut self, path: &Path, checkpoint: Checkpoint) -> Result<(), TrainError> {
        let Checkpoint { meta, mut tensors } = checkpoint;
        for param in self.model.layout().params() {
            let values = tensors.take_f32(&param.name, &param.shape)?;
            self.theta[param.range.clone()].copy_from_slice(&values);
        }
        self.optimizer.restore(self.model.layout(), &mut tensors, &meta)?;
        tensors.finish(Policy::Strict)?;
        let bad = |field| TrainError::BadMeta { path: path.to_owned(), field };
        let cursor: Cursor = serde_json::from_value(meta.cursor).map_err(|_| bad("cursor"))?;
        self.batches.seek(cursor);
        if let Some(optimizer) = meta.optimizer
            && let Some(norm) = optimizer.hyperparameters.get("rescale_norm")
        {
            self.optimizer.set_rescale_norm(norm.as_f64().ok_or_else(|| bad("rescale_norm"))?);
        }
        Ok(())
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
    load_longer(path, checkpoint, threads, Length::Configured)
}

pub(super) fn load_longer(
    path: &Path,
    checkpoint: Checkpoint,
    threads: usize,
    length: Length,
) -> Result<(Experiment, Meta), TrainError> {
    let meta = checkpoint.meta.clone();
    if meta.kind != EXPERIMENT {
        return Err(TrainError::OtherExperiment { path: path.to_owned(), given: meta.kind });
    }
    let mut config = GrokkingConfig::from_toml(&meta.config, path)?;
    config.threads = threads;
    match length {
        Length::Configured => {}
        Length::Steps(steps) => config.steps = steps,
        Length::Epochs(epochs) => (config.steps, config.epochs) = (0, epochs),
    }
    let mut experiment = Experiment::new(config.resolved()?)?;
    experiment.restore(path, checkpoint)?;
    Ok((experiment, meta))
}
