//! `cpr classify`: a perceptron on labelled images.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    ConfigError, ExperimentConfig, KappaInit, OptimConfig, RunConfig, ScheduleChoice, Widths,
    limits::{self, need},
};
use crate::{
    data::{DataError, images::ImageData},
    schedule::Shape,
};

const DATA: &str = "Data";
const MODEL: &str = "Model";

/// The folder of the data.
const FOLDER: &str = "data";

/// Images of a few classes: what to train, on what, and how. The default is the paper's Kappa-WS.
///
/// The comment of each field is its line in `--help`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassifyConfig {
    /// Seed, length, evaluations, checkpoints, folder.
    #[command(flatten)]
    #[serde(flatten)]
    pub run: RunConfig,

    /// Folder of the data: MNIST or Fashion-MNIST (IDX), CIFAR-10 or CIFAR-100 (binary version), unpacked
    #[arg(long, help_heading = DATA, value_name = "DIR", default_value = FOLDER)]
    pub data: PathBuf,
    /// Train on that many of the training images, the first ones; 0: all
    #[arg(
        long, help_heading = DATA, value_name = "N", default_value_t = Self::default().train_images
    )]
    pub train_images: usize,
    /// Images in a step, at least 1
    #[arg(long, help_heading = DATA, value_name = "N", default_value_t = Self::default().batch)]
    pub batch: usize,

    /// Widths of the hidden layers, each 1 to 16384, or none
    #[arg(long, help_heading = MODEL, value_name = "N,N,…", default_value_t = Self::default().hidden)]
    pub hidden: Widths,

    /// Optimizer and constraint.
    #[command(flatten)]
    #[serde(flatten)]
    pub optim: OptimConfig,
}

impl Default for ClassifyConfig {
    fn default() -> Self {
        let mut optim = OptimConfig {
            schedule: ScheduleChoice(Shape::Cosine),
            warmup: 200,
            beta2: 0.999,
            ..OptimConfig::default()
        };
        optim.constraint.kappa_init = KappaInit::WarmStartMultiple(2.0);
        Self {
            run: RunConfig { epochs: 10, eval_every: 1, ..RunConfig::default() },
            data: PathBuf::from(FOLDER),
            train_images: 0,
            batch: 128,
            hidden: Widths(vec![256, 128]),
            optim,
        }
    }
}

impl ExperimentConfig for ClassifyConfig {
    const EXPERIMENT: &'static str = "classify";
    const OF_THE_DATA: &'static [&'static str] = &["data"];
    const OF_THE_MODEL: &'static [&'static str] = &["hidden"];

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
        ImageData::open(&self.data).map(drop)
    }

    fn check_own(&self) -> Result<(), ConfigError> {
        let Self { batch, train_images, .. } = *self;
        need("batch", &batch, "it must be 1 to 2^24", (1..=1 << 24).contains(&batch))?;
        let few = train_images <= 1 << 31;
        need("train_images", &train_images, "it must be at most 2^31", few)?;
        limits::path("data", &self.data, "folder")?;
        let Widths(hidden) = &self.hidden;
        let holds = hidden.len() <= 64 && hidden.iter().all(|width| (1..=16384).contains(width));
        need("hidden", &self.hidden, "it must be up to 64 widths of 1 to 16384", holds)
    }
}
