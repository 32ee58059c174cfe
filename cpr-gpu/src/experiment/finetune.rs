//! `cpr-gpu finetune`: low-rank additions to the matrices of a GPT-2 that was trained elsewhere.

mod config;

use std::{collections::BTreeMap, io::Write, path::Path};

use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use cpr_host::{
    checkpoint::Checkpoint,
    commands::CommandError,
    config::{ConfigError, ExperimentConfig as _},
    data::tokenizer::TokenUnit,
    experiment::{Experiment, Finish, Judge, Step},
    observe::Row,
    param::ParamLayout,
    train::{TrainError, load},
};
use serde_json::Value;

pub use config::{FinetuneKeys, Targets};

use super::{Corpus, OnDevice, VarWeights, corpus::Sequences, failed, gpt2};
use crate::{
    model::{
        Gpt2, Gpt2Config, Lora, declared,
        gpt2::{Pretrained, write},
        layout, over, start,
    },
    nn::backward,
};

/// Tokens, a network that stays, and variables that are added to it.
#[derive(Debug)]
pub struct Finetune {
    config: OnDevice<FinetuneKeys>,
    corpus: Corpus,
    network: Network,
    weights: VarWeights,
}

/// The network of a run: its own weights, and what is added to them.
#[derive(Debug)]
struct Network {
    config: Gpt2Config,
    lora: Lora,
    /// In the order of the declaration, f32.
    base: Vec<(String, Tensor)>,
    dtype: DType,
    device: Device,
}

impl Network {
    /// Its weights with the additions, to be trained or not.
    fn merged(
        &self,
        layout: &ParamLayout,
        vars: &[Var],
        train: bool,
    ) -> candle_core::Result<Vec<(String, Tensor)>> {
        let trained = layout.params().iter().zip(vars).map(|(param, var)| {
            let tensor = if train { var.as_tensor().clone() } else { var.as_detached_tensor() };
            (param.name.as_str(), tensor)
        });
        let trained: BTreeMap<_, _> = trained.collect();
        let merged = self.base.iter().map(|(name, weight)| {
            Ok((name.clone(), self.lora.merged(name, weight, |name| trained.get(name))?))
        });
        merged.collect()
    }

    fn model(&self, layout: &ParamLayout, vars: &[Var], train: bool) -> candle_core::Result<Gpt2> {
        let merged = self.merged(layout, vars, train)?.into_iter();
        let rounded = merged.map(|(name, weight)| Ok((name, weight.to_dtype(self.dtype)?)));
        let rounded = rounded.collect::<candle_core::Result<Vec<_>>>()?;
        Gpt2::new(self.config, &over(rounded, self.dtype, &self.device))
    }

    /// Loss and gradients of a pass.
    fn pass(
        &self,
        layout: &ParamLayout,
        vars: &[Var],
        Sequences { tokens, targets }: &Sequences,
    ) -> candle_core::Result<(f64, GradStore)> {
        let logits = self.model(layout, vars, true)?.forward(tokens, None)?;
        let loss = gpt2::loss(&logits, targets)?;
        let grads = backward(&loss)?;
        Ok((gpt2::scalar(&loss)?, grads))
    }
}

impl Finetune {
    /// Losses on some sequences of the tokens to train on and of those to validate with.
    fn losses(&mut self) -> Result<[f64; 2], TrainError> {
        let Self { corpus, weights, network, .. } = self;
        let (layout, vars) = (weights.layout(), weights.vars());
        let model = weights.workers().run(|| network.model(layout, vars, false)).map_err(failed)?;
        gpt2::losses(&model, corpus, weights.workers(), &network.device)
    }
}

impl Experiment for Finetune {
    type Config = OnDevice<FinetuneKeys>;
    type Weights = VarWeights;

    const JUDGE: Judge = Judge { metric: "validation/loss", higher: false };

