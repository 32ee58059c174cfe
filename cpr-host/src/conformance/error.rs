//! What can be wrong with a trajectory file.

use std::{io, path::PathBuf};

use cpr_core::{ConfigError, GroupError, LengthError};

use super::EngineError;

/// A file could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConformanceError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no trajectory that can be replayed.
    #[error("{}: {source}", path.display())]
    Trajectory {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TrajectoryError,
    },
    /// No files were given.
    #[error(
        "no trajectory files given: name one or more JSON files in the format of docs/CONFORMANCE.md"
    )]
    NoFiles,
    /// The report cannot be written.
    #[error("the report cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// A text is no trajectory that can be replayed. `at` is the place in it, such as `trajectory[3].params[0][7]`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrajectoryError {
    /// No complete JSON text.
    #[error(
        "no complete JSON text ({0}): it was cut short or holds NaN, Infinity or numbers beyond f64; \
         copy or record it again"
    )]
    Json(#[source] serde_json::Error),
    /// A key is missing.
    #[error(
        "`{at}` is missing: the file was altered or is no recorded trajectory (docs/CONFORMANCE.md)"
    )]
    Missing {
        /// The key.
        at: String,
    },
    /// A value has another type.
    #[error(
        "`{at}` is {found} and must be {expected}: the file was altered or is no recorded trajectory"
    )]
    Type {
        /// The value's place.
        at: String,
        /// What it is.
        found: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A list has a length that contradicts the rest of the file.
    #[error(
        "`{at}` has {given} entries, {expected} are needed ({reason}): the file was cut or altered"
    )]
    Length {
        /// The list.
        at: String,
        /// Its length.
        given: usize,
        /// The length that it must have.
        expected: usize,
        /// What fixes that length.
        reason: &'static str,
    },
    /// A number is out of range.
    #[error("`{at}` = {given} is out of range: it must be {limit}")]
    OutOfRange {
        /// The number's place.
        at: String,
        /// The number.
        given: f64,
        /// Its range.
        limit: &'static str,
    },
    /// A choice that this library does not have.
    #[error("`{at}` = {given:?} is not supported: choose from {supported}")]
    Unsupported {
        /// The place.
        at: String,
        /// What was given.
        given: String,
        /// What there is.
        supported: &'static str,
    },
    /// A hyperparameter, or a moment, that the recorded optimizer does not have here.
    #[error("`{at}` is unknown: supported here are {supported}")]
    Unknown {
        /// The key.
        at: String,
        /// The keys that there are.
        supported: String,
    },
    /// A name under constraint that no parameter has, or that two have.
    #[error("`{at}` = {name:?} must name exactly one of the parameters")]
    Name {
        /// The place.
        at: String,
        /// The name.
        name: String,
    },
    /// Hyperparameters out of range.
    #[error("`meta.hp`: {0}")]
    Config(#[from] ConfigError),
    /// A parameter that cannot be constrained this way.
    #[error("parameter {parameter:?}: {source}")]
    Group {
        /// The parameter's name.
        parameter: String,
        /// Why.
        source: GroupError,
    },
    /// Slices of different length: the checks of the reader should have found them.
    #[error("parameter {parameter:?}: {source}")]
    Shard {
        /// The parameter's name.
        parameter: String,
        /// Which.
        source: LengthError,
    },
    /// The engine that replays failed.
    #[error("the engine cannot replay it: {source}")]
    Engine {
        /// Why.
        source: EngineError,
    },
}
