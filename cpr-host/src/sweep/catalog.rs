//! The experiments of a program, as a sweep sees them.

use std::path::Path;

use toml::Table;

use super::plan::{Catalog, Checked};
use crate::config::{ConfigError, ExperimentConfig};

/// What errors would name as the file of a run's settings, which has none yet.
const NO_FILE: &str = "settings";

/// One experiment of a [`Known`].
type Entry = (&'static str, fn() -> Vec<String>, fn(&Table) -> Result<Table, ConfigError>);

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
        self.entries.push((C::EXPERIMENT, C::keys, resolved::<C>));
        self
    }

    fn entry(&self, experiment: &str) -> Option<&Entry> {
        self.entries.iter().find(|(name, ..)| *name == experiment)
    }
}

impl Catalog for Known {
    fn experiments(&self) -> Vec<&str> {
        self.entries.iter().map(|(name, ..)| *name).collect()
    }

    fn keys(&self, experiment: &str) -> Option<Vec<String>> {
        self.entry(experiment).map(|(_, keys, _)| keys())
    }

    fn check(&self, experiment: &str, keys: &Table) -> Result<Checked, String> {
        let Some((.., resolved)) = self.entry(experiment) else {
            return Err(format!("there is no experiment `{experiment}`"));
        };
        match resolved(keys) {
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
}

fn resolved<C: ExperimentConfig>(keys: &Table) -> Result<Table, ConfigError> {
    let path = Path::new(NO_FILE);
    let text = C::from_toml(&keys.to_string(), path)?.to_toml()?;
    // What it wrote itself it reads.
    Ok(text.parse().unwrap_or_default())
}
