//! Saving and loading: to the bit, across optimizers, and refusals.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test by panicking")]

use std::fs;

use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use cpr_core::{BoundInit, ConstraintConfig, L2, Order};
use cpr_gpu::{
    AdamCpr, AdamW, Error, Groups, Optim, Override, ParamsAdamCpr, ParamsAdamW, ParamsSgd, Sgd,
    Strict, optim::Params, state::Constraints,
};
use cpr_host::{
    checkpoint::{Checkpoint, Policy},
    schedule::{Schedule, ScheduleConfig, Shape},
};

fn vars(dtype: DType, seed: f64) -> Vec<(String, Var)> {
    let make = |name: &str, shape: (usize, usize), factor: f64| {
        let n = u32::try_from(shape.0 * shape.1).unwrap();
        let values: Vec<f64> = (0..n).map(|i| factor * (f64::from(i) * 0.7 + seed).sin()).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        (name.to_owned(), Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap())
    };
    vec![
        make("a.weight", (70, 90), 0.3),
        make("b.bias", (1, 7), 0.1),
        make("late.weight", (5, 6), 0.2),
        make("bn.running_mean", (1, 4), 1.0),
    ]
}

/// At the first two steps `late.weight` is not used, and step 4 is not finite.
fn gradients(vars: &[(String, Var)], step: u32) -> GradStore {
    let mut store = GradStore::default();
    for (index, (name, var)) in (0_u32..3).zip(vars) {
        if name == "late.weight" && step < 2 {
            continue;
        }
        let n = u32::try_from(var.elem_count()).unwrap();
        let phase = f64::from(step) * 1.3 + f64::from(index);
        let mut values: Vec<f64> =
            (0..n).map(|i| 0.1 * (f64::from(i) * 1.1 + phase).cos()).collect();
        if step == 4 {
            values[0] = f64::NAN;
        }
        let tensor = Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap();
        store.insert(var, tensor.to_dtype(var.dtype()).unwrap());
    }
    store
}

fn params() -> ParamsAdamCpr {
    let constraint = ConstraintConfig {
        order: Order::BeforeBase,
        ..ConstraintConfig::new(L2.into(), BoundInit::WarmStart(3))
    };
    ParamsAdamCpr { constraint, ..ParamsAdamCpr::new(BoundInit::WarmStart(3)) }
}

fn build<P: Params>(params: P, vars: &[(String, Var)]) -> Optim<P> {
    let config =
        ScheduleConfig { lr: 0.02, warmup: 3, steps: 40, shape: Shape::Cosine, min_factor: 0.1 };
    Optim::<P>::builder(params)
        .strict(Strict::except(["late.*"]).unwrap())
        .clip(0.5)
        .schedule(Schedule::new(config).unwrap())
        .from_named(vars.to_vec())
        .unwrap()
}

fn run<P: Params>(optimizer: &mut Optim<P>, vars: &[(String, Var)], steps: std::ops::Range<u32>) {
    for step in steps {
        optimizer.apply(&gradients(vars, step)).unwrap();
    }
}

#[test]
fn a_resumed_run_writes_the_same_bytes() {
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(format!("{name}.safetensors"));
        let own = vars(dtype, 0.0);
        let mut whole = build(params(), &own);
        run(&mut whole, &own, 0..6);
        whole.save(path("middle")).unwrap();
        run(&mut whole, &own, 6..14);
        whole.save(path("whole")).unwrap();
        assert_eq!(whole.report().unwrap().get("late.weight").unwrap().step, 11);

        // Another process: other values before loading.
        let other = vars(dtype, 5.0);
        let mut resumed = build(params(), &other);
        let loaded = resumed.load(path("middle")).unwrap();
        assert!(loaded.messages.is_empty(), "{loaded}");
        assert_eq!(resumed.counters().unwrap().skipped, 1);
        resumed.save(path("again")).unwrap();
        assert_eq!(fs::read(path("again")).unwrap(), fs::read(path("middle")).unwrap());
        run(&mut resumed, &other, 6..14);
        resumed.save(path("resumed")).unwrap();
        let same = fs::read(path("whole")).unwrap() == fs::read(path("resumed")).unwrap();
        assert!(same, "{dtype:?}");
        assert_eq!(whole.report().unwrap(), resumed.report().unwrap());
    }
}

