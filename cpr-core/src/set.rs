//! Many groups on one thread and without a heap.

use heapless::Vec;

use crate::{
    base::Base,
    constraint::{Constraint, ConstraintRule, measure},
    error::{GroupError, LengthError, Slice},
    finite::all_finite,
    fused::{base_step, constrained_step},
    real::Real,
    regularizer::Regularizer,
    shard::Shard,
};

/// Up to N groups (matrices with their constraints, and free parameters), and the number of the step.
///
/// For targets without a heap: all storage is in the value itself. The groups are stepped in the order in which
/// they were added.
///
/// ```
/// use cpr_core::base::{Adam, AdamConfig};
/// use cpr_core::{BoundInit, ConstraintConfig, ConstraintRule, ConstraintSet, L2, Outcome, Shard};
///
/// let (mut weights, mut bias) = ([0.5f32, -0.25, 0.75, 1.0], [0.0f32]);
/// let (mut m, mut v) = ([0.0; 5], [0.0; 5]);
/// let rule = ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::Dependent(0.8)))?;
/// let mut set = ConstraintSet::<L2, 2>::new();
/// set.add(&rule, &weights)?;
/// set.add_free(bias.len())?;
///
/// let adam = Adam::new(AdamConfig::default())?;
/// let grads = ([0.1; 4], [0.1]);
/// let ((mw, mb), (vw, vb)) = (m.split_at_mut(4), v.split_at_mut(4));
/// let mut shards = [
///     Shard::new(&mut weights, &grads.0, [mw, vw])?,
///     Shard::new(&mut bias, &grads.1, [mb, vb])?,
/// ];
/// assert_eq!(set.step(&adam, 1e-3, &mut shards)?, Outcome::Stepped);
/// assert_eq!(set.steps(), 1);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConstraintSet<R, const N: usize> {
    groups: Vec<Group<R>, N>,
    check: bool,
    steps: u64,
    skipped: u64,
}

#[derive(Clone, Debug)]
enum Group<R> {
    Constrained(Constraint<R>),
    Free(usize),
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All groups were stepped.
    Stepped,
    /// A gradient of group `group` was not finite: nothing was changed, but the count of skipped steps.
    Skipped {
        /// The first such group, in the order of adding.
        group: usize,
    },
}

impl<R: Regularizer, const N: usize> ConstraintSet<R, N> {
    /// No groups yet; gradients are checked.
    #[must_use]
    pub const fn new() -> Self {
        Self { groups: Vec::new(), check: true, steps: 0, skipped: 0 }
    }

    /// Whether [`ConstraintSet::step`] looks for non-finite gradients first (default: yes).
    pub const fn check_gradients(&mut self, check: bool) {
        self.check = check;
    }

    /// Adds a matrix under this rule, whose parameters are all in `theta`; returns its index.
    ///
    /// # Errors
    /// As [`ConstraintRule::start`]; [`GroupError::Full`] with N groups.
    pub fn add<T: Real>(
        &mut self,
        rule: &ConstraintRule<R>,
        theta: &[T],
    ) -> Result<usize, GroupError> {
        let constraint = rule.start_from(theta)?;
        self.put(Group::Constrained(constraint))
    }

    /// Adds a matrix with a constraint that exists already, such as one that was [decoded](Constraint::decode).
    ///
    /// # Errors
    /// [`GroupError::Full`] with N groups.
    pub fn add_constraint(&mut self, constraint: Constraint<R>) -> Result<usize, GroupError> {
        self.put(Group::Constrained(constraint))
    }

    /// Goes on after `steps` taken and `skipped` skipped steps, as [`ConstraintSet::steps`] and
    /// [`ConstraintSet::skipped`] gave them: Adam's bias corrections depend on t.
    pub const fn resume_at(&mut self, steps: u64, skipped: u64) {
        self.steps = steps;
        self.skipped = skipped;
    }

    /// Measures the parameters of a group anew after they were changed from outside; does nothing for free
    /// parameters and past the end. See [`Constraint::reobserve`].
    pub fn reobserve<T: Real>(&mut self, index: usize, theta: &[T]) {
        if let Some(Group::Constrained(constraint)) = self.groups.get_mut(index) {
            let regularizer = constraint.rule().config().regularizer;
            constraint.reobserve(&measure(&regularizer, theta));
        }
    }

