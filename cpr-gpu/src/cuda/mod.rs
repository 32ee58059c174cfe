//! The engine of a CUDA device: everything of a step is queued in a few launches, and nothing waits for it.
//!
//! Moments, master weights, counters and constraints live on the device; the host sends the learning rate and the
//! addresses of the gradients, and reads only when it is asked for a report or a checkpoint. The kernels are those of
//! kernels/cpr.cu, with the sums, the order and the roundings of `cpr-core`.

mod fused;
mod layout;
mod member;

use candle_core::{DType, Device, Tensor, Var};
use cpr_core::{
    AnyRegularizer, Constraint, Order,
    base::{Adam, AmosState, AmsGrad, AwdState},
    measure,
};

use cpr_host::optim::DecayRule;

use self::{
    fused::{AMOS, CLOCK, Call, Fused},
    layout::{Kind, RECORD, Rule},
    member::Member,
};
use crate::{
    Counters, Error, Outcome, Path,
    engine::{Engine, StepRequest},
    group::{Base, GroupSpec, Parameter, ParameterState, Values, master_dtype},
};

/// Words of the clock: steps, skipped, skipped in a row; the norm; the average of AWD.
const STEPS: usize = 3;
const SKIPPED: usize = 4;
const IN_A_ROW: usize = 5;
const NORM: usize = 7;
const AVERAGE: usize = 10;

/// The parameters of one optimizer on a CUDA device.
#[derive(Debug)]
pub(crate) struct CudaEngine {
    slots: Vec<Slot>,
    fused: Fused,
    copied: u64,
    /// Whether the last step asked for the global norm.
    has_norm: bool,
}

/// What the host keeps of a parameter.
#[derive(Debug)]
struct Slot {
    name: String,
    var: Var,
    /// Index of its record.
    record: Option<usize>,
    /// Whether it has v and b of Amos.
    amos: bool,
}

impl CudaEngine {
    /// # Errors
    /// [`Error::Strided`] for a variable whose elements are not one after the other; those of the device.
    pub(crate) fn new(parameters: Vec<Parameter>) -> Result<Self, Error> {
        let device = parameters.first().map_or(Device::Cpu, |first| first.var.device().clone());
        let mut rules: Vec<Rule> = Vec::new();
        let mut records = Vec::new();
        let (mut slots, mut members) = (Vec::new(), Vec::new());
        for (index, parameter) in (0..).zip(parameters) {
            let Parameter { name, var, spec, constraint } = parameter;
            if var.layout().contiguous_offsets().is_none() {
                return Err(Error::Strided { name });
            }
            let rule = rule_of(&spec);
            let set = rules.iter().position(|known| *known == rule).unwrap_or(rules.len());
            if set == rules.len() {
                rules.push(rule);
            }
            let master = master_dtype(var.dtype());
            let low = (var.dtype() != master).then(|| var.as_tensor().clone());
            let theta = match &low {
                Some(low) => low.to_dtype(master)?,
                None => var.as_tensor().clone(),
            };
            let moments = spec.base.moments().iter();
            let moments = moments
                .map(|_| Tensor::zeros(var.shape(), master, &device))
                .collect::<Result<_, _>>()?;
            let record = constraint.map(|constraint| {
                records.extend(layout::record(&constraint, index));
                records.len() / RECORD - 1
            });
            let before = constraint
                .is_some_and(|constraint| constraint.rule().config().order == Order::BeforeBase);
            let averaged = matches!(rule.decay_rule, DecayRule::Awd(_));
            let by_element = matches!(rule.decay_rule, DecayRule::AdaDecay(_));
            let amos = matches!(rule.kind, Kind::Amos(_));
            members.push(Member {
                theta,
                moments,
                low,
                set,
                base: kind_of(&rule),
                eta: if let Base::Amos(_, scale) = &spec.base { scale.eta() } else { 0.0 },
                record,
                full: before || by_element || rule.after.is_some(),
                observed: averaged || by_element || amos,
                averaged,
            });
            slots.push(Slot { name, var, record, amos });
        }
        let sets: Vec<u64> = rules.iter().flat_map(Rule::words).collect();
        let fused = Fused::new(&device, members, &sets, rules.len(), &records)?;
        Ok(Self { slots, fused, copied: 0, has_norm: false })
    }

    fn slot(&self, index: usize) -> Result<(&Slot, &Member), Error> {
        let found = self.slots.get(index).zip(self.fused.members().get(index));
        found.ok_or_else(|| Error::UnknownParameter { name: format!("number {index}") })
    }

    /// Whether a parameter is under AWD.
    fn averages(&self) -> bool {
        self.fused.members().iter().any(|member| member.averaged)
    }

