//! `cpr-gpu cifar`: the keys.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use cpr_host::{
    config::{
        ConfigError, ExperimentConfig, Inert, KappaInit, OptimConfig, RunConfig, ScheduleChoice,
        limits::{self, need},
    },
    data::{DataError, images::ImageData},
    schedule::Shape,
};
use serde::{Deserialize, Serialize};

use super::folder;
use crate::model::{Depth, ResNetConfig};

const DATA: &str = "Data";
const AUGMENTATION: &str = "Augmentation";
const MODEL: &str = "Model";

/// The folder of the data.
const FOLDER: &str = "data";
/// Channels of the first stage at `--width-factor 1`.
const WIDTH: f64 = 64.0;

/// A residual network on images of a few classes: what to train, on what, and how. The defaults are the recipe for
/// CIFAR100 of arXiv 2311.09058, with its Kappa-WS.
///
/// The comment of each field is its line in `--help`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct CifarConfig {
    /// Seed, length, evaluations, checkpoints, folder.
    #[command(flatten)]
    #[serde(flatten)]
    pub run: RunConfig,

    /// Folder of the data: CIFAR-10 or CIFAR-100 (binary version), MNIST or Fashion-MNIST (IDX), unpacked; or one that
    /// holds train/ and test/ (or val/) with a folder of JPEG or PNG files for each class
    #[arg(long, help_heading = DATA, value_name = "DIR", default_value = FOLDER)]
    pub data: PathBuf,
    /// Train on that many of the training images, the first ones, of folders as many of each class; 0: all
    #[arg(
        long, help_heading = DATA, value_name = "N", default_value_t = Self::default().train_images
    )]
    pub train_images: usize,
    /// Validate with that many of the test images, likewise; 0: all
    #[arg(
        long, help_heading = DATA, value_name = "N", default_value_t = Self::default().test_images
    )]
    pub test_images: usize,
    /// Side that images are brought to, 1 to 512; 0: as they are, which all must be alike
    #[arg(long, help_heading = DATA, value_name = "N", default_value_t = Self::default().image_size)]
    pub image_size: usize,
    /// Images in a step, at least 1
    #[arg(long, help_heading = DATA, value_name = "N", default_value_t = Self::default().batch)]
    pub batch: usize,

    /// Training images are shifted by up to that many pixels, mirrored in at the edge; below their side, 0: not at all
    #[arg(
        long, help_heading = AUGMENTATION, value_name = "N",
        default_value_t = Self::default().crop_padding
    )]
    pub crop_padding: usize,
    /// Mirror every other training image, left to right
    #[arg(
        long, help_heading = AUGMENTATION, value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true,
        default_value_t = Self::default().flip
    )]
    pub flip: bool,

    /// Layers of the residual network: 10, 18, 34, 50, 101 or 152
    #[arg(long, help_heading = MODEL, value_name = "N", default_value_t = Self::default().depth)]
    pub depth: usize,
    /// Channels of every layer, in units of the usual ones (64 in the first stage), above 0 and at most 16
    #[arg(
        long, help_heading = MODEL, value_name = "X", default_value_t = Self::default().width_factor
    )]
    pub width_factor: f64,
    /// Share of the target that is spread over all classes in training, in [0, 1)
    #[arg(
        long, help_heading = MODEL, value_name = "X",
        default_value_t = Self::default().label_smoothing
    )]
    pub label_smoothing: f64,

    /// Optimizer and constraint.
    #[command(flatten)]
    #[serde(flatten)]
    pub optim: OptimConfig,
}

impl Default for CifarConfig {
    fn default() -> Self {
        let mut optim = OptimConfig {
            schedule: ScheduleChoice(Shape::Cosine),
            warmup: 500,
            ..OptimConfig::default()
        };
        optim.constraint.kappa_init = KappaInit::WarmStartMultiple(2.0);
        Self {
            run: RunConfig { steps: 20_000, eval_every: 1, ..RunConfig::default() },
            data: PathBuf::from(FOLDER),
            train_images: 0,
            test_images: 0,
            image_size: 0,
            batch: 128,
            crop_padding: 4,
            flip: true,
            depth: 18,
            width_factor: 1.0,
            label_smoothing: 0.1,
            optim,
        }
    }
}

