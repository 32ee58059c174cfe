//! Layer normalisation over the last dimension.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use candle_nn::{Init, Module, VarBuilder};
use cpr_core::Real;

#[cfg(feature = "cuda")]
use super::fused;
use super::{
    element::{
        Element, Held, Place, WORKERS, count, dtype, for_float, gradient, narrow, output, place,
        view, wide, zeros,
    },
    error::{range, shape},
    simd::{sum, sum_pairs, vectorized},
    softmax::rows_of,
};

const LAYER: &str = "layer norm";

/// y = (x − mean x)/√(var x + ε)·weight + bias over the last dimension, with the variance over n.
///
/// `x` has any shape that ends in C; `weight` and `bias` have the shape (C). (The fused `candle_nn::LayerNorm` has no
/// backward pass.) Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
///
/// # Errors
/// Where the shapes do not fit, `eps` is not above 0, or for half precision on the CPU.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let columns = x.dim(D::Minus1)?;
    for (what, tensor) in [("weight", Some(weight)), ("bias", bias)] {
        if let Some(tensor) = tensor
            && tensor.dims() != [columns]
        {
            return Err(shape(LAYER, what, tensor.shape(), format!("[{columns}]")));
        }
    }
    if eps.is_nan() || eps <= 0.0 {
        return Err(range(LAYER, "eps", eps, "above 0"));
    }
    let bias = match bias {
        Some(bias) => bias.clone(),
        None => weight.zeros_like()?.detach(),
    };
    match place(LAYER, x, &[weight, &bias])? {
        Place::Cpu => x.contiguous()?.apply_op3(
            &weight.contiguous()?,
            &bias.contiguous()?,
            LayerNormOp { eps },
        ),
        #[cfg(feature = "cuda")]
        Place::Composed if fused::takes(x) => fused::layer_norm(x, weight, &bias, eps),
        Place::Composed => composed(x, weight, &bias, eps),
    }
}

/// The same by candle's operations; half precision is normalised in f32.
pub(super) fn composed(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let given = x.dtype();
    let x = if given == DType::F64 { x.clone() } else { x.to_dtype(DType::F32)? };
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centered.broadcast_div(&(variance + eps)?.sqrt()?)?;
    normal.to_dtype(given)?.broadcast_mul(weight)?.broadcast_add(bias)
}

/// [`layer_norm`] with its parameters.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f64,
}

impl LayerNorm {
    /// Parameters `weight` (ones) and, with `bias`, `bias` (zeros), each of shape (`columns`).
    ///
    /// # Errors
    /// Those of the variables.
    pub fn new(columns: usize, eps: f64, bias: bool, variables: &VarBuilder<'_>) -> Result<Self> {
        let weight = variables.get_with_hints(columns, "weight", Init::Const(1.0))?;
        let bias = if bias {
            Some(variables.get_with_hints(columns, "bias", Init::Const(0.0))?)
        } else {
            None
        };
        Ok(Self { weight, bias, eps })
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, self.bias.as_ref(), self.eps)
    }
}

