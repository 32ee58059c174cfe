//! Rules that look at whole parameters before a step, and decays that change from call to call.

use cpr_core::{
    BoundInit, Order,
    base::{AdaDecay, AdaDecayConfig, AmosConfig, Awd, Decay, WeightDecay},
};
use cpr_host::optim::DecayRule;
use cpr_tests::cases::{ADAM, AMSGRAD, BaseSpec, Case, Measure, SGD};

use crate::{
    check,
    job::{Call, Emulator, Given, Job, Low, Parameter},
    limit,
};

const ADAMW: BaseSpec = BaseSpec { weight_decay: WeightDecay::Decoupled(0.1), ..ADAM };
const COUPLED: BaseSpec = BaseSpec { weight_decay: WeightDecay::Coupled(0.1), ..SGD };

fn awd(keep: f64) -> DecayRule {
    DecayRule::Awd(Awd::new(keep).expect("in range"))
}

fn adadecay(alpha: f64, weight_decay: f64) -> DecayRule {
    let config = AdaDecayConfig { alpha, weight_decay };
    DecayRule::AdaDecay(AdaDecay::new(config).expect("in range"))
}

/// An unconstrained parameter of this base.
fn parameter(n: usize, base: BaseSpec, wide: bool) -> Parameter {
    let case = Case::new("adaptive", Measure::L2, BoundInit::Uniform(f64::INFINITY));
    Parameter { constrained: false, ..Parameter::new(Case { n, base, ..case }, wide) }
}

/// Parameters of sizes around lanes and chunks, two of them half types where that may be.
fn parameters(base: BaseSpec, wide: bool) -> Vec<Parameter> {
    let sizes = [17, 1, 100_000, 4097, 0];
    let mut parameters: Vec<_> = sizes.iter().map(|&n| parameter(n, base, wide)).collect();
    parameters[0].lr_factor = 0.25;
    if !wide {
        parameters[2].low = Some(Low::Bf16);
        parameters[3].low = Some(Low::F16);
    }
    parameters
}

/// Decays of four strengths, scaled and skipped calls, gradients of zeros, of half types and missing ones.
fn calls(parameters: &[Parameter], lr: f64) -> Vec<Call> {
    let mut calls: Vec<Call> = (1..=9).map(|t| Call::new(t, lr, parameters.len())).collect();
    for (t, call) in calls.iter_mut().enumerate() {
        call.decay = [1.0, 0.3, 0.0, 2.0][t % 4];
        call.clip = [None, Some(3.0), Some(1e9)][t % 3];
        for (i, (given, parameter)) in call.given.iter_mut().zip(parameters).enumerate() {
            *given = match parameter.low {
                _ if t == 4 && i % 2 == 0 => Given::Nothing,
                _ if t == 6 && i < 2 => Given::Zero,
                Some(low) if t % 2 == 0 => Given::Low(low),
                _ => Given::Own,
            };
        }
    }
    calls[2].poison = Some((0, 0, f64::NAN));
    calls
}

/// In one launch, or in several of falling order.
fn compare(
    emulator: &mut Emulator,
    name: &str,
    parameters: Vec<Parameter>,
    lr: f64,
    several: bool,
) {
    let limits = parameters.iter().map(|parameter| match parameter.amos {
        Some(_) if parameter.wide => 1e-11,
        _ => limit(parameter.case.base, parameter.wide),
    });
    let limit = limits.fold(0.0, f64::max);
    let calls = calls(&parameters, lr);
    let mut job = Job::new(name.to_owned(), parameters, calls);
    (job.capacity, job.backwards) = if several { (2, true) } else { (400, false) };
    job.shift = u64::from(several);
    check(emulator, &job, limit);
}

#[test]
fn awd_averages_over_all_parameters_that_it_holds() {
    let Some(mut emulator) = Emulator::start() else { return };
    for (base, keep, lr) in [(ADAMW, 0.1, 0.02), (COUPLED, 0.7, 0.05)] {
        for wide in [false, true] {
            let mut parameters = parameters(base, wide);
            for (i, parameter) in parameters.iter_mut().enumerate() {
                parameter.decay_rule = if i == 1 { DecayRule::Constant } else { awd(keep) };
            }
            compare(&mut emulator, &format!("awd {base:?} {wide}"), parameters, lr, wide);
        }
    }
}

