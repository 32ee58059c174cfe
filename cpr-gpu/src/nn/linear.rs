//! The affine map, with its bias in the same pass.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor};
use cpr_core::Real;
use cpr_host::model::layers::{
    linear::{Matrix, MatrixMut, multiply_into},
    vector,
};

use super::{
    element::{
        Element, Held, Place, WORKERS, dtype, for_float, gradient, output, place, view, zeros,
    },
    error::shape,
};

const LAYER: &str = "linear";

/// Which way the weights of a [`linear`] map lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// (outputs, inputs): `torch.nn.Linear`, `candle_nn::Linear`.
    #[default]
    OutIn,
    /// (inputs, outputs): the `Conv1D` of Hugging Face's GPT-2.
    InOut,
}

/// y = x·Wᵀ + b over the last dimension: (…, inputs) to (…, outputs).
///
/// `weight` has the shape that `weights` says, `bias` the shape (outputs). Of no rows it makes none.
///
/// # Errors
/// Where the shapes do not fit or have no inputs or outputs, or for half precision on the CPU.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    weights: Weights,
) -> Result<Tensor> {
    let inputs = x.dim(D::Minus1)?;
    let fits = |given: usize| given == inputs && weight.elem_count() > 0;
    let (outputs, expected) = match (weights, weight.dims()) {
        (Weights::OutIn, &[outputs, given]) if fits(given) => (outputs, None),
        (Weights::InOut, &[given, outputs]) if fits(given) => (outputs, None),
        (Weights::OutIn, _) => (0, Some(format!("(outputs, {inputs}), each at least 1"))),
        (Weights::InOut, _) => (0, Some(format!("({inputs}, outputs), each at least 1"))),
    };
    if let Some(expected) = expected {
        return Err(shape(LAYER, "weight", weight.shape(), expected));
    }
    if let Some(bias) = bias
        && bias.dims() != [outputs]
    {
        return Err(shape(LAYER, "bias", bias.shape(), format!("[{outputs}]")));
    }
    let others: Vec<&Tensor> = std::iter::once(weight).chain(bias).collect();
    match place(LAYER, x, &others)? {
        Place::Cpu => {
            let bias = match bias {
                Some(bias) => bias.contiguous()?,
                None => Tensor::zeros(outputs, weight.dtype(), weight.device())?,
            };
            x.contiguous()?.apply_op3(&weight.contiguous()?, &bias, Linear { weights })
        }
        Place::Composed => composed(x, weight, bias, weights),
    }
}

/// The same by candle's operations.
pub(super) fn composed(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    weights: Weights,
) -> Result<Tensor> {
    let weight = match weights {
        Weights::OutIn => weight.t()?,
        Weights::InOut => weight.clone(),
    };
    let mut dims = x.dims().to_vec();
    let inputs = dims.pop().unwrap_or_default();
    dims.push(weight.dim(1)?);
    let y = x.reshape(((), inputs))?.matmul(&weight)?;
    let y = match bias {
        #[cfg(feature = "cuda")]
        Some(bias) if super::fused::takes(&y) => super::fused::add_bias(&y, bias)?,
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(dims)
}

#[derive(Debug)]
struct Linear {
    weights: Weights,
}

impl CustomOp3 for Linear {
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
            let mut dims = layout.dims().to_vec();
            let inputs = dims.pop().unwrap_or_default();
            dims.push(bias.len());
            Ok(output(self.forward(x, weight, bias, inputs), &Shape::from(dims)))
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
        let inputs = x.dim(D::Minus1)?;
        let outputs = bias.elem_count();
        for_float!(LAYER, x.dtype(), T => {
            let (held, held_weight, held_grad) = (Held::new(x), Held::new(weight), Held::new(&grad));
            let (x_, w_, g_) = (held.slice::<T>()?, held_weight.slice()?, held_grad.slice()?);
            let (mut dx, mut dweight, mut dbias) = (None, None, None);
            WORKERS.run(|| {
                if x.track_op() {
                    dx = Some(self.input_gradient(w_, g_, inputs, outputs));
                }
                if weight.track_op() {
                    dweight = Some(self.weight_gradient(x_, g_, inputs, outputs));
                }
                if bias.track_op() {
                    dbias = Some(column_sums(g_, outputs));
                }
            });
            Ok((gradient(dx, x)?, gradient(dweight, weight)?, gradient(dbias, bias)?))
        })
    }
}

