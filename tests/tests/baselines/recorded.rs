//! Against tests/data/baselines.json, which scripts/baselines.py wrote from the papers' formulas; its values of Amos are
//! those of the authors' code.

use std::sync::LazyLock;

use cpr_core::{
    Correction, L2, Statistic,
    base::{
        AdaDecay, AdaDecayConfig, Amos, AmosConfig, Awd, AwdState, Base, Decay, DecaySchedule,
        Decayed, ScaleDecay, WeightDecay,
    },
    measure,
};
use cpr_tests::{
    baselines::{Cut, Under, run_adadecay, run_amos},
    tolerance::TRAJECTORY_F64,
};
use serde_json::Value;

static RECORDED: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../data/baselines.json")).unwrap());

fn cases(name: &str) -> &'static [Value] {
    RECORDED[name].as_array().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn vector(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(vector).collect()
}

#[track_caller]
fn near(given: &[f64], expected: &[f64]) {
    assert_eq!(given.len(), expected.len());
    for (&a, &b) in given.iter().zip(expected) {
        assert!(TRAJECTORY_F64.holds(a, b), "{a} against {b}");
    }
}

#[test]
fn schedules() {
    for case in cases("schedules") {
        let schedule =
            DecaySchedule::cosine(number(&case["end"]), case["steps"].as_u64().unwrap()).unwrap();
        let factors: Vec<f64> = (1..=10).map(|t| schedule.factor(t)).collect();
        near(&factors, &vector(&case["factors"]));
    }
    assert_eq!(cases("schedules").len(), 6);
}

#[test]
fn adadecay() {
    let rates = vector(&RECORDED["rates"]);
    for case in cases("adadecay") {
        let under = Under::named(case["base"].as_str().unwrap()).unwrap();
        let config =
            AdaDecayConfig { alpha: number(&case["alpha"]), weight_decay: number(&case["decay"]) };
        let rule = AdaDecay::new(config).unwrap();
        let (start, grads) = (vector(&case["start"]), rows(&case["grads"]));
        let trace = run_adadecay((under, rule, Cut::Whole), &start, &grads, &rates);
        near(&trace.concat(), &rows(&case["theta"]).concat());
    }
    assert_eq!(cases("adadecay").len(), 8);
}

#[test]
fn awd_over_two_matrices() {
    fn run(under: Under, case: &Value) -> (Vec<f64>, Vec<Vec<f64>>) {
        let decay = WeightDecay::Decoupled(number(&case["dog"]));
        let (sgd, adam) = (Under::sgd(decay), Under::adam(decay));
        let (mut theta, grads) = (vector(&case["start"]), rows(&case["grads"]));
        let mut moments = [vec![0.0; theta.len()], vec![0.0; theta.len()]];
        let (mut state, mut averages, mut trace) = (AwdState::default(), Vec::new(), Vec::new());
        for ((t, grad), lr) in (1..).zip(&grads).zip(vector(&RECORDED["rates"])) {
            let both =
                |x: &[f64]| cpr_core::Merge::merge(measure(&L2, &x[..4]), measure(&L2, &x[4..]));
            state = Awd::default().update(state, &both(&theta), &both(grad));
            let factor = state.factor();
            averages.push(factor * number(&case["dog"]));
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
            trace.push(theta.clone());
        }
        (averages, trace)
    }
    for case in cases("awd") {
        let (averages, trace) = run(Under::named(case["base"].as_str().unwrap()).unwrap(), case);
        near(&averages, &vector(&case["average"]));
        near(&trace.concat(), &rows(&case["theta"]).concat());
    }
    assert_eq!(cases("awd").len(), 2);
}

#[test]
fn amos() {
    let rates = vector(&RECORDED["rates"]);
    for case in cases("amos") {
        let config = AmosConfig {
            beta: number(&case["beta"]),
            momentum: number(&case["momentum"]),
            extra_l2: number(&case["extra_l2"]),
        };
        let run = (Amos::new(config).unwrap(), number(&case["eta"]), Cut::Whole);
        let trace = run_amos(run, &vector(&case["start"]), &rows(&case["grads"]), &rates);
        let (theta, states): (Vec<_>, Vec<_>) = trace.into_iter().unzip();
        near(&theta.concat(), &rows(&case["theta"]).concat());
        let slots: Vec<f64> = states.iter().flat_map(|state| [state.v(), state.b()]).collect();
        near(&slots, &rows(&case["slots"]).concat());
    }
    assert_eq!(cases("amos").len(), 4);
}

#[test]
fn the_proximal_decays() {
    for case in cases("prox") {
        let (lambda, weight_decay) = (number(&case["strength"]), number(&case["decay"]));
        let decay = match case["kind"].as_str().unwrap() {
            "l1" => Decay::L1 { lambda, weight_decay },
            _ => Decay::ThreeHalves { lambda },
        };
        // SGD along no gradient: the decay alone.
        let base = Decayed::new(Under::sgd(WeightDecay::None), decay).unwrap();
        let mut theta = vector(&case["start"]);
        let grad = vec![0.0; theta.len()];
        let step = base.at(1, number(&case["lr"]));
        Cut::Whole.stepped::<f64, _, 0>(&step, &mut theta, &grad, &mut []);
        near(&theta, &vector(&case["theta"]));
    }
    assert_eq!(cases("prox").len(), 5);
}

/// The parts of global rescaling that the core has: the norm of all weights, and their scale.
#[test]
fn rescaling() {
    let case = &RECORDED["rescaling"];
    let scale = |factor, theta: &mut [f64]| {
        Correction::Scale { scale: factor, center: 0.0 }.apply(theta);
    };
    let norm = |theta: &[f64]| match measure(&L2, theta) {
        Statistic::Sum { total, .. } => total.sqrt(),
        Statistic::Moments { .. } => f64::NAN,
    };
    let mut theta = vector(&case["start"]);
    scale(number(&case["factor"]), &mut theta);
    let (held, mut trace) = (norm(&theta), Vec::new());
    for (grad, lr) in rows(&case["grads"]).iter().zip(vector(&RECORDED["rates"])) {
        let step = Under::sgd(WeightDecay::None).at(1, lr);
        Cut::Whole.stepped::<f64, _, 0>(&step, &mut theta, grad, &mut []);
        scale(held / norm(&theta), &mut theta);
        trace.push(theta.clone());
    }
    near(&trace.concat(), &rows(&case["theta"]).concat());
}
