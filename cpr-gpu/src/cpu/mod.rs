//! The engine of the CPU: slices of the storages straight into `cpr-core`.
//!
//! One in-place operation a variable runs its four phases while its storage is locked; moments and master weights are
//! the engine's own buffers, gradients are read where they are. The work is cut by shapes alone, and every measure
//! stands at its chunk's place until they merge in order: the same bits for any number of threads, and the bits of
//! `cpr_host::optim`.

mod gradient;
mod passes;
mod rule;
mod slot;

use candle_core::Tensor;
use cpr_core::{
    AnyRegularizer, Constraint, Merge, Pairwise, Statistic,
    base::{Awd, AwdState},
};
use cpr_host::{optim::DecayRule, parallel::Workers};

use self::{
    gradient::{Gradient, Slice, address},
    slot::Slot,
};
use crate::{
    Counters, Error, Outcome, Path,
    engine::{Engine, StepRequest},
    group::{Parameter, ParameterState},
};

/// Elements up to which consecutive small parameters make one task: less is not worth a hand-over.
const TASK: usize = 24 << 10;

/// The parameters of one optimizer on the CPU.
#[derive(Debug)]
pub(crate) struct CpuEngine {
    slots: Vec<Slot>,
    workers: Workers,
    /// Sorted addresses of the variables' storages.
    storages: Vec<usize>,
    counters: Counters,
    copied: u64,
    norm: Option<f64>,
    /// The one AWD of all parameters that have it.
    awd: Option<(Awd, AwdState)>,
}

impl CpuEngine {
    /// # Errors
    /// [`Error::Strided`] for a variable whose elements are not one after the other.
    pub(crate) fn new(parameters: Vec<Parameter>, workers: Workers) -> Result<Self, Error> {
        let mut storages = Vec::with_capacity(parameters.len());
        let mut slots = Vec::with_capacity(parameters.len());
        for parameter in parameters {
            let (storage, layout) = parameter.var.storage_and_layout();
            storages.push(address(&storage));
            let contiguous = layout.contiguous_offsets().is_some();
            drop(storage);
            if !contiguous {
                return Err(Error::Strided { name: parameter.name });
            }
            slots.push(Slot::new(parameter)?);
        }
        storages.sort_unstable();
        let awd = slots.iter().find_map(|slot| match slot.decay_rule {
            DecayRule::Awd(rule) => Some((rule, AwdState::default())),
            DecayRule::AdaDecay(_) | DecayRule::Constant => None,
        });
        let counters = Counters::default();
        Ok(Self { slots, workers, storages, counters, copied: 0, norm: None, awd })
    }
}

impl Engine for CpuEngine {
    fn path(&self) -> Path {
        Path::Cpu
    }

    fn step(
        &mut self,
        gradients: &[Option<&Tensor>],
        request: &StepRequest,
    ) -> Result<Outcome, Error> {
        let mut ready = Vec::with_capacity(gradients.len());
        for gradient in gradients {
            ready.push(match gradient {
                None => None,
                Some(tensor) => Some(Gradient::new(tensor, &self.storages)?),
            });
        }
        let copies = ready.iter().flatten().filter(|gradient| gradient.is_copy()).count();
        self.copied = self.copied.saturating_add(u64::try_from(copies).unwrap_or(u64::MAX));
        let Self { slots, workers, awd, .. } = self;
        let workers = &*workers;
        let awd = awd.as_mut();
        let (outcome, norm) = workers.run(|| step_inside(workers, slots, &ready, request, awd))?;
        self.norm = norm;
        let counters = &mut self.counters;
        match outcome {
            Outcome::Skipped { .. } => {
                counters.skipped = counters.skipped.saturating_add(1);
                counters.skipped_in_a_row = counters.skipped_in_a_row.saturating_add(1);
            }
            Outcome::Stepped | Outcome::Queued => {
                counters.steps = counters.steps.saturating_add(1);
                counters.skipped_in_a_row = 0;
            }
        }
        Ok(outcome)
    }

    fn counters(&self) -> Result<Counters, Error> {
        Ok(self.counters)
    }

    fn set_counters(&mut self, counters: Counters) -> Result<(), Error> {
        self.counters = counters;
        Ok(())
    }

    fn constraints(&self) -> Result<Vec<Option<Constraint<AnyRegularizer>>>, Error> {
        Ok(self.slots.iter().map(|slot| slot.constraint).collect())
    }

    fn gradient_norm(&self) -> Result<Option<f64>, Error> {
        Ok(self.norm)
    }

    fn awd(&self) -> Result<Option<AwdState>, Error> {
        Ok(self.awd.map(|(_, state)| state))
    }

    fn set_awd(&mut self, state: AwdState) -> Result<(), Error> {
        if let Some((_, own)) = &mut self.awd {
            *own = state;
        }
        Ok(())
    }

    fn copied_gradients(&self) -> u64 {
        self.copied
    }

    fn read(&self, index: usize) -> Result<ParameterState, Error> {
        self.slots.get(index).ok_or_else(|| no_slot(index))?.read()
    }

    fn write(&mut self, index: usize, state: ParameterState) -> Result<(), Error> {
        let slot = self.slots.get_mut(index).ok_or_else(|| no_slot(index))?;
        Ok(slot.write(&self.workers, state)?)
    }

