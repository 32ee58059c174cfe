//! The CPU path against the host's optimizer, bit for bit; strictness, clipping, half precision, accumulation.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test by panicking")]

mod baselines;

use std::num::NonZeroUsize;

use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use candle_nn::{Module, Optimizer, VarBuilder, VarMap, linear};
use cpr_core::{BoundInit, ConstraintConfig, L1, Order, Real, Std};
use cpr_gpu::{
    Accumulator, Adam, AdamCpr, AdamW, Error, Groups, Outcome, Override, PAdam, ParamsAdam,
    ParamsAdamCpr, ParamsAdamW, ParamsPAdam, ParamsSgd, ParamsSgdCpr, Path, Sgd, SgdCpr, Strict,
    Warning, group::Values,
};
use cpr_host::{
    optim::{BaseSpec, DecayRule, Optimizer as Host, OptimizerSpec},
    parallel::Workers,
    param::{Grouping, ParamKind, ParamLayout},
    schedule::{Schedule, ScheduleConfig, Shape},
};

/// Large enough to be divided, a tail, small ones, a bias.
const SHAPES: [(&str, &[usize]); 5] = [
    ("a.weight", &[130, 301]),
    ("b.weight", &[3, 5]),
    ("b.bias", &[5]),
    ("c.weight", &[64, 64]),
    ("wte.weight", &[17, 9]),
];

/// A reproducible number in [−1, 1) for a position.
fn noise(stream: u64, index: u64) -> f64 {
    let mut x =
        stream.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index.wrapping_mul(0xD1B5_4A32_D192_ED03);
    x ^= x >> 31;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 29;
    f64::from(u32::try_from(x >> 32).unwrap()) / 2_147_483_648.0 - 1.0
}

fn values<T: Real>(stream: u64, elements: usize, scale: f64) -> Vec<T> {
    (0..elements).map(|i| T::from_f64(scale * noise(stream, i as u64))).collect()
}

fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn variables(dtype: DType) -> Vec<(String, Var)> {
    let mut vars = Vec::new();
    for (index, (name, shape)) in SHAPES.iter().enumerate() {
        let theta = values::<f64>(index as u64, elements(shape), 0.3);
        let tensor = Tensor::from_vec(theta, *shape, &Device::Cpu).unwrap();
        vars.push((
            (*name).to_owned(),
            Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap(),
        ));
    }
    vars
}

fn gradients(vars: &[(String, Var)], step: u64) -> GradStore {
    let mut store = GradStore::default();
    for (index, (_, var)) in vars.iter().enumerate() {
        let stream = 100 + 10 * step + index as u64;
        let values = values::<f64>(stream, var.elem_count(), 0.5);
        let tensor = Tensor::from_vec(values, var.shape(), var.device()).unwrap();
        store.insert(var, tensor.to_dtype(var.dtype()).unwrap());
    }
    store
}

/// The same variables in f32.
fn masters(low: &[(String, Var)]) -> Vec<(String, Var)> {
    let wide = low.iter().map(|(name, var)| {
        (name.clone(), Var::from_tensor(&var.to_dtype(DType::F32).unwrap()).unwrap())
    });
    wide.collect()
}

/// The gradients of `low` in f32, for its masters.
fn widened(grads: &GradStore, low: &[(String, Var)], masters: &[(String, Var)]) -> GradStore {
    let mut wide = GradStore::default();
    for ((_, low), (_, master)) in low.iter().zip(masters) {
        wide.insert(master, grads.get(low).unwrap().to_dtype(DType::F32).unwrap());
    }
    wide
}

fn bits(vars: &[(String, Var)]) -> Vec<u64> {
    let flat = vars.iter().flat_map(|(_, var)| {
        let wide = var.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
        wide.to_vec1::<f64>().unwrap()
    });
    flat.map(f64::to_bits).collect()
}

fn cpr() -> ParamsAdamCpr {
    let constraint = ConstraintConfig::new(Std.into(), BoundInit::Dependent(0.8));
    ParamsAdamCpr { constraint, lr: 1e-2, ..ParamsAdamCpr::new(BoundInit::WarmStart(1)) }
}