    /// The average of ‖∇w‖/‖w‖, as its word of the clock.
    fn average(&self) -> Result<u64, Error> {
        Ok(self.fused.clock()?.get(AVERAGE).copied().unwrap_or(0))
    }

    /// v and b of a parameter.
    fn amos(&self, index: usize) -> Result<Option<AmosState>, Error> {
        let words = self.fused.amos()?;
        let own = words.as_chunks::<AMOS>().0.get(index);
        Ok(own.and_then(|&[v, b]| AmosState::new(f64::from_bits(v), f64::from_bits(b))))
    }

    /// The constraint of a slot among the records.
    fn constraint(
        slot: &Slot,
        records: &[u64],
    ) -> Result<Option<Constraint<AnyRegularizer>>, Error> {
        let Some(record) = slot.record else { return Ok(None) };
        let words = records.chunks_exact(RECORD).nth(record).unwrap_or_default();
        let constraint = layout::constraint(words)
            .map_err(|source| Error::Record { name: slot.name.clone(), source })?;
        Ok(Some(constraint))
    }

    /// Puts a constraint in the place of its slot's record.
    fn put(
        slot: &Slot,
        index: usize,
        constraint: &Constraint<AnyRegularizer>,
        records: &mut [u64],
    ) {
        let place = slot.record.and_then(|record| records.chunks_exact_mut(RECORD).nth(record));
        if let Some(place) = place {
            let parameter = u64::try_from(index).unwrap_or(u64::MAX);
            place.copy_from_slice(&layout::record(constraint, parameter));
        }
    }
}

impl Engine for CudaEngine {
    fn path(&self) -> Path {
        Path::Cuda
    }

    fn step(
        &mut self,
        gradients: &[Option<&Tensor>],
        request: &StepRequest,
    ) -> Result<Outcome, Error> {
        let mut copies = Vec::with_capacity(gradients.len());
        for gradient in gradients {
            let strided = gradient.filter(|g| g.layout().contiguous_offsets().is_none());
            self.copied = self.copied.saturating_add(u64::from(strided.is_some()));
            copies.push(strided.map(Tensor::force_contiguous).transpose()?);
        }
        let ready: Vec<Option<&Tensor>> =
            gradients.iter().zip(&copies).map(|(given, copy)| copy.as_ref().or(*given)).collect();
        let StepRequest { lr, clip, check_finite, decay } = *request;
        self.fused.step(&ready, Call { lr, clip, check: check_finite, decay })?;
        self.has_norm = clip.is_some();
        Ok(Outcome::Queued)
    }

    fn counters(&self) -> Result<Counters, Error> {
        let clock = self.fused.clock()?;
        let word = |index: usize| clock.get(index).copied().unwrap_or(0);
        Ok(Counters {
            steps: word(STEPS),
            skipped: word(SKIPPED),
            skipped_in_a_row: word(IN_A_ROW),
        })
    }

    fn set_counters(&mut self, counters: Counters) -> Result<(), Error> {
        let mut clock = [0; CLOCK];
        clock[AVERAGE] = self.average()?;
        clock[STEPS] = counters.steps;
        clock[SKIPPED] = counters.skipped;
        clock[IN_A_ROW] = counters.skipped_in_a_row;
        self.has_norm = false;
        Ok(self.fused.set_clock(&clock)?)
    }

    fn constraints(&self) -> Result<Vec<Option<Constraint<AnyRegularizer>>>, Error> {
        let records = self.fused.records()?;
        self.slots.iter().map(|slot| Self::constraint(slot, &records)).collect()
    }

    fn gradient_norm(&self) -> Result<Option<f64>, Error> {
        if !self.has_norm {
            return Ok(None);
        }
        Ok(self.fused.clock()?.get(NORM).copied().map(f64::from_bits))
    }

    fn awd(&self) -> Result<Option<AwdState>, Error> {
        if !self.averages() {
            return Ok(None);
        }
        Ok(AwdState::new(f64::from_bits(self.average()?)))
    }

    fn set_awd(&mut self, state: AwdState) -> Result<(), Error> {
        if !self.averages() {
            return Ok(());
        }
        let mut clock = [0; CLOCK];
        for (word, known) in clock.iter_mut().zip(self.fused.clock()?) {
            *word = known;
        }
        clock[AVERAGE] = state.factor().to_bits();
        Ok(self.fused.set_clock(&clock)?)
    }

    fn copied_gradients(&self) -> u64 {
        self.copied
    }

