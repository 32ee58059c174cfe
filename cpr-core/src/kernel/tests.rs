//! Every instruction set gives the bits of the baseline, for every base rule, measure and correction.

use std::vec::Vec;

use super::{decay::UNDER_WAY, step::LAG, *};
use crate::{
    base::{
        AdaDecay, AdaDecayConfig, Adam, AdamConfig, Amos, AmosConfig, AmosState, AmsGrad, Base,
        Decay, DecayStep, Decayed, DecayedStep, Momentum, MomentumConfig, Sgd, SgdConfig,
        WeightDecay, magnitudes,
    },
    dispatch::Level,
    observer::{MagnitudesOf, MomentsOf, SumOf},
    power::{ElementPower, Power},
    regularizer::{Huber, Squares},
    shrink::{
        ClipStep, HuberProxStep, PowerStep, ProximalPullStep, PullStep, ScaleStep, SignStep,
        SoftThresholdStep, Unmoved,
    },
};

/// Around a block, around what a measure is behind, over the strips of a chunk, and over the streams of a correction.
const LENGTHS: [usize; 13] =
    [0, 1, 15, 16, 33, BEHIND - 1, BEHIND, BEHIND + 1, BEHIND + LANES, 200, 1041, 4133, 8229];

/// Elements that a measure is behind.
const BEHIND: usize = LAG * LANES;

fn values<T: Real>(n: usize, seed: f64) -> Vec<T> {
    (0..n).map(|i| T::from_f64(libm::sin(seed + 0.7 * count(i)) * 0.3)).collect()
}

fn count(i: usize) -> f64 {
    crate::real::count_as_f64(i as u64)
}

/// θ, moments and measure after one chunk at a level.
fn outcome<T, B, S, O, const M: usize>(
    level: Level,
    n: usize,
    (base, shrink, observer): (B, S, O),
) -> (Vec<T>, Vec<Vec<T>>, Observed)
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    O: Observer<T>,
{
    let (mut theta, grad) = (values(n, 0.1), values(n, 0.9));
    let mut moments: [Vec<T>; M] =
        core::array::from_fn(|k| values::<T>(n, count(k)).iter().map(|x| x.abs()).collect());
    let views = moments.each_mut().map(|moment| moment.as_mut_slice());
    let shard = Shard::new(&mut theta, &grad, views).unwrap();
    let observed = first_pass_at(level, (base, shrink, observer), shard);
    (theta, moments.into(), observed)
}

fn alike<T, B, S, O, const M: usize>(rules: (B, S, O))
where
    T: Real,
    B: BaseRule<T, M>,
    S: Shrink<T>,
    O: Observer<T>,
{
    for n in LENGTHS {
        let baseline = outcome::<T, B, S, O, M>(Level::Baseline, n, rules);
        for level in [Level::Avx2, Level::Avx512] {
            assert_eq!(outcome(level, n, rules), baseline, "{n} elements, {level:?}");
        }
        let corrected = |level, streams| {
            let mut theta = values::<T>(n, 0.1);
            let correct = Correct { shrink: rules.1, theta: &mut theta, streams };
            let stopped = dispatch::run_at(level, correct);
            (theta, stopped)
        };
        let mut one_by_one = (values::<T>(n, 0.1), 0);
        for x in &mut one_by_one.0 {
            let stops;
            (*x, stops) = rules.1.element(*x, *x);
            one_by_one.1 += u64::from(stops);
        }
        for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
            for streams in [false, true] {
                assert_eq!(
                    corrected(level, streams),
                    one_by_one,
                    "{n} elements, {level:?}, {streams}"
                );
            }
        }
    }
}