/// The variables as the host knows them.
fn layout() -> ParamLayout {
    let kind = |name: &str| match name {
        "wte.weight" => ParamKind::Embedding,
        "b.bias" => ParamKind::Bias,
        _ => ParamKind::Matrix,
    };
    ParamLayout::new(SHAPES.iter().map(|(name, shape)| (*name, shape.to_vec(), kind(name))))
        .unwrap()
}

/// The values of all variables, one after the other.
fn flat<T: Real>(scale: f64, stream: &dyn Fn(usize) -> u64) -> Vec<T> {
    let parts = SHAPES.iter().enumerate();
    parts.flat_map(|(i, (_, shape))| values::<T>(stream(i), elements(shape), scale)).collect()
}

/// The same steps by `cpr_host::optim` over a flat buffer.
fn host<T: Real>(clip: Option<f64>, steps: u64) -> Vec<u64> {
    let layout = layout();
    let adam = cpr_core::base::Adam::new(cpr_core::base::AdamConfig::default()).unwrap();
    let spec = OptimizerSpec {
        regularized: BaseSpec::Adam(adam),
        free: BaseSpec::Adam(adam),
        constraint: Some(cpr_core::ConstraintRule::new(cpr().constraint).unwrap()),
        decay: DecayRule::Constant,
        rescale: None,
        lr: 1e-2,
        clip,
    };
    let mut theta = flat::<T>(0.3, &|index| index as u64);
    let mut optimizer = Host::new(spec, Grouping::default(), &layout, &mut theta).unwrap();
    let workers = Workers::inline();
    for step in 0..steps {
        let mut grads = flat(0.5, &|index| 100 + 10 * step + index as u64);
        optimizer.step(&workers, 1e-2, &mut theta, &mut grads).unwrap();
    }
    theta.into_iter().map(|x| Real::to_f64(x).to_bits()).collect()
}

#[test]
fn the_bits_are_the_hosts_for_any_number_of_threads() {
    for (dtype, expected) in
        [(DType::F32, host::<f32> as fn(Option<f64>, u64) -> Vec<u64>), (DType::F64, host::<f64>)]
    {
        for clip in [None, Some(20.0)] {
            let expected = expected(clip, 5);
            for threads in [1, 2, 5] {
                let vars = variables(dtype);
                let mut builder =
                    AdamCpr::builder(cpr()).threads(NonZeroUsize::new(threads).unwrap());
                if let Some(norm) = clip {
                    builder = builder.clip(norm);
                }
                let mut optimizer = builder.from_named(vars.clone()).unwrap();
                for step in 0..5 {
                    let outcome = optimizer.apply(&gradients(&vars, step)).unwrap();
                    assert_eq!(outcome, Outcome::Stepped);
                }
                assert_eq!(optimizer.path(), Path::Cpu);
                assert_eq!(optimizer.report().unwrap().active(), 3);
                if clip.is_some() {
                    assert!(optimizer.gradient_norm().unwrap().unwrap() > 20.0);
                }
                assert_eq!(bits(&vars), expected, "{dtype:?} {clip:?} {threads} threads");
            }
        }
    }
}

#[test]
fn every_optimizer_is_candles() {
    fn falls<O: Optimizer>(config: O::Config) {
        let var = Var::new(&[[1.0_f32, -2.0], [0.5, 3.0]], &Device::Cpu).unwrap();
        let mut optimizer = O::new(vec![var.clone()], config).unwrap();
        optimizer.set_learning_rate(0.01);
        assert_eq!(optimizer.learning_rate(), 0.01);
        let loss = |var: &Var| var.sqr().unwrap().sum_all().unwrap();
        let before = loss(&var).to_scalar::<f32>().unwrap();
        for _ in 0..5 {
            optimizer.backward_step(&loss(&var)).unwrap();
        }
        assert!(loss(&var).to_scalar::<f32>().unwrap() < before);
    }
    falls::<AdamCpr>(ParamsAdamCpr::new(BoundInit::Dependent(0.9)));
    falls::<SgdCpr>(ParamsSgdCpr::new(0.01, BoundInit::Dependent(0.9)));
    falls::<AdamW>(ParamsAdamW::default());
    falls::<Adam>(ParamsAdam::default());
    falls::<Sgd>(ParamsSgd::new(0.1));
    falls::<PAdam>(ParamsPAdam::new(0.8, 1e-3, true));
}

