//! Phase 1 and phase 4 over slices.

use crate::{
    base::BaseRule, constraint::Constraint, correction::Correction, kernel, real::Real,
    reduce::Pairwise, regularizer::Regularizer, shard::Shard, statistic::Observed,
};

/// Phase 1 of one step of one constraint: `Copy`, to be handed to every worker.
///
/// Made by [`Constraint::begin`].
#[derive(Clone, Copy, Debug)]
pub struct FirstPass<R> {
    regularizer: R,
    correction: Correction,
}

impl<R: Regularizer> FirstPass<R> {
    pub(crate) const fn new(regularizer: R, correction: Correction) -> Self {
        Self { regularizer, correction }
    }

    /// Base step and measure of one chunk of at most [`CHUNK`](crate::CHUNK) elements.
    ///
    /// Merge what comes back in the order of the chunks. A longer slice is measured as one chunk: right, but
    /// not the bits of the fixed order; cut it with [`Shard::chunks`].
    pub fn run<T: Real, B: BaseRule<T, M>, const M: usize>(
        &self,
        base: &B,
        chunk: Shard<'_, T, M>,
    ) -> Observed {
        self.regularizer.first_pass(&self.correction, *base, chunk)
    }

    /// Base step and measure of a whole slice, chunk by chunk in the fixed order.
    ///
    /// For a matrix that one worker holds whole. What two shards give back merges to the right R, but to the bits of
    /// the whole only when their chunks are merged one by one ([`FirstPass::run`]).
    pub fn run_all<T: Real, B: BaseRule<T, M>, const M: usize>(
        &self,
        base: &B,
        shard: Shard<'_, T, M>,
    ) -> Observed {
        let mut whole = Pairwise::new();
        whole.extend(shard.chunks().map(|chunk| self.run(base, chunk)));
        whole.finish()
    }

    /// The correction that [`FirstPass::run`] applies itself: the identity except under `BeforeBase`.
    #[must_use]
    pub const fn correction(&self) -> &Correction {
        &self.correction
    }
}

/// The base step alone, for parameters without a constraint.
///
/// The same bits as under a constraint with λ = 0.
pub fn base_step<T: Real, B: BaseRule<T, M>, const M: usize>(base: &B, shard: Shard<'_, T, M>) {
    for chunk in shard.chunks() {
        kernel::base_pass(*base, chunk);
    }
}

/// One step of one matrix under its constraint, all four phases on one thread.
///
/// `base` holds the scalars of this step, made at learning rate `lr`:
///
/// ```
/// use cpr_core::{BoundInit, ConstraintConfig, ConstraintRule, L2, Shard, constrained_step};
/// use cpr_core::base::{Base, Sgd, SgdConfig};
///
/// let mut theta = [3.0f64, 4.0];
/// let rule = ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::Uniform(1.0)))?;
/// let mut constraint = rule.start_from(&theta)?;
/// let (sgd, lr) = (Sgd::new(SgdConfig::default())?, 0.01);
/// for t in 1..=200 {
///     let grad = theta.map(|x| x - 5.0);
///     let shard = Shard::new(&mut theta, &grad, [])?;
///     constrained_step(&mut constraint, &sgd.at(t, lr), lr, shard);
/// }
/// // The minimum without the bound is at (5, 5); with it, on the circle of radius 1.
/// assert!((theta[0] * theta[0] + theta[1] * theta[1] - 1.0).abs() < 0.2);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn constrained_step<R, T, B, const M: usize>(
    constraint: &mut Constraint<R>,
    base: &B,
    lr: f64,
    shard: Shard<'_, T, M>,
) where
    R: Regularizer,
    T: Real,
    B: BaseRule<T, M>,
{
    let mut shard = shard;
    let first = constraint.begin(lr);
    let observed = first.run_all(base, shard.reborrow());
    let correction = constraint.update(&observed, lr);
    let stopped = constraint.rule().config().regularizer.correct(&correction, shard.theta);
    constraint.count_stopped(stopped);
}
