//! Binds the tensors of a file to those that a program asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use safetensors::Dtype;

use super::error::CheckpointError;
use super::format::{CONSTRAINT_PREFIX, OPTIMIZER_PREFIX};
use super::tensor::{Element, Signature, Tensor};
use super::write::{constraint_name, moment_name};

/// The tensors of a file, to be taken by name, shape and dtype.
///
/// What is asked for in vain is remembered: a caller may go on after an error, and
/// [`finish`](Self::finish) then names everything that does not fit, not only the first.
#[derive(Debug)]
pub struct Tensors {
    path: PathBuf,
    stored: BTreeMap<String, Tensor>,
    missing: BTreeSet<String>,
    different: Vec<Difference>,
}

impl Tensors {
    pub(super) fn new(path: &Path, stored: BTreeMap<String, Tensor>) -> Self {
        let path = path.to_path_buf();
        Self { path, stored, missing: BTreeSet::new(), different: Vec::new() }
    }

    /// The tensors that have not been taken, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.stored.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The parameters that have not been taken, sorted by name: every tensor but moments and
    /// constraint records.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.iter().filter(|(name, _)| !is_optimizer_state(name))
    }

    /// Says whether there is a tensor of that name that has not been taken.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.stored.contains_key(name)
    }

    /// Says whether there is a moment that has not been taken.
    #[must_use]
    pub fn contains_moment(&self, parameter: &str, moment: &str) -> bool {
        self.contains(&moment_name(parameter, moment))
    }

    /// Says whether there is a constraint record that has not been taken.
    #[must_use]
    pub fn contains_constraint(&self, parameter: &str) -> bool {
        self.contains(&constraint_name(parameter))
    }

    /// Takes a tensor out, if name, shape and the dtype of `T` are as asked.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Missing`] or [`CheckpointError::Different`].
    pub fn take<T: Element>(
        &mut self,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<T>, CheckpointError> {
        let tensor = self.take_raw(name)?;
        let expected = Signature { dtype: T::DTYPE, shape: shape.to_vec() };
        if tensor.signature == expected {
            return Ok(T::from_le(tensor.bytes));
        }
        Err(self.differs(name, expected, tensor.signature))
    }

    /// Takes a tensor of single precision out.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        self.take(name, shape)
    }

    /// Takes a tensor of double precision out.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_f64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>, CheckpointError> {
        self.take(name, shape)
    }

    /// Takes a moment out; `shape` is that of its parameter.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_moment<T: Element>(
        &mut self,
        parameter: &str,
        moment: &str,
        shape: &[usize],
    ) -> Result<Vec<T>, CheckpointError> {
        self.take(&moment_name(parameter, moment), shape)
    }

    /// Takes what an optimizer keeps of a whole parameter out, `count` numbers.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_slots(
        &mut self,
        parameter: &str,
        slots: &str,
        count: usize,
    ) -> Result<Vec<f64>, CheckpointError> {
        self.take(&moment_name(parameter, slots), &[count])
    }

    /// Takes the record of a parameter's constraint out, however long it is.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_constraint(&mut self, parameter: &str) -> Result<Vec<u8>, CheckpointError> {
        let name = constraint_name(parameter);
        let tensor = self.take_raw(&name)?;
        let Signature { dtype, shape } = &tensor.signature;
        if *dtype == Dtype::U8 && shape.len() == 1 {
            return Ok(tensor.bytes);
        }
        let expected = Signature { dtype: Dtype::U8, shape: vec![tensor.bytes.len()] };
        Err(self.differs(&name, expected, tensor.signature))
    }

    /// Takes a tensor of any shape and dtype out.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Missing`].
    pub fn take_raw(&mut self, name: &str) -> Result<Tensor, CheckpointError> {
        self.stored.remove(name).ok_or_else(|| {
            self.missing.insert(name.to_owned());
            CheckpointError::Missing { path: self.path.clone(), name: name.to_owned() }
        })
    }

    /// Drops all moments and constraint records, so that the optimizer starts afresh, and returns
    /// their names.
    pub fn discard_optimizer(&mut self) -> Vec<String> {
        self.stored
            .extract_if(.., |name, _| is_optimizer_state(name))
            .map(|(name, _)| name)
            .collect()
    }

    /// Drops all constraint records, for an optimizer that has none, and returns how many there were.
    pub fn discard_constraints(&mut self) -> usize {
        self.stored.extract_if(.., |name, _| name.starts_with(CONSTRAINT_PREFIX)).count()
    }

    /// Says whether there is any constraint record that has not been taken.
    #[must_use]
    pub fn has_constraints(&self) -> bool {
        self.stored.keys().any(|name| name.starts_with(CONSTRAINT_PREFIX))
    }

    /// Ends the binding: everything that was not taken is left over.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Unbound`] under [`Policy::Strict`], unless all that is there was asked
    /// for and all that was asked for is there.
    pub fn finish(self, policy: Policy) -> Result<Binding, CheckpointError> {
        let binding = Binding {
            missing: self.missing.into_iter().collect(),
            extra: self.stored.into_keys().collect(),
            different: self.different,
        };
        match policy {
            Policy::Strict if !binding.is_complete() => {
                Err(CheckpointError::Unbound { path: self.path, binding })
            }
            Policy::Strict | Policy::Partial => Ok(binding),
        }
    }

    fn differs(&mut self, name: &str, expected: Signature, found: Signature) -> CheckpointError {
        let name = name.to_owned();
        let difference =
            Difference { name: name.clone(), expected: expected.clone(), found: found.clone() };
        self.different.push(difference);
        CheckpointError::Different { path: self.path.clone(), name, expected, found }
    }
}

