//! Options that are a choice: typed, read from and written as the text that flags and TOML have.

use std::{fmt, str::FromStr};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::schedule::Shape;

/// A text that is none of the forms of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {allowed}")]
pub struct FormError {
    /// The forms that are allowed.
    pub allowed: &'static str,
}

/// Which optimizer trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum OptimizerChoice {
    /// Adam, the matrices under a bound.
    AdamCpr,
    /// Adam with decoupled weight decay.
    AdamW,
    /// Adam, with coupled weight decay where it is asked for.
    Adam,
    /// SGD with momentum and coupled weight decay.
    Sgd,
    /// SGD with momentum, the matrices under a bound.
    SgdCpr,
    /// Adam with decoupled decay of a p-norm.
    PAdam,
    /// Adam with the proximal decay of the L1 norm.
    AdamL1,
    /// Adam with the proximal decay of Σ|w|^{3/2}.
    AdamL32,
    /// Adam with AdaDecay: each weight decays by how large its gradient is in its matrix.
    AdaDecay,
    /// Adam with AWD: the decay keeps a share of the gradient's norm.
    Awd,
    /// Amos.
    Amos,
    /// Adam, all weights together held at a multiple of their norm at the start.
    Rescale,
}

impl OptimizerChoice {
    /// Whether it puts matrices under a bound.
    #[must_use]
    pub const fn is_constrained(self) -> bool {
        matches!(self, Self::AdamCpr | Self::SgdCpr)
    }
}

/// Whether κ falls during training: [`cpr_core::Adaptive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdaptiveChoice {
    /// κ stays.
    Off,
    /// κ falls to R when λ falls to 0.
    OnRelease,
    /// κ falls with R while λ is 0.
    WhileInactive,
}

impl From<AdaptiveChoice> for cpr_core::Adaptive {
    fn from(choice: AdaptiveChoice) -> Self {
        match choice {
            AdaptiveChoice::Off => Self::Off,
            AdaptiveChoice::OnRelease => Self::OnRelease,
            AdaptiveChoice::WhileInactive => Self::WhileInactive,
        }
    }
}

/// Where R is taken: [`cpr_core::Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderChoice {
    /// After the base step.
    AfterBase,
    /// Before it.
    BeforeBase,
}

impl From<OrderChoice> for cpr_core::Order {
    fn from(choice: OrderChoice) -> Self {
        match choice {
            OrderChoice::AfterBase => Self::AfterBase,
            OrderChoice::BeforeBase => Self::BeforeBase,
        }
    }
}

impl From<cpr_core::Order> for OrderChoice {
    fn from(order: cpr_core::Order) -> Self {
        match order {
            cpr_core::Order::AfterBase => Self::AfterBase,
            cpr_core::Order::BeforeBase => Self::BeforeBase,
        }
    }
}

/// How the correction is made: [`cpr_core::StepRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepRuleChoice {
    /// A step along the gradient of R.
    Gradient,
    /// The prox of R.
    Proximal,
}

impl From<StepRuleChoice> for cpr_core::StepRule {
    fn from(choice: StepRuleChoice) -> Self {
        match choice {
            StepRuleChoice::Gradient => Self::Gradient,
            StepRuleChoice::Proximal => Self::Proximal,
        }
    }
}

/// `Display` of the choices without numbers: the name on the command line.
macro_rules! display_name {
    ($($choice:ty),+) => {$(
        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.to_possible_value() {
                    Some(value) => f.write_str(value.get_name()),
                    None => Ok(()),
                }
            }
        }
    )+};
}
display_name!(OptimizerChoice, AdaptiveChoice, OrderChoice, StepRuleChoice);

/// The measure R: `l2`, `l1`, `std`, `huber`, `huber=DELTA`, `lp=P`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RegularizerChoice {
    /// Σθ².
    L2,
    /// Σ|θ|.
    L1,
    /// Sample standard deviation.
    Std,
    /// Huber norm with this δ, finite and above 0.
    Huber(f64),
    /// Σ|θ|^p with this p, finite and above 0.
    Lp(f64),
}

impl FromStr for RegularizerChoice {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        match Form::of(text) {
            Form { name: "l2", value: None } => Some(Self::L2),
            Form { name: "l1", value: None } => Some(Self::L1),
            Form { name: "std", value: None } => Some(Self::Std),
            Form { name: "huber", value: None } => Some(Self::Huber(1.0)),
            Form { name: "huber", value } => number(value).map(Self::Huber),
            Form { name: "lp", value } => number(value).map(Self::Lp),
            _ => None,
        }
        .ok_or(FormError { allowed: "l2, l1, std, huber, huber=DELTA or lp=P (numbers)" })
    }
}

impl fmt::Display for RegularizerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::L2 => f.write_str("l2"),
            Self::L1 => f.write_str("l1"),
            Self::Std => f.write_str("std"),
            Self::Huber(delta) => write!(f, "huber={delta}"),
            Self::Lp(p) => write!(f, "lp={p}"),
        }
    }
}

