//! The CUDA kernels' own source, compiled as C++ and run on the CPU, against cpr-core: the same bits.
//!
//! What this cannot show is what only a GPU has: its compiler, its scheduling, its square roots and divisions (exact by
//! IEEE 754 there too) and its `expm1`. Threads run one after another here, forwards and backwards, so that a phase in
//! which threads depend on each other shows as a difference.

#[path = "emulated/adaptive.rs"]
mod adaptive;
#[path = "emulated/compile.rs"]
mod compile;
#[path = "emulated/job.rs"]
mod job;
#[path = "../src/cuda/layout.rs"]
mod layout;
#[path = "emulated/reference.rs"]
mod reference;

use cpr_core::{BoundInit, Order, StepRule, base::WeightDecay};
use cpr_tests::cases::{ADAM, AMSGRAD, BaseSpec, Case, Measure, SGD, table};

use job::{Call, Emulator, Given, Job, Low, Parameter};

/// Compares a job's run with the reference; `exact` or within `limit` relative to the largest element.
fn check(emulator: &mut Emulator, job: &Job, limit: f64) {
    let found = emulator.run(job);
    let expected = reference::run(job);
    assert_eq!(found.counts, expected.counts, "{}: steps, skipped, skipped in a row", job.name);
    let norms = (found.norm.to_bits(), expected.norm.to_bits());
    assert_eq!(norms.0, norms.1, "{}: norm {} {}", job.name, found.norm, expected.norm);
    assert_near(&[found.awd], &[expected.awd], limit, &format!("{}: average", job.name));
    for (index, (found, expected)) in found.states.iter().zip(&expected.states).enumerate() {
        let name = format!("{} parameter {index}", job.name);
        assert_eq!(found.steps, expected.steps, "{name}: t");
        assert_near(&[found.amos.v()], &[expected.amos.v()], limit, &format!("{name}: v"));
        // The bias correction is in it as f64, whatever the parameters' type.
        assert_near(&[found.amos.b()], &[expected.amos.b()], 1e-11, &format!("{name}: b"));
        if limit == 0.0 {
            // As text, in which NaN is NaN and any other number has its own digits.
            let (found, expected) =
                (format!("{:?}", found.constraint), format!("{:?}", expected.constraint));
            assert_eq!(found, expected, "{name}");
        } else if let (Some(found), Some(expected)) = (&found.constraint, &expected.constraint) {
            let (found, expected) = (found.report(), expected.report());
            assert_eq!(found.active_steps, expected.active_steps, "{name}");
            assert_eq!(found.kappa_set_at, expected.kappa_set_at, "{name}");
            assert_near(&[found.value], &[expected.value], limit, &name);
            assert_near(&[found.lambda], &[expected.lambda], limit, &name);
        }
        for (found, expected) in found.arrays.iter().zip(&expected.arrays) {
            assert_eq!(found.len(), expected.len(), "{name}");
            assert_near(found, expected, limit, &name);
        }
    }
}

fn assert_near(found: &[f64], expected: &[f64], limit: f64, name: &str) {
    let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        assert!(same || (a - b).abs() <= limit * largest, "{name}: element {i} is {a}, not {b}");
    }
}

/// One matrix of a case over its steps.
fn single(case: &Case, wide: bool) -> Job {
    let parameter = Parameter::new(case.clone(), wide);
    let calls = (1..=case.steps).map(|t| Call::new(t, case.lr_at(t), 1)).collect();
    Job::new(case.name.clone(), vec![parameter], calls)
}

/// `expm1` of this machine's C library and of libm differ by rounding: seen in f64 Adam, never after rounding to f32.
fn limit(base: BaseSpec, wide: bool) -> f64 {
    if wide && base.moments() >= 2 { 1e-11 } else { 0.0 }
}

trait Moments {
    fn moments(&self) -> usize;
}

impl Moments for BaseSpec {
    fn moments(&self) -> usize {
        use cpr_tests::cases::Optimizer;
        match self.optimizer {
            Optimizer::Sgd => 0,
            Optimizer::Momentum { .. } => 1,
            Optimizer::Adam { amsgrad, .. } => 2 + usize::from(amsgrad),
        }
    }
}

#[test]
fn every_case_of_the_table_has_the_bits_of_the_core() {
    let Some(mut emulator) = Emulator::start() else { return };
    for (index, case) in table().iter().enumerate() {
        for wide in [false, true] {
            let mut job = single(case, wide);
            job.backwards = index % 2 == 1;
            check(&mut emulator, &job, limit(case.base, wide));
        }
    }
}