    fn read(&self, index: usize) -> Result<ParameterState, Error> {
        let (slot, member) = self.slot(index)?;
        let moments = member.moments.iter().map(values).collect::<Result<_, _>>()?;
        Ok(ParameterState {
            theta: values(&member.theta)?,
            moments,
            steps: self.fused.steps()?.get(index).copied().unwrap_or(0),
            constraint: Self::constraint(slot, &self.fused.records()?)?,
            amos: if slot.amos { self.amos(index)? } else { None },
        })
    }

    fn write(&mut self, index: usize, state: ParameterState) -> Result<(), Error> {
        let (slot, member) = self.slot(index)?;
        let device = slot.var.device();
        let theta = tensor(state.theta, &slot.var, device)?;
        let moments = state.moments.into_iter();
        let moments =
            moments.map(|m| tensor(m, &slot.var, device)).collect::<Result<Vec<_>, _>>()?;
        let mut steps = self.fused.steps()?;
        let mut records = self.fused.records()?;
        if let Some(steps) = steps.get_mut(index) {
            *steps = state.steps;
        }
        if let Some(constraint) = &state.constraint {
            Self::put(slot, index, constraint, &mut records);
        }
        let amos = state.amos.filter(|_| slot.amos);
        slot.var.set(&theta.to_dtype(slot.var.dtype())?)?;
        let master = member.low.is_some().then_some(theta);
        self.fused.replace(index, master, moments)?;
        if let Some(state) = amos {
            let mut words = self.fused.amos()?;
            if let Some(own) = words.as_chunks_mut::<AMOS>().0.get_mut(index) {
                *own = [state.v().to_bits(), state.b().to_bits()];
            }
            self.fused.set_amos(&words)?;
        }
        Ok(self.fused.set_state(&steps, &records)?)
    }

    fn reobserve(&mut self) -> Result<(), Error> {
        let steps = self.fused.steps()?;
        let mut records = self.fused.records()?;
        for index in 0..self.slots.len() {
            let (slot, member) = self.slot(index)?;
            let var = slot.var.as_tensor();
            let master = member.low.is_some().then(|| var.to_dtype(DType::F32)).transpose()?;
            if let Some(mut constraint) = Self::constraint(slot, &records)? {
                let theta = master.as_ref().unwrap_or(var);
                let regularizer = constraint.rule().config().regularizer;
                let statistic = match values(theta)? {
                    Values::F32(theta) => measure(&regularizer, &theta),
                    Values::F64(theta) => measure(&regularizer, &theta),
                };
                constraint.reobserve(&statistic);
                Self::put(slot, index, &constraint, &mut records);
            }
            if master.is_some() {
                let moments = member.moments.clone();
                self.fused.replace(index, master, moments)?;
            }
        }
        Ok(self.fused.set_state(&steps, &records)?)
    }
}

/// The hyperparameters as the kernels have them.
fn rule_of(spec: &GroupSpec) -> Rule {
    let adam = |adam: &Adam| Kind::Adam(*adam.config());
    let amsgrad = |AmsGrad(adam): &AmsGrad| Kind::AmsGrad(*adam.config());
    let (kind, after) = match &spec.base {
        Base::Sgd(sgd) => (Kind::Sgd(*sgd.config()), None),
        Base::Momentum(momentum) => (Kind::Momentum(*momentum.config()), None),
        Base::Adam(rule) => (adam(rule), None),
        Base::AmsGrad(rule) => (amsgrad(rule), None),
        Base::DecayedAdam(decayed) => (adam(decayed.base()), Some(*decayed.decay())),
        Base::DecayedAmsGrad(decayed) => (amsgrad(decayed.base()), Some(*decayed.decay())),
        Base::Amos(amos, _) => (Kind::Amos(*amos.config()), None),
    };
    Rule { kind, after, decay_rule: spec.decay_rule, lr_factor: spec.lr_factor }
}

fn kind_of(rule: &Rule) -> usize {
    match rule.kind {
        Kind::Sgd(_) => 0,
        Kind::Momentum(_) => 1,
        Kind::Adam(_) => 2,
        Kind::AmsGrad(_) => 3,
        Kind::Amos(config) if config.momentum > 0.0 => 5,
        Kind::Amos(_) => 4,
    }
}

/// The elements of a tensor on the host.
fn values(tensor: &Tensor) -> Result<Values, Error> {
    let flat = tensor.flatten_all()?;
    Ok(match flat.dtype() {
        DType::F64 => Values::F64(flat.to_vec1()?),
        _ => Values::F32(flat.to_vec1()?),
    })
}

/// Elements on the device, in the shape of a variable.
fn tensor(values: Values, var: &Var, device: &Device) -> Result<Tensor, Error> {
    Ok(match values {
        Values::F32(values) => Tensor::from_vec(values, var.shape(), device)?,
        Values::F64(values) => Tensor::from_vec(values, var.shape(), device)?,
    })
}
