//! Configurations that must agree: with the base optimizer, with each other, with AdamW.

use cpr_core::{
    AnyRegularizer, BoundInit, ConstraintConfig, ConstraintRule, Order, Real, Shard, StepRule,
    base::{Adam, AdamConfig, Base, Decay, Decayed, WeightDecay},
    base_step, constrained_step,
};
use cpr_tests::{
    cases::{Case, Measure, table},
    path::{Path, Precision, WithBase, with_base},
    tolerance::{TRAJECTORY_F64, Tolerance},
};

/// The base optimizer alone on the data of the case.
struct Alone<'a>(&'a Case);

impl<T: Real> WithBase<T> for Alone<'_> {
    type Output = Vec<T>;

    fn call<B: Base<T, M>, const M: usize>(self, base: B) -> Vec<T> {
        let mut theta: Vec<T> = self.0.initial();
        let mut moments: [Vec<T>; M] = std::array::from_fn(|_| vec![T::ZERO; self.0.n]);
        for t in 1..=self.0.steps {
            let grad = self.0.gradient(t);
            let views = moments.each_mut().map(Vec::as_mut_slice);
            let shard = Shard::new(&mut theta, &grad, views).unwrap();
            base_step(&base.at(t, self.0.lr_at(t)), shard);
        }
        theta
    }
}

fn bits<T: Real>(values: &[T]) -> Vec<u64> {
    values.iter().map(|&x| x.to_f64().to_bits()).collect()
}

fn idle_constraints_leave_the_base<T: Precision>() {
    for case in table() {
        let alone = bits(&with_base::<T, _>(&case, Alone(&case)));
        let idle = [
            Case { mu: 0.0, ..case.clone() },
            Case { bound: BoundInit::Uniform(f64::INFINITY), ..case.clone() },
            // Never violated: λ stays 0.
            Case { bound: BoundInit::Uniform(1e9), ..case.clone() },
            // Never set.
            Case { bound: BoundInit::WarmStart(1000), ..case.clone() },
        ];
        for idle in idle {
            let run = T::run(&idle, Path::Whole);
            assert!(bits(&run.theta) == alone, "{} under {:?}", case.name, idle.bound);
            let last = run.reports.last().unwrap();
            assert_eq!((last.lambda, last.active_steps), (0.0, 0));
        }
        assert!(bits(&T::run(&case, Path::Whole).theta) != alone, "{} acts", case.name);
    }
}

#[test]
fn without_lambda_mu_or_kappa_the_base_keeps_its_bits_in_f32() {
    idle_constraints_leave_the_base::<f32>();
}

#[test]
fn without_lambda_mu_or_kappa_the_base_keeps_its_bits_in_f64() {
    idle_constraints_leave_the_base::<f64>();
}

#[test]
fn p_of_one_and_two_are_l1_and_l2() {
    let base = Case::new("lp", Measure::L1, BoundInit::Dependent(0.6));
    for (p, measure) in [(1.0, Measure::L1), (2.0, Measure::L2)] {
        assert_eq!(AnyRegularizer::lp(p).unwrap(), measure.regularizer());
        for order in [Order::AfterBase, Order::BeforeBase] {
            let case = Case { order, ..base.clone() };
            let by_p = Case { measure: Measure::Lp(p), ..case.clone() };
            let itself = Case { measure, ..case };
            assert_eq!(f64::run(&by_p, Path::Whole).bits(), f64::run(&itself, Path::Whole).bits());
        }
    }
}

/// The step of an lp bound is the prox of ℓ|w|^p at p = 2, and tends to it as p does.
#[test]
fn the_p_norm_step_meets_l2_at_two() {
    let start: Vec<f64> = vec![0.7, -1.3, 0.02, -4.0];
    let run = |regularizer: AnyRegularizer| {
        let config = ConstraintConfig {
            step_rule: StepRule::Proximal,
            ..ConstraintConfig::new(regularizer, BoundInit::Uniform(0.1))
        };
        let mut theta = start.clone();
        let mut constraint = ConstraintRule::new(config).unwrap().start_from(&theta).unwrap();
        let base = cpr_core::base::Sgd::new(Default::default()).unwrap();
        let shard = Shard::new(&mut theta, &[0.0; 4], []).unwrap();
        constrained_step(&mut constraint, &base.at(1, 0.1), 0.1, shard);
        theta
    };
    let exact = run(cpr_core::L2.into());
    for near in [2.0 - 1e-9, 2.0 + 1e-9] {
        for (a, b) in run(AnyRegularizer::lp(near).unwrap()).iter().zip(&exact) {
            assert!((a - b).abs() < 1e-7, "{near}: {a} {b}");
        }
    }
}

