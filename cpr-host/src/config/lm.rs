//! `cpr lm`: a language model on the characters or bytes of a text.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{
    ConfigError, ExperimentConfig, Inert, KappaInit, OptimConfig, RunConfig, ScheduleChoice,
    error::refused,
};
use crate::schedule::Shape;

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

impl ExperimentConfig for LmConfig {
    const EXPERIMENT: &'static str = "lm";

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

    fn adapt(flags: clap::Command) -> clap::Command {
        flags
            .mut_arg("eval_every", |flag| {
                flag.help("Steps from one evaluation to the next, at least 1")
            })
            .mut_arg("stop_at_accuracy", |flag| flag.hide(true))
    }

    fn inert_own(&self, key: &str) -> Option<Inert> {
        match key {
            "stop_at_accuracy" => Some(Inert {
                because: "a language model, which is measured by its loss".to_owned(),
                remedy: "leave it out".to_owned(),
            }),
            "alphabet" if self.unit == Unit::Bytes => Some(Inert {
                because: "--unit bytes".to_owned(),
                remedy: "leave it out, or choose --unit characters".to_owned(),
            }),
            _ => None,
        }
    }

    fn check_own(&self) -> Result<(), ConfigError> {
        let need = |key, value: &dyn std::fmt::Display, limit: &str, holds| {
            if holds { Ok(()) } else { Err(refused(key, value, limit)) }
        };
        let Self { train_fraction, batch, context, layers, heads, dim, dropout, .. } = *self;
        let named = self.data.to_str().is_some_and(|name| !name.is_empty());
        let limit = "it must be the name of a file, in UTF-8";
        need("data", &format!("{:?}", self.data), limit, named)?;
        if let Some(alphabet) = &self.alphabet {
            let mut characters: Vec<char> = alphabet.chars().collect();
            let count = characters.len();
            characters.sort_unstable();
            characters.dedup();
            let holds = characters.len() == count && (2..=1 << 16).contains(&count);
            let limit = "it must be 2 to 65536 characters, each once";
            need("alphabet", &format!("{alphabet:?}"), limit, holds)?;
        }
        let open = train_fraction > 0.0 && train_fraction < 1.0;
        need("train_fraction", &train_fraction, "it must be in (0, 1)", open)?;
        need("batch", &batch, "it must be 1 to 65536", (1..=1 << 16).contains(&batch))?;
        let few = self.eval_sequences <= 1 << 31;
        need("eval_sequences", &self.eval_sequences, "it must be at most 2^31", few)?;
        need("context", &context, "it must be 1 to 65536", (1..=1 << 16).contains(&context))?;
        need("layers", &layers, "it must be 1 to 256", (1..=256).contains(&layers))?;
        need("heads", &heads, "it must be at least 1", heads >= 1)?;
        need("dim", &dim, "it must be 1 to 16384", (1..=16384).contains(&dim))?;
        let limit = format!("it must be a multiple of --heads {heads}");
        need("dim", &dim, &limit, dim.is_multiple_of(heads))?;
        need("dropout", &dropout, "it must be in [0, 1)", (0.0..1.0).contains(&dropout))
    }
}
