//! The decays that follow the gradients, Amos and scheduled decays: the host's bits, saved and gone on with.

use std::fs;

use cpr_core::{
    AnyRegularizer, ConfigError,
    base::{
        AdaDecay, AdaDecayConfig, Adam, AdamConfig, Amos, AmosConfig, AmsGrad, Awd, Decay, Decayed,
        Sgd, SgdConfig, WeightDecay,
    },
};
use cpr_gpu::{Base, Optim, group::Values, optim::Params};
use cpr_host::checkpoint::{Checkpoint, Element};
use serde_json::Value;

use super::*;

/// Any rules: what an optimizer of this crate and one of the host are made of.
#[derive(Clone, Copy, Debug)]
struct Rules {
    regularized: BaseSpec,
    free: BaseSpec,
    decay: DecayRule,
    constraint: Option<ConstraintConfig<AnyRegularizer>>,
}

impl Params for Rules {
    const NAME: &'static str = "rules";

    fn lr(&self) -> f64 {
        LR
    }

    fn set_lr(&mut self, _: f64) {}

    fn decay(&self) -> f64 {
        0.0
    }

    fn base(&self, decay: Option<f64>) -> Result<Base, ConfigError> {
        Ok(if decay.is_none() { self.regularized } else { self.free }.into())
    }

    fn constraint(&self) -> Option<ConstraintConfig<AnyRegularizer>> {
        self.constraint
    }

    fn decay_rule(&self) -> DecayRule {
        self.decay
    }

    fn describe(&self) -> Value {
        Value::Null
    }
}

const LR: f64 = 1e-2;
const STEPS: u64 = 6;

fn adam(weight_decay: WeightDecay) -> Adam {
    Adam::new(AdamConfig { weight_decay, ..AdamConfig::default() }).unwrap()
}

fn amos(momentum: f64) -> Rules {
    let rule =
        |extra_l2| BaseSpec::Amos(Amos::new(AmosConfig { beta: 0.9, momentum, extra_l2 }).unwrap());
    Rules { regularized: rule(0.1), free: rule(0.0), decay: DecayRule::Constant, constraint: None }
}

/// Every baseline, by name.
fn all() -> Vec<(&'static str, Rules)> {
    let plain = BaseSpec::Adam(adam(WeightDecay::None));
    let rules = |regularized, free, decay| Rules { regularized, free, decay, constraint: None };
    let adamw = BaseSpec::Adam(adam(WeightDecay::Decoupled(0.3)));
    let sgd = |decay| {
        BaseSpec::Sgd(Sgd::new(SgdConfig { weight_decay: decay, maximize: false }).unwrap())
    };
    let (free_sgd, own_sgd) = (sgd(WeightDecay::None), sgd(WeightDecay::Coupled(0.3)));
    let amsgrad = BaseSpec::AmsGrad(AmsGrad(adam(WeightDecay::None)));
    let awd = DecayRule::Awd(Awd::new(0.4).unwrap());
    let elements = DecayRule::AdaDecay(
        AdaDecay::new(AdaDecayConfig { alpha: 4.0, weight_decay: 0.5 }).unwrap(),
    );
    let p_norm = Decay::PNorm { p: 0.8, lambda: 0.05, late: false, flush: true };
    let padam = Decayed::new(adam(WeightDecay::None), p_norm).unwrap();
    vec![
        ("adamw", rules(adamw, plain, DecayRule::Constant)),
        ("coupled sgd", rules(own_sgd, free_sgd, DecayRule::Constant)),
        ("padam", rules(BaseSpec::DecayedAdam(padam), plain, DecayRule::Constant)),
        ("awd", rules(adamw, plain, awd)),
        ("awd over sgd", rules(own_sgd, free_sgd, awd)),
        ("adadecay", rules(plain, plain, elements)),
        ("adadecay over sgd", rules(free_sgd, free_sgd, elements)),
        ("adadecay over amsgrad", rules(amsgrad, amsgrad, elements)),
        ("amos", amos(0.0)),
        ("amos with momentum", amos(0.9)),
    ]
}

