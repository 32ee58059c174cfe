//! The keys of what a language model is trained on.

use std::path::PathBuf;

use clap::Args;
use cpr_host::{
    config::{
        ConfigError, Inert, language,
        limits::{self, need},
    },
    data::tokenizer::TokenUnit,
};
use serde::{Deserialize, Serialize};

const DATA: &str = "Data";

/// Where the data is unless it is said.
const FOLDER: &str = "data";

/// A token takes 16 bits.
const LARGEST: usize = 1 << 16;

/// Text or files of tokens, and how much of it a step takes.
///
/// The comment of each field is its line in `--help`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct CorpusKeys {
    /// A folder with train.bin and val.bin (`cpr tokens` makes one), a .bin file of tokens in nanoGPT's or llm.c's format,
    /// or a text file
    #[arg(long, help_heading = DATA, value_name = "PATH", default_value = FOLDER)]
    pub data: PathBuf,
    /// A .bin file of tokens to validate with, where --data is one [default: the end of --data]
    #[arg(long, help_heading = DATA, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// What a token is: gpt2, characters or bytes [default: what meta.json beside the tokens says, gpt2 without one;
    /// characters of a text]
    #[arg(long, help_heading = DATA, value_name = "UNIT", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<TokenUnit>,
    /// The characters, each once; with them the text may be another one [default: those of the data]
    #[arg(long, help_heading = DATA, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alphabet: Option<String>,
    /// Number of tokens that the model knows, up to 65536: at least those of the unit [default: those of the unit]
    #[arg(long, help_heading = DATA, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<usize>,
    /// Share of the data to train on, its beginning, in (0, 1); the rest validates (not where val.bin or --validation does)
    #[arg(
        long, help_heading = DATA, value_name = "X",
        default_value_t = Self::default().train_fraction
    )]
    pub train_fraction: f64,
    /// Sequences in a step, at least 1
    #[arg(long, help_heading = DATA, value_name = "N", default_value_t = Self::default().batch)]
    pub batch: usize,
    /// Passes in which the sequences of a step are taken, whose gradients are summed; divides --batch
    #[arg(long, help_heading = DATA, value_name = "N", default_value_t = Self::default().accumulate)]
    pub accumulate: usize,
    /// Sequences of each part that an evaluation measures, evenly spread over it; 0: all
    #[arg(
        long, help_heading = DATA, value_name = "N",
        default_value_t = Self::default().eval_sequences
    )]
    pub eval_sequences: usize,
}

impl Default for CorpusKeys {
    fn default() -> Self {
        Self {
            data: PathBuf::from(FOLDER),
            validation: None,
            unit: None,
            alphabet: None,
            vocabulary: None,
            train_fraction: 0.9,
            batch: 32,
            accumulate: 1,
            eval_sequences: 128,
        }
    }
}

impl CorpusKeys {
    /// Checks the range of every key.
    ///
    /// # Errors
    /// The first key that is outside, with its value and what is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Self { train_fraction, batch, accumulate, eval_sequences, .. } = *self;
        limits::path("data", &self.data, "file or folder")?;
        if let Some(validation) = &self.validation {
            limits::path("validation", validation, "file")?;
        }
        language::check_data(self.alphabet.as_deref(), train_fraction, batch, eval_sequences)?;
        if let Some(vocabulary) = self.vocabulary {
            let holds = (2..=LARGEST).contains(&vocabulary);
            need("vocabulary", &vocabulary, "it must be 2 to 65536", holds)?;
        }
        let divides = accumulate >= 1 && batch.is_multiple_of(accumulate);
        let limit = format!("it must divide the {batch} sequences of --batch");
        need("accumulate", &accumulate, &limit, divides)
    }

    /// Why a key has no effect, of those of which only this knows.
    #[must_use]
    pub fn inert(&self, key: &str) -> Option<Inert> {
        let other = self.unit.filter(|&unit| unit != TokenUnit::Characters);
        match (key, other) {
            ("alphabet", Some(unit)) => Some(language::inert_alphabet(unit.name())),
            _ => None,
        }
    }

    /// Whether the data is a text file, which is made into tokens in memory.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.data.is_file() && self.data.extension().is_none_or(|end| end != "bin")
    }

    /// Sequences of a pass.
    #[must_use]
    pub const fn sequences(&self) -> usize {
        self.batch / self.accumulate
    }
}
