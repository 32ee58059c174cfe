//! The experiment's configuration: one typed struct, from which flags, TOML keys, `--set` and the resolved
//! `config.toml` of a run come.
//!
//! A key is a field of [`GrokkingConfig`]; its flag has dashes in place of underscores. Later layers win:
//! defaults, the file of `--config`, flags, `--set`.

mod check;
mod choices;
mod effect;
mod error;
mod layers;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

pub use choices::{
    AdaptiveChoice, FormError, KappaInit, OptimizerChoice, OrderChoice, RegularizerChoice,
    ScheduleChoice, StepRuleChoice,
};
pub use error::{ConfigError, Given, Origin};
pub(crate) use error::{expected_by_clap, shown};

use crate::schedule::Shape;

/// `out`, where runs go.
const RUNS: &str = "runs";
/// `eps`, as `--help` shows it.
const EPS: &str = "1e-8";

const RUN: &str = "Run";
const DATA: &str = "Data";
const MODEL: &str = "Model";
const OPTIMIZER: &str = "Optimizer";
const CONSTRAINT: &str = "Constraint";

/// Modular addition: what to train, on what, and how. The default is the recipe of the example.
///
/// The comment of each field is its line in `--help`.
///
/// ```
/// use cpr_host::config::GrokkingConfig;
/// let config = GrokkingConfig { lr: 3e-4, ..GrokkingConfig::default() };
/// assert!(config.check().is_ok());
/// let wrong = GrokkingConfig { beta2: 1.0, ..config };
/// assert_eq!(wrong.check().unwrap_err().to_string(), "beta2 = 1: it must be in [0, 1)");
/// ```
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrokkingConfig {
    /// Seed of all random streams, 0 to 2^63 - 1
    #[arg(long, help_heading = RUN, value_name = "N", default_value_t = Self::default().seed)]
    pub seed: u64,
    /// Threads, up to 1024; 0: all cores. The results do not depend on it
    #[arg(long, help_heading = RUN, value_name = "N", default_value_t = Self::default().threads)]
    pub threads: usize,
    /// Length of the run in steps; 0: as many as --epochs says
    #[arg(long, help_heading = RUN, value_name = "N", default_value_t = Self::default().steps)]
    pub steps: u64,
    /// Length of the run in passes over the training data, at least 1
    #[arg(long, help_heading = RUN, value_name = "N", default_value_t = Self::default().epochs)]
    pub epochs: u64,
    /// End once the validation accuracy is at least X, in (0, 1] [default: never]
    #[arg(long, help_heading = RUN, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_at_accuracy: Option<f64>,
    /// Epochs from one evaluation to the next, at least 1
    #[arg(long, help_heading = RUN, value_name = "N", default_value_t = Self::default().eval_every)]
    pub eval_every: u64,
    /// Steps from one checkpoint to the next; 0: only at the end
    #[arg(
        long, help_heading = RUN, value_name = "N",
        default_value_t = Self::default().checkpoint_every
    )]
    pub checkpoint_every: u64,
    /// Numbered checkpoints to keep beside `last` and `best`; 0: none
    #[arg(long, help_heading = RUN, value_name = "N", default_value_t = Self::default().keep)]
    pub keep: usize,
    /// Folder of all runs; this one goes to DIR/grokking/NAME
    #[arg(long, help_heading = RUN, value_name = "DIR", default_value = RUNS)]
    pub out: PathBuf,
    /// Name of the run, one folder name [default: made from the options]
    #[arg(long, help_heading = RUN, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Do not look for non-finite gradients before each step
    #[arg(
        long, help_heading = RUN, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().skip_finite_check
    )]
    pub skip_finite_check: bool,
    /// Steps in a row skipped for non-finite gradients that end the run, at least 1
    #[arg(
        long, help_heading = RUN, value_name = "N",
        default_value_t = Self::default().max_bad_steps
    )]
    pub max_bad_steps: u64,

    /// Modulus of the sum, 2 to 2048; the data are all p^2 pairs
    #[arg(long, help_heading = DATA, value_name = "N", default_value_t = Self::default().p)]
    pub p: usize,
    /// Share of the pairs to train on, in (0, 1); the rest validates
    #[arg(
        long, help_heading = DATA, value_name = "X",
        default_value_t = Self::default().train_fraction
    )]
    pub train_fraction: f64,
    /// Pairs in a step, at least 1
    #[arg(long, help_heading = DATA, value_name = "N", default_value_t = Self::default().batch)]
    pub batch: usize,

    /// Width, a multiple of --heads, up to 16384
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().dim)]
    pub dim: usize,
    /// Attention heads, at least 1
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().heads)]
    pub heads: usize,
    /// Width of the MLP in units of --dim, 1 to 64
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().mlp_ratio)]
    pub mlp_ratio: usize,

    /// adamcpr, adamw, adam, sgd, sgdcpr, padam or rescale
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "NAME", hide_possible_values = true,
        default_value_t = Self::default().optimizer
    )]
    pub optimizer: OptimizerChoice,
    /// Learning rate at its peak, finite and above 0
    #[arg(long, help_heading = OPTIMIZER, value_name = "X", default_value_t = Self::default().lr)]
    pub lr: f64,
    /// After the warm-up: constant, cosine, linear, polynomial=POWER or wsd=STEPS (of its decay)
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "FORM",
        default_value_t = Self::default().schedule
    )]
    pub schedule: ScheduleChoice,
    /// Steps in which the learning rate rises to its peak, 0 for none
    #[arg(long, help_heading = OPTIMIZER, value_name = "N", default_value_t = Self::default().warmup)]
    pub warmup: u64,
    /// Learning rate of the last step in units of --lr, in [0, 1] (not for constant)
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "X",
        default_value_t = Self::default().min_lr_factor
    )]
    pub min_lr_factor: f64,
    /// Largest global norm of the gradient, finite and above 0 [default: none]
    #[arg(long, help_heading = OPTIMIZER, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Decay of Adam's first moment, in [0, 1)
    #[arg(long, help_heading = OPTIMIZER, value_name = "X", default_value_t = Self::default().beta1)]
    pub beta1: f64,
    /// Decay of Adam's second moment, in [0, 1)
    #[arg(long, help_heading = OPTIMIZER, value_name = "X", default_value_t = Self::default().beta2)]
    pub beta2: f64,
    /// Term beside the root of Adam's second moment, finite and at least 0
    #[arg(long, help_heading = OPTIMIZER, value_name = "X", default_value = EPS)]
    pub eps: f64,
    /// Divide by the largest second moment so far (not for padam)
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().amsgrad
    )]
    pub amsgrad: bool,
    /// Momentum of sgd and sgdcpr, in [0, 1)
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "X",
        default_value_t = Self::default().momentum
    )]
    pub momentum: f64,
    /// Dampening of the gradient that enters the momentum, in [0, 1]
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "X",
        default_value_t = Self::default().dampening
    )]
    pub dampening: f64,
    /// Nesterov momentum for sgd and sgdcpr; needs momentum and no dampening
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().nesterov
    )]
    pub nesterov: bool,
    /// Weight decay, finite and at least 0 [default: 0.1, decoupled, for adamw; 0, coupled, for adam and sgd]
    #[arg(long, help_heading = OPTIMIZER, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Exponent p of padam's decay, above 0 and at most 64
    #[arg(long, help_heading = OPTIMIZER, value_name = "X", default_value_t = Self::default().p_norm)]
    pub p_norm: f64,
    /// Strength of padam's decay, finite and at least 0
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "X",
        default_value_t = Self::default().lambda_p
    )]
    pub lambda_p: f64,
    /// padam's decay by the weight after the Adam step in place of before it
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().padam_late
    )]
    pub padam_late: bool,
    /// Norm of all weights at which rescale holds them, in units of the initial one, finite and above 0
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "X",
        default_value_t = Self::default().rescale_factor
    )]
    pub rescale_factor: f64,

    /// Measure R of a matrix: l2, l1, std, huber, huber=DELTA or lp=P (above 0, at most 64)
    #[arg(long, help_heading = CONSTRAINT, value_name = "FORM", default_value_t = Self::default().reg)]
    pub reg: RegularizerChoice,
    /// Bound kappa of R: dependent=K (K * R at the start, K > 0), uniform=K (K >= 0), per-element=K (K * elements),
    /// warm-start=STEPS (R of that step), warm-start=2x (that many warm-ups), inflection (where R first inflects,
    /// watched every 10 % of the warm-up) or inflection=STEPS (every STEPS)
    #[arg(
        long, help_heading = CONSTRAINT, value_name = "FORM",
        default_value_t = Self::default().kappa_init
    )]
    pub kappa_init: KappaInit,
    /// Weight of the past in the R that inflection watches, in [0, 1) [default: R itself]
    #[arg(long, help_heading = CONSTRAINT, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inflection_smoothing: Option<f64>,
    /// Steps in which inflection does not set the bound, 0 or more
    #[arg(
        long, help_heading = CONSTRAINT, value_name = "N",
        default_value_t = Self::default().inflection_burn_in
    )]
    pub inflection_burn_in: u64,
    /// Whether the bound falls to R (AdaCPR): off, on-release (when lambda falls to 0) or while-inactive
    #[arg(
        long, help_heading = CONSTRAINT, value_name = "FORM", hide_possible_values = true,
        default_value_t = Self::default().adaptive
    )]
    pub adaptive: AdaptiveChoice,
    /// Rate of lambda, finite and at least 0 [default: 1, but 0.1 for lp with p up to 1]
    #[arg(long, help_heading = CONSTRAINT, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mu: Option<f64>,
    /// Take R after the optimizer's step or before it: after-base or before-base [default: after-base, but before-base for lp with p up to 1]
    #[arg(long, help_heading = CONSTRAINT, value_name = "FORM", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderChoice>,
    /// Correct along the gradient of R, or by its proximal map: gradient or proximal
    #[arg(
        long, help_heading = CONSTRAINT, value_name = "FORM", hide_possible_values = true,
        default_value_t = Self::default().step_rule
    )]
    pub step_rule: StepRuleChoice,
    /// Keep a gradient correction from carrying weights through zero
    #[arg(
        long, help_heading = CONSTRAINT, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().guard
    )]
    pub guard: bool,
    /// Multiply the correction by the learning rate [default: false, but true for lp with p up to 1]
    #[arg(
        long, help_heading = CONSTRAINT, value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", hide_possible_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_by_lr: Option<bool>,
    /// Regularise the embeddings too (bound or decay); biases never are
    #[arg(
        long, help_heading = CONSTRAINT, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().regularize_embeddings
    )]
    pub regularize_embeddings: bool,
}

