//! The keys of an experiment of the host, and the device.

use clap::Args;
use cpr_host::{
    config::{ConfigError, ExperimentConfig, Inert, OptimConfig, RunConfig},
    data::DataError,
};
use serde::{Deserialize, Serialize};

use crate::device::DeviceChoice;

/// An experiment's configuration with a device to run it on.
///
/// The device is a matter of the process: it is not stored with the run, and `resume` chooses it anew.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, bound = "")]
pub struct OnDevice<C: ExperimentConfig> {
    /// The keys of the experiment.
    #[command(flatten)]
    #[serde(flatten)]
    pub keys: C,
    /// Where the network runs: cpu, cuda or cuda:N
    #[arg(
        long, help_heading = "Device", value_name = "DEVICE", default_value_t = DeviceChoice::Cpu
    )]
    pub device: DeviceChoice,
}

impl<C: ExperimentConfig> Default for OnDevice<C> {
    fn default() -> Self {
        Self { keys: C::default(), device: DeviceChoice::Cpu }
    }
}

impl<C: ExperimentConfig> ExperimentConfig for OnDevice<C> {
    const EXPERIMENT: &'static str = C::EXPERIMENT;
    const PROGRAM: &'static str = crate::cli::PROGRAM;
    const OF_THE_PROCESS: &'static [&'static str] = &["threads", "device"];
    const OF_THE_DATA: &'static [&'static str] = C::OF_THE_DATA;
    const OF_THE_MODEL: &'static [&'static str] = C::OF_THE_MODEL;
    const FILLED_IN: &'static [&'static str] = C::FILLED_IN;

    fn run(&self) -> &RunConfig {
        self.keys.run()
    }

    fn run_mut(&mut self) -> &mut RunConfig {
        self.keys.run_mut()
    }

    fn optim(&self) -> &OptimConfig {
        self.keys.optim()
    }

    fn optim_mut(&mut self) -> &mut OptimConfig {
        self.keys.optim_mut()
    }

    fn check_own(&self) -> Result<(), ConfigError> {
        self.keys.check_own()?;
        self.device.check()
    }

    fn find_data(&self) -> Result<(), DataError> {
        self.keys.find_data()
    }

    fn inert_own(&self, key: &str) -> Option<Inert> {
        self.keys.inert_own(key)
    }

    fn adapt(flags: clap::Command) -> clap::Command {
        C::adapt(flags)
    }

    fn summary(&self) -> String {
        self.keys.summary()
    }
}
