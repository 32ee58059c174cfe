//! What must hold at the edges: no strength, no elements, one element, zeros, huge and tiny numbers.

use cpr_core::{
    ConfigError, L2, Real, Statistic,
    base::{
        AdaDecay, AdaDecayConfig, Adam, AdamConfig, Amos, AmosConfig, AmosState, Awd, AwdState,
        Base, Decay, DecaySchedule, Decayed, ModelScale, Momentum, MomentumConfig, ScaleDecay,
        WeightDecay, magnitudes,
    },
    measure,
};
use cpr_tests::{
    baselines::{Cut, Under, run_adadecay, run_amos},
    noise,
};

fn data<T: Real>(n: usize) -> (Vec<T>, Vec<Vec<T>>) {
    let of = |stream| noise::vector(stream, n).into_iter().map(T::from_f64).collect();
    (of(1), (2..6).map(of).collect())
}

fn bits<T: Real>(values: &[T]) -> Vec<u64> {
    values.iter().map(|&x| x.to_f64().to_bits()).collect()
}

const RATES: [f64; 4] = [0.1, 0.05, 0.1, 0.02];

/// The weights after four steps of Adam with this decay.
fn adam_alone<T: Real>(weight_decay: WeightDecay, start: &[T], grads: &[Vec<T>]) -> Vec<T> {
    let (mut theta, mut moments) =
        (start.to_vec(), [vec![T::ZERO; start.len()], vec![T::ZERO; start.len()]]);
    for ((t, grad), lr) in (1..).zip(grads).zip(RATES) {
        let step = Under::adam(weight_decay).at(t, lr);
        Cut::Whole.stepped(&step, &mut theta, grad, &mut moments);
    }
    theta
}

fn no_strength_is_the_base<T: Real>() {
    let (start, grads) = data::<T>(45);
    let plain = adam_alone(WeightDecay::None, &start, &grads);
    for alpha in [0.0, 4.0, 100.0] {
        let rule = AdaDecay::new(AdaDecayConfig { alpha, weight_decay: 0.0 }).unwrap();
        let run = run_adadecay((Under::Adam, rule, Cut::Whole), &start, &grads, &RATES);
        assert_eq!(bits(run.last().unwrap()), bits(&plain));
    }
    for weight_decay in [WeightDecay::Decoupled(0.3), WeightDecay::Coupled(0.3)] {
        let constant = DecaySchedule::cosine(1.0, 3).unwrap();
        assert!((0..9).all(|t| constant.factor(t).to_bits() == 1.0f64.to_bits()));
        assert_eq!(Under::adam(weight_decay).scale_decay(1.0), Under::adam(weight_decay));
        let off = Under::adam(weight_decay).scale_decay(0.0);
        let step: cpr_core::base::AdamStep<T> = off.at(1, 0.1);
        assert_eq!(step, Under::adam(WeightDecay::None).at(1, 0.1));
    }
    // A learning rate of 0 moves nothing under Amos.
    let amos = Amos::new(AmosConfig::default()).unwrap();
    for (theta, state) in run_amos((amos, 0.5, Cut::Whole), &start, &grads, &[0.0; 4]) {
        assert_eq!(bits(&theta), bits(&start));
        assert_eq!(state.b(), 0.0);
    }
}

#[test]
fn no_strength_gives_the_bits_of_the_base() {
    no_strength_is_the_base::<f32>();
    no_strength_is_the_base::<f64>();
}

/// α = 0 takes the same share of every element: AdamW to rounding.
#[test]
fn without_a_slope_adadecay_is_adamw() {
    let (start, grads) = data::<f64>(45);
    let rule = AdaDecay::new(AdaDecayConfig { alpha: 0.0, weight_decay: 0.4 }).unwrap();
    let flat = run_adadecay((Under::Adam, rule, Cut::Whole), &start, &grads, &RATES);
    let adamw = adam_alone(WeightDecay::Decoupled(0.4), &start, &grads);
    for (a, b) in flat.last().unwrap().iter().zip(&adamw) {
        assert!((a - b).abs() < 1e-14, "{a} {b}");
    }
}

/// A larger gradient decays no less, and the shares lie in [0, 2].
#[test]
fn the_share_of_the_decay_rises_with_the_gradient() {
    let grads = [0.0f32, 1e-3, 0.2, 0.21, 0.9, 1.0, -7.0, 30.0];
    let rule = AdaDecay::new(AdaDecayConfig { alpha: 3.0, weight_decay: 1.0 }).unwrap();
    let sgd = Under::sgd(WeightDecay::None);
    // lr·λ = ½, along a gradient that is not followed: what is left of 1 is 1 − θ/2.
    let step = rule.before(sgd.at(1, 0.0), 0.5, &magnitudes(&grads));
    let mut left = [1.0f32; 8];
    Cut::Whole.stepped::<f32, _, 0>(&step, &mut left, &grads, &mut []);
    assert!(left.is_sorted_by(|a, b| a >= b) && left[0] > left[7], "{left:?}");
    assert!(left.iter().all(|x| (0.0..=1.0).contains(x)), "{left:?}");
}

