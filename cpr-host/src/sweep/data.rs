//! Whether the data of a sweep's runs is there, before the first of them starts.

use std::path::Path;

use toml::Value;

use super::{Catalog, PlannedRun, SweepError, SweepFile, plan::plain};

/// Looks at the data of these runs, once for all that ask the same of it.
///
/// # Errors
/// [`SweepError::Data`] for the first that is missing, or is not what it is to be.
pub(super) fn find(
    file: &SweepFile,
    runs: &[&PlannedRun],
    catalog: &dyn Catalog,
) -> Result<(), SweepError> {
    let keys = catalog.data_keys(&file.experiment);
    let Some(&first) = keys.first() else { return Ok(()) };
    let asked = |run: &PlannedRun| -> Vec<Option<Value>> {
        keys.iter().map(|key| run.resolved.get(*key).cloned()).collect()
    };
    let mut found = Vec::new();
    for run in runs {
        let asks = asked(run);
        if found.contains(&asks) {
            continue;
        }
        if let Err(source) = catalog.find_data(&file.experiment, &run.resolved) {
            // A run may read more than its data, such as weights to begin with.
            let key = (keys.iter().copied())
                .filter(|key| names(run.resolved.get(*key), source.path()))
                .max_by_key(|key| run.resolved.get(*key).map(|value| plain(value).len()))
                .unwrap_or(first);
            let named = run.resolved.get(key);
            return Err(SweepError::Data {
                path: file.path.clone(),
                key,
                is_default: !run.keys.contains_key(key),
                count: runs.iter().filter(|other| other.resolved.get(key) == named).count(),
                source: Box::new(source),
                next: next(Path::new(&named.map(plain).unwrap_or_default())),
            });
        }
        found.push(asks);
    }
    Ok(())
}

/// Whether the value of a key is this path, or a folder that it is in.
fn names(value: Option<&Value>, path: &Path) -> bool {
    value.and_then(Value::as_str).is_some_and(|value| path.starts_with(value))
}

/// How the data at this path can be had.
#[cfg(feature = "fetch")]
fn next(path: &Path) -> String {
    crate::fetch::DataSet::command_for(path).map_or_else(
        || "`cpr fetch --help` lists the data sets that it brings".to_owned(),
        |command| format!("`{command}` brings that data set"),
    )
}

/// How the data at this path can be had.
#[cfg(not(feature = "fetch"))]
fn next(_path: &Path) -> String {
    "name data that is there".to_owned()
}
