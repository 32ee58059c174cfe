//! One parameter on the CPU: its rule, its master weights, its constraint, and its step.

use std::cell::Cell;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Var};
use cpr_core::{
    AnyRegularizer, CHUNK, Constraint, L2, Merge, Observed, Pairwise, Real, Statistic,
    base::magnitudes, measure,
};
use cpr_host::{optim::DecayRule, pages::Buffer, parallel::Workers};
use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::{
    gradient::{Slice, offsets, unexpected},
    passes,
    rule::{Amos, Rule, Step},
};
use crate::group::{Parameter, ParameterState, Values};

/// The state in the type of master weights.
#[derive(Debug)]
enum State {
    F32(Rule<f32>),
    F64(Rule<f64>),
    /// Of a bf16 or f16 variable, with its master weights.
    Half(Rule<f32>, Buffer<f32>),
}

/// One parameter of the engine.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) var: Var,
    pub(super) elements: usize,
    pub(super) constraint: Option<Constraint<AnyRegularizer>>,
    /// One place for each chunk.
    pub(super) observed: Vec<Observed>,
    pub(super) decay_rule: DecayRule,
    /// What the rule needs of the gradient before the step, and under AWD of the weights: of the whole parameter.
    pub(super) seen: Statistic,
    pub(super) weights: Statistic,
    lr_factor: f64,
    t: u64,
    state: State,
}

impl Slot {
    pub(super) fn new(parameter: Parameter) -> candle_core::Result<Self> {
        let elements = parameter.elements();
        let Parameter { name, var, spec, constraint } = parameter;
        let state = match var.dtype() {
            DType::F32 => State::F32(Rule::new(spec.base, elements)),
            DType::F64 => State::F64(Rule::new(spec.base, elements)),
            _ => {
                State::Half(Rule::new(spec.base, elements), Buffer::from(masters(&var)?.as_slice()))
            }
        };
        Ok(Self {
            name,
            var,
            elements,
            constraint,
            observed: vec![Observed::NEUTRAL; elements.div_ceil(CHUNK)],
            decay_rule: spec.decay_rule,
            seen: Statistic::NEUTRAL,
            weights: Statistic::NEUTRAL,
            lr_factor: spec.lr_factor,
            t: 0,
            state,
        })
    }

    /// One step of the variable, in place.
    pub(super) fn step(
        &mut self,
        workers: &Workers,
        lr: f64,
        grads: Slice<'_>,
        scale: Option<f64>,
        decay: f64,
    ) -> candle_core::Result<()> {
        self.t = self.t.saturating_add(1);
        let step = Step {
            workers,
            t: self.t,
            lr: lr * self.lr_factor,
            scale,
            decay,
            elements: match self.decay_rule {
                DecayRule::AdaDecay(rule) => Some(rule),
                DecayRule::Awd(_) | DecayRule::Constant => None,
            },
            seen: self.seen,
            constraint: self.constraint.as_mut(),
            observed: &mut self.observed,
        };
        self.var.inplace_op1(&InPlace(Cell::new(Some(Work::Step(&mut self.state, grads, step)))))
    }

    /// Σg² of every chunk to its place in `observed`.
    pub(super) fn squares(
        &mut self,
        workers: &Workers,
        grads: Slice<'_>,
    ) -> candle_core::Result<()> {
        measure_chunks(workers, grads, None, Quantity::Squares, &mut self.observed);
        Ok(())
    }

    /// Measures the whole gradient, and the weights, where the rule needs that before its step.
    pub(super) fn observe(
        &mut self,
        workers: &Workers,
        grads: Slice<'_>,
        scale: Option<f64>,
    ) -> candle_core::Result<()> {
        let what = match self.decay_rule {
            DecayRule::AdaDecay(_) => Quantity::Magnitudes,
            DecayRule::Awd(_) => Quantity::Squares,
            DecayRule::Constant if self.amos().is_some() => Quantity::Squares,
            DecayRule::Constant => return Ok(()),
        };
        measure_chunks(workers, grads, scale, what, &mut self.observed);
        self.seen = merged(&self.observed);
        if let DecayRule::Awd(_) = self.decay_rule {
            match &self.state {
                State::Half(_, masters) => {
                    let masters = Slice::F32(masters);
                    measure_chunks(workers, masters, None, Quantity::Squares, &mut self.observed);
                }
                State::F32(_) | State::F64(_) => {
                    let (storage, layout) = self.var.storage_and_layout();
                    let theta = Slice::of(&storage, layout)?;
                    measure_chunks(workers, theta, None, Quantity::Squares, &mut self.observed);
                }
            }
            self.weights = merged(&self.observed);
        }
        Ok(())
    }

