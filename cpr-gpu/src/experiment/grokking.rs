//! `cpr-gpu grokking`: modular addition, from the host's start over the host's batches.

use std::num::NonZeroUsize;

use cpr_host::{
    config::{ExperimentConfig as _, GrokkingConfig},
    data::{
        batches::{Batches, Cursor},
        modular::{Example, ModularAddition},
    },
    experiment::{Experiment, Finish, Judge, Logits, Step, fits, fits_text, grokking},
    model::{
        Outcome,
        modular::{ModularConfig, ModularTransformer},
    },
    observe::Row,
    train::TrainError,
};
use serde_json::{Value, json};

use super::{Modular, OnDevice, VarWeights, failed};
use crate::nn::backward;

/// Pairs, network, and the order in which the pairs come.
///
/// Weights, split and batches are those of `cpr grokking` at the same seed, so both follow one trajectory, as far as f32
/// sums in another order let them.
#[derive(Debug)]
pub struct Grokking {
    config: OnDevice<GrokkingConfig>,
    data: ModularAddition,
    model: Modular,
    weights: VarWeights,
    batches: Batches,
    batch: Vec<Example>,
}

impl Grokking {
    /// Loss and accuracy on the training and the validation pairs.
    fn outcomes(&self) -> Result<[Outcome; 2], TrainError> {
        let Self { model, data, weights, .. } = self;
        let of = |examples: &[Example]| {
            weights.workers().run(|| model.evaluate(examples)).map_err(failed)
        };
        Ok([of(&data.train)?, of(&data.validation)?])
    }
}

impl Experiment for Grokking {
    type Config = OnDevice<GrokkingConfig>;
    type Weights = VarWeights;

    const JUDGE: Judge = Judge { metric: "validation/accuracy", higher: true };

    fn new(config: OnDevice<GrokkingConfig>) -> Result<Self, TrainError> {
        config.check()?;
        let device = config.device.open().map_err(TrainError::other)?;
        let GrokkingConfig { p, train_fraction, batch, dim, heads, mlp_ratio, .. } = config.keys;
        let seed = config.run().seed;
        let data = ModularAddition::new(p, train_fraction, seed)?;
        let sizes = ModularConfig::new(p, dim, heads, mlp_ratio)?;
        let host = ModularTransformer::<f32>::new(sizes);
        let theta = host.init(seed);
        let weights =
            VarWeights::new(config.run(), config.optim(), &device, host.layout(), &theta)?;
        let model = Modular::new(sizes, &device, weights.vars())
            .ok_or_else(|| failed(candle_core::Error::msg("the layout is not the network's")))?;
        let at_least_one = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let batches = Batches::new(at_least_one(data.train.len()), at_least_one(batch), seed);
        let batch = Vec::with_capacity(batch.min(data.train.len()));
        Ok(Self { config, data, model, weights, batches, batch })
    }

    fn config(&self) -> &OnDevice<GrokkingConfig> {
        &self.config
    }

    fn weights(&self) -> &VarWeights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut VarWeights {
        &mut self.weights
    }

    fn heading(&self) -> String {
        format!(
            "modular addition mod {}: {} training and {} validation pairs, {} steps, on {}",
            self.config.keys.p,
            self.data.train.len(),
            self.data.validation.len(),
            self.total_steps(),
            self.weights.place(),
        )
    }

    fn steps_per_epoch(&self) -> u64 {
        self.batches.per_epoch()
    }

    fn step(&mut self, _step: u64, lr: f64) -> Result<Step, TrainError> {
        self.batch.clear();
        self.batch.extend(self.batches.next_batch().iter().map(|&index| self.data.train[index]));
        let Self { model, weights, batch, .. } = self;
        let pass = || {
            let loss = model.loss(batch)?;
            let grads = backward(&loss)?;
            Ok::<_, candle_core::Error>((loss.to_scalar::<f64>()?, grads))
        };
        let (loss, grads) = weights.workers().run(pass).map_err(failed)?;
        weights.step(lr, loss, &grads)
    }

    fn evaluate(&mut self) -> Result<Vec<(String, f64)>, TrainError> {
        let [train, validation] = self.outcomes()?;
        Ok(fits(train, validation))
    }

    fn cursor(&self) -> Value {
        json!(self.batches.cursor())
    }

    fn seek(&mut self, cursor: &Value, _step: u64) -> bool {
        let cursor: Option<Cursor> = serde_json::from_value(cursor.clone()).ok();
        cursor.map(|cursor| self.batches.seek(cursor)).is_some()
    }

    fn finish(&mut self, rows: &[Row]) -> Result<Finish, TrainError> {
        grokking::finish(rows, &self.weights)
    }

    fn evaluation(&mut self) -> Result<String, TrainError> {
        let [train, validation] = self.outcomes()?;
        Ok(fits_text(train, validation))
    }

    /// Of all p² pairs, the row of (a, b) at a·p + b; [p², p + 1].
    fn logits(&mut self) -> Result<Option<Logits>, TrainError> {
        let mut pairs: Vec<_> =
            self.data.train.iter().chain(&self.data.validation).copied().collect();
        pairs.sort_unstable();
        let mut logits = Vec::new();
        for pairs in pairs.chunks(1 << 12) {
            let rows = self.weights.workers().run(|| self.model.logits(pairs)).map_err(failed)?;
            logits
                .extend(rows.flatten_all().and_then(|rows| rows.to_vec1::<f32>()).map_err(failed)?);
        }
        Ok(Some((vec![pairs.len(), self.config.keys.p + 1], logits)))
    }
}
