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
    let Some(&key) = keys.first() else { return Ok(()) };
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