    /// Whether there is something that [`observe`](Self::observe) measures.
    pub(super) const fn observes(&self) -> bool {
        !matches!(self.decay_rule, DecayRule::Constant) || self.amos().is_some()
    }

    const fn amos(&self) -> Option<&Amos> {
        match &self.state {
            State::F32(rule) | State::Half(rule, _) => rule.amos(),
            State::F64(rule) => rule.amos(),
        }
    }

    pub(super) fn read(&self) -> Result<ParameterState, crate::Error> {
        let (theta, moments) = match &self.state {
            State::F32(rule) => (
                Values::F32(self.var.flatten_all()?.to_vec1()?),
                rule.moments().iter().map(|moment| Values::F32(moment.to_vec())).collect(),
            ),
            State::F64(rule) => (
                Values::F64(self.var.flatten_all()?.to_vec1()?),
                rule.moments().iter().map(|moment| Values::F64(moment.to_vec())).collect(),
            ),
            State::Half(rule, masters) => (
                Values::F32(masters.to_vec()),
                rule.moments().iter().map(|moment| Values::F32(moment.to_vec())).collect(),
            ),
        };
        let amos = self.amos().map(|own| own.state);
        Ok(ParameterState { theta, moments, steps: self.t, constraint: self.constraint, amos })
    }

    pub(super) fn write(
        &mut self,
        workers: &Workers,
        state: ParameterState,
    ) -> candle_core::Result<()> {
        let ParameterState { theta, moments, steps, constraint, amos } = state;
        let op = InPlace(Cell::new(Some(Work::Write(workers, &mut self.state, theta))));
        self.var.inplace_op1(&op)?;
        for (index, moment) in moments.into_iter().enumerate() {
            match (&mut self.state, moment) {
                (State::F32(rule) | State::Half(rule, _), Values::F32(values)) => {
                    replace(rule.moments_mut(), index, &values);
                }
                (State::F64(rule), Values::F64(values)) => {
                    replace(rule.moments_mut(), index, &values);
                }
                _ => return Err(unexpected(self.var.dtype())),
            }
        }
        let own = match &mut self.state {
            State::F32(rule) | State::Half(rule, _) => rule.amos_mut(),
            State::F64(rule) => rule.amos_mut(),
        };
        if let (Some(own), Some(amos)) = (own, amos) {
            own.state = amos;
        }
        self.t = steps;
        self.constraint = constraint;
        Ok(())
    }

    /// Takes the variable's value as it is.
    pub(super) fn reobserve(&mut self) -> candle_core::Result<()> {
        if let State::Half(_, own) = &mut self.state {
            own.copy_from_slice(&masters(&self.var)?);
        }
        if let Some(constraint) = &mut self.constraint {
            let regularizer = constraint.rule().config().regularizer;
            let statistic = match &self.state {
                State::Half(_, masters) => measure(&regularizer, masters),
                State::F32(_) => measure(&regularizer, &self.var.flatten_all()?.to_vec1::<f32>()?),
                State::F64(_) => measure(&regularizer, &self.var.flatten_all()?.to_vec1::<f64>()?),
            };
            constraint.reobserve(&statistic);
        }
        Ok(())
    }
}

/// What is measured of a slice.
#[derive(Clone, Copy)]
enum Quantity {
    /// Σx².
    Squares,
    /// Mean and deviation of |x|.
    Magnitudes,
}

/// The measure of every chunk, scaled as a step would scale it, to its place in `observed`.
fn measure_chunks(
    workers: &Workers,
    values: Slice<'_>,
    scale: Option<f64>,
    what: Quantity,
    observed: &mut [Observed],
) {
    fn of<T: Real>(what: Quantity) -> impl Fn(&[T]) -> Statistic + Sync {
        move |values| match what {
            Quantity::Squares => measure(&L2, values),
            Quantity::Magnitudes => magnitudes(values),
        }
    }
    match values {
        Slice::F32(values) => passes::observe(workers, values, scale, observed, &of::<f32>(what)),
        Slice::F64(values) => passes::observe(workers, values, scale, observed, &of::<f64>(what)),
        Slice::Bf16(values) => passes::observe(workers, values, scale, observed, &of::<f32>(what)),
        Slice::F16(values) => passes::observe(workers, values, scale, observed, &of::<f32>(what)),
    }
}

