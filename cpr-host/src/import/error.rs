//! Why a state could not be made into a checkpoint.

use std::{io, path::PathBuf};

use super::MAX_JSON_BYTES;
use crate::checkpoint::CheckpointError;

/// Why a state could not be made into a checkpoint; nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The system refused to read.
    #[error("cannot read {}: {source}; check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The JSON file is too long.
    #[error(
        "{} is {given} bytes long, and at most {MAX_JSON_BYTES} of JSON are read: save the state as safetensors",
        path.display()
    )]
    Long {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        given: u64,
    },
    /// The file is no JSON of the form that is read.
    #[error(
        "{} is no object of numbers and nested lists: {source}; save the state with the lines of docs/CHECKPOINT.md",
        path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// The safetensors file cannot be read, or the checkpoint not written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// There is no weight in the file.
    #[error("{} holds no weights: save the weights with the state, under their names", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Something of the state is not as it must be.
    #[error("`{name}` of {} {reason}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A weight is constrained, and the rule was not given.
    #[error(
        "`{name}` of {} is under a constraint, and the state holds neither its measure nor its rule: give both as the \
         run had them, such as --reg l2 --kappa-init warm-start=1000",
        path.display()
    )]
    NoRule {
        /// The file.
        path: PathBuf,
        /// The first such weight.
        name: String,
    },
    /// The rule was given, and no weight is constrained.
    #[error("{} holds no constraint (no `lagmul`): leave out --reg and --kappa-init", path.display())]
    NoConstraints {
        /// The file.
        path: PathBuf,
    },
    /// The checkpoint exists.
    #[error("{} exists already and is never overwritten: choose another --out", path.display())]
    Exists {
        /// The checkpoint.
        path: PathBuf,
    },
}
