//! The edges: lengths, NaN, infinities, signed zeros, subnormals, huge numbers.

use cpr_core::{
    Adaptive, AnyRegularizer, BoundInit, CHUNK, ConstraintConfig, ConstraintRule, Correction,
    GroupError, Order, Real, Shard, StepRule, all_finite,
    base::{Adam, AdamConfig, Base, Decay, Decayed, Sgd, SgdConfig},
    base_step, constrained_step, measure,
};
use cpr_tests::{
    cases::{Case, Measure},
    noise, oracle,
    path::{Path, Precision},
    tolerance::{TRAJECTORY_F64, Tolerance},
};

const MEASURES: [Measure; 5] =
    [Measure::L2, Measure::L1, Measure::Huber(0.5), Measure::Std, Measure::Lp(1.5)];

fn lengths() -> impl Iterator<Item = usize> {
    let around = [CHUNK, 2 * CHUNK, 3 * CHUNK].into_iter().flat_map(|m| m - 3..=m + 3);
    (0..=130).chain(around).chain([CHUNK - 17, CHUNK + 16])
}

#[test]
fn every_length_follows_the_oracle() {
    for n in lengths() {
        for (index, measure) in MEASURES.into_iter().enumerate() {
            if n == 1 && measure == Measure::Std {
                continue;
            }
            let bound = if measure == Measure::Std {
                BoundInit::Uniform(0.1)
            } else {
                BoundInit::UniformPerElement(0.03)
            };
            let order = [Order::AfterBase, Order::BeforeBase][(index + n) % 2];
            let case = Case { order, n, steps: 4, ..Case::new("length", measure, bound) };
            let run = f64::run(&case, Path::Whole);
            let mut expected = oracle::Oracle::new(&case, case.initial());
            for t in 1..=case.steps {
                expected.step(&case.gradient::<f64>(t), case.lr_at(t));
            }
            for (&a, &b) in run.theta.iter().zip(&expected.theta) {
                assert!(TRAJECTORY_F64.holds(a, b), "{measure:?}, n = {n}: {a} {b}");
            }
            let last = run.reports.last().unwrap();
            assert!(TRAJECTORY_F64.holds(last.lambda, expected.scalars.lambda), "n = {n}");
            assert_eq!(last.elements, n as u64);
        }
    }
}

/// Elements beyond the first are other matrices: a longer slice does not change what stands before it.
#[test]
fn the_tail_of_a_block_is_like_its_body() {
    let sgd = Sgd::new(SgdConfig::default()).unwrap();
    let (theta, grad) = (noise::vector(3, 64), noise::vector(4, 64));
    let run = |n: usize| {
        let mut part = theta[..n].to_vec();
        base_step(&sgd.at(1, 0.1), Shard::new(&mut part, &grad[..n], []).unwrap());
        part
    };
    let whole = run(64);
    for n in 0..64 {
        assert_eq!(run(n), whole[..n]);
    }
}

#[test]
fn no_elements_is_the_identity() {
    for measure in MEASURES {
        for bound in [BoundInit::Uniform(0.0), BoundInit::Dependent(2.0), BoundInit::WarmStart(1)] {
            let case = Case { n: 0, steps: 5, ..Case::new("empty", measure, bound) };
            for path in Path::ALL {
                let run = f32::run(&case, path);
                let last = run.reports.last().unwrap();
                assert_eq!((last.lambda, last.non_finite, last.active_steps), (0.0, 0, 0));
                assert_eq!(last.step, 5);
            }
        }
    }
}

#[test]
fn what_cannot_start_says_so() {
    let start = |measure: Measure, bound, theta: &[f32]| {
        let config = ConstraintConfig::new(measure.regularizer(), bound);
        ConstraintRule::new(config).unwrap().start_from(theta).err()
    };
    let few = Some(GroupError::TooFewElements { given: 1, limit: 2 });
    assert_eq!(start(Measure::Std, BoundInit::Uniform(1.0), &[1.0]), few);
    let zero = Some(GroupError::DependentOnZero);
    for measure in MEASURES {
        assert_eq!(start(measure, BoundInit::Dependent(0.5), &[0.0, -0.0, 0.0]), zero);
        assert_eq!(start(measure, BoundInit::WarmStart(3), &[0.0; 3]), None);
    }
    assert_eq!(start(Measure::Std, BoundInit::Dependent(0.5), &[0.25; 5000]), zero);
    let bad = start(Measure::L2, BoundInit::Dependent(0.5), &[f32::NAN, 1.0]);
    assert!(matches!(bad, Some(GroupError::NonFinite { .. })));
    let zero_steps = ConstraintConfig::new(cpr_core::L2, BoundInit::WarmStart(0));
    assert!(ConstraintRule::new(zero_steps).is_err());
}

