//! The experiments of a program, as a sweep sees them.

use std::path::Path;

use toml::Table;

use super::plan::{Catalog, Checked};
use crate::{
    config::{ConfigError, ExperimentConfig},
    data::DataError,
};

/// What errors would name as the file of a run's settings, which has none yet.
const NO_FILE: &str = "settings";

/// One experiment of a [`Known`].
#[derive(Clone, Debug)]
struct Entry {
    name: &'static str,
    keys: fn() -> Vec<String>,
    resolved: fn(&Table) -> Result<Table, ConfigError>,
    filled_in: &'static [&'static str],
    data_keys: &'static [&'static str],
    find_data: fn(&Table) -> Result<(), DataError>,
}

/// A list of experiments, each by the type of its configuration.
///
/// ```
/// use cpr_host::{config::GrokkingConfig, sweep::{Catalog as _, Known}};
/// let known = Known::default().with::<GrokkingConfig>();
/// assert_eq!(known.experiments(), ["grokking"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Known {
    entries: Vec<Entry>,
}

impl Known {
    /// The list with one more experiment.
    #[must_use]
    pub fn with<C: ExperimentConfig>(mut self) -> Self {
        self.entries.push(Entry {
            name: C::EXPERIMENT,
            keys: C::keys,
            resolved: resolved::<C>,
            filled_in: C::FILLED_IN,
            data_keys: C::OF_THE_DATA,
            find_data: find_data::<C>,
        });
        self
    }

    fn entry(&self, experiment: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == experiment)
    }
}

impl Catalog for Known {
    fn experiments(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.name).collect()
    }

    fn keys(&self, experiment: &str) -> Option<Vec<String>> {
        self.entry(experiment).map(|entry| (entry.keys)())
    }

    fn check(&self, experiment: &str, keys: &Table) -> Result<Checked, String> {
        let Some(entry) = self.entry(experiment) else {
            return Err(format!("there is no experiment `{experiment}`"));
        };
        match (entry.resolved)(keys) {
            Ok(resolved) => Ok(Checked { resolved, parameters: None }),
            Err(error) => {
                let message = error.to_string();
                // Its line of a file that there is not says nothing.
                let rest = message.strip_prefix(NO_FILE).and_then(|rest| rest.split_once(": "));
                let message = rest.map_or(message.as_str(), |(_, rest)| rest);
                Err(error
                    .hint()
                    .map_or_else(|| message.to_owned(), |hint| format!("{message} ({hint})")))
            }
        }
    }

    fn filled_in(&self, experiment: &str) -> &[&'static str] {
        self.entry(experiment).map_or(&[], |entry| entry.filled_in)
    }

    fn data_keys(&self, experiment: &str) -> &[&'static str] {
        self.entry(experiment).map_or(&[], |entry| entry.data_keys)
    }

    fn find_data(&self, experiment: &str, keys: &Table) -> Result<(), DataError> {
        self.entry(experiment).map_or(Ok(()), |entry| (entry.find_data)(keys))
    }
}

fn resolved<C: ExperimentConfig>(keys: &Table) -> Result<Table, ConfigError> {
    let path = Path::new(NO_FILE);
    let text = C::from_toml(&keys.to_string(), path)?.to_toml()?;
    // What it wrote itself it reads.
    Ok(text.parse().unwrap_or_default())
}

fn find_data<C: ExperimentConfig>(keys: &Table) -> Result<(), DataError> {
    // Settings that do not read were refused when the sweep was planned.
    C::from_toml(&keys.to_string(), Path::new(NO_FILE)).map_or(Ok(()), |config| config.find_data())
}
