//! What each command does, from typed input.

use std::path::{Path, PathBuf};

use crate::config::GrokkingConfig;

/// A command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The command has no body in this build.
    #[error("`cpr {command}` is not part of this build")]
    NotBuilt {
        /// Its name.
        command: &'static str,
    },
}

/// Trains modular addition; with `dry_run` it prints the parameter groups and stops.
///
/// # Errors
/// See [`CommandError`].
pub fn grokking(_config: &GrokkingConfig, _dry_run: bool) -> Result<(), CommandError> {
    Err(CommandError::NotBuilt { command: "grokking" })
}

/// Goes on with the run in this folder; `threads` as in the run where it is `None`, 0 for all cores.
///
/// # Errors
/// See [`CommandError`].
pub fn resume(_run: &Path, _threads: Option<usize>) -> Result<(), CommandError> {
    Err(CommandError::NotBuilt { command: "resume" })
}

/// Evaluates a run's best checkpoint, or a checkpoint.
///
/// # Errors
/// See [`CommandError`].
pub fn eval(_path: &Path) -> Result<(), CommandError> {
    Err(CommandError::NotBuilt { command: "eval" })
}

/// Shows every matrix of a run's last checkpoint, or of a checkpoint: shape, R, κ, λ, when κ was set.
///
/// # Errors
/// See [`CommandError`].
pub fn inspect(_path: &Path) -> Result<(), CommandError> {
    Err(CommandError::NotBuilt { command: "inspect" })
}

/// Replays recorded trajectories and compares; with `json` one object a line.
///
/// # Errors
/// See [`CommandError`].
pub fn conformance(_files: &[PathBuf], _json: bool) -> Result<(), CommandError> {
    Err(CommandError::NotBuilt { command: "conformance" })
}
