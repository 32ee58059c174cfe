//! The state in the checkpoint format of `cpr_host` (docs/CHECKPOINT.md): weights, moments, constraint records, counts.
//!
//! bf16 and f16 parameters are stored by their f32 master weights, which say more: the variable is their rounding. So
//! what is loaded goes on with the bits of the run that was saved.

use std::{collections::BTreeMap, fmt, path::Path};

use candle_core::{DType, Tensor, Var};
use cpr_core::{
    AnyRegularizer, Constraint, ENCODED_LEN,
    base::{AmosState, AwdState},
};
use cpr_host::{
    checkpoint::{
        Checkpoint, CheckpointWriter, Element, Meta, NonFinite, OptimizerMeta, Policy, TensorData,
        Tensors,
    },
    optim::{AMOS, AWD_AVERAGE},
};
use serde_json::{Map, Value, json};

use crate::{
    Counters, Error,
    group::{Base, ParameterState, Values, master_dtype},
    optim::{Member, Optim, Params, host_values},
};

/// What to do with the constraints of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Constraints {
    /// They go on as they were saved; a checkpoint without any starts them afresh, with a message.
    #[default]
    Continue,
    /// They start afresh from the weights that are loaded, under the optimizer's own settings.
    Afresh,
}

/// What loading did beside restoring; every entry is one line for the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What starts afresh, was dropped, or has other settings than when it was saved.
    pub messages: Vec<String>,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.messages.iter().try_for_each(|message| writeln!(f, "{message}"))
    }
}

/// A state on the host, taken at one moment: it can be written while training goes on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    meta: Meta,
    parameters: Vec<Stored>,
    frozen: Vec<(String, Vec<usize>, Values)>,
}

/// One parameter of a snapshot.
#[derive(Clone, Debug)]
struct Stored {
    name: String,
    shape: Vec<usize>,
    theta: Values,
    moments: Vec<(&'static str, Values)>,
    record: Option<[u8; ENCODED_LEN]>,
    /// v and b of Amos.
    amos: Option<[f64; 2]>,
}

impl Snapshot {
    /// The metadata, to be filled in where a run has more to say: kind, config, cursor, random, best, files.
    pub const fn meta_mut(&mut self) -> &mut Meta {
        &mut self.meta
    }

    /// A writer that borrows this snapshot, for tensors to be added.
    #[must_use]
    pub fn writer(&self) -> CheckpointWriter<'_> {
        let mut writer = CheckpointWriter::new(self.meta.clone());
        for Stored { name, shape, theta, moments, record, amos } in &self.parameters {
            writer = writer.tensor(name, shape, data(theta));
            for (moment, values) in moments {
                writer = writer.moment(name, *moment, data(values));
            }
            if let Some(record) = record {
                writer = writer.constraint(name, record);
            }
            if let Some(amos) = amos {
                writer = writer.slots(name, AMOS, amos);
            }
        }
        for (name, shape, values) in &self.frozen {
            writer = writer.tensor(name, shape, data(values));
        }
        writer
    }

    /// Writes it so that, whenever the process is killed, `path` holds the old file or the new one, whole.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.writer().write(path)?)
    }
}

fn data(values: &Values) -> TensorData<'_> {
    match values {
        Values::F32(values) => TensorData::F32(values),
        Values::F64(values) => TensorData::F64(values),
    }
}

/// The key of the counts in the optimizer section.
const FEWER_STEPS: &str = "fewer_steps";

