//! Reads a checkpoint, or any safetensors file, without trust in what it says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::bind::Tensors;
use super::error::CheckpointError;
use super::format::{
    self, CHECKSUM_DIGITS, CHECKSUM_ZEROS, Entry, FORMAT_VERSION, HEADER_START, Header,
    LENGTH_BYTES, MAX_DOCUMENT_BYTES, MAX_HEADER_BYTES,
};
use super::meta::Meta;
use super::tensor::Tensor;

/// A checkpoint that was read and verified.
#[derive(Debug)]
pub struct Checkpoint {
    /// What it says of the run.
    pub meta: Meta,
    /// Its tensors, to be taken by name.
    pub tensors: Tensors,
}

impl Checkpoint {
    /// Reads a checkpoint and verifies its checksum.
    ///
    /// The memory allocated is at most the file's size plus 64 MB, whatever the file claims.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Read`] where the system refuses, else the variant that says what is wrong
    /// with the file: truncated, another version, not a checkpoint, damaged ….
    pub fn read(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref();
        let (file, length) = open(path)?;
        Self::assemble(path, load(path, file, length)?)
    }

    /// Reads a checkpoint that is in memory; `path` stands in error messages only.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn from_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let path = path.as_ref();
        Self::assemble(path, load(path, bytes, bytes.len() as u64)?)
    }

    fn assemble(path: &Path, file: Loaded) -> Result<Self, CheckpointError> {
        let meta =
            file.meta.ok_or_else(|| CheckpointError::NotCheckpoint { path: path.to_path_buf() })?;
        Ok(Self { meta, tensors: Tensors::new(path, file.tensors) })
    }
}

/// Reads the weights of any safetensors file, for import.
///
/// Of a CPR checkpoint, whose checksum is verified, these are the parameters without moments and
/// constraint records; of a file of other origin all tensors, of whatever dtype.
///
/// # Errors
///
/// As [`Checkpoint::read`], but without [`CheckpointError::NotCheckpoint`].
pub fn read_weights(path: impl AsRef<Path>) -> Result<Tensors, CheckpointError> {
    let path = path.as_ref();
    let (file, length) = open(path)?;
    let Loaded { meta, tensors } = load(path, file, length)?;
    let mut tensors = Tensors::new(path, tensors);
    if meta.is_some() {
        tensors.discard_optimizer();
    }
    Ok(tensors)
}

/// A file whose every claim was checked.
struct Loaded {
    /// None for a file of other origin.
    meta: Option<Meta>,
    tensors: BTreeMap<String, Tensor>,
}

/// Opens a regular file: opening a pipe would wait for ever.
fn open(path: &Path) -> Result<(File, u64), CheckpointError> {
    let describe = |error| CheckpointError::read(path, error);
    if !fs::metadata(path).map_err(describe)?.is_file() {
        return Err(CheckpointError::NotAFile { path: path.to_path_buf() });
    }
    let file = File::open(path).map_err(describe)?;
    let length = file.metadata().map_err(describe)?.len();
    Ok((file, length))
}

