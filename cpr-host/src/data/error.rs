//! What can be wrong with a data file.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A data file that is refused: each message names the file and says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The system does not give it.
    #[error("cannot read {}: {source}: {next}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// What to do.
        next: String,
    },
    /// A file without a byte.
    #[error("{} is empty: {next}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What to do.
        next: String,
    },
    /// It begins with other numbers than files of its format.
    #[error("{} is no {format}: its {field} is {given}, not {expected}: {next}", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// What it was to be.
        format: &'static str,
        /// The number that is wrong.
        field: &'static str,
        /// The number.
        given: u64,
        /// What it is in such a file.
        expected: String,
        /// What to do.
        next: String,
    },
    /// It is shorter or longer than it says, or than its records fill.
    #[error("{} has {given} bytes, and {expected}: {next}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        given: u64,
        /// What fits.
        expected: String,
        /// What to do.
        next: String,
    },
    /// A label or token that is out of range.
    #[error("{}: {what} {index} is {given}, and the highest is {highest}: {next}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// `label` or `token`.
        what: &'static str,
        /// Its place, from 0.
        index: u64,
        /// Its value.
        given: u64,
        /// The largest that is allowed.
        highest: u64,
        /// What to do.
        next: String,
    },
    /// A character that a run's text had not.
    #[error("{} has the character {character:?}, which is not in the run's alphabet: {next}", path.display())]
    Character {
        /// The file.
        path: PathBuf,
        /// The first such character.
        character: char,
        /// What to do.
        next: String,
    },
    /// Two files that belong together and do not.
    #[error("{} holds {given}, and {} {expected}: take both from one data set", path.display(), other.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What it holds.
        given: String,
        /// The file beside it.
        other: PathBuf,
        /// What that holds.
        expected: String,
    },
    /// A document that is none.
    #[error("{} cannot be understood: {what}: {next}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        next: String,
    },
    /// A folder without the files of a data set.
    #[error("{} holds no data set: {next}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What to put there.
        next: String,
    },
}

/// What to do with a file whose content is wrong.
pub(super) const AGAIN: &str = "download or make it again";

impl DataError {
    /// The file or folder that it is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Empty { path, .. }
            | Self::Magic { path, .. }
            | Self::Length { path, .. }
            | Self::Label { path, .. }
            | Self::Character { path, .. }
            | Self::Mismatch { path, .. }
            | Self::Document { path, .. }
            | Self::Folder { path, .. } => path,
        }
    }

    /// A file or folder that the system does not give, with what to do by the kind of the error.
    #[must_use]
    pub fn read(path: &Path, source: io::Error) -> Self {
        let next = match source.kind() {
            io::ErrorKind::UnexpectedEof => "it was cut while it was read: run again".to_owned(),
            io::ErrorKind::NotFound => {
                let packed = packed(path);
                match packed.exists() {
                    true => format!("unpack {} beside it", packed.display()),
                    false => "give the path of the data".to_owned(),
                }
            }
            _ => "make it readable, or give another path".to_owned(),
        };
        Self::Read { path: path.to_owned(), source, next }
    }
}

/// The name under which archives have the file.
fn packed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}
