//! `cpr-gpu gpt2`: the keys.

use clap::{ArgAction, Args, ValueEnum};
use cpr_host::{
    config::{
        ConfigError, ExperimentConfig, Inert, KappaInit, OptimConfig, RunConfig, ScheduleChoice,
        language, limits::need,
    },
    data::DataError,
    schedule::Shape,
};
use serde::{Deserialize, Serialize};

use crate::{
    experiment::{Corpus, CorpusKeys},
    model::Gpt2Config,
};

const MODEL: &str = "Model";

/// `eps` of the recipe.
const EPS: f64 = 1e-9;

/// A size of the paper: width, layers, heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Size {
    /// 768/12/12, 124M.
    S,
    /// 1024/24/16, 354M.
    M,
    /// 1280/36/20, 773M.
    L,
    /// 1600/36/25, 1.2B.
    Xl,
}

impl Size {
    /// The recipe at that size.
    #[must_use]
    pub const fn model(self) -> Gpt2Config {
        match self {
            Self::S => Gpt2Config::s(),
            Self::M => Gpt2Config::m(),
            Self::L => Gpt2Config::l(),
            Self::Xl => Gpt2Config::xl(),
        }
    }
}

/// The type in which passes compute. Weights, moments and gradients of weights are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Precision {
    /// Single precision.
    F32,
    /// Half precision with the exponents of f32; the loss is f32.
    Bf16,
}

/// GPT-2 on tokens. The defaults are the recipe of the paper for OpenWebText at size s, where it says one: 200 000 steps,
/// warm-up 5000, cosine to a tenth, β 0.9 and 0.99, ε 1e-9, clip 1, dropout 0.1, rotary fraction 0.5, context 1024,
/// batch 32, and Kappa-WS at twice the warm-up in place of weight decay.
///
/// The comment of each field is its line in `--help`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpt2Keys {
    /// Seed, length, evaluations, checkpoints, folder.
    #[command(flatten)]
    #[serde(flatten)]
    pub run: RunConfig,

    /// The data.
    #[command(flatten)]
    #[serde(flatten)]
    pub corpus: CorpusKeys,

    /// Size by name: s, m, l or xl (width/layers/heads 768/12/12, 1024/24/16, 1280/36/20, 1600/36/25)
    #[arg(
        long, help_heading = MODEL, value_name = "SIZE", hide_possible_values = true,
        default_value = "s"
    )]
    pub size: Size,
    /// Blocks of attention and MLP, 1 to 256 [default: of the size]
    #[arg(long, help_heading = MODEL, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Attention heads, at least 1 [default: of the size]
    #[arg(long, help_heading = MODEL, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Width, a multiple of --heads, up to 16384 [default: of the size]
    #[arg(long, help_heading = MODEL, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Tokens that the model sees, 1 to 65536
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().context)]
    pub context: usize,
    /// Share of each head that rotary positions turn, in [0, 1]; 0: learned positions, as OpenAI's weights have
    #[arg(long, help_heading = MODEL, value_name = "X", default_value_t = Self::default().rotary)]
    pub rotary: f64,
    /// Share of activations dropped in training, in [0, 1)
    #[arg(long, help_heading = MODEL, value_name = "X", default_value_t = Self::default().dropout)]
    pub dropout: f64,
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
    /// Type in which passes compute: f32, or bf16 on CUDA; weights and optimizer are f32 [default: bf16 on CUDA, f32 on cpu]
    #[arg(long, help_heading = MODEL, value_name = "TYPE", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Keep no activations of the blocks but their inputs, and compute them again in the backward pass
    #[arg(
        long, help_heading = MODEL, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().recompute
    )]
    pub recompute: bool,

    /// Optimizer and constraint.
    #[command(flatten)]
    #[serde(flatten)]
    pub optim: OptimConfig,
}

impl Default for Gpt2Keys {
    fn default() -> Self {
        let mut optim = OptimConfig {
            schedule: ScheduleChoice(Shape::Cosine),
            warmup: 5000,
            beta2: 0.99,
            eps: EPS,
            clip: Some(1.0),
            ..OptimConfig::default()
        };
        optim.constraint.kappa_init = KappaInit::WarmStartMultiple(2.0);
        optim.constraint.regularize_embeddings = false;
        let Gpt2Config { context, rotary, dropout, bias, tied, .. } = Size::S.model();
        Self {
            run: RunConfig { steps: 200_000, eval_every: 1000, ..RunConfig::default() },
            corpus: CorpusKeys::default(),
            size: Size::S,
            layers: None,
            heads: None,
            width: None,
            context,
            rotary,
            dropout,
            bias,
            tied,
            precision: None,
            recompute: false,
            optim,
        }
    }
}

impl Gpt2Keys {
    /// Sizes and options of the network, for that many tokens.
    #[must_use]
    pub fn model(&self, vocabulary: usize) -> Gpt2Config {
        let Self { context, rotary, dropout, bias, tied, .. } = *self;
        let size = self.size.model();
        Gpt2Config {
            layers: self.layers.unwrap_or(size.layers),
            width: self.width.unwrap_or(size.width),
            heads: self.heads.unwrap_or(size.heads),
            context,
            vocabulary,
            rotary,
            dropout,
            bias,
            tied,
        }
    }
}

impl ExperimentConfig for Gpt2Keys {
    const EXPERIMENT: &'static str = "gpt2";
    const PROGRAM: &'static str = crate::cli::PROGRAM;
    const OF_THE_DATA: &'static [&'static str] =
        &["data", "validation", "unit", "alphabet", "vocabulary", "train_fraction", "context"];
    const OF_THE_MODEL: &'static [&'static str] = &[
        "unit",
        "alphabet",
        "vocabulary",
        "size",
        "layers",
        "width",
        "context",
        "rotary",
        "bias",
        "tied",
    ];
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
        Corpus::find(&self.corpus, self.context)
    }

    fn adapt(flags: clap::Command) -> clap::Command {
        language::adapted(flags)
    }

    fn inert_own(&self, key: &str) -> Option<Inert> {
        language::inert(key).or_else(|| self.corpus.inert(key))
    }

    fn check_own(&self) -> Result<(), ConfigError> {
        self.corpus.check()?;
        let Gpt2Config { layers, width, heads, context, rotary, dropout, .. } = self.model(2);
        language::check_context(context)?;
        language::check_network(layers, heads, ("width", width), dropout)?;
        let size = width / heads;
        let limit = format!(
            "it must be 0, or at most 1 and turn at least 2 of the {size} numbers of a head"
        );
        // A width is far below 2⁵³.
        let turned = rotary * size as f64;
        let holds = rotary == 0.0 || (rotary > 0.0 && rotary <= 1.0 && turned >= 2.0);
        need("rotary", &rotary, &limit, holds)
    }
}