fn edges<T: Real>() {
    let (largest, smallest) = (T::max_value(), T::min_positive_value());
    let tiny = smallest * T::epsilon();
    for n in [0, 1, 2, 16, 17] {
        let constant = |x: T| vec![x; n];
        for w in [T::ZERO, -T::ZERO, T::ONE, tiny, largest.sqrt()] {
            for g in [T::ZERO, T::ONE, -T::ONE, tiny, smallest, T::from_f64(1e18)] {
                let grads = [constant(g), constant(T::ZERO), constant(g)];
                for under in Under::ALL {
                    for alpha in [0.0, 100.0] {
                        let rule =
                            AdaDecay::new(AdaDecayConfig { alpha, weight_decay: 0.5 }).unwrap();
                        let run = (under, rule, Cut::Whole);
                        let trace = run_adadecay(run, &constant(w), &grads, &RATES);
                        assert!(trace.concat().iter().all(|x| x.is_finite()), "{w:?} {g:?}");
                    }
                }
                for momentum in [0.0, 0.9] {
                    let config = AmosConfig { momentum, ..AmosConfig::default() };
                    let run = (Amos::new(config).unwrap(), 0.5, Cut::Whole);
                    for (theta, state) in run_amos(run, &constant(w), &grads, &RATES) {
                        assert!(theta.iter().all(|x| x.is_finite()), "{w:?} {g:?}");
                        assert!(AmosState::new(state.v(), state.b()).is_some());
                    }
                }
                let (w, g) = (measure(&L2, &constant(w)), measure(&L2, &grads[0]));
                let state = Awd::default().update(AwdState::default(), &w, &g);
                assert!(AwdState::new(state.factor()).is_some(), "{w:?} {g:?}");
            }
        }
    }
    // Zero gradients and zero weights stay where they are.
    let (zeros, amos) = (vec![T::ZERO; 5], Amos::new(AmosConfig::default()).unwrap());
    let trace = run_amos((amos, 1.0, Cut::Whole), &zeros, std::slice::from_ref(&zeros), &RATES);
    assert_eq!(trace[0], (zeros.clone(), AmosState::default()));
    // Gradients of one magnitude, whatever it is: AdamW's decay exactly.
    let rule = AdaDecay::new(AdaDecayConfig { alpha: 8.0, weight_decay: 0.5 }).unwrap();
    let grads = vec![T::from_f64(0.3), T::from_f64(-0.3)];
    let sgd = Under::sgd(WeightDecay::None);
    let step = rule.before(sgd.at(1, 0.0), 0.5, &magnitudes(&grads));
    let mut theta = vec![T::ONE; 2];
    Cut::Whole.stepped::<T, _, 0>(&step, &mut theta, &grads, &mut []);
    assert_eq!(theta, vec![T::from_f64(0.75); 2]);
}

#[test]
fn nothing_becomes_nan_at_the_edges() {
    edges::<f32>();
    edges::<f64>();
}

#[test]
fn awd_without_weights_or_with_broken_norms_decays_nothing() {
    let sum = |total| Statistic::Sum { count: 3, total };
    let awd = Awd::default();
    let start = AwdState::new(2.0).unwrap();
    for (weights, grads) in [
        (0.0, 1.0),
        (0.0, 0.0),
        (f64::NAN, 1.0),
        (1.0, f64::INFINITY),
        (1e-320, f64::MAX),
        (4.0, 1.0),
    ] {
        let state = awd.update(start, &sum(weights), &sum(grads));
        let ratio = grads.sqrt() / weights.sqrt();
        let expected = if ratio.is_finite() { 0.2 + 0.9 * ratio } else { 0.2 };
        assert!((state.factor() - expected).abs() <= 1e-15 * expected, "{weights} {grads}");
    }
    let moments = Statistic::Moments { count: 3, mean: 1.0, m2: 1.0 };
    assert_eq!(awd.update(start, &moments, &sum(1.0)).factor(), 0.1 * 2.0);
    assert_eq!((AwdState::new(-1.0), AwdState::new(f64::NAN)), (None, None));
}

#[test]
fn a_statistic_that_is_not_finite_leaves_amos_as_it_is() {
    let amos = Amos::new(AmosConfig::default()).unwrap();
    let state = AmosState::new(0.5, 3.0).unwrap();
    for broken in [
        Statistic::Sum { count: 2, total: f64::NAN },
        Statistic::Sum { count: 2, total: f64::INFINITY },
        Statistic::Moments { count: 2, mean: 0.0, m2: 0.0 },
    ] {
        let (after, step) = amos.step::<f64>(state, 4, 0.1, 0.5, &broken);
        let mut theta = [1.0, 2.0];
        Cut::Whole.stepped::<f64, _, 0>(&step, &mut theta, &[1.0, 1.0], &mut []);
        assert_eq!((after, theta), (state, [1.0, 2.0]));
    }
    assert_eq!((AmosState::new(-1.0, 0.0), AmosState::new(0.0, f64::INFINITY)), (None, None));
}

