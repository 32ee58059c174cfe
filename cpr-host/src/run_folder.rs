//! The folder of one run: `runs/<experiment>/<name>/`.
//!
//! | file | |
//! |---|---|
//! | `config.toml` | the resolved configuration; without it the folder is no run |
//! | `env.json` | [`Environment`]: version, commit, machine, seed |
//! | `metrics.jsonl`, `metrics.csv`, `events.out.tfevents.*`, `timing.jsonl` | see [`observe`](crate::observe) |
//! | `checkpoints/` | `last`, `best`, `step-N` |
//! | `plot.svg`, `summary.json` | what came out |
//! | `lock` | empty; locked by the process that works on the run |
//!
//! Small files are replaced whole ([`replace`]), so that a kill at any moment leaves the old one or
//! the new one.

mod atomic;
mod environment;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

pub use atomic::{make_folder, replace};
pub use environment::Environment;

use crate::store::Shared;

/// Longest name of a run or an experiment in bytes: leaves room for a suffix in any file system.
const LONGEST: usize = 160;

/// What a name is made of, for those who gave another.
pub(crate) const ALLOWED: &str = "use letters, digits and `.`, `_`, `-`, `+`, `=`";

const LOCK: &str = "lock";
const CONFIG: &str = "config.toml";
const CHECKPOINTS: &str = "checkpoints";

/// Error of a [`RunFolder`].
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// The name that was asked for is taken.
    #[error(
        "the run {} exists already and is never overwritten; choose another name, resume it, or \
         remove the folder",
        path.display()
    )]
    Exists {
        /// The folder.
        path: PathBuf,
    },

    /// Another process works on the run.
    #[error(
        "the run {} is in use by another process; wait for it or stop it, or start a run of \
         another name",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },

    /// There is nothing to resume.
    #[error(
        "{} is no run: it has no config.toml; give the folder that has (`cpr list` shows the runs), or start the run anew",
        path.display()
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
    },

    /// What was given is a part of a run.
    #[error("{} is no run, but a part of one: give the run folder, {}", path.display(), run.display())]
    Part {
        /// What was given.
        path: PathBuf,
        /// The folder of the run.
        run: PathBuf,
    },

    /// A name that is no name of a folder.
    #[error("`{name}` cannot be the name of a {what}: {reason}; {ALLOWED}")]
    Name {
        /// `run` or `experiment`.
        what: &'static str,
        /// The name.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },

    /// The file system refused.
    #[error(
        "cannot {action} {}: {source}; check that the folder is writable and has room, or choose \
         another place for runs",
        path.display()
    )]
    Io {
        /// The verb of what was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl RunFolderError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// How a new run gets its name.
#[derive(Clone, Copy, Debug)]
pub enum RunName<'a> {
    /// By the user: it has to be free.
    Given(&'a str),
    /// From what distinguishes the configuration, such as `adamcpr-std-k0.9`, and the seed:
    /// `<summary>-seed<seed>`, then `<summary>-seed<seed>-2` and so on where that is taken.
    /// Characters that a name cannot have become `-`.
    Made {
        /// A short description of the configuration.
        summary: &'a str,
        /// The seed of the run.
        seed: u64,
    },
}

/// The folder of one run, locked for this process until dropped.
///
/// ```
/// use cpr_host::run_folder::{RunFolder, RunName};
///
/// # let temporary = tempfile::tempdir()?;
/// # let runs = temporary.path();
/// let name = RunName::Made { summary: "adamcpr std k=0.9", seed: 7 };
/// let run = RunFolder::create(runs, "grokking", name)?;
/// run.write("config.toml", b"seed = 7\n")?;
/// assert_eq!(run.path(), runs.join("grokking/adamcpr-std-k=0.9-seed7"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    store: Shared,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

impl RunFolder {
    /// Makes `<runs>/<experiment>/<name>/` with an empty `checkpoints/` in it, and locks it.
    ///
    /// # Errors
    ///
    /// [`RunFolderError::Exists`] when a given name is taken, [`RunFolderError::Name`] when a name
    /// cannot be one, [`RunFolderError::Io`] when a folder cannot be made.
    pub fn create(
        runs: &Path,
        experiment: &str,
        name: RunName<'_>,
    ) -> Result<Self, RunFolderError> {
        check_name("experiment", experiment)?;
        let parent = runs.join(experiment);
        fs::create_dir_all(&parent).map_err(RunFolderError::io("make the folder", &parent))?;
        let path = match name {
            RunName::Given(name) => {
                check_name("run", name)?;
                let path = parent.join(name);
                if !make(&path)? {
                    return Err(RunFolderError::Exists { path });
                }
                path
            }
            RunName::Made { summary, seed } => make_free(&parent, summary, seed)?,
        };
        let run = Self::lock(path)?;
        let checkpoints = run.checkpoints();
        fs::create_dir(&checkpoints)
            .map_err(RunFolderError::io("make the folder", &checkpoints))?;
        Ok(run)
    }

    /// Locks the folder of a run that exists, to resume it.
    ///
    /// # Errors
    ///
    /// [`RunFolderError::NotARun`] when there is no `config.toml` in it, [`RunFolderError::Part`] when it is inside of
    /// a run, [`RunFolderError::InUse`] when another process works on it.
    pub fn open(path: &Path) -> Result<Self, RunFolderError> {
        if !path.join(CONFIG).is_file() {
            let path = path.to_owned();
            return Err(match run_around(&path) {
                Some(run) => RunFolderError::Part { path, run },
                None => RunFolderError::NotARun { path },
            });
        }
        let run = Self::lock(path.to_owned())?;
        // A kill between the making of the two folders leaves a run without this one.
        let checkpoints = run.checkpoints();
        fs::create_dir_all(&checkpoints)
            .map_err(RunFolderError::io("make the folder", &checkpoints))?;
        Ok(run)
    }

    fn lock(path: PathBuf) -> Result<Self, RunFolderError> {
        let file = path.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(RunFolderError::io("open", &file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, store: Shared::default(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(RunFolderError::InUse { path }),
            Err(TryLockError::Error(source)) => {
                Err(RunFolderError::Io { action: "lock", path: file, source })
            }
        }
    }

    /// The same folder, its files written through `store`.
    #[must_use]
    pub fn on(self, store: &Shared) -> Self {
        Self { store: store.clone(), ..self }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the file `name` in the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder of the checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Replaces the small file `name` whole; see [`replace`].
    ///
    /// # Errors
    ///
    /// When it cannot be written; the file is then what it was.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunFolderError> {
        let path = self.file(name);
        replace(&mut self.store.clone(), &path, bytes).map_err(RunFolderError::io("write", &path))
    }

    /// Writes the small file `name` as [`write`](Self::write) does, unless it has these bytes already.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn update(&self, name: &str, bytes: &[u8]) -> Result<(), RunFolderError> {
        if fs::read(self.file(name)).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        self.write(name, bytes)
    }
}

/// The folder of the run of which a path is a part: a file of it, its checkpoints or one of these.
pub(crate) fn run_around(path: &Path) -> Option<PathBuf> {
    let is_run =
        |folder: &&Path| folder.join(CONFIG).is_file() && folder.join(CHECKPOINTS).is_dir();
    let run = path.ancestors().skip(1).take(2).find(is_run)?;
    // Of a relative path of one part that is the working folder.
    Some(if run.as_os_str().is_empty() { PathBuf::from(".") } else { run.to_owned() })
}

/// Makes the folder of a run; `false` when there is one of this name.
fn make(path: &Path) -> Result<bool, RunFolderError> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => {
            Err(RunFolderError::Io { action: "make the folder", path: path.to_owned(), source })
        }
    }
}