/// The measures of all chunks as one, in their order.
fn merged(observed: &[Observed]) -> Statistic {
    let mut whole = Pairwise::new();
    whole.extend(observed.iter().map(|observed| observed.statistic));
    whole.finish()
}

/// The variable's value in f32.
fn masters(var: &Var) -> candle_core::Result<Vec<f32>> {
    var.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

fn replace<T: Copy>(moments: &mut [Buffer<T>], index: usize, values: &[T]) {
    if let Some(moment) = moments.get_mut(index)
        && moment.len() == values.len()
    {
        moment.copy_from_slice(values);
    }
}

/// What is done to a variable's storage while it is locked.
enum Work<'a> {
    Step(&'a mut State, Slice<'a>, Step<'a>),
    Write(&'a Workers, &'a mut State, Values),
}

/// Work for the one call that candle makes.
struct InPlace<'a>(Cell<Option<Work<'a>>>);

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "cpr-step"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (start, end) = offsets(layout)?;
        match (self.0.take(), storage) {
            (Some(Work::Step(state, grads, step)), storage) => {
                step_storage(state, storage, start..end, grads, step)
            }
            (Some(Work::Write(_, State::F32(_), Values::F32(from))), CpuStorage::F32(values)) => {
                copy(&from, &mut values[start..end])
            }
            (Some(Work::Write(_, State::F64(_), Values::F64(from))), CpuStorage::F64(values)) => {
                copy(&from, &mut values[start..end])
            }
            (Some(Work::Write(workers, State::Half(_, own), Values::F32(from))), storage) => {
                copy(&from, own)?;
                publish(workers, own, storage, start..end)
            }
            (_, storage) => Err(unexpected(dtype(storage))),
        }
    }
}

fn step_storage(
    state: &mut State,
    storage: &mut CpuStorage,
    range: std::ops::Range<usize>,
    grads: Slice<'_>,
    step: Step<'_>,
) -> candle_core::Result<()> {
    match (state, storage, grads) {
        (State::F32(rule), CpuStorage::F32(values), Slice::F32(grads)) => {
            rule.step(&mut values[range], grads, step);
        }
        (State::F64(rule), CpuStorage::F64(values), Slice::F64(grads)) => {
            rule.step(&mut values[range], grads, step);
        }
        (State::Half(rule, masters), storage, grads) => {
            let workers = step.workers;
            match grads {
                Slice::F32(grads) => rule.step(masters, grads, step),
                Slice::Bf16(grads) => rule.step(masters, grads, step),
                Slice::F16(grads) => rule.step(masters, grads, step),
                Slice::F64(_) => return Err(unexpected(DType::F64)),
            }
            publish(workers, masters, storage, range)?;
        }
        (_, storage, _) => return Err(unexpected(dtype(storage))),
    }
    Ok(())
}

/// Master weights, rounded once to the variable's own type.
fn publish(
    workers: &Workers,
    masters: &[f32],
    storage: &mut CpuStorage,
    range: std::ops::Range<usize>,
) -> candle_core::Result<()> {
    match storage {
        CpuStorage::BF16(values) => {
            passes::round(workers, masters, &mut values[range], &|from, to: &mut [bf16]| {
                to.convert_from_f32_slice(from);
            });
        }
        CpuStorage::F16(values) => {
            passes::round(workers, masters, &mut values[range], &|from, to: &mut [f16]| {
                to.convert_from_f32_slice(from);
            });
        }
        other => return Err(unexpected(dtype(other))),
    }
    Ok(())
}

fn copy<T: Copy>(from: &[T], to: &mut [T]) -> candle_core::Result<()> {
    if from.len() != to.len() {
        return Err(candle_core::Error::msg(format!(
            "{} values were given for {} elements",
            from.len(),
            to.len()
        )));
    }
    to.copy_from_slice(from);
    Ok(())
}

fn dtype(storage: &CpuStorage) -> DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}