/// What a schedule says of a step: more, less, nothing.
fn factor(step: u64) -> f64 {
    [1.0, 0.3, 0.0, 2.0][usize::try_from(step % 4).unwrap()]
}

/// The same steps by the host: θ, and the average of AWD.
fn by_host<T: Real + Element>(rules: Rules, clip: Option<f64>) -> (Vec<u64>, Option<f64>) {
    let Rules { regularized, free, decay, .. } = rules;
    let spec =
        OptimizerSpec { regularized, free, constraint: None, decay, rescale: None, lr: LR, clip };
    let layout = layout();
    let mut theta = flat::<T>(0.3, &|index| index as u64);
    let mut optimizer = Host::new(spec, Grouping::default(), &layout, &mut theta).unwrap();
    let workers = Workers::inline();
    for step in 0..STEPS {
        let mut grads = flat(0.5, &|index| 100 + 10 * step + index as u64);
        optimizer.scale_decay(factor(step));
        optimizer.step(&workers, LR, &mut theta, &mut grads).unwrap();
    }
    let bits = theta.into_iter().map(|x| Real::to_f64(x).to_bits()).collect();
    (bits, optimizer.awd_average())
}

fn build(rules: Rules, vars: &[(String, Var)], clip: Option<f64>, threads: usize) -> Optim<Rules> {
    let builder = Optim::builder(rules).threads(NonZeroUsize::new(threads).unwrap());
    let builder = if let Some(norm) = clip { builder.clip(norm) } else { builder };
    builder.from_named(vars.to_vec()).unwrap()
}

fn run(optimizer: &mut Optim<Rules>, vars: &[(String, Var)], steps: std::ops::Range<u64>) {
    for step in steps {
        optimizer.scale_decay(factor(step));
        let outcome = optimizer.apply(&gradients(vars, step)).unwrap();
        assert!(matches!(outcome, Outcome::Stepped | Outcome::Queued), "{outcome:?}");
    }
}

#[test]
fn every_baseline_has_the_hosts_bits() {
    for (name, rules) in all() {
        for (dtype, by_host) in [
            (DType::F32, by_host::<f32> as fn(Rules, Option<f64>) -> (Vec<u64>, Option<f64>)),
            (DType::F64, by_host::<f64>),
        ] {
            for clip in [None, Some(20.0)] {
                let (expected, average) = by_host(rules, clip);
                for threads in [1, 3] {
                    let vars = variables(dtype);
                    let mut optimizer = build(rules, &vars, clip, threads);
                    run(&mut optimizer, &vars, 0..STEPS);
                    assert_eq!(bits(&vars), expected, "{name} {dtype:?} {clip:?} {threads}");
                    let folder = tempfile::tempdir().unwrap();
                    let path = folder.path().join("state.safetensors");
                    optimizer.save(&path).unwrap();
                    let meta = Checkpoint::read(&path).unwrap().meta;
                    let section = meta.optimizer.unwrap().hyperparameters;
                    assert_eq!(section["awd_average"].as_f64(), average, "{name}");
                }
            }
        }
    }
}