    /// Adds parameters without a constraint (biases, normalisation); returns their index.
    ///
    /// # Errors
    /// [`GroupError::Full`] with N groups.
    pub fn add_free(&mut self, elements: usize) -> Result<usize, GroupError> {
        self.put(Group::Free(elements))
    }

    fn put(&mut self, group: Group<R>) -> Result<usize, GroupError> {
        let index = self.groups.len();
        self.groups.push(group).map_err(|_| GroupError::Full { limit: N })?;
        Ok(index)
    }

    /// One step of every group at learning rate `lr`; shard i holds the parameters of group i, whole.
    ///
    /// A gradient that is not finite skips the step whole: parameters, moments, t, λ and κ stay.
    ///
    /// # Errors
    /// [`LengthError`] where the number of shards or the length of one is not that of the groups; nothing was
    /// changed.
    pub fn step<T: Real, B: Base<T, M>, const M: usize>(
        &mut self,
        base: &B,
        lr: f64,
        shards: &mut [Shard<'_, T, M>],
    ) -> Result<Outcome, LengthError> {
        self.check_lengths(shards)?;
        if self.check
            && let Some(group) = shards.iter().position(|shard| !all_finite(shard.grad))
        {
            self.skipped = self.skipped.saturating_add(1);
            return Ok(Outcome::Skipped { group });
        }
        self.steps = self.steps.saturating_add(1);
        let step = base.at(self.steps, lr);
        for (group, shard) in self.groups.iter_mut().zip(shards) {
            match group {
                Group::Constrained(constraint) => {
                    constrained_step(constraint, &step, lr, shard.reborrow());
                }
                Group::Free(_) => base_step(&step, shard.reborrow()),
            }
        }
        Ok(Outcome::Stepped)
    }

    fn check_lengths<T, const M: usize>(
        &self,
        shards: &[Shard<'_, T, M>],
    ) -> Result<(), LengthError> {
        let equal = |slice, given, expected| {
            if given == expected { Ok(()) } else { Err(LengthError { slice, given, expected }) }
        };
        equal(Slice::Groups, shards.len(), self.groups.len())?;
        for (index, (group, shard)) in self.groups.iter().zip(shards).enumerate() {
            let expected = match group {
                Group::Constrained(constraint) => {
                    usize::try_from(constraint.elements()).unwrap_or(usize::MAX)
                }
                Group::Free(elements) => *elements,
            };
            equal(Slice::Group(index), shard.len(), expected)?;
        }
        Ok(())
    }

    /// Steps taken, t; skipped ones do not count.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Steps skipped because of a gradient that was not finite.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The constraint of a group; `None` for free parameters and past the end.
    #[must_use]
    pub fn constraint(&self, index: usize) -> Option<&Constraint<R>> {
        match self.groups.get(index) {
            Some(Group::Constrained(constraint)) => Some(constraint),
            _ => None,
        }
    }

    /// Number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are no groups.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl<R: Regularizer, const N: usize> Default for ConstraintSet<R, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BoundInit, ConstraintConfig, L2,
        base::{Sgd, SgdConfig},
    };

    fn set() -> ConstraintSet<L2, 2> {
        let rule = ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::Uniform(1.0))).unwrap();
        let mut set = ConstraintSet::new();
        set.add(&rule, &[2.0f32, 0.0]).unwrap();
        set.add_free(1).unwrap();
        set
    }

    #[test]
    fn a_non_finite_gradient_skips_the_step_whole() {
        let mut set = set();
        let before = *set.constraint(0).unwrap();
        let (mut weights, mut bias) = ([2.0f32, 0.0], [1.0]);
        let sgd = Sgd::new(SgdConfig::default()).unwrap();
        let mut shards = [
            Shard::new(&mut weights, &[1.0, 1.0], []).unwrap(),
            Shard::new(&mut bias, &[f32::NAN], []).unwrap(),
        ];
        assert_eq!(set.step(&sgd, 0.1, &mut shards), Ok(Outcome::Skipped { group: 1 }));
        assert_eq!((weights, bias), ([2.0, 0.0], [1.0]));
        assert_eq!(*set.constraint(0).unwrap(), before);
        assert_eq!((set.steps(), set.skipped()), (0, 1));
    }

    #[test]
    fn a_wrong_number_or_length_of_shards_changes_nothing() {
        let mut set = set();
        let sgd = Sgd::new(SgdConfig::default()).unwrap();
        let mut short = [1.0f32];
        let mut shards = [Shard::new(&mut short, &[1.0], []).unwrap()];
        let error = set.step(&sgd, 0.1, &mut shards).unwrap_err();
        assert_eq!(error, LengthError { slice: Slice::Groups, given: 1, expected: 2 });
        let mut other = [1.0f32];
        let mut shards = [
            Shard::new(&mut short, &[1.0], []).unwrap(),
            Shard::new(&mut other, &[1.0], []).unwrap(),
        ];
        let error = set.step(&sgd, 0.1, &mut shards).unwrap_err();
        assert_eq!(error, LengthError { slice: Slice::Group(0), given: 1, expected: 2 });
        assert_eq!(short, [1.0]);
    }

    #[test]
    fn free_parameters_take_the_base_step_alone_checked_or_not() {
        let (mut set, sgd) = (set(), Sgd::new(SgdConfig::default()).unwrap());
        assert!(ConstraintSet::<L2, 2>::default().is_empty());
        assert_eq!((set.len(), set.is_empty()), (2, false));
        assert!(set.constraint(1).is_none() && set.constraint(2).is_none());
        let mut step = |bias_grad: f32| {
            let (mut weights, mut bias) = ([2.0f32, 0.0], [1.0]);
            let mut shards = [
                Shard::new(&mut weights, &[0.0, 0.0], []).unwrap(),
                Shard::new(&mut bias, core::slice::from_ref(&bias_grad), []).unwrap(),
            ];
            (set.step(&sgd, 0.5, &mut shards), bias)
        };
        assert_eq!(step(1.0), (Ok(Outcome::Stepped), [0.5]));
        assert_eq!(step(f32::NAN), (Ok(Outcome::Skipped { group: 1 }), [1.0]));
        set.check_gradients(false);
        let mut weights = [2.0f32, 0.0];
        let mut bias = [1.0];
        let mut shards = [
            Shard::new(&mut weights, &[0.0, 0.0], []).unwrap(),
            Shard::new(&mut bias, &[f32::NAN], []).unwrap(),
        ];
        assert_eq!(set.step(&sgd, 0.5, &mut shards), Ok(Outcome::Stepped));
        assert!(bias[0].is_nan());
    }

    #[test]
    fn a_full_set_says_so() {
        let mut set = set();
        assert_eq!(set.add_free(1), Err(GroupError::Full { limit: 2 }));
    }

    #[test]
    fn a_set_goes_on_from_encoded_constraints_as_if_it_had_never_stopped() {
        use crate::{
            ENCODED_LEN, Order,
            base::{Adam, AdamConfig},
        };
        let config = ConstraintConfig {
            order: Order::BeforeBase,
            ..ConstraintConfig::new(L2, BoundInit::Dependent(0.9))
        };
        let rule = ConstraintRule::new(config).unwrap();
        let adam = Adam::new(AdamConfig::default()).unwrap();
        let start = [0.5f32, -1.0, 0.25];
        let run = |set: &mut ConstraintSet<L2, 1>, state: &mut [[f32; 3]; 3], steps| {
            for _ in 0..steps {
                let [theta, m, v] = state;
                let grad = theta.map(|x| x - 3.0);
                let mut shards = [Shard::new(theta, &grad, [m, v]).unwrap()];
                assert_eq!(set.step(&adam, 0.05, &mut shards), Ok(Outcome::Stepped));
            }
        };
        let fresh = || {
            let mut set = ConstraintSet::<L2, 1>::new();
            set.add(&rule, &start).unwrap();
            (set, [start, [0.0; 3], [0.0; 3]])
        };
        let (mut whole, mut expected) = fresh();
        run(&mut whole, &mut expected, 20);

        let (mut first, mut state) = fresh();
        run(&mut first, &mut state, 10);
        let mut record = [0; ENCODED_LEN];
        first.constraint(0).unwrap().encode(&mut record).unwrap();
        let mut second = ConstraintSet::<L2, 1>::new();
        second.add_constraint(Constraint::decode(&record).unwrap()).unwrap();
        second.resume_at(first.steps(), first.skipped());
        run(&mut second, &mut state, 10);
        assert_eq!(state, expected);
        assert_eq!(second.constraint(0), whole.constraint(0));
        assert_eq!(second.steps(), 20);

        // Parameters changed from outside are measured anew.
        second.reobserve(0, &[2.0f32, 0.0, 0.0]);
        assert_eq!(second.constraint(0).unwrap().report().value, 4.0);
    }
}
