//! Causal attention of many heads, with its softmax, rotary positions and dropout in one operation.

mod kernel;
mod rotary;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};

pub(super) use self::kernel::Heads;
use self::rotary::Angles;
pub use self::rotary::Rotary;
#[cfg(feature = "cuda")]
use super::fused;
use super::{
    dropout::{Draw, Mask},
    element::{Held, Place, WORKERS, count, dtype, for_float, gradient, output, place, view},
    error::{range, shape},
};

const LAYER: &str = "causal attention";

/// Options of [`causal_attention`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Number of heads; divides the width.
    pub heads: usize,
    /// Turns queries and keys by angles that grow with their position.
    pub rotary: Option<Rotary>,
    /// Drops probabilities: p, where the mask is drawn, and the layer's number, as in [`dropout`](super::dropout).
    pub dropout: Option<(f64, Draw, u32)>,
}

impl Attention {
    /// Neither rotary positions nor dropout.
    pub const fn new(heads: usize) -> Self {
        Self { heads, rotary: None, dropout: None }
    }
}

/// softmax(q·kᵀ/√d, over the positions up to its own)·v for each head: (B, T, 3·C) to (B, T, C).
///
/// The last dimension of `qkv` holds q, k and v, C each, and each of them the heads one after the other, d = C/heads
/// each. On the CPU scores are made for blocks of queries and made again in the backward pass: memory grows with T, not
/// T². On CUDA the B·heads·T² probabilities are kept.
///
/// Sources: Vaswani et al., "Attention is all you need", 2017; for the order of the work Dao et al.,
/// "FlashAttention", 2022.
///
/// # Errors
/// Where the width is not 3 times a multiple of `heads`, options are out of range, or for half precision on the CPU.
pub fn causal_attention(qkv: &Tensor, options: Attention) -> Result<Tensor> {
    let Attention { heads, rotary, dropout } = options;
    let (batch, length, width) = qkv.dims3()?;
    if heads == 0 || width == 0 || !width.is_multiple_of(3 * heads) {
        let expected = format!("(B, T, 3·C) with C a multiple of the {heads} heads");
        return Err(shape(LAYER, "input", qkv.shape(), expected));
    }
    let shape = Heads { batch, length, heads, size: width / (3 * heads) };
    if let Some(rotary) = rotary {
        rotary.check(shape.size)?;
    }
    let mask = match dropout {
        Some((p, draw, layer)) => Mask::new(p, draw, layer)?,
        None => None,
    };
    if batch * heads * length > 1 << 32 {
        return Err(range(LAYER, "B·heads·T", count(batch * heads * length), "at most 2³²"));
    }
    #[cfg(feature = "cuda")]
    let scores = batch * heads * length * length;
    match place(LAYER, qkv, &[])? {
        Place::Cpu => {
            let op = AttentionOp { shape, rotary, mask, normalizers: OnceLock::new() };
            qkv.contiguous()?.apply_op1(op)
        }
        #[cfg(feature = "cuda")]
        Place::Composed if fused::takes(qkv) && u32::try_from(scores).is_ok() => {
            fused::attention(qkv, shape, rotary, mask)
        }
        Place::Composed => composed(qkv, shape, rotary, mask.as_ref()),
    }
}

/// The same by candle's operations.
pub(super) fn composed(
    qkv: &Tensor,
    shape: Heads,
    rotary: Option<Rotary>,
    mask: Option<&Mask>,
) -> Result<Tensor> {
    let Heads { batch, length, heads, size } = shape;
    // (3, B, heads, T, d)
    let parts = qkv.reshape((batch, length, 3, heads, size))?.permute((2, 0, 3, 1, 4))?;
    let part = |index: usize| parts.get(index)?.contiguous();
    let (mut q, mut k, v) = (part(0)?, part(1)?, part(2)?);
    if let Some(rotary) = rotary {
        q = rotary.composed(&q)?;
        k = rotary.composed(&k)?;
    }
    let scores = (q.matmul(&k.t()?)? * (1.0 / count(size).sqrt()))?;
    let future = (0..length).flat_map(|query| {
        (0..length).map(move |key| if key > query { f32::NEG_INFINITY } else { 0.0 })
    });
    let future = Tensor::from_iter(future, qkv.device())?.reshape((length, length))?;
    let scores = scores.broadcast_add(&future.to_dtype(qkv.dtype())?)?;
    // Half precision is normalised in f32.
    let given = scores.dtype();
    let scores = if given == DType::F64 { scores } else { scores.to_dtype(DType::F32)? };
    let mut probabilities = candle_nn::ops::softmax(&scores, D::Minus1)?.to_dtype(given)?;
    if let Some(mask) = mask {
        let factors = mask.tensor(probabilities.shape(), length, given, qkv.device())?;
        probabilities = (probabilities * factors)?;
    }
    probabilities.matmul(&v)?.transpose(1, 2)?.reshape((batch, length, heads * size))
}

#[derive(Debug)]
struct AttentionOp {
    shape: Heads,
    rotary: Option<Rotary>,
    mask: Option<Mask>,
    /// ln Σ e^score of every query, from the forward pass; (B, heads, T).
    normalizers: OnceLock<Vec<f64>>,
}

impl CustomOp1 for AttentionOp {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Heads { batch, length, heads, size } = self.shape;
        let angles = self.rotary.map(|rotary| Angles::new(rotary, length));
        for_float!(LAYER, dtype(storage), T => {
            let qkv = view::<T>(storage, layout)?;
            let angles = angles.as_ref().map(Angles::rounded);
            let (y, normalizers) = WORKERS.run(|| {
                self.shape.forward(qkv, angles.as_ref(), self.mask.as_ref())
            });
            // The operation is made anew for each call, so nothing was there.
            let _ = self.normalizers.set(normalizers);
            Ok(output(y, &Shape::from((batch, length, heads * size))))
        })
    }

    fn bwd(&self, qkv: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let angles = self.rotary.map(|rotary| Angles::new(rotary, self.shape.length));
        let normalizers = self.normalizers.get().map(Vec::as_slice).unwrap_or_default();
        for_float!(LAYER, qkv.dtype(), T => {
            let angles = angles.as_ref().map(Angles::rounded);
            let (held, held_y, held_grad) = (Held::new(qkv), Held::new(y), Held::new(&grad));
            let forward = kernel::Forward {
                qkv: held.slice::<T>()?,
                y: held_y.slice()?,
                normalizers,
            };
            let grad = held_grad.slice()?;
            let dqkv = WORKERS.run(|| {
                self.shape.backward(forward, grad, angles.as_ref(), self.mask.as_ref())
            });
            gradient(dqkv, qkv)
        })
    }
}
