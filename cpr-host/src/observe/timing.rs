//! `timing.jsonl`: what the clock says, kept out of the files that have to be reproducible.

use std::{fs, path::Path};

use super::{
    Clock, Observe, ObserveError, Position, Row,
    append::{AppendFile, Cut},
    jsonl, read,
};
use crate::store::Shared;

/// Name of the file in a run folder.
pub(super) const FILE: &str = "timing.jsonl";

/// The column that a resumed run goes on counting.
const ELAPSED: &str = "elapsed_s";

/// Writes one line an evaluation: `{"step":8,"elapsed_s":0.41,"steps_per_s":19.5}`.
///
/// `elapsed_s` is the run's time in seconds, interruptions left out; `steps_per_s` is the pace since
/// the line before, evaluation and files included, and null in the first line of a process or
/// where no time has passed.
#[derive(Debug)]
pub struct Timing<C> {
    file: AppendFile,
    clock: C,
    /// What `elapsed_s` was when the clock stood at 0.
    earlier: f64,
    /// Step and elapsed time of the line before.
    last: Option<(u64, f64)>,
}

impl<C: Clock> Timing<C> {
    /// Makes an empty file at `path`. `clock` counts from the start of this process's work.
    ///
    /// # Errors
    ///
    /// When there is a file already, or none can be made.
    pub fn create(path: &Path, clock: C) -> Result<Self, ObserveError> {
        Self::create_on(&Shared::default(), path, clock)
    }

    pub(super) fn create_on(store: &Shared, path: &Path, clock: C) -> Result<Self, ObserveError> {
        Ok(Self { file: AppendFile::create(store, path)?, clock, earlier: 0.0, last: None })
    }

    /// Opens the file of an interrupted run, drops its lines past `step` and counts on from the time
    /// in the last of the others.
    ///
    /// It is cut by the step, not by a length: how many digits a time has differs from run to run, and a
    /// checkpoint that recorded the length would too.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or when a line but the last is none of this file.
    pub fn open_at(path: &Path, step: u64, clock: C) -> Result<Self, ObserveError> {
        Self::open_on(&Shared::default(), path, step, clock)
    }

    pub(super) fn open_on(
        store: &Shared,
        path: &Path,
        step: u64,
        clock: C,
    ) -> Result<Self, ObserveError> {
        let bytes = fs::read(path).map_err(|source| ObserveError::Io {
            action: "open",
            path: path.to_owned(),
            source,
        })?;
        let mut rows = read::rows(path, &bytes, read::LastLine::MayBeTorn)?;
        rows.truncate(rows.partition_point(|row| row.step <= step));
        let kept = bytes.split_inclusive(|&byte| byte == b'\n').take(rows.len());
        let length = kept.map(<[u8]>::len).sum::<usize>() as u64;
        let file = AppendFile::open_at(store, path, length, Cut::Line)?;
        let earlier = rows.last().and_then(|row| row.get(ELAPSED)).unwrap_or(0.0);
        Ok(Self { file, clock, earlier, last: None })
    }

    /// Length of the file in bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.file.length()
    }
}

impl<C: Clock> Observe for Timing<C> {
    fn record(&mut self, row: &Row) -> Result<(), ObserveError> {
        let elapsed = self.earlier + self.clock.seconds();
        let pace = self.last.and_then(|(step, time)| {
            // Steps are far below 2⁵³, so the cast is exact.
            let steps = row.step.saturating_sub(step) as f64;
            (elapsed > time).then(|| rounded(steps / (elapsed - time), 1e3))
        });
        self.last = Some((row.step, elapsed));
        let timing =
            Row::new(row.step).with(ELAPSED, rounded(elapsed, 1e6)).with("steps_per_s", pace);
        self.file.append(jsonl::line(&timing).as_bytes())
    }

    /// Has no position: see [`Timing::open_at`].
    fn sync(&mut self) -> Result<Vec<Position>, ObserveError> {
        self.file.sync().map(|_| Vec::new())
    }

    fn finish(&mut self) -> Result<(), ObserveError> {
        self.file.sync().map(drop)
    }
}

/// `value` to a fraction of 1/`parts`: digits past what a clock knows only lengthen the line.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
