//! Whole constrained steps on any configuration and any floats.

use cpr_core::{
    Adaptive, AnyRegularizer, Constraint, ConstraintRule, Order, Real, Shard, StepRule, base::Base,
    base_step, constrained_step,
};

use super::bytes::Bytes;
use crate::{
    cases::{Case, Measure},
    path::{WithBase, with_base},
};

/// Any configuration that the crate accepts, on any floats, for a few whole steps.
///
/// Laws: λ is finite and at least 0; κ is at least 0 and, once set, changes only under AdaCPR and only downwards; n
/// and t are right; where R is not finite λ and κ stay and θ is the base step's; λ = 0 leaves the base step's bits;
/// a guarded or proximal correction of finite θ is finite and carries nothing through zero.
pub fn step(data: &[u8]) {
    let mut bytes = Bytes(data);
    let case = bytes.case();
    if bytes.flag() {
        with_base::<f32, _>(&case, Steps { case: &case, bytes });
    } else {
        with_base::<f64, _>(&case, Steps { case: &case, bytes });
    }
}

struct Steps<'a, 'b> {
    case: &'a Case,
    bytes: Bytes<'b>,
}

impl<T: Real> WithBase<T> for Steps<'_, '_> {
    type Output = ();

    fn call<B: Base<T, M>, const M: usize>(self, base: B) {
        let Self { case, mut bytes } = self;
        let mut theta: Vec<T> = bytes.floats(case.n);
        let Ok(rule) = ConstraintRule::new(case.config()) else { return };
        let Ok(mut constraint) = rule.start_from(&theta) else { return };
        let mut moments: [Vec<T>; M] = std::array::from_fn(|_| vec![T::ZERO; case.n]);
        for t in 1..=case.steps {
            let grad: Vec<T> = bytes.floats(case.n);
            let scalars = base.at(t, case.lr);
            let (mut plain, mut plain_moments) = (theta.clone(), moments.clone());
            let views = plain_moments.each_mut().map(Vec::as_mut_slice);
            base_step(&scalars, Shard::new(&mut plain, &grad, views).expect("equal lengths"));

            let before = constraint;
            let views = moments.each_mut().map(Vec::as_mut_slice);
            let shard = Shard::new(&mut theta, &grad, views).expect("equal lengths");
            constrained_step(&mut constraint, &scalars, case.lr, shard);

            check_scalars(case, &before, &constraint);
            assert_eq!(bits(moments.iter().flatten()), bits(plain_moments.iter().flatten()));
            check_theta(case, &before, &constraint, &plain, &theta);
        }
    }
}

type Group = Constraint<AnyRegularizer>;

fn check_scalars(case: &Case, before: &Group, after: &Group) {
    let (old, new) = (before.report(), after.report());
    assert_eq!(new.elements, case.n as u64);
    assert_eq!(new.step, old.step + 1);
    assert!(new.lambda >= 0.0 && new.lambda.is_finite(), "λ = {}", new.lambda);
    assert!(new.active_steps <= new.step && new.non_finite <= new.step);
    if let Some(kappa) = new.kappa {
        assert!(kappa >= 0.0, "κ = {kappa}");
        assert!(new.kappa_set_at <= Some(new.step));
    }
    if let Some(was) = old.kappa {
        let is = new.kappa.expect("κ stays set");
        assert!(is <= was, "κ rose from {was} to {is}");
        assert!(case.adaptive != Adaptive::Off || is == was, "κ changed without AdaCPR");
    }
    if new.non_finite > old.non_finite {
        assert_eq!((new.lambda, new.kappa), (old.lambda, old.kappa));
    }
}

fn check_theta<T: Real>(case: &Case, before: &Group, after: &Group, plain: &[T], theta: &[T]) {
    let (old, new) = (before.report(), after.report());
    let acted = new.active_steps > old.active_steps;
    if !acted {
        assert_eq!(bits(theta.iter()), bits(plain.iter()), "λ = 0 is not the base step");
        return;
    }
    if case.order == Order::BeforeBase || plain.iter().any(|x| !x.is_finite()) {
        return;
    }
    let kept_in_bounds = case.guard || case.step_rule == StepRule::Proximal;
    for (&x, &y) in plain.iter().zip(theta) {
        if !kept_in_bounds && !matches!(case.measure, Measure::Lp(_)) {
            continue;
        }
        assert!(y.is_finite(), "{x:?} became {y:?} with λ = {}", new.lambda);
        if case.measure != Measure::Std {
            assert!(x * y >= T::ZERO, "{x:?} crossed zero to {y:?}");
            assert!(y.abs() <= x.abs(), "{x:?} grew to {y:?}");
        }
    }
}

fn bits<'a, T: Real>(values: impl IntoIterator<Item = &'a T>) -> Vec<u64> {
    // All NaN are one: which payload an operation hands on is not part of IEEE 754.
    let canonical = |x: f64| if x.is_nan() { u64::MAX } else { x.to_bits() };
    values.into_iter().map(|&x| canonical(x.to_f64())).collect()
}