/// PAdam with p = 2 is AdamW with decay 2λ_p at lr/(1 + 2·lr·λ_p): for one step from any point, since the moments
/// do not see the decay.
#[test]
fn padam_of_two_is_adamw_at_another_rate() {
    let (lambda, lr) = (0.3, 0.05);
    let wd = WeightDecay::Decoupled(2.0 * lambda);
    let adam = |weight_decay| Adam::new(AdamConfig { weight_decay, ..Default::default() }).unwrap();
    for late in [false, true] {
        let decay = Decay::PNorm { p: 2.0, lambda, late, flush: true };
        let padam = Decayed::new(adam(WeightDecay::None), decay).unwrap();
        let case = Case::new("padam 2", Measure::L2, BoundInit::Uniform(1.0));
        let mut ours: (Vec<f64>, [Vec<f64>; 2]) =
            (case.initial(), std::array::from_fn(|_| vec![0.0; case.n]));
        let mut theirs = ours.clone();
        for t in 1..=100 {
            let grad: Vec<f64> = case.gradient(t);
            let views = ours.1.each_mut().map(Vec::as_mut_slice);
            base_step(&padam.at(t, lr), Shard::new(&mut ours.0, &grad, views).unwrap());
            let views = theirs.1.each_mut().map(Vec::as_mut_slice);
            let scaled = lr / (1.0 + 2.0 * lr * lambda);
            base_step(&adam(wd).at(t, scaled), Shard::new(&mut theirs.0, &grad, views).unwrap());
        }
        for (&a, &b) in ours.0.iter().zip(&theirs.0) {
            assert!(Tolerance::distance(a, b) <= TRAJECTORY_F64.limit, "late {late}: {a} {b}");
        }
    }
}

/// p < 1: sparsity grows, zeros stay zeros while λ > 0, nothing becomes NaN, negative zero and subnormals included.
#[test]
fn an_lp_bound_below_one_drives_weights_to_zero_and_keeps_them_there() {
    let case = Case::new("p", Measure::Lp(0.5), BoundInit::UniformPerElement(0.01));
    let config = ConstraintConfig::new(case.measure.regularizer(), case.bound);
    assert_eq!((config.order, config.mu, config.scale_by_lr), (Order::BeforeBase, 0.1, true));
    let config = ConstraintConfig { mu: 5.0, scale_by_lr: false, ..config };
    let mut theta: Vec<f32> = vec![0.5, -0.25, 0.0, -0.0, 1e-39, -1e-42, 1e-30, 2.0];
    let mut constraint = ConstraintRule::new(config).unwrap().start_from(&theta).unwrap();
    let base = cpr_core::base::Sgd::new(Default::default()).unwrap();
    let (mut zeros, mut acted) = (0, 0);
    for t in 1..=200 {
        let before = theta.clone();
        // A gradient that pushes through zero.
        let grad: Vec<f32> = before.iter().map(|x| 0.1 * x.signum()).collect();
        let shard = Shard::new(&mut theta, &grad, []).unwrap();
        constrained_step(&mut constraint, &base.at(t, 0.1), 0.1, shard);
        let now = constraint.report().active_steps;
        let active = now > acted;
        acted = now;
        for (&x, &y) in before.iter().zip(&theta) {
            assert!(y.is_finite() && y.abs() < 3.0, "{x} became {y}");
            assert!(
                !active || y == 0.0 || y.is_normal(),
                "{y} is below the smallest normal number"
            );
            assert!(!(active && x == 0.0) || y == 0.0, "a zero left zero: {y}");
        }
        zeros = theta.iter().filter(|x| **x == 0.0).count();
    }
    assert!(zeros >= 5, "{theta:?}");
}