/// Where there is a CUDA device: its kernels against the host, to rounding (its `expm1` is its own), and a state that goes
/// on from there to the bit.
#[test]
fn on_cuda_they_follow_the_host() {
    let device = match Device::cuda_if_available(0) {
        Ok(device) if device.is_cuda() => device,
        _ => {
            println!("SKIPPED: no CUDA device, or built without the feature `cuda`");
            return;
        }
    };
    let there = |vars: Vec<(String, Var)>| -> Vec<(String, Var)> {
        let moved = vars.into_iter().map(|(name, var)| {
            let var = Var::from_tensor(&var.to_device(&device).unwrap()).unwrap();
            (name, var)
        });
        moved.collect()
    };
    for (name, rules) in all() {
        for clip in [None, Some(20.0)] {
            let (expected, average) = by_host::<f32>(rules, clip);
            let vars = there(variables(DType::F32));
            let mut optimizer = build(rules, &vars, clip, 1);
            run(&mut optimizer, &vars, 0..3);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.safetensors");
            optimizer.save(&path).unwrap();
            run(&mut optimizer, &vars, 3..STEPS);
            assert_eq!(optimizer.path(), Path::Cuda);
            for (own, expected) in bits(&vars).into_iter().zip(expected) {
                let (own, expected) = (f64::from_bits(own), f64::from_bits(expected));
                assert!((own - expected).abs() < 1e-6, "{name}: {own} in place of {expected}");
            }
            let end = folder.path().join("end.safetensors");
            optimizer.save(&end).unwrap();
            let meta = Checkpoint::read(&end).unwrap().meta;
            let own = meta.optimizer.unwrap().hyperparameters["awd_average"].as_f64();
            let near = |(own, expected): (f64, f64)| (own - expected).abs() < 1e-6 * expected;
            assert!(own.zip(average).map_or(own == average, near), "{name}: {own:?} {average:?}");

            let resumed_vars = there(variables(DType::F32));
            let mut resumed = build(rules, &resumed_vars, clip, 1);
            resumed.load(&path).unwrap();
            run(&mut resumed, &resumed_vars, 3..STEPS);
            assert!(bits(&resumed_vars) == bits(&vars), "{name}");
        }
    }
}

/// The factor reaches the decay and nothing else.
#[test]
fn a_factor_of_zero_is_the_base_without_its_decay() {
    for (name, rules) in all().into_iter().take(8) {
        let after = |factor: f64, rules: Rules| {
            let vars = variables(DType::F32);
            let mut optimizer = build(rules, &vars, None, 1);
            optimizer.scale_decay(factor);
            optimizer.apply(&gradients(&vars, 0)).unwrap();
            bits(&vars)
        };
        let bare = Rules { regularized: rules.free, decay: DecayRule::Constant, ..rules };
        assert_eq!(after(0.0, rules), after(1.0, bare), "{name}");
        assert_ne!(after(1.0, rules), after(1.0, bare), "{name}");
    }
}

/// What is not in a step has no part in its norms, and a step that is skipped leaves every number as it was.
#[test]
fn parameters_without_a_gradient_and_skipped_steps_change_nothing() {
    let squares = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    for (name, rules) in all() {
        let vars = variables(DType::F64);
        let mut optimizer = Optim::builder(rules)
            .strict(Strict::except(["c.*"]).unwrap())
            .from_named(vars.clone())
            .unwrap();
        optimizer.apply(&gradients(&vars, 0)).unwrap();
        let state = |optimizer: &Optim<Rules>| -> Vec<_> {
            vars.iter().map(|(name, _)| optimizer.state_of(name).unwrap()).collect()
        };
        let average = |optimizer: &Optim<Rules>| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.safetensors");
            optimizer.save(&path).unwrap();
            let meta = Checkpoint::read(&path).unwrap().meta;
            meta.optimizer.unwrap().hyperparameters["awd_average"].as_f64()
        };
        let (before, first) = (state(&optimizer), average(&optimizer));

        let mut bad = gradients(&vars, 1);
        let (_, poisoned) = &vars[1];
        bad.insert(poisoned, Tensor::full(f64::NAN, poisoned.shape(), &Device::Cpu).unwrap());
        assert!(matches!(optimizer.apply(&bad).unwrap(), Outcome::Skipped { .. }));
        assert_eq!((&state(&optimizer), average(&optimizer)), (&before, first), "{name}");

        // Without `c.weight`: of the regularised matrices a.weight and b.weight are left.
        let all_grads = gradients(&vars, 2);
        let mut grads = GradStore::default();
        let (mut weights, mut squared) = (0.0, 0.0);
        for (index, (_, var)) in vars.iter().enumerate().filter(|(index, _)| *index != 3) {
            let grad = all_grads.get(var).unwrap();
            grads.insert(var, grad.clone());
            if index < 2 {
                weights += squares(&flat(var));
                squared += squares(&flat(grad));
            }
        }
        assert_eq!(optimizer.apply(&grads).unwrap(), Outcome::Stepped);
        let after = state(&optimizer);
        assert_eq!(after[3], before[3], "{name}: c.weight");
        assert_ne!(after[0], before[0], "{name}: a.weight");
        if let (Some(first), Some(own)) = (first, average(&optimizer)) {
            let expected = 0.4 * first + 0.6 * (squared / weights).sqrt();
            assert!((own - expected).abs() < 1e-12 * expected, "{name}: {own} not {expected}");
        }
    }
}