/// How κ is set: [`cpr_core::BoundInit`], with what only the configuration knows left open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KappaInit {
    /// `dependent=K`: κ = K·R of the initial matrix, K finite and above 0.
    Dependent(f64),
    /// `uniform=K`: κ = K, at least 0 or inf.
    Uniform(f64),
    /// `per-element=K`: κ = K·n, K at least 0 or inf.
    PerElement(f64),
    /// `warm-start=S`: κ = R after S steps, at least 1.
    WarmStart(u64),
    /// `warm-start=Mx`: κ = R after M times the learning-rate warm-up, M finite and above 0.
    WarmStartMultiple(f64),
    /// `inflection=I`: κ = R at its first inflection, sampled every I steps; `inflection`: every 10 % of the
    /// learning-rate warm-up.
    Inflection(Option<u64>),
}

impl FromStr for KappaInit {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        match Form::of(text) {
            Form { name: "dependent", value } => number(value).map(Self::Dependent),
            Form { name: "uniform", value } => number(value).map(Self::Uniform),
            Form { name: "per-element", value } => number(value).map(Self::PerElement),
            Form { name: "warm-start", value: Some(value) } => match value.strip_suffix('x') {
                Some(multiple) => number(Some(multiple)).map(Self::WarmStartMultiple),
                None => value.parse().ok().map(Self::WarmStart),
            },
            Form { name: "inflection", value: None } => Some(Self::Inflection(None)),
            Form { name: "inflection", value: Some(value) } => {
                value.parse().ok().map(|interval| Self::Inflection(Some(interval)))
            }
            _ => None,
        }
        .ok_or(FormError {
            allowed: "dependent=K, uniform=K, per-element=K (numbers), warm-start=STEPS, \
                      warm-start=2x (times the warm-up), inflection or inflection=STEPS",
        })
    }
}

impl fmt::Display for KappaInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dependent(factor) => write!(f, "dependent={factor}"),
            Self::Uniform(kappa) => write!(f, "uniform={kappa}"),
            Self::PerElement(kappa) => write!(f, "per-element={kappa}"),
            Self::WarmStart(steps) => write!(f, "warm-start={steps}"),
            Self::WarmStartMultiple(multiple) => write!(f, "warm-start={multiple}x"),
            Self::Inflection(None) => f.write_str("inflection"),
            Self::Inflection(Some(interval)) => write!(f, "inflection={interval}"),
        }
    }
}

/// What the learning rate does after its warm-up: `constant`, `cosine`, `linear`, `polynomial=POWER`, `wsd=STEPS`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleChoice(pub Shape);

impl FromStr for ScheduleChoice {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        match Form::of(text) {
            Form { name: "constant", value: None } => Some(Shape::Constant),
            Form { name: "cosine", value: None } => Some(Shape::Cosine),
            Form { name: "linear", value: None } => Some(Shape::Linear),
            Form { name: "polynomial", value } => {
                number(value).map(|power| Shape::Polynomial { power })
            }
            Form { name: "wsd", value: Some(steps) } => {
                steps.parse().ok().map(|decay| Shape::Stable { decay })
            }
            _ => None,
        }
        .map(Self)
        .ok_or(FormError {
            allowed: "constant, cosine, linear, polynomial=POWER or wsd=STEPS (of the decay)",
        })
    }
}

impl fmt::Display for ScheduleChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Shape::Constant => f.write_str("constant"),
            Shape::Cosine => f.write_str("cosine"),
            Shape::Linear => f.write_str("linear"),
            Shape::Polynomial { power } => write!(f, "polynomial={power}"),
            Shape::Stable { decay } => write!(f, "wsd={decay}"),
        }
    }
}

/// Widths of hidden layers, from the first to the last: `256,128`, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widths(pub Vec<usize>);

impl FromStr for Widths {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let widths: Option<Vec<usize>> =
            text.split(',').map(|width| width.trim().parse().ok()).collect();
        widths
            .map(Self)
            .ok_or(FormError { allowed: "none, or widths with commas between them, as 256,128" })
    }
}

impl fmt::Display for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let widths: Vec<_> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&widths.join(","))
    }
}

/// `name` or `name=value`.
struct Form<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl<'a> Form<'a> {
    fn of(text: &'a str) -> Self {
        match text.split_once('=') {
            Some((name, value)) => Self { name, value: Some(value) },
            None => Self { name: text, value: None },
        }
    }
}

fn number(text: Option<&str>) -> Option<f64> {
    text?.parse().ok()
}

/// Serde as a string, by `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($($choice:ty),+) => {$(
        impl Serialize for $choice {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $choice {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
serde_as_text!(RegularizerChoice, KappaInit, ScheduleChoice, Widths);
