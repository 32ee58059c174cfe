//! The runs that a report is about, read from their folders.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::Table;

use super::ReportError;
use crate::{
    checkpoint::Latest,
    inspect::{self, Facts},
    observe::{LastLine, Row, read_jsonl},
    run_folder::{RunFolderError, run_around},
    sweep::{
        Manifest,
        folder::MANIFEST,
        results::{Outcomes, outcomes},
    },
};

/// Folders below the given one in which runs are looked for: `runs/`, experiment, run.
const DEPTH: usize = 3;

/// A run that has ended.
#[derive(Clone, Debug)]
pub(crate) struct RunData {
    /// The name of its folder.
    pub(crate) name: String,
    /// The resolved configuration.
    pub(crate) config: Table,
    /// The numbers of its summary.
    pub(crate) outcomes: Outcomes,
    /// Its evaluations.
    pub(crate) rows: Vec<Row>,
    /// What the clock said.
    pub(crate) timing: Vec<Row>,
    /// Its parameters at the end; empty without a checkpoint.
    pub(crate) parameters: Vec<Facts>,
    /// Its seed.
    pub(crate) seed: u64,
}

/// A folder that was given: a sweep with its manifest, or runs.
#[derive(Debug)]
pub(crate) struct Source {
    /// What it was given as.
    pub(crate) path: PathBuf,
    /// Of a sweep.
    pub(crate) manifest: Option<Manifest>,
    /// The runs that have ended; of a sweep in its order, else by name.
    pub(crate) runs: Vec<RunData>,
    /// Runs that have not ended, or have failed.
    pub(crate) left_out: Vec<String>,
}

impl Source {
    /// Reads a sweep's folder, a run's, or one that holds runs.
    ///
    /// # Errors
    /// [`ReportError`] with the path; a folder without a run is one.
    pub(crate) fn read(path: &Path) -> Result<Self, ReportError> {
        let manifest = manifest(path)?;
        let folders = match &manifest {
            Some(manifest) => {
                let of = |name: &String| path.join(&manifest.experiment).join(name);
                manifest.runs.iter().map(|entry| of(&entry.name)).collect()
            }
            None => run_folders(path)?,
        };
        if folders.is_empty() {
            return Err(ReportError::NoRuns { path: path.to_owned() });
        }
        let (mut runs, mut left_out) = (Vec::new(), Vec::new());
        for folder in folders {
            match read_run(&folder)? {
                Some(run) => runs.push(run),
                None => left_out.push(name_of(&folder)),
            }
        }
        Ok(Self { path: path.to_owned(), manifest, runs, left_out })
    }
}

fn manifest(path: &Path) -> Result<Option<Manifest>, ReportError> {
    let file = path.join(MANIFEST);
    if !file.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(&file).map_err(ReportError::io("read", &file))?;
    let manifest = serde_json::from_slice(&bytes);
    manifest.map(Some).map_err(|source| ReportError::Manifest { path: file, source })
}

/// The folders with a `config.toml` in or below this one, sorted.
pub(crate) fn run_folders(path: &Path) -> Result<Vec<PathBuf>, ReportError> {
    if !path.is_dir() {
        no_part_of_a_run(path)?;
    }
    let mut found = Vec::new();
    let mut level = vec![path.to_owned()];
    for _ in 0..=DEPTH {
        let mut below = Vec::new();
        for folder in level {
            if folder.join("config.toml").is_file() {
                found.push(folder);
                continue;
            }
            let entries = fs::read_dir(&folder).map_err(ReportError::io("read", &folder))?;
            for entry in entries {
                let path = entry.map_err(ReportError::io("read", &folder))?.path();
                if path.is_dir() {
                    below.push(path);
                }
            }
        }
        level = below;
    }
    if found.is_empty() {
        no_part_of_a_run(path)?;
    }
    found.sort();
    Ok(found)
}

/// Refuses the checkpoints of a run or a file of it, where a folder that is or holds runs is asked for.
fn no_part_of_a_run(path: &Path) -> Result<(), RunFolderError> {
    match run_around(path) {
        Some(run) => Err(RunFolderError::Part { path: path.to_owned(), run }),
        None => Ok(()),
    }
}

pub(crate) fn name_of(folder: &Path) -> String {
    let name = folder.file_name().or_else(|| folder.as_os_str().into());
    name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The run in this folder; `None` where it has not ended.
pub(crate) fn read_run(folder: &Path) -> Result<Option<RunData>, ReportError> {
    let Some(outcomes) = outcomes(folder) else { return Ok(None) };
    let config = read_config(folder)?;
    let rows = read_jsonl(&folder.join("metrics.jsonl"), LastLine::MayBeTorn)?;
    let timing = folder.join("timing.jsonl");
    let timing = match timing.is_file() {
        true => read_jsonl(&timing, LastLine::MayBeTorn)?,
        false => Vec::new(),
    };
    let parameters = match Latest::read(&folder.join("checkpoints")) {
        Ok(Some(Latest { path, checkpoint, .. })) => inspect::facts(&path, checkpoint)?,
        // Checkpoints may have been removed for space: what they tell is then left out.
        Ok(None) | Err(_) => Vec::new(),
    };
    let seed = config.get("seed").and_then(toml::Value::as_integer).unwrap_or(0);
    Ok(Some(RunData {
        name: name_of(folder),
        config,
        outcomes,
        rows,
        timing,
        parameters,
        seed: u64::try_from(seed).unwrap_or(0),
    }))
}

/// The resolved configuration of a run.
pub(crate) fn read_config(folder: &Path) -> Result<Table, ReportError> {
    let path = folder.join("config.toml");
    if !path.is_file() {
        no_part_of_a_run(folder)?;
    }
    let text = fs::read_to_string(&path).map_err(ReportError::io("read", &path))?;
    text.parse().map_err(|source| ReportError::Config { path, source })
}