#[test]
fn half_precision_steps_its_f32_masters() {
    for (name, rules) in all() {
        for dtype in [DType::BF16, DType::F16] {
            // Gradients of the same numbers in both types; masters that start at the variable's values.
            let low = variables(dtype);
            let masters = masters(&low);
            let mut half = build(rules, &low, Some(20.0), 2);
            let mut single = build(rules, &masters, Some(20.0), 1);
            for step in 0..4 {
                let grads = gradients(&low, step);
                half.apply(&grads).unwrap();
                single.apply(&widened(&grads, &low, &masters)).unwrap();
            }
            for (parameter, _) in &masters {
                let (own, other) =
                    (half.state_of(parameter).unwrap(), single.state_of(parameter).unwrap());
                assert_eq!(own, other, "{name} {dtype:?} {parameter}");
                assert!(matches!(own.theta, Values::F32(_)));
            }
        }
    }
}

#[test]
fn what_is_saved_goes_on_to_the_byte() {
    for (name, rules) in all() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let own = variables(DType::F32);
        let mut whole = build(rules, &own, None, 1);
        run(&mut whole, &own, 0..3);
        whole.save(path("middle")).unwrap();
        run(&mut whole, &own, 3..STEPS);
        whole.save(path("whole")).unwrap();

        let other = variables(DType::F32);
        let mut resumed = build(rules, &other, None, 1);
        // Another state before loading.
        run(&mut resumed, &other, 7..9);
        let loaded = resumed.load(path("middle")).unwrap();
        assert!(loaded.messages.is_empty(), "{name}: {loaded}");
        resumed.save(path("again")).unwrap();
        let read = |name: &str| fs::read(path(name)).unwrap();
        assert!(read("again") == read("middle"), "{name}");
        run(&mut resumed, &other, 3..STEPS);
        resumed.save(path("resumed")).unwrap();
        assert!(read("resumed") == read("whole"), "{name}");
    }
}

#[test]
fn two_rules_for_one_parameter_are_refused_by_name() {
    let bound = Some(cpr().constraint);
    let find = |name: &str| all().into_iter().find(|(own, _)| *own == name).unwrap().1;
    let elements = find("adadecay").decay;
    for rules in [
        Rules { constraint: bound, ..amos(0.9) },
        Rules { constraint: bound, ..find("adadecay") },
        Rules { decay: elements, ..amos(0.0) },
        Rules { decay: find("awd").decay, ..amos(0.0) },
        Rules { decay: elements, ..find("padam") },
        Rules { decay: elements, ..find("adamw") },
        Rules { decay: elements, ..find("coupled sgd") },
    ] {
        let refused = Optim::builder(rules).from_named(variables(DType::F32)).unwrap_err();
        assert!(matches!(refused, Error::Decay { .. }), "{refused}");
        assert!(refused.to_string().contains("`a.weight`"), "{refused}");
    }
    // A bound under AWD: the base's decay is one rule, the bound another, and both may be meant.
    let rules = Rules { constraint: bound, ..find("awd") };
    assert!(Optim::builder(rules).from_named(variables(DType::F32)).is_ok());
}
