//! What can go wrong with metrics.

use std::{io, path::PathBuf};

/// Error of an observer or of [`read_jsonl`](super::read_jsonl).
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A new run found a metrics file of another one.
    #[error(
        "{} exists already; choose another run folder, or resume the run that it belongs to",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },

    /// The file system refused.
    #[error(
        "cannot {action} {}: {source}; check that the folder exists, is writable and has room",
        path.display()
    )]
    Io {
        /// The verb of what was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The file lost bytes since the checkpoint was written.
    #[error(
        "{} has {length} bytes, but the checkpoint was written when it had {recorded}; \
         resume from an earlier checkpoint, or restore the file",
        path.display()
    )]
    Shorter {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// The length in bytes that the checkpoint recorded.
        recorded: u64,
    },

    /// A cut at the recorded length would go through a line: the file is not the checkpoint's.
    #[error(
        "{}: byte {recorded}, where the checkpoint says that a line ends, is inside a line; \
         the file does not belong to this checkpoint, so resume from one of its own run",
        path.display()
    )]
    NotALineEnd {
        /// The file.
        path: PathBuf,
        /// The length in bytes that the checkpoint recorded.
        recorded: u64,
    },

    /// The checkpoint says nothing about a metrics file.
    #[error(
        "the checkpoint records no length for {}; \
         resume from a checkpoint that this version wrote, or start a new run",
        path.display()
    )]
    NoPosition {
        /// The file.
        path: PathBuf,
    },

    /// A row carries other names than the first one.
    #[error(
        "step {step}: the columns of {} are [{expected}], but the row has [{given}]; \
         give every row of a run the same names in the same order",
        path.display()
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// Step of the row.
        step: u64,
        /// Names of the first row.
        expected: String,
        /// Names of this row.
        given: String,
    },

    /// Two scalars of the first row share a name, or one is called `step`.
    #[error(
        "{}: the column `{name}` stands twice in a row; rename one of the two scalars",
        path.display()
    )]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },

    /// A line of a metrics file is no row.
    #[error(
        "{}, line {line}: {reason}; if the run was killed while writing its last line, resume \
         it, or read the file with the torn line left out",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}
