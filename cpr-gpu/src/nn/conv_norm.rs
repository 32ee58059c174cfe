//! Convolution and the batch normalisation after it, as one operation.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use candle_nn::ModuleT as _;

use super::{
    batch_norm::{self, BatchNorm, Moments, Planes},
    conv::{self, Conv, Geometry, conv2d},
    element::{Held, Place, WORKERS, dtype, for_float, gradient, output, place, view},
};

const LAYER: &str = "convolution with batch norm";

impl BatchNorm {
    /// The norm of [`conv2d`]: its values and gradients to the bit, in less time.
    ///
    /// In training on the CPU both are one operation of candle's, so that the convolution's own output has no gradient that
    /// candle adds up. Elsewhere it is the two layers.
    ///
    /// # Errors
    /// Those of [`conv2d`] and of the norm.
    pub fn after_conv2d(
        &self,
        x: &Tensor,
        weight: &Tensor,
        conv: Conv,
        train: bool,
    ) -> Result<Tensor> {
        let [scale, shift] = self.affine();
        if !train || place(LAYER, x, &[weight, scale, shift])? != Place::Cpu {
            return self.forward_t(&conv2d(x, weight, conv)?, train);
        }
        let shape = Geometry::new(x.shape(), weight.shape(), conv)?.output();
        self.check_shape(&shape, train)?;
        let kept = Arc::new(OnceLock::new());
        let op = ConvNorm { conv, eps: self.eps(), kept: kept.clone() };
        // Candle takes three arguments at most.
        let affine = Tensor::stack(&[scale, shift], 0)?;
        let y = x.contiguous()?.apply_op3(&weight.contiguous()?, &affine, op)?;
        if let Some(Kept { moments, .. }) = kept.get() {
            self.follow_moments(moments, shape.elem_count() / shape.dims()[1].max(1))?;
        }
        Ok(y)
    }
}

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
struct Kept {
    /// The output of the convolution.
    convolved: CpuStorage,
    moments: Moments,
}

/// Of x, the weights of the convolution, and weight and bias of the norm as (2, C).
#[derive(Debug)]
struct ConvNorm {
    conv: Conv,
    eps: f64,
    kept: Arc<OnceLock<Kept>>,
}

impl CustomOp3 for ConvNorm {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let geometry = Geometry::new(layout.shape(), weight_layout.shape(), self.conv)?;
        let shape = geometry.output();
        for_float!(LAYER, dtype(x), T => {
            let (x, weight) = (view::<T>(x, layout)?, view::<T>(weight, weight_layout)?);
            let affine = view::<T>(affine, affine_layout)?;
            let (scale, shift) = affine.split_at(affine.len() / 2);
            let (convolved, (y, moments)) = WORKERS.run(|| {
                let convolved = conv::forward(geometry, x, weight);
                let planes = Planes::new(&shape);
                let normal = batch_norm::forward(&convolved, scale, shift, planes, self.eps);
                (convolved, normal)
            });
            let (convolved, _) = output(convolved, &shape);
            // The operation is made anew for each call, so nothing was there.
            let _ = self.kept.set(Kept { convolved, moments });
            Ok(output(y, &shape))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        affine: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let geometry = Geometry::new(x.shape(), weight.shape(), self.conv)?;
        let grad = grad.contiguous()?;
        let Some(Kept { convolved, moments }) = self.kept.get() else {
            return Err(candle_core::Error::msg(format!("{LAYER}: backward before forward")));
        };
        for_float!(LAYER, x.dtype(), T => {
            let (held, held_weight) = (Held::new(x), Held::new(weight));
            let (held_affine, held_grad) = (Held::new(affine), Held::new(&grad));
            let (x_, w_, g_) = (held.slice::<T>()?, held_weight.slice()?, held_grad.slice()?);
            let scale = held_affine.slice::<T>()?;
            let convolved = view::<T>(convolved, &Layout::contiguous(y.shape()))?;
            let asked = [x.track_op(), weight.track_op()];
            let ([dx, dweight], daffine) = WORKERS.run(|| {
                let planes = Planes::new(y.shape());
                let [dy, mut dscale, dshift] =
                    batch_norm::backward(convolved, scale, g_, planes, moments, self.eps);
                dscale.extend(dshift);
                (conv::gradients(geometry, x_, w_, &dy, asked), dscale)
            });
            Ok((gradient(dx, x)?, gradient(dweight, weight)?, gradient(daffine, affine)?))
        })
    }
}
