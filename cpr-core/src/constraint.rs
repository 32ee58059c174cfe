//! One matrix under a bound: the rule, the state, and the O(1) update of phase 3.

use crate::{
    bound::{Adaptive, Bound, BoundInit},
    correction::Correction,
    error::{ConfigError, GroupError, non_negative},
    multiplier::Multiplier,
    real::{Real, count_as_f64},
    reduce::{CHUNK, Pairwise},
    regularizer::{Planned, Regularizer, Violation},
    statistic::Statistic,
};

/// Where R and ∇R are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// At θ after the base step (the published code). Rests at the KKT point of a bound tighter by O(lr).
    #[default]
    AfterBase,
    /// At θ before the base step, applied to θ after it (arXiv 2311.09058, Algorithm 1). Rests at the exact KKT
    /// point of min L subject to R <= κ, and needs one pass over memory: R of the θ just written is carried to
    /// the next step.
    BeforeBase,
}

/// How the correction is made of ℓ and R.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StepRule {
    /// θ ← θ − ℓ·∇R.
    #[default]
    Gradient,
    /// θ ← the prox of ℓR: nonexpansive for every ℓ, exact zeros for l1.
    Proximal,
}

/// Configuration of a constraint; becomes a [`ConstraintRule`], which is validated.
///
/// ```
/// use cpr_core::{BoundInit, ConstraintConfig, ConstraintRule, Std};
/// let config = ConstraintConfig::new(Std, BoundInit::Dependent(0.9));
/// assert!(ConstraintRule::new(config).is_ok());
/// let negative = ConstraintConfig { mu: -1.0, ..config };
/// assert!(ConstraintRule::new(negative).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstraintConfig<R> {
    /// The measure R.
    pub regularizer: R,
    /// How κ is set.
    pub bound: BoundInit,
    /// Whether κ falls during training.
    pub adaptive: Adaptive,
    /// μ, finite and at least 0: λ rises at μ/n per violation for sums, at μ for std. 0 leaves λ at 0.
    pub mu: f64,
    /// Where R is taken.
    pub order: Order,
    /// How the correction is made.
    pub step_rule: StepRule,
    /// Keep a gradient correction from carrying elements (for std, deviations from the mean) through zero.
    pub guard: bool,
    /// ℓ = lr·λ in place of ℓ = λ.
    pub scale_by_lr: bool,
}

impl<R: Regularizer> ConstraintConfig<R> {
    /// A bound on R with the library's defaults: μ = 1, `AfterBase`, gradient step, guard on, not scaled by lr;
    /// for lp with p <= 1 those of [`Lp`](crate::Lp).
    pub fn new(regularizer: R, bound: BoundInit) -> Self {
        let crate::regularizer::Defaults { order, mu, scale_by_lr } = regularizer.defaults();
        Self {
            regularizer,
            bound,
            adaptive: Adaptive::Off,
            mu,
            order,
            step_rule: StepRule::Gradient,
            guard: true,
            scale_by_lr,
        }
    }
}

/// A validated configuration: what starts constraints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstraintRule<R> {
    config: ConstraintConfig<R>,
}

impl<R: Regularizer> ConstraintRule<R> {
    /// The rule of this configuration.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for a negative or non-finite μ, a negative or NaN κ, k <= 0;
    /// [`ConfigError::ZeroSteps`] for a warm start of 0 steps or an interval of 0;
    /// [`ConfigError::PerElementOfNoSum`]; [`ConfigError::PowerNeedsBeforeBase`].
    pub fn new(config: ConstraintConfig<R>) -> Result<Self, ConfigError> {
        non_negative("mu", config.mu)?;
        config.bound.check(config.regularizer.is_sum())?;
        config.regularizer.check(config.order)?;
        Ok(Self { config })
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &ConstraintConfig<R> {
        &self.config
    }

    /// The constraint of one matrix, whose parameters are all in `theta`.
    ///
    /// # Errors
    /// As [`ConstraintRule::start`].
    pub fn start_from<T: Real>(&self, theta: &[T]) -> Result<Constraint<R>, GroupError> {
        self.start(&measure(&self.config.regularizer, theta))
    }

    /// The constraint of one matrix before the first step, from the measure of its whole θ.
    ///
    /// n of the rate μ/n is the number of elements measured: for a matrix in shards, merge the statistics of
    /// all of them first. A matrix without elements is allowed and never constrained.
    ///
    /// # Errors
    /// [`GroupError::TooFewElements`] for std with one element, [`GroupError::DependentOnZero`] for a dependent
    /// bound on R = 0, [`GroupError::NonFinite`] where a bound or an order needs R and it is not finite.
    pub fn start(&self, initial: &Statistic) -> Result<Constraint<R>, GroupError> {
        let count = initial.count();
        let limit = self.config.regularizer.fewest_elements();
        if count > 0 && count < limit {
            return Err(GroupError::TooFewElements { given: count, limit });
        }
        let value = self.config.regularizer.value(initial);
        if count > 0 && self.config.order == Order::BeforeBase && !value.is_finite() {
            return Err(GroupError::NonFinite { given: value });
        }
        let bound = self.config.bound.start(count, value)?;
        Ok(Constraint {
            rule: *self,
            count,
            state: State {
                step: 0,
                multiplier: Multiplier::ZERO,
                bound,
                carried: *initial,
                has_risen: false,
                tally: Tally::default(),
            },
        })
    }
}

/// One matrix under a bound, R(θ) <= κ: a rule and O(1) state. `Copy`, and independent of the parameters' type.
///
/// A step is four phases; [`Constraint::begin`] and [`Constraint::update`] are the O(1) parts of it:
///
/// 1. `begin(lr)` gives the [`FirstPass`](crate::FirstPass), which each shard runs with the base step;
/// 2. the measures that come back merge in the order of the chunks ([`Pairwise`]);
/// 3. `update(observed, lr)` moves λ and κ and gives a [`Correction`];
/// 4. each shard applies it, unless it is the identity.
///
/// [`constrained_step`](crate::constrained_step) is all four on one slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constraint<R> {
    pub(crate) rule: ConstraintRule<R>,
    pub(crate) count: u64,
    pub(crate) state: State,
}

