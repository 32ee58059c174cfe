//! Any configuration against the oracle, in both precisions, and by chunks in any order.

use cpr_core::{
    CHUNK, L2, Real,
    base::{
        AdaDecay, AdaDecayConfig, Amos, AmosConfig, Awd, AwdState, Base, DecaySchedule, ScaleDecay,
        WeightDecay,
    },
    measure,
};
use cpr_tests::{
    baselines::{self, AmosOracle, Cut, Matrix, Under, run_adadecay, run_amos},
    noise,
    tolerance::{SINGLE_STEP, TRAJECTORY_F32, Tolerance},
};
use proptest::prelude::*;

const STEPS: u64 = 5;

/// Weights, gradients and learning rates of one matrix, rounded to `T`.
struct Data<T> {
    start: Vec<T>,
    grads: Vec<Vec<T>>,
    rates: Vec<f64>,
}

impl<T: Real> Data<T> {
    fn new(seed: u64, n: usize, lr: f64) -> Self {
        let rounded = |stream: u64, scale: f64| {
            noise::vector(seed ^ stream, n).iter().map(|x| T::from_f64(scale * x)).collect()
        };
        Self {
            start: rounded(1, 2.0),
            grads: (0..STEPS).map(|t| rounded(100 + t, 0.5)).collect(),
            rates: (0..STEPS).map(|t| lr / (1.0 + t as f64)).collect(),
        }
    }
}

fn wide<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&x| x.to_f64()).collect()
}

fn limit<T: Real>() -> f64 {
    if T::from_f64(1e300).is_finite() { SINGLE_STEP.limit } else { TRAJECTORY_F32.limit }
}

#[track_caller]
fn near<T: Real>(given: &[T], expected: &[f64]) {
    for (&a, &b) in given.iter().zip(expected) {
        let distance = Tolerance::distance(a.to_f64(), b);
        assert!(distance <= limit::<T>(), "{a:?} against {b}");
    }
}

fn adadecay_follows<T: Real>(under: Under, seed: u64, n: usize, alpha: f64, decay: f64, lr: f64) {
    let data = Data::<T>::new(seed, n, lr);
    let rule = AdaDecay::new(AdaDecayConfig { alpha, weight_decay: decay }).unwrap();
    let trace = run_adadecay((under, rule, Cut::Whole), &data.start, &data.grads, &data.rates);
    let mut oracle = Matrix::new(under, wide(&data.start));
    for ((theta, grad), &lr) in trace.iter().zip(&data.grads).zip(&data.rates) {
        oracle.adadecay(&wide(grad), lr, decay, alpha);
        near(theta, &oracle.theta);
    }
    let cut = Cut::Chunks(seed >> 1);
    let chunked = run_adadecay((under, rule, cut), &data.start, &data.grads, &data.rates);
    assert!(chunked == trace, "chunks change bits");
}

fn amos_follows<T: Real>(rule: Amos, seed: u64, n: usize, eta: f64, lr: f64) {
    let data = Data::<T>::new(seed, n, lr);
    let run = |cut| run_amos((rule, eta, cut), &data.start, &data.grads, &data.rates);
    let trace = run(Cut::Whole);
    let mut oracle = AmosOracle::new(wide(&data.start));
    for (((theta, state), grad), &lr) in trace.iter().zip(&data.grads).zip(&data.rates) {
        oracle.step(&rule, eta, &wide(grad), lr);
        near(theta, &oracle.theta);
        let (v, b) = oracle.slots;
        assert!((state.v() - v).abs() <= 1e-12 * v && (state.b() - b).abs() <= 1e-12 * (1.0 + b));
    }
    assert!(run(Cut::Chunks(seed >> 1)) == trace, "chunks change bits");
}

/// A decay that a factor scales, step by step: of a schedule, then of AWD.
fn scaled_decay_follows<T: Real>(under: Under, seed: u64, n: usize, decay: f64, end: f64) {
    let data = Data::<T>::new(seed, n, 0.1);
    let schedule = DecaySchedule::cosine(end, 3).unwrap();
    let weight_decay = WeightDecay::Decoupled(decay);
    let (sgd, adam) = (Under::sgd(weight_decay), Under::adam(weight_decay));
    for adaptive in [false, true] {
        let mut theta = data.start.clone();
        let mut moments = [vec![T::ZERO; n], vec![T::ZERO; n]];
        let (mut state, mut average) = (AwdState::default(), 0.0);
        let mut oracle = Matrix::new(under, wide(&data.start));
        for ((t, grad), &lr) in (1..).zip(&data.grads).zip(&data.rates) {
            let (factor, expected);
            if adaptive {
                average = baselines::awd(average, &oracle.theta, &wide(grad));
                state = Awd::default().update(state, &measure(&L2, &theta), &measure(&L2, grad));
                (factor, expected) = (state.factor(), average);
            } else {
                (factor, expected) = (schedule.factor(t), baselines::cosine(end, 3, t));
            }
            match under {
                Under::Sgd => {
                    let step = sgd.scale_decay(factor).at(t, lr);
                    Cut::Whole.stepped(&step, &mut theta, grad, &mut []);
                }
                Under::Adam => {
                    let step = adam.scale_decay(factor).at(t, lr);
                    Cut::Whole.stepped(&step, &mut theta, grad, &mut moments);
                }
            }
            oracle.decoupled(&wide(grad), lr, decay * expected);
            near(&theta, &oracle.theta);
        }
    }
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 1usize..70, 1 => (2 * CHUNK - 3)..(2 * CHUNK + 40)]
}

fn unders() -> impl Strategy<Value = Under> {
    prop_oneof![Just(Under::Sgd), Just(Under::Adam)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn adadecay(
        under in unders(), seed in any::<u64>(), n in sizes(),
        alpha in 0.0f64..10.0, decay in 0.0f64..2.0, lr in 0.0f64..0.3,
    ) {
        adadecay_follows::<f64>(under, seed, n, alpha, decay, lr);
        adadecay_follows::<f32>(under, seed, n, alpha, decay, lr);
    }

    #[test]
    fn amos(
        seed in any::<u64>(), n in sizes(), eta in 0.01f64..1.0, lr in 0.0f64..0.5,
        beta in 0.0f64..0.9999, momentum in prop_oneof![Just(0.0), 0.0f64..0.99],
        extra_l2 in prop_oneof![Just(0.0), 0.0f64..0.1],
    ) {
        let rule = Amos::new(AmosConfig { beta, momentum, extra_l2 }).unwrap();
        amos_follows::<f64>(rule, seed, n, eta, lr);
        amos_follows::<f32>(rule, seed, n, eta, lr);
    }

    #[test]
    fn schedules_and_awd(
        under in unders(), seed in any::<u64>(), n in sizes(),
        decay in 0.0f64..0.5, end in prop_oneof![Just(0.0), Just(1.0), 0.0f64..10.0],
    ) {
        scaled_decay_follows::<f64>(under, seed, n, decay, end);
        scaled_decay_follows::<f32>(under, seed, n, decay, end);
    }
}
