//! The state of one matrix's bound as the caller holds it, and the steps on it.

use cpr_core::{
    AnyRegularizer, Constraint, ENCODED_LEN, Observed, Order, Real, Report, Shard, all_finite,
    base::Base, base_step, constrained_step, measure,
};

use crate::{config::CprConfig, status::CprStatus};

/// Bytes of a constraint.
pub const CPR_CONSTRAINT_LEN: usize = 148;

const _: () = assert!(CPR_CONSTRAINT_LEN == ENCODED_LEN);

/// One matrix under a bound: rule and state, all of it.
///
/// The bytes are the encoding that cpr-core documents, the same on every machine: store them as they are, and go on
/// from them. `cpr_constraint_start` makes one, `cpr_constraint_report` reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CprConstraint {
    /// The record, with a checksum at its end.
    pub record: [u8; CPR_CONSTRAINT_LEN],
}

/// How a constraint stands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct CprReport {
    /// Updates so far.
    pub step: u64,
    /// Elements of the matrix.
    pub elements: u64,
    /// R as last measured: in the order after base, before the correction of that step.
    pub value: f64,
    /// The bound; 0 and without meaning while `kappa_is_set` is 0.
    pub kappa: f64,
    /// The step at which kappa was set, 0 for before the first; without meaning while `kappa_is_set` is 0.
    pub kappa_set_at: u64,
    /// The multiplier, at least 0; above 0 the bound acts.
    pub lambda: f64,
    /// Steps with lambda above 0.
    pub active_steps: u64,
    /// What the guard did: steps for l2 and std, elements for l1 and huber.
    pub guarded: u64,
    /// Steps without an update because R was not finite.
    pub non_finite: u64,
    /// Whether there is a bound yet: 1 or 0.
    pub kappa_is_set: u32,
    /// Whether it acts, lambda above 0: 1 or 0.
    pub is_active: u32,
}

impl CprConstraint {
    pub(crate) fn start<T: Real>(config: &CprConfig, theta: &[T]) -> Result<Self, CprStatus> {
        let mut started = Self { record: [0; CPR_CONSTRAINT_LEN] };
        started.close(&config.rule()?.start_from(theta)?)?;
        Ok(started)
    }

    pub(crate) fn open(&self) -> Result<Constraint<AnyRegularizer>, CprStatus> {
        Constraint::decode(&self.record).map_err(|_| CprStatus::NoConstraint)
    }

    fn close(&mut self, constraint: &Constraint<AnyRegularizer>) -> Result<(), CprStatus> {
        constraint.encode(&mut self.record).map_err(|_| CprStatus::NoConstraint)?;
        Ok(())
    }

    /// The constraint, if it is one of a matrix of `n` elements.
    fn open_for(&self, n: usize) -> Result<Constraint<AnyRegularizer>, CprStatus> {
        let constraint = self.open()?;
        if usize::try_from(constraint.elements()) == Ok(n) {
            Ok(constraint)
        } else {
            Err(CprStatus::Length)
        }
    }

    pub(crate) fn report(&self) -> Result<CprReport, CprStatus> {
        let Report {
            step,
            elements,
            value,
            kappa,
            kappa_set_at,
            lambda,
            active_steps,
            guarded,
            non_finite,
        } = self.open()?.report();
        Ok(CprReport {
            step,
            elements,
            value,
            kappa: kappa.unwrap_or_default(),
            kappa_set_at: kappa_set_at.unwrap_or_default(),
            lambda,
            active_steps,
            guarded,
            non_finite,
            kappa_is_set: u32::from(kappa.is_some()),
            is_active: u32::from(lambda > 0.0),
        })
    }

    /// Base step and constraint.
    pub(crate) fn step<T: Real, B: Base<T, 2>>(
        &mut self,
        base: &B,
        (t, lr): (u64, f64),
        slices: Slices<'_, T>,
    ) -> Result<(), CprStatus> {
        let mut constraint = self.open_for(slices.theta.len())?;
        let shard = slices.checked(t, lr)?;
        constrained_step(&mut constraint, &base.at(t, lr), lr, shard);
        self.close(&constraint)
    }

    /// The constraint after a base step of the caller's own.
    pub(crate) fn constrain<T: Real>(&mut self, lr: f64, theta: &mut [T]) -> Result<(), CprStatus> {
        let mut constraint = self.open_for(theta.len())?;
        let config = constraint.rule().config();
        let regularizer = config.regularizer;
        if config.order != Order::AfterBase {
            return Err(CprStatus::OwnStepNeedsAfterBase);
        }
        learning_rate(lr)?;
        // In this order the first pass holds no correction: it only opens the step.
        let _unmoved = constraint.begin(lr);
        let observed = Observed { statistic: measure(&regularizer, theta), stopped: 0 };
        let correction = constraint.update(&observed, lr);
        constraint.count_stopped(correction.apply(theta));
        self.close(&constraint)
    }

    pub(crate) fn reobserve<T: Real>(&mut self, theta: &[T]) -> Result<(), CprStatus> {
        let mut constraint = self.open_for(theta.len())?;
        let regularizer = constraint.rule().config().regularizer;
        constraint.reobserve(&measure(&regularizer, theta));
        self.close(&constraint)
    }
}

/// A base step alone.
pub(crate) fn free_step<T: Real, B: Base<T, 2>>(
    base: &B,
    (t, lr): (u64, f64),
    slices: Slices<'_, T>,
) -> Result<(), CprStatus> {
    base_step(&base.at(t, lr), slices.checked(t, lr)?);
    Ok(())
}

/// What a step works on, before it was looked at.
pub(crate) struct Slices<'a, T> {
    pub(crate) theta: &'a mut [T],
    pub(crate) grad: &'a [T],
    pub(crate) moments: [&'a mut [T]; 2],
}

impl<'a, T: Real> Slices<'a, T> {
    fn checked(self, t: u64, lr: f64) -> Result<Shard<'a, T, 2>, CprStatus> {
        if t == 0 {
            return Err(CprStatus::StepNumber);
        }
        learning_rate(lr)?;
        if !all_finite(self.grad) {
            return Err(CprStatus::Skipped);
        }
        Ok(Shard::new(self.theta, self.grad, self.moments)?)
    }
}

fn learning_rate(lr: f64) -> Result<(), CprStatus> {
    if lr >= 0.0 && lr.is_finite() { Ok(()) } else { Err(CprStatus::LearningRate) }
}