#[derive(Debug)]
struct LayerNormOp {
    eps: f64,
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        for_float!(LAYER, dtype(x), T => {
            let x = view::<T>(x, layout)?;
            let (weight, bias) = (view::<T>(weight, weight_layout)?, view::<T>(bias, bias_layout)?);
            let columns = weight.len().max(1);
            let length = rows_of(columns) * columns;
            let mut y = zeros(x.len());
            WORKERS.for_each_chunk(&mut y, length, |chunk, y| {
                let x = x[chunk * length..].chunks_exact(columns);
                for (y, x) in y.chunks_exact_mut(columns).zip(x) {
                    vectorized!(forward(y, x, weight, bias, self.eps));
                }
            });
            Ok(output(y, layout.shape()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        for_float!(LAYER, x.dtype(), T => {
            let [dx, dweight, dbias] = backward::<T>(
                Held::new(x).slice()?,
                Held::new(weight).slice()?,
                Held::new(&grad).slice()?,
                self.eps,
            );
            let dbias = bias.track_op().then_some(dbias);
            Ok((gradient(dx, x)?, gradient(dweight, weight)?, gradient(dbias, bias)?))
        })
    }
}

/// Mean and 1/√(variance + ε) of a row.
#[inline(always)]
fn statistics<T: Element>(x: &[T], eps: f64) -> (T, T) {
    let inverse = 1.0 / count(x.len());
    let mean = sum(x, |x| x) * narrow(inverse);
    let squares = sum(x, |x| (x - mean) * (x - mean));
    let scale = 1.0 / (wide(squares) * inverse + eps).sqrt();
    (mean, narrow(scale))
}

#[inline(always)]
fn forward<T: Element>(y: &mut [T], x: &[T], weight: &[T], bias: &[T], eps: f64) {
    let (mean, scale) = statistics(x, eps);
    for (((y, &x), &weight), &bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
        *y = (x - mean) * scale * weight + bias;
    }
}

/// One task: its rows' dx, and their part of the gradients of weight and bias.
struct Rows<'a, T> {
    dx: &'a mut [T],
    dweight: &'a mut [T],
    dbias: &'a mut [T],
}

fn backward<T: Element>(x: &[T], weight: &[T], grad: &[T], eps: f64) -> [Vec<T>; 3] {
    let columns = weight.len().max(1);
    let length = rows_of(columns) * columns;
    let tasks = x.len().div_ceil(length).max(1);
    let mut dx = zeros(x.len());
    // Of each task one row of sums for the weight, one for the bias.
    let mut sums = vec![<T as Real>::ZERO; 2 * tasks * columns];
    let mut rows: Vec<Rows<'_, T>> = dx
        .chunks_mut(length)
        .zip(sums.chunks_exact_mut(2 * columns))
        .map(|(dx, sums)| {
            let (dweight, dbias) = sums.split_at_mut(columns);
            Rows { dx, dweight, dbias }
        })
        .collect();
    WORKERS.for_each_item(&mut rows, |task, rows| {
        let x = x[task * length..].chunks_exact(columns);
        let grad = grad[task * length..].chunks_exact(columns);
        for ((dx, x), grad) in rows.dx.chunks_exact_mut(columns).zip(x).zip(grad) {
            vectorized!(backward_row(dx, x, weight, grad, rows.dweight, rows.dbias, eps));
        }
    });
    let (first, rest) = sums.split_at_mut(2 * columns);
    for part in rest.chunks_exact(2 * columns) {
        cpr_host::model::layers::vector::add(first, part);
    }
    let (dweight, dbias) = first.split_at(columns);
    let (dweight, dbias) = (dweight.to_vec(), dbias.to_vec());
    [dx, dweight, dbias]
}

/// With x̂ the normalised row and g the gradient: dx = (g·w − mean(g·w) − x̂·mean(g·w·x̂))/√(var + ε).
#[inline(always)]
fn backward_row<T: Element>(
    dx: &mut [T],
    x: &[T],
    weight: &[T],
    grad: &[T],
    dweight: &mut [T],
    dbias: &mut [T],
    eps: f64,
) {
    let (mean, scale) = statistics(x, eps);
    let row = dweight.iter_mut().zip(dbias).zip(dx.iter_mut()).zip(x).zip(weight).zip(grad);
    for (((((dweight, dbias), dx), &x), &weight), &grad) in row {
        *dweight += grad * ((x - mean) * scale);
        *dbias += grad;
        *dx = grad * weight;
    }
    let inverse = narrow::<T>(1.0 / count(x.len()));
    let level = sum(dx, |g| g) * inverse;
    let slope = sum_pairs(dx, x, |g, x| g * ((x - mean) * scale)) * inverse;
    for (dx, &x) in dx.iter_mut().zip(x) {
        *dx = (*dx - level - (x - mean) * scale * slope) * scale;
    }
}
