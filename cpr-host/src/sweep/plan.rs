//! From a sweep's file to the list of its runs.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Group, SweepError, SweepFile};
use crate::{
    data::DataError,
    random::{Random, Stream},
};

/// Longest name of a run in bytes, its seed included.
const LONGEST: usize = 120;

/// What an experiment says to the settings of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// The keys that have an effect, as they stand in the run's `config.toml`.
    pub resolved: Table,
    /// Parameters of the model, where the experiment can tell.
    pub parameters: Option<u64>,
}

/// The experiments that a sweep can train: what the binary knows.
pub trait Catalog {
    /// Their names.
    fn experiments(&self) -> Vec<&str>;

    /// The keys of one, without dashes; `None` where there is no such experiment.
    fn keys(&self, experiment: &str) -> Option<Vec<String>>;

    /// Checks the settings of a run.
    ///
    /// # Errors
    /// One line that names key, value and what is allowed.
    fn check(&self, experiment: &str, keys: &Table) -> Result<Checked, String>;

    /// The keys of one that its runs fill in themselves where they were left open.
    fn filled_in(&self, _experiment: &str) -> &[&'static str] {
        &[]
    }

    /// The keys of one that say what its runs read of the disk, the one that names it first.
    fn data_keys(&self, _experiment: &str) -> &[&'static str] {
        &[]
    }

    /// Looks whether what a run with these settings, which were [checked](Self::check), reads is there.
    ///
    /// # Errors
    /// [`DataError`] names the file.
    fn find_data(&self, _experiment: &str, _keys: &Table) -> Result<(), DataError> {
        Ok(())
    }
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRun {
    /// Its name, alone in the sweep: the name of its folder.
    pub name: String,
    /// The name of its group.
    pub group: String,
    /// What tables call its setting; the same for all its seeds.
    pub setting: String,
    /// The swept keys of its group with its values, in the order of the file.
    pub swept: Vec<(String, Value)>,
    /// Its seed.
    pub seed: u64,
    /// All keys that the sweep gives it, the seed included.
    pub keys: Table,
    /// What has an effect of them and of the defaults.
    pub resolved: Table,
    /// Parameters of its model, where they are known.
    pub parameters: Option<u64>,
}

/// All runs of a sweep, in the order of the file: groups, settings, seeds.
///
/// # Errors
/// [`SweepError::Refused`] for settings that the experiment refuses, [`SweepError::Same`] where a swept key has no effect.
pub fn plan(file: &SweepFile, catalog: &dyn Catalog) -> Result<Vec<PlannedRun>, SweepError> {
    let mut runs: Vec<PlannedRun> = Vec::new();
    for group in &file.groups {
        let first = runs.len();
        for swept in settings_of(group) {
            for &seed in &group.seeds {
                let run = planned(file, group, &swept, seed, catalog)?;
                runs.push(run);
            }
        }
        same(group, &runs[first..])?;
    }
    name_apart(&mut runs);
    Ok(runs)
}

/// The values of the swept keys of each setting: the product of the grid, and that with every draw.
fn settings_of(group: &Group) -> Vec<Vec<(String, Value)>> {
    let mut settings = vec![Vec::new()];
    for (key, values) in &group.grid {
        let longer = |setting: &Vec<(String, Value)>| {
            let setting = setting.clone();
            values.iter().map(move |value| {
                let mut setting = setting.clone();
                setting.push((key.clone(), value.clone()));
                setting
            })
        };
        settings = settings.iter().flat_map(longer).collect();
    }
    if group.random.is_empty() {
        return settings;
    }
    let draws: Vec<Vec<(String, Value)>> = (0..group.samples)
        .map(|sample| {
            // A stream each: more samples leave the first ones as they were.
            let mut random = Random::new(group.draw_seed, Stream::Draws, sample as u64);
            group.random.iter().map(|(key, law)| (key.clone(), law.draw(&mut random))).collect()
        })
        .collect();
    let joined = |setting: &Vec<(String, Value)>| {
        let setting = setting.clone();
        draws.iter().map(move |draw| setting.iter().chain(draw).cloned().collect())
    };
    settings.iter().flat_map(joined).collect()
}

fn planned(
    file: &SweepFile,
    group: &Group,
    swept: &[(String, Value)],
    seed: u64,
    catalog: &dyn Catalog,
) -> Result<PlannedRun, SweepError> {
    let mut keys = file.set.clone();
    keys.extend(group.set.clone());
    keys.extend(swept.iter().cloned());
    // What is larger than TOML's integers is larger than any seed that the file can hold.
    keys.insert("seed".to_owned(), Value::Integer(i64::try_from(seed).unwrap_or(i64::MAX)));
    let texts: Vec<_> = swept.iter().map(|(key, value)| short(key, value)).collect();
    let setting = match texts.is_empty() {
        true => group.name.clone(),
        false => format!("{}, {}", group.name, texts.join(", ")),
    };
    let name = folder_name(&group.name, &texts, seed);
    let refused =
        |message| SweepError::Refused { place: group.place.clone(), run: name.clone(), message };
    let Checked { resolved, parameters } =
        catalog.check(&file.experiment, &keys).map_err(refused)?;
    let (group, swept) = (group.name.clone(), swept.to_vec());
    Ok(PlannedRun { name, group, setting, swept, seed, keys, resolved, parameters })
}

/// A swept value as tables show it: texts that say what they are stand alone.
pub(crate) fn short(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) if text.contains('=') => text.clone(),
        Value::String(text) => format!("{key} {text}"),
        other => format!("{key} {}", plain(other)),
    }
}

/// A value without quotes.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // `1.0` is said as `1`.
        Value::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}

fn folder_name(group: &str, texts: &[String], seed: u64) -> String {
    let mut stem = group.to_owned();
    for text in texts {
        stem.push('-');
        stem.push_str(&text.replace(' ', "="));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '=');
    let mut name = String::new();
    for c in stem.chars() {
        if allowed(c) {
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_matches(['-', '.']);
    let tail = format!("-seed{seed}");
    if name.len() + tail.len() <= LONGEST {
        return format!("{}{tail}", if name.is_empty() { "run" } else { name });
    }
    // Cut, and told apart by a checksum of the whole.
    let sum = crc32c::crc32c(stem.as_bytes());
    let cut = &name[..LONGEST - tail.len() - 9];
    format!("{cut}-{sum:08x}{tail}")
}

/// Numbers names that two settings share once they are names of folders.
fn name_apart(runs: &mut [PlannedRun]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        let count = seen.entry(run.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            run.name = format!("{}-{count}", run.name);
        }
    }
}

/// Refuses two runs of a group that would do the same.
fn same(group: &Group, runs: &[PlannedRun]) -> Result<(), SweepError> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for run in runs {
        let text = run.resolved.to_string();
        if let Some(other) = seen.insert(text, &run.name) {
            let (a, b) = (other.to_owned(), run.name.clone());
            return Err(SweepError::Same { place: group.place.clone(), a, b });
        }
    }
    Ok(())
}
