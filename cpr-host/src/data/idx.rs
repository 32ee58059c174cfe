//! IDX, the format of MNIST and Fashion-MNIST.
//!
//! ```text
//! images  00 00 08 03 | count | rows | columns | count·rows·columns bytes
//! labels  00 00 08 01 | count | count bytes
//! ```
//!
//! with every number in 32 bits, most significant byte first. A file is as long as its header says, to the byte.
//! Source: <http://yann.lecun.com/exdb/mnist/>, section "file formats".

use std::{io::Read, path::Path};

use super::{
    error::{AGAIN, DataError},
    images::{self, Images},
};

/// Unsigned bytes in three dimensions.
const IMAGES: u32 = 0x0803;
/// Unsigned bytes in one dimension.
const LABELS: u32 = 0x0801;
const FORMAT: [&str; 2] = ["IDX file of images", "IDX file of labels"];

/// The images of one file and the labels of the one beside it.
///
/// # Errors
/// [`DataError`]: one of the files is refused, or they are not of one data set.
pub fn labelled(images: &Path, labels: &Path) -> Result<Images, DataError> {
    let (file, length) = images::open(images)?;
    let mut read = read_images(images, file, length)?;
    let (file, length) = images::open(labels)?;
    read.labels = read_labels(labels, file, length)?;
    let count = read.pixels.len() / read.size();
    if count == read.labels.len() {
        return Ok(read);
    }
    Err(DataError::Mismatch {
        path: images.to_owned(),
        given: format!("{count} images"),
        other: labels.to_owned(),
        expected: format!("{} labels", read.labels.len()),
    })
}

/// The images of a source of that many bytes, without labels yet; `path` is what errors name.
///
/// # Errors
/// [`DataError`]; more is never allocated than `length`.
pub fn read_images(path: &Path, mut source: impl Read, length: u64) -> Result<Images, DataError> {
    let [count, rows, columns] = header(path, &mut source, length, IMAGES)?;
    let total = u128::from(count) * u128::from(rows) * u128::from(columns);
    let says = || format!("its header says {count} images of {rows} x {columns}, which take");
    let total = body(path, length, 16, total, says)?;
    let pixels = images::bytes(path, &mut source, total)?;
    // Below the length of a file that fits into memory.
    let (height, width) = (rows as usize, columns as usize);
    Ok(Images { channels: 1, height, width, pixels, labels: Vec::new() })
}

/// The labels of a source of that many bytes; `path` is what errors name.
///
/// # Errors
/// [`DataError`]; more is never allocated than `length`.
pub fn read_labels(path: &Path, mut source: impl Read, length: u64) -> Result<Vec<u8>, DataError> {
    let [count] = header(path, &mut source, length, LABELS)?;
    let says = || format!("its header says {count} labels, which take");
    let total = body(path, length, 8, u128::from(count), says)?;
    images::bytes(path, &mut source, total)
}

/// The sizes after the magic number, none of them 0.
fn header<const N: usize>(
    path: &Path,
    source: &mut impl Read,
    length: u64,
    magic: u32,
) -> Result<[u32; N], DataError> {
    let path = || path.to_owned();
    if length == 0 {
        return Err(DataError::Empty { path: path(), next: AGAIN.to_owned() });
    }
    let head = 4 * (N as u64 + 1);
    let format = FORMAT[usize::from(magic == LABELS)];
    let mut number = |at: u64| {
        let mut bytes = [0; 4];
        if length < at + 4 {
            let expected = format!("the header of an {format} alone takes {head}");
            return Err(DataError::Length {
                path: path(),
                given: length,
                expected,
                next: AGAIN.to_owned(),
            });
        }
        source.read_exact(&mut bytes).map_err(|error| DataError::read(&path(), error))?;
        Ok(u32::from_be_bytes(bytes))
    };
    let given = number(0)?;
    if given != magic {
        let next = match given {
            IMAGES => "it holds images: the names are mixed up".to_owned(),
            LABELS => "it holds labels: the names are mixed up".to_owned(),
            // The first two bytes of an archive.
            _ if given >> 16 == 0x1f8b => "it is an archive: unpack it with gunzip".to_owned(),
            _ => AGAIN.to_owned(),
        };
        return Err(DataError::Magic {
            path: path(),
            format,
            field: "magic number",
            given: given.into(),
            expected: magic.to_string(),
            next,
        });
    }
    let mut sizes = [0; N];
    for (at, size) in (1..).zip(&mut sizes) {
        *size = number(4 * at)?;
        if *size == 0 {
            return Err(DataError::Magic {
                path: path(),
                format,
                field: ["number of items", "number of rows", "number of columns"][at as usize - 1],
                given: 0,
                expected: "at least 1".to_owned(),
                next: AGAIN.to_owned(),
            });
        }
    }
    Ok(sizes)
}

/// The length of what follows the header, where the file has exactly that.
fn body(
    path: &Path,
    length: u64,
    head: u64,
    total: u128,
    says: impl FnOnce() -> String,
) -> Result<usize, DataError> {
    match usize::try_from(total) {
        Ok(fits) if u128::from(length) == total + u128::from(head) => Ok(fits),
        _ => Err(DataError::Length {
            path: path.to_owned(),
            given: length,
            expected: format!("{} {}", says(), total + u128::from(head)),
            next: AGAIN.to_owned(),
        }),
    }
}
