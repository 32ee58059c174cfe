//! The names of a file's columns, which the first row fixes.

use std::path::Path;

use super::{ObserveError, Row};

/// The names, once they are known.
#[derive(Debug, Default)]
pub(super) struct Columns {
    names: Option<Vec<String>>,
}

impl Columns {
    /// Columns that an earlier process has fixed.
    pub(super) fn fixed(names: Vec<String>) -> Self {
        Self { names: Some(names) }
    }

    /// Takes the names of the first row, and compares those of every later one with them.
    pub(super) fn check(&mut self, path: &Path, row: &Row) -> Result<(), ObserveError> {
        let given = || row.scalars.iter().map(|(name, _)| name.as_str());
        if let Some(names) = &self.names {
            if given().eq(names.iter().map(String::as_str)) {
                return Ok(());
            }
            return Err(ObserveError::Columns {
                path: path.to_owned(),
                step: row.step,
                expected: names.join(", "),
                given: given().collect::<Vec<_>>().join(", "),
            });
        }
        let mut sorted: Vec<_> = given().chain(["step"]).collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let (path, name) = (path.to_owned(), pair[0].to_owned());
            return Err(ObserveError::Duplicate { path, name });
        }
        self.names = Some(given().map(str::to_owned).collect());
        Ok(())
    }
}
