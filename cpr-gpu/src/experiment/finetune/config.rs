//! `cpr-gpu finetune`: the keys.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use clap::Args;
use cpr_host::{
    config::{
        ConfigError, ExperimentConfig, Inert, KappaInit, OptimConfig, RunConfig, ScheduleChoice,
        language,
        limits::{self, need},
    },
    data::{DataError, tokenizer::TokenUnit},
    schedule::Shape,
};
use serde::{Deserialize, Serialize};

use crate::{
    experiment::{Corpus, CorpusKeys, Precision},
    model::{Lora, gpt2::Pretrained},
};

const MODEL: &str = "Model";

/// Where the model is unless it is said.
const FOLDER: &str = "gpt2";

/// Sequences in a step.
const BATCH: usize = 128;

/// Names of modules, with commas between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Targets(pub Vec<String>);

impl FromStr for Targets {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(text.to_owned()))
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join(","))
    }
}

impl From<Targets> for String {
    fn from(targets: Targets) -> Self {
        targets.to_string()
    }
}

impl From<String> for Targets {
    fn from(text: String) -> Self {
        Self(text.split(',').map(|name| name.trim().to_owned()).collect())
    }
}

/// A GPT-2 that was trained elsewhere, and low-rank additions to its matrices. The defaults are the numbers of the paper's
/// fine-tuning of Mistral-7B: rank 128, α 1, learning rate 5e-4, warm-up 50, batch 128, 100 000 sequences, and Kappa-WS at
/// twice the warm-up.
///
/// The comment of each field is its line in `--help`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct FinetuneKeys {
    /// Seed, length, evaluations, checkpoints, folder.
    #[command(flatten)]
    #[serde(flatten)]
    pub run: RunConfig,

    /// The data.
    #[command(flatten)]
    #[serde(flatten)]
    pub corpus: CorpusKeys,

    /// The GPT-2 to start from, as Hugging Face saves it: model.safetensors, or the folder that holds it
    #[arg(long, help_heading = MODEL, value_name = "PATH", default_value = FOLDER)]
    pub model: PathBuf,
    /// Tokens that the model sees, 1 to those that it was made for [default: as many]
    #[arg(long, help_heading = MODEL, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// Rank of the additions, 1 to 16384
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().rank)]
    pub rank: usize,
    /// Strength of the additions: they are multiplied by alpha over the rank; finite and above 0
    #[arg(long, help_heading = MODEL, value_name = "X", default_value_t = Self::default().alpha)]
    pub alpha: f64,
    /// Modules whose matrices get an addition, by their last names: of c_attn, c_proj, c_fc
    #[arg(
        long, help_heading = MODEL, value_name = "NAMES", default_value_t = Self::default().targets
    )]
    pub targets: Targets,
    /// Type in which passes compute: f32, or bf16 on CUDA; weights and optimizer are f32 [default: bf16 on CUDA, f32 on cpu]
    #[arg(long, help_heading = MODEL, value_name = "TYPE", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,

    /// Optimizer and constraint.
    #[command(flatten)]
    #[serde(flatten)]
    pub optim: OptimConfig,
}

impl Default for FinetuneKeys {
    fn default() -> Self {
        let mut optim = OptimConfig {
            lr: 5e-4,
            schedule: ScheduleChoice(Shape::Cosine),
            warmup: 50,
            clip: Some(1.0),
            ..OptimConfig::default()
        };
        optim.constraint.kappa_init = KappaInit::WarmStartMultiple(2.0);
        Self {
            run: RunConfig { steps: 782, eval_every: 100, ..RunConfig::default() },
            corpus: CorpusKeys { batch: BATCH, ..CorpusKeys::default() },
            model: PathBuf::from(FOLDER),
            context: None,
            rank: 128,
            alpha: 1.0,
            targets: Targets(["c_attn", "c_proj", "c_fc"].map(str::to_owned).to_vec()),
            precision: None,
            optim,
        }
    }
}

impl FinetuneKeys {
    /// Of a text GPT-2's tokens are taken, where nothing else is said.
    pub(super) fn settle_unit(keys: &mut CorpusKeys) {
        if keys.is_text() {
            keys.unit.get_or_insert(TokenUnit::Gpt2);
        }
    }

    /// The additions.
    #[must_use]
    pub fn lora(&self) -> Lora {
        Lora { rank: self.rank, alpha: self.alpha, targets: self.targets.0.clone() }
    }
}

impl ExperimentConfig for FinetuneKeys {
    const EXPERIMENT: &'static str = "finetune";
    const PROGRAM: &'static str = crate::cli::PROGRAM;
    const OF_THE_DATA: &'static [&'static str] = &[
        "data",
        "validation",
        "unit",
        "alphabet",
        "vocabulary",
        "train_fraction",
        "context",
        "model",
    ];
    const OF_THE_MODEL: &'static [&'static str] = &["model", "rank", "targets"];
    const FILLED_IN: &'static [&'static str] = &["unit", "alphabet", "vocabulary", "precision"];

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
        let mut keys = self.corpus.clone();
        Self::settle_unit(&mut keys);
        // A model was made for one token at least, and for how many its file says.
        Corpus::find(&keys, self.context.unwrap_or(1))?;
        Pretrained::find(&self.model)
    }

    fn adapt(flags: clap::Command) -> clap::Command {
        language::adapted(flags).mut_arg("batch", |flag| flag.default_value(BATCH.to_string()))
    }

    fn inert_own(&self, key: &str) -> Option<Inert> {
        language::inert(key).or_else(|| self.corpus.inert(key))
    }

    fn check_own(&self) -> Result<(), ConfigError> {
        self.corpus.check()?;
        limits::path("model", &self.model, "file or folder")?;
        self.context.map_or(Ok(()), language::check_context)?;
        let rank = self.rank;
        need("rank", &rank, "it must be 1 to 16384", (1..=16384).contains(&rank))?;
        let alpha = self.alpha;
        let holds = alpha > 0.0 && alpha.is_finite();
        need("alpha", &alpha, "it must be finite and above 0", holds)?;
        let known = ["c_attn", "c_proj", "c_fc"];
        let holds = self.targets.0.iter().all(|name| known.contains(&name.as_str()));
        need("targets", &self.targets, "it must be some of c_attn, c_proj, c_fc", holds)
    }
}
