//! The append-only file under every metrics format.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{ObserveError, Position};
use crate::store::{Shared, Store as _};

/// Where a cut is allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Anywhere: records are frames of their own length.
    Frame,
    /// Only behind a line feed.
    Line,
}

/// Opens a file that may be cut to `recorded` bytes, and leaves it as it is; returns its length too.
pub(super) fn open(path: &Path, recorded: u64, cut: Cut) -> Result<(File, u64), ObserveError> {
    let io = |action| move |source| ObserveError::Io { action, path: path.to_owned(), source };
    let mut file = OpenOptions::new().read(true).append(true).open(path).map_err(io("open"))?;
    let length = file.metadata().map_err(io("open"))?.len();
    if length < recorded {
        return Err(ObserveError::Shorter { path: path.to_owned(), length, recorded });
    }
    if cut == Cut::Line && recorded > 0 {
        let mut last = [0];
        file.seek(SeekFrom::Start(recorded - 1)).map_err(io("read"))?;
        file.read_exact(&mut last).map_err(io("read"))?;
        if last != *b"\n" {
            return Err(ObserveError::NotALineEnd { path: path.to_owned(), recorded });
        }
    }
    Ok((file, length))
}

/// A file that grows by whole records and knows its length.
#[derive(Debug)]
pub(super) struct AppendFile {
    path: PathBuf,
    store: Shared,
    file: File,
    length: u64,
}

impl AppendFile {
    /// Makes an empty file; one that exists is left alone.
    pub(super) fn create(store: &Shared, path: &Path) -> Result<Self, ObserveError> {
        let mut store = store.clone();
        let file = store.create_log(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => ObserveError::Exists { path: path.to_owned() },
            _ => ObserveError::Io { action: "create", path: path.to_owned(), source },
        })?;
        Ok(Self { path: path.to_owned(), store, file, length: 0 })
    }

    /// Opens a file and cuts it to `recorded` bytes; a file that cannot be the one whose length was
    /// recorded stays as it is.
    pub(super) fn open_at(
        store: &Shared,
        path: &Path,
        recorded: u64,
        cut: Cut,
    ) -> Result<Self, ObserveError> {
        let mut store = store.clone();
        let (file, length) = open(path, recorded, cut)?;
        if length > recorded {
            store.cut(&file, recorded).map_err(|source| ObserveError::Io {
                action: "cut",
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(Self { path: path.to_owned(), store, file, length: recorded })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends one record. When only a part of it could be written (a full disk), that part is
    /// taken back, so that the file still ends with a whole record.
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), ObserveError> {
        if let Err(source) = self.store.write(&mut self.file, record) {
            // The error that matters is the first one; a second attempt to help may fail too.
            let _ = self.store.cut(&self.file, self.length);
            return Err(ObserveError::Io { action: "append to", path: self.path.clone(), source });
        }
        self.length += record.len() as u64;
        Ok(())
    }

    /// The first bytes of the file, at most `count`.
    pub(super) fn prefix(&mut self, count: u64) -> Result<Vec<u8>, ObserveError> {
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&self.file).take(count).read_to_end(&mut bytes))
            .map_err(|source| ObserveError::Io {
                action: "read",
                path: self.path.clone(),
                source,
            })?;
        Ok(bytes)
    }

    /// Makes the bytes durable and names them for a checkpoint.
    pub(super) fn sync(&mut self) -> Result<Position, ObserveError> {
        self.store.sync(&self.file).map_err(|source| ObserveError::Io {
            action: "sync",
            path: self.path.clone(),
            source,
        })?;
        let file = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Position { file, length: self.length })
    }
}
