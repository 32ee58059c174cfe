//! `cpr list`: the runs below a folder, and how far each is.

use std::{fs, path::Path};

use crate::{
    observe::{LastLine, read_jsonl},
    report::{
        ReportError,
        source::{name_of, read_config, run_folders},
    },
    summary::number,
    sweep::{folder::is_locked, results::outcomes},
};

/// Outcomes that a list shows, where a run has them.
const SHOWN: usize = 4;

/// The table of the runs in `folder`, by their path: experiment, name, state, last step, seed, first outcomes.
///
/// # Errors
/// [`ReportError`]; a folder without a run is one.
pub fn table(folder: &Path) -> Result<String, ReportError> {
    let runs = run_folders(folder)?;
    if runs.is_empty() {
        return Err(ReportError::NoRuns { path: folder.to_owned() });
    }
    let mut rows = vec![["run", "state", "step", "seed", "outcomes"].map(str::to_owned)];
    for run in runs {
        let path = run.strip_prefix(folder).unwrap_or(&run).display().to_string();
        let path = if path.is_empty() { name_of(&run) } else { path };
        let config = read_config(&run)?;
        let found = outcomes(&run);
        let last = read_jsonl(&run.join("metrics.jsonl"), LastLine::MayBeTorn).ok();
        let step = last.and_then(|rows| rows.last().map(|row| row.step));
        let state = match &found {
            _ if is_locked(&run.join("lock")) => "at work",
            Some(_) => "ended",
            None if has_checkpoint(&run) => "stopped",
            None => "empty",
        };
        let told = found.unwrap_or_default().into_iter().filter(|(_, value)| !value.is_null());
        let told = told.filter(|(key, _)| key != "steps").take(SHOWN);
        let told: Vec<_> =
            told.map(|(key, value)| format!("{key} {}", number(value.as_f64()))).collect();
        rows.push([
            path,
            state.to_owned(),
            step.map_or_else(|| "-".to_owned(), |step| step.to_string()),
            config.get("seed").map_or_else(|| "-".to_owned(), ToString::to_string),
            told.join("  "),
        ]);
    }
    Ok(columns(&rows))
}

fn has_checkpoint(run: &Path) -> bool {
    fs::read_dir(run.join("checkpoints")).is_ok_and(|mut entries| entries.next().is_some())
}

/// The rows with their columns below each other.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
