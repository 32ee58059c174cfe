//! The keys of the optimizer and of its constraints.

use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

use super::{
    AdaptiveChoice, KappaInit, OptimizerChoice, OrderChoice, RegularizerChoice, ScheduleChoice,
    StepRuleChoice,
};
use crate::schedule::Shape;

/// `eps`, as `--help` shows it.
const EPS: &str = "1e-8";

const OPTIMIZER: &str = "Optimizer";
const CONSTRAINT: &str = "Constraint";

/// The optimizer, its learning rate, its decay, and the bound of each matrix where it has one.
///
/// The comment of each field is its line in `--help`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct OptimConfig {
    /// adamcpr, adamw, adam, sgd, sgdcpr, padam, adaml1, adaml32, adadecay, awd, amos or rescale
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
    /// Largest global norm of the gradient, above 0; inf: none [default: none]
    #[arg(long, help_heading = OPTIMIZER, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Decay of Adam's first moment, of amos the momentum, in [0, 1)
    #[arg(long, help_heading = OPTIMIZER, value_name = "X", default_value_t = Self::default().beta1)]
    pub beta1: f64,
    /// Decay of Adam's or amos's second moment, in [0, 1)
    #[arg(long, help_heading = OPTIMIZER, value_name = "X", default_value_t = Self::default().beta2)]
    pub beta2: f64,
    /// Term beside the root of Adam's second moment, finite and at least 0
    #[arg(long, help_heading = OPTIMIZER, value_name = "X", default_value = EPS)]
    pub eps: f64,
    /// Divide by the largest second moment so far (not for padam, adaml1, adaml32)
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
    /// Weight decay, finite and at least 0 (awd: in units of the gradient's norm) [default: 0.1, decoupled, for adamw and
    /// adadecay; 0.01, decoupled, for awd; 0 for amos and adaml1; 0, coupled, for adam and sgd]
    #[arg(long, help_heading = OPTIMIZER, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Decay of the last step in units of the first, along a cosine, finite and at least 0; 1: constant
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "X",
        default_value_t = Self::default().weight_decay_end
    )]
    pub weight_decay_end: f64,
    /// Steepness of adadecay's sigmoid, in [0, 100]
    #[arg(
        long, help_heading = OPTIMIZER, value_name = "X",
        default_value_t = Self::default().adadecay_alpha
    )]
    pub adadecay_alpha: f64,
    /// Exponent p of padam's decay, above 0 and at most 64
    #[arg(long, help_heading = OPTIMIZER, value_name = "X", default_value_t = Self::default().p_norm)]
    pub p_norm: f64,
    /// Strength of the decay of padam, adaml1 and adaml32, finite and at least 0
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

    /// The bound of each matrix.
    #[command(flatten)]
    #[serde(flatten)]
    pub constraint: ConstraintKeys,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
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
            weight_decay_end: 1.0,
            adadecay_alpha: 4.0,
            p_norm: 0.8,
            lambda_p: 1e-3,
            padam_late: false,
            rescale_factor: 1.0,
            constraint: ConstraintKeys::default(),
        }
    }
}

/// The bound of each regularized matrix: what is measured, how κ is set, how the matrix is corrected.
///
/// The comment of each field is its line in `--help`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct ConstraintKeys {
    /// Measure R of a matrix, which is bounded: l2 (sum of squares), l1 (sum of magnitudes), std (standard deviation),
    /// huber, huber=DELTA or lp=P (sum of magnitudes to the power P, above 0, at most 64)
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

impl Default for ConstraintKeys {
    fn default() -> Self {
        Self {
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
