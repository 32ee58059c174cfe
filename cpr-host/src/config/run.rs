//! The keys that every run has: seed, length, evaluations, checkpoints, folder.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

use super::error::{ConfigError, refused};
use crate::run_folder::{ALLOWED, fault_of_name};

/// `out`, where runs go.
const RUNS: &str = "runs";

const RUN: &str = "Run";

/// How long a run is, what it writes, and where.
///
/// The comment of each field is its line in `--help`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct RunConfig {
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
    /// Folder of all runs; this one goes to DIR/EXPERIMENT/NAME
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
}

impl Default for RunConfig {
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
        }
    }
}

impl RunConfig {
    /// Checks the range of every key.
    ///
    /// # Errors
    /// The first key that is outside, with its value and what is allowed.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let need = |key, value: &dyn std::fmt::Display, limit, holds| {
            if holds { Ok(()) } else { Err(refused(key, value, limit)) }
        };
        // TOML has no larger integers.
        let limit = "it must be at most 2^63 - 1";
        for (key, count) in [
            ("seed", self.seed),
            ("steps", self.steps),
            ("epochs", self.epochs),
            ("eval_every", self.eval_every),
            ("checkpoint_every", self.checkpoint_every),
            ("max_bad_steps", self.max_bad_steps),
        ] {
            need(key, &count, limit, i64::try_from(count).is_ok())?;
        }
        need("keep", &self.keep, "it must be at most 2^31", self.keep <= 1 << 31)?;
        need("threads", &self.threads, "it must be at most 1024", self.threads <= 1024)?;
        if self.steps == 0 {
            need("epochs", &self.epochs, "it must be at least 1", self.epochs >= 1)?;
        }
        if let Some(accuracy) = self.stop_at_accuracy {
            let holds = accuracy > 0.0 && accuracy <= 1.0;
            need("stop_at_accuracy", &accuracy, "it must be in (0, 1]", holds)?;
        }
        need("eval_every", &self.eval_every, "it must be at least 1", self.eval_every >= 1)?;
        let bad = self.max_bad_steps;
        need("max_bad_steps", &bad, "it must be at least 1", bad >= 1)?;
        let out = self.out.to_str().filter(|out| !out.is_empty());
        let limit = "it must be the name of a folder, in UTF-8";
        need("out", &format!("{:?}", self.out), limit, out.is_some())?;
        if let Some(name) = &self.name
            && let Some(fault) = fault_of_name(name)
        {
            return Err(refused("name", format!("{name:?}"), &format!("{fault}; {ALLOWED}")));
        }
        Ok(())
    }

    /// Steps of the run: `steps`, or those of `epochs` epochs of that many steps.
    #[must_use]
    pub fn total_steps(&self, per_epoch: u64) -> u64 {
        match self.steps {
            0 => self.epochs.saturating_mul(per_epoch),
            steps => steps,
        }
    }
}
