//! The binary versions of CIFAR-10 and CIFAR-100.
//!
//! ```text
//! CIFAR-10   label | 1024 red | 1024 green | 1024 blue            each record 3073 bytes
//! CIFAR-100  coarse label | fine label | 1024 | 1024 | 1024       each record 3074 bytes
//! ```
//!
//! row by row, one byte a value, no header. Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "Binary version".

use std::{
    io::{BufReader, Read},
    path::Path,
};

use super::{
    error::{AGAIN, DataError},
    images::{self, Images},
};

/// Rows and columns of an image.
const SIDE: usize = 32;
/// Bytes of an image.
const IMAGE: usize = 3 * SIDE * SIDE;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cifar {
    /// Ten classes.
    Ten,
    /// A hundred classes in twenty groups; the labels that are read are the classes.
    Hundred,
}

impl Cifar {
    /// Its name.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ten => "CIFAR-10",
            Self::Hundred => "CIFAR-100",
        }
    }

    /// Number of classes.
    #[must_use]
    pub const fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Hundred => 100,
        }
    }

    /// Bytes of labels in a record.
    const fn labels(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    const fn record(self) -> usize {
        self.labels() + IMAGE
    }
}

/// The images of these files, one after the other.
///
/// # Errors
/// [`DataError`]: the first file that is refused.
pub fn images(paths: &[impl AsRef<Path>], kind: Cifar) -> Result<Images, DataError> {
    let mut files = Vec::new();
    let mut total = 0;
    for path in paths {
        let path = path.as_ref();
        let (file, length) = images::open(path)?;
        total += count(path, length, kind)?;
        files.push((path, BufReader::new(file), length));
    }
    let mut all = empty(total);
    for (path, file, length) in files {
        append(path, file, length, kind, &mut all)?;
    }
    Ok(all)
}

/// The images of a source of that many bytes; `path` is what errors name.
///
/// # Errors
/// [`DataError`]; more is never allocated than `length` and a record.
pub fn read(path: &Path, source: impl Read, length: u64, kind: Cifar) -> Result<Images, DataError> {
    let mut images = empty(count(path, length, kind)?);
    append(path, source, length, kind, &mut images)?;
    Ok(images)
}

fn empty(count: usize) -> Images {
    let (pixels, labels) = (Vec::with_capacity(count * IMAGE), Vec::with_capacity(count));
    Images { channels: 3, height: SIDE, width: SIDE, pixels, labels }
}

/// How many records a file of that length has.
fn count(path: &Path, length: u64, kind: Cifar) -> Result<usize, DataError> {
    let path = || path.to_owned();
    if length == 0 {
        return Err(DataError::Empty { path: path(), next: AGAIN.to_owned() });
    }
    let record = kind.record() as u64;
    match usize::try_from(length / record) {
        Ok(count) if length.is_multiple_of(record) => Ok(count),
        _ => {
            let other = match kind {
                Cifar::Ten => Cifar::Hundred,
                Cifar::Hundred => Cifar::Ten,
            };
            let next = match length.is_multiple_of(other.record() as u64) {
                true => format!("it fits {}: name its files as those are named", other.title()),
                false => AGAIN.to_owned(),
            };
            let expected = format!("a record of {} takes {record}", kind.title());
            Err(DataError::Length { path: path(), given: length, expected, next })
        }
    }
}

fn append(
    path: &Path,
    mut source: impl Read,
    length: u64,
    kind: Cifar,
    images: &mut Images,
) -> Result<(), DataError> {
    let mut record = [0; IMAGE + 2];
    let record = &mut record[..kind.record()];
    for index in 0..count(path, length, kind)? {
        source.read_exact(record).map_err(|error| DataError::read(path, error))?;
        let (labels, pixels) = record.split_at(kind.labels());
        let limits: &[usize] = match kind {
            Cifar::Ten => &[10],
            Cifar::Hundred => &[20, 100],
        };
        for (&label, &limit) in labels.iter().zip(limits) {
            if usize::from(label) >= limit {
                return Err(DataError::Label {
                    path: path.to_owned(),
                    what: if limit == 20 { "coarse label" } else { "label" },
                    index: index as u64,
                    given: label.into(),
                    highest: limit as u64 - 1,
                    next: AGAIN.to_owned(),
                });
            }
        }
        images.labels.extend(labels.last());
        images.pixels.extend_from_slice(pixels);
    }
    Ok(())
}