/// p <= 1 needs `BeforeBase`, by the design; p = 1 as a regularizer is l1, which does not.
#[test]
fn a_power_of_at_most_one_needs_before_base() {
    for p in [0.3, 0.999, 1.0] {
        let lp = cpr_core::Lp::new(p).unwrap();
        let config = ConstraintConfig::new(lp, BoundInit::Uniform(1.0));
        assert_eq!(config.order, Order::BeforeBase, "p = {p}");
        assert!(ConstraintRule::new(config).is_ok());
        let after = ConstraintConfig { order: Order::AfterBase, ..config };
        assert!(ConstraintRule::new(after).is_err(), "p = {p}");
    }
    let l1 = ConstraintConfig::new(AnyRegularizer::lp(1.0).unwrap(), BoundInit::Uniform(1.0));
    assert!(l1.order == Order::AfterBase && ConstraintRule::new(l1).is_ok());
}

/// R alone is not finite: no correction, λ and κ stay, the step is counted; afterwards all goes on.
fn non_finite_value<T: Precision>(poison: T) {
    let base = Sgd::new(SgdConfig::default()).unwrap();
    let grad = vec![T::from_f64(0.01); 40];
    let all = [Order::AfterBase, Order::BeforeBase].map(|order| MEASURES.map(|m| (m, order)));
    for (measure, order) in all.into_iter().flatten() {
        let mut theta: Vec<T> = noise::vector(9, 40).into_iter().map(T::from_f64).collect();
        let config = ConstraintConfig {
            order,
            adaptive: Adaptive::WhileInactive,
            ..ConstraintConfig::new(measure.regularizer(), BoundInit::Uniform(0.1))
        };
        let mut constraint = ConstraintRule::new(config).unwrap().start_from(&theta).unwrap();
        let scalars = base.at(1, 0.1);
        let view = Shard::new(&mut theta, &grad, []).unwrap();
        constrained_step(&mut constraint, &scalars, 0.1, view);
        let healthy = constraint.report();
        assert!(healthy.lambda > 0.0 && healthy.non_finite == 0);

        let kept = theta[17];
        theta[17] = poison;
        // `BeforeBase` carries R, and has to be told.
        constraint.reobserve(&measure_of(measure, &theta));
        let mut expected = theta.clone();
        base_step(&scalars, Shard::new(&mut expected, &grad, []).unwrap());
        let view = Shard::new(&mut theta, &grad, []).unwrap();
        constrained_step(&mut constraint, &scalars, 0.1, view);
        let poisoned = constraint.report();
        assert_eq!(poisoned.non_finite, 1, "{measure:?} {order:?}");
        assert_eq!((poisoned.lambda, poisoned.kappa), (healthy.lambda, healthy.kappa));
        assert_eq!(poisoned.active_steps, healthy.active_steps);
        for (i, (a, b)) in theta.iter().zip(&expected).enumerate() {
            assert!(i == 17 || a == b, "{measure:?} {order:?}: element {i}");
        }

        theta[17] = kept;
        constraint.reobserve(&measure_of(measure, &theta));
        let view = Shard::new(&mut theta, &grad, []).unwrap();
        constrained_step(&mut constraint, &scalars, 0.1, view);
        let cured = constraint.report();
        assert!(cured.lambda != healthy.lambda && cured.non_finite == 1, "{measure:?} {order:?}");
    }
}

fn measure_of<T: Real>(kind: Measure, theta: &[T]) -> cpr_core::Statistic {
    measure(&kind.regularizer(), theta)
}

#[test]
fn a_value_that_is_not_finite_changes_nothing_in_f32() {
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        non_finite_value(poison);
    }
}

#[test]
fn a_value_that_is_not_finite_changes_nothing_in_f64() {
    for poison in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        non_finite_value(poison);
    }
}