    fn new(mut config: OnDevice<FinetuneKeys>) -> Result<Self, TrainError> {
        config.check()?;
        let device = config.device.open().map_err(TrainError::other)?;
        let dtype = gpt2::settled(&mut config.keys.precision, &device)?;
        let Pretrained { config: model, mut weights } =
            Pretrained::read(&config.keys.model).map_err(TrainError::other)?;
        let keys = &mut config.keys;
        let context = keys.context.unwrap_or(model.context);
        if context > model.context {
            let expected =
                format!("the model was made for {} tokens: it must be at most that", model.context);
            return Err(ConfigError::refused("context", context, &expected).into());
        }
        let vocabulary = *keys.corpus.vocabulary.get_or_insert(model.vocabulary);
        if vocabulary > model.vocabulary {
            let expected =
                format!("the model knows {} tokens: it must be at most that", model.vocabulary);
            return Err(ConfigError::refused("vocabulary", vocabulary, &expected).into());
        }
        FinetuneKeys::settle_unit(&mut keys.corpus);
        let corpus = Corpus::open(&mut keys.corpus, context)?;
        let unit = keys.corpus.unit.filter(|&unit| unit != TokenUnit::Gpt2);
        if let Some(unit) = unit.filter(|_| model.vocabulary >= TokenUnit::GPT2_TOKENS) {
            let expected = "the model knows GPT-2's tokens: give a text without --unit, or files of `cpr tokens`";
            return Err(ConfigError::refused("unit", unit.name(), expected).into());
        }
        let of_network = declared(|variables| Gpt2::new(model, variables)).map_err(failed)?;
        let lora = keys.lora();
        let trained = lora.declared(&of_network);
        let mut base = Vec::with_capacity(of_network.len());
        for declared in of_network {
            let weight = weights.remove(&declared.name).map(|weight| weight.to_device(&device));
            let missing = || candle_core::Error::CannotFindTensor { path: declared.name.clone() };
            let weight = weight.unwrap_or_else(|| Err(missing())).map_err(failed)?;
            base.push((declared.name, weight));
        }
        let layout = layout(&trained).map_err(TrainError::other)?;
        let theta = start(&trained, config.run().seed);
        let weights = VarWeights::new(config.run(), config.optim(), &device, &layout, &theta)?;
        let network = Network { config: model, lora, base, dtype, device };
        Ok(Self { config, corpus, network, weights })
    }

    fn config(&self) -> &OnDevice<FinetuneKeys> {
        &self.config
    }

    fn weights(&self) -> &VarWeights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut VarWeights {
        &mut self.weights
    }

    fn heading(&self) -> String {
        let Gpt2Config { width, layers, heads, .. } = self.network.config;
        format!(
            "GPT-2 {width}/{layers}/{heads} (width/layers/heads) of {}: {} numbers added to its {}, {:?}, on {}: {}",
            self.config.keys.model.display(),
            self.weights.layout().len(),
            self.network.config.parameters(),
            self.network.dtype,
            self.config.keys.corpus.data.display(),
            gpt2::told(&self.corpus, self.total_steps(), &self.weights.place()),
        )
    }

    /// As many as have as many tokens as there are to train on.
    fn steps_per_epoch(&self) -> u64 {
        self.corpus.steps_per_epoch()
    }

    fn is_evaluated(&self, step: u64) -> bool {
        step.is_multiple_of(self.config.run().eval_every)
    }

    fn step(&mut self, step: u64, lr: f64) -> Result<Step, TrainError> {
        let Self { config, corpus, network, weights } = self;
        let passes = corpus.batch(config.run().seed, step, &network.device)?;
        let (layout, vars) = (weights.layout(), weights.vars());
        let pass = |_, sequences: &Sequences| network.pass(layout, vars, sequences);
        let (loss, grads) = gpt2::averaged(weights, &passes, pass)?;
        weights.step(lr, loss, &grads)
    }

    fn evaluate(&mut self) -> Result<Vec<(String, f64)>, TrainError> {
        let [train, validation] = self.losses()?;
        Ok(gpt2::figures(&self.corpus, train, validation))
    }

    fn cursor(&self) -> Value {
        Value::Null
    }

    fn seek(&mut self, cursor: &Value, _step: u64) -> bool {
        cursor.is_null()
    }

    fn finish(&mut self, rows: &[Row]) -> Result<Finish, TrainError> {
        gpt2::finish("Fine-tuning: loss for each token", rows, &self.weights)
    }

    fn evaluation(&mut self) -> Result<String, TrainError> {
        let [train, validation] = self.losses()?;
        Ok(gpt2::text(&self.corpus, train, validation))
    }
}

/// Writes the network of a checkpoint with its additions merged into its weights, as Hugging Face's transformers reads it.
///
/// # Errors
/// [`CommandError`]: a folder that exists, a checkpoint that does not fit.
#[expect(
    clippy::result_large_err,
    reason = "the host's error, made once, at the end of the program"
)]
pub fn merge(
    path: &Path,
    checkpoint: Checkpoint,
    folder: &Path,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    if folder.symlink_metadata().is_ok() {
        return Err(CommandError::Exists { path: folder.to_owned() });
    }
    let (Finetune { network, weights, .. }, meta) =
        load::<Finetune>(path, checkpoint, 0, |config| {
            gpt2::evaluated_on(config.device, &mut config.keys.precision);
        })?;
    let merged = network.merged(weights.layout(), weights.vars(), false).map_err(failed)?;
    write(folder, network.config, &merged).map_err(TrainError::other)?;
    writeln!(out, "{} at step {}: merged into {}", path.display(), meta.step, folder.display())?;
    Ok(())
}
