//! The typed part of a checkpoint's metadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a checkpoint says of the run beside its tensors.
///
/// All of it is written in the order of the fields; JSON values keep the order of their keys.
/// Together it may take up [`MAX_DOCUMENT_BYTES`](super::MAX_DOCUMENT_BYTES): what grows with the
/// model or the data belongs into a tensor. A field that this version does not know is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// The kind of the run, for example the name of the experiment.
    pub kind: String,
    /// Steps of the run, those included that were skipped because something was not finite.
    pub step: u64,
    /// The resolved configuration as TOML text; empty where there is none.
    pub config: String,
    /// State of the learning-rate schedule; null where it follows from `step` and `config`.
    pub schedule: Value,
    /// Where the data stands; null where it follows from `step` and `config`.
    pub cursor: Value,
    /// Seeds and counters of the random streams; null where there are none.
    pub random: Value,
    /// Which optimizer the moments and constraint records belong to; none for weights alone.
    pub optimizer: Option<OptimizerMeta>,
    /// The best evaluation so far; none before the first.
    pub best: Option<Best>,
    /// Length in bytes of each file that the run appends to, by its name in the run folder; on
    /// resume each is cut to it.
    pub files: BTreeMap<String, u64>,
    /// Steps on which something was not finite.
    pub non_finite: NonFinite,
}

impl Meta {
    /// Metadata at step 0 with every section empty.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            step: 0,
            config: String::new(),
            schedule: Value::Null,
            cursor: Value::Null,
            random: Value::Null,
            optimizer: None,
            best: None,
            files: BTreeMap::new(),
            non_finite: NonFinite::default(),
        }
    }
}

/// The optimizer that a checkpoint's moments belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerMeta {
    /// Its name, for example `adamcpr`.
    pub name: String,
    /// Its hyperparameters, in the order in which they are to be shown.
    pub hyperparameters: Value,
}

/// The best evaluation of a run so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// The step of the evaluation.
    pub step: u64,
    /// The name of the figure that decides.
    pub metric: String,
    /// Its value; must be finite, because JSON has no other.
    pub value: f64,
}

/// Counters of what was not finite; all 0 at the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NonFinite {
    /// Steps that were skipped because of a gradient or the loss.
    pub steps: u64,
    /// Skipped steps in a row up to now.
    pub in_a_row: u64,
}