fn is_optimizer_state(name: &str) -> bool {
    name.starts_with(OPTIMIZER_PREFIX) || name.starts_with(CONSTRAINT_PREFIX)
}

/// What [`Tensors::finish`] makes of tensors that do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They are an error.
    Strict,
    /// They are reported.
    Partial,
}

/// A tensor that was asked for with another shape or dtype than it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// What was asked for.
    pub expected: Signature,
    /// What the file holds.
    pub found: Signature,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({} in the file, {} asked for)", self.name, self.found, self.expected)
    }
}

/// How the tensors of a file and those of a program fit. Its `Display` names at most 16 of each kind, the kind with the
/// fewest first, as it is nearest to the cause; and parameters before what the optimizer keeps of them, which follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    /// Asked for and not in the file, sorted.
    pub missing: Vec<String>,
    /// In the file and not asked for, sorted.
    pub extra: Vec<String>,
    /// In the file with another shape or dtype, in the order in which they were asked for.
    pub different: Vec<Difference>,
}

impl Binding {
    /// Says whether everything fits.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.different.is_empty()
    }

    /// Says whether a parameter does not fit, and not the state of the optimizer alone.
    #[must_use]
    pub fn is_of_parameters(&self) -> bool {
        let different = self.different.iter().map(|difference| &difference.name);
        let mut names = self.missing.iter().chain(&self.extra).chain(different);
        names.any(|name| !is_optimizer_state(name))
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |names: &[String]| {
            let mut names: Vec<_> = names.iter().collect();
            names.sort_by_key(|name| is_optimizer_state(name));
            names.iter().map(|name| format!("`{name}`")).collect()
        };
        let mut different: Vec<_> = self.different.iter().collect();
        different.sort_by_key(|difference| is_optimizer_state(&difference.name));
        let mut sections: [(&str, Vec<String>); 3] = [
            ("missing in the file", quoted(&self.missing)),
            ("only in the file", quoted(&self.extra)),
            ("different", different.iter().map(ToString::to_string).collect()),
        ];
        sections.sort_by_key(|(_, items)| items.len());
        let mut separator = "";
        for (title, items) in sections.iter().filter(|(_, items)| !items.is_empty()) {
            let shown = &items[..items.len().min(SHOWN_NAMES)];
            write!(f, "{separator}{title}: {}", shown.join(", "))?;
            if items.len() > shown.len() {
                write!(f, " and {} more", items.len() - shown.len())?;
            }
            separator = "; ";
        }
        if separator.is_empty() { f.write_str("everything fits") } else { Ok(()) }
    }
}

/// Names that a message shows of each kind.
const SHOWN_NAMES: usize = 16;
