//! Metrics out of a training loop that never prints and never opens a file itself.
//!
//! The loop makes one [`Row`] an evaluation and hands it to [`Observers`]; each observer knows one
//! form: [`Jsonl`] and [`Csv`] for programs, [`TfEvents`] for TensorBoard, [`Timing`] for the clock
//! and [`Progress`] for the person who waits. [`read_jsonl`] is the way back from a file to rows.
//!
//! What the files have in common:
//!
//! * A record is one `write_all` of whole lines (or whole frames) to a file in append mode, so a
//!   kill at any moment leaves whole records behind, save at most the last.
//! * They know their length in bytes. A checkpoint stores it ([`Observe::sync`]), and a resumed run
//!   cuts the file back to it (`open_at`), so that an interrupted run leaves the same bytes as one
//!   that was not. (The clock's file is cut by its steps.)
//! * `metrics.jsonl` and `metrics.csv` hold no wall-clock time: two runs of the same seed write the
//!   same bytes. Everything that a clock says goes to `timing.jsonl` (and, because its format asks
//!   for it, into the tfevents file).

mod append;
mod clock;
mod columns;
mod csv;
mod error;
mod jsonl;
mod progress;
mod read;
mod tfevents;
mod timing;

use std::path::Path;

use self::append::Cut;
use crate::store::Shared;

pub use clock::{Clock, Monotonic, SinceEpoch};
pub use csv::Csv;
pub use error::ObserveError;
pub use jsonl::Jsonl;
pub use progress::{Progress, Style};
pub use read::{LastLine, read_jsonl};
pub use tfevents::TfEvents;
pub use timing::Timing;

/// The metrics of one evaluation.
///
/// The names and their order are fixed by the first row of a run: every later row carries the same
/// ones. `None` says that a value is not defined yet, such as κ before it is set; it is no number
/// and reaches no file as one.
///
/// ```
/// use cpr_host::observe::Row;
///
/// let row = Row::new(8).with("train/loss", 4.7).with("kappa/head.weight", None);
/// assert_eq!(row.get("train/loss"), Some(4.7));
/// assert_eq!(row.get("kappa/head.weight"), None);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Steps of the optimizer that were taken when the values were measured.
    pub step: u64,
    /// Name and value, in the order of the files' columns. A name is used once and is not `step`.
    pub scalars: Vec<(String, Option<f64>)>,
}

impl Row {
    /// A row without values.
    #[must_use]
    pub fn new(step: u64) -> Self {
        Self { step, scalars: Vec::new() }
    }

    /// The row with one more value at its end.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Option<f64>>) -> Self {
        self.scalars.push((name.into(), value.into()));
        self
    }

    /// The value under `name`; `None` where there is no such name or its value is not defined.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.scalars.iter().find(|(given, _)| given == name).and_then(|(_, value)| *value)
    }
}

/// How long a metrics file was when a checkpoint was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Name of the file inside its folder.
    pub file: String,
    /// Length in bytes.
    pub length: u64,
}

/// One form in which metrics leave a training loop.
pub trait Observe {
    /// Takes the metrics of one evaluation.
    ///
    /// # Errors
    ///
    /// When a file cannot be written, or when the names differ from those of the first row.
    fn record(&mut self, row: &Row) -> Result<(), ObserveError>;

    /// Hears that `step` steps are taken; called after each one, so it has to be cheap.
    ///
    /// Only displays have a use for it; the default does nothing.
    ///
    /// # Errors
    ///
    /// When the observer cannot pass it on.
    fn advance(&mut self, step: u64) -> Result<(), ObserveError> {
        let _ = step;
        Ok(())
    }

    /// Makes everything that was recorded durable and tells how long the files are now.
    ///
    /// Call it before the checkpoint that stores the positions is written: otherwise a power
    /// failure could leave a file shorter than its checkpoint says. The default, for observers
    /// without a file, is no position.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    fn sync(&mut self) -> Result<Vec<Position>, ObserveError> {
        Ok(Vec::new())
    }

    /// Ends the run: files are made durable, displays are cleared.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    fn finish(&mut self) -> Result<(), ObserveError>;
}

/// A list of observers that is itself one: each call goes to all of them in order and stops at
/// the first error.
#[derive(Default)]
pub struct Observers {
    list: Vec<Box<dyn Observe>>,
}

