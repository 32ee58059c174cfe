//! Softmax over the last dimension.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};

use super::{
    element::{
        CHUNK, Element, Held, Place, WORKERS, dtype, for_float, gradient, output, place, view,
    },
    simd::{largest, sum, sum_pairs, vectorized},
};

const LAYER: &str = "softmax";

/// pᵢ = e^(xᵢ − max x) / Σⱼ e^(xⱼ − max x) over the last dimension; any shape of rank 1 or more.
///
/// A row of −∞ only, or with NaN, gives NaN. (`candle_nn::ops::softmax_last_dim` has no backward pass.)
///
/// # Errors
/// [`LayerError::Dtype`](super::LayerError::Dtype) for half precision on the CPU; for a scalar.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    x.dim(D::Minus1)?;
    match place(LAYER, x, &[])? {
        Place::Cpu => x.contiguous()?.apply_op1(Softmax),
        Place::Composed => composed(x),
    }
}

/// The same by candle's operations.
pub(super) fn composed(x: &Tensor) -> Result<Tensor> {
    candle_nn::ops::softmax(x, D::Minus1)
}

#[derive(Debug)]
struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let columns = columns(layout.shape());
        for_float!(LAYER, dtype(storage), T => {
            let mut y = view::<T>(storage, layout)?.to_vec();
            WORKERS.for_each_chunk(&mut y, rows_of(columns) * columns, |_, rows| {
                for row in rows.chunks_exact_mut(columns) {
                    vectorized!(forward(row));
                }
            });
            Ok(output(y, layout.shape()))
        })
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let columns = columns(x.shape());
        for_float!(LAYER, x.dtype(), T => {
            let held = Held::new(y);
            let y = held.slice::<T>()?;
            let mut dx = Held::new(&grad).slice::<T>()?.to_vec();
            let length = rows_of(columns) * columns;
            WORKERS.for_each_chunk(&mut dx, length, |chunk, rows| {
                let y = y[chunk * length..].chunks_exact(columns);
                for (row, y) in rows.chunks_exact_mut(columns).zip(y) {
                    vectorized!(backward(row, y));
                }
            });
            gradient(dx, x)
        })
    }
}

fn columns(shape: &Shape) -> usize {
    shape.dims().last().copied().unwrap_or(1).max(1)
}

/// Rows of a task.
pub(super) fn rows_of(columns: usize) -> usize {
    (CHUNK / columns.max(1)).max(1)
}

#[inline(always)]
fn forward<T: Element>(row: &mut [T]) {
    let largest = largest(row);
    for x in row.iter_mut() {
        *x = (*x - largest).exp_nonpositive();
    }
    let inverse = <T as cpr_core::Real>::ONE / sum(row, |x| x);
    for x in row {
        *x *= inverse;
    }
}

/// The gradient g of the probabilities p becomes pᵢ·(gᵢ − Σⱼ pⱼ·gⱼ).
#[inline(always)]
fn backward<T: Element>(row: &mut [T], p: &[T]) {
    let mean = sum_pairs(row, p, |g, p| g * p);
    for (g, &p) in row.iter_mut().zip(p) {
        *g = p * (*g - mean);
    }
}
