//! Checkpoints: safetensors files that carry a whole training state.
//!
//! A checkpoint is a safetensors file that any tool can open. It holds the weights under their own
//! names, `optimizer/<parameter>/<moment>` with shape and dtype of the parameter (or a few numbers of F64),
//! `constraint/<parameter>` with an opaque record of bytes, and one metadata entry `cpr`: a JSON
//! document with the format version, a CRC-32C of the whole file, and [`Meta`]. The same content
//! is the same bytes. `docs/CHECKPOINT.md` describes every byte.
//!
//! * [`CheckpointWriter`] gathers borrowed tensors and writes them so that, whenever the process is
//!   killed, either the old or the new file is there, whole.
//! * [`Checkpoint::read`] reads a file, verifies the checksum before anything is handed out, and
//!   never allocates more than the file's size plus a small constant, whatever the file claims.
//! * [`Tensors`] binds what was read by name, shape and dtype, and says what is missing, left over
//!   or different.
//! * [`CheckpointFolder`] keeps `last`, `best` and the newest `step-N`.
//! * [`read_weights`] reads a safetensors file of any other origin.
//!
//! Nothing here knows a model or an optimizer.
//!
//! ```
//! use cpr_host::checkpoint::{Checkpoint, CheckpointWriter, Meta, Policy};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("last.safetensors");
//! let (weight, momentum) = ([1.0_f32, 2.0, 3.0, 4.0], [0.0_f32; 4]);
//! CheckpointWriter::new(Meta { step: 7, ..Meta::new("modular") })
//!     .tensor("head.weight", &[2, 2], &weight)
//!     .moment("head.weight", "exp_avg", &momentum)
//!     .constraint("head.weight", &[1, 2, 3])
//!     .write(&path)?;
//!
//! let Checkpoint { meta, mut tensors } = Checkpoint::read(&path)?;
//! assert_eq!(meta.step, 7);
//! assert_eq!(tensors.take_f32("head.weight", &[2, 2])?, weight);
//! assert_eq!(tensors.take_moment::<f32>("head.weight", "exp_avg", &[2, 2])?, momentum);
//! assert_eq!(tensors.take_constraint("head.weight")?, [1, 2, 3]);
//! tensors.finish(Policy::Strict)?;
//! # Ok::<(), cpr_host::checkpoint::CheckpointError>(())
//! ```

mod bind;
mod error;
mod folder;
mod format;
mod meta;
mod read;
mod store;
mod tensor;
mod write;

#[cfg(test)]
mod tests;

pub use crate::store::{Disk, Store};
pub use bind::{Binding, Difference, Policy, Tensors};
pub use error::CheckpointError;
pub use folder::{CheckpointFolder, Keep, Latest};
pub use format::{FORMAT_VERSION, MAX_DOCUMENT_BYTES, MAX_HEADER_BYTES, MAX_RANK};
pub use meta::{Best, Meta, NonFinite, OptimizerMeta};
pub use read::{Checkpoint, read_weights};
pub use safetensors::Dtype;
pub use tensor::{Element, Signature, Tensor, TensorData};
pub use write::CheckpointWriter;
