//! `cpr grokking`: modular addition.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{ConfigError, ExperimentConfig, OptimConfig, RunConfig, error::refused};

const DATA: &str = "Data";
const MODEL: &str = "Model";

/// Modular addition: what to train, on what, and how. The default is the recipe of the example.
///
/// The comment of each field is its line in `--help`.
///
/// ```
/// use cpr_host::config::{ExperimentConfig as _, GrokkingConfig};
/// let mut config = GrokkingConfig::default();
/// config.optim.lr = 3e-4;
/// assert!(config.check().is_ok());
/// config.optim.beta2 = 1.0;
/// assert_eq!(config.check().unwrap_err().to_string(), "beta2 = 1: it must be in [0, 1)");
/// ```
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct GrokkingConfig {
    /// Seed, length, evaluations, checkpoints, folder.
    #[command(flatten)]
    #[serde(flatten)]
    pub run: RunConfig,

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

    /// Optimizer and constraint.
    #[command(flatten)]
    #[serde(flatten)]
    pub optim: OptimConfig,
}

impl Default for GrokkingConfig {
    fn default() -> Self {
        Self {
            run: RunConfig::default(),
            p: 113,
            train_fraction: 0.3,
            batch: 512,
            dim: 128,
            heads: 4,
            mlp_ratio: 4,
            optim: OptimConfig::default(),
        }
    }
}

impl ExperimentConfig for GrokkingConfig {
    const EXPERIMENT: &'static str = "grokking";
    const OF_THE_MODEL: &'static [&'static str] = &["p", "dim", "mlp_ratio"];

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

    fn check_own(&self) -> Result<(), ConfigError> {
        let need = |key, value: &dyn std::fmt::Display, limit, holds| {
            if holds { Ok(()) } else { Err(refused(key, value, limit)) }
        };
        let Self { p, train_fraction, batch, dim, heads, mlp_ratio, .. } = *self;
        need("p", &p, "it must be 2 to 2048", (2..=2048).contains(&p))?;
        let open = train_fraction > 0.0 && train_fraction < 1.0;
        need("train_fraction", &train_fraction, "it must be in (0, 1)", open)?;
        // Whichever way the share is rounded, both sides have a pair.
        let pairs = u32::try_from(p * p).map_or(f64::INFINITY, f64::from);
        let both = pairs * train_fraction >= 1.0 && pairs * (1.0 - train_fraction) >= 1.0;
        let limit = "it must leave at least one of the p^2 pairs on each side";
        need("train_fraction", &train_fraction, limit, both)?;
        let largest = 1 << 24;
        need("batch", &batch, "it must be 1 to 2^24", (1..=largest).contains(&batch))?;
        need("heads", &heads, "it must be at least 1", heads >= 1)?;
        need("dim", &dim, "it must be 1 to 16384", (1..=16384).contains(&dim))?;
        let limit = format!("it must be a multiple of --heads {heads}");
        need("dim", &dim, &limit, dim.is_multiple_of(heads))?;
        need("mlp_ratio", &mlp_ratio, "it must be 1 to 64", (1..=64).contains(&mlp_ratio))
    }
}
