//! In which settings of the model a checkpoint is another one's.

use std::path::Path;

use toml::{Table, Value};

use super::TrainError;
use crate::{
    checkpoint::{CheckpointError, Meta},
    config::{ExperimentConfig, shown},
};

/// Characters of a value up to which it is told itself.
const LONGEST: usize = 40;

/// The error of a checkpoint whose parameters do not fit this configuration, by the settings in which the model differs
/// where the checkpoint tells them; any other error as it is.
pub(super) fn by_settings<C: ExperimentConfig>(
    error: TrainError,
    meta: &Meta,
    config: &C,
) -> TrainError {
    match error {
        TrainError::Checkpoint(CheckpointError::Unbound { path, binding })
            if binding.is_of_parameters()
                && meta.kind != C::EXPERIMENT
                && !meta.config.is_empty() =>
        {
            let given = meta.kind.clone();
            TrainError::OtherExperiment { path, given, expected: C::EXPERIMENT }
        }
        TrainError::Checkpoint(CheckpointError::Unbound { path, binding })
            if binding.is_of_parameters() && meta.kind == C::EXPERIMENT =>
        {
            let settings = differing(&meta.config, &path, config);
            match settings.is_empty() {
                true => CheckpointError::Unbound { path, binding }.into(),
                false => TrainError::OtherModel { path, settings: settings.join(", ") },
            }
        }
        error => error,
    }
}

/// The settings of the model that differ; none where one of the configurations does not tell.
fn differing<C: ExperimentConfig>(stored: &str, path: &Path, config: &C) -> Vec<String> {
    // Read, so that a key that is younger than the checkpoint has its default.
    let table = |config: &C| config.to_toml().ok()?.parse::<Table>().ok();
    let there = C::from_toml(stored, path).ok();
    let (Some(there), Some(here)) = (there.as_ref().and_then(table), table(config)) else {
        return Vec::new();
    };
    let differs = |key: &&str| {
        let [there, here] =
            [&there, &here].map(|table| table.get(*key).map_or("its default".to_owned(), told));
        (there != here).then(|| {
            format!("`{key}` is {there} in the checkpoint and {here} in the configuration")
        })
    };
    C::OF_THE_MODEL.iter().filter_map(differs).collect()
}

/// A value in a line; of a long text its length.
fn told(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > LONGEST => {
            format!("{} characters", text.chars().count())
        }
        Value::String(text) => shown(text),
        other => other.to_string(),
    }
}
