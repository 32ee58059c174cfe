//! Modular addition: a small transformer that groks, or does not have to.

use std::num::NonZeroUsize;

use serde_json::{Value, json};

use super::{Experiment, Finish, FlatWeights, Judge, Logits, Step, Weights};
use crate::{
    config::{ExperimentConfig as _, GrokkingConfig},
    data::{
        batches::{Batches, Cursor},
        modular::{Example, ModularAddition},
    },
    model::{
        Outcome,
        modular::{ModularConfig, ModularTransformer},
    },
    observe::Row,
    plot::grokking,
    summary::Summary,
    train::TrainError,
};

/// The matrix whose R, κ and λ the plot shows: the paper's choice.
const PLOTTED: &str = "layers.0.attn.in_proj_weight";

/// Summary and figure of a run of modular addition, whatever trained it.
///
/// # Errors
/// [`TrainError::Plot`] for rows without the columns of the experiment.
pub fn finish(rows: &[Row], weights: &impl Weights) -> Result<Finish, TrainError> {
    let summary = Summary::of(rows);
    let constrained = weights.reports()?.iter().any(|(name, _)| name == PLOTTED);
    let figure = grokking::figure(rows, constrained.then_some(PLOTTED))?;
    Ok(Finish { json: summary.to_json(), table: summary.table(), figure })
}

/// Pairs, model, and the order in which the pairs come.
#[derive(Debug)]
pub struct Grokking {
    config: GrokkingConfig,
    data: ModularAddition,
    model: ModularTransformer<f32>,
    weights: FlatWeights,
    batches: Batches,
    batch: Vec<Example>,
}

impl Grokking {
    /// Loss and accuracy on the training and the validation pairs.
    fn outcomes(&mut self) -> Result<[Outcome; 2], TrainError> {
        let FlatWeights { workers, theta, .. } = &self.weights;
        let train = self.model.evaluate(workers, theta, &self.data.train)?;
        let validation = self.model.evaluate(workers, theta, &self.data.validation)?;
        Ok([train, validation])
    }
}

impl Experiment for Grokking {
    type Config = GrokkingConfig;
    type Weights = FlatWeights;

    const JUDGE: Judge = Judge { metric: "validation/accuracy", higher: true };

    fn new(config: GrokkingConfig) -> Result<Self, TrainError> {
        config.check()?;
        let seed = config.run.seed;
        let data = ModularAddition::new(config.p, config.train_fraction, seed)?;
        let model = ModularTransformer::new(ModularConfig::new(
            config.p,
            config.dim,
            config.heads,
            config.mlp_ratio,
        )?);
        let theta = model.init(seed);
        let layout = model.layout().clone();
        let weights = FlatWeights::new(&config.run, &config.optim, layout, &theta)?;
        let at_least_one = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let batches =
            Batches::new(at_least_one(data.train.len()), at_least_one(config.batch), seed);
        let batch = Vec::with_capacity(config.batch.min(data.train.len()));
        Ok(Self { config, data, model, weights, batches, batch })
    }

    fn config(&self) -> &GrokkingConfig {
        &self.config
    }

    fn weights(&self) -> &FlatWeights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut FlatWeights {
        &mut self.weights
    }

    fn heading(&self) -> String {
        format!(
            "modular addition mod {}: {} training and {} validation pairs, {} steps, {} threads",
            self.config.p,
            self.data.train.len(),
            self.data.validation.len(),
            self.total_steps(),
            self.weights.workers.threads(),
        )
    }

    fn steps_per_epoch(&self) -> u64 {
        self.batches.per_epoch()
    }

    fn step(&mut self, _step: u64, lr: f64) -> Result<Step, TrainError> {
        self.batch.clear();
        self.batch.extend(self.batches.next_batch().iter().map(|&index| self.data.train[index]));
        let FlatWeights { workers, theta, grads, .. } = &mut self.weights;
        let loss = self.model.loss_and_grad(workers, theta, &self.batch, grads)?.loss;
        self.weights.step(lr, loss)
    }

    fn evaluate(&mut self) -> Result<Vec<(String, f64)>, TrainError> {
        let [train, validation] = self.outcomes()?;
        Ok(super::fits(train, validation))
    }

    fn cursor(&self) -> Value {
        json!(self.batches.cursor())
    }

    fn seek(&mut self, cursor: &Value, _step: u64) -> bool {
        let cursor: Option<Cursor> = serde_json::from_value(cursor.clone()).ok();
        cursor.map(|cursor| self.batches.seek(cursor)).is_some()
    }

    fn finish(&mut self, rows: &[Row]) -> Result<Finish, TrainError> {
        finish(rows, &self.weights)
    }

    fn evaluation(&mut self) -> Result<String, TrainError> {
        let [train, validation] = self.outcomes()?;
        Ok(super::fits_text(train, validation))
    }

    /// Of all p² pairs, the row of (a, b) at a·p + b; [p², p + 1].
    fn logits(&mut self) -> Result<Option<Logits>, TrainError> {
        let mut pairs: Vec<_> =
            self.data.train.iter().chain(&self.data.validation).copied().collect();
        pairs.sort_unstable();
        let FlatWeights { workers, theta, .. } = &self.weights;
        let logits = self.model.logits(workers, theta, &pairs)?;
        Ok(Some((vec![pairs.len(), self.config.p + 1], logits)))
    }
}
