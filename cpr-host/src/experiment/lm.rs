//! A language model on the characters or bytes of a text.

use std::{num::NonZeroU64, path::Path};

use serde_json::Value;

use super::{Experiment, Finish, FlatWeights, Judge, Step, plotted};
use crate::{
    checkpoint::Checkpoint,
    config::{ExperimentConfig as _, LmConfig, Unit},
    data::text::{self, Alphabet, Text},
    model::{
        Outcome,
        gpt::{Gpt, GptConfig},
    },
    observe::Row,
    parallel::Workers,
    param::ParamKind,
    plot::curves,
    random::{Random, Stream},
    summary::LossSummary,
    train::TrainError,
};

/// Text, model, and where the windows of a step begin.
#[derive(Debug)]
pub struct Lm {
    config: LmConfig,
    /// Tokens to train on, and to validate with.
    train: Vec<u16>,
    validation: Vec<u16>,
    /// Tokens for each character of the text to validate with.
    per_character: f64,
    model: Gpt<f32>,
    weights: FlatWeights,
}

fn model(config: &LmConfig, alphabet: &Alphabet) -> Result<Gpt<f32>, TrainError> {
    let LmConfig { context, layers, heads, dim: width, bias, tied, dropout, .. } = *config;
    let vocabulary = alphabet.size();
    Ok(Gpt::new(GptConfig { vocabulary, context, layers, heads, width, bias, tied, dropout })?)
}

impl Lm {
    /// Loss on some sequences of the text to train on and of that to validate with.
    fn outcomes(&mut self) -> Result<[Outcome; 2], TrainError> {
        let Self { config, train, validation, model, weights, .. } = self;
        let FlatWeights { workers, theta, .. } = &*weights;
        let mut of = |tokens: &[u16]| {
            let sequences = spread(tokens, config.context, config.eval_sequences);
            model.evaluate(workers, theta, &sequences)
        };
        Ok([of(train)?, of(validation)?])
    }

    /// Bits for each character at this loss in nats for each token.
    fn bits(&self, loss: f64) -> f64 {
        loss * self.per_character / std::f64::consts::LN_2
    }

    /// The share of the elements of matrices and embeddings that are exactly 0.
    fn zeros(&self) -> f64 {
        let (mut zeros, mut all) = (0, 0);
        for param in self.weights.layout().params() {
            if matches!(param.kind, ParamKind::Matrix | ParamKind::Embedding) {
                let values = &self.weights.theta[param.range.clone()];
                zeros += values.iter().filter(|&&x| x == 0.0).count();
                all += values.len();
            }
        }
        // Counts are far below 2⁵³.
        zeros as f64 / all as f64
    }
}

/// That many sequences (0: all that fit) of `context` tokens and one more as the last target, evenly spread.
fn spread(tokens: &[u16], context: usize, count: usize) -> Vec<&[u16]> {
    let context = context.min(tokens.len().saturating_sub(1)).max(1);
    let all = tokens.len().saturating_sub(1) / context;
    let count = if count == 0 { all } else { count.min(all) };
    (0..count).map(|index| &tokens[index * all / count * context..][..=context]).collect()
}

impl Experiment for Lm {
    type Config = LmConfig;
    type Weights = FlatWeights;

    const JUDGE: Judge = Judge { metric: "validation/loss", higher: false };

    fn new(mut config: LmConfig) -> Result<Self, TrainError> {
        config.check()?;
        let Text { alphabet, train, validation } = config.text()?;
        if let Alphabet::Characters(characters) = &alphabet {
            config.alphabet = Some(characters.iter().collect());
            config.check()?;
        }
        let per_character = text::per_character(validation.len(), &alphabet.decode(&validation));
        let model = model(&config, &alphabet)?;
        let (layout, theta) = (model.layout().clone(), model.init(config.run.seed));
        let weights = FlatWeights::new(&config.run, &config.optim, layout, &theta)?;
        Ok(Self { config, train, validation, per_character, model, weights })
    }

