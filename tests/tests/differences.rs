//! What differs from the published code on purpose: one test for each row of docs/DIFFERENCES.md.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test by panicking")]

use cpr_core::{
    Adaptive, AnyRegularizer, Bound, BoundInit, ConfigError, Constraint, ConstraintConfig,
    ConstraintRule, GroupError, Huber, Inflection, L1, L2, Merge, Observed, Order, Regularizer,
    Shard, Statistic, Std, StepRule,
    base::{Adam, AdamConfig, Base, BaseRule, Decay, Decayed, Sgd, SgdConfig},
    base_step, constrained_step, measure,
};

fn constraint<R: Regularizer>(config: ConstraintConfig<R>, theta: &[f64]) -> Constraint<R> {
    ConstraintRule::new(config).unwrap().start_from(theta).unwrap()
}

fn sgd() -> Sgd {
    Sgd::new(SgdConfig::default()).unwrap()
}

/// One step of SGD at learning rate `lr` along `grad`, under the constraint.
fn descend<R: Regularizer>(own: &mut Constraint<R>, theta: &mut [f64], grad: &[f64], lr: f64) {
    let shard = Shard::new(theta, grad, []).unwrap();
    constrained_step(own, &sgd().at(1, lr), lr, shard);
}

/// One step without a gradient: the correction alone.
fn rest<R: Regularizer>(own: &mut Constraint<R>, theta: &mut [f64]) {
    let grad = vec![0.0; theta.len()];
    descend(own, theta, &grad, 0.1);
}

/// Gives the constraint R of one step after the other; the step at which κ was set.
fn watch(bound: BoundInit, values: &[f64]) -> Option<u64> {
    let mut own = constraint(ConstraintConfig::new(L2, bound), &[1.0]);
    for &total in values {
        let statistic = Statistic::Sum { count: 1, total };
        own.update(&Observed { statistic, stopped: 0 }, 0.1);
    }
    own.bound().set_at()
}

#[test]
fn l1_moves_every_element_by_the_same_step() {
    let mut theta = [3.0, -0.5, 1.0, 0.0];
    let mut own = constraint(ConstraintConfig::new(L1, BoundInit::Uniform(4.1)), &theta);
    rest(&mut own, &mut theta);
    let lambda = (4.5 - 4.1) / 4.0;
    assert_eq!(own.multiplier().get(), lambda);
    assert_eq!(theta, [3.0 - lambda, -0.5 + lambda, 1.0 - lambda, 0.0]);
}

#[test]
fn groups_share_nothing() {
    fn both<R: Regularizer>(regularizer: R) {
        let config = ConstraintConfig::new(regularizer, BoundInit::Dependent(0.8));
        let starts = [[0.3, -1.7, 0.2], [2.5, 0.1, -0.4]];
        let grads = [[0.1, 0.5, -0.2], [-0.9, 0.3, 0.2]];
        let alone = [0, 1].map(|i: usize| {
            let mut theta = starts[i];
            let mut own = constraint(config, &theta);
            (0..9).for_each(|_| descend(&mut own, &mut theta, &grads[i], 0.05));
            (theta, own)
        });
        let mut thetas = starts;
        let mut owns = starts.map(|theta| constraint(config, &theta));
        for _ in 0..9 {
            for i in 0..2 {
                descend(&mut owns[i], &mut thetas[i], &grads[i], 0.05);
            }
        }
        assert_eq!([(thetas[0], owns[0]), (thetas[1], owns[1])], alone);
        assert!(owns.iter().any(|own| own.report().active_steps > 0));
    }
    both(AnyRegularizer::from(L2));
    both(AnyRegularizer::from(L1));
    both(AnyRegularizer::from(Std));
    both(AnyRegularizer::from(Huber::default()));
}

#[test]
fn nothing_is_penalised_before_kappa_is_set() {
    let start = [50.0, -60.0, 30.0];
    for bound in [BoundInit::WarmStart(50), BoundInit::Inflection(Inflection::every(20))] {
        let (mut theta, mut plain) = (start, start);
        let mut own = constraint(ConstraintConfig::new(L2, bound), &theta);
        for _ in 0..40 {
            let grad = [-0.1, 0.1, 0.3];
            descend(&mut own, &mut theta, &grad, 0.1);
            base_step(&sgd().at(1, 0.1), Shard::new(&mut plain, &grad, []).unwrap());
        }
        assert!(own.report().value > 1000.0);
        assert_eq!((own.bound().kappa(), own.multiplier().get()), (None, 0.0));
        assert_eq!(theta.map(f64::to_bits), plain.map(f64::to_bits));
    }
}