/// Makes a folder under the first free name. Making is the test, so two processes that start
/// together get two folders.
fn make_free(parent: &Path, summary: &str, seed: u64) -> Result<PathBuf, RunFolderError> {
    let mut stem: String = summary
        .chars()
        .map(|c| if is_allowed(c) { c } else { '-' })
        .skip_while(|c| *c == '.' || *c == '-')
        .take(LONGEST / 2)
        .collect();
    if !stem.is_empty() {
        stem.push('-');
    }
    stem.push_str(&format!("seed{seed}"));
    let mut path = parent.join(&stem);
    let mut suffix = 1_u64;
    while !make(&path)? {
        suffix += 1;
        path = parent.join(format!("{stem}-{suffix}"));
    }
    Ok(path)
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '=')
}

fn check_name(what: &'static str, name: &str) -> Result<(), RunFolderError> {
    match fault_of_name(name) {
        None => Ok(()),
        Some(reason) => Err(RunFolderError::Name { what, name: name.to_owned(), reason }),
    }
}

/// The rule that the name of a run or an experiment breaks, if any.
pub(crate) fn fault_of_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.starts_with(['.', '-']) {
        Some("it starts with `.` or `-`")
    } else if name.len() > LONGEST {
        Some("it is longer than 160 bytes")
    } else if !name.chars().all(is_allowed) {
        Some("it has other characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
