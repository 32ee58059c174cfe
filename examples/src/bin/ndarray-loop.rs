//! A network over ndarray, with a base optimizer of its own: the constraint follows each step.
//!
//! Two layers tell the inside of a ring from its outside. The base step is plain gradient descent by ndarray; the
//! core sees the weights only as slices.

#![allow(clippy::print_stdout, reason = "the output of the program")]

use cpr_core::{BoundInit, Constraint, ConstraintConfig, ConstraintRule, Observed, Std, measure};
use ndarray::{Array1, Array2, Axis};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let (x, y) = ring(400);
    let (mut first, mut second) = (random(2, 24, 1), random(24, 1, 2));
    let (mut bias, mut offset) = (Array1::<f32>::zeros(24), 0.0f32);
    let rule = ConstraintRule::new(ConstraintConfig::new(Std, BoundInit::WarmStart(3000)))?;
    let mut constraints =
        [rule.start_from(slice(&mut first)?)?, rule.start_from(slice(&mut second)?)?];
    let lr = 0.5;
    for t in 1..=6000 {
        let hidden = (x.dot(&first) + &bias).mapv(f32::tanh);
        let logits = hidden.dot(&second) + offset;
        let residual = logits.mapv(|z| 1.0 / (1.0 + (-z).exp())) - &y;
        let residual = residual / 400.0;
        let back = residual.dot(&second.t()) * hidden.mapv(|h| 1.0 - h * h);

        second.scaled_add(-lr, &hidden.t().dot(&residual));
        first.scaled_add(-lr, &x.t().dot(&back));
        bias.scaled_add(-lr, &back.sum_axis(Axis(0)));
        offset -= lr * residual.sum();
        for (constraint, weights) in constraints.iter_mut().zip([&mut first, &mut second]) {
            constrain(constraint, f64::from(lr), slice(weights)?);
        }
        if t % 2000 == 0 {
            let right = logits.iter().zip(&y).filter(|(z, y)| (**z > 0.0) == (**y > 0.5)).count();
            let [a, b] = constraints.map(|constraint| constraint.report());
            println!(
                "step {t}: {right} of 400 right; R of the layers {:.2}, {:.2} (kappa {:.2}, {:.2})",
                a.value,
                b.value,
                a.kappa.unwrap_or(f64::INFINITY),
                b.kappa.unwrap_or(f64::INFINITY)
            );
        }
    }
    Ok(())
}

/// The constraint after a base step that the core did not take.
fn constrain(constraint: &mut Constraint<Std>, lr: f64, weights: &mut [f32]) {
    constraint.begin(lr);
    let observed = Observed { statistic: measure(&Std, weights), stopped: 0 };
    constraint.update(&observed, lr).apply(weights);
}

fn slice(weights: &mut Array2<f32>) -> Result<&mut [f32], Error> {
    weights.as_slice_memory_order_mut().ok_or_else(|| "weights that are not contiguous".into())
}

fn random(rows: usize, columns: usize, seed: u32) -> Array2<f32> {
    let mut state = seed;
    Array2::from_shape_simple_fn((rows, columns), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    })
}

/// Points of a square, and whether they lie within a ring.
fn ring(points: usize) -> (Array2<f32>, Array2<f32>) {
    let x = random(points, 2, 3) * 2.0;
    let inside = x.map_axis(Axis(1), |p| f32::from((0.8..1.5).contains(&p.dot(&p).sqrt())));
    (x, inside.insert_axis(Axis(1)))
}
