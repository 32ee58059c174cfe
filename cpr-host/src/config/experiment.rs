//! What a configuration of an experiment is: the keys that all have, and its own.

use std::{fmt, path::Path};

use clap::{ArgMatches, Args};
use cpr_core::{AnyRegularizer, ConstraintRule};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ConfigError, Inert, OptimConfig, RunConfig,
    layers::{self, Layers},
};
use crate::data::DataError;

/// The configuration of an experiment: one flat set of keys, from which flags, TOML, `--set` and the resolved
/// `config.toml` of a run come.
///
/// An implementation is a struct that derives [`Args`], [`Serialize`] and `Deserialize` with `#[serde(default)]`, and
/// holds [`RunConfig`], its own keys, and [`OptimConfig`], in this order, the two under `#[command(flatten)]` and
/// `#[serde(flatten)]`. A key that may be absent is an `Option` whose default is `None`: one with another default cannot be unset. Its own defaults for the keys
/// of the two stand in its [`Default`]; flags and `--help` follow.
pub trait ExperimentConfig:
    Clone + fmt::Debug + Default + PartialEq + Args + Serialize + DeserializeOwned
{
    /// The experiment's name: its command, the kind of its checkpoints, the folder of its runs.
    const EXPERIMENT: &'static str;
    /// The program whose command it is, for messages.
    const PROGRAM: &'static str = "cpr";
    /// Keys that are a matter of the process and not of the run: `config.toml` does not hold them.
    const OF_THE_PROCESS: &'static [&'static str] = &["threads"];

    /// Keys that say what a run reads of the disk and what has to be in it, the one that names the data first; none where
    /// it reads nothing.
    const OF_THE_DATA: &'static [&'static str] = &[];

    /// Keys that decide on names and shapes of the parameters: a checkpoint of other values does not fit.
    const OF_THE_MODEL: &'static [&'static str] = &[];

    /// Keys that a run fills in where they were left open, from its data or its device, and then stores like any other.
    const FILLED_IN: &'static [&'static str] = &[];

    /// The keys of every run.
    fn run(&self) -> &RunConfig;
    /// The keys of every run, to be changed.
    fn run_mut(&mut self) -> &mut RunConfig;
    /// Optimizer and constraint.
    fn optim(&self) -> &OptimConfig;
    /// Optimizer and constraint, to be changed.
    fn optim_mut(&mut self) -> &mut OptimConfig;

    /// Checks the range of the experiment's own keys, and what it asks of the others.
    ///
    /// # Errors
    /// The first key that does not fit: [`ConfigError::refused`].
    fn check_own(&self) -> Result<(), ConfigError>;

    /// Looks whether what a run reads of the disk is there and holds what these keys ask for; makes nothing of the run.
    ///
    /// # Errors
    /// [`DataError`] names the file.
    fn find_data(&self) -> Result<(), DataError> {
        Ok(())
    }

    /// Why a key has no effect here, for keys of which only this experiment knows.
    fn inert_own(&self, _key: &str) -> Option<Inert> {
        None
    }

    /// The flags with what this experiment says differently: the help of a key, or a key hidden.
    fn adapt(flags: clap::Command) -> clap::Command {
        flags
    }

    /// What distinguishes this run, short enough for a folder's name.
    fn summary(&self) -> String {
        self.optim().summary()
    }

    /// Checks the range of every key that has an effect, and that the keys fit together.
    ///
    /// # Errors
    /// The first key that does not, with its value and what is allowed.
    fn check(&self) -> Result<(), ConfigError> {
        (self.run().check())
            .and_then(|()| self.check_own())
            .and_then(|()| self.optim().check(self.run().steps))
            .map_err(|error| error.explained(Self::help_of))
    }

    /// Why `key` has no effect here, if it has none.
    fn inert(&self, key: &str) -> Option<Inert> {
        self.run().inert(key).or_else(|| self.optim().inert(key)).or_else(|| self.inert_own(key))
    }

    /// The configuration of a command line: defaults, then `file`, then the flags in `matches` that were
    /// written out, then each `key=value` of `assignments`. Checked and resolved.
    ///
    /// # Errors
    /// See [`ConfigError`]. A flag or `--set` that has no effect is refused; a key of a file may have none.
    fn layered(
        file: Option<&Path>,
        matches: &ArgMatches,
        assignments: &[String],
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::<Self>::default();
        if let Some(path) = file {
            layers.read(path)?;
        }
        layers.overlay_flags(matches)?;
        for assignment in assignments {
            layers.assign(assignment)?;
        }
        layers.finish()
    }

    /// The configuration in a file, over the defaults. Checked and resolved.
    ///
    /// # Errors
    /// See [`ConfigError`].
    fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let mut layers = Layers::<Self>::default();
        layers.read(path)?;
        layers.finish()
    }

    /// The configuration in a TOML text, over the defaults, checked and resolved; `path` is what errors name.
    ///
    /// # Errors
    /// See [`ConfigError`].
    fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut layers = Layers::<Self>::default();
        layers.overlay_toml(text, path)?;
        layers.finish()
    }

    /// The rule of the constraints that these `key=value` make, over the defaults.
    ///
    /// # Errors
    /// See [`ConfigError`]; a key that has no effect on a constraint's rule is taken and does nothing.
    fn constraint_of<'a>(
        assignments: impl IntoIterator<Item = &'a String>,
    ) -> Result<ConstraintRule<AnyRegularizer>, ConfigError> {
        let mut layers = Layers::<Self>::default();
        for assignment in assignments {
            layers.assign(assignment)?;
        }
        layers.finish()?.optim().rule()
    }

    /// The same configuration with the defaults of the optimizer and of the regularizer filled in, and every key
    /// that has no effect at its default. Resolving twice changes nothing more.
    ///
    /// # Errors
    /// A regularizer outside its range.
    fn resolved(&self) -> Result<Self, ConfigError> {
        let mut config = layers::without_inert(self)?;
        config.optim_mut().fill_in()?;
        Ok(config)
    }

    /// The flat TOML of a run's `config.toml`: every key that has an effect, one a line, in the order of
    /// `--help`, with its headings as comments.
    ///
    /// Of a resolved configuration it reads back as the same value, [what is of the process](Self::OF_THE_PROCESS)
    /// aside: the bytes of a run do not tell how many threads it had.
    ///
    /// # Errors
    /// [`ConfigError::Write`] for an `out` that is not UTF-8 or an integer above 2⁶³ − 1; neither passes
    /// [`check`](Self::check).
    fn to_toml(&self) -> Result<String, ConfigError> {
        layers::written(self)
    }

    /// The flags of the configuration, each with its key as id.
    #[must_use]
    fn flags() -> clap::Command {
        Self::adapted(Self::augment_args(clap::Command::new(Self::EXPERIMENT)))
    }

    /// A command that has these flags, with the experiment's own defaults and help.
    #[must_use]
    fn adapted(command: clap::Command) -> clap::Command {
        Self::adapt(layers::with_defaults(&Self::default(), command))
    }

    /// All keys, in the order of `--help`.
    #[must_use]
    fn keys() -> Vec<String> {
        Self::flags().get_arguments().map(|flag| flag.get_id().to_string()).collect()
    }

    /// What a key means and may be, its line of `--help`.
    #[must_use]
    fn help_of(key: &str) -> Option<String> {
        let flags = Self::flags();
        let flag = flags.get_arguments().find(|flag| flag.get_id() == key)?;
        flag.get_help().map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests;
