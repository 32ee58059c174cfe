//! The optimizer's state in a checkpoint: moments, constraint records, t.

use cpr_core::{AnyRegularizer, Constraint, DecodeError, ENCODED_LEN, Real};

use super::Optimizer;
use crate::{
    checkpoint::{CheckpointError, CheckpointWriter, Element, Meta, Tensors},
    param::ParamLayout,
};

/// Why the state of an optimizer could not be taken from a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A moment or record is missing or of another form.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A constraint record does not decode.
    #[error("the constraint record of `{parameter}`: {source}")]
    Record {
        /// The parameter.
        parameter: String,
        /// Why.
        source: DecodeError,
    },
    /// A constraint record is of a parameter of another size, or of another rule than the configuration's.
    #[error(
        "the constraint record of `{parameter}` was made under other settings ({what}): \
         start a new run, or reset the optimizer"
    )]
    OtherRule {
        /// The parameter.
        parameter: String,
        /// What differs.
        what: &'static str,
    },
}

/// Constraint records, encoded: what a checkpoint borrows while it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptimizerState {
    records: Vec<(String, [u8; ENCODED_LEN])>,
}

impl<T: Real + Element> Optimizer<T> {
    /// The constraint records as they stand.
    pub fn state(&self) -> OptimizerState {
        let records = self.groups.iter().filter_map(|group| {
            let mut record = [0; ENCODED_LEN];
            // The buffer has the length of a record.
            group.constraint.as_ref()?.encode(&mut record).ok()?;
            Some((group.name.clone(), record))
        });
        OptimizerState { records: records.collect() }
    }

    /// Adds moments and constraint records to a checkpoint; weights are the caller's.
    pub fn write<'a>(
        &'a self,
        layout: &ParamLayout,
        state: &'a OptimizerState,
        writer: CheckpointWriter<'a>,
    ) -> CheckpointWriter<'a> {
        let mut writer = writer;
        for param in layout.params() {
            for (moment, values) in self.engine.moments() {
                let values = T::data(&values[param.range.clone()]);
                writer = writer.moment(&param.name, moment, values);
            }
        }
        for (name, record) in &state.records {
            writer = writer.constraint(name, record);
        }
        writer
    }

    /// Takes moments and constraint records out of a checkpoint, and t from its metadata.
    ///
    /// # Errors
    /// [`StateError`]; the optimizer is as it was.
    pub fn restore(
        &mut self,
        layout: &ParamLayout,
        tensors: &mut Tensors,
        meta: &Meta,
    ) -> Result<(), StateError> {
        let mut moments = Vec::new();
        for (index, (moment, _)) in self.engine.moments().into_iter().enumerate() {
            for param in layout.params() {
                let values = tensors.take_moment::<T>(&param.name, moment, &param.shape)?;
                moments.push((index, param.range.clone(), values));
            }
        }
        let mut constraints = Vec::new();
        for group in &self.groups {
            let Some(own) = &group.constraint else { continue };
            let record = tensors.take_constraint(&group.name)?;
            let parameter = || group.name.clone();
            let read = Constraint::<AnyRegularizer>::decode(&record)
                .map_err(|source| StateError::Record { parameter: parameter(), source })?;
            if read.rule() != own.rule() {
                return Err(StateError::OtherRule {
                    parameter: parameter(),
                    what: "the constraint",
                });
            }
            if read.elements() != own.elements() {
                return Err(StateError::OtherRule { parameter: parameter(), what: "the size" });
            }
            constraints.push(read);
        }

        for (index, range, values) in moments {
            self.engine.moments_mut()[index][range].copy_from_slice(&values);
        }
        let own = self.groups.iter_mut().filter_map(|group| group.constraint.as_mut());
        for (own, read) in own.zip(constraints) {
            *own = read;
        }
        self.skipped = meta.non_finite.steps;
        self.t = meta.step.saturating_sub(self.skipped);
        Ok(())
    }

    /// The norm that global rescaling holds all parameters at; part of the state.
    pub const fn rescale_norm(&self) -> Option<f64> {
        self.rescale_norm
    }

    /// Sets the norm of global rescaling, from a checkpoint.
    pub const fn set_rescale_norm(&mut self, norm: f64) {
        if self.rescale_norm.is_some() {
            self.rescale_norm = Some(norm);
        }
    }
}