#[test]
fn a_bound_of_1000_is_a_bound() {
    let mut theta = [10.0; 10];
    let mut own = constraint(ConstraintConfig::new(L2, BoundInit::WarmStart(1)), &theta);
    rest(&mut own, &mut theta);
    assert_eq!(own.bound(), Bound::Set { kappa: 1000.0, at: 1 });
    theta[0] = 10.01;
    rest(&mut own, &mut theta);
    assert!(own.multiplier().get() > 0.0);

    // So is one that an inflection sets: R rises by 100, 90, and stands at 1000.
    assert_eq!(
        watch(BoundInit::Inflection(Inflection::every(1)), &[810.0, 910.0, 1000.0]),
        Some(3)
    );
}

#[test]
fn the_smoothing_of_inflection_is_remembered() {
    let values = [1.0, 2.0, 3.0, 3.5];
    let plain = Inflection::every(1);
    // What the published code does, which forgets its average: Δ²(0.1·R) < 0 where Δ²R < 0.
    assert_eq!(watch(BoundInit::Inflection(plain), &values), Some(4));
    let smooth = Inflection { smoothing: Some(0.9), ..plain };
    assert_eq!(watch(BoundInit::Inflection(smooth), &values), None);
}

#[test]
fn inflection_samples_at_its_interval() {
    // R rises ever faster, but for a dip at t = 5.
    let mut values: Vec<f64> = (1..=12).map(|t| f64::from(t * t)).collect();
    values[4] = 20.0;
    assert_eq!(watch(BoundInit::Inflection(Inflection::every(1)), &values), Some(5));
    assert_eq!(watch(BoundInit::Inflection(Inflection::every(2)), &values), None);
    let burn_in = Inflection { burn_in: 5, ..Inflection::every(1) };
    // The dip is within the burn-in, but the steps after it are compared with it.
    assert_eq!(watch(BoundInit::Inflection(burn_in), &values), Some(7));
}

#[test]
fn inflection_watches_r_itself() {
    fn set_at<R: Regularizer>(regularizer: R) -> Option<u64> {
        let bound = BoundInit::Inflection(Inflection::every(1));
        let mut own = constraint(ConstraintConfig::new(regularizer, bound), &[1.0]);
        for t in 1..=9 {
            // |θ| rises ever slower, θ² ever faster.
            let statistic = measure(&regularizer, &[f64::from(t).powf(0.75)]);
            own.update(&Observed { statistic, stopped: 0 }, 0.1);
        }
        own.bound().set_at()
    }
    assert_eq!((set_at(L1), set_at(L2)), (Some(3), None));
}

#[test]
fn no_correction_turns_a_sign_with_the_guard() {
    fn signs<R: Regularizer>(regularizer: R, guard: bool, mu: f64) -> (bool, Constraint<R>) {
        let start = [3.0, -2.0, 2.5, -4.0];
        let mut theta = start;
        let config = ConstraintConfig {
            mu,
            guard,
            ..ConstraintConfig::new(regularizer, BoundInit::Uniform(0.5))
        };
        let mut own = constraint(config, &theta);
        rest(&mut own, &mut theta);
        (theta.iter().zip(start).all(|(after, before)| after * before >= 0.0), own)
    }
    // From steps that just cross zero to steps far beyond it.
    for mu in (0..60).map(|i| 0.01 * 1.15f64.powi(i)) {
        assert!(signs(L2, true, mu).0, "l2, mu = {mu}");
        assert!(signs(L1, true, mu).0, "l1, mu = {mu}");
        assert!(signs(Huber::default(), true, mu).0, "huber, mu = {mu}");
        assert!(signs(Std, true, mu).0, "std, mu = {mu}");
    }
    // The published code.
    assert!(!signs(L2, false, 10.0).0 && !signs(L1, false, 10.0).0);
    assert!(!signs(Huber::default(), false, 10.0).0 && !signs(Std, false, 10.0).0);
    let (_, landed) = signs(L2, true, 10.0);
    assert_eq!((landed.multiplier().get(), landed.report().guarded), (0.0, 1));
}

#[test]
fn far_above_the_bound_nothing_diverges() {
    let far = |guard| {
        let mut theta = [1.6; 12];
        let bound = BoundInit::Uniform(0.1);
        let config = ConstraintConfig { guard, ..ConstraintConfig::new(L2, bound) };
        let mut own = constraint(config, &theta);
        let mut largest = 0.0f64;
        for _ in 0..12 {
            rest(&mut own, &mut theta);
            largest = largest.max(theta[0].abs());
        }
        largest
    };
    assert!(far(true) <= 1.6);
    assert!(far(false) > 1e100);
}

#[test]
fn a_non_finite_r_changes_nothing() {
    for broken in [f64::NAN, f64::INFINITY, 1e200] {
        let mut theta = [1.0, 2.0];
        let mut own = constraint(ConstraintConfig::new(L2, BoundInit::Uniform(4.0)), &theta);
        rest(&mut own, &mut theta);
        let (lambda, kappa) = (own.multiplier(), own.bound());
        assert!(lambda.get() > 0.0);
        let mut theta = [1.0, broken];
        rest(&mut own, &mut theta);
        assert_eq!((own.multiplier(), own.bound()), (lambda, kappa));
        assert_eq!(own.report().non_finite, 1);
        assert_eq!(theta[0], 1.0);
    }
}

