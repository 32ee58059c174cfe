//! The configuration of an experiment: one typed struct, from which flags, TOML keys, `--set` and the resolved
//! `config.toml` of a run come.
//!
//! A key is a field; its flag has dashes in place of underscores. Later layers win: defaults, the file of `--config`,
//! flags, `--set`. Every experiment has the keys of [`RunConfig`] and [`OptimConfig`], and some of its own
//! ([`ExperimentConfig`]).

mod check;
mod choices;
mod classify;
mod effect;
mod error;
mod experiment;
mod grokking;
pub mod language;
mod layers;
pub mod limits;
mod lm;
mod nearest;
mod optim;
mod run;
#[cfg(test)]
mod tests;

pub use choices::{
    AdaptiveChoice, FormError, KappaInit, OptimizerChoice, OrderChoice, RegularizerChoice,
    ScheduleChoice, StepRuleChoice, Widths,
};
pub use classify::ClassifyConfig;
pub use effect::Inert;
pub use error::{ConfigError, Given, Origin};
pub(crate) use error::{expected_by_clap, shown};
pub use experiment::ExperimentConfig;
pub use grokking::GrokkingConfig;
pub use lm::{LmConfig, Unit};
pub(crate) use nearest::nearest;
pub use optim::{ConstraintKeys, OptimConfig};
pub use run::RunConfig;