#[test]
fn every_base_under_every_measure_order_and_step_rule() {
    let Some(mut emulator) = Emulator::start() else { return };
    let bases: Vec<Case> =
        table().into_iter().filter(|case| case.base != ADAM && case.base != SGD).collect();
    let measures = [
        Measure::L2,
        Measure::L1,
        Measure::Huber(0.25),
        Measure::Std,
        Measure::Lp(1.3),
        Measure::Lp(3.0),
    ];
    for base in &bases {
        for (index, measure) in measures.into_iter().enumerate() {
            for (order, step_rule) in [
                (Order::AfterBase, StepRule::Gradient),
                (Order::BeforeBase, StepRule::Gradient),
                (Order::AfterBase, StepRule::Proximal),
                (Order::BeforeBase, StepRule::Proximal),
            ] {
                let name = format!("{} {measure:?} {order:?} {step_rule:?}", base.name);
                let case = Case::new(name, measure, BoundInit::WarmStart(3));
                let case = Case {
                    order,
                    step_rule,
                    base: base.base,
                    lr: base.lr,
                    n: 21,
                    steps: 12,
                    ..case
                };
                let mut job = single(&case, false);
                job.backwards = index % 2 == 0;
                check(&mut emulator, &job, 0.0);
            }
        }
    }
}

#[test]
fn sizes_around_lanes_chunks_and_tiles() {
    let Some(mut emulator) = Emulator::start() else { return };
    for n in [0, 1, 2, 3, 15, 16, 17, 255, 1023, 4095, 4096, 4097, 12_289, 100_000] {
        let measures =
            [Measure::L2, Measure::L1, Measure::Std, Measure::Huber(0.25), Measure::Lp(1.3)];
        for measure in measures {
            if measure == Measure::Std && n == 1 {
                continue;
            }
            for (order, shift) in [(Order::AfterBase, 0), (Order::BeforeBase, 1)] {
                let name = format!("{n} elements {measure:?} {order:?}");
                let case = Case::new(name, measure, BoundInit::WarmStart(1));
                let case = Case { n, order, base: ADAM, lr: 0.02, steps: 4, ..case };
                let mut job = single(&case, false);
                job.shift = shift;
                job.backwards = order == Order::BeforeBase;
                check(&mut emulator, &job, 0.0);
                // Whole chunks are summed in two parts, of f64 as well.
                if matches!(n, 4095..=12_289) {
                    let mut job = single(&Case { base: SGD, lr: 0.05, ..case }, true);
                    job.backwards = order == Order::AfterBase;
                    check(&mut emulator, &job, 0.0);
                }
            }
        }
    }
}

/// More than 1024 chunks in one matrix: two levels of tiles.
#[test]
fn a_matrix_of_more_chunks_than_a_tile_holds() {
    let Some(mut emulator) = Emulator::start() else { return };
    for (measure, backwards) in [(Measure::L2, false), (Measure::Std, true)] {
        let case = Case::new("1029 chunks", measure, BoundInit::WarmStart(1));
        let case = Case { n: 1028 * 4096 + 77, steps: 5, ..case };
        let mut job = single(&case, false);
        job.backwards = backwards;
        job.calls[1].clip = Some(1.0);
        // The last block of tiles is told by a count, which calls that do not step must leave right.
        job.calls[2].poison = Some((0, 4096, f64::NAN));
        job.calls[3].given[0] = Given::Nothing;
        check(&mut emulator, &job, 0.0);
    }
}

/// Parameters of both widths, every base, half types, with and without a constraint.
fn mixed() -> Vec<Parameter> {
    let case = |n, measure, base, order| {
        let lr = if base == SGD { 0.05 } else { 0.02 };
        let case = Case::new("mixed", measure, BoundInit::Dependent(0.7));
        Case { n, base, order, lr, ..case }
    };
    let active = Case::new("held at half", Measure::L2, BoundInit::UniformPerElement(1e-3));
    let adamw = BaseSpec { weight_decay: WeightDecay::Decoupled(0.1), ..ADAM };
    let active = Case { n: 5000, base: adamw, lr: 0.02, mu: 0.01, ..active };
    let mut parameters = vec![
        Parameter::new(active, false),
        Parameter::new(case(33, Measure::L1, SGD, Order::BeforeBase), true),
        Parameter::new(case(4097, Measure::Std, ADAM, Order::BeforeBase), false),
        Parameter::new(case(7, Measure::L2, AMSGRAD, Order::AfterBase), false),
        Parameter::new(case(130, Measure::Huber(0.25), ADAM, Order::AfterBase), false),
        Parameter::new(case(9000, Measure::Lp(1.3), ADAM, Order::AfterBase), false),
        Parameter::new(case(64, Measure::L2, SGD, Order::AfterBase), true),
    ];
    parameters[0].low = Some(Low::F16);
    parameters[2].low = Some(Low::Bf16);
    parameters[5].low = Some(Low::F16);
    parameters[4].constrained = false;
    parameters[3].lr_factor = 0.25;
    parameters
}