impl Default for GrokkingConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            threads: 0,
            steps: 0,
            epochs: 1000,
            stop_at_accuracy: None,
            eval_every: 5,
            checkpoint_every: 1000,
            keep: 2,
            out: PathBuf::from(RUNS),
            name: None,
            skip_finite_check: false,
            max_bad_steps: 20,
            p: 113,
            train_fraction: 0.3,
            batch: 512,
            dim: 128,
            heads: 4,
            mlp_ratio: 4,
            optimizer: OptimizerChoice::AdamCpr,
            lr: 1e-3,
            schedule: ScheduleChoice(Shape::Constant),
            warmup: 0,
            min_lr_factor: 0.1,
            clip: None,
            beta1: 0.9,
            beta2: 0.98,
            eps: 1e-8,
            amsgrad: false,
            momentum: 0.9,
            dampening: 0.0,
            nesterov: false,
            weight_decay: None,
            p_norm: 0.8,
            lambda_p: 1e-3,
            padam_late: false,
            rescale_factor: 1.0,
            reg: RegularizerChoice::L2,
            kappa_init: KappaInit::Dependent(0.8),
            inflection_smoothing: None,
            inflection_burn_in: 0,
            adaptive: AdaptiveChoice::Off,
            mu: None,
            order: None,
            step_rule: StepRuleChoice::Gradient,
            guard: true,
            scale_by_lr: None,
            regularize_embeddings: true,
        }
    }
}

/// The flags of the configuration, each with its key as id.
fn flags() -> clap::Command {
    GrokkingConfig::augment_args(clap::Command::new("grokking"))
}

/// All keys, in the order of `--help`.
#[must_use]
pub fn keys() -> Vec<String> {
    flags().get_arguments().map(|flag| flag.get_id().to_string()).collect()
}

/// What a key means and may be, its line of `--help`.
pub(crate) fn help_of(key: &str) -> Option<String> {
    let flags = flags();
    let flag = flags.get_arguments().find(|flag| flag.get_id() == key)?;
    flag.get_help().map(ToString::to_string)
}
