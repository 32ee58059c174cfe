//! The pieces of a step on one chunk in the cache: base steps, phase 1 under a constraint, measures, corrections, the O(1)
//! update and its record.
//!
//! `cargo bench -p cpr-host --bench pieces -- [FILTER]`. Throughput is in elements: 4096 of f32 a call.

use std::hint::black_box;

use cpr_core::{
    AnyRegularizer, BoundInit, CHUNK, Constraint, ConstraintConfig, ConstraintRule, Correction,
    ENCODED_LEN, Huber, L1, L2, Lp, Observed, Order, Shard, Std, all_finite,
    base::{
        Adam, AdamConfig, AmsGrad, Base, Decay, Decayed, Momentum, MomentumConfig, Sgd, SgdConfig,
        WeightDecay, magnitudes,
    },
    base_step, measure,
};
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};

/// So small that millions of steps leave the weights where they are: at a minimum moments would become subnormal.
const LR: f64 = 1e-12;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Numbers of both signs that do not repeat within a vector; none is 0, or its moments would become subnormal and slow.
fn values(scale: f32) -> Vec<f32> {
    (0..CHUNK).map(|i| scale * ((i * 37 % 251) as f32 / 125.0 - 0.997)).collect()
}

fn adam(weight_decay: WeightDecay) -> Adam {
    Adam::new(AdamConfig { weight_decay, ..AdamConfig::default() }).expect("valid numbers")
}

fn constraint(measure: AnyRegularizer, order: Order, active: bool) -> Constraint<AnyRegularizer> {
    let kappa = if active { BoundInit::Dependent(1e-3) } else { BoundInit::Uniform(f64::MAX) };
    let config = ConstraintConfig { order, ..ConstraintConfig::new(measure, kappa) };
    let rule = ConstraintRule::new(config).expect("a valid rule");
    rule.start_from(&values(0.02)).expect("a chunk that can start")
}

/// What phase 1 would report of the chunk.
fn observed(regularizer: AnyRegularizer) -> Observed {
    Observed { statistic: measure(&regularizer, &values(0.02)), stopped: 0 }
}

/// `step` on a chunk and `M` moments; every so many elements one has had no gradient for so long that its moments are
/// subnormal.
fn on_chunk<const M: usize>(
    group: &mut Group<'_>,
    name: &str,
    idle: Option<usize>,
    mut step: impl FnMut(u64, Shard<'_, f32, M>),
) {
    let (mut theta, mut grad) = (values(0.02), values(0.01));
    let mut moments: [Vec<f32>; M] = std::array::from_fn(|_| vec![1e-4; CHUNK]);
    for at in (0..CHUNK).step_by(idle.unwrap_or(CHUNK)).skip(1) {
        grad[at] = 0.0;
        moments.iter_mut().for_each(|moment| moment[at] = 1e-40);
    }
    let mut t = 0;
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            t += 1;
            let moments = moments.each_mut().map(Vec::as_mut_slice);
            step(t, Shard::new(&mut theta, &grad, moments).expect("equal lengths"));
        });
    });
}

fn base<const M: usize>(group: &mut Group<'_>, name: &str, base: &impl Base<f32, M>) {
    on_chunk(group, name, None, |t, shard| base_step(&base.at(t, LR), shard));
}

fn bases(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("base step");
    group.throughput(Throughput::Elements(CHUNK as u64));
    base(&mut group, "sgd", &Sgd::new(SgdConfig::default()).expect("valid numbers"));
    let momentum = Momentum::new(MomentumConfig::default()).expect("valid numbers");
    base(&mut group, "momentum", &momentum);
    base(&mut group, "adamw", &adam(WeightDecay::Decoupled(0.1)));
    let adamw = adam(WeightDecay::Decoupled(0.1));
    on_chunk(&mut group, "adamw, one in 250 without a gradient", Some(250), |t, shard| {
        base_step(&adamw.at(t, LR), shard);
    });
    base(&mut group, "adam, coupled decay", &adam(WeightDecay::Coupled(0.1)));
    base(&mut group, "amsgrad", &AmsGrad(adam(WeightDecay::None)));
    let decays = [
        ("padam 0.5", Decay::PNorm { p: 0.5, lambda: 1e-3, late: false, flush: true }),
        ("padam 0.8", Decay::PNorm { p: 0.8, lambda: 1e-3, late: false, flush: true }),
        ("padam 1", Decay::PNorm { p: 1.0, lambda: 1e-3, late: false, flush: true }),
        ("adaml1", Decay::L1 { lambda: 1e-3, weight_decay: 0.0 }),
        ("adaml3/2", Decay::ThreeHalves { lambda: 1e-3 }),
    ];
    for (name, decay) in decays {
        let decayed = Decayed::new(adam(WeightDecay::None), decay).expect("valid numbers");
        base(&mut group, name, &decayed);
    }
    group.finish();
}

