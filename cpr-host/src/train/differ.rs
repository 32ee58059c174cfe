//! In which settings of the model a checkpoint is another one's.

use toml::{Table, Value};

use super::TrainError;
use crate::{
    checkpoint::{CheckpointError, Meta},
    config::{ExperimentConfig, shown},
};

/// Characters of a value up to which it is told itself.
const LONGEST: usize = 40;

/// The error of a checkpoint that does not fit this configuration, by the settings in which the model differs where the
/// checkpoint tells them; any other error as it is.
pub(super) fn by_settings<C: ExperimentConfig>(
    error: TrainError,
    meta: &Meta,
    config: &C,
) -> TrainError {
    match error {
        TrainError::Checkpoint(CheckpointError::Unbound { path, binding })
            if meta.kind == C::EXPERIMENT =>
        {
            let settings = differing(&meta.config, config);
            match settings.is_empty() {
                true => CheckpointError::Unbound { path, binding }.into(),
                false => TrainError::OtherModel { path, settings: settings.join(", ") },
            }
        }
        error => error,
    }
}

/// The settings of the model that differ; none where one of the configurations does not tell.
fn differing<C: ExperimentConfig>(stored: &str, config: &C) -> Vec<String> {
    let own = config.to_toml().unwrap_or_default();
    let (Ok(there), Ok(here)) = (stored.parse::<Table>(), own.parse::<Table>()) else {
        return Vec::new();
    };
    let differs = |key: &&str| {
        let [there, here] = [told(there.get(*key)?), told(here.get(*key)?)];
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
