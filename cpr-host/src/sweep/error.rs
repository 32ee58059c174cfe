//! What can be wrong with a sweep, and how it is said.

use std::{fmt, io, path::PathBuf};

use crate::{data::DataError, run_folder::RunFolderError};

/// A place in a sweep's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// A sweep is refused, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The file cannot be read.
    #[error("cannot read the sweep {}: {source}: give the path of a TOML file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`{}; {known}", nearest.as_ref().map_or_else(String::new, |key| format!(": did you mean `{key}`?")))]
    UnknownKey {
        /// Where.
        place: Place,
        /// What was written.
        key: String,
        /// The known key that is nearest, if one is near.
        nearest: Option<String>,
        /// Which keys there are, or how to see them.
        known: String,
    },
    /// A value of the wrong type or range.
    #[error("{place}: `{key}`: {expected}")]
    Value {
        /// Where.
        place: Place,
        /// The key, with its tables.
        key: String,
        /// What is allowed.
        expected: String,
    },
    /// A key that must be there.
    #[error("{}: `{key}` is missing: {expected}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What it may be.
        expected: String,
    },
    /// The experiment refuses the settings of a run.
    #[error("{place}: the run {run}: {message}")]
    Refused {
        /// Where its group begins.
        place: Place,
        /// Its name.
        run: String,
        /// What the experiment says, with key and value.
        message: String,
    },
    /// Two runs of a group are the same.
    #[error(
        "{place}: the runs {a} and {b} are the same, because what differs has no effect on them: take it out of the group"
    )]
    Same {
        /// Where the group begins.
        place: Place,
        /// One run.
        a: String,
        /// The other.
        b: String,
    },
    /// The data of a run is not there, or is not what it asks for.
    #[error(
        "{source}; that is `{key}`{} of {count} of the runs to do in {}, none of which was started; {next}",
        if *is_default { ", by default," } else { "" }, path.display()
    )]
    Data {
        /// The sweep's file.
        path: PathBuf,
        /// The key that names the data.
        key: &'static str,
        /// Whether that is its default, which the sweep leaves as it is.
        is_default: bool,
        /// How many runs are to read it.
        count: usize,
        /// What is wrong with it.
        source: Box<DataError>,
        /// How data can be had.
        next: String,
    },
    /// A folder of a run was made with other settings.
    #[error(
        "the run {} was made with {key} = {there}, and the sweep says {here}: give the sweep another `out`, or \
         remove that folder", path.display()
    )]
    Changed {
        /// The run's folder.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value in the folder.
        there: String,
        /// Its value in the sweep.
        here: String,
    },
    /// A file of the sweep's folder.
    #[error("cannot {action} {}: {source}; check that the folder is writable and has room", path.display())]
    Io {
        /// The verb of what was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    /// A run's folder.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// A child cannot be started.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SweepError {
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