fn all<T: Real>() {
    let adam = Adam::new(AdamConfig {
        weight_decay: WeightDecay::Decoupled(0.1),
        ..AdamConfig::default()
    })
    .unwrap();
    let step = Base::<T, 2>::at(&adam, 3, 1e-2);
    let huber = SumOf(Huber::new(0.1).unwrap());
    alike::<T, _, _, _, 2>((step, Unmoved, Unobserved));
    alike::<T, _, _, _, 2>((step, Unmoved, SumOf(Squares)));
    alike::<T, _, _, _, 2>((step, PullStep::of(0.1, 0.0), SumOf(Squares)));
    alike::<T, _, _, _, 2>((step, SignStep::of(0.05, true), SumOf(Squares)));
    alike::<T, _, _, _, 2>((step, PullStep::of(0.1, 0.02), MomentsOf));
    alike::<T, _, _, _, 2>((step, ProximalPullStep(PullStep::of(0.1, 0.02)), MomentsOf));
    alike::<T, _, _, _, 2>((step, ScaleStep::of(0.3, 0.02), MomentsOf));
    alike::<T, _, _, _, 2>((step, SignStep::of(0.05, true), huber));
    alike::<T, _, _, _, 2>((step, SoftThresholdStep::of(0.05), huber));
    alike::<T, _, _, _, 2>((step, ClipStep::of(1.5, 0.1, true), huber));
    alike::<T, _, _, _, 2>((step, HuberProxStep::of(0.5, 0.1), huber));
    for p in [0.5, 0.8, 1.0, 1.5, 2.0, 3.3] {
        alike::<T, _, _, _, 2>((step, PowerStep::of(p, 0.01, false, true), huber));
        let decay = Decay::PNorm { p, lambda: 0.1, late: true, flush: false };
        let decayed = Decayed::new(adam, decay).unwrap();
        alike::<T, _, _, _, 2>((decayed.at(2, 0.1), Unmoved, huber));
    }
    for decay in [Decay::L1 { lambda: 1.0, weight_decay: 0.1 }, Decay::ThreeHalves { lambda: 0.5 }]
    {
        let decayed = Decayed::new(adam, decay).unwrap();
        alike::<T, _, _, _, 2>((decayed.at(2, 0.1), Unmoved, MomentsOf));
    }
    let momentum = Momentum::new(MomentumConfig { nesterov: true, ..Default::default() }).unwrap();
    alike::<T, _, _, _, 3>((AmsGrad(adam).at(2, 0.1), Unmoved, MomentsOf));
    alike::<T, _, _, _, 1>((momentum.at(2, 0.1), Unmoved, MomentsOf));
    alike::<T, _, _, _, 0>((Sgd::new(SgdConfig::default()).unwrap().at(2, 0.1), Unmoved, huber));

    let grads = magnitudes(&values::<T>(200, 0.9));
    for alpha in [0.0, 1.0, 8.0, 100.0] {
        let rule = AdaDecay::new(AdaDecayConfig { alpha, weight_decay: 0.3 }).unwrap();
        alike::<T, _, _, _, 2>((rule.before(step, 0.1, &grads), Unmoved, MagnitudesOf));
    }
    let amos = Amos::new(AmosConfig { momentum: 0.9, ..AmosConfig::default() }).unwrap();
    let squares = Statistic::Sum { count: 200, total: 9.0 };
    let (_, step) = amos.step::<T>(AmosState::default(), 1, 0.1, 0.3, &squares);
    alike::<T, _, _, _, 0>((step, Unmoved, huber));
    alike::<T, _, _, _, 1>((step, Unmoved, huber));
}

/// θ after p-norm decay, from its definition and single powers.
fn decayed_naively<T: Real>(p: f64, strength: T, before: &[T], after: &[T]) -> Vec<T> {
    let power = Power::new((2.0 - p).abs());
    let decayed = |(&x, &w): (&T, &T)| {
        let raised = power.of(x.abs());
        let raised = if raised > T::max_value() { T::max_value() } else { raised };
        if p < 2.0 { w * (raised / (raised + strength)) } else { w / (T::ONE + strength * raised) }
    };
    before.iter().zip(after).map(decayed).collect()
}

/// The levels that this machine has.
fn levels() -> impl Iterator<Item = Level> {
    let all = [Level::Baseline, Level::Avx2, Level::Avx512];
    all.into_iter().filter(|&level| level <= Level::current())
}