#[test]
fn two_shards_have_the_r_of_the_whole() {
    let whole: Vec<f64> = (0..600).map(|i| f64::from(i).sin() + f64::from(i) / 300.0).collect();
    let (a, b) = whole.split_at(256);
    for regularizer in [L2.into(), L1.into(), Std.into(), Huber::default().into()] {
        let regularizer: AnyRegularizer = regularizer;
        let value = |s: &Statistic| regularizer.value(s);
        let expected = value(&measure(&regularizer, &whole));
        let (a, b) = (measure(&regularizer, a), measure(&regularizer, b));
        let merged = value(&a.merge(b));
        assert!((merged - expected).abs() <= 1e-14 * expected, "{regularizer:?}");
        assert!((value(&a) + value(&b) - expected).abs() > 1e-3 || regularizer.is_sum());
    }
}

#[test]
fn lambda_and_kappa_are_f64_for_f32_parameters() {
    let mut theta = [0.1f32, 0.7, -0.3];
    let config = ConstraintConfig::new(L2, BoundInit::WarmStart(1));
    let mut own = ConstraintRule::new(config).unwrap().start_from(&theta).unwrap();
    for _ in 0..2 {
        let grad = [-1.0f32; 3];
        let shard = Shard::new(&mut theta, &grad, []).unwrap();
        constrained_step(&mut own, &sgd().at(1, 0.01), 0.01, shard);
    }
    let kappa = own.bound().kappa().unwrap();
    let lambda = own.multiplier().get();
    assert!(lambda > 0.0);
    for number in [kappa, lambda] {
        let single: f32 = format!("{number}").parse().unwrap();
        assert_ne!(f64::from(single), number);
    }
}

#[test]
fn a_warm_start_of_no_steps_is_refused() {
    let refused = |bound| ConstraintRule::new(ConstraintConfig::new(L2, bound)).err();
    let zero = Some(ConfigError::ZeroSteps { option: "warm_start" });
    assert_eq!(refused(BoundInit::WarmStart(0)), zero);
    assert_eq!(BoundInit::warm_start_multiple(2.0, 0).err(), zero);
    // A fraction of the warm-up is a whole number of steps.
    assert_eq!(BoundInit::warm_start_multiple(1.5, 33), Ok(BoundInit::WarmStart(50)));
}

#[test]
fn each_group_counts_its_own_steps() {
    let config = ConstraintConfig::new(L2, BoundInit::WarmStart(3));
    let (mut early, mut late) = ([1.0, 2.0], [1.0, 2.0]);
    let (mut first, mut second) = (constraint(config, &early), constraint(config, &late));
    for t in 1..=6 {
        rest(&mut first, &mut early);
        if t > 2 {
            rest(&mut second, &mut late);
        }
        assert_eq!(first.bound().kappa().is_some(), t >= 3);
        assert_eq!(second.bound().kappa().is_some(), t >= 5);
    }
}

#[test]
fn a_standard_deviation_is_never_nan() {
    let rule = ConstraintRule::new(ConstraintConfig::new(Std, BoundInit::Uniform(0.1))).unwrap();
    assert_eq!(
        rule.start_from(&[1.0]).err(),
        Some(GroupError::TooFewElements { given: 1, limit: 2 })
    );
    let mut theta = [0.0; 4];
    let config =
        ConstraintConfig { guard: false, ..ConstraintConfig::new(Std, BoundInit::Uniform(0.0)) };
    let mut own = constraint(config, &theta);
    rest(&mut own, &mut theta);
    assert_eq!(theta, [0.0; 4]);
    // Also with λ > 0.
    let mut spread = [1.0, 2.0, 3.0, 4.0];
    rest(&mut own, &mut spread);
    assert!(own.multiplier().get() > 0.0);
    rest(&mut own, &mut theta);
    assert_eq!(theta, [0.0; 4]);
}

/// θ after one Adam step with this decay, from `start` along zero gradients.
fn decayed(decay: Decay, start: [f64; 3]) -> [f64; 3] {
    let adam = Adam::new(AdamConfig::default()).unwrap();
    stepped(&Decayed::new(adam, decay).unwrap().at(1, 0.1), start)
}

fn stepped<S: BaseRule<f64, 2>>(step: &S, mut theta: [f64; 3]) -> [f64; 3] {
    let (mut m, mut v) = ([0.0; 3], [0.0; 3]);
    base_step(step, Shard::new(&mut theta, &[0.0; 3], [&mut m, &mut v]).unwrap());
    theta
}

