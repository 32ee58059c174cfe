//! Steps of one optimizer on one matrix of 65 536 elements, for an instruction count: `instructions VARIANT STEPS`.
//!
//! `scripts/instructions.sh` runs it under callgrind with two numbers of steps; the difference is what the steps cost.

use std::process::ExitCode;

use cpr_core::{
    AnyRegularizer, BoundInit, CHUNK, Constraint, ConstraintConfig, ConstraintRule, L2, Order,
    Shard, Std,
    base::{
        Adam, AdamConfig, AmsGrad, Base, Decay, Decayed, Momentum, MomentumConfig, Sgd, SgdConfig,
        WeightDecay,
    },
    base_step, constrained_step,
};

const ELEMENTS: usize = 16 * CHUNK;
const LR: f64 = 1e-3;

/// What is stepped.
struct Matrix {
    theta: Vec<f32>,
    grad: Vec<f32>,
    steps: u64,
}

impl Matrix {
    /// Steps of a base with its moments, under a constraint if there is one.
    fn run<const M: usize>(
        mut self,
        base: &impl Base<f32, M>,
        mut constraint: Option<Constraint<AnyRegularizer>>,
    ) -> f32 {
        let mut moments: [Vec<f32>; M] = std::array::from_fn(|_| vec![0.0; ELEMENTS]);
        for t in 1..=self.steps {
            let moments = moments.each_mut().map(Vec::as_mut_slice);
            let Ok(shard) = Shard::new(&mut self.theta, &self.grad, moments) else { break };
            let step = base.at(t, LR);
            match &mut constraint {
                Some(constraint) => constrained_step(constraint, &step, LR, shard),
                None => base_step(&step, shard),
            }
        }
        self.theta[0]
    }

    /// The constraint with this measure: held where it is, or far below the start.
    fn under(
        &self,
        measure: AnyRegularizer,
        order: Order,
        active: bool,
    ) -> Option<Constraint<AnyRegularizer>> {
        let kappa = if active { BoundInit::Dependent(1e-3) } else { BoundInit::Uniform(f64::MAX) };
        let config = ConstraintConfig { order, ..ConstraintConfig::new(measure, kappa) };
        ConstraintRule::new(config).ok()?.start_from(&self.theta).ok()
    }
}

fn run(variant: &str, steps: u64) -> Option<f32> {
    let value = |i: usize, factor: f32| (i % 251) as f32 * factor - 125.0 * factor;
    let matrix = Matrix {
        theta: (0..ELEMENTS).map(|i| value(i, 1e-3)).collect(),
        grad: (0..ELEMENTS).map(|i| value(i + 17, 1e-4)).collect(),
        steps,
    };
    let adam = |weight_decay| Adam::new(AdamConfig { weight_decay, ..AdamConfig::default() }).ok();
    let plain = adam(WeightDecay::None)?;
    let after = Order::AfterBase;
    let l2 = |order, active| matrix.under(L2.into(), order, active);
    let (idle, held, before) = (l2(after, false), l2(after, true), l2(Order::BeforeBase, true));
    let std = matrix.under(Std.into(), after, true);
    let p_norm = Decay::PNorm { p: 0.8, lambda: 1e-3, late: false, flush: true };
    Some(match variant {
        "sgd" => matrix.run(&Sgd::new(SgdConfig::default()).ok()?, None),
        "momentum" => matrix.run(&Momentum::new(MomentumConfig::default()).ok()?, None),
        "adamw" => matrix.run(&adam(WeightDecay::Decoupled(0.1))?, None),
        "adam-coupled" => matrix.run(&adam(WeightDecay::Coupled(0.1))?, None),
        "amsgrad" => matrix.run(&AmsGrad(plain), None),
        // A constraint that cannot be made is no count of a step without one.
        "adamcpr-idle" => matrix.run(&plain, Some(idle?)),
        "adamcpr-active" => matrix.run(&plain, Some(held?)),
        "adamcpr-before" => matrix.run(&plain, Some(before?)),
        "adamcpr-std" => matrix.run(&plain, Some(std?)),
        "padam" => matrix.run(&Decayed::new(plain, p_norm).ok()?, None),
        _ => return None,
    })
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let variant = arguments.next().unwrap_or_default();
    let steps = arguments.next().and_then(|steps| steps.parse().ok());
    match steps.and_then(|steps| run(&variant, steps)) {
        Some(theta) if theta.is_finite() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
