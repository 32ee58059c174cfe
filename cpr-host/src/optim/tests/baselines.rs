//! What CPR is compared with, over a whole parameter set: on threads, against the core, from checkpoints.

use cpr_core::base::{
    AdaDecay, AdaDecayConfig, Amos, AmosConfig, AmosState, AmsGrad, Awd, WeightDecay,
};

use super::*;
use crate::checkpoint::{Checkpoint, CheckpointWriter, Meta, Policy};

const LR: f64 = 1e-2;

fn adam(weight_decay: WeightDecay) -> Adam {
    Adam::new(AdamConfig { weight_decay, ..AdamConfig::default() }).unwrap()
}

fn plain(regularized: BaseSpec, free: BaseSpec, decay: DecayRule) -> OptimizerSpec {
    OptimizerSpec { regularized, free, decay, constraint: None, rescale: None, clip: None, lr: LR }
}

fn adadecay(weight_decay: f64) -> OptimizerSpec {
    let rule = AdaDecay::new(AdaDecayConfig { alpha: 4.0, weight_decay }).unwrap();
    let base = BaseSpec::Adam(adam(WeightDecay::None));
    plain(base, base, DecayRule::AdaDecay(rule))
}

fn awd(weight_decay: f64) -> OptimizerSpec {
    let base = |decay| BaseSpec::Adam(adam(decay));
    let own = base(WeightDecay::Decoupled(weight_decay));
    plain(own, base(WeightDecay::None), DecayRule::Awd(Awd::default()))
}

fn amos(momentum: f64) -> OptimizerSpec {
    let rule =
        |extra_l2| BaseSpec::Amos(Amos::new(AmosConfig { beta: 0.9, momentum, extra_l2 }).unwrap());
    plain(rule(0.01), rule(0.0), DecayRule::Constant)
}

fn all() -> [OptimizerSpec; 5] {
    let amsgrad = BaseSpec::AmsGrad(AmsGrad(adam(WeightDecay::None)));
    let over_amsgrad = OptimizerSpec { regularized: amsgrad, free: amsgrad, ..adadecay(0.5) };
    [adadecay(0.5), over_amsgrad, awd(0.5), amos(0.0), amos(0.9)]
}

/// An optimizer over the layout of these tests, and the weights that it starts from.
fn start(spec: OptimizerSpec) -> (Optimizer<f32>, Vec<f32>) {
    let layout = layout();
    let mut theta = values(layout.len(), 0);
    let optimizer =
        Optimizer::new(spec, Grouping { embeddings: true }, &layout, &mut theta).unwrap();
    (optimizer, theta)
}

fn step(optimizer: &mut Optimizer<f32>, theta: &mut [f32], t: u64) {
    let mut grads = values(theta.len(), t);
    let outcome = optimizer.step(&Workers::inline(), LR, theta, &mut grads).unwrap();
    assert_eq!(outcome, Outcome::Stepped);
}

#[test]
fn threads_change_no_bit() {
    for spec in all() {
        let (theta, _) = run(spec, 1, 5);
        assert!(theta.iter().all(|x| x.is_finite()) && theta != values(theta.len(), 0));
        for threads in [2, 3, 8] {
            assert!(run(spec, threads, 5).0 == theta, "{spec:?} on {threads} threads");
        }
    }
}

/// One matrix of many chunks, and a bias, as the core steps them alone.
#[test]
fn each_parameter_is_stepped_as_by_the_core() {
    let layout = layout();
    for name in ["c.weight", "a.bias"] {
        let param = layout.get(name).unwrap();
        let range = param.range.clone();
        let regularized = name == "c.weight";
        let mut alone = values(layout.len(), 0)[range.clone()].to_vec();
        let mut m = vec![0.0; alone.len()];
        let mut v = m.clone();
        for t in 1..=5 {
            let grads = &values(layout.len(), t)[range.clone()];
            let shard = Shard::new(&mut alone, grads, [&mut m, &mut v]).unwrap();
            let base = adam(WeightDecay::None).at(t, LR);
            if regularized {
                let DecayRule::AdaDecay(rule) = adadecay(0.5).decay else { panic!("adadecay") };
                let seen = magnitudes(grads);
                cpr_core::base_step(&rule.before(base, LR, &seen), shard);
            } else {
                cpr_core::base_step(&base, shard);
            }
        }
        assert!(run(adadecay(0.5), 2, 5).0[range.clone()] == alone, "{name}: AdaDecay");

        let BaseSpec::Amos(rule) =
            (if regularized { amos(0.9).regularized } else { amos(0.9).free })
        else {
            panic!("amos")
        };
        let eta = if regularized { (1.0 / 500.0f64).sqrt() } else { 0.5 };
        let mut alone = values(layout.len(), 0)[range.clone()].to_vec();
        let mut average = vec![0.0; alone.len()];
        let mut state = AmosState::default();
        for t in 1..=5 {
            let grads = &values(layout.len(), t)[range.clone()];
            let scalars;
            (state, scalars) = rule.step(state, t, LR, eta, &cpr_core::measure(&L2, grads));
            let shard = Shard::new(&mut alone, grads, [&mut average]).unwrap();
            cpr_core::base_step(&scalars, shard);
        }
        assert!(run(amos(0.9), 2, 5).0[range] == alone, "{name}: Amos");
    }
}

