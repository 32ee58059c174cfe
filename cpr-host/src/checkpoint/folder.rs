//! The folder that holds a run's checkpoints.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::error::CheckpointError;
use super::read::Checkpoint;
use super::store::{relink, sweep};
use super::write::CheckpointWriter;
use crate::store::{Disk, Store};

const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";

/// How many of the `step-N` files stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// None: `last` and `best` alone.
    None,
    /// All of them.
    All,
    /// That many with the highest N.
    Newest(NonZeroUsize),
}

/// A folder with `last.safetensors`, `best.safetensors` and `step-N.safetensors`.
///
/// One process at a time may use it. Whenever it is killed, each of the files is what it was before
/// the save or what it is after it.
#[derive(Debug)]
pub struct CheckpointFolder<S = Disk> {
    path: PathBuf,
    keep: Keep,
    store: S,
}

/// What [`CheckpointFolder::latest`] found.
#[derive(Debug)]
pub struct Latest {
    /// The file that was read.
    pub path: PathBuf,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Newer checkpoints that are damaged; the user must hear of them.
    pub damaged: Vec<CheckpointError>,
}

impl Latest {
    /// Reads the checkpoint to go on from, as [`CheckpointFolder::latest`], without a change to the folder: for
    /// those who look on while a trainer writes.
    ///
    /// # Errors
    ///
    /// As [`CheckpointFolder::latest`].
    pub fn read(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let steps = steps_in(folder)?.into_iter().rev().map(|step| folder.join(step_name(step)));
        let mut damaged = Vec::new();
        for path in std::iter::once(folder.join(LAST)).chain(steps) {
            match Checkpoint::read(&path) {
                Ok(checkpoint) => {
                    return Ok(Some(Self { path, checkpoint, damaged }));
                }
                Err(CheckpointError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.is_damage() => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        damaged.into_iter().next().map_or(Ok(None), Err)
    }
}

impl CheckpointFolder {
    /// Opens a folder, makes it where it does not exist, and removes what a killed run left
    /// half-written.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Write`] where the folder cannot be made.
    pub fn open(path: impl Into<PathBuf>, keep: Keep) -> Result<Self, CheckpointError> {
        Self::open_with(path, keep, Disk)
    }
}

impl<S: Store> CheckpointFolder<S> {
    /// Like [`open`](CheckpointFolder::open), writing through the operations of `store`.
    ///
    /// # Errors
    ///
    /// As [`open`](CheckpointFolder::open).
    pub fn open_with(
        path: impl Into<PathBuf>,
        keep: Keep,
        store: S,
    ) -> Result<Self, CheckpointError> {
        let path = path.into();
        fs::create_dir_all(&path)
            .map_err(|error| CheckpointError::write(&path, "make the folder", error))?;
        sweep(&path, |target| {
            let name = target.to_str().unwrap_or_default();
            name == LAST || name == BEST || step_of(name).is_some()
        });
        Ok(Self { path, keep, store })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the folder is written through.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Path of `last.safetensors`, whether it exists or not.
    #[must_use]
    pub fn last_path(&self) -> PathBuf {
        self.path.join(LAST)
    }

    /// Path of `best.safetensors`, whether it exists or not.
    #[must_use]
    pub fn best_path(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// Path of `step-N.safetensors`, whether it exists or not.
    #[must_use]
    pub fn step_path(&self, step: u64) -> PathBuf {
        self.path.join(step_name(step))
    }

    /// Replaces `last` and returns its path.
    ///
    /// # Errors
    ///
    /// As [`CheckpointWriter::write`].
    pub fn save_last(&mut self, writer: &CheckpointWriter<'_>) -> Result<PathBuf, CheckpointError> {
        let path = self.last_path();
        writer.write_to(&mut self.store, &path)?;
        Ok(path)
    }

    /// Replaces `best` and returns its path.
    ///
    /// # Errors
    ///
    /// As [`CheckpointWriter::write`].
    pub fn save_best(&mut self, writer: &CheckpointWriter<'_>) -> Result<PathBuf, CheckpointError> {
        let path = self.best_path();
        writer.write_to(&mut self.store, &path)?;
        Ok(path)
    }

    /// Writes `step-N`, N the step in the metadata, makes `last` the same file (by a second name
    /// where the file system has that, else by writing again), then removes the oldest `step-N`
    /// beyond those to keep; returns the path of `step-N`. With [`Keep::None`] it writes `last` itself,
    /// and returns its path.
    ///
    /// Files of a later step are neither counted nor removed: they belong to a run that was
    /// continued from an earlier checkpoint, and are replaced when it gets there.
    ///
    /// # Errors
    ///
    /// As [`CheckpointWriter::write`]; and [`CheckpointError::Write`] if an old file cannot be
    /// removed, when the new one is already safe.
    pub fn save_step(&mut self, writer: &CheckpointWriter<'_>) -> Result<PathBuf, CheckpointError> {
        let step = writer.meta().step;
        let last = self.last_path();
        if self.keep == Keep::None {
            writer.write_to(&mut self.store, &last)?;
            self.prune(step)?;
            return Ok(last);
        }
        let path = self.step_path(step);
        writer.write_to(&mut self.store, &path)?;
        relink(&mut self.store, &path, &last)
            .or_else(|_| writer.write_to(&mut self.store, &last))?;
        self.prune(step)?;
        Ok(path)
    }

    /// The steps of the `step-N` files, ascending.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Read`] where the folder cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>, CheckpointError> {
        steps_in(&self.path)
    }

    /// Reads the checkpoint to go on from: `last`, or, where that is missing or damaged, the
    /// `step-N` with the highest N that is whole. None in a folder without either.
    ///
    /// # Errors
    ///
    /// What is wrong with the newest, if all are damaged; and any refusal by the system or format
    /// version of another program, at once, because an older file would hide it.
    pub fn latest(&self) -> Result<Option<Latest>, CheckpointError> {
        Latest::read(&self.path)
    }

    /// Removes the oldest `step-N` up to `newest` beyond those to keep: every save does, but a kill may have come
    /// before.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] where the folder cannot be listed or a file not removed.
    pub fn prune(&mut self, newest: u64) -> Result<(), CheckpointError> {
        let keep = match self.keep {
            Keep::None => 0,
            Keep::All => return Ok(()),
            Keep::Newest(count) => count.get(),
        };
        let mut steps = self.steps()?;
        steps.retain(|&step| step <= newest);
        steps.truncate(steps.len().saturating_sub(keep));
        for step in steps {
            let path = self.step_path(step);
            self.store
                .remove(&path)
                .map_err(|error| CheckpointError::write(&path, "remove", error))?;
        }
        Ok(())
    }
}

/// The steps of the `step-N` files of a folder, ascending.
fn steps_in(folder: &Path) -> Result<Vec<u64>, CheckpointError> {
    let describe = |error| CheckpointError::read(folder, error);
    let mut steps = Vec::new();
    for entry in fs::read_dir(folder).map_err(describe)? {
        steps.extend(entry.map_err(describe)?.file_name().to_str().and_then(step_of));
    }
    steps.sort_unstable();
    Ok(steps)
}

fn step_name(step: u64) -> String {
    format!("step-{step}.safetensors")
}

/// The N of `step-N.safetensors`; none for any other name, `step-007.safetensors` included.
fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()?;
    (step_name(step) == name).then_some(step)
}