/// What changes from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct State {
    /// t, the number of updates.
    pub(crate) step: u64,
    pub(crate) multiplier: Multiplier,
    pub(crate) bound: Bound,
    /// The statistic of the θ last written.
    pub(crate) carried: Statistic,
    /// λ has been above 0.
    pub(crate) has_risen: bool,
    pub(crate) tally: Tally,
}

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) active: u64,
    pub(crate) guarded: u64,
    pub(crate) non_finite: u64,
}

impl<R: Regularizer> Constraint<R> {
    /// The rule it was made by.
    #[must_use]
    pub const fn rule(&self) -> &ConstraintRule<R> {
        &self.rule
    }

    /// The same constraint as another program left it: after `step` updates, λ >= 0, and κ >= 0 where it is set.
    ///
    /// What no other program records starts afresh: the trace of an inflection that is still looked for, and the
    /// counts of the report. The step at which κ was set is that of the rule; for an inflection it is `step`.
    ///
    /// `None` for what cannot be: κ unset under a rule that sets it at the start, λ > 0 before κ is set, or a κ
    /// below 0 or NaN.
    ///
    /// ```
    /// use cpr_core::{BoundInit, ConstraintConfig, ConstraintRule, L2, Multiplier};
    /// let rule = ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::WarmStart(10)))?;
    /// let started = rule.start_from(&[3.0f32, 4.0])?;
    /// let report = started.left_at(50, Multiplier::new(0.5).unwrap(), Some(20.0)).unwrap().report();
    /// assert_eq!((report.kappa, report.kappa_set_at, report.lambda), (Some(20.0), Some(10), 0.5));
    /// assert!(started.left_at(50, Multiplier::new(0.5).unwrap(), None).is_none());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn left_at(self, step: u64, multiplier: Multiplier, kappa: Option<f64>) -> Option<Self> {
        let bound = match (kappa, &self.rule.config.bound) {
            (Some(kappa), init) if kappa >= 0.0 => {
                let at = match *init {
                    BoundInit::WarmStart(at) => at.min(step),
                    BoundInit::Inflection(_) => step,
                    BoundInit::Uniform(_)
                    | BoundInit::UniformPerElement(_)
                    | BoundInit::Dependent(_) => 0,
                };
                Bound::Set { kappa, at }
            }
            (None, BoundInit::WarmStart(_) | BoundInit::Inflection(_))
                if multiplier == Multiplier::ZERO =>
            {
                self.state.bound
            }
            _ => return None,
        };
        let has_risen = multiplier > Multiplier::ZERO;
        let state = State { step, multiplier, bound, has_risen, ..self.state };
        Some(Self { state, ..self })
    }

    /// Opens a step at learning rate `lr`: what phase 1 does to each shard.
    ///
    /// Under `BeforeBase` λ moves here, by the R that was carried from the step before.
    pub fn begin(&mut self, lr: f64) -> crate::FirstPass<R> {
        let correction = match self.rule.config.order {
            Order::AfterBase => Correction::Identity,
            Order::BeforeBase => {
                let carried = self.state.carried;
                self.ascend(&carried, lr)
            }
        };
        crate::FirstPass::new(self.rule.config.regularizer, correction)
    }

    /// Closes a step with the merged measure of the whole matrix: what phase 4 does to each shard.
    ///
    /// Under `BeforeBase` the measure is carried to the next step and the correction is the identity. A measure that
    /// is not of the whole matrix is treated as [`Constraint::reobserve`] says.
    ///
    /// `lr` is the one given to `begin`; each `begin` is followed by one `update`.
    pub fn update(&mut self, observed: &crate::Observed, lr: f64) -> Correction {
        self.count_stopped(observed.stopped);
        self.reobserve(&observed.statistic);
        match self.rule.config.order {
            Order::AfterBase => {
                let measured = self.state.carried;
                self.ascend(&measured, lr)
            }
            Order::BeforeBase => Correction::Identity,
        }
    }

    /// Adds the elements that phase 4 stopped at zero to the report.
    pub fn count_stopped(&mut self, elements: u64) {
        self.state.tally.guarded = self.state.tally.guarded.saturating_add(elements);
    }

    /// Takes the measure of parameters that were changed from outside between two steps.
    ///
    /// `BeforeBase` needs it, since it carries R from step to step; for `AfterBase` it only refreshes the report.
    ///
    /// The measure is of the whole matrix and by this constraint's regularizer. One of another number of elements
    /// or of another form (a forgotten shard, another matrix) counts as an R that is not finite: no correction, λ
    /// and κ as they are, counted in the report.
    pub fn reobserve(&mut self, statistic: &Statistic) {
        let regularizer = &self.rule.config.regularizer;
        let fits =
            statistic.count() == self.count && (self.count == 0 || regularizer.takes(statistic));
        self.state.carried = if fits { *statistic } else { regularizer.unmeasured(self.count) };
    }

    /// Phase 3: λ and κ by R of this step, and the correction.
    fn ascend(&mut self, statistic: &Statistic, lr: f64) -> Correction {
        let config = &self.rule.config;
        let state = &mut self.state;
        state.step = state.step.saturating_add(1);
        if self.count == 0 {
            return Correction::Identity;
        }
        let value = config.regularizer.value(statistic);
        if !value.is_finite() {
            state.tally.non_finite = state.tally.non_finite.saturating_add(1);
            return Correction::Identity;
        }
        let Some(kappa) = state.bound.observe(&config.bound, state.step, value) else {
            return Correction::Identity;
        };
        if kappa == f64::INFINITY {
            return Correction::Identity;
        }

        let rate = if config.regularizer.is_sum() {
            config.mu / count_as_f64(self.count)
        } else {
            config.mu
        };
        let before = state.multiplier;
        state.multiplier = before.ascend(rate, value - kappa);
        let lambda = state.multiplier.get();
        match config.adaptive {
            Adaptive::OnRelease if before.get() > 0.0 && lambda == 0.0 => {
                state.bound.tighten(value)
            }
            Adaptive::WhileInactive if state.has_risen && lambda == 0.0 => {
                state.bound.tighten(value)
            }
            _ => {}
        }
        let ell = if config.scale_by_lr { lr * lambda } else { lambda };
        if lambda > 0.0 {
            state.has_risen = true;
            state.tally.active = state.tally.active.saturating_add(1);
        }
        if ell > 0.0 {
            let violation = Violation {
                ell,
                value,
                kappa,
                order: config.order,
                rule: config.step_rule,
                guard: config.guard,
            };
            let Planned { correction, guarded } = config.regularizer.plan(&violation, statistic);
            if guarded {
                state.multiplier = Multiplier::ZERO;
                state.tally.guarded = state.tally.guarded.saturating_add(1);
            }
            correction
        } else {
            Correction::Identity
        }
    }

    /// How it stands.
    #[must_use]
    pub fn report(&self) -> Report {
        let State { step, multiplier, bound, carried, tally, .. } = self.state;
        let value = self.rule.config.regularizer.value(&carried);
        Report {
            step,
            elements: self.count,
            value,
            kappa: bound.kappa(),
            kappa_set_at: bound.set_at(),
            lambda: multiplier.get(),
            active_steps: tally.active,
            guarded: tally.guarded,
            non_finite: tally.non_finite,
        }
    }

    /// λ.
    #[must_use]
    pub const fn multiplier(&self) -> Multiplier {
        self.state.multiplier
    }

    /// The bound's state.
    #[must_use]
    pub const fn bound(&self) -> Bound {
        self.state.bound
    }

    /// Number of elements of the matrix, n.
    #[must_use]
    pub const fn elements(&self) -> u64 {
        self.count
    }
}