/// λ̄ of AWD is that of all regularized parameters together.
#[test]
fn the_norms_of_awd_are_over_all_regularized_parameters() {
    let (mut optimizer, mut theta) = start(awd(0.5));
    let layout = layout();
    let mut average = 0.0;
    for t in 1..=4 {
        let grads = values(layout.len(), t);
        let norm = |values: &[f32]| {
            let regularized = layout.params().iter().filter(|param| param.kind != ParamKind::Bias);
            let squares = regularized.flat_map(|param| &values[param.range.clone()]);
            squares.map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
        };
        average = 0.1 * average + 0.9 * norm(&grads) / norm(&theta);
        let (place, free) = (
            layout.get("b.weight").unwrap().range.start,
            layout.get("a.bias").unwrap().range.start,
        );
        let before = theta[place];
        let (mut undecayed, mut undecayed_theta) = (start(awd(0.0)).0, theta.clone());
        for earlier in 1..t {
            // The moments see the gradients alone.
            step(&mut undecayed, &mut theta.clone(), earlier);
        }
        step(&mut undecayed, &mut undecayed_theta, t);
        step(&mut optimizer, &mut theta, t);
        let taken = f64::from(undecayed_theta[place]) - f64::from(theta[place]);
        let expected = LR * 0.5 * average * f64::from(before);
        assert!((taken - expected).abs() < 3e-7, "{t}: {taken} {expected}");
        assert!((optimizer.awd_average().unwrap() - average).abs() < 1e-6 * average);
        assert_eq!(theta[free].to_bits(), undecayed_theta[free].to_bits());
    }
}

