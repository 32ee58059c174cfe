//! The final tables: a pure function of the runs that have ended.

use std::{fs, path::Path};

use serde_json::{Map, Value};

use super::{Entry, Manifest, Status, SweepError, SweepFolder};

/// What came out of a run: the numbers of its `summary.json`, in its order; null where one is not defined.
pub type Outcomes = Map<String, Value>;

/// The outcomes in a run's folder: every number and null at the top of `summary.json`. `None` where it has none yet.
#[must_use]
pub fn outcomes(run: &Path) -> Option<Outcomes> {
    let summary: Map<String, Value> =
        serde_json::from_slice(&fs::read(run.join("summary.json")).ok()?).ok()?;
    Some(summary.into_iter().filter(|(_, value)| value.is_number() || value.is_null()).collect())
}

/// A row of the tables.
struct Row<'a> {
    entry: &'a Entry,
    state: &'static str,
    outcomes: Outcomes,
}

/// Writes `results.csv` and `results.json`: one row a run of the sweep, in its order, with its state, swept keys and
/// outcomes. No clock and no path is in them: the same runs give the same bytes, whoever ran them in whatever order.
///
/// # Errors
/// [`SweepError::Io`].
pub fn write(folder: &SweepFolder, manifest: &Manifest) -> Result<(), SweepError> {
    // From the look at the runs to the writing nobody else writes: the last writer has seen every run.
    let _lock = folder.lock()?;
    folder.write(
        super::folder::MANIFEST,
        format!("{:#}\n", serde_json::json!(manifest)).as_bytes(),
    )?;
    let rows: Vec<_> = manifest.runs.iter().map(|entry| row(folder, entry)).collect();
    folder.write("results.csv", csv(&rows).as_bytes())?;
    folder.write("results.json", json(&rows).as_bytes())
}

fn row<'a>(folder: &SweepFolder, entry: &'a Entry) -> Row<'a> {
    let (state, outcomes) = match folder.status(&entry.name) {
        Some(Status::Done) => match outcomes(&folder.run(&entry.name)) {
            Some(outcomes) => ("done", outcomes),
            None => ("open", Outcomes::new()),
        },
        Some(Status::Failed { .. }) => ("failed", Outcomes::new()),
        None => ("open", Outcomes::new()),
    };
    Row { entry, state, outcomes }
}

/// The names in the order in which they come first.
pub(crate) fn union<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut union: Vec<&str> = Vec::new();
    for name in names {
        if !union.contains(&name.as_str()) {
            union.push(name);
        }
    }
    union
}

fn csv(rows: &[Row<'_>]) -> String {
    let swept = union(rows.iter().flat_map(|row| row.entry.swept.iter().map(|(key, _)| key)));
    let names = union(rows.iter().flat_map(|row| row.outcomes.keys()));
    let head = ["run", "group", "setting", "seed", "state"];
    let mut text = head
        .iter()
        .chain(&swept)
        .chain(&names)
        .map(|name| cell(name))
        .collect::<Vec<_>>()
        .join(",");
    text.push('\n');
    for Row { entry, state, outcomes } in rows {
        let mut cells = vec![cell(&entry.name), cell(&entry.group), cell(&entry.setting)];
        cells.extend([entry.seed.to_string(), (*state).to_owned()]);
        for key in &swept {
            let value = entry.swept.iter().find(|(name, _)| name == key);
            cells.push(value.map_or_else(String::new, |(_, value)| cell(value)));
        }
        for name in &names {
            let value = outcomes.get(*name).filter(|value| !value.is_null());
            cells.push(value.map_or_else(String::new, Value::to_string));
        }
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

fn json(rows: &[Row<'_>]) -> String {
    let row = |row: &Row<'_>| {
        let Entry { name, group, setting, swept, seed } = row.entry;
        let swept: Map<String, Value> =
            swept.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
        serde_json::json!({
            "run": name, "group": group, "setting": setting, "seed": seed, "state": row.state,
            "swept": swept, "outcomes": row.outcomes,
        })
    };
    let rows: Vec<Value> = rows.iter().map(row).collect();
    format!("{:#}\n", Value::Array(rows))
}

/// A cell as RFC 4180 has it.
pub(crate) fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