fn measures() -> Vec<(&'static str, AnyRegularizer)> {
    vec![
        ("l2", L2.into()),
        ("l1", L1.into()),
        ("huber", Huber::new(0.01).expect("valid numbers").into()),
        ("std", Std.into()),
        ("lp 1.5", Lp::new(1.5).expect("valid numbers").into()),
        ("lp 1.3", Lp::new(1.3).expect("valid numbers").into()),
    ]
}

fn first_passes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("adam and measure");
    group.throughput(Throughput::Elements(CHUNK as u64));
    let adam = adam(WeightDecay::None);
    for (name, measure) in measures() {
        for (order, when) in [(Order::AfterBase, ""), (Order::BeforeBase, ", before the base")] {
            let mut constraint = constraint(measure, order, true);
            // λ > 0, so that BeforeBase has a correction.
            for _ in 0..3 {
                let _ = constraint.update(&observed(measure), LR);
            }
            let first = constraint.begin(LR);
            on_chunk(&mut group, &format!("{name}{when}"), None, |t, shard| {
                black_box(first.run(&adam.at(t, LR), shard));
            });
        }
    }
    group.finish();
}

fn passes_over_theta(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("over a slice");
    group.throughput(Throughput::Elements(CHUNK as u64));
    let theta = values(0.02);
    for (name, regularizer) in measures() {
        group.bench_function(format!("measure {name}"), |bencher| {
            bencher.iter(|| measure(&regularizer, black_box(&theta)));
        });
    }
    group.bench_function("measure |g|", |bencher| bencher.iter(|| magnitudes(black_box(&theta))));
    group.bench_function("all finite", |bencher| bencher.iter(|| all_finite(black_box(&theta))));
    for (name, regularizer) in measures() {
        let mut constraint = constraint(regularizer, Order::AfterBase, true);
        let correction: Correction = constraint.update(&observed(regularizer), LR);
        let mut corrected = theta.clone();
        group.bench_function(format!("copy, correct {name}"), |bencher| {
            bencher.iter(|| {
                // Again and again the same would end at zero.
                corrected.copy_from_slice(&theta);
                correction.apply(black_box(&mut corrected))
            });
        });
    }
    group.finish();
}

fn of_a_matrix(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a matrix");
    for (name, regularizer) in [("l2", AnyRegularizer::from(L2)), ("std", Std.into())] {
        let mut constraint = constraint(regularizer, Order::AfterBase, true);
        let observed = observed(regularizer);
        group.bench_function(format!("update {name}"), |bencher| {
            bencher.iter(|| constraint.update(black_box(&observed), LR));
        });
    }
    let constraint = constraint(L2.into(), Order::AfterBase, true);
    let mut record = [0; ENCODED_LEN];
    group.bench_function("encode", |bencher| {
        bencher.iter(|| constraint.encode(black_box(&mut record)).expect("its length"));
    });
    constraint.encode(&mut record).expect("its length");
    group.bench_function("decode", |bencher| {
        bencher
            .iter(|| Constraint::<AnyRegularizer>::decode(black_box(&record)).expect("a record"));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bases(&mut criterion);
    first_passes(&mut criterion);
    passes_over_theta(&mut criterion);
    of_a_matrix(&mut criterion);
    criterion.final_summary();
}
