//! `cpr lm`: a language model on the characters or bytes of a text.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{
    ConfigError, ExperimentConfig, Inert, KappaInit, OptimConfig, RunConfig, ScheduleChoice,
    language, limits,
};
use crate::{
    data::{
        DataError,
        text::{Alphabet, Text},
    },
    schedule::Shape,
};

const DATA: &str = "Data";
const MODEL: &str = "Model";

/// The text.
const FILE: &str = "input.txt";

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Unit {
    /// A character.
    Characters,
    /// A byte.
    Bytes,
}

/// A text: what to train, on what, and how. The default is nanoGPT's small setting for a CPU, under the paper's
/// Kappa-WS in place of weight decay.
///
/// The comment of each field is its line in `--help`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct LmConfig {
    /// Seed, length, evaluations, checkpoints, folder.
    #[command(flatten)]
    #[serde(flatten)]
    pub run: RunConfig,

    /// The text file
    #[arg(long, help_heading = DATA, value_name = "FILE", default_value = FILE)]
    pub data: PathBuf,
    /// What a token is: characters (of a text in UTF-8) or bytes
    #[arg(
        long, help_heading = DATA, value_name = "UNIT", hide_possible_values = true,
        default_value = "characters"
    )]
    pub unit: Unit,
    /// The characters, each once; with them the text may be another one [default: those of the text]
    #[arg(long, help_heading = DATA, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alphabet: Option<String>,
    /// Share of the text to train on, its beginning, in (0, 1); the rest validates
    #[arg(
        long, help_heading = DATA, value_name = "X",
        default_value_t = Self::default().train_fraction
    )]
    pub train_fraction: f64,
    /// Sequences in a step, at least 1
    #[arg(long, help_heading = DATA, value_name = "N", default_value_t = Self::default().batch)]
    pub batch: usize,
    /// Sequences of each part that an evaluation measures, evenly spread over it; 0: all
    #[arg(
        long, help_heading = DATA, value_name = "N",
        default_value_t = Self::default().eval_sequences
    )]
    pub eval_sequences: usize,

    /// Tokens that the model sees, 1 to 65536
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().context)]
    pub context: usize,
    /// Blocks of attention and MLP, 1 to 256
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().layers)]
    pub layers: usize,
    /// Attention heads, at least 1
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().heads)]
    pub heads: usize,
    /// Width, a multiple of --heads, up to 16384
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().dim)]
    pub dim: usize,
    /// Biases in linear maps and normalizations
    #[arg(
        long, help_heading = MODEL, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().bias
    )]
    pub bias: bool,
    /// The head is the table of token embeddings, which then counts as an embedding
    #[arg(
        long, help_heading = MODEL, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().tied
    )]
    pub tied: bool,
    /// Share of activations dropped in training, in [0, 1)
    #[arg(long, help_heading = MODEL, value_name = "X", default_value_t = Self::default().dropout)]
    pub dropout: f64,

    /// Optimizer and constraint.
    #[command(flatten)]
    #[serde(flatten)]
    pub optim: OptimConfig,
}

impl Default for LmConfig {
    fn default() -> Self {
        let mut optim = OptimConfig {
            schedule: ScheduleChoice(Shape::Cosine),
            warmup: 100,
            beta2: 0.99,
            clip: Some(1.0),
            ..OptimConfig::default()
        };
        optim.constraint.kappa_init = KappaInit::WarmStartMultiple(2.0);
        optim.constraint.regularize_embeddings = false;
        Self {
            run: RunConfig { steps: 2000, eval_every: 250, ..RunConfig::default() },
            data: PathBuf::from(FILE),
            unit: Unit::Characters,
            alphabet: None,
            train_fraction: 0.9,
            batch: 12,
            eval_sequences: 512,
            context: 64,
            layers: 4,
            heads: 4,
            dim: 128,
            bias: false,
            tied: true,
            dropout: 0.0,
            optim,
        }
    }
}

impl LmConfig {
    /// The alphabet that it names; `None` for that of the text.
    pub(crate) fn named_alphabet(&self) -> Option<Alphabet> {
        match self.unit {
            Unit::Bytes => Some(Alphabet::Bytes),
            Unit::Characters => self.alphabet.as_deref().map(Alphabet::of),
        }
    }

    /// The text, in the parts that it asks for.
    ///
    /// # Errors
    /// [`DataError`].
    pub(crate) fn text(&self) -> Result<Text, DataError> {
        Text::open(&self.data, self.named_alphabet(), self.train_fraction, self.context)
    }
}

impl ExperimentConfig for LmConfig {
    const EXPERIMENT: &'static str = "lm";
    const OF_THE_DATA: &'static [&'static str] =
        &["data", "unit", "alphabet", "train_fraction", "context"];
    const OF_THE_MODEL: &'static [&'static str] =
        &["unit", "alphabet", "context", "layers", "dim", "bias", "tied"];
    const FILLED_IN: &'static [&'static str] = &["alphabet"];

    fn run(&self) -> &RunConfig {
        &self.run
    }

    fn run_mut(&mut self) -> &mut RunConfig {
        &mut self.run
    }

    fn optim(&self) -> &OptimConfig {
        &self.optim
    }

    fn optim_mut(&mut self) -> &mut OptimConfig {
        &mut self.optim
    }

    fn find_data(&self) -> Result<(), DataError> {
        self.text().map(drop)
    }

    fn adapt(flags: clap::Command) -> clap::Command {
        language::adapted(flags)
    }

    fn inert_own(&self, key: &str) -> Option<Inert> {
        match key {
            "alphabet" if self.unit == Unit::Bytes => Some(language::inert_alphabet("bytes")),
            key => language::inert(key),
        }
    }

    fn check_own(&self) -> Result<(), ConfigError> {
        let Self { train_fraction, batch, eval_sequences, context, layers, heads, .. } = *self;
        limits::path("data", &self.data, "file")?;
        language::check_data(self.alphabet.as_deref(), train_fraction, batch, eval_sequences)?;
        language::check_context(context)?;
        language::check_network(layers, heads, ("dim", self.dim), self.dropout)
    }
}