impl CifarConfig {
    /// The network for images of that many channels and classes; none for a depth that there is not.
    #[must_use]
    pub fn network(&self, channels: usize, classes: usize) -> Option<ResNetConfig> {
        let depth = Depth::of(self.depth)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 1 to 1024, for the factor is checked"
        )]
        let width = (WIDTH * self.width_factor).round().clamp(1.0, 16.0 * WIDTH) as usize;
        Some(ResNetConfig { depth, classes, width, channels })
    }
}

impl ExperimentConfig for CifarConfig {
    const EXPERIMENT: &'static str = "cifar";
    const PROGRAM: &'static str = crate::cli::PROGRAM;
    const OF_THE_DATA: &'static [&'static str] = &["data"];
    const OF_THE_MODEL: &'static [&'static str] = &["depth", "width_factor"];

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

    /// Images in folders are found and not read, as there may be any number of them; those of a data set in its own files
    /// are read, which takes a moment.
    fn find_data(&self) -> Result<(), DataError> {
        if folder::is_there(&self.data) {
            return folder::find(&self.data);
        }
        ImageData::open(&self.data).map(drop)
    }

    fn inert_own(&self, key: &str) -> Option<Inert> {
        (key == "regularize_embeddings").then(|| Inert {
            because: "a residual network, which has no embeddings".to_owned(),
            remedy: "leave it out".to_owned(),
        })
    }

    fn adapt(flags: clap::Command) -> clap::Command {
        flags.mut_arg("regularize_embeddings", |flag| flag.hide(true))
    }

    fn check_own(&self) -> Result<(), ConfigError> {
        let Self { batch, image_size, crop_padding, label_smoothing, .. } = *self;
        limits::path("data", &self.data, "folder")?;
        for (key, count) in [("train_images", self.train_images), ("test_images", self.test_images)]
        {
            need(key, &count, "it must be at most 2^31", count <= 1 << 31)?;
        }
        need("image_size", &image_size, "it must be 0 to 512", image_size <= 512)?;
        need("batch", &batch, "it must be 1 to 65536", (1..=1 << 16).contains(&batch))?;
        let limit = match image_size {
            0 => "it must be at most 511",
            _ => "it must be below --image-size",
        };
        let side = if image_size == 0 { 512 } else { image_size };
        need("crop_padding", &crop_padding, limit, crop_padding < side)?;
        let known = self.network(3, 10).is_some();
        need("depth", &self.depth, "it must be 10, 18, 34, 50, 101 or 152", known)?;
        let holds = self.width_factor > 0.0 && self.width_factor <= 16.0;
        need("width_factor", &self.width_factor, "it must be above 0 and at most 16", holds)?;
        let holds = (0.0..1.0).contains(&label_smoothing);
        need("label_smoothing", &label_smoothing, "it must be in [0, 1)", holds)
    }

    fn summary(&self) -> String {
        format!("resnet{}-{}", self.depth, self.optim.summary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_papers_and_what_cannot_be_is_refused() {
        let config = CifarConfig::default();
        config.check().unwrap();
        let network = config.network(3, 100).unwrap();
        assert_eq!(network, ResNetConfig::new(Depth::D18, 100));
        let eighth = CifarConfig { width_factor: 0.125, depth: 10, ..config.clone() };
        assert_eq!(eighth.network(1, 2).unwrap().width, 8);
        for (refused, key) in [
            (CifarConfig { depth: 20, ..config.clone() }, "depth"),
            (CifarConfig { width_factor: f64::NAN, ..config.clone() }, "width_factor"),
            (CifarConfig { image_size: 8, crop_padding: 8, ..config.clone() }, "crop_padding"),
            (CifarConfig { label_smoothing: 1.0, ..config.clone() }, "label_smoothing"),
            (CifarConfig { batch: 0, ..config.clone() }, "batch"),
            (CifarConfig { image_size: 513, ..config }, "image_size"),
        ] {
            let message = refused.check().unwrap_err().to_string();
            assert!(message.starts_with(&format!("{key} = ")), "{message}");
        }
    }
}
