//! A training loop of one's own on plain slices: least squares with more features than it can learn from.
//!
//! 40 samples in 32 dimensions, of which 4 matter, and noise. The bound on R = Σw² keeps the weights from fitting
//! the noise: the error on samples that were not trained on is smaller than without it.

#![allow(clippy::print_stdout, reason = "the output of the program")]

use cpr_core::base::{Adam, AdamConfig, Base};
use cpr_core::{
    BoundInit, ConstraintConfig, ConstraintRule, L2, Report, Shard, base_step, constrained_step,
};

const FEATURES: usize = 32;
type Sample = ([f32; FEATURES], f32);
/// Weights and bias.
type Line = ([f32; FEATURES], f32);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut seed = 5;
    let (train, fresh) = (samples(40, &mut seed), samples(400, &mut seed));
    for bound in [f64::INFINITY, 6.0] {
        let (line, report) = fit(&train, bound)?;
        let Report { value, lambda, .. } = report;
        println!(
            "kappa {bound:3}: R {value:6.3}, lambda {lambda:.4}, error on training samples {:.3}, on fresh ones {:.3}",
            error(&train, &line),
            error(&fresh, &line)
        );
    }
    Ok(())
}

fn fit(train: &[Sample], kappa: f64) -> Result<(Line, Report), Box<dyn std::error::Error>> {
    let (mut weights, mut bias) = ([0.0f32; FEATURES], [0.0f32]);
    let (mut mw, mut vw) = ([0.0; FEATURES], [0.0; FEATURES]);
    let (mut mb, mut vb) = ([0.0; 1], [0.0; 1]);
    let rule = ConstraintRule::new(ConstraintConfig::new(L2, BoundInit::Uniform(kappa)))?;
    let mut constraint = rule.start_from(&weights)?;
    let (adam, lr) = (Adam::new(AdamConfig::default())?, 0.01);
    for t in 1..=3000 {
        let (mut weights_grad, mut bias_grad) = ([0.0; FEATURES], [0.0]);
        for (x, y) in train {
            let residual = dot(x, &weights) + bias[0] - y;
            let share = residual / 40.0;
            weights_grad.iter_mut().zip(x).for_each(|(g, x)| *g += share * x);
            bias_grad[0] += share;
        }
        let step = adam.at(t, lr);
        let shard = Shard::new(&mut weights, &weights_grad, [&mut mw, &mut vw])?;
        constrained_step(&mut constraint, &step, lr, shard);
        // A bias is under no bound.
        base_step(&step, Shard::new(&mut bias, &bias_grad, [&mut mb, &mut vb])?);
    }
    Ok(((weights, bias[0]), constraint.report()))
}

fn error(samples: &[Sample], (weights, bias): &Line) -> f32 {
    let total: f32 = samples.iter().map(|(x, y)| (dot(x, weights) + bias - y).powi(2)).sum();
    total / (samples.len() as f32)
}

fn dot(x: &[f32; FEATURES], weights: &[f32; FEATURES]) -> f32 {
    x.iter().zip(weights).map(|(x, w)| x * w).sum()
}

/// y = x₁ + x₂ − x₃ − x₄, and noise.
fn samples(count: usize, seed: &mut u32) -> Vec<Sample> {
    let mut uniform = || {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*seed >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let sample = |_| {
        let x = [(); FEATURES].map(|()| uniform());
        (x, x[0] + x[1] - x[2] - x[3] + 1.5 * uniform())
    };
    (0..count).map(sample).collect()
}
