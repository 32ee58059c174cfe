//! The folder of a sweep: what it holds, and how far each run is.
//!
//! | file | |
//! |---|---|
//! | `sweep.json` | [`Manifest`]: the groups, settings and runs, as the report reads them |
//! | `configs/NAME.toml` | what each run was given |
//! | `EXPERIMENT/NAME/` | an ordinary run folder |
//! | `logs/NAME.log` | what the run said |
//! | `status/NAME.json` | [`Status`]: whether it is done or has failed |
//! | `status/NAME.lock` | empty; locked by the process that works on the run |
//! | `results.csv`, `results.json` | see [`results`](super::results) |
//! | `lock` | empty; locked while one of the files above is written |

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use toml::Table;

use super::{PlannedRun, SweepError, SweepFile, plan::plain};
use crate::{run_folder::replace, store::Shared};

/// Name of the manifest; a folder with one is a sweep's.
pub const MANIFEST: &str = "sweep.json";

/// Keys that say where a run is, not what it is.
const PLACE: [&str; 3] = ["out", "name", "threads"];

/// What a sweep consists of; written when it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The experiment.
    pub experiment: String,
    /// The command that makes the sweep.
    pub command: String,
    /// The outcome that tables show.
    pub metric: Option<String>,
    /// The setting that others are compared with.
    pub baseline: Option<String>,
    /// All runs, in order.
    pub runs: Vec<Entry>,
}

/// A run of a [`Manifest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The name of its folder.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its setting, the same for all seeds.
    pub setting: String,
    /// The swept keys and their values as text.
    pub swept: Vec<(String, String)>,
    /// Its seed.
    pub seed: u64,
}

