//! `metrics.jsonl`: one JSON object a line.

use std::path::Path;

use super::{
    Observe, ObserveError, Position, Row,
    append::{AppendFile, Cut},
    columns::Columns,
    read,
};
use crate::store::Shared;

/// Name of the file in a run folder.
pub(super) const FILE: &str = "metrics.jsonl";

/// Writes rows as JSON lines: `{"step":8,"train/loss":4.7,"kappa/head.weight":null}`.
///
/// Keys stand in the row's order behind `step`. Floats have the shortest form that reads back to
/// the same bits. JSON has no infinity and no NaN: they are `null`, as is a value that is not
/// defined yet (`metrics.csv` tells these apart).
#[derive(Debug)]
pub struct Jsonl {
    file: AppendFile,
    columns: Columns,
}

impl Jsonl {
    /// Makes an empty file at `path`.
    ///
    /// # Errors
    ///
    /// When there is a file already, or none can be made.
    pub fn create(path: &Path) -> Result<Self, ObserveError> {
        Self::create_on(&Shared::default(), path)
    }

    pub(super) fn create_on(store: &Shared, path: &Path) -> Result<Self, ObserveError> {
        Ok(Self { file: AppendFile::create(store, path)?, columns: Columns::default() })
    }

    /// Opens the file of an interrupted run and cuts it to `length` bytes. Columns are those of its
    /// first line.
    ///
    /// # Errors
    ///
    /// When the file is shorter, when `length` is inside a line, or when it cannot be opened.
    pub fn open_at(path: &Path, length: u64) -> Result<Self, ObserveError> {
        Self::open_on(&Shared::default(), path, length)
    }

    pub(super) fn open_on(store: &Shared, path: &Path, length: u64) -> Result<Self, ObserveError> {
        let mut file = AppendFile::open_at(store, path, length, Cut::Line)?;
        let columns = match read::rows(path, &file.prefix(length)?, read::LastLine::Whole)?.first()
        {
            Some(row) => Columns::fixed(row.scalars.iter().map(|(name, _)| name.clone()).collect()),
            None => Columns::default(),
        };
        Ok(Self { file, columns })
    }

    /// Length of the file in bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.file.length()
    }
}

impl Observe for Jsonl {
    fn record(&mut self, row: &Row) -> Result<(), ObserveError> {
        self.columns.check(self.file.path(), row)?;
        self.file.append(line(row).as_bytes())
    }

    fn sync(&mut self) -> Result<Vec<Position>, ObserveError> {
        Ok(vec![self.file.sync()?])
    }

    fn finish(&mut self) -> Result<(), ObserveError> {
        self.file.sync().map(drop)
    }
}

/// The row as one line of JSON with its line feed.
pub(super) fn line(row: &Row) -> String {
    let mut line = format!("{{\"step\":{}", row.step);
    for (name, value) in &row.scalars {
        line.push(',');
        // `Value` of a string is printed with JSON's escapes.
        line.push_str(&serde_json::Value::from(name.as_str()).to_string());
        line.push(':');
        match value {
            // The debug form is the shortest that reads back to the same bits, and valid JSON.
            Some(value) if value.is_finite() => line.push_str(&format!("{value:?}")),
            _ => line.push_str("null"),
        }
    }
    line.push_str("}\n");
    line
}
