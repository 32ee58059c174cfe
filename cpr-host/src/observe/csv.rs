//! `metrics.csv`: the same rows for spreadsheets and data frames.

use std::path::Path;

use super::{
    Observe, ObserveError, Position, Row,
    append::{AppendFile, Cut},
    columns::Columns,
};
use crate::store::Shared;

/// Name of the file in a run folder.
pub(super) const FILE: &str = "metrics.csv";

/// Writes rows as comma-separated values under a header that the first row gives.
///
/// Names with a comma, a quote or a line break are quoted (RFC 4180); lines end with a line feed. A
/// value that is not defined yet is an empty cell; infinities and NaN are `inf`, `-inf` and `nan`;
/// other floats have the shortest form that reads back to the same bits.
#[derive(Debug)]
pub struct Csv {
    file: AppendFile,
    columns: Columns,
    header: Header,
}

/// What the file says about its header.
#[derive(Debug, PartialEq, Eq)]
enum Header {
    /// The file is empty.
    Missing,
    /// The file begins with the header of an earlier process, not compared with a row yet.
    Unchecked,
    /// It stands in the file and is that of [`Csv::columns`].
    Written,
}

impl Csv {
    /// Makes an empty file at `path`.
    ///
    /// # Errors
    ///
    /// When there is a file already, or none can be made.
    pub fn create(path: &Path) -> Result<Self, ObserveError> {
        Self::create_on(&Shared::default(), path)
    }

    pub(super) fn create_on(store: &Shared, path: &Path) -> Result<Self, ObserveError> {
        let file = AppendFile::create(store, path)?;
        Ok(Self { file, columns: Columns::default(), header: Header::Missing })
    }

    /// Opens the file of an interrupted run and cuts it to `length` bytes. The first row has to
    /// carry the names of its header.
    ///
    /// # Errors
    ///
    /// When the file is shorter, when `length` is inside a line, or when it cannot be opened.
    pub fn open_at(path: &Path, length: u64) -> Result<Self, ObserveError> {
        Self::open_on(&Shared::default(), path, length)
    }

    pub(super) fn open_on(store: &Shared, path: &Path, length: u64) -> Result<Self, ObserveError> {
        let file = AppendFile::open_at(store, path, length, Cut::Line)?;
        let header = if length == 0 { Header::Missing } else { Header::Unchecked };
        Ok(Self { file, columns: Columns::default(), header })
    }

    /// Length of the file in bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.file.length()
    }
}

impl Observe for Csv {
    fn record(&mut self, row: &Row) -> Result<(), ObserveError> {
        self.columns.check(self.file.path(), row)?;
        let mut lines = String::new();
        if self.header != Header::Written {
            lines = header(row);
            if self.header == Header::Unchecked {
                // Names may hold line breaks, so the header is compared by its bytes.
                let stands = self.file.prefix(lines.len() as u64)?;
                if stands != lines.as_bytes() {
                    self.columns = Columns::default();
                    let stands = self.file.prefix(1 << 20)?;
                    let first = stands.split(|&byte| byte == b'\n').next().unwrap_or_default();
                    return Err(ObserveError::Columns {
                        path: self.file.path().to_owned(),
                        step: row.step,
                        expected: String::from_utf8_lossy(first).into_owned(),
                        given: lines.trim_end().to_owned(),
                    });
                }
                lines.clear();
            }
        }
        lines.push_str(&row.step.to_string());
        for (_, value) in &row.scalars {
            lines.push(',');
            lines.push_str(&cell(*value));
        }
        lines.push('\n');
        self.file.append(lines.as_bytes())?;
        self.header = Header::Written;
        Ok(())
    }

    fn sync(&mut self) -> Result<Vec<Position>, ObserveError> {
        Ok(vec![self.file.sync()?])
    }

    fn finish(&mut self) -> Result<(), ObserveError> {
        self.file.sync().map(drop)
    }
}

fn header(row: &Row) -> String {
    let mut header = String::from("step");
    for (name, _) in &row.scalars {
        header.push(',');
        if name.contains([',', '"', '\n', '\r']) {
            header.push_str(&format!("\"{}\"", name.replace('"', "\"\"")));
        } else {
            header.push_str(name);
        }
    }
    header.push('\n');
    header
}

fn cell(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.is_nan() => "nan".to_owned(),
        // Shortest form with the same bits; infinities are `inf` and `-inf`.
        Some(value) => format!("{value:?}"),
    }
}