    fn config(&self) -> &LmConfig {
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
            "{} of {}: {} for training and {} for validation, vocabulary {}, {} parameters, {} steps, {} threads",
            match self.config.unit {
                Unit::Characters => "characters",
                Unit::Bytes => "bytes",
            },
            self.config.data.display(),
            self.train.len(),
            self.validation.len(),
            self.model.config().vocabulary,
            self.weights.theta.len(),
            self.total_steps(),
            self.weights.workers.threads(),
        )
    }

    /// As many as have as many tokens as the text.
    fn steps_per_epoch(&self) -> u64 {
        (self.train.len() as u64).div_ceil((self.config.batch * self.config.context) as u64).max(1)
    }

    fn is_evaluated(&self, step: u64) -> bool {
        step.is_multiple_of(self.config.run.eval_every)
    }

    fn step(&mut self, step: u64, lr: f64) -> Result<Step, TrainError> {
        let LmConfig { context, batch, .. } = self.config;
        let seed = self.config.run.seed;
        let starts = (self.train.len() - context) as u64;
        let bound = NonZeroU64::new(starts).unwrap_or(NonZeroU64::MIN);
        let mut random = Random::new(seed, Stream::Batches, step);
        // Each start is below the length, so it fits.
        let sequences: Vec<&[u16]> =
            (0..batch).map(|_| &self.train[random.below(bound) as usize..][..=context]).collect();
        let FlatWeights { workers, theta, grads, .. } = &mut self.weights;
        let loss = self.model.loss_and_grad(workers, theta, &sequences, (seed, step), grads)?.loss;
        self.weights.step(lr, loss)
    }

    fn evaluate(&mut self) -> Result<Vec<(String, f64)>, TrainError> {
        let [train, validation] = self.outcomes()?;
        Ok([
            ("train/loss", train.loss),
            ("validation/loss", validation.loss),
            ("validation/bits", self.bits(validation.loss)),
            ("zeros", self.zeros()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec())
    }

    fn cursor(&self) -> Value {
        Value::Null
    }

    fn seek(&mut self, cursor: &Value, _step: u64) -> bool {
        cursor.is_null()
    }

    fn finish(&mut self, rows: &[Row]) -> Result<Finish, TrainError> {
        let summary = LossSummary::of(rows);
        let upper = curves::Upper {
            axis: "loss (nats)",
            factor: 1.0,
            columns: &[("train", "train/loss"), ("validation", "validation/loss")],
        };
        let title = "Language model: loss for each token";
        let figure = curves::figure(title, rows, upper, plotted(&self.weights)?.as_deref())?;
        Ok(Finish { json: summary.to_json(), table: summary.table(), figure })
    }

    fn evaluation(&mut self) -> Result<String, TrainError> {
        let [train, validation] = self.outcomes()?;
        let line = |name: &str, outcome: Outcome| {
            format!(
                "{name:<12}loss {:.6}  next token right {:.4} %  ({} of {})\n",
                outcome.loss,
                100.0 * outcome.accuracy(),
                outcome.correct,
                outcome.count
            )
        };
        Ok(format!(
            "{}{}{:<12}{:.6} for each character\n{:<12}{:.4} % of matrices and embeddings\n",
            line("train", train),
            line("validation", validation),
            "bits",
            self.bits(validation.loss),
            "zeros",
            100.0 * self.zeros()
        ))
    }
}

/// How text is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// What it goes on from; a line feed where it is empty.
    pub prompt: String,
    /// Tokens to make.
    pub tokens: usize,
    /// What the logits are divided by; 0 takes the likeliest token always. Finite and at least 0.
    pub temperature: f64,
    /// Only that many of the likeliest tokens are drawn from; 0: all.
    pub top: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// Text that the model of a checkpoint makes, after its prompt; the text that it was trained on is not needed.
///
/// # Errors
/// [`TrainError`]: a checkpoint of another experiment or that does not fit, a prompt that is not of its alphabet.
pub fn sample(
    path: &Path,
    checkpoint: Checkpoint,
    how: &Sampling,
    workers: &Workers,
) -> Result<Vec<u8>, TrainError> {
    let Checkpoint { meta, mut tensors } = checkpoint;
    if meta.kind != LmConfig::EXPERIMENT {
        return Err(TrainError::OtherExperiment {
            path: path.to_owned(),
            given: meta.kind,
            expected: LmConfig::EXPERIMENT,
        });
    }
    let config = LmConfig::from_toml(&meta.config, path)?;
    let bad = |field| TrainError::BadMeta { path: path.to_owned(), field };
    let alphabet = config.named_alphabet().ok_or_else(|| bad("config"))?;
    let mut model = model(&config, &alphabet)?;
    let mut theta = vec![0.0; model.layout().len()];
    for param in model.layout().params() {
        let values = tensors.take_f32(&param.name, &param.shape)?;
        theta[param.range.clone()].copy_from_slice(&values);
    }
    let next = |seen: &[u16]| Ok(model.next(workers, &theta, seen)?);
    let tokens = continued(how, |text| alphabet.encode(text), config.context, next)?;
    Ok(alphabet.decode(&tokens))
}

/// The tokens of the prompt and those that are drawn after it; `next` gives the logits of what follows the last tokens,
/// `context` of them at most.
///
/// # Errors
/// [`TrainError::Prompt`] for a character that `encode` does not know; those of `next`.
pub fn continued(
    how: &Sampling,
    encode: impl Fn(&str) -> Result<Vec<u16>, char>,
    context: usize,
    mut next: impl FnMut(&[u16]) -> Result<Vec<f32>, TrainError>,
) -> Result<Vec<u16>, TrainError> {
    let prompt = if how.prompt.is_empty() { "\n" } else { &how.prompt };
    let mut tokens = match encode(prompt) {
        Ok(tokens) => tokens,
        // A text of one line has no line feed to begin with.
        Err(_) if how.prompt.is_empty() => vec![0],
        Err(character) => return Err(TrainError::Prompt { character }),
    };
    let mut random = Random::new(how.seed, Stream::Sample, 0);
    for _ in 0..how.tokens {
        let logits = next(&tokens[tokens.len().saturating_sub(context)..])?;
        tokens.push(draw(&logits, how, &mut random));
    }
    Ok(tokens)
}

/// A token by its logits, as `how` says.
fn draw(logits: &[f32], how: &Sampling, random: &mut Random) -> u16 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    if how.temperature == 0.0 {
        order.truncate(1);
    } else if how.top > 0 {
        order.truncate(how.top);
    }
    let top = order.first().map_or(0.0, |&token| f64::from(logits[token]));
    let weights: Vec<f64> = order
        .iter()
        .map(|&token| libm::exp((f64::from(logits[token]) - top) / how.temperature.max(1e-9)))
        .collect();
    let mut left = random.uniform() * weights.iter().sum::<f64>();
    let mut drawn = order.first().copied().unwrap_or_default();
    for (&token, weight) in order.iter().zip(weights) {
        drawn = token;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    // A vocabulary has at most 65536 tokens.
    u16::try_from(drawn).unwrap_or_default()
}
