//! `cpr-gpu gpt2`: a GPT-2 on text or files of tokens.

mod config;
mod estimate;
mod sample;
mod summary;

use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use cpr_host::{
    config::{ConfigError, ExperimentConfig as _},
    experiment::{Experiment, Finish, Judge, Step},
    observe::Row,
    parallel::Workers,
    param::ParamLayout,
    plot::curves,
    train::TrainError,
};
use serde_json::Value;

pub use config::{Gpt2Keys, Precision, Size};
pub use estimate::dry_run;
pub use sample::sample;
pub(super) use summary::Perplexity;

use super::{Corpus, OnDevice, VarWeights, Which, corpus::Sequences, failed};
use crate::{
    Accumulator,
    device::DeviceChoice,
    model::{Gpt2, declared, layout, over, start},
    nn::{Draw, backward, cross_entropy},
};

/// Tokens, and a network over the variables.
///
/// The variables are f32. Passes run in the precision of the configuration: the network is made anew over the variables,
/// rounded where that is bf16, for each pass, and gradients come back through the rounding in f32.
#[derive(Debug)]
pub struct Gpt2Run {
    config: OnDevice<Gpt2Keys>,
    corpus: Corpus,
    model: crate::model::Gpt2Config,
    dtype: DType,
    device: Device,
    weights: VarWeights,
}

/// A network over `vars`, which have the names of the layout: to be trained, or to be evaluated, which keeps no graph.
fn network(
    model: crate::model::Gpt2Config,
    layout: &ParamLayout,
    vars: &[Var],
    dtype: DType,
    train: bool,
) -> candle_core::Result<Gpt2> {
    let named = layout.params().iter().zip(vars).map(|(param, var)| {
        let tensor = if train { var.as_tensor().clone() } else { var.as_detached_tensor() };
        Ok((param.name.clone(), tensor.to_dtype(dtype)?))
    });
    let named = named.collect::<candle_core::Result<Vec<_>>>()?;
    let device = vars.first().map_or(Device::Cpu, |var| var.device().clone());
    Gpt2::new(model, &over(named, dtype, &device))
}

/// The mean loss in f32, whatever the type of the logits.
pub(super) fn loss(logits: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
    cross_entropy(logits, targets, 0.0)
}

/// Loss and gradients of a pass.
fn pass(
    model: &Gpt2,
    Sequences { tokens, targets }: &Sequences,
    draw: Draw,
    recompute: bool,
) -> candle_core::Result<(f64, GradStore)> {
    let (value, grads) = if recompute {
        model.recomputed(tokens, Some(draw), |logits| loss(logits, targets))?
    } else {
        let value = loss(&model.forward(tokens, Some(draw))?, targets)?;
        let grads = backward(&value)?;
        (value, grads)
    };
    Ok((scalar(&value)?, grads))
}

/// A scalar of f32 as it is.
pub(super) fn scalar(loss: &Tensor) -> candle_core::Result<f64> {
    loss.to_scalar::<f32>().map(f64::from)
}

impl Gpt2Run {
    fn network(&self, train: bool) -> candle_core::Result<Gpt2> {
        network(self.model, self.weights.layout(), self.weights.vars(), self.dtype, train)
    }

    fn losses(&mut self) -> Result<[f64; 2], TrainError> {
        let model = self.network(false).map_err(failed)?;
        losses(&model, &mut self.corpus, self.weights.workers(), &self.device)
    }
}

/// Losses of a network on some sequences of the tokens to train on and of those to validate with.
pub(super) fn losses(
    model: &Gpt2,
    corpus: &mut Corpus,
    workers: &Workers,
    device: &Device,
) -> Result<[f64; 2], TrainError> {
    let mut of = |which| {
        corpus.mean(which, device, |Sequences { tokens, targets }| {
            let pass = || scalar(&loss(&model.forward(tokens, None)?, targets)?);
            workers.run(pass).map_err(failed)
        })
    };
    Ok([of(Which::Train)?, of(Which::Validation)?])
}

/// The mean of loss and gradients over the passes of a step; `pass` takes the number of each beside its sequences.
pub(super) fn averaged(
    weights: &VarWeights,
    passes: &[Sequences],
    pass: impl Fn(u64, &Sequences) -> candle_core::Result<(f64, GradStore)> + Sync,
) -> Result<(f64, GradStore), TrainError> {
    let mut accumulator = Accumulator::new(weights.vars());
    let mut total = 0.0;
    for (number, sequences) in (0..).zip(passes) {
        let (loss, grads) = weights.workers().run(|| pass(number, sequences)).map_err(failed)?;
        total += loss;
        accumulator.add(&grads).map_err(failed)?;
    }
    // A count of passes is far below 2⁵³.
    Ok((total / passes.len() as f64, accumulator.take().map_err(failed)?))
}

impl Experiment for Gpt2Run {
    type Config = OnDevice<Gpt2Keys>;
    type Weights = VarWeights;

    const JUDGE: Judge = Judge { metric: "validation/loss", higher: false };

    fn new(mut config: OnDevice<Gpt2Keys>) -> Result<Self, TrainError> {
        config.check()?;
        let device = config.device.open().map_err(TrainError::other)?;
        let dtype = settled(&mut config.keys.precision, &device)?;
        let context = config.keys.context;
        let corpus = Corpus::open(&mut config.keys.corpus, context)?;
        let vocabulary = config.keys.corpus.vocabulary.unwrap_or_default();
        let model = config.keys.model(vocabulary);
        let declared = declared(|variables| Gpt2::new(model, variables)).map_err(failed)?;
        let layout = layout(&declared).map_err(TrainError::other)?;
        let theta = start(&declared, config.run().seed);
        let weights = VarWeights::new(config.run(), config.optim(), &device, &layout, &theta)?;
        Ok(Self { config, corpus, model, dtype, device, weights })
    }