fn bits(theta: &[f32]) -> Vec<u32> {
    theta.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn no_strength_is_adam_to_the_bit() {
    let base = BaseSpec::Adam(adam(WeightDecay::None));
    let (expected, _) = run(plain(base, base, DecayRule::Constant), 1, 4);
    for spec in [adadecay(0.0), awd(0.0)] {
        assert!(bits(&run(spec, 2, 4).0) == bits(&expected), "{spec:?}");
    }
    let adamw = BaseSpec::Adam(adam(WeightDecay::Decoupled(0.3)));
    for (factor, like) in [(0.0, base), (1.0, adamw)] {
        let (expected, _) = run(plain(like, base, DecayRule::Constant), 1, 4);
        let (mut optimizer, mut theta) = start(plain(adamw, base, DecayRule::Constant));
        optimizer.scale_decay(factor);
        (1..=4).for_each(|t| step(&mut optimizer, &mut theta, t));
        assert!(bits(&theta) == bits(&expected), "a factor of {factor}");
    }
}

#[test]
fn a_factor_scales_the_decay_of_every_rule() {
    for (one, two) in [(adadecay(0.2), adadecay(0.4)), (awd(0.2), awd(0.4))] {
        let (mut optimizer, mut theta) = start(one);
        optimizer.scale_decay(2.0);
        step(&mut optimizer, &mut theta, 1);
        let (mut expected, mut expected_theta) = start(two);
        step(&mut expected, &mut expected_theta, 1);
        for (a, b) in theta.iter().zip(&expected_theta) {
            assert!((a - b).abs() <= 2e-7, "{a} {b}");
        }
    }
}

/// The bytes of a checkpoint of weights and optimizer; AWD's average goes beside it.
fn saved(optimizer: &Optimizer<f32>, theta: &[f32]) -> Vec<u8> {
    let (layout, state) = (layout(), optimizer.state());
    let mut writer = CheckpointWriter::new(Meta::new("test"));
    for param in layout.params() {
        writer = writer.tensor(&param.name, &param.shape, &theta[param.range.clone()]);
    }
    optimizer.write(&layout, &state, writer).to_bytes("test").unwrap()
}

/// Tensors of these bytes, the weights taken out.
fn opened(bytes: &[u8]) -> Tensors {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let mut tensors = Checkpoint::read(&path).unwrap().tensors;
    for param in layout().params() {
        tensors.take_f32(&param.name, &param.shape).unwrap();
    }
    tensors
}

#[test]
fn a_checkpoint_holds_all_that_the_next_step_depends_on() {
    for spec in all() {
        let (mut optimizer, mut theta) = start(spec);
        (1..=3).for_each(|t| step(&mut optimizer, &mut theta, t));
        let bytes = saved(&optimizer, &theta);
        let (mut resumed, _) = start(spec);
        let mut tensors = opened(&bytes);
        assert!(resumed.take_moments(&layout(), &mut tensors, 3).unwrap());
        tensors.finish(Policy::Strict).unwrap();
        if let Some(average) = optimizer.awd_average() {
            assert!(average > 0.0 && resumed.set_awd_average(average));
        }
        let mut again = theta.clone();
        assert!(saved(&resumed, &theta) == bytes, "{spec:?}");
        for t in 4..=6 {
            step(&mut optimizer, &mut theta, t);
            step(&mut resumed, &mut again, t);
        }
        assert!(again == theta && saved(&resumed, &again) == saved(&optimizer, &theta), "{spec:?}");
    }
}

#[test]
fn what_amos_kept_is_needed_and_checked() {
    // Moments of Adam are none of Amos.
    let (mut optimizer, mut theta) = start(awd(0.1));
    step(&mut optimizer, &mut theta, 1);
    let mut tensors = opened(&saved(&optimizer, &theta));
    let (mut resumed, _) = start(amos(0.9));
    assert!(!resumed.take_moments(&layout(), &mut tensors, 1).unwrap());
    assert_eq!(resumed.steps(), 0);
    let error = tensors.finish(Policy::Strict).unwrap_err().to_string();
    assert!(error.contains("optimizer/a.bias/amos"), "{error}");

    let layout = layout();
    let mut writer = CheckpointWriter::new(Meta::new("test"));
    for param in layout.params() {
        writer = writer.tensor(&param.name, &param.shape, &theta[param.range.clone()]).slots(
            &param.name,
            "amos",
            &[0.5, -1.0],
        );
    }
    let mut tensors = opened(&writer.to_bytes("test").unwrap());
    let (mut resumed, _) = start(amos(0.0));
    let error = resumed.take_moments(&layout, &mut tensors, 1).unwrap_err().to_string();
    assert!(error.starts_with("v and b of Amos for `a.weight` are 0.5 and -1"), "{error}");
    let (mut resumed, _) = start(awd(0.1));
    assert!(!resumed.set_awd_average(f64::NAN) && !resumed.set_awd_average(-1.0));
    assert_eq!(resumed.awd_average(), Some(0.0));
}

#[test]
fn rules_that_do_not_go_together_are_refused() {
    let layout = layout();
    let refusal = |spec| {
        let mut theta = values(layout.len(), 0);
        Optimizer::new(spec, Grouping::default(), &layout, &mut theta).unwrap_err().to_string()
    };
    let constraint = spec(L2.into(), Order::AfterBase).constraint;
    for (rule, own) in [("AdaDecay", adadecay(0.1)), ("Amos", amos(0.9))] {
        let error = refusal(OptimizerSpec { constraint, ..own });
        assert!(error.starts_with(&format!("{rule} regularises by itself")), "{error}");
    }
    let error = refusal(OptimizerSpec { decay: awd(0.1).decay, ..amos(0.0) });
    assert!(error.starts_with("AWD does not go with this optimizer"), "{error}");
    let decay = Decay::ThreeHalves { lambda: 0.1 };
    let decayed = Decayed::new(adam(WeightDecay::None), decay).unwrap();
    let error =
        refusal(OptimizerSpec { regularized: BaseSpec::DecayedAdam(decayed), ..adadecay(0.1) });
    assert!(error.starts_with("AdaDecay does not go with this optimizer"), "{error}");
    let error = refusal(OptimizerSpec { free: amos(0.0).free, ..amos(0.9) });
    assert!(error.contains("keep different moments"), "{error}");
}
