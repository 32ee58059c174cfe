//! Laws on random inputs. `PROPTEST_CASES` sets how many.

use cpr_core::{
    AnyRegularizer, BoundInit, ConstraintConfig, ConstraintRule, Correction, Shard, StepRule,
    base::{Base, Sgd, SgdConfig},
    constrained_step,
};
use cpr_tests::{
    cases::{Case, Measure, table},
    fuzzing, noise, oracle,
    path::{Path, Precision},
    tolerance::{CUT_AT_OUTLIERS, SINGLE_STEP},
};
use proptest::{collection::vec, prelude::*};

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(64), failure_persistence: None, ..Default::default() }
}

fn measures() -> impl Strategy<Value = Measure> {
    prop_oneof![
        Just(Measure::L2),
        Just(Measure::L1),
        Just(Measure::Std),
        (0.05f64..3.0).prop_map(Measure::Huber),
    ]
}

/// Any case of the table with other sizes, rates and lengths.
fn cases() -> impl Strategy<Value = Case> {
    let all = table();
    (0..all.len(), 2usize..90, -2.0f64..0.5, 0.2f64..2.0, 1u64..8).prop_map(
        move |(index, n, mu, lr, steps)| {
            let case = all[index].clone();
            Case { n, mu: case.mu * 10f64.powf(mu), lr: case.lr * lr, steps, ..case }
        },
    )
}

/// The proximal step of ℓR on θ, as the crate does it: one step of a constraint at a gradient of zero.
fn prox(regularizer: AnyRegularizer, theta: &[f64], ell: f64) -> Vec<f64> {
    let value = cpr_core::Regularizer::value(&regularizer, &cpr_core::measure(&regularizer, theta));
    let n = if cpr_core::Regularizer::is_sum(&regularizer) { theta.len() as f64 } else { 1.0 };
    let config = ConstraintConfig {
        mu: ell * n / value,
        step_rule: StepRule::Proximal,
        ..ConstraintConfig::new(regularizer, BoundInit::Uniform(0.0))
    };
    let mut theta = theta.to_vec();
    let mut constraint = ConstraintRule::new(config).unwrap().start_from(&theta).unwrap();
    let grad = vec![0.0; theta.len()];
    let sgd = Sgd::new(SgdConfig::default()).unwrap();
    let shard = Shard::new(&mut theta, &grad, []).unwrap();
    constrained_step(&mut constraint, &sgd.at(1, 1.0), 1.0, shard);
    theta
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_split_merges_to_one_pass(
        kind in prop_oneof![measures(), (0.2f64..3.5).prop_map(Measure::Lp)],
        theta in vec(prop_oneof![-1e3f64..1e3, -1e-3f64..1e-3, Just(0.0)], 0..300),
        seed in any::<u64>(),
        cuts in 0usize..9,
    ) {
        fuzzing::check_splits(kind, &theta, seed >> 8, cuts, CUT_AT_OUTLIERS);
        let narrow: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
        fuzzing::check_splits(kind, &narrow, seed >> 8, cuts, CUT_AT_OUTLIERS);
    }

    #[test]
    fn a_few_steps_of_any_case_follow_the_oracle(case in cases()) {
        let run = f64::run(&case, Path::Whole);
        let mut expected = oracle::Oracle::new(&case, case.initial());
        let mut largest = 1.0f64;
        for t in 1..=case.steps {
            expected.step(&case.gradient::<f64>(t), case.lr_at(t));
            largest = expected.theta.iter().fold(largest, |top, x| top.max(x.abs()));
            largest = largest.max(expected.value).max(expected.scalars.lambda);
        }
        let limit = SINGLE_STEP.limit * largest * largest;
        let last = run.reports.last().unwrap();
        prop_assert!((last.lambda - expected.scalars.lambda).abs() <= limit, "{case:?}");
        for (a, b) in run.theta.iter().zip(&expected.theta) {
            prop_assert!((a - b).abs() <= limit, "{case:?}: {a} {b}");
        }
    }

    #[test]
    fn who_runs_the_chunks_changes_no_bit(case in cases(), extra in 0usize..9000, way in 1usize..4) {
        let case = Case { n: case.n + extra, steps: 2, ..case };
        prop_assert_eq!(
            f32::run(&case, Path::ALL[way]).bits(),
            f32::run(&case, Path::Whole).bits()
        );
    }

    /// The proximal step minimises ½‖z − θ‖² + ℓR(z): no nearby z is better.
    #[test]
    fn the_proximal_step_is_the_prox(
        measure in measures(),
        theta in vec(-3.0f64..3.0, 2..9),
        log_ell in -3.0f64..1.0,
        seed in any::<u64>(),
    ) {
        prop_assume!(oracle::value(measure, &theta) > 1e-3);
        let ell = 10f64.powf(log_ell);
        let z = prox(measure.regularizer(), &theta, ell);
        let objective = |z: &[f64]| {
            let distance: f64 = z.iter().zip(&theta).map(|(z, x)| (z - x) * (z - x)).sum();
            distance / 2.0 + ell * oracle::value(measure, z)
        };
        let best = objective(&z);
        for k in 0..20 {
            for size in [1.0, 1e-2, 1e-4] {
                let step = noise::vector(seed.wrapping_add(k), z.len());
                let other: Vec<f64> = z.iter().zip(step).map(|(z, s)| z + size * s).collect();
                prop_assert!(objective(&other) >= best - 1e-11 * best.max(1.0), "{measure:?}");
            }
        }
    }

    #[test]
    fn the_proximal_step_is_nonexpansive(
        pairs in vec((-5.0f64..5.0, -5.0f64..5.0), 1..40),
        ell in 0.0f64..20.0,
    ) {
        for correction in [
            Correction::Pull { rate: 2.0 * ell / (1.0 + 2.0 * ell), center: 0.0, proximal: true },
            Correction::SoftThreshold { threshold: ell },
            Correction::HuberProx { step: ell, delta: 0.7 },
        ] {
            let (mut a, mut b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            correction.apply(&mut a);
            correction.apply(&mut b);
            for ((a, b), (x, y)) in a.iter().zip(&b).zip(&pairs) {
                prop_assert!((a - b).abs() <= (x - y).abs() + 1e-15 * 5.0, "{correction:?}");
            }
        }
    }

    #[test]
    fn any_bytes_keep_the_laws_of_a_step(data in vec(any::<u8>(), 0..600)) {
        fuzzing::step(&data);
    }

    #[test]
    fn any_bytes_keep_the_laws_of_merging(data in vec(any::<u8>(), 0..300)) {
        fuzzing::merge(&data);
    }

    #[test]
    fn any_bytes_keep_the_laws_of_the_bound(data in vec(any::<u8>(), 0..300)) {
        fuzzing::bound(&data);
    }
}