impl Observers {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The four files of a new run in `folder`: `metrics.jsonl`, `metrics.csv`, the tfevents file
    /// and `timing.jsonl`.
    ///
    /// # Errors
    ///
    /// When one of the files exists already or cannot be made.
    pub fn create_in(folder: &Path) -> Result<Self, ObserveError> {
        Self::create_on(&Shared::default(), folder)
    }

    /// As [`create_in`](Self::create_in), writing through `store`.
    ///
    /// # Errors
    ///
    /// As [`create_in`](Self::create_in).
    pub fn create_on(store: &Shared, folder: &Path) -> Result<Self, ObserveError> {
        let mut observers = Self::new();
        observers.push(Jsonl::create_on(store, &folder.join(jsonl::FILE))?);
        observers.push(Csv::create_on(store, &folder.join(csv::FILE))?);
        observers.push(TfEvents::create_on(store, &folder.join(tfevents::FILE), SinceEpoch)?);
        observers.push(Timing::create_on(store, &folder.join(timing::FILE), Monotonic::new())?);
        Ok(observers)
    }

    /// The same four files of an interrupted run. Each is cut to the length in `positions`, which is
    /// what [`Observe::sync`] gave when the checkpoint was written; `timing.jsonl`, whose length is the
    /// clock's, to the lines up to the checkpoint's `step`.
    ///
    /// # Errors
    ///
    /// When a file has no position, is shorter than it, or cannot be opened: then none was cut. When a
    /// line that stays is none of its file, files before it in the order above may be cut.
    pub fn open_in(folder: &Path, positions: &[Position], step: u64) -> Result<Self, ObserveError> {
        Self::open_on(&Shared::default(), folder, positions, step)
    }

    /// As [`open_in`](Self::open_in), writing through `store`.
    ///
    /// # Errors
    ///
    /// As [`open_in`](Self::open_in).
    pub fn open_on(
        store: &Shared,
        folder: &Path,
        positions: &[Position],
        step: u64,
    ) -> Result<Self, ObserveError> {
        let length = |file: &str| {
            positions.iter().find(|position| position.file == file).map_or_else(
                || Err(ObserveError::NoPosition { path: folder.join(file) }),
                |position| Ok(position.length),
            )
        };
        // Nothing is cut before all of them are known to fit.
        for (file, cut) in
            [(jsonl::FILE, Cut::Line), (csv::FILE, Cut::Line), (tfevents::FILE, Cut::Frame)]
        {
            append::open(&folder.join(file), length(file)?, cut)?;
        }
        append::open(&folder.join(timing::FILE), 0, Cut::Line)?;
        let mut observers = Self::new();
        observers.push(Jsonl::open_on(store, &folder.join(jsonl::FILE), length(jsonl::FILE)?)?);
        observers.push(Csv::open_on(store, &folder.join(csv::FILE), length(csv::FILE)?)?);
        let path = folder.join(tfevents::FILE);
        observers.push(TfEvents::open_on(store, &path, length(tfevents::FILE)?, SinceEpoch)?);
        let path = folder.join(timing::FILE);
        observers.push(Timing::open_on(store, &path, step, Monotonic::new())?);
        Ok(observers)
    }

    /// Adds an observer at the end.
    pub fn push(&mut self, observer: impl Observe + 'static) {
        self.list.push(Box::new(observer));
    }
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Observers").field("count", &self.list.len()).finish()
    }
}

impl Observe for Observers {
    fn record(&mut self, row: &Row) -> Result<(), ObserveError> {
        self.list.iter_mut().try_for_each(|observer| observer.record(row))
    }

    fn advance(&mut self, step: u64) -> Result<(), ObserveError> {
        self.list.iter_mut().try_for_each(|observer| observer.advance(step))
    }

    fn sync(&mut self) -> Result<Vec<Position>, ObserveError> {
        let mut positions = Vec::new();
        for observer in &mut self.list {
            positions.extend(observer.sync()?);
        }
        Ok(positions)
    }

    fn finish(&mut self) -> Result<(), ObserveError> {
        self.list.iter_mut().try_for_each(|observer| observer.finish())
    }
}

#[cfg(test)]
mod tests;
