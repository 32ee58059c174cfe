//! Why a report cannot be made.

use std::{io, path::PathBuf};

use crate::{inspect::InspectError, observe::ObserveError, run_folder::RunFolderError};

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// There is no run.
    #[error("{} holds no run: give the folder of a sweep, of a run, or one that holds runs", path.display())]
    NoRuns {
        /// What was given.
        path: PathBuf,
    },
    /// What was given is a part of a run.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// None of the runs has ended.
    #[error(
        "no run has ended, of {count} in {path}: let them end, go on with them (`cpr resume`), or start over those of a sweep that \
         have failed (`cpr sweep FILE --retry`)"
    )]
    NoneEnded {
        /// What was given.
        path: String,
        /// How many runs there are.
        count: usize,
    },
    /// The metric that was asked for is not there.
    #[error("no run has the outcome `{metric}`; there are {known}")]
    NoMetric {
        /// What was asked for.
        metric: String,
        /// The outcomes that there are.
        known: String,
    },
    /// The baseline that was asked for is not there.
    #[error("there is no setting or group `{baseline}` to compare with; there are: {known}")]
    NoBaseline {
        /// What was asked for.
        baseline: String,
        /// The settings that there are.
        known: String,
    },
    /// A sweep's manifest does not read.
    #[error("{}: {source}: run the sweep again, which writes it anew", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A run's configuration does not read.
    #[error("{}: {}", path.display(), source.message())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: toml::de::Error,
    },
    /// Metrics.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// A checkpoint.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A file.
    #[error("cannot {action} {}: {source}; check the path, or train what it is of", path.display())]
    Io {
        /// The verb of what was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ReportError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