/// Of the lengths around tiles, around what is under way at once, and around that of a strip.
#[test]
fn the_decay_of_each_weight_is_that_of_its_own_magnitude() {
    fn check<T: Real>() {
        let edges = [T::ZERO, -T::ZERO, T::max_value(), T::infinity(), T::nan(), -T::infinity()];
        let subnormal = [T::min_positive_value() / T::from_f64(3.0)];
        let edges = [&edges[..], &subnormal].concat();
        for n in [0, 1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 79, 511, 512, 513, 1041] {
            let [mut before, mut after] = [0.1, 0.4].map(|seed| values::<T>(n, seed));
            for (theta, start) in [(&mut before, 5), (&mut after, 2)] {
                let places = theta.iter_mut().skip(start).step_by(13);
                for (place, &edge) in places.zip(edges.iter().cycle()) {
                    *place = edge;
                }
            }
            for (p, late) in [0.8, 1.5, 3.3].into_iter().flat_map(|p| [(p, false), (p, true)]) {
                let shrink = PowerStep::of(p, 0.01, late, false);
                let deciding = if late { &after } else { &before };
                let naive = decayed_naively(p, T::from_f64(0.01), deciding, &after);
                let bits = |theta: &[T]| theta.iter().map(|&x| Real::to_f64(x).to_bits()).collect();
                let expected: Vec<u64> = bits(&naive);
                for level in levels() {
                    let mut theta = after.clone();
                    let kernel = CorrectFrom { shrink, before: &before, theta: &mut theta };
                    dispatch::run_at(level, kernel);
                    let given: Vec<u64> = bits(&theta);
                    assert_eq!(given, expected, "{n} elements, p = {p}, {late}, {level:?}");
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn every_level_gives_the_bits_of_the_baseline() {
    all::<f32>();
    all::<f64>();
}

/// In one loop, on machines without AVX-512 too, and strip by strip.
#[test]
fn a_measure_that_goes_along_has_the_bits_of_one_that_follows() {
    fn check<T: Real, B, S, O, const M: usize>((base, shrink, observer): (B, S, O))
    where
        B: BaseRule<T, M>,
        S: Shrink<T>,
        O: Observer<T>,
    {
        for n in (0..=2 * BEHIND + LANES + 1).chain([4096]) {
            let expected = outcome::<T, B, S, O, M>(Level::Baseline, n, (base, shrink, observer));
            for level in levels() {
                let (mut theta, grad) = (values(n, 0.1), values(n, 0.9));
                let mut moments: [Vec<T>; M] = core::array::from_fn(|k| {
                    values::<T>(n, count(k)).iter().map(|x| x.abs()).collect()
                });
                let views = moments.each_mut().map(|moment| moment.as_mut_slice());
                let shard = Shard::new(&mut theta, &grad, views).unwrap();
                let along = Step { beside: Behind::new(observer), base, shrink, shard };
                let (stopped, lanes) = dispatch::run_at(level, along);
                let observed = Observed { statistic: observer.fold(lanes, n as u64), stopped };
                assert_eq!((theta, moments.into(), observed), expected, "{n} elements, {level:?}");
            }
        }
    }
    fn all<T: Real>() {
        let adam = Adam::new(AdamConfig::default()).unwrap();
        let step = Base::<T, 2>::at(&adam, 3, 1e-2);
        check::<T, _, _, _, 2>((step, Unmoved, SumOf(Squares)));
        check::<T, _, _, _, 2>((step, PullStep::of(0.1, 0.02), MomentsOf));
        check::<T, _, _, _, 3>((AmsGrad(adam).at(2, 0.1), Unmoved, MagnitudesOf));
        let sgd = Sgd::new(SgdConfig::default()).unwrap();
        check::<T, _, _, _, 0>((sgd.at(2, 0.1), Unmoved, SumOf(Huber::new(0.1).unwrap())));
        check::<T, _, _, _, 5>((Many, Unmoved, MomentsOf));
    }
    all::<f32>();
    all::<f64>();
}

/// θ, and one element in 13 of it what a power has to take care of.
fn with_edges<T: Real>(mut theta: Vec<T>) -> Vec<T> {
    let tiny = T::min_positive_value();
    let edges = [
        T::ZERO,
        tiny / T::from_f64(3.0),
        T::max_value(),
        -tiny,
        T::infinity(),
        -T::ZERO,
        T::nan(),
        -(tiny / T::from_f64(1e3)),
    ];
    for (place, &edge) in theta.iter_mut().skip(5).step_by(13).zip(edges.iter().cycle()) {
        *place = edge;
    }
    theta
}

/// In one loop, on machines without AVX-512 too, and strip by strip.
#[test]
fn a_decay_that_goes_along_has_the_bits_of_one_that_follows() {
    /// θ and the moments; one NaN is as good as another.
    fn bits<T: Real, const M: usize>(theta: &[T], moments: &[Vec<T>; M]) -> Vec<u64> {
        let all = moments.iter().flatten().chain(theta);
        all.map(|&x| if x.is_nan() { u64::MAX } else { Real::to_f64(x).to_bits() }).collect()
    }
    fn check<T: Real, B: BaseRule<T, M>, const M: usize>(base: B) {
        let rule = base.decay().and_then(DecayStep::as_shrunk).unwrap();
        let lengths = (0..=2 * UNDER_WAY * LANES + LANES + 1).step_by(5).chain([128, 144, 4096]);
        for (n, edges) in lengths.flat_map(|n| [(n, false), (n, true)]) {
            let start = values::<T>(n, 0.1);
            let start = if edges { with_edges(start) } else { start };
            let grad = values::<T>(n, 0.9);
            let stepped = |run: &dyn Fn(Shard<'_, T, M>)| {
                let mut theta = start.clone();
                let mut moments: [Vec<T>; M] = core::array::from_fn(|k| {
                    values::<T>(n, count(k)).iter().map(|x| x.abs()).collect()
                });
                let views = moments.each_mut().map(|moment| moment.as_mut_slice());
                run(Shard::new(&mut theta, &grad, views).unwrap());
                bits(&theta, &moments)
            };
            let expected = stepped(&|shard| {
                first_pass_at(Level::Baseline, (base, Unmoved, Unobserved), shard);
            });
            for level in levels() {
                let given = stepped(&|shard| {
                    let mut room = Room::new();
                    let beside = Decaying::new(rule, &mut room);
                    dispatch::run_at(level, Step { beside, base, shrink: Unmoved, shard });
                });
                assert_eq!(given, expected, "{n} elements, edges: {edges}, {level:?}");
            }
        }
    }
    fn all<T: Real>() {
        let adam = Adam::new(AdamConfig::default()).unwrap();
        let decay = |p, late, flush| Decay::PNorm { p, lambda: 0.1, late, flush };
        for (p, late, flush) in [
            (0.8, false, true),
            (0.8, true, true),
            (0.3, false, false),
            (1.3, true, false),
            (1.999, false, true),
        ] {
            let decayed = Decayed::new(adam, decay(p, late, flush)).unwrap();
            check::<T, _, 2>(decayed.at(2, 0.1));
        }
        let decay = decay(0.7, false, true);
        check::<T, _, 3>(Decayed::new(AmsGrad(adam), decay).unwrap().at(2, 0.1));
        let sgd = Decayed::new(Sgd::new(SgdConfig::default()).unwrap(), decay).unwrap();
        check::<T, _, 0>(sgd.at(2, 0.1));
        let grads = magnitudes(&values::<T>(200, 0.9));
        let rule = AdaDecay::new(AdaDecayConfig { alpha: 8.0, weight_decay: 0.3 }).unwrap();
        check::<T, _, 0>(rule.before(sgd.at(2, 0.1), 0.1, &grads));
    }
    all::<f32>();
    all::<f64>();
}

#[test]
fn a_decay_goes_along_at_the_widest_level_where_nothing_comes_after_it() {
    fn taken<S: Shrink<f32>, O: Observer<f32>>(level: Level, _: S, _: O) -> bool {
        let adam = Adam::new(AdamConfig::default()).unwrap();
        let decay = Decay::PNorm { p: 0.8, lambda: 0.1, late: false, flush: true };
        let step: DecayedStep<_, f32> = Decayed::new(adam, decay).unwrap().at(1, 0.1);
        taken_along::<_, _, S, O, 2>(level, &step).is_some()
    }
    assert!(taken(Level::Avx512, Unmoved, Unobserved));
    assert!(!taken(Level::Avx2, Unmoved, Unobserved));
    assert!(!taken(Level::Baseline, Unmoved, Unobserved));
    assert!(!taken(Level::Avx512, Unmoved, SumOf(Squares)));
    assert!(!taken(Level::Avx512, PullStep::of(0.1, 0.0), Unobserved));
}

/// Only what a loop can take over is offered to it.
#[test]
fn a_decay_goes_along_where_a_power_takes_long_and_is_all_that_follows() {
    let adam = Adam::new(AdamConfig::default()).unwrap();
    let offered = |decay: Decay| {
        let step: DecayedStep<_, f32> =
            Base::<f32, 2>::at(&Decayed::new(adam, decay).unwrap(), 1, 0.1);
        BaseRule::<f32, 2>::decay(&step).and_then(DecayStep::as_shrunk).is_some()
    };
    let p_norm = |p| Decay::PNorm { p, lambda: 0.1, late: false, flush: true };
    assert!(offered(p_norm(0.8)) && offered(p_norm(1.2)));
    for p in [0.5, 1.0, 1.5, 2.0, 3.3] {
        assert!(!offered(p_norm(p)), "p = {p}");
    }
    assert!(!offered(Decay::L1 { lambda: 1.0, weight_decay: 0.1 }));
    assert!(!offered(Decay::ThreeHalves { lambda: 1.0 }));

    let once = Decayed::new(adam, p_norm(0.8)).unwrap();
    let twice = Decayed::new(once, p_norm(0.8)).unwrap();
    assert!(BaseRule::<f32, 2>::decay(&Base::<f32, 2>::at(&twice, 1, 0.1)).is_none());
    assert!(BaseRule::<f32, 2>::decay(&Base::<f32, 2>::at(&adam, 1, 0.1)).is_none());
}

/// A rule with more moments than any of this crate: each adds up the gradients from its own number on.
#[derive(Clone, Copy)]
struct Many;

impl<T: Real> BaseRule<T, 5> for Many {
    fn block(&self, theta: &mut [T; LANES], grad: &[T; LANES], moments: &mut [[T; LANES]; 5]) {
        for (i, (theta, &grad)) in theta.iter_mut().zip(grad).enumerate() {
            for moment in moments.iter_mut() {
                moment[i] = moment[i] + grad;
                *theta = *theta - moment[i];
            }
        }
    }
}

#[test]
fn a_rule_of_many_moments_steps_every_element() {
    for n in LENGTHS {
        for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
            let (theta, moments, observed) =
                outcome::<f64, _, _, _, 5>(level, n, (Many, Unmoved, SumOf(Squares)));
            let (mut expected, grad) = (values::<f64>(n, 0.1), values::<f64>(n, 0.9));
            for (k, moment) in moments.iter().enumerate() {
                let mut kept: Vec<f64> =
                    values::<f64>(n, count(k)).iter().map(|x| x.abs()).collect();
                for ((kept, grad), theta) in kept.iter_mut().zip(&grad).zip(&mut expected) {
                    *kept += grad;
                    *theta -= *kept;
                }
                assert_eq!(*moment, kept, "moment {k} of {n} elements");
            }
            assert_eq!(theta, expected, "{n} elements");
            let squares: f64 = expected.iter().map(|x| x * x).sum();
            let Statistic::Sum { total, .. } = observed.statistic else { panic!("a sum") };
            assert!((total - squares).abs() <= 1e-12 * squares, "{total} {squares}");
        }
    }
}