/// Reads a file of `length` bytes: header, offsets against the length, payload, checksum,
/// metadata, each only after the one before is known to be sound.
fn load(path: &Path, reader: impl Read, length: u64) -> Result<Loaded, CheckpointError> {
    let mut source = Source { path, reader };
    let wrong_length =
        |expected| CheckpointError::Length { path: path.to_path_buf(), expected, found: length };

    let overhead = LENGTH_BYTES as u64;
    if length < overhead {
        return Err(wrong_length(overhead));
    }
    let field = source.read(overhead)?;
    let claimed = field.as_array().map_or(0, |&field| u64::from_le_bytes(field));
    if claimed > MAX_HEADER_BYTES {
        return Err(CheckpointError::HeaderLength { path: path.to_path_buf(), claimed });
    }
    if length - overhead < claimed {
        return Err(wrong_length(overhead + claimed));
    }
    let bytes = source.read(claimed)?;
    let header = format::read_header(path, &bytes)?;
    let expected = (overhead + claimed).saturating_add(header.payload());
    if length != expected {
        return Err(wrong_length(expected));
    }

    let Header { document, entries } = header;
    let stored = match &document {
        Some(document) => Some(stored_checksum(path, document, &bytes)?),
        None => None,
    };
    let mut checksum = checksum_of_head(&field, &bytes);
    drop(bytes);

    let mut tensors = BTreeMap::new();
    for Entry { name, signature, begin, end } in entries {
        let bytes = source.read(end - begin)?;
        checksum = crc32c::crc32c_append(checksum, &bytes);
        tensors.insert(name, Tensor { signature, bytes });
    }

    let computed = format!("{checksum:08x}");
    match stored {
        Some(stored) if stored != computed => {
            return Err(CheckpointError::Checksum { path: path.to_path_buf(), stored, computed });
        }
        _ => {}
    }
    let meta = document.as_deref().map(format::read_document).transpose().map_err(|error| {
        CheckpointError::Meta { path: path.to_path_buf(), reason: error.to_string() }
    })?;
    Ok(Loaded { meta, tensors })
}

/// The digits of the checksum, once the document is known to be of this version.
fn stored_checksum(path: &Path, document: &str, header: &[u8]) -> Result<String, CheckpointError> {
    if document.len() > MAX_DOCUMENT_BYTES {
        let reason =
            format!("it takes {} bytes, and at most {MAX_DOCUMENT_BYTES} are read", document.len());
        return Err(CheckpointError::Meta { path: path.to_path_buf(), reason });
    }
    let found = format::read_version(document).map_err(|error| CheckpointError::Meta {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    if found != FORMAT_VERSION {
        return Err(CheckpointError::Version { path: path.to_path_buf(), found });
    }
    header
        .strip_prefix(HEADER_START.as_bytes())
        .and_then(|rest| rest.get(..CHECKSUM_DIGITS))
        .map(|digits| String::from_utf8_lossy(digits).into_owned())
        .ok_or_else(|| CheckpointError::Header {
            path: path.to_path_buf(),
            reason: "it does not begin as CPR writes it, so another tool has changed the file"
                .to_owned(),
        })
}

/// Checksum of the length field and the header, with zeros for the digits of the checksum.
fn checksum_of_head(field: &[u8], header: &[u8]) -> u32 {
    let mut checksum = crc32c::crc32c(field);
    let split = header.split_at_checked(HEADER_START.len());
    match split.and_then(|(start, rest)| Some((start, rest.get(CHECKSUM_DIGITS..)?))) {
        Some((start, rest)) => {
            for part in [start, CHECKSUM_ZEROS.as_bytes(), rest] {
                checksum = crc32c::crc32c_append(checksum, part);
            }
        }
        None => checksum = crc32c::crc32c_append(checksum, header),
    }
    checksum
}

/// A file that is read from start to end.
struct Source<'a, R> {
    path: &'a Path,
    reader: R,
}

impl<R: Read> Source<'_, R> {
    /// Reads exactly `count` bytes; the caller has checked that the file is long enough.
    fn read(&mut self, count: u64) -> Result<Vec<u8>, CheckpointError> {
        let no_memory = || CheckpointError::Memory { path: self.path.to_path_buf(), bytes: count };
        let mut bytes = Vec::new();
        let capacity = usize::try_from(count).map_err(|_| no_memory())?;
        bytes.try_reserve_exact(capacity).map_err(|_| no_memory())?;
        let read = self.reader.by_ref().take(count).read_to_end(&mut bytes);
        match read {
            Ok(read) if read == capacity => Ok(bytes),
            // The file was longer when it was opened: somebody is cutting it.
            Ok(_) => Err(CheckpointError::read(self.path, io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(CheckpointError::read(self.path, error)),
        }
    }
}
