mod baselines;

use std::num::NonZeroUsize;

use cpr_core::{
    BoundInit, ConstraintConfig, ConstraintRule, L2, Order, Shard, Std,
    base::{Adam, AdamConfig, Base, Decay, Decayed, Sgd, SgdConfig},
    constrained_step,
};

use super::*;
use crate::{checkpoint::Tensors, param::ParamKind};

fn layout() -> ParamLayout {
    ParamLayout::new([
        ("a.weight", vec![130, 70], ParamKind::Matrix),
        ("a.bias", vec![130], ParamKind::Bias),
        ("b.weight", vec![3, 5], ParamKind::Matrix),
        ("c.weight", vec![700, 500], ParamKind::Matrix),
        ("d.weight", vec![64, 64], ParamKind::Embedding),
    ])
    .unwrap()
}

fn spec(regularizer: AnyRegularizer, order: Order) -> OptimizerSpec {
    let adam = BaseSpec::Adam(Adam::new(AdamConfig::default()).unwrap());
    let config =
        ConstraintConfig { order, ..ConstraintConfig::new(regularizer, BoundInit::Dependent(0.9)) };
    OptimizerSpec {
        regularized: adam,
        free: adam,
        constraint: Some(ConstraintRule::new(config).unwrap()),
        decay: DecayRule::Constant,
        rescale: None,
        clip: None,
        lr: 1e-2,
    }
}

fn values(n: usize, t: u64) -> Vec<f32> {
    let wave = |i: usize| ((i as f32) * 0.37 + t as f32).sin();
    (0..n).map(wave).collect()
}

fn run(spec: OptimizerSpec, threads: usize, steps: u64) -> (Vec<f32>, Vec<Report>) {
    let layout = layout();
    let workers = Workers::new(NonZeroUsize::new(threads).unwrap()).unwrap();
    let mut theta = values(layout.len(), 0);
    let mut optimizer =
        Optimizer::new(spec, Grouping { embeddings: true }, &layout, &mut theta).unwrap();
    for t in 1..=steps {
        let mut grads = values(layout.len(), t);
        assert_eq!(
            optimizer.step(&workers, 1e-2, &mut theta, &mut grads).unwrap(),
            Outcome::Stepped
        );
    }
    let reports = optimizer.reports().map(|(_, report)| report).collect();
    (theta, reports)
}

#[test]
fn threads_change_no_bit_and_phases_are_those_of_the_core() {
    for regularizer in [AnyRegularizer::from(L2), AnyRegularizer::from(Std)] {
        for order in [Order::AfterBase, Order::BeforeBase] {
            let spec = spec(regularizer, order);
            let (theta, reports) = run(spec, 1, 8);
            assert!(reports.iter().any(|report| report.active_steps > 0));
            for threads in [2, 3, 8] {
                assert_eq!(run(spec, threads, 8), (theta.clone(), reports.clone()));
            }

            // The same parameter alone, on one thread of the core.
            let layout = layout();
            let range = layout.get("c.weight").unwrap().range.clone();
            let mut alone = values(layout.len(), 0)[range.clone()].to_vec();
            let mut constraint = spec.constraint.unwrap().start_from(&alone).unwrap();
            let BaseSpec::Adam(adam) = spec.regularized else { panic!("adam") };
            let (mut m, mut v) = (vec![0.0; alone.len()], vec![0.0; alone.len()]);
            for t in 1..=8 {
                let grads = values(layout.len(), t);
                let shard =
                    Shard::new(&mut alone, &grads[range.clone()], [&mut m, &mut v]).unwrap();
                constrained_step(&mut constraint, &adam.at(t, 1e-2), 1e-2, shard);
            }
            assert_eq!(alone, theta[range]);
            assert_eq!(constraint.report(), reports[2]);
        }
    }
}

