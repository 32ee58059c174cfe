//! The optimizer's state in a checkpoint: moments, constraint records, t.

use cpr_core::{
    AnyRegularizer, Constraint, DecodeError, ENCODED_LEN, GroupError, Real,
    base::{AmosState, AwdState},
};

use super::{DecayRule, Optimizer};
use crate::{
    checkpoint::{CheckpointWriter, Element, Tensors},
    param::ParamLayout,
};

/// Why the state of an optimizer could not be taken from a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A constraint record does not decode.
    #[error("the constraint record of `{parameter}`: {source}")]
    Record {
        /// The parameter.
        parameter: String,
        /// Why.
        source: DecodeError,
    },
    /// A constraint cannot start afresh at the weights of the checkpoint.
    #[error("parameter `{parameter}` as the checkpoint has it: {source}")]
    Start {
        /// The parameter.
        parameter: String,
        /// Why.
        source: GroupError,
    },
    /// v or b of Amos is negative or not finite.
    #[error(
        "v and b of Amos for `{parameter}` are {v} and {b}, and must be finite and at least 0: start the optimizer \
         afresh with --reset-optimizer"
    )]
    Amos {
        /// The parameter.
        parameter: String,
        /// v.
        v: f64,
        /// b.
        b: f64,
    },
    /// A constraint record is of a parameter of another size, or of another rule than the configuration's.
    #[error(
        "the constraint record of `{parameter}` was made under other settings ({what}): \
         give the options it was made with, or start the optimizer afresh with --reset-optimizer, or \
         with --partial the constraints that do not fit"
    )]
    OtherRule {
        /// The parameter.
        parameter: String,
        /// What differs.
        what: &'static str,
    },
}

/// The name of v and b of Amos in a checkpoint, two numbers for each parameter.
pub const AMOS: &str = "amos";

/// The key of AWD's average in the optimizer section of a checkpoint.
pub const AWD_AVERAGE: &str = "awd_average";

/// Takes v and b of Amos of a parameter out of a checkpoint; `None` where they are missing or not two numbers, which
/// `tensors` remembers.
///
/// # Errors
/// [`StateError::Amos`].
pub fn take_amos(tensors: &mut Tensors, parameter: &str) -> Result<Option<AmosState>, StateError> {
    match tensors.take_slots(parameter, AMOS, 2).as_deref() {
        Ok(&[v, b]) => match AmosState::new(v, b) {
            Some(state) => Ok(Some(state)),
            None => Err(StateError::Amos { parameter: parameter.to_owned(), v, b }),
        },
        _ => Ok(None),
    }
}

/// Constraint records, encoded, and what Amos keeps: what a checkpoint borrows while it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    records: Vec<(String, [u8; ENCODED_LEN])>,
    /// v and b of every parameter.
    amos: Vec<(String, [f64; 2])>,
}

impl<T: Real + Element> Optimizer<T> {
    /// The constraint records and v and b of Amos as they stand.
    pub fn state(&self) -> OptimizerState {
        let records = self.groups.iter().filter_map(|group| {
            let mut record = [0; ENCODED_LEN];
            // The buffer has the length of a record.
            group.constraint.as_ref()?.encode(&mut record).ok()?;
            Some((group.name.clone(), record))
        });
        let amos = self.engine.amos().into_iter().flat_map(|amos| {
            let named = self.groups.iter().zip(&amos.states);
            named.map(|(group, state)| (group.name.clone(), [state.v(), state.b()]))
        });
        OptimizerState { records: records.collect(), amos: amos.collect() }
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
        for (name, slots) in &state.amos {
            writer = writer.slots(name, AMOS, slots);
        }
        for (name, record) in &state.records {
            writer = writer.constraint(name, record);
        }
        writer
    }

