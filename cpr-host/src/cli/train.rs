//! The arguments of commands that train, for the commands of another program too.

use std::path::PathBuf;

use clap::{ArgMatches, Args};

use super::{CliError, usage};
use crate::{
    config::{ConfigError, ExperimentConfig},
    train::{Length, Resume, Take},
};

/// A run to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Training<C> {
    /// Checked and resolved.
    pub config: Box<C>,
    /// A run or checkpoint to start from, and what to take of it.
    pub from: Option<(PathBuf, Take)>,
    /// Print the parameter groups and stop.
    pub dry_run: bool,
}

/// The arguments of a command that trains an experiment: its keys, and what is not one.
#[derive(Clone, Debug, Args)]
pub struct TrainArguments<C: ExperimentConfig> {
    /// Print the parameter groups, and which are regularised, and stop
    #[arg(long)]
    dry_run: bool,
    /// Start from the weights, moments and constraints of another run's last checkpoint, or of a checkpoint file
    #[arg(long, value_name = "RUN|CHECKPOINT")]
    from: Option<PathBuf>,
    /// With --from: take the weights alone, of any safetensors file; moments, t and constraints start afresh
    #[arg(long, requires = "from")]
    reset_optimizer: bool,
    /// With --from: take what fits of a checkpoint that does not fit; the rest starts afresh, and is named
    #[arg(long, requires = "from")]
    partial: bool,
    /// Read keys from a TOML file; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a key; overrides the file and the flags
    #[arg(long, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    set: Vec<String>,
    #[command(flatten)]
    keys: C,
}

impl<C: ExperimentConfig> TrainArguments<C> {
    /// The run that they ask for; `matches` are those of the command, and say which flags were written out.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn typed(self, matches: &ArgMatches) -> Result<Training<C>, ConfigError> {
        let Self { dry_run, from, reset_optimizer, partial, config, set, .. } = self;
        let config = Box::new(C::layered(config.as_deref(), matches, &set)?);
        let from = from.map(|path| (path, Take { reset_optimizer, partial }));
        Ok(Training { config, from, dry_run })
    }
}

/// The arguments of `resume`.
#[derive(Clone, Debug, Args)]
pub struct ResumeArguments {
    /// The run folder
    run: PathBuf,
    /// Threads, up to 1024; 0: all cores. The results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Length of the whole run in steps, more than it has taken; for --schedule constant [default: as it was]
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Length of the whole run in passes over the training data, in place of --steps
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Take the weights alone: moments, t and constraints start afresh
    #[arg(long)]
    reset_optimizer: bool,
    /// Take what fits of a checkpoint that does not fit; the rest starts afresh, and is named
    #[arg(long)]
    partial: bool,
}

impl ResumeArguments {
    /// The run, and how to go on with it.
    ///
    /// # Errors
    /// A number outside its range.
    pub fn typed(self) -> Result<(PathBuf, Resume), CliError> {
        let Self { run, threads, steps, epochs, reset_optimizer, partial } = self;
        if threads > 1024 {
            let message = format!("--threads {threads}: it must be at most 1024");
            return Err(usage(message, "0 takes all cores"));
        }
        let take = Take { reset_optimizer, partial };
        Ok((run, Resume { threads, length: length(steps, epochs)?, take }))
    }
}

/// The length that a resumed run is to have.
fn length(steps: Option<u64>, epochs: Option<u64>) -> Result<Length, CliError> {
    let hint = "leave it out to go on to the length that the run has";
    match (steps, epochs) {
        (None, None) => Ok(Length::Configured),
        (Some(_), Some(_)) => {
            let message = "--steps and --epochs both say how long the run is to be";
            Err(usage(message, "leave one of the two out"))
        }
        (Some(0), None) => Err(usage("--steps 0: it must be at least 1", hint)),
        (None, Some(0)) => Err(usage("--epochs 0: it must be at least 1", hint)),
        (Some(steps), None) => Ok(Length::Steps(steps)),
        (None, Some(epochs)) => Ok(Length::Epochs(epochs)),
    }
}