impl Manifest {
    /// The manifest of a plan; `program` is how the binary is called.
    #[must_use]
    pub fn of(file: &SweepFile, runs: &[PlannedRun], program: &str) -> Self {
        let entry = |run: &PlannedRun| Entry {
            name: run.name.clone(),
            group: run.group.clone(),
            setting: run.setting.clone(),
            swept: run.swept.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
            seed: run.seed,
        };
        Self {
            experiment: file.experiment.clone(),
            command: format!("{program} sweep {}", file.path.display()),
            metric: file.metric.clone(),
            baseline: file.baseline.clone(),
            runs: runs.iter().map(entry).collect(),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Status {
    /// It came to its end.
    Done,
    /// It stopped with an error, and would again.
    Failed {
        /// What it said last.
        message: String,
        /// The signal that killed it, if one did: such a run is tried again by the next sweep.
        signal: Option<i32>,
    },
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Nothing of it is there, or nothing that could be gone on from.
    New,
    /// It has a checkpoint to go on from.
    Begun,
    /// Another process works on it.
    Busy,
    /// It has ended.
    Done,
    /// It has failed for good.
    Failed(String),
}

/// The folder of a sweep.
#[derive(Clone, Debug)]
pub struct SweepFolder {
    path: PathBuf,
    experiment: String,
}

impl SweepFolder {
    /// The folder of the sweep; made, with those in it, where it is missing.
    ///
    /// # Errors
    /// [`SweepError::Io`].
    pub fn open(file: &SweepFile) -> Result<Self, SweepError> {
        let folder = Self::at(file);
        for inner in ["configs", "logs", "status"] {
            let path = folder.path.join(inner);
            fs::create_dir_all(&path).map_err(SweepError::io("make the folder", path))?;
        }
        Ok(folder)
    }

    /// The same, without making anything.
    #[must_use]
    pub fn at(file: &SweepFile) -> Self {
        Self { path: file.out.clone(), experiment: file.experiment.clone() }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a run.
    #[must_use]
    pub fn run(&self, name: &str) -> PathBuf {
        self.path.join(&self.experiment).join(name)
    }

    /// What a run says.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// The configuration that a run is given.
    #[must_use]
    pub fn config(&self, name: &str) -> PathBuf {
        self.path.join("configs").join(format!("{name}.toml"))
    }

    fn status_file(&self, name: &str) -> PathBuf {
        self.path.join("status").join(format!("{name}.json"))
    }

    /// Holds off other processes that write the folder's own files, until it is dropped.
    ///
    /// # Errors
    /// [`SweepError::Io`].
    pub fn lock(&self) -> Result<File, SweepError> {
        let path = self.path.join("lock");
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(SweepError::io("open", &path))?;
        file.lock().map_err(SweepError::io("lock", path))?;
        Ok(file)
    }

    /// Replaces a file of the folder whole, unless it has these bytes already. The caller holds the lock where two
    /// processes may write it.
    ///
    /// # Errors
    /// [`SweepError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SweepError> {
        self.write_at(&self.path.join(name), bytes)
    }

    fn write_at(&self, path: &Path, bytes: &[u8]) -> Result<(), SweepError> {
        if fs::read(path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        replace(&mut Shared::default(), path, bytes).map_err(SweepError::io("write", path))
    }

    /// Writes the configuration of a run.
    ///
    /// # Errors
    /// [`SweepError::Io`].
    pub fn write_config(&self, run: &PlannedRun) -> Result<(), SweepError> {
        self.write_at(&self.config(&run.name), run.keys.to_string().as_bytes())
    }

    /// What is recorded of a run's end. A file that does not read counts as none.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<Status> {
        serde_json::from_slice(&fs::read(self.status_file(name)).ok()?).ok()
    }

    /// Records a run's end; `None` forgets it.
    ///
    /// # Errors
    /// [`SweepError::Io`].
    pub fn set_status(&self, name: &str, status: Option<&Status>) -> Result<(), SweepError> {
        let path = self.status_file(name);
        match status {
            Some(status) => {
                self.write_at(&path, format!("{}\n", serde_json::json!(status)).as_bytes())
            }
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(SweepError::io("remove", path)(error))
                }
                _ => Ok(()),
            },
        }
    }

    /// The right to work on a run; `None` where another process has it. A child that is given the file as its standard
    /// input keeps the right for as long as it lives, whatever becomes of the sweep that started it.
    ///
    /// # Errors
    /// [`SweepError::Io`].
    pub fn claim(&self, name: &str) -> Result<Option<File>, SweepError> {
        let path = self.claim_file(name);
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(SweepError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => {
                Err(SweepError::Io { action: "lock", path, source })
            }
        }
    }

    fn claim_file(&self, name: &str) -> PathBuf {
        self.path.join("status").join(format!("{name}.lock"))
    }

    /// How far a run is.
    #[must_use]
    pub fn state(&self, name: &str) -> State {
        if is_locked(&self.claim_file(name)) { State::Busy } else { self.standing(name) }
    }

    /// How far a run is on which nobody works; one that a signal killed has not failed for good.
    #[must_use]
    pub(super) fn standing(&self, name: &str) -> State {
        let run = self.run(name);
        match self.status(name) {
            Some(Status::Done) if run.join("summary.json").is_file() => return State::Done,
            Some(Status::Failed { message, signal: None }) => return State::Failed(message),
            _ => {}
        }
        if has_checkpoint(&run) { State::Begun } else { State::New }
    }

    /// Refuses a run whose folder was made with other settings; `filled_in` are keys that a run fills in itself.
    ///
    /// # Errors
    /// [`SweepError::Changed`] with the first key that differs.
    pub fn check_unchanged(&self, run: &PlannedRun, filled_in: &[&str]) -> Result<(), SweepError> {
        let path = self.run(&run.name);
        let Ok(text) = fs::read_to_string(path.join("config.toml")) else { return Ok(()) };
        let Ok(there) = text.parse::<Table>() else { return Ok(()) };
        let shown =
            |table: &Table, key: &str| table.get(key).map_or("its default".to_owned(), plain);
        let keys: std::collections::BTreeSet<_> = there.keys().chain(run.resolved.keys()).collect();
        let is_free = |key: &str| {
            PLACE.contains(&key) || filled_in.contains(&key) && !run.resolved.contains_key(key)
        };
        for key in keys {
            if !is_free(key) && there.get(key) != run.resolved.get(key) {
                let (there, here) = (shown(&there, key), shown(&run.resolved, key));
                return Err(SweepError::Changed { path, key: key.clone(), there, here });
            }
        }
        Ok(())
    }

    /// Removes the folder of a run that has no checkpoint, so that it can start: a kill may come before the first.
    ///
    /// # Errors
    /// [`SweepError::Io`].
    pub fn clear(&self, name: &str) -> Result<(), SweepError> {
        let run = self.run(name);
        if run.is_dir() && !has_checkpoint(&run) {
            fs::remove_dir_all(&run).map_err(SweepError::io("remove", run))?;
        }
        Ok(())
    }
}

/// Whether another process holds the lock of a run.
pub(crate) fn is_locked(path: &Path) -> bool {
    // Of what is not there nobody holds a lock.
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn has_checkpoint(run: &Path) -> bool {
    let Ok(entries) = fs::read_dir(run.join("checkpoints")) else { return false };
    entries
        .flatten()
        .any(|entry| entry.path().extension().is_some_and(|kind| kind == "safetensors"))
}
