//! A plain loop over the seven streams of Adam, with next to no arithmetic: what memory gives to a loop that leaves asking
//! ahead to the processor.

use crate::{pages::Buffer, parallel::Workers};

/// Elements that one task takes, as many as a task of the optimizer.
const GRAIN: usize = 6 * cpr_core::CHUNK;

/// Reads θ, g, m, v and writes θ, m, v.
pub(super) fn step(
    workers: &Workers,
    theta: &mut [f32],
    grads: &[f32],
    [first, second]: &mut [Buffer<f32>; 2],
) {
    workers.run(|| divide(workers, theta, grads, first, second));
}

fn divide(
    workers: &Workers,
    theta: &mut [f32],
    grads: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    if theta.len() > GRAIN {
        let half = theta.len() / 2;
        let (theta, far_theta) = theta.split_at_mut(half);
        let (grads, far_grads) = grads.split_at(half);
        let (first, far_first) = first.split_at_mut(half);
        let (second, far_second) = second.split_at_mut(half);
        workers.join(
            || divide(workers, theta, grads, first, second),
            || divide(workers, far_theta, far_grads, far_first, far_second),
        );
        return;
    }
    for (((theta, grad), first), second) in theta.iter_mut().zip(grads).zip(first).zip(second) {
        *first += 0.1 * (grad - *first);
        // A second moment is never negative: the next variant takes its root.
        *second += 0.001 * (grad * grad - *second);
        // θ is written, and stays where it is: the next variant finds the same weights.
        *theta -= 1e-9 * (*first - *second);
    }
}