#[test]
fn an_adamw_state_loads_into_adamcpr_with_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adamw.safetensors");
    let own = vars(DType::F32, 0.0);
    let mut adamw = build(ParamsAdamW::default(), &own);
    run(&mut adamw, &own, 0..6);
    adamw.save(&path).unwrap();

    let other = vars(DType::F32, 5.0);
    let mut adamcpr: AdamCpr = build(params(), &other);
    let messages = adamcpr.load(&path).unwrap().messages;
    assert_eq!(messages[0], "the state is of adamw and goes on as adamcpr");
    assert!(messages[1].starts_with("2 constraints start afresh"), "{messages:?}");
    assert_eq!(messages.len(), 2);
    for name in ["a.weight", "late.weight"] {
        let (old, new) = (adamw.state_of(name).unwrap(), adamcpr.state_of(name).unwrap());
        assert_eq!((old.theta, old.moments, old.steps), (new.theta, new.moments, new.steps));
    }
    // The bound is measured on the weights that were loaded.
    let report = adamcpr.report().unwrap();
    assert_eq!((report.0[0].report.step, report.0[0].report.lambda), (0, 0.0));
    run(&mut adamcpr, &other, 6..12);
    assert!(adamcpr.report().unwrap().0[0].report.kappa.is_some());

    // And back: the constraints are dropped, with a message.
    let path = folder.path().join("adamcpr.safetensors");
    adamcpr.save(&path).unwrap();
    let mut back: AdamW = build(ParamsAdamW::default(), &vars(DType::F32, 1.0));
    let messages = back.load(&path).unwrap().messages;
    assert!(messages.iter().any(|message| message.contains("were dropped")), "{messages:?}");
    // SGD keeps no moments: Adam starts anew from its weights.
    let own = vars(DType::F32, 0.0);
    let mut sgd: Sgd = build(ParamsSgd::new(0.1), &own);
    run(&mut sgd, &own, 0..3);
    let path = folder.path().join("sgd.safetensors");
    sgd.save(&path).unwrap();
    let messages = adamcpr.load(&path).unwrap().messages;
    assert!(messages.iter().any(|message| message.contains("t start at 0")), "{messages:?}");
    assert_eq!(adamcpr.counters().unwrap().steps, 0);
}

#[test]
fn other_settings_and_shapes_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let own = vars(DType::F32, 0.0);
    let mut optimizer = build(params(), &own);
    run(&mut optimizer, &own, 0..4);
    optimizer.save(&path).unwrap();

    let other = vars(DType::F32, 5.0);
    let before: Vec<f32> = other[0].1.flatten_all().unwrap().to_vec1().unwrap();
    let changed = ParamsAdamCpr::new(BoundInit::WarmStart(4));
    let mut strict: AdamCpr = build(changed, &other);
    let error = strict.load(&path).unwrap_err();
    assert!(matches!(&error, Error::OtherRule { name, .. } if name == "a.weight"), "{error}");
    assert_eq!(other[0].1.flatten_all().unwrap().to_vec1::<f32>().unwrap(), before);

    let Checkpoint { meta, mut tensors } = Checkpoint::read(&path).unwrap();
    let loaded = strict.restore(&meta, &mut tensors, Constraints::Afresh).unwrap();
    assert!(loaded.messages[0].contains("as was asked for"), "{loaded}");
    tensors.finish(Policy::Strict).unwrap();

    let betas = ParamsAdamCpr { beta2: 0.98, ..params() };
    let loaded = build(betas, &other).load(&path).unwrap();
    assert_eq!(loaded.messages, ["beta2 was 0.999 and is 0.98 now"]);

    let mut wide = vars(DType::F64, 0.0);
    assert!(matches!(build(params(), &wide).load(&path), Err(Error::Checkpoint(_))));
    wide.pop();
    let fewer: Vec<(String, Var)> = own.iter().take(3).cloned().collect();
    let error = build(params(), &fewer).load(&path).unwrap_err();
    assert!(error.to_string().contains("bn.running_mean"), "{error}");
}

#[test]
fn frozen_parameters_are_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let own = vars(DType::BF16, 0.0);
    let frozen = || Groups::default().with(Override::new("a.*").unwrap().frozen());
    let make = |vars: &[(String, Var)]| {
        AdamCpr::builder(params()).groups(frozen()).from_named(vars.to_vec()).unwrap()
    };
    make(&own).save(&path).unwrap();
    let other = vars(DType::BF16, 5.0);
    make(&other).load(&path).unwrap();
    for ((name, a), (_, b)) in own.iter().zip(&other) {
        let wide = |var: &Var| {
            let flat = var.flatten_all().unwrap().to_dtype(DType::F32).unwrap();
            flat.to_vec1::<f32>().unwrap()
        };
        assert_eq!(wide(a), wide(b), "{name}");
    }
}