impl<P: Params> Optim<P> {
    /// The whole state: weights, moments, constraints, counts, frozen variables.
    ///
    /// # Errors
    /// [`Error::Unnamed`] for an optimizer over variables without names, and those of the device.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        if !self.named {
            return Err(Error::Unnamed);
        }
        let counters = self.engine.counters()?;
        let mut fewer = Map::new();
        let mut parameters = Vec::with_capacity(self.members.len());
        for (index, member) in self.members.iter().enumerate() {
            let ParameterState { theta, moments, steps, constraint, amos } =
                self.engine.read(index)?;
            if steps != counters.steps {
                fewer.insert(member.name.clone(), steps.into());
            }
            let record = constraint.map(|constraint| {
                let mut record = [0; ENCODED_LEN];
                // The buffer has the length of a record.
                let _length = constraint.encode(&mut record);
                record
            });
            let names = member.base.moments().iter().copied();
            parameters.push(Stored {
                name: member.name.clone(),
                shape: member.var.dims().to_vec(),
                theta,
                moments: names.zip(moments).collect(),
                record,
                amos: amos.map(|amos| [amos.v(), amos.b()]),
            });
        }
        let mut frozen = Vec::with_capacity(self.frozen.len());
        for (name, var) in &self.frozen {
            frozen.push((name.clone(), var.dims().to_vec(), host_values(var)?));
        }
        let mut hyperparameters =
            json!({ "params": self.params.describe(), FEWER_STEPS: Value::Object(fewer) });
        if let Some(awd) = self.engine.awd()? {
            hyperparameters[AWD_AVERAGE] = awd.factor().into();
        }
        let meta = Meta {
            step: counters.asked(),
            optimizer: Some(OptimizerMeta { name: P::NAME.to_owned(), hyperparameters }),
            non_finite: NonFinite { steps: counters.skipped, in_a_row: counters.skipped_in_a_row },
            ..Meta::new("candle")
        };
        Ok(Snapshot { meta, parameters, frozen })
    }

    /// [`snapshot`](Self::snapshot), written.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot), and [`Error::Checkpoint`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.snapshot()?.write(path)
    }

    /// Loads what [`save`](Self::save) wrote, into the variables too, and goes on to the bit.
    ///
    /// The state of another optimizer is taken as far as it goes: from an AdamW's, AdamCpr takes weights, moments and t,
    /// and its constraints start afresh; the messages say so. A schedule goes on at the step loaded.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] names what is missing or different, or all that is left over; [`Error::Record`],
    /// [`Error::OtherRule`], [`Error::OptimizerSection`]. Nothing was changed then.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Loaded, Error> {
        let Checkpoint { meta, mut tensors } = Checkpoint::read(path)?;
        let plan = self.plan(&meta, &mut tensors, Constraints::Continue)?;
        tensors.finish(Policy::Strict)?;
        self.carry_out(plan)
    }

    /// [`load`](Self::load) out of a checkpoint that is read already; tensors that are not the optimizer's stay in it.
    ///
    /// # Errors
    /// As [`load`](Self::load), for the first tensor that does not fit.
    pub fn restore(
        &mut self,
        meta: &Meta,
        tensors: &mut Tensors,
        constraints: Constraints,
    ) -> Result<Loaded, Error> {
        let plan = self.plan(meta, tensors, constraints)?;
        self.carry_out(plan)
    }

    /// Everything that is to be set, checked.
    fn plan(
        &self,
        meta: &Meta,
        tensors: &mut Tensors,
        constraints: Constraints,
    ) -> Result<Plan, Error> {
        if !self.named {
            return Err(Error::Unnamed);
        }
        let mut loaded = Loaded::default();
        let section = Section::read(meta)?;
        let counts = meta.non_finite;
        let steps = meta.step.saturating_sub(counts.steps);
        let mut counters =
            Counters { steps, skipped: counts.steps, skipped_in_a_row: counts.in_a_row };
        section.compare(P::NAME, &self.params.describe(), &mut loaded);

        let kept = |member: &Member| {
            let amos = matches!(member.base, Base::Amos(..)).then_some(AMOS);
            member.base.moments().iter().copied().chain(amos)
        };
        let has_moments = self
            .members
            .iter()
            .any(|member| kept(member).any(|moment| tensors.contains_moment(&member.name, moment)));
        let keeps_moments = self.members.iter().any(|member| kept(member).next().is_some());
        let afresh = keeps_moments && !has_moments;
        if afresh && steps > 0 {
            loaded.messages.push(
                "the checkpoint has none of this optimizer's moments: moments and t start at 0"
                    .to_owned(),
            );
            counters = Counters::default();
        }
        let has_records =
            self.members.iter().any(|member| tensors.contains_constraint(&member.name));
        let continues = has_records && constraints == Constraints::Continue;

        let rules = self.engine.constraints()?;
        let mut states = Vec::with_capacity(self.members.len());
        let mut fresh = 0_usize;
        for (index, member) in self.members.iter().enumerate() {
            let dims = member.var.dims();
            let own = rules.get(index).copied().flatten();
            let (theta, moments) = match master_dtype(member.var.dtype()) {
                DType::F64 => take::<f64>(tensors, member, dims, afresh, Values::F64)?,
                _ => take::<f32>(tensors, member, dims, afresh, Values::F32)?,
            };
            let constraint = match own {
                None => None,
                Some(own) if continues => Some(decode(&member.name, &own, tensors)?),
                Some(own) => {
                    fresh += 1;
                    let started = match &theta {
                        Values::F32(theta) => own.rule().start_from(theta),
                        Values::F64(theta) => own.rule().start_from(theta),
                    };
                    let name = || member.name.clone();
                    Some(started.map_err(|source| Error::Group { name: name(), source })?)
                }
            };
            let amos = match member.base {
                Base::Amos(..) if afresh => Some(AmosState::default()),
                Base::Amos(..) => Some(amos_of(tensors, &member.name)?),
                _ => None,
            };
            let own_steps = section.steps.get(&member.name).copied().unwrap_or(steps);
            let steps = if afresh { 0 } else { own_steps };
            states.push(ParameterState { theta, moments, steps, constraint, amos });
        }
        if fresh > 0 && meta.step > 0 {
            loaded.messages.push(format!(
                "{fresh} constraints start afresh from the weights loaded (lambda 0, kappa by its rule, a warm start \
                 counted from here): {}",
                if has_records { "as was asked for" } else { "the checkpoint has none" }
            ));
        }
        let mut frozen = Vec::with_capacity(self.frozen.len());
        for (name, var) in &self.frozen {
            let values = match master_dtype(var.dtype()) {
                DType::F64 => Values::F64(tensors.take(name, var.dims())?),
                _ => Values::F32(tensors.take(name, var.dims())?),
            };
            frozen.push(values);
        }
        drop_rest(tensors, &mut loaded);
        let awd = if afresh { AwdState::default() } else { section.awd };
        Ok(Plan { states, frozen, counters, awd, loaded })
    }

    fn carry_out(&mut self, plan: Plan) -> Result<Loaded, Error> {
        let Plan { states, frozen, counters, awd, loaded } = plan;
        for ((_, var), values) in self.frozen.iter().zip(frozen) {
            set(var, values)?;
        }
        for (index, state) in states.into_iter().enumerate() {
            self.engine.write(index, state)?;
        }
        self.engine.set_counters(counters)?;
        self.engine.set_awd(awd)?;
        self.asked = counters.asked();
        Ok(loaded)
    }
}