#[test]
fn parameters_of_every_kind_in_one_call_and_over_several_windows() {
    let Some(mut emulator) = Emulator::start() else { return };
    for (capacity, backwards) in [(400, false), (2, true), (1, false)] {
        let parameters = mixed();
        let count = parameters.len();
        let mut calls: Vec<Call> = (1..=20).map(|t| Call::new(t, 0.02, count)).collect();
        for (t, call) in calls.iter_mut().enumerate() {
            call.clip = (t % 3 == 0).then_some(3.0);
            for (i, given) in call.given.iter_mut().enumerate() {
                let low = parameters[i].low;
                *given = match (low, t % 2) {
                    (Some(low), 0) => Given::Low(low),
                    _ if i == 6 && t == 5 => Given::Nothing,
                    _ => Given::Own,
                };
            }
        }
        let mut job = Job::new(format!("windows of {capacity}"), parameters, calls);
        (job.capacity, job.backwards) = (capacity, backwards);
        check(&mut emulator, &job, 0.0);
    }
}

#[test]
fn a_gradient_that_is_not_finite_skips_the_call_whole() {
    let Some(mut emulator) = Emulator::start() else { return };
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let parameters = mixed();
        let count = parameters.len();
        let mut calls: Vec<Call> = (1..=9).map(|t| Call::new(t, 0.02, count)).collect();
        calls[2].poison = Some((0, 4999, bad));
        calls[3].poison = Some((1, 0, bad));
        calls[3].clip = Some(1.0);
        calls[6].poison = Some((6, 63, bad));
        check(&mut emulator, &Job::new(format!("{bad}"), parameters, calls), 0.0);
    }
}

#[test]
fn unchecked_an_r_that_is_not_finite_moves_neither_lambda_nor_kappa() {
    let Some(mut emulator) = Emulator::start() else { return };
    for order in [Order::AfterBase, Order::BeforeBase] {
        for measure in [Measure::L2, Measure::Std] {
            let case = Case::new("unchecked", measure, BoundInit::Dependent(0.7));
            let case = Case { n: 100, order, steps: 6, ..case };
            let mut job = single(&case, false);
            for call in &mut job.calls {
                call.check = false;
            }
            job.calls[3].poison = Some((0, 50, f64::INFINITY));
            check(&mut emulator, &job, 0.0);
        }
    }
}

/// θ − g of half gradients and the variable rounded back: every bf16 and f16 there is, and what lies between.
#[test]
fn half_types_convert_as_the_host_does() {
    let Some(mut emulator) = Emulator::start() else { return };
    for low in [Low::Bf16, Low::F16] {
        let case = Case::new(format!("{low:?}"), Measure::L2, BoundInit::Uniform(f64::INFINITY));
        let case = Case { n: 1 << 16, lr: 1.0, steps: 1, ..case };
        let mut parameter = Parameter::new(case, false);
        parameter.low = Some(low);
        parameter.constrained = false;
        // θ = 0 takes every half number as it is; θ of any bits, and θ in the middle of two half numbers, round.
        let halfway = if low == Low::Bf16 { 0x8000 } else { 0x1000 };
        for kind in ["every", "any", "ties"] {
            let theta = (0..1u32 << 16).map(|i| {
                let bytes = cpr_tests::noise::mix(u64::from(i)).to_le_bytes();
                let any = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                f64::from(f32::from_bits(match kind {
                    "every" => 0,
                    "any" => any,
                    // Every sign and exponent with some mantissas; cut below the middle of two neighbours.
                    _ => ((i << 16) | (any & 0xffff)) / (2 * halfway) * (2 * halfway) + halfway,
                }))
            });
            parameter.theta = Some(theta.collect());
            let mut call = Call::new(1, 1.0, 1);
            call.check = false;
            call.given[0] = if kind == "every" { Given::EveryLow(low) } else { Given::Zero };
            let job = Job::new(format!("{low:?} {kind}"), vec![parameter.clone()], vec![call]);
            check(&mut emulator, &job, 0.0);
        }
    }
}