    fn reobserve(&mut self) -> Result<(), Error> {
        Ok(self.slots.iter_mut().try_for_each(Slot::reobserve)?)
    }
}

fn no_slot(index: usize) -> Error {
    Error::UnknownParameter { name: format!("number {index}") }
}

/// Everything of a step that runs on the workers: the outcome, and the global norm where it was asked for.
fn step_inside(
    workers: &Workers,
    slots: &mut [Slot],
    gradients: &[Option<Gradient<'_>>],
    request: &StepRequest,
    awd: Option<&mut (Awd, AwdState)>,
) -> candle_core::Result<(Outcome, Option<f64>)> {
    // Nothing is touched before every gradient is known to be finite.
    let mut scale = None;
    let mut norm = None;
    let mut known_finite = false;
    if let Some(limit) = request.clip {
        each(workers, slots, gradients, &|slot, grads| slot.squares(workers, grads))?;
        let total = total(slots, gradients);
        // A finite sum of squares has finite terms only.
        known_finite = total.is_finite();
        let given = total.sqrt();
        norm = Some(given);
        if given > limit {
            scale = Some(limit / given);
        }
    }
    if request.check_finite && !known_finite {
        for (slot, gradient) in slots.iter().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let (storage, layout) = gradient.tensor().storage_and_layout();
            if !finite(workers, Slice::of(&storage, layout)?) {
                return Ok((Outcome::Skipped { parameter: slot.name.clone() }, norm));
            }
        }
    }
    if slots.iter().any(Slot::observes) {
        each(workers, slots, gradients, &|slot, grads| slot.observe(workers, grads, scale))?;
    }
    let mut awd_factor = 1.0;
    if let Some((rule, state)) = awd {
        let weights = awd_total(slots, gradients, |slot| slot.weights);
        let grads = awd_total(slots, gradients, |slot| slot.seen);
        *state = rule.update(*state, &weights, &grads);
        awd_factor = state.factor();
    }
    each(workers, slots, gradients, &|slot, grads| {
        let decay = match slot.decay_rule {
            DecayRule::Awd(_) => request.decay * awd_factor,
            DecayRule::AdaDecay(_) | DecayRule::Constant => request.decay,
        };
        slot.step(workers, request.lr, grads, scale, decay)
    })?;
    Ok((Outcome::Stepped, norm))
}

/// The merge, in the order of the parameters, over those under AWD that have a gradient.
fn awd_total(
    slots: &[Slot],
    gradients: &[Option<Gradient<'_>>],
    of: impl Fn(&Slot) -> Statistic,
) -> Statistic {
    let mut whole = Pairwise::new();
    // The others stand in it as nothing, as they do on the host: the same tree, the same bits.
    whole.extend(slots.iter().zip(gradients).map(|(slot, gradient)| {
        match (slot.decay_rule, gradient) {
            (DecayRule::Awd(_), Some(_)) => of(slot),
            _ => Statistic::NEUTRAL,
        }
    }));
    whole.finish()
}

fn finite(workers: &Workers, grads: Slice<'_>) -> bool {
    match grads {
        Slice::F32(grads) => passes::finite::<f32, _>(workers, grads),
        Slice::F64(grads) => passes::finite::<f64, _>(workers, grads),
        Slice::Bf16(grads) => passes::finite::<f32, _>(workers, grads),
        Slice::F16(grads) => passes::finite::<f32, _>(workers, grads),
    }
}

/// Σg² over all chunks, merged in their order.
fn total(slots: &[Slot], gradients: &[Option<Gradient<'_>>]) -> f64 {
    let mut whole = Pairwise::new();
    for (slot, gradient) in slots.iter().zip(gradients) {
        if gradient.is_some() {
            whole.extend(slot.observed.iter().map(|observed| observed.statistic));
        }
    }
    match whole.finish() {
        Statistic::Sum { total, .. } => total,
        Statistic::Moments { .. } => f64::NAN,
    }
}

/// `run` on every parameter that has a gradient. Large ones are tasks of their own, small neighbours share one.
fn each(
    workers: &Workers,
    slots: &mut [Slot],
    gradients: &[Option<Gradient<'_>>],
    run: &(impl Fn(&mut Slot, Slice<'_>) -> candle_core::Result<()> + Sync),
) -> candle_core::Result<()> {
    let elements: usize = slots.iter().map(|slot| slot.elements).sum();
    if slots.len() > 1 && elements > TASK {
        let cut = halves(slots, elements);
        let (near, far) = slots.split_at_mut(cut);
        let (near_gradients, far_gradients) = gradients.split_at(cut);
        let (mut first, mut second) = (Ok(()), Ok(()));
        workers.join(
            || first = each(workers, near, near_gradients, run),
            || second = each(workers, far, far_gradients, run),
        );
        return first.and(second);
    }
    for (slot, gradient) in slots.iter_mut().zip(gradients) {
        let Some(gradient) = gradient else { continue };
        let (storage, layout) = gradient.tensor().storage_and_layout();
        run(slot, Slice::of(&storage, layout)?)?;
    }
    Ok(())
}

/// Where two halves of about as many elements meet; neither is empty.
fn halves(slots: &[Slot], elements: usize) -> usize {
    let mut before = 0;
    let cut = slots.iter().position(|slot| {
        before += slot.elements;
        2 * before >= elements
    });
    cut.map_or(1, |last| last + 1).clamp(1, slots.len() - 1)
}
