//! `cpr list`: the runs below a folder, and how far each is.

use std::{fs, path::Path};

use crate::{
    observe::{LastLine, read_jsonl},
    report::{
        ReportError,
        source::{name_of, read_config, run_folders},
    },
    summary::{decimals, with_decimals},
    sweep::{
        folder::is_locked,
        results::{outcomes, union},
    },
};

/// Outcomes of a run that a list shows: the first ones of its summary.
const SHOWN: usize = 4;

/// The table of the runs in `folder`, by their path: experiment, name, state, last step, seed, and a column for each of
/// the first outcomes.
///
/// # Errors
/// [`ReportError`]; a folder without a run is one.
pub fn table(folder: &Path) -> Result<String, ReportError> {
    let runs = run_folders(folder)?;
    if runs.is_empty() {
        return Err(ReportError::NoRuns { path: folder.to_owned() });
    }
    let mut rows = vec![["run", "state", "step", "seed"].map(str::to_owned).to_vec()];
    let mut told: Vec<Vec<(String, Option<f64>)>> = Vec::new();
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
        rows.push(vec![
            path,
            state.to_owned(),
            step.map_or_else(|| "-".to_owned(), |step| step.to_string()),
            config.get("seed").map_or_else(|| "-".to_owned(), ToString::to_string),
        ]);
        // Its steps have a column already.
        let found = found.unwrap_or_default().into_iter().filter(|(key, _)| key != "steps");
        told.push(found.take(SHOWN).map(|(key, value)| (key, value.as_f64())).collect());
    }
    for name in union(told.iter().flatten().map(|(name, _)| name)) {
        let of_run = |told: &Vec<(String, Option<f64>)>| {
            told.iter().find(|(key, _)| key == name).and_then(|(_, value)| *value)
        };
        let column = figures(&told.iter().map(of_run).collect::<Vec<_>>());
        let cells = std::iter::once(name.to_owned()).chain(column);
        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
    }
    Ok(columns(&rows))
}

fn has_checkpoint(run: &Path) -> bool {
    fs::read_dir(run.join("checkpoints")).is_ok_and(|mut entries| entries.next().is_some())
}

/// A column of numbers, each with as many decimals: those of five significant digits of the largest, none where all are
/// whole. A dash for what is missing.
fn figures(values: &[Option<f64>]) -> Vec<String> {
    let largest = values.iter().flatten().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let are_whole = values.iter().flatten().all(|value| value.fract() == 0.0) && largest < 1e15;
    let decimals = if are_whole { Some(0) } else { decimals(largest) };
    values.iter().map(|&value| with_decimals(value, decimals)).collect()
}

/// The rows, all as long as their first, which is the head, with their columns below each other: numbers to the right.
pub(crate) fn columns<R: AsRef<[String]>>(rows: &[R]) -> String {
    let Some((head, body)) = rows.split_first() else { return String::new() };
    let layout = |column: usize| {
        let below = || body.iter().map(|row| row.as_ref()[column].as_str());
        let names = std::iter::once(head.as_ref()[column].as_str());
        let width = names.chain(below()).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let is_number = |cell: &str| cell == "-" || cell.parse::<f64>().is_ok();
        (width, below().all(is_number))
    };
    let layouts: Vec<_> = (0..head.as_ref().len()).map(layout).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.as_ref().iter().zip(&layouts).map(|(cell, &(width, right))| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_equally_many_decimals() {
        for (values, shown) in [
            (
                &[Some(0.094_117), Some(1.0), None, Some(0.0)][..],
                &["0.0941", "1.0000", "-", "0.0000"][..],
            ),
            (&[Some(1848.0), None, Some(8.0)], &["1848", "-", "8"]),
            (&[Some(1234.56), Some(2.0)], &["1234.6", "2.0"]),
            (&[Some(2e-7), Some(1e-5)], &["2.0000e-7", "1.0000e-5"]),
            (&[None], &["-"]),
            (&[Some(2e6)], &["2000000"]),
        ] {
            assert_eq!(figures(values), shown);
        }
    }

    #[test]
    fn numbers_stand_to_the_right_and_texts_to_the_left() {
        let rows = [["run", "loss"], ["a", "12.5"], ["long", "-"], ["b", "1.25"]];
        let text = columns(&rows.map(|row| row.map(str::to_owned)));
        assert_eq!(text, "run   loss\na     12.5\nlong     -\nb     1.25\n");
    }
}