#[test]
fn adadecay_takes_each_element_by_its_gradient() {
    let Some(mut emulator) = Emulator::start() else { return };
    for (base, alpha, lr) in [
        (SGD, 4.0, 0.05),
        (SGD, 100.0, 0.05),
        (SGD, 0.0, 0.05),
        (ADAM, 1.0, 0.02),
        (AMSGRAD, 4.0, 0.02),
    ] {
        for wide in [false, true] {
            let mut parameters = parameters(base, wide);
            for (i, parameter) in parameters.iter_mut().enumerate() {
                parameter.decay_rule =
                    if i == 3 { DecayRule::Constant } else { adadecay(alpha, 0.3) };
            }
            let name = format!("adadecay {alpha} {base:?} {wide}");
            compare(&mut emulator, &name, parameters, lr, !wide);
        }
    }
}

#[test]
fn amos_keeps_a_number_of_each_parameter() {
    let Some(mut emulator) = Emulator::start() else { return };
    for (momentum, extra_l2) in [(0.0, 0.0), (0.0, 0.01), (0.9, 0.0), (0.5, 0.01)] {
        for wide in [false, true] {
            let mut parameters = parameters(SGD, wide);
            for (parameter, eta) in parameters.iter_mut().zip([0.5, 1.0, 0.03, 0.25, 0.7]) {
                let beta = if eta == 1.0 { 0.0 } else { 0.98 };
                parameter.amos = Some((AmosConfig { beta, momentum, extra_l2 }, eta));
            }
            let name = format!("amos {momentum} {extra_l2} {wide}");
            compare(&mut emulator, &name, parameters, 0.3, wide);
        }
    }
}

#[test]
fn a_factor_of_the_call_scales_every_decay() {
    let Some(mut emulator) = Emulator::start() else { return };
    let p_norm = |p, late| Decay::PNorm { p, lambda: 0.05, late, flush: true };
    let after = |decay| BaseSpec { decay: Some(decay), ..ADAMW };
    let bases = [
        ADAMW,
        COUPLED,
        after(p_norm(0.8, false)),
        after(p_norm(2.0, true)),
        after(Decay::L1 { lambda: 0.1, weight_decay: 0.2 }),
        after(Decay::ThreeHalves { lambda: 0.1 }),
        BaseSpec { decay: Some(p_norm(1.2, false)), ..AMSGRAD },
    ];
    for base in bases {
        for wide in [false, true] {
            let name = format!("factor {base:?} {wide}");
            compare(&mut emulator, &name, parameters(base, wide), 0.02, wide);
        }
    }
}

/// Every rule at once, beside constraints and both widths.
fn mixed() -> Vec<Parameter> {
    let amos = |momentum| Some((AmosConfig { beta: 0.9, momentum, extra_l2: 0.0 }, 0.4));
    let averaged = awd(0.1);
    let held = Case::new("held", Measure::L2, BoundInit::UniformPerElement(1e-3));
    let held = Case { n: 5000, base: ADAMW, lr: 0.02, mu: 0.01, ..held };
    vec![
        Parameter::new(Case { order: Order::BeforeBase, ..held.clone() }, false),
        Parameter { decay_rule: averaged, ..parameter(9000, ADAMW, false) },
        Parameter { decay_rule: adadecay(4.0, 0.2), ..parameter(130, ADAM, false) },
        Parameter { amos: amos(0.0), low: Some(Low::F16), ..parameter(4096, SGD, false) },
        Parameter { decay_rule: averaged, ..parameter(33, COUPLED, true) },
        Parameter { decay_rule: adadecay(2.0, 0.2), ..parameter(4097, SGD, true) },
        Parameter { amos: amos(0.9), ..parameter(7, SGD, false) },
        Parameter { decay_rule: averaged, ..parameter(0, COUPLED, false) },
        Parameter::new(held, false),
    ]
}

#[test]
fn rules_of_every_kind_in_one_call() {
    let Some(mut emulator) = Emulator::start() else { return };
    for several in [false, true] {
        compare(&mut emulator, &format!("rules {several}"), mixed(), 0.02, several);
    }
}

#[test]
fn unchecked_a_gradient_that_is_not_finite_leaves_every_state_finite() {
    let Some(mut emulator) = Emulator::start() else { return };
    for bad in [f64::INFINITY, f64::NAN] {
        for index in [3, 4, 5, 6] {
            let parameters = mixed();
            let count = parameters.len();
            let mut calls: Vec<Call> = (1..=4).map(|t| Call::new(t, 0.02, count)).collect();
            for call in &mut calls {
                call.check = false;
            }
            calls[1].poison = Some((index, 5, bad));
            let job = Job::new(format!("{bad} in parameter {index}"), parameters, calls);
            check(&mut emulator, &job, 0.0);
        }
    }
}
