//! The section on the optimizer in a run's checkpoint: its name, and what its tensors do not say.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    checkpoint::{Meta, OptimizerMeta},
    optim::AWD_AVERAGE,
    train::TrainError,
};

const T: &str = "t";
const RESCALE_NORM: &str = "rescale_norm";

/// What a run says of its optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Section<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// Steps that its moments have seen.
    pub t: u64,
    /// Steps skipped because something was not finite.
    pub skipped: u64,
    /// The norm that global rescaling holds all parameters at.
    pub rescale_norm: Option<f64>,
    /// The average ratio of gradient to weights that AWD decays by.
    pub awd_average: Option<f64>,
}

impl Section<'_> {
    /// The section at that step of the run; t stands in it only where it does not follow from the step.
    #[must_use]
    pub fn of_step(self, step: u64) -> OptimizerMeta {
        let Self { name, t, skipped, rescale_norm, awd_average } = self;
        let mut hyperparameters = Map::new();
        if let Some(norm) = rescale_norm {
            hyperparameters.insert(RESCALE_NORM.to_owned(), norm.into());
        }
        if let Some(average) = awd_average {
            hyperparameters.insert(AWD_AVERAGE.to_owned(), average.into());
        }
        if t + skipped != step {
            hyperparameters.insert(T.to_owned(), t.into());
        }
        OptimizerMeta { name: name.to_owned(), hyperparameters: hyperparameters.into() }
    }
}

/// t of a checkpoint: the steps that its moments have seen. It follows from the steps of the run unless the moments
/// came from elsewhere or were reset. `path` is what errors name.
///
/// # Errors
/// [`TrainError::BadMeta`].
pub fn t(path: &Path, meta: &Meta) -> Result<u64, TrainError> {
    match entry(meta, T) {
        Some(t) => t.as_u64().ok_or_else(|| bad(path, T)),
        None => Ok(meta.step.saturating_sub(meta.non_finite.steps)),
    }
}

/// The norm of global rescaling in a checkpoint; none without rescaling. `path` is what errors name.
///
/// # Errors
/// [`TrainError::BadMeta`].
pub fn rescale_norm(path: &Path, meta: &Meta) -> Result<Option<f64>, TrainError> {
    number(path, meta, RESCALE_NORM)
}

/// AWD's average in a checkpoint; none under other optimizers. `path` is what errors name.
///
/// # Errors
/// [`TrainError::BadMeta`].
pub fn awd_average(path: &Path, meta: &Meta) -> Result<Option<f64>, TrainError> {
    number(path, meta, AWD_AVERAGE)
}

fn number(path: &Path, meta: &Meta, field: &'static str) -> Result<Option<f64>, TrainError> {
    let read = |value: &Value| value.as_f64().ok_or_else(|| bad(path, field));
    entry(meta, field).map(read).transpose()
}

fn entry<'a>(meta: &'a Meta, name: &str) -> Option<&'a Value> {
    meta.optimizer.as_ref()?.hyperparameters.get(name)
}

fn bad(path: &Path, field: &'static str) -> TrainError {
    TrainError::BadMeta { path: path.to_owned(), field }
}
