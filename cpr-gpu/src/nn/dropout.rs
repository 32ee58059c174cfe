//! Dropout whose mask is a function of seed, step and layer.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor};
use cpr_core::Real;
use cpr_host::random::{Random, Stream};

#[cfg(feature = "cuda")]
use super::fused;
use super::{
    element::{
        Element, Held, Place, WORKERS, dtype, for_float, gradient, narrow, output, place, view,
    },
    error::range,
};

const LAYER: &str = "dropout";

/// Elements that share a part of the random stream; part of the definition of the masks.
const PART: usize = 4096;

/// Where in a run a mask is drawn. This is all that a checkpoint needs to draw the same masks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// The forward pass: counts micro-batches where gradients are accumulated.
    pub step: u64,
}

/// Which elements are dropped, and by what the others grow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    draw: Draw,
    layer: u32,
    /// An element is dropped if its 32 random bits are below this.
    below: u32,
    /// 1/(1 − p).
    scale: f64,
}

impl Mask {
    /// None for p = 0.
    ///
    /// # Errors
    /// For p outside [0, 1).
    pub(super) fn new(p: f64, draw: Draw, layer: u32) -> Result<Option<Self>> {
        if !(0.0..1.0).contains(&p) {
            return Err(range(LAYER, "p", p, "at least 0 and below 1"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..2³²")]
        let below = (p * 4_294_967_296.0) as u32;
        Ok((p > 0.0).then_some(Self { draw, layer, below, scale: 1.0 / (1.0 - p) }))
    }

    /// Multiplies part number `part` of the elements by 0 or 1/(1 − p).
    pub(super) fn apply<T: Element>(&self, part: usize, values: &mut [T]) {
        let part = u64::from(self.layer) << 32 | (part as u64 & 0xFFFF_FFFF);
        let mut random = Random::part(self.draw.seed, Stream::Dropout, self.draw.step, part);
        let scale = narrow::<T>(self.scale);
        for value in values {
            let dropped = random.word() < self.below;
            *value = if dropped { <T as Real>::ZERO } else { *value * scale };
        }
    }

    /// What the kernel of dropout takes: the threshold, the factor, and the key of the generator for part 0.
    #[cfg(feature = "cuda")]
    pub(super) fn words(&self) -> [u64; 6] {
        let Self { draw, layer, below, scale } = *self;
        let key = [draw.seed, Stream::Dropout as u64, draw.step, u64::from(layer) << 32];
        [u64::from(below), scale.to_bits(), key[0], key[1], key[2], key[3]]
    }

    /// The factors of all elements, in parts of `part` elements, on a device.
    pub(super) fn tensor(
        &self,
        shape: &Shape,
        part: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let mut factors = vec![1.0_f32; shape.elem_count()];
        WORKERS.for_each_chunk(&mut factors, part, |index, factors| self.apply(index, factors));
        if dtype == DType::F64 {
            // The factor itself in f64, not a rounded one.
            let wide = factors.iter().map(|&x| if x == 0.0 { 0.0 } else { self.scale }).collect();
            return Tensor::from_vec::<_, f64>(wide, shape, device);
        }
        Tensor::from_vec(factors, shape, device)?.to_dtype(dtype)
    }
}

/// Sets each element to 0 with probability p (a multiple of 2⁻³²), and multiplies the others by 1/(1 − p).
///
/// The mask depends on `draw`, on `layer` and on the place of the element alone: each use of dropout in a model needs a
/// `layer` of its own. The backward pass draws it again, so nothing is kept. For evaluation leave the call out; p = 0
/// returns `x`. On CUDA the same mask is drawn by the device; in
/// f64 and f16, which have no kernel there, by the host.
///
/// Source: Srivastava et al., "Dropout", 2014.
///
/// # Errors
/// For p outside [0, 1), or half precision on the CPU.
pub fn dropout(x: &Tensor, p: f64, draw: Draw, layer: u32) -> Result<Tensor> {
    let Some(mask) = Mask::new(p, draw, layer)? else { return Ok(x.clone()) };
    match place(LAYER, x, &[])? {
        Place::Cpu => x.contiguous()?.apply_op1(DropoutOp { mask }),
        #[cfg(feature = "cuda")]
        Place::Composed if fused::takes(x) => fused::dropout(x, mask, PART),
        Place::Composed => composed(x, &mask),
    }
}

/// The same by candle's operations.
pub(super) fn composed(x: &Tensor, mask: &Mask) -> Result<Tensor> {
    x * mask.tensor(x.shape(), PART, x.dtype(), x.device())?
}

#[derive(Debug)]
struct DropoutOp {
    mask: Mask,
}

impl DropoutOp {
    fn masked<T: Element>(&self, values: &[T]) -> Vec<T> {
        let mut values = values.to_vec();
        WORKERS.for_each_chunk(&mut values, PART, |part, values| self.mask.apply(part, values));
        values
    }
}

impl CustomOp1 for DropoutOp {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        for_float!(LAYER, dtype(storage), T => {
            Ok(output(self.masked(view::<T>(storage, layout)?), layout.shape()))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        for_float!(LAYER, x.dtype(), T => {
            let dx = self.masked(Held::new(&grad).slice::<T>()?);
            gradient(dx, x)
        })
    }
}