/// What is to be set.
struct Plan {
    states: Vec<ParameterState>,
    frozen: Vec<Values>,
    counters: Counters,
    awd: AwdState,
    loaded: Loaded,
}

/// The optimizer section of a checkpoint, as far as this crate reads it.
struct Section {
    name: Option<String>,
    params: Value,
    /// t of the parameters that were stepped less often than the optimizer.
    steps: BTreeMap<String, u64>,
    /// 0 where the checkpoint has none.
    awd: AwdState,
}

impl Section {
    fn read(meta: &Meta) -> Result<Self, Error> {
        let Some(OptimizerMeta { name, hyperparameters }) = &meta.optimizer else {
            let (params, steps) = (Value::Null, BTreeMap::new());
            return Ok(Self { name: None, params, steps, awd: AwdState::default() });
        };
        let mut steps = BTreeMap::new();
        if let Some(Value::Object(fewer)) = hyperparameters.get(FEWER_STEPS) {
            for (parameter, count) in fewer {
                let count =
                    count.as_u64().filter(|&count| count <= meta.step).ok_or_else(|| {
                        let what = format!("the steps of `{parameter}` are {count}");
                        Error::OptimizerSection { what }
                    })?;
                steps.insert(parameter.clone(), count);
            }
        }
        let awd = match hyperparameters.get(AWD_AVERAGE) {
            None => AwdState::default(),
            Some(average) => average.as_f64().and_then(AwdState::new).ok_or_else(|| {
                let what = format!("the average of AWD is {average}");
                Error::OptimizerSection { what }
            })?,
        };
        let params = hyperparameters.get("params").cloned().unwrap_or_default();
        Ok(Self { name: Some(name.clone()), params, steps, awd })
    }

