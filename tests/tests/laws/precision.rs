//! Where little is left of a matrix, it keeps its digits; what cannot be measured moves nothing.

use cpr_core::{
    AnyRegularizer, BoundInit, Constraint, ConstraintConfig, ConstraintRule, Correction,
    DecodeError, ENCODED_LEN, GroupError, L2, Merge, Observed, Order, Regularizer, Shard,
    Statistic, Std, StepRule,
    base::{Adam, AdamConfig, Base, Decay, Decayed, Sgd, SgdConfig},
    constrained_step, measure,
};

fn wave(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn constraint(
    config: ConstraintConfig<AnyRegularizer>,
    theta: &[f32],
) -> Constraint<AnyRegularizer> {
    ConstraintRule::new(config).unwrap().start_from(theta).unwrap()
}

/// A step that leaves θ to the constraint alone: lr = 0.
fn still(constraint: &mut Constraint<AnyRegularizer>, theta: &mut [f32]) {
    let grad = vec![0.0; theta.len()];
    let sgd = Sgd::new(SgdConfig::default()).unwrap();
    constrained_step(constraint, &sgd.at(1, 0.0), 0.0, Shard::new(theta, &grad, []).unwrap());
}

#[test]
fn the_prox_keeps_its_digits_for_every_multiplier() {
    for order in [Order::AfterBase, Order::BeforeBase] {
        for mu in [1e-6, 1e-2, 1.0, 1e4, 1e6, 1e9, 1e20] {
            let mut theta = [1.0f32, -0.5, 0.25, 0.125];
            let start = theta;
            let config = ConstraintConfig {
                mu,
                order,
                step_rule: StepRule::Proximal,
                ..ConstraintConfig::new(L2.into(), BoundInit::Uniform(0.0))
            };
            let mut constraint = constraint(config, &theta);
            still(&mut constraint, &mut theta);
            let ell = constraint.report().lambda;
            for (x, x0) in theta.iter().zip(start) {
                let expected = f64::from(x0) / (1.0 + 2.0 * ell);
                let error = (f64::from(*x) - expected).abs();
                assert!(error <= 2e-7 * expected.abs(), "mu {mu}, {order:?}: {x} for {expected}");
            }
        }
    }
}

#[test]
fn the_guard_lands_on_bounds_far_below_in_f32() {
    for regularizer in [AnyRegularizer::from(L2), Std.into()] {
        for ratio in [0.5, 1e-3, 1e-6, 1e-9] {
            let mut theta = wave(64);
            let start = regularizer.value(&measure(&regularizer, &theta));
            let config = ConstraintConfig {
                mu: 1e6,
                ..ConstraintConfig::new(regularizer, BoundInit::Dependent(ratio))
            };
            let mut constraint = constraint(config, &theta);
            still(&mut constraint, &mut theta);
            assert_eq!((constraint.report().guarded, constraint.report().lambda), (1, 0.0));
            let kappa = ratio * start;
            let landed = regularizer.value(&measure(&regularizer, &theta));
            // Deviations are held beside the mean, whose own rounding (0.01 here) is all that is lost.
            let slack = if regularizer == Std.into() { 2e-9 } else { 0.0 };
            assert!(
                (landed - kappa).abs() <= 1e-6 * kappa + slack,
                "{ratio}: {landed} for {kappa}"
            );
        }
    }
}

#[test]
fn a_scale_keeps_the_digits_of_small_factors() {
    for factor in [1.0, 1e-3, 1e-6, 1e-9, 1e-30] {
        let mut theta = [1.0f32, -3.0];
        Correction::Scale { scale: factor, center: 0.0 }.apply(&mut theta);
        for (x, x0) in theta.iter().zip([1.0, -3.0]) {
            let expected = factor * x0;
            assert!(
                (f64::from(*x) - expected).abs() <= 2e-7 * expected.abs(),
                "{x} for {expected}"
            );
        }
    }
}

#[test]
fn a_measure_of_another_matrix_moves_nothing_and_is_counted() {
    let theta = wave(12);
    let config = ConstraintConfig::new(L2.into(), BoundInit::Uniform(0.1));
    for wrong in [measure(&L2, &theta[..11]), measure(&Std, &theta), Statistic::NEUTRAL] {
        let mut constraint = constraint(config, &theta);
        let _pass = constraint.begin(0.1);
        let correction = constraint.update(&Observed { statistic: wrong, stopped: 0 }, 0.1);
        assert_eq!(correction, Correction::Identity);
        let report = constraint.report();
        assert_eq!((report.lambda, report.non_finite), (0.0, 1));
        // And the state still reads back.
        let mut record = [0; ENCODED_LEN];
        constraint.encode(&mut record).unwrap();
        let read = Constraint::<AnyRegularizer>::decode(&record);
        assert!(read.is_ok_and(|read| read.report().non_finite == 1));
    }
    let mut record = [0; ENCODED_LEN];
    constraint(config, &theta).encode(&mut record).unwrap();
    assert_eq!(Constraint::<Std>::decode(&record), Err(DecodeError::Regularizer));
}

#[test]
fn what_would_be_no_bound_or_no_number_is_refused_or_tamed() {
    let start = |factor, x: f32| {
        let config =
            ConstraintConfig::<AnyRegularizer>::new(L2.into(), BoundInit::Dependent(factor));
        ConstraintRule::new(config).unwrap().start_from(&[x])
    };
    let refused = |r| matches!(r, Err(GroupError::DependentOutOfRange { .. }));
    assert!(refused(start(1e308, 10.0)) && refused(start(1e-300, 1e-20)));
    assert!(start(0.8, 1.0).is_ok());
    assert!(AnyRegularizer::lp(64.0).is_ok() && AnyRegularizer::lp(65.0).is_err());
    assert_eq!(BoundInit::for_warmup(500), Ok(BoundInit::WarmStart(1000)));
    assert!(BoundInit::for_warmup(0).is_err());

    // Step 0 counts as step 1.
    let adam = Adam::new(AdamConfig::default()).unwrap();
    assert_eq!(Base::<f32, 2>::at(&adam, 0, 0.1), adam.at(1, 0.1));
    // A decay of strength 0 leaves even −0.
    let idle = Decayed::new(adam, Decay::L1 { lambda: 0.0, weight_decay: 0.0 }).unwrap();
    let (mut theta, mut m, mut v) = ([-0.0f32], [0.0], [0.0]);
    let shard = Shard::new(&mut theta, &[0.0], [&mut m, &mut v]).unwrap();
    cpr_core::base_step(&idle.at(1, 0.1), shard);
    assert!(theta[0].is_sign_negative());
}