#[test]
fn p_norm_decay_is_a_number_at_zero() {
    for p in [0.5, 1.0, 2.0, 2.5, 3.0] {
        for late in [false, true] {
            let decay = Decay::PNorm { p, lambda: 0.3, late, flush: true };
            let [zero, small, one] = decayed(decay, [0.0, 1e-3, -1.0]);
            assert_eq!(zero, 0.0, "p = {p}");
            assert!((0.0..1e-3).contains(&small), "p = {p}: {small}");
            let expected = -1.0 / (1.0 + p * 0.1 * 0.3);
            assert!((one - expected).abs() < 1e-15, "p = {p}: {one} {expected}");
        }
    }
}

#[test]
fn three_halves_decay_of_no_strength_is_the_identity() {
    let start = [0.0, 1e-3, -1.0];
    assert_eq!(decayed(Decay::ThreeHalves { lambda: 0.0 }, start), start);
}

#[test]
fn subnormal_weights_become_zero_unless_kept() {
    let start = [1e-310, -1e-310, 1.0];
    let after = |flush| decayed(Decay::PNorm { p: 1.0, lambda: 0.0, late: true, flush }, start);
    // Without strength nothing is touched at all.
    assert_eq!(after(true), start);
    let p2 = |flush| decayed(Decay::PNorm { p: 2.0, lambda: 0.3, late: true, flush }, start);
    assert_eq!(p2(true)[..2], [0.0, 0.0]);
    assert!(p2(false)[0] > 0.0 && p2(false)[1] < 0.0);
}

#[test]
fn a_multiple_of_nothing_is_refused() {
    let dependent = ConstraintConfig::new(L2, BoundInit::Dependent(0.8));
    let refused = ConstraintRule::new(dependent).unwrap().start_from(&[0.0f64; 6]).err();
    assert_eq!(refused, Some(GroupError::DependentOnZero));
    assert!(refused.unwrap().to_string().contains("uniform, warm_start or inflection"));
}

#[test]
fn a_warm_start_sets_kappa_at_its_own_step() {
    assert_eq!(watch(BoundInit::WarmStart(4), &[1.0, 2.0, 3.0, 4.0, 5.0]), Some(4));
    // The first published wrapper counts from 0.
    assert_eq!(watch(BoundInit::WarmStart(4 + 1), &[1.0, 2.0, 3.0, 4.0, 5.0]), Some(5));
}

#[test]
fn an_adaptive_bound_falls_on_release_only() {
    let kappas = |adaptive| {
        let bound = BoundInit::Uniform(1.0);
        let mut own =
            constraint(ConstraintConfig { adaptive, ..ConstraintConfig::new(L2, bound) }, &[1.0]);
        [0.9, 1.5, 0.4, 0.3, 0.2].map(|total| {
            let statistic = Statistic::Sum { count: 1, total };
            own.update(&Observed { statistic, stopped: 0 }, 0.1);
            own.bound().kappa()
        })
    };
    assert_eq!(kappas(Adaptive::Off), [1.0; 5].map(Some));
    assert_eq!(kappas(Adaptive::OnRelease), [1.0, 1.0, 0.4, 0.4, 0.4].map(Some));
    // The first published code.
    assert_eq!(kappas(Adaptive::WhileInactive), [1.0, 1.0, 0.4, 0.3, 0.2].map(Some));
}

#[test]
fn a_bound_is_on_r_unless_it_is_given_per_element() {
    let kappa = |bound| constraint(ConstraintConfig::new(L2, bound), &[1.0; 8]).bound().kappa();
    assert_eq!(kappa(BoundInit::Uniform(0.5)), Some(0.5));
    assert_eq!(kappa(BoundInit::UniformPerElement(0.5)), Some(4.0));
}

#[test]
fn what_the_library_does_where_nothing_is_said() {
    assert_eq!(BoundInit::for_warmup(5), Ok(BoundInit::WarmStart(10)));
    assert!(BoundInit::for_warmup(0).is_err(), "without a warm-up the user chooses");
    let config = ConstraintConfig::new(L2, BoundInit::WarmStart(10));
    assert_eq!((config.mu, config.guard, config.scale_by_lr), (1.0, true, false));
    assert_eq!((config.order, config.step_rule), (Order::AfterBase, StepRule::Gradient));
    assert_eq!(config.adaptive, Adaptive::Off);
}

#[test]
fn the_page_and_the_tests_name_each_other() {
    let page = include_str!("../../docs/DIFFERENCES.md");
    let source = include_str!("differences.rs");
    let named: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_suffix("` |"))
        .map(|line| line.rsplit('`').next().unwrap())
        .collect();
    assert!(named.len() > 20);
    for name in named {
        assert!(source.contains(&format!("#[test]\nfn {name}()")), "no test {name}");
    }
}
