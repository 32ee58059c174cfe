//! What can go wrong with a checkpoint, each with the path and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use super::bind::Binding;
use super::format::{FORMAT_VERSION, MAX_HEADER_BYTES};
use super::tensor::Signature;

/// Why a checkpoint could not be written, read or bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused to read.
    #[error("cannot read {}: {source}; {}", path.display(), advice(source))]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system refused to write; what was at `path` before is unchanged.
    #[error(
        "cannot {action} {}: {source}; what was there before is unchanged: {}",
        path.display(),
        advice(source)
    )]
    Write {
        /// The checkpoint that was to be written, or the folder.
        path: PathBuf,
        /// What was being done, as a verb: `write`, `sync`, `rename to` ….
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The new file is in place and whole, but the folder could not be synced.
    #[error(
        "{} is written, but its folder could not be synced: {source}; after a power cut the old \
         file may be back: save again before you rely on it",
        path.display()
    )]
    FolderSync {
        /// The checkpoint.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The writer was given something that has no place in a checkpoint.
    #[error("cannot write {}: `{name}` {reason}", path.display())]
    Invalid {
        /// The checkpoint that was to be written.
        path: PathBuf,
        /// The tensor, or the section of the metadata.
        name: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// The path is a folder, a pipe or a device.
    #[error("{} is not a regular file; give the path of a .safetensors file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A sound safetensors file of another origin.
    #[error(
        "{} is not a CPR checkpoint: it has no `cpr` entry in its metadata; only its weights can \
         be used: import them, or give a checkpoint that `cpr` wrote",
        path.display()
    )]
    NotCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "{} is {found} bytes long, but {expected} by its own account: it was {}; take another \
         checkpoint of this run",
        path.display(),
        if found < expected { "cut short" } else { "appended to" }
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// The length that the file claims, as far as it could be read.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// The header claims to be longer than any header may be.
    #[error(
        "{} claims a header of {claimed} bytes, and at most {MAX_HEADER_BYTES} are read: it is no \
         safetensors file, or damaged; take another file",
        path.display()
    )]
    HeaderLength {
        /// The file.
        path: PathBuf,
        /// The claimed length in bytes.
        claimed: u64,
    },
    /// The header is no JSON object of the form that safetensors prescribes.
    #[error(
        "the header of {} cannot be read: {reason}; it is no safetensors file, or damaged: take \
         another file",
        path.display()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Two tensors of one name.
    #[error(
        "tensor `{name}` stands twice in {}: in a file the name was damaged, or its writer is at \
         fault: take another file; before writing, give each tensor its own name",
        path.display()
    )]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A tensor overlaps its neighbour, leaves a gap, runs backwards, or is not as long as its
    /// shape and dtype ask for.
    #[error(
        "tensor `{name}` of {} claims bytes {begin}..{end} of the payload: {reason}; the file is \
         damaged: take another one",
        path.display()
    )]
    Offsets {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// First byte, from the start of the payload.
        begin: u64,
        /// One past the last byte.
        end: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint was written by a version of CPR with another format.
    #[error(
        "{} has format version {found}, and this program reads version {FORMAT_VERSION}: use the \
         version of cpr that wrote it",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
    },
    /// A bit of the file is not what was written.
    #[error(
        "{} is damaged: its checksum is {computed}, and {stored} was written; take another \
         checkpoint of this run",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The eight digits in the file.
        stored: String,
        /// The eight digits of what the file holds.
        computed: String,
    },
    /// The `cpr` document in the metadata does not have the fields of [`Meta`](super::Meta).
    #[error(
        "the metadata of {} cannot be read: {reason}; use the version of cpr that wrote it",
        path.display()
    )]
    Meta {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is not enough memory for what the file holds.
    #[error("{} needs {bytes} bytes of memory that are not there; free some", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// The number of bytes.
        bytes: u64,
    },
    /// A tensor that was asked for is not in the file, or was taken before.
    #[error(
        "{} has no tensor `{name}`; it belongs to another model or configuration: give the one it \
         was written with, or load with --partial",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor that was asked for has another shape or dtype.
    #[error(
        "tensor `{name}` of {} is {found}, and {expected} is asked for; give the configuration it \
         was written with, or load with --partial",
        path.display()
    )]
    Different {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What was asked for.
        expected: Signature,
        /// What the file holds.
        found: Signature,
    },
    /// Under [`Policy::Strict`](super::Policy::Strict): not all that was asked for is there, or
    /// not all that is there was asked for.
    #[error(
        "{} does not fit: {binding}; give the configuration it was written with, or load what fits \
         with --partial, or the weights without the optimizer's state with --reset-optimizer",
        path.display()
    )]
    Unbound {
        /// The file.
        path: PathBuf,
        /// What is missing, left over and different, by name.
        binding: Binding,
    },
}

impl CheckpointError {
    /// Says whether the file itself is at fault, so that another checkpoint of the same run may
    /// still do: true for every form of damage, false for a refusal by the system, another format
    /// version, and tensors that do not fit.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::NotAFile { .. }
                | Self::NotCheckpoint { .. }
                | Self::Length { .. }
                | Self::HeaderLength { .. }
                | Self::Header { .. }
                | Self::Duplicate { .. }
                | Self::Offsets { .. }
                | Self::Checksum { .. }
                | Self::Meta { .. }
        )
    }

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_path_buf(), source }
    }

    pub(super) fn write(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Write { path: path.to_path_buf(), action, source }
    }
}

/// What the user can do about an error of the operating system.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::NotADirectory => "a part of the path is a file: choose another folder",
        io::ErrorKind::PermissionDenied => "change the permissions or choose another folder",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space or choose another disk"
        }
        _ => "check the disk, then try again",
    }
}
