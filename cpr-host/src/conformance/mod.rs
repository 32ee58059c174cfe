//! Replay of recorded trajectories: whether this library does what the published code did.
//!
//! A *trajectory* is a JSON file with initial parameters, a fixed sequence of gradients, hyperparameters, and what
//! the reference implementation had after every step. [`check_text`] runs the same gradients through `cpr-core`
//! in the recorded precision and reports the largest |a − b|/max(1, |b|) (a replayed, b recorded) of each
//! quantity with the place where it stands; [`run`] does so for many files and writes a table or JSON. What a file
//! holds is read from its content, never from its name.
//!
//! | quantity | tolerance, f64 | f32, t = max(3e-6, 30·`f32_vs_f64_max_rel_diff`) |
//! |---|---|---|
//! | θ, moments after the last step | 1e-9 | t |
//! | λ, κ, R | 1e-9 | 3t |
//!
//! The overshoot guard and the flushing of subnormal numbers, both improvements on the published code, are off.
//! The format is documented in `docs/CONFORMANCE.md`.

mod base;
mod engine;
mod error;
mod format;
mod mapping;
mod node;
mod replay;
mod report;
mod table;

pub use base::BaseChoice;
pub use engine::{EngineError, ReplayEngine, ReplayParameter, ReplaySetup, Standing};
pub use error::{ConformanceError, TrajectoryError};
pub use report::{Checks, Mismatch, Peak, Precision, Report, Tolerance};

use std::{io::Write, path::Path};

use format::Trajectory;

/// Replays one trajectory through `cpr-core`.
///
/// # Errors
/// [`TrajectoryError`] for a text that is no trajectory, is cut short, contradicts itself, or was recorded with
/// hyperparameters that this library does not have; the message names the place. A replay that differs is no
/// error: see [`Report::passed`].
pub fn check_text(text: &str) -> Result<Report, TrajectoryError> {
    check_text_on(text, &mut engine::Core::default())
}

/// [`check_text`] on another engine.
///
/// # Errors
/// As [`check_text`], and [`TrajectoryError::Engine`].
pub fn check_text_on(text: &str, engine: &mut dyn ReplayEngine) -> Result<Report, TrajectoryError> {
    replay::replay(&Trajectory::parse(text)?, engine)
}

/// Replays one file through `cpr-core`.
///
/// # Errors
/// [`ConformanceError::Read`] for a file that cannot be read as UTF-8 text, [`ConformanceError::Trajectory`] for
/// one that [`check_text`] refuses; both name the file.
pub fn check_file(path: &Path) -> Result<Report, ConformanceError> {
    check_file_on(path, &mut engine::Core::default())
}

/// [`check_file`] on another engine.
///
/// # Errors
/// As [`check_file`].
pub fn check_file_on(
    path: &Path,
    engine: &mut dyn ReplayEngine,
) -> Result<Report, ConformanceError> {
    let read = |source| ConformanceError::Read { path: path.to_path_buf(), source };
    let text = std::fs::read_to_string(path).map_err(read)?;
    check_text_on(&text, engine)
        .map_err(|source| ConformanceError::Trajectory { path: path.to_path_buf(), source })
}

/// Replays files in the given order, writes a table (or, with `json`, one JSON object) to `out`, and returns
/// whether all of them passed.
///
/// A file that cannot be read, or is no trajectory, is reported with its error and counts as not passed; the
/// others are replayed all the same.
///
/// # Errors
/// [`ConformanceError::NoFiles`] for no paths, [`ConformanceError::Write`] where `out` fails.
pub fn run<P: AsRef<Path>>(
    paths: &[P],
    out: &mut dyn Write,
    json: bool,
) -> Result<bool, ConformanceError> {
    if paths.is_empty() {
        return Err(ConformanceError::NoFiles);
    }
    let rows: Vec<table::Row> = paths
        .iter()
        .map(|path| table::Row::new(path.as_ref(), check_file(path.as_ref())))
        .collect();
    let summary = table::Summary::new(rows);
    let written = if json { summary.write_json(out) } else { summary.write_table(out) };
    written.map_err(ConformanceError::Write)?;
    Ok(summary.passed)
}
