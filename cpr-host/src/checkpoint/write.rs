//! Gathers tensors and writes them as one checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::error::CheckpointError;
use super::format::{
    self, CHECKSUM_DIGITS, CONSTRAINT_PREFIX, Entry, HEADER_START, LENGTH_BYTES,
    MAX_DOCUMENT_BYTES, MAX_HEADER_BYTES, MAX_RANK, METADATA_KEY, OPTIMIZER_PREFIX,
};
use super::meta::Meta;
use super::store::replace;
use super::tensor::{Signature, TensorData};
use crate::store::{Disk, Store};

/// A checkpoint in the making: metadata and borrowed tensors.
///
/// Everything is checked when it is written: one place, where the path is known. The order in
/// which tensors are given does not matter; the file has them by falling alignment, then by name.
/// There must be one writer of a path at a time; the older of two loses, whole.
#[derive(Debug, Clone)]
pub struct CheckpointWriter<'a> {
    meta: Meta,
    parameters: Vec<(String, Vec<usize>, TensorData<'a>)>,
    moments: Vec<(String, String, TensorData<'a>)>,
    slots: Vec<(String, String, &'a [f64])>,
    constraints: Vec<(String, &'a [u8])>,
}

impl<'a> CheckpointWriter<'a> {
    /// A checkpoint without tensors.
    #[must_use]
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            parameters: Vec::new(),
            moments: Vec::new(),
            slots: Vec::new(),
            constraints: Vec::new(),
        }
    }

    /// Adds a parameter or any other tensor of the model.
    ///
    /// `shape` is slowest dimension first (at most [`MAX_RANK`]), `[]` for a scalar; its product
    /// must be the number of elements. `name` must not be empty, `__metadata__`, given before, or
    /// start with `optimizer/` or `constraint/`.
    #[must_use]
    pub fn tensor(
        mut self,
        name: impl Into<String>,
        shape: &[usize],
        data: impl Into<TensorData<'a>>,
    ) -> Self {
        self.parameters.push((name.into(), shape.to_vec(), data.into()));
        self
    }

    /// Adds a moment as `optimizer/<parameter>/<moment>`.
    ///
    /// The parameter must be given too, before or later, and have the same dtype and number of
    /// elements; its shape is the moment's. `moment` must not be empty or contain a `/`.
    #[must_use]
    pub fn moment(
        mut self,
        parameter: impl Into<String>,
        moment: impl Into<String>,
        data: impl Into<TensorData<'a>>,
    ) -> Self {
        self.moments.push((parameter.into(), moment.into(), data.into()));
        self
    }

    /// Adds what an optimizer keeps of a whole parameter, a few numbers, as `optimizer/<parameter>/<slots>`: F64, of one
    /// dimension.
    ///
    /// The parameter must be given too, before or later. `slots` must not be empty or contain a `/`.
    #[must_use]
    pub fn slots(
        mut self,
        parameter: impl Into<String>,
        slots: impl Into<String>,
        values: &'a [f64],
    ) -> Self {
        self.slots.push((parameter.into(), slots.into(), values));
        self
    }

    /// Adds the record of a parameter's constraint as `constraint/<parameter>`.
    ///
    /// The bytes carry their own version. The parameter must be given too, before or later.
    #[must_use]
    pub fn constraint(mut self, parameter: impl Into<String>, record: &'a [u8]) -> Self {
        self.constraints.push((parameter.into(), record));
        self
    }

    /// The metadata.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Writes the checkpoint: to a sibling, which is synced and renamed, then the folder is
    /// synced. Whenever the process is killed, `path` holds the old file or the new one.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Invalid`] or [`CheckpointError::Duplicate`] for what cannot be written,
    /// [`CheckpointError::Write`] where the system refuses: `path` is as it was and nothing is left
    /// beside it. [`CheckpointError::FolderSync`] if only the very last step failed.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        self.write_to(&mut Disk, path)
    }

    /// Like [`write`](Self::write), through the operations of `store`.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_to(
        &self,
        store: &mut dyn Store,
        path: impl AsRef<Path>,
    ) -> Result<(), CheckpointError> {
        let path = path.as_ref();
        let Plan { head, payload } = self.plan(path)?;
        replace(store, path, |store, file| {
            store.write(file, &head)?;
            payload
                .iter()
                .try_for_each(|data| data.for_each_block(|block| store.write(file, block)))
        })
    }

    /// The bytes of the file; `path` stands in error messages only.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Invalid`] or [`CheckpointError::Duplicate`].
    pub fn to_bytes(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, CheckpointError> {
        let Plan { head: mut bytes, payload } = self.plan(path.as_ref())?;
        for data in payload {
            let Ok(()) = data.for_each_block(|block| {
                bytes.extend_from_slice(block);
                Ok::<_, std::convert::Infallible>(())
            });
        }
        Ok(bytes)
    }

    /// Checks everything and computes the checksum, before the first byte is written.
    fn plan(&self, path: &Path) -> Result<Plan<'a>, CheckpointError> {
        let invalid = |name: &str, reason: String| CheckpointError::Invalid {
            path: path.to_path_buf(),
            name: name.to_owned(),
            reason,
        };

        let document = format::document(&self.meta)
            .map_err(|error| invalid("meta", format!("is no JSON: {error}")))?;
        if document.len() > MAX_DOCUMENT_BYTES {
            let length = document.len();
            let reason = format!(
                "takes {length} bytes, and at most {MAX_DOCUMENT_BYTES} can be read again: put \
                 what is long into a tensor"
            );
            return Err(invalid("meta", reason));
        }
        // A NaN becomes null, and a value nested too deeply is refused by the reader: better now.
        if format::read_document(&document).ok().as_ref() != Some(&self.meta) {
            let reason = "would not be the same when read again: every number must be finite, and \
                          no value nested deeper than 100";
            return Err(invalid("meta", reason.to_owned()));
        }

        let mut tensors = self.tensors(&invalid)?;
        tensors.sort_by(|(name, a, _), (other, b, _)| {
            b.dtype.cmp(&a.dtype).then_with(|| name.cmp(other))
        });
        let mut names = BTreeSet::new();
        if let Some((name, ..)) = tensors.iter().find(|(name, ..)| !names.insert(name.as_str())) {
            let name = name.clone();
            return Err(CheckpointError::Duplicate { path: path.to_path_buf(), name });
        }

        let mut begin = 0;
        let mut payload = Vec::with_capacity(tensors.len());
        let mut entries = Vec::with_capacity(tensors.len());
        for (name, signature, data) in tensors {
            let end = begin + data.byte_len() as u64;
            payload.push(data);
            entries.push(Entry { name, signature, begin, end });
            begin = end;
        }
        let mut head = format::write_header(&document, &entries)
            .map_err(|error| invalid("the header", format!("is no JSON: {error}")))?;
        let length = (head.len() - LENGTH_BYTES) as u64;
        if length > MAX_HEADER_BYTES {
            let reason = format!(
                "takes {length} bytes, and at most {MAX_HEADER_BYTES} can be read again: write \
                 fewer tensors or shorter names"
            );
            return Err(invalid("the header", reason));
        }

        let mut checksum = crc32c::crc32c(&head);
        for data in &payload {
            let Ok(()) = data.for_each_block(|block| {
                checksum = crc32c::crc32c_append(checksum, block);
                Ok::<_, std::convert::Infallible>(())
            });
        }
        let at = LENGTH_BYTES + HEADER_START.len();
        head[at..at + CHECKSUM_DIGITS].copy_from_slice(format!("{checksum:08x}").as_bytes());
        Ok(Plan { head, payload })
    }

    /// All tensors under the names that they have in the file.
    fn tensors(
        &self,
        invalid: &impl Fn(&str, String) -> CheckpointError,
    ) -> Result<Vec<(String, Signature, TensorData<'a>)>, CheckpointError> {
        let mut tensors = Vec::new();
        let mut parameters = BTreeMap::new();
        for (name, shape, data) in &self.parameters {
            let reserved =
                [OPTIMIZER_PREFIX, CONSTRAINT_PREFIX].iter().any(|prefix| name.starts_with(prefix));
            let elements = shape.iter().try_fold(1_usize, |n, &length| n.checked_mul(length));
            if name.is_empty() || name == METADATA_KEY || reserved {
                let reason = "is no name for a tensor: it must not be empty, `__metadata__` or \
                              start with `optimizer/` or `constraint/`";
                return Err(invalid(name, reason.to_owned()));
            }
            if shape.len() > MAX_RANK {
                let reason = format!("has {} dimensions, and at most {MAX_RANK} fit", shape.len());
                return Err(invalid(name, reason));
            }
            if elements != Some(data.len()) {
                let reason = format!("has {} elements, and its shape is {shape:?}", data.len());
                return Err(invalid(name, reason));
            }
            let signature = Signature { dtype: data.dtype(), shape: shape.clone() };
            parameters.insert(name.as_str(), signature.clone());
            tensors.push((name.clone(), signature, *data));
        }
        let state_of = |parameter: &str, moment: &str| {
            let name = moment_name(parameter, moment);
            if moment.is_empty() || moment.contains('/') {
                let reason = "does not end in the name of a moment, without a `/`";
                return Err(invalid(&name, reason.to_owned()));
            }
            match parameters.get(parameter) {
                Some(signature) => Ok((name, signature.clone())),
                None => Err(invalid(&name, format!("has no parameter `{parameter}`: add it too"))),
            }
        };
        for (parameter, slots, values) in &self.slots {
            let (name, _) = state_of(parameter, slots)?;
            let data = TensorData::F64(values);
            let signature = Signature { dtype: data.dtype(), shape: vec![values.len()] };
            tensors.push((name, signature, data));
        }
        for (parameter, moment, data) in &self.moments {
            let (name, signature) = state_of(parameter, moment)?;
            // The parameter's own shape has been matched with its length above.
            let elements: usize = signature.shape.iter().product();
            if signature.dtype != data.dtype() || elements != data.len() {
                return Err(invalid(&name, format!("is {data:?}, and its parameter {signature}")));
            }
            tensors.push((name, signature, *data));
        }
        for (parameter, record) in &self.constraints {
            let name = constraint_name(parameter);
            if !parameters.contains_key(parameter.as_str()) {
                return Err(invalid(&name, format!("has no parameter `{parameter}`: add it too")));
            }
            let data = TensorData::U8(record);
            let signature = Signature { dtype: data.dtype(), shape: vec![record.len()] };
            tensors.push((name, signature, data));
        }
        Ok(tensors)
    }
}

/// A file that is ready to be written.
struct Plan<'a> {
    /// Length field and header.
    head: Vec<u8>,
    /// The tensors in the order of the header.
    payload: Vec<TensorData<'a>>,
}

/// The name of a moment in the file.
pub(super) fn moment_name(parameter: &str, moment: &str) -> String {
    format!("{OPTIMIZER_PREFIX}{parameter}/{moment}")
}

/// The name of a constraint record in the file.
pub(super) fn constraint_name(parameter: &str) -> String {
    format!("{CONSTRAINT_PREFIX}{parameter}")
}