impl Linear {
    /// Wᵀ as it multiplies x from the right: inputs × outputs.
    fn right<'a, T: Element>(
        &self,
        weight: &'a [T],
        inputs: usize,
        outputs: usize,
    ) -> Matrix<'a, T> {
        match self.weights {
            Weights::OutIn => Matrix::new(weight, inputs).transposed(),
            Weights::InOut => Matrix::new(weight, outputs),
        }
    }

    fn forward<T: Element>(&self, x: &[T], weight: &[T], bias: &[T], inputs: usize) -> Vec<T> {
        let right = self.right(weight, inputs, bias.len());
        product(Matrix::new(x, inputs), right, [x.len() / inputs.max(1), bias.len()], Some(bias))
    }

    /// dx = g·W.
    fn input_gradient<T: Element>(
        &self,
        weight: &[T],
        grad: &[T],
        inputs: usize,
        outputs: usize,
    ) -> Vec<T> {
        let weight = self.right(weight, inputs, outputs).transposed();
        let rows = grad.len() / outputs.max(1);
        product(Matrix::new(grad, outputs), weight, [rows, inputs], None)
    }

    /// dW = gᵀ·x, or xᵀ·g where the weights lie the other way.
    fn weight_gradient<T: Element>(
        &self,
        x: &[T],
        grad: &[T],
        inputs: usize,
        outputs: usize,
    ) -> Vec<T> {
        let (x, grad) = (Matrix::new(x, inputs), Matrix::new(grad, outputs));
        match self.weights {
            Weights::OutIn => product(grad.transposed(), x, [outputs, inputs], None),
            Weights::InOut => product(x.transposed(), grad, [inputs, outputs], None),
        }
    }
}

/// Tasks that a product is cut into, where it is large enough.
const TASKS: usize = 6;

/// Rows of a task at most, and at least where there are as many. `gemm` lays the right matrix out anew for each task: few tall
/// blocks before many flat ones.
const TALLEST: usize = 384;
const FLATTEST: usize = 96;

/// Columns of a task, where there are as many, are a multiple of this: the width of its inner loop.
const NARROWEST: usize = 64;

/// a·b of the given size, plus `bias` in every row, in blocks on all workers.
fn product<T: Element>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    [rows, columns]: [usize; 2],
    bias: Option<&[T]>,
) -> Vec<T> {
    let mut out = zeros(rows * columns);
    let fewest = rows.div_ceil(TALLEST).max(1);
    let width = columns.div_ceil(TASKS.div_ceil(fewest)).next_multiple_of(NARROWEST).max(1);
    let across = columns.div_ceil(width).max(1);
    // What is too narrow for so many tasks side by side has more of them below each other.
    let bands = TASKS.div_ceil(across).min(rows / FLATTEST).max(fewest);
    let height = rows.div_ceil(bands).next_multiple_of(16);
    let mut blocks = MatrixMut::new(&mut out, columns).blocks(height, width);
    WORKERS.for_each_item(&mut blocks, |index, out| {
        let (row, column) = (index / across * height, index % across * width);
        if let Some(bias) = bias {
            for row in out.rows_mut() {
                row.copy_from_slice(&bias[column..][..row.len()]);
            }
        }
        let (a, b) = (a.rows(row, height), b.columns(column, width));
        multiply_into(a, b, out.reborrow(), bias.is_some());
    });
    out
}

/// Σ over the rows, in parts of as many rows as a task has, added in their order.
fn column_sums<T: Element>(rows: &[T], columns: usize) -> Vec<T> {
    let length = (super::softmax::rows_of(columns) * columns).max(1);
    let parts = WORKERS.map(rows.len().div_ceil(length), |part| {
        let mut sums = vec![<T as Real>::ZERO; columns];
        let end = rows.len().min((part + 1) * length);
        vector::column_sums(&rows[part * length..end], &mut sums);
        sums
    });
    let mut parts = parts.into_iter();
    let mut sums = parts.next().unwrap_or_else(|| vec![<T as Real>::ZERO; columns]);
    for part in parts {
        vector::add(&mut sums, &part);
    }
    sums
}