#[test]
fn adamw_follows_candles_adamw() {
    let vars = variables(DType::F64);
    let mut ours = AdamW::builder(candle_nn::ParamsAdamW::default().into())
        .groups(Groups::everything())
        .from_named(vars.clone())
        .unwrap();
    let twins = variables(DType::F64);
    let own = twins.iter().map(|(_, var)| var.clone()).collect();
    let mut theirs = candle_nn::AdamW::new(own, candle_nn::ParamsAdamW::default()).unwrap();
    for step in 0..20 {
        ours.apply(&gradients(&vars, step)).unwrap();
        theirs.step(&gradients(&twins, step)).unwrap();
    }
    for ((name, a), (_, b)) in vars.iter().zip(&twins) {
        let apart = (a.as_tensor() - b.as_tensor()).unwrap().abs().unwrap();
        let apart = apart.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        assert!(apart < 1e-12, "{name}: {apart}");
    }
}

#[test]
fn a_missing_gradient_is_named_and_changes_nothing() {
    let vars = variables(DType::F32);
    let mut grads = gradients(&vars, 0);
    grads.remove(&vars[3].1);
    let before = bits(&vars);
    let mut optimizer = AdamCpr::builder(cpr()).from_named(vars.clone()).unwrap();
    let error = optimizer.apply(&grads).unwrap_err();
    assert!(matches!(&error, Error::MissingGradient { names } if names == &["c.weight"]));
    assert!(error.to_string().contains("`c.weight`"), "{error}");
    assert_eq!(bits(&vars), before);

    let allowed = Strict::except(["c.*"]).unwrap();
    let mut optimizer = AdamCpr::builder(cpr()).strict(allowed).from_named(vars.clone()).unwrap();
    optimizer.apply(&grads).unwrap();
    optimizer.apply(&gradients(&vars, 1)).unwrap();
    // Its own t is that of its bias corrections.
    assert_eq!(optimizer.state_of("c.weight").unwrap().steps, 1);
    assert_eq!(optimizer.state_of("a.weight").unwrap().steps, 2);
    let unused = AdamCpr::builder(cpr()).strict(Strict::except(["d.*"]).unwrap());
    assert!(matches!(unused.from_named(vars), Err(Error::UnusedPattern { .. })));
}

#[test]
fn a_layer_that_drops_gradients_is_found() {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let first = linear(4, 4, vb.pp("first")).unwrap();
    let norm = candle_nn::layer_norm(4, 1e-5, vb.pp("norm")).unwrap();
    let x = Tensor::ones((2, 4), DType::F32, &Device::Cpu).unwrap();
    let mut optimizer = AdamCpr::builder(cpr()).from_varmap(&map).unwrap();
    let loss = norm.forward(&first.forward(&x).unwrap()).unwrap().sqr().unwrap().sum_all().unwrap();
    let error = optimizer.backward_step(&loss).unwrap_err().to_string();
    assert!(error.contains("`first.bias`, `first.weight`"), "{error}");
}

#[test]
fn a_gradient_that_is_not_finite_skips_the_step_whole() {
    for clip in [false, true] {
        let vars = variables(DType::F32);
        let mut builder = AdamCpr::builder(cpr());
        if clip {
            builder = builder.clip(1.0);
        }
        let mut optimizer = builder.from_named(vars.clone()).unwrap();
        optimizer.apply(&gradients(&vars, 0)).unwrap();
        let (before, report) = (bits(&vars), optimizer.report().unwrap());
        let mut grads = gradients(&vars, 1);
        let mut bad = values::<f32>(1, 64 * 64, 1.0);
        bad[4095] = f32::INFINITY;
        grads.insert(&vars[3].1, Tensor::from_vec(bad, (64, 64), &Device::Cpu).unwrap());
        let outcome = optimizer.apply(&grads).unwrap();
        assert_eq!(outcome, Outcome::Skipped { parameter: "c.weight".to_owned() });
        assert_eq!((bits(&vars), optimizer.report().unwrap()), (before, report));
        let counters = optimizer.counters().unwrap();
        assert_eq!((counters.steps, counters.skipped, counters.skipped_in_a_row), (1, 1, 1));
        optimizer.apply(&gradients(&vars, 2)).unwrap();
        assert_eq!(optimizer.counters().unwrap().skipped_in_a_row, 0);
    }
}