#[test]
fn what_is_out_of_range_is_refused_by_its_name() {
    fn named<T>(result: Result<T, ConfigError>, expected: &str) {
        match result.err() {
            Some(ConfigError::OutOfRange { option, .. } | ConfigError::ZeroSteps { option }) => {
                assert_eq!(option, expected);
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        let good = AdaDecayConfig::default();
        named(AdaDecay::new(AdaDecayConfig { alpha: bad, ..good }), "adadecay_alpha");
        named(AdaDecay::new(AdaDecayConfig { weight_decay: bad, ..good }), "weight_decay");
        let good = AmosConfig::default();
        named(Amos::new(AmosConfig { beta: bad, ..good }), "beta2");
        named(Amos::new(AmosConfig { momentum: bad, ..good }), "momentum");
        named(Amos::new(AmosConfig { extra_l2: bad, ..good }), "extra_l2");
        named(Awd::new(bad), "awd_average");
        named(DecaySchedule::cosine(bad, 1), "weight_decay_end");
    }
    named(Awd::new(1.0), "awd_average");
    named(DecaySchedule::cosine(0.1, 0), "weight_decay_steps");
}

#[test]
fn schedules_run_one_way_between_their_ends() {
    for end in [0.0, 0.1, 0.01, 10.0, 100.0] {
        let schedule = DecaySchedule::cosine(end, 1000).unwrap();
        let factors: Vec<f64> = (1..=1200).map(|t| schedule.factor(t)).collect();
        let falls = end < 1.0;
        assert!(factors.windows(2).all(|pair| (pair[1] <= pair[0]) == falls || pair[0] == pair[1]));
        assert_eq!((factors[0], factors[1000], factors[1199]), (1.0, end, end));
        assert!((factors[500] - (1.0 + end) / 2.0).abs() < 1e-12);
        assert_eq!((schedule.end(), schedule.steps()), (end, 1000));
    }
    assert_eq!(DecaySchedule::cosine(0.5, 1).unwrap().factor(u64::MAX), 0.5);
}

#[test]
fn a_factor_scales_every_decay_of_every_base() {
    let adam = |weight_decay| Adam::new(AdamConfig { weight_decay, ..Default::default() }).unwrap();
    let (decoupled, double) = (WeightDecay::Decoupled(0.1), WeightDecay::Decoupled(0.2));
    assert_eq!(adam(decoupled).scale_decay(2.0), adam(double));
    for (one, two) in [
        (
            Decay::PNorm { p: 0.8, lambda: 0.1, late: true, flush: true },
            Decay::PNorm { p: 0.8, lambda: 0.2, late: true, flush: true },
        ),
        (
            Decay::L1 { lambda: 0.1, weight_decay: 0.3 },
            Decay::L1 { lambda: 0.2, weight_decay: 0.6 },
        ),
        (Decay::ThreeHalves { lambda: 0.1 }, Decay::ThreeHalves { lambda: 0.2 }),
    ] {
        let (one, two) =
            (Decayed::new(adam(decoupled), one).unwrap(), Decayed::new(adam(double), two).unwrap());
        assert_eq!(one.scale_decay(2.0), two);
    }
    let momentum = |weight_decay| {
        Momentum::new(MomentumConfig { weight_decay, ..Default::default() }).unwrap()
    };
    let coupled = WeightDecay::Coupled;
    assert_eq!(momentum(coupled(0.1)).scale_decay(2.0), momentum(coupled(0.2)));
    assert_eq!(cpr_core::base::AmsGrad(adam(decoupled)).scale_decay(2.0).0, adam(double));
    let adadecay =
        |weight_decay| AdaDecay::new(AdaDecayConfig { alpha: 2.0, weight_decay }).unwrap();
    assert_eq!(adadecay(0.1).scale_decay(2.0), adadecay(0.2));
    // What is no factor is 0, and what is too large the largest number.
    for none in [-1.0, f64::NAN, 0.0] {
        let scaled = momentum(coupled(0.1)).scale_decay(none);
        assert_eq!(scaled.config().weight_decay, coupled(0.0));
    }
    let scaled = momentum(coupled(10.0)).scale_decay(f64::MAX);
    assert_eq!(scaled.config().weight_decay, coupled(f64::MAX));
}

#[test]
fn the_scale_of_a_weight_follows_its_use() {
    assert_eq!(ModelScale::Linear { inputs: 16 }.eta(), 0.25);
    assert_eq!(ModelScale::Embedding { width: 8 }.eta(), 0.5);
    assert_eq!((ModelScale::Bias.eta(), ModelScale::Normalization.eta()), (0.5, 1.0));
    assert_eq!(ModelScale::Linear { inputs: 0 }.eta(), 1.0);
}