    /// Takes the moments of all parameters, and v and b of Amos, out of a checkpoint, with the `t` that belongs to them:
    /// all or none, because one t corrects the bias of all. Returns whether they were taken; what is missing or different
    /// is remembered by `tensors`.
    ///
    /// # Errors
    /// [`StateError::Amos`]; the optimizer is as it was.
    pub fn take_moments(
        &mut self,
        layout: &ParamLayout,
        tensors: &mut Tensors,
        t: u64,
    ) -> Result<bool, StateError> {
        let mut moments = Vec::new();
        let mut states = Vec::new();
        let mut whole = true;
        if self.engine.amos().is_some() {
            for param in layout.params() {
                match take_amos(tensors, &param.name)? {
                    Some(state) => states.push(state),
                    None => whole = false,
                }
            }
        }
        for (index, (moment, _)) in self.engine.moments().into_iter().enumerate() {
            for param in layout.params() {
                match tensors.take_moment::<T>(&param.name, moment, &param.shape) {
                    Ok(values) => moments.push((index, param.range.clone(), values)),
                    Err(_) => whole = false,
                }
            }
        }
        if whole {
            for (index, range, values) in moments {
                self.engine.moments_mut()[index][range].copy_from_slice(&values);
            }
            if let Some(amos) = self.engine.amos_mut() {
                amos.states = states;
            }
            self.t = t;
        }
        Ok(whole)
    }

    /// Takes the constraint records of those parameters that `wanted` says yes to out of a checkpoint, and starts every
    /// other constraint, and every one without a record, afresh at `theta`; returns the names of these.
    ///
    /// With `partial` a record made under other settings counts as none. What is missing is remembered by `tensors`.
    ///
    /// # Errors
    /// [`StateError`]; the optimizer is as it was.
    pub fn take_constraints(
        &mut self,
        theta: &[T],
        tensors: &mut Tensors,
        wanted: impl Fn(&str) -> bool,
        partial: bool,
    ) -> Result<Vec<String>, StateError> {
        let (mut constraints, mut fresh) = (Vec::new(), Vec::new());
        for group in &self.groups {
            let Some(own) = &group.constraint else { continue };
            let record = match wanted(&group.name) {
                true => tensors.take_constraint(&group.name).ok(),
                false => None,
            };
            let taken = record.map(|record| constraint_of(own, &group.name, &record));
            constraints.push(match taken {
                Some(Err(error)) if !partial => return Err(error),
                Some(Ok(taken)) => taken,
                None | Some(Err(_)) => {
                    fresh.push(group.name.clone());
                    let started = own.rule().start_from(&theta[group.range.clone()]);
                    started.map_err(|source| StateError::Start {
                        parameter: group.name.clone(),
                        source,
                    })?
                }
            });
        }
        let own = self.groups.iter_mut().filter_map(|group| group.constraint.as_mut());
        for (own, taken) in own.zip(constraints) {
            *own = taken;
        }
        Ok(fresh)
    }

    /// Sets the number of steps that were skipped, from a checkpoint.
    pub const fn set_skipped(&mut self, skipped: u64) {
        self.skipped = skipped;
    }

    /// The average of ‖∇w‖/‖w‖ that AWD keeps, where it is the decay rule; part of the state.
    pub const fn awd_average(&self) -> Option<f64> {
        match self.spec.decay {
            DecayRule::Awd(_) => Some(self.awd.factor()),
            _ => None,
        }
    }

    /// Sets the average of AWD, from a checkpoint; returns whether it is one: finite and at least 0.
    pub fn set_awd_average(&mut self, average: f64) -> bool {
        match AwdState::new(average) {
            Some(state) => {
                self.awd = state;
                true
            }
            None => false,
        }
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

/// The constraint of a record, if it is of the same rule and size as `own`.
///
/// # Errors
/// [`StateError::Record`] and [`StateError::OtherRule`] name the parameter.
pub fn constraint_of(
    own: &Constraint<AnyRegularizer>,
    parameter: &str,
    record: &[u8],
) -> Result<Constraint<AnyRegularizer>, StateError> {
    let parameter = || parameter.to_owned();
    let read = Constraint::<AnyRegularizer>::decode(record)
        .map_err(|source| StateError::Record { parameter: parameter(), source })?;
    let what = if read.rule() != own.rule() {
        "the constraint"
    } else if read.elements() != own.elements() {
        "the size"
    } else {
        return Ok(read);
    };
    Err(StateError::OtherRule { parameter: parameter(), what })
}