/// One step on θ at rest (gradient 0), λ as large as `mu` makes it.
fn one<T: Real>(config: ConstraintConfig<AnyRegularizer>, theta: &mut [T]) -> cpr_core::Report {
    let sgd = Sgd::new(SgdConfig::default()).unwrap();
    let mut constraint = ConstraintRule::new(config).unwrap().start_from(theta).unwrap();
    let grad = vec![T::ZERO; theta.len()];
    let shard = Shard::new(theta, &grad, []).unwrap();
    constrained_step(&mut constraint, &sgd.at(1, 1.0), 1.0, shard);
    constraint.report()
}

/// Any finite θ and any λ: a guarded or proximal correction gives finite numbers of the same sign, no larger.
fn corrections_stay_in_bounds<T: Real>(numbers: &[f64]) {
    for measure in
        [Measure::L2, Measure::L1, Measure::Huber(0.5), Measure::Lp(1.5), Measure::Lp(4.0)]
    {
        for step_rule in [StepRule::Gradient, StepRule::Proximal] {
            for mu in [1e-300, 1e-30, 1e-3, 1.0, 1e20, 1e60, 1e300] {
                let start: Vec<T> = numbers.iter().map(|&x| T::from_f64(x)).collect();
                let mut theta = start.clone();
                let bound = BoundInit::Uniform(0.0);
                let config = ConstraintConfig {
                    mu,
                    step_rule,
                    ..ConstraintConfig::new(measure.regularizer(), bound)
                };
                let report = one(config, &mut theta);
                for (x, y) in start.iter().zip(&theta) {
                    assert!(
                        y.is_finite() && *x * *y >= T::ZERO && y.abs() <= x.abs(),
                        "{measure:?} {step_rule:?} μ = {mu:e}: {x:?} became {y:?}; {report:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn zeros_subnormals_and_huge_numbers_stay_in_bounds_in_f32() {
    corrections_stay_in_bounds::<f32>(&[0.0, -0.0, 1.0, -3.0, 1e-40, -1e-45, 1e-20]);
    corrections_stay_in_bounds::<f32>(&[0.0, -0.0, 1.0, -3e38, 3.4e38, 1e30, 1e-40]);
}

#[test]
fn zeros_subnormals_and_huge_numbers_stay_in_bounds_in_f64() {
    corrections_stay_in_bounds::<f64>(&[0.0, -0.0, 1.0, -3.0, 1e-310, -5e-324, 1e-200]);
    corrections_stay_in_bounds::<f64>(&[0.0, -0.0, 1.0, -1e60, 1e70, 1e30, 1e-310]);
}

/// A step of the p-norm that is 0 in f32, but not in f64, leaves zeros at zero and all else as it is.
#[test]
fn a_power_step_that_rounds_to_zero_is_no_division_of_zero_by_zero() {
    let start = [0.0f32, -0.0, 1.0, -3.0, 1e-20, 3e38];
    // 3e38 to the power of 62 overflows: no more than a strength of 0 may come of it.
    for p in [0.8, 1.0, 1.3, 2.0, 2.5, 64.0] {
        for step in [1e-60, 0.0] {
            let mut theta = start;
            Correction::Power { p, step, flush: true }.apply(&mut theta);
            assert_eq!(theta, start, "p = {p}, ℓ = {step:e}");
        }
    }
    // X is that of θ before the step, which may have moved away from zero.
    let padam = Decay::PNorm { p: 0.8, lambda: 1e-60, late: false, flush: true };
    let base = Decayed::new(Sgd::new(SgdConfig::default()).unwrap(), padam).unwrap();
    let (mut theta, grad) = ([0.0f32, 1.0], [-1.0f32, 0.0]);
    base_step(&base.at(1, 0.5), Shard::new(&mut theta, &grad, []).unwrap());
    assert_eq!(theta, [0.0, 1.0]);
}

/// The guard lands on R = κ; in f32 too, where κ/R is small.
#[test]
fn the_guard_lands_on_the_bound() {
    for (measure, n) in [(Measure::L2, 64), (Measure::Std, 64)] {
        for ratio in [0.5, 1e-2, 1e-6] {
            let start: Vec<f32> = noise::vector(8, n).into_iter().map(|x| x as f32).collect();
            let before = measure_of(measure, &start);
            let value = measure.regularizer().value_of(&before);
            let kappa = ratio * value;
            let mut theta = start.clone();
            let config = ConstraintConfig {
                mu: 1e6,
                ..ConstraintConfig::new(measure.regularizer(), BoundInit::Uniform(kappa))
            };
            let report = one(config, &mut theta);
            assert_eq!((report.guarded, report.lambda), (1, 0.0));
            let landed = measure.regularizer().value_of(&measure_of(measure, &theta));
            // θ is rounded to f32 at its size before the landing: R of l2 is a square, that of std is not.
            let limit = match measure {
                Measure::Std => 1e-6 * kappa + 2.0 * 6e-8 * value,
                _ => 1e-6 * kappa + 2.0 * 6e-8 * (kappa * value).sqrt(),
            };
            assert!(
                (landed - kappa).abs() <= limit,
                "{measure:?}, κ/R = {ratio:e}: R = {landed:e}, κ = {kappa:e}"
            );
        }
    }
}

trait ValueOf {
    fn value_of(&self, statistic: &cpr_core::Statistic) -> f64;
}

impl ValueOf for AnyRegularizer {
    fn value_of(&self, statistic: &cpr_core::Statistic) -> f64 {
        cpr_core::Regularizer::value(self, statistic)
    }
}

/// The decays of a base step on huge weights: finite, no larger, of the same sign, and not lost.
fn decays_stay_in_bounds<T: Real>(largest: f64) {
    let adam = Adam::new(AdamConfig::default()).unwrap();
    let p_norm = |p, late| Decay::PNorm { p, lambda: 1e-30, late, flush: true };
    let decays = [
        p_norm(0.5, false),
        p_norm(1.5, true),
        p_norm(2.0, false),
        Decay::L1 { lambda: 1e-3, weight_decay: 1e-3 },
        Decay::ThreeHalves { lambda: 1e-3 },
        Decay::ThreeHalves { lambda: 1e-30 },
    ];
    for decay in decays {
        let base = Decayed::new(adam, decay).unwrap();
        let start = [1.0, 0.5, -0.3, 0.26, 0.0, -0.1].map(|x| T::from_f64(x * largest));
        let (mut theta, grad) = (start, [T::ZERO; 6]);
        let (mut m, mut v) = ([T::ZERO; 6], [T::ZERO; 6]);
        let shard = Shard::new(&mut theta, &grad, [&mut m, &mut v]).unwrap();
        base_step(&base.at(1, 1e-3), shard);
        for (&x, &y) in start.iter().zip(&theta) {
            let (x, y) = (x.to_f64(), y.to_f64());
            assert!((x - y).abs() <= 1e-5 * x.abs(), "{decay:?}: {x:e} became {y:e}");
        }
    }
    // A power that overflows times a strength that rounds to zero.
    let decay = Decay::PNorm { p: 5.0, lambda: 1e-320, late: false, flush: true };
    let base = Decayed::new(adam, decay).unwrap();
    let (mut theta, mut m, mut v) = ([T::from_f64(largest)], [T::ZERO], [T::ZERO]);
    let grad = [T::ZERO];
    let shard = Shard::new(&mut theta, &grad, [&mut m, &mut v]).unwrap();
    base_step(&base.at(1, 1e-3), shard);
    assert!(theta[0].is_finite(), "{:?}", theta[0]);
}

#[test]
fn decays_of_huge_weights_stay_in_bounds() {
    decays_stay_in_bounds::<f32>(3.4e38);
    decays_stay_in_bounds::<f64>(1.7e308);
}

#[test]
fn all_finite_sees_every_place() {
    for n in (0..70).chain([CHUNK, CHUNK + 1]) {
        let mut values = vec![1.0f32; n];
        assert!(all_finite(&values));
        for place in [0, n / 3, n / 2, n.saturating_sub(1)] {
            if place < n {
                for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    values[place] = poison;
                    assert!(!all_finite(&values), "{poison} at {place} of {n}");
                }
                values[place] = 1.0;
            }
        }
    }
    assert!(all_finite(&[f32::MAX, f32::MIN, 1e-45, -0.0]));
}

/// Equality of the distances used above: they would hide a NaN otherwise.
#[test]
fn a_nan_is_far_from_everything_but_itself() {
    assert_eq!(Tolerance::distance(f64::NAN, 1.0), f64::INFINITY);
    assert_eq!(Tolerance::distance(1.0, f64::NAN), f64::INFINITY);
    assert_eq!(Tolerance::distance(f64::NAN, f64::NAN), 0.0);
}