    fn config(&self) -> &OnDevice<Gpt2Keys> {
        &self.config
    }

    fn weights(&self) -> &VarWeights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut VarWeights {
        &mut self.weights
    }

    fn heading(&self) -> String {
        let crate::model::Gpt2Config { width, layers, heads, context, .. } = self.model;
        format!(
            "GPT-2 {width}/{layers}/{heads} (width/layers/heads), {} parameters, context {context}, {:?}, on {}: {}",
            self.model.parameters(),
            self.dtype,
            self.config.keys.corpus.data.display(),
            told(&self.corpus, self.total_steps(), &self.weights.place()),
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
        let seed = self.config.run().seed;
        let passes = self.corpus.batch(seed, step, &self.device)?;
        let count = passes.len() as u64;
        let recompute = self.config.keys.recompute;
        let (model, layout, dtype) = (self.model, self.weights.layout(), self.dtype);
        let vars = self.weights.vars();
        let (loss, grads) = averaged(&self.weights, &passes, |number, sequences| {
            let draw = Draw { seed, step: (step - 1) * count + number };
            pass(&network(model, layout, vars, dtype, true)?, sequences, draw, recompute)
        })?;
        self.weights.step(lr, loss, &grads)
    }

    fn evaluate(&mut self) -> Result<Vec<(String, f64)>, TrainError> {
        let [train, validation] = self.losses()?;
        Ok(figures(&self.corpus, train, validation))
    }

    fn cursor(&self) -> Value {
        Value::Null
    }

    fn seek(&mut self, cursor: &Value, _step: u64) -> bool {
        cursor.is_null()
    }

    fn finish(&mut self, rows: &[Row]) -> Result<Finish, TrainError> {
        finish("GPT-2: loss for each token", rows, &self.weights)
    }

    fn evaluation(&mut self) -> Result<String, TrainError> {
        let [train, validation] = self.losses()?;
        Ok(text(&self.corpus, train, validation))
    }
}

/// The type in which passes compute on a device; the key is filled in.
///
/// # Errors
/// bf16 on the CPU, which the layers have no kernels for.
pub(super) fn settled(
    precision: &mut Option<Precision>,
    device: &Device,
) -> Result<DType, ConfigError> {
    let usual = if device.is_cpu() { Precision::F32 } else { Precision::Bf16 };
    match *precision.get_or_insert(usual) {
        Precision::F32 => Ok(DType::F32),
        Precision::Bf16 if device.is_cpu() => {
            let expected = "it must be f32 on the cpu: choose that, or --device cuda";
            Err(ConfigError::refused("precision", "bf16", expected))
        }
        Precision::Bf16 => Ok(DType::BF16),
    }
}

/// On the CPU a run is evaluated, sampled and merged in f32, whatever it was trained in.
pub fn evaluated_on(device: DeviceChoice, precision: &mut Option<Precision>) {
    if device == DeviceChoice::Cpu {
        *precision = Some(Precision::F32);
    }
}

/// How much data for how long, and where.
pub(super) fn told(corpus: &Corpus, steps: u64, place: &str) -> String {
    format!(
        "{} tokens for training and {} for validation, {steps} steps, on {place}",
        corpus.count(Which::Train),
        corpus.count(Which::Validation),
    )
}

/// The figures of an evaluation.
pub(super) fn figures(corpus: &Corpus, train: f64, validation: f64) -> Vec<(String, f64)> {
    let mut figures = vec![
        ("train/loss".to_owned(), train),
        ("validation/loss".to_owned(), validation),
        ("validation/perplexity".to_owned(), libm::exp(validation)),
    ];
    if let Some(bits) = corpus.bits(validation) {
        figures.push(("validation/bits".to_owned(), bits));
    }
    figures
}

/// The same as lines of text.
pub(super) fn text(corpus: &Corpus, train: f64, validation: f64) -> String {
    let line = |name: &str, loss: f64| {
        format!("{name:<12}loss {loss:.6}  perplexity {:.4}\n", libm::exp(loss))
    };
    let bits = corpus.bits(validation);
    let bits = bits.map(|bits| format!("{:<12}{bits:.6} for each character\n", "bits"));
    line("train", train) + &line("validation", validation) + &bits.unwrap_or_default()
}

/// Summary and figure of a run of a language model.
pub(super) fn finish(
    title: &str,
    rows: &[Row],
    weights: &VarWeights,
) -> Result<Finish, TrainError> {
    let upper = curves::Upper {
        axis: "loss (nats)",
        factor: 1.0,
        columns: &[("train", "train/loss"), ("validation", "validation/loss")],
    };
    let figure = curves::figure(title, rows, upper, weights.largest()?.as_deref())?;
    let summary = Perplexity::of(rows);
    Ok(Finish { json: summary.to_json(), table: summary.table(), figure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_trained_in_half_precision_is_evaluated_on_the_cpu_too() {
        let trained = Some(Precision::Bf16);
        let mut precision = trained;
        assert!(settled(&mut precision, &Device::Cpu).is_err());
        evaluated_on(DeviceChoice::Cuda(0), &mut precision);
        assert_eq!(precision, trained);
        evaluated_on(DeviceChoice::Cpu, &mut precision);
        assert_eq!(settled(&mut precision, &Device::Cpu).unwrap(), DType::F32);
    }
}