#[test]
fn strided_and_aliasing_gradients_are_copied_and_counted() {
    let expected = {
        let var = Var::new(&[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).unwrap();
        let mut optimizer = Sgd::new(vec![var.clone()], ParamsSgd::new(0.5)).unwrap();
        let mut grads = GradStore::default();
        grads.insert(
            &var,
            Tensor::new(&[[1.0_f32, 3.0, 5.0], [2.0, 4.0, 6.0]], &Device::Cpu).unwrap(),
        );
        optimizer.apply(&grads).unwrap();
        assert_eq!(optimizer.copied_gradients(), 0);
        var.to_vec2::<f32>().unwrap()
    };
    let var = Var::new(&[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).unwrap();
    let mut optimizer = Sgd::new(vec![var.clone()], ParamsSgd::new(0.5)).unwrap();
    let turned = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
    let mut grads = GradStore::default();
    grads.insert(&var, turned.t().unwrap());
    optimizer.apply(&grads).unwrap();
    assert_eq!((var.to_vec2::<f32>().unwrap(), optimizer.copied_gradients()), (expected, 1));
    // The variable as its own gradient: its storage is locked while it is stepped.
    let halved = (var.as_tensor() * 0.5).unwrap().to_vec2::<f32>().unwrap();
    grads.insert(&var, var.as_tensor().clone());
    optimizer.apply(&grads).unwrap();
    assert_eq!((var.to_vec2::<f32>().unwrap(), optimizer.copied_gradients()), (halved, 2));
}

#[test]
fn half_precision_follows_its_f32_masters() {
    for dtype in [DType::BF16, DType::F16] {
        let vars = variables(dtype);
        // The masters begin at the rounded values, and see the rounded gradients.
        let masters = masters(&vars);
        let mut half = AdamCpr::builder(cpr()).clip(20.0).from_named(vars.clone()).unwrap();
        let mut single = AdamCpr::builder(cpr()).clip(20.0).from_named(masters.clone()).unwrap();
        for step in 0..6 {
            let grads = gradients(&vars, step);
            let wide = widened(&grads, &vars, &masters);
            // Every second step the gradients come in f32, as an accumulator gives them.
            if step % 2 == 0 {
                half.apply(&grads).unwrap();
            } else {
                let mut sums = Accumulator::new(vars.iter().map(|(_, var)| var));
                sums.add(&grads).unwrap();
                half.apply(&sums.take().unwrap()).unwrap();
            }
            single.apply(&wide).unwrap();
        }
        for ((name, var), (_, master)) in vars.iter().zip(&masters) {
            let state = half.state_of(name).unwrap();
            let own = master.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(state.theta, Values::F32(own), "{name}");
            let rounded = master.to_dtype(dtype).unwrap();
            let wide = |t: &Tensor| t.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
            assert_eq!(
                wide(var).to_vec1::<f64>().unwrap(),
                wide(&rounded).to_vec1::<f64>().unwrap()
            );
        }
        assert_eq!(half.report().unwrap().active(), 3);
    }
}

#[test]
fn groups_have_their_own_hyperparameters() {
    let vars = variables(DType::F64);
    let l1 = ConstraintConfig {
        order: Order::BeforeBase,
        ..ConstraintConfig::new(L1.into(), BoundInit::Dependent(0.5))
    };
    let groups = Groups::default()
        .with(Override::new("a.*").unwrap().constraint(l1))
        .with(Override::new("c.*").unwrap().free().lr_factor(0.0))
        .with(Override::new("wte.*").unwrap().frozen());
    let before = bits(&vars);
    let mut optimizer = AdamCpr::builder(cpr()).groups(groups).from_named(vars.clone()).unwrap();
    let mut grads = gradients(&vars, 0);
    // What is frozen needs no gradient.
    grads.remove(&vars[4].1);
    optimizer.apply(&grads).unwrap();
    let after = bits(&vars);
    let (a, b) = (130 * 301, 15 + 5);
    assert!(before[..a] != after[..a] && before[a..a + b] != after[a..a + b]);
    assert_eq!(before[a + b..], after[a + b..]);
    let table = optimizer.table();
    for part in
        ["l1 <= 0.5 of the start", "pattern a.*", "frozen", "130×301", "std <= 0.8 of the start"]
    {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    assert!(table.ends_with("39145 of 43246 trained elements are regularized\n"), "{table}");
    let unused = Groups::default().with(Override::new("nothing.*").unwrap());
    let made = AdamCpr::builder(cpr()).groups(unused).from_named(vars);
    assert!(made.unwrap_err().to_string().contains("`nothing.*`"));
}

#[test]
fn names_come_sorted_from_a_map_and_doubles_are_refused() {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    for name in ["z", "m", "a"] {
        linear(2, 2, vb.pp(name)).unwrap();
    }
    let optimizer = AdamCpr::builder(cpr()).from_varmap(&map).unwrap();
    let names: Vec<String> =
        optimizer.report().unwrap().0.into_iter().map(|group| group.name).collect();
    assert_eq!(names, ["a.weight", "m.weight", "z.weight"]);

    let var = Var::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
    let sgd = || Sgd::builder(ParamsSgd::new(0.1));
    let tied = sgd().from_named([("x", var.clone()), ("y", var.clone())]);
    assert!(matches!(tied, Err(Error::SharedVariable { .. })));
    let doubled = sgd().from_named([("x", var.clone()), ("x", var.clone())]);
    assert!(matches!(doubled, Err(Error::DuplicateName { .. })));
    // A bound of zero weights that is a multiple of R cannot be.
    let made = AdamCpr::builder(cpr()).from_named([("lora.b", var)]);
    assert!(made.unwrap_err().to_string().contains("`lora.b`"));
}

#[test]
fn bare_variables_warn_and_keep_their_order() {
    let vars: Vec<Var> = variables(DType::F32).into_iter().map(|(_, var)| var).collect();
    let optimizer = AdamCpr::new(vars, cpr()).unwrap();
    assert_eq!(optimizer.warnings(), [Warning::Unnamed { regularized: 4 }]);
    assert_eq!(optimizer.report().unwrap().0[3].name, "var.4");
    assert!(matches!(optimizer.snapshot(), Err(Error::Unnamed)));
}

#[test]
fn a_schedule_sets_every_step() {
    let shape = Shape::Linear;
    let config = ScheduleConfig { lr: 1.0, warmup: 2, steps: 4, shape, min_factor: 0.0 };
    let var = Var::new(&[[0.0_f64]], &Device::Cpu).unwrap();
    let mut optimizer = Sgd::builder(ParamsSgd::new(9.0))
        .schedule(Schedule::new(config).unwrap())
        .from_named([("x.weight", var.clone())])
        .unwrap();
    let mut grads = GradStore::default();
    grads.insert(&var, Tensor::new(&[[1.0_f64]], &Device::Cpu).unwrap());
    for expected in [-0.5, -1.5, -2.0, -2.0] {
        optimizer.apply(&grads).unwrap();
        assert_eq!(var.to_vec2::<f64>().unwrap(), [[expected]]);
    }
    optimizer.set_learning_rate(0.25);
    optimizer.apply(&grads).unwrap();
    assert_eq!(var.to_vec2::<f64>().unwrap(), [[-2.25]]);
}

#[test]
fn variables_changed_from_outside_are_measured_anew() {
    let vars = variables(DType::BF16);
    let mut optimizer = AdamCpr::builder(cpr()).from_named(vars.clone()).unwrap();
    vars[3].1.set(&Tensor::zeros((64, 64), DType::BF16, &Device::Cpu).unwrap()).unwrap();
    optimizer.reobserve().unwrap();
    assert_eq!(optimizer.report().unwrap().get("c.weight").unwrap().value, 0.0);
    assert_eq!(optimizer.state_of("c.weight").unwrap().theta, Values::F32(vec![0.0; 64 * 64]));
}

#[test]
fn free_parameters_take_no_decay() {
    let vars = variables(DType::F64);
    let mut decayed = AdamW::builder(ParamsAdamW::default()).from_named(vars.clone()).unwrap();
    let twins = variables(DType::F64);
    let plain = ParamsAdamW { weight_decay: 0.0, ..ParamsAdamW::default() };
    let mut free = AdamW::builder(plain).from_named(twins.clone()).unwrap();
    decayed.apply(&gradients(&vars, 0)).unwrap();
    free.apply(&gradients(&twins, 0)).unwrap();
    let (a, b) = (bits(&vars), bits(&twins));
    let bias = 130 * 301 + 15..130 * 301 + 20;
    assert_eq!(a[bias.clone()], b[bias]);
    assert_ne!(a[..100], b[..100]);
}