/// How a constraint stands, for people and plots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Updates so far.
    pub step: u64,
    /// n, elements of the matrix.
    pub elements: u64,
    /// R, as last measured: under `AfterBase` before the correction of that step.
    pub value: f64,
    /// κ, once it is set.
    pub kappa: Option<f64>,
    /// The step at which κ was set; 0 before the first.
    pub kappa_set_at: Option<u64>,
    /// λ.
    pub lambda: f64,
    /// Steps with λ > 0.
    pub active_steps: u64,
    /// What the overshoot guard did: for l2 and std the steps on which it landed the matrix on its bound, for l1
    /// and huber the elements that it stopped at zero, over all steps.
    pub guarded: u64,
    /// Steps without an update because R was not finite.
    pub non_finite: u64,
}

impl Report {
    /// R − κ, positive when violated; `None` while κ is not set.
    #[must_use]
    pub fn violation(&self) -> Option<f64> {
        self.kappa.map(|kappa| self.value - kappa)
    }

    /// Whether the constraint acts: λ > 0.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.lambda > 0.0
    }
}

/// The measure of a whole slice, chunk by chunk in the fixed order.
pub fn measure<R: Regularizer, T: Real>(regularizer: &R, theta: &[T]) -> Statistic {
    let mut whole = Pairwise::new();
    whole.extend(theta.chunks(CHUNK).map(|chunk| regularizer.observe(chunk)));
    whole.finish()
}