#[test]
fn a_non_finite_gradient_skips_the_step_whole_and_names_the_parameter() {
    let layout = layout();
    let mut theta = values(layout.len(), 0);
    let mut optimizer =
        Optimizer::new(spec(L2.into(), Order::AfterBase), Grouping::default(), &layout, &mut theta)
            .unwrap();
    let before = (theta.clone(), optimizer.state());
    for (name, bad) in [("c.weight", f32::NAN), ("a.bias", f32::NEG_INFINITY)] {
        let mut grads = values(layout.len(), 1);
        grads[layout.get(name).unwrap().range.start + 3] = bad;
        let outcome = optimizer.step(&Workers::inline(), 1e-2, &mut theta, &mut grads).unwrap();
        let Outcome::Skipped { parameter } = outcome else { panic!("skipped") };
        assert_eq!(optimizer.parameter(parameter), Some(name));
    }
    assert_eq!((theta, optimizer.state()), before);
    assert_eq!((optimizer.steps(), optimizer.skipped()), (0, 2));
}

#[test]
fn clipping_holds_the_global_norm_and_rescaling_that_of_the_weights() {
    let layout = layout();
    let sgd = BaseSpec::Sgd(Sgd::new(SgdConfig::default()).unwrap());
    let spec = OptimizerSpec {
        regularized: sgd,
        free: sgd,
        constraint: None,
        decay: DecayRule::Constant,
        rescale: Some(0.5),
        clip: Some(1.0),
        lr: 1e-2,
    };
    let norm = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let mut theta = values(layout.len(), 0);
    let start = norm(&theta);
    let mut optimizer = Optimizer::new(spec, Grouping::default(), &layout, &mut theta).unwrap();
    assert!((norm(&theta) - 0.5 * start).abs() < 1e-3 * start);
    for t in 1..4 {
        let mut grads = values(layout.len(), t);
        optimizer.step(&Workers::inline(), 0.1, &mut theta, &mut grads).unwrap();
        assert!((norm(&grads) - 1.0).abs() < 1e-5);
        assert!((norm(&theta) - 0.5 * start).abs() < 1e-5 * start);
    }
}

#[test]
fn decay_touches_regularized_parameters_only() {
    let layout = layout();
    let adam = Adam::new(AdamConfig::default()).unwrap();
    let decay = Decay::PNorm { p: 1.0, lambda: 1e3, late: true, flush: true };
    let spec = OptimizerSpec {
        regularized: BaseSpec::DecayedAdam(Decayed::new(adam, decay).unwrap()),
        free: BaseSpec::Adam(adam),
        constraint: None,
        decay: DecayRule::Constant,
        rescale: None,
        clip: None,
        lr: 1e-2,
    };
    let mut theta = vec![1.0f32; layout.len()];
    let mut optimizer = Optimizer::new(spec, Grouping::default(), &layout, &mut theta).unwrap();
    let mut grads = vec![0.0; layout.len()];
    optimizer.step(&Workers::inline(), 1e-2, &mut theta, &mut grads).unwrap();
    for param in layout.params() {
        let regularized = Grouping::default().decide(param.kind).regularized;
        assert!(theta[param.range.clone()].iter().all(|&x| (x < 0.5) == regularized), "{param:?}");
    }
}

#[test]
fn a_group_that_cannot_be_bound_is_named() {
    let layout = ParamLayout::new([("scale", vec![1, 1], ParamKind::Matrix)]).unwrap();
    let spec = spec(Std.into(), Order::AfterBase);
    let error = Optimizer::new(spec, Grouping::default(), &layout, &mut [1.0f32]).unwrap_err();
    assert!(error.to_string().contains("`scale`"), "{error}");
}

#[test]
fn clipping_of_a_spike_keeps_its_direction() {
    let layout = layout();
    let sgd = BaseSpec::Sgd(Sgd::new(SgdConfig::default()).unwrap());
    let spec = OptimizerSpec {
        regularized: sgd,
        free: sgd,
        constraint: None,
        decay: DecayRule::Constant,
        rescale: None,
        clip: Some(1.0),
        lr: 1e-2,
    };
    for size in [1e3f32, 1e9, 1e20] {
        let mut theta = values(layout.len(), 0);
        let mut optimizer = Optimizer::new(spec, Grouping::default(), &layout, &mut theta).unwrap();
        let plain = values(layout.len(), 1);
        let norm = plain.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let mut grads: Vec<f32> = plain.iter().map(|x| x * size).collect();
        optimizer.step(&Workers::inline(), 0.1, &mut theta, &mut grads).unwrap();
        for (clipped, x) in grads.iter().zip(&plain) {
            let expected = f64::from(*x) / norm;
            assert!((f64::from(*clipped) - expected).abs() <= 5e-7 * expected.abs(), "{size}");
        }
    }
}