    /// Messages for another optimizer and for changed hyperparameters.
    fn compare(&self, name: &str, params: &Value, loaded: &mut Loaded) {
        match &self.name {
            Some(own) if own != name => {
                loaded.messages.push(format!("the state is of {own} and goes on as {name}"));
            }
            _ => {}
        }
        let (Value::Object(saved), Value::Object(params)) = (&self.params, params) else { return };
        for (key, value) in params {
            match saved.get(key) {
                Some(old) if old != value => {
                    loaded.messages.push(format!("{key} was {old} and is {value} now"));
                }
                _ => {}
            }
        }
    }
}

/// Weights and moments of one parameter.
fn take<T: Element + Default>(
    tensors: &mut Tensors,
    member: &Member,
    dims: &[usize],
    afresh: bool,
    wrap: fn(Vec<T>) -> Values,
) -> Result<(Values, Vec<Values>), Error> {
    let theta: Vec<T> = tensors.take(&member.name, dims)?;
    let mut moments = Vec::new();
    for moment in member.base.moments() {
        moments.push(wrap(if afresh {
            vec![T::default(); theta.len()]
        } else {
            tensors.take_moment(&member.name, moment, dims)?
        }));
    }
    Ok((wrap(theta), moments))
}

/// v and b of Amos of a parameter.
fn amos_of(tensors: &mut Tensors, name: &str) -> Result<AmosState, Error> {
    let slots = tensors.take_slots(name, AMOS, 2)?;
    let state = match slots.as_slice() {
        &[v, b] => AmosState::new(v, b),
        _ => None,
    };
    state.ok_or_else(|| {
        let what = format!("v and b of Amos for `{name}` are {slots:?}");
        Error::OptimizerSection { what }
    })
}

/// The constraint record of a parameter, if it is of the rule and size that `own` has.
fn decode(
    name: &str,
    own: &Constraint<AnyRegularizer>,
    tensors: &mut Tensors,
) -> Result<Constraint<AnyRegularizer>, Error> {
    let record = tensors.take_constraint(name)?;
    let read = Constraint::<AnyRegularizer>::decode(&record)
        .map_err(|source| Error::Record { name: name.to_owned(), source })?;
    let what = if read.rule() != own.rule() {
        "another constraint"
    } else if read.elements() != own.elements() {
        "another size"
    } else {
        return Ok(read);
    };
    Err(Error::OtherRule { name: name.to_owned(), what })
}

/// Moments and constraints of an optimizer that keeps more than this one.
fn drop_rest(tensors: &mut Tensors, loaded: &mut Loaded) {
    let dropped = tensors.discard_optimizer();
    if let Some(first) = dropped.first() {
        loaded.messages.push(format!(
            "{} moments and constraint records that this optimizer does not keep were dropped (such as `{first}`)",
            dropped.len()
        ));
    }
}

/// Sets a frozen variable.
fn set(var: &Var, values: Values) -> Result<(), Error> {
    let device = var.device();
    let tensor = match values {
        Values::F32(values) => Tensor::from_vec(values, var.shape(), device)?,
        Values::F64(values) => Tensor::from_vec(values, var.shape(), device)?,
    };
    Ok(var.set(&tensor.to_dtype(var.dtype())?)?)
}
